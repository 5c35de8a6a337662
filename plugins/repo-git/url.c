/* URLs of Git repositories. SPDX-License-Identifier: BSD-3-Clause */
#include "config.h"
#include "plugins/repo-git/git.h"
#include "plugins/common/http.h"
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { URL_MAX = 2000 };

static int
begins (const char *s, const char *with)
{
  return strncasecmp (s, with, strlen (with)) == 0;
}

/* "owner/repo", and nothing after it. */
static int
is_owner_repo (const char *s)
{
  size_t a = strcspn (s, "/"), b = s[a] == '/' ? strcspn (s + a + 1, "/?#") : 0;
  return a > 0 && b > 0 && (s[a + 1 + b] == '\0' || strcmp (s + a + 1 + b, "/") == 0);
}

/* "git@host:path", as ssh and git take it. */
static int
is_scp_like (const char *s)
{
  size_t n = strcspn (s, ":/@");
  return n > 0 && s[n] == '@' && s[n + 1 + strcspn (s + n + 1, ":/")] == ':' &&
         strstr (s, "://") == NULL;
}

int
git_url_match (const char *url)
{
  static const char *const ours[] = { "git+https://", "git+http://", "git+ssh://", "git+file://",
                                      "git+git://", "git://", "ssh://" };
  for (size_t i = 0; i < sizeof ours / sizeof *ours; i++)
    if (begins (url, ours[i]))
      return 1;
  if (begins (url, "github.com/"))
    return is_owner_repo (url + strlen ("github.com/"));
  if (begins (url, "https://github.com/"))
    return is_owner_repo (url + strlen ("https://github.com/"));
  size_t n = strlen (url);
  int dot_git = n > 4 && strcmp (url + n - 4, ".git") == 0;
  return is_scp_like (url) ||
         (dot_git && (begins (url, "https://") || begins (url, "http://") || begins (url, "file://")));
}

/* As git takes it, without what only says that it is Git. */
static const char *
plain_url (struct capstan_call *call, const char *s)
{
  if (begins (s, "git+"))
    return s + 4;
  if (begins (s, "github.com/"))
    return git_text (call, "https://%s", s);
  if (is_scp_like (s)) {
    size_t n = strcspn (s, ":");
    return git_text (call, "ssh://%.*s/%s", (int) n, s, s + n + 1 + (s[n + 1] == '/'));
  }
  return s;
}

static int
bad (struct capstan_call *call, const char *url, const char *why)
{
  return capstan_error (call, CAPSTAN_E_INVAL, 0, "%s: %s", git_clean (call, url, SIZE_MAX), why);
}

/* The host, in lower case and without port. */
static char *
host_of (const char *authority, size_t n)
{
  const char *at = memrchr (authority, '@', n);
  const char *h = at != NULL ? at + 1 : authority;
  size_t len = n - (size_t) (h - authority);
  const char *end = *h == '[' ? memchr (h, ']', len) : memchr (h, ':', len);
  char *r = strndup (h, end == NULL ? len : (size_t) (end - h) + (*h == '['));
  for (char *p = r; p != NULL && *p != '\0'; p++)
    *p = *p >= 'A' && *p <= 'Z' ? (char) (*p + 32) : *p;
  return r;
}

static int
is_loopback (const char *host)
{
  return strcmp (host, "localhost") == 0 || strcmp (host, "[::1]") == 0 ||
         (strncmp (host, "127.", 4) == 0 && strspn (host, "0123456789.") == strlen (host));
}

/* What stands between "://" and the path: no password, nothing that ssh takes for an option. */
static int
check_authority (struct capstan_call *call, const char *url, const char *a, size_t n,
                 const char *host)
{
  const char *at = memrchr (a, '@', n);
  if (at != NULL && memchr (a, ':', (size_t) (at - a)) != NULL)
    return capstan_error (call, CAPSTAN_E_INVAL, 0, "the URL of a repository on %s has a password "
                          "in it, which other users can see; put it into the credentials", host);
  if (*host == '\0' || strspn (host, "abcdefghijklmnopqrstuvwxyz0123456789.-_[]:") != strlen (host))
    return bad (call, url, "it names no host");
  if (*host == '-' || *a == '-')
    return bad (call, url, "neither host nor user may begin with '-'");
  return 0;
}

/* The part of a path that names the repository. */
static char *
last_part (const char *path)
{
  size_t n = strlen (path);
  while (n > 0 && path[n - 1] == '/')
    n--;
  if (n > 4 && strncmp (path + n - 4, ".git", 4) == 0)
    n -= 4;
  const char *slash = memrchr (path, '/', n);
  const char *from = slash != NULL ? slash + 1 : path;
  return strndup (from, n - (size_t) (from - path));
}

static int
check_scheme (struct capstan_call *call, const char *given, int insecure, const struct git *g)
{
  static const char *const known[] = { "https", "ssh", "file", "http", "git" };
  size_t i = 0;
  while (i < sizeof known / sizeof *known && strcmp (g->scheme, known[i]) != 0)
    i++;
  if (i == sizeof known / sizeof *known)
    return bad (call, given, "a Git repository is reached by https, ssh or file, and by http and git "
                             "on this machine");
  if ((strcmp (g->scheme, "http") == 0 || strcmp (g->scheme, "git") == 0) && !insecure &&
      !is_loopback (g->host))
    return bad (call, given, "this is neither encrypted nor authenticated; use https or ssh, or set "
                             "the option insecure=true of the repository");
  return 0;
}

int
git_url_read (struct capstan_call *call, const char *given, int insecure, struct git *g)
{
  if (given == NULL || *given == '\0' || *given == '-' || strlen (given) > URL_MAX)
    return bad (call, given != NULL ? given : "", "this is no URL of a Git repository");
  for (const unsigned char *p = (const unsigned char *) given; *p != '\0'; p++)
    if (*p <= ' ' || *p == 0x7f || *p == '?' || *p == '#' || *p == '\\')
      return bad (call, given, "it has blanks or other characters that such a URL has not");
  const char *url = plain_url (call, given), *sep = strstr (url, "://");
  if (sep == NULL || sep == url)
    return bad (call, given, "it names no protocol: git+https://, git+ssh:// and git+file:// do");
  const char *a = sep + 3;
  size_t n = strcspn (a, "/");
  int rc;
  g->url = strdup (url);
  g->scheme = strndup (url, (size_t) (sep - url));
  g->host = host_of (a, n);
  g->last = last_part (a + n);
  if (g->url == NULL || g->scheme == NULL || g->host == NULL || g->last == NULL)
    return capstan_error (call, CAPSTAN_E_NOMEM, 0, "no memory");
  for (char *p = g->scheme; *p != '\0'; p++)
    *p = *p >= 'A' && *p <= 'Z' ? (char) (*p + 32) : *p;
  memcpy (g->url, g->scheme, strlen (g->scheme));
  if ((rc = check_scheme (call, given, insecure, g)) != 0)
    return rc;
  int file = strcmp (g->scheme, "file") == 0, http = strncmp (g->scheme, "http", 4) == 0;
  if (file && n > 0)
    return bad (call, given, "after file:// stands an absolute path: file:///srv/images.git");
  if (!file && (rc = check_authority (call, given, a, n, g->host)) != 0)
    return rc;
  if (*g->last == '\0' || *g->last == '.' || *g->last == '-')
    return bad (call, given, "its path names no repository");
  char realm[URL_MAX + 1] = "";
  if (http)
    http_url_realm (g->url, realm, sizeof realm);
  g->realm = strdup (realm);
  return g->realm != NULL ? 0 : capstan_error (call, CAPSTAN_E_NOMEM, 0, "no memory");
}

const char *
git_url_folder (struct capstan_call *call, const struct git *g)
{
  unsigned char d[EVP_MAX_MD_SIZE];
  char hex[17];
  if (EVP_Digest (g->url, strlen (g->url), d, NULL, EVP_sha256 (), NULL) != 1)
    memset (d, 0, sizeof d);
  for (int i = 0; i < 8; i++)
    snprintf (hex + 2 * i, 3, "%02x", d[i]);
  char name[64];
  size_t n = 0;
  for (const char *p = g->last; *p != '\0' && n < 40; p++)
    name[n++] = (*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z') || (*p >= '0' && *p <= '9') ||
                        strchr ("-_.", *p) != NULL ? *p : '_';
  name[n] = '\0';
  return git_text (call, "%s-%s", name, hex);
}
