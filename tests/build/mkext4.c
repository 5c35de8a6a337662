/* mkext4 DIR OUT [OFFSET]: a folder as ext4. mkext4 -r IMAGE OFFSET OUT: reads the ext4
 * there and writes it again at the start of OUT. For tests/cli/ext4.sh.
 * SPDX-License-Identifier: BSD-3-Clause */
#include "config.h"
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include "core/base/error.h"
#include "core/base/util.h"
#include "core/build/fs.h"

static gboolean
run (struct cs_tree *t, int argc, char **argv, GError **err)
{
  struct cs_fs_opts o = { 0 };
  struct cs_fs_result r = { 0 };
  struct stat st;
  cs_autofd int in = -1;
  gboolean again = argc == 5 && strcmp (argv[1], "-r") == 0;
  if (again) {
    guint64 at = g_ascii_strtoull (argv[3], NULL, 10);
    in = open (argv[2], O_RDONLY | O_CLOEXEC);
    if (in < 0 || fstat (in, &st) != 0 || (guint64) st.st_size < at)
      return cs_fail_errno (err, "open %s", argv[2]);
    if (!cs_ext4_read (t, in, at, (guint64) st.st_size - at, argv[2], err))
      return FALSE;
  } else if (!cs_tree_scan (t, "/", argv[1], NULL, err))
    return FALSE;
  const char *name = again ? argv[4] : argv[2];
  guint64 offset = !again && argc == 4 ? g_ascii_strtoull (argv[3], NULL, 10) : 0;
  cs_autofd int out = open (name, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  if (out < 0)
    return cs_fail_errno (err, "create %s", name);
  cs_tree_count (t);
  const char *size = g_getenv ("MKEXT4_SIZE");
  if (size != NULL)
    o.total_size = g_ascii_strtoull (size, NULL, 10);
  if (!cs_ext4_write (t, out, offset, name, &o, &r, err))
    return FALSE;
  g_print ("%" G_GUINT64_FORMAT " %" G_GUINT64_FORMAT "\n", r.size, r.data_bytes);
  return TRUE;
}

int
main (int argc, char **argv)
{
  g_autoptr (GError) err = NULL;
  if (argc < 3 || argc > 5) {
    g_printerr ("usage: mkext4 DIR OUT [OFFSET] | -r IMAGE OFFSET OUT\n");
    return 2;
  }
  struct cs_tree *t = cs_tree_new ();
  gboolean ok = run (t, argc, argv, &err);
  cs_tree_free (t);
  if (ok)
    return 0;
  g_printerr ("mkext4: %s\n", err->message);
  return 1;
}
