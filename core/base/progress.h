/* Progress of what takes longer than a second. SPDX-License-Identifier: BSD-3-Clause
 *
 * One operation at a time shows it: on a terminal a bar with rate and time left, which is
 * wiped at the end; elsewhere a plain line now and then; with --quiet nothing. Who moves
 * the bytes, however deep, calls cs_progress_add. Any thread may call these. */
#ifndef CS_PROGRESS_H
#define CS_PROGRESS_H
#include <glib.h>

/* total: bytes, 0 if unknown; done: of these, what was there already (a resumed download).
 * Within another operation it shows nothing of its own, and its end ends nothing. */
void cs_progress_begin (const char *label, guint64 total, guint64 done);
void cs_progress_update (guint64 done); /* of the bytes in all */
void cs_progress_add (guint64 n);       /* so many more; nothing if there is no operation */
/* The same between two steps of some work: FALSE and an error once Ctrl-C was pressed. */
gboolean cs_progress_step (guint64 n, GError **err);
void cs_progress_end (void);
/* Wipes the bar, so that a message can be printed; the next update draws it again. */
void cs_progress_hide (void);

/* For programs that read: instead of showing it, fn is called, twice a second at most and at
 * the end. NULL: shown again. */
typedef void (*cs_progress_fn) (const char *label, guint64 done, guint64 total, double rate);
void cs_progress_to (cs_progress_fn fn);

/* What is shown: with a bar if `width` columns have room for one, with 0 never; g_free.
 * label: UTF-8; rate: bytes per second, 0 if unknown. */
char *cs_progress_text (const char *label, guint64 done, guint64 total, double rate,
                        guint width);
#endif
