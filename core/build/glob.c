/* File name patterns. SPDX-License-Identifier: BSD-3-Clause */
#include "config.h"
#include <dirent.h>
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include "core/base/error.h"
#include "core/build/glob.h"

#define MAX_DEPTH 200 /* directories that '**' goes down */

gboolean
cs_glob_has_magic (const char *pattern)
{
  return strpbrk (pattern, "*?[") != NULL;
}

gsize
cs_glob_fixed (const char *pattern)
{
  const char *magic = strpbrk (pattern, "*?[\\");
  gsize n = magic ? (gsize) (magic - pattern) : strlen (pattern);
  while (n > 0 && pattern[n - 1] != '/')
    n--;
  return n;
}

/* The end of a "[...]" that begins at p, or NULL if it has none: then '[' is itself. */
static const char *
class_end (const char *p, const char *end)
{
  p++;
  if (p < end && (*p == '!' || *p == '^'))
    p++;
  if (p < end && *p == ']') /* first in the list it is meant itself */
    p++;
  while (p < end && *p != ']')
    p++;
  return p < end ? p : NULL;
}

static gboolean
in_class (const char *p, const char *close, guchar c)
{
  gboolean negated = *++p == '!' || *p == '^', found = FALSE;
  if (negated)
    p++;
  while (p < close) {
    guchar from = (guchar) *p++, to = from;
    if (p + 1 < close && *p == '-') {
      to = (guchar) p[1];
      p += 2;
    }
    found |= c >= from && c <= to;
  }
  return found != negated;
}

/* Does one character of a pattern (not '*') match c? Moves *p behind it. */
static gboolean
match_one (const char **p, const char *end, char c)
{
  const char *close;
  if (**p == '?') {
    ++*p;
    return TRUE;
  }
  if (**p == '[' && (close = class_end (*p, end)) != NULL) {
    gboolean ok = in_class (*p, close, (guchar) c);
    *p = close + 1;
    return ok;
  }
  if (**p == '\\' && *p + 1 < end)
    ++*p;
  return *(*p)++ == c;
}

/* One part of a path. After a mismatch the last '*' takes one character more. */
static gboolean
match_part (const char *p, const char *p_end, const char *s, const char *s_end,
            gboolean hidden)
{
  const char *star = NULL, *again = NULL;
  if (s < s_end && *s == '.' && !hidden && p < p_end && strchr ("*?[", *p))
    return FALSE;
  while (s < s_end) {
    if (p < p_end && *p == '*') {
      star = ++p;
      again = s;
      continue;
    }
    if (p < p_end && match_one (&p, p_end, *s)) {
      s++;
      continue;
    }
    if (!star)
      return FALSE;
    p = star;
    s = ++again;
  }
  while (p < p_end && *p == '*')
    p++;
  return p == p_end;
}

static const char *
part_end (const char *s)
{
  return s + strcspn (s, "/");
}

static const char *
next_part (const char *s)
{
  const char *end = part_end (s);
  return *end ? end + 1 : end;
}

static gboolean
is_any_depth (const char *p)
{
  return p[0] == '*' && p[1] == '*' && (p[2] == '/' || !p[2]);
}

/* The same way as match_part, with parts in the place of characters. */
gboolean
cs_glob_match (const char *p, const char *s, gboolean hidden)
{
  const char *star = NULL, *again = NULL;
  while (*p || *s) {
    if (is_any_depth (p)) {
      star = p = next_part (p);
      again = s;
      if (!*p)
        return *s != 0; /* at the end it stands for one part at least */
      continue;
    }
    if (*p && *s && match_part (p, part_end (p), s, part_end (s), hidden)) {
      p = next_part (p);
      s = next_part (s);
      continue;
    }
    if (!star || !*again || (!hidden && *again == '.'))
      return FALSE;
    p = star;
    s = again = next_part (again);
  }
  return TRUE;
}

static int
compare (gconstpointer a, gconstpointer b)
{
  return strcmp (*(char *const *) a, *(char *const *) b);
}

static gboolean
is_dir (const char *path, gboolean follow)
{
  struct stat st;
  return (follow ? stat (path, &st) : lstat (path, &st)) == 0 && S_ISDIR (st.st_mode);
}

static char *
unescape (const char *s, gsize n)
{
  GString *out = g_string_sized_new (n);
  for (gsize k = 0; k < n; k++) {
    if (s[k] == '\\' && k + 1 < n)
      k++;
    g_string_append_c (out, s[k]);
  }
  return g_string_free (out, FALSE);
}

static gboolean expand (GPtrArray *out, const char *at, const char *pattern, guint depth,
                        GError **err);

/* Each name in `at` (with its final '/', or "") that the first part matches. */
static gboolean
expand_names (GPtrArray *out, const char *at, const char *pattern, guint depth, GError **err)
{
  gboolean ok = TRUE, deep = is_any_depth (pattern);
  const char *end = part_end (pattern);
  DIR *d = opendir (*at ? at : ".");
  if (!d)
    return errno == ENOENT || errno == ENOTDIR ||
           cs_fail_errno (err, "open the directory %s", *at ? at : ".");
  for (struct dirent *e; ok && (e = readdir (d)) != NULL;) {
    const char *name = e->d_name;
    if (strcmp (name, ".") == 0 || strcmp (name, "..") == 0 ||
        !match_part (pattern, end, name, name + strlen (name), FALSE))
      continue;
    g_autofree char *path = g_strconcat (at, name, NULL);
    g_autofree char *below = g_strconcat (path, "/", NULL);
    if (!*end) /* a directory is taken with what lies deeper */
      g_ptr_array_add (out, g_steal_pointer (&path));
    else if (deep)
      ok = !is_dir (path, FALSE) || expand (out, below, pattern, depth + 1, err);
    else
      ok = !is_dir (path, TRUE) || expand (out, below, end + 1, depth + 1, err);
  }
  closedir (d);
  return ok;
}

static gboolean
expand (GPtrArray *out, const char *at, const char *pattern, guint depth, GError **err)
{
  const char *end = part_end (pattern);
  if (depth > MAX_DEPTH)
    return cs_fail (err, CAPSTAN_E_LIMIT, "%s: more than %d directories deep", at, MAX_DEPTH);
  while (is_any_depth (pattern) && *end && is_any_depth (end + 1)) {
    pattern = end + 1;
    end = part_end (pattern);
  }
  if (is_any_depth (pattern))
    return (!*end || expand (out, at, end + 1, depth + 1, err)) &&
           expand_names (out, at, pattern, depth, err);
  g_autofree char *part = unescape (pattern, (gsize) (end - pattern));
  g_autofree char *first = g_strndup (pattern, (gsize) (end - pattern));
  if (cs_glob_has_magic (first))
    return expand_names (out, at, pattern, depth, err);
  g_autofree char *path = g_strconcat (at, part, *end ? "/" : "", NULL);
  struct stat st;
  if (*end)
    return expand (out, path, end + 1, depth + 1, err);
  if (lstat (path, &st) == 0)
    g_ptr_array_add (out, g_steal_pointer (&path));
  return TRUE;
}

GPtrArray *
cs_glob_expand (const char *path, gsize from, GError **err)
{
  g_autoptr (GPtrArray) all = g_ptr_array_new_with_free_func (g_free);
  gsize fixed = from + cs_glob_fixed (path + from);
  g_autofree char *at = g_strndup (path, fixed);
  g_autofree char *rest = g_strdup (path + fixed);
  while (*rest && rest[strlen (rest) - 1] == '/')
    rest[strlen (rest) - 1] = 0;
  if (!expand (all, at, rest, 0, err))
    return NULL;
  g_ptr_array_sort (all, compare);
  GPtrArray *once = g_ptr_array_new_with_free_func (g_free);
  for (guint k = 0; k < all->len; k++)
    if (k == 0 || strcmp (g_ptr_array_index (all, k - 1), g_ptr_array_index (all, k)) != 0)
      g_ptr_array_add (once, g_strdup (g_ptr_array_index (all, k)));
  return once;
}
