/* Inside the room. SPDX-License-Identifier: BSD-3-Clause */
#ifndef CS_ROOM_H
#define CS_ROOM_H
#include "core/plugin/rp.h"
#include "core/repo/repo.h"

struct cs_repo { struct cs_rp *rp; int retries; };

/* ---- trying again ---- */
struct cs_retry { guint n; guint64 got; };
/* An operation of r failed with *err, having got so many bytes. TRUE: the time to wait is
 * over and *err is cleared, try again. Who gets on has all the tries anew. */
gboolean cs_retry (struct cs_retry *t, const struct cs_repo *r, guint64 got, GError **err);

/* One process at a time: the lock `name' in the store's locks folder. Who has to wait says
 * that `label' is on its way already. -1: the error. */
int cs_lock_wait (const char *name, const char *label, gboolean *ret_waited, GError **err);

/* The entry of a name, tried again as need be. */
struct cs_entry *cs_repo_resolve (struct cs_repo *r, const char *name, const char *version,
                                  const char *suffix, GError **err);
/* Its index.yaml; an empty one where it has none. */
struct cs_manifest *cs_repo_manifest (struct cs_repo *r, const struct cs_entry *e, GError **err);

/* A line of index.yaml that says something of this store only. */
gboolean cs_index_line_is_local (const char *line);

/* ---- known.c: what an image of a repository was when it was last seen from here ---- */
struct cs_known { char *sha256, *version, *created, *seen; };
void cs_known_clear (struct cs_known *k);
/* FALSE: it was never. */
gboolean cs_known_get (const char *url, const char *name, const char *suffix, struct cs_known *ret);
gboolean cs_known_put (const char *url, const char *name, const char *suffix, const char *sha256,
                       const char *version, const char *created, GError **err);
void cs_known_forget (const char *url, const char *name);
#endif
