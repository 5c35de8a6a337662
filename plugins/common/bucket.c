/* SPDX-License-Identifier: BSD-3-Clause */
#include "config.h"
#include "plugins/common/bucket.h"
#include <libxml/parser.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { DEPTH_MAX = 16, SEEN_MAX = 64 << 20 };

struct bucket {
  struct capstan_call *call;
  int (*item) (void *user, const struct bucket_item *);
  void *user;
  xmlParserCtxtPtr parser;
  xmlSAXHandler sax;
  struct bucket_page page;
  int depth, rc;
  uint64_t seen;
  int in_item;          /* the depth of the item's element, 0: outside */
  char element[32];     /* of the item */
  char name[32];        /* of the innermost element */
  char text[BUCKET_TEXT_MAX + 1];
  size_t n_text;
  int too_long;
  char key[BUCKET_TEXT_MAX + 1], etag[BUCKET_TEXT_MAX + 1], upload_id[BUCKET_TEXT_MAX + 1];
  char sha256[65];
  uint64_t size, part;
  int64_t modified;
};

static void
stop (struct bucket *b, int rc)
{
  if (b->rc == 0)
    b->rc = rc;
  xmlStopParser (b->parser);
}

static int
is_item (const char *name)
{
  static const char *const items[] = { "Contents", "CommonPrefixes", "Upload", "Part" };
  for (size_t i = 0; i < sizeof items / sizeof *items; i++)
    if (strcmp (name, items[i]) == 0)
      return 1;
  return 0;
}

static void
set (char *to, size_t n, const char *from)
{
  if (strlen (from) < n)
    strcpy (to, from);
}

static void
on_start (void *ctx, const xmlChar *local, const xmlChar *prefix, const xmlChar *uri, int n_ns,
          const xmlChar **ns, int n_attr, int n_def, const xmlChar **attr)
{
  struct bucket *b = ctx;
  const char *name = (const char *) local;
  if (++b->depth > DEPTH_MAX) {
    stop (b, -CAPSTAN_E_LIMIT);
    return;
  }
  b->name[0] = b->text[0] = '\0';
  b->n_text = 0;
  b->too_long = 0;
  set (b->name, sizeof b->name, name);
  if (b->depth == 1)
    set (b->page.root, sizeof b->page.root, name);
  if (b->in_item == 0 && is_item (name)) {
    b->in_item = b->depth;
    set (b->element, sizeof b->element, name);
    b->key[0] = b->etag[0] = b->upload_id[0] = b->sha256[0] = '\0';
    b->size = UINT64_MAX;
    b->part = 0;
    b->modified = INT64_MIN;
  }
}

static void
on_text (void *ctx, const xmlChar *s, int n)
{
  struct bucket *b = ctx;
  if (b->n_text + (size_t) n > BUCKET_TEXT_MAX) {
    b->too_long = 1;
    return;
  }
  memcpy (b->text + b->n_text, s, (size_t) n);
  b->n_text += (size_t) n;
  b->text[b->n_text] = '\0';
}

/* "2009-10-12T17:50:30.000Z" */
static int64_t
when (const char *s)
{
  struct tm t = { 0 };
  int y, mo, d, h, mi, se;
  if (sscanf (s, "%4d-%2d-%2dT%2d:%2d:%2d", &y, &mo, &d, &h, &mi, &se) != 6)
    return INT64_MIN;
  t.tm_year = y - 1900;
  t.tm_mon = mo - 1;
  t.tm_mday = d;
  t.tm_hour = h;
  t.tm_min = mi;
  t.tm_sec = se;
  return (int64_t) timegm (&t);
}

static uint64_t
number (const char *s, uint64_t none)
{
  char *end;
  unsigned long long n = strtoull (s, &end, 10);
  return *s >= '0' && *s <= '9' && *end == '\0' ? n : none;
}

/* ETags are quoted in HTTP; some servers leave the quotes away here. */
static void
set_etag (char *to, const char *from)
{
  size_t n = strlen (from);
  if (n == 0 || n + 2 > BUCKET_TEXT_MAX)
    return;
  int bare = from[0] != '"' && strncmp (from, "W/", 2) != 0;
  snprintf (to, BUCKET_TEXT_MAX + 1, "%s%s%s", bare ? "\"" : "", from, bare ? "\"" : "");
}

static void
item_value (struct bucket *b)
{
  const char *n = b->name, *t = b->text;
  if (strcmp (n, "Key") == 0 || (strcmp (n, "Prefix") == 0 && strcmp (b->element, "CommonPrefixes") == 0))
    set (b->key, sizeof b->key, t);
  else if (strcmp (n, "ETag") == 0)
    set_etag (b->etag, t);
  else if (strcmp (n, "Size") == 0)
    b->size = number (t, UINT64_MAX);
  else if (strcmp (n, "PartNumber") == 0)
    b->part = number (t, 0);
  else if (strcmp (n, "UploadId") == 0)
    set (b->upload_id, sizeof b->upload_id, t);
  else if (strcmp (n, "LastModified") == 0 || strcmp (n, "Initiated") == 0)
    b->modified = when (t);
  else if (strcmp (n, "Sha256") == 0)
    set (b->sha256, sizeof b->sha256, t);
}

static void
page_value (struct bucket *b)
{
  struct bucket_page *p = &b->page;
  const char *n = b->name, *t = b->text;
  if (strcmp (n, "IsTruncated") == 0)
    p->truncated = strcmp (t, "true") == 0;
  else if (strcmp (n, "NextContinuationToken") == 0)
    set (p->token, sizeof p->token, t);
  else if (strcmp (n, "NextMarker") == 0 || strcmp (n, "NextKeyMarker") == 0 ||
           strcmp (n, "NextPartNumberMarker") == 0)
    set (p->marker, sizeof p->marker, t);
  else if (strcmp (n, "NextUploadIdMarker") == 0)
    set (p->id_marker, sizeof p->id_marker, t);
  else if (strcmp (n, "UploadId") == 0)
    set (p->upload_id, sizeof p->upload_id, t);
  else if (strcmp (n, "ETag") == 0)
    set_etag (p->etag, t);
  else if (strcmp (n, "Code") == 0)
    set (p->code, sizeof p->code, t);
  else if (strcmp (n, "Message") == 0)
    snprintf (p->message, sizeof p->message, "%.256s", t);
}

static void
on_end (void *ctx, const xmlChar *local, const xmlChar *prefix, const xmlChar *uri)
{
  struct bucket *b = ctx;
  if (b->name[0] != '\0' && strcmp (b->name, (const char *) local) == 0 && !b->too_long) {
    if (b->in_item != 0)
      item_value (b);
    else
      page_value (b);
  }
  b->name[0] = '\0'; /* text behind it belongs to no element of interest */
  if (b->in_item == b->depth) {
    const struct bucket_item i = { .element = b->element, .key = b->key[0] != '\0' ? b->key : NULL,
      .etag = b->etag[0] != '\0' ? b->etag : NULL,
      .upload_id = b->upload_id[0] != '\0' ? b->upload_id : NULL,
      .sha256 = b->sha256[0] != '\0' ? b->sha256 : NULL, .size = b->size, .part = b->part,
      .modified = b->modified };
    b->in_item = 0;
    int rc = b->item != NULL ? b->item (b->user, &i) : 0;
    if (rc != 0)
      stop (b, rc);
  }
  b->depth--;
}

/* A document type is what entities come from: none of these documents has one. */
static void
on_doctype (void *ctx, const xmlChar *name, const xmlChar *ext, const xmlChar *sys)
{
  stop (ctx, -CAPSTAN_E_INVAL);
}

struct bucket *
bucket_new (struct capstan_call *call, int (*item) (void *user, const struct bucket_item *), void *user)
{
  struct bucket *b = calloc (1, sizeof *b);
  if (b == NULL)
    return NULL;
  b->call = call;
  b->item = item;
  b->user = user;
  b->sax.initialized = XML_SAX2_MAGIC;
  b->sax.startElementNs = on_start;
  b->sax.endElementNs = on_end;
  b->sax.characters = b->sax.cdataBlock = on_text;
  b->sax.internalSubset = on_doctype;
  b->parser = xmlCreatePushParserCtxt (&b->sax, b, NULL, 0, NULL);
  if (b->parser == NULL) {
    free (b);
    return NULL;
  }
  xmlCtxtUseOptions (b->parser, XML_PARSE_NONET | XML_PARSE_NOERROR | XML_PARSE_NOWARNING);
  return b;
}

static int
failed (struct bucket *b, const char *where, int xml)
{
  if (b->rc == -CAPSTAN_E_LIMIT)
    return capstan_error (b->call, CAPSTAN_E_LIMIT, 0, "%s: the XML is nested too deep or too long", where);
  if (b->rc == -CAPSTAN_E_INVAL || (b->rc == 0 && xml != 0))
    return capstan_error (b->call, CAPSTAN_E_INVAL, 0, "%s: the answer is no XML of a bucket", where);
  return b->rc;
}

int
bucket_feed (struct bucket *b, const char *where, const void *p, size_t n)
{
  const char *s = p;
  b->seen += n;
  if (b->seen > SEEN_MAX && b->rc == 0)
    b->rc = -CAPSTAN_E_LIMIT;
  int xml = 0;
  while (n > 0 && b->rc == 0 && xml == 0) {
    int part = n > 65536 ? 65536 : (int) n;
    xml = xmlParseChunk (b->parser, s, part, 0);
    s += part;
    n -= (size_t) part;
  }
  return failed (b, where, xml);
}

int
bucket_end (struct bucket *b, const char *where, struct bucket_page *ret)
{
  int xml = b->rc == 0 ? xmlParseChunk (b->parser, "", 0, 1) : 0;
  int rc = failed (b, where, xml);
  if (rc == 0)
    *ret = b->page;
  return rc;
}

void
bucket_free (struct bucket *b)
{
  if (b == NULL)
    return;
  if (b->parser->myDoc != NULL)
    xmlFreeDoc (b->parser->myDoc);
  xmlFreeParserCtxt (b->parser);
  free (b);
}
