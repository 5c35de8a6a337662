/* KVM and QEMU through libvirt. SPDX-License-Identifier: BSD-3-Clause */
#include "kvm.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

int
kvm_error (struct capstan_call *call, const char *what, const char *object)
{
  virErrorPtr e = virGetLastError ();
  uint32_t code = CAPSTAN_E_IO;
  if (e != NULL && e->code == VIR_ERR_NO_DOMAIN)
    code = CAPSTAN_E_NOTFOUND;
  else if (e != NULL && e->code == VIR_ERR_OPERATION_INVALID)
    code = CAPSTAN_E_STATE;
  else if (e != NULL && (e->code == VIR_ERR_AUTH_FAILED || e->code == VIR_ERR_ACCESS_DENIED))
    code = CAPSTAN_E_PERM;
  return capstan_error (call, code, 0, "%s %s: %s", what, object,
                        e != NULL ? e->message : "libvirt gave no reason");
}

static void
silent (void *data, virErrorPtr e)
{
}

/* Nothing of libvirt's own on the terminal: neither its errors, which are reported by us, nor
 * the log of a driver that runs in this process. */
static void
quiet (void)
{
  setenv ("LIBVIRT_LOG_OUTPUTS", "3:file:/dev/null", 0);
  virSetErrorFunc (NULL, silent);
}

static int
emulator_check (struct capstan_call *call, struct kvm *k)
{
  struct xml x;
  xml_read (&x, virConnectGetCapabilities (k->conn));
  char *emulator = xml_text (&x, "//guest/arch[@name='x86_64']/emulator");
  xml_clear (&x);
  if (emulator == NULL)
    return capstan_error (call, CAPSTAN_E_NOTFOUND, 0, "libvirt at %s finds no QEMU for x86_64: install "
                          "qemu-system-x86 (Fedora: qemu-kvm)", k->uri);
  free (emulator);
  return 0;
}

static int
kvm_probe (struct capstan_call *call)
{
  struct kvm k = { 0 };
  quiet ();
  int rc = connection_open (call, &k);
  if (rc == 0)
    rc = emulator_check (call, &k);
  connection_close (&k);
  return rc;
}

static int
kvm_open (struct capstan_call *call, void **ret)
{
  struct kvm *k = calloc (1, sizeof *k);
  if (k == NULL)
    return capstan_error (call, CAPSTAN_E_NOMEM, 0, "out of memory");
  quiet ();
  if (virInitialize () < 0) {
    free (k);
    return kvm_error (call, "start", "libvirt");
  }
  int rc = connection_open (call, k);
  if (rc != 0) {
    connection_close (k);
    free (k);
    return rc;
  }
  *ret = k;
  return 0;
}

static void
kvm_close (struct capstan_call *call, void *self)
{
  struct kvm *k = self;
  if (k == NULL)
    return;
  connection_close (k);
  free (k);
}

static int
kvm_caps (struct capstan_call *call, void *self, struct capstan_caps *c)
{
  struct kvm *k = self;
  char detail[4900];
  snprintf (detail, sizeof detail, *k->why != '\0' ? "%s; no KVM: %s: %s" : "%s", k->uri, k->why, k->advice);
  c->bits = CAPSTAN_HV_LOCAL | CAPSTAN_HV_KERNEL_BOOT | CAPSTAN_HV_DISK_BOOT |
            CAPSTAN_HV_SOFT_STOP | CAPSTAN_HV_DETACHED | CAPSTAN_HV_PAUSE | CAPSTAN_HV_EXECUTES;
  if (k->embed)
    c->bits &= ~CAPSTAN_HV_DETACHED;
  c->formats = "qcow2,raw";
  c->archs = "x86_64";
  c->nics = "nat,bridge,tap,vhost";
  c->accel = capstan_host_->keep (call, k->accel, SIZE_MAX);
  c->detail = capstan_host_->keep (call, detail, SIZE_MAX);
  return 0;
}

static int
kvm_check (struct capstan_call *call, void *self, const struct capstan_vm_spec *s)
{
  return spec_check (call, self, s);
}

static int
files_check (struct capstan_call *call, const struct capstan_vm_spec *s)
{
  for (const struct capstan_disk *const *d = s->disks; d != NULL && *d != NULL; d++)
    if (access ((*d)->path, F_OK) != 0)
      return capstan_error (call, CAPSTAN_E_NOTFOUND, errno, "disk %s", (*d)->path);
  return 0;
}

static int
kvm_create (struct capstan_call *call, void *self, const struct capstan_vm_spec *s,
            struct capstan_vm_ref *ret)
{
  struct kvm *k = self;
  int rc = spec_check (call, k, s);
  if (rc != 0 || (rc = files_check (call, s)) != 0)
    return rc;
  if (s->accel == NULL && strcmp (k->accel, "tcg") == 0)
    capstan_log (call, CAPSTAN_LOG_INFO, "no KVM (%s): QEMU emulates the processor, which is slow", k->why);
  char *xml = domain_xml (call, k, s), uuid[VIR_UUID_STRING_BUFLEN];
  if (xml == NULL)
    return -CAPSTAN_E_PERM;
  virDomainPtr d = virDomainDefineXML (k->conn, xml);
  free (xml);
  if (d == NULL)
    return kvm_error (call, "define", s->name);
  virDomainGetUUIDString (d, uuid);
  virDomainFree (d);
  ret->id = capstan_host_->keep (call, uuid, SIZE_MAX);
  ret->state = capstan_host_->keep (call, k->uri, SIZE_MAX); /* where it is */
  return 0;
}

static int
kvm_start (struct capstan_call *call, void *self, const struct capstan_vm_ref *r,
           const struct capstan_action *a)
{
  virDomainPtr d;
  int rc = domain_find (call, self, r, &d);
  if (rc != 0)
    return rc;
  if ((rc = host_ready (call, self, d)) == 0 &&
      virDomainCreateWithFlags (d, a->flags & CAPSTAN_F_PAUSED ? VIR_DOMAIN_START_PAUSED : 0) < 0)
    rc = kvm_error (call, "start", r->id);
  virDomainFree (d);
  return rc;
}

static uint64_t
timeout_of (const struct capstan_action *a, uint64_t def)
{
  for (size_t i = 0; i < a->n_params; i++)
    if (strcmp (a->params[i].key, "timeout_ms") == 0)
      return strtoull (a->params[i].value, NULL, 10);
  return def;
}

static int
kvm_stop (struct capstan_call *call, void *self, const struct capstan_vm_ref *r,
          const struct capstan_action *a)
{
  virDomainPtr d;
  int64_t when;
  int reason, rc = domain_find (call, self, r, &d);
  if (rc != 0)
    return rc;
  if (kvm_state (d, &reason) != CAPSTAN_VM_STOPPED) {
    rc = a->flags & CAPSTAN_F_FORCE ? virDomainDestroy (d) : virDomainShutdown (d);
    /* it may have ended between the two */
    if (rc < 0) {
      rc = kvm_error (call, "stop", r->id);
      if (kvm_state (d, &reason) == CAPSTAN_VM_STOPPED)
        rc = 0;
    }
    /* libvirt has ended it when it returns from a forced stop */
    else if (!(a->flags & (CAPSTAN_F_NO_WAIT | CAPSTAN_F_FORCE)))
      rc = kvm_wait_for (call, self, r->id, CAPSTAN_VM_STOPPED, timeout_of (a, 10000), &when);
  }
  virDomainFree (d);
  return rc < 0 ? rc : 0;
}

/* As domain_find, but a machine that libvirt does not know is an answer: 0 and NULL. */
static int
find_or_gone (struct capstan_call *call, struct kvm *k, const struct capstan_vm_ref *r, virDomainPtr *ret)
{
  *ret = NULL;
  int rc = r->id != NULL ? domain_find (call, k, r, ret) : 0;
  return rc == -CAPSTAN_E_NOTFOUND ? 0 : rc;
}

static int
kvm_destroy (struct capstan_call *call, void *self, const struct capstan_vm_ref *r,
             const struct capstan_action *a)
{
  virDomainPtr d;
  int reason, rc = find_or_gone (call, self, r, &d);
  if (d == NULL)
    return rc;
  int st = kvm_state (d, &reason);
  if (st != CAPSTAN_VM_STOPPED && st != CAPSTAN_VM_CRASHED && !(a->flags & CAPSTAN_F_FORCE))
    rc = capstan_error (call, CAPSTAN_E_STATE, 0, "%s is running", virDomainGetName (d));
  if (rc == 0 && virDomainIsActive (d) == 1)
    virDomainDestroy (d);
  if (rc == 0 && virDomainUndefineFlags (d, VIR_DOMAIN_UNDEFINE_MANAGED_SAVE | VIR_DOMAIN_UNDEFINE_NVRAM) < 0)
    rc = kvm_error (call, "remove", r->id);
  if (rc == 0)
    libvirt_log_remove (call, self, virDomainGetName (d));
  virDomainFree (d);
  return rc;
}

/* Its title alone: the name is the backend's. */
static int
kvm_rename (struct capstan_call *call, void *self, const struct capstan_vm_ref *r, const char *title,
            struct capstan_vm_ref *ret)
{
  virDomainPtr d;
  int rc = domain_find (call, self, r, &d);
  if (rc != 0)
    return rc;
  unsigned flags = VIR_DOMAIN_AFFECT_CONFIG | (virDomainIsActive (d) == 1 ? VIR_DOMAIN_AFFECT_LIVE : 0);
  if (virDomainSetMetadata (d, VIR_DOMAIN_METADATA_TITLE, title, NULL, NULL, flags) < 0)
    rc = kvm_error (call, "rename", r->id);
  virDomainFree (d);
  if (rc == 0)
    *ret = *r;
  return rc;
}

static int
simple (struct capstan_call *call, void *self, const struct capstan_vm_ref *r, const char *what,
        int (*f) (virDomainPtr))
{
  virDomainPtr d;
  int rc = domain_find (call, self, r, &d);
  if (rc != 0)
    return rc;
  rc = f (d) < 0 ? kvm_error (call, what, r->id) : 0;
  virDomainFree (d);
  return rc;
}

static int
kvm_pause (struct capstan_call *call, void *self, const struct capstan_vm_ref *r,
           const struct capstan_action *a)
{
  return simple (call, self, r, "pause", virDomainSuspend);
}

static int
kvm_resume (struct capstan_call *call, void *self, const struct capstan_vm_ref *r,
            const struct capstan_action *a)
{
  return simple (call, self, r, "resume", virDomainResume);
}

static int
reset (virDomainPtr d)
{
  return virDomainReset (d, 0);
}

static int
kvm_reset (struct capstan_call *call, void *self, const struct capstan_vm_ref *r,
           const struct capstan_action *a)
{
  return simple (call, self, r, "reset", reset);
}

static int
kvm_info (struct capstan_call *call, void *self, const struct capstan_vm_ref *r,
          const struct capstan_action *a, struct capstan_list *list)
{
  virDomainPtr d;
  int rc = find_or_gone (call, self, r, &d);
  if (d == NULL)
    return rc;
  rc = kvm_emit (call, self, d, INT64_MIN, list);
  virDomainFree (d);
  return rc;
}

static int
kvm_wait (struct capstan_call *call, void *self, const struct capstan_vm_ref *r, uint32_t until,
          const struct capstan_action *a, struct capstan_list *list)
{
  int64_t when = INT64_MIN;
  virDomainPtr d;
  int rc = find_or_gone (call, self, r, &d);
  if (d == NULL)
    return rc;
  virDomainFree (d);
  if ((rc = kvm_wait_for (call, self, r->id, (int) until, timeout_of (a, 0), &when)) < 0 ||
      (rc = find_or_gone (call, self, r, &d)) != 0 || d == NULL)
    return rc;
  rc = kvm_emit (call, self, d, when, list);
  virDomainFree (d);
  return rc;
}

static int
kvm_list (struct capstan_call *call, void *self, const struct capstan_vm_query *q,
          struct capstan_list *list)
{
  struct kvm *k = self;
  virDomainPtr *all;
  const char *prefix = q->name_prefix != NULL ? q->name_prefix : "capstan-";
  int n = virConnectListAllDomains (k->conn, &all, 0), rc = 0;
  if (n < 0)
    return kvm_error (call, "list", "the machines");
  for (int i = 0; i < n; i++) {
    if (rc == 0 && strncmp (virDomainGetName (all[i]), prefix, strlen (prefix)) == 0)
      rc = kvm_emit (call, k, all[i], INT64_MIN, list);
    virDomainFree (all[i]);
  }
  free (all);
  return rc;
}

static int
kvm_console (struct capstan_call *call, void *self, const struct capstan_vm_ref *r,
             const struct capstan_console_req *q, struct capstan_console_rsp *ret)
{
  struct sockaddr_un a = { .sun_family = AF_UNIX };
  virDomainPtr d;
  int rc = domain_find (call, self, r, &d);
  if (rc != 0)
    return rc;
  char *path = serial_socket (d, q->role != NULL && strcmp (q->role, "control") == 0);
  virDomainFree (d);
  if (path == NULL)
    return capstan_error (call, CAPSTAN_E_UNSUPPORTED, 0, "this machine has no such serial port");
  snprintf (a.sun_path, sizeof a.sun_path, "%s", path); /* its length was checked */
  free (path);
  int s = socket (AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (s < 0 || connect (s, (struct sockaddr *) &a, sizeof a) != 0) {
    int e = errno;
    if (s >= 0)
      close (s);
    return capstan_error (call, e == ENOENT || e == ECONNREFUSED ? CAPSTAN_E_STATE : CAPSTAN_E_IO, e,
                          "connect to %s (is it running?)", a.sun_path);
  }
  ret->kind = CAPSTAN_CONSOLE_FD;
  ret->fd = s;
  return 0;
}

static const struct capstan_hypervisor_ops ops = {
  .struct_size = sizeof ops, .probe = kvm_probe, .open = kvm_open, .close = kvm_close,
  .caps = kvm_caps, .check = kvm_check, .create = kvm_create, .start = kvm_start,
  .stop = kvm_stop, .destroy = kvm_destroy, .pause = kvm_pause, .resume = kvm_resume,
  .reset = kvm_reset, .rename = kvm_rename, .wait = kvm_wait, .info = kvm_info, .list = kvm_list,
  .console = kvm_console
};
static const struct capstan_option options[] = {
  { .key = "uri", .help = "libvirt connection: qemu:///session, qemu:///system, qemu:///embed",
    .type = CAPSTAN_OPT_STRING } };
static const struct capstan_option disk_options[] = {
  { .key = "aio", .help = "how QEMU reads and writes; native needs cache=none or directsync",
    .type = CAPSTAN_OPT_CHOICE, .choices = "threads,native,io_uring" },
  { .key = "cache", .help = "what stands between disk and file", .type = CAPSTAN_OPT_CHOICE,
    .choices = "none,writeback,writethrough,directsync,unsafe" } };
static const struct capstan_provider kvm = {
  .struct_size = sizeof kvm, .kind = CAPSTAN_KIND_HYPERVISOR, .name = "kvm",
  .summary = "KVM and QEMU through libvirt",
  .caps = CAPSTAN_HV_LOCAL | CAPSTAN_HV_KERNEL_BOOT | CAPSTAN_HV_DISK_BOOT | CAPSTAN_HV_SOFT_STOP |
          CAPSTAN_HV_DETACHED | CAPSTAN_HV_PAUSE | CAPSTAN_HV_EXECUTES,
  .threads = CAPSTAN_THREADS_PER_OPEN, .option_size = sizeof *options, .options = options,
  .n_options = sizeof options / sizeof *options, .disk_options = disk_options,
  .n_disk_options = sizeof disk_options / sizeof *disk_options, .ops = &ops
};
static const struct capstan_provider *const providers[] = { &kvm, NULL };
static const struct capstan_plugin plugin = {
  .struct_size = sizeof plugin, .abi_major = CAPSTAN_ABI_MAJOR, .abi_minor = CAPSTAN_ABI_MINOR,
  .name = "hypervisor-kvm", .version = "0.1.0", .license = "BSD-3-Clause", .providers = providers
};
CAPSTAN_PLUGIN (plugin);
