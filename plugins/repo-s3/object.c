/* One request to S3: its URL, its signature, its errors. SPDX-License-Identifier: BSD-3-Clause */
#include "config.h"
#include "s3.h"
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

static const char nothing[] = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

void
s3_sha256 (const void *p, size_t n, char hex[65])
{
  unsigned char md[EVP_MAX_MD_SIZE];
  unsigned int len = 0;
  EVP_Digest (p, n, md, &len, EVP_sha256 (), NULL);
  for (unsigned int i = 0; i < len && i < 32; i++)
    snprintf (hex + 2 * i, 3, "%02x", md[i]);
}

static void
make_url (const struct s3 *s, struct buf *b, const char *key, const char *query)
{
  buf_text (b, s->base);
  if (key != NULL) {
    http_url_escape (b, s->prefix, 1);
    http_url_escape (b, key, 1);
  }
  if (query != NULL)
    buf_printf (b, "?%s", query);
}

const char *
s3_show (const struct s3 *s, const char *key, char *out, size_t n)
{
  struct buf b = { 0 };
  make_url (s, &b, key, NULL);
  const char *url = buf_str (&b);
  http_url_show (url != NULL ? url : s->base, out, n);
  buf_free (&b);
  return out;
}

static const char *
bare (const char *etag, char out[BUCKET_TEXT_MAX + 1])
{
  size_t n = strlen (etag);
  if (n < 2 || n > BUCKET_TEXT_MAX || etag[0] != '"')
    return etag;
  snprintf (out, BUCKET_TEXT_MAX + 1, "%.*s", (int) n - 2, etag + 1);
  return out;
}

int
s3_prepare (struct s3 *s, struct capstan_call *call, const struct s3_req *q, struct s3_signed *r)
{
  size_t n = 0;
  memset (&r->url, 0, sizeof r->url);
  r->auth = (struct http_auth){ .user = s->key_id, .password = s->secret, .sigv4 = s->sigv4 };
  /* always given: without it libcurl would sign the digest of nothing */
  r->headers[n++] = (struct capstan_kv){ "x-amz-content-sha256", q->sha256 != NULL ? q->sha256 : nothing };
  if (s->token != NULL)
    r->headers[n++] = (struct capstan_kv){ "x-amz-security-token", s->token };
  if (q->if_match != NULL)
    r->headers[n++] = (struct capstan_kv){ "If-Match", q->http.has_body && s->bare_etags ? bare (q->if_match, r->etag) : q->if_match };
  if (q->if_none_match != NULL)
    r->headers[n++] = (struct capstan_kv){ "If-None-Match", q->if_none_match };
  if (q->http.has_body)
    r->headers[n++] = (struct capstan_kv){ "Content-Type", q->type != NULL ? q->type : "application/octet-stream" };
  make_url (s, &r->url, q->key, q->query);
  r->http = q->http;
  r->http.method = q->method;
  r->http.url = buf_str (&r->url);
  r->http.headers = r->headers;
  r->http.n_headers = n;
  r->http.auth = s->key_id != NULL ? &r->auth : NULL;
  return r->http.url != NULL ? 0 : capstan_error (call, CAPSTAN_E_NOMEM, 0, "no memory");
}

int
s3_add (struct s3 *s, struct capstan_call *call, const struct s3_req *q)
{
  struct s3_signed r;
  int rc = s3_prepare (s, call, q, &r);
  r.http.flags |= HTTP_ANY_STATUS; /* S3 says more than the status */
  if (rc == 0)
    rc = http_add (s->http, call, &r.http);
  buf_free (&r.url);
  return rc;
}

/* ---- errors ---- */

static const struct { const char *code; uint32_t is; const char *hint; } codes[] = {
  { "AccessDenied", CAPSTAN_E_PERM, NULL },
  { "AllAccessDisabled", CAPSTAN_E_PERM, NULL },
  { "SignatureDoesNotMatch", CAPSTAN_E_AUTH, "the secret key is wrong" },
  { "InvalidAccessKeyId", CAPSTAN_E_AUTH, "the access key is not known there" },
  { "ExpiredToken", CAPSTAN_E_AUTH, "the session token has expired: get a new one" },
  { "InvalidToken", CAPSTAN_E_AUTH, "the session token is wrong" },
  { "RequestTimeTooSkewed", CAPSTAN_E_AUTH, "the clock of this machine is wrong" },
  { "NoSuchBucket", CAPSTAN_E_NOTFOUND, "there is no such bucket" },
  { "NoSuchKey", CAPSTAN_E_NOTFOUND, NULL },
  { "NoSuchUpload", CAPSTAN_E_NOTFOUND, NULL },
  { "PreconditionFailed", CAPSTAN_E_CONFLICT, "somebody else has changed it" },
  { "ConditionalRequestConflict", CAPSTAN_E_CONFLICT, "somebody else is changing it" },
  { "OperationAborted", CAPSTAN_E_CONFLICT, "somebody else is changing it" },
  { "NotImplemented", CAPSTAN_E_UNSUPPORTED, NULL },
  { "BadDigest", CAPSTAN_E_CHECKSUM, NULL },
  { "XAmzContentSHA256Mismatch", CAPSTAN_E_CHECKSUM, NULL },
  { "InvalidPart", CAPSTAN_E_CHECKSUM, NULL },
  { "EntityTooLarge", CAPSTAN_E_LIMIT, NULL },
  { "QuotaExceeded", CAPSTAN_E_QUOTA, NULL },
  { "RequestTimeout", CAPSTAN_E_TIMEOUT, NULL },
  { "AuthorizationHeaderMalformed", CAPSTAN_E_INVAL, "the bucket is in another region" },
  { "PermanentRedirect", CAPSTAN_E_INVAL, "the bucket is in another region" },
  { "IllegalLocationConstraintException", CAPSTAN_E_INVAL, "the bucket is in another region" },
};

static int
read_error (struct capstan_call *call, const struct http_rsp *r, struct bucket_page *ret)
{
  struct bucket *b = r->body != NULL && r->body_len > 0 && r->body[0] == '<' ? bucket_new (call, NULL, NULL) : NULL;
  int rc = b != NULL ? bucket_feed (b, "error", r->body, r->body_len) : -1;
  if (rc == 0)
    rc = bucket_end (b, "error", ret);
  bucket_free (b);
  return rc == 0 && ret->code[0] != '\0';
}

static int
say (struct s3 *s, struct capstan_call *call, const char *method, const struct http_rsp *r,
     const struct bucket_page *e)
{
  char url[S3_URL_MAX];
  const char *region = http_header (r, "x-amz-bucket-region"), *hint = NULL;
  uint32_t code = r->status >= 500 ? CAPSTAN_E_NET : CAPSTAN_E_INVAL;
  for (size_t i = 0; i < sizeof codes / sizeof *codes; i++)
    if (strcmp (codes[i].code, e->code) == 0) {
      code = codes[i].is;
      hint = codes[i].hint;
    }
  if (code == CAPSTAN_E_PERM && s->key_id == NULL) {
    code = CAPSTAN_E_AUTH;
    hint = "no credentials were found: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or see "
           "capstan-repo-s3(1)";
  }
  if (code == CAPSTAN_E_AUTH && s->from_host)
    capstan_host_->secret_result (call, s->realm, "secret_access_key", 0);
  int other = hint != NULL && strstr (hint, "region") != NULL && region != NULL;
  return capstan_error (call, code, 0, "%s %s: %d %s%s%s%s%s%s%s", method != NULL ? method : "GET",
                        http_url_show (r->url, url, sizeof url), r->status, e->code,
                        e->message[0] != '\0' ? ": " : "", e->message, hint != NULL ? "; " : "",
                        hint != NULL ? hint : "", other ? ": set region to " : "", other ? region : "");
}

int
s3_error (struct s3 *s, struct capstan_call *call, const char *method, const struct http_rsp *r)
{
  struct bucket_page e;
  static const struct { int status; const char *code; } bare[] = { /* HEAD has no body */
    { 301, "PermanentRedirect" }, { 403, "AccessDenied" }, { 412, "PreconditionFailed" }, { 501, "NotImplemented" } };
  if (r->status == 429 || r->status == 503 || r->status == 500)
    return http_status_error (call, method, r);
  if (read_error (call, r, &e))
    return say (s, call, method, r, &e);
  memset (&e, 0, sizeof e);
  for (size_t i = 0; i < sizeof bare / sizeof *bare; i++)
    if (bare[i].status == r->status)
      strcpy (e.code, bare[i].code);
  return e.code[0] != '\0' ? say (s, call, method, r, &e) : http_status_error (call, method, r);
}

int
s3_perform (struct s3 *s, struct capstan_call *call, const struct s3_req *q, struct http_rsp *ret)
{
  struct s3_signed r;
  struct http_rsp rsp = { 0 };
  int rc = s3_prepare (s, call, q, &r);
  r.http.flags |= HTTP_ANY_STATUS;
  if (rc == 0)
    rc = http_perform (s->http, call, &r.http, &rsp);
  buf_free (&r.url);
  if (rc == 0 && (rsp.status < 200 || rsp.status > 299))
    rc = s3_error (s, call, q->method, &rsp);
  if (rc == 0 && ret != NULL)
    *ret = rsp;
  else
    http_rsp_clear (&rsp);
  return rc;
}

/* ---- XML ---- */

struct xml { struct bucket *b; char where[S3_URL_MAX]; };

static int
xml_data (void *user, uint64_t at, const void *p, size_t n)
{
  struct xml *x = user;
  return bucket_feed (x->b, x->where, p, n);
}

int
s3_xml (struct s3 *s, struct capstan_call *call, const struct s3_req *asked,
        int (*item) (void *, const struct bucket_item *), void *user, struct bucket_page *ret)
{
  struct s3_req q = *asked;
  struct http_rsp rsp = { 0 };
  struct xml x = { .b = bucket_new (call, item, user) };
  struct bucket_page page;
  s3_show (s, q.key, x.where, sizeof x.where);
  if (x.b == NULL)
    return capstan_error (call, CAPSTAN_E_NOMEM, 0, "no memory");
  q.http.on_data = xml_data;
  q.http.user = &x;
  int rc = s3_perform (s, call, &q, &rsp);
  if (rc == 0)
    rc = bucket_end (x.b, x.where, &page);
  if (rc == 0 && strcmp (page.root, "Error") == 0)
    rc = say (s, call, q.method, &rsp, &page);
  if (rc == 0)
    *ret = page;
  bucket_free (x.b);
  http_rsp_clear (&rsp);
  return rc;
}

struct listing {
  size_t prefix; /* bytes of ours in front of a key */
  int (*item) (void *, const struct bucket_item *);
  void *user;
};

static int
list_item (void *user, const struct bucket_item *i)
{
  struct listing *l = user;
  struct bucket_item mine = *i;
  if (i->key == NULL || strlen (i->key) < l->prefix)
    return 0;
  mine.key = i->key + l->prefix;
  return l->item (l->user, &mine);
}

int
s3_list (struct s3 *s, struct capstan_call *call, const char *prefix, const char *delimiter,
         int (*item) (void *, const struct bucket_item *), void *user)
{
  struct listing l = { strlen (s->prefix), item, user };
  struct bucket_page page = { 0 };
  int rc = 0;
  do { /* sorted by key, as the signature wants it */
    struct buf b = { 0 };
    if (page.token[0] != '\0') {
      buf_text (&b, "continuation-token=");
      http_url_escape (&b, page.token, 0);
      buf_text (&b, "&");
    }
    if (delimiter != NULL) {
      buf_text (&b, "delimiter=");
      http_url_escape (&b, delimiter, 0);
      buf_text (&b, "&");
    }
    buf_text (&b, "list-type=2&prefix=");
    http_url_escape (&b, s->prefix, 0);
    http_url_escape (&b, prefix, 0);
    const char *query = buf_str (&b);
    struct s3_req q = { .query = query };
    char before[sizeof page.token];
    strcpy (before, page.token);
    rc = query != NULL ? s3_xml (s, call, &q, list_item, &l, &page)
                       : capstan_error (call, CAPSTAN_E_NOMEM, 0, "no memory");
    buf_free (&b);
    if (rc == 0 && page.truncated && (page.token[0] == '\0' || strcmp (before, page.token) == 0))
      rc = capstan_error (call, CAPSTAN_E_NET, 0, "%s: the listing goes on, but the server does not say where",
                          s->realm);
  } while (rc == 0 && page.truncated);
  return rc;
}
