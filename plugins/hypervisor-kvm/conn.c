/* Which libvirt, and what it can do. SPDX-License-Identifier: BSD-3-Clause */
#include "kvm.h"
#include <errno.h>
#include <fcntl.h>
#include <libxml/parser.h>
#include <libxml/xpath.h>
#include <grp.h>
#include <pwd.h>
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

static void
choose_accel (struct kvm *k)
{
  strcpy (k->accel, "tcg");
  if (access ("/dev/kvm", F_OK) != 0)
    snprintf (k->why, sizeof k->why, "there is no /dev/kvm");
  else if (!has_virtualisation ())
    snprintf (k->why, sizeof k->why, "this processor shows neither vmx nor svm");
  else if (!kvm_open_to (k))
    snprintf (k->why, sizeof k->why, "/dev/kvm is closed to the user that QEMU runs as: add it "
              "to the group kvm");
  else
    strcpy (k->accel, "kvm");
}

/* The user QEMU runs as, and whether AppArmor confines it: from libvirt's capabilities. */
static void
read_security (struct kvm *k)
{
  char *xml = virConnectGetCapabilities (k->conn);
  xmlDocPtr doc = xml != NULL ? xmlReadMemory (xml, (int) strlen (xml), "capabilities", NULL,
      XML_PARSE_NONET | XML_PARSE_NOERROR | XML_PARSE_NOWARNING) : NULL;
  xmlXPathContextPtr c = doc != NULL ? xmlXPathNewContext (doc) : NULL;
  static const char label[] = "string(//secmodel[model='dac']/baselabel[@type='kvm'])";
  xmlXPathObjectPtr o = c != NULL ? xmlXPathEvalExpression ((const xmlChar *) label, c) : NULL;
  if (o != NULL && o->stringval != NULL)
    sscanf ((const char *) o->stringval, "+%u:+%u", &k->qemu_uid, &k->qemu_gid);
  if (o != NULL)
    xmlXPathFreeObject (o);
  o = c != NULL ? xmlXPathEvalExpression ((const xmlChar *) "//secmodel[model='apparmor']", c) : NULL;
  k->apparmor = o != NULL && o->nodesetval != NULL && o->nodesetval->nodeNr > 0;
  if (o != NULL)
    xmlXPathFreeObject (o);
  if (c != NULL)
    xmlXPathFreeContext (c);
  if (doc != NULL)
    xmlFreeDoc (doc);
  free (xml);
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

int
connection_open (struct capstan_call *call, struct kvm *k)
{
  const char *uri = capstan_host_->option (call, "uri");
  if (uri == NULL || *uri == '\0')
    uri = getenv ("CAPSTAN_LIBVIRT_URI");
  if (uri == NULL || *uri == '\0')
    uri = getenv ("LIBVIRT_DEFAULT_URI");
  if (uri == NULL || *uri == '\0')
    uri = geteuid () == 0 ? "qemu:///system" : "qemu:///session";
  if (strcmp (uri, "qemu:///system") != 0 && strcmp (uri, "qemu:///session") != 0 &&
      strncmp (uri, "qemu:///system?", 15) != 0 && strncmp (uri, "qemu:///session?", 16) != 0)
    return capstan_error (call, CAPSTAN_E_UNSUPPORTED, 0,
                          "connection %s: only this host is supported for now: qemu:///session or "
                          "qemu:///system", uri);
  k->conn = virConnectOpen (uri);
  if (k->conn == NULL) {
    virErrorPtr e = virGetLastError ();
    return capstan_error (call, CAPSTAN_E_NOTFOUND, 0,
                          "libvirt does not answer at %s: %s. Start it: systemctl start libvirtd, "
                          "or, without systemd, virtlogd -d; libvirtd -d%s", uri,
                          e != NULL ? e->message : "no reason given",
                          geteuid () != 0 && getenv ("XDG_RUNTIME_DIR") == NULL
                              ? "; and XDG_RUNTIME_DIR is not set, which qemu:///session needs" : "");
  }
  k->system = strncmp (uri, "qemu:///system", 14) == 0;
  if (k->system)
    read_security (k);
  choose_accel (k);
  warn_slow_probe (call, k);
  return 0;
}
