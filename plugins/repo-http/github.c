/* Releases on GitHub: assets named as the original expects them.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * The path of a file is TAG/ASSET, the version of an entry is the tag. What the API answers is
 * kept in the cache folder with its ETag: an answer that has not changed is free, as GitHub
 * counts 60 requests an hour without a token. */
#include "config.h"
#include "plugins/repo-http/repo.h"
#include <curl/curl.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { ANSWER_MAX = 32 << 20, PAGES = 20 };

/* What was read, by the release that was asked for. */
struct releases { char *which; json_t *list; };

void
github_free (struct releases *g)
{
  if (g == NULL)
    return;
  free (g->which);
  json_decref (g->list);
  free (g);
}

/* ---- the cache: {"url": ..., "etag": ..., "next": ..., "answer": ...} ---- */

static const char *
cache_path (struct capstan_call *call, const char *url)
{
  const char *dir = capstan_host_->dir (call, "cache");
  char path[4096], id[36];
  if (dir == NULL)
    return NULL;
  flat_etag (url, strlen (url), id);
  snprintf (path, sizeof path, "%s/releases-%s", dir, id);
  return capstan_host_->keep (call, path, SIZE_MAX);
}

/* NULL if there is none of use. */
static json_t *
cache_read (const char *path, const char *url)
{
  json_t *c = path != NULL ? json_load_file (path, 0, NULL) : NULL;
  const char *of = json_string_value (json_object_get (c, "url"));
  if (of != NULL && strcmp (of, url) == 0 && json_object_get (c, "answer") != NULL)
    return c;
  json_decref (c);
  return NULL;
}

static void
cache_write (struct capstan_call *call, const char *path, json_t *c)
{
  char temp[4200];
  if (path == NULL)
    return;
  snprintf (temp, sizeof temp, "%s.%ld", path, (long) getpid ());
  if (json_dump_file (c, temp, JSON_COMPACT) == 0 && rename (temp, path) == 0)
    return;
  unlink (temp);
  capstan_log (call, CAPSTAN_LOG_DEBUG, "%s could not be written", path);
}

/* ---- the API ---- */

static int
is_limit (const struct http_rsp *rsp)
{
  const char *left = http_header (rsp, "X-RateLimit-Remaining");
  return (rsp->status == 403 || rsp->status == 429) && left != NULL && strcmp (left, "0") == 0;
}

static int
limit_error (struct repo *r, struct capstan_call *call, const struct http_rsp *rsp)
{
  const char *most = http_header (rsp, "X-RateLimit-Limit");
  const char *reset = http_header (rsp, "X-RateLimit-Reset");
  time_t until = reset != NULL ? (time_t) strtoll (reset, NULL, 10) : 0;
  struct tm tm;
  char at[64] = "later";
  if (until > 0)
    strftime (at, sizeof at, "at %H:%M", localtime_r (&until, &tm));
  const char *hint = ", or set GITHUB_TOKEN to a token, which raises the limit";
  return capstan_error (call, CAPSTAN_E_QUOTA, 0, "%s: the %.20s requests an hour that %s grants are "
                        "used up; try again %s%s", r->url, most != NULL ? most : "", r->api, at,
                        r->auth.bearer != NULL ? "" : hint);
}

/* rel="next" of a Link header, if it stays where the API is; NULL at the end. */
static char *
next_page (const struct repo *r, const struct http_rsp *rsp)
{
  const char *link = http_header (rsp, "Link"), *rel, *open;
  if (link == NULL || (rel = strstr (link, "rel=\"next\"")) == NULL)
    return NULL;
  for (open = rel; open > link && *open != '<'; open--)
    ;
  size_t n = strcspn (open, ">");
  char *url = *open == '<' && open + n < rel ? strndup (open + 1, n - 1) : NULL;
  if (url != NULL && http_url_same_origin (url, r->api))
    return url;
  free (url);
  return NULL;
}

/* What was cached for url (c) is brought up to date: *ret is the same object or a new one. */
static int
ask (struct repo *r, struct capstan_call *call, const char *url, json_t *c, json_t **ret)
{
  struct capstan_kv kv[] = { { "Accept", "application/vnd.github+json" },
                             { "X-GitHub-Api-Version", "2022-11-28" }, { "If-None-Match", NULL } };
  struct http_req q = { .url = url, .auth = &r->auth, .flags = HTTP_ANY_STATUS, .headers = kv,
                        .n_headers = 2 };
  struct http_rsp rsp;
  json_error_t why;
  const char *text, *tag;
  size_t n;
  if ((kv[2].value = json_string_value (json_object_get (c, "etag"))) != NULL)
    q.n_headers = 3;
  int rc = http_text (r->http, call, &q, ANSWER_MAX, &text, &n, &rsp);
  if (rc != 0)
    return rc;
  if (rsp.status == 304 && c != NULL)
    *ret = json_incref (c);
  else if (is_limit (&rsp) && c != NULL) {
    if (!r->warned)
      capstan_log (call, CAPSTAN_LOG_WARN, "%s: GitHub's limit of requests is used up; what it said "
                   "before is used", r->url);
    r->warned = 1;
    *ret = json_incref (c);
  } else if (is_limit (&rsp))
    rc = limit_error (r, call, &rsp);
  else if (rsp.status != 200)
    rc = http_status_error (call, NULL, &rsp);
  else {
    json_t *answer = json_loadb (text, n, JSON_REJECT_DUPLICATES, &why);
    char *next = next_page (r, &rsp);
    tag = http_header (&rsp, "ETag");
    *ret = json_pack ("{s:s, s:s*, s:s*, s:o*}", "url", url, "etag", tag, "next", next, "answer",
                      answer);
    free (next);
    if (answer == NULL || *ret == NULL)
      rc = capstan_error (call, CAPSTAN_E_NET, 0, "%s: the answer is no JSON: %s", r->url,
                          answer == NULL ? why.text : "no memory");
  }
  http_rsp_clear (&rsp);
  return rc;
}

/* One page, from the cache or the API: *ret is the object as it is cached. */
static int
page (struct repo *r, struct capstan_call *call, const char *url, json_t **ret)
{
  const char *path = cache_path (call, url);
  json_t *c = cache_read (path, url), *now = NULL;
  int rc = ask (r, call, url, c, &now);
  if (rc == 0 && now != c)
    cache_write (call, path, now);
  else if (rc == 0 && path != NULL)
    utimensat (AT_FDCWD, path, NULL, 0); /* of use: maintain leaves it */
  json_decref (c);
  if (rc == 0)
    *ret = now;
  else
    json_decref (now);
  return rc;
}

/* The releases to look through, newest first: r->releases->list. which: "any", "latest", a tag. */
static int
load (struct repo *r, struct capstan_call *call, const char *which)
{
  if (r->releases != NULL && strcmp (r->releases->which, which) == 0)
    return 0;
  char url[1024];
  int any = strcmp (which, "any") == 0, latest = strcmp (which, "latest") == 0, rc = 0;
  struct releases *g = calloc (1, sizeof *g);
  if (g == NULL || (g->which = strdup (which)) == NULL || (g->list = json_array ()) == NULL) {
    github_free (g);
    return capstan_error (call, CAPSTAN_E_NOMEM, 0, "no memory");
  }
  struct buf tag = { 0 };
  http_url_escape (&tag, which, 0);
  snprintf (url, sizeof url, "%srepos/%s/%s/releases%s%s", r->api, r->owner, r->project,
            any ? "?per_page=100" : latest ? "/latest" : "/tags/",
            any || latest || buf_str (&tag) == NULL ? "" : buf_str (&tag));
  buf_free (&tag);
  for (int i = 0; rc == 0 && url[0] != '\0' && i < PAGES; i++) {
    json_t *c = NULL, *answer;
    if ((rc = page (r, call, url, &c)) != 0)
      break;
    answer = json_object_get (c, "answer");
    if (json_is_array (answer))
      json_array_extend (g->list, answer);
    else
      json_array_append (g->list, answer);
    const char *next = json_string_value (json_object_get (c, "next"));
    snprintf (url, sizeof url, "%s", next != NULL && strlen (next) < sizeof url ? next : "");
    json_decref (c);
  }
  if (rc == -CAPSTAN_E_NOTFOUND)
    rc = capstan_error (call, CAPSTAN_E_NOTFOUND, 0, any ? "%s: %s knows no such repository"
                        : "%s: %s knows no release '%s' of it", r->url, r->api, which);
  if (rc != 0) {
    github_free (g);
    return rc;
  }
  github_free (r->releases);
  r->releases = g;
  return 0;
}

/* ---- assets ---- */

static int
eat (const char **s, const char *what)
{
  size_t n = strlen (what);
  if (strncmp (*s, what, n) != 0 || ((*s)[n] != '\0' && (*s)[n] != '.'))
    return 0;
  *s += n + ((*s)[n] == '.');
  return 1;
}

/* Is this asset the image? NAME.SUFFIX, NAME.SUFFIX.ARCH or NAME.ARCH (the original's), each
 * plain, .gz or .zst. */
static int
is_image (const char *asset, const char *name, const char *suffix, const char *arch,
          const char **ret_encoding)
{
  const char *s = asset;
  if (!eat (&s, name) || *s == '\0')
    return 0;
  int has_suffix = eat (&s, suffix), has_arch = eat (&s, arch);
  *ret_encoding = eat (&s, "gz") ? "gzip" : eat (&s, "zst") ? "zstd" : NULL;
  return *s == '\0' && (has_suffix || has_arch);
}

static const char *
text_of (const json_t *o, const char *key)
{
  const char *s = json_string_value (json_object_get (o, key));
  return s != NULL ? s : "";
}

static int64_t
time_of (const char *s)
{
  struct tm tm = { 0 };
  if (sscanf (s, "%d-%d-%dT%d:%d:%dZ", &tm.tm_year, &tm.tm_mon, &tm.tm_mday, &tm.tm_hour,
              &tm.tm_min, &tm.tm_sec) != 6)
    return INT64_MIN;
  tm.tm_year -= 1900;
  tm.tm_mon -= 1;
  return (int64_t) timegm (&tm);
}

static int
is_safe (const char *s)
{
  return *s != '\0' && *s != '.' && strlen (s) < 300 && strpbrk (s, "/\\") == NULL;
}

/* A draft is seen by its owners only. */
static int
is_usable (const json_t *release)
{
  return !json_is_true (json_object_get (release, "draft")) &&
         is_safe (text_of (release, "tag_name"));
}

static uint64_t
size_of (const json_t *asset)
{
  const json_t *n = json_object_get (asset, "size");
  return json_is_integer (n) && json_integer_value (n) >= 0 ? (uint64_t) json_integer_value (n)
                                                            : UINT64_MAX;
}

static int
emit (struct capstan_list *out, const json_t *release, const json_t *asset, const char *name,
      const char *arch, const char *encoding)
{
  char path[700], etag[200];
  const char *digest = text_of (asset, "digest"), *tag = text_of (release, "tag_name");
  snprintf (path, sizeof path, "%s/%s", tag, text_of (asset, "name"));
  snprintf (etag, sizeof etag, "%" JSON_INTEGER_FORMAT "-%.40s",
            json_integer_value (json_object_get (asset, "id")), text_of (asset, "updated_at"));
  struct capstan_file f = { .struct_size = sizeof f, .path = path, .role = "image",
                            .encoding = encoding, .etag = etag, .size = UINT64_MAX,
                            .wire_size = size_of (asset) };
  if (strncmp (digest, "sha256:", 7) == 0 && strlen (digest) == 7 + 64)
    f.wire_sha256 = digest + 7;
  if (encoding == NULL) {
    f.sha256 = f.wire_sha256;
    f.size = f.wire_size;
  }
  const struct capstan_file *files[] = { &f, NULL };
  struct capstan_entry e = { .struct_size = sizeof e,
                             .name = name,
                             .version = tag,
                             .arch = arch,
                             .kind = "image",
                             .ref = tag,
                             .etag = etag,
                             .size = f.size,
                             .created = time_of (text_of (release, "published_at")),
                             .files = files };
  return capstan_host_->emit_entry (out, &e);
}

int
github_resolve (struct repo *r, struct capstan_call *call, const struct capstan_query *q,
                struct capstan_list *out)
{
  const char *suffix = repo_param (q->params, q->n_params, "suffix"), *encoding;
  const char *arch = q->arch != NULL ? q->arch : "x86_64";
  const char *which = q->version != NULL && *q->version != '\0' ? q->version : r->release;
  json_t *release, *asset;
  size_t i, k;
  if (suffix == NULL)
    suffix = "qemu";
  if (q->name == NULL || *q->name == '\0')
    return capstan_error (call, CAPSTAN_E_INVAL, 0, "resolve: a name is needed");
  int rc = load (r, call, which);
  if (rc != 0)
    return rc;
  json_array_foreach (r->releases->list, i, release) {
    if (!is_usable (release))
      continue;
    json_array_foreach (json_object_get (release, "assets"), k, asset) {
      const char *file = text_of (asset, "name");
      if (is_safe (file) && is_image (file, q->name, suffix, arch, &encoding))
        return emit (out, release, asset, q->name, arch, encoding);
    }
  }
  return capstan_error (call, CAPSTAN_E_NOTFOUND, 0, "%s: no asset %s.%s or %s.%s.%s in %s%s", r->url,
                        q->name, suffix, q->name, suffix, arch,
                        strcmp (which, "any") == 0 ? "any of its releases" : "release ",
                        strcmp (which, "any") == 0 ? "" : which);
}

/* ---- list ---- */

/* The name before ".SUFFIX", or NULL. */
static const char *
name_in (struct capstan_call *call, const char *asset, const char *suffix)
{
  char middle[100];
  const char *encoding;
  snprintf (middle, sizeof middle, ".%s", suffix);
  const char *at = strstr (asset, middle);
  if (at == NULL || at == asset)
    return NULL;
  const char *name = capstan_host_->keep (call, asset, (size_t) (at - asset));
  return is_image (asset, name, suffix, "x86_64", &encoding) ? name : NULL;
}

int
github_list (struct repo *r, struct capstan_call *call, const struct capstan_query *q,
             struct capstan_list *out, const char **ret_next)
{
  const char *suffix = repo_param (q->params, q->n_params, "suffix"), *encoding;
  json_t *release, *asset, *seen = json_object ();
  size_t i, k;
  int rc = seen != NULL ? load (r, call, r->release)
                        : capstan_error (call, CAPSTAN_E_NOMEM, 0, "no memory");
  if (suffix == NULL)
    suffix = "qemu";
  json_array_foreach (rc == 0 ? r->releases->list : NULL, i, release) {
    if (!is_usable (release))
      continue;
    json_array_foreach (json_object_get (release, "assets"), k, asset) {
      const char *file = text_of (asset, "name");
      const char *name = is_safe (file) ? name_in (call, file, suffix) : NULL;
      if (rc != 0 || name == NULL || json_object_get (seen, name) != NULL ||
          (q->name != NULL && strcmp (q->name, name) != 0))
        continue;
      json_object_set_new (seen, name, json_true ());
      is_image (file, name, suffix, "x86_64", &encoding);
      rc = emit (out, release, asset, name, "x86_64", encoding);
    }
  }
  json_decref (seen);
  return rc;
}

/* ---- fetch ---- */

static json_t *
asset_of (struct repo *r, const char *tag, const char *name)
{
  json_t *release, *asset;
  size_t i, k;
  json_array_foreach (r->releases->list, i, release)
    if (strcmp (text_of (release, "tag_name"), tag) == 0)
      json_array_foreach (json_object_get (release, "assets"), k, asset)
        if (strcmp (text_of (asset, "name"), name) == 0)
          return asset;
  return NULL;
}

static int
fetch_asset (struct repo *r, struct capstan_call *call, const struct capstan_part *part,
             struct capstan_sink *sink)
{
  static const struct capstan_kv raw = { "Accept", "application/octet-stream" };
  const char *slash = strchr (part->path, '/');
  if (slash == NULL || slash == part->path)
    return capstan_error (call, CAPSTAN_E_INVAL, 0, "%s: '%s' is no file of a release", r->url,
                          part->path);
  const char *tag = capstan_host_->keep (call, part->path, (size_t) (slash - part->path));
  json_t *asset = r->releases != NULL ? asset_of (r, tag, slash + 1) : NULL;
  int rc = asset != NULL ? 0 : load (r, call, tag);
  if (rc == 0 && asset == NULL && (asset = asset_of (r, tag, slash + 1)) == NULL)
    rc = capstan_error (call, CAPSTAN_E_NOTFOUND, 0, "%s: release %s has no asset %s", r->url, tag,
                        slash + 1);
  if (rc != 0)
    return rc;
  struct wanted w = { .path = part->path, .url = text_of (asset, "url"), .size = size_of (asset),
                      .headers = &raw, .n_headers = 1, .auth = &r->auth,
                      .encoding = wire_encoding (part->path), .connections = r->connections };
  /* The API gives assets of private repositories too, but counts every request. */
  if ((r->auth.bearer == NULL && r->auth.user == NULL) || !http_url_same_origin (w.url, r->api)) {
    w.url = text_of (asset, "browser_download_url");
    w.n_headers = 0;
    w.auth = NULL;
  }
  if (strncasecmp (r->api, "https:", 6) == 0 && strncasecmp (w.url, "https:", 6) != 0)
    return capstan_error (call, CAPSTAN_E_UNTRUSTED, 0, "%s: the address of %s is not encrypted",
                          r->url, part->path);
  return fetch_file (r->http, call, &w, part, sink);
}

int
github_fetch (struct repo *r, struct capstan_call *call, const struct capstan_fetch_req *q,
              struct capstan_sink *sink, struct capstan_fetch_rsp *ret)
{
  int rc = 0;
  for (const struct capstan_part *const *p = q->parts; rc == 0 && *p != NULL; p++)
    rc = fetch_asset (r, call, *p, sink);
  if (rc == 0)
    ret->ref = q->ref;
  return rc;
}

/* ---- maintain ---- */

int
github_maintain (struct repo *r, struct capstan_call *call, uint64_t older_than, int dry_run)
{
  const char *dir = capstan_host_->dir (call, "cache");
  DIR *d = dir != NULL ? opendir (dir) : NULL;
  struct dirent *e;
  if (d == NULL)
    return dir == NULL ? -CAPSTAN_E_IO : capstan_error (call, CAPSTAN_E_IO, errno, "open %s", dir);
  while ((e = readdir (d)) != NULL) {
    char path[1300];
    struct stat st;
    snprintf (path, sizeof path, "%s/%s", dir, e->d_name);
    if (strncmp (e->d_name, "releases-", 9) != 0 || stat (path, &st) != 0 ||
        (uint64_t) (time (NULL) - st.st_mtime) < older_than)
      continue;
    capstan_log (call, CAPSTAN_LOG_INFO, "%s%s: an old answer of GitHub",
                 dry_run ? "would remove " : "", path);
    if (!dry_run)
      unlink (path);
  }
  closedir (d);
  return 0;
}
