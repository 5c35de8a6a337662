/* From the store into a repository. SPDX-License-Identifier: BSD-3-Clause
 *
 * What an interrupted push leaves in cache/push/<key>, for the next one: "wire", the
 * compressed image; "push", which image it is of, with its digests; "state", what the plugin
 * wants to know again (an upload id). */
#include "config.h"
#include "core/repo/room.h"
#include "core/base/digest.h"
#include "core/base/error.h"
#include "core/base/progress.h"
#include "core/base/util.h"
#include "core/repo/source.h"
#include "core/repo/stream.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

struct push {
  struct cs_repo *r;
  const struct cs_push_opts *o;
  const char *as;
  struct cs_image *im;
  int fd;             /* the image */
  const char *format; /* of it */
  guint64 virtual;
  char *encoding;     /* NULL: as it is */
  char *dir, *wire_path, *record_path;
  int lock, wire;     /* wire: what is sent */
  struct cs_packed packed;
  struct cs_entry *entry; /* what lies there now, or NULL */
  struct cs_manifest *there;
};

static void
push_clear (struct push *p)
{
  cs_image_free (p->im);
  if (p->wire != p->fd)
    cs_close_fd (&p->wire);
  cs_close_fd (&p->fd);
  cs_close_fd (&p->lock);
  g_free (p->encoding);
  g_free (p->dir);
  g_free (p->wire_path);
  g_free (p->record_path);
  cs_entry_free (p->entry);
  cs_manifest_free (p->there);
}

/* ---- what is here ---- */

static gboolean
open_image (struct push *p, GError **err)
{
  cs_autofd int lock = cs_store_lock (p->o->name, FALSE, TRUE, err);
  p->im = lock >= 0 ? cs_store_find (p->o->name, p->o->suffix, err) : NULL;
  if (p->im == NULL)
    return FALSE;
  /* a later build replaces the file and leaves this one as it is */
  p->fd = open (p->im->path, O_RDONLY | O_CLOEXEC);
  if (p->fd < 0)
    return cs_fail_errno (err, "open %s", p->im->path);
  p->format = cs_image_check (p->fd, p->im->path, p->im->index->format, &p->virtual, err);
  return p->format != NULL;
}

static gboolean
choose_encoding (struct push *p, GError **err)
{
  g_auto (GStrv) takes = g_strsplit_set (cs_rp_encodings (p->r->rp), ", ", 0);
  const char *e = p->o->compress != NULL ? p->o->compress : takes[0] != NULL ? takes[0] : "none";
  if (!g_strv_contains ((const char *const *) takes, e))
    return cs_fail (err, CAPSTAN_E_UNSUPPORTED, "%s takes no images with --compress %s (%s)",
                    cs_repo_url (p->r), e, cs_rp_encodings (p->r->rp));
  if (strcmp (e, "gzip") != 0 && strcmp (e, "zstd") != 0 && strcmp (e, "none") != 0)
    return cs_fail (err, CAPSTAN_E_UNSUPPORTED, "the plugin %s likes the encoding '%s', which is not "
                    "known here: --compress none|gzip|zstd", cs_rp_name (p->r->rp), e);
  p->encoding = strcmp (e, "none") != 0 ? g_strdup (e) : NULL;
  return TRUE;
}

/* ---- what lies there ---- */

static gboolean
look (struct push *p, GError **err)
{
  g_autoptr (GError) e = NULL;
  cs_entry_free (p->entry);
  cs_manifest_free (p->there);
  p->there = NULL;
  p->entry = cs_repo_resolve (p->r, p->as, NULL, p->o->suffix, &e);
  if (p->entry != NULL)
    p->there = cs_repo_manifest (p->r, p->entry, err);
  else if (e->code == CAPSTAN_E_NOTFOUND)
    p->there = cs_manifest_parse (NULL, 0, "", err);
  else
    g_propagate_error (err, g_steal_pointer (&e));
  if (p->there != NULL)
    cs_index_select (p->there->index, p->o->suffix);
  return p->there != NULL;
}

static gboolean
has_image (const struct push *p)
{
  const struct capstan_file *const *f = p->entry != NULL ? p->entry->entry.files : NULL;
  for (; f != NULL && *f != NULL; f++)
    if (g_strcmp0 ((*f)->role, "image") == 0)
      return TRUE;
  return FALSE;
}

static const char *
digest_there (const struct push *p)
{
  const struct cs_wire *w = cs_manifest_wire (p->there, p->o->suffix);
  return w != NULL ? w->sha256 : g_hash_table_size (p->there->files) == 0 ? p->there->index->sha256 : NULL;
}

/* The same image, as it is to lie there? */
static gboolean
is_there (const struct push *p, const char *sha256)
{
  const struct cs_wire *w = cs_manifest_wire (p->there, p->o->suffix);
  const char *a = p->im->index->version, *b = p->there->index->version;
  return has_image (p) && w != NULL && g_strcmp0 (w->sha256, sha256) == 0 &&
         (p->o->compress == NULL || g_strcmp0 (w->encoding, p->encoding) == 0) &&
         strcmp (a != NULL ? a : "", b != NULL ? b : "") == 0;
}

/* Not over what somebody else has put there. */
static gboolean
check_known (const struct push *p, GError **err)
{
  struct cs_known k = { 0 };
  const char *there = digest_there (p);
  if (!has_image (p) || p->o->force)
    return TRUE;
  gboolean known = cs_known_get (cs_repo_url (p->r), p->as, p->o->suffix, &k);
  gboolean same = known && (there == NULL || strcmp (there, k.sha256) == 0);
  cs_known_clear (&k);
  if (same)
    return TRUE;
  return cs_fail (err, CAPSTAN_E_CONFLICT,
                  "%s has an image '%s' that was %s%s%s; pull it (--as keeps yours), or replace it with "
                  "--force", cs_repo_url (p->r), p->as,
                  known ? "changed since it was last pulled or pushed from here"
                        : "not pulled or pushed from here",
                  there != NULL ? ": sha256 " : "", there != NULL ? there : "");
}

/* ---- what is sent ---- */

static gboolean
take_dir (struct push *p, GError **err)
{
  g_autofree char *id = g_strjoin ("\n", cs_repo_url (p->r), p->as, p->o->suffix,
                                   p->encoding != NULL ? p->encoding : "", NULL);
  g_autofree char *sum = cs_key (id);
  g_autofree char *label = g_strdup_printf ("%s to %s", p->as, cs_repo_url (p->r));
  g_autofree char *lock = g_strconcat ("push-", sum, NULL);
  gboolean waited = FALSE;
  p->lock = cs_lock_wait (lock, label, &waited, err);
  p->dir = cs_root_path ("cache", "push", sum, NULL);
  p->wire_path = g_build_filename (p->dir, "wire", NULL);
  p->record_path = g_build_filename (p->dir, "push", NULL);
  return p->lock >= 0 && cs_mkdirs (p->dir, 0755, err);
}

/* A line that names the image file as it is now. */
static char *
identity (const struct push *p, const struct stat *st)
{
  return g_strdup_printf ("%s %" G_GUINT64_FORMAT ":%" G_GUINT64_FORMAT ":%" G_GINT64_FORMAT
                          ":%" G_GINT64_FORMAT ".%09ld", p->im->path, (guint64) st->st_dev,
                          (guint64) st->st_ino, (gint64) st->st_size, (gint64) st->st_mtim.tv_sec,
                          st->st_mtim.tv_nsec);
}

static gboolean
reuse (struct push *p, const char *id)
{
  struct stat st;
  struct cs_packed *k = &p->packed;
  g_autofree char *text = cs_read_file (p->record_path, 64 * 1024, NULL, NULL);
  g_auto (GStrv) l = g_strsplit (text != NULL ? text : "", "\n", 0);
  if (g_strv_length (l) < 7 || strcmp (l[0], id) != 0 || strlen (l[1]) != 64 || strlen (l[2]) != 64)
    return FALSE;
  g_strlcpy (k->sha256, l[1], sizeof k->sha256);
  g_strlcpy (k->wire_sha256, l[2], sizeof k->wire_sha256);
  k->size = g_ascii_strtoull (l[3], NULL, 10);
  k->wire_size = g_ascii_strtoull (l[4], NULL, 10);
  k->stored = g_ascii_strtoull (l[5], NULL, 10);
  if (p->encoding == NULL)
    return TRUE;
  p->wire = open (p->wire_path, O_RDONLY | O_CLOEXEC);
  return p->wire >= 0 && fstat (p->wire, &st) == 0 && (guint64) st.st_size == k->wire_size;
}

/* Compressed once, into a file, so that it can be sent in any order and again. */
static gboolean
prepare (struct push *p, GError **err)
{
  struct stat st;
  if (fstat (p->fd, &st) != 0)
    return cs_fail_errno (err, "stat %s", p->im->path);
  g_autofree char *id = identity (p, &st);
  g_autofree char *label = g_strdup_printf ("%s %s", p->encoding != NULL ? "compressing" : "reading", p->im->name);
  if (p->encoding == NULL)
    p->wire = p->fd;
  if (reuse (p, id)) {
    cs_debug ("%s: going on with what an earlier push has prepared", p->as);
    return TRUE;
  }
  if (p->encoding != NULL) {
    cs_close_fd (&p->wire);
    p->wire = open (p->wire_path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (p->wire < 0)
      return cs_fail_errno (err, "create %s", p->wire_path);
  }
  unlink (p->record_path);
  cs_progress_begin (label, (guint64) st.st_size, 0);
  gboolean ok = cs_pack (p->fd, p->im->path, p->encoding, p->wire, p->wire_path, &p->packed, err);
  cs_progress_end ();
  if (!ok) {
    unlink (p->wire_path);
    return FALSE;
  }
  g_autofree char *text = g_strdup_printf (
      "%s\n%s\n%s\n%" G_GUINT64_FORMAT "\n%" G_GUINT64_FORMAT "\n%" G_GUINT64_FORMAT "\n%s\n", id,
      p->packed.sha256, p->packed.wire_sha256, p->packed.size, p->packed.wire_size, p->packed.stored,
      cs_repo_url (p->r));
  return cs_write_file (p->record_path, text, strlen (text), 0600, err);
}

static struct cs_manifest *
make_manifest (const struct push *p, const char *file)
{
  struct cs_manifest *m = cs_manifest_parse (NULL, 0, "", NULL);
  cs_index_free (m->index);
  m->index = cs_index_copy (p->im->index);
  struct cs_index *x = m->index, *old = cs_index_copy (p->there->index);
  cs_index_add (x, old, p->o->suffix); /* what is said of images for other hypervisors stays */
  cs_index_free (old);
  g_free (x->suffix);
  x->suffix = g_strdup (p->o->suffix);
  for (guint i = x->other->len; i-- > 0;)
    if (cs_index_line_is_local (x->other->pdata[i]))
      g_ptr_array_remove_index (x->other, i);
  g_free (x->sha256);
  g_free (x->format);
  x->sha256 = g_strdup (p->packed.sha256);
  x->format = g_strdup (p->format);
  x->size = p->virtual;
  GHashTableIter it; /* and so do those images */
  gpointer suffix, wire;
  g_hash_table_iter_init (&it, p->there->files);
  while (g_hash_table_iter_next (&it, &suffix, &wire))
    g_hash_table_insert (m->files, g_strdup (suffix), cs_wire_copy (wire));
  struct cs_wire *w = cs_wire_new ();
  w->file = g_strdup (file);
  w->encoding = g_strdup (p->encoding);
  w->format = g_strdup (p->format);
  w->sha256 = g_strdup (p->packed.sha256);
  w->wire_sha256 = g_strdup (p->packed.wire_sha256);
  w->size = p->packed.size;
  w->wire_size = p->packed.wire_size;
  w->stored = p->packed.stored;
  g_hash_table_insert (m->files, g_strdup (p->o->suffix), w);
  return m;
}

/* ---- sending ---- */

static gboolean
send (struct push *p, struct cs_source *s, struct cs_pushed *ret, GError **err)
{
  struct cs_retry t = { 0 };
  struct capstan_kv kv = { "suffix", p->o->suffix };
  struct capstan_entry e = { .struct_size = sizeof e, .name = p->as, .arch = "x86_64", .kind = "image",
    .version = p->im->index->version, .format = p->format, .sha256 = p->packed.sha256,
    .size = p->packed.size, .created = INT64_MIN, .files = cs_source_files (s) };
  g_autofree char *message = p->o->message != NULL ? g_strdup (p->o->message)
                                                   : g_strdup_printf ("%s %s", p->as, p->packed.sha256);
  struct capstan_push_req q = { .struct_size = sizeof q, .entry = &e, .message = message,
    .if_match = p->entry != NULL ? p->entry->entry.etag : NULL,
    .if_none_match = p->entry == NULL ? "*" : NULL, .params = &kv, .n_params = 1 };
  for (;;) {
    GError *why = NULL;
    if (cs_rp_push (p->r->rp, &q, cs_source_base (s), ret, &why))
      return TRUE;
    if (why->code == CAPSTAN_E_CONFLICT) {
      /* an answer that was lost, or the same image from elsewhere */
      if (look (p, NULL) && is_there (p, p->packed.sha256)) {
        g_error_free (why);
        return TRUE;
      }
      g_prefix_error (&why, "'%s' was changed by somebody else meanwhile, and stays as it is now: ", p->as);
    }
    if (!cs_retry (&t, p->r, 0, &why)) {
      g_propagate_error (err, why);
      return FALSE;
    }
  }
}

static gboolean
upload (struct push *p, GError **err)
{
  g_autofree char *base = g_path_get_basename (p->as);
  g_autofree char *file = g_strdup_printf ("%s.%s%s", base, p->o->suffix, cs_encoding_suffix (p->encoding));
  struct cs_manifest *m = make_manifest (p, file);
  g_autofree char *text = cs_manifest_text (m);
  const struct cs_wire *w = cs_manifest_wire (m, p->o->suffix);
  struct cs_source *s = cs_source_new (p->wire, p->encoding != NULL ? p->wire_path : p->im->path, p->as, w,
                                       text, p->dir);
  g_autofree char *label = g_strdup_printf ("%s to %s", p->as, cs_repo_url (p->r));
  struct cs_pushed done = { 0 };
  cs_progress_begin (label, p->packed.wire_size + strlen (text), 0);
  gboolean ok = send (p, s, &done, err);
  cs_progress_end ();
  cs_source_free (s);
  cs_pushed_clear (&done);
  cs_manifest_free (m);
  return ok;
}

static gboolean
push (struct push *p, gboolean *ret_was_there, GError **err)
{
  *ret_was_there = FALSE;
  if (!open_image (p, err) || !choose_encoding (p, err) || !take_dir (p, err) || !look (p, err))
    return FALSE;
  if (has_image (p) && digest_there (p) != NULL) { /* is anything to be done at all? */
    cs_progress_begin (p->im->name, p->im->file_size, 0);
    g_autofree char *sum = cs_sha256_file (p->fd, p->im->path, err);
    cs_progress_end ();
    if (sum == NULL)
      return FALSE;
    *ret_was_there = is_there (p, sum);
    g_strlcpy (p->packed.sha256, sum, sizeof p->packed.sha256);
    if (*ret_was_there)
      return TRUE;
  }
  return check_known (p, err) && prepare (p, err) && upload (p, err);
}

gboolean
cs_push (struct cs_repo *r, const struct cs_push_opts *o, struct cs_pulled *ret, GError **err)
{
  struct push p = { .r = r, .o = o, .as = o->as != NULL ? o->as : o->name, .fd = -1, .wire = -1, .lock = -1 };
  gboolean was_there = FALSE;
  if (!(cs_rp_bits (r->rp) & CAPSTAN_REPO_PUSH))
    return cs_fail (err, CAPSTAN_E_UNSUPPORTED, "%s can only be read", cs_repo_url (r));
  gboolean ok = push (&p, &was_there, err);
  if (ok) {
    const struct cs_index *x = p.im->index;
    g_autofree char *size = cs_size_format (p.packed.wire_size);
    if (was_there)
      cs_info ("%s is there already (%s)", p.as, cs_repo_url (r));
    else
      cs_info ("pushed %s: %s%s%s, sha256 %s, to %s", p.as, size, p.encoding != NULL ? " of " : "",
               p.encoding != NULL ? p.encoding : "", p.packed.sha256, cs_repo_url (r));
    *ret = (struct cs_pulled){ g_strdup (p.as), g_strdup (cs_repo_url (r)), g_strdup (x->version),
                               g_strdup (p.packed.sha256), g_strdup (p.format), p.im->file_size, was_there };
    ok = cs_known_put (cs_repo_url (r), p.as, o->suffix, p.packed.sha256, x->version, x->created, err);
    cs_rmtree (p.dir, NULL); /* nothing to go on with */
  } else if (p.dir != NULL)
    rmdir (p.dir); /* if it is empty */
  push_clear (&p);
  return ok;
}
