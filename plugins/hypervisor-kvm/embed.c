/* libvirt's driver inside this process, where there is no libvirtd.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * qemu:///embed?root=DIR: DIR belongs to one process at a time, and nobody looks after a
 * machine whose process has ended; so machines run attached only. */
#include "kvm.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

/* What libvirt puts behind DIR for the longest of its sockets, with names as ours. */
#define SOCKET_TAIL "/lib/qemu/domain-999-capstan-12345678/monitor.sock"

/* Without virtlogd. As root QEMU stays root: the user that the package makes for it may not
 * enter DIR. */
static const char conf[] = "stdio_handler = \"file\"\n";
static const char root_conf[] = "user = \"+0\"\ngroup = \"+0\"\nsecurity_driver = \"none\"\n"
                                "dynamic_ownership = 0\nremember_owner = 0\n"
                                "namespaces = []\ncgroup_controllers = []\n";

/* A configuration that is there is the user's own. */
static int
write_conf (struct capstan_call *call, const char *dir)
{
  char path[4200];
  snprintf (path, sizeof path, "%s/etc", dir);
  if ((mkdir (dir, 0700) != 0 && errno != EEXIST) || (mkdir (path, 0700) != 0 && errno != EEXIST))
    return capstan_error (call, CAPSTAN_E_IO, errno, "make %s", path);
  snprintf (path, sizeof path, "%s/etc/qemu.conf", dir);
  int fd = open (path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600), bad = 0;
  if (fd < 0)
    return errno == EEXIST ? 0 : capstan_error (call, CAPSTAN_E_IO, errno, "write %s", path);
  bad = write (fd, conf, sizeof conf - 1) < 0 ||
        (geteuid () == 0 && write (fd, root_conf, sizeof root_conf - 1) < 0);
  close (fd);
  if (!bad)
    return 0;
  bad = errno;
  unlink (path);
  return capstan_error (call, CAPSTAN_E_IO, bad, "write %s", path);
}

/* DIR of the URI, or the plugin's own; k->uri then names it. */
static int
choose_dir (struct capstan_call *call, struct kvm *k, char *dir, size_t n)
{
  const char *root = strstr (k->uri, "?root=");
  if (root != NULL) {
    if (root[6] != '/' || strlen (root + 6) >= n || strpbrk (root + 6, "&%#") != NULL)
      return capstan_error (call, CAPSTAN_E_INVAL, 0, "connection %s: expected "
                            "qemu:///embed?root=/AN/ABSOLUTE/FOLDER", k->uri);
    strcpy (dir, root + 6);
  } else {
    const char *run = capstan_host_->dir (call, "run");
    if (run == NULL)
      return -CAPSTAN_E_IO;
    snprintf (dir, n, "%s/e", run);
    char *uri = malloc (strlen (dir) + 32);
    if (uri == NULL)
      return capstan_error (call, CAPSTAN_E_NOMEM, 0, "out of memory");
    sprintf (uri, "qemu:///embed?root=%s", dir);
    free (k->uri);
    k->uri = uri;
  }
  if (strlen (dir) + sizeof SOCKET_TAIL > sizeof ((struct sockaddr_un *) 0)->sun_path)
    return capstan_error (call, CAPSTAN_E_LIMIT, 0, "%s: its name is too long for the sockets in it", dir);
  return 0;
}

int
embed_open (struct capstan_call *call, struct kvm *k)
{
  char dir[4096];
  int rc = choose_dir (call, k, dir, sizeof dir);
  if (rc != 0 || (rc = write_conf (call, dir)) != 0 || (rc = events_start (call)) != 0)
    return rc;
  k->conn = virConnectOpen (k->uri);
  if (k->conn != NULL)
    return 0;
  virErrorPtr e = virGetLastError ();
  const char *why = e != NULL ? e->message : "libvirt gave no reason";
  if (strstr (why, "pid file") != NULL)
    return capstan_error (call, CAPSTAN_E_BUSY, 0, "%s is in use by another capstan: without libvirtd "
                          "there is one at a time (%s)", dir, why);
  return capstan_error (call, CAPSTAN_E_UNSUPPORTED, 0, "libvirt's driver cannot be used in this process "
                        "(%s): %s", k->uri, why);
}
