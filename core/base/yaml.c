/* SPDX-License-Identifier: BSD-3-Clause */
#include "config.h"
#include "core/base/yaml.h"
#include "core/base/error.h"
#include "core/base/util.h"
#include <string.h>
#include <yaml.h>

enum { MAX_DEPTH = 32, MAX_NODES = 100000 };

struct reader {
  yaml_parser_t parser;
  yaml_event_t event;
  gboolean have_event;
  const char *name;
  guint nodes;
};

void
cs_yaml_free (CsYaml *y)
{
  if (y == NULL)
    return;
  g_free (y->scalar);
  if (y->keys != NULL)
    g_ptr_array_unref (y->keys);
  if (y->items != NULL)
    g_ptr_array_unref (y->items);
  g_free (y);
}

static gboolean
next (struct reader *r, GError **err)
{
  if (r->have_event)
    yaml_event_delete (&r->event);
  r->have_event = FALSE;
  if (!yaml_parser_parse (&r->parser, &r->event)) {
    const char *what = r->parser.problem != NULL ? r->parser.problem : "not YAML";
    guint line = (guint) r->parser.problem_mark.line + 1;
    const char *context = r->parser.context != NULL ? r->parser.context : "";
    /* "/a: &" is what the original's own examples have */
    if (strstr (context, "anchor") != NULL || strstr (context, "alias") != NULL)
      return cs_fail (err, CAPSTAN_E_INVAL,
                      "%s:%u: %s; a '&' or '*' that is meant as it stands must be quoted: \"&\"",
                      r->name, line, what);
    return cs_fail (err, CAPSTAN_E_INVAL, "%s:%u: %s", r->name, line, what);
  }
  r->have_event = TRUE;
  return TRUE;
}

static guint
line_of (const struct reader *r)
{
  return (guint) r->event.start_mark.line + 1;
}

static CsYaml *
node_new (struct reader *r, CsYamlType type, GError **err)
{
  if (++r->nodes > MAX_NODES)
    return cs_fail_null (err, CAPSTAN_E_LIMIT, "%s:%u: more than %d values", r->name,
                         line_of (r), MAX_NODES);
  CsYaml *y = g_new0 (CsYaml, 1);
  y->type = type;
  y->line = line_of (r);
  if (type != CS_YAML_SCALAR)
    y->items = g_ptr_array_new_with_free_func ((GDestroyNotify) cs_yaml_free);
  if (type == CS_YAML_MAP)
    y->keys = g_ptr_array_new_with_free_func (g_free);
  return y;
}

static gboolean
check_plain (struct reader *r, const yaml_char_t *anchor, const yaml_char_t *tag,
             GError **err)
{
  if (anchor != NULL)
    return cs_fail (err, CAPSTAN_E_INVAL,
                    "%s:%u: anchors are not supported; a '&' that is meant as it stands "
                    "must be quoted: \"&\"",
                    r->name, line_of (r));
  if (tag != NULL)
    return cs_fail (err, CAPSTAN_E_INVAL, "%s:%u: tags ('!') are not supported; quote it",
                    r->name, line_of (r));
  return TRUE;
}

static CsYaml *read_node (struct reader *r, int depth, GError **err);

static CsYaml *
read_scalar (struct reader *r, GError **err)
{
  const yaml_event_t *e = &r->event;
  if (!check_plain (r, e->data.scalar.anchor, e->data.scalar.tag, err))
    return NULL;
  if (memchr (e->data.scalar.value, '\0', e->data.scalar.length) != NULL)
    return cs_fail_null (err, CAPSTAN_E_INVAL, "%s:%u: a NUL byte", r->name, line_of (r));
  CsYaml *y = node_new (r, CS_YAML_SCALAR, err);
  if (y == NULL)
    return NULL;
  y->scalar = g_strndup ((const char *) e->data.scalar.value, e->data.scalar.length);
  y->len = e->data.scalar.length;
  y->quoted = e->data.scalar.style != YAML_PLAIN_SCALAR_STYLE;
  if (!y->quoted && (strcmp (y->scalar, "~") == 0 || strcmp (y->scalar, "null") == 0)) {
    y->scalar[0] = '\0';
    y->len = 0;
  }
  return y;
}

static CsYaml *
read_list (struct reader *r, int depth, GError **err)
{
  if (!check_plain (r, r->event.data.sequence_start.anchor,
                    r->event.data.sequence_start.tag, err))
    return NULL;
  g_autoptr (CsYaml) y = node_new (r, CS_YAML_LIST, err);
  if (y == NULL)
    return NULL;
  for (;;) {
    if (!next (r, err))
      return NULL;
    if (r->event.type == YAML_SEQUENCE_END_EVENT)
      return g_steal_pointer (&y);
    CsYaml *item = read_node (r, depth + 1, err);
    if (item == NULL)
      return NULL;
    g_ptr_array_add (y->items, item);
  }
}

static CsYaml *
read_map (struct reader *r, int depth, GError **err)
{
  if (!check_plain (r, r->event.data.mapping_start.anchor,
                    r->event.data.mapping_start.tag, err))
    return NULL;
  g_autoptr (CsYaml) y = node_new (r, CS_YAML_MAP, err);
  g_autoptr (GHashTable) seen = g_hash_table_new (g_str_hash, g_str_equal);
  if (y == NULL)
    return NULL;
  for (;;) {
    if (!next (r, err))
      return NULL;
    if (r->event.type == YAML_MAPPING_END_EVENT)
      return g_steal_pointer (&y);
    if (r->event.type != YAML_SCALAR_EVENT)
      return cs_fail_null (err, CAPSTAN_E_INVAL, "%s:%u: a key must be plain text", r->name,
                           line_of (r));
    guint line = line_of (r);
    g_autoptr (CsYaml) key = read_scalar (r, err);
    if (key == NULL)
      return NULL;
    if (g_hash_table_contains (seen, key->scalar))
      return cs_fail_null (err, CAPSTAN_E_INVAL, "%s:%u: the key '%s' stands there twice",
                           r->name, line, key->scalar);
    if (!next (r, err))
      return NULL;
    CsYaml *value = read_node (r, depth + 1, err);
    if (value == NULL)
      return NULL;
    value->line = line; /* messages are about the key */
    g_hash_table_add (seen, key->scalar);
    g_ptr_array_add (y->keys, g_steal_pointer (&key->scalar));
    g_ptr_array_add (y->items, value);
  }
}

static CsYaml *
read_node (struct reader *r, int depth, GError **err)
{
  if (depth > MAX_DEPTH)
    return cs_fail_null (err, CAPSTAN_E_LIMIT, "%s:%u: nested deeper than %d levels",
                         r->name, line_of (r), MAX_DEPTH);
  switch (r->event.type) {
  case YAML_SCALAR_EVENT:
    return read_scalar (r, err);
  case YAML_SEQUENCE_START_EVENT:
    return read_list (r, depth, err);
  case YAML_MAPPING_START_EVENT:
    return read_map (r, depth, err);
  case YAML_ALIAS_EVENT:
    return cs_fail_null (err, CAPSTAN_E_INVAL,
                         "%s:%u: aliases are not supported; a '*' that is meant as it "
                         "stands must be quoted",
                         r->name, line_of (r));
  default:
    return cs_fail_null (err, CAPSTAN_E_INVAL, "%s:%u: a value is missing", r->name,
                         line_of (r));
  }
}

static CsYaml *
read_document (struct reader *r, GError **err)
{
  if (!next (r, err) || !next (r, err)) /* stream start, document start or end */
    return NULL;
  if (r->event.type == YAML_STREAM_END_EVENT)
    return node_new (r, CS_YAML_MAP, err);
  if (!next (r, err))
    return NULL;
  g_autoptr (CsYaml) y = read_node (r, 1, err);
  if (y == NULL || !next (r, err) || !next (r, err)) /* document end, stream end */
    return NULL;
  if (r->event.type != YAML_STREAM_END_EVENT)
    return cs_fail_null (err, CAPSTAN_E_INVAL, "%s:%u: a second document", r->name,
                         line_of (r));
  if (y->type == CS_YAML_SCALAR && y->len == 0 && !y->quoted) {
    cs_yaml_free (g_steal_pointer (&y));
    return node_new (r, CS_YAML_MAP, err);
  }
  return g_steal_pointer (&y);
}

CsYaml *
cs_yaml_parse (const char *text, gsize len, const char *name, GError **err)
{
  struct reader r = { .name = name };
  if (len > CS_YAML_MAX)
    return cs_fail_null (err, CAPSTAN_E_LIMIT, "%s is larger than 1 MiB", name);
  if (!yaml_parser_initialize (&r.parser))
    return cs_fail_null (err, CAPSTAN_E_NOMEM, "%s: out of memory", name);
  yaml_parser_set_input_string (&r.parser, (const unsigned char *) text, len);
  CsYaml *y = read_document (&r, err);
  if (r.have_event)
    yaml_event_delete (&r.event);
  yaml_parser_delete (&r.parser);
  return y;
}

CsYaml *
cs_yaml_load (const char *path, GError **err)
{
  gsize len;
  g_autofree char *text = cs_read_file (path, CS_YAML_MAX, &len, err);
  if (text == NULL)
    return NULL;
  return cs_yaml_parse (text, len, path, err);
}

const CsYaml *
cs_yaml_get (const CsYaml *map, const char *key)
{
  if (map == NULL || map->type != CS_YAML_MAP)
    return NULL;
  for (guint i = 0; i < map->keys->len; i++)
    if (strcmp (g_ptr_array_index (map->keys, i), key) == 0)
      return g_ptr_array_index (map->items, i);
  return NULL;
}

const char *
cs_yaml_str (const CsYaml *map, const char *key)
{
  const CsYaml *y = cs_yaml_get (map, key);
  return y != NULL && y->type == CS_YAML_SCALAR ? y->scalar : NULL;
}

/* What would be no character of YAML, or end a line or be folded into it, stands as \x or \u. */
static gboolean
needs_escape (gunichar c)
{
  return c < 0x20 || (c >= 0x7f && c < 0xa0) || c == 0x2028 || c == 0x2029 || c == 0xfeff ||
         c == 0xfffe || c == 0xffff;
}

/* Always in double quotes: no value is then taken for a number, a date or a flag. */
static void
put_quoted (GString *out, const char *text)
{
  g_string_append_c (out, '"');
  for (const char *p = text, *next; *p != '\0'; p = next) {
    gunichar c = g_utf8_get_char_validated (p, -1);
    gboolean bad = c == (gunichar) -1 || c == (gunichar) -2; /* the reader says so */
    next = bad ? p + 1 : g_utf8_next_char (p);
    if (*p == '"' || *p == '\\')
      g_string_append_printf (out, "\\%c", *p);
    else if (!bad && needs_escape (c))
      g_string_append_printf (out, c < 0x100 ? "\\x%02x" : "\\u%04x", c);
    else
      g_string_append_len (out, p, next - p);
  }
  g_string_append_c (out, '"');
}

void
cs_yaml_put (GString *out, const char *key, const char *value)
{
  static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-";
  enum { KEY_MAX = 200 }; /* longer ones would have to be written in another way */
  if (value == NULL || strlen (key) > KEY_MAX)
    return;
  if (g_ascii_isalpha (*key) && key[strspn (key, plain)] == '\0' && strcmp (key, "null") != 0)
    g_string_append (out, key);
  else
    put_quoted (out, key);
  g_string_append (out, ": ");
  put_quoted (out, value);
  g_string_append_c (out, '\n');
}

void
cs_yaml_put_list (GString *out, const char *key, char *const *items)
{
  if (items == NULL || *items == NULL)
    return;
  g_string_append_printf (out, "%s:\n", key);
  for (; *items != NULL; items++) {
    g_string_append (out, "  - ");
    put_quoted (out, *items);
    g_string_append_c (out, '\n');
  }
}

char **
cs_yaml_strv (const CsYaml *map, const char *key)
{
  const CsYaml *l = cs_yaml_get (map, key);
  guint n = l != NULL && l->type == CS_YAML_LIST ? l->items->len : 0, o = 0;
  char **list = g_new0 (char *, n + 1);
  for (guint k = 0; k < n; k++) {
    const CsYaml *item = g_ptr_array_index (l->items, k);
    if (item->type == CS_YAML_SCALAR)
      list[o++] = g_strdup (item->scalar);
  }
  return list;
}
