/* The command line of the guest contract: NUL-terminated text at byte 512 of a disk, the
 * same place and grammar for every guest kind. SPDX-License-Identifier: BSD-3-Clause
 *
 * First come loader options ("--env=K=V", "--cwd=/x", ...), for which a backslash makes
 * the next character literal and quotes mean nothing; the first word that does not begin
 * with '-' starts the application's part, which is kept as it is. */
#ifndef CS_CMDLINE_H
#define CS_CMDLINE_H
#include <glib.h>

#define CS_CMDLINE_OFFSET 512
#define CS_CMDLINE_MAX 32255 /* bytes, without the NUL: what OSv's boot sector reads */

/* `env` ("K=V", NULL-terminated, or NULL) as --env options, quoted, after the options that
 * `cmdline` has (the last one holds) and before its application part.
 * Checks length, NUL and newline; guest "osv": bytes over 0x7f in the application's part.
 * g_free. */
char *cs_cmdline_make (const char *const *env, const char *cmdline, const char *guest,
                       GError **err);
/* `cmdline` with its application part replaced by `app`, loader options kept; g_free. */
char *cs_cmdline_replace_app (const char *cmdline, const char *app);
/* The first word of each command of the application part, of char *; as guests read it.
 * One that is made of a variable is left out. */
GPtrArray *cs_cmdline_programs (const char *cmdline);
/* The value of a loader option ("cwd", "env=PATH"), the last one that is given, or NULL;
 * g_free. */
char *cs_cmdline_option (const char *cmdline, const char *name);
/* On a raw image. */
gboolean cs_cmdline_write (int fd, const char *cmdline, const char *name, GError **err);
char *cs_cmdline_read (int fd, const char *name, GError **err); /* g_free */
#endif
