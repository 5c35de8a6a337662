/* Directories of ext4, written as whole blocks: ext2fs_link searches all of a directory
 * for each name. SPDX-License-Identifier: BSD-3-Clause
 *
 * Over one block, block 0 is the root of a hash tree (and block 1 .. n its second level,
 * when there are more leaves than the root has places), leaves follow in the order of their
 * hashes. Every block ends in a checksum. */
#include "config.h"
#include <string.h>
#include <sys/stat.h>
#include "core/base/error.h"
#include "core/base/util.h"
#include "core/build/ext4.h"

enum {
  BLOCK = CS_EXT4_BLOCK,
  ROOM = BLOCK - 12,               /* of a leaf: the tail has the checksum */
  ROOT_LIMIT = (BLOCK - 32 - 8) / 8, /* ".", "..", the header; the tail */
  NODE_LIMIT = (BLOCK - 8 - 8) / 8   /* an unused entry; the tail */
};

struct entry {
  guint32 hash, minor;
  guint32 ino;
  guint8 type;
  const char *name;
};
struct leaf { guint first, n; guint32 hash; };

static gsize
entry_len (const char *name)
{
  return CS_ALIGN (8 + strlen (name), 4);
}

static gsize
all_len (const struct cs_inode *dir)
{
  gsize sum = 24 + 20; /* "." and "..", lost+found */
  for (guint i = 0; dir->children != NULL && i < dir->children->len; i++)
    sum += entry_len (((struct cs_node *) g_ptr_array_index (dir->children, i))->name);
  return sum;
}

guint64
cs_ext4_dir_max (const struct cs_inode *dir)
{
  gsize sum = all_len (dir);
  if (sum <= ROOM)
    return 1;
  /* a leaf wastes less than the longest entry */
  guint64 leaves = sum / (ROOM - 264) + 1;
  return leaves + 2 + leaves / NODE_LIMIT;
}

static int
by_hash (const void *a, const void *b)
{
  const struct entry *x = a, *y = b;
  if (x->hash != y->hash)
    return x->hash < y->hash ? -1 : 1;
  if (x->minor != y->minor)
    return x->minor < y->minor ? -1 : 1;
  return strcmp (x->name, y->name);
}

static guint8
file_type (const struct cs_inode *i)
{
  return S_ISDIR (i->type) ? EXT2_FT_DIR : S_ISLNK (i->type) ? EXT2_FT_SYMLINK
                                                            : EXT2_FT_REG_FILE;
}

static GArray *
collect (const struct cs_inode *dir, guint32 lost_found)
{
  GArray *a = g_array_new (FALSE, FALSE, sizeof (struct entry));
  if (lost_found != 0) {
    struct entry e = { .ino = lost_found, .type = EXT2_FT_DIR, .name = "lost+found" };
    g_array_append_val (a, e);
  }
  for (guint i = 0; dir->children != NULL && i < dir->children->len; i++) {
    const struct cs_node *c = g_ptr_array_index (dir->children, i);
    struct entry e = { .ino = c->inode->number, .type = file_type (c->inode),
                       .name = c->name };
    g_array_append_val (a, e);
  }
  return a;
}

/* Adds an entry at *at; returns it, since the last of a block takes what is left. */
static struct ext2_dir_entry_2 *
add_entry (char *buf, gsize *at, guint32 ino, const char *name, guint8 type)
{
  struct ext2_dir_entry_2 *e = (void *) (buf + *at);
  gsize n = strlen (name);
  e->inode = GUINT32_TO_LE (ino);
  e->rec_len = (guint16) CS_ALIGN (8 + n, 4);
  e->name_len = (guint8) n;
  e->file_type = type;
  memcpy (e->name, name, n);
  *at += e->rec_len;
  return e;
}

/* A directory while it is written. */
struct out {
  struct cs_ext4 *w;
  ext2_ino_t ino;
  guint32 parent;
  struct cs_ext4_place place;
};

static gboolean
begin (struct out *o, const struct cs_inode *dir, struct ext2_inode *x, guint64 blocks,
       GError **err)
{
  return cs_ext4_inode (o->w, dir, x, blocks, blocks * BLOCK, "a directory", &o->place, err);
}

static gboolean
put_block (struct out *o, guint64 logical, char *buf, GError **err)
{
  struct cs_ext4 *w = o->w;
  guint64 start, n;
  if (!cs_ext4_where (w, o->ino, &o->place, logical, 1, &start, &n, err))
    return FALSE;
  errcode_t e = ext2fs_dir_block_csum_set (w->fs, o->ino, (struct ext2_dir_entry *) (void *) buf);
  if (e != 0)
    return cs_ext4_fail (err, e, "write a directory to", w->name);
  guint8 *to = cs_gather_seek (&w->g, w->offset + start * BLOCK, err)
                   ? cs_gather_room (&w->g, BLOCK, err) : NULL;
  return to && memcpy (to, buf, BLOCK);
}

/* Cuts the sorted entries into leaves. The lowest bit of a leaf's hash says that it goes
 * on with the hash that the leaf before ends with. */
static GArray *
cut (GArray *a)
{
  GArray *leaves = g_array_new (FALSE, FALSE, sizeof (struct leaf));
  gsize room = 0;
  guint32 last = 0;
  for (guint i = 0; i < a->len; i++) {
    const struct entry *e = &g_array_index (a, struct entry, i);
    gsize len = entry_len (e->name);
    if (leaves->len == 0 || len > room) {
      struct leaf l = { i, 0, e->hash };
      if (leaves->len > 0 && e->hash == last)
        l.hash |= 1;
      g_array_append_val (leaves, l);
      room = ROOM;
    }
    g_array_index (leaves, struct leaf, leaves->len - 1).n++;
    room -= len;
    last = e->hash;
  }
  return leaves;
}

/* The places of one index block: the first has limit and count in place of its hash. */
static void
fill_index (char *at, guint limit, const struct leaf *l, guint n, guint step,
            guint32 first_block)
{
  struct ext2_dx_entry *e = (void *) at;
  guint count = 0;
  for (guint i = 0; i < n; i += step, count++) {
    e[count].hash = GUINT32_TO_LE (l[i].hash);
    e[count].block = GUINT32_TO_LE (first_block + count);
  }
  struct ext2_dx_countlimit *c = (void *) at;
  c->limit = GUINT16_TO_LE (limit);
  c->count = GUINT16_TO_LE (count);
}

static gboolean
write_root (struct out *o, GArray *leaves, guint nodes, GError **err)
{
  char buf[BLOCK] = { 0 };
  gsize at = 0;
  const struct leaf *l = (const struct leaf *) (void *) leaves->data;
  add_entry (buf, &at, o->ino, ".", EXT2_FT_DIR);
  add_entry (buf, &at, o->parent, "..", EXT2_FT_DIR)->rec_len = BLOCK - 12;
  struct ext2_dx_root_info *info = (void *) (buf + 24);
  info->hash_version = o->w->fs->super->s_def_hash_version;
  info->info_length = 8;
  info->indirect_levels = nodes > 0;
  fill_index (buf + 32, ROOT_LIMIT, l, leaves->len, nodes > 0 ? NODE_LIMIT : 1, 1);
  return put_block (o, 0, buf, err);
}

static gboolean
write_nodes (struct out *o, GArray *leaves, guint nodes, GError **err)
{
  const struct leaf *l = (const struct leaf *) (void *) leaves->data;
  for (guint k = 0; k < nodes; k++) {
    char buf[BLOCK] = { 0 };
    guint first = k * NODE_LIMIT, n = MIN (leaves->len - first, (guint) NODE_LIMIT);
    ((struct ext2_dir_entry_2 *) (void *) buf)->rec_len = BLOCK;
    fill_index (buf + 8, NODE_LIMIT, l + first, n, 1, 1 + nodes + first);
    if (!put_block (o, 1 + k, buf, err))
      return FALSE;
  }
  return TRUE;
}

/* One block of entries; an only block begins with "." and "..". */
static gboolean
write_leaf (struct out *o, gboolean only, const struct entry *e, guint n, guint64 logical,
            GError **err)
{
  char buf[BLOCK] = { 0 };
  gsize at = 0;
  struct ext2_dir_entry_2 *last = NULL;
  if (only) {
    add_entry (buf, &at, o->ino, ".", EXT2_FT_DIR);
    last = add_entry (buf, &at, o->parent, "..", EXT2_FT_DIR);
  }
  for (guint i = 0; i < n; i++)
    last = add_entry (buf, &at, e[i].ino, e[i].name, e[i].type);
  if (last == NULL) /* an empty block: one unused entry */
    last = (void *) buf;
  last->rec_len = (guint16) (last->rec_len + ROOM - at);
  ext2fs_initialize_dirent_tail (o->w->fs, EXT2_DIRENT_TAIL (buf, BLOCK));
  return put_block (o, logical, buf, err);
}

static gboolean
write_tree (struct out *o, const struct cs_inode *dir, struct ext2_inode *x, GArray *a,
            GError **err)
{
  struct ext2_super_block *s = o->w->fs->super;
  int version = s->s_def_hash_version + (s->s_flags & EXT2_FLAGS_UNSIGNED_HASH ? 3 : 0);
  const struct entry *all = (const struct entry *) (void *) a->data;
  for (guint i = 0; i < a->len; i++) {
    struct entry *e = &g_array_index (a, struct entry, i);
    ext2fs_dirhash (version, e->name, (int) strlen (e->name), s->s_hash_seed, &e->hash,
                    &e->minor);
  }
  qsort (a->data, a->len, sizeof (struct entry), by_hash);
  g_autoptr (GArray) leaves = cut (a);
  guint nodes = leaves->len <= ROOT_LIMIT ? 0 : (leaves->len + NODE_LIMIT - 1) / NODE_LIMIT;
  if (nodes > ROOT_LIMIT)
    return cs_fail (err, CAPSTAN_E_LIMIT, "a directory has %u names, more than the ext4 of "
                    "an image can hold; spread them over several directories", a->len);
  guint64 blocks = 1 + nodes + leaves->len;
  x->i_flags |= EXT2_INDEX_FL;
  if (!begin (o, dir, x, blocks, err) || !write_root (o, leaves, nodes, err) ||
      !write_nodes (o, leaves, nodes, err))
    return FALSE;
  for (guint k = 0; k < leaves->len; k++) {
    const struct leaf *l = &g_array_index (leaves, struct leaf, k);
    if (!write_leaf (o, FALSE, all + l->first, l->n, 1 + nodes + k, err))
      return FALSE;
  }
  return TRUE;
}

gboolean
cs_ext4_write_dir (struct cs_ext4 *w, const struct cs_inode *dir, guint32 parent,
                   guint32 lost_found, GError **err)
{
  struct out o = { .w = w, .ino = dir->number, .parent = parent };
  struct ext2_inode x;
  g_autoptr (GArray) a = collect (dir, lost_found);
  guint sub = 2;
  for (guint i = 0; i < a->len; i++)
    sub += g_array_index (a, struct entry, i).type == EXT2_FT_DIR;
  cs_ext4_fill (w, &x, dir);
  x.i_links_count = (guint16) (sub >= 65000 ? 1 : sub); /* 1: more than it can count */
  /* e2fsck expects more than one block of lost+found, so that it need not allocate */
  if (dir->number == CS_EXT4_LOST_FOUND) {
    if (!begin (&o, dir, &x, 4, err))
      return FALSE;
    for (guint k = 0; k < 4; k++)
      if (!write_leaf (&o, k == 0, NULL, 0, k, err))
        return FALSE;
    return TRUE;
  }
  gsize len = all_len (dir) - (lost_found != 0 ? 0 : 20);
  if (len > ROOM)
    return write_tree (&o, dir, &x, a, err);
  return begin (&o, dir, &x, 1, err) &&
         write_leaf (&o, TRUE, (const struct entry *) (void *) a->data, a->len, 0, err);
}
