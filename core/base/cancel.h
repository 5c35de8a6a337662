/* Ctrl-C: one flag for the process. SPDX-License-Identifier: BSD-3-Clause */
#ifndef CS_CANCEL_H
#define CS_CANCEL_H
#include <glib.h>

/* May be called in a signal handler. What runs then fails with CAPSTAN_E_CANCELLED. */
void cs_cancel (void);
void cs_cancel_reset (void);
gboolean cs_cancelled (void);
/* Readable once cancelled; borrowed. */
int cs_cancel_fd (void);
/* Sleeps; FALSE, at once, when cancelled. */
gboolean cs_sleep (guint ms);
/* SIGINT, SIGTERM and SIGHUP cancel; a second one ends the program the ordinary way. */
void cs_cancel_on_signals (void);
#endif
