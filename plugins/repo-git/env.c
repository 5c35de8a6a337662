/* The environment that git runs in. SPDX-License-Identifier: BSD-3-Clause
 *
 * Nothing of the user's settings makes git run a program, but what brings his credentials:
 * credential helpers, ssh, its agent. The URL, the CA file and the way to the credentials go
 * through the environment, so that argv is the same for every repository. */
#include "config.h"
#include "plugins/repo-git/git.h"
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* No large file is taken into memory, no pack mapped whole. */
#define LOCAL_SERVER "-c core.bigFileThreshold=1m -c core.packedGitWindowSize=1m -c core.packedGitLimit=8m"

extern char **environ;

struct env {
  struct capstan_call *call;
  const char **v;
  size_t n, room, n_conf;
};

static void
env_add (struct env *e, const char *s)
{
  if (s != NULL && e->n + 1 < e->room)
    e->v[e->n++] = s;
}

static void
env_conf (struct env *e, const char *key, const char *value)
{
  env_add (e, git_text (e->call, "GIT_CONFIG_KEY_%zu=%s", e->n_conf, key));
  env_add (e, git_text (e->call, "GIT_CONFIG_VALUE_%zu=%s", e->n_conf, value));
  e->n_conf++;
}

/* Of the user's GIT_ variables these stay: who he is, and how he reaches servers. */
static int
is_kept (const char *var, int own_ca)
{
  static const char *const kept[] = { "SSH", "SSH_COMMAND", "SSH_VARIANT", "ASKPASS", "EXEC_PATH",
    "SSL_CAINFO", "SSL_CAPATH", "SSL_CERT", "SSL_KEY", "CONFIG_GLOBAL", "AUTHOR_NAME",
    "AUTHOR_EMAIL", "AUTHOR_DATE", "COMMITTER_NAME", "COMMITTER_EMAIL", "COMMITTER_DATE" };
  size_t n = strcspn (var, "=");
  if (own_ca && strncmp (var, "GIT_SSL_CA", 10) == 0)
    return 0;
  for (size_t i = 0; i < sizeof kept / sizeof *kept; i++)
    if (n == 4 + strlen (kept[i]) && strncmp (var + 4, kept[i], n - 4) == 0)
      return 1;
  return 0;
}

/* Secrets for capstan are none of git's business. */
static int
is_dropped (struct git *g, const char *var)
{
  return strncmp (var, "CAPSTAN_SECRET_", 15) == 0 ||
         (strncmp (var, "GIT_", 4) == 0 && !is_kept (var, g->ca != NULL));
}

static void
env_close (struct git *g, struct env *e)
{
  for (char **v = environ; *v != NULL; v++)
    if (is_dropped (g, *v))
      env_add (e, git_take (e->call, *v, strcspn (*v, "=")));
  static const char *const set[] = { "GIT_CONFIG_NOSYSTEM=1", "GIT_ATTR_NOSYSTEM=1",
    "GIT_TERMINAL_PROMPT=0", "GIT_NO_REPLACE_OBJECTS=1", "GIT_OPTIONAL_LOCKS=0", "LC_ALL=C",
    "LANGUAGE" };
  for (size_t i = 0; i < sizeof set / sizeof *set; i++)
    env_add (e, set[i]);
}

const char *
git_ssh_command (struct git *g, struct capstan_call *call, int *ret_own)
{
  struct git_cmd c = { .args = GIT_ARGS ("config", "core.sshCommand"),
                       .flags = GIT_STATUS | GIT_NO_DIR };
  const char *ssh = getenv ("GIT_SSH_COMMAND");
  if (ssh == NULL)
    ssh = getenv ("GIT_SSH");
  if (ssh == NULL && git_run (g, call, &c) == 0 && c.status == 0)
    ssh = git_take (call, c.out, strcspn (c.out, "\n"));
  *ret_own = ssh != NULL;
  return ssh != NULL ? ssh
                     : "ssh -oBatchMode=yes -oConnectTimeout=30 -oServerAliveInterval=15 "
                       "-oServerAliveCountMax=4";
}

/* What only a command that talks to the server gets. Without it the clone is an ordinary
 * repository in which some blobs are missing, and git does not go and get them by itself. */
static void
env_net (struct git *g, struct env *e, const struct git_cmd *c, int secret_fd)
{
  env_add (e, git_text (e->call, "GIT_ALLOW_PROTOCOL=%s%s", g->scheme,
                        strcmp (g->scheme, "http") == 0 ? ":https" : ""));
  int own = 1;
  const char *ssh = strcmp (g->scheme, "ssh") == 0 ? git_ssh_command (g, e->call, &own) : NULL;
  if (!own)
    env_conf (e, "core.sshCommand", ssh);
  env_conf (e, "remote.origin.url", g->url);
  if (strcmp (g->scheme, "file") == 0) { /* here we are the server as well */
    env_conf (e, "remote.origin.uploadpack", "git " LOCAL_SERVER " -c uploadpack.allowFilter=true "
              "-c uploadpack.packObjectsHook=env upload-pack"); /* env: no program of anybody's */
    env_conf (e, "remote.origin.receivepack", "git " LOCAL_SERVER " -c receive.unpackLimit=1 "
              "-c core.hooksPath=hooks receive-pack"); /* the repository's own, not the user's */
  }
  env_conf (e, "remote.origin.promisor", "true");
  env_conf (e, "remote.origin.partialclonefilter", git_text (e->call, "blob:limit=%d", SMALL_BLOB));
  if (c->flags & GIT_BLOB)
    env_conf (e, "fetch.negotiationAlgorithm", "noop");
  if (g->ca != NULL) /* unlike http.sslCAInfo it comes before all that the user has set */
    env_add (e, git_text (e->call, "GIT_SSL_CAINFO=%s", g->ca));
  if (secret_fd < 0)
    return;
  /* An empty helper is the end of those that came before. */
  size_t origin = strlen (g->scheme) + 3;
  origin += strcspn (g->realm + origin, "/");
  const char *key = git_text (e->call, "credential.%.*s.helper", (int) origin, g->realm);
  env_conf (e, key, "");
  env_conf (e, key, git_text (e->call, "!f() { test \"$1\" != get || cat /dev/fd/%d; }; f", secret_fd));
}

/* commit-tree wants a name; whoever has not told git one is called as the system does. */
static void
env_identity (struct git *g, struct env *e)
{
  struct git_cmd c = { .args = GIT_ARGS ("config", "user.email"), .flags = GIT_STATUS };
  char host[256] = "localhost";
  if (getenv ("GIT_AUTHOR_EMAIL") != NULL || getenv ("EMAIL") != NULL)
    return;
  if (git_run (g, e->call, &c) != 0 || c.status == 0)
    return;
  struct passwd *pw = getpwuid (geteuid ());
  const char *login = pw != NULL ? pw->pw_name : "capstan";
  gethostname (host, sizeof host - 1);
  static const char *const whom[] = { "AUTHOR", "COMMITTER" };
  for (int i = 0; i < 2; i++) {
    env_add (e, git_text (e->call, "GIT_%s_NAME=%s", whom[i], login));
    env_add (e, git_text (e->call, "GIT_%s_EMAIL=%s@%s", whom[i], login, host));
  }
}

const char **
git_environment (struct git *g, struct capstan_call *call, const struct git_cmd *c, int secret_fd)
{
  struct env e = { .call = call, .room = 64 };
  for (char **v = environ; *v != NULL; v++)
    e.room += (size_t) is_dropped (g, *v);
  if ((e.v = calloc (e.room, sizeof *e.v)) == NULL)
    return NULL;
  env_close (g, &e);
  if (c->flags & GIT_NET)
    env_net (g, &e, c, secret_fd);
  else
    env_add (&e, "GIT_ALLOW_PROTOCOL=none");
  if (c->flags & GIT_SIGNS)
    env_identity (g, &e);
  /* without a clone: none that happens to lie further up is looked into */
  if (c->flags & GIT_NO_DIR)
    env_add (&e, git_text (call, "GIT_CEILING_DIRECTORIES=%.*s",
                           (int) (strrchr (g->home, '/') - g->home), g->home));
  else
    env_add (&e, git_text (call, "GIT_DIR=%s/repo.git", g->home));
  if (c->objects != NULL) {
    env_add (&e, git_text (call, "GIT_OBJECT_DIRECTORY=%s", c->objects));
    env_add (&e, git_text (call, "GIT_ALTERNATE_OBJECT_DIRECTORIES=%s/repo.git/objects", g->home));
  }
  env_add (&e, git_text (call, "GIT_CONFIG_COUNT=%zu", e.n_conf));
  return e.v;
}

static void
ask_realm (struct capstan_call *call, const char *realm, struct git_secret *ret)
{
  const struct capstan_host *h = capstan_host_;
  if ((ret->password = h->secret (call, realm, "token")) != NULL)
    ret->key = "token";
  else if ((ret->password = h->secret (call, realm, "password")) != NULL) {
    ret->key = "password";
    ret->user = h->secret (call, realm, "username");
  }
  ret->realm = realm;
}

void
git_secret (struct capstan_call *call, const char *realm, struct git_secret *ret)
{
  const char *token = getenv ("GITHUB_TOKEN"), *host = strstr (realm, "://");
  *ret = (struct git_secret){ 0 };
  if (token != NULL && *token != '\0' && strncmp (realm, "https://github.com", 18) == 0 &&
      (realm[18] == '/' || realm[18] == '\0'))
    ret->password = token;
  else
    ask_realm (call, realm, ret);
  const char *path = host != NULL ? strchr (host + 3, '/') : NULL;
  if (ret->password == NULL && path != NULL)
    ask_realm (call, git_take (call, realm, (size_t) (path - realm)), ret);
  if (ret->user == NULL && ret->password != NULL)
    ret->user = "x-access-token"; /* any name does */
}

void
git_secret_tell (struct capstan_call *call, const struct git_secret *s, int rc)
{
  if (s->key != NULL && (rc == 0 || rc == -CAPSTAN_E_AUTH))
    capstan_host_->secret_result (call, s->realm, s->key, rc == 0);
}

/* In memory that only this process and its children see. */
int
git_secret_file (struct git *g, struct capstan_call *call, struct git_secret *ret)
{
  *ret = (struct git_secret){ 0 };
  if (*g->realm != '\0')
    git_secret (call, g->realm, ret);
  if (ret->password == NULL)
    return -1;
  int fd = memfd_create ("capstan-git", MFD_CLOEXEC);
  if (fd >= 0 && dprintf (fd, "username=%s\npassword=%s\n", ret->user, ret->password) < 0) {
    close (fd);
    fd = -1;
  }
  return fd;
}
