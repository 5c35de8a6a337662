/* instances, logs, console. SPDX-License-Identifier: BSD-3-Clause */
#include "config.h"
#include "core/base/cancel.h"
#include "core/base/error.h"
#include "core/base/util.h"
#include "core/cli/cmd.h"
#include "core/vm/runs.h"
#include "core/vm/vm.h"
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <poll.h>
#include <string.h>
#include <sys/inotify.h>

static char *
state_of (struct cs_instance *i)
{
  g_autoptr (GError) e = NULL;
  g_autoptr (cs_vm) vm = NULL;
  g_autoptr (cs_hv) hv = i->hypervisor != NULL ? cs_instance_hv (i, &e) : NULL;
  if (hv == NULL || i->ref.id == NULL || !cs_hv_info (hv, &i->ref, &vm, &e))
    return g_strdup ("unknown");
  /* the machine may be forgotten by the backend: the instance is still there to delete */
  return g_strdup (vm->info.state == CAPSTAN_VM_GONE ? "stopped" : cs_vm_state_name (vm->info.state));
}

/* All labels that are asked for: KEY, or KEY=VALUE. */
static gboolean
has_labels (const struct cs_instance *i, const char *const *wanted)
{
  for (; *wanted != NULL; wanted++) {
    gboolean found = FALSE;
    for (char **l = i->labels; *l != NULL && !found; l++) {
      gsize n = strchr (*wanted, '=') != NULL ? strlen (*l) : strcspn (*l, "=");
      found = strlen (*wanted) == n && strncmp (*l, *wanted, n) == 0;
    }
    if (!found)
      return FALSE;
  }
  return TRUE;
}

static json_t *
to_json (const struct cs_instance *i, const char *hv, const char *state)
{
  int st;
  json_t *o = json_pack ("{ssssss}", "name", i->name, "hypervisor", hv, "state", state);
  cs_json_set (o, "image", i->image);
  cs_json_set (o, "uuid", i->uuid);
  cs_json_set (o, "created", i->created);
  if (cs_instance_exit_status (i, &st))
    json_object_set_new (o, "exit_status", json_integer (st));
  json_object_set_new (o, "ports", cs_json_texts (i->forwards));
  json_object_set_new (o, "labels", cs_json_texts (i->labels));
  return o;
}

static gboolean
run_instances (struct cs_cli *cli, GError **err)
{
  g_autoptr (GPtrArray) all = cs_instance_list (err);
  json_t *a = cs_cli_flag (cli, "json") ? json_array () : NULL;
  if (a == NULL)
    printf ("%-20s %-12s %-9s %-24s %s\n", "Name", "Hypervisor", "State", "Image", "Ports");
  for (guint k = 0; k < all->len; k++) {
    struct cs_instance *i = g_ptr_array_index (all, k);
    const char *hv = i->hypervisor != NULL ? i->hypervisor : i->suffix;
    if (!has_labels (i, cs_cli_list (cli, "label")))
      continue;
    g_autofree char *state = state_of (i), *ports = g_strjoinv (" ", i->forwards);
    if (cs_cli_flag (cli, "running") && strcmp (state, "running") != 0 && strcmp (state, "paused") != 0)
      continue;
    if (a == NULL)
      printf ("%-20s %-12s %-9s %-24s %s\n", i->name, hv, state, i->image != NULL ? i->image : "", ports);
    else
      json_array_append_new (a, to_json (i, hv, state));
  }
  return a == NULL || cs_print_json (a, err);
}
static const struct cs_opt instances_opts[] = {
  { .name = "running", .type = CS_OPT_FLAG, .help = "only those that run or are paused" },
  { .name = "label", .type = CS_OPT_LIST, .arg = "KEY[=VALUE]", .help = "only those with this label; repeatable" },
  { .name = "json", .type = CS_OPT_FLAG, .help = "print JSON" }, { .name = NULL } };
const struct cs_cmd cs_cmd_instances = { .name = "instances", .alias = "I", .args = "",
  .summary = "List the instances", .opts = instances_opts, .run = run_instances,
  .text = "Lists the instances and what state they are in: all of them, or those that the options choose." };

/* What is in the file from its position on. */
static gboolean
copy_out (int fd, const char *path, GError **err)
{
  char buf[16384];
  for (ssize_t n; (n = read (fd, buf, sizeof buf)) != 0;) {
    if (n < 0)
      return cs_fail_errno (err, "read %s", path);
    if (fwrite (buf, 1, (size_t) n, stdout) != (size_t) n)
      return cs_fail_errno (err, "write to standard output");
  }
  return fflush (stdout) == 0 || cs_fail_errno (err, "write to standard output");
}

static gboolean
follow (struct cs_instance *i, int fd, const char *path, GError **err)
{
  g_autoptr (cs_hv) hv = cs_instance_hv (i, err);
  cs_autofd int n = inotify_init1 (IN_CLOEXEC | IN_NONBLOCK);
  if (hv == NULL)
    return FALSE;
  if (n < 0 || inotify_add_watch (n, path, IN_MODIFY) < 0)
    return cs_fail_errno (err, "watch %s", path);
  cs_cancel_on_signals ();
  while (!cs_cancelled ()) {
    g_autoptr (cs_vm) vm = NULL;
    char events[4096];
    if (!cs_hv_info (hv, &i->ref, &vm, err) || !copy_out (fd, path, err))
      return FALSE;
    if (vm->info.state != CAPSTAN_VM_RUNNING && vm->info.state != CAPSTAN_VM_PAUSED &&
        vm->info.state != CAPSTAN_VM_STOPPING)
      return TRUE;
    /* the end of the machine is no event of the file, so look now and then as well */
    struct pollfd f[2] = { { n, POLLIN, 0 }, { cs_cancel_fd (), POLLIN, 0 } };
    if (poll (f, 2, 500) > 0 && f[0].revents != 0 && read (n, events, sizeof events) < 0 && errno != EAGAIN)
      return cs_fail_errno (err, "watch %s", path);
  }
  return TRUE;
}

static gboolean
run_logs (struct cs_cli *cli, GError **err)
{
  g_autoptr (cs_instance) i = cs_instance_find (cs_cli_arg (cli, 0), NULL, err);
  if (i == NULL)
    return FALSE;
  g_autofree char *path = cs_instance_path (i, "console.log");
  cs_autofd int fd = open (path, O_RDONLY | O_CLOEXEC);
  if (fd < 0)
    return cs_fail_errno (err, "open %s", path);
  gint64 since;
  const char *text = cs_cli_str (cli, "since");
  if (text != NULL && !cs_since_parse (text, &since, err))
    return FALSE;
  if (text != NULL && lseek (fd, (off_t) cs_times_find (i, since), SEEK_SET) < 0)
    return cs_fail_errno (err, "read %s", path);
  return copy_out (fd, path, err) && (!cs_cli_flag (cli, "follow") || follow (i, fd, path, err));
}
static const struct cs_opt logs_opts[] = {
  { .short_name = 'f', .name = "follow", .type = CS_OPT_FLAG, .help = "go on until the instance stops" },
  { .name = "since", .type = CS_OPT_STRING, .arg = "TIME", .help = "only what was printed since: 2026-11-24T17:00:00Z, or how long ago, 90s, 10m, 2h, 1d" },
  { .name = NULL } };
const struct cs_cmd cs_cmd_logs = { .name = "logs", .args = "INSTANCE", .opts = logs_opts,
  .summary = "Show what an instance printed", .min_args = 1, .max_args = 1,
  .comp = CS_COMP_INSTANCE, .run = run_logs,
  .text = "Shows what the application has printed since the instance was started first. --since goes by the second, "
  "and shows rather a bit more: times are noted by the process that attends to the instance." };

static gboolean
run_console (struct cs_cli *cli, GError **err)
{
  g_autoptr (cs_vm) end = NULL;
  gboolean ran;
  g_autoptr (cs_instance) i = cs_instance_find (cs_cli_arg (cli, 0), NULL, err);
  g_autoptr (cs_hv) hv = i != NULL ? cs_instance_hv (i, err) : NULL;
  return hv != NULL && cs_attach (i, hv, FALSE, cs_cli_flag (cli, "no-tty"), &ran, &end, err);
}
static const struct cs_opt console_opts[] = {
  { .name = "no-tty", .type = CS_OPT_FLAG, .help = "do not touch the terminal; Ctrl-C stops" },
  { .name = NULL } };
const struct cs_cmd cs_cmd_console = { .name = "console", .args = "INSTANCE", .opts = console_opts,
  .summary = "Attach to a running instance", .min_args = 1, .max_args = 1,
  .comp = CS_COMP_INSTANCE, .run = run_console,
  .text = "Makes the terminal the console of a running instance. Ctrl-] detaches, Ctrl-] twice stops." };
