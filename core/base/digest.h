/* SHA-256. SPDX-License-Identifier: BSD-3-Clause */
#ifndef CS_DIGEST_H
#define CS_DIGEST_H
#include <glib.h>

/* What hashes, if it can be loaded; for the test of what happens if not. */
extern const char *cs_libcrypto;

enum { CS_HEX_SHA256 = 65 }; /* 64 digits and the NUL */
struct cs_sha256;
struct cs_sha256 *cs_sha256_new (void);
void cs_sha256_add (struct cs_sha256 *c, const void *buf, gsize n);
void cs_sha256_end (struct cs_sha256 *c, char hex[CS_HEX_SHA256]);
void cs_sha256_free (struct cs_sha256 *c);
/* Of the whole file. Counts as progress; stops when cancelled; g_free. */
char *cs_sha256_file (int fd, const char *name, GError **err);
#endif
