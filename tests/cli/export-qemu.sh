#!/bin/sh
# What capstan export writes boots under QEMU, format by format (it boots machines).
. "$top_srcdir/tests/functions.sh"
requires qemu-img --version
requires qemu-system-x86_64 --version
requires as --version
"$top_srcdir/tests/guest/make-guest" guest.img
mkdir app; echo data >app/data
printf 'base: guest\ncmdline: /guest 3\nfiles:\n  /data: data\n' >app/Capstanfile
status 0 capstan import --guest osv guest guest.img
status 0 capstan build -C app app
for f in raw qcow2 vdi vmdk vhd vhdx; do
  q=$f; [ $f != vhd ] || q=vpc
  status 0 capstan export app --format $f
  timeout 120 qemu-system-x86_64 -accel tcg -m 64 -display none -nodefaults -no-reboot -net none \
    -drive file=app.$f,format=$q,if=ide -serial file:$f.txt -serial file:$f.ctl || fail "$f: QEMU"
  grep -q '/guest 3' $f.txt && grep -q 'exit 3' $f.ctl || { cat $f.txt $f.ctl; fail "$f did not boot"; }
done
