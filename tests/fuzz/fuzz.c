/* What is read from foreign bytes, as targets of libFuzzer. CAPSTAN_FUZZ_TARGET chooses one;
 * replay.c runs all of them on the corpus. SPDX-License-Identifier: BSD-3-Clause */
#include "config.h"
#include "core/base/error.h"
#include "core/base/util.h"
#include "core/base/yaml.h"
#include "core/build/capstanfile.h"
#include "core/build/cmdline.h"
#include "core/build/elf.h"
#include "core/build/fs.h"
#include "core/build/glob.h"
#include "core/build/ignore.h"
#include "core/build/mbr.h"
#include "core/repo/manifest.h"
#include "core/store/store.h"
#include "core/vm/instance.h"
#include "tests/fuzz/fuzz.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#define CHECK(x)                                                                         \
  do {                                                                                   \
    if (!(x)) {                                                                          \
      fprintf (stderr, "line %d, not so: %s\n", __LINE__, #x);                           \
      abort ();                                                                          \
    }                                                                                    \
  } while (0)

static int
file_of (const void *data, gsize n)
{
  int fd = memfd_create ("fuzz", MFD_CLOEXEC);
  CHECK (fd >= 0 && cs_write_all (fd, data, n, "fuzz", NULL));
  return fd;
}

static char *
path_of (int fd)
{
  return g_strdup_printf ("/proc/self/fd/%d", fd);
}

static void
fuzz_probe (const char *data, gsize n)
{
  guint64 size;
  cs_autofd int fd = file_of (data, n);
  for (guint flags = 0; flags < 4; flags++)
    cs_image_probe (fd, "file", flags, &size, NULL);
}

/* The quick reader of flat files means the same as that of all of YAML, and what is written
 * is read back. */
static void
fuzz_index (const char *data, gsize n)
{
  static const char notice[] = "# \xc3\xa9\n"; /* not for the quick one */
  struct cs_index *x = cs_index_parse (data, n, "index.yaml", NULL);
  if (x == NULL)
    return;
  g_autofree char *text = cs_index_text (x);
  g_autofree char *slow_text = g_strconcat (notice, data, NULL);
  if (strlen (data) == n && g_ascii_isalpha (*data)) {
    struct cs_index *slow = cs_index_parse (slow_text, strlen (slow_text), "index.yaml", NULL);
    CHECK (slow != NULL);
    g_autofree char *other = cs_index_text (slow);
    CHECK (strcmp (text, other) == 0);
    cs_index_free (slow);
  }
  struct cs_index *again = cs_index_parse (text, strlen (text), "index.yaml", NULL);
  CHECK (again != NULL);
  cs_index_select (x, "vbox");
  cs_index_add (again, x, "qemu");
  g_autofree char *line = cs_image_line ("name", again);
  CHECK (strpbrk (line, "\n\r\033") == NULL);
  cs_index_free (again);
  cs_index_free (x);
}

static void
fuzz_yaml (const char *data, gsize n)
{
  g_autoptr (CsYaml) y = cs_yaml_parse (data, n, "config.yaml", NULL);
  const char *value = y != NULL ? cs_yaml_str (y, "hypervisor") : NULL;
  if (value == NULL)
    return;
  GString *s = g_string_new (NULL);
  cs_yaml_put (s, "key", value);
  g_autoptr (CsYaml) again = cs_yaml_parse (s->str, s->len, "again", NULL);
  CHECK (again != NULL && strcmp (cs_yaml_str (again, "key"), value) == 0);
  g_string_free (s, TRUE);
}

static void
fuzz_manifest (const char *data, gsize n)
{
  g_autoptr (cs_manifest) m = cs_manifest_parse (data, n, "index.yaml", NULL);
  if (m == NULL)
    return;
  g_autofree char *text = cs_manifest_text (m);
  g_autoptr (cs_manifest) again = cs_manifest_parse (text, strlen (text), "index.yaml", NULL);
  CHECK (again != NULL);
}

static void
fuzz_capstanfile (const char *data, gsize n)
{
  cs_autofd int fd = file_of (data, n);
  g_autofree char *path = path_of (fd);
  cs_capstanfile_free (cs_capstanfile_load (path, NULL));
}

/* The first line is a command line, a pattern, a size; the second what is held against it;
 * the rest a .capstanignore. */
static void
fuzz_text (const char *data, gsize n)
{
  static const char *const env[] = { "A=b c", NULL };
  static const char *const guests[] = { "osv", "linux" };
  g_auto (GStrv) line = g_strsplit (data, "\n", 3);
  guint64 size;
  if (g_strv_length (line) < 3)
    return;
  for (guint i = 0; i < G_N_ELEMENTS (guests); i++)
    g_free (cs_cmdline_make (env, line[0], guests[i], NULL));
  g_free (cs_cmdline_replace_app (line[0], line[1]));
  g_ptr_array_unref (cs_cmdline_programs (line[0]));
  g_free (cs_cmdline_option (line[0], "env=A"));
  cs_glob_match (line[0], line[1], FALSE);
  g_free (cs_time_show (line[1]));
  cs_size_parse (line[0], 1, &size, NULL);
  cs_name_check ("name", line[0], TRUE, NULL);
  struct cs_ignore *g = cs_ignore_parse (line[2], ".capstanignore", NULL);
  if (g != NULL)
    cs_ignore_has (g, line[1], FALSE);
  cs_ignore_free (g);
}

static void
fuzz_disk (const char *data, gsize n)
{
  struct cs_part parts[4];
  cs_autofd int fd = file_of (data, n);
  cs_mbr_read (fd, "disk", parts, NULL);
  g_free (cs_cmdline_read (fd, "disk", NULL));
}

static void
fuzz_elf (const char *data, gsize n)
{
  struct cs_elf e;
  cs_autofd int fd = file_of (data, n);
  cs_elf_read (fd, NULL, &e);
  cs_elf_clear (&e);
}

/* Reads all files of the tree, and then writes it as an image. */
static void
use_tree (struct cs_tree *t)
{
  enum { MAX = 1 << 20 };
  g_autofree char *buf = g_malloc (MAX);
  guint64 total = 0;
  for (guint i = 0; i < t->inodes->len; i++) {
    struct cs_inode *x = g_ptr_array_index (t->inodes, i);
    if (!S_ISREG (x->type))
      continue;
    total += MIN (x->size, MAX + 1);
    cs_source_read (x, buf, MAX, NULL);
  }
  if (total > MAX)
    return;
  struct cs_fs_opts o = { 0 };
  struct cs_fs_result r;
  cs_autofd int out = memfd_create ("out", MFD_CLOEXEC);
  cs_tree_count (t);
  if (cs_rofs_write (t, out, 0, "out", &o, &r, NULL)) {
    g_autoptr (cs_tree) again = cs_tree_new ();
    CHECK (cs_rofs_read (again, out, 0, r.size, "out", NULL));
  }
}

static void
fuzz_fs (cs_fs_read_fn *read_fs, const char *data, gsize n)
{
  cs_autofd int fd = file_of (data, n);
  g_autoptr (cs_tree) t = cs_tree_new ();
  if (read_fs (t, fd, 0, n, "image", NULL))
    use_tree (t);
}

static void
fuzz_rofs (const char *data, gsize n)
{
  fuzz_fs (cs_rofs_read, data, n);
}

static void
fuzz_ext4 (const char *data, gsize n)
{
  fuzz_fs (cs_ext4_read, data, n);
}

static void
fuzz_instance (const char *data, gsize n)
{
  static char *record, *control;
  int status;
  if (record == NULL) {
    g_autofree char *dir = cs_root_path ("instances", "qemu", "vm", NULL);
    CHECK (cs_mkdirs (dir, 0755, NULL));
    record = g_build_filename (dir, "instance.yaml", NULL);
    control = g_build_filename (dir, "control.log", NULL);
  }
  CHECK (g_file_set_contents (record, data, (gssize) n, NULL));
  CHECK (g_file_set_contents (control, data, (gssize) n, NULL));
  g_autoptr (cs_instance) i = cs_instance_find ("vm", NULL, NULL);
  if (i != NULL)
    cs_instance_exit_status (i, &status);
}

const struct fuzz_target fuzz_targets[] = {
  { "probe", fuzz_probe }, { "index", fuzz_index }, { "yaml", fuzz_yaml },
  { "manifest", fuzz_manifest }, { "capstanfile", fuzz_capstanfile }, { "text", fuzz_text },
  { "disk", fuzz_disk }, { "elf", fuzz_elf }, { "rofs", fuzz_rofs }, { "ext4", fuzz_ext4 },
  { "instance", fuzz_instance }, { NULL, NULL } };

void
fuzz_run (const struct fuzz_target *t, const void *data, gsize n)
{
  g_autofree char *text = g_malloc (n + 1); /* with a NUL behind it, as files are read */
  if (n > 0)
    memcpy (text, data, n);
  text[n] = '\0';
  t->run (text, n);
}

void
fuzz_init (void)
{
  g_autofree char *root = g_build_filename (g_get_tmp_dir (), "capstan-fuzz.XXXXXX", NULL);
  CHECK (g_mkdtemp (root) != NULL);
  g_setenv ("CAPSTAN_ROOT", root, TRUE);
  cs_verbosity = CS_QUIET - 1;
}

void
fuzz_end (void)
{
  cs_rmtree (cs_root (), NULL);
}
