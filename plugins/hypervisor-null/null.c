/* A hypervisor that runs nothing: the example to copy, and what tests start with.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * A machine is a folder under host->dir ("state"). Starting it reads the command line from
 * byte 512 of the boot disk (raw) and writes it to the console log, as a guest would that
 * does nothing else; then it has ended. With the machine option hold=true it stays running
 * until it is stopped. One that is "paused" has not begun; one that is "held" goes on where it
 * was. Its console is what comes to the log from then on. */
#include "capstan/plugin.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

enum { CMDLINE_AT = 512, CMDLINE_MAX = 32256 };

/* Path of a machine's file, in the call's memory; NULL with the error set. */
static const char *
file_of (struct capstan_call *call, const char *id, const char *file)
{
  const char *dir = capstan_host_->dir (call, "state");
  char path[4096];
  if (dir == NULL)
    return NULL;
  if (id == NULL || *id == '\0' || *id == '.' || strchr (id, '/') != NULL) {
    capstan_error (call, CAPSTAN_E_INVAL, 0, "'%s' is no machine's id", id != NULL ? id : "");
    return NULL;
  }
  snprintf (path, sizeof path, "%s/%s%s%s", dir, id, *file != '\0' ? "/" : "", file);
  return capstan_host_->keep (call, path, SIZE_MAX);
}

static int
put (struct capstan_call *call, const char *id, const char *file, const char *text)
{
  const char *path = file_of (call, id, file);
  char tmp[4200];
  if (path == NULL)
    return -CAPSTAN_E_INVAL;
  /* renamed, so that another process reads the old text or the new one */
  snprintf (tmp, sizeof tmp, "%s.%ld", path, (long) getpid ());
  int fd = open (tmp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  ssize_t n = fd >= 0 ? write (fd, text, strlen (text)) : -1;
  int e = errno;
  if (fd >= 0)
    close (fd);
  if (n == (ssize_t) strlen (text) && rename (tmp, path) == 0)
    return 0;
  e = n < 0 ? e : errno;
  if (fd >= 0)
    unlink (tmp);
  return capstan_error (call, CAPSTAN_E_IO, e, "write %s", path);
}

/* The text of a file, "" where there is none. */
static const char *
get (struct capstan_call *call, const char *id, const char *file)
{
  char buf[4096];
  const char *path = file_of (call, id, file);
  int fd = path != NULL ? open (path, O_RDONLY | O_CLOEXEC) : -1;
  ssize_t n = fd >= 0 ? read (fd, buf, sizeof buf - 1) : 0;
  if (fd >= 0)
    close (fd);
  return capstan_host_->keep (call, buf, n > 0 ? (size_t) n : 0);
}

static int
exists (struct capstan_call *call, const char *id)
{
  const char *path = file_of (call, id, "");
  return path != NULL && access (path, F_OK) == 0;
}

static int
need (struct capstan_call *call, const char *id)
{
  if (exists (call, id))
    return 0;
  return capstan_error (call, CAPSTAN_E_NOTFOUND, 0, "there is no machine '%s'", id != NULL ? id : "");
}

static int
null_probe (struct capstan_call *call)
{
  return 0;
}

static int
null_open (struct capstan_call *call, void **ret)
{
  static int self; /* it has no state of its own */
  *ret = &self;
  return 0;
}

static void
null_close (struct capstan_call *call, void *self)
{
}

static int
null_caps (struct capstan_call *call, void *self, struct capstan_caps *c)
{
  c->bits = CAPSTAN_HV_LOCAL | CAPSTAN_HV_DISK_BOOT | CAPSTAN_HV_DETACHED | CAPSTAN_HV_PAUSE;
  c->formats = "raw";
  c->archs = "x86_64";
  c->nics = "nat,none";
  return 0;
}

static const struct capstan_disk *
boot_disk (const struct capstan_vm_spec *s)
{
  for (const struct capstan_disk *const *d = s->disks; d != NULL && *d != NULL; d++)
    if ((*d)->flags & CAPSTAN_F_BOOT)
      return *d;
  return NULL;
}

static int
null_check (struct capstan_call *call, void *self, const struct capstan_vm_spec *s)
{
  const struct capstan_disk *d = boot_disk (s);
  for (size_t i = 0; i < s->n_params; i++)
    if (strcmp (s->params[i].key, "hold") != 0)
      return capstan_error (call, CAPSTAN_E_INVAL, 0, "machine option '%s' is not known; there is "
                            "hold", s->params[i].key);
  if (d == NULL || d->path == NULL)
    return capstan_error (call, CAPSTAN_E_INVAL, 0, "a machine needs a disk to boot from");
  for (const struct capstan_disk *const *v = s->disks; *v != NULL; v++)
    if ((*v)->format == NULL || strcmp ((*v)->format, "raw") != 0)
      return capstan_error (call, CAPSTAN_E_UNSUPPORTED, 0, "disk %s: only raw disks", (*v)->path);
  for (const struct capstan_nic *const *n = s->nics; n != NULL && *n != NULL; n++) {
    if (strcmp ((*n)->mode, "nat") != 0)
      return capstan_error (call, CAPSTAN_E_UNSUPPORTED, 0, "network mode %s is not there", (*n)->mode);
    if ((*n)->device != NULL)
      return capstan_error (call, CAPSTAN_E_UNSUPPORTED, 0, "device %s: network mode nat uses none", (*n)->device);
  }
  return 0;
}

static int
discard (struct capstan_call *call, const char *id)
{
  static const char *const files[] = { "disk", "log", "hold", "state", "" };
  for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
    const char *path = file_of (call, id, files[i]);
    if (path == NULL)
      return -CAPSTAN_E_INVAL;
    if (remove (path) != 0 && errno != ENOENT)
      return capstan_error (call, CAPSTAN_E_IO, errno, "remove %s", path);
  }
  return 0;
}

static int
null_create (struct capstan_call *call, void *self, const struct capstan_vm_spec *s,
             struct capstan_vm_ref *ret)
{
  int rc = null_check (call, self, s), hold = 0;
  const char *dir = rc == 0 ? file_of (call, s->name, "") : NULL, *log = "";
  if (rc != 0 || dir == NULL)
    return rc != 0 ? rc : -CAPSTAN_E_INVAL;
  if (mkdir (dir, 0700) != 0)
    return capstan_error (call, errno == EEXIST ? CAPSTAN_E_EXISTS : CAPSTAN_E_IO, errno, "make %s", dir);
  if (s->serials != NULL && s->serials[0] != NULL && s->serials[0]->log != NULL)
    log = s->serials[0]->log;
  for (size_t i = 0; i < s->n_params; i++)
    hold = strcmp (s->params[i].value, "true") == 0;
  if ((rc = put (call, s->name, "disk", boot_disk (s)->path)) != 0 ||
      (rc = put (call, s->name, "log", log)) != 0 ||
      (rc = put (call, s->name, "hold", hold ? "true" : "")) != 0 ||
      (rc = put (call, s->name, "state", "stopped")) != 0) {
    discard (call, s->name); /* a machine is there whole or not at all */
    return rc;
  }
  ret->id = capstan_host_->keep (call, s->name, SIZE_MAX);
  return 0;
}

/* What a guest would do: read its command line and say it. */
static int
run (struct capstan_call *call, const char *id)
{
  const char *disk = get (call, id, "disk"), *log = get (call, id, "log");
  char *line = calloc (1, CMDLINE_MAX + 2);
  int fd = open (disk, O_RDONLY | O_CLOEXEC), rc = 0;
  if (line == NULL || fd < 0 || pread (fd, line, CMDLINE_MAX, CMDLINE_AT) < 0)
    rc = capstan_error (call, CAPSTAN_E_IO, errno, "read %s", disk);
  if (fd >= 0)
    close (fd);
  int out = rc == 0 && *log != '\0' ? open (log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600) : -1;
  if (out >= 0) {
    size_t n = strlen (line);
    line[n++] = '\n';
    if (write (out, line, n) != (ssize_t) n)
      rc = capstan_error (call, CAPSTAN_E_IO, errno, "write %s", log);
    close (out);
  }
  free (line);
  if (rc == 0)
    rc = put (call, id, "state", *get (call, id, "hold") != '\0' ? "running" : "stopped");
  return rc;
}

static int
null_start (struct capstan_call *call, void *self, const struct capstan_vm_ref *r,
            const struct capstan_action *a)
{
  int rc = need (call, r->id);
  if (rc != 0)
    return rc;
  if (strcmp (get (call, r->id, "state"), "stopped") != 0)
    return capstan_error (call, CAPSTAN_E_STATE, 0, "%s is started already", r->id);
  return a->flags & CAPSTAN_F_PAUSED ? put (call, r->id, "state", "paused") : run (call, r->id);
}

static int
null_resume (struct capstan_call *call, void *self, const struct capstan_vm_ref *r,
             const struct capstan_action *a)
{
  int rc = need (call, r->id);
  if (rc != 0)
    return rc;
  const char *st = get (call, r->id, "state");
  if (strcmp (st, "held") == 0)
    return put (call, r->id, "state", "running");
  if (strcmp (st, "paused") != 0)
    return capstan_error (call, CAPSTAN_E_STATE, 0, "%s is not paused", r->id);
  return run (call, r->id);
}

static int
null_pause (struct capstan_call *call, void *self, const struct capstan_vm_ref *r,
            const struct capstan_action *a)
{
  int rc = need (call, r->id);
  if (rc != 0)
    return rc;
  if (strcmp (get (call, r->id, "state"), "running") != 0)
    return capstan_error (call, CAPSTAN_E_STATE, 0, "%s is not running", r->id);
  return put (call, r->id, "state", "held");
}

static int
null_stop (struct capstan_call *call, void *self, const struct capstan_vm_ref *r,
           const struct capstan_action *a)
{
  int rc = need (call, r->id);
  return rc != 0 ? rc : put (call, r->id, "state", "stopped");
}

static int
null_destroy (struct capstan_call *call, void *self, const struct capstan_vm_ref *r,
              const struct capstan_action *a)
{
  if (r->id == NULL || !exists (call, r->id))
    return 0;
  if (strcmp (get (call, r->id, "state"), "stopped") != 0 && !(a->flags & CAPSTAN_F_FORCE))
    return capstan_error (call, CAPSTAN_E_STATE, 0, "%s is running", r->id);
  return discard (call, r->id);
}

static int
emit (struct capstan_call *call, const char *id, struct capstan_list *list)
{
  const char *st = get (call, id, "state");
  const char *dir = file_of (call, id, ""), *resources[] = { NULL, NULL };
  char text[4200];
  snprintf (text, sizeof text, "folder:%s", dir != NULL ? dir : "");
  resources[0] = text;
  struct capstan_vm_info i = { .struct_size = sizeof i, .id = id, .name = id, .detail = st,
    .started = INT64_MIN, .stopped = INT64_MIN, .resources = resources };
  i.state = strcmp (st, "running") == 0 ? CAPSTAN_VM_RUNNING
            : strcmp (st, "paused") == 0 || strcmp (st, "held") == 0 ? CAPSTAN_VM_PAUSED
                                                                     : CAPSTAN_VM_STOPPED;
  if (i.state == CAPSTAN_VM_STOPPED)
    i.reason = CAPSTAN_REASON_SHUTDOWN;
  return capstan_host_->emit_vm (list, &i);
}

static int
null_info (struct capstan_call *call, void *self, const struct capstan_vm_ref *r,
           const struct capstan_action *a, struct capstan_list *list)
{
  return exists (call, r->id) ? emit (call, r->id, list) : 0;
}

static int
null_wait (struct capstan_call *call, void *self, const struct capstan_vm_ref *r, uint32_t until,
           const struct capstan_action *a, struct capstan_list *list)
{
  unsigned long limit = 0;
  for (size_t i = 0; i < a->n_params; i++)
    if (strcmp (a->params[i].key, "timeout_ms") == 0)
      limit = strtoul (a->params[i].value, NULL, 10);
  for (unsigned long waited = 0; exists (call, r->id); waited += 20) {
    if (strcmp (get (call, r->id, "state"), "stopped") == 0)
      return emit (call, r->id, list);
    if (limit != 0 && waited >= limit)
      return capstan_error (call, CAPSTAN_E_TIMEOUT, 0, "%s is still running", r->id);
    int rc = capstan_host_->sleep_ms (call, 20);
    if (rc != 0)
      return rc;
  }
  return 0;
}

/* ---- console: a thread that follows the log until the machine stops ---- */

struct follower {
  int socket, log, watch; /* log -1: nothing is recorded */
  char state[4096];       /* path of the file that says whether it runs */
};

static int
still_runs (const struct follower *f)
{
  char text[16] = "";
  int fd = open (f->state, O_RDONLY | O_CLOEXEC);
  ssize_t n = fd >= 0 ? read (fd, text, sizeof text - 1) : 0;
  if (fd >= 0)
    close (fd);
  return n > 0 && strcmp (text, "stopped") != 0;
}

/* 0 once nobody listens any more. */
static int
pass_on (const struct follower *f)
{
  char buf[4096];
  for (ssize_t n; f->log >= 0 && (n = read (f->log, buf, sizeof buf)) > 0;)
    for (ssize_t done = 0, k; done < n; done += k)
      if ((k = send (f->socket, buf + done, (size_t) (n - done), MSG_NOSIGNAL)) <= 0)
        return 0;
  return 1;
}

static void *
follow (void *data)
{
  struct follower *f = data;
  char buf[4096];
  for (int runs = 1; runs;) {
    runs = still_runs (f); /* before the log: what was said last is passed on */
    if (!pass_on (f) || !runs)
      break;
    struct pollfd p[2] = { { f->watch, POLLIN, 0 }, { f->socket, POLLIN, 0 } };
    if (poll (p, 2, -1) < 0 && errno != EINTR)
      break;
    if (p[0].revents != 0 && read (f->watch, buf, sizeof buf) < 0 && errno != EAGAIN)
      break;
    if (p[1].revents != 0 && read (f->socket, buf, sizeof buf) <= 0)
      break; /* what is typed is read by nobody; the end of it is the end */
  }
  close (f->socket);
  close (f->watch);
  if (f->log >= 0)
    close (f->log);
  free (f);
  return NULL;
}

/* The signals of the program are not for this thread. */
static int
start_follower (struct follower *f)
{
  sigset_t all, old;
  pthread_t t;
  sigfillset (&all);
  pthread_sigmask (SIG_SETMASK, &all, &old);
  int e = pthread_create (&t, NULL, follow, f);
  pthread_sigmask (SIG_SETMASK, &old, NULL);
  if (e == 0)
    pthread_detach (t);
  return e;
}

static int
null_console (struct capstan_call *call, void *self, const struct capstan_vm_ref *r,
              const struct capstan_console_req *q, struct capstan_console_rsp *ret)
{
  int s[2], rc = need (call, r->id);
  if (rc != 0)
    return rc;
  if (q->role != NULL && strcmp (q->role, "console") != 0)
    return capstan_error (call, CAPSTAN_E_UNSUPPORTED, 0, "there is no serial port '%s'", q->role);
  if (strcmp (get (call, r->id, "state"), "stopped") == 0)
    return capstan_error (call, CAPSTAN_E_STATE, 0, "%s is not running", r->id);
  const char *log = get (call, r->id, "log"), *dir = file_of (call, r->id, "");
  struct follower *f = calloc (1, sizeof *f);
  if (f == NULL)
    return capstan_error (call, CAPSTAN_E_NOMEM, 0, "out of memory");
  snprintf (f->state, sizeof f->state, "%s/state", dir);
  f->log = *log != '\0' ? open (log, O_RDONLY | O_CREAT | O_CLOEXEC, 0600) : -1;
  f->watch = inotify_init1 (IN_CLOEXEC | IN_NONBLOCK);
  if ((*log != '\0' && (f->log < 0 || lseek (f->log, 0, SEEK_END) < 0 || inotify_add_watch (f->watch, log, IN_MODIFY) < 0)) ||
      inotify_add_watch (f->watch, dir, IN_MOVED_TO | IN_DELETE_SELF) < 0)
    rc = capstan_error (call, CAPSTAN_E_IO, errno, "watch %s and %s", dir, log);
  else if (socketpair (AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, s) != 0)
    rc = capstan_error (call, CAPSTAN_E_IO, errno, "socketpair");
  else {
    f->socket = s[1];
    int e = start_follower (f);
    if (e == 0) {
      ret->kind = CAPSTAN_CONSOLE_FD;
      ret->fd = s[0];
      return 0;
    }
    close (s[0]);
    close (s[1]);
    rc = capstan_error (call, CAPSTAN_E_NOMEM, e, "start a thread");
  }
  if (f->log >= 0)
    close (f->log);
  if (f->watch >= 0)
    close (f->watch);
  free (f);
  return rc;
}

static const struct capstan_hypervisor_ops ops = {
  .struct_size = sizeof ops, .probe = null_probe, .open = null_open, .close = null_close,
  .caps = null_caps, .check = null_check, .create = null_create, .start = null_start,
  .stop = null_stop, .destroy = null_destroy, .pause = null_pause, .resume = null_resume,
  .wait = null_wait, .info = null_info, .console = null_console
};
static const struct capstan_option vm_options[] = {
  { .key = "hold", .help = "stay running until stopped", .def = "false", .type = CAPSTAN_OPT_BOOL } };
static const struct capstan_provider null_provider = {
  .struct_size = sizeof null_provider, .kind = CAPSTAN_KIND_HYPERVISOR, .name = "null",
  .summary = "runs nothing: for tests, and the example to copy",
  .caps = CAPSTAN_HV_LOCAL | CAPSTAN_HV_DISK_BOOT | CAPSTAN_HV_DETACHED | CAPSTAN_HV_PAUSE,
  .threads = CAPSTAN_THREADS_ONE, .option_size = sizeof *vm_options, .vm_options = vm_options,
  .n_vm_options = 1, .ops = &ops
};
static const struct capstan_provider *const providers[] = { &null_provider, NULL };
static const struct capstan_plugin plugin = {
  .struct_size = sizeof plugin, .abi_major = CAPSTAN_ABI_MAJOR, .abi_minor = CAPSTAN_ABI_MINOR,
  .name = "hypervisor-null", .version = "0.1.0", .license = "BSD-3-Clause", .providers = providers
};
CAPSTAN_PLUGIN (plugin);
