#!/bin/sh
# The same input gives the same bytes, whoever builds it, where, when, and in what order
# the directory gives its names. SPDX-License-Identifier: BSD-3-Clause
. "$top_srcdir/tests/functions.sh"
PATH=$PATH:/sbin:/usr/sbin
requires python3 --version
requires which debugfs
requires qemu-img --version
as () { "$@"; }
nobody="setpriv --reuid=65534 --regid=65534 --clear-groups"
# somebody else, where the tree is within their reach
if [ "$(id -u)" = 0 ] && $nobody "$top_builddir/run" capstan --version >/dev/null 2>&1; then
  as () { $nobody "$@"; }
fi
# stores: two, with bases of the same bytes
mkdir -p store1/repository/osv-loader store1/repository/linux
head -c 300000 /dev/urandom >store1/repository/osv-loader/osv-loader.qemu
python3 -c '
f = open("store1/repository/osv-loader/osv-loader.qemu", "r+b"); f.write(bytes(65536)); f.seek(510); f.write(b"\x55\xaa")'
cp store1/repository/osv-loader/osv-loader.qemu store1/repository/linux/linux.qemu
echo 'format: raw' >store1/repository/osv-loader/index.yaml
printf 'format: raw\nguest: linux\n' >store1/repository/linux/index.yaml
cp -r store1 store2

# two trees: the same, made in opposite order, with other times, inodes and owners
python3 - <<'END'
import os, random
random.seed(7)
names = ["a", "b/c", "b/d", "größe", "z" * 200, "b/e/f"] + ["many/%d" % k for k in range(500)]
data = {n: random.randbytes(random.choice((0, 1, 511, 512, 513, 4096, 70000))) for n in names}
for top, order in (("one", names), ("elsewhere/two", names[::-1])):
    for n in order:
        p = top + "/ROOTFS/" + n
        os.makedirs(os.path.dirname(p), exist_ok=True)
        with open(p, "wb") as f:
            f.write(data[n])
    links = [("b/hard1", "a"), ("b/hard2", "a"), ("many/hard", "b/c")]
    for new, old in links if top == "one" else links[::-1]:
        os.link(top + "/ROOTFS/" + old, top + "/ROOTFS/" + new)
    os.symlink("/nowhere", top + "/ROOTFS/link")
    if top != "one":
        for n in names:
            os.utime(top + "/ROOTFS/" + n, (1, 1))
        for n in names: # the same modes, whatever the umask was
            os.chmod(top + "/ROOTFS/" + n, 0o644)
    else:
        for n in names:
            os.chmod(top + "/ROOTFS/" + n, 0o644)
    for g, fs in (("osv-loader", "osv"), ("linux", "linux")):
        open(top + "/" + fs, "w").write("base: %s\ncmdline: /x\nenv: {B: 1, A: 2}\nfiles: {/g/: 'ROOTFS/b/*'}\n" % g)
END
chmod -R a+rX one elsewhere store2
[ "$(id -u)" != 0 ] || chown -R 65534 store2
chmod a+x "$work"
for g in osv linux; do for f in raw qcow2; do
  (umask 022; CAPSTAN_ROOT=$work/store1; TZ=UTC; export CAPSTAN_ROOT TZ
   status 0 capstan build -C one -f $g --format $f $g-$f)
  (umask 077; cd elsewhere/two; CAPSTAN_ROOT=$work/store2; TZ=Pacific/Apia LC_ALL=C LANG=C HOME=/ USER=nobody
   export CAPSTAN_ROOT TZ LC_ALL LANG HOME USER
   as "$top_builddir/run" capstan build -f $g --format $f $g-$f) >out 2>&1 || { cat out; fail "second build"; }
  same store1/repository/$g-$f/$g-$f.qemu store2/repository/$g-$f/$g-$f.qemu
done; done

# SOURCE_DATE_EPOCH is the time of everything in the image, and of the image.
CAPSTAN_ROOT=$work/store1
SOURCE_DATE_EPOCH=1234567890; export SOURCE_DATE_EPOCH
status 0 capstan build -C one -f linux dated
grep -q 'created: "2009-02-13T23:31:30Z"' store1/repository/dated/index.yaml || fail "created: not the epoch"
dd if=store1/repository/dated/dated.qemu of=fs.img bs=1M skip=2 conv=sparse 2>/dev/null
for p in / /a /b/e /link /lost+found; do
  debugfs -R "stat $p" fs.img 2>/dev/null | grep -E '^ ?[acm]time|crtime' >times || fail "no times of $p"
  ! grep -v 0x499602d2 times || fail "a time of $p"
done
cp store1/repository/dated/dated.qemu first.img
status 0 capstan build --force -C one -f linux dated
same first.img store1/repository/dated/dated.qemu
cmp -s first.img store1/repository/linux-raw/linux-raw.qemu && fail "the epoch changed nothing"
for e in yesterday -1 99999999999 ''; do
  SOURCE_DATE_EPOCH=$e; export SOURCE_DATE_EPOCH
  status 2 capstan build -C one -f linux x; err_has "SOURCE_DATE_EPOCH is '$e'"
done
exit 0
