/* A Capstanfile becomes an image in the store. SPDX-License-Identifier: BSD-3-Clause */
#include "config.h"
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include "core/base/error.h"
#include "core/base/progress.h"
#include "core/base/spawn.h"
#include "core/base/util.h"
#include "core/base/yaml.h"
#include "core/build/build.h"
#include "core/build/capstanfile.h"
#include "core/build/cmdline.h"
#include "core/build/compose.h"
#include "core/build/env.h"
#include "core/build/inputs.h"
#include "core/build/libs.h"

struct build {
  const struct cs_build_opts *o;
  struct cs_capstanfile *file;
  char *name;
  struct cs_base *base;
  gboolean osv;
  const char *fs;     /* "rofs", "ext4" */
  const char *format; /* of the image */
  guint64 size;       /* of the disk; 0: as needed */
  char *cmdline;      /* as it goes on the disk */
  struct cs_tree *tree;
  char *files;        /* fingerprint of all but the libraries, or NULL */
  GPtrArray *libs;    /* what --with-libs added: paths of the host, of char * */
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

/* All that decides what the image will be, without reading any file; NULL if that cannot be
 * told. `seen`: when we began to look. */
static char *
fingerprint (struct build *b, gint64 seen)
{
  const struct cs_capstanfile *f = b->file;
  struct cs_inputs n;
  cs_inputs_init (&n);
  const char *const texts[] = { PACKAGE_VERSION, b->format, f->text, f->base, b->base->guest,
                                b->cmdline };
  const guint64 numbers[] = { b->o->replace_root, b->o->with_libs, b->size,
                              (guint64) b->tree->mtime };
  for (guint k = 0; k < G_N_ELEMENTS (texts); k++)
    cs_inputs_text (&n, texts[k]);
  for (guint k = 0; k < G_N_ELEMENTS (numbers); k++)
    cs_inputs_number (&n, numbers[k]);
  cs_inputs_image (&n, b->base->fd);
  cs_inputs_tree (&n, b->tree);
  return cs_inputs_end (&n, seen);
}

/* The same with the libraries that --with-libs added, one a line. Another set of them would
 * be found only if the cache of the loader changed, or the files. */
static char *
with_libs (struct build *b, const char *libs)
{
  struct cs_inputs n;
  if (!b->files)
    return NULL;
  cs_inputs_init (&n);
  cs_inputs_text (&n, b->files);
  if (b->o->with_libs)
    cs_inputs_file (&n, "/etc/ld.so.cache");
  g_auto (GStrv) paths = g_strsplit (libs ? libs : "", "\n", -1);
  for (char **p = paths; *p; p++)
    cs_inputs_file (&n, *p);
  return cs_inputs_end (&n, G_MAXINT64);
}

static gboolean
is_unchanged (struct build *b)
{
  struct cs_image *old = b->o->force ? NULL : cs_store_find (b->name, b->o->suffix, NULL);
  if (!old)
    return FALSE;
  g_autofree char *libs = cs_inputs_of_index (old->index, "libs");
  g_autofree char *then = cs_inputs_of_index (old->index, "inputs");
  g_autofree char *now = with_libs (b, libs);
  gboolean same = strcmp (old->suffix, b->o->suffix) == 0 && g_strcmp0 (then, now) == 0 &&
                  now != NULL;
  cs_image_free (old);
  return same;
}

static void
add_line (struct cs_index *x, const char *key, const char *value)
{
  GString *line = g_string_new (NULL);
  cs_yaml_put (line, key, value);
  g_ptr_array_add (x->other, g_string_free (line, FALSE));
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
  x->fs = g_strdup (b->fs);
  x->base = g_strdup (b->file->base);
  x->cmdline = g_strdup (b->file->cmdline);
  x->size = size;
  x->kernel_offset = from->kernel_offset;
  x->kernel_length = from->kernel_length;
  x->initrd_offset = from->initrd_offset;
  x->initrd_length = from->initrd_length;
  x->kernel_args = g_strdup (from->kernel_args);
  g_ptr_array_add (b->libs, NULL);
  g_autofree char *libs = g_strjoinv ("\n", (char **) b->libs->pdata);
  g_autofree char *inputs = with_libs (b, libs);
  add_line (x, "inputs", inputs);
  if (*libs)
    add_line (x, "libs", libs);
  return x;
}

static void
print_account (struct build *b, const struct cs_fs_result *fs, guint64 virtual,
               guint64 written)
{
  g_autofree char *base = cs_size_format (fs->base_bytes);
  g_autofree char *over = cs_size_format (fs->meta_bytes);
  g_autofree char *app = cs_size_format (fs->data_bytes);
  g_autofree char *total = cs_size_format (written);
  g_autofree char *disk = cs_size_format (virtual);
  cs_tree_count (b->tree);
  cs_info ("base         %10s  %s", base, b->file->base);
  cs_info ("file system  %10s  %s", over, b->osv ? "ROFS" : "ext4");
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
  if (cs_spawn_tool (NULL, argv, err))
    return TRUE;
  g_prefix_error (err, "write %s: ", path);
  return FALSE;
}

static gboolean
compose (struct build *b, int fd, const char *path, struct cs_fs_result *fs, GError **err)
{
  return cs_compose (b->base, b->tree, b->cmdline, b->size, b->o->force, fd, path, fs, err);
}

/* The disk into the file of txn. */
static gboolean
write_image (struct build *b, struct cs_store_txn *txn, struct cs_fs_result *fs, GError **err)
{
  if (strcmp (b->format, "raw") == 0)
    return compose (b, txn->fd, txn->path, fs, err);
  g_autofree char *raw = g_strconcat (txn->path, ".raw", NULL);
  cs_autofd int fd = open (raw, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (fd < 0)
    return cs_fail_errno (err, "create %s", raw);
  gboolean ok = compose (b, fd, raw, fs, err) && convert_out (b, raw, txn->path, err);
  unlink (raw);
  return ok;
}

/* The base's own files first, then the application's over them, then what is missing. */
static gboolean
finish_tree (struct build *b, GError **err)
{
  if (b->base->root_fs) {
    cs_tree_free (b->tree);
    b->tree = cs_tree_new ();
    if (!cs_base_tree (b->base, b->tree, err) ||
        !cs_capstanfile_scan (b->file, b->tree,
                              b->o->skip_special ? CS_SPECIAL_SKIP : CS_SPECIAL_FAIL, NULL,
                              err))
      return FALSE;
  }
  return cs_libs_check (b->tree, b->base->guest, b->cmdline, b->o->with_libs, b->libs, err) &&
         cs_compose_add_missing (b->tree, b->base->guest, err);
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
  if (!cs_base_read (b->base, tmp, b->o->replace_root, err) || !finish_tree (b, err)) {
    cs_store_abort (txn);
    return FALSE;
  }
  cs_tree_count (b->tree);
  cs_progress_begin (b->name, b->base->keep + b->tree->data_bytes, 0);
  if (!write_image (b, txn, &fs, err)) {
    cs_progress_end ();
    cs_store_abort (txn);
    return FALSE;
  }
  guint64 virtual = b->base->root + fs.size;
  guint64 written = stat (txn->path, &st) == 0 ? (guint64) st.st_blocks * 512 : virtual;
  struct cs_index *x = make_index (b, virtual);
  gboolean ok = cs_store_commit (txn, x, err); /* which waits for the disk: the bar stays */
  cs_progress_end ();
  cs_index_free (x);
  if (ok)
    print_account (b, &fs, virtual, written);
  return ok;
}

/* The environment: of the Capstanfile, then of files, then of the command line. */
static gboolean
make_cmdline (struct build *b, GError **err)
{
  GPtrArray *env = b->file->env;
  if (!cs_env_gather (env, b->o->env_files, b->o->env, err))
    return FALSE;
  g_ptr_array_add (env, NULL);
  b->cmdline = cs_cmdline_make ((const char *const *) env->pdata, b->file->cmdline,
                                b->base->guest, err);
  g_ptr_array_set_size (env, (int) env->len - 1);
  if (!b->cmdline && b->file->path)
    g_prefix_error (err, "%s: cmdline: ", b->file->path);
  return b->cmdline != NULL;
}

/* Does the base give what guest, fs and size ask for? */
static gboolean
check_kind (struct build *b, GError **err)
{
  const char *guest = b->file->guest, *fs = b->o->fs ? b->o->fs : b->file->fs;
  if (guest && !b->base->image->index->guest)
    b->base->guest = strcmp (guest, "linux") == 0 ? "linux" : "osv";
  if (guest && strcmp (guest, b->base->guest) != 0)
    return cs_fail (err, CAPSTAN_E_INVAL, "guest '%s' is asked for, but the base '%s' is for "
                    "guest '%s'", guest, b->file->base, b->base->guest);
  b->osv = strcmp (b->base->guest, "osv") == 0;
  b->fs = b->osv ? "rofs" : "ext4";
  if (fs && strcmp (fs, b->fs) != 0)
    return cs_fail (err, CAPSTAN_E_INVAL, "file system '%s' is asked for, but guest '%s' (base "
                    "'%s') reads %s", fs, b->base->guest, b->file->base, b->fs);
  b->size = b->o->size > 0 ? b->o->size : b->file->size;
  if (b->osv && b->size > 0) {
    cs_info ("the size has no effect: ROFS is read-only and as large as its files");
    b->size = 0;
  }
  return TRUE;
}

static gboolean
load_file (struct build *b, GError **err)
{
  const char *dir = b->o->dir ? b->o->dir : ".";
  const char *file = b->o->file ? b->o->file : "Capstanfile";
  if (b->o->n_paths > 0) {
    b->file = cs_capstanfile_of_paths (b->o->base, b->o->cmdline, b->o->paths, b->o->n_paths,
                                       err);
    return b->file != NULL;
  }
  /* -f is relative to -C, as tar and make have it. */
  g_autofree char *path = g_path_is_absolute (file) || strcmp (dir, ".") == 0
                              ? g_strdup (file)
                              : g_build_filename (dir, file, NULL);
  return (b->file = cs_capstanfile_load (path, err)) != NULL;
}

static gboolean
check_epoch (GError **err)
{
  const char *epoch = g_getenv ("SOURCE_DATE_EPOCH");
  gint64 n;
  return !epoch || g_ascii_string_to_signed (epoch, 10, 0, G_MAXINT32, &n, NULL) ||
         cs_fail (err, CS_E_USAGE, "SOURCE_DATE_EPOCH is '%s': seconds since 1970 are needed, "
                  "up to %d", epoch, G_MAXINT32);
}

static gboolean
load (struct build *b, GError **err)
{
  if (!check_epoch (err) || !load_file (b, err) ||
      !(b->name = b->o->name ? g_strdup (b->o->name) : default_name (b->file->dir, err)) ||
      !cs_name_check ("image name", b->name, FALSE, err))
    return FALSE;
  if (g_strcmp0 (b->o->fs ? b->o->fs : b->file->fs, "zfs") == 0)
    return cs_fail (err, CS_E_USAGE, "ZFS images are not supported yet: use ROFS (fs: rofs, or "
                    "--fs rofs), which OSv v0.51 and later read");
  if (strcmp (b->name, b->file->base) == 0)
    return cs_fail (err, CAPSTAN_E_INVAL,
                    "'%s' is the base itself; give the image another name: capstan build "
                    "NAME", b->name);
  if (!(b->base = cs_base_open (b->file->base, b->o->suffix, err)) || !check_kind (b, err))
    return FALSE;
  b->format = b->o->format ? b->o->format
              : strcmp (b->base->format, "qcow2") == 0 ? "qcow2" : "raw";
  if (strcmp (b->format, "raw") != 0 && strcmp (b->format, "qcow2") != 0)
    return cs_fail (err, CS_E_USAGE, "format '%s': raw and qcow2 can be written", b->format);
  return make_cmdline (b, err);
}

static void
print_dir (const char *path, struct cs_inode *dir)
{
  for (guint k = 0; k < dir->children->len; k++) {
    struct cs_node *n = g_ptr_array_index (dir->children, k);
    g_autofree char *to = g_strconcat (path, "/", n->name, NULL);
    if (S_ISDIR (n->inode->type)) {
      printf ("%s/\n", to);
      print_dir (to, n->inode);
    } else if (S_ISLNK (n->inode->type))
      printf ("%s -> %s\n", to, n->inode->bytes);
    else if (n->inode->size == 0)
      printf ("%s  (empty)\n", to);
    else {
      g_autofree char *from = cs_source_name (n->inode);
      printf ("%s  %" G_GUINT64_FORMAT " bytes of %s\n", to, n->inode->size, from);
    }
  }
}

/* --dry-run: the build command is not run either, so what it makes may be missing. */
static gboolean
print_plan (struct build *b, GError **err)
{
  g_autoptr (GPtrArray) missing = g_ptr_array_new_with_free_func (g_free);
  gboolean raw = strcmp (b->base->format, "raw") == 0;
  if (!cs_capstanfile_scan (b->file, b->tree,
                            b->o->skip_special ? CS_SPECIAL_WARN : CS_SPECIAL_FAIL,
                            b->file->build ? missing : NULL, err))
    return FALSE;
  if (raw && !cs_base_read (b->base, NULL, b->o->replace_root, err))
    return FALSE;
  if (missing->len == 0 && !b->base->root_fs && /* else they may come from elsewhere */
      !cs_libs_check (b->tree, b->base->guest, b->cmdline, b->o->with_libs, NULL, err))
    return FALSE;
  printf ("image    %s (%s)\nbase     %s (%s)%s\nfs       %s\ncmdline  %s\n", b->name,
          b->format, b->file->base, b->base->guest,
          b->base->root_fs ? ", whose own files stay" : "", b->fs, b->cmdline);
  if (b->file->build)
    printf ("build    %s\n", b->file->build);
  print_dir ("", b->tree->root);
  for (guint k = 0; k < missing->len; k++)
    printf ("%s, which is not there yet\n", (char *) g_ptr_array_index (missing, k));
  return TRUE;
}

static gboolean
build (struct build *b, GError **err)
{
  if (!load (b, err))
    return FALSE;
  if (b->o->dry_run)
    return print_plan (b, err);
  if (!cs_capstanfile_run_build (b->file, err))
    return FALSE;
  gint64 seen = g_get_real_time () * 1000;
  if (!cs_capstanfile_scan (b->file, b->tree,
                            b->o->skip_special ? CS_SPECIAL_WARN : CS_SPECIAL_FAIL, NULL, err))
    return FALSE;
  b->files = fingerprint (b, seen);
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
  b.tree = cs_tree_new ();
  b.libs = g_ptr_array_new_with_free_func (g_free);
  gboolean ok = build (&b, err);
  cs_tree_free (b.tree);
  cs_base_free (b.base);
  cs_capstanfile_free (b.file);
  g_ptr_array_unref (b.libs);
  g_free (b.cmdline);
  g_free (b.files);
  if (ok && ret_name)
    *ret_name = g_steal_pointer (&b.name);
  g_free (b.name);
  return ok;
}
