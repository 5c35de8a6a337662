/* A pulled image and the store: is it here already, may it come in, and in it comes.
 * SPDX-License-Identifier: BSD-3-Clause */
#include "config.h"
#include "core/repo/pull.h"
#include "core/base/digest.h"
#include "core/base/error.h"
#include "core/base/util.h"
#include "core/base/yaml.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

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

gboolean
cs_pull_is_here (struct pull *p)
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

gboolean
cs_pull_commit (struct pull *p, struct cs_download *d, GError **err)
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

gboolean
cs_pull_copy (struct pull *p)
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
