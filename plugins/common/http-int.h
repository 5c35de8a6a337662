/* Inside the HTTP layer. SPDX-License-Identifier: BSD-3-Clause */
#ifndef CAPSTAN_COMMON_HTTP_INT_H
#define CAPSTAN_COMMON_HTTP_INT_H
#include "plugins/common/http.h"
#include <curl/curl.h>

enum { HTTP_REDIRECTS = 5, HTTP_BODY_KEPT = 4096, HTTP_BODY_READ = 65536, HTTP_HEADERS = 100 };

struct http {
  CURLM *multi;
  char *agent, *ca;
  uint32_t connect_s, stall_s;
  int warned; /* that credentials go unencrypted */
  struct xfer *first;
  size_t active;
  char *phase; /* of progress */
  uint64_t done, total, shown_ms;
  uint64_t last_word_ms; /* until then a cancelled call goes on; 0: not at all */
};

struct xfer {
  struct xfer *next;
  struct http *h;
  struct capstan_call *call;
  struct http_req req;   /* its strings are ours */
  struct http_auth auth; /* ours too */
  struct capstan_kv *kv;
  char *url;             /* of the request under way */
  CURL *easy;
  struct curl_slist *list;
  struct http_rsp rsp;
  struct http_rsp *ret; /* of http_perform */
  char errbuf[CURL_ERROR_SIZE];
  int rc;         /* what a callback answered */
  int head_done;  /* the final headers are there */
  int follow;     /* they are a redirect to be followed */
  int enough;     /* the rest of the body is of no interest */
  int redirects;
  uint64_t at;      /* offset of the body that is sent */
  uint64_t got;     /* bytes of the body that came */
  uint64_t counted; /* bytes told to progress */
};

/* xfer.c */
struct xfer *http_xfer_new (struct http *, struct capstan_call *, const struct http_req *);
void http_xfer_free (struct xfer *);
/* Makes the easy handle ready for x->url; 0 or -code. */
int http_xfer_setup (struct xfer *);
void http_xfer_count (struct xfer *, int64_t n);

/* rsp.c */
/* Reads one header line as it came. */
void http_rsp_line (struct http_rsp *, const char *line, size_t n);
/* Once all are there: size, first, total. 0 if they make sense. */
int http_rsp_sizes (struct http_rsp *);
int http_rsp_redirects (const struct http_rsp *);
int http_curl_error (struct xfer *, CURLcode);

/* url.c */
/* location as seen from url, for free (); an error if it may not be followed. */
int http_url_follow (struct capstan_call *, const char *url, const char *location, char **ret);
#endif
