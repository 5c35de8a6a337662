/* A pull under way: pull.c and arrive.c. SPDX-License-Identifier: BSD-3-Clause */
#ifndef CS_PULL_H
#define CS_PULL_H
#include "core/repo/download.h"
#include "core/repo/room.h"

struct pull {
  struct cs_repo *r;
  const struct cs_pull_opts *o;
  const char *as;
  struct cs_entry *entry;
  struct cs_manifest *m;
  const struct capstan_file *file; /* the image */
  struct cs_wire *want;
  char *label; /* "app of https://..." */
  struct cs_pulled result;
};

/* Is what is asked for in the store? By its digest; where nobody gives one, by what the
 * repository calls its state. Fills in p->result then. */
gboolean cs_pull_is_here (struct pull *p);
/* The same bytes under another name of the store: copied, and checked while they are. */
gboolean cs_pull_copy (struct pull *p);
/* What was fetched, once its header and its history are right, as the image p->as. */
gboolean cs_pull_commit (struct pull *p, struct cs_download *d, GError **err);
#endif
