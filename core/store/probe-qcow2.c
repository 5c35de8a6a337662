/* qcow2, as docs/interop/qcow2.txt of QEMU has it. SPDX-License-Identifier: BSD-3-Clause */
#include "config.h"
#include "core/base/error.h"
#include "core/base/util.h"
#include "core/store/probe.h"
#include <string.h>

enum { /* incompatible features */
  DIRTY = 1, CORRUPT = 2, EXTERNAL_DATA = 4, COMPRESSION = 8, EXTENDED_L2 = 16,
  KNOWN = DIRTY | CORRUPT | EXTERNAL_DATA | COMPRESSION | EXTENDED_L2
};

struct header {
  guint64 version, backing, bits, size, crypt, l1_size, l1, refcounts, refcount_clusters;
  guint64 snapshots, snapshot_at, incompatible, refcount_order, length, compression;
  guint64 cluster;
};

static void
read_header (const guint8 *p, struct header *h)
{
  memset (h, 0, sizeof *h);
  h->version = cs_be (p + 4, 4);
  h->backing = cs_be (p + 8, 8);
  h->bits = cs_be (p + 20, 4);
  h->size = cs_be (p + 24, 8);
  h->crypt = cs_be (p + 32, 4);
  h->l1_size = cs_be (p + 36, 4);
  h->l1 = cs_be (p + 40, 8);
  h->refcounts = cs_be (p + 48, 8);
  h->refcount_clusters = cs_be (p + 56, 4);
  h->snapshots = cs_be (p + 60, 4);
  h->snapshot_at = cs_be (p + 64, 8);
  h->refcount_order = 4;
  h->length = 72;
  if (h->version >= 3) {
    h->incompatible = cs_be (p + 72, 8);
    h->refcount_order = cs_be (p + 96, 4);
    h->length = cs_be (p + 100, 4);
    h->compression = h->length > 104 ? p[104] : 0;
  }
}

static gboolean
check_features (const struct cs_probe *p, const struct header *h, gboolean allow_backing, GError **err)
{
  if (h->version == 1)
    return cs_fail (err, CAPSTAN_E_UNSUPPORTED,
                    "%s is a qcow image of version 1: qemu-img convert -f qcow -O raw it first",
                    p->path);
  if (h->version != 2 && h->version != 3)
    return cs_fail (err, CAPSTAN_E_INVAL, "%s: qcow2 version %u is not known", p->path,
                    (unsigned) h->version);
  if (h->backing != 0 && !allow_backing)
    return cs_fail (err, CAPSTAN_E_INVAL,
                    "%s has a backing file, and an image must stand alone: qemu-img convert "
                    "-O qcow2 it first",
                    p->path);
  if (h->crypt != 0)
    return cs_fail (err, CAPSTAN_E_UNSUPPORTED, "%s is encrypted: decrypt it with qemu-img convert",
                    p->path);
  if (h->incompatible & EXTERNAL_DATA)
    return cs_fail (err, CAPSTAN_E_INVAL,
                    "%s keeps its data in another file: qemu-img convert it first", p->path);
  if (h->incompatible & CORRUPT)
    return cs_fail (err, CAPSTAN_E_INVAL, "%s is marked corrupt: qemu-img check it", p->path);
  if ((h->incompatible & ~(guint64) KNOWN) || h->compression > 1)
    return cs_fail (err, CAPSTAN_E_UNSUPPORTED,
                    "%s uses qcow2 features that are not known here (0x%" G_GINT64_MODIFIER
                    "x, compression %u)",
                    p->path, h->incompatible, (unsigned) h->compression);
  return TRUE;
}

/* n bytes at a place where a table may begin. */
static gboolean
fits (const struct cs_probe *p, const struct header *h, guint64 at, guint64 n)
{
  return at != 0 && at % h->cluster == 0 && at <= p->size && n <= p->size - at;
}

/* Where the entries of an L1 and of a refcount table point. */
static gboolean
l2_in_file (const guint8 *entry, guint64 file)
{
  return (cs_be (entry, 8) & G_GUINT64_CONSTANT (0x00fffffffffffe00)) < file;
}

static gboolean
refcounts_in_file (const guint8 *entry, guint64 file)
{
  return (cs_be (entry, 8) & ~G_GUINT64_CONSTANT (0x1ff)) < file;
}

gboolean
cs_probe_qcow2 (const struct cs_probe *p, gboolean allow_backing, guint64 *ret_size, GError **err)
{
  enum { MAX_L1 = 4 * 1024 * 1024, MAX_REFCOUNT_BYTES = 8 * 1024 * 1024, MIN_SNAPSHOT = 40 };
  struct header h;
  read_header (p->head, &h);
  if (!check_features (p, &h, allow_backing, err))
    return FALSE;
  guint64 min_length = h.version >= 3 ? 104 : 72, min_bits = h.incompatible & EXTENDED_L2 ? 14 : 9;
  if (h.bits < min_bits || h.bits > 21 || h.size == 0 || h.size > CS_DISK_MAX || h.refcount_order > 6 ||
      h.length < min_length || h.length % 8 != 0 || h.length > G_GUINT64_CONSTANT (1) << h.bits)
    return cs_fail (err, CAPSTAN_E_INVAL, "%s: its qcow2 header holds absurd sizes", p->path);
  h.cluster = G_GUINT64_CONSTANT (1) << h.bits;
  if (h.l1_size > MAX_L1 || !fits (p, &h, h.l1, h.l1_size * 8) || h.refcount_clusters == 0 ||
      h.refcount_clusters * h.cluster > MAX_REFCOUNT_BYTES ||
      !fits (p, &h, h.refcounts, h.refcount_clusters * h.cluster) ||
      (h.snapshots != 0 && !fits (p, &h, h.snapshot_at, h.snapshots * MIN_SNAPSHOT)))
    return cs_fail (err, CAPSTAN_E_INVAL,
                    "%s: its qcow2 tables lie beyond the end of the file; it is cut short", p->path);
  /* an L2 table is one cluster; its entries have 16 bytes with extended L2 entries */
  guint64 mapped = h.cluster / (h.incompatible & EXTENDED_L2 ? 16 : 8) * h.cluster;
  if (h.l1_size < (h.size + mapped - 1) / mapped)
    return cs_fail (err, CAPSTAN_E_INVAL,
                    "%s: its qcow2 L1 table is too small for its size; it is damaged", p->path);
  if (!cs_probe_table (p, h.l1, h.l1_size, 8, l2_in_file, p->size, err) ||
      !cs_probe_table (p, h.refcounts, h.refcount_clusters * h.cluster / 8, 8, refcounts_in_file,
                       p->size, err))
    return FALSE;
  *ret_size = h.size;
  return TRUE;
}
