/* Inside the plugin. SPDX-License-Identifier: BSD-3-Clause */
#ifndef S3_H
#define S3_H
#include "plugins/common/bucket.h"
#include "plugins/common/http.h"

enum { S3_URL_MAX = 300, /* of a URL in a message */
       S3_ENTRY_FILES = 7 };

struct s3 {
  struct http *http;
  char *bucket;
  char *prefix;   /* "" or "a/b/" */
  char *base;     /* URL of the bucket, ends in "/" */
  char *region, *sigv4;
  char *key_id, *secret, *token; /* NULL: anonymous */
  int from_host;  /* they came from host->secret */
  char realm[S3_URL_MAX];        /* "s3://bucket" */
  uint64_t part_size;
  uint32_t parallel;
  int no_conditions; /* the server answered 501 to one */
  int bare_etags;    /* If-Match of a write wants no quotes (Ceph 16) */
};

/* ---- cred.c ---- */
/* Region, endpoint and credentials: options, environment, ~/.aws, the host's secrets. */
int s3_settings (struct capstan_call *, struct s3 *, const char **ret_endpoint);
/* Value of key in a section of an INI file, for free (); NULL where there is none. */
char *s3_ini (const char *path, const char *section, const char *key);

/* ---- object.c: one request ---- */
struct s3_req {
  const char *method;   /* NULL: GET */
  const char *key;      /* without the prefix; NULL: the bucket itself */
  const char *query;    /* encoded, sorted, "=" after every key; or NULL */
  const char *sha256;   /* of the body, hex; NULL: there is none */
  const char *if_match, *if_none_match, *type;
  struct http_req http; /* body, callbacks, range, flags; its first fields are filled in */
};
/* What http.h wants of it; lives as long as q and itself. buf_free its url in any case. */
struct s3_signed {
  struct http_req http;
  struct http_auth auth;
  struct capstan_kv headers[8];
  struct buf url;
  char etag[BUCKET_TEXT_MAX + 1];
};
int s3_prepare (struct s3 *, struct capstan_call *, const struct s3_req *, struct s3_signed *ret);
/* Fills in URL, headers and signature, and adds it. Strings are copied. */
int s3_add (struct s3 *, struct capstan_call *, const struct s3_req *);
/* The same, and runs it. A status other than 2xx is an error. ret may be NULL. */
int s3_perform (struct s3 *, struct capstan_call *, const struct s3_req *, struct http_rsp *ret);
/* The error of an answer, by S3's own code. */
int s3_error (struct s3 *, struct capstan_call *, const char *method, const struct http_rsp *);
/* An XML answer; item may be NULL. An Error in a 200 is one too. */
int s3_xml (struct s3 *, struct capstan_call *, const struct s3_req *,
            int (*item) (void *, const struct bucket_item *), void *user, struct bucket_page *ret);
/* All pages of a listing below prefix (of keys; ours is put in front and taken away again). */
int s3_list (struct s3 *, struct capstan_call *, const char *prefix, const char *delimiter,
             int (*item) (void *, const struct bucket_item *), void *user);
void s3_sha256 (const void *p, size_t n, char hex[65]);
/* "endpoint/bucket/key" for messages. */
const char *s3_show (const struct s3 *, const char *key, char *out, size_t n);

/* ---- entry.c: what lies there of one name ---- */
struct s3_entry {
  struct capstan_file file[S3_ENTRY_FILES];
  const struct capstan_file *files[S3_ENTRY_FILES + 1];
  size_t n;
  const char *etag; /* of the entry */
};
/* suffix NULL: of every hypervisor. Nothing there is no error: n is 0. Memory of the call. */
int s3_look (struct s3 *, struct capstan_call *, const char *name, const char *suffix,
             struct s3_entry *ret);
const char *s3_param (const struct capstan_kv *, size_t n, const char *key);
/* "name\tETAG" */
const char *s3_ref (struct capstan_call *, const char *name, const char *etag);

/* ---- the operations ---- */
int s3_op_list (struct capstan_call *, void *, const struct capstan_query *, struct capstan_list *,
                const char **);
int s3_op_resolve (struct capstan_call *, void *, const struct capstan_query *, struct capstan_list *);
int s3_op_fetch (struct capstan_call *, void *, const struct capstan_fetch_req *,
                 struct capstan_sink *, struct capstan_fetch_rsp *);
int s3_op_push (struct capstan_call *, void *, const struct capstan_push_req *,
                struct capstan_source *, struct capstan_push_rsp *);
int s3_op_remove (struct capstan_call *, void *, const char *, const struct capstan_action *);
int s3_op_maintain (struct capstan_call *, void *, const struct capstan_action *);
/* upload.c: a file as an object, in parts if it is large. */
struct s3_condition {
  const char *if_match, *if_none_match;
  int (*gate) (void *user); /* asked just before the object is put in its place; or NULL */
  void *user;
};
int s3_upload (struct s3 *, struct capstan_call *, struct capstan_source *, uint32_t i,
               const struct s3_condition *, char ret_etag[BUCKET_TEXT_MAX + 1]);
/* lock.c: one pusher at a time for the last steps. E_CONFLICT if another has it. Where the
 * server knows no conditions there is none, and s->no_conditions is set. */
int s3_lock (struct s3 *, struct capstan_call *, const char *name);
void s3_unlock (struct s3 *, struct capstan_call *, const char *name);
#endif
