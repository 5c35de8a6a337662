/* The command line of the guest contract, as OSv reads it (its core/commands.cc and
 * core/options.cc are where the grammar comes from). SPDX-License-Identifier: BSD-3-Clause */
#ifndef INIT_CMDLINE_H
#define INIT_CMDLINE_H
#include <stddef.h>

struct options { /* loader options; strings point into memory that is never freed */
  char **env; size_t n_env;   /* "K=V", or "K?=V": only if it is not set */
  char **ip; size_t n_ip;     /* "eth0,192.168.1.2,255.255.255.0" */
  char **ignored; size_t n_ignored; /* names of options that mean something to OSv only */
  char *cwd, *gateway, *nameserver, *redirect;
  int verbose;
};
struct command {
  char **argv;    /* NULL-terminated, at least one word */
  char end;       /* ';' wait; '&' background; 'T' "&!"; '!' then stop its children */
};

/* Reads the options at the start of text; *ret_rest is what follows. 0, or -1 and a
 * message in err. Needs no memory of text afterwards. */
int options_parse (const char *text, struct options *o, const char **ret_rest, char *err,
                   size_t errlen);
/* The word with the first `$NAME`, to the end of the word, replaced from the environment. */
char *word_expand (char *w);
/* The application part. Variables are those of the environment. Answers the number of
 * commands, or -1. */
int commands_parse (const char *text, struct command **ret, char *err, size_t errlen);
#endif
