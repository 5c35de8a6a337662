/* Files of the host into the plan. SPDX-License-Identifier: BSD-3-Clause */
#include "config.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include "core/base/error.h"
#include "core/base/util.h"
#include "core/build/tree.h"

static struct cs_srcdir *
srcdir_new (struct cs_tree *t, const char *path)
{
  struct cs_srcdir *d = g_new0 (struct cs_srcdir, 1);
  d->path = g_strdup (path);
  d->fd = -1;
  g_ptr_array_add (t->srcdirs, d);
  return d;
}

static gboolean
fail_special (mode_t mode, const char *path, GError **err)
{
  const char *what = S_ISFIFO (mode)                      ? "FIFO"
                     : S_ISSOCK (mode)                    ? "socket"
                     : S_ISBLK (mode) || S_ISCHR (mode) ? "device"
                                                          : "special file";
  return cs_fail (err, CAPSTAN_E_INVAL,
                  "%s is a %s; an image holds files, directories and symbolic links: "
                  "remove it", path, what);
}

/* The target, exactly as it is. */
static gboolean
read_link (struct cs_inode *i, int dirfd, const char *name, const char *path, GError **err)
{
  gsize room = 256;
  for (;;) {
    g_autofree char *buf = g_malloc (room + 1);
    ssize_t n = readlinkat (dirfd, name, buf, room);
    if (n < 0)
      return cs_fail_errno (err, "read the symbolic link %s", path);
    if ((gsize) n < room) {
      buf[n] = 0;
      i->size = (guint64) n;
      i->bytes = g_steal_pointer (&buf);
      return TRUE;
    }
    room *= 2;
  }
}

/* A file or symlink; NULL and the error if it cannot be one. */
static struct cs_inode *
scan_leaf (struct cs_tree *t, struct cs_srcdir *dir, int dirfd, const char *name,
           const char *path, const struct stat *st, GError **err)
{
  struct cs_inode *i;
  guint64 key[2] = { st->st_dev, st->st_ino };
  if (!S_ISREG (st->st_mode) && !S_ISLNK (st->st_mode)) {
    fail_special (st->st_mode, path, err);
    return NULL;
  }
  if (st->st_nlink > 1 && (i = g_hash_table_lookup (t->links, key)))
    return i;
  i = cs_inode_new (t, st->st_mode, st->st_mode & 07777);
  if (st->st_nlink > 1)
    g_hash_table_insert (t->links, g_memdup2 (key, sizeof key), i);
  i->dev = st->st_dev;
  i->ino = st->st_ino;
  i->host_mtime_ns = st->st_mtim.tv_sec * G_GINT64_CONSTANT (1000000000) +
                     st->st_mtim.tv_nsec;
  i->host_ctime_ns = st->st_ctim.tv_sec * G_GINT64_CONSTANT (1000000000) +
                     st->st_ctim.tv_nsec;
  if (S_ISLNK (st->st_mode))
    return read_link (i, dirfd, name, path, err) ? i : NULL;
  /* Readable by all: no need to ask; reading it will tell. */
  if ((st->st_mode & 0444) != 0444 && faccessat (dirfd, name, R_OK, AT_EACCESS) < 0)
    return cs_fail_errno_null (err, "read %s", path);
  i->size = (guint64) st->st_size;
  if (i->size > 0) {
    i->source = CS_SRC_HOST;
    i->dir = dir;
    i->name = g_strdup (name);
  }
  return i;
}

static int
compare_names (gconstpointer a, gconstpointer b)
{
  return strcmp (*(char *const *) a, *(char *const *) b);
}

static GPtrArray *
read_names (DIR *d, const char *path, GError **err)
{
  g_autoptr (GPtrArray) names = g_ptr_array_new_with_free_func (g_free);
  for (;;) {
    errno = 0;
    struct dirent *e = readdir (d);
    if (!e && errno != 0)
      return cs_fail_errno_null (err, "read the directory %s", path);
    if (!e)
      break;
    if (strcmp (e->d_name, ".") != 0 && strcmp (e->d_name, "..") != 0)
      g_ptr_array_add (names, g_strdup (e->d_name));
  }
  g_ptr_array_sort (names, compare_names);
  return g_steal_pointer (&names);
}

static void
close_dir (DIR **d)
{
  if (*d)
    closedir (*d);
}

struct subdir { char *host, *guest; };

static void
subdir_free (gpointer p)
{
  struct subdir *s = p;
  g_free (s->host);
  g_free (s->guest);
  g_free (s);
}

/* Everything in a directory. Subdirectories are put into the plan in order and read only
 * after this one is closed, so that depth costs no descriptors. */
static gboolean
scan_dir (struct cs_tree *t, const char *guest, const char *host, GError **err)
{
  g_autoptr (GPtrArray) subdirs = g_ptr_array_new_with_free_func (subdir_free);
  {
    int fd = open (host, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
      return cs_fail_errno (err, "open the directory %s", host);
    __attribute__ ((cleanup (close_dir))) DIR *d = fdopendir (fd);
    if (!d) {
      close (fd);
      return cs_fail_errno (err, "open the directory %s", host);
    }
    g_autoptr (GPtrArray) names = read_names (d, host, err);
    if (!names)
      return FALSE;
    struct cs_srcdir *dir = srcdir_new (t, host);
    for (guint k = 0; k < names->len; k++) {
      const char *name = g_ptr_array_index (names, k);
      g_autofree char *path = g_build_filename (host, name, NULL);
      g_autofree char *to = g_strconcat (guest, strcmp (guest, "/") ? "/" : "", name, NULL);
      struct stat st;
      if (fstatat (fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return cs_fail_errno (err, "look at %s", path);
      if (S_ISDIR (st.st_mode)) {
        if (!cs_tree_put_dir (t, to, st.st_mode & 07777, err))
          return FALSE;
        struct subdir *s = g_new (struct subdir, 1);
        s->host = g_steal_pointer (&path);
        s->guest = g_steal_pointer (&to);
        g_ptr_array_add (subdirs, s);
        continue;
      }
      struct cs_inode *i = scan_leaf (t, dir, fd, name, path, &st, err);
      if (!i || !cs_tree_put (t, to, i, err))
        return FALSE;
    }
  }
  for (guint k = 0; k < subdirs->len; k++) {
    struct subdir *s = g_ptr_array_index (subdirs, k);
    if (!scan_dir (t, s->guest, s->host, err))
      return FALSE;
  }
  return TRUE;
}

gboolean
cs_tree_scan (struct cs_tree *t, const char *guest_path, const char *host_path,
              GError **err)
{
  struct stat st;
  if (lstat (host_path, &st) < 0)
    return cs_fail_errno (err, "%s", host_path);
  if (S_ISDIR (st.st_mode)) {
    if (!cs_tree_put_dir (t, guest_path, st.st_mode & 07777, err))
      return FALSE;
    return scan_dir (t, guest_path, host_path, err);
  }
  g_autofree char *dir_path = g_path_get_dirname (host_path);
  g_autofree char *name = g_path_get_basename (host_path);
  struct cs_srcdir *dir = srcdir_new (t, dir_path);
  struct cs_inode *i = scan_leaf (t, dir, AT_FDCWD, host_path, host_path, &st, err);
  if (!i)
    return FALSE;
  if (i->source == CS_SRC_HOST && i->dir == dir) {
    g_free (i->name); /* looked up by its whole path above */
    i->name = g_steal_pointer (&name);
  }
  return cs_tree_put (t, guest_path, i, err);
}
