/* Git LFS: pointers in the tree, the files on a server of their own.
 * SPDX-License-Identifier: BSD-3-Clause */
#ifndef CAPSTAN_REPO_GIT_LFS_H
#define CAPSTAN_REPO_GIT_LFS_H
#include "plugins/repo-git/git.h"
#include "plugins/common/http.h"

enum { LFS_POINTER_MAX = 1024 };

/* ---- pointer.c ---- */
/* Is the text a pointer? Then the sha256 and the size of what it stands for. */
int lfs_pointer_read (struct capstan_call *, const char *text, size_t n, const char **ret_oid,
                      uint64_t *ret_size);
const char *lfs_pointer_text (struct capstan_call *, const char *oid, uint64_t size);
/* What the text of a .gitattributes says of a path (relative to its folder): *ret becomes 1
 * or 0, or stays. */
void lfs_attributes_say (const char *text, const char *path, int *ret);

/* ---- server.c: where it is, and what it says to a batch request ---- */
struct lfs {
  struct git *g;
  struct capstan_call *call;
  struct http *http;
  const char *url;       /* without a '/' at its end */
  struct http_auth auth; /* for requests to the origin of url */
  struct git_secret secret;
  const char *filled;    /* what a credential helper of git gave, or NULL */
  struct capstan_kv headers[16]; size_t n_headers; /* given by ssh with the URL */
};
struct lfs_action {
  const char *href; /* NULL: nothing is to be done */
  struct capstan_kv headers[16]; size_t n_headers;
  int authorized;   /* a header of it says who we are */
};
/* commit: where .lfsconfig is looked up; "": nowhere. E_UNSUPPORTED: the repository has none. */
int lfs_open (struct lfs *, struct git *, struct capstan_call *, const char *commit,
              const char *operation);
void lfs_close (struct lfs *);
/* One object. verify: NULL for a download. */
int lfs_batch (struct lfs *, const char *operation, const char *oid, uint64_t size,
               struct lfs_action *ret, struct lfs_action *verify);

/* ---- lfs.c ---- */
int lfs_download (struct git *, struct capstan_call *, const char *commit, const struct git_image *,
                  const struct capstan_file *, struct capstan_sink *);
/* File i of the source, whose wire_sha256 is its name there. */
int lfs_upload (struct git *, struct capstan_call *, const char *commit, struct capstan_source *,
                uint32_t i);
#endif
