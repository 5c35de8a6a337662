/* inspect, port. SPDX-License-Identifier: BSD-3-Clause */
#include "config.h"
#include "core/base/error.h"
#include "core/base/util.h"
#include "core/cli/cmd.h"
#include "core/vm/runs.h"
#include "core/vm/vm.h"
#include "core/vm/volume.h"
#include <jansson.h>
#include <stdio.h>
#include <string.h>

static void
put_time (json_t *o, const char *key, gint64 ms)
{
  g_autofree char *text = ms > 0 ? cs_ms_format (ms) : NULL;
  cs_json_set (o, key, text);
}

/* "KEY=VALUE" texts as an object. */
static json_t *
labels (char *const *list)
{
  json_t *o = json_object ();
  for (; list != NULL && *list != NULL; list++) {
    g_auto (GStrv) kv = g_strsplit (*list, "=", 2);
    cs_json_set (o, kv[0], kv[1] != NULL ? kv[1] : "");
  }
  return o;
}

/* "file:/x" of a volume is the user's: it was there before and stays. */
static gboolean
is_volume (const struct cs_instance *i, const char *resource)
{
  const char *path = g_str_has_prefix (resource, "file:") ? resource + 5 : NULL;
  return path != NULL && cs_volume_of (i, path, strlen (path)) != NULL;
}

/* All that lies on this host because of the instance. */
static json_t *
resources (const struct cs_instance *i, const struct cs_vm *vm)
{
  json_t *a = json_array ();
  pid_t pid;
  json_array_append_new (a, json_sprintf ("folder:%s", i->dir));
  if (i->backend_name != NULL) {
    g_autofree char *run = cs_instance_run_path (i);
    if (access (run, F_OK) == 0)
      json_array_append_new (a, json_sprintf ("folder:%s", run));
  }
  if (cs_monitor_is_there (i, &pid))
    json_array_append_new (a, json_sprintf ("pid:%ld", (long) pid));
  for (const char *const *r = vm != NULL ? vm->info.resources : NULL; r != NULL && *r != NULL; r++)
    if (!is_volume (i, *r))
      json_array_append_new (a, json_string (*r));
  return a;
}

static void
put_history (json_t *o, const struct cs_instance *i, const struct cs_vm *vm)
{
  struct cs_run run;
  int said;
  cs_runs_last (i, &run);
  json_object_set_new (o, "starts", json_integer (run.count));
  put_time (o, "started", run.started);
  put_time (o, "ended", run.ended);
  if (run.ended != 0)
    cs_json_set (o, "reason", cs_reason_name (run.reason));
  else if (vm != NULL && vm->info.stopped > 0)
    put_time (o, "ended", vm->info.stopped * 1000);
  if (cs_instance_exit_status (i, &said))
    json_object_set_new (o, "exit_status", json_integer (said));
}

static json_t *
network (const struct cs_instance *i)
{
  json_t *n = json_object ();
  cs_json_set (n, "mode", i->net);
  cs_json_set (n, "device", i->device);
  cs_json_set (n, "mac", i->mac);
  json_object_set_new (n, "forwards", cs_json_texts (i->forwards));
  return n;
}

static json_t *
describe (struct cs_instance *i, const struct cs_vm *vm)
{
  json_t *o = json_object (), *disk = json_object ();
  g_autofree char *path = i->disk != NULL ? cs_instance_path (i, i->disk) : NULL;
  gboolean gone = vm == NULL || vm->info.state == CAPSTAN_VM_GONE;
  pid_t pid;
  cs_json_set (o, "name", i->name);
  cs_json_set (o, "uuid", i->uuid);
  cs_json_set (o, "hypervisor", i->hypervisor != NULL ? i->hypervisor : i->suffix);
  cs_json_set (o, "backend_name", i->backend_name);
  cs_json_set (o, "id", i->ref.id);
  cs_json_set (o, "connection", i->ref.state);
  cs_json_set (o, "state", gone ? "unknown" : cs_vm_state_name (vm->info.state));
  cs_json_set (o, "detail", gone ? "the hypervisor does not know the machine" : vm->info.detail);
  cs_json_set (o, "image", i->image);
  cs_json_set (o, "guest", i->guest);
  cs_json_set (o, "created", i->created);
  cs_json_set (o, "boot", i->boot);
  cs_json_set (o, "command", i->cmdline);
  json_object_set_new (o, "memory", json_integer ((json_int_t) i->memory));
  json_object_set_new (o, "cpus", json_integer (i->cpus));
  cs_json_set (disk, "path", path);
  cs_json_set (disk, "format", i->disk_format);
  json_object_set_new (o, "disk", disk);
  json_object_set_new (o, "volumes", cs_json_texts (i->volumes));
  json_object_set_new (o, "network", network (i));
  json_object_set_new (o, "labels", labels (i->labels));
  cs_json_set (o, "restart", i->restart != NULL ? i->restart : "no");
  json_object_set_new (o, "remove", json_boolean (i->remove));
  put_history (o, i, vm);
  if (cs_monitor_is_there (i, &pid))
    json_object_set_new (o, "supervisor", json_integer (pid));
  json_object_set_new (o, "resources", resources (i, vm));
  return o;
}

static gboolean
run_inspect (struct cs_cli *cli, GError **err)
{
  g_autoptr (cs_vm) vm = NULL;
  g_autoptr (cs_instance) i = cs_instance_find (cs_cli_arg (cli, 0), NULL, err);
  if (i == NULL)
    return FALSE;
  g_autoptr (cs_hv) hv = i->hypervisor != NULL ? cs_instance_hv (i, err) : NULL;
  if (i->hypervisor != NULL && (hv == NULL || (i->ref.id != NULL && !cs_hv_info (hv, &i->ref, &vm, err))))
    return FALSE;
  return cs_print_json (describe (i, vm), err);
}
const struct cs_cmd cs_cmd_inspect = { .name = "inspect", .args = "INSTANCE", .min_args = 1, .max_args = 1,
  .comp = CS_COMP_INSTANCE, .summary = "Show all there is to know of an instance", .run = run_inspect,
  .text = "Prints as JSON what an instance was made with, what state it is in, when it was started and how it ended, "
          "and as resources everything that lies on this host because of it: folders, files, sockets, processes and "
          "what the hypervisor calls its machine. All of these are gone after capstan delete." };

static gboolean
run_port (struct cs_cli *cli, GError **err)
{
  g_autoptr (cs_instance) i = cs_instance_find (cs_cli_arg (cli, 0), NULL, err);
  g_auto (GStrv) want = g_strsplit (cs_cli_arg (cli, 1) != NULL ? cs_cli_arg (cli, 1) : "", "/", 2);
  guint n = 0;
  if (i == NULL)
    return FALSE;
  for (char **f = i->forwards; *f != NULL; f++) {
    g_auto (GStrv) p = g_strsplit (*f, ":", 4); /* tcp:127.0.0.1:8080:80 */
    if (g_strv_length (p) != 4)
      continue;
    if (want[0] == NULL)
      printf ("%s/%s -> %s:%s\n", p[3], p[0], p[1], p[2]);
    else if (strcmp (p[3], want[0]) == 0 && strcmp (p[0], want[1] != NULL ? want[1] : "tcp") == 0)
      printf ("%s:%s\n", p[1], p[2]);
    else
      continue;
    n++;
  }
  return n > 0 || want[0] == NULL ||
         cs_fail (err, CAPSTAN_E_NOTFOUND, "no port of this host is forwarded to port %s of '%s'", cs_cli_arg (cli, 1), i->name);
}
const struct cs_cmd cs_cmd_port = { .name = "port", .args = "INSTANCE [PORT[/udp]]", .min_args = 1, .max_args = 2,
  .comp = CS_COMP_INSTANCE, .summary = "Show the ports that are forwarded to an instance", .run = run_port,
  .text = "Prints each port of the guest and the address of this host that is forwarded to it; with PORT, that address "
          "alone.",
  .examples = "capstan run -d --publish auto:80 --name web nginx\ncurl http://$(capstan port web 80)/" };
