/* The serial ports of a machine: what vbox-serial is told, started, found and ended.
 * SPDX-License-Identifier: BSD-3-Clause */
#define _GNU_SOURCE
#include "vbox.h"
#include "serial.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum { STEP_MS = 5 };

int
relay_config (struct capstan_call *call, const struct capstan_vm_spec *s, const char *dir)
{
  char path[VB_PATH + 16];
  snprintf (path, sizeof path, "%s/serial", dir);
  FILE *f = fopen (path, "we");
  if (f == NULL)
    return capstan_error (call, CAPSTAN_E_IO, errno, "make %s", path);
  for (int i = 0; s->serials != NULL && s->serials[i] != NULL; i++) {
    const struct capstan_serial *p = s->serials[i];
    fprintf (f, "%s/uart%d%c%s%c%s%c", s->run_dir, i + 1, 0, p->socket != NULL ? p->socket : "", 0,
             p->log != NULL ? p->log : "", 0);
  }
  int bad = ferror (f), e = errno;
  if (fclose (f) != 0 || bad)
    return capstan_error (call, CAPSTAN_E_IO, bad ? e : errno, "write %s", path);
  return 0;
}

const char *
relay_field (struct capstan_call *call, const char *id, int port, int field)
{
  static const int max = SERIAL_PORTS * 3 * VB_PATH;
  const char *path = vb_file (call, id, "serial"), *found = NULL;
  char *text = malloc ((size_t) max);
  int fd = path != NULL ? open (path, O_RDONLY | O_CLOEXEC) : -1;
  ssize_t n = fd >= 0 && text != NULL ? read (fd, text, (size_t) max - 1) : 0;
  if (fd >= 0)
    close (fd);
  if (n > 0) {
    text[n] = '\0';
    const char *p = text;
    for (int skip = port * 3 + field; skip > 0 && p < text + n; skip--)
      p += strlen (p) + 1;
    if (p < text + n && *p != '\0')
      found = capstan_host_->keep (call, p, SIZE_MAX);
  }
  free (text);
  return found;
}

/* What its lock says, or the last one's said: 3 if all is there. */
static int
read_lock (int fd, char state[16], long *pid, long *vm)
{
  char text[96];
  ssize_t n = pread (fd, text, sizeof text - 1, 0);
  text[n > 0 ? n : 0] = '\0';
  return sscanf (text, "%15s %ld %ld", state, pid, vm);
}

void
relay_look (struct capstan_call *call, const char *id, struct vb_relay *ret)
{
  struct flock l = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
  const char *path = vb_file (call, id, "serial.lock");
  char state[16];
  long pid, vm;
  *ret = (struct vb_relay) { .pid = 0 };
  int fd = path != NULL ? open (path, O_RDWR | O_CLOEXEC) : -1;
  if (fd < 0)
    return;
  /* only asked: a lock taken here could be in the way of one that is just starting */
  if (fcntl (fd, F_OFD_GETLK, &l) == 0 && l.l_type != F_UNLCK) {
    ret->alive = 1; /* it is coming, where there is no text */
    if (read_lock (fd, state, &pid, &vm) == 3 && pid > 1)
      *ret = (struct vb_relay) { .alive = 1, .running = strcmp (state, "running") == 0,
                                 .pid = (pid_t) pid, .vm = (pid_t) vm };
  }
  close (fd);
}

int
relay_start (struct capstan_call *call, const char *id)
{
  const char *libexec = getenv ("CAPSTAN_LIBEXEC"), *dir = vb_file (call, id, "");
  char program[VB_PATH];
  snprintf (program, sizeof program, "%s/vbox-serial", libexec != NULL ? libexec : PKGLIBEXECDIR);
  const char *argv[] = { program, dir, NULL };
  struct capstan_run_req q = { .struct_size = sizeof q, .argv = argv, .in_fd = -1, .out_fd = -1, .err_fd = -1 };
  struct capstan_run_rsp p = { .struct_size = sizeof p };
  if (dir == NULL)
    return -CAPSTAN_E_INVAL;
  int rc = capstan_host_->run (call, &q, &p);
  if (rc != 0 || p.exit_status == 0)
    return rc;
  if (p.exit_status == SERIAL_BUSY)
    return capstan_error (call, CAPSTAN_E_STATE, 0, "machine %s is started already", id);
  return capstan_error (call, CAPSTAN_E_IO, 0, "serial ports of %s: %.*s", id, (int) strcspn (p.err, "\n"), p.err);
}

void
relay_stop (struct capstan_call *call, const char *id)
{
  struct vb_relay r;
  relay_look (call, id, &r);
  for (int i = 0; i < 200 && r.alive && !r.running; i++) { /* also when cancelled: it is soon gone */
    if (r.pid > 0)
      kill (r.pid, SIGTERM);
    usleep (10000);
    relay_look (call, id, &r);
  }
}

int
relay_connect (struct capstan_call *call, const char *id, int port)
{
  struct sockaddr_un a = { .sun_family = AF_UNIX };
  const char *path = relay_field (call, id, port, 1);
  if (path == NULL || strlen (path) >= sizeof a.sun_path)
    return capstan_error (call, CAPSTAN_E_UNSUPPORTED, 0, "machine %s has no such serial port", id);
  strcpy (a.sun_path, path);
  int s = socket (AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (s >= 0 && connect (s, (struct sockaddr *) &a, sizeof a) == 0)
    return s;
  int e = errno;
  if (s >= 0)
    close (s);
  return capstan_error (call, e == ENOENT || e == ECONNREFUSED ? CAPSTAN_E_STATE : CAPSTAN_E_IO, e,
                        "connect to %s (is it running?)", path);
}

int64_t
vb_now_ms (void)
{
  struct timespec t;
  clock_gettime (CLOCK_MONOTONIC, &t);
  return (int64_t) t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* The ports close with the machine, so nobody has to ask VirtualBox over and over. What comes
 * from the port is read and dropped: whoever does not read holds up the guest. */
int
relay_wait (struct capstan_call *call, const char *id, int64_t ms)
{
  int64_t end = vb_now_ms () + ms;
  int s = -1, rc = 0;
  char buf[4096];
  for (int port = SERIAL_PORTS - 1; s < 0 && port >= 0; port--)
    if (relay_field (call, id, port, 1) != NULL)
      s = relay_connect (call, id, port);
  if (s < 0) /* nobody is there */
    return 1;
  while (rc == 0 && vb_now_ms () < end) {
    int64_t left = end - vb_now_ms ();
    struct pollfd f[2] = { { .fd = s, .events = POLLIN },
                           { .fd = capstan_host_->cancel_fd (call), .events = POLLIN } };
    int n = poll (f, 2, (int) (left < 60000 ? left : 60000));
    if (capstan_host_->cancelled (call))
      rc = capstan_error (call, CAPSTAN_E_CANCELLED, 0, "cancelled");
    else if (n > 0 && f[0].revents != 0 && read (s, buf, sizeof buf) <= 0)
      rc = 1;
  }
  close (s);
  return rc;
}

/* Its process, if it is one of VirtualBox's: the number may be another's by now. */
static int
open_machine (struct capstan_call *call, const char *id)
{
  const char *path = vb_file (call, id, "serial.lock");
  char state[16], comm[32] = "";
  long pid, vm = 0;
  int lock = path != NULL ? open (path, O_RDONLY | O_CLOEXEC) : -1, fd = -1;
  if (lock < 0)
    return -1;
  if (read_lock (lock, state, &pid, &vm) == 3 && vm > 1)
    fd = (int) syscall (SYS_pidfd_open, (pid_t) vm, 0);
  close (lock);
  if (fd >= 0) {
    snprintf (comm, sizeof comm, "/proc/%ld/comm", vm);
    FILE *f = fopen (comm, "re");
    if (f == NULL || fgets (comm, sizeof comm, f) == NULL)
      *comm = '\0';
    if (f != NULL)
      fclose (f);
    if (strncmp (comm, "VBoxHeadless", 12) != 0) {
      close (fd);
      return -1;
    }
  }
  return fd;
}

int
relay_machine_end (struct capstan_call *call, int flags, const char *id, int64_t ms)
{
  int fd = open_machine (call, id), rc = 0;
  struct pollfd f = { .fd = fd, .events = POLLIN };
  int64_t end = vb_now_ms () + ms;
  while (fd >= 0 && rc == 0 && vb_now_ms () < end && poll (&f, 1, 0) == 0)
    rc = vb_pause (call, flags, STEP_MS);
  if (fd >= 0)
    close (fd);
  return rc;
}
