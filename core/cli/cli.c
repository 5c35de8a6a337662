/* Parsing of command lines by the option tables. SPDX-License-Identifier: BSD-3-Clause */
#include "config.h"
#include "core/cli/cli.h"
#include "core/base/error.h"
#include "core/base/util.h"
#include "core/plugin/hv.h"
#include "core/store/store.h"
#include <string.h>

const struct cs_opt cs_global_opts[] = {
  { .short_name = 'p', .name = "hypervisor", .type = CS_OPT_STRING, .arg = "NAME",
    .comp = CS_COMP_HYPERVISOR,
    .help = "hypervisor plugin to use (kvm); 'qemu' is another name of kvm" },
  { .name = "repo", .type = CS_OPT_STRING, .arg = "NAME", .comp = CS_COMP_REPO,
    .help = "repository to use: a configured name or a URL" },
  { .name = "repo-type", .type = CS_OPT_STRING, .arg = "PLUGIN",
    .help = "plugin of the repository, where its URL does not say" },
  { .short_name = 'u', .name = "u", .type = CS_OPT_STRING, .arg = "URL",
    .help = "URL of the repository" },
  { .short_name = 'r', .name = "release-tag", .type = CS_OPT_STRING, .arg = "TAG",
    .help = "release of a GitHub repository: any, latest or a tag" },
  { .name = "s3", .type = CS_OPT_FLAG, .help = "use the S3 repository of the original" },
  { .short_name = 'q', .name = "quiet", .type = CS_OPT_FLAG, .help = "print errors only" },
  { .short_name = 'v', .name = "verbose", .type = CS_OPT_FLAG, .help = "say more" },
  { .short_name = 'h', .name = "help", .type = CS_OPT_FLAG, .help = "show help and exit" },
  { .name = NULL }
};

static gboolean
cmd_is (const struct cs_cmd *c, const char *word)
{
  return strcmp (c->name, word) == 0 || (c->alias != NULL && strcmp (c->alias, word) == 0);
}

const struct cs_cmd *
cs_cmd_find (const struct cs_cmd *const *table, const char *word)
{
  for (; *table != NULL; table++)
    if (cmd_is (*table, word))
      return *table;
  return NULL;
}

static const struct cs_opt *
find_in (const struct cs_opt *o, const char *name, gsize len, gboolean is_short)
{
  for (; o != NULL && o->name != NULL; o++) {
    if (is_short ? o->short_name == *name && len == 1
                 : strlen (o->name) == len && strncmp (o->name, name, len) == 0)
      return o;
    if (!is_short && o->alias != NULL && strlen (o->alias) == len &&
        strncmp (o->alias, name, len) == 0)
      return o;
  }
  return NULL;
}

/* Of the command first, so that its letters win over the global ones. */
static const struct cs_opt *
find_opt (const struct cs_cmd *cmd, const char *name, gsize len)
{
  const struct cs_opt *tables[] = { cmd != NULL ? cmd->opts : NULL, cs_global_opts };
  for (guint i = 0; i < 2; i++)
    for (int s = 0; s < 2; s++) {
      const struct cs_opt *o = find_in (tables[i], name, len, s == 1);
      if (o != NULL)
        return o;
    }
  return NULL;
}

static void
store_value (struct cs_cli *cli, const struct cs_opt *o, const char *value)
{
  GPtrArray *list = g_hash_table_lookup (cli->values, o->name);
  if (list == NULL) {
    list = g_ptr_array_new_with_free_func (g_free);
    g_ptr_array_add (list, NULL);
    g_hash_table_insert (cli->values, (gpointer) o->name, list);
  }
  if (o->type != CS_OPT_LIST)
    g_ptr_array_set_size (list, 0);
  else
    g_ptr_array_remove_index (list, list->len - 1);
  g_ptr_array_add (list, g_strdup (value));
  g_ptr_array_add (list, NULL); /* so that pdata is a string vector */
}

/* What Go's strconv.ParseBool takes; "true", "false" or NULL. */
static const char *
flag_value (const char *v)
{
  static const char *const yes[] = { "true", "1", "t", "T", "TRUE", "True", NULL };
  static const char *const no[] = { "false", "0", "f", "F", "FALSE", "False", NULL };
  return g_strv_contains (yes, v) ? "true" : g_strv_contains (no, v) ? "false" : NULL;
}

static gboolean
check_value (const struct cs_opt *o, const char *v, GError **err)
{
  guint64 n;
  char *end;
  const char *dashes = strlen (o->name) > 1 ? "--" : "-";
  switch (o->type) {
  case CS_OPT_FLAG:
    if (flag_value (v) != NULL)
      return TRUE;
    return cs_fail (err, CS_E_USAGE, "%s%s=%s: expected true or false", dashes, o->name, v);
  case CS_OPT_UINT:
    n = g_ascii_strtoull (v, &end, 10);
    if (*v >= '0' && *v <= '9' && *end == '\0' && n <= G_MAXUINT32)
      return TRUE;
    return cs_fail (err, CS_E_USAGE, "%s%s %s: expected a number", dashes, o->name, v);
  case CS_OPT_SIZE:
    if (cs_size_parse (v, 1 << 20, &n, err))
      return TRUE;
    g_prefix_error (err, "%s%s: ", dashes, o->name);
    if (err != NULL)
      (*err)->code = CS_E_USAGE;
    return FALSE;
  case CS_OPT_CHOICE: {
    g_auto (GStrv) c = g_strsplit (o->choices, "|", 0);
    if (g_strv_contains ((const char *const *) c, v))
      return TRUE;
    return cs_fail (err, CS_E_USAGE, "%s%s %s: expected one of %s", dashes, o->name, v,
                    o->choices);
  }
  default:
    return TRUE;
  }
}

static gboolean
unknown_option (const struct cs_cmd *cmd, const char *arg, GError **err)
{
  struct cs_suggestion s = { 0 };
  g_autofree char *word = g_strdup (arg + strspn (arg, "-"));
  word[strcspn (word, "=")] = '\0';
  const struct cs_opt *tables[] = { cmd != NULL ? cmd->opts : NULL, cs_global_opts };
  for (guint i = 0; i < 2; i++)
    for (const struct cs_opt *o = tables[i]; o != NULL && o->name != NULL; o++)
      cs_suggest (word, o->name, &s);
  g_autofree char *hint = s.best != NULL ? g_strdup_printf (" Did you mean --%s?", s.best)
                                         : g_strdup ("");
  return cs_fail (err, CS_E_USAGE, "unknown option %s.%s See: capstan %s%s--help", arg, hint,
                  cmd != NULL ? cmd->name : "", cmd != NULL ? " " : "");
}

/* argv[*i] is an option. Handles -x, --x, -name, --name, each with "=v" or the next word.
 * Letters are not bundled: "-it" is an option of that name, as in the original. */
static gboolean
parse_option (struct cs_cli *cli, const struct cs_cmd *cmd, int argc, char **argv, int *i,
              GError **err)
{
  const char *arg = argv[*i], *name = arg + (arg[1] == '-' ? 2 : 1);
  gsize len = strcspn (name, "=");
  const char *value = name[len] == '=' ? name + len + 1 : NULL;
  const struct cs_opt *o = find_opt (cmd, name, len);
  if (o == NULL)
    return unknown_option (cmd, arg, err);
  if (o->type == CS_OPT_FLAG) {
    if (value == NULL)
      value = "true";
  } else if (value == NULL) {
    if (*i + 1 >= argc)
      return cs_fail (err, CS_E_USAGE, "%s needs a value: %s %s", arg, arg, o->arg);
    value = argv[++*i];
  }
  if (!check_value (o, value, err))
    return FALSE;
  store_value (cli, o, o->type == CS_OPT_FLAG ? flag_value (value) : value);
  return TRUE;
}

static gboolean
unknown_command (const struct cs_cmd *const *table, const char *parent, const char *word,
                 GError **err)
{
  struct cs_suggestion s = { 0 };
  for (; *table != NULL; table++)
    if (!(*table)->hidden)
      cs_suggest (word, (*table)->name, &s);
  g_autofree char *q = cs_quote (word);
  return cs_fail (err, CS_E_USAGE, "unknown command %s%s%s.%s%s%s See: capstan help%s%s", parent,
                  *parent != '\0' ? " " : "", q,
                  s.best != NULL ? " Did you mean '" : "", s.best != NULL ? s.best : "",
                  s.best != NULL ? "'?" : "", *parent != '\0' ? " " : "", parent);
}

static gboolean
parse_words (struct cs_cli *cli, int argc, char **argv, GError **err)
{
  const struct cs_cmd *const *table = cs_commands;
  gboolean only_args = FALSE;
  for (int i = 1; i < argc; i++) {
    const char *a = argv[i];
    if (cli->cmd != NULL && cli->cmd->raw) {
      g_ptr_array_add (cli->args, g_strdup (a));
    } else if (!only_args && strcmp (a, "--") == 0) {
      only_args = TRUE;
    } else if (!only_args && a[0] == '-' && a[1] != '\0') {
      if (cli->cmd == NULL && (strcmp (a, "--version") == 0 || strcmp (a, "-version") == 0))
        cli->version = TRUE;
      else if (!parse_option (cli, cli->cmd, argc, argv, &i, err))
        return FALSE;
    } else if (table != NULL && (cli->cmd == NULL || cli->args->len == 0)) {
      const struct cs_cmd *c = cs_cmd_find (table, a);
      if (c == NULL && (cli->cmd == NULL || cli->cmd->run == NULL))
        return unknown_command (table, cli->cmd != NULL ? cli->cmd->name : "", a, err);
      if (c == NULL)
        g_ptr_array_add (cli->args, g_strdup (a));
      else {
        cli->parent = cli->cmd;
        cli->cmd = c;
      }
      table = c != NULL ? c->sub : NULL;
    } else {
      g_ptr_array_add (cli->args, g_strdup (a));
    }
  }
  return TRUE;
}

struct cs_cli *
cs_cli_parse (int argc, char **argv, GError **err)
{
  struct cs_cli *cli = g_new0 (struct cs_cli, 1);
  cli->prog = "capstan";
  cli->args = g_ptr_array_new_with_free_func (g_free);
  cli->values = g_hash_table_new_full (g_str_hash, g_str_equal, NULL,
                                       (GDestroyNotify) g_ptr_array_unref);
  if (!parse_words (cli, argc, argv, err)) {
    cli->failed = TRUE;
    return cli;
  }
  const struct cs_cmd *c = cli->cmd;
  if (c == NULL || cs_cli_flag (cli, "help") || c->run == NULL)
    return cli;
  if ((int) cli->args->len < c->min_args ||
      (c->max_args >= 0 && (int) cli->args->len > c->max_args)) {
    cli->failed = TRUE;
    cs_fail (err, CS_E_USAGE, "%s arguments. Usage: capstan %s%s%s %s",
             (int) cli->args->len < c->min_args ? "too few" : "too many",
             cli->parent != NULL ? cli->parent->name : "", cli->parent != NULL ? " " : "",
             c->name, c->args);
  }
  return cli;
}

void
cs_cli_free (struct cs_cli *cli)
{
  if (cli == NULL)
    return;
  g_ptr_array_unref (cli->args);
  g_hash_table_unref (cli->values);
  g_free (cli);
}

static const struct cs_opt *
opt_of (const struct cs_cli *cli, const char *name)
{
  const struct cs_opt *o =
      cli->cmd != NULL ? find_in (cli->cmd->opts, name, strlen (name), FALSE) : NULL;
  return o != NULL ? o : find_in (cs_global_opts, name, strlen (name), FALSE);
}

gboolean
cs_cli_given (const struct cs_cli *cli, const char *name)
{
  return g_hash_table_contains (cli->values, name);
}

const char *
cs_cli_str (const struct cs_cli *cli, const char *name)
{
  GPtrArray *l = g_hash_table_lookup (cli->values, name);
  if (l != NULL)
    return g_ptr_array_index (l, 0);
  const struct cs_opt *o = opt_of (cli, name);
  return o != NULL ? o->def : NULL;
}

gboolean
cs_cli_flag (const struct cs_cli *cli, const char *name)
{
  return g_strcmp0 (cs_cli_str (cli, name), "true") == 0;
}

guint64
cs_cli_num (const struct cs_cli *cli, const char *name)
{
  const char *s = cs_cli_str (cli, name);
  const struct cs_opt *o = opt_of (cli, name);
  guint64 n = 0;
  if (s != NULL && o->type == CS_OPT_SIZE)
    cs_size_parse (s, 1 << 20, &n, NULL);
  else if (s != NULL)
    n = g_ascii_strtoull (s, NULL, 10);
  return n;
}

const char *const *
cs_cli_list (const struct cs_cli *cli, const char *name)
{
  static const char *const none[] = { NULL };
  GPtrArray *l = g_hash_table_lookup (cli->values, name);
  return l != NULL ? (const char *const *) l->pdata : none;
}

const char *
cs_cli_arg (const struct cs_cli *cli, guint i)
{
  return i < cli->args->len ? g_ptr_array_index (cli->args, i) : NULL;
}

static const char *
chosen (const struct cs_cli *cli, const char *opt, const char *env, const char *key)
{
  const char *v = cs_cli_str (cli, opt);
  if (v == NULL || *v == '\0')
    v = g_getenv (env);
  if (v == NULL || *v == '\0')
    v = cs_config (key);
  return v != NULL && *v != '\0' ? v : NULL;
}

const char *
cs_cli_hypervisor (const struct cs_cli *cli)
{
  const char *v = chosen (cli, "hypervisor", "CAPSTAN_HYPERVISOR", "hypervisor");
  return v != NULL ? v : "kvm";
}

const char *
cs_cli_suffix (const struct cs_cli *cli)
{
  const char *suffix = cs_hv_suffix_of (cs_cli_hypervisor (cli));
  return suffix != NULL ? suffix : "qemu";
}
