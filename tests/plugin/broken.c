/* The folder of the tests, with one thing wrong, which the environment names (BROKEN): the
 * contract suite has to find it.
 * SPDX-License-Identifier: BSD-3-Clause */
#define BROKEN
#include "repo-dir.c"

static int
wrong (const char *what)
{
  const char *broken = getenv ("BROKEN");
  return broken != NULL && strcmp (broken, what) == 0;
}

static int
bad_match (struct capstan_call *c, const char *url)
{
  return wrong ("match") ? 1 : dir_match (c, url);
}

static int
bad_open (struct capstan_call *c, const char *url, void **ret)
{
  int rc = dir_open (c, url, ret);
  if (rc != 0 && wrong ("open-answers"))
    *ret = c;
  return rc;
}

static int
bad_caps (struct capstan_call *c, void *self, struct capstan_caps *caps)
{
  int rc = dir_caps (c, self, caps);
  if (wrong ("caps"))
    caps->bits |= CAPSTAN_REPO_SEARCH;
  return rc;
}

static int
bad_list (struct capstan_call *c, void *self, const struct capstan_query *q, struct capstan_list *l,
          const char **ret_next)
{
  struct capstan_entry e = { .struct_size = sizeof e, .name = "../evil" };
  if (wrong ("empty-list"))
    return 0;
  int rc = dir_list (c, self, q, l, ret_next);
  if (wrong ("crash"))
    raise (SIGSEGV);
  if (wrong ("hang"))
    for (;;)
      pause ();
  if (wrong ("name"))
    capstan_host_->emit_entry (l, &e);
  return rc;
}

static int
bad_resolve (struct capstan_call *c, void *self, const struct capstan_query *q, struct capstan_list *l)
{
  if (wrong ("silent"))
    return -CAPSTAN_E_NOTFOUND;
  if (wrong ("code") && dir_resolve (c, self, q, l) != 0)
    return capstan_error (c, CAPSTAN_E_IO, 0, "no '%s'", q->name);
  return dir_resolve (c, self, q, l);
}

static int
bad_fetch (struct capstan_call *c, void *self, const struct capstan_fetch_req *q, struct capstan_sink *s,
           struct capstan_fetch_rsp *a)
{
  struct capstan_fetch_req copy = *q;
  if (wrong ("condition"))
    copy.if_none_match = NULL;
  int rc = dir_fetch (c, self, &copy, s, a);
  if (rc != 0 && wrong ("fetch-answers"))
    a->ref = "x";
  if (rc == -CAPSTAN_E_CANCELLED && wrong ("cancel"))
    return 0;
  if (rc == -CAPSTAN_E_QUOTA && wrong ("sink"))
    return capstan_error (c, CAPSTAN_E_NET, 0, "something");
  if (rc != 0 && wrong ("ends"))
    capstan_host_->sink_end (s);
  return rc;
}

static int
bad_push (struct capstan_call *c, void *self, const struct capstan_push_req *q, struct capstan_source *s,
          struct capstan_push_rsp *a)
{
  struct capstan_push_req copy = *q;
  if (wrong ("overwrites"))
    copy.if_match = copy.if_none_match = NULL;
  int rc = dir_push (c, self, &copy, s, a);
  if (rc != 0 && wrong ("push-answers"))
    a->version = "x";
  if (rc != 0 && wrong ("half")) { /* what came so far lies there now */
    char path[8192];
    put (path, sizeof path, "%s/%s/index.yaml", ((struct dir *) self)->path, q->entry->name);
    make_dirs (self, q->entry->files[1]->path);
    close (open (path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644));
  }
  return rc;
}

static int
bad_remove (struct capstan_call *c, void *self, const char *ref, const struct capstan_action *a)
{
  return wrong ("stays") ? 0 : dir_remove (c, self, ref, a);
}

static void
bad_close (struct capstan_call *c, void *self)
{
  dir_close (c, self);
  if (wrong ("double-free"))
    dir_close (c, self);
}

static const struct capstan_repo_ops bad_ops = {
  .struct_size = sizeof bad_ops, .match = bad_match, .open = bad_open, .close = bad_close, .caps = bad_caps,
  .list = bad_list, .resolve = bad_resolve, .fetch = bad_fetch, .push = bad_push, .remove = bad_remove };
static const struct capstan_option bad_options[] = {
  { .key = "n", .help = "a number", .type = CAPSTAN_OPT_UINT, .def = "many" } };
static const struct capstan_provider provider = {
  .struct_size = sizeof provider, .kind = CAPSTAN_KIND_REPO, .name = "broken", .summary = "one thing is wrong",
  .schemes = "dir", .caps = CAPSTAN_REPO_PUSH | CAPSTAN_REPO_RESUME | CAPSTAN_REPO_CONDITIONAL |
                            CAPSTAN_REPO_LIST | CAPSTAN_REPO_PARALLEL | CAPSTAN_REPO_UPLOAD_RESUME,
  .threads = CAPSTAN_THREADS_ANY, .option_size = sizeof bad_options[0],
#ifdef BAD_TABLE
  .options = bad_options, .n_options = 1,
#endif
  .ops = &bad_ops };
static const struct capstan_provider *const providers[] = { &provider, NULL };
static const struct capstan_plugin desc = {
  .struct_size = sizeof desc, .abi_major = CAPSTAN_ABI_MAJOR, .abi_minor = CAPSTAN_ABI_MINOR, .name = "broken",
#ifndef BAD_CLAIMS
  .version = "0",
#endif
  .license = "BSD-3-Clause", .providers = providers };
CAPSTAN_PLUGIN (desc);
