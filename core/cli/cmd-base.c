/* capstan base: makes the embedded bases. SPDX-License-Identifier: BSD-3-Clause
 *
 * A base is made by a program libexec/base-NAME/make-base, which writes a raw disk and
 * prints "KEY VALUE" lines for its index. */
#include "config.h"
#include "core/base/error.h"
#include "core/base/spawn.h"
#include "core/base/util.h"
#include "core/cli/cmd.h"
#include "core/store/store.h"
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

static char *
libexec (const char *base, const char *file)
{
  const char *dir = g_getenv ("CAPSTAN_LIBEXEC");
  g_autofree char *sub = g_strconcat ("base-", base, NULL);
  return g_build_filename (dir != NULL ? dir : PKGLIBEXECDIR, sub, file, NULL);
}

static void
index_line (struct cs_index *x, const char *key, const char *value)
{
  guint64 n = g_ascii_strtoull (value, NULL, 10);
  if (strcmp (key, "kernel_offset") == 0)
    x->kernel_offset = n;
  else if (strcmp (key, "kernel_length") == 0)
    x->kernel_length = n;
  else if (strcmp (key, "initrd_offset") == 0)
    x->initrd_offset = n;
  else if (strcmp (key, "initrd_length") == 0)
    x->initrd_length = n;
  else if (strcmp (key, "kernel_args") == 0)
    x->kernel_args = g_strdup (value);
  else if (strcmp (key, "version") == 0)
    x->version = g_strdup (value);
}

static struct cs_index *
make_index (const char *base, const char *out, int fd)
{
  struct cs_index *x = cs_index_new ();
  struct stat st;
  g_auto (GStrv) lines = g_strsplit (out, "\n", 0);
  for (char **l = lines; *l != NULL; l++) {
    char *space = strchr (*l, ' ');
    if (space == NULL)
      continue;
    *space = '\0';
    index_line (x, *l, space + 1);
  }
  g_autoptr (GDateTime) now = g_date_time_new_now_utc ();
  x->created = g_date_time_format (now, "%Y-%m-%dT%H:%M:%SZ");
  x->description = g_strdup_printf ("embedded %s base", base);
  x->format = g_strdup ("raw");
  x->guest = g_strdup (base);
  if (fstat (fd, &st) == 0)
    x->size = (guint64) st.st_size;
  return x;
}

static gboolean
run_make (struct cs_cli *cli, GError **err)
{
  const char *base = cs_cli_arg (cli, 0);
  const char *name = cs_cli_given (cli, "name") ? cs_cli_str (cli, "name") : base;
  double start = cs_now ();
  if (!cs_name_check ("base", base, FALSE, err) || !cs_name_check ("image name", name, FALSE, err))
    return FALSE;
  g_autofree char *script = libexec (base, "make-base");
  g_autofree char *init = libexec (base, "init");
  if (!g_file_test (script, G_FILE_TEST_IS_EXECUTABLE))
    return cs_fail (err, CAPSTAN_E_NOTFOUND,
                    "there is no embedded base '%s' here (package capstan-base-%s; looked for %s)", base,
                    base, script);
  if (cs_cli_given (cli, "kernel") != cs_cli_given (cli, "modules"))
    return cs_fail (err, CS_E_USAGE, "--kernel FILE and --modules DIR go together");
  if (cs_cli_given (cli, "kernel") && cs_cli_given (cli, "deb"))
    return cs_fail (err, CS_E_USAGE, "give either --deb, or --kernel and --modules");
  struct cs_store_txn *txn = cs_store_begin (name, cs_cli_suffix (cli), err);
  if (txn == NULL)
    return FALSE;
  g_autoptr (GPtrArray) argv = g_ptr_array_new ();
  const char *first[] = { script, "--init", init, "--output", txn->path };
  static const char *const passed[] = { "--kernel", "--modules", "--deb" };
  for (guint i = 0; i < G_N_ELEMENTS (first); i++)
    g_ptr_array_add (argv, (gpointer) first[i]);
  for (guint i = 0; i < G_N_ELEMENTS (passed); i++)
    if (cs_cli_given (cli, passed[i] + 2)) {
      g_ptr_array_add (argv, (gpointer) passed[i]);
      g_ptr_array_add (argv, (gpointer) cs_cli_str (cli, passed[i] + 2));
    }
  g_ptr_array_add (argv, NULL);
  struct cs_spawn s = CS_SPAWN_INIT;
  s.argv = (const char *const *) argv->pdata;
  if (!cs_spawn_check (&s, err)) {
    cs_store_abort (txn);
    cs_spawn_clear (&s);
    return FALSE;
  }
  struct cs_index *x = make_index (base, s.out, txn->fd);
  g_autofree char *size = cs_size_format (x->size);
  g_autofree char *version = g_strdup (x->version);
  gboolean ok = cs_store_commit (txn, x, err);
  cs_index_free (x);
  cs_spawn_clear (&s);
  if (ok)
    cs_info ("made base %s: %s, kernel %s, in %.1f s", name, size,
             version != NULL ? version : "unknown", cs_now () - start);
  return ok;
}

static const struct cs_opt make_opts[] = {
  { .name = "kernel", .type = CS_OPT_STRING, .arg = "FILE", .comp = CS_COMP_FILE,
    .help = "kernel to use instead of the distribution's cloud kernel" },
  { .name = "modules", .type = CS_OPT_STRING, .arg = "DIR", .comp = CS_COMP_DIR,
    .help = "modules of that kernel, like /lib/modules/VERSION" },
  { .name = "deb", .type = CS_OPT_STRING, .arg = "FILE", .comp = CS_COMP_FILE,
    .help = "kernel package to unpack instead of downloading one" },
  { .name = "name", .type = CS_OPT_STRING, .arg = "NAME",
    .help = "name of the image in the store (that of the base)" },
  { .name = NULL }
};
static const struct cs_cmd cmd_make = {
  .name = "make", .args = "BASE", .summary = "Make an embedded base",
  .text = "Makes the base image BASE, of which there is one: linux. It boots the "
          "distribution's own kernel: on Debian the package behind linux-image-cloud-amd64 "
          "is downloaded and unpacked, not installed. No root is needed.",
  .examples = "capstan base make linux\n"
              "capstan base make linux --kernel /boot/vmlinuz-6.1.0 --modules /lib/modules/6.1.0",
  .min_args = 1, .max_args = 1, .comp = CS_COMP_BASE, .opts = make_opts, .run = run_make
};
/* Images that hold a kernel and no application. */
static gboolean
run_list (struct cs_cli *cli, GError **err)
{
  g_autoptr (GPtrArray) images = cs_store_list (err);
  if (images == NULL)
    return FALSE;
  gboolean have_linux = FALSE;
  printf ("%-24s %-6s %-10s %s\n", "NAME", "GUEST", "SIZE", "VERSION");
  for (guint i = 0; i < images->len; i++) {
    const struct cs_image *im = g_ptr_array_index (images, i);
    const struct cs_index *x = im->index;
    const char *guest = x->guest != NULL ? x->guest : "osv";
    if (x->fs != NULL || x->kernel_length == 0)
      continue;
    g_autofree char *size = cs_size_format (im->file_size);
    printf ("%-24s %-6s %-10s %s\n", im->name, guest, size,
            x->version != NULL ? x->version : "-");
    have_linux = have_linux || strcmp (guest, "linux") == 0;
  }
  if (!have_linux)
    cs_info ("linux is not made yet: %s base make linux", cli->prog);
  return TRUE;
}

static const struct cs_cmd cmd_list = {
  .name = "list", .args = "", .summary = "List bases that are made",
  .text = "Lists the images of the store that hold a kernel for a direct boot and no "
          "application: those that capstan base make wrote.",
  .max_args = 0, .run = run_list
};
static const struct cs_cmd *const subs[] = { &cmd_make, &cmd_list, NULL };
const struct cs_cmd cs_cmd_base = {
  .name = "base", .args = "", .summary = "Make bases to build on",
  .text = "Bases are images that others are built on.", .max_args = 0, .sub = subs
};
