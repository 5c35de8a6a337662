/* A file of a source becomes an object: in one request, or in parts side by side that a later
 * try goes on with. SPDX-License-Identifier: BSD-3-Clause */
#include "config.h"
#include "s3.h"
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

enum { PARTS_MAX = 10000, TRIES = 3, HASH_CHUNK = 256 * 1024 };

struct upload;
struct part { struct upload *u; uint64_t start, length; int done, tries; char etag[80]; };
struct upload {
  struct s3 *s;
  struct capstan_call *call;
  struct capstan_source *source;
  uint32_t index;
  const struct capstan_file *file;
  char id[BUCKET_TEXT_MAX + 1]; /* of the multipart upload */
  uint64_t part_size, size;
  struct part *parts;
  uint32_t n, next;
};

/* Digest of what is going to be sent: the server refuses anything else. */
static int
digest (struct upload *u, uint64_t start, uint64_t n, char hex[65])
{
  unsigned char md[EVP_MAX_MD_SIZE], *buf = malloc (HASH_CHUNK);
  unsigned int len = 0;
  EVP_MD_CTX *c = EVP_MD_CTX_new ();
  int rc = buf != NULL && c != NULL && EVP_DigestInit_ex (c, EVP_sha256 (), NULL) == 1
               ? 0 : capstan_error (u->call, CAPSTAN_E_NOMEM, 0, "no memory");
  while (rc == 0 && n > 0) {
    int64_t got = capstan_host_->source_pread (u->source, u->index, start, buf, n < HASH_CHUNK ? n : HASH_CHUNK);
    if (got <= 0)
      rc = got < 0 ? (int) got : capstan_error (u->call, CAPSTAN_E_IO, 0, "%s is shorter than it was", u->file->path);
    else {
      EVP_DigestUpdate (c, buf, (size_t) got);
      start += (uint64_t) got;
      n -= (uint64_t) got;
    }
  }
  if (rc == 0) {
    EVP_DigestFinal_ex (c, md, &len);
    for (unsigned int i = 0; i < len; i++)
      snprintf (hex + 2 * i, 3, "%02x", md[i]);
  }
  EVP_MD_CTX_free (c);
  free (buf);
  return rc;
}

static int64_t
read_part (void *user, uint64_t offset, void *buf, size_t n)
{
  struct part *p = user;
  return capstan_host_->source_pread (p->u->source, p->u->index, p->start + offset, buf, n);
}

/* ---- in one ---- */

static int
put_whole (struct upload *u, const struct s3_condition *c, char *ret_etag)
{
  char sha[65];
  struct part p = { .u = u, .length = u->size };
  struct http_rsp rsp = { 0 };
  int rc = digest (u, 0, u->size, sha);
  struct s3_req q = { .method = "PUT", .key = u->file->path, .sha256 = sha, .if_match = c->if_match,
    .if_none_match = c->if_none_match, .type = strcmp (u->file->role, "index") == 0 ? "text/yaml" : NULL,
    .http = { .flags = HTTP_COUNT, .read = read_part, .user = &p, .body_size = u->size, .has_body = 1 } };
  if (rc == 0 && c->gate != NULL)
    rc = c->gate (c->user);
  if (rc == 0)
    rc = s3_perform (u->s, u->call, &q, &rsp);
  const char *etag = http_header (&rsp, "ETag");
  if (rc == 0)
    snprintf (ret_etag, BUCKET_TEXT_MAX + 1, "%s", etag != NULL ? etag : "");
  http_rsp_clear (&rsp);
  return rc;
}

/* ---- in parts ---- */

static int part_done (void *user, const struct http_rsp *r, int rc);

static int
add_part (struct part *p)
{
  char sha[65];
  struct upload *u = p->u;
  struct buf query = { 0 };
  int rc = digest (u, p->start, p->length, sha);
  buf_printf (&query, "partNumber=%u&uploadId=", (unsigned) (p - u->parts) + 1);
  http_url_escape (&query, u->id, 0);
  struct s3_req q = { .method = "PUT", .key = u->file->path, .query = buf_str (&query), .sha256 = sha,
    .http = { .flags = HTTP_COUNT, .read = read_part, .on_done = part_done, .user = p,
              .body_size = p->length, .has_body = 1 } };
  if (rc == 0 && q.query == NULL)
    rc = capstan_error (u->call, CAPSTAN_E_NOMEM, 0, "no memory");
  if (rc == 0)
    rc = s3_add (u->s, u->call, &q);
  buf_free (&query);
  return rc;
}

/* The next part that is not there yet; none: 0. */
static int
add_next (struct upload *u)
{
  while (u->next < u->n && u->parts[u->next].done)
    u->next++;
  return u->next < u->n ? add_part (&u->parts[u->next++]) : 0;
}

static int
part_done (void *user, const struct http_rsp *r, int rc)
{
  struct part *p = user;
  struct upload *u = p->u;
  const char *etag = rc == 0 ? http_header (r, "ETag") : NULL;
  if (rc == 0 && (r->status < 200 || r->status > 299))
    rc = s3_error (u->s, u->call, "PUT", r);
  if ((rc == -CAPSTAN_E_NET || rc == -CAPSTAN_E_TIMEOUT) && ++p->tries < TRIES)
    return add_part (p);
  if (rc == 0 && (etag == NULL || strlen (etag) >= sizeof p->etag))
    rc = capstan_error (u->call, CAPSTAN_E_NET, 0, "%s: the server gave no ETag for a part", u->file->path);
  if (rc != 0)
    return rc;
  strcpy (p->etag, etag);
  p->done = 1;
  return add_next (u);
}

/* What an earlier try has sent: kept by the core under the place it was for. */
static int
seen_part (void *user, const struct bucket_item *i)
{
  struct upload *u = user;
  if (strcmp (i->element, "Part") != 0 || i->part == 0 || i->part > u->n || i->etag == NULL ||
      strlen (i->etag) >= sizeof u->parts->etag || i->size != u->parts[i->part - 1].length)
    return 0;
  strcpy (u->parts[i->part - 1].etag, i->etag);
  u->parts[i->part - 1].done = 1;
  return 0;
}

static void
state_key (const struct upload *u, char *out, size_t n)
{
  snprintf (out, n, "upload-%u", u->index);
}

/* 1: an upload goes on. 0: there is none. */
static int
take_up (struct upload *u)
{
  char key[32];
  struct bucket_page page = { 0 };
  unsigned long long part_size;
  int at = 0;
  state_key (u, key, sizeof key);
  const char *kept = capstan_host_->state_get (u->source, key);
  if (kept == NULL || sscanf (kept, "%llu %n", &part_size, &at) != 1 || at == 0 ||
      part_size != u->part_size || strlen (kept + at) > BUCKET_TEXT_MAX)
    return 0;
  strcpy (u->id, kept + at);
  uint64_t marker = 0;
  do {
    struct buf b = { 0 };
    if (marker > 0)
      buf_printf (&b, "part-number-marker=%llu&", (unsigned long long) marker);
    buf_text (&b, "uploadId=");
    http_url_escape (&b, u->id, 0);
    struct s3_req q = { .key = u->file->path, .query = buf_str (&b) };
    uint64_t before = marker;
    int rc = q.query != NULL ? s3_xml (u->s, u->call, &q, seen_part, u, &page) : -1;
    buf_free (&b);
    if (rc != 0) { /* it is gone: a new one then */
      for (uint32_t i = 0; i < u->n; i++)
        u->parts[i].done = 0;
      capstan_host_->state_put (u->source, key, NULL);
      return 0;
    }
    marker = strtoull (page.marker, NULL, 10);
    if (page.truncated && marker <= before)
      break;
  } while (page.truncated);
  return 1;
}

static int
start_upload (struct upload *u)
{
  char key[32];
  struct buf state = { 0 };
  struct bucket_page page;
  struct s3_req q = { .method = "POST", .key = u->file->path, .query = "uploads=",
                      .http = { .has_body = 1, .data = "" } };
  int rc = s3_xml (u->s, u->call, &q, NULL, NULL, &page);
  if (rc == 0 && page.upload_id[0] == '\0')
    rc = capstan_error (u->call, CAPSTAN_E_NET, 0, "%s: the server gave no upload id", u->file->path);
  if (rc != 0)
    return rc;
  strcpy (u->id, page.upload_id);
  state_key (u, key, sizeof key);
  buf_printf (&state, "%llu %s", (unsigned long long) u->part_size, u->id);
  rc = capstan_host_->state_put (u->source, key, buf_str (&state));
  buf_free (&state);
  return rc;
}

static int
complete (struct upload *u, const struct s3_condition *c, char *ret_etag)
{
  char sha[65];
  struct buf xml = { 0 }, query = { 0 };
  struct bucket_page page;
  buf_text (&xml, "<CompleteMultipartUpload xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">");
  for (uint32_t i = 0; i < u->n; i++)
    buf_printf (&xml, "<Part><PartNumber>%u</PartNumber><ETag>%s</ETag></Part>", i + 1, u->parts[i].etag);
  buf_text (&xml, "</CompleteMultipartUpload>");
  buf_text (&query, "uploadId=");
  http_url_escape (&query, u->id, 0);
  int rc = buf_str (&xml) != NULL && buf_str (&query) != NULL
               ? 0 : capstan_error (u->call, CAPSTAN_E_NOMEM, 0, "no memory");
  if (rc == 0 && c->gate != NULL)
    rc = c->gate (c->user);
  if (rc == 0) {
    s3_sha256 (xml.s, xml.len, sha);
    struct s3_req q = { .method = "POST", .key = u->file->path, .query = buf_str (&query), .sha256 = sha,
      .type = "application/xml", .if_match = c->if_match, .if_none_match = c->if_none_match,
      .http = { .data = xml.s, .body_size = xml.len, .has_body = 1 } };
    rc = s3_xml (u->s, u->call, &q, NULL, NULL, &page);
  }
  if (rc == 0)
    strcpy (ret_etag, page.etag);
  buf_free (&xml);
  buf_free (&query);
  return rc;
}

/* Whatever comes of it: what went wrong before is what is reported. */
static int
gone (void *user, const struct http_rsp *r, int rc)
{
  return 0;
}

static void
give_up (struct upload *u)
{
  char key[32];
  struct buf query = { 0 };
  buf_text (&query, "uploadId=");
  http_url_escape (&query, u->id, 0);
  struct s3_req q = { .method = "DELETE", .key = u->file->path, .query = buf_str (&query),
                      .http = { .on_done = gone } };
  if (q.query != NULL && s3_add (u->s, u->call, &q) == 0)
    http_run (u->s->http, u->call);
  state_key (u, key, sizeof key);
  capstan_host_->state_put (u->source, key, NULL);
  buf_free (&query);
}

/* Worth going on with: at the next try, or without a condition that the server does not know. */
static int
passes (int rc)
{
  return rc == -CAPSTAN_E_NET || rc == -CAPSTAN_E_TIMEOUT || rc == -CAPSTAN_E_BUSY ||
         rc == -CAPSTAN_E_CANCELLED || rc == -CAPSTAN_E_AUTH || rc == -CAPSTAN_E_UNSUPPORTED;
}

static int
put_parts (struct upload *u, const struct s3_condition *c, char *ret_etag)
{
  uint64_t there = 0;
  int rc = take_up (u) ? 0 : start_upload (u);
  for (uint32_t i = 0; i < u->n; i++)
    there += u->parts[i].done ? u->parts[i].length : 0;
  http_progress (u->s->http, "upload", there, u->size);
  for (uint32_t k = 0; rc == 0 && k < u->s->parallel; k++)
    rc = add_next (u);
  if (rc == 0)
    rc = http_run (u->s->http, u->call);
  if (rc == 0)
    rc = complete (u, c, ret_etag);
  if (rc != 0 && u->id[0] != '\0' && !passes (rc))
    give_up (u);
  return rc;
}

int
s3_upload (struct s3 *s, struct capstan_call *call, struct capstan_source *source, uint32_t i,
           const struct s3_condition *c, char ret_etag[BUCKET_TEXT_MAX + 1])
{
  struct upload u = { .s = s, .call = call, .source = source, .index = i,
                      .file = capstan_host_->source_file (source, i), .part_size = s->part_size };
  if (u.file == NULL || u.file->wire_size == UINT64_MAX)
    return capstan_error (call, CAPSTAN_E_INTERNAL, 0, "push: the size of a file is not known");
  u.size = u.file->wire_size;
  http_progress (s->http, "upload", 0, u.size);
  int rc;
  if (u.size <= s->part_size)
    rc = put_whole (&u, c, ret_etag);
  else {
    while (u.size / u.part_size >= PARTS_MAX)
      u.part_size *= 2;
    u.n = (uint32_t) ((u.size + u.part_size - 1) / u.part_size);
    u.parts = calloc (u.n, sizeof *u.parts);
    for (uint32_t k = 0; u.parts != NULL && k < u.n; k++) {
      struct part *p = &u.parts[k];
      p->u = &u;
      p->start = k * u.part_size;
      p->length = u.size - p->start < u.part_size ? u.size - p->start : u.part_size;
    }
    rc = u.parts != NULL ? put_parts (&u, c, ret_etag)
                         : capstan_error (call, CAPSTAN_E_NOMEM, 0, "no memory");
    free (u.parts);
  }
  http_progress (s->http, NULL, 0, 0);
  return rc;
}
