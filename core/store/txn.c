/* Writing and removing images: image and index.yaml change together.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * Each name has two locks. Who writes holds ".../image-NAME%new" from begin to commit, so
 * that the temporary files have one owner. "image-NAME" is of the pair in place: shared
 * while the image is being read by its path, exclusive while it changes, which is short.
 * Who holds one of the latter waits for no lock of the former kind, and no committer holds
 * a lock of another name: so there is no circle.
 *
 * A commit: the new image is ".tmp-XXXXXX", fsynced. The new index, behind a first line that
 * says which temporary file becomes which image, is renamed to ".commit": from there on the
 * commit is carried through, by whoever comes next if need be. The image is renamed, and
 * last ".commit" to index.yaml. A removal: the index (or, where there is none, an image) is
 * renamed to ".remove", which takes no room on a full disk; then all else goes, and it last.
 * A crash before the marker leaves temporary files, which the next command removes. */
#include "config.h"
#include "core/base/error.h"
#include "core/base/util.h"
#include "core/base/yaml.h"
#include "core/store/store.h"
#include "core/store/formats.h"
#include "core/store/txn.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static char *
name_dir (const char *name)
{
  return cs_root_path ("repository", name, NULL);
}

static gboolean
has (const char *dir, const char *file)
{
  g_autofree char *path = g_build_filename (dir, file, NULL);
  return access (path, F_OK) == 0;
}

/* kind: "" or "%new"; no name has a '%'. */
static int
lock_file (const char *name, const char *kind, gboolean exclusive, gboolean wait, GError **err)
{
  if (!cs_name_check ("image name", name, TRUE, err))
    return -1;
  g_autofree char *dir = cs_root_path ("locks", NULL);
  g_auto (GStrv) parts = g_strsplit (name, "/", 0);
  g_autofree char *flat = g_strjoinv ("%", parts);
  g_autofree char *path = g_strdup_printf ("%s/image-%s%s", dir, flat, kind);
  g_autoptr (GError) e = NULL;
  if (!cs_mkdirs (dir, 0755, err))
    return -1;
  int fd = cs_lock_file (path, exclusive, FALSE, &e);
  if (fd >= 0)
    return fd;
  if (e->code == CAPSTAN_E_BUSY && wait) {
    cs_info ("waiting for another capstan that %s image '%s'", *kind != '\0' ? "writes" : "uses",
             name);
    return cs_lock_file (path, exclusive, TRUE, err);
  }
  if (e->code == CAPSTAN_E_BUSY)
    cs_fail (err, CAPSTAN_E_BUSY, "image '%s' is being %s by another capstan", name,
             *kind != '\0' ? "written" : "used");
  else
    g_propagate_error (err, g_steal_pointer (&e));
  return -1;
}

static int
lock_writer (const char *name, gboolean wait, GError **err)
{
  return lock_file (name, "%new", TRUE, wait, err);
}

/* The folder and the name spaces above it, as far as they are empty. */
static void
prune (const char *name)
{
  g_autofree char *top = cs_root_path ("repository", NULL);
  g_autofree char *dir = name_dir (name);
  while (strlen (dir) > strlen (top) && rmdir (dir) == 0) {
    char *up = g_path_get_dirname (dir);
    g_free (dir);
    dir = up;
  }
}

/* What dead writers left, or we ourselves; the writer's lock is held, no commit is open. */
static void
clean (const char *name)
{
  g_autofree char *dir = name_dir (name);
  DIR *d = opendir (dir);
  for (struct dirent *e; d != NULL && (e = readdir (d)) != NULL;)
    if (e->d_name[0] == '.' && strstr (e->d_name, ".tmp-") != NULL)
      unlinkat (dirfd (d), e->d_name, 0);
  if (d != NULL)
    closedir (d);
  prune (name);
}

/* ---- carrying through ---- */

/* Takes the image of an open commit to its name; *moved: whether that is done. */
static gboolean
finish_commit (const char *dir, gboolean *moved, GError **err)
{
  g_autofree char *commit = g_build_filename (dir, ".commit", NULL);
  g_autofree char *index = g_build_filename (dir, "index.yaml", NULL);
  char line[1024], tmp[64], file[512];
  *moved = FALSE;
  FILE *f = fopen (commit, "re");
  if (f == NULL)
    return cs_fail_errno (err, "open %s", commit);
  gboolean ok = fgets (line, sizeof line, f) != NULL &&
                sscanf (line, "# %63s %511s", tmp, file) == 2 && g_str_has_prefix (tmp, ".tmp-") &&
                strchr (tmp, '/') == NULL && strchr (file, '/') == NULL && file[0] != '.';
  fclose (f);
  if (!ok)
    return cs_fail (err, CAPSTAN_E_IO, "%s is damaged; remove it and make the image again", commit);
  g_autofree char *from = g_build_filename (dir, tmp, NULL);
  g_autofree char *to = g_build_filename (dir, file, NULL);
  if (rename (from, to) != 0 && errno != ENOENT)
    return cs_fail_errno (err, "rename %s to %s", from, to);
  *moved = TRUE;
  /* the new name must not come to the disk after the marker is gone from it */
  ok = cs_fsync_dir (dir, err);
  if (rename (commit, index) != 0)
    return ok && cs_fail_errno (err, "rename %s to %s", commit, index);
  return ok;
}

/* Whether a file is an image of the name, or the original's cache of one: "app.qemu",
 * "app.qemu.cache". */
static gboolean
is_ours (const char *file, const char *base)
{
  gsize n = strlen (base);
  if (strncmp (file, base, n) != 0 || file[n] != '.')
    return FALSE;
  g_autofree char *suffix = g_strdup (file + n + 1);
  if (g_str_has_suffix (suffix, ".cache"))
    suffix[strlen (suffix) - strlen (".cache")] = '\0';
  return cs_suffix_valid (suffix);
}

static gboolean
finish_removal (const char *name, const char *dir, GError **err)
{
  g_autofree char *base = g_path_get_basename (name);
  gboolean ok = TRUE;
  DIR *d = opendir (dir);
  if (d == NULL)
    return cs_fail_errno (err, "open %s", dir);
  /* only what is ours: the folder may hold the images of a name space as well */
  for (struct dirent *e; ok && (e = readdir (d)) != NULL;)
    if (is_ours (e->d_name, base) && unlinkat (dirfd (d), e->d_name, 0) != 0 && errno != ENOENT &&
        errno != EISDIR)
      ok = cs_fail_errno (err, "remove %s/%s", dir, e->d_name);
  static const char *const rest[] = { "index.yaml", ".remove" };
  for (guint i = 0; ok && i < G_N_ELEMENTS (rest); i++)
    if (unlinkat (dirfd (d), rest[i], 0) != 0 && errno != ENOENT)
      ok = cs_fail_errno (err, "remove %s/%s", dir, rest[i]);
  closedir (d);
  if (ok)
    prune (name);
  return ok;
}

int
cs_store_lock (const char *name, gboolean exclusive, gboolean wait, GError **err)
{
  gboolean moved;
  for (;;) {
    cs_autofd int fd = lock_file (name, "", exclusive, wait, err);
    if (fd < 0)
      return -1;
    g_autofree char *dir = name_dir (name);
    gboolean commit = has (dir, ".commit"), removal = has (dir, ".remove");
    if (!commit && !removal)
      return cs_steal_fd (&fd);
    if (exclusive) {
      if ((commit && !finish_commit (dir, &moved, err)) ||
          (removal && !finish_removal (name, dir, err)))
        return -1;
      return cs_steal_fd (&fd);
    }
    cs_close_fd (&fd);
    fd = cs_store_lock (name, TRUE, TRUE, err);
    if (fd < 0)
      return -1;
  }
}

gboolean
cs_store_recover (const char *name)
{
  g_autoptr (GError) err = NULL;
  cs_autofd int fd = cs_store_lock (name, TRUE, TRUE, &err);
  if (fd < 0)
    cs_warn ("what was interrupted on image '%s' cannot be finished: %s", name, err->message);
  return fd >= 0;
}

void
cs_store_tidy (const char *name)
{
  cs_autofd int writer = lock_writer (name, FALSE, NULL);
  if (writer < 0)
    return;
  /* not waiting: it may be we ourselves who read */
  cs_autofd int lock = cs_store_lock (name, TRUE, FALSE, NULL);
  g_autofree char *dir = name_dir (name);
  if (lock >= 0 || !has (dir, ".commit"))
    clean (name);
}

gboolean
cs_store_is_written (const char *name)
{
  cs_autofd int writer = lock_writer (name, FALSE, NULL);
  return writer < 0;
}

/* ---- a new image ---- */

/* Others remove name spaces that are empty, between the making of one and of the next. */
static int
create_in (const char *dir, char **ret_path, GError **err)
{
  enum { TRIES = 1000 };
  for (int k = 0;; k++) {
    g_autofree char *path = g_build_filename (dir, ".tmp-XXXXXX", NULL);
    int fd = -1;
    if (g_mkdir_with_parents (dir, 0755) == 0)
      fd = g_mkstemp_full (path, O_RDWR | O_CLOEXEC, 0644);
    if (fd >= 0) {
      *ret_path = g_steal_pointer (&path);
      return fd;
    }
    if (errno != ENOENT || k == TRIES) {
      cs_fail_errno (err, "create a file in %s", dir);
      return -1;
    }
  }
}

struct cs_store_txn *
cs_store_begin (const char *name, const char *suffix, GError **err)
{
  g_auto (GStrv) parts = g_strsplit (name, "/", 0);
  g_autofree char *dir = name_dir (name);
  g_autofree char *base = g_path_get_basename (name);
  g_autofree char *path = NULL;
  if (!cs_name_check ("image name", name, TRUE, err))
    return NULL;
  if (g_strv_contains ((const char *const *) parts, "index.yaml"))
    return cs_fail_null (err, CS_E_USAGE, "image name '%s': 'index.yaml' is taken by the store",
                         name);
  if (!cs_suffix_valid (suffix))
    return cs_fail_null (err, CAPSTAN_E_INVAL,
                         "image suffix '%s': up to 16 of a-z, 0-9 and '-' are allowed", suffix);
  cs_autofd int lock = lock_writer (name, TRUE, err);
  if (lock < 0)
    return NULL;
  if (has (dir, ".commit") || has (dir, ".remove")) {
    cs_autofd int pair = cs_store_lock (name, TRUE, TRUE, err);
    if (pair < 0)
      return NULL;
  }
  clean (name);
  int fd = create_in (dir, &path, err);
  if (fd < 0)
    return NULL;
  struct cs_store_txn *t = g_new0 (struct cs_store_txn, 1);
  t->fd = fd;
  t->path = g_steal_pointer (&path);
  t->name = g_strdup (name);
  t->suffix = g_strdup (suffix);
  t->final_path = g_strdup_printf ("%s/%s.%s", dir, base, suffix);
  t->lock_fd = cs_steal_fd (&lock);
  return t;
}

static void
txn_free (struct cs_store_txn *t)
{
  close (t->fd);
  close (t->lock_fd);
  g_free (t->path);
  g_free (t->name);
  g_free (t->suffix);
  g_free (t->final_path);
  g_free (t);
}

void
cs_store_abort (struct cs_store_txn *t)
{
  if (t == NULL)
    return;
  g_autofree char *dir = name_dir (t->name);
  if (!has (dir, ".commit")) /* else its image is still to be moved */
    clean (t->name);
  txn_free (t);
}

/* What the index says of the bytes must be so: others go by it and look no more. */
static gboolean
check_bytes (int fd, const struct cs_store_txn *t, const struct cs_index *x, GError **err)
{
  guint64 size;
  if (x->format == NULL || strcmp (x->format, "raw") == 0)
    return TRUE;
  const char *found = cs_image_probe (fd, t->path, FALSE, &size, err);
  if (found == NULL)
    return FALSE;
  return strcmp (found, x->format) == 0 ||
         cs_fail (err, CAPSTAN_E_INVAL, "%s is %s, not %s", t->path, found, x->format);
}

/* A new folder is there for good only when each one above it is on the disk. */
static gboolean
sync_parents (const char *name, GError **err)
{
  g_autofree char *top = cs_root_path ("repository", NULL);
  g_autofree char *dir = name_dir (name);
  gboolean ok = TRUE;
  while (ok && strlen (dir) > strlen (top)) {
    char *up = g_path_get_dirname (dir);
    g_free (dir);
    dir = up;
    ok = cs_fsync_dir (dir, err);
  }
  return ok;
}

/* The pair's lock is held. On failure *moved says whether the new image is in place. */
static gboolean
put_in_place (struct cs_store_txn *t, struct cs_index *x, const char *dir, gboolean *moved,
              GError **err)
{
  g_autofree char *tmp = g_path_get_basename (t->path);
  g_autofree char *file = g_path_get_basename (t->final_path);
  g_autofree char *commit = g_build_filename (dir, ".commit", NULL);
  g_autofree char *old_path = g_build_filename (dir, "index.yaml", NULL);
  struct cs_index *old = access (old_path, F_OK) == 0 ? cs_index_load (old_path, NULL) : NULL;
  gboolean is_new = old == NULL;
  *moved = FALSE;
  g_free (x->suffix);
  x->suffix = g_strdup (t->suffix);
  if (old != NULL)
    cs_index_add (x, old, t->suffix);
  cs_index_free (old);
  g_autofree char *index = cs_index_text (x);
  g_autofree char *text = g_strdup_printf ("# %s %s\n%s", tmp, file, index);
  /* a value that is not UTF-8 would leave an image whose index nobody can read */
  g_autoptr (CsYaml) check = cs_yaml_parse (text, strlen (text), "the new index.yaml", err);
  if (check == NULL)
    return FALSE;
  if ((is_new && !sync_parents (t->name, err)) ||
      !cs_write_file (commit, text, strlen (text), 0644, err))
    return FALSE;
  return finish_commit (dir, moved, err);
}

gboolean
cs_store_commit (struct cs_store_txn *t, struct cs_index *x, GError **err)
{
  g_autofree char *dir = name_dir (t->name);
  g_autofree char *commit = g_build_filename (dir, ".commit", NULL);
  gboolean moved = FALSE, ok;
  /* another program may have replaced the file under its name */
  cs_autofd int fd = open (t->path, O_RDONLY | O_CLOEXEC);
  ok = fd >= 0 || cs_fail_errno (err, "open %s", t->path);
  ok = ok && check_bytes (fd, t, x, err) && cs_fsync (fd, t->path, err);
  cs_autofd int lock = ok ? cs_store_lock (t->name, TRUE, TRUE, err) : -1;
  ok = lock >= 0 && put_in_place (t, x, dir, &moved, err);
  if (!ok && !moved && lock >= 0)
    unlink (commit); /* back to the old pair, if it came to that */
  if (ok) {
    cs_formats_forget (t->name);
    txn_free (t);
  } else
    cs_store_abort (t);
  return ok;
}

/* ---- removing ---- */

/* From here on the name is gone, whoever finishes it. */
static gboolean
mark_removed (const char *dir, const struct cs_image *im, GError **err)
{
  g_autofree char *index = g_build_filename (dir, "index.yaml", NULL);
  g_autofree char *marker = g_build_filename (dir, ".remove", NULL);
  if (rename (index, marker) == 0 || (errno == ENOENT && rename (im->path, marker) == 0))
    return TRUE;
  return cs_fail_errno (err, "remove %s", im->path);
}

gboolean
cs_store_remove (const char *name, cs_store_user_fn *user, GError **err)
{
  if (!cs_name_check ("image name", name, TRUE, err))
    return FALSE;
  g_autofree char *dir = name_dir (name);
  gboolean there = access (dir, F_OK) == 0; /* else it needs no lock file either */
  cs_autofd int writer = there ? lock_writer (name, FALSE, err) : -1;
  cs_autofd int lock = writer >= 0 ? cs_store_lock (name, TRUE, FALSE, err) : -1;
  if (there && lock < 0)
    return FALSE;
  struct cs_image *im = cs_store_find (name, NULL, err);
  if (im == NULL)
    return FALSE;
  g_autofree char *who = user != NULL ? user (name) : NULL;
  gboolean ok = FALSE;
  if (who != NULL)
    cs_fail (err, CAPSTAN_E_BUSY,
             "image '%s' is used by the instance '%s'; capstan delete %s first", name, who, who);
  else if (lock < 0)
    cs_fail (err, CAPSTAN_E_BUSY, "image '%s' has just been made; remove it again", name);
  else
    ok = mark_removed (dir, im, err) && finish_removal (name, dir, err);
  cs_image_free (im);
  if (ok) {
    clean (name);
    cs_formats_forget (name);
  }
  return ok;
}
