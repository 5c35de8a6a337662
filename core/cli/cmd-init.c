/* capstan init. SPDX-License-Identifier: BSD-3-Clause */
#include "config.h"
#include "core/base/error.h"
#include "core/base/util.h"
#include "core/base/yaml.h"
#include "core/cli/cmd.h"
#include <string.h>
#include <sys/stat.h>

static const char before[] =
  "# What the image is made of; all of it is in Capstanfile(5).\n"
  "# capstan build makes the image, capstan run starts it.\n"
  "\n"
  "# The image to build on: 'capstan images' lists those that are there.\n";
static const char after[] =
  "\n"
  "# A command that makes the files, run by /bin/sh in this folder before they are read.\n"
  "#build: make\n"
  "\n"
  "# Path in the image: path here, or a pattern. A folder is taken with all it holds; \"&\"\n"
  "# stands for the same file name. What .capstanignore names is left out.\n"
  "#files:\n"
  "#  /hello: hello\n"
  "#  /etc/hello.conf: config/&\n"
  "#  /srv/: site/*\n"
  "\n"
  "# A folder that becomes / of the image, beneath what 'files' says; ROOTFS if it is there.\n"
  "#rootfs: ROOTFS\n"
  "\n"
  "# Variables for the application.\n"
  "#env:\n"
  "#  LANG: C.UTF-8\n"
  "\n"
  "# Size of the disk (guest linux); without it there is some room for files to come.\n"
  "#size: 1G\n";

static gboolean
run_init (struct cs_cli *cli, GError **err)
{
  const char *dir = cs_cli_arg (cli, 0) ? cs_cli_arg (cli, 0) : ".";
  const char *base = cs_cli_str (cli, "base"), *cmdline = cs_cli_str (cli, "command-line");
  g_autofree char *path = g_build_filename (dir, "Capstanfile", NULL);
  struct stat st;
  if (!cs_name_check ("base", base, TRUE, err))
    return FALSE;
  if (!cs_cli_flag (cli, "force") && lstat (path, &st) == 0)
    return cs_fail (err, CAPSTAN_E_EXISTS, "%s is there already; --force replaces it", path);
  if (!cs_mkdirs (dir, 0777, err))
    return FALSE;
  g_autoptr (GString) text = g_string_new (before);
  g_string_append_printf (text, "base: %s\n\n"
                          "# What the machine starts: the path in the image, then arguments.\n",
                          base);
  cs_yaml_put (text, "cmdline", cmdline);
  g_string_append (text, after);
  if (!cs_write_file (path, text->str, text->len, 0666, err))
    return FALSE;
  cs_info ("wrote %s: fill in 'files' and 'cmdline', then: capstan build", path);
  return TRUE;
}

static const struct cs_opt opts[] = {
  { .name = "base", .type = CS_OPT_STRING, .arg = "IMAGE", .def = "linux",
    .comp = CS_COMP_IMAGE, .help = "the image to build on" },
  { .short_name = 'c', .name = "command-line", .type = CS_OPT_STRING, .arg = "COMMAND",
    .def = "/hello", .help = "what the machine starts" },
  { .name = "force", .type = CS_OPT_FLAG, .help = "replace a Capstanfile that is there" },
  { .name = NULL }
};

const struct cs_cmd cs_cmd_init = {
  .name = "init", .args = "[DIR]", .summary = "Write a Capstanfile to begin with",
  .text = "Writes a Capstanfile with comments into DIR, or into this directory.",
  .examples = "capstan init\ncapstan init --base osv-loader -c /app.so app",
  .max_args = 1, .comp = CS_COMP_DIR, .opts = opts, .run = run_init
};
