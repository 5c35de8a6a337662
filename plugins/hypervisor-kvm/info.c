/* What a machine is and what it holds of this host, read back from libvirt.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * Nothing has to be remembered: all of it stands in the domain's XML and in /proc. */
#include "kvm.h"
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int
kvm_state (virDomainPtr d, int *ret_reason)
{
  int st = VIR_DOMAIN_NOSTATE;
  *ret_reason = 0;
  if (virDomainGetState (d, &st, ret_reason, 0) < 0) {
    virErrorPtr e = virGetLastError ();
    return e != NULL && e->code == VIR_ERR_NO_DOMAIN ? CAPSTAN_VM_GONE : CAPSTAN_VM_UNKNOWN;
  }
  switch (st) {
  case VIR_DOMAIN_RUNNING:
  case VIR_DOMAIN_BLOCKED:
    return CAPSTAN_VM_RUNNING;
  case VIR_DOMAIN_PAUSED: /* libvirt holds every machine until it is whole */
    return *ret_reason == VIR_DOMAIN_PAUSED_STARTING_UP ? CAPSTAN_VM_STARTING : CAPSTAN_VM_PAUSED;
  case VIR_DOMAIN_PMSUSPENDED:
    return CAPSTAN_VM_PAUSED;
  case VIR_DOMAIN_SHUTDOWN:
    return CAPSTAN_VM_STOPPING;
  case VIR_DOMAIN_SHUTOFF:
    return *ret_reason == VIR_DOMAIN_SHUTOFF_SAVED ? CAPSTAN_VM_SAVED : CAPSTAN_VM_STOPPED;
  case VIR_DOMAIN_CRASHED:
    return CAPSTAN_VM_CRASHED;
  default:
    return CAPSTAN_VM_UNKNOWN;
  }
}

static uint32_t
reason_of (int state, int reason)
{
  if (state == CAPSTAN_VM_CRASHED)
    return CAPSTAN_REASON_CRASHED;
  if (state != CAPSTAN_VM_STOPPED)
    return CAPSTAN_REASON_UNKNOWN;
  switch (reason) {
  case VIR_DOMAIN_SHUTOFF_SHUTDOWN:
    return CAPSTAN_REASON_SHUTDOWN;
  case VIR_DOMAIN_SHUTOFF_DESTROYED:
    return CAPSTAN_REASON_KILLED;
  case VIR_DOMAIN_SHUTOFF_CRASHED:
    return CAPSTAN_REASON_CRASHED;
  case VIR_DOMAIN_SHUTOFF_FAILED:
    return CAPSTAN_REASON_FAILED;
  default:
    return CAPSTAN_REASON_UNKNOWN;
  }
}

/* ---- QEMU's own arguments, as domain.c writes them ---- */

/* The value of key in "a,key=value,b": in buf; a comma in it is written twice. */
static char *
value_of (const char *args, const char *key, char *buf, size_t n)
{
  size_t len = strlen (key), o = 0;
  for (const char *p = args; p != NULL && *p != '\0';) {
    int here = strncmp (p, key, len) == 0 && p[len] == '=';
    for (p += here ? len + 1 : 0; *p != '\0'; p++) {
      if (*p == ',' && *++p != ',')
        break;
      if (here && o + 1 < n)
        buf[o++] = *p;
    }
    if (here) {
      buf[o] = '\0';
      return buf;
    }
  }
  return NULL;
}

char *
serial_socket (virDomainPtr d, int index)
{
  struct xml x;
  char path[256], buf[4096];
  xml_read (&x, virDomainGetXMLDesc (d, VIR_DOMAIN_XML_INACTIVE));
  snprintf (path, sizeof path, "//*[local-name()='arg'][starts-with(@value,"
            "'socket,id=capstan%d,')]/@value", index);
  char *args = xml_text (&x, path);
  char *r = value_of (args, "path", buf, sizeof buf) != NULL ? strdup (buf) : NULL;
  free (args);
  xml_clear (&x);
  return r;
}

/* ---- process ---- */

/* Does the process run a machine with that UUID? Numbers are used again. */
static int
is_machine (long pid, const char *uuid)
{
  char path[64], text[8192];
  snprintf (path, sizeof path, "/proc/%ld/cmdline", pid);
  FILE *f = fopen (path, "re");
  size_t n = f != NULL ? fread (text, 1, sizeof text - 1, f) : 0;
  if (f != NULL)
    fclose (f);
  for (size_t i = 0; i < n; i++)
    if (text[i] == '\0')
      text[i] = ' ';
  text[n] = '\0';
  return strstr (text, uuid) != NULL;
}

/* libvirt's API does not tell; its file does. 0: unknown. */
static long
pid_of (struct kvm *k, const char *name, const char *uuid)
{
  const char *run = getenv ("XDG_RUNTIME_DIR");
  char path[4096];
  long pid = 0;
  if (k->system)
    snprintf (path, sizeof path, "/run/libvirt/qemu/%s.pid", name);
  else if (k->embed)
    snprintf (path, sizeof path, "%s/run/qemu/%s.pid", strchr (k->uri, '=') + 1, name);
  else
    snprintf (path, sizeof path, "%s/libvirt/qemu/run/%s.pid", run != NULL ? run : "", name);
  FILE *f = fopen (path, "re");
  if (f != NULL && fscanf (f, "%ld", &pid) != 1)
    pid = 0;
  if (f != NULL)
    fclose (f);
  return pid > 0 && is_machine (pid, uuid) ? pid : 0;
}

/* Seconds since 1970, or INT64_MIN. */
static int64_t
started_at (long pid)
{
  char path[64], line[2048] = "";
  unsigned long long ticks = 0, boot = 0;
  snprintf (path, sizeof path, "/proc/%ld/stat", pid);
  FILE *f = fopen (path, "re");
  const char *after = f != NULL && fgets (line, sizeof line, f) != NULL ? strrchr (line, ')') : NULL;
  if (f != NULL)
    fclose (f);
  /* state and 18 numbers lie between the name and the start */
  if (after == NULL || sscanf (after + 1, " %*c %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s "
                               "%*s %*s %*s %*s %*s %llu", &ticks) != 1)
    return INT64_MIN;
  f = fopen ("/proc/stat", "re");
  while (f != NULL && boot == 0 && fgets (line, sizeof line, f) != NULL)
    if (sscanf (line, "btime %llu", &boot) != 1)
      boot = 0;
  if (f != NULL)
    fclose (f);
  return boot != 0 ? (int64_t) (boot + ticks / (unsigned long) sysconf (_SC_CLK_TCK)) : INT64_MIN;
}

/* ---- what is emitted ---- */

struct parts { /* strings in the call's memory */
  struct capstan_call *call;
  const char **resources;
  size_t n_resources, max_resources;
  struct capstan_nic nic[NICS_MAX];
  const struct capstan_nic *nics[NICS_MAX + 1];
  size_t n_nics;
  const char **forwards[NICS_MAX];
};

static const char *
keep (struct parts *p, const char *s)
{
  return s != NULL ? capstan_host_->keep (p->call, s, SIZE_MAX) : NULL;
}

static void
resource (struct parts *p, const char *kind, const char *what)
{
  char text[PATH_MAX + 16];
  if (what == NULL || p->n_resources == p->max_resources)
    return;
  snprintf (text, sizeof text, "%s:%s", kind, what);
  p->resources[p->n_resources++] = keep (p, text);
}

/* Of QEMU's "user,id=net0,...,hostfwd=tcp:127.0.0.1:8080-:80"; free() the list. */
static const char **
forwards_of (struct parts *p, const char *netdev)
{
  char text[128];
  size_t n = 0;
  for (const char *s = netdev; forward_next (&s, text, sizeof text);)
    n++;
  const char **list = calloc (n + 1, sizeof *list);
  n = 0;
  for (const char *s = netdev; list != NULL && forward_next (&s, text, sizeof text);)
    list[n++] = keep (p, text);
  return list;
}

static struct capstan_nic *
next_nic (struct parts *p, const char *mode)
{
  struct capstan_nic *n = &p->nic[p->n_nics];
  *n = (struct capstan_nic) { .struct_size = sizeof *n, .mode = mode };
  p->nics[p->n_nics++] = n;
  return n;
}

/* Cards of QEMU's own network, from its arguments. */
static void
own_nics (struct parts *p, char **args, size_t n)
{
  for (size_t i = 0; i < n && p->n_nics < NICS_MAX; i++) {
    char id[32], netdev[64], buf[64];
    if (strncmp (args[i], "user,id=", 8) != 0 || value_of (args[i], "id", id, sizeof id) == NULL)
      continue;
    size_t at = p->n_nics;
    struct capstan_nic *nic = next_nic (p, "nat");
    nic->forwards = p->forwards[at] = forwards_of (p, args[i]);
    snprintf (netdev, sizeof netdev, ",netdev=%s,", id);
    for (size_t k = 0; k < n; k++) {
      if (strstr (args[k], netdev) == NULL)
        continue;
      nic->mac = keep (p, value_of (args[k], "mac", buf, sizeof buf));
      snprintf (buf, sizeof buf, "%.*s", (int) strcspn (args[k], ","), args[k]);
      nic->model = strcmp (buf, "virtio-net-pci") == 0 ? "virtio" : keep (p, buf);
    }
  }
}

/* Cards on devices of the host, which libvirt knows. */
static void
host_nics (struct parts *p, const struct xml *x)
{
  for (int i = 1; p->n_nics < NICS_MAX; i++) {
    static const char *const what[] = { "@type", "mac/@address", "model/@type", "driver/@name",
                                        "source/@bridge", "target/@dev" };
    char *v[6], path[128];
    for (int k = 0; k < 6; k++) {
      snprintf (path, sizeof path, "/domain/devices/interface[%d]/%s", i, what[k]);
      v[k] = xml_text (x, path);
    }
    int there = v[0] != NULL;
    if (there) {
      int tap = strcmp (v[0], "ethernet") == 0, vhost = v[3] != NULL && strcmp (v[3], "vhost") == 0;
      struct capstan_nic *nic = next_nic (p, tap ? "tap" : vhost ? "vhost" : "bridge");
      nic->mac = keep (p, v[1]);
      nic->model = keep (p, v[2]);
      nic->device = keep (p, tap ? v[5] : v[4]);
    }
    for (int k = 0; k < 6; k++)
      free (v[k]);
    if (!there)
      return;
  }
}

static void
files (struct parts *p, const struct xml *x, char **args, size_t n)
{
  static const char *const paths[] = { "/domain/devices/disk/source/@file", "/domain/os/kernel",
                                       "/domain/os/initrd", "/domain/os/nvram" };
  char buf[PATH_MAX];
  for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
    char **list;
    size_t m = xml_texts (x, paths[i], &list);
    for (size_t k = 0; k < m; k++)
      resource (p, "file", list[k]);
    texts_free (list);
  }
  for (size_t i = 0; i < n; i++)
    if (strstr (args[i], ",id=capstan") != NULL) {
      resource (p, "file", value_of (args[i], "logfile", buf, sizeof buf));
      resource (p, "socket", value_of (args[i], "path", buf, sizeof buf));
    }
}

int
kvm_emit (struct capstan_call *call, struct kvm *k, virDomainPtr d, int64_t stopped,
          struct capstan_list *list)
{
  static const char *const words[] = { "unknown", "creating", "shut off", "running", "paused",
    "crashed", "gone", "starting", "in shutdown", "saved" };
  char uuid[VIR_UUID_STRING_BUFLEN], number[32], log[PATH_MAX], **args;
  struct parts p = { .call = call, .max_resources = 64 + 4 * SERIALS_MAX };
  struct xml x;
  int reason, st = kvm_state (d, &reason);
  const char *name = virDomainGetName (d);
  virDomainGetUUIDString (d, uuid);
  xml_read (&x, virDomainGetXMLDesc (d, 0));
  size_t n_args = xml_texts (&x, "//*[local-name()='commandline']/*/@value", &args);
  p.resources = calloc (p.max_resources + 1, sizeof *p.resources);
  long pid = pid_of (k, name, uuid);
  resource (&p, "domain", name);
  if (pid > 0) {
    snprintf (number, sizeof number, "%ld", pid);
    resource (&p, "pid", number);
  }
  files (&p, &x, args, n_args);
  if (libvirt_log (k, name, log, sizeof log))
    resource (&p, "file", log);
  own_nics (&p, args, n_args);
  host_nics (&p, &x);
  struct capstan_vm_info i = { .struct_size = sizeof i, .state = (uint32_t) st, .id = uuid,
    .name = name, .detail = words[st], .reason = reason_of (st, reason),
    .started = pid > 0 ? started_at (pid) : INT64_MIN,
    .stopped = st == CAPSTAN_VM_STOPPED || st == CAPSTAN_VM_CRASHED ? stopped : INT64_MIN,
    .nics = p.nics, .resources = p.resources };
  int rc = p.resources != NULL ? capstan_host_->emit_vm (list, &i)
                               : capstan_error (call, CAPSTAN_E_NOMEM, 0, "out of memory");
  for (size_t m = 0; m < p.n_nics; m++)
    free (p.forwards[m]);
  free (p.resources);
  texts_free (args);
  xml_clear (&x);
  return rc;
}
