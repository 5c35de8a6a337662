/* The git program as a child. SPDX-License-Identifier: BSD-3-Clause */
#include "config.h"
#include "plugins/repo-git/git.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { ARGS_MAX = 64, PIECE = 256 * 1024, ERR_KEPT = 8192, SILENCE_MS = 120000 };

static const char *const fixed_args[] = {
  "git", "-c", "core.hooksPath=/dev/null", "-c", "core.fsmonitor=", "-c", "core.symlinks=false",
  "-c", "core.bigFileThreshold=1m", "-c", "core.packedGitWindowSize=1m",
  "-c", "core.packedGitLimit=8m", "-c", "protocol.ext.allow=never", "-c", "protocol.version=2",
  "-c", "gc.auto=0", "-c", "maintenance.auto=false", "-c", "submodule.recurse=false",
  "-c", "fetch.recurseSubmodules=false", "-c", "push.followTags=false", "-c", "http.sslVerify=true",
  "-c", "http.followRedirects=initial", "-c", "http.lowSpeedLimit=1", "-c", "http.lowSpeedTime=60",
  "-c", "fastimport.unpackLimit=0", "-c" };

/* ---- running ---- */
struct pump {
  struct git *g;
  struct capstan_call *call;
  struct git_cmd *c;
  int64_t pid;
  int pidfd, in, out, err; /* our ends; -1: closed */
  char *piece;
  size_t at, have;         /* of piece: what has still to go in */
  char line[1024]; size_t line_len;
  char kept[ERR_KEPT]; size_t kept_len;
  int64_t heard_ms;
};

static int64_t
now_ms (void)
{
  struct timespec t;
  clock_gettime (CLOCK_MONOTONIC, &t);
  return (int64_t) t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void
shut (int *fd)
{
  if (*fd >= 0)
    close (*fd);
  *fd = -1;
}

/* "Receiving objects:  42% (1/1), 16.26 MiB | 8.12 MiB/s": the bytes; -1: it says none. */
static int64_t
progress_bytes (const char *line)
{
  static const struct { const char *unit; double n; } units[] = {
    { "KiB", 1024 }, { "MiB", 1048576 }, { "GiB", 1073741824 }, { "bytes", 1 } };
  const char *p = strstr (line, "), ");
  char *end;
  if (p == NULL || strstr (line, " objects:") == NULL)
    return -1;
  double v = strtod (p + 3, &end);
  for (size_t i = 0; end != p + 3 && i < sizeof units / sizeof *units; i++)
    if (*end == ' ' && strncmp (end + 1, units[i].unit, strlen (units[i].unit)) == 0)
      return (int64_t) (v * units[i].n);
  return -1;
}

/* One line of standard error: progress, or something to keep. */
static int
heard_line (struct pump *p)
{
  p->line[p->line_len] = '\0';
  size_t n = p->line_len;
  p->line_len = 0;
  if (strstr (p->line, "% (") != NULL) {
    int64_t bytes = p->c->phase != NULL ? progress_bytes (p->line) : -1;
    return bytes < 0 ? 0
                     : capstan_host_->progress (p->call, p->c->phase, (uint64_t) bytes, p->c->total);
  }
  if (n > 0 && p->kept_len + n + 2 < sizeof p->kept) {
    memcpy (p->kept + p->kept_len, p->line, n);
    p->kept_len += n;
    p->kept[p->kept_len++] = '\n';
  }
  return 0;
}

static int
read_err (struct pump *p)
{
  char buf[4096];
  int rc = 0;
  ssize_t n = read (p->err, buf, sizeof buf);
  if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
    shut (&p->err);
  for (ssize_t i = 0; i < n && rc == 0; i++)
    if (buf[i] == '\n' || buf[i] == '\r')
      rc = heard_line (p);
    else if (p->line_len + 1 < sizeof p->line)
      p->line[p->line_len++] = buf[i];
  p->heard_ms = now_ms ();
  return rc;
}

static int
read_out (struct pump *p)
{
  ssize_t n = read (p->out, p->piece, PIECE);
  if (n > 0)
    return p->c->take (p->c->user, p->piece, (size_t) n);
  if (n == 0 || (errno != EAGAIN && errno != EINTR))
    shut (&p->out);
  return 0;
}

static int
write_in (struct pump *p)
{
  if (p->at == p->have) {
    int64_t n = p->c->feed (p->c->user, p->piece, PIECE);
    if (n < 0)
      return (int) n;
    p->at = 0;
    p->have = (size_t) n;
    if (n == 0) {
      shut (&p->in);
      return 0;
    }
  }
  /* a socket, because a pipe that nobody reads ends the process */
  ssize_t n = send (p->in, p->piece + p->at, p->have - p->at, MSG_NOSIGNAL | MSG_DONTWAIT);
  if (n > 0)
    p->at += (size_t) n;
  else if (n < 0 && errno != EAGAIN && errno != EINTR)
    shut (&p->in); /* its status will say why */
  return 0;
}

/* How long the next wait may be; negative: an error is set. */
static int
patience (struct pump *p)
{
  uint64_t left = capstan_host_->time_left_ms (p->call);
  int ms = left < 1000 ? (int) left : 1000;
  if (left == 0)
    return capstan_error (p->call, CAPSTAN_E_TIMEOUT, 0, "%s: git %s took too long", p->g->url,
                          p->c->args[0]);
  /* git's own protocol notices no dead server; the others have limits of their own */
  if ((p->c->flags & GIT_NET) && strcmp (p->g->scheme, "git") == 0 &&
      now_ms () - p->heard_ms > SILENCE_MS)
    return capstan_error (p->call, CAPSTAN_E_TIMEOUT, 0, "%s: the server says nothing any more",
                          p->g->url);
  return ms;
}

/* Until it has ended and all it printed is read; what a child of its own, such as ssh's
 * master, still holds open is not waited for. */
static int
pump_all (struct pump *p)
{
  int rc = 0, ended = 0;
  while (rc == 0 && (p->out >= 0 || p->err >= 0 || p->in >= 0) && !(ended && p->out < 0)) {
    int ms = patience (p);
    if (ms < 0)
      return ms;
    struct pollfd f[5] = { { p->out, POLLIN, 0 }, { p->err, POLLIN, 0 }, { p->in, POLLOUT, 0 },
                           { capstan_host_->cancel_fd (p->call), POLLIN, 0 },
                           { ended ? -1 : p->pidfd, POLLIN, 0 } };
    if (poll (f, 5, ms) < 0 && errno != EINTR)
      return capstan_error (p->call, CAPSTAN_E_IO, errno, "poll");
    if (f[3].revents != 0 || capstan_host_->cancelled (p->call))
      return capstan_error (p->call, CAPSTAN_E_CANCELLED, 0, "cancelled");
    if (f[1].revents != 0)
      rc = read_err (p);
    else if (f[4].revents != 0)
      ended = 1;
    if (rc == 0 && f[0].revents != 0)
      rc = read_out (p);
    if (rc == 0 && p->in >= 0 && f[2].revents != 0)
      rc = write_in (p);
  }
  return rc;
}

static int
make_pipes (struct pump *p, struct capstan_run_req *q)
{
  int fd[2];
  if (p->c->feed != NULL) {
    if (socketpair (AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fd) != 0)
      return -1;
    p->in = fd[0];
    q->in_fd = fd[1];
  }
  if (p->c->take != NULL) {
    if (pipe2 (fd, O_CLOEXEC) != 0)
      return -1;
    fcntl (fd[0], F_SETPIPE_SZ, PIECE);
    p->out = fd[0];
    q->out_fd = fd[1];
  }
  if (pipe2 (fd, O_CLOEXEC) != 0)
    return -1;
  p->err = fd[0];
  q->err_fd = fd[1];
  return (p->piece = malloc (PIECE)) != NULL ? 0 : -1;
}

/* With pipes: for what is large, or takes long. */
static int
run_piped (struct git *g, struct capstan_call *call, struct git_cmd *c, struct capstan_run_req *q,
           struct capstan_run_rsp *r)
{
  struct pump p = { .g = g, .call = call, .c = c, .pidfd = -1, .in = -1, .out = -1, .err = -1,
                    .heard_ms = now_ms () };
  int rc = 0;
  q->flags = CAPSTAN_F_NO_WAIT;
  if (make_pipes (&p, q) != 0)
    rc = capstan_error (call, CAPSTAN_E_IO, errno, "pipe");
  if (rc == 0)
    rc = capstan_host_->run (call, q, r);
  shut (&q->in_fd);
  shut (&q->out_fd);
  shut (&q->err_fd);
  if (rc == 0) {
    p.pid = r->pid;
    p.pidfd = (int) syscall (SYS_pidfd_open, (pid_t) p.pid, 0);
    rc = pump_all (&p);
    if (rc != 0)
      capstan_host_->run_kill (call, p.pid, SIGTERM);
    else
      rc = capstan_host_->run_wait (call, p.pid, r);
    heard_line (&p);
  }
  shut (&p.pidfd);
  shut (&p.in);
  shut (&p.out);
  shut (&p.err);
  free (p.piece);
  r->err = git_take (call, p.kept, p.kept_len);
  return rc;
}

int
git_run (struct git *g, struct capstan_call *call, struct git_cmd *c)
{
  const char *argv[ARGS_MAX];
  size_t n = sizeof fixed_args / sizeof *fixed_args, k = 0;
  memcpy (argv, fixed_args, sizeof fixed_args);
  argv[n++] = c->level > 0 ? "core.compression=1" : "core.compression=0";
  while (c->args[k] != NULL && n + 1 < ARGS_MAX)
    argv[n++] = c->args[k++];
  argv[n] = NULL;
  struct git_secret what = { 0 };
  int secret = c->flags & GIT_NET ? git_secret_file (g, call, &what) : -1;
  const char **env = git_environment (g, call, c, secret >= 0 ? 3 : -1);
  struct capstan_run_req q = { .struct_size = sizeof q, .argv = argv, .env = env, .dir = g->home,
    .pass_fds = &secret, .n_pass_fds = secret >= 0, .input = c->input, .input_len = c->input_len,
    .in_fd = -1, .out_fd = -1, .err_fd = -1, .out_max = c->out_max };
  struct capstan_run_rsp r = { .struct_size = sizeof r };
  int rc;
  if (env == NULL)
    rc = capstan_error (call, CAPSTAN_E_NOMEM, 0, "no memory");
  else if (c->feed != NULL || c->take != NULL || c->flags & GIT_NET)
    rc = run_piped (g, call, c, &q, &r);
  else
    rc = capstan_host_->run (call, &q, &r);
  free (env);
  c->out = r.out != NULL ? r.out : "";
  c->out_len = r.out_len;
  c->err = r.err != NULL ? r.err : "";
  c->status = r.exit_status;
  if (rc == 0 && c->status != 0 && !(c->flags & GIT_STATUS))
    rc = git_failed (g, call, c);
  if (secret >= 0)
    close (secret);
  git_secret_tell (call, &what, rc);
  return rc;
}
