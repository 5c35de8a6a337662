/* SPDX-License-Identifier: BSD-3-Clause */
#include "config.h"
#include "core/base/error.h"
#include "core/base/progress.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

int cs_verbosity = CS_NORMAL;

GQuark
cs_error_quark (void)
{
  static GQuark q;
  if (q == 0)
    q = g_quark_from_static_string ("capstan");
  return q;
}

int
cs_code_of_errno (int e)
{
  switch (e) {
  case ENOENT:
  case ENOTDIR:
    return CAPSTAN_E_NOTFOUND;
  case EEXIST:
  case ENOTEMPTY:
    return CAPSTAN_E_EXISTS;
  case EACCES:
  case EPERM:
  case EROFS:
    return CAPSTAN_E_PERM;
  case ENOMEM:
    return CAPSTAN_E_NOMEM;
  case EBUSY:
  case EWOULDBLOCK:
    return CAPSTAN_E_BUSY;
  case ENOSPC:
  case EDQUOT:
    return CAPSTAN_E_QUOTA;
  case EINVAL:
    return CAPSTAN_E_INVAL;
  case ETIMEDOUT:
    return CAPSTAN_E_TIMEOUT;
  default:
    return CAPSTAN_E_IO;
  }
}

static void
set_error (GError **err, int code, const char *fmt, va_list ap, int sys)
{
  if (err == NULL)
    return;
  g_autofree char *msg = g_strdup_vprintf (fmt, ap);
  if (sys != 0)
    g_set_error (err, CS_ERROR, code, "%s: %s", msg, g_strerror (sys));
  else
    g_set_error_literal (err, CS_ERROR, code, msg);
}

#define FAIL(code, sys)                                                                  \
  va_list ap;                                                                            \
  va_start (ap, fmt);                                                                    \
  set_error (err, code, fmt, ap, sys);                                                   \
  va_end (ap)

gboolean
cs_fail (GError **err, int code, const char *fmt, ...)
{
  FAIL (code, 0);
  return FALSE;
}

gpointer
cs_fail_null (GError **err, int code, const char *fmt, ...)
{
  FAIL (code, 0);
  return NULL;
}

gboolean
cs_fail_errno (GError **err, const char *fmt, ...)
{
  int sys = errno;
  FAIL (cs_code_of_errno (sys), sys);
  return FALSE;
}

gpointer
cs_fail_errno_null (GError **err, const char *fmt, ...)
{
  int sys = errno;
  FAIL (cs_code_of_errno (sys), sys);
  return NULL;
}

int
cs_exit_status (const GError *err)
{
  if (err == NULL)
    return 0;
  if (err->domain != CS_ERROR)
    return 1;
  switch (err->code) {
  case CS_E_USAGE:
    return 2;
  case CAPSTAN_E_NOTFOUND:
    return 3;
  case CAPSTAN_E_EXISTS:
  case CAPSTAN_E_BUSY:
  case CAPSTAN_E_CONFLICT:
  case CAPSTAN_E_STATE:
    return 4;
  default:
    return 1;
  }
}

/* Colour only for people: on a terminal, and not if NO_COLOR is set (no-color.org). */
static gboolean
colour_on (int fd)
{
  const char *no = g_getenv ("NO_COLOR"), *term = g_getenv ("TERM");
  return (no == NULL || *no == '\0') && term != NULL && strcmp (term, "dumb") != 0 && isatty (fd);
}

gboolean
cs_stdout_colour (void)
{
  return colour_on (STDOUT_FILENO);
}

static gboolean
colour (void)
{
  static int yes = -1;
  if (yes < 0)
    yes = colour_on (STDERR_FILENO);
  return yes;
}

void
cs_print_error (const char *msg)
{
  cs_progress_hide ();
  fprintf (stderr, colour () ? "\033[1;31mcapstan:\033[m %s\n" : "capstan: %s\n", msg);
}

static GMutex messages_mutex;
static GPtrArray *messages;

void
cs_messages_into (GPtrArray *list)
{
  g_mutex_lock (&messages_mutex);
  messages = list;
  g_mutex_unlock (&messages_mutex);
}

static gboolean
is_collected (const char *msg)
{
  g_mutex_lock (&messages_mutex);
  gboolean yes = messages != NULL;
  if (yes)
    g_ptr_array_add (messages, g_strdup (msg));
  g_mutex_unlock (&messages_mutex);
  return yes;
}

#define SAY(min, prefix, coloured)                                                       \
  va_list ap;                                                                            \
  if (cs_verbosity < (min))                                                              \
    return;                                                                              \
  va_start (ap, fmt);                                                                    \
  g_autofree char *msg = g_strdup_vprintf (fmt, ap);                                     \
  va_end (ap);                                                                           \
  if ((min) < CS_VERBOSE && is_collected (msg))                                          \
    return;                                                                              \
  cs_progress_hide ();                                                                   \
  fprintf (stderr, "%s%s\n", colour () ? coloured : prefix, msg)

void
cs_warn (const char *fmt, ...)
{
  SAY (CS_QUIET, "capstan: warning: ", "\033[1;33mcapstan: warning:\033[m ");
}

void
cs_info (const char *fmt, ...)
{
  SAY (CS_NORMAL, "", "");
}

void
cs_debug (const char *fmt, ...)
{
  SAY (CS_VERBOSE, "capstan: ", "\033[2mcapstan:\033[m ");
}
