/* index.yaml. SPDX-License-Identifier: BSD-3-Clause */
#include "config.h"
#include "core/base/error.h"
#include "core/base/util.h"
#include "core/base/yaml.h"
#include "core/store/store.h"
#include "core/store/txn.h"
#include <string.h>

struct text_key { const char *key; gsize offset; };
#define T(k, f) { k, G_STRUCT_OFFSET (struct cs_index, f) }
/* of the name: the original's own; always written */
static const struct text_key shared[] = {
  T ("version", version), T ("created", created), T ("description", description),
  T ("build", build), T ("platform", platform) };
/* of one image file */
static const struct text_key texts[] = {
  T ("format", format), T ("guest", guest), T ("fs", fs), T ("base", base),
  T ("cmdline", cmdline), T ("sha256", sha256), T ("kernel_args", kernel_args) };
static const struct text_key numbers[] = {
  T ("size", size), T ("kernel_offset", kernel_offset), T ("kernel_length", kernel_length),
  T ("initrd_offset", initrd_offset), T ("initrd_length", initrd_length) };
static const struct text_key suffix_key = T ("suffix", suffix);

static char **
text_at (struct cs_index *x, const struct text_key *k)
{
  return &G_STRUCT_MEMBER (char *, x, k->offset);
}

static guint64 *
number_at (struct cs_index *x, const struct text_key *k)
{
  return &G_STRUCT_MEMBER (guint64, x, k->offset);
}

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
  for (guint i = 0; i < G_N_ELEMENTS (shared); i++)
    g_free (*text_at (x, &shared[i]));
  for (guint i = 0; i < G_N_ELEMENTS (texts); i++)
    g_free (*text_at (x, &texts[i]));
  g_free (x->suffix);
  g_ptr_array_unref (x->other);
  if (x->more != NULL)
    g_ptr_array_unref (x->more);
  g_free (x);
}

static const struct text_key *
find_key (const struct text_key *k, guint n, const char *key)
{
  for (guint i = 0; i < n; i++)
    if (strcmp (k[i].key, key) == 0)
      return &k[i];
  return NULL;
}
#define FIND(table, key) find_key (table, G_N_ELEMENTS (table), key)

static void
take_key (struct cs_index *x, const char *key, const char *value)
{
  const struct text_key *k = FIND (shared, key);
  if (k == NULL)
    k = FIND (texts, key);
  if (k == NULL && strcmp (key, suffix_key.key) == 0)
    k = &suffix_key;
  if (k != NULL) {
    g_free (*text_at (x, k));
    *text_at (x, k) = *value != '\0' ? g_strdup (value) : NULL;
  } else if ((k = FIND (numbers, key)) != NULL) {
    *number_at (x, k) = g_ascii_strtoull (value, NULL, 10);
  } else if (strcmp (key, "format_version") != 0) {
    GString *line = g_string_new (NULL);
    cs_yaml_put (line, key, value);
    g_ptr_array_add (x->other, g_string_free (line, FALSE));
  }
}

static void
take_map (struct cs_index *x, const CsYaml *map)
{
  for (guint i = 0; i < map->keys->len; i++) {
    const CsYaml *v = g_ptr_array_index (map->items, i);
    if (v->type == CS_YAML_SCALAR)
      take_key (x, g_ptr_array_index (map->keys, i), v->scalar);
  }
}

static void
add_more (struct cs_index *x, struct cs_index *other)
{
  if (x->more == NULL)
    x->more = g_ptr_array_new_with_free_func ((GDestroyNotify) cs_index_free);
  g_ptr_array_add (x->more, other);
}

/* ---- reading ---- */

/* The rest of a line as a value, in the few forms that mean the same in every reading of
 * YAML: "in quotes", or plain words. NULL: let the reader of all of YAML look. */
static char *
plain_value (const char *s, const char *end, char *buf)
{
  char *out = buf;
  if (s < end && *s == '"') {
    for (s++; s < end && *s != '"'; s++) {
      if (*s == '\\' && end - s > 3 && s[1] == 'x' && g_ascii_isxdigit (s[2]) &&
          g_ascii_isxdigit (s[3])) {
        *out = (char) (g_ascii_xdigit_value (s[2]) << 4 | g_ascii_xdigit_value (s[3]));
        if (*out <= 0) /* a NUL, or not ASCII */
          return NULL;
        s += 3;
      } else if (*s == '\\' && end - s > 1 && (s[1] == '"' || s[1] == '\\'))
        *out = *++s;
      else if (*s == '\\')
        return NULL;
      else
        *out = *s;
      out++;
    }
    *out = '\0';
    return end - s == 1 ? buf : NULL; /* the closing quote is the last */
  }
  if (s == end || !(g_ascii_isalnum (*s) || *s == '/'))
    return NULL;
  for (; s < end; s++) {
    gboolean word = g_ascii_isalnum (*s) || strchr ("/._+-", *s) != NULL;
    gboolean next = end - s > 1 && (g_ascii_isalnum (s[1]) || s[1] == '/');
    if (!word && !((*s == ' ' || *s == ':') && next))
      return NULL;
    *out++ = *s;
  }
  *out = '\0';
  return strcmp (buf, "null") != 0 ? buf : NULL;
}

enum { KEY_MAX = 32, KEYS_MAX = 32, VALUE_MAX = 4096 };

/* A "key: value" line up to end; the key into key[KEY_MAX], the value into buf. */
static gboolean
flat_line (const char *s, const char *end, char *key, char *buf)
{
  gsize n = 0;
  while (s + n < end && n < KEY_MAX - 1 && (g_ascii_isalnum (s[n]) || s[n] == '_'))
    n++;
  if (n == 0 || end - (s + n) < 3 || s[n] != ':' || s[n + 1] != ' ' || end - s >= VALUE_MAX)
    return FALSE;
  memcpy (key, s, n);
  key[n] = '\0';
  return strcmp (key, "null") != 0 && plain_value (s + n + 2, end, buf) != NULL;
}

/* The flat files that capstan writes, without a tree of nodes: listing a thousand images
 * is mostly this. FALSE, and x is to be thrown away: it is not one of those. */
static gboolean
read_flat (struct cs_index *x, const char *text, gsize len)
{
  char keys[KEYS_MAX][KEY_MAX], value[VALUE_MAX];
  guint n = 0;
  for (gsize i = 0; i < len; i++)
    if ((text[i] < 0x20 && text[i] != '\n') || text[i] > 0x7e)
      return FALSE;
  for (const char *s = text, *end; s < text + len; s = end + 1) {
    end = memchr (s, '\n', (gsize) (text + len - s));
    if (end == NULL)
      end = text + len;
    if (s == end || *s == '#')
      continue;
    if (n == KEYS_MAX || !flat_line (s, end, keys[n], value))
      return FALSE;
    for (guint i = 0; i < n; i++)
      if (strcmp (keys[i], keys[n]) == 0)
        return FALSE;
    take_key (x, keys[n++], value);
  }
  return TRUE;
}

static gboolean
read_tree (struct cs_index *x, const char *text, gsize len, const char *path, GError **err)
{
  g_autoptr (CsYaml) y = cs_yaml_parse (text, len, path, err);
  if (y == NULL)
    return FALSE;
  if (y->type != CS_YAML_MAP)
    return cs_fail (err, CAPSTAN_E_INVAL, "%s: expected \"key: value\" lines", path);
  take_map (x, y);
  const CsYaml *images = cs_yaml_get (y, "images");
  for (guint i = 0; images != NULL && images->type == CS_YAML_MAP && i < images->keys->len; i++) {
    const CsYaml *map = g_ptr_array_index (images->items, i);
    const char *suffix = g_ptr_array_index (images->keys, i);
    if (map->type != CS_YAML_MAP || !cs_suffix_valid (suffix))
      continue;
    struct cs_index *m = cs_index_new ();
    take_map (m, map);
    g_free (m->suffix);
    m->suffix = g_strdup (suffix);
    add_more (x, m);
  }
  return TRUE;
}

struct cs_index *
cs_index_parse (const char *text, gsize len, const char *path, GError **err)
{
  struct cs_index *x = cs_index_new ();
  if (read_flat (x, text, len))
    return x;
  cs_index_free (x);
  x = cs_index_new ();
  if (read_tree (x, text, len, path, err))
    return x;
  cs_index_free (x);
  return NULL;
}

struct cs_index *
cs_index_load (const char *path, GError **err)
{
  gsize len;
  g_autofree char *text = cs_read_file (path, CS_YAML_MAX, &len, err);
  return text != NULL ? cs_index_parse (text, len, path, err) : NULL;
}

/* ---- several images of one name ---- */

/* Exchanges what the two say of an image file. */
static void
swap_facts (struct cs_index *a, struct cs_index *b)
{
  const struct cs_index t = *a;
#define SWAP(f) (a->f = b->f, b->f = t.f)
  SWAP (format), SWAP (guest), SWAP (fs), SWAP (base), SWAP (cmdline), SWAP (sha256);
  SWAP (kernel_args), SWAP (size), SWAP (kernel_offset), SWAP (kernel_length);
  SWAP (initrd_offset), SWAP (initrd_length), SWAP (suffix), SWAP (other);
#undef SWAP
}

void
cs_index_select (struct cs_index *x, const char *suffix)
{
  if (x->suffix == NULL || strcmp (x->suffix, suffix) == 0)
    return; /* of an old store: the one that there is */
  for (guint i = 0; x->more != NULL && i < x->more->len; i++) {
    struct cs_index *m = g_ptr_array_index (x->more, i);
    if (strcmp (m->suffix, suffix) == 0) {
      swap_facts (x, m);
      return;
    }
  }
  struct cs_index *unknown = cs_index_new ();
  unknown->suffix = g_strdup (suffix);
  swap_facts (x, unknown);
  add_more (x, unknown);
}

void
cs_index_add (struct cs_index *x, struct cs_index *old, const char *suffix)
{
  cs_index_select (old, suffix);
  if (x->more != NULL)
    g_ptr_array_unref (x->more);
  x->more = g_steal_pointer (&old->more);
}

/* ---- writing ---- */

static void
put (GString *s, const char *indent, const char *key, const char *value)
{
  if (value != NULL)
    g_string_append (s, indent);
  cs_yaml_put (s, key, value);
}

static void
put_facts (GString *s, const char *indent, struct cs_index *x)
{
  for (guint i = 0; i < G_N_ELEMENTS (texts); i++)
    put (s, indent, texts[i].key, *text_at (x, &texts[i]));
  for (guint i = 0; i < G_N_ELEMENTS (numbers); i++)
    if (*number_at (x, &numbers[i]) != 0)
      g_string_append_printf (s, "%s%s: %" G_GUINT64_FORMAT "\n", indent, numbers[i].key,
                              *number_at (x, &numbers[i]));
  for (guint i = 0; i < x->other->len; i++)
    g_string_append_printf (s, "%s%s", indent, (char *) g_ptr_array_index (x->other, i));
}

char *
cs_index_text (struct cs_index *x)
{
  GString *s = g_string_new ("format_version: \"1\"\n");
  for (guint i = 0; i < G_N_ELEMENTS (shared); i++) {
    const char *v = *text_at (x, &shared[i]);
    /* the original writes its own four always */
    put (s, "", shared[i].key, v == NULL && i < 4 ? "" : v);
  }
  put (s, "", suffix_key.key, x->suffix);
  put_facts (s, "", x);
  for (guint i = 0; x->more != NULL && i < x->more->len; i++) {
    struct cs_index *m = g_ptr_array_index (x->more, i);
    g_string_append_printf (s, "%s  \"%s\":\n    suffix: \"%s\"\n", i == 0 ? "images:\n" : "",
                            m->suffix, m->suffix);
    put_facts (s, "    ", m);
  }
  return g_string_free (s, FALSE);
}

struct cs_index *
cs_index_copy (struct cs_index *x)
{
  g_autofree char *text = cs_index_text (x);
  return cs_index_parse (text, strlen (text), "a copy", NULL);
}
