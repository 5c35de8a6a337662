/* The terminal as a machine's console. SPDX-License-Identifier: BSD-3-Clause */
#include "config.h"
#include "core/vm/vm.h"
#include "core/base/error.h"
#include "core/base/util.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/inotify.h>
#include <string.h>
#include <sys/signalfd.h>
#include <termios.h>

enum { ESCAPE = 0x1d, STOP_SECONDS = 10 }; /* Ctrl-] */
static struct termios saved;
static gboolean raw;

static void
restore (void)
{
  if (raw)
    tcsetattr (STDIN_FILENO, TCSADRAIN, &saved);
  raw = FALSE;
}

static void
make_raw (void)
{
  struct termios t;
  if (tcgetattr (STDIN_FILENO, &saved) != 0)
    return;
  static gboolean registered;
  if (!registered)
    atexit (restore);
  registered = raw = TRUE;
  t = saved;
  cfmakeraw (&t);
  tcsetattr (STDIN_FILENO, TCSADRAIN, &t);
}

struct attach {
  struct cs_instance *i;
  struct cs_hv *hv;
  int console, signals, watch;
  gboolean hold; /* input waits until the guest is ready */
  double kill_at; /* when patience with a stop ends, or 0 */
  gboolean tty, out_tty, input, detached;
  guint stops, escapes;
  char held; /* a CR whose LF may follow */
};

/* A guest's terminal ends lines with CR LF; a file or pipe gets what the program wrote. */
static gboolean
print (struct attach *a, const char *buf, gsize n, GError **err)
{
  char out[16384];
  gsize o = 0;
  if (a->out_tty)
    return cs_write_all (STDOUT_FILENO, buf, n, "standard output", err);
  for (gsize k = 0; k < n; k++) {
    if (a->held && buf[k] != '\n')
      out[o++] = '\r';
    a->held = buf[k] == '\r';
    if (!a->held)
      out[o++] = buf[k];
    if (o > sizeof out - 2) {
      if (!cs_write_all (STDOUT_FILENO, out, o, "standard output", err))
        return FALSE;
      o = 0;
    }
  }
  return cs_write_all (STDOUT_FILENO, out, o, "standard output", err);
}

/* The first asks the guest, the second pulls the plug. */
static void
stop (struct attach *a)
{
  g_autoptr (GError) e = NULL;
  if (a->stops++ == 0 && g_strcmp0 (a->i->guest, "linux") == 0) {
    cs_autofd int fd = cs_hv_console (a->hv, &a->i->ref, "control", &e);
    if (fd >= 0 && cs_write_all (fd, "stop\n", 5, "the control channel", &e)) {
      a->kill_at = cs_now () + STOP_SECONDS;
      return;
    }
  }
  g_clear_error (&e);
  a->kill_at = 0;
  if (!cs_hv_stop (a->hv, &a->i->ref, CAPSTAN_F_FORCE, 0, &e))
    cs_warn ("%s", e->message);
}

static gboolean
keys (struct attach *a, const char *buf, gsize n, GError **err)
{
  for (gsize k = 0; k < n; k++) {
    if (a->tty && buf[k] == ESCAPE) {
      if (++a->escapes == 2)
        stop (a);
      continue;
    }
    if (a->escapes == 1) {
      a->detached = TRUE;
      return TRUE;
    }
    if (write (a->console, buf + k, 1) < 0 && errno != EAGAIN)
      return TRUE; /* it is ending; the console says so next */
  }
  return TRUE;
}

static gboolean
pump (struct attach *a, GError **err)
{
  char buf[8192];
  for (;;) {
    struct pollfd f[4] = { { a->console, POLLIN, 0 }, { a->signals, POLLIN, 0 },
                           { a->input && !a->hold ? STDIN_FILENO : -1, POLLIN, 0 },
                           { a->hold ? a->watch : -1, POLLIN, 0 } };
    /* after one Ctrl-] the second has half a second to come */
    int ms = a->kill_at > 0 ? MAX (0, (int) ((a->kill_at - cs_now ()) * 1000) + 1) : -1;
    int r = poll (f, 4, a->escapes == 1 ? 500 : ms);
    if (r < 0 && errno != EINTR)
      return cs_fail_errno (err, "poll");
    if (r == 0 && a->escapes == 1)
      a->detached = TRUE;
    if (a->detached)
      return TRUE;
    if (a->kill_at > 0 && cs_now () >= a->kill_at)
      stop (a); /* it did not heed the first */
    if (r > 0 && f[3].revents != 0 && read (a->watch, buf, sizeof buf) > 0)
      a->hold = !cs_instance_ready (a->i);
    if (r > 0 && f[0].revents != 0) {
      ssize_t n = read (a->console, buf, sizeof buf);
      if (n == 0 || (n < 0 && errno != EINTR && errno != EAGAIN))
        return TRUE;
      if (n > 0 && !print (a, buf, (gsize) n, err))
        return FALSE;
    }
    if (r > 0 && f[1].revents & POLLIN) {
      struct signalfd_siginfo si;
      if (read (a->signals, &si, sizeof si) == sizeof si)
        stop (a);
    }
    if (r > 0 && f[2].revents != 0) {
      ssize_t n = read (STDIN_FILENO, buf, sizeof buf);
      if (n <= 0)
        a->input = FALSE; /* the end of the input is not the end of the machine */
      else if (!keys (a, buf, (gsize) n, err))
        return FALSE;
    }
  }
}

gboolean
cs_attach (struct cs_instance *i, struct cs_hv *hv, gboolean start, gboolean no_tty,
           gboolean *ret_ended, GError **err)
{
  struct capstan_caps caps;
  sigset_t set, old;
  g_autofree char *lock_path = cs_instance_path (i, "attached");
  cs_autofd int lock = cs_lock_file (lock_path, TRUE, FALSE, NULL);
  if (lock < 0)
    return cs_fail (err, CAPSTAN_E_BUSY, "somebody else is attached to %s", i->name);
  if (!cs_hv_caps (hv, &caps, err))
    return FALSE;
  gboolean pause = start && (caps.bits & CAPSTAN_HV_PAUSE);
  if (start && !cs_hv_start (hv, &i->ref, pause ? CAPSTAN_F_PAUSED : 0, err))
    return FALSE;
  struct attach a = { .i = i, .hv = hv, .tty = !no_tty && isatty (STDIN_FILENO),
                      .out_tty = isatty (STDOUT_FILENO), .input = TRUE };
  /* Text from a pipe must not reach the boot loader, which would take it for keys. */
  cs_autofd int watch = start && !a.tty && g_strcmp0 (i->guest, "linux") == 0
                        ? inotify_init1 (IN_CLOEXEC | IN_NONBLOCK) : -1;
  a.watch = watch;
  a.hold = watch >= 0 && inotify_add_watch (watch, i->dir, IN_MODIFY | IN_CREATE) >= 0;
  cs_autofd int console = cs_hv_console (hv, &i->ref, "console", err);
  if (console < 0)
    return FALSE;
  a.console = console;
  sigemptyset (&set);
  sigaddset (&set, SIGINT);
  sigaddset (&set, SIGTERM);
  sigaddset (&set, SIGHUP);
  sigprocmask (SIG_BLOCK, &set, &old);
  cs_autofd int sig = signalfd (-1, &set, SFD_CLOEXEC);
  a.signals = sig;
  if (a.tty) {
    cs_info ("%s: Ctrl-] detaches, Ctrl-] twice stops", i->name);
    make_raw ();
  }
  gboolean ok = (!pause || cs_hv_resume (hv, &i->ref, err)) && pump (&a, err);
  restore ();
  sigprocmask (SIG_SETMASK, &old, NULL);
  if (!ok)
    return FALSE;
  if (a.detached) {
    cs_info ("detached; capstan console %s attaches again", i->name);
    *ret_ended = FALSE;
    return TRUE;
  }
  *ret_ended = TRUE;
  return cs_hv_wait (hv, &i->ref, CAPSTAN_VM_STOPPED, 30000, NULL, err);
}
