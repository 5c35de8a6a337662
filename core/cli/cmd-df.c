/* capstan df: what the store takes of the disk. SPDX-License-Identifier: BSD-3-Clause */
#include "config.h"
#include "core/base/error.h"
#include "core/base/util.h"
#include "core/cli/cmd.h"
#include "core/store/store.h"
#include "core/vm/instance.h"
#include "core/vm/volume.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

struct usage {
  const char *what, *folder; /* folder NULL: all others */
  guint count; gboolean counted;
  guint64 allocated, size; /* blocks on the disk; length of the files, with their holes */
};

struct walk { GHashTable *seen; struct usage *u; }; /* seen: files of several names */

static void
add_entry (struct walk *w, int parent, const char *name, const char *path, int depth)
{
  enum { MAX_DEPTH = 64 };
  struct stat st;
  if (fstatat (parent, name, &st, AT_SYMLINK_NOFOLLOW) != 0)
    return; /* it has just gone */
  if (!S_ISDIR (st.st_mode) && st.st_nlink > 1 &&
      !g_hash_table_add (w->seen, g_strdup_printf ("%" G_GUINT64_FORMAT " %" G_GUINT64_FORMAT,
                                                   (guint64) st.st_dev, (guint64) st.st_ino)))
    return;
  w->u->allocated += (guint64) st.st_blocks * 512;
  if (S_ISREG (st.st_mode))
    w->u->size += (guint64) st.st_size;
  if (!S_ISDIR (st.st_mode) || depth == MAX_DEPTH)
    return;
  int fd = openat (parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  DIR *d = fd >= 0 ? fdopendir (fd) : NULL;
  if (d == NULL) {
    if (errno != ENOENT)
      cs_warn ("%s: %s; what it holds is not counted", path, g_strerror (errno));
    cs_close_fd (&fd);
    return;
  }
  for (struct dirent *e; (e = readdir (d)) != NULL;) {
    g_autofree char *sub = g_strconcat (path, "/", e->d_name, NULL);
    if (strcmp (e->d_name, ".") != 0 && strcmp (e->d_name, "..") != 0)
      add_entry (w, dirfd (d), e->d_name, sub, depth + 1);
  }
  closedir (d);
}

/* Each file counts where it is found first: an image that an instance stands on as an image. */
static void
measure (struct usage *all, guint n)
{
  g_autoptr (GHashTable) seen = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, NULL);
  struct usage *others = &all[n - 1];
  for (guint i = 0; i < n - 1; i++) {
    struct walk w = { seen, &all[i] };
    g_autofree char *path = cs_root_path (all[i].folder, NULL);
    add_entry (&w, AT_FDCWD, path, path, 0);
  }
  DIR *d = opendir (cs_root ());
  for (struct dirent *e; d != NULL && (e = readdir (d)) != NULL;) {
    struct walk w = { seen, others };
    gboolean own = strcmp (e->d_name, ".") == 0 || strcmp (e->d_name, "..") == 0;
    for (guint i = 0; i < n - 1; i++)
      own |= strcmp (e->d_name, all[i].folder) == 0;
    g_autofree char *path = cs_root_path (e->d_name, NULL);
    if (!own)
      add_entry (&w, dirfd (d), e->d_name, path, 0);
  }
  if (d != NULL)
    closedir (d);
}

static json_t *
usage_json (const struct usage *u)
{
  json_t *o = json_object ();
  if (u->counted)
    json_object_set_new (o, "count", json_integer (u->count));
  json_object_set_new (o, "allocated", json_integer ((json_int_t) u->allocated));
  json_object_set_new (o, "size", json_integer ((json_int_t) u->size));
  return o;
}

static void
print_usage (const struct usage *u)
{
  g_autofree char *allocated = cs_size_format (u->allocated);
  g_autofree char *size = cs_size_format (u->size);
  g_autofree char *count = u->counted ? g_strdup_printf ("%u", u->count) : g_strdup ("");
  printf ("%-12s %6s %12s %12s\n", u->what, count, allocated, size);
}

static gboolean
run_df (struct cs_cli *cli, GError **err)
{
  struct usage all[] = { { .what = "images", .folder = "repository", .counted = TRUE },
                         { .what = "instances", .folder = "instances", .counted = TRUE },
                         { .what = "volumes", .folder = "volumes", .counted = TRUE },
                         { .what = "cache", .folder = "cache" },
                         { .what = "other" } };
  struct usage total = { .what = "total" };
  struct statvfs fs;
  g_autoptr (GPtrArray) images = cs_store_list_quick (err);
  g_autoptr (GPtrArray) instances = images != NULL ? cs_instance_list (err) : NULL;
  if (instances == NULL)
    return FALSE;
  all[0].count = images->len;
  all[1].count = instances->len;
  g_autoptr (GPtrArray) volumes = cs_volume_names ();
  all[2].count = volumes->len;
  measure (all, G_N_ELEMENTS (all));
  for (guint i = 0; i < G_N_ELEMENTS (all); i++) {
    total.allocated += all[i].allocated;
    total.size += all[i].size;
  }
  gboolean have_fs = statvfs (cs_root (), &fs) == 0;
  guint64 free_bytes = have_fs ? (guint64) fs.f_bavail * fs.f_frsize : 0;
  if (cs_cli_flag (cli, "json")) {
    json_t *o = json_object ();
    json_object_set_new (o, "root", json_string (cs_root ()));
    for (guint i = 0; i < G_N_ELEMENTS (all); i++)
      json_object_set_new (o, all[i].what, usage_json (&all[i]));
    json_object_set_new (o, "total", usage_json (&total));
    if (have_fs)
      json_object_set_new (o, "free", json_integer ((json_int_t) free_bytes));
    return cs_print_json (o, err);
  }
  printf ("%-12s %6s %12s %12s\n", "", "Count", "On disk", "Length");
  for (guint i = 0; i < G_N_ELEMENTS (all); i++)
    print_usage (&all[i]);
  print_usage (&total);
  g_autofree char *room = cs_size_format (free_bytes);
  if (have_fs)
    printf ("%s has %s free\n", cs_root (), room);
  return TRUE;
}

static const struct cs_opt opts[] = {
  { .name = "json", .type = CS_OPT_FLAG, .help = "print JSON" }, { .name = NULL } };
const struct cs_cmd cs_cmd_df = { .name = "df", .args = "", .opts = opts, .run = run_df,
  .summary = "Show what the store takes of the disk",
  .text = "Shows how much of the disk images, instances, volumes and the cache take, and the length of "
          "their files with their holes. An image that instances stand on counts once, as an "
          "image. The cache has downloads that were interrupted, and images that were converted for capstan "
          "export or for a hypervisor. capstan rmi, delete and prune make room." };
