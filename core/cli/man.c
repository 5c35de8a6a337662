/* The manual pages of capstan and of its commands, from the tables: `capstan __man` and
 * `capstan __man COMMAND`. SPDX-License-Identifier: BSD-3-Clause */
#include "config.h"
#include "core/cli/cli.h"
#include "core/base/error.h"
#include <stdio.h>
#include <string.h>

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

/* Paragraphs parted by blank lines. */
static void
roff_text (const char *text)
{
  g_auto (GStrv) paragraphs = g_strsplit (text, "\n\n", 0);
  for (char **p = paragraphs; *p != NULL; p++) {
    if (p != paragraphs)
      printf (".PP\n");
    roff (*p);
    putchar ('\n');
  }
}

static void
roff_synopsis (const struct cs_cmd *c, const struct cs_cmd *parent)
{
  printf ("\\fBcapstan %s%s", parent != NULL ? parent->name : "", parent != NULL ? " " : "");
  roff (c->name);
  printf ("\\fR %s", c->opts != NULL ? "[OPTION]... " : "");
  roff (c->args);
  putchar ('\n');
}

static void
roff_command (const struct cs_cmd *c)
{
  roff_text (c->text != NULL ? c->text : c->summary);
  if (c->alias != NULL)
    printf (".PP\nAnother name of it is \\fBcapstan %s\\fR.\n", c->alias);
  roff_opts (c->opts);
  if (c->examples != NULL) {
    printf (".PP\n.nf\n");
    roff (c->examples);
    printf ("\n.fi\n");
  }
}

static void
page_end (const char *see)
{
  printf (".SH SEE ALSO\n");
  roff (see);
  putchar ('\n');
}

static void
command_page (const struct cs_cmd *c)
{
  g_autofree char *upper = g_ascii_strup (c->name, -1);
  printf (".TH CAPSTAN\\-%s 1 \"\" \"capstan " PACKAGE_VERSION "\" \"User Commands\"\n"
          ".SH NAME\ncapstan\\-%s \\- ", upper, c->name);
  g_autofree char *what = g_strdup (c->summary);
  what[0] = g_ascii_tolower (what[0]);
  roff (what);
  printf ("\n.SH SYNOPSIS\n");
  if (c->run != NULL)
    roff_synopsis (c, NULL);
  for (const struct cs_cmd *const *s = c->sub; s != NULL && *s != NULL; s++) {
    if (c->run != NULL || s != c->sub)
      printf (".br\n");
    roff_synopsis (*s, c);
  }
  printf (".SH DESCRIPTION\n");
  roff_command (c);
  for (const struct cs_cmd *const *s = c->sub; s != NULL && *s != NULL; s++) {
    printf (".SS \"capstan %s %s\"\n", c->name, (*s)->name);
    roff_command (*s);
  }
  printf (".PP\nThe options of every command are in capstan(1).\n");
  page_end ("capstan(1)");
}

static void
overview_page (void)
{
  printf (".TH CAPSTAN 1 \"\" \"capstan " PACKAGE_VERSION "\" \"User Commands\"\n"
          ".SH NAME\ncapstan \\- build and run virtual machine images of applications\n"
          ".SH SYNOPSIS\n.B capstan\n[OPTION]... COMMAND [ARGUMENT]...\n"
          ".SH DESCRIPTION\ncapstan turns an application into a complete virtual machine "
          "image, as a Capstanfile(5) says, and runs it.\n.SH OPTIONS\n"
          "These stand before or after the command. \\-name is the same as \\-\\-name.\n");
  roff_opts (cs_global_opts);
  printf (".TP\n\\fB\\-\\-version\\fR\nshow the version; with \\-v what it was built with\n"
          ".SH COMMANDS\nEach has a page of its own.\n");
  for (const struct cs_cmd *const *c = cs_commands; *c != NULL; c++)
    if (!(*c)->hidden) {
      printf (".TP\n\\fBcapstan\\-%s\\fR(1)\n", (*c)->name);
      roff ((*c)->summary);
      putchar ('\n');
    }
  for (const struct cs_topic *t = cs_topics; t->name != NULL; t++)
    if (t->in_manual) {
      g_autofree char *upper = g_ascii_strup (t->title, -1);
      printf (".SH \"%s\"\n", upper);
      roff_text (t->text);
    }
  page_end ("Capstanfile(5), capstan-config(5), capstan-repository(7), capstan-guest(7), "
            "capstan-plugin(3)");
}

static gboolean
run_man (struct cs_cli *cli, GError **err)
{
  const char *name = cs_cli_arg (cli, 0);
  const struct cs_cmd *c = name != NULL ? cs_cmd_find (cs_commands, name) : NULL;
  if (name != NULL && c == NULL)
    return cs_fail (err, CS_E_USAGE, "there is no command '%s'", name);
  if (c != NULL)
    command_page (c);
  else
    overview_page ();
  return TRUE;
}
const struct cs_cmd cs_cmd_man = { .name = "__man", .args = "", .summary = "", .hidden = TRUE,
                                   .max_args = 1, .run = run_man };
