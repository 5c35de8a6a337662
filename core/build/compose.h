/* A base, a tree and a command line become a disk. SPDX-License-Identifier: BSD-3-Clause */
#ifndef CS_COMPOSE_H
#define CS_COMPOSE_H
#include <glib.h>
#include "core/build/fs.h"
#include "core/build/tree.h"
#include "core/store/store.h"

struct cs_base {
  struct cs_image *image;
  int fd;             /* the base as raw bytes */
  char *name;         /* for messages; lives as long as trees that were read from it */
  const char *format; /* of the image file */
  const char *guest;  /* "osv", "linux" */
  gboolean is_file;   /* fd is the image file itself, not a conversion */
  guint64 size;       /* raw bytes */
  guint64 root;       /* where the application's file system goes */
  guint64 keep;       /* bytes of the base in front of it */
  const char *root_fs; /* what is there: "rofs", "ext4", or NULL */
};
/* Looks at its format only; cs_base_read opens its bytes. */
struct cs_base *cs_base_open (const char *name, const char *suffix, GError **err);
void cs_base_free (struct cs_base *b);
/* tmp: name of a temporary file for a base that is not raw; it is removed at once. */
gboolean cs_base_read (struct cs_base *b, const char *tmp, gboolean replace_root,
                       GError **err);
/* The files that the base has already. */
gboolean cs_base_tree (struct cs_base *b, struct cs_tree *t, GError **err);
/* What the guest expects and the application did not bring. */
gboolean cs_compose_add_missing (struct cs_tree *t, const char *guest, GError **err);
/* Writes the disk to the empty file `out`. size: of the disk, for ext4; 0: as needed. force:
 * without the limits of older guests. */
gboolean cs_compose (struct cs_base *b, struct cs_tree *t, const char *cmdline, guint64 size,
                     gboolean force, int out, const char *name, struct cs_fs_result *ret,
                     GError **err);
#endif
