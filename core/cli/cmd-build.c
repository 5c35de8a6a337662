/* capstan build. SPDX-License-Identifier: BSD-3-Clause */
#include "config.h"
#include "core/base/cancel.h"
#include "core/base/error.h"
#include "core/build/build.h"
#include "core/cli/cmd.h"

static gboolean
run_build (struct cs_cli *cli, GError **err)
{
  struct cs_build_opts o = {
    .file = cs_cli_str (cli, "file"),
    .dir = cs_cli_str (cli, "directory"),
    .name = cs_cli_arg (cli, 0),
    .format = cs_cli_str (cli, "format"),
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
  cs_cancel_on_signals ();
  return cs_build (&o, NULL, err);
}

static const struct cs_opt opts[] = {
  { 'f', "file", CS_OPT_STRING, "FILE", "the Capstanfile, relative to -C", NULL, NULL,
    CS_COMP_FILE, NULL },
  { 'C', "directory", CS_OPT_STRING, "DIR", "where the Capstanfile is", NULL, NULL,
    CS_COMP_DIR, NULL },
  { 0, "format", CS_OPT_CHOICE, "FORMAT", "format of the image; without it qcow2 where the "
    "base is qcow2, else raw", NULL, "raw|qcow2", CS_COMP_NONE, NULL },
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
          "changed since the last build, nothing is done.",
  .examples = "capstan build\n"
              "capstan build -C examples/hello hello\n"
              "capstan build --format qcow2 ns/app",
  .max_args = 1,
  .opts = opts,
  .uses_repo = TRUE,
  .run = run_build,
};
