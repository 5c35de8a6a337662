/* SPDX-License-Identifier: BSD-3-Clause */
#include "config.h"
#include "core/kit/streams.h"
#include "core/base/cancel.h"
#include "core/base/error.h"
#include <string.h>

enum { IMAGE_SIZE = 1 << 20, HOLE = 0 };

/* ---- the sink ---- */

static struct kit_sink *
sink_of (struct capstan_sink *s)
{
  return (struct kit_sink *) (void *) s; /* its first member */
}

static gboolean
sink_begin (struct capstan_sink *base, const struct capstan_file *f, guint64 *ret_offset, GError **err)
{
  struct kit_sink *s = sink_of (base);
  s->begun++;
  if (s->fail_begin)
    return cs_fail (err, CAPSTAN_E_QUOTA, KIT_FULL);
  s->resumed = s->part->offset > 0 && g_strcmp0 (f->etag, s->part->etag) == 0 && f->etag != NULL &&
               !g_str_has_prefix (f->etag, "W/");
  s->at = s->resumed ? s->part->offset : 0;
  g_byte_array_set_size (s->got, (guint) s->at);
  *ret_offset = s->at;
  return TRUE;
}

static gboolean
sink_put (struct kit_sink *s, guint64 at, const void *p, gsize n, GError **err)
{
  if (s->cancel)
    cs_cancel ();
  if (s->fail_write || at + n > (64 << 20))
    return cs_fail (err, CAPSTAN_E_QUOTA, KIT_FULL);
  g_mutex_lock (&s->mutex);
  if (s->got->len < at + n) {
    guint old = s->got->len;
    g_byte_array_set_size (s->got, (guint) (at + n));
    memset (s->got->data + old, HOLE, (gsize) (at + n) - old);
  }
  if (p != NULL && n > 0)
    memcpy (s->got->data + at, p, n);
  g_mutex_unlock (&s->mutex);
  return TRUE;
}

static gboolean
sink_write (struct capstan_sink *base, const void *p, gsize n, GError **err)
{
  struct kit_sink *s = sink_of (base);
  if (!sink_put (s, s->at, p, n, err))
    return FALSE;
  s->at += n;
  return TRUE;
}

static gboolean
sink_pwrite (struct capstan_sink *base, guint64 off, const void *p, gsize n, GError **err)
{
  return sink_put (sink_of (base), off, p, n, err);
}

static gboolean
sink_hole (struct capstan_sink *base, guint64 n, GError **err)
{
  struct kit_sink *s = sink_of (base);
  if (!sink_put (s, s->at, NULL, n, err))
    return FALSE;
  s->at += n;
  return TRUE;
}

static gboolean
sink_end (struct capstan_sink *base, GError **err)
{
  sink_of (base)->ended++;
  return TRUE;
}

struct kit_sink *
kit_sink_new (void)
{
  static const struct cs_sink_ops ops = { sink_begin, sink_write, sink_pwrite, sink_hole, sink_end };
  struct kit_sink *s = g_new0 (struct kit_sink, 1);
  s->base.ops = &ops;
  s->got = g_byte_array_new ();
  g_mutex_init (&s->mutex);
  return s;
}

void
kit_sink_free (struct kit_sink *s)
{
  g_byte_array_unref (s->got);
  g_mutex_clear (&s->mutex);
  g_free (s);
}

/* ---- the source ---- */

static struct kit_source *
source_of (struct capstan_source *s)
{
  return (struct kit_source *) (void *) s; /* its first member */
}

static const struct capstan_file *
source_file (struct capstan_source *base, guint i)
{
  return i < 2 ? &source_of (base)->files[i] : NULL;
}

/* In the middle, where it is to fail, it also gives out what is before that. */
static gssize
source_pread (struct capstan_source *base, guint i, guint64 off, void *buf, gsize n, GError **err)
{
  struct kit_source *s = source_of (base);
  const GByteArray *b = s->bytes[i];
  guint64 len = b->len;
  if (i == 0 && (s->fail || s->cancel) && off + n > len / 2) {
    if (s->cancel)
      cs_cancel ();
    else if (off >= len / 2 || off + n >= len)
      return cs_fail (err, CAPSTAN_E_IO, KIT_UNREADABLE) ? 0 : -1;
  }
  if (off >= len)
    return 0;
  n = MIN (n, (gsize) (len - off));
  memcpy (buf, b->data + off, n);
  return (gssize) n;
}

static const char *
state_get (struct capstan_source *base, const char *key)
{
  struct kit_source *s = source_of (base);
  g_mutex_lock (&s->mutex);
  const char *v = g_hash_table_lookup (s->state, key);
  g_mutex_unlock (&s->mutex);
  return v;
}

static gboolean
state_put (struct capstan_source *base, const char *key, const char *value, GError **err)
{
  struct kit_source *s = source_of (base);
  g_mutex_lock (&s->mutex);
  if (value != NULL)
    g_hash_table_replace (s->state, g_strdup (key), g_strdup (value));
  else
    g_hash_table_remove (s->state, key);
  g_mutex_unlock (&s->mutex);
  return TRUE;
}

static void
fill (struct kit_source *s)
{
  guint n = IMAGE_SIZE + 4096 * (guint) g_random_int_range (0, 16) + 512;
  g_byte_array_set_size (s->bytes[0], n);
  for (guint i = 0; i < n; i += 4) {
    guint32 r = g_random_int ();
    memcpy (s->bytes[0]->data + i, &r, 4);
  }
  memcpy (s->bytes[0]->data + 510, "\125\252", 2);
  memset (s->bytes[0]->data + IMAGE_SIZE / 2, HOLE, IMAGE_SIZE / 8); /* may be sent as a hole */
  g_autofree char *digest = g_compute_checksum_for_data (G_CHECKSUM_SHA256, s->bytes[0]->data, n);
  g_autofree char *index = g_strdup_printf (
      "format_version: \"1\"\nversion: \"1\"\ncreated: 2024-01-01 00:00\n"
      "description: \"made by capstan plugin test, and taken away by it\"\nbuild: \"\"\nsha256: \"%s\"\n", digest);
  g_byte_array_set_size (s->bytes[1], 0);
  g_byte_array_append (s->bytes[1], (const guint8 *) index, (guint) strlen (index));
  static const char *const roles[] = { "image", "index" };
  for (guint i = 0; i < 2; i++) {
    g_autofree char *hex = g_compute_checksum_for_data (G_CHECKSUM_SHA256, s->bytes[i]->data, s->bytes[i]->len);
    g_strlcpy (s->sha256[i], hex, sizeof s->sha256[i]);
    s->files[i] = (struct capstan_file) { .struct_size = sizeof s->files[i], .path = s->paths[i],
      .role = roles[i], .format = i == 0 ? "raw" : NULL, .sha256 = s->sha256[i],
      .wire_sha256 = s->sha256[i], .size = s->bytes[i]->len, .wire_size = s->bytes[i]->len };
    s->list[i] = &s->files[i];
  }
  g_hash_table_remove_all (s->state); /* it is of the bytes that were */
}

void
kit_source_change (struct kit_source *s)
{
  fill (s);
}

struct kit_source *
kit_source_new (const char *name, const char *suffix)
{
  static const struct cs_source_ops ops = { source_file, source_pread, state_get, state_put };
  struct kit_source *s = g_new0 (struct kit_source, 1);
  const char *slash = strrchr (name, '/');
  s->base.ops = &ops;
  s->paths[0] = g_strdup_printf ("%s/%s.%s", name, slash != NULL ? slash + 1 : name, suffix);
  s->paths[1] = g_strdup_printf ("%s/index.yaml", name);
  s->state = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, g_free);
  g_mutex_init (&s->mutex);
  for (guint i = 0; i < 2; i++)
    s->bytes[i] = g_byte_array_new ();
  fill (s);
  return s;
}

void
kit_source_free (struct kit_source *s)
{
  for (guint i = 0; i < 2; i++) {
    g_byte_array_unref (s->bytes[i]);
    g_free (s->paths[i]);
  }
  g_hash_table_unref (s->state);
  g_mutex_clear (&s->mutex);
  g_free (s);
}
