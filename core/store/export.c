/* Images as files in other disk formats. SPDX-License-Identifier: BSD-3-Clause */
#include "config.h"
#include "core/store/export.h"
#include "core/base/error.h"
#include "core/base/spawn.h"
#include "core/base/util.h"
#include "core/store/formats.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

/* A raw image shares its data with the file where the file system can do that. */
static gboolean
cloned (const char *from, const char *in, const struct cs_format *k, int out)
{
  cs_autofd int fd = -1;
  return strcmp (from, "raw") == 0 && strcmp (k->name, "raw") == 0 &&
         (fd = open (in, O_RDONLY | O_CLOEXEC)) >= 0 && ioctl (out, FICLONE, fd) == 0;
}

/* A file name as a value of qemu-img's --image-opts. */
static char *
quoted (const char *name)
{
  g_auto (GStrv) parts = g_strsplit (name, ",", 0);
  return g_strjoinv (",,", parts);
}

/* The disk within the OVA is what the image is. */
static gboolean
verify_ova (const char *raw, const char *ova, guint64 at, guint64 size, GError **err)
{
  g_autofree char *a = quoted (raw), *b = quoted (ova);
  g_autofree char *in = g_strdup_printf ("driver=raw,file.driver=file,file.filename=%s", a);
  g_autofree char *out = g_strdup_printf ("driver=vmdk,file.driver=raw,file.offset=%" G_GUINT64_FORMAT
                                          ",file.size=%" G_GUINT64_FORMAT
                                          ",file.file.driver=file,file.file.filename=%s", at, size, b);
  const char *compare[] = { "qemu-img", "compare", "-q", "--image-opts", in, out, NULL };
  if (cs_spawn_tool (NULL, compare, err))
    return TRUE;
  g_prefix_error (err, "the disk of the ova is not what the image is: ");
  return FALSE;
}

/* An OVA of the raw file. */
static gboolean
make_ova (const struct cs_image *i, const char *raw, int fd, const char *tmp, GError **err)
{
  struct stat st;
  guint64 at, size;
  cs_autofd int in = open (raw, O_RDONLY | O_CLOEXEC);
  if (in < 0 || fstat (in, &st) < 0)
    return cs_fail_errno (err, "open %s", raw);
  return cs_ova_write (fd, tmp, i->name, in, (guint64) st.st_size, &at, &size, err) &&
         verify_ova (raw, tmp, at, size, err);
}

static gboolean
export_ova (const struct cs_image *i, const char *from, int fd, const char *tmp, GError **err)
{
  if (strcmp (from, "raw") == 0)
    return make_ova (i, i->path, fd, tmp, err);
  g_autofree char *raw = g_strconcat (tmp, ".raw", NULL);
  gboolean ok = cs_format_convert (from, i->path, cs_format_find ("raw", NULL), FALSE, raw, err) &&
                make_ova (i, raw, fd, tmp, err);
  unlink (raw);
  return ok;
}

static gboolean
make (const struct cs_image *i, const char *from, const struct cs_format *k, gboolean compress, int fd,
      const char *tmp, GError **err)
{
  if (cloned (from, i->path, k, fd))
    return TRUE;
  if (strcmp (k->name, "ova") == 0)
    return export_ova (i, from, fd, tmp, err);
  if (!compress && strcmp (from, k->name) != 0)
    return cs_formats_write (i, from, k, fd, tmp, err);
  return cs_format_convert (from, i->path, k, compress, tmp, err) &&
         cs_format_verify (from, i->path, k, tmp, err);
}

gboolean
cs_export (const struct cs_image *i, const char *from, const char *path, const struct cs_export *x,
           guint64 *ret_size, GError **err)
{
  struct stat st;
  const struct cs_format *k = cs_format_find (x->format, err);
  if (k == NULL)
    return FALSE;
  if (x->compress && !k->compress)
    return cs_fail (err, CS_E_USAGE, "%s has no compression; qcow2, vmdk and ova have", k->name);
  gboolean there = lstat (path, &st) == 0;
  if (there && !x->force)
    return cs_fail (err, CAPSTAN_E_EXISTS, "%s is there already; --force replaces it", path);
  if (there && !S_ISREG (st.st_mode))
    return cs_fail (err, CS_E_USAGE, "%s is not a plain file; give another with -o", path);
  /* beside the file, so that it can be renamed; a relative name may begin with '-' */
  g_autofree char *tmp = g_strconcat (g_path_is_absolute (path) ? "" : "./", path, ".XXXXXX", NULL);
  cs_autofd int fd = g_mkstemp_full (tmp, O_RDWR | O_CLOEXEC, 0666);
  if (fd < 0)
    return cs_fail_errno (err, "create %s", path);
  gboolean ok = make (i, from, k, x->compress, fd, tmp, err);
  if (ok && (fsync (fd) < 0 || fstat (fd, &st) < 0))
    ok = cs_fail_errno (err, "write %s", path);
  if (ok && rename (tmp, path) < 0)
    ok = cs_fail_errno (err, "rename %s to %s", tmp, path);
  if (!ok) {
    unlink (tmp);
    return FALSE;
  }
  *ret_size = (guint64) st.st_size;
  g_autofree char *dir = g_path_get_dirname (path);
  return cs_fsync_dir (dir, err);
}

/* What the image is; its index says so, and the header has to agree. Static. */
static const char *
format_of (const struct cs_image *i, GError **err)
{
  guint64 size;
  cs_autofd int fd = open (i->path, O_RDONLY | O_CLOEXEC);
  if (fd < 0)
    return cs_fail_errno_null (err, "open %s", i->path);
  return cs_image_check (fd, i->path, i->index->format, &size, err);
}

gboolean
cs_export_image (const char *name, const char *suffix, const char *path, const struct cs_export *x,
                 GError **err)
{
  g_autofree char *base = g_path_get_basename (name);
  g_autofree char *out = path != NULL ? g_strdup (path) : g_strconcat (base, ".", x->format, NULL);
  guint64 size;
  if (!cs_name_check ("image name", name, FALSE, err) || !cs_store_want (name, suffix, err))
    return FALSE;
  cs_autofd int lock = cs_store_lock (name, FALSE, TRUE, err);
  struct cs_image *i = lock >= 0 ? cs_store_find (name, suffix, err) : NULL;
  if (i == NULL)
    return FALSE;
  const char *from = format_of (i, err);
  gboolean ok = from != NULL && cs_export (i, from, out, x, &size, err);
  cs_image_free (i);
  if (ok) {
    g_autofree char *shown = cs_size_format (size);
    cs_info ("exported %s to %s: %s, %s", name, out, x->format, shown);
  }
  return ok;
}
