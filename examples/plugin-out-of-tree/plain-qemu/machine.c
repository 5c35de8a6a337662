/* A machine's folder, and what QEMU's monitor says of it. SPDX-License-Identifier: BSD-3-Clause
 *
 * The folder has args (what QEMU is started with), forwards, the names of the sockets of its serial ports,
 * and while it runs QEMU's pid file and the socket of its monitor (QMP). QEMU has the pid file
 * locked as long as it lives, removes it when it ends by itself, and leaves it when it is
 * killed: that tells whether a machine runs, and how it ended. */
#define _GNU_SOURCE
#include "plain-qemu.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

static const char *const files[] = { "args", "console", "control", "forwards", "killed", "pid", "qmp", "" };

/* ---- the folder ---- */

const char *
path_of (struct capstan_call *c, const char *id, const char *file)
{
  const char *dir = capstan_host_->dir (c, "state");
  char path[4096];
  if (dir == NULL)
    return NULL;
  if (id == NULL || *id == '\0' || *id == '.' || strchr (id, '/') != NULL) {
    capstan_error (c, CAPSTAN_E_INVAL, 0, "'%s' is no machine's id", id != NULL ? id : "");
    return NULL;
  }
  snprintf (path, sizeof path, "%s/%s%s%s", dir, id, *file != '\0' ? "/" : "", file);
  return capstan_host_->keep (c, path, SIZE_MAX);
}

int
there (struct capstan_call *c, const char *id, const char *file)
{
  const char *path = path_of (c, id, file);
  return path != NULL && access (path, F_OK) == 0;
}

int
need (struct capstan_call *c, const char *id)
{
  if (there (c, id, ""))
    return 0;
  return capstan_error (c, CAPSTAN_E_NOTFOUND, 0, "there is no machine '%s'", id != NULL ? id : "");
}

int
put (struct capstan_call *c, const char *id, const char *file, const void *bytes, size_t n)
{
  const char *path = path_of (c, id, file);
  int fd = path != NULL ? open (path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600) : -1;
  ssize_t done = fd >= 0 ? write (fd, bytes, n) : -1;
  int e = errno;
  if (fd >= 0)
    close (fd);
  return done == (ssize_t) n ? 0 : capstan_error (c, CAPSTAN_E_IO, e, "write %s", path != NULL ? path : file);
}

const char *
get (struct capstan_call *c, const char *id, const char *file, size_t *ret_n)
{
  const char *path = path_of (c, id, file), *r = "";
  char *buf = malloc (ARGS_MAX);
  int fd = path != NULL && buf != NULL ? open (path, O_RDONLY | O_CLOEXEC) : -1;
  ssize_t n = fd >= 0 ? read (fd, buf, ARGS_MAX) : 0;
  if (fd >= 0)
    close (fd);
  if (n > 0)
    r = capstan_host_->keep (c, buf, (size_t) n);
  free (buf);
  if (ret_n != NULL)
    *ret_n = n > 0 ? (size_t) n : 0;
  return r;
}

int
discard (struct capstan_call *c, const char *id)
{
  for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
    const char *path = path_of (c, id, files[i]);
    if (path == NULL)
      return -CAPSTAN_E_INVAL;
    if (remove (path) != 0 && errno != ENOENT)
      return capstan_error (c, CAPSTAN_E_IO, errno, "remove %s", path);
  }
  return 0;
}

int
lives (struct capstan_call *c, const char *id)
{
  struct flock l = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
  const char *path = path_of (c, id, "pid");
  int fd = path != NULL ? open (path, O_RDONLY | O_CLOEXEC) : -1;
  int locked = fd >= 0 && fcntl (fd, F_OFD_GETLK, &l) == 0 && l.l_type != F_UNLCK;
  if (fd >= 0)
    close (fd);
  return locked;
}

/* ---- the monitor: a line of JSON each way ---- */

uint64_t
now_ms (void)
{
  struct timespec t;
  clock_gettime (CLOCK_MONOTONIC, &t);
  return (uint64_t) t.tv_sec * 1000 + (uint64_t) t.tv_nsec / 1000000;
}

/* Through the folder's descriptor: the path of a socket has but 107 bytes. QEMU talks to one at a
 * time, so that another's turn may have to end first. */
static int
qmp_connect (struct capstan_call *c, const char *id, uint64_t until, int *ret)
{
  const char *dir = path_of (c, id, "");
  struct sockaddr_un a = { .sun_family = AF_UNIX };
  int d = dir != NULL ? open (dir, O_PATH | O_DIRECTORY | O_CLOEXEC) : -1, rc = 0;
  int s = socket (AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  snprintf (a.sun_path, sizeof a.sun_path, "/proc/self/fd/%d/qmp", d);
  int e = d < 0 || s < 0 ? errno : 0;
  while (e == 0 && rc == 0 && connect (s, (struct sockaddr *) &a, sizeof a) != 0)
    if (errno != EAGAIN || now_ms () > until)
      e = errno;
    else
      rc = capstan_host_->sleep_ms (c, 20);
  if (d >= 0)
    close (d);
  if (e == 0 && rc == 0) {
    *ret = s;
    return 0;
  }
  if (s >= 0)
    close (s);
  return rc != 0 ? rc : capstan_error (c, CAPSTAN_E_IO, e, "connect to the monitor of %s", id);
}

/* The next line that is no event. */
static int
qmp_line (struct capstan_call *c, const char *id, int s, uint64_t until, char line[REPLY_MAX])
{
  size_t n = 0;
  struct pollfd p = { s, POLLIN, 0 };
  while (now_ms () < until) {
    if (capstan_host_->cancelled (c))
      return capstan_error (c, CAPSTAN_E_CANCELLED, 0, "cancelled");
    if (poll (&p, 1, 100) <= 0)
      continue;
    ssize_t k = recv (s, line + n, 1, 0);
    if (k < 0 && (errno == EAGAIN || errno == EINTR))
      continue;
    if (k <= 0)
      return capstan_error (c, CAPSTAN_E_STATE, 0, "the monitor of %s has ended", id);
    if (line[n] != '\n') {
      n += n + 1 < REPLY_MAX;
      continue;
    }
    line[n] = '\0';
    if (strstr (line, "\"event\"") == NULL)
      return 0;
    n = 0;
  }
  return capstan_error (c, CAPSTAN_E_TIMEOUT, 0, "the monitor of %s says nothing", id);
}

static int
qmp_ask (struct capstan_call *c, const char *id, int s, uint64_t until, const char *command,
         char reply[REPLY_MAX])
{
  char text[128];
  int n = snprintf (text, sizeof text, "{\"execute\": \"%s\"}\n", command);
  if (send (s, text, (size_t) n, MSG_NOSIGNAL) != n)
    return capstan_error (c, CAPSTAN_E_IO, errno, "write to the monitor of %s", id);
  int rc = qmp_line (c, id, s, until, reply);
  if (rc == 0 && strncmp (reply, "{\"return\"", strlen ("{\"return\"")) != 0)
    rc = capstan_error (c, CAPSTAN_E_INTERNAL, 0, "%s of %s: QEMU answers %.500s", command, id, reply);
  return rc;
}

int
qmp (struct capstan_call *c, const char *id, const char *command, char reply[REPLY_MAX])
{
  uint64_t until = now_ms () + PATIENCE_MS;
  int s = -1, rc = qmp_connect (c, id, until, &s);
  if (rc == 0)
    rc = qmp_line (c, id, s, until, reply); /* the greeting */
  if (rc == 0)
    rc = qmp_ask (c, id, s, until, "qmp_capabilities", reply);
  if (rc == 0)
    rc = qmp_ask (c, id, s, until, command, reply);
  if (s >= 0)
    close (s);
  return rc;
}

int
until_ended (struct capstan_call *c, const char *id, uint64_t limit)
{
  uint64_t began = now_ms ();
  while (lives (c, id)) {
    if (limit != 0 && now_ms () - began >= limit)
      return capstan_error (c, CAPSTAN_E_TIMEOUT, 0, "%s is still running", id);
    int rc = capstan_host_->sleep_ms (c, 20);
    if (rc != 0)
      return rc;
  }
  return 0;
}

int
state_of (struct capstan_call *c, const char *id, uint32_t *ret)
{
  static const char key[] = "\"status\": \"";
  char reply[REPLY_MAX] = "";
  int rc = lives (c, id) ? qmp (c, id, "query-status", reply) : 0;
  const char *status = strstr (reply, key);
  if (rc == -CAPSTAN_E_TIMEOUT && lives (c, id))
    *ret = CAPSTAN_VM_RUNNING; /* it hangs, and can be ended by force */
  else if (rc != 0 && until_ended (c, id, PATIENCE_MS) != 0) /* the monitor ends before the process */
    return rc;
  else if (rc != 0 || status == NULL)
    *ret = CAPSTAN_VM_STOPPED; /* it has ended meanwhile */
  else {
    status += strlen (key);
    if (strncmp (status, "running\"", 8) == 0)
      *ret = CAPSTAN_VM_RUNNING;
    else
      *ret = strncmp (status, "paused\"", 7) == 0 || strncmp (status, "prelaunch\"", 10) == 0
             ? CAPSTAN_VM_PAUSED : CAPSTAN_VM_CRASHED;
  }
  return 0;
}
