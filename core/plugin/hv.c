/* Hypervisor plugins, for the rest of the core. SPDX-License-Identifier: BSD-3-Clause */
#include "config.h"
#include "core/plugin/loader.h"
#include "core/base/error.h"
#include "core/base/util.h"
#include <fcntl.h>
#include <string.h>

struct cs_hv {
  struct cs_plugin *p;
  void *self;
  GHashTable *options;
  GMutex mutex; /* held by a call where calls of one open may not overlap */
};

void
cs_vm_ref_clear (struct cs_vm_ref *r)
{
  g_clear_pointer (&r->id, g_free);
  g_clear_pointer (&r->state, g_free);
}

/* Calls an operation; ok_ says how it went. */
#define CALL(what, ...)                                                                  \
  struct capstan_call call_;                                                             \
  cs_call_init (&call_, hv->p, hv->options, &hv->mutex);                                             \
  gboolean ok_ = cs_call_end (&call_, hv->p->hv_ops.what (&call_, __VA_ARGS__), #what, err)
#define NEED(what)                                                                       \
  if (hv->p->hv_ops.what == NULL)                                                        \
  return cs_fail (err, CAPSTAN_E_UNSUPPORTED, "%s is not supported by %s", #what, hv->p->name)

struct cs_hv *
cs_hv_open (const char *name, const char *const *options, GError **err)
{
  struct cs_plugin *p = cs_plugin_find ("hypervisor", name);
  if (p == NULL) {
    cs_plugin_missing ("hypervisor", name, err);
    return NULL;
  }
  if (!cs_plugin_load (p, err))
    return NULL;
  if (p->provider.kind != CAPSTAN_KIND_HYPERVISOR || p->hv_ops.open == NULL)
    return cs_fail_null (err, CAPSTAN_E_UNSUPPORTED, "%s is no hypervisor plugin", p->file);
  GHashTable *checked = cs_options_read (p, options, err);
  struct capstan_call call;
  void *self = NULL;
  if (checked == NULL)
    return NULL;
  cs_call_init (&call, p, checked, NULL);
  if (!cs_call_end (&call, p->hv_ops.open (&call, &self), "open", err)) {
    g_hash_table_unref (checked);
    return NULL;
  }
  struct cs_hv *hv = g_new0 (struct cs_hv, 1);
  hv->p = p;
  hv->options = checked;
  hv->self = self;
  return hv;
}

void
cs_hv_close (struct cs_hv *hv)
{
  if (hv == NULL)
    return;
  struct capstan_call call;
  cs_call_init (&call, hv->p, hv->options, &hv->mutex);
  if (hv->p->hv_ops.close != NULL)
    hv->p->hv_ops.close (&call, hv->self);
  cs_call_end (&call, 0, "close", NULL);
  g_hash_table_unref (hv->options);
  g_mutex_clear (&hv->mutex);
  g_free (hv);
}

const char *
cs_hv_name (const struct cs_hv *hv)
{
  return hv->p->name;
}

const char *
cs_hv_suffix (const struct cs_hv *hv)
{
  return hv->p->suffix != NULL ? hv->p->suffix : hv->p->name;
}

const char *
cs_hv_suffix_of (const char *name)
{
  struct cs_plugin *p = cs_plugin_find ("hypervisor", name);
  return p == NULL ? NULL : p->suffix != NULL ? p->suffix : p->name;
}

const char *
cs_hv_canonical (const char *name)
{
  struct cs_plugin *p = cs_plugin_find ("hypervisor", name);
  return p != NULL ? p->name : NULL;
}

gboolean
cs_hv_takes (const char *name, const char *option)
{
  struct cs_plugin *p = cs_plugin_find ("hypervisor", name);
  if (p == NULL || !cs_plugin_load (p, NULL))
    return FALSE;
  for (size_t i = 0; i < p->provider.n_options; i++)
    if (strcmp (p->provider.options[i].key, option) == 0)
      return TRUE;
  return FALSE;
}

gboolean
cs_hv_caps (struct cs_hv *hv, struct capstan_caps *ret, GError **err)
{
  NEED (caps);
  struct capstan_caps c = { .struct_size = sizeof c };
  struct capstan_call call;
  cs_call_init (&call, hv->p, hv->options, &hv->mutex);
  int rc = hv->p->hv_ops.caps (&call, hv->self, &c);
  if (rc >= 0) { /* strings may be of this call only */
    *ret = c;
    ret->formats = g_intern_string (c.formats);
    ret->archs = g_intern_string (c.archs);
    ret->nics = g_intern_string (c.nics);
    ret->accel = g_intern_string (c.accel);
    ret->detail = g_intern_string (c.detail);
  }
  return cs_call_end (&call, rc, "caps", err);
}

gboolean
cs_hv_probe (struct cs_hv *hv, GError **err)
{
  NEED (probe);
  struct capstan_call call;
  cs_call_init (&call, hv->p, hv->options, &hv->mutex);
  return cs_call_end (&call, hv->p->hv_ops.probe (&call), "probe", err);
}

gboolean
cs_hv_check (struct cs_hv *hv, const struct capstan_vm_spec *s, GError **err)
{
  struct cs_spec *spec = cs_spec_check (hv->p, s, err);
  if (spec == NULL || hv->p->hv_ops.check == NULL) {
    cs_spec_free (spec);
    return spec != NULL;
  }
  CALL (check, hv->self, &spec->spec);
  cs_spec_free (spec);
  return ok_;
}

gboolean
cs_hv_create (struct cs_hv *hv, const struct capstan_vm_spec *s, struct cs_vm_ref *ret,
              GError **err)
{
  NEED (create);
  struct capstan_vm_ref r = { .struct_size = sizeof r };
  struct cs_spec *spec = cs_spec_check (hv->p, s, err);
  struct capstan_call call;
  if (spec == NULL)
    return FALSE;
  cs_call_init (&call, hv->p, hv->options, &hv->mutex);
  int rc = hv->p->hv_ops.create (&call, hv->self, &spec->spec, &r);
  if (rc >= 0 && r.id == NULL)
    rc = cs_call_error (&call, CAPSTAN_E_INTERNAL, 0, "create named no VM");
  if (rc >= 0) { /* its strings are of this call */
    ret->id = g_strdup (r.id);
    ret->state = g_strdup (r.state);
  }
  cs_spec_free (spec);
  return cs_call_end (&call, rc, "create", err);
}

#define REF                                                                              \
  struct capstan_vm_ref ref = { .struct_size = sizeof ref, .id = r->id, .state = r->state }
#define ACTION(f)                                                                        \
  struct capstan_action act = { .struct_size = sizeof act, .flags = (f) }

gboolean
cs_hv_start (struct cs_hv *hv, const struct cs_vm_ref *r, guint flags, GError **err)
{
  NEED (start);
  REF;
  ACTION (flags);
  CALL (start, hv->self, &ref, &act);
  return ok_;
}

static void
add_timeout (struct capstan_action *act, struct capstan_kv *kv, char *text, gsize n, guint ms)
{
  g_snprintf (text, (gulong) n, "%u", ms);
  kv->key = "timeout_ms";
  kv->value = text;
  act->params = kv;
  act->n_params = 1;
}

gboolean
cs_hv_stop (struct cs_hv *hv, const struct cs_vm_ref *r, guint flags, guint timeout_ms, GError **err)
{
  NEED (stop);
  REF;
  ACTION (flags);
  struct capstan_kv kv;
  char text[16];
  if (timeout_ms != 0)
    add_timeout (&act, &kv, text, sizeof text, timeout_ms);
  struct capstan_call call;
  cs_call_init (&call, hv->p, hv->options, &hv->mutex);
  call.deadline = timeout_ms != 0 ? cs_now () + timeout_ms / 1000.0 : 0;
  return cs_call_end (&call, hv->p->hv_ops.stop (&call, hv->self, &ref, &act), "stop", err);
}

gboolean
cs_hv_destroy (struct cs_hv *hv, const struct cs_vm_ref *r, guint flags, GError **err)
{
  NEED (destroy);
  REF;
  ACTION (flags);
  CALL (destroy, hv->self, &ref, &act);
  return ok_;
}

gboolean
cs_hv_pause (struct cs_hv *hv, const struct cs_vm_ref *r, GError **err)
{
  NEED (pause);
  REF;
  ACTION (0);
  CALL (pause, hv->self, &ref, &act);
  return ok_;
}

gboolean
cs_hv_resume (struct cs_hv *hv, const struct cs_vm_ref *r, GError **err)
{
  NEED (resume);
  REF;
  ACTION (0);
  CALL (resume, hv->self, &ref, &act);
  return ok_;
}

gboolean
cs_hv_rename (struct cs_hv *hv, struct cs_vm_ref *r, const char *title, GError **err)
{
  if (hv->p->hv_ops.rename == NULL || r->id == NULL)
    return TRUE;
  REF;
  struct capstan_vm_ref now = { .struct_size = sizeof now };
  struct capstan_call call;
  cs_call_init (&call, hv->p, hv->options, &hv->mutex);
  int rc = hv->p->hv_ops.rename (&call, hv->self, &ref, title, &now);
  if (rc >= 0 && now.id != NULL) { /* otherwise it is the same */
    char *id = g_strdup (now.id), *state = g_strdup (now.state);
    cs_vm_ref_clear (r);
    *r = (struct cs_vm_ref) { id, state };
  }
  return cs_call_end (&call, rc, "rename", err);
}

/* The first of what was emitted, or a VM that is gone. */
static struct cs_vm *
take_first (GPtrArray *vms)
{
  if (vms->len > 0)
    return g_ptr_array_steal_index (vms, 0);
  struct capstan_vm_info gone = { .struct_size = sizeof gone, .state = CAPSTAN_VM_GONE };
  return cs_vm_copy (&gone);
}

gboolean
cs_hv_info (struct cs_hv *hv, const struct cs_vm_ref *r, struct cs_vm **ret_vm, GError **err)
{
  NEED (info);
  REF;
  ACTION (0);
  g_autoptr (GPtrArray) vms = g_ptr_array_new_with_free_func ((GDestroyNotify) cs_vm_free);
  struct capstan_list list = { vms, NULL };
  CALL (info, hv->self, &ref, &act, &list);
  if (ok_ && ret_vm != NULL)
    *ret_vm = take_first (vms);
  return ok_;
}

gboolean
cs_hv_wait (struct cs_hv *hv, const struct cs_vm_ref *r, guint until_state, guint timeout_ms,
            struct cs_vm **ret_vm, GError **err)
{
  NEED (wait);
  REF;
  ACTION (0);
  struct capstan_kv kv;
  char text[16];
  g_autoptr (GPtrArray) vms = g_ptr_array_new_with_free_func ((GDestroyNotify) cs_vm_free);
  struct capstan_list list = { vms, NULL };
  if (timeout_ms != 0)
    add_timeout (&act, &kv, text, sizeof text, timeout_ms);
  struct capstan_call call;
  cs_call_init (&call, hv->p, hv->options, &hv->mutex);
  call.deadline = timeout_ms != 0 ? cs_now () + timeout_ms / 1000.0 : 0;
  int rc = hv->p->hv_ops.wait (&call, hv->self, &ref, until_state, &act, &list);
  gboolean ok_ = cs_call_end (&call, rc, "wait", err);
  if (ok_ && ret_vm != NULL)
    *ret_vm = take_first (vms);
  return ok_;
}

int
cs_hv_console (struct cs_hv *hv, const struct cs_vm_ref *r, const char *role, GError **err)
{
  if (hv->p->hv_ops.console == NULL) {
    cs_fail (err, CAPSTAN_E_UNSUPPORTED, "console is not supported by %s", hv->p->name);
    return -1;
  }
  REF;
  struct capstan_console_req q = { .struct_size = sizeof q, .want = CAPSTAN_CONSOLE_FD, .role = role };
  struct capstan_console_rsp a = { .struct_size = sizeof a, .fd = -1 };
  CALL (console, hv->self, &ref, &q, &a);
  if (ok_ && (a.kind != CAPSTAN_CONSOLE_FD || a.fd < 0)) {
    cs_fail (err, CAPSTAN_E_UNSUPPORTED, "%s: it has no console to attach to", hv->p->name);
    return -1;
  }
  if (ok_)
    fcntl (a.fd, F_SETFD, FD_CLOEXEC);
  return ok_ ? a.fd : -1;
}

gboolean
cs_vm_is_over (guint state)
{
  return state == CAPSTAN_VM_STOPPED || state == CAPSTAN_VM_CRASHED || state == CAPSTAN_VM_GONE;
}

const char *
cs_vm_state_name (guint state)
{
  static const char *const names[] = { "unknown", "creating", "stopped", "running", "paused",
                                       "crashed", "gone", "starting", "stopping", "saved" };
  return state < G_N_ELEMENTS (names) ? names[state] : names[0];
}
