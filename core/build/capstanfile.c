/* Reads a Capstanfile. SPDX-License-Identifier: BSD-3-Clause */
#include "config.h"
#include <string.h>
#include <sys/stat.h>
#include "core/base/error.h"
#include "core/base/spawn.h"
#include "core/base/util.h"
#include "core/base/yaml.h"
#include "core/build/capstanfile.h"

#define KEYS "base, build, cmdline, files, rootfs"
static const char *const keys[] = { "base", "build", "cmdline", "files", "rootfs" };

static void
entry_free (gpointer p)
{
  struct cs_capstanfile_entry *e = p;
  g_free (e->dst);
  g_free (e->src);
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
                      "%s:%u: 'rpm-base' is not supported; give a 'base' image", c->path,
                      value->line);
    gboolean known = FALSE;
    for (guint n = 0; n < G_N_ELEMENTS (keys); n++) {
      known |= strcmp (key, keys[n]) == 0;
      cs_suggest (key, keys[n], &near);
    }
    if (!known)
      return cs_fail (err, CAPSTAN_E_INVAL, "%s:%u: unknown key '%s'%s%s%s; the keys are "
                      KEYS, c->path, value->line, key, near.best ? "; did you mean '" : "",
                      near.best ? near.best : "", near.best ? "'?" : "");
    if (strcmp (key, "files") != 0 && value->type != CS_YAML_SCALAR)
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

static gboolean
read_entry (struct cs_capstanfile *c, const char *dst, const CsYaml *value, GError **err)
{
  if (value->type != CS_YAML_SCALAR || !*value->scalar)
    return cs_fail (err, CAPSTAN_E_INVAL, "%s:%u: files: '%s' needs the path of a file or "
                    "directory here", c->path, value->line, dst);
  g_auto (GStrv) parts = g_strsplit (dst, "/", -1);
  if (g_strv_contains ((const char *const *) parts, ".."))
    return cs_fail (err, CAPSTAN_E_INVAL, "%s:%u: files: the path '%s' in the image cannot "
                    "have '..'", c->path, value->line, dst);
  g_autofree char *base = g_path_get_basename (dst);
  g_autofree char *src = NULL;
  if (strcmp (value->scalar, "&") == 0 || g_str_has_suffix (value->scalar, "/&")) {
    if (!*dst || g_str_has_suffix (dst, "/"))
      return cs_fail (err, CAPSTAN_E_INVAL, "%s:%u: files: '&' stands for the file name of "
                      "'%s', which has none", c->path, value->line, dst);
    g_autofree char *head = g_strndup (value->scalar, strlen (value->scalar) - 1);
    src = g_strconcat (head, base, NULL);
  } else
    src = g_strdup (value->scalar);
  struct cs_capstanfile_entry *e = g_new0 (struct cs_capstanfile_entry, 1);
  e->dst = g_strconcat (*dst == '/' ? "" : "/", dst, NULL);
  e->src = host_path (c, src);
  e->line = value->line;
  g_ptr_array_add (c->files, e);
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
  for (guint k = 0; k < files->keys->len; k++)
    if (!read_entry (c, g_ptr_array_index (files->keys, k),
                     g_ptr_array_index (files->items, k), err))
      return FALSE;
  return TRUE;
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
  const CsYaml *files = cs_yaml_get (y, "files");
  return !files || read_files (c, files, err);
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
  struct cs_capstanfile *c = g_new0 (struct cs_capstanfile, 1);
  c->path = g_strdup (path);
  c->dir = g_path_get_dirname (path);
  c->text = g_steal_pointer (&text);
  c->files = g_ptr_array_new_with_free_func (entry_free);
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

static gboolean
scan_rootfs (const struct cs_capstanfile *c, struct cs_tree *t, GError **err)
{
  struct stat st;
  if (stat (c->rootfs, &st) < 0) {
    if (c->rootfs_line == 0)
      return TRUE; /* the default is used where it is there */
    g_autoptr (GError) e = NULL;
    cs_fail_errno (&e, "%s", c->rootfs);
    return cs_fail (err, CAPSTAN_E_INVAL, "%s:%u: rootfs: %s", c->path, c->rootfs_line,
                    e->message);
  }
  if (!S_ISDIR (st.st_mode))
    return cs_fail (err, CAPSTAN_E_INVAL, "%s:%u: rootfs: %s is not a directory", c->path,
                    c->rootfs_line, c->rootfs);
  /* The folder itself may be a symlink; it stands for "/". */
  g_autofree char *dir = g_strconcat (c->rootfs, "/", NULL);
  if (!cs_tree_scan (t, "/", dir, NULL, err))
    return FALSE;
  t->root->perm = 0755; /* a private working folder must not close the guest's root */
  return TRUE;
}

gboolean
cs_capstanfile_scan (const struct cs_capstanfile *c, struct cs_tree *t, GError **err)
{
  if (!scan_rootfs (c, t, err))
    return FALSE;
  for (guint k = 0; k < c->files->len; k++) {
    struct cs_capstanfile_entry *f = g_ptr_array_index (c->files, k);
    g_autoptr (GError) e = NULL;
    g_autofree char *dst = NULL;
    if (g_str_has_suffix (f->dst, "/") && !g_file_test (f->src, G_FILE_TEST_IS_DIR)) {
      g_autofree char *base = g_path_get_basename (f->src);
      dst = g_strconcat (f->dst, base, NULL); /* "/lib/: x.so" goes into /lib */
    }
    if (!cs_tree_scan (t, dst ? dst : f->dst, f->src, NULL, &e))
      return cs_fail (err, e->code == CAPSTAN_E_NOTFOUND ? CAPSTAN_E_INVAL : e->code,
                      "%s:%u: files: %s", c->path, f->line, e->message);
  }
  return TRUE;
}
