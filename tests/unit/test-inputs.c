/* Patterns, .capstanignore, ELF headers, ld.so.cache. SPDX-License-Identifier: BSD-3-Clause */
#include "config.h"
#include <elf.h>
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
#include "core/build/cmdline.h"
#include "core/build/elf.h"
#include "core/build/glob.h"
#include "core/build/hostlibs.h"
#include "core/build/ignore.h"
#include "core/build/libs.h"

static void
test_glob (void **state)
{
  static const struct { const char *pattern, *path; gboolean want; } cases[] = {
    { "a", "a", 1 }, { "a", "b", 0 }, { "a", "", 0 }, { "", "", 1 }, { "", "a", 0 },
    { "*", "a", 1 }, { "*", "", 0 }, { "*", "a/b", 0 }, { "*", ".a", 0 }, { ".*", ".a", 1 },
    { "*.so", "x.so", 1 }, { "*.so", ".so", 0 }, { "*.so*", "x.so.1", 1 },
    { "a*b*c", "aXbYc", 1 }, { "a*b*c", "abc", 1 }, { "a*b*c", "acb", 0 }, { "**a", "bba", 1 },
    { "?", "a", 1 }, { "?", "ab", 0 }, { "?", "", 0 }, { "[abc]", "b", 1 }, { "[!abc]", "b", 0 },
    { "[^a-c]", "d", 1 }, { "[a-c]x", "bx", 1 }, { "[]]", "]", 1 }, { "[a", "[a", 1 },
    { "[a-]", "-", 1 }, { "[!]a]", "b", 1 }, { "[!]a]", "]", 0 }, { "\\*", "*", 1 },
    { "\\*", "a", 0 }, { "a\\", "a\\", 1 }, { "[\x80-\xff]", "\xc3", 1 }, { "\xff?", "\xff\xfe", 1 },
    { "a/*", "a/b", 1 }, { "a/*", "a", 0 }, { "a/*", "a/b/c", 0 }, { "*/b", "a/b", 1 },
    { "**/b", "b", 1 }, { "**/b", "x/y/b", 1 }, { "a/**/b", "a/b", 1 }, { "a/**/b", "a/x/y/b", 1 },
    { "a/**/b", "a/x/c", 0 }, { "a/**", "a/x/y", 1 }, { "a/**", "a", 0 }, { "**", "a/b", 1 },
    { "**/x/**/y", "a/x/b/x/y", 1 }, { "**/x/**/y", "a/x/b/x/z", 0 }, { "/**/b", "/a/b", 1 },
    { "/a", "a", 0 }, { "**/b", ".a/b", 0 }, { "**/**/b", "a/b", 1 },
  };
  for (guint k = 0; k < G_N_ELEMENTS (cases); k++)
    if (cs_glob_match (cases[k].pattern, cases[k].path, FALSE) != cases[k].want)
      fail_msg ("'%s' and '%s'", cases[k].pattern, cases[k].path);
  assert_true (cs_glob_match ("*", ".a", TRUE));
  assert_true (cs_glob_match ("**/b", ".a/b", TRUE));
  /* It ends, also where a matcher that tries everything would not. */
  g_autofree char *as = g_strnfill (3000, 'a');
  g_autoptr (GString) stars = g_string_new (NULL), deep = g_string_new (NULL);
  g_autoptr (GString) path = g_string_new ("a");
  for (int k = 0; k < 1000; k++) {
    g_string_append (stars, "a*");
    g_string_append (deep, "**/a/");
    g_string_append (path, "/a");
  }
  g_string_append (stars, "b");
  g_string_append (deep, "b");
  assert_false (cs_glob_match (stars->str, as, FALSE));
  assert_false (cs_glob_match (deep->str, path->str, FALSE));
}

static void
test_expand (void **state)
{
  static const char *const files[] = { "g/a.so", "g/b.so", "g/.c.so", "g/sub/d.so", "g/sub/sub/e.so",
                                       "g/.hid/f.so", "g/[x].so" };
  for (guint k = 0; k < G_N_ELEMENTS (files); k++) {
    g_autofree char *dir = g_path_get_dirname (files[k]);
    assert_int_equal (g_mkdir_with_parents (dir, 0755), 0);
    assert_true (g_file_set_contents (files[k], "x", 1, NULL));
  }
  assert_int_equal (symlink (".", "g/loop"), 0);
  static const struct { const char *pattern, *want; } cases[] = {
    { "g/*.so", "g/[x].so g/a.so g/b.so" }, { "g/**/*.so", "g/[x].so g/a.so g/b.so g/sub/d.so g/sub/sub/e.so" },
    { "g/s*/d.so", "g/sub/d.so" }, { "*/sub/sub/", "g/sub/sub" }, { "g/*/none", "" }, { "none/*", "" },
    { "g/\\[x].so", "g/[x].so" }, { "g/**/**/e.so", "g/sub/sub/e.so" }, { "g/l*/a.so", "g/loop/a.so" },
    { "g/s**", "g/sub" }, { "g/[.]c.so", "" },
  };
  for (guint k = 0; k < G_N_ELEMENTS (cases); k++) {
    g_autoptr (GPtrArray) found = cs_glob_expand (cases[k].pattern, 0, NULL);
    g_ptr_array_add (found, NULL);
    g_autofree char *all = g_strjoinv (" ", (char **) found->pdata);
    assert_string_equal (all, cases[k].want);
  }
  assert_int_equal (cs_glob_fixed ("a/b/c*"), 4);
  assert_int_equal (cs_glob_fixed ("*"), 0);
  assert_int_equal (cs_glob_fixed ("a/b"), 2);
}

static void
test_ignore (void **state)
{
  struct cs_ignore *g = cs_ignore_parse ("# no\n\n  /exact \n/dir/*\n!/dir/keep\n/any/**/x\n*.o\n"
                                         "only/\n/a.b\nmid/dle\n!\n", "name", NULL);
  static const struct { const char *path; gboolean is_dir, want; } cases[] = {
    { "/exact", 0, 1 }, { "/exact/x", 0, 0 }, { "/x/exact", 0, 0 }, { "/dir", 1, 0 }, { "/dir/x", 0, 1 },
    { "/dir/keep", 0, 0 }, { "/any/x", 0, 1 }, { "/any/a/b/x", 0, 1 }, { "/any/a/y", 0, 0 },
    { "/x.o", 0, 1 }, { "/a/b/x.o", 0, 1 }, { "/x.oo", 0, 0 }, { "/only", 0, 0 }, { "/only", 1, 1 },
    { "/sub/only", 1, 1 }, { "/aXb", 0, 0 }, { "/a.b", 0, 1 }, { "/mid/dle", 0, 1 }, { "/x/mid/dle", 0, 0 },
    { "/.git", 1, 1 }, { "/sub/.git", 1, 0 }, { "/.capstanignore", 0, 1 }, { "/.gitignore", 0, 1 },
    { "/# no", 0, 0 }, { "/meta", 1, 0 },
  };
  for (guint k = 0; k < G_N_ELEMENTS (cases); k++)
    if (cs_ignore_has (g, cases[k].path, cases[k].is_dir) != cases[k].want)
      fail_msg ("'%s'", cases[k].path);
  cs_ignore_free (g);
  g_autofree char *much = g_strnfill (5000, '*');
  assert_null (cs_ignore_parse (much, "name", NULL));
  g_autoptr (GString) many = g_string_new (NULL);
  for (int k = 0; k < 10001; k++)
    g_string_append (many, "x\n");
  assert_null (cs_ignore_parse (many->str, "name", NULL));
}

/* A small program: headers, an interpreter, a dynamic section. */
struct image {
  Elf64_Ehdr e;
  Elf64_Phdr p[3];
  Elf64_Dyn d[8];
  char strings[128];
};

static void
make_elf (struct image *m)
{
  static const char strings[] = "\0libone.so\0libtwo.so\0$ORIGIN/../lib:/opt\0/lib64/ld.so\0me.so";
  memset (m, 0, sizeof *m);
  memcpy (m->e.e_ident, ELFMAG "\2\1\1", 7);
  m->e.e_type = ET_DYN;
  m->e.e_machine = EM_X86_64;
  m->e.e_phoff = offsetof (struct image, p);
  m->e.e_phentsize = sizeof (Elf64_Phdr);
  m->e.e_phnum = 3;
  m->p[0] = (Elf64_Phdr) { .p_type = PT_LOAD, .p_offset = 0, .p_vaddr = 0x1000,
                           .p_filesz = sizeof *m };
  m->p[1] = (Elf64_Phdr) { .p_type = PT_INTERP, .p_filesz = 13,
                           .p_offset = offsetof (struct image, strings) + 41 };
  m->p[2] = (Elf64_Phdr) { .p_type = PT_DYNAMIC, .p_offset = offsetof (struct image, d),
                           .p_filesz = sizeof m->d };
  const Elf64_Dyn d[] = {
    { DT_NEEDED, { 1 } }, { DT_NEEDED, { 11 } }, { DT_RUNPATH, { 21 } }, { DT_SONAME, { 54 } },
    { DT_STRTAB, { 0x1000 + offsetof (struct image, strings) } },
    { DT_STRSZ, { sizeof strings } }, { DT_FLAGS_1, { DF_1_PIE } }, { DT_NULL, { 0 } } };
  memcpy (m->d, d, sizeof d);
  memcpy (m->strings, strings, sizeof strings);
}

static int
read_bytes (const void *bytes, gsize n, struct cs_elf *e)
{
  struct cs_inode i = { .source = CS_SRC_MEMORY, .size = n, .bytes = (char *) bytes };
  return cs_elf_read (-1, &i, e);
}

static void
test_elf (void **state)
{
  struct image m;
  struct cs_elf e;
  make_elf (&m);
  assert_int_equal (read_bytes (&m, sizeof m, &e), CS_ELF_OK);
  assert_true (e.is64 && e.is_dynamic && e.is_pie && e.type == CS_ELF_DYN);
  assert_string_equal (e.interp, "/lib64/ld.so");
  assert_string_equal (e.runpath, "$ORIGIN/../lib:/opt");
  assert_string_equal (e.soname, "me.so");
  assert_null (e.rpath);
  assert_int_equal (e.needed->len, 2);
  assert_string_equal (e.needed->pdata[1], "libtwo.so");
  cs_elf_clear (&e);
  assert_int_equal (read_bytes ("#!/bin/sh\n", 10, &e), CS_ELF_NONE);
  assert_int_equal (read_bytes (ELFMAG, 4, &e), CS_ELF_NONE);
  make_elf (&m);
  m.e.e_ident[EI_CLASS] = ELFCLASS32;
  assert_int_equal (read_bytes (&m, sizeof m, &e), CS_ELF_OK);
  assert_false (e.is64);
  cs_elf_clear (&e);
  make_elf (&m);
  m.e.e_phnum = 0; /* static, and with nothing at all */
  assert_int_equal (read_bytes (&m, sizeof m, &e), CS_ELF_OK);
  assert_false (e.is_dynamic);
  cs_elf_clear (&e);
}

/* Every byte wrong in several ways, and every length: never a fault, always an answer. */
static void
test_elf_damaged (void **state)
{
  static const guint8 values[] = { 0, 1, 0x7f, 0x80, 0xff };
  struct image m;
  struct cs_elf e;
  for (gsize at = 4; at < sizeof m; at++)
    for (guint k = 0; k < G_N_ELEMENTS (values); k++) {
      make_elf (&m);
      ((guint8 *) &m)[at] = values[k];
      int kind = read_bytes (&m, sizeof m, &e);
      assert_true (kind == CS_ELF_OK || kind == CS_ELF_DAMAGED);
      cs_elf_clear (&e);
    }
  for (gsize n = 0; n < sizeof m; n++) {
    make_elf (&m);
    g_autofree char *copy = g_memdup2 (&m, MAX (n, 1u)); /* so that a byte too far is found */
    read_bytes (copy, n, &e);
    cs_elf_clear (&e);
  }
}

static void
put32 (guint8 *p, guint32 v)
{
  v = GUINT32_TO_LE (v);
  memcpy (p, &v, 4);
}

static void
test_cache (void **state)
{
  guint8 c[200] = "glibc-ld.so.cache1.1";
  put32 (c + 20, 3);
  for (guint k = 0; k < 3; k++) {
    put32 (c + 48 + k * 24, k == 0 ? 0x0003 : 0x0303); /* the first is of another machine */
    put32 (c + 52 + k * 24, 120);
    put32 (c + 56 + k * 24, 130 + k * 20);
  }
  c[48 + 24 + 23] = 0x40; /* the second is for some CPUs only */
  memcpy (c + 120, "libx.so", 8);
  memcpy (c + 130, "/32/libx.so", 12);
  memcpy (c + 150, "/hw/libx.so", 12);
  memcpy (c + 170, "/lib/libx.so", 13);
  g_autofree char *found = cs_ld_cache_find (c, sizeof c, "libx.so");
  assert_string_equal (found, "/lib/libx.so");
  assert_null (cs_ld_cache_find (c, sizeof c, "liby.so"));
  for (gsize n = 0; n < sizeof c; n++) {
    g_autofree guint8 *copy = g_memdup2 (c, MAX (n, 1u));
    g_autofree char *any = cs_ld_cache_find (copy, n, "libx.so");
    assert_true (!any || *any == '/');
  }
  for (gsize at = 20; at < 120; at++) {
    g_autofree guint8 *copy = g_memdup2 (c, sizeof c);
    copy[at] = 0xff;
    g_autofree char *any = cs_ld_cache_find (copy, sizeof c, "libx.so");
    assert_true (!any || *any == '/');
  }
  /* behind an older cache */
  guint8 both[232] = "ld.so-1.7.0";
  put32 (both + 12, 1); /* one entry of 12 bytes behind 16 */
  memcpy (both + 32, c, sizeof c);
  g_autofree char *behind = cs_ld_cache_find (both, sizeof both, "libx.so");
  assert_string_equal (behind, "/lib/libx.so");
  put32 (both + 12, G_MAXUINT32);
  assert_null (cs_ld_cache_find (both, sizeof both, "libx.so"));
}

static void
test_cmdline (void **state)
{
  static const struct { const char *cmdline, *want; } cases[] = {
    { "/x a b", "/x" }, { "--env=A=\\ b --cwd=/y /x; /y &z&! \"/a b\" c! /e", "/x|/y|z|/a b|/e" },
    { "", "" }, { ";;", "" }, { "$X a; /y", "/y" }, { "/x \"; /no\" ; /y", "/x|/y" },
    { "\"/a\\\"b\"", "/a\"b" }, { "/x\\tab", "/x\tab" }, { "\"open", "open" },
  };
  for (guint k = 0; k < G_N_ELEMENTS (cases); k++) {
    g_autoptr (GPtrArray) p = cs_cmdline_programs (cases[k].cmdline);
    g_ptr_array_add (p, NULL);
    g_autofree char *all = g_strjoinv ("|", (char **) p->pdata);
    assert_string_equal (all, cases[k].want);
  }
  const char *line = "--cwd=/a --env=PATH=/x\\ y --env=PATHS=no --cwd=/b\\\\ /app --cwd=/c";
  g_autofree char *cwd = cs_cmdline_option (line, "cwd");
  g_autofree char *path = cs_cmdline_option (line, "env=PATH");
  assert_string_equal (cwd, "/b\\");
  assert_string_equal (path, "/x y");
  assert_null (cs_cmdline_option (line, "env=NO"));
}

static void
test_follow (void **state)
{
  g_autoptr (cs_tree) t = cs_tree_new ();
  assert_true (cs_tree_put_bytes (t, "/usr/lib/x", "x", 1, 0644, NULL));
  assert_true (cs_tree_put_symlink (t, "/lib", "usr/lib", NULL));
  assert_true (cs_tree_put_symlink (t, "/usr/up", "../../../lib/./x", NULL));
  assert_true (cs_tree_put_symlink (t, "/loop", "/loop", NULL));
  assert_true (cs_tree_put_symlink (t, "/none", "/nothere", NULL));
  g_autofree char *a = NULL, *b = NULL;
  assert_non_null (cs_tree_follow (t, "/lib/x", &a));
  assert_string_equal (a, "/usr/lib/x");
  assert_ptr_equal (cs_tree_follow (t, "/usr/up", &b), cs_tree_lookup (t, "/usr/lib/x"));
  assert_string_equal (b, "/usr/lib/x");
  assert_null (cs_tree_follow (t, "/loop", NULL));
  assert_null (cs_tree_follow (t, "/none", NULL));
  assert_null (cs_tree_follow (t, "/usr/lib/x/y", NULL));
  assert_ptr_equal (cs_tree_follow (t, "/..", NULL), t->root);
}

/* Deeper than the stack would like: an error, not a crash. */
static void
test_depth (void **state)
{
  g_autoptr (cs_tree) t = cs_tree_new ();
  g_autoptr (GString) path = g_string_new (NULL);
  g_autoptr (GError) e = NULL;
  for (int k = 0; k < 100000; k++)
    g_string_append (path, "/d");
  assert_false (cs_tree_put_bytes (t, path->str, "x", 1, 0644, &e));
  assert_non_null (strstr (e->message, "nested deeper"));
  g_clear_error (&e);
  int fd = AT_FDCWD;
  for (int k = 0; k < CS_TREE_DEPTH + 10; k++) {
    assert_int_equal (mkdirat (fd, "d", 0755), 0);
    int next = openat (fd, "d", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd != AT_FDCWD)
      close (fd);
    fd = next;
  }
  close (fd);
  g_autoptr (cs_tree) scanned = cs_tree_new ();
  assert_false (cs_tree_scan (scanned, "/", "d", NULL, &e));
  assert_non_null (strstr (e->message, "nested deeper"));
  assert_true (cs_rmtree ("d", NULL));
}

/* A library of the tree that needs itself, a script that names itself: it ends. */
static void
test_circles (void **state)
{
  struct image m;
  g_autoptr (cs_tree) t = cs_tree_new ();
  make_elf (&m);
  assert_true (cs_tree_put_bytes (t, "/app", &m, sizeof m, 0755, NULL));
  assert_true (cs_tree_put_bytes (t, "/usr/lib/libone.so", &m, sizeof m, 0755, NULL));
  assert_true (cs_tree_put_bytes (t, "/opt/libtwo.so", &m, sizeof m, 0755, NULL));
  assert_true (cs_tree_put_bytes (t, "/lib64/ld.so", &m, sizeof m, 0755, NULL));
  assert_true (cs_tree_put_bytes (t, "/script", "#!/script\n", 10, 0755, NULL));
  assert_true (cs_libs_check (t, "osv", "/app", FALSE, NULL, NULL));
  assert_true (cs_libs_check (t, "linux", "/app; /script", FALSE, NULL, NULL));
}

int
main (void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test (test_glob), cmocka_unit_test (test_expand), cmocka_unit_test (test_ignore),
    cmocka_unit_test (test_elf), cmocka_unit_test (test_elf_damaged),
    cmocka_unit_test (test_cache), cmocka_unit_test (test_cmdline),
    cmocka_unit_test (test_follow), cmocka_unit_test (test_depth),
    cmocka_unit_test (test_circles),
  };
  return cmocka_run_group_tests (tests, NULL, NULL);
}
