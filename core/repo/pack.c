/* To the wire: digests and compression. SPDX-License-Identifier: BSD-3-Clause */
#include "config.h"
#include "core/repo/stream.h"
#include "core/base/cancel.h"
#include "core/base/digest.h"
#include "core/base/error.h"
#include "core/base/progress.h"
#include "core/base/util.h"
#include <string.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

enum { IN = 512 * 1024, OUT = 256 * 1024, GZIP_LEVEL = 4, ZSTD_LEVEL = 3 };

struct pack {
  const char *name;
  int fd;
  guint64 written;
  struct cs_sha256 *md, *wire_md;
  z_stream z;
  ZSTD_CCtx *zs;
  guint8 *buf;
};

static gboolean
put (struct pack *p, gsize n, GError **err)
{
  cs_sha256_add (p->wire_md, p->buf, n);
  if (!cs_pwrite_all (p->fd, p->buf, n, p->written, p->name, err))
    return FALSE;
  p->written += n;
  return TRUE;
}

static gboolean
deflate_some (struct pack *p, const void *buf, gsize n, gboolean last, GError **err)
{
  p->z.next_in = (Bytef *) buf;
  p->z.avail_in = (uInt) n;
  do {
    p->z.next_out = p->buf;
    p->z.avail_out = OUT;
    deflate (&p->z, last ? Z_FINISH : Z_NO_FLUSH);
    if (!put (p, OUT - p->z.avail_out, err))
      return FALSE;
  } while (p->z.avail_out == 0);
  return TRUE;
}

static gboolean
zstd_some (struct pack *p, const void *buf, gsize n, gboolean last, GError **err)
{
  ZSTD_inBuffer in = { buf, n, 0 };
  size_t r;
  do {
    ZSTD_outBuffer out = { p->buf, OUT, 0 };
    r = ZSTD_compressStream2 (p->zs, &out, &in, last ? ZSTD_e_end : ZSTD_e_continue);
    if (ZSTD_isError (r))
      return cs_fail (err, CAPSTAN_E_INTERNAL, "zstd: %s", ZSTD_getErrorName (r));
    if (!put (p, out.pos, err))
      return FALSE;
  } while (last ? r != 0 : in.pos < in.size);
  return TRUE;
}

static gboolean
pack_all (struct pack *p, int in, const char *in_name, struct cs_packed *ret, GError **err)
{
  g_autofree guint8 *buf = g_malloc (IN);
  gssize n;
  do {
    n = pread (in, buf, IN, (off_t) ret->size);
    if (n < 0)
      return cs_fail_errno (err, "read %s", in_name);
    if (cs_cancelled ())
      return cs_fail (err, CAPSTAN_E_CANCELLED, "cancelled");
    cs_sha256_add (p->md, buf, (gsize) n);
    if (n > 0 && (buf[0] != 0 || memcmp (buf, buf + 1, (gsize) n - 1) != 0))
      ret->stored += (guint64) n;
    if ((p->zs != NULL && !zstd_some (p, buf, (gsize) n, n == 0, err)) ||
        (p->zs == NULL && p->buf != NULL && !deflate_some (p, buf, (gsize) n, n == 0, err)))
      return FALSE;
    ret->size += (guint64) n;
    cs_progress_add ((guint64) n);
  } while (n > 0);
  return TRUE;
}

gboolean
cs_pack (int in, const char *in_name, const char *encoding, int out, const char *out_name,
         struct cs_packed *ret, GError **err)
{
  struct pack p = { .name = out_name, .fd = out };
  gboolean gzip = g_strcmp0 (encoding, "gzip") == 0, zstd = g_strcmp0 (encoding, "zstd") == 0;
  memset (ret, 0, sizeof *ret);
  p.md = cs_sha256_new ();
  p.wire_md = cs_sha256_new ();
  if (gzip || zstd)
    p.buf = g_malloc (OUT);
  if (gzip)
    deflateInit2 (&p.z, GZIP_LEVEL, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY);
  if (zstd) {
    p.zs = ZSTD_createCCtx ();
    ZSTD_CCtx_setParameter (p.zs, ZSTD_c_compressionLevel, ZSTD_LEVEL);
    ZSTD_CCtx_setParameter (p.zs, ZSTD_c_checksumFlag, 1);
  }
  gboolean ok = pack_all (&p, in, in_name, ret, err);
  cs_sha256_end (p.md, ret->sha256);
  cs_sha256_end (p.wire_md, ret->wire_sha256);
  ret->wire_size = p.written;
  if (!gzip && !zstd) {
    memcpy (ret->wire_sha256, ret->sha256, sizeof ret->sha256);
    ret->wire_size = ret->size;
  }
  cs_sha256_free (p.md);
  cs_sha256_free (p.wire_md);
  if (gzip)
    deflateEnd (&p.z);
  ZSTD_freeCCtx (p.zs);
  g_free (p.buf);
  return ok;
}
