/* Tree, command line, partition table, ROFS. SPDX-License-Identifier: BSD-3-Clause */
#include "config.h"
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>
#include <sys/stat.h>
#include "core/base/error.h"
#include "core/base/util.h"
#include "core/build/cmdline.h"
#include "core/build/fs.h"
#include "core/build/mbr.h"
#include "core/build/rofs.h"

static gboolean
put (struct cs_tree *t, const char *path)
{
  return cs_tree_put_bytes (t, path, "x", 1, 0644, NULL);
}

static void
tree_order (void **state)
{
  g_autoptr (cs_tree) t = cs_tree_new ();
  static const char *const names[] = { "/b", "/a", "/\xff", "/c", "/B", "/b.", "/a" };
  for (guint k = 0; k < G_N_ELEMENTS (names); k++)
    assert_true (put (t, names[k]));
  assert_int_equal (t->root->children->len, 6);
  for (guint k = 1; k < 6; k++) {
    struct cs_node *a = g_ptr_array_index (t->root->children, k - 1);
    struct cs_node *b = g_ptr_array_index (t->root->children, k);
    assert_true (strcmp (a->name, b->name) < 0);
  }
  assert_non_null (cs_tree_child (t->root, "b."));
  assert_null (cs_tree_child (t->root, "d"));
}

static void
tree_put (void **state)
{
  g_autoptr (cs_tree) t = cs_tree_new ();
  assert_true (put (t, "/usr/lib/x"));
  assert_false (put (t, "/usr/lib"));    /* a file over a directory */
  assert_false (put (t, "/usr/lib/x/y")); /* below a file */
  assert_false (put (t, "/usr/../x"));
  assert_false (put (t, "/"));
  assert_null (cs_tree_put_dir (t, "/usr/lib/x", 0755, NULL));
  assert_non_null (cs_tree_put_dir (t, "/usr", 0700, NULL));
  assert_int_equal (cs_tree_lookup (t, "/usr")->perm, 0700);
  assert_non_null (cs_tree_lookup (t, "/usr/lib/x")); /* kept */
  /* symlinks on the way, inside the tree */
  assert_true (cs_tree_put_symlink (t, "/lib", "usr/lib", NULL));
  assert_true (cs_tree_put_symlink (t, "/usr/abs", "/../../usr/lib", NULL));
  assert_true (put (t, "/lib/y"));
  assert_true (put (t, "/usr/abs/z"));
  assert_non_null (cs_tree_put_dir (t, "/lib", 0711, NULL)); /* goes through the link */
  assert_int_equal (cs_tree_lookup (t, "/usr/lib")->perm, 0711);
  assert_non_null (cs_tree_lookup (t, "/usr/lib/y"));
  assert_non_null (cs_tree_lookup (t, "/usr/lib/z"));
  assert_string_equal (cs_tree_lookup (t, "/lib")->bytes, "usr/lib");
  assert_true (cs_tree_put_symlink (t, "/loop", "loop", NULL));
  assert_false (put (t, "/loop/x"));
  cs_tree_count (t);
  assert_int_equal (t->n_files, 3);
  assert_int_equal (t->n_symlinks, 3);
  assert_int_equal (t->data_bytes, 3);
}

static void
cmdline (void **state)
{
  static const char *const env[] = { "A=a b\\c", "B=", NULL };
  g_autofree char *a = cs_cmdline_make (env, "--cwd=/x\\ y /app \"q r\"\n", "osv", NULL);
  assert_string_equal (a, "--cwd=/x\\ y --env=A=a\\ b\\\\c --env=B= /app \"q r\"");
  g_autofree char *b = cs_cmdline_replace_app (a, "/new -x");
  assert_string_equal (b, "--cwd=/x\\ y --env=A=a\\ b\\\\c --env=B= /new -x");
  g_autofree char *c = cs_cmdline_replace_app ("/app", "/new");
  assert_string_equal (c, "/new");
  static const char *const bad_env[] = { "A", "=b", "A B=c", "A=\n", "A?=b" };
  for (guint k = 0; k < G_N_ELEMENTS (bad_env); k++) {
    const char *const one[] = { bad_env[k], NULL };
    assert_null (cs_cmdline_make (one, "/x", "osv", NULL));
  }
  assert_null (cs_cmdline_make (NULL, "/x\n/y", "linux", NULL));
  assert_null (cs_cmdline_make (NULL, "/\xc3\xa4", "osv", NULL));
  g_autofree char *d = cs_cmdline_make (NULL, "/\xc3\xa4", "linux", NULL);
  assert_non_null (d);
  g_autofree char *most = g_strnfill (CS_CMDLINE_MAX, 'x');
  g_autofree char *more = g_strnfill (CS_CMDLINE_MAX + 1, 'x');
  g_autofree char *e = cs_cmdline_make (NULL, most, "osv", NULL);
  assert_non_null (e);
  assert_null (cs_cmdline_make (NULL, more, "osv", NULL));
}

static void
on_disk (void **state)
{
  cs_autofd int fd = open ("disk", O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  assert_int_equal (ftruncate (fd, 1 << 20), 0);
  struct cs_part p[4];
  assert_false (cs_mbr_read (fd, "disk", p, NULL)); /* no 55 AA */
  assert_int_equal (pwrite (fd, "\x55\xaa", 2, 510), 2);
  g_autofree char *most = g_strnfill (CS_CMDLINE_MAX, 'x');
  assert_true (cs_cmdline_write (fd, most, "disk", NULL));
  g_autofree char *a = cs_cmdline_read (fd, "disk", NULL);
  assert_string_equal (a, most);
  assert_true (cs_cmdline_write (fd, "/x", "disk", NULL));
  g_autofree char *b = cs_cmdline_read (fd, "disk", NULL);
  assert_string_equal (b, "/x");
  char c;
  assert_int_equal (pread (fd, &c, 1, 512 + 100), 1);
  assert_int_equal (c, 0); /* nothing of the longer one */
  assert_true (cs_mbr_write_root (fd, "disk", 4 << 20, 201728, NULL));
  assert_true (cs_mbr_read (fd, "disk", p, NULL));
  assert_int_equal (p[0].type, 0);
  assert_int_equal (p[1].type, 0x83);
  assert_int_equal (p[1].start, 4 << 20);
  assert_int_equal (p[1].size, 201728);
  assert_false (cs_mbr_write_root (fd, "disk", G_GUINT64_CONSTANT (3) << 40, 512, NULL));
  /* A disk without a kernel: the partition begins where the command line would be. */
  assert_true (cs_mbr_write_root (fd, "disk", 512, 512, NULL));
  assert_false (cs_cmdline_write (fd, "/x", "disk", NULL));
}

/* The example of OSv's own tools: 4 MiB, 394 sectors. */
static void
mbr (void **state)
{
  static const guint8 want[16] = { 0x00, 0x82, 0x03, 0x00, 0x83, 0x88, 0x13, 0x00,
                                   0x00, 0x20, 0x00, 0x00, 0x8a, 0x01, 0x00, 0x00 };
  guint8 entry[16];
  cs_mbr_entry (entry, 0x83, 4 << 20, 394 * 512);
  assert_memory_equal (entry, want, 16);
  cs_mbr_entry (entry, 0x83, G_GUINT64_CONSTANT (100) << 30, 512);
  assert_int_equal (entry[1], 254); /* beyond what CHS can say */
  assert_int_equal (entry[2] | entry[3] << 8, 1023 << 6 | 63);
}

static int
write_rofs (struct cs_fs_result *ret)
{
  g_autoptr (cs_tree) t = cs_tree_new ();
  int fd = open ("rofs", O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  assert_true (put (t, "/dir/file"));
  assert_true (put (t, "/dir/sub/file"));
  assert_true (cs_tree_put_symlink (t, "/link", "/dir", NULL));
  assert_true (cs_tree_put (t, "/hard", cs_tree_lookup (t, "/dir/file"), NULL));
  struct cs_fs_opts o = { .max_meta = 100 };
  g_autoptr (GError) e = NULL;
  assert_false (cs_rofs_write (t, fd, 4096, "rofs", &o, ret, &e));
  assert_int_equal (e->code, CAPSTAN_E_LIMIT);
  o.max_meta = 0;
  assert_true (cs_rofs_write (t, fd, 4096, "rofs", &o, ret, NULL));
  return fd;
}

static void
rofs_back (void **state)
{
  struct cs_fs_result r;
  cs_autofd int fd = write_rofs (&r);
  assert_int_equal (r.size % 512, 0);
  assert_int_equal (r.data_bytes, 2);
  g_autoptr (cs_tree) t = cs_tree_new ();
  assert_true (cs_rofs_read (t, fd, 4096, r.size, "rofs", NULL));
  struct cs_inode *i = cs_tree_lookup (t, "/dir/file");
  assert_non_null (i);
  assert_ptr_equal (i, cs_tree_lookup (t, "/hard"));
  assert_int_equal (i->nlink, 2);
  char c = 0;
  assert_true (cs_source_read (i, &c, 1, NULL));
  assert_int_equal (c, 'x');
  assert_string_equal (cs_tree_lookup (t, "/link")->bytes, "/dir");
  /* cut off anywhere: an error, never more */
  for (guint64 n = 0; n < r.size; n += 512) {
    g_autoptr (cs_tree) cut = cs_tree_new ();
    assert_false (cs_rofs_read (cut, fd, 4096, n, "rofs", NULL));
  }
}

/* Any byte of what is not data set to any of a few values: read or refused. */
static void
rofs_damaged (void **state)
{
  static const guint8 values[] = { 0, 1, 2, '/', 0x40, 0x7f, 0x80, 0xff };
  struct cs_fs_result r;
  cs_autofd int fd = write_rofs (&r);
  for (guint64 at = 0; at < r.size; at = at == 63 ? 512 : at + 1)
    for (guint k = 0; k < G_N_ELEMENTS (values); k++) {
      guint8 old;
      assert_int_equal (pread (fd, &old, 1, (off_t) (4096 + at)), 1);
      assert_int_equal (pwrite (fd, &values[k], 1, (off_t) (4096 + at)), 1);
      g_autoptr (cs_tree) t = cs_tree_new ();
      g_autoptr (GError) e = NULL;
      if (!cs_rofs_read (t, fd, 4096, r.size, "rofs", &e))
        assert_non_null (e);
      assert_int_equal (pwrite (fd, &old, 1, (off_t) (4096 + at)), 1);
    }
}

static void
source_changed (void **state)
{
  assert_true (g_file_set_contents ("file", "one", 3, NULL));
  g_autoptr (cs_tree) t = cs_tree_new ();
  assert_true (cs_tree_scan (t, "/f", "file", NULL, NULL));
  char buf[8];
  assert_true (cs_source_read (cs_tree_lookup (t, "/f"), buf, sizeof buf, NULL));
  assert_memory_equal (buf, "one", 3);
  assert_true (g_file_set_contents ("file", "two", 3, NULL));
  g_autoptr (GError) e = NULL;
  assert_false (cs_source_read (cs_tree_lookup (t, "/f"), buf, sizeof buf, &e));
  assert_non_null (strstr (e->message, "changed"));
}

int
main (void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test (tree_order), cmocka_unit_test (tree_put), cmocka_unit_test (cmdline),
    cmocka_unit_test (on_disk), cmocka_unit_test (mbr), cmocka_unit_test (rofs_back),
    cmocka_unit_test (rofs_damaged), cmocka_unit_test (source_changed) };
  return cmocka_run_group_tests (tests, NULL, NULL);
}
