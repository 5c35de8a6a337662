/* Entry, dispatch, errors printed once. SPDX-License-Identifier: BSD-3-Clause */
#include "config.h"
#include "core/cli/cli.h"
#include "core/base/error.h"
#include <errno.h>
#include <locale.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

enum { OWN_FAILURE = 125 }; /* of capstan itself, in commands that return another's status */

static int
fail_with (const struct cs_cmd *cmd, GError *err)
{
  cs_print_error (err->message);
  int st = cs_exit_status (err);
  g_error_free (err);
  return cmd != NULL && cmd->app_status ? OWN_FAILURE : st;
}

/* Options that only some commands know must not be passed over in silence. */
static gboolean
refuse_unused (const struct cs_cli *cli, GError **err)
{
  static const char *const repo_opts[] = { "repo", "u", "release-tag", "s3" };
  for (guint i = 0; i < G_N_ELEMENTS (repo_opts); i++)
    if (cs_cli_given (cli, repo_opts[i]))
      return cs_fail (err, CS_E_USAGE, "%s%s: repositories are not supported yet",
                      strlen (repo_opts[i]) > 1 ? "--" : "-", repo_opts[i]);
  return TRUE;
}

static int
run (int argc, char **argv)
{
  GError *err = NULL;
  struct cs_cli *cli = cs_cli_parse (argc, argv, &err);
  if (cli->failed)
    return fail_with (cli->cmd, err);
  if (cs_cli_flag (cli, "quiet"))
    cs_verbosity = CS_QUIET;
  else if (cs_cli_flag (cli, "verbose"))
    cs_verbosity = CS_VERBOSE;
  if (cli->version || (cli->cmd == NULL && cs_cli_flag (cli, "verbose"))) {
    puts ("capstan version " PACKAGE_VERSION);
    if (cs_verbosity == CS_VERBOSE)
      fputs ("plugins and parts:\n" CAPSTAN_BUILT_PLUGINS, stdout);
    cs_cli_free (cli);
    return 0;
  }
  const struct cs_cmd *cmd = cli->cmd;
  if (cmd == NULL || cs_cli_flag (cli, "help") || cmd->run == NULL) {
    gboolean asked = cs_cli_flag (cli, "help");
    if (cmd == NULL)
      cs_help_overview ();
    else
      cs_help_command (cmd, cli->parent);
    cs_cli_free (cli);
    return asked ? 0 : 2;
  }
  int st;
  if (refuse_unused (cli, &err) && cmd->run (cli, &err))
    st = cli->exit_status;
  else
    st = fail_with (cmd, err);
  cs_cli_free (cli);
  return st;
}

int
main (int argc, char **argv)
{
  setlocale (LC_CTYPE, "");
  signal (SIGPIPE, SIG_IGN);
  int st = run (argc, argv);
  if ((fflush (stdout) != 0 || ferror (stdout)) && errno != EPIPE) {
    fprintf (stderr, "capstan: write to standard output: %s\n", g_strerror (errno));
    return st != 0 ? st : 1;
  }
  return st;
}
