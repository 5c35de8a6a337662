/* What a server answered: headers, sizes, and the error it amounts to.
 * SPDX-License-Identifier: BSD-3-Clause */
#include "config.h"
#include "plugins/common/http-int.h"
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

void
http_rsp_clear (struct http_rsp *r)
{
  for (size_t i = 0; i < r->n_headers; i++)
    free ((char *) r->headers[i].key); /* the value lies behind it */
  free (r->headers);
  free (r->body);
  free ((char *) r->url);
  memset (r, 0, sizeof *r);
}

void
http_rsp_line (struct http_rsp *r, const char *line, size_t n)
{
  while (n > 0 && (line[n - 1] == '\r' || line[n - 1] == '\n' || line[n - 1] == ' '))
    n--;
  const char *colon = memchr (line, ':', n);
  if (n > 5 && strncasecmp (line, "HTTP/", 5) == 0) { /* a response begins */
    const char *sp = memchr (line, ' ', n), *url = r->url;
    int elsewhere = r->elsewhere;
    r->url = NULL;
    http_rsp_clear (r);
    r->url = url;
    r->elsewhere = elsewhere;
    for (sp = sp != NULL ? sp + 1 : line + n; sp < line + n && *sp >= '0' && *sp <= '9'; sp++)
      r->status = r->status < 1000 ? r->status * 10 + (*sp - '0') : r->status;
    return;
  }
  if (colon == NULL || colon == line || n > 8192 || r->n_headers == HTTP_HEADERS ||
      memchr (line, '\0', n) != NULL)
    return; /* not what we read */
  if (r->headers == NULL && (r->headers = calloc (HTTP_HEADERS, sizeof *r->headers)) == NULL)
    return;
  char *copy = strndup (line, n), *value;
  if (copy == NULL)
    return;
  copy[colon - line] = '\0';
  value = copy + (colon - line) + 1;
  value += strspn (value, " \t");
  r->headers[r->n_headers++] = (struct capstan_kv){ copy, value };
}

const char *
http_header (const struct http_rsp *r, const char *name)
{
  for (size_t i = 0; i < r->n_headers; i++)
    if (strcasecmp (r->headers[i].key, name) == 0)
      return r->headers[i].value;
  return NULL;
}

const char *
http_etag (const struct http_rsp *r)
{
  const char *e = http_header (r, "ETag");
  return e != NULL && *e != '\0' && strncasecmp (e, "W/", 2) != 0 && strlen (e) < 200 ? e : NULL;
}

/* Digits up to end; 0 if there is anything else. */
static int
number (const char *s, char **end, uint64_t *ret)
{
  if (*s < '0' || *s > '9' || strspn (s, "0123456789") > 18)
    return 0;
  *ret = strtoull (s, end, 10);
  return 1;
}

int
http_rsp_sizes (struct http_rsp *r)
{
  const char *len = http_header (r, "Content-Length"), *range = http_header (r, "Content-Range");
  char *end;
  uint64_t last;
  r->size = UINT64_MAX;
  if (len != NULL && (!number (len, &end, &r->size) || *end != '\0'))
    return -1;
  r->first = 0;
  r->total = r->size;
  if (r->status != 206)
    return 0;
  if (range == NULL || strncasecmp (range, "bytes ", 6) != 0 ||
      !number (range + 6, &end, &r->first) ||
      *end != '-' || !number (end + 1, &end, &last) || *end != '/' || last < r->first)
    return -1;
  r->total = UINT64_MAX;
  if (strcmp (end + 1, "*") != 0 &&
      (!number (end + 1, &end, &r->total) || *end != '\0' || r->total <= last))
    return -1;
  if (r->size == UINT64_MAX)
    r->size = last - r->first + 1;
  return r->size == last - r->first + 1 ? 0 : -1;
}

int
http_rsp_redirects (const struct http_rsp *r)
{
  return (r->status == 301 || r->status == 302 || r->status == 303 || r->status == 307 ||
          r->status == 308) && http_header (r, "Location") != NULL;
}

static const struct { int status; uint32_t code; const char *text; } statuses[] = {
  { 304, CAPSTAN_E_NOT_MODIFIED, "Not Modified" },
  { 400, CAPSTAN_E_INVAL, "Bad Request" },
  { 401, CAPSTAN_E_AUTH, "Unauthorized" },
  { 403, CAPSTAN_E_PERM, "Forbidden" },
  { 404, CAPSTAN_E_NOTFOUND, "Not Found" },
  { 405, CAPSTAN_E_UNSUPPORTED, "Method Not Allowed" },
  { 407, CAPSTAN_E_AUTH, "Proxy Authentication Required" },
  { 408, CAPSTAN_E_TIMEOUT, "Request Timeout" },
  { 409, CAPSTAN_E_CONFLICT, "Conflict" },
  { 410, CAPSTAN_E_NOTFOUND, "Gone" },
  { 411, CAPSTAN_E_INVAL, "Length Required" },
  { 412, CAPSTAN_E_CONFLICT, "Precondition Failed" },
  { 413, CAPSTAN_E_LIMIT, "Content Too Large" },
  { 416, CAPSTAN_E_INVAL, "Range Not Satisfiable" },
  { 423, CAPSTAN_E_BUSY, "Locked" },
  { 429, CAPSTAN_E_BUSY, "Too Many Requests" },
  { 500, CAPSTAN_E_NET, "Internal Server Error" },
  { 501, CAPSTAN_E_UNSUPPORTED, "Not Implemented" },
  { 502, CAPSTAN_E_NET, "Bad Gateway" },
  { 503, CAPSTAN_E_BUSY, "Service Unavailable" },
  { 504, CAPSTAN_E_TIMEOUT, "Gateway Timeout" },
  { 507, CAPSTAN_E_QUOTA, "Insufficient Storage" },
};

/* The text of an error page on one line: no markup, no control characters, at most n bytes.
 * A web page says nothing that its status does not. */
static void
words (const struct http_rsp *r, char *out, size_t n)
{
  const char *type = http_header (r, "Content-Type");
  size_t o = 0;
  int tag = 0, space = 0;
  out[0] = '\0';
  if (type != NULL && strncasecmp (type, "text/html", 9) == 0)
    return;
  for (size_t i = 0; i < r->body_len && o + 2 < n; i++) {
    unsigned char c = (unsigned char) r->body[i];
    if (c == '<')
      tag = 1;
    if (tag || c <= ' ' || c == 0x7f)
      space = o > 0;
    else {
      if (space)
        out[o++] = ' ';
      space = 0;
      out[o++] = (char) c;
    }
    if (c == '>')
      tag = 0;
  }
  out[o] = '\0';
}

/* Retry-After in ms: seconds or a date; 0 if there is none. */
static uint32_t
retry_after (const struct http_rsp *r)
{
  const char *s = http_header (r, "Retry-After");
  char *end;
  uint64_t n;
  if (s == NULL)
    return 0;
  if (!number (s, &end, &n) || *end != '\0') {
    time_t t = curl_getdate (s, NULL), now = time (NULL);
    n = t > now ? (uint64_t) (t - now) : 0;
  }
  return (uint32_t) (n > 86400 ? 86400 : n) * 1000;
}

int
http_status_error (struct capstan_call *call, const char *method, const struct http_rsp *r)
{
  char url[300], said[200], realm[200], hint[300] = "";
  uint32_t code = r->status >= 500 ? CAPSTAN_E_NET : CAPSTAN_E_INVAL, wait;
  const char *text = "";
  for (size_t i = 0; i < sizeof statuses / sizeof *statuses; i++)
    if (statuses[i].status == r->status) {
      code = statuses[i].code;
      text = statuses[i].text;
    }
  words (r, said, sizeof said);
  http_url_show (r->url, url, sizeof url);
  http_url_realm (r->url, realm, sizeof realm);
  realm[strlen (realm) > 8 ? 8 + strcspn (realm + 8, "/") : 0] = '\0';
  if (r->status == 401)
    snprintf (hint, sizeof hint, "; %s wants other credentials, or some", realm);
  else if ((r->status == 429 || r->status == 503) && (wait = retry_after (r)) != 0)
    snprintf (hint, sizeof hint, "; it asks for a pause of %" PRIu32 " s", (wait + 999) / 1000);
  int rc = capstan_error (call, code, 0, "%s %s: %d%s%s%s%s%s", method != NULL ? method : "GET",
                          url, r->status, *text != '\0' ? " " : "", text, *said != '\0' ? ": " : "",
                          said, hint);
  if ((wait = retry_after (r)) != 0)
    capstan_host_->retry_after (call, wait);
  return rc;
}

int
http_curl_error (struct xfer *x, CURLcode c)
{
  char url[300];
  uint32_t code = CAPSTAN_E_NET;
  const char *hint = "";
  long verify = 0;
  switch (c) {
  case CURLE_OPERATION_TIMEDOUT:
    code = CAPSTAN_E_TIMEOUT;
    break;
  case CURLE_PEER_FAILED_VERIFICATION:
  case CURLE_SSL_ISSUER_ERROR:
    code = CAPSTAN_E_UNTRUSTED;
    curl_easy_getinfo (x->easy, CURLINFO_SSL_VERIFYRESULT, &verify);
    if (verify > 1) /* who signed it; 1: it did not come to that, the name is another */
      hint = "; a certificate authority of your own is given with the option ca=FILE";
    break;
  case CURLE_SSL_CACERT_BADFILE:
  case CURLE_URL_MALFORMAT:
  case CURLE_UNSUPPORTED_PROTOCOL:
    code = CAPSTAN_E_INVAL;
    break;
  case CURLE_OUT_OF_MEMORY:
    code = CAPSTAN_E_NOMEM;
    break;
  case CURLE_FILESIZE_EXCEEDED:
    code = CAPSTAN_E_LIMIT;
    break;
  default:
    break;
  }
  return capstan_error (x->call, code, 0, "%s %s: %s%s", x->req.method,
                        http_url_show (x->url, url, sizeof url),
                        x->errbuf[0] != '\0' ? x->errbuf : curl_easy_strerror (c), hint);
}
