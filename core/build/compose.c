/* A base, a tree and a command line become a disk. SPDX-License-Identifier: BSD-3-Clause */
#include "config.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include "core/base/error.h"
#include "core/base/spawn.h"
#include "core/base/util.h"
#include "core/build/cmdline.h"
#include "core/build/compose.h"
#include "core/build/mbr.h"
#include "core/build/rofs.h"

#define BASE_MIN (64 * 1024)
#define ROOT_ALIGN (2 * 1024 * 1024)

void
cs_base_free (struct cs_base *b)
{
  if (!b)
    return;
  if (b->image)
    cs_image_free (b->image);
  cs_close_fd (&b->fd);
  g_free (b->name);
  g_free (b);
}

/* Says which command makes or gets the base. */
static void
explain_missing (const char *name, GError **err)
{
  if (!err || !*err || (*err)->code != CAPSTAN_E_NOTFOUND)
    return;
  g_clear_error (err);
  if (strcmp (name, "linux") == 0)
    cs_fail (err, CAPSTAN_E_NOTFOUND,
             "the base image 'linux' is not in the store; make it: capstan base make linux");
  else {
    g_autofree char *put = g_strdup_printf ("put it there: capstan import %s FILE (or use 'base: linux')",
                                            name);
    g_autofree char *what = cs_store_near (name, put);
    cs_fail (err, CAPSTAN_E_NOTFOUND, "the base image '%s' is not in the store; %s", name, what);
  }
}

static gboolean
open_base (struct cs_base *b, const char *name, const char *suffix, GError **err)
{
  if (!cs_store_want (name, suffix, err))
    return FALSE;
  /* Until it is open: then its bytes stay what they are, whatever becomes of the name. Held
   * longer, two builds on each other's image would wait for each other. */
  cs_autofd int lock = cs_store_lock (name, FALSE, TRUE, err);
  if (lock < 0 || !(b->image = cs_store_find (name, suffix, err))) {
    explain_missing (name, err);
    return FALSE;
  }
  const char *path = b->image->path;
  const char *guest = b->image->index->guest;
  b->guest = guest ? guest : "osv";
  if (strcmp (b->guest, "osv") != 0 && strcmp (b->guest, "linux") != 0)
    return cs_fail (err, CAPSTAN_E_UNSUPPORTED,
                    "the base image '%s' is for guest '%s'; 'osv' and 'linux' are known",
                    name, b->guest);
  if ((b->fd = open (path, O_RDONLY | O_CLOEXEC)) < 0)
    return cs_fail_errno (err, "open the base image %s", path);
  /* The index says what the bytes are; only where it does not are they asked. */
  if (!(b->format = b->image->index->format))
    b->format = cs_image_probe (b->fd, path, FALSE, &b->size, err);
  return b->format != NULL;
}

struct cs_base *
cs_base_open (const char *name, const char *suffix, GError **err)
{
  struct cs_base *b = g_new0 (struct cs_base, 1);
  b->fd = -1;
  b->name = g_strdup_printf ("base image '%s'", name);
  GError *e = NULL;
  if (open_base (b, name, suffix, &e))
    return b;
  g_propagate_error (err, e);
  cs_base_free (b);
  return NULL;
}

static gboolean
convert (struct cs_base *b, const char *tmp, GError **err)
{
  /* Not trusted: no backing file, no encryption. */
  const char *found = cs_image_probe (b->fd, b->image->path, FALSE, &b->size, err);
  if (!found)
    return FALSE;
  if (strcmp (found, b->format) != 0)
    return cs_fail (err, CAPSTAN_E_INVAL, "%s is %s, but its index.yaml says %s",
                    b->image->path, found, b->format);
  /* what is open here: under its name there may be another by now */
  const char *const argv[] = { "qemu-img", "convert", "-f", b->format, "-O", "raw",
                               "/proc/self/fd/3", tmp, NULL };
  struct cs_spawn s = CS_SPAWN_INIT;
  s.argv = argv;
  s.pass_fds = &b->fd;
  s.n_pass_fds = 1;
  gboolean ok = cs_spawn_check (&s, err);
  if (!ok)
    g_prefix_error (err, "convert the %s: ", b->name);
  cs_spawn_clear (&s);
  cs_close_fd (&b->fd);
  b->fd = -1;
  if (ok && (b->fd = open (tmp, O_RDONLY | O_CLOEXEC)) < 0)
    ok = cs_fail_errno (err, "open %s", tmp);
  unlink (tmp);
  return ok;
}

/* What is in partition 2. */
static const char *
probe_root (struct cs_base *b, guint64 at)
{
  guint8 buf[8];
  if (b->size - at >= 8 && cs_pread_all (b->fd, buf, 8, at, b->name, NULL) &&
      rofs_get64 (buf) == ROFS_MAGIC)
    return "rofs";
  if (b->size - at >= 2048 && cs_pread_all (b->fd, buf, 2, at + 1024 + 56, b->name, NULL) &&
      buf[0] == 0x53 && buf[1] == 0xef)
    return "ext4";
  /* The first uberblock of the first label. */
  if (b->size - at > 128 * 1024 + 8 &&
      cs_pread_all (b->fd, buf, 8, at + 128 * 1024, b->name, NULL) &&
      rofs_get64 (buf) == 0x00bab10c)
    return "zfs";
  return NULL;
}

static gboolean
place_root (struct cs_base *b, const struct cs_part *parts, gboolean replace, GError **err)
{
  const struct cs_part *p = &parts[1];
  const char *index_fs = b->image->index->fs;
  if (p->type == 0) {
    b->keep = b->size;
    b->root = CS_ALIGN (b->size, ROOT_ALIGN);
    return TRUE;
  }
  if (p->start < BASE_MIN || p->start >= b->size)
    return cs_fail (err, CAPSTAN_E_INVAL,
                    "%s: its partition 2 begins at byte %" G_GUINT64_FORMAT
                    ", which cannot be", b->name, p->start);
  for (int k = 0; k < 4; k++)
    if (k != 1 && parts[k].type != 0 && parts[k].start + parts[k].size > p->start)
      return cs_fail (err, CAPSTAN_E_UNSUPPORTED,
                      "%s: its partition %d lies behind partition 2, which is written anew; "
                      "use a loader without partitions", b->name, k + 1);
  b->keep = b->root = p->start;
  const char *fs = probe_root (b, p->start);
  if (fs && strcmp (fs, "zfs") != 0)
    b->root_fs = fs;
  if (replace)
    b->root_fs = NULL;
  else if (!b->root_fs)
    return cs_fail (err, CAPSTAN_E_UNSUPPORTED,
                    "%s holds a %s file system, which cannot be added to; use a loader "
                    "(such as osv-loader) as base, or --replace-root to put the "
                    "application's files in its place", b->name,
                    fs || g_strcmp0 (index_fs, "zfs") == 0 ? "ZFS" : "foreign (ZFS?)");
  return TRUE;
}

gboolean
cs_base_read (struct cs_base *b, const char *tmp, gboolean replace_root, GError **err)
{
  struct cs_part parts[4];
  struct stat st;
  b->is_file = strcmp (b->format, "raw") == 0;
  if (!b->is_file && !convert (b, tmp, err))
    return FALSE;
  if (fstat (b->fd, &st) < 0)
    return cs_fail_errno (err, "look at %s", b->name);
  b->size = (guint64) st.st_size;
  if (b->size < BASE_MIN)
    return cs_fail (err, CAPSTAN_E_INVAL,
                    "%s is only %" G_GUINT64_FORMAT " bytes: too small for a loader",
                    b->name, b->size);
  return cs_mbr_read (b->fd, b->name, parts, err) &&
         place_root (b, parts, replace_root, err);
}

gboolean
cs_base_tree (struct cs_base *b, struct cs_tree *t, GError **err)
{
  if (!b->root_fs)
    return TRUE;
  /* To the end of the image: older tools wrote the partition a sector short. */
  guint64 length = b->size - b->root;
  if (strcmp (b->root_fs, "rofs") == 0)
    return cs_rofs_read (t, b->fd, b->root, length, b->name, err);
  return cs_ext4_read (t, b->fd, b->root, length, b->name, err);
}

/* A path whose first directory is a symlink is the application's own business. */
static gboolean
is_missing (struct cs_tree *t, const char *path)
{
  g_autofree char *dir = g_path_get_dirname (path);
  struct cs_inode *d = cs_tree_lookup (t, dir);
  return (!d || S_ISDIR (d->type)) && !cs_tree_lookup (t, path);
}

gboolean
cs_compose_add_missing (struct cs_tree *t, const char *guest, GError **err)
{
  static const char *const osv_dirs[] = { "/data", "/dev", "/etc", "/proc", "/sys", "/tmp",
                                          NULL };
  static const char *const linux_dirs[] = { "/dev", "/etc", "/proc", "/run", "/sys", "/tmp",
                                            NULL };
  static const char hosts[] = "127.0.0.1 localhost\n::1 localhost\n";
  static const char fstab[] = "none /dev devfs defaults 0 0\n"
                              "none /proc procfs defaults 0 0\n"
                              "none /sys sysfs defaults 0 0\n";
  gboolean osv = strcmp (guest, "osv") == 0;
  for (const char *const *d = osv ? osv_dirs : linux_dirs; *d; d++)
    if (is_missing (t, *d) &&
        !cs_tree_put_dir (t, *d, strcmp (*d, "/tmp") == 0 ? 01777 : 0755, err))
      return FALSE;
  if (is_missing (t, "/etc/hosts") &&
      !cs_tree_put_bytes (t, "/etc/hosts", hosts, sizeof hosts - 1, 0644, err))
    return FALSE;
  if (!osv)
    return TRUE;
  return (!is_missing (t, "/etc/fstab") ||
          cs_tree_put_bytes (t, "/etc/fstab", fstab, sizeof fstab - 1, 0644, err)) &&
         (!is_missing (t, "/etc/mnttab") ||
          cs_tree_put_symlink (t, "/etc/mnttab", "/proc/mounts", err));
}

static gboolean
copy_base (struct cs_base *b, int out, const char *name, GError **err)
{
  if (b->is_file && b->keep == b->size && ioctl (out, FICLONE, b->fd) == 0)
    return TRUE;
  return cs_copy_range (b->fd, 0, out, 0, b->keep, b->name, name, err);
}

/* What the disk takes of the host. */
static guint64
allocated (int fd)
{
  struct stat st;
  return fstat (fd, &st) == 0 ? (guint64) st.st_blocks * 512 : 0;
}

gboolean
cs_compose (struct cs_base *b, struct cs_tree *t, const char *cmdline, guint64 size,
            gboolean force, int out, const char *name, struct cs_fs_result *ret, GError **err)
{
  gboolean osv = strcmp (b->guest, "osv") == 0;
  struct cs_fs_opts o = { .max_meta = osv && !force ? ROFS_META_MAX : 0 };
  cs_fs_write_fn *write = osv ? cs_rofs_write : cs_ext4_write;
  if (size > 0 && size <= b->root)
    return cs_fail (err, CAPSTAN_E_LIMIT, "the size asked for is too small: the base alone "
                    "takes %" G_GUINT64_FORMAT " MiB", b->root / 1048576 + 1);
  o.total_size = size > 0 ? size - b->root : 0;
  cs_tree_count (t); /* the numbers of names, as the writer needs them */
  if (!copy_base (b, out, name, err))
    return FALSE;
  if (ftruncate (out, (off_t) b->root) < 0)
    return cs_fail_errno (err, "%s: make it %" G_GUINT64_FORMAT " bytes", name, b->root);
  guint64 before = allocated (out);
  if (!write (t, out, b->root, name, &o, ret, err) ||
      !cs_mbr_write_root (out, name, b->root, ret->size, err) ||
      !cs_cmdline_write (out, cmdline, name, err))
    return FALSE;
  guint64 after = MAX (allocated (out), before + ret->data_bytes);
  ret->base_bytes = before;
  ret->meta_bytes = after - before - ret->data_bytes;
  return TRUE;
}
