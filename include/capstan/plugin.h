/* capstan/plugin.h - the whole contract between capstan and its plugins.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * Rules
 * - A struct that begins with struct_size grows only at its end. Whoever fills it sets
 *   struct_size to sizeof; whoever reads a field that is newer than 1.0 asks CAPSTAN_HAS
 *   first. A struct without struct_size is frozen for ever.
 * - Operations return 0, or the negative of a CAPSTAN_E_* code after a call of
 *   host->error (capstan_error below does both). On failure nothing that was passed for
 *   an answer is touched.
 * - Nothing is freed across this line. Strings and arrays that come in live as long as the
 *   call. Strings that go out are the plugin's own constants, or were passed through
 *   host->keep (they then live until the call ends), and the core copies them.
 * - No enum type, bool, long, off_t, time_t or bit-field crosses this line. All text is
 *   UTF-8 except file names, which are bytes. Sizes are in bytes, times in seconds since
 *   1970 UTC unless a name ends in _ms.
 * - Use designated initialisers: positional ones stop compiling cleanly when a struct grows.
 * - An operation that is NULL, or beyond the struct_size of the table, is "not supported".
 * - Descriptors are born O_CLOEXEC on both sides.
 * - Plugins link with -Wl,-z,defs: they use no symbol of the capstan program.
 */
#ifndef CAPSTAN_PLUGIN_H
#define CAPSTAN_PLUGIN_H
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#ifdef __cplusplus
extern "C" {
#endif

#define CAPSTAN_ABI_MAJOR 1 /* a new major is a new entry symbol */
#define CAPSTAN_ABI_MINOR 0 /* +1 whenever something is appended below */
#define CAPSTAN_HAS(type, p, field) \
  ((p)->struct_size >= offsetof (type, field) + sizeof ((p)->field))

/* Owned by the core; a plugin only hands them back. */
struct capstan_call;   /* one operation: its error, log, progress, cancel, arena */
struct capstan_list;   /* collects the results of a list-like operation */
struct capstan_sink;   /* where a repository writes; the files are the core's */
struct capstan_source; /* what a push reads */

/* ---- Closed sets are integers. New values are appended; an unknown one is read as the
 * first of its set (codes: as INTERNAL). ---- */
enum { /* error codes */
  CAPSTAN_E_INTERNAL = 1, CAPSTAN_E_INVAL, CAPSTAN_E_NOMEM, CAPSTAN_E_IO,
  CAPSTAN_E_NOTFOUND, CAPSTAN_E_EXISTS, CAPSTAN_E_STATE, CAPSTAN_E_BUSY,
  CAPSTAN_E_AUTH, CAPSTAN_E_PERM, CAPSTAN_E_NET, CAPSTAN_E_TIMEOUT,
  CAPSTAN_E_QUOTA, CAPSTAN_E_UNSUPPORTED, CAPSTAN_E_CHECKSUM,
  CAPSTAN_E_CANCELLED, CAPSTAN_E_PENDING,
  CAPSTAN_E_CONFLICT,     /* somebody else changed it first (if_match did not hold) */
  CAPSTAN_E_NOT_MODIFIED, /* if_none_match held: not an error of the user's */
  CAPSTAN_E_LIMIT,        /* larger than a limit of ours or the server's */
  CAPSTAN_E_UNTRUSTED     /* a signature or certificate does not hold */
};
enum { CAPSTAN_LOG_ERROR, CAPSTAN_LOG_WARN, CAPSTAN_LOG_INFO, CAPSTAN_LOG_DEBUG };
enum { CAPSTAN_KIND_HYPERVISOR = 1, CAPSTAN_KIND_REPO = 2 };
enum { /* how calls may overlap: one at a time in the process; one at a time for each
          open(); any number. cancelled() may always be called from any thread. */
  CAPSTAN_THREADS_ONE, CAPSTAN_THREADS_PER_OPEN, CAPSTAN_THREADS_ANY
};
enum { CAPSTAN_OPT_STRING, CAPSTAN_OPT_UINT, CAPSTAN_OPT_BOOL /* "true" "false" */,
       CAPSTAN_OPT_SIZE /* given as 512M, 2G; the plugin sees bytes in decimal */,
       CAPSTAN_OPT_PATH, CAPSTAN_OPT_CHOICE };
enum { CAPSTAN_OPTF_REQUIRED = 1 << 0, CAPSTAN_OPTF_SECRET = 1 << 1 };
enum { CAPSTAN_VM_UNKNOWN, CAPSTAN_VM_CREATING, CAPSTAN_VM_STOPPED, CAPSTAN_VM_RUNNING,
       CAPSTAN_VM_PAUSED, CAPSTAN_VM_CRASHED, CAPSTAN_VM_GONE, CAPSTAN_VM_STARTING,
       CAPSTAN_VM_STOPPING, CAPSTAN_VM_SAVED };
enum { /* why a VM is not running */
  CAPSTAN_REASON_UNKNOWN, CAPSTAN_REASON_SHUTDOWN, CAPSTAN_REASON_KILLED,
  CAPSTAN_REASON_CRASHED, CAPSTAN_REASON_FAILED };
enum { CAPSTAN_CONSOLE_FD = 1, CAPSTAN_CONSOLE_LOG, CAPSTAN_CONSOLE_URL };
enum { /* flags of requests and of what they name; each operation says which it knows */
  CAPSTAN_F_FORCE = 1 << 0,    /* stop: power off at once. destroy: stop it first */
  CAPSTAN_F_NO_WAIT = 1 << 1,  /* return when it is under way; -E_PENDING is an answer */
  CAPSTAN_F_READONLY = 1 << 2, /* disk */
  CAPSTAN_F_BOOT = 1 << 3,     /* disk: the one to boot from */
  CAPSTAN_F_PAUSED = 1 << 4    /* start: the CPUs wait for resume */
};
#define CAPSTAN_HV_LOCAL        (UINT64_C (1) << 0) /* the VM runs on this host */
#define CAPSTAN_HV_KERNEL_BOOT  (UINT64_C (1) << 1) /* takes kernel, initrd and cmdline */
#define CAPSTAN_HV_DISK_BOOT    (UINT64_C (1) << 2)
#define CAPSTAN_HV_SOFT_STOP    (UINT64_C (1) << 3) /* the guest can be asked (ACPI) */
#define CAPSTAN_HV_NEEDS_IMPORT (UINT64_C (1) << 4) /* image_import comes first */
#define CAPSTAN_HV_DETACHED     (UINT64_C (1) << 5) /* the VM outlives capstan */
#define CAPSTAN_HV_PAUSE        (UINT64_C (1) << 6) /* pause, resume, CAPSTAN_F_PAUSED */
#define CAPSTAN_HV_EXECUTES     (UINT64_C (1) << 7) /* guests really run (not: null) */
#define CAPSTAN_REPO_PUSH          (UINT64_C (1) << 0)
#define CAPSTAN_REPO_RESUME        (UINT64_C (1) << 1) /* fetch honours offset */
#define CAPSTAN_REPO_DIGEST        (UINT64_C (1) << 2) /* entries carry sha256 */
#define CAPSTAN_REPO_CONDITIONAL   (UINT64_C (1) << 3) /* if_match, if_none_match hold */
#define CAPSTAN_REPO_LIST          (UINT64_C (1) << 4)
#define CAPSTAN_REPO_SEARCH        (UINT64_C (1) << 5) /* the server filters by text */
#define CAPSTAN_REPO_PARALLEL      (UINT64_C (1) << 6) /* uses pwrite of the sink */
#define CAPSTAN_REPO_UPLOAD_RESUME (UINT64_C (1) << 7) /* uses state_get, state_put */
#define CAPSTAN_REPO_VERSIONS      (UINT64_C (1) << 8) /* keeps several of one name */

struct capstan_kv { const char *key, *value; }; /* frozen */
struct capstan_option { /* travels as an array with its stride (option_size) */
  const char *key, *help;
  const char *def;     /* what holds when it is not given, or NULL */
  const char *choices; /* CHOICE: "native,threads"; else NULL */
  uint32_t type, flags;
};

/* Every operation that takes nothing else takes this. Standard keys of params:
 * "timeout_ms" (stop, wait: how long to wait; 0: for ever), "signal" (stop: by name). */
struct capstan_action {
  uint32_t struct_size, flags;
  const struct capstan_kv *params; size_t n_params;
};
struct capstan_caps {
  uint32_t struct_size, reserved;
  uint64_t bits;     /* CAPSTAN_HV_* or CAPSTAN_REPO_* */
  const char *formats, *archs, *nics; /* open sets, best first: "qcow2,raw"; NULL: any.
                                         formats of a repository: encodings, see there */
  const char *accel;  /* hypervisor: what a VM would get now, "kvm", "tcg"; NULL: n/a */
  const char *detail; /* a line for people: the connection used, the version found */
};

/* ---- Running a program ---- */
struct capstan_run_req { /* argv[0] through PATH, no shell, all other fds closed */
  /* CAPSTAN_F_NO_WAIT: answer with the pid. CAPSTAN_F_FORCE: also once the call has been
   * cancelled, to undo what was begun; Ctrl-C does not reach it; a minute at most. */
  uint32_t struct_size, flags;
  const char *const *argv, *const *env;  /* env: "K=V" sets, "K" unsets; NULL: as is */
  const char *dir;                       /* working directory or NULL */
  const int *pass_fds; size_t n_pass_fds; /* become 3, 4, ... */
  const void *input; size_t input_len;   /* given on standard input */
  int32_t in_fd, out_fd, err_fd;         /* used as they are; -1: input, captured */
  uint32_t reserved;
  uint64_t out_max; /* bytes kept of each captured stream, more is E_LIMIT; 0: 1 MiB */
};
struct capstan_run_rsp {
  uint32_t struct_size;
  int32_t exit_status;   /* 128+N after signal N */
  const char *out, *err; /* what was captured, NUL-terminated, in the call's arena */
  size_t out_len, err_len;
  int64_t pid;           /* with CAPSTAN_F_NO_WAIT: for run_wait or run_kill, once */
};

/* ---- Hypervisors ---- */
struct capstan_vm_ref { /* how a later process finds the VM again */
  uint32_t struct_size, reserved;
  const char *id;    /* the backend's own: UUID, vmid, name */
  const char *state; /* text the core is asked to keep for the plugin, or NULL */
};
struct capstan_disk {
  uint32_t struct_size, flags;   /* CAPSTAN_F_READONLY, CAPSTAN_F_BOOT */
  const char *path, *image;      /* a local file, or what image_import returned */
  const char *format, *sha256;   /* "raw", "qcow2", "vdi", "vmdk"; hex or NULL */
  uint64_t size;                 /* virtual size in bytes; 0: unknown */
  const char *bus;               /* "virtio", "ide", "sata", "nvme", "scsi"; NULL: best */
  const char *serial;
  const struct capstan_kv *params; size_t n_params; /* checked against disk_options */
};
struct capstan_nic {
  uint32_t struct_size, flags;
  const char *mode, *network, *mac; /* mode: "nat", "bridge", "tap", "vhost", ... */
  const char *const *forwards;      /* "tcp:127.0.0.1:8080:80", NULL-terminated */
  const char *model, *device;       /* "virtio"; host device or bridge. NULL: best */
  const struct capstan_kv *params; size_t n_params; /* checked against nic_options */
};
struct capstan_serial { /* the first is the guest's first UART (0x3f8), and so on */
  uint32_t struct_size, flags;
  const char *role;   /* "console": the application's bytes; "control": the channel */
  const char *log;    /* the backend appends every byte that the guest sends, or NULL */
  const char *socket; /* AF_UNIX stream socket the backend listens on, or NULL */
};
struct capstan_vm_spec {
  uint32_t struct_size, flags;
  const char *name, *title; /* name: the backend's, unique; title: the user's */
  const char *uuid, *arch;  /* 36 characters; "x86_64" */
  const char *guest;        /* "osv", "linux": what devices its kernel has */
  const char *machine;      /* flavor or machine type; NULL: from cpus and memory */
  const char *firmware;     /* "bios", "uefi"; NULL: bios */
  const char *accel;        /* "kvm", "tcg"; NULL: the fastest that works */
  const char *cpu_model;    /* NULL: best */
  const char *run_dir;      /* a private folder for the backend's own files, exists */
  uint32_t cpus, reserved;
  uint64_t memory; /* bytes */
  const char *kernel, *initrd, *cmdline; /* files to boot directly, or NULL */
  const struct capstan_disk *const *disks; /* of pointers, NULL-terminated */
  const struct capstan_nic *const *nics;
  const struct capstan_serial *const *serials;
  const struct capstan_kv *labels; size_t n_labels;
  const struct capstan_kv *params; size_t n_params; /* checked against vm_options */
};
struct capstan_vm_info {
  uint32_t struct_size, state;
  const char *id, *name, *detail; /* detail: the backend's own word for the state */
  const char *const *addresses;   /* NULL-terminated; may come after start */
  const struct capstan_kv *props; size_t n_props;
  uint32_t exit_known; int32_t exit_status; /* the application's, if the backend knows */
  uint32_t reason, reserved;                /* CAPSTAN_REASON_* */
  int64_t started, stopped;                 /* INT64_MIN: unknown */
  const struct capstan_nic *const *nics;    /* as they are: ports that were picked */
  const char *const *resources; /* what lies on the host: "file:/x", "pid:7" */
};
struct capstan_vm_query {
  uint32_t struct_size, flags;
  const char *name_prefix; /* or NULL */
  const struct capstan_kv *params; size_t n_params;
};
struct capstan_console_req {
  uint32_t struct_size, want; /* CAPSTAN_CONSOLE_* */
  uint64_t offset;            /* LOG: from this byte */
  uint32_t flags, reserved;
  const char *role;           /* "console" or "control"; NULL: console */
  const struct capstan_kv *params; size_t n_params;
};
struct capstan_console_rsp {
  uint32_t struct_size, kind; /* CAPSTAN_CONSOLE_*, maybe not the one wanted */
  int32_t fd, reserved;       /* both ways; the core's from here on */
  const char *text, *url;
  uint64_t next_offset;
};

/* ---- Repositories ---- */
struct capstan_file { /* one file of an entry */
  uint32_t struct_size, flags;
  const char *path;     /* in the repository */
  const char *role;     /* "image", "index", "package", ... */
  const char *format;   /* "raw", "qcow2", ...; NULL: unknown */
  const char *encoding; /* on the wire: "gzip", "zstd"; NULL: as it is */
  const char *sha256, *wire_sha256, *etag; /* hex, of the decoded file; of the bytes sent */
  uint64_t size, wire_size;                /* UINT64_MAX: unknown */
};
struct capstan_entry { /* one image or package in a repository */
  uint32_t struct_size, flags;
  const char *name, *version, *arch, *kind, *format;
  const char *ref, *sha256, *etag; /* ref: immutable - digest, commit, UUID */
  uint64_t size;                   /* UINT64_MAX: unknown */
  int64_t created;                 /* INT64_MIN: unknown */
  const struct capstan_kv *props; size_t n_props;
  const struct capstan_file *const *files; /* of pointers, NULL-terminated */
};
struct capstan_query {
  uint32_t struct_size, flags;
  const char *name, *version, *arch, *kind, *format; /* NULL: any */
  const char *text; /* search: what a name or description contains, letter case ignored */
  const char *page; /* what list answered as next_page, or NULL */
  uint64_t limit;   /* 0: the server's own */
  const struct capstan_kv *params; size_t n_params;
};
struct capstan_part { /* one file to fetch, from offset on if it is still etag */
  uint32_t struct_size, flags;
  const char *path, *etag;
  uint64_t offset;
};
struct capstan_fetch_req {
  uint32_t struct_size, flags;
  const char *ref, *if_none_match;
  const struct capstan_part *const *parts; /* NULL-terminated; NULL: all of the entry */
  const struct capstan_kv *params; size_t n_params;
};
struct capstan_fetch_rsp {
  uint32_t struct_size, flags;
  const char *ref, *etag;
};
struct capstan_push_req {
  uint32_t struct_size, flags;
  const struct capstan_entry *entry;
  const char *if_match, *if_none_match; /* "*": must not exist yet */
  const char *message;
  const struct capstan_kv *params; size_t n_params;
};
struct capstan_push_rsp {
  uint32_t struct_size, flags;
  const char *ref, *etag, *version;
};

/* ---- Services of the core. What is passed in is copied before they return; what they
 * return lives until the call ends. Any thread may use them; `cancelled' may also be used
 * in a signal handler and between fork and exec. Those that return int return 0 or the
 * negative of a code, with the error already set. ---- */
struct capstan_host {
  uint32_t struct_size; uint16_t abi_major, abi_minor;
  /* Sets the call's error and returns -code; sys_errno 0: none. The last one holds. */
  int (*error) (struct capstan_call *, uint32_t code, int sys_errno, const char *msg);
  void (*retry_after) (struct capstan_call *, uint32_t ms); /* beside an error */
  void (*log) (struct capstan_call *, uint32_t level, const char *msg);
  int (*progress) (struct capstan_call *, const char *phase, uint64_t done,
                   uint64_t total); /* total 0: unknown. -E_CANCELLED when cancelled */
  int (*cancelled) (struct capstan_call *); /* 1 once cancelled */
  int (*cancel_fd) (struct capstan_call *); /* readable once cancelled; borrowed */
  int (*sleep_ms) (struct capstan_call *, uint32_t ms); /* -E_CANCELLED, at once */
  uint64_t (*time_left_ms) (struct capstan_call *); /* UINT64_MAX: no deadline */
  const char *(*keep) (struct capstan_call *, const char *s, size_t n); /* SIZE_MAX: strlen */
  const char *(*option) (struct capstan_call *, const char *key); /* checked; def or NULL */
  const char *(*secret) (struct capstan_call *, const char *realm, const char *key);
  void (*secret_result) (struct capstan_call *, const char *realm, const char *key,
                         int accepted); /* so that a helper can forget a wrong one */
  const char *(*dir) (struct capstan_call *, const char *which); /* state cache run */
  int (*run) (struct capstan_call *, const struct capstan_run_req *,
              struct capstan_run_rsp *); /* the program's failure is not an error here */
  int (*run_wait) (struct capstan_call *, int64_t pid, struct capstan_run_rsp *);
  int (*run_kill) (struct capstan_call *, int64_t pid, int32_t signal);
  int (*lock) (struct capstan_call *, const char *name); /* until the call ends */
  int (*emit_vm) (struct capstan_list *, const struct capstan_vm_info *);
  int (*emit_entry) (struct capstan_list *, const struct capstan_entry *);
  /* Sinks. begin answers how many bytes are there already (0 unless part.offset was given).
   * write goes on from there; pwrite may come from several threads; hole is zeros. The rest
   * is said above capstan_repo_ops. */
  int (*sink_begin) (struct capstan_sink *, const struct capstan_file *,
                     uint64_t *ret_offset);
  int (*sink_write) (struct capstan_sink *, const void *, size_t);
  int (*sink_pwrite) (struct capstan_sink *, uint64_t offset, const void *, size_t);
  int (*sink_hole) (struct capstan_sink *, uint64_t n);
  int (*sink_end) (struct capstan_sink *);
  /* Sources. pread is thread-safe, answers the bytes read (0: end) or the negative of a
   * code. state_* keep a line for this push that survives a kill (an upload id). */
  uint32_t (*source_count) (struct capstan_source *);
  const struct capstan_file *(*source_file) (struct capstan_source *, uint32_t i);
  int64_t (*source_pread) (struct capstan_source *, uint32_t i, uint64_t offset, void *,
                           size_t);
  const char *(*state_get) (struct capstan_source *, const char *key);
  int (*state_put) (struct capstan_source *, const char *key, const char *value);
  /* 1.1 appends here */
};

struct capstan_hypervisor_ops {
  uint32_t struct_size, reserved;
  int (*probe) (struct capstan_call *); /* 0: usable here; else the error says why */
  int (*open) (struct capstan_call *, void **ret_self);
  void (*close) (struct capstan_call *, void *self); /* also after a failed call */
  int (*caps) (struct capstan_call *, void *self, struct capstan_caps *);
  int (*image_import) (struct capstan_call *, void *self, const struct capstan_disk *,
                       const char **ret_image);
  int (*image_remove) (struct capstan_call *, void *self, const char *image,
                       const struct capstan_action *);
  /* Would create work? Changes nothing: options, ports, permissions, formats. The files of
   * the spec may not be there yet. */
  int (*check) (struct capstan_call *, void *self, const struct capstan_vm_spec *);
  int (*create) (struct capstan_call *, void *self, const struct capstan_vm_spec *,
                 struct capstan_vm_ref *ret_ref);
  int (*start) (struct capstan_call *, void *self, const struct capstan_vm_ref *,
                const struct capstan_action *); /* F_PAUSED */
  /* Returns when it has stopped; E_TIMEOUT if it has not after timeout_ms. */
  int (*stop) (struct capstan_call *, void *self, const struct capstan_vm_ref *,
               const struct capstan_action *); /* F_FORCE, F_NO_WAIT */
  /* Forgets the VM; files named in the spec stay, they are the core's. Gone already: 0. */
  int (*destroy) (struct capstan_call *, void *self, const struct capstan_vm_ref *,
                  const struct capstan_action *); /* F_FORCE */
  int (*pause) (struct capstan_call *, void *self, const struct capstan_vm_ref *,
                const struct capstan_action *);
  int (*resume) (struct capstan_call *, void *self, const struct capstan_vm_ref *,
                 const struct capstan_action *);
  int (*reset) (struct capstan_call *, void *self, const struct capstan_vm_ref *,
                const struct capstan_action *);
  int (*rename) (struct capstan_call *, void *self, const struct capstan_vm_ref *,
                 const char *title, struct capstan_vm_ref *ret_ref);
  int (*update) (struct capstan_call *, void *self, const struct capstan_vm_ref *,
                 const struct capstan_vm_spec *, struct capstan_vm_ref *ret_ref);
  /* Until the state is until_state or one it cannot come from; emits the final info. */
  int (*wait) (struct capstan_call *, void *self, const struct capstan_vm_ref *,
               uint32_t until_state, const struct capstan_action *, struct capstan_list *);
  int (*watch) (struct capstan_call *, void *self, const struct capstan_vm_query *,
                struct capstan_list *); /* emits until cancelled */
  int (*info) (struct capstan_call *, void *self, const struct capstan_vm_ref *,
               const struct capstan_action *, struct capstan_list *); /* none: GONE */
  int (*list) (struct capstan_call *, void *self, const struct capstan_vm_query *,
               struct capstan_list *);
  int (*console) (struct capstan_call *, void *self, const struct capstan_vm_ref *,
                  const struct capstan_console_req *, struct capstan_console_rsp *);
  /* 1.1 appends here */
};
/* How repositories work. What is said here holds for every plugin; `capstan plugin test'
 * and tests/repo/suite.sh check it.
 *
 * Choosing. The .plugin file says `schemes: http,https` (what stands before the first ':')
 * and `patterns: https:*.git, github.com/?*` ('*' is any text, '/' too; '?' is one
 * character). The core reads that without loading anything: a pattern wins over a scheme,
 * the name given by --repo-type over both; of those that claim a URL alike, the ones whose
 * `match' answers 1 stay. open is given the URL as the user wrote it, never with a password in it; it parses,
 * and does not talk to a server. What is set for a repository ("ca", "endpoint", "region",
 * "release-tag", ...) are options of open, in the provider's table.
 *
 * Names and paths. A name is "app" or "a/b/app", checked by the core. Paths are relative to
 * the repository, with '/' and not escaped; the layout is that of the original Capstan:
 *     <name>/index.yaml                              role "index"
 *     <name>/<last part>.<suffix>[.gz|.zst]          role "image"
 * The suffix ("qemu", "vbox") comes as param "suffix" of resolve, list and push. A repository
 * that holds one image only at its root resolves the last part of its URL (without ".git").
 * Only the core reads index.yaml: plugins move bytes and never look into them.
 *
 * list emits what there is, any order, at least `name' of each, and *ret_next_page for the
 * next call or NULL. With what costs nothing beside the listing: files (index), size,
 * created, etag. query.text is only given where REPO_SEARCH is; else the core filters. What
 * is no image of the layout is passed over. Where nothing can be listed: E_UNSUPPORTED.
 *
 * resolve looks for exactly one name (query.version only with REPO_VERSIONS: tag, branch,
 * commit) and emits one entry, or fails with E_NOTFOUND that says where it looked. `files'
 * are what was seen to be there, never guesses: the index if there is one, then each image
 * file of the suffix, best first (several encodings may lie there; the index says which
 * counts), with path, role, encoding by name (".gz" gzip, ".zst" zstd), wire_size and etag
 * where known. An entry without an index, or without an image of this suffix, is emitted
 * too; without both it is E_NOTFOUND. entry.etag stands for the entry as a whole (that of
 * index.yaml, else of the image), ref is the plugin's own word for the entry as it is now
 * (a commit; else its name): fetch and remove are given it back.
 *
 * fetch sends `parts' in order, each: sink_begin, then sink_write..., or sink_pwrite... from
 * any threads, then sink_end. ref NULL: the paths alone say what (many indexes of a list).
 *   - sink_begin is given path, the etag as it is NOW, wire_size and encoding where known.
 *     *ret_offset is where to go on: part.offset if file.etag is part.etag, byte by byte and
 *     no weak one ("W/..."); else 0, and the sink has thrown away what it had. Who asked the
 *     server for a range guards it (If-Range), and starts at 0 when the file has changed;
 *     where a server cannot go on in the middle, the plugin reads that far and drops it.
 *     Whatever fits as an etag may be one (a blob's name, Last-Modified); NULL: no resume.
 *   - Bytes are those of the wire, as stored: no Accept-Encoding, nothing decoded. Decoding,
 *     digests, space and limits are the core's. sink_write appends at the offset; sink_pwrite
 *     says where, every byte once; sink_hole appends zeros. One part uses either pwrite or
 *     the other two. Pieces go in ascending order (8 MiB is good), since what is resumed is
 *     the part without gaps.
 *   - If a sink function fails, the plugin stops and returns that code unchanged. If the
 *     transfer fails, it returns its error and does not call sink_end. sink_end answers
 *     E_NET for a file shorter than wire_size, E_CHECKSUM, E_QUOTA, ...
 *   - if_none_match is entry.etag: E_NOT_MODIFIED if it still is that, with nothing begun.
 *
 * push sends the source's files in order (image, then index.yaml), to files[i].path. All is
 * known before: sizes, sha256, wire_sha256, encoding. if_match is entry.etag of resolve,
 * if_none_match "*" when nothing was there. Of two pushers that saw the same state one
 * succeeds, the other gets E_CONFLICT, and image and index that lie there then are of the
 * one: so the condition is asked before anything is sent, and holds for each write where
 * the server can (image and index: each by the etag that was seen at the start). Where it
 * cannot (501), the plugin asks again just before it writes, and caps leaves out
 * REPO_CONDITIONAL. After the index is in place, the same image in other encodings is
 * removed (a failure there is a log line), and a listing that the server keeps is brought
 * up to date. An upload that dies leaves nothing under a final name; with UPLOAD_RESUME it
 * goes on at the next push by what state_put kept (the core forgets it after success, and
 * gives it only for the same bytes to the same place; value NULL forgets a key).
 * source_pread is of wire bytes, any order, any threads, repeatable. rsp.etag is the
 * entry's etag from now on. caps.formats are the encodings in order of liking ("gzip,none,
 * zstd"; NULL: "none"): the first is what push uses without --compress.
 *
 * remove takes away all files of the entry, index first; E_CONFLICT if ref names a state
 * that is no longer; gone already: 0. maintain removes unfinished uploads of this repository
 * older than param "older_than" (seconds, 86400) and what the plugin caches of no use; with
 * "dry_run" "true" it only logs (INFO) what it would remove.
 *
 * Errors. NOTFOUND: no such name, version, bucket. AUTH: no credentials or wrong ones (401,
 * SignatureDoesNotMatch), after secret_result (.., 0). PERM: known but not allowed (403,
 * read-only). NET: cannot connect, reset, cut short, 5xx. TIMEOUT: silence (60 s without a
 * byte). BUSY: 429, 503 with retry_after. QUOTA: the server's space. CONFLICT,
 * NOT_MODIFIED: above. CHECKSUM: the server's own check of an upload failed. UNTRUSTED: TLS
 * certificate or host key. LIMIT: redirects, sizes. UNSUPPORTED: the server cannot do that.
 * INVAL: URL or option. IO: local. The text names the URL (without secrets), the status, and
 * the first words of the server's own text if it is text; a body of an error is never data.
 * The core retries NET, TIMEOUT and BUSY (fetch goes on where it was), waits as retry_after
 * says, else 0.5 s, 1 s, 2 s, ...; so plugins do not retry, but for a piece of a parallel
 * transfer or where a protocol demands it, a few times.
 *
 * Threads and cancelling. One operation at a time for each open. A plugin's own threads end
 * before the operation returns. Every wait includes cancel_fd or asks cancelled at least
 * each 100 ms, and then returns E_CANCELLED; sinks and sources answer it too.
 *
 * Progress. The core counts what goes into sinks. push says progress ("upload", bytes the
 * server has, all bytes); other long phases say what they are ("clone", done, total).
 *
 * Secrets. secret (realm, key): realm is "https://host[:port]" or longer ("s3://bucket"), in
 * lower case, without user; key is "username", "password", "token", "access_key_id",
 * "secret_access_key", "session_token". The core asks CAPSTAN_SECRET_<REALM>_<KEY>,
 * ~/.capstan/credentials, netrc and the helper program, and answers NULL where none has it.
 * What a kind of server has of its own (AWS_*, GITHUB_TOKEN, ~/.aws) the plugin reads itself,
 * before it asks. secret_result tells how it went. Secrets never go into argv, logs, errors
 * or URLs, nor to another host after a redirect. */
struct capstan_repo_ops {
  uint32_t struct_size, reserved;
  int (*probe) (struct capstan_call *);
  int (*match) (struct capstan_call *, const char *url); /* 1: ours, 0: not */
  int (*open) (struct capstan_call *, const char *url, void **ret_self);
  void (*close) (struct capstan_call *, void *self);
  int (*caps) (struct capstan_call *, void *self, struct capstan_caps *);
  int (*list) (struct capstan_call *, void *self, const struct capstan_query *,
               struct capstan_list *, const char **ret_next_page);
  int (*resolve) (struct capstan_call *, void *self, const struct capstan_query *,
                  struct capstan_list *);
  int (*fetch) (struct capstan_call *, void *self, const struct capstan_fetch_req *,
                struct capstan_sink *, struct capstan_fetch_rsp *);
  int (*push) (struct capstan_call *, void *self, const struct capstan_push_req *,
               struct capstan_source *, struct capstan_push_rsp *);
  int (*remove) (struct capstan_call *, void *self, const char *ref,
                 const struct capstan_action *);
  int (*maintain) (struct capstan_call *, void *self, const struct capstan_action *);
  /* 1.1 appends here */
};

struct capstan_provider { /* one hypervisor, or one kind of repository */
  uint32_t struct_size, kind;
  const char *name, *summary;
  const char *schemes;   /* repositories: "http,https" */
  uint64_t caps;         /* known unopened; caps() may narrow */
  uint32_t threads, option_size;
  const struct capstan_option *options; size_t n_options;           /* of open */
  const struct capstan_option *vm_options; size_t n_vm_options;     /* of vm_spec */
  const struct capstan_option *disk_options; size_t n_disk_options; /* of a disk */
  const struct capstan_option *nic_options; size_t n_nic_options;   /* of a nic */
  const void *ops; /* by kind; its own struct_size says how long it is */
};
struct capstan_plugin {
  uint32_t struct_size; uint16_t abi_major, abi_minor;
  uint32_t min_host_minor, reserved; /* oldest core this plugin can live with */
  const char *name, *version, *license, *contact;
  const struct capstan_provider *const *providers; /* NULL-terminated */
  int (*load) (struct capstan_call *);
  void (*unload) (void); /* at exit; the code stays mapped */
};
typedef const struct capstan_plugin *capstan_plugin_init_fn (const struct capstan_host *);

#define CAPSTAN_CAT_(a, b) a##b
#define CAPSTAN_CAT(a, b) CAPSTAN_CAT_ (a, b)
#if defined __GNUC__
# define CAPSTAN_EXPORT __attribute__ ((visibility ("default")))
# define CAPSTAN_HIDDEN __attribute__ ((visibility ("hidden")))
# define CAPSTAN_PRINTF(f, a) __attribute__ ((format (printf, f, a)))
#else
# define CAPSTAN_EXPORT
# define CAPSTAN_HIDDEN
# define CAPSTAN_PRINTF(f, a)
#endif
#ifdef __cplusplus
# define CAPSTAN_C extern "C"
#else
# define CAPSTAN_C
#endif
#ifdef CAPSTAN_STATIC_NAME /* -dlpreopen: -DCAPSTAN_STATIC_NAME=repo_s3 */
# define CAPSTAN_ENTRY CAPSTAN_CAT (CAPSTAN_STATIC_NAME, _LTX_capstan_plugin_init_v1)
# define capstan_host_ CAPSTAN_CAT (CAPSTAN_STATIC_NAME, _host)
#else
# define CAPSTAN_ENTRY capstan_plugin_init_v1
#endif
extern CAPSTAN_HIDDEN const struct capstan_host *capstan_host_;
/* Once in a plugin: CAPSTAN_PLUGIN (desc); defines its entry point and capstan_host_. */
#define CAPSTAN_PLUGIN(desc)                                                             \
  CAPSTAN_HIDDEN const struct capstan_host *capstan_host_;                               \
  CAPSTAN_C CAPSTAN_EXPORT const struct capstan_plugin *                                 \
  CAPSTAN_ENTRY (const struct capstan_host *);                                           \
  const struct capstan_plugin *CAPSTAN_ENTRY (const struct capstan_host *h)              \
  { capstan_host_ = h; return &(desc); }                                                 \
  typedef int capstan_needs_a_semicolon_

static inline CAPSTAN_PRINTF (4, 5) int
capstan_error (struct capstan_call *call, uint32_t code, int err, const char *fmt, ...)
{
  char buf[2048];
  va_list ap;
  va_start (ap, fmt);
  (void) vsnprintf (buf, sizeof buf, fmt, ap);
  va_end (ap);
  return capstan_host_->error (call, code, err, buf);
}
static inline CAPSTAN_PRINTF (3, 4) void
capstan_log (struct capstan_call *call, uint32_t level, const char *fmt, ...)
{
  char buf[2048];
  va_list ap;
  va_start (ap, fmt);
  (void) vsnprintf (buf, sizeof buf, fmt, ap);
  va_end (ap);
  capstan_host_->log (call, level, buf);
}
#ifdef __cplusplus
}
#endif
#endif /* CAPSTAN_PLUGIN_H */
