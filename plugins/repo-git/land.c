/* One commit on the tip of a branch. SPDX-License-Identifier: BSD-3-Clause
 *
 * The tree is the one at the tip, of which only the folders on the way to the entry are made
 * anew; the other files are named by it and need not be here. The push holds only if the
 * branch is still where we saw it. */
#include "config.h"
#include "plugins/repo-git/git.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

enum { ATTEMPTS = 10, WAIT_MS = 100 };

/* ---- the folder for new objects ---- */
int
git_work_begin (struct git *g, struct capstan_call *call, const char **ret_objects, int *ret_fd)
{
  char path[4096];
  int rc = git_mkdirs (call, g->home);
  if (rc != 0)
    return rc;
  if (snprintf (path, sizeof path, "%s/push-XXXXXX", g->home) >= (int) sizeof path || mkdtemp (path) == NULL)
    return capstan_error (call, CAPSTAN_E_IO, errno, "make a folder in %s", g->home);
  *ret_fd = open (path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (*ret_fd >= 0)
    flock (*ret_fd, LOCK_EX | LOCK_NB); /* so that pruning leaves it alone */
  *ret_objects = git_take (call, path, SIZE_MAX);
  return 0;
}

void
git_work_end (const char *objects, int fd)
{
  git_remove_tree (objects);
  if (fd >= 0)
    close (fd);
}

/* ---- trees ---- */
static int
take_oid (struct capstan_call *call, const struct git_cmd *c, char *ret)
{
  size_t n = strcspn (c->out, "\n");
  if (!git_oid_valid (c->out, n))
    return capstan_error (call, CAPSTAN_E_IO, 0, "git %s: '%s' is no object", c->args[0],
                          git_clean (call, c->out, c->out_len));
  memcpy (ret, c->out, n);
  ret[n] = '\0';
  return 0;
}

int
git_put_text (struct git *g, struct capstan_call *call, const char *objects, const char *text,
              size_t n, char *ret_oid)
{
  struct git_cmd c = { .args = GIT_ARGS ("hash-object", "-w", "--stdin"), .objects = objects,
                       .input = text, .input_len = n, .level = 1 };
  int rc = git_run (g, call, &c);
  return rc == 0 ? take_oid (call, &c, ret_oid) : rc;
}

int
git_drop (struct git_files *l, const char *name)
{
  for (size_t i = 0; i < l->n; i++)
    if (strcmp (l->v[i].path, name) == 0) {
      l->v[i] = l->v[--l->n];
      return 1;
    }
  return 0;
}

int
git_put (struct capstan_call *call, struct git_files *l, const char *name, const char *oid)
{
  struct git_file f = { .path = name, .mode = "100644" };
  snprintf (f.oid, sizeof f.oid, "%s", oid);
  git_drop (l, name);
  return git_files_add (call, l, &f);
}

/* The tree of these files. */
static int
make_tree (struct git *g, struct capstan_call *call, const char *objects, const struct git_files *l,
           char *ret)
{
  char *in = NULL;
  size_t len = 0;
  FILE *f = open_memstream (&in, &len);
  for (size_t i = 0; f != NULL && i < l->n; i++) {
    const char *m = l->v[i].mode;
    const char *type = strcmp (m, "040000") == 0 ? "tree" : strcmp (m, "160000") == 0 ? "commit" : "blob";
    fprintf (f, "%s %s %s\t%s", m, type, l->v[i].oid, l->v[i].path);
    fputc ('\0', f);
  }
  if (f == NULL || fclose (f) != 0)
    return capstan_error (call, CAPSTAN_E_NOMEM, 0, "no memory");
  struct git_cmd c = { .args = GIT_ARGS ("mktree", "-z", "--missing"), .objects = objects,
                       .input = in, .input_len = len, .level = 1 };
  int rc = git_run (g, call, &c);
  free (in);
  return rc == 0 ? take_oid (call, &c, ret) : rc;
}

/* Which of the folder's entries is the tree of that name? "" in tree: there is none. */
static int
find_tree (struct git *g, struct capstan_call *call, const struct git_files *l, const char *name, char *tree)
{
  for (size_t i = 0; i < l->n; i++)
    if (strcmp (l->v[i].path, name) == 0) {
      if (strcmp (l->v[i].mode, "040000") != 0)
        return capstan_error (call, CAPSTAN_E_EXISTS, 0, "%s: %s is a file there, not a folder", g->url, name);
      memcpy (tree, l->v[i].oid, OID_ROOM);
    }
  return 0;
}

/* tree ("": none yet) with the change in its folder dir, made anew; "" if nothing is left. */
static int
edit_tree (struct git *g, struct capstan_call *call, const struct git_change *c, const char *tree,
           const char *dir, const char *rest, char *ret)
{
  struct git_files l = { 0 };
  char child[OID_ROOM] = "", made[OID_ROOM] = "";
  size_t n = strcspn (rest, "/");
  const char *name = git_take (call, rest, n), *next = rest + n + (rest[n] == '/');
  int rc = *tree != '\0' ? git_ls (g, call, tree, NULL, 0, &l) : 0;
  if (rc == 0 && *rest == '\0')
    rc = c->edit (c->user, g, call, dir, &l);
  else if (rc == 0 && (rc = find_tree (g, call, &l, name, child)) == 0 &&
           (rc = edit_tree (g, call, c, child, dir, next, made)) == 0) {
    git_drop (&l, name);
    struct git_file f = { .path = name, .mode = "040000" };
    memcpy (f.oid, made, sizeof f.oid);
    if (*made != '\0')
      rc = git_files_add (call, &l, &f);
  }
  if (rc == 0 && l.n > 0)
    rc = make_tree (g, call, c->objects, &l, ret);
  else
    *ret = '\0';
  git_files_free (&l);
  return rc;
}

/* ---- commit ---- */
static int
make_commit (struct git *g, struct capstan_call *call, const struct git_change *c, const char *tree,
             const char *parent, char *ret)
{
  const char *args[8] = { "commit-tree", tree, "-F", "-" };
  if (*parent != '\0') {
    args[4] = "-p";
    args[5] = parent;
  }
  struct git_cmd cmd = { .args = args, .flags = GIT_SIGNS, .objects = c->objects, .level = 1,
                         .input = c->message, .input_len = strlen (c->message) };
  int rc = git_run (g, call, &cmd);
  return rc == 0 ? take_oid (call, &cmd, ret) : rc;
}

static int
tree_of (struct git *g, struct capstan_call *call, const char *commit, char *ret)
{
  *ret = '\0';
  if (*commit == '\0')
    return 0;
  struct git_cmd c = { .args = GIT_ARGS ("rev-parse", git_text (call, "%s^{tree}", commit)) };
  int rc = git_run (g, call, &c);
  return rc == 0 ? take_oid (call, &c, ret) : rc;
}

/* The commit with the change on the tip; the tip itself if it has it already. */
static int
build (struct git *g, struct capstan_call *call, const struct git_change *c, const char *dir,
       const char *tip, char *ret)
{
  char old[OID_ROOM], tree[OID_ROOM];
  int rc = tree_of (g, call, tip, old);
  if (rc == 0)
    rc = edit_tree (g, call, c, old, dir, dir, tree);
  if (rc == 0 && *tree == '\0') { /* the last image is gone: an empty tree */
    struct git_files none = { 0 };
    rc = make_tree (g, call, c->objects, &none, tree);
  }
  if (rc == 0 && strcmp (tree, old) == 0)
    memcpy (ret, tip, OID_ROOM);
  else if (rc == 0)
    rc = make_commit (g, call, c, tree, tip, ret);
  return rc;
}

/* ---- push ---- */
enum { LANDED, MOVED }; /* or -code */

/* Of "!<TAB>src:dst<TAB>[remote rejected] (why)" the last part; NULL: it is not there. */
static const char *
refusal (struct capstan_call *call, const char *out)
{
  for (const char *l = out; *l != '\0';) {
    size_t n = strcspn (l, "\n");
    const char *why = *l == '!' ? memchr (l, '[', n) : NULL;
    if (why != NULL)
      return git_clean (call, why, n - (size_t) (why - l));
    l += n + (l[n] == '\n');
  }
  return NULL;
}

static int
refused (struct git *g, struct capstan_call *call, const struct git_cmd *c, const char *why)
{
  static const char *const moved[] = { "[rejected]", "fetch first", "stale info", "non-fast-forward",
    "failed to update ref", "cannot lock ref", "failed to lock", "incorrect old value" };
  for (size_t i = 0; i < sizeof moved / sizeof *moved; i++)
    if (strstr (why, moved[i]) != NULL)
      return MOVED;
  if (strstr (why, "currently checked out") != NULL)
    return capstan_error (call, CAPSTAN_E_UNSUPPORTED, 0, "%s has files checked out; push to a bare "
                          "repository (git init --bare)", g->url);
  return capstan_error (call, CAPSTAN_E_PERM, 0, "%s refused the push: %s; %s", g->url, why,
                        git_complaint (call, c->err));
}

static int
send_commit (struct git *g, struct capstan_call *call, const struct git_change *c, const char *commit,
             const struct git_tip *tip)
{
  const char *args[16] = { "push", "--porcelain", "--progress", "--no-verify",
    "--no-recurse-submodules", "--no-thin",
    git_text (call, "--force-with-lease=%s:%s", tip->ref, tip->oid), "--", "origin",
    git_text (call, "%s:%s", commit, tip->ref) };
  if (c->tag != NULL) {
    args[7] = "--atomic";
    args[8] = "--";
    args[9] = "origin";
    args[10] = git_text (call, "%s:%s", commit, tip->ref);
    args[11] = git_text (call, "%s:%s", commit, c->tag);
  }
  struct git_cmd cmd = { .args = args, .flags = GIT_NET | GIT_STATUS, .objects = c->objects,
                         .phase = "upload", .total = c->total };
  int rc = git_run (g, call, &cmd);
  if (rc != 0 || cmd.status == 0)
    return rc;
  const char *why = refusal (call, cmd.out);
  return why != NULL ? refused (g, call, &cmd, why) : git_failed (g, call, &cmd);
}

/* Others have pushed: what is there now, and is the entry still what it was? */
static int
look_again (struct git *g, struct capstan_call *call, const struct git_change *c, struct git_tip *tip,
            struct git_entry *e)
{
  const char *etag = NULL;
  *e = (struct git_entry){ .dir = "" };
  int rc = git_tip (g, call, NULL, NULL, tip);
  if (rc == 0)
    rc = git_need (g, call, tip->oid);
  if (rc == 0 && *tip->oid != '\0')
    rc = git_entry_find (g, call, tip->oid, c->name, c->suffix, e);
  if (rc != 0)
    return rc;
  etag = git_entry_etag (e);
  if ((etag == NULL) != (c->seen == NULL) || (etag != NULL && strcmp (etag, c->seen) != 0))
    return capstan_error (call, CAPSTAN_E_CONFLICT, 0, "%s: somebody else has changed %s meanwhile, in "
                          "commit %.10s or before; look at it, then push again", g->url, c->name, tip->oid);
  return 0;
}

int
git_land (struct git *g, struct capstan_call *call, const struct git_change *c, const char *dir,
          struct git_tip *tip)
{
  char commit[OID_ROOM];
  struct git_entry e;
  for (uint32_t i = 1;; i++) {
    int rc = build (g, call, c, dir, tip->oid, commit);
    if (rc == 0 && strcmp (commit, tip->oid) != 0) {
      if (c->about != NULL && (rc = c->about (c->user, commit)) != 0)
        return rc;
      rc = send_commit (g, call, c, commit, tip);
    }
    if (rc == LANDED)
      memcpy (tip->oid, commit, sizeof commit);
    if (rc != MOVED)
      return rc;
    if (i == ATTEMPTS)
      return capstan_error (call, CAPSTAN_E_BUSY, 0, "%s: others push to %s all the time: %d attempts "
                            "came too late", g->url, tip->ref, ATTEMPTS);
    if ((rc = capstan_host_->sleep_ms (call, i * WAIT_MS / 2 + (uint32_t) getpid () % WAIT_MS)) != 0)
      return rc;
    if ((rc = look_again (g, call, c, tip, &e)) != 0)
      return rc;
    dir = git_change_dir (g, c->name, &e);
  }
}
