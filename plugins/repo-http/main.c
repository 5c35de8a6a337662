/* repo-http: images on a web server, and in the releases of a GitHub repository.
 * SPDX-License-Identifier: BSD-3-Clause */
#include "config.h"
#include "plugins/repo-http/repo.h"
#include <stdlib.h>
#include <string.h>

static int
http_probe (struct capstan_call *call)
{
  return 0;
}

static int
http_match (struct capstan_call *call, const char *url)
{
  return strncmp (url, "http://", 7) == 0 || strncmp (url, "https://", 8) == 0 ||
         strncmp (url, "github:", 7) == 0;
}

static void
http_shut (struct capstan_call *call, void *self)
{
  struct repo *r = self;
  http_close (r->http);
  github_free (r->releases);
  free (r->url);
  free (r->api);
  free (r->owner);
  free (r->project);
  free (r->release);
  free (r);
}

/* Letters, digits and "-_." as GitHub has them. */
static int
is_word (const char *s, size_t n)
{
  size_t ok = strspn (s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.");
  return n > 0 && n < 101 && ok >= n && s[0] != '.';
}

/* "github:owner/repo" */
static int
read_github (struct repo *r, struct capstan_call *call, const char *url)
{
  const char *owner = url + strlen ("github:"), *slash = strchr (owner, '/'), *api;
  if (slash == NULL || !is_word (owner, (size_t) (slash - owner)) ||
      !is_word (slash + 1, strlen (slash + 1)))
    return capstan_error (call, CAPSTAN_E_INVAL, 0, "%s: the releases of a repository are "
                          "github:OWNER/REPO", url);
  int rc = http_url_base (call, capstan_host_->option (call, "api"), &api);
  if (rc != 0)
    return rc;
  const char *release = capstan_host_->option (call, "release-tag");
  if (release == NULL || *release == '\0')
    release = "any";
  if (!is_word (release, strlen (release)))
    return capstan_error (call, CAPSTAN_E_INVAL, 0, "option release-tag: '%s' is neither 'any' nor "
                          "'latest' nor the tag of a release", release);
  r->url = strdup (url);
  r->api = strdup (api);
  r->owner = strndup (owner, (size_t) (slash - owner));
  r->project = strdup (slash + 1);
  r->release = strdup (release);
  if (r->url == NULL || r->api == NULL || r->owner == NULL || r->project == NULL ||
      r->release == NULL)
    return capstan_error (call, CAPSTAN_E_NOMEM, 0, "no memory");
  return 0;
}

static uint32_t
number (struct capstan_call *call, const char *key, uint32_t most)
{
  const char *v = capstan_host_->option (call, key);
  unsigned long long n = v != NULL ? strtoull (v, NULL, 10) : 0;
  return n > most ? most : (uint32_t) n;
}

static int
http_start (struct capstan_call *call, const char *url, void **ret)
{
  struct repo *r = calloc (1, sizeof *r);
  const char *base;
  int rc;
  if (r == NULL)
    return capstan_error (call, CAPSTAN_E_NOMEM, 0, "no memory");
  r->connections = number (call, "connections", 16);
  if (strncmp (url, "github:", 7) == 0)
    rc = read_github (r, call, url);
  else if ((rc = http_url_base (call, url, &base)) == 0 && (r->url = strdup (base)) == NULL)
    rc = capstan_error (call, CAPSTAN_E_NOMEM, 0, "no memory");
  struct http_config c = { .agent = "capstan-repo-http/" PACKAGE_VERSION,
                           .ca = capstan_host_->option (call, "ca"),
                           .stall_s = number (call, "timeout", 86400), .per_host = 16 };
  if (rc == 0)
    rc = http_open (call, &c, &r->http);
  if (rc != 0) {
    http_shut (call, r);
    return rc;
  }
  *ret = r;
  return 0;
}

static int
http_caps (struct capstan_call *call, void *self, struct capstan_caps *c)
{
  const struct repo *r = self;
  c->bits = CAPSTAN_REPO_RESUME | CAPSTAN_REPO_LIST | CAPSTAN_REPO_PARALLEL;
  c->bits |= r->api != NULL ? CAPSTAN_REPO_VERSIONS | CAPSTAN_REPO_DIGEST : CAPSTAN_REPO_PUSH;
  c->formats = "gzip,none,zstd";
  c->detail = r->api != NULL ? "releases on GitHub" : "a folder on a web server";
  return 0;
}

/* ---- operations ---- */

/* Credentials of one operation: what the host has for the folder or for the API. */
static struct repo *
enter (struct capstan_call *call, void *self)
{
  struct repo *r = self;
  const char *token = getenv ("GITHUB_TOKEN");
  if (r->api != NULL && token != NULL && *token != '\0')
    r->auth = (struct http_auth){ .bearer = token };
  else
    http_auth_ask (r->http, call, r->api != NULL ? r->api : r->url, &r->auth);
  return r;
}

static int
leave (struct repo *r, struct capstan_call *call, int rc)
{
  if (rc == 0 || rc == -CAPSTAN_E_AUTH)
    http_auth_tell (call, &r->auth, rc == 0);
  r->auth = (struct http_auth){ 0 };
  http_progress (r->http, NULL, 0, 0);
  return rc;
}

static int
http_list (struct capstan_call *call, void *self, const struct capstan_query *q,
           struct capstan_list *out, const char **ret_next)
{
  struct repo *r = enter (call, self);
  *ret_next = NULL;
  return leave (r, call, r->api != NULL ? github_list (r, call, q, out, ret_next)
                                        : flat_list (r, call, q, out, ret_next));
}

static int
http_resolve (struct capstan_call *call, void *self, const struct capstan_query *q,
              struct capstan_list *out)
{
  struct repo *r = enter (call, self);
  return leave (r, call, r->api != NULL ? github_resolve (r, call, q, out)
                                        : flat_resolve (r, call, q, out));
}

static int
flat_fetch (struct repo *r, struct capstan_call *call, const struct capstan_fetch_req *q,
            struct capstan_sink *sink, struct capstan_fetch_rsp *ret)
{
  const char *etag, *suffix, *name, *now = NULL;
  int rc = 0;
  if (q->if_none_match != NULL && q->ref != NULL) {
    struct entry_state s;
    char dir[1024];
    if ((rc = flat_ref (call, q->ref, &etag, &suffix, &name)) != 0)
      return rc;
    snprintf (dir, sizeof dir, "%s/", name);
    if ((rc = flat_look (r, call, dir, name, suffix, &s)) != 0)
      return rc;
    if (strcmp (s.etag, q->if_none_match) == 0)
      return capstan_error (call, CAPSTAN_E_NOT_MODIFIED, 0, "%s has not changed", name);
    now = capstan_host_->keep (call, s.etag, SIZE_MAX);
  }
  for (const struct capstan_part *const *p = q->parts; rc == 0 && p != NULL && *p != NULL; p++) {
    struct wanted w = { .path = (*p)->path, .url = repo_url_of (r, call, (*p)->path),
                        .size = UINT64_MAX, .auth = &r->auth, .connections = r->connections,
                        .encoding = wire_encoding ((*p)->path) };
    size_t n = strlen (w.path);
    w.whole = n >= 10 && strcmp (w.path + n - 10, "index.yaml") == 0;
    rc = w.url != NULL ? fetch_file (r->http, call, &w, *p, sink) : -CAPSTAN_E_NOMEM;
  }
  if (rc != 0)
    return rc;
  ret->ref = q->ref;
  ret->etag = now;
  return 0;
}

static int
http_fetch (struct capstan_call *call, void *self, const struct capstan_fetch_req *q,
            struct capstan_sink *sink, struct capstan_fetch_rsp *ret)
{
  struct repo *r = enter (call, self);
  if (q->parts == NULL)
    return leave (r, call, capstan_error (call, CAPSTAN_E_INVAL, 0, "fetch: no file is named"));
  return leave (r, call, r->api != NULL ? github_fetch (r, call, q, sink, ret)
                                        : flat_fetch (r, call, q, sink, ret));
}

static int
no_push (const struct repo *r, struct capstan_call *call)
{
  return capstan_error (call, CAPSTAN_E_UNSUPPORTED, 0, "%s: releases are made on GitHub; an image "
                        "can be pushed to a git repository, a bucket or a web server", r->url);
}

static int
http_push (struct capstan_call *call, void *self, const struct capstan_push_req *q,
           struct capstan_source *source, struct capstan_push_rsp *ret)
{
  struct repo *r = enter (call, self);
  return leave (r, call, r->api != NULL ? no_push (r, call) : flat_push (r, call, q, source, ret));
}

static int
http_remove (struct capstan_call *call, void *self, const char *ref, const struct capstan_action *a)
{
  struct repo *r = enter (call, self);
  return leave (r, call, r->api != NULL ? no_push (r, call) : flat_remove (r, call, ref));
}

static int
http_maintain (struct capstan_call *call, void *self, const struct capstan_action *a)
{
  struct repo *r = enter (call, self);
  const char *older = repo_param (a->params, a->n_params, "older_than");
  const char *dry = repo_param (a->params, a->n_params, "dry_run");
  uint64_t age = older != NULL ? strtoull (older, NULL, 10) : 86400;
  int only_say = dry != NULL && strcmp (dry, "true") == 0;
  return leave (r, call, r->api != NULL ? github_maintain (r, call, age, only_say)
                                        : flat_maintain (r, call, age, only_say));
}

static const struct capstan_repo_ops ops = {
  .struct_size = sizeof ops, .probe = http_probe, .match = http_match, .open = http_start,
  .close = http_shut, .caps = http_caps, .list = http_list, .resolve = http_resolve,
  .fetch = http_fetch, .push = http_push, .remove = http_remove, .maintain = http_maintain
};
static const struct capstan_option options[] = {
  { .key = "ca", .type = CAPSTAN_OPT_PATH,
    .help = "file (PEM) of the certificate authorities to trust instead of the system's" },
  { .key = "timeout", .type = CAPSTAN_OPT_UINT, .def = "60",
    .help = "seconds with less than 1000 bytes each after which a transfer is given up" },
  { .key = "connections", .type = CAPSTAN_OPT_UINT, .def = "4",
    .help = "at once for one large file, at most 16; 1: never in pieces" },
  { .key = "release-tag", .type = CAPSTAN_OPT_STRING, .def = "any",
    .help = "github: which release: any (the newest that has it), latest, or a tag" },
  { .key = "api", .type = CAPSTAN_OPT_STRING, .def = "https://api.github.com/",
    .help = "github: base URL of the REST API" },
};
static const struct capstan_provider provider = {
  .struct_size = sizeof provider, .kind = CAPSTAN_KIND_REPO, .name = "http",
  .summary = "web servers, and releases on GitHub", .schemes = "http,https,github",
  .caps = CAPSTAN_REPO_PUSH | CAPSTAN_REPO_RESUME | CAPSTAN_REPO_LIST | CAPSTAN_REPO_PARALLEL |
          CAPSTAN_REPO_VERSIONS | CAPSTAN_REPO_DIGEST,
  .threads = CAPSTAN_THREADS_PER_OPEN, .option_size = sizeof *options,
  .options = options, .n_options = sizeof options / sizeof *options, .ops = &ops
};
static const struct capstan_provider *const providers[] = { &provider, NULL };
static const struct capstan_plugin plugin = {
  .struct_size = sizeof plugin, .abi_major = CAPSTAN_ABI_MAJOR, .abi_minor = CAPSTAN_ABI_MINOR,
  .name = "repo-http", .version = PACKAGE_VERSION, .license = "BSD-3-Clause",
  .providers = providers
};
CAPSTAN_PLUGIN (plugin);
