/* From a repository into the store. SPDX-License-Identifier: BSD-3-Clause */
#include "config.h"
#include "core/repo/pull.h"
#include "core/base/error.h"
#include "core/base/progress.h"
#include "core/base/util.h"
#include "core/repo/download.h"
#include <string.h>

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
  if (waited && cs_pull_is_here (p)) { /* the other one has brought it */
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
    ok = cs_pull_commit (p, d, err);
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
  if (!p->o->force && cs_pull_is_here (p))
    return was_here (p);
  if (cs_pull_copy (p))
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
