/* SPDX-License-Identifier: BSD-3-Clause */
#include "config.h"
#include "core/base/digest.h"
#include "core/base/cancel.h"
#include "core/base/error.h"
#include "core/base/progress.h"
#include <openssl/evp.h>
#include <unistd.h>

enum { CHUNK = 512 * 1024 };

struct cs_sha256 { EVP_MD_CTX *ctx; };

struct cs_sha256 *
cs_sha256_new (void)
{
  struct cs_sha256 *c = g_new0 (struct cs_sha256, 1);
  c->ctx = EVP_MD_CTX_new ();
  if (c->ctx == NULL || EVP_DigestInit_ex (c->ctx, EVP_sha256 (), NULL) != 1)
    g_error ("libcrypto has no SHA-256");
  return c;
}

void
cs_sha256_add (struct cs_sha256 *c, const void *buf, gsize n)
{
  EVP_DigestUpdate (c->ctx, buf, n);
}

void
cs_sha256_end (struct cs_sha256 *c, char hex[CS_HEX_SHA256])
{
  unsigned char md[EVP_MAX_MD_SIZE];
  unsigned int n = 0;
  EVP_DigestFinal_ex (c->ctx, md, &n);
  for (unsigned int i = 0; i < n; i++)
    g_snprintf (hex + 2 * i, 3, "%02x", md[i]);
}

void
cs_sha256_free (struct cs_sha256 *c)
{
  if (c == NULL)
    return;
  EVP_MD_CTX_free (c->ctx);
  g_free (c);
}

char *
cs_sha256_file (int fd, const char *name, GError **err)
{
  g_autofree char *buf = g_malloc (CHUNK), *hex = g_malloc (CS_HEX_SHA256);
  struct cs_sha256 *c = cs_sha256_new ();
  off_t off = 0;
  ssize_t r;
  while ((r = pread (fd, buf, CHUNK, off)) > 0 && !cs_cancelled ()) {
    cs_sha256_add (c, buf, (gsize) r);
    cs_progress_add ((guint64) r);
    off += r;
  }
  if (r == 0)
    cs_sha256_end (c, hex);
  cs_sha256_free (c);
  if (r < 0)
    return cs_fail_errno_null (err, "read %s", name);
  if (r > 0)
    return cs_fail_null (err, CAPSTAN_E_CANCELLED, "cancelled");
  return g_steal_pointer (&hex);
}
