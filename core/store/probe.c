/* What a disk image file is, by a strict reading of its header.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * qcow2: docs/interop/qcow2.txt of QEMU. VDI: VirtualBox's VDICore.h. VMDK: VMware's
 * "Virtual Disk Format 5.0". Anything a header can ask for that reaches outside the file
 * is refused: a backing file, an external data file, other extents. So is what lies beyond
 * the end of the file, as after a download that was cut off. */
#include "config.h"
#include "core/base/error.h"
#include "core/base/util.h"
#include "core/store/probe.h"
#include <string.h>
#include <sys/stat.h>

gboolean
cs_probe_table (const struct cs_probe *p, guint64 at, guint64 n, int width, cs_probe_entry_fn *ok,
                guint64 limit, GError **err)
{
  guint8 buf[65536];
  while (n > 0) {
    guint64 k = MIN (n, sizeof buf / (guint) width);
    if (!cs_pread_all (p->fd, buf, (gsize) k * (guint) width, at, p->path, err))
      return FALSE;
    for (guint64 i = 0; i < k; i++)
      if (!ok (buf + i * (guint) width, limit))
        return cs_fail (err, CAPSTAN_E_INVAL,
                        "%s: its tables point beyond the end of the file; it is cut short", p->path);
    at += k * (guint) width;
    n -= k;
  }
  return TRUE;
}

/* Files that are no disk, or one that has to be converted by other means. */
static gboolean
refuse_known (const struct cs_probe *p, GError **err)
{
  static const struct { guint at; const char *magic; guint n; const char *what, *todo; } known[] = {
    { 0, "# Disk DescriptorFile", 21, "only the description of a VMDK, its data are in other files",
      "qemu-img convert -f vmdk -O raw it first" },
    { 0, "COWD", 4, "a VMDK of the old kind", "qemu-img convert -f vmdk -O raw it first" },
    { 0, "vhdxfile", 8, "a VHDX", "qemu-img convert -f vhdx -O raw it first" },
    { 0, "conectix", 8, "a VHD", "qemu-img convert -f vpc -O raw it first" },
    { 0, "QED\0", 4, "a QED image", "qemu-img convert -f qed -O raw it first" },
    { 0, "WithoutFreeSpace", 16, "a Parallels image", "qemu-img convert -f parallels -O raw it first" },
    { 0, "WithouFreSpacExt", 16, "a Parallels image", "qemu-img convert -f parallels -O raw it first" },
    { 0, "LUKS\xba\xbe", 6, "encrypted (LUKS)", "decrypt it first" },
    { 0, "\x1f\x8b", 2, "compressed", "gunzip it first" },
    { 0, "\xfd" "7zXZ", 5, "compressed", "unxz it first" },
    { 0, "\x28\xb5\x2f\xfd", 4, "compressed", "unzstd it first" },
    { 0, "BZh", 3, "compressed", "bunzip2 it first" },
    { 0, "PK\3\4", 4, "a zip archive", "unzip it first" },
    { 0, "\x7f" "ELF", 4, "a program, not a disk", "put it in an image with a Capstanfile" },
    { 257, "ustar", 5, "a tar archive", "unpack it, and make an image with a Capstanfile" } };
  guint8 tail[512];
  for (guint i = 0; i < G_N_ELEMENTS (known); i++)
    if (memcmp (p->head + known[i].at, known[i].magic, known[i].n) == 0)
      return cs_fail (err, CAPSTAN_E_UNSUPPORTED, "%s is %s: %s", p->path, known[i].what, known[i].todo);
  /* a VHD of a fixed size has nothing but its end to tell */
  if (p->size >= 1024 && !cs_pread_all (p->fd, tail, sizeof tail, p->size - 512, p->path, err))
    return FALSE;
  return p->size < 1024 || memcmp (tail, "conectix", 8) != 0 ||
         cs_fail (err, CAPSTAN_E_UNSUPPORTED, "%s is a VHD: qemu-img convert -f vpc -O raw it first",
                  p->path);
}

static const char *
probe (const struct cs_probe *p, guint flags, guint64 *size, GError **err)
{
  if (memcmp (p->head, "QFI\xfb", 4) == 0)
    return cs_probe_qcow2 (p, (flags & CS_PROBE_BACKING) != 0, size, err) ? "qcow2" : NULL;
  if (cs_le (p->head + 64, 4) == 0xbeda107f)
    return cs_probe_vdi (p, size, err) ? "vdi" : NULL;
  if (memcmp (p->head, "KDMV", 4) == 0)
    return cs_probe_vmdk (p, size, err) ? "vmdk" : NULL;
  if (!refuse_known (p, err))
    return NULL;
  *size = p->size;
  if ((p->head[510] == 0x55 && p->head[511] == 0xaa) || (flags & CS_PROBE_BARE))
    return "raw";
  return cs_fail_null (err, CAPSTAN_E_INVAL,
                       "%s is not a disk image that is known here: no qcow2, VDI or VMDK header, and "
                       "no boot sector; a raw disk without one needs --format raw",
                       p->path);
}

const char *
cs_image_probe (int fd, const char *path, guint flags, guint64 *ret_size, GError **err)
{
  struct cs_probe p = { .fd = fd, .path = path };
  struct stat st;
  guint64 size = 0;
  if (fstat (fd, &st) != 0)
    return cs_fail_errno_null (err, "stat %s", path);
  if (!S_ISREG (st.st_mode))
    return cs_fail_null (err, CAPSTAN_E_INVAL, "%s is not a file", path);
  p.size = (guint64) st.st_size;
  if (p.size < sizeof p.head && !(flags & CS_PROBE_BARE))
    return cs_fail_null (err, CAPSTAN_E_INVAL, "%s is smaller than one sector: not a disk image",
                         path);
  if (!cs_pread_all (fd, p.head, (gsize) MIN (p.size, sizeof p.head), 0, path, err))
    return NULL;
  const char *format = probe (&p, flags, &size, err);
  if (format != NULL && size > CS_DISK_MAX)
    return cs_fail_null (err, CAPSTAN_E_LIMIT, "%s: a disk of more than 64 TiB", path);
  if (format != NULL)
    *ret_size = size;
  return format;
}

const char *
cs_image_check (int fd, const char *path, const char *claimed, guint64 *ret_size, GError **err)
{
  guint64 size;
  const char *format =
      cs_image_probe (fd, path, g_strcmp0 (claimed, "raw") == 0 ? CS_PROBE_BARE : 0, &size, err);
  if (format == NULL)
    return NULL;
  if (claimed != NULL && strcmp (format, claimed) != 0)
    return cs_fail_null (err, CAPSTAN_E_INVAL, "%s is %s, and its index says %s", path, format,
                         claimed);
  *ret_size = size;
  return format;
}
