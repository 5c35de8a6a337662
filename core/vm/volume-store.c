/* Volumes that lie in the store. SPDX-License-Identifier: BSD-3-Clause */
#include "config.h"
#include "core/vm/volume.h"
#include "core/base/error.h"
#include "core/base/spawn.h"
#include "core/base/util.h"
#include "core/base/yaml.h"
#include "core/store/store.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#define BESIDE ".yaml"

char *
cs_volume_path (const char *name, GError **err)
{
  if (!cs_name_check ("volume name", name, FALSE, err))
    return NULL;
  if (strchr (name, '/') != NULL || g_str_has_suffix (name, BESIDE))
    return cs_fail_null (err, CS_E_USAGE,
                         "volume name '%s': it has no '/', and does not end in " BESIDE, name);
  return cs_root_path ("volumes", name, NULL);
}

/* Held while one is made or removed. */
static int
lock (GError **err)
{
  g_autofree char *top = cs_root_path ("volumes", NULL),
                  *path = g_build_filename (top, ".lock", NULL);
  return cs_mkdirs (top, 0711, err) ? cs_lock_file (path, TRUE, TRUE, err) : -1;
}

static gboolean
make_disk (const char *path, guint64 size, const char *format, GError **err)
{
  cs_autofd int fd = open (path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (fd < 0)
    return cs_fail_errno (err, "create %s", path);
  if (strcmp (format, "raw") == 0)
    return (ftruncate (fd, (off_t) size) == 0 && fsync (fd) == 0) || cs_fail_errno (err, "write %s", path);
  g_autofree char *bytes = g_strdup_printf ("%" G_GUINT64_FORMAT, size);
  const char *argv[] = { "qemu-img", "create", "-q", "-f", format, path, bytes, NULL };
  return cs_spawn_tool (NULL, argv, err) && (fsync (fd) == 0 || cs_fail_errno (err, "write %s", path));
}

gboolean
cs_volume_create (const char *name, guint64 size, const char *format, GError **err)
{
  g_autofree char *path = cs_volume_path (name, err);
  if (path == NULL)
    return FALSE;
  if (size < 512 || size % 512 != 0)
    return cs_fail (err, CS_E_USAGE, "volume '%s': --size has to be a multiple of 512 bytes", name);
  cs_autofd int l = lock (err);
  if (l < 0)
    return FALSE;
  if (access (path, F_OK) == 0)
    return cs_fail (err, CAPSTAN_E_EXISTS, "there is a volume '%s' already", name);
  g_autofree char *dir = g_path_get_dirname (path), *tmp = g_build_filename (dir, ".tmp-new", NULL);
  g_autofree char *beside = g_strconcat (path, BESIDE, NULL);
  GString *text = g_string_new (NULL);
  cs_yaml_put (text, "format", format);
  gboolean ok = make_disk (tmp, size, format, err) &&
                cs_write_file (beside, text->str, text->len, 0600, err) &&
                (rename (tmp, path) == 0 || cs_fail_errno (err, "rename %s", tmp)) &&
                cs_fsync_dir (dir, err);
  g_string_free (text, TRUE);
  if (!ok) {
    unlink (tmp);
    if (access (path, F_OK) != 0)
      unlink (beside);
  }
  return ok;
}

gboolean
cs_volume_delete (const char *name, GError **err)
{
  g_autofree char *path = cs_volume_path (name, err);
  cs_autofd int l = path != NULL ? lock (err) : -1;
  if (l < 0)
    return FALSE;
  g_autofree char *beside = g_strconcat (path, BESIDE, NULL);
  g_auto (GStrv) users = cs_volume_users (path);
  g_autofree char *list = g_strjoinv (", ", users);
  if (*list != '\0')
    return cs_fail (err, CAPSTAN_E_BUSY,
                    "volume '%s' belongs to the instance %s: delete that first", name, list);
  if (unlink (path) != 0)
    return errno == ENOENT ? cs_volume_missing (name, err) : cs_fail_errno (err, "remove %s", path);
  return unlink (beside) == 0 || errno == ENOENT || cs_fail_errno (err, "remove %s", beside);
}

static int
by_name (gconstpointer a, gconstpointer b)
{
  return strcmp (*(const char *const *) a, *(const char *const *) b);
}

GPtrArray *
cs_volume_names (void)
{
  GPtrArray *all = g_ptr_array_new_with_free_func (g_free);
  g_autofree char *top = cs_root_path ("volumes", NULL);
  DIR *d = opendir (top);
  for (struct dirent *e; d != NULL && (e = readdir (d)) != NULL;)
    if (e->d_name[0] != '.' && !g_str_has_suffix (e->d_name, BESIDE))
      g_ptr_array_add (all, g_strdup (e->d_name));
  if (d != NULL)
    closedir (d);
  g_ptr_array_sort (all, by_name);
  return all;
}

gboolean
cs_volume_missing (const char *name, GError **err)
{
  g_autoptr (GPtrArray) all = cs_volume_names ();
  struct cs_suggestion near = { 0 };
  for (guint i = 0; i < all->len; i++)
    cs_suggest (name, all->pdata[i], &near);
  g_autofree char *what = cs_suggestion_text (&near, "capstan volume list lists them");
  return cs_fail (err, CAPSTAN_E_NOTFOUND, "there is no volume '%s'; %s", name, what);
}
