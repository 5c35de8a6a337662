/* A folder as a repository, for tests: it keeps the contract, and fails when it is told to.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * dir:/path. Options: parallel, no-range, page=N, realm=R with password=P (what must be
 * given), and fault=WORD:NUMBER[:TIMES]:
 *   cut:N        fetch ends well after N bytes of an image and calls sink_end
 *   net:N:T      fetch fails with E_NET after N bytes, T times; push likewise
 *   kill:N       SIGKILL of this process after N bytes of an image, in fetch and push
 *   busy:MS:T    E_BUSY with retry_after MS, T times, of resolve
 *   swap:N       after N bytes of an image its file is replaced by <file>.new, and index.yaml
 *                beside it by index.yaml.new
 *   hang:N       after N bytes of an image nothing comes any more, until it is cancelled
 *   silent:0     fetch succeeds and sends nothing */
#define _GNU_SOURCE
#include "capstan/plugin.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PIECE = 64 * 1024, THREADS = 3 };
/* snprintf, of which the compiler does not know how long it gets. */
__attribute__ ((format (printf, 3, 4), noinline)) static void
put (char *to, size_t n, const char *fmt, ...)
{
  va_list ap;
  va_start (ap, fmt);
  (void) vsnprintf (to, n, fmt, ap);
  va_end (ap);
}

struct dir {
  char path[3000];
  int parallel, no_range;
  long page, number, times;
  char fault[16];
};
struct etag { char text[80]; };

static int
is (const struct dir *d, const char *fault)
{
  return strcmp (d->fault, fault) == 0;
}

static int
take_time (struct dir *d)
{
  return d->times-- > 0;
}

static struct etag
etag_of (const struct stat *st)
{
  struct etag e;
  put (e.text, sizeof e.text, "%llx-%llx-%llx", (unsigned long long) st->st_ino,
            (unsigned long long) st->st_size,
            (unsigned long long) st->st_mtim.tv_sec * 1000000000ull + (unsigned long long) st->st_mtim.tv_nsec);
  return e;
}

static const char *
param (const struct capstan_kv *kv, size_t n, const char *key)
{
  for (size_t i = 0; i < n; i++)
    if (strcmp (kv[i].key, key) == 0)
      return kv[i].value;
  return NULL;
}

static const char *
last_part (const char *name)
{
  const char *s = strrchr (name, '/');
  return s != NULL ? s + 1 : name;
}

/* ---- open ---- */

static int
dir_match (struct capstan_call *c, const char *url)
{
  return strncmp (url, "dir:/", 5) == 0;
}

static long
number (struct capstan_call *c, const char *key)
{
  const char *v = capstan_host_->option (c, key);
  return v != NULL ? atol (v) : 0;
}

static int
dir_open (struct capstan_call *c, const char *url, void **ret)
{
  if (strncmp (url, "dir:/", 5) != 0 || strlen (url) > 2000)
    return capstan_error (c, CAPSTAN_E_INVAL, 0, "'%s': expected dir:/path", url);
  struct dir *d = calloc (1, sizeof *d);
  if (d == NULL)
    return capstan_error (c, CAPSTAN_E_NOMEM, 0, "memory");
  const char *yes = capstan_host_->option (c, "parallel"), *fault = capstan_host_->option (c, "fault");
  const char *no = capstan_host_->option (c, "no-range");
  strcpy (d->path, url + 4);
  d->parallel = yes != NULL && strcmp (yes, "true") == 0;
  d->no_range = no != NULL && strcmp (no, "true") == 0;
  d->page = number (c, "page");
  if (fault != NULL && sscanf (fault, "%15[a-z]:%ld:%ld", d->fault, &d->number, &d->times) < 2) {
    free (d);
    return capstan_error (c, CAPSTAN_E_INVAL, 0, "fault '%s'", fault);
  }
  *ret = d;
  return 0;
}

static void
dir_close (struct capstan_call *c, void *self)
{
  free (self);
}

static int
dir_caps (struct capstan_call *c, void *self, struct capstan_caps *caps)
{
  caps->bits = CAPSTAN_REPO_PUSH | CAPSTAN_REPO_RESUME | CAPSTAN_REPO_CONDITIONAL | CAPSTAN_REPO_LIST |
               CAPSTAN_REPO_PARALLEL | CAPSTAN_REPO_UPLOAD_RESUME;
  caps->formats = "gzip,none,zstd";
  return 0;
}

/* The password that options ask for. */
static int
log_in (struct capstan_call *c)
{
  const char *realm = capstan_host_->option (c, "realm"), *want = capstan_host_->option (c, "password");
  if (realm == NULL)
    return 0;
  const char *is_it = capstan_host_->secret (c, realm, "password");
  if (is_it == NULL)
    return capstan_error (c, CAPSTAN_E_AUTH, 0, "%s needs a password", realm);
  capstan_log (c, CAPSTAN_LOG_DEBUG, "trying the password %s", is_it);
  int ok = want != NULL && strcmp (is_it, want) == 0;
  capstan_host_->secret_result (c, realm, "password", ok);
  return ok ? 0 : capstan_error (c, CAPSTAN_E_AUTH, 0, "%s refuses the password %s", realm, is_it);
}

/* ---- resolve, list ---- */

static int
try_file (struct dir *d, const char *path, struct stat *st)
{
  char full[8192];
  put (full, sizeof full, "%s/%s", d->path, path);
  return stat (full, st) == 0 && S_ISREG (st->st_mode);
}

static int
dir_resolve (struct capstan_call *c, void *self, const struct capstan_query *q, struct capstan_list *l)
{
  static const char *const ends[] = { ".gz", "", ".zst" }, *const encodings[] = { "gzip", NULL, "zstd" };
  struct dir *d = self;
  char path[4][4200];
  struct etag etag[4];
  struct capstan_file f[4];
  const struct capstan_file *files[5] = { NULL };
  struct stat st;
  int n = 0, rc = log_in (c);
  const char *suffix = param (q->params, q->n_params, "suffix");
  if (rc != 0)
    return rc;
  if (is (d, "busy") && take_time (d)) {
    capstan_host_->retry_after (c, (uint32_t) d->number);
    return capstan_error (c, CAPSTAN_E_BUSY, 0, "too many requests");
  }
  for (int i = -1; i < 3; i++) {
    if (i < 0)
      put (path[n], sizeof path[n], "%s/index.yaml", q->name);
    else
      put (path[n], sizeof path[n], "%s/%s.%s%s", q->name, last_part (q->name), suffix, ends[i]);
    if (!try_file (d, path[n], &st))
      continue;
    etag[n] = etag_of (&st);
    f[n] = (struct capstan_file){ .struct_size = sizeof f[n], .path = path[n], .role = i < 0 ? "index" : "image",
      .encoding = i < 0 ? NULL : encodings[i], .etag = etag[n].text, .size = UINT64_MAX,
      .wire_size = (uint64_t) st.st_size };
    files[n] = &f[n];
    n++;
  }
  if (n == 0)
    return capstan_error (c, CAPSTAN_E_NOTFOUND, 0, "%s has no '%s'", d->path, q->name);
  struct capstan_entry e = { .struct_size = sizeof e, .name = q->name, .ref = q->name, .etag = etag[0].text,
    .size = UINT64_MAX, .created = INT64_MIN, .files = files };
  return capstan_host_->emit_entry (l, &e);
}

struct walk { struct dir *d; struct capstan_list *l; long skip, left, seen; };

static int
walk (struct walk *w, const char *name)
{
  char full[8192], index[8192];
  struct stat st;
  struct dirent **all;
  put (index, sizeof index, "%s/index.yaml", name);
  if (*name != '\0' && try_file (w->d, index, &st)) {
    struct capstan_file f = { .struct_size = sizeof f, .path = index, .role = "index", .size = UINT64_MAX,
      .wire_size = (uint64_t) st.st_size };
    const struct capstan_file *files[] = { &f, NULL };
    struct capstan_entry e = { .struct_size = sizeof e, .name = name, .size = UINT64_MAX, .created = INT64_MIN,
      .files = files };
    w->seen++;
    if (w->seen > w->skip && w->left-- > 0)
      capstan_host_->emit_entry (w->l, &e);
  }
  put (full, sizeof full, "%s/%s", w->d->path, name);
  int n = scandir (full, &all, NULL, alphasort);
  for (int i = 0; i < n; i++) {
    char sub[8192];
    put (sub, sizeof sub, "%s%s%s", name, *name != '\0' ? "/" : "", all[i]->d_name);
    if (all[i]->d_name[0] != '.' && all[i]->d_type == DT_DIR)
      walk (w, sub);
    free (all[i]);
  }
  if (n >= 0)
    free (all);
  return n;
}

static int
dir_list (struct capstan_call *c, void *self, const struct capstan_query *q, struct capstan_list *l,
          const char **ret_next)
{
  struct dir *d = self;
  struct walk w = { d, l, q->page != NULL ? atol (q->page) : 0, d->page > 0 ? d->page : 1000, 0 };
  char next[32];
  if (walk (&w, "") < 0)
    return capstan_error (c, CAPSTAN_E_NOTFOUND, errno, "open %s", d->path);
  put (next, sizeof next, "%ld", w.skip + (d->page > 0 ? d->page : 1000));
  *ret_next = w.left < 0 ? capstan_host_->keep (c, next, SIZE_MAX) : NULL;
  return 0;
}

/* ---- fetch ---- */

struct fetch {
  struct capstan_call *c;
  struct dir *d;
  struct capstan_sink *s;
  char full[8192];
  int fd, is_image;
  uint64_t at, size;
  pthread_mutex_t mutex;
  int rc;
};

/* What is to go wrong after so many bytes; 1: the fetch ends here as if all were well. */
static int
misbehave (struct fetch *f, uint64_t sent)
{
  struct dir *d = f->d;
  if (!f->is_image || sent < (uint64_t) d->number)
    return 0;
  if (is (d, "kill"))
    kill (getpid (), SIGKILL);
  if (is (d, "cut"))
    return 1;
  if (is (d, "net") && take_time (d))
    return capstan_error (f->c, CAPSTAN_E_NET, ECONNRESET, "%s", f->full);
  if (is (d, "hang"))
    return capstan_host_->sleep_ms (f->c, 3600 * 1000);
  if (is (d, "swap")) {
    char new[8200], index[8200], new_index[8300];
    const char *slash = strrchr (f->full, '/');
    put (new, sizeof new, "%s.new", f->full);
    put (index, sizeof index, "%.*s/index.yaml", (int) (slash - f->full), f->full);
    put (new_index, sizeof new_index, "%s.new", index);
    rename (new_index, index);
    if (rename (new, f->full) == 0)
      return capstan_error (f->c, CAPSTAN_E_NET, ECONNRESET, "%s", f->full);
  }
  return 0;
}

static void *
fetch_pieces (void *data)
{
  struct fetch *f = data;
  char *buf = malloc (PIECE);
  for (;;) {
    pthread_mutex_lock (&f->mutex);
    uint64_t at = f->at;
    f->at += PIECE;
    int stop = f->rc != 0 || at >= f->size;
    int rc = stop ? 0 : misbehave (f, at);
    if (rc != 0 && f->rc == 0)
      f->rc = rc;
    pthread_mutex_unlock (&f->mutex);
    if (stop || rc != 0)
      break;
    ssize_t n = pread (f->fd, buf, PIECE, (off_t) at);
    rc = n > 0 ? capstan_host_->sink_pwrite (f->s, at, buf, (size_t) n)
               : capstan_error (f->c, CAPSTAN_E_IO, errno, "read %s", f->full);
    if (rc != 0) {
      pthread_mutex_lock (&f->mutex);
      f->rc = rc;
      pthread_mutex_unlock (&f->mutex);
    }
  }
  free (buf);
  return NULL;
}

static int
fetch_parallel (struct fetch *f)
{
  pthread_t t[THREADS];
  int n = 0;
  pthread_mutex_init (&f->mutex, NULL);
  while (n < THREADS && pthread_create (&t[n], NULL, fetch_pieces, f) == 0)
    n++;
  while (n > 0)
    pthread_join (t[--n], NULL);
  pthread_mutex_destroy (&f->mutex);
  return f->rc < 0 ? f->rc : 0;
}

static int
fetch_in_order (struct fetch *f)
{
  static const char zeros[PIECE];
  char *buf = malloc (PIECE);
  int rc = 0;
  while (rc == 0 && f->at < f->size) {
    ssize_t n = pread (f->fd, buf, PIECE, (off_t) f->at);
    if ((rc = misbehave (f, f->at)) != 0)
      break;
    if (n <= 0)
      rc = capstan_error (f->c, CAPSTAN_E_IO, errno, "read %s", f->full);
    else if (memcmp (buf, zeros, (size_t) n) == 0)
      rc = capstan_host_->sink_hole (f->s, (uint64_t) n);
    else
      rc = capstan_host_->sink_write (f->s, buf, (size_t) n);
    f->at += n > 0 ? (uint64_t) n : 0;
  }
  free (buf);
  return rc < 0 ? rc : 0;
}

static int
fetch_part (struct fetch *f, const struct capstan_part *part)
{
  struct stat st;
  uint64_t at = 0;
  put (f->full, sizeof f->full, "%s/%s", f->d->path, part->path);
  f->fd = open (f->full, O_RDONLY | O_CLOEXEC);
  if (f->fd < 0 || fstat (f->fd, &st) != 0)
    return capstan_error (f->c, errno == ENOENT ? CAPSTAN_E_NOTFOUND : CAPSTAN_E_IO, errno, "%s", f->full);
  struct etag e = etag_of (&st);
  struct capstan_file file = { .struct_size = sizeof file, .path = part->path, .etag = e.text,
    .size = UINT64_MAX, .wire_size = (uint64_t) st.st_size };
  f->is_image = strstr (part->path, "index.yaml") == NULL;
  f->size = (uint64_t) st.st_size;
  if (is (f->d, "silent") && f->is_image)
    return 0;
  int rc = capstan_host_->sink_begin (f->s, &file, &at);
  if (rc != 0)
    return rc;
  f->at = at;
  if (f->d->no_range && at > 0) /* a server that cannot: what is there is read and dropped */
    capstan_log (f->c, CAPSTAN_LOG_INFO, "%s: read again up to %llu", part->path, (unsigned long long) at);
  rc = f->d->parallel ? fetch_parallel (f) : fetch_in_order (f);
  return rc != 0 ? rc : capstan_host_->sink_end (f->s);
}

/* What the etag of an entry stands for is its index, else its image. */
static int
same_still (struct dir *d, const struct capstan_fetch_req *q)
{
  char path[8192];
  struct stat st;
  if (q->if_none_match == NULL || q->ref == NULL)
    return 0;
  put (path, sizeof path, "%s/index.yaml", q->ref);
  if (!try_file (d, path, &st) && q->parts != NULL && q->parts[0] != NULL)
    put (path, sizeof path, "%s", q->parts[0]->path);
  return try_file (d, path, &st) && strcmp (etag_of (&st).text, q->if_none_match) == 0;
}

static int
dir_fetch (struct capstan_call *c, void *self, const struct capstan_fetch_req *q, struct capstan_sink *s,
           struct capstan_fetch_rsp *a)
{
  int rc = log_in (c);
  if (rc == 0 && same_still (self, q))
    return capstan_error (c, CAPSTAN_E_NOT_MODIFIED, 0, "%s is the same still", q->ref);
  for (size_t i = 0; rc == 0 && q->parts != NULL && q->parts[i] != NULL; i++) {
    struct fetch f = { .c = c, .d = self, .s = s, .fd = -1 };
    rc = fetch_part (&f, q->parts[i]);
    if (f.fd >= 0)
      close (f.fd);
  }
  if (rc == 0 && q->ref != NULL)
    a->ref = capstan_host_->keep (c, q->ref, SIZE_MAX);
  return rc;
}

/* ---- push, remove, maintain ---- */

static int
make_dirs (struct dir *d, const char *path)
{
  char full[8192];
  put (full, sizeof full, "%s/%s", d->path, path);
  for (char *p = full + 1; (p = strchr (p, '/')) != NULL; p++) {
    *p = '\0';
    if (mkdir (full, 0755) != 0 && errno != EEXIST)
      return -1;
    *p = '/';
  }
  return 0;
}

/* Sent to a temporary name, on from what an earlier push has sent of the same. */
static int
send_file (struct fetch *f, struct capstan_source *s, uint32_t i, char *tmp, size_t n_tmp)
{
  const struct capstan_file *file = capstan_host_->source_file (s, i);
  const char *old = i == 0 ? capstan_host_->state_get (s, "upload") : NULL;
  struct stat st;
  int rc = 0;
  put (f->full, sizeof f->full, "%s/%s", f->d->path, file->path);
  put (tmp, n_tmp, "%s/.up-%08x", f->d->path, (unsigned) (getpid () * 31 + (int) i));
  if (old != NULL && strlen (old) < n_tmp && stat (old, &st) == 0) {
    strcpy (tmp, old);
    f->at = (uint64_t) st.st_size;
    capstan_log (f->c, CAPSTAN_LOG_INFO, "going on with an upload after %llu bytes", (unsigned long long) f->at);
  }
  f->fd = open (tmp, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  if (f->fd < 0)
    return capstan_error (f->c, CAPSTAN_E_IO, errno, "create %s", tmp);
  if (i == 0 && (rc = capstan_host_->state_put (s, "upload", tmp)) != 0)
    return rc;
  char *buf = malloc (PIECE);
  while (rc == 0 && f->at < file->wire_size) {
    int64_t n = capstan_host_->source_pread (s, i, f->at, buf, PIECE);
    f->is_image = i == 0;
    if (n <= 0)
      rc = (int) n;
    else if ((rc = misbehave (f, f->at)) == 0 && pwrite (f->fd, buf, (size_t) n, (off_t) f->at) != n)
      rc = capstan_error (f->c, CAPSTAN_E_IO, errno, "write %s", tmp);
    f->at += n > 0 ? (uint64_t) n : 0;
    if (rc == 0)
      rc = capstan_host_->progress (f->c, "upload", f->at, 0);
  }
  free (buf);
  return rc;
}

static int
check_condition (struct capstan_call *c, struct dir *d, const struct capstan_push_req *q)
{
  char index[8192];
  struct stat st;
  put (index, sizeof index, "%s/index.yaml", q->entry->name);
  int there = try_file (d, index, &st);
  if (q->if_none_match != NULL && there)
    return capstan_error (c, CAPSTAN_E_CONFLICT, 0, "%s is there already", index);
  if (q->if_match != NULL && (!there || strcmp (etag_of (&st).text, q->if_match) != 0))
    return capstan_error (c, CAPSTAN_E_CONFLICT, 0, "%s has changed", index);
  return 0;
}

static int
dir_push (struct capstan_call *c, void *self, const struct capstan_push_req *q, struct capstan_source *s,
          struct capstan_push_rsp *a)
{
  struct dir *d = self;
  char tmp[2][8192], lock[8192], other[8192];
  uint32_t n = capstan_host_->source_count (s);
  struct stat st;
  int rc = log_in (c);
  if (rc == 0)
    rc = check_condition (c, d, q);
  if (rc == 0 && make_dirs (d, "x") != 0)
    return capstan_error (c, CAPSTAN_E_PERM, errno, "create %s", d->path);
  for (uint32_t i = 0; rc == 0 && i < n && i < 2; i++) {
    struct fetch f = { .c = c, .d = d, .fd = -1 };
    rc = send_file (&f, s, i, tmp[i], sizeof tmp[i]);
    if (f.fd >= 0)
      close (f.fd);
  }
  if (rc != 0)
    return rc;
  put (lock, sizeof lock, "%s/.lock", d->path);
  int fd = open (lock, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  if (fd < 0 || flock (fd, LOCK_EX) != 0)
    return capstan_error (c, CAPSTAN_E_IO, errno, "%s", lock);
  rc = check_condition (c, d, q);
  for (uint32_t i = 0; i < n && i < 2; i++) {
    const struct capstan_file *file = capstan_host_->source_file (s, i);
    put (other, sizeof other, "%s/%s", d->path, file->path);
    if (rc == 0 && (make_dirs (d, file->path) != 0 || rename (tmp[i], other) != 0))
      rc = capstan_error (c, CAPSTAN_E_IO, errno, "%s", other);
    if (rc != 0)
      unlink (tmp[i]);
  }
  static const char *const ends[] = { ".gz", "", ".zst" };
  const struct capstan_file *image = capstan_host_->source_file (s, 0);
  for (int i = 0; rc == 0 && i < 3; i++) { /* the same in other encodings */
    put (other, sizeof other, "%s/%s.%s%s", q->entry->name, last_part (q->entry->name),
              param (q->params, q->n_params, "suffix"), ends[i]);
    if (strcmp (other, image->path) != 0 && try_file (d, other, &st)) {
      char full[12000];
      put (full, sizeof full, "%s/%s", d->path, other);
      unlink (full);
    }
  }
  close (fd);
  if (rc == 0) {
    put (other, sizeof other, "%s/index.yaml", q->entry->name);
    if (try_file (d, other, &st))
      a->etag = capstan_host_->keep (c, etag_of (&st).text, SIZE_MAX);
  }
  return rc;
}

static int
dir_remove (struct capstan_call *c, void *self, const char *ref, const struct capstan_action *act)
{
  struct dir *d = self;
  char full[8192], file[12000];
  put (full, sizeof full, "%s/%s", d->path, ref);
  put (file, sizeof file, "%s/index.yaml", full);
  unlink (file);
  DIR *o = opendir (full);
  for (struct dirent *e; o != NULL && (e = readdir (o)) != NULL;)
    if (e->d_type == DT_REG)
      unlinkat (dirfd (o), e->d_name, 0);
  if (o != NULL)
    closedir (o);
  rmdir (full);
  return 0;
}

static int
dir_maintain (struct capstan_call *c, void *self, const struct capstan_action *act)
{
  struct dir *d = self;
  struct stat st;
  const char *dry = param (act->params, act->n_params, "dry_run");
  const char *age = param (act->params, act->n_params, "older_than");
  DIR *o = opendir (d->path);
  if (o == NULL)
    return capstan_error (c, CAPSTAN_E_NOTFOUND, errno, "%s", d->path);
  for (struct dirent *e; (e = readdir (o)) != NULL;) {
    if (strncmp (e->d_name, ".up-", 4) != 0 || fstatat (dirfd (o), e->d_name, &st, 0) != 0 ||
        time (NULL) - st.st_mtime < (age != NULL ? atol (age) : 0))
      continue;
    capstan_log (c, CAPSTAN_LOG_INFO, "unfinished upload %s", e->d_name);
    if (dry == NULL || strcmp (dry, "true") != 0)
      unlinkat (dirfd (o), e->d_name, 0);
  }
  closedir (o);
  return 0;
}

#ifndef BROKEN /* broken.c has a table of its own */
static const struct capstan_repo_ops ops = {
  .struct_size = sizeof ops, .match = dir_match, .open = dir_open, .close = dir_close, .caps = dir_caps,
  .list = dir_list, .resolve = dir_resolve, .fetch = dir_fetch, .push = dir_push, .remove = dir_remove,
  .maintain = dir_maintain };
static const struct capstan_option options[] = {
  { .key = "parallel", .help = "several threads fetch", .type = CAPSTAN_OPT_BOOL, .def = "false" },
  { .key = "no-range", .help = "as a server without ranges", .type = CAPSTAN_OPT_BOOL, .def = "false" },
  { .key = "page", .help = "entries a page", .type = CAPSTAN_OPT_UINT },
  { .key = "fault", .help = "what is to go wrong", .type = CAPSTAN_OPT_STRING },
  { .key = "realm", .help = "whose password is asked for", .type = CAPSTAN_OPT_STRING },
  { .key = "password", .help = "the right one", .type = CAPSTAN_OPT_STRING },
  { .key = "release-tag", .help = "a release", .type = CAPSTAN_OPT_STRING } };
static const struct capstan_provider provider = {
  .struct_size = sizeof provider, .kind = CAPSTAN_KIND_REPO, .name = "dir", .summary = "a folder, for tests",
  .schemes = "dir",
  .caps = CAPSTAN_REPO_PUSH | CAPSTAN_REPO_RESUME | CAPSTAN_REPO_CONDITIONAL | CAPSTAN_REPO_LIST |
          CAPSTAN_REPO_PARALLEL | CAPSTAN_REPO_UPLOAD_RESUME,
  .threads = CAPSTAN_THREADS_ANY, .option_size = sizeof options[0], .options = options,
  .n_options = sizeof options / sizeof options[0], .ops = &ops };
static const struct capstan_provider *const providers[] = { &provider, NULL };
static const struct capstan_plugin desc = {
  .struct_size = sizeof desc, .abi_major = CAPSTAN_ABI_MAJOR, .abi_minor = CAPSTAN_ABI_MINOR, .name = "dir",
  .version = "0", .license = "BSD-3-Clause", .providers = providers };
CAPSTAN_PLUGIN (desc);
#endif
