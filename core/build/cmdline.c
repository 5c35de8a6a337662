/* The command line on the disk. SPDX-License-Identifier: BSD-3-Clause */
#include "config.h"
#include <string.h>
#include "core/base/error.h"
#include "core/base/util.h"
#include "core/build/cmdline.h"

static gboolean
is_blank (char c)
{
  return c == ' ' || c == '\t' || c == '\n';
}

/* Where the loader's options end and where the application's part begins. */
static gsize
split (const char *s, gsize *options_end)
{
  gsize i = 0;
  *options_end = 0;
  for (;;) {
    while (is_blank (s[i]))
      i++;
    if (s[i] != '-')
      return i;
    while (s[i] && !is_blank (s[i]))
      i += s[i] == '\\' && s[i + 1] ? 2 : 1;
    *options_end = i;
  }
}

static gboolean
add_env (GString *out, const char *kv, GError **err)
{
  const char *eq = strchr (kv, '=');
  if (!eq || eq == kv)
    return cs_fail (err, CS_E_USAGE, "environment '%s': NAME=VALUE is needed", kv);
  for (const char *p = kv; p < eq; p++)
    if (is_blank (*p) || *p == '\\' || (p == eq - 1 && *p == '?'))
      return cs_fail (err, CS_E_USAGE, "environment '%s': a name cannot have '%c'", kv, *p);
  if (strchr (kv, '\n'))
    return cs_fail (err, CS_E_USAGE,
                    "environment '%.*s': a command line cannot hold a line break",
                    (int) (eq - kv), kv);
  if (out->len > 0)
    g_string_append_c (out, ' ');
  g_string_append (out, "--env=");
  for (const char *p = kv; *p; p++) {
    if (is_blank (*p) || *p == '\\')
      g_string_append_c (out, '\\');
    g_string_append_c (out, *p);
  }
  return TRUE;
}

char *
cs_cmdline_make (const char *const *env, const char *cmdline, const char *guest,
                 GError **err)
{
  gsize options_end, app, len = strlen (cmdline);
  while (len > 0 && cmdline[len - 1] == '\n') /* of a YAML block */
    len--;
  g_autofree char *text = g_strndup (cmdline, len);
  if (strchr (text, '\n'))
    return cs_fail_null (err, CAPSTAN_E_INVAL,
                         "the command line has a line break; commands are parted by ';'");
  app = split (text, &options_end);
  if (g_strcmp0 (guest, "osv") == 0)
    for (const char *p = text + app; *p; p++)
      if ((guchar) *p >= 0x80)
        return cs_fail_null (err, CAPSTAN_E_INVAL,
                             "the command line '%s' has a byte over 0x7f, which OSv cannot "
                             "read there; use --env or a file name in ASCII", text + app);
  g_autoptr (GString) out = g_string_new_len (text, (gssize) options_end);
  for (; env && *env; env++)
    if (!add_env (out, *env, err))
      return NULL;
  if (out->len > 0 && text[app])
    g_string_append_c (out, ' ');
  g_string_append (out, text + app);
  if (out->len > CS_CMDLINE_MAX)
    return cs_fail_null (err, CAPSTAN_E_LIMIT,
                         "the command line is %zu bytes long, the limit is %d; put it into "
                         "a file and use 'runscript FILE'", out->len, CS_CMDLINE_MAX);
  return g_string_free (g_steal_pointer (&out), FALSE);
}

char *
cs_cmdline_replace_app (const char *cmdline, const char *app)
{
  gsize options_end;
  split (cmdline, &options_end);
  return g_strdup_printf ("%.*s%s%s", (int) options_end, cmdline,
                          options_end > 0 && *app ? " " : "", app);
}

char *
cs_cmdline_option (const char *cmdline, const char *name)
{
  gsize end, len = strlen (name);
  g_autoptr (GString) word = g_string_new (NULL);
  char *found = NULL;
  split (cmdline, &end);
  for (gsize i = 0; i < end;) {
    while (i < end && is_blank (cmdline[i]))
      i++;
    g_string_truncate (word, 0);
    for (; i < end && !is_blank (cmdline[i]); i++) {
      if (cmdline[i] == '\\' && i + 1 < end)
        i++;
      g_string_append_c (word, cmdline[i]);
    }
    const char *w = word->str;
    if (g_str_has_prefix (w, "--") && strncmp (w + 2, name, len) == 0 && w[2 + len] == '=') {
      g_free (found);
      found = g_strdup (w + 3 + len);
    }
  }
  return found;
}

/* A word of the application part; *p moves behind it. */
static char *
app_word (const char **p)
{
  static const char from[] = "abfnrtv\\'\"", to[] = "\a\b\f\n\r\t\v\\'\"";
  GString *w = g_string_new (NULL);
  gboolean quoted = **p == '"';
  const char *s = *p + quoted;
  while (*s && (quoted ? *s != '"' : !strchr (" ;&!", *s))) {
    const char *e = *s == '\\' && s[1] ? strchr (from, s[1]) : NULL;
    g_string_append_c (w, e ? to[e - from] : *s);
    s += e ? 2 : 1;
  }
  *p = s + (quoted && *s);
  return g_string_free (w, FALSE);
}

GPtrArray *
cs_cmdline_programs (const char *cmdline)
{
  GPtrArray *list = g_ptr_array_new_with_free_func (g_free);
  gsize options_end;
  gboolean first = TRUE;
  const char *p = cmdline + split (cmdline, &options_end);
  while (*p) {
    if (*p == ' ')
      p++;
    else if (strchr (";&!", *p)) {
      first = TRUE;
      p++;
    } else {
      g_autofree char *word = app_word (&p);
      if (first && *word && !strchr (word, '$'))
        g_ptr_array_add (list, g_steal_pointer (&word));
      first = FALSE;
    }
  }
  return list;
}

/* A disk without a kernel has its partition at byte 512: nothing may be written there. */
static gboolean
check_room (int fd, const char *name, GError **err)
{
  guint8 sector[512];
  if (!cs_pread_all (fd, sector, sizeof sector, 0, name, err))
    return FALSE;
  if (sector[510] != 0x55 || sector[511] != 0xaa)
    return TRUE;
  for (int k = 0; k < 4; k++) {
    const guint8 *e = sector + 0x1be + 16 * k;
    guint32 start = e[8] | e[9] << 8 | e[10] << 16 | (guint32) e[11] << 24;
    if (e[4] != 0 && start < (CS_CMDLINE_OFFSET + CS_CMDLINE_MAX + 1) / 512)
      return cs_fail (err, CAPSTAN_E_INVAL,
                      "%s: partition %d begins at byte %u, where a command line would be; "
                      "this disk has no kernel of its own", name, k + 1, start * 512);
  }
  return TRUE;
}

gboolean
cs_cmdline_write (int fd, const char *cmdline, const char *name, GError **err)
{
  gsize n = strlen (cmdline);
  if (n > CS_CMDLINE_MAX)
    return cs_fail (err, CAPSTAN_E_LIMIT,
                    "the command line is %zu bytes long, the limit is %d", n,
                    CS_CMDLINE_MAX);
  if (!check_room (fd, name, err))
    return FALSE;
  /* All of it: nothing of an older, longer one stays behind. */
  g_autofree char *area = g_malloc0 (CS_CMDLINE_MAX + 1);
  memcpy (area, cmdline, n);
  return cs_pwrite_all (fd, area, CS_CMDLINE_MAX + 1, CS_CMDLINE_OFFSET, name, err);
}

char *
cs_cmdline_read (int fd, const char *name, GError **err)
{
  g_autofree char *area = g_malloc0 (CS_CMDLINE_MAX + 2);
  if (!cs_pread_all (fd, area, CS_CMDLINE_MAX + 1, CS_CMDLINE_OFFSET, name, err))
    return NULL;
  if (strlen (area) > CS_CMDLINE_MAX)
    return cs_fail_null (err, CAPSTAN_E_INVAL,
                         "%s: no end of the command line within %d bytes", name,
                         CS_CMDLINE_MAX);
  return g_steal_pointer (&area);
}
