/* Starting and ending instances. SPDX-License-Identifier: BSD-3-Clause */
#include "config.h"
#include "core/vm/vm.h"
#include "core/base/cancel.h"
#include "core/base/error.h"
#include "core/base/util.h"
#include "core/vm/runs.h"
#include "core/vm/volume.h"
#include <fcntl.h>
#include <string.h>

enum { OWN_FAILURE = 125, ATTACHED_MS = 10000, LOOK_MS = 50 };

gboolean
cs_instance_state (struct cs_instance *i, struct cs_hv *hv, guint *ret, GError **err)
{
  g_autoptr (cs_vm) vm = NULL;
  *ret = CAPSTAN_VM_GONE;
  if (i->ref.id == NULL)
    return TRUE;
  if (!cs_hv_info (hv, &i->ref, &vm, err))
    return FALSE;
  *ret = vm->info.state;
  return TRUE;
}

static gboolean
is_awake (guint state)
{
  return state == CAPSTAN_VM_RUNNING || state == CAPSTAN_VM_PAUSED ||
         state == CAPSTAN_VM_STOPPING || state == CAPSTAN_VM_STARTING;
}

static gboolean
is_running (struct cs_instance *i, struct cs_hv *hv)
{
  guint state;
  return cs_instance_state (i, hv, &state, NULL) && is_awake (state);
}

gboolean
cs_instance_can_detach (struct cs_hv *hv, GError **err)
{
  struct capstan_caps caps;
  if (!cs_hv_caps (hv, &caps, err))
    return FALSE;
  return (caps.bits & CAPSTAN_HV_DETACHED) ||
         cs_fail (err, CAPSTAN_E_UNSUPPORTED,
                  "here a machine of %s ends with the process that runs it (%s); "
                  "run it attached",
                  cs_hv_name (hv), caps.detail != NULL ? caps.detail : "");
}

/* Whoever was attached to the last run is still looking at its end. */
static gboolean
nobody_attached (struct cs_instance *i, GError **err)
{
  g_autofree char *path = cs_instance_path (i, "attached");
  for (guint done = 0;; done += LOOK_MS) {
    cs_autofd int lock = cs_lock_file (path, TRUE, FALSE, NULL);
    if (lock >= 0)
      return TRUE;
    if (done >= ATTACHED_MS)
      return cs_fail (err, CAPSTAN_E_BUSY, "somebody is still attached to %s", i->name);
    if (!cs_sleep (LOOK_MS))
      return cs_fail (err, CAPSTAN_E_CANCELLED, "cancelled");
  }
}

gboolean
cs_instance_begin (struct cs_instance *i, struct cs_hv *hv, GError **err)
{
  guint state;
  if (!cs_instance_state (i, hv, &state, err))
    return FALSE;
  if (state == CAPSTAN_VM_GONE)
    return cs_fail (err, CAPSTAN_E_NOTFOUND,
                    "%s does not know the machine of '%s' any more; capstan delete %s, and "
                    "run the image again",
                    i->hypervisor, i->name, i->name);
  if (is_awake (state))
    return cs_fail (err, CAPSTAN_E_STATE, "'%s' is %s already%s%s", i->name,
                    cs_vm_state_name (state), state == CAPSTAN_VM_PAUSED ? ": capstan resume " : "",
                    state == CAPSTAN_VM_PAUSED ? i->name : "");
  if (!cs_volumes_unused (i, err))
    return FALSE;
  cs_stay (i); /* for a supervisor that is about to start it again */
  cs_monitor_end (i);
  cs_stay_not (i);
  g_autofree char *run_dir = cs_instance_run_dir (i, err); /* it does not outlive the host's */
  return run_dir != NULL && nobody_attached (i, err) && cs_runs_begin (i, err);
}

gboolean
cs_instance_start (struct cs_instance *i, struct cs_hv *hv, GError **err)
{
  if (!cs_instance_can_detach (hv, err) || !cs_instance_begin (i, hv, err))
    return FALSE;
  if (cs_hv_start (hv, &i->ref, 0, err))
    return cs_monitor_start (i, err);
  cs_runs_end (i, -1, CAPSTAN_REASON_FAILED);
  return FALSE;
}

gboolean
cs_stop_say (int control)
{
  return cs_write_all (control, "stop\n", 5, "the control channel", NULL);
}

/* Says it each second anew, since a guest that is still booting does not listen yet. */
static gboolean
say_stop (struct cs_instance *i, struct cs_hv *hv, int fd, guint seconds, gboolean *ret_stopped,
          GError **err)
{
  for (double end = cs_now () + seconds; cs_now () < end;) {
    g_autoptr (GError) e = NULL;
    if (!cs_stop_say (fd)) { /* who has the other end of it let go */
      cs_autofd int again = cs_hv_console (hv, &i->ref, "control", NULL);
      if (again >= 0)
        dup3 (again, fd, O_CLOEXEC);
    }
    if ((*ret_stopped = cs_hv_wait (hv, &i->ref, CAPSTAN_VM_STOPPED, 1000, NULL, &e)))
      return TRUE;
    if (e->code == CAPSTAN_E_CANCELLED) {
      g_propagate_error (err, g_steal_pointer (&e));
      return FALSE;
    }
    if (e->code != CAPSTAN_E_TIMEOUT) {
      cs_warn ("%s", e->message);
      return TRUE;
    }
  }
  return TRUE;
}

/* *ret_stopped: it has. */
static gboolean
ask (struct cs_instance *i, struct cs_hv *hv, guint seconds, gboolean *ret_stopped, GError **err)
{
  cs_autofd int fd =
      g_strcmp0 (i->guest, "linux") == 0 ? cs_hv_console (hv, &i->ref, "control", NULL) : -1;
  *ret_stopped = fd < 0 && !is_running (i, hv); /* it ended meanwhile */
  if (*ret_stopped)
    return TRUE;
  if (fd < 0) {
    cs_info ("%s: this guest cannot be asked to stop; powering it off", i->name);
    return TRUE;
  }
  if (!say_stop (i, hv, fd, seconds, ret_stopped, err))
    return FALSE;
  if (!*ret_stopped)
    *ret_stopped = !is_running (i, hv); /* it closed the channel by ending */
  if (!*ret_stopped)
    cs_info ("%s did not stop in %u s; powering it off", i->name, seconds);
  return TRUE;
}

/* Until its supervisor has written down how it ended, or was busy starting it again. */
static gboolean
settle (struct cs_instance *i, struct cs_hv *hv, GError **err)
{
  cs_monitor_end (i);
  return !is_running (i, hv) || cs_hv_stop (hv, &i->ref, CAPSTAN_F_FORCE, 0, err);
}

gboolean
cs_instance_stop (struct cs_instance *i, struct cs_hv *hv, guint seconds, GError **err)
{
  guint state;
  cs_stay (i);
  if (!cs_instance_state (i, hv, &state, err))
    return FALSE;
  if (state == CAPSTAN_VM_PAUSED) /* it hears nothing; one that goes on meanwhile is fine */
    cs_hv_resume (hv, &i->ref, NULL);
  gboolean stopped = !is_awake (state);
  if (!stopped && !ask (i, hv, seconds, &stopped, err))
    return FALSE;
  if (!stopped && !cs_hv_stop (hv, &i->ref, CAPSTAN_F_FORCE, 0, err))
    return FALSE;
  return settle (i, hv, err);
}

gboolean
cs_instance_kill (struct cs_instance *i, struct cs_hv *hv, GError **err)
{
  guint state;
  cs_stay (i);
  return cs_instance_state (i, hv, &state, err) &&
         (!is_awake (state) || cs_hv_stop (hv, &i->ref, CAPSTAN_F_FORCE, 0, err)) &&
         settle (i, hv, err);
}

gboolean
cs_instance_restart (struct cs_instance *i, struct cs_hv *hv, guint seconds, GError **err)
{
  if (i->remove)
    return cs_fail (err, CAPSTAN_E_STATE,
                    "'%s' is deleted when it ends (--rm): run %s again instead", i->name, i->image);
  return cs_instance_can_detach (hv, err) && cs_instance_stop (i, hv, seconds, err) &&
         cs_instance_start (i, hv, err);
}

static gboolean
need_state (struct cs_instance *i, struct cs_hv *hv, guint wanted, GError **err)
{
  guint state;
  if (!cs_instance_state (i, hv, &state, err))
    return FALSE;
  return state == wanted || cs_fail (err, CAPSTAN_E_STATE, "'%s' is not %s: it is %s", i->name,
                                     cs_vm_state_name (wanted), cs_vm_state_name (state));
}

gboolean
cs_instance_pause (struct cs_instance *i, struct cs_hv *hv, GError **err)
{
  return need_state (i, hv, CAPSTAN_VM_RUNNING, err) && cs_hv_pause (hv, &i->ref, err);
}

gboolean
cs_instance_resume (struct cs_instance *i, struct cs_hv *hv, GError **err)
{
  return need_state (i, hv, CAPSTAN_VM_PAUSED, err) && cs_hv_resume (hv, &i->ref, err);
}

gboolean
cs_instance_delete (struct cs_instance *i, struct cs_hv *hv, gboolean force, GError **err)
{
  if (force)
    cs_stay (i);
  if (hv != NULL && i->ref.id != NULL &&
      !cs_hv_destroy (hv, &i->ref, force ? CAPSTAN_F_FORCE : 0, err))
    return FALSE;
  cs_stay (i);
  cs_monitor_end (i);
  if (i->backend_name != NULL) {
    g_autofree char *run_dir = cs_instance_run_path (i);
    if (!cs_rmtree (run_dir, err))
      return FALSE;
  }
  return cs_rmtree (i->dir, err);
}

/* The machine keeps its name with the backend, and its folder here: paths into that stand in
 * many places. */
gboolean
cs_instance_rename (struct cs_instance *i, struct cs_hv *hv, const char *name, GError **err)
{
  if (!cs_instance_name_check (name, err))
    return FALSE;
  cs_autofd int lock = cs_instance_names_lock (i->suffix, err);
  if (lock < 0)
    return FALSE;
  struct cs_instance *there = cs_instance_find (name, i->suffix, NULL);
  cs_instance_free (there);
  if (there != NULL)
    return cs_fail (err, CAPSTAN_E_EXISTS, "there is an instance '%s' already", name);
  g_free (i->name);
  i->name = g_strdup (name);
  if (!cs_hv_rename (hv, &i->ref, name, err) || !cs_instance_save (i, err))
    return FALSE;
  g_autofree char *mark = cs_instance_path (i, "auto"); /* somebody has chosen a name now */
  unlink (mark);
  return TRUE;
}

void
cs_outcome_of (const struct cs_instance *i, struct cs_hv *hv, const struct capstan_vm_info *end,
               int said, struct cs_outcome *ret)
{
  struct capstan_caps caps = { 0 };
  gboolean crashed =
      end != NULL && (end->state == CAPSTAN_VM_CRASHED || end->reason == CAPSTAN_REASON_CRASHED ||
                      end->reason == CAPSTAN_REASON_FAILED);
  /* one of Linux says how its application did, if it can */
  gboolean owes = g_strcmp0 (i->guest, "linux") == 0 && cs_hv_caps (hv, &caps, NULL) &&
                  (caps.bits & CAPSTAN_HV_EXECUTES);
  ret->known = said >= 0;
  ret->failed = ret->known ? said != 0 : crashed || owes;
  ret->status = ret->known ? said : ret->failed ? OWN_FAILURE : 0;
}

void
cs_outcome (const struct cs_instance *i, struct cs_hv *hv, const struct capstan_vm_info *end,
            struct cs_outcome *ret)
{
  int said;
  cs_outcome_of (i, hv, end, cs_instance_exit_status (i, &said) ? said : -1, ret);
}
