/* capstan compose. SPDX-License-Identifier: BSD-3-Clause */
#include "config.h"
#include "core/base/cancel.h"
#include "core/base/error.h"
#include "core/build/build.h"
#include "core/cli/cmd.h"

static gboolean
run_compose (struct cs_cli *cli, GError **err)
{
  struct cs_build_opts o = {
    .name = cs_cli_arg (cli, 0),
    .paths = (char *const *) cli->args->pdata + 1,
    .n_paths = cli->args->len - 1,
    .base = cs_cli_str (cli, "loader-image"),
    .cmdline = cs_cli_given (cli, "command-line") ? cs_cli_str (cli, "command-line") : "",
    .fs = cs_cli_str (cli, "fs"),
    .size = cs_cli_num (cli, "size"),
    .format = cs_cli_str (cli, "format"),
    .suffix = cs_cli_suffix (cli),
    .force = cs_cli_flag (cli, "force"),
    .with_libs = cs_cli_flag (cli, "with-libs"),
    .skip_special = cs_cli_flag (cli, "skip-special"),
    .env = cs_cli_list (cli, "env"),
    .env_files = cs_cli_list (cli, "env-file"),
  };
  cs_cancel_on_signals ();
  return cs_build (&o, NULL, err);
}

static const struct cs_opt opts[] = {
  { .short_name = 'l', .name = "loader-image", .alias = "loader_image", .type = CS_OPT_STRING,
    .arg = "IMAGE", .def = "osv-loader", .comp = CS_COMP_IMAGE,
    .help = "image to build on, a loader or any other" },
  { .short_name = 'c', .name = "command-line", .alias = "command_line",
    .type = CS_OPT_STRING, .arg = "COMMAND", .help = "what the machine starts" },
  { .name = "fs", .type = CS_OPT_CHOICE, .arg = "KIND", .choices = "rofs|ext4|zfs",
    .help = "file system; without it what the loader's guest reads" },
  { .short_name = 's', .name = "size", .type = CS_OPT_SIZE, .arg = "SIZE",
    .help = "size of the disk (ext4 only; ROFS is as large as its files)" },
  { .name = "format", .type = CS_OPT_CHOICE, .arg = "FORMAT", .choices = "raw|qcow2",
    .help = "format of the image; without it qcow2 where the loader is qcow2, else raw" },
  { .name = "force", .type = CS_OPT_FLAG,
    .help = "build again though nothing changed, and without the limits of older guests" },
  { .name = "with-libs", .type = CS_OPT_FLAG,
    .help = "add the shared libraries that the programs of the command line need" },
  { .name = "env", .type = CS_OPT_LIST, .arg = "NAME=VALUE",
    .help = "set a variable for the application; repeatable" },
  { .name = "env-file", .type = CS_OPT_LIST, .arg = "FILE", .comp = CS_COMP_FILE,
    .help = "set variables, a line NAME=VALUE each; repeatable" },
  { .name = "skip-special", .type = CS_OPT_FLAG,
    .help = "leave out FIFOs, sockets and devices" },
  { .name = NULL }
};

const struct cs_cmd cs_cmd_compose = {
  .name = "compose", .args = "NAME PATH...",
  .summary = "Build an image from files, without a Capstanfile",
  .text = "Makes the image NAME of files and directories: what a directory PATH holds "
          "becomes the root of the file system, a file PATH goes into the root. Where a name "
          "comes twice, the last one holds.\n"
          "\n"
          "A .capstanignore in a directory PATH says what is left out; see Capstanfile(5).",
  .examples = "capstan compose -c /hello app ROOTFS\n"
              "capstan compose -l linux -c \"/bin/hello world\" ns/app build/out hello.conf",
  .min_args = 2, .max_args = -1, .comp = CS_COMP_FILE, .opts = opts, .uses_repo = TRUE,
  .run = run_compose
};
