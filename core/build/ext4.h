/* Parts of the ext4 writer. SPDX-License-Identifier: BSD-3-Clause */
#ifndef CS_EXT4_H
#define CS_EXT4_H
#include <ext2fs/ext2fs.h>
#include "core/build/fs.h"

enum { CS_EXT4_BLOCK = 4096, CS_EXT4_LOST_FOUND = 11, CS_EXT4_FIRST = 12 };

struct cs_ext4 {
  ext2_filsys fs;
  int out;
  guint64 offset;
  const char *name;
  struct cs_tree *tree;
  guint64 data_bytes;
  void *digest; /* EVP_MD_CTX of what the tree holds: UUID and hash seed */
};

gboolean cs_ext4_fail (GError **err, errcode_t e, const char *what, const char *object);
void cs_ext4_fill (struct ext2_inode *x, const struct cs_inode *i);
/* Gives the inode n blocks and stores it. */
gboolean cs_ext4_allocate (struct cs_ext4 *w, ext2_ino_t ino, struct ext2_inode *x,
                           guint64 n, guint64 size, const char *what, GError **err);
/* Block of the file system that holds a block of the file. */
gboolean cs_ext4_block (struct cs_ext4 *w, ext2_ino_t ino, struct ext2_inode *x,
                        guint64 logical, blk64_t *ret, GError **err);

/* At most so many blocks a directory takes. */
guint64 cs_ext4_dir_max (const struct cs_inode *dir);
/* Inode and blocks of one directory, not of what is in it. lost_found 0: none of ours. */
gboolean cs_ext4_write_dir (struct cs_ext4 *w, const struct cs_inode *dir, guint32 parent,
                            guint32 lost_found, GError **err);
#endif
