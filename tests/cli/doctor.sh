#!/bin/bash
# It boots machines.
# capstan doctor: what works here is booted, what does not is said with what to do, and nothing
# is left of it.
. "$top_srcdir/tests/functions.sh"
. "$top_srcdir/tests/vbox/functions.sh"
requires python3 --version
capstan plugin info null >/dev/null 2>&1 || skip "hypervisor-null is not built"
export CAPSTAN_HYPERVISOR=null
FAKE=$work/fake; export FAKE
mkdir -p "$FAKE/vm"
has () { capstan plugin info "$1" >/dev/null 2>&1; }
# found NAME KEY: that value of a line of the last --json
found () { python3 -c 'import json, sys
for f in json.load (open (sys.argv[1]))["findings"]:
    if f["name"] == sys.argv[2]: print (f.get (sys.argv[3], ""))' "$work/out" "$1" "$2"; }
works () { python3 -c 'import json, sys; print (json.load (open (sys.argv[1]))["works"])' "$work/out"; }
# without PROGRAM...: a PATH in which only they are missing
without () {
  rm -rf "$work/path"; mkdir "$work/path"
  ( IFS=:; for d in $PATH; do ln -s "$d"/* "$work/path" 2>/dev/null; done ) || true
  for p in "$@"; do rm -f "$work/path/$p"; done
  echo "$work/path"
}
no_process () { ! pgrep -f "$CAPSTAN_ROOT"; }
# nothing_left: of the guest that was booted
nothing_left () {
  [ -z "$(find "$CAPSTAN_ROOT" -path '*/locks/*' -prune -o ! -type d ! -name .lock -print)" ] || fail "$(find "$CAPSTAN_ROOT")"
  rest=$(find "$CAPSTAN_ROOT" -name 'capstan-doctor*' ! -path '*/locks/*')
  [ -z "$rest" ] || fail "left behind: $rest"
  wait_for 60 no_process # what serves the ports of VirtualBox ends when it sees that nobody needs it
}

# ---- its guest is what stands beside it as a source ----
if as --version >/dev/null 2>&1 && ld --version >/dev/null 2>&1; then
  as --32 -o guest.o "$top_srcdir/core/vm/prove-guest.S"
  ld -m elf_i386 -Ttext 0x7c00 --oformat binary -o guest guest.o
  printf '#include <stdio.h>\n#include <stdint.h>\ntypedef uint8_t guint8;\n#include "prove-guest.h"\nint main (void) { return fwrite (guest, 1, sizeof guest, stdout) != 512; }\n' >bytes.c
  cc -I "$top_srcdir/core/vm" -o bytes bytes.c
  ./bytes >bytes.bin
  same guest bytes.bin
fi

# ---- asking only: the store, the base, the default ----
status 0 capstan doctor --no-boot
out_has "store        ok           $CAPSTAN_ROOT, "; out_has ' free'
out_has 'base linux   not there    capstan base make linux'
out_has 'null         ok           (the default)'
[ ! -e "$CAPSTAN_ROOT" ] || fail "asking made a store"
status 0 capstan doctor --no-boot --json
[ "$(works)" = True ] && [ "$(found null usable)" = True ] && [ "$(found store free)" -gt 0 ] || fail "$(cat out)"
CAPSTAN_HYPERVISOR=other status 1 capstan doctor --no-boot --json
[ "$(works)" = False ] || fail "another hypervisor works"
[[ "$(found other problem)" == *capstan-plugin-other* ]] || fail "$(cat out)"
status 2 capstan doctor --timeout 0; err_has "--timeout"
echo x >file
CAPSTAN_ROOT=$work/file/store status 0 capstan doctor --no-boot
out_has "store        not usable   $work/file/store: Not a directory"; out_has "or CAPSTAN_ROOT"
mkdir plugins; echo no >plugins/hypervisor-bad.so
printf 'name: bad\nkind: hypervisor\n' >plugins/hypervisor-bad.plugin
CAPSTAN_PLUGIN_PATH=$work/plugins status 1 capstan doctor --no-boot -p bad
out_has 'bad          not usable   (the default)'; out_has 'hypervisor-bad.so'

# ---- programs that are missing, or too old ----
if has git; then
  PATH=$(without git) status 0 capstan doctor --no-boot --json
  [[ "$(found git problem)" == *"git is not there; it has to be installed" ]] || fail "$(cat out)"
  mkdir old; printf '#!/bin/sh\necho git version 2.20.1\n' >old/git; chmod +x old/git
  PATH=$work/old:$PATH status 0 capstan doctor --no-boot
  out_has 'git          not usable   git is 2.20, and has to be 2.31 or later'
fi
PATH=$(without qemu-io) status 0 capstan doctor --no-boot --json
[[ "$(found qemu-img problem)" == *"qemu-utils"*"qemu-io is not there"* ]] || fail "$(cat out)"
mkdir -p old
for v in 'version 3.1.0' nothing; do
  for p in qemu-img qemu-io; do printf '#!/bin/sh\necho %s %s\n' $p "$v" >old/$p; chmod +x old/$p; done
  PATH=$work/old:$PATH status 0 capstan doctor --no-boot --json
  [ "$(found qemu-img usable)" = False ] || fail "$v is good enough"
done
PATH=$work/old:$PATH status 0 capstan doctor --no-boot; out_has 'says no version'

# ---- VirtualBox ----
if has vbox; then
  PATH=$(without VBoxManage) status 1 capstan doctor --no-boot -p vbox
  out_has 'VBoxManage is not in PATH: install VirtualBox'
  echo 5.2.44r1 >"$FAKE/version"
  PATH=$top_srcdir/tests/fakes:$PATH status 1 capstan doctor --no-boot -p vbox; out_has '6.1 is the oldest'
  echo 7.2.22r1 >"$FAKE/version"
  if [ ! -e /dev/vboxdrv ]; then
    PATH=$top_srcdir/tests/fakes:$PATH status 1 capstan doctor -p vbox; out_has 'modprobe vboxdrv'
  fi
  # one whose machines start and say nothing
  echo Value: 1 >"$FAKE/extradata"
  PATH=$top_srcdir/tests/fakes:$PATH status 1 capstan doctor -p vbox --timeout 1 --json
  [[ "$(found vbox problem)" == "no guest boots: "*"said nothing in 1 seconds"* ]] || fail "$(cat out)"
  [ -z "$(ls "$FAKE/vm")" ] || fail "a machine is left"
  nothing_left
  # it is ended while it waits for that guest; and killed, which the next one mends
  for signal in TERM KILL; do
    rm "$FAKE/log"
    PATH=$top_srcdir/tests/fakes:$PATH "$top_builddir/run" capstan doctor -p vbox >term.out 2>term.err &
    pid=$!
    wait_for 30 grep -q startvm "$FAKE/log"
    kill -$signal $pid
    st=0; wait $pid || st=$?
    if [ $signal = TERM ]; then
      [ $st != 0 ] && [ ! -s term.out ] || fail "status $st: $(cat term.err)"
      nothing_left
    fi
  done
  [ -n "$(ls "$CAPSTAN_ROOT/instances/vbox")" ] || fail "a killed one has left nothing"
  PATH=$top_srcdir/tests/fakes:$PATH status 1 capstan doctor -p vbox --timeout 1
  [ -z "$(ls "$FAKE/vm")" ] || fail "the machine of a killed one is left"
  nothing_left
fi

# ---- libvirt ----
if has kvm; then
  export CAPSTAN_LIBVIRT_URI="qemu:///system?socket=$work/none"
  status 1 capstan doctor -p kvm
  out_has 'kvm          not usable   (the default)'; out_has 'systemctl start libvirtd'
  # its driver in this process finds no QEMU
  export CAPSTAN_LIBVIRT_URI="qemu:///embed?root=/tmp/capstan-doctor-$$"
  cleanup "rm -rf /tmp/capstan-doctor-$$"
  p=$(without); rm -f "$p"/qemu-system* "$p"/qemu-kvm
  PATH=$p status 1 capstan doctor -p kvm --no-boot; out_has 'install qemu-system-x86'
  unset CAPSTAN_LIBVIRT_URI
fi
if has kvm && virsh -q list >/dev/null 2>&1 && command -v qemu-system-x86_64 >/dev/null; then
  chmod 700 "$work"
  status 0 capstan doctor -p kvm
  grep -q '^kvm  *ok  *(the default) a guest boots: [0-9.]* s to its first output, by' out || fail "$(cat out)"
  [ "$(id -u)" != 0 ] || out_has 'is closed to libvirt'
  nothing_left
  no_domain
  status 0 capstan doctor -p kvm --json
  [ "$(works)" = True ] && [ "$(found kvm seconds_to_output)" != "" ] || fail "$(cat out)"
  PATH=$work/old:$PATH status 1 capstan doctor -p kvm --no-boot --json
  [[ "$(found kvm problem)" == *"says no version"* ]] || fail "$(cat out)"
  # an image of the user's that has that name
  boot_disk other.img
  status 0 capstan import capstan-doctor other.img
  status 1 capstan doctor -p kvm; out_has 'another of that name'
  status 0 capstan rmi capstan-doctor
  if [ "$(id -u)" = 0 ] && unshare -m true 2>/dev/null; then
    # in a /dev and with a processor of our own: what is said of KVM
    see () { # see CPUINFO DEVICE WORDS
      echo "flags : fpu $1" >cpuinfo
      unshare -m sh -ec 'mount --bind "$0/cpuinfo" /proc/cpuinfo; mount -t tmpfs none /dev
        for d in "null 3" "zero 5" "random 8" "urandom 9"; do mknod -m 666 /dev/${d% *} c 1 ${d#* }; done
        ln -s /proc/self/fd /dev/fd
        [ -z "$1" ] || mknod -m $1 /dev/kvm c 10 232
        exec "$2" capstan doctor -p kvm --no-boot' "$work" "$2" "$top_builddir/run" >kvm.out || fail "status of doctor"
      grep -qF -e "$3" kvm.out || { cat kvm.out; fail "no '$3'"; }
    }
    see vmx '' 'there is no /dev/kvm: modprobe kvm_intel'
    see '' '' 'there is no /dev/kvm: turn virtualisation on'
    see '' 666 'boots nothing: turn virtualisation on'
    see svm 600 'usermod -aG kvm libvirt-qemu'
    # a KVM of software, taken for a real one, boots nothing
    if [ -c /dev/kvm ] && ! grep -q '^flags.* \(vmx\|svm\)' /proc/cpuinfo; then
      st=0; echo "flags : vmx" >cpuinfo
      unshare -m sh -ec 'mount --bind "$0/cpuinfo" /proc/cpuinfo
        exec "$1" capstan doctor -p kvm --timeout 2' "$work" "$top_builddir/run" >kvm.out || st=$?
      grep -q 'no KVM' kvm.out || { [ $st = 1 ] && grep -q 'said nothing in 2 .*--accel tcg does without' kvm.out; } ||
        fail "$(cat kvm.out)"
      nothing_left
    fi
  fi
fi

# ---- the real VirtualBox ----
if has vbox && command -v VBoxManage >/dev/null 2>&1; then
  use_virtualbox
  status 0 capstan doctor -p vbox
  grep -q '^vbox  *ok  *(the default) a guest boots: [0-9.]* s' out || fail "$(cat out)"
  vbox_empty
  nothing_left
fi
