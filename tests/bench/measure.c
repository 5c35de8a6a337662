/* measure COMMAND [ARGUMENT]... [, COMMAND [ARGUMENT]...]...: runs them one after another,
 * with no shell between, and prints what they took: wall and processor time in
 * microseconds, the largest memory of one of them in KiB, the first status that is not 0.
 * Small itself, since a child's peak begins with what its parent had at the fork.
 * SPDX-License-Identifier: BSD-3-Clause */
#include "config.h"
#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>

extern char **environ;

static double
now (void)
{
  struct timespec t;
  clock_gettime (CLOCK_MONOTONIC, &t);
  return (double) t.tv_sec * 1e6 + (double) t.tv_nsec / 1e3;
}

static double
micro (const struct timeval *t)
{
  return (double) t->tv_sec * 1e6 + (double) t->tv_usec;
}

/* Its status, 127 if it cannot be started; adds to *cpu, raises *peak. */
static int
run (char **argv, posix_spawn_file_actions_t *fa, double *cpu, long *peak)
{
  struct rusage u;
  pid_t pid;
  int st, e = posix_spawnp (&pid, argv[0], fa, NULL, argv, environ);
  if (e != 0) {
    fprintf (stderr, "measure: %s: %s\n", argv[0], strerror (e));
    return 127;
  }
  while (wait4 (pid, &st, 0, &u) < 0)
    if (errno != EINTR)
      return 127;
  *cpu += micro (&u.ru_utime) + micro (&u.ru_stime);
  if (u.ru_maxrss > *peak)
    *peak = u.ru_maxrss;
  return WIFEXITED (st) ? WEXITSTATUS (st) : 128 + WTERMSIG (st);
}

int
main (int argc, char **argv)
{
  posix_spawn_file_actions_t fa;
  double cpu = 0, start;
  long peak = 0;
  int st = 0;
  if (argc < 2) {
    fputs ("usage: measure COMMAND [ARGUMENT]... [, COMMAND [ARGUMENT]...]...\n", stderr);
    return 2;
  }
  posix_spawn_file_actions_init (&fa);
  posix_spawn_file_actions_addopen (&fa, 0, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_addopen (&fa, 1, "/dev/null", O_WRONLY, 0);
  for (int k = 1; k < argc; k++)
    if (strcmp (argv[k], ",") == 0)
      argv[k] = NULL;
  start = now ();
  for (int k = 1; st == 0 && k < argc; k++) {
    if (argv[k] != NULL)
      st = run (argv + k, &fa, &cpu, &peak);
    while (k < argc && argv[k] != NULL)
      k++;
  }
  printf ("%.0f %.0f %ld %d\n", now () - start, cpu, peak, st);
  return 0;
}
