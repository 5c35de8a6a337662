/* Progress: what it says, and when. SPDX-License-Identifier: BSD-3-Clause */
#include "config.h"
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include <cmocka.h>
#include "core/base/error.h"
#include "core/base/progress.h"
#include "core/base/util.h"

#define MB (G_GUINT64_CONSTANT (1000000))
static double clock_now = 1000;
double __wrap_cs_now (void);
double
__wrap_cs_now (void)
{
  return clock_now;
}

static void
assert_text (guint64 done, guint64 total, double rate, guint width, const char *want)
{
  g_autofree char *text = cs_progress_text ("app", done, total, rate, width);
  assert_string_equal (text, want);
}

static void
test_text (void **state)
{
  (void) state;
  assert_text (0, 0, 0, 80, "app  0 B");
  assert_text (5 * MB, 0, 2e6, 80, "app  5.0 MB  2.0 MB/s");
  assert_text (25 * MB, 100 * MB, 10e6, 0, "app   25 %  25.0 MB of 100.0 MB  10.0 MB/s  8 s left");
  assert_text (50 * MB, 100 * MB, 1e6, 66,
               "app  [=====>    ]   50 %  50.0 MB of 100.0 MB  1.0 MB/s  50 s left");
  assert_text (100 * MB, 100 * MB, 0, 46, "app  [==========]  100 %  100.0 MB of 100.0 MB");
  assert_text (200 * MB, 100 * MB, 1e6, 0,
               "app  100 %  200.0 MB of 100.0 MB  1.0 MB/s  0 s left");
  assert_text (MB, 9000 * MB, 1e6, 0, "app    0 %  1.0 MB of 9.0 GB  1.0 MB/s  2:29:59 left");
}

/* What `act` writes to standard error, a terminal of 60 columns or a file. */
static char *
run (gboolean tty, void (*act) (void))
{
  int fd = tty ? posix_openpt (O_RDWR | O_NOCTTY | O_NONBLOCK)
               : open ("err", O_RDWR | O_CREAT | O_TRUNC, 0600);
  int saved = dup (2);
  assert_true (fd >= 0 && saved >= 0);
  if (tty) {
    struct winsize w = { .ws_col = 60 };
    assert_true (grantpt (fd) == 0 && unlockpt (fd) == 0);
    int slave = open (ptsname (fd), O_RDWR | O_NOCTTY);
    assert_true (slave >= 0 && ioctl (slave, TIOCSWINSZ, &w) == 0);
    dup2 (slave, 2);
    close (slave);
  } else
    dup2 (fd, 2);
  act ();
  fflush (stderr);
  if (!tty)
    lseek (fd, 0, SEEK_SET);
  char *buf = g_malloc0 (65536);
  gsize have = 0;
  for (ssize_t n; (n = read (fd, buf + have, 65535 - have)) > 0;)
    have += (gsize) n;
  dup2 (saved, 2);
  close (saved);
  close (fd);
  return buf;
}

/* 20 seconds at 5 MB/s */
static void
slow (void)
{
  cs_progress_begin ("app", 100 * MB, 0);
  for (int k = 0; k < 200; k++) {
    clock_now += 0.1;
    cs_progress_add (MB / 2);
  }
  cs_progress_end ();
}

static void
fast (void)
{
  cs_progress_begin ("app", 100 * MB, 0);
  clock_now += 0.9;
  cs_progress_update (100 * MB);
  cs_progress_end ();
}

static void
with_message (void)
{
  cs_progress_begin ("app", 100 * MB, 50 * MB);
  clock_now += 2;
  cs_progress_update (60 * MB);
  cs_warn ("ouch");
  clock_now += 2;
  cs_progress_begin ("inner", 7, 0);
  cs_progress_add (7);
  cs_progress_end ();
  cs_progress_add (10 * MB);
  cs_progress_end ();
  cs_progress_add (1); /* nothing is under way */
}

static guint
count (const char *s, const char *what)
{
  guint n = 0;
  for (; (s = strstr (s, what)) != NULL; s += strlen (what))
    n++;
  return n;
}

static void
test_lines (void **state)
{
  (void) state;
  g_autofree char *out = run (FALSE, slow);
  assert_int_equal (count (out, "\n"), 2); /* at 1 s and at 11 s */
  assert_non_null (strstr (out, "  5.0 MB/s  9 s left\n"));
  assert_null (strchr (out, '\r'));
  g_autofree char *none = run (FALSE, fast);
  assert_string_equal (none, "");
  cs_verbosity = CS_QUIET;
  g_autofree char *quiet = run (FALSE, slow);
  cs_verbosity = CS_NORMAL;
  assert_string_equal (quiet, "");
}

static void
test_terminal (void **state)
{
  (void) state;
  g_setenv ("TERM", "xterm", TRUE);
  g_setenv ("NO_COLOR", "1", TRUE); /* of the message; the bar has none */
  g_autofree char *out = run (TRUE, slow);
  assert_true (count (out, "\r") > 50);
  assert_int_equal (count (out, "\n"), 0);
  assert_true (g_str_has_suffix (out, "\r\033[K")); /* the bar is wiped */
  g_autofree char *none = run (TRUE, fast);
  assert_string_equal (none, "");
  g_autofree char *msg = run (TRUE, with_message);
  assert_non_null (strstr (msg, "\r\033[Kcapstan: warning: ouch\r\n\rapp "));
  assert_non_null (strstr (msg, "60.0 MB of 100.0 MB  5.0 MB/s")); /* not what was there */
  assert_null (strstr (msg, "inner"));
  g_setenv ("TERM", "dumb", TRUE);
  g_autofree char *dumb = run (TRUE, slow);
  assert_int_equal (count (dumb, "\n"), 2);
}

int
main (void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test (test_text), cmocka_unit_test (test_lines),
    cmocka_unit_test (test_terminal),
  };
  return cmocka_run_group_tests (tests, NULL, NULL);
}
