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

static gboolean
check_same (struct cs_inode *i, int fd, const char *path, GError **err)
{
  struct stat st;
  if (fstat (fd, &st) < 0)
    return cs_fail_errno (err, "look at %s", path);
  gint64 ns = st.st_mtim.tv_sec * G_GINT64_CONSTANT (1000000000) + st.st_mtim.tv_nsec;
  if (st.st_dev != i->dev || st.st_ino != i->ino || (guint64) st.st_size != i->size ||
      ns != i->host_mtime_ns)
    return cs_fail (err, CAPSTAN_E_CONFLICT,
                    "%s changed while the image was built; build again", path);
  return TRUE;
}

int
cs_source_open (struct cs_inode *i, GError **err)
{
  g_autofree char *path = cs_source_name (i);
  int flags = O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY | O_NONBLOCK;
  int dir = cs_srcdir_fd (i->dir, err);
  if (dir < 0)
    return -1;
  cs_autofd int fd = openat (dir, i->name, flags);
  if (fd < 0 && (errno == ENOENT || errno == ELOOP)) {
    cs_fail (err, CAPSTAN_E_CONFLICT,
             "%s %s while the image was built; build again", path,
             errno == ENOENT ? "vanished" : "changed");
    return -1;
  }
  if (fd < 0) {
    cs_fail_errno (err, "open %s", path);
    return -1;
  }
  if (!check_same (i, fd, path, err))
    return -1;
  return cs_steal_fd (&fd);
}

static gboolean
copy_image (struct cs_inode *i, int out, guint64 off, const char *name,
            const char *out_name, GError **err)
{
  for (guint k = 0; k < i->n_extents; k++) {
    const struct cs_extent *x = &i->extents[k];
    if (x->logical >= i->size)
      break;
    guint64 n = MIN (x->length, i->size - x->logical);
    if (!cs_copy_range (i->fd, x->physical, out, off + x->logical, n, name, out_name, err))
      return FALSE;
  }
  return TRUE;
}

gboolean
cs_source_copy (struct cs_inode *i, int out, guint64 off, const char *out_name,
                GError **err)
{
  g_autofree char *name = cs_source_name (i);
  switch (i->source) {
  case CS_SRC_NONE:
    return TRUE;
  case CS_SRC_MEMORY:
    return cs_pwrite_all (out, i->bytes, i->size, off, out_name, err);
  case CS_SRC_IMAGE:
    return copy_image (i, out, off, name, out_name, err);
  case CS_SRC_HOST:
    break;
  }
  cs_autofd int fd = cs_source_open (i, err);
  return fd >= 0 && cs_copy_range (fd, 0, out, off, i->size, name, out_name, err) &&
         check_same (i, fd, name, err);
}

gboolean
cs_source_read (struct cs_inode *i, void *buf, gsize max, GError **err)
{
  g_autofree char *name = cs_source_name (i);
  if (i->size > max)
    return cs_fail (err, CAPSTAN_E_LIMIT, "%s: larger than %zu bytes", name, max);
  if (i->source == CS_SRC_NONE)
    return TRUE;
  if (i->source == CS_SRC_MEMORY) {
    memcpy (buf, i->bytes, i->size);
    return TRUE;
  }
  if (i->source == CS_SRC_HOST) {
    cs_autofd int fd = cs_source_open (i, err);
    return fd >= 0 && cs_pread_all (fd, buf, i->size, 0, name, err) &&
           check_same (i, fd, name, err);
  }
  memset (buf, 0, i->size);
  for (guint k = 0; k < i->n_extents; k++) {
    const struct cs_extent *x = &i->extents[k];
    if (x->logical >= i->size)
      break;
    if (!cs_pread_all (i->fd, (char *) buf + x->logical,
                       MIN (x->length, i->size - x->logical), x->physical, name, err))
      return FALSE;
  }
  return TRUE;
}
