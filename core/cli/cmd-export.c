/* capstan export. SPDX-License-Identifier: BSD-3-Clause */
#include "config.h"
#include "core/base/cancel.h"
#include "core/base/error.h"
#include "core/base/util.h"
#include "core/cli/cmd.h"
#include "core/store/export.h"
#include <fcntl.h>

/* What the image is; its index says so, and the header has to agree. Static. */
static const char *
format_of (const struct cs_image *i, GError **err)
{
  guint64 size;
  cs_autofd int fd = open (i->path, O_RDONLY | O_CLOEXEC);
  if (fd < 0)
    return cs_fail_errno_null (err, "open %s", i->path);
  return cs_image_check (fd, i->path, i->index->format, &size, err);
}

static gboolean
run_export (struct cs_cli *cli, GError **err)
{
  const char *name = cs_cli_arg (cli, 0);
  struct cs_export x = { .format = cs_cli_str (cli, "format"), .compress = cs_cli_flag (cli, "compress"),
                         .force = cs_cli_flag (cli, "force") };
  const char *suffix = cs_cli_given (cli, "hypervisor") ? cs_cli_suffix (cli) : NULL;
  g_autofree char *base = g_path_get_basename (name);
  g_autofree char *out = cs_cli_given (cli, "output") ? g_strdup (cs_cli_str (cli, "output"))
                                                     : g_strconcat (base, ".", x.format, NULL);
  guint64 size;
  cs_cancel_on_signals (); /* so that nothing half written stays */
  if (!cs_name_check ("image name", name, FALSE, err) || !cs_store_want (name, suffix, err))
    return FALSE;
  cs_autofd int lock = cs_store_lock (name, FALSE, TRUE, err);
  struct cs_image *i = lock >= 0 ? cs_store_find (name, suffix, err) : NULL;
  if (i == NULL)
    return FALSE;
  const char *from = format_of (i, err);
  gboolean ok = from != NULL && cs_export (i, from, out, &x, &size, err);
  cs_image_free (i);
  if (ok) {
    g_autofree char *shown = cs_size_format (size);
    cs_info ("exported %s to %s: %s, %s", name, out, x.format, shown);
  }
  return ok;
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
          "the result is checked and compared with the image before it gets its name. vhd is for "
          "Azure and Virtual PC, vhdx for Hyper-V, and ova is a whole machine for VirtualBox and "
          "VMware: a description (OVF 1.0), a manifest of digests and a compressed disk. OVF has no "
          "name for virtio that both know: a guest that knows no other network card needs "
          "\"VBoxManage modifyvm NAME --nictype1 virtio\" after the import into VirtualBox.",
  .examples = "capstan export app --format vmdk\n"
              "capstan export app --format qcow2 --compress -o /tmp/app.qcow2\n"
              "capstan export app --format ova && VBoxManage import app.ova --vsys 0 --vmname app",
  .min_args = 1, .max_args = 1, .comp = CS_COMP_IMAGE, .opts = opts, .run = run_export
};
