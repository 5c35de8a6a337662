/* Finding and removing images. SPDX-License-Identifier: BSD-3-Clause */
#include "config.h"
#include "core/base/error.h"
#include "core/base/util.h"
#include "core/base/yaml.h"
#include "core/store/store.h"
#include "core/store/txn.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

const char *
cs_root (void)
{
  static char *root;
  if (root == NULL) {
    const char *e = g_getenv ("CAPSTAN_ROOT");
    g_autofree char *r = e != NULL && *e != '\0'
                             ? g_strdup (e)
                             : g_build_filename (g_get_home_dir (), ".capstan", NULL);
    root = g_canonicalize_filename (r, NULL);
  }
  return root;
}

char *
cs_root_path (const char *first, ...)
{
  g_autofree char *start = g_build_filename (cs_root (), first, NULL);
  va_list ap;
  va_start (ap, first);
  char *r = g_build_filename_valist (start, &ap);
  va_end (ap);
  return r;
}

const char *
cs_config (const char *key)
{
  static CsYaml *config;
  static gboolean loaded;
  if (!loaded) {
    g_autofree char *path = cs_root_path ("config.yaml", NULL);
    g_autoptr (GError) err = NULL;
    loaded = TRUE;
    if (access (path, F_OK) == 0 && (config = cs_yaml_load (path, &err)) == NULL)
      cs_warn ("%s; it is left out", err->message);
  }
  return cs_yaml_str (config, key);
}

void
cs_image_free (struct cs_image *i)
{
  if (i == NULL)
    return;
  g_free (i->name);
  g_free (i->dir);
  g_free (i->path);
  g_free (i->suffix);
  cs_index_free (i->index);
  g_free (i);
}

static gboolean
same_file (const struct stat *a, const struct stat *b)
{
  return a->st_ino == b->st_ino && a->st_dev == b->st_dev &&
         a->st_ctim.tv_sec == b->st_ctim.tv_sec && a->st_ctim.tv_nsec == b->st_ctim.tv_nsec;
}

/* index.yaml of the folder; one that is damaged is warned of, and is empty. *st (or NULL):
 * which file it was, zeros if there is none. */
static struct cs_index *
read_index (int dir_fd, const char *dir, struct stat *st)
{
  char buf[8192];
  g_autofree char *path = NULL;
  g_autoptr (GError) err = NULL;
  struct cs_index *x = NULL;
  if (st != NULL)
    memset (st, 0, sizeof *st);
  cs_autofd int fd = openat (dir_fd, "index.yaml", O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
  if (fd < 0 && errno == ENOENT)
    return cs_index_new ();
  ssize_t n = fd < 0 || (st != NULL && fstat (fd, st) != 0) ? -1 : read (fd, buf, sizeof buf - 1);
  path = g_build_filename (dir, "index.yaml", NULL);
  if (n < 0)
    cs_fail_errno (&err, "read %s", path);
  else if ((gsize) n < sizeof buf - 1) {
    buf[n] = '\0';
    x = cs_index_parse (buf, (gsize) n, path, &err);
  } else
    x = cs_index_load (path, &err);
  if (x != NULL)
    return x;
  cs_warn ("%s", err->message);
  return cs_index_new ();
}

/* The image of a name with a suffix, or NULL if there is none. With sizes, image and index
 * are of the same commit, though others commit meanwhile: the index is replaced last, so
 * if no commit is under way afterwards and then it is still the same, so was the image. */
static struct cs_image *
image_at (int dir_fd, const char *name, const char *dir, const char *suffix, gboolean sizes)
{
  enum { TRIES = 100 };
  const char *slash = strrchr (name, '/');
  g_autofree char *file = g_strconcat (slash != NULL ? slash + 1 : name, ".", suffix, NULL);
  struct stat st = { 0 }, was = { 0 }, is;
  struct cs_index *x = NULL;
  for (int k = 0; k < TRIES; k++) {
    cs_index_free (x);
    x = read_index (dir_fd, dir, sizes ? &was : NULL);
    if (!sizes)
      break;
    if (fstatat (dir_fd, file, &st, 0) != 0 || !S_ISREG (st.st_mode)) {
      cs_index_free (x);
      return NULL;
    }
    if (faccessat (dir_fd, ".commit", F_OK, 0) == 0) {
      if (!cs_store_recover (name))
        break; /* it is not ours to finish */
      continue;
    }
    if (fstatat (dir_fd, "index.yaml", &is, 0) != 0)
      memset (&is, 0, sizeof is);
    if (same_file (&was, &is))
      break;
  }
  struct cs_image *i = g_new0 (struct cs_image, 1);
  cs_index_select (x, suffix);
  i->index = x;
  i->name = g_strdup (name);
  i->dir = g_strdup (dir);
  i->path = g_build_filename (dir, file, NULL);
  i->suffix = g_strdup (suffix);
  i->file_size = (guint64) st.st_size;
  i->allocated = (guint64) st.st_blocks * 512;
  return i;
}

/* The folder of a name, when what a crash left there is gone. *fd: -1 at first; it may be
 * another afterwards. */
static gboolean
scan_name (int *fd, const char *name, const char *dir, struct cs_scan *s)
{
  g_autofree char *base = g_path_get_basename (name);
  for (gboolean tidied = FALSE;; tidied = TRUE) {
    if (*fd < 0 && (*fd = open (dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0)
      return FALSE;
    if (!cs_scan (*fd, base, s))
      return FALSE;
    if (tidied || !(s->commit || s->removal || s->rest))
      break;
    if (s->commit || s->removal)
      cs_store_recover (name);
    cs_store_tidy (name);
    cs_scan_clear (s);
    close (*fd);
    *fd = -1;
  }
  if (s->removal) { /* it could not be finished by us */
    g_ptr_array_set_size (s->suffixes, 0);
    s->index = FALSE;
  }
  return TRUE;
}

struct list { GPtrArray *out; gboolean sizes; };

static void
list_images (struct list *l, int fd, const char *name, const char *dir, struct cs_scan *s)
{
  if (s->index && s->suffixes->len == 0) {
    /* a file that is replaced while the folder is read need not show in it */
    struct cs_image *im = image_at (fd, name, dir, "qemu", TRUE);
    if (im != NULL)
      g_ptr_array_add (l->out, im);
  }
  for (guint i = 0; i < s->suffixes->len; i++) {
    struct cs_image *im = image_at (fd, name, dir, g_ptr_array_index (s->suffixes, i), l->sizes);
    if (im != NULL)
      g_ptr_array_add (l->out, im);
  }
}

static void
list_dir (struct list *l, int parent, const char *entry, const char *name, const char *dir,
          int depth)
{
  enum { MAX_DEPTH = 8 };
  struct cs_scan s;
  cs_autofd int fd = openat (parent, entry, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0 || !(*name != '\0' ? scan_name (&fd, name, dir, &s) : cs_scan (fd, NULL, &s))) {
    if (errno != ENOENT)
      cs_warn ("%s: %s; it is left out", dir, g_strerror (errno));
    return;
  }
  if (*name != '\0')
    list_images (l, fd, name, dir, &s);
  for (guint i = 0; i < s.subs->len && depth < MAX_DEPTH; i++) {
    const char *sub = g_ptr_array_index (s.subs, i);
    g_autofree char *n = *name != '\0' ? g_strconcat (name, "/", sub, NULL) : g_strdup (sub);
    g_autofree char *d = g_strconcat (dir, "/", sub, NULL);
    list_dir (l, fd, sub, n, d, depth + 1);
  }
  cs_scan_clear (&s);
}

static int
by_name (gconstpointer a, gconstpointer b)
{
  const struct cs_image *x = *(struct cs_image *const *) a, *y = *(struct cs_image *const *) b;
  int c = strcmp (x->name, y->name);
  return c != 0 ? c : strcmp (x->suffix, y->suffix);
}

static GPtrArray *
list (gboolean sizes, GError **err)
{
  struct list l = { g_ptr_array_new_with_free_func ((GDestroyNotify) cs_image_free), sizes };
  g_autofree char *dir = cs_root_path ("repository", NULL);
  if (access (dir, R_OK | X_OK) != 0 && errno != ENOENT) {
    cs_fail_errno (err, "open the store %s", dir);
    g_ptr_array_unref (l.out);
    return NULL;
  }
  list_dir (&l, AT_FDCWD, dir, "", dir, 0);
  g_ptr_array_sort (l.out, by_name);
  return l.out;
}

GPtrArray *
cs_store_list (GError **err)
{
  return list (TRUE, err);
}

GPtrArray *
cs_store_list_quick (GError **err)
{
  return list (FALSE, err);
}

static int
by_suffix (gconstpointer a, gconstpointer b)
{
  const char *x = *(char *const *) a, *y = *(char *const *) b;
  int first = (strcmp (y, "qemu") == 0) - (strcmp (x, "qemu") == 0);
  return first != 0 ? first : strcmp (x, y);
}

struct cs_image *
cs_store_find (const char *name, const char *suffix, GError **err)
{
  if (!cs_name_check ("image name", name, TRUE, err))
    return NULL;
  g_autofree char *dir = cs_root_path ("repository", name, NULL);
  struct cs_scan s;
  struct cs_image *im = NULL;
  cs_autofd int fd = -1;
  gboolean there = scan_name (&fd, name, dir, &s);
  if (!there && errno != ENOENT && errno != ENOTDIR)
    return cs_fail_errno_null (err, "open %s", dir);
  if (there && suffix != NULL && !s.removal)
    im = image_at (fd, name, dir, suffix, TRUE);
  if (there && im == NULL) {
    g_ptr_array_sort (s.suffixes, by_suffix);
    for (guint i = 0; im == NULL && i < s.suffixes->len; i++)
      im = image_at (fd, name, dir, g_ptr_array_index (s.suffixes, i), TRUE);
  }
  if (there)
    cs_scan_clear (&s);
  if (im != NULL)
    return im;
  cs_store_missing (name, err);
  return NULL;
}

char *
cs_store_near (const char *name, const char *otherwise)
{
  g_autoptr (GPtrArray) all = cs_store_list_quick (NULL);
  struct cs_suggestion near = { 0 };
  for (guint i = 0; all != NULL && i < all->len; i++)
    cs_suggest (name, ((struct cs_image *) all->pdata[i])->name, &near);
  return cs_suggestion_text (&near, otherwise);
}

gboolean
cs_store_missing (const char *name, GError **err)
{
  if (err == NULL) /* the store is listed for who reads it */
    return FALSE;
  g_autofree char *what = cs_store_near (name, "capstan images lists what is there");
  return cs_fail (err, CAPSTAN_E_NOTFOUND, "there is no image '%s' in %s; %s", name, cs_root (), what);
}

static cs_store_missing_fn on_missing;

void
cs_store_on_missing (cs_store_missing_fn fn)
{
  on_missing = fn;
}

gboolean
cs_store_want (const char *name, const char *suffix, GError **err)
{
  g_autoptr (GError) e = NULL;
  GError *why = NULL;
  struct cs_image *im = cs_store_find (name, suffix, &e);
  if (im != NULL)
    cs_image_free (im);
  if (im != NULL || e->code != CAPSTAN_E_NOTFOUND || on_missing == NULL || on_missing (name, suffix, &why))
    return TRUE;
  gboolean nowhere = why->code == CAPSTAN_E_NOTFOUND || why->code == CAPSTAN_E_UNSUPPORTED;
  if (nowhere) {
    cs_debug ("%s", why->message);
    g_error_free (why);
    return TRUE;
  }
  g_autofree char *near = cs_store_near (name, NULL);
  g_propagate_prefixed_error (err, why, "'%s' is not in the store%s%s%s, and cannot be pulled: ", name,
                              near != NULL ? " (" : "", near != NULL ? near : "", near != NULL ? ")" : "");
  return FALSE;
}
