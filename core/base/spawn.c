/* SPDX-License-Identifier: BSD-3-Clause */
#include "config.h"
#include "core/base/spawn.h"
#include "core/base/cancel.h"
#include "core/base/error.h"
#include "core/base/util.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { DEFAULT_MAX = 1024 * 1024, PIPES = 4, TERM_MS = 3000, ALWAYS_MS = 60000 };
enum { IN, OUT, ERR, EXEC }; /* EXEC carries errno if the program cannot be run */

struct pipes { int r[PIPES], w[PIPES]; };

static void
close_all (struct pipes *p)
{
  for (int i = 0; i < PIPES; i++) {
    cs_close_fd (&p->r[i]);
    cs_close_fd (&p->w[i]);
    p->r[i] = p->w[i] = -1;
  }
}

/* Libraries do not all open with O_CLOEXEC. */
static void
close_from (int first)
{
#ifdef SYS_close_range
  if (syscall (SYS_close_range, first, ~0U, 4 /* CLOSE_RANGE_CLOEXEC */) == 0)
    return;
#endif
  for (int fd = first; fd < 1024; fd++) /* a kernel before 5.11 */
    fcntl (fd, F_SETFD, FD_CLOEXEC);
}

/* In the child; only calls that are safe after fork. */
static void
child (const struct cs_spawn *s, struct pipes *p, char **env, int n_moved, const int *moved,
       pid_t parent)
{
  int fds[3] = { s->in_fd >= 0 ? s->in_fd : p->r[IN], s->out_fd >= 0 ? s->out_fd : p->w[OUT],
                 s->err_fd >= 0 ? s->err_fd : p->w[ERR] };
  sigset_t none;
  /* above every number that is going to be used */
  int base = 3 + n_moved;
  int exec_fd = fcntl (p->w[EXEC], F_DUPFD_CLOEXEC, base);
  for (int i = 0; i < 3; i++)
    fds[i] = fds[i] < 0 ? open ("/dev/null", O_RDWR | O_CLOEXEC) : fds[i];
  for (int i = 0; i < 3; i++)
    fds[i] = fcntl (fds[i], F_DUPFD_CLOEXEC, base);
  for (int i = 0; i < 3; i++)
    dup2 (fds[i], i);
  for (int i = 0; i < n_moved; i++)
    dup2 (moved[i], 3 + i);
  close_from (base);
  if (s->session || s->always)
    setsid ();
  /* who waits for it may be killed: then it must not go on writing where others write next */
  if (parent > 0 && (prctl (PR_SET_PDEATHSIG, SIGKILL) != 0 || getppid () != parent))
    _exit (126);
  sigemptyset (&none);
  sigprocmask (SIG_SETMASK, &none, NULL);
  signal (SIGPIPE, SIG_DFL);
  if (s->dir != NULL && chdir (s->dir) != 0)
    goto fail;
  execvpe (s->argv[0], (char *const *) s->argv, env);
fail:;
  int e = errno;
  if (write (exec_fd, &e, sizeof e) < 0)
    _exit (126);
  _exit (127);
}

static void
take (GString *to, int *fd, gsize max)
{
  char buf[16384];
  ssize_t n = read (*fd, buf, sizeof buf);
  if (n > 0 && to->len < max)
    g_string_append_len (to, buf, MIN ((gssize) (max - to->len), n));
  if (n == 0 || (n < 0 && errno != EINTR && errno != EAGAIN)) {
    close (*fd);
    *fd = -1;
  }
}

static void
give (const struct cs_spawn *s, gsize *done, int *fd)
{
  ssize_t n = write (*fd, (const char *) s->input + *done, s->input_len - *done);
  if (n > 0)
    *done += (gsize) n;
  if (*done == s->input_len || (n < 0 && errno != EINTR && errno != EAGAIN)) {
    close (*fd);
    *fd = -1;
  }
}

/* Until all pipes are closed; FALSE when cancelled, or out of time. */
static gboolean
pump (struct cs_spawn *s, struct pipes *p, GString *out, GString *errs)
{
  double end = cs_now () + ALWAYS_MS / 1000.0;
  gsize max = s->out_max != 0 ? s->out_max : DEFAULT_MAX, done = 0;
  if (s->input_len == 0) {
    cs_close_fd (&p->w[IN]);
    p->w[IN] = -1;
  }
  while (p->r[OUT] >= 0 || p->r[ERR] >= 0 || p->w[IN] >= 0 || p->r[EXEC] >= 0) {
    struct pollfd f[5] = { { p->r[OUT], POLLIN, 0 }, { p->r[ERR], POLLIN, 0 },
                           { p->w[IN], POLLOUT, 0 }, { s->always ? -1 : cs_cancel_fd (), POLLIN, 0 },
                           { p->r[EXEC], POLLIN, 0 } };
    int n = poll (f, 5, s->always ? MAX (0, (int) ((end - cs_now ()) * 1000)) : -1);
    if (n < 0 && errno != EINTR)
      return TRUE;
    if (s->always ? n == 0 : f[3].revents != 0 || cs_cancelled ())
      return FALSE;
    if (f[4].revents != 0)
      return TRUE; /* the caller reads it; its end is the exec */
    if (f[0].revents != 0)
      take (out, &p->r[OUT], max);
    if (f[1].revents != 0)
      take (errs, &p->r[ERR], max);
    if (f[2].revents != 0)
      give (s, &done, &p->w[IN]);
  }
  return TRUE;
}

static gboolean
make_pipes (const struct cs_spawn *s, gboolean capture, struct pipes *p, GError **err)
{
  gboolean wanted[PIPES] = { capture && s->in_fd < 0, capture && s->out_fd < 0,
                             capture && s->err_fd < 0, TRUE };
  for (int i = 0; i < PIPES; i++) {
    int fd[2];
    if (!wanted[i])
      continue;
    if (pipe2 (fd, O_CLOEXEC) != 0)
      return cs_fail_errno (err, "pipe");
    p->r[i] = fd[0];
    p->w[i] = fd[1];
  }
  return TRUE;
}

static char **
make_env (const struct cs_spawn *s)
{
  char **env = g_get_environ ();
  for (const char *const *e = s->env; e != NULL && *e != NULL; e++) {
    const char *eq = strchr (*e, '=');
    g_autofree char *key = eq != NULL ? g_strndup (*e, (gsize) (eq - *e)) : g_strdup (*e);
    env = eq != NULL ? g_environ_setenv (env, key, eq + 1, TRUE) : g_environ_unsetenv (env, key);
  }
  return env;
}

/* Waits for its end; FALSE when cancelled (watch_cancel) or after ms (-1: for ever). */
static gboolean
ended (int pidfd, gboolean watch_cancel, int ms)
{
  struct pollfd f[2] = { { pidfd, POLLIN, 0 },
                         { watch_cancel ? cs_cancel_fd () : -1, POLLIN, 0 } };
  double end = cs_now () + ms / 1000.0;
  if (pidfd < 0) /* no pidfd here: waitpid alone has to do */
    return TRUE;
  for (;;) {
    int left = ms < 0 ? -1 : MAX (0, (int) ((end - cs_now ()) * 1000));
    int n = poll (f, 2, left);
    if (f[0].revents != 0)
      return TRUE;
    if (watch_cancel && cs_cancelled ())
      return FALSE;
    if (n == 0 || (n < 0 && errno != EINTR))
      return n < 0;
    f[0].revents = f[1].revents = 0;
  }
}

/* The exit status. A cancelled child is asked first, and killed if it does not heed. */
static int
reap (const struct cs_spawn *s, pid_t pid, gboolean *cancelled)
{
  int st = 0;
#ifdef SYS_pidfd_open
  cs_autofd int pidfd = (int) syscall (SYS_pidfd_open, pid, 0);
#else
  cs_autofd int pidfd = -1;
#endif
  if (!*cancelled)
    *cancelled = !ended (pidfd, !s->always, s->always ? ALWAYS_MS : -1);
  if (*cancelled) {
    kill (pid, pidfd < 0 ? SIGKILL : SIGTERM);
    if (!ended (pidfd, FALSE, TERM_MS))
      kill (pid, SIGKILL);
  }
  while (waitpid (pid, &st, 0) < 0 && errno == EINTR)
    ;
  return WIFSIGNALED (st) ? 128 + WTERMSIG (st) : WEXITSTATUS (st);
}

/* Forks, and returns once the program runs; FALSE and nothing left if it cannot. */
static gboolean
launch (const struct cs_spawn *s, gboolean capture, struct pipes *p, pid_t *ret, GError **err)
{
  int moved[16], exec_errno = 0;
  g_auto (GStrv) env = make_env (s);
  g_return_val_if_fail (s->n_pass_fds <= G_N_ELEMENTS (moved), FALSE);
  if (!s->always && cs_cancelled ())
    return cs_fail (err, CAPSTAN_E_CANCELLED, "cancelled");
  if (!make_pipes (s, capture, p, err)) {
    close_all (p);
    return FALSE;
  }
  for (gsize i = 0; i < s->n_pass_fds; i++)
    moved[i] = fcntl (s->pass_fds[i], F_DUPFD_CLOEXEC, 3 + (int) s->n_pass_fds);
  pid_t us = getpid (), pid = fork ();
  if (pid == 0)
    child (s, p, env, (int) s->n_pass_fds, moved, capture ? us : 0);
  int fork_errno = errno;
  for (gsize i = 0; i < s->n_pass_fds; i++)
    close (moved[i]);
  int *theirs[] = { &p->r[IN], &p->w[OUT], &p->w[ERR], &p->w[EXEC] };
  for (guint i = 0; i < G_N_ELEMENTS (theirs); i++) {
    cs_close_fd (theirs[i]);
    *theirs[i] = -1;
  }
  if (pid < 0) {
    close_all (p);
    errno = fork_errno;
    return cs_fail_errno (err, "fork for %s", s->argv[0]);
  }
  while (read (p->r[EXEC], &exec_errno, sizeof exec_errno) < 0 && errno == EINTR)
    ;
  cs_close_fd (&p->r[EXEC]);
  p->r[EXEC] = -1;
  if (exec_errno == 0) {
    *ret = pid;
    return TRUE;
  }
  close_all (p);
  while (waitpid (pid, NULL, 0) < 0 && errno == EINTR)
    ;
  if (exec_errno == ENOENT && s->dir == NULL)
    return cs_fail (err, CAPSTAN_E_NOTFOUND, "the program %s is not there; it has to be installed",
                    s->argv[0]);
  errno = exec_errno;
  return cs_fail_errno (err, "run %s", s->argv[0]);
}

gboolean
cs_spawn_run (struct cs_spawn *s, GError **err)
{
  struct pipes p = { { -1, -1, -1, -1 }, { -1, -1, -1, -1 } };
  pid_t pid;
  if (!launch (s, TRUE, &p, &pid, err))
    return FALSE;
  if (p.w[IN] >= 0) /* a child that writes before it reads must not stop us */
    fcntl (p.w[IN], F_SETFL, O_NONBLOCK);
  GString *out = g_string_new (NULL), *errs = g_string_new (NULL);
  gboolean cancelled = !pump (s, &p, out, errs);
  close_all (&p);
  s->status = reap (s, pid, &cancelled);
  s->out_len = out->len;
  s->err_len = errs->len;
  s->out = g_string_free (out, FALSE);
  s->err = g_string_free (errs, FALSE);
  if (cancelled && s->always)
    return cs_fail (err, CAPSTAN_E_TIMEOUT, "%s did not end within a minute", s->argv[0]);
  if (cancelled)
    return cs_fail (err, CAPSTAN_E_CANCELLED, "%s was cancelled", s->argv[0]);
  return TRUE;
}

gboolean
cs_spawn_start (const struct cs_spawn *s, GPid *ret_pid, GError **err)
{
  struct pipes p = { { -1, -1, -1, -1 }, { -1, -1, -1, -1 } };
  return launch (s, FALSE, &p, ret_pid, err);
}

gboolean
cs_spawn_check (struct cs_spawn *s, GError **err)
{
  if (!cs_spawn_run (s, err))
    return FALSE;
  if (s->status == 0)
    return TRUE;
  g_strchomp (s->err);
  const char *last = s->err;
  for (int lines = 0; last > s->err && lines < 5; last--)
    lines += *last == '\n';
  g_autofree char *prog = g_path_get_basename (s->argv[0]);
  return cs_fail (err, CAPSTAN_E_IO, "%s failed (status %d): %s", prog, s->status,
                  *last != '\0' ? last : "it gave no reason");
}

gboolean
cs_spawn_tool (const char *dir, const char *const *argv, GError **err)
{
  struct cs_spawn s = CS_SPAWN_INIT;
  s.argv = argv;
  s.dir = dir;
  gboolean ok = cs_spawn_check (&s, err);
  cs_spawn_clear (&s);
  return ok;
}

void
cs_spawn_clear (struct cs_spawn *s)
{
  g_clear_pointer (&s->out, g_free);
  g_clear_pointer (&s->err, g_free);
}
