/* Inside the plugin. SPDX-License-Identifier: BSD-3-Clause */
#ifndef KVM_H
#define KVM_H
#include "capstan/plugin.h"
#include <libvirt/libvirt.h>
#include <libvirt/virterror.h>

struct kvm {
  virConnectPtr conn;
  int system;          /* qemu:///system: QEMU runs as another user */
  unsigned qemu_uid, qemu_gid; /* that user */
  int apparmor;
  char accel[8], why[160]; /* "kvm" or "tcg", and why not kvm */
};

/* Reports libvirt's last error behind what was attempted; returns -code. */
int kvm_error (struct capstan_call *call, const char *what, const char *object);
/* The domain's XML; NULL after an error. free(). */
char *domain_xml (struct capstan_call *call, struct kvm *k, const struct capstan_vm_spec *s);
/* 0 if each host port of the forwards is free. */
int ports_check (struct capstan_call *call, const struct capstan_vm_spec *s);
int connection_open (struct capstan_call *call, struct kvm *k);
#endif
