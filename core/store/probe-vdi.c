/* VDI, as VirtualBox's VDICore.h has it. SPDX-License-Identifier: BSD-3-Clause */
#include "config.h"
#include "core/base/error.h"
#include "core/store/probe.h"

static gboolean
all_zero (const guint8 *p, gsize n)
{
  while (n > 0 && *p == 0)
    p++, n--;
  return n == 0;
}

/* An entry of the block map: no block, zeros, or one that is there. */
static gboolean
is_block (const guint8 *entry, guint64 blocks)
{
  guint64 b = cs_le (entry, 4);
  return b == 0xffffffff || b == 0xfffffffe || b < blocks;
}

gboolean
cs_probe_vdi (const struct cs_probe *p, guint64 *ret_size, GError **err)
{
  enum { BLOCK = 1024 * 1024 };
  const guint8 *h = p->head;
  guint64 type = cs_le (h + 76, 4), map = cs_le (h + 340, 4), data = cs_le (h + 344, 4);
  guint64 sector = cs_le (h + 360, 4), size = cs_le (h + 368, 8), block = cs_le (h + 376, 4);
  guint64 extra = cs_le (h + 380, 4), blocks = cs_le (h + 384, 4), used = cs_le (h + 388, 4);
  if (cs_le (h + 68, 4) != 0x00010001)
    return cs_fail (err, CAPSTAN_E_UNSUPPORTED, "%s: only VDI version 1.1 is known", p->path);
  /* the UUIDs of the image it was linked to, and of its parent */
  if ((type != 1 && type != 2) || !all_zero (h + 424, 32))
    return cs_fail (err, CAPSTAN_E_INVAL,
                    "%s is a VDI that depends on another: clone it in VirtualBox first", p->path);
  if (size == 0 || size > CS_DISK_MAX || sector != 512 || block != BLOCK || extra != 0 ||
      map < 512 || map % 512 != 0 || map > p->size || blocks * 4 > p->size - map ||
      data % 512 != 0 || data < map + blocks * 4 || data > p->size || used > blocks ||
      used * BLOCK > p->size - data || (size + BLOCK - 1) / BLOCK > blocks)
    return cs_fail (err, CAPSTAN_E_INVAL, "%s: its VDI header does not fit the file", p->path);
  if (!cs_probe_table (p, map, blocks, 4, is_block, used, err))
    return FALSE;
  *ret_size = size;
  return TRUE;
}
