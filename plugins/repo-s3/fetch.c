/* Objects into sinks. SPDX-License-Identifier: BSD-3-Clause */
#include "config.h"
#include "s3.h"
#include "plugins/common/fetch.h"
#include <string.h>

static int
fetch_part (struct s3 *s, struct capstan_call *call, const struct capstan_part *part, struct capstan_sink *sink)
{
  struct s3_signed sig;
  struct s3_req q = { .key = part->path };
  size_t n = strlen (part->path);
  int rc = s3_prepare (s, call, &q, &sig);
  if (rc == 0) {
    struct wanted w = { .path = part->path, .url = sig.http.url, .encoding = wire_encoding (part->path),
      .size = UINT64_MAX, .auth = sig.http.auth, .headers = sig.http.headers, .n_headers = sig.http.n_headers,
      .whole = n > 10 && strcmp (part->path + n - 10, "index.yaml") == 0, .connections = s->parallel };
    rc = fetch_file (s->http, call, &w, part, sink);
  }
  buf_free (&sig.url);
  return rc;
}

int
s3_op_fetch (struct capstan_call *call, void *self, const struct capstan_fetch_req *q,
             struct capstan_sink *sink, struct capstan_fetch_rsp *ret)
{
  struct s3 *s = self;
  const char *tab = q->ref != NULL ? strchr (q->ref, '\t') : NULL, *etag = tab != NULL ? tab + 1 : NULL;
  struct s3_entry e;
  int rc = 0;
  if (q->if_none_match != NULL && tab != NULL) {
    const char *name = capstan_host_->keep (call, q->ref, (size_t) (tab - q->ref));
    rc = s3_look (s, call, name, NULL, &e);
    if (rc == 0 && e.etag != NULL && strcmp (e.etag, q->if_none_match) == 0)
      rc = capstan_error (call, CAPSTAN_E_NOT_MODIFIED, 0, "%s is what is here already", name);
  }
  if (rc == 0 && q->parts == NULL)
    rc = capstan_error (call, CAPSTAN_E_INVAL, 0, "fetch: no parts were named");
  for (size_t i = 0; rc == 0 && q->parts[i] != NULL; i++)
    rc = fetch_part (s, call, q->parts[i], sink);
  if (rc != 0)
    return rc;
  ret->ref = q->ref;
  ret->etag = etag != NULL && *etag != '\0' ? etag : NULL;
  return 0;
}
