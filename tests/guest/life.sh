#!/bin/sh
# The life of instances under one hypervisor, CAPSTAN_TEST_HYPERVISOR=null|kvm|vbox, with the
# guest of guest.S, which boots in no time anywhere.
. "$top_srcdir/tests/functions.sh"
. "$top_srcdir/tests/vbox/functions.sh"
. "$top_srcdir/tests/guest/functions.sh"
use_guest
image_sum () { find "$CAPSTAN_ROOT/repository" -type f ! -name '*.yaml' -exec sha256sum {} + | sort; }
before=$(image_sum)

# ---- the guest's status is ours, what it prints is what we print ----
want=0; [ $real = 0 ] || want=3
status $want capstan run --rm osv
out_has "/guest 3"
[ $real = 0 ] || out_has "adbeadde00000000" # of ROFS
status $want capstan run --rm linux
[ $real = 0 ] || out_has " 53ef" # of ext4
want=0; [ $real = 0 ] || want=7
status $want capstan run --rm -e '/guest 7' --env 'A=b c' osv
out_has '--env=A=b\ c /guest 7'
status 0 capstan instances
out_lacks osv
[ $real = 1 ] || { status 125 capstan run -n hostonly osv; err_has hostonly; exit 0; }

# ---- byte for byte, and the log has it too ----
{ echo "/guest flood"; echo; seq 4000 -1 1 | awk '{ printf "%05d abcdefghijklmnopq\n", $1 }'; } >want
flood () { sed 2s/.*// "$1" >got; same want got; }
status 0 capstan run --name flood -e '/guest flood' osv
flood out
status 0 capstan logs flood
# QEMU 7.2 logs some bytes twice when who is attached reads too slowly for it
[ $CAPSTAN_HYPERVISOR = kvm ] || flood out
status 0 capstan delete flood

# ---- nobody listens: the guest goes on ----
status 0 capstan run -d --name flood -e '/guest flood' osv
wait_for 120 over flood
status 0 capstan logs flood
flood out
status 0 capstan delete flood

# ---- in the background: console both ways, then a stop that is heard ----
status 0 capstan run -d --name hold -e '/guest hold' linux
wait_for 60 ready hold
status 0 capstan instances
out_has running
status 4 capstan delete hold
err_has "capstan stop hold"
mkfifo keys
capstan console --no-tty hold <keys >console 2>console.err &
console=$!
exec 3>keys
echo 'hello there' >&3
wait_for 60 grep -q 'HELLO THERE' console
status 0 capstan logs hold
out_has "HELLO THERE"
status 0 capstan stop -t 60 hold
err_lacks "powering it off"
wait $console || fail "console: $? $(cat console.err)"
exec 3>&-
over hold || fail "it is not stopped"
status 0 capstan delete hold

# ---- a guest that cannot be asked is powered off ----
status 0 capstan run -d --name deaf -e '/guest hold' osv
wait_for 60 ready deaf
status 0 capstan stop deaf
err_has "powering it off"
status 0 capstan delete deaf

# ---- a fault of the guest's, and one of its process ----
status 0 capstan run -d --name fault -e '/guest fault' osv
status 0 capstan delete -f fault
machine_pid () {
  if [ $CAPSTAN_HYPERVISOR = vbox ]; then awk '$1 == "running" { print $3 }' "$CAPSTAN_ROOT"/state/hypervisor-vbox/*/serial.lock
  else cat /run/libvirt/qemu/"$(sed -n 's/^backend_name: *"\{0,1\}\([a-z0-9-]*\).*/\1/p' "$CAPSTAN_ROOT"/instances/*/killed/instance.yaml)".pid; fi
}
status 0 capstan run -d --name killed -e '/guest hold' osv
wait_for 60 ready killed
kill -9 "$(machine_pid)"
wait_for 60 over killed
status 0 capstan delete killed

# ---- ports ----
cat >taken.py <<'END'
import socket, time
s = socket.socket (); s.bind (("127.0.0.1", 0)); s.listen ()
open ("port.tmp", "w").write (str (s.getsockname ()[1])); import os; os.rename ("port.tmp", "port"); time.sleep (600)
END
python3 taken.py & taken=$!
cleanup "kill $taken 2>/dev/null"
wait_for 30 test -s port
status 125 capstan run -f "$(cat port):80" --name port osv
err_has "port $(cat port)"
status 0 capstan instances
out_lacks port
kill $taken; wait $taken || true
status 0 capstan run -d -f "$(cat port):80" --name port -e '/guest hold' osv
listens () { python3 -c 'import socket, sys; socket.create_connection (("127.0.0.1", int (sys.argv[1])), 5)' "$(cat port)"; }
wait_for 30 listens
status 0 capstan instances
out_has "tcp:127.0.0.1:$(cat port):80"
status 0 capstan delete -f port
! listens 2>/dev/null || fail "the port is still open"

# ---- 30 lives, 6 at once ----
worker () {
  for n in 1 2 3 4 5; do
    st=0; capstan run --rm --name "w$1-$n" -e "/guest $n" osv >"w$1-$n.out" 2>"w$1-$n.err" || st=$?
    [ $st = $n ] && grep -q "/guest $n" "w$1-$n.out" || { echo "w$1-$n: status $st"; cat "w$1-$n.err"; } >>bad
  done
}
for w in 1 2 3 4 5 6; do worker $w & eval "w$w=\$!"; done
for w in 1 2 3 4 5 6; do eval "wait \$w$w"; done
[ ! -e bad ] || { cat bad >&2; fail "of 30 lives"; }

# ---- nothing is left, and no image was written ----
[ "$(image_sum)" = "$before" ] || fail "an image was written"
[ -z "$(ls "$CAPSTAN_ROOT"/instances/*/)" ] || fail "an instance is left"
case $CAPSTAN_HYPERVISOR in
  vbox) vbox_empty ;;
  kvm) no_domain ;;
esac
