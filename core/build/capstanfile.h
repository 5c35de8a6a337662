/* The Capstanfile: what an image is made of. SPDX-License-Identifier: BSD-3-Clause */
#ifndef CS_CAPSTANFILE_H
#define CS_CAPSTANFILE_H
#include <glib.h>
#include "core/build/tree.h"

struct cs_capstanfile_entry {
  char *dst;  /* absolute path in the image */
  char *src;  /* path or pattern on the host, as it can be opened */
  gsize text; /* of src, from where on it is as in the Capstanfile */
  char *rel;  /* the same for .capstanignore: "/sub/x"; NULL outside of the directory */
  guint line; /* 0: of no file */
  gboolean set_owner; guint32 uid, gid;
  int perm;   /* -1: as it is */
};
struct cs_capstanfile {
  char *path, *dir; /* of the file; what it names is relative to dir. path NULL: no file */
  char *text;       /* whole, for the fingerprint */
  char *base, *cmdline;
  char *build;      /* shell text, or NULL */
  guint build_line;
  char *rootfs;     /* path on the host, or NULL where there is none */
  char *rootfs_rel; /* as `rel` above */
  guint rootfs_line; /* 0: the default ROOTFS */
  GPtrArray *env;   /* of char *: "NAME=VALUE" */
  char *guest, *fs; /* what the base has to be, or NULL */
  guint64 size;     /* of the disk; 0: as needed */
  GPtrArray *files; /* of struct cs_capstanfile_entry * in the order of the file */
};
struct cs_capstanfile *cs_capstanfile_load (const char *path, GError **err);
/* As if a Capstanfile named these files and contents of directories, each for "/". */
struct cs_capstanfile *cs_capstanfile_of_paths (const char *base, const char *cmdline,
                                                char *const *paths, guint n, GError **err);
void cs_capstanfile_free (struct cs_capstanfile *c);
/* Runs `build:` with /bin/sh; its output goes where ours goes. */
gboolean cs_capstanfile_run_build (const struct cs_capstanfile *c, GError **err);
/* Puts rootfs, then files, into t. Looks at the host only now, after the build. `missing`,
 * if it is not NULL, gets lines about what is not there, which is then no error. */
gboolean cs_capstanfile_scan (const struct cs_capstanfile *c, struct cs_tree *t,
                              CsSpecial special, GPtrArray *missing, GError **err);
#endif
