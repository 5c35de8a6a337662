#!/bin/sh
# capstan base make linux: the base in the store.
. "$top_srcdir/tests/functions.sh"
[ -x "$top_builddir/libexec/base-linux/init" ] || skip "the Linux base is not built (--enable-base-linux)"
capstan () { "$top_builddir/run" capstan "$@"; }
status 3 capstan base make nothing
err_has "nothing"
status 2 capstan base make linux --kernel /x
err_has "--modules"
status 2 capstan base make linux --deb /x --kernel /x --modules /x
status 1 capstan base make linux --deb /nothing.deb
err_has "/nothing.deb: no such file"
status 0 capstan images
out_lacks linux
deb=${CAPSTAN_TEST_LINUX_DEB:-}
capstan base make linux ${deb:+--deb "$deb"} 2>log || {
  [ -z "$deb" ] || { cat log; fail "base make failed on $deb"; }
  skip "no kernel package here (CAPSTAN_TEST_LINUX_DEB=FILE gives one): $(tail -n 1 log)"
}
grep -q 'made base linux' log || { cat log; fail "it does not say what it made"; }
index=$CAPSTAN_ROOT/repository/linux/index.yaml
for k in 'format: "raw"' 'guest: "linux"' kernel_offset kernel_length initrd_offset initrd_length kernel_args; do
  grep -q "$k" "$index" || { cat "$index"; fail "no $k in index.yaml"; }
done
status 0 capstan base list
out_has linux
first=$(sha256sum < "$CAPSTAN_ROOT/repository/linux/linux.qemu")
# again, under another name
status 0 capstan base make linux ${deb:+--deb "$deb"} --name my/base
[ "$(sha256sum < "$CAPSTAN_ROOT/repository/my/base/base.qemu")" = "$first" ] || fail "other bytes the second time"

# ---- what capstan builds on it boots, by its boot sector ----
requires command -v qemu-system-x86_64
mkdir three
printf '#include <stdio.h>\nint main (void) { puts ("from three"); return 3; }\n' > three/t.c
cc -static -Os -o three/t three/t.c || skip "needs a C compiler and a static libc"
printf 'base: linux\ncmdline: /t\nfiles:\n  /t: t\n' > three/Capstanfile
status 0 capstan build -C three three
timeout 120 qemu-system-x86_64 -accel tcg -m 128 -nodefaults -no-reboot -display none \
  -chardev stdio,id=a,signal=off -device isa-serial,chardev=a,index=0 \
  -chardev file,id=b,path=control -device isa-serial,chardev=b,index=1 -snapshot \
  -drive file="$CAPSTAN_ROOT/repository/three/three.qemu",format=raw,if=virtio </dev/null >console ||
  fail "qemu failed or did not end"
[ "$(tr -d '\r' < console)" = "from three" ] || { cat console; fail "wrong output"; }
grep -qx 'exit 3' control || { cat control; fail "not: exit 3"; }
