/* Writing images: image and index.yaml change together. SPDX-License-Identifier: BSD-3-Clause
 *
 * The new image is written as ".tmp-XXXXXX"; then ".commit" is renamed into place, which
 * holds the new index and, in its first lines, which temporary file becomes which image.
 * From there on the commit is carried through, by whoever comes next if need be: image
 * renamed, index.yaml written, ".commit" removed. A crash before leaves a temporary file,
 * which the next writer of the name removes. */
#include "config.h"
#include "core/base/error.h"
#include "core/base/util.h"
#include "core/base/yaml.h"
#include "core/store/store.h"
#include "core/store/txn.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

int
cs_store_lock (const char *name, gboolean exclusive, gboolean wait, GError **err)
{
  g_autofree char *dir = cs_root_path ("locks", NULL);
  g_auto (GStrv) parts = g_strsplit (name, "/", 0);
  g_autofree char *flat = g_strjoinv ("%", parts); /* no name has a '%' */
  g_autofree char *path = g_strdup_printf ("%s/image-%s", dir, flat);
  if (!cs_mkdirs (dir, 0755, err))
    return -1;
  if (!exclusive)
    cs_store_recover (name);
  return cs_lock_file (path, exclusive, wait, err);
}

/* Carries a commit through. The lock is held. */
static gboolean
roll_forward (const char *dir, GError **err)
{
  g_autofree char *commit = g_build_filename (dir, ".commit", NULL);
  g_autofree char *index = g_build_filename (dir, "index.yaml", NULL);
  g_autofree char *text = cs_read_file (commit, 2 * 1024 * 1024, NULL, err);
  if (text == NULL)
    return FALSE;
  g_auto (GStrv) part = g_strsplit (text, "\n", 3);
  if (g_strv_length (part) != 3 || !g_str_has_prefix (part[0], ".tmp-") ||
      strchr (part[0], '/') != NULL || strchr (part[1], '/') != NULL)
    return cs_fail (err, CAPSTAN_E_IO, "%s is damaged; remove it and build the image again",
                    commit);
  g_autofree char *tmp = g_build_filename (dir, part[0], NULL);
  g_autofree char *final = g_build_filename (dir, part[1], NULL);
  if (rename (tmp, final) != 0 && errno != ENOENT)
    return cs_fail_errno (err, "rename %s to %s", tmp, final);
  if (!cs_write_file (index, part[2], strlen (part[2]), 0644, err))
    return FALSE;
  if (unlink (commit) != 0)
    return cs_fail_errno (err, "remove %s", commit);
  return TRUE;
}

/* What dead writers left. The lock is held, so none of it is in use. */
void
cs_store_clean (const char *dir)
{
  DIR *d = opendir (dir);
  for (struct dirent *e; d != NULL && (e = readdir (d)) != NULL;)
    if (g_str_has_prefix (e->d_name, ".tmp-") ||
        strstr (e->d_name, ".yaml.tmp-") != NULL || strstr (e->d_name, ".commit.tmp-") != NULL)
      unlinkat (dirfd (d), e->d_name, 0);
  if (d != NULL)
    closedir (d);
}

void
cs_store_recover (const char *name)
{
  g_autofree char *dir = cs_root_path ("repository", name, NULL);
  g_autofree char *commit = g_build_filename (dir, ".commit", NULL);
  g_autoptr (GError) err = NULL;
  if (access (commit, F_OK) != 0)
    return;
  cs_autofd int lock = cs_store_lock (name, TRUE, TRUE, &err);
  if (lock >= 0 && access (commit, F_OK) == 0 && !roll_forward (dir, &err))
    cs_warn ("%s", err->message);
}

struct cs_store_txn *
cs_store_begin (const char *name, const char *suffix, GError **err)
{
  if (!cs_name_check ("image name", name, TRUE, err))
    return NULL;
  g_autofree char *dir = cs_root_path ("repository", name, NULL);
  g_autofree char *base = g_path_get_basename (name);
  cs_autofd int lock = cs_store_lock (name, TRUE, TRUE, err);
  if (lock < 0 || !cs_mkdirs (dir, 0755, err))
    return NULL;
  g_autofree char *commit = g_build_filename (dir, ".commit", NULL);
  if (access (commit, F_OK) == 0 && !roll_forward (dir, err))
    return NULL;
  cs_store_clean (dir);
  struct cs_store_txn *t = g_new0 (struct cs_store_txn, 1);
  t->path = g_build_filename (dir, ".tmp-XXXXXX", NULL);
  t->fd = g_mkstemp_full (t->path, O_RDWR | O_CLOEXEC, 0644);
  if (t->fd < 0) {
    cs_fail_errno (err, "create a file in %s", dir);
    g_free (t->path);
    g_free (t);
    return NULL;
  }
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

gboolean
cs_store_commit (struct cs_store_txn *t, const struct cs_index *x, GError **err)
{
  g_autofree char *dir = g_path_get_dirname (t->path);
  g_autofree char *tmp = g_path_get_basename (t->path);
  g_autofree char *final = g_path_get_basename (t->final_path);
  g_autofree char *commit = g_build_filename (dir, ".commit", NULL);
  g_autofree char *index = cs_index_text (x);
  g_autofree char *text = g_strconcat (tmp, "\n", final, "\n", index, NULL);
  /* another program may have replaced the file under its name: qemu-img does not */
  cs_autofd int fd = open (t->path, O_RDONLY | O_CLOEXEC);
  /* a value that is not UTF-8 would leave an image whose index nobody can read */
  g_autoptr (CsYaml) check = cs_yaml_parse (index, strlen (index), "the new index.yaml", err);
  if (check == NULL) {
    cs_store_abort (t);
    return FALSE;
  }
  gboolean ok = fd >= 0 ? cs_fsync (fd, t->path, err) : cs_fail_errno (err, "open %s", t->path);
  ok = ok && cs_write_file (commit, text, strlen (text), 0644, err);
  if (!ok) {
    cs_store_abort (t);
    return FALSE;
  }
  ok = roll_forward (dir, err);
  txn_free (t);
  return ok;
}

void
cs_store_abort (struct cs_store_txn *t)
{
  if (t == NULL)
    return;
  unlink (t->path);
  g_autofree char *dir = g_path_get_dirname (t->path);
  rmdir (dir); /* if this was its first image */
  txn_free (t);
}
