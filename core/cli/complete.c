/* Completion: `capstan __complete WORD...` prints what the last word may become.
 * SPDX-License-Identifier: BSD-3-Clause */
#include "config.h"
#include "core/cli/cli.h"
#include "core/plugin/loader.h"
#include "core/repo/repo.h"
#include "core/store/store.h"
#include "core/vm/volume.h"
#include <stdio.h>
#include <string.h>

static void
complete_opts (const struct cs_opt *o)
{
  for (; o != NULL && o->name != NULL; o++)
    printf ("%s%s\n", strlen (o->name) > 1 ? "--" : "-", o->name);
}

/* By their .plugin files: nothing is loaded. */
static void
complete_plugins (const char *kind)
{
  GPtrArray *all = cs_plugins ();
  for (guint i = 0; i < all->len; i++) {
    struct cs_plugin *p = g_ptr_array_index (all, i);
    if ((kind == NULL || g_strcmp0 (p->kind, kind) == 0) && cs_plugin_shadowed (p) == NULL)
      puts (p->name);
  }
}

static void
complete_kind (CsComp kind)
{
  if (kind == CS_COMP_IMAGE) {
    g_autoptr (GPtrArray) l = cs_store_list_quick (NULL);
    for (guint i = 0; l != NULL && i < l->len; i++)
      puts (((struct cs_image *) g_ptr_array_index (l, i))->name);
  } else if (kind == CS_COMP_COMMAND) {
    for (const struct cs_cmd *const *c = cs_commands; *c != NULL; c++)
      if (!(*c)->hidden)
        puts ((*c)->name);
  } else if (kind == CS_COMP_REPO) {
    g_autoptr (GPtrArray) l = cs_repo_confs (NULL);
    for (guint i = 0; l != NULL && i < l->len; i++)
      puts (((struct cs_repo_conf *) g_ptr_array_index (l, i))->name);
  } else if (kind == CS_COMP_BASE) {
    puts ("linux");
  } else if (kind == CS_COMP_HYPERVISOR) {
    complete_plugins ("hypervisor");
  } else if (kind == CS_COMP_PLUGIN) {
    complete_plugins (NULL);
  } else if (kind == CS_COMP_INSTANCE) {
    g_autoptr (GPtrArray) l = cs_instance_list (NULL);
    for (guint i = 0; l != NULL && i < l->len; i++)
      puts (((struct cs_instance *) g_ptr_array_index (l, i))->name);
  } else if (kind == CS_COMP_VOLUME) {
    g_autoptr (GPtrArray) l = cs_volume_names ();
    for (guint i = 0; i < l->len; i++)
      puts (g_ptr_array_index (l, i));
  } else if (kind == CS_COMP_FILE || kind == CS_COMP_DIR) {
    puts (kind == CS_COMP_FILE ? ":file" : ":dir");
  }
}

static void
complete_choices (const char *choices)
{
  for (; *choices != '\0'; choices += strspn (choices, "|")) {
    gsize n = strcspn (choices, "|");
    printf ("%.*s\n", (int) n, choices);
    choices += n;
  }
}

static gboolean
run_complete (struct cs_cli *cli, GError **err)
{
  const struct cs_cmd *c = NULL;
  const struct cs_cmd *const *table = cs_commands;
  const char *prev = NULL;
  guint n = cli->args->len;
  const char *last = n > 0 ? cs_cli_arg (cli, n - 1) : "";
  for (guint i = 0; i + 1 < n; i++) {
    const char *w = prev = cs_cli_arg (cli, i);
    const struct cs_cmd *f = *w != '-' && table != NULL ? cs_cmd_find (table, w) : NULL;
    if (f != NULL) {
      c = f;
      table = c->sub;
    }
  }
  const struct cs_opt *tables[] = { c != NULL ? c->opts : NULL, cs_global_opts };
  for (guint t = 0; prev != NULL && *prev == '-' && t < 2; t++)
    for (const struct cs_opt *o = tables[t]; o != NULL && o->name != NULL; o++)
      if (o->type != CS_OPT_FLAG && (strcmp (prev + strspn (prev, "-"), o->name) == 0 ||
                                     (prev[1] == o->short_name && prev[2] == '\0'))) {
        if (o->choices != NULL)
          complete_choices (o->choices);
        else
          complete_kind (o->comp);
        return TRUE;
      }
  if (*last == '-') {
    complete_opts (tables[0]);
    complete_opts (tables[1]);
  } else if (table != NULL) {
    for (; *table != NULL; table++)
      if (!(*table)->hidden)
        puts ((*table)->name);
  } else if (c != NULL) {
    complete_kind (c->comp);
  }
  return TRUE;
}
const struct cs_cmd cs_cmd_complete = { .name = "__complete", .args = "", .summary = "",
                                        .hidden = TRUE, .max_args = -1, .raw = TRUE,
                                        .run = run_complete };
