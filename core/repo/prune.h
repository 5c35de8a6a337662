/* What is of no use any more. SPDX-License-Identifier: BSD-3-Clause */
#ifndef CS_PRUNE_H
#define CS_PRUNE_H
#include <glib.h>

struct cs_repo;
/* Called for each thing that is, or with dry_run would be, removed. */
typedef void (*cs_prune_fn) (const char *what, const char *path, guint64 bytes, gpointer data);
/* Partial downloads, uploads that were prepared, images that were converted, temporary files of
 * dead writers. What another capstan works on stays. */
gboolean cs_prune (gboolean dry_run, cs_prune_fn fn, gpointer data, GError **err);
/* Unfinished uploads in a repository, older than so many seconds; the plugin says which. */
gboolean cs_repo_maintain (struct cs_repo *r, guint64 older_than, gboolean dry_run, GError **err);
#endif
