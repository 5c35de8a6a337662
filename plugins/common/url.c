/* URLs: what may be asked, what may be shown. SPDX-License-Identifier: BSD-3-Clause */
#include "config.h"
#include "plugins/common/http-int.h"
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* One part of a URL; "" where it has none. curl_free it. NULL: no memory or no URL. */
static char *
part_of (const char *url, CURLUPart part)
{
  CURLU *u = curl_url ();
  char *r = NULL;
  CURLUcode rc = u != NULL ? curl_url_set (u, CURLUPART_URL, url, 0) : CURLUE_OUT_OF_MEMORY;
  if (rc == CURLUE_OK &&
      curl_url_get (u, part, &r, part == CURLUPART_PORT ? CURLU_DEFAULT_PORT : 0) != CURLUE_OK)
    r = NULL;
  curl_url_cleanup (u);
  return r;
}

static int
has_part (const char *url, CURLUPart part)
{
  char *p = part_of (url, part);
  int has = p != NULL && *p != '\0';
  curl_free (p);
  return has;
}

const char *
http_url_show (const char *url, char *out, size_t n)
{
  size_t o = 0;
  const char *s = url, *host = strstr (url, "://"), *at;
  if (host != NULL) {
    size_t len = strcspn (host + 3, "/?#");
    if ((at = memrchr (host + 3, '@', len)) != NULL) {
      for (; s < host + 3 && o + 1 < n; s++)
        out[o++] = *s;
      s = at + 1;
    }
  }
  for (; *s != '\0' && *s != '?' && *s != '#' && o + 1 < n; s++)
    out[o++] = (unsigned char) *s < 0x20 || *s == 0x7f ? '?' : *s;
  out[o] = '\0';
  return out;
}

int
http_url_base (struct capstan_call *call, const char *url, const char **ret)
{
  char shown[300];
  http_url_show (url, shown, sizeof shown);
  if (strncasecmp (url, "http://", 7) != 0 && strncasecmp (url, "https://", 8) != 0)
    return capstan_error (call, CAPSTAN_E_INVAL, 0, "%s: the URL of a repository begins with "
                          "http:// or https://", shown);
  /* libcurl takes a host after three slashes too */
  if (strlen (url) > 2000 || strstr (url, ":///") != NULL || !has_part (url, CURLUPART_HOST))
    return capstan_error (call, CAPSTAN_E_INVAL, 0, "%s: this is no URL", shown);
  if (has_part (url, CURLUPART_USER) || has_part (url, CURLUPART_PASSWORD))
    return capstan_error (call, CAPSTAN_E_INVAL, 0, "%s: take user and password out of the URL, "
                          "where other users see them; they belong into the credentials", shown);
  if (strpbrk (url, "?#") != NULL)
    return capstan_error (call, CAPSTAN_E_INVAL, 0, "%s: the URL of a repository has no '?' and "
                          "no '#'", shown);
  struct buf b = { 0 };
  buf_text (&b, url);
  if (url[strlen (url) - 1] != '/')
    buf_text (&b, "/");
  const char *r = buf_str (&b) != NULL ? capstan_host_->keep (call, buf_str (&b), SIZE_MAX) : NULL;
  buf_free (&b);
  if (r == NULL)
    return capstan_error (call, CAPSTAN_E_NOMEM, 0, "%s: no memory", shown);
  *ret = r;
  return 0;
}

void
http_url_escape (struct buf *b, const char *text, int keep_slash)
{
  for (const unsigned char *p = (const unsigned char *) text; *p != '\0'; p++)
    if ((*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z') || (*p >= '0' && *p <= '9') ||
        strchr ("-._~", *p) != NULL || (keep_slash && *p == '/'))
      buf_add (b, p, 1);
    else
      buf_printf (b, "%%%02X", *p);
}

void
http_url_add (struct buf *b, const char *base, const char *path)
{
  buf_text (b, base);
  http_url_escape (b, path, 1);
}

int
http_url_same_origin (const char *a, const char *b)
{
  static const CURLUPart parts[] = { CURLUPART_SCHEME, CURLUPART_HOST, CURLUPART_PORT };
  for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
    char *x = part_of (a, parts[i]), *y = part_of (b, parts[i]);
    int same = x != NULL && y != NULL && strcasecmp (x, y) == 0;
    curl_free (x);
    curl_free (y);
    if (!same)
      return 0;
  }
  return 1;
}

void
http_url_realm (const char *url, char *out, size_t n)
{
  static const char *const usual[] = { "https:", ":443", "http:", ":80" };
  char shown[2048];
  http_url_show (url, shown, sizeof shown);
  const char *host = strstr (shown, "://");
  size_t len = host != NULL ? (size_t) (host + 3 - shown) + strcspn (host + 3, "/") : 0, o = 0;
  const char *path = shown + len;
  for (size_t i = 0; i < 4; i += 2) {
    size_t port = strlen (usual[i + 1]);
    if (len > port && strncasecmp (shown, usual[i], strlen (usual[i])) == 0 &&
        memcmp (shown + len - port, usual[i + 1], port) == 0)
      len -= port;
  }
  for (; o < len && o + 1 < n; o++)
    out[o] = shown[o] >= 'A' && shown[o] <= 'Z' ? (char) (shown[o] + 32) : shown[o];
  if (len > 0)
    for (; *path != '\0' && o + 1 < n; path++)
      out[o++] = *path;
  while (o > 0 && out[o - 1] == '/')
    o--;
  out[o] = '\0';
}

int
http_url_loopback (const char *url)
{
  char *host = part_of (url, CURLUPART_HOST);
  int is = host != NULL && (strcasecmp (host, "localhost") == 0 || strcmp (host, "[::1]") == 0 ||
                            (strncmp (host, "127.", 4) == 0 &&
                             strspn (host, "0123456789.") == strlen (host)));
  curl_free (host);
  return is;
}

int
http_url_follow (struct capstan_call *call, const char *url, const char *location, char **ret)
{
  char from[300], to[300], *next = NULL;
  int r = 0;
  http_url_show (url, from, sizeof from);
  http_url_show (location, to, sizeof to);
  CURLU *u = curl_url ();
  CURLUcode rc = u != NULL ? curl_url_set (u, CURLUPART_URL, url, 0) : CURLUE_OUT_OF_MEMORY;
  if (rc == CURLUE_OK)
    rc = curl_url_set (u, CURLUPART_URL, location, CURLU_URLENCODE | CURLU_NON_SUPPORT_SCHEME);
  if (rc == CURLUE_OK) /* what it says of a user is not ours to send */
    rc = curl_url_set (u, CURLUPART_USER, NULL, 0);
  if (rc == CURLUE_OK)
    rc = curl_url_set (u, CURLUPART_PASSWORD, NULL, 0);
  if (rc == CURLUE_OK)
    rc = curl_url_set (u, CURLUPART_FRAGMENT, NULL, 0);
  if (rc == CURLUE_OK)
    rc = curl_url_get (u, CURLUPART_URL, &next, 0);
  curl_url_cleanup (u);
  if (rc == CURLUE_OUT_OF_MEMORY)
    r = capstan_error (call, CAPSTAN_E_NOMEM, 0, "%s: no memory", from);
  else if (rc != CURLUE_OK || strlen (next) > 8000)
    r = capstan_error (call, CAPSTAN_E_NET, 0, "%s: leads to '%s', which is no URL", from, to);
  else if (strncasecmp (next, "http://", 7) != 0 && strncasecmp (next, "https://", 8) != 0)
    r = capstan_error (call, CAPSTAN_E_UNTRUSTED, 0, "%s: leads to %s, which is not followed: "
                       "only http and https are", from, to);
  else if (strncasecmp (url, "https:", 6) == 0 && strncasecmp (next, "http:", 5) == 0)
    r = capstan_error (call, CAPSTAN_E_UNTRUSTED, 0, "%s: leads to %s, which is not followed: it "
                       "is not encrypted", from, to);
  else if ((*ret = strdup (next)) == NULL)
    r = capstan_error (call, CAPSTAN_E_NOMEM, 0, "%s: no memory", from);
  curl_free (next);
  return r;
}
