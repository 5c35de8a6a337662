/* The terminal as a machine's console. SPDX-License-Identifier: BSD-3-Clause */
#include "config.h"
#include "core/vm/vm.h"
#include "core/base/error.h"
#include "core/base/util.h"
#include "core/vm/runs.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/signalfd.h>
#include <termios.h>

enum { ESCAPE = 0x1d /* Ctrl-] */, EOT = 4, STOP_SECONDS = 10, ECHO_SECONDS = 5, CHUNK = 16384 };
enum { FREE, UNTIL_READY, UNTIL_QUIET }; /* what input from a pipe waits for */
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
  int console, signals, watch, control;
  gboolean tty, out_tty, input, detached;
  gboolean can_detach; /* the machine outlives this process */
  gboolean notes;      /* there is no supervisor that keeps the times */
  int hold;           /* FREE, ... */
  gboolean quiet;     /* the guest's terminal echoes nothing */
  gboolean whole;     /* all input of the application comes from here */
  guint64 said_from;  /* where in control.log its words to us begin */
  double talk_until;  /* how long its answer is waited for, or 0 */
  guint stops;
  double say_at;  /* when a stop is said again, or 0 */
  double kill_at; /* when patience with it ends */
  double noted;   /* when the time was, of what is printed */
  double escaped; /* until when a second Ctrl-] may come, or 0 */
  char in[8192];  /* input that the console has not taken yet */
  gsize in_at, in_len;
  char last_in;   /* the last byte of it */
  gboolean held;  /* a CR whose LF may follow */
};

/* A guest's terminal ends lines with CR LF; a file or pipe gets what the program wrote. */
static gboolean
print (struct attach *a, const char *buf, gsize n, GError **err)
{
  char out[CHUNK + 1]; /* and the CR that was held */
  gsize o = 0;
  if (a->out_tty)
    return cs_write_all (STDOUT_FILENO, buf, n, "standard output", err);
  for (gsize k = 0; k < n; k++) {
    if (a->held && buf[k] != '\n')
      out[o++] = '\r';
    a->held = buf[k] == '\r';
    if (!a->held)
      out[o++] = buf[k];
  }
  return cs_write_all (STDOUT_FILENO, out, o, "standard output", err);
}

static gboolean
open_control (struct attach *a)
{
  if (a->control < 0)
    a->control = cs_hv_console (a->hv, &a->i->ref, "control", NULL);
  return a->control >= 0;
}

/* The channel is for one at a time, and others may want to stop the machine. */
static void
end_talk (struct attach *a)
{
  a->talk_until = 0;
  a->hold = FREE;
  if (a->stops > 0)
    return;
  cs_close_fd (&a->control);
  a->control = -1;
}

/* Asks for the terminal of the guest to echo or not; it answers in the same words. */
static void
say_echo (struct attach *a, gboolean on)
{
  const char *line = on ? "echo on\n" : "echo off\n";
  a->talk_until = cs_now () + ECHO_SECONDS;
  if (!open_control (a) || !cs_write_all (a->control, line, strlen (line), "the control channel", NULL))
    end_talk (a);
}

/* Input from a pipe goes on once the guest listens and its terminal is quiet: before that, a
 * boot loader would take it for keys, and it would come back as output. */
static void
look_at_control (struct attach *a)
{
  if (a->hold == UNTIL_READY && cs_instance_said (a->i, a->said_from, "ready")) {
    a->hold = UNTIL_QUIET;
    say_echo (a, FALSE);
  }
  if (a->hold == UNTIL_QUIET && cs_instance_said (a->i, a->said_from, "echo off")) {
    a->quiet = TRUE;
    end_talk (a);
  }
}

/* The first asks the guest, the second pulls the plug. */
static void
stop (struct attach *a)
{
  g_autoptr (GError) e = NULL;
  cs_stay (a->i);
  if (a->stops++ == 0 && g_strcmp0 (a->i->guest, "linux") == 0) {
    if (open_control (a) && cs_stop_say (a->control)) {
      a->say_at = cs_now () + 1;
      a->kill_at = cs_now () + STOP_SECONDS;
      return;
    }
  }
  a->say_at = 0;
  if (!cs_hv_stop (a->hv, &a->i->ref, CAPSTAN_F_FORCE, 0, &e))
    cs_warn ("%s", e->message);
}

/* Does what is due by now; answers how long poll may wait, in ms. */
static int
due (struct attach *a)
{
  double now = cs_now (), next = 0;
  if (a->escaped > 0 && now >= a->escaped) {
    a->detached = a->can_detach;
    a->escaped = 0;
  }
  if (a->say_at > 0 && now >= a->kill_at)
    stop (a); /* it did not heed the first */
  else if (a->say_at > 0 && now >= a->say_at) {
    cs_stop_say (a->control); /* a guest that is still booting does not listen yet */
    a->say_at = now + 1;
  }
  if (a->talk_until > 0 && now >= a->talk_until)
    end_talk (a); /* a guest that was made before there was such a thing does not answer */
  if (a->escaped > 0)
    next = a->escaped;
  if (a->talk_until > 0 && (next == 0 || a->talk_until < next))
    next = a->talk_until;
  if (a->say_at > 0 && (next == 0 || a->say_at < next))
    next = a->say_at;
  return next == 0 ? -1 : MAX (0, (int) ((next - now) * 1000) + 1);
}

/* Input as it was typed; Ctrl-] is ours. */
static void
keys (struct attach *a)
{
  gsize n = 0;
  for (gsize k = 0; k < a->in_len; k++) {
    if (a->tty && a->in[k] == ESCAPE && a->escaped > 0) {
      a->escaped = 0;
      stop (a);
    } else if (a->tty && a->in[k] == ESCAPE)
      a->escaped = cs_now () + 0.5;
    else if (a->escaped > 0 && a->can_detach)
      a->detached = TRUE;
    else
      a->in[n++] = a->in[k];
  }
  a->in_at = 0;
  a->in_len = n;
  if (n > 0)
    a->last_in = a->in[n - 1];
}

/* Where the input ends, the guest's does: its terminal takes Ctrl-D at the start of a line. */
static void
end_of_input (struct attach *a)
{
  a->input = FALSE;
  if (a->tty || !a->quiet || !a->whole)
    return;
  a->in_at = a->in_len = 0;
  if (a->last_in != '\n' && a->last_in != '\0')
    a->in[a->in_len++] = EOT;
  a->in[a->in_len++] = EOT;
}

/* Never blocks: a guest that does not read its input still has its output read. */
static void
feed (struct attach *a)
{
  ssize_t n = write (a->console, a->in + a->in_at, a->in_len - a->in_at);
  if (n > 0)
    a->in_at += (gsize) n;
  else if (n < 0 && errno != EAGAIN && errno != EINTR)
    a->in_at = a->in_len; /* it is ending; the console says so next */
}

static gboolean
pump (struct attach *a, GError **err)
{
  char buf[CHUNK];
  for (;;) {
    int ms = due (a);
    if (a->detached)
      return TRUE;
    gboolean full = a->in_at < a->in_len, more = a->input && a->hold == FREE && !full;
    struct pollfd f[4] = { { a->console, (short) (POLLIN | (full ? POLLOUT : 0)), 0 },
                           { a->signals, POLLIN, 0 },
                           { more ? STDIN_FILENO : -1, POLLIN, 0 },
                           { a->hold != FREE ? a->watch : -1, POLLIN, 0 } };
    if (poll (f, 4, ms) < 0) {
      if (errno == EINTR)
        continue;
      return cs_fail_errno (err, "poll");
    }
    if (f[0].revents & POLLOUT)
      feed (a);
    if (f[0].revents & ~POLLOUT) {
      ssize_t n = read (a->console, buf, sizeof buf);
      if (n == 0 || (n < 0 && errno != EINTR && errno != EAGAIN))
        return !a->held || cs_write_all (STDOUT_FILENO, "\r", 1, "standard output", err);
      if (n > 0 && !print (a, buf, (gsize) n, err))
        return FALSE;
      if (a->notes && cs_now () - a->noted > 1) {
        cs_times_note (a->i);
        a->noted = cs_now ();
      }
    }
    if (f[1].revents & POLLIN) {
      struct signalfd_siginfo si;
      if (read (a->signals, &si, sizeof si) == sizeof si)
        stop (a);
    }
    if (f[2].revents != 0) {
      ssize_t n = read (STDIN_FILENO, a->in, sizeof a->in);
      a->in_len = n > 0 ? (gsize) n : 0;
      if (n > 0)
        keys (a);
      else
        end_of_input (a);
    }
    if (f[3].revents != 0 && read (a->watch, buf, sizeof buf) > 0)
      look_at_control (a);
  }
}

/* Terminal, signals and the talk about echo, around the console that is open. */
static gboolean
attached (struct attach *a, gboolean start, gboolean paused, GError **err)
{
  sigset_t set, old;
  gboolean is_linux = g_strcmp0 (a->i->guest, "linux") == 0;
  cs_autofd int watch = is_linux && !a->tty ? inotify_init1 (IN_CLOEXEC | IN_NONBLOCK) : -1;
  a->watch = watch;
  if (watch >= 0 && inotify_add_watch (watch, a->i->dir, IN_MODIFY | IN_CREATE) >= 0)
    a->hold = start ? UNTIL_READY : UNTIL_QUIET;
  fcntl (a->console, F_SETFL, fcntl (a->console, F_GETFL) | O_NONBLOCK);
  sigemptyset (&set);
  sigaddset (&set, SIGINT);
  sigaddset (&set, SIGTERM);
  sigaddset (&set, SIGHUP);
  sigprocmask (SIG_BLOCK, &set, &old);
  cs_autofd int sig = signalfd (-1, &set, SFD_CLOEXEC);
  a->signals = sig;
  if (a->tty) {
    make_raw (); /* before the words that invite to type: what is typed is the guest's to echo */
    cs_info ("%s: %sCtrl-] twice stops%s", a->i->name, a->can_detach ? "Ctrl-] detaches, " : "",
             isatty (STDERR_FILENO) ? "\r" : "");
  }
  if (is_linux && !start) /* whoever was attached before may have left it otherwise */
    say_echo (a, a->tty);
  gboolean ok = (!paused || cs_hv_resume (a->hv, &a->i->ref, err)) && pump (a, err);
  restore ();
  cs_close_fd (&a->control);
  sigprocmask (SIG_SETMASK, &old, NULL);
  return ok;
}

gboolean
cs_attach (struct cs_instance *i, struct cs_hv *hv, gboolean start, gboolean no_tty,
           gboolean *ret_ran, struct cs_vm **ret_end, GError **err)
{
  struct capstan_caps caps;
  g_autofree char *lock_path = cs_instance_path (i, "attached");
  cs_autofd int lock = cs_lock_file (lock_path, TRUE, FALSE, NULL);
  if (lock < 0)
    return cs_fail (err, CAPSTAN_E_BUSY, "somebody else is attached to %s", i->name);
  if (!cs_hv_caps (hv, &caps, err))
    return FALSE;
  struct attach a = { .i = i, .hv = hv, .tty = !no_tty && isatty (STDIN_FILENO),
                      .out_tty = isatty (STDOUT_FILENO), .input = TRUE, .control = -1, .whole = start, .notes = start,
                      .can_detach = (caps.bits & CAPSTAN_HV_DETACHED) != 0,
                      .said_from = cs_instance_control_size (i) };
  gboolean pause = start && (caps.bits & CAPSTAN_HV_PAUSE);
  if (start && !cs_hv_start (hv, &i->ref, pause ? CAPSTAN_F_PAUSED : 0, err))
    return FALSE;
  cs_autofd int console = cs_hv_console (hv, &i->ref, "console", err);
  a.console = console;
  if (console < 0)
    return FALSE;
  *ret_ran = TRUE;
  if (!attached (&a, start, pause, err))
    return FALSE;
  if (a.detached) {
    cs_info ("detached; capstan console %s attaches again", i->name);
    *ret_end = NULL;
    return TRUE;
  }
  return cs_hv_wait (hv, &i->ref, CAPSTAN_VM_STOPPED, 30000, ret_end, err);
}

gboolean
cs_attach_run (struct cs_instance *i, struct cs_hv *hv, gboolean no_tty, gboolean *ret_ran,
               gboolean *ret_ended, struct cs_outcome *ret, GError **err)
{
  struct cs_backoff b = { .began = cs_now () };
  do {
    g_autoptr (cs_vm) end = NULL;
    if (!cs_instance_begin (i, hv, err))
      return FALSE;
    if (!cs_attach (i, hv, TRUE, no_tty, ret_ran, &end, err)) {
      cs_runs_end (i, -1, CAPSTAN_REASON_FAILED);
      return FALSE;
    }
    *ret_ended = end != NULL;
    if (end == NULL)
      return cs_monitor_start (i, err);
    cs_outcome (i, hv, &end->info, ret);
    cs_runs_end (i, ret->known ? ret->status : -1, end->info.reason);
  } while (cs_again (i, ret, &b));
  return TRUE;
}
