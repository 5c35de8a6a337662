/* What a fetch writes into. SPDX-License-Identifier: BSD-3-Clause
 *
 * A download is a folder cache/pull/<key>: "wire" the bytes as they come, "resume" how many
 * of them are there without a gap and of which etag, "image" what is decoded meanwhile. One
 * thread follows the bytes from the first on, with both digests and the decoder, whatever
 * order they are written in; so a resumed download is read again from its beginning. */
#ifndef CS_DOWNLOAD_H
#define CS_DOWNLOAD_H
#include "core/plugin/loader.h"
#include "core/repo/manifest.h"

struct cs_download;
/* Of the file path of the repository url. name: in messages and progress. want: what
 * index.yaml says (strings NULL, numbers 0: it does not). Waits, and says so, while another
 * process has it; *ret_waited then. */
struct cs_download *cs_download_open (const char *url, const char *path, const char *name,
                                      const struct cs_wire *want, gboolean *ret_waited, GError **err);
struct capstan_sink *cs_download_sink (struct cs_download *d);
/* How to go on from what is there; its strings live until the next begin of the sink. */
void cs_download_part (struct cs_download *d, struct capstan_part *part);
/* After a fetch, whatever it answered: the thread ends. The sink's own error, that the
 * plugin has passed on, or NULL; borrowed. */
const GError *cs_download_stop (struct cs_download *d);
guint64 cs_download_got (const struct cs_download *d); /* bytes without a gap */
gboolean cs_download_resumed (const struct cs_download *d); /* some were there before */
/* All is there and the digests hold: the image, and what is now known of it. */
const char *cs_download_image (const struct cs_download *d);
const struct cs_wire *cs_download_result (const struct cs_download *d);
const char *cs_download_etag (const struct cs_download *d); /* or NULL */
/* Throws away what is there; the folder goes when it is freed. */
void cs_download_discard (struct cs_download *d);
/* Removes what an earlier download of that file left, unless another process is at it. */
void cs_download_forget (const char *url, const char *path);
void cs_download_free (struct cs_download *d); /* what can be resumed stays */

/* Small files into memory. */
struct cs_memory;
struct cs_memory *cs_memory_new (gsize max);
struct capstan_sink *cs_memory_sink (struct cs_memory *m);
/* Files that came whole, in order; NUL-terminated. NULL: no more. */
const char *cs_memory_file (const struct cs_memory *m, guint i, gsize *ret_len);
void cs_memory_free (struct cs_memory *m);
#endif
