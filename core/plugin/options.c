/* Options against the tables that a plugin declares. SPDX-License-Identifier: BSD-3-Clause */
#include "config.h"
#include "core/plugin/loader.h"
#include "core/base/error.h"
#include "core/base/util.h"
#include <errno.h>
#include <string.h>

static const struct capstan_option *
find (const struct capstan_option *table, gsize n, const char *key)
{
  for (gsize i = 0; i < n; i++)
    if (strcmp (table[i].key, key) == 0)
      return &table[i];
  return NULL;
}

static char *
unknown (const char *plugin, const char *what, const struct capstan_option *table, gsize n,
         const char *key, GError **err)
{
  g_autoptr (GString) s = g_string_new (NULL);
  for (gsize i = 0; i < n; i++)
    g_string_append_printf (s, "%s%s", i > 0 ? ", " : "", table[i].key);
  if (n == 0)
    return cs_fail_null (err, CS_E_USAGE, "%s: %s '%s' is not known; it takes none", plugin, what, key);
  return cs_fail_null (err, CS_E_USAGE, "%s: %s '%s' is not known; it takes %s", plugin, what, key, s->str);
}

static gboolean
is_number (const char *s)
{
  char *end;
  errno = 0;
  g_ascii_strtoull (s, &end, 10);
  return g_ascii_isdigit (*s) && *end == '\0' && errno == 0;
}

char *
cs_option_value (const char *plugin, const char *what, const struct capstan_option *table,
                 gsize n, const char *key, const char *value, GError **err)
{
  const struct capstan_option *o = find (table, n, key);
  g_autoptr (GError) why = NULL;
  guint64 size;
  if (o == NULL)
    return unknown (plugin, what, table, n, key, err);
  const char *wanted = NULL;
  switch (o->type) {
  case CAPSTAN_OPT_UINT:
    if (!is_number (value))
      wanted = "a number";
    break;
  case CAPSTAN_OPT_BOOL:
    if (strcmp (value, "true") != 0 && strcmp (value, "false") != 0)
      wanted = "true or false";
    break;
  case CAPSTAN_OPT_SIZE:
    if (cs_size_parse (value, 1, &size, &why))
      return g_strdup_printf ("%" G_GUINT64_FORMAT, size);
    wanted = "a size like 512M or 2G";
    break;
  case CAPSTAN_OPT_CHOICE: {
    g_auto (GStrv) c = g_strsplit (o->choices != NULL ? o->choices : "", ",", 0);
    if (!g_strv_contains ((const char *const *) c, value))
      return cs_fail_null (err, CS_E_USAGE, "%s: %s '%s': expected one of %s, not '%s'", plugin, what,
                           key, o->choices, value);
    break;
  }
  default: /* text; a type of a later header is read as the first */
    break;
  }
  if (wanted != NULL)
    return cs_fail_null (err, CS_E_USAGE, "%s: %s '%s': expected %s, not '%s'", plugin, what, key,
                         wanted, value);
  return g_strdup (value);
}

GHashTable *
cs_options_read (const struct cs_plugin *p, const char *const *given, GError **err)
{
  const struct capstan_provider *v = &p->provider;
  g_autoptr (GHashTable) r = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, g_free);
  for (; given != NULL && *given != NULL; given++) {
    g_auto (GStrv) kv = g_strsplit (*given, "=", 2);
    if (kv[0] == NULL || kv[1] == NULL)
      return cs_fail_null (err, CS_E_USAGE, "%s: option '%s': expected KEY=VALUE", p->name, *given);
    char *value = cs_option_value (p->name, "option", v->options, v->n_options, kv[0], kv[1], err);
    if (value == NULL)
      return NULL;
    g_hash_table_insert (r, g_strdup (kv[0]), value);
  }
  for (gsize i = 0; i < v->n_options; i++) {
    const struct capstan_option *o = &v->options[i];
    if (g_hash_table_contains (r, o->key))
      continue;
    if (o->def != NULL) { /* a default that its own type refuses is passed as it is */
      char *value = cs_option_value (p->name, "option", v->options, v->n_options, o->key, o->def, NULL);
      g_hash_table_insert (r, g_strdup (o->key), value != NULL ? value : g_strdup (o->def));
    }
    else if (o->flags & CAPSTAN_OPTF_REQUIRED)
      return cs_fail_null (err, CS_E_USAGE, "%s: option '%s' must be given: %s", p->name, o->key,
                           o->help != NULL ? o->help : "");
  }
  return g_steal_pointer (&r);
}

static gpointer
block (struct cs_spec *s, gsize n)
{
  gpointer p = g_malloc0 (MAX (n, 1));
  g_ptr_array_add (s->blocks, p);
  return p;
}

/* Params against a table: the plugin is shown the values it is promised. */
static gboolean
params (struct cs_spec *s, const char *plugin, const char *what, const struct capstan_option *table,
        gsize n_table, const struct capstan_kv **kv, gsize n, GError **err)
{
  struct capstan_kv *r = block (s, n * sizeof *r);
  for (gsize i = 0; i < n; i++) {
    char *value = cs_option_value (plugin, what, table, n_table, (*kv)[i].key,
                                   (*kv)[i].value != NULL ? (*kv)[i].value : "", err);
    if (value == NULL)
      return FALSE;
    g_ptr_array_add (s->blocks, value);
    r[i].key = (*kv)[i].key;
    r[i].value = value;
  }
  for (gsize i = 0; i < n_table; i++) {
    gboolean given = !(table[i].flags & CAPSTAN_OPTF_REQUIRED) || table[i].def != NULL;
    for (gsize k = 0; k < n && !given; k++)
      given = strcmp (r[k].key, table[i].key) == 0;
    if (!given)
      return cs_fail (err, CS_E_USAGE, "%s: %s '%s' must be given: %s", plugin, what, table[i].key,
                      table[i].help != NULL ? table[i].help : "");
  }
  *kv = r;
  return TRUE;
}

struct cs_spec *
cs_spec_check (const struct cs_plugin *p, const struct capstan_vm_spec *from, GError **err)
{
  const struct capstan_provider *v = &p->provider;
  struct cs_spec *s = g_new0 (struct cs_spec, 1);
  guint n = 0;
  s->blocks = g_ptr_array_new_with_free_func (g_free);
  s->spec = *from;
  s->spec.struct_size = sizeof s->spec;
  gboolean ok = params (s, p->name, "machine option", v->vm_options, v->n_vm_options,
                        &s->spec.params, s->spec.n_params, err);
  while (from->disks != NULL && from->disks[n] != NULL)
    n++;
  const struct capstan_disk **disks = block (s, (n + 1) * sizeof *disks);
  for (guint i = 0; i < n && ok; i++) {
    struct capstan_disk *d = block (s, sizeof *d);
    *d = *from->disks[i];
    disks[i] = d;
    ok = params (s, p->name, "disk option", v->disk_options, v->n_disk_options, &d->params,
                 d->n_params, err);
  }
  for (n = 0; from->nics != NULL && from->nics[n] != NULL;)
    n++;
  const struct capstan_nic **nics = block (s, (n + 1) * sizeof *nics);
  for (guint i = 0; i < n && ok; i++) {
    struct capstan_nic *d = block (s, sizeof *d);
    *d = *from->nics[i];
    nics[i] = d;
    ok = params (s, p->name, "network option", v->nic_options, v->n_nic_options, &d->params,
                 d->n_params, err);
  }
  s->spec.disks = disks;
  s->spec.nics = nics;
  if (ok)
    return s;
  cs_spec_free (s);
  return NULL;
}

void
cs_spec_free (struct cs_spec *s)
{
  if (s == NULL)
    return;
  g_ptr_array_unref (s->blocks);
  g_free (s);
}
