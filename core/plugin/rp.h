/* A repository plugin as the rest of the core sees it. SPDX-License-Identifier: BSD-3-Clause
 *
 * What each operation means stands above capstan_repo_ops in capstan/plugin.h. Here the call
 * is made, its error becomes a GError, and what is missing is CAPSTAN_E_UNSUPPORTED. */
#ifndef CS_RP_H
#define CS_RP_H
#include "core/plugin/loader.h"

struct cs_rp;
typedef struct cs_entry cs_entry; /* for g_autoptr only */
G_DEFINE_AUTOPTR_CLEANUP_FUNC (cs_entry, cs_entry_free)

/* By the type that was asked for, or by the URL: see "Choosing" there. */
struct cs_plugin *cs_rp_find (const char *url, const char *type, GError **err);
/* options: "key=value", NULL-terminated, or NULL. A URL with a password in it is refused. */
struct cs_rp *cs_rp_open (const char *url, const char *type, const char *const *options,
                          GError **err);
void cs_rp_close (struct cs_rp *rp);
const char *cs_rp_name (const struct cs_rp *rp);
const char *cs_rp_url (const struct cs_rp *rp);
guint64 cs_rp_bits (const struct cs_rp *rp);          /* CAPSTAN_REPO_* */
const char *cs_rp_encodings (const struct cs_rp *rp); /* "gzip,none"; never NULL */
/* What the last failed operation asked to wait before the next; 0: it did not. */
guint cs_rp_retry_ms (const struct cs_rp *rp);

/* Adds cs_entry to out. *ret_next: g_free, NULL at the end. */
gboolean cs_rp_list (struct cs_rp *rp, const struct capstan_query *q, GPtrArray *out,
                     char **ret_next, GError **err);
gboolean cs_rp_resolve (struct cs_rp *rp, const struct capstan_query *q, struct cs_entry **ret,
                        GError **err);
gboolean cs_rp_fetch (struct cs_rp *rp, const struct capstan_fetch_req *q, struct capstan_sink *s,
                      GError **err);
/* g_free of what is answered; any may be NULL. */
struct cs_pushed { char *ref, *etag, *version; };
void cs_pushed_clear (struct cs_pushed *p);
gboolean cs_rp_push (struct cs_rp *rp, const struct capstan_push_req *q, struct capstan_source *s,
                     struct cs_pushed *ret, GError **err);
gboolean cs_rp_remove (struct cs_rp *rp, const char *ref, GError **err);
gboolean cs_rp_maintain (struct cs_rp *rp, guint64 older_than, gboolean dry_run, GError **err);
#endif
