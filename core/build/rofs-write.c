/* Writes a ROFS. SPDX-License-Identifier: BSD-3-Clause */
#include "config.h"
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include "core/base/error.h"
#include "core/base/util.h"
#include "core/build/fs.h"
#include "core/build/gather.h"
#include "core/build/rofs.h"

#define PAGE 4096 /* large files begin on one, so that the kernel can copy them */

struct place { guint64 offset, count; }; /* as the inode has them */

struct plan {
  GPtrArray *inodes;  /* number - 1 -> struct cs_inode *: breadth first, the root first */
  GArray *places;     /* of struct place, the same order */
  guint64 n_entries, n_links;
  guint64 names_size; /* bytes of all directory entries and symlinks */
  guint64 meta_block, meta_size;
};

static gboolean
fail_name (const char *what, const char *name, GError **err)
{
  g_autofree char *q = g_strndup (name, 64);
  return cs_fail (err, CAPSTAN_E_LIMIT, "%s '%s...' is longer than %d bytes", what, q,
                  ROFS_NAME_MAX);
}

/* Numbers the inodes and finds out how large the tables are. */
static gboolean
plan_tables (struct plan *p, struct cs_tree *t, GError **err)
{
  for (guint k = 0; k < t->inodes->len; k++)
    ((struct cs_inode *) g_ptr_array_index (t->inodes, k))->number = 0;
  t->root->number = 1;
  g_ptr_array_add (p->inodes, t->root);
  for (guint k = 0; k < p->inodes->len; k++) {
    struct cs_inode *i = g_ptr_array_index (p->inodes, k);
    struct place at = { 0, 1 };
    if (S_ISDIR (i->type)) {
      at = (struct place) { p->n_entries, i->children->len };
      p->n_entries += i->children->len;
      for (guint c = 0; c < i->children->len; c++) {
        struct cs_node *n = g_ptr_array_index (i->children, c);
        gsize len = strlen (n->name);
        if (len > ROFS_NAME_MAX)
          return fail_name ("the file name", n->name, err);
        p->names_size += 10 + len;
        if (n->inode->number == 0) {
          g_ptr_array_add (p->inodes, n->inode);
          n->inode->number = p->inodes->len;
        }
      }
    } else if (S_ISLNK (i->type)) {
      at.offset = p->n_links++;
      if (i->size > ROFS_NAME_MAX)
        return fail_name ("the target of a symbolic link", i->bytes, err);
      p->names_size += 2 + i->size;
    } else
      at.count = i->size;
    g_array_append_val (p->places, at);
  }
  p->meta_size = p->names_size + (guint64) p->inodes->len * ROFS_INODE;
  return TRUE;
}

/* Gives every file its first block. `image_offset` is where the file system begins. */
static void
plan_data (struct plan *p, guint64 image_offset)
{
  guint64 block = 1;
  for (guint k = 0; k < p->inodes->len; k++) {
    struct cs_inode *i = g_ptr_array_index (p->inodes, k);
    if (!S_ISREG (i->type))
      continue;
    if (i->size >= CS_GATHER_LARGE && image_offset % ROFS_BLOCK == 0)
      while ((image_offset + block * ROFS_BLOCK) % PAGE != 0)
        block++;
    g_array_index (p->places, struct place, k).offset = block;
    block += (i->size + ROFS_BLOCK - 1) / ROFS_BLOCK;
  }
  p->meta_block = block;
}

static gboolean
write_data (struct plan *p, struct cs_gather *g, guint64 image_offset, GError **err)
{
  for (guint k = 0; k < p->inodes->len; k++) {
    struct cs_inode *i = g_ptr_array_index (p->inodes, k);
    guint64 block = g_array_index (p->places, struct place, k).offset;
    if (S_ISREG (i->type) && i->size > 0 &&
        !cs_gather_file (g, i, image_offset + block * ROFS_BLOCK, ROFS_BLOCK, err))
      return FALSE;
  }
  return TRUE;
}

static gboolean
write_entries (struct plan *p, struct cs_gather *g, GError **err)
{
  for (guint k = 0; k < p->inodes->len; k++) {
    struct cs_inode *i = g_ptr_array_index (p->inodes, k);
    for (guint c = 0; S_ISDIR (i->type) && c < i->children->len; c++) {
      struct cs_node *n = g_ptr_array_index (i->children, c);
      gsize len = strlen (n->name);
      guint8 *to = cs_gather_room (g, 10 + len, err);
      if (!to)
        return FALSE;
      rofs_put64 (to, n->inode->number);
      rofs_put16 (to + 8, (guint16) len);
      memcpy (to + 10, n->name, len);
    }
  }
  for (guint k = 0; k < p->inodes->len; k++) {
    struct cs_inode *i = g_ptr_array_index (p->inodes, k);
    if (!S_ISLNK (i->type))
      continue;
    guint8 *to = cs_gather_room (g, 2 + i->size, err);
    if (!to)
      return FALSE;
    rofs_put16 (to, (guint16) i->size);
    memcpy (to + 2, i->bytes, i->size);
  }
  return TRUE;
}

static gboolean
write_meta (struct plan *p, struct cs_gather *g, guint64 image_offset, GError **err)
{
  if (!cs_gather_seek (g, image_offset + p->meta_block * ROFS_BLOCK, err) ||
      !write_entries (p, g, err))
    return FALSE;
  for (guint k = 0; k < p->inodes->len; k++) {
    struct cs_inode *i = g_ptr_array_index (p->inodes, k);
    struct place *at = &g_array_index (p->places, struct place, k);
    guint8 *to = cs_gather_room (g, ROFS_INODE, err);
    if (!to)
      return FALSE;
    rofs_put64 (to, S_ISDIR (i->type)   ? ROFS_DIR
                    : S_ISLNK (i->type) ? ROFS_LINK
                                        : ROFS_FILE);
    rofs_put64 (to + 8, k + 1);
    rofs_put64 (to + 16, at->offset);
    rofs_put64 (to + 24, at->count);
  }
  gsize tail = CS_ALIGN (p->meta_size, ROFS_BLOCK) - p->meta_size;
  guint8 *to = cs_gather_room (g, tail, err);
  if (!to)
    return FALSE;
  memset (to, 0, tail);
  return cs_gather_flush (g, err);
}

static gboolean
write_super (struct plan *p, struct cs_gather *g, guint64 image_offset, GError **err)
{
  guint8 block[ROFS_BLOCK] = { 0 };
  const guint64 v[8] = { ROFS_MAGIC, ROFS_VERSION, ROFS_BLOCK, p->meta_block,
                         (p->meta_size + ROFS_BLOCK - 1) / ROFS_BLOCK, p->n_entries,
                         p->n_links, p->inodes->len };
  for (int k = 0; k < 8; k++)
    rofs_put64 (block + 8 * k, v[k]);
  return cs_pwrite_all (g->fd, block, sizeof block, image_offset, g->name, err);
}

gboolean
cs_rofs_write (struct cs_tree *t, int out, guint64 offset, const char *name,
               const struct cs_fs_opts *o, struct cs_fs_result *ret, GError **err)
{
  g_autoptr (GPtrArray) inodes = g_ptr_array_new ();
  g_autoptr (GArray) places = g_array_new (FALSE, FALSE, sizeof (struct place));
  struct plan p = { .inodes = inodes, .places = places };
  struct cs_gather g;
  if (!plan_tables (&p, t, err))
    return FALSE;
  if (o && o->max_meta > 0 && p.meta_size >= o->max_meta)
    return cs_fail (err, CAPSTAN_E_LIMIT,
                    "%s: the names of %" G_GUINT64_FORMAT " files take %" G_GUINT64_FORMAT
                    " bytes; OSv up to v0.57 halts when it mounts more than %" G_GUINT64_FORMAT
                    ": put small files into an archive, or use --force for a newer OSv",
                    name, p.n_entries, p.meta_size, o->max_meta);
  plan_data (&p, offset);
  guint64 size = p.meta_block * ROFS_BLOCK + CS_ALIGN (p.meta_size, ROFS_BLOCK);
  if (ftruncate (out, (off_t) (offset + size)) < 0)
    return cs_fail_errno (err, "%s: make it %" G_GUINT64_FORMAT " bytes", name,
                          offset + size);
  cs_gather_init (&g, out, name, offset + ROFS_BLOCK);
  gboolean ok = write_data (&p, &g, offset, err) && write_meta (&p, &g, offset, err) &&
                write_super (&p, &g, offset, err);
  cs_gather_clear (&g);
  ret->size = size;
  ret->data_bytes = g.data_bytes;
  return ok;
}
