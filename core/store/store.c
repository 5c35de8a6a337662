/* Finding and removing images. SPDX-License-Identifier: BSD-3-Clause */
#include "config.h"
#include "core/base/error.h"
#include "core/base/util.h"
#include "core/base/yaml.h"
#include "core/store/store.h"
#include "core/store/txn.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

static const char *const suffixes[] = { "qemu", "vbox", "vmw", "gce", "raw", "vmware", NULL };

const char *
cs_root (void)
{
  static char *root;
  if (root == NULL) {
    const char *e = g_getenv ("CAPSTAN_ROOT");
    g_autofree char *r = e != NULL && *e != '\0'
                             ? g_strdup (e)
                             : g_build_filename (g_get_home_dir (), ".capstan", NULL);
    root = g_canonicalize_filename (r, NULL);
  }
  return root;
}

char *
cs_root_path (const char *first, ...)
{
  g_autofree char *start = g_build_filename (cs_root (), first, NULL);
  va_list ap;
  va_start (ap, first);
  char *r = g_build_filename_valist (start, &ap);
  va_end (ap);
  return r;
}

const char *
cs_config (const char *key)
{
  static CsYaml *config;
  static gboolean loaded;
  if (!loaded) {
    g_autofree char *path = cs_root_path ("config.yaml", NULL);
    g_autoptr (GError) err = NULL;
    loaded = TRUE;
    if (access (path, F_OK) == 0 && (config = cs_yaml_load (path, &err)) == NULL)
      cs_warn ("%s; it is left out", err->message);
  }
  return cs_yaml_str (config, key);
}

void
cs_image_free (struct cs_image *i)
{
  if (i == NULL)
    return;
  g_free (i->name);
  g_free (i->dir);
  g_free (i->path);
  g_free (i->suffix);
  cs_index_free (i->index);
  g_free (i);
}

/* The image of a name with a suffix, or NULL if there is none. */
static struct cs_image *
image_at (const char *name, const char *dir, const char *suffix)
{
  g_autofree char *base = g_path_get_basename (name);
  g_autofree char *path = g_strdup_printf ("%s/%s.%s", dir, base, suffix);
  struct stat st;
  if (stat (path, &st) != 0 || !S_ISREG (st.st_mode))
    return NULL;
  struct cs_image *i = g_new0 (struct cs_image, 1);
  g_autofree char *index = g_build_filename (dir, "index.yaml", NULL);
  g_autoptr (GError) err = NULL;
  i->name = g_strdup (name);
  i->dir = g_strdup (dir);
  i->path = g_steal_pointer (&path);
  i->suffix = g_strdup (suffix);
  i->file_size = (guint64) st.st_size;
  i->allocated = (guint64) st.st_blocks * 512;
  if (access (index, F_OK) == 0 && (i->index = cs_index_load (index, &err)) == NULL)
    cs_warn ("%s", err->message);
  if (i->index == NULL)
    i->index = cs_index_new ();
  return i;
}

static void
list_dir (GPtrArray *out, const char *dir, const char *name, int depth)
{
  gboolean found[G_N_ELEMENTS (suffixes) - 1] = { FALSE }, commit = FALSE;
  const char *base = strrchr (name, '/') != NULL ? strrchr (name, '/') + 1 : name;
  gsize base_len = strlen (base);
  DIR *d = opendir (dir);
  if (d == NULL) {
    if (errno != ENOENT)
      cs_warn ("%s: %s; it is left out", dir, g_strerror (errno));
    return;
  }
  for (struct dirent *e; (e = readdir (d)) != NULL;) {
    commit |= strcmp (e->d_name, ".commit") == 0;
    if (e->d_name[0] == '.')
      continue;
    g_autofree char *sub = g_build_filename (dir, e->d_name, NULL);
    gboolean is_dir = e->d_type == DT_DIR ||
                      ((e->d_type == DT_UNKNOWN || e->d_type == DT_LNK) &&
                       g_file_test (sub, G_FILE_TEST_IS_DIR));
    if (is_dir && depth < 8) {
      g_autofree char *n = *name != '\0' ? g_strconcat (name, "/", e->d_name, NULL)
                                         : g_strdup (e->d_name);
      list_dir (out, sub, n, depth + 1);
    } else if (*name != '\0') {
      if (strncmp (e->d_name, base, base_len) != 0 || e->d_name[base_len] != '.')
        continue;
      for (guint i = 0; suffixes[i] != NULL; i++)
        found[i] |= strcmp (e->d_name + base_len + 1, suffixes[i]) == 0;
    }
  }
  closedir (d);
  if (commit && *name != '\0') /* a crash: image and index may not belong together */
    cs_store_recover (name);
  for (guint i = 0; suffixes[i] != NULL && *name != '\0'; i++) {
    struct cs_image *im = found[i] || commit ? image_at (name, dir, suffixes[i]) : NULL;
    if (im != NULL)
      g_ptr_array_add (out, im);
  }
}

static int
by_name (gconstpointer a, gconstpointer b)
{
  const struct cs_image *x = *(struct cs_image *const *) a, *y = *(struct cs_image *const *) b;
  int c = strcmp (x->name, y->name);
  return c != 0 ? c : strcmp (x->suffix, y->suffix);
}

GPtrArray *
cs_store_list (GError **err)
{
  GPtrArray *out = g_ptr_array_new_with_free_func ((GDestroyNotify) cs_image_free);
  g_autofree char *dir = cs_root_path ("repository", NULL);
  struct stat st;
  if (stat (dir, &st) != 0 && errno != ENOENT) {
    cs_fail_errno (err, "open the store %s", dir);
    g_ptr_array_unref (out);
    return NULL;
  }
  list_dir (out, dir, "", 0);
  g_ptr_array_sort (out, by_name);
  return out;
}

struct cs_image *
cs_store_find (const char *name, const char *suffix, GError **err)
{
  if (!cs_name_check ("image name", name, TRUE, err))
    return NULL;
  g_autofree char *dir = cs_root_path ("repository", name, NULL);
  cs_store_recover (name);
  for (guint i = 0; suffixes[i] != NULL; i++) {
    struct cs_image *im = NULL;
    if (suffix == NULL || strcmp (suffix, suffixes[i]) == 0)
      im = image_at (name, dir, suffixes[i]);
    if (im != NULL)
      return im;
  }
  /* the original stored an imported raw file under .raw, and looked for .qemu */
  if (g_strcmp0 (suffix, "qemu") == 0) {
    struct cs_image *im = image_at (name, dir, "raw");
    if (im != NULL)
      return im;
  }
  return cs_fail_null (err, CAPSTAN_E_NOTFOUND,
                       "there is no image '%s'%s%s in %s; capstan images lists what is there",
                       name, suffix != NULL ? " for " : "", suffix != NULL ? suffix : "",
                       cs_root ());
}

gboolean
cs_store_remove (const char *name, GError **err)
{
  if (!cs_name_check ("image name", name, TRUE, err))
    return FALSE;
  struct cs_image *im = cs_store_find (name, NULL, err);
  if (im == NULL)
    return FALSE;
  g_autofree char *dir = g_strdup (im->dir);
  g_autofree char *base = g_path_get_basename (name);
  cs_image_free (im);
  cs_autofd int lock = cs_store_lock (name, TRUE, FALSE, err);
  if (lock < 0)
    return FALSE;
  /* only what is ours: the folder may hold the images of a name space as well */
  for (guint i = 0; suffixes[i] != NULL; i++) {
    g_autofree char *p = g_strdup_printf ("%s/%s.%s", dir, base, suffixes[i]);
    if (unlink (p) != 0 && errno != ENOENT)
      return cs_fail_errno (err, "remove %s", p);
    g_autofree char *cache = g_strconcat (p, ".cache", NULL); /* the original's */
    unlink (cache);
  }
  cs_store_clean (dir);
  g_autofree char *index = g_build_filename (dir, "index.yaml", NULL);
  if (unlink (index) != 0 && errno != ENOENT)
    return cs_fail_errno (err, "remove %s", index);
  /* the folder, and the name space if it was the last: only when empty */
  g_autofree char *top = cs_root_path ("repository", NULL);
  while (strlen (dir) > strlen (top) && rmdir (dir) == 0) {
    char *up = g_path_get_dirname (dir);
    g_free (dir);
    dir = up;
  }
  return TRUE;
}
