/* What there is, and fetching it. SPDX-License-Identifier: BSD-3-Clause */
#include "config.h"
#include "plugins/repo-git/git.h"
#include "plugins/repo-git/lfs.h"
#include <stdlib.h>
#include <string.h>

/* ---- list and resolve ---- */
static struct capstan_file
index_file (const struct git_entry *e)
{
  return (struct capstan_file){ .struct_size = sizeof (struct capstan_file), .path = e->index.path,
                                .role = "index", .etag = e->index.oid, .size = UINT64_MAX,
                                .wire_size = UINT64_MAX };
}

static struct capstan_file
image_file (const struct git_image *i)
{
  return (struct capstan_file){ .struct_size = sizeof (struct capstan_file), .path = i->file.path,
                                .role = "image", .etag = i->file.oid, .encoding = i->encoding,
                                .size = i->encoding == NULL ? i->size : UINT64_MAX,
                                .wire_size = i->size, .wire_sha256 = i->lfs };
}

static int
emit (struct capstan_call *call, struct capstan_list *list, const char *commit, const char *name,
      const struct git_entry *e)
{
  struct capstan_file files[1 + IMAGES_MAX];
  const struct capstan_file *v[2 + IMAGES_MAX];
  size_t n = 0;
  if (e->index.path != NULL)
    files[n++] = index_file (e);
  for (size_t i = 0; i < e->n_images; i++)
    files[n++] = image_file (&e->images[i]);
  for (size_t i = 0; i < n; i++)
    v[i] = &files[i];
  v[n] = NULL;
  struct capstan_entry out = { .struct_size = sizeof out, .name = name, .kind = "image",
    .ref = git_text (call, "%s:%s", commit, name), .etag = git_entry_etag (e), .size = UINT64_MAX,
    .created = INT64_MIN, .files = v };
  return capstan_host_->emit_entry (list, &out);
}

static int
nothing_yet (struct git *g, struct capstan_call *call, const struct git_tip *t, const char *what)
{
  return capstan_error (call, CAPSTAN_E_NOTFOUND, 0, "%s has no '%s': there is no branch %s%s", g->url, what,
                        t->ref + strlen ("refs/heads/"),
                        g->branch == NULL ? ", and none that its HEAD names: it is empty, or the option "
                                            "branch=NAME of the repository says which one counts" : "");
}

int
git_resolve (struct capstan_call *call, void *self, const struct capstan_query *q,
             struct capstan_list *list)
{
  struct git *g = self;
  struct git_tip t;
  struct git_entry e;
  const char *suffix = git_param (q->params, q->n_params, "suffix", "qemu");
  int rc = git_tip (g, call, q->name, q->version, &t);
  if (rc == 0 && *t.oid == '\0')
    rc = nothing_yet (g, call, &t, q->name);
  if (rc == 0)
    rc = git_need (g, call, t.oid);
  if (rc == 0)
    rc = git_entry_find (g, call, t.oid, q->name, suffix, &e);
  for (size_t i = 0; rc == 0 && i < e.n_images; i++)
    rc = git_image_look (g, call, &e.images[i]);
  if (rc != 0)
    return rc;
  if (git_entry_etag (&e) == NULL)
    return capstan_error (call, CAPSTAN_E_NOTFOUND, 0, "%s: no image %s at %s%scommit %.10s: neither "
                          "%s/index.yaml nor %s/%s.%s is there", g->url, q->name,
                          t.ref != NULL ? t.ref : "", t.ref != NULL ? ", " : "", t.oid, q->name, q->name,
                          strrchr (q->name, '/') != NULL ? strrchr (q->name, '/') + 1 : q->name, suffix);
  return emit (call, list, t.oid, q->name, &e);
}

/* The folders of the tree, each with the files of its own; git lists a folder's files near
 * each other, so that looking backwards finds it at once. */
struct dirs { struct git_files *v; const char **dir; size_t n, room; };

static struct git_files *
files_of_dir (struct dirs *d, const char *dir)
{
  for (size_t i = d->n; i-- > 0;)
    if (strcmp (d->dir[i], dir) == 0)
      return &d->v[i];
  if (d->n == d->room) {
    size_t room = d->room > 0 ? 2 * d->room : 64;
    struct git_files *v = realloc (d->v, room * sizeof *v);
    if (v != NULL)
      d->v = v;
    const char **names = realloc (d->dir, room * sizeof *names);
    if (names != NULL)
      d->dir = names;
    if (v == NULL || names == NULL)
      return NULL;
    d->room = room;
  }
  d->dir[d->n] = dir;
  d->v[d->n] = (struct git_files){ 0 };
  return &d->v[d->n++];
}

static int
sort_into_dirs (struct capstan_call *call, const struct git_files *all, struct dirs *d)
{
  int rc = 0;
  for (size_t i = 0; i < all->n && rc == 0; i++) {
    const char *path = all->v[i].path, *slash = strrchr (path, '/');
    struct git_files *l = files_of_dir (d, git_take (call, path, slash != NULL ? (size_t) (slash - path) : 0));
    rc = l != NULL ? git_files_add (call, l, &all->v[i])
                   : capstan_error (call, CAPSTAN_E_NOMEM, 0, "no memory");
  }
  return rc;
}

static int
emit_dirs (struct git *g, struct capstan_call *call, const char *commit, const char *suffix,
           const struct dirs *d, struct capstan_list *list)
{
  int rc = 0;
  for (size_t i = 0; i < d->n && rc == 0; i++) {
    struct git_entry e;
    const char *name = *d->dir[i] != '\0' ? d->dir[i] : g->last;
    if ((*d->dir[i] == '\0' && strcmp (g->layout, "many") == 0) ||
        (*d->dir[i] != '\0' && strcmp (g->layout, "one") == 0))
      continue;
    git_entry_of (g, call, &d->v[i], d->dir[i], suffix, &e);
    if (e.n_images > 0)
      rc = emit (call, list, commit, name, &e);
  }
  return rc;
}

int
git_list (struct capstan_call *call, void *self, const struct capstan_query *q,
          struct capstan_list *list, const char **ret_next)
{
  struct git *g = self;
  struct git_tip t;
  struct git_files all = { 0 };
  struct dirs d = { 0 };
  int rc = git_tip (g, call, NULL, q->version, &t);
  *ret_next = NULL;
  if (rc != 0 || *t.oid == '\0') /* nothing was pushed yet: an empty list */
    return rc;
  if ((rc = git_need (g, call, t.oid)) == 0)
    rc = git_ls (g, call, t.oid, NULL, GIT_DEEP, &all);
  if (rc == 0)
    rc = sort_into_dirs (call, &all, &d);
  if (rc == 0)
    rc = emit_dirs (g, call, t.oid, git_param (q->params, q->n_params, "suffix", "qemu"), &d, list);
  for (size_t i = 0; i < d.n; i++)
    git_files_free (&d.v[i]);
  free (d.v);
  free (d.dir);
  git_files_free (&all);
  return rc;
}

/* ---- fetch ---- */
int
git_ref_split (struct capstan_call *call, const char *ref, const char **ret_commit,
               const char **ret_name)
{
  size_t n = strcspn (ref, ":");
  if (!git_oid_valid (ref, n) || ref[n] != ':' || ref[n + 1] == '\0')
    return capstan_error (call, CAPSTAN_E_INVAL, 0, "'%s' is no reference of a Git repository",
                          git_clean (call, ref, SIZE_MAX));
  *ret_commit = git_take (call, ref, n);
  *ret_name = ref + n + 1;
  return 0;
}

struct stream {
  struct capstan_sink *sink;
  uint64_t skip; /* what the sink has already */
};

static int
to_sink (void *user, const void *p, size_t n)
{
  struct stream *s = user;
  size_t drop = s->skip < n ? (size_t) s->skip : n;
  s->skip -= drop;
  return n > drop ? capstan_host_->sink_write (s->sink, (const char *) p + drop, n - drop) : 0;
}

static int
send_blob (struct git *g, struct capstan_call *call, const struct git_image *i, const char *objects,
           struct capstan_sink *sink)
{
  struct stream s = { .sink = sink };
  struct git_cmd c = { .args = GIT_ARGS ("cat-file", "blob", i->file.oid), .objects = objects,
                       .take = to_sink, .user = &s };
  struct capstan_file f = image_file (i);
  f.role = NULL;
  int rc = capstan_host_->sink_begin (sink, &f, &s.skip);
  if (rc == 0)
    rc = git_run (g, call, &c);
  return rc == 0 ? capstan_host_->sink_end (sink) : rc;
}

static int
send_large (struct git *g, struct capstan_call *call, const char *commit, struct git_image *i,
            struct capstan_sink *sink)
{
  struct git_large l;
  int rc = git_large_get (g, call, commit, i->file.oid, &l);
  if (rc != 0)
    return rc;
  if ((rc = git_size (g, call, l.objects, i->file.oid, &i->size)) == 0)
    rc = send_blob (g, call, i, l.objects, sink);
  git_large_put (&l, rc == 0 || rc == -CAPSTAN_E_CHECKSUM);
  return rc;
}

static int
fetch_part (struct git *g, struct capstan_call *call, const char *commit, const struct capstan_part *p,
            struct capstan_sink *sink)
{
  struct git_files l = { 0 };
  struct git_image i = { .size = UINT64_MAX, .encoding = git_encoding_of (p->path) };
  int rc = git_ls (g, call, commit, p->path, 0, &l);
  if (rc == 0 && (l.n != 1 || strcmp (l.v[0].path, p->path) != 0 || strncmp (l.v[0].mode, "100", 3) != 0))
    rc = capstan_error (call, CAPSTAN_E_NOTFOUND, 0, "%s: no file %s at commit %.10s", g->url,
                        git_clean (call, p->path, SIZE_MAX), commit);
  if (rc == 0) {
    i.file = l.v[0];
    rc = git_image_look (g, call, &i);
  }
  git_files_free (&l);
  if (rc != 0)
    return rc;
  struct capstan_file f = image_file (&i);
  if (i.lfs != NULL)
    return lfs_download (g, call, commit, &i, &f, sink);
  return i.size != UINT64_MAX ? send_blob (g, call, &i, NULL, sink) : send_large (g, call, commit, &i, sink);
}

/* All files of the entry, where no parts are named. */
static int
fetch_entry (struct git *g, struct capstan_call *call, const char *commit, const char *name,
             const struct git_entry *e, struct capstan_sink *sink)
{
  int rc = git_entry_etag (e) != NULL ? 0
           : capstan_error (call, CAPSTAN_E_NOTFOUND, 0, "%s: no image %s at commit %.10s", g->url, name, commit);
  struct capstan_part p = { .struct_size = sizeof p, .path = e->index.path };
  if (rc == 0 && e->index.path != NULL)
    rc = fetch_part (g, call, commit, &p, sink);
  for (size_t i = 0; rc == 0 && i < e->n_images; i++) {
    p.path = e->images[i].file.path;
    rc = fetch_part (g, call, commit, &p, sink);
  }
  return rc;
}

int
git_fetch (struct capstan_call *call, void *self, const struct capstan_fetch_req *q,
           struct capstan_sink *sink, struct capstan_fetch_rsp *rsp)
{
  struct git *g = self;
  struct git_tip t = { 0 };
  struct git_entry e = { 0 };
  const char *commit = t.oid, *name = NULL, *etag = NULL;
  int rc = q->ref != NULL ? git_ref_split (call, q->ref, &commit, &name)
                          : git_tip (g, call, NULL, NULL, &t);
  if (rc == 0 && *commit == '\0')
    rc = nothing_yet (g, call, &t, q->parts != NULL && q->parts[0] != NULL ? q->parts[0]->path : "image");
  if (rc == 0)
    rc = git_need (g, call, commit);
  if (rc == 0 && name != NULL)
    rc = git_entry_find (g, call, commit, name, git_param (q->params, q->n_params, "suffix", "qemu"), &e);
  if (rc == 0 && (etag = git_entry_etag (&e)) != NULL && q->if_none_match != NULL &&
      strcmp (etag, q->if_none_match) == 0)
    rc = capstan_error (call, CAPSTAN_E_NOT_MODIFIED, 0, "%s: %s is as it was", g->url, name);
  if (rc == 0 && q->parts == NULL)
    rc = fetch_entry (g, call, commit, name != NULL ? name : "", &e, sink);
  for (size_t i = 0; rc == 0 && q->parts != NULL && q->parts[i] != NULL; i++)
    rc = fetch_part (g, call, commit, q->parts[i], sink);
  if (rc != 0)
    return rc;
  rsp->ref = q->ref;
  rsp->etag = etag != NULL ? capstan_host_->keep (call, etag, SIZE_MAX) : NULL;
  return 0;
}
