/* Loopback, static addresses, DHCP by busybox. Runs in the initramfs, before the
 * application's root takes its place. SPDX-License-Identifier: BSD-3-Clause */
#define _GNU_SOURCE
#include "init.h"
#include "cmdline.h"
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <net/if.h>
#include <net/route.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

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

static int
dhcp (const char *name)
{
  int st;
  pid_t p = fork ();
  if (p == 0) {
    freopen ("/dev/null", "w", stdout);
    freopen ("/dev/null", "w", stderr);
    execl ("/bin/busybox", "udhcpc", "-i", name, "-n", "-q", "-f", "-t", "5", "-T", "2", "-s",
           "/dhcp.sh", (char *) NULL);
    _exit (127);
  }
  while (waitpid (p, &st, 0) < 0 && errno == EINTR)
    ;
  return WIFEXITED (st) && WEXITSTATUS (st) == 0;
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
