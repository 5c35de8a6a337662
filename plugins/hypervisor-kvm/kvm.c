/* KVM and QEMU through libvirt. SPDX-License-Identifier: BSD-3-Clause */
#include "kvm.h"
#include <errno.h>
#include <libxml/parser.h>
#include <libxml/xpath.h>
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

static int
kvm_probe (struct capstan_call *call)
{
  struct kvm k = { 0 };
  virSetErrorFunc (NULL, silent);
  int rc = connection_open (call, &k);
  if (k.conn != NULL)
    virConnectClose (k.conn);
  return rc;
}

static int
kvm_open (struct capstan_call *call, void **ret)
{
  struct kvm *k = calloc (1, sizeof *k);
  if (k == NULL)
    return capstan_error (call, CAPSTAN_E_NOMEM, 0, "out of memory");
  virSetErrorFunc (NULL, silent);
  if (virInitialize () < 0) {
    free (k);
    return kvm_error (call, "start", "libvirt");
  }
  int rc = connection_open (call, k);
  if (rc != 0) {
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
  virConnectClose (k->conn);
  free (k);
}

static int
kvm_caps (struct capstan_call *call, void *self, struct capstan_caps *c)
{
  struct kvm *k = self;
  c->bits = CAPSTAN_HV_LOCAL | CAPSTAN_HV_KERNEL_BOOT | CAPSTAN_HV_DISK_BOOT |
            CAPSTAN_HV_SOFT_STOP | CAPSTAN_HV_DETACHED | CAPSTAN_HV_PAUSE | CAPSTAN_HV_EXECUTES;
  c->formats = "qcow2,raw";
  c->archs = "x86_64";
  c->nics = "nat,bridge,tap,vhost";
  c->accel = capstan_host_->keep (call, k->accel, SIZE_MAX);
  c->detail = capstan_host_->keep (call, k->why, SIZE_MAX);
  return 0;
}

static int
kvm_check (struct capstan_call *call, void *self, const struct capstan_vm_spec *s)
{
  for (const struct capstan_nic *const *n = s->nics; n != NULL && *n != NULL; n++)
    if (strcmp ((*n)->mode, "nat") != 0 && strcmp ((*n)->mode, "bridge") != 0 &&
        strcmp ((*n)->mode, "tap") != 0 && strcmp ((*n)->mode, "vhost") != 0)
      return capstan_error (call, CAPSTAN_E_UNSUPPORTED, 0,
                            "network mode %s is not there: nat, bridge, tap or vhost", (*n)->mode);
  for (const struct capstan_serial *const *p = s->serials; p != NULL && *p != NULL; p++)
    if ((*p)->socket != NULL && strlen ((*p)->socket) >= sizeof ((struct sockaddr_un *) 0)->sun_path)
      return capstan_error (call, CAPSTAN_E_LIMIT, 0, "%s is too long for a socket", (*p)->socket);
  if (s->arch != NULL && strcmp (s->arch, "x86_64") != 0)
    return capstan_error (call, CAPSTAN_E_UNSUPPORTED, 0, "architecture %s: only x86_64", s->arch);
  return ports_check (call, s);
}

static int
kvm_create (struct capstan_call *call, void *self, const struct capstan_vm_spec *s,
            struct capstan_vm_ref *ret)
{
  struct kvm *k = self;
  int rc = kvm_check (call, self, s);
  if (rc != 0)
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
  return 0;
}

/* 0 and *ret, or the error: not there is one code, a lost connection another. */
static int
find (struct capstan_call *call, struct kvm *k, const struct capstan_vm_ref *r, virDomainPtr *ret)
{
  if (r->id == NULL)
    return capstan_error (call, CAPSTAN_E_INVAL, 0, "a machine without id");
  *ret = virDomainLookupByUUIDString (k->conn, r->id);
  return *ret != NULL ? 0 : kvm_error (call, "find", r->id);
}

static int
state_of (virDomainPtr d, int *reason)
{
  int st = VIR_DOMAIN_NOSTATE;
  *reason = 0;
  if (virDomainGetState (d, &st, reason, 0) < 0)
    return CAPSTAN_VM_GONE;
  switch (st) {
  case VIR_DOMAIN_RUNNING:
  case VIR_DOMAIN_BLOCKED:
    return CAPSTAN_VM_RUNNING;
  case VIR_DOMAIN_PAUSED:
  case VIR_DOMAIN_PMSUSPENDED:
    return CAPSTAN_VM_PAUSED;
  case VIR_DOMAIN_SHUTDOWN:
    return CAPSTAN_VM_STOPPING;
  case VIR_DOMAIN_SHUTOFF:
    return CAPSTAN_VM_STOPPED;
  case VIR_DOMAIN_CRASHED:
    return CAPSTAN_VM_CRASHED;
  default:
    return CAPSTAN_VM_UNKNOWN;
  }
}

static int
kvm_start (struct capstan_call *call, void *self, const struct capstan_vm_ref *r,
           const struct capstan_action *a)
{
  virDomainPtr d;
  int rc = find (call, self, r, &d);
  if (rc != 0)
    return rc;
  rc = virDomainCreateWithFlags (d, a->flags & CAPSTAN_F_PAUSED ? VIR_DOMAIN_START_PAUSED : 0);
  rc = rc < 0 ? kvm_error (call, "start", r->id) : 0;
  virDomainFree (d);
  return rc;
}

static uint32_t
timeout_of (const struct capstan_action *a, uint32_t def)
{
  for (size_t i = 0; i < a->n_params; i++)
    if (strcmp (a->params[i].key, "timeout_ms") == 0)
      return (uint32_t) strtoul (a->params[i].value, NULL, 10);
  return def;
}

/* Until the domain is neither running nor on its way; the state, or -code. */
static int
wait_off (struct capstan_call *call, virDomainPtr d, int until, uint32_t ms)
{
  for (uint32_t waited = 0;; waited += 20) {
    int reason, st = state_of (d, &reason);
    if (st == until || st == CAPSTAN_VM_STOPPED || st == CAPSTAN_VM_CRASHED || st == CAPSTAN_VM_GONE)
      return st;
    if (ms != 0 && waited >= ms)
      return capstan_error (call, CAPSTAN_E_TIMEOUT, 0, "%s is still running after %u ms",
                            virDomainGetName (d), ms);
    int rc = capstan_host_->sleep_ms (call, 20);
    if (rc != 0)
      return rc;
  }
}

static int
kvm_stop (struct capstan_call *call, void *self, const struct capstan_vm_ref *r,
          const struct capstan_action *a)
{
  virDomainPtr d;
  int reason, rc = find (call, self, r, &d);
  if (rc != 0)
    return rc;
  if (state_of (d, &reason) != CAPSTAN_VM_STOPPED) {
    rc = a->flags & CAPSTAN_F_FORCE ? virDomainDestroy (d) : virDomainShutdown (d);
    /* it may have ended between the two */
    if (rc < 0 && state_of (d, &reason) == CAPSTAN_VM_STOPPED)
      rc = 0;
    if (rc < 0)
      rc = kvm_error (call, "stop", r->id);
    else if (!(a->flags & CAPSTAN_F_NO_WAIT))
      rc = wait_off (call, d, CAPSTAN_VM_STOPPED, timeout_of (a, 10000));
  }
  virDomainFree (d);
  return rc < 0 ? rc : 0;
}

/* A failed look-up: libvirt not knowing it is an answer (nothing is emitted, 0), a lost
 * connection is an error and must not be read as "deleted". */
static int
gone (struct capstan_call *call, const struct capstan_vm_ref *r)
{
  virErrorPtr e = virGetLastError ();
  if (r->id == NULL || (e != NULL && e->code == VIR_ERR_NO_DOMAIN))
    return 0;
  return kvm_error (call, "find", r->id);
}

static int
kvm_destroy (struct capstan_call *call, void *self, const struct capstan_vm_ref *r,
             const struct capstan_action *a)
{
  struct kvm *k = self;
  int reason;
  virDomainPtr d = r->id != NULL ? virDomainLookupByUUIDString (k->conn, r->id) : NULL;
  if (d == NULL)
    return gone (call, r);
  int st = state_of (d, &reason), rc = 0;
  if (st != CAPSTAN_VM_STOPPED && st != CAPSTAN_VM_CRASHED && !(a->flags & CAPSTAN_F_FORCE))
    rc = capstan_error (call, CAPSTAN_E_STATE, 0, "%s is running", virDomainGetName (d));
  if (rc == 0 && virDomainIsActive (d) == 1)
    virDomainDestroy (d);
  if (rc == 0 && virDomainUndefineFlags (d, VIR_DOMAIN_UNDEFINE_MANAGED_SAVE) < 0)
    rc = kvm_error (call, "remove", r->id);
  virDomainFree (d);
  return rc;
}

static int
simple (struct capstan_call *call, void *self, const struct capstan_vm_ref *r, const char *what,
        int (*f) (virDomainPtr))
{
  virDomainPtr d;
  int rc = find (call, self, r, &d);
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
emit (virDomainPtr d, struct capstan_list *list)
{
  char uuid[VIR_UUID_STRING_BUFLEN];
  int reason, st = state_of (d, &reason);
  struct capstan_vm_info i = { .struct_size = sizeof i, .state = (uint32_t) st,
    .name = virDomainGetName (d), .started = INT64_MIN, .stopped = INT64_MIN };
  virDomainGetUUIDString (d, uuid);
  i.id = uuid;
  if (st == CAPSTAN_VM_STOPPED)
    i.reason = reason == VIR_DOMAIN_SHUTOFF_SHUTDOWN    ? CAPSTAN_REASON_SHUTDOWN
               : reason == VIR_DOMAIN_SHUTOFF_DESTROYED ? CAPSTAN_REASON_KILLED
               : reason == VIR_DOMAIN_SHUTOFF_CRASHED   ? CAPSTAN_REASON_CRASHED
               : reason == VIR_DOMAIN_SHUTOFF_FAILED    ? CAPSTAN_REASON_FAILED
                                                        : CAPSTAN_REASON_UNKNOWN;
  return capstan_host_->emit_vm (list, &i);
}

static int
kvm_info (struct capstan_call *call, void *self, const struct capstan_vm_ref *r,
          const struct capstan_action *a, struct capstan_list *list)
{
  struct kvm *k = self;
  virDomainPtr d = r->id != NULL ? virDomainLookupByUUIDString (k->conn, r->id) : NULL;
  if (d == NULL)
    return gone (call, r);
  int rc = emit (d, list);
  virDomainFree (d);
  return rc;
}

static int
kvm_wait (struct capstan_call *call, void *self, const struct capstan_vm_ref *r, uint32_t until,
          const struct capstan_action *a, struct capstan_list *list)
{
  struct kvm *k = self;
  virDomainPtr d = r->id != NULL ? virDomainLookupByUUIDString (k->conn, r->id) : NULL;
  if (d == NULL)
    return gone (call, r);
  int rc = wait_off (call, d, (int) until, timeout_of (a, 0));
  if (rc >= 0)
    rc = emit (d, list);
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
      rc = emit (all[i], list);
    virDomainFree (all[i]);
  }
  free (all);
  return rc;
}

/* The socket's path is in the domain's own arguments: nothing has to be remembered. */
static int
socket_path (virDomainPtr d, int index, char *path, size_t n)
{
  char key[128], *xml = virDomainGetXMLDesc (d, VIR_DOMAIN_XML_INACTIVE);
  xmlDocPtr doc = xml != NULL ? xmlReadMemory (xml, (int) strlen (xml), "domain", NULL,
      XML_PARSE_NONET | XML_PARSE_NOERROR | XML_PARSE_NOWARNING) : NULL;
  xmlXPathContextPtr c = doc != NULL ? xmlXPathNewContext (doc) : NULL;
  snprintf (key, sizeof key, "string(//*[local-name()='arg'][starts-with(@value,"
            "'socket,id=capstan%d,')]/@value)", index);
  xmlXPathObjectPtr v = c != NULL ? xmlXPathEvalExpression ((const xmlChar *) key, c) : NULL;
  const char *p = v != NULL ? strstr ((const char *) v->stringval, ",path=") : NULL;
  size_t o = 0;
  for (p = p != NULL ? p + 6 : NULL; p != NULL && *p != '\0' && o + 1 < n; p++) {
    if (*p == ',' && *++p != ',')
      break;
    path[o++] = *p;
  }
  path[o] = '\0';
  xmlXPathFreeObject (v);
  xmlXPathFreeContext (c);
  xmlFreeDoc (doc);
  free (xml);
  return o > 0;
}

static int
kvm_console (struct capstan_call *call, void *self, const struct capstan_vm_ref *r,
             const struct capstan_console_req *q, struct capstan_console_rsp *ret)
{
  struct sockaddr_un a = { .sun_family = AF_UNIX };
  virDomainPtr d;
  int rc = find (call, self, r, &d);
  if (rc != 0)
    return rc;
  int ok = socket_path (d, q->role != NULL && strcmp (q->role, "control") == 0, a.sun_path,
                        sizeof a.sun_path);
  virDomainFree (d);
  if (!ok)
    return capstan_error (call, CAPSTAN_E_UNSUPPORTED, 0, "this machine has no such serial port");
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
  .reset = kvm_reset, .wait = kvm_wait, .info = kvm_info, .list = kvm_list,
  .console = kvm_console
};
static const struct capstan_option options[] = {
  { .key = "uri", .help = "libvirt connection: qemu:///session or qemu:///system",
    .type = CAPSTAN_OPT_STRING } };
static const struct capstan_provider kvm = {
  .struct_size = sizeof kvm, .kind = CAPSTAN_KIND_HYPERVISOR, .name = "kvm",
  .summary = "KVM and QEMU through libvirt",
  .caps = CAPSTAN_HV_LOCAL | CAPSTAN_HV_KERNEL_BOOT | CAPSTAN_HV_DISK_BOOT | CAPSTAN_HV_SOFT_STOP |
          CAPSTAN_HV_DETACHED | CAPSTAN_HV_PAUSE | CAPSTAN_HV_EXECUTES,
  .threads = CAPSTAN_THREADS_PER_OPEN, .option_size = sizeof *options, .options = options,
  .n_options = sizeof options / sizeof *options, .ops = &ops
};
static const struct capstan_provider *const providers[] = { &kvm, NULL };
static const struct capstan_plugin plugin = {
  .struct_size = sizeof plugin, .abi_major = CAPSTAN_ABI_MAJOR, .abi_minor = CAPSTAN_ABI_MINOR,
  .name = "hypervisor-kvm", .version = "0.1.0", .license = "BSD-3-Clause", .providers = providers
};
CAPSTAN_PLUGIN (plugin);
