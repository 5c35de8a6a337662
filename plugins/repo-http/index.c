/* The static listing at the root of a web server, kept up to date by pushes.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * It is index.html, which web servers answer for "/": the document of S3 that the original
 * reads there ('capstan repo index' writes it). A page of somebody's own is left alone. */
#include "config.h"
#include "plugins/common/bucket.h"
#include "plugins/repo-http/repo.h"
#include <inttypes.h>
#include <string.h>
#include <time.h>

#define LISTING "index.html"
enum { TRIES = 4, LISTING_MAX = 32 << 20 };

struct rewrite {
  struct buf out;
  const struct index_change *change;
  size_t n, present; /* present: of those that are to be there, with the right size */
  int wrong;         /* one that is not to be there, or not so, is */
};

/* Text for XML; what XML cannot hold becomes '?'. */
static void
put_text (struct buf *b, const char *name, const char *text)
{
  buf_printf (b, "<%s>", name);
  for (const char *p = text; *p != '\0'; p++) {
    const char *as = *p == '&' ? "&amp;" : *p == '<' ? "&lt;" : *p == '>' ? "&gt;"
                     : (unsigned char) *p < 0x20 ? "?" : NULL;
    buf_add (b, as != NULL ? as : p, as != NULL ? strlen (as) : 1);
  }
  buf_printf (b, "</%s>", name);
}

static void
put_item (struct buf *b, const struct bucket_item *k)
{
  buf_text (b, "<Contents>");
  put_text (b, "Key", k->key);
  if (k->modified != INT64_MIN) {
    time_t t = (time_t) k->modified;
    struct tm tm;
    char when[40];
    strftime (when, sizeof when, "%Y-%m-%dT%H:%M:%S.000Z", gmtime_r (&t, &tm));
    put_text (b, "LastModified", when);
  }
  if (k->etag != NULL)
    put_text (b, "ETag", k->etag);
  if (k->size != UINT64_MAX)
    buf_printf (b, "<Size>%" PRIu64 "</Size>", k->size);
  if (k->sha256 != NULL)
    put_text (b, "Sha256", k->sha256);
  buf_text (b, "</Contents>\n");
}

static const struct index_change *
change_of (const struct rewrite *w, const char *key)
{
  for (size_t i = 0; i < w->n; i++)
    if (strcmp (w->change[i].key, key) == 0)
      return &w->change[i];
  return NULL;
}

static int
keep_item (void *user, const struct bucket_item *k)
{
  struct rewrite *w = user;
  if (k->key == NULL || strcmp (k->element, "Contents") != 0)
    return 0;
  const struct index_change *c = change_of (w, k->key);
  if (c == NULL)
    put_item (&w->out, k);
  else if (c->size != UINT64_MAX && c->size == k->size)
    w->present++;
  else
    w->wrong = 1;
  return 0;
}

/* The new text from the old one. *ret_there: the old one is a listing. *ret_same: and it says
 * already what it is to say. */
static int
rewrite (struct capstan_call *call, const char *url, const char *old, size_t len, struct rewrite *w,
         int *ret_there, int *ret_same)
{
  struct bucket_page page = { .truncated = 0 };
  struct bucket *b = bucket_new (call, keep_item, w);
  size_t adds = 0;
  if (b == NULL)
    return capstan_error (call, CAPSTAN_E_NOMEM, 0, "no memory for the listing");
  buf_text (&w->out, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
                     "<ListBucketResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">\n"
                     "<IsTruncated>false</IsTruncated>\n");
  *ret_there = len > 0 && bucket_feed (b, url, old, len) == 0 && bucket_end (b, url, &page) == 0 &&
               strcmp (page.root, "ListBucketResult") == 0;
  bucket_free (b);
  for (size_t i = 0; i < w->n; i++)
    if (w->change[i].size != UINT64_MAX) {
      struct bucket_item k = { .key = w->change[i].key, .modified = (int64_t) time (NULL),
                               .size = w->change[i].size, .sha256 = w->change[i].sha256 };
      put_item (&w->out, &k);
      adds++;
    }
  buf_text (&w->out, "</ListBucketResult>\n");
  *ret_same = *ret_there && !w->wrong && w->present == adds;
  if (buf_str (&w->out) == NULL)
    return capstan_error (call, CAPSTAN_E_NOMEM, 0, "no memory for the listing");
  return 0;
}

/* Nothing answers at the root: a listing may be made there. A page there (a site's own, or
 * the server's own list of files) must not be hidden. */
static int
root_is_free (struct repo *r, struct capstan_call *call)
{
  int status = 0;
  return dav_ask (r, call, "HEAD", "", NULL, 0, &status) == 0 && (status == 403 || status == 404);
}

static int
put (struct repo *r, struct capstan_call *call, const char *url, struct buf *text, const char *etag,
     int *ret_status)
{
  struct capstan_kv kv[] = { { "Content-Type", "text/html" }, { "If-None-Match", "*" } };
  struct http_req q = { .method = "PUT", .url = url, .auth = &r->auth, .flags = HTTP_ANY_STATUS,
                        .headers = kv, .n_headers = 2, .data = text->s, .body_size = text->len,
                        .has_body = 1 };
  struct http_rsp rsp;
  if (etag != NULL)
    kv[1] = (struct capstan_kv){ "If-Match", etag };
  int rc = http_perform (r->http, call, &q, &rsp);
  if (rc != 0)
    return rc;
  *ret_status = rsp.status;
  if (rsp.status != 412 && rsp.status != 409 && (rsp.status < 200 || rsp.status > 299))
    rc = http_status_error (call, "PUT", &rsp);
  http_rsp_clear (&rsp);
  return rc;
}

int
index_update (struct repo *r, struct capstan_call *call, const struct index_change *change,
              size_t n)
{
  const char *url = repo_url_of (r, call, LISTING), *text;
  struct http_req q = { .url = url, .auth = &r->auth, .flags = HTTP_ANY_STATUS };
  int rc = url != NULL ? 0 : -CAPSTAN_E_NOMEM, written = 0, again = 1, adds = 0;
  for (size_t i = 0; i < n; i++)
    adds |= change[i].size != UINT64_MAX;
  /* Read, write, and read again: where conditions are not heeded and another writer was in
   * between, the second reading shows it. */
  for (int i = 0; rc == 0 && again && i < TRIES; i++) {
    struct rewrite w = { .change = change, .n = n };
    struct http_rsp rsp;
    size_t len;
    int status = 0;
    if ((rc = http_text (r->http, call, &q, LISTING_MAX, &text, &len, &rsp)) != 0)
      break;
    int there = 0, same = 0;
    rc = rewrite (call, url, text, rsp.status == 200 ? len : 0, &w, &there, &same);
    if (rc == 0 && same)
      again = 0;
    else if (rc == 0 && !there &&
             (!adds || rsp.status != 404 || (!written && !root_is_free (r, call)))) {
      if (adds)
        capstan_log (call, CAPSTAN_LOG_INFO, "%s keeps no listing, so nothing was added to one; "
                     "'capstan repo index' makes it", r->url);
      again = 0;
    } else if (rc == 0) {
      if (!there && !written)
        capstan_log (call, CAPSTAN_LOG_INFO, "%s had no listing; one is made, and 'capstan repo "
                     "index' adds what else lies there", r->url);
      rc = put (r, call, url, &w.out, there ? http_etag (&rsp) : NULL, &status);
      written = 1;
    }
    buf_free (&w.out);
    http_rsp_clear (&rsp);
  }
  if (rc == 0 && again)
    rc = capstan_error (call, CAPSTAN_E_CONFLICT, 0, "%s: others change it all the time", url);
  return rc;
}
