/* The table of commands, and those of the original that are not there yet.
 * SPDX-License-Identifier: BSD-3-Clause */
#include "config.h"
#include "core/cli/cli.h"
#include "core/base/error.h"
#include <jansson.h>
#include <stdio.h>

gboolean
cs_print_json (json_t *value, GError **err)
{
  char *s = json_dumps (value, JSON_INDENT (2) | JSON_PRESERVE_ORDER | JSON_REAL_PRECISION (6));
  json_decref (value);
  if (s == NULL)
    return cs_fail (err, CAPSTAN_E_INTERNAL, "JSON: a value is not UTF-8");
  puts (s);
  free (s); /* jansson's own, not GLib's */
  return TRUE;
}

void
cs_json_set (json_t *object, const char *key, const char *value)
{
  if (value != NULL)
    json_object_set_new (object, key, json_string (value));
}

json_t *
cs_json_texts (char *const *list)
{
  json_t *a = json_array ();
  for (; list != NULL && *list != NULL; list++)
    json_array_append_new (a, json_string (*list));
  return a;
}

static gboolean
not_yet (struct cs_cli *cli, GError **err)
{
  return cs_fail (err, CS_E_USAGE, "capstan %s is not supported yet: %s", cli->cmd->name,
                  cli->cmd->text);
}

#define NOT_YET(id, n, alt)                                                              \
  static const struct cs_cmd id = { .name = n, .args = "", .summary = "Not supported yet", \
                                    .text = alt, .hidden = TRUE, .max_args = -1,         \
                                    .raw = TRUE, .run = not_yet }
NOT_YET (cmd_package, "package", "put the files in a Capstanfile, or in an image to be its base");
NOT_YET (cmd_runtime, "runtime", "write the command line in a Capstanfile");
NOT_YET (cmd_stack, "stack", "build the image and upload it with the openstack client");
NOT_YET (cmd_openstack, "openstack", "build the image and upload it with the openstack client");
NOT_YET (cmd_compose_remote, "compose-remote", "build the image again");

extern const struct cs_cmd cs_cmd_base,
    cs_cmd_build,
    cs_cmd_commit,
    cs_cmd_complete,
    cs_cmd_compose,
    cs_cmd_config,
    cs_cmd_console,
    cs_cmd_delete,
    cs_cmd_df,
    cs_cmd_doctor,
    cs_cmd_export,
    cs_cmd_help,
    cs_cmd_images,
    cs_cmd_import,
    cs_cmd_info,
    cs_cmd_init,
    cs_cmd_inspect,
    cs_cmd_instances,
    cs_cmd_kill,
    cs_cmd_logs,
    cs_cmd_man,
    cs_cmd_monitor,
    cs_cmd_pause,
    cs_cmd_plugin,
    cs_cmd_port,
    cs_cmd_prune,
    cs_cmd_pull,
    cs_cmd_push,
    cs_cmd_rename,
    cs_cmd_repo,
    cs_cmd_restart,
    cs_cmd_resume,
    cs_cmd_rmi,
    cs_cmd_run,
    cs_cmd_search,
    cs_cmd_start,
    cs_cmd_stop,
    cs_cmd_tag,
    cs_cmd_verify,
    cs_cmd_volume,
    cs_cmd_wait;

const struct cs_cmd *const cs_commands[] = {
  &cs_cmd_base,
  &cs_cmd_build,
  &cs_cmd_commit,
  &cs_cmd_compose,
  &cs_cmd_config,
  &cs_cmd_console,
  &cs_cmd_delete,
  &cs_cmd_df,
  &cs_cmd_doctor,
  &cs_cmd_export,
  &cs_cmd_help,
  &cs_cmd_images,
  &cs_cmd_import,
  &cs_cmd_info,
  &cs_cmd_init,
  &cs_cmd_inspect,
  &cs_cmd_instances,
  &cs_cmd_kill,
  &cs_cmd_logs,
  &cs_cmd_pause,
  &cs_cmd_plugin,
  &cs_cmd_port,
  &cs_cmd_prune,
  &cs_cmd_pull,
  &cs_cmd_push,
  &cs_cmd_rename,
  &cs_cmd_repo,
  &cs_cmd_restart,
  &cs_cmd_resume,
  &cs_cmd_rmi,
  &cs_cmd_run,
  &cs_cmd_search,
  &cs_cmd_start,
  &cs_cmd_stop,
  &cs_cmd_tag,
  &cs_cmd_verify,
  &cs_cmd_volume,
  &cs_cmd_wait,
  &cs_cmd_monitor,
  &cs_cmd_man,
  &cs_cmd_complete,
  &cmd_package,
  &cmd_runtime,
  &cmd_stack,
  &cmd_openstack,
  &cmd_compose_remote,
  NULL
};
