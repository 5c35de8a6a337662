/* When an instance was started and ended, and when it printed. SPDX-License-Identifier:
 * BSD-3-Clause */
#include "config.h"
#include "core/vm/runs.h"
#include "core/base/error.h"
#include "core/base/util.h"
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

static const char *const reasons[] = { "unknown", "shutdown", "killed", "crashed", "failed" };

const char *
cs_reason_name (guint reason)
{
  return reasons[reason < G_N_ELEMENTS (reasons) ? reason : 0];
}

gint64
cs_now_ms (void)
{
  return g_get_real_time () / 1000;
}

/* One write: lines of several processes do not mix. Files are made by a start alone (create:
 * O_CREAT), so that none appears in a folder that is just being removed. */
static gboolean
append (const struct cs_instance *i, const char *file, int create, const char *line, GError **err)
{
  g_autofree char *path = cs_instance_path (i, file);
  cs_autofd int fd = open (path, O_WRONLY | O_APPEND | create | O_CLOEXEC, 0600);
  if (fd < 0)
    return cs_fail_errno (err, "open %s", path);
  return cs_write_all (fd, line, strlen (line), path, err);
}

static guint64
size_of (const struct cs_instance *i, const char *file)
{
  struct stat st;
  g_autofree char *path = cs_instance_path (i, file);
  return stat (path, &st) == 0 ? (guint64) st.st_size : 0;
}

static FILE *
open_lines (const struct cs_instance *i, const char *file)
{
  g_autofree char *path = cs_instance_path (i, file);
  return fopen (path, "re");
}

gboolean
cs_runs_begin (const struct cs_instance *i, GError **err)
{
  g_autofree char *line =
      g_strdup_printf ("start %" PRId64 " %" PRIu64 " %" PRIu64 "\n", cs_now_ms (),
                       size_of (i, "console.log"), size_of (i, "control.log"));
  return append (i, "times", O_CREAT, "", err) && append (i, "runs", O_CREAT, line, err);
}

void
cs_runs_end (const struct cs_instance *i, int status, guint reason)
{
  g_autofree char *line =
      g_strdup_printf ("end %" PRId64 " %d %s\n", cs_now_ms (), status, cs_reason_name (reason));
  append (i, "runs", 0, line, NULL);
  cs_times_note (i);
}

void
cs_runs_last (const struct cs_instance *i, struct cs_run *ret)
{
  char line[128], reason[16];
  FILE *f = open_lines (i, "runs");
  struct cs_run r = { .status = -1 };
  while (f != NULL && fgets (line, sizeof line, f) != NULL) {
    struct cs_run n = { .count = r.count + 1, .status = -1 };
    if (sscanf (line, "start %" SCNd64 " %" SCNu64 " %" SCNu64, &n.started, &n.console,
                &n.control) == 3)
      r = n;
    else if (sscanf (line, "end %" SCNd64 " %d %15s", &n.ended, &n.status, reason) == 3) {
      r.ended = n.ended;
      r.status = n.status;
      for (guint k = 0; k < G_N_ELEMENTS (reasons); k++)
        if (strcmp (reason, reasons[k]) == 0)
          r.reason = k;
    }
  }
  if (f != NULL)
    fclose (f);
  *ret = r;
}

void
cs_times_note (const struct cs_instance *i)
{
  static GMutex mutex;
  static guint64 last = G_MAXUINT64; /* a process attends to one instance */
  g_mutex_lock (&mutex);
  guint64 now = size_of (i, "console.log");
  g_autofree char *line = g_strdup_printf ("%" PRId64 " %" PRIu64 "\n", cs_now_ms (), now);
  if (now != last)
    append (i, "times", 0, line, NULL);
  last = now;
  g_mutex_unlock (&mutex);
}

/* Back to the start of the line; a very long one is cut. */
static guint64
line_start (const struct cs_instance *i, guint64 at)
{
  char buf[4096];
  g_autofree char *path = cs_instance_path (i, "console.log");
  cs_autofd int fd = open (path, O_RDONLY | O_CLOEXEC);
  guint64 from = at > sizeof buf ? at - sizeof buf : 0;
  if (fd < 0 || at == from || !cs_pread_all (fd, buf, (gsize) (at - from), from, path, NULL))
    return at;
  const char *nl = memrchr (buf, '\n', (size_t) (at - from));
  return nl != NULL ? from + (guint64) (nl - buf) + 1 : from;
}

guint64
cs_times_find (const struct cs_instance *i, gint64 since)
{
  static const char *const files[] = { "runs", "times" };
  guint64 found = 0;
  for (guint k = 0; k < 2; k++) {
    char line[128];
    FILE *f = open_lines (i, files[k]);
    while (f != NULL && fgets (line, sizeof line, f) != NULL) {
      gint64 when;
      guint64 size;
      if (sscanf (line, k == 0 ? "start %" SCNd64 " %" SCNu64 : "%" SCNd64 " %" SCNu64, &when,
                  &size) == 2 &&
          when <= since && size > found)
        found = size;
    }
    if (f != NULL)
      fclose (f);
  }
  return line_start (i, found);
}

gboolean
cs_since_parse (const char *text, gint64 *ret, GError **err)
{
  static const struct {
    char unit;
    gint64 ms;
  } units[] = { { 's', 1000 }, { 'm', 60000 }, { 'h', 3600000 }, { 'd', 86400000 } };
  char *end;
  gint64 n = g_ascii_strtoll (text, &end, 10);
  for (guint k = 0; g_ascii_isdigit (*text) && k < G_N_ELEMENTS (units); k++)
    if (end[0] == units[k].unit && end[1] == '\0' && n < G_MAXINT32) {
      *ret = cs_now_ms () - n * units[k].ms;
      return TRUE;
    }
  g_autoptr (GTimeZone) utc = g_time_zone_new_utc ();
  g_autoptr (GDateTime) t = g_date_time_new_from_iso8601 (text, utc);
  if (t == NULL)
    return cs_fail (err, CS_E_USAGE,
                    "'%s': expected a time like 2026-11-24T17:00:00Z, or how long ago it "
                    "is: 90s, 10m, 2h, 1d",
                    text);
  *ret = g_date_time_to_unix (t) * 1000 + g_date_time_get_microsecond (t) / 1000;
  return TRUE;
}

char *
cs_ms_format (gint64 ms)
{
  g_autoptr (GDateTime) t = g_date_time_new_from_unix_utc (ms / 1000);
  g_autofree char *date = t != NULL ? g_date_time_format (t, "%Y-%m-%dT%H:%M:%S") : g_strdup ("?");
  return g_strdup_printf ("%s.%03dZ", date, (int) (ms % 1000));
}
