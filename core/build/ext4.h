/* Parts of the ext4 reader and writer. SPDX-License-Identifier: BSD-3-Clause */
#ifndef CS_EXT4_H
#define CS_EXT4_H
#include <ext2fs/ext2fs.h>
#include "core/build/fs.h"
#include "core/build/gather.h"

enum { CS_EXT4_BLOCK = 4096, CS_EXT4_LOST_FOUND = 11, CS_EXT4_FIRST = 12, CS_EXT4_INODE = 256 };

/* ---- I/O of libext2fs; the name says which part of which open file ---- */
extern struct struct_io_manager cs_ext4_io;
char *cs_ext4_io_name (int fd, guint64 offset, guint64 length); /* g_free */

/* ---- the writer ---- */
struct cs_ext4 {
  ext2_filsys fs;
  struct cs_gather g; /* file data and directories */
  guint64 offset;     /* of the file system in g.fd */
  const char *name;
  struct cs_tree *tree;
  GChecksum *digest;  /* of what the tree holds: UUID and hash seed */
  blk64_t free_at, free_end; /* blocks that nobody has, where the next file goes */
};

/* Where the blocks of a file are. */
struct cs_ext4_place {
  guint n; /* 0: libext2fs has to be asked */
  struct { guint64 start, len; } run[4];
};

gboolean cs_ext4_fail (GError **err, errcode_t e, const char *what, const char *object);
/* An inode with n blocks and `size` bytes; x is filled in by the caller as far as owner,
 * mode, times and links go. `what` is for messages. */
gboolean cs_ext4_inode (struct cs_ext4 *w, const struct cs_inode *i, struct ext2_inode *x,
                        guint64 n, guint64 size, const char *what, struct cs_ext4_place *ret,
                        GError **err);
/* The blocks from `logical` on that stand one behind the other, at most n. */
gboolean cs_ext4_where (struct cs_ext4 *w, ext2_ino_t ino, const struct cs_ext4_place *p,
                        guint64 logical, guint64 n, guint64 *ret_start, guint64 *ret_len,
                        GError **err);
void cs_ext4_fill (const struct cs_ext4 *w, struct ext2_inode *x, const struct cs_inode *i);

/* At most so many blocks a directory takes. */
guint64 cs_ext4_dir_max (const struct cs_inode *dir);
/* Inode and blocks of one directory, not of what is in it. lost_found 0: none of ours. */
gboolean cs_ext4_write_dir (struct cs_ext4 *w, const struct cs_inode *dir, guint32 parent,
                            guint32 lost_found, GError **err);

/* ---- extended attributes ---- */
/* Of an inode that is written already. */
gboolean cs_ext4_write_attrs (struct cs_ext4 *w, const struct cs_inode *i, const char *what,
                              GError **err);
/* Adds what the inode has to i; *total grows by their bytes and has a limit. */
gboolean cs_ext4_read_attrs (ext2_filsys fs, ext2_ino_t ino, struct cs_tree *t,
                             struct cs_inode *i, guint64 *total, const char *name,
                             const char *path, GError **err);
#endif
