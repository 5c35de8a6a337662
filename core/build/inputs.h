/* The fingerprint of what an image is made of. SPDX-License-Identifier: BSD-3-Clause */
#ifndef CS_INPUTS_H
#define CS_INPUTS_H
#include "core/build/tree.h"
#include "core/store/store.h"

struct cs_inputs {
  GChecksum *sum;
  gint64 newest; /* of all changes of files, in nanoseconds */
};
void cs_inputs_init (struct cs_inputs *n);
void cs_inputs_text (struct cs_inputs *n, const char *s); /* NULL is not "" */
void cs_inputs_number (struct cs_inputs *n, guint64 v);
/* Of the file itself, as stat has it; one that is not there counts as that. */
void cs_inputs_file (struct cs_inputs *n, const char *path);
/* An image of the store, which is never changed in place. */
void cs_inputs_image (struct cs_inputs *n, int fd);
/* All files as they were scanned, without reading any. */
void cs_inputs_tree (struct cs_inputs *n, struct cs_tree *t);
/* The digest in hex, or NULL if a file changed so shortly before `seen` (nanoseconds) that
 * it could change again without a new time; g_free. Ends n. */
char *cs_inputs_end (struct cs_inputs *n, gint64 seen);
/* A key that the index of the store does not know by itself; g_free. */
char *cs_inputs_of_index (const struct cs_index *x, const char *key);
#endif
