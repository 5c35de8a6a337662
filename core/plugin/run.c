/* Programs that plugins run. SPDX-License-Identifier: BSD-3-Clause */
#include "config.h"
#include "core/plugin/loader.h"
#include "core/base/cancel.h"
#include "core/base/error.h"
#include "core/base/spawn.h"
#include "core/base/util.h"
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>

enum { DEFAULT_MAX = 1024 * 1024 };

/* One that was started with CAPSTAN_F_NO_WAIT. What it prints goes to memory files, so that
 * nobody has to read pipes meanwhile. */
struct job { int64_t pid; int pidfd, out, err; gsize max; };
static GMutex mutex;
static GPtrArray *jobs;

static int
from_gerror (struct capstan_call *c, const GError *e)
{
  return cs_call_error (c, (uint32_t) e->code, 0, e->message);
}

static int
too_much (struct capstan_call *c, const char *prog, gsize max)
{
  g_autofree char *m =
      g_strdup_printf ("%s printed more than %" G_GSIZE_FORMAT " bytes", prog, max);
  return cs_call_error (c, CAPSTAN_E_LIMIT, 0, m);
}

/* The answer in the shape that the plugin knows. */
static void
answer (struct capstan_run_rsp *r, const struct capstan_run_rsp *full)
{
  guint32 size = r->struct_size;
  memcpy (r, full, MIN ((gsize) size, sizeof *full));
  r->struct_size = size;
}

static int
memory_file (struct capstan_call *c, const void *text, gsize n, int *ret)
{
  g_autoptr (GError) e = NULL;
  int fd = memfd_create ("capstan", MFD_CLOEXEC);
  if (fd < 0)
    return cs_call_error (c, CAPSTAN_E_IO, errno, "memory file");
  if (n > 0 && (!cs_write_all (fd, text, n, "memory file", &e) || lseek (fd, 0, SEEK_SET) != 0)) {
    close (fd);
    return e != NULL ? from_gerror (c, e) : cs_call_error (c, CAPSTAN_E_IO, errno, "memory file");
  }
  *ret = fd;
  return 0;
}

static void
job_free (struct job *j)
{
  cs_close_fd (&j->pidfd);
  cs_close_fd (&j->out);
  cs_close_fd (&j->err);
  g_free (j);
}

static int
start (struct capstan_call *c, struct cs_spawn *s, struct capstan_run_rsp *r)
{
  g_autoptr (GError) e = NULL;
  cs_autofd int in = -1;
  struct job *j = g_new0 (struct job, 1);
  int rc = 0;
  GPid pid = 0;
  j->pidfd = j->out = j->err = -1;
  j->max = s->out_max - 1;
  if (s->in_fd < 0 && s->input_len > 0 && (rc = memory_file (c, s->input, s->input_len, &in)) == 0)
    s->in_fd = in;
  if (rc == 0 && s->out_fd < 0 && (rc = memory_file (c, NULL, 0, &j->out)) == 0)
    s->out_fd = j->out;
  if (rc == 0 && s->err_fd < 0 && (rc = memory_file (c, NULL, 0, &j->err)) == 0)
    s->err_fd = j->err;
  if (rc == 0 && !cs_spawn_start (s, &pid, &e))
    rc = from_gerror (c, e);
  if (rc != 0) {
    job_free (j);
    return rc;
  }
  j->pid = pid;
  j->pidfd = (int) syscall (SYS_pidfd_open, pid, 0);
  g_mutex_lock (&mutex);
  if (jobs == NULL)
    jobs = g_ptr_array_new ();
  g_ptr_array_add (jobs, j);
  g_mutex_unlock (&mutex);
  struct capstan_run_rsp full = { .pid = pid };
  answer (r, &full);
  return 0;
}

int
cs_host_run (struct capstan_call *c, const struct capstan_run_req *q, struct capstan_run_rsp *r)
{
  g_autoptr (GError) err = NULL;
  struct cs_spawn s = CS_SPAWN_INIT;
  gsize max = q->out_max != 0 ? q->out_max : DEFAULT_MAX;
  if (q->argv == NULL || q->argv[0] == NULL)
    return cs_call_error (c, CAPSTAN_E_INVAL, 0, "run: no program was named");
  s.argv = q->argv;
  s.env = q->env;
  s.dir = q->dir;
  s.input = q->input;
  s.input_len = q->input_len;
  s.in_fd = q->in_fd;
  s.out_fd = q->out_fd;
  s.err_fd = q->err_fd;
  s.pass_fds = q->pass_fds;
  s.n_pass_fds = q->n_pass_fds;
  s.out_max = max + 1; /* so that more is noticed */
  s.always = (q->flags & CAPSTAN_F_FORCE) != 0;
  if (q->flags & CAPSTAN_F_NO_WAIT)
    return start (c, &s, r);
  int rc = 0;
  if (!cs_spawn_run (&s, &err))
    rc = from_gerror (c, err);
  else if (s.out_len > max || s.err_len > max)
    rc = too_much (c, q->argv[0], max);
  else {
    struct capstan_run_rsp full = { .exit_status = s.status, .out_len = s.out_len, .err_len = s.err_len,
      .out = cs_call_keep (c, s.out, s.out_len), .err = cs_call_keep (c, s.err, s.err_len) };
    answer (r, &full);
  }
  cs_spawn_clear (&s);
  return rc;
}

static struct job *
find (struct capstan_call *c, int64_t pid, gboolean take)
{
  struct job *r = NULL;
  g_mutex_lock (&mutex);
  for (guint i = 0; jobs != NULL && i < jobs->len && r == NULL; i++)
    if (((struct job *) jobs->pdata[i])->pid == pid)
      r = take ? g_ptr_array_remove_index_fast (jobs, i) : jobs->pdata[i];
  g_mutex_unlock (&mutex);
  if (r == NULL) {
    g_autofree char *m = g_strdup_printf ("process %" G_GINT64_FORMAT " was not started by run, or "
                                          "was waited for already", pid);
    cs_call_error (c, CAPSTAN_E_NOTFOUND, 0, m);
  }
  return r;
}

static int
reap (int64_t pid)
{
  int st = 0;
  while (waitpid ((pid_t) pid, &st, 0) < 0 && errno == EINTR)
    ;
  return WIFSIGNALED (st) ? 128 + WTERMSIG (st) : WEXITSTATUS (st);
}

static int
captured (struct capstan_call *c, int fd, gsize max, const char **ret, size_t *ret_len)
{
  g_autoptr (GError) e = NULL;
  off_t n = fd >= 0 ? lseek (fd, 0, SEEK_END) : 0;
  *ret = cs_call_keep (c, "", 0);
  *ret_len = 0;
  if (n <= 0)
    return 0;
  if ((gsize) n > max)
    return too_much (c, "the program", max);
  g_autofree char *buf = g_malloc ((gsize) n + 1);
  if (!cs_pread_all (fd, buf, (gsize) n, 0, "memory file", &e))
    return from_gerror (c, e);
  *ret = cs_call_keep (c, buf, (gsize) n);
  *ret_len = (size_t) n;
  return 0;
}

/* Cancelled: it still runs, and run_wait or run_kill may be asked again. */
int
cs_host_run_wait (struct capstan_call *c, int64_t pid, struct capstan_run_rsp *r)
{
  struct job *j = find (c, pid, FALSE);
  if (j == NULL)
    return -CAPSTAN_E_NOTFOUND;
  struct pollfd f[2] = { { j->pidfd, POLLIN, 0 }, { cs_cancel_fd (), POLLIN, 0 } };
  while (j->pidfd >= 0) { /* before Linux 5.3 it just waits */
    int n = poll (f, 2, -1);
    if (f[0].revents != 0 || (n < 0 && errno != EINTR))
      break;
    if (cs_cancelled ())
      return cs_call_error (c, CAPSTAN_E_CANCELLED, 0, "cancelled");
  }
  j = find (c, pid, TRUE);
  if (j == NULL)
    return -CAPSTAN_E_NOTFOUND;
  struct capstan_run_rsp full = { .exit_status = reap (pid), .pid = pid };
  int rc = captured (c, j->out, j->max, &full.out, &full.out_len);
  if (rc == 0)
    rc = captured (c, j->err, j->max, &full.err, &full.err_len);
  if (rc == 0)
    answer (r, &full);
  job_free (j);
  return rc;
}

enum { PATIENCE_MS = 5000 };

/* Ends it and forgets it: one that does not heed the signal is killed. */
int
cs_host_run_kill (struct capstan_call *c, int64_t pid, int32_t sig)
{
  struct job *j = find (c, pid, TRUE);
  if (j == NULL)
    return -CAPSTAN_E_NOTFOUND;
  int rc = 0;
  if (kill ((pid_t) pid, sig) != 0)
    rc = cs_call_error (c, CAPSTAN_E_PERM, errno, "kill");
  else {
    struct pollfd f = { j->pidfd, POLLIN, 0 };
    if (j->pidfd < 0 || poll (&f, 1, PATIENCE_MS) <= 0)
      kill ((pid_t) pid, SIGKILL);
    reap (pid);
  }
  job_free (j);
  return rc;
}
