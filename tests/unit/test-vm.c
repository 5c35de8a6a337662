/* What run makes of -f. SPDX-License-Identifier: BSD-3-Clause */
#include "config.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "core/base/error.h"
#include "core/vm/vm.h"

static void
forwards (void **state)
{
  static const struct { const char *in, *out; } t[] = {
    { "8080:80", "tcp:127.0.0.1:8080:80" }, { "53:53/udp", "udp:127.0.0.1:53:53" },
    { "0.0.0.0:1:65535/tcp", "tcp:0.0.0.0:1:65535" }, { "8080", NULL }, { "", NULL },
    { ":", NULL }, { "0:80", NULL }, { "80:65536", NULL }, { "a:80", NULL },
    { "8080:80/sctp", NULL }, { "host:1:2", NULL }, { "1.2.3.4:5:6:7", NULL } };
  (void) state;
  for (guint k = 0; k < G_N_ELEMENTS (t); k++) {
    g_autoptr (GError) e = NULL;
    g_autofree char *got = cs_forward_parse (t[k].in, &e);
    if (t[k].out)
      assert_string_equal (got, t[k].out);
    else {
      assert_null (got);
      assert_true (g_error_matches (e, CS_ERROR, CS_E_USAGE));
    }
  }
}

int
main (void)
{
  const struct CMUnitTest tests[] = { cmocka_unit_test (forwards) };
  return cmocka_run_group_tests (tests, NULL, NULL);
}
