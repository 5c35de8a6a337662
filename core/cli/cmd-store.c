/* images, info, import, rmi, config: what shows and changes the store.
 * SPDX-License-Identifier: BSD-3-Clause */
#include "config.h"
#include "core/base/cancel.h"
#include "core/base/error.h"
#include "core/base/util.h"
#include "core/cli/cmd.h"
#include "core/store/store.h"
#include "core/vm/instance.h"
#include <fcntl.h>
#include <jansson.h>
#include <string.h>
#include <sys/stat.h>

static json_t *
image_json (const struct cs_image *i)
{
  json_t *o = json_object ();
  cs_json_set (o, "name", i->name);
  cs_json_set (o, "hypervisor", i->suffix);
  cs_json_set (o, "path", i->path);
  cs_json_set (o, "format", i->index->format);
  cs_json_set (o, "guest", i->index->guest != NULL ? i->index->guest : "osv");
  cs_json_set (o, "fs", i->index->fs);
  cs_json_set (o, "base", i->index->base);
  cs_json_set (o, "cmdline", i->index->cmdline);
  cs_json_set (o, "version", i->index->version);
  cs_json_set (o, "created", i->index->created);
  cs_json_set (o, "description", i->index->description);
  cs_json_set (o, "build", i->index->build);
  cs_json_set (o, "platform", i->index->platform);
  cs_json_set (o, "sha256", i->index->sha256);
  json_object_set_new (o, "size", json_integer ((json_int_t) (i->index->size != 0 ? i->index->size : i->file_size)));
  json_object_set_new (o, "allocated", json_integer ((json_int_t) i->allocated));
  return o;
}

static gboolean
run_images (struct cs_cli *cli, GError **err)
{
  gboolean as_json = cs_cli_flag (cli, "json");
  g_autoptr (GPtrArray) list = as_json ? cs_store_list (err) : cs_store_list_quick (err);
  if (list == NULL)
    return FALSE;
  if (as_json) {
    json_t *a = json_array ();
    for (guint i = 0; i < list->len; i++)
      json_array_append_new (a, image_json (g_ptr_array_index (list, i)));
    return cs_print_json (a, err);
  }
  g_autofree char *head = cs_image_line (NULL, NULL);
  puts (head);
  for (guint i = 0; i < list->len; i++) {
    const struct cs_image *im = g_ptr_array_index (list, i);
    /* one line a name, whatever hypervisors it is for */
    if (i > 0 && strcmp (im->name, ((struct cs_image *) g_ptr_array_index (list, i - 1))->name) == 0)
      continue;
    g_autofree char *line = cs_image_line (im->name, im->index);
    puts (line);
  }
  return TRUE;
}

static const struct cs_opt json_opts[] = {
  { .name = "json", .type = CS_OPT_FLAG, .help = "print JSON" }, { .name = NULL } };
const struct cs_cmd cs_cmd_images = { .name = "images", .alias = "i", .args = "",
  .summary = "List the images", .opts = json_opts, .run = run_images,
  .text = "Lists the images of the store, in the columns of the original. --json says more, one "
          "entry for each hypervisor that an image is for; capstan df says what they take." };

static gboolean
print_info (json_t *o, gboolean as_json, GError **err)
{
  const char *key;
  json_t *v;
  if (as_json)
    return cs_print_json (o, err);
  json_object_foreach (o, key, v) {
    if (json_is_integer (v))
      printf ("%-12s %" JSON_INTEGER_FORMAT "\n", key, json_integer_value (v));
    else
      printf ("%-12s %s\n", key, json_is_true (v) ? "yes" : json_is_false (v) ? "no" : json_string_value (v));
  }
  json_decref (o);
  return TRUE;
}

static gboolean
info_file (const char *path, gboolean as_json, GError **err)
{
  guint64 size = 0;
  struct stat st;
  guint8 sector[512] = { 0 };
  cs_autofd int fd = open (path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
  if (fd < 0)
    return cs_fail_errno (err, "open %s", path);
  const char *format = cs_image_probe (fd, path, CS_PROBE_BARE, &size, err);
  if (format == NULL)
    return FALSE;
  if (fstat (fd, &st) != 0 || pread (fd, sector, sizeof sector, 0) < 0)
    return cs_fail_errno (err, "read %s", path);
  json_t *o = json_object ();
  cs_json_set (o, "path", path);
  cs_json_set (o, "format", format);
  json_object_set_new (o, "size", json_integer ((json_int_t) size));
  json_object_set_new (o, "allocated", json_integer ((json_int_t) st.st_blocks * 512));
  if (strcmp (format, "raw") == 0)
    json_object_set_new (o, "boot_sector", json_boolean (sector[510] == 0x55 && sector[511] == 0xaa));
  return print_info (o, as_json, err);
}

static gboolean
run_info (struct cs_cli *cli, GError **err)
{
  const char *what = cs_cli_arg (cli, 0);
  gboolean as_json = cs_cli_flag (cli, "json");
  if (strchr (what, '/') != NULL || g_str_has_prefix (what, "."))
    if (g_file_test (what, G_FILE_TEST_IS_REGULAR))
      return info_file (what, as_json, err);
  g_autoptr (GError) e = NULL;
  struct cs_image *i = cs_store_find (what, NULL, &e);
  if (i == NULL && g_file_test (what, G_FILE_TEST_IS_REGULAR))
    return info_file (what, as_json, err);
  if (i == NULL) {
    g_propagate_error (err, g_steal_pointer (&e));
    return FALSE;
  }
  json_t *o = image_json (i);
  cs_image_free (i);
  return print_info (o, as_json, err);
}
const struct cs_cmd cs_cmd_info = { .name = "info", .args = "FILE|NAME",
  .summary = "Show what an image is", .opts = json_opts, .min_args = 1, .max_args = 1,
  .comp = CS_COMP_IMAGE, .run = run_info,
  .text = "Shows what is known of an image of the store, or of a disk image file." };

static const char *
probe_for_import (int fd, const char *file, const char *forced, guint64 *size, GError **err)
{
  struct stat st;
  if (g_strcmp0 (forced, "raw") != 0) {
    const char *format = cs_image_probe (fd, file, 0, size, err);
    if (format == NULL || forced == NULL || strcmp (forced, format) == 0)
      return format;
    return cs_fail_null (err, CAPSTAN_E_INVAL, "%s is %s, not %s", file, format, forced);
  }
  if (fstat (fd, &st) != 0)
    return cs_fail_errno_null (err, "stat %s", file);
  if (!S_ISREG (st.st_mode) || st.st_size == 0 || st.st_size % 512 != 0)
    return cs_fail_null (err, CAPSTAN_E_INVAL,
                         "%s: a raw disk is a file of whole 512-byte sectors", file);
  *size = (guint64) st.st_size;
  return "raw";
}

static struct cs_index *
import_index (struct cs_cli *cli, const char *format, guint64 size)
{
  struct cs_index *x = cs_index_new ();
  g_autoptr (GDateTime) now = g_date_time_new_now_utc ();
  x->version = g_strdup (cs_cli_str (cli, "v"));
  x->created = cs_cli_given (cli, "created") ? g_strdup (cs_cli_str (cli, "created"))
                                             : g_date_time_format (now, "%Y-%m-%dT%H:%M:%SZ");
  x->description = g_strdup (cs_cli_str (cli, "description"));
  x->build = g_strdup (cs_cli_str (cli, "build"));
  x->format = g_strdup (format);
  x->guest = g_strdup (cs_cli_str (cli, "guest"));
  x->size = size;
  g_autofree char *shown = cs_time_show (x->created);
  if (strcmp (shown, "N/A") == 0)
    cs_warn ("--created %s: capstan images shows only times like 2024-05-06T07:08:09Z or "
             "'2024-05-06 07:08'", x->created);
  return x;
}

static gboolean
run_import (struct cs_cli *cli, GError **err)
{
  const char *name = cs_cli_arg (cli, 0), *file = cs_cli_arg (cli, 1);
  guint64 size = 0;
  if (!cs_name_check ("image name", name, FALSE, err))
    return FALSE;
  /* a FIFO would not open until somebody writes */
  cs_autofd int in = open (file, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
  if (in < 0)
    return cs_fail_errno (err, "open %s", file);
  const char *format = probe_for_import (in, file, cs_cli_str (cli, "format"), &size, err);
  if (format == NULL)
    return FALSE;
  cs_cancel_on_signals ();
  struct cs_store_txn *t = cs_store_begin (name, cs_cli_suffix (cli), err);
  if (t == NULL)
    return FALSE;
  struct cs_index *x = import_index (cli, format, size);
  gboolean ok = (x->sha256 = cs_store_copy_in (t, in, file, err)) != NULL;
  if (ok)
    ok = cs_store_commit (t, x, err);
  else
    cs_store_abort (t);
  cs_index_free (x);
  if (ok)
    cs_info ("imported %s as %s (%s)", file, name, format);
  return ok;
}
static const struct cs_opt import_opts[] = {
  { .short_name = 'v', .name = "v", .type = CS_OPT_STRING, .arg = "VERSION", .help = "version of the image" },
  { .short_name = 'c', .name = "created", .type = CS_OPT_STRING, .arg = "DATE", .help = "when it was made (now)" },
  { .short_name = 'd', .name = "description", .type = CS_OPT_STRING, .arg = "TEXT", .help = "what it is" },
  { .short_name = 'b', .name = "build", .type = CS_OPT_STRING, .arg = "TEXT", .help = "how it was built" },
  { .name = "format", .type = CS_OPT_CHOICE, .arg = "FORMAT", .choices = "raw|qcow2|vdi|vmdk", .help = "what the file must be" },
  { .name = "guest", .type = CS_OPT_CHOICE, .arg = "GUEST", .choices = "osv|linux", .def = "osv", .help = "what kind of base it is" },
  { .name = NULL } };
const struct cs_cmd cs_cmd_import = { .name = "import", .args = "NAME FILE",
  .summary = "Take a disk image into the store", .opts = import_opts, .min_args = 2,
  .max_args = 2, .comp = CS_COMP_FILE, .run = run_import,
  .text = "Copies a disk image into the store under a name, to be run or to be a base. Its "
          "header is read strictly: an image that needs other files is refused.",
  .examples = "capstan import osv-loader loader.img" };

static gboolean
run_rmi (struct cs_cli *cli, GError **err)
{
  for (guint i = 0; i < cli->args->len; i++)
    if (!cs_name_check ("image name", cs_cli_arg (cli, i), TRUE, err))
      return FALSE;
  for (guint i = 0; i < cli->args->len; i++) {
    const char *name = cs_cli_arg (cli, i);
    if (!cs_store_remove (name, cs_instance_using, err))
      return FALSE;
    cs_info ("removed %s", name);
  }
  return TRUE;
}
const struct cs_cmd cs_cmd_rmi = { .name = "rmi", .args = "NAME...", .summary = "Remove images",
  .min_args = 1, .max_args = -1, .comp = CS_COMP_IMAGE, .run = run_rmi,
  .text = "Removes images from the store. One that an instance uses stays." };

static gboolean
run_config_print (struct cs_cli *cli, GError **err)
{
  static const struct { const char *key, *env, *def; } keys[] = {
    { "hypervisor", "CAPSTAN_HYPERVISOR", "kvm" }, { "repo", "CAPSTAN_REPO", "" },
    { "repo_url", "CAPSTAN_REPO_URL", "" }, { "libvirt_uri", "CAPSTAN_LIBVIRT_URI", "" },
    { "disable_kvm", "CAPSTAN_DISABLE_KVM", "false" },
    { "qemu_aio_type", "CAPSTAN_QEMU_AIO_TYPE", "threads" } };
  printf ("CAPSTAN_ROOT: %s (%s)\n", cs_root (),
          g_getenv ("CAPSTAN_ROOT") != NULL ? "environment" : "default");
  for (guint i = 0; i < G_N_ELEMENTS (keys); i++) {
    const char *e = g_getenv (keys[i].env), *c = cs_config (keys[i].key);
    gboolean file_first = strcmp (keys[i].key, "repo_url") == 0; /* as in the original */
    const char *v = file_first && c != NULL ? c : e != NULL && *e != '\0' ? e : c != NULL ? c : keys[i].def;
    printf ("%s: %s%s(%s)\n", keys[i].key, v, *v != '\0' ? " " : "",
            v == keys[i].def ? "default" : v == c ? "config.yaml" : keys[i].env);
  }
  return TRUE;
}
static const struct cs_cmd cmd_print = { .name = "print", .args = "", .run = run_config_print,
  .summary = "Show the settings", .text = "Shows each setting, and where its value comes from." };
static const struct cs_cmd *const config_subs[] = { &cmd_print, NULL };
const struct cs_cmd cs_cmd_config = { .name = "config", .args = "", .summary = "Show the settings",
  .sub = config_subs };
