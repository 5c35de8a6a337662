/* index.yaml as it lies in a repository. SPDX-License-Identifier: BSD-3-Clause
 *
 * The store's keys, and one more that the original passes over:
 *
 *   files:
 *     qemu:                     of <name>/<last part>.qemu...
 *       file: "app.qemu.gz"     beside index.yaml
 *       encoding: "gzip"        absent: none
 *       format: "raw"
 *       sha256: "..."           of the image
 *       size: 1234              of the image file
 *       wire_sha256: "..."      of the file as it lies there
 *       wire_size: 123
 *       stored: 1000            bytes of the image that are not zero runs
 *   signature: "..."            kept for a detached Ed25519 signature; not read yet */
#ifndef CS_MANIFEST_H
#define CS_MANIFEST_H
#include "core/store/store.h"

struct cs_wire { /* strings NULL, numbers 0: not known */
  char *file, *encoding, *format, *sha256, *wire_sha256;
  guint64 size, wire_size, stored;
};
struct cs_manifest {
  struct cs_index *index; /* never NULL */
  GHashTable *files;      /* suffix -> struct cs_wire * */
};
/* text NULL: an empty one. Digests, numbers and file names are checked. */
struct cs_manifest *cs_manifest_parse (const char *text, gsize len, const char *name, GError **err);
void cs_manifest_free (struct cs_manifest *m);
typedef struct cs_manifest cs_manifest; /* for g_autoptr only */
G_DEFINE_AUTOPTR_CLEANUP_FUNC (cs_manifest, cs_manifest_free)
char *cs_manifest_text (const struct cs_manifest *m); /* g_free */

struct cs_wire *cs_wire_new (void);
struct cs_wire *cs_wire_copy (const struct cs_wire *w);
void cs_wire_free (struct cs_wire *w);
/* NULL if there is none. Borrowed. */
struct cs_wire *cs_manifest_wire (const struct cs_manifest *m, const char *suffix);
/* "gzip" of "x.qemu.gz", "zstd" of ".zst", else NULL. */
const char *cs_encoding_of_name (const char *file);
const char *cs_encoding_suffix (const char *encoding); /* ".gz", ".zst", "" */
#endif
