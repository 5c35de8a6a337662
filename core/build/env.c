/* Environment variables for a guest. SPDX-License-Identifier: BSD-3-Clause */
#include "config.h"
#include <string.h>
#include "core/base/error.h"
#include "core/base/util.h"
#include "core/build/env.h"

#define MAX_FILE (64 * 1024) /* more does not fit on a command line */

gboolean
cs_env_set (GPtrArray *env, const char *assignment, GError **err)
{
  const char *eq = strchr (assignment, '=');
  if (!eq || eq == assignment)
    return cs_fail (err, CS_E_USAGE, "environment '%s': NAME=VALUE is needed", assignment);
  gsize n = (gsize) (eq - assignment) + 1;
  for (guint k = 0; k < env->len; k++)
    if (strncmp (g_ptr_array_index (env, k), assignment, n) == 0) {
      g_free (g_ptr_array_index (env, k));
      g_ptr_array_index (env, k) = g_strdup (assignment);
      return TRUE;
    }
  g_ptr_array_add (env, g_strdup (assignment));
  return TRUE;
}

static gboolean
read_line (GPtrArray *env, const char *line, GError **err)
{
  while (*line == ' ' || *line == '\t')
    line++;
  if (!*line || *line == '#')
    return TRUE;
  if (strchr (line, '='))
    return cs_env_set (env, line, err);
  g_autofree char *name = g_strchomp (g_strdup (line));
  const char *value = g_getenv (name);
  g_autofree char *kv = value ? g_strconcat (name, "=", value, NULL) : NULL;
  return !kv || cs_env_set (env, kv, err);
}

gboolean
cs_env_read_file (GPtrArray *env, const char *path, GError **err)
{
  gsize len;
  g_autofree char *text = cs_read_file (path, MAX_FILE, &len, err);
  if (!text)
    return FALSE;
  if (strlen (text) != len)
    return cs_fail (err, CAPSTAN_E_INVAL, "%s: it has a NUL byte: not a text", path);
  g_auto (GStrv) lines = g_strsplit (text, "\n", -1);
  for (guint k = 0; lines[k]; k++) {
    g_autoptr (GError) e = NULL;
    if (g_str_has_suffix (lines[k], "\r"))
      lines[k][strlen (lines[k]) - 1] = 0;
    if (!read_line (env, lines[k], &e))
      return cs_fail (err, CAPSTAN_E_INVAL, "%s:%u: %s", path, k + 1, e->message);
  }
  return TRUE;
}

gboolean
cs_env_gather (GPtrArray *env, const char *const *files, const char *const *single,
               GError **err)
{
  for (; files && *files; files++)
    if (!cs_env_read_file (env, *files, err))
      return FALSE;
  for (; single && *single; single++)
    if (!cs_env_set (env, *single, err))
      return FALSE;
  return TRUE;
}
