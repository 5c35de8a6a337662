/* The command line as the init of the Linux base reads it. SPDX-License-Identifier: BSD-3-Clause */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <glib.h>
#include <stdlib.h>
#include <string.h>
#include "bases/linux/cmdline.h"

/* Every command as [word][word] and its end. */
static char *
show (const char *text)
{
  struct command *c = NULL;
  char err[256] = "";
  int n = commands_parse (text, &c, err, sizeof err);
  if (n < 0)
    return g_strdup_printf ("error: %s", err);
  GString *s = g_string_new ("");
  for (int i = 0; i < n; i++) {
    for (char **w = c[i].argv; *w != NULL; w++) {
      g_string_append_printf (s, "[%s]", *w);
      free (*w);
    }
    g_string_append_c (s, c[i].end);
    free (c[i].argv);
  }
  free (c);
  return g_string_free (s, FALSE);
}

static void
commands (void **state)
{
  (void) state;
  static const char *const cases[][2] = {
    { "", "" },
    { "   ", "" },
    { "/hello", "[/hello];" },
    { "  /hello  world ", "[/hello][world];" },
    { "/a \"two words\" b", "[/a][two words][b];" },
    { "/a \"\" b", "[/a][][b];" },
    { "/a x\"y\"", "[/a][x\"y\"];" }, /* a quote inside a word is itself */
    { "/a 'x y'", "[/a]['x][y'];" },  /* ' is literal */
    { "/a x\ty", "[/a][x\ty];" },     /* only the space parts words */
    { "/a x\ny", "[/a][x\ny];" },
    { "/a x\\ty\\n", "[/a][x\ty\n];" },
    { "/a \"x\\\"y\\\\\"", "[/a][x\"y\\];" },
    { "/a x\\\"y", "[/a][x\"y];" },
    { "/a x\\ y", "[/a][x\\][y];" }, /* `\ ` and `\;` are no escapes */
    { "/a x\\;y", "[/a][x\\];[y];" },
    { "/a x\\qy", "[/a][x\\qy];" },
    { "/a x\\", "[/a][x\\];" },
    { "/a; /b", "[/a];[/b];" },
    { "/a;/b;", "[/a];[/b];" },
    { "/a & /b", "[/a]&[/b];" },
    { "/a &! /b", "[/a]T[/b];" },
    { "/a ! /b", "[/a]![/b];" },
    { "/a \"; & !\"", "[/a][; & !];" },
    { "/a;; /b", "[/a];[/b];" },
    { "/a -x --y=1", "[/a][-x][--y=1];" }, /* options after the application are its own */
    { "/a $CS_T", "[/a][v w];" },
    { "/a pre$CS_T", "[/a][prev w];" },
    { "/a ${CS_T} $CS_T/x", "[/a][][];" }, /* the name is the rest of the word */
    { "/a $CS_NONE x", "[/a][][x];" },
    { "/a \xc3\xa4", "[/a][\xc3\xa4];" },
    { "/a \"open", "error: command line: the quote before 'open' is not closed" },
  };
  setenv ("CS_T", "v w", 1);
  unsetenv ("CS_NONE");
  for (size_t i = 0; i < G_N_ELEMENTS (cases); i++) {
    g_autofree char *got = show (cases[i][0]);
    assert_string_equal (got, cases[i][1]);
  }
}

static void
options (void **state)
{
  (void) state;
  struct options o = { 0 };
  const char *rest = NULL;
  char err[256] = "";
  assert_int_equal (
    options_parse ("--env=A=b\\ c\t--env=D=\\\\e --cwd=/x\n--ip=eth0,1.2.3.4,255.0.0.0 "
                   "--ip=eth1,1.2.3.5,255.0.0.0 --defaultgw=1.2.3.1 --nameserver=1.1.1.1 "
                   "--redirect=>>/log --verbose --nopci --rootfs=rofs  /a --env=no",
                   &o, &rest, err, sizeof err), 0);
  assert_string_equal (rest, "/a --env=no");
  assert_int_equal (o.n_env, 2);
  assert_string_equal (o.env[0], "A=b c");
  assert_string_equal (o.env[1], "D=\\e");
  assert_int_equal (o.n_ip, 2);
  assert_string_equal (o.ip[1], "eth1,1.2.3.5,255.0.0.0");
  assert_string_equal (o.cwd, "/x");
  assert_string_equal (o.gateway, "1.2.3.1");
  assert_string_equal (o.nameserver, "1.1.1.1");
  assert_string_equal (o.redirect, ">>/log");
  assert_true (o.verbose);
  assert_int_equal (o.n_ignored, 2);
  assert_string_equal (o.ignored[1], "rootfs");
}

static void
option_words (void **state)
{
  (void) state;
  struct options o = { 0 };
  const char *rest = NULL;
  char err[256] = "";
  /* quotes mean nothing: the rest becomes the command */
  assert_int_equal (options_parse ("--env=\"A=a b\" /x", &o, &rest, err, sizeof err), 0);
  assert_string_equal (rest, "b\" /x");
  /* neither do separators */
  assert_int_equal (options_parse ("--env=A=1;2&3! /x", &o, &rest, err, sizeof err), 0);
  assert_string_equal (o.env[1], "A=1;2&3!");
  assert_int_equal (options_parse ("", &o, &rest, err, sizeof err), 0);
  assert_string_equal (rest, "");
}

static void
wrong_options (void **state)
{
  (void) state;
  static const char *const bad[] = {
    "--nonsense /a", "-x /a", "-env=A=b /a", "--env A=b", "--env= /a", "--env=A /a",
    "--env==b /a", "--cwd /x", "--cwd= /x", "--verbose=1 /a", "--nopci=1 /a", "--rootfs /a",
    "--rootfs= /a", "--ip=eth0 /a", "-- /a", "- /a"
  };
  for (size_t i = 0; i < G_N_ELEMENTS (bad); i++) {
    struct options o = { 0 };
    const char *rest = NULL;
    char err[256] = "";
    if (options_parse (bad[i], &o, &rest, err, sizeof err) == 0)
      fail_msg ("accepted: %s", bad[i]);
    assert_non_null (strstr (err, "option"));
  }
}

int
main (void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test (commands), cmocka_unit_test (options),
    cmocka_unit_test (option_words), cmocka_unit_test (wrong_options)
  };
  return cmocka_run_group_tests (tests, NULL, NULL);
}
