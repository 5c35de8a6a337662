/* When an instance was started and ended, and when it printed. SPDX-License-Identifier: BSD-3-Clause
 *
 * Two files of lines that are only ever appended to; times are in ms since 1970 UTC:
 *   runs   "start TIME CONSOLE CONTROL": how large console.log and control.log were then
 *          "end TIME STATUS REASON": -1 for a status that the guest did not tell
 *   times  "TIME SIZE": what lies beyond SIZE in console.log was printed after TIME; at most
 *          two a second, by whoever attends to the instance (who runs it, its supervisor) */
#ifndef CS_RUNS_H
#define CS_RUNS_H
#include "core/vm/instance.h"

struct cs_run { /* the last one; all 0 if it was never started */
  guint count;            /* how often it was started */
  gint64 started, ended;  /* ended 0: nobody saw it end */
  guint64 console, control;
  int status;             /* -1: unknown */
  guint reason;           /* CAPSTAN_REASON_* */
};
void cs_runs_last (const struct cs_instance *i, struct cs_run *ret);
gboolean cs_runs_begin (const struct cs_instance *i, GError **err);
void cs_runs_end (const struct cs_instance *i, int status, guint reason);
const char *cs_reason_name (guint reason);

void cs_times_note (const struct cs_instance *i);
/* Where in console.log that begins which was printed since: never too far, at the start of a
 * line. */
guint64 cs_times_find (const struct cs_instance *i, gint64 since);
gint64 cs_now_ms (void);
/* "2026-11-24T17:00:00Z", or how long ago: "90s", "10m", "2h", "1d". */
gboolean cs_since_parse (const char *text, gint64 *ret, GError **err);
/* As the first of these; g_free. */
char *cs_ms_format (gint64 ms);
#endif
