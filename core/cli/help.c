/* --help, the man page and what completion asks for: all from the tables.
 * SPDX-License-Identifier: BSD-3-Clause */
#include "config.h"
#include "core/cli/cli.h"
#include "core/base/error.h"
#include "core/plugin/loader.h"
#include "core/store/store.h"
#include "core/vm/instance.h"
#include <stdio.h>
#include <string.h>

static void
print_opt (const struct cs_opt *o)
{
  char left[64];
  gboolean one = strlen (o->name) == 1;
  char letter[8] = "    ";
  if (o->short_name != 0)
    g_snprintf (letter, sizeof letter, "-%c%s", o->short_name, one ? "" : ", ");
  g_snprintf (left, sizeof left, "%s%s%s%s%s", letter, one ? "" : "--", one ? "" : o->name,
              o->arg != NULL ? " " : "", o->arg != NULL ? o->arg : "");
  printf ("  %-26s%s%s", left, strlen (left) > 25 ? "\n                            " : "", o->help);
  if (o->type == CS_OPT_CHOICE)
    printf (": %s", o->choices);
  if (o->def != NULL)
    printf (" (%s)", o->def);
  putchar ('\n');
}

/* Paragraphs parted by blank lines, filled to 79 columns. */
static void
print_text (const char *text)
{
  g_auto (GStrv) paragraphs = g_strsplit (text, "\n\n", 0);
  for (char **p = paragraphs; *p != NULL; p++) {
    g_auto (GStrv) words = g_strsplit_set (*p, " \n", 0);
    gsize col = 0;
    for (char **w = words; *w != NULL; w++) {
      if (col > 0 && col + 1 + strlen (*w) > 79) {
        putchar ('\n');
        col = 0;
      }
      col += (gsize) printf ("%s%s", col > 0 ? " " : "", *w);
    }
    printf ("\n\n");
  }
}

void
cs_help_command (const struct cs_cmd *c, const struct cs_cmd *parent)
{
  printf ("usage: capstan %s%s%s%s%s%s%s\n\n", parent != NULL ? parent->name : "",
          parent != NULL ? " " : "", c->name, c->opts != NULL ? " [OPTION]..." : "",
          c->sub != NULL ? " COMMAND" : "", *c->args != '\0' ? " " : "", c->args);
  print_text (c->text != NULL ? c->text : c->summary);
  if (c->alias != NULL)
    printf ("Another name of it: %s\n\n", c->alias);
  if (c->sub != NULL) {
    puts ("Commands:");
    for (const struct cs_cmd *const *s = c->sub; *s != NULL; s++)
      printf ("  %-26s%s\n", (*s)->name, (*s)->summary);
    putchar ('\n');
  }
  if (c->opts != NULL) {
    puts ("Options:");
    for (const struct cs_opt *o = c->opts; o->name != NULL; o++)
      print_opt (o);
    putchar ('\n');
  }
  if (c->examples != NULL) {
    g_auto (GStrv) lines = g_strsplit (c->examples, "\n", 0);
    g_autofree char *text = g_strjoinv ("\n  ", lines);
    printf ("Examples:\n  %s\n\n", text);
  }
  puts ("Options of every command: capstan help");
}

void
cs_help_overview (void)
{
  puts ("usage: capstan [OPTION]... COMMAND [ARGUMENT]...\n\n"
        "Turns an application into a virtual machine image and runs it.\n\n"
        "Commands:");
  for (const struct cs_cmd *const *c = cs_commands; *c != NULL; c++)
    if (!(*c)->hidden)
      printf ("  %-26s%s\n", (*c)->name, (*c)->summary);
  puts ("\nOptions, before or after the command:");
  for (const struct cs_opt *o = cs_global_opts; o->name != NULL; o++)
    print_opt (o);
  puts ("      --version             show the version; with -v what it was built with\n\n"
        "capstan COMMAND --help says more about a command; see also capstan(1).");
}

static gboolean
run_help (struct cs_cli *cli, GError **err)
{
  const char *name = cs_cli_arg (cli, 0), *sub = cs_cli_arg (cli, 1);
  if (name == NULL) {
    cs_help_overview ();
    return TRUE;
  }
  const struct cs_cmd *c = cs_cmd_find (cs_commands, name);
  if (c == NULL)
    return cs_fail (err, CS_E_USAGE, "there is no command '%s'. See: capstan help", name);
  const struct cs_cmd *s = sub != NULL && c->sub != NULL ? cs_cmd_find (c->sub, sub) : NULL;
  if (sub != NULL && s == NULL)
    return cs_fail (err, CS_E_USAGE, "there is no command '%s %s'. See: capstan help %s", name,
                    sub, name);
  cs_help_command (s != NULL ? s : c, s != NULL ? c : NULL);
  return TRUE;
}

const struct cs_cmd cs_cmd_help = { .name = "help", .alias = "h", .args = "[COMMAND]",
  .summary = "Show help", .max_args = 2, .comp = CS_COMP_COMMAND, .run = run_help };

/* ---- man page ---- */
static void
roff (const char *s)
{
  for (gboolean start = TRUE; *s != '\0'; s++) {
    if (start && (*s == '.' || *s == '\''))
      printf ("\\&");
    if (*s == '\\')
      printf ("\\e");
    else if (*s == '-')
      printf ("\\-");
    else
      putchar (*s);
    start = *s == '\n';
  }
}

static void
roff_opts (const struct cs_opt *o)
{
  for (; o != NULL && o->name != NULL; o++) {
    printf (".TP\n");
    if (o->short_name != 0)
      printf ("\\fB\\-%c\\fR%s", o->short_name, strlen (o->name) > 1 ? ", " : "");
    if (strlen (o->name) > 1) {
      printf ("\\fB\\-\\-");
      roff (o->name);
      printf ("\\fR");
    }
    if (o->arg != NULL) {
      printf (" \\fI");
      roff (o->arg);
      printf ("\\fR");
    }
    putchar ('\n');
    roff (o->help);
    if (o->type == CS_OPT_CHOICE) {
      printf (": ");
      roff (o->choices);
    }
    if (o->def != NULL) {
      printf (" (");
      roff (o->def);
      printf (")");
    }
    putchar ('\n');
  }
}

static void
roff_command (const struct cs_cmd *c, const struct cs_cmd *parent)
{
  if (c->hidden)
    return;
  if (c->run != NULL) {
    printf (".SS \"capstan %s%s%s ", parent != NULL ? parent->name : "",
            parent != NULL ? " " : "", c->name);
    printf ("%s%s\"\n", c->opts != NULL ? "[OPTION]... " : "", c->args);
    roff (c->text != NULL ? c->text : c->summary);
    putchar ('\n');
    roff_opts (c->opts);
    if (c->examples != NULL) {
      printf (".PP\n.nf\n");
      roff (c->examples);
      printf ("\n.fi\n");
    }
  }
  for (const struct cs_cmd *const *s = c->sub; s != NULL && *s != NULL; s++)
    roff_command (*s, c);
}

static gboolean
run_man (struct cs_cli *cli, GError **err)
{
  printf (".TH CAPSTAN 1 \"\" \"capstan " PACKAGE_VERSION "\" \"User Commands\"\n"
          ".SH NAME\ncapstan \\- build and run virtual machine images of applications\n"
          ".SH SYNOPSIS\n.B capstan\n[OPTION]... COMMAND [ARGUMENT]...\n"
          ".SH DESCRIPTION\ncapstan turns an application into a complete virtual machine "
          "image, as a Capstanfile(5) says, and runs it.\n.SH OPTIONS\n"
          "These stand before or after the command. \\-name is the same as \\-\\-name.\n");
  roff_opts (cs_global_opts);
  printf (".TP\n\\fB\\-\\-version\\fR\nshow the version; with \\-v what it was built with\n"
          ".SH COMMANDS\n");
  for (const struct cs_cmd *const *c = cs_commands; *c != NULL; c++)
    roff_command (*c, NULL);
  printf (".SH EXIT STATUS\n0 success, 1 failure, 2 usage, 3 not found, 4 conflict (it exists, "
          "it is in use). \\fBcapstan run\\fR returns the application's own exit status: "
          "128+N after signal N, 126 not executable, 127 not found; 125 is a failure of "
          "capstan itself.\n"
          ".SH ENVIRONMENT\n"
          ".TP\nCAPSTAN_ROOT\nfolder of images and instances (~/.capstan)\n"
          ".TP\nCAPSTAN_HYPERVISOR, CAPSTAN_REPO\ndefaults of \\-\\-hypervisor and \\-\\-repo\n"
          ".TP\nCAPSTAN_PLUGIN_PATH\nfolders to look for plugins in first, parted by colons\n"
          ".TP\nCAPSTAN_DISABLE_KVM\n1: never use hardware acceleration\n"
          ".TP\nCAPSTAN_LIBVIRT_URI\nlibvirt connection of the kvm plugin\n"
          ".TP\nSOURCE_DATE_EPOCH\ntime stamp of every file in built images (0)\n"
          ".SH FILES\n~/.capstan/config.yaml, ~/.capstan/repository, ~/.capstan/instances, "
          "~/.capstan/plugins\n.SH SEE ALSO\nCapstanfile(5)\n");
  return TRUE;
}
const struct cs_cmd cs_cmd_man = { .name = "__man", .args = "", .summary = "",
                                   .hidden = TRUE, .run = run_man };

/* ---- completion: capstan __complete WORD... prints what the last word may become ---- */
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
    if (kind == NULL || g_strcmp0 (p->kind, kind) == 0)
      puts (p->name);
  }
}

static void
complete_kind (CsComp kind)
{
  if (kind == CS_COMP_IMAGE) {
    g_autoptr (GPtrArray) l = cs_store_list (NULL);
    for (guint i = 0; l != NULL && i < l->len; i++)
      puts (((struct cs_image *) g_ptr_array_index (l, i))->name);
  } else if (kind == CS_COMP_COMMAND) {
    for (const struct cs_cmd *const *c = cs_commands; *c != NULL; c++)
      if (!(*c)->hidden)
        puts ((*c)->name);
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
