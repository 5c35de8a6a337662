/* The last steps of a push, image and index, belong together, and not every server knows a
 * condition for the end of an upload in parts. So who takes them holds <name>/.lock, an object
 * that is made only if it is not there. SPDX-License-Identifier: BSD-3-Clause */
#define _GNU_SOURCE
#include "config.h"
#include "s3.h"
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { STALE_S = 300 }; /* those steps take seconds: its owner is dead */

static const char *
lock_key (struct capstan_call *call, const char *name)
{
  char key[BUCKET_TEXT_MAX + 16];
  snprintf (key, sizeof key, "%s/.lock", name);
  return capstan_host_->keep (call, key, SIZE_MAX);
}

static int
put (struct s3 *s, struct capstan_call *call, const char *key, const char *match, const char *none)
{
  static const char text[] = "capstan is pushing this image\n";
  char sha[65];
  s3_sha256 (text, sizeof text - 1, sha);
  struct s3_req q = { .method = "PUT", .key = key, .sha256 = sha, .if_match = match, .if_none_match = none,
    .type = "text/plain", .http = { .data = text, .body_size = sizeof text - 1, .has_body = 1 } };
  return s3_perform (s, call, &q, NULL);
}

static time_t
when (const char *text)
{
  struct tm t = { 0 };
  return text != NULL && strptime (text, "%a, %d %b %Y %H:%M:%S GMT", &t) != NULL ? timegm (&t) : 0;
}

/* One that was left behind, by the server's own clock: it is taken over. */
static int
take_over (struct s3 *s, struct capstan_call *call, const char *key, const char *name)
{
  struct http_rsp rsp = { 0 };
  struct s3_req q = { .method = "HEAD", .key = key };
  int rc = s3_perform (s, call, &q, &rsp);
  if (rc == -CAPSTAN_E_NOTFOUND) /* it has just gone */
    return put (s, call, key, NULL, "*");
  time_t now = when (http_header (&rsp, "Date")), made = when (http_header (&rsp, "Last-Modified"));
  const char *etag = http_etag (&rsp);
  if (rc == 0 && (now == 0 || made == 0 || now - made < STALE_S || etag == NULL))
    rc = capstan_error (call, CAPSTAN_E_CONFLICT, 0, "%s: somebody else is pushing %s", s->realm, name);
  else if (rc == 0)
    rc = put (s, call, key, etag, NULL);
  http_rsp_clear (&rsp);
  return rc;
}

int
s3_lock (struct s3 *s, struct capstan_call *call, const char *name)
{
  const char *key = lock_key (call, name);
  int rc = s->no_conditions ? -CAPSTAN_E_UNSUPPORTED : put (s, call, key, NULL, "*");
  if (rc == -CAPSTAN_E_CONFLICT)
    rc = take_over (s, call, key, name);
  if (rc != -CAPSTAN_E_UNSUPPORTED)
    return rc;
  if (!s->no_conditions)
    capstan_log (call, CAPSTAN_LOG_DEBUG, "%s: the server knows no conditional writes", s->realm);
  s->no_conditions = 1;
  return 0;
}

/* Whatever comes of it: what went wrong before is what is reported. */
static int
gone (void *user, const struct http_rsp *r, int rc)
{
  return 0;
}

void
s3_unlock (struct s3 *s, struct capstan_call *call, const char *name)
{
  struct s3_req q = { .method = "DELETE", .key = lock_key (call, name), .http = { .on_done = gone } };
  if (!s->no_conditions && s3_add (s, call, &q) == 0)
    http_run (s->http, call);
}
