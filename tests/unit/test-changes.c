/* Files that vanish or change while an image is built of them. Each change is made at a
 * known system call, which the linker hands to us first. SPDX-License-Identifier: BSD-3-Clause */
#include "config.h"
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "core/base/error.h"
#include "core/base/util.h"
#include "core/build/build.h"
#include "core/store/store.h"

/* At the `skip`-th time that `name` is opened (or, when `look`, looked at) relative to a
 * directory, `act` is called, before or after. */
static struct {
  const char *name;
  gboolean look, after;
  int skip;
  void (*act) (void);
} trap;

static void
spring (const char *name, gboolean look, gboolean after)
{
  if (!trap.act || look != trap.look || after != trap.after || strcmp (name, trap.name) != 0 ||
      trap.skip-- > 0)
    return;
  void (*act) (void) = trap.act;
  trap.act = NULL;
  act ();
}

int __real_openat (int, const char *, int, ...);
int __wrap_openat (int, const char *, int, ...);
int
__wrap_openat (int dir, const char *name, int flags, ...)
{
  spring (name, FALSE, FALSE);
  int fd = __real_openat (dir, name, flags); /* none of ours creates a file */
  spring (name, FALSE, TRUE);
  return fd;
}

int __real_fstatat (int, const char *, struct stat *, int);
int __wrap_fstatat (int, const char *, struct stat *, int);
int
__wrap_fstatat (int dir, const char *name, struct stat *st, int flags)
{
  spring (name, TRUE, FALSE);
  int r = __real_fstatat (dir, name, st, flags);
  spring (name, TRUE, TRUE);
  return r;
}

static void
write_text (const char *path, const char *text)
{
  assert_true (g_file_set_contents (path, text, -1, NULL));
}

static void vanish (void) { assert_int_equal (unlink ("app/dir/file"), 0); }
static void replace (void) { write_text ("app/dir/file", "another"); } /* a new inode */
static void shorten (void) { assert_int_equal (truncate ("app/dir/file", 3), 0); }
static void become_link (void) { vanish (); assert_int_equal (symlink ("x", "app/dir/file"), 0); }
static void lose_dir (void) { assert_int_equal (rename ("app/dir", "app/gone"), 0); }

static void
other_dir (void)
{
  lose_dir ();
  assert_int_equal (mkdir ("app/dir", 0755), 0);
  write_text ("app/dir/file", "other");
}

static void
grow (void)
{
  FILE *f = fopen ("app/dir/file", "a");
  assert_true (f && fputs ("more", f) >= 0 && fclose (f) == 0);
}

/* The same size, and even a time that looks old. */
static void
rewrite (void)
{
  FILE *f = fopen ("app/dir/file", "r+");
  assert_true (f && fputs ("NEW", f) >= 0 && fclose (f) == 0);
  const struct timespec t[2] = { { 1, 0 }, { 1, 0 } };
  assert_int_equal (utimensat (AT_FDCWD, "app/dir/file", t, 0), 0);
}

static void
prepare (gsize size)
{
  g_autofree char *data = g_strnfill (size, 'x');
  assert_true (cs_rmtree ("app", NULL));
  assert_int_equal (g_mkdir_with_parents ("app/dir", 0755), 0);
  assert_true (g_file_set_contents ("app/dir/file", data, (gssize) size, NULL));
  write_text ("app/dir/z", "z");
}

static void
assert_fails (const char *base, const char *want)
{
  g_autofree char *file = g_strdup_printf ("base: %s\ncmdline: /x\nrootfs: .\n", base);
  struct cs_build_opts o = { .dir = "app", .name = "image", .suffix = "qemu" };
  g_autoptr (GError) e = NULL;
  write_text ("app/Capstanfile", file);
  assert_false (cs_build (&o, NULL, &e));
  assert_null (trap.act); /* it happened */
  if (!strstr (e->message, want) || !strstr (e->message, "app/./dir"))
    fail_msg ("'%s' is not in: %s", want, e->message);
  assert_int_equal (cs_exit_status (e), 4);
  g_autofree char *image = cs_root_path ("repository", "image", NULL);
  assert_int_equal (access (image, F_OK), -1); /* nor anything temporary */
}

static void
test_changes (void **state)
{
  static const struct { const char *name; gboolean look, after; int skip; void (*act) (void);
                        const char *want; } cases[] = {
    { "file", TRUE, FALSE, 0, vanish, "vanished" },  /* after its directory was read */
    { "dir", FALSE, FALSE, 0, lose_dir, "vanished" },
    { "dir", FALSE, FALSE, 0, other_dir, "changed" }, /* after it was looked at */
    { "file", FALSE, FALSE, 0, vanish, "vanished" },  /* after it was planned */
    { "file", FALSE, FALSE, 0, replace, "changed" },
    { "file", FALSE, FALSE, 0, become_link, "changed" },
    { "file", FALSE, FALSE, 0, shorten, "changed" },
    { "file", FALSE, TRUE, 0, grow, "changed" },      /* while it is open */
    { "file", FALSE, TRUE, 0, rewrite, "changed" },
  };
  static const char *const bases[] = { "osv-loader", "linux" };
  static const gsize sizes[] = { 10, 1000000 };
  (void) state;
  for (guint b = 0; b < 2; b++)
    for (guint s = 0; s < 2; s++)
      for (guint k = 0; k < G_N_ELEMENTS (cases); k++) {
        prepare (sizes[s]);
        trap.name = cases[k].name;
        trap.look = cases[k].look;
        trap.after = cases[k].after;
        trap.skip = cases[k].skip;
        trap.act = cases[k].act;
        assert_fails (bases[b], cases[k].want);
      }
}

static void
make_base (const char *name, const char *index)
{
  g_autofree char *image = g_strconcat (name, ".qemu", NULL);
  g_autofree char *dir = cs_root_path ("repository", name, NULL);
  g_autofree char *path = g_build_filename (dir, image, NULL);
  g_autofree char *yaml = g_build_filename (dir, "index.yaml", NULL);
  char loader[65536] = "";
  memcpy (loader + 510, "\x55\xaa", 2);
  assert_int_equal (g_mkdir_with_parents (dir, 0755), 0);
  assert_true (g_file_set_contents (path, loader, sizeof loader, NULL));
  write_text (yaml, index);
}

static int
set_up (void **state)
{
  (void) state;
  make_base ("osv-loader", "format: raw\n");
  make_base ("linux", "format: raw\nguest: linux\n");
  cs_verbosity = CS_QUIET;
  return 0;
}

int
main (void)
{
  const struct CMUnitTest tests[] = { cmocka_unit_test (test_changes) };
  return cmocka_run_group_tests (tests, set_up, NULL);
}
