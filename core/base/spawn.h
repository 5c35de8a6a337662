/* The one way to run a program: argv only, no shell, descriptors closed, cancellable.
 * SPDX-License-Identifier: BSD-3-Clause */
#ifndef CS_SPAWN_H
#define CS_SPAWN_H
#include <glib.h>

struct cs_spawn {
  const char *const *argv; /* argv[0] through PATH */
  const char *const *env;  /* "K=V" sets, "K" unsets; NULL: as is */
  const char *dir;
  const void *input; gsize input_len;
  int in_fd, out_fd, err_fd; /* -1: input (or /dev/null); captured; captured */
  const int *pass_fds; gsize n_pass_fds; /* become 3, 4, ... */
  gboolean session;          /* a session of its own: the terminal's signals do not reach it */
  gsize out_max;             /* of each captured stream; 0: 1 MiB */
  gboolean always;           /* cs_spawn_run also once cancelled: what undoes. In a session of its
                                own; a minute at most */
  /* results */
  char *out, *err;           /* NUL-terminated; g_free (cs_spawn_clear) */
  gsize out_len, err_len;
  int status;                /* exit status, 128+N after a signal */
};
#define CS_SPAWN_INIT { .in_fd = -1, .out_fd = -1, .err_fd = -1 }
/* FALSE if it could not be run at all or was cancelled (the child is killed and reaped);
 * its own failure is in status. A program that is not there: CAPSTAN_E_NOTFOUND. */
gboolean cs_spawn_run (struct cs_spawn *s, GError **err);
/* The same, and a status other than 0 is an error with the last lines of its stderr. */
gboolean cs_spawn_check (struct cs_spawn *s, GError **err);
/* The whole of it for a program whose output nobody reads: argv in dir (NULL: here). */
gboolean cs_spawn_tool (const char *dir, const char *const *argv, GError **err);
/* Returns as soon as it runs; the pid is the caller's to reap. Nothing is captured: a
 * descriptor that is -1 is /dev/null. */
gboolean cs_spawn_start (const struct cs_spawn *s, GPid *ret_pid, GError **err);
void cs_spawn_clear (struct cs_spawn *s);
#endif
