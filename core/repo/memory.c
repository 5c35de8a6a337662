/* Small files of a repository into memory. SPDX-License-Identifier: BSD-3-Clause */
#include "config.h"
#include "core/repo/download.h"
#include "core/base/error.h"
#include <string.h>

struct cs_memory {
  struct capstan_sink sink;
  gsize max;
  GMutex mutex;
  GByteArray *now;  /* the one that comes, or NULL */
  char *path;
  GPtrArray *files; /* of GBytes */
};

static struct cs_memory *
self (struct capstan_sink *s)
{
  return (struct cs_memory *) s; /* its first member */
}

static gboolean
begin (struct capstan_sink *s, const struct capstan_file *f, guint64 *ret_offset, GError **err)
{
  struct cs_memory *m = self (s);
  if (m->now != NULL)
    g_byte_array_unref (m->now);
  m->now = g_byte_array_new ();
  g_free (m->path);
  m->path = g_strdup (f->path != NULL ? f->path : "a file");
  *ret_offset = 0;
  return TRUE;
}

static gboolean
put (struct cs_memory *m, guint64 off, const void *buf, gsize n, GError **err)
{
  if (m->now == NULL)
    return cs_fail (err, CAPSTAN_E_INVAL, "bytes came before sink_begin");
  if (off > m->max || n > m->max - off)
    return cs_fail (err, CAPSTAN_E_LIMIT, "%s is larger than %" G_GSIZE_FORMAT " bytes", m->path, m->max);
  g_mutex_lock (&m->mutex);
  guint old = m->now->len;
  if (off + n > old) {
    g_byte_array_set_size (m->now, (guint) (off + n));
    memset (m->now->data + old, 0, (gsize) (off + n) - old);
  }
  if (buf != NULL)
    memcpy (m->now->data + off, buf, n);
  g_mutex_unlock (&m->mutex);
  return TRUE;
}

static gboolean
write_next (struct capstan_sink *s, const void *buf, gsize n, GError **err)
{
  return n == 0 || put (self (s), self (s)->now != NULL ? self (s)->now->len : 0, buf, n, err);
}

static gboolean
write_at (struct capstan_sink *s, guint64 off, const void *buf, gsize n, GError **err)
{
  return n == 0 || put (self (s), off, buf, n, err);
}

static gboolean
hole (struct capstan_sink *s, guint64 n, GError **err)
{
  return n == 0 || put (self (s), self (s)->now != NULL ? self (s)->now->len : 0, NULL, (gsize) n, err);
}

static gboolean
end (struct capstan_sink *s, GError **err)
{
  struct cs_memory *m = self (s);
  if (m->now == NULL)
    return cs_fail (err, CAPSTAN_E_INVAL, "sink_end came before sink_begin");
  g_byte_array_append (m->now, (const guint8 *) "", 1); /* NUL-terminated */
  g_ptr_array_add (m->files, g_byte_array_free_to_bytes (m->now));
  m->now = NULL;
  return TRUE;
}

struct cs_memory *
cs_memory_new (gsize max)
{
  static const struct cs_sink_ops ops = { begin, write_next, write_at, hole, end };
  struct cs_memory *m = g_new0 (struct cs_memory, 1);
  m->sink.ops = &ops;
  m->max = max;
  m->files = g_ptr_array_new_with_free_func ((GDestroyNotify) g_bytes_unref);
  g_mutex_init (&m->mutex);
  return m;
}

struct capstan_sink *
cs_memory_sink (struct cs_memory *m)
{
  return &m->sink;
}

const char *
cs_memory_file (const struct cs_memory *m, guint i, gsize *ret_len)
{
  if (i >= m->files->len)
    return NULL;
  gsize n;
  const char *p = g_bytes_get_data (g_ptr_array_index (m->files, i), &n);
  *ret_len = n - 1;
  return p;
}

void
cs_memory_free (struct cs_memory *m)
{
  if (m == NULL)
    return;
  if (m->now != NULL)
    g_byte_array_unref (m->now);
  g_ptr_array_unref (m->files);
  g_free (m->path);
  g_mutex_clear (&m->mutex);
  g_free (m);
}
