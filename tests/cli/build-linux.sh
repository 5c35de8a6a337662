#!/bin/sh
# Images for guest linux: a clean ext4 that holds the tree. SPDX-License-Identifier: BSD-3-Clause
. "$top_srcdir/tests/functions.sh"
PATH=$PATH:/sbin:/usr/sbin
requires which e2fsck debugfs dumpe2fs
repo=$CAPSTAN_ROOT/repository
mkdir -p "$repo/linux" app/ROOTFS/usr/lib app/ROOTFS/many
head -c 3000000 /dev/urandom >"$repo/linux/linux.qemu"
head -c 512 /dev/zero | dd of="$repo/linux/linux.qemu" conv=notrunc 2>/dev/null
printf '\125\252' | dd of="$repo/linux/linux.qemu" bs=1 seek=510 conv=notrunc 2>/dev/null
printf 'format: raw\nguest: linux\nkernel_offset: 4096\nkernel_length: 512\nkernel_args: quiet\n' \
  >"$repo/linux/index.yaml"
cd app
for n in 1 4095 4096 4097 65536 1000001; do head -c $n /dev/urandom >ROOTFS/usr/lib/f$n; done
: >ROOTFS/empty
ln -s /usr/lib/f1 ROOTFS/absolute
ln -s ../../nowhere ROOTFS/usr/dangling
ln ROOTFS/usr/lib/f1 ROOTFS/hard
echo x >"ROOTFS/größe"
i=0; while [ $i -lt 600 ]; do echo $i >ROOTFS/many/a-file-with-a-longer-name-$i; i=$((i + 1)); done
printf 'base: linux\ncmdline: /x ä\n' >Capstanfile
cd ..
# check IMAGE PARTITION-OFFSET: clean, and every file is the same as in app/ROOTFS
check () {
  dd if="$1" of=fs.img bs=1M skip=$2 conv=sparse 2>/dev/null
  e2fsck -fn fs.img >fsck.log 2>&1 || { cat fsck.log; fail "e2fsck of $1"; }
  rm -rf dump; mkdir dump
  debugfs -R "rdump / dump" fs.img >/dev/null 2>&1
  for d in dev etc proc run sys tmp lost+found; do
    [ -d "dump/$d" ] || fail "no /$d in $1"
    rm -rf "dump/$d"
  done
  diff -r --no-dereference app/ROOTFS dump || fail "$1 holds something else"
  [ "$(debugfs -R 'stat /hard' fs.img 2>/dev/null | grep -o 'Links: [0-9]*')" = "Links: 2" ] ||
    fail "the hard link is none"
}
status 0 capstan build -C app
check "$repo/app/app.qemu" 4
grep -q 'kernel_length: 512' "$repo/app/index.yaml" || fail "the kernel's place is lost"
cp "$repo/app/app.qemu" first.img
status 0 capstan build -C app --force
same first.img "$repo/app/app.qemu"
# over a base that holds an ext4
mv app/ROOTFS/usr/lib app/newlib; mv app/ROOTFS app/all; mkdir app/ROOTFS
printf 'base: app\ncmdline: /y\nfiles:\n  /usr/lib/f4096: newlib/f4097\n' >app/over
status 0 capstan build -C app -f over over
rm -rf app/ROOTFS; mv app/all app/ROOTFS; mv app/newlib app/ROOTFS/usr/lib
cp --remove-destination app/ROOTFS/usr/lib/f4097 app/ROOTFS/usr/lib/f4096
check "$repo/over/over.qemu" 4
