/* capstan volume. SPDX-License-Identifier: BSD-3-Clause */
#include "config.h"
#include "core/base/error.h"
#include "core/base/util.h"
#include "core/cli/cmd.h"
#include "core/vm/volume.h"
#include <jansson.h>
#include <stdio.h>
#include <sys/stat.h>

static gboolean
run_create (struct cs_cli *cli, GError **err)
{
  const char *name = cs_cli_arg (cli, 0);
  if (!cs_volume_create (name, cs_cli_num (cli, "size"), cs_cli_str (cli, "format"), err))
    return FALSE;
  cs_info ("created volume %s", name);
  return TRUE;
}
static const struct cs_opt create_opts[] = {
  { .short_name = 's', .name = "size", .type = CS_OPT_SIZE, .arg = "SIZE", .def = "1G", .help = "size; a bare number is MiB" },
  { .short_name = 'f', .name = "format", .type = CS_OPT_CHOICE, .arg = "FORMAT", .choices = "raw|qcow2|vdi|vmdk", .def = "raw",
    .help = "format of the file; each hypervisor takes some" },
  { .name = NULL } };
static const struct cs_cmd cmd_create = { .name = "create", .args = "NAME", .min_args = 1, .max_args = 1,
  .summary = "Make an empty volume", .opts = create_opts, .run = run_create,
  .text = "Makes an empty disk in the store. It takes no room until it is written." };

static gboolean
run_delete (struct cs_cli *cli, GError **err)
{
  for (guint k = 0; k < cli->args->len; k++) {
    if (!cs_volume_delete (cs_cli_arg (cli, k), err))
      return FALSE;
    cs_info ("deleted volume %s", cs_cli_arg (cli, k));
  }
  return TRUE;
}
static const struct cs_cmd cmd_delete = { .name = "delete", .args = "NAME...", .min_args = 1, .max_args = -1,
  .comp = CS_COMP_VOLUME, .summary = "Delete volumes", .run = run_delete,
  .text = "Deletes volumes of the store. One that an instance was made with is refused, whether that runs or not." };

/* What there is to know of one, as JSON; NULL and the error. */
static json_t *
describe (const char *name, GError **err)
{
  struct stat st;
  g_autofree char *path = cs_volume_path (name, err), *ro = path != NULL ? g_strconcat (path, ":ro", NULL) : NULL;
  if (path == NULL)
    return NULL;
  if (stat (path, &st) != 0) {
    cs_volume_missing (name, err);
    return NULL;
  }
  g_autoptr (cs_volume) v = cs_volume_open (ro, err);
  if (v == NULL)
    return NULL;
  g_auto (GStrv) users = cs_volume_users (v->path);
  json_t *o = json_pack ("{ss ss ss sI sI}", "name", name, "path", v->path, "format", v->format, "size",
                         (json_int_t) v->disk.size, "allocated", (json_int_t) st.st_blocks * 512);
  json_t *list = json_array ();
  for (char **u = users; *u != NULL; u++)
    json_array_append_new (list, json_string (*u));
  json_object_set_new (o, "instances", list);
  return o;
}

static gboolean
run_info (struct cs_cli *cli, GError **err)
{
  json_t *o = describe (cs_cli_arg (cli, 0), err);
  return o != NULL && cs_print_json (o, err);
}
static const struct cs_cmd cmd_info = { .name = "info", .args = "NAME", .min_args = 1, .max_args = 1,
  .comp = CS_COMP_VOLUME, .summary = "Show a volume", .run = run_info,
  .text = "Prints as JSON where a volume lies, its format, its size in bytes and how much of it takes room, and which "
          "instances were made with it." };

static gboolean
run_list (struct cs_cli *cli, GError **err)
{
  g_autoptr (GPtrArray) names = cs_volume_names ();
  json_t *all = json_array ();
  for (guint k = 0; k < names->len; k++) {
    g_autoptr (GError) e = NULL;
    json_t *o = describe (g_ptr_array_index (names, k), &e);
    if (o != NULL)
      json_array_append_new (all, o);
    else
      cs_warn ("%s", e->message);
  }
  if (cs_cli_flag (cli, "json"))
    return cs_print_json (all, err);
  printf ("%-24s %-7s %10s %10s  %s\n", "Name", "Format", "Size", "Allocated", "Instances");
  for (gsize k = 0; k < json_array_size (all); k++) {
    const json_t *o = json_array_get (all, k), *users = json_object_get (o, "instances");
    g_autofree char *size = cs_size_format ((guint64) json_integer_value (json_object_get (o, "size")));
    g_autofree char *allocated = cs_size_format ((guint64) json_integer_value (json_object_get (o, "allocated")));
    printf ("%-24s %-7s %10s %10s ", json_string_value (json_object_get (o, "name")),
            json_string_value (json_object_get (o, "format")), size, allocated);
    for (gsize u = 0; u < json_array_size (users); u++)
      printf (" %s", json_string_value (json_array_get (users, u)));
    putchar ('\n');
  }
  json_decref (all);
  return TRUE;
}
static const struct cs_opt list_opts[] = {
  { .name = "json", .type = CS_OPT_FLAG, .help = "print JSON" }, { .name = NULL } };
static const struct cs_cmd cmd_list = { .name = "list", .args = "", .summary = "List the volumes",
  .opts = list_opts, .run = run_list, .text = "Lists the volumes of the store and the instances that were made with them." };

static const struct cs_cmd *const subs[] = { &cmd_create, &cmd_list, &cmd_delete, &cmd_info, NULL };
const struct cs_cmd cs_cmd_volume = { .name = "volume", .args = "", .summary = "Disks that outlive instances",
  .sub = subs,
  .text = "A volume is a disk of your own, which capstan run --volume gives to an instance beside its own disk. It "
          "stays when the instance is deleted. Volumes that are made here lie in the store and are named alone; any "
          "other file is named by its path.",
  .examples = "capstan volume create --size 10G data\ncapstan run --volume data --volume ./set.raw:ro db" };
