/* capstan export. SPDX-License-Identifier: BSD-3-Clause */
#include "config.h"
#include "core/base/cancel.h"
#include "core/cli/cmd.h"
#include "core/store/export.h"

static gboolean
run_export (struct cs_cli *cli, GError **err)
{
  const struct cs_export x = { .format = cs_cli_str (cli, "format"), .force = cs_cli_flag (cli, "force"),
                               .compress = cs_cli_flag (cli, "compress") };
  const char *suffix = cs_cli_given (cli, "hypervisor") ? cs_cli_suffix (cli) : NULL;
  cs_cancel_on_signals (); /* so that nothing half written stays */
  return cs_export_image (cs_cli_arg (cli, 0), suffix, cs_cli_str (cli, "output"), &x, err);
}

static const struct cs_opt opts[] = {
  { 0, "format", CS_OPT_CHOICE, "FORMAT", "format of the file",
    .choices = "raw|qcow2|vdi|vmdk|vhd|vhdx|ova", .def = "qcow2" },
  { 'o', "output", CS_OPT_STRING, "FILE", "the file; without it NAME.FORMAT in this folder", .comp = CS_COMP_FILE },
  { .name = "compress", .type = CS_OPT_FLAG, .help = "compress it: qcow2 and vmdk; an ova always is" },
  { .name = "force", .type = CS_OPT_FLAG, .help = "replace the file if it is there" },
  { .name = NULL }
};

const struct cs_cmd cs_cmd_export = {
  .name = "export", .args = "NAME", .summary = "Write an image to a file in another disk format",
  .text = "For hypervisors that capstan does not drive. The format is converted by qemu-img, and "
          "the result is checked and compared with the image before it gets its name. It stays in the "
          "store's cache, so that the next export of the same image in that format copies it only, and "
          "so that capstan run has it where its hypervisor needs one; capstan rmi of the image and "
          "capstan prune remove it. vhd is for "
          "Azure and Virtual PC, vhdx for Hyper-V, and ova is a whole machine for VirtualBox and "
          "VMware: a description (OVF 1.0), a manifest of digests and a compressed disk. OVF has no "
          "name for virtio that both know: a guest that knows no other network card needs "
          "\"VBoxManage modifyvm NAME --nictype1 virtio\" after the import into VirtualBox.",
  .examples = "capstan export app --format vmdk\n"
              "capstan export app --format qcow2 --compress -o /tmp/app.qcow2\n"
              "capstan export app --format ova && VBoxManage import app.ova --vsys 0 --vmname app",
  .min_args = 1, .max_args = 1, .comp = CS_COMP_IMAGE, .opts = opts, .run = run_export
};
