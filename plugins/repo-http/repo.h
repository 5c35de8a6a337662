/* Inside repo-http. SPDX-License-Identifier: BSD-3-Clause */
#ifndef REPO_HTTP_H
#define REPO_HTTP_H
#include "plugins/common/fetch.h"

struct releases; /* github.c */

/* One that is open: a folder on a web server, or the releases of a GitHub repository. */
struct repo {
  struct http *http;
  char *url;                    /* as messages call it; of a folder: ends in "/" */
  char *api, *owner, *project;  /* GitHub: base of the API, else NULL */
  char *release;                /* GitHub: "any", "latest" or a tag */
  uint32_t connections;         /* for one large file */
  int warned;                   /* that GitHub's limit is used up */
  struct releases *releases;    /* what was read of them, or NULL */
  struct http_auth auth;        /* of the operation under way; {0}: none */
};
const char *repo_param (const struct capstan_kv *params, size_t n, const char *key);

/* ---- flat.c: the original's layout ---- */
enum { FLAT_INDEX_MAX = 1 << 20, FLAT_IMAGES = 3 };
struct found { /* a file that may be there */
  char path[1400];
  const char *encoding; /* "zstd", "gzip", NULL */
  int status, html;     /* html: a page where a file was asked for */
  uint64_t size;        /* UINT64_MAX: not said */
  char etag[200];       /* "" if there is none */
};
struct entry_state { /* an entry as it is now */
  struct found index, images[FLAT_IMAGES];
  char etag[36];      /* of the whole; "" if nothing is there */
  char modified[64];  /* Last-Modified of the index, or "" */
};
int found_is (const struct found *);
/* Looks; that nothing is there is no error. dir: the entry's folder, "a/b/" or "". */
int flat_look (struct repo *, struct capstan_call *, const char *dir, const char *name,
               const char *suffix, struct entry_state *ret);
/* ref: "ETAG SUFFIX NAME". 0 unless it is one. Text lives in the call. */
int flat_ref (struct capstan_call *, const char *ref, const char **ret_etag,
              const char **ret_suffix, const char **ret_name);
const char *flat_make_ref (struct capstan_call *, const char *etag, const char *suffix,
                           const char *name);
/* The etag of an entry whose index.yaml is this. */
void flat_etag (const void *index, size_t n, char out[36]);
int flat_resolve (struct repo *, struct capstan_call *, const struct capstan_query *,
                  struct capstan_list *);
int flat_list (struct repo *, struct capstan_call *, const struct capstan_query *,
               struct capstan_list *, const char **ret_next);
/* suffix and encoding of "a/b/b.qemu.gz" for name "a/b"; 0 if it is no image of it. suffix is
 * cut off in a copy that lives in the call. */
int flat_split (struct capstan_call *, const char *path, const char *name, const char **ret_suffix,
                const char **ret_encoding);

/* Images of name with any suffix, as the listing has them: each with its NUL. */
int flat_images (struct repo *, struct capstan_call *, const char *name, struct buf *out);

/* ---- push.c, dav.c, index.c ---- */
int flat_push (struct repo *, struct capstan_call *, const struct capstan_push_req *,
               struct capstan_source *, struct capstan_push_rsp *);
int flat_remove (struct repo *, struct capstan_call *, const char *ref);
int flat_maintain (struct repo *, struct capstan_call *, uint64_t older_than, int dry_run);

/* One request without answer to speak of: PUT, DELETE, MKCOL, MOVE. *ret_status is the status;
 * what is no answer at all is an error. header may be NULL. */
int dav_ask (struct repo *, struct capstan_call *, const char *method, const char *path,
             const struct capstan_kv *headers, size_t n_headers, int *ret_status);
/* The same, where 2xx is success and anything else its error; 404 too unless gone_ok. */
int dav_delete (struct repo *, struct capstan_call *, const char *path, int gone_ok);
int dav_move (struct repo *, struct capstan_call *, const char *from, const char *to);
/* The folders above path, as far as they are missing. */
int dav_parents (struct repo *, struct capstan_call *, const char *path);
/* One pusher at a time, by a collection that only one can make. *ret_held 0: this server
 * makes none, and nothing is locked. */
int dav_lock (struct repo *, struct capstan_call *, int *ret_held);
void dav_unlock (struct repo *, struct capstan_call *);
const char *repo_url_of (struct repo *, struct capstan_call *, const char *path);

struct index_change { const char *key; uint64_t size; const char *sha256; }; /* size UINT64_MAX:
                                                                  taken away */
/* The listing at the root, if this server keeps one, or none is there yet. */
int index_update (struct repo *, struct capstan_call *, const struct index_change *, size_t n);

/* ---- github.c ---- */
int github_resolve (struct repo *, struct capstan_call *, const struct capstan_query *,
                    struct capstan_list *);
int github_list (struct repo *, struct capstan_call *, const struct capstan_query *,
                 struct capstan_list *, const char **ret_next);
int github_fetch (struct repo *, struct capstan_call *, const struct capstan_fetch_req *,
                  struct capstan_sink *, struct capstan_fetch_rsp *);
int github_maintain (struct repo *, struct capstan_call *, uint64_t older_than, int dry_run);
void github_free (struct releases *);
#endif
