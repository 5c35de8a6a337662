/* Bytes of a foreign file into the store. SPDX-License-Identifier: BSD-3-Clause */
#include "config.h"
#include "core/base/cancel.h"
#include "core/base/digest.h"
#include "core/base/error.h"
#include "core/base/progress.h"
#include "core/base/sparse.h"
#include "core/base/util.h"
#include "core/store/store.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

enum { CHUNK = 1 << 20 };

struct copy {
  int in, out; /* out -1: it has the bytes already */
  const char *in_name, *out_name;
  guint8 *buf; /* of CHUNK bytes */
  guint64 stored;
  struct cs_sha256 *sum;
};

static gboolean
copy_data (struct copy *c, guint64 off, guint64 end, GError **err)
{
  while (off < end) {
    gsize n = (gsize) MIN (end - off, CHUNK);
    if (cs_cancelled ())
      return cs_fail (err, CAPSTAN_E_CANCELLED, "cancelled; nothing has changed");
    if (!cs_pread_all (c->in, c->buf, n, off, c->in_name, err) ||
        (c->out >= 0 && !cs_write_sparse (c->out, c->buf, n, off, c->out_name, &c->stored, err)))
      return FALSE;
    cs_sha256_add (c->sum, c->buf, n);
    cs_progress_add (n);
    off += n;
  }
  return TRUE;
}

static gboolean
digest_hole (struct copy *c, guint64 n, GError **err)
{
  if (n > 0)
    memset (c->buf, 0, CHUNK);
  for (guint64 k; n > 0; n -= k) {
    k = MIN (n, CHUNK);
    if (cs_cancelled ())
      return cs_fail (err, CAPSTAN_E_CANCELLED, "cancelled; nothing has changed");
    cs_sha256_add (c->sum, c->buf, (gsize) k);
    cs_progress_add (k);
  }
  return TRUE;
}

static gboolean
copy_all (struct copy *c, guint64 size, GError **err)
{
  for (guint64 off = 0; off < size;) {
    off_t data = lseek (c->in, (off_t) off, SEEK_DATA);
    if (data < 0 && errno != ENXIO) /* holes are not told here */
      return copy_data (c, off, size, err);
    guint64 from = data < 0 ? size : MIN ((guint64) data, size);
    off_t hole = from < size ? lseek (c->in, (off_t) from, SEEK_HOLE) : -1;
    guint64 to = hole <= data ? size : MIN ((guint64) hole, size);
    if (!digest_hole (c, from - off, err) || !copy_data (c, from, to, err))
      return FALSE;
    off = to;
  }
  return TRUE;
}

char *
cs_store_copy_in (struct cs_store_txn *t, int in, const char *name, GError **err)
{
  struct stat was, is;
  char hex[CS_HEX_SHA256];
  struct copy c = { .in = in, .out = t->fd, .in_name = name, .out_name = t->path };
  if (fstat (in, &was) != 0)
    return cs_fail_errno_null (err, "stat %s", name);
  /* The clone is read, not the source: its digest is that of what is stored. */
  if (ioctl (t->fd, FICLONE, in) == 0) {
    c.in = t->fd;
    c.out = -1;
  } else if (ftruncate (t->fd, was.st_size) != 0)
    return cs_fail_errno_null (err, "write %s", t->path);
  c.buf = g_malloc (CHUNK);
  c.sum = cs_sha256_new ();
  cs_progress_begin (name, (guint64) was.st_size, 0);
  gboolean ok = copy_all (&c, (guint64) was.st_size, err);
  cs_progress_end ();
  g_free (c.buf);
  cs_sha256_end (c.sum, hex);
  cs_sha256_free (c.sum);
  if (ok && fstat (in, &is) != 0)
    ok = cs_fail_errno (err, "stat %s", name);
  else if (ok && (is.st_size != was.st_size || is.st_mtim.tv_sec != was.st_mtim.tv_sec ||
                  is.st_mtim.tv_nsec != was.st_mtim.tv_nsec))
    ok = cs_fail (err, CAPSTAN_E_IO, "%s changed while it was read; import it again", name);
  return ok ? g_strdup (hex) : NULL;
}
