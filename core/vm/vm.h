/* Creating, attaching to and ending instances. SPDX-License-Identifier: BSD-3-Clause */
#ifndef CS_VM_H
#define CS_VM_H
#include "core/store/store.h"
#include "core/vm/instance.h"

struct cs_run_opts {
  const char *image, *name; /* name NULL: from the image */
  const char *cmd;          /* application command line, or NULL */
  const char *const *env, *const *forwards, *const *params;
  const char *net, *bridge, *mac, *connect, *accel, *boot;
  guint64 memory;
  guint cpus;
  gboolean remove;
};
/* "[ADDR:]H:G[/udp]" as "tcp:127.0.0.1:H:G"; NULL and a usage error. */
char *cs_forward_parse (const char *text, GError **err);
/* Opens the plugin an instance was made with. */
struct cs_hv *cs_instance_hv (const struct cs_instance *i, GError **err);
/* Folder, overlay, record and the backend's machine; nothing is left after an error. */
struct cs_instance *cs_instance_create (struct cs_hv *hv, const struct cs_run_opts *o, GError **err);
/* force: stops it first. */
gboolean cs_instance_delete (struct cs_instance *i, struct cs_hv *hv, gboolean force, GError **err);
/* Says "stop" on the control channel; heard once is enough. FALSE: nobody there. */
gboolean cs_stop_say (int control);
gboolean cs_instance_stop (struct cs_instance *i, struct cs_hv *hv, guint seconds, GError **err);
/* Terminal and console, until the machine ends (*ret_ended TRUE) or the user detaches.
 * start: the machine is started once the console is open. */
gboolean cs_attach (struct cs_instance *i, struct cs_hv *hv, gboolean start, gboolean no_tty,
                    gboolean *ret_ended, GError **err);
#endif
