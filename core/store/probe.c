/* What a disk image file is, by a strict reading of its header.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * qcow2: docs/interop/qcow2.txt of QEMU. VDI: VirtualBox's VDICore.h. VMDK: VMware's
 * "Virtual Disk Format 5.0". Anything a header can ask for that reaches outside the file
 * is refused: a backing file, an external data file, other extents. */
#include "config.h"
#include "core/base/error.h"
#include "core/base/util.h"
#include "core/store/store.h"
#include <string.h>
#include <sys/stat.h>

#define MAX_SIZE (G_GUINT64_CONSTANT (1) << 46) /* 64 TiB */

static guint64
be (const guint8 *p, int n)
{
  guint64 v = 0;
  for (int i = 0; i < n; i++)
    v = v << 8 | p[i];
  return v;
}

static guint64
le (const guint8 *p, int n)
{
  guint64 v = 0;
  for (int i = n; i-- > 0;)
    v = v << 8 | p[i];
  return v;
}

static gboolean
probe_qcow2 (const guint8 *h, guint64 file, const char *path, gboolean allow_backing,
             guint64 *ret_size, GError **err)
{
  guint64 version = be (h + 4, 4), bits = be (h + 20, 4), size = be (h + 24, 8);
  guint64 l1_size = be (h + 36, 4), l1 = be (h + 40, 8), ref = be (h + 48, 8);
  guint64 ref_clusters = be (h + 56, 4), incompatible = version >= 3 ? be (h + 72, 8) : 0;
  guint64 snapshots = be (h + 60, 4), snapshot_at = be (h + 64, 8);
  guint64 ref_order = version >= 3 ? be (h + 96, 4) : 4, header = version >= 3 ? be (h + 100, 4) : 72;
  if (version != 2 && version != 3)
    return cs_fail (err, CAPSTAN_E_INVAL, "%s: qcow2 version %u is not known", path,
                    (unsigned) version);
  if (be (h + 8, 8) != 0 && !allow_backing)
    return cs_fail (err, CAPSTAN_E_INVAL,
                    "%s has a backing file, and an image must stand alone: qemu-img convert "
                    "-O qcow2 it first",
                    path);
  if (be (h + 32, 4) != 0)
    return cs_fail (err, CAPSTAN_E_UNSUPPORTED, "%s is encrypted: decrypt it with qemu-img convert",
                    path);
  if (incompatible & 4)
    return cs_fail (err, CAPSTAN_E_INVAL,
                    "%s keeps its data in another file: qemu-img convert it first", path);
  if (incompatible & 2)
    return cs_fail (err, CAPSTAN_E_INVAL, "%s is marked corrupt: qemu-img check it", path);
  if (incompatible & ~G_GUINT64_CONSTANT (0x1f))
    return cs_fail (err, CAPSTAN_E_UNSUPPORTED,
                    "%s uses qcow2 features that are not known here (0x%" G_GINT64_MODIFIER
                    "x)",
                    path, incompatible);
  if (bits < 9 || bits > 21 || size > MAX_SIZE || ref_order > 6 ||
      header < (version >= 3 ? 104 : 72) || header > G_GUINT64_CONSTANT (1) << bits)
    return cs_fail (err, CAPSTAN_E_INVAL, "%s: its qcow2 header holds absurd sizes", path);
  guint64 cluster = G_GUINT64_CONSTANT (1) << bits;
  if (l1_size > 4 * 1024 * 1024 || l1 % cluster != 0 || l1 > file || l1_size * 8 > file - l1 ||
      (l1_size != 0 && l1 == 0) || ref == 0 || ref_clusters == 0 || ref % cluster != 0 ||
      ref > file || ref_clusters * cluster > file - ref ||
      /* an entry of the snapshot table has 40 bytes at least */
      (snapshots != 0 && (snapshot_at == 0 || snapshot_at % cluster != 0 ||
                          snapshot_at > file || snapshots * 40 > file - snapshot_at)))
    return cs_fail (err, CAPSTAN_E_INVAL,
                    "%s: its qcow2 tables lie beyond the end of the file; it is cut short", path);
  /* an L2 table is one cluster; its entries have 16 bytes with extended L2 entries */
  guint64 mapped = cluster / (incompatible & 16 ? 16 : 8) * cluster;
  if (l1_size < (size + mapped - 1) / mapped)
    return cs_fail (err, CAPSTAN_E_INVAL,
                    "%s: its qcow2 L1 table is too small for its size; it is damaged", path);
  *ret_size = size;
  return TRUE;
}

static gboolean
probe_vdi (const guint8 *h, guint64 file, const char *path, guint64 *ret_size, GError **err)
{
  guint64 type = le (h + 76, 4), map = le (h + 340, 4), data = le (h + 344, 4);
  guint64 size = le (h + 368, 8), block = le (h + 376, 4), blocks = le (h + 384, 4);
  if (le (h + 68, 4) >> 16 != 1)
    return cs_fail (err, CAPSTAN_E_UNSUPPORTED, "%s: only VDI version 1 is known", path);
  if (type != 1 && type != 2)
    return cs_fail (err, CAPSTAN_E_INVAL,
                    "%s is a VDI that depends on another: clone it in VirtualBox first", path);
  if (size > MAX_SIZE || block != 1024 * 1024 || map > file || data > file ||
      blocks * 4 > file - map || (size + block - 1) / block > blocks)
    return cs_fail (err, CAPSTAN_E_INVAL, "%s: its VDI header does not fit the file", path);
  *ret_size = size;
  return TRUE;
}

/* The text that a sparse VMDK holds: QEMU and VirtualBox open the parent it names. */
static gboolean
vmdk_stands_alone (char *text, const char *path, GError **err)
{
  g_auto (GStrv) lines = g_strsplit (text, "\n", 0);
  guint extents = 0;
  for (char **l = lines; *l != NULL; l++) {
    char *line = g_strstrip (*l);
    g_autofree char *low = g_ascii_strdown (line, -1);
    g_auto (GStrv) word = g_strsplit_set (low, " \t=", 3);
    gboolean parent = strcmp (word[0] != NULL ? word[0] : "", "parentcid") == 0 &&
                      !g_str_has_suffix (low, "ffffffff");
    if (parent || strstr (low, "parentfilenamehint") != NULL)
      return cs_fail (err, CAPSTAN_E_INVAL,
                      "%s is a VMDK that depends on another: qemu-img convert it first", path);
    if (g_str_has_prefix (low, "rw ") || g_str_has_prefix (low, "rdonly ") ||
        g_str_has_prefix (low, "noaccess ")) {
      if (++extents > 1 || strstr (low, " sparse ") == NULL)
        return cs_fail (err, CAPSTAN_E_INVAL,
                        "%s is a VMDK with its data in other files: qemu-img convert -f vmdk "
                        "-O raw it first",
                        path);
    }
  }
  return TRUE;
}

static gboolean
probe_vmdk (int fd, const guint8 *h, guint64 file, const char *path, guint64 *ret_size,
            GError **err)
{
  guint64 version = le (h + 4, 4), size = le (h + 12, 8), at = le (h + 28, 8);
  guint64 grain = le (h + 20, 8), length = le (h + 36, 8), gtes = le (h + 44, 4);
  guint64 directory = le (h + 56, 8), sectors = file / 512;
  /* capacity 0: QEMU would take the whole file for a description of others; a directory
   * of all ones stands at the end of the file (streamOptimized) */
  if (version < 1 || version > 3 || size == 0 || size > MAX_SIZE / 512 || grain < 8 ||
      grain > 65536 || (grain & (grain - 1)) != 0 || gtes != 512 || at > sectors ||
      length > 2048 || length > sectors - at || (at == 0) != (length == 0) ||
      (directory != G_MAXUINT64 && (directory == 0 || directory >= sectors)))
    return cs_fail (err, CAPSTAN_E_INVAL, "%s: its VMDK header does not fit the file", path);
  if (at != 0) {
    g_autofree char *text = g_malloc0 (length * 512 + 1);
    if (!cs_pread_all (fd, text, length * 512, at * 512, path, err) ||
        !vmdk_stands_alone (text, path, err))
      return FALSE;
  }
  *ret_size = size * 512;
  return TRUE;
}

const char *
cs_image_probe (int fd, const char *path, guint flags, guint64 *ret_size, GError **err)
{
  guint8 h[512] = { 0 };
  struct stat st;
  guint64 size = 0;
  const char *format = NULL;
  if (fstat (fd, &st) != 0)
    return cs_fail_errno_null (err, "stat %s", path);
  if (!S_ISREG (st.st_mode))
    return cs_fail_null (err, CAPSTAN_E_INVAL, "%s is not a file", path);
  guint64 file = (guint64) st.st_size;
  if (file < sizeof h && !(flags & CS_PROBE_BARE))
    return cs_fail_null (err, CAPSTAN_E_INVAL, "%s is smaller than one sector: not a disk image",
                         path);
  if (!cs_pread_all (fd, h, (gsize) MIN (file, sizeof h), 0, path, err))
    return NULL;
  if (memcmp (h, "QFI\xfb", 4) == 0)
    format = probe_qcow2 (h, file, path, (flags & CS_PROBE_BACKING) != 0, &size, err) ? "qcow2" : NULL;
  else if (le (h + 64, 4) == 0xbeda107f)
    format = probe_vdi (h, file, path, &size, err) ? "vdi" : NULL;
  else if (memcmp (h, "KDMV", 4) == 0)
    format = probe_vmdk (fd, h, file, path, &size, err) ? "vmdk" : NULL;
  else if (memcmp (h, "# Disk DescriptorFile", 21) == 0)
    cs_fail (err, CAPSTAN_E_INVAL,
             "%s only describes a VMDK, its data are in other files: qemu-img convert -f vmdk "
             "-O raw it first",
             path);
  else if (memcmp (h, "vhdxfile", 8) == 0 || memcmp (h, "conectix", 8) == 0)
    cs_fail (err, CAPSTAN_E_UNSUPPORTED,
             "%s is a %s: qemu-img convert -f %s -O raw it first", path,
             *h == 'v' ? "VHDX" : "VHD", *h == 'v' ? "vhdx" : "vpc");
  else if (h[0] == 0x1f && h[1] == 0x8b)
    cs_fail (err, CAPSTAN_E_INVAL, "%s is compressed: gunzip it first", path);
  else if ((h[510] == 0x55 && h[511] == 0xaa) || (flags & CS_PROBE_BARE)) {
    format = "raw";
    size = file;
  } else
    cs_fail (err, CAPSTAN_E_INVAL,
             "%s is not a disk image that is known here: no qcow2, VDI or VMDK header, and no "
             "boot sector; a raw disk without one needs --format raw",
             path);
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
