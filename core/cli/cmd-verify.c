/* capstan verify and prune: is the store sound, and what is of no use any more.
 * SPDX-License-Identifier: BSD-3-Clause */
#include "config.h"
#include "core/base/cancel.h"
#include "core/base/digest.h"
#include "core/base/error.h"
#include "core/base/progress.h"
#include "core/base/util.h"
#include "core/cli/cmd.h"
#include "core/store/store.h"
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

/* "ok", "unrecorded" (nothing to check it against) or "damaged" with the reason; NULL and
 * the error if it could not be read. *why: g_free. */
static const char *
verify (const struct cs_image *im, char **why, GError **err)
{
  guint64 size = 0;
  g_autoptr (GError) e = NULL;
  cs_autofd int lock = cs_store_lock (im->name, FALSE, TRUE, err);
  cs_autofd int fd = lock >= 0 ? open (im->path, O_RDONLY | O_CLOEXEC) : -1;
  if (lock < 0)
    return NULL;
  if (fd < 0)
    return cs_fail_errno_null (err, "open %s", im->path);
  if (cs_image_check (fd, im->path, im->index->format, &size, &e) == NULL) {
    *why = g_strdup (e->message);
    return "damaged";
  }
  if (im->index->sha256 == NULL)
    return "unrecorded";
  g_autofree char *sum = cs_sha256_file (fd, im->path, err);
  if (sum == NULL)
    return NULL;
  if (strcmp (sum, im->index->sha256) == 0)
    return "ok";
  *why = g_strdup_printf ("sha256 is %s, and its index.yaml says %s", sum, im->index->sha256);
  return "damaged";
}

static GPtrArray *
chosen (struct cs_cli *cli, GError **err)
{
  GPtrArray *all = cs_store_list (err);
  for (guint i = 0; all != NULL && i < cli->args->len; i++) {
    gboolean found = FALSE;
    for (guint k = 0; k < all->len; k++)
      found |= strcmp (((struct cs_image *) all->pdata[k])->name, cs_cli_arg (cli, i)) == 0;
    if (!found) {
      g_ptr_array_unref (all);
      cs_store_missing (cs_cli_arg (cli, i), err);
      return NULL;
    }
  }
  return all;
}

static gboolean
run_verify (struct cs_cli *cli, GError **err)
{
  g_autoptr (GPtrArray) all = chosen (cli, err);
  json_t *a = cs_cli_flag (cli, "json") ? json_array () : NULL;
  guint damaged = 0;
  cs_cancel_on_signals ();
  for (guint i = 0; all != NULL && i < all->len; i++) {
    const struct cs_image *im = g_ptr_array_index (all, i);
    g_autofree char *why = NULL;
    gboolean asked = cli->args->len == 0;
    for (guint k = 0; k < cli->args->len; k++)
      asked |= strcmp (im->name, cs_cli_arg (cli, k)) == 0;
    if (!asked)
      continue;
    cs_progress_begin (im->name, im->file_size, 0);
    const char *state = verify (im, &why, err);
    cs_progress_end ();
    if (state == NULL) {
      json_decref (a);
      return FALSE;
    }
    damaged += strcmp (state, "damaged") == 0;
    if (a != NULL)
      json_array_append_new (a, json_pack ("{s:s, s:s, s:s, s:s?}", "name", im->name, "hypervisor",
                                           im->suffix, "state", state, "reason", why));
    else
      printf ("%-30s %-10s %s%s%s\n", im->name, im->suffix,
              strcmp (state, "unrecorded") == 0 ? "no digest recorded" : state,
              why != NULL ? ": " : "", why != NULL ? why : "");
  }
  if (all == NULL || (a != NULL && !cs_print_json (a, err)))
    return FALSE;
  if (damaged > 0)
    return cs_fail (err, CAPSTAN_E_CHECKSUM, "%u of the images %s damaged: pull or build %s again", damaged,
                    damaged == 1 ? "is" : "are", damaged == 1 ? "it" : "them");
  return TRUE;
}

static const struct cs_opt json_opts[] = {
  { .name = "json", .type = CS_OPT_FLAG, .help = "print JSON" }, { .name = NULL } };
const struct cs_cmd cs_cmd_verify = { .name = "verify", .args = "[NAME...]",
  .summary = "Check images against their digests", .opts = json_opts, .max_args = -1,
  .comp = CS_COMP_IMAGE, .run = run_verify,
  .text = "Reads the images of the store, or those that are named, and compares them with the digests "
          "that were recorded when they came. A damaged one makes the exit status 1." };
