/* Inside the plugin: images in Git repositories. SPDX-License-Identifier: BSD-3-Clause
 *
 * url.c reads the URL, run.c and env.c run the git program, error.c reads what it complains
 * of, clone.c keeps the clone and looks into it, pull.c and push.c do what they say, lfs.c talks
 * to Git LFS servers, repo-git.c is the plugin's table.
 *
 * In the cache lies a folder for each URL:
 *   repo.git/      bare; the commits that were seen, without history and without the blobs
 *                  above SMALL_BLOB. Each is kept by refs/capstan/<commit>
 *   blobs/<name>/  objects of one large blob, until it has gone into the store
 *   push-XXXXXX/   objects of a push that is under way
 *   lock           held while repo.git is made or grows
 * Strings lie in the call's memory unless they are members of struct git. */
#ifndef CAPSTAN_REPO_GIT_H
#define CAPSTAN_REPO_GIT_H
#include "capstan/plugin.h"

enum { OID_ROOM = 65, SMALL_BLOB = 65536, NAME_DEPTH = 16 };

struct git {     /* an opened repository */
  char *url;     /* as git takes it; no password is in it */
  char *scheme;  /* the one protocol that git may speak: "https" */
  char *host;    /* in lower case, without port; "" for file */
  char *realm;   /* of secrets: "https://host:8443/a"; "" where git needs none of us */
  char *last;    /* last part of the path, without ".git": what its only image is called */
  char *home;    /* its folder in the cache */
  char *branch, *layout, *lfs, *lfs_url, *ca; /* options; NULL: not given */
  uint64_t max_blob;                          /* 0: any */
  int tag;
};

/* ---- text in the call's memory ---- */
const char *git_text (struct capstan_call *, const char *fmt, ...) CAPSTAN_PRINTF (2, 3);
const char *git_take (struct capstan_call *, const char *s, size_t n);
/* Printable, one line, for messages: what a server says may hold anything. */
const char *git_clean (struct capstan_call *, const char *s, size_t n);

/* ---- url.c ---- */
/* url, scheme, host, realm and last of g. insecure: http and git to other machines. */
int git_url_read (struct capstan_call *, const char *given, int insecure, struct git *g);
int git_url_match (const char *url);
/* A name for a folder: the URL's last part and the first digits of its sha256. */
const char *git_url_folder (struct capstan_call *, const struct git *g);

/* ---- run.c ---- */
enum {
  GIT_NET = 1 << 0,   /* may talk to the server, and only there are blobs missing by intent */
  GIT_STATUS = 1 << 1, /* a status other than 0 is for the caller */
  GIT_NO_DIR = 1 << 2, /* needs no clone */
  GIT_SIGNS = 1 << 3,  /* makes a commit: who the user is has to be known */
  GIT_BLOB = 1 << 4    /* fetches a blob: the server must not think that we have it already */
};
struct git_cmd {
  const char *const *args;    /* "fetch", ..., NULL */
  uint32_t flags;
  uint32_t level;             /* of compression of what is written: 0 none, 1 fast */
  const char *objects;        /* a folder of its own for objects it makes, or NULL */
  const char *phase;          /* of progress, or NULL */
  uint64_t total;
  const void *input; size_t input_len;
  uint64_t out_max;           /* 0: 1 MiB */
  /* Standard input piece by piece: the bytes put into buf, 0 at the end, or -code. */
  int64_t (*feed) (void *user, void *buf, size_t n);
  /* Standard output as it comes. */
  int (*take) (void *user, const void *p, size_t n);
  void *user;
  /* results */
  const char *out; size_t out_len;
  const char *err;            /* what it complained of */
  int status;
};
int git_run (struct git *, struct capstan_call *, struct git_cmd *);
#define GIT_ARGS(...) ((const char *const[]){ __VA_ARGS__, NULL })

/* ---- env.c ---- */
/* The variables of a command, "K=V" or "K", for free (); NULL: no memory. secret_fd: where
 * the child reads the credentials, or -1. */
const char **git_environment (struct git *, struct capstan_call *, const struct git_cmd *,
                              int secret_fd);
/* What the host knows for a realm, or else for its host alone. password NULL: nothing. key:
 * what it is called there; NULL: it came from elsewhere. */
struct git_secret { const char *user, *password, *key, *realm; };
void git_secret (struct capstan_call *, const char *realm, struct git_secret *ret);
/* What became of it, so that the host can forget what is wrong. */
void git_secret_tell (struct capstan_call *, const struct git_secret *, int rc);
/* That of the repository, as a helper of git would say it; -1: there is nothing. */
int git_secret_file (struct git *, struct capstan_call *, struct git_secret *ret);
/* How ssh is run: as the user has told git (*ret_own then), or in a way that asks nothing
 * and notices a server that is gone. */
const char *git_ssh_command (struct git *, struct capstan_call *, int *ret_own);

/* ---- error.c ---- */
/* Sets the error for a command that failed: its code by what git says. */
int git_failed (struct git *, struct capstan_call *, const struct git_cmd *);
/* Of what it printed: without progress and advice, on one line. */
const char *git_complaint (struct capstan_call *, const char *err);

/* ---- clone.c ---- */
struct git_tip {
  const char *ref;    /* "refs/heads/main"; NULL: a commit that was named */
  char oid[OID_ROOM]; /* of the commit; "": the branch is not there yet */
};
struct git_file {     /* an entry of a tree */
  const char *path;
  const char *mode;   /* "100644", "040000", ... */
  char oid[OID_ROOM];
};
struct git_files { struct git_file *v; size_t n, room; }; /* zero: none */
/* Asks the server. version NULL: the tip of the branch, which may not be there yet. name:
 * tags "<name>/<version>" count. A version that is nowhere: E_NOTFOUND. */
int git_tip (struct git *, struct capstan_call *, const char *name, const char *version,
             struct git_tip *ret);
/* oid "": there is no such tag. */
int git_tag_find (struct git *, struct capstan_call *, const char *tag, struct git_tip *ret);
/* An empty repository: the branch that its HEAD names, which ls-remote does not say. */
int git_unborn (struct git *, struct capstan_call *, const char *dir, struct git_tip *);
/* The commit with its trees and small blobs is in the clone after this. "": just a clone. */
int git_need (struct git *, struct capstan_call *, const char *commit);
/* Can it be the name of a tag or a branch at all? */
int git_is_ref_name (const char *);
int git_oid_valid (const char *s, size_t n);
/* Removes what nobody uses any more: of all repositories in the cache. */
int git_maintain (struct git *, struct capstan_call *, uint64_t older_than, int dry_run);

/* ---- object.c ---- */
/* What lies directly in a tree (a commit or tree): paths relative to it. only: that path
 * alone, or with a final '/' what lies in it. GIT_DEEP: everything below, but only what could
 * be of an image: "a/b/index.yaml", "a/b/b.qemu". */
enum { GIT_DEEP = 1 };
int git_ls (struct git *, struct capstan_call *, const char *tree, const char *only,
            uint32_t flags, struct git_files *ret);
int git_files_add (struct capstan_call *, struct git_files *, const struct git_file *);
void git_files_free (struct git_files *);
/* Size of a blob that is here, in objects or (NULL) the clone; UINT64_MAX: it is not here. */
int git_size (struct git *, struct capstan_call *, const char *objects, const char *oid,
              uint64_t *ret);
/* A small blob that is here, NUL-terminated. */
int git_blob (struct git *, struct capstan_call *, const char *oid, const char **ret,
              size_t *ret_len);
/* Gets a large blob of a commit into a folder of objects, and holds a lock on it. done: 1 when it is not
 * wanted any more; otherwise it stays for the next attempt. */
struct git_large { const char *objects; int lock; };
int git_large_get (struct git *, struct capstan_call *, const char *commit, const char *oid,
                   struct git_large *ret);
void git_large_put (struct git_large *, int done);

/* ---- file.c: folders and locks of the cache ---- */
const char *git_path (struct git *, struct capstan_call *, const char *in_home);
int git_mkdirs (struct capstan_call *, const char *path);
void git_remove_tree (const char *path);
size_t git_count_files (const char *dir);
/* flock on a file: waits unless try is 1; the descriptor, -CAPSTAN_E_BUSY without an error
 * set, or -code. Whoever holds it may unlink the file. */
int git_lock (struct capstan_call *, const char *path, int try);

/* ---- entry.c: images in a tree ---- */
enum { IMAGES_MAX = 8 };
struct git_image {
  struct git_file file;  /* its path is from the root of the repository */
  const char *encoding;  /* by its name: "gzip", "zstd", NULL */
  uint64_t size;         /* of the image, not of an LFS pointer to it; UINT64_MAX: unknown */
  const char *lfs;       /* sha256 of what the pointer stands for; NULL: it is none */
};
struct git_entry {
  const char *dir;       /* "a/b"; "" at the root */
  struct git_file index; /* path NULL: none */
  struct git_image images[IMAGES_MAX]; /* of one suffix, best first */
  size_t n_images;
};
/* What there is of a name at a commit that is in the clone; all zero: nothing. */
int git_entry_find (struct git *, struct capstan_call *, const char *commit, const char *name,
                    const char *suffix, struct git_entry *ret);
/* The same of the files of one folder, dir ("": the root). */
void git_entry_of (struct git *, struct capstan_call *, const struct git_files *, const char *dir,
                   const char *suffix, struct git_entry *ret);
/* Stands for the entry as it is; NULL: nothing is there. */
const char *git_entry_etag (const struct git_entry *);
/* Size and LFS pointer of what is here without asking the server. */
int git_image_look (struct git *, struct capstan_call *, struct git_image *);
const char *git_encoding_of (const char *path);
/* May the repository's root hold the image of that name? */
int git_is_root_name (const struct git *, const char *name);
const char *git_param (const struct capstan_kv *, size_t n, const char *key, const char *otherwise);

/* ---- pull.c ---- */
int git_list (struct capstan_call *, void *self, const struct capstan_query *,
              struct capstan_list *, const char **ret_next);
int git_resolve (struct capstan_call *, void *self, const struct capstan_query *,
                 struct capstan_list *);
int git_fetch (struct capstan_call *, void *self, const struct capstan_fetch_req *,
               struct capstan_sink *, struct capstan_fetch_rsp *);
/* "COMMIT:NAME", as resolve gives it, in its parts. */
int git_ref_split (struct capstan_call *, const char *ref, const char **ret_commit,
                   const char **ret_name);

/* ---- push.c ---- */
int git_push (struct capstan_call *, void *self, const struct capstan_push_req *,
              struct capstan_source *, struct capstan_push_rsp *);
int git_remove (struct capstan_call *, void *self, const char *ref, const struct capstan_action *);

/* ---- land.c: one commit on the tip of the branch ---- */
struct git_change {
  const char *name, *suffix; /* of the entry that is changed */
  const char *seen;          /* its etag when we looked; NULL: it was not there */
  const char *objects;       /* where the new objects are */
  const char *message, *tag; /* tag: a ref to make as well, or NULL */
  uint64_t total;            /* bytes of all of it, for progress */
  /* Puts and drops files of the entry's folder, whose content is in l. */
  int (*edit) (void *user, struct git *, struct capstan_call *, const char *dir, struct git_files *l);
  int (*about) (void *user, const char *commit); /* before it is sent; or NULL */
  void *user;
};
/* The folder of the entry: its name, or "" for the repository's root. */
const char *git_change_dir (struct git *, const char *name, const struct git_entry *);
/* dir, tip: as they were when the entry was looked at; then tip is what it has become. It is
 * tried again on a tip that others have moved meanwhile, unless they changed the entry. */
int git_land (struct git *, struct capstan_call *, const struct git_change *, const char *dir,
              struct git_tip *tip);
/* A small blob is written to c->objects. */
int git_put_text (struct git *, struct capstan_call *, const char *objects, const char *text,
                  size_t n, char *ret_oid);
int git_drop (struct git_files *, const char *name);
int git_put (struct capstan_call *, struct git_files *, const char *name, const char *oid);
/* Folder for the objects of a push; locked as long as *ret_fd is open. */
int git_work_begin (struct git *, struct capstan_call *, const char **ret_objects, int *ret_fd);
void git_work_end (const char *objects, int fd);
#endif
