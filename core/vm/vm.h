/* Creating, attaching to and ending instances. SPDX-License-Identifier: BSD-3-Clause */
#ifndef CS_VM_H
#define CS_VM_H
#include "core/store/store.h"
#include "core/vm/instance.h"

struct cs_run_opts {
  const char *image, *name; /* name NULL: from the image */
  const char *cmd;          /* application command line, or NULL */
  const char *const *env, *const *forwards, *const *params, *const *labels, *const *volumes;
  const char *net, *bridge, *mac, *connect, *accel, *boot;
  const char *restart;      /* "on-failure", "always"; NULL: no */
  guint64 memory;
  guint cpus;
  gboolean remove, keep;    /* keep: also if its name was chosen by nobody */
};
/* Opens the plugin an instance was made with. */
struct cs_hv *cs_instance_hv (const struct cs_instance *i, GError **err);
/* Folder, overlay, record and the backend's machine; nothing is left after an error. */
struct cs_instance *cs_instance_create (struct cs_hv *hv, const struct cs_run_opts *o, GError **err);
/* A name that an instance may get. */
gboolean cs_instance_name_check (const char *name, GError **err);
/* Held while a name is taken, changed or given up; -1 and the error. */
int cs_instance_names_lock (const char *suffix, GError **err);

/* ---- net.c ---- */
/* "[ADDR:]H:G[/udp]" as "tcp:127.0.0.1:H:G"; H may be "auto". NULL and a usage error. */
char *cs_forward_parse (const char *text, GError **err);
/* A free port for each "auto" of such a list. */
gboolean cs_forwards_pick (char **forwards, GError **err);
/* The address of a network card: the same for the same name in the same store; g_free. */
char *cs_mac_of_name (const char *suffix, const char *name);
/* Options that mean nothing in this mode are refused. */
gboolean cs_net_check (const struct cs_run_opts *o, GError **err);

/* ---- life.c ---- */
/* CAPSTAN_VM_*; one whose machine the backend has forgotten is GONE. */
gboolean cs_instance_state (struct cs_instance *i, struct cs_hv *hv, guint *ret, GError **err);
gboolean cs_instance_can_detach (struct cs_hv *hv, GError **err);
/* All that comes before a start; cs_attach or cs_instance_start does that. */
gboolean cs_instance_begin (struct cs_instance *i, struct cs_hv *hv, GError **err);
/* In the background, with a supervisor. */
gboolean cs_instance_start (struct cs_instance *i, struct cs_hv *hv, GError **err);
gboolean cs_instance_stop (struct cs_instance *i, struct cs_hv *hv, guint seconds, GError **err);
gboolean cs_instance_restart (struct cs_instance *i, struct cs_hv *hv, guint seconds, GError **err);
gboolean cs_instance_kill (struct cs_instance *i, struct cs_hv *hv, GError **err);
gboolean cs_instance_pause (struct cs_instance *i, struct cs_hv *hv, GError **err);
gboolean cs_instance_resume (struct cs_instance *i, struct cs_hv *hv, GError **err);
/* force: stops it first. */
gboolean cs_instance_delete (struct cs_instance *i, struct cs_hv *hv, gboolean force, GError **err);
gboolean cs_instance_rename (struct cs_instance *i, struct cs_hv *hv, const char *name, GError **err);
/* Says "stop" on the control channel; heard once is enough. FALSE: nobody there. */
gboolean cs_stop_say (int control);
/* How the last run went. status: what `run' and `wait' return: the application's if it is
 * known, otherwise 0 or, where failed, 125. */
struct cs_outcome { gboolean known, failed; int status; };
void cs_outcome (const struct cs_instance *i, struct cs_hv *hv, const struct capstan_vm_info *end,
                 struct cs_outcome *ret);
/* The same when the instance itself may be gone: said is what the guest told, or -1. */
void cs_outcome_of (const struct cs_instance *i, struct cs_hv *hv, const struct capstan_vm_info *end, int said,
                    struct cs_outcome *ret);

/* ---- commit.c ---- */
gboolean cs_instance_commit (struct cs_instance *i, struct cs_hv *hv, const char *name, const char *description,
                             gboolean force, GError **err);

/* ---- attach.c ---- */
/* Terminal and console, until the machine ends (*ret_end, to be freed) or the user detaches
 * (NULL). start: the machine is started once the console is open. *ret_ran becomes TRUE as soon
 * as the guest may have done something, also where the call fails. */
gboolean cs_attach (struct cs_instance *i, struct cs_hv *hv, gboolean start, gboolean no_tty,
                    gboolean *ret_ran, struct cs_vm **ret_end, GError **err);
/* Starts it and stays attached, over restarts as well; what a detached one needs is started.
 * *ret_ended FALSE: detached. */
gboolean cs_attach_run (struct cs_instance *i, struct cs_hv *hv, gboolean no_tty, gboolean *ret_ran, gboolean *ret_ended,
                        struct cs_outcome *ret, GError **err);

/* ---- monitor.c ---- */
gboolean cs_monitor_start (const struct cs_instance *i, GError **err);
gboolean cs_monitor_run (struct cs_instance *i, GError **err); /* its body */
/* *ret_pid (may be NULL) 0: unknown yet. */
gboolean cs_monitor_is_there (const struct cs_instance *i, pid_t *ret_pid);
/* Its machine has ended, so that it will; it is given a while, and then ended. Not if it is
 * this process. */
void cs_monitor_end (const struct cs_instance *i);
/* An instance that shall stay stopped: --restart does not hold, until the next start. */
void cs_stay (const struct cs_instance *i);
void cs_stay_not (const struct cs_instance *i);
/* Is it to be started again? Waits as long as is decent first. Starts as { 0 }. */
struct cs_backoff { double began; guint ms; };
gboolean cs_again (const struct cs_instance *i, const struct cs_outcome *o, struct cs_backoff *b);
#endif
