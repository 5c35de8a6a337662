/* Runs of zeros become holes. SPDX-License-Identifier: BSD-3-Clause */
#ifndef CS_SPARSE_H
#define CS_SPARSE_H
#include <glib.h>

gboolean cs_is_zero (const void *buf, gsize n); /* n > 0 */
/* Writes n bytes at off of a file that is a hole there, leaving runs of zeros out. *stored
 * grows by what was written. */
gboolean cs_write_sparse (int fd, const void *buf, gsize n, guint64 off, const char *name,
                          guint64 *stored, GError **err);
#endif
