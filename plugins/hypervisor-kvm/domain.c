/* A machine as libvirt's XML. SPDX-License-Identifier: BSD-3-Clause
 *
 * Serial ports and user networking are given to QEMU directly: libvirt's own serial ports
 * log through virtlogd, which cuts the log at 2 MiB, and its port forwards need passt. */
#include "kvm.h"
#include <arpa/inet.h>
#include <errno.h>
#include <libxml/xmlwriter.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define X(s) ((const xmlChar *) (s))

static void
element (xmlTextWriterPtr w, const char *name, const char *text)
{
  xmlTextWriterWriteElement (w, X (name), X (text));
}

static void
attribute (xmlTextWriterPtr w, const char *name, const char *value)
{
  xmlTextWriterWriteAttribute (w, X (name), X (value));
}

static void
arg (xmlTextWriterPtr w, const char *value)
{
  xmlTextWriterStartElement (w, X ("qemu:arg"));
  attribute (w, "value", value);
  xmlTextWriterEndElement (w);
}

/* In QEMU's option lists a comma in a value is written twice. */
static void
commas (char *to, size_t n, const char *from)
{
  size_t o = 0;
  for (; *from != '\0' && o + 3 < n; from++) {
    to[o++] = *from;
    if (*from == ',')
      to[o++] = ',';
  }
  to[o] = '\0';
}

static void
serial_args (xmlTextWriterPtr w, const struct capstan_serial *s, int index)
{
  char path[512] = "", log[8192] = "", text[9000];
  commas (path, sizeof path, s->socket != NULL ? s->socket : "");
  commas (log, sizeof log, s->log != NULL ? s->log : "");
  arg (w, "-chardev");
  snprintf (text, sizeof text, "%s,id=capstan%d%s%s%s%s%s", s->socket != NULL ? "socket" : "null",
            index, s->socket != NULL ? ",server=on,wait=off,path=" : "", path,
            s->log != NULL ? ",logfile=" : "", log, s->log != NULL ? ",logappend=on" : "");
  arg (w, text);
  arg (w, "-device");
  snprintf (text, sizeof text, "isa-serial,chardev=capstan%d,index=%d", index, index);
  arg (w, text);
}

/* "tcp:127.0.0.1:8080:80" */
static int
split_forward (const char *f, char *buf, size_t n, char *part[4])
{
  snprintf (buf, n, "%s", f);
  for (int i = 0; i < 4; i++)
    part[i] = strsep (&buf, ":");
  return part[3] != NULL && buf == NULL;
}

static void
nic_args (xmlTextWriterPtr w, const struct capstan_nic *n, int index)
{
  char text[4096];
  size_t at = (size_t) snprintf (text, sizeof text,
      "user,id=net%d,net=192.168.122.0/24,host=192.168.122.1", index);
  for (const char *const *f = n->forwards; f != NULL && *f != NULL && at < sizeof text; f++) {
    char buf[128], *p[4];
    if (split_forward (*f, buf, sizeof buf, p))
      at += (size_t) snprintf (text + at, sizeof text - at, ",hostfwd=%s:%s:%s-:%s", p[0], p[1], p[2], p[3]);
  }
  arg (w, "-netdev");
  arg (w, text);
  arg (w, "-device");
  snprintf (text, sizeof text, "virtio-net-pci,netdev=net%d,bus=pci.0,addr=0x%x%s%s", index,
            16 + index, /* libvirt numbers its own from the bottom */
            n->mac != NULL ? ",mac=" : "", n->mac != NULL ? n->mac : "");
  arg (w, text);
}

static void
interface (xmlTextWriterPtr w, const struct capstan_nic *n)
{
  int tap = strcmp (n->mode, "tap") == 0;
  xmlTextWriterStartElement (w, X ("interface"));
  attribute (w, "type", tap ? "ethernet" : "bridge");
  xmlTextWriterStartElement (w, X (tap ? "target" : "source"));
  attribute (w, tap ? "dev" : "bridge", n->device != NULL ? n->device : tap ? "tap0" : "virbr0");
  if (tap)
    attribute (w, "managed", "no");
  xmlTextWriterEndElement (w);
  if (n->mac != NULL) {
    xmlTextWriterStartElement (w, X ("mac"));
    attribute (w, "address", n->mac);
    xmlTextWriterEndElement (w);
  }
  xmlTextWriterStartElement (w, X ("model"));
  attribute (w, "type", "virtio");
  xmlTextWriterEndElement (w);
  if (strcmp (n->mode, "vhost") == 0) {
    xmlTextWriterStartElement (w, X ("driver"));
    attribute (w, "name", "vhost");
    xmlTextWriterEndElement (w);
  }
  xmlTextWriterEndElement (w);
}

static void
disk (xmlTextWriterPtr w, const struct capstan_disk *d, int index)
{
  char dev[8];
  snprintf (dev, sizeof dev, "vd%c", 'a' + index);
  xmlTextWriterStartElement (w, X ("disk"));
  attribute (w, "type", "file");
  attribute (w, "device", "disk");
  xmlTextWriterStartElement (w, X ("driver"));
  attribute (w, "name", "qemu");
  attribute (w, "type", d->format);
  attribute (w, "discard", "unmap");
  xmlTextWriterEndElement (w);
  xmlTextWriterStartElement (w, X ("source"));
  attribute (w, "file", d->path);
  xmlTextWriterEndElement (w);
  xmlTextWriterStartElement (w, X ("target"));
  attribute (w, "dev", dev);
  attribute (w, "bus", "virtio");
  xmlTextWriterEndElement (w);
  if (d->flags & CAPSTAN_F_READONLY)
    element (w, "readonly", "");
  xmlTextWriterEndElement (w);
}

static void
os_and_cpu (xmlTextWriterPtr w, const struct capstan_vm_spec *s, int kvm)
{
  xmlTextWriterStartElement (w, X ("os"));
  xmlTextWriterStartElement (w, X ("type"));
  attribute (w, "arch", "x86_64");
  attribute (w, "machine", s->machine != NULL ? s->machine : "pc");
  xmlTextWriterWriteString (w, X ("hvm"));
  xmlTextWriterEndElement (w);
  if (s->kernel != NULL)
    element (w, "kernel", s->kernel);
  if (s->initrd != NULL)
    element (w, "initrd", s->initrd);
  if (s->kernel != NULL && s->cmdline != NULL)
    element (w, "cmdline", s->cmdline);
  xmlTextWriterEndElement (w);
  xmlTextWriterStartElement (w, X ("features"));
  element (w, "acpi", "");
  element (w, "apic", "");
  xmlTextWriterEndElement (w);
  if (kvm) {
    xmlTextWriterStartElement (w, X ("cpu"));
    attribute (w, "mode", "host-passthrough");
    xmlTextWriterEndElement (w);
  }
  xmlTextWriterStartElement (w, X ("clock"));
  attribute (w, "offset", "utc");
  xmlTextWriterStartElement (w, X ("timer")); /* OSv needs one where there is no kvmclock */
  attribute (w, "name", "hpet");
  attribute (w, "present", "yes");
  xmlTextWriterEndElement (w);
  xmlTextWriterEndElement (w);
  element (w, "on_poweroff", "destroy");
  element (w, "on_reboot", "destroy");
  element (w, "on_crash", "destroy");
}

/* May the user that QEMU runs as go through all folders of the path? */
static int
reachable (const char *path)
{
  char dir[4096];
  struct stat st;
  snprintf (dir, sizeof dir, "%s", path);
  for (char *slash; (slash = strrchr (dir, '/')) != NULL;) {
    *slash = '\0';
    if (stat (*dir != '\0' ? dir : "/", &st) != 0 || !(st.st_mode & S_IXOTH))
      return 0;
  }
  return 1;
}

/* The first path of the spec that it may not reach, or NULL. */
static const char *
closed_path (const struct capstan_vm_spec *s)
{
  if (s->run_dir != NULL && !reachable (s->run_dir))
    return s->run_dir;
  for (const struct capstan_disk *const *d = s->disks; d != NULL && *d != NULL; d++)
    if (!reachable ((*d)->path))
      return (*d)->path;
  for (const struct capstan_serial *const *p = s->serials; p != NULL && *p != NULL; p++)
    if ((*p)->log != NULL && !reachable ((*p)->log))
      return (*p)->log;
  return NULL;
}

/* libvirt makes disks accessible to that user, and nothing that it does not know of. */
static int
seclabels (struct capstan_call *call, struct kvm *k, xmlTextWriterPtr w, const struct capstan_vm_spec *s)
{
  if (!k->system)
    return 0;
  const char *closed = closed_path (s);
  if (closed != NULL) {
    capstan_log (call, CAPSTAN_LOG_INFO,
                 "%s is closed to libvirt's user: QEMU runs as root", closed);
    xmlTextWriterStartElement (w, X ("seclabel"));
    attribute (w, "type", "static");
    attribute (w, "model", "dac");
    attribute (w, "relabel", "no");
    element (w, "label", "+0:+0");
    xmlTextWriterEndElement (w);
  } else {
    if (s->run_dir != NULL && chown (s->run_dir, k->qemu_uid, k->qemu_gid) != 0)
      return capstan_error (call, CAPSTAN_E_PERM, errno, "give %s to libvirt's user", s->run_dir);
    for (const struct capstan_serial *const *p = s->serials; p != NULL && *p != NULL; p++) {
      FILE *f = (*p)->log != NULL ? fopen ((*p)->log, "ae") : NULL;
      if (f != NULL && fchown (fileno (f), k->qemu_uid, k->qemu_gid) != 0)
        capstan_log (call, CAPSTAN_LOG_WARN, "%s cannot be given to libvirt's user", (*p)->log);
      if (f != NULL)
        fclose (f);
    }
  }
  if (k->apparmor) { /* its profile knows only of paths in libvirt's own elements */
    xmlTextWriterStartElement (w, X ("seclabel"));
    attribute (w, "type", "none");
    attribute (w, "model", "apparmor");
    xmlTextWriterEndElement (w);
  }
  return 0;
}

char *
domain_xml (struct capstan_call *call, struct kvm *k, const struct capstan_vm_spec *s)
{
  xmlBufferPtr buf = xmlBufferCreate ();
  xmlTextWriterPtr w = xmlNewTextWriterMemory (buf, 0);
  const char *accel = s->accel != NULL ? s->accel : k->accel;
  int kvm = strcmp (accel, "kvm") == 0, i = 0, rc = 0;
  char num[32];
  xmlTextWriterStartElement (w, X ("domain"));
  attribute (w, "type", kvm ? "kvm" : "qemu");
  attribute (w, "xmlns:qemu", "http://libvirt.org/schemas/domain/qemu/1.0");
  element (w, "name", s->name);
  if (s->uuid != NULL)
    element (w, "uuid", s->uuid);
  if (s->title != NULL)
    element (w, "title", s->title);
  snprintf (num, sizeof num, "%llu", (unsigned long long) s->memory / 1024);
  element (w, "memory", num);
  snprintf (num, sizeof num, "%u", s->cpus);
  element (w, "vcpu", num);
  os_and_cpu (w, s, kvm);
  xmlTextWriterStartElement (w, X ("devices"));
  for (const struct capstan_disk *const *d = s->disks; d != NULL && *d != NULL; d++)
    disk (w, *d, i++);
  for (const struct capstan_nic *const *n = s->nics; n != NULL && *n != NULL; n++)
    if (strcmp ((*n)->mode, "nat") != 0)
      interface (w, *n);
  xmlTextWriterStartElement (w, X ("controller"));
  attribute (w, "type", "usb");
  attribute (w, "model", "none");
  xmlTextWriterEndElement (w);
  xmlTextWriterStartElement (w, X ("memballoon"));
  attribute (w, "model", "none");
  xmlTextWriterEndElement (w);
  xmlTextWriterStartElement (w, X ("rng"));
  attribute (w, "model", "virtio");
  xmlTextWriterStartElement (w, X ("backend"));
  attribute (w, "model", "random");
  xmlTextWriterWriteString (w, X ("/dev/urandom"));
  xmlTextWriterEndElement (w);
  xmlTextWriterEndElement (w);
  xmlTextWriterEndElement (w); /* devices */
  rc = seclabels (call, k, w, s);
  xmlTextWriterStartElement (w, X ("qemu:commandline"));
  i = 0;
  for (const struct capstan_serial *const *p = s->serials; p != NULL && *p != NULL; p++)
    serial_args (w, *p, i++);
  i = 0;
  for (const struct capstan_nic *const *n = s->nics; n != NULL && *n != NULL; n++)
    if (strcmp ((*n)->mode, "nat") == 0)
      nic_args (w, *n, i++);
  xmlTextWriterEndElement (w);
  xmlTextWriterEndElement (w);
  xmlFreeTextWriter (w);
  char *text = rc == 0 ? strdup ((const char *) xmlBufferContent (buf)) : NULL;
  xmlBufferFree (buf);
  return text;
}

static int
port_check (struct capstan_call *call, const char *f)
{
  char buf[128], *p[4];
  struct sockaddr_in a = { .sin_family = AF_INET };
  if (!split_forward (f, buf, sizeof buf, p) || inet_pton (AF_INET, p[1], &a.sin_addr) != 1)
    return capstan_error (call, CAPSTAN_E_INVAL, 0, "forward %s: expected tcp:ADDRESS:PORT:PORT", f);
  a.sin_port = htons ((uint16_t) atoi (p[2]));
  int tcp = strcmp (p[0], "tcp") == 0, one = 1;
  int s = socket (AF_INET, (tcp ? SOCK_STREAM : SOCK_DGRAM) | SOCK_CLOEXEC, 0);
  if (s < 0)
    return capstan_error (call, CAPSTAN_E_IO, errno, "socket");
  if (tcp) /* as QEMU does it: connections of yesterday are not in the way */
    setsockopt (s, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  int rc = bind (s, (struct sockaddr *) &a, sizeof a), e = errno;
  if (rc == 0 && tcp)
    rc = listen (s, 1), e = errno;
  close (s);
  if (rc == 0)
    return 0;
  return capstan_error (call, e == EADDRINUSE ? CAPSTAN_E_BUSY : CAPSTAN_E_PERM, e,
                        "port %s on %s cannot be forwarded; choose another with -f, or see who "
                        "has it: ss -lnp 'sport = :%s'", p[2], p[1], p[2]);
}

int
ports_check (struct capstan_call *call, const struct capstan_vm_spec *s)
{
  for (const struct capstan_nic *const *n = s->nics; n != NULL && *n != NULL; n++)
    for (const char *const *f = (*n)->forwards; f != NULL && *f != NULL; f++) {
      int rc = port_check (call, *f);
      if (rc != 0)
        return rc;
    }
  return 0;
}
