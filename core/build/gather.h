/* Small writes that follow one another become large ones. SPDX-License-Identifier: BSD-3-Clause */
#ifndef CS_GATHER_H
#define CS_GATHER_H
#include <glib.h>
#include "core/build/tree.h"

enum {
  CS_GATHER_BUFFER = 512 * 1024,
  CS_GATHER_LARGE = 64 * 1024 /* from here on a file is copied in the kernel */
};

struct cs_gather {
  int fd;
  const char *name;    /* of the file, for messages */
  guint64 pos;         /* where buf goes */
  gsize used;
  guint8 *buf;
  guint64 data_bytes;  /* file data that were written; holes do not count */
};

void cs_gather_init (struct cs_gather *g, int fd, const char *name, guint64 pos);
void cs_gather_clear (struct cs_gather *g); /* what was not flushed is gone */
gboolean cs_gather_flush (struct cs_gather *g, GError **err);
/* The next byte goes to `pos`; gaps of less than a page are filled with zeros, others stay
 * as they are. */
gboolean cs_gather_seek (struct cs_gather *g, guint64 pos, GError **err);
/* Room for n bytes (at most CS_GATHER_BUFFER) that the caller fills in; NULL on error. */
guint8 *cs_gather_room (struct cs_gather *g, gsize n, GError **err);
/* All data of a file at `pos`, with zeros up to a multiple of `align` if the file is small;
 * what lies behind a large file is a hole. */
gboolean cs_gather_file (struct cs_gather *g, struct cs_inode *i, guint64 pos, gsize align,
                         GError **err);
#endif
