/* capstan commit. SPDX-License-Identifier: BSD-3-Clause */
#include "config.h"
#include "core/base/cancel.h"
#include "core/base/error.h"
#include "core/cli/cmd.h"
#include "core/vm/vm.h"

static gboolean
run_commit (struct cs_cli *cli, GError **err)
{
  const char *name = cs_cli_arg (cli, 1);
  cs_cancel_on_signals ();
  g_autoptr (cs_instance) i = cs_instance_find (cs_cli_arg (cli, 0), NULL, err);
  g_autoptr (cs_hv) hv = i != NULL ? cs_instance_hv (i, err) : NULL;
  if (hv == NULL || !cs_instance_commit (i, hv, name, cs_cli_str (cli, "message"), cs_cli_flag (cli, "force"), err))
    return FALSE;
  cs_info ("made image %s", name);
  return TRUE;
}
static const struct cs_opt opts[] = {
  { .name = "message", .type = CS_OPT_STRING, .arg = "TEXT", .help = "description of the image" },
  { .name = "force", .type = CS_OPT_FLAG, .help = "replace the image if there is one of this name" },
  { .name = NULL } };
const struct cs_cmd cs_cmd_commit = { .name = "commit", .args = "INSTANCE IMAGE", .min_args = 2, .max_args = 2,
  .comp = CS_COMP_INSTANCE, .opts = opts, .summary = "Make an image of what an instance has become", .run = run_commit,
  .text = "Stores the disk of an instance that has stopped as an image that stands alone, with the command line it was "
          "run with. The instance and its image stay as they are. Volumes are not part of it.",
  .examples = "capstan run --name setup -e /bin/setup app\ncapstan commit setup app-ready" };
