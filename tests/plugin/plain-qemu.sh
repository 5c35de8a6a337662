#!/bin/sh
# examples/plugin-out-of-tree has a hypervisor too, QEMU without libvirt: the contract suite over
# it, and instances under it. It boots machines.
. "$top_srcdir/tests/functions.sh"
. "$top_srcdir/tests/guest/functions.sh"
requires make --version
command -v "${CC:-cc}" >/dev/null || skip "needs a C compiler"
requires qemu-system-x86_64 --version
for_plugins
mkdir plugins
cp -R "$top_srcdir/examples/plugin-out-of-tree" example
chmod -R u+w example
make -C example CC=cc CFLAGS="-O2 -Wall -Wextra -Werror" hypervisor-plain-qemu.so >make.log 2>&1 ||
  { cat make.log >&2; fail "make"; }
cp example/hypervisor-plain-qemu.* plugins/
CAPSTAN_PLUGIN_PATH=$work/plugins; export CAPSTAN_PLUGIN_PATH
status 0 capstan plugin test plain-qemu
out_has "ok    life"
CAPSTAN_TEST_HYPERVISOR=plain-qemu
use_guest
machines=$CAPSTAN_ROOT/state/hypervisor-plain-qemu

# the application's status and output are ours; OSv's way to boot and Linux's
status 3 capstan run --rm osv
out_has "/guest 3"
status 7 capstan run --rm -e '/guest 7' --env 'A=b c' linux
out_has '--env=A=b\ c /guest 7'

# in the background: the console both ways, a port, pause and resume, a stop that is heard
cat >taken.py <<'END'
import os, socket, sys
s = socket.socket (); s.setsockopt (socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
s.bind (("127.0.0.1", int (sys.argv[1]))); s.listen ()
open ("port.tmp", "w").write (str (s.getsockname ()[1])); os.rename ("port.tmp", "port"); sys.stdin.read ()
END
mkfifo hold keys
take () { python3 taken.py "$1" <hold & taken=$!; exec 4>hold; wait_for 30 test -s port; }
take 0
status 125 capstan run -d -f "$(cat port):80" --name hold -e '/guest hold' linux
err_has "port $(cat port) of 127.0.0.1 cannot be forwarded"
exec 4>&-; wait $taken
status 0 capstan run -d -f "$(cat port):80" --name hold -e '/guest hold' linux
wait_for 60 ready hold
python3 -c 'import socket, sys; socket.create_connection (("127.0.0.1", int (sys.argv[1])), 5)' "$(cat port)" ||
  fail "the port is closed"
status 0 capstan pause hold
state_is hold paused || fail "it is not paused"
status 0 capstan resume hold
capstan console --no-tty hold <keys >console 2>console.err &
console=$!
exec 3>keys
echo 'hello there' >&3
wait_for 60 grep -q 'HELLO THERE' console
status 0 capstan stop -t 60 hold
err_lacks "powering it off"
wait $console || fail "console: $? $(cat console.err)"
exec 3>&-
port=$(cat port); rm port; take "$port"
status 4 capstan start hold
err_has "port $port of 127.0.0.1 cannot be forwarded"
exec 4>&-; wait $taken
status 0 capstan start hold
wait_for 60 ready hold
status 4 capstan delete hold
# QEMU that hears nothing is ended all the same
pid=$(cat "$machines"/*/pid)
cleanup "kill -9 $pid 2>/dev/null"
kill -STOP "$pid"
status 0 capstan kill hold
status 0 capstan inspect hold
out_has killed
status 0 capstan delete hold

# somebody ends QEMU's process
status 0 capstan run -d --name victim -e '/guest hold' osv
wait_for 60 ready victim
kill -9 "$(cat "$machines"/*/pid)"
wait_for 60 over victim
status 0 capstan delete victim

# what cannot be is refused by name, and QEMU's own word is passed on
status 125 capstan run -n bridge osv; err_has "network mode bridge"
status 125 capstan run -n nat -b eth7 osv; err_has "device eth7: network mode nat uses none"
status 0 capstan run -d --name odd -e '/guest hold' osv
status 0 capstan kill odd
args=$(echo "$machines"/*/args)
printf '%s\0' -no-such-option >>"$args"
status 1 capstan start odd; err_has "QEMU does not start: "; err_has "no-such-option: invalid option"
: >"$args"
status 1 capstan start odd; err_has "/args cannot be read"
status 0 capstan delete odd
[ -z "$(ls "$machines")" ] || fail "a machine is left"
