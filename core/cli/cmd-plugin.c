/* capstan plugin: what is there. SPDX-License-Identifier: BSD-3-Clause */
#include "config.h"
#include "core/base/error.h"
#include "core/cli/cmd.h"
#include "core/kit/kit.h"
#include "core/plugin/loader.h"
#include <jansson.h>
#include <stdio.h>
#include <string.h>

extern const struct cs_cmd cs_cmd_plugin_new; /* plugin-new.c */

static const char *const hv_bits[] = { "local", "kernel-boot", "disk-boot", "soft-stop",
                                       "needs-import", "detached", "pause", "executes" };
static const char *const repo_bits[] = { "push", "resume", "digest", "conditional", "list",
                                         "search", "parallel", "upload-resume", "versions" };

/* What a plugin left out. */
static const char *
or_none (const char *s)
{
  return s != NULL ? s : "-";
}

static char *
bits_text (const struct capstan_provider *v)
{
  GString *s = g_string_new (NULL);
  const char *const *names = v->kind == CAPSTAN_KIND_REPO ? repo_bits : hv_bits;
  guint n = v->kind == CAPSTAN_KIND_REPO ? G_N_ELEMENTS (repo_bits) : G_N_ELEMENTS (hv_bits);
  for (guint i = 0; i < n; i++)
    if (v->caps & (G_GUINT64_CONSTANT (1) << i))
      g_string_append_printf (s, "%s%s", s->len > 0 ? "," : "", names[i]);
  return g_string_free (s, FALSE);
}

static json_t *
plugin_json (const struct cs_plugin *p)
{
  json_t *o = json_object ();
  g_autofree char *bits = bits_text (&p->provider);
  json_object_set_new (o, "name", json_string (p->name));
  json_object_set_new (o, "kind", json_string (p->kind));
  json_object_set_new (o, "path", json_string (p->file));
  if (p->refused != NULL) {
    json_object_set_new (o, "refused", json_string (p->refused));
    return o;
  }
  json_object_set_new (o, "version", json_string (or_none (p->head.version)));
  json_object_set_new (o, "abi", json_pack ("[ii]", p->head.abi_major, p->head.abi_minor));
  json_object_set_new (o, "capabilities", json_string (bits));
  if (cs_plugin_schemes (p) != NULL)
    json_object_set_new (o, "schemes", json_string (cs_plugin_schemes (p)));
  return o;
}

/* One line each, what may be long last; schemes and capabilities are plugin info's. */
static void
print_table (const GPtrArray *all)
{
  int wide = (int) strlen ("Name");
  for (guint i = 0; i < all->len; i++)
    wide = MAX (wide, (int) strlen (((struct cs_plugin *) all->pdata[i])->name));
  printf ("%-*s  %-10s  %-7s  %-4s  %s\n", wide, "Name", "Kind", "Version", "ABI", "Path");
  for (guint i = 0; i < all->len; i++) {
    const struct cs_plugin *p = all->pdata[i];
    printf ("%-*s  %-10s  ", wide, p->name, p->kind);
    if (p->refused != NULL)
      printf ("refused: %s  (%s)\n", p->refused, p->file);
    else
      printf ("%-7s  %u.%-2u  %s\n", or_none (p->head.version), (unsigned) p->head.abi_major,
              (unsigned) p->head.abi_minor, p->file);
  }
}

static gboolean
run_list (struct cs_cli *cli, GError **err)
{
  GPtrArray *all = cs_plugins ();
  json_t *a = cs_cli_flag (cli, "json") ? json_array () : NULL;
  for (guint i = 0; i < all->len; i++) {
    struct cs_plugin *p = g_ptr_array_index (all, i);
    const struct cs_plugin *first = cs_plugin_shadowed (p);
    g_autoptr (GError) e = NULL;
    if (first != NULL && p->refused == NULL)
      p->refused = g_strdup_printf ("%s goes before it", first->file);
    if (!cs_plugin_load (p, &e) && p->refused == NULL)
      p->refused = g_strdup (e->message);
    if (a != NULL)
      json_array_append_new (a, plugin_json (p));
  }
  if (a == NULL)
    print_table (all);
  return a == NULL || cs_print_json (a, err);
}

static void
print_options (const char *title, const struct capstan_option *o, size_t n)
{
  static const char *const types[] = { "text", "number", "true|false", "size", "path", "" };
  if (n > 0)
    printf ("%s:\n", title);
  for (size_t i = 0; i < n; i++, o++) {
    g_autofree char *left = g_strdup_printf (
        "%s=%s", o->key, o->choices != NULL ? o->choices : types[MIN (o->type, 5u)]);
    printf ("  %-28s %s%s%s%s\n", left, o->help != NULL ? o->help : "", o->def != NULL ? " (" : "",
            o->def != NULL ? o->def : "", o->def != NULL ? ")" : "");
  }
}

/* "a,b" as "TITLE: a, b", in lines of 100 columns at most. */
static void
print_words (const char *title, const char *list)
{
  enum { COLUMNS = 100 };
  g_auto (GStrv) words = g_strsplit (list != NULL ? list : "", ",", 0);
  gsize at = strlen (title) + 1;
  if (*words == NULL)
    return;
  printf ("%s:", title);
  for (char **w = words; *w != NULL; w++) {
    gboolean fits = at + strlen (*w) + 2 <= COLUMNS;
    printf ("%s%s%s", fits ? " " : "\n  ", *w, w[1] != NULL ? "," : "\n");
    at = (fits ? at + 1 : 2) + strlen (*w) + 1;
  }
}

static gboolean
run_info (struct cs_cli *cli, GError **err)
{
  const char *name = cs_cli_arg (cli, 0);
  struct cs_plugin *p = cs_plugin_find ("hypervisor", name);
  if (p == NULL)
    p = cs_plugin_find ("repository", name);
  if (p == NULL)
    return cs_plugin_missing (NULL, name, err);
  if (!cs_plugin_load (p, err))
    return FALSE;
  const struct capstan_provider *v = &p->provider;
  g_autofree char *bits = bits_text (v);
  printf ("%s: %s\nversion %s, ABI %u.%u, licence %s\n%s\n", p->name, or_none (v->summary),
          or_none (p->head.version), (unsigned) p->head.abi_major, (unsigned) p->head.abi_minor,
          or_none (p->head.license), p->file);
  print_words ("URLs begin with", cs_plugin_schemes (p));
  print_words ("it can", bits);
  print_options ("Options", v->options, v->n_options);
  print_options ("Options of a machine", v->vm_options, v->n_vm_options);
  print_options ("Options of a disk", v->disk_options, v->n_disk_options);
  print_options ("Options of a network card", v->nic_options, v->n_nic_options);
  return TRUE;
}

static gboolean
run_test (struct cs_cli *cli, GError **err)
{
  const struct cs_kit_opts o = { .plugin = cs_cli_arg (cli, 0), .options = cs_cli_list (cli, "option"),
    .machine_options = cs_cli_list (cli, "machine-option"), .url = cs_cli_str (cli, "on"),
    .image = cs_cli_str (cli, "image"), .suffix = cs_cli_str (cli, "suffix"),
    .disk = cs_cli_str (cli, "disk"), .kernel = cs_cli_str (cli, "kernel"),
    .cmdline = cs_cli_str (cli, "cmdline"), .only = cs_cli_list (cli, "case"),
    .timeout = (guint) cs_cli_num (cli, "timeout") };
  return cs_kit_run (&o, &cli->exit_status, err);
}

static const struct cs_opt test_opts[] = {
  { .short_name = 'o', .name = "option", .type = CS_OPT_LIST, .arg = "KEY=VALUE", .help = "an option of the plugin" },
  { .name = "on", .type = CS_OPT_STRING, .arg = "URL", .help = "the repository to work on, of a repository plugin" },
  { .name = "image", .type = CS_OPT_STRING, .arg = "NAME",
    .help = "an image in it to fetch; nothing is pushed then" },
  { .name = "suffix", .type = CS_OPT_STRING, .arg = "SUFFIX", .help = "of the image files there", .def = "qemu" },
  { .name = "machine-option", .type = CS_OPT_LIST, .arg = "KEY=VALUE",
    .help = "an option of the machines that a hypervisor plugin makes" },
  { .name = "disk", .type = CS_OPT_STRING, .arg = "FILE", .comp = CS_COMP_FILE,
    .help = "a raw disk that they boot; without it an empty one" },
  { .name = "kernel", .type = CS_OPT_STRING, .arg = "FILE", .comp = CS_COMP_FILE,
    .help = "a kernel that they boot" },
  { .name = "cmdline", .type = CS_OPT_STRING, .arg = "TEXT", .help = "the command line of it" },
  { .name = "case", .type = CS_OPT_LIST, .arg = "NAME", .help = "only this one; it can be repeated" },
  { .name = "timeout", .type = CS_OPT_UINT, .arg = "SECONDS", .help = "for each case", .def = "300" },
  { .name = NULL } };
static const struct cs_cmd cmd_test = { .name = "test", .args = "NAME|FILE", .min_args = 1, .max_args = 1,
  .comp = CS_COMP_PLUGIN, .opts = test_opts, .summary = "Try whether a plugin keeps the contract",
  .run = run_test,
  .text = "Runs a plugin through what every plugin has to hold to (capstan-plugin(3)), and prints a line for "
          "each case: ok, FAIL with the reason, or skip with the reason. FILE, which has a '/' in it, is the "
          "plugin's shared object. Each case runs in a process of its own, so that one that crashes or hangs "
          "is only one that failed.\n\n"
          "A hypervisor plugin makes, starts and destroys machines that boot an empty disk, or what --disk or "
          "--kernel names. A repository plugin works on the repository --on: it pushes images of 1 MiB under "
          "names that begin with capstan-contract, changes, fetches and removes them, and leaves everything "
          "else alone.\n\n"
          "The exit status is 0 if all is well, 1 if a case failed, and 77 if the plugin cannot work here or "
          "has no repository to work on.",
  .examples = "capstan plugin test ./hypervisor-mine.so\n"
              "capstan plugin test ./repo-mine.so --on mine:/srv/images" };

static const struct cs_opt list_opts[] = {
  { .name = "json", .type = CS_OPT_FLAG, .help = "print JSON" }, { .name = NULL } };
static const struct cs_cmd cmd_list = { .name = "list", .args = "", .opts = list_opts,
  .summary = "List the plugins", .run = run_list,
  .text = "Opens every plugin that is found and shows what it is, or why it was refused. "
          "capstan plugin info says what one can do." };
static const struct cs_cmd cmd_info = { .name = "info", .args = "NAME", .min_args = 1,
  .max_args = 1, .comp = CS_COMP_PLUGIN, .summary = "Show a plugin and its options",
  .text = "Shows what a plugin is and the options it takes.", .run = run_info };
static const struct cs_cmd *const subs[] = { &cmd_list, &cmd_info, &cmd_test, &cs_cmd_plugin_new, NULL };
const struct cs_cmd cs_cmd_plugin = { .name = "plugin", .args = "",
  .summary = "Show, test and begin plugins", .sub = subs };
