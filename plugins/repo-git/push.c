/* Pushing an image, and removing one. SPDX-License-Identifier: BSD-3-Clause */
#include "config.h"
#include "plugins/repo-git/git.h"
#include "plugins/repo-git/lfs.h"
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { FILES_AT_ONCE = 16, SAID = 200 };

struct out { /* one file of the push */
  const struct capstan_file *file;
  const char *name; /* without its folder */
  uint64_t size;
  int lfs;          /* what goes into the tree is a pointer */
  char oid[OID_ROOM];
};
struct push {
  struct git *g;
  struct capstan_call *call;
  struct capstan_source *source;
  const char *objects;
  struct out out[FILES_AT_ONCE];
  size_t n;
  uint64_t total, done;
  int attributes; /* .gitattributes has to name the pointers */
};

const char *
git_change_dir (struct git *g, const char *name, const struct git_entry *e)
{
  if (git_entry_etag (e) != NULL)
    return e->dir;
  return strcmp (g->layout, "one") == 0 ? "" : name;
}

/* ---- before anything is sent ---- */
static int
check_conditions (struct git *g, struct capstan_call *call, const struct capstan_push_req *q,
                  const char *etag, const struct git_tip *tip)
{
  const char *name = q->entry->name;
  if (q->if_none_match != NULL && etag != NULL &&
      (strcmp (q->if_none_match, "*") == 0 || strcmp (q->if_none_match, etag) == 0))
    return capstan_error (call, CAPSTAN_E_CONFLICT, 0, "%s: there is an image %s already, at commit %.10s",
                          g->url, name, tip->oid);
  if (q->if_match != NULL && etag == NULL)
    return capstan_error (call, CAPSTAN_E_CONFLICT, 0, "%s: %s was there and is no longer, at commit %.10s",
                          g->url, name, *tip->oid != '\0' ? tip->oid : "none");
  if (q->if_match != NULL && strcmp (q->if_match, "*") != 0 && strcmp (q->if_match, etag) != 0)
    return capstan_error (call, CAPSTAN_E_CONFLICT, 0, "%s: somebody else has changed %s, in commit %.10s or "
                          "before; look at it, then push again", g->url, name, tip->oid);
  if (etag == NULL && strcmp (g->layout, "one") == 0 && !git_is_root_name (g, name))
    return capstan_error (call, CAPSTAN_E_INVAL, 0, "%s holds one image only, %s (layout=one): %s has no "
                          "place there", g->url, g->last, name);
  return 0;
}

static const char *
show_size (struct capstan_call *call, uint64_t n)
{
  return n >= 1024 * 1024 ? git_text (call, "%.1f MiB", (double) n / 1048576)
                          : git_text (call, "%" PRIu64 " bytes", n);
}

/* A file that the host does not take as a blob goes through LFS, or not at all. */
static int
choose_way (struct push *p, struct out *o, int marked)
{
  struct git *g = p->g;
  int large = g->max_blob != 0 && o->size > g->max_blob, never = strcmp (g->lfs, "never") == 0;
  int image = o->file->role == NULL || strcmp (o->file->role, "index") != 0;
  o->lfs = image && !never && (large || marked || strcmp (g->lfs, "always") == 0);
  if (large && !o->lfs)
    return capstan_error (p->call, CAPSTAN_E_LIMIT, 0, "%s: %s is %s, and the limit of this repository for "
                          "one file is %s (option max-blob); compress it, or let it go through Git LFS "
                          "(option lfs)", g->url, o->name, show_size (p->call, o->size),
                          show_size (p->call, g->max_blob));
  p->attributes |= o->lfs && !marked;
  return 0;
}

/* The .gitattributes that count for the folder: the root's and its own. */
struct attributes { const char *root, *own; };

static int
read_attributes (struct git *g, struct capstan_call *call, const char *commit, const char *dir,
                 struct attributes *ret)
{
  struct git_files l = { 0 };
  const char *own = git_text (call, "%s%s.gitattributes", dir, *dir != '\0' ? "/" : "");
  *ret = (struct attributes){ "", "" };
  int rc = *commit != '\0' ? git_ls (g, call, commit, ".gitattributes", 0, &l) : 0;
  if (rc == 0 && *commit != '\0' && *dir != '\0')
    rc = git_ls (g, call, commit, own, 0, &l);
  for (size_t i = 0; i < l.n && rc == 0; i++) {
    const char **to = strcmp (l.v[i].path, own) == 0 ? &ret->own : &ret->root;
    uint64_t size = UINT64_MAX;
    size_t n;
    rc = git_size (g, call, NULL, l.v[i].oid, &size);
    if (rc == 0 && size < SMALL_BLOB)
      rc = git_blob (g, call, l.v[i].oid, to, &n);
  }
  git_files_free (&l);
  return rc;
}

static int
take_files (struct push *p, const char *commit, const char *dir)
{
  const struct capstan_host *h = capstan_host_;
  size_t n = h->source_count (p->source);
  int rc = n <= FILES_AT_ONCE ? 0
           : capstan_error (p->call, CAPSTAN_E_LIMIT, 0, "a push of more than %d files", FILES_AT_ONCE);
  struct attributes said;
  if (rc == 0)
    rc = read_attributes (p->g, p->call, commit, dir, &said);
  for (size_t i = 0; i < n && rc == 0; i++) {
    const struct capstan_file *f = h->source_file (p->source, (uint32_t) i);
    if (f == NULL || f->path == NULL || f->wire_size == UINT64_MAX)
      return capstan_error (p->call, CAPSTAN_E_INVAL, 0, "file %zu of the push has no path or no size", i);
    const char *slash = strrchr (f->path, '/');
    struct out *o = &p->out[p->n++];
    *o = (struct out){ .file = f, .name = slash != NULL ? slash + 1 : f->path, .size = f->wire_size };
    int marked = 0;
    if (*dir != '\0')
      lfs_attributes_say (said.root, git_text (p->call, "%s/%s", dir, o->name), &marked);
    lfs_attributes_say (said.own, o->name, &marked);
    rc = choose_way (p, o, marked);
    p->total += o->size;
  }
  return rc;
}

/* ---- the blobs ---- */

/* fast-import reads a stream of blobs of any size without holding one in memory, as
 * hash-object does not; at the end it is asked for their names. */
struct import {
  struct push *p;
  size_t i;           /* file under way */
  uint64_t at;        /* of it */
  int headed;
  char text[1024]; size_t text_at, text_len; /* commands to be sent */
};

static void
import_say (struct import *m, const char *fmt, uint64_t a, uint64_t b)
{
  int n = snprintf (m->text + m->text_len, sizeof m->text - m->text_len, fmt, a, b);
  m->text_len += n > 0 ? (size_t) n : 0;
}

/* The next commands between the files; 0: there are none any more. */
static int
import_next (struct import *m)
{
  struct push *p = m->p;
  m->text_at = m->text_len = 0;
  while (m->i < p->n && p->out[m->i].lfs)
    m->i++;
  if (m->i < p->n) {
    import_say (m, "blob\nmark :%" PRIu64 "\ndata %" PRIu64 "\n", m->i + 1, p->out[m->i].size);
    m->headed = 1;
    return 1;
  }
  if (m->i > p->n)
    return 0;
  for (size_t k = 0; k < p->n; k++)
    if (!p->out[k].lfs)
      import_say (m, "get-mark :%" PRIu64 "\n", k + 1, 0);
  import_say (m, "done\n", 0, 0);
  m->i = p->n + 1;
  return 1;
}

static int64_t
import_feed (void *user, void *buf, size_t n)
{
  struct import *m = user;
  struct push *p = m->p;
  if (m->text_at == m->text_len && m->headed && m->at < p->out[m->i].size) {
    uint64_t left = p->out[m->i].size - m->at;
    int64_t got = capstan_host_->source_pread (p->source, (uint32_t) m->i, m->at, buf, left < n ? (size_t) left : n);
    if (got == 0)
      return capstan_error (p->call, CAPSTAN_E_IO, 0, "%s is shorter than it was", p->out[m->i].name);
    if (got < 0)
      return got;
    m->at += (uint64_t) got;
    p->done += (uint64_t) got;
    int rc = capstan_host_->progress (p->call, "pack", p->done, p->total);
    return rc != 0 ? rc : got;
  }
  if (m->text_at == m->text_len && m->headed) { /* the end of a file */
    m->headed = 0;
    m->at = 0;
    m->i++;
    m->text_at = m->text_len = 0;
    import_say (m, "\n", 0, 0);
  } else if (m->text_at == m->text_len && !import_next (m))
    return 0;
  size_t k = m->text_len - m->text_at < n ? m->text_len - m->text_at : n;
  memcpy (buf, m->text + m->text_at, k);
  m->text_at += k;
  return (int64_t) k;
}

static int
read_marks (struct push *p, const char *out)
{
  for (size_t i = 0; i < p->n; i++) {
    size_t n = strcspn (out, "\n");
    if (p->out[i].lfs)
      continue;
    if (!git_oid_valid (out, n))
      return capstan_error (p->call, CAPSTAN_E_IO, 0, "git fast-import gave no name for %s", p->out[i].name);
    memcpy (p->out[i].oid, out, n);
    p->out[i].oid[n] = '\0';
    out += n + (out[n] == '\n');
  }
  return 0;
}

static int
import_blobs (struct push *p)
{
  struct import m = { .p = p };
  int compressed = 1;
  for (size_t i = 0; i < p->n; i++)
    if (p->out[i].size > SMALL_BLOB && p->out[i].file->encoding == NULL)
      compressed = 0;
  struct git_cmd c = { .args = GIT_ARGS ("fast-import", "--quiet", "--done"), .objects = p->objects,
                       .feed = import_feed, .user = &m, .level = compressed ? 0 : 1 };
  int rc = git_run (p->g, p->call, &c);
  return rc == 0 ? read_marks (p, c.out) : rc;
}

static int
upload_pointers (struct push *p, const char *commit)
{
  int rc = 0;
  for (size_t i = 0; i < p->n && rc == 0; i++) {
    const char *text;
    struct out *o = &p->out[i];
    if (!o->lfs)
      continue;
    rc = lfs_upload (p->g, p->call, commit, p->source, (uint32_t) i);
    if (rc == 0 && (text = lfs_pointer_text (p->call, o->file->wire_sha256, o->size)) != NULL)
      rc = git_put_text (p->g, p->call, p->objects, text, strlen (text), o->oid);
  }
  return rc;
}

/* ---- the change ---- */

/* The same image in other encodings is of no use beside the new one. */
static void
drop_others (struct push *p, struct git_files *l, const char *name)
{
  static const char *const endings[] = { "", ".gz", ".zst" };
  size_t n = strlen (name);
  const char *encoding = git_encoding_of (name);
  if (encoding != NULL)
    n -= strcmp (encoding, "gzip") == 0 ? 3 : 4;
  for (size_t i = 0; i < sizeof endings / sizeof *endings; i++)
    git_drop (l, git_text (p->call, "%.*s%s", (int) n, name, endings[i]));
}

static int
add_attributes (struct push *p, struct git_files *l)
{
  const char *old = "";
  char oid[OID_ROOM];
  size_t n = 0;
  int rc = 0;
  uint64_t size = UINT64_MAX;
  for (size_t i = 0; i < l->n && rc == 0; i++)
    if (strcmp (l->v[i].path, ".gitattributes") == 0 &&
        (rc = git_size (p->g, p->call, NULL, l->v[i].oid, &size)) == 0 && size < SMALL_BLOB)
      rc = git_blob (p->g, p->call, l->v[i].oid, &old, &n);
  for (size_t i = 0; i < p->n && rc == 0; i++) {
    int marked = 0;
    lfs_attributes_say (old, p->out[i].name, &marked);
    if (p->out[i].lfs && !marked)
      old = git_text (p->call, "%s%s%s filter=lfs diff=lfs merge=lfs -text\n", old,
                      n > 0 && old[strlen (old) - 1] != '\n' ? "\n" : "", p->out[i].name);
  }
  if (rc == 0)
    rc = git_put_text (p->g, p->call, p->objects, old, strlen (old), oid);
  return rc == 0 ? git_put (p->call, l, ".gitattributes", oid) : rc;
}

static int
put_files (void *user, struct git *g, struct capstan_call *call, const char *dir, struct git_files *l)
{
  struct push *p = user;
  int rc = 0;
  for (size_t i = 0; i < p->n; i++)
    if (p->out[i].file->role == NULL || strcmp (p->out[i].file->role, "index") != 0)
      drop_others (p, l, p->out[i].name);
  for (size_t i = 0; i < p->n && rc == 0; i++)
    rc = git_put (call, l, p->out[i].name, p->out[i].oid);
  return rc == 0 && p->attributes ? add_attributes (p, l) : rc;
}

/* A push that ended with a lost connection may have been heard all the same: its commit is
 * remembered before it is sent. */
static int
remember (void *user, const char *commit)
{
  struct push *p = user;
  return capstan_host_->state_put (p->source, "commit", commit);
}

static int
was_heard (struct capstan_source *source, const struct git_tip *tip)
{
  const char *commit = capstan_host_->state_get (source, "commit");
  return commit != NULL && *tip->oid != '\0' && strcmp (commit, tip->oid) == 0;
}

/* A tag for the version, unless there is one that says something else. */
static int
choose_tag (struct git *g, struct capstan_call *call, const struct capstan_entry *e, const char **ret)
{
  struct git_tip t;
  *ret = NULL;
  if (!g->tag || e->version == NULL || *e->version == '\0')
    return 0;
  const char *tag = git_text (call, "%s/%s", e->name, e->version);
  int rc = git_tag_find (g, call, tag, &t);
  if (rc == 0 && *t.oid == '\0')
    *ret = git_text (call, "refs/tags/%s", tag);
  else if (rc == 0)
    capstan_log (call, CAPSTAN_LOG_WARN, "%s: the tag %s is there already and stays with commit %.10s",
                 g->url, tag, t.oid);
  return rc;
}

static const char *
message_of (struct capstan_call *call, const struct capstan_push_req *q)
{
  const char *v = q->entry->version;
  if (q->message != NULL && *q->message != '\0')
    return git_text (call, "%s\n", q->message);
  return git_text (call, "%s%s%s\n", q->entry->name, v != NULL && *v != '\0' ? " " : "", v != NULL ? v : "");
}

/* The entry's etag once all is there: that of its index. */
static const char *
new_etag (const struct push *p)
{
  const char *etag = p->n > 0 ? p->out[0].oid : NULL;
  for (size_t i = 0; i < p->n; i++)
    if (p->out[i].file->role != NULL && strcmp (p->out[i].file->role, "index") == 0)
      etag = p->out[i].oid;
  return etag;
}

/* The blobs, then the commit. */
static int
send_all (struct push *p, struct git_change *c, const char *dir, struct git_tip *tip)
{
  int fd, rc = git_work_begin (p->g, p->call, &p->objects, &fd);
  if (rc != 0)
    return rc;
  c->objects = p->objects;
  c->total = p->total;
  if (*tip->oid == '\0' && p->g->branch == NULL)
    rc = git_unborn (p->g, p->call, p->objects, tip);
  if (rc == 0 && (rc = upload_pointers (p, tip->oid)) == 0 && (rc = import_blobs (p)) == 0)
    rc = git_land (p->g, p->call, c, dir, tip);
  git_work_end (p->objects, fd);
  return rc;
}

int
git_push (struct capstan_call *call, void *self, const struct capstan_push_req *q,
          struct capstan_source *source, struct capstan_push_rsp *rsp)
{
  struct git *g = self;
  struct push p = { .g = g, .call = call, .source = source };
  struct git_change c = { .name = q->entry->name, .edit = put_files, .about = remember, .user = &p,
                          .suffix = git_param (q->params, q->n_params, "suffix", "qemu"),
                          .message = message_of (call, q) };
  struct git_tip tip;
  struct git_entry e = { .dir = "" };
  int rc = git_tip (g, call, NULL, NULL, &tip);
  if (rc == 0)
    rc = git_need (g, call, tip.oid);
  if (rc == 0 && *tip.oid != '\0')
    rc = git_entry_find (g, call, tip.oid, c.name, c.suffix, &e);
  if (rc != 0)
    return rc;
  const char *dir = git_change_dir (g, c.name, &e), *etag = c.seen = git_entry_etag (&e);
  if (!was_heard (source, &tip)) {
    rc = check_conditions (g, call, q, c.seen, &tip);
    if (rc == 0)
      rc = take_files (&p, tip.oid, dir);
    if (rc == 0)
      rc = choose_tag (g, call, q->entry, &c.tag);
    if (rc == 0)
      rc = send_all (&p, &c, dir, &tip);
    if (rc != 0)
      return rc;
    etag = new_etag (&p);
  }
  rsp->ref = git_text (call, "%s:%s", tip.oid, c.name);
  rsp->etag = etag != NULL ? git_take (call, etag, SIZE_MAX) : NULL;
  rsp->version = q->entry->version;
  return 0;
}

/* ---- remove ---- */
struct removal { const char *stem; };

/* The index, and the image for every hypervisor; what else somebody put there stays. */
static int
drop_files (void *user, struct git *g, struct capstan_call *call, const char *dir, struct git_files *l)
{
  const struct removal *r = user;
  size_t n = strlen (r->stem);
  for (size_t i = l->n; i-- > 0;) {
    const char *f = l->v[i].path;
    if (strncmp (l->v[i].mode, "100", 3) == 0 &&
        (strcmp (f, "index.yaml") == 0 || (strncmp (f, r->stem, n) == 0 && f[n] == '.')))
      git_drop (l, f);
  }
  if (*dir != '\0' && l->n == 1 && strcmp (l->v[0].path, ".gitattributes") == 0)
    l->n = 0;
  return 0;
}

int
git_remove (struct capstan_call *call, void *self, const char *ref, const struct capstan_action *a)
{
  struct git *g = self;
  struct git_tip tip;
  struct git_entry was = { 0 }, is = { 0 };
  const char *commit, *name, *suffix = a != NULL ? git_param (a->params, a->n_params, "suffix", "qemu") : "qemu";
  int fd, rc = git_ref_split (call, ref, &commit, &name);
  if (rc == 0)
    rc = git_tip (g, call, NULL, NULL, &tip);
  if (rc != 0 || *tip.oid == '\0')
    return rc;
  if ((rc = git_need (g, call, tip.oid)) == 0)
    rc = git_entry_find (g, call, tip.oid, name, suffix, &is);
  const char *etag = git_entry_etag (&is), *old;
  if (rc != 0 || etag == NULL) /* gone already */
    return rc;
  if ((rc = git_need (g, call, commit)) == 0)
    rc = git_entry_find (g, call, commit, name, suffix, &was);
  old = git_entry_etag (&was);
  if (rc == 0 && (old == NULL || strcmp (old, etag) != 0))
    rc = capstan_error (call, CAPSTAN_E_CONFLICT, 0, "%s: somebody else has changed %s since commit %.10s",
                        g->url, name, commit);
  struct removal r = { .stem = *is.dir == '\0' ? g->last : strrchr (name, '/') != NULL ? strrchr (name, '/') + 1 : name };
  struct git_change c = { .name = name, .suffix = suffix, .seen = etag, .edit = drop_files, .user = &r,
                          .message = git_text (call, "Remove %s\n", name) };
  if (rc == 0)
    rc = git_work_begin (g, call, &c.objects, &fd);
  if (rc != 0)
    return rc;
  rc = git_land (g, call, &c, is.dir, &tip);
  git_work_end (c.objects, fd);
  return rc;
}
