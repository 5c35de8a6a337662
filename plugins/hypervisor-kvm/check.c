/* Can a machine be made as it was asked for? SPDX-License-Identifier: BSD-3-Clause
 *
 * Whatever a spec says is done or refused by its name. Its files need not be there yet. */
#include "kvm.h"
#include "plugins/common/ports.h"
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { SERIAL_MAX = 20 /* bytes that a virtio or ATA disk has for it */, DISKS_MAX = 26 };

static int
is_one (const char *s, const char *list)
{
  const char *p = s != NULL && *s != '\0' && strchr (s, ',') == NULL ? list : NULL;
  size_t n = s != NULL ? strlen (s) : 0;
  for (; p != NULL && *p != '\0'; p += strcspn (p, ","), p += *p == ',')
    if (strcspn (p, ",") == n && strncmp (p, s, n) == 0)
      return 1;
  return 0;
}

#define REFUSE(code, ...) return capstan_error (call, (code), 0, __VA_ARGS__)
/* Refuses a word that is there and not one of the list. */
#define ONE_OF(what, value, list)                                                        \
  if ((value) != NULL && !is_one ((value), (list)))                                      \
  REFUSE (CAPSTAN_E_UNSUPPORTED, "%s %s is not supported: there is %s", (what), (value), (list))

static const char *
param (const struct capstan_kv *kv, size_t n, const char *key)
{
  for (size_t i = 0; i < n; i++)
    if (strcmp (kv[i].key, key) == 0)
      return kv[i].value;
  return NULL;
}

static int
disk_check (struct capstan_call *call, const struct capstan_disk *d, int q35)
{
  if (d->path == NULL)
    REFUSE (CAPSTAN_E_INVAL, "a disk without a path (image %s)", d->image != NULL ? d->image : "none");
  if (d->format == NULL)
    REFUSE (CAPSTAN_E_INVAL, "disk %s: its format must be said", d->path);
  ONE_OF ("disk format", d->format, "raw,qcow2");
  ONE_OF ("disk bus", d->bus, "virtio,ide,sata,scsi");
  if (d->flags & ~(uint32_t) (CAPSTAN_F_READONLY | CAPSTAN_F_BOOT))
    REFUSE (CAPSTAN_E_UNSUPPORTED, "disk %s: flags 0x%x are not known", d->path, (unsigned) d->flags);
  if (q35 && d->bus != NULL && strcmp (d->bus, "ide") == 0)
    REFUSE (CAPSTAN_E_UNSUPPORTED, "disk %s: machine type q35 has no IDE bus; take sata", d->path);
  if (d->bus != NULL && (strcmp (d->bus, "ide") == 0 || strcmp (d->bus, "sata") == 0) &&
      (d->flags & CAPSTAN_F_READONLY))
    REFUSE (CAPSTAN_E_UNSUPPORTED, "disk %s: bus %s knows no read-only disks", d->path, d->bus);
  if (d->serial != NULL && (strlen (d->serial) > SERIAL_MAX || strspn (d->serial,
      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.+-") != strlen (d->serial)))
    REFUSE (CAPSTAN_E_INVAL, "disk %s: serial '%s': at most %d of A-Z a-z 0-9 _ . + -", d->path,
            d->serial, SERIAL_MAX);
  const char *aio = param (d->params, d->n_params, "aio"), *cache = param (d->params, d->n_params, "cache");
  if (aio != NULL && strcmp (aio, "native") == 0 && !is_one (cache, "none,directsync"))
    REFUSE (CAPSTAN_E_INVAL, "disk %s: aio=native needs cache=none or cache=directsync", d->path);
  return 0;
}

static int
is_mac (const char *s)
{
  int n = 0;
  return sscanf (s, "%*2[0-9a-fA-F]:%*2[0-9a-fA-F]:%*2[0-9a-fA-F]:%*2[0-9a-fA-F]:%*2[0-9a-fA-F]:"
                    "%*2[0-9a-fA-F]%n", &n) == 0 && n == 17 && s[n] == '\0';
}

/* A device of the host that the card is joined to: it has to be there, and what it is. */
static int
device_check (struct capstan_call *call, const struct capstan_nic *n)
{
  int tap = strcmp (n->mode, "tap") == 0;
  const char *device = n->device != NULL ? n->device : tap ? TAP_DEVICE : BRIDGE_DEVICE, *kind = tap ? "tap device" : "bridge";
  char path[128];
  if (strchr (device, '/') != NULL || strlen (device) > 15)
    REFUSE (CAPSTAN_E_INVAL, "'%s' is no name of a network device", device);
  snprintf (path, sizeof path, "/sys/class/net/%s/%s", device, tap ? "tun_flags" : "bridge");
  if (access (path, F_OK) != 0)
    REFUSE (CAPSTAN_E_NOTFOUND, "network mode %s: %s is no %s of this host%s", n->mode, device, kind,
            n->device == NULL ? "; -b says which to use" : "");
  return 0;
}

static int
nic_check (struct capstan_call *call, const struct capstan_nic *n)
{
  if (n->mode == NULL)
    REFUSE (CAPSTAN_E_INVAL, "a network card without a mode");
  ONE_OF ("network mode", n->mode, "nat,bridge,tap,vhost");
  ONE_OF ("network card model", n->model, "virtio,e1000,e1000e,rtl8139");
  int nat = strcmp (n->mode, "nat") == 0;
  if (n->flags != 0)
    REFUSE (CAPSTAN_E_UNSUPPORTED, "network card: flags 0x%x are not known", (unsigned) n->flags);
  if (n->network != NULL)
    REFUSE (CAPSTAN_E_UNSUPPORTED, "network %s: mode %s has no networks to choose from", n->network, n->mode);
  if (n->mac != NULL && !is_mac (n->mac))
    REFUSE (CAPSTAN_E_INVAL, "'%s' is no network address: expected 52:54:00:12:34:56", n->mac);
  if (nat && n->device != NULL)
    REFUSE (CAPSTAN_E_UNSUPPORTED, "device %s: network mode nat uses none of the host's", n->device);
  if (!nat && n->forwards != NULL && n->forwards[0] != NULL)
    REFUSE (CAPSTAN_E_UNSUPPORTED, "forward %s: network mode %s forwards no ports; use nat",
            n->forwards[0], n->mode);
  if (strcmp (n->mode, "vhost") == 0 && access ("/dev/vhost-net", F_OK) != 0)
    REFUSE (CAPSTAN_E_UNSUPPORTED, "network mode vhost: this host has no /dev/vhost-net (modprobe vhost_net)");
  return nat ? 0 : device_check (call, n);
}

/* "running 'web'": the machine of ours that the process is, or "". */
static void
machine_of (struct kvm *k, pid_t pid, char *to, size_t n)
{
  char path[64], text[4096], *name;
  *to = '\0';
  snprintf (path, sizeof path, "/proc/%ld/cmdline", (long) pid);
  FILE *f = pid > 0 ? fopen (path, "re") : NULL;
  size_t got = f != NULL ? fread (text, 1, sizeof text - 1, f) : 0;
  if (f != NULL)
    fclose (f);
  for (size_t i = 0; i < got; i++)
    if (text[i] == '\0')
      text[i] = ' ';
  text[got] = '\0';
  if ((name = strstr (text, " guest=")) == NULL)
    return;
  name += 7;
  name[strcspn (name, ", ")] = '\0';
  virDomainPtr d = virDomainLookupByName (k->conn, name);
  char *title = d != NULL ? virDomainGetMetadata (d, VIR_DOMAIN_METADATA_TITLE, NULL, 0) : NULL;
  if (title != NULL)
    snprintf (to, n, " It runs '%s'.", title);
  free (title);
  if (d != NULL)
    virDomainFree (d);
}

int
ports_check (struct capstan_call *call, struct kvm *k, const char *const *forwards)
{
  char why[512], whose[256];
  pid_t holder;
  int rc = forwards_check (forwards, why, sizeof why, &holder);
  if (rc == 0)
    return 0;
  machine_of (k, holder, whose, sizeof whose);
  return capstan_error (call, (uint32_t) -rc, 0, "%s%s%s", why, *whose != '\0' ? "." : "", whose);
}

/* Those of all cards at once: none may be there twice. */
static int
forwards_of_all (struct capstan_call *call, struct kvm *k, const struct capstan_nic *const *nics)
{
  size_t n = 0;
  for (const struct capstan_nic *const *c = nics; c != NULL && *c != NULL; c++)
    for (const char *const *f = (*c)->forwards; f != NULL && *f != NULL; f++)
      n++;
  const char **all = calloc (n + 1, sizeof *all);
  if (all == NULL)
    return capstan_error (call, CAPSTAN_E_NOMEM, 0, "out of memory");
  n = 0;
  for (const struct capstan_nic *const *c = nics; c != NULL && *c != NULL; c++)
    for (const char *const *f = (*c)->forwards; f != NULL && *f != NULL; f++)
      all[n++] = *f;
  int rc = ports_check (call, k, all);
  free (all);
  return rc;
}

static int
devices_check (struct capstan_call *call, struct kvm *k, const struct capstan_vm_spec *s)
{
  int rc = 0, n = 0, q35 = is_q35 (s);
  for (const struct capstan_disk *const *d = s->disks; d != NULL && *d != NULL; d++, n++)
    if ((rc = disk_check (call, *d, q35)) != 0)
      return rc;
  if (n > DISKS_MAX)
    REFUSE (CAPSTAN_E_LIMIT, "%d disks: at most %d", n, DISKS_MAX);
  n = 0;
  for (const struct capstan_nic *const *c = s->nics; c != NULL && *c != NULL; c++, n++)
    if ((rc = nic_check (call, *c)) != 0)
      return rc;
  if (n > NICS_MAX)
    REFUSE (CAPSTAN_E_LIMIT, "%d network cards: at most %d", n, NICS_MAX);
  n = 0;
  for (const struct capstan_serial *const *p = s->serials; p != NULL && *p != NULL; p++, n++) {
    if ((*p)->flags != 0)
      REFUSE (CAPSTAN_E_UNSUPPORTED, "serial port: flags 0x%x are not known", (unsigned) (*p)->flags);
    if ((*p)->socket != NULL && strlen ((*p)->socket) >= sizeof ((struct sockaddr_un *) 0)->sun_path)
      REFUSE (CAPSTAN_E_LIMIT, "%s is too long for a socket", (*p)->socket);
  }
  if (n > SERIALS_MAX)
    REFUSE (CAPSTAN_E_LIMIT, "%d serial ports: at most %d", n, SERIALS_MAX);
  return forwards_of_all (call, k, s->nics);
}

int
spec_check (struct capstan_call *call, struct kvm *k, const struct capstan_vm_spec *s)
{
  if (s->name == NULL || *s->name == '\0')
    REFUSE (CAPSTAN_E_INVAL, "a machine without a name");
  ONE_OF ("architecture", s->arch, "x86_64");
  ONE_OF ("firmware", s->firmware, "bios,uefi");
  ONE_OF ("acceleration", s->accel, "kvm,tcg");
  if (s->machine != NULL && strncmp (s->machine, "pc", 2) != 0 && strncmp (s->machine, "q35", 3) != 0)
    REFUSE (CAPSTAN_E_UNSUPPORTED, "machine type %s is not supported: pc or q35, or a version of them", s->machine);
  if (s->accel != NULL && strcmp (s->accel, "kvm") == 0 && access ("/dev/kvm", F_OK) != 0)
    REFUSE (CAPSTAN_E_UNSUPPORTED, "acceleration kvm: there is no /dev/kvm; leave it out, or take tcg");
  if (s->cpu_model != NULL && strcmp (s->cpu_model, "host") == 0 &&
      strcmp (s->accel != NULL ? s->accel : k->accel, "kvm") != 0)
    REFUSE (CAPSTAN_E_UNSUPPORTED, "processor model host needs KVM (%s)", k->why);
  if (s->flags != 0)
    REFUSE (CAPSTAN_E_UNSUPPORTED, "machine: flags 0x%x are not known", (unsigned) s->flags);
  if (s->cpus == 0 || s->memory < 1024 * 1024)
    REFUSE (CAPSTAN_E_INVAL, "a machine needs at least one processor and 1 MiB of memory");
  if (s->kernel == NULL && (s->initrd != NULL || s->cmdline != NULL))
    REFUSE (CAPSTAN_E_INVAL, "%s %s without a kernel", s->initrd != NULL ? "initrd" : "kernel command line",
            s->initrd != NULL ? s->initrd : s->cmdline);
  for (size_t i = 0; i < s->n_params; i++) /* there are none */
    REFUSE (CAPSTAN_E_INVAL, "machine option '%s' is not known", s->params[i].key);
  return devices_check (call, k, s);
}
