/* The plan of an image's file system: what goes in, under which name, from where.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * A tree is built by scanning (tree-scan.c) and by reading the file system of a base
 * (rofs-read.c, ext4-read.c); later additions replace earlier files. It knows no file
 * system format. Names are bytes. Nothing is read but directories and symlinks: file data
 * stays where it is until a writer streams it with cs_source_copy. */
#ifndef CS_TREE_H
#define CS_TREE_H
#include <glib.h>
#include <sys/types.h>

struct cs_tree;
struct cs_srcdir { /* a directory of the host that files come from */
  struct cs_tree *tree;
  struct cs_srcdir *parent; /* NULL: `name` is a path */
  const char *name;
  dev_t dev; ino_t ino; /* what was scanned; checked again when it is opened */
  int fd;               /* -1 while closed; see cs_srcdir_fd */
};

struct cs_extent { guint64 logical, physical, length; }; /* bytes */

typedef enum {
  CS_SRC_NONE,   /* no data (directory, symlink, empty file) */
  CS_SRC_HOST,   /* file `name` in `dir` of the host */
  CS_SRC_MEMORY, /* `bytes`, inode.size long */
  CS_SRC_IMAGE   /* extents of the open file `fd` (a base image); gaps are zeros */
} CsSourceKind;

/* Shared by the names of a hard-linked file. There may be hundreds of thousands, so what
 * excludes each other has one place. */
struct cs_inode {
  guint16 type;   /* S_IFDIR, S_IFREG, S_IFLNK */
  guint16 perm;   /* 07777 */
  guint32 uid, gid;
  guint32 nlink;  /* names of a file in the tree */
  guint32 number; /* for the writer's use; 0 at first */
  CsSourceKind source;
  guint64 size;          /* of data; of the target for symlinks */
  dev_t dev; ino_t ino;  /* of the host: what was scanned; checked again when opened */
  gint64 host_mtime_ns;  /* to notice a change while building */
  gint64 host_ctime_ns;  /* and between builds */
  union {
    GPtrArray *children; /* directories: of struct cs_node *, sorted by name (bytes) */
    char *bytes;         /* MEMORY; and the target of a symlink (size bytes, then NUL) */
    struct {             /* HOST */
      struct cs_srcdir *dir; /* the tree's */
      const char *name;      /* in dir; the tree's */
    };
    struct {             /* IMAGE */
      struct cs_extent *extents; /* sorted by logical */
      guint n_extents;
      int fd;                    /* borrowed from whoever opened the base */
      const char *fd_name;       /* for messages; borrowed */
    };
  };
  GPtrArray *attrs;      /* extended attributes of a base: of struct cs_attr *; or NULL */
};

struct cs_attr { const char *name; const guint8 *value; gsize size; }; /* the tree's */

struct cs_node { /* a name in a directory */
  const char *name; /* no '/', not empty; owned by the tree */
  struct cs_inode *inode;
};

#define CS_TREE_DEPTH 2000 /* directories in directories, at most */
#define CS_TREE_DIRS 32    /* of the host that are open at once, at most */

struct cs_tree {
  struct cs_inode *root; /* a directory; the same one for as long as the tree lives */
  GPtrArray *srcdirs;
  GHashTable *links;     /* (dev, ino) of host files with several links -> inode */
  GPtrArray *inodes;     /* all, owned here */
  gint64 mtime;          /* of everything, in seconds: SOURCE_DATE_EPOCH, else 0 */
  guint64 n_files, n_dirs, n_symlinks, data_bytes; /* of cs_tree_count */
  GPtrArray *pool; gsize pool_left;                /* memory of inodes, nodes and names */
  struct cs_srcdir *open_dirs[CS_TREE_DIRS]; guint next_dir;
};

struct cs_tree *cs_tree_new (void);
void cs_tree_free (struct cs_tree *t);
typedef struct cs_tree cs_tree; /* for g_autoptr (cs_tree) only */
G_DEFINE_AUTOPTR_CLEANUP_FUNC (cs_tree, cs_tree_free)

struct cs_inode *cs_inode_new (struct cs_tree *t, mode_t type, guint perm);
/* Puts inode at the absolute guest path, making parents (0755). A file or symlink replaces
 * what is there. Where a directory is laid over a directory, the one that is there stays
 * and takes permissions, owner and children of the new one. A directory in the place of a
 * file, or the reverse, is an error that names the path. A symlink to a directory on the
 * way is followed only inside the tree. */
gboolean cs_tree_put (struct cs_tree *t, const char *guest_path, struct cs_inode *inode,
                      GError **err);
/* The same for a name in a directory that is at hand, without following anything; the name
 * is the tree's (cs_tree_name). `path` is for messages. */
gboolean cs_tree_add (struct cs_tree *t, struct cs_inode *dir, const char *name,
                      struct cs_inode *inode, const char *path, GError **err);
/* A copy that lives as long as the tree. */
const char *cs_tree_name (struct cs_tree *t, const char *name);
/* "user.x" and the like; the value as ext4 has it on disk. */
void cs_tree_add_attr (struct cs_tree *t, struct cs_inode *i, const char *name,
                       const void *value, gsize size);
/* Direct child of a directory inode, or NULL; binary search. */
struct cs_node *cs_tree_child (struct cs_inode *dir, const char *name);
/* By absolute path, symlinks not followed; or NULL. */
struct cs_inode *cs_tree_lookup (struct cs_tree *t, const char *guest_path);
/* The same with symlinks followed, inside the tree. *ret_real, if it is not NULL, is the path
 * without them; g_free. */
struct cs_inode *cs_tree_follow (struct cs_tree *t, const char *guest_path, char **ret_real);
/* The directory that is there now. */
struct cs_inode *cs_tree_put_dir (struct cs_tree *t, const char *guest_path, guint perm,
                                  GError **err);
gboolean cs_tree_put_bytes (struct cs_tree *t, const char *guest_path, const void *bytes,
                            gsize n, guint perm, GError **err);
gboolean cs_tree_put_symlink (struct cs_tree *t, const char *guest_path,
                              const char *target, GError **err);

struct cs_ignore;
/* FIFOs, sockets, devices: an error, or left out with a warning or without. */
typedef enum { CS_SPECIAL_FAIL, CS_SPECIAL_WARN, CS_SPECIAL_SKIP } CsSpecial;
struct cs_scan_opts {
  const struct cs_ignore *ignore; /* what to leave out, or NULL */
  const char *ignore_path;        /* what host_path is called there: "/sub", "" for all */
  CsSpecial special;
  gboolean set_owner; guint32 uid, gid;
  int perm;                       /* of a file that host_path is; -1: as it is */
};
#define CS_SCAN_INIT { .perm = -1 }
/* A file, symlink or directory (recursively) of the host at a guest path. The directories
 * are opened relative to one another, so that a path may be of any length. */
gboolean cs_tree_scan (struct cs_tree *t, const char *guest_path, const char *host_path,
                       const struct cs_scan_opts *o, GError **err);
/* Open; borrowed, until the next call for this tree. A directory that is not what was
 * scanned is an error. */
int cs_srcdir_fd (struct cs_srcdir *d, GError **err);
char *cs_srcdir_path (const struct cs_srcdir *d); /* for messages; g_free */
void cs_tree_count (struct cs_tree *t);

/* Opens the data of a HOST inode and checks that it is what was scanned. The descriptor is
 * the caller's. */
int cs_source_open (struct cs_inode *i, GError **err);
/* Still the same file, size and mtime: else an error that says so. */
gboolean cs_source_same (const struct cs_inode *i, int fd, GError **err);
/* Streams all data of a regular file to out@off: in the kernel where it can, holes kept
 * where the target is a hole; *moved grows by what is no hole. `out_name` is for messages. */
gboolean cs_source_copy (struct cs_inode *i, int out, guint64 off, const char *out_name,
                         guint64 *moved, GError **err);
/* n bytes from `from` on; fd is of cs_source_open, which a HOST inode needs. */
gboolean cs_source_copy_part (struct cs_inode *i, int fd, guint64 from, guint64 n, int out,
                              guint64 off, const char *out_name, guint64 *moved, GError **err);
/* Reads all data of a small regular file (size <= max) into buf. */
gboolean cs_source_read (struct cs_inode *i, void *buf, gsize max, GError **err);
/* Path on the host or "IMAGE: data", for messages; g_free. */
char *cs_source_name (const struct cs_inode *i);
#endif
