/* From a spec to a registered machine, and back to nothing. SPDX-License-Identifier: BSD-3-Clause
 *
 * Everything that is made for a machine lies in one folder of the plugin's own, named by its
 * UUID: VirtualBox's settings and logs, the descriptors of its disks, the list of its serial
 * ports. VirtualBox itself is never told to delete a file: its own way of removing a machine
 * deletes each disk that is attached, wherever it lies. */
#define _GNU_SOURCE
#include "vbox.h"
#include "serial.h"
#include "plugins/common/ports.h"
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <net/if.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum { SECTOR = 512, IDE_DISKS = 4, SERIAL_MAX = 20, MIB = 1024 * 1024 };

#define REFUSE(code, ...) return capstan_error (call, (code), 0, __VA_ARGS__)
#define UNSUPPORTED(...) REFUSE (CAPSTAN_E_UNSUPPORTED, __VA_ARGS__)

/* Options whose spelling changed, as before 7.0 and since. Those before were tried on 7.2
 * only, which still takes most of them; machines of 6.1, 7.0 and 7.1 were not. */
enum { LOGO_IN, LOGO_OUT, LOGO_TIME, BOOT_MENU, NIC_TYPE, MAC, CABLE, BRIDGE, HOST_ONLY, NAT_RULE,
       UART_MODE, PARAVIRT, SPELLINGS };
static const char *const spelling[SPELLINGS][2] = {
  [LOGO_IN] = { "--bioslogofadein", "--firmware-logo-fade-in" },
  [LOGO_OUT] = { "--bioslogofadeout", "--firmware-logo-fade-out" },
  [LOGO_TIME] = { "--bioslogodisplaytime", "--firmware-logo-display-time" },
  [BOOT_MENU] = { "--biosbootmenu", "--firmware-boot-menu" },
  [NIC_TYPE] = { "--nictype", "--nic-type" },
  [MAC] = { "--macaddress", "--mac-address" },
  [CABLE] = { "--cableconnected", "--cable-connected" },
  [BRIDGE] = { "--bridgeadapter", "--bridge-adapter" },
  [HOST_ONLY] = { "--hostonlyadapter", "--host-only-adapter" },
  [NAT_RULE] = { "--natpf", "--nat-pf" },
  [UART_MODE] = { "--uartmode", "--uart-mode" },
  [PARAVIRT] = { "--paravirtprovider", "--paravirt-provider" }
};

struct word { const char *ours, *theirs; };
static const struct word modes[] = { { "nat", "nat" }, { "bridge", "bridged" }, { "hostonly", "hostonly" }, { NULL, NULL } };
static const struct word cards[] = { { "virtio", "virtio" }, { "e1000", "82540EM" }, { "pcnet", "Am79C973" }, { NULL, NULL } };
static const struct word boards[] = { { "piix3", "piix3" }, { "ich9", "ich9" }, { NULL, NULL } };
static const struct word buses[] = { { "sata", "sata" }, { "ide", "ide" }, { NULL, NULL } };
static const struct word firmwares[] = { { "bios", "bios" }, { "uefi", "efi" }, { NULL, NULL } };
static const struct word formats[] = { { "raw", "" }, { "vdi", "" }, { "vmdk", "" }, { "vhd", "" }, { NULL, NULL } };

/* VirtualBox's word for ours, the first of the table for none; NULL for an unknown one. */
static const char *
word (const struct word *table, const char *ours)
{
  if (ours == NULL)
    return table->theirs;
  for (; table->ours != NULL; table++)
    if (strcmp (table->ours, ours) == 0)
      return table->theirs;
  return NULL;
}

static int
known (struct capstan_call *call, const struct word *table, const char *what, const char *ours)
{
  char list[128] = "";
  if (word (table, ours) != NULL)
    return 0;
  for (size_t n = 0; table->ours != NULL && n < sizeof list; table++)
    n += (size_t) snprintf (list + n, sizeof list - n, "%s%s", n > 0 ? ", " : "", table->ours);
  UNSUPPORTED ("%s %s is not there under VirtualBox: there is %s", what, ours, list);
}

static const char *
param (const struct capstan_kv *kv, size_t n, const char *key, const char *def)
{
  for (size_t i = 0; i < n; i++)
    if (strcmp (kv[i].key, key) == 0)
      return kv[i].value;
  return def;
}

/* OSv has a driver for AHCI, and of IDE for one disk only; the kernel of the Linux base has
 * IDE and no AHCI. */
static const char *
bus_of (const struct capstan_vm_spec *s)
{
  for (const struct capstan_disk *const *d = s->disks; d != NULL && *d != NULL; d++)
    if ((*d)->bus != NULL)
      return (*d)->bus;
  return s->guest != NULL && strcmp (s->guest, "linux") == 0 ? "ide" : "sata";
}

const char *
vb_file (struct capstan_call *call, const char *id, const char *file)
{
  const char *dir = capstan_host_->dir (call, "state");
  char path[VB_PATH];
  if (dir == NULL)
    return NULL;
  if (id == NULL || strlen (id) != 36 || strspn (id, "0123456789abcdef-") != 36) {
    capstan_error (call, CAPSTAN_E_INVAL, 0, "'%s' is no machine's UUID", id != NULL ? id : "");
    return NULL;
  }
  snprintf (path, sizeof path, "%s/%s%s%s", dir, id, *file != '\0' ? "/" : "", file);
  return capstan_host_->keep (call, path, SIZE_MAX);
}

/* ---- check ---- */

static int
disk_check (struct capstan_call *call, const struct capstan_disk *d, const char *bus)
{
  int rc;
  if (d->path == NULL)
    REFUSE (CAPSTAN_E_INVAL, "a disk without a path (image %s)", d->image != NULL ? d->image : "none");
  if (strpbrk (d->path, "\"\n") != NULL)
    UNSUPPORTED ("disk %s: VirtualBox takes no quote or line break in a path", d->path);
  if (d->format == NULL)
    REFUSE (CAPSTAN_E_INVAL, "disk %s: its format must be said", d->path);
  if ((rc = known (call, formats, "disk format", d->format)) != 0 ||
      (rc = known (call, buses, "disk bus", d->bus)) != 0)
    return rc;
  if (d->bus != NULL && strcmp (d->bus, bus) != 0)
    UNSUPPORTED ("disk %s: bus %s beside %s: all disks are on one", d->path, d->bus, bus);
  if (d->flags & ~(uint32_t) (CAPSTAN_F_READONLY | CAPSTAN_F_BOOT))
    UNSUPPORTED ("disk %s: flags 0x%x are not known", d->path, (unsigned) d->flags);
  if ((d->flags & CAPSTAN_F_READONLY) && (d->flags & CAPSTAN_F_BOOT))
    UNSUPPORTED ("disk %s: the disk to boot from cannot be read-only", d->path);
  if (d->serial != NULL && (strlen (d->serial) > SERIAL_MAX || d->serial[strspn (d->serial,
      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.+-")] != '\0'))
    REFUSE (CAPSTAN_E_INVAL, "disk %s: serial '%s': at most %d of A-Z a-z 0-9 _ . + -", d->path,
            d->serial, SERIAL_MAX);
  return 0;
}

static int
disks_check (struct capstan_call *call, const struct capstan_vm_spec *s)
{
  const char *bus = bus_of (s);
  int n = 0, rc, max = strcmp (bus, "ide") == 0 ? IDE_DISKS : DISKS_MAX;
  for (const struct capstan_disk *const *d = s->disks; d != NULL && *d != NULL; d++, n++) {
    if ((rc = disk_check (call, *d, bus)) != 0)
      return rc;
    if (((*d)->flags & CAPSTAN_F_BOOT) && n > 0)
      UNSUPPORTED ("disk %s: VirtualBox boots from the first disk", (*d)->path);
  }
  if (n == 0)
    REFUSE (CAPSTAN_E_INVAL, "a machine needs a disk to boot from");
  if (n > max)
    REFUSE (CAPSTAN_E_LIMIT, "%d disks: VirtualBox has room for %d on %s", n, max, bus);
  return 0;
}

static int
nic_check (struct capstan_call *call, const struct capstan_nic *n)
{
  char mac[13], why[512];
  pid_t holder;
  int rc;
  if ((rc = known (call, modes, "network mode", n->mode)) != 0 ||
      (rc = known (call, cards, "network card", n->model)) != 0)
    return rc;
  int nat = n->mode == NULL || strcmp (n->mode, "nat") == 0;
  if (n->flags != 0)
    UNSUPPORTED ("network card: flags 0x%x are not known", (unsigned) n->flags);
  if (n->network != NULL)
    UNSUPPORTED ("network %s: VirtualBox's networks are not used", n->network);
  if (n->mac != NULL && vb_mac (n->mac, mac) != 0)
    REFUSE (CAPSTAN_E_INVAL, "'%s' is no address of a network card: expected 52:54:00:12:34:56", n->mac);
  if (nat && n->device != NULL)
    UNSUPPORTED ("device %s: the network mode nat uses none; take -n bridge or hostonly", n->device);
  if (!nat && n->forwards != NULL && n->forwards[0] != NULL)
    UNSUPPORTED ("network mode %s forwards no ports: the guest has an address of its own", n->mode);
  if (!nat && strcmp (n->mode, "bridge") == 0 && n->device == NULL)
    REFUSE (CAPSTAN_E_INVAL, "network mode bridge: say which device of this host, -b eth0");
  const char *device = n->device != NULL ? n->device : nat ? NULL : "vboxnet0";
  if (device != NULL && if_nametoindex (device) == 0)
    REFUSE (CAPSTAN_E_NOTFOUND, "there is no network device %s on this host%s", device,
            strcmp (n->mode, "hostonly") == 0 ? "; VBoxManage hostonlyif create makes one" : "");
  rc = forwards_check (n->forwards, why, sizeof why, &holder);
  return rc != 0 ? capstan_error (call, (uint32_t) -rc, 0, "%s", why) : 0;
}

int
vb_ports_free (struct capstan_call *call, const struct vb_info *i)
{
  const char *forwards[FORWARDS_MAX + 1] = { NULL };
  char why[512];
  pid_t holder;
  for (int k = 0; k < i->n_forwards; k++)
    forwards[k] = i->forwards[k];
  int rc = forwards_check (forwards, why, sizeof why, &holder);
  return rc != 0 ? capstan_error (call, (uint32_t) -rc, 0, "%s", why) : 0;
}

static int
serials_check (struct capstan_call *call, const struct capstan_vm_spec *s)
{
  enum { LONGEST = sizeof ((struct sockaddr_un *) 0)->sun_path };
  int n = 0;
  for (const struct capstan_serial *const *p = s->serials; p != NULL && *p != NULL; p++, n++) {
    if ((*p)->flags != 0)
      UNSUPPORTED ("serial port: flags 0x%x are not known", (unsigned) (*p)->flags);
    if ((*p)->socket != NULL && strlen ((*p)->socket) >= LONGEST)
      REFUSE (CAPSTAN_E_LIMIT, "%s is too long for a socket", (*p)->socket);
    if ((*p)->log != NULL && strlen ((*p)->log) >= VB_PATH)
      REFUSE (CAPSTAN_E_LIMIT, "%s is too long", (*p)->log);
  }
  if (n > SERIAL_PORTS)
    REFUSE (CAPSTAN_E_LIMIT, "%d serial ports: there are %d at most", n, SERIAL_PORTS);
  if (n > 0 && (s->run_dir == NULL || strlen (s->run_dir) + sizeof "/uart1" > LONGEST))
    REFUSE (CAPSTAN_E_LIMIT, "%s is too long for a socket", s->run_dir != NULL ? s->run_dir : "no folder");
  return 0;
}

int
vb_check (struct capstan_call *call, struct vbox *v, const struct capstan_vm_spec *s)
{
  int rc, n = 0;
  if (s->uuid == NULL || vb_file (call, s->uuid, "") == NULL || s->name == NULL)
    REFUSE (CAPSTAN_E_INVAL, "a machine needs a name and a UUID");
  if (s->flags != 0)
    UNSUPPORTED ("flags 0x%x are not known", (unsigned) s->flags);
  if (s->arch != NULL && strcmp (s->arch, "x86_64") != 0)
    UNSUPPORTED ("architecture %s: only x86_64", s->arch);
  if (s->accel != NULL)
    UNSUPPORTED ("acceleration %s: VirtualBox has only its own", s->accel);
  if (s->cpu_model != NULL)
    UNSUPPORTED ("processor model %s: VirtualBox shows that of the host", s->cpu_model);
  if (s->kernel != NULL || s->initrd != NULL || s->cmdline != NULL)
    UNSUPPORTED ("VirtualBox boots from a disk, not a kernel that is handed over");
  if (s->cpus < 1 || s->cpus > 64)
    REFUSE (CAPSTAN_E_INVAL, "%u processors: VirtualBox gives a machine 1 to 64", s->cpus);
  if (s->memory < 4 * MIB || s->memory > (uint64_t) 2048 * 1024 * MIB)
    REFUSE (CAPSTAN_E_INVAL, "%llu bytes of memory: VirtualBox gives a machine 4 MiB to 2 TiB",
            (unsigned long long) s->memory);
  if ((rc = known (call, boards, "machine type", s->machine)) != 0 ||
      (rc = known (call, firmwares, "firmware", s->firmware)) != 0 ||
      (rc = disks_check (call, s)) != 0 || (rc = serials_check (call, s)) != 0)
    return rc;
  for (const struct capstan_nic *const *p = s->nics; p != NULL && *p != NULL; p++, n++)
    if ((rc = nic_check (call, *p)) != 0)
      return rc;
  if (n > NICS_MAX)
    REFUSE (CAPSTAN_E_LIMIT, "%d network cards: there are %d at most", n, NICS_MAX);
  return vb_version (call, v);
}

/* ---- create ---- */

/* A disk image of one part: the raw file, which stays where it is and as it is. */
static int
write_descriptor (struct capstan_call *call, const char *raw, const char *path)
{
  struct stat st;
  if (stat (raw, &st) != 0)
    return capstan_error (call, errno == ENOENT ? CAPSTAN_E_NOTFOUND : CAPSTAN_E_IO, errno, "disk %s", raw);
  if (st.st_size == 0 || st.st_size % SECTOR != 0)
    REFUSE (CAPSTAN_E_INVAL, "disk %s: its size, %lld, is no multiple of %d; truncate -s %%%d mends it", raw,
            (long long) st.st_size, SECTOR, SECTOR);
  long long sectors = (long long) st.st_size / SECTOR, cylinders = sectors / (16 * 63);
  FILE *f = fopen (path, "we");
  if (f == NULL)
    return capstan_error (call, CAPSTAN_E_IO, errno, "make %s", path);
  fprintf (f, "# Disk DescriptorFile\nversion=1\nCID=fffffffe\nparentCID=ffffffff\n"
           "createType=\"monolithicFlat\"\n\nRW %lld FLAT \"%s\" 0\n\nddb.virtualHWVersion = \"4\"\n"
           "ddb.adapterType = \"ide\"\nddb.geometry.cylinders = \"%lld\"\n"
           "ddb.geometry.heads = \"16\"\nddb.geometry.sectors = \"63\"\n", sectors, raw,
           cylinders > 16383 ? 16383 : cylinders);
  int bad = ferror (f);
  if (fclose (f) != 0 || bad)
    return capstan_error (call, CAPSTAN_E_IO, errno, "write %s", path);
  return 0;
}

static void
nic_args (struct capstan_call *call, struct vbox *v, struct vb_args *a, const struct capstan_nic *n, int i)
{
#define SPELL(option) vb_argf (call, a, "%s%d", spelling[option][v->major >= 7], i)
  struct forward f;
  char mac[13];
  int rules = 0;
  vb_argf (call, a, "--nic%d", i);
  vb_arg (a, word (modes, n->mode));
  SPELL (NIC_TYPE);
  vb_arg (a, word (cards, n->model));
  SPELL (CABLE);
  vb_arg (a, "on");
  if (n->mac != NULL && vb_mac (n->mac, mac) == 0) {
    SPELL (MAC);
    vb_argf (call, a, "%s", mac);
  }
  if (n->mode != NULL && strcmp (n->mode, "nat") != 0) {
    SPELL (strcmp (n->mode, "bridge") == 0 ? BRIDGE : HOST_ONLY);
    vb_arg (a, n->device != NULL ? n->device : "vboxnet0");
  }
  for (const char *const *t = n->forwards; t != NULL && *t != NULL; t++)
    if (forward_parse (*t, &f) == 0) {
      SPELL (NAT_RULE);
      vb_argf (call, a, "capstan%d,%s,%s,%u,,%u", rules++, f.udp ? "udp" : "tcp", f.address, f.host, f.guest);
    }
}

static void
serial_args (struct capstan_call *call, struct vbox *v, struct vb_args *a, const struct capstan_vm_spec *s)
{
  static const char *const base[SERIAL_PORTS] = { "0x3F8", "0x2F8", "0x3E8", "0x2E8" };
  static const char *const irq[SERIAL_PORTS] = { "4", "3", "4", "3" };
  for (int k = 0; s->serials != NULL && s->serials[k] != NULL; k++) {
    int i = k + 1;
    vb_argf (call, a, "--uart%d", i);
    vb_arg (a, base[k]);
    vb_arg (a, irq[k]);
    SPELL (UART_MODE);
    vb_arg (a, "client"); /* of vbox-serial, which is there first: nothing is lost */
    vb_argf (call, a, "%s/uart%d", s->run_dir, i);
  }
}

static int
modify (struct capstan_call *call, struct vbox *v, const struct capstan_vm_spec *s)
{
  struct vb_args a = { .n = 0 };
  int new = v->major >= 7, linux_guest = s->guest != NULL && strcmp (s->guest, "linux") == 0, i = 1;
  const char *const plain[] = { "modifyvm", s->uuid, "--ioapic", "on", "--vram", "8", "--boot1", "disk",
    "--boot2", "none", "--boot3", "none", "--boot4", "none", "--graphicscontroller", "vmsvga",
    new ? "--audio-enabled" : "--audio", new ? "off" : "none",
    /* the time that BIOS takes for its logo and menu, 2.5 s, is nobody's */
    spelling[LOGO_IN][new], "off", spelling[LOGO_OUT][new], "off", spelling[LOGO_TIME][new], "0",
    spelling[BOOT_MENU][new], "disabled",
    /* without it OSv halts where it finds no clock of a hypervisor that it knows */
    "--hpet", linux_guest ? "off" : "on", "--firmware", word (firmwares, s->firmware),
    "--chipset", word (boards, s->machine), spelling[PARAVIRT][new],
    param (s->params, s->n_params, "paravirt", "default"), NULL };
  for (const char *const *p = plain; *p != NULL; p++)
    vb_arg (&a, *p);
  vb_arg (&a, "--memory");
  vb_argf (call, &a, "%llu", (unsigned long long) ((s->memory + MIB - 1) / MIB));
  vb_arg (&a, "--cpus");
  vb_argf (call, &a, "%u", s->cpus);
  if (s->title != NULL) {
    vb_arg (&a, "--description");
    vb_argf (call, &a, "%s, an instance of capstan", s->title);
  }
  if (s->nics == NULL || s->nics[0] == NULL) {
    vb_arg (&a, "--nic1");
    vb_arg (&a, "none");
  }
  for (const struct capstan_nic *const *n = s->nics; n != NULL && *n != NULL; n++)
    nic_args (call, v, &a, *n, i++);
  serial_args (call, v, &a, s);
  return vb_run (call, v, VB_LOCKED, &a, "set up", s->name);
}

/* VirtualBox keeps an immutable disk in its list when the machine is gone: they are noted, so
 * that they can be taken off it. */
static int
note_readonly (struct capstan_call *call, const char *id, const char *medium)
{
  const char *path = vb_file (call, id, "readonly");
  FILE *f = path != NULL ? fopen (path, "ae") : NULL;
  if (f == NULL)
    return path == NULL ? -CAPSTAN_E_INVAL : capstan_error (call, CAPSTAN_E_IO, errno, "write %s", path);
  int bad = fprintf (f, "%s\n", medium) < 0;
  if (fclose (f) != 0 || bad)
    return capstan_error (call, CAPSTAN_E_IO, errno, "write %s", path);
  return 0;
}

static void
forget_readonly (struct capstan_call *call, struct vbox *v, const char *id)
{
  char line[VB_PATH];
  const char *path = vb_file (call, id, "readonly");
  FILE *f = path != NULL ? fopen (path, "re") : NULL;
  while (f != NULL && fgets (line, sizeof line, f) != NULL) {
    struct vb_reply r;
    line[strcspn (line, "\n")] = '\0';
    struct vb_args a = { .v = { "closemedium", "disk", line }, .n = 3 };
    /* one that another machine has stays until that goes */
    vb_try (call, v, VB_ALWAYS, &a, &r);
  }
  if (f != NULL)
    fclose (f);
}

static int
attach (struct capstan_call *call, struct vbox *v, const struct capstan_vm_spec *s, int i, int ide)
{
  const struct capstan_disk *d = s->disks[i];
  char file[32], number[2][16], key[128];
  snprintf (file, sizeof file, "disk%d.vmdk", i);
  const char *medium = d->path;
  int rc;
  if (strcmp (d->format, "raw") == 0 &&
      ((medium = vb_file (call, s->uuid, file)) == NULL || (rc = write_descriptor (call, d->path, medium)) != 0))
    return medium == NULL ? -CAPSTAN_E_INVAL : rc;
  if ((d->flags & CAPSTAN_F_READONLY) && (rc = note_readonly (call, s->uuid, medium)) != 0)
    return rc;
  snprintf (number[0], sizeof number[0], "%d", ide ? i / 2 : i);
  snprintf (number[1], sizeof number[1], "%d", ide ? i % 2 : 0);
  rc = vb_simple (call, v, VB_LOCKED, "attach the disks of", "storageattach", s->uuid, "--storagectl", "disk",
                  "--port", number[0], "--device", number[1], "--type", "hdd", "--medium", medium,
                  /* what the guest writes goes to a file of VirtualBox's, and is gone at the next start */
                  d->flags & CAPSTAN_F_READONLY ? "--mtype" : NULL, "immutable", NULL);
  if (rc != 0 || d->serial == NULL)
    return rc;
  static const char *const places[] = { "PrimaryMaster", "PrimarySlave", "SecondaryMaster", "SecondarySlave" };
  if (ide)
    snprintf (key, sizeof key, "VBoxInternal/Devices/piix3ide/0/Config/%s/SerialNumber", places[i]);
  else
    snprintf (key, sizeof key, "VBoxInternal/Devices/ahci/0/Config/Port%d/SerialNumber", i);
  return vb_simple (call, v, VB_LOCKED, "set up", "setextradata", s->uuid, key, d->serial, NULL);
}

/* *made: the machine may be registered. */
static int
build (struct capstan_call *call, struct vbox *v, const struct capstan_vm_spec *s, const char *dir, int *made)
{
  struct vb_reply r = { .status = 0 };
  struct vb_args a = { .v = { "createvm", "--name", s->name, "--uuid", s->uuid, "--ostype", "Linux_64",
                              "--basefolder", dir, "--register" }, .n = 10 };
  int ide = strcmp (bus_of (s), "ide") == 0, n = 0, rc;
  char ports[16];
  while (s->disks[n] != NULL)
    n++;
  snprintf (ports, sizeof ports, "%d", ide ? 2 : n);
  if ((rc = relay_config (call, s, dir)) != 0)
    return rc;
  rc = vb_try (call, v, 0, &a, &r);
  *made = rc != 0 || r.status == 0 || v->lost; /* it may have come to that */
  if (rc != 0 || r.status != 0)
    return rc != 0 ? rc : vb_fail (call, &r, "create", s->name);
  if ((rc = modify (call, v, s)) != 0 ||
      (rc = vb_simple (call, v, VB_LOCKED, "set up", "storagectl", s->uuid, "--name", "disk", "--add",
                       ide ? "ide" : "sata", "--controller", ide ? "PIIX4" : "IntelAHCI", "--portcount",
                       ports, "--bootable", "on", "--hostiocache",
                       strcmp (param (s->params, s->n_params, "hostiocache", "true"), "true") == 0 ? "on" : "off",
                       NULL)) != 0)
    return rc;
  for (int i = 0; i < n && rc == 0; i++)
    rc = attach (call, v, s, i, ide);
  return rc;
}

static int
remove_entry (const char *path, const struct stat *st, int type, struct FTW *f)
{
  return remove (path);
}

static int
remove_folder (struct capstan_call *call, const char *dir)
{
  if (nftw (dir, remove_entry, 16, FTW_DEPTH | FTW_PHYS | FTW_MOUNT) != 0 && errno != ENOENT)
    return capstan_error (call, CAPSTAN_E_IO, errno, "remove %s", dir);
  return 0;
}

int
vb_remove (struct capstan_call *call, struct vbox *v, const char *id)
{
  struct vb_args a = { .v = { "unregistervm", id }, .n = 2 };
  struct vb_reply r;
  const char *dir = vb_file (call, id, "");
  if (dir == NULL)
    return -CAPSTAN_E_INVAL;
  int rc = vb_try (call, v, VB_ALWAYS | VB_LOCKED, &a, &r);
  if (rc != 0)
    return rc;
  if (r.status != 0 && r.code != VB_OBJECT_NOT_FOUND)
    return vb_fail (call, &r, "remove", id);
  forget_readonly (call, v, id);
  return remove_folder (call, dir);
}

/* Whole or not at all. */
static int
create_once (struct capstan_call *call, struct vbox *v, const struct capstan_vm_spec *s, const char *dir)
{
  int made = 0;
  v->lost = 0;
  if (mkdir (dir, 0700) != 0)
    return capstan_error (call, errno == EEXIST ? CAPSTAN_E_EXISTS : CAPSTAN_E_IO, errno, "make %s", dir);
  int rc = build (call, v, s, dir, &made);
  if (rc != 0 && made) {
    if (vb_remove (call, v, s->uuid) != 0)
      v->lost = 0; /* no other try: that it cannot be undone is what is to be said */
  } else if (rc != 0)
    remove_folder (call, dir);
  return rc;
}

int
vb_create (struct capstan_call *call, struct vbox *v, const struct capstan_vm_spec *s)
{
  int rc = vb_check (call, v, s);
  const char *dir = rc == 0 ? vb_file (call, s->uuid, "") : NULL;
  if (rc != 0 || dir == NULL)
    return rc != 0 ? rc : -CAPSTAN_E_INVAL;
  for (const struct capstan_disk *const *d = s->disks; *d != NULL; d++)
    if (access ((*d)->path, F_OK) != 0)
      return capstan_error (call, CAPSTAN_E_NOTFOUND, errno, "disk %s", (*d)->path);
  for (int tries = 0; tries <= VB_AGAIN; tries++)
    if ((rc = create_once (call, v, s, dir)) == 0 || !v->lost || rc == -CAPSTAN_E_CANCELLED)
      break;
  return rc;
}
