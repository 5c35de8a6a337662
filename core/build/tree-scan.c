/* Files of the host into the plan. SPDX-License-Identifier: BSD-3-Clause */
#include "config.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include "core/base/error.h"
#include "core/base/progress.h"
#include "core/base/util.h"
#include "core/build/ignore.h"
#include "core/build/tree.h"

struct scan {
  struct cs_tree *t;
  const struct cs_scan_opts *o;
  GString *host, *guest, *ignore; /* paths of what is looked at */
  guint depth;
};

static struct cs_srcdir *
srcdir_new (struct cs_tree *t, struct cs_srcdir *parent, const char *name,
            const struct stat *st)
{
  struct cs_srcdir *d = g_new0 (struct cs_srcdir, 1);
  d->tree = t;
  d->parent = parent;
  d->name = cs_tree_name (t, name);
  d->dev = st->st_dev;
  d->ino = st->st_ino;
  d->fd = -1;
  g_ptr_array_add (t->srcdirs, d);
  return d;
}

char *
cs_srcdir_path (const struct cs_srcdir *d)
{
  GString *s = g_string_new (d->name);
  for (; d->parent; d = d->parent) {
    const char *up = d->parent->name;
    g_string_prepend_c (s, '/');
    g_string_prepend_len (s, up, (gssize) (strlen (up) - g_str_has_suffix (up, "/")));
  }
  return g_string_free (s, FALSE);
}

static gboolean
fail_moved (const char *path, gboolean vanished, GError **err)
{
  return cs_fail (err, CAPSTAN_E_CONFLICT, "%s %s while the image was built; build again",
                  path, vanished ? "vanished" : "changed");
}

/* Of an open parent. */
static int
open_one (struct cs_srcdir *d, int parent, GError **err)
{
  struct stat st;
  int flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC | (d->parent ? O_NOFOLLOW : 0);
  cs_autofd int fd = openat (parent, d->name, flags);
  gboolean ok = fd >= 0 && fstat (fd, &st) == 0;
  if (ok && st.st_dev == d->dev && st.st_ino == d->ino)
    return cs_steal_fd (&fd);
  int e = errno;
  g_autofree char *path = cs_srcdir_path (d);
  errno = e;
  if (ok || e == ENOENT || e == ENOTDIR || e == ELOOP)
    fail_moved (path, !ok && e == ENOENT, err);
  else
    cs_fail_errno (err, "open the directory %s", path);
  return -1;
}

int
cs_srcdir_fd (struct cs_srcdir *d, GError **err)
{
  if (d->fd >= 0)
    return d->fd;
  g_autoptr (GPtrArray) way = g_ptr_array_new (); /* down from one that is open */
  for (; d->fd < 0 && d->parent; d = d->parent)
    g_ptr_array_add (way, d);
  if (d->fd < 0) {
    g_ptr_array_add (way, d);
    d = NULL;
  }
  for (guint k = way->len; k-- > 0;) {
    struct cs_srcdir *next = g_ptr_array_index (way, k);
    struct cs_tree *t = next->tree;
    struct cs_srcdir **slot = &t->open_dirs[t->next_dir++ % CS_TREE_DIRS];
    int fd = open_one (next, d ? d->fd : AT_FDCWD, err);
    if (fd < 0)
      return -1;
    if (*slot) { /* the one that was opened first */
      cs_close_fd (&(*slot)->fd);
      (*slot)->fd = -1;
    }
    next->fd = fd;
    d = *slot = next;
  }
  return d->fd;
}

static gboolean
special_file (struct scan *s, mode_t mode, GError **err)
{
  const char *what = S_ISFIFO (mode)                      ? "FIFO"
                     : S_ISSOCK (mode)                    ? "socket"
                     : S_ISBLK (mode) || S_ISCHR (mode) ? "device"
                                                          : "special file";
  if (s->o->special == CS_SPECIAL_WARN)
    cs_warn ("left out: %s is a %s", s->host->str, what);
  if (s->o->special != CS_SPECIAL_FAIL)
    return TRUE;
  return cs_fail (err, CAPSTAN_E_INVAL,
                  "%s is a %s; an image holds files, directories and symbolic links: "
                  "remove it, or leave such files out with --skip-special", s->host->str,
                  what);
}

/* The target, exactly as it is. */
static gboolean
read_link (struct scan *s, struct cs_inode *i, int dirfd, const char *name, GError **err)
{
  gsize room = 256;
  for (;;) {
    g_autofree char *buf = g_malloc (room + 1);
    ssize_t n = readlinkat (dirfd, name, buf, room);
    if (n < 0)
      return cs_fail_errno (err, "read the symbolic link %s", s->host->str);
    if ((gsize) n < room) {
      buf[n] = 0;
      i->size = (guint64) n;
      i->bytes = g_strdup (buf);
      return TRUE;
    }
    room *= 2;
  }
}

static void
set_owner (struct scan *s, struct cs_inode *i)
{
  if (!s->o->set_owner)
    return;
  i->uid = s->o->uid;
  i->gid = s->o->gid;
}

/* A file or symlink; *ret is NULL if it is to be left out. `name` is the tree's. */
static gboolean
scan_leaf (struct scan *s, struct cs_srcdir *dir, int dirfd, const char *name,
           const struct stat *st, struct cs_inode **ret, GError **err)
{
  struct cs_tree *t = s->t;
  struct cs_inode *i;
  guint64 key[2] = { st->st_dev, st->st_ino };
  *ret = NULL;
  if (!S_ISREG (st->st_mode) && !S_ISLNK (st->st_mode))
    return special_file (s, st->st_mode, err);
  if (st->st_nlink > 1 && (*ret = g_hash_table_lookup (t->links, key)))
    return TRUE;
  *ret = i = cs_inode_new (t, st->st_mode, st->st_mode & 07777);
  if (st->st_nlink > 1)
    g_hash_table_insert (t->links, g_memdup2 (key, sizeof key), i);
  set_owner (s, i);
  i->dev = st->st_dev;
  i->ino = st->st_ino;
  i->host_mtime_ns = st->st_mtim.tv_sec * G_GINT64_CONSTANT (1000000000) +
                     st->st_mtim.tv_nsec;
  i->host_ctime_ns = st->st_ctim.tv_sec * G_GINT64_CONSTANT (1000000000) +
                     st->st_ctim.tv_nsec;
  if (S_ISLNK (st->st_mode))
    return read_link (s, i, dirfd, name, err);
  /* Readable by all: no need to ask; reading it will tell. */
  if ((st->st_mode & 0444) != 0444 && faccessat (dirfd, name, R_OK, AT_EACCESS) < 0)
    return cs_fail_errno (err, "read %s", s->host->str);
  i->size = (guint64) st->st_size;
  if (i->size > 0) {
    i->source = CS_SRC_HOST;
    i->dir = dir;
    i->name = name;
  }
  return TRUE;
}

static int
compare_names (gconstpointer a, gconstpointer b)
{
  return strcmp (*(char *const *) a, *(char *const *) b);
}

static GPtrArray *
read_names (struct scan *s, int fd, GError **err)
{
  enum { ROOM = 32 * 1024 };
  g_autofree char *buf = g_malloc (ROOM);
  g_autoptr (GPtrArray) names = g_ptr_array_new ();
  if (lseek (fd, 0, SEEK_SET) < 0)
    return cs_fail_errno_null (err, "read the directory %s", s->host->str);
  for (;;) {
    ssize_t n = getdents64 (fd, buf, ROOM);
    if (n < 0)
      return cs_fail_errno_null (err, "read the directory %s", s->host->str);
    if (n == 0)
      break;
    for (ssize_t at = 0; at < n;) {
      const struct dirent64 *e = (const void *) (buf + at);
      at += e->d_reclen;
      if (strcmp (e->d_name, ".") != 0 && strcmp (e->d_name, "..") != 0)
        g_ptr_array_add (names, (gpointer) cs_tree_name (s->t, e->d_name));
    }
  }
  g_ptr_array_sort (names, compare_names);
  return g_steal_pointer (&names);
}

static void
path_add (GString *path, const char *name)
{
  if (path->len == 0 || path->str[path->len - 1] != '/')
    g_string_append_c (path, '/');
  g_string_append (path, name);
}

static gboolean scan_dir (struct scan *s, struct cs_srcdir *from, struct cs_inode *to,
                          GError **err);

/* A name of a directory; the paths are its own. */
static gboolean
scan_name (struct scan *s, struct cs_srcdir *from, struct cs_inode *to, const char *name,
           GError **err)
{
  struct stat st;
  struct cs_inode *i;
  int fd = cs_srcdir_fd (from, err);
  if (fd < 0)
    return FALSE;
  if (fstatat (fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0) {
    if (errno == ENOENT)
      return fail_moved (s->host->str, TRUE, err);
    return cs_fail_errno (err, "look at %s", s->host->str);
  }
  if (s->o->ignore && cs_ignore_has (s->o->ignore, s->ignore->str, S_ISDIR (st.st_mode)))
    return TRUE;
  if (!S_ISDIR (st.st_mode))
    return scan_leaf (s, from, fd, name, &st, &i, err) &&
           (!i || cs_tree_add (s->t, to, name, i, s->guest->str, err));
  struct cs_node *there = cs_tree_child (to, name);
  if (there && S_ISLNK (there->inode->type)) { /* goes where the symlink leads */
    if (!(i = cs_tree_put_dir (s->t, s->guest->str, st.st_mode & 07777, err)))
      return FALSE;
  } else {
    i = cs_inode_new (s->t, S_IFDIR, st.st_mode & 07777);
    if (!cs_tree_add (s->t, to, name, i, s->guest->str, err))
      return FALSE;
    i = there ? there->inode : i;
  }
  set_owner (s, i);
  return scan_dir (s, srcdir_new (s->t, from, name, &st), i, err);
}

static gboolean
scan_dir (struct scan *s, struct cs_srcdir *from, struct cs_inode *to, GError **err)
{
  gsize host = s->host->len, guest = s->guest->len, ignore = s->ignore->len;
  int fd = cs_srcdir_fd (from, err);
  if (fd < 0)
    return FALSE;
  if (++s->depth > CS_TREE_DEPTH)
    return cs_fail (err, CAPSTAN_E_LIMIT, "directories are nested deeper than %d: %.100s...",
                    CS_TREE_DEPTH, s->host->str);
  g_autoptr (GPtrArray) names = read_names (s, fd, err);
  if (!names)
    return FALSE;
  for (guint k = 0; k < names->len; k++) {
    const char *name = g_ptr_array_index (names, k);
    path_add (s->host, name);
    path_add (s->guest, name);
    path_add (s->ignore, name);
    if (!scan_name (s, from, to, name, err) || !cs_progress_step (0, err))
      return FALSE;
    g_string_truncate (s->host, host);
    g_string_truncate (s->guest, guest);
    g_string_truncate (s->ignore, ignore);
  }
  s->depth--;
  return TRUE;
}

/* The directory that a file named by itself is in; often the same as for the last one. */
static struct cs_srcdir *
srcdir_of (struct scan *s, const char *host_path, GError **err)
{
  struct cs_tree *t = s->t;
  g_autofree char *path = g_path_get_dirname (host_path);
  struct stat st;
  if (stat (path, &st) < 0)
    return cs_fail_errno_null (err, "%s", path);
  if (t->srcdirs->len > 0) {
    struct cs_srcdir *last = g_ptr_array_index (t->srcdirs, t->srcdirs->len - 1);
    if (!last->parent && strcmp (last->name, path) == 0 && last->dev == st.st_dev &&
        last->ino == st.st_ino)
      return last;
  }
  return srcdir_new (t, NULL, path, &st);
}

static gboolean
scan_top (struct scan *s, const char *guest_path, const char *host_path, GError **err)
{
  struct stat st;
  struct cs_inode *i;
  if (lstat (host_path, &st) < 0)
    return cs_fail_errno (err, "%s", host_path);
  if (S_ISDIR (st.st_mode)) {
    if (!(i = cs_tree_put_dir (s->t, guest_path, st.st_mode & 07777, err)))
      return FALSE;
    set_owner (s, i);
    return scan_dir (s, srcdir_new (s->t, NULL, host_path, &st), i, err);
  }
  g_autofree char *base = g_path_get_basename (host_path);
  const char *name = cs_tree_name (s->t, base);
  struct cs_srcdir *dir = srcdir_of (s, host_path, err);
  int fd = dir ? cs_srcdir_fd (dir, err) : -1;
  if (fd < 0 || !scan_leaf (s, dir, fd, name, &st, &i, err))
    return FALSE;
  if (i && s->o->perm >= 0 && S_ISREG (i->type))
    i->perm = s->o->perm & 07777;
  return !i || cs_tree_put (s->t, guest_path, i, err);
}

gboolean
cs_tree_scan (struct cs_tree *t, const char *guest_path, const char *host_path,
              const struct cs_scan_opts *o, GError **err)
{
  static const struct cs_scan_opts none = CS_SCAN_INIT;
  struct scan s = { .t = t, .o = o ? o : &none };
  /* Another owner or mode than elsewhere: not the same file. */
  gboolean own = o && (o->set_owner || o->perm >= 0);
  if (own)
    g_hash_table_remove_all (t->links);
  s.host = g_string_new (host_path);
  s.guest = g_string_new (guest_path);
  s.ignore = g_string_new (s.o->ignore_path);
  gboolean ok = scan_top (&s, guest_path, host_path, err);
  g_string_free (s.host, TRUE);
  g_string_free (s.guest, TRUE);
  g_string_free (s.ignore, TRUE);
  if (own)
    g_hash_table_remove_all (t->links);
  return ok;
}
