/* Extended attributes, from the ext4 of a base to that of an image: security.capability,
 * user.*, access lists and what else there is, byte for byte. SPDX-License-Identifier:
 * BSD-3-Clause */
#include "config.h"
#include "core/base/error.h"
#include "core/base/util.h"
#include "core/build/ext4.h"
#include <string.h>

enum {
  VALUE_MAX = 64 * 1024,       /* as Linux has it */
  ALL_MAX = 16 * 1024 * 1024   /* of all files of a base: they are kept in memory */
};

struct taker {
  struct cs_tree *t;
  struct cs_inode *i;
  guint64 *total;
};

static int
take (char *name, char *value, size_t size, void *p)
{
  struct taker *k = p;
  if (strcmp (name, "system.data") == 0)
    return 0; /* the end of a file's data, which live in the inode */
  *k->total += strlen (name) + size;
  if (size > VALUE_MAX || *k->total > ALL_MAX)
    return XATTR_ABORT;
  cs_tree_add_attr (k->t, k->i, name, value, size);
  return 0;
}

gboolean
cs_ext4_read_attrs (ext2_filsys fs, ext2_ino_t ino, struct cs_tree *t, struct cs_inode *i,
                    guint64 *total, const char *name, const char *path, GError **err)
{
  struct ext2_xattr_handle *h;
  struct taker k = { t, i, total };
  errcode_t e = ext2fs_xattrs_open (fs, ino, &h);
  if (e == 0) {
    if ((e = ext2fs_xattrs_read (h)) == 0)
      e = ext2fs_xattrs_iterate (h, take, &k);
    ext2fs_xattrs_close (&h);
  }
  if (*total > ALL_MAX)
    return cs_fail (err, CAPSTAN_E_LIMIT, "the ext4 of %s has more than 16 MiB of extended "
                    "attributes", name);
  return e == 0 || cs_fail (err, CAPSTAN_E_INVAL, "the ext4 of %s is damaged: the extended "
                            "attributes of %s: %s", name, path, error_message (e));
}

gboolean
cs_ext4_write_attrs (struct cs_ext4 *w, const struct cs_inode *i, const char *what,
                     GError **err)
{
  struct ext2_xattr_handle *h;
  unsigned int old, raw = XATTR_HANDLE_FLAG_RAW; /* as they were on disk */
  const struct cs_attr *a = NULL;
  if (!i->attrs)
    return TRUE;
  errcode_t e = ext2fs_xattrs_open (w->fs, i->number, &h);
  if (e != 0)
    return cs_ext4_fail (err, e, "write the extended attributes of", what);
  e = ext2fs_xattrs_flags (h, &raw, &old);
  for (guint k = 0; e == 0 && k < i->attrs->len; k++) {
    a = g_ptr_array_index (i->attrs, k);
    e = ext2fs_xattr_set (h, a->name, a->value, a->size);
  }
  ext2fs_xattrs_close (&h);
  w->free_at = w->free_end = 0; /* it may have taken a block */
  if (e == 0)
    return TRUE;
  g_autofree char *q = cs_quote (what);
  return cs_fail (err, e == EXT2_ET_EA_NO_SPACE ? CAPSTAN_E_LIMIT : CAPSTAN_E_IO,
                  "%s: the extended attribute %s of %s, %" G_GSIZE_FORMAT " bytes: %s", w->name,
                  a ? a->name : "", q, a ? a->size : 0, error_message (e));
}
