/* A session: requests under way together, in one thread.
 * SPDX-License-Identifier: BSD-3-Clause */
#include "config.h"
#include "plugins/common/http-int.h"
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>
#include <unistd.h>

enum { LAST_WORD_MS = 5000 };

static pthread_once_t once = PTHREAD_ONCE_INIT;
static CURLcode global = CURLE_FAILED_INIT;

static void
start_curl (void)
{
  global = curl_global_init (CURL_GLOBAL_DEFAULT);
}

static uint64_t
now_ms (void)
{
  struct timespec t;
  clock_gettime (CLOCK_MONOTONIC, &t);
  return (uint64_t) t.tv_sec * 1000 + (uint64_t) t.tv_nsec / 1000000;
}

int
http_open (struct capstan_call *call, const struct http_config *c, struct http **ret)
{
  if (c->ca != NULL && access (c->ca, R_OK) != 0)
    return capstan_error (call, CAPSTAN_E_INVAL, errno, "option ca: %s", c->ca);
  pthread_once (&once, start_curl);
  struct http *h = calloc (1, sizeof *h);
  if (h == NULL || global != CURLE_OK || (h->multi = curl_multi_init ()) == NULL ||
      (h->agent = strdup (c->agent)) == NULL ||
      (c->ca != NULL && (h->ca = strdup (c->ca)) == NULL)) {
    http_close (h);
    return capstan_error (call, CAPSTAN_E_NOMEM, 0, "libcurl does not start: no memory");
  }
  h->connect_s = c->connect_s > 0 ? c->connect_s : 30;
  h->stall_s = c->stall_s > 0 ? c->stall_s : 60;
  curl_multi_setopt (h->multi, CURLMOPT_MAX_HOST_CONNECTIONS,
                     (long) (c->per_host > 0 ? c->per_host : 8));
  *ret = h;
  return 0;
}

/* Ends everything that is under way; nobody is told. */
static void
drop_all (struct http *h)
{
  while (h->first != NULL) {
    struct xfer *x = h->first;
    h->first = x->next;
    curl_multi_remove_handle (h->multi, x->easy);
    http_xfer_free (x);
  }
  h->active = 0;
}

void
http_close (struct http *h)
{
  if (h == NULL)
    return;
  drop_all (h);
  if (h->multi != NULL)
    curl_multi_cleanup (h->multi);
  free (h->agent);
  free (h->ca);
  free (h->phase);
  free (h);
}

size_t
http_active (const struct http *h)
{
  return h->active;
}

void
http_progress (struct http *h, const char *phase, uint64_t done, uint64_t total)
{
  free (h->phase);
  h->phase = phase != NULL ? strdup (phase) : NULL;
  h->done = done;
  h->total = total;
  h->shown_ms = 0;
}

/* ---- credentials ---- */

static void
ask_realm (struct capstan_call *call, const char *realm, struct http_auth *ret)
{
  if ((ret->bearer = capstan_host_->secret (call, realm, "token")) == NULL &&
      (ret->user = capstan_host_->secret (call, realm, "username")) != NULL)
    ret->password = capstan_host_->secret (call, realm, "password");
  if (ret->bearer != NULL || ret->user != NULL)
    ret->realm = capstan_host_->keep (call, realm, SIZE_MAX);
}

void
http_auth_ask (struct http *h, struct capstan_call *call, const char *url, struct http_auth *ret)
{
  char realm[1100];
  *ret = (struct http_auth){ 0 };
  http_url_realm (url, realm, sizeof realm);
  ask_realm (call, realm, ret);
  const char *host = strstr (realm, "://"), *path = host != NULL ? strchr (host + 3, '/') : NULL;
  if (ret->realm == NULL && path != NULL) {
    realm[path - realm] = '\0';
    ask_realm (call, realm, ret);
  }
  if (ret->realm != NULL && !h->warned && strncasecmp (url, "https:", 6) != 0 &&
      !http_url_loopback (url)) {
    capstan_log (call, CAPSTAN_LOG_WARN, "the credentials for %s are sent without encryption: use "
                 "https", realm);
    h->warned = 1;
  }
}

void
http_auth_tell (struct capstan_call *call, const struct http_auth *a, int accepted)
{
  if (a->realm != NULL)
    capstan_host_->secret_result (call, a->realm, a->bearer != NULL ? "token" : "password", accepted);
}

/* ---- the loop ---- */

static int
add (struct http *h, struct xfer *x)
{
  int rc = http_xfer_setup (x);
  CURLMcode m = rc == 0 ? curl_multi_add_handle (h->multi, x->easy) : CURLM_OK;
  if (m != CURLM_OK)
    rc = capstan_error (x->call, CAPSTAN_E_NOMEM, 0, "%s", curl_multi_strerror (m));
  if (rc != 0) {
    http_xfer_free (x);
    return rc;
  }
  x->next = h->first;
  h->first = x;
  h->active++;
  return 0;
}

static int
start (struct http *h, struct capstan_call *call, const struct http_req *q, struct http_rsp *ret)
{
  for (size_t i = 0; i < q->n_headers; i++)
    if (strpbrk (q->headers[i].key, "\r\n: ") != NULL ||
        (q->headers[i].value != NULL && strpbrk (q->headers[i].value, "\r\n") != NULL))
      return capstan_error (call, CAPSTAN_E_INVAL, 0, "a header of a request has a line break");
  struct xfer *x = http_xfer_new (h, call, q);
  if (x == NULL)
    return capstan_error (call, CAPSTAN_E_NOMEM, 0, "no memory");
  if (q->flags & HTTP_LAST_WORD)
    h->last_word_ms = now_ms () + LAST_WORD_MS;
  x->ret = ret;
  return add (h, x);
}

int
http_add (struct http *h, struct capstan_call *call, const struct http_req *q)
{
  return start (h, call, q, NULL);
}

/* Sends it on to where the answer points. */
static int
follow (struct http *h, struct xfer *x)
{
  char from[300], to[300];
  const char *m = x->req.method;
  char *next = NULL, *shown = NULL;
  int status = x->rsp.status, rc = 0;
  http_url_show (x->url, from, sizeof from);
  if (x->redirects++ == HTTP_REDIRECTS)
    rc = capstan_error (x->call, CAPSTAN_E_NET, 0, "%s %s: more than %d redirects", m, from,
                        HTTP_REDIRECTS);
  else if (strcmp (m, "GET") != 0 && strcmp (m, "HEAD") != 0 && status != 307 && status != 308)
    rc = capstan_error (x->call, CAPSTAN_E_UNSUPPORTED, 0, "%s %s: %d leads to %s, which is not "
                        "followed for %s: give that URL", m, from, status,
                        http_url_show (http_header (&x->rsp, "Location"), to, sizeof to), m);
  else
    rc = http_url_follow (x->call, x->url, http_header (&x->rsp, "Location"), &next);
  if (rc == 0 && (shown = strdup (next)) == NULL)
    rc = capstan_error (x->call, CAPSTAN_E_NOMEM, 0, "no memory");
  if (rc != 0) {
    free (next);
    http_xfer_free (x);
    return rc;
  }
  capstan_log (x->call, CAPSTAN_LOG_DEBUG, "%s %s: %d leads to %s", m, from, status,
               http_url_show (next, to, sizeof to));
  free (x->url);
  x->url = next;
  http_rsp_clear (&x->rsp);
  x->rsp.url = shown;
  x->rsp.elsewhere = !http_url_same_origin (x->req.url, x->url);
  return add (h, x);
}

/* What a transfer that has ended amounts to. */
static int
result (struct xfer *x, CURLcode c)
{
  const struct http_rsp *r = &x->rsp;
  int good = r->status >= 200 && r->status < 300;
  char url[300];
  if (x->rc != 0)
    return x->rc;
  /* An answer that came before all was sent counts, however the connection ended. */
  if (c != CURLE_OK && !x->enough && !(x->head_done && !good))
    return http_curl_error (x, c);
  if (!good && !(x->req.flags & HTTP_ANY_STATUS) &&
      !((x->req.flags & HTTP_NO_REDIRECT) && http_rsp_redirects (r)))
    return http_status_error (x->call, x->req.method, r);
  if (r->status == 206 && strcmp (x->req.method, "HEAD") != 0 && x->got != r->size)
    return capstan_error (x->call, CAPSTAN_E_NET, 0, "%s %s: the answer ended early", x->req.method,
                          http_url_show (x->url, url, sizeof url));
  return 0;
}

static int
finish (struct http *h, struct xfer *x, CURLcode c)
{
  char url[300];
  struct xfer **p = &h->first;
  while (*p != x)
    p = &(*p)->next;
  *p = x->next;
  h->active--;
  curl_multi_remove_handle (h->multi, x->easy);
  if (x->rc == 0 && x->follow)
    return follow (h, x);
  int rc = result (x, c);
  capstan_log (x->call, CAPSTAN_LOG_DEBUG, "%s %s: %d%s", x->req.method,
               http_url_show (x->url, url, sizeof url), x->rsp.status, rc != 0 ? ", failed" : "");
  if (x->req.on_done != NULL)
    rc = x->req.on_done (x->req.user, &x->rsp, rc);
  if (rc == 0 && x->ret != NULL) {
    *x->ret = x->rsp;
    memset (&x->rsp, 0, sizeof x->rsp);
  }
  http_xfer_free (x);
  return rc;
}

/* Those that have ended. ret_any: there was one. */
static int
reap (struct http *h, int *ret_any)
{
  CURLMsg *m;
  int left, rc = 0;
  *ret_any = 0;
  while (rc == 0 && (m = curl_multi_info_read (h->multi, &left)) != NULL) {
    struct xfer *x = NULL;
    if (m->msg != CURLMSG_DONE)
      continue;
    curl_easy_getinfo (m->easy_handle, CURLINFO_PRIVATE, (char **) &x);
    *ret_any = 1;
    rc = finish (h, x, m->data.result);
  }
  return rc;
}

/* Once a turn: is it still wanted, and how far it is. */
static int
tick (struct http *h, struct capstan_call *call)
{
  const struct capstan_host *host = capstan_host_;
  uint64_t t = now_ms ();
  if (h->last_word_ms == 0 && host->cancelled (call))
    return capstan_error (call, CAPSTAN_E_CANCELLED, 0, "cancelled");
  if (h->last_word_ms != 0 ? t >= h->last_word_ms : host->time_left_ms (call) == 0)
    return capstan_error (call, CAPSTAN_E_TIMEOUT, 0, "the time that was given is over");
  if (h->phase == NULL || t - h->shown_ms < 100)
    return 0;
  h->shown_ms = t;
  return host->progress (call, h->phase, h->done, h->total);
}

int
http_run (struct http *h, struct capstan_call *call)
{
  struct curl_waitfd cancel = { .fd = capstan_host_->cancel_fd (call), .events = CURL_WAIT_POLLIN };
  int rc = tick (h, call), running, any;
  while (rc == 0 && h->first != NULL) {
    CURLMcode m = curl_multi_perform (h->multi, &running);
    rc = reap (h, &any);
    if (m == CURLM_OK && rc == 0 && (rc = tick (h, call)) == 0 && !any) {
      uint64_t left = capstan_host_->time_left_ms (call), most = h->phase != NULL ? 100 : 1000;
      int wait = h->last_word_ms != 0 ? 100 : (int) (left < most ? left : most);
      m = curl_multi_poll (h->multi, &cancel, cancel.fd >= 0 && h->last_word_ms == 0, wait, NULL);
    }
    if (m != CURLM_OK && rc == 0)
      rc = capstan_error (call, CAPSTAN_E_NOMEM, 0, "libcurl: %s", curl_multi_strerror (m));
  }
  drop_all (h);
  h->last_word_ms = 0;
  if (rc == 0 && h->phase != NULL)
    rc = capstan_host_->progress (call, h->phase, h->done, h->total);
  return rc;
}

int
http_perform (struct http *h, struct capstan_call *call, const struct http_req *q,
              struct http_rsp *ret)
{
  struct http_rsp rsp = { 0 };
  int rc = start (h, call, q, &rsp);
  if (rc == 0)
    rc = http_run (h, call);
  if (rc == 0 && ret != NULL)
    *ret = rsp;
  else
    http_rsp_clear (&rsp);
  return rc;
}

static int
gather (void *user, uint64_t offset, const void *p, size_t n)
{
  buf_add (user, p, n);
  return 0;
}

int
http_text (struct http *h, struct capstan_call *call, const struct http_req *asked, size_t max,
           const char **ret_text, size_t *ret_len, struct http_rsp *ret)
{
  struct http_req q = *asked;
  struct http_rsp rsp = { 0 };
  struct buf b = { 0 };
  q.flags |= HTTP_DECODE;
  q.max_size = max;
  q.on_head = NULL;
  q.on_done = NULL;
  q.on_data = gather;
  q.user = &b;
  int rc = http_perform (h, call, &q, &rsp);
  const char *text = NULL;
  if (rc == 0 && buf_str (&b) != NULL)
    text = capstan_host_->keep (call, buf_str (&b), b.len);
  if (rc == 0 && text == NULL)
    rc = capstan_error (call, CAPSTAN_E_NOMEM, 0, "no memory for an answer of %zu bytes", b.len);
  if (rc == 0) {
    *ret_text = text;
    if (ret_len != NULL)
      *ret_len = b.len;
  }
  buf_free (&b);
  if (rc == 0 && ret != NULL)
    *ret = rsp;
  else
    http_rsp_clear (&rsp);
  return rc;
}
