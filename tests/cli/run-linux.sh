#!/bin/sh
# It boots machines.
# The whole path for real: Capstanfiles become images on the Linux base and run in virtual
# machines under libvirt.
. "$top_srcdir/tests/functions.sh"
use_linux_base
requires virsh --version
requires capstan plugin info kvm
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

# nothing of them is left
virsh -q list --all --title >doms
! grep -E 'hello|three' doms || fail "a domain is left"
