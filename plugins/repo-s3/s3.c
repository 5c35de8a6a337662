/* Images in a bucket of S3, or of a server that speaks like it.
 * SPDX-License-Identifier: BSD-3-Clause */
#include "config.h"
#include "s3.h"
#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static void
s3_free (struct s3 *s)
{
  if (s == NULL)
    return;
  http_close (s->http);
  if (s->secret != NULL)
    explicit_bzero (s->secret, strlen (s->secret));
  if (s->token != NULL)
    explicit_bzero (s->token, strlen (s->token));
  char *all[] = { s->bucket, s->prefix, s->base, s->region, s->sigv4, s->key_id, s->secret, s->token };
  for (size_t i = 0; i < sizeof all / sizeof *all; i++)
    free (all[i]);
  free (s);
}

/* "s3://bucket/a/b" */
static int
parse_url (struct capstan_call *call, struct s3 *s, const char *url)
{
  const char *rest = url + 5, *slash = strncasecmp (url, "s3://", 5) == 0 ? strchr (rest, '/') : NULL;
  if (strncasecmp (url, "s3://", 5) != 0)
    return capstan_error (call, CAPSTAN_E_INVAL, 0, "%s: expected s3://BUCKET[/PREFIX]", url);
  size_t n = slash != NULL ? (size_t) (slash - rest) : strlen (rest);
  for (size_t i = 0; i < n; i++)
    if (!isalnum ((unsigned char) rest[i]) && strchr (".-_", rest[i]) == NULL)
      n = 0;
  if (n < 1 || n > 255)
    return capstan_error (call, CAPSTAN_E_INVAL, 0, "%s: the name of a bucket has letters, digits, '.', '-' and '_'", url);
  if (strpbrk (rest, "?#") != NULL)
    return capstan_error (call, CAPSTAN_E_INVAL, 0, "%s: no '?' or '#' is expected; settings are options: "
                          "endpoint, region, ...", url);
  s->bucket = strndup (rest, n);
  const char *p = slash != NULL ? slash + 1 : "";
  while (*p == '/')
    p++;
  size_t len = strlen (p);
  s->prefix = malloc (len + 2);
  if (s->bucket == NULL || s->prefix == NULL)
    return capstan_error (call, CAPSTAN_E_NOMEM, 0, "no memory");
  strcpy (s->prefix, p);
  if (len > 0 && p[len - 1] != '/')
    strcpy (s->prefix + len, "/");
  snprintf (s->realm, sizeof s->realm, "s3://%s", s->bucket);
  for (char *c = s->realm; *c != '\0'; c++)
    *c = (char) tolower ((unsigned char) *c);
  return 0;
}

/* URL of the bucket: the bucket in the path, or in front of the host name. */
static int
make_base (struct capstan_call *call, struct s3 *s, const char *endpoint)
{
  const char *style = capstan_host_->option (call, "style");
  char own[300];
  struct buf b = { 0 };
  int path = style != NULL && strcmp (style, "path") == 0;
  snprintf (own, sizeof own, "https://s3.%.200s.amazonaws.com", s->region);
  /* a certificate for *.host does not hold for a name with another dot */
  if (style == NULL || strcmp (style, "auto") == 0)
    path = endpoint != NULL || strchr (s->bucket, '.') != NULL;
  int rc = http_url_base (call, endpoint != NULL ? endpoint : own, &endpoint);
  if (rc != 0)
    return rc;
  const char *host = strstr (endpoint, "://") + 3;
  if (path)
    buf_printf (&b, "%s%s/", endpoint, s->bucket);
  else
    buf_printf (&b, "%.*s%s.%s", (int) (host - endpoint), endpoint, s->bucket, host);
  s->base = buf_steal (&b);
  return s->base != NULL ? 0 : capstan_error (call, CAPSTAN_E_NOMEM, 0, "no memory");
}

static uint64_t
number (struct capstan_call *call, const char *option)
{
  const char *v = capstan_host_->option (call, option);
  return v != NULL ? strtoull (v, NULL, 10) : 0;
}

static int
limits (struct capstan_call *call, struct s3 *s)
{
  s->part_size = number (call, "part-size");
  s->parallel = (uint32_t) number (call, "parallel");
  if (s->part_size < 5 << 20 || s->part_size > UINT64_C (5) << 30)
    return capstan_error (call, CAPSTAN_E_INVAL, 0, "option part-size: S3 takes parts of 5 MiB to 5 GiB");
  if (s->parallel < 1 || s->parallel > 32)
    return capstan_error (call, CAPSTAN_E_INVAL, 0, "option parallel: 1 to 32");
  return 0;
}

static int
s3_open (struct capstan_call *call, const char *url, void **ret)
{
  const char *endpoint = NULL, *ca = capstan_host_->option (call, "ca");
  struct http_config c = { .agent = "capstan-repo-s3/" PACKAGE_VERSION, .ca = ca };
  struct s3 *s = calloc (1, sizeof *s);
  if (s == NULL)
    return capstan_error (call, CAPSTAN_E_NOMEM, 0, "no memory");
  int rc = parse_url (call, s, url);
  if (rc == 0)
    rc = limits (call, s);
  if (rc == 0)
    rc = s3_settings (call, s, &endpoint);
  if (rc == 0)
    rc = make_base (call, s, endpoint);
  c.per_host = s->parallel;
  if (rc == 0)
    rc = http_open (call, &c, &s->http);
  if (rc != 0) {
    s3_free (s);
    return rc;
  }
  *ret = s;
  return 0;
}

static void
s3_close (struct capstan_call *call, void *self)
{
  s3_free (self);
}

static int
s3_probe (struct capstan_call *call)
{
  return 0; /* libcurl is linked; whether a server answers is asked of a repository */
}

static int
s3_match (struct capstan_call *call, const char *url)
{
  return strncasecmp (url, "s3://", 5) == 0;
}

#define CAPS (CAPSTAN_REPO_PUSH | CAPSTAN_REPO_RESUME | CAPSTAN_REPO_CONDITIONAL | CAPSTAN_REPO_LIST | \
              CAPSTAN_REPO_UPLOAD_RESUME)

static int
s3_caps (struct capstan_call *call, void *self, struct capstan_caps *c)
{
  struct s3 *s = self;
  char detail[S3_URL_MAX + 300], url[S3_URL_MAX];
  snprintf (detail, sizeof detail, "%s, region %s, %s", http_url_show (s->base, url, sizeof url), s->region,
            s->key_id != NULL ? "signed" : "without credentials");
  c->bits = CAPS;
  if (s->no_conditions)
    c->bits &= ~CAPSTAN_REPO_CONDITIONAL;
  c->formats = "gzip,none,zstd"; /* the original reads the first */
  c->detail = capstan_host_->keep (call, detail, SIZE_MAX);
  return 0;
}

static const struct capstan_repo_ops ops = {
  .struct_size = sizeof ops, .probe = s3_probe, .match = s3_match, .open = s3_open, .close = s3_close,
  .caps = s3_caps, .list = s3_op_list, .resolve = s3_op_resolve, .fetch = s3_op_fetch,
  .push = s3_op_push, .remove = s3_op_remove, .maintain = s3_op_maintain
};
static const struct capstan_option options[] = {
  { .key = "endpoint", .help = "URL of the server; without it that of AWS", .type = CAPSTAN_OPT_STRING },
  { .key = "region", .help = "region (AWS_REGION, ~/.aws/config, us-east-1)", .type = CAPSTAN_OPT_STRING },
  { .key = "style", .help = "where the bucket's name stands: in the path, or before the host (virtual)",
    .type = CAPSTAN_OPT_CHOICE, .choices = "auto,path,virtual", .def = "auto" },
  { .key = "profile", .help = "section of ~/.aws/credentials (AWS_PROFILE, default)", .type = CAPSTAN_OPT_STRING },
  { .key = "anonymous", .help = "use no credentials, even if there are some", .type = CAPSTAN_OPT_BOOL, .def = "false" },
  { .key = "ca", .help = "PEM file of the certificate authorities to trust instead of the system's",
    .type = CAPSTAN_OPT_PATH },
  { .key = "part-size", .help = "size of the parts of a large upload", .type = CAPSTAN_OPT_SIZE, .def = "8M" },
  { .key = "parallel", .help = "requests at once", .type = CAPSTAN_OPT_UINT, .def = "4" } };
static const struct capstan_provider provider = {
  .struct_size = sizeof provider, .kind = CAPSTAN_KIND_REPO, .name = "s3",
  .summary = "images in a bucket of S3 or of a server that speaks like it", .schemes = "s3", .caps = CAPS,
  .threads = CAPSTAN_THREADS_PER_OPEN, .option_size = sizeof *options, .options = options,
  .n_options = sizeof options / sizeof *options, .ops = &ops
};
static const struct capstan_provider *const providers[] = { &provider, NULL };
static const struct capstan_plugin plugin = {
  .struct_size = sizeof plugin, .abi_major = CAPSTAN_ABI_MAJOR, .abi_minor = CAPSTAN_ABI_MINOR,
  .name = "repo-s3", .version = PACKAGE_VERSION, .license = "BSD-3-Clause", .providers = providers
};
CAPSTAN_PLUGIN (plugin);
