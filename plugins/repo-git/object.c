/* Trees and blobs. SPDX-License-Identifier: BSD-3-Clause */
#include "config.h"
#include "plugins/repo-git/git.h"
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { RECORD_MAX = 8192, FILES_MAX = 1000000 };

int
git_files_add (struct capstan_call *call, struct git_files *l, const struct git_file *f)
{
  if (l->n == l->room) {
    size_t room = l->room > 0 ? l->room * 2 : 16;
    struct git_file *v = room <= FILES_MAX ? realloc (l->v, room * sizeof *v) : NULL;
    if (v == NULL)
      return capstan_error (call, CAPSTAN_E_LIMIT, 0, "a folder with more than %zu files", l->n);
    l->v = v;
    l->room = room;
  }
  l->v[l->n++] = *f;
  return 0;
}

void
git_files_free (struct git_files *l)
{
  free (l->v);
  *l = (struct git_files){ 0 };
}

/* What ls-tree prints, as it comes. */
struct ls {
  struct capstan_call *call;
  struct git_files *ret;
  uint32_t flags;
  char rec[RECORD_MAX]; size_t len;
};

/* Could it belong to an image: "a/b/index.yaml", "a/b/b.SUFFIX"? At the root anything can. */
static int
is_of_image (const char *path)
{
  const char *slash = strrchr (path, '/');
  if (slash == NULL || strcmp (slash + 1, "index.yaml") == 0)
    return 1;
  const char *dir = memrchr (path, '/', (size_t) (slash - path));
  dir = dir != NULL ? dir + 1 : path;
  size_t n = (size_t) (slash - dir);
  return strncmp (slash + 1, dir, n) == 0 && slash[1 + n] == '.';
}

/* "100644 blob OID<TAB>PATH" */
static int
ls_record (struct ls *s)
{
  struct git_file f = { 0 };
  s->rec[s->len] = '\0';
  char *type = strchr (s->rec, ' '), *oid = type != NULL ? strchr (type + 1, ' ') : NULL;
  char *path = oid != NULL ? strchr (oid, '\t') : NULL;
  s->len = 0;
  if (path == NULL || !git_oid_valid (oid + 1, (size_t) (path - oid - 1)))
    return capstan_error (s->call, CAPSTAN_E_IO, 0, "git ls-tree: '%s' is no line of it",
                          git_clean (s->call, s->rec, SIZE_MAX));
  if (s->flags & GIT_DEEP && !is_of_image (path + 1))
    return 0;
  memcpy (f.oid, oid + 1, (size_t) (path - oid - 1));
  f.mode = git_take (s->call, s->rec, (size_t) (type - s->rec));
  f.path = git_take (s->call, path + 1, SIZE_MAX);
  return git_files_add (s->call, s->ret, &f);
}

static int
ls_take (void *user, const void *p, size_t n)
{
  struct ls *s = user;
  const char *c = p;
  int rc = 0;
  for (size_t i = 0; i < n && rc == 0; i++)
    if (c[i] == '\0')
      rc = ls_record (s);
    else if (s->len + 1 < sizeof s->rec)
      s->rec[s->len++] = c[i];
    else
      rc = capstan_error (s->call, CAPSTAN_E_LIMIT, 0, "git ls-tree: a path of more than %d bytes",
                          RECORD_MAX);
  return rc;
}

int
git_ls (struct git *g, struct capstan_call *call, const char *tree, const char *only,
        uint32_t flags, struct git_files *ret)
{
  struct ls s = { .call = call, .ret = ret, .flags = flags };
  const char *args[8] = { "ls-tree", "-z" };
  size_t n = 2;
  if (flags & GIT_DEEP)
    args[n++] = "-r";
  args[n++] = tree;
  if (only != NULL) {
    args[n++] = "--";
    args[n++] = only;
  }
  struct git_cmd c = { .args = args, .take = ls_take, .user = &s };
  int rc = git_run (g, call, &c);
  if (rc != 0)
    git_files_free (ret);
  return rc;
}

int
git_size (struct git *g, struct capstan_call *call, const char *objects, const char *oid,
          uint64_t *ret)
{
  const char *in = git_text (call, "%s\n", oid);
  struct git_cmd c = { .args = GIT_ARGS ("cat-file", "--batch-check=%(objecttype) %(objectsize)"),
                       .objects = objects, .input = in, .input_len = strlen (in) };
  int rc = git_run (g, call, &c);
  if (rc == 0 && (strncmp (c.out, "blob ", 5) != 0 || sscanf (c.out + 5, "%" SCNu64, ret) != 1))
    *ret = UINT64_MAX;
  return rc;
}

int
git_blob (struct git *g, struct capstan_call *call, const char *oid, const char **ret,
          size_t *ret_len)
{
  struct git_cmd c = { .args = GIT_ARGS ("cat-file", "blob", oid), .out_max = SMALL_BLOB };
  int rc = git_run (g, call, &c);
  *ret = c.out;
  *ret_len = c.out_len;
  return rc;
}

/* A server of Git's older protocol, as behind an sshd that does not hand on GIT_PROTOCOL, gives
 * commits only, and so all that is in one. */
static int
fetch_all (struct git *g, struct capstan_call *call, const char *commit, const char *objects)
{
  struct git_cmd c = { .args = GIT_ARGS ("fetch", "--progress", "--no-tags", "--no-filter", "--refetch",
                                         "--no-write-fetch-head", "--", "origin", commit),
                       .flags = GIT_NET | GIT_BLOB, .objects = objects, .phase = "clone" };
  capstan_log (call, CAPSTAN_LOG_INFO, "%s: the server gives no single files, so all images are fetched; "
               "an sshd hands them out with AcceptEnv GIT_PROTOCOL", g->url);
  return git_run (g, call, &c);
}

static int
fetch_large (struct git *g, struct capstan_call *call, const char *commit, const char *oid,
             const char *objects)
{
  struct git_cmd c = { .args = GIT_ARGS ("fetch", "--progress", "--no-tags", "--filter=blob:none",
                                         "--no-write-fetch-head", "--", "origin", oid),
                       .flags = GIT_NET | GIT_BLOB, .objects = objects, .phase = "clone" };
  int rc = git_run (g, call, &c);
  return rc == -CAPSTAN_E_UNSUPPORTED && strstr (c.err, "unadvertised object") != NULL
             ? fetch_all (g, call, commit, objects) : rc;
}

int
git_large_get (struct git *g, struct capstan_call *call, const char *commit, const char *oid,
               struct git_large *ret)
{
  const char *dir = git_path (g, call, git_text (call, "blobs/%s", oid));
  uint64_t size = UINT64_MAX;
  int rc = git_mkdirs (call, git_path (g, call, "blobs"));
  int lock = rc == 0 ? git_lock (call, git_text (call, "%s.lock", dir), 0) : rc;
  if (lock < 0)
    return lock;
  if ((rc = git_mkdirs (call, dir)) == 0)
    rc = git_size (g, call, dir, oid, &size);
  if (rc == 0 && size == UINT64_MAX)
    rc = fetch_large (g, call, commit, oid, dir);
  if (rc == 0)
    *ret = (struct git_large){ dir, lock };
  else
    close (lock);
  return rc;
}

void
git_large_put (struct git_large *l, int done)
{
  char lock[4200];
  if (done) {
    git_remove_tree (l->objects);
    snprintf (lock, sizeof lock, "%s.lock", l->objects);
    unlink (lock);
  }
  close (l->lock);
}
