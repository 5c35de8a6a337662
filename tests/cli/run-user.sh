#!/bin/sh
# It boots machines.
# The run of an ordinary user, on a libvirt session of his own, which is restarted meanwhile.
# As root the test gives itself up for nobody.
. "$top_srcdir/tests/functions.sh"
use_linux_base
requires capstan plugin info kvm
command -v qemu-system-x86_64 >/dev/null || skip "needs qemu-system-x86_64"
[ -x /usr/sbin/libvirtd ] || skip "needs libvirtd"

if [ "$(id -u)" = 0 ]; then
  requires setpriv --version
  requires setpriv --reuid=65534 --regid=65534 --clear-groups test -r "$top_builddir/capstan" -a -r "$top_srcdir/tests/functions.sh"
  mkdir user
  chmod 711 "$work" # the way to the folder of the user, and to nothing else
  chmod 700 "$CAPSTAN_ROOT"
  mv "$CAPSTAN_ROOT" user/store
  chown -R 65534:65534 user
  # root may look everywhere, so that nothing is left can be seen from here
  got=0
  env work="$work/user" HOME="$work/user" CAPSTAN_ROOT="$work/user/store" TMPDIR="$work/user" \
    setpriv --reuid=65534 --regid=65534 --clear-groups sh -c 'cd "$work" && exec sh "$0"' "$0" || got=$?
  [ $got = 0 ] || [ $got = 77 ] || fail "as nobody: status $got"
  left=$(ps -u 65534 -o pid=,args= | grep -F "$work" || true)
  [ -z "$left" ] || fail "left behind: $left"
  exit $got
fi

XDG_RUNTIME_DIR=$work/r XDG_CONFIG_HOME=$work/c XDG_CACHE_HOME=$work/k
export XDG_RUNTIME_DIR XDG_CONFIG_HOME XDG_CACHE_HOME
mkdir -m 700 r c k
# the session's own daemons: it starts them, and we end them
daemon () { cat "$XDG_RUNTIME_DIR/libvirt/$1.pid" 2>/dev/null; }
gone () { ! kill -0 "$1" 2>/dev/null; }
end_daemon () {
  p=$(daemon "$1") || return 0
  [ -n "$p" ] && kill "$p" 2>/dev/null || return 0
  wait_for 20 gone "$p"
}
cleanup 'end_daemon libvirtd; end_daemon virtlogd'
cleanup 'capstan delete -f later >/dev/null 2>&1'

mkdir app; printf '#include <stdio.h>\nint main (int c, char **v) { puts ("up"); fflush (stdout); return c > 1 ? getchar (), 0 : 3; }\n' >app/t.c
cc -static -o app/t app/t.c
printf 'base: linux\ncmdline: /t\nfiles:\n  /t: t\n' >app/Capstanfile
status 0 capstan build -C app app
status 3 capstan run --rm app
out_has up
err_lacks "runs as root"
[ -S "$XDG_RUNTIME_DIR/libvirt/libvirt-sock" ] || fail "that was not a session of this user"

# libvirt is restarted under one that is waited for: it is found again, and removed at its end
status 0 capstan run -d --rm --name later -e '/t wait' app
wait_for 60 grep -q up "$CAPSTAN_ROOT/instances/qemu/later/console.log"
end_daemon libvirtd
status 0 capstan instances
out_has running
status 0 capstan stop later
removed () { ! capstan instances | grep -q later; }
wait_for 60 removed
