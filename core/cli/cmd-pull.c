/* capstan pull, push, search. SPDX-License-Identifier: BSD-3-Clause */
#include "config.h"
#include "core/base/cancel.h"
#include "core/base/error.h"
#include "core/base/util.h"
#include "core/cli/cmd.h"
#include "core/repo/repo.h"
#include <jansson.h>
#include <stdio.h>
#include <string.h>

static void
done_event (const char *event, const struct cs_pulled *p)
{
  json_t *o = json_pack ("{s:s, s:s, s:s, s:s?, s:s?, s:I, s:b}", "event", event, "name", p->name,
                         "repository", p->url, "version", p->version, "sha256", p->sha256, "size",
                         (json_int_t) p->size, "unchanged", (int) p->was_here);
  if (o != NULL)
    cs_cli_json_event (o);
}

/* NAME or NAME:VERSION; g_strfreev. */
static char **
split_version (const char *arg, GError **err)
{
  char **w = g_strsplit (arg, ":", 2);
  if (w[0] != NULL && w[1] != NULL && *w[1] == '\0') {
    g_strfreev (w);
    return cs_fail_null (err, CS_E_USAGE, "'%s': a version follows the colon", arg);
  }
  return w;
}

static gboolean
run_pull (struct cs_cli *cli, GError **err)
{
  struct cs_repo_choice c;
  struct cs_pulled p = { 0 };
  g_auto (GStrv) name = split_version (cs_cli_arg (cli, 0), err);
  cs_cli_repo_choice (cli, &c);
  g_autoptr (GPtrArray) repos = name != NULL ? cs_repo_choose (&c, err) : NULL;
  if (repos == NULL)
    return FALSE;
  struct cs_pull_opts o = { .name = name[0], .version = name[1], .as = cs_cli_str (cli, "as"),
    .suffix = cs_cli_suffix (cli), .force = cs_cli_flag (cli, "force"), .retries = -1 };
  cs_cancel_on_signals ();
  if (cs_cli_flag (cli, "json"))
    cs_cli_json_events ();
  if (!cs_pull (repos, &o, &p, err))
    return FALSE;
  if (cs_cli_flag (cli, "json"))
    done_event ("pulled", &p);
  cs_pulled_clear (&p);
  return TRUE;
}

static const struct cs_opt pull_opts[] = {
  { .name = "as", .type = CS_OPT_STRING, .arg = "NAME2", .comp = CS_COMP_IMAGE,
    .help = "name in the store, so that what is there under NAME stays" },
  { .name = "force", .type = CS_OPT_FLAG,
    .help = "fetch what is here already, and take an image that changed without a digest" },
  { .name = "json", .type = CS_OPT_FLAG, .help = "print progress and result as JSON, one object a line" },
  { .name = NULL } };
const struct cs_cmd cs_cmd_pull = { .name = "pull", .args = "NAME[:VERSION]",
  .summary = "Fetch an image from a repository", .opts = pull_opts, .min_args = 1, .max_args = 1,
  .uses_repo = TRUE, .run = run_pull,
  .text = "Fetches the image NAME into the store. The repository is what --repo says, a name that "
          "capstan repo add has given or a URL; else what config.yaml says; else CAPSTAN_REPO_URL; "
          "else those of the original: its bucket, then the releases of OSv on GitHub, then, for "
          "OWNER/NAME, that repository on GitHub.\n\n"
          "What comes is checked against the digests of index.yaml before it is in the store; where "
          "there is none, the digest is kept, and an image that changes under the same version is "
          "refused. Compressed images are decompressed while they come. Ctrl-C, a lost connection "
          "or a full disk lose nothing: the next pull goes on. Two that pull the same fetch it once.",
  .examples = "capstan pull --repo https://images.example.com/ app\n"
              "capstan pull --repo lab app:1.2 --as app-old" };

/* ---- push ---- */

static gboolean
run_push (struct cs_cli *cli, GError **err)
{
  struct cs_pulled p = { 0 };
  struct cs_push_opts o = { .name = cs_cli_arg (cli, 0), .as = cs_cli_str (cli, "as"),
    .suffix = cs_cli_suffix (cli), .compress = cs_cli_str (cli, "compress"),
    .message = cs_cli_str (cli, "message"), .force = cs_cli_flag (cli, "force") };
  if (!cs_name_check ("image name", o.name, TRUE, err) ||
      (o.as != NULL && !cs_name_check ("image name", o.as, FALSE, err)))
    return FALSE;
  cs_cancel_on_signals ();
  if (cs_cli_flag (cli, "json"))
    cs_cli_json_events ();
  g_autoptr (cs_repo) r = cs_cli_repo_open (cli, TRUE, err);
  if (r == NULL || !cs_push (r, &o, &p, err))
    return FALSE;
  if (cs_cli_flag (cli, "json"))
    done_event ("pushed", &p);
  cs_pulled_clear (&p);
  return TRUE;
}

static const struct cs_opt push_opts[] = {
  { .name = "as", .type = CS_OPT_STRING, .arg = "NAME2", .help = "name in the repository (NAME)" },
  { .name = "compress", .type = CS_OPT_CHOICE, .arg = "HOW", .choices = "none|gzip|zstd",
    .help = "how the image lies there (as the kind of repository has it)" },
  { .short_name = 'm', .name = "message", .type = CS_OPT_STRING, .arg = "TEXT",
    .help = "what is new, for repositories that keep it" },
  { .name = "force", .type = CS_OPT_FLAG,
    .help = "replace an image there that was not pulled or pushed from here" },
  { .name = "json", .type = CS_OPT_FLAG, .help = "print progress and result as JSON, one object a line" },
  { .name = NULL } };
const struct cs_cmd cs_cmd_push = { .name = "push", .args = "NAME",
  .summary = "Send an image to a repository", .opts = push_opts, .min_args = 1, .max_args = 1,
  .comp = CS_COMP_IMAGE, .uses_repo = TRUE, .run = run_push,
  .text = "Sends the image NAME to the repository that --repo or config.yaml names, with its digests "
          "in index.yaml. An image that lies there under this name is replaced only if it is the one "
          "that was last pulled or pushed from here; of two that push at once, one is refused. An "
          "upload that was interrupted goes on where the kind of repository can. The original "
          "Capstan reads only what is compressed with gzip.",
  .examples = "capstan push --repo s3://bucket/images app\ncapstan push --repo lab --compress zstd app" };

/* ---- search ---- */

static json_t *
found_json (const struct cs_found *f)
{
  const struct cs_index *x = f->manifest != NULL ? f->manifest->index : NULL;
  json_t *o = json_pack ("{s:s}", "name", f->name), *images = json_array ();
  if (x != NULL) {
    json_object_set_new (o, "description", json_string (x->description != NULL ? x->description : ""));
    json_object_set_new (o, "version", json_string (x->version != NULL ? x->version : ""));
    json_object_set_new (o, "created", json_string (x->created != NULL ? x->created : ""));
    g_autoptr (GList) suffixes = g_hash_table_get_keys (f->manifest->files);
    for (const GList *l = suffixes; l != NULL; l = l->next) {
      const struct cs_wire *w = cs_manifest_wire (f->manifest, l->data);
      json_array_append_new (images, json_pack ("{s:s, s:s?, s:I, s:I}", "hypervisor", l->data, "sha256",
        w->sha256, "size", (json_int_t) w->size, "wire_size", (json_int_t) w->wire_size));
    }
  }
  json_object_set_new (o, "images", images);
  return o;
}

static const char *
or_none (const char *s)
{
  return s != NULL && *s != '\0' ? s : "-";
}

static gboolean
run_search (struct cs_cli *cli, GError **err)
{
  cs_cancel_on_signals ();
  g_autoptr (cs_repo) r = cs_cli_repo_open (cli, FALSE, err);
  g_autoptr (GPtrArray) all =
      r != NULL ? cs_repo_search (r, cs_cli_arg (cli, 0), cs_cli_suffix (cli), err) : NULL;
  if (all == NULL)
    return FALSE;
  if (cs_cli_flag (cli, "json")) {
    json_t *a = json_array ();
    for (guint i = 0; i < all->len; i++)
      json_array_append_new (a, found_json (g_ptr_array_index (all, i)));
    return cs_print_json (a, err);
  }
  printf ("%-30s %-12s %-20s %s\n", "Name", "Version", "Created", "Description");
  for (guint i = 0; i < all->len; i++) {
    const struct cs_found *f = g_ptr_array_index (all, i);
    const struct cs_index *x = f->manifest != NULL ? f->manifest->index : NULL;
    g_autofree char *text = x != NULL && x->description != NULL ? g_strescape (x->description, NULL) : NULL;
    printf ("%-30s %-12s %-20s %s\n", f->name, or_none (x != NULL ? x->version : NULL),
            or_none (x != NULL ? x->created : NULL), or_none (text));
  }
  return TRUE;
}

static const struct cs_opt search_opts[] = {
  { .name = "json", .type = CS_OPT_FLAG, .help = "print JSON" }, { .name = NULL } };
const struct cs_cmd cs_cmd_search = { .name = "search", .args = "[TEXT]",
  .summary = "List the images of a repository", .opts = search_opts, .max_args = 1, .uses_repo = TRUE,
  .run = run_search,
  .text = "Lists the images of the repository: all, or those with TEXT in their name or description." };
