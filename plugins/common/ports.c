/* SPDX-License-Identifier: BSD-3-Clause */
#define _GNU_SOURCE
#include "ports.h"
#include "capstan/plugin.h"
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static int
port (const char *s, uint16_t *ret)
{
  char *end;
  unsigned long n = strtoul (s, &end, 10);
  if (*s < '0' || *s > '9' || *end != '\0' || n == 0 || n > 65535)
    return -1;
  *ret = (uint16_t) n;
  return 0;
}

int
forward_parse (const char *text, struct forward *ret)
{
  char buf[64], *rest = buf, *part[4];
  struct in_addr a;
  if (strlen (text) >= sizeof buf)
    return -1;
  strcpy (buf, text);
  for (int i = 0; i < 4; i++)
    if ((part[i] = strsep (&rest, ":")) == NULL)
      return -1;
  ret->udp = strcmp (part[0], "udp") == 0;
  if (rest != NULL || (!ret->udp && strcmp (part[0], "tcp") != 0) ||
      inet_pton (AF_INET, part[1], &a) != 1 || port (part[2], &ret->host) != 0 ||
      port (part[3], &ret->guest) != 0)
    return -1;
  strcpy (ret->address, part[1]); /* inet_pton takes no longer ones */
  return 0;
}

/* 0 or errno. */
static int
try_to_bind (const struct forward *f)
{
  struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons (f->host) };
  int one = 1, e = 0;
  inet_pton (AF_INET, f->address, &a.sin_addr);
  int s = socket (AF_INET, (f->udp ? SOCK_DGRAM : SOCK_STREAM) | SOCK_CLOEXEC, 0);
  if (s < 0)
    return errno;
  if (!f->udp) /* as hypervisors do: connections of yesterday are not in the way */
    setsockopt (s, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  if (bind (s, (struct sockaddr *) &a, sizeof a) != 0 || (!f->udp && listen (s, 1) != 0))
    e = errno;
  close (s);
  return e;
}

/* The inode of the socket that is bound there, from one of /proc/net/tcp and its like; 0:
 * none. An address of its own and the one that means all get in each other's way. */
static unsigned long
bound_inode (const char *table, const struct forward *f)
{
  char line[512], address[40];
  unsigned p, state;
  unsigned long inode, found = 0;
  struct in_addr a;
  FILE *t = fopen (table, "re");
  inet_pton (AF_INET, f->address, &a);
  while (found == 0 && t != NULL && fgets (line, sizeof line, t) != NULL) {
    /* sl: local remote st tx:rx tr:when retrnsmt uid timeout inode */
    if (sscanf (line, " %*d: %39[0-9A-F]:%x %*s %x %*s %*s %*s %*s %*s %lu", address, &p, &state,
                &inode) != 4 || p != f->host || (!f->udp && state != 10 /* listening */))
      continue;
    size_t n = strlen (address); /* an IPv4 address, or IPv6, which may hold one at its end */
    unsigned long low = strtoul (n >= 8 ? address + n - 8 : address, NULL, 16);
    if (low == 0 || a.s_addr == 0 || low == a.s_addr)
      found = inode;
  }
  if (t != NULL)
    fclose (t);
  return found;
}

static int
has_socket (const char *pid, const char *link)
{
  char dir[64], name[64];
  int found = 0;
  snprintf (dir, sizeof dir, "/proc/%.20s/fd", pid);
  DIR *d = opendir (dir);
  for (struct dirent *e; !found && d != NULL && (e = readdir (d)) != NULL;) {
    ssize_t n = readlinkat (dirfd (d), e->d_name, name, sizeof name - 1);
    name[n > 0 ? n : 0] = '\0';
    found = strcmp (name, link) == 0;
  }
  if (d != NULL)
    closedir (d);
  return found;
}

/* "lighttpd (pid 7)" and 7: whose socket it is, where this user may see that; otherwise 0. */
static pid_t
holder (unsigned long inode, char *who, size_t n)
{
  char link[64], path[64], name[64] = "";
  DIR *d = inode != 0 ? opendir ("/proc") : NULL;
  pid_t found = 0;
  snprintf (link, sizeof link, "socket:[%lu]", inode);
  for (struct dirent *e; !found && d != NULL && (e = readdir (d)) != NULL;) {
    if (e->d_name[0] < '1' || e->d_name[0] > '9' || !has_socket (e->d_name, link))
      continue;
    snprintf (path, sizeof path, "/proc/%.20s/comm", e->d_name);
    FILE *f = fopen (path, "re");
    if (f != NULL && fgets (name, sizeof name, f) != NULL)
      name[strcspn (name, "\n")] = '\0';
    if (f != NULL)
      fclose (f);
    snprintf (who, n, "%s (pid %.20s)", *name != '\0' ? name : "a process", e->d_name);
    found = (pid_t) strtol (e->d_name, NULL, 10);
  }
  if (d != NULL)
    closedir (d);
  return found;
}

static int
port_check (const struct forward *f, char *why, size_t n, pid_t *ret_holder)
{
  static const char *const tables[2][2] = { { "/proc/net/tcp", "/proc/net/tcp6" },
                                            { "/proc/net/udp", "/proc/net/udp6" } };
  const char *proto = f->udp ? "udp" : "tcp";
  char who[128];
  int e = try_to_bind (f);
  if (e == 0)
    return 0;
  if (e == EADDRINUSE)
    for (int i = 0; i < 2; i++)
      if ((*ret_holder = holder (bound_inode (tables[f->udp][i], f), who, sizeof who)) != 0) {
        snprintf (why, n, "port %u on %s (%s) is in use by %s; choose another with -f",
                  f->host, f->address, proto, who);
        return -CAPSTAN_E_BUSY;
      }
  snprintf (why, n, "port %u on %s (%s) cannot be forwarded: %s; choose another with -f%s",
            f->host, f->address, proto, strerror (e),
            e == EADDRINUSE ? ", or ask as root who has it: ss -lnp" : "");
  return e == EADDRINUSE ? -CAPSTAN_E_BUSY : -CAPSTAN_E_PERM;
}

static int
same_port (const struct forward *a, const struct forward *b)
{
  static const char all[] = "0.0.0.0";
  return a->udp == b->udp && a->host == b->host &&
         (strcmp (a->address, b->address) == 0 || strcmp (a->address, all) == 0 ||
          strcmp (b->address, all) == 0);
}

int
forwards_check (const char *const *forwards, char *why, size_t n, pid_t *ret_holder)
{
  *ret_holder = 0;
  struct forward a, b;
  for (size_t i = 0; forwards != NULL && forwards[i] != NULL; i++) {
    if (forward_parse (forwards[i], &a) != 0) {
      snprintf (why, n, "forward %s: expected tcp:ADDRESS:PORT:PORT, or udp", forwards[i]);
      return -CAPSTAN_E_INVAL;
    }
    for (size_t k = 0; k < i; k++)
      if (forward_parse (forwards[k], &b) == 0 && same_port (&a, &b)) {
        snprintf (why, n, "port %u on %s is forwarded twice", a.host, a.address);
        return -CAPSTAN_E_INVAL;
      }
    int rc = port_check (&a, why, n, ret_holder);
    if (rc != 0)
      return rc;
  }
  return 0;
}
