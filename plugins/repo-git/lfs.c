/* Files of Git LFS, down and up. SPDX-License-Identifier: BSD-3-Clause */
#include "config.h"
#include "plugins/repo-git/lfs.h"
#include <stdlib.h>
#include <string.h>

static const struct http_auth *
auth_of (const struct lfs *l, const struct lfs_action *a)
{
  return !a->authorized && l->auth.password != NULL && http_url_same_origin (a->href, l->url) ? &l->auth : NULL;
}

/* ---- down ---- */
struct down { struct capstan_sink *sink; uint64_t have; };

/* A server that does not go on in the middle sends all of it: what is here is dropped. */
static int
down_data (void *user, uint64_t offset, const void *p, size_t n)
{
  struct down *d = user;
  uint64_t end = offset + n;
  if (end <= d->have)
    return 0;
  size_t drop = d->have > offset ? (size_t) (d->have - offset) : 0;
  return capstan_host_->sink_write (d->sink, (const char *) p + drop, n - drop);
}

int
lfs_download (struct git *g, struct capstan_call *call, const char *commit, const struct git_image *i,
              const struct capstan_file *file, struct capstan_sink *sink)
{
  struct lfs l;
  struct lfs_action a;
  struct down d = { .sink = sink };
  int rc = lfs_open (&l, g, call, commit, "download");
  if (rc == 0)
    rc = lfs_batch (&l, "download", i->lfs, i->size, &a, NULL);
  if (rc == 0 && a.href == NULL)
    rc = capstan_error (call, CAPSTAN_E_NOTFOUND, 0, "%s: the Git LFS server does not say where %s is", l.url,
                        i->file.path);
  if (rc == 0)
    rc = capstan_host_->sink_begin (sink, file, &d.have);
  if (rc == 0 && d.have < i->size) {
    struct http_req q = { .url = a.href, .headers = a.headers, .n_headers = a.n_headers,
                          .flags = d.have > 0 ? HTTP_RANGE : 0, .first = d.have, .last = UINT64_MAX,
                          .max_size = i->size, .auth = auth_of (&l, &a), .on_data = down_data, .user = &d };
    rc = http_perform (l.http, call, &q, NULL);
  }
  lfs_close (&l);
  return rc == 0 ? capstan_host_->sink_end (sink) : rc;
}

/* ---- up ---- */
struct up { struct capstan_source *source; uint32_t i; };

static int64_t
up_read (void *user, uint64_t offset, void *buf, size_t n)
{
  struct up *u = user;
  return capstan_host_->source_pread (u->source, u->i, offset, buf, n);
}

static int
put (struct lfs *l, const struct lfs_action *a, struct capstan_source *source, uint32_t i, uint64_t size)
{
  struct up u = { source, i };
  struct lfs_action with = *a;
  with.headers[with.n_headers++] = (struct capstan_kv){ "Content-Type", "application/octet-stream" };
  struct http_req q = { .method = "PUT", .url = a->href, .headers = with.headers, .flags = HTTP_COUNT,
                        .n_headers = with.n_headers, .read = up_read, .user = &u, .body_size = size,
                        .has_body = 1, .auth = auth_of (l, a) };
  http_progress (l->http, "upload", 0, size);
  return http_perform (l->http, l->call, &q, NULL);
}

/* The server is asked to look whether it has what we sent. */
static int
confirm (struct lfs *l, const struct lfs_action *a, const char *oid, uint64_t size)
{
  const char *body = git_text (l->call, "{\"oid\":\"%s\",\"size\":%llu}", oid, (unsigned long long) size);
  struct lfs_action with = *a;
  with.headers[with.n_headers++] = (struct capstan_kv){ "Content-Type", "application/vnd.git-lfs+json" };
  struct http_req q = { .method = "POST", .url = a->href, .headers = with.headers, .data = body,
                        .n_headers = with.n_headers, .body_size = strlen (body), .has_body = 1,
                        .auth = auth_of (l, a) };
  return http_perform (l->http, l->call, &q, NULL);
}

int
lfs_upload (struct git *g, struct capstan_call *call, const char *commit, struct capstan_source *source,
            uint32_t i)
{
  struct lfs l;
  struct lfs_action up, verify;
  const struct capstan_file *f = capstan_host_->source_file (source, i);
  const char *oid = f->wire_sha256 != NULL ? f->wire_sha256 : f->encoding == NULL ? f->sha256 : NULL;
  if (oid == NULL)
    return capstan_error (call, CAPSTAN_E_INVAL, 0, "%s has no digest, by which Git LFS names it", f->path);
  int rc = lfs_open (&l, g, call, commit, "upload");
  if (rc == 0)
    rc = lfs_batch (&l, "upload", oid, f->wire_size, &up, &verify);
  if (rc == 0 && up.href != NULL)
    rc = put (&l, &up, source, i, f->wire_size);
  if (rc == 0 && up.href != NULL && verify.href != NULL)
    rc = confirm (&l, &verify, oid, f->wire_size);
  lfs_close (&l);
  if (rc == -CAPSTAN_E_NOTFOUND || rc == -CAPSTAN_E_UNSUPPORTED)
    rc = capstan_error (call, CAPSTAN_E_LIMIT, 0, "%s: %s is too large for a file of a Git repository, and "
                        "there is no Git LFS server for it%s%s; compress it, or name a server by the option "
                        "lfs-url", g->url, f->path, l.url != NULL ? " at " : "", l.url != NULL ? l.url : "");
  return rc;
}
