/* VirtualBox through VBoxManage. SPDX-License-Identifier: BSD-3-Clause
 *
 * A machine that is started with its processors held (CAPSTAN_F_PAUSED) is one whose serial
 * ports are served already and that VirtualBox has not been told to start: resume does that.
 * VirtualBox itself cannot start a machine like that, and pausing one afterwards would be a
 * race that the guest's first output loses. */
#define _GNU_SOURCE
#include "vbox.h"
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { STOP_MS = 10000, POLL_MS = 50, SLOW_MS = 300, OFF_TRIES = 6, OFF_MS = 50, END_MS = 5000, ENDING_MS = 1000,
       LOOK_MS = 10000, LOOK_MAX_MS = 600000 };

static int
vbox_probe (struct capstan_call *call)
{
  struct vbox v = { .major = 0 };
  int rc = vb_find (call, &v);
  if (rc == 0)
    rc = vb_version (call, &v);
  return rc == 0 ? vb_driver (call, &v) : rc;
}

static int
vbox_open (struct capstan_call *call, void **ret)
{
  struct vbox *v = calloc (1, sizeof *v);
  if (v == NULL)
    return capstan_error (call, CAPSTAN_E_NOMEM, 0, "out of memory");
  int rc = vb_find (call, v);
  if (rc != 0) {
    free (v);
    return rc;
  }
  *ret = v;
  return 0;
}

static void
vbox_close (struct capstan_call *call, void *self)
{
  free (self);
}

static const uint64_t caps = CAPSTAN_HV_LOCAL | CAPSTAN_HV_DISK_BOOT | CAPSTAN_HV_SOFT_STOP |
                             CAPSTAN_HV_DETACHED | CAPSTAN_HV_PAUSE | CAPSTAN_HV_EXECUTES;

static int
vbox_caps (struct capstan_call *call, void *self, struct capstan_caps *c)
{
  struct vbox *v = self;
  c->bits = caps;
  c->formats = "raw,vdi,vmdk,vhd";
  c->archs = "x86_64";
  c->nics = "nat,bridge,hostonly";
  c->accel = NULL;
  c->detail = capstan_host_->keep (call, v->program, SIZE_MAX);
  return 0;
}

static int
vbox_check (struct capstan_call *call, void *self, const struct capstan_vm_spec *s)
{
  return vb_check (call, self, s);
}

static int
vbox_create (struct capstan_call *call, void *self, const struct capstan_vm_spec *s,
             struct capstan_vm_ref *ret)
{
  int rc = vb_create (call, self, s);
  if (rc == 0)
    ret->id = capstan_host_->keep (call, s->uuid, SIZE_MAX);
  return rc;
}

/* ---- state ---- */

static uint32_t
state_of (const struct vb_info *i, const struct vb_relay *relay)
{
  static const struct { const char *word; uint32_t state; } all[] = {
    { "poweroff", CAPSTAN_VM_STOPPED }, { "running", CAPSTAN_VM_RUNNING }, { "paused", CAPSTAN_VM_PAUSED },
    { "aborted", CAPSTAN_VM_CRASHED }, { "gurumeditation", CAPSTAN_VM_CRASHED }, { "stuck", CAPSTAN_VM_CRASHED },
    { "saved", CAPSTAN_VM_SAVED }, { "aborted-saved", CAPSTAN_VM_SAVED }, { "starting", CAPSTAN_VM_STARTING },
    { "restoring", CAPSTAN_VM_STARTING }, { "stopping", CAPSTAN_VM_STOPPING }, { "saving", CAPSTAN_VM_STOPPING },
    { "inaccessible", CAPSTAN_VM_UNKNOWN } };
  int off = strcmp (i->state, "poweroff") == 0 || strcmp (i->state, "aborted") == 0;
  if (off && relay->alive && !relay->running)
    return CAPSTAN_VM_PAUSED;
  for (size_t k = 0; k < sizeof all / sizeof *all; k++)
    if (strcmp (i->state, all[k].word) == 0)
      return all[k].state;
  return CAPSTAN_VM_UNKNOWN;
}

static int
is_off (uint32_t state)
{
  return state == CAPSTAN_VM_STOPPED || state == CAPSTAN_VM_CRASHED || state == CAPSTAN_VM_SAVED;
}

/* The state (>= 0) or -code; GONE if there is no such machine. A guru meditation, which
 * VirtualBox keeps for a debugger to look at, has a process still: *ret_stuck. */
static int
look (struct capstan_call *call, struct vbox *v, int flags, const char *id, struct vb_info *i, int *ret_stuck)
{
  struct vb_relay relay;
  int rc = vb_info (call, v, flags, id, i);
  if (rc <= 0)
    return rc < 0 ? rc : CAPSTAN_VM_GONE;
  relay_look (call, id, &relay);
  if (ret_stuck != NULL)
    *ret_stuck = strcmp (i->state, "gurumeditation") == 0 || strcmp (i->state, "stuck") == 0;
  return (int) state_of (i, &relay);
}

/* As look, where it has to be there. */
static int
need (struct capstan_call *call, struct vbox *v, const char *id, struct vb_info *i)
{
  int st = look (call, v, 0, id, i, NULL);
  if (st == CAPSTAN_VM_GONE)
    return capstan_error (call, CAPSTAN_E_NOTFOUND, 0, "VirtualBox knows no machine %s", id != NULL ? id : "without id");
  if (st == CAPSTAN_VM_UNKNOWN)
    return capstan_error (call, CAPSTAN_E_STATE, 0, "VirtualBox cannot read the settings of machine %s; it can "
                          "only be deleted", id);
  return st;
}

/* ---- start ---- */

/* Its process, the hard way. */
static int
end_process (struct capstan_call *call, struct vbox *v, const char *id, struct vb_reply *r)
{
  struct vb_args a = { .v = { "startvm", id, "--type", "emergencystop" }, .n = 4 };
  return vb_try (call, v, VB_ALWAYS | VB_QUIET, &a, r);
}

/* Off at once. A guest whose ports have closed is ending by itself; a machine that is told to
 * power off meanwhile can stand still (7.2), and its process is ended then. */
static int
power_off (struct capstan_call *call, struct vbox *v, const char *id, struct vb_reply *r)
{
  struct vb_args a = { .v = { "controlvm", id, "poweroff" }, .n = 3 };
  struct vb_relay relay;
  relay_look (call, id, &relay);
  if (!relay.alive)
    relay_machine_end (call, VB_ALWAYS, id, ENDING_MS);
  int rc = vb_try (call, v, VB_ALWAYS | VB_QUIET, &a, r);
  return rc == -CAPSTAN_E_TIMEOUT ? end_process (call, v, id, r) : rc;
}

/* Its ports are served: now the machine. After an error it is off, and nobody serves. */
static int
power_on (struct capstan_call *call, struct vbox *v, const char *id, const struct vb_info *i)
{
  struct vb_reply r;
  for (int tries = 0;; tries++) {
    v->lost = 0;
    int rc = vb_start (call, v, id, i);
    if (rc == 0)
      return 0;
    /* cancelled, it may be starting; when it failed there is nothing to stop */
    power_off (call, v, id, &r);
    relay_stop (call, id);
    if (!v->lost || rc == -CAPSTAN_E_CANCELLED || tries == VB_AGAIN)
      return rc;
    if ((rc = vb_pause (call, 0, OFF_MS)) != 0 || (rc = relay_start (call, id)) != 0) {
      relay_stop (call, id); /* cancelled, it may have come to that */
      return rc;
    }
  }
}

static int
vbox_start (struct capstan_call *call, void *self, const struct capstan_vm_ref *r,
            const struct capstan_action *a)
{
  struct vbox *v = self;
  struct vb_info i;
  int rc = need (call, v, r->id, &i);
  if (rc < 0)
    return rc;
  if (!is_off ((uint32_t) rc) || rc == CAPSTAN_VM_SAVED)
    return capstan_error (call, CAPSTAN_E_STATE, 0, "%s is started already (%s)", i.name, i.state);
  if ((rc = vb_ports_free (call, &i)) != 0)
    return rc;
  if ((rc = relay_start (call, r->id)) != 0) {
    relay_stop (call, r->id); /* cancelled, it may have come to that */
    return rc;
  }
  return a->flags & CAPSTAN_F_PAUSED ? 0 : power_on (call, v, r->id, &i);
}

static int
vbox_resume (struct capstan_call *call, void *self, const struct capstan_vm_ref *r,
             const struct capstan_action *a)
{
  struct vbox *v = self;
  struct vb_info i;
  int st = need (call, v, r->id, &i);
  if (st < 0)
    return st;
  if (st != CAPSTAN_VM_PAUSED)
    return capstan_error (call, CAPSTAN_E_STATE, 0, "%s is not paused (%s)", i.name, i.state);
  if (strcmp (i.state, "paused") != 0)
    return power_on (call, v, r->id, &i);
  return vb_simple (call, v, 0, "resume", "controlvm", r->id, "resume", NULL);
}

/* ---- wait and stop ---- */

/* Until its ports have closed and its process has ended, or for ms: whether somebody serves
 * its ports still. Where nobody did, no longer than a process takes that is ending. */
static int
wait_for_end (struct capstan_call *call, const char *id, int64_t ms)
{
  struct vb_relay relay;
  relay_look (call, id, &relay);
  int rc = ms > 0 && relay.running ? relay_wait (call, id, ms) : 1;
  if (rc == 1 && (rc = relay_machine_end (call, 0, id, END_MS)) == 0)
    return 0;
  return rc < 0 ? rc : 1;
}

/* The state when it is until, or one from which that does not come; or -code. Its ports tell of
 * its end; VirtualBox is asked now and then all the same, less and less often, since a machine
 * that hangs closes nothing. That it does not answer then is no reason to wait no longer. */
static int
wait_for (struct capstan_call *call, struct vbox *v, const char *id, int until, int64_t ms, struct vb_info *i)
{
  int64_t end = ms != 0 ? vb_now_ms () + ms : INT64_MAX, look_ms = LOOK_MS;
  for (int polls = 0;; polls++) {
    int64_t left = end - vb_now_ms ();
    int rc = until == CAPSTAN_VM_STOPPED ? wait_for_end (call, id, left < look_ms ? left : look_ms) : 0;
    if (rc < 0)
      return rc;
    int st = look (call, v, 0, id, i, NULL);
    if (st < 0 ? rc == 0 || st == -CAPSTAN_E_CANCELLED
               : st == until || st == CAPSTAN_VM_GONE || st == CAPSTAN_VM_UNKNOWN || is_off ((uint32_t) st))
      return st;
    if (vb_now_ms () >= end)
      return st < 0 ? st : capstan_error (call, CAPSTAN_E_TIMEOUT, 0, "%s is still %s after %lld ms", i->name,
                                          i->state, (long long) ms);
    if (rc == 1)
      look_ms = look_ms < LOOK_MAX_MS / 2 ? look_ms * 2 : LOOK_MAX_MS;
    /* where nobody serves the ports there is nothing to wait for: it is asked less often */
    if ((rc = capstan_host_->sleep_ms (call, polls < 20 ? POLL_MS : SLOW_MS)) != 0)
      return rc;
  }
}

static int64_t
timeout_of (const struct capstan_action *a, int64_t def)
{
  for (size_t i = 0; i < a->n_params; i++)
    if (strcmp (a->params[i].key, "timeout_ms") == 0)
      return (int64_t) strtoll (a->params[i].value, NULL, 10);
  return def;
}

/* Off at once, whatever it is doing; also when the call was cancelled. */
static int
pull_plug (struct capstan_call *call, struct vbox *v, const char *id)
{
  struct vb_info i;
  int stuck = 0, rc = 0;
  relay_stop (call, id);
  for (int tries = 0;; tries++) {
    int st = look (call, v, VB_ALWAYS, id, &i, &stuck);
    if (st < 0 || (is_off ((uint32_t) st) && !stuck) || st == CAPSTAN_VM_GONE || st == CAPSTAN_VM_UNKNOWN)
      return st < 0 ? st : 0;
    if (tries == OFF_TRIES && rc != 0 && rc != -CAPSTAN_E_TIMEOUT)
      return rc;
    if (tries == OFF_TRIES)
      return capstan_error (call, CAPSTAN_E_STATE, 0, "%s is %s still, though VirtualBox was told to end it; "
                            "end its process, VBoxHeadless", i.name, i.state);
    int listens = tries < OFF_TRIES / 2;
    struct vb_reply r;
    rc = listens ? power_off (call, v, id, &r) : end_process (call, v, id, &r);
    if (rc == 0 && r.status != 0)
      rc = vb_fail (call, &r, "stop", id);
    if (rc == 0 && listens)
      return relay_machine_end (call, VB_ALWAYS, id, END_MS);
    /* it may be just ending, or just starting, and not to be told anything meanwhile */
    vb_pause (call, VB_ALWAYS, OFF_MS << tries);
  }
}

static int
vbox_stop (struct capstan_call *call, void *self, const struct capstan_vm_ref *r,
           const struct capstan_action *a)
{
  struct vbox *v = self;
  struct vb_info i;
  int st = need (call, v, r->id, &i), rc;
  if (st < 0)
    return st;
  if (a->flags & CAPSTAN_F_FORCE)
    return pull_plug (call, v, r->id);
  if (is_off ((uint32_t) st))
    return 0;
  if (strcmp (i.state, "running") != 0)
    return capstan_error (call, CAPSTAN_E_STATE, 0, "%s is %s and cannot be asked to stop", i.name,
                          st == CAPSTAN_VM_PAUSED ? "paused" : i.state);
  rc = vb_simple (call, v, 0, "stop", "controlvm", r->id, "acpipowerbutton", NULL);
  /* it may have ended between the two; and that the button was pressed says nothing */
  if (rc != 0 && is_off ((uint32_t) look (call, v, 0, r->id, &i, NULL)))
    return 0;
  if (rc == 0 && !(a->flags & CAPSTAN_F_NO_WAIT))
    rc = wait_for (call, v, r->id, CAPSTAN_VM_STOPPED, timeout_of (a, STOP_MS), &i);
  return rc < 0 ? rc : 0;
}

static int
vbox_destroy (struct capstan_call *call, void *self, const struct capstan_vm_ref *r,
              const struct capstan_action *a)
{
  struct vbox *v = self;
  struct vb_info i;
  int stuck = 0, rc;
  if (r->id == NULL)
    return 0;
  int st = look (call, v, VB_ALWAYS, r->id, &i, &stuck);
  if (st < 0)
    return st;
  if (st == CAPSTAN_VM_GONE && (vb_file (call, r->id, "") == NULL || access (vb_file (call, r->id, ""), F_OK) != 0))
    return 0;
  if (st != CAPSTAN_VM_GONE && st != CAPSTAN_VM_UNKNOWN && (!is_off ((uint32_t) st) || stuck)) {
    if (!(a->flags & CAPSTAN_F_FORCE))
      return capstan_error (call, CAPSTAN_E_STATE, 0, "%s is running (%s)", i.name, i.state);
    if ((rc = pull_plug (call, v, r->id)) != 0)
      return rc;
  }
  relay_stop (call, r->id); /* of a machine that VirtualBox says nothing of */
  return vb_remove (call, v, r->id);
}

static int
vbox_pause (struct capstan_call *call, void *self, const struct capstan_vm_ref *r,
            const struct capstan_action *a)
{
  struct vb_info i;
  int st = need (call, self, r->id, &i);
  if (st < 0)
    return st;
  if (st != CAPSTAN_VM_RUNNING)
    return capstan_error (call, CAPSTAN_E_STATE, 0, "%s is not running (%s)", i.name, i.state);
  return vb_simple (call, self, 0, "pause", "controlvm", r->id, "pause", NULL);
}

static int
vbox_reset (struct capstan_call *call, void *self, const struct capstan_vm_ref *r,
            const struct capstan_action *a)
{
  struct vb_info i;
  int st = need (call, self, r->id, &i);
  return st < 0 ? st : vb_simple (call, self, 0, "reset", "controlvm", r->id, "reset", NULL);
}

/* ---- info ---- */

struct resources { const char *v[64]; int n; };

CAPSTAN_PRINTF (3, 4) static void
resource (struct capstan_call *call, struct resources *r, const char *fmt, ...)
{
  char buf[VB_PATH + 32];
  va_list ap;
  va_start (ap, fmt);
  vsnprintf (buf, sizeof buf, fmt, ap);
  va_end (ap);
  if (r->n < (int) (sizeof r->v / sizeof *r->v) - 1)
    r->v[r->n++] = capstan_host_->keep (call, buf, SIZE_MAX);
}

static void
resources_of (struct capstan_call *call, const char *id, const struct vb_info *i, const struct vb_relay *relay,
              struct resources *r)
{
  const char *dir = vb_file (call, id, ""), *path;
  resource (call, r, "machine:%s", i->name);
  if (dir != NULL)
    resource (call, r, "folder:%s", dir);
  for (int k = 0; k < i->n_disks; k++)
    resource (call, r, "file:%s", i->disks[k]);
  for (int port = 0; port < 4; port++) {
    if ((path = relay_field (call, id, port, 2)) != NULL && access (path, F_OK) == 0)
      resource (call, r, "file:%s", path);
    if (relay->alive && (path = relay_field (call, id, port, 1)) != NULL)
      resource (call, r, "socket:%s", path);
  }
  if (relay->pid > 0)
    resource (call, r, "pid:%ld", (long) relay->pid);
  if (relay->vm > 0)
    resource (call, r, "pid:%ld", (long) relay->vm);
}

static int
emit (struct capstan_call *call, const char *id, const struct vb_info *i, struct capstan_list *list)
{
  struct capstan_nic nic[NICS_MAX];
  const struct capstan_nic *nics[NICS_MAX + 1] = { NULL };
  const char *forwards[NICS_MAX][FORWARDS_MAX + 1] = { { NULL } };
  struct resources res = { .n = 0 };
  struct vb_relay relay;
  int n = 0;
  relay_look (call, id, &relay);
  resources_of (call, id, i, &relay, &res);
  struct capstan_vm_info o = { .struct_size = sizeof o, .id = id, .name = i->name, .detail = i->state,
    .state = state_of (i, &relay), .started = INT64_MIN, .stopped = INT64_MIN, .nics = nics,
    .resources = res.v };
  for (int k = 0; k < NICS_MAX; k++) {
    const struct vb_nic *b = &i->nics[k];
    if (*b->mode == '\0')
      continue;
    for (int f = 0, m = 0; f < i->n_forwards; f++)
      if (i->forward_nic[f] == k)
        forwards[n][m++] = i->forwards[f];
    nic[n] = (struct capstan_nic) { .struct_size = sizeof nic[n],
      .mode = strcmp (b->mode, "bridged") == 0 ? "bridge" : b->mode, .mac = *b->mac != '\0' ? b->mac : NULL,
      .model = strcmp (b->model, "82540EM") == 0 ? "e1000" : strcmp (b->model, "Am79C973") == 0 ? "pcnet" : b->model,
      .device = *b->device != '\0' ? b->device : NULL, .forwards = forwards[n] };
    nics[n] = &nic[n];
    n++;
  }
  if (o.state == CAPSTAN_VM_RUNNING || strcmp (i->state, "paused") == 0)
    o.started = o.state == CAPSTAN_VM_RUNNING ? i->changed : INT64_MIN;
  else if (is_off (o.state))
    o.stopped = i->changed;
  if (o.state == CAPSTAN_VM_CRASHED)
    o.reason = CAPSTAN_REASON_CRASHED; /* that a machine is off says not who did it */
  if (o.state == CAPSTAN_VM_RUNNING && relay_field (call, id, 0, 0) != NULL && !relay.alive)
    o.detail = "running, but its serial ports are not served: what it prints blocks it";
  return capstan_host_->emit_vm (list, &o);
}

static int
vbox_info (struct capstan_call *call, void *self, const struct capstan_vm_ref *r,
           const struct capstan_action *a, struct capstan_list *list)
{
  struct vb_info i;
  int rc = vb_info (call, self, 0, r->id, &i);
  return rc <= 0 ? rc : emit (call, r->id, &i, list);
}

static int
vbox_wait (struct capstan_call *call, void *self, const struct capstan_vm_ref *r, uint32_t until,
           const struct capstan_action *a, struct capstan_list *list)
{
  struct vb_info i;
  int st = r->id != NULL ? wait_for (call, self, r->id, (int) until, timeout_of (a, 0), &i) : CAPSTAN_VM_GONE;
  return st < 0 ? st : st == CAPSTAN_VM_GONE ? 0 : emit (call, r->id, &i, list);
}

static int
vbox_list (struct capstan_call *call, void *self, const struct capstan_vm_query *q, struct capstan_list *list)
{
  struct vb_args a = { .v = { "list", "vms" }, .n = 2 };
  struct vb_reply r;
  int rc = vb_try (call, self, 0, &a, &r);
  if (rc != 0 || r.status != 0)
    return rc != 0 ? rc : vb_fail (call, &r, "list", "the machines");
  char *text = strdup (r.out), *rest = text, *id;
  while (rc == 0 && text != NULL &&
         (id = vb_next_machine (&rest, q->name_prefix != NULL ? q->name_prefix : "capstan-")) != NULL) {
    struct vb_info i;
    rc = vb_info (call, self, 0, id, &i);
    if (rc > 0)
      rc = emit (call, id, &i, list);
  }
  free (text);
  return rc;
}

static int
vbox_console (struct capstan_call *call, void *self, const struct capstan_vm_ref *r,
              const struct capstan_console_req *q, struct capstan_console_rsp *ret)
{
  int port = q->role != NULL && strcmp (q->role, "control") == 0;
  const char *dir = vb_file (call, r->id, "serial");
  if (dir == NULL || access (dir, F_OK) != 0)
    return capstan_error (call, CAPSTAN_E_NOTFOUND, 0, "there is no machine %s here", r->id != NULL ? r->id : "");
  int s = relay_connect (call, r->id, port);
  if (s < 0)
    return s;
  ret->kind = CAPSTAN_CONSOLE_FD;
  ret->fd = s;
  return 0;
}

static const struct capstan_hypervisor_ops ops = {
  .struct_size = sizeof ops, .probe = vbox_probe, .open = vbox_open, .close = vbox_close,
  .caps = vbox_caps, .check = vbox_check, .create = vbox_create, .start = vbox_start,
  .stop = vbox_stop, .destroy = vbox_destroy, .pause = vbox_pause, .resume = vbox_resume,
  .reset = vbox_reset, .wait = vbox_wait, .info = vbox_info, .list = vbox_list,
  .console = vbox_console
};
static const struct capstan_option options[] = {
  { .key = "vboxmanage", .help = "VBoxManage, where it is not in PATH (or CAPSTAN_VBOXMANAGE)",
    .type = CAPSTAN_OPT_PATH } };
static const struct capstan_option vm_options[] = {
  { .key = "paravirt", .help = "what VirtualBox shows itself to the guest as", .def = "default",
    .type = CAPSTAN_OPT_CHOICE, .choices = "default,none,minimal,kvm,hyperv" },
  { .key = "hostiocache", .help = "disks through the host's cache", .def = "true", .type = CAPSTAN_OPT_BOOL } };
static const struct capstan_provider vbox = {
  .struct_size = sizeof vbox, .kind = CAPSTAN_KIND_HYPERVISOR, .name = "vbox",
  .summary = "VirtualBox through VBoxManage", .caps = caps, .threads = CAPSTAN_THREADS_PER_OPEN,
  .option_size = sizeof *options, .options = options, .n_options = sizeof options / sizeof *options,
  .vm_options = vm_options, .n_vm_options = sizeof vm_options / sizeof *vm_options, .ops = &ops
};
static const struct capstan_provider *const providers[] = { &vbox, NULL };
static const struct capstan_plugin plugin = {
  .struct_size = sizeof plugin, .abi_major = CAPSTAN_ABI_MAJOR, .abi_minor = CAPSTAN_ABI_MINOR,
  .name = "hypervisor-vbox", .version = "0.1.0", .license = "BSD-3-Clause", .providers = providers
};
CAPSTAN_PLUGIN (plugin);
