/* File name patterns: '*', '?', '[a-z]', '[!a-z]', '\' before a character that is meant
 * itself, and '**' as a whole part of a path for any number of directories, also none.
 * Nothing but '**' matches a '/'. Names are bytes. SPDX-License-Identifier: BSD-3-Clause */
#ifndef CS_GLOB_H
#define CS_GLOB_H
#include <glib.h>

gboolean cs_glob_has_magic (const char *pattern);
/* hidden: a wildcard matches a leading '.' of a part too. The time it takes is at most the
 * product of both lengths. */
gboolean cs_glob_match (const char *pattern, const char *path, gboolean hidden);
/* Paths of the host that match, sorted, of char *; empty if nothing does. The first `from`
 * bytes are no pattern. */
GPtrArray *cs_glob_expand (const char *path, gsize from, GError **err);
/* How many bytes of the pattern are in front of the first part that has a pattern; the same
 * in each path that it expands to. */
gsize cs_glob_fixed (const char *pattern);
#endif
