/* What a web server has, by the ListBucketResult at its root. SPDX-License-Identifier: BSD-3-Clause */
#include "config.h"
#include "plugins/common/bucket.h"
#include "plugins/repo-http/repo.h"
#include <stdlib.h>
#include <string.h>

/* ---- the listing ---- */

struct pages {
  struct capstan_call *call;
  const char *where;
  struct bucket *b; /* the page that is read */
  int (*item) (void *user, const struct bucket_item *);
  void *user;
  char key[BUCKET_TEXT_MAX + 1]; /* the last of a page */
};

static int
on_item (void *user, const struct bucket_item *k)
{
  struct pages *p = user;
  if (k->key == NULL || strcmp (k->element, "Contents") != 0)
    return 0;
  snprintf (p->key, sizeof p->key, "%s", k->key);
  return p->item (p->user, k);
}

static int
feed (void *user, uint64_t offset, const void *data, size_t n)
{
  struct pages *p = user;
  return bucket_feed (p->b, p->where, data, n);
}

/* The listing at url. What is none is E_UNSUPPORTED. */
static int
read_page (struct repo *r, struct pages *p, const char *url, struct bucket_page *ret)
{
  struct http_req q = { .url = url, .auth = &r->auth, .flags = HTTP_DECODE, .on_data = feed, .user = p };
  if ((p->b = bucket_new (p->call, on_item, p)) == NULL)
    return capstan_error (p->call, CAPSTAN_E_NOMEM, 0, "no memory");
  int rc = http_perform (r->http, p->call, &q, NULL);
  if (rc == 0)
    rc = bucket_end (p->b, r->url, ret);
  bucket_free (p->b);
  if (rc == -CAPSTAN_E_NOTFOUND || rc == -CAPSTAN_E_PERM || rc == -CAPSTAN_E_INVAL ||
      (rc == 0 && strcmp (ret->root, "ListBucketResult") != 0))
    rc = capstan_error (p->call, CAPSTAN_E_UNSUPPORTED, 0, "%s gives no listing, so only names that "
                        "are known can be pulled; 'capstan repo index' makes one in the folder "
                        "that is served", r->url);
  return rc;
}

/* All pages, item by item: a static listing has one, S3 has one for each 1000 keys. */
static int
read_listing (struct repo *r, struct capstan_call *call,
              int (*item) (void *user, const struct bucket_item *), void *user)
{
  struct bucket_page *page = calloc (1, sizeof *page);
  struct pages p = { .call = call, .where = r->url, .item = item, .user = user };
  char from[BUCKET_TEXT_MAX + 1] = "";
  int rc = page != NULL ? 0 : capstan_error (call, CAPSTAN_E_NOMEM, 0, "no memory"), more = rc == 0;
  while (more) {
    struct buf url = { 0 };
    buf_text (&url, r->url);
    if (from[0] != '\0') {
      buf_text (&url, page->token[0] != '\0' ? "?list-type=2&continuation-token=" : "?marker=");
      http_url_escape (&url, from, 0);
    }
    rc = buf_str (&url) != NULL ? read_page (r, &p, url.s, page)
                                : capstan_error (call, CAPSTAN_E_NOMEM, 0, "no memory");
    buf_free (&url);
    if (rc != 0 || !page->truncated)
      break;
    const char *next = page->token[0] != '\0' ? page->token
                       : page->marker[0] != '\0' ? page->marker : p.key;
    more = *next != '\0' && strcmp (next, from) != 0;
    if (!more)
      rc = capstan_error (call, CAPSTAN_E_NET, 0, "%s: its listing has no end", r->url);
    snprintf (from, sizeof from, "%s", next);
  }
  free (page);
  return rc;
}

struct images_of { struct capstan_call *call; const char *name; struct buf *out; };

static int
on_image_of (void *user, const struct bucket_item *k)
{
  struct images_of *of = user;
  const char *suffix, *encoding;
  if (flat_split (of->call, k->key, of->name, &suffix, &encoding))
    buf_add (of->out, k->key, strlen (k->key) + 1);
  return 0;
}

int
flat_images (struct repo *r, struct capstan_call *call, const char *name, struct buf *out)
{
  struct images_of of = { call, name, out };
  return read_listing (r, call, on_image_of, &of);
}

/* ---- list ---- */

struct name { char *name; uint64_t image, index; int64_t created; int has_index, has_image; };
struct names {
  struct capstan_call *call;
  const char *suffix;
  struct name *all;
  size_t n, room, last; /* last: where the previous key went, as keys of one name stand together */
};

static struct name *
name_of (struct names *l, const char *name)
{
  if (l->n > 0 && strcmp (l->all[l->last].name, name) == 0)
    return &l->all[l->last];
  if (l->n == l->room) {
    size_t room = l->room > 0 ? l->room * 2 : 64;
    struct name *all = realloc (l->all, room * sizeof *all);
    if (all == NULL)
      return NULL;
    l->all = all;
    l->room = room;
  }
  l->last = l->n;
  l->all[l->n] = (struct name){ .name = strdup (name), .image = UINT64_MAX, .index = UINT64_MAX,
                                .created = INT64_MIN };
  return l->all[l->n].name != NULL ? &l->all[l->n++] : NULL;
}

static int
on_key (void *user, const struct bucket_item *k)
{
  struct names *l = user;
  char name[1100];
  const char *slash = strrchr (k->key, '/'), *suffix, *encoding;
  if (slash == NULL || slash == k->key || strncmp (k->key, "packages/", 9) == 0)
    return 0;
  snprintf (name, sizeof name, "%.*s", (int) (slash - k->key), k->key);
  int index = strcmp (slash + 1, "index.yaml") == 0;
  if (!index && (!flat_split (l->call, k->key, name, &suffix, &encoding) ||
                 strcmp (suffix, l->suffix) != 0))
    return 0;
  struct name *n = name_of (l, name);
  if (n == NULL)
    return capstan_error (l->call, CAPSTAN_E_NOMEM, 0, "no memory for the listing");
  if (index) {
    n->has_index = 1;
    n->index = k->size;
    n->created = k->modified;
  } else {
    n->has_image = 1;
    n->image = k->size;
  }
  return 0;
}

static int
by_name (const void *a, const void *b)
{
  return strcmp (((const struct name *) a)->name, ((const struct name *) b)->name);
}

static int
emit_name (struct capstan_call *call, const struct names *l, const struct name *n,
           struct capstan_list *out)
{
  char path[1200];
  snprintf (path, sizeof path, "%s/index.yaml", n->name);
  struct capstan_file f = { .struct_size = sizeof f, .path = path, .role = "index",
                            .size = n->index, .wire_size = n->index };
  const struct capstan_file *files[] = { n->has_index ? &f : NULL, NULL };
  struct capstan_entry e = { .struct_size = sizeof e, .name = n->name, .kind = "image",
                             .size = n->image, .created = n->created, .files = files };
  return capstan_host_->emit_entry (out, &e);
}

int
flat_list (struct repo *r, struct capstan_call *call, const struct capstan_query *q,
           struct capstan_list *out, const char **ret_next)
{
  const char *suffix = repo_param (q->params, q->n_params, "suffix");
  struct names l = { .call = call, .suffix = suffix != NULL ? suffix : "qemu" };
  uint64_t emitted = 0;
  int rc = read_listing (r, call, on_key, &l);
  if (rc == 0 && l.n > 0)
    qsort (l.all, l.n, sizeof *l.all, by_name);
  for (size_t i = 0; rc == 0 && i < l.n; i++) {
    struct name *n = &l.all[i];
    if (i + 1 < l.n && strcmp (n->name, n[1].name) == 0) { /* its keys did not stand together */
      if (n->has_index)
        n[1].index = n->index, n[1].created = n->created;
      if (n->has_image)
        n[1].image = n->image;
      n[1].has_index |= n->has_index;
      n[1].has_image |= n->has_image;
      continue;
    }
    if ((q->name != NULL && strcmp (q->name, n->name) != 0) ||
        (q->page != NULL && strcmp (n->name, q->page) <= 0))
      continue;
    if (q->limit > 0 && emitted == q->limit)
      break;
    if ((rc = emit_name (call, &l, n, out)) == 0 && q->limit > 0 && ++emitted == q->limit)
      *ret_next = capstan_host_->keep (call, n->name, SIZE_MAX);
  }
  for (size_t i = 0; i < l.n; i++)
    free (l.all[i].name);
  free (l.all);
  return rc;
}
