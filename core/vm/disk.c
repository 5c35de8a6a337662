/* The disk of an instance: an overlay over the image or a copy of it, and what is written
 * there for this instance alone. SPDX-License-Identifier: BSD-3-Clause */
#include "config.h"
#include "core/vm/disk.h"
#include "core/base/error.h"
#include "core/base/spawn.h"
#include "core/base/util.h"
#include "core/build/cmdline.h"
#include "core/store/formats.h"
#include <fcntl.h>
#include <string.h>

static gboolean
has_format (const char *list, const char *format)
{
  g_auto (GStrv) l = g_strsplit (list != NULL ? list : format, ",", 0);
  return g_strv_contains ((const char *const *) l, format);
}

/* qemu-img or qemu-io in the instance's folder: file names are relative, since qemu-io parts
 * its commands at blanks and knows no quotes. */
static gboolean
tool (struct cs_instance *i, const char *const *argv, GError **err)
{
  return cs_spawn_tool (i->dir, argv, err);
}

enum { QEMU_MAJOR = 4, QEMU_MINOR = 2 }; /* write -s of qemu-io */

/* "qemu-img version 7.2.22 (Debian ...)" */
static char *
tool_version (const char *program, GError **err)
{
  const char *argv[] = { program, "--version", NULL };
  struct cs_spawn s = CS_SPAWN_INIT;
  guint major = 0, minor = 0;
  s.argv = argv;
  gboolean ok = cs_spawn_check (&s, err);
  const char *at = ok ? strstr (s.out, " version ") : NULL;
  char *v = at != NULL ? g_strndup (at + 9, strspn (at + 9, "0123456789.")) : NULL;
  if (ok && (v == NULL || sscanf (v, "%u.%u", &major, &minor) != 2))
    ok = cs_fail (err, CAPSTAN_E_UNSUPPORTED, "%s --version says no version", program);
  else if (ok && (major < QEMU_MAJOR || (major == QEMU_MAJOR && minor < QEMU_MINOR)))
    ok = cs_fail (err, CAPSTAN_E_UNSUPPORTED, "%s is of QEMU %s, and has to be of %d.%d or later", program, v,
                  QEMU_MAJOR, QEMU_MINOR);
  cs_spawn_clear (&s);
  if (ok)
    return v;
  g_free (v);
  return NULL;
}

char *
cs_disk_tools (GError **err)
{
  g_autofree char *io = tool_version ("qemu-io", err);
  char *img = io != NULL ? tool_version ("qemu-img", err) : NULL;
  if (img == NULL)
    g_prefix_error (err, "disks of instances are made by qemu-img and qemu-io (package qemu-utils): ");
  return img;
}

gboolean
cs_disk_choose (struct cs_instance *i, const struct cs_image *im, const char *format,
                const struct capstan_caps *caps, GError **err)
{
  if (has_format (caps->formats, "qcow2")) {
    i->disk = g_strdup ("disk.qcow2");
    i->disk_format = g_strdup ("qcow2");
    return TRUE;
  }
  if (!has_format (caps->formats, "raw"))
    return cs_fail (err, CAPSTAN_E_UNSUPPORTED, "image %s is %s, which %s does not take (%s)",
                    im->name, format, i->hypervisor, caps->formats);
  i->disk = g_strdup ("disk.raw");
  i->disk_format = g_strdup ("raw");
  return TRUE;
}

/* The file that the overlay stands on: a name of our own for the image, since the store's
 * may get another image later, under which the overlay would be nonsense. The store's where
 * the file system gives no second name. */
static const char *
backing_name (const struct cs_instance *i, const struct cs_image *im)
{
  g_autofree char *path = cs_instance_path (i, CS_DISK_BASE);
  return link (im->path, path) == 0 ? CS_DISK_BASE : im->path;
}

gboolean
cs_disk_make (struct cs_instance *i, const struct cs_image *im, const char *format, GError **err)
{
  if (strcmp (i->disk_format, "qcow2") == 0) {
    const char *argv[] = { "qemu-img", "create", "-q", "-f", "qcow2", "-F", format, "-b",
                           backing_name (i, im), i->disk, NULL };
    return tool (i, argv, err);
  }
  g_autofree char *path = cs_instance_path (i, i->disk);
  cs_autofd int out = open (path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (out < 0)
    return cs_fail_errno (err, "create %s", path);
  if (strcmp (format, "raw") != 0)
    return cs_formats_write (im, format, cs_format_find ("raw", NULL), out, path, err);
  cs_autofd int in = open (im->path, O_RDONLY | O_CLOEXEC);
  return in >= 0 ? cs_file_clone (in, out, im->path, path, err) : cs_fail_errno (err, "open %s", im->path);
}

/* What the disk holds, whoever made it; g_free. */
static char *
read_cmdline (struct cs_instance *i, GError **err)
{
  gboolean is_raw = strcmp (i->disk_format, "raw") == 0;
  g_autofree char *path = cs_instance_path (i, is_raw ? i->disk : "head");
  /* the sector before it as well, so that one reader serves both */
  const char *argv[] = { "qemu-img", "dd", "-f", "qcow2", "-O", "raw", "bs=512", "count=64",
                         "if=disk.qcow2", "of=head", NULL };
  if (!is_raw && !tool (i, argv, err))
    return NULL;
  cs_autofd int fd = open (path, O_RDONLY | O_CLOEXEC);
  if (fd < 0)
    return cs_fail_errno_null (err, "open %s", path);
  if (!is_raw)
    unlink (path);
  return cs_cmdline_read (fd, path, err);
}

static gboolean
write_cmdline (struct cs_instance *i, GError **err)
{
  if (strcmp (i->disk_format, "raw") == 0) {
    g_autofree char *path = cs_instance_path (i, i->disk);
    cs_autofd int fd = open (path, O_RDWR | O_CLOEXEC);
    if (fd < 0)
      return cs_fail_errno (err, "open %s", path);
    return cs_cmdline_write (fd, i->cmdline, path, err);
  }
  g_autofree char *text = cs_instance_path (i, "cmdline");
  gsize n = CS_ALIGN (strlen (i->cmdline) + 1, 512);
  g_autofree char *buf = g_malloc0 (n);
  memcpy (buf, i->cmdline, strlen (i->cmdline));
  g_autofree char *cmd =
      g_strdup_printf ("write -q -s cmdline %d %" G_GSIZE_FORMAT, CS_CMDLINE_OFFSET, n);
  const char *argv[] = { "qemu-io", "-f", "qcow2", "-c", cmd, i->disk, NULL };
  return cs_write_file (text, buf, n, 0600, err) && tool (i, argv, err);
}

gboolean
cs_disk_cmdline (struct cs_instance *i, const char *cmd, const char *const *env, GError **err)
{
  if (cmd == NULL && env[0] == NULL)
    return TRUE;
  g_autofree char *built = read_cmdline (i, err);
  if (built == NULL)
    return FALSE;
  g_autofree char *app = cmd != NULL ? cs_cmdline_replace_app (built, cmd) : g_strdup (built);
  i->cmdline = cs_cmdline_make (env, app, i->guest, err);
  return i->cmdline != NULL && write_cmdline (i, err);
}

gboolean
cs_disk_extract (const struct cs_image *im, guint64 off, guint64 n, const char *path, GError **err)
{
  cs_autofd int in = open (im->path, O_RDONLY | O_CLOEXEC);
  cs_autofd int out = open (path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (in < 0 || out < 0)
    return cs_fail_errno (err, "copy from %s to %s", im->path, path);
  if (ftruncate (out, (off_t) n) != 0)
    return cs_fail_errno (err, "write %s", path);
  return cs_copy_range (in, off, out, 0, n, im->path, path, err);
}
