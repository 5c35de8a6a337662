/* What holds for plugins of both kinds. SPDX-License-Identifier: BSD-3-Clause */
#include "config.h"
#include "core/kit/kit.h"
#include "core/base/error.h"
#include <string.h>

/* ---- what it says of itself ---- */

static gboolean
a_word (const char *s)
{
  return s != NULL && *s != '\0' &&
         strspn (s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") == strlen (s);
}

static void
check_option (struct kit *k, const char *table, const struct capstan_option *all, gsize n, gsize i)
{
  const struct capstan_option *o = &all[i];
  g_autoptr (GError) err = NULL;
  kit_expect (a_word (o->key), "%s: the key '%s' is not of letters, digits, '-', '_' and '.'", table,
              o->key);
  kit_expect (o->help != NULL && *o->help != '\0', "%s: '%s' has no help", table, o->key);
  kit_expect (o->type <= CAPSTAN_OPT_CHOICE, "%s: '%s' is of no type that there is", table, o->key);
  kit_expect (o->type != CAPSTAN_OPT_CHOICE || (o->choices != NULL && *o->choices != '\0'),
              "%s: '%s' has no choices", table, o->key);
  kit_expect (o->def == NULL || !(o->flags & CAPSTAN_OPTF_REQUIRED),
              "%s: '%s' is required and has a default", table, o->key);
  for (gsize j = 0; j < i; j++)
    kit_expect (strcmp (all[j].key, o->key) != 0, "%s: '%s' is there twice", table, o->key);
  if (o->def == NULL)
    return;
  g_autofree char *v = cs_option_value (k->plugin->name, "option", all, n, o->key, o->def, &err);
  kit_expect (v != NULL, "%s: the default of '%s' is not of its type: %s", table, o->key,
              err->message);
}

static void
tables (struct kit *k)
{
  const struct capstan_provider *p = &k->plugin->provider;
  const struct capstan_option *all[] = { p->options, p->vm_options, p->disk_options, p->nic_options };
  const gsize n[] = { p->n_options, p->n_vm_options, p->n_disk_options, p->n_nic_options };
  static const char *const names[] = { "options", "vm_options", "disk_options", "nic_options" };
  for (guint t = 0; t < G_N_ELEMENTS (all); t++)
    for (gsize i = 0; i < n[t]; i++)
      check_option (k, names[t], all[t], n[t], i);
}

static void
claims (struct kit *k)
{
  const struct cs_plugin *p = k->plugin;
  kit_expect (a_word (p->head.name) && a_word (p->provider.name), "plugin or provider has no name");
  kit_expect (p->head.version != NULL && *p->head.version != '\0', "the plugin has no version");
  kit_expect (p->head.license != NULL && *p->head.license != '\0', "the plugin has no license");
  kit_expect (p->provider.summary != NULL && *p->provider.summary != '\0', "the provider has no summary");
  kit_expect (p->provider.threads <= CAPSTAN_THREADS_ANY, "threads is %u, which is none of CAPSTAN_THREADS_*",
              (unsigned) p->provider.threads);
  kit_expect (strcmp (p->name, p->provider.name) == 0 || p->described,
              "its file says '%s', its provider '%s', and no .plugin file what counts", p->name,
              p->provider.name);
  guint64 known = p->provider.kind == CAPSTAN_KIND_REPO ? CAPSTAN_REPO_VERSIONS * 2 - 1 : CAPSTAN_HV_EXECUTES * 2 - 1;
  kit_expect ((p->provider.caps & ~known) == 0 || p->head.abi_minor > CAPSTAN_ABI_MINOR, "caps has bits that this ABI does not know: %#" G_GINT64_MODIFIER "x",
              p->provider.caps & ~known);
}

/* ---- options ---- */

/* The core checks them before the plugin is opened, by the plugin's own table. */
static gboolean
take_option (struct kit *k, const char *option, GError **err)
{
  g_autoptr (GPtrArray) all = g_ptr_array_new ();
  for (const char *const *o = k->o->options; o != NULL && *o != NULL; o++)
    g_ptr_array_add (all, (gpointer) *o);
  g_ptr_array_add (all, (gpointer) option);
  g_ptr_array_add (all, NULL);
  g_autoptr (GHashTable) read = cs_options_read (k->plugin, (const char *const *) all->pdata, err);
  return read != NULL;
}

static void
options (struct kit *k)
{
  const struct capstan_provider *p = &k->plugin->provider;
  static const char *const bad[] = { [CAPSTAN_OPT_UINT] = "minus-one", [CAPSTAN_OPT_BOOL] = "perhaps",
    [CAPSTAN_OPT_SIZE] = "much", [CAPSTAN_OPT_CHOICE] = "no-such-choice" };
  g_autoptr (GError) err = NULL;
  kit_refused (k, "an unknown option", take_option (k, "no-such-option=1", &err), &err, CS_E_USAGE, "no-such-option");
  kit_refused (k, "an option without a value", take_option (k, "novalue", &err), &err, CS_E_USAGE, "novalue");
  for (gsize i = 0; i < p->n_options; i++) {
    const struct capstan_option *o = &p->options[i];
    if (o->type >= G_N_ELEMENTS (bad) || bad[o->type] == NULL)
      continue;
    g_autofree char *given = g_strdup_printf ("%s=%s", o->key, bad[o->type]);
    kit_refused (k, given, take_option (k, given, &err), &err, CS_E_USAGE, o->key);
  }
}

const struct kit_case kit_common[] = {
  { "tables", "every option has a key of its own, help, and a default of its type", tables, FALSE },
  { "claims", "name, version, license and capabilities are there and known", claims, FALSE },
  { "options", "unknown options and bad values are refused by name", options, FALSE },
  { .name = NULL } };
