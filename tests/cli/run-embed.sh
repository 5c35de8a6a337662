#!/bin/sh
# It boots machines.
# Without libvirtd: its driver inside the process, asked for by name or as the last resort.
. "$top_srcdir/tests/functions.sh"
use_linux_base
requires capstan plugin info kvm
command -v qemu-system-x86_64 >/dev/null || skip "needs qemu-system-x86_64"
ls /usr/lib/*/libvirt/connection-driver/libvirt_driver_qemu.so >/dev/null 2>&1 || skip "needs libvirt's driver for QEMU"
embed=qemu:///embed?root=$work/e
cleanup 'capstan delete -f mine >/dev/null 2>&1'

mkdir app; printf '#include <stdio.h>\nint main (int c, char **v) { puts ("up"); fflush (stdout); return c > 1 ? getchar (), 0 : 3; }\n' >app/t.c
cc -static -o app/t app/t.c
printf 'base: linux\ncmdline: /t\nfiles:\n  /t: t\n' >app/Capstanfile
status 0 capstan build -C app app

# what cannot be is said
status 125 capstan run --connect 'qemu:///embed?root=relative' app
err_has "ABSOLUTE"
status 125 capstan run --connect "qemu:///embed?root=$work/$(printf %060d 0)" app
err_has "too long"
status 125 capstan run -d --connect "$embed" app
err_has "run it attached"
[ -z "$(ls "$CAPSTAN_ROOT/instances/qemu" 2>/dev/null)" ] || fail "something was made"

# attached it works, and another process is told that it has to wait
"$top_builddir/run" capstan run --name mine --connect "$embed" -e '/t wait' app >out.mine 2>err.mine </dev/null & first=$!
wait_for 90 grep -q ready "$CAPSTAN_ROOT/instances/qemu/mine/control.log"
status 125 capstan run --connect "$embed" app
err_has "in use by another capstan"
wait $first || { cat err.mine >&2; fail "the attached run: status $?"; }
grep -q up out.mine || fail "no output"
! grep -i 'libvirt version' err.mine || fail "libvirt talks on the terminal"
status 0 capstan instances
out_has "stopped"
status 0 capstan delete mine
[ -z "$(ls "$work/e/etc/qemu" | grep capstan)" ] || fail "the machine is still defined"

# nobody asked for it, and there is no daemon: a warning, and it runs
alone () { # alone COMMAND...: without libvirt's daemon
  if [ "$(id -u)" = 0 ]; then
    unshare -m sh -c 'mount -t tmpfs none /run/libvirt && exec "$@"' sh "$@"
  else
    LIBVIRT_AUTOSTART=0 "$@"
  fi
}
mkdir -m 700 c
XDG_RUNTIME_DIR=$(mktemp -d /tmp/r.XXXXXX) XDG_CACHE_HOME=$work/c # sockets have short names only
cleanup "rm -rf $XDG_RUNTIME_DIR"
export XDG_RUNTIME_DIR XDG_CACHE_HOME
if [ "$(id -u)" = 0 ] && ! unshare -m true 2>/dev/null; then skip "the last resort: unshare does not work here"; fi
status 3 alone "$top_builddir/run" capstan run --rm app
out_has up
err_has "libvirt does not answer"
err_has "For now QEMU is run from this process"
left=$(pgrep -f "guest=capstan-.*$work" || true)
[ -z "$left" ] || fail "a machine is left: $left"
