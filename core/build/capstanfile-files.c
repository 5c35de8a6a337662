/* The files that a Capstanfile names, into the plan. SPDX-License-Identifier: BSD-3-Clause */
#include "config.h"
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include "core/base/error.h"
#include "core/build/capstanfile.h"
#include "core/build/glob.h"
#include "core/build/ignore.h"

struct input {
  const struct cs_capstanfile *c;
  struct cs_tree *t;
  struct cs_ignore *ignore; /* of the directory of the Capstanfile */
  CsSpecial special;
  GPtrArray *missing; /* or NULL: an error */
};

static gboolean
is_real_dir (const char *path)
{
  struct stat st;
  return lstat (path, &st) == 0 && S_ISDIR (st.st_mode);
}

/* The line of the Capstanfile in front of the message. */
static gboolean
at_line (const struct cs_capstanfile *c, guint line, const char *key, const GError *e,
         GError **err)
{
  int code = e->code == CAPSTAN_E_NOTFOUND ? CAPSTAN_E_INVAL : e->code;
  if (!c->path)
    return cs_fail (err, e->code, "%s", e->message);
  return cs_fail (err, code, "%s:%u: %s: %s", c->path, line, key, e->message);
}

/* A private working folder must not close the guest's root, nor change the base's. */
static void
keep_root (struct cs_inode *root, const struct cs_inode *before)
{
  root->perm = before->perm;
  root->uid = before->uid;
  root->gid = before->gid;
}

static gboolean
scan_rootfs (struct input *in, GError **err)
{
  const struct cs_capstanfile *c = in->c;
  struct cs_scan_opts o = CS_SCAN_INIT;
  struct stat st;
  g_autoptr (GError) e = NULL;
  if (!c->rootfs)
    return TRUE;
  if (stat (c->rootfs, &st) < 0) {
    if (c->rootfs_line == 0)
      return errno == ENOENT || cs_fail_errno (err, "%s", c->rootfs);
    cs_fail_errno (&e, "%s", c->rootfs);
    if (in->missing && errno == ENOENT) {
      g_ptr_array_add (in->missing, g_strdup_printf ("/  of %s", c->rootfs));
      return TRUE;
    }
    return at_line (c, c->rootfs_line, "rootfs", e, err);
  }
  if (!S_ISDIR (st.st_mode)) {
    cs_fail (&e, CAPSTAN_E_INVAL, "%s is not a directory", c->rootfs);
    return at_line (c, c->rootfs_line, "rootfs", e, err);
  }
  o.ignore = c->rootfs_rel ? in->ignore : NULL;
  o.ignore_path = c->rootfs_rel;
  o.special = in->special;
  /* The folder itself may be a symlink; it stands for "/". */
  g_autofree char *dir = g_strconcat (c->rootfs, "/", NULL);
  struct cs_inode before = *in->t->root;
  if (!cs_tree_scan (in->t, "/", dir, &o, err))
    return FALSE;
  keep_root (in->t->root, &before);
  return TRUE;
}

/* One path of the host for dst; a dst with a '/' at its end is a directory it goes into. */
static gboolean
scan_path (struct input *in, const struct cs_capstanfile_entry *f, const char *dst,
           const char *src, const char *rel, GError **err)
{
  struct cs_scan_opts o = { .ignore = rel ? in->ignore : NULL, .ignore_path = rel,
                            .special = in->special, .set_owner = f->set_owner,
                            .uid = f->uid, .gid = f->gid, .perm = f->perm };
  g_autofree char *into = NULL;
  gboolean is_dir = g_str_has_suffix (src, "/") || is_real_dir (src);
  if (is_dir && f->perm >= 0)
    return cs_fail (err, CAPSTAN_E_INVAL, "%s is a directory: 'mode' is for files", src);
  if (g_str_has_suffix (dst, "/") && !is_dir) {
    g_autofree char *base = g_path_get_basename (src);
    into = g_strconcat (dst, base, NULL); /* "/lib/: x.so" goes into /lib */
  }
  struct cs_inode before = *in->t->root;
  if (!cs_tree_scan (in->t, into ? into : dst, src, &o, err))
    return FALSE;
  if (is_dir && strspn (dst, "/.") == strlen (dst) && !f->set_owner)
    keep_root (in->t->root, &before);
  return TRUE;
}

/* What a pattern finds goes into the directory dst, with its path from the first part on
 * that has a pattern. */
static gboolean
scan_pattern (struct input *in, const struct cs_capstanfile_entry *f, GError **err)
{
  g_autoptr (GPtrArray) found = cs_glob_expand (f->src, f->text, err);
  gsize fixed = f->text + cs_glob_fixed (f->src + f->text);
  guint n = 0;
  if (!found)
    return FALSE;
  for (guint k = 0; k < found->len; k++) {
    const char *src = g_ptr_array_index (found, k), *tail = src + fixed;
    g_autofree char *dst = g_build_filename (f->dst, tail, NULL);
    g_autofree char *rel = NULL;
    if (f->rel) { /* as many parts of it are fixed as of src */
      g_autofree char *below = g_strndup (f->rel, cs_glob_fixed (f->rel));
      rel = g_strconcat (below, tail, NULL);
      if (cs_ignore_has (in->ignore, rel, is_real_dir (src)))
        continue;
    }
    n++;
    if (!scan_path (in, f, dst, src, rel, err))
      return FALSE;
  }
  if (n > 0)
    return TRUE;
  return cs_fail (err, CAPSTAN_E_NOTFOUND, found->len > 0
                  ? "all that the pattern %s finds is left out by .capstanignore"
                  : "the pattern %s finds nothing", f->src + f->text);
}

static gboolean
scan_entry (struct input *in, const struct cs_capstanfile_entry *f, GError **err)
{
  struct stat st;
  g_autoptr (GError) e = NULL;
  gboolean there = lstat (f->src, &st) == 0; /* a name may look like a pattern */
  gboolean ok = !there && cs_glob_has_magic (f->src + f->text)
                    ? scan_pattern (in, f, &e)
                    : scan_path (in, f, f->dst, f->src, f->rel, &e);
  if (ok)
    return TRUE;
  if (in->missing && !there && e->code == CAPSTAN_E_NOTFOUND) {
    g_ptr_array_add (in->missing, g_strdup_printf ("%s  of %s", f->dst, f->src));
    return TRUE;
  }
  return at_line (in->c, f->line, "files", e, err);
}

gboolean
cs_capstanfile_scan (const struct cs_capstanfile *c, struct cs_tree *t,
                     CsSpecial special, GPtrArray *missing, GError **err)
{
  struct input in = { .c = c, .t = t, .special = special, .missing = missing };
  /* Without a Capstanfile each directory has its own. */
  if (c->path && !(in.ignore = cs_ignore_load (c->dir, err)))
    return FALSE;
  gboolean ok = scan_rootfs (&in, err);
  for (guint k = 0; ok && k < c->files->len; k++) {
    struct cs_capstanfile_entry *f = g_ptr_array_index (c->files, k);
    if (!c->path) {
      cs_ignore_free (in.ignore);
      in.ignore = f->rel ? cs_ignore_load (f->src, err) : NULL;
      ok = in.ignore || !f->rel;
    }
    ok = ok && scan_entry (&in, f, err);
  }
  cs_ignore_free (in.ignore);
  return ok;
}
