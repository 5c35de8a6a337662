/* The one YAML reader: libyaml events into a small tree, with limits.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * Limits: 1 MiB of text, 32 levels, 100,000 nodes; a duplicate key, an alias, an anchor, a
 * tag or a second document is an error. Messages read "FILE:LINE: what". */
#ifndef CS_YAML_H
#define CS_YAML_H
#include <glib.h>

typedef enum { CS_YAML_SCALAR, CS_YAML_MAP, CS_YAML_LIST } CsYamlType;
typedef struct CsYaml CsYaml;
struct CsYaml {
  CsYamlType type;
  guint line;      /* from 1 */
  char *scalar;    /* SCALAR: UTF-8; "" for an empty value */
  gsize len;       /* of scalar; it may hold no NUL */
  gboolean quoted; /* SCALAR: was written in quotes */
  GPtrArray *keys; /* MAP: of char *, in the order of the file */
  GPtrArray *items; /* MAP, LIST: of CsYaml * */
};
#define CS_YAML_MAX (1024 * 1024)

/* `name` stands in messages. An empty document is an empty map. */
CsYaml *cs_yaml_parse (const char *text, gsize len, const char *name, GError **err);
CsYaml *cs_yaml_load (const char *path, GError **err);
void cs_yaml_free (CsYaml *y);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (CsYaml, cs_yaml_free)
/* The value of a key of a map, or NULL. */
const CsYaml *cs_yaml_get (const CsYaml *map, const char *key);
/* The scalar of a key, or NULL if it is absent or no scalar. Borrowed. */
const char *cs_yaml_str (const CsYaml *map, const char *key);
/* Appends "key: value\n", quoted as YAML needs it; nothing for a NULL value or a key of more
 * than 200 bytes. */
void cs_yaml_put (GString *out, const char *key, const char *value);
/* The same for a list of texts; NULL or none of them appends nothing. */
void cs_yaml_put_list (GString *out, const char *key, char *const *items);
/* The scalars of a list, NULL-terminated, never NULL; g_strfreev. */
char **cs_yaml_strv (const CsYaml *map, const char *key);
#endif
