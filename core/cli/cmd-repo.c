/* capstan repo. SPDX-License-Identifier: BSD-3-Clause */
#include "config.h"
#include "core/base/cancel.h"
#include "core/base/error.h"
#include "core/base/util.h"
#include "core/cli/cmd.h"
#include "core/plugin/rp.h"
#include "core/repo/repo.h"
#include <jansson.h>
#include <stdio.h>
#include <string.h>

/* ---- add, list, show, remove: config.yaml ---- */

/* What is said is tried at once: the URL, the plugin, its options; no server is asked. */
static gboolean
run_add (struct cs_cli *cli, GError **err)
{
  static const char *const direct[] = { "endpoint", "region", "ca" };
  struct cs_repo_conf *c = g_new0 (struct cs_repo_conf, 1);
  const char *name = cs_cli_arg (cli, 0);
  const char *const *more = cs_cli_list (cli, "option");
  c->url = g_strdup (cs_cli_arg (cli, 1));
  c->type = g_strdup (cs_cli_str (cli, "repo-type"));
  c->options = g_new0 (char *, 1);
  for (guint i = 0; i < G_N_ELEMENTS (direct); i++)
    if (cs_cli_given (cli, direct[i]))
      cs_repo_conf_set (c, direct[i], cs_cli_str (cli, direct[i]));
  gboolean ok = TRUE;
  for (; ok && *more != NULL; more++) {
    g_auto (GStrv) kv = g_strsplit (*more, "=", 2);
    ok = kv[0] != NULL && kv[1] != NULL && *kv[0] != '\0';
    if (ok)
      cs_repo_conf_set (c, kv[0], kv[1]);
    else
      cs_fail (err, CS_E_USAGE, "--option %s: expected KEY=VALUE", *more);
  }
  g_autoptr (cs_repo) r = ok ? cs_repo_open (c, 0, err) : NULL;
  ok = r != NULL && cs_repo_conf_save (name, c, err);
  if (ok)
    cs_info ("%s is %s", name, c->url);
  cs_repo_conf_free (c);
  return ok;
}

static const struct cs_opt add_opts[] = {
  { .name = "endpoint", .type = CS_OPT_STRING, .arg = "URL", .help = "server of an S3 bucket" },
  { .name = "region", .type = CS_OPT_STRING, .arg = "REGION", .help = "region of an S3 bucket" },
  { .name = "ca", .type = CS_OPT_STRING, .arg = "FILE", .comp = CS_COMP_FILE,
    .help = "certificates to trust, instead of the system's" },
  { .name = "option", .type = CS_OPT_LIST, .arg = "KEY=VALUE",
    .help = "any option of the plugin (capstan plugin info); repeatable" },
  { .name = NULL } };
static const struct cs_cmd cmd_add = { .name = "add", .args = "NAME URL", .min_args = 2, .max_args = 2,
  .summary = "Give a repository a name", .opts = add_opts, .uses_repo = TRUE, .run = run_add,
  .text = "Keeps a repository under a name in config.yaml, for --repo. Passwords do not belong there: "
          "~/.capstan/credentials, netrc and the environment are for those.",
  .examples = "capstan repo add lab https://images.lab.example/ --ca /etc/ssl/lab.pem\n"
              "capstan repo add bucket s3://bucket/images --endpoint https://s3.lab.example" };

static json_t *
conf_json (const struct cs_repo_conf *c)
{
  json_t *o = json_pack ("{s:s, s:s, s:s?}", "name", c->name, "url", c->url, "type", c->type);
  json_t *options = json_object ();
  for (char **k = c->options; *k != NULL; k++) {
    g_auto (GStrv) kv = g_strsplit (*k, "=", 2);
    json_object_set_new (options, kv[0], json_string (kv[1]));
  }
  json_object_set_new (o, "options", options);
  return o;
}

static gboolean
run_list (struct cs_cli *cli, GError **err)
{
  g_autoptr (GPtrArray) all = cs_repo_confs (err);
  json_t *a = cs_cli_flag (cli, "json") ? json_array () : NULL;
  for (guint i = 0; all != NULL && i < all->len; i++) {
    const struct cs_repo_conf *c = g_ptr_array_index (all, i);
    if (a != NULL)
      json_array_append_new (a, conf_json (c));
    else
      printf ("%-16s %s\n", c->name, c->url);
  }
  if (all != NULL && a != NULL)
    return cs_print_json (a, err);
  json_decref (a);
  return all != NULL;
}

static const struct cs_opt json_opts[] = {
  { .name = "json", .type = CS_OPT_FLAG, .help = "print JSON" }, { .name = NULL } };
static const struct cs_cmd cmd_list = { .name = "list", .args = "", .summary = "List the repositories",
  .opts = json_opts, .run = run_list, .text = "Lists the repositories that have a name." };

static gboolean
run_show (struct cs_cli *cli, GError **err)
{
  struct cs_repo_choice choice = { .repo = cs_cli_arg (cli, 0) };
  g_autoptr (GPtrArray) one = cs_repo_choose (&choice, err);
  if (one == NULL || one->len == 0)
    return one != NULL ? cs_fail (err, CAPSTAN_E_NOTFOUND, "there is no repository 'none'") : FALSE;
  const struct cs_repo_conf *c = g_ptr_array_index (one, 0);
  struct cs_plugin *p = cs_rp_find (c->url, c->type, err);
  if (p == NULL)
    return FALSE;
  printf ("url          %s\nplugin       %s\n", c->url, p->name);
  for (char **k = c->options; *k != NULL; k++) {
    g_auto (GStrv) kv = g_strsplit (*k, "=", 2);
    printf ("%-12s %s\n", kv[0], kv[1]);
  }
  return TRUE;
}
static const struct cs_cmd cmd_show = { .name = "show", .args = "NAME|URL", .min_args = 1, .max_args = 1,
  .summary = "Show a repository", .comp = CS_COMP_REPO, .run = run_show,
  .text = "Shows what is kept of a repository, and which plugin serves it." };

static gboolean
run_remove (struct cs_cli *cli, GError **err)
{
  return cs_repo_conf_save (cs_cli_arg (cli, 0), NULL, err);
}
static const struct cs_cmd cmd_remove = { .name = "remove", .args = "NAME", .min_args = 1, .max_args = 1,
  .summary = "Forget the name of a repository", .comp = CS_COMP_REPO, .run = run_remove,
  .text = "Takes the repository out of config.yaml. Nothing in the repository itself is touched." };

/* ---- rm, index: what lies in a repository ---- */

static gboolean
run_rm (struct cs_cli *cli, GError **err)
{
  const char *name = cs_cli_arg (cli, 0);
  cs_cancel_on_signals ();
  g_autoptr (cs_repo) r =
      cs_name_check ("image name", name, TRUE, err) ? cs_cli_repo_open (cli, TRUE, err) : NULL;
  if (r == NULL || !cs_repo_remove (r, name, err))
    return FALSE;
  cs_info ("removed %s from %s", name, cs_repo_url (r));
  return TRUE;
}
static const struct cs_cmd cmd_rm = { .name = "rm", .args = "NAME", .min_args = 1, .max_args = 1,
  .summary = "Remove an image from a repository", .uses_repo = TRUE, .run = run_rm,
  .text = "Removes the image NAME from the repository that --repo or config.yaml names. The store "
          "here stays as it is.", .examples = "capstan repo rm --repo lab app" };

static gboolean
run_index (struct cs_cli *cli, GError **err)
{
  const char *dir = cs_cli_arg (cli, 0);
  guint entries, hashed;
  cs_cancel_on_signals ();
  if (!cs_repo_index (dir, &entries, &hashed, err))
    return FALSE;
  cs_info ("%s: %u names, %u image files read anew", dir, entries, hashed);
  return TRUE;
}
static const struct cs_cmd cmd_index = { .name = "index", .args = "DIR", .min_args = 1, .max_args = 1,
  .summary = "Make a folder a repository for a web server", .comp = CS_COMP_DIR, .run = run_index,
  .text = "DIR holds images as a repository does: NAME/LAST.SUFFIX, or with .gz or .zst, where LAST is "
          "the last part of NAME; that is how they lie in ~/.capstan/repository. Their digests are written "
          "into each index.yaml, and a listing into DIR/index.html, which a web server shows for the "
          "folder: so capstan search works without any program on the server. To be run again after "
          "each change by hand; capstan push keeps both up to date by itself.",
  .examples = "capstan repo index /srv/www/images" };

static const struct cs_cmd *const subs[] = { &cmd_add, &cmd_list, &cmd_show, &cmd_remove, &cmd_rm,
                                             &cmd_index, NULL };
const struct cs_cmd cs_cmd_repo = { .name = "repo", .args = "", .summary = "Repositories and what lies in them",
  .sub = subs };
