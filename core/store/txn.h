/* Inside the room. SPDX-License-Identifier: BSD-3-Clause */
#ifndef CS_TXN_H
#define CS_TXN_H
#include <glib.h>

struct cs_scan { /* what the folder of a name holds */
  gboolean index;
  gboolean commit, removal; /* one that is under way, or was interrupted */
  gboolean rest;       /* temporary files, or nothing at all */
  GPtrArray *suffixes; /* of char *: images of the name */
  GPtrArray *subs;     /* of char *: folders */
};
/* base: last part of the name; NULL: of none. */
gboolean cs_scan (int fd, const char *base, struct cs_scan *ret);
void cs_scan_clear (struct cs_scan *s);

/* Finishes what a crash interrupted; waits for whoever is at it. FALSE if that cannot be
 * done by us here (somebody else's store, a read-only one). */
gboolean cs_store_recover (const char *name);
/* The same, and removes what dead writers left; nothing if there is a living one. */
void cs_store_tidy (const char *name);
/* Somebody is writing an image of the name. */
gboolean cs_store_is_written (const char *name);
#endif
