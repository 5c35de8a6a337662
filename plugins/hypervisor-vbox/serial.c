/* The far end of a VirtualBox machine's serial ports. SPDX-License-Identifier: BSD-3-Clause
 *
 * vbox-serial FOLDER: reads FOLDER/serial, goes to the background, and then
 * - takes the connection of each port of the machine, which VirtualBox makes as it starts;
 * - appends what the guest sends to the port's log, from the first byte on, so that the guest
 *   never waits because nobody listens;
 * - gives it to whoever has connected to the port's own socket, and their input to the guest.
 *   These are waited for, as a pipe waits for its reader;
 * - ends with the machine.
 * While it works for a machine it holds a lock on FOLDER/serial.lock, which says
 * "armed PID 0" before the machine has connected and "running PID PID-OF-THE-MACHINE" after,
 * and nothing before it can be told anything. SIGTERM ends it as long as it is armed, and so
 * does the removal of FOLDER. */
#define _GNU_SOURCE
#include "serial.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum { CLIENTS = 8, OUT_MAX = 65536, IN_MAX = 4096, CHUNK = 16384, LOOK_SECONDS = 1 };

struct client { int fd; char *out; size_t at, len; };
struct port {
  const char *vm_path, *path, *log_path;
  int vm_listener, vm, listener, log;
  int seen;                  /* the machine has connected once */
  char in[IN_MAX];           /* input that the machine has not taken yet */
  size_t in_at, in_len;
  struct client clients[CLIENTS];
};
static struct port ports[SERIAL_PORTS];
static int n_ports, lock_fd = -1;
static volatile sig_atomic_t told_to_end;

__attribute__ ((format (printf, 1, 2))) static void
die (const char *fmt, ...)
{
  int e = errno;
  va_list ap;
  va_start (ap, fmt);
  vfprintf (stderr, fmt, ap);
  va_end (ap);
  fprintf (stderr, e != 0 ? ": %s\n" : "\n", strerror (e));
  exit (1);
}

static int
is_armed (void)
{
  for (int i = 0; i < n_ports; i++)
    if (ports[i].seen)
      return 0;
  return 1;
}

static int
is_over (void)
{
  for (int i = 0; i < n_ports; i++)
    if (ports[i].vm >= 0)
      return 0;
  return !is_armed ();
}

static void
say (const char *state, long vm)
{
  char text[96];
  int n = snprintf (text, sizeof text, "%s %ld %ld\n", state, (long) getpid (), vm);
  if (pwrite (lock_fd, text, (size_t) n, 0) != n || ftruncate (lock_fd, n) != 0)
    told_to_end = is_armed (); /* nobody could find it; a machine is not left alone for that */
}

static int
listen_at (const char *path, int backlog)
{
  struct sockaddr_un a = { .sun_family = AF_UNIX };
  if (strlen (path) >= sizeof a.sun_path) {
    errno = ENAMETOOLONG;
    die ("%s", path);
  }
  strcpy (a.sun_path, path);
  int s = socket (AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  unlink (path);
  if (s < 0 || bind (s, (struct sockaddr *) &a, sizeof a) != 0 || listen (s, backlog) != 0)
    die ("listen on %s", path);
  return s;
}

static void
close_fd (int *fd)
{
  if (*fd >= 0)
    close (*fd);
  *fd = -1;
}

/* The file of three texts a port, each with its NUL. It is the plugin's own. */
static void
read_config (const char *dir)
{
  static char text[SERIAL_PORTS * 3 * 4096];
  char path[4200];
  snprintf (path, sizeof path, "%s/serial", dir);
  int fd = open (path, O_RDONLY | O_CLOEXEC);
  ssize_t n = fd >= 0 ? read (fd, text, sizeof text - 1) : -1;
  if (n < 0)
    die ("read %s", path);
  close (fd);
  char *p = text, *end = text + n;
  const char *field[3];
  while (n_ports < SERIAL_PORTS && p < end) {
    for (int i = 0; i < 3; i++, p += strlen (p) + 1)
      field[i] = p < end ? p : "";
    struct port *q = &ports[n_ports++];
    *q = (struct port) { .vm_path = field[0], .path = field[1], .log_path = field[2],
                         .vm_listener = -1, .vm = -1, .listener = -1, .log = -1 };
    for (int i = 0; i < CLIENTS; i++)
      q->clients[i].fd = -1;
  }
}

static void
take_lock (const char *dir)
{
  char path[4200];
  struct flock l = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
  snprintf (path, sizeof path, "%s/serial.lock", dir);
  lock_fd = open (path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (lock_fd < 0)
    die ("open %s", path);
  if (fcntl (lock_fd, F_OFD_SETLK, &l) != 0) {
    if (errno == EAGAIN || errno == EACCES)
      exit (SERIAL_BUSY);
    die ("lock %s", path);
  }
  if (ftruncate (lock_fd, 0) != 0) /* of the one before, which is not here to be ended */
    die ("empty %s", path);
}

static int
is_removed (void)
{
  struct stat st;
  return fstat (lock_fd, &st) == 0 && st.st_nlink == 0;
}

static void
open_ports (void)
{
  umask (077);
  for (int i = 0; i < n_ports; i++) {
    struct port *p = &ports[i];
    if (*p->log_path != '\0' &&
        (p->log = open (p->log_path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600)) < 0)
      die ("open %s", p->log_path);
    if (*p->path != '\0')
      p->listener = listen_at (p->path, CLIENTS);
    p->vm_listener = listen_at (p->vm_path, 1);
  }
}

/* The machine has ended: its next start must find nothing of this one. */
static void
give_up_names (void)
{
  struct flock l = { .l_type = F_UNLCK, .l_whence = SEEK_SET };
  for (int i = 0; i < n_ports; i++) {
    close_fd (&ports[i].vm_listener);
    close_fd (&ports[i].listener);
    unlink (ports[i].vm_path);
    if (*ports[i].path != '\0')
      unlink (ports[i].path);
  }
  fcntl (lock_fd, F_OFD_SETLK, &l);
  close_fd (&lock_fd);
}

static void
drop (struct client *c)
{
  close_fd (&c->fd);
  free (c->out);
  *c = (struct client) { .fd = -1 };
}

static void
flush (struct client *c)
{
  while (c->len > 0) {
    ssize_t n = send (c->fd, c->out + c->at, c->len, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n < 0) {
      if (errno != EAGAIN && errno != EINTR)
        drop (c);
      return;
    }
    c->at += (size_t) n;
    c->len -= (size_t) n;
  }
  c->at = 0;
}

/* How much may be read from the machine now: as much as every listener has room for. */
static size_t
room (const struct port *p)
{
  size_t n = CHUNK;
  for (int i = 0; i < CLIENTS; i++)
    if (p->clients[i].fd >= 0 && OUT_MAX - p->clients[i].at - p->clients[i].len < n)
      n = OUT_MAX - p->clients[i].at - p->clients[i].len;
  return n;
}

/* A log that cannot be written (a full disk) does not stop the guest. */
static void
log_write (struct port *p, const char *buf, size_t n)
{
  while (p->log >= 0 && n > 0) {
    ssize_t w = write (p->log, buf, n);
    if (w < 0 && errno == EINTR)
      continue;
    if (w <= 0)
      return;
    buf += w;
    n -= (size_t) w;
  }
}

static void
from_vm (struct port *p)
{
  char buf[CHUNK];
  ssize_t n = read (p->vm, buf, room (p));
  if (n < 0 && (errno == EAGAIN || errno == EINTR))
    return;
  if (n <= 0) {
    close_fd (&p->vm);
    return;
  }
  log_write (p, buf, (size_t) n);
  for (int i = 0; i < CLIENTS; i++) {
    struct client *c = &p->clients[i];
    if (c->fd < 0)
      continue;
    memcpy (c->out + c->at + c->len, buf, (size_t) n);
    c->len += (size_t) n;
    flush (c);
  }
}

static void
to_vm (struct port *p)
{
  ssize_t n = send (p->vm, p->in + p->in_at, p->in_len, MSG_NOSIGNAL | MSG_DONTWAIT);
  if (n > 0) {
    p->in_at += (size_t) n;
    p->in_len -= (size_t) n;
  } else if (n < 0 && errno != EAGAIN && errno != EINTR)
    p->in_len = 0; /* it is ending; reading says so */
}

static void
from_client (struct port *p, struct client *c)
{
  ssize_t n = read (c->fd, p->in, sizeof p->in);
  if (n > 0) {
    p->in_at = 0;
    p->in_len = (size_t) n;
  } else if (n == 0 || (errno != EAGAIN && errno != EINTR))
    drop (c);
}

static void
vm_connects (struct port *p)
{
  struct ucred peer = { 0 };
  socklen_t n = sizeof peer;
  p->vm = accept4 (p->vm_listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
  if (p->vm < 0)
    return;
  p->seen = 1;
  close_fd (&p->vm_listener);
  unlink (p->vm_path);
  getsockopt (p->vm, SOL_SOCKET, SO_PEERCRED, &peer, &n);
  say ("running", (long) peer.pid);
}

static void
client_connects (struct port *p)
{
  int fd = accept4 (p->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
  for (int i = 0; fd >= 0 && i < CLIENTS; i++)
    if (p->clients[i].fd < 0) {
      p->clients[i] = (struct client) { .fd = fd, .out = malloc (OUT_MAX) };
      if (p->clients[i].out != NULL)
        return;
      p->clients[i].fd = -1;
      break;
    }
  close_fd (&fd);
}

struct want { struct port *port; struct client *client; };

static void
add (struct pollfd *f, struct want *w, int *n, int fd, int events, struct port *p, struct client *c)
{
  if (fd < 0)
    return;
  f[*n] = (struct pollfd) { .fd = fd, .events = (short) events };
  w[(*n)++] = (struct want) { p, c };
}

/* One round: waits for something to happen and does it. */
static void
turn (void)
{
  struct pollfd f[SERIAL_PORTS * (3 + CLIENTS)];
  struct want w[SERIAL_PORTS * (3 + CLIENTS)];
  sigset_t none;
  int n = 0;
  for (int i = 0; i < n_ports; i++) {
    struct port *p = &ports[i];
    add (f, w, &n, p->vm_listener, POLLIN, p, NULL);
    add (f, w, &n, p->listener, POLLIN, p, NULL);
    /* with no room, poll reports its end all the same, over and over: it is left out then */
    int events = (room (p) > 0 ? POLLIN : 0) | (p->in_len > 0 ? POLLOUT : 0);
    add (f, w, &n, events != 0 ? p->vm : -1, events, p, NULL);
    for (int k = 0; k < CLIENTS; k++)
      add (f, w, &n, p->clients[k].fd, (p->in_len == 0 ? POLLIN : 0) | (p->clients[k].len > 0 ? POLLOUT : 0),
           p, &p->clients[k]);
  }
  sigemptyset (&none);
  struct timespec look = { .tv_sec = LOOK_SECONDS };
  if (ppoll (f, (nfds_t) n, is_armed () ? &look : NULL, &none) < 0)
    return;
  for (int i = 0; i < n; i++) {
    struct port *p = w[i].port;
    struct client *c = w[i].client;
    int got = f[i].revents;
    if (got == 0)
      continue;
    if (c != NULL) {
      if (got & POLLOUT)
        flush (c);
      if (c->fd >= 0 && (got & ~POLLOUT) && p->in_len == 0)
        from_client (p, c);
      else if (c->fd >= 0 && (got & (POLLERR | POLLHUP)))
        drop (c);
    } else if (f[i].fd == p->vm_listener)
      vm_connects (p);
    else if (f[i].fd == p->listener)
      client_connects (p);
    else {
      if (got & POLLOUT)
        to_vm (p);
      if ((got & ~POLLOUT) && room (p) > 0)
        from_vm (p);
    }
  }
}

/* What listeners have not read yet is still theirs. */
static void
finish (void)
{
  give_up_names ();
  for (int i = 0; i < n_ports; i++)
    for (int k = 0; k < CLIENTS; k++) {
      struct client *c = &ports[i].clients[k];
      while (c->fd >= 0 && c->len > 0) {
        struct pollfd f = { .fd = c->fd, .events = POLLOUT };
        if (poll (&f, 1, -1) > 0)
          flush (c);
      }
      drop (c);
    }
}

static void
on_term (int sig)
{
  told_to_end = 1;
}

int
main (int argc, char **argv)
{
  if (argc != 2) {
    fprintf (stderr, "usage: vbox-serial FOLDER\nIt is run by the VirtualBox plugin of capstan.\n");
    return 2;
  }
  struct sigaction term = { .sa_handler = on_term };
  sigset_t block;
  take_lock (argv[1]);
  read_config (argv[1]);
  open_ports ();
  signal (SIGHUP, SIG_IGN);
  signal (SIGINT, SIG_IGN);
  sigaction (SIGTERM, &term, NULL);
  sigemptyset (&block);
  sigaddset (&block, SIGTERM);
  sigprocmask (SIG_BLOCK, &block, NULL); /* but while it waits */
  int ready[2];
  pid_t pid = pipe2 (ready, O_CLOEXEC) == 0 ? fork () : -1;
  if (pid < 0)
    die ("fork");
  if (pid > 0) { /* ready once the child can be found */
    char c;
    close (ready[1]);
    return read (ready[0], &c, 1) == 1 ? 0 : 1;
  }
  setsid ();
  int null = open ("/dev/null", O_RDWR | O_CLOEXEC);
  if (chdir ("/") != 0 || null < 0)
    return 1;
  for (int i = 0; i < 3; i++)
    dup2 (null, i);
  close (null);
  say ("armed", 0);
  if (write (ready[1], "", 1) != 1)
    return 1;
  close (ready[1]);
  while (!is_over () && !((told_to_end || is_removed ()) && is_armed ()))
    turn ();
  finish ();
  return 0;
}
