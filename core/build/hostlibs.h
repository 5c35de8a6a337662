/* Where the host has a shared library. SPDX-License-Identifier: BSD-3-Clause */
#ifndef CS_HOSTLIBS_H
#define CS_HOSTLIBS_H
#include <glib.h>

/* The path that a ld.so.cache (64-bit x86) has for a name, or NULL; g_free. Nothing in the
 * cache is trusted. */
char *cs_ld_cache_find (const guint8 *cache, gsize n, const char *name);

struct cs_hostlibs; /* the cache and the directories of this host, read once */
struct cs_hostlibs *cs_hostlibs_new (void);
void cs_hostlibs_free (struct cs_hostlibs *h);
/* A 64-bit x86 library of this name, or NULL; g_free. `musl`: as its loader looks. */
char *cs_hostlibs_find (struct cs_hostlibs *h, const char *name, gboolean musl);
/* Does the file hold code for this machine? */
gboolean cs_hostlibs_usable (const char *path);
#endif
