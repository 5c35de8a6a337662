/* The layout of the original on a web server: NAME/index.yaml and NAME/LAST.SUFFIX.gz.
 * SPDX-License-Identifier: BSD-3-Clause */
#include "config.h"
#include "plugins/repo-http/repo.h"
#include <curl/curl.h>
#include <openssl/evp.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

/* Best first. */
static const struct { const char *encoding, *ext; } kinds[FLAT_IMAGES] = {
  { "zstd", ".zst" }, { "gzip", ".gz" }, { NULL, "" }
};

const char *
repo_param (const struct capstan_kv *params, size_t n, const char *key)
{
  for (size_t i = 0; i < n; i++)
    if (strcmp (params[i].key, key) == 0)
      return params[i].value;
  return NULL;
}

const char *
repo_url_of (struct repo *r, struct capstan_call *call, const char *path)
{
  struct buf b = { 0 };
  http_url_add (&b, r->url, path);
  const char *url = buf_str (&b) != NULL ? capstan_host_->keep (call, b.s, b.len) : NULL;
  buf_free (&b);
  if (url == NULL)
    capstan_error (call, CAPSTAN_E_NOMEM, 0, "no memory");
  return url;
}

static const char *
last_of (const char *name)
{
  const char *slash = strrchr (name, '/');
  return slash != NULL ? slash + 1 : name;
}

/* ---- what is there ---- */

int
found_is (const struct found *f)
{
  return (f->status == 200 || f->status == 206) && !f->html;
}


static void
take (struct found *f, const struct http_rsp *rsp)
{
  const char *type = http_header (rsp, "Content-Type");
  f->status = rsp->status;
  f->size = rsp->total;
  f->html = type != NULL && strncasecmp (type, "text/html", 9) == 0;
  found_tag (rsp, f->etag, sizeof f->etag);
}

static int
head_done (void *user, const struct http_rsp *rsp, int rc)
{
  if (rc == 0)
    take (user, rsp);
  return rc;
}

/* For a server without HEAD: what the headers of a GET say. */
static int
get_head (void *user, const struct http_rsp *rsp)
{
  take (user, rsp);
  return -CAPSTAN_E_CANCELLED;
}

static int
get_done (void *user, const struct http_rsp *rsp, int rc)
{
  const struct found *f = user;
  return f->status != 0 ? 0 : rc;
}

static int
ask_head (struct repo *r, struct capstan_call *call, struct found *f, int by_get)
{
  struct http_req q = { .method = by_get ? "GET" : "HEAD", .flags = HTTP_ANY_STATUS,
                        .auth = &r->auth, .on_done = by_get ? get_done : head_done, .user = f,
                        .url = repo_url_of (r, call, f->path) };
  if (by_get) {
    f->status = 0;
    q.on_head = get_head;
    q.flags |= HTTP_RANGE; /* one byte */
  }
  return q.url != NULL ? http_add (r->http, call, &q) : -CAPSTAN_E_NOMEM;
}

void
flat_etag (const void *index, size_t n, char out[36])
{
  unsigned char md[EVP_MAX_MD_SIZE];
  unsigned int len = 0;
  memset (md, 0, sizeof md);
  if (EVP_Digest (index, n, md, &len, EVP_sha256 (), NULL) != 1)
    len = 0;
  for (int i = 0; i < 16; i++)
    sprintf (out + 2 * i, "%02x", md[i]);
}

/* index.yaml is small, and its bytes tell two states apart where the ETag of a server (time
 * and size) does not: it is read. */
static int
look_index (struct repo *r, struct capstan_call *call, struct entry_state *s)
{
  struct http_req q = { .flags = HTTP_ANY_STATUS, .auth = &r->auth,
                        .url = repo_url_of (r, call, s->index.path) };
  struct http_rsp rsp;
  const char *text, *modified;
  size_t n;
  int rc = q.url != NULL ? http_text (r->http, call, &q, FLAT_INDEX_MAX, &text, &n, &rsp)
                         : -CAPSTAN_E_NOMEM;
  if (rc != 0)
    return rc;
  take (&s->index, &rsp);
  s->index.size = n;
  s->index.html = s->index.html && n > 0 && *text == '<';
  if (found_is (&s->index)) {
    flat_etag (text, n, s->etag);
    modified = http_header (&rsp, "Last-Modified");
    snprintf (s->modified, sizeof s->modified, "%s", modified != NULL ? modified : "");
  } else if (rsp.status == 403) /* many buckets say so of what is absent: it may be in the end */
    (void) http_status_error (call, NULL, &rsp);
  else if (rsp.status != 404 && rsp.status != 410 && !s->index.html)
    rc = http_status_error (call, NULL, &rsp);
  http_rsp_clear (&rsp);
  return rc;
}

static int
look_images (struct repo *r, struct capstan_call *call, struct entry_state *s, int by_get)
{
  int rc = 0, n = 0;
  for (int i = 0; i < FLAT_IMAGES && rc == 0; i++)
    if (!by_get || s->images[i].status == 405 || s->images[i].status == 501) {
      rc = ask_head (r, call, &s->images[i], by_get);
      n++;
    }
  return rc == 0 && n > 0 ? http_run (r->http, call) : rc;
}

int
flat_look (struct repo *r, struct capstan_call *call, const char *dir, const char *name,
           const char *suffix, struct entry_state *s)
{
  memset (s, 0, sizeof *s);
  snprintf (s->index.path, sizeof s->index.path, "%sindex.yaml", dir);
  int rc = look_index (r, call, s);
  for (int i = 0; i < FLAT_IMAGES; i++) {
    s->images[i].encoding = kinds[i].encoding;
    snprintf (s->images[i].path, sizeof s->images[i].path, "%s%s.%s%s", dir, last_of (name), suffix,
              kinds[i].ext);
  }
  if (rc == 0)
    rc = look_images (r, call, s, 0);
  if (rc == 0)
    rc = look_images (r, call, s, 1);
  for (int i = 0; rc == 0 && i < FLAT_IMAGES; i++) {
    const struct found *f = &s->images[i];
    if (s->etag[0] == '\0' && found_is (f)) { /* no index: the image says what it is */
      char said[2000];
      int n = snprintf (said, sizeof said, "%s\n%s\n%" PRIu64, f->path, f->etag, f->size);
      flat_etag (said, (size_t) n, s->etag);
    } else if (f->status >= 500 || f->status == 429 || f->status == 401) {
      struct http_rsp rsp = { .status = f->status, .url = (char *) repo_url_of (r, call, f->path) };
      rc = http_status_error (call, "HEAD", &rsp);
    }
  }
  return rc;
}

/* ---- names ---- */

const char *
flat_make_ref (struct capstan_call *call, const char *etag, const char *suffix, const char *name)
{
  char ref[1200];
  snprintf (ref, sizeof ref, "%s %s %s", etag, suffix, name);
  return capstan_host_->keep (call, ref, SIZE_MAX);
}

int
flat_ref (struct capstan_call *call, const char *ref, const char **ret_etag,
          const char **ret_suffix, const char **ret_name)
{
  const char *a = strchr (ref, ' '), *b = a != NULL ? strchr (a + 1, ' ') : NULL;
  if (b == NULL || a == ref || b == a + 1 || b[1] == '\0')
    return capstan_error (call, CAPSTAN_E_INVAL, 0, "'%s' names no entry of this repository", ref);
  *ret_etag = capstan_host_->keep (call, ref, (size_t) (a - ref));
  *ret_suffix = capstan_host_->keep (call, a + 1, (size_t) (b - a - 1));
  *ret_name = b + 1;
  return 0;
}

int
flat_split (struct capstan_call *call, const char *path, const char *name, const char **ret_suffix,
            const char **ret_encoding)
{
  size_t n = strlen (name), len = strlen (path), ext = 0;
  const char *last = last_of (name);
  if (len <= n + 1 || strncmp (path, name, n) != 0 || path[n] != '/')
    return 0;
  const char *file = path + n + 1;
  if (strchr (file, '/') != NULL || strncmp (file, last, strlen (last)) != 0 ||
      file[strlen (last)] != '.')
    return 0;
  file += strlen (last) + 1;
  len = strlen (file);
  *ret_encoding = NULL;
  for (int i = 0; i < FLAT_IMAGES; i++) {
    size_t e = strlen (kinds[i].ext);
    if (ext == 0 && e > 0 && len > e && strcmp (file + len - e, kinds[i].ext) == 0) {
      ext = e;
      *ret_encoding = kinds[i].encoding;
    }
  }
  *ret_suffix = capstan_host_->keep (call, file, len - ext);
  return **ret_suffix != '\0' && strchr (*ret_suffix, '.') == NULL;
}

/* ---- resolve ---- */

static int64_t
time_of (const char *modified)
{
  time_t t = modified != NULL && *modified != '\0' ? curl_getdate (modified, NULL) : -1;
  return t != -1 ? (int64_t) t : INT64_MIN;
}

static int
emit_state (struct repo *r, struct capstan_call *call, const char *name, const char *suffix,
            const struct entry_state *s, struct capstan_list *out)
{
  struct capstan_file files[FLAT_IMAGES + 1];
  const struct capstan_file *list[FLAT_IMAGES + 2];
  size_t n = 0;
  struct capstan_entry e = { .struct_size = sizeof e,
                             .name = name,
                             .kind = "image",
                             .etag = s->etag,
                             .size = UINT64_MAX,
                             .created = time_of (s->modified),
                             .files = list,
                             .ref = flat_make_ref (call, s->etag, suffix, name) };
  for (int i = -1; i < FLAT_IMAGES; i++) {
    const struct found *f = i < 0 ? &s->index : &s->images[i];
    if (!found_is (f))
      continue;
    files[n] = (struct capstan_file){ .struct_size = sizeof *files, .path = f->path,
                                      .role = i < 0 ? "index" : "image", .encoding = f->encoding,
                                      .etag = f->etag[0] != '\0' ? f->etag : NULL,
                                      .size = UINT64_MAX, .wire_size = f->size };
    list[n] = &files[n];
    n++;
  }
  list[n] = NULL;
  return capstan_host_->emit_entry (out, &e);
}

/* The last part of the repository's own URL, as a name. */
static int
is_root_name (const struct repo *r, const char *name)
{
  size_t n = strlen (name), len = strlen (r->url);
  return strchr (name, '/') == NULL && len > n + 2 &&
         strncmp (r->url + len - 1 - n, name, n) == 0 && r->url[len - n - 2] == '/';
}

int
flat_resolve (struct repo *r, struct capstan_call *call, const struct capstan_query *q,
              struct capstan_list *out)
{
  const char *suffix = repo_param (q->params, q->n_params, "suffix");
  struct entry_state s;
  char dir[1024];
  if (q->name == NULL || *q->name == '\0' || strlen (q->name) > 1000)
    return capstan_error (call, CAPSTAN_E_INVAL, 0, "resolve: a name is needed");
  suffix = suffix != NULL ? suffix : "qemu";
  snprintf (dir, sizeof dir, "%s/", q->name);
  int rc = flat_look (r, call, dir, q->name, suffix, &s);
  if (rc == 0 && s.etag[0] == '\0' && is_root_name (r, q->name)) {
    struct entry_state root;
    if ((rc = flat_look (r, call, "", q->name, suffix, &root)) == 0 && root.etag[0] != '\0')
      s = root;
  }
  if (rc != 0)
    return rc;
  if (s.etag[0] != '\0')
    return emit_state (r, call, q->name, suffix, &s, out);
  if (s.index.status == 403)
    return -CAPSTAN_E_PERM; /* look_index has set the error */
  return capstan_error (call, CAPSTAN_E_NOTFOUND, 0,
                        "%s has no '%s': neither %s nor %s, .gz or .zst", r->url, q->name,
                        s.index.path, s.images[FLAT_IMAGES - 1].path);
}
