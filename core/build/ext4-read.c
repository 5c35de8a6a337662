/* Reads the tree of an ext2, ext3 or ext4 file system; file data stay where they are.
 * SPDX-License-Identifier: BSD-3-Clause */
#include "config.h"
#include "core/base/error.h"
#include "core/base/util.h"
#include "core/build/ext4.h"
#include <string.h>
#include <sys/stat.h>

enum { MAX_DEPTH = 200, MAX_NAMES = 5 * 1000 * 1000 };

struct reader {
  ext2_filsys fs;
  struct cs_tree *tree;
  int fd;
  guint64 offset, length;
  const char *name;
  GHashTable *seen; /* ino -> inode, of files with several names; of directories: itself */
  guint names;
  guint64 blocks, attrs;
  GError **err;
};
struct dir_walk { struct reader *r; const char *path; guint depth; gboolean ok; };

static gboolean
bad (struct reader *r, const char *what, const char *path)
{
  return cs_fail (r->err, CAPSTAN_E_INVAL, "the ext4 of %s is damaged: %s %s", r->name, what, path);
}

struct runs { struct reader *r; GArray *a; };

/* n blocks of a file. No block belongs to two files, so all files have at most all blocks. */
static gboolean
add_run (struct runs *x, guint64 logical, guint64 physical, guint64 n)
{
  struct reader *r = x->r;
  guint64 bs = r->fs->blocksize, all = r->length / bs;
  if (physical >= all || n > all - physical || n > all - r->blocks)
    return FALSE;
  r->blocks += n;
  struct cs_extent e = { logical * bs, r->offset + physical * bs, n * bs };
  struct cs_extent *last = x->a->len > 0 ? &g_array_index (x->a, struct cs_extent, x->a->len - 1) : NULL;
  if (last != NULL && last->logical + last->length == e.logical &&
      last->physical + last->length == e.physical)
    last->length += e.length;
  else
    g_array_append_val (x->a, e);
  return TRUE;
}

static int
on_block (ext2_filsys fs, blk64_t *nr, e2_blkcnt_t logical, blk64_t ref, int ref_off, void *x)
{
  return logical < 0 || add_run (x, (guint64) logical, *nr, 1) ? 0 : BLOCK_ABORT | BLOCK_ERROR;
}

/* Extents that were allocated and never written read as zeros, whatever lies there. */
static gboolean
add_extents (struct runs *x, ext2_ino_t ino, struct ext2_inode *inode)
{
  ext2_extent_handle_t h;
  struct ext2fs_extent e;
  guint64 nodes = 0;
  int op = EXT2_EXTENT_ROOT;
  errcode_t rc = ext2fs_extent_open2 (x->r->fs, ino, inode, &h);
  if (rc != 0)
    return FALSE;
  while ((rc = ext2fs_extent_get (h, op, &e)) == 0) {
    op = EXT2_EXTENT_NEXT;
    if (++nodes > x->r->length / x->r->fs->blocksize + 64)
      break; /* more than there can be: a loop */
    if ((e.e_flags & EXT2_EXTENT_FLAGS_LEAF) && !(e.e_flags & EXT2_EXTENT_FLAGS_UNINIT) &&
        !add_run (x, e.e_lblk, e.e_pblk, e.e_len))
      break;
  }
  ext2fs_extent_free (h);
  return rc == EXT2_ET_EXTENT_NO_NEXT;
}

static gboolean
read_file (struct reader *r, struct cs_inode *i, ext2_ino_t ino, struct ext2_inode *x, const char *path)
{
  i->size = EXT2_I_SIZE (x);
  i->source = CS_SRC_IMAGE;
  i->fd = r->fd;
  i->fd_name = r->name;
  if (x->i_flags & (EXT4_INLINE_DATA_FL | 0x800 /* encrypted */))
    return bad (r, "inline or encrypted data, which cannot be read here:", path);
  struct runs b = { r, g_array_new (FALSE, FALSE, sizeof (struct cs_extent)) };
  gboolean ok = x->i_flags & EXT4_EXTENTS_FL
                    ? add_extents (&b, ino, x)
                    : ext2fs_block_iterate3 (r->fs, ino, BLOCK_FLAG_READ_ONLY | BLOCK_FLAG_DATA_ONLY,
                                             NULL, on_block, &b) == 0;
  i->n_extents = b.a->len;
  i->extents = (struct cs_extent *) (void *) g_array_free (b.a, FALSE);
  return ok || bad (r, "the blocks of", path);
}

static gboolean
read_link (struct reader *r, struct cs_inode *i, ext2_ino_t ino, struct ext2_inode *x, const char *path)
{
  guint64 n = EXT2_I_SIZE (x);
  if (n == 0 || n >= r->fs->blocksize)
    return bad (r, "the symlink", path);
  i->bytes = g_malloc0 (r->fs->blocksize + 1);
  i->size = n;
  if (n < sizeof x->i_block && ext2fs_is_fast_symlink (x)) {
    memcpy (i->bytes, x->i_block, n);
    return TRUE;
  }
  blk64_t b = 0;
  if (ext2fs_bmap2 (r->fs, ino, x, NULL, 0, 0, NULL, &b) != 0 || b == 0 ||
      (b + 1) * r->fs->blocksize > r->length)
    return bad (r, "the symlink", path);
  return cs_pread_all (r->fd, i->bytes, n, r->offset + b * r->fs->blocksize, r->name, r->err);
}

/* Owner, attributes: what every kind has. */
static gboolean
read_common (struct reader *r, struct cs_inode *i, ext2_ino_t ino, struct ext2_inode *x,
             const char *path)
{
  i->perm = x->i_mode & 07777;
  i->uid = inode_uid (*x);
  i->gid = inode_gid (*x);
  if (ext2fs_file_acl_block (r->fs, x) >= r->length / r->fs->blocksize)
    return bad (r, "the extended attributes of", path);
  return cs_ext4_read_attrs (r->fs, ino, r->tree, i, &r->attrs, r->name, path, r->err);
}

static gboolean read_dir (struct reader *r, ext2_ino_t ino, const char *path, guint depth);

static gboolean
read_entry (struct reader *r, ext2_ino_t ino, const char *path, guint depth)
{
  struct ext2_inode x;
  struct cs_inode *known = g_hash_table_lookup (r->seen, GUINT_TO_POINTER (ino));
  if (++r->names > MAX_NAMES)
    return bad (r, "too many names at", path);
  if (known != NULL) {
    if (S_ISDIR (known->type))
      return bad (r, "a folder that has two names:", path);
    return cs_tree_put (r->tree, path, known, r->err);
  }
  if (ino < 2 || ino > r->fs->super->s_inodes_count || ext2fs_read_inode (r->fs, ino, &x) != 0)
    return bad (r, "the inode of", path);
  mode_t type = x.i_mode & S_IFMT;
  if (type != S_IFDIR && type != S_IFREG && type != S_IFLNK)
    return TRUE; /* devices, sockets: nothing that an image needs */
  struct cs_inode *i = cs_inode_new (r->tree, type, x.i_mode & 07777);
  g_hash_table_insert (r->seen, GUINT_TO_POINTER (ino), i);
  if (!read_common (r, i, ino, &x, path) ||
      (type == S_IFREG && !read_file (r, i, ino, &x, path)) ||
      (type == S_IFLNK && !read_link (r, i, ino, &x, path)) ||
      !cs_tree_put (r->tree, path, i, r->err))
    return FALSE;
  return type != S_IFDIR || read_dir (r, ino, path, depth + 1);
}

static int
on_entry (ext2_ino_t dir, int entry, struct ext2_dir_entry *de, int off, int bs, char *buf, void *p)
{
  struct dir_walk *w = p;
  gsize n = (gsize) ext2fs_dirent_name_len (de);
  g_autofree char *name = g_strndup (de->name, n);
  if (de->inode == 0 || strcmp (name, ".") == 0 || strcmp (name, "..") == 0 ||
      (w->depth == 0 && strcmp (name, "lost+found") == 0))
    return 0;
  if (n == 0 || strlen (name) != n || strchr (name, '/') != NULL) {
    w->ok = bad (w->r, "a name in", w->path);
    return DIRENT_ABORT;
  }
  g_autofree char *path = g_strconcat (w->depth == 0 ? "" : w->path, "/", name, NULL);
  w->ok = read_entry (w->r, de->inode, path, w->depth);
  return w->ok ? 0 : DIRENT_ABORT;
}

static gboolean
read_dir (struct reader *r, ext2_ino_t ino, const char *path, guint depth)
{
  struct dir_walk w = { r, path, depth, TRUE };
  if (depth > MAX_DEPTH)
    return bad (r, "too deep:", path);
  errcode_t e = ext2fs_dir_iterate2 (r->fs, ino, 0, NULL, on_entry, &w);
  if (w.ok && e != 0)
    return bad (r, "the folder", path);
  return w.ok;
}

gboolean
cs_ext4_read (struct cs_tree *t, int fd, guint64 offset, guint64 length, const char *name,
              GError **err)
{
  struct reader r = { .tree = t, .fd = fd, .offset = offset, .length = length, .name = name, .err = err };
  g_autofree char *part = cs_ext4_io_name (fd, offset, length);
  struct ext2_inode root;
  initialize_ext2_error_table ();
  errcode_t e = ext2fs_open2 (part, NULL, EXT2_FLAG_64BITS, 0, 0, &cs_ext4_io, &r.fs);
  if (e != 0)
    return cs_fail (err, CAPSTAN_E_INVAL, "the ext4 of %s cannot be read: %s", name, error_message (e));
  if (ext2fs_has_feature_journal_needs_recovery (r.fs->super)) {
    ext2fs_free (r.fs);
    return cs_fail (err, CAPSTAN_E_INVAL, "the ext4 of %s was not unmounted: its journal has "
                    "changes; run e2fsck on it first", name);
  }
  gboolean ok = ext2fs_blocks_count (r.fs->super) * r.fs->blocksize <= length ||
                bad (&r, "it is larger than its", "partition");
  r.seen = g_hash_table_new (NULL, NULL);
  ok = ok && (ext2fs_read_inode (r.fs, EXT2_ROOT_INO, &root) == 0 ||
              bad (&r, "the inode of", "/")) &&
       read_common (&r, t->root, EXT2_ROOT_INO, &root, "/") &&
       read_dir (&r, EXT2_ROOT_INO, "/", 0);
  g_hash_table_unref (r.seen);
  ext2fs_free (r.fs);
  return ok;
}
