/* Runs a program and lets something happen at the N-th system call that writes, in it or
 * in any process that it starts. SPDX-License-Identifier: BSD-3-Clause
 *
 *   fault FOLDER N kill COMMAND...    all of it is killed before the call is made
 *   fault FOLDER N EIO COMMAND...     the call fails (also ENOSPC, EACCES, EROFS)
 *   fault FOLDER N hold:A:B COMMAND...  the call waits: a byte is written to descriptor A, and
 *                                     then one is awaited from descriptor B
 *   fault FOLDER 0 count COMMAND...   prints how many there are
 *   fault FOLDER 0 calls COMMAND...   prints how many system calls there are at all
 *
 * What counts is what changes files below FOLDER. Exit status: the command's; 100 if it was
 * killed; 101 if it ended without so many calls; 77 if this cannot be done here. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/fs.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef __x86_64__
int
main (void)
{
  puts ("SKIP: system calls are counted on x86_64 only");
  return 77;
}
#else

enum { KILLED = 100, NOT_REACHED = 101, SKIP = 77 };

/* How a call names what it changes: by a descriptor, or a path that is argument 0 or (with
 * a folder's descriptor before it) argument 1. */
static const struct call { int nr, by; } calls[] = {
  { SYS_write, 'f' }, { SYS_pwrite64, 'f' }, { SYS_writev, 'f' }, { SYS_pwritev, 'f' },
  { SYS_pwritev2, 'f' }, { SYS_ftruncate, 'f' }, { SYS_fallocate, 'f' }, { SYS_fsync, 'f' },
  { SYS_fdatasync, 'f' }, { SYS_copy_file_range, 'o' }, { SYS_splice, 'o' },
  { SYS_sendfile, 'f' }, { SYS_ioctl, 'i' }, { SYS_fchmod, 'f' },
  { SYS_truncate, 'p' }, { SYS_rename, 'p' }, { SYS_link, 'P' }, { SYS_symlink, 'P' },
  { SYS_unlink, 'p' }, { SYS_mkdir, 'p' }, { SYS_rmdir, 'p' }, { SYS_open, 'c' },
  { SYS_creat, 'p' }, { SYS_chmod, 'p' },
  { SYS_renameat, 'a' }, { SYS_renameat2, 'a' }, { SYS_linkat, 'A' }, { SYS_symlinkat, 'S' },
  { SYS_unlinkat, 'a' }, { SYS_mkdirat, 'a' }, { SYS_openat, 'C' } };
enum { N_CALLS = sizeof calls / sizeof *calls };

static const char *folder;

static int
install_filter (void)
{
  struct sock_filter f[N_CALLS + 4];
  int n = 0;
  f[n++] = (struct sock_filter) BPF_STMT (BPF_LD | BPF_W | BPF_ABS, offsetof (struct seccomp_data, nr));
  for (int i = 0; i < N_CALLS; i++)
    f[n++] = (struct sock_filter) BPF_JUMP (BPF_JMP | BPF_JEQ | BPF_K, (unsigned) calls[i].nr,
                                            (unsigned char) (N_CALLS - i), 0);
  f[n++] = (struct sock_filter) BPF_STMT (BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
  f[n++] = (struct sock_filter) BPF_STMT (BPF_RET | BPF_K, SECCOMP_RET_TRACE);
  struct sock_fprog p = { (unsigned short) n, f };
  return prctl (PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
         prctl (PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &p) == 0;
}

static int
below (const char *path)
{
  size_t n = strlen (folder);
  return strncmp (path, folder, n) == 0 && (path[n] == '/' || path[n] == '\0');
}

static int
link_below (pid_t pid, const char *what, unsigned long long fd)
{
  char from[64], to[PATH_MAX + 1];
  snprintf (from, sizeof from, what, pid, (int) fd);
  ssize_t n = readlink (from, to, PATH_MAX);
  to[n > 0 ? n : 0] = '\0';
  return below (to);
}

static int
path_below (pid_t pid, int dir_fd, unsigned long long at)
{
  char path[PATH_MAX] = "";
  for (size_t n = 0; n + sizeof (long) < sizeof path; n += sizeof (long)) {
    errno = 0;
    long word = ptrace (PTRACE_PEEKDATA, pid, at + n, NULL);
    if (errno != 0)
      break;
    memcpy (path + n, &word, sizeof word);
    if (memchr (&word, '\0', sizeof word) != NULL)
      break;
  }
  if (path[0] == '/')
    return below (path);
  return dir_fd == AT_FDCWD ? link_below (pid, "/proc/%d/cwd", 0)
                            : link_below (pid, "/proc/%d/fd/%d", (unsigned) dir_fd);
}

/* Whether the call that pid is about to make counts. */
static int
counts (pid_t pid, const struct user_regs_struct *r)
{
  const int create = O_CREAT | O_TRUNC;
  int by = 0;
  for (int i = 0; i < N_CALLS; i++)
    if (calls[i].nr == (int) r->orig_rax)
      by = calls[i].by;
  switch (by) {
  case 'f': return link_below (pid, "/proc/%d/fd/%d", r->rdi);
  case 'o': return link_below (pid, "/proc/%d/fd/%d", r->rdx);
  case 'i': return ((unsigned) r->rsi == FICLONE || (unsigned) r->rsi == FICLONERANGE) &&
                   link_below (pid, "/proc/%d/fd/%d", r->rdi);
  case 'p': return path_below (pid, AT_FDCWD, r->rdi);
  case 'P': return path_below (pid, AT_FDCWD, r->rsi);
  case 'c': return ((int) r->rsi & create) != 0 && path_below (pid, AT_FDCWD, r->rdi);
  case 'a': return path_below (pid, (int) r->rdi, r->rsi);
  case 'A': return path_below (pid, (int) r->rdx, r->r10);
  case 'S': return path_below (pid, (int) r->rsi, r->rdx);
  case 'C': return ((int) r->rdx & create) != 0 && path_below (pid, (int) r->rdi, r->rsi);
  default: return 0;
  }
}

static int
error_of (const char *what)
{
  static const struct { const char *name; int e; } names[] = {
    { "EIO", EIO }, { "ENOSPC", ENOSPC }, { "EACCES", EACCES }, { "EROFS", EROFS } };
  for (size_t i = 0; i < sizeof names / sizeof *names; i++)
    if (strcmp (what, names[i].name) == 0)
      return names[i].e;
  return 0;
}

static int hold_fds[2] = { -1, -1 };

static void
hold (void)
{
  char c = 'h';
  if (write (hold_fds[0], &c, 1) == 1)
    while (read (hold_fds[1], &c, 1) < 0 && errno == EINTR)
      ;
}

/* The N-th call. */
static void
strike (pid_t first, pid_t pid, const char *what, struct user_regs_struct *r)
{
  if (hold_fds[0] >= 0)
    hold ();
  else if (error_of (what) != 0) {
    r->orig_rax = (unsigned long long) -1; /* no call is made, and this is its result */
    r->rax = (unsigned long long) -error_of (what);
    ptrace (PTRACE_SETREGS, pid, NULL, r);
  } else if (strcmp (what, "kill") == 0) {
    kill (-first, SIGKILL); /* its process group */
    kill (pid, SIGKILL);
  }
}

static int
follow (pid_t first, long n, const char *what)
{
  const int all = strcmp (what, "calls") == 0;
  long seen = 0, stops = 0;
  int st, result = 0, killed = 0;
  pid_t pid;
  while ((pid = waitpid (-1, &st, __WALL)) > 0) {
    if (WIFEXITED (st) || WIFSIGNALED (st)) {
      if (pid == first)
        result = WIFEXITED (st) ? WEXITSTATUS (st) : 128 + WTERMSIG (st);
      continue;
    }
    int sig = WSTOPSIG (st);
    if (st >> 8 == (SIGTRAP | PTRACE_EVENT_SECCOMP << 8)) {
      struct user_regs_struct r;
      if (ptrace (PTRACE_GETREGS, pid, NULL, &r) == 0 && !killed && counts (pid, &r) && ++seen == n) {
        killed = strcmp (what, "kill") == 0;
        if (getenv ("FAULT_VERBOSE") != NULL)
          fprintf (stderr, "fault: %s at call %ld, number %lld\n", what, n, (long long) r.orig_rax);
        strike (first, pid, what, &r);
      }
      sig = 0;
    } else if (sig == (SIGTRAP | 0x80)) {
      stops++; /* before a call, or after it */
      sig = 0;
    } else if (st >> 16 != 0 || sig == SIGTRAP || sig == SIGSTOP)
      sig = 0; /* other events, and the stop at birth */
    ptrace (all ? PTRACE_SYSCALL : PTRACE_CONT, pid, NULL, (long) sig);
  }
  if (all || strcmp (what, "count") == 0)
    printf ("%ld\n", all ? stops / 2 : seen);
  return killed ? KILLED : n > seen ? NOT_REACHED : result;
}

int
main (int argc, char **argv)
{
  const long options = PTRACE_O_TRACESECCOMP | PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK |
                       PTRACE_O_TRACECLONE | PTRACE_O_TRACEEXEC | PTRACE_O_EXITKILL |
                       PTRACE_O_TRACESYSGOOD;
  int st;
  if (argc < 5)
    return 2;
  folder = argv[1];
  if (sscanf (argv[3], "hold:%d:%d", &hold_fds[0], &hold_fds[1]) == 2)
    for (int i = 0; i < 2; i++)
      fcntl (hold_fds[i], F_SETFD, FD_CLOEXEC);
  pid_t pid = fork ();
  if (pid == 0) {
    setpgid (0, 0);
    if (ptrace (PTRACE_TRACEME, 0, NULL, NULL) != 0)
      _exit (SKIP);
    raise (SIGSTOP);
    if (!install_filter ())
      _exit (SKIP);
    execvp (argv[4], argv + 4);
    _exit (127);
  }
  if (pid < 0 || waitpid (pid, &st, 0) != pid || !WIFSTOPPED (st) ||
      ptrace (PTRACE_SETOPTIONS, pid, NULL, options) != 0) {
    puts ("SKIP: ptrace does not work here");
    return SKIP;
  }
  ptrace (PTRACE_CONT, pid, NULL, NULL);
  return follow (pid, atol (argv[2]), argv[3]);
}
#endif
