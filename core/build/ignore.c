/* .capstanignore. SPDX-License-Identifier: BSD-3-Clause */
#include "config.h"
#include <string.h>
#include "core/base/error.h"
#include "core/base/util.h"
#include "core/build/glob.h"
#include "core/build/ignore.h"

#define MAX_TEXT (1024 * 1024)
#define MAX_PATTERNS 10000
#define MAX_PATTERN 4096

struct rule {
  char *pattern;
  gboolean keep, dirs_only;
};

struct cs_ignore {
  GPtrArray *rules; /* of struct rule *, the last one that matches holds */
};

static void
rule_free (gpointer p)
{
  struct rule *r = p;
  g_free (r->pattern);
  g_free (r);
}

void
cs_ignore_free (struct cs_ignore *g)
{
  if (!g)
    return;
  g_ptr_array_unref (g->rules);
  g_free (g);
}

static void
add (struct cs_ignore *g, int at, const char *line)
{
  struct rule *r = g_new0 (struct rule, 1);
  if (*line == '!') {
    r->keep = TRUE;
    line++;
  }
  gsize n = strlen (line);
  while (n > 1 && line[n - 1] == '/') {
    r->dirs_only = TRUE;
    n--;
  }
  g_autofree char *body = g_strndup (line, n);
  r->pattern = *body == '/' ? g_steal_pointer (&body)
               : strchr (body, '/') ? g_strconcat ("/", body, NULL)
                                    : g_strconcat ("/**/", body, NULL);
  g_ptr_array_insert (g->rules, at, r);
}

struct cs_ignore *
cs_ignore_parse (const char *text, const char *name, GError **err)
{
  struct cs_ignore *g = g_new0 (struct cs_ignore, 1);
  g->rules = g_ptr_array_new_with_free_func (rule_free);
  add (g, -1, "/.git");
  add (g, -1, "/.gitignore");
  add (g, -1, "/" CS_IGNORE_FILE);
  g_auto (GStrv) lines = g_strsplit (text, "\n", -1);
  for (guint k = 0; lines[k]; k++) {
    char *line = g_strstrip (lines[k]);
    if (!*line || *line == '#' || strcmp (line, "!") == 0)
      continue;
    if (strlen (line) > MAX_PATTERN || g->rules->len >= MAX_PATTERNS) {
      cs_ignore_free (g);
      return cs_fail_null (err, CAPSTAN_E_LIMIT, "%s:%u: more than %d patterns, or one of "
                           "more than %d bytes", name, k + 1, MAX_PATTERNS, MAX_PATTERN);
    }
    add (g, -1, line);
  }
  return g;
}

struct cs_ignore *
cs_ignore_load (const char *dir, GError **err)
{
  g_autofree char *path = g_build_filename (dir, CS_IGNORE_FILE, NULL);
  g_autofree char *meta = g_build_filename (dir, "meta", "package.yaml", NULL);
  g_autofree char *text = NULL;
  gsize len = 0;
  if (g_file_test (path, G_FILE_TEST_EXISTS) &&
      !(text = cs_read_file (path, MAX_TEXT, &len, err)))
    return NULL;
  if (text && strlen (text) != len)
    return cs_fail_null (err, CAPSTAN_E_INVAL, "%s: it has a NUL byte: not a text", path);
  struct cs_ignore *g = cs_ignore_parse (text ? text : "", path, err);
  if (g && g_file_test (meta, G_FILE_TEST_EXISTS)) {
    add (g, 0, "/meta"); /* in front: a line of the file can keep them */
    add (g, 0, "/mpm-pkg*");
    add (g, 0, "/volumes");
  }
  return g;
}

gboolean
cs_ignore_has (const struct cs_ignore *g, const char *path, gboolean is_dir)
{
  for (guint k = g->rules->len; k-- > 0;) {
    const struct rule *r = g_ptr_array_index (g->rules, k);
    if ((is_dir || !r->dirs_only) && cs_glob_match (r->pattern, path, TRUE))
      return !r->keep;
  }
  return FALSE;
}
