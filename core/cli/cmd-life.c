/* start, stop, restart, kill, pause, resume, delete, wait, rename. SPDX-License-Identifier: BSD-3-Clause */
#include "config.h"
#include "core/base/error.h"
#include "core/base/util.h"
#include "core/cli/cmd.h"
#include "core/vm/runs.h"
#include "core/vm/vm.h"
#include <fcntl.h>

/* Instance and plugin of the argument with that number. */
static struct cs_instance *
open_arg (struct cs_cli *cli, guint k, struct cs_hv **ret_hv, GError **err)
{
  g_autoptr (cs_instance) i = cs_instance_find (cs_cli_arg (cli, k), NULL, err);
  if (i == NULL || (*ret_hv = cs_instance_hv (i, err)) == NULL)
    return NULL;
  return g_steal_pointer (&i);
}

typedef gboolean act_fn (struct cs_cli *cli, struct cs_instance *i, struct cs_hv *hv, GError **err);

/* The same with each instance that is named; done: "stopped". */
static gboolean
each (struct cs_cli *cli, act_fn *act, const char *done, GError **err)
{
  for (guint k = 0; k < cli->args->len; k++) {
    g_autoptr (cs_hv) hv = NULL;
    g_autoptr (cs_instance) i = open_arg (cli, k, &hv, err);
    if (i == NULL || !act (cli, i, hv, err))
      return FALSE;
    cs_info ("%s %s", done, i->name);
  }
  return TRUE;
}

#define TIME_OPT                                                                          \
  { .short_name = 't', .name = "time", .type = CS_OPT_UINT, .arg = "SECONDS", .def = "15", \
    .help = "how long it may take before it is powered off" }
#define MANY(n) .name = n, .args = "INSTANCE...", .min_args = 1, .max_args = -1, .comp = CS_COMP_INSTANCE

/* ---- start ---- */

static gboolean
start_one (struct cs_cli *cli, struct cs_instance *i, struct cs_hv *hv, GError **err)
{
  return cs_instance_start (i, hv, err);
}

static gboolean
run_start (struct cs_cli *cli, GError **err)
{
  if (!cs_cli_flag (cli, "attach"))
    return each (cli, start_one, "started", err);
  if (cli->args->len > 1)
    return cs_fail (err, CS_E_USAGE, "--attach: one instance at a time");
  g_autoptr (cs_hv) hv = NULL;
  g_autoptr (cs_instance) i = open_arg (cli, 0, &hv, err);
  struct cs_outcome o;
  gboolean ended, ran = FALSE;
  if (i == NULL || !cs_attach_run (i, hv, cs_cli_flag (cli, "no-tty"), &ran, &ended, &o, err))
    return FALSE;
  if (ended)
    cli->exit_status = o.status;
  return !ended || !i->remove || cs_instance_delete (i, hv, TRUE, err);
}
static const struct cs_opt start_opts[] = {
  { .short_name = 'a', .name = "attach", .type = CS_OPT_FLAG,
    .help = "with the terminal as console, and the application's exit status" },
  { .name = "no-tty", .type = CS_OPT_FLAG, .help = "do not touch the terminal; Ctrl-C stops" },
  { .name = NULL } };
const struct cs_cmd cs_cmd_start = { MANY ("start"), .summary = "Start instances that have ended",
  .opts = start_opts, .run = run_start,
  .text = "Starts instances again, in the background, with the disk they have left behind and all they "
          "were made with.",
  .examples = "capstan start web\ncapstan start -a hello" };

/* ---- stop, restart, kill ---- */

static gboolean
stop_one (struct cs_cli *cli, struct cs_instance *i, struct cs_hv *hv, GError **err)
{
  return cs_instance_stop (i, hv, (guint) cs_cli_num (cli, "time"), err);
}

static gboolean
run_stop (struct cs_cli *cli, GError **err)
{
  return each (cli, stop_one, "stopped", err);
}
static const struct cs_opt stop_opts[] = { TIME_OPT, { .name = NULL } };
const struct cs_cmd cs_cmd_stop = { MANY ("stop"), .opts = stop_opts, .summary = "Stop instances",
  .run = run_stop, .text = "Asks the application to end, and powers the machine off if it does not. "
  "An OSv guest cannot be asked. What --restart said does not hold until the instance is started again." };

static gboolean
restart_one (struct cs_cli *cli, struct cs_instance *i, struct cs_hv *hv, GError **err)
{
  return cs_instance_restart (i, hv, (guint) cs_cli_num (cli, "time"), err);
}

static gboolean
run_restart (struct cs_cli *cli, GError **err)
{
  return each (cli, restart_one, "restarted", err);
}
const struct cs_cmd cs_cmd_restart = { MANY ("restart"), .opts = stop_opts, .summary = "Stop instances and start them again",
  .run = run_restart, .text = "Stops instances as capstan stop does, if they run, and starts them in the background." };

static gboolean
kill_one (struct cs_cli *cli, struct cs_instance *i, struct cs_hv *hv, GError **err)
{
  return cs_instance_kill (i, hv, err);
}

static gboolean
run_kill (struct cs_cli *cli, GError **err)
{
  return each (cli, kill_one, "powered off", err);
}
const struct cs_cmd cs_cmd_kill = { MANY ("kill"), .summary = "Power instances off",
  .run = run_kill, .text = "Powers machines off at once: the application is not asked, and what it has not "
  "written yet is lost." };

/* ---- pause, resume ---- */

static gboolean
pause_one (struct cs_cli *cli, struct cs_instance *i, struct cs_hv *hv, GError **err)
{
  return cs_instance_pause (i, hv, err);
}

static gboolean
run_pause (struct cs_cli *cli, GError **err)
{
  return each (cli, pause_one, "paused", err);
}
const struct cs_cmd cs_cmd_pause = { MANY ("pause"), .summary = "Hold the processors of instances",
  .run = run_pause, .text = "Holds the processors of running instances; memory and connections stay. capstan resume "
  "lets them go on." };

static gboolean
resume_one (struct cs_cli *cli, struct cs_instance *i, struct cs_hv *hv, GError **err)
{
  return cs_instance_resume (i, hv, err);
}

static gboolean
run_resume (struct cs_cli *cli, GError **err)
{
  return each (cli, resume_one, "resumed", err);
}
const struct cs_cmd cs_cmd_resume = { MANY ("resume"), .summary = "Let instances that are paused go on",
  .run = run_resume, .text = "Lets instances go on that capstan pause holds." };

/* ---- delete ---- */

static gboolean
run_delete (struct cs_cli *cli, GError **err)
{
  for (guint k = 0; k < cli->args->len; k++) {
    g_autoptr (cs_instance) i = cs_instance_find (cs_cli_arg (cli, k), NULL, err);
    if (i == NULL)
      return FALSE;
    g_autoptr (cs_hv) hv = i->hypervisor != NULL ? cs_instance_hv (i, err) : NULL;
    if (i->hypervisor != NULL && hv == NULL)
      return FALSE;
    if (!cs_instance_delete (i, hv, cs_cli_flag (cli, "force"), err)) {
      if (err != NULL && *err != NULL && (*err)->code == CAPSTAN_E_STATE)
        g_prefix_error (err, "instance '%s' runs: capstan stop %s first, or delete -f: ", i->name, i->name);
      return FALSE;
    }
    cs_info ("deleted %s", i->name);
  }
  return TRUE;
}
static const struct cs_opt delete_opts[] = {
  { .short_name = 'f', .name = "force", .type = CS_OPT_FLAG, .help = "also if it is running" },
  { .name = NULL } };
const struct cs_cmd cs_cmd_delete = { MANY ("delete"), .opts = delete_opts,
  .summary = "Delete instances", .run = run_delete,
  .text = "Removes instances: their disks, logs and what the hypervisor knows of them; all that capstan inspect "
          "lists as resources. Volumes stay." };

/* ---- wait ---- */

static gboolean
run_wait (struct cs_cli *cli, GError **err)
{
  g_autoptr (cs_hv) hv = NULL;
  g_autoptr (cs_vm) vm = NULL;
  g_autoptr (cs_instance) i = open_arg (cli, 0, &hv, err);
  if (i == NULL)
    return FALSE;
  /* open before it ends: --rm may leave nothing of the instance */
  g_autofree char *path = cs_instance_path (i, "control.log");
  cs_autofd int control = open (path, O_RDONLY | O_CLOEXEC);
  struct cs_run run;
  struct cs_outcome o;
  int said;
  cs_runs_last (i, &run);
  if (run.count == 0)
    return cs_fail (err, CAPSTAN_E_STATE, "'%s' was never started", i->name);
  if (!cs_hv_wait (hv, &i->ref, CAPSTAN_VM_STOPPED, (guint) MIN (cs_cli_num (cli, "time"), G_MAXINT32 / 1000) * 1000, &vm, err))
    return FALSE;
  cs_outcome_of (i, hv, &vm->info, cs_control_exit_status (control, run.control, &said) ? said : -1, &o);
  if (!o.known && o.failed)
    cs_warn ("%s ended without saying how the application did", i->name);
  cli->exit_status = o.status;
  return TRUE;
}
static const struct cs_opt wait_opts[] = {
  { .short_name = 't', .name = "time", .type = CS_OPT_UINT, .arg = "SECONDS", .def = "0",
    .help = "how long to wait at most; 0: for ever" },
  { .name = NULL } };
const struct cs_cmd cs_cmd_wait = { .name = "wait", .args = "INSTANCE", .opts = wait_opts,
  .min_args = 1, .max_args = 1, .comp = CS_COMP_INSTANCE, .app_status = TRUE,
  .summary = "Wait until an instance ends", .run = run_wait,
  .text = "Waits until the machine ends and returns the application's own exit status, as capstan run does; of one "
          "that has ended already, that of its last run. If it is going to be restarted, the end of this run counts." };

/* ---- rename, monitor ---- */

static gboolean
run_rename (struct cs_cli *cli, GError **err)
{
  g_autoptr (cs_hv) hv = NULL;
  g_autoptr (cs_instance) i = open_arg (cli, 0, &hv, err);
  return i != NULL && cs_instance_rename (i, hv, cs_cli_arg (cli, 1), err);
}
const struct cs_cmd cs_cmd_rename = { .name = "rename", .args = "INSTANCE NAME", .min_args = 2, .max_args = 2,
  .comp = CS_COMP_INSTANCE, .summary = "Give an instance another name", .run = run_rename,
  .text = "Changes the name of an instance, whether it runs or not. What lies on the host keeps the name it was made "
          "with, and the network card its address; capstan inspect shows both." };

static gboolean
run_monitor (struct cs_cli *cli, GError **err)
{
  /* never freed: the thread that notes times reads it until the process is gone */
  struct cs_instance *i = cs_instance_find (cs_cli_arg (cli, 0), NULL, err);
  return i != NULL && cs_monitor_run (i, err);
}
const struct cs_cmd cs_cmd_monitor = { .name = "monitor", .args = "UUID", .summary = "",
  .hidden = TRUE, .min_args = 1, .max_args = 1, .run = run_monitor };
