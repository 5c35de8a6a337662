/* What run makes of -f; the disk of an instance. SPDX-License-Identifier: BSD-3-Clause */
#include "config.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>
#include "core/base/error.h"
#include "core/base/spawn.h"
#include "core/base/util.h"
#include "core/vm/disk.h"
#include "core/vm/runs.h"
#include "core/vm/vm.h"

static void
forwards (void **state)
{
  static const struct { const char *in, *out; } t[] = {
    { "8080:80", "tcp:127.0.0.1:8080:80" }, { "53:53/udp", "udp:127.0.0.1:53:53" },
    { "0.0.0.0:1:65535/tcp", "tcp:0.0.0.0:1:65535" }, { "8080", NULL }, { "", NULL },
    { ":", NULL }, { "0:80", NULL }, { "80:65536", NULL }, { "a:80", NULL },
    { "8080:80/sctp", NULL }, { "auto:80", "tcp:127.0.0.1:auto:80" },
    { "0.0.0.0:auto:53/udp", "udp:0.0.0.0:auto:53" }, { "80:auto", NULL }, { "auto", NULL },
    { "auto:80:80", NULL }, { "host:1:2", NULL }, { "1.2.3.4:5:6:7", NULL } };
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

/* Each gets a port of its own; what was chosen stays. */
static void
free_ports (void **state)
{
  char *list[] = { g_strdup ("tcp:127.0.0.1:auto:80"), g_strdup ("tcp:127.0.0.1:1:2"),
                   g_strdup ("tcp:127.0.0.1:auto:80"), g_strdup ("udp:0.0.0.0:auto:53"), NULL };
  (void) state;
  assert_true (cs_forwards_pick (list, NULL));
  assert_string_equal (list[1], "tcp:127.0.0.1:1:2");
  assert_string_not_equal (list[0], list[2]);
  for (guint k = 0; list[k]; k++) {
    g_auto (GStrv) p = g_strsplit (list[k], ":", 4);
    assert_in_range (g_ascii_strtoull (p[2], NULL, 10), 1, 65535);
    g_free (list[k]);
  }
}

static void
addresses (void **state)
{
  g_autofree char *a = cs_mac_of_name ("qemu", "a"), *again = cs_mac_of_name ("qemu", "a"),
                  *b = cs_mac_of_name ("qemu", "b");
  (void) state;
  assert_string_equal (a, again);
  assert_string_not_equal (a, b);
  assert_int_equal (strlen (a), 17);
  assert_true (g_str_has_prefix (a, "02:")); /* of one card, and of nobody's making */
}

static void
since (void **state)
{
  static const struct { const char *in; gint64 ms; } t[] = {
    { "1970-01-01T00:00:01Z", 1000 }, { "1970-01-01T01:00:00.25+01:00", 250 },
    { "2026-11-24T17:00:00Z", 1795539600000 } };
  static const char *const bad[] = { "", "x", "10", "10x", "-5m", "s", "5 m", "99999999999d", "yesterday" };
  gint64 ms;
  (void) state;
  for (guint k = 0; k < G_N_ELEMENTS (t); k++) {
    assert_true (cs_since_parse (t[k].in, &ms, NULL));
    assert_int_equal (ms, t[k].ms);
  }
  assert_true (cs_since_parse ("2h", &ms, NULL));
  assert_in_range (cs_now_ms () - ms, 7200000, 7200000 + 60000);
  for (guint k = 0; k < G_N_ELEMENTS (bad); k++) {
    g_autoptr (GError) e = NULL;
    assert_false (cs_since_parse (bad[k], &ms, &e));
    assert_true (g_error_matches (e, CS_ERROR, CS_E_USAGE));
  }
}

static void
add_image (char fill)
{
  char bytes[65536];
  struct cs_index *x = cs_index_new ();
  struct cs_store_txn *t = cs_store_begin ("app", "qemu", NULL);
  memset (bytes, fill, sizeof bytes);
  x->format = g_strdup ("raw");
  assert_true (cs_write_all (t->fd, bytes, sizeof bytes, "t", NULL));
  assert_true (cs_store_commit (t, x, NULL));
  cs_index_free (x);
}

/* A new image of the name does not come under the overlay of an instance. */
static void
overlay_keeps_its_image (void **state)
{
  g_autofree char *qemu_img = g_find_program_in_path ("qemu-img");
  if (qemu_img == NULL)
    skip ();
  add_image ('a');
  struct cs_image *im = cs_store_find ("app", "qemu", NULL);
  struct cs_instance *i = g_new0 (struct cs_instance, 1);
  i->dir = g_canonicalize_filename ("vm", NULL);
  i->disk = g_strdup ("disk.qcow2");
  i->disk_format = g_strdup ("qcow2");
  assert_true (cs_mkdirs ("vm", 0755, NULL));
  assert_true (cs_disk_make (i, im, "raw", NULL));
  cs_image_free (im);
  add_image ('b');
  assert_true (cs_store_remove ("app", NULL, NULL));
  struct cs_spawn s = CS_SPAWN_INIT;
  s.argv = (const char *const[]) { "qemu-img", "convert", "-f", "qcow2", "-O", "raw",
                                   "vm/disk.qcow2", "flat", NULL };
  assert_true (cs_spawn_check (&s, NULL));
  cs_spawn_clear (&s);
  g_autofree char *bytes = cs_read_file ("flat", 1 << 20, NULL, NULL);
  assert_true (bytes[0] == 'a' && bytes[65535] == 'a');
  cs_instance_free (i);
}

int
main (void)
{
  const struct CMUnitTest tests[] = { cmocka_unit_test (forwards), cmocka_unit_test (free_ports),
                                     cmocka_unit_test (addresses), cmocka_unit_test (since),
                                     cmocka_unit_test (overlay_keeps_its_image) };
  g_setenv ("CAPSTAN_ROOT", "store", TRUE); /* in the scratch folder of the test */
  return cmocka_run_group_tests (tests, NULL, NULL);
}
