/* Folders and locks of the cache. SPDX-License-Identifier: BSD-3-Clause */
#include "config.h"
#include "plugins/repo-git/git.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

const char *
git_path (struct git *g, struct capstan_call *call, const char *in_home)
{
  return git_text (call, "%s/%s", g->home, in_home);
}

int
git_mkdirs (struct capstan_call *call, const char *path)
{
  char p[4096];
  if (snprintf (p, sizeof p, "%s", path) >= (int) sizeof p)
    return capstan_error (call, CAPSTAN_E_LIMIT, ENAMETOOLONG, "%s", path);
  for (char *s = p + 1;; s++)
    if (*s == '/' || *s == '\0') {
      char was = *s;
      *s = '\0';
      if (mkdir (p, 0700) != 0 && errno != EEXIST)
        return capstan_error (call, CAPSTAN_E_IO, errno, "make the folder %s", p);
      if ((*s = was) == '\0')
        return 0;
    }
}

static int
remove_one (const char *path, const struct stat *st, int type, struct FTW *f)
{
  (void) st;
  (void) f;
  if (type == FTW_DP || type == FTW_D || type == FTW_DNR)
    rmdir (path);
  else
    unlink (path);
  return 0;
}

void
git_remove_tree (const char *path)
{
  nftw (path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

size_t
git_count_files (const char *dir)
{
  DIR *d = opendir (dir);
  size_t n = 0;
  while (d != NULL && readdir (d) != NULL)
    n++;
  if (d != NULL)
    closedir (d);
  return n;
}

/* Is what we hold still what has that name? */
static int
is_same_file (int fd, const char *path)
{
  struct stat a, b;
  return fstat (fd, &a) == 0 && stat (path, &b) == 0 && a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

int
git_lock (struct capstan_call *call, const char *path, int try)
{
  for (;;) {
    int fd = open (path, O_RDWR | O_CREAT | O_CLOEXEC, 0600), rc;
    if (fd < 0)
      return capstan_error (call, CAPSTAN_E_IO, errno, "open %s", path);
    while ((rc = flock (fd, LOCK_EX | LOCK_NB)) != 0 && errno == EINTR)
      ;
    if (rc == 0 && is_same_file (fd, path))
      return fd;
    int e = errno;
    close (fd);
    if (rc != 0 && e != EWOULDBLOCK)
      return capstan_error (call, CAPSTAN_E_IO, e, "lock %s", path);
    if (rc != 0 && try)
      return -CAPSTAN_E_BUSY;
    if (rc != 0 && (rc = capstan_host_->sleep_ms (call, 20)) != 0)
      return rc;
  }
}

/* ---- pruning ---- */
struct prune {
  struct capstan_call *call;
  time_t before;
  int dry_run;
};

static int
is_old (const struct prune *p, const char *path)
{
  struct stat st;
  return stat (path, &st) == 0 && st.st_mtime < p->before;
}

static void
prune_one (const struct prune *p, const char *path, const char *what)
{
  capstan_log (p->call, CAPSTAN_LOG_INFO, "%s %s (%s)", p->dry_run ? "would remove" : "removes", path,
               what);
  if (!p->dry_run)
    git_remove_tree (path);
}

/* For each name in a folder that does not begin with '.'. */
static int
each (const struct prune *p, const char *dir, int (*f) (const struct prune *, const char *, const char *))
{
  DIR *d = opendir (dir);
  int rc = 0;
  for (struct dirent *e; rc == 0 && d != NULL && (e = readdir (d)) != NULL;)
    if (e->d_name[0] != '.')
      rc = capstan_host_->cancelled (p->call)
               ? capstan_error (p->call, CAPSTAN_E_CANCELLED, 0, "cancelled")
               : f (p, git_text (p->call, "%s/%s", dir, e->d_name), e->d_name);
  if (d != NULL)
    closedir (d);
  return rc;
}

static int
prune_blob (const struct prune *p, const char *path, const char *name)
{
  size_t n = strlen (name);
  if (n > 5 && strcmp (name + n - 5, ".lock") == 0) /* comes with its folder */
    return 0;
  const char *file = git_text (p->call, "%s.lock", path);
  int lock = is_old (p, path) ? git_lock (p->call, file, 1) : -CAPSTAN_E_BUSY;
  if (lock < 0)
    return lock == -CAPSTAN_E_BUSY ? 0 : lock;
  prune_one (p, path, "of a pull that did not end");
  if (!p->dry_run)
    unlink (file);
  close (lock);
  return 0;
}

static int
prune_push (const struct prune *p, const char *path, const char *name)
{
  if (strncmp (name, "push-", 5) != 0 || !is_old (p, path))
    return 0;
  int fd = open (path, O_RDONLY | O_DIRECTORY | O_CLOEXEC); /* its owner has it locked */
  if (fd >= 0 && flock (fd, LOCK_EX | LOCK_NB) == 0)
    prune_one (p, path, "of a push that did not end");
  if (fd >= 0)
    close (fd);
  return 0;
}

static int
prune_home (const struct prune *p, const char *path, const char *name)
{
  (void) name;
  int rc = each (p, git_text (p->call, "%s/blobs", path), prune_blob);
  if (rc == 0)
    rc = each (p, path, prune_push);
  const char *file = git_text (p->call, "%s/lock", path);
  if (rc != 0 || !is_old (p, file))
    return rc;
  int lock = git_lock (p->call, file, 1);
  if (lock < 0)
    return lock == -CAPSTAN_E_BUSY ? 0 : lock;
  const char *repo = git_text (p->call, "%s/repo.git", path);
  prune_one (p, repo, "a clone that was not used for long");
  if (!p->dry_run) {
    unlink (file);
    rmdir (git_text (p->call, "%s/blobs", path));
    rmdir (path);
  }
  close (lock);
  return 0;
}

int
git_maintain (struct git *g, struct capstan_call *call, uint64_t older_than, int dry_run)
{
  time_t now = time (NULL);
  struct prune p = { .call = call, .dry_run = dry_run,
                     .before = older_than < (uint64_t) now ? now - (time_t) older_than + 1 : 0 };
  return each (&p, git_text (call, "%.*s", (int) (strrchr (g->home, '/') - g->home), g->home), prune_home);
}
