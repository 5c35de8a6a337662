/* Entry, dispatch, errors printed once. SPDX-License-Identifier: BSD-3-Clause */
#include "config.h"
#include "core/cli/cli.h"
#include "core/base/error.h"
#include "core/plugin/loader.h"
#include "core/repo/repo.h"
#include <errno.h>
#include <fcntl.h>
#include <locale.h>
#ifdef CAPSTAN_STATIC_PLUGINS
#include <ltdl.h>
#endif
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { OWN_FAILURE = 125 }; /* of capstan itself, in commands that return another's status */

static int
fail_with (const struct cs_cmd *cmd, GError *err)
{
  cs_print_error (err->message);
  int st = cs_exit_status (err);
  g_error_free (err);
  return cmd != NULL && cmd->app_status ? OWN_FAILURE : st;
}

/* What the original had and nobody has made a plugin of yet. */
static gboolean
not_a_later_hypervisor (const char *name, GError **err)
{
  static const char *const later[] = { "vmw", "gce", "hkit", NULL };
  if (name == NULL || !g_strv_contains (later, name) ||
      cs_plugin_find ("hypervisor", name) != NULL)
    return TRUE;
  return cs_fail (err, CS_E_USAGE, "--hypervisor %s is not supported yet: capstan plugin "
                  "list shows those that are there", name);
}

/* Options that only some commands know must not be passed over in silence. */
static gboolean
refuse_unused (const struct cs_cli *cli, GError **err)
{
  static const char *const repo_opts[] = { "repo", "repo-type", "u", "release-tag", "s3" };
  for (guint i = 0; i < G_N_ELEMENTS (repo_opts) && !cli->cmd->uses_repo; i++)
    if (cs_cli_given (cli, repo_opts[i]))
      return cs_fail (err, CS_E_USAGE, "%s%s: capstan %s asks no repository",
                      strlen (repo_opts[i]) > 1 ? "--" : "-", repo_opts[i], cli->cmd->name);
  return not_a_later_hypervisor (cs_cli_str (cli, "hypervisor"), err);
}

static int
run (int argc, char **argv)
{
  GError *err = NULL;
  struct cs_cli *cli = cs_cli_parse (argc, argv, &err);
  if (cli->failed) {
    int bad = fail_with (cli->cmd, err);
    cs_cli_free (cli);
    return bad;
  }
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
  struct cs_repo_choice choice;
  cs_cli_repo_choice (cli, &choice);
  cs_pull_choice (&choice);
  cs_store_on_missing (cs_pull_missing);
  int st;
  if (refuse_unused (cli, &err) && cmd->run (cli, &err))
    st = cli->exit_status;
  else
    st = fail_with (cmd, err);
  cs_cli_free (cli);
  return st;
}

/* If one of 0, 1, 2 is closed, a file opened later would get its number, and our output
 * would go into an image. Read-only, so that writing to it is an error. */
static void
open_standard_fds (void)
{
  for (int fd = 0; fd < 3; fd++)
    if (fcntl (fd, F_GETFD) < 0 && open ("/dev/null", O_RDONLY) < 0)
      _exit (OWN_FAILURE);
}

int
main (int argc, char **argv)
{
  open_standard_fds ();
  setlocale (LC_CTYPE, "");
  signal (SIGPIPE, SIG_IGN);
#ifdef CAPSTAN_STATIC_PLUGINS
  LTDL_SET_PRELOADED_SYMBOLS ();
#endif
  int st = run (argc, argv);
  /* A full disk is found here at the latest. Who closed a pipe wanted no more of it. */
  errno = 0;
  gboolean before = ferror (stdout) != 0;
  if ((fclose (stdout) != 0 || before) && errno != EPIPE) {
    fprintf (stderr, "capstan: write to standard output: %s\n",
             errno != 0 ? g_strerror (errno) : "failed");
    return st != 0 ? st : 1;
  }
  return st;
}
