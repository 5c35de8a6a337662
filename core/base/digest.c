/* SPDX-License-Identifier: BSD-3-Clause */
#include "config.h"
#include "core/base/digest.h"
#include "core/base/cancel.h"
#include "core/base/error.h"
#include "core/base/progress.h"
#include <dlfcn.h>
#include <openssl/evp.h>
#include <unistd.h>

enum { CHUNK = 512 * 1024 };

/* libcrypto, five times as fast as GLib, is loaded when something is hashed: linked, it
 * takes more of the program's start than all other libraries. */
#ifdef OPENSSL_SHLIB_VERSION
const char *cs_libcrypto = "libcrypto.so." G_STRINGIFY (OPENSSL_SHLIB_VERSION);
#else
const char *cs_libcrypto = "libcrypto.so." SHLIB_VERSION_NUMBER;
#endif
static struct {
  __typeof__ (EVP_MD_CTX_new) *ctx_new;
  __typeof__ (EVP_MD_CTX_free) *ctx_free;
  __typeof__ (EVP_sha256) *sha256;
  __typeof__ (EVP_DigestInit_ex) *init;
  __typeof__ (EVP_DigestUpdate) *update;
  __typeof__ (EVP_DigestFinal_ex) *final;
} evp;

struct cs_sha256 {
  EVP_MD_CTX *ctx;
  GChecksum *slow; /* where there is no libcrypto */
};

static gboolean
load (void)
{
  static gsize state; /* 1: there, 2: not */
  static const char *const names[] = { "EVP_MD_CTX_new", "EVP_MD_CTX_free", "EVP_sha256",
                                       "EVP_DigestInit_ex", "EVP_DigestUpdate",
                                       "EVP_DigestFinal_ex" };
  if (g_once_init_enter (&state)) {
    void *lib = dlopen (cs_libcrypto, RTLD_NOW | RTLD_LOCAL);
    gsize found = lib != NULL ? 1 : 2;
    G_STATIC_ASSERT (sizeof evp == G_N_ELEMENTS (names) * sizeof (void *));
    for (guint k = 0; found == 1 && k < G_N_ELEMENTS (names); k++)
      if ((((void **) (void *) &evp)[k] = dlsym (lib, names[k])) == NULL)
        found = 2;
    g_once_init_leave (&state, found);
  }
  return state == 1;
}

struct cs_sha256 *
cs_sha256_new (void)
{
  struct cs_sha256 *c = g_new0 (struct cs_sha256, 1);
  if (load () && (c->ctx = evp.ctx_new ()) != NULL &&
      evp.init (c->ctx, evp.sha256 (), NULL) == 1)
    return c;
  if (c->ctx != NULL)
    evp.ctx_free (c->ctx);
  c->ctx = NULL;
  c->slow = g_checksum_new (G_CHECKSUM_SHA256);
  return c;
}

void
cs_sha256_add (struct cs_sha256 *c, const void *buf, gsize n)
{
  if (c->ctx != NULL)
    evp.update (c->ctx, buf, n);
  else
    g_checksum_update (c->slow, buf, (gssize) n);
}

void
cs_sha256_end (struct cs_sha256 *c, char hex[CS_HEX_SHA256])
{
  unsigned char md[EVP_MAX_MD_SIZE];
  gsize n = sizeof md;
  if (c->ctx != NULL) {
    unsigned int len = 0;
    evp.final (c->ctx, md, &len);
    n = len;
  } else
    g_checksum_get_digest (c->slow, md, &n);
  for (gsize i = 0; i < n; i++)
    g_snprintf (hex + 2 * i, 3, "%02x", md[i]);
}

void
cs_sha256_free (struct cs_sha256 *c)
{
  if (c == NULL)
    return;
  if (c->ctx != NULL)
    evp.ctx_free (c->ctx);
  if (c->slow != NULL)
    g_checksum_free (c->slow);
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
