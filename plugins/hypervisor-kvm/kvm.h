/* Inside the plugin. SPDX-License-Identifier: BSD-3-Clause */
#ifndef KVM_H
#define KVM_H
#include "capstan/plugin.h"
#include <libvirt/libvirt.h>
#include <libvirt/virterror.h>
#include <libxml/parser.h>
#include <libxml/xpath.h>

struct kvm {
  virConnectPtr conn;
  virConnectPtr events; /* a second connection, which gets events: from the first wait on */
  char *uri;
  int system;           /* qemu:///system: QEMU runs as another user */
  int embed;            /* the driver runs in this process: machines end with it */
  unsigned qemu_uid, qemu_gid; /* that user */
  int apparmor;
  char accel[8], why[160]; /* "kvm" or "tcg", and why not kvm */
  char advice[256];        /* and what would change that */
};
enum { NICS_MAX = 8, SERIALS_MAX = 4 };
#define BRIDGE_DEVICE "virbr0" /* where none is named */
#define TAP_DEVICE "tap0"

/* Reports libvirt's last error behind what was attempted; returns -code. */
int kvm_error (struct capstan_call *call, const char *what, const char *object);

/* ---- conn.c ---- */
int connection_open (struct capstan_call *call, struct kvm *k);
void connection_close (struct kvm *k);
/* The machine, over the first connection or the one for events: 0; otherwise the error:
 * not there is one code, a lost connection another. A connection that libvirt closed (it was
 * restarted) is opened again. */
int domain_find (struct capstan_call *call, struct kvm *k, const struct capstan_vm_ref *r,
                 virDomainPtr *ret);
/* ---- embed.c ---- */
/* k->conn, from k->uri (which gets its folder if it names none); -E_BUSY if another process
 * has that. */
int embed_open (struct capstan_call *call, struct kvm *k);

/* ---- wait.c ---- */
/* libvirt's event loop, in a thread of its own from the first call on; before a connection
 * is opened that is to get events. */
int events_start (struct capstan_call *call);
/* Until the machine is in that state or has ended, at most ms (0: for ever). Answers the
 * state (CAPSTAN_VM_GONE: libvirt does not know it any more) or -code; *ret_when is when it
 * was seen to get there, INT64_MIN if it was there already. */
int kvm_wait_for (struct capstan_call *call, struct kvm *k, const char *id, int until,
                  uint64_t ms, int64_t *ret_when);

/* ---- check.c, domain.c ---- */
/* 0 if all that the spec says can be done. */
int spec_check (struct capstan_call *call, struct kvm *k, const struct capstan_vm_spec *s);
/* Can all of these (NULL-terminated) be bound now? */
int ports_check (struct capstan_call *call, struct kvm *k, const char *const *forwards);
int is_q35 (const struct capstan_vm_spec *s);
#define LABELS_URI "https://github.com/capstan/capstan/labels/1" /* a name, not an address */
/* The domain's XML; NULL after an error. free(). */
char *domain_xml (struct capstan_call *call, struct kvm *k, const struct capstan_vm_spec *s);

/* ---- host.c ---- */
/* Before a start: the ports are free, and QEMU may use the folder of its sockets. */
int host_ready (struct capstan_call *call, struct kvm *k, virDomainPtr d);
/* The next forward in QEMU's "user,id=net0,...,hostfwd=tcp:127.0.0.1:8080-:80", as
 * "tcp:127.0.0.1:8080:80"; 0: no more. */
int forward_next (const char **netdev, char *text, size_t n);
/* The file in which libvirt logs for a machine of that name; is it there? It outlives the
 * machine unless it is removed. */
int libvirt_log (const struct kvm *k, const char *name, char *path, size_t n);
void libvirt_log_remove (struct capstan_call *call, const struct kvm *k, const char *name);

/* ---- xml.c ---- */
struct xml { xmlDocPtr doc; xmlXPathContextPtr context; };
void xml_read (struct xml *x, char *text); /* frees text, which may be NULL */
void xml_clear (struct xml *x);
/* The first node's text, free(); NULL if it is empty or not there. */
char *xml_text (const struct xml *x, const char *path);
/* Of all nodes, NULL-terminated; texts_free. */
size_t xml_texts (const struct xml *x, const char *path, char ***ret);
void texts_free (char **list);
/* ---- info.c ---- */
int kvm_state (virDomainPtr d, int *ret_reason); /* CAPSTAN_VM_* */
/* Emits what is known of the machine. stopped: when it was seen to end, or INT64_MIN. */
int kvm_emit (struct capstan_call *call, struct kvm *k, virDomainPtr d, int64_t stopped,
              struct capstan_list *list);
/* Path of the socket of the serial port with that number: free(); NULL: it has none. */
char *serial_socket (virDomainPtr d, int index);
#endif
