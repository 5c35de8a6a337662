/* What images of repositories were when they were last seen from here: a change behind the
 * same name and version is noticed, and no push goes over what somebody else pushed.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * state/repo/<digest of URL and name>/<suffix>.yaml */
#include "config.h"
#include "core/repo/room.h"
#include "core/base/error.h"
#include "core/base/util.h"
#include "core/base/yaml.h"
#include <string.h>

static char *
dir_of (const char *url, const char *name)
{
  gsize n = strlen (url);
  while (n > 0 && url[n - 1] == '/')
    n--;
  g_autofree char *id = g_strdup_printf ("%.*s\n%s", (int) n, url, name);
  g_autofree char *sum = cs_key (id);
  return cs_root_path ("state", "repo", sum, NULL);
}

static char *
path_of (const char *url, const char *name, const char *suffix)
{
  g_autofree char *dir = dir_of (url, name), *file = g_strconcat (suffix, ".yaml", NULL);
  return g_build_filename (dir, file, NULL);
}

void
cs_known_clear (struct cs_known *k)
{
  g_free (k->sha256);
  g_free (k->version);
  g_free (k->created);
  g_free (k->seen);
  memset (k, 0, sizeof *k);
}

gboolean
cs_known_get (const char *url, const char *name, const char *suffix, struct cs_known *ret)
{
  g_autofree char *path = path_of (url, name, suffix);
  g_autoptr (GError) err = NULL;
  memset (ret, 0, sizeof *ret);
  if (access (path, F_OK) != 0)
    return FALSE;
  g_autoptr (CsYaml) y = cs_yaml_load (path, &err);
  const char *sum = cs_yaml_str (y, "sha256");
  if (sum == NULL) {
    cs_warn ("%s; it is left out", err != NULL ? err->message : path);
    return FALSE;
  }
  *ret = (struct cs_known){ g_strdup (sum), g_strdup (cs_yaml_str (y, "version")),
                            g_strdup (cs_yaml_str (y, "created")), g_strdup (cs_yaml_str (y, "seen")) };
  return TRUE;
}

gboolean
cs_known_put (const char *url, const char *name, const char *suffix, const char *sha256,
              const char *version, const char *created, GError **err)
{
  g_autofree char *path = path_of (url, name, suffix), *dir = g_path_get_dirname (path);
  g_autoptr (GDateTime) now = g_date_time_new_now_utc ();
  g_autofree char *seen = g_date_time_format (now, "%Y-%m-%dT%H:%M:%SZ");
  g_autoptr (GString) s = g_string_new (NULL);
  cs_yaml_put (s, "url", url);
  cs_yaml_put (s, "name", name);
  cs_yaml_put (s, "sha256", sha256);
  cs_yaml_put (s, "version", version);
  cs_yaml_put (s, "created", created);
  cs_yaml_put (s, "seen", seen);
  return cs_mkdirs (dir, 0755, err) && cs_write_file (path, s->str, s->len, 0644, err);
}

void
cs_known_forget (const char *url, const char *name)
{
  g_autofree char *dir = dir_of (url, name);
  cs_rmtree (dir, NULL);
}
