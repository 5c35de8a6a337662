/* Inside hypervisor-plain-qemu. SPDX-License-Identifier: BSD-3-Clause */
#ifndef PLAIN_QEMU_H
#define PLAIN_QEMU_H
#include <capstan/plugin.h>

#define QEMU "qemu-system-x86_64"
#define HIDDEN __attribute__ ((visibility ("hidden")))
enum { ARGS_MAX = 64 * 1024, REPLY_MAX = 16 * 1024, PATIENCE_MS = 5000 };

/* ---- machine.c: the folder of a machine, and the monitor ---- */
HIDDEN const char *path_of (struct capstan_call *c, const char *id, const char *file); /* NULL: error */
HIDDEN int there (struct capstan_call *c, const char *id, const char *file);
HIDDEN int need (struct capstan_call *c, const char *id); /* CAPSTAN_E_NOTFOUND */
HIDDEN int put (struct capstan_call *c, const char *id, const char *file, const void *bytes, size_t n);
/* What is in a file, and a NUL; "" where there is none. */
HIDDEN const char *get (struct capstan_call *c, const char *id, const char *file, size_t *ret_n);
HIDDEN int discard (struct capstan_call *c, const char *id);
HIDDEN int lives (struct capstan_call *c, const char *id);
HIDDEN uint64_t now_ms (void);
/* Waits until QEMU has ended; limit 0: however long that is. */
HIDDEN int until_ended (struct capstan_call *c, const char *id, uint64_t limit);
/* A command without arguments; the reply is JSON. */
HIDDEN int qmp (struct capstan_call *c, const char *id, const char *command, char reply[REPLY_MAX]);
HIDDEN int state_of (struct capstan_call *c, const char *id, uint32_t *ret); /* CAPSTAN_VM_* */

/* ---- args.c: what is wanted, as QEMU's command line ---- */
HIDDEN const char *accel (const struct capstan_vm_spec *s); /* "kvm" or "tcg"; NULL: what one would get */
HIDDEN int one_of (const char *word, const char *all);      /* of "a b c" */
HIDDEN int plain_check (struct capstan_call *c, void *self, const struct capstan_vm_spec *s);
HIDDEN int check_forwards (struct capstan_call *c, const char *id); /* are its ports free? */
HIDDEN int write_machine (struct capstan_call *c, const struct capstan_vm_spec *s); /* into its folder */
#endif
