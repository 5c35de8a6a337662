/* File system writers and readers of guests: one table entry each.
 * SPDX-License-Identifier: BSD-3-Clause */
#ifndef CS_FS_H
#define CS_FS_H
#include "core/build/tree.h"

struct cs_fs_opts {
  guint64 min_free;    /* ext4: bytes free for the guest; 0: max (64 MiB, 10 %) */
  guint64 total_size;  /* ext4: of the whole file system; 0: as needed */
  guint64 max_meta;    /* rofs: limit of the structure area; 0: none */
};
struct cs_fs_result {
  guint64 size;       /* bytes the file system takes in the image, multiple of 512 */
  guint64 data_bytes; /* file data that were written; holes do not count */
  guint64 base_bytes, meta_bytes; /* of cs_compose: what else is allocated */
};

/* Writes t at out@offset; the file is extended with ftruncate to offset + size. The
 * region is a hole before. `name` is for messages. */
typedef gboolean cs_fs_write_fn (struct cs_tree *t, int out, guint64 offset,
                                 const char *name, const struct cs_fs_opts *o,
                                 struct cs_fs_result *ret, GError **err);
/* Adds the tree of the file system at fd@offset, length bytes, to t; file data stays in fd
 * (CS_SRC_IMAGE), which has to stay open. Nothing in it is trusted. */
typedef gboolean cs_fs_read_fn (struct cs_tree *t, int fd, guint64 offset, guint64 length,
                                const char *name, GError **err);

cs_fs_write_fn cs_rofs_write, cs_ext4_write;
cs_fs_read_fn cs_rofs_read, cs_ext4_read;
#endif
