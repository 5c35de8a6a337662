/* Images in a tree: which files are of one. SPDX-License-Identifier: BSD-3-Clause */
#include "config.h"
#include "plugins/repo-git/git.h"
#include "plugins/repo-git/lfs.h"
#include <stdlib.h>
#include <string.h>

static const struct { const char *ending, *encoding; } encodings[] = { /* best first */
  { ".zst", "zstd" }, { ".gz", "gzip" }, { "", NULL } };
enum { N_ENCODINGS = sizeof encodings / sizeof *encodings };

const char *
git_param (const struct capstan_kv *p, size_t n, const char *key, const char *otherwise)
{
  for (size_t i = 0; i < n; i++)
    if (strcmp (p[i].key, key) == 0)
      return p[i].value;
  return otherwise;
}

static int
ends (const char *s, const char *with)
{
  size_t n = strlen (s), w = strlen (with);
  return n > w && strcmp (s + n - w, with) == 0;
}

const char *
git_encoding_of (const char *path)
{
  for (size_t i = 0; i < N_ENCODINGS; i++)
    if (*encodings[i].ending != '\0' && ends (path, encodings[i].ending))
      return encodings[i].encoding;
  return NULL;
}

int
git_is_root_name (const struct git *g, const char *name)
{
  size_t n = strlen (g->url), k = strlen (name);
  while (n > 0 && g->url[n - 1] == '/')
    n--;
  if (n > 4 && strncmp (g->url + n - 4, ".git", 4) == 0)
    n -= 4;
  return n > k && g->url[n - k - 1] == '/' && strncmp (g->url + n - k, name, k) == 0;
}

static const char *
last_of (const char *path)
{
  const char *slash = strrchr (path, '/');
  return slash != NULL ? slash + 1 : path;
}

static int
is_file (struct capstan_call *call, const struct git_file *f)
{
  if (strncmp (f->mode, "100", 3) == 0)
    return 1;
  if (strcmp (f->mode, "120000") == 0)
    capstan_log (call, CAPSTAN_LOG_WARN, "%s is a symbolic link, which is not followed", f->path);
  return 0;
}

/* stem NULL: any file that ends so. */
static void
take_images (struct capstan_call *call, const struct git_files *l, const char *stem,
             const char *suffix, struct git_entry *e)
{
  for (size_t k = 0; k < N_ENCODINGS; k++) {
    const char *tail = git_text (call, ".%s%s", suffix, encodings[k].ending);
    for (size_t i = 0; i < l->n && e->n_images < IMAGES_MAX; i++) {
      const char *file = last_of (l->v[i].path);
      if (stem == NULL ? !ends (file, tail)
                       : strncmp (file, stem, strlen (stem)) != 0 || strcmp (file + strlen (stem), tail) != 0)
        continue;
      if (is_file (call, &l->v[i]))
        e->images[e->n_images++] = (struct git_image){ .file = l->v[i], .size = UINT64_MAX,
                                                       .encoding = encodings[k].encoding };
    }
  }
}

void
git_entry_of (struct git *g, struct capstan_call *call, const struct git_files *l, const char *dir,
              const char *suffix, struct git_entry *ret)
{
  struct git_entry e = { .dir = dir };
  for (size_t i = 0; i < l->n; i++)
    if (strcmp (last_of (l->v[i].path), "index.yaml") == 0 && is_file (call, &l->v[i]))
      e.index = l->v[i];
  take_images (call, l, *dir != '\0' ? last_of (dir) : g->last, suffix, &e);
  if (*dir == '\0' && e.n_images == 0 && e.index.path != NULL) /* the repository was renamed */
    take_images (call, l, NULL, suffix, &e);
  *ret = e;
}

int
git_entry_find (struct git *g, struct capstan_call *call, const char *commit, const char *name,
                const char *suffix, struct git_entry *ret)
{
  struct git_files l = { 0 };
  struct git_entry e = { .dir = name };
  int rc = 0, one = strcmp (g->layout, "one") == 0;
  if (!one && (rc = git_ls (g, call, commit, git_text (call, "%s/", name), 0, &l)) == 0)
    git_entry_of (g, call, &l, name, suffix, &e);
  git_files_free (&l);
  if (rc == 0 && git_entry_etag (&e) == NULL && strcmp (g->layout, "many") != 0 &&
      git_is_root_name (g, name) && (rc = git_ls (g, call, commit, NULL, 0, &l)) == 0)
    git_entry_of (g, call, &l, "", suffix, &e);
  git_files_free (&l);
  if (rc == 0)
    *ret = e;
  return rc;
}

const char *
git_entry_etag (const struct git_entry *e)
{
  return e->index.path != NULL ? e->index.oid : e->n_images > 0 ? e->images[0].file.oid : NULL;
}

int
git_image_look (struct git *g, struct capstan_call *call, struct git_image *i)
{
  const char *text, *oid = NULL;
  size_t n;
  int rc = git_size (g, call, NULL, i->file.oid, &i->size);
  if (rc != 0 || i->size > LFS_POINTER_MAX)
    return rc;
  if ((rc = git_blob (g, call, i->file.oid, &text, &n)) == 0 &&
      lfs_pointer_read (call, text, n, &oid, &i->size))
    i->lfs = oid;
  return rc;
}
