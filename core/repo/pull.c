/* From a repository into the store. SPDX-License-Identifier: BSD-3-Clause */
#include "config.h"
#include "core/repo/room.h"
#include "core/base/digest.h"
#include "core/base/error.h"
#include "core/base/progress.h"
#include "core/base/util.h"
#include "core/base/yaml.h"
#include "core/repo/download.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

struct pull {
  struct cs_repo *r;
  const struct cs_pull_opts *o;
  const char *as;
  struct cs_entry *entry;
  struct cs_manifest *m;
  const struct capstan_file *file; /* the image */
  struct cs_wire *want;
  char *label; /* "app of https://..." */
  struct cs_pulled result;
};

static void
pull_clear (struct pull *p)
{
  cs_entry_free (p->entry);
  cs_manifest_free (p->m);
  if (p->want != NULL)
    cs_wire_free (p->want);
  g_free (p->label);
  p->entry = NULL;
  p->m = NULL;
  p->want = NULL;
  p->label = NULL;
}

void
cs_pulled_clear (struct cs_pulled *p)
{
  g_free (p->name);
  g_free (p->url);
  g_free (p->version);
  g_free (p->sha256);
  g_free (p->format);
  memset (p, 0, sizeof *p);
}

/* ---- what the repository has ---- */

/* index.yaml names the file; without it the first is the best. */
static gboolean
pick_file (struct pull *p, GError **err)
{
  const struct cs_wire *w = cs_manifest_wire (p->m, p->o->suffix);
  const struct capstan_file *const *f = p->entry->entry.files;
  for (; f != NULL && *f != NULL; f++) {
    if (g_strcmp0 ((*f)->role, "image") != 0 || (*f)->path == NULL)
      continue;
    g_autofree char *base = g_path_get_basename ((*f)->path);
    if (w == NULL || w->file == NULL || strcmp (w->file, base) == 0) {
      p->file = *f;
      return TRUE;
    }
  }
  if (w != NULL && w->file != NULL)
    return cs_fail (err, CAPSTAN_E_NOTFOUND,
                    "%s: '%s' is incomplete: its index.yaml names %s, which is not there (an upload "
                    "that was not finished?)", cs_repo_url (p->r), p->o->name, w->file);
  return cs_fail (err, CAPSTAN_E_NOTFOUND, "%s: '%s' is there, but no image of it for '%s'",
                  cs_repo_url (p->r), p->o->name, p->o->suffix);
}

static void
take_digest (char **to, const char *from)
{
  if (*to == NULL && from != NULL && strlen (from) == 64 && strspn (from, "0123456789abcdef") == 64)
    *to = g_strdup (from);
}

/* What it must be, as far as anybody says: index.yaml first, then the plugin. */
static void
make_want (struct pull *p)
{
  const struct cs_wire *w = cs_manifest_wire (p->m, p->o->suffix);
  p->want = w != NULL ? cs_wire_copy (w) : cs_wire_new ();
  if (w == NULL) {
    const char *encoding = p->file->encoding != NULL ? p->file->encoding
                                                     : cs_encoding_of_name (p->file->path);
    p->want->encoding = g_strdup (encoding);
    p->want->format = g_strdup (p->m->index->format);
    if (g_hash_table_size (p->m->files) == 0)
      take_digest (&p->want->sha256, p->m->index->sha256);
  }
  take_digest (&p->want->sha256, p->file->sha256);
  take_digest (&p->want->wire_sha256, p->file->wire_sha256);
}

static gboolean
check_version (const struct pull *p, GError **err)
{
  const char *v = p->o->version, *is = p->m->index->version;
  if (v == NULL || (cs_rp_bits (p->r->rp) & CAPSTAN_REPO_VERSIONS) || g_strcmp0 (is, v) == 0)
    return TRUE;
  return cs_fail (err, CAPSTAN_E_NOTFOUND, "%s has version '%s' of '%s', not '%s'", cs_repo_url (p->r),
                  is != NULL ? is : "", p->o->name, v);
}

static gboolean
ask (struct pull *p, const char *version, GError **err)
{
  pull_clear (p);
  p->entry = cs_repo_resolve (p->r, p->o->name, version, p->o->suffix, err);
  p->m = p->entry != NULL ? cs_repo_manifest (p->r, p->entry, err) : NULL;
  return p->m != NULL;
}

/* What a repository with versions does not know as one may be what the newest calls itself. */
static gboolean
ask_for_version (struct pull *p, GError **err)
{
  GError *why = NULL;
  if (ask (p, p->o->version, &why))
    return check_version (p, err);
  gboolean again = why->code == CAPSTAN_E_NOTFOUND && p->o->version != NULL &&
                   (cs_rp_bits (p->r->rp) & CAPSTAN_REPO_VERSIONS) != 0;
  if (again && ask (p, NULL, NULL) && g_strcmp0 (p->m->index->version, p->o->version) == 0) {
    g_error_free (why);
    return TRUE;
  }
  g_propagate_error (err, why);
  return FALSE;
}

static gboolean
look (struct pull *p, GError **err)
{
  if (!ask_for_version (p, err) || !pick_file (p, err))
    return FALSE;
  cs_index_select (p->m->index, p->o->suffix);
  p->label = g_strdup_printf ("%s of %s", p->o->name, cs_repo_url (p->r));
  make_want (p);
  return TRUE;
}

/* ---- what is here ---- */

static gboolean
same_text (const char *a, const char *b)
{
  return strcmp (a != NULL ? a : "", b != NULL ? b : "") == 0;
}

static char *
other_line (const char *key, const char *value)
{
  GString *s = g_string_new (NULL);
  cs_yaml_put (s, key, value);
  return g_string_free (s, FALSE);
}

static gboolean
has_line (const struct cs_index *x, const char *key, const char *value)
{
  g_autofree char *line = other_line (key, value);
  for (guint i = 0; value != NULL && i < x->other->len; i++)
    if (strcmp (g_ptr_array_index (x->other, i), line) == 0)
      return TRUE;
  return FALSE;
}

/* By its digest; where nobody gives one, by what the repository calls its state. */
static gboolean
is_here (struct pull *p)
{
  struct cs_image *im = cs_store_find (p->as, p->o->suffix, NULL);
  gboolean same = FALSE;
  if (im == NULL)
    return FALSE;
  if (strcmp (im->suffix, p->o->suffix) != 0 || !same_text (im->index->version, p->m->index->version))
    same = FALSE;
  else if (p->want->sha256 != NULL)
    same = same_text (im->index->sha256, p->want->sha256);
  else
    same = has_line (im->index, "origin", cs_repo_url (p->r)) &&
           has_line (im->index, "origin_etag", p->file->etag);
  if (same) {
    p->result.sha256 = g_strdup (im->index->sha256);
    p->result.format = g_strdup (im->index->format);
    p->result.size = im->file_size;
  } else if (!same_text (im->index->version, p->m->index->version))
    cs_info ("%s: version '%s' is replaced by '%s'", p->as,
             im->index->version != NULL ? im->index->version : "",
             p->m->index->version != NULL ? p->m->index->version : "");
  cs_image_free (im);
  return same;
}

/* What changed behind the same name and version. Whoever gives a digest has published it so;
 * without one anything may have happened. */
static gboolean
check_known (struct pull *p, const char *sha256, GError **err)
{
  struct cs_known k;
  const struct cs_index *x = p->m->index;
  gboolean ok = TRUE;
  if (!cs_known_get (cs_repo_url (p->r), p->o->name, p->o->suffix, &k))
    return TRUE;
  if (strcmp (k.sha256, sha256) != 0 && same_text (k.version, x->version) &&
      same_text (k.created, x->created)) {
    if (p->want->sha256 != NULL || p->o->force)
      cs_warn ("%s is another image than on %s, under the same version '%s': sha256 was %.16s..., is "
               "%.16s...", p->label, k.seen, x->version != NULL ? x->version : "", k.sha256, sha256);
    else
      ok = cs_fail (err, CAPSTAN_E_CHECKSUM,
                    "%s is another image than on %s, under the same version '%s' (sha256 was %s, is %s), "
                    "and its index.yaml gives no digest; --force takes it", p->label, k.seen,
                    x->version != NULL ? x->version : "", k.sha256, sha256);
  }
  cs_known_clear (&k);
  return ok;
}

/* ---- into the store ---- */

static gboolean
fits (guint64 off, guint64 len, guint64 size)
{
  return len <= size && off <= size - len;
}

static struct cs_index *
make_index (struct pull *p, const char *format, guint64 virtual, const char *sha256, guint64 file_size,
            const char *etag)
{
  struct cs_index *x = cs_index_copy (p->m->index);
  g_clear_pointer (&x->more, g_ptr_array_unref); /* of images that stay there */
  /* where the kernel lies is said of one image only, and must be true of it */
  if ((x->sha256 != NULL && strcmp (x->sha256, sha256) != 0) ||
      !fits (x->kernel_offset, x->kernel_length, file_size) ||
      !fits (x->initrd_offset, x->initrd_length, file_size))
    x->kernel_offset = x->kernel_length = x->initrd_offset = x->initrd_length = 0;
  g_free (x->sha256);
  g_free (x->format);
  x->sha256 = g_strdup (sha256);
  x->format = g_strdup (format);
  x->size = virtual;
  for (guint i = x->other->len; i-- > 0;)
    if (cs_index_line_is_local (x->other->pdata[i]))
      g_ptr_array_remove_index (x->other, i);
  g_ptr_array_add (x->other, other_line ("origin", cs_repo_url (p->r)));
  if (p->entry->entry.ref != NULL)
    g_ptr_array_add (x->other, other_line ("origin_ref", p->entry->entry.ref));
  if (etag != NULL)
    g_ptr_array_add (x->other, other_line ("origin_etag", etag));
  return x;
}

/* Renamed where it can be, so that it is written once. */
static gboolean
move_in (const char *from, struct cs_store_txn *t, GError **err)
{
  struct stat st;
  if (rename (from, t->path) == 0)
    return TRUE;
  if (errno != EXDEV)
    return cs_fail_errno (err, "rename %s to %s", from, t->path);
  cs_autofd int in = open (from, O_RDONLY | O_CLOEXEC);
  if (in < 0 || fstat (in, &st) != 0)
    return cs_fail_errno (err, "open %s", from);
  if (ftruncate (t->fd, st.st_size) != 0)
    return cs_fail_errno (err, "write %s", t->path);
  return cs_copy_range (in, 0, t->fd, 0, (guint64) st.st_size, from, t->path, err);
}

static gboolean
commit (struct pull *p, struct cs_download *d, GError **err)
{
  const struct cs_wire *got = cs_download_result (d);
  guint64 virtual = 0;
  const char *path = cs_download_image (d);
  cs_autofd int fd = open (path, O_RDONLY | O_CLOEXEC);
  if (fd < 0)
    return cs_fail_errno (err, "open %s", path);
  const char *format = cs_image_check (fd, p->label, p->want->format, &virtual, err);
  if (format == NULL || !check_known (p, got->sha256, err))
    return FALSE;
  struct cs_store_txn *t = cs_store_begin (p->as, p->o->suffix, err);
  if (t == NULL)
    return FALSE;
  if (!move_in (path, t, err)) {
    cs_store_abort (t);
    return FALSE;
  }
  struct cs_index *x = make_index (p, format, virtual, got->sha256, got->size, cs_download_etag (d));
  gboolean ok = cs_store_commit (t, x, err);
  cs_index_free (x);
  if (!ok)
    return FALSE;
  p->result.sha256 = g_strdup (got->sha256);
  p->result.format = g_strdup (format);
  p->result.size = got->size;
  return TRUE;
}

/* The same bytes under another name of the store: copied, and checked while they are. */
static gboolean
copy_local (struct pull *p)
{
  g_autoptr (GPtrArray) all = p->want->sha256 != NULL && !p->o->force ? cs_store_list (NULL) : NULL;
  for (guint i = 0; all != NULL && i < all->len; i++) {
    const struct cs_image *im = g_ptr_array_index (all, i);
    if (!same_text (im->index->sha256, p->want->sha256) || im->index->format == NULL ||
        strcmp (im->name, p->as) == 0)
      continue;
    cs_autofd int in = open (im->path, O_RDONLY | O_CLOEXEC);
    struct cs_store_txn *t = in >= 0 ? cs_store_begin (p->as, p->o->suffix, NULL) : NULL;
    if (t == NULL)
      continue;
    g_autofree char *sum = NULL;
    if (ftruncate (t->fd, (off_t) im->file_size) == 0 &&
        cs_copy_range (in, 0, t->fd, 0, im->file_size, im->path, t->path, NULL))
      sum = cs_sha256_file (t->fd, t->path, NULL);
    if (g_strcmp0 (sum, p->want->sha256) != 0 || !check_known (p, sum, NULL)) {
      cs_store_abort (t);
      continue;
    }
    struct cs_index *x = make_index (p, im->index->format, im->index->size, sum, im->file_size,
                                     p->file->etag);
    gboolean ok = cs_store_commit (t, x, NULL);
    cs_index_free (x);
    if (!ok)
      continue;
    cs_info ("the same image is here as %s; copied", im->name);
    p->result.sha256 = g_steal_pointer (&sum);
    p->result.format = g_strdup (im->index->format);
    p->result.size = im->file_size;
    return TRUE;
  }
  return FALSE;
}

/* ---- fetching ---- */

static gboolean
fetch_once (struct pull *p, struct cs_download *d, GError **err)
{
  struct capstan_part part;
  const struct capstan_part *parts[] = { &part, NULL };
  struct capstan_fetch_req q = { .struct_size = sizeof q, .ref = p->entry->entry.ref, .parts = parts };
  GError *e = NULL;
  cs_download_part (d, &part);
  gboolean ok = cs_rp_fetch (p->r->rp, &q, cs_download_sink (d), &e);
  const GError *own = cs_download_stop (d);
  if (own != NULL) { /* in its own words; a plugin may have put others over them */
    g_clear_error (&e);
    e = g_error_copy (own);
  } else if (ok && cs_download_result (d)->sha256 == NULL)
    cs_fail (&e, CAPSTAN_E_INTERNAL, "%s: the plugin %s sent no whole file and gave no reason", p->label,
             cs_rp_name (p->r->rp));
  if (e == NULL)
    return TRUE;
  g_propagate_error (err, e);
  return FALSE;
}

static gboolean
fetch (struct pull *p, struct cs_download *d, GError **err)
{
  struct cs_retry t = { 0 };
  gboolean anew = FALSE;
  for (;;) {
    GError *e = NULL;
    if (fetch_once (p, d, &e))
      return TRUE;
    int code = e->code;
    if (code == CAPSTAN_E_CHECKSUM || code == CAPSTAN_E_LIMIT || code == CAPSTAN_E_UNTRUSTED) {
      gboolean resumed = cs_download_resumed (d);
      cs_download_discard (d); /* nothing of it can be believed */
      if (resumed && !anew && code == CAPSTAN_E_CHECKSUM) {
        cs_info ("%s; what was here from an earlier download is thrown away", e->message);
        g_clear_error (&e);
        anew = TRUE;
        continue;
      }
    }
    if (!cs_retry (&t, p->r, cs_download_got (d), &e)) {
      g_propagate_error (err, e);
      return FALSE;
    }
  }
}

static gboolean
download (struct pull *p, GError **err)
{
  gboolean waited = FALSE;
  struct cs_download *d = cs_download_open (cs_repo_url (p->r), p->file->path, p->label, p->want, &waited, err);
  if (d == NULL)
    return FALSE;
  if (waited && is_here (p)) { /* the other one has brought it */
    cs_download_free (d);
    p->result.was_here = TRUE;
    return TRUE;
  }
  guint64 total = p->want->wire_size != 0 ? p->want->wire_size
                  : p->file->wire_size != UINT64_MAX ? p->file->wire_size : 0;
  cs_progress_begin (p->label, total, cs_download_got (d));
  if (cs_download_got (d) > 0) {
    g_autofree char *have = cs_size_format (cs_download_got (d));
    cs_info ("%s: going on after %s", p->label, have);
  }
  gboolean ok = fetch (p, d, err);
  cs_progress_end ();
  if (ok) {
    ok = commit (p, d, err);
    cs_download_discard (d); /* it is in the store, or it must not be */
  }
  cs_download_free (d);
  return ok;
}

/* An upload may have come between index.yaml and the image: then both are read again. */
static gboolean
is_other_now (struct pull *p)
{
  g_autofree char *before = cs_manifest_text (p->m);
  g_autofree char *etag = g_strdup (p->entry->entry.etag);
  g_autoptr (GError) err = NULL;
  if (!look (p, &err))
    return FALSE;
  g_autofree char *after = cs_manifest_text (p->m);
  return strcmp (before, after) != 0 || g_strcmp0 (etag, p->entry->entry.etag) != 0;
}

/* The image is here: a pull that was killed after it came has left its folder. */
static gboolean
was_here (struct pull *p)
{
  cs_download_forget (cs_repo_url (p->r), p->file->path);
  p->result.was_here = TRUE;
  return TRUE;
}

static gboolean
pull_here (struct pull *p, GError **err)
{
  enum { TRIES = 3 };
  if (!p->o->force && is_here (p))
    return was_here (p);
  if (copy_local (p))
    return TRUE;
  for (guint n = 1;; n++) {
    GError *e = NULL;
    if (download (p, &e))
      return TRUE;
    gboolean again = e->code == CAPSTAN_E_CHECKSUM && n < TRIES && is_other_now (p);
    if (!again) {
      g_propagate_error (err, e);
      return FALSE;
    }
    cs_info ("%s changed meanwhile; trying again", p->label);
    g_error_free (e);
  }
}

static gboolean
finish (struct pull *p, GError **err)
{
  const struct cs_index *x = p->m->index;
  struct cs_pulled *q = &p->result;
  q->name = g_strdup (p->as);
  q->url = g_strdup (cs_repo_url (p->r));
  q->version = g_strdup (x->version);
  g_autofree char *size = cs_size_format (q->size);
  if (q->was_here)
    cs_info ("%s is up to date (%s)", p->as, cs_repo_url (p->r));
  else
    cs_info ("pulled %s: %s, %s, sha256 %s, from %s", p->as, q->format, size, q->sha256, q->url);
  return q->sha256 == NULL || cs_known_put (q->url, p->o->name, p->o->suffix, q->sha256, x->version,
                                            x->created, err);
}

static gboolean
pull_from (const struct cs_repo_conf *c, const struct cs_pull_opts *o, struct cs_pulled *ret, GError **err)
{
  struct cs_repo_conf own = *c;
  g_autofree char *url = c->append_name ? g_strconcat (c->url, o->name, NULL) : NULL;
  if (url != NULL)
    own.url = url;
  g_autoptr (cs_repo) r = cs_repo_open (&own, o->retries, err);
  struct pull p = { .r = r, .o = o, .as = o->as != NULL ? o->as : o->name };
  if (r == NULL)
    return FALSE;
  gboolean ok = look (&p, err) && pull_here (&p, err) && finish (&p, err);
  pull_clear (&p);
  if (ok && ret != NULL)
    *ret = p.result;
  else
    cs_pulled_clear (&p.result);
  return ok;
}

gboolean
cs_pull (GPtrArray *repos, const struct cs_pull_opts *o, struct cs_pulled *ret, GError **err)
{
  g_autoptr (GString) why = g_string_new (NULL);
  const char *slash = strchr (o->name, '/');
  gboolean owner_name = slash != NULL && strchr (slash + 1, '/') == NULL;
  if (!cs_name_check ("image name", o->name, TRUE, err) ||
      (o->as != NULL && !cs_name_check ("image name", o->as, FALSE, err)))
    return FALSE;
  for (guint i = 0; i < repos->len; i++) {
    const struct cs_repo_conf *c = g_ptr_array_index (repos, i);
    GError *e = NULL;
    if (c->append_name && !owner_name)
      continue;
    if (pull_from (c, o, ret, &e))
      return TRUE;
    /* of several, those that do not have it or cannot be asked here are passed over */
    if (repos->len == 1 || (e->code != CAPSTAN_E_NOTFOUND && e->code != CAPSTAN_E_UNSUPPORTED)) {
      g_propagate_error (err, e);
      return FALSE;
    }
    g_string_append_printf (why, "%s%s", why->len > 0 ? "; " : "", e->message);
    g_error_free (e);
  }
  return cs_fail (err, CAPSTAN_E_NOTFOUND, "%s", why->len > 0 ? why->str
                  : "no repository is to be asked: --repo, or capstan repo add NAME URL");
}

/* ---- for build and run ---- */

static const struct cs_repo_choice *choice;

void
cs_pull_choice (const struct cs_repo_choice *c)
{
  choice = c;
}

gboolean
cs_pull_missing (const char *name, const char *suffix, GError **err)
{
  static const struct cs_repo_choice nothing;
  g_autoptr (GPtrArray) repos = cs_repo_choose (choice != NULL ? choice : &nothing, err);
  struct cs_pull_opts o = { .name = name, .suffix = suffix, .retries = 1 };
  if (repos == NULL)
    return FALSE;
  /* a base that is made here is not what others publish under its name */
  if (repos->len > 1 && strcmp (name, "linux") == 0)
    g_ptr_array_set_size (repos, 0);
  if (repos->len == 0)
    return cs_fail (err, CAPSTAN_E_NOTFOUND, "'%s' is not here, and no repository is to be asked", name);
  cs_info ("%s is not here; looking for it in %s", name,
           ((struct cs_repo_conf *) g_ptr_array_index (repos, 0))->url);
  return cs_pull (repos, &o, NULL, err);
}
