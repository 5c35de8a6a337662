/* Child processes: what goes in, what comes out, how they end.
 * SPDX-License-Identifier: BSD-3-Clause */
#include "config.h"
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include "core/base/cancel.h"
#include "core/base/error.h"
#include "core/base/spawn.h"
#include "core/base/util.h"

#define SH(text) (const char *const[]) { "sh", "-c", text, NULL }

static void
output_and_status (void **state)
{
  struct cs_spawn s = CS_SPAWN_INIT;
  s.argv = SH ("echo out; echo err >&2; exit 7");
  assert_true (cs_spawn_run (&s, NULL));
  assert_int_equal (s.status, 7);
  assert_string_equal (s.out, "out\n");
  assert_string_equal (s.err, "err\n");
  cs_spawn_clear (&s);
  s.argv = SH ("kill -9 $$");
  assert_true (cs_spawn_run (&s, NULL));
  assert_int_equal (s.status, 128 + SIGKILL);
  cs_spawn_clear (&s);
}

static void
check_quotes_stderr (void **state)
{
  struct cs_spawn s = CS_SPAWN_INIT;
  g_autoptr (GError) err = NULL;
  s.argv = SH ("echo the cause >&2; exit 1");
  assert_false (cs_spawn_check (&s, &err));
  assert_non_null (strstr (err->message, "the cause"));
  cs_spawn_clear (&s);
}

static void
program_is_not_there (void **state)
{
  struct cs_spawn s = CS_SPAWN_INIT;
  g_autoptr (GError) err = NULL;
  s.argv = (const char *const[]) { "/no/such/program", NULL };
  assert_false (cs_spawn_run (&s, &err));
  assert_int_equal (err->code, CAPSTAN_E_NOTFOUND);
  assert_non_null (strstr (err->message, "/no/such/program"));
  cs_spawn_clear (&s);
}

/* More than a pipe holds, both ways at once: neither side may wait for the other. */
static void
large_input_and_output (void **state)
{
  struct cs_spawn s = CS_SPAWN_INIT;
  gsize n = 3 * 1024 * 1024;
  g_autofree char *in = g_malloc (n);
  memset (in, 'a', n);
  s.argv = (const char *const[]) { "cat", NULL };
  s.input = in;
  s.input_len = n;
  s.out_max = 4 * 1024 * 1024;
  assert_true (cs_spawn_run (&s, NULL));
  assert_int_equal (s.out_len, n);
  assert_memory_equal (s.out, in, n);
  cs_spawn_clear (&s);
  s.argv = SH ("exit 3"); /* does not read it */
  assert_true (cs_spawn_run (&s, NULL));
  assert_int_equal (s.status, 3);
  cs_spawn_clear (&s);
  s.argv = (const char *const[]) { "cat", NULL };
  s.out_max = 1000;
  assert_true (cs_spawn_run (&s, NULL));
  assert_int_equal (s.out_len, 1000);
  cs_spawn_clear (&s);
}

static void
environment_and_folder (void **state)
{
  struct cs_spawn s = CS_SPAWN_INIT;
  g_setenv ("CS_TEST_GONE", "1", TRUE);
  s.argv = SH ("pwd; echo $CS_TEST_X.${CS_TEST_GONE-unset}");
  s.env = (const char *const[]) { "CS_TEST_X=a b", "CS_TEST_GONE", NULL };
  s.dir = "/";
  assert_true (cs_spawn_run (&s, NULL));
  assert_string_equal (s.out, "/\na b.unset\n");
  cs_spawn_clear (&s);
}

/* The child has 0, 1, 2 and what is passed, also where the parent forgot O_CLOEXEC. */
static void
descriptors (void **state)
{
  struct cs_spawn s = CS_SPAWN_INIT;
  int leak = dup2 (STDERR_FILENO, 200), p[2];
  assert_true (leak == 200 && pipe2 (p, O_CLOEXEC) == 0);
  s.argv = SH ("echo hello >&3; test -e /proc/$$/fd/200 && echo leak");
  s.pass_fds = &p[1];
  s.n_pass_fds = 1;
  assert_true (cs_spawn_run (&s, NULL));
  char buf[6];
  assert_int_equal (read (p[0], buf, sizeof buf), 6);
  assert_memory_equal (buf, "hello\n", 6);
  assert_string_equal (s.out, "");
  cs_spawn_clear (&s);
  close (leak);
  close (p[0]);
  close (p[1]);
}

static void
on_alarm (int sig)
{
  cs_cancel ();
}

/* Cancelled after 100 ms: it ends at once, and no child is left, not even a zombie. */
static void
cancel_one (const char *text, gboolean captured)
{
  struct cs_spawn s = CS_SPAWN_INIT;
  g_autoptr (GError) err = NULL;
  cs_autofd int null = open ("/dev/null", O_RDWR | O_CLOEXEC);
  s.argv = SH (text);
  if (!captured)
    s.in_fd = s.out_fd = s.err_fd = null;
  signal (SIGALRM, on_alarm);
  ualarm (100000, 0);
  double start = cs_now ();
  assert_false (cs_spawn_run (&s, &err));
  assert_int_equal (err->code, CAPSTAN_E_CANCELLED);
  assert_true (cs_now () - start < 8);
  assert_int_equal (waitpid (-1, NULL, WNOHANG), -1);
  cs_cancel_reset ();
  cs_spawn_clear (&s);
}

static void
cancelled (void **state)
{
  cancel_one ("exec sleep 20", TRUE);
  cancel_one ("exec sleep 20", FALSE);
  cancel_one ("trap '' TERM; while :; do sleep 0.2; done", TRUE);
  struct cs_spawn s = CS_SPAWN_INIT;
  s.argv = SH ("exit 0");
  assert_true (cs_spawn_run (&s, NULL)); /* the next one is not */
  cs_spawn_clear (&s);
}

/* What undoes runs although all was cancelled, where Ctrl-C does not reach it. */
static void
always (void **state)
{
  struct cs_spawn s = CS_SPAWN_INIT;
  g_autoptr (GError) err = NULL;
  s.argv = SH ("sleep 0.3; ps -o sid= $$ | tr -d ' '; echo $$");
  cs_cancel ();
  assert_false (cs_spawn_run (&s, &err));
  assert_int_equal (err->code, CAPSTAN_E_CANCELLED);
  s.always = TRUE;
  assert_true (cs_spawn_run (&s, NULL));
  g_auto (GStrv) lines = g_strsplit (s.out, "\n", 0);
  assert_string_equal (lines[0], lines[1]);
  cs_cancel_reset ();
  cs_spawn_clear (&s);
}

int
main (void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test (output_and_status), cmocka_unit_test (check_quotes_stderr),
    cmocka_unit_test (program_is_not_there), cmocka_unit_test (environment_and_folder),
    cmocka_unit_test (descriptors),       cmocka_unit_test (large_input_and_output),
    cmocka_unit_test (cancelled),         cmocka_unit_test (always),
  };
  signal (SIGPIPE, SIG_IGN); /* as main does */
  return cmocka_run_group_tests (tests, NULL, NULL);
}
