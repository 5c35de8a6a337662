/* The partition table of a disk image. SPDX-License-Identifier: BSD-3-Clause */
#include "config.h"
#include <string.h>
#include "core/base/error.h"
#include "core/base/util.h"
#include "core/build/mbr.h"

#define ENTRY 0x1be
#define SECTOR 512

static guint32
get32 (const guint8 *p)
{
  return p[0] | p[1] << 8 | p[2] << 16 | (guint32) p[3] << 24;
}

static void
put32 (guint8 *p, guint32 v)
{
  for (int k = 0; k < 4; k++)
    p[k] = (guint8) (v >> (8 * k));
}

/* Head, then cylinder and sector as one little-endian number (cylinder << 6 | sector), as
 * OSv's own tools write it: OSv skips an entry whose start sector is 0. */
static void
put_chs (guint8 *p, guint64 sector)
{
  guint64 s = sector % 63 + 1, h = sector / 63 % 255, c = sector / 63 / 255;
  if (c > 1023) {
    c = 1023;
    h = 254;
    s = 63;
  }
  p[0] = (guint8) h;
  p[1] = (guint8) (c << 6 | s);
  p[2] = (guint8) ((c << 6 | s) >> 8);
}

void
cs_mbr_entry (guint8 ret[16], guint8 type, guint64 start, guint64 size)
{
  memset (ret, 0, 16);
  put_chs (ret + 1, start / SECTOR);
  ret[4] = type;
  put_chs (ret + 5, (start + size) / SECTOR);
  put32 (ret + 8, (guint32) (start / SECTOR));
  put32 (ret + 12, (guint32) (size / SECTOR));
}

gboolean
cs_mbr_read (int fd, const char *name, struct cs_part ret[4], GError **err)
{
  guint8 sector[SECTOR];
  if (!cs_pread_all (fd, sector, sizeof sector, 0, name, err))
    return FALSE;
  if (memcmp (sector + 0x38, "ARM\x64", 4) == 0)
    return cs_fail (err, CAPSTAN_E_UNSUPPORTED,
                    "%s is for aarch64; only x86_64 is supported", name);
  if (sector[510] != 0x55 || sector[511] != 0xaa)
    return cs_fail (err, CAPSTAN_E_INVAL,
                    "%s has no boot sector (55 AA at byte 510): it is no loader and no "
                    "disk image", name);
  for (int k = 0; k < 4; k++) {
    const guint8 *e = sector + ENTRY + 16 * k;
    ret[k].type = e[4];
    ret[k].start = (guint64) get32 (e + 8) * SECTOR;
    ret[k].size = (guint64) get32 (e + 12) * SECTOR;
  }
  return TRUE;
}

gboolean
cs_mbr_write_root (int fd, const char *name, guint64 start, guint64 size, GError **err)
{
  guint8 entry[16];
  size = CS_ALIGN (size, SECTOR); /* all of the file system, to its last byte */
  if ((start + size) / SECTOR > G_MAXUINT32)
    return cs_fail (err, CAPSTAN_E_LIMIT,
                    "%s: a partition table ends at 2 TiB, this image is larger", name);
  cs_mbr_entry (entry, 0x83, start, size);
  return cs_pwrite_all (fd, entry, sizeof entry, ENTRY + 16, name, err);
}
