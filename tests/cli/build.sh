#!/bin/sh
# What capstan build writes, byte by byte. SPDX-License-Identifier: BSD-3-Clause
. "$top_srcdir/tests/functions.sh"
requires python3 --version
requires qemu-img --version
check () { python3 "$top_srcdir/tests/cli/rofs-check" "$@" || fail "image $1"; }
repo=$CAPSTAN_ROOT/repository

# A loader of known bytes: boot sector, command line area, 130 units of 32 KiB.
python3 -c '
b = bytearray((i * 7 + (i >> 9)) & 255 for i in range(65536 + 130 * 32768))
b[0x1b8:0x1be] = b"VSO\0\0\0"; b[0x1be:0x1fe] = bytes(64); b[510:512] = b"\x55\xaa"
b[512:65536] = bytes(65024)
open("loader.img", "wb").write(b)'
base () { mkdir -p "$repo/$1"; cp "$2" "$repo/$1/$1.qemu"; printf '%s\n' "$3" >"$repo/$1/index.yaml"; }
base osv-loader loader.img 'format: raw'

# Everything that a tree may hold.
mkdir -p app/ROOTFS/usr/lib/deep/er app/ROOTFS/leer app/data
cd app
for n in 1 511 512 513 65535 65536 70001 300000; do
  head -c $n /dev/urandom >ROOTFS/usr/lib/f$n
done
: >ROOTFS/empty
ln -s /usr/lib/f1 ROOTFS/usr/absolute
ln -s ../../nowhere ROOTFS/usr/dangling
ln -s . ROOTFS/usr/self
ln ROOTFS/usr/lib/f70001 ROOTFS/usr/lib/deep/hard
echo x >"ROOTFS/usr/größe-日本"
printf 'y' >"ROOTFS/usr/$(printf 'b\377yte')"
echo one >data/one; mkdir data/sub; echo two >data/sub/two; ln -s one data/link
echo given >given
cat >Capstanfile <<'END'
base: osv-loader
build: |
  [ ! -e made ] || echo again
  echo "made by $PWD" >made
  echo to-stdout; echo to-stderr >&2
cmdline: --env=A=a\ b /hello "an arg"; /two &
files:
  /made: made
  /bin/given: "&"
  /srv/data: data
  /usr/lib/f1: given
  /lib/: given
END
status 0 capstan build
out_has to-stdout
err_has to-stderr
err_has "total"
cd ..
mkdir want
cp -a app/ROOTFS/. want
mkdir -p want/bin want/srv want/lib want/dev want/proc want/sys want/tmp want/data want/etc
cp app/made want/made; cp app/given want/bin/given; cp -a app/data want/srv/data
cp --remove-destination app/given want/usr/lib/f1; cp app/given want/lib/given
printf '127.0.0.1 localhost\n::1 localhost\n' >want/etc/hosts
printf 'none /dev devfs defaults 0 0\nnone /proc procfs defaults 0 0\nnone /sys sysfs defaults 0 0\n' >want/etc/fstab
ln -s /proc/mounts want/etc/mnttab
cmdline='--env=A=a\ b /hello "an arg"; /two &'
check "$repo/app/app.qemu" loader.img "$cmdline" want
grep -q 'fs: .*rofs' "$repo/app/index.yaml" || fail "index.yaml"

# The same input gives the same bytes; unchanged input is left alone.
cp "$repo/app/app.qemu" first.img
printf 'base: osv-loader\ncmdline: /x\nfiles:\n  /f: given\n' >app/simple
wait_for 5 sh -c 'sleep 0.05; "$top_builddir/run" capstan build --force -f simple -C app s && "$top_builddir/run" capstan build -f simple -C app s 2>&1 | grep "up to date"'
cp "$repo/s/s.qemu" s1.img
status 0 capstan build --force -f simple -C app s
same s1.img "$repo/s/s.qemu"
printf GIVEN >app/given.new; mv app/given.new app/given
status 0 capstan build -f simple -C app s
err_lacks "up to date"
status 0 capstan build -C app --dry-run dry
out_has "/usr/absolute -> /usr/lib/f1"
[ ! -e "$repo/dry" ] || fail "--dry-run made an image"

# A base that holds a ROFS: the files are laid over it.
base over first.img 'format: raw'
mkdir none
printf 'base: over\ncmdline: /new\nrootfs: ../none\nfiles:\n  /usr/lib/f512: given\n  /added/deep: given\n' >app/over
status 0 capstan build -f over -C app over2
cp --remove-destination app/given want/usr/lib/f512; mkdir want/added; cp app/given want/added/deep
check "$repo/over2/over2.qemu" first.img /new want

# qcow2: as base, and as result.
qemu-img convert -f raw -O qcow2 loader.img loader.qcow2
base qloader loader.qcow2 'format: qcow2'
rm "$repo/qloader/index.yaml" # as the original left it: found out by its header
printf 'base: qloader\ncmdline: /new\nrootfs: ../want\n' >app/q
status 0 capstan build -f q -C app q
status 0 qemu-img info -f qcow2 "$repo/q/q.qemu"
qemu-img convert -f qcow2 -O raw "$repo/q/q.qemu" q.raw
check q.raw loader.img /new want
status 0 capstan build -f q -C app --format raw -m 512M qraw
err_has "starts no virtual machine"
same q.raw "$repo/qraw/qraw.qemu"
ls -A "$repo/q" >left; [ "$(wc -l <left)" -eq 2 ] || fail "left in the store: $(cat left)"

# Foreign root file systems, and what is no loader.
cp first.img zfs.img
python3 -c '
f = open("zfs.img", "r+b"); f.seek(6291456); f.write(bytes(131072)); f.write(bytes.fromhex("0cb1ba0000000000"))'
base zfs zfs.img 'format: raw'
printf 'base: zfs\ncmdline: /x\nrootfs: ../want\n' >app/zfs
status 1 capstan build -f zfs -C app z
err_has "ZFS"; err_has "loader"; err_has "--replace-root"
status 0 capstan build -f zfs -C app --replace-root z
check "$repo/z/z.qemu" first.img /x want
head -c 65536 /dev/zero >zero.img; base zero zero.img 'format: raw'
head -c 4096 loader.img >short.img; base short short.img 'format: raw'
printf 'base: zero\ncmdline: /x\n' >app/zero; printf 'base: short\ncmdline: /x\n' >app/short
status 1 capstan build -f zero -C app z; err_has "no boot sector"
status 1 capstan build -f short -C app z; err_has "too small"
