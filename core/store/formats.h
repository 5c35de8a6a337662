/* Disk formats that the store itself does not have, and the cache of images in them.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 *   cache/formats/<name>-<suffix>-<which>.<format>   name: 32 hex digits of a digest of it;
 *                 which: of what tells this image file from each that was there before it
 *   locks/formats-<name>   held by who makes such a file
 *
 * A file there is whole, was checked and compared, and is never changed. It goes with its image,
 * or, if a crash kept it, when the next is made. */
#ifndef CS_FORMATS_H
#define CS_FORMATS_H
#include "core/store/store.h"

struct cs_format {
  const char *name, *qemu;           /* ours, and qemu-img's */
  const char *options, *compressed;  /* of qemu-img, or NULL */
  gboolean compress, check;          /* can be compressed; can be checked */
};
/* NULL and a usage error for what is none. */
const struct cs_format *cs_format_find (const char *name, GError **err);
/* The image file `in`, whose format is `from`, as the file `out` in another. */
gboolean cs_format_convert (const char *from, const char *in, const struct cs_format *f, gboolean compress,
                            const char *out, GError **err);
/* What was written is whole, and is what the image is. */
gboolean cs_format_verify (const char *from, const char *in, const struct cs_format *f, const char *out,
                           GError **err);

/* The image, which the caller has locked, in a format that is not its own, into the empty file fd
 * named `out`: out of the cache, where it is made if it is not there yet. If the cache is of no
 * help, say for want of room, it is converted all the same. */
gboolean cs_formats_write (const struct cs_image *i, const char *from, const struct cs_format *f, int fd,
                           const char *out, GError **err);
/* The whole of the file `in` into the empty one `out`; shared where the file system can. */
gboolean cs_file_clone (int in, int out, const char *in_name, const char *out_name, GError **err);
/* What was made of the images of a name, which somebody has locked for himself. */
void cs_formats_forget (const char *name);
/* All that is there and that nobody is making: told one by one, and removed unless dry_run. */
typedef void (*cs_formats_fn) (const char *path, guint64 bytes, gpointer data);
gboolean cs_formats_prune (gboolean dry_run, cs_formats_fn fn, gpointer data, GError **err);
#endif
