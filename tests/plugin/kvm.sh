#!/bin/sh
# It boots machines.
. "$top_srcdir/tests/functions.sh"
capstan plugin info kvm >/dev/null 2>&1 || skip "hypervisor-kvm is not built"
command -v qemu-system-x86_64 >/dev/null || skip "needs qemu-system-x86_64"
requires virsh --version
"$top_builddir/run" "$top_builddir/tests/plugin/kvm"
