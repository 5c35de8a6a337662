/* What libext2fs reads and writes: one partition of a file, and nothing outside it.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * Its own unix_io_manager brings the file to the disk when it opens it, which takes longer
 * than a small image. This one keeps the last block, since inodes come one by one. */
#include "config.h"
#include "core/base/util.h"
#include "core/build/ext4.h"
#include <errno.h>
#include <string.h>

struct part {
  int fd;
  guint64 offset, length;
  gboolean dirty;
  unsigned long long nr; /* of the block in buf; ~0: none */
  char buf[CS_EXT4_BLOCK];
};

char *
cs_ext4_io_name (int fd, guint64 offset, guint64 length)
{
  return g_strdup_printf ("%d:%" G_GUINT64_FORMAT ":%" G_GUINT64_FORMAT, fd, offset, length);
}

static errcode_t
part_open (const char *name, int flags, io_channel *ret)
{
  struct part p = { .nr = ~0ULL };
  if (sscanf (name, "%d:%" G_GUINT64_FORMAT ":%" G_GUINT64_FORMAT, &p.fd, &p.offset,
              &p.length) != 3)
    return EXT2_ET_BAD_DEVICE_NAME;
  io_channel c = g_new0 (struct struct_io_channel, 1);
  c->magic = EXT2_ET_MAGIC_IO_CHANNEL;
  c->manager = &cs_ext4_io;
  c->name = g_strdup (name);
  c->block_size = 1024;
  c->refcount = 1;
  c->private_data = g_memdup2 (&p, sizeof p);
  *ret = c;
  return 0;
}

/* Bytes of the partition to or from the file. */
static errcode_t
move (struct part *p, guint64 at, gsize n, void *to, const void *from)
{
  g_autoptr (GError) e = NULL;
  if (at > p->length || n > p->length - at)
    return to ? EXT2_ET_SHORT_READ : EXT2_ET_SHORT_WRITE;
  errno = 0;
  gboolean ok = to ? cs_pread_all (p->fd, to, n, p->offset + at, "", &e)
                   : cs_pwrite_all (p->fd, from, n, p->offset + at, "", &e);
  return ok ? 0 : errno != 0 ? errno : EIO;
}

static errcode_t
part_flush (io_channel c)
{
  struct part *p = c->private_data;
  if (!p->dirty)
    return 0;
  p->dirty = FALSE;
  return move (p, p->nr * sizeof p->buf, sizeof p->buf, NULL, p->buf);
}

static errcode_t
part_close (io_channel c)
{
  if (--c->refcount > 0)
    return 0;
  errcode_t e = part_flush (c);
  g_free (c->private_data);
  g_free (c->name);
  g_free (c);
  return e;
}

static errcode_t
part_blksize (io_channel c, int size)
{
  errcode_t e = part_flush (c);
  ((struct part *) c->private_data)->nr = ~0ULL;
  c->block_size = size;
  return e;
}

/* A count below 0 is one of bytes. */
static gsize
bytes_of (io_channel c, int count)
{
  return count < 0 ? (gsize) - (gint64) count : (gsize) count * (gsize) c->block_size;
}

/* The one block that is kept becomes nr. */
static errcode_t
keep (io_channel c, unsigned long long nr)
{
  struct part *p = c->private_data;
  errcode_t e = part_flush (c);
  p->nr = nr;
  return e;
}

static errcode_t
part_read (io_channel c, unsigned long long nr, int count, void *data)
{
  struct part *p = c->private_data;
  gsize n = bytes_of (c, count);
  errcode_t e = 0;
  if (nr > p->length / (guint64) c->block_size)
    return EXT2_ET_SHORT_READ;
  if (n != sizeof p->buf || c->block_size != (int) sizeof p->buf) {
    e = part_flush (c);
    return e ? e : move (p, nr * (guint64) c->block_size, n, data, NULL);
  }
  if (p->nr != nr) {
    if ((e = keep (c, nr)) == 0)
      e = move (p, nr * n, n, p->buf, NULL);
    if (e != 0) {
      p->nr = ~0ULL;
      return e;
    }
  }
  memcpy (data, p->buf, n);
  return 0;
}

static errcode_t
part_write (io_channel c, unsigned long long nr, int count, const void *data)
{
  struct part *p = c->private_data;
  gsize n = bytes_of (c, count);
  errcode_t e;
  if (nr > p->length / (guint64) c->block_size)
    return EXT2_ET_SHORT_WRITE;
  if (n != sizeof p->buf || c->block_size != (int) sizeof p->buf) {
    e = keep (c, ~0ULL);
    return e ? e : move (p, nr * (guint64) c->block_size, n, NULL, data);
  }
  if (p->nr != nr && (e = keep (c, nr)) != 0)
    return e;
  memcpy (p->buf, data, n);
  p->dirty = TRUE;
  return 0;
}

static errcode_t
part_read32 (io_channel c, unsigned long nr, int count, void *data)
{
  return part_read (c, nr, count, data);
}

static errcode_t
part_write32 (io_channel c, unsigned long nr, int count, const void *data)
{
  return part_write (c, nr, count, data);
}

struct struct_io_manager cs_ext4_io = {
  .magic = EXT2_ET_MAGIC_IO_MANAGER,
  .name = "part of a file",
  .open = part_open,
  .close = part_close,
  .set_blksize = part_blksize,
  .read_blk = part_read32,
  .write_blk = part_write32,
  .flush = part_flush,
  .read_blk64 = part_read,
  .write_blk64 = part_write,
};
