/* Inodes and their room. SPDX-License-Identifier: BSD-3-Clause
 *
 * The file system is filled from front to back, so that nearly every file is one run of
 * blocks, whose extent goes into the inode: that is done here, in one write. What is in
 * more pieces than an inode has places for goes through libext2fs. */
#include "config.h"
#include "core/base/error.h"
#include "core/base/util.h"
#include "core/build/ext4.h"
#include <string.h>
#include <sys/stat.h>

enum { EXTENT_MAX = 32768 }; /* blocks of one extent */

void
cs_ext4_fill (const struct cs_ext4 *w, struct ext2_inode *x, const struct cs_inode *i)
{
  memset (x, 0, sizeof *x);
  x->i_mode = (guint16) (i->type | (i->perm & 07777));
  x->i_uid = (guint16) i->uid;
  x->i_gid = (guint16) i->gid;
  x->osd2.linux2.l_i_uid_high = (guint16) (i->uid >> 16);
  x->osd2.linux2.l_i_gid_high = (guint16) (i->gid >> 16);
  x->i_atime = x->i_ctime = x->i_mtime = (guint32) w->tree->mtime;
  x->i_links_count = (guint16) MAX (i->nlink, 1u);
}

/* The next blocks that nobody has. */
static gboolean
next_free (struct cs_ext4 *w)
{
  ext2_filsys fs = w->fs;
  blk64_t last = ext2fs_blocks_count (fs->super) - 1;
  if (w->free_end > last ||
      ext2fs_find_first_zero_block_bitmap2 (fs->block_map,
                                            MAX (w->free_end, fs->super->s_first_data_block),
                                            last, &w->free_at) != 0)
    return FALSE;
  if (ext2fs_find_first_set_block_bitmap2 (fs->block_map, w->free_at, last, &w->free_end) != 0)
    w->free_end = last + 1;
  return TRUE;
}

/* Takes n blocks in the runs of p, or none and leaves p->n 0. */
static void
place (struct cs_ext4 *w, guint64 n, struct cs_ext4_place *p)
{
  blk64_t at = w->free_at, end = w->free_end;
  p->n = 0;
  while (n > 0 && p->n < G_N_ELEMENTS (p->run)) {
    if (w->free_at == w->free_end && !next_free (w))
      break;
    guint64 len = MIN (MIN (n, w->free_end - w->free_at), (guint64) EXTENT_MAX);
    p->run[p->n].start = w->free_at;
    p->run[p->n++].len = len;
    w->free_at += len;
    n -= len;
  }
  if (n > 0) {
    p->n = 0;
    w->free_at = at;
    w->free_end = end;
  }
  for (guint k = 0; k < p->n; k++)
    ext2fs_block_alloc_stats_range (w->fs, p->run[k].start, (blk_t) p->run[k].len, +1);
}

static void
put_extents (struct ext2_inode *x, const struct cs_ext4_place *p)
{
  struct ext3_extent_header *h = (void *) x->i_block;
  struct ext3_extent *e = (void *) (h + 1);
  guint64 logical = 0;
  h->eh_magic = GUINT16_TO_LE (EXT3_EXT_MAGIC);
  h->eh_entries = GUINT16_TO_LE (p->n);
  h->eh_max = GUINT16_TO_LE (G_N_ELEMENTS (p->run));
  for (guint k = 0; k < p->n; k++) {
    e[k].ee_block = GUINT32_TO_LE ((guint32) logical);
    e[k].ee_len = GUINT16_TO_LE ((guint16) p->run[k].len);
    e[k].ee_start_hi = GUINT16_TO_LE ((guint16) (p->run[k].start >> 32));
    e[k].ee_start = GUINT32_TO_LE ((guint32) p->run[k].start);
    logical += p->run[k].len;
  }
}

/* The inode on disk, in whole: libext2fs would put the present in the place of 1970. */
static errcode_t
put_inode (struct cs_ext4 *w, const struct cs_inode *i, const struct ext2_inode *x)
{
  union {
    struct ext2_inode_large l;
    char room[CS_EXT4_INODE];
  } u;
  memset (&u, 0, sizeof u);
  memcpy (&u, x, sizeof *x);
  /* seconds since 1970 have 34 bits: the upper two are here */
  gint64 mtime = w->tree->mtime;
  guint32 upper = (guint32) ((mtime - (gint32) mtime) >> 32) & 3;
  u.l.i_extra_isize = sizeof u.l - EXT2_GOOD_OLD_INODE_SIZE;
  u.l.i_crtime = x->i_mtime;
  u.l.i_ctime_extra = u.l.i_mtime_extra = u.l.i_atime_extra = u.l.i_crtime_extra = upper;
  return ext2fs_write_inode_full (w->fs, i->number, (struct ext2_inode *) &u, sizeof u);
}

gboolean
cs_ext4_inode (struct cs_ext4 *w, const struct cs_inode *i, struct ext2_inode *x, guint64 n,
               guint64 size, const char *what, struct cs_ext4_place *ret, GError **err)
{
  errcode_t e;
  ret->n = 0;
  if (ext2fs_inode_size_set (w->fs, x, (ext2_off64_t) size) != 0)
    return cs_fail (err, CAPSTAN_E_LIMIT, "%s is too large for ext4", what);
  if (n > 0 || S_ISREG (i->type)) {
    x->i_flags |= EXT4_EXTENTS_FL;
    place (w, n, ret);
    put_extents (x, ret);
    ext2fs_iblk_set (w->fs, x, ret->n > 0 ? n : 0);
  }
  if ((e = put_inode (w, i, x)) != 0)
    return cs_ext4_fail (err, e, "write the inode of", what);
  if (i->number >= CS_EXT4_FIRST)
    ext2fs_inode_alloc_stats2 (w->fs, i->number, +1, S_ISDIR (i->type));
  if (n == 0 || ret->n > 0)
    return TRUE;
  e = ext2fs_fallocate (w->fs, EXT2_FALLOCATE_FORCE_INIT, i->number, NULL, ~0ULL, 0, n);
  w->free_at = w->free_end = 0; /* it looks for room by itself */
  return e == 0 || cs_ext4_fail (err, e, "find room for", what);
}

gboolean
cs_ext4_where (struct cs_ext4 *w, ext2_ino_t ino, const struct cs_ext4_place *p,
               guint64 logical, guint64 n, guint64 *ret_start, guint64 *ret_len, GError **err)
{
  ext2_extent_handle_t h = NULL;
  struct ext2fs_extent ex;
  guint64 skip = logical;
  for (guint k = 0; k < p->n; k++) {
    if (skip < p->run[k].len) {
      *ret_start = p->run[k].start + skip;
      *ret_len = MIN (n, p->run[k].len - skip);
      return TRUE;
    }
    skip -= p->run[k].len;
  }
  errcode_t e = ext2fs_extent_open (w->fs, ino, &h);
  if (e == 0 && (e = ext2fs_extent_goto (h, logical)) == 0)
    e = ext2fs_extent_get (h, EXT2_EXTENT_CURRENT, &ex);
  if (h != NULL)
    ext2fs_extent_free (h);
  if (e != 0)
    return cs_ext4_fail (err, e, "map", w->name);
  skip = logical - ex.e_lblk;
  *ret_start = ex.e_pblk + skip;
  *ret_len = MIN (n, ex.e_len - skip);
  return TRUE;
}
