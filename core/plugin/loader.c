/* Finds and maps plugins. SPDX-License-Identifier: BSD-3-Clause
 *
 * libltdl's stock loader binds lazily and loses dlerror's text, so its open function is
 * replaced in place: taken out, patched, put back. */
#include "config.h"
#include "core/plugin/loader.h"
#include "core/base/error.h"
#include "core/base/util.h"
#include "core/store/store.h"
#include <dirent.h>
#include <dlfcn.h>
#include <ltdl.h>
#include <string.h>
#include <sys/stat.h>

static char why[512]; /* dlerror of the last load */

static void *
open_now (lt_user_data data, const char *file, lt_dladvise advise)
{
  void *m = dlopen (file, RTLD_NOW | RTLD_LOCAL);
  if (m == NULL && why[0] == '\0')
    g_strlcpy (why, dlerror (), sizeof why);
  return m;
}

static int
close_now (lt_user_data data, lt_module m)
{
  return dlclose (m);
}

static void *
find_symbol (lt_user_data data, lt_module m, const char *name)
{
  return dlsym (m, name);
}

static gboolean
ltdl_init (GError **err)
{
  static gboolean done;
  if (done)
    return TRUE;
  if (lt_dlinit () != 0)
    return cs_fail (err, CAPSTAN_E_INTERNAL, "libltdl: %s", lt_dlerror ());
  lt_dlvtable *v = (lt_dlvtable *) lt_dlloader_remove ("lt_dlopen");
  if (v != NULL) { /* a static build may have none */
    v->module_open = open_now;
    v->module_close = close_now;
    v->find_sym = find_symbol;
    lt_dlloader_add (v);
  }
  done = TRUE;
  return TRUE;
}

/* "key: value" lines; what is not known is for a later capstan. */
static void
read_description (struct cs_plugin *p, const char *path)
{
  g_autofree char *text = cs_read_file (path, 65536, NULL, NULL);
  g_auto (GStrv) lines = g_strsplit (text != NULL ? text : "", "\n", 0);
  struct { const char *key; char **where; } const keys[] = {
    { "name", &p->name }, { "kind", &p->kind }, { "suffix", &p->suffix },
    { "package", &p->package }, { "schemes", &p->schemes }, { "summary", &p->summary } };
  for (char **l = lines; *l != NULL; l++) {
    char *colon = strchr (*l, ':');
    if (**l == '#' || colon == NULL)
      continue;
    *colon = '\0';
    char *value = g_strstrip (colon + 1);
    for (guint i = 0; i < G_N_ELEMENTS (keys); i++)
      if (strcmp (*l, keys[i].key) == 0) {
        g_free (*keys[i].where);
        *keys[i].where = g_strdup (value);
      }
    if (strcmp (*l, "aliases") == 0) {
      g_strfreev (p->aliases);
      p->aliases = g_strsplit_set (value, ", ", 0);
    }
  }
}

static struct cs_plugin *
describe (const char *dir, const char *file)
{
  struct cs_plugin *p = g_new0 (struct cs_plugin, 1);
  g_autofree char *stem = g_strndup (file, strlen (file) - 3);
  g_autofree char *meta = g_strdup_printf ("%s/%s.plugin", dir, stem);
  const char *dash = strchr (stem, '-');
  p->file = g_build_filename (dir, file, NULL);
  p->kind = g_strdup (g_str_has_prefix (stem, "repo-") ? "repository" : "hypervisor");
  p->name = g_strdup (dash != NULL ? dash + 1 : stem);
  p->aliases = g_new0 (char *, 1);
  if (g_file_test (meta, G_FILE_TEST_IS_REGULAR))
    read_description (p, meta);
  return p;
}

static int
by_text (gconstpointer a, gconstpointer b)
{
  return strcmp (*(const char *const *) a, *(const char *const *) b);
}

static void
scan (GPtrArray *all, const char *dir)
{
  DIR *d = opendir (dir);
  g_autoptr (GPtrArray) names = g_ptr_array_new_with_free_func (g_free);
  for (struct dirent *e; d != NULL && (e = readdir (d)) != NULL;)
    if (e->d_name[0] != '.' && g_str_has_suffix (e->d_name, ".so"))
      g_ptr_array_add (names, g_strdup (e->d_name));
  if (d != NULL)
    closedir (d);
  g_ptr_array_sort (names, by_text);
  for (guint i = 0; i < names->len; i++)
    g_ptr_array_add (all, describe (dir, g_ptr_array_index (names, i)));
}

GPtrArray *
cs_plugins (void)
{
  static GPtrArray *all;
  struct stat st;
  if (all != NULL)
    return all;
  all = g_ptr_array_new ();
  const char *env = g_getenv ("CAPSTAN_PLUGIN_PATH");
  g_auto (GStrv) dirs = g_strsplit (env != NULL ? env : "", ":", 0);
  for (char **dir = dirs; *dir != NULL; dir++)
    if (**dir != '\0')
      scan (all, *dir);
  g_autofree char *own = cs_root_path ("plugins", NULL);
  if (stat (own, &st) == 0) {
    if (st.st_uid == getuid () && (st.st_mode & 022) == 0)
      scan (all, own);
    else
      cs_warn ("%s is not yours alone to write, so nothing is loaded from it: chmod go-w", own);
  }
  scan (all, PKGLIBDIR);
  return all;
}

struct cs_plugin *
cs_plugin_find (const char *kind, const char *name)
{
  GPtrArray *all = cs_plugins ();
  for (guint i = 0; i < all->len; i++) {
    struct cs_plugin *p = g_ptr_array_index (all, i);
    if (strcmp (p->kind, kind) == 0 &&
        (strcmp (p->name, name) == 0 || g_strv_contains ((const char *const *) p->aliases, name)))
      return p;
  }
  return NULL;
}

static gboolean
refuse (struct cs_plugin *p, GError **err, const char *fmt, ...) G_GNUC_PRINTF (3, 4);
static gboolean
refuse (struct cs_plugin *p, GError **err, const char *fmt, ...)
{
  va_list ap;
  va_start (ap, fmt);
  g_free (p->refused);
  p->refused = g_strdup_vprintf (fmt, ap);
  va_end (ap);
  return cs_fail (err, CAPSTAN_E_UNSUPPORTED, "plugin %s: %s", p->file, p->refused);
}

/* A plugin may have been built against a shorter or longer struct than ours. */
#define TAKE(to, from)                                                                   \
  memcpy (&(to), (from), MIN ((gsize) (from)->struct_size, sizeof (to)))

static gboolean
negotiate (struct cs_plugin *p, const struct capstan_plugin *d, GError **err)
{
  if (d == NULL)
    return refuse (p, err, "its entry point answered nothing");
  if (d->abi_major != CAPSTAN_ABI_MAJOR || d->min_host_minor > CAPSTAN_ABI_MINOR)
    return refuse (p, err, "needs plugin ABI >= %u.%u, this capstan has %u.%u",
                   (unsigned) d->abi_major, (unsigned) d->min_host_minor, CAPSTAN_ABI_MAJOR,
                   CAPSTAN_ABI_MINOR);
  if (d->struct_size < G_STRUCT_OFFSET (struct capstan_plugin, load) || d->providers == NULL ||
      d->providers[0] == NULL)
    return refuse (p, err, "it describes no provider");
  const struct capstan_provider *v = d->providers[0];
  if (v->struct_size < sizeof (guint32) * 2 || v->ops == NULL)
    return refuse (p, err, "its provider has no operations");
  TAKE (p->provider, v);
  p->provider.struct_size = sizeof p->provider;
  if (p->provider.kind == CAPSTAN_KIND_HYPERVISOR)
    TAKE (p->hv_ops, (const struct capstan_hypervisor_ops *) v->ops);
  p->desc = d;
  if (CAPSTAN_HAS (struct capstan_plugin, d, load) && d->load != NULL) {
    struct capstan_call c;
    cs_call_init (&c, p, NULL);
    if (!cs_call_end (&c, d->load (&c), "load", err)) {
      p->desc = NULL;
      p->refused = g_strdup ("its load function failed");
      return FALSE;
    }
  }
  return TRUE;
}

gboolean
cs_plugin_load (struct cs_plugin *p, GError **err)
{
  lt_dladvise advise;
  if (p->desc != NULL)
    return TRUE;
  if (!ltdl_init (err))
    return FALSE;
  why[0] = '\0';
  lt_dladvise_init (&advise);
  lt_dladvise_resident (&advise); /* never unmapped: its code may be on a stack */
  lt_dlhandle h = lt_dlopenadvise (p->file, advise);
  const char *reason = h != NULL ? NULL : why[0] != '\0' ? why : lt_dlerror ();
  lt_dladvise_destroy (&advise);
  if (h == NULL)
    return refuse (p, err, "%s", reason);
  capstan_plugin_init_fn *init = NULL;
  *(void **) &init = lt_dlsym (h, "capstan_plugin_init_v1");
  if (init == NULL)
    return refuse (p, err, "no capstan_plugin_init_v1: not a plugin for ABI 1");
  return negotiate (p, init (&cs_host), err);
}
