/* repo-git: URLs, the environment of git, what it complains of, pointers.
 * SPDX-License-Identifier: BSD-3-Clause */
#include "config.h"
#include "core/plugin/loader.h"
#include "core/base/cancel.h"
#include "plugins/repo-git/lfs.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

const struct capstan_host *capstan_host_ = &cs_host;
static char name[] = "git", kind[] = "repository";
static struct cs_plugin plugin = { .name = name, .kind = kind };
static struct capstan_call call;

static int
setup (void **state)
{
  cs_call_init (&call, &plugin, NULL, NULL);
  return 0;
}

static int
teardown (void **state)
{
  cs_call_end (&call, 0, "test", NULL);
  return 0;
}

/* ---- URLs ---- */
static void
urls_that_are_ours (void **state)
{
  static const struct { const char *given, *url, *scheme, *realm, *last, *host; } t[] = {
    { "git+https://Host.example/a/b.git", "https://Host.example/a/b.git", "https",
      "https://host.example/a/b.git", "b", "host.example" },
    { "git+https://host:8443/a/b/", "https://host:8443/a/b/", "https", "https://host:8443/a/b", "b", "host" },
    { "https://host/x.git", "https://host/x.git", "https", "https://host/x.git", "x", "host" },
    { "github.com/owner/repo", "https://github.com/owner/repo", "https", "https://github.com/owner/repo", "repo",
      "github.com" },
    { "git+ssh://git@host:2222/srv/x.git", "ssh://git@host:2222/srv/x.git", "ssh", "", "x", "host" },
    { "git@host:owner/x.git", "ssh://git@host/owner/x.git", "ssh", "", "x", "host" },
    { "git@host:/srv/x.git", "ssh://git@host/srv/x.git", "ssh", "", "x", "host" },
    { "git+file:///srv/x.git", "file:///srv/x.git", "file", "", "x", "" },
    { "git+http://127.0.0.1:80/x", "http://127.0.0.1:80/x", "http", "http://127.0.0.1/x", "x", "127.0.0.1" },
    { "git://[::1]/x", "git://[::1]/x", "git", "", "x", "[::1]" } };
  for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
    struct git g = { 0 };
    assert_true (git_url_match (t[i].given));
    if (git_url_read (&call, t[i].given, 0, &g) != 0)
      fail_msg ("%s: %s", t[i].given, call.message);
    assert_string_equal (g.url, t[i].url);
    assert_string_equal (g.scheme, t[i].scheme);
    assert_string_equal (g.realm, t[i].realm);
    assert_string_equal (g.last, t[i].last);
    assert_string_equal (g.host, t[i].host);
    free (g.url);
    free (g.scheme);
    free (g.realm);
    free (g.last);
    free (g.host);
  }
}

static void
urls_that_are_refused (void **state)
{
  static const struct { const char *url, *why; } t[] = {
    { "--upload-pack=touch x", "no URL" },
    { "git+https://ann:secret@host/x.git", "password" },
    { "git+ext::sh -c id", "blanks" },
    { "ext::sh", "no protocol" },
    { "git+ext://sh/x", "reached by" },
    { "git+ftp://host/x", "reached by" },
    { "git+ssh://-oProxyCommand=id/x", "no host" },
    { "git+ssh://-x/y", "'-'" },
    { "git+ssh://-x@host/y", "'-'" },
    { "git+http://host/x.git", "insecure" },
    { "git://127.0.0.1.example/x", "insecure" },
    { "git+file://host/srv/x", "absolute" },
    { "git+https:///x", "no host" },
    { "git+https://host", "no repository" },
    { "git+https://host/..", "no repository" },
    { "git+https://host/x?y", "characters" },
    { "git+https://host/x\ny", "characters" },
    { "", "no URL" } };
  for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
    struct git g = { 0 };
    assert_int_equal (git_url_read (&call, t[i].url, 0, &g), -CAPSTAN_E_INVAL);
    if (strstr (call.message, t[i].why) == NULL)
      fail_msg ("%s: %s", t[i].url, call.message);
    assert_null (strstr (call.message, "secret"));
    free (g.url);
    free (g.scheme);
    free (g.realm);
    free (g.last);
    free (g.host);
  }
}

static void
urls_of_others (void **state)
{
  static const char *const t[] = { "https://host/x", "https://github.com/o/r/releases/download/v1/x.qemu",
    "s3://bucket", "http://host/images/", "github.com/owner", "github:owner/repo", "/srv/x.git", "" };
  for (size_t i = 0; i < sizeof t / sizeof *t; i++)
    assert_false (git_url_match (t[i]));
  assert_true (git_url_match ("https://github.com/owner/repo"));
  assert_true (git_url_match ("https://github.com/owner/repo/"));
}

static void
folders_differ (void **state)
{
  struct git a = { .url = (char *) "https://h/x.git", .last = (char *) "x" }, b = a;
  b.url = (char *) "https://h/y/x.git";
  const char *f = git_url_folder (&call, &a);
  assert_string_not_equal (f, git_url_folder (&call, &b));
  assert_memory_equal (f, "x-", 2);
  a.last = (char *) "a/../b c";
  assert_null (strchr (git_url_folder (&call, &a), '/'));
}

static void
refs (void **state)
{
  assert_true (git_is_ref_name ("v1.0"));
  assert_true (git_is_ref_name ("feature/x"));
  static const char *const bad[] = { "", "-x", "a..b", "a b", "a*", "/a", "a/", "a//b", "@{u}", "a:b", "~" };
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
    assert_false (git_is_ref_name (bad[i]));
}

/* ---- the environment ---- */
static const char *
value (const char **env, const char *key)
{
  size_t n = strlen (key);
  const char *r = NULL;
  for (; *env != NULL; env++)
    if (strncmp (*env, key, n) == 0 && ((*env)[n] == '=' || (*env)[n] == '\0'))
      r = (*env)[n] == '=' ? *env + n + 1 : "(unset)";
  return r;
}

static struct git
a_repository (const char *scheme)
{
  return (struct git){ .url = (char *) "https://host/x.git", .scheme = (char *) scheme, .host = (char *) "host",
                       .realm = (char *) "https://host/x", .home = (char *) "/cache/repo/x-1" };
}

static void
environment_is_closed (void **state)
{
  static const char *const hostile[] = { "GIT_DIR", "GIT_WORK_TREE", "GIT_CONFIG_PARAMETERS", "GIT_PROXY_COMMAND",
    "GIT_SSL_NO_VERIFY", "GIT_EXTERNAL_DIFF", "GIT_TEMPLATE_DIR", "GIT_OBJECT_DIRECTORY", "GIT_TRACE" };
  struct git g = a_repository ("https");
  struct git_cmd c = { .args = GIT_ARGS ("fetch"), .flags = GIT_NET | GIT_NO_DIR };
  for (size_t i = 0; i < sizeof hostile / sizeof *hostile; i++)
    setenv (hostile[i], "/evil", 1);
  setenv ("GIT_AUTHOR_NAME", "Ann", 1);
  const char **env = git_environment (&g, &call, &c, -1);
  for (size_t i = 0; i < sizeof hostile / sizeof *hostile; i++) {
    assert_string_equal (value (env, hostile[i]), "(unset)");
    unsetenv (hostile[i]);
  }
  assert_null (value (env, "GIT_AUTHOR_NAME")); /* stays as it is */
  assert_string_equal (value (env, "GIT_ALLOW_PROTOCOL"), "https");
  assert_string_equal (value (env, "GIT_TERMINAL_PROMPT"), "0");
  assert_string_equal (value (env, "GIT_CONFIG_NOSYSTEM"), "1");
  assert_string_equal (value (env, "GIT_CEILING_DIRECTORIES"), "/cache/repo");
  unsetenv ("GIT_AUTHOR_NAME");
  free (env);
}

static void
only_the_network_needs_a_protocol (void **state)
{
  struct git g = a_repository ("https");
  struct git_cmd c = { .args = GIT_ARGS ("ls-tree"), .objects = "/cache/objects" };
  const char **env = git_environment (&g, &call, &c, -1);
  assert_string_equal (value (env, "GIT_ALLOW_PROTOCOL"), "none");
  assert_string_equal (value (env, "GIT_DIR"), "/cache/repo/x-1/repo.git");
  assert_string_equal (value (env, "GIT_OBJECT_DIRECTORY"), "/cache/objects");
  assert_string_equal (value (env, "GIT_CONFIG_COUNT"), "0");
  free (env);
}

/* The secret itself stands neither in argv nor in the environment. */
static void
secrets_are_read_from_a_descriptor (void **state)
{
  struct git g = a_repository ("https");
  struct git_cmd c = { .args = GIT_ARGS ("fetch"), .flags = GIT_NET | GIT_NO_DIR };
  struct git_secret what;
  char text[200] = "";
  setenv ("CAPSTAN_SECRET_HTTPS_HOST_X_PASSWORD", "s3cret", 1);
  setenv ("CAPSTAN_SECRET_HTTPS_HOST_X_USERNAME", "ann", 1);
  int fd = git_secret_file (&g, &call, &what);
  assert_true (fd >= 0);
  assert_string_equal (what.key, "password");
  assert_true (pread (fd, text, sizeof text - 1, 0) > 0);
  assert_string_equal (text, "username=ann\npassword=s3cret\n");
  unsetenv ("CAPSTAN_SECRET_HTTPS_HOST_X_PASSWORD");
  const char **env = git_environment (&g, &call, &c, 3);
  int helpers = 0;
  for (const char **e = env; *e != NULL; e++) {
    assert_null (strstr (*e, "s3cret"));
    helpers += strstr (*e, "credential.https://host.helper") != NULL;
  }
  assert_int_equal (helpers, 2); /* the first is empty: it ends the user's own */
  free (env);
  close (fd);
}

/* ---- complaints ---- */
static void
complaints (void **state)
{
  static const struct { const char *err; uint32_t code; const char *text; } t[] = {
    { "remote: Repository not found.\nfatal: repository 'https://host/x.git/' not found\n",
      CAPSTAN_E_NOTFOUND, "not found" },
    { "fatal: could not read Username for 'https://host': terminal prompts disabled\n", CAPSTAN_E_AUTH,
      "credentials" },
    { "fatal: unable to access 'https://host/x/': Could not resolve host: host\n", CAPSTAN_E_NET, "resolve" },
    { "fatal: unable to access 'https://host/x/': SSL certificate problem: self-signed certificate\n",
      CAPSTAN_E_UNTRUSTED, "ca=FILE" },
    { "fatal: unable to access 'https://host/x/': The requested URL returned error: 503\n", CAPSTAN_E_BUSY,
      "503" },
    { "Host key verification failed.\nfatal: Could not read from remote repository.\n", CAPSTAN_E_UNTRUSTED,
      "compare" },
    { "git@host: Permission denied (publickey).\nfatal: Could not read from remote repository.\n",
      CAPSTAN_E_AUTH, "ssh-add" },
    { "error: RPC failed; HTTP 413 curl 22 The requested URL returned error: 413\nfatal: the remote end hung up\n",
      CAPSTAN_E_LIMIT, "size" },
    { "fatal: early EOF\nfatal: fetch-pack: invalid index-pack output\n", CAPSTAN_E_NET, "early EOF" },
    { "fatal: write error: No space left on device\n", CAPSTAN_E_QUOTA, "No space" },
    { "fatal: something new\n\033[31mhint: try this\n", CAPSTAN_E_IO, "something new" } };
  struct git g = a_repository ("https");
  for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
    struct git_cmd c = { .args = GIT_ARGS ("fetch"), .err = t[i].err, .status = 128 };
    assert_int_equal (git_failed (&g, &call, &c), -(int) t[i].code);
    if (strstr (call.message, t[i].text) == NULL)
      fail_msg ("%s", call.message);
    assert_null (strchr (call.message, '\n'));
    assert_null (strchr (call.message, '\033'));
  }
}

/* ---- pointers ---- */
#define HEX64 "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

static void
pointers (void **state)
{
  const char *oid = NULL, *text = lfs_pointer_text (&call, HEX64, 12345);
  uint64_t size = 0;
  assert_true (lfs_pointer_read (&call, text, strlen (text), &oid, &size));
  assert_string_equal (oid, HEX64);
  assert_int_equal (size, 12345);
  static const char *const bad[] = { "", "version https://git-lfs.github.com/spec/v1\n",
    "version https://git-lfs.github.com/spec/v1\noid sha256:0123\nsize 1\n",
    "version https://git-lfs.github.com/spec/v1\noid sha256:" HEX64 "\nsize -1\n",
    "version https://git-lfs.github.com/spec/v1\noid sha1:" HEX64 "\nsize 1\n",
    "oid sha256:" HEX64 "\nsize 1\n", "QFI\xfb" };
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
    assert_false (lfs_pointer_read (&call, bad[i], strlen (bad[i]), &oid, &size));
}

static void
attributes (void **state)
{
  static const struct { const char *text, *path; int is; } t[] = {
    { "*.qemu filter=lfs diff=lfs merge=lfs -text\n", "app.qemu", 1 },
    { "*.qemu filter=lfs\n", "a/app.qemu", 1 },
    { "*.qemu filter=lfs\napp.qemu -filter\n", "app.qemu", 0 },
    { "/app.qemu filter=lfs\n", "app.qemu", 1 },
    { "a/*.qemu filter=lfs\n", "a/b/app.qemu", 0 },
    { "a/*.qemu filter=lfs", "a/app.qemu", 1 },
    { "# *.qemu filter=lfs\n", "app.qemu", 0 },
    { "*.qemu text\n", "app.qemu", 0 },
    { "", "app.qemu", 0 } };
  for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
    int is = 0;
    lfs_attributes_say (t[i].text, t[i].path, &is);
    if (is != t[i].is)
      fail_msg ("%s of %s", t[i].text, t[i].path);
  }
}

int
main (void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test (urls_that_are_ours), cmocka_unit_test (urls_that_are_refused),
    cmocka_unit_test (urls_of_others), cmocka_unit_test (folders_differ), cmocka_unit_test (refs),
    cmocka_unit_test (environment_is_closed), cmocka_unit_test (only_the_network_needs_a_protocol),
    cmocka_unit_test (secrets_are_read_from_a_descriptor), cmocka_unit_test (complaints),
    cmocka_unit_test (pointers), cmocka_unit_test (attributes) };
  return cmocka_run_group_tests (tests, setup, teardown);
}
