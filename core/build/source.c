/* The data of a planned file, wherever it is. SPDX-License-Identifier: BSD-3-Clause */
#include "config.h"
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include "core/base/error.h"
#include "core/base/util.h"
#include "core/build/tree.h"

char *
cs_source_name (const struct cs_inode *i)
{
  if (i->source == CS_SRC_HOST) {
    g_autofree char *dir = cs_srcdir_path (i->dir);
    return g_build_filename (dir, i->name, NULL);
  }
  if (i->source == CS_SRC_IMAGE)
    return g_strdup_printf ("%s: data", i->fd_name ? i->fd_name : "base image");
  return g_strdup ("data made by capstan");
}

gboolean
cs_source_same (const struct cs_inode *i, int fd, GError **err)
{
  struct stat st;
  gboolean ok = fstat (fd, &st) == 0;
  gint64 ns = ok ? st.st_mtim.tv_sec * G_GINT64_CONSTANT (1000000000) + st.st_mtim.tv_nsec : 0;
  if (ok && st.st_dev == i->dev && st.st_ino == i->ino && (guint64) st.st_size == i->size &&
      ns == i->host_mtime_ns)
    return TRUE;
  int e = errno;
  g_autofree char *path = cs_source_name (i);
  errno = e;
  if (!ok)
    return cs_fail_errno (err, "look at %s", path);
  return cs_fail (err, CAPSTAN_E_CONFLICT, "%s changed while the image was built; build again",
                  path);
}

/* Not checked yet. */
static int
open_host (struct cs_inode *i, GError **err)
{
  int dir = cs_srcdir_fd (i->dir, err);
  if (dir < 0)
    return -1;
  int fd = openat (dir, i->name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY | O_NONBLOCK);
  if (fd >= 0)
    return fd;
  int e = errno;
  g_autofree char *path = cs_source_name (i);
  errno = e;
  if (e == ENOENT || e == ELOOP)
    cs_fail (err, CAPSTAN_E_CONFLICT, "%s %s while the image was built; build again", path,
             e == ENOENT ? "vanished" : "changed");
  else
    cs_fail_errno (err, "open %s", path);
  return -1;
}

int
cs_source_open (struct cs_inode *i, GError **err)
{
  cs_autofd int fd = open_host (i, err);
  return fd >= 0 && cs_source_same (i, fd, err) ? cs_steal_fd (&fd) : -1;
}

gboolean
cs_source_copy_part (struct cs_inode *i, int fd, guint64 from, guint64 n, int out, guint64 off,
                     const char *out_name, guint64 *moved, GError **err)
{
  g_autofree char *name = cs_source_name (i);
  if (i->source == CS_SRC_HOST)
    return cs_copy_counted (fd, from, out, off, n, name, out_name, moved, err);
  if (i->source == CS_SRC_MEMORY) {
    *moved += n;
    return cs_pwrite_all (out, i->bytes + from, n, off, out_name, err);
  }
  for (guint k = 0; i->source == CS_SRC_IMAGE && k < i->n_extents; k++) {
    const struct cs_extent *x = &i->extents[k];
    guint64 a = MAX (from, x->logical), b = MIN (from + n, x->logical + x->length);
    if (a < b && !cs_copy_counted (i->fd, x->physical + a - x->logical, out, off + a - from,
                                   b - a, name, out_name, moved, err))
      return FALSE;
  }
  return TRUE;
}

gboolean
cs_source_copy (struct cs_inode *i, int out, guint64 off, const char *out_name, guint64 *moved,
                GError **err)
{
  cs_autofd int fd = i->source == CS_SRC_HOST ? cs_source_open (i, err) : -1;
  if (i->source == CS_SRC_HOST && fd < 0)
    return FALSE;
  return cs_source_copy_part (i, fd, 0, i->size, out, off, out_name, moved, err) &&
         (fd < 0 || cs_source_same (i, fd, err));
}

static gboolean
read_image (struct cs_inode *i, char *buf, const char *name, GError **err)
{
  memset (buf, 0, i->size);
  for (guint k = 0; k < i->n_extents; k++) {
    const struct cs_extent *x = &i->extents[k];
    if (x->logical >= i->size)
      break;
    if (!cs_pread_all (i->fd, buf + x->logical, MIN (x->length, i->size - x->logical),
                       x->physical, name, err))
      return FALSE;
  }
  return TRUE;
}

/* Checked when it is read: what changed before and what changed meanwhile show alike. */
static gboolean
read_host (struct cs_inode *i, void *buf, GError **err)
{
  g_autoptr (GError) e = NULL;
  cs_autofd int fd = open_host (i, err);
  if (fd < 0)
    return FALSE;
  gboolean ok = cs_pread_all (fd, buf, i->size, 0, i->name, &e);
  if (!cs_source_same (i, fd, err))
    return FALSE;
  if (ok)
    return TRUE;
  g_autofree char *name = cs_source_name (i);
  return cs_pread_all (fd, buf, i->size, 0, name, err); /* again, for the whole name */
}

gboolean
cs_source_read (struct cs_inode *i, void *buf, gsize max, GError **err)
{
  if (i->size > max || i->source == CS_SRC_IMAGE) {
    g_autofree char *name = cs_source_name (i);
    return i->size > max ? cs_fail (err, CAPSTAN_E_LIMIT, "%s: larger than %zu bytes", name, max)
                         : read_image (i, buf, name, err);
  }
  if (i->source == CS_SRC_HOST)
    return read_host (i, buf, err);
  if (i->source == CS_SRC_MEMORY)
    memcpy (buf, i->bytes, i->size);
  return TRUE;
}
