/* Disk formats, and the cache of images in them. SPDX-License-Identifier: BSD-3-Clause */
#include "config.h"
#include "core/store/formats.h"
#include "core/base/error.h"
#include "core/base/spawn.h"
#include "core/base/util.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#define TMP ".tmp-"
enum { KEY = 32 }; /* of cs_key */

/* A VHD is otherwise rounded up to what cylinders, heads and sectors can say. */
static const struct cs_format formats[] = {
  { "raw", "raw", NULL, NULL, FALSE, FALSE },
  { "qcow2", "qcow2", NULL, NULL, TRUE, TRUE },
  { "vdi", "vdi", NULL, NULL, FALSE, TRUE },
  { "vmdk", "vmdk", "subformat=monolithicSparse", "subformat=streamOptimized", TRUE, TRUE },
  { "vhd", "vpc", "subformat=dynamic,force_size=on", NULL, FALSE, FALSE },
  { "vhdx", "vhdx", "subformat=dynamic", NULL, FALSE, TRUE },
  { "ova", NULL, NULL, NULL, TRUE, FALSE }, /* ova.c writes it */
};

const struct cs_format *
cs_format_find (const char *name, GError **err)
{
  for (gsize k = 0; k < G_N_ELEMENTS (formats); k++)
    if (strcmp (formats[k].name, name) == 0)
      return &formats[k];
  return cs_fail_null (err, CS_E_USAGE, "'%s' is no format to export to", name);
}

gboolean
cs_format_convert (const char *from, const char *in, const struct cs_format *f, gboolean compress,
                   const char *out, GError **err)
{
  const char *options = compress && f->compressed != NULL ? f->compressed : f->options;
  const char *argv[14] = { "qemu-img", "convert", "-f", from, "-O", f->qemu };
  guint n = 6;
  if (options != NULL) {
    argv[n++] = "-o";
    argv[n++] = options;
  }
  if (compress && f->compressed == NULL)
    argv[n++] = "-c";
  argv[n++] = "--";
  argv[n++] = in;
  argv[n] = out;
  if (cs_spawn_tool (NULL, argv, err))
    return TRUE;
  g_prefix_error (err, "convert %s to %s: ", in, f->name);
  return FALSE;
}

gboolean
cs_format_verify (const char *from, const char *in, const struct cs_format *f, const char *out, GError **err)
{
  const char *check[] = { "qemu-img", "check", "-q", "-f", f->qemu, "--", out, NULL };
  const char *compare[] = { "qemu-img", "compare", "-q", "-f", from, "-F", f->qemu, "--", in, out, NULL };
  if (f->check && !cs_spawn_tool (NULL, check, err)) {
    g_prefix_error (err, "the %s that was written is not sound: ", f->name);
    return FALSE;
  }
  if (!cs_spawn_tool (NULL, compare, err)) {
    g_prefix_error (err, "the %s that was written is not what the image is: ", f->name);
    return FALSE;
  }
  return TRUE;
}

/* ---- the cache ---- */

/* What the name of a file there begins with: all of the images of a name. */
static char *
name_part (const char *name)
{
  g_autofree char *key = cs_key (name);
  return g_strconcat (key, "-", NULL);
}

/* A file of the store is replaced, never written again: another has another number or another
 * time. Its digest would say the same, but a build makes none, and reading it all takes long. */
static char *
which_of (const struct cs_image *i, GError **err)
{
  struct stat st;
  if (stat (i->path, &st) != 0)
    return cs_fail_errno_null (err, "look at %s", i->path);
  g_autofree char *text = g_strdup_printf (
      "%" G_GUINT64_FORMAT " %" G_GUINT64_FORMAT " %" G_GUINT64_FORMAT " %" G_GINT64_FORMAT ".%ld",
      (guint64) st.st_dev, (guint64) st.st_ino, (guint64) st.st_size, (gint64) st.st_mtim.tv_sec,
      (long) st.st_mtim.tv_nsec);
  return cs_key (text);
}

/* Files of the folder whose names begin like that, but for those that have `keep` in them. */
static void
sweep (const char *dir, const char *start, const char *keep)
{
  DIR *d = opendir (dir);
  for (struct dirent *e; d != NULL && (e = readdir (d)) != NULL;)
    if (g_str_has_prefix (e->d_name, start) && (keep == NULL || strstr (e->d_name, keep) == NULL))
      unlinkat (dirfd (d), e->d_name, 0);
  if (d != NULL)
    closedir (d);
}

/* `name` is locked by us: a temporary file of it is a dead one's. */
static gboolean
make (const struct cs_image *i, const char *from, const struct cs_format *f, const char *dir,
      const char *name, const char *path, GError **err)
{
  g_autofree char *start = g_strconcat (TMP, name, NULL);
  g_autofree char *tmp = g_strdup_printf ("%s/%sXXXXXX", dir, start);
  sweep (dir, start, NULL);
  cs_autofd int fd = g_mkstemp_full (tmp, O_RDWR | O_CLOEXEC, 0600);
  if (fd < 0)
    return cs_fail_errno (err, "create a file in %s", dir);
  gboolean ok = cs_format_convert (from, i->path, f, FALSE, tmp, err) &&
                cs_format_verify (from, i->path, f, tmp, err) && cs_fsync (fd, tmp, err);
  if (ok && rename (tmp, path) != 0)
    ok = cs_fail_errno (err, "rename %s to %s", tmp, path);
  if (!ok)
    unlink (tmp);
  return ok;
}

static int
lock_of (const char *key, gboolean wait, GError **err)
{
  g_autofree char *dir = cs_root_path ("locks", NULL);
  g_autofree char *path = g_strdup_printf ("%s/formats-%.*s", dir, KEY, key);
  return cs_mkdirs (dir, 0755, err) ? cs_lock_file (path, TRUE, wait, err) : -1;
}

/* A descriptor to read from, or -1. */
static int
open_cached (const struct cs_image *i, const char *from, const struct cs_format *f, GError **err)
{
  g_autofree char *dir = cs_root_path ("cache", "formats", NULL);
  g_autofree char *which = which_of (i, err);
  if (which == NULL || !cs_mkdirs (dir, 0700, err))
    return -1;
  g_autofree char *name = name_part (i->name);
  g_autofree char *start = g_strconcat (name, i->suffix, "-", NULL);
  g_autofree char *path = g_strdup_printf ("%s/%s%s.%s", dir, start, which, f->name);
  cs_autofd int lock = lock_of (name, TRUE, err);
  if (lock < 0)
    return -1;
  int fd = open (path, O_RDONLY | O_CLOEXEC);
  if (fd < 0 && errno == ENOENT) {
    sweep (dir, start, which); /* what was made of the image before this one */
    if (!make (i, from, f, dir, name, path, err))
      return -1;
    fd = open (path, O_RDONLY | O_CLOEXEC);
  }
  if (fd < 0)
    cs_fail_errno (err, "open %s", path);
  else
    cs_debug ("%s as %s: %s", i->name, f->name, path);
  return fd;
}

gboolean
cs_file_clone (int in, int out, const char *in_name, const char *out_name, GError **err)
{
  struct stat st;
  if (ioctl (out, FICLONE, in) == 0)
    return TRUE;
  if (fstat (in, &st) != 0 || ftruncate (out, st.st_size) != 0)
    return cs_fail_errno (err, "write %s", out_name);
  return cs_copy_range (in, 0, out, 0, (guint64) st.st_size, in_name, out_name, err);
}

gboolean
cs_formats_write (const struct cs_image *i, const char *from, const struct cs_format *f, int fd,
                  const char *out, GError **err)
{
  g_autoptr (GError) e = NULL;
  cs_autofd int in = open_cached (i, from, f, &e);
  if (in >= 0)
    return cs_file_clone (in, fd, i->path, out, err);
  if (e->code == CAPSTAN_E_CANCELLED) {
    g_propagate_error (err, g_steal_pointer (&e));
    return FALSE;
  }
  cs_debug ("%s; it is converted without the cache", e->message);
  return cs_format_convert (from, i->path, f, FALSE, out, err) &&
         cs_format_verify (from, i->path, f, out, err);
}

void
cs_formats_forget (const char *name)
{
  g_autofree char *dir = cs_root_path ("cache", "formats", NULL);
  g_autofree char *start = name_part (name);
  sweep (dir, start, NULL);
}

gboolean
cs_formats_prune (gboolean dry_run, cs_formats_fn fn, gpointer data, GError **err)
{
  g_autofree char *dir = cs_root_path ("cache", "formats", NULL);
  struct stat st;
  DIR *d = opendir (dir);
  if (d == NULL)
    return errno == ENOENT || cs_fail_errno (err, "open %s", dir);
  gboolean ok = TRUE;
  for (struct dirent *e; ok && (e = readdir (d)) != NULL;) {
    const char *key = g_str_has_prefix (e->d_name, TMP) ? e->d_name + strlen (TMP) : e->d_name;
    if (strspn (key, "0123456789abcdef") != KEY ||
        fstatat (dirfd (d), e->d_name, &st, AT_SYMLINK_NOFOLLOW) != 0)
      continue; /* none of ours */
    cs_autofd int lock = lock_of (key, FALSE, NULL);
    if (lock < 0)
      continue; /* it is at work */
    g_autofree char *path = g_build_filename (dir, e->d_name, NULL);
    fn (path, (guint64) st.st_blocks * 512, data);
    if (!dry_run && unlinkat (dirfd (d), e->d_name, 0) != 0 && errno != ENOENT)
      ok = cs_fail_errno (err, "remove %s", path);
  }
  closedir (d);
  return ok;
}
