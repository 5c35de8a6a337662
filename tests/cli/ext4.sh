#!/bin/sh
# ext4: what e2fsck and debugfs, which are not ours, say about what we write.
# SPDX-License-Identifier: BSD-3-Clause
. "$top_srcdir/tests/functions.sh"
PATH=$PATH:/usr/sbin:/sbin
requires e2fsck -V
requires debugfs -V
mk=$top_builddir/tests/build/mkext4
cd "$work"
clean () { e2fsck -fn "$1" >fsck 2>&1 || { cat fsck >&2; fail "e2fsck of $1"; }; }
at () { dd if="$1" of="$3" bs=1M skip="$2" conv=sparse 2>/dev/null; }
# tree DIR: names, modes, sizes, targets and digests
tree () {
  (cd "$1" && find . -name lost+found -prune -o \( -type f -printf '%P %m %s ' -exec sha256sum {} \; \) \
    -o -type l -printf '%P -> %l\n' -o -printf '%P %y %m\n') | sed '/^ d /d; s/ [1-7]\([0-7][0-7][0-7]\)\( \|$\)/ \1\2/' | sort
}
mkdir -p src/empty "src/a b/c" src/etc
for n in 0 1 4095 4096 4097 3145728; do head -c "$n" /dev/urandom >"src/f$n"; done
truncate -s 5000000 src/hole; printf x | dd of=src/hole bs=1 seek=3000000 conv=notrunc 2>/dev/null
ln src/f4097 src/etc/hard
ln -s f1 src/short
ln -s "$(printf 'a%.0s' $(seq 59))" src/l59
ln -s "$(printf 'b%.0s' $(seq 60))" src/l60
ln -s "$(printf 'c/%.0s' $(seq 1500))" src/l3000
: >"src/$(printf 'n%.0s' $(seq 255))"
echo odd >"src/a b/c/$(printf 'x\n\t\377"z')"
chmod 4755 src/f1; chmod 0600 src/f4096; chmod 1777 src/empty

# the same bytes twice, and at another place
"$mk" src one >sums
"$mk" src two >/dev/null
"$mk" src three 2097152 >/dev/null
same one two
at three 2 three0
same one three0
clean one
debugfs -R 'stat /f1' one 2>/dev/null | grep -q 'mtime: 0x00000000:00000000' || fail "a time"
(SOURCE_DATE_EPOCH=4300000000; export SOURCE_DATE_EPOCH; "$mk" src late >/dev/null)
debugfs -R 'stat /f1' late 2>/dev/null | grep -q 'mtime: 0x004ccb00:00000001' || fail "a time after 2106"
clean late
[ "$(stat -c %b one)" -lt $(((3145728 + 3 * 1024 * 1024) / 512)) ] || fail "too much is allocated"
mkdir dump
debugfs -R "rdump / dump" one >/dev/null 2>&1
# rdump makes two files of a hard link, and its chown takes the bits over 0777
tree src >want
tree dump >got
same want got
for m in f1:04755 f4096:0600 empty:01777; do
  debugfs -R "stat /${m%:*}" one 2>/dev/null | grep -q "Mode:  ${m#*:} " || fail "mode of $m"
done
[ "$(debugfs -R 'stat /f4097' one 2>/dev/null | grep -o 'Links: [0-9]*')" = "Links: 2" ] || fail "links"
debugfs -R 'stats' one 2>/dev/null | grep '^Filesystem features:' | grep -q has_journal || fail "no journal"
# our reader, and then the writer again: the same bytes
"$mk" -r three 2097152 again >/dev/null
same one again
"$mk" -r one 0 again2 >/dev/null
same one again2

# what mke2fs made is read too, whatever its features
rm src/l3000 # over a block of 1024
tree src >want
for opt in '-t ext4' '-t ext2 -b 1024' '-t ext4 -O ^metadata_csum,^64bit -b 2048'; do
  rm -f foreign
  mke2fs -q $opt -d src foreign 64M >/dev/null 2>&1 || fail "mke2fs $opt"
  "$mk" -r foreign 0 again >/dev/null
  clean again
  rm -rf dump; mkdir dump; debugfs -R "rdump / dump" again >/dev/null 2>&1
  tree dump >got
  same want got
done

# room that was given to a file and never written is zeros, whatever lay there before
mkdir -p stale
tr '\0' S </dev/zero | head -c 65536 >stale/old
rm -f fall; mke2fs -q -t ext4 -d stale fall 16M >/dev/null 2>&1
block=$(debugfs -R 'bmap /old 0' fall 2>/dev/null | tail -n 1)
: >nothing
debugfs -w -R 'rm /old' fall >/dev/null 2>&1
debugfs -w -R 'write nothing /new' fall >/dev/null 2>&1
debugfs -w -R 'sif /new size 65536' fall >/dev/null 2>&1
size=$(debugfs -R 'stats' fall 2>/dev/null | sed -n 's/^Block size: *//p')
debugfs -w -R "fallocate /new 0 $((65536 / size - 1))" fall >/dev/null 2>&1
[ "$(debugfs -R 'bmap /new 0' fall 2>/dev/null | tail -n 1 | cut -d' ' -f1)" = "$block" ] ||
  fail "the room is not where the old data lay"
debugfs -R 'stat /new' fall 2>/dev/null | grep -qi 'uninit\|(u)\|\[u\]' || fail "debugfs does not call it unwritten"
"$mk" -r fall 0 again >/dev/null
debugfs -R 'dump /new new' again 2>/dev/null
head -c 65536 /dev/zero | cmp - new || fail "old bytes where there are none"

# extended attributes, in the inode and in a block of their own; owner and mode of the root
rm -f foreign
mke2fs -q -t ext4 -b 4096 -d src foreign 64M >/dev/null 2>&1
printf '\001\000\000\002\000\004\000\000\000\000\000\000\000\000\000\000\000\000\000\000' >cap
head -c 3000 /dev/urandom >value
: >none
debugfs -w -f - foreign >/dev/null 2>&1 <<'END'
ea_set -f cap /f1 security.capability
ea_set /f1 user.note hello
ea_set -f value /f4096 user.large
ea_set /empty user.dir d
ea_set -f none /f4096 user.nothing
ea_set /short trusted.link l
ea_set / user.root r
sif / mode 040710
sif / uid 1234
sif / gid 70000
END
"$mk" -r foreign 0 again >/dev/null
clean again
attr () { debugfs -R "ea_get -f got.attr $1 $2" again >/dev/null 2>&1 || fail "no $2 of $1"; }
attr /f1 security.capability; same cap got.attr
attr /f1 user.note; [ "$(cat got.attr)" = hello ] || fail "user.note"
attr /f4096 user.large; same value got.attr
debugfs -R 'ea_list /f4096' again 2>/dev/null | grep -q 'user.nothing (0)' || fail "an empty value"
attr /empty user.dir
attr /short trusted.link
attr / user.root
debugfs -R 'stat /' again 2>/dev/null >root
grep -q 'Mode:  0710 ' root && grep -q 'User:  1234 *Group: 70000' root || fail "the root's own: $(cat root)"
"$mk" -r again 0 again3 >/dev/null
same again again3
# a value that ext4 without large values cannot hold
rm -f foreign
mke2fs -q -t ext4 -b 4096 -O ea_inode -d src foreign 64M >/dev/null 2>&1
head -c 4096 /dev/urandom >value
debugfs -w -R 'ea_set -f value /f1 user.large' foreign >/dev/null 2>&1
status 1 "$mk" -r foreign 0 bad; err_has "the extended attribute user.large of 'f1', 4096 bytes"

# capstan build: the files are laid over such a base, and the account says what is allocated
disk=$CAPSTAN_ROOT/repository
mkdir -p "$disk/loader" app/ROOTFS
head -c 4194304 /dev/urandom >"$disk/loader/loader.qemu"
printf '\125\252' | dd of="$disk/loader/loader.qemu" bs=1 seek=510 conv=notrunc 2>/dev/null
head -c 66 /dev/zero | dd of="$disk/loader/loader.qemu" bs=1 seek=444 count=66 conv=notrunc 2>/dev/null
printf 'format: raw\nguest: linux\n' >"$disk/loader/index.yaml"
cp -a src/. app/ROOTFS; truncate -s 300M app/ROOTFS/sparse; chmod 0700 app/ROOTFS
printf 'base: loader\ncmdline: /x\n' >app/Capstanfile
status 0 capstan build -C app first
mb () { sed -n "s/^.*$1 *\([0-9.]*\) MB .*/\1/p" err; }
sum=$(echo "$(mb base) $(mb 'file system') $(mb application)" | awk '{ print int (10 * ($1 + $2 + $3) + .5) }')
used=$(($(stat -c %b "$disk/first/first.qemu") * 512))
[ $((sum - 3)) -le $((used / 100000)) ] && [ $((sum + 3)) -ge $((used / 100000)) ] ||
  { cat err; fail "the account does not say $used"; }
tail -n +1 err | grep -q 'application *3\.[0-9] MB' || { cat err; fail "holes count as data"; }
debugfs -w -f - "$disk/first/first.qemu?offset=4194304" >/dev/null 2>&1 <<'END'
sif / mode 040711
sif / uid 77
ea_set -f cap /f1 security.capability
ea_set /f1 user.note hello
END
printf 'base: first\ncmdline: /x\nrootfs: over\nfiles:\n  /f4096: new\n' >app/Capstanfile
mkdir app/over; echo more >app/over/more; chmod 0700 app/over; echo new >app/new
status 0 capstan build -C app second
dd if="$disk/second/second.qemu" of=again bs=1M skip=4 conv=sparse 2>/dev/null
clean again
debugfs -R 'stat /' again 2>/dev/null | tr '\n' ' ' | grep -q 'Mode:  0711 .* User:    77 ' || fail "the root of the base"
attr /f1 security.capability; same cap got.attr
debugfs -R 'cat /more' again 2>/dev/null | grep -qx more || fail "the new file"
debugfs -R 'cat /f4096' again 2>/dev/null | grep -qx new || fail "the file in the place of another"

# a large directory has a tree; e2fsck has nothing to make better
mkdir many
(cd many && seq -f 'a-file-with-a-name-%g' 100000 | xargs touch)
"$mk" many big >/dev/null
clean big
grep -q '100[0-9]* files\|10001[0-9]/' fsck || { cat fsck; fail "not all files are there"; }
debugfs -R 'htree_dump /' big 2>/dev/null | grep -q 'Indirect levels: 1' || fail "no htree"
debugfs -R 'stat /a-file-with-a-name-77777' big 2>/dev/null | grep -q 'Type: regular' || fail "a name"
mkdir -p some/d
(cd some/d && seq -f 'some-%g' 3000 | xargs touch)
"$mk" some small >/dev/null
clean small
debugfs -R 'htree_dump /d' small 2>/dev/null | grep -q 'Indirect levels: 0' || fail "no small htree"

# over 128 MiB: an extent ends there, and copies of the super block are in the way
mkdir huge
head -c 1000000 /dev/urandom >huge/x
truncate -s 800M huge/x
for m in 120 130 260 700; do head -c 500001 /dev/urandom | dd of=huge/x bs=1M seek=$m conv=notrunc 2>/dev/null; done
"$mk" huge h >/dev/null
clean h
[ "$(stat -c %b h)" -lt 20000 ] || fail "holes were filled"
debugfs -R "dump /x hx" h 2>/dev/null
same huge/x hx
rm -f hx
"$mk" -r h 0 h2 >/dev/null
same h h2

# errors
MKEXT4_SIZE=4194304; export MKEXT4_SIZE
status 1 "$mk" src bad; err_has "too small"
MKEXT4_SIZE=134217728
"$mk" src sized >sums
[ "$(cut -d' ' -f1 sums)" = 134217728 ] && clean sized || fail "the size asked for"
unset MKEXT4_SIZE
head -c 4194304 /dev/urandom >noise
status 1 "$mk" -r noise 0 bad; err_has "noise"
# damage is an error or is harmless, never a crash
i=0
while [ $i -lt 60 ]; do
  head -c 4194304 one >dmg
  LC_ALL=C awk -v s=$i 'BEGIN { srand (s); for (n = 0; n < 64; n++) printf "%c", 1 + rand () * 254 }' |
    dd of=dmg bs=1 seek=$((1024 + i * 97)) conv=notrunc 2>/dev/null
  truncate -s 80M dmg
  got=0; timeout 20 "$mk" -r dmg 0 bad >out.txt 2>err.txt || got=$?
  [ $got -le 1 ] || { cat err.txt >&2; fail "damage $i: status $got"; }
  i=$((i + 1))
done
