/* Little-endian numbers in foreign bytes. SPDX-License-Identifier: BSD-3-Clause */
#ifndef CS_LE_H
#define CS_LE_H
#include <glib.h>
#include <string.h>

static inline guint16
cs_le16 (const guint8 *p)
{
  return (guint16) (p[0] | p[1] << 8);
}
static inline guint32
cs_le32 (const guint8 *p)
{
  return cs_le16 (p) | (guint32) cs_le16 (p + 2) << 16;
}
static inline guint64
cs_le64 (const guint8 *p)
{
  return cs_le32 (p) | (guint64) cs_le32 (p + 4) << 32;
}
#endif
