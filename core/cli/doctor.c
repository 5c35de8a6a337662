/* Is what capstan needs here, and does it work? SPDX-License-Identifier: BSD-3-Clause */
#include "config.h"
#include "core/cli/doctor.h"
#include "core/base/cancel.h"
#include "core/base/error.h"
#include "core/base/util.h"
#include "core/plugin/loader.h"
#include "core/store/store.h"
#include "core/vm/disk.h"
#include "core/vm/prove.h"
#include <errno.h>
#include <string.h>
#include <sys/statvfs.h>

static void
finding_free (gpointer data)
{
  struct cs_finding *f = data;
  g_free (f->name);
  g_free (f->detail);
  g_free (f->problem);
  g_ptr_array_unref (f->notes);
  g_free (f);
}

static struct cs_finding *
add (GPtrArray *all, const char *name, const char *kind)
{
  struct cs_finding *f = g_new0 (struct cs_finding, 1);
  f->name = g_strdup (name);
  f->kind = kind;
  f->notes = g_ptr_array_new_with_free_func (g_free);
  g_ptr_array_add (all, f);
  return f;
}

/* A plugin's texts begin with its name, which stands beside them already. */
static const char *
without_name (const struct cs_finding *f, const char *text)
{
  gsize n = strlen (f->name);
  return strncmp (text, f->name, n) == 0 && strncmp (text + n, ": ", 2) == 0 ? text + n + 2 : text;
}

static void
set_problem (struct cs_finding *f, const GError *e)
{
  f->problem = g_strdup (without_name (f, e->message));
}

/* ---- the store ---- */

static void
look_at_store (GPtrArray *all)
{
  static const char *const folders[] = { ".", "repository", "instances", "locks" };
  struct cs_finding *f = add (all, "store", "store");
  struct statvfs fs;
  /* made when it is first written: what counts is the folder that there is */
  g_autofree char *top = g_strdup (cs_root ());
  while (access (top, F_OK) != 0 && errno == ENOENT && strcmp (top, "/") != 0) {
    char *up = g_path_get_dirname (top);
    g_free (top);
    top = up;
  }
  for (guint i = 0; i < G_N_ELEMENTS (folders) && f->problem == NULL; i++) {
    g_autofree char *path = i == 0 ? g_strdup (top) : g_build_filename (cs_root (), folders[i], NULL);
    if (access (path, R_OK | W_OK | X_OK) != 0 && (i == 0 || errno != ENOENT))
      f->problem = g_strdup_printf ("%s: %s; capstan has to write there, or CAPSTAN_ROOT has to name another "
                                    "folder", path, g_strerror (errno));
  }
  f->free_bytes = statvfs (top, &fs) == 0 ? (guint64) fs.f_bavail * fs.f_frsize : 0;
  g_autofree char *room = cs_size_format (f->free_bytes);
  f->detail = g_strdup_printf ("%s, %s free", cs_root (), room);
}

static void
look_at_base (GPtrArray *all)
{
  struct cs_finding *f = add (all, "linux", "base");
  struct cs_image *im = cs_store_find ("linux", NULL, NULL);
  if (im == NULL)
    f->problem = g_strdup ("capstan base make linux makes this base, for programs of this host");
  else
    f->detail = g_strdup (im->path);
  cs_image_free (im);
}

static const struct cs_finding *
look_at_tools (GPtrArray *all)
{
  g_autoptr (GError) e = NULL;
  struct cs_finding *f = add (all, "qemu-img", "tool");
  f->detail = cs_disk_tools (&e);
  if (f->detail == NULL)
    set_problem (f, e);
  return f;
}

/* ---- plugins ---- */

static gboolean
is_in_list (const char *list, const char *word)
{
  g_auto (GStrv) l = g_strsplit (list != NULL ? list : word, ",", 0);
  return g_strv_contains ((const char *const *) l, word);
}

/* FALSE only once it was cancelled. */
static gboolean
look_into (struct cs_finding *f, const struct cs_doctor *d, const struct cs_finding *tools, struct cs_hv *hv,
           const char *connect, GError **err)
{
  struct capstan_caps caps;
  g_autoptr (GError) e = NULL;
  if (!cs_hv_caps (hv, &caps, &e)) {
    set_problem (f, e);
    return TRUE;
  }
  const char *accel = cs_cli_accel (hv);
  f->detail = g_strdup (caps.detail);
  f->accel = accel != NULL ? accel : caps.accel;
  if (is_in_list (caps.formats, "qcow2") && tools->problem != NULL) {
    f->problem = g_strdup (tools->problem);
    return TRUE;
  }
  if (!(caps.bits & CAPSTAN_HV_EXECUTES)) {
    g_ptr_array_add (f->notes, g_strdup ("it runs no guests"));
    return TRUE;
  }
  if (!d->boot || !(caps.bits & CAPSTAN_HV_DISK_BOOT))
    return TRUE;
  const struct cs_prove p = { .connect = connect, .accel = f->accel, .seconds = d->seconds };
  f->boots = cs_prove (hv, &p, &f->seconds, &e);
  if (f->boots)
    return TRUE;
  if (e->code == CAPSTAN_E_CANCELLED) {
    g_propagate_error (err, g_steal_pointer (&e));
    return FALSE;
  }
  gboolean dead = e->code == CAPSTAN_E_TIMEOUT && g_strcmp0 (f->accel, "kvm") == 0;
  const char *advice = ". KVM without a processor behind it does that: capstan run --accel tcg does without, "
                       "and so does disable_kvm: true in config.yaml";
  f->problem = g_strdup_printf ("no guest boots: %s%s", without_name (f, e->message), dead ? advice : "");
  return TRUE;
}

static gboolean
look_at_hypervisor (struct cs_finding *f, const struct cs_doctor *d, const struct cs_finding *tools,
                    struct cs_plugin *p, GError **err)
{
  g_autoptr (GError) e = NULL;
  const char *connect = cs_cli_connect (p->name);
  g_autofree char *uri = connect != NULL ? g_strconcat ("uri=", connect, NULL) : NULL;
  const char *options[] = { uri, NULL };
  g_autoptr (GHashTable) checked = cs_options_read (p, options, &e);
  gboolean usable = checked != NULL && cs_plugin_probe (p, checked, &e);
  g_autoptr (cs_hv) hv = usable ? cs_hv_open (p->name, options, &e) : NULL;
  if (hv != NULL)
    return look_into (f, d, tools, hv, connect, err);
  set_problem (f, e);
  return TRUE;
}

static gboolean
look_at_plugin (GPtrArray *all, const struct cs_doctor *d, const struct cs_finding *tools,
                struct cs_plugin *p, GError **err)
{
  gboolean is_hv = g_strcmp0 (p->kind, "hypervisor") == 0, ok = TRUE;
  struct cs_finding *f = add (all, p->name, is_hv ? "hypervisor" : "repository");
  g_autoptr (GError) e = NULL;
  f->is_default = is_hv && g_strcmp0 (cs_hv_canonical (d->hypervisor), p->name) == 0;
  g_autoptr (GPtrArray) said = g_ptr_array_new_with_free_func (g_free);
  cs_messages_into (said);
  if (!cs_plugin_load (p, &e) || (!is_hv && !cs_plugin_probe (p, NULL, &e)))
    set_problem (f, e);
  else if (is_hv)
    ok = look_at_hypervisor (f, d, tools, p, err);
  else
    f->detail = g_strdup (p->provider.summary);
  cs_messages_into (NULL);
  for (guint i = 0; i < said->len; i++) {
    const char *text = without_name (f, said->pdata[i]);
    /* probe and open say the same */
    if (!g_ptr_array_find_with_equal_func (f->notes, text, g_str_equal, NULL))
      g_ptr_array_add (f->notes, g_strdup (text));
  }
  return ok;
}

GPtrArray *
cs_doctor (const struct cs_doctor *d, GError **err)
{
  static const char *const kinds[] = { "hypervisor", "repository" };
  g_autoptr (GPtrArray) all = g_ptr_array_new_with_free_func (finding_free);
  GPtrArray *plugins = cs_plugins ();
  look_at_store (all);
  look_at_base (all);
  const struct cs_finding *tools = look_at_tools (all);
  g_autoptr (GError) e = NULL;
  if (cs_hv_canonical (d->hypervisor) == NULL) {
    struct cs_finding *f = add (all, d->hypervisor, "hypervisor");
    f->is_default = TRUE;
    cs_hv_open (d->hypervisor, NULL, &e);
    set_problem (f, e);
  }
  for (guint k = 0; k < G_N_ELEMENTS (kinds); k++)
    for (guint i = 0; i < plugins->len; i++) {
      struct cs_plugin *p = g_ptr_array_index (plugins, i);
      if (g_strcmp0 (p->kind, kinds[k]) == 0 && cs_plugin_shadowed (p) == NULL &&
          !look_at_plugin (all, d, tools, p, err))
        return NULL;
      if (cs_cancelled ()) /* what a probe said then is no finding */
        return cs_fail_null (err, CAPSTAN_E_CANCELLED, "cancelled");
    }
  return g_steal_pointer (&all);
}
