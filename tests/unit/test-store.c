/* index.yaml, commit and recovery. SPDX-License-Identifier: BSD-3-Clause */
#include "config.h"
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "core/base/error.h"
#include "core/base/util.h"
#include "core/store/store.h"

static void
put_file (const char *path, const void *text, gsize n)
{
  g_autofree char *dir = g_path_get_dirname (path);
  assert_true (cs_mkdirs (dir, 0755, NULL));
  assert_true (cs_write_file (path, text, n, 0644, NULL));
}

static void
put_text (const char *path, const char *text)
{
  put_file (path, text, strlen (text));
}

static void
add_image (const char *name, const char *suffix, const char *bytes, const char *version)
{
  g_autoptr (GError) err = NULL;
  struct cs_store_txn *t = cs_store_begin (name, suffix, &err);
  assert_non_null (t);
  assert_true (cs_write_all (t->fd, bytes, strlen (bytes), t->path, &err));
  struct cs_index *x = cs_index_new ();
  x->version = g_strdup (version);
  x->format = g_strdup ("raw");
  assert_true (cs_store_commit (t, x, &err));
  cs_index_free (x);
}

static void
is_image (const char *name, const char *bytes, const char *version)
{
  struct cs_image *i = cs_store_find (name, NULL, NULL);
  assert_non_null (i);
  g_autofree char *got = cs_read_file (i->path, 4096, NULL, NULL);
  assert_string_equal (got, bytes);
  assert_string_equal (i->index->version, version);
  cs_image_free (i);
}

static void
index_round_trip (void **state)
{
  static const char *const odd[] = { "", "yes", "1.0", "a: b # c", "\"q\" \\ 'x'", "tab\there\n",
                                     "\xc3\xa9", "- x", "null", "&" };
  for (guint i = 0; i < G_N_ELEMENTS (odd); i++) {
    struct cs_index *x = cs_index_new ();
    x->version = g_strdup (odd[i]);
    x->cmdline = g_strdup (odd[i]);
    x->size = G_MAXUINT64;
    x->kernel_offset = 1048576;
    g_autofree char *text = cs_index_text (x);
    put_text ("x.yaml", text);
    struct cs_index *y = cs_index_load ("x.yaml", NULL);
    assert_non_null (y);
    assert_string_equal (y->version != NULL ? y->version : "", odd[i]);
    assert_true (y->size == G_MAXUINT64);
    assert_int_equal (y->kernel_offset, 1048576);
    struct cs_index *c = cs_index_copy (y);
    g_autofree char *again = cs_index_text (c);
    if (*odd[i] != '\0') /* "" is the same as absent */
      assert_string_equal (again, text);
    cs_index_free (x);
    cs_index_free (y);
    cs_index_free (c);
  }
}

static void
index_of_the_original (void **state)
{
  put_text ("o.yaml", "format_version: \"1\"\nversion: v0.57.0\ncreated: 2022-08-01T12:00:00Z\n"
                      "description: OSv Bootloader\nbuild: \"\"\nplatform: Ubuntu-20.04\n"
                      "x-other: 'kept as ''it'' is'\n");
  struct cs_index *x = cs_index_load ("o.yaml", NULL);
  assert_non_null (x);
  assert_string_equal (x->version, "v0.57.0");
  assert_string_equal (x->created, "2022-08-01T12:00:00Z");
  assert_string_equal (x->platform, "Ubuntu-20.04");
  assert_null (x->format);
  assert_int_equal (x->other->len, 1);
  g_autofree char *text = cs_index_text (x);
  assert_non_null (strstr (text, "x-other: \"kept as 'it' is\"\n"));
  assert_non_null (strstr (text, "format_version: \"1\"\n"));
  cs_index_free (x);
  g_autoptr (GError) err = NULL;
  put_text ("o.yaml", "- a list\n");
  assert_null (cs_index_load ("o.yaml", &err));
  assert_non_null (strstr (err->message, "o.yaml"));
}

static void
list_and_remove (void **state)
{
  put_text ("store/repository/old/old.vbox", "x"); /* no index.yaml, as some old stores have */
  put_text ("store/repository/old/old.vbox.cache", "/a: b\n");
  put_text ("store/repository/old/other.qemu", "x");
  add_image ("ns/deep/app", "qemu", "one", "1");
  add_image ("ns", "qemu", "two", "2");
  g_autoptr (GPtrArray) l = cs_store_list (NULL);
  assert_int_equal (l->len, 3);
  static const char *const names[] = { "ns", "ns/deep/app", "old" };
  for (guint i = 0; i < 3; i++)
    assert_string_equal (((struct cs_image *) g_ptr_array_index (l, i))->name, names[i]);
  g_autoptr (GError) err = NULL;
  assert_null (cs_store_find ("nothere", NULL, &err));
  assert_int_equal (err->code, CAPSTAN_E_NOTFOUND);
  g_clear_error (&err);
  assert_false (cs_store_remove ("../repository/ns", NULL, &err));
  assert_int_equal (err->code, CS_E_USAGE);
  put_text ("store/repository/ns/.tmp-dead", "x"); /* of a writer that died */
  assert_true (cs_store_remove ("ns", NULL, NULL));
  is_image ("ns/deep/app", "one", "1"); /* the name space stays */
  assert_int_not_equal (access ("store/repository/ns/.tmp-dead", F_OK), 0);
  assert_true (cs_store_remove ("ns/deep/app", NULL, NULL));
  assert_true (cs_store_remove ("old", NULL, NULL));
  assert_int_not_equal (access ("store/repository/old/old.vbox.cache", F_OK), 0);
  assert_int_equal (access ("store/repository/old/other.qemu", F_OK), 0); /* not ours */
  assert_int_not_equal (access ("store/repository/ns", F_OK), 0);
}

static void
commit_and_abort (void **state)
{
  add_image ("c", "qemu", "old", "1");
  struct cs_store_txn *t = cs_store_begin ("c", "qemu", NULL);
  assert_true (cs_write_all (t->fd, "half", 4, "t", NULL));
  cs_store_abort (t);
  is_image ("c", "old", "1");
  /* what cannot be read back is not written */
  g_autoptr (GError) err = NULL;
  struct cs_index *x = cs_index_new ();
  x->description = g_strdup ("\xff\xfe");
  t = cs_store_begin ("c", "qemu", NULL);
  assert_false (cs_store_commit (t, x, &err));
  cs_index_free (x);
  is_image ("c", "old", "1");
}

/* Each state a crash can leave, made by hand. */
static void
crashes (void **state)
{
  static const char *const commit =
      "# .tmp-a c.qemu\nformat_version: \"1\"\nversion: \"2\"\nformat: \"raw\"\n";
  add_image ("c", "qemu", "old", "1");
  /* before the commit point: whoever looks at the name cleans up */
  put_text ("store/repository/c/.tmp-a", "new");
  is_image ("c", "old", "1");
  assert_int_not_equal (access ("store/repository/c/.tmp-a", F_OK), 0);
  /* after it, nothing done yet */
  put_text ("store/repository/c/.tmp-a", "new");
  put_text ("store/repository/c/.commit", commit);
  is_image ("c", "new", "2");
  assert_int_not_equal (access ("store/repository/c/.commit", F_OK), 0);
  /* image renamed, index not */
  add_image ("c", "qemu", "old", "1");
  put_text ("store/repository/c/c.qemu", "new");
  put_text ("store/repository/c/.commit", commit);
  is_image ("c", "new", "2");
  /* who reads under a lock of its own does not wait for itself */
  put_text ("store/repository/c/.commit", commit);
  cs_autofd int shared = cs_store_lock ("c", FALSE, TRUE, NULL);
  assert_true (shared >= 0);
  is_image ("c", "new", "2");
  close (shared);
  shared = -1;
  /* the next writer cleans up */
  put_text ("store/repository/c/.tmp-b", "dead");
  add_image ("c", "qemu", "newer", "3");
  is_image ("c", "newer", "3");
  assert_int_not_equal (access ("store/repository/c/.tmp-b", F_OK), 0);
  /* the list sees the new pair as well */
  add_image ("c", "qemu", "old", "1");
  put_text ("store/repository/c/c.qemu", "new");
  put_text ("store/repository/c/.commit", commit);
  g_autoptr (GPtrArray) l = cs_store_list (NULL);
  assert_int_equal (l->len, 1);
  assert_string_equal (((struct cs_image *) g_ptr_array_index (l, 0))->index->version, "2");
  assert_true (cs_store_remove ("c", NULL, NULL));
}

int
main (void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test (index_round_trip), cmocka_unit_test (index_of_the_original),
    cmocka_unit_test (list_and_remove),  cmocka_unit_test (commit_and_abort),
    cmocka_unit_test (crashes) };
  g_setenv ("CAPSTAN_ROOT", "store", TRUE); /* in the scratch folder of the test */
  return cmocka_run_group_tests (tests, NULL, NULL);
}
