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
#include <string.h>
#include <sys/stat.h>

enum { BLOCK = CS_EXT4_BLOCK, DESC = 64, LOST_FOUND = CS_EXT4_LOST_FOUND,
       FIRST = CS_EXT4_FIRST, INODE = CS_EXT4_INODE, JOURNAL = 1024, MAX_DEPTH = 1000 };

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

static void
digest (struct cs_ext4 *w, const struct cs_inode *i)
{
  guint64 v[4] = { i->type | i->perm, i->uid, i->gid, i->size };
  for (guint k = 0; k < G_N_ELEMENTS (v); k++)
    v[k] = GUINT64_TO_LE (v[k]);
  g_checksum_update (w->digest, (const guchar *) v, sizeof v);
  for (guint k = 0; i->attrs && k < i->attrs->len; k++) {
    const struct cs_attr *a = g_ptr_array_index (i->attrs, k);
    g_checksum_update (w->digest, (const guchar *) a->name, (gssize) strlen (a->name) + 1);
    g_checksum_update (w->digest, a->value, (gssize) a->size);
  }
}

/* Numbers the inodes, depth first, and sums what they need. */
static gboolean
number (struct cs_ext4 *w, struct cs_inode *i, struct totals *t, guint depth, GError **err)
{
  if (i->number != 0)
    return TRUE; /* another name of it */
  i->number = i == w->tree->root ? EXT2_ROOT_INO : FIRST + t->inodes++;
  digest (w, i);
  t->blocks += i->attrs != NULL;
  if (S_ISREG (i->type)) /* and blocks of extents, should it be in pieces */
    t->blocks += blocks_of (i->size) + i->size / (64 * 1024 * 1024);
  else if (S_ISLNK (i->type))
    t->blocks += i->size >= 60;
  else {
    t->blocks += cs_ext4_dir_max (i);
    for (guint k = 0; i->children != NULL && k < i->children->len; k++) {
      struct cs_node *c = g_ptr_array_index (i->children, k);
      gsize len = strlen (c->name);
      if (len > EXT2_NAME_LEN || depth > MAX_DEPTH) {
        g_autofree char *q = cs_quote (c->name);
        return cs_fail (err, CAPSTAN_E_LIMIT,
                        depth > MAX_DEPTH
                          ? "%s: it is more than 1000 directories deep"
                          : "%s: a name of more than 255 bytes, which ext4 cannot hold; "
                            "rename the file",
                        q);
      }
      g_checksum_update (w->digest, (const guchar *) c->name, (gssize) len + 1);
      if (!number (w, c->inode, t, depth + 1, err))
        return FALSE;
    }
  }
  return TRUE;
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
  if (ftruncate (w->g.fd, (off_t) (w->offset + total * BLOCK)) != 0)
    return cs_fail_errno (err, "write %s", w->name);
  g_autofree char *part = cs_ext4_io_name (w->g.fd, w->offset, total * BLOCK);
  errcode_t e = ext2fs_initialize (part, EXT2_FLAG_64BITS, &p, &cs_ext4_io, &w->fs);
  if (e != 0)
    return cs_ext4_fail (err, e, "start", w->name);
  unsigned char md[32];
  gsize md_len = sizeof md;
  g_checksum_get_digest (w->digest, md, &md_len);
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

/* A large file in several runs. */
static gboolean
copy_runs (struct cs_ext4 *w, struct cs_inode *i, const struct cs_ext4_place *p, GError **err)
{
  guint64 n = blocks_of (i->size), start, len;
  if (!cs_gather_flush (&w->g, err))
    return FALSE;
  cs_autofd int fd = i->source == CS_SRC_HOST ? cs_source_open (i, err) : -1;
  if (i->source == CS_SRC_HOST && fd < 0)
    return FALSE;
  for (guint64 done = 0; done < n; done += len)
    if (!cs_ext4_where (w, i->number, p, done, n - done, &start, &len, err) ||
        !cs_source_copy_part (i, fd, done * BLOCK, MIN (len * BLOCK, i->size - done * BLOCK),
                              w->g.fd, w->offset + start * BLOCK, w->name,
                              &w->g.data_bytes, err))
      return FALSE;
  return fd < 0 || cs_source_same (i, fd, err);
}

static gboolean
write_file (struct cs_ext4 *w, struct cs_inode *i, const char *name, GError **err)
{
  struct ext2_inode x;
  struct cs_ext4_place p;
  guint64 n = blocks_of (i->size), start, len;
  if (i->nlink > 65000)
    return cs_fail (err, CAPSTAN_E_LIMIT, "%s: %u hard links; ext4 has at most 65000", name,
                    i->nlink);
  cs_ext4_fill (w, &x, i);
  if (!cs_ext4_inode (w, i, &x, n, i->size, name, &p, err))
    return FALSE;
  if (n == 0 || i->source == CS_SRC_NONE)
    return TRUE;
  if (!cs_ext4_where (w, i->number, &p, 0, n, &start, &len, err))
    return FALSE;
  return len == n ? cs_gather_file (&w->g, i, w->offset + start * BLOCK, BLOCK, err)
                  : copy_runs (w, i, &p, err);
}

static gboolean
write_symlink (struct cs_ext4 *w, struct cs_inode *i, const char *name, GError **err)
{
  struct ext2_inode x;
  struct cs_ext4_place p;
  guint64 start, len;
  cs_ext4_fill (w, &x, i);
  gboolean fast = i->size < 60;
  if (i->size >= BLOCK)
    return cs_fail (err, CAPSTAN_E_LIMIT, "%s: a symlink of more than 4095 bytes", name);
  if (fast)
    memcpy (x.i_block, i->bytes, i->size);
  if (!cs_ext4_inode (w, i, &x, fast ? 0 : 1, i->size, name, &p, err))
    return FALSE;
  if (fast)
    return TRUE;
  if (!cs_ext4_where (w, i->number, &p, 0, 1, &start, &len, err) ||
      !cs_gather_seek (&w->g, w->offset + start * BLOCK, err))
    return FALSE;
  guint8 *to = cs_gather_room (&w->g, BLOCK, err);
  if (!to)
    return FALSE;
  memset (to, 0, BLOCK);
  memcpy (to, i->bytes, i->size);
  return TRUE;
}

/* `name` is its name in the directory `parent`, for messages. */
static gboolean
write_inode (struct cs_ext4 *w, struct cs_inode *i, const char *name, guint32 parent,
             guint32 lost_found, GError **err)
{
  if (!S_ISDIR (i->type)) {
    if (ext2fs_test_inode_bitmap2 (w->fs->inode_map, i->number))
      return TRUE; /* another name of it */
    return (S_ISLNK (i->type) ? write_symlink (w, i, name, err)
                              : write_file (w, i, name, err)) &&
           cs_ext4_write_attrs (w, i, name, err);
  }
  if (!cs_ext4_write_dir (w, i, parent, lost_found, err) ||
      !cs_ext4_write_attrs (w, i, name, err))
    return FALSE;
  for (guint k = 0; i->children != NULL && k < i->children->len; k++) {
    struct cs_node *c = g_ptr_array_index (i->children, k);
    if (!write_inode (w, c->inode, c->name, i->number, 0, err))
      return FALSE;
  }
  return TRUE;
}

static gboolean
write_all (struct cs_ext4 *w, GError **err)
{
  struct cs_inode lost = { .type = S_IFDIR, .perm = 0700, .number = LOST_FOUND };
  /* a folder of that name in the tree takes the place of ours */
  gboolean own = cs_tree_child (w->tree->root, "lost+found") == NULL;
  if (!own)
    ext2fs_inode_alloc_stats2 (w->fs, LOST_FOUND, -1, 1);
  if (!write_inode (w, w->tree->root, "/", EXT2_ROOT_INO, own ? LOST_FOUND : 0, err) ||
      (own && !cs_ext4_write_dir (w, &lost, EXT2_ROOT_INO, 0, err)) ||
      !cs_gather_flush (&w->g, err))
    return FALSE;
  /* its blocks stay holes: only the first is written */
  errcode_t e = ext2fs_add_journal_inode (
      w->fs, JOURNAL, EXT2_MKJOURNAL_LAZYINIT | EXT2_MKJOURNAL_NO_MNT_CHECK);
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
  struct cs_ext4 w = { .offset = offset, .name = name, .tree = t };
  struct totals sum = { 0 };
  struct stat st;
  initialize_ext2_error_table ();
  for (guint k = 0; k < t->inodes->len; k++)
    ((struct cs_inode *) g_ptr_array_index (t->inodes, k))->number = 0;
  cs_gather_init (&w.g, out, name, offset);
  w.digest = g_checksum_new (G_CHECKSUM_SHA256);
  gboolean ok = number (&w, t->root, &sum, 0, err) && make_fs (&w, &sum, o, err) &&
                write_all (&w, err);
  g_checksum_free (w.digest);
  cs_gather_clear (&w.g);
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
  /* the last block has to be there */
  if (fstat (out, &st) != 0 || ((guint64) st.st_size < offset + size &&
                                ftruncate (out, (off_t) (offset + size)) != 0))
    return cs_fail_errno (err, "write %s", name);
  ret->size = size;
  ret->data_bytes = w.g.data_bytes;
  return TRUE;
}
