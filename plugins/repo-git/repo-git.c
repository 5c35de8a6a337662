/* Images in Git repositories: the plugin's table. SPDX-License-Identifier: BSD-3-Clause */
#include "config.h"
#include "plugins/repo-git/git.h"
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { GIT_MAJOR = 2, GIT_MINOR = 31 }; /* GIT_CONFIG_COUNT */
#define GITHUB_LIMIT (UINT64_C (100) * 1024 * 1024)

static void
rg_close (struct capstan_call *call, void *self)
{
  struct git *g = self;
  char **all[] = { &g->url, &g->scheme, &g->host, &g->realm, &g->last, &g->home,
                   &g->branch, &g->layout, &g->lfs, &g->lfs_url, &g->ca };
  (void) call;
  for (size_t i = 0; i < sizeof all / sizeof *all; i++)
    free (*all[i]);
  free (g);
}

static int
rg_match (struct capstan_call *call, const char *url)
{
  (void) call;
  return git_url_match (url);
}

static int
copy_option (struct capstan_call *call, const char *key, char **to)
{
  const char *v = capstan_host_->option (call, key);
  if (v == NULL || *v == '\0')
    return 0;
  return (*to = strdup (v)) != NULL ? 0 : capstan_error (call, CAPSTAN_E_NOMEM, 0, "no memory");
}

static int
is_on (struct capstan_call *call, const char *key)
{
  const char *v = capstan_host_->option (call, key);
  return v != NULL && strcmp (v, "true") == 0;
}

static int
read_options (struct capstan_call *call, struct git *g)
{
  const char *max = capstan_host_->option (call, "max-blob");
  int rc = copy_option (call, "branch", &g->branch);
  if (rc == 0)
    rc = copy_option (call, "layout", &g->layout);
  if (rc == 0)
    rc = copy_option (call, "lfs", &g->lfs);
  if (rc == 0)
    rc = copy_option (call, "lfs-url", &g->lfs_url);
  if (rc == 0)
    rc = copy_option (call, "ca", &g->ca);
  if (rc == 0 && g->branch != NULL && !git_is_ref_name (g->branch))
    rc = capstan_error (call, CAPSTAN_E_INVAL, 0, "'%s' is no name of a branch", g->branch);
  g->tag = is_on (call, "tag");
  if (max != NULL && *max != '\0')
    sscanf (max, "%" SCNu64, &g->max_blob);
  else if (strcmp (g->host, "github.com") == 0)
    g->max_blob = GITHUB_LIMIT;
  return rc;
}

static int
rg_open (struct capstan_call *call, const char *url, void **ret_self)
{
  const char *cache = capstan_host_->dir (call, "cache");
  struct git *g = cache != NULL ? calloc (1, sizeof *g) : NULL;
  if (g == NULL)
    return cache == NULL ? -CAPSTAN_E_IO : capstan_error (call, CAPSTAN_E_NOMEM, 0, "no memory");
  int rc = git_url_read (call, url, is_on (call, "insecure"), g);
  if (rc == 0)
    rc = read_options (call, g);
  if (rc == 0 && asprintf (&g->home, "%s/%s", cache, git_url_folder (call, g)) < 0) {
    g->home = NULL;
    rc = capstan_error (call, CAPSTAN_E_NOMEM, 0, "no memory");
  }
  if (rc != 0) {
    rg_close (call, g);
    return rc;
  }
  *ret_self = g;
  return 0;
}

static int
rg_probe (struct capstan_call *call)
{
  const char *argv[] = { "git", "--version", NULL };
  struct capstan_run_req q = { .struct_size = sizeof q, .argv = argv, .in_fd = -1, .out_fd = -1, .err_fd = -1 };
  struct capstan_run_rsp r = { .struct_size = sizeof r };
  int major = 0, minor = 0, rc = capstan_host_->run (call, &q, &r);
  if (rc != 0)
    return rc;
  if (r.exit_status != 0 || sscanf (r.out, "git version %d.%d", &major, &minor) != 2)
    return capstan_error (call, CAPSTAN_E_UNSUPPORTED, 0, "git --version says '%s'",
                          git_clean (call, r.out, r.out_len));
  if (major < GIT_MAJOR || (major == GIT_MAJOR && minor < GIT_MINOR))
    return capstan_error (call, CAPSTAN_E_UNSUPPORTED, 0, "git is %d.%d, and has to be %d.%d or later", major,
                          minor, GIT_MAJOR, GIT_MINOR);
  return 0;
}

#define CAPS (CAPSTAN_REPO_PUSH | CAPSTAN_REPO_RESUME | CAPSTAN_REPO_CONDITIONAL | CAPSTAN_REPO_LIST | \
              CAPSTAN_REPO_VERSIONS)

static int
rg_caps (struct capstan_call *call, void *self, struct capstan_caps *ret)
{
  const struct git *g = self;
  struct capstan_caps c = { .struct_size = sizeof c, .bits = CAPS, .formats = "zstd,gzip,none",
                            .detail = g->url };
  uint32_t size = ret->struct_size;
  (void) call;
  memcpy (ret, &c, size < sizeof c ? size : sizeof c);
  ret->struct_size = size;
  return 0;
}

static int
rg_maintain (struct capstan_call *call, void *self, const struct capstan_action *a)
{
  const struct capstan_kv *p = a != NULL ? a->params : NULL;
  size_t n = a != NULL ? a->n_params : 0;
  const char *old = git_param (p, n, "older_than", "86400"), *dry = git_param (p, n, "dry_run", "false");
  uint64_t seconds;
  if (sscanf (old, "%" SCNu64, &seconds) != 1)
    return capstan_error (call, CAPSTAN_E_INVAL, 0, "older_than: '%s' is no number of seconds", old);
  return git_maintain (self, call, seconds, strcmp (dry, "true") == 0);
}

static const struct capstan_option options[] = {
  { .key = "branch", .help = "branch to read and to push to; default: what HEAD names",
    .type = CAPSTAN_OPT_STRING },
  { .key = "layout", .help = "one image at the root, or many, each in its folder", .def = "auto",
    .type = CAPSTAN_OPT_CHOICE, .choices = "auto,one,many" },
  { .key = "max-blob", .help = "larger files go through Git LFS; default: 100M on github.com",
    .type = CAPSTAN_OPT_SIZE },
  { .key = "lfs", .help = "when images are pushed to Git LFS", .def = "auto", .type = CAPSTAN_OPT_CHOICE,
    .choices = "auto,always,never" },
  { .key = "lfs-url", .help = "the Git LFS server, where the repository does not say",
    .type = CAPSTAN_OPT_STRING },
  { .key = "tag", .help = "a push makes the tag NAME/VERSION", .def = "false", .type = CAPSTAN_OPT_BOOL },
  { .key = "ca", .help = "file of the certificate authorities to trust", .type = CAPSTAN_OPT_PATH },
  { .key = "insecure", .help = "allow http and git to other machines", .def = "false",
    .type = CAPSTAN_OPT_BOOL } };
static const struct capstan_repo_ops ops = {
  .struct_size = sizeof ops, .probe = rg_probe, .match = rg_match, .open = rg_open, .close = rg_close,
  .caps = rg_caps, .list = git_list, .resolve = git_resolve, .fetch = git_fetch, .push = git_push,
  .remove = git_remove, .maintain = rg_maintain
};
static const struct capstan_provider provider = {
  .struct_size = sizeof provider, .kind = CAPSTAN_KIND_REPO, .name = "git",
  .summary = "Git repositories", .schemes = "git+https,git+ssh,git+file,git+http,git+git,git,ssh",
  .caps = CAPS, .threads = CAPSTAN_THREADS_PER_OPEN, .option_size = sizeof *options, .options = options,
  .n_options = sizeof options / sizeof *options, .ops = &ops
};
static const struct capstan_provider *const providers[] = { &provider, NULL };
static const struct capstan_plugin plugin = {
  .struct_size = sizeof plugin, .abi_major = CAPSTAN_ABI_MAJOR, .abi_minor = CAPSTAN_ABI_MINOR,
  .name = "repo-git", .version = PACKAGE_VERSION, .license = "BSD-3-Clause", .providers = providers
};
CAPSTAN_PLUGIN (plugin);
