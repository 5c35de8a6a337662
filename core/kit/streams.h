/* A sink and a source in memory that fail when they are told to.
 * SPDX-License-Identifier: BSD-3-Clause */
#ifndef CS_KIT_STREAMS_H
#define CS_KIT_STREAMS_H
#include "core/base/digest.h"
#include "core/plugin/loader.h"

/* What their errors say. */
#define KIT_FULL "the sink of the contract suite is full"
#define KIT_UNREADABLE "the source of the contract suite cannot be read"

struct kit_sink {
  struct capstan_sink base;
  GMutex mutex;
  const struct capstan_part *part; /* what is fetched into it */
  GByteArray *got;
  guint begun, ended;
  gboolean resumed; /* it was begun at part->offset */
  guint64 at;
  gboolean fail_begin, fail_write, cancel; /* cancel: once the first bytes came */
};
struct kit_sink *kit_sink_new (void);
void kit_sink_free (struct kit_sink *s);

/* An image of 1 MiB that does not compress, and an index. */
struct kit_source {
  struct capstan_source base;
  struct capstan_file files[2];
  const struct capstan_file *list[3];
  GByteArray *bytes[2];
  char sha256[2][CS_HEX_SHA256];
  char *paths[2];
  GMutex mutex;
  GHashTable *state;
  gboolean fail, cancel; /* once the middle of the image is read */
};
struct kit_source *kit_source_new (const char *name, const char *suffix);
void kit_source_change (struct kit_source *s); /* another image, of another length */
void kit_source_free (struct kit_source *s);
#endif
