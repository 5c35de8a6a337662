/* index.yaml. SPDX-License-Identifier: BSD-3-Clause */
#include "config.h"
#include "core/base/error.h"
#include "core/base/yaml.h"
#include "core/store/store.h"
#include <string.h>

struct text_key { const char *key; gsize offset; };
#define T(k, f) { k, G_STRUCT_OFFSET (struct cs_index, f) }
static const struct text_key texts[] = {
  T ("version", version), T ("created", created), T ("description", description),
  T ("build", build), T ("platform", platform), T ("format", format), T ("guest", guest),
  T ("fs", fs), T ("base", base), T ("cmdline", cmdline), T ("sha256", sha256),
  T ("kernel_args", kernel_args) };
static const struct text_key numbers[] = {
  T ("size", size), T ("kernel_offset", kernel_offset), T ("kernel_length", kernel_length),
  T ("initrd_offset", initrd_offset), T ("initrd_length", initrd_length) };

struct cs_index *
cs_index_new (void)
{
  struct cs_index *x = g_new0 (struct cs_index, 1);
  x->other = g_ptr_array_new_with_free_func (g_free);
  return x;
}

void
cs_index_free (struct cs_index *x)
{
  if (x == NULL)
    return;
  for (guint i = 0; i < G_N_ELEMENTS (texts); i++)
    g_free (G_STRUCT_MEMBER (char *, x, texts[i].offset));
  g_ptr_array_unref (x->other);
  g_free (x);
}

static gboolean
take_key (struct cs_index *x, const char *key, const char *value)
{
  for (guint i = 0; i < G_N_ELEMENTS (texts); i++)
    if (strcmp (key, texts[i].key) == 0) {
      G_STRUCT_MEMBER (char *, x, texts[i].offset) = *value != '\0' ? g_strdup (value) : NULL;
      return TRUE;
    }
  for (guint i = 0; i < G_N_ELEMENTS (numbers); i++)
    if (strcmp (key, numbers[i].key) == 0) {
      G_STRUCT_MEMBER (guint64, x, numbers[i].offset) = g_ascii_strtoull (value, NULL, 10);
      return TRUE;
    }
  return strcmp (key, "format_version") == 0;
}

struct cs_index *
cs_index_load (const char *path, GError **err)
{
  g_autoptr (CsYaml) y = cs_yaml_load (path, err);
  if (y == NULL)
    return NULL;
  if (y->type != CS_YAML_MAP)
    return cs_fail_null (err, CAPSTAN_E_INVAL, "%s: expected \"key: value\" lines", path);
  struct cs_index *x = cs_index_new ();
  for (guint i = 0; i < y->keys->len; i++) {
    const char *key = g_ptr_array_index (y->keys, i);
    const CsYaml *v = g_ptr_array_index (y->items, i);
    if (v->type != CS_YAML_SCALAR || take_key (x, key, v->scalar))
      continue;
    GString *line = g_string_new (NULL);
    cs_yaml_put (line, key, v->scalar);
    g_ptr_array_add (x->other, g_string_free (line, FALSE));
  }
  return x;
}

char *
cs_index_text (const struct cs_index *x)
{
  GString *s = g_string_new ("format_version: \"1\"\n");
  for (guint i = 0; i < G_N_ELEMENTS (texts); i++) {
    const char *v = G_STRUCT_MEMBER (char *, x, texts[i].offset);
    if (v == NULL && i < 4)
      v = ""; /* the original's own keys are always there */
    cs_yaml_put (s, texts[i].key, v);
  }
  for (guint i = 0; i < G_N_ELEMENTS (numbers); i++) {
    guint64 n = G_STRUCT_MEMBER (guint64, x, numbers[i].offset);
    if (n != 0)
      g_string_append_printf (s, "%s: %" G_GUINT64_FORMAT "\n", numbers[i].key, n);
  }
  for (guint i = 0; i < x->other->len; i++)
    g_string_append (s, g_ptr_array_index (x->other, i));
  return g_string_free (s, FALSE);
}

struct cs_index *
cs_index_copy (const struct cs_index *x)
{
  struct cs_index *c = cs_index_new ();
  for (guint i = 0; i < G_N_ELEMENTS (texts); i++)
    G_STRUCT_MEMBER (char *, c, texts[i].offset) =
        g_strdup (G_STRUCT_MEMBER (char *, x, texts[i].offset));
  for (guint i = 0; i < G_N_ELEMENTS (numbers); i++)
    G_STRUCT_MEMBER (guint64, c, numbers[i].offset) =
        G_STRUCT_MEMBER (guint64, x, numbers[i].offset);
  for (guint i = 0; i < x->other->len; i++)
    g_ptr_array_add (c->other, g_strdup (g_ptr_array_index (x->other, i)));
  return c;
}
