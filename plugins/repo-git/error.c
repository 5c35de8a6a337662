/* What git complains of. SPDX-License-Identifier: BSD-3-Clause */
#include "config.h"
#include "plugins/repo-git/git.h"
#include <stdlib.h>
#include <string.h>

enum { SAID_MAX = 600 };

const char *
git_text (struct capstan_call *call, const char *fmt, ...)
{
  va_list ap;
  char *s = NULL;
  va_start (ap, fmt);
  int n = vasprintf (&s, fmt, ap);
  va_end (ap);
  const char *r = capstan_host_->keep (call, n >= 0 ? s : "", SIZE_MAX);
  if (n >= 0)
    free (s);
  return r;
}

const char *
git_take (struct capstan_call *call, const char *s, size_t n)
{
  return capstan_host_->keep (call, s, n);
}

const char *
git_clean (struct capstan_call *call, const char *s, size_t n)
{
  char out[SAID_MAX];
  size_t o = 0;
  for (size_t i = 0; i < n && s[i] != '\0' && o + 1 < sizeof out; i++)
    out[o++] = (unsigned char) s[i] < ' ' || s[i] == 0x7f ? ' ' : s[i];
  return git_take (call, out, o);
}

/* Lines that say nothing to somebody who did not type a git command. */
static int
is_noise (const char *line, size_t n)
{
  static const char *const noise[] = { "hint:", "remote: Enumerating", "remote: Counting",
    "remote: Compressing", "remote: Total", "Please make sure you have the correct access",
    "and the repository exists", "Cloning into", "From ", "To ", "warning: redirecting",
    "Warning: Permanently added", "Connection to ", "error: failed to push some refs",
    "Enumerating objects", "Total ", "Delta compression", " * [new" };
  if (n == 0 || (n == 7 && strncmp (line, "remote:", 7) == 0))
    return 1;
  for (size_t i = 0; i < sizeof noise / sizeof *noise; i++)
    if (strncmp (line, noise[i], strlen (noise[i])) == 0)
      return 1;
  return 0;
}

const char *
git_complaint (struct capstan_call *call, const char *err)
{
  char out[SAID_MAX];
  size_t o = 0;
  for (const char *l = err; *l != '\0';) {
    size_t n = strcspn (l, "\n"), all = n;
    const char *from = l;
    while (n > 0 && from[n - 1] == ' ')
      n--;
    if (strncmp (from, "fatal: ", 7) == 0 || strncmp (from, "error: ", 7) == 0)
      from += 7, n -= n < 7 ? n : 7;
    if (!is_noise (l, all) && o + n + 3 < sizeof out) {
      o += (size_t) snprintf (out + o, sizeof out - o, "%s", o > 0 ? "; " : "");
      memcpy (out + o, from, n);
      o += n;
    }
    l += all + (l[all] == '\n');
  }
  return o > 0 ? git_clean (call, out, o) : "it gave no reason";
}

/* In the order of what to believe: the first that is found in what git printed. */
static const struct { const char *text; uint32_t code; const char *hint; } known[] = {
  { "Host key verification failed", CAPSTAN_E_UNTRUSTED,
    "connect to it with ssh once, and compare the key of the host" },
  { "REMOTE HOST IDENTIFICATION HAS CHANGED", CAPSTAN_E_UNTRUSTED, NULL },
  { "SSL certificate", CAPSTAN_E_UNTRUSTED, "the option ca=FILE names the authority to trust" },
  { "certificate verif", CAPSTAN_E_UNTRUSTED, "the option ca=FILE names the authority to trust" },
  { "terminal prompts disabled", CAPSTAN_E_AUTH,
    "it wants a user: put one into the credentials, or set up a credential helper of git" },
  { "could not read Username", CAPSTAN_E_AUTH,
    "it wants a user: put one into the credentials, or set up a credential helper of git" },
  { "could not read Password", CAPSTAN_E_AUTH, "it wants a password: put it into the credentials" },
  { "Authentication failed", CAPSTAN_E_AUTH, "user or password are not those of the server" },
  { "Permission denied (", CAPSTAN_E_AUTH,
    "ssh has no key that the server takes; `ssh-add` gives the agent one" },
  { "error: 403", CAPSTAN_E_PERM, NULL },
  { "error: 401", CAPSTAN_E_AUTH, NULL },
  { "HTTP 413", CAPSTAN_E_LIMIT, "the server takes no request of this size" },
  { "error: 413", CAPSTAN_E_LIMIT, "the server takes no request of this size" },
  { "error: 429", CAPSTAN_E_BUSY, NULL },
  { "error: 503", CAPSTAN_E_BUSY, NULL },
  { "dubious ownership", CAPSTAN_E_PERM,
    "the repository belongs to another user: git config --global --add safe.directory PATH" },
  { "No space left on device", CAPSTAN_E_QUOTA, NULL },
  { "Disk quota exceeded", CAPSTAN_E_QUOTA, NULL },
  { "transport 'http", CAPSTAN_E_UNTRUSTED, "a redirect to another protocol is not followed" },
  { "dumb http transport does not support", CAPSTAN_E_UNSUPPORTED,
    "the server hands out files only; it needs git http-backend" },
  { "unadvertised object", CAPSTAN_E_UNSUPPORTED,
    "the server does not give single commits; name a tag or a branch" },
  { "not our ref", CAPSTAN_E_NOTFOUND, NULL },
  { "couldn't find remote ref", CAPSTAN_E_NOTFOUND, NULL },
  { "does not appear to be a git repository", CAPSTAN_E_NOTFOUND, NULL },
  { "not a git repository", CAPSTAN_E_NOTFOUND, NULL },
  { "epository not found", CAPSTAN_E_NOTFOUND, NULL },
  { "access denied or repository not exported", CAPSTAN_E_NOTFOUND, NULL },
  { "error: 404", CAPSTAN_E_NOTFOUND, NULL },
  { "' not found", CAPSTAN_E_NOTFOUND, NULL },
  { "service not enabled", CAPSTAN_E_PERM, "the server takes no pushes" },
  { "Permission to ", CAPSTAN_E_PERM, NULL },
  { "insufficient permission", CAPSTAN_E_PERM, NULL },
  { "Permission denied", CAPSTAN_E_PERM, NULL },
  { "Operation too slow", CAPSTAN_E_TIMEOUT, NULL },
  { "timed out", CAPSTAN_E_TIMEOUT, NULL },
  { "Timeout", CAPSTAN_E_TIMEOUT, NULL },
  { "unable to access", CAPSTAN_E_NET, NULL },
  { "unable to connect", CAPSTAN_E_NET, NULL },
  { "Could not resolve host", CAPSTAN_E_NET, NULL },
  { "Connection refused", CAPSTAN_E_NET, NULL },
  { "Connection reset", CAPSTAN_E_NET, NULL },
  { "Connection closed", CAPSTAN_E_NET, NULL },
  { "Broken pipe", CAPSTAN_E_NET, NULL },
  { "RPC failed", CAPSTAN_E_NET, NULL },
  { "early EOF", CAPSTAN_E_NET, NULL },
  { "unexpected disconnect", CAPSTAN_E_NET, NULL },
  { "the remote end hung up", CAPSTAN_E_NET, NULL },
  { "invalid index-pack output", CAPSTAN_E_NET, NULL },
  { "Could not read from remote repository", CAPSTAN_E_NET, NULL } };

int
git_failed (struct git *g, struct capstan_call *call, const struct git_cmd *c)
{
  const char *said = git_complaint (call, c->err), *hint = NULL;
  uint32_t code = CAPSTAN_E_IO;
  for (size_t i = 0; i < sizeof known / sizeof *known; i++)
    if (strstr (c->err, known[i].text) != NULL) {
      code = known[i].code;
      hint = known[i].hint;
      break;
    }
  if (code == CAPSTAN_E_NOTFOUND && strcmp (c->args[0], "push") == 0) { /* it was just read */
    code = CAPSTAN_E_PERM;
    hint = "the server takes no pushes";
  }
  if (code == CAPSTAN_E_IO && c->status > 128)
    said = git_text (call, "%s (signal %d)", said, c->status - 128);
  return capstan_error (call, code, 0, "%s: git %s: %s%s%s", g->url, c->args[0], said,
                        hint != NULL ? "; " : "", hint != NULL ? hint : "");
}
