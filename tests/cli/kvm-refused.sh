#!/bin/sh
# Connections that the kvm plugin does not take are refused by name, with nothing from
# libvirt itself on the terminal.
. "$top_srcdir/tests/functions.sh"
requires test -f "$top_builddir/plugins/hypervisor-kvm/hypervisor-kvm.la"
dd if=/dev/zero of=disk.raw bs=512 count=2048 2>/dev/null
capstan import --format raw x disk.raw >/dev/null
for uri in qemu+ssh://other/system xen:///system; do
  status 125 capstan run --connect "$uri" -i x one
  err_has "$uri"
  err_has "only this host"
  err_lacks "libvirt:"
done
# a folder of sockets that is not there: no libvirt answers, the error says what to start
status 125 capstan run --connect "qemu:///system?socket=$work/none" -i x one
err_has "virtlogd -d; libvirtd -d"
err_lacks "libvirt: XML-RPC"
