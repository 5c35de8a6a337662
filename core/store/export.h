/* Images as files in other disk formats. SPDX-License-Identifier: BSD-3-Clause */
#ifndef CS_EXPORT_H
#define CS_EXPORT_H
#include "core/store/store.h"

struct cs_export {
  const char *format; /* "raw", "qcow2", "vdi", "vmdk", "vhd", "vhdx", "ova" */
  gboolean compress;  /* qcow2 and vmdk; an OVA's disk always is */
  gboolean force;     /* replaces a file that is there */
};
/* Writes the image, which the caller has locked and whose format is `from`, to the file `path`.
 * qemu-img converts it, checks the result where the format has a check, and compares it with
 * the image; the file appears under its name when all of it is right and on disk. *ret_size:
 * bytes of the file. CAPSTAN_E_EXISTS without force. */
gboolean cs_export (const struct cs_image *i, const char *from, const char *path,
                    const struct cs_export *x, guint64 *ret_size, GError **err);
/* The same for an image by its name and suffix (NULL: any), which is pulled if the store lacks
 * it; says what was written. path NULL: NAME.FORMAT in this folder. */
gboolean cs_export_image (const char *name, const char *suffix, const char *path, const struct cs_export *x,
                          GError **err);

/* Takes the next n bytes. */
struct cs_vmdk_out {
  gboolean (*write) (void *data, const void *buf, gsize n, GError **err);
  void *data;
};
/* The raw image `in` (name: for errors; size in bytes) as a stream-optimized VMDK, whose
 * description calls itself `extent`. Read and written once, from start to end. */
gboolean cs_vmdk_stream (int in, const char *name, guint64 size, const char *extent,
                         const struct cs_vmdk_out *out, GError **err);

/* An OVA (OVF 1.0) to the empty file fd: description, manifest of SHA-256 sums, disk. raw is
 * the disk, of `size` bytes, and is read once; name is the machine's. *ret_at, *ret_size: where
 * in the file the VMDK lies, in bytes. */
gboolean cs_ova_write (int fd, const char *path, const char *name, int raw, guint64 size,
                       guint64 *ret_at, guint64 *ret_size, GError **err);
#endif
