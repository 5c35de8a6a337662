/* capstan build. SPDX-License-Identifier: BSD-3-Clause */
#include "config.h"
#include "core/base/cancel.h"
#include "core/base/error.h"
#include "core/build/build.h"
#include "core/cli/cmd.h"
#include "core/store/export.h"
#include <string.h>

/* The store's own formats: a base of any other could not be read again. */
static gboolean
is_stored (const char *format)
{
  return format != NULL && (strcmp (format, "raw") == 0 || strcmp (format, "qcow2") == 0);
}

static gboolean
run_build (struct cs_cli *cli, GError **err)
{
  const char *format = cs_cli_str (cli, "format"), *output = cs_cli_str (cli, "output");
  g_autofree char *name = NULL;
  struct cs_build_opts o = {
    .file = cs_cli_str (cli, "file"),
    .dir = cs_cli_str (cli, "directory"),
    .name = cs_cli_arg (cli, 0),
    .format = is_stored (format) ? format : NULL,
    .suffix = cs_cli_suffix (cli),
    .force = cs_cli_flag (cli, "force"),
    .replace_root = cs_cli_flag (cli, "replace-root"),
    .dry_run = cs_cli_flag (cli, "dry-run"),
    .with_libs = cs_cli_flag (cli, "with-libs"),
    .skip_special = cs_cli_flag (cli, "skip-special"),
    .env = cs_cli_list (cli, "env"),
    .env_files = cs_cli_list (cli, "env-file"),
  };
  if (cs_cli_given (cli, "memory"))
    cs_info ("-m is for 'capstan run': building starts no virtual machine");
  if (output != NULL && format == NULL)
    return cs_fail (err, CS_E_USAGE, "-o %s: --format says what is to be written there", output);
  cs_cancel_on_signals ();
  if (!cs_build (&o, &name, err) || o.dry_run)
    return name != NULL;
  const struct cs_export x = { .format = format, .force = TRUE };
  return (output == NULL && (format == NULL || is_stored (format))) ||
         cs_export_image (name, o.suffix, output, &x, err);
}

static const struct cs_opt opts[] = {
  { 'f', "file", CS_OPT_STRING, "FILE", "the Capstanfile, relative to -C", NULL, NULL,
    CS_COMP_FILE, NULL },
  { 'C', "directory", CS_OPT_STRING, "DIR", "where the Capstanfile is", NULL, NULL,
    CS_COMP_DIR, NULL },
  { 0, "format", CS_OPT_CHOICE, "FORMAT", "raw and qcow2: format of the image; without it qcow2 where "
    "the base is qcow2, else raw. The others: write a file in it as well", NULL,
    "raw|qcow2|vdi|vmdk|vhd|vhdx", CS_COMP_NONE, NULL },
  { 'o', "output", CS_OPT_STRING, "FILE", "write the image to FILE as well, in --format; what is there "
    "is replaced", NULL, NULL, CS_COMP_FILE, NULL },
  { 0, "force", CS_OPT_FLAG, NULL, "build again though nothing changed, and without the "
    "limits of older guests", NULL, NULL, CS_COMP_NONE, NULL },
  { 0, "replace-root", CS_OPT_FLAG, NULL, "put the files in the place of a file system of "
    "the base that cannot be read", NULL, NULL, CS_COMP_NONE, NULL },
  { 0, "with-libs", CS_OPT_FLAG, NULL, "add the shared libraries that the programs of the "
    "command line need, from this machine", NULL, NULL, CS_COMP_NONE, NULL },
  { 0, "env", CS_OPT_LIST, "NAME=VALUE", "set a variable for the application; repeatable",
    NULL, NULL, CS_COMP_NONE, NULL },
  { 0, "env-file", CS_OPT_LIST, "FILE", "set variables, a line NAME=VALUE each; repeatable",
    NULL, NULL, CS_COMP_FILE, NULL },
  { 0, "skip-special", CS_OPT_FLAG, NULL, "leave out FIFOs, sockets and devices", NULL, NULL,
    CS_COMP_NONE, NULL },
  { 0, "dry-run", CS_OPT_FLAG, NULL, "show what would be in the image; the build command is "
    "not run", NULL, NULL, CS_COMP_NONE, NULL },
  { 'm', "memory", CS_OPT_SIZE, "SIZE", "accepted as the original does; not needed", NULL,
    NULL, CS_COMP_NONE, NULL },
  { 0 }
};

const struct cs_cmd cs_cmd_build = {
  .name = "build",
  .args = "[NAME]",
  .summary = "Build an image from a Capstanfile",
  .text = "Makes the image NAME (without it, the name of the directory, in lower case) as "
          "the Capstanfile says:\n"
          "\n"
          "base: the image to build on. cmdline: what to start. build: a shell command that "
          "is run first, in the directory of the Capstanfile. files: one line a file or "
          "directory, '/path/in/image: path here'; \"&\" stands for the same file name. "
          "rootfs: a directory whose contents become the root, ROOTFS if it is there.\n"
          "\n"
          "No virtual machine is started and no special right is needed. Where nothing "
          "changed since the last build, nothing is done.\n"
          "\n"
          "The store has raw and qcow2. With another --format the image is built all the same, and "
          "then written to FILE in that format as capstan export does: without -o to NAME.FORMAT in "
          "the current directory. A file that is there is replaced, as by a compiler. What is "
          "converted is kept in the cache of the store until the image changes.",
  .examples = "capstan build\n"
              "capstan build -C examples/hello hello\n"
              "capstan build --format qcow2 ns/app\n"
              "capstan build --format vmdk -o /tmp/app.vmdk app",
  .max_args = 1,
  .opts = opts,
  .uses_repo = TRUE,
  .run = run_build,
};
