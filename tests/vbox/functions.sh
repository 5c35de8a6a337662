# use_virtualbox: a VirtualBox of this test's own, with nothing in it. Sourced after
# tests/functions.sh.
use_virtualbox () {
  requires capstan plugin info vbox
  command -v VBoxManage >/dev/null 2>&1 ||
    skip "VirtualBox is not there (tests/vbox/install-virtualbox puts it there, as root)"
  # both: with the first alone it joins the server of another test
  VBOX_USER_HOME=$work/virtualbox VBOX_IPC_SOCKETID=capstan-$$
  export VBOX_USER_HOME VBOX_IPC_SOCKETID
  cleanup 'rm -rf /tmp/.vbox-*"$VBOX_IPC_SOCKETID"-ipc'
  [ -e /dev/vboxdrv ] || VBoxManage setextradata global VBoxInternal/HM/FallbackToIEM 1 ||
    skip "VBoxManage does not work here"
}
# vbox_server: the process id of this test's VBoxSVC
vbox_server () {
  for p in /proc/[0-9]*; do
    [ "$(cat "$p/comm" 2>/dev/null)" = VBoxSVC ] || continue
    ! tr '\0' '\n' 2>/dev/null <"$p/environ" | grep -qx "VBOX_IPC_SOCKETID=$VBOX_IPC_SOCKETID" || echo "${p#/proc/}"
  done
}
# vbox_empty: VirtualBox knows no machine and no disk, and nothing of ours lies about
vbox_empty () {
  [ -z "$(VBoxManage list vms)" ] || fail "a machine is left: $(VBoxManage list vms)"
  [ -z "$(VBoxManage list hdds)" ] || fail "a disk is left: $(VBoxManage list hdds)"
  [ -z "$(ls "$CAPSTAN_ROOT/state/hypervisor-vbox" 2>/dev/null)" ] || fail "a folder of a machine is left"
  for p in /proc/[0-9]*; do
    ! tr '\0' ' ' 2>/dev/null <"$p/cmdline" | grep -q "vbox-serial $CAPSTAN_ROOT" || fail "vbox-serial is left: ${p#/proc/}"
  done
}
