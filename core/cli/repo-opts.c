/* What commands that ask repositories share. SPDX-License-Identifier: BSD-3-Clause */
#include "config.h"
#include "core/base/error.h"
#include "core/base/progress.h"
#include "core/cli/cmd.h"
#include "core/repo/repo.h"
#include <jansson.h>
#include <stdio.h>

void
cs_cli_repo_choice (const struct cs_cli *cli, struct cs_repo_choice *ret)
{
  ret->repo = cs_cli_str (cli, "repo");
  ret->url = cs_cli_str (cli, "u");
  ret->release = cs_cli_str (cli, "release-tag");
  ret->type = cs_cli_str (cli, "repo-type");
  ret->s3 = cs_cli_flag (cli, "s3");
}

struct cs_repo *
cs_cli_repo_open (const struct cs_cli *cli, gboolean must_be_named, GError **err)
{
  struct cs_repo_choice c;
  cs_cli_repo_choice (cli, &c);
  g_autoptr (GPtrArray) repos = cs_repo_choose (&c, err);
  if (repos == NULL)
    return NULL;
  if (repos->len == 0 || (must_be_named && repos->len > 1))
    return cs_fail_null (err, CS_E_USAGE,
                         "name the repository: --repo NAME|URL, or repo: NAME in config.yaml");
  return cs_repo_open (g_ptr_array_index (repos, 0), -1, err);
}

void
cs_cli_json_event (json_t *event)
{
  char *s = json_dumps (event, JSON_COMPACT | JSON_PRESERVE_ORDER | JSON_REAL_PRECISION (9));
  json_decref (event);
  if (s == NULL)
    return;
  puts (s);
  fflush (stdout);
  free (s);
}

static void
progress (const char *label, guint64 done, guint64 total, double rate)
{
  json_t *o = json_pack ("{s:s, s:s, s:I}", "event", "progress", "what", label, "done", (json_int_t) done);
  if (total > 0)
    json_object_set_new (o, "total", json_integer ((json_int_t) total));
  if (rate > 0)
    json_object_set_new (o, "bytes_per_second", json_integer ((json_int_t) rate));
  cs_cli_json_event (o);
}

void
cs_cli_json_events (void)
{
  cs_progress_to (progress);
}
