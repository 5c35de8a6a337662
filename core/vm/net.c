/* Ports and addresses of an instance. SPDX-License-Identifier: BSD-3-Clause */
#include "config.h"
#include "core/vm/vm.h"
#include "core/base/error.h"
#include "core/base/util.h"
#include <arpa/inet.h>
#include <string.h>
#include <sys/socket.h>

#define AUTO "auto"

char *
cs_forward_parse (const char *text, GError **err)
{
  g_autofree char *t = g_strdup (text);
  char *slash = strchr (t, '/');
  const char *proto = slash != NULL ? slash + 1 : "tcp";
  if (slash != NULL)
    *slash = '\0';
  g_auto (GStrv) p = g_strsplit (t, ":", 0);
  guint n = g_strv_length (p);
  struct in_addr a;
  gboolean ok = (n == 2 || n == 3) && (strcmp (proto, "tcp") == 0 || strcmp (proto, "udp") == 0) &&
                (n == 2 || inet_pton (AF_INET, p[0], &a) == 1);
  for (guint i = n - 2; ok && i < n; i++) {
    char *end;
    guint64 port = g_ascii_strtoull (p[i], &end, 10);
    ok = (g_ascii_isdigit (*p[i]) && *end == '\0' && port > 0 && port < 65536) ||
         (i == n - 2 && strcmp (p[i], AUTO) == 0);
  }
  if (!ok)
    return cs_fail_null (
        err, CS_E_USAGE,
        "forward '%s': expected [ADDRESS:]HOSTPORT:GUESTPORT[/udp], like 8080:80 or, for "
        "any free port, auto:80",
        text);
  return g_strdup_printf ("%s:%s:%s:%s", proto, n == 3 ? p[0] : "127.0.0.1", p[n - 2], p[n - 1]);
}

/* A socket on a port that the kernel chose, so that it is given to nobody else meanwhile. */
static int
free_port (gboolean udp, const char *address, guint *ret_port, GError **err)
{
  struct sockaddr_in a = { .sin_family = AF_INET };
  socklen_t n = sizeof a;
  cs_autofd int s = socket (AF_INET, (udp ? SOCK_DGRAM : SOCK_STREAM) | SOCK_CLOEXEC, 0);
  inet_pton (AF_INET, address, &a.sin_addr);
  if (s < 0 || bind (s, (struct sockaddr *) &a, sizeof a) != 0 ||
      getsockname (s, (struct sockaddr *) &a, &n) != 0) {
    cs_fail_errno (err, "find a free port on %s", address);
    return -1;
  }
  *ret_port = ntohs (a.sin_port);
  return cs_steal_fd (&s);
}

gboolean
cs_forwards_pick (char **forwards, GError **err)
{
  g_autoptr (GArray) held = g_array_new (FALSE, FALSE, sizeof (int));
  gboolean ok = TRUE;
  for (; *forwards != NULL && ok; forwards++) {
    g_auto (GStrv) p = g_strsplit (*forwards, ":", 4); /* as cs_forward_parse made it */
    guint port;
    if (strcmp (p[2], AUTO) != 0)
      continue;
    int s = free_port (strcmp (p[0], "udp") == 0, p[1], &port, err);
    ok = s >= 0;
    if (!ok)
      break;
    g_array_append_val (held, s);
    g_free (*forwards);
    *forwards = g_strdup_printf ("%s:%s:%u:%s", p[0], p[1], port, p[3]);
  }
  for (guint k = 0; k < held->len; k++)
    close (g_array_index (held, int, k));
  return ok;
}

char *
cs_mac_of_name (const char *suffix, const char *name)
{
  g_autofree char *machine = cs_read_file ("/etc/machine-id", 256, NULL, NULL);
  g_autofree char *text =
      g_strjoin ("\n", machine != NULL ? g_strchomp (machine) : "", cs_root (), suffix, name, NULL);
  g_autofree char *h = g_compute_checksum_for_string (G_CHECKSUM_SHA256, text, -1);
  /* of those that nobody sells */
  return g_strdup_printf ("02:%.2s:%.2s:%.2s:%.2s:%.2s", h, h + 2, h + 4, h + 6, h + 8);
}

gboolean
cs_net_check (const struct cs_run_opts *o, GError **err)
{
  const struct {
    const char *option;
    gboolean given;
  } needs[] = { { "-f and --publish", o->forwards != NULL && *o->forwards != NULL },
               { "-b", o->bridge != NULL },
               { "--mac", o->mac != NULL } };
  for (guint k = 0; k < G_N_ELEMENTS (needs); k++)
    if (needs[k].given && strcmp (o->net, "none") == 0)
      return cs_fail (err, CS_E_USAGE, "%s: with -n none there is no network card",
                      needs[k].option);
  return TRUE;
}
