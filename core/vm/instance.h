/* Instances: a VM of an image, with its own overlay, logs and record.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 *   instances/<suffix>/<name>/   the name it was made with: a machine keeps its folder
 *     instance.yaml   the record (below); written whole, renamed. Its `name' holds
 *     image.yaml      what the store said of the image when the instance was made
 *     disk.<format>   overlay over the stored image, or a copy
 *     base            a hard link to that image: what the overlay stands on
 *     kernel, initrd  for a direct boot
 *     cmdline         its own command line, where -e or --env asked for one
 *     auto            there if nobody chose the name: once stopped, a new one may take it
 *     console.log     what the application printed, from the first byte of the first start
 *     control.log     lines of the guest's control channel: "ready", "exit N"
 *     runs, times     when it was started and ended, when it printed (core/vm/runs.h)
 *     attached        flock: held by whoever reads the console
 *     monitor         lock and process id of the supervisor (core/vm/monitor.c)
 *     monitor.log     what it had to complain of
 *     stay            there once somebody wanted it to stop: it is not started again
 * instances/<suffix>/.lock is a flock: held while a name is taken.
 * Sockets lie in the run folder (see cs_instance_run_dir): their paths must stay under
 * 108 bytes. */
#ifndef CS_INSTANCE_H
#define CS_INSTANCE_H
#include "core/plugin/hv.h"
#include <glib.h>

struct cs_instance {
  char *name, *dir;
  char *uuid, *backend_name; /* "capstan-<8 hex of the UUID>" */
  char *hypervisor, *suffix; /* "kvm", "qemu" */
  char *image, *guest, *created; /* created: RFC 3339 */
  char *cmdline;             /* what it boots, NULL: what the image has */
  char *boot;                /* "disk", "direct" */
  char *connect;             /* options given for the hypervisor, e.g. the URI; or NULL */
  guint64 memory; guint cpus;
  gboolean remove;           /* --rm */
  char *restart;             /* "on-failure", "always"; NULL: no */
  char *net, *device, *mac;  /* "nat", "bridge", "none"; of the host, or NULL; NULL for none */
  char **forwards;           /* "tcp:127.0.0.1:8080:80", NULL-terminated; so are the others */
  char **labels;             /* "KEY=VALUE" */
  char **volumes;            /* "/path:format=raw:ro", see core/vm/volume.h */
  char *disk, *disk_format;  /* file name in dir */
  struct cs_vm_ref ref;
};
void cs_instance_free (struct cs_instance *i);
typedef struct cs_instance cs_instance; /* for g_autoptr only */
G_DEFINE_AUTOPTR_CLEANUP_FUNC (cs_instance, cs_instance_free)
gboolean cs_instance_save (const struct cs_instance *i, GError **err);
/* By the user's name, or the UUID; suffix NULL: any hypervisor. */
struct cs_instance *cs_instance_find (const char *name, const char *suffix, GError **err);
/* The same out of a list, which keeps it; NULL if it is not there. */
struct cs_instance *cs_instance_in (const GPtrArray *all, const char *name, const char *suffix);
/* All, of struct cs_instance *; also those the original left (hypervisor NULL). */
GPtrArray *cs_instance_list (GError **err);
char *cs_instance_path (const struct cs_instance *i, const char *file); /* g_free */
/* $XDG_RUNTIME_DIR/capstan/<8 hex> or a private folder in /tmp; made 0700; g_free. */
char *cs_instance_run_dir (const struct cs_instance *i, GError **err);
char *cs_instance_run_path (const struct cs_instance *i); /* not made; g_free */
/* Reads control.log: TRUE and *ret_status if the guest reported `exit N` in its last run. */
gboolean cs_instance_exit_status (const struct cs_instance *i, int *ret_status);
/* The same from a descriptor of that file, which may be removed by now: from that byte on. */
gboolean cs_control_exit_status (int fd, guint64 from, int *ret_status);
/* The name of an instance that stands on the image, or NULL; g_free. */
char *cs_instance_using (const char *image);
/* How much is in control.log now, and whether the line came after that much of it. */
guint64 cs_instance_control_size (const struct cs_instance *i);
gboolean cs_instance_said (const struct cs_instance *i, guint64 from, const char *line);
#endif
