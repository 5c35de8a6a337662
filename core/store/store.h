/* The store: images by name under $CAPSTAN_ROOT or ~/.capstan, laid out as the original
 * has it. SPDX-License-Identifier: BSD-3-Clause
 *
 *   config.yaml
 *   repository/<name>/index.yaml
 *   repository/<name>/<last part of name>.<suffix>   suffix: "qemu", "vbox", ... (and, as
 *                                                    the original wrote them, raw, vmw)
 *   instances/<suffix>/<instance>/...                see core/vm/instance.h
 *   plugins/  cache/  locks/
 *
 * An existing store is read as it is. What is written here is written under a temporary
 * name (".tmp-..." in the same folder), fsynced, renamed, and the folder fsynced. */
#ifndef CS_STORE_H
#define CS_STORE_H
#include <glib.h>

/* index.yaml. The first five keys are the original's, of the name; it ignores the others,
 * which are of one image file. Strings are owned, NULL where absent. */
struct cs_index {
  char *version, *created, *description, *build, *platform;
  char *suffix;  /* whose image the following is; NULL: of an old store */
  char *format;  /* "raw", "qcow2", "vdi", "vmdk"; NULL: of an old store, probe it */
  char *guest;   /* "osv" (also when absent) or "linux" */
  char *fs;      /* "rofs", "ext4", "zfs"; NULL: none (a loader) or unknown */
  char *base;    /* name of the base it was built on */
  char *cmdline; /* application command line as the Capstanfile gave it */
  char *sha256;  /* hex, of the image file */
  guint64 size;  /* virtual size in bytes; 0: unknown */
  /* Where in the raw image kernel and initrd lie for direct boot; length 0: nowhere. */
  guint64 kernel_offset, kernel_length, initrd_offset, initrd_length;
  char *kernel_args; /* command line of the kernel for a direct boot, or NULL */
  GPtrArray *other; /* of char *: "key: value\n" lines we do not know, kept as they are */
  GPtrArray *more;  /* of struct cs_index *: the other suffixes of the name; or NULL */
};
struct cs_index *cs_index_new (void);
struct cs_index *cs_index_load (const char *path, GError **err);
/* text: with a NUL behind it. */
struct cs_index *cs_index_parse (const char *text, gsize len, const char *path, GError **err);
/* As YAML text; g_free. */
char *cs_index_text (struct cs_index *x);
struct cs_index *cs_index_copy (struct cs_index *x);
/* Makes what x says of the image `suffix` its own; what it said before goes into more. */
void cs_index_select (struct cs_index *x, const char *suffix);
/* x is of `suffix`, and takes over what old (which it empties) says of others. */
void cs_index_add (struct cs_index *x, struct cs_index *old, const char *suffix);
void cs_index_free (struct cs_index *x);

/* What may follow the dot in the name of an image file: "qemu", "vbox", ... */
gboolean cs_suffix_valid (const char *suffix);

struct cs_image { /* one image file of one name */
  char *name;   /* "ns/app" */
  char *dir;    /* repository/ns/app */
  char *path;   /* the image file */
  char *suffix; /* "qemu" */
  struct cs_index *index; /* never NULL; empty where index.yaml is absent */
  guint64 file_size, allocated; /* bytes */
};
void cs_image_free (struct cs_image *i);

/* The root: $CAPSTAN_ROOT, else ~/.capstan; absolute. Borrowed. Made when first written. */
const char *cs_root (void);
/* g_build_filename under the root; g_free. */
char *cs_root_path (const char *first, ...) G_GNUC_NULL_TERMINATED;

/* All images by name, of struct cs_image *; g_ptr_array_unref frees them. Needs no lock. An
 * entry that cannot be read is warned of and left out. What a killed capstan left there is
 * cleared away. */
GPtrArray *cs_store_list (GError **err);
/* The same in less time: file_size and allocated are 0. */
GPtrArray *cs_store_list_quick (GError **err);
/* The one with that suffix; where there is none (or suffix is NULL) another that there is,
 * "qemu" first: the disk of an instance is made from any. CAPSTAN_E_NOTFOUND says what to do. What it
 * finds is a pair of image and index that belong together; who opens the image by its path
 * afterwards holds cs_store_lock from before. */
struct cs_image *cs_store_find (const char *name, const char *suffix, GError **err);
/* "did you mean 'hello'?" of the images there are, or a copy of otherwise; g_free. */
char *cs_store_near (const char *name, const char *otherwise);
/* Says that there is none of this name; FALSE. */
gboolean cs_store_missing (const char *name, GError **err);

/* Who is asked for a name that the store lacks (the repositories; set by the program). It
 * brings the image into the store, or says CAPSTAN_E_NOTFOUND. */
typedef gboolean (*cs_store_missing_fn) (const char *name, const char *suffix, GError **err);
void cs_store_on_missing (cs_store_missing_fn fn);
/* Before an image is used, and before its lock is taken: sees to it that it is there. TRUE as
 * well if nobody has it, so that cs_store_find says so. */
gboolean cs_store_want (const char *name, const char *suffix, GError **err);

/* A new image: write its bytes to fd (raw: ftruncate and pwrite; or give path to
 * qemu-img), then commit with the index, or abort. Nobody else can begin the same name
 * meanwhile; the image that is there can be used. */
struct cs_store_txn {
  int fd;     /* O_RDWR on the temporary file, which is empty */
  char *path; /* its name; more temporary files may be made as PATH.something */
  char *name, *suffix, *final_path;
  int lock_fd;
};
struct cs_store_txn *cs_store_begin (const char *name, const char *suffix, GError **err);
/* Frees txn in any case. fsync, image and index.yaml in place together: after a crash the
 * next command sees the old pair or the new one. Waits while the old one is being read;
 * so the caller must hold no cs_store_lock. x->format must be what the bytes are. */
gboolean cs_store_commit (struct cs_store_txn *txn, struct cs_index *x, GError **err);
void cs_store_abort (struct cs_store_txn *txn); /* NULL is fine */

/* The bytes of the open file `name` into the empty file of txn, which keeps its holes and
 * gets more of them; the file is read once. Hex SHA-256 of what was stored, g_free; NULL on
 * error, also when the file changed meanwhile. */
char *cs_store_copy_in (struct cs_store_txn *txn, int in, const char *name, GError **err);

/* Who stands on an image, or NULL; g_free. */
typedef char *cs_store_user_fn (const char *name);
/* All images and the index of a name, unless `user` names somebody: it is asked while no
 * other can begin to use it. CAPSTAN_E_BUSY also while it is being written or read. */
gboolean cs_store_remove (const char *name, cs_store_user_fn *user, GError **err);
/* Lock on a name: shared while its image is opened or made an overlay of; -1 on error. What
 * a crash left half done is finished before. */
int cs_store_lock (const char *name, gboolean exclusive, gboolean wait, GError **err);

/* "raw", "qcow2", "vdi", "vmdk", by a strict reading of the header; refuses what must not
 * be trusted (backing file, encryption, external data, ...). *ret_size: virtual size.
 * Static string, or NULL and the error. */
enum {
  CS_PROBE_BACKING = 1, /* a qcow2 may have a backing file: our own overlays */
  CS_PROBE_BARE = 2     /* what has neither a header nor a boot sector is raw */
};
const char *cs_image_probe (int fd, const char *path, guint flags, guint64 *ret_size,
                            GError **err);

/* A line of a list of images with the original's columns, without its end; x NULL: the
 * line above them. g_free. */
char *cs_image_line (const char *name, const struct cs_index *x);
/* "2006-01-02 15:04", or "N/A" for what the original does not read as a time; g_free. */
char *cs_time_show (const char *created);

/* The same for a file of which somebody says what it is (claimed; NULL: nobody): it must be
 * that, and "raw" is believed of what has no header that is known here. */
const char *cs_image_check (int fd, const char *path, const char *claimed, guint64 *ret_size,
                            GError **err);

/* config.yaml: repo_url, disable_kvm, qemu_aio_type, release_tag of the original, and ours
 * (hypervisor, repo, libvirt_uri, ...). NULL if absent; borrowed; loaded once. */
const char *cs_config (const char *key);
#endif
