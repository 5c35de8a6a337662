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
  const struct CMUnitTest tests[] = { cmocka_unit_test (forwards),
                                      cmocka_unit_test (overlay_keeps_its_image) };
  g_setenv ("CAPSTAN_ROOT", "store", TRUE); /* in the scratch folder of the test */
  return cmocka_run_group_tests (tests, NULL, NULL);
}
