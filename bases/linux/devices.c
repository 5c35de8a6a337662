/* Modules and block devices. SPDX-License-Identifier: BSD-3-Clause */
#define _GNU_SOURCE
#include "init.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/netlink.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { DISK_SECONDS = 30 };

void
modules_load (const char *list)
{
  char path[256];
  FILE *f = fopen (list, "re");
  if (f == NULL)
    return;
  while (fgets (path, sizeof path, f) != NULL) {
    path[strcspn (path, "\n")] = '\0';
    int fd = open (path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || (syscall (SYS_finit_module, fd, "", 0) != 0 && errno != EEXIST && errno != ENODEV))
      say ("init: module %s: %s", path, strerror (errno));
    if (fd >= 0)
      close (fd);
  }
  fclose (f);
}

static time_t
now (void)
{
  struct timespec t;
  clock_gettime (CLOCK_MONOTONIC, &t);
  return t.tv_sec;
}

int
wait_for_device (char *cmdline, char *part, size_t n, int (*found) (char *, char *, size_t))
{
  struct sockaddr_nl a = { .nl_family = AF_NETLINK, .nl_groups = 1 };
  int s = socket (AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC, NETLINK_KOBJECT_UEVENT), ok;
  time_t end = now () + DISK_SECONDS;
  char buf[4096];
  if (s >= 0)
    bind (s, (struct sockaddr *) &a, sizeof a);
  /* looking comes after listening, so that nothing falls between */
  while (!(ok = found (cmdline, part, n)) && now () < end) {
    struct pollfd p = { s, POLLIN, 0 };
    if (poll (&p, 1, 1000) > 0)
      (void) !recv (s, buf, sizeof buf, 0);
  }
  if (s >= 0)
    close (s);
  return ok;
}
