/* Reads the tree of a ROFS, trusting nothing in it. SPDX-License-Identifier: BSD-3-Clause */
#include "config.h"
#include <string.h>
#include <sys/stat.h>
#include "core/base/error.h"
#include "core/base/util.h"
#include "core/build/fs.h"
#include "core/build/rofs.h"

#define META_MAX (256u * 1024 * 1024)
#define PATH_LIMIT 32768

struct reader {
  const char *name; /* of the image, for messages */
  int fd;
  guint64 offset, length; /* of the file system in fd */
  guint8 *meta;           /* the structure area */
  guint64 meta_size;
  guint64 n_entries, n_links, n_inodes;
  guint32 *entries;       /* where each entry begins in meta */
  guint32 *links;
  guint8 *inodes;         /* in meta */
  struct cs_inode **made; /* what an inode number has become */
  struct cs_tree *t;
};

static gboolean
fail_bad (struct reader *r, const char *what, GError **err)
{
  return cs_fail (err, CAPSTAN_E_INVAL, "%s: its ROFS is damaged: %s", r->name, what);
}

static gboolean
read_meta (struct reader *r, GError **err)
{
  guint8 super[ROFS_SUPER];
  if (r->length < ROFS_BLOCK)
    return fail_bad (r, "the partition is too short", err);
  if (!cs_pread_all (r->fd, super, sizeof super, r->offset, r->name, err))
    return FALSE;
  if (rofs_get64 (super) != ROFS_MAGIC)
    return fail_bad (r, "no ROFS superblock", err);
  if (rofs_get64 (super + 8) != ROFS_VERSION || rofs_get64 (super + 16) != ROFS_BLOCK)
    return fail_bad (r, "a version or block size that is not known", err);
  guint64 first = rofs_get64 (super + 24), count = rofs_get64 (super + 32);
  guint64 blocks = r->length / ROFS_BLOCK;
  if (first == 0 || first > blocks || count > blocks - first)
    return fail_bad (r, "the structure area lies outside", err);
  if (count > META_MAX / ROFS_BLOCK)
    return fail_bad (r, "the structure area is larger than 256 MiB", err);
  r->meta_size = count * ROFS_BLOCK;
  r->n_entries = rofs_get64 (super + 40);
  r->n_links = rofs_get64 (super + 48);
  r->n_inodes = rofs_get64 (super + 56);
  if (r->n_entries > r->meta_size / 10 || r->n_links > r->meta_size / 2 ||
      r->n_inodes > r->meta_size / ROFS_INODE || r->n_inodes == 0)
    return fail_bad (r, "more entries than the structure area can hold", err);
  r->meta = g_try_malloc (r->meta_size);
  r->entries = g_try_new (guint32, r->n_entries + 1);
  r->links = g_try_new (guint32, r->n_links + 1);
  r->made = g_try_new0 (struct cs_inode *, r->n_inodes);
  if (!r->meta || !r->entries || !r->links || !r->made)
    return cs_fail (err, CAPSTAN_E_NOMEM, "%s: no memory for the tables of its ROFS",
                    r->name);
  return cs_pread_all (r->fd, r->meta, r->meta_size, r->offset + first * ROFS_BLOCK,
                       r->name, err);
}

/* Finds where each entry begins; `head` bytes before the length of the name. */
static gboolean
index_table (struct reader *r, guint32 *table, guint64 n, guint head, guint64 *pos,
             GError **err)
{
  for (guint64 k = 0; k < n; k++) {
    table[k] = (guint32) *pos;
    if (*pos + head + 2 > r->meta_size)
      return fail_bad (r, "a table runs past its end", err);
    *pos += head + 2 + rofs_get16 (r->meta + *pos + head);
    if (*pos > r->meta_size)
      return fail_bad (r, "a name runs past the end of its table", err);
  }
  return TRUE;
}

static gboolean
index_meta (struct reader *r, GError **err)
{
  guint64 pos = 0;
  if (!index_table (r, r->entries, r->n_entries, 8, &pos, err) ||
      !index_table (r, r->links, r->n_links, 0, &pos, err))
    return FALSE;
  if (r->n_inodes > (r->meta_size - pos) / ROFS_INODE)
    return fail_bad (r, "the inode table runs past the end", err);
  r->inodes = r->meta + pos;
  for (guint64 k = 0; k < r->n_inodes; k++)
    if (rofs_get64 (r->inodes + k * ROFS_INODE + 8) != k + 1)
      return fail_bad (r, "an inode has the wrong number", err);
  return TRUE;
}

/* A new inode of the plan for number k + 1. */
static struct cs_inode *
make_inode (struct reader *r, guint64 k, GError **err)
{
  const guint8 *p = r->inodes + k * ROFS_INODE;
  guint64 mode = rofs_get64 (p), at = rofs_get64 (p + 16), count = rofs_get64 (p + 24);
  struct cs_inode *i = NULL;
  if (mode == ROFS_DIR) {
    if (at > r->n_entries || count > r->n_entries - at)
      fail_bad (r, "a directory's entries lie outside", err);
    else
      i = cs_inode_new (r->t, S_IFDIR, 0755);
  } else if (mode == ROFS_FILE) {
    guint64 blocks = r->length / ROFS_BLOCK;
    /* The last sector of a partition made by older tools may be cut off; data cannot. */
    if (count > 0 && (at > blocks || count > r->length - at * ROFS_BLOCK)) {
      fail_bad (r, "a file's data lies outside", err);
      return NULL;
    }
    i = cs_inode_new (r->t, S_IFREG, 0755);
    i->size = count;
    if (count > 0) {
      i->source = CS_SRC_IMAGE;
      i->fd = r->fd;
      i->fd_name = r->name;
      i->n_extents = 1;
      i->extents = g_new (struct cs_extent, 1);
      *i->extents = (struct cs_extent) { 0, r->offset + at * ROFS_BLOCK, count };
    }
  } else if (mode == ROFS_LINK) {
    const guint8 *link = at < r->n_links ? r->meta + r->links[at] : NULL;
    guint16 len = link ? rofs_get16 (link) : 0;
    if (len == 0 || memchr (link + 2, 0, len)) {
      fail_bad (r, "a symbolic link without a target", err);
      return NULL;
    }
    i = cs_inode_new (r->t, S_IFLNK, 0777);
    i->size = len;
    i->bytes = g_strndup ((const char *) link + 2, len);
  } else
    fail_bad (r, "an inode of an unknown kind", err);
  return i;
}

struct todo { char *path; guint64 k; };

static void
todo_free (gpointer p)
{
  struct todo *d = p;
  g_free (d->path);
  g_free (d);
}

static void
todo_add (GQueue *q, const char *dir, const char *name, guint64 k)
{
  struct todo *d = g_new (struct todo, 1);
  d->path = g_strconcat (dir, "/", name, NULL);
  d->k = k;
  g_queue_push_tail (q, d);
}

static gboolean
read_entry (struct reader *r, GQueue *q, struct todo *dir, guint64 entry, GError **err)
{
  const guint8 *p = r->meta + r->entries[entry];
  guint64 number = rofs_get64 (p);
  guint16 len = rofs_get16 (p + 8);
  g_autofree char *name = g_strndup ((const char *) p + 10, len);
  if (len == 0 || strlen (name) != len || strchr (name, '/') || strcmp (name, ".") == 0 ||
      strcmp (name, "..") == 0)
    return fail_bad (r, "a file name that cannot be", err);
  if (number == 0 || number > r->n_inodes)
    return fail_bad (r, "an entry without an inode", err);
  guint64 k = number - 1;
  struct cs_inode *i = r->made[k], *parent = r->made[dir->k];
  if (i && S_ISDIR (i->type))
    return fail_bad (r, "a directory with two names", err);
  if (!i && !(i = r->made[k] = make_inode (r, k, err)))
    return FALSE;
  if (cs_tree_child (parent, name))
    return fail_bad (r, "a name that is there twice", err);
  g_autofree char *path = g_strconcat (dir->path, "/", name, NULL);
  if (strlen (path) > PATH_LIMIT)
    return fail_bad (r, "directories nested too deeply", err);
  if (!cs_tree_put (r->t, path, i, err))
    return FALSE;
  if (S_ISDIR (i->type))
    todo_add (q, dir->path, name, k);
  return TRUE;
}

static gboolean
read_tree (struct reader *r, GError **err)
{
  g_autoptr (GQueue) q = g_queue_new ();
  gboolean ok = TRUE;
  if (!(r->made[0] = make_inode (r, 0, err)))
    return FALSE;
  if (!S_ISDIR (r->made[0]->type))
    return fail_bad (r, "its root is no directory", err);
  if (!cs_tree_put (r->t, "/", r->made[0], err))
    return FALSE;
  r->made[0] = r->t->root; /* which stays the one it was */
  struct todo *d = g_new0 (struct todo, 1);
  d->path = g_strdup ("");
  g_queue_push_tail (q, d);
  while (ok && (d = g_queue_pop_head (q))) {
    const guint8 *p = r->inodes + d->k * ROFS_INODE;
    guint64 first = rofs_get64 (p + 16), n = rofs_get64 (p + 24);
    for (guint64 k = first; ok && k < first + n; k++)
      ok = read_entry (r, q, d, k, err);
    todo_free (d);
  }
  g_queue_foreach (q, (GFunc) (void (*) (void)) todo_free, NULL);
  return ok;
}

gboolean
cs_rofs_read (struct cs_tree *t, int fd, guint64 offset, guint64 length, const char *name,
              GError **err)
{
  struct reader r = { .name = name, .fd = fd, .offset = offset, .length = length, .t = t };
  gboolean ok = read_meta (&r, err) && index_meta (&r, err) && read_tree (&r, err);
  g_free (r.meta);
  g_free (r.entries);
  g_free (r.links);
  g_free (r.made);
  return ok;
}
