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

/* index.yaml. The first five keys are the original's; it ignores the others. Strings are
 * owned, NULL where absent. */
struct cs_index {
  char *version, *created, *description, *build, *platform;
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
  GPtrArray *other; /* of char *: "key: value" lines we do not know, kept as they are */
};
struct cs_index *cs_index_new (void);
struct cs_index *cs_index_load (const char *path, GError **err);
/* As YAML text; g_free. */
char *cs_index_text (const struct cs_index *x);
struct cs_index *cs_index_copy (const struct cs_index *x);
void cs_index_free (struct cs_index *x);

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
 * entry that cannot be read is warned of and left out. */
GPtrArray *cs_store_list (GError **err);
/* suffix NULL: whatever there is, "qemu" first. CAPSTAN_E_NOTFOUND says what to do. */
struct cs_image *cs_store_find (const char *name, const char *suffix, GError **err);

/* A new image: write its bytes to fd (raw: ftruncate and pwrite; or give path to
 * qemu-img), then commit with the index, or abort. Holds the lock of the name. */
struct cs_store_txn {
  int fd;     /* O_RDWR on the temporary file, which is empty */
  char *path; /* its name */
  char *name, *suffix, *final_path;
  int lock_fd;
};
struct cs_store_txn *cs_store_begin (const char *name, const char *suffix, GError **err);
/* Frees txn in any case. fsync, image and index.yaml in place together: after a crash the
 * next command sees the old pair or the new one. */
gboolean cs_store_commit (struct cs_store_txn *txn, const struct cs_index *x, GError **err);
void cs_store_abort (struct cs_store_txn *txn); /* NULL is fine */

/* All images and the index of a name. CAPSTAN_E_BUSY while somebody holds its lock; whether
 * an instance stands on it is for the caller to ask (cs_instance_using). */
gboolean cs_store_remove (const char *name, GError **err);
/* Lock on a name: shared while its image is opened or made an overlay of; -1 on error. A
 * commit that a crash left is carried through before, since it could not be after. */
int cs_store_lock (const char *name, gboolean exclusive, gboolean wait, GError **err);

/* "raw", "qcow2", "vdi", "vmdk", by a strict reading of the header; refuses what must not
 * be trusted (backing file, encryption, external data, ...). *ret_size: virtual size.
 * allow_backing: for our own overlays. Static string, or NULL and the error. */
const char *cs_image_probe (int fd, const char *path, gboolean allow_backing,
                            guint64 *ret_size, GError **err);

/* config.yaml: repo_url, disable_kvm, qemu_aio_type, release_tag of the original, and ours
 * (hypervisor, repo, libvirt_uri, ...). NULL if absent; borrowed; loaded once. */
const char *cs_config (const char *key);
#endif
