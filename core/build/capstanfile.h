/* The Capstanfile: what an image is made of. SPDX-License-Identifier: BSD-3-Clause */
#ifndef CS_CAPSTANFILE_H
#define CS_CAPSTANFILE_H
#include <glib.h>
#include "core/build/tree.h"

struct cs_capstanfile_entry {
  char *dst;  /* absolute path in the image */
  char *src;  /* path on the host, as it can be opened */
  guint line;
};
struct cs_capstanfile {
  char *path, *dir; /* of the file; what it names is relative to dir */
  char *text;       /* whole, for the fingerprint */
  char *base, *cmdline;
  char *build;      /* shell text, or NULL */
  guint build_line;
  char *rootfs;     /* path on the host, or NULL where there is none */
  guint rootfs_line; /* 0: the default ROOTFS */
  GPtrArray *files; /* of struct cs_capstanfile_entry * in the order of the file */
};
struct cs_capstanfile *cs_capstanfile_load (const char *path, GError **err);
void cs_capstanfile_free (struct cs_capstanfile *c);
/* Runs `build:` with /bin/sh; its output goes where ours goes. */
gboolean cs_capstanfile_run_build (const struct cs_capstanfile *c, GError **err);
/* Puts rootfs, then files, into t. Looks at the host only now, after the build. */
gboolean cs_capstanfile_scan (const struct cs_capstanfile *c, struct cs_tree *t,
                              GError **err);
#endif
