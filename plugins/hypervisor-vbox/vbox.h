/* Inside the plugin. SPDX-License-Identifier: BSD-3-Clause */
#ifndef VBOX_H
#define VBOX_H
#include "capstan/plugin.h"
#include <sys/types.h>

enum { VB_AGAIN = 2, VB_PATH = 4096, NICS_MAX = 8, FORWARDS_MAX = 32, DISKS_MAX = 30 };

/* ---- parse.c: what VBoxManage prints; uses nothing of the host ---- */
enum { /* of VirtualBox: the only part of an error that is the same in every version */
  VB_OBJECT_NOT_FOUND = 0x80bb0001, VB_INVALID_VM_STATE = 0x80bb0002,
  VB_FILE_ERROR = 0x80bb0004, VB_INVALID_OBJECT_STATE = 0x80bb0007,
  VB_OBJECT_IN_USE = 0x80bb000c, VB_ACCESS_DENIED = 0x80070005, VB_NOT_REGISTERED = 0x80040154,
  VB_ABORT = 0x80004004 };
struct vb_nic { char mode[32], model[32], mac[18], device[64]; };
struct vb_info {
  char state[32];      /* VirtualBox's own word, "" if the machine cannot be read */
  char name[256], log_dir[VB_PATH];
  int64_t changed;     /* when the state did; INT64_MIN: unknown */
  struct vb_nic nics[NICS_MAX];
  char forwards[FORWARDS_MAX][64]; /* "tcp:127.0.0.1:8080:80" */
  int forward_nic[FORWARDS_MAX], n_forwards;
  char disks[DISKS_MAX][VB_PATH]; int n_disks;
};
/* From showvminfo --machinereadable; text is used up. */
void vb_parse_info (char *text, struct vb_info *ret);
/* The next "key=value" of that form, unquoted, in place; NULL at the end. Lines of another
 * form are passed over, and line breaks within quotes belong to the value. */
char *vb_next_pair (char **text, char **ret_value);
uint32_t vb_error_code (const char *err); /* the first in it, or 0 */
/* The message for people: what follows the first "error: ". */
void vb_error_text (const char *err, char *buf, size_t n);
int vb_service_missing (const char *err); /* VBoxSVC was not there, or just leaving */
int vb_parse_version (const char *out, int *major, int *minor);
/* From list vms, the UUID of the next machine whose name has the prefix; NULL at the end. */
char *vb_next_machine (char **text, const char *prefix);
/* "52:54:00:12:34:56" as "525400123456"; -1 if it is no address of one card. */
int vb_mac (const char *text, char ret[13]);

/* ---- manage.c: running VBoxManage ---- */
struct vbox {
  char program[VB_PATH];
  int major, minor; /* 0: not asked yet */
  int lost;         /* VBoxSVC ended in the middle of a command: what was begun may be tried anew */
};
struct vb_args { const char *v[160]; int n; };
void vb_arg (struct vb_args *a, const char *text);
CAPSTAN_PRINTF (3, 4) void vb_argf (struct capstan_call *call, struct vb_args *a, const char *fmt, ...);
struct vb_reply { int status; uint32_t code; const char *out, *err; };
enum { VB_ALWAYS = 1 /* also once cancelled: it undoes */, VB_LOCKED = 2 /* waits for others */,
       VB_QUIET = 4 /* -CAPSTAN_E_TIMEOUT without an error's text: the cause is said already */ };
int vb_find (struct capstan_call *call, struct vbox *v);
int vb_version (struct capstan_call *call, struct vbox *v); /* fills it; below 6.1: an error */
/* 0 once it ran; how it went is in *r. What passes by itself is tried again. */
int vb_try (struct capstan_call *call, struct vbox *v, int flags, const struct vb_args *a, struct vb_reply *r);
/* As vb_try, and its failure is an error: "what object: ...". */
int vb_run (struct capstan_call *call, struct vbox *v, int flags, const struct vb_args *a,
            const char *what, const char *object);
int vb_fail (struct capstan_call *call, const struct vb_reply *r, const char *what, const char *object);
int vb_pause (struct capstan_call *call, int flags, uint32_t ms); /* 0, or -code once cancelled */
/* "VBoxManage COMMAND ID WORD...", NULL-terminated. */
int vb_simple (struct capstan_call *call, struct vbox *v, int flags, const char *what,
               const char *command, const char *id, ...);
/* 1: *ret is filled; 0: there is no such machine; or -code. */
int vb_info (struct capstan_call *call, struct vbox *v, int flags, const char *id, struct vb_info *ret);
/* 0 if the kernel driver is there, or machines run without; why it is not otherwise. */
int vb_driver (struct capstan_call *call, struct vbox *v);

/* ---- start.c ---- */
/* 0 once the machine runs, or has run, with the ports that are forwarded to it. */
int vb_start (struct capstan_call *call, struct vbox *v, const char *id, const struct vb_info *i);

/* ---- machine.c: from a spec to a machine ---- */
int vb_check (struct capstan_call *call, struct vbox *v, const struct capstan_vm_spec *s);
/* 0 if the ports that are forwarded to it are free: VirtualBox starts a machine without those
 * that it cannot have. */
int vb_ports_free (struct capstan_call *call, const struct vb_info *i);
int vb_create (struct capstan_call *call, struct vbox *v, const struct capstan_vm_spec *s);
/* Unregisters it and removes its folder; one that is not there is fine. */
int vb_remove (struct capstan_call *call, struct vbox *v, const char *id);
/* FOLDER/file of a machine, in the call's memory; NULL after an error. */
const char *vb_file (struct capstan_call *call, const char *id, const char *file);

/* ---- ports.c: the machine's serial ports and what works for them ---- */
struct vb_relay { int alive, running; pid_t pid, vm; };
int relay_config (struct capstan_call *call, const struct capstan_vm_spec *s, const char *dir);
/* The socket (field 1) or log (2) of a port, or what the machine connects to (0). */
const char *relay_field (struct capstan_call *call, const char *id, int port, int field);
void relay_look (struct capstan_call *call, const char *id, struct vb_relay *ret);
int relay_start (struct capstan_call *call, const char *id);
void relay_stop (struct capstan_call *call, const char *id); /* if no machine has connected */
int relay_connect (struct capstan_call *call, const char *id, int port); /* descriptor or -code */
/* Returns 1 when the machine's ports are closed, 0 after ms, or -code. */
int relay_wait (struct capstan_call *call, const char *id, int64_t ms);
/* Waits for the end of the machine's process, which comes a moment after its ports have closed,
 * for ms at most. VBoxSVC can crash when it is asked about a machine in between (7.2). */
int relay_machine_end (struct capstan_call *call, int flags, const char *id, int64_t ms);
int64_t vb_now_ms (void); /* of a clock that nobody sets */
#endif
