/* Runs each target on the files of its corpus, so that what fuzzing found stays found with any
 * compiler. replay [TARGET FILE]. SPDX-License-Identifier: BSD-3-Clause */
#include "config.h"
#include "core/base/util.h"
#include "tests/fuzz/fuzz.h"
#include <stdio.h>
#include <string.h>

static void
replay (const struct fuzz_target *t, const char *path)
{
  gsize n;
  g_autofree char *data = cs_read_file (path, 16 << 20, &n, NULL);
  if (data == NULL)
    g_error ("%s cannot be read", path);
  printf ("%s %s\n", t->name, path); /* names the culprit, should it end here */
  fflush (stdout);
  fuzz_run (t, data, n);
}

int
main (int argc, char **argv)
{
  const char *top = g_getenv ("top_srcdir");
  g_autofree char *corpus = g_build_filename (top != NULL ? top : ".", "tests/fuzz/corpus", NULL);
  fuzz_init ();
  for (const struct fuzz_target *t = fuzz_targets; t->name != NULL; t++) {
    g_autofree char *dir = g_build_filename (corpus, t->name, NULL);
    g_autoptr (GDir) d = g_dir_open (dir, 0, NULL);
    guint n = 0;
    if (argc == 3 && strcmp (t->name, argv[1]) == 0)
      replay (t, argv[2]);
    for (const char *name; argc == 1 && d != NULL && (name = g_dir_read_name (d)) != NULL; n++) {
      g_autofree char *path = g_build_filename (dir, name, NULL);
      replay (t, path);
    }
    if (argc == 1 && n == 0)
      g_error ("%s has no files", dir);
  }
  fuzz_end ();
  return 0;
}
