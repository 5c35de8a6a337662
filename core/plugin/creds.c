/* Secrets, from where users have them. SPDX-License-Identifier: BSD-3-Clause */
#include "config.h"
#include "core/plugin/creds.h"
#include "core/base/error.h"
#include "core/base/spawn.h"
#include "core/base/util.h"
#include "core/base/yaml.h"
#include "core/store/store.h"
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

enum { FILE_MAX = 256 * 1024, VALUE_MAX = 16 * 1024 };

static GMutex mutex;      /* one thread asks at a time: a helper may talk to the user */
static GHashTable *given; /* "realm\nkey" -> what it came from and its value */
struct secret { const char *from; char *value; };

static void
wipe (char *s)
{
  if (s != NULL)
    explicit_bzero (s, strlen (s));
  g_free (s);
}

static void
secret_free (struct secret *s)
{
  wipe (s->value);
  g_free (s);
}

static char *
from_env (const char *realm, const char *key)
{
  g_autoptr (GString) name = g_string_new ("CAPSTAN_SECRET");
  const char *parts[] = { realm, key };
  for (guint i = 0; i < 2; i++) {
    gboolean gap = TRUE;
    for (const char *p = parts[i]; *p != '\0'; p++) {
      if (!g_ascii_isalnum (*p)) {
        gap = TRUE;
        continue;
      }
      if (gap)
        g_string_append_c (name, '_');
      g_string_append_c (name, g_ascii_toupper (*p));
      gap = FALSE;
    }
  }
  return g_strdup (g_getenv (name->str));
}

/* TRUE if it is there and nobody else can read it. */
static gboolean
is_private (const char *path)
{
  struct stat st;
  if (stat (path, &st) != 0) {
    if (errno != ENOENT && errno != ENOTDIR)
      cs_warn ("%s: %s; it is left out", path, g_strerror (errno));
    return FALSE;
  }
  if (S_ISREG (st.st_mode) && (st.st_mode & 077) == 0)
    return TRUE;
  cs_warn ("%s holds secrets and others can read it, so it is left out: chmod 600 %s", path, path);
  return FALSE;
}

/* Is `entry' the realm or, at a '/', a beginning of it? */
static gboolean
covers (const char *entry, const char *realm)
{
  gsize n = strlen (entry);
  while (n > 0 && entry[n - 1] == '/')
    n--;
  return n > 0 && g_ascii_strncasecmp (entry, realm, n) == 0 && (realm[n] == '\0' || realm[n] == '/');
}

static char *
from_file (const char *realm, const char *key)
{
  g_autofree char *path = cs_root_path ("credentials", NULL);
  g_autoptr (GError) err = NULL;
  if (!is_private (path))
    return NULL;
  g_autoptr (CsYaml) y = cs_yaml_load (path, &err);
  const char *best = NULL;
  gsize best_len = 0;
  if (y == NULL)
    cs_warn ("%s; it is left out", err->message);
  for (guint i = 0; y != NULL && y->type == CS_YAML_MAP && i < y->keys->len; i++) {
    const char *entry = g_ptr_array_index (y->keys, i);
    const CsYaml *map = g_ptr_array_index (y->items, i);
    const char *v = map->type == CS_YAML_MAP ? cs_yaml_str (map, key) : NULL;
    if (v == NULL || !covers (entry, realm) || strlen (entry) <= best_len)
      continue;
    best = v;
    best_len = strlen (entry);
  }
  return g_strdup (best);
}

/* The host of a realm, without the port; g_free. */
static char *
host_of (const char *realm)
{
  const char *p = strstr (realm, "://");
  p = p != NULL ? p + 3 : realm;
  if (*p == '[')
    return g_strndup (p, strcspn (p, "]/") + 1);
  return g_strndup (p, strcspn (p, ":/"));
}

/* login and password of the machine, or of "default". */
static char *
netrc_find (const char *text, const char *host, const char *key)
{
  const char *wanted = strcmp (key, "username") == 0 ? "login" : "password";
  g_auto (GStrv) w = g_strsplit_set (text, " \t\r\n", 0);
  char *r = NULL;
  enum { OTHER, DEFAULT, OURS } at = OTHER;
  guint n = 0;
  for (char **p = w; *p != NULL; p++) /* without the empty words of runs of blanks */
    if (**p != '\0')
      w[n++] = *p;
    else
      g_free (*p);
  w[n] = NULL;
  for (guint i = 0; i < n && !(r != NULL && at == OURS); i++) {
    if (strcmp (w[i], "default") == 0)
      at = DEFAULT;
    else if (i + 1 >= n || strcmp (w[i], "macdef") == 0)
      break; /* macros come last, and hold what may look like anything */
    else if (strcmp (w[i], "machine") == 0)
      at = g_ascii_strcasecmp (w[++i], host) == 0 ? OURS : OTHER;
    else {
      gboolean take = at != OTHER && strcmp (w[i], wanted) == 0;
      i++;
      if (take) {
        g_free (r);
        r = g_strdup (w[i]);
      }
    }
  }
  return r;
}

static char *
from_netrc (const char *realm, const char *key)
{
  const char *env = g_getenv ("NETRC");
  g_autofree char *path = env != NULL ? g_strdup (env)
                                      : g_build_filename (g_get_home_dir (), ".netrc", NULL);
  g_autoptr (GError) err = NULL;
  if ((strcmp (key, "username") != 0 && strcmp (key, "password") != 0) || !is_private (path))
    return NULL;
  g_autofree char *host = host_of (realm);
  char *text = cs_read_file (path, FILE_MAX, NULL, &err);
  if (text == NULL)
    cs_warn ("%s; it is left out", err->message);
  char *r = text != NULL ? netrc_find (text, host, key) : NULL;
  wipe (text);
  return r;
}

/* The program of credential_helper with "get", "store" or "erase" as its last argument, as
 * git has it: "key=value" lines on both sides, so that git's own helpers serve. */
static char *
helper (const char *action, const char *realm, const char *key, const char *value)
{
  const char *line = cs_config ("credential_helper");
  g_auto (GStrv) argv = NULL;
  g_autoptr (GError) err = NULL;
  if (line == NULL || *line == '\0')
    return NULL;
  if (!g_shell_parse_argv (line, NULL, &argv, &err)) {
    cs_warn ("credential_helper of config.yaml: %s", err->message);
    return NULL;
  }
  guint n = g_strv_length (argv);
  argv = g_renew (char *, argv, n + 2);
  argv[n] = g_strdup (action);
  argv[n + 1] = NULL;
  const char *rest = strstr (realm, "://");
  const char *host = rest != NULL ? rest + 3 : realm, *slash = strchr (host, '/');
  char *input = g_strdup_printf (
      "protocol=%.*s\nhost=%.*s\n%s%s%srealm=%s\nkey=%s\n%s%s%s\n",
      rest != NULL ? (int) (rest - realm) : 0, realm, (int) strcspn (host, "/"), host,
      slash != NULL ? "path=" : "", slash != NULL ? slash + 1 : "", slash != NULL ? "\n" : "", realm,
      key, value != NULL ? key : "", value != NULL ? "=" : "", value != NULL ? value : "");
  struct cs_spawn s = CS_SPAWN_INIT;
  s.argv = (const char *const *) argv;
  s.input = input;
  s.input_len = strlen (input);
  s.out_max = VALUE_MAX;
  char *r = NULL;
  if (!cs_spawn_run (&s, &err))
    cs_warn ("credential helper: %s", err->message);
  else if (s.status != 0 && strcmp (action, "get") == 0)
    cs_debug ("credential helper %s has nothing for %s (status %d)", argv[0], realm, s.status);
  g_auto (GStrv) lines = g_strsplit (s.status == 0 && s.out != NULL ? s.out : "", "\n", 0);
  for (char **l = lines; *l != NULL && r == NULL; l++) {
    gsize k = strlen (key);
    if (strncmp (*l, key, k) == 0 && (*l)[k] == '=')
      r = g_strdup (*l + k + 1);
  }
  for (char **l = lines; *l != NULL; l++)
    explicit_bzero (*l, strlen (*l));
  if (s.out != NULL)
    explicit_bzero (s.out, s.out_len);
  cs_spawn_clear (&s);
  wipe (input);
  return r;
}

static char *
from_helper (const char *realm, const char *key)
{
  return helper ("get", realm, key, NULL);
}

char *
cs_secret_get (const char *realm, const char *key)
{
  static const struct { const char *name; char *(*get) (const char *, const char *); } from[] = {
    { "the environment", from_env }, { "credentials", from_file }, { "netrc", from_netrc },
    { "the credential helper", from_helper } };
  g_autofree char *id = g_strconcat (realm, "\n", key, NULL);
  char *r = NULL;
  g_mutex_lock (&mutex);
  if (given == NULL)
    given = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, (GDestroyNotify) secret_free);
  struct secret *s = g_hash_table_lookup (given, id);
  for (guint i = 0; s == NULL && i < G_N_ELEMENTS (from); i++) {
    char *v = from[i].get (realm, key);
    if (v == NULL)
      continue;
    cs_debug ("%s of %s: from %s", key, realm, from[i].name);
    s = g_new0 (struct secret, 1);
    s->from = from[i].name;
    s->value = v;
    g_hash_table_insert (given, g_strdup (id), s);
  }
  if (s != NULL)
    r = g_strdup (s->value);
  g_mutex_unlock (&mutex);
  return r;
}

void
cs_secret_result (const char *realm, const char *key, gboolean accepted)
{
  g_autofree char *id = g_strconcat (realm, "\n", key, NULL);
  g_mutex_lock (&mutex);
  struct secret *s = given != NULL ? g_hash_table_lookup (given, id) : NULL;
  if (s != NULL && strcmp (s->from, "the credential helper") == 0)
    wipe (helper (accepted ? "store" : "erase", realm, key, s->value));
  if (s != NULL && !accepted) {
    if (strcmp (key, "username") != 0)
      cs_warn ("%s was not taken by %s; it came from %s", key, realm, s->from);
    g_hash_table_remove (given, id); /* asked for anew the next time */
  }
  g_mutex_unlock (&mutex);
}
