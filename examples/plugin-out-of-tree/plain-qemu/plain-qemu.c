/* QEMU as it is, without libvirt: the operations. SPDX-License-Identifier: BSD-3-Clause */
#define _GNU_SOURCE
#include "plain-qemu.h"
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

static int
plain_probe (struct capstan_call *c)
{
  static const char *const argv[] = { QEMU, "--version", NULL };
  struct capstan_run_req q = { .struct_size = sizeof q, .argv = argv, .in_fd = -1, .out_fd = -1,
                               .err_fd = -1 };
  struct capstan_run_rsp r = { .struct_size = sizeof r };
  int rc = capstan_host_->run (c, &q, &r);
  if (rc == 0 && r.exit_status != 0)
    rc = capstan_error (c, CAPSTAN_E_UNSUPPORTED, 0, "%s --version: %.500s", QEMU, r.err);
  return rc;
}

static int
plain_open (struct capstan_call *c, void **ret)
{
  static int self; /* all it knows lies in the folders */
  (void) c;
  *ret = &self;
  return 0;
}

static void
plain_close (struct capstan_call *c, void *self)
{
  (void) c, (void) self;
}

#define CAPS (CAPSTAN_HV_LOCAL | CAPSTAN_HV_KERNEL_BOOT | CAPSTAN_HV_DISK_BOOT | CAPSTAN_HV_SOFT_STOP | \
              CAPSTAN_HV_DETACHED | CAPSTAN_HV_PAUSE | CAPSTAN_HV_EXECUTES)
static int
plain_caps (struct capstan_call *c, void *self, struct capstan_caps *ret)
{
  (void) c, (void) self;
  ret->bits = CAPS;
  ret->formats = "qcow2,raw,vmdk,vdi";
  ret->archs = "x86_64";
  ret->nics = "nat,none";
  ret->accel = accel (NULL);
  return 0;
}

/* ---- its life ---- */

static int
plain_create (struct capstan_call *c, void *self, const struct capstan_vm_spec *s, struct capstan_vm_ref *ret)
{
  int rc = plain_check (c, self, s);
  const char *dir = rc == 0 ? path_of (c, s->name, "") : NULL;
  if (dir == NULL)
    return rc != 0 ? rc : -CAPSTAN_E_INVAL;
  if (mkdir (dir, 0700) != 0)
    return capstan_error (c, errno == EEXIST ? CAPSTAN_E_EXISTS : CAPSTAN_E_IO, errno, "make %s", dir);
  if ((rc = write_machine (c, s)) != 0) {
    discard (c, s->name); /* a machine is there whole or not at all */
    return rc;
  }
  ret->id = capstan_host_->keep (c, s->name, SIZE_MAX);
  return 0;
}

/* It is in the background once all is set up; what it says before that is why it cannot be. */
static int
launch (struct capstan_call *c, const char *id, int paused)
{
  size_t n, k = 0;
  const char *args = get (c, id, "args", &n);
  const char **argv = calloc (n + 2, sizeof *argv);
  struct capstan_run_req q = { .struct_size = sizeof q, .argv = argv, .dir = path_of (c, id, ""),
                               .in_fd = -1, .out_fd = -1, .err_fd = -1 };
  struct capstan_run_rsp r = { .struct_size = sizeof r };
  if (argv == NULL)
    return capstan_error (c, CAPSTAN_E_NOMEM, errno, "start %s", id);
  for (size_t i = 0; i < n; i += strlen (args + i) + 1)
    argv[k++] = args + i;
  if (paused)
    argv[k++] = "-S";
  int rc = k > 0 ? capstan_host_->run (c, &q, &r)
                 : capstan_error (c, CAPSTAN_E_IO, 0, "%s/args cannot be read", q.dir != NULL ? q.dir : id);
  free (argv);
  if (rc == 0 && r.exit_status != 0)
    rc = capstan_error (c, CAPSTAN_E_INVAL, 0, "QEMU does not start: %.1500s", r.err);
  return rc;
}

static int
plain_start (struct capstan_call *c, void *self, const struct capstan_vm_ref *r,
             const struct capstan_action *a)
{
  int rc = need (c, r->id);
  (void) self;
  if (rc != 0)
    return rc;
  if (lives (c, r->id)) /* of two at once, the pid file's lock lets one through */
    return capstan_error (c, CAPSTAN_E_STATE, 0, "%s is started already", r->id);
  if ((rc = check_forwards (c, r->id)) != 0)
    return rc;
  const char *killed = path_of (c, r->id, "killed");
  if (killed != NULL)
    unlink (killed);
  return launch (c, r->id, (a->flags & CAPSTAN_F_PAUSED) != 0);
}

/* One that is in the state `from' is told to leave it. */
static int
change (struct capstan_call *c, const char *id, uint32_t from, const char *what, const char *command)
{
  char reply[REPLY_MAX];
  uint32_t state;
  int rc = need (c, id);
  if (rc == 0)
    rc = state_of (c, id, &state);
  if (rc == 0 && state != from)
    rc = capstan_error (c, CAPSTAN_E_STATE, 0, "%s is not %s", id, what);
  return rc != 0 ? rc : qmp (c, id, command, reply);
}

static int
plain_pause (struct capstan_call *c, void *self, const struct capstan_vm_ref *r,
             const struct capstan_action *a)
{
  (void) self, (void) a;
  return change (c, r->id, CAPSTAN_VM_RUNNING, "running", "stop");
}

static int
plain_resume (struct capstan_call *c, void *self, const struct capstan_vm_ref *r,
              const struct capstan_action *a)
{
  (void) self, (void) a;
  return change (c, r->id, CAPSTAN_VM_PAUSED, "paused", "cont");
}

static uint64_t
timeout_of (const struct capstan_action *a)
{
  for (size_t i = 0; i < a->n_params; i++)
    if (strcmp (a->params[i].key, "timeout_ms") == 0)
      return strtoul (a->params[i].value, NULL, 10);
  return 0;
}

/* By its monitor, so that the disks are flushed; else by a signal. */
static int
power_off (struct capstan_call *c, const char *id)
{
  char reply[REPLY_MAX];
  int rc = put (c, id, "killed", "", 0);
  if (rc != 0)
    return rc;
  if (qmp (c, id, "quit", reply) != 0 || until_ended (c, id, PATIENCE_MS) != 0) {
    pid_t pid = (pid_t) strtol (get (c, id, "pid", NULL), NULL, 10);
    if (pid > 1 && lives (c, id) && kill (pid, SIGKILL) != 0)
      return capstan_error (c, CAPSTAN_E_IO, errno, "end process %ld, which is %s", (long) pid, id);
  }
  return until_ended (c, id, PATIENCE_MS);
}

static int
plain_stop (struct capstan_call *c, void *self, const struct capstan_vm_ref *r,
            const struct capstan_action *a)
{
  char reply[REPLY_MAX];
  int rc = need (c, r->id);
  (void) self;
  if (rc != 0 || !lives (c, r->id))
    return rc;
  if (a->flags & CAPSTAN_F_FORCE)
    return power_off (c, r->id);
  rc = qmp (c, r->id, "system_powerdown", reply);
  if (rc != 0)
    return lives (c, r->id) ? rc : 0;
  return a->flags & CAPSTAN_F_NO_WAIT ? 0 : until_ended (c, r->id, timeout_of (a));
}

static int
plain_destroy (struct capstan_call *c, void *self, const struct capstan_vm_ref *r,
               const struct capstan_action *a)
{
  (void) self;
  if (!there (c, r->id, ""))
    return 0;
  int up = lives (c, r->id);
  if (up && !(a->flags & CAPSTAN_F_FORCE))
    return capstan_error (c, CAPSTAN_E_STATE, 0, "%s is running", r->id);
  int rc = up ? power_off (c, r->id) : 0;
  return rc != 0 ? rc : discard (c, r->id);
}

/* ---- what is told ---- */

static int
emit (struct capstan_call *c, const char *id, uint32_t state, struct capstan_list *list)
{
  const char *dir = path_of (c, id, "");
  char folder[4200], process[64];
  const char *resources[] = { folder, state != CAPSTAN_VM_STOPPED ? process : NULL, NULL };
  snprintf (folder, sizeof folder, "folder:%s", dir != NULL ? dir : "");
  snprintf (process, sizeof process, "pid:%ld", strtol (get (c, id, "pid", NULL), NULL, 10));
  struct capstan_vm_info i = { .struct_size = sizeof i, .id = id, .name = id, .state = state,
    .started = INT64_MIN, .stopped = INT64_MIN, .resources = resources };
  if (state == CAPSTAN_VM_STOPPED)
    i.reason = there (c, id, "killed")  ? CAPSTAN_REASON_KILLED
               : there (c, id, "pid") ? CAPSTAN_REASON_CRASHED
                                        : CAPSTAN_REASON_SHUTDOWN;
  return capstan_host_->emit_vm (list, &i);
}

static int
plain_info (struct capstan_call *c, void *self, const struct capstan_vm_ref *r,
            const struct capstan_action *a, struct capstan_list *list)
{
  uint32_t state = CAPSTAN_VM_GONE;
  (void) self, (void) a;
  if (!there (c, r->id, ""))
    return 0;
  int rc = state_of (c, r->id, &state);
  return rc != 0 ? rc : emit (c, r->id, state, list);
}

static int
plain_wait (struct capstan_call *c, void *self, const struct capstan_vm_ref *r, uint32_t until,
            const struct capstan_action *a, struct capstan_list *list)
{
  uint64_t limit = timeout_of (a), began = now_ms ();
  (void) self;
  while (there (c, r->id, "")) {
    uint32_t state = lives (c, r->id) ? CAPSTAN_VM_RUNNING : CAPSTAN_VM_STOPPED;
    int rc = state == CAPSTAN_VM_STOPPED || until == CAPSTAN_VM_STOPPED ? 0 : state_of (c, r->id, &state);
    if (rc == 0 && (state == CAPSTAN_VM_STOPPED || state == until))
      return emit (c, r->id, state, list);
    if (rc == 0 && limit != 0 && now_ms () - began >= limit)
      rc = capstan_error (c, CAPSTAN_E_TIMEOUT, 0, "%s is still running", r->id);
    if (rc == 0)
      rc = capstan_host_->sleep_ms (c, 20);
    if (rc != 0)
      return rc;
  }
  return 0;
}

static int
plain_console (struct capstan_call *c, void *self, const struct capstan_vm_ref *r,
               const struct capstan_console_req *q, struct capstan_console_rsp *ret)
{
  const char *role = q->role != NULL ? q->role : "console";
  struct sockaddr_un a = { .sun_family = AF_UNIX };
  int rc = need (c, r->id);
  (void) self;
  if (rc != 0)
    return rc;
  const char *path = one_of (role, "console control") ? get (c, r->id, role, NULL) : "";
  if (*path == '\0')
    return capstan_error (c, CAPSTAN_E_UNSUPPORTED, 0, "%s has no serial port '%s'", r->id, role);
  if (!lives (c, r->id))
    return capstan_error (c, CAPSTAN_E_STATE, 0, "%s is not running", r->id);
  if (strlen (path) >= sizeof a.sun_path)
    return capstan_error (c, CAPSTAN_E_LIMIT, 0, "%s is too long for a socket", path);
  strcpy (a.sun_path, path);
  int s = socket (AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (s < 0 || connect (s, (struct sockaddr *) &a, sizeof a) != 0) {
    rc = capstan_error (c, CAPSTAN_E_STATE, errno, "connect to %s", path);
    if (s >= 0)
      close (s);
    return rc;
  }
  ret->kind = CAPSTAN_CONSOLE_FD;
  ret->fd = s;
  return 0;
}

static const struct capstan_hypervisor_ops ops = {
  .struct_size = sizeof ops, .probe = plain_probe, .open = plain_open, .close = plain_close,
  .caps = plain_caps, .check = plain_check, .create = plain_create, .start = plain_start, .stop = plain_stop,
  .destroy = plain_destroy, .pause = plain_pause, .resume = plain_resume, .wait = plain_wait,
  .info = plain_info, .console = plain_console };
static const struct capstan_provider provider = {
  .struct_size = sizeof provider, .kind = CAPSTAN_KIND_HYPERVISOR, .name = "plain-qemu",
  .summary = "QEMU itself, without libvirt", .caps = CAPS, .threads = CAPSTAN_THREADS_ANY,
  .option_size = sizeof (struct capstan_option), .ops = &ops };
static const struct capstan_provider *const providers[] = { &provider, NULL };
static const struct capstan_plugin plugin = {
  .struct_size = sizeof plugin, .abi_major = CAPSTAN_ABI_MAJOR, .abi_minor = CAPSTAN_ABI_MINOR,
  .name = "hypervisor-plain-qemu", .version = "1.0", .license = "BSD-3-Clause", .providers = providers };
CAPSTAN_PLUGIN (plugin);
