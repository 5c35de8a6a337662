/* SHA-256 with libcrypto and without. SPDX-License-Identifier: BSD-3-Clause */
#include "config.h"
#include "core/base/digest.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

/* The example of the standard, in two pieces. */
static gboolean
is_right (void)
{
  char hex[CS_HEX_SHA256];
  struct cs_sha256 *c = cs_sha256_new ();
  cs_sha256_add (c, "a", 1);
  cs_sha256_add (c, "bc", 2);
  cs_sha256_end (c, hex);
  cs_sha256_free (c);
  return strcmp (hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad") == 0;
}

static void
without (void **state)
{
  int st;
  pid_t pid = fork ();
  if (pid == 0) { /* it is looked for once in a process */
    cs_libcrypto = "libcrypto-that-is-not-there.so";
    _exit (is_right () ? 0 : 1);
  }
  assert_int_equal (waitpid (pid, &st, 0), pid);
  assert_int_equal (st, 0);
}

static void
with (void **state)
{
  assert_true (is_right ());
}

int
main (void)
{
  const struct CMUnitTest tests[] = { cmocka_unit_test (without), cmocka_unit_test (with) };
  return cmocka_run_group_tests (tests, NULL, NULL);
}
