/* One file over HTTP into a sink. SPDX-License-Identifier: BSD-3-Clause */
#ifndef CAPSTAN_COMMON_FETCH_H
#define CAPSTAN_COMMON_FETCH_H
#include "plugins/common/http.h"

struct wanted { /* one file to be fetched */
  const char *path, *url, *encoding;
  const char *wire_sha256;               /* or NULL */
  uint64_t size;                         /* if known before, else UINT64_MAX */
  const struct http_auth *auth;          /* for the origin of url */
  const struct capstan_kv *headers; size_t n_headers; /* at most 6 */
  int whole;                             /* small: asked for in one piece */
  uint32_t connections;                  /* at most so many for a large file; 1 to 16 */
};
/* From part->offset on, if the file is still part->etag; sink_begin to sink_end. */
int fetch_file (struct http *, struct capstan_call *, const struct wanted *,
                const struct capstan_part *, struct capstan_sink *);
/* What a response says of the file: ETag, else Last-Modified, as one guards a range with. */
void found_tag (const struct http_rsp *, char *out, size_t n);
/* The encoding that the end of a path says: ".gz" gzip, ".zst" zstd, else NULL. */
const char *wire_encoding (const char *path);
#endif
