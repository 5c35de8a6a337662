/* Repositories: where images come from and go to. SPDX-License-Identifier: BSD-3-Clause
 *
 * The contract with the plugins stands above capstan_repo_ops in capstan/plugin.h. */
#ifndef CS_REPO_H
#define CS_REPO_H
#include "capstan/plugin.h"
#include "core/repo/manifest.h"
#include "core/store/store.h"
#include <glib.h>

/* ---- which one (config.c) ---- */
/* A repository as the user names it: a name of config.yaml, or a URL. */
struct cs_repo_conf {
  char *name;     /* of config.yaml; NULL: a URL was given */
  char *url;
  char *type;     /* the plugin's name; NULL: by the URL */
  char **options; /* "key=value" for the plugin, NULL-terminated */
  gboolean append_name; /* one repository for each "owner/name" */
};
void cs_repo_conf_free (struct cs_repo_conf *c);
void cs_repo_conf_set (struct cs_repo_conf *c, const char *key, const char *value);
/* The repositories of config.yaml, of struct cs_repo_conf *; empty if there are none. */
GPtrArray *cs_repo_confs (GError **err);
/* Adds or replaces (c NULL: removes) one; everything else in config.yaml stays. */
gboolean cs_repo_conf_save (const char *name, const struct cs_repo_conf *c, GError **err);

/* What the command line says of the repository. */
struct cs_repo_choice {
  const char *repo, *url, *release, *type; /* --repo, -u, -r, --repo-type */
  gboolean s3;                             /* --s3 */
};
/* Those to ask, in turn, of struct cs_repo_conf *: one, unless nothing was chosen anywhere:
 * then those of the original. None if the user turned them off ("none"). */
GPtrArray *cs_repo_choose (const struct cs_repo_choice *c, GError **err);

/* ---- one that is open (repo.c) ---- */
struct cs_repo;
/* retries: how often what fails for the moment is tried again; -1: as usual. */
struct cs_repo *cs_repo_open (const struct cs_repo_conf *c, int retries, GError **err);
void cs_repo_close (struct cs_repo *r);
typedef struct cs_repo cs_repo; /* for g_autoptr only */
G_DEFINE_AUTOPTR_CLEANUP_FUNC (cs_repo, cs_repo_close)
const char *cs_repo_url (const struct cs_repo *r);
/* Images of it, of struct cs_found *, by name. text NULL: all; else those that have it in
 * their name or description. */
struct cs_found { char *name; struct cs_manifest *manifest; }; /* manifest may be NULL */
GPtrArray *cs_repo_search (struct cs_repo *r, const char *text, const char *suffix, GError **err);
gboolean cs_repo_remove (struct cs_repo *r, const char *name, GError **err);

/* ---- what is done with it ---- */
struct cs_pull_opts {
  const char *name, *version; /* version NULL: whatever there is */
  const char *as;             /* name in the store; NULL: name */
  const char *suffix;         /* "qemu" */
  gboolean force;             /* take a digest that changed, fetch what is here */
  int retries;
};
struct cs_pulled { char *name, *url, *version, *sha256, *format; guint64 size; gboolean was_here; };
void cs_pulled_clear (struct cs_pulled *p);
/* From the first of the repositories that has it. One that is here already and the same is
 * not fetched. ret may be NULL. */
gboolean cs_pull (GPtrArray *repos, const struct cs_pull_opts *o, struct cs_pulled *ret, GError **err);
/* For build and run: pulls a name that the store lacks, and says so. FALSE with
 * CAPSTAN_E_NOTFOUND if no repository has it or none is to be asked. */
gboolean cs_pull_missing (const char *name, const char *suffix, GError **err);
/* What cs_pull_missing asks, where the command line says something. Kept, not copied. */
void cs_pull_choice (const struct cs_repo_choice *c);

struct cs_push_opts {
  const char *name, *as, *suffix;
  const char *compress; /* "none", "gzip", "zstd"; NULL: what the repository likes */
  const char *message;
  gboolean force;       /* over an image that is not the one known here */
};
gboolean cs_push (struct cs_repo *r, const struct cs_push_opts *o, struct cs_pulled *ret, GError **err);

/* ---- hosting one (listing.c) ---- */
/* Of a folder laid out as a repository: completes each index.yaml with digests (what did not
 * change since is not read again) and writes the listing that searches read. */
gboolean cs_repo_index (const char *dir, guint *ret_entries, guint *ret_hashed, GError **err);
#endif
