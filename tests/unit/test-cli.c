/* The parser of command lines. SPDX-License-Identifier: BSD-3-Clause */
#include "config.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>
#include "core/base/error.h"
#include "core/cli/cli.h"

/* One line, words parted by blanks. */
static struct cs_cli *
parse (const char *line, GError **err)
{
  g_autofree char *whole = g_strconcat ("capstan ", line, NULL);
  g_auto (GStrv) words = g_strsplit (whole, " ", 0);
  return cs_cli_parse ((int) g_strv_length (words), words, err);
}

static struct cs_cli *
good (const char *line)
{
  g_autoptr (GError) e = NULL;
  struct cs_cli *cli = parse (line, &e);
  if (cli->failed)
    fail_msg ("%s: %s", line, e->message);
  return cli;
}

static void
bad (const char *line, const char *text)
{
  g_autoptr (GError) e = NULL;
  struct cs_cli *cli = parse (line, &e);
  if (!cli->failed || e == NULL)
    fail_msg ("%s: accepted", line);
  if (strstr (e->message, text) == NULL)
    fail_msg ("%s: '%s' does not say '%s'", line, e->message, text);
  assert_int_equal (cs_exit_status (e), 2);
  cs_cli_free (cli);
}

static void
spellings (void **state)
{
  static const char *const lines[] = {
    "build --file x n", "build -file x n", "build --file=x n", "build -file=x n",
    "build -f x n", "build --f x n", "build n -f x", "build n --file=x",
    "build -file z n -file x", NULL };
  for (guint i = 0; lines[i] != NULL; i++) {
    struct cs_cli *cli = good (lines[i]);
    assert_string_equal (cli->cmd->name, "build");
    assert_string_equal (cs_cli_str (cli, "file"), "x");
    assert_string_equal (cs_cli_arg (cli, 0), "n");
    assert_null (cs_cli_arg (cli, 1));
    cs_cli_free (cli);
  }
}

static void
flags (void **state)
{
  static const struct { const char *line; gboolean on; } t[] = {
    { "build --force", TRUE }, { "build -force", TRUE }, { "build --force=true", TRUE },
    { "build --force=1", TRUE }, { "build --force=false", FALSE },
    { "build --force=F", FALSE }, { "build", FALSE }, { "build --force --force=0", FALSE } };
  for (guint i = 0; i < G_N_ELEMENTS (t); i++) {
    struct cs_cli *cli = good (t[i].line);
    assert_int_equal (cs_cli_flag (cli, "force"), t[i].on);
    cs_cli_free (cli);
  }
  bad ("build --force=maybe", "true or false");
}

static void
globals (void **state)
{
  static const char *const lines[] = { "-p null images", "images -p null",
                                       "--hypervisor=null images", "images -hypervisor null" };
  for (guint i = 0; i < G_N_ELEMENTS (lines); i++) {
    struct cs_cli *cli = good (lines[i]);
    assert_string_equal (cs_cli_hypervisor (cli), "null");
    cs_cli_free (cli);
  }
  /* The same letter: before the command it is the global one, after it the command's. */
  struct cs_cli *cli = good ("-v import -v 1.2 a b");
  assert_true (cs_cli_flag (cli, "verbose"));
  assert_string_equal (cs_cli_str (cli, "v"), "1.2");
  cs_cli_free (cli);
  cli = good ("i");
  assert_string_equal (cli->cmd->name, "images");
  cs_cli_free (cli);
}

static void
the_end_of_options (void **state)
{
  struct cs_cli *cli = good ("build -- --force");
  assert_false (cs_cli_given (cli, "force"));
  assert_string_equal (cs_cli_arg (cli, 0), "--force");
  cs_cli_free (cli);
  cli = good ("rmi - x");
  assert_string_equal (cs_cli_arg (cli, 0), "-");
  cs_cli_free (cli);
}

static void
sub_commands (void **state)
{
  struct cs_cli *cli = good ("plugin list --json");
  assert_string_equal (cli->cmd->name, "list");
  assert_string_equal (cli->parent->name, "plugin");
  cs_cli_free (cli);
  bad ("plugin lst", "list");
}

static void
not_parsed (void **state)
{
  struct cs_cli *cli = good ("package compose --size 10G -- x");
  assert_int_equal (cli->args->len, 5);
  cs_cli_free (cli);
}

static void
wrong_lines (void **state)
{
  bad ("imgaes", "Did you mean 'images'?");
  bad ("nothing-like-it", "unknown command");
  bad ("build --frce", "Did you mean --force?");
  bad ("build --memory", "needs a value");
  bad ("build --memory 12Q", "--memory");
  bad ("build --format iso", "raw|qcow2");
  bad ("build a b", "too many");
  bad ("rmi", "too few");
  bad ("build --=x", "unknown option");
  bad ("build ---", "unknown option");
}

static void
sizes (void **state)
{
  struct cs_cli *cli = good ("build -m 64");
  assert_int_equal (cs_cli_num (cli, "memory"), 64 << 20);
  cs_cli_free (cli);
  cli = good ("build -m 1G -m 2G");
  assert_int_equal (cs_cli_num (cli, "memory"), G_GUINT64_CONSTANT (2) << 30);
  cs_cli_free (cli);
}

static void
check_table (const struct cs_opt *o, const char *cmd)
{
  for (const struct cs_opt *a = o; a != NULL && a->name != NULL; a++) {
    if (a->help == NULL || (a->type != CS_OPT_FLAG) != (a->arg != NULL) ||
        (a->type == CS_OPT_CHOICE) != (a->choices != NULL))
      fail_msg ("%s --%s: the table is not complete", cmd, a->name);
    for (const struct cs_opt *b = a + 1; b->name != NULL; b++)
      if (strcmp (a->name, b->name) == 0 ||
          (a->short_name != 0 && a->short_name == b->short_name))
        fail_msg ("%s: --%s and --%s are the same", cmd, a->name, b->name);
  }
}

static void
check_commands (const struct cs_cmd *const *t)
{
  for (; *t != NULL; t++) {
    check_table ((*t)->opts, (*t)->name);
    if ((*t)->summary == NULL || (*t)->args == NULL ||
        ((*t)->run == NULL) == ((*t)->sub == NULL))
      fail_msg ("%s: the table is not complete", (*t)->name);
    if ((*t)->sub != NULL)
      check_commands ((*t)->sub);
  }
}

static void
tables (void **state)
{
  check_table (cs_global_opts, "capstan");
  check_commands (cs_commands);
}

int
main (void)
{
  g_setenv ("CAPSTAN_HYPERVISOR", "other", TRUE);
  const struct CMUnitTest tests[] = {
    cmocka_unit_test (spellings), cmocka_unit_test (flags), cmocka_unit_test (globals),
    cmocka_unit_test (the_end_of_options), cmocka_unit_test (sub_commands),
    cmocka_unit_test (not_parsed), cmocka_unit_test (wrong_lines), cmocka_unit_test (sizes),
    cmocka_unit_test (tables) };
  return cmocka_run_group_tests (tests, NULL, NULL);
}
