/* Downloads: resumable, checked while they come. SPDX-License-Identifier: BSD-3-Clause */
#include "config.h"
#include "core/repo/room.h"
#include "core/repo/download.h"
#include "core/base/error.h"
#include "core/base/progress.h"
#include "core/base/sparse.h"
#include "core/base/util.h"
#include "core/repo/stream.h"
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

enum {
  CHUNK = 256 * 1024,
  RECORD_EACH = 1 << 20,  /* bytes between two entries into the resume record */
  FLUSH_EACH = 32 << 20,  /* the disk is to write while the net reads */
  DIGITS = 20
};
#define RESERVE (G_GUINT64_CONSTANT (16) << 20) /* of the disk, left to others */

struct range { guint64 begin, end; };

struct cs_download {
  struct capstan_sink sink;
  char *name, *url, *path, *dir, *wire_path, *image_path, *record_path;
  struct cs_wire *want, *result;
  int lock, wire, image, record;
  guint64 offset; /* what may be resumed ... */
  char *etag;     /* ... of this */
  GMutex mutex;   /* of all below */
  GCond cond;
  GThread *thread;
  guint64 prefix, next, recorded, flushed, followed;
  GArray *beyond; /* of struct range: sorted, past the prefix */
  gboolean active, ended, stop, resumed;
  GError *error;
  struct cs_unpack *unpack;
};

static struct cs_download *
self (struct capstan_sink *s)
{
  return (struct cs_download *) s; /* its first member */
}

/* ---- the thread ---- */

/* Where the file ends before the prefix, zeros were left out. */
static gboolean
follow_some (struct cs_download *d, guint8 *buf, guint64 at, gsize n, GError **err)
{
  gsize have = 0;
  while (have < n) {
    ssize_t r = pread (d->wire, buf + have, n - have, (off_t) (at + have));
    if (r < 0 && errno == EINTR)
      continue;
    if (r < 0)
      return cs_fail_errno (err, "read %s", d->wire_path);
    if (r == 0)
      break;
    have += (gsize) r;
  }
  memset (buf + have, 0, n - have);
  return cs_unpack_feed (d->unpack, buf, n, err);
}

static gpointer
follow (gpointer data)
{
  struct cs_download *d = data;
  g_autofree guint8 *buf = g_malloc (CHUNK);
  guint64 at = 0;
  g_mutex_lock (&d->mutex);
  for (;;) {
    while (d->prefix - at < CHUNK && !d->ended && !d->stop)
      g_cond_wait (&d->cond, &d->mutex);
    if (d->stop || at == d->prefix)
      break;
    gsize n = (gsize) MIN (d->prefix - at, (guint64) CHUNK);
    g_mutex_unlock (&d->mutex);
    GError *e = NULL;
    gboolean ok = follow_some (d, buf, at, n, &e);
    at += n;
    g_mutex_lock (&d->mutex);
    d->followed = at;
    if (!ok) {
      if (d->error == NULL)
        d->error = g_steal_pointer (&e);
      g_clear_error (&e);
      break;
    }
  }
  g_mutex_unlock (&d->mutex);
  return NULL;
}

static void
join (struct cs_download *d)
{
  if (d->thread == NULL)
    return;
  g_thread_join (d->thread);
  d->thread = NULL;
}

/* ---- the record ---- */

static void
record_prefix (struct cs_download *d)
{
  char text[DIGITS + 1];
  if (d->record < 0 || d->recorded == d->prefix)
    return;
  g_snprintf (text, sizeof text, "%0*" G_GUINT64_FORMAT, DIGITS, d->prefix);
  if (pwrite (d->record, text, DIGITS, 0) == DIGITS)
    d->recorded = d->prefix;
}

static void
record_read (struct cs_download *d)
{
  struct stat st;
  g_autofree char *text = cs_read_file (d->record_path, 64 * 1024, NULL, NULL);
  g_auto (GStrv) line = g_strsplit (text != NULL ? text : "", "\n", 0);
  guint64 n;
  if (g_strv_length (line) < 4 || *line[1] == '\0' || strcmp (line[2], d->url) != 0 ||
      strcmp (line[3], d->path) != 0 || stat (d->wire_path, &st) != 0 ||
      !g_ascii_string_to_unsigned (line[0], 10, 0, G_MAXINT64, &n, NULL))
    return;
  /* zeros that were left out at the end do not count in the size of the file */
  d->offset = n;
  d->etag = g_strdup (line[1]);
}

/* A new one: the prefix, the etag, and for people what it is of. */
static gboolean
record_write (struct cs_download *d, GError **err)
{
  g_autofree char *text = g_strdup_printf ("%0*" G_GUINT64_FORMAT "\n%s\n%s\n%s\n", DIGITS, d->offset,
                                           d->etag != NULL ? d->etag : "", d->url, d->path);
  cs_close_fd (&d->record);
  d->record = -1;
  if (!cs_write_file (d->record_path, text, strlen (text), 0600, err))
    return FALSE;
  d->record = open (d->record_path, O_WRONLY | O_CLOEXEC);
  d->recorded = d->offset;
  return d->record >= 0 || cs_fail_errno (err, "open %s", d->record_path);
}

/* ---- what arrives ---- */

/* [begin, end) is in the file. The mutex is held. */
static void
arrived (struct cs_download *d, guint64 begin, guint64 end)
{
  struct range r = { begin, end }, *all = (struct range *) (void *) d->beyond->data;
  guint i = d->beyond->len;
  while (i > 0 && all[i - 1].begin > begin)
    i--;
  if (i > 0 && all[i - 1].end >= begin)
    all[i - 1].end = MAX (all[i - 1].end, end);
  else
    g_array_insert_val (d->beyond, i, r);
  while (d->beyond->len > 0 && g_array_index (d->beyond, struct range, 0).begin <= d->prefix) {
    d->prefix = MAX (d->prefix, g_array_index (d->beyond, struct range, 0).end);
    g_array_remove_index (d->beyond, 0);
  }
  if (d->prefix >= d->recorded + RECORD_EACH)
    record_prefix (d);
  if (d->prefix >= d->flushed + FLUSH_EACH) {
    sync_file_range (d->wire, (off_t) d->flushed, (off_t) (d->prefix - d->flushed),
                     SYNC_FILE_RANGE_WRITE);
    d->flushed = d->prefix;
  }
  if (d->prefix - d->followed >= CHUNK) /* not for every few bytes */
    g_cond_signal (&d->cond);
}

static gboolean
usable (struct cs_download *d, guint64 end, GError **err)
{
  g_mutex_lock (&d->mutex);
  gboolean ok = d->active && d->error == NULL;
  if (!d->active)
    cs_fail (err, CAPSTAN_E_INVAL, "%s: bytes came before sink_begin or after sink_end", d->name);
  else if (d->error != NULL && err != NULL)
    *err = g_error_copy (d->error);
  g_mutex_unlock (&d->mutex);
  if (ok && d->result->wire_size != 0 && end > d->result->wire_size)
    return cs_fail (err, CAPSTAN_E_CHECKSUM, "%s: more came than the %" G_GUINT64_FORMAT
                    " bytes that it is to have", d->name, d->result->wire_size);
  return ok;
}

static gboolean
put (struct cs_download *d, guint64 off, const void *buf, gsize n, GError **err)
{
  guint64 stored = 0;
  if (n > G_MAXINT64 || off > G_MAXINT64 - n)
    return cs_fail (err, CAPSTAN_E_INVAL, "%s: bytes past the end of any file", d->name);
  if (!usable (d, off + n, err))
    return FALSE;
  /* a compressed file has no runs of zeros worth looking for */
  gboolean ok = d->result->encoding == NULL
                    ? cs_write_sparse (d->wire, buf, n, off, d->wire_path, &stored, err)
                    : cs_pwrite_all (d->wire, buf, n, off, d->wire_path, err);
  if (!ok)
    return FALSE;
  g_mutex_lock (&d->mutex);
  if (n > 0)
    arrived (d, off, off + n);
  g_mutex_unlock (&d->mutex);
  cs_progress_add (n);
  return TRUE;
}

static gboolean
sink_pwrite (struct capstan_sink *s, guint64 off, const void *buf, gsize n, GError **err)
{
  return put (self (s), off, buf, n, err);
}

static gboolean
sink_write (struct capstan_sink *s, const void *buf, gsize n, GError **err)
{
  struct cs_download *d = self (s);
  if (!put (d, d->next, buf, n, err))
    return FALSE;
  d->next += n;
  return TRUE;
}

static gboolean
sink_hole (struct capstan_sink *s, guint64 n, GError **err)
{
  struct cs_download *d = self (s);
  if (n > G_MAXINT64 - d->next)
    return cs_fail (err, CAPSTAN_E_INVAL, "%s: a hole without an end", d->name);
  if (!usable (d, d->next + n, err))
    return FALSE;
  g_mutex_lock (&d->mutex);
  if (n > 0)
    arrived (d, d->next, d->next + n);
  g_mutex_unlock (&d->mutex);
  cs_progress_add (n);
  d->next += n;
  return TRUE;
}

/* ---- begin and end ---- */

static gboolean
check_space (struct cs_download *d, GError **err)
{
  struct statvfs v;
  guint64 need = d->result->wire_size > d->offset ? d->result->wire_size - d->offset : 0;
  if (d->want->encoding == NULL && d->want->stored != 0)
    need = MIN (need, d->want->stored); /* the rest are holes */
  if (d->result->encoding != NULL)
    need += d->want->stored != 0 ? d->want->stored : d->want->size;
  if (statvfs (d->dir, &v) != 0)
    return TRUE;
  guint64 free_bytes = (guint64) v.f_bavail * v.f_frsize;
  if (need + (need > RESERVE ? RESERVE : 0) <= free_bytes)
    return TRUE;
  g_autofree char *a = cs_size_format (need), *b = cs_size_format (free_bytes);
  return cs_fail (err, CAPSTAN_E_QUOTA, "%s needs %s and %s has %s free; capstan prune and capstan "
                  "rmi make room", d->name, a, d->dir, b);
}

static gboolean
same_etag (const char *a, const char *b)
{
  return a != NULL && b != NULL && *a != '\0' && strcmp (a, b) == 0 && !g_str_has_prefix (a, "W/");
}

static gboolean
open_files (struct cs_download *d, GError **err)
{
  cs_close_fd (&d->wire);
  cs_close_fd (&d->image);
  d->image = -1;
  d->wire = open (d->wire_path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  if (d->wire < 0)
    return cs_fail_errno (err, "create %s", d->wire_path);
  struct stat st;
  /* what lies past the prefix was of pieces that had gaps before them */
  if (fstat (d->wire, &st) != 0 || ((guint64) st.st_size > d->offset && ftruncate (d->wire, (off_t) d->offset) != 0))
    return cs_fail_errno (err, "write %s", d->wire_path);
  if (d->result->encoding != NULL &&
      (d->image = open (d->image_path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644)) < 0)
    return cs_fail_errno (err, "create %s", d->image_path);
  return TRUE;
}

static void
finish_thread (struct cs_download *d)
{
  g_mutex_lock (&d->mutex);
  d->stop = TRUE;
  d->active = FALSE;
  g_cond_signal (&d->cond);
  g_mutex_unlock (&d->mutex);
  join (d);
}

static gboolean
sink_begin (struct capstan_sink *s, const struct capstan_file *f, guint64 *ret_offset, GError **err)
{
  struct cs_download *d = self (s);
  struct capstan_file file = { .size = UINT64_MAX, .wire_size = UINT64_MAX };
  memcpy (&file, f, MIN ((gsize) f->struct_size, sizeof file));
  finish_thread (d);
  g_clear_pointer (&d->unpack, cs_unpack_free);
  g_clear_error (&d->error);
  if (!same_etag (file.etag, d->etag))
    d->offset = 0;
  g_free (d->etag);
  d->etag = file.etag != NULL && strpbrk (file.etag, "\r\n") == NULL ? g_strdup (file.etag) : NULL;
  d->result->wire_size = d->want->wire_size;
  if (file.wire_size != UINT64_MAX && d->want->wire_size == 0)
    d->result->wire_size = file.wire_size;
  else if (file.wire_size != UINT64_MAX && file.wire_size != d->want->wire_size)
    return cs_fail (err, CAPSTAN_E_CHECKSUM,
                    "%s: the repository has %" G_GUINT64_FORMAT " bytes of it, and index.yaml says %"
                    G_GUINT64_FORMAT, d->name, (guint64) file.wire_size, d->want->wire_size);
  if (!check_space (d, err) || !open_files (d, err) || !record_write (d, err))
    return FALSE;
  d->unpack = cs_unpack_new (d->result->encoding, d->image, d->want->size, d->name);
  d->resumed = d->offset > 0;
  g_array_set_size (d->beyond, 0);
  d->next = d->prefix = d->flushed = d->offset;
  d->followed = 0;
  d->active = TRUE;
  d->ended = d->stop = FALSE;
  d->thread = g_thread_new ("follow", follow, d);
  cs_progress_update (d->offset);
  *ret_offset = d->offset;
  return TRUE;
}

static gboolean
check_digest (const char *name, const char *what, const char *is, const char *want, GError **err)
{
  if (want == NULL || strcmp (is, want) == 0)
    return TRUE;
  return cs_fail (err, CAPSTAN_E_CHECKSUM, "%s: sha256 of %s is %s, and index.yaml says %s", name, what,
                  is, want);
}

static gboolean
finish (struct cs_download *d, GError **err)
{
  struct cs_wire *r = d->result;
  if (d->beyond->len > 0)
    return cs_fail (err, CAPSTAN_E_NET, "%s: it has a gap after %" G_GUINT64_FORMAT " bytes", d->name,
                    d->prefix);
  if (r->wire_size != 0 && d->prefix != r->wire_size)
    return cs_fail (err, CAPSTAN_E_NET, "%s: it ended after %" G_GUINT64_FORMAT " of %" G_GUINT64_FORMAT
                    " bytes", d->name, d->prefix, r->wire_size);
  if (!cs_unpack_end (d->unpack, err) ||
      !check_digest (d->name, "what came", cs_unpack_wire_sha256 (d->unpack), d->want->wire_sha256, err) ||
      !check_digest (d->name, "the image", cs_unpack_sha256 (d->unpack), d->want->sha256, err))
    return FALSE;
  if (d->image < 0 && ftruncate (d->wire, (off_t) d->prefix) != 0) /* zeros at the end */
    return cs_fail_errno (err, "write %s", d->wire_path);
  g_free (r->sha256);
  g_free (r->wire_sha256);
  r->sha256 = g_strdup (cs_unpack_sha256 (d->unpack));
  r->wire_sha256 = g_strdup (cs_unpack_wire_sha256 (d->unpack));
  r->size = cs_unpack_size (d->unpack);
  r->stored = cs_unpack_stored (d->unpack);
  r->wire_size = d->prefix;
  return TRUE;
}

static gboolean
sink_end (struct capstan_sink *s, GError **err)
{
  struct cs_download *d = self (s);
  if (!usable (d, 0, err))
    return FALSE;
  g_mutex_lock (&d->mutex);
  d->ended = TRUE;
  d->active = FALSE;
  g_cond_signal (&d->cond);
  g_mutex_unlock (&d->mutex);
  join (d);
  record_prefix (d);
  if (d->error == NULL && finish (d, &d->error))
    return TRUE;
  if (err != NULL)
    *err = g_error_copy (d->error);
  return FALSE;
}

/* ---- its life ---- */

static const struct cs_sink_ops ops = { sink_begin, sink_write, sink_pwrite, sink_hole, sink_end };

/* The name of its folder. */
static char *
key_of (const char *url, const char *path)
{
  g_autofree char *id = g_strconcat (url, "\n", path, NULL);
  return cs_key (id);
}

struct cs_download *
cs_download_open (const char *url, const char *path, const char *name, const struct cs_wire *want,
                  gboolean *ret_waited, GError **err)
{
  struct cs_download *d = g_new0 (struct cs_download, 1);
  g_autofree char *sum = key_of (url, path);
  d->sink.ops = &ops;
  d->lock = d->wire = d->image = d->record = -1;
  g_mutex_init (&d->mutex);
  g_cond_init (&d->cond);
  d->beyond = g_array_new (FALSE, FALSE, sizeof (struct range));
  d->name = g_strdup (name);
  d->url = g_strdup (url);
  d->path = g_strdup (path);
  d->dir = cs_root_path ("cache", "pull", sum, NULL);
  d->wire_path = g_build_filename (d->dir, "wire", NULL);
  d->image_path = g_build_filename (d->dir, "image", NULL);
  d->record_path = g_build_filename (d->dir, "resume", NULL);
  d->want = cs_wire_copy (want);
  d->result = cs_wire_new ();
  d->result->encoding = g_strdup (want->encoding);
  d->result->file = g_path_get_basename (path);
  *ret_waited = FALSE;
  g_autofree char *lock = g_strconcat ("pull-", sum, NULL);
  d->lock = cs_lock_wait (lock, name, ret_waited, err);
  if (d->lock < 0 || !cs_mkdirs (d->dir, 0755, err)) {
    cs_download_free (d);
    return NULL;
  }
  record_read (d);
  return d;
}

struct capstan_sink *
cs_download_sink (struct cs_download *d)
{
  return &d->sink;
}

void
cs_download_part (struct cs_download *d, struct capstan_part *part)
{
  part->struct_size = sizeof *part;
  part->path = d->path;
  part->etag = d->offset > 0 ? d->etag : NULL;
  part->offset = d->offset;
}

const GError *
cs_download_stop (struct cs_download *d)
{
  finish_thread (d);
  record_prefix (d);
  if (d->record >= 0)
    d->offset = d->etag != NULL ? d->prefix : 0;
  return d->error;
}

guint64
cs_download_got (const struct cs_download *d)
{
  return d->record >= 0 ? d->prefix : d->offset;
}

gboolean
cs_download_resumed (const struct cs_download *d)
{
  return d->resumed;
}

const char *
cs_download_image (const struct cs_download *d)
{
  return d->image >= 0 ? d->image_path : d->wire_path;
}

const struct cs_wire *
cs_download_result (const struct cs_download *d)
{
  return d->result;
}

const char *
cs_download_etag (const struct cs_download *d)
{
  return d->etag;
}

void
cs_download_discard (struct cs_download *d)
{
  unlink (d->record_path);
  unlink (d->wire_path);
  unlink (d->image_path);
  g_clear_pointer (&d->etag, g_free);
  d->offset = 0;
  cs_close_fd (&d->record);
  d->record = -1;
}

void
cs_download_forget (const char *url, const char *path)
{
  g_autofree char *sum = key_of (url, path), *dir = cs_root_path ("cache", "pull", sum, NULL);
  if (access (dir, F_OK) != 0)
    return;
  g_autofree char *name = g_strconcat ("pull-", sum, NULL), *lock_path = cs_root_path ("locks", name, NULL);
  cs_autofd int lock = cs_lock_file (lock_path, TRUE, FALSE, NULL);
  if (lock >= 0)
    cs_rmtree (dir, NULL);
}

void
cs_download_free (struct cs_download *d)
{
  if (d == NULL)
    return;
  finish_thread (d);
  cs_unpack_free (d->unpack);
  cs_close_fd (&d->wire);
  cs_close_fd (&d->image);
  cs_close_fd (&d->record);
  if (d->lock >= 0) {
    unlink (d->image_path); /* what is decoded cannot be gone on with */
    if (d->offset == 0 || d->etag == NULL)
      cs_rmtree (d->dir, NULL);
    close (d->lock);
  }
  g_array_unref (d->beyond);
  g_clear_error (&d->error);
  g_mutex_clear (&d->mutex);
  g_cond_clear (&d->cond);
  char *texts[] = { d->name, d->url, d->path, d->dir, d->wire_path, d->image_path, d->record_path, d->etag };
  for (guint i = 0; i < G_N_ELEMENTS (texts); i++)
    g_free (texts[i]);
  cs_wire_free (d->want);
  cs_wire_free (d->result);
  g_free (d);
}
