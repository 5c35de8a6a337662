/* ext4 by libext2fs: allocated and written by us, in one pass, into a sparse file.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * libext2fs keeps bitmaps, inode tables and checksums. Directories are written as whole
 * blocks of sorted entries, since ext2fs_link searches all of a directory for each name;
 * file data are copied by the kernel into the extents that ext2fs_fallocate gave. */
#include "config.h"
#include "core/base/error.h"
#include "core/base/util.h"
#include "core/build/ext4.h"
#include <fcntl.h>
#include <openssl/evp.h>
#include <string.h>
#include <sys/stat.h>

enum { BLOCK = CS_EXT4_BLOCK, DESC = 64, LOST_FOUND = CS_EXT4_LOST_FOUND,
       FIRST = CS_EXT4_FIRST, INODE = 256, JOURNAL = 1024, MAX_DEPTH = 1000 };

gboolean
cs_ext4_fail (GError **err, errcode_t e, const char *what, const char *object)
{
  int code = e == EXT2_ET_BLOCK_ALLOC_FAIL || e == EXT2_ET_INODE_ALLOC_FAIL ? CAPSTAN_E_QUOTA
                                                                            : CAPSTAN_E_IO;
  return cs_fail (err, code, "ext4: %s %s: %s", what, object, error_message (e));
}

static guint64
blocks_of (guint64 bytes)
{
  return (bytes + BLOCK - 1) / BLOCK;
}

struct totals { guint64 blocks; guint32 inodes; };

/* Numbers the inodes, depth first, and sums what they need. */
static gboolean
number (struct cs_ext4 *w, struct cs_inode *i, struct totals *t, guint depth, GError **err)
{
  char line[64];
  if (i->number != 0)
    return TRUE; /* another name of it */
  i->number = i == w->tree->root ? EXT2_ROOT_INO : FIRST + t->inodes++;
  g_snprintf (line, sizeof line, "%o %u %u %" G_GUINT64_FORMAT "\n", i->type | i->perm, i->uid,
              i->gid, i->size);
  EVP_DigestUpdate (w->digest, line, strlen (line));
  if (S_ISREG (i->type)) /* and blocks of extents, should it be in pieces */
    t->blocks += blocks_of (i->size) + i->size / (64 * 1024 * 1024);
  else if (S_ISLNK (i->type))
    t->blocks += i->size >= 60;
  else {
    t->blocks += cs_ext4_dir_max (i);
    for (guint k = 0; i->children != NULL && k < i->children->len; k++) {
      struct cs_node *c = g_ptr_array_index (i->children, k);
      if (strlen (c->name) > EXT2_NAME_LEN || depth > MAX_DEPTH) {
        g_autofree char *q = cs_quote (c->name);
        return cs_fail (err, CAPSTAN_E_LIMIT,
                        depth > MAX_DEPTH
                          ? "%s: it is more than 1000 directories deep"
                          : "%s: a name of more than 255 bytes, which ext4 cannot hold; "
                            "rename the file",
                        q);
      }
      EVP_DigestUpdate (w->digest, c->name, strlen (c->name) + 1);
      if (!number (w, c->inode, t, depth + 1, err))
        return FALSE;
    }
  }
  return TRUE;
}

static void
reset_numbers (struct cs_inode *i)
{
  i->number = 0;
  for (guint k = 0; i->children != NULL && k < i->children->len; k++)
    reset_numbers (((struct cs_node *) g_ptr_array_index (i->children, k))->inode);
}

static gboolean
make_fs (struct cs_ext4 *w, const struct totals *t, const struct cs_fs_opts *o, GError **err)
{
  struct ext2_super_block p;
  memset (&p, 0, sizeof p);
  guint64 spare = o->min_free != 0 ? blocks_of (o->min_free)
                                   : MAX (blocks_of (64 * 1024 * 1024), t->blocks / 10);
  /* as mke2fs: an inode for 16 KiB of what is free */
  guint64 inodes = t->inodes + (guint64) 1024;
  guint64 used = t->blocks + JOURNAL + 8 + inodes / (BLOCK / INODE) + 64;
  used += used / 1000; /* bitmaps, descriptors and copies of the super block */
  guint64 total = used + spare + spare / 64 + spare / 1000;
  if (o->total_size != 0) {
    total = o->total_size / BLOCK;
    if (total < used + 16)
      return cs_fail (err, CAPSTAN_E_LIMIT, "%s: the size asked for is too small: the files "
                      "need %" G_GUINT64_FORMAT " MiB", w->name, used * BLOCK / 1048576 + 1);
    spare = total - used;
  }
  inodes += spare / 4;
  if (inodes > G_MAXUINT32 || total > G_MAXUINT32)
    return cs_fail (err, CAPSTAN_E_LIMIT, "%s: more files or data than ext4 is made for here "
                    "(16 TiB)", w->name);
  ext2fs_blocks_count_set (&p, total);
  p.s_inodes_count = (guint32) inodes;
  p.s_log_block_size = 2;
  p.s_rev_level = EXT2_DYNAMIC_REV;
  p.s_inode_size = INODE;
  p.s_feature_compat = EXT2_FEATURE_COMPAT_EXT_ATTR | EXT2_FEATURE_COMPAT_DIR_INDEX;
  p.s_feature_incompat = EXT2_FEATURE_INCOMPAT_FILETYPE | EXT3_FEATURE_INCOMPAT_EXTENTS |
                         EXT4_FEATURE_INCOMPAT_64BIT | EXT4_FEATURE_INCOMPAT_FLEX_BG;
  p.s_feature_ro_compat = EXT2_FEATURE_RO_COMPAT_SPARSE_SUPER |
                          EXT2_FEATURE_RO_COMPAT_LARGE_FILE | EXT4_FEATURE_RO_COMPAT_HUGE_FILE |
                          EXT4_FEATURE_RO_COMPAT_DIR_NLINK | EXT4_FEATURE_RO_COMPAT_EXTRA_ISIZE |
                          EXT4_FEATURE_RO_COMPAT_METADATA_CSUM;
  p.s_log_groups_per_flex = 4;
  p.s_desc_size = DESC;
  p.s_checksum_type = EXT2_CRC32C_CHKSUM;
  p.s_creator_os = EXT2_OS_LINUX;
  if (ftruncate (w->out, (off_t) (w->offset + total * BLOCK)) != 0)
    return cs_fail_errno (err, "write %s", w->name);
  g_autofree char *path = g_strdup_printf ("/proc/self/fd/%d", w->out);
  g_autofree char *at = g_strdup_printf ("offset=%" G_GUINT64_FORMAT, w->offset);
  errcode_t e = ext2fs_initialize (path, EXT2_FLAG_64BITS, &p, unix_io_manager, &w->fs);
  if (e != 0)
    return cs_ext4_fail (err, e, "start", w->name);
  if ((e = io_channel_set_options (w->fs->io, at)) != 0)
    return cs_ext4_fail (err, e, "place", w->name);
  unsigned char md[EVP_MAX_MD_SIZE];
  EVP_DigestFinal_ex (w->digest, md, NULL);
  md[6] = (unsigned char) ((md[6] & 0x0f) | 0x40);
  md[8] = (unsigned char) ((md[8] & 0x3f) | 0x80);
  struct ext2_super_block *s = w->fs->super;
  s->s_checksum_type = EXT2_CRC32C_CHKSUM; /* ext2fs_initialize does not take it over */
  memcpy (s->s_uuid, md, 16);
  memcpy (s->s_hash_seed, md + 16, 16);
  s->s_def_hash_version = EXT2_HASH_HALF_MD4;
  s->s_flags |= EXT2_FLAGS_UNSIGNED_HASH;
  s->s_min_extra_isize = s->s_want_extra_isize = 32;
  s->s_max_mnt_count = -1;
  /* 0 would mean: now */
  w->fs->now = w->tree->mtime > 0 ? w->tree->mtime : 1;
  s->s_lastcheck = s->s_mkfs_time = s->s_wtime = (guint32) w->fs->now;
  ext2fs_init_csum_seed (w->fs);
  if ((e = ext2fs_allocate_tables (w->fs)) != 0)
    return cs_ext4_fail (err, e, "lay out", w->name);
  /* the file is a hole, so the tables are zero: the kernel need not do it again */
  for (dgrp_t g = 0; g < w->fs->group_desc_count; g++) {
    ext2fs_bg_flags_set (w->fs, g, EXT2_BG_INODE_ZEROED);
    ext2fs_group_desc_csum_set (w->fs, g); /* else only groups in use get it again */
  }
  for (ext2_ino_t n = 1; n < FIRST; n++)
    ext2fs_inode_alloc_stats2 (w->fs, n, +1, n == EXT2_ROOT_INO || n == LOST_FOUND);
  return TRUE;
}

void
cs_ext4_fill (struct ext2_inode *x, const struct cs_inode *i)
{
  memset (x, 0, sizeof *x);
  x->i_mode = (guint16) (i->type | (i->perm & 07777));
  x->i_uid = (guint16) i->uid;
  x->i_gid = (guint16) i->gid;
  x->osd2.linux2.l_i_uid_high = (guint16) (i->uid >> 16);
  x->osd2.linux2.l_i_gid_high = (guint16) (i->gid >> 16);
  x->i_atime = x->i_ctime = x->i_mtime = (guint32) i->mtime;
  x->i_links_count = 1;
}

gboolean
cs_ext4_allocate (struct cs_ext4 *w, ext2_ino_t ino, struct ext2_inode *x, guint64 n, guint64 size,
          const char *what, GError **err)
{
  errcode_t e = 0;
  if (n > 0)
    x->i_flags |= EXT4_EXTENTS_FL;
  if (ext2fs_inode_size_set (w->fs, x, (ext2_off64_t) size) != 0)
    return cs_fail (err, CAPSTAN_E_LIMIT, "%s is too large for ext4", what);
  if ((e = ext2fs_write_new_inode (w->fs, ino, x)) != 0)
    return cs_ext4_fail (err, e, "write the inode of", what);
  if (n > 0 && (e = ext2fs_fallocate (w->fs, EXT2_FALLOCATE_FORCE_INIT, ino, x, ~0ULL, 0, n)) != 0)
    return cs_ext4_fail (err, e, "find room for", what);
  /* fallocate updates blocks in x and in the table; the size stays ours */
  if (n > 0 && (e = ext2fs_write_inode (w->fs, ino, x)) != 0)
    return cs_ext4_fail (err, e, "write the inode of", what);
  return TRUE;
}

gboolean
cs_ext4_block (struct cs_ext4 *w, ext2_ino_t ino, struct ext2_inode *x, guint64 logical, blk64_t *ret,
          GError **err)
{
  errcode_t e = ext2fs_bmap2 (w->fs, ino, x, NULL, 0, logical, NULL, ret);
  if (e != 0 || *ret == 0)
    return cs_ext4_fail (err, e != 0 ? e : EXT2_ET_BAD_BLOCK_NUM, "map a block of", w->name);
  return TRUE;
}

/* How many blocks from logical on stand one behind the other. */
static gboolean
run_at (struct cs_ext4 *w, ext2_ino_t ino, struct ext2_inode *x, guint64 logical, guint64 n,
        blk64_t *ret_start, guint64 *ret_len, GError **err)
{
  ext2_extent_handle_t h;
  struct ext2fs_extent ex;
  errcode_t e = ext2fs_extent_open2 (w->fs, ino, x, &h);
  if (e == 0 && (e = ext2fs_extent_goto (h, logical)) == 0)
    e = ext2fs_extent_get (h, EXT2_EXTENT_CURRENT, &ex);
  if (h != NULL)
    ext2fs_extent_free (h);
  if (e != 0)
    return cs_ext4_fail (err, e, "map", w->name);
  guint64 skip = logical - ex.e_lblk;
  *ret_start = ex.e_pblk + skip;
  *ret_len = MIN (n, ex.e_len - skip);
  return TRUE;
}

/* Bytes of the file to a place of the image; fd is the source if it is on the host. */
static gboolean
copy_piece (struct cs_ext4 *w, struct cs_inode *i, int fd, const char *what, guint64 from,
            guint64 n, guint64 to, GError **err)
{
  if (i->source == CS_SRC_HOST)
    return cs_copy_range (fd, from, w->out, to, n, what, w->name, err);
  if (i->source == CS_SRC_MEMORY)
    return cs_pwrite_all (w->out, i->bytes + from, n, to, w->name, err);
  for (guint k = 0; k < i->n_extents; k++) {
    const struct cs_extent *x = &i->extents[k];
    guint64 a = MAX (from, x->logical), b = MIN (from + n, x->logical + x->length);
    if (a < b && !cs_copy_range (i->fd, x->physical + a - x->logical, w->out, to + a - from,
                                 b - a, what, w->name, err))
      return FALSE;
  }
  return TRUE;
}

static gboolean
write_file (struct cs_ext4 *w, struct cs_inode *i, GError **err)
{
  struct ext2_inode x;
  guint64 n = blocks_of (i->size), done, len;
  blk64_t start;
  g_autofree char *what = cs_source_name (i);
  if (i->nlink > 65000)
    return cs_fail (err, CAPSTAN_E_LIMIT, "%s: %u hard links; ext4 has at most 65000", what,
                    i->nlink);
  cs_ext4_fill (&x, i);
  x.i_links_count = (guint16) MAX (i->nlink, 1u);
  if (!cs_ext4_allocate (w, i->number, &x, n, i->size, what, err))
    return FALSE;
  ext2fs_inode_alloc_stats2 (w->fs, i->number, +1, 0);
  w->data_bytes += i->size;
  if (n == 0 || i->source == CS_SRC_NONE)
    return TRUE;
  if (!run_at (w, i->number, &x, 0, n, &start, &len, err))
    return FALSE;
  if (len == n)
    return cs_source_copy (i, w->out, w->offset + start * BLOCK, w->name, err);
  cs_autofd int fd = i->source == CS_SRC_HOST ? cs_source_open (i, err) : -1;
  if (i->source == CS_SRC_HOST && fd < 0)
    return FALSE;
  for (done = 0; done < n; done += len)
    if (!run_at (w, i->number, &x, done, n - done, &start, &len, err) ||
        !copy_piece (w, i, fd, what, done * BLOCK,
                     MIN (len * BLOCK, i->size - done * BLOCK), w->offset + start * BLOCK, err))
      return FALSE;
  if (i->source != CS_SRC_HOST)
    return TRUE;
  cs_autofd int same = cs_source_open (i, err); /* it did not change meanwhile */
  return same >= 0;
}

static gboolean
write_symlink (struct cs_ext4 *w, struct cs_inode *i, GError **err)
{
  struct ext2_inode x;
  blk64_t b;
  cs_ext4_fill (&x, i);
  gboolean fast = i->size < 60;
  if (i->size >= BLOCK)
    return cs_fail (err, CAPSTAN_E_LIMIT, "a symlink of more than 4095 bytes: %s", i->bytes);
  x.i_links_count = (guint16) MAX (i->nlink, 1u);
  if (fast)
    memcpy (x.i_block, i->bytes, i->size);
  if (!cs_ext4_allocate (w, i->number, &x, fast ? 0 : 1, i->size, i->bytes, err))
    return FALSE;
  ext2fs_inode_alloc_stats2 (w->fs, i->number, +1, 0);
  if (fast)
    return TRUE;
  return cs_ext4_block (w, i->number, &x, 0, &b, err) &&
         cs_pwrite_all (w->out, i->bytes, i->size, w->offset + b * BLOCK, w->name, err);
}

static gboolean
write_inode (struct cs_ext4 *w, struct cs_inode *i, guint32 parent, guint32 lost_found,
             GError **err)
{
  if (!S_ISDIR (i->type)) {
    if (ext2fs_test_inode_bitmap2 (w->fs->inode_map, i->number))
      return TRUE; /* another name of it */
    return S_ISLNK (i->type) ? write_symlink (w, i, err) : write_file (w, i, err);
  }
  if (!cs_ext4_write_dir (w, i, parent, lost_found, err))
    return FALSE;
  for (guint k = 0; i->children != NULL && k < i->children->len; k++)
    if (!write_inode (w, ((struct cs_node *) g_ptr_array_index (i->children, k))->inode,
                      i->number, 0, err))
      return FALSE;
  return TRUE;
}

static gboolean
write_all (struct cs_ext4 *w, GError **err)
{
  struct cs_inode lost = { .type = S_IFDIR, .perm = 0700, .number = LOST_FOUND,
                           .mtime = w->tree->mtime };
  /* a folder of that name in the tree takes the place of ours */
  gboolean own = cs_tree_child (w->tree->root, "lost+found") == NULL;
  if (!own)
    ext2fs_inode_alloc_stats2 (w->fs, LOST_FOUND, -1, 1);
  if (!write_inode (w, w->tree->root, EXT2_ROOT_INO, own ? LOST_FOUND : 0, err) ||
      (own && !cs_ext4_write_dir (w, &lost, EXT2_ROOT_INO, 0, err)))
    return FALSE;
  /* its blocks stay holes: only the first is written */
  errcode_t e = ext2fs_add_journal_inode (w->fs, JOURNAL, EXT2_MKJOURNAL_LAZYINIT);
  if (e != 0)
    return cs_ext4_fail (err, e, "make the journal of", w->name);
  if ((e = ext2fs_update_bb_inode (w->fs, NULL)) != 0)
    return cs_ext4_fail (err, e, "finish", w->name);
  return TRUE;
}

gboolean
cs_ext4_write (struct cs_tree *t, int out, guint64 offset, const char *name,
               const struct cs_fs_opts *o, struct cs_fs_result *ret, GError **err)
{
  struct cs_ext4 w = { .out = out, .offset = offset, .name = name, .tree = t };
  struct totals sum = { 0 };
  struct stat before, after;
  initialize_ext2_error_table ();
  reset_numbers (t->root);
  w.digest = EVP_MD_CTX_new ();
  EVP_DigestInit_ex (w.digest, EVP_sha256 (), NULL);
  gboolean ok = fstat (out, &before) == 0 && number (&w, t->root, &sum, 0, err) &&
                make_fs (&w, &sum, o, err) && write_all (&w, err);
  EVP_MD_CTX_free (w.digest);
  guint64 size = ok ? ext2fs_blocks_count (w.fs->super) * BLOCK : 0;
  if (ok) {
    /* whoever made the file brings it to the disk */
    errcode_t e = ext2fs_close2 (w.fs, EXT2_FLAG_FLUSH_NO_SYNC);
    ok = e == 0 || cs_ext4_fail (err, e, "write", name);
    if (ok)
      w.fs = NULL;
  }
  if (w.fs != NULL)
    ext2fs_free (w.fs);
  if (!ok)
    return FALSE;
  /* the boot block must not be cut off, and the last block has to be there */
  if (fstat (out, &after) != 0 || ((guint64) after.st_size < offset + size &&
                                   ftruncate (out, (off_t) (offset + size)) != 0))
    return cs_fail_errno (err, "write %s", name);
  ret->size = size;
  ret->data_bytes = w.data_bytes;
  guint64 written = (guint64) (after.st_blocks - before.st_blocks) * 512;
  ret->meta_bytes = written > w.data_bytes ? written - w.data_bytes : 0;
  return TRUE;
}
