/* Environment variables for a guest: "NAME=VALUE" strings. SPDX-License-Identifier: BSD-3-Clause */
#ifndef CS_ENV_H
#define CS_ENV_H
#include <glib.h>

/* Adds to a list of char *; a name that is there already gets the new value. */
gboolean cs_env_set (GPtrArray *env, const char *assignment, GError **err);
/* Each line of a file: NAME=VALUE, all of it as it stands; NAME alone takes the value from
 * the environment of capstan, if it is set there; '#' begins a comment. */
gboolean cs_env_read_file (GPtrArray *env, const char *path, GError **err);
/* Files first, then single ones, which win; lists end with NULL and may be NULL. */
gboolean cs_env_gather (GPtrArray *env, const char *const *files, const char *const *single,
                        GError **err);
#endif
