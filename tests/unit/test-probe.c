/* Headers of image files: made by hand with one thing wrong each, and those that qemu-img
 * makes. SPDX-License-Identifier: BSD-3-Clause */
#include "config.h"
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "core/base/error.h"
#include "core/base/spawn.h"
#include "core/base/util.h"
#include "core/store/store.h"

enum { DISK = 8 << 20 };
static guint8 image[3 << 20];
static gsize image_len;

static void
put_be (gsize at, int n, guint64 v)
{
  for (int i = n; i-- > 0; v >>= 8)
    image[at + (gsize) i] = (guint8) v;
}

static void
put_le (gsize at, int n, guint64 v)
{
  for (int i = 0; i < n; i++, v >>= 8)
    image[at + (gsize) i] = (guint8) v;
}

static void
put (gsize at, const char *text)
{
  memcpy (image + at, text, strlen (text));
}

/* Probes `image`; want NULL: it must be refused, for the reason `why`. */
static void
probe (const char *want, guint flags, const char *why)
{
  g_autoptr (GError) err = NULL;
  guint64 size = 77;
  cs_autofd int fd = open ("disk", O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  assert_true (cs_write_all (fd, image, image_len, "disk", NULL));
  const char *got = cs_image_probe (fd, "disk", flags, &size, &err);
  if (want != NULL && got == NULL)
    fail_msg ("%s", err->message);
  if (want != NULL) {
    assert_string_equal (got, want);
    assert_int_equal (size, DISK);
    return;
  }
  if (got != NULL)
    fail_msg ("taken as %s, but it should be refused: %s", got, why);
  assert_int_equal (size, 77);
  if (strstr (err->message, why) == NULL || strstr (err->message, "disk") == NULL)
    fail_msg ("'%s' is not in: %s", why, err->message);
}

struct bad { gsize at; int n; guint64 v; const char *why; };

/* Each of the changes by itself is refused. */
static void
each (void (*make) (void), void (*set) (gsize, int, guint64), const struct bad *bad, gsize n,
      const char *format)
{
  make ();
  probe (format, 0, NULL);
  for (gsize i = 0; i < n; i++) {
    make ();
    set (bad[i].at, bad[i].n, bad[i].v);
    probe (NULL, 0, bad[i].why);
  }
}

/* Clusters of 64 KiB: header, refcount table, refcount block, L1, L2. */
static void
make_qcow2 (void)
{
  memset (image, 0, sizeof image);
  image_len = 5 * 65536;
  put (0, "QFI\xfb");
  put_be (4, 4, 3);
  put_be (20, 4, 16);
  put_be (24, 8, DISK);
  put_be (36, 4, 1);
  put_be (40, 8, 3 * 65536);
  put_be (48, 8, 65536);
  put_be (56, 4, 1);
  put_be (96, 4, 4);
  put_be (100, 4, 104);
  put_be (65536, 8, 2 * 65536);
  put_be (3 * 65536, 8, G_GUINT64_CONSTANT (1) << 63 | 4 * 65536);
}

static void
qcow2 (void **state)
{
  static const struct bad bad[] = {
    { 4, 4, 1, "version 1" }, { 4, 4, 9, "version 9" }, { 8, 8, 512, "backing file" },
    { 20, 4, 63, "absurd" }, { 20, 4, 8, "absurd" }, { 20, 4, 22, "absurd" },
    { 24, 8, G_GUINT64_CONSTANT (1) << 62, "absurd" }, { 24, 8, 0, "absurd" },
    { 24, 8, G_GUINT64_CONSTANT (1) << 44, "L1" }, /* more than its L1 table maps */
    { 32, 4, 1, "encrypted" }, { 32, 4, 2, "encrypted" },
    { 36, 4, 0xffffffff, "beyond the end" }, { 36, 4, 0x10000, "beyond the end" },
    { 40, 8, G_GUINT64_CONSTANT (1) << 40, "beyond the end" }, { 40, 8, 0, "beyond the end" },
    { 40, 8, 3 * 65536 + 512, "beyond the end" }, /* not at a cluster */
    { 48, 8, G_GUINT64_CONSTANT (0x7fff) << 48, "beyond the end" }, { 48, 8, 0, "beyond the end" },
    { 56, 4, 0xffffffff, "beyond the end" }, { 56, 4, 0, "beyond the end" },
    { 60, 8, G_GUINT64_CONSTANT (1) << 32, "beyond the end" }, /* a snapshot nowhere */
    { 72, 8, 2, "corrupt" }, { 72, 8, 4, "another file" }, { 72, 8, 1 << 5, "not known here" },
    { 72, 8, G_GUINT64_CONSTANT (1) << 63, "not known here" },
    { 96, 4, 7, "absurd" }, /* refcount order */
    { 100, 4, 0xff000000, "absurd" }, { 100, 4, 96, "absurd" }, { 100, 4, 108, "absurd" },
    { 65536, 8, G_GUINT64_CONSTANT (1) << 40, "beyond the end" },
    { 65536 + 8, 8, G_MAXUINT64, "beyond the end" },
    { 3 * 65536, 8, G_GUINT64_CONSTANT (1) << 40, "beyond the end" } };
  each (make_qcow2, put_be, bad, G_N_ELEMENTS (bad), "qcow2");
  make_qcow2 ();
  put_be (100, 4, 112);
  put_be (104, 1, 1);
  put_be (72, 8, 8);
  probe ("qcow2", 0, NULL); /* zstd */
  put_be (104, 1, 2);
  probe (NULL, 0, "not known here");
  make_qcow2 (); /* our own overlay */
  put_be (8, 8, 512);
  put_be (16, 4, 1);
  probe ("qcow2", CS_PROBE_BACKING, NULL);
  image_len = 4 * 65536;
  probe (NULL, CS_PROBE_BACKING, "beyond the end"); /* the L2 table */
  image_len = 1000;
  probe (NULL, CS_PROBE_BACKING, "beyond the end");
  make_qcow2 (); /* version 2 has no features */
  put_be (4, 4, 2);
  put_be (72, 8, G_MAXUINT64);
  probe ("qcow2", 0, NULL);
}

static void
make_vdi (void)
{
  memset (image, 0, sizeof image);
  image_len = (1 << 20) + (1 << 20);
  put (0, "<<< Oracle VM VirtualBox Disk Image >>>\n");
  put_le (64, 4, 0xbeda107f);
  put_le (68, 4, 0x00010001);
  put_le (72, 4, 400);
  put_le (76, 4, 1);
  put_le (340, 4, 1024);
  put_le (344, 4, 1 << 20);
  put_le (360, 4, 512);
  put_le (368, 8, DISK);
  put_le (376, 4, 1 << 20);
  put_le (384, 4, 8);
  put_le (388, 4, 1);
  memset (image + 1024, 0xff, 8 * 4);
  put_le (1024, 4, 0);
}

static void
vdi (void **state)
{
  static const char *const fit = "does not fit";
  const struct bad bad[] = {
    { 68, 4, 0x00020000, "version" }, { 76, 4, 4, "depends on another" }, { 76, 4, 3, "depends on another" },
    { 424, 4, 1, "depends on another" }, { 440, 4, 1, "depends on another" },
    { 340, 4, 0, fit }, { 340, 4, 1000, fit }, { 340, 4, 0xfffffe00, fit }, { 344, 4, 1024, fit },
    { 344, 4, 0xfffffe00, fit }, { 360, 4, 4096, fit }, { 368, 8, 0, fit },
    { 368, 8, G_MAXUINT64, fit }, { 368, 8, DISK + 1, fit }, { 376, 4, 4096, fit }, { 376, 4, 0, fit },
    { 380, 4, 16, fit }, { 384, 4, 0xffffffff, fit }, { 384, 4, 7, fit }, { 388, 4, 9, fit },
    { 388, 4, 2, fit }, /* the second block is not in the file */
    { 1024, 4, 1, "beyond the end" }, { 1028, 4, 0xfffffffd, "beyond the end" } };
  each (make_vdi, put_le, bad, G_N_ELEMENTS (bad), "vdi");
  make_vdi ();
  put_le (1028, 4, 0xfffffffe); /* zeros */
  put_le (76, 4, 2);
  probe ("vdi", 0, NULL);
}

#define ALONE "# Disk DescriptorFile\nversion=1\nCID=1\nparentCID=ffffffff\n"

/* Description in sector 1, grain directory in 21, one grain table in 22. */
static void
make_vmdk (void)
{
  memset (image, 0, sizeof image);
  image_len = 128 * 512;
  put (0, "KDMV");
  put_le (4, 4, 1);
  put_le (8, 4, 3);
  put_le (12, 8, DISK / 512);
  put_le (20, 8, 128);
  put_le (28, 8, 1);
  put_le (36, 8, 20);
  put_le (44, 4, 512);
  put_le (56, 8, 21);
  put_le (64, 8, 128);
  put (73, "\n \r\n");
  put (512, ALONE "RW 16384 SPARSE \"disk\"\n");
  put_le (21 * 512, 4, 22);
}

static void
vmdk_says (const char *text, const char *why)
{
  make_vmdk ();
  memset (image + 512, 0, 20 * 512);
  put (512, text);
  probe (why == NULL ? "vmdk" : NULL, 0, why);
}

static void
vmdk (void **state)
{
  static const char *const fit = "does not fit";
  const struct bad bad[] = {
    { 4, 4, 0, fit }, { 4, 4, 4, fit }, { 73, 1, '\r', "line ends" }, { 12, 8, 0, fit },
    { 12, 8, G_GUINT64_CONSTANT (1) << 60, fit }, { 20, 8, 0, fit }, { 20, 8, 100, fit },
    { 20, 8, G_GUINT64_CONSTANT (1) << 40, fit }, { 28, 8, G_MAXUINT64, fit }, { 28, 8, 0, fit },
    { 28, 8, 120, fit }, { 36, 8, 0xffffff, fit }, { 36, 8, G_MAXUINT64, fit }, { 44, 4, 1024, fit },
    { 56, 8, 0, fit }, { 56, 8, 128, fit }, { 56, 8, G_MAXUINT64, "footer" },
    { 21 * 512, 4, 0xffffffff, "beyond the end" } };
  each (make_vmdk, put_le, bad, G_N_ELEMENTS (bad), "vmdk");
  vmdk_says (ALONE "RW 16384 SPARSE \"disk\"\n", NULL);
  vmdk_says ("CID=1\nparentCID=12345678\nRW 16384 SPARSE \"disk\"\n", "depends on another");
  vmdk_says (ALONE "parentFileNameHint=\"/etc/passwd\"\n", "depends on another");
  vmdk_says (ALONE "PARENTFILENAMEHINT = \"/etc/passwd\"\n", "depends on another");
  vmdk_says (ALONE "RW 16384 FLAT \"/etc/passwd\" 0\n", "other files");
  vmdk_says (ALONE "rdonly 16384 VMFS \"other\"\n", "other files");
  vmdk_says (ALONE "RW 1 SPARSE \"a\"\nRW 1 SPARSE \"b\"\n", "other files");
  /* the description lies elsewhere, and behind the header stands what QEMU looks for */
  make_vmdk ();
  memcpy (image + 40 * 512, image + 512, 20 * 512);
  memset (image + 512, 0, 20 * 512);
  put_le (28, 8, 40);
  probe ("vmdk", 0, NULL);
  put (512, "parentFileNameHint=\"/etc/passwd\"\n");
  probe (NULL, 0, "depends on another");
  /* streamOptimized */
  make_vmdk ();
  put_le (56, 8, G_MAXUINT64);
  memcpy (image + 126 * 512, image, 512);
  put_le (126 * 512 + 56, 8, 21);
  probe ("vmdk", 0, NULL);
  put_le (126 * 512 + 12, 8, 7);
  probe (NULL, 0, "footer");
}

static void
others (void **state)
{
  static const struct { gsize at; const char *magic, *why; } known[] = {
    { 0, "conectix", "VHD" }, { DISK / 8 - 512, "conectix", "VHD" }, { 0, "vhdxfile", "VHDX" },
    { 0, "COWD", "VMDK" }, { 0, "# Disk DescriptorFile\nRW 1 FLAT \"/etc/passwd\" 0\n", "description of a VMDK" },
    { 0, "QED", "QED" }, { 0, "WithoutFreeSpace", "Parallels" }, { 0, "LUKS\xba\xbe", "encrypted" },
    { 0, "\x1f\x8b\x08", "compressed: gunzip" }, { 0, "\xfd" "7zXZ", "compressed" }, { 0, "BZh", "compressed" },
    { 0, "\x28\xb5\x2f\xfd", "compressed" }, { 0, "PK\3\4", "zip" }, { 0, "\x7f" "ELF", "program" },
    { 257, "ustar", "tar" } };
  for (gsize i = 0; i < G_N_ELEMENTS (known); i++) {
    memset (image, 0, sizeof image);
    image_len = DISK / 8;
    put (510, "\x55\xaa");
    put (known[i].at, known[i].magic);
    probe (NULL, CS_PROBE_BARE, known[i].why);
  }
  memset (image, 0, sizeof image);
  probe (NULL, 0, "--format raw");
  image_len = 1;
  probe (NULL, 0, "smaller than one sector");
}

static void
raw (void **state)
{
  guint64 size = 0;
  g_autoptr (GError) err = NULL;
  cs_autofd int fd = open ("raw", O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  assert_int_equal (ftruncate (fd, 100), 0);
  assert_null (cs_image_probe (fd, "raw", 0, &size, NULL));
  assert_string_equal (cs_image_probe (fd, "raw", CS_PROBE_BARE, &size, NULL), "raw");
  assert_int_equal (size, 100);
  assert_int_equal (ftruncate (fd, DISK), 0);
  assert_true (cs_pwrite_all (fd, "\x55\xaa", 2, 510, "raw", NULL));
  assert_string_equal (cs_image_probe (fd, "raw", 0, &size, NULL), "raw");
  assert_int_equal (size, DISK);
  if (ftruncate (fd, G_GINT64_CONSTANT (1) << 47) != 0)
    return; /* the file system has no such files */
  assert_null (cs_image_probe (fd, "raw", 0, &size, &err));
  assert_non_null (strstr (err->message, "64 TiB"));
}

/* What qemu-img makes is taken. */
static void
of_qemu_img (void **state)
{
  static const char *const kinds[][2] = {
    { "qcow2", "compat=0.10" }, { "qcow2", "compat=1.1" }, { "qcow2", "cluster_size=512" },
    { "qcow2", "cluster_size=2M" }, { "qcow2", "refcount_bits=1" }, { "qcow2", "lazy_refcounts=on" },
    { "qcow2", "extended_l2=on,cluster_size=128k" }, { "qcow2", "compression_type=zstd" },
    { "qcow2", "preallocation=metadata" }, { "vdi", "static=off" }, { "vdi", "static=on" },
    { "vmdk", "subformat=monolithicSparse" }, { "vmdk", "subformat=streamOptimized" } };
  g_autofree char *program = g_find_program_in_path ("qemu-img");
  if (program == NULL)
    skip ();
  for (gsize i = 0; i < G_N_ELEMENTS (kinds); i++) {
    struct cs_spawn s = CS_SPAWN_INIT;
    g_autoptr (GError) err = NULL;
    guint64 size;
    unlink ("made");
    s.argv = (const char *const[]) { "qemu-img", "create", "-q", "-f", kinds[i][0], "-o", kinds[i][1],
                                     "made", "8M", NULL };
    if (!cs_spawn_check (&s, &err))
      fail_msg ("%s", err->message);
    cs_spawn_clear (&s);
    cs_autofd int fd = open ("made", O_RDONLY | O_CLOEXEC);
    if (cs_image_probe (fd, "made", 0, &size, &err) == NULL)
      fail_msg ("%s %s: %s", kinds[i][0], kinds[i][1], err->message);
    assert_int_equal (size, DISK);
  }
}

int
main (void)
{
  const struct CMUnitTest tests[] = { cmocka_unit_test (qcow2),  cmocka_unit_test (vdi),
                                      cmocka_unit_test (vmdk),   cmocka_unit_test (others),
                                      cmocka_unit_test (raw),    cmocka_unit_test (of_qemu_img) };
  return cmocka_run_group_tests (tests, NULL, NULL);
}
