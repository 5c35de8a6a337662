/* Names, sizes, YAML, files. SPDX-License-Identifier: BSD-3-Clause */
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
#include "core/base/yaml.h"

static void
names (void **state)
{
  static const char *const good[] = { "a", "hello", "ns/app", "0.9_x-y", "a/b/c" };
  static const char *const bad[] = { "", "/", "..", "a/..", "a//b", "a/", "/a", ".a", "-a",
                                     "A", "a b", "a\n", "\xc3\xa4", "../x", "a/.b" };
  for (guint i = 0; i < G_N_ELEMENTS (good); i++)
    assert_true (cs_name_check ("name", good[i], FALSE, NULL));
  for (guint i = 0; i < G_N_ELEMENTS (bad); i++) {
    g_autoptr (GError) e = NULL;
    assert_false (cs_name_check ("name", bad[i], FALSE, &e));
    assert_non_null (e);
    assert_int_equal (cs_exit_status (e), 2);
  }
  assert_true (cs_name_check ("name", "Cloudius/OSv-base", TRUE, NULL));
  g_autofree char *lng = g_strnfill (256, 'a');
  assert_false (cs_name_check ("name", lng, FALSE, NULL));
}

static void
sizes (void **state)
{
  guint64 n;
  static const struct { const char *s; guint64 want; } good[] = {
    { "512", G_GUINT64_CONSTANT (512) << 20 }, { "1K", 1024 }, { "64k", 65536 },
    { "512M", 512 << 20 }, { "512MB", 512 << 20 }, { "2GiB", G_GUINT64_CONSTANT (2) << 30 },
    { "10g", G_GUINT64_CONSTANT (10) << 30 }, { "512B", 512 } };
  for (guint i = 0; i < G_N_ELEMENTS (good); i++) {
    assert_true (cs_size_parse (good[i].s, 1 << 20, &n, NULL));
    assert_true (n == good[i].want);
  }
  static const char *const bad[] = { "", "x", "-1", "1X", "1MM", "99999999999999999999",
                                     "9999999999999G", "1 G", "1i" };
  for (guint i = 0; i < G_N_ELEMENTS (bad); i++)
    assert_false (cs_size_parse (bad[i], 1, &n, NULL));
}

static CsYaml *
parse (const char *s, GError **err)
{
  return cs_yaml_parse (s, strlen (s), "f", err);
}

static void
yaml_good (void **state)
{
  g_autoptr (CsYaml) y = parse ("base: x\nfiles:\n  /a: b\n  \"/c\": \"&\"\nl: [1, two]\n", NULL);
  assert_non_null (y);
  assert_string_equal (cs_yaml_str (y, "base"), "x");
  const CsYaml *f = cs_yaml_get (y, "files");
  assert_int_equal (f->type, CS_YAML_MAP);
  assert_string_equal (cs_yaml_str (f, "/c"), "&");
  assert_int_equal (cs_yaml_get (f, "/c")->line, 4);
  assert_null (cs_yaml_get (y, "nothing"));
  g_autoptr (CsYaml) empty = parse ("# nothing\n", NULL);
  assert_int_equal (empty->type, CS_YAML_MAP);
}

static void
yaml_bad (void **state)
{
  static const struct { const char *text, *want; } bad[] = {
    { "a: 1\na: 2\n", "f:2: the key 'a' stands there twice" },
    { "a: &x 1\n", "f:1: anchors" },
    { "files:\n  /a: &\n", "quoted" },
    { "a: *x\n", "f:1: aliases" },
    { "a: !t x\n", "f:1: tags" },
    { "a: [1\n", "f:2:" },
    { "---\na: 1\n---\nb: 1\n", "second document" },
    { "? [a]\n: b\n", "a key must be plain text" },
    { "a: \"\\0\"\n", "NUL" } };
  for (guint i = 0; i < G_N_ELEMENTS (bad); i++) {
    g_autoptr (GError) e = NULL;
    assert_null (parse (bad[i].text, &e));
    if (strstr (e->message, bad[i].want) == NULL)
      fail_msg ("%s: %s", bad[i].text, e->message);
  }
  g_autofree char *deep = g_strnfill (100, '[');
  assert_null (parse (deep, NULL));
}

static void
yaml_round (void **state)
{
  GString *s = g_string_new (NULL);
  const char *v = "a \"b\" \\ \n\t: # & \xc3\xa4";
  cs_yaml_put (s, "k", v);
  g_autoptr (CsYaml) y = parse (s->str, NULL);
  assert_string_equal (cs_yaml_str (y, "k"), v);
  g_string_free (s, TRUE);
}

static void
copying (void **state)
{
  cs_autofd int in = open ("in", O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  cs_autofd int out = open ("out", O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  char a[8192], b[8192];
  struct stat st;
  memset (a, 'x', sizeof a);
  assert_true (cs_pwrite_all (in, a, sizeof a, 4 << 20, "in", NULL));
  assert_int_equal (ftruncate (in, 8 << 20), 0);
  assert_int_equal (ftruncate (out, 16 << 20), 0);
  assert_true (cs_copy_range (in, 0, out, 1 << 20, 8 << 20, "in", "out", NULL));
  assert_true (cs_pread_all (out, b, sizeof b, 5 << 20, "out", NULL));
  assert_memory_equal (a, b, sizeof a);
  assert_int_equal (fstat (out, &st), 0);
  assert_true (st.st_blocks < 1024); /* the holes are still holes */
  g_autoptr (GError) e = NULL;
  assert_false (cs_copy_range (in, 0, out, 0, 9 << 20, "in", "out", &e));
  assert_non_null (strstr (e->message, "in became shorter"));
}

static void
trees (void **state)
{
  assert_true (cs_mkdirs ("t/a/b", 0700, NULL));
  assert_true (cs_write_file ("t/a/f", "x", 1, 0600, NULL));
  assert_true (cs_write_file ("keep", "x", 1, 0600, NULL));
  assert_int_equal (symlink ("../keep", "t/l"), 0);
  assert_true (cs_rmtree ("t", NULL));
  assert_int_equal (access ("t", F_OK), -1);
  assert_int_equal (access ("keep", F_OK), 0);
  assert_true (cs_rmtree ("t", NULL));
}

static void
locks (void **state)
{
  g_autoptr (GError) e = NULL;
  cs_autofd int a = cs_lock_file ("l", TRUE, TRUE, NULL);
  assert_true (a >= 0);
  assert_int_equal (cs_lock_file ("l", FALSE, FALSE, &e), -1);
  assert_int_equal (e->code, CAPSTAN_E_BUSY);
}

int
main (void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test (names),      cmocka_unit_test (sizes),   cmocka_unit_test (yaml_good),
    cmocka_unit_test (yaml_bad),   cmocka_unit_test (yaml_round), cmocka_unit_test (copying),
    cmocka_unit_test (trees),      cmocka_unit_test (locks),
  };
  return cmocka_run_group_tests (tests, NULL, NULL);
}
