/* What a machine needs of this host when it starts, and what libvirt leaves behind.
 * SPDX-License-Identifier: BSD-3-Clause */
#include "kvm.h"
#include "plugins/common/ports.h"
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { FORWARDS_MAX = 64, BACKUPS = 10 };

int
forward_next (const char **netdev, char *text, size_t n)
{
  static const char key[] = ",hostfwd=";
  char *dash;
  const char *s = strstr (*netdev, key);
  if (s == NULL)
    return 0;
  s += sizeof key - 1;
  *netdev = s;
  snprintf (text, n, "%.*s", (int) strcspn (s, ","), s);
  if ((dash = strstr (text, "-:")) != NULL)
    memmove (dash, dash + 1, strlen (dash));
  return 1;
}

/* QEMU would say only that it cannot set up the rule. */
static int
ports_free (struct capstan_call *call, struct kvm *k, const struct xml *x)
{
  char **args, list[FORWARDS_MAX][64];
  const char *forwards[FORWARDS_MAX + 1] = { NULL };
  size_t n = 0, m = xml_texts (x, "//*[local-name()='commandline']/*/@value", &args);
  for (size_t i = 0; i < m; i++)
    if (strncmp (args[i], "user,id=", 8) == 0)
      for (const char *s = args[i]; n < FORWARDS_MAX && forward_next (&s, list[n], sizeof list[n]);
           n++)
        forwards[n] = list[n];
  texts_free (args);
  return ports_check (call, k, forwards);
}

/* The folder of its sockets may have been made anew: /run does not outlive a restart of the
 * host. Where QEMU runs as root, the XML says so. */
static int
give_folder (struct capstan_call *call, struct kvm *k, virDomainPtr d, const struct xml *x)
{
  struct stat st;
  char *root = xml_text (x, "/domain/seclabel[@model='dac'][@type='static']/label");
  char *path = k->system && root == NULL ? serial_socket (d, 0) : NULL, *slash;
  int rc = 0;
  if (path != NULL && (slash = strrchr (path, '/')) != NULL) {
    *slash = '\0';
    if (stat (path, &st) == 0 && st.st_uid != k->qemu_uid &&
        chown (path, k->qemu_uid, k->qemu_gid) != 0)
      rc = capstan_error (call, CAPSTAN_E_PERM, errno, "give %s to libvirt's user", path);
  }
  free (root);
  free (path);
  return rc;
}

int
host_ready (struct capstan_call *call, struct kvm *k, virDomainPtr d)
{
  struct xml x;
  xml_read (&x, virDomainGetXMLDesc (d, VIR_DOMAIN_XML_INACTIVE));
  int rc = give_folder (call, k, d, &x);
  if (rc == 0 && virDomainIsActive (d) == 0) /* otherwise it has them itself */
    rc = ports_free (call, k, &x);
  xml_clear (&x);
  return rc;
}

int
libvirt_log (const struct kvm *k, const char *name, char *path, size_t n)
{
  const char *cache = getenv ("XDG_CACHE_HOME"), *home = getenv ("HOME");
  if (k->system)
    snprintf (path, n, "/var/log/libvirt/qemu/%s.log", name);
  else if (k->embed)
    snprintf (path, n, "%s/log/qemu/%s.log", strchr (k->uri, '=') + 1, name);
  else if (cache != NULL && *cache == '/')
    snprintf (path, n, "%s/libvirt/qemu/log/%s.log", cache, name);
  else
    snprintf (path, n, "%s/.cache/libvirt/qemu/log/%s.log", home != NULL ? home : "", name);
  return access (path, F_OK) == 0;
}

void
libvirt_log_remove (struct capstan_call *call, const struct kvm *k, const char *name)
{
  char path[PATH_MAX], old[PATH_MAX + 16];
  if (!libvirt_log (k, name, path, sizeof path))
    return;
  if (unlink (path) != 0)
    capstan_log (call, CAPSTAN_LOG_WARN, "libvirt's log %s stays: %s", path, strerror (errno));
  for (int i = 0; i < BACKUPS; i++) {
    snprintf (old, sizeof old, "%s.%d", path, i);
    unlink (old);
  }
}
