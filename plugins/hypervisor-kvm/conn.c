/* Which libvirt, and what it can do. SPDX-License-Identifier: BSD-3-Clause */
#include "kvm.h"
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int
has_virtualisation (void)
{
  char line[8192];
  int found = 0;
  FILE *f = fopen ("/proc/cpuinfo", "re");
  while (!found && f != NULL && fgets (line, sizeof line, f) != NULL)
    found = strncmp (line, "flags", 5) == 0 && (strstr (line, " vmx") || strstr (line, " svm"));
  if (f != NULL)
    fclose (f);
  return found;
}

/* May the user that QEMU is going to run as use /dev/kvm? */
static int
kvm_open_to (const struct kvm *k)
{
  struct stat st;
  if (!k->system)
    return access ("/dev/kvm", R_OK | W_OK) == 0;
  if (stat ("/dev/kvm", &st) != 0)
    return 0;
  struct passwd *p = getpwuid (k->qemu_uid);
  gid_t groups[64];
  int n = 64;
  if ((st.st_mode & 06) == 06 || (st.st_uid == k->qemu_uid && (st.st_mode & 0600) == 0600))
    return 1;
  if (p == NULL || getgrouplist (p->pw_name, p->pw_gid, groups, &n) < 0)
    return 0;
  for (int i = 0; i < n; i++)
    if (groups[i] == st.st_gid && (st.st_mode & 060) == 060)
      return 1;
  return 0;
}

#define ENABLE "turn virtualisation on in the firmware of this host or, where it is a virtual machine " \
  "itself, nested virtualisation in its hypervisor"

static void
no_kvm (struct kvm *k, const char *why, const char *advice)
{
  snprintf (k->why, sizeof k->why, "%s", why);
  snprintf (k->advice, sizeof k->advice, "%s", advice);
}

static void
closed_kvm (struct kvm *k)
{
  struct passwd *p = getpwuid (k->system ? k->qemu_uid : geteuid ());
  char advice[sizeof k->advice];
  snprintf (advice, sizeof advice, "usermod -aG kvm %.64s%s; where /dev/kvm does not belong to that "
            "group: chgrp kvm /dev/kvm && chmod 660 /dev/kvm", p != NULL ? p->pw_name : "USER",
            k->system ? "" : ", and log in again");
  no_kvm (k, "/dev/kvm is closed to the user that QEMU runs as", advice);
}

static void
choose_accel (struct kvm *k)
{
  int can = has_virtualisation ();
  strcpy (k->accel, "tcg");
  if (access ("/dev/kvm", F_OK) != 0)
    no_kvm (k, "there is no /dev/kvm", can ? "modprobe kvm_intel, or kvm_amd" : ENABLE);
  else if (!can)
    no_kvm (k, "this processor shows neither vmx nor svm, and a /dev/kvm without them boots nothing", ENABLE);
  else if (!kvm_open_to (k))
    closed_kvm (k);
  else
    strcpy (k->accel, "kvm");
}

/* The user QEMU runs as, and whether AppArmor confines it: from libvirt's capabilities. */
static void
read_security (struct kvm *k)
{
  struct xml x;
  xml_read (&x, virConnectGetCapabilities (k->conn));
  char *label = xml_text (&x, "//secmodel[model='dac']/baselabel[@type='kvm']");
  char *apparmor = xml_text (&x, "//secmodel[model='apparmor']/model");
  if (label != NULL)
    sscanf (label, "+%u:+%u", &k->qemu_uid, &k->qemu_gid);
  k->apparmor = apparmor != NULL;
  free (label);
  free (apparmor);
  xml_clear (&x);
}

/* /dev/kvm that the prober may use and QEMU may not makes libvirt probe QEMU at each start. */
static void
warn_slow_probe (struct capstan_call *call, struct kvm *k)
{
  if (k->system && k->qemu_uid != 0 && access ("/dev/kvm", R_OK | W_OK) == 0 && !kvm_open_to (k))
    capstan_log (call, CAPSTAN_LOG_WARN,
                 "/dev/kvm is open to root and closed to libvirt's user: each start may take a "
                 "minute. To mend it: chgrp kvm /dev/kvm && chmod 660 /dev/kvm");
}

/* The one that was asked for, or NULL. */
static const char *
asked_uri (struct capstan_call *call)
{
  const char *names[] = { "CAPSTAN_LIBVIRT_URI", "LIBVIRT_DEFAULT_URI" };
  const char *uri = capstan_host_->option (call, "uri");
  for (size_t i = 0; i < 2 && (uri == NULL || *uri == '\0'); i++)
    uri = getenv (names[i]);
  return uri != NULL && *uri != '\0' ? uri : NULL;
}

/* "qemu:///NAME", alone or with parameters after it */
static int
is_uri (const char *uri, const char *name)
{
  size_t n = strlen (name);
  return strncmp (uri, name, n) == 0 && (uri[n] == '\0' || uri[n] == '?');
}

static void
no_answer (const char *uri, char *text, size_t n)
{
  virErrorPtr e = virGetLastError ();
  snprintf (text, n, "libvirt does not answer at %s: %s. Start it: systemctl start libvirtd, "
            "or, without systemd, virtlogd -d; libvirtd -d%s", uri,
            e != NULL ? e->message : "no reason given",
            geteuid () != 0 && getenv ("XDG_RUNTIME_DIR") == NULL
                ? "; and XDG_RUNTIME_DIR is not set, which qemu:///session needs" : "");
}

static int
set_uri (struct capstan_call *call, struct kvm *k, const char *uri)
{
  free (k->uri);
  k->uri = strdup (uri);
  k->system = is_uri (uri, "qemu:///system");
  k->embed = is_uri (uri, "qemu:///embed");
  if (k->uri == NULL)
    return capstan_error (call, CAPSTAN_E_NOMEM, 0, "out of memory");
  if (k->system || k->embed || is_uri (uri, "qemu:///session"))
    return 0;
  return capstan_error (call, CAPSTAN_E_UNSUPPORTED, 0,
                        "connection %s: only this host is supported for now: qemu:///session, "
                        "qemu:///system or qemu:///embed", uri);
}

static int
open_libvirt (struct capstan_call *call, struct kvm *k)
{
  char why[1024];
  if (k->embed)
    return embed_open (call, k);
  if ((k->conn = virConnectOpen (k->uri)) != NULL)
    return 0;
  no_answer (k->uri, why, sizeof why);
  return capstan_error (call, CAPSTAN_E_NOTFOUND, 0, "%s", why);
}

/* Where nobody said which: the daemon, and without one its driver in this process. */
static int
open_default (struct capstan_call *call, struct kvm *k)
{
  static atomic_int warned;
  char why[1024];
  int rc = set_uri (call, k, geteuid () == 0 ? "qemu:///system" : "qemu:///session");
  if (rc != 0 || (k->conn = virConnectOpen (k->uri)) != NULL)
    return rc;
  no_answer (k->uri, why, sizeof why);
  if ((rc = set_uri (call, k, "qemu:///embed")) == 0)
    rc = embed_open (call, k);
  if (rc == -CAPSTAN_E_BUSY)
    return rc;
  if (rc != 0)
    return capstan_error (call, CAPSTAN_E_NOTFOUND, 0, "%s", why);
  if (atomic_exchange (&warned, 1) == 0)
    capstan_log (call, CAPSTAN_LOG_WARN, "%s. For now QEMU is run from this process: attached only, "
                 "and by one capstan at a time", why);
  return 0;
}

int
connection_open (struct capstan_call *call, struct kvm *k)
{
  const char *uri = asked_uri (call);
  int rc = uri == NULL ? open_default (call, k) : set_uri (call, k, uri);
  if (rc == 0 && uri != NULL)
    rc = open_libvirt (call, k);
  if (rc != 0)
    return rc;
  if (k->system)
    read_security (k);
  choose_accel (k);
  warn_slow_probe (call, k);
  return 0;
}

void
connection_close (struct kvm *k)
{
  if (k->events != NULL)
    virConnectClose (k->events);
  if (k->conn != NULL)
    virConnectClose (k->conn);
  free (k->uri);
  k->events = k->conn = NULL;
  k->uri = NULL;
}

/* A machine is where it was made, whatever this process would choose now. */
static int
follow (struct capstan_call *call, struct kvm *k, const char *uri)
{
  if (uri == NULL || k->uri == NULL || strcmp (uri, k->uri) == 0)
    return 0;
  struct kvm other = { 0 };
  int rc = set_uri (call, &other, uri);
  if (rc == 0)
    rc = open_libvirt (call, &other);
  if (rc != 0) {
    free (other.uri);
    return rc;
  }
  connection_close (k);
  k->conn = other.conn;
  k->uri = other.uri;
  k->system = other.system;
  k->embed = other.embed;
  if (k->system)
    read_security (k);
  return 0;
}

int
domain_find (struct capstan_call *call, struct kvm *k, const struct capstan_vm_ref *r, virDomainPtr *ret)
{
  if (r->id == NULL)
    return capstan_error (call, CAPSTAN_E_INVAL, 0, "a machine without id");
  int rc = follow (call, k, r->state);
  for (int again = 0; rc == 0 && k->conn != NULL; again = 1) {
    if ((*ret = virDomainLookupByUUIDString (k->conn, r->id)) != NULL)
      return 0;
    rc = kvm_error (call, "find", r->id);
    if (rc == -CAPSTAN_E_NOTFOUND || again || virConnectIsAlive (k->conn) != 0)
      return rc;
    virConnectClose (k->conn); /* libvirt was restarted */
    rc = open_libvirt (call, k);
  }
  return rc != 0 ? rc : capstan_error (call, CAPSTAN_E_NET, 0, "find %s: libvirt is gone", r->id);
}
