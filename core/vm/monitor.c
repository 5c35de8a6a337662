/* The supervisor of an instance that runs in the background. SPDX-License-Identifier: BSD-3-Clause
 *
 * There is no daemon. Whoever starts an instance in the background starts one process for it,
 * `capstan monitor UUID`, which writes down when it printed and how it ended, starts it again
 * as --restart says, removes it as --rm says, and ends with it. From its start on it holds a
 * lock on the file "monitor", in which its number stands. If it is killed the machine goes
 * on, unattended. An instance that runs attached has the process it is attached to instead. */
#include "config.h"
#include "core/vm/vm.h"
#include "core/base/cancel.h"
#include "core/base/error.h"
#include "core/base/spawn.h"
#include "core/base/util.h"
#include "core/vm/runs.h"
#include "core/vm/volume.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>

enum {
  LOCK_FD = 3,
  FIRST_MS = 100,
  LONGEST_MS = 60000,
  GOOD_RUN_SECONDS = 10,
  END_MS = 10000,
  LOOK_MS = 20
};
#define STAY "stay"
static gboolean supervising; /* this process is one */

/* ---- who it is ---- */

static int
open_lock (const struct cs_instance *i, int flags)
{
  g_autofree char *path = cs_instance_path (i, "monitor");
  return open (path, flags | O_CLOEXEC, 0600);
}

/* Asks for the lock without taking it: a try would be in the way of who wants it. */
gboolean
cs_monitor_is_there (const struct cs_instance *i, pid_t *ret_pid)
{
  struct flock l = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
  char text[32] = "";
  cs_autofd int fd = open_lock (i, O_RDWR);
  gboolean held = fd >= 0 && fcntl (fd, F_OFD_GETLK, &l) == 0 && l.l_type != F_UNLCK;
  if (ret_pid != NULL)
    *ret_pid = held && read (fd, text, sizeof text - 1) > 0 ? (pid_t) strtol (text, NULL, 10) : 0;
  return held;
}

gboolean
cs_monitor_start (const struct cs_instance *i, GError **err)
{
  struct flock l = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
  const char *argv[] = { "/proc/self/exe", "monitor", i->uuid, NULL };
  struct cs_spawn s = CS_SPAWN_INIT;
  GPid pid;
  char text[32];
  g_autofree char *log = cs_instance_path (i, "monitor.log");
  cs_autofd int lock = open_lock (i, O_RDWR | O_CREAT);
  cs_autofd int errors = open (log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  if (lock < 0 || errors < 0)
    return cs_fail_errno (err, "open %s", lock < 0 ? "the supervisor's lock" : log);
  if (fcntl (lock, F_OFD_SETLK, &l) != 0)
    return errno == EAGAIN || errno == EACCES ||
           cs_fail_errno (err, "lock the supervisor of %s", i->name);
  s.argv = argv;
  s.session = TRUE;
  s.err_fd = errors;
  s.pass_fds = &lock; /* it is never free between us and the child */
  s.n_pass_fds = 1;
  if (!cs_spawn_start (&s, &pid, err))
    return FALSE;
  g_snprintf (text, sizeof text, "%ld\n", (long) pid);
  return cs_pwrite_all (lock, text, strlen (text), 0, "the supervisor's number", err) &&
         (ftruncate (lock, (off_t) strlen (text)) == 0 ||
          cs_fail_errno (err, "write the supervisor's number"));
}

static gboolean
is_over_after (const struct cs_instance *i, guint ms)
{
  for (guint done = 0; cs_monitor_is_there (i, NULL); done += LOOK_MS) {
    if (done >= ms)
      return FALSE;
    g_usleep (LOOK_MS * 1000);
  }
  return TRUE;
}

void
cs_monitor_end (const struct cs_instance *i)
{
  pid_t pid;
  /* not by its number: the supervisor may be here before its parent has written that */
  if (supervising || is_over_after (i, END_MS))
    return;
  if (cs_monitor_is_there (i, &pid) && pid > 0)
    kill (pid, SIGTERM);
  is_over_after (i, END_MS);
}

/* ---- that it shall not be started again ---- */

void
cs_stay (const struct cs_instance *i)
{
  g_autofree char *path = cs_instance_path (i, STAY);
  cs_autofd int fd = open (path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
  if (fd < 0 && errno != ENOENT)
    cs_warn ("%s: %s", path, g_strerror (errno));
}

void
cs_stay_not (const struct cs_instance *i)
{
  g_autofree char *path = cs_instance_path (i, STAY);
  unlink (path);
}

static gboolean
shall_stay (const struct cs_instance *i)
{
  g_autofree char *path = cs_instance_path (i, STAY),
                  *record = cs_instance_path (i, "instance.yaml");
  return access (path, F_OK) == 0 || access (record, F_OK) != 0;
}

/* ---- what it does ---- */

gboolean
cs_again (const struct cs_instance *i, const struct cs_outcome *o, struct cs_backoff *b)
{
  if (i->restart == NULL || (strcmp (i->restart, "on-failure") == 0 && !o->failed))
    return FALSE;
  b->ms = b->ms == 0 || cs_now () - b->began > GOOD_RUN_SECONDS ? FIRST_MS
                                                                : MIN (2 * b->ms, LONGEST_MS);
  for (guint done = 0; done < b->ms; done += LOOK_MS) {
    if (shall_stay (i) || !cs_sleep (LOOK_MS))
      return FALSE;
  }
  b->began = cs_now ();
  return !shall_stay (i) && !cs_cancelled ();
}

/* A thread: notes each second in which something was printed, at its first word and, once it
 * is over, at its last. */
static gpointer
note_times (gpointer data)
{
  const struct cs_instance *i = data;
  char events[4096];
  g_autofree char *path = cs_instance_path (i, "console.log");
  cs_autofd int w = inotify_init1 (IN_CLOEXEC);
  if (w < 0 || inotify_add_watch (w, path, IN_MODIFY) < 0)
    return NULL;
  do {
    cs_times_note (i);
    g_usleep (G_USEC_PER_SEC / 2);
  } while (read (w, events, sizeof events) > 0);
  return NULL;
}

/* Starts it once more; the user may have changed his mind meanwhile. */
static gboolean
start_again (struct cs_instance *i, struct cs_hv *hv, GError **err)
{
  if (!cs_volumes_unused (i, err) || !cs_runs_begin (i, err))
    return FALSE;
  if (!cs_hv_start (hv, &i->ref, 0, err)) {
    cs_runs_end (i, -1, CAPSTAN_REASON_FAILED);
    return FALSE;
  }
  return !shall_stay (i) || cs_hv_stop (hv, &i->ref, CAPSTAN_F_FORCE, 0, err);
}

gboolean
cs_monitor_run (struct cs_instance *i, GError **err)
{
  struct cs_backoff b = { .began = cs_now () };
  supervising = TRUE;
  if (fcntl (LOCK_FD, F_GETFD) >= 0)
    fcntl (LOCK_FD, F_SETFD, FD_CLOEXEC); /* what is started from here must not hold it */
  g_autoptr (cs_hv) hv = cs_instance_hv (i, err);
  if (hv == NULL)
    return FALSE;
  g_thread_unref (g_thread_new ("times", note_times, i));
  for (;;) {
    g_autoptr (cs_vm) vm = NULL;
    struct cs_outcome o;
    if (!cs_hv_wait (hv, &i->ref, CAPSTAN_VM_STOPPED, 0, &vm, err))
      return FALSE;
    if (vm->info.state == CAPSTAN_VM_GONE)
      return TRUE;
    cs_outcome (i, hv, &vm->info, &o);
    cs_runs_end (i, o.known ? o.status : -1, vm->info.reason);
    if (i->remove)
      return cs_instance_delete (i, hv, TRUE, err);
    g_autoptr (GError) e = NULL;
    do {
      if (!cs_again (i, &o, &b))
        return TRUE;
      g_clear_error (&e);
      if (!start_again (i, hv, &e))
        cs_print_error (e->message);
      o.failed = TRUE; /* if that failed, it is as if the run had */
    } while (e != NULL);
  }
}
