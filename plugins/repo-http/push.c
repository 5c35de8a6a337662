/* Push, remove and maintain by PUT, DELETE and, where there is one, WebDAV.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * With WebDAV the bytes go to a name of their own first ("app.qemu.gz.0123456789ab.part"),
 * and get their names under a lock after the state was looked at once more; what an upload
 * that died leaves behind is noted under the state folder, for maintain. With PUT alone the
 * state is looked at before, and again at the end, and conditions are sent along: a server that
 * heeds them refuses the second of two; with one that does not the last one wins. */
#include "config.h"
#include "plugins/repo-http/repo.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { FILES_MAX = 8, TRIES = 5 };

struct push {
  struct repo *r;
  struct capstan_call *call;
  const struct capstan_push_req *q;
  struct capstan_source *source;
  const char *name, *suffix;
  char dir[1024];
  struct entry_state state;
  char ours[36]; /* the etag of the entry once it is pushed; "" without an index */
  uint32_t n;
  struct up {
    struct push *p;
    uint32_t i;
    const struct capstan_file *f;
    char temp[1500], note[1200];
  } up[FILES_MAX];
};

static int
conflict (struct repo *r, struct capstan_call *call, const char *name)
{
  return capstan_error (call, CAPSTAN_E_CONFLICT, 0, "%s: '%s' was changed by somebody else: look "
                        "at what is there now, then push again", r->url, name);
}

static int
look (struct push *p)
{
  int rc = flat_look (p->r, p->call, p->dir, p->name, p->suffix, &p->state);
  const char *is = p->state.etag, *none = p->q->if_none_match;
  if (rc != 0)
    return rc;
  if (none != NULL && strcmp (none, "*") == 0 && *is != '\0')
    return capstan_error (p->call, CAPSTAN_E_CONFLICT, 0, "%s: '%s' is there already", p->r->url,
                          p->name);
  if (p->q->if_match != NULL && strcmp (p->q->if_match, is) != 0)
    return conflict (p->r, p->call, p->name);
  return 0;
}

/* ---- notes of uploads, so that what is left of one that died can be found ---- */

/* A file that says "URL\nPATH\n". */
static void
note_upload (struct repo *r, struct capstan_call *call, struct up *u)
{
  const char *dir = capstan_host_->dir (call, "state");
  char text[4096], id[36];
  u->note[0] = '\0';
  int n = snprintf (text, sizeof text, "%s\n%s\n", r->url, u->temp);
  if (dir == NULL || n >= (int) sizeof text)
    return;
  flat_etag (text, (size_t) n, id);
  snprintf (u->note, sizeof u->note, "%s/upload-%s", dir, id);
  int fd = open (u->note, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (fd < 0 || write (fd, text, (size_t) n) != n)
    capstan_log (call, CAPSTAN_LOG_WARN, "write %s: %s", u->note, strerror (errno));
  if (fd >= 0)
    close (fd);
}

static void
forget_upload (struct up *u)
{
  if (u->note[0] != '\0')
    unlink (u->note);
  u->note[0] = '\0';
}

/* ---- one file ---- */

static int64_t
read_source (void *user, uint64_t offset, void *buf, size_t n)
{
  struct up *u = user;
  return capstan_host_->source_pread (u->p->source, u->i, offset, buf, n);
}

static int
cannot_put (struct push *p, const struct http_rsp *rsp)
{
  int rc = http_status_error (p->call, "PUT", rsp);
  char url[300];
  if (rsp->status == 413)
    rc = capstan_error (p->call, CAPSTAN_E_LIMIT, 0, "PUT %s: 413, the server takes no file of "
                        "this size (nginx: client_max_body_size 0)",
                        http_url_show (rsp->url, url, sizeof url));
  else if (rsp->status == 405 || rsp->status == 501)
    rc = capstan_error (p->call, CAPSTAN_E_UNSUPPORTED, 0, "PUT %s: %d, this web server takes no "
                        "uploads (nginx: dav_methods PUT DELETE MKCOL MOVE)",
                        http_url_show (rsp->url, url, sizeof url), rsp->status);
  else if (rsp->status == 409 || rsp->status == 412)
    rc = conflict (p->r, p->call, p->name);
  return rc;
}

/* old: what lies there now, for the condition; NULL: none is sent. */
static int
put_file (struct up *u, const char *path, const struct found *old)
{
  struct push *p = u->p;
  struct capstan_kv kv[2] = { { "Content-Type", "application/octet-stream" } };
  struct http_req q = { .method = "PUT",
                        .url = repo_url_of (p->r, p->call, path),
                        .headers = kv,
                        .n_headers = 1,
                        .auth = &p->r->auth,
                        .flags = HTTP_ANY_STATUS | HTTP_COUNT,
                        .read = read_source,
                        .user = u,
                        .has_body = 1,
                        .body_size = u->f->wire_size };
  if (old != NULL && !found_is (old))
    kv[q.n_headers++] = (struct capstan_kv){ "If-None-Match", "*" };
  else if (old != NULL && old->etag[0] == '"')
    kv[q.n_headers++] = (struct capstan_kv){ "If-Match", old->etag };
  for (int made = 0;; made = 1) {
    struct http_rsp rsp;
    int rc = q.url != NULL ? http_perform (p->r->http, p->call, &q, &rsp) : -CAPSTAN_E_NOMEM;
    if (rc != 0)
      return rc;
    int retry = !made && (rsp.status == 409 || rsp.status == 404); /* its folder is missing */
    if (!retry && (rsp.status < 200 || rsp.status > 299))
      rc = cannot_put (p, &rsp);
    else if (retry)
      rc = dav_parents (p->r, p->call, path);
    http_rsp_clear (&rsp);
    if (rc != 0 || !retry)
      return rc;
  }
}

static const struct found *
state_of (const struct push *p, const char *path)
{
  for (int i = 0; i < FLAT_IMAGES; i++)
    if (strcmp (p->state.images[i].path, path) == 0)
      return &p->state.images[i];
  return strcmp (p->state.index.path, path) == 0 ? &p->state.index : NULL;
}

/* ---- the two ways ---- */

static int
upload_temp (struct push *p)
{
  int rc = 0;
  for (uint32_t i = 0; rc == 0 && i < p->n; i++) {
    struct up *u = &p->up[i];
    /* The same bytes have the same name: the next push of them replaces what is left. */
    snprintf (u->temp, sizeof u->temp, "%s.%.12s.part", u->f->path,
              u->f->wire_sha256 != NULL ? u->f->wire_sha256 : "unknown");
    note_upload (p->r, p->call, u);
    rc = put_file (u, u->temp, NULL);
  }
  return rc;
}

static void
drop_temp (struct push *p)
{
  for (uint32_t i = 0; i < p->n; i++) {
    struct up *u = &p->up[i];
    if (u->temp[0] != '\0' && dav_delete (p->r, p->call, u->temp, 1) == 0)
      forget_upload (u);
  }
}

/* With the lock held. */
static int
name_files (struct push *p)
{
  int rc = look (p);
  for (uint32_t i = 0; rc == 0 && i < p->n; i++) {
    if ((rc = dav_move (p->r, p->call, p->up[i].temp, p->up[i].f->path)) == 0) {
      forget_upload (&p->up[i]);
      p->up[i].temp[0] = '\0';
    }
  }
  return rc;
}

/* Are the images those that were put? Their tags were taken behind each upload. */
static int
images_are_ours (const struct push *p, char tags[][200])
{
  for (uint32_t i = 0; i + 1 < p->n; i++) {
    const struct found *f = state_of (p, p->up[i].f->path);
    if (f != NULL && (!found_is (f) || strcmp (f->etag, tags[i]) != 0))
      return 0;
  }
  return 1;
}

/* Whether they can be ours at all: another's may have come on top already. */
static int
take_tags (const struct push *p, char tags[][200])
{
  int ours = 1;
  for (uint32_t i = 0; i + 1 < p->n; i++) {
    const struct found *f = state_of (p, p->up[i].f->path);
    snprintf (tags[i], 200, "%s", f != NULL ? f->etag : "");
    ours &= f == NULL || f->size == UINT64_MAX || f->size == p->up[i].f->wire_size;
  }
  return ours;
}

/* Nothing keeps others away, so the end is looked at. Who has written the image writes the
 * index too, and whose index is there last sees to it that the image is the same one's: what
 * lies there when all are done is of one pusher. */
static int
put_plainly (struct push *p)
{
  char tags[FILES_MAX][200] = { { 0 } };
  for (int k = 0; k < TRIES; k++) {
    int rc = 0, ours = 1;
    for (uint32_t i = 0; rc == 0 && ours && i < p->n; i++) {
      rc = put_file (&p->up[i], p->up[i].f->path, k == 0 ? state_of (p, p->up[i].f->path) : NULL);
      if (rc == 0 && i + 2 == p->n) {
        struct entry_state before = p->state;
        rc = flat_look (p->r, p->call, p->dir, p->name, p->suffix, &p->state);
        ours = take_tags (p, tags);
        p->state.index = before.index; /* its condition is that of the start */
      }
    }
    if (rc == 0 && !ours)
      continue;
    if (rc == 0)
      rc = flat_look (p->r, p->call, p->dir, p->name, p->suffix, &p->state);
    if (rc != 0)
      return rc;
    if (p->ours[0] != '\0' && strcmp (p->state.etag, p->ours) != 0)
      break;
    if (images_are_ours (p, tags))
      return 0;
  }
  return conflict (p->r, p->call, p->name);
}

/* The same image in other encodings, and the listing. The push has succeeded by then. */
static void
tidy (struct push *p)
{
  struct index_change change[FILES_MAX + FLAT_IMAGES];
  size_t n = 0;
  for (uint32_t i = 0; i < p->n; i++)
    change[n++] = (struct index_change){ p->up[i].f->path, p->up[i].f->wire_size,
                                          p->up[i].f->wire_sha256 };
  for (int i = 0; i < FLAT_IMAGES; i++) {
    const struct found *f = &p->state.images[i];
    int ours = 0;
    for (uint32_t k = 0; k < p->n; k++)
      ours |= strcmp (p->up[k].f->path, f->path) == 0;
    if (ours)
      continue;
    change[n++] = (struct index_change){ f->path, UINT64_MAX, NULL };
    if (found_is (f) && dav_delete (p->r, p->call, f->path, 1) != 0)
      capstan_log (p->call, CAPSTAN_LOG_WARN, "%s%s could not be removed", p->r->url, f->path);
  }
  if (index_update (p->r, p->call, change, n) != 0)
    capstan_log (p->call, CAPSTAN_LOG_WARN, "the listing of %s could not be brought up to date; "
                 "'capstan repo index' makes a new one", p->r->url);
}

/* ---- push ---- */

/* p->ours, from the index that is sent: it is the last file. */
static int
read_index (struct push *p)
{
  const struct up *u = &p->up[p->n - 1];
  if (strcmp (u->f->path + strlen (p->dir), "index.yaml") != 0 || u->f->wire_size > FLAT_INDEX_MAX)
    return 0;
  size_t n = (size_t) u->f->wire_size, have = 0;
  char *text = malloc (n + 1);
  int64_t got = 1;
  if (text == NULL)
    return capstan_error (p->call, CAPSTAN_E_NOMEM, 0, "no memory");
  while (have < n && got > 0) {
    got = capstan_host_->source_pread (p->source, u->i, have, text + have, n - have);
    have += got > 0 ? (size_t) got : 0;
  }
  if (have == n)
    flat_etag (text, n, p->ours);
  free (text);
  return got < 0 ? (int) got : 0;
}

static int
read_request (struct push *p)
{
  uint64_t total = 0;
  const char *encoding;
  p->n = capstan_host_->source_count (p->source);
  p->name = p->q->entry != NULL ? p->q->entry->name : NULL;
  p->suffix = repo_param (p->q->params, p->q->n_params, "suffix");
  if (p->name == NULL || strlen (p->name) > 1000 || p->n == 0 || p->n > FILES_MAX)
    return capstan_error (p->call, CAPSTAN_E_INVAL, 0,
                          "push: a name and one to %d files are needed", FILES_MAX);
  snprintf (p->dir, sizeof p->dir, "%s/", p->name);
  for (uint32_t i = 0; i < p->n; i++) {
    const struct capstan_file *f = capstan_host_->source_file (p->source, i);
    if (f == NULL || f->path == NULL || strlen (f->path) > 1200 || f->wire_size == UINT64_MAX ||
        strncmp (f->path, p->dir, strlen (p->dir)) != 0)
      return capstan_error (p->call, CAPSTAN_E_INVAL, 0, "push: a file without size, or not of %s",
                            p->name);
    p->up[i] = (struct up){ .p = p, .i = i, .f = f };
    total += f->wire_size;
    if (p->suffix == NULL && !flat_split (p->call, f->path, p->name, &p->suffix, &encoding))
      p->suffix = NULL;
  }
  if (p->suffix == NULL)
    p->suffix = "qemu";
  http_progress (p->r->http, "upload", 0, total);
  return read_index (p);
}

int
flat_push (struct repo *r, struct capstan_call *call, const struct capstan_push_req *q,
           struct capstan_source *source, struct capstan_push_rsp *ret)
{
  struct push *p = calloc (1, sizeof *p);
  int rc, dav = 0, held = 0;
  if (p == NULL)
    return capstan_error (call, CAPSTAN_E_NOMEM, 0, "no memory");
  *p = (struct push){ .r = r, .call = call, .q = q, .source = source };
  if ((rc = read_request (p)) == 0 && (rc = look (p)) == 0 &&
      (rc = dav_lock (r, call, &dav)) == 0) {
    if (dav)
      dav_unlock (r, call); /* it was to see whether there are locks */
    rc = dav ? upload_temp (p) : put_plainly (p);
    http_progress (r->http, NULL, 0, 0);
  }
  if (rc == 0 && dav && (rc = dav_lock (r, call, &held)) == 0)
    rc = name_files (p);
  if (rc == 0) {
    ret->etag = capstan_host_->keep (call, p->ours, SIZE_MAX);
    ret->ref = flat_make_ref (call, p->ours, p->suffix, p->name);
    tidy (p);
  }
  if (held)
    dav_unlock (r, call);
  if (rc != 0 && dav)
    drop_temp (p);
  free (p);
  return rc;
}

/* ---- remove ---- */

/* Images for other hypervisors are of the entry too; the listing knows of them. */
static int
remove_others (struct repo *r, struct capstan_call *call, const char *name)
{
  struct buf paths = { 0 };
  int rc = flat_images (r, call, name, &paths);
  if (rc == -CAPSTAN_E_UNSUPPORTED)
    rc = 0;
  size_t n = 0, i = 0;
  for (size_t at = 0; at < paths.len; at += strlen (paths.s + at) + 1)
    n++;
  struct index_change *change = rc == 0 ? calloc (n + 1, sizeof *change) : NULL;
  if (rc == 0 && change == NULL)
    rc = capstan_error (call, CAPSTAN_E_NOMEM, 0, "remove %s", name);
  for (size_t at = 0; rc == 0 && at < paths.len; at += strlen (paths.s + at) + 1) {
    change[i++] = (struct index_change){ paths.s + at, UINT64_MAX, NULL };
    rc = dav_delete (r, call, paths.s + at, 1);
  }
  if (rc == 0 && n > 0)
    rc = index_update (r, call, change, n); /* once for all */
  free (change);
  buf_free (&paths);
  return rc;
}

static int
remove_files (struct repo *r, struct capstan_call *call, const struct entry_state *s,
              const char *name)
{
  struct index_change change[FLAT_IMAGES + 1];
  size_t n = 0;
  int rc = found_is (&s->index) ? dav_delete (r, call, s->index.path, 1) : 0;
  change[n++] = (struct index_change){ s->index.path, UINT64_MAX, NULL };
  for (int i = 0; rc == 0 && i < FLAT_IMAGES; i++) {
    if (found_is (&s->images[i]))
      rc = dav_delete (r, call, s->images[i].path, 1);
    change[n++] = (struct index_change){ s->images[i].path, UINT64_MAX, NULL };
  }
  if (rc == 0)
    rc = index_update (r, call, change, n);
  return rc == 0 ? remove_others (r, call, name) : rc;
}

int
flat_remove (struct repo *r, struct capstan_call *call, const char *ref)
{
  const char *etag, *suffix, *name;
  struct entry_state s;
  char dir[1024];
  int held = 0, rc = flat_ref (call, ref, &etag, &suffix, &name);
  if (rc == 0)
    rc = dav_lock (r, call, &held);
  if (rc != 0)
    return rc;
  snprintf (dir, sizeof dir, "%s/", name);
  if ((rc = flat_look (r, call, dir, name, suffix, &s)) == 0 && s.etag[0] != '\0')
    rc = strcmp (s.etag, etag) != 0 ? conflict (r, call, name) : remove_files (r, call, &s, name);
  if (held)
    dav_unlock (r, call);
  return rc;
}

/* ---- maintain ---- */

/* One note: what it names goes, if it is of this repository. */
static int
collect (struct repo *r, struct capstan_call *call, const char *note, int dry_run)
{
  char text[4096], *path, *end;
  int fd = open (note, O_RDONLY | O_CLOEXEC), rc = 0;
  ssize_t n = fd >= 0 ? read (fd, text, sizeof text - 1) : 0;
  if (fd >= 0)
    close (fd);
  text[n > 0 ? n : 0] = '\0';
  if ((path = strchr (text, '\n')) == NULL || (end = strchr (path + 1, '\n')) == NULL)
    return 0;
  *path++ = *end = '\0';
  if (strcmp (text, r->url) != 0)
    return 0;
  capstan_log (call, CAPSTAN_LOG_INFO, "%s%s%s: left by an upload that was not finished",
               dry_run ? "would remove " : "", r->url, path);
  if (!dry_run && (rc = dav_delete (r, call, path, 1)) == 0)
    unlink (note);
  return rc;
}

int
flat_maintain (struct repo *r, struct capstan_call *call, uint64_t older_than, int dry_run)
{
  const char *dir = capstan_host_->dir (call, "state");
  DIR *d = dir != NULL ? opendir (dir) : NULL;
  struct dirent *e;
  int rc = 0;
  if (d == NULL)
    return dir == NULL ? -CAPSTAN_E_IO : capstan_error (call, CAPSTAN_E_IO, errno, "open %s", dir);
  while (rc == 0 && (e = readdir (d)) != NULL) {
    char note[1300];
    struct stat st;
    snprintf (note, sizeof note, "%s/%s", dir, e->d_name);
    if (strncmp (e->d_name, "upload-", 7) == 0 && stat (note, &st) == 0 &&
        (uint64_t) (time (NULL) - st.st_mtime) >= older_than)
      rc = collect (r, call, note, dry_run);
  }
  closedir (d);
  return rc;
}
