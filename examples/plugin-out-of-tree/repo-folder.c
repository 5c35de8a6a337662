/* A repository in a folder: folder:/srv/images. SPDX-License-Identifier: BSD-3-Clause
 *
 * What is pushed is written to a temporary name, flushed and renamed, the index last; a lock
 * in the folder keeps two pushers apart. The layout is the original Capstan's, so that a web
 * server can serve the same folder. */
#define _GNU_SOURCE
#include <capstan/plugin.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PIECE = 256 * 1024, PATH = 5000 };
struct place { char path[2048]; };
struct etag { char text[80]; };
static const char scheme[] = "folder:/";

__attribute__ ((format (printf, 2, 3), noinline)) static void
put (char to[PATH], const char *fmt, ...)
{
  va_list ap;
  va_start (ap, fmt);
  (void) vsnprintf (to, PATH, fmt, ap);
  va_end (ap);
}

/* Changes whenever the file is replaced, as one is that was renamed here. */
static struct etag
etag_of (const struct stat *st)
{
  struct etag e;
  snprintf (e.text, sizeof e.text, "%llx-%llx-%llx.%lx", (unsigned long long) st->st_ino,
            (unsigned long long) st->st_size, (unsigned long long) st->st_mtim.tv_sec,
            (unsigned long) st->st_mtim.tv_nsec);
  return e;
}

static int
is_file (const struct place *d, const char *path, struct stat *st)
{
  char full[PATH];
  put (full, "%s/%s", d->path, path);
  return stat (full, st) == 0 && S_ISREG (st->st_mode);
}

static const char *
suffix_of (const struct capstan_kv *kv, size_t n)
{
  for (size_t i = 0; i < n; i++)
    if (strcmp (kv[i].key, "suffix") == 0)
      return kv[i].value;
  return "qemu";
}

static int
folder_match (struct capstan_call *c, const char *url)
{
  (void) c;
  return strncmp (url, scheme, sizeof scheme - 1) == 0;
}

static int
folder_open (struct capstan_call *c, const char *url, void **ret_self)
{
  struct place *d;
  if (!folder_match (c, url) || strlen (url) >= sizeof d->path)
    return capstan_error (c, CAPSTAN_E_INVAL, 0, "'%s': expected %spath", url, scheme);
  d = calloc (1, sizeof *d);
  if (d == NULL)
    return capstan_error (c, CAPSTAN_E_NOMEM, errno, "open %s", url);
  strcpy (d->path, url + sizeof scheme - 2);
  *ret_self = d;
  return 0;
}

static void
folder_close (struct capstan_call *c, void *self)
{
  (void) c;
  free (self);
}

#define CAPS (CAPSTAN_REPO_PUSH | CAPSTAN_REPO_RESUME | CAPSTAN_REPO_CONDITIONAL | CAPSTAN_REPO_LIST)
static int
folder_caps (struct capstan_call *c, void *self, struct capstan_caps *ret)
{
  (void) c, (void) self;
  ret->bits = CAPS;
  ret->formats = "zstd,gzip,none";
  return 0;
}

/* ---- what is there ---- */

static int
folder_resolve (struct capstan_call *c, void *self, const struct capstan_query *q, struct capstan_list *list)
{
  static const char *const ends[] = { "", ".zst", ".gz", "" }, *const encodings[] = { NULL, "zstd", "gzip", NULL };
  struct place *d = self;
  struct capstan_file f[4];
  const struct capstan_file *files[5] = { NULL };
  struct etag tags[4];
  char path[4][PATH];
  struct stat st;
  int n = 0;
  const char *slash = strrchr (q->name, '/'), *last = slash != NULL ? slash + 1 : q->name;
  for (int i = 0; i < 4; i++) {
    if (i == 0)
      put (path[n], "%s/index.yaml", q->name);
    else
      put (path[n], "%s/%s.%s%s", q->name, last, suffix_of (q->params, q->n_params), ends[i]);
    if (!is_file (d, path[n], &st))
      continue;
    tags[n] = etag_of (&st);
    f[n] = (struct capstan_file){ .struct_size = sizeof f[n], .path = path[n], .role = i == 0 ? "index" : "image",
      .encoding = encodings[i], .etag = tags[n].text, .size = UINT64_MAX, .wire_size = (uint64_t) st.st_size };
    files[n] = &f[n];
    n++;
  }
  if (n == 0)
    return capstan_error (c, CAPSTAN_E_NOTFOUND, 0, "%s has no '%s'", d->path, q->name);
  struct capstan_entry e = { .struct_size = sizeof e, .name = q->name, .ref = q->name, .etag = tags[0].text,
    .size = UINT64_MAX, .created = INT64_MIN, .files = files };
  return capstan_host_->emit_entry (list, &e);
}

static int
walk (struct capstan_call *c, const struct place *d, const char *name, struct capstan_list *list)
{
  char path[PATH];
  struct stat st;
  int rc = 0;
  put (path, "%s/index.yaml", name);
  if (*name != '\0' && is_file (d, path, &st)) {
    struct capstan_file f = { .struct_size = sizeof f, .path = path, .role = "index", .size = UINT64_MAX,
      .wire_size = (uint64_t) st.st_size };
    const struct capstan_file *files[] = { &f, NULL };
    struct capstan_entry e = { .struct_size = sizeof e, .name = name, .size = UINT64_MAX, .created = INT64_MIN,
      .files = files };
    if ((rc = capstan_host_->emit_entry (list, &e)) != 0)
      return rc;
  }
  if (capstan_host_->cancelled (c))
    return capstan_error (c, CAPSTAN_E_CANCELLED, 0, "list of %s", d->path);
  put (path, "%s/%s", d->path, name);
  DIR *o = opendir (path);
  if (o == NULL)
    return capstan_error (c, errno == ENOENT ? CAPSTAN_E_NOTFOUND : CAPSTAN_E_IO, errno, "open %s", path);
  for (struct dirent *e; rc == 0 && (e = readdir (o)) != NULL;) {
    char sub[PATH];
    put (sub, "%s%s%s", name, *name != '\0' ? "/" : "", e->d_name);
    if (e->d_name[0] != '.' && strlen (sub) < 1000 && fstatat (dirfd (o), e->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
        S_ISDIR (st.st_mode))
      rc = walk (c, d, sub, list);
  }
  closedir (o);
  return rc;
}

static int
folder_list (struct capstan_call *c, void *self, const struct capstan_query *q, struct capstan_list *list,
             const char **ret_next)
{
  (void) q;
  int rc = walk (c, self, "", list);
  if (rc == 0)
    *ret_next = NULL;
  return rc;
}

/* ---- fetch ---- */

static int
fetch_part (struct capstan_call *c, const struct place *d, const struct capstan_part *part, struct capstan_sink *s)
{
  char full[PATH], *buf;
  struct stat st;
  uint64_t at = 0;
  put (full, "%s/%s", d->path, part->path);
  int fd = open (full, O_RDONLY | O_CLOEXEC), rc;
  if (fd < 0 || fstat (fd, &st) != 0) {
    rc = capstan_error (c, errno == ENOENT ? CAPSTAN_E_NOTFOUND : CAPSTAN_E_IO, errno, "open %s", full);
    if (fd >= 0)
      close (fd);
    return rc;
  }
  struct etag tag = etag_of (&st);
  struct capstan_file f = { .struct_size = sizeof f, .path = part->path, .etag = tag.text, .size = UINT64_MAX,
    .wire_size = (uint64_t) st.st_size };
  rc = capstan_host_->sink_begin (s, &f, &at);
  if ((buf = malloc (PIECE)) == NULL)
    rc = capstan_error (c, CAPSTAN_E_NOMEM, errno, "read %s", full);
  while (rc == 0 && at < (uint64_t) st.st_size) {
    ssize_t n = pread (fd, buf, PIECE, (off_t) at);
    rc = n > 0 ? capstan_host_->sink_write (s, buf, (size_t) n)
               : capstan_error (c, CAPSTAN_E_IO, n < 0 ? errno : 0, "read %s", full);
    at += n > 0 ? (uint64_t) n : 0;
  }
  free (buf);
  close (fd);
  return rc != 0 ? rc : capstan_host_->sink_end (s);
}

static int
folder_fetch (struct capstan_call *c, void *self, const struct capstan_fetch_req *q, struct capstan_sink *s,
              struct capstan_fetch_rsp *ret)
{
  struct place *d = self;
  char path[PATH];
  struct stat st;
  int rc = 0;
  if (q->parts == NULL || q->parts[0] == NULL)
    return capstan_error (c, CAPSTAN_E_INVAL, 0, "fetch from %s: no file is named", d->path);
  if (q->ref != NULL && q->if_none_match != NULL) {
    put (path, "%s/index.yaml", q->ref);
    if (!is_file (d, path, &st))
      put (path, "%s", q->parts[0]->path);
    if (is_file (d, path, &st) && strcmp (etag_of (&st).text, q->if_none_match) == 0)
      return capstan_error (c, CAPSTAN_E_NOT_MODIFIED, 0, "%s is as it was", q->ref);
  }
  for (size_t i = 0; rc == 0 && q->parts[i] != NULL; i++)
    rc = fetch_part (c, d, q->parts[i], s);
  if (rc == 0)
    ret->ref = q->ref;
  return rc;
}

/* ---- push and remove, under the folder's lock ---- */

static int
lock (struct capstan_call *c, const struct place *d, int *ret_fd)
{
  char path[PATH];
  put (path, "%s/.capstan-lock", d->path);
  int fd = open (path, O_RDWR | O_CREAT | O_CLOEXEC, 0666), rc = 0;
  if (fd < 0)
    return capstan_error (c, errno == EACCES || errno == EROFS ? CAPSTAN_E_PERM : CAPSTAN_E_IO, errno, "create %s", path);
  while (rc == 0 && flock (fd, LOCK_EX | LOCK_NB) != 0)
    rc = errno == EWOULDBLOCK || errno == EINTR ? capstan_host_->sleep_ms (c, 50)
                                                : capstan_error (c, CAPSTAN_E_IO, errno, "lock %s", path);
  if (rc == 0)
    *ret_fd = fd;
  else
    close (fd);
  return rc;
}

static int
check_condition (struct capstan_call *c, const struct place *d, const struct capstan_push_req *q)
{
  char path[PATH];
  struct stat st;
  put (path, "%s/index.yaml", q->entry->name);
  int there = is_file (d, path, &st);
  if (!there && q->entry->files != NULL && q->entry->files[0] != NULL) {
    put (path, "%s", q->entry->files[0]->path);
    there = is_file (d, path, &st);
  }
  if (q->if_none_match != NULL && there)
    return capstan_error (c, CAPSTAN_E_CONFLICT, 0, "%s has '%s' already", d->path, q->entry->name);
  if (q->if_match != NULL && (!there || strcmp (etag_of (&st).text, q->if_match) != 0))
    return capstan_error (c, CAPSTAN_E_CONFLICT, 0, "'%s' in %s has changed", q->entry->name, d->path);
  return 0;
}

static int
make_parents (struct capstan_call *c, const struct place *d, const char *path)
{
  char full[PATH];
  put (full, "%s/%s", d->path, path);
  for (char *p = full + strlen (d->path); (p = strchr (p + 1, '/')) != NULL; *p = '/') {
    *p = '\0';
    if (mkdir (full, 0777) != 0 && errno != EEXIST)
      return capstan_error (c, CAPSTAN_E_IO, errno, "create %s", full);
  }
  return 0;
}

/* Beside its final name, so that the rename is within one file system. */
static int
send_file (struct capstan_call *c, const char *tmp, struct capstan_source *s, uint32_t i, uint64_t *done)
{
  const struct capstan_file *f = capstan_host_->source_file (s, i);
  char *buf = malloc (PIECE);
  int fd = open (tmp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666), rc = 0;
  if (fd < 0 || buf == NULL)
    rc = capstan_error (c, CAPSTAN_E_IO, errno, "create %s", tmp);
  for (uint64_t at = 0; rc == 0 && at < f->wire_size;) {
    int64_t n = capstan_host_->source_pread (s, i, at, buf, PIECE);
    if (n <= 0)
      rc = n < 0 ? (int) n : capstan_error (c, CAPSTAN_E_IO, 0, "%s is shorter than it was", f->path);
    else if (pwrite (fd, buf, (size_t) n, (off_t) at) != n)
      rc = capstan_error (c, errno == ENOSPC || errno == EDQUOT ? CAPSTAN_E_QUOTA : CAPSTAN_E_IO, errno, "write %s", tmp);
    else {
      at += (uint64_t) n;
      *done += (uint64_t) n;
      rc = capstan_host_->progress (c, "upload", *done, 0);
    }
  }
  if (rc == 0 && fsync (fd) != 0)
    rc = capstan_error (c, CAPSTAN_E_IO, errno, "write %s", tmp);
  if (fd >= 0)
    close (fd);
  free (buf);
  return rc;
}

/* The image may lie there in one encoding only. */
static void
remove_others (const struct place *d, const struct capstan_push_req *q)
{
  static const char *const ends[] = { "", ".gz", ".zst" };
  const char *slash = strrchr (q->entry->name, '/'), *last = slash != NULL ? slash + 1 : q->entry->name;
  for (int i = 0; i < 3; i++) {
    char path[PATH], full[PATH];
    put (path, "%s/%s.%s%s", q->entry->name, last, suffix_of (q->params, q->n_params), ends[i]);
    put (full, "%s/%s", d->path, path);
    if (strcmp (path, q->entry->files[0]->path) != 0)
      unlink (full);
  }
}

static int
folder_push (struct capstan_call *c, void *self, const struct capstan_push_req *q, struct capstan_source *s,
             struct capstan_push_rsp *ret)
{
  struct place *d = self;
  char tmp[2][PATH] = { "", "" }, full[PATH];
  struct stat st;
  uint64_t done = 0;
  uint32_t n = capstan_host_->source_count (s);
  int fd, rc;
  if (n > 2)
    return capstan_error (c, CAPSTAN_E_UNSUPPORTED, 0, "%s takes an image and its index, not %u files", d->path, n);
  if ((rc = lock (c, d, &fd)) != 0)
    return rc;
  rc = check_condition (c, d, q);
  for (uint32_t i = 0; rc == 0 && i < n; i++) {
    const char *path = capstan_host_->source_file (s, i)->path;
    put (tmp[i], "%s/%s.new", d->path, path);
    rc = make_parents (c, d, path);
    if (rc == 0)
      rc = send_file (c, tmp[i], s, i, &done);
  }
  for (uint32_t i = 0; i < n; i++) {
    put (full, "%s/%s", d->path, capstan_host_->source_file (s, i)->path);
    if (rc == 0 && rename (tmp[i], full) != 0)
      rc = capstan_error (c, CAPSTAN_E_IO, errno, "rename to %s", full);
    if (rc != 0 && *tmp[i] != '\0')
      unlink (tmp[i]);
  }
  if (rc == 0) {
    remove_others (d, q);
    put (full, "%s/index.yaml", q->entry->name);
    if (is_file (d, full, &st))
      ret->etag = capstan_host_->keep (c, etag_of (&st).text, SIZE_MAX);
    ret->ref = capstan_host_->keep (c, q->entry->name, SIZE_MAX);
  }
  close (fd);
  return rc;
}

static int
folder_remove (struct capstan_call *c, void *self, const char *ref, const struct capstan_action *a)
{
  struct place *d = self;
  char dir[PATH], path[PATH];
  int fd, rc = lock (c, d, &fd);
  (void) a;
  if (rc != 0)
    return rc;
  put (dir, "%s/%s", d->path, ref);
  put (path, "%s/index.yaml", dir);
  if (unlink (path) != 0 && errno != ENOENT && errno != ENOTDIR)
    rc = capstan_error (c, CAPSTAN_E_IO, errno, "remove %s", path);
  put (path, "%s/index.yaml.new", dir); /* of a push that was killed */
  unlink (path);
  /* images of the entry, for whatever hypervisor; other files are somebody's own */
  const char *last = strrchr (ref, '/') != NULL ? strrchr (ref, '/') + 1 : ref;
  size_t len = strlen (last);
  DIR *o = rc == 0 ? opendir (dir) : NULL;
  for (struct dirent *e; rc == 0 && o != NULL && (e = readdir (o)) != NULL;)
    if (strncmp (e->d_name, last, len) == 0 && e->d_name[len] == '.' && e->d_type != DT_DIR &&
        unlinkat (dirfd (o), e->d_name, 0) != 0)
      rc = capstan_error (c, CAPSTAN_E_IO, errno, "remove %s/%s", dir, e->d_name);
  if (o != NULL)
    closedir (o);
  for (char *slash; rc == 0 && strlen (dir) > strlen (d->path) && rmdir (dir) == 0 &&
                    (slash = strrchr (dir, '/')) != NULL;)
    *slash = '\0'; /* a/b/app: also a/b and a, if nothing else is there */
  close (fd);
  return rc;
}

static const struct capstan_repo_ops ops = {
  .struct_size = sizeof ops, .match = folder_match, .open = folder_open, .close = folder_close,
  .caps = folder_caps, .list = folder_list, .resolve = folder_resolve, .fetch = folder_fetch,
  .push = folder_push, .remove = folder_remove };
static const struct capstan_provider provider = {
  .struct_size = sizeof provider, .kind = CAPSTAN_KIND_REPO, .name = "folder",
  .summary = "a folder, on a disk or a network file system", .schemes = "folder", .caps = CAPS,
  .threads = CAPSTAN_THREADS_ANY, .option_size = sizeof (struct capstan_option), .ops = &ops };
static const struct capstan_provider *const providers[] = { &provider, NULL };
static const struct capstan_plugin plugin = {
  .struct_size = sizeof plugin, .abi_major = CAPSTAN_ABI_MAJOR, .abi_minor = CAPSTAN_ABI_MINOR,
  .name = "folder", .version = "1.0", .license = "BSD-3-Clause", .providers = providers };
CAPSTAN_PLUGIN (plugin);
