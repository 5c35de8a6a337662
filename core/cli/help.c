/* --help and `capstan help`, from the tables.
 * SPDX-License-Identifier: BSD-3-Clause */
#include "config.h"
#include "core/cli/cli.h"
#include "core/base/error.h"
#include "core/base/util.h"
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
  printf ("Options of every command: capstan help. The manual: man capstan-%s\n",
          parent != NULL ? parent->name : c->name);
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
        "capstan COMMAND --help says more about a command.");
  printf ("capstan help TOPIC explains:");
  for (const struct cs_topic *t = cs_topics; t->name != NULL; t++)
    printf (" %s", t->name);
  putchar ('\n');
}

static gboolean
unknown (const char *parent, const char *word, const struct cs_cmd *const *table, GError **err)
{
  struct cs_suggestion s = { 0 };
  for (; table != NULL && *table != NULL; table++)
    if (!(*table)->hidden)
      cs_suggest (word, (*table)->name, &s);
  for (const struct cs_topic *t = cs_topics; *parent == '\0' && t->name != NULL; t++)
    cs_suggest (word, t->name, &s);
  const char *sep = *parent != '\0' ? " " : "";
  g_autofree char *q = cs_quote (word);
  g_autofree char *hint = s.best != NULL ? g_strdup_printf (" Did you mean '%s'?", s.best) : g_strdup ("");
  return cs_fail (err, CS_E_USAGE, "there is no command%s%s%s %s.%s See: capstan help%s%s",
                  *parent != '\0' ? "" : " or topic", sep, parent, q, hint, sep, parent);
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
  const struct cs_topic *t = c == NULL && sub == NULL ? cs_topic_find (name) : NULL;
  if (t != NULL) {
    printf ("%s\n\n", t->title);
    print_text (t->text);
    printf ("See also: %s\n", t->see);
    return TRUE;
  }
  if (c == NULL)
    return unknown ("", name, cs_commands, err);
  const struct cs_cmd *s = sub != NULL && c->sub != NULL ? cs_cmd_find (c->sub, sub) : NULL;
  if (sub != NULL && s == NULL)
    return unknown (name, sub, c->sub, err);
  cs_help_command (s != NULL ? s : c, s != NULL ? c : NULL);
  return TRUE;
}

const struct cs_cmd cs_cmd_help = { .name = "help", .alias = "h", .args = "[COMMAND|TOPIC]",
  .summary = "Show help", .max_args = 2, .comp = CS_COMP_COMMAND, .run = run_help,
  .text = "Shows help on a command, or explains a topic; without an argument, what there is." };
