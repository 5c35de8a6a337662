/* From the wire: digests, decoding, holes. SPDX-License-Identifier: BSD-3-Clause */
#include "config.h"
#include "core/repo/stream.h"
#include "core/base/digest.h"
#include "core/base/error.h"
#include "core/base/sparse.h"
#include <string.h>
#include <zlib.h>
#include <zstd.h>

enum {
  OUT = 256 * 1024,
  WINDOW_LOG = 24,       /* of zstd: 16 MiB of memory */
  MAX_RATIO = 256        /* of what is not zeros, where nobody said the size */
};
#define FREE_OF_RATIO (G_GUINT64_CONSTANT (64) << 20)
#define MAX_SIZE (G_GUINT64_CONSTANT (1) << 40) /* where nobody said the size */

struct cs_unpack {
  char *name;
  enum { PLAIN, GZIP, ZSTD } how;
  int out;
  guint64 limit, wire, size, stored;
  struct cs_sha256 *wire_md, *md; /* md NULL: PLAIN, one is enough */
  z_stream z;
  ZSTD_DStream *zs;
  gboolean in_stream, after_end; /* in the middle of a member; one has ended */
  guint8 *buf;
  char wire_hex[CS_HEX_SHA256], hex[CS_HEX_SHA256];
};

struct cs_unpack *
cs_unpack_new (const char *encoding, int out, guint64 size, const char *name)
{
  struct cs_unpack *u = g_new0 (struct cs_unpack, 1);
  u->name = g_strdup (name);
  u->how = g_strcmp0 (encoding, "gzip") == 0 ? GZIP : g_strcmp0 (encoding, "zstd") == 0 ? ZSTD : PLAIN;
  u->out = out;
  u->limit = size;
  u->wire_md = cs_sha256_new ();
  if (u->how != PLAIN) {
    u->md = cs_sha256_new ();
    u->buf = g_malloc (OUT);
  }
  if (u->how == GZIP && inflateInit2 (&u->z, 15 + 16) != Z_OK)
    g_error ("zlib: out of memory");
  if (u->how == ZSTD) {
    u->zs = ZSTD_createDStream ();
    if (u->zs == NULL)
      g_error ("zstd: out of memory");
    ZSTD_DCtx_setParameter (u->zs, ZSTD_d_windowLogMax, WINDOW_LOG);
  }
  return u;
}

void
cs_unpack_free (struct cs_unpack *u)
{
  if (u == NULL)
    return;
  cs_sha256_free (u->wire_md);
  cs_sha256_free (u->md);
  if (u->how == GZIP)
    inflateEnd (&u->z);
  ZSTD_freeDStream (u->zs);
  g_free (u->buf);
  g_free (u->name);
  g_free (u);
}

/* n bytes of the image. */
static gboolean
emit (struct cs_unpack *u, const guint8 *p, gsize n, GError **err)
{
  guint64 before = u->stored;
  if (n == 0)
    return TRUE;
  if (u->limit != 0 && n > u->limit - u->size)
    return cs_fail (err, CAPSTAN_E_LIMIT, "%s: it becomes more than the %" G_GUINT64_FORMAT
                    " bytes that index.yaml says", u->name, u->limit);
  if (u->limit == 0 && n > MAX_SIZE - u->size)
    return cs_fail (err, CAPSTAN_E_LIMIT, "%s: it becomes more than 1 TiB", u->name);
  if (u->md != NULL)
    cs_sha256_add (u->md, p, n);
  if (u->out >= 0 && !cs_write_sparse (u->out, p, n, u->size, u->name, &u->stored, err))
    return FALSE;
  if (u->out < 0)
    u->stored += cs_is_zero (p, n) ? 0 : n;
  u->size += n;
  if (u->limit == 0 && u->how != PLAIN && u->stored != before && u->stored > FREE_OF_RATIO &&
      u->stored / MAX_RATIO > u->wire)
    return cs_fail (err, CAPSTAN_E_LIMIT,
                    "%s: it becomes more than %d times as large as it came, which no image does",
                    u->name, MAX_RATIO);
  return TRUE;
}

static gboolean
damaged (struct cs_unpack *u, const char *what, const char *why, GError **err)
{
  return cs_fail (err, CAPSTAN_E_CHECKSUM, "%s: it is no whole %s file (%s)", u->name, what,
                  why != NULL ? why : "damaged");
}

static gboolean
feed_gzip (struct cs_unpack *u, const void *buf, gsize n, GError **err)
{
  u->z.next_in = (Bytef *) buf;
  u->z.avail_in = (uInt) n;
  do { /* what is left in it comes out though nothing goes in */
    if (!u->in_stream && u->after_end && u->z.avail_in > 0)
      inflateReset (&u->z); /* members may follow each other, as gunzip has it */
    if (!u->in_stream && u->z.avail_in == 0)
      return TRUE;
    u->in_stream = TRUE;
    u->z.next_out = u->buf;
    u->z.avail_out = OUT;
    int r = inflate (&u->z, Z_NO_FLUSH);
    if (r != Z_OK && r != Z_STREAM_END && r != Z_BUF_ERROR)
      return damaged (u, "gzip", u->z.msg, err);
    if (!emit (u, u->buf, OUT - u->z.avail_out, err))
      return FALSE;
    if (r == Z_STREAM_END) {
      u->in_stream = FALSE;
      u->after_end = TRUE;
    }
  } while (u->z.avail_in > 0 || u->z.avail_out == 0);
  return TRUE;
}

static gboolean
feed_zstd (struct cs_unpack *u, const void *buf, gsize n, GError **err)
{
  ZSTD_inBuffer in = { buf, n, 0 };
  ZSTD_outBuffer out = { u->buf, OUT, 0 };
  do {
    out.pos = 0;
    size_t r = ZSTD_decompressStream (u->zs, &out, &in);
    if (ZSTD_isError (r))
      return damaged (u, "zstd", ZSTD_getErrorName (r), err);
    if (!emit (u, u->buf, out.pos, err))
      return FALSE;
    u->in_stream = r != 0;
    u->after_end |= r == 0;
    if (r == 0 && in.pos == in.size) /* else it would ask for another frame */
      break;
  } while (in.pos < in.size || out.pos == OUT);
  return TRUE;
}

gboolean
cs_unpack_feed (struct cs_unpack *u, const void *buf, gsize n, GError **err)
{
  if (n == 0)
    return TRUE;
  cs_sha256_add (u->wire_md, buf, n);
  u->wire += n;
  return u->how == GZIP   ? feed_gzip (u, buf, n, err)
         : u->how == ZSTD ? feed_zstd (u, buf, n, err)
                          : emit (u, buf, n, err);
}

gboolean
cs_unpack_end (struct cs_unpack *u, GError **err)
{
  if (u->how != PLAIN && (u->in_stream || !u->after_end))
    return damaged (u, u->how == GZIP ? "gzip" : "zstd", "it ends in the middle", err);
  if (u->limit != 0 && u->size != u->limit)
    return cs_fail (err, CAPSTAN_E_CHECKSUM,
                    "%s: it is %" G_GUINT64_FORMAT " bytes, and index.yaml says %" G_GUINT64_FORMAT,
                    u->name, u->size, u->limit);
  if (u->out >= 0 && ftruncate (u->out, (off_t) u->size) != 0) /* zeros at the end */
    return cs_fail_errno (err, "write %s", u->name);
  cs_sha256_end (u->wire_md, u->wire_hex);
  if (u->md != NULL)
    cs_sha256_end (u->md, u->hex);
  else
    memcpy (u->hex, u->wire_hex, sizeof u->hex);
  return TRUE;
}

const char *
cs_unpack_sha256 (const struct cs_unpack *u)
{
  return u->hex;
}

const char *
cs_unpack_wire_sha256 (const struct cs_unpack *u)
{
  return u->wire_hex;
}

guint64
cs_unpack_size (const struct cs_unpack *u)
{
  return u->size;
}

guint64
cs_unpack_stored (const struct cs_unpack *u)
{
  return u->stored;
}
