/* What lies in the bucket: the listing as entries. SPDX-License-Identifier: BSD-3-Clause */
#include "config.h"
#include "s3.h"
#include <string.h>

const char *
s3_param (const struct capstan_kv *kv, size_t n, const char *key)
{
  for (size_t i = 0; i < n; i++)
    if (strcmp (kv[i].key, key) == 0)
      return kv[i].value;
  return NULL;
}

static const char *
last_part (const char *name)
{
  const char *slash = strrchr (name, '/');
  return slash != NULL ? slash + 1 : name;
}

/* The encoding that the end of a file name says; *ret_len: the name without that end. */
static const char *
encoding_of (const char *file, size_t *ret_len)
{
  size_t n = strlen (file);
  *ret_len = n > 3 && (strcmp (file + n - 3, ".gz") == 0) ? n - 3
             : n > 4 && (strcmp (file + n - 4, ".zst") == 0) ? n - 4 : n;
  return *ret_len == n ? NULL : file[n - 1] == 'z' ? "gzip" : "zstd";
}

/* Is `file' in the folder of name an image of it (of that hypervisor)? */
static int
is_image (const char *name, const char *file, const char *suffix, const char **ret_encoding)
{
  const char *base = last_part (name);
  size_t n = strlen (base), len;
  *ret_encoding = encoding_of (file, &len);
  if (len <= n + 1 || strncmp (file, base, n) != 0 || file[n] != '.')
    return 0;
  if (suffix != NULL)
    return len == n + 1 + strlen (suffix) && strncmp (file + n + 1, suffix, len - n - 1) == 0;
  return memchr (file + n + 1, '.', len - n - 1) == NULL;
}

const char *
s3_ref (struct capstan_call *call, const char *name, const char *etag)
{
  char ref[2 * BUCKET_TEXT_MAX + 8];
  snprintf (ref, sizeof ref, "%s\t%s", name, etag != NULL ? etag : "");
  return capstan_host_->keep (call, ref, SIZE_MAX);
}

/* ---- one name ---- */

struct look { struct capstan_call *call; const char *name, *suffix; struct s3_entry *e; };

static int
look_item (void *user, const struct bucket_item *i)
{
  struct look *l = user;
  size_t n = strlen (l->name);
  const char *encoding = NULL, *file = i->key + n + 1;
  if (strcmp (i->element, "Contents") != 0 || strlen (i->key) <= n + 1 || l->e->n == S3_ENTRY_FILES)
    return 0;
  int index = strcmp (file, "index.yaml") == 0;
  if (!index && !is_image (l->name, file, l->suffix, &encoding))
    return 0;
  /* the index stands first, then the images as they come: plain, .gz, .zst */
  size_t at = index ? 0 : l->e->n;
  memmove (&l->e->file[at + 1], &l->e->file[at], (l->e->n - at) * sizeof *l->e->file);
  l->e->file[at] = (struct capstan_file){ .struct_size = sizeof (struct capstan_file),
    .path = capstan_host_->keep (l->call, i->key, SIZE_MAX), .role = index ? "index" : "image",
    .encoding = encoding, .etag = capstan_host_->keep (l->call, i->etag, SIZE_MAX),
    .size = UINT64_MAX, .wire_size = i->size };
  l->e->n++;
  return 0;
}

/* Where listing is not allowed but reading is: each name is asked for. */
static int
look_without_list (struct s3 *s, struct look *l)
{
  static const char *const ends[] = { "", ".gz", ".zst" };
  char key[BUCKET_TEXT_MAX + 64];
  for (int k = -1; k < 3; k++) {
    struct http_rsp rsp = { 0 };
    if (k >= 0 && l->suffix == NULL)
      break;
    if (k < 0)
      snprintf (key, sizeof key, "%s/index.yaml", l->name);
    else
      snprintf (key, sizeof key, "%s/%s.%s%s", l->name, last_part (l->name), l->suffix, ends[k]);
    struct s3_req q = { .method = "HEAD", .key = key };
    int rc = s3_perform (s, l->call, &q, &rsp);
    if (rc == 0) {
      struct bucket_item i = { .element = "Contents", .key = key, .etag = http_etag (&rsp), .size = rsp.size };
      look_item (l, &i);
      http_rsp_clear (&rsp);
    } else if (rc != -CAPSTAN_E_NOTFOUND && rc != -CAPSTAN_E_PERM && rc != -CAPSTAN_E_AUTH)
      return rc; /* the other two: S3 says so of what is not there, to who may not list */
  }
  return 0;
}

int
s3_look (struct s3 *s, struct capstan_call *call, const char *name, const char *suffix,
         struct s3_entry *ret)
{
  char prefix[BUCKET_TEXT_MAX + 2];
  struct look l = { call, name, suffix, ret };
  ret->n = 0;
  ret->etag = NULL;
  snprintf (prefix, sizeof prefix, "%s/", name);
  int rc = s3_list (s, call, prefix, "/", look_item, &l);
  int closed = rc == -CAPSTAN_E_PERM || (rc == -CAPSTAN_E_AUTH && s->key_id == NULL);
  if (closed) {
    rc = look_without_list (s, &l);
    if (rc == 0 && ret->n == 0)
      rc = capstan_error (call, s->key_id == NULL ? CAPSTAN_E_AUTH : CAPSTAN_E_PERM, 0,
                          "%s: the bucket may not be listed%s, and %s is not there or may not be read",
                          s->realm, s->key_id == NULL ? " without credentials" : "", name);
  }
  for (size_t i = 0; rc == 0 && i < ret->n; i++) {
    ret->files[i] = &ret->file[i];
    if (ret->etag == NULL)
      ret->etag = ret->file[i].etag;
  }
  ret->files[ret->n] = NULL;
  return rc;
}

int
s3_op_resolve (struct capstan_call *call, void *self, const struct capstan_query *q,
               struct capstan_list *list)
{
  struct s3 *s = self;
  struct s3_entry e;
  char where[S3_URL_MAX];
  if (q->name == NULL)
    return capstan_error (call, CAPSTAN_E_INVAL, 0, "resolve: no name was given");
  int rc = s3_look (s, call, q->name, s3_param (q->params, q->n_params, "suffix"), &e);
  if (rc == 0 && e.n == 0)
    rc = capstan_error (call, CAPSTAN_E_NOTFOUND, 0, "there is no image '%s' at %s", q->name,
                        s3_show (s, q->name, where, sizeof where));
  if (rc != 0)
    return rc;
  const struct capstan_entry entry = { .struct_size = sizeof entry, .name = q->name, .kind = "image",
    .ref = s3_ref (call, q->name, e.etag), .etag = e.etag, .size = UINT64_MAX, .created = INT64_MIN,
    .files = e.files };
  return capstan_host_->emit_entry (list, &entry);
}

/* ---- all names ----
 * Keys come sorted, so that all of a folder and of what is below it stand together: a stack
 * of the folders that the current key is in is all that has to be remembered. */

enum { DEEP = 32 };
struct folder { size_t len; int has_image; int64_t created; uint64_t size; struct capstan_file index; };
struct all {
  struct capstan_call *call;
  struct capstan_list *list;
  const char *suffix;
  uint64_t left; /* of query.limit */
  char path[BUCKET_TEXT_MAX + 1];
  char etag[DEEP][BUCKET_TEXT_MAX + 1];
  struct folder stack[DEEP];
  size_t n;
};

static int
emit_top (struct all *a)
{
  struct folder *f = &a->stack[a->n - 1];
  char name[BUCKET_TEXT_MAX + 1], path[BUCKET_TEXT_MAX + 16];
  int has_index = f->index.path != NULL;
  a->n--;
  if ((!has_index && !f->has_image) || f->len == 0 || a->left == 0)
    return 0;
  memcpy (name, a->path, f->len);
  name[f->len] = '\0';
  snprintf (path, sizeof path, "%s/index.yaml", name);
  f->index.path = path;
  const struct capstan_file *files[] = { &f->index, NULL };
  const struct capstan_entry e = { .struct_size = sizeof e, .name = name, .kind = "image",
    .ref = s3_ref (a->call, name, has_index ? f->index.etag : NULL), .etag = has_index ? f->index.etag : NULL,
    .size = f->size, .created = f->created, .files = has_index ? files : NULL };
  a->left--;
  return capstan_host_->emit_entry (a->list, &e);
}

static int
all_item (void *user, const struct bucket_item *i)
{
  struct all *a = user;
  const char *slash = strrchr (i->key, '/'), *encoding;
  size_t dir = slash != NULL ? (size_t) (slash - i->key) : 0;
  int rc = 0;
  if (strcmp (i->element, "Contents") != 0 || slash == NULL)
    return 0;
  while (rc == 0 && a->n > 0 &&
         (a->stack[a->n - 1].len > dir || memcmp (a->path, i->key, a->stack[a->n - 1].len) != 0 ||
          i->key[a->stack[a->n - 1].len] != '/'))
    rc = emit_top (a);
  if (rc != 0)
    return rc;
  if (a->n == 0 || a->stack[a->n - 1].len != dir) {
    if (a->n == DEEP)
      return 0; /* no name of ours is that deep */
    a->stack[a->n++] = (struct folder){ .len = dir, .size = UINT64_MAX, .created = INT64_MIN };
    memcpy (a->path, i->key, dir);
    a->path[dir] = '\0';
  }
  struct folder *f = &a->stack[a->n - 1];
  char name[BUCKET_TEXT_MAX + 1];
  snprintf (name, sizeof name, "%.*s", (int) dir, i->key);
  if (strcmp (slash + 1, "index.yaml") == 0) {
    char *etag = a->etag[a->n - 1];
    snprintf (etag, sizeof a->etag[0], "%s", i->etag != NULL ? i->etag : "");
    f->index = (struct capstan_file){ .struct_size = sizeof f->index, .path = "", .role = "index",
      .etag = *etag != '\0' ? etag : NULL, .size = i->size, .wire_size = i->size };
    f->created = i->modified;
  } else if (is_image (name, slash + 1, a->suffix, &encoding)) {
    f->has_image = 1;
    f->size = i->size;
  }
  return 0;
}

int
s3_op_list (struct capstan_call *call, void *self, const struct capstan_query *q,
            struct capstan_list *list, const char **ret_next_page)
{
  struct s3 *s = self;
  struct all a = { .call = call, .list = list, .suffix = s3_param (q->params, q->n_params, "suffix"),
                   .left = q->limit != 0 ? q->limit : UINT64_MAX };
  int rc = s3_list (s, call, "", NULL, all_item, &a);
  while (rc == 0 && a.n > 0)
    rc = emit_top (&a);
  if (rc == 0)
    *ret_next_page = NULL;
  return rc;
}
