/* The clone in the cache. SPDX-License-Identifier: BSD-3-Clause */
#include "config.h"
#include "plugins/repo-git/git.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PACKS_MAX = 200, REFS_MAX = 4 * 1024 * 1024 };

int
git_oid_valid (const char *s, size_t n)
{
  return (n == 40 || n == 64) && strspn (s, "0123456789abcdef") >= n;
}

static void
set_oid (char *to, const char *from, size_t n)
{
  memcpy (to, from, n);
  to[n] = '\0';
}

/* ---- what the server has ---- */

int
git_is_ref_name (const char *v)
{
  size_t n = strlen (v);
  return n > 0 && n < 200 && strspn (v, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                        "0123456789._-/+@=,") == n &&
         strchr ("-/.", v[0]) == NULL && strchr ("/.", v[n - 1]) == NULL &&
         strstr (v, "..") == NULL && strstr (v, "//") == NULL && strstr (v, "@{") == NULL;
}

/* The object of a ref in what ls-remote printed; of a tag, the commit it stands for. */
static int
find_ref (const char *out, const char *ref, char *oid)
{
  int found = 0;
  size_t len = strlen (ref);
  for (const char *l = out; *l != '\0'; l += *l == '\n') {
    size_t n = strcspn (l, "\n"), h = strcspn (l, "\t\n");
    const char *name = l + h + 1;
    size_t nlen = n > h ? n - h - 1 : 0;
    if (git_oid_valid (l, h) && nlen >= len && strncmp (name, ref, len) == 0 &&
        (nlen == len || (nlen == len + 3 && strncmp (name + len, "^{}", 3) == 0))) {
      set_oid (oid, l, h);
      found = 1;
    }
    l += n;
  }
  return found;
}

/* "ref: refs/heads/main<TAB>HEAD" */
static const char *
head_branch (struct capstan_call *call, const char *out)
{
  if (strncmp (out, "ref: refs/heads/", 16) != 0)
    return NULL;
  size_t n = strcspn (out + 5, "\t\n");
  return git_take (call, out + 5, n);
}

static int
ask (struct git *g, struct capstan_call *call, const char *const *refs, size_t n, const char **ret)
{
  const char *args[24] = { "ls-remote", "--symref", "--", "origin" };
  size_t k = 4;
  for (size_t i = 0; i < n; i++) {
    args[k++] = refs[i];
    if (strncmp (refs[i], "refs/tags/", 10) == 0)
      args[k++] = git_text (call, "%s^{}", refs[i]);
  }
  args[k] = NULL;
  struct git_cmd c = { .args = args, .flags = GIT_NET | GIT_NO_DIR, .out_max = REFS_MAX };
  int rc = git_mkdirs (call, g->home);
  if (rc == 0)
    rc = git_run (g, call, &c);
  *ret = c.out;
  return rc;
}

static int
tip_of_version (struct git *g, struct capstan_call *call, const char *name, const char *version,
                struct git_tip *ret)
{
  const char *out, *refs[3] = { git_text (call, "refs/tags/%s/%s", name != NULL ? name : "", version),
                                git_text (call, "refs/tags/%s", version),
                                git_text (call, "refs/heads/%s", version) };
  struct git_tip t = { 0 };
  if (git_is_ref_name (version)) {
    int rc = ask (g, call, refs, 3, &out);
    if (rc != 0)
      return rc;
    for (int i = 0; i < 3 && *t.oid == '\0'; i++)
      if (find_ref (out, refs[i], t.oid))
        t.ref = refs[i];
  }
  if (*t.oid == '\0' && git_oid_valid (version, strlen (version)))
    set_oid (t.oid, version, strlen (version));
  if (*t.oid == '\0')
    return capstan_error (call, CAPSTAN_E_NOTFOUND, 0, "%s has no tag and no branch '%s'%s", g->url,
                          git_clean (call, version, SIZE_MAX),
                          strspn (version, "0123456789abcdef") == strlen (version) && strlen (version) > 6
                              ? "; a commit has to be given in full" : "");
  *ret = t;
  return 0;
}

int
git_tip (struct git *g, struct capstan_call *call, const char *name, const char *version,
         struct git_tip *ret)
{
  if (version != NULL)
    return tip_of_version (g, call, name, version, ret);
  const char *out, *of_option = git_text (call, "refs/heads/%s", g->branch != NULL ? g->branch : "");
  const char *const guesses[] = { "HEAD", "refs/heads/main", "refs/heads/master" };
  struct git_tip t = { 0 };
  int rc = g->branch != NULL ? ask (g, call, &of_option, 1, &out) : ask (g, call, guesses, 3, &out);
  if (rc != 0)
    return rc;
  if (g->branch != NULL) {
    find_ref (out, of_option, t.oid);
    t.ref = of_option;
  } else if ((t.ref = head_branch (call, out)) != NULL && find_ref (out, "HEAD", t.oid)) {
    /* the usual case */
  } else
    for (int i = 1; i < 3 && *t.oid == '\0'; i++)
      if (find_ref (out, guesses[i], t.oid))
        t.ref = guesses[i];
  if (*t.oid == '\0' && g->branch == NULL)
    t.ref = guesses[1];
  *ret = t;
  return 0;
}

int
git_tag_find (struct git *g, struct capstan_call *call, const char *tag, struct git_tip *ret)
{
  const char *out, *ref = git_text (call, "refs/tags/%s", tag);
  *ret = (struct git_tip){ .ref = ref };
  if (!git_is_ref_name (tag))
    return capstan_error (call, CAPSTAN_E_INVAL, 0, "'%s' cannot be the name of a tag; the option tag of "
                          "the repository is on", git_clean (call, tag, SIZE_MAX));
  int rc = ask (g, call, &ref, 1, &out);
  if (rc == 0)
    find_ref (out, ref, ret->oid);
  return rc;
}

int
git_unborn (struct git *g, struct capstan_call *call, const char *dir, struct git_tip *ret)
{
  char text[256] = "";
  const char *to = git_text (call, "%s/empty", dir);
  struct git_cmd c = { .args = GIT_ARGS ("clone", "--bare", "--no-tags", "--template=", "--", g->url, to),
                       .flags = GIT_NET | GIT_NO_DIR | GIT_STATUS };
  int rc = git_run (g, call, &c);
  FILE *f = rc == 0 && c.status == 0 ? fopen (git_text (call, "%s/HEAD", to), "re") : NULL;
  size_t n = f != NULL ? fread (text, 1, sizeof text - 1, f) : 0;
  if (f != NULL)
    fclose (f);
  git_remove_tree (to);
  text[n] = '\0';
  text[strcspn (text, "\n")] = '\0';
  if (strncmp (text, "ref: refs/heads/", 16) == 0 && git_is_ref_name (text + 16))
    ret->ref = git_take (call, text + 5, SIZE_MAX);
  return rc;
}

/* ---- the clone ---- */
static int
write_text (struct capstan_call *call, const char *path, const char *text)
{
  FILE *f = fopen (path, "we");
  int bad = f == NULL || fputs (text, f) < 0;
  if (f != NULL && fclose (f) != 0)
    bad = 1;
  return bad ? capstan_error (call, CAPSTAN_E_IO, errno, "write %s", path) : 0;
}

/* All that git needs to take a folder for a repository. HEAD comes last: without it, what is
 * there is unfinished. */
static int
make_clone (struct git *g, struct capstan_call *call, const char *commit)
{
  static const char *const dirs[] = { "repo.git/objects/pack", "repo.git/objects/info",
                                      "repo.git/refs/capstan" };
  int sha256 = strlen (commit) == 64, rc = 0;
  git_remove_tree (git_path (g, call, "repo.git"));
  for (int i = 0; i < 3 && rc == 0; i++)
    rc = git_mkdirs (call, git_path (g, call, dirs[i]));
  if (rc == 0)
    rc = write_text (call, git_path (g, call, "repo.git/config"),
                     git_text (call, "[core]\n\trepositoryformatversion = %d\n\tbare = true\n%s", sha256,
                               sha256 ? "[extensions]\n\tobjectFormat = sha256\n" : ""));
  if (rc == 0)
    rc = write_text (call, git_path (g, call, "repo.git/HEAD"), "ref: refs/heads/none\n");
  return rc;
}

/* Is the clone there, and of the kind that the server has? */
static int
clone_fits (struct git *g, struct capstan_call *call, const char *commit)
{
  char text[512] = "";
  if (access (git_path (g, call, "repo.git/HEAD"), F_OK) != 0)
    return 0;
  FILE *f = fopen (git_path (g, call, "repo.git/config"), "re");
  size_t n = f != NULL ? fread (text, 1, sizeof text - 1, f) : 0;
  if (f != NULL)
    fclose (f);
  text[n] = '\0';
  return (strstr (text, "sha256") != NULL) == (strlen (commit) == 64) &&
         git_count_files (git_path (g, call, "repo.git/objects/pack")) <= 3 * PACKS_MAX;
}

static int
have_commit (struct git *g, struct capstan_call *call, const char *commit)
{
  return access (git_path (g, call, git_text (call, "repo.git/refs/capstan/%s", commit)), F_OK) == 0;
}

static int
fetch_commit (struct git *g, struct capstan_call *call, const char *commit)
{
  const char *refspec = git_text (call, "+%s:refs/capstan/%s", commit, commit);
  struct git_cmd c = { .args = GIT_ARGS ("fetch", "--progress", "--no-tags", "--depth=1",
                                         git_text (call, "--filter=blob:limit=%d", SMALL_BLOB),
                                         "--no-write-fetch-head", "--", "origin", refspec),
                       .flags = GIT_NET, .phase = "clone" };
  /* left by one that was killed: the lock is ours */
  unlink (git_path (g, call, "repo.git/shallow.lock"));
  int rc = git_run (g, call, &c);
  if (rc == 0 && strstr (c.err, "filtering not recognized") != NULL)
    capstan_log (call, CAPSTAN_LOG_INFO, "%s: the server sent all images, since it cannot leave any out; "
                 "`git config uploadpack.allowFilter true` there changes that", g->url);
  return rc;
}

int
git_need (struct git *g, struct capstan_call *call, const char *commit)
{
  if (*commit != '\0' && !git_oid_valid (commit, strlen (commit)))
    return capstan_error (call, CAPSTAN_E_INVAL, 0, "'%s' is no commit",
                          git_clean (call, commit, SIZE_MAX));
  int rc = git_mkdirs (call, g->home);
  int lock = rc == 0 ? git_lock (call, git_path (g, call, "lock"), 0) : rc;
  if (lock < 0)
    return lock;
  futimens (lock, NULL); /* the time it was last of use */
  if (!clone_fits (g, call, commit))
    rc = make_clone (g, call, commit);
  if (rc == 0 && *commit != '\0' && !have_commit (g, call, commit))
    rc = fetch_commit (g, call, commit);
  close (lock);
  return rc;
}
