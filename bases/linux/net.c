/* Loopback, static addresses, DHCP by busybox. Runs in the initramfs, before the
 * application's root takes its place. SPDX-License-Identifier: BSD-3-Clause */
#define _GNU_SOURCE
#include "init.h"
#include "cmdline.h"
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <net/route.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { ANSWER_FD = 9, DHCP_MS = 11000 /* five questions, two seconds each */ };
static int sock;

static int
link_up (const char *name)
{
  struct ifreq r = { 0 };
  snprintf (r.ifr_name, sizeof r.ifr_name, "%s", name);
  if (ioctl (sock, SIOCGIFFLAGS, &r) != 0)
    return -1;
  r.ifr_flags |= IFF_UP | IFF_RUNNING;
  return ioctl (sock, SIOCSIFFLAGS, &r);
}

static int
set_address (const char *name, unsigned long what, const char *text)
{
  struct ifreq r = { 0 };
  struct sockaddr_in a = { .sin_family = AF_INET };
  if (inet_pton (AF_INET, text, &a.sin_addr) != 1) {
    errno = EINVAL;
    return -1;
  }
  snprintf (r.ifr_name, sizeof r.ifr_name, "%s", name);
  memcpy (&r.ifr_addr, &a, sizeof a);
  return ioctl (sock, what, &r);
}

/* "eth0,address,mask" */
static void
static_ip (char *spec)
{
  char *name = strtok (spec, ","), *addr = strtok (NULL, ","), *mask = strtok (NULL, ",");
  if (mask == NULL || set_address (name, SIOCSIFADDR, addr) != 0 ||
      set_address (name, SIOCSIFNETMASK, mask) != 0 || link_up (name) != 0)
    say ("init: --ip=%s: expected INTERFACE,ADDRESS,MASK (%s)", spec, strerror (errno));
}

static void
default_gateway (const char *text)
{
  struct rtentry r = { .rt_flags = RTF_UP | RTF_GATEWAY };
  struct sockaddr_in a = { .sin_family = AF_INET };
  memcpy (&r.rt_dst, &a, sizeof a);
  memcpy (&r.rt_genmask, &a, sizeof a);
  if (inet_pton (AF_INET, text, &a.sin_addr) != 1)
    errno = EINVAL;
  memcpy (&r.rt_gateway, &a, sizeof a);
  if (a.sin_addr.s_addr == 0 || ioctl (sock, SIOCADDRT, &r) != 0)
    say ("init: --defaultgw=%s: %s", text, strerror (errno));
}

/* The parent of a DHCP client, until that ends. It is made with no signal for its end, so
 * that it is no child that process 1 waits for: when it looks whether anything of the
 * application still runs, this is not counted. */
static void __attribute__ ((noreturn))
keep_lease (const char *name, int answer)
{
  pid_t p = fork ();
  if (p == 0) {
    sigset_t none;
    sigemptyset (&none);
    sigprocmask (SIG_SETMASK, &none, NULL);
    freopen ("/dev/null", "r", stdin);
    freopen ("/dev/null", "w", stdout);
    freopen ("/dev/null", "w", stderr);
    dup2 (answer, ANSWER_FD); /* dhcp.sh writes there when there is an address */
    fcntl (ANSWER_FD, F_SETFD, 0); /* it may have been that number already */
    execl ("/bin/busybox", "udhcpc", "-i", name, "-f", "-t", "5", "-T", "2", "-s",
           "/dhcp.sh", (char *) NULL);
    _exit (127);
  }
  close (answer);
  while (p > 0 && waitpid (p, NULL, 0) < 0 && errno == EINTR)
    ;
  _exit (0);
}

/* Asks for an address; the client goes on for as long as the machine runs, to renew the lease
 * or to hear a server that comes late. It stays in the initramfs, where busybox and the
 * script are. */
static int
dhcp (const char *name)
{
  int fd[2];
  char c;
  if (pipe2 (fd, O_CLOEXEC) != 0)
    return 0;
  long p = syscall (SYS_clone, 0UL, NULL, NULL, NULL, NULL);
  if (p == 0) {
    close (fd[0]);
    keep_lease (name, fd[1]);
  }
  close (fd[1]);
  struct pollfd f = { fd[0], POLLIN, 0 };
  ssize_t n = p > 0 && poll (&f, 1, DHCP_MS) == 1 ? read (fd[0], &c, 1) : 0;
  close (fd[0]);
  return n == 1;
}

void
network_up (struct options *o)
{
  sock = socket (AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  sethostname ("capstan", 7);
  link_up ("lo");
  for (size_t i = 0; i < o->n_ip; i++)
    static_ip (o->ip[i]);
  DIR *d = o->n_ip == 0 ? opendir ("/sys/class/net") : NULL;
  for (struct dirent *e; d != NULL && (e = readdir (d)) != NULL;)
    if (e->d_name[0] != '.' && strcmp (e->d_name, "lo") != 0 && link_up (e->d_name) == 0 &&
        !dhcp (e->d_name))
      say ("init: warning: %s: no answer from a DHCP server", e->d_name);
  if (d != NULL)
    closedir (d);
  if (o->gateway != NULL)
    default_gateway (o->gateway);
  if (o->nameserver != NULL) {
    FILE *f = fopen ("/etc/resolv.conf", "we");
    if (f != NULL) {
      fprintf (f, "nameserver %s\n", o->nameserver);
      fclose (f);
    }
  }
  close (sock);
}
