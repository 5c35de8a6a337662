/* Commands and their options: one table gives parsing, --help, man page and completion.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * A command is one file core/cli/cmd-NAME.c that exports `const struct cs_cmd cs_cmd_NAME`,
 * and one entry in core/cli/commands.c. */
#ifndef CS_CMD_H
#define CS_CMD_H
#include <glib.h>

typedef enum {
  CS_OPT_FLAG,   /* --x, --x=false */
  CS_OPT_STRING, /* --x V, --x=V; the last one holds */
  CS_OPT_LIST,   /* repeatable */
  CS_OPT_UINT,
  CS_OPT_SIZE,   /* bytes; a bare number is MiB, as in the original */
  CS_OPT_CHOICE  /* one of choices, "a|b|c" */
} CsOptType;

/* What completes an argument: for options and positional arguments. */
typedef enum {
  CS_COMP_NONE, CS_COMP_FILE, CS_COMP_DIR, CS_COMP_IMAGE, CS_COMP_INSTANCE,
  CS_COMP_HYPERVISOR, CS_COMP_REPO, CS_COMP_PLUGIN, CS_COMP_COMMAND, CS_COMP_BASE,
  CS_COMP_VOLUME
} CsComp;

struct cs_opt {
  char short_name;  /* or 0 */
  const char *name; /* "memory": --memory and -memory (the original's Go flags) */
  CsOptType type;
  const char *arg;     /* "SIZE": stands in help; NULL for flags */
  const char *help;    /* one line, no full stop */
  const char *def;     /* shown in help and what cs_cli_str answers, or NULL */
  const char *choices; /* CHOICE */
  CsComp comp;
  const char *alias;   /* another long name, accepted and not shown, or NULL */
};

struct cs_cli;
struct cs_cmd {
  const char *name, *alias; /* alias: "i" of images, or NULL */
  const char *args;         /* "[NAME]", "NAME FILE"; "" for none */
  const char *summary;      /* one line for the list of commands */
  const char *text;         /* paragraphs for --help and the man page; blank-line parted */
  const char *examples;     /* lines, or NULL */
  int min_args, max_args;   /* max -1: any number */
  CsComp comp;              /* of the positional arguments */
  const struct cs_opt *opts; /* ends with a name of NULL; or NULL */
  const struct cs_cmd *const *sub; /* NULL-terminated: "plugin list"; or NULL */
  gboolean hidden;
  /* 125 instead of 1-4 for capstan's own failures (run, wait) */
  gboolean app_status;
  /* What follows the command is not parsed: all of it becomes arguments. */
  gboolean raw;
  /* --repo, -u, --s3 and -r say something to it. */
  gboolean uses_repo;
  /* TRUE or error. Sets cli->exit_status if it is to be something else than 0. */
  gboolean (*run) (struct cs_cli *cli, GError **err);
};

struct cs_cli { /* one parsed command line */
  const struct cs_cmd *cmd;
  const char *prog;
  GPtrArray *args;    /* of char *: the positional ones; never NULL */
  GHashTable *values; /* const char *name -> GPtrArray of char *; use the functions below */
  int exit_status;
  const struct cs_cmd *parent; /* of a sub-command, or NULL */
  gboolean version, failed;    /* --version was given; the line could not be parsed */
};

extern const struct cs_cmd *const cs_commands[]; /* commands.c */
extern const struct cs_opt cs_global_opts[];     /* accepted before and after the command */

/* Values; options that are not given answer their default. Strings are borrowed. */
const char *cs_cli_str (const struct cs_cli *cli, const char *name);
gboolean cs_cli_given (const struct cs_cli *cli, const char *name);
gboolean cs_cli_flag (const struct cs_cli *cli, const char *name);
guint64 cs_cli_num (const struct cs_cli *cli, const char *name); /* UINT, SIZE */
/* NULL-terminated, never NULL; borrowed. */
const char *const *cs_cli_list (const struct cs_cli *cli, const char *name);
const char *cs_cli_arg (const struct cs_cli *cli, guint i); /* NULL beyond the end */

/* Parses argv into a cli, never NULL (free with cs_cli_free). Prints nothing. On an error
 * `failed` is set, and cmd is what was understood by then. */
struct cs_cli *cs_cli_parse (int argc, char **argv, GError **err);
void cs_cli_free (struct cs_cli *cli);

/* The hypervisor asked for: flag, then environment (CAPSTAN_HYPERVISOR), then config.yaml,
 * then "kvm". Borrowed. */
const char *cs_cli_hypervisor (const struct cs_cli *cli);
/* The settings of a hypervisor that has such: the libvirt connection of config.yaml, and the
 * acceleration ("tcg") that CAPSTAN_DISABLE_KVM or config.yaml ask for. NULL: neither. */
struct cs_hv;
const char *cs_cli_connect (const char *hypervisor);
const char *cs_cli_accel (struct cs_hv *hv);
/* The suffix of its image files; one that is not installed counts as the default's, since
 * building and importing need no plugin. Borrowed. */
const char *cs_cli_suffix (const struct cs_cli *cli);

/* What --repo, -u, -r, --repo-type and --s3 say; strings borrowed. */
struct cs_repo_choice;
void cs_cli_repo_choice (const struct cs_cli *cli, struct cs_repo_choice *ret);
/* With --json progress goes to standard output, one JSON object a line; so do events. */
void cs_cli_json_events (void);
struct json_t;
void cs_cli_json_event (struct json_t *event); /* drops the reference */
/* The one repository that is chosen (of several: the first), open; NULL and the error. */
struct cs_repo;
struct cs_repo *cs_cli_repo_open (const struct cs_cli *cli, gboolean must_be_named, GError **err);

/* JSON output is by jansson; this prints a value and a newline and drops the reference. */
gboolean cs_print_json (struct json_t *value, GError **err);
/* A text into the object, nothing for NULL; and an array of the texts of a list (or of NULL). */
void cs_json_set (struct json_t *object, const char *key, const char *value);
struct json_t *cs_json_texts (char *const *list);
#endif
