/* Bytes of the wire and bytes of the image, one into the other while they pass, in constant
 * memory. SPDX-License-Identifier: BSD-3-Clause */
#ifndef CS_STREAM_H
#define CS_STREAM_H
#include "core/base/digest.h"
#include <glib.h>

/* ---- from the wire ---- */
struct cs_unpack;
/* encoding: NULL, "gzip", "zstd". out: where the image goes, with holes for zeros, from byte
 * 0 of an empty file; -1: nowhere, only digests are wanted. size: what the image must come
 * to, 0 if unknown: then a limit on how much a byte may become holds. name: in messages. */
struct cs_unpack *cs_unpack_new (const char *encoding, int out, guint64 size, const char *name);
gboolean cs_unpack_feed (struct cs_unpack *u, const void *buf, gsize n, GError **err);
/* The stream must be whole. */
gboolean cs_unpack_end (struct cs_unpack *u, GError **err);
void cs_unpack_free (struct cs_unpack *u);
/* After the end. stored: bytes that were not runs of zeros. */
const char *cs_unpack_sha256 (const struct cs_unpack *u);
const char *cs_unpack_wire_sha256 (const struct cs_unpack *u);
guint64 cs_unpack_size (const struct cs_unpack *u);
guint64 cs_unpack_stored (const struct cs_unpack *u);

/* ---- to the wire ---- */
struct cs_packed { char sha256[CS_HEX_SHA256], wire_sha256[CS_HEX_SHA256]; guint64 size, wire_size, stored; };
/* Reads the image in; out is written from byte 0 on (encoding NULL: not at all). Counts as
 * progress by bytes of the image. Stops when cancelled. */
gboolean cs_pack (int in, const char *in_name, const char *encoding, int out, const char *out_name,
                  struct cs_packed *ret, GError **err);
#endif
