#!/bin/bash
# What goes wrong around VBoxManage: said in words, and nothing is left of it.
. "$top_srcdir/tests/functions.sh"
capstan plugin info vbox >/dev/null 2>&1 || skip "hypervisor-vbox is not built"
CAPSTAN_HYPERVISOR=vbox FAKE=$work/fake; export CAPSTAN_HYPERVISOR FAKE
mkdir -p "$FAKE/vm"
echo 7.2.22r1 >"$FAKE/version"

truncate -s 1M base.img; printf '\125\252' | dd of=base.img bs=1 seek=510 conv=notrunc status=none
mkdir app; printf 'base: base\ncmdline: /x\nfiles:\n  /x: x\n' >app/Capstanfile; echo x >app/x
status 0 capstan import base base.img
status 0 capstan build -C app app

# ---- no VBoxManage, or none that will do ----
CAPSTAN_VBOXMANAGE=$work/nothing status 125 capstan run app
err_has "$work/nothing"
no_vbox=$(echo "$PATH" | tr : '\n' | while read -r d; do [ -e "$d/VBoxManage" ] || printf '%s:' "$d"; done)
PATH=$no_vbox status 125 capstan run app
err_has "VBoxManage is not in PATH"
PATH=$top_srcdir/tests/fakes:$PATH
for v in 5.2.44r1 nothing ''; do
  echo "$v" >"$FAKE/version"
  status 125 capstan run app
  err_has "version"
done
echo 7.2.22r1 >"$FAKE/version"

no_serial () { # it ends when it sees that it is not needed any more
  for p in /proc/[0-9]*; do
    ! tr '\0' ' ' 2>/dev/null <"$p/cmdline" | grep -q "vbox-serial $CAPSTAN_ROOT" || return 1
  done
}
# nothing_left WHAT: of a machine that failed or was deleted
nothing_left () {
  [ -z "$(ls "$FAKE/vm")" ] || fail "a machine is left: $*"
  rest=$(find "$CAPSTAN_ROOT/state/hypervisor-vbox" "$CAPSTAN_ROOT/instances/vbox" -mindepth 1 ! -name .lock)
  [ -z "$rest" ] || fail "a folder is left: $* $rest"
  wait_for 60 no_serial
  rm -f "$FAKE"/fail-* "$FAKE"/slow-* "$FAKE"/began-* "$FAKE/log"
}
code () { echo "VBoxManage: error: $1\\nVBoxManage: error: Details: code $2, component X"; }
locked=$(code "The machine is already locked for a session" "VBOX_E_INVALID_OBJECT_STATE (0x80bb0007)")
no_service="VBoxManage: error: Failed to create the VirtualBox object!\\nVBoxManage: error: Code NS_ERROR_FAILURE (0x80004005)"

# ---- each step of creating and starting ----
for command in createvm modifyvm storagectl storageattach startvm; do
  echo "99 1 $(code "the moon is full" "VBOX_E_FILE_ERROR (0x80bb0004)")" >"$FAKE/fail-$command"
  status 125 capstan run -d app
  err_has "the moon is full"
  grep -q unregistervm "$FAKE/log" || [ $command = createvm ] || fail "$command: nothing was undone"
  nothing_left "$command"
done
# a machine of that UUID that was there before is not ours to remove
echo "1 1 $(code "already exists" "NS_ERROR_INVALID_ARG (0x80070057)")" >"$FAKE/fail-createvm"
status 125 capstan run -d app
! grep -q unregistervm "$FAKE/log" || fail "somebody else's machine was removed"
nothing_left createvm
# without the driver, a start that fails says so
if [ ! -e /dev/vboxdrv ]; then
  echo "99 1 VBoxManage: error: terminated unexpectedly during startup with exit code 1 (0x1)" >"$FAKE/fail-startvm"
  status 125 capstan run -d app
  err_has vboxdrv
  nothing_left driver
fi

# ---- what passes by itself ----
echo "3 1 $no_service" >"$FAKE/fail-createvm"
echo "2 1 $locked" >"$FAKE/fail-modifyvm"
echo "2 1 $locked" >"$FAKE/fail-startvm"
echo "2 1 $(code "The object is not ready" "E_ACCESSDENIED (0x80070005)")" >"$FAKE/fail-showvminfo"
# settings of another hypervisor's are none of this one's
printf 'libvirt_uri: qemu:///system\ndisable_kvm: true\n' >"$CAPSTAN_ROOT/config.yaml"
status 0 capstan run -d --name one app
[ "$(grep -c ^createvm "$FAKE/log")" = 4 ] && [ "$(grep -c ^modifyvm "$FAKE/log")" = 3 ] || fail "$(cat "$FAKE/log")"
status 0 capstan instances
out_has running
# locked for longer than that
echo "99 1 $locked" >"$FAKE/fail-unregistervm"
status 4 capstan delete -f one
err_has "already locked"
rm "$FAKE/fail-unregistervm"
status 0 capstan delete -f one
nothing_left one
# the service does not come
echo "99 1 $no_service" >"$FAKE/fail-createvm"
status 125 capstan run -d app
err_has "Failed to create the VirtualBox object"
nothing_left service

# ---- ends that are not plain ----
status 0 capstan run -d --name two app
echo "99 1 $(code "it does not listen" "VBOX_E_VM_ERROR (0x80bb0003)")" >"$FAKE/fail-controlvm"
touch "$FAKE/deaf"
status 4 capstan delete -f two
err_has "running still"
rm "$FAKE/deaf"
status 0 capstan delete -f two
grep -q emergencystop "$FAKE/log" || fail "its process was not ended"
nothing_left two
status 0 capstan run -d --name three app
rm "$FAKE"/vm/*/state # inaccessible
echo "99 1 $(code "The object functionality is limited" "E_ACCESSDENIED (0x80070005)")" >"$FAKE/fail-showvminfo"
status 0 capstan instances
out_has unknown
status 0 capstan delete -f three
nothing_left three

# ---- a guest that has ended before VBoxManage could ask how its start goes on ----
echo "99 1 VBoxManage: error: Code NS_ERROR_ABORT (0x80004004) - Operation aborted" >"$FAKE/fail-startvm"
echo "00:00:00.3 Changing the VM state from 'POWERING_ON' to 'RUNNING'" >"$FAKE/vm-log"
status 0 capstan run -d --name four app
status 0 capstan delete -f four
echo "00:00:00.3 Changing the VM state from 'CREATED' to 'POWERING_ON'" >"$FAKE/vm-log" # it broke
status 125 capstan run -d app
err_has "Operation aborted"
rm "$FAKE/vm-log" "$FAKE/fail-startvm"
nothing_left aborted
# one that ends while it is told to, and is then not locked any more
status 0 capstan run -d --name five app
echo "3 1 $(code "not locked by a session" "VBOX_E_INVALID_VM_STATE (0x80bb0002)")" >"$FAKE/fail-controlvm"
echo "1 1 $(code "not locked by a session" "VBOX_E_INVALID_VM_STATE (0x80bb0002)")" >"$FAKE/fail-startvm"
status 0 capstan delete -f five
nothing_left five

# ---- VBoxSVC ends in the middle ----
gone="VBoxManage: error: Code NS_ERROR_ABORT (0x80004004) - Operation aborted"
calls () { grep -c "^$1" "$FAKE/log"; }
status 0 capstan run -d --name whole app
status 0 capstan delete -f whole
for command in createvm modifyvm storageattach startvm showvminfo unregistervm; do calls $command >"whole-$command"; done
nothing_left whole
for command in createvm modifyvm storageattach startvm showvminfo unregistervm; do
  echo "1 1 $gone" >"$FAKE/fail-$command"
  status 0 capstan run -d --name again app
  status 0 capstan delete -f again
  [ "$(calls $command)" -gt "$(cat "whole-$command")" ] || fail "$command was not tried anew"
  nothing_left "$command anew"
done
# and once more as it is undone
echo "1 1 $gone" >"$FAKE/fail-modifyvm"; cp "$FAKE/fail-modifyvm" "$FAKE/fail-unregistervm"
status 0 capstan run -d --name again app
status 0 capstan delete -f again
nothing_left "modifyvm and unregistervm"
for command in createvm modifyvm startvm; do
  echo "99 1 $gone" >"$FAKE/fail-$command"
  status 125 capstan run -d app
  err_has "VBoxSVC or the machine's own process ended"
  nothing_left "$command lost"
done

# ---- a port that was lost while the machine started: only its log says so ----
cat >"$work/lose" <<'END'
until l=$(ls -d "$FAKE"/vm/*/Logs 2>/dev/null); do sleep 0.01; done
echo '00:00:01 NAT#0: failed to set up redirection of 8080 to 80' >"$l/VBox.log"
END
bash "$work/lose" &
status 125 capstan run -d app
wait
err_has "redirection of 8080"
grep -q poweroff "$FAKE/log" || fail "it was not powered off"
nothing_left port

# ---- a VBoxManage that waits for itself is asked anew ----
export CAPSTAN_VBOX_TIMEOUT=3
status 0 capstan run -d --name six app
touch "$FAKE/slow-showvminfo"
status 0 capstan instances
out_has running
touch "$FAKE/slow-showvminfo" "$FAKE/slow-again"
status 1 capstan inspect six
err_has "does not answer"
rm -f "$FAKE"/slow-*
status 0 capstan delete -f six
nothing_left six
unset CAPSTAN_VBOX_TIMEOUT

# ---- one that stands still when it is told to power off is ended ----
export CAPSTAN_VBOX_TIMEOUT=3
status 0 capstan run -d --name seven app
touch "$FAKE/slow-controlvm"
status 0 capstan delete -f seven
grep -q emergencystop "$FAKE/log" || fail "its process was not ended"
nothing_left seven
# a change that is not answered is an error, and undone
touch "$FAKE/slow-storagectl"
CAPSTAN_VBOX_TIMEOUT=1 status 125 capstan run -d app
err_has "storagectl does not answer"
nothing_left storagectl
unset CAPSTAN_VBOX_TIMEOUT

# ---- cancelled in the middle ----
for command in createvm modifyvm storageattach startvm; do
  touch "$FAKE/slow-$command"
  "$top_builddir/run" capstan run -d app 2>cancel.err &
  pid=$!
  wait_for 30 test -e "$FAKE/began-$command"
  kill -TERM $pid # SIGINT is ignored by what runs in the background of a script
  st=0; wait $pid || st=$?
  [ $st = 125 ] || fail "cancelled $command: $st $(cat cancel.err)"
  nothing_left "cancelled $command"
done

# ---- the spelling of 6.1 ----
echo 6.1.50r161033 >"$FAKE/version"
status 0 capstan run -d --name old -m 64 -f 18080:80 --mac 52:54:00:12:34:56 app
grep -q -e '--macaddress1 525400123456.*--natpf1 capstan0,tcp,127.0.0.1,18080,,80' "$FAKE/log" || fail "$(cat "$FAKE/log")"
status 0 capstan delete -f old
nothing_left old
