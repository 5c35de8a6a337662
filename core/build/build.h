/* A Capstanfile becomes an image in the store. SPDX-License-Identifier: BSD-3-Clause */
#ifndef CS_BUILD_H
#define CS_BUILD_H
#include <glib.h>

struct cs_build_opts {
  const char *file;   /* NULL: Capstanfile in dir */
  const char *dir;    /* NULL: the current one */
  /* Without a Capstanfile: files and directories for "/", on this base. */
  char *const *paths; guint n_paths; /* 0: there is a Capstanfile */
  const char *base, *cmdline, *fs;
  guint64 size;       /* of the disk; 0: as the Capstanfile says, or as needed */
  const char *name;   /* NULL: the directory's name, lower-cased */
  const char *format; /* "raw", "qcow2"; NULL: as the base */
  const char *suffix; /* "qemu": of the hypervisor the image is for */
  const char *const *env, *const *env_files; /* over what the Capstanfile has; or NULL */
  gboolean force, replace_root, dry_run, with_libs, skip_special;
};
/* *ret_name: the image's name; g_free. Prints its progress and the size account. */
gboolean cs_build (const struct cs_build_opts *o, char **ret_name, GError **err);
#endif
