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
