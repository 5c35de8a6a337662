/* The listing of a bucket as S3 gives it: ListBucketResult, of ListObjects and ListObjectsV2,
 * and of static servers that keep such a file at their root. Also the other small documents
 * of S3 (errors, uploads), by the names of their elements.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * Read while it comes, in constant memory. It is not trusted: no network, no entity is
 * expanded, no DTD is loaded; keys are at most 1024 bytes, the depth 16. */
#ifndef CAPSTAN_COMMON_BUCKET_H
#define CAPSTAN_COMMON_BUCKET_H
#include "capstan/plugin.h"

enum { BUCKET_TEXT_MAX = 1024 }; /* S3's own limit of a key */

struct bucket_item { /* strings live as long as the callback; NULL: not there */
  const char *element;   /* "Contents", "CommonPrefixes", "Upload", "Part" */
  const char *key;       /* Key, or Prefix of CommonPrefixes */
  const char *etag;      /* with its quotes, as HTTP has it */
  const char *upload_id; /* Upload */
  uint64_t size;         /* UINT64_MAX: not said */
  uint64_t part;         /* PartNumber; 0: not said */
  int64_t modified;      /* LastModified or Initiated; INT64_MIN: not said */
  const char *sha256;    /* capstan's own element of a static listing, hex */
};
struct bucket_page {     /* what stands once in a document; "" where it is absent */
  int truncated;
  char token[BUCKET_TEXT_MAX + 1];     /* NextContinuationToken */
  char marker[BUCKET_TEXT_MAX + 1];    /* NextMarker, NextKeyMarker, NextPartNumberMarker */
  char id_marker[BUCKET_TEXT_MAX + 1]; /* NextUploadIdMarker */
  char upload_id[BUCKET_TEXT_MAX + 1]; /* UploadId outside of an item */
  char etag[BUCKET_TEXT_MAX + 1];      /* ETag outside of an item */
  char code[65], message[257];         /* of an Error */
  char root[65];                       /* name of the outermost element */
};

struct bucket; /* one document under way */
/* item answers 0 or a negative code, which ends it. NULL when there is no memory. */
struct bucket *bucket_new (struct capstan_call *,
                           int (*item) (void *user, const struct bucket_item *), void *user);
/* 0, the callback's code, or E_INVAL for what is no XML or beyond the limits; `where' (a URL
 * to show) stands in the message. */
int bucket_feed (struct bucket *, const char *where, const void *, size_t);
/* The end of the document. *ret is touched on success only. */
int bucket_end (struct bucket *, const char *where, struct bucket_page *ret);
void bucket_free (struct bucket *); /* NULL is nothing */
#endif
