#!/bin/sh
# It boots machines.
# As root with qemu:///system, QEMU runs as a user of libvirt's own: a store that this user
# cannot reach works, and one line says what that costs; one that it can reach is not run as
# root.
. "$top_srcdir/tests/functions.sh"
[ "$(id -u)" = 0 ] || skip "needs root: for others QEMU runs as themselves"
use_linux_base
requires virsh --version
requires capstan plugin info kvm
virsh -q -c qemu:///system list >/dev/null 2>&1 || skip "libvirt does not answer here (tools/start-libvirt starts it)"
mkdir app; printf '#include <unistd.h>\nint main (void) { write (1, "up\\n", 3); pause (); }\n' >app/t.c
cc -static -o app/t app/t.c 2>/dev/null
printf 'base: linux\ncmdline: /t\nfiles:\n  /t: t\n' >app/Capstanfile

# run NAME: a machine of it is there; $owner is whose its QEMU is
owner () {
  status 0 capstan build -C app app
  status 0 capstan run -d --name "$1" app
  cleanup "capstan delete -f $1 >/dev/null 2>&1"
  wait_for 90 grep -q up "$CAPSTAN_ROOT/instances/qemu/$1/console.log"
  domain=$(sed -n 's/^backend_name: *"\{0,1\}\(capstan-[0-9a-f]*\).*/\1/p' "$CAPSTAN_ROOT/instances/qemu/$1/instance.yaml")
  pid=$(cat "/run/libvirt/qemu/$domain.pid")
  owner=$(stat -c %U "/proc/$pid")
  grep -c 'closed to libvirt' "$work/err" >lines || true
  status 0 capstan stop "$1"
  status 0 capstan delete "$1"
}
chmod 700 "$work"
owner closed
[ "$owner" = root ] || fail "QEMU ran as $owner"
[ "$(cat lines)" = 1 ] || fail "$(cat lines) lines about it, not 1"
image=$CAPSTAN_ROOT/repository/app/app.qemu
[ "$(stat -c %U "$image")" = root ] || fail "the image belongs to $(stat -c %U "$image")"

# open all the way down
open=$(mktemp -d /var/tmp/capstan-test.XXXXXX)
cleanup 'rm -rf "$open"'
chmod 711 "$open"
cp -a "$CAPSTAN_ROOT" "$open/store"
chmod -R go+X "$open/store"
CAPSTAN_ROOT=$open/store
owner open
[ "$owner" != root ] || fail "QEMU ran as root where it need not"
[ "$(cat lines)" = 0 ] || fail "a line about folders that are open"
