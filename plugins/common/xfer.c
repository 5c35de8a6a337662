/* One transfer: its settings and what libcurl calls. SPDX-License-Identifier: BSD-3-Clause */
#include "config.h"
#include "plugins/common/http-int.h"
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

enum { BUFFER = 256 << 10, SLOW = 1000 /* bytes a second */ };

void
http_xfer_count (struct xfer *x, int64_t n)
{
  if (!(x->req.flags & HTTP_COUNT))
    return;
  x->counted += (uint64_t) n;
  x->h->done += (uint64_t) n;
}

static int
failed (struct xfer *x, uint32_t code, const char *what)
{
  char url[300];
  return x->rc = capstan_error (x->call, code, 0, "%s %s: %s", x->req.method,
                                http_url_show (x->url, url, sizeof url), what);
}

/* ---- what libcurl calls ---- */

/* From where it was asked for, and up to there or to the end of the file. */
static int
right_range (const struct http_req *q, const struct http_rsp *r)
{
  uint64_t last = r->first + r->size - 1;
  return (q->flags & HTTP_RANGE) && r->first == q->first && last <= q->last &&
         (last == q->last || r->total == UINT64_MAX || last + 1 == r->total);
}

/* The blank line after the headers of a response that is not an interim one. */
static void
head_ends (struct xfer *x)
{
  struct http_rsp *r = &x->rsp;
  int good = r->status >= 200 && r->status < 300;
  x->head_done = 1;
  x->follow = !(x->req.flags & HTTP_NO_REDIRECT) && http_rsp_redirects (r);
  if (x->follow)
    return;
  if (http_rsp_sizes (r) != 0 && good)
    failed (x, CAPSTAN_E_NET, "the answer's Content-Length or Content-Range makes no sense");
  else if (r->status == 206 && !right_range (&x->req, r))
    failed (x, CAPSTAN_E_NET, "the server sent another range than was asked for");
  else if (good && x->req.max_size > 0 && r->size != UINT64_MAX && r->size > x->req.max_size)
    failed (x, CAPSTAN_E_LIMIT, "the answer is larger than it may be");
  else if (x->req.on_head != NULL && (good || (x->req.flags & HTTP_ANY_STATUS)))
    x->rc = x->req.on_head (x->req.user, r);
}

static size_t
on_header (char *line, size_t one, size_t n, void *user)
{
  struct xfer *x = user;
  if (x->head_done) /* trailers */
    return n;
  http_rsp_line (&x->rsp, line, n);
  if ((n == 2 && line[0] == '\r') || (n == 1 && line[0] == '\n'))
    if (x->rsp.status >= 200)
      head_ends (x);
  return x->rc == 0 ? n : 0;
}

/* The body of an answer that is none of ours: its beginning, for the error. */
static size_t
keep_words (struct xfer *x, const char *p, size_t n)
{
  struct http_rsp *r = &x->rsp;
  size_t take = HTTP_BODY_KEPT - r->body_len < n ? HTTP_BODY_KEPT - r->body_len : n;
  x->got += n;
  if (!x->follow && r->body == NULL)
    r->body = malloc (HTTP_BODY_KEPT + 1);
  if (!x->follow && r->body != NULL) {
    memcpy (r->body + r->body_len, p, take);
    r->body[r->body_len += take] = '\0';
  }
  x->enough = x->got > HTTP_BODY_READ;
  return x->enough ? 0 : n;
}

static size_t
on_write (char *p, size_t one, size_t n, void *user)
{
  struct xfer *x = user;
  struct http_rsp *r = &x->rsp;
  if (x->rc != 0)
    return 0;
  if (x->follow || r->status < 200 || r->status >= 300)
    return keep_words (x, p, n);
  if (r->status == 206 && n > r->size - x->got) {
    failed (x, CAPSTAN_E_NET, "the server sent more than the range that was asked for");
    return 0;
  }
  if (x->req.max_size > 0 && n > x->req.max_size - x->got) {
    failed (x, CAPSTAN_E_LIMIT, "the answer is larger than it may be");
    return 0;
  }
  if (x->req.on_data != NULL)
    x->rc = x->req.on_data (x->req.user, r->first + x->got, p, n);
  x->got += n;
  if (!x->req.has_body)
    http_xfer_count (x, (int64_t) n);
  return x->rc == 0 ? n : 0;
}

static size_t
on_read (char *p, size_t one, size_t n, void *user)
{
  struct xfer *x = user;
  uint64_t left = x->req.body_size - x->at;
  if (n > left)
    n = (size_t) left;
  if (n == 0)
    return 0;
  int64_t got = (int64_t) n;
  if (x->req.read == NULL)
    memcpy (p, (const char *) x->req.data + x->at, n);
  else
    got = x->req.read (x->req.user, x->at, p, n);
  if (got <= 0 || got > (int64_t) n) {
    if (got < 0)
      x->rc = (int) got;
    else
      failed (x, CAPSTAN_E_IO, "what is sent has become shorter");
    return CURL_READFUNC_ABORT;
  }
  x->at += (uint64_t) got;
  http_xfer_count (x, got);
  return (size_t) got;
}

static int
on_seek (void *user, curl_off_t to, int whence)
{
  struct xfer *x = user;
  if (whence != SEEK_SET || to < 0 || (uint64_t) to > x->req.body_size)
    return CURL_SEEKFUNC_CANTSEEK;
  http_xfer_count (x, to - (int64_t) x->at);
  x->at = (uint64_t) to;
  return CURL_SEEKFUNC_OK;
}

static curl_socket_t
on_socket (void *user, curlsocktype purpose, struct curl_sockaddr *a)
{
  return socket (a->family, a->socktype | SOCK_CLOEXEC, a->protocol);
}

/* ---- settings ---- */

static int
add_header (struct xfer *x, const char *name, const char *value)
{
  struct buf b = { 0 };
  if (value == NULL)
    buf_printf (&b, "%s:", name);
  else if (*value == '\0')
    buf_printf (&b, "%s;", name);
  else
    buf_printf (&b, "%s: %s", name, value);
  const char *line = buf_str (&b);
  struct curl_slist *l = line != NULL ? curl_slist_append (x->list, line) : NULL;
  if (line != NULL)
    explicit_bzero (b.s, b.len); /* it may be a token */
  buf_free (&b);
  if (l != NULL)
    x->list = l;
  return l != NULL;
}

static int
stays_home (const char *name)
{
  return strcasecmp (name, "Authorization") == 0 || strcasecmp (name, "Cookie") == 0 ||
         strncasecmp (name, "x-amz-", 6) == 0 || strncasecmp (name, "private-", 8) == 0;
}

static int
set_headers (struct xfer *x)
{
  const struct http_req *q = &x->req;
  int ok = 1;
  curl_slist_free_all (x->list);
  x->list = NULL;
  if (!(q->flags & HTTP_DECODE))
    ok &= add_header (x, "Accept-Encoding", "identity");
  for (size_t i = 0; i < q->n_headers; i++)
    if (!x->rsp.elsewhere || !stays_home (q->headers[i].key))
      ok &= add_header (x, q->headers[i].key, q->headers[i].value);
  if (x->auth.bearer != NULL && !x->rsp.elsewhere) {
    struct buf b = { 0 };
    buf_printf (&b, "Bearer %s", x->auth.bearer);
    ok &= buf_str (&b) != NULL && add_header (x, "Authorization", buf_str (&b));
    if (b.s != NULL)
      explicit_bzero (b.s, b.len);
    buf_free (&b);
  }
  return ok;
}

#define SET(option, value)                                                               \
  do {                                                                                   \
    if (rc == CURLE_OK)                                                                  \
      rc = curl_easy_setopt (x->easy, option, value);                                    \
  } while (0)

/* Where the certificates are, and through whom. curl's tool and other programs read these
 * variables; its library reads HTTP_PROXY in lower case only, because a CGI program gets
 * that name from its client's headers. */
static CURLcode
set_environment (struct xfer *x)
{
  CURLcode rc = CURLE_OK;
  const char *ca = x->h->ca != NULL ? x->h->ca : getenv ("SSL_CERT_FILE");
  if (ca != NULL && *ca != '\0')
    SET (CURLOPT_CAINFO, ca);
  if (x->h->ca != NULL) /* that one, and no other */
    SET (CURLOPT_CAPATH, NULL);
  if (strncasecmp (x->url, "http:", 5) == 0 && getenv ("http_proxy") == NULL &&
      getenv ("HTTP_PROXY") != NULL && getenv ("REQUEST_METHOD") == NULL)
    SET (CURLOPT_PROXY, getenv ("HTTP_PROXY"));
  return rc;
}

static CURLcode
set_method (struct xfer *x)
{
  const struct http_req *q = &x->req;
  CURLcode rc = CURLE_OK;
  char range[64];
  if (q->has_body) {
    SET (CURLOPT_UPLOAD, 1L);
    SET (CURLOPT_INFILESIZE_LARGE, (curl_off_t) q->body_size);
    SET (CURLOPT_READFUNCTION, on_read);
    SET (CURLOPT_READDATA, x);
    SET (CURLOPT_SEEKFUNCTION, on_seek);
    SET (CURLOPT_SEEKDATA, x);
    SET (CURLOPT_UPLOAD_BUFFERSIZE, (long) BUFFER);
  }
  if (strcmp (q->method, "HEAD") == 0)
    SET (CURLOPT_NOBODY, 1L);
  else if (strcmp (q->method, "GET") != 0)
    SET (CURLOPT_CUSTOMREQUEST, q->method);
  if (q->flags & HTTP_RANGE) {
    if (q->last == UINT64_MAX)
      snprintf (range, sizeof range, "%" PRIu64 "-", q->first);
    else
      snprintf (range, sizeof range, "%" PRIu64 "-%" PRIu64, q->first, q->last);
    SET (CURLOPT_RANGE, range);
  }
  if (q->flags & HTTP_DECODE)
    SET (CURLOPT_ACCEPT_ENCODING, "");
  return rc;
}

static CURLcode
set_auth (struct xfer *x)
{
  CURLcode rc = CURLE_OK;
  if (x->rsp.elsewhere || x->auth.user == NULL)
    return rc;
  SET (CURLOPT_USERNAME, x->auth.user);
  SET (CURLOPT_PASSWORD, x->auth.password != NULL ? x->auth.password : "");
  if (x->auth.sigv4 != NULL)
    SET (CURLOPT_AWS_SIGV4, x->auth.sigv4);
  else
    SET (CURLOPT_HTTPAUTH, (long) CURLAUTH_BASIC);
  return rc;
}

int
http_xfer_setup (struct xfer *x)
{
  const struct http *h = x->h;
  CURLcode rc = CURLE_OK;
  x->head_done = x->follow = x->enough = 0;
  x->got = x->at = 0;
  http_xfer_count (x, -(int64_t) x->counted);
  curl_easy_reset (x->easy);
  if (!set_headers (x))
    return failed (x, CAPSTAN_E_NOMEM, "no memory");
  SET (CURLOPT_ERRORBUFFER, x->errbuf);
  SET (CURLOPT_PRIVATE, x);
  SET (CURLOPT_URL, x->url);
#if LIBCURL_VERSION_NUM >= 0x075500
  SET (CURLOPT_PROTOCOLS_STR, "http,https");
#else
  SET (CURLOPT_PROTOCOLS, (long) (CURLPROTO_HTTP | CURLPROTO_HTTPS));
#endif
  SET (CURLOPT_HTTP_VERSION, (long) CURL_HTTP_VERSION_2TLS);
  SET (CURLOPT_SSLVERSION, (long) CURL_SSLVERSION_TLSv1_2);
  SET (CURLOPT_NOSIGNAL, 1L);
  SET (CURLOPT_NETRC, (long) CURL_NETRC_IGNORED);
  SET (CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
  SET (CURLOPT_TCP_KEEPALIVE, 1L);
  SET (CURLOPT_BUFFERSIZE, (long) BUFFER);
  SET (CURLOPT_OPENSOCKETFUNCTION, on_socket);
  SET (CURLOPT_USERAGENT, h->agent);
  SET (CURLOPT_CONNECTTIMEOUT, (long) h->connect_s);
  SET (CURLOPT_LOW_SPEED_LIMIT, (long) SLOW);
  SET (CURLOPT_LOW_SPEED_TIME, (long) (x->req.stall_s > 0 ? x->req.stall_s : h->stall_s));
  SET (CURLOPT_HEADERFUNCTION, on_header);
  SET (CURLOPT_HEADERDATA, x);
  SET (CURLOPT_WRITEFUNCTION, on_write);
  SET (CURLOPT_WRITEDATA, x);
  SET (CURLOPT_HTTPHEADER, x->list);
  if (rc == CURLE_OK)
    rc = set_environment (x);
  if (rc == CURLE_OK)
    rc = set_method (x);
  if (rc == CURLE_OK)
    rc = set_auth (x);
  return rc == CURLE_OK ? 0 : (x->rc = http_curl_error (x, rc));
}

/* ---- a request of our own ---- */

static char *
copy (const char *s, int *ok)
{
  char *r = s != NULL ? strdup (s) : NULL;
  if (s != NULL && r == NULL)
    *ok = 0;
  return r;
}

struct xfer *
http_xfer_new (struct http *h, struct capstan_call *call, const struct http_req *q)
{
  struct xfer *x = calloc (1, sizeof *x);
  int ok = 1;
  if (x == NULL)
    return NULL;
  x->h = h;
  x->call = call;
  x->req = *q;
  x->req.headers = NULL;
  x->req.n_headers = 0;
  x->req.auth = NULL;
  x->req.method = copy (q->method != NULL ? q->method : "GET", &ok);
  x->req.url = copy (q->url, &ok);
  x->url = copy (q->url, &ok);
  x->rsp.url = copy (q->url, &ok);
  if (q->auth != NULL) {
    x->auth.bearer = copy (q->auth->bearer, &ok);
    x->auth.user = copy (q->auth->user, &ok);
    x->auth.password = copy (q->auth->password, &ok);
    x->auth.sigv4 = copy (q->auth->sigv4, &ok);
  }
  x->kv = calloc (q->n_headers + 1, sizeof *x->kv);
  x->easy = curl_easy_init ();
  if (x->kv == NULL || x->easy == NULL)
    ok = 0;
  x->req.headers = x->kv;
  for (size_t i = 0; ok && i < q->n_headers; i++) {
    x->kv[i].key = copy (q->headers[i].key, &ok);
    x->kv[i].value = copy (q->headers[i].value, &ok);
    x->req.n_headers = i + 1;
  }
  if (ok)
    return x;
  http_xfer_free (x);
  return NULL;
}

static void
wipe (const char *s)
{
  if (s != NULL)
    explicit_bzero ((char *) s, strlen (s));
  free ((char *) s);
}

void
http_xfer_free (struct xfer *x)
{
  if (x == NULL)
    return;
  if (x->easy != NULL)
    curl_easy_cleanup (x->easy);
  curl_slist_free_all (x->list);
  for (size_t i = 0; i < x->req.n_headers; i++) {
    free ((char *) x->kv[i].key);
    wipe (x->kv[i].value);
  }
  free (x->kv);
  wipe (x->auth.bearer);
  wipe (x->auth.user);
  wipe (x->auth.password);
  free ((char *) x->auth.sigv4);
  free ((char *) x->req.method);
  free ((char *) x->req.url);
  free (x->url);
  http_rsp_clear (&x->rsp);
  free (x);
}
