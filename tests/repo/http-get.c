/* One request through plugins/common/http, with a host of its own: what http-layer.sh drives.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * http-get [-X METHOD] [-H NAME:VALUE] [-r FIRST-LAST] [-n REQUESTS] [-c CA] [-t STALL] [-m MAX]
 *          [-b BYTES-TO-SEND] [-x CANCEL-AT] [-T TOKEN] [-d] [-a] URL >BODY
 *
 * Says "status N", "retry N" and errors on standard error; its exit status is the code. With
 * -n the range is cut into that many, which are fetched at once. */
#include "plugins/common/http.h"
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

struct capstan_call { int fd, cancelled; const char *token; void *kept[64]; int n_kept; };
static uint64_t cancel_at = UINT64_MAX, seen, progressed;

static int
f_error (struct capstan_call *c, uint32_t code, int err, const char *msg)
{
  fprintf (stderr, "error %" PRIu32 ": %s%s%s\n", code, msg, err != 0 ? ": " : "",
           err != 0 ? strerror (err) : "");
  return -(int) code;
}
static void
f_retry (struct capstan_call *c, uint32_t ms)
{
  fprintf (stderr, "retry %" PRIu32 "\n", ms);
}
static void
f_log (struct capstan_call *c, uint32_t level, const char *msg)
{
  fprintf (stderr, "log %" PRIu32 ": %s\n", level, msg);
}
static int
f_progress (struct capstan_call *c, const char *phase, uint64_t done, uint64_t total)
{
  progressed = done;
  return 0;
}
static int
f_cancelled (struct capstan_call *c)
{
  return c->cancelled;
}
static int
f_cancel_fd (struct capstan_call *c)
{
  return c->fd;
}
static uint64_t
f_left (struct capstan_call *c)
{
  return UINT64_MAX;
}
static const char *
f_keep (struct capstan_call *c, const char *s, size_t n)
{
  char *p = n == SIZE_MAX ? strdup (s) : malloc (n + 1);
  if (p == NULL || c->n_kept == 64)
    abort ();
  if (n != SIZE_MAX) {
    memcpy (p, s, n);
    p[n] = '\0';
  }
  return c->kept[c->n_kept++] = p;
}
static const char *
f_secret (struct capstan_call *c, const char *realm, const char *key)
{
  return strcmp (key, "token") == 0 ? c->token : NULL;
}
static const struct capstan_host fake = {
  .struct_size = sizeof fake, .error = f_error, .retry_after = f_retry, .log = f_log,
  .progress = f_progress, .cancelled = f_cancelled, .cancel_fd = f_cancel_fd,
  .time_left_ms = f_left, .keep = f_keep, .secret = f_secret
};
const struct capstan_host *capstan_host_ = &fake;

static int
on_data (void *user, uint64_t offset, const void *p, size_t n)
{
  struct capstan_call *c = user;
  uint64_t one = 1;
  seen += n;
  if (seen >= cancel_at && !c->cancelled) {
    c->cancelled = 1;
    if (write (c->fd, &one, sizeof one) < 0)
      abort ();
  }
  /* To a file, where several come at once. */
  if (pwrite (1, p, n, (off_t) offset) != (ssize_t) n && write (1, p, n) != (ssize_t) n)
    abort ();
  return 0;
}

static int64_t
on_read (void *user, uint64_t offset, void *buf, size_t n)
{
  memset (buf, 'x', n);
  return (int64_t) n;
}

static int
on_done (void *user, const struct http_rsp *r, int rc)
{
  fprintf (stderr, "status %d\n", r->status);
  return rc;
}

int
main (int argc, char **argv)
{
  struct capstan_call call = { .fd = eventfd (0, EFD_CLOEXEC) };
  struct http_config config = { .agent = "capstan-test/1" };
  struct capstan_kv kv[8];
  struct http_auth auth = { 0 };
  struct http_req q = { .headers = kv, .on_data = on_data, .on_done = on_done, .user = &call,
                        .flags = HTTP_COUNT };
  struct http *h;
  unsigned long parts = 1;
  int o, rc, ask = 0;
  char *p;
  while ((o = getopt (argc, argv, "X:H:r:n:c:t:m:b:x:T:da")) != -1)
    switch (o) {
    case 'X': q.method = optarg; break;
    case 'H':
      p = strchr (optarg, ':');
      *p = '\0';
      kv[q.n_headers++] = (struct capstan_kv){ optarg, p + 1 };
      break;
    case 'r':
      q.flags |= HTTP_RANGE;
      q.first = strtoull (optarg, &p, 10);
      q.last = p[1] != '\0' ? strtoull (p + 1, NULL, 10) : UINT64_MAX;
      break;
    case 'n': parts = strtoul (optarg, NULL, 10); break;
    case 'c': config.ca = optarg; break;
    case 't': config.stall_s = (uint32_t) atoi (optarg); break;
    case 'm': q.max_size = strtoull (optarg, NULL, 10); break;
    case 'b': q.has_body = 1; q.read = on_read; q.body_size = strtoull (optarg, NULL, 10); break;
    case 'x': cancel_at = strtoull (optarg, NULL, 10); break;
    case 'T': call.token = optarg; break;
    case 'd': q.flags |= HTTP_DECODE; break;
    case 'a': ask = 1; break;
    default: return 99;
    }
  if (argv[optind] == NULL)
    return 99;
  if ((rc = http_url_base (&call, argv[optind], &q.url)) != 0 && strchr (argv[optind], '?') == NULL)
    return -rc;
  q.url = argv[optind];
  if ((rc = http_open (&call, &config, &h)) != 0)
    return -rc;
  if (ask) {
    http_auth_ask (h, &call, q.url, &auth);
    q.auth = &auth;
  }
  http_progress (h, "test", 0, 0);
  uint64_t first = q.first, step = (q.last - q.first + 1) / parts;
  for (unsigned long i = 0; i < parts && rc == 0; i++) {
    if (parts > 1) {
      q.first = first + i * step;
      q.last = q.first + step - 1;
    }
    rc = http_add (h, &call, &q);
  }
  if (rc == 0)
    rc = http_run (h, &call);
  if (rc == 0 && progressed != (q.has_body ? q.body_size : seen))
    rc = f_error (&call, CAPSTAN_E_INTERNAL, 0, "progress says something else");
  http_close (h);
  while (call.n_kept > 0)
    free (call.kept[--call.n_kept]);
  return -rc;
}
