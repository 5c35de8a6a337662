/* SPDX-License-Identifier: BSD-3-Clause */
#include "config.h"
#include "core/base/sparse.h"
#include "core/base/util.h"
#include <string.h>

enum { BLOCK = 32 * 1024 }; /* zeros shorter than this are written */

gboolean
cs_is_zero (const void *buf, gsize n)
{
  const guint8 *p = buf;
  return *p == 0 && memcmp (p, p + 1, n - 1) == 0;
}

gboolean
cs_write_sparse (int fd, const void *buf, gsize n, guint64 off, const char *name, guint64 *stored,
                 GError **err)
{
  const guint8 *p = buf;
  gsize begin = 0; /* of what is to be written */
  for (gsize at = 0; at < n;) {
    gsize block = MIN (n - at, (gsize) BLOCK - (gsize) ((off + at) % BLOCK));
    if (cs_is_zero (p + at, block)) {
      if (at > begin && !cs_pwrite_all (fd, p + begin, at - begin, off + begin, name, err))
        return FALSE;
      begin = at + block;
    } else
      *stored += block;
    at += block;
  }
  return n == begin || cs_pwrite_all (fd, p + begin, n - begin, off + begin, name, err);
}
