/* HTTP for repository plugins, over libcurl's multi interface.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * A session (struct http) keeps the connections of one opened repository; it is used by one
 * thread at a time. Requests are added and then run together in that thread:
 *
 *   struct http_req q = { .url = url, .on_data = save, .user = file };
 *   rc = http_perform (h, call, &q, &rsp);         one request, and its response
 *   rc = http_text (h, call, &q, max, &text, &n, &rsp);      one small document
 *   for (...) rc = http_add (h, call, &q[i]);      several at once; on_done may add more
 *   rc = http_run (h, call);                       until none is under way
 *
 * What holds for all of them
 * - Functions and callbacks answer 0 or -CAPSTAN_E_*, with the error set in the call. The
 *   error names the method and the URL without its query, the status, what the server said
 *   (at most some 200 bytes) and, where that is known, what to do.
 * - Cancelling the call and its deadline end everything under way, at once.
 * - TLS is verified, always. http and https only. Proxies come from the environment.
 *   ~/.netrc is not read: credentials are asked of the host (http_auth_ask) and given with
 *   the request. They are sent to the scheme, host and port of the request's own URL only.
 * - Redirects are followed, at most 5, never from https to http. Where one leads to another
 *   scheme, host or port, the credentials, Authorization, Cookie, and headers that begin
 *   with x-amz- or private- stay behind. A method other than GET and HEAD goes on only after
 *   307 and 308.
 * - Nothing is retried here. Errors that may pass are NET, TIMEOUT and BUSY; a Retry-After
 *   of the server has then been handed to host->retry_after.
 * - A transfer that is slower than 1000 bytes a second for stall_s seconds is E_TIMEOUT.
 * - The body that is delivered is exactly what was promised: a connection that ends before
 *   Content-Length, or a 206 that is not the range that was asked for, is E_NET, and no byte
 *   beyond the range is handed on.
 *
 * Statuses as codes: 401 and 407 AUTH; 403 PERM; 404 and 410 NOTFOUND; 409 and 412 CONFLICT;
 * 304 NOT_MODIFIED; 405 and 501 UNSUPPORTED; 408 and 504 TIMEOUT; 413 LIMIT; 507 QUOTA; 423,
 * 429 and 503 BUSY; other 5xx NET; any other INVAL.
 */
#ifndef CAPSTAN_COMMON_HTTP_H
#define CAPSTAN_COMMON_HTTP_H
#include "plugins/common/buf.h"

struct http; /* a session */

struct http_config {
  const char *agent;  /* User-Agent: "capstan-repo-http/0.1.0" */
  const char *ca;     /* PEM file of the CAs to trust instead of the system's, or NULL */
  uint32_t connect_s; /* to connect, TLS included; 0: 30 */
  uint32_t stall_s;   /* without progress; 0: 60 */
  uint32_t per_host;  /* connections at once to one server; 0: 8 */
};
/* E_INVAL if the CA file cannot be read. */
int http_open (struct capstan_call *, const struct http_config *, struct http **ret);
void http_close (struct http *); /* NULL is nothing */

/* Credentials; zero is none. Strings are copied when a request is added, and wiped. */
struct http_auth {
  const char *bearer;          /* Authorization: Bearer ... */
  const char *user, *password; /* Basic; with sigv4 the access key and the secret key */
  const char *sigv4;           /* "aws:amz:REGION:s3": libcurl signs (see below) */
  const char *realm;           /* what the host was asked for, or NULL; for http_auth_tell */
};
/* What the host has for url: host->secret with http_url_realm, and if it has nothing, with that
 * of the host alone; "token", else "username" and "password". Strings live as long as the
 * call. A warning is logged once where they would go unencrypted to another machine. */
void http_auth_ask (struct http *, struct capstan_call *, const char *url, struct http_auth *ret);
/* After the answer: tells the host whether they were accepted, so that it can forget them. */
void http_auth_tell (struct capstan_call *, const struct http_auth *, int accepted);

struct http_rsp {
  int status;
  uint64_t size;         /* of this body; UINT64_MAX: not said */
  uint64_t first, total; /* 206: where it begins, the whole's size (UINT64_MAX: not said);
                            else 0 and size */
  int elsewhere;         /* 1: it came from another origin than was asked */
  const char *url;       /* where it came from; may hold secrets in its query: never log it */
  char *body;            /* of a status other than 2xx: its first 4096 bytes, or NULL */
  size_t body_len;
  struct capstan_kv *headers; size_t n_headers; /* as they came; at most 100 */
};
/* The first of that name, in any case of letters, or NULL. */
const char *http_header (const struct http_rsp *, const char *name);
/* The strong ETag, or NULL; a weak one (W/"x") says nothing about bytes. */
const char *http_etag (const struct http_rsp *);
void http_rsp_clear (struct http_rsp *);

enum {
  HTTP_RANGE = 1 << 0,      /* only bytes first to last. A server that answers 200 all the
                               same gives everything: see status in on_head */
  HTTP_DECODE = 1 << 1,     /* ask for gzip and the like, and decode it. Otherwise the body is
                               asked for as it lies there, and delivered as it is sent */
  HTTP_ANY_STATUS = 1 << 2, /* any final status is an answer (look at rsp), no error is set:
                               http_status_error makes it one */
  HTTP_NO_REDIRECT = 1 << 3, /* 3xx is an answer like another */
  HTTP_COUNT = 1 << 4,       /* its body, either way, counts for http_progress */
  HTTP_LAST_WORD = 1 << 5    /* done even if the call was cancelled, within 5 seconds: to undo
                               what would stay behind on the server */
};
struct http_req {
  const char *method; /* NULL: GET */
  const char *url;    /* without user and password */
  uint32_t flags, stall_s; /* stall_s 0: the session's */
  const struct capstan_kv *headers; size_t n_headers; /* value NULL: leave curl's own away */
  const struct http_auth *auth; /* NULL: none */
  uint64_t first, last;         /* HTTP_RANGE: inclusive; last UINT64_MAX: to the end */
  uint64_t max_size;            /* of the body; more is E_LIMIT. 0: any */
  /* The body to send. read answers the bytes put into buf (less than n only at the end; 0
   * before body_size is E_IO), or a negative code. It may be asked for an offset again.
   * data: the body is in memory instead, and lives until the request is done. */
  int64_t (*read) (void *user, uint64_t offset, void *buf, size_t n);
  const void *data;
  uint64_t body_size;
  int has_body; /* 1: there is one, even if it is empty */
  /* Headers of the final 2xx answer (HTTP_ANY_STATUS: any); once, before data. */
  int (*on_head) (void *user, const struct http_rsp *);
  /* Of a 2xx answer, in order; offset counts from rsp->first. */
  int (*on_data) (void *user, uint64_t offset, const void *, size_t);
  /* The end: rc 0, or the code, whose error is set. What it answers is the result; not 0
   * ends all that are under way and is what http_run answers. NULL: rc is the result. */
  int (*on_done) (void *user, const struct http_rsp *, int rc);
  void *user;
};
int http_add (struct http *, struct capstan_call *, const struct http_req *);
int http_run (struct http *, struct capstan_call *);
/* ret may be NULL; on success it is the caller's to clear. */
int http_perform (struct http *, struct capstan_call *, const struct http_req *,
                  struct http_rsp *ret);
/* The body of a 2xx answer, NUL-terminated, in memory of the call (host->keep). Compressed
 * transfer is asked for; more than max decoded bytes is E_LIMIT. With HTTP_ANY_STATUS look at
 * ret->status first: the text is then "" for any other than 2xx. The callbacks of the request
 * are not used. */
int http_text (struct http *, struct capstan_call *, const struct http_req *, size_t max,
               const char **ret_text, size_t *ret_len, struct http_rsp *ret);
/* Progress of the requests with HTTP_COUNT from here on: host->progress (phase, done, total),
 * some ten times a second. phase NULL: none. */
void http_progress (struct http *, const char *phase, uint64_t done, uint64_t total);
/* How many requests are under way. */
size_t http_active (const struct http *);
/* Sets the error that belongs to the status; its code, negative. */
int http_status_error (struct capstan_call *, const char *method, const struct http_rsp *);

/* SigV4 by libcurl (7.88 measured): encode and sort the query yourself, with "=" after every
 * key; always give x-amz-content-sha256. A redirect is signed anew for the same origin. */

/* ---- URLs (url.c) ---- */
/* Checks what a user gave and makes it a base that ends in "/": http or https, a host, no
 * user or password (they are seen by every user of the machine: the error says so), no query
 * and no fragment. In memory of the call. */
int http_url_base (struct capstan_call *, const char *url, const char **ret);
/* base + path, whose bytes are escaped except letters, digits and "-._~/". */
void http_url_add (struct buf *, const char *base, const char *path);
void http_url_escape (struct buf *, const char *text, int keep_slash);
/* For messages: no user, no query, no control characters; cut to n. Answers out. */
const char *http_url_show (const char *url, char *out, size_t n);
/* Scheme, host and port are the same. */
int http_url_same_origin (const char *a, const char *b);
/* "https://HOST/PATH" or "https://HOST:PORT/PATH", the host in lower case, without a port that
 * is the usual one and a '/' at the end: the realm of its credentials. What the host has for
 * a shorter one holds too. "" if it is no URL. */
void http_url_realm (const char *url, char *out, size_t n);
/* Of this machine: localhost, 127.x.x.x, [::1]. */
int http_url_loopback (const char *url);
#endif
