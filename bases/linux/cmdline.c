/* SPDX-License-Identifier: BSD-3-Clause */
#define _GNU_SOURCE
#include "cmdline.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void *
grow (void *p, size_t n)
{
  p = realloc (p, n);
  if (p == NULL)
    abort ();
  return p;
}

static void
push (char ***list, size_t *n, char *s)
{
  *list = grow (*list, (*n + 2) * sizeof **list);
  (*list)[(*n)++] = s;
  (*list)[*n] = NULL;
}

/* One loader option: a backslash makes the next character literal, quotes mean nothing. */
static char *
option_word (const char **p)
{
  char *w = grow (NULL, strlen (*p) + 1), *o = w;
  while (**p != '\0' && strchr (" \t\n", **p) == NULL) {
    if (**p == '\\' && (*p)[1] != '\0')
      (*p)++;
    *o++ = *(*p)++;
  }
  *o = '\0';
  return w;
}

enum { FLAG = 1, VALUE = 2 };
/* Options of OSv that have no meaning here; an image for both guests may carry them. */
static const struct { const char *name; int kind; } ignored[] = {
  { "leak", FLAG }, { "disable_rofs_cache", FLAG }, { "preload-zfs-library", FLAG },
  { "extra-zfs-pools", FLAG }, { "noshutdown", FLAG }, { "power-off-on-abort", FLAG },
  { "trace-backtrace", FLAG }, { "bootchart", FLAG }, { "nomount", FLAG },
  { "nopivot", FLAG }, { "norandom", FLAG }, { "noinit", FLAG }, { "nopci", FLAG },
  { "maxnic", VALUE }, { "sampler", VALUE }, { "trace", VALUE }, { "console", VALUE },
  { "rootfs", VALUE }, { "mount-fs", VALUE }, { "delay", VALUE } };

static int
option_value (struct options *o, const char *name, char *value)
{
  struct { const char *name; char **where; } const single[] = {
    { "cwd", &o->cwd }, { "defaultgw", &o->gateway }, { "nameserver", &o->nameserver },
    { "redirect", &o->redirect } };
  if (strcmp (name, "env") == 0 && strchr (value, '=') > value) {
    push (&o->env, &o->n_env, value);
    return 0;
  }
  if (strcmp (name, "ip") == 0 && strchr (value, ',') != NULL) {
    push (&o->ip, &o->n_ip, value);
    return 0;
  }
  for (size_t i = 0; i < sizeof single / sizeof *single; i++)
    if (strcmp (name, single[i].name) == 0) {
      *single[i].where = value;
      return 0;
    }
  return -1;
}

static int
option_apply (struct options *o, char *word, char *err, size_t errlen)
{
  char *name = strncmp (word, "--", 2) == 0 ? word + 2 : word;
  char *value = strchr (name, '=');
  int kind = value == NULL ? FLAG : VALUE;
  if (value != NULL)
    *value++ = '\0';
  if (name != word && (value == NULL || *value != '\0')) {
    if (kind == FLAG && strcmp (name, "verbose") == 0) {
      o->verbose = 1;
      return 0;
    }
    if (kind == VALUE && option_value (o, name, value) == 0)
      return 0;
    for (size_t i = 0; i < sizeof ignored / sizeof *ignored; i++)
      if (strcmp (name, ignored[i].name) == 0 && kind == ignored[i].kind) {
        push (&o->ignored, &o->n_ignored, name);
        return 0;
      }
  }
  snprintf (err, errlen, "command line: option %s%s%s is not known, or its value is missing "
            "or wrong", name == word ? "" : "--", name, value != NULL ? "=..." : "");
  return -1;
}

int
options_parse (const char *text, struct options *o, const char **ret_rest, char *err,
               size_t errlen)
{
  const char *p = text;
  for (;;) {
    p += strspn (p, " \t\n");
    if (*p != '-')
      break;
    if (option_apply (o, option_word (&p), err, errlen) != 0)
      return -1;
  }
  *ret_rest = p;
  return 0;
}

/* After a backslash: the character it stands for, or 0 if it is no escape. */
static char
escape (char c)
{
  static const char from[] = "abfnrtv\\'\"", to[] = "\a\b\f\n\r\t\v\\'\"";
  const char *p = c != '\0' ? strchr (from, c) : NULL;
  return p != NULL ? to[p - from] : '\0';
}

char *
word_expand (char *w)
{
  char *dollar = strchr (w, '$');
  if (dollar == NULL)
    return w;
  const char *v = getenv (dollar + 1);
  char *r;
  *dollar = '\0';
  if (asprintf (&r, "%s%s", w, v != NULL ? v : "") < 0)
    abort ();
  return r;
}

static char *
command_word (const char **p, char *err, size_t errlen)
{
  char *w = grow (NULL, strlen (*p) + 1), *o = w;
  int quoted = **p == '"';
  if (quoted)
    (*p)++;
  while (**p != '\0') {
    char c = **p, e;
    if (quoted ? c == '"' : strchr (" ;&!", c) != NULL)
      break;
    if (c == '\\' && (e = escape ((*p)[1])) != '\0') {
      *o++ = e;
      *p += 2;
    } else {
      *o++ = c;
      (*p)++;
    }
  }
  *o = '\0';
  if (quoted && **p != '"') {
    snprintf (err, errlen, "command line: the quote before '%s' is not closed", w);
    return NULL;
  }
  if (quoted)
    (*p)++;
  return word_expand (w);
}

int
commands_parse (const char *text, struct command **ret, char *err, size_t errlen)
{
  struct command *list = NULL;
  size_t n = 0;
  const char *p = text;
  while (*p != '\0') {
    struct command c = { .end = ';' };
    size_t argc = 0;
    for (;;) {
      p += strspn (p, " ");
      if (*p == '\0' || strchr (";&!", *p) != NULL)
        break;
      char *w = command_word (&p, err, errlen);
      if (w == NULL)
        return -1;
      push (&c.argv, &argc, w);
    }
    if (*p != '\0') {
      c.end = *p++;
      if (c.end == '&' && *p == '!') {
        c.end = 'T';
        p++;
      }
    }
    if (argc == 0)
      continue;
    list = grow (list, (n + 1) * sizeof *list);
    list[n++] = c;
  }
  *ret = list;
  return (int) n;
}
