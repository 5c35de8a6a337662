/* Small writes that follow one another become large ones. SPDX-License-Identifier: BSD-3-Clause */
#include "config.h"
#include <string.h>
#include "core/base/error.h"
#include "core/base/progress.h"
#include "core/base/util.h"
#include "core/build/gather.h"

enum { PAGE = 4096 };

void
cs_gather_init (struct cs_gather *g, int fd, const char *name, guint64 pos)
{
  *g = (struct cs_gather) { .fd = fd, .name = name, .pos = pos };
  g->buf = g_malloc (CS_GATHER_BUFFER);
}

void
cs_gather_clear (struct cs_gather *g)
{
  g_clear_pointer (&g->buf, g_free);
}

gboolean
cs_gather_flush (struct cs_gather *g, GError **err)
{
  if (g->used > 0 && (!cs_pwrite_all (g->fd, g->buf, g->used, g->pos, g->name, err) ||
                      !cs_progress_step (g->used, err)))
    return FALSE;
  g->pos += g->used;
  g->used = 0;
  return TRUE;
}

gboolean
cs_gather_seek (struct cs_gather *g, guint64 pos, GError **err)
{
  guint64 here = g->pos + g->used;
  if (pos == here)
    return TRUE;
  if (pos > here && pos - here < PAGE && g->used > 0 && pos - g->pos <= CS_GATHER_BUFFER) {
    memset (g->buf + g->used, 0, pos - here);
    g->used += pos - here;
    return TRUE;
  }
  if (!cs_gather_flush (g, err))
    return FALSE;
  g->pos = pos;
  return TRUE;
}

guint8 *
cs_gather_room (struct cs_gather *g, gsize n, GError **err)
{
  if (g->used + n > CS_GATHER_BUFFER && !cs_gather_flush (g, err))
    return NULL;
  guint8 *p = g->buf + g->used;
  g->used += n;
  return p;
}

gboolean
cs_gather_file (struct cs_gather *g, struct cs_inode *i, guint64 pos, gsize align,
                GError **err)
{
  if (i->size >= CS_GATHER_LARGE) {
    if (!cs_gather_flush (g, err) ||
        !cs_source_copy (i, g->fd, pos, g->name, &g->data_bytes, err))
      return FALSE;
    g->pos = pos + i->size;
    return TRUE;
  }
  gsize room = CS_ALIGN (i->size, align);
  guint8 *to = cs_gather_seek (g, pos, err) ? cs_gather_room (g, room, err) : NULL;
  if (!to || !cs_source_read (i, to, i->size, err))
    return FALSE;
  memset (to + i->size, 0, room - i->size);
  g->data_bytes += i->size;
  return TRUE;
}
