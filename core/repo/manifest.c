/* index.yaml of a repository. SPDX-License-Identifier: BSD-3-Clause */
#include "config.h"
#include "core/repo/manifest.h"
#include "core/base/error.h"
#include "core/base/yaml.h"
#include <string.h>

#define TEXT(f) { #f, G_STRUCT_OFFSET (struct cs_wire, f) }
static const struct { const char *key; gsize offset; } texts[] = {
  TEXT (file), TEXT (encoding), TEXT (format), TEXT (sha256), TEXT (wire_sha256) };
static const struct { const char *key; gsize offset; } numbers[] = {
  TEXT (size), TEXT (wire_size), TEXT (stored) };

struct cs_wire *
cs_wire_new (void)
{
  return g_new0 (struct cs_wire, 1);
}

void
cs_wire_free (struct cs_wire *w)
{
  for (guint i = 0; i < G_N_ELEMENTS (texts); i++)
    g_free (G_STRUCT_MEMBER (char *, w, texts[i].offset));
  g_free (w);
}

struct cs_wire *
cs_wire_copy (const struct cs_wire *from)
{
  struct cs_wire *w = g_new0 (struct cs_wire, 1);
  for (guint i = 0; i < G_N_ELEMENTS (texts); i++)
    G_STRUCT_MEMBER (char *, w, texts[i].offset) =
        g_strdup (G_STRUCT_MEMBER (char *, from, texts[i].offset));
  for (guint i = 0; i < G_N_ELEMENTS (numbers); i++)
    G_STRUCT_MEMBER (guint64, w, numbers[i].offset) = G_STRUCT_MEMBER (guint64, from, numbers[i].offset);
  return w;
}

void
cs_manifest_free (struct cs_manifest *m)
{
  if (m == NULL)
    return;
  if (m->index != NULL)
    cs_index_free (m->index);
  g_hash_table_unref (m->files);
  g_free (m);
}

static gboolean
check_digest (const char *s, const char *name, GError **err)
{
  if (s == NULL || (strlen (s) == 64 && strspn (s, "0123456789abcdef") == 64))
    return TRUE;
  return cs_fail (err, CAPSTAN_E_INVAL, "%s: '%.80s' is no sha256 (64 digits, lower case)", name, s);
}

static gboolean
check_wire (const struct cs_wire *w, const char *name, GError **err)
{
  if (!check_digest (w->sha256, name, err) || !check_digest (w->wire_sha256, name, err))
    return FALSE;
  if (w->file != NULL && (strchr (w->file, '/') != NULL || *w->file == '.' || *w->file == '\0'))
    return cs_fail (err, CAPSTAN_E_INVAL, "%s: '%.80s' is not the name of a file beside it", name,
                    w->file);
  if (w->encoding != NULL && *cs_encoding_suffix (w->encoding) == '\0')
    return cs_fail (err, CAPSTAN_E_UNSUPPORTED,
                    "%s: the encoding '%.80s' is not known here (gzip, zstd)", name, w->encoding);
  return TRUE;
}

static struct cs_wire *
read_wire (const CsYaml *y, const char *name, GError **err)
{
  struct cs_wire *w = cs_wire_new ();
  for (guint i = 0; i < G_N_ELEMENTS (texts); i++) {
    const char *v = cs_yaml_str (y, texts[i].key);
    if (v != NULL && *v != '\0')
      G_STRUCT_MEMBER (char *, w, texts[i].offset) = g_strdup (v);
  }
  gboolean ok = TRUE;
  for (guint i = 0; ok && i < G_N_ELEMENTS (numbers); i++) {
    const char *v = cs_yaml_str (y, numbers[i].key);
    guint64 n = 0;
    if (v != NULL && !g_ascii_string_to_unsigned (v, 10, 0, G_MAXINT64, &n, NULL))
      ok = cs_fail (err, CAPSTAN_E_INVAL, "%s:%u: %s '%.80s' is no number of bytes", name, y->line,
                    numbers[i].key, v);
    G_STRUCT_MEMBER (guint64, w, numbers[i].offset) = n;
  }
  if (ok && check_wire (w, name, err))
    return w;
  cs_wire_free (w);
  return NULL;
}

static gboolean
read_files (struct cs_manifest *m, const CsYaml *files, const char *name, GError **err)
{
  for (guint i = 0; files != NULL && files->type == CS_YAML_MAP && i < files->keys->len; i++) {
    const char *suffix = g_ptr_array_index (files->keys, i);
    const CsYaml *y = g_ptr_array_index (files->items, i);
    if (y->type != CS_YAML_MAP || !cs_suffix_valid (suffix))
      return cs_fail (err, CAPSTAN_E_INVAL, "%s:%u: files: expected one map a hypervisor", name, y->line);
    struct cs_wire *w = read_wire (y, name, err);
    if (w == NULL)
      return FALSE;
    g_hash_table_insert (m->files, g_strdup (suffix), w);
  }
  return TRUE;
}

struct cs_manifest *
cs_manifest_parse (const char *text, gsize len, const char *name, GError **err)
{
  struct cs_manifest *m = g_new0 (struct cs_manifest, 1);
  g_autoptr (CsYaml) y = NULL;
  m->files = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, (GDestroyNotify) cs_wire_free);
  if (text == NULL) {
    m->index = cs_index_new ();
    return m;
  }
  y = cs_yaml_parse (text, len, name, err);
  m->index = y != NULL ? cs_index_parse (text, len, name, err) : NULL;
  if (m->index != NULL && check_digest (m->index->sha256, name, err) &&
      read_files (m, cs_yaml_get (y, "files"), name, err))
    return m;
  cs_manifest_free (m);
  return NULL;
}

struct cs_wire *
cs_manifest_wire (const struct cs_manifest *m, const char *suffix)
{
  return g_hash_table_lookup (m->files, suffix);
}

char *
cs_manifest_text (const struct cs_manifest *m)
{
  g_autofree char *head = cs_index_text (m->index);
  GString *s = g_string_new (head);
  g_autoptr (GList) suffixes = g_list_sort (g_hash_table_get_keys (m->files), (GCompareFunc) strcmp);
  if (suffixes != NULL)
    g_string_append (s, "files:\n");
  for (const GList *l = suffixes; l != NULL; l = l->next) {
    const struct cs_wire *w = g_hash_table_lookup (m->files, l->data);
    g_string_append_printf (s, "  \"%s\":", (const char *) l->data);
    gsize empty = s->len;
    g_string_append_c (s, '\n');
    for (guint i = 0; i < G_N_ELEMENTS (texts); i++) {
      const char *v = G_STRUCT_MEMBER (char *, w, texts[i].offset);
      if (v != NULL)
        g_string_append (s, "    ");
      cs_yaml_put (s, texts[i].key, v);
    }
    for (guint i = 0; i < G_N_ELEMENTS (numbers); i++) {
      guint64 n = G_STRUCT_MEMBER (guint64, w, numbers[i].offset);
      if (n != 0)
        g_string_append_printf (s, "    %s: %" G_GUINT64_FORMAT "\n", numbers[i].key, n);
    }
    if (s->len == empty + 1) /* nothing said of it is still a map */
      g_string_insert (s, (gssize) empty, " {}");
  }
  return g_string_free (s, FALSE);
}

const char *
cs_encoding_of_name (const char *file)
{
  return g_str_has_suffix (file, ".gz") ? "gzip" : g_str_has_suffix (file, ".zst") ? "zstd" : NULL;
}

const char *
cs_encoding_suffix (const char *encoding)
{
  return g_strcmp0 (encoding, "gzip") == 0 ? ".gz" : g_strcmp0 (encoding, "zstd") == 0 ? ".zst" : "";
}
