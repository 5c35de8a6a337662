/* The few requests of WebDAV that a push needs, and the lock that is made of them.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * What nginx (dav_methods PUT DELETE MKCOL MOVE), Apache and others share. nginx heeds no
 * condition of a PUT, so pushers keep out of each other's way by a collection that only one
 * of them can make. It stands for the moments in which files get their names, never during
 * an upload; one that stays longer belongs to a pusher that was killed. */
#include "config.h"
#include "plugins/repo-http/repo.h"
#include <string.h>

#define LOCK_PATH "capstan-push-lock/"
enum { LOCK_POLL_MS = 100, LOCK_STALE_MS = 20000, ABSENT_MAX = 4 };

int
dav_ask (struct repo *r, struct capstan_call *call, const char *method, const char *path,
         const struct capstan_kv *headers, size_t n_headers, int *ret_status)
{
  struct http_req q = { .method = method, .url = repo_url_of (r, call, path), .auth = &r->auth,
                        .flags = HTTP_ANY_STATUS, .headers = headers, .n_headers = n_headers };
  if (strcmp (method, "DELETE") == 0 && capstan_host_->cancelled (call))
    q.flags |= HTTP_LAST_WORD; /* only what would stay behind is removed by then */
  struct http_rsp rsp;
  int rc = q.url != NULL ? http_perform (r->http, call, &q, &rsp) : -CAPSTAN_E_NOMEM;
  if (rc != 0)
    return rc;
  *ret_status = rsp.status;
  /* What is no word about the request itself is an error at once. */
  if (rsp.status == 401 || rsp.status == 429 || (rsp.status >= 500 && rsp.status != 501))
    rc = http_status_error (call, method, &rsp);
  http_rsp_clear (&rsp);
  return rc;
}

static int
expect (struct repo *r, struct capstan_call *call, const char *method, const char *path, int status)
{
  struct http_rsp rsp = { .status = status, .url = repo_url_of (r, call, path) };
  if (status >= 200 && status < 300)
    return 0;
  return rsp.url != NULL ? http_status_error (call, method, &rsp) : -CAPSTAN_E_NOMEM;
}

int
dav_delete (struct repo *r, struct capstan_call *call, const char *path, int gone_ok)
{
  int status = 0, rc = dav_ask (r, call, "DELETE", path, NULL, 0, &status);
  if (rc != 0 || (gone_ok && (status == 404 || status == 410)))
    return rc;
  return expect (r, call, "DELETE", path, status);
}

int
dav_move (struct repo *r, struct capstan_call *call, const char *from, const char *to)
{
  const struct capstan_kv kv[] = { { "Destination", repo_url_of (r, call, to) },
                                   { "Overwrite", "T" } };
  int status = 0, rc = kv[0].value != NULL ? dav_ask (r, call, "MOVE", from, kv, 2, &status)
                                           : -CAPSTAN_E_NOMEM;
  return rc != 0 ? rc : expect (r, call, "MOVE", from, status);
}

int
dav_parents (struct repo *r, struct capstan_call *call, const char *path)
{
  char dir[1400];
  int rc = 0, status;
  for (const char *p = strchr (path, '/'); rc == 0 && p != NULL; p = strchr (p + 1, '/')) {
    snprintf (dir, sizeof dir, "%.*s/", (int) (p - path), path);
    rc = dav_ask (r, call, "MKCOL", dir, NULL, 0, &status); /* 405: it is there */
  }
  return rc;
}

/* 1 if it is there, 0 if not, -code. */
static int
lock_is_there (struct repo *r, struct capstan_call *call)
{
  int status = 0, rc = dav_ask (r, call, "HEAD", LOCK_PATH, NULL, 0, &status);
  return rc != 0 ? rc : status != 404 && status != 410;
}

int
dav_lock (struct repo *r, struct capstan_call *call, int *ret_held)
{
  int status = 0, rc, waited = 0, absent = 0;
  *ret_held = 0;
  for (;;) {
    if ((rc = dav_ask (r, call, "MKCOL", LOCK_PATH, NULL, 0, &status)) != 0)
      return rc;
    if (status == 201) {
      *ret_held = 1;
      return 0;
    }
    if (status == 409 && waited == 0) { /* the folder that is served is not there yet */
      if ((rc = dav_ask (r, call, "MKCOL", "", NULL, 0, &status)) != 0)
        return rc;
      waited = 1;
      continue;
    }
    if (status != 405)
      return 0; /* a server that has no collections */
    if ((rc = lock_is_there (r, call)) == 0) {
      if (++absent == ABSENT_MAX)
        return 0; /* one that says it like that */
      continue; /* or its owner has just released it */
    }
    if (rc < 0 || (rc = capstan_host_->sleep_ms (call, LOCK_POLL_MS)) != 0)
      return rc;
    absent = 0; /* that was seen: there are locks, however often one is just released */
    waited += LOCK_POLL_MS;
    if (waited < LOCK_STALE_MS)
      continue;
    capstan_log (call, CAPSTAN_LOG_WARN, "%s%s was left by a push that was killed; it is removed",
                 r->url, LOCK_PATH);
    if ((rc = dav_delete (r, call, LOCK_PATH, 1)) != 0)
      return rc;
    waited = 0;
  }
}

void
dav_unlock (struct repo *r, struct capstan_call *call)
{
  if (dav_delete (r, call, LOCK_PATH, 1) != 0)
    capstan_log (call, CAPSTAN_LOG_WARN, "%s%s stays; the next push removes it after %d s", r->url,
                 LOCK_PATH, LOCK_STALE_MS / 1000);
}
