/* One file into a sink: from where it was left, guarded by its ETag, and in pieces at once
 * where the server is slow enough for that to help. SPDX-License-Identifier: BSD-3-Clause
 *
 * The first request asks for one piece. Its answer says how large the file is, what its ETag
 * is, and whether there are ranges at all. What is left is then one request where the first
 * was fast (one connection fills the line, or the disk), else pieces in ascending order over
 * several connections. Each is guarded by If-Range: a file that changes in between is never
 * mixed. A server without ranges or ETags answers the whole file, once, in order. */
#include "config.h"
#include "plugins/common/fetch.h"
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

enum { PIECE = 8 << 20, LANES = 16, TRIES = 3, FAST = 64 << 10 /* bytes a millisecond */ };
/* libcurl gives 16 KiB at most: they are written together, but do not wait for long. */
enum { HELD = 256 << 10, HELD_MS = 250 };

struct transfer {
  struct http *http;
  struct capstan_call *call;
  const struct wanted *w;
  struct capstan_sink *sink;
  char tag[200];     /* what guards the ranges; "" if nothing does */
  uint64_t from;     /* where this starts */
  uint64_t skip;     /* up to here the sink has it */
  uint64_t total;    /* UINT64_MAX: not known */
  uint64_t next;     /* the first byte that nobody was asked for */
  uint64_t got;      /* bytes that came, of this start */
  uint64_t began_ms;
  int begun, again;  /* sink_begin was called; start over from 0, in one piece */
  int spread;        /* the first piece has come */
  int html, changed; /* said to be a web page; it is another file now */
  struct lane {
    struct transfer *t;
    uint64_t at, end;
    int tries, busy;
    char *held; /* what came, and is not in the sink yet: n_held bytes from held_at on */
    size_t n_held;
    uint64_t held_at, held_ms;
  } lanes[LANES];
};

static uint64_t
now_ms (void)
{
  struct timespec t;
  clock_gettime (CLOCK_MONOTONIC, &t);
  return (uint64_t) t.tv_sec * 1000 + (uint64_t) t.tv_nsec / 1000000;
}

static int
bad (struct transfer *t, uint32_t code, const char *what)
{
  char url[300];
  return capstan_error (t->call, code, 0, "GET %s: %s", http_url_show (t->w->url, url, sizeof url),
                        what);
}

const char *
wire_encoding (const char *path)
{
  size_t n = strlen (path);
  return n > 3 && strcmp (path + n - 3, ".gz") == 0    ? "gzip"
         : n > 4 && strcmp (path + n - 4, ".zst") == 0 ? "zstd" : NULL;
}

void
found_tag (const struct http_rsp *rsp, char *out, size_t n)
{
  const char *tag = http_etag (rsp);
  if (tag == NULL)
    tag = http_header (rsp, "Last-Modified");
  snprintf (out, n, "%s", tag != NULL && strlen (tag) < n ? tag : "");
}

/* A file that is stored compressed is labelled so by some servers; everything else that comes
 * encoded was not asked for. */
static int
check_encoding (struct transfer *t, const struct http_rsp *rsp)
{
  const char *e = http_header (rsp, "Content-Encoding"), *name = t->w->encoding;
  if (e == NULL || *e == '\0' || strcasecmp (e, "identity") == 0)
    return 0;
  if (name != NULL && (strcasecmp (e, name) == 0 || (e[0] == 'x' && strcasecmp (e + 2, name) == 0)))
    return 0;
  return bad (t, CAPSTAN_E_NET, "the server encoded the file on its way, which was not asked for");
}

static int
begin (struct transfer *t)
{
  struct capstan_file f = { .struct_size = sizeof f,
                            .path = t->w->path,
                            .role = t->w->whole ? "index" : "image",
                            .encoding = t->w->encoding,
                            .wire_sha256 = t->w->wire_sha256,
                            .etag = t->tag[0] != '\0' ? t->tag : NULL,
                            .size = UINT64_MAX,
                            .wire_size = t->total };
  uint64_t off = 0;
  int rc = capstan_host_->sink_begin (t->sink, &f, &off);
  if (rc != 0)
    return rc;
  t->begun = 1;
  t->skip = off;
  if (off < t->from) /* the same etag, and yet it has less: from its start, then */
    t->again = 1;
  return t->again ? -CAPSTAN_E_STATE : 0;
}

static int
first_head (void *user, const struct http_rsp *rsp)
{
  struct lane *l = user;
  struct transfer *t = l->t;
  char tag[200];
  const char *type = http_header (rsp, "Content-Type");
  int rc = check_encoding (t, rsp);
  if (rc != 0)
    return rc;
  found_tag (rsp, tag, sizeof tag);
  /* Ranges that nothing guards are not used; a part of another file is of no use. */
  if (rsp->status == 206 && (tag[0] == '\0' || rsp->total == UINT64_MAX ||
                             (t->from > 0 && strcmp (tag, t->tag) != 0))) {
    t->again = 1;
    return -CAPSTAN_E_STATE;
  }
  memcpy (t->tag, tag, sizeof tag);
  t->total = rsp->total;
  if (t->total == UINT64_MAX && t->w->size != UINT64_MAX)
    t->total = t->w->size;
  if (rsp->status != 206) {
    t->from = 0;
    l->end = t->next = t->total;
  } else if (l->end > t->total)
    l->end = t->next = t->total;
  l->at = rsp->first;
  t->html = rsp->first == 0 && type != NULL && strncasecmp (type, "text/html", 9) == 0;
  t->began_ms = now_ms ();
  return begin (t);
}

static int
piece_head (void *user, const struct http_rsp *rsp)
{
  struct lane *l = user;
  char tag[200];
  found_tag (rsp, tag, sizeof tag);
  if (rsp->status != 206 || strcmp (tag, l->t->tag) != 0) {
    l->t->changed = 1;
    return bad (l->t, CAPSTAN_E_NET, "the file changed while it was fetched");
  }
  return check_encoding (l->t, rsp);
}

static int
put_held (struct lane *l)
{
  size_t n = l->n_held;
  l->n_held = 0;
  l->held_ms = now_ms ();
  return n > 0 ? capstan_host_->sink_pwrite (l->t->sink, l->held_at, l->held, n) : 0;
}

static int
hold (struct lane *l, uint64_t offset, const char *p, size_t n)
{
  int rc = 0;
  if (l->held == NULL && (l->held = malloc (HELD)) == NULL)
    return capstan_error (l->t->call, CAPSTAN_E_NOMEM, 0, "out of memory");
  if (l->n_held > 0 && (offset != l->held_at + l->n_held || n > HELD - l->n_held))
    rc = put_held (l);
  if (rc == 0 && n > HELD)
    return capstan_host_->sink_pwrite (l->t->sink, offset, p, n);
  if (rc != 0 || n == 0)
    return rc;
  if (l->n_held == 0)
    l->held_at = offset;
  memcpy (l->held + l->n_held, p, n);
  l->n_held += n;
  return l->n_held == HELD || now_ms () - l->held_ms >= HELD_MS ? put_held (l) : 0;
}

static int
on_data (void *user, uint64_t offset, const void *data, size_t n)
{
  struct lane *l = user;
  struct transfer *t = l->t;
  const char *p = data;
  if (t->html && offset == 0 && n > 0 && *p == '<')
    return bad (t, CAPSTAN_E_NOTFOUND, "the server answered with a web page, not with the file");
  l->at = offset + n;
  t->got += n;
  if (offset < t->skip) {
    size_t drop = n < t->skip - offset ? n : (size_t) (t->skip - offset);
    p += drop;
    offset += drop;
    n -= drop;
  }
  return hold (l, offset, p, n);
}

static int piece_done (void *user, const struct http_rsp *rsp, int rc);

static int
ask (struct lane *l, int first)
{
  struct transfer *t = l->t;
  struct capstan_kv kv[8];
  struct http_req q = { .url = t->w->url, .headers = kv, .auth = t->w->auth, .user = l,
                        .on_head = first ? first_head : piece_head, .on_data = on_data,
                        .on_done = piece_done, .first = l->at, .last = l->end - 1 };
  for (size_t i = 0; i < t->w->n_headers && i < 6; i++)
    kv[q.n_headers++] = t->w->headers[i];
  if (l->end != UINT64_MAX || l->at > 0)
    q.flags |= HTTP_RANGE;
  if (l->end == UINT64_MAX)
    q.last = UINT64_MAX;
  if (t->tag[0] != '\0' && (q.flags & HTTP_RANGE) && (l->at > 0 || !first))
    kv[q.n_headers++] = (struct capstan_kv){ "If-Range", t->tag };
  return http_add (t->http, t->call, &q);
}

/* The next piece for a lane that is free. */
static int
go_on (struct lane *l, uint64_t n)
{
  struct transfer *t = l->t;
  l->busy = 0;
  if (t->next >= t->total)
    return 0;
  l->at = t->next;
  l->end = n < t->total - t->next ? t->next + n : t->total;
  l->tries = 0;
  l->busy = 1;
  t->next = l->end;
  return ask (l, 0);
}

/* The first piece has come: how to get the rest. */
static int
spread (struct transfer *t)
{
  uint64_t ms = now_ms () - t->began_ms;
  uint64_t left = t->total - t->next;
  t->spread = 1;
  if (t->w->connections <= 1 || left <= PIECE || t->got / FAST >= ms)
    return go_on (&t->lanes[0], left);
  int rc = 0;
  for (uint32_t i = 0; rc == 0 && i < t->w->connections && i < LANES; i++)
    rc = go_on (&t->lanes[i], PIECE);
  return rc;
}

/* A server that has enough of several connections is left with fewer. */
static int
others_busy (const struct lane *l)
{
  int n = 0;
  for (int i = 0; i < LANES; i++)
    n += &l->t->lanes[i] != l && l->t->lanes[i].busy;
  return n;
}

static int
piece_done (void *user, const struct http_rsp *rsp, int rc)
{
  struct lane *l = user;
  struct transfer *t = l->t;
  int put = t->again ? 0 : put_held (l); /* what came before it broke off is of use, too */
  if (put != 0)
    return rc != 0 ? rc : put;
  if (rc != 0 && (t->again || t->changed || rsp->status == 416 || !others_busy (l)))
    return rc;
  if (rc != 0) {
    int passes = rc == -CAPSTAN_E_NET || rc == -CAPSTAN_E_TIMEOUT || rc == -CAPSTAN_E_BUSY;
    return passes && ++l->tries < TRIES && l->at < l->end ? ask (l, 0) : rc;
  }
  if (l->at < l->end && l->end != UINT64_MAX)
    return bad (t, CAPSTAN_E_NET, "the answer ended early");
  if (t->total == UINT64_MAX || t->next >= t->total)
    return l->busy = 0, 0;
  return t->spread ? go_on (l, PIECE) : spread (t);
}

static int
attempt (struct transfer *t, uint64_t from, const char *tag, int whole)
{
  struct lane *l = &t->lanes[0];
  memset (t->lanes, 0, sizeof t->lanes);
  for (int i = 0; i < LANES; i++)
    t->lanes[i].t = t;
  snprintf (t->tag, sizeof t->tag, "%s", tag);
  t->from = from;
  t->skip = t->got = 0;
  t->total = UINT64_MAX;
  t->begun = t->again = t->html = t->spread = 0;
  l->at = from;
  l->end = t->next = whole ? UINT64_MAX : from + PIECE;
  l->busy = 1;
  int rc = ask (l, 1);
  if (rc == 0)
    rc = http_run (t->http, t->call);
  for (int i = 0; i < LANES; i++) {
    if (!t->again && t->begun)
      put_held (&t->lanes[i]); /* of a transfer that was cancelled: the next one goes on after it */
    free (t->lanes[i].held);
  }
  return rc;
}

/* The range began past the end: either nothing is missing, or it is another file now. */
static int
all_there (struct transfer *t, const struct capstan_part *part)
{
  struct http_req q = { .method = "HEAD", .url = t->w->url, .auth = t->w->auth,
                        .headers = t->w->headers, .n_headers = t->w->n_headers };
  struct http_rsp rsp;
  if (http_perform (t->http, t->call, &q, &rsp) != 0)
    return 0;
  found_tag (&rsp, t->tag, sizeof t->tag);
  int same = strcmp (t->tag, part->etag) == 0 && rsp.size == part->offset;
  t->total = rsp.size;
  http_rsp_clear (&rsp);
  t->from = 0;
  return same && begin (t) == 0 && t->skip == part->offset;
}

int
fetch_file (struct http *h, struct capstan_call *call, const struct wanted *w,
            const struct capstan_part *part, struct capstan_sink *sink)
{
  struct transfer t = { .http = h, .call = call, .w = w, .sink = sink };
  int guarded = part->offset > 0 && part->etag != NULL && strncmp (part->etag, "W/", 2) != 0 &&
                strlen (part->etag) < sizeof t.tag;
  int rc =
      attempt (&t, guarded ? part->offset : 0, guarded ? part->etag : "", w->whole && !guarded);
  if (rc == -CAPSTAN_E_INVAL && guarded && !t.begun && all_there (&t, part))
    rc = 0;
  else if (rc != 0 && (t.again || (rc == -CAPSTAN_E_INVAL && !t.begun)))
    rc = attempt (&t, 0, "", 1);
  return rc != 0 ? rc : capstan_host_->sink_end (sink);
}
