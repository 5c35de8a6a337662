/* A machine as libvirt's XML. SPDX-License-Identifier: BSD-3-Clause
 *
 * Serial ports and user networking are given to QEMU directly: libvirt's own serial ports
 * log through virtlogd, which cuts the log at 2 MiB, and its port forwards need passt. */
#include "kvm.h"
#include "plugins/common/ports.h"
#include <errno.h>
#include <libxml/xmlwriter.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
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

int
is_q35 (const struct capstan_vm_spec *s)
{
  return s->machine != NULL && strstr (s->machine, "q35") != NULL;
}

/* A guest with several cards sees several networks. */
static int
nic_args (xmlTextWriterPtr w, const struct capstan_nic *n, int index, int q35)
{
  char *text = NULL;
  size_t size;
  FILE *f = open_memstream (&text, &size);
  if (f == NULL)
    return -1;
  fprintf (f, "user,id=net%d,net=192.168.%d.0/24,host=192.168.%d.1", index, 122 + index, 122 + index);
  for (const char *const *p = n->forwards; p != NULL && *p != NULL; p++) {
    struct forward fw;
    if (forward_parse (*p, &fw) == 0)
      fprintf (f, ",hostfwd=%s:%s:%u-:%u", fw.udp ? "udp" : "tcp", fw.address, fw.host, fw.guest);
  }
  if (fclose (f) != 0) {
    free (text);
    return -1;
  }
  arg (w, "-netdev");
  arg (w, text);
  free (text);
  char device[256];
  const char *model = n->model != NULL && strcmp (n->model, "virtio") != 0 ? n->model : "virtio-net-pci";
  snprintf (device, sizeof device, "%s,netdev=net%d,bus=%s.0,addr=0x%x%s%.32s", model, index,
            q35 ? "pcie" : "pci", 16 + index, /* libvirt numbers its own from the bottom */
            n->mac != NULL ? ",mac=" : "", n->mac != NULL ? n->mac : "");
  arg (w, "-device");
  arg (w, device);
  return 0;
}

static void
interface (xmlTextWriterPtr w, const struct capstan_nic *n)
{
  int tap = strcmp (n->mode, "tap") == 0;
  xmlTextWriterStartElement (w, X ("interface"));
  attribute (w, "type", tap ? "ethernet" : "bridge");
  xmlTextWriterStartElement (w, X (tap ? "target" : "source"));
  attribute (w, tap ? "dev" : "bridge", n->device != NULL ? n->device : tap ? TAP_DEVICE : BRIDGE_DEVICE);
  if (tap)
    attribute (w, "managed", "no");
  xmlTextWriterEndElement (w);
  if (n->mac != NULL) {
    xmlTextWriterStartElement (w, X ("mac"));
    attribute (w, "address", n->mac);
    xmlTextWriterEndElement (w);
  }
  xmlTextWriterStartElement (w, X ("model"));
  attribute (w, "type", n->model != NULL ? n->model : "virtio");
  xmlTextWriterEndElement (w);
  if (strcmp (n->mode, "vhost") == 0) {
    xmlTextWriterStartElement (w, X ("driver"));
    attribute (w, "name", "vhost");
    xmlTextWriterEndElement (w);
  }
  xmlTextWriterEndElement (w);
}

/* vda, hda, sda, ...: each kind of name has its own alphabet. */
static void
disk_target (xmlTextWriterPtr w, const char *bus, int used[3])
{
  char dev[8];
  int kind = strcmp (bus, "virtio") == 0 ? 0 : strcmp (bus, "ide") == 0 ? 1 : 2;
  snprintf (dev, sizeof dev, "%cd%c", "vhs"[kind], 'a' + used[kind]++ % 26);
  xmlTextWriterStartElement (w, X ("target"));
  attribute (w, "dev", dev);
  attribute (w, "bus", bus);
  xmlTextWriterEndElement (w);
}

static void
disk (xmlTextWriterPtr w, const struct capstan_disk *d, int used[3], int *boot)
{
  xmlTextWriterStartElement (w, X ("disk"));
  attribute (w, "type", "file");
  attribute (w, "device", "disk");
  xmlTextWriterStartElement (w, X ("driver"));
  attribute (w, "name", "qemu");
  attribute (w, "type", d->format);
  attribute (w, "discard", "unmap");
  for (size_t i = 0; i < d->n_params; i++)
    attribute (w, strcmp (d->params[i].key, "aio") == 0 ? "io" : d->params[i].key, d->params[i].value);
  xmlTextWriterEndElement (w);
  xmlTextWriterStartElement (w, X ("source"));
  attribute (w, "file", d->path);
  xmlTextWriterEndElement (w);
  disk_target (w, d->bus != NULL ? d->bus : "virtio", used);
  if (d->flags & CAPSTAN_F_READONLY)
    element (w, "readonly", "");
  if (d->serial != NULL)
    element (w, "serial", d->serial);
  if (d->flags & CAPSTAN_F_BOOT) {
    char order[16];
    snprintf (order, sizeof order, "%d", ++*boot);
    xmlTextWriterStartElement (w, X ("boot"));
    attribute (w, "order", order);
    xmlTextWriterEndElement (w);
  }
  xmlTextWriterEndElement (w);
}

static void
disks (xmlTextWriterPtr w, const struct capstan_vm_spec *s)
{
  int used[3] = { 0 }, boot = 0, scsi = 0;
  for (const struct capstan_disk *const *d = s->disks; d != NULL && *d != NULL; d++) {
    disk (w, *d, used, &boot);
    scsi |= (*d)->bus != NULL && strcmp ((*d)->bus, "scsi") == 0;
  }
  if (!scsi)
    return;
  xmlTextWriterStartElement (w, X ("controller"));
  attribute (w, "type", "scsi");
  attribute (w, "model", "virtio-scsi");
  xmlTextWriterEndElement (w);
}

static void
cpu (xmlTextWriterPtr w, const struct capstan_vm_spec *s, int kvm)
{
  int host = s->cpu_model == NULL ? kvm : strcmp (s->cpu_model, "host") == 0;
  if (!host && s->cpu_model == NULL)
    return; /* what QEMU takes for it */
  xmlTextWriterStartElement (w, X ("cpu"));
  if (host)
    attribute (w, "mode", "host-passthrough");
  else if (strcmp (s->cpu_model, "max") == 0)
    attribute (w, "mode", "maximum");
  else {
    attribute (w, "mode", "custom");
    attribute (w, "match", "exact");
    attribute (w, "check", "none");
    element (w, "model", s->cpu_model);
  }
  xmlTextWriterEndElement (w);
}

static void
os (xmlTextWriterPtr w, const struct capstan_vm_spec *s)
{
  xmlTextWriterStartElement (w, X ("os"));
  if (s->firmware != NULL && strcmp (s->firmware, "uefi") == 0)
    attribute (w, "firmware", "efi");
  xmlTextWriterStartElement (w, X ("type"));
  attribute (w, "arch", "x86_64");
  attribute (w, "machine", s->machine != NULL ? s->machine : "pc");
  xmlTextWriterWriteString (w, X ("hvm"));
  xmlTextWriterEndElement (w);
  if (s->kernel != NULL)
    element (w, "kernel", s->kernel);
  if (s->initrd != NULL)
    element (w, "initrd", s->initrd);
  if (s->cmdline != NULL)
    element (w, "cmdline", s->cmdline);
  xmlTextWriterEndElement (w);
  xmlTextWriterStartElement (w, X ("features"));
  element (w, "acpi", "");
  element (w, "apic", "");
  xmlTextWriterEndElement (w);
}

static void
clock_and_ends (xmlTextWriterPtr w)
{
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

static void
labels (xmlTextWriterPtr w, const struct capstan_vm_spec *s)
{
  if (s->n_labels == 0)
    return;
  xmlTextWriterStartElement (w, X ("metadata"));
  xmlTextWriterStartElement (w, X ("capstan:labels"));
  attribute (w, "xmlns:capstan", LABELS_URI);
  for (size_t i = 0; i < s->n_labels; i++) {
    xmlTextWriterStartElement (w, X ("capstan:label"));
    attribute (w, "key", s->labels[i].key);
    xmlTextWriterWriteString (w, X (s->labels[i].value != NULL ? s->labels[i].value : ""));
    xmlTextWriterEndElement (w);
  }
  xmlTextWriterEndElement (w);
  xmlTextWriterEndElement (w);
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
                 "%s is closed to libvirt's user: QEMU runs as root (unless chmod o+x opens the folders "
                 "on the way to it)", closed);
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

static void
devices (xmlTextWriterPtr w, const struct capstan_vm_spec *s)
{
  static const char *const unwanted[][2] = { { "controller", "usb" }, { "memballoon", NULL } };
  xmlTextWriterStartElement (w, X ("devices"));
  disks (w, s);
  for (const struct capstan_nic *const *n = s->nics; n != NULL && *n != NULL; n++)
    if (strcmp ((*n)->mode, "nat") != 0)
      interface (w, *n);
  for (size_t i = 0; i < sizeof unwanted / sizeof *unwanted; i++) {
    xmlTextWriterStartElement (w, X (unwanted[i][0]));
    if (unwanted[i][1] != NULL)
      attribute (w, "type", unwanted[i][1]);
    attribute (w, "model", "none");
    xmlTextWriterEndElement (w);
  }
  xmlTextWriterStartElement (w, X ("rng"));
  attribute (w, "model", "virtio");
  xmlTextWriterStartElement (w, X ("backend"));
  attribute (w, "model", "random");
  xmlTextWriterWriteString (w, X ("/dev/urandom"));
  xmlTextWriterEndElement (w);
  xmlTextWriterEndElement (w);
  xmlTextWriterEndElement (w);
}

/* What QEMU is told past libvirt. */
static int
own_args (xmlTextWriterPtr w, const struct capstan_vm_spec *s)
{
  int i = 0, rc = 0;
  xmlTextWriterStartElement (w, X ("qemu:commandline"));
  for (const struct capstan_serial *const *p = s->serials; p != NULL && *p != NULL; p++)
    serial_args (w, *p, i++);
  i = 0;
  for (const struct capstan_nic *const *n = s->nics; n != NULL && *n != NULL; n++)
    if (strcmp ((*n)->mode, "nat") == 0)
      rc |= nic_args (w, *n, i++, is_q35 (s));
  xmlTextWriterEndElement (w);
  return rc;
}

char *
domain_xml (struct capstan_call *call, struct kvm *k, const struct capstan_vm_spec *s)
{
  xmlBufferPtr buf = xmlBufferCreate ();
  xmlTextWriterPtr w = buf != NULL ? xmlNewTextWriterMemory (buf, 0) : NULL;
  if (w == NULL) {
    capstan_error (call, CAPSTAN_E_NOMEM, 0, "out of memory");
    return NULL;
  }
  int kvm = strcmp (s->accel != NULL ? s->accel : k->accel, "kvm") == 0;
  char num[32];
  xmlTextWriterStartElement (w, X ("domain"));
  attribute (w, "type", kvm ? "kvm" : "qemu");
  attribute (w, "xmlns:qemu", "http://libvirt.org/schemas/domain/qemu/1.0");
  element (w, "name", s->name);
  if (s->uuid != NULL)
    element (w, "uuid", s->uuid);
  if (s->title != NULL)
    element (w, "title", s->title);
  labels (w, s);
  snprintf (num, sizeof num, "%llu", ((unsigned long long) s->memory + 1023) / 1024);
  element (w, "memory", num);
  snprintf (num, sizeof num, "%u", s->cpus);
  element (w, "vcpu", num);
  os (w, s);
  cpu (w, s, kvm);
  clock_and_ends (w);
  devices (w, s);
  int rc = seclabels (call, k, w, s);
  if (rc == 0 && own_args (w, s) != 0)
    rc = capstan_error (call, CAPSTAN_E_NOMEM, 0, "out of memory");
  xmlTextWriterEndElement (w);
  xmlFreeTextWriter (w);
  char *text = rc == 0 ? strdup ((const char *) xmlBufferContent (buf)) : NULL;
  xmlBufferFree (buf);
  if (rc == 0 && text == NULL)
    capstan_error (call, CAPSTAN_E_NOMEM, 0, "out of memory");
  return text;
}
