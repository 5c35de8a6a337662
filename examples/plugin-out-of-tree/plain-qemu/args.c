/* What is wanted of a machine, as QEMU's command line. SPDX-License-Identifier: BSD-3-Clause */
#define _GNU_SOURCE
#include "plain-qemu.h"
#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { MIB = 1 << 20 };

const char *
accel (const struct capstan_vm_spec *s)
{
  return s != NULL && s->accel != NULL ? s->accel : access ("/dev/kvm", R_OK | W_OK) == 0 ? "kvm" : "tcg";
}

int
one_of (const char *word, const char *all)
{
  size_t n = word != NULL ? strlen (word) : 0;
  for (const char *p = all; n > 0 && (p = strstr (p, word)) != NULL; p += n)
    if ((p == all || p[-1] == ' ') && (p[n] == ' ' || p[n] == '\0'))
      return 1;
  return 0;
}

/* Can QEMU listen there? forward: "tcp:127.0.0.1:8080:80". */
static int
check_port (struct capstan_call *c, const char *forward)
{
  struct sockaddr_in a = { .sin_family = AF_INET };
  char protocol[4] = "", address[64] = "";
  unsigned port = 0, guest = 0;
  int on = 1, e = 0;
  if (sscanf (forward, "%3[a-z]:%63[0-9.]:%u:%u", protocol, address, &port, &guest) != 4 || port > 65535 ||
      inet_pton (AF_INET, address, &a.sin_addr) != 1)
    return capstan_error (c, CAPSTAN_E_UNSUPPORTED, 0, "forward %s: expected tcp or udp, an IPv4 address and "
                          "two ports", forward);
  a.sin_port = htons ((uint16_t) port);
  int s = socket (AF_INET, (strcmp (protocol, "udp") == 0 ? SOCK_DGRAM : SOCK_STREAM) | SOCK_CLOEXEC, 0);
  if (s < 0 || setsockopt (s, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0 ||
      bind (s, (struct sockaddr *) &a, sizeof a) != 0)
    e = errno;
  if (s >= 0)
    close (s);
  return e == 0 ? 0 : capstan_error (c, e == EADDRINUSE ? CAPSTAN_E_BUSY : CAPSTAN_E_PERM, e,
                                     "port %u of %s cannot be forwarded", port, address);
}

int
check_forwards (struct capstan_call *c, const char *id)
{
  size_t n;
  const char *all = get (c, id, "forwards", &n);
  int rc = 0;
  for (size_t i = 0; rc == 0 && i < n; i += strlen (all + i) + 1)
    rc = check_port (c, all + i);
  return rc;
}

static int
check_nic (struct capstan_call *c, const struct capstan_nic *n)
{
  int rc = 0;
  if (strcmp (n->mode, "nat") == 0 && n->device != NULL)
    return capstan_error (c, CAPSTAN_E_UNSUPPORTED, 0, "device %s: network mode nat uses none", n->device);
  if (strcmp (n->mode, "nat") != 0 || (n->model != NULL && strcmp (n->model, "virtio") != 0))
    return capstan_error (c, CAPSTAN_E_UNSUPPORTED, 0, "network mode %s (%s): there is nat, with a "
                          "virtio card", n->mode, n->model != NULL ? n->model : "virtio");
  for (const char *const *f = n->forwards; rc == 0 && f != NULL && *f != NULL; f++)
    rc = check_port (c, *f);
  return rc;
}

int
plain_check (struct capstan_call *c, void *self, const struct capstan_vm_spec *s)
{
  int boots = s->kernel != NULL;
  (void) self;
  if (s->arch != NULL && strcmp (s->arch, "x86_64") != 0)
    return capstan_error (c, CAPSTAN_E_UNSUPPORTED, 0, "machines are x86_64 here, not %s", s->arch);
  if (s->firmware != NULL && strcmp (s->firmware, "bios") != 0)
    return capstan_error (c, CAPSTAN_E_UNSUPPORTED, 0, "firmware %s: there is bios only", s->firmware);
  if (strcmp (accel (s), "kvm") == 0 && access ("/dev/kvm", R_OK | W_OK) != 0)
    return capstan_error (c, CAPSTAN_E_UNSUPPORTED, errno, "KVM is asked for, and /dev/kvm cannot be opened");
  for (const struct capstan_disk *const *d = s->disks; d != NULL && *d != NULL; d++) {
    if ((*d)->path == NULL || !one_of ((*d)->format, "qcow2 raw vmdk vdi"))
      return capstan_error (c, CAPSTAN_E_UNSUPPORTED, 0, "disk %s: a file is needed, qcow2, raw, vmdk or vdi",
                            (*d)->path != NULL ? (*d)->path : "");
    if ((*d)->bus != NULL && !one_of ((*d)->bus, "virtio ide"))
      return capstan_error (c, CAPSTAN_E_UNSUPPORTED, 0, "disk %s: bus %s is not there: virtio or ide",
                            (*d)->path, (*d)->bus);
    boots |= ((*d)->flags & CAPSTAN_F_BOOT) != 0;
  }
  if (!boots)
    return capstan_error (c, CAPSTAN_E_INVAL, 0, "a machine needs a disk to boot from, or a kernel");
  int rc = 0;
  for (const struct capstan_nic *const *n = s->nics; rc == 0 && n != NULL && *n != NULL; n++)
    rc = check_nic (c, *n);
  return rc;
}

/* ---- the command line, each argument with its NUL ---- */

__attribute__ ((format (printf, 2, 3))) static void
add (FILE *f, const char *fmt, ...)
{
  va_list ap;
  va_start (ap, fmt);
  vfprintf (f, fmt, ap);
  va_end (ap);
  fputc ('\0', f);
}

/* A value between commas: its own are written twice. */
static const char *
value (struct capstan_call *c, const char *text)
{
  char buf[8192];
  size_t o = 0;
  for (; *text != '\0' && o + 2 < sizeof buf; text++) {
    buf[o++] = *text;
    if (*text == ',')
      buf[o++] = ',';
  }
  return capstan_host_->keep (c, buf, o);
}

static void
add_disks (struct capstan_call *c, FILE *f, const struct capstan_vm_spec *s)
{
  int i = 0;
  for (const struct capstan_disk *const *p = s->disks; p != NULL && *p != NULL; p++, i++) {
    const struct capstan_disk *d = *p;
    int ide = d->bus != NULL && strcmp (d->bus, "ide") == 0;
    add (f, "-drive");
    add (f, "if=none,id=disk%d,format=%s,discard=unmap,file.driver=file,file.filename=%s%s", i, d->format,
         value (c, d->path), d->flags & CAPSTAN_F_READONLY ? ",readonly=on" : "");
    add (f, "-device");
    add (f, "%s,drive=disk%d%s%s%s", ide ? "ide-hd" : "virtio-blk-pci", i,
         d->flags & CAPSTAN_F_BOOT ? ",bootindex=0" : "", d->serial != NULL ? ",serial=" : "",
         d->serial != NULL ? value (c, d->serial) : "");
  }
}

/* "tcp:127.0.0.1:8080:80" is QEMU's "tcp:127.0.0.1:8080-:80". */
static void
add_nics (struct capstan_call *c, FILE *f, const struct capstan_vm_spec *s)
{
  int i = 0;
  for (const struct capstan_nic *const *n = s->nics; n != NULL && *n != NULL; n++, i++) {
    add (f, "-netdev");
    fprintf (f, "user,id=net%d", i);
    for (const char *const *w = (*n)->forwards; w != NULL && *w != NULL; w++) {
      const char *guest = strrchr (*w, ':');
      if (guest != NULL)
        fprintf (f, ",hostfwd=%.*s-%s", (int) (guest - *w), *w, guest);
    }
    add (f, "%s", "");
    add (f, "-device");
    add (f, "virtio-net-pci,netdev=net%d%s%s", i, (*n)->mac != NULL ? ",mac=" : "",
         (*n)->mac != NULL ? value (c, (*n)->mac) : "");
  }
}

static void
add_serials (struct capstan_call *c, FILE *f, const struct capstan_vm_spec *s)
{
  int i = 0;
  for (const struct capstan_serial *const *p = s->serials; p != NULL && *p != NULL; p++, i++) {
    add (f, "-chardev");
    add (f, "%s,id=serial%d%s%s%s%s%s", (*p)->socket != NULL ? "socket" : "null", i,
         (*p)->socket != NULL ? ",server=on,wait=off,path=" : "",
         (*p)->socket != NULL ? value (c, (*p)->socket) : "", (*p)->log != NULL ? ",logappend=on" : "",
         (*p)->log != NULL ? ",logfile=" : "", (*p)->log != NULL ? value (c, (*p)->log) : "");
    add (f, "-serial");
    add (f, "chardev:serial%d", i);
  }
}

static void
add_all (struct capstan_call *c, FILE *f, const struct capstan_vm_spec *s)
{
  const char *a = accel (s), *best = strcmp (a, "kvm") == 0 ? "host" : NULL; /* else what QEMU takes */
  const struct { const char *option, *text; } plain[] = {
    { "-name", value (c, s->name) }, { "-uuid", s->uuid }, { "-accel", a },
    { "-cpu", s->cpu_model != NULL ? s->cpu_model : best },
    { "-machine", s->machine != NULL ? s->machine : "pc" }, { "-kernel", s->kernel },
    { "-initrd", s->initrd },
    { "-append", s->kernel != NULL ? s->cmdline : NULL }, { "-display", "none" }, { "-rtc", "base=utc" },
    { "-device", "virtio-rng-pci" }, { "-pidfile", path_of (c, s->name, "pid") },
    { "-qmp", "unix:qmp,server=on,wait=off" } };
  add (f, "%s", QEMU);
  add (f, "-nodefaults");
  add (f, "-no-user-config");
  add (f, "-no-reboot");
  add (f, "-daemonize");
  for (size_t i = 0; i < sizeof plain / sizeof *plain; i++)
    if (plain[i].text != NULL) {
      add (f, "%s", plain[i].option);
      add (f, "%s", plain[i].text);
    }
  add (f, "-m");
  add (f, "%lluM", (unsigned long long) ((s->memory + MIB - 1) / MIB));
  add (f, "-smp");
  add (f, "%u", (unsigned) (s->cpus != 0 ? s->cpus : 1));
  add_disks (c, f, s);
  add_nics (c, f, s);
  add_serials (c, f, s);
}

static void
add_forwards (struct capstan_call *c, FILE *f, const struct capstan_vm_spec *s)
{
  (void) c;
  for (const struct capstan_nic *const *n = s->nics; n != NULL && *n != NULL; n++)
    for (const char *const *w = (*n)->forwards; w != NULL && *w != NULL; w++)
      add (f, "%s", *w);
}

/* What `texts' adds, into a file of the machine's folder. */
static int
write_texts (struct capstan_call *c, const struct capstan_vm_spec *s, const char *file,
             void (*texts) (struct capstan_call *c, FILE *f, const struct capstan_vm_spec *s))
{
  char *text = NULL;
  size_t n = 0;
  FILE *f = open_memstream (&text, &n);
  int rc = 0;
  if (f == NULL)
    return capstan_error (c, CAPSTAN_E_NOMEM, errno, "the %s of %s", file, s->name);
  texts (c, f, s);
  if (fclose (f) != 0 || n > ARGS_MAX)
    rc = capstan_error (c, CAPSTAN_E_LIMIT, 0, "the %s of %s are too long", file, s->name);
  if (rc == 0)
    rc = put (c, s->name, file, text, n);
  free (text);
  return rc;
}

int
write_machine (struct capstan_call *c, const struct capstan_vm_spec *s)
{
  int rc = write_texts (c, s, "args", add_all);
  if (rc == 0)
    rc = write_texts (c, s, "forwards", add_forwards);
  for (const struct capstan_serial *const *p = s->serials; rc == 0 && p != NULL && *p != NULL; p++)
    if ((*p)->socket != NULL && one_of ((*p)->role, "console control"))
      rc = put (c, s->name, (*p)->role, (*p)->socket, strlen ((*p)->socket));
  return rc;
}
