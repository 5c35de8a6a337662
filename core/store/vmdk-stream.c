/* A stream-optimized VMDK, written from start to end. SPDX-License-Identifier: BSD-3-Clause
 *
 * VMware, Virtual Disk Format 5.0, "Stream-Optimized Compressed Sparse Extents": header,
 * description, then for each grain that is not zero a marker and the deflated grain, behind
 * each 512 grains their table, at the end the directory, a footer (the header once more, which
 * says where the directory is) and a marker of zeroes. Everything begins at a sector. What
 * qemu-img writes under that name has its directory in front, and readers that cannot seek,
 * as the imports of VirtualBox and VMware, refuse it. */
#include "config.h"
#include "core/store/export.h"
#include "core/base/cancel.h"
#include "core/base/error.h"
#include "core/base/sparse.h"
#include "core/base/util.h"
#include <string.h>
#include <unistd.h>
#include <zlib.h>

enum {
  SECTOR = 512,
  GRAIN = 65536,      /* bytes */
  PER_TABLE = 512,    /* grains */
  OVERHEAD = 128,     /* sectors before the first grain */
  DESCRIPTOR = 20,    /* sectors, from the second on */
  MARK_TABLE = 1,
  MARK_DIRECTORY = 2,
  MARK_FOOTER = 3
};

struct header { /* little-endian */
  guint32 magic, version, flags;
  guint64 capacity, grain, descriptor_at, descriptor;
  guint32 per_table;
  guint64 spare_at, directory_at, overhead; /* in sectors */
  guint8 unclean;
  char newline[4];
  guint16 algorithm;
  guint8 pad[433];
} __attribute__ ((packed));
G_STATIC_ASSERT (sizeof (struct header) == SECTOR);

struct marker {
  guint64 value; /* of a grain: its first sector in the disk; else sectors that follow */
  guint32 size;  /* of a grain: bytes that follow */
  guint32 type;  /* not of a grain, whose data begin here */
  guint8 pad[496];
} __attribute__ ((packed));
G_STATIC_ASSERT (sizeof (struct marker) == SECTOR);

struct writer {
  const struct cs_vmdk_out *out;
  guint64 at; /* bytes so far */
  GArray *directory; /* of guint32: sector of each table, or 0 */
  guint32 table[PER_TABLE];
  gboolean used; /* the table has something */
};

static gboolean
put (struct writer *w, const void *buf, gsize n, GError **err)
{
  w->at += n;
  return w->out->write (w->out->data, buf, n, err);
}

/* Up to the next sector. */
static gboolean
align (struct writer *w, GError **err)
{
  static const char zero[SECTOR];
  gsize rest = (gsize) (w->at % SECTOR);
  return rest == 0 || put (w, zero, SECTOR - rest, err);
}

static gboolean
mark (struct writer *w, guint64 sectors, guint32 type, GError **err)
{
  struct marker m = { .value = GUINT64_TO_LE (sectors), .type = GUINT32_TO_LE (type) };
  return put (w, &m, sizeof m, err);
}

static gboolean
put_header (struct writer *w, guint64 size, guint64 directory_at, GError **err)
{
  struct header h = { .magic = GUINT32_TO_LE (0x564d444b), .version = GUINT32_TO_LE (3),
                      .flags = GUINT32_TO_LE (0x30001), /* newline test, compressed, markers */
                      .capacity = GUINT64_TO_LE (size / SECTOR), .grain = GUINT64_TO_LE (GRAIN / SECTOR),
                      .descriptor_at = GUINT64_TO_LE (1), .descriptor = GUINT64_TO_LE (DESCRIPTOR),
                      .per_table = GUINT32_TO_LE (PER_TABLE), .directory_at = GUINT64_TO_LE (directory_at),
                      .overhead = GUINT64_TO_LE (OVERHEAD), .newline = { '\n', ' ', '\r', '\n' },
                      .algorithm = GUINT16_TO_LE (1) };
  return put (w, &h, sizeof h, err);
}

static gboolean
put_descriptor (struct writer *w, const char *name, guint64 size, GError **err)
{
  static const char zero[OVERHEAD * SECTOR];
  guint64 sectors = size / SECTOR;
  g_autofree char *text = g_strdup_printf (
      "# Disk DescriptorFile\nversion=1\nCID=fffffffe\nparentCID=ffffffff\n"
      "createType=\"streamOptimized\"\n\n# Extent description\n"
      "RW %" G_GUINT64_FORMAT " SPARSE \"%s\"\n\n# The Disk Data Base\n#DDB\n\n"
      "ddb.virtualHWVersion = \"7\"\nddb.geometry.cylinders = \"%" G_GUINT64_FORMAT "\"\n"
      "ddb.geometry.heads = \"16\"\nddb.geometry.sectors = \"63\"\nddb.adapterType = \"ide\"\n",
      sectors, name, MIN (sectors / (16 * 63), 16383));
  return put (w, text, strlen (text), err) && put (w, zero, OVERHEAD * SECTOR - (gsize) w->at, err);
}

static gboolean
put_grain (struct writer *w, guint64 grain, const guchar *data, guchar *packed, GError **err)
{
  uLongf n = compressBound (GRAIN);
  struct marker m = { .value = GUINT64_TO_LE (grain * (GRAIN / SECTOR)) };
  if (compress2 (packed, &n, data, GRAIN, Z_DEFAULT_COMPRESSION) != Z_OK)
    return cs_fail (err, CAPSTAN_E_NOMEM, "zlib cannot deflate");
  m.size = GUINT32_TO_LE ((guint32) n);
  w->table[grain % PER_TABLE] = GUINT32_TO_LE ((guint32) (w->at / SECTOR));
  w->used = TRUE;
  return put (w, &m, offsetof (struct marker, type), err) && put (w, packed, n, err) && align (w, err);
}

static gboolean
put_table (struct writer *w, GError **err)
{
  guint32 at = 0;
  if (w->used) {
    if (!mark (w, sizeof w->table / SECTOR, MARK_TABLE, err))
      return FALSE;
    at = GUINT32_TO_LE ((guint32) (w->at / SECTOR));
    if (!put (w, w->table, sizeof w->table, err))
      return FALSE;
  }
  g_array_append_val (w->directory, at);
  memset (w->table, 0, sizeof w->table);
  w->used = FALSE;
  return TRUE;
}

static gboolean
put_end (struct writer *w, guint64 size, GError **err)
{
  static const char zero[SECTOR];
  gsize n = w->directory->len * sizeof (guint32);
  if (!mark (w, CS_ALIGN (n, SECTOR) / SECTOR, MARK_DIRECTORY, err))
    return FALSE;
  guint64 at = w->at / SECTOR;
  return put (w, w->directory->data, n, err) && align (w, err) && mark (w, 1, MARK_FOOTER, err) &&
         put_header (w, size, at, err) && put (w, zero, SECTOR, err);
}

/* The next grain that may hold something, from `grain` on; holes of the file are passed over. */
static guint64
next_grain (int in, guint64 grain)
{
  off_t at = lseek (in, (off_t) (grain * GRAIN), SEEK_DATA);
  return at < 0 ? G_MAXUINT64 : MAX (grain, (guint64) at / GRAIN);
}

static gboolean
read_grain (int in, const char *name, guint64 size, guint64 grain, guchar *buf, GError **err)
{
  gsize n = (gsize) MIN (GRAIN, size - grain * GRAIN);
  memset (buf + n, 0, GRAIN - n); /* of the last one */
  return cs_pread_all (in, buf, n, grain * GRAIN, name, err);
}

static gboolean
put_grains (struct writer *w, int in, const char *name, guint64 size, GError **err)
{
  g_autofree guchar *data = g_malloc (GRAIN), *packed = g_malloc (compressBound (GRAIN));
  guint64 count = CS_ALIGN (size, GRAIN) / GRAIN, some = next_grain (in, 0);
  for (guint64 g = 0; g < count; g++) {
    if (g > some)
      some = next_grain (in, g);
    if (g == some) {
      if (cs_cancelled ())
        return cs_fail (err, CAPSTAN_E_CANCELLED, "cancelled");
      if (!read_grain (in, name, size, g, data, err) ||
          (!cs_is_zero (data, GRAIN) && !put_grain (w, g, data, packed, err)))
        return FALSE;
    }
    if ((g % PER_TABLE == PER_TABLE - 1 || g == count - 1) && !put_table (w, err))
      return FALSE;
  }
  return TRUE;
}

gboolean
cs_vmdk_stream (int in, const char *name, guint64 size, const char *extent,
                const struct cs_vmdk_out *out, GError **err)
{
  struct writer w = { .out = out, .directory = g_array_new (FALSE, FALSE, sizeof (guint32)) };
  guint64 whole = CS_ALIGN (size, SECTOR);
  gboolean ok = put_header (&w, whole, G_MAXUINT64, err) && put_descriptor (&w, extent, whole, err) &&
                put_grains (&w, in, name, size, err) && put_end (&w, whole, err);
  g_array_unref (w.directory);
  return ok;
}
