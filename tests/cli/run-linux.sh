#!/bin/sh
# The whole path for real: Capstanfiles become images on the Linux base and run in virtual
# machines under libvirt.
. "$top_srcdir/tests/functions.sh"
use_linux_base
requires virsh --version
requires capstan plugin info kvm
capstan () { "$top_builddir/run" capstan "$@"; }
virsh -q list >/dev/null 2>&1 || skip "libvirt does not answer here (tools/start-libvirt starts it)"

# ---- the example, as README has it ----
cp -r "$top_srcdir/examples/hello" hello; chmod -R u+w hello; cd hello
status 0 capstan run --rm
out_has "Hello from capstan, on Linux"
# an instance's own command line does not change the image
status 0 capstan run --rm -e '/hello again' hello
out_has "Hello again, on Linux"
status 0 capstan run --rm hello
out_has "Hello from capstan, on Linux"
# the other way of booting
status 0 capstan run --rm --boot-method disk hello
out_has "Hello from capstan, on Linux"
cd ..

# ---- an application that exits 3, environment, output byte for byte ----
mkdir three; cat > three/t.c <<'END'
#include <stdio.h>
#include <stdlib.h>
int main (void) { printf ("[%s]\n", getenv ("WHO")); return 3; }
END
cc -static -o three/t three/t.c
cat > three/Capstanfile <<'END'
base: linux
cmdline: --env=WHO=nobody /t
files:
  /t: t
END
status 0 capstan build -C three three
status 3 capstan run --rm three
[ "$(cat "$work/out")" = "[nobody]" ] || fail "output: $(cat "$work/out")"
status 3 capstan run --rm --env 'WHO=a b' three
[ "$(cat "$work/out")" = "[a b]" ] || fail "output: $(cat "$work/out")"
status 127 capstan run --rm -e /nothing three
status 0 capstan instances
out_lacks three

# ---- a web server of the distribution, with its libraries and data ----
if [ -x /usr/sbin/lighttpd ]; then
  mkdir ex; cp -r "$top_srcdir/examples/web" "$top_srcdir/examples/collect" ex/; chmod -R u+w ex
  status 0 capstan build -C ex/web web
  port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
  status 0 capstan run -d --name web -f "$port:80" web
  cleanup 'capstan delete -f web >/dev/null 2>&1'
  wait_for 60 curl -sf "http://127.0.0.1:$port/"
  curl -sf "http://127.0.0.1:$port/" | grep -q 'Served from a virtual machine' || fail "wrong page"
  # a second one of the same image at the same time
  status 0 capstan run --rm -e '/usr/sbin/lighttpd -v' web
  out_has lighttpd
  status 0 capstan instances
  out_has running
  # what is in the way is said
  status 125 capstan run --rm -f "$port:80" web
  err_has "$port"
  status 0 capstan stop web
  status 0 capstan instances
  out_has stopped
  status 4 capstan rmi web
  status 0 capstan delete web
  status 0 capstan rmi web
else
  echo "no lighttpd: its part is left out"
fi
[ -z "$(virsh -q list --all --name | grep '^capstan-' | while read -r d; do virsh -q domdesc --title "$d"; done | grep -E 'hello|three|web')" ] || fail "a domain is left"
