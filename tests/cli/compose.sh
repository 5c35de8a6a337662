#!/bin/sh
# compose, tag, init: images without a Capstanfile, second names, a Capstanfile to begin with.
# SPDX-License-Identifier: BSD-3-Clause
. "$top_srcdir/tests/functions.sh"
requires python3 --version
repo=$CAPSTAN_ROOT/repository
loader=$repo/osv-loader/osv-loader.qemu
mkdir -p "$repo/osv-loader" "$repo/mike/osv-loader" "$repo/linux"
head -c 65536 /dev/zero >"$loader"
printf '\125\252' | dd of="$loader" bs=1 seek=510 conv=notrunc 2>/dev/null
cp "$loader" "$repo/mike/osv-loader/osv-loader.qemu" # no index.yaml: as the original left it
cp "$loader" "$repo/linux/linux.qemu"
echo 'format: raw' >"$repo/osv-loader/index.yaml"
printf 'format: raw\nguest: linux\n' >"$repo/linux/index.yaml"
add_osv () {
  mkdir -p "$1/dev" "$1/proc" "$1/sys" "$1/tmp" "$1/data" "$1/etc"
  printf '127.0.0.1 localhost\n::1 localhost\n' >"$1/etc/hosts"
  printf 'none /dev devfs defaults 0 0\nnone /proc procfs defaults 0 0\nnone /sys sysfs defaults 0 0\n' >"$1/etc/fstab"
  ln -s /proc/mounts "$1/etc/mnttab"
}
rofs () { python3 "$top_srcdir/tests/cli/rofs-check" "$repo/$1" "$loader" "$2" "$3" || fail "image $1"; }

# Relative and absolute paths, slashes at the end, links, single files, several: none of
# them makes an empty image (the original's D4), and namespaces work (D21).
mkdir -p tree/sub; echo a >tree/a; echo b >tree/sub/b; ln -s /a tree/sub/abs; echo c >file
ln -s tree link
cp -a tree want; add_osv want
cp -a want want2; cp file want2
mkdir want3; cp file want3; add_osv want3
n=0
for p in tree tree/ ./tree// "$work/tree" "$work/./tree/" link link/ tree/../tree; do
  n=$((n + 1)); status 0 capstan compose --fs rofs -c "/a x" ns/c$n $p
  rofs ns/c$n/c$n.qemu "/a x" want
done
(cd tree; status 0 capstan compose -c "/a" dot .); rofs dot/dot.qemu /a want
status 0 capstan compose -c "/a" two tree file; rofs two/two.qemu /a want2
status 0 capstan compose --loader_image mike/osv-loader --command_line "/file" one ./file; rofs one/one.qemu /file want3
status 0 capstan compose -c "" empty file; rofs empty/empty.qemu "" want3
[ "$(ls -A)" = "$(printf 'err\nfile\nhome\nlink\nout\nstore\ntree\nwant\nwant2\nwant3')" ] || fail "left here: $(ls -A)"
# Of several, the last one holds.
mkdir over; echo new >over/a; status 0 capstan compose -c /a laid tree over; echo new >want/a; rofs laid/laid.qemu /a want
printf 'a\n' >want/a
# A directory has its own .capstanignore.
printf '/sub/b\n' >tree/.capstanignore; rm want/sub/b
status 0 capstan compose -c /a ignored tree; rofs ignored/ignored.qemu /a want
rm tree/.capstanignore
status 3 capstan compose x nothere; err_has "nothere: No such file"
status 2 capstan compose x; status 2 capstan compose
status 2 capstan compose --fs zfs x tree; err_has "ZFS images are not supported yet"
status 2 capstan compose --fs ntfs x tree
status 3 capstan compose -l no/such x tree; err_has "capstan import no/such FILE"
status 1 capstan compose -c "/ä" x tree; err_has "over 0x7f"
status 1 capstan compose -c "$(head -c 32256 /dev/zero | tr '\0' x)" x tree; err_has "limit is 32255"
[ ! -e "$repo/x" ] || fail "an image was left"
status 0 capstan compose --fs rofs -s 10G -c /a sized tree; err_has "the size has no effect"
# For linux, with a size.
status 0 capstan compose -l linux -s 100M -c /a lin tree
[ "$(stat -c %s "$repo/lin/lin.qemu")" -eq 104857600 ] || fail "size of the disk"
status 0 capstan compose -l linux -s 100M -c /a lin tree

# At once, each gets its own command line and files (D6); bases that are built on each other.
mkdir many
for k in 1 2 3 4 5 6; do mkdir many/$k; echo $k >many/$k/only; done
pids=
for k in 1 2 3 4 5 6; do capstan compose -c "/only $k" at$k many/$k >out$k 2>&1 & pids="$pids $!"; done
for p in $pids; do wait $p || { cat out?; fail "one of six builds at once"; }; done
for k in 1 2 3 4 5 6; do add_osv many/$k; rofs at$k/at$k.qemu "/only $k" many/$k; done
for k in 1 2 3; do
  capstan compose --force -l at1 -c /x at2 file >out1 2>&1 & a=$!
  capstan compose --force -l at2 -c /y at1 file >out2 2>&1 & b=$!
  capstan compose --force -l at1 -c /z at2 file >out3 2>&1 & c=$!
  wait $a && wait $b && wait $c || { cat out1 out2 out3; fail "images built on each other"; }
done

# tag: a second name, independent of the first, which costs nothing.
status 0 capstan tag two ns/tagged; rofs ns/tagged/tagged.qemu /a want2
status 4 capstan tag one ns/tagged; err_has "there is an image 'ns/tagged' already; --force"
status 0 capstan compose -c /file two file # built anew: the tag stays what it was
rofs two/two.qemu /file want3; rofs ns/tagged/tagged.qemu /a want2
status 0 capstan rmi two; rofs ns/tagged/tagged.qemu /a want2
status 0 capstan tag --force one ns/tagged; rofs ns/tagged/tagged.qemu /file want3
status 0 capstan info ns/tagged; out_has "/file"
status 3 capstan tag nothere x; status 2 capstan tag one one; status 2 capstan tag one ../x
status 2 capstan tag one
[ ! -e "$repo/x" ] || fail "a failed tag left something"
# What is built on a tagged loader is still up to date.
capstan compose -c /file up file >/dev/null 2>&1
wait_for 20 sh -c '"$top_builddir/run" capstan compose -c /file up file 2>&1 | grep "up to date"'
status 0 capstan tag osv-loader other-loader
status 0 capstan compose -c /file up file; err_has "up is up to date"

# init: what it writes can be built; what is there is not lost.
status 0 capstan init new; err_has "new/Capstanfile"
status 4 capstan init new; err_has "--force"
echo 'lost: no' >new/Capstanfile; status 4 capstan init new; grep -q lost new/Capstanfile || fail "init lost a file"
status 0 capstan init --force --base osv-loader -c '/file "a b"' new
sed -i 's|^#files:|files:|; s|^#  /hello: hello|  /file: ../file|' new/Capstanfile
status 0 capstan build -C new; rofs new/new.qemu '/file "a b"' want3
sed -i 's|^#||' new/Capstanfile # every line that is commented out is right
grep -q '^  LANG: C.UTF-8' new/Capstanfile && grep -q '^size: 1G' new/Capstanfile || fail "the comments of init"
(cd new; status 0 capstan init --force); grep -q '^base: linux' new/Capstanfile || fail "init here"
status 2 capstan init --base ../x new2
status 3 capstan init /dev/null/x
