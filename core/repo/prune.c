/* Removes what is of no use any more. SPDX-License-Identifier: BSD-3-Clause */
#include "config.h"
#include "core/repo/prune.h"
#include "core/base/error.h"
#include "core/base/util.h"
#include "core/repo/room.h"
#include "core/store/formats.h"
#include "core/store/txn.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

struct prune { gboolean dry_run; cs_prune_fn fn; gpointer data; };

static guint64
bytes_in (const char *dir)
{
  guint64 n = 0;
  struct stat st;
  DIR *d = opendir (dir);
  for (struct dirent *e; d != NULL && (e = readdir (d)) != NULL;)
    if (fstatat (dirfd (d), e->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG (st.st_mode))
      n += (guint64) st.st_blocks * 512;
  if (d != NULL)
    closedir (d);
  return n;
}

/* cache/pull or cache/push: a folder each, under the lock "pull-<key>". */
static gboolean
prune_cache (const struct prune *p, const char *kind, const char *what, GError **err)
{
  g_autofree char *top = cs_root_path ("cache", kind, NULL);
  g_autoptr (GPtrArray) keys = g_ptr_array_new_with_free_func (g_free);
  DIR *d = opendir (top);
  if (d == NULL)
    return errno == ENOENT || cs_fail_errno (err, "open %s", top);
  for (struct dirent *e; (e = readdir (d)) != NULL;)
    if (e->d_name[0] != '.')
      g_ptr_array_add (keys, g_strdup (e->d_name));
  closedir (d);
  for (guint i = 0; i < keys->len; i++) {
    g_autofree char *dir = g_build_filename (top, keys->pdata[i], NULL);
    g_autofree char *name = g_strdup_printf ("%s-%s", kind, (const char *) keys->pdata[i]);
    g_autofree char *lock_path = cs_root_path ("locks", name, NULL);
    cs_autofd int lock = cs_lock_file (lock_path, TRUE, FALSE, NULL);
    if (lock < 0)
      continue; /* it is at work */
    p->fn (what, dir, bytes_in (dir), p->data);
    if (!p->dry_run && !cs_rmtree (dir, err))
      return FALSE;
  }
  return TRUE;
}

/* Temporary files beside the images. */
static gboolean
prune_store (const struct prune *p, const char *dir, const char *name, int depth, GError **err)
{
  g_autoptr (GPtrArray) subs = g_ptr_array_new_with_free_func (g_free);
  guint64 bytes = 0;
  guint files = 0;
  struct stat st;
  DIR *d = opendir (dir);
  if (d == NULL)
    return errno == ENOENT || cs_fail_errno (err, "open %s", dir);
  for (struct dirent *e; (e = readdir (d)) != NULL;) {
    if (fstatat (dirfd (d), e->d_name, &st, AT_SYMLINK_NOFOLLOW) != 0)
      continue;
    if (S_ISDIR (st.st_mode) && e->d_name[0] != '.')
      g_ptr_array_add (subs, g_strdup (e->d_name));
    else if (S_ISREG (st.st_mode) && e->d_name[0] == '.' && strstr (e->d_name, ".tmp-") != NULL) {
      files++;
      bytes += (guint64) st.st_blocks * 512;
    }
  }
  closedir (d);
  if (files > 0 && *name != '\0' && !cs_store_is_written (name)) {
    p->fn ("unfinished image", dir, bytes, p->data);
    if (!p->dry_run)
      cs_store_tidy (name);
  }
  for (guint i = 0; i < subs->len && depth < 8; i++) {
    g_autofree char *path = g_build_filename (dir, subs->pdata[i], NULL);
    g_autofree char *sub = *name != '\0' ? g_strconcat (name, "/", subs->pdata[i], NULL)
                                         : g_strdup (subs->pdata[i]);
    if (!prune_store (p, path, sub, depth + 1, err))
      return FALSE;
  }
  return TRUE;
}

static void
one_format (const char *path, guint64 bytes, gpointer data)
{
  const struct prune *p = data;
  p->fn ("converted image", path, bytes, p->data);
}

gboolean
cs_prune (gboolean dry_run, cs_prune_fn fn, gpointer data, GError **err)
{
  struct prune p = { dry_run, fn, data };
  g_autofree char *top = cs_root_path ("repository", NULL);
  return prune_cache (&p, "pull", "partial download", err) &&
         prune_cache (&p, "push", "prepared upload", err) &&
         cs_formats_prune (dry_run, one_format, &p, err) && prune_store (&p, top, "", 0, err);
}

gboolean
cs_repo_maintain (struct cs_repo *r, guint64 older_than, gboolean dry_run, GError **err)
{
  return cs_rp_maintain (r->rp, older_than, dry_run, err);
}
