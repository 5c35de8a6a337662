/* Errors of the core: GError with one domain. SPDX-License-Identifier: BSD-3-Clause
 *
 * A function that can fail returns gboolean (or a pointer), takes GError ** last, and
 * leaves its success outputs untouched on failure. The message names the object, then the
 * cause, then what to do: "open /x/y: Permission denied". It has no final full stop and no
 * program name; main prints it once.
 */
#ifndef CS_ERROR_H
#define CS_ERROR_H
#include <glib.h>
#include "capstan/plugin.h"

#define CS_ERROR (cs_error_quark ())
GQuark cs_error_quark (void);

/* Codes: CAPSTAN_E_* of the plugin ABI, and this one. */
#define CS_E_USAGE 1000 /* the command line is wrong: exit status 2 */

/* Set the error and return FALSE (NULL): `return cs_fail (err, CAPSTAN_E_IO, "...")`. */
gboolean cs_fail (GError **err, int code, const char *fmt, ...) G_GNUC_PRINTF (3, 4);
gpointer cs_fail_null (GError **err, int code, const char *fmt, ...) G_GNUC_PRINTF (3, 4);
/* The same, with ": strerror (errno)" appended and the code taken from errno. */
gboolean cs_fail_errno (GError **err, const char *fmt, ...) G_GNUC_PRINTF (2, 3);
gpointer cs_fail_errno_null (GError **err, const char *fmt, ...) G_GNUC_PRINTF (2, 3);

/* CAPSTAN_E_* for an errno. */
int cs_code_of_errno (int e);
/* Exit status of a command that failed with this: 1 failure, 2 usage, 3 not found,
 * 4 conflict. */
int cs_exit_status (const GError *err);

/* Diagnostics on standard error: "capstan: warning: ...". Hints are plain lines. With
 * --quiet only errors and warnings are printed; debug needs -v. */
enum { CS_QUIET = -1, CS_NORMAL = 0, CS_VERBOSE = 1 };
extern int cs_verbosity;
void cs_print_error (const char *msg);
void cs_warn (const char *fmt, ...) G_GNUC_PRINTF (1, 2);
void cs_info (const char *fmt, ...) G_GNUC_PRINTF (1, 2);
void cs_debug (const char *fmt, ...) G_GNUC_PRINTF (1, 2);
/* Is what goes to standard output to have colour? */
gboolean cs_stdout_colour (void);
/* Warnings and hints go into the list (of char *, its own to free) instead of being printed;
 * NULL: they are printed again. */
void cs_messages_into (GPtrArray *list);
#endif
