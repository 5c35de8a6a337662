/* The plan of an image's file system. SPDX-License-Identifier: BSD-3-Clause */
#include "config.h"
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include "core/base/error.h"
#include "core/base/util.h"
#include "core/build/tree.h"

#define MAX_LINKS 40 /* symlinks followed in one path, as Linux has it */

#define MAX_PARTS 65536 /* of a path on the way */
#define POOL (64 * 1024)

static void
inode_clear (struct cs_inode *i)
{
  if (S_ISDIR (i->type))
    g_ptr_array_unref (i->children);
  else if (S_ISLNK (i->type) || i->source == CS_SRC_MEMORY)
    g_free (i->bytes);
  else if (i->source == CS_SRC_IMAGE)
    g_free (i->extents);
  if (i->attrs)
    g_ptr_array_unref (i->attrs);
}

/* Zeroed memory that is freed with the tree. There may be hundreds of thousands of pieces. */
static gpointer
pool_new (struct cs_tree *t, gsize n)
{
  n = CS_ALIGN (n, sizeof (gpointer));
  if (n > t->pool_left) {
    gsize room = MAX (n, POOL);
    g_ptr_array_add (t->pool, g_malloc0 (room));
    t->pool_left = room;
    if (room > POOL) { /* all of it */
      t->pool_left = 0;
      return g_ptr_array_index (t->pool, t->pool->len - 1);
    }
  }
  char *block = g_ptr_array_index (t->pool, t->pool->len - 1);
  t->pool_left -= n;
  return block + POOL - t->pool_left - n;
}

const char *
cs_tree_name (struct cs_tree *t, const char *name)
{
  gsize n = strlen (name) + 1;
  return memcpy (pool_new (t, n), name, n);
}

void
cs_tree_add_attr (struct cs_tree *t, struct cs_inode *i, const char *name, const void *value,
                  gsize size)
{
  struct cs_attr *a = pool_new (t, sizeof *a);
  a->name = cs_tree_name (t, name);
  a->value = memcpy (pool_new (t, MAX (size, 1u)), value, size);
  a->size = size;
  if (!i->attrs)
    i->attrs = g_ptr_array_new ();
  g_ptr_array_add (i->attrs, a);
}

static guint
link_hash (gconstpointer p)
{
  const guint64 *k = p;
  return g_int64_hash (&k[0]) * 31 + g_int64_hash (&k[1]);
}

static gboolean
link_equal (gconstpointer a, gconstpointer b)
{
  return memcmp (a, b, 2 * sizeof (guint64)) == 0;
}

struct cs_inode *
cs_inode_new (struct cs_tree *t, mode_t type, guint perm)
{
  struct cs_inode *i = pool_new (t, sizeof *i);
  i->type = type & S_IFMT;
  i->perm = perm & 07777;
  if (S_ISDIR (type))
    i->children = g_ptr_array_new ();
  g_ptr_array_add (t->inodes, i);
  return i;
}

struct cs_tree *
cs_tree_new (void)
{
  struct cs_tree *t = g_new0 (struct cs_tree, 1);
  const char *epoch = g_getenv ("SOURCE_DATE_EPOCH");
  gint64 n;
  if (epoch && g_ascii_string_to_signed (epoch, 10, 0, G_MAXINT64, &n, NULL))
    t->mtime = n;
  t->inodes = g_ptr_array_new ();
  t->srcdirs = g_ptr_array_new_with_free_func (g_free);
  t->pool = g_ptr_array_new_with_free_func (g_free);
  t->links = g_hash_table_new_full (link_hash, link_equal, g_free, NULL);
  t->root = cs_inode_new (t, S_IFDIR, 0755);
  t->root->nlink = 1;
  return t;
}

void
cs_tree_free (struct cs_tree *t)
{
  if (!t)
    return;
  for (guint k = 0; k < t->inodes->len; k++)
    inode_clear (g_ptr_array_index (t->inodes, k));
  for (guint k = 0; k < CS_TREE_DIRS; k++)
    if (t->open_dirs[k])
      cs_close_fd (&t->open_dirs[k]->fd);
  g_hash_table_unref (t->links);
  g_ptr_array_unref (t->inodes);
  g_ptr_array_unref (t->srcdirs);
  g_ptr_array_unref (t->pool);
  g_free (t);
}

/* Index of name in dir, or of where it belongs. The end is tried first: what is scanned
 * comes in order, which makes adding a large directory linear. */
static gboolean
find_child (struct cs_inode *dir, const char *name, guint *ret)
{
  guint lo = 0, hi = dir->children->len;
  if (hi > 0) {
    struct cs_node *last = g_ptr_array_index (dir->children, hi - 1);
    if (strcmp (name, last->name) > 0) {
      *ret = hi;
      return FALSE;
    }
  }
  while (lo < hi) {
    guint mid = lo + (hi - lo) / 2;
    struct cs_node *n = g_ptr_array_index (dir->children, mid);
    int c = strcmp (name, n->name);
    if (c == 0) {
      *ret = mid;
      return TRUE;
    }
    if (c < 0)
      hi = mid;
    else
      lo = mid + 1;
  }
  *ret = lo;
  return FALSE;
}

struct cs_node *
cs_tree_child (struct cs_inode *dir, const char *name)
{
  guint n;
  if (!S_ISDIR (dir->type) || !find_child (dir, name, &n))
    return NULL;
  return g_ptr_array_index (dir->children, n);
}

/* A directory over a directory. */
static gboolean
merge (struct cs_tree *t, struct cs_inode *old, struct cs_inode *fresh, const char *path,
       GError **err)
{
  if (fresh == old)
    return TRUE;
  old->perm = fresh->perm;
  old->uid = fresh->uid;
  old->gid = fresh->gid;
  for (guint i = 0; i < fresh->children->len; i++) {
    struct cs_node *n = g_ptr_array_index (fresh->children, i);
    n->inode->nlink--;
    if (!cs_tree_add (t, old, n->name, n->inode, path, err))
      return FALSE;
  }
  g_ptr_array_set_size (fresh->children, 0);
  return TRUE;
}

gboolean
cs_tree_add (struct cs_tree *t, struct cs_inode *dir, const char *name,
             struct cs_inode *inode, const char *path, GError **err)
{
  guint at;
  if (!find_child (dir, name, &at)) {
    struct cs_node *n = pool_new (t, sizeof *n);
    n->name = name;
    n->inode = inode;
    g_ptr_array_insert (dir->children, (int) at, n);
    inode->nlink++;
    return TRUE;
  }
  struct cs_node *n = g_ptr_array_index (dir->children, at);
  gboolean is_dir = S_ISDIR (inode->type), was_dir = S_ISDIR (n->inode->type);
  if (is_dir != was_dir) {
    g_autofree char *q = cs_quote (path);
    return cs_fail (err, CAPSTAN_E_CONFLICT,
                    is_dir ? "%s: a directory cannot take the place of a file"
                           : "%s: a file cannot take the place of a directory", q);
  }
  if (is_dir)
    return merge (t, n->inode, inode, path, err);
  n->inode->nlink--;
  n->inode = inode;
  inode->nlink++;
  return TRUE;
}

/* Puts the parts of path on top of the stack `todo`, the first part last. */
static void
push_parts (GPtrArray *todo, const char *path)
{
  g_auto (GStrv) parts = g_strsplit (path, "/", -1);
  for (guint i = g_strv_length (parts); i-- > 0;)
    if (*parts[i] && strcmp (parts[i], ".") != 0)
      g_ptr_array_add (todo, g_strdup (parts[i]));
}

/* One part on the way: `up` has the directories from the root to here. */
static gboolean
walk_part (struct cs_tree *t, GPtrArray *up, GPtrArray *todo, const char *part,
           guint *links, const char *path, GError **err)
{
  struct cs_inode *dir = g_ptr_array_index (up, up->len - 1);
  struct cs_node *n = cs_tree_child (dir, part);
  if (!n) {
    struct cs_inode *made = cs_inode_new (t, S_IFDIR, 0755);
    g_ptr_array_add (up, made);
    return cs_tree_add (t, dir, cs_tree_name (t, part), made, path, err);
  }
  if (S_ISDIR (n->inode->type)) {
    g_ptr_array_add (up, n->inode);
    return TRUE;
  }
  g_autofree char *q = cs_quote (path), *qp = cs_quote (part);
  if (!S_ISLNK (n->inode->type))
    return cs_fail (err, CAPSTAN_E_CONFLICT, "%s: %s on the way is a file, not a directory",
                    q, qp);
  if (++*links > MAX_LINKS)
    return cs_fail (err, CAPSTAN_E_INVAL, "%s: too many symbolic links on the way", q);
  if (n->inode->bytes[0] == '/')
    g_ptr_array_set_size (up, 1);
  push_parts (todo, n->inode->bytes);
  return TRUE;
}

/* *ret: what is at the path now. */
static gboolean
put (struct cs_tree *t, const char *guest_path, struct cs_inode *inode,
     struct cs_inode **ret, GError **err)
{
  g_autoptr (GPtrArray) todo = g_ptr_array_new_with_free_func (g_free);
  g_autoptr (GPtrArray) up = g_ptr_array_new ();
  guint links = 0;
  push_parts (todo, guest_path);
  for (guint i = 0; i < todo->len; i++)
    if (strcmp (g_ptr_array_index (todo, i), "..") == 0) {
      g_autofree char *q = cs_quote (guest_path);
      return cs_fail (err, CAPSTAN_E_INVAL, "%s: a path in the image cannot have '..'", q);
    }
  g_ptr_array_add (up, t->root);
  while (todo->len > 0) {
    g_autofree char *part = g_ptr_array_steal_index (todo, todo->len - 1);
    struct cs_inode *dir = g_ptr_array_index (up, up->len - 1);
    if (up->len > CS_TREE_DEPTH)
      return cs_fail (err, CAPSTAN_E_LIMIT, "directories are nested deeper than %d",
                      CS_TREE_DEPTH);
    if (strcmp (part, "..") == 0) { /* of a symlink's target; stays in the tree */
      if (up->len > 1)
        g_ptr_array_set_size (up, (int) up->len - 1);
      continue;
    }
    struct cs_node *n = todo->len == 0 ? cs_tree_child (dir, part) : NULL;
    /* A directory over a symlink goes where the symlink leads, as cp and tar do it. */
    gboolean through = n && S_ISDIR (inode->type) && S_ISLNK (n->inode->type);
    if (todo->len == 0 && !through) {
      *ret = n && S_ISDIR (inode->type) ? n->inode : inode;
      return cs_tree_add (t, dir, n ? n->name : cs_tree_name (t, part), inode, guest_path,
                          err);
    }
    if (!walk_part (t, up, todo, part, &links, guest_path, err))
      return FALSE;
  }
  /* The root, or a directory that the last symlink led to ("/", "..", "."). */
  if (!S_ISDIR (inode->type))
    return cs_fail (err, CAPSTAN_E_INVAL, "a file cannot take the place of '/'");
  *ret = g_ptr_array_index (up, up->len - 1);
  return merge (t, *ret, inode, guest_path, err);
}

gboolean
cs_tree_put (struct cs_tree *t, const char *guest_path, struct cs_inode *inode,
             GError **err)
{
  struct cs_inode *there;
  return put (t, guest_path, inode, &there, err);
}

struct cs_inode *
cs_tree_lookup (struct cs_tree *t, const char *guest_path)
{
  g_auto (GStrv) parts = g_strsplit (guest_path, "/", -1);
  struct cs_inode *i = t->root;
  for (char **p = parts; *p; p++) {
    if (!**p || strcmp (*p, ".") == 0)
      continue;
    struct cs_node *n = cs_tree_child (i, *p);
    if (!n)
      return NULL;
    i = n->inode;
  }
  return i;
}

struct cs_inode *
cs_tree_follow (struct cs_tree *t, const char *guest_path, char **ret_real)
{
  g_autoptr (GPtrArray) todo = g_ptr_array_new_with_free_func (g_free);
  g_autoptr (GPtrArray) up = g_ptr_array_new (), names = g_ptr_array_new ();
  guint links = 0;
  push_parts (todo, guest_path);
  g_ptr_array_add (up, t->root);
  while (todo->len > 0) {
    g_autofree char *part = g_ptr_array_steal_index (todo, todo->len - 1);
    if (strcmp (part, "..") == 0) {
      g_ptr_array_set_size (names, names->len > 0 ? (int) names->len - 1 : 0);
      g_ptr_array_set_size (up, (int) names->len + 1);
      continue;
    }
    struct cs_node *n = cs_tree_child (g_ptr_array_index (up, up->len - 1), part);
    if (!n || todo->len > MAX_PARTS)
      return NULL;
    if (!S_ISLNK (n->inode->type)) {
      g_ptr_array_add (up, n->inode);
      g_ptr_array_add (names, (gpointer) n->name);
      continue;
    }
    if (++links > MAX_LINKS)
      return NULL;
    if (n->inode->bytes[0] == '/') {
      g_ptr_array_set_size (names, 0);
      g_ptr_array_set_size (up, 1);
    }
    push_parts (todo, n->inode->bytes);
  }
  if (ret_real) {
    GString *s = g_string_new (NULL);
    for (guint k = 0; k < names->len; k++)
      g_string_append_printf (s, "/%s", (const char *) g_ptr_array_index (names, k));
    *ret_real = g_string_free (s, FALSE);
  }
  return g_ptr_array_index (up, up->len - 1);
}

struct cs_inode *
cs_tree_put_dir (struct cs_tree *t, const char *guest_path, guint perm, GError **err)
{
  struct cs_inode *i = cs_inode_new (t, S_IFDIR, perm), *there = NULL;
  return put (t, guest_path, i, &there, err) ? there : NULL;
}

gboolean
cs_tree_put_bytes (struct cs_tree *t, const char *guest_path, const void *bytes, gsize n,
                   guint perm, GError **err)
{
  struct cs_inode *i = cs_inode_new (t, S_IFREG, perm);
  i->size = n;
  if (n > 0) {
    i->source = CS_SRC_MEMORY;
    i->bytes = g_memdup2 (bytes, n);
  }
  return cs_tree_put (t, guest_path, i, err);
}

gboolean
cs_tree_put_symlink (struct cs_tree *t, const char *guest_path, const char *target,
                     GError **err)
{
  struct cs_inode *i = cs_inode_new (t, S_IFLNK, 0777);
  i->size = strlen (target);
  i->bytes = g_strdup (target);
  return cs_tree_put (t, guest_path, i, err);
}

static void
count (struct cs_tree *t, struct cs_inode *dir)
{
  t->n_dirs++;
  for (guint k = 0; k < dir->children->len; k++) {
    struct cs_inode *i = ((struct cs_node *) g_ptr_array_index (dir->children, k))->inode;
    i->nlink++;
    if (S_ISDIR (i->type))
      count (t, i);
    else if (i->nlink > 1)
      continue; /* another name of a file that is counted already */
    else if (S_ISLNK (i->type))
      t->n_symlinks++;
    else {
      t->n_files++;
      t->data_bytes += i->size;
    }
  }
}

void
cs_tree_count (struct cs_tree *t)
{
  t->n_files = t->n_dirs = t->n_symlinks = t->data_bytes = 0;
  for (guint i = 0; i < t->inodes->len; i++)
    ((struct cs_inode *) g_ptr_array_index (t->inodes, i))->nlink = 0;
  t->root->nlink = 1;
  count (t, t->root);
}
