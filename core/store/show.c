/* Images as lines of a list, as the original prints them.
 * SPDX-License-Identifier: BSD-3-Clause */
#include "config.h"
#include "core/store/store.h"
#include <string.h>

/* What comes from an index must not move the cursor or end the line. */
static void
put_column (GString *s, const char *text, glong width)
{
  g_autofree char *valid = g_utf8_make_valid (text, -1);
  glong n = 0;
  for (const char *p = valid; *p != '\0'; p = g_utf8_next_char (p), n++) {
    gunichar c = g_utf8_get_char (p);
    g_string_append_unichar (s, g_unichar_iscntrl (c) ? '?' : c);
  }
  for (; n < width; n++)
    g_string_append_c (s, ' ');
}

/* Whether s begins as the shape does, where d stands for a digit. */
static gboolean
has_shape (const char *s, const char *shape)
{
  for (; *shape != '\0'; s++, shape++)
    if (*shape == 'd' ? !g_ascii_isdigit (*s) : *s != *shape)
      return FALSE;
  return TRUE;
}

char *
cs_time_show (const char *created)
{
  const char *s = created != NULL ? created : "";
  gboolean ok = has_shape (s, "dddd-dd-dd dd:dd") && s[16] == '\0';
  if (has_shape (s, "dddd-dd-ddTdd:dd:dd")) { /* RFC 3339 */
    const char *zone = s + 19;
    if (*zone == '.')
      zone += 1 + strspn (zone + 1, "0123456789");
    ok = strcmp (zone, "Z") == 0 ||
         ((has_shape (zone, "+dd:dd") || has_shape (zone, "-dd:dd")) && zone[6] == '\0');
  }
  if (!ok)
    return g_strdup ("N/A");
  g_autofree char *minute = g_strdup_printf ("%.10sT%.5s:00Z", s, s + 11);
  g_autoptr (GDateTime) t = g_date_time_new_from_iso8601 (minute, NULL);
  return t != NULL ? g_date_time_format (t, "%Y-%m-%d %H:%M") : g_strdup ("N/A");
}

char *
cs_image_line (const char *name, const struct cs_index *x)
{
  GString *s = g_string_new (NULL);
  g_autofree char *created = x != NULL ? cs_time_show (x->created) : g_strdup ("Created");
  const char *platform = x == NULL ? "Platform" : x->platform != NULL ? x->platform : "N/A";
  const char *description = x == NULL ? "Description" : x->description;
  const char *version = x == NULL ? "Version" : x->version;
  const struct { const char *text; int width; } columns[] = {
    { x != NULL ? name : "Name", 50 }, { description, 50 }, { version, 15 }, { created, 20 },
    { platform, 15 } };
  for (guint i = 0; i < G_N_ELEMENTS (columns); i++) {
    put_column (s, columns[i].text != NULL ? columns[i].text : "", columns[i].width);
    g_string_append_c (s, ' ');
  }
  return g_strstrip (g_string_free (s, FALSE));
}
