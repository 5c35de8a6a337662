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
#include <errno.h>
#include <ltdl.h>
#include <stdlib.h>
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

/* It becomes part of file names, so a description may not say what it likes. */
static gboolean
good_name (const char *s)
{
  return g_ascii_isalnum (*s) && strspn (s, "abcdefghijklmnopqrstuvwxyz0123456789._-") == strlen (s);
}

/* "key: value" lines; what is not known is for a later capstan. */
static void
read_description (struct cs_plugin *p, const char *path)
{
  g_autoptr (GError) err = NULL;
  g_autofree char *text = cs_read_file (path, 65536, NULL, &err);
  if (text == NULL)
    p->refused = g_strdup (err->message);
  g_auto (GStrv) lines = g_strsplit (text != NULL ? text : "", "\n", 0);
  struct { const char *key; char **where; gboolean is_name; } const keys[] = {
    { "name", &p->name, TRUE }, { "kind", &p->kind, TRUE }, { "suffix", &p->suffix, TRUE },
    { "package", &p->package, FALSE }, { "schemes", &p->schemes, FALSE },
    { "patterns", &p->patterns, FALSE }, { "summary", &p->summary, FALSE } };
  for (char **l = lines; *l != NULL; l++) {
    char *colon = strchr (*l, ':');
    if (**l == '#' || colon == NULL)
      continue;
    *colon = '\0';
    char *value = g_strstrip (colon + 1);
    for (guint i = 0; i < G_N_ELEMENTS (keys); i++)
      if (strcmp (*l, keys[i].key) == 0 && *value != '\0' && (!keys[i].is_name || good_name (value))) {
        g_free (*keys[i].where);
        *keys[i].where = g_strdup (value);
      }
    if (strcmp (*l, "aliases") == 0) {
      g_strfreev (p->aliases);
      p->aliases = g_strsplit_set (value, ", ", 0);
    }
  }
  p->described = TRUE;
}

static struct cs_plugin *
describe (const char *dir, const char *stem)
{
  struct cs_plugin *p = g_new0 (struct cs_plugin, 1);
  g_autofree char *so = g_strconcat (stem, ".so", NULL);
  g_autofree char *meta = g_strdup_printf ("%s/%s.plugin", dir, stem);
  const char *dash = strchr (stem, '-');
  p->file = g_build_filename (dir, so, NULL);
  p->kind = g_strdup (g_str_has_prefix (stem, "repo-") ? "repository" : "hypervisor");
  p->name = g_strdup (dash != NULL && dash[1] != '\0' ? dash + 1 : stem);
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

/* A description without its .so is listed too: it is a package that is half there. */
static void
scan (GPtrArray *all, const char *dir)
{
  DIR *d = opendir (dir);
  g_autoptr (GPtrArray) stems = g_ptr_array_new_with_free_func (g_free);
  for (struct dirent *e; d != NULL && (e = readdir (d)) != NULL;) {
    const char *dot = strrchr (e->d_name, '.');
    if (dot != NULL && dot > e->d_name && *e->d_name != '.' &&
        (strcmp (dot, ".so") == 0 || strcmp (dot, ".plugin") == 0))
      g_ptr_array_add (stems, g_strndup (e->d_name, (gsize) (dot - e->d_name)));
  }
  if (d != NULL)
    closedir (d);
  g_ptr_array_sort (stems, by_text);
  for (guint i = 0; i < stems->len; i++)
    if (i == 0 || strcmp (stems->pdata[i], stems->pdata[i - 1]) != 0)
      g_ptr_array_add (all, describe (dir, stems->pdata[i]));
}

/* ---- plugins that are part of the program (--disable-shared) ---- */

#ifdef CAPSTAN_STATIC_PLUGINS
/* What the helpers in plugins/common find, which know no plugin's name. */
const struct capstan_host *capstan_host_ = &cs_host;
static GHashTable *builtin; /* "hypervisor-null" -> lt_dlhandle */

static int
keep_builtin (lt_dlhandle h)
{
  char *stem = g_path_get_basename (lt_dlgetinfo (h)->filename), *dot = strrchr (stem, '.');
  if (dot != NULL)
    *dot = '\0';
  g_hash_table_replace (builtin, stem, h);
  return 0;
}

static char *
stem_of (const struct cs_plugin *p)
{
  char *stem = g_path_get_basename (p->file);
  *strrchr (stem, '.') = '\0';
  return stem;
}

/* Those that no .plugin file describes. */
static void
add_builtins (GPtrArray *all)
{
  GHashTableIter i;
  gpointer stem;
  builtin = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, NULL);
  if (ltdl_init (NULL))
    lt_dlpreload_open ("@PROGRAM@", keep_builtin);
  g_hash_table_iter_init (&i, builtin);
  while (g_hash_table_iter_next (&i, &stem, NULL)) {
    gboolean there = FALSE;
    for (guint k = 0; k < all->len && !there; k++) {
      g_autofree char *other = stem_of (all->pdata[k]);
      there = strcmp (other, stem) == 0;
    }
    if (!there)
      g_ptr_array_add (all, describe (PKGLIBDIR, stem));
  }
}

/* Where there is a file, that is meant. */
static lt_dlhandle
open_builtin (struct cs_plugin *p)
{
  g_autofree char *stem = stem_of (p);
  lt_dlhandle h = access (p->file, F_OK) != 0 ? g_hash_table_lookup (builtin, stem) : NULL;
  if (h != NULL) {
    g_free (p->file);
    p->file = g_strdup ("built in");
  }
  return h;
}
#else
static void
add_builtins (GPtrArray *all)
{
}

static lt_dlhandle
open_builtin (struct cs_plugin *p)
{
  return NULL;
}
#endif

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
    if (st.st_uid == geteuid () && (st.st_mode & 022) == 0)
      scan (all, own);
    else
      cs_warn ("%s is not yours alone to write, so nothing is loaded from it: chmod go-w", own);
  }
  scan (all, PKGLIBDIR);
  add_builtins (all);
  return all;
}

struct cs_plugin *
cs_plugin_add (const char *file)
{
  g_autofree char *dir = g_path_get_dirname (file), *stem = g_path_get_basename (file);
  char *dot = strrchr (stem, '.');
  if (dot != NULL && dot > stem)
    *dot = '\0';
  struct cs_plugin *p = describe (dir, stem);
  g_free (p->file); /* whatever its name ends with */
  p->file = g_strdup (file);
  g_ptr_array_insert (cs_plugins (), 0, p);
  return p;
}

/* A name goes before the alias of another. */
struct cs_plugin *
cs_plugin_find (const char *kind, const char *name)
{
  GPtrArray *all = cs_plugins ();
  for (int alias = 0; alias < 2; alias++)
    for (guint i = 0; i < all->len; i++) {
      struct cs_plugin *p = g_ptr_array_index (all, i);
      if (strcmp (p->kind, kind) == 0 &&
          (alias ? *name != '\0' && g_strv_contains ((const char *const *) p->aliases, name)
                 : strcmp (p->name, name) == 0))
        return p;
    }
  return NULL;
}

const char *
cs_plugin_schemes (const struct cs_plugin *p)
{
  return p->schemes != NULL ? p->schemes : p->provider.schemes;
}

gboolean
cs_plugin_missing (const char *kind, const char *name, GError **err)
{
  g_autoptr (GString) names = g_string_new (NULL);
  struct cs_suggestion near = { 0 };
  GPtrArray *all = cs_plugins ();
  for (guint i = 0; i < all->len; i++) {
    const struct cs_plugin *p = g_ptr_array_index (all, i);
    if ((kind != NULL && strcmp (p->kind, kind) != 0) || cs_plugin_shadowed (p) != NULL)
      continue;
    g_string_append_printf (names, "%s%s", names->len > 0 ? ", " : "", p->name);
    cs_suggest (name, p->name, &near);
    for (char **a = p->aliases; *a != NULL; a++)
      cs_suggest (name, *a, &near);
  }
  g_autofree char *package = g_strdup_printf ("it may be in the package capstan-plugin-%s.", name);
  g_autofree char *what = cs_suggestion_text (&near, package);
  return cs_fail (err, CAPSTAN_E_NOTFOUND, "there is no %s%splugin '%s'; %s Installed: %s",
                  kind != NULL ? kind : "", kind != NULL ? " " : "", name, what,
                  names->len > 0 ? names->str : "none");
}

const struct cs_plugin *
cs_plugin_shadowed (const struct cs_plugin *p)
{
  const struct cs_plugin *first = cs_plugin_find (p->kind, p->name);
  return first != p ? first : NULL;
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

/* A plugin may have been built against a shorter or longer struct than ours: what it knows
 * of the struct goes over zeros. */
#define TAKE(to, from)                                                                   \
  do {                                                                                   \
    memset (&(to), 0, sizeof (to));                                                      \
    memcpy (&(to), (from), MIN ((gsize) (from)->struct_size, sizeof (to)));              \
    (to).struct_size = sizeof (to);                                                      \
  } while (0)

/* The same for a table of options, whose rows may be longer or shorter than ours. */
static gboolean
take_options (struct cs_plugin *p, const struct capstan_option **table, gsize n, gsize stride,
              GError **err)
{
  if (n == 0 || *table == NULL)
    return n == 0 || refuse (p, err, "it counts %" G_GSIZE_FORMAT " options and has none", n);
  if (stride < G_STRUCT_OFFSET (struct capstan_option, def) || stride % sizeof (void *) != 0)
    return refuse (p, err, "an option of it is %" G_GSIZE_FORMAT " bytes (option_size)", stride);
  struct capstan_option *rows = g_new0 (struct capstan_option, n);
  for (gsize i = 0; i < n; i++) {
    memcpy (&rows[i], (const char *) *table + i * stride, MIN (stride, sizeof *rows));
    if (rows[i].key == NULL) {
      g_free (rows);
      return refuse (p, err, "an option of it has no key");
    }
  }
  *table = rows; /* as long as the plugin: for ever */
  return TRUE;
}

static gboolean
take_provider (struct cs_plugin *p, const struct capstan_provider *v, GError **err)
{
  struct capstan_provider *to = &p->provider;
  if (!CAPSTAN_HAS (struct capstan_provider, v, ops) || v->ops == NULL)
    return refuse (p, err, "its provider has no operations");
  TAKE (*to, v);
  gsize stride = to->option_size;
  to->option_size = sizeof (struct capstan_option);
  const char *kind = to->kind == CAPSTAN_KIND_HYPERVISOR ? "hypervisor"
                     : to->kind == CAPSTAN_KIND_REPO     ? "repository"
                                                         : "of an unknown kind";
  if (strcmp (kind, p->kind) != 0) {
    if (p->described || to->kind == 0 || to->kind > CAPSTAN_KIND_REPO)
      return refuse (p, err, "it is %s, not %s", kind, p->kind);
    g_free (p->kind);
    p->kind = g_strdup (kind);
  }
  if (!take_options (p, &to->options, to->n_options, stride, err) ||
      !take_options (p, &to->vm_options, to->n_vm_options, stride, err) ||
      !take_options (p, &to->disk_options, to->n_disk_options, stride, err) ||
      !take_options (p, &to->nic_options, to->n_nic_options, stride, err))
    return FALSE;
  if (to->kind == CAPSTAN_KIND_HYPERVISOR)
    TAKE (p->hv_ops, (const struct capstan_hypervisor_ops *) v->ops);
  else
    TAKE (p->repo_ops, (const struct capstan_repo_ops *) v->ops);
  return TRUE;
}

/* Of several providers the one with the plugin's name, else the first. */
static const struct capstan_provider *
pick (const struct cs_plugin *p, const struct capstan_provider *const *all)
{
  const struct capstan_provider *r = all[0];
  for (; *all != NULL; all++)
    if (CAPSTAN_HAS (struct capstan_provider, *all, ops) && g_strcmp0 ((*all)->name, p->name) == 0)
      return *all;
  return r;
}

static GPtrArray *loaded;

static void
unload_all (void)
{
  for (guint i = loaded->len; i-- > 0;)
    ((struct cs_plugin *) g_ptr_array_index (loaded, i))->head.unload ();
}

static gboolean
negotiate (struct cs_plugin *p, const struct capstan_plugin *d, GError **err)
{
  if (d == NULL)
    return refuse (p, err, "its entry point answered nothing");
  if (!CAPSTAN_HAS (struct capstan_plugin, d, providers))
    return refuse (p, err, "its description is %u bytes, too few", (unsigned) d->struct_size);
  if (d->abi_major != CAPSTAN_ABI_MAJOR || d->min_host_minor > CAPSTAN_ABI_MINOR)
    return refuse (p, err, "needs plugin ABI >= %u.%u, this capstan has %u.%u",
                   (unsigned) d->abi_major, (unsigned) d->min_host_minor, CAPSTAN_ABI_MAJOR,
                   CAPSTAN_ABI_MINOR);
  if (d->providers == NULL || d->providers[0] == NULL)
    return refuse (p, err, "it describes no provider");
  if (!take_provider (p, pick (p, d->providers), err))
    return FALSE;
  TAKE (p->head, d);
  if (p->head.load != NULL) {
    g_autoptr (GError) e = NULL;
    struct capstan_call c;
    cs_call_init (&c, p, NULL, NULL);
    if (!cs_call_end (&c, p->head.load (&c), "load", &e))
      return refuse (p, err, "%s", e->message);
  }
  if (p->head.unload != NULL) {
    if (loaded == NULL) {
      loaded = g_ptr_array_new ();
      atexit (unload_all);
    }
    g_ptr_array_add (loaded, p);
  }
  p->desc = d;
  return TRUE;
}

/* From its file; NULL: refused. */
static lt_dlhandle
open_file (struct cs_plugin *p, GError **err)
{
  lt_dladvise advise;
  struct stat st;
  const char *reason = NULL;
  lt_dlhandle h = NULL;
  if (stat (p->file, &st) != 0)
    reason = g_strerror (errno);
  else if (!S_ISREG (st.st_mode)) /* a pipe would be waited for */
    reason = "it is no ordinary file";
  else {
    why[0] = '\0';
    lt_dladvise_init (&advise);
    lt_dladvise_resident (&advise); /* never unmapped: its code may be on a stack */
    h = lt_dlopenadvise (p->file, advise);
    if (h == NULL)
      reason = why[0] != '\0' ? why : lt_dlerror ();
    lt_dladvise_destroy (&advise);
  }
  if (h == NULL)
    refuse (p, err, "%s", reason);
  return h;
}

gboolean
cs_plugin_load (struct cs_plugin *p, GError **err)
{
  if (p->desc != NULL)
    return TRUE;
  if (p->refused != NULL)
    return cs_fail (err, CAPSTAN_E_UNSUPPORTED, "plugin %s: %s", p->file, p->refused);
  if (!ltdl_init (err))
    return FALSE;
  lt_dlhandle h = open_builtin (p);
  if (h == NULL && (h = open_file (p, err)) == NULL)
    return FALSE;
  capstan_plugin_init_fn *init = NULL;
  *(void **) &init = lt_dlsym (h, "capstan_plugin_init_v1");
  if (init == NULL)
    return refuse (p, err, "no capstan_plugin_init_v1: not a plugin for ABI 1");
  return negotiate (p, init (&cs_host), err);
}
