/* index.yaml, commit and recovery, image headers. SPDX-License-Identifier: BSD-3-Clause */
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
#include "core/base/spawn.h"
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

static void
qemu_img (const char *format, const char *options)
{
  struct cs_spawn s = CS_SPAWN_INIT;
  s.argv = (const char *const[]) { "qemu-img", "create", "-q", "-f", format, "-o", options,
                                   "disk", "8M", NULL };
  if (!cs_spawn_check (&s, NULL)) {
    cs_spawn_clear (&s);
    skip ();
  }
  cs_spawn_clear (&s);
}

/* Probes the file "disk"; NULL format: it must be refused, for the reason `text`. */
static void
probe (const char *format, gboolean backing, const char *text)
{
  g_autoptr (GError) err = NULL;
  guint64 size = 77;
  cs_autofd int fd = open ("disk", O_RDONLY | O_CLOEXEC);
  const char *got = cs_image_probe (fd, "disk", backing, &size, &err);
  if (format != NULL) {
    if (got == NULL)
      fail_msg ("%s", err->message);
    assert_string_equal (got, format);
    assert_int_equal (size, 8 << 20);
    return;
  }
  assert_null (got);
  assert_int_equal (size, 77);
  if (strstr (err->message, text) == NULL)
    fail_msg ("'%s' is not in: %s", text, err->message);
}

static void
patch (guint64 off, const void *bytes, gsize n)
{
  cs_autofd int fd = open ("disk", O_RDWR | O_CLOEXEC);
  assert_true (cs_pwrite_all (fd, bytes, n, off, "disk", NULL));
}

static void
probe_good (void **state)
{
  static const char *const kinds[][2] = {
    { "qcow2", "compat=0.10" }, { "qcow2", "compat=1.1" }, { "qcow2", "cluster_size=512" },
    { "qcow2", "extended_l2=on,cluster_size=128k" }, { "qcow2", "compression_type=zstd" },
    { "qcow2", "preallocation=metadata" }, { "vdi", "static=off" }, { "vdi", "static=on" },
    { "vmdk", "subformat=monolithicSparse" }, { "vmdk", "subformat=streamOptimized" } };
  for (guint i = 0; i < G_N_ELEMENTS (kinds); i++) {
    unlink ("disk");
    qemu_img (kinds[i][0], kinds[i][1]);
    probe (kinds[i][0], FALSE, NULL);
  }
}

/* A qcow2 header with one thing wrong each. */
static void
probe_bad_qcow2 (void **state)
{
  static const struct { guint off; guint8 bytes[8]; guint n; const char *why; } bad[] = {
    { 4, { 0, 0, 0, 9 }, 4, "version 9" },
    { 8, { 0, 0, 0, 0, 0, 0, 2, 0 }, 8, "backing file" },
    { 20, { 0, 0, 0, 63 }, 4, "absurd" },
    { 20, { 0, 0, 0, 3 }, 4, "absurd" },
    { 24, { 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0 }, 8, "absurd" },
    { 24, { 0, 0, 0x10, 0, 0, 0, 0, 0 }, 8, "L1" }, /* more than its L1 table maps */
    { 32, { 0, 0, 0, 2 }, 4, "encrypted" },
    { 36, { 0xff, 0xff, 0xff, 0xff }, 4, "beyond the end" },
    { 40, { 0, 0, 1, 0, 0, 0, 0, 0 }, 8, "beyond the end" },
    { 40, { 0, 0, 0, 0, 0, 0, 0, 0 }, 8, "beyond the end" },
    { 48, { 0x7f, 0xff, 0, 0, 0, 0, 0, 0 }, 8, "beyond the end" },
    { 56, { 0xff, 0xff, 0xff, 0xff }, 4, "beyond the end" },
    { 60, { 0, 0, 0, 1, 0, 0x7f, 0, 0 }, 8, "beyond the end" }, /* snapshots */
    { 72, { 0, 0, 0, 0, 0, 0, 0, 2 }, 8, "corrupt" },
    { 72, { 0, 0, 0, 0, 0, 0, 0, 4 }, 8, "another file" },
    { 72, { 0x80, 0, 0, 0, 0, 0, 0, 0 }, 8, "not known here" },
    { 96, { 0, 0, 0, 60 }, 4, "absurd" },   /* refcount order */
    { 100, { 0xff, 0, 0, 0 }, 4, "absurd" } /* header length */
  };
  for (guint i = 0; i < G_N_ELEMENTS (bad); i++) {
    unlink ("disk");
    qemu_img ("qcow2", "compat=1.1");
    patch (bad[i].off, bad[i].bytes, bad[i].n);
    probe (NULL, FALSE, bad[i].why);
  }
  unlink ("disk");
  qemu_img ("qcow2", "compat=1.1");
  patch (8, "\0\0\0\0\0\0\2\0\0\0\0\1", 12);
  probe ("qcow2", TRUE, NULL); /* our own overlay */
  assert_int_equal (truncate ("disk", 1000), 0);
  probe (NULL, TRUE, "beyond the end");
}

/* Replaces the text descriptor of a sparse VMDK. */
static void
vmdk_with (const char *text)
{
  char d[20 * 512] = "";
  unlink ("disk");
  qemu_img ("vmdk", "subformat=monolithicSparse");
  g_strlcpy (d, text, sizeof d);
  patch (512, d, sizeof d);
}

static void
probe_bad_others (void **state)
{
  vmdk_with ("# Disk DescriptorFile\nCID=1\nparentCID=ffffffff\nRW 16384 SPARSE \"disk\"\n");
  probe ("vmdk", FALSE, NULL);
  vmdk_with ("# Disk DescriptorFile\nCID=1\nparentCID=12345678\n"
             "parentFileNameHint=\"/etc/passwd\"\nRW 16384 SPARSE \"disk\"\n");
  probe (NULL, FALSE, "depends on another");
  vmdk_with ("# Disk DescriptorFile\nparentCID=ffffffff\nRW 16384 FLAT \"/etc/passwd\" 0\n");
  probe (NULL, FALSE, "other files");
  vmdk_with ("# Disk DescriptorFile\nparentCID=ffffffff\nRW 1 SPARSE \"a\"\nRW 1 SPARSE \"b\"\n");
  probe (NULL, FALSE, "other files");
  vmdk_with ("# Disk DescriptorFile\nparentCID=ffffffff\nRW 16384 SPARSE \"disk\"\n");
  patch (12, "\0\0\0\0\0\0\0\0", 8); /* capacity 0: QEMU then reads it as a description */
  probe (NULL, FALSE, "VMDK header");
  vmdk_with ("# Disk DescriptorFile\nparentCID=ffffffff\nRW 16384 SPARSE \"disk\"\n");
  patch (56, "\0\0\0\0\0\1\0\0", 8); /* grain directory */
  probe (NULL, FALSE, "VMDK header");

  unlink ("disk");
  qemu_img ("vdi", "static=off");
  patch (76, "\4\0\0\0", 4);
  probe (NULL, FALSE, "depends on another");
  patch (76, "\1\0\0\0", 4);
  patch (384, "\377\377\377\377", 4);
  probe (NULL, FALSE, "VDI header");

  char raw[1024] = "";
  put_file ("disk", raw, sizeof raw);
  probe (NULL, FALSE, "--format raw");
  memcpy (raw, "conectix", 8);
  put_file ("disk", raw, sizeof raw);
  probe (NULL, FALSE, "VHD");
  memcpy (raw, "vhdxfile", 8);
  put_file ("disk", raw, sizeof raw);
  probe (NULL, FALSE, "VHDX");
  memcpy (raw, "\037\213\010\0", 4);
  put_file ("disk", raw, sizeof raw);
  probe (NULL, FALSE, "compressed");
  put_text ("disk", "# Disk DescriptorFile\nRW 1 FLAT \"/etc/passwd\" 0\n");
  assert_int_equal (truncate ("disk", 1024), 0);
  probe (NULL, FALSE, "describes a VMDK");
  put_text ("disk", "x");
  probe (NULL, FALSE, "smaller than one sector");
}

static void
probe_raw (void **state)
{
  unlink ("disk");
  put_text ("disk", "x");
  assert_int_equal (truncate ("disk", 8 << 20), 0);
  patch (510, "\125\252", 2);
  probe ("raw", FALSE, NULL);
}

int
main (void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test (index_round_trip), cmocka_unit_test (index_of_the_original),
    cmocka_unit_test (list_and_remove),  cmocka_unit_test (commit_and_abort),
    cmocka_unit_test (crashes),          cmocka_unit_test (probe_good),
    cmocka_unit_test (probe_bad_qcow2),  cmocka_unit_test (probe_bad_others),
    cmocka_unit_test (probe_raw),
  };
  g_setenv ("CAPSTAN_ROOT", "store", TRUE); /* in the scratch folder of the test */
  return cmocka_run_group_tests (tests, NULL, NULL);
}
