/* Which repository: config.yaml, the command line, the environment.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 *   repos:
 *     lab:
 *       url: "https://images.lab.example/"
 *       type: "http"                 only where the URL does not say it
 *       ca: "/etc/ssl/lab.pem"       whatever else stands here are options of the plugin
 */
#include "config.h"
#include "core/repo/repo.h"
#include "core/base/error.h"
#include "core/base/util.h"
#include "core/base/yaml.h"
#include <string.h>

/* Where the original looks: for images, then for what OSv itself releases. */
#define IMAGES_URL "https://mikelangelo-capstan.s3.amazonaws.com/"
#define RELEASES_URL "github:cloudius-systems/osv"
#define BY_NAME_URL "github.com/" /* "capstan pull owner/repo" */

enum { CONFIG_MAX = 1024 * 1024 };

void
cs_repo_conf_free (struct cs_repo_conf *c)
{
  if (c == NULL)
    return;
  g_free (c->name);
  g_free (c->url);
  g_free (c->type);
  g_strfreev (c->options);
  g_free (c);
}

static struct cs_repo_conf *
conf_new (const char *url)
{
  struct cs_repo_conf *c = g_new0 (struct cs_repo_conf, 1);
  c->url = g_strdup (url);
  c->options = g_new0 (char *, 1);
  return c;
}

void
cs_repo_conf_set (struct cs_repo_conf *c, const char *key, const char *value)
{
  gsize k = strlen (key);
  guint n = g_strv_length (c->options), i = 0;
  while (i < n && !(strncmp (c->options[i], key, k) == 0 && c->options[i][k] == '='))
    i++;
  if (i == n) {
    c->options = g_renew (char *, c->options, n + 2);
    c->options[n + 1] = NULL;
  } else
    g_free (c->options[i]);
  c->options[i] = g_strconcat (key, "=", value, NULL);
}

static struct cs_repo_conf *
read_conf (const char *path, const char *name, const CsYaml *y, GError **err)
{
  const char *url = y->type == CS_YAML_MAP ? cs_yaml_str (y, "url") : NULL;
  if (url == NULL || *url == '\0')
    return cs_fail_null (err, CAPSTAN_E_INVAL, "%s:%u: the repository '%s' has no url", path, y->line, name);
  struct cs_repo_conf *c = conf_new (url);
  c->name = g_strdup (name);
  for (guint i = 0; i < y->keys->len; i++) {
    const char *key = g_ptr_array_index (y->keys, i), *value = cs_yaml_str (y, key);
    if (value == NULL) {
      cs_fail (err, CAPSTAN_E_INVAL, "%s: repository '%s': %s is no text", path, name, key);
      cs_repo_conf_free (c);
      return NULL;
    }
    if (strcmp (key, "type") == 0)
      c->type = g_strdup (value);
    else if (strcmp (key, "url") != 0)
      cs_repo_conf_set (c, key, value);
  }
  return c;
}

GPtrArray *
cs_repo_confs (GError **err)
{
  g_autoptr (GPtrArray) out = g_ptr_array_new_with_free_func ((GDestroyNotify) cs_repo_conf_free);
  g_autofree char *path = cs_root_path ("config.yaml", NULL);
  if (access (path, F_OK) != 0)
    return g_steal_pointer (&out);
  g_autoptr (CsYaml) y = cs_yaml_load (path, err);
  if (y == NULL)
    return NULL;
  const CsYaml *repos = y->type == CS_YAML_MAP ? cs_yaml_get (y, "repos") : NULL;
  if (repos != NULL && repos->type != CS_YAML_MAP && !(repos->type == CS_YAML_SCALAR && repos->len == 0))
    return cs_fail_null (err, CAPSTAN_E_INVAL, "%s:%u: repos: expected a name and its url, each", path,
                         repos->line);
  for (guint i = 0; repos != NULL && repos->type == CS_YAML_MAP && i < repos->keys->len; i++) {
    struct cs_repo_conf *c = read_conf (path, g_ptr_array_index (repos->keys, i),
                                        g_ptr_array_index (repos->items, i), err);
    if (c == NULL)
      return NULL;
    g_ptr_array_add (out, c);
  }
  return g_steal_pointer (&out);
}

static gboolean
no_repo (const GPtrArray *all, const char *name, const char *otherwise, GError **err)
{
  struct cs_suggestion near = { 0 };
  for (guint i = 0; i < all->len; i++)
    cs_suggest (name, ((struct cs_repo_conf *) all->pdata[i])->name, &near);
  g_autofree char *what = cs_suggestion_text (&near, otherwise);
  return cs_fail (err, CAPSTAN_E_NOTFOUND, "there is no repository '%s'; %s", name, what);
}

/* ---- changing config.yaml ---- */

static void
put_conf (GString *s, const struct cs_repo_conf *c)
{
  g_string_append_printf (s, "  %s:\n    ", c->name);
  cs_yaml_put (s, "url", c->url);
  if (c->type != NULL) {
    g_string_append (s, "    ");
    cs_yaml_put (s, "type", c->type);
  }
  for (char **o = c->options; *o != NULL; o++) {
    g_auto (GStrv) kv = g_strsplit (*o, "=", 2);
    g_string_append (s, "    ");
    cs_yaml_put (s, kv[0], kv[1]);
  }
}

/* The file with its block "repos:" replaced, and every other line as it is. */
static char *
replace_block (const char *text, const char *block)
{
  GString *s = g_string_new (NULL);
  g_auto (GStrv) lines = g_strsplit (text, "\n", 0);
  guint n = g_strv_length (lines);
  gboolean inside = FALSE, done = FALSE;
  if (n > 0 && *lines[n - 1] == '\0')
    n--; /* after the last newline */
  for (guint i = 0; i < n; i++) {
    const char *l = lines[i];
    if (inside && (*l == ' ' || *l == '\t' || *l == '\0'))
      continue;
    inside = g_str_has_prefix (l, "repos:");
    if (inside) {
      g_string_append (s, done ? "" : block);
      done = TRUE;
    } else
      g_string_append_printf (s, "%s\n", l);
  }
  if (!done)
    g_string_append (s, block);
  return g_string_free (s, FALSE);
}

static gboolean
save_all (GPtrArray *all, GError **err)
{
  g_autofree char *path = cs_root_path ("config.yaml", NULL);
  g_autofree char *old = NULL;
  g_autoptr (GString) block = g_string_new (NULL);
  if (access (path, F_OK) == 0 && (old = cs_read_file (path, CONFIG_MAX, NULL, err)) == NULL)
    return FALSE;
  if (all->len > 0)
    g_string_append (block, "repos:\n");
  for (guint i = 0; i < all->len; i++)
    put_conf (block, g_ptr_array_index (all, i));
  g_autofree char *text = replace_block (old != NULL ? old : "", block->str);
  /* a file that was written in another style must not be lost by us */
  g_autoptr (CsYaml) check = cs_yaml_parse (text, strlen (text), path, err);
  if (check == NULL) {
    g_prefix_error (err, "the repository is not saved, edit the file: ");
    return FALSE;
  }
  return cs_mkdirs (cs_root (), 0755, err) && cs_write_file (path, text, strlen (text), 0600, err);
}

gboolean
cs_repo_conf_save (const char *name, const struct cs_repo_conf *c, GError **err)
{
  g_autofree char *dir = cs_root_path ("locks", NULL), *lock_path = g_build_filename (dir, "config", NULL);
  if (!cs_name_check ("repository name", name, FALSE, err) || !cs_mkdirs (dir, 0755, err))
    return FALSE;
  if (strchr (name, '/') != NULL || strcmp (name, "none") == 0)
    return cs_fail (err, CS_E_USAGE, "'%s' cannot be the name of a repository", name);
  cs_autofd int lock = cs_lock_file (lock_path, TRUE, TRUE, err);
  g_autoptr (GPtrArray) all = lock >= 0 ? cs_repo_confs (err) : NULL;
  if (all == NULL)
    return FALSE;
  guint i = 0;
  while (i < all->len && strcmp (((struct cs_repo_conf *) all->pdata[i])->name, name) != 0)
    i++;
  if (i == all->len && c == NULL)
    return no_repo (all, name, "see capstan repo list", err);
  if (i < all->len)
    g_ptr_array_remove_index (all, i);
  if (c != NULL) {
    struct cs_repo_conf *n = conf_new (c->url);
    n->name = g_strdup (name);
    n->type = g_strdup (c->type);
    g_strfreev (n->options);
    n->options = g_strdupv (c->options);
    g_ptr_array_insert (all, (int) i, n);
  }
  return save_all (all, err);
}

/* ---- choosing ---- */

/* A name of config.yaml, or a URL. */
static struct cs_repo_conf *
conf_of (const char *spec, GError **err)
{
  g_autoptr (GPtrArray) all = cs_repo_confs (err);
  g_autoptr (GString) names = g_string_new (NULL);
  if (all == NULL)
    return NULL;
  for (guint i = 0; i < all->len; i++) {
    struct cs_repo_conf *c = g_ptr_array_index (all, i);
    if (strcmp (c->name, spec) == 0)
      return g_ptr_array_steal_index (all, i);
    g_string_append_printf (names, "%s%s", i > 0 ? ", " : "", c->name);
  }
  if (strpbrk (spec, ":/") != NULL)
    return conf_new (spec);
  g_autofree char *otherwise = g_strdup_printf ("configured: %s; capstan repo add %s URL",
                                                all->len > 0 ? names->str : "none", spec);
  no_repo (all, spec, otherwise, err);
  return NULL;
}

static const char *
env (const char *name)
{
  const char *v = g_getenv (name);
  return v != NULL && *v != '\0' ? v : NULL;
}

/* The one that is named somewhere, or NULL. */
static const char *
named (const struct cs_repo_choice *c)
{
  const char *v = c->repo != NULL ? c->repo : c->url;
  if (v == NULL && c->s3)
    v = IMAGES_URL;
  if (v == NULL && c->release != NULL)
    v = RELEASES_URL;
  if (v == NULL)
    v = env ("CAPSTAN_REPO");
  if (v == NULL)
    v = cs_config ("repo");
  if (v == NULL)
    v = cs_config ("repo_url");
  return v != NULL ? v : env ("CAPSTAN_REPO_URL");
}

static void
add_defaults (GPtrArray *out)
{
  struct cs_repo_conf *releases = conf_new (RELEASES_URL), *by_name = conf_new (BY_NAME_URL);
  if (cs_config ("release_tag") != NULL)
    cs_repo_conf_set (releases, "release-tag", cs_config ("release_tag"));
  by_name->append_name = TRUE;
  g_ptr_array_add (out, conf_new (IMAGES_URL));
  g_ptr_array_add (out, releases);
  g_ptr_array_add (out, by_name);
}

GPtrArray *
cs_repo_choose (const struct cs_repo_choice *c, GError **err)
{
  g_autoptr (GPtrArray) out = g_ptr_array_new_with_free_func ((GDestroyNotify) cs_repo_conf_free);
  if (c->repo != NULL && (c->url != NULL || c->s3))
    return cs_fail_null (err, CS_E_USAGE, "--repo and %s both name a repository: give one",
                         c->url != NULL ? "-u" : "--s3");
  const char *spec = named (c);
  if (spec == NULL) {
    if (c->type != NULL)
      return cs_fail_null (err, CS_E_USAGE, "--repo-type needs --repo URL");
    add_defaults (out);
    return g_steal_pointer (&out);
  }
  if (strcmp (spec, "none") == 0)
    return g_steal_pointer (&out);
  struct cs_repo_conf *one = conf_of (spec, err);
  if (one == NULL)
    return NULL;
  if (c->type != NULL) {
    g_free (one->type);
    one->type = g_strdup (c->type);
  }
  if (c->release != NULL)
    cs_repo_conf_set (one, "release-tag", c->release);
  g_ptr_array_add (out, one);
  return g_steal_pointer (&out);
}
