/* The LFS server of a repository, and its batch API. SPDX-License-Identifier: BSD-3-Clause */
#include "config.h"
#include "plugins/repo-git/lfs.h"
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { ANSWER_MAX = 256 * 1024 };
#define JSON_TYPE "application/vnd.git-lfs+json"

/* ---- where it is ---- */

/* For a URL of git: the same without a final '/', and with ".git". */
static const char *
with_dot_git (struct capstan_call *call, const char *url)
{
  size_t n = strlen (url);
  while (n > 0 && url[n - 1] == '/')
    n--;
  int has = n > 4 && strncmp (url + n - 4, ".git", 4) == 0;
  return git_text (call, "%.*s%s", (int) n, url, has ? "" : ".git");
}

/* What .lfsconfig of the commit says; it came with the repository, so that it may not lead
 * to where the repository itself could not lie. */
static int
url_of_config (struct lfs *l, const char *commit)
{
  struct git_cmd c = { .args = GIT_ARGS ("config", "--blob", git_text (l->call, "%s:.lfsconfig", commit),
                                         "lfs.url"), .flags = GIT_STATUS };
  int rc = *commit != '\0' ? git_run (l->g, l->call, &c) : 0;
  size_t n = c.out != NULL ? strcspn (c.out, "\n") : 0;
  if (rc != 0 || *commit == '\0' || c.status != 0 || n == 0)
    return rc;
  const char *url = git_take (l->call, c.out, n);
  int plain = strncasecmp (url, "http://", 7) == 0;
  if (strncasecmp (url, "https://", 8) != 0 && !(plain && strcmp (l->g->scheme, "https") != 0 && http_url_loopback (url)))
    return capstan_error (l->call, CAPSTAN_E_UNTRUSTED, 0, "%s: .lfsconfig names %s as its Git LFS server, "
                          "which is not encrypted; the option lfs-url of the repository can name another",
                          l->g->url, git_clean (l->call, url, n));
  l->url = url;
  return 0;
}

static int
add_headers (struct capstan_call *call, json_t *from, struct capstan_kv *to, size_t *n, int *authorized)
{
  const char *key;
  json_t *value;
  json_object_foreach (from, key, value)
  {
    const char *v = json_string_value (value);
    if (v == NULL || strcasecmp (key, "Transfer-Encoding") == 0 || strcasecmp (key, "Content-Length") == 0)
      continue;
    if (*n == 15 || strpbrk (key, "\r\n: ") != NULL || strpbrk (v, "\r\n") != NULL)
      return capstan_error (call, CAPSTAN_E_UNTRUSTED, 0, "the Git LFS server wants headers that are none");
    if (strcasecmp (key, "Authorization") == 0)
      *authorized = 1;
    to[(*n)++] = (struct capstan_kv){ git_take (call, key, SIZE_MAX), git_take (call, v, SIZE_MAX) };
  }
  return 0;
}

/* ssh USER@HOST git-lfs-authenticate PATH OPERATION: where, and as whom. A server without
 * that has its LFS, if any, where the convention says. */
static int
ask_by_ssh (struct lfs *l, const char *operation)
{
  const char *a = l->g->url + strlen ("ssh://"), *path = strchr (a, '/'), *at = strchr (a, '@');
  const char *user = at != NULL && at < path ? git_take (l->call, a, (size_t) (at + 1 - a)) : "";
  const char *port = strchr (a + strlen (user) + strlen (l->g->host), ':');
  int has_port = port != NULL && port < path, n_port = has_port ? (int) (path - port - 1) : 0, unused = 0;
  const char *ssh = git_ssh_command (l->g, l->call, &unused);
  const char *argv[] = { "sh", "-c", git_text (l->call, "%s \"$@\"", ssh), "ssh", "-p",
                         has_port ? git_text (l->call, "%.*s", n_port, port + 1) : "22",
                         git_text (l->call, "%s%s", user, l->g->host),
                         git_text (l->call, "git-lfs-authenticate '%s' %s", path, operation), NULL };
  struct capstan_run_req q = { .struct_size = sizeof q, .argv = argv, .in_fd = -1, .out_fd = -1, .err_fd = -1 };
  struct capstan_run_rsp r = { .struct_size = sizeof r };
  l->url = git_text (l->call, "https://%s%s/info/lfs", l->g->host, with_dot_git (l->call, path));
  if (strchr (path, '\'') != NULL)
    return 0;
  int rc = capstan_host_->run (l->call, &q, &r);
  json_t *j = rc == 0 && r.exit_status == 0 ? json_loadb (r.out, r.out_len, 0, NULL) : NULL;
  const char *href = json_string_value (json_object_get (j, "href"));
  if (rc == 0 && href != NULL) {
    l->url = git_take (l->call, href, SIZE_MAX);
    rc = add_headers (l->call, json_object_get (j, "header"), l->headers, &l->n_headers, &unused);
  }
  json_decref (j);
  return rc;
}

static int
find_server (struct lfs *l, const char *commit, const char *operation)
{
  struct git *g = l->g;
  int rc = 0;
  if (g->lfs_url != NULL)
    l->url = g->lfs_url;
  else
    rc = url_of_config (l, commit);
  if (rc == 0 && l->url == NULL && strncmp (g->scheme, "http", 4) == 0)
    l->url = git_text (l->call, "%s/info/lfs", with_dot_git (l->call, g->url));
  else if (rc == 0 && l->url == NULL && strcmp (g->scheme, "ssh") == 0)
    rc = ask_by_ssh (l, operation);
  if (rc != 0)
    return rc;
  if (l->url == NULL)
    return capstan_error (l->call, CAPSTAN_E_UNSUPPORTED, 0, "%s: nothing says where its Git LFS server is; "
                          "the option lfs-url of the repository can", g->url);
  const char *base;
  if ((rc = http_url_base (l->call, l->url, &base)) == 0)
    l->url = git_take (l->call, base, strlen (base) - 1);
  return rc;
}

int
lfs_open (struct lfs *l, struct git *g, struct capstan_call *call, const char *commit,
          const char *operation)
{
  *l = (struct lfs){ .g = g, .call = call };
  struct http_config c = { .agent = "capstan-repo-git/" PACKAGE_VERSION, .ca = g->ca };
  int rc = find_server (l, commit, operation);
  if (rc == 0)
    rc = http_open (call, &c, &l->http);
  if (rc != 0 || l->n_headers > 0)
    return rc;
  char realm[1100];
  http_url_realm (l->url, realm, sizeof realm);
  git_secret (call, git_take (call, realm, SIZE_MAX), &l->secret);
  l->auth.user = l->secret.user;
  l->auth.password = l->secret.password;
  return 0;
}

void
lfs_close (struct lfs *l)
{
  http_close (l->http);
  l->http = NULL;
}

/* ---- credentials of the user's own helpers ---- */
static void
tell_helper (struct lfs *l, const char *what)
{
  struct git_cmd c = { .args = GIT_ARGS ("credential", what), .flags = GIT_STATUS | GIT_NO_DIR,
                       .input = l->filled, .input_len = strlen (l->filled) };
  git_run (l->g, l->call, &c);
}

static const char *
line_value (struct capstan_call *call, const char *text, const char *key)
{
  size_t n = strlen (key);
  for (const char *l = text; *l != '\0'; l += strcspn (l, "\n"), l += *l == '\n')
    if (strncmp (l, key, n) == 0)
      return git_take (call, l + n, strcspn (l + n, "\n"));
  return NULL;
}

/* TRUE: there is something new to try. */
static int
ask_helper (struct lfs *l)
{
  if (l->filled != NULL || l->auth.password != NULL || l->n_headers > 0)
    return 0;
  const char *in = git_text (l->call, "url=%s\n\n", l->url);
  struct git_cmd c = { .args = GIT_ARGS ("credential", "fill"), .flags = GIT_STATUS | GIT_NO_DIR,
                       .input = in, .input_len = strlen (in) };
  if (git_run (l->g, l->call, &c) != 0 || c.status != 0)
    return 0;
  l->auth.user = line_value (l->call, c.out, "username=");
  l->auth.password = line_value (l->call, c.out, "password=");
  l->filled = c.out;
  return l->auth.user != NULL && l->auth.password != NULL;
}

/* ---- the batch API ---- */
static const char *
batch_text (struct capstan_call *call, const char *operation, const char *oid, uint64_t size)
{
  json_t *j = json_pack ("{s:s, s:[s], s:s, s:[{s:s, s:I}]}", "operation", operation, "transfers", "basic",
                         "hash_algo", "sha256", "objects", "oid", oid, "size", (json_int_t) size);
  char *s = json_dumps (j, JSON_COMPACT);
  const char *r = s != NULL ? git_take (call, s, SIZE_MAX) : NULL;
  free (s);
  json_decref (j);
  return r;
}

static int
post (struct lfs *l, const char *body, const char **ret_text, size_t *ret_len)
{
  struct capstan_kv headers[20];
  size_t n = 0;
  headers[n++] = (struct capstan_kv){ "Accept", JSON_TYPE };
  headers[n++] = (struct capstan_kv){ "Content-Type", JSON_TYPE };
  for (size_t i = 0; i < l->n_headers; i++)
    headers[n++] = l->headers[i];
  struct http_req q = { .method = "POST", .url = git_text (l->call, "%s/objects/batch", l->url),
                        .headers = headers, .n_headers = n, .data = body, .body_size = strlen (body),
                        .has_body = 1, .auth = l->auth.password != NULL ? &l->auth : NULL };
  struct http_rsp r = { 0 };
  int rc = http_text (l->http, l->call, &q, ANSWER_MAX, ret_text, ret_len, &r);
  http_rsp_clear (&r);
  return rc;
}

static int
asked (struct lfs *l, const char *body, const char **ret_text, size_t *ret_len)
{
  int rc = post (l, body, ret_text, ret_len);
  if (rc == -CAPSTAN_E_AUTH && ask_helper (l))
    rc = post (l, body, ret_text, ret_len);
  git_secret_tell (l->call, &l->secret, rc);
  if (l->filled != NULL && (rc == 0 || rc == -CAPSTAN_E_AUTH))
    tell_helper (l, rc == 0 ? "approve" : "reject");
  return rc;
}

static int
read_action (struct lfs *l, json_t *actions, const char *name, struct lfs_action *ret)
{
  json_t *a = json_object_get (actions, name);
  const char *href = json_string_value (json_object_get (a, "href"));
  *ret = (struct lfs_action){ 0 };
  if (a == NULL)
    return 0;
  if (href == NULL || (strncasecmp (href, "https://", 8) != 0 &&
                       !(strncasecmp (href, "http://", 7) == 0 && strncasecmp (l->url, "http://", 7) == 0)))
    return capstan_error (l->call, CAPSTAN_E_UNTRUSTED, 0, "%s: the Git LFS server leads to a place that is "
                          "not encrypted", l->url);
  ret->href = git_take (l->call, href, SIZE_MAX);
  return add_headers (l->call, json_object_get (a, "header"), ret->headers, &ret->n_headers, &ret->authorized);
}

static int
object_error (struct lfs *l, const char *oid, json_t *e)
{
  int code = (int) json_integer_value (json_object_get (e, "code"));
  const char *m = json_string_value (json_object_get (e, "message"));
  return capstan_error (l->call, code == 404 || code == 410 ? CAPSTAN_E_NOTFOUND
                                 : code == 507              ? CAPSTAN_E_QUOTA
                                 : code == 422 || code == 413 ? CAPSTAN_E_LIMIT : CAPSTAN_E_IO, 0,
                        "%s: the Git LFS server says of object %.16s...: %s (%d)", l->url, oid,
                        m != NULL ? git_clean (l->call, m, SIZE_MAX) : "nothing", code);
}

int
lfs_batch (struct lfs *l, const char *operation, const char *oid, uint64_t size,
           struct lfs_action *ret, struct lfs_action *verify)
{
  const char *body = batch_text (l->call, operation, oid, size), *text;
  size_t n;
  int rc = body != NULL ? asked (l, body, &text, &n)
                        : capstan_error (l->call, CAPSTAN_E_NOMEM, 0, "no memory");
  if (rc != 0)
    return rc;
  json_t *j = json_loadb (text, n, JSON_REJECT_DUPLICATES, NULL), *o, *actions;
  const char *transfer = json_string_value (json_object_get (j, "transfer")), *is;
  o = json_array_get (json_object_get (j, "objects"), 0);
  is = json_string_value (json_object_get (o, "oid"));
  actions = json_object_get (o, "actions");
  if (is == NULL || strcmp (is, oid) != 0 || (transfer != NULL && strcmp (transfer, "basic") != 0))
    rc = capstan_error (l->call, CAPSTAN_E_UNSUPPORTED, 0, "%s: no Git LFS server answers there", l->url);
  else if (json_object_get (o, "error") != NULL)
    rc = object_error (l, oid, json_object_get (o, "error"));
  else if ((rc = read_action (l, actions, operation, ret)) == 0 && verify != NULL)
    rc = read_action (l, actions, "verify", verify);
  json_decref (j);
  return rc;
}
