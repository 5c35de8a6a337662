/* What a push reads: the image as it goes over the wire, and index.yaml.
 * SPDX-License-Identifier: BSD-3-Clause */
#include "config.h"
#include "core/repo/source.h"
#include "core/base/digest.h"
#include "core/base/error.h"
#include "core/base/util.h"
#include "core/base/yaml.h"
#include <errno.h>
#include <string.h>

enum { STATE_MAX = 1024 * 1024 };

struct cs_source {
  struct capstan_source base;
  struct cs_wire *wire;
  struct capstan_file file[2];
  const struct capstan_file *files[3];
  char *path[2], index_sum[CS_HEX_SHA256];
  int fd;
  char *fd_name, *index, *state_path;
  GMutex mutex;
  GHashTable *state; /* key -> value, as in state_path */
};

static struct cs_source *
self (struct capstan_source *s)
{
  return (struct cs_source *) s; /* its first member */
}

static const struct capstan_file *
source_file (struct capstan_source *s, guint i)
{
  return i < 2 ? &self (s)->file[i] : NULL;
}

static gssize
source_pread (struct capstan_source *base, guint i, guint64 off, void *buf, gsize n, GError **err)
{
  struct cs_source *s = self (base);
  if (off >= s->file[i].wire_size)
    return 0;
  n = (gsize) MIN ((guint64) n, s->file[i].wire_size - off);
  if (i == 1) {
    memcpy (buf, s->index + off, n);
    return (gssize) n;
  }
  for (;;) {
    gssize r = pread (s->fd, buf, n, (off_t) off);
    if (r > 0)
      return r;
    if (r < 0 && errno == EINTR)
      continue;
    if (r < 0)
      cs_fail_errno (err, "read %s", s->fd_name);
    else
      cs_fail (err, CAPSTAN_E_IO, "%s was cut short while it was sent", s->fd_name);
    return -1;
  }
}

static const char *
state_get (struct capstan_source *base, const char *key)
{
  struct cs_source *s = self (base);
  g_mutex_lock (&s->mutex);
  const char *v = g_hash_table_lookup (s->state, key);
  v = v != NULL ? g_intern_string (v) : NULL; /* another thread may replace it */
  g_mutex_unlock (&s->mutex);
  return v;
}

static gboolean
state_put (struct capstan_source *base, const char *key, const char *value, GError **err)
{
  struct cs_source *s = self (base);
  GHashTableIter it;
  gpointer k, v;
  g_autoptr (GString) text = g_string_new (NULL);
  g_mutex_lock (&s->mutex);
  if (value != NULL)
    g_hash_table_insert (s->state, g_strdup (key), g_strdup (value));
  else
    g_hash_table_remove (s->state, key);
  cs_yaml_put (text, "wire_sha256", s->wire->wire_sha256); /* it is of these bytes */
  g_hash_table_iter_init (&it, s->state);
  while (g_hash_table_iter_next (&it, &k, &v)) {
    g_autofree char *name = g_strconcat ("x-", k, NULL);
    cs_yaml_put (text, name, v);
  }
  gboolean ok = cs_write_file (s->state_path, text->str, text->len, 0600, err);
  g_mutex_unlock (&s->mutex);
  return ok;
}

static void
state_load (struct cs_source *s)
{
  g_autofree char *text = cs_read_file (s->state_path, STATE_MAX, NULL, NULL);
  g_autoptr (CsYaml) y = text != NULL ? cs_yaml_parse (text, strlen (text), s->state_path, NULL) : NULL;
  if (y == NULL || y->type != CS_YAML_MAP ||
      g_strcmp0 (cs_yaml_str (y, "wire_sha256"), s->wire->wire_sha256) != 0)
    return;
  for (guint i = 0; i < y->keys->len; i++) {
    const char *key = g_ptr_array_index (y->keys, i), *value = cs_yaml_str (y, key);
    if (g_str_has_prefix (key, "x-") && value != NULL)
      g_hash_table_insert (s->state, g_strdup (key + 2), g_strdup (value));
  }
}

struct cs_source *
cs_source_new (int fd, const char *fd_name, const char *name, const struct cs_wire *wire,
               const char *index, const char *dir)
{
  static const struct cs_source_ops ops = { source_file, source_pread, state_get, state_put };
  struct cs_source *s = g_new0 (struct cs_source, 1);
  s->base.ops = &ops;
  s->wire = cs_wire_copy (wire);
  s->fd = fd;
  s->fd_name = g_strdup (fd_name);
  s->index = g_strdup (index);
  s->state_path = g_build_filename (dir, "state", NULL);
  s->state = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, g_free);
  g_mutex_init (&s->mutex);
  s->path[0] = g_strconcat (name, "/", wire->file, NULL);
  s->path[1] = g_strconcat (name, "/index.yaml", NULL);
  struct cs_sha256 *sum = cs_sha256_new ();
  cs_sha256_add (sum, index, strlen (index));
  cs_sha256_end (sum, s->index_sum);
  cs_sha256_free (sum);
  s->file[0] = (struct capstan_file){ .struct_size = sizeof *s->file, .path = s->path[0], .role = "image",
    .format = s->wire->format, .encoding = s->wire->encoding, .sha256 = s->wire->sha256,
    .wire_sha256 = s->wire->wire_sha256, .size = wire->size, .wire_size = wire->wire_size };
  s->file[1] = (struct capstan_file){ .struct_size = sizeof *s->file, .path = s->path[1], .role = "index",
    .sha256 = s->index_sum, .wire_sha256 = s->index_sum, .size = strlen (index),
    .wire_size = strlen (index) };
  s->files[0] = &s->file[0];
  s->files[1] = &s->file[1];
  state_load (s);
  return s;
}

struct capstan_source *
cs_source_base (struct cs_source *s)
{
  return &s->base;
}

const struct capstan_file *const *
cs_source_files (const struct cs_source *s)
{
  return s->files;
}

void
cs_source_free (struct cs_source *s)
{
  if (s == NULL)
    return;
  cs_wire_free (s->wire);
  g_free (s->fd_name);
  g_free (s->index);
  g_free (s->state_path);
  g_free (s->path[0]);
  g_free (s->path[1]);
  g_hash_table_unref (s->state);
  g_mutex_clear (&s->mutex);
  g_free (s);
}
