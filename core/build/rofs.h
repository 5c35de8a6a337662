/* ROFS on disk, OSv's read-only file system. SPDX-License-Identifier: BSD-3-Clause
 *
 * Little endian, blocks of 512 bytes: superblock, file data, then the structure area:
 * directory entries, symlinks and inodes packed without alignment between. */
#ifndef CS_ROFS_H
#define CS_ROFS_H
#include <glib.h>
#include <string.h>

#define ROFS_MAGIC 0xdeadbead
#define ROFS_VERSION 1
#define ROFS_BLOCK 512
#define ROFS_SUPER 64 /* 8 x u64 */
#define ROFS_INODE 32 /* mode, number, data offset, count: u64 each */
#define ROFS_DIR 0x4000
#define ROFS_FILE 0x8000
#define ROFS_LINK 0xa000
#define ROFS_NAME_MAX 65535
/* OSv up to v0.57 reads the structure area into one buffer and halts if it takes a huge
 * page. */
#define ROFS_META_MAX (2 * 1024 * 1024 - 64 * 1024)

static inline void
rofs_put64 (guint8 *p, guint64 v)
{
  v = GUINT64_TO_LE (v);
  memcpy (p, &v, 8);
}
static inline void
rofs_put16 (guint8 *p, guint16 v)
{
  v = GUINT16_TO_LE (v);
  memcpy (p, &v, 2);
}
static inline guint64
rofs_get64 (const guint8 *p)
{
  guint64 v;
  memcpy (&v, p, 8);
  return GUINT64_FROM_LE (v);
}
static inline guint16
rofs_get16 (const guint8 *p)
{
  guint16 v;
  memcpy (&v, p, 2);
  return GUINT16_FROM_LE (v);
}
#endif
