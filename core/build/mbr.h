/* The partition table of a disk image. SPDX-License-Identifier: BSD-3-Clause */
#ifndef CS_MBR_H
#define CS_MBR_H
#include <glib.h>

struct cs_part {
  guint8 type;         /* 0: the entry is empty */
  guint64 start, size; /* bytes */
};
/* The four entries. A first sector without 55 AA is an error. */
gboolean cs_mbr_read (int fd, const char *name, struct cs_part ret[4], GError **err);
/* Entry 2, which guests take their root from; the other bytes stay. */
gboolean cs_mbr_write_root (int fd, const char *name, guint64 start, guint64 size,
                            GError **err);
/* The 16 bytes of an entry, with CHS packed as OSv's tools do it. */
void cs_mbr_entry (guint8 ret[16], guint8 type, guint64 start, guint64 size);
#endif
