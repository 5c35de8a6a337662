/* Inside the room: the headers of foreign images. SPDX-License-Identifier: BSD-3-Clause */
#ifndef CS_PROBE_H
#define CS_PROBE_H
#include "core/store/store.h"

#define CS_DISK_MAX (G_GUINT64_CONSTANT (1) << 46) /* 64 TiB */

struct cs_probe { /* a file that is looked at */
  int fd;
  const char *path;
  guint64 size;
  guint8 head[512];
};

static inline guint64
cs_be (const guint8 *p, int n)
{
  guint64 v = 0;
  for (int i = 0; i < n; i++)
    v = v << 8 | p[i];
  return v;
}

static inline guint64
cs_le (const guint8 *p, int n)
{
  guint64 v = 0;
  for (int i = n; i-- > 0;)
    v = v << 8 | p[i];
  return v;
}

/* Whether an entry is right, given a limit: the size of the file, a count. */
typedef gboolean cs_probe_entry_fn (const guint8 *entry, guint64 limit);
/* Looks at all n entries of a table, which lies in the file. */
gboolean cs_probe_table (const struct cs_probe *p, guint64 at, guint64 n, int width,
                         cs_probe_entry_fn *ok, guint64 limit, GError **err);

gboolean cs_probe_qcow2 (const struct cs_probe *p, gboolean allow_backing, guint64 *ret_size,
                         GError **err);
gboolean cs_probe_vdi (const struct cs_probe *p, guint64 *ret_size, GError **err);
gboolean cs_probe_vmdk (const struct cs_probe *p, guint64 *ret_size, GError **err);
#endif
