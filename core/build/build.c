/* A Capstanfile becomes an image in the store. SPDX-License-Identifier: BSD-3-Clause */
#include "config.h"
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include "core/base/error.h"
#include "core/base/spawn.h"
#include "core/base/util.h"
#include "core/base/yaml.h"
#include "core/build/build.h"
#include "core/build/capstanfile.h"
#include "core/build/cmdline.h"
#include "core/build/compose.h"

/* A file changed within this time of our looking may change again unseen, since clocks of
 * file systems are coarse. */
#define COARSE_NS G_GINT64_CONSTANT (20000000)

struct build {
  const struct cs_build_opts *o;
  struct cs_capstanfile *file;
  char *name;
  struct cs_base *base;
  const char *format; /* of the image */
  char *cmdline;      /* as it goes on the disk */
  struct cs_tree *tree;
  char *inputs;       /* line of index.yaml, or NULL */
  double start;
};

static char *
default_name (const char *dir, GError **err)
{
  g_autofree char *real = realpath (dir, NULL);
  if (!real)
    return cs_fail_errno_null (err, "%s", dir);
  g_autofree char *base = g_path_get_basename (real);
  g_autofree char *name = g_ascii_strdown (base, -1);
  if (!cs_name_check ("image name", name, FALSE, NULL))
    return cs_fail_null (err, CS_E_USAGE,
                         "the directory's name '%s' cannot be an image name; give one: "
                         "capstan build NAME", base);
  return g_steal_pointer (&name);
}

static void
add_inputs (GChecksum *sum, const char *path, struct cs_inode *dir, gint64 *newest)
{
  for (guint k = 0; k < dir->children->len; k++) {
    struct cs_node *n = g_ptr_array_index (dir->children, k);
    struct cs_inode *i = n->inode;
    g_autofree char *to = g_strconcat (path, "/", n->name, NULL);
    g_autofree char *line = g_strdup_printf (
        " %o %o %" G_GUINT64_FORMAT " %" G_GUINT64_FORMAT " %" G_GUINT64_FORMAT
        " %" G_GINT64_FORMAT " %" G_GINT64_FORMAT, i->type, i->perm, i->size,
        (guint64) i->dev, (guint64) i->ino, i->host_mtime_ns, i->host_ctime_ns);
    g_checksum_update (sum, (const guchar *) to, (gssize) strlen (to) + 1);
    g_checksum_update (sum, (const guchar *) line, (gssize) strlen (line) + 1);
    if (S_ISLNK (i->type))
      g_checksum_update (sum, (const guchar *) i->bytes, (gssize) i->size);
    *newest = MAX (*newest, i->host_ctime_ns);
    if (S_ISDIR (i->type))
      add_inputs (sum, to, i, newest);
  }
}

/* All that decides what the image will be, without reading any file. */
static char *
make_inputs (struct build *b, const struct stat *base, gint64 seen)
{
  g_autoptr (GChecksum) sum = g_checksum_new (G_CHECKSUM_SHA256);
  gint64 newest = 0;
  g_autofree char *head = g_strdup_printf (
      "1 " PACKAGE_VERSION " %s %d %" G_GINT64_FORMAT " %s %" G_GUINT64_FORMAT
      " %" G_GUINT64_FORMAT " %" G_GUINT64_FORMAT " %" G_GINT64_FORMAT ".%ld %s",
      b->format, b->o->replace_root, b->tree->mtime, b->file->base,
      (guint64) base->st_dev, (guint64) base->st_ino, (guint64) base->st_size,
      (gint64) base->st_ctim.tv_sec, base->st_ctim.tv_nsec, b->cmdline);
  g_checksum_update (sum, (const guchar *) head, (gssize) strlen (head) + 1);
  g_checksum_update (sum, (const guchar *) b->file->text, (gssize) strlen (b->file->text));
  add_inputs (sum, "", b->tree->root, &newest);
  if (newest > seen - COARSE_NS)
    return NULL;
  GString *line = g_string_new (NULL);
  cs_yaml_put (line, "inputs", g_checksum_get_string (sum));
  return g_string_free (line, FALSE);
}

static gboolean
is_unchanged (struct build *b)
{
  struct cs_image *old = cs_store_find (b->name, b->o->suffix, NULL);
  gboolean same = FALSE;
  if (!old)
    return FALSE;
  if (!b->o->force && b->inputs && strcmp (old->suffix, b->o->suffix) == 0)
    for (guint k = 0; k < old->index->other->len; k++)
      same |= strcmp (g_ptr_array_index (old->index->other, k), b->inputs) == 0;
  cs_image_free (old);
  return same;
}

static void
print_plan (const char *path, struct cs_inode *dir)
{
  for (guint k = 0; k < dir->children->len; k++) {
    struct cs_node *n = g_ptr_array_index (dir->children, k);
    g_autofree char *to = g_strconcat (path, "/", n->name, NULL);
    g_autofree char *from = cs_source_name (n->inode);
    if (S_ISDIR (n->inode->type)) {
      printf ("%s/\n", to);
      print_plan (to, n->inode);
    } else if (S_ISLNK (n->inode->type))
      printf ("%s -> %s\n", to, n->inode->bytes);
    else if (n->inode->size == 0)
      printf ("%s  (empty)\n", to);
    else
      printf ("%s  %" G_GUINT64_FORMAT " bytes of %s\n", to, n->inode->size, from);
  }
}

static struct cs_index *
make_index (struct build *b, guint64 size)
{
  const struct cs_index *from = b->base->image->index;
  struct cs_index *x = cs_index_new ();
  g_autoptr (GDateTime) now = b->tree->mtime > 0
                                  ? g_date_time_new_from_unix_utc (b->tree->mtime)
                                  : g_date_time_new_now_utc ();
  x->created = g_date_time_format (now, "%Y-%m-%dT%H:%M:%SZ");
  x->description = g_strdup (b->file->cmdline);
  x->build = g_strdup ("capstan " PACKAGE_VERSION);
  x->format = g_strdup (b->format);
  x->guest = g_strdup (b->base->guest);
  x->fs = g_strdup (strcmp (b->base->guest, "osv") == 0 ? "rofs" : "ext4");
  x->base = g_strdup (b->file->base);
  x->cmdline = g_strdup (b->file->cmdline);
  x->size = size;
  x->kernel_offset = from->kernel_offset;
  x->kernel_length = from->kernel_length;
  x->initrd_offset = from->initrd_offset;
  x->initrd_length = from->initrd_length;
  x->kernel_args = g_strdup (from->kernel_args);
  if (b->inputs)
    g_ptr_array_add (x->other, g_strdup (b->inputs));
  return x;
}

static void
print_account (struct build *b, const struct cs_fs_result *fs, guint64 virtual,
               guint64 written)
{
  g_autofree char *base = cs_size_format (b->base->keep);
  g_autofree char *over = cs_size_format (fs->meta_bytes);
  g_autofree char *app = cs_size_format (fs->data_bytes);
  g_autofree char *total = cs_size_format (written);
  g_autofree char *disk = cs_size_format (virtual);
  cs_tree_count (b->tree);
  cs_info ("base         %10s  %s", base, b->file->base);
  cs_info ("file system  %10s  %s", over,
           strcmp (b->base->guest, "osv") == 0 ? "ROFS" : "ext4");
  cs_info ("application  %10s  %" G_GUINT64_FORMAT " files, %" G_GUINT64_FORMAT
           " directories, %" G_GUINT64_FORMAT " symbolic links", app, b->tree->n_files,
           b->tree->n_dirs, b->tree->n_symlinks);
  cs_info ("total        %10s  %s: %s, a disk of %s, %.2f s", total, b->name, b->format,
           disk, cs_now () - b->start);
}

/* From the raw disk `raw` to the image file of the store. */
static gboolean
convert_out (struct build *b, const char *raw, const char *path, GError **err)
{
  const char *const argv[] = { "qemu-img", "convert", "-f", "raw", "-O", b->format, raw,
                               path, NULL };
  struct cs_spawn s = CS_SPAWN_INIT;
  s.argv = argv;
  gboolean ok = cs_spawn_check (&s, err);
  if (!ok)
    g_prefix_error (err, "write %s: ", path);
  cs_spawn_clear (&s);
  return ok;
}

/* The disk into the file of txn. */
static gboolean
write_image (struct build *b, struct cs_store_txn *txn, struct cs_fs_result *fs, GError **err)
{
  if (strcmp (b->format, "raw") == 0)
    return cs_compose (b->base, b->tree, b->cmdline, b->o->force, txn->fd, txn->path, fs,
                       err);
  g_autofree char *raw = g_strconcat (txn->path, ".raw", NULL);
  cs_autofd int fd = open (raw, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (fd < 0)
    return cs_fail_errno (err, "create %s", raw);
  gboolean ok = cs_compose (b->base, b->tree, b->cmdline, b->o->force, fd, raw, fs, err) &&
                convert_out (b, raw, txn->path, err);
  unlink (raw);
  return ok;
}

/* The base's own files first, then the application's over them. */
static gboolean
finish_tree (struct build *b, GError **err)
{
  if (b->base->root_fs) {
    cs_tree_free (b->tree);
    b->tree = cs_tree_new ();
    if (!cs_base_tree (b->base, b->tree, err) ||
        !cs_capstanfile_scan (b->file, b->tree, err))
      return FALSE;
  }
  return cs_compose_add_missing (b->tree, b->base->guest, err);
}

static gboolean
make_image (struct build *b, GError **err)
{
  struct cs_fs_result fs = { 0 };
  struct stat st;
  struct cs_store_txn *txn = cs_store_begin (b->name, b->o->suffix, err);
  if (!txn)
    return FALSE;
  g_autofree char *tmp = g_strconcat (txn->path, ".base", NULL);
  if (!cs_base_read (b->base, tmp, b->o->replace_root, err) || !finish_tree (b, err) ||
      !write_image (b, txn, &fs, err)) {
    cs_store_abort (txn);
    return FALSE;
  }
  guint64 virtual = b->base->root + fs.size;
  guint64 written = stat (txn->path, &st) == 0 ? (guint64) st.st_blocks * 512 : virtual;
  struct cs_index *x = make_index (b, virtual);
  gboolean ok = cs_store_commit (txn, x, err);
  cs_index_free (x);
  if (ok)
    print_account (b, &fs, virtual, written);
  return ok;
}

static gboolean
load (struct build *b, GError **err)
{
  const char *dir = b->o->dir ? b->o->dir : ".";
  const char *file = b->o->file ? b->o->file : "Capstanfile";
  /* -f is relative to -C, as tar and make have it. */
  g_autofree char *path = g_path_is_absolute (file) || strcmp (dir, ".") == 0
                              ? g_strdup (file)
                              : g_build_filename (dir, file, NULL);
  if (!(b->file = cs_capstanfile_load (path, err)))
    return FALSE;
  if (!(b->name = b->o->name ? g_strdup (b->o->name) : default_name (b->file->dir, err)) ||
      !cs_name_check ("image name", b->name, FALSE, err))
    return FALSE;
  if (strcmp (b->name, b->file->base) == 0)
    return cs_fail (err, CAPSTAN_E_INVAL,
                    "'%s' is the base itself; give the image another name: capstan build "
                    "NAME", b->name);
  if (!(b->base = cs_base_open (b->file->base, b->o->suffix, err)))
    return FALSE;
  b->format = b->o->format ? b->o->format
              : strcmp (b->base->format, "qcow2") == 0 ? "qcow2" : "raw";
  if (strcmp (b->format, "raw") != 0 && strcmp (b->format, "qcow2") != 0)
    return cs_fail (err, CS_E_USAGE, "format '%s': raw and qcow2 can be written", b->format);
  b->cmdline = cs_cmdline_make (NULL, b->file->cmdline, b->base->guest, err);
  if (!b->cmdline)
    g_prefix_error (err, "%s: cmdline: ", b->file->path);
  return b->cmdline != NULL;
}

static gboolean
build (struct build *b, GError **err)
{
  struct stat base;
  if (!load (b, err) || !cs_capstanfile_run_build (b->file, err))
    return FALSE;
  gint64 seen = g_get_real_time () * 1000;
  b->tree = cs_tree_new ();
  if (!cs_capstanfile_scan (b->file, b->tree, err))
    return FALSE;
  if (b->o->dry_run) {
    print_plan ("", b->tree->root);
    return TRUE;
  }
  if (fstat (b->base->fd, &base) < 0)
    return cs_fail_errno (err, "look at %s", b->base->image->path);
  b->inputs = make_inputs (b, &base, seen);
  if (is_unchanged (b)) {
    cs_info ("%s is up to date", b->name);
    return TRUE;
  }
  return make_image (b, err);
}

gboolean
cs_build (const struct cs_build_opts *o, char **ret_name, GError **err)
{
  struct build b = { .o = o, .start = cs_now () };
  gboolean ok = build (&b, err);
  cs_tree_free (b.tree);
  cs_base_free (b.base);
  cs_capstanfile_free (b.file);
  g_free (b.cmdline);
  g_free (b.inputs);
  if (ok && ret_name)
    *ret_name = g_steal_pointer (&b.name);
  g_free (b.name);
  return ok;
}
