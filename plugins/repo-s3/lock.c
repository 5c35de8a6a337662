/* The last steps of a push, image and index, belong together, and not every server knows a
 * condition for the end of an upload in parts. So who takes them holds <name>/.lock, an object
 * that is made only if it is not there, and that says whose it is: what a push of this store
 * has left when it was killed is ours at once. SPDX-License-Identifier: BSD-3-Clause */
#define _GNU_SOURCE
#include "config.h"
#include "s3.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

enum { STALE_S = 300, /* those steps take seconds: its owner is dead */
       OWNER = 32, TEXT_MAX = 128 };

static const char *
lock_key (struct capstan_call *call, const char *name)
{
  char key[BUCKET_TEXT_MAX + 16];
  snprintf (key, sizeof key, "%s/.lock", name);
  return capstan_host_->keep (call, key, SIZE_MAX);
}

static int
read_owner (int fd, char out[OWNER + 1])
{
  out[OWNER] = '\0';
  return fd >= 0 && pread (fd, out, OWNER, 0) == OWNER;
}

/* Whose locks are ours: a word that the store keeps. Made once; two that make it at the same
 * time agree on the first. A host's lock is held as long as the push: it is taken for that only. */
static int
owner (struct capstan_call *call, char out[OWNER + 1])
{
  const char *dir = capstan_host_->dir (call, "state");
  char file[4096];
  unsigned char random[OWNER / 2];
  if (dir == NULL)
    return -CAPSTAN_E_IO;
  snprintf (file, sizeof file, "%s/owner", dir);
  int fd = open (file, O_RDWR | O_CREAT | O_CLOEXEC, 0600), e = fd < 0 ? errno : EIO, rc = 0;
  if (fd >= 0 && !read_owner (fd, out) && (rc = capstan_host_->lock (call, "owner")) == 0 &&
      !read_owner (fd, out) && getrandom (random, sizeof random, 0) == (ssize_t) sizeof random) {
    for (size_t i = 0; i < sizeof random; i++)
      snprintf (out + 2 * i, 3, "%02x", random[i]);
    e = pwrite (fd, out, OWNER, 0) < 0 ? errno : ENOSPC;
  }
  if (rc == 0 && !read_owner (fd, out))
    rc = capstan_error (call, CAPSTAN_E_IO, e, "write %s", file);
  if (fd >= 0)
    close (fd);
  return rc;
}

struct lock {
  struct s3 *s;
  struct capstan_call *call;
  const char *key, *name;
  char text[TEXT_MAX], theirs[TEXT_MAX];
};

static int
put (struct lock *l, const char *match, const char *none)
{
  char sha[65];
  s3_sha256 (l->text, strlen (l->text), sha);
  struct s3_req q = { .method = "PUT", .key = l->key, .sha256 = sha, .if_match = match, .if_none_match = none,
    .type = "text/plain", .http = { .data = l->text, .body_size = strlen (l->text), .has_body = 1 } };
  return s3_perform (l->s, l->call, &q, NULL);
}

static time_t
when (const char *text)
{
  struct tm t = { 0 };
  return text != NULL && strptime (text, "%a, %d %b %Y %H:%M:%S GMT", &t) != NULL ? timegm (&t) : 0;
}

static int
read_text (void *user, uint64_t offset, const void *data, size_t n)
{
  struct lock *l = user;
  size_t max = sizeof l->theirs - 1;
  if (offset < max)
    memcpy (l->theirs + offset, data, n < max - offset ? n : max - (size_t) offset);
  return 0;
}

/* One that was left behind, by us or, by the server's own clock, by somebody else. */
static int
take_over (struct lock *l)
{
  struct http_rsp rsp = { 0 };
  struct s3_req q = { .key = l->key, .http = { .on_data = read_text, .user = l } };
  int rc = s3_perform (l->s, l->call, &q, &rsp);
  if (rc == -CAPSTAN_E_NOTFOUND) /* it has just gone */
    return put (l, NULL, "*");
  time_t now = when (http_header (&rsp, "Date")), made = when (http_header (&rsp, "Last-Modified"));
  const char *etag = http_etag (&rsp);
  int old = now != 0 && made != 0 && now - made >= STALE_S, ours = strcmp (l->theirs, l->text) == 0;
  if (rc == 0 && (etag == NULL || (!old && !ours)))
    rc = capstan_error (l->call, CAPSTAN_E_CONFLICT, 0, "%s: somebody else is pushing %s; if that push has "
                        "died, it is possible again five minutes after it", l->s->realm, l->name);
  else if (rc == 0)
    rc = put (l, etag, NULL);
  http_rsp_clear (&rsp);
  return rc;
}

int
s3_lock (struct s3 *s, struct capstan_call *call, const char *name)
{
  struct lock l = { .s = s, .call = call, .key = lock_key (call, name), .name = name };
  char id[OWNER + 1], what[BUCKET_TEXT_MAX * 2], sha[65];
  int rc = owner (call, id);
  if (rc != 0)
    return rc;
  snprintf (l.text, sizeof l.text, "capstan is pushing this image\n%s\n", id);
  snprintf (what, sizeof what, "%s %s", s->realm, name);
  s3_sha256 (what, strlen (what), sha);
  if ((rc = capstan_host_->lock (call, sha)) != 0)
    return rc;
  rc = s->no_conditions ? -CAPSTAN_E_UNSUPPORTED : put (&l, NULL, "*");
  if (rc == -CAPSTAN_E_CONFLICT)
    rc = take_over (&l);
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
