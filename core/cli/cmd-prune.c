/* capstan prune. SPDX-License-Identifier: BSD-3-Clause */
#include "config.h"
#include "core/base/cancel.h"
#include "core/base/error.h"
#include "core/base/util.h"
#include "core/cli/cmd.h"
#include "core/repo/prune.h"
#include "core/repo/repo.h"
#include <stdio.h>

struct account { gboolean dry_run; guint64 bytes; guint n; };

static void
one (const char *what, const char *path, guint64 bytes, gpointer data)
{
  struct account *a = data;
  g_autofree char *size = cs_size_format (bytes);
  printf ("%s %s %s (%s)\n", a->dry_run ? "would remove" : "removed", what, path, size);
  a->bytes += bytes;
  a->n++;
}

static gboolean
run_prune (struct cs_cli *cli, GError **err)
{
  struct account a = { .dry_run = cs_cli_flag (cli, "dry-run") };
  cs_cancel_on_signals ();
  if (!cs_prune (a.dry_run, one, &a, err))
    return FALSE;
  g_autofree char *size = cs_size_format (a.bytes);
  if (a.n > 0)
    cs_info ("%s %s", size, a.dry_run ? "would be free" : "freed");
  if (!cs_cli_given (cli, "repo") && !cs_cli_given (cli, "u") && !cs_cli_given (cli, "s3"))
    return TRUE;
  g_autoptr (cs_repo) r = cs_cli_repo_open (cli, TRUE, err);
  return r != NULL && cs_repo_maintain (r, cs_cli_num (cli, "older-than") * 3600, a.dry_run, err);
}

static const struct cs_opt opts[] = {
  { .name = "dry-run", .type = CS_OPT_FLAG, .help = "only show what would be removed" },
  { .name = "older-than", .type = CS_OPT_UINT, .arg = "HOURS", .def = "24",
    .help = "uploads in the repository that nobody has gone on with for so long" },
  { .name = NULL } };
const struct cs_cmd cs_cmd_prune = { .name = "prune", .args = "", .summary = "Remove what is of no use any more",
  .opts = opts, .uses_repo = TRUE, .run = run_prune,
  .text = "Removes partial downloads, images that were prepared for an upload or converted to another "
          "disk format, and temporary files that were left by a crash. What another capstan is at work on "
          "stays, and so do all images and instances. With --repo, unfinished uploads in that repository go as well.",
  .examples = "capstan prune --dry-run\ncapstan prune --repo s3://bucket/images --older-than 48" };
