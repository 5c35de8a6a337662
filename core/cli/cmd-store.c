/* images, info, import, rmi, config: what shows and changes the store.
 * SPDX-License-Identifier: BSD-3-Clause */
#include "config.h"
#include "core/base/error.h"
#include "core/base/util.h"
#include "core/cli/cmd.h"
#include "core/store/store.h"
#include "core/vm/instance.h"
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <openssl/evp.h>
#include <string.h>
#include <sys/stat.h>

static const char *
or_na (const char *s)
{
  return s != NULL && *s != '\0' ? s : "N/A";
}

static void
set (json_t *o, const char *key, const char *value)
{
  if (value != NULL)
    json_object_set_new (o, key, json_string (value));
}

static json_t *
image_json (const struct cs_image *i)
{
  json_t *o = json_object ();
  set (o, "name", i->name);
  set (o, "hypervisor", i->suffix);
  set (o, "path", i->path);
  set (o, "format", i->index->format);
  set (o, "guest", i->index->guest != NULL ? i->index->guest : "osv");
  set (o, "fs", i->index->fs);
  set (o, "base", i->index->base);
  set (o, "cmdline", i->index->cmdline);
  set (o, "version", i->index->version);
  set (o, "created", i->index->created);
  set (o, "description", i->index->description);
  set (o, "build", i->index->build);
  set (o, "platform", i->index->platform);
  set (o, "sha256", i->index->sha256);
  json_object_set_new (o, "size", json_integer ((json_int_t) (i->index->size != 0 ? i->index->size : i->file_size)));
  json_object_set_new (o, "allocated", json_integer ((json_int_t) i->allocated));
  return o;
}

static gboolean
run_images (struct cs_cli *cli, GError **err)
{
  g_autoptr (GPtrArray) list = cs_store_list (err);
  if (list == NULL)
    return FALSE;
  if (cs_cli_flag (cli, "json")) {
    json_t *a = json_array ();
    for (guint i = 0; i < list->len; i++)
      json_array_append_new (a, image_json (g_ptr_array_index (list, i)));
    return cs_print_json (a, err);
  }
  printf ("%-30s %-10s %-6s %-9s %-20s %-20s %s\n", "Name", "Hypervisor", "Guest", "Size",
          "Version", "Created", "Description");
  for (guint i = 0; i < list->len; i++) {
    const struct cs_image *im = g_ptr_array_index (list, i);
    g_autofree char *size = cs_size_format (im->allocated);
    printf ("%-30s %-10s %-6s %-9s %-20s %-20s %s\n", im->name, im->suffix,
            im->index->guest != NULL ? im->index->guest : "osv", size,
            or_na (im->index->version), or_na (im->index->created),
            im->index->description != NULL ? im->index->description : "");
  }
  return TRUE;
}

static const struct cs_opt json_opts[] = {
  { .name = "json", .type = CS_OPT_FLAG, .help = "print JSON" }, { .name = NULL } };
const struct cs_cmd cs_cmd_images = { .name = "images", .alias = "i", .args = "",
  .summary = "List the images", .opts = json_opts, .run = run_images,
  .text = "Lists the images of the store. Size is what the file takes on the disk." };

static gboolean
info_file (const char *path, gboolean as_json, GError **err)
{
  guint64 size;
  cs_autofd int fd = open (path, O_RDONLY | O_CLOEXEC);
  if (fd < 0)
    return cs_fail_errno (err, "open %s", path);
  const char *format = cs_image_probe (fd, path, FALSE, &size, err);
  if (format == NULL)
    return FALSE;
  if (as_json) {
    json_t *o = json_object ();
    set (o, "path", path);
    set (o, "format", format);
    json_object_set_new (o, "size", json_integer ((json_int_t) size));
    return cs_print_json (o, err);
  }
  printf ("File:    %s\nFormat:  %s\nSize:    %" G_GUINT64_FORMAT "\n", path, format, size);
  return TRUE;
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
  if (as_json)
    return cs_print_json (o, err);
  const char *key;
  json_t *v;
  json_object_foreach (o, key, v) {
    if (json_is_integer (v))
      printf ("%-12s %" JSON_INTEGER_FORMAT "\n", key, json_integer_value (v));
    else
      printf ("%-12s %s\n", key, json_string_value (v));
  }
  json_decref (o);
  return TRUE;
}
const struct cs_cmd cs_cmd_info = { .name = "info", .args = "FILE|NAME",
  .summary = "Show what an image is", .opts = json_opts, .min_args = 1, .max_args = 1,
  .comp = CS_COMP_IMAGE, .run = run_info,
  .text = "Shows what is known of an image of the store, or of a disk image file." };

/* Hex digest of the whole file; g_free. */
static char *
digest (int fd, const char *name, GError **err)
{
  enum { CHUNK = 1 << 20 };
  unsigned char md[EVP_MAX_MD_SIZE];
  unsigned int n = 0;
  g_autofree char *buf = g_malloc (CHUNK);
  GString *hex = g_string_new (NULL);
  EVP_MD_CTX *c = EVP_MD_CTX_new ();
  off_t off = 0;
  ssize_t r = 0;
  EVP_DigestInit_ex (c, EVP_sha256 (), NULL);
  while ((r = pread (fd, buf, CHUNK, off)) > 0) {
    EVP_DigestUpdate (c, buf, (size_t) r);
    off += r;
  }
  EVP_DigestFinal_ex (c, md, &n);
  EVP_MD_CTX_free (c);
  for (unsigned int i = 0; i < n; i++)
    g_string_append_printf (hex, "%02x", md[i]);
  if (r < 0) {
    cs_fail_errno (err, "read %s", name);
    g_string_free (hex, TRUE);
    return NULL;
  }
  return g_string_free (hex, FALSE);
}

static gboolean
import_into (struct cs_cli *cli, struct cs_store_txn *t, int in, const char *file,
             struct cs_index *x, GError **err)
{
  struct stat st;
  if (fstat (in, &st) != 0)
    return cs_fail_errno (err, "stat %s", file);
  if (ftruncate (t->fd, st.st_size) != 0)
    return cs_fail_errno (err, "write %s", t->path);
  if (!cs_copy_range (in, 0, t->fd, 0, (guint64) st.st_size, file, t->path, err))
    return FALSE;
  x->sha256 = digest (t->fd, t->path, err);
  return x->sha256 != NULL;
}

static gboolean
run_import (struct cs_cli *cli, GError **err)
{
  const char *name = cs_cli_arg (cli, 0), *file = cs_cli_arg (cli, 1);
  const char *forced = cs_cli_str (cli, "format");
  guint64 size = 0;
  if (!cs_name_check ("image name", name, FALSE, err))
    return FALSE;
  /* a FIFO would not open until somebody writes */
  cs_autofd int in = open (file, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
  if (in < 0)
    return cs_fail_errno (err, "open %s", file);
  const char *format = NULL;
  if (g_strcmp0 (forced, "raw") == 0) {
    struct stat st;
    if (fstat (in, &st) != 0 || !S_ISREG (st.st_mode) || st.st_size == 0 || st.st_size % 512 != 0)
      return cs_fail (err, CAPSTAN_E_INVAL, "%s: a raw disk is a file of whole 512-byte sectors", file);
    format = "raw";
    size = (guint64) st.st_size;
  } else if ((format = cs_image_probe (in, file, FALSE, &size, err)) == NULL) {
    return FALSE;
  }
  if (forced != NULL && strcmp (forced, format) != 0)
    return cs_fail (err, CAPSTAN_E_INVAL, "%s is %s, not %s", file, format, forced);
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
  struct cs_store_txn *t = cs_store_begin (name, cs_cli_suffix (cli), err);
  gboolean ok = t != NULL;
  if (ok && !(ok = import_into (cli, t, in, file, x, err)))
    cs_store_abort (t);
  else if (ok)
    ok = cs_store_commit (t, x, err);
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
    g_autofree char *user = cs_instance_using (name);
    if (user != NULL)
      return cs_fail (err, CAPSTAN_E_BUSY,
                      "image '%s' is used by the instance '%s'; capstan delete %s first", name,
                      user, user);
    if (!cs_store_remove (name, err))
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
