/* The parts of plugins/common/http that need no server. SPDX-License-Identifier: BSD-3-Clause */
#include "config.h"
#include "plugins/common/http-int.h"
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static char said[2048];
static uint32_t waits;

static int
f_error (struct capstan_call *c, uint32_t code, int err, const char *msg)
{
  snprintf (said, sizeof said, "%s", msg);
  return -(int) code;
}
static void
f_retry (struct capstan_call *c, uint32_t ms)
{
  waits = ms;
}
static const char *
f_keep (struct capstan_call *c, const char *s, size_t n)
{
  static char kept[4096];
  snprintf (kept, sizeof kept, "%.*s", n == SIZE_MAX ? (int) strlen (s) : (int) n, s);
  return kept;
}
static const struct capstan_host fake = { .struct_size = sizeof fake, .error = f_error,
                                          .retry_after = f_retry, .keep = f_keep };
const struct capstan_host *capstan_host_ = &fake;

static void
urls_of_users (void **state)
{
  const char *base = NULL;
  static const char *const bad[] = { "ftp://h/", "http:///x", "https://h/?a=b", "http://h/#f", "x" };
  assert_int_equal (http_url_base (NULL, "http://h/a", &base), 0);
  assert_string_equal (base, "http://h/a/");
  assert_int_equal (http_url_base (NULL, "HTTPS://h:8443/", &base), 0);
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
    assert_int_equal (http_url_base (NULL, bad[i], &base), -CAPSTAN_E_INVAL);
  assert_int_equal (http_url_base (NULL, "https://joe:sesame@h/", &base), -CAPSTAN_E_INVAL);
  assert_null (strstr (said, "sesame"));
}

static void
urls_shown (void **state)
{
  char out[40];
  static const char *const cases[][2] = {
    { "https://joe:pw@h/a?sig=x#y", "https://h/a" }, { "http://h/a@b", "http://h/a@b" },
    { "http://h/\x1b[31m", "http://h/?[31m" }, { "no url", "no url" } };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
    assert_string_equal (http_url_show (cases[i][0], out, sizeof out), cases[i][1]);
  http_url_show ("http://h/0123456789012345678901234567890123456789", out, sizeof out);
  assert_int_equal (strlen (out), 39);
}

static void
realms (void **state)
{
  char out[60];
  static const char *const cases[][2] = {
    { "https://Host.Example:443/Path/", "https://host.example/Path" },
    { "http://h:80/", "http://h" }, { "http://h:8080/a/b?q", "http://h:8080/a/b" },
    { "https://h:80/", "https://h:80" }, { "http://joe@h", "http://h" }, { "h", "" } };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    http_url_realm (cases[i][0], out, sizeof out);
    assert_string_equal (out, cases[i][1]);
  }
}

static void
origins (void **state)
{
  assert_true (http_url_same_origin ("http://h/a", "http://H:80/b"));
  assert_false (http_url_same_origin ("http://h/", "https://h/"));
  assert_false (http_url_same_origin ("http://h/", "http://h:81/"));
  assert_false (http_url_same_origin ("http://h/", "http://h.evil/"));
  assert_false (http_url_same_origin ("http://h/", "/x"));
  assert_true (http_url_loopback ("http://127.0.0.1:80/"));
  assert_true (http_url_loopback ("http://[::1]/"));
  assert_false (http_url_loopback ("http://127.evil.example/"));
  assert_false (http_url_loopback ("http://localhost.example/"));
}

static void
escapes (void **state)
{
  struct buf b = { 0 };
  http_url_add (&b, "http://h/", "a b/ü?#%.gz~");
  assert_string_equal (buf_str (&b), "http://h/a%20b/%C3%BC%3F%23%25.gz~");
  buf_free (&b);
  http_url_escape (&b, "a/b+c=", 0);
  assert_string_equal (buf_str (&b), "a%2Fb%2Bc%3D");
  buf_free (&b);
}

static void
follows (void **state)
{
  static const struct { const char *from, *to, *url; int rc; } cases[] = {
    { "http://h/a/b", "c", "http://h/a/c", 0 }, { "http://h/a/b", "/c?x=y", "http://h/c?x=y", 0 },
    { "http://h/a", "//other/c", "http://other/c", 0 }, { "http://h/a", "https://h/a", "https://h/a", 0 },
    { "https://h/a", "http://h/a", NULL, -CAPSTAN_E_UNTRUSTED },
    { "http://h/a", "ftp://h/a", NULL, -CAPSTAN_E_UNTRUSTED },
    { "http://h/a", "file:///etc/passwd", NULL, -CAPSTAN_E_UNTRUSTED },
    { "http://h/a", "http://joe:pw@h/b", "http://h/b", 0 },
    { "http://h/a", "http://", NULL, -CAPSTAN_E_NET } };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    char *url = NULL;
    assert_int_equal (http_url_follow (NULL, cases[i].from, cases[i].to, &url), cases[i].rc);
    if (cases[i].url != NULL)
      assert_string_equal (url, cases[i].url);
    free (url);
  }
}

static void
lines (struct http_rsp *r, const char *text)
{
  for (const char *p = text; *p != '\0'; p += strcspn (p, "\n") + 1)
    http_rsp_line (r, p, strcspn (p, "\n") + 1);
}

static void
headers (void **state)
{
  struct http_rsp r = { 0 };
  lines (&r, "HTTP/1.1 100 Continue\r\nX-Old: 1\r\nHTTP/2 206 \r\nETag:  \"a\"\r\nno colon\r\n: empty\r\n"
             "Content-Range: bytes 5-9/20\r\nContent-Length: 5\r\nETAG: \"b\"\r\n");
  assert_int_equal (r.status, 206);
  assert_null (http_header (&r, "x-old"));
  assert_string_equal (http_etag (&r), "\"a\"");
  assert_int_equal (http_rsp_sizes (&r), 0);
  assert_int_equal (r.first, 5);
  assert_int_equal (r.size, 5);
  assert_int_equal (r.total, 20);
  http_rsp_clear (&r);
  lines (&r, "HTTP/1.1 200 OK\r\nETag: W/\"a\"\r\n");
  assert_null (http_etag (&r));
  assert_int_equal (http_rsp_sizes (&r), 0);
  assert_true (r.size == UINT64_MAX && r.total == UINT64_MAX);
  http_rsp_clear (&r);
  for (int i = 0; i < 1000; i++) /* no more than a hundred are kept */
    http_rsp_line (&r, "A: b\r\n", 6);
  assert_int_equal (r.n_headers, HTTP_HEADERS);
  http_rsp_clear (&r);
}

static void
bad_sizes (void **state)
{
  static const char *const bad[] = {
    "HTTP/1.1 200 OK\nContent-Length: -1\n", "HTTP/1.1 200 OK\nContent-Length: 5x\n",
    "HTTP/1.1 200 OK\nContent-Length: 99999999999999999999\n", "HTTP/1.1 206 OK\n",
    "HTTP/1.1 206 OK\nContent-Range: bytes 9-5/20\n", "HTTP/1.1 206 OK\nContent-Range: bytes 5-9/9\n",
    "HTTP/1.1 206 OK\nContent-Range: bytes 5-9/20\nContent-Length: 6\n",
    "HTTP/1.1 206 OK\nContent-Range: pages 5-9/20\n", "HTTP/1.1 206 OK\nContent-Range: bytes 5-\n" };
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    struct http_rsp r = { 0 };
    lines (&r, bad[i]);
    assert_int_equal (http_rsp_sizes (&r), -1);
    http_rsp_clear (&r);
  }
}

static int
error_of (const char *head, const char *body)
{
  struct http_rsp r = { .url = strdup ("http://joe@h/f?sig=secret") };
  lines (&r, head);
  r.body = strdup (body);
  r.body_len = strlen (body);
  waits = 0;
  int rc = http_status_error (NULL, "PUT", &r);
  http_rsp_clear (&r);
  return rc;
}

static void
errors (void **state)
{
  static const struct { int status; uint32_t code; } codes[] = {
    { 304, CAPSTAN_E_NOT_MODIFIED }, { 401, CAPSTAN_E_AUTH }, { 404, CAPSTAN_E_NOTFOUND },
    { 412, CAPSTAN_E_CONFLICT }, { 418, CAPSTAN_E_INVAL }, { 501, CAPSTAN_E_UNSUPPORTED },
    { 507, CAPSTAN_E_QUOTA }, { 599, CAPSTAN_E_NET } };
  for (size_t i = 0; i < sizeof codes / sizeof *codes; i++) {
    char head[40];
    snprintf (head, sizeof head, "HTTP/1.1 %d X\n", codes[i].status);
    assert_int_equal (error_of (head, ""), -(int) codes[i].code);
  }
  error_of ("HTTP/1.1 403 X\nContent-Type: application/xml\n",
            "<?xml?><Error>\n<Code>No</Code>\n<Message>\x1b[1mdenied\x07</Message></Error>");
  assert_string_equal (said, "PUT http://h/f: 403 Forbidden: No [1mdenied");
  error_of ("HTTP/1.1 403 X\nContent-Type: text/html; charset=x\n", "<html>a long page</html>");
  assert_string_equal (said, "PUT http://h/f: 403 Forbidden");
  char *much = calloc (1, 4001);
  memset (much, 'x', 4000);
  error_of ("HTTP/1.1 500 X\n", much);
  assert_true (strlen (said) < 300);
  free (much);
}

static void
pauses (void **state)
{
  assert_int_equal (error_of ("HTTP/1.1 503 X\nRetry-After: 3\n", ""), -CAPSTAN_E_BUSY);
  assert_int_equal (waits, 3000);
  error_of ("HTTP/1.1 429 X\nRetry-After: Wed, 21 Oct 2015 07:28:00 GMT\n", "");
  assert_int_equal (waits, 0);
  error_of ("HTTP/1.1 429 X\nRetry-After: Fri, 31 Dec 2100 00:00:00 GMT\n", "");
  assert_int_equal (waits, 86400000);
  error_of ("HTTP/1.1 503 X\nRetry-After: 99999999999999999\n", "");
  assert_int_equal (waits, 86400000);
  error_of ("HTTP/1.1 503 X\nRetry-After: soon\n", "");
  assert_int_equal (waits, 0);
}

int
main (void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test (urls_of_users), cmocka_unit_test (urls_shown), cmocka_unit_test (realms),
    cmocka_unit_test (origins), cmocka_unit_test (escapes), cmocka_unit_test (follows),
    cmocka_unit_test (headers), cmocka_unit_test (bad_sizes), cmocka_unit_test (errors),
    cmocka_unit_test (pauses) };
  return cmocka_run_group_tests (tests, NULL, NULL);
}
