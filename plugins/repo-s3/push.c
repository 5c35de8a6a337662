/* Push, remove, maintain. SPDX-License-Identifier: BSD-3-Clause */
#include "config.h"
#include "s3.h"
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* ---- push ---- */

static const struct capstan_file *
there (const struct s3_entry *e, const char *path)
{
  for (size_t i = 0; i < e->n; i++)
    if (strcmp (e->file[i].path, path) == 0)
      return &e->file[i];
  return NULL;
}

/* Is the entry still what the pusher knows? */
static int
ask (struct s3 *s, struct capstan_call *call, const struct capstan_push_req *q, struct s3_entry *ret)
{
  const char *name = q->entry->name;
  struct s3_entry e;
  int rc = s3_look (s, call, name, NULL, &e);
  if (rc != 0)
    return rc;
  if (q->if_none_match != NULL && e.n > 0)
    return capstan_error (call, CAPSTAN_E_CONFLICT, 0, "%s: somebody has pushed %s in the meantime", s->realm, name);
  if (q->if_match != NULL && (e.etag == NULL || strcmp (e.etag, q->if_match) != 0))
    return capstan_error (call, CAPSTAN_E_CONFLICT, 0, "%s: somebody has changed %s in the meantime", s->realm, name);
  *ret = e;
  for (size_t i = 0; i < e.n; i++) /* of the copy, not of the one that ends here */
    ret->files[i] = &ret->file[i];
  return 0;
}

static int
delete_key (struct s3 *s, struct capstan_call *call, const char *key)
{
  struct s3_req q = { .method = "DELETE", .key = key };
  int rc = s3_perform (s, call, &q, NULL);
  return rc == -CAPSTAN_E_NOTFOUND ? 0 : rc;
}

struct push {
  struct s3 *s;
  struct capstan_call *call;
  const struct capstan_push_req *req;
  struct capstan_source *source;
  struct s3_entry seen;
  int locked;
};

/* Between the bytes and their place: nobody else from here on, and nothing has changed. */
static int
gate (void *user)
{
  struct push *p = user;
  struct s3_entry now;
  if (p->req->if_match == NULL && p->req->if_none_match == NULL)
    return 0;
  int rc = p->locked ? 0 : s3_lock (p->s, p->call, p->req->entry->name);
  if (rc != 0)
    return rc;
  if (!p->locked) {
    p->locked = 1;
    return ask (p->s, p->call, p->req, &now);
  }
  return 0;
}

/* Is the object still what was seen? */
static int
unchanged (struct push *p, const char *path, const char *etag)
{
  struct s3_entry now;
  const struct capstan_file *f = NULL;
  if (s3_look (p->s, p->call, p->req->entry->name, NULL, &now) == 0)
    f = there (&now, path);
  return f != NULL && strcmp (f->etag, etag) == 0;
}

/* One file in its place, if what is there is still what was seen. */
static int
put (struct push *p, uint32_t i, char *ret_etag)
{
  const struct capstan_file *f = capstan_host_->source_file (p->source, i), *old = there (&p->seen, f->path);
  int conditional = p->req->if_match != NULL || p->req->if_none_match != NULL;
  struct s3_condition c = { .gate = gate, .user = p };
  if (conditional && !p->s->no_conditions) {
    c.if_match = old != NULL ? old->etag : NULL;
    c.if_none_match = old == NULL ? "*" : NULL;
  }
  int rc = s3_upload (p->s, p->call, p->source, i, &c, ret_etag);
  if (rc == -CAPSTAN_E_CONFLICT && c.if_match != NULL && !p->s->bare_etags && unchanged (p, f->path, c.if_match)) {
    p->s->bare_etags = 1;
    rc = s3_upload (p->s, p->call, p->source, i, &c, ret_etag);
  }
  if (rc != -CAPSTAN_E_UNSUPPORTED || !conditional)
    return rc;
  p->s->no_conditions = 1; /* as near as it gets: the gate has asked just before */
  c.if_match = c.if_none_match = NULL;
  return s3_upload (p->s, p->call, p->source, i, &c, ret_etag);
}

/* The same image in other encodings counts no more. */
static void
drop_others (struct s3 *s, struct capstan_call *call, const struct s3_entry *seen, const char *kept)
{
  size_t n = strlen (kept);
  n -= n > 3 && strcmp (kept + n - 3, ".gz") == 0 ? 3 : n > 4 && strcmp (kept + n - 4, ".zst") == 0 ? 4 : 0;
  for (size_t i = 0; i < seen->n; i++) {
    const char *p = seen->file[i].path, *end = p + n;
    int same = strncmp (p, kept, n) == 0 && (*end == '\0' || strcmp (end, ".gz") == 0 || strcmp (end, ".zst") == 0);
    if (same && strcmp (p, kept) != 0 && delete_key (s, call, p) != 0)
      capstan_log (call, CAPSTAN_LOG_WARN, "%s: %s could not be removed; it counts no more", s->realm, p);
  }
}

int
s3_op_push (struct capstan_call *call, void *self, const struct capstan_push_req *q,
            struct capstan_source *source, struct capstan_push_rsp *ret)
{
  struct s3 *s = self;
  struct push p = { .s = s, .call = call, .req = q, .source = source };
  char etag[BUCKET_TEXT_MAX + 1] = "";
  const char *image = NULL;
  uint32_t n = capstan_host_->source_count (source);
  if (s->key_id == NULL)
    return capstan_error (call, CAPSTAN_E_AUTH, 0, "%s: pushing needs credentials: AWS_ACCESS_KEY_ID and "
                          "AWS_SECRET_ACCESS_KEY, or see capstan-repo-s3(1)", s->realm);
  int rc = ask (s, call, q, &p.seen);
  for (uint32_t i = 0; rc == 0 && i < n; i++) {
    const struct capstan_file *f = capstan_host_->source_file (source, i);
    int index = strcmp (f->role, "index") == 0;
    rc = put (&p, i, etag);
    if (rc == -CAPSTAN_E_CONFLICT && index && image != NULL && there (&p.seen, image) == NULL)
      delete_key (s, call, image); /* another's index stands: ours would lie there unread */
    if (!index)
      image = f->path;
  }
  if (rc == 0 && image != NULL)
    drop_others (s, call, &p.seen, image);
  if (p.locked)
    s3_unlock (s, call, q->entry->name);
  if (rc != 0)
    return rc;
  ret->etag = capstan_host_->keep (call, etag, SIZE_MAX);
  ret->ref = s3_ref (call, q->entry->name, etag);
  return 0;
}

/* ---- remove ---- */

int
s3_op_remove (struct capstan_call *call, void *self, const char *ref, const struct capstan_action *a)
{
  struct s3 *s = self;
  struct s3_entry e;
  const char *tab = strchr (ref, '\t');
  const char *name = tab != NULL ? capstan_host_->keep (call, ref, (size_t) (tab - ref)) : ref;
  int rc = s3_look (s, call, name, NULL, &e);
  if (rc == 0 && e.n > 0 && tab != NULL && tab[1] != '\0' && e.etag != NULL && strcmp (e.etag, tab + 1) != 0)
    rc = capstan_error (call, CAPSTAN_E_CONFLICT, 0, "%s: somebody has changed %s in the meantime", s->realm, name);
  for (size_t i = 0; rc == 0 && i < e.n; i++) /* the index stands first */
    rc = delete_key (s, call, e.file[i].path);
  return rc;
}

/* ---- maintain: uploads that nobody went on with ---- */

struct stale { struct s3 *s; struct capstan_call *call; int64_t before; int dry_run; size_t n, room; char **key, **id; };

static int
stale_item (void *user, const struct bucket_item *i)
{
  struct stale *t = user;
  if (strcmp (i->element, "Upload") != 0 || i->key == NULL || i->upload_id == NULL ||
      strncmp (i->key, t->s->prefix, strlen (t->s->prefix)) != 0 || i->modified == INT64_MIN ||
      i->modified > t->before)
    return 0;
  if (t->n == t->room) {
    size_t room = t->room * 2 + 16;
    char **k = realloc (t->key, room * sizeof *k);
    char **d = k != NULL ? realloc (t->id, room * sizeof *d) : NULL;
    if (k != NULL)
      t->key = k;
    if (d == NULL)
      return capstan_error (t->call, CAPSTAN_E_NOMEM, 0, "no memory");
    t->id = d;
    t->room = room;
  }
  t->key[t->n] = strdup (i->key + strlen (t->s->prefix));
  t->id[t->n++] = strdup (i->upload_id);
  return 0;
}

static int
find_stale (struct s3 *s, struct capstan_call *call, struct stale *t)
{
  struct bucket_page page = { 0 };
  int rc;
  do {
    struct buf b = { 0 };
    char marker[sizeof page.marker], id_marker[sizeof page.id_marker];
    strcpy (marker, page.marker);
    strcpy (id_marker, page.id_marker);
    if (*marker != '\0') {
      buf_text (&b, "key-marker=");
      http_url_escape (&b, marker, 0);
      buf_text (&b, "&");
    }
    buf_text (&b, "prefix=");
    http_url_escape (&b, s->prefix, 0);
    if (*id_marker != '\0') {
      buf_text (&b, "&upload-id-marker=");
      http_url_escape (&b, id_marker, 0);
    }
    buf_text (&b, "&uploads=");
    struct s3_req q = { .query = buf_str (&b) };
    rc = q.query != NULL ? s3_xml (s, call, &q, stale_item, t, &page)
                         : capstan_error (call, CAPSTAN_E_NOMEM, 0, "no memory");
    buf_free (&b);
    if (rc == 0 && strcmp (marker, page.marker) == 0 && strcmp (id_marker, page.id_marker) == 0)
      break;
  } while (rc == 0 && page.truncated);
  return rc;
}

int
s3_op_maintain (struct capstan_call *call, void *self, const struct capstan_action *a)
{
  struct s3 *s = self;
  const char *old = s3_param (a->params, a->n_params, "older_than"), *dry = s3_param (a->params, a->n_params, "dry_run");
  struct stale t = { .s = s, .call = call, .dry_run = dry != NULL && strcmp (dry, "true") == 0 };
  t.before = (int64_t) time (NULL) - (old != NULL ? atoll (old) : 86400);
  int rc = find_stale (s, call, &t);
  for (size_t i = 0; i < t.n; i++) {
    struct buf b = { 0 };
    if (rc == 0)
      capstan_log (call, CAPSTAN_LOG_INFO, "%s: unfinished upload of %s%s", s->realm, t.key[i],
                   t.dry_run ? "" : " removed");
    buf_text (&b, "uploadId=");
    http_url_escape (&b, t.id[i], 0);
    struct s3_req q = { .method = "DELETE", .key = t.key[i], .query = buf_str (&b) };
    if (rc == 0 && !t.dry_run)
      rc = s3_perform (s, call, &q, NULL);
    if (rc == -CAPSTAN_E_NOTFOUND) /* somebody was faster */
      rc = 0;
    buf_free (&b);
    free (t.key[i]);
    free (t.id[i]);
  }
  free (t.key);
  free (t.id);
  return rc;
}
