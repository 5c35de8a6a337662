/* Reads a Capstanfile. SPDX-License-Identifier: BSD-3-Clause */
#include "config.h"
#include <string.h>
#include <sys/stat.h>
#include "core/base/error.h"
#include "core/base/spawn.h"
#include "core/base/util.h"
#include "core/base/yaml.h"
#include "core/build/capstanfile.h"
#include "core/build/env.h"

#define KEYS "base, build, cmdline, env, files, fs, guest, rootfs, size"
static const char *const keys[] = { "base", "build", "cmdline", "env", "files", "fs",
                                    "guest", "rootfs", "size" };
#define ENTRY_KEYS "from, mode, owner"

static void
entry_free (gpointer p)
{
  struct cs_capstanfile_entry *e = p;
  g_free (e->dst);
  g_free (e->src);
  g_free (e->rel);
  g_free (e);
}

void
cs_capstanfile_free (struct cs_capstanfile *c)
{
  if (!c)
    return;
  g_free (c->path);
  g_free (c->dir);
  g_free (c->text);
  g_free (c->base);
  g_free (c->cmdline);
  g_free (c->build);
  g_free (c->rootfs);
  g_free (c->rootfs_rel);
  g_free (c->guest);
  g_free (c->fs);
  if (c->env)
    g_ptr_array_unref (c->env);
  if (c->files)
    g_ptr_array_unref (c->files);
  g_free (c);
}

static gboolean
check_keys (const struct cs_capstanfile *c, const CsYaml *y, GError **err)
{
  for (guint k = 0; k < y->keys->len; k++) {
    const char *key = g_ptr_array_index (y->keys, k);
    const CsYaml *value = g_ptr_array_index (y->items, k);
    struct cs_suggestion near = { 0 };
    if (strcmp (key, "rpm-base") == 0)
      return cs_fail (err, CAPSTAN_E_UNSUPPORTED,
                      "%s:%u: 'rpm-base' is not supported: unpack the package with a 'build' "
                      "command (rpm2cpio FILE.rpm | cpio -id -D ROOTFS) and name the image to "
                      "build on with 'base'", c->path, value->line);
    gboolean known = FALSE;
    for (guint n = 0; n < G_N_ELEMENTS (keys); n++) {
      known |= strcmp (key, keys[n]) == 0;
      cs_suggest (key, keys[n], &near);
    }
    if (!known) {
      g_autofree char *what = cs_suggestion_text (&near, NULL);
      return cs_fail (err, CAPSTAN_E_INVAL, "%s:%u: unknown key '%s'%s%s; the keys are " KEYS, c->path,
                      value->line, key, what != NULL ? "; " : "", what != NULL ? what : "");
    }
    if (strcmp (key, "files") != 0 && strcmp (key, "env") != 0 &&
        value->type != CS_YAML_SCALAR)
      return cs_fail (err, CAPSTAN_E_INVAL, "%s:%u: '%s' must be one text, not a %s",
                      c->path, value->line, key,
                      value->type == CS_YAML_LIST ? "list" : "map");
  }
  return TRUE;
}

/* Copies a key's text; empty counts as absent. */
static char *
get_text (const CsYaml *y, const char *key)
{
  const char *s = cs_yaml_str (y, key);
  return s && *s ? g_strdup (s) : NULL;
}

static char *
host_path (const struct cs_capstanfile *c, const char *path)
{
  if (g_path_is_absolute (path) || strcmp (c->dir, ".") == 0)
    return g_strdup (path);
  return g_build_filename (c->dir, path, NULL);
}

/* How .capstanignore calls a path of the Capstanfile; NULL if it may lie outside. */
static char *
relative_name (const char *path)
{
  GString *s = g_string_new (NULL);
  g_auto (GStrv) parts = g_strsplit (path, "/", -1);
  gboolean inside = *path != '/' && !g_strv_contains ((const char *const *) parts, "..");
  for (char **p = parts; *p; p++)
    if (**p && strcmp (*p, ".") != 0)
      g_string_append_printf (s, "/%s", *p);
  return g_string_free (s, !inside);
}

/* "UID" or "UID:GID" */
static gboolean
read_owner (struct cs_capstanfile_entry *e, const char *s)
{
  g_auto (GStrv) part = g_strsplit (s, ":", 3);
  guint64 id[2];
  guint n = g_strv_length (part);
  if (n < 1 || n > 2)
    return FALSE;
  for (guint k = 0; k < n; k++)
    if (!g_ascii_string_to_unsigned (part[k], 10, 0, G_MAXUINT32 - 1, &id[k], NULL))
      return FALSE;
  e->set_owner = TRUE;
  e->uid = (guint32) id[0];
  e->gid = (guint32) id[n - 1];
  return TRUE;
}

static gboolean
read_perm (struct cs_capstanfile_entry *e, const char *s)
{
  guint64 mode;
  if (!g_ascii_string_to_unsigned (s, 8, 0, 07777, &mode, NULL))
    return FALSE;
  e->perm = (int) mode;
  return TRUE;
}

/* { from: path, owner: 1000:1000, mode: 0644 }; *src is set to `from`. */
static gboolean
read_entry_map (const struct cs_capstanfile *c, struct cs_capstanfile_entry *e,
                const CsYaml *map, const char **src, GError **err)
{
  *src = NULL;
  for (guint k = 0; k < map->keys->len; k++) {
    const char *key = g_ptr_array_index (map->keys, k);
    const CsYaml *value = g_ptr_array_index (map->items, k);
    const char *text = value->type == CS_YAML_SCALAR ? value->scalar : "";
    if (strcmp (key, "from") == 0)
      *src = text;
    else if (strcmp (key, "owner") == 0) {
      if (!read_owner (e, text))
        return cs_fail (err, CAPSTAN_E_INVAL, "%s:%u: files: owner '%s': numbers are needed, "
                        "UID or UID:GID", c->path, value->line, text);
    } else if (strcmp (key, "mode") == 0) {
      if (!read_perm (e, text))
        return cs_fail (err, CAPSTAN_E_INVAL, "%s:%u: files: mode '%s': an octal number is "
                        "needed, such as 0644", c->path, value->line, text);
    } else
      return cs_fail (err, CAPSTAN_E_INVAL, "%s:%u: files: unknown key '%s'; the keys are "
                      ENTRY_KEYS, c->path, value->line, key);
  }
  return TRUE;
}

/* '&' as the last part stands for the file name in the image. */
static char *
expand_ampersand (const struct cs_capstanfile *c, const char *dst, const char *src,
                  guint line, GError **err)
{
  if (strcmp (src, "&") != 0 && !g_str_has_suffix (src, "/&"))
    return g_strdup (src);
  if (!*dst || g_str_has_suffix (dst, "/"))
    return cs_fail_null (err, CAPSTAN_E_INVAL, "%s:%u: files: '&' stands for the file name "
                         "of '%s', which has none", c->path, line, dst);
  g_autofree char *base = g_path_get_basename (dst);
  g_autofree char *head = g_strndup (src, strlen (src) - 1);
  return g_strconcat (head, base, NULL);
}

static gboolean
read_entry (struct cs_capstanfile *c, const char *dst, const CsYaml *value, GError **err)
{
  struct cs_capstanfile_entry *e = g_new0 (struct cs_capstanfile_entry, 1);
  g_ptr_array_add (c->files, e);
  const char *text = value->type == CS_YAML_SCALAR ? value->scalar : NULL;
  e->line = value->line;
  e->perm = -1;
  e->dst = g_strconcat (*dst == '/' ? "" : "/", dst, NULL);
  if (value->type == CS_YAML_MAP && !read_entry_map (c, e, value, &text, err))
    return FALSE;
  if (!text || !*text)
    return cs_fail (err, CAPSTAN_E_INVAL, "%s:%u: files: '%s' needs the path of a file or "
                    "directory here", c->path, value->line, dst);
  g_auto (GStrv) parts = g_strsplit (dst, "/", -1);
  if (g_strv_contains ((const char *const *) parts, ".."))
    return cs_fail (err, CAPSTAN_E_INVAL, "%s:%u: files: the path '%s' in the image cannot "
                    "have '..'", c->path, value->line, dst);
  g_autofree char *src = expand_ampersand (c, dst, text, value->line, err);
  if (!src)
    return FALSE;
  e->src = host_path (c, src);
  e->text = strlen (e->src) - strlen (src);
  e->rel = relative_name (src);
  return TRUE;
}

static gboolean
read_files (struct cs_capstanfile *c, const CsYaml *files, GError **err)
{
  if (files->type == CS_YAML_SCALAR && !*files->scalar)
    return TRUE;
  if (files->type != CS_YAML_MAP)
    return cs_fail (err, CAPSTAN_E_INVAL, "%s:%u: 'files' must be a map, one line a file: "
                    "'/path/in/image: path here'", c->path, files->line);
  for (guint k = 0; k < files->keys->len; k++) {
    const char *dst = g_ptr_array_index (files->keys, k);
    const CsYaml *value = g_ptr_array_index (files->items, k);
    gboolean list = value->type == CS_YAML_LIST;
    for (guint n = 0; n < (list ? value->items->len : 1); n++)
      if (!read_entry (c, dst, list ? g_ptr_array_index (value->items, n) : value, err))
        return FALSE;
  }
  return TRUE;
}

static gboolean
read_env (struct cs_capstanfile *c, const CsYaml *env, GError **err)
{
  if (env->type == CS_YAML_SCALAR && !*env->scalar)
    return TRUE;
  if (env->type != CS_YAML_MAP)
    return cs_fail (err, CAPSTAN_E_INVAL, "%s:%u: 'env' must be a map, one line a variable: "
                    "'NAME: value'", c->path, env->line);
  for (guint k = 0; k < env->keys->len; k++) {
    const CsYaml *value = g_ptr_array_index (env->items, k);
    const char *name = g_ptr_array_index (env->keys, k);
    g_autoptr (GError) e = NULL;
    if (value->type != CS_YAML_SCALAR || strchr (name, '='))
      return cs_fail (err, CAPSTAN_E_INVAL, "%s:%u: env: '%s' must be a name with one text",
                      c->path, value->line, name);
    g_autofree char *kv = g_strconcat (name, "=", value->scalar, NULL);
    if (!cs_env_set (c->env, kv, &e))
      return cs_fail (err, CAPSTAN_E_INVAL, "%s:%u: %s", c->path, value->line, e->message);
  }
  return TRUE;
}

/* One of the words a|b|c. */
static gboolean
read_word (const struct cs_capstanfile *c, const CsYaml *y, const char *key,
           const char *words, char **ret, GError **err)
{
  g_auto (GStrv) known = g_strsplit (words, "|", -1);
  *ret = get_text (y, key);
  if (!*ret || g_strv_contains ((const char *const *) known, *ret))
    return TRUE;
  return cs_fail (err, CAPSTAN_E_INVAL, "%s:%u: %s: '%s' is not known; it can be %s", c->path,
                  cs_yaml_get (y, key)->line, key, *ret, words);
}

static gboolean
read_image_keys (struct cs_capstanfile *c, const CsYaml *y, GError **err)
{
  const char *size = cs_yaml_str (y, "size");
  const CsYaml *env = cs_yaml_get (y, "env");
  g_autoptr (GError) e = NULL;
  if (size && *size && !cs_size_parse (size, 1 << 20, &c->size, &e))
    return cs_fail (err, CAPSTAN_E_INVAL, "%s:%u: size: %s", c->path,
                    cs_yaml_get (y, "size")->line, e->message);
  return read_word (c, y, "guest", "osv|linux", &c->guest, err) &&
         read_word (c, y, "fs", "rofs|ext4|zfs", &c->fs, err) &&
         (!env || read_env (c, env, err));
}

static gboolean
read_keys (struct cs_capstanfile *c, const CsYaml *y, GError **err)
{
  if (y->type != CS_YAML_MAP)
    return cs_fail (err, CAPSTAN_E_INVAL, "%s:%u: a Capstanfile has lines 'key: value'; the "
                    "keys are " KEYS, c->path, y->line);
  if (!check_keys (c, y, err))
    return FALSE;
  c->base = get_text (y, "base");
  c->cmdline = get_text (y, "cmdline");
  c->build = get_text (y, "build");
  if (!c->base)
    return cs_fail (err, CAPSTAN_E_INVAL, "%s: 'base' is missing: the image to build on, "
                    "for example 'base: linux'", c->path);
  if (!c->cmdline)
    return cs_fail (err, CAPSTAN_E_INVAL, "%s: 'cmdline' is missing: what to start, for "
                    "example 'cmdline: /hello'", c->path);
  g_autoptr (GError) e = NULL;
  if (!cs_name_check ("image name", c->base, TRUE, &e))
    return cs_fail (err, CAPSTAN_E_INVAL, "%s:%u: base: %s", c->path,
                    cs_yaml_get (y, "base")->line, e->message);
  if (c->build)
    c->build_line = cs_yaml_get (y, "build")->line;
  g_autofree char *rootfs = get_text (y, "rootfs");
  if (rootfs)
    c->rootfs_line = cs_yaml_get (y, "rootfs")->line;
  c->rootfs = host_path (c, rootfs ? rootfs : "ROOTFS");
  c->rootfs_rel = relative_name (rootfs ? rootfs : "ROOTFS");
  if (!read_image_keys (c, y, err))
    return FALSE;
  const CsYaml *files = cs_yaml_get (y, "files");
  return !files || read_files (c, files, err);
}

static struct cs_capstanfile *
capstanfile_new (void)
{
  struct cs_capstanfile *c = g_new0 (struct cs_capstanfile, 1);
  c->files = g_ptr_array_new_with_free_func (entry_free);
  c->env = g_ptr_array_new_with_free_func (g_free);
  return c;
}

struct cs_capstanfile *
cs_capstanfile_of_paths (const char *base, const char *cmdline, char *const *paths, guint n,
                         GError **err)
{
  struct cs_capstanfile *c = capstanfile_new ();
  c->base = g_strdup (base);
  c->cmdline = g_strdup (cmdline);
  c->dir = g_strdup (".");
  for (guint k = 0; k < n; k++) {
    struct cs_capstanfile_entry *e = g_new0 (struct cs_capstanfile_entry, 1);
    g_ptr_array_add (c->files, e);
    struct stat st;
    if (stat (paths[k], &st) < 0) {
      cs_fail_errno (err, "%s", paths[k]);
      cs_capstanfile_free (c);
      return NULL;
    }
    /* What a directory holds; if it is a link, where that leads. */
    gsize n_path = strlen (paths[k]);
    while (n_path > 1 && paths[k][n_path - 1] == '/')
      n_path--;
    e->src = g_strdup_printf ("%.*s%s", (int) n_path, paths[k],
                              S_ISDIR (st.st_mode) ? "/" : "");
    e->dst = g_strdup ("/");
    e->rel = S_ISDIR (st.st_mode) ? g_strdup ("") : NULL;
    e->perm = -1;
  }
  return c;
}

struct cs_capstanfile *
cs_capstanfile_load (const char *path, GError **err)
{
  gsize len;
  g_autofree char *text = NULL;
  struct stat st;
  if (stat (path, &st) == 0 && S_ISDIR (st.st_mode))
    return cs_fail_null (err, CAPSTAN_E_INVAL, "%s is a directory, a Capstanfile is needed",
                         path);
  if (!g_file_test (path, G_FILE_TEST_EXISTS))
    return cs_fail_null (err, CAPSTAN_E_NOTFOUND, "%s: there is no Capstanfile; see "
                         "'capstan build --help' for what it holds", path);
  if (!(text = cs_read_file (path, CS_YAML_MAX, &len, err)))
    return NULL;
  g_autoptr (CsYaml) y = cs_yaml_parse (text, len, path, err);
  if (!y)
    return NULL;
  struct cs_capstanfile *c = capstanfile_new ();
  c->path = g_strdup (path);
  c->dir = g_path_get_dirname (path);
  c->text = g_steal_pointer (&text);
  if (read_keys (c, y, err))
    return c;
  cs_capstanfile_free (c);
  return NULL;
}

gboolean
cs_capstanfile_run_build (const struct cs_capstanfile *c, GError **err)
{
  if (!c->build)
    return TRUE;
  const char *const argv[] = { "/bin/sh", "-c", c->build, NULL };
  struct cs_spawn s = CS_SPAWN_INIT;
  s.argv = argv;
  s.dir = c->dir;
  s.out_fd = STDOUT_FILENO;
  s.err_fd = STDERR_FILENO;
  fflush (stdout);
  g_autoptr (GError) e = NULL;
  gboolean ok = cs_spawn_run (&s, &e);
  int status = s.status;
  cs_spawn_clear (&s);
  if (!ok)
    return cs_fail (err, e->code, "%s:%u: build: %s", c->path, c->build_line, e->message);
  if (status != 0)
    return cs_fail (err, CAPSTAN_E_INVAL, "%s:%u: build: the command exited with status %d; "
                    "no image was made", c->path, c->build_line, status);
  return TRUE;
}
