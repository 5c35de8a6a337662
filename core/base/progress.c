/* Progress of what takes longer than a second. SPDX-License-Identifier: BSD-3-Clause */
#include "config.h"
#include "core/base/progress.h"
#include "core/base/cancel.h"
#include "core/base/error.h"
#include "core/base/util.h"
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define FIRST 1.0  /* seconds before anything is shown */
#define REDRAW 0.1 /* between two looks of the bar */
#define LINE 10.0  /* between two plain lines */
#define CALL 0.5   /* between two calls of a program's function */
#define WINDOW 3.0 /* seconds that the rate is mostly of */

static GMutex lock;
static struct {
  guint depth; /* operations within operations */
  char *label;
  guint64 done, total;
  gboolean is_tty, drawn;
  double next;             /* when something is to be shown */
  double rate, rate_time;  /* as of then */
  guint64 rate_done;
  cs_progress_fn fn;
} now;

/* "7 s", "3:05", "1:02:03" */
static char *
format_time (double seconds)
{
  guint64 s = seconds < 1e9 ? (guint64) (seconds + 0.999) : 999999999;
  if (s < 60)
    return g_strdup_printf ("%u s", (guint) s);
  if (s < 3600)
    return g_strdup_printf ("%u:%02u", (guint) (s / 60), (guint) (s % 60));
  return g_strdup_printf ("%" G_GUINT64_FORMAT ":%02u:%02u", s / 3600,
                          (guint) (s / 60 % 60), (guint) (s % 60));
}

char *
cs_progress_text (const char *label, guint64 done, guint64 total, double rate, guint width)
{
  g_autoptr (GString) tail = g_string_new (NULL);
  g_autofree char *have = cs_size_format (done), *all = cs_size_format (total);
  done = total > 0 ? MIN (done, total) : done;
  if (total > 0)
    g_string_append_printf (tail, "%3u %%  %s of %s",
                            (guint) ((double) done / (double) total * 100), have, all);
  else
    g_string_append (tail, have);
  if (rate >= 1) {
    g_autofree char *speed = cs_size_format ((guint64) rate);
    g_string_append_printf (tail, "  %s/s", speed);
    if (total > 0) {
      g_autofree char *left = format_time ((double) (total - done) / rate);
      g_string_append_printf (tail, "  %s left", left);
    }
  }
  gsize used = (gsize) g_utf8_strlen (label, -1) + 2 + tail->len;
  if (total == 0 || width < used + 14) /* no room for a bar */
    return g_strdup_printf ("%s  %s", label, tail->str);
  gsize room = MIN (width - used - 4, 40);
  gsize full = (gsize) ((double) done / (double) total * (double) room);
  g_autofree char *bar = g_strnfill (room, ' ');
  memset (bar, '=', full);
  if (full < room)
    bar[full] = '>';
  return g_strdup_printf ("%s  [%s]  %s", label, bar, tail->str);
}

static guint
columns (void)
{
  struct winsize w;
  return ioctl (STDERR_FILENO, TIOCGWINSZ, &w) == 0 && w.ws_col > 0 ? w.ws_col : 80;
}

static void
hide (void)
{
  if (!now.drawn)
    return;
  fputs ("\r\033[K", stderr);
  now.drawn = FALSE;
}

static void
measure (double t)
{
  double span = t - now.rate_time;
  if (span < REDRAW / 2 || now.done < now.rate_done)
    return;
  double rate = (double) (now.done - now.rate_done) / span;
  double weight = now.rate > 0 ? MIN (span / WINDOW, 1) : 1;
  now.rate += (rate - now.rate) * weight;
  now.rate_time = t;
  now.rate_done = now.done;
}

static void
show (void)
{
  double t = cs_now ();
  if (t < now.next || (cs_verbosity < CS_NORMAL && now.fn == NULL))
    return;
  measure (t);
  if (now.fn != NULL) {
    now.fn (now.label, now.done, now.total, now.rate);
    now.next = t + CALL;
    return;
  }
  if (now.is_tty) {
    guint width = columns ();
    g_autofree char *text = cs_progress_text (now.label, now.done, now.total, now.rate,
                                              width - 1);
    const char *end = g_utf8_strlen (text, -1) < width
                          ? text + strlen (text) : g_utf8_offset_to_pointer (text, width - 1);
    fprintf (stderr, "\r%.*s\033[K", (int) (end - text), text);
    now.drawn = TRUE;
    now.next = t + REDRAW;
  } else {
    g_autofree char *text = cs_progress_text (now.label, now.done, now.total, now.rate, 0);
    fprintf (stderr, "%s\n", text);
    now.next = t + LINE;
  }
  fflush (stderr);
}

void
cs_progress_begin (const char *label, guint64 total, guint64 done)
{
  g_mutex_lock (&lock);
  if (now.depth++ == 0) {
    const char *term = g_getenv ("TERM");
    now.label = g_utf8_make_valid (label, -1);
    now.total = total;
    now.done = now.rate_done = done;
    now.rate = 0;
    now.rate_time = cs_now ();
    now.next = now.rate_time + (now.fn != NULL ? 0 : FIRST);
    now.is_tty = isatty (STDERR_FILENO) && g_strcmp0 (term, "dumb") != 0;
  }
  g_mutex_unlock (&lock);
}

void
cs_progress_update (guint64 done)
{
  g_mutex_lock (&lock);
  if (now.depth == 1) {
    now.done = done;
    show ();
  }
  g_mutex_unlock (&lock);
}

void
cs_progress_add (guint64 n)
{
  g_mutex_lock (&lock);
  if (now.depth == 1) {
    now.done += n;
    show ();
  }
  g_mutex_unlock (&lock);
}

gboolean
cs_progress_step (guint64 n, GError **err)
{
  cs_progress_add (n);
  return !cs_cancelled () || cs_fail (err, CAPSTAN_E_CANCELLED, "cancelled");
}

void
cs_progress_end (void)
{
  g_mutex_lock (&lock);
  g_assert (now.depth > 0);
  if (--now.depth == 0) {
    if (now.fn != NULL)
      now.fn (now.label, now.done, now.total, now.rate);
    hide ();
    g_clear_pointer (&now.label, g_free);
  }
  g_mutex_unlock (&lock);
}

void
cs_progress_to (cs_progress_fn fn)
{
  g_mutex_lock (&lock);
  now.fn = fn;
  g_mutex_unlock (&lock);
}

void
cs_progress_hide (void)
{
  g_mutex_lock (&lock);
  hide ();
  g_mutex_unlock (&lock);
}
