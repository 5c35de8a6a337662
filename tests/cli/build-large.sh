#!/bin/sh
# Trees that are large, deep, sparse, or have names of any bytes. SPDX-License-Identifier: BSD-3-Clause
. "$top_srcdir/tests/functions.sh"
PATH=$PATH:/sbin:/usr/sbin
requires python3 --version
requires which e2fsck debugfs
repo=$CAPSTAN_ROOT/repository
mkdir -p "$repo/osv-loader" "$repo/linux"
head -c 65536 /dev/zero >"$repo/osv-loader/osv-loader.qemu"
printf '\125\252' | dd of="$repo/osv-loader/osv-loader.qemu" bs=1 seek=510 conv=notrunc 2>/dev/null
cp "$repo/osv-loader/osv-loader.qemu" "$repo/linux/linux.qemu"
echo 'format: raw' >"$repo/osv-loader/index.yaml"
printf 'format: raw\nguest: linux\n' >"$repo/linux/index.yaml"

# make NAME: the trees, by a program, since a shell's paths are too short
cat >make.py <<'END2'
import os, sys
kind = sys.argv[1]
os.makedirs(b"tree")
top = os.open("tree", os.O_RDONLY)
def write(name, data, up=None):
    fd = os.open(name, os.O_WRONLY | os.O_CREAT, 0o644, dir_fd=up or top)
    os.write(fd, data)
    os.close(fd)
if kind == "bytes": # every byte that a name may have, and the longest name
    for b in range(1, 256):
        if b not in b"/.":
            write(bytes([b]), bytes([b]))
    write(b"n" * 255, b"n")
    os.symlink(b"\xff\xfe to nowhere " + b"t" * 3000, b"tree/link\x80")
    os.symlink(b"plain", b"tree/second")
elif kind == "deep": # 6,000 bytes of path, a file at each end
    up = top
    for k in range(24):
        write(b"file%d" % k, b"%d" % k, up)
        os.mkdir(b"d" * 250, dir_fd=up)
        up = os.open(b"d" * 250, os.O_RDONLY, dir_fd=up)
    write(b"end", b"end" * 100000, up)
elif kind == "many":
    for k in range(int(sys.argv[2])):
        write(b"a-file-%d" % k, b"%d" % k if k % 100 == 0 else b"")
elif kind == "sparse": # over 4 GiB, and data across that border
    for name, holes in ((b"large", (0, 1 << 20, (1 << 32) - 5, (1 << 32) + 123456)), (b"hole", ())):
        fd = os.open(name, os.O_WRONLY | os.O_CREAT, 0o644, dir_fd=top)
        os.ftruncate(fd, (1 << 32) + (1 << 20) + 1)
        for at in holes:
            os.pwrite(fd, b"data at %d" % at * 50, at)
        os.close(fd)
    write(b"behind", b"behind")
END2
printf 'base: osv-loader\ncmdline: /x\nrootfs: tree\n' >osv
printf 'base: linux\ncmdline: /x\nrootfs: tree\n' >linux
# both KIND [ARGUMENT]: build it for both guests and look at it with other eyes
both () {
  rm -rf tree want dump; python3 make.py "$@"
  status 0 capstan build -f osv "osv$1"
  status 0 capstan build -f linux "linux$1"
  dd if="$repo/linux$1/linux$1.qemu" of=fs.img bs=1M skip=2 conv=sparse 2>/dev/null
  e2fsck -fn fs.img >fsck.log 2>&1 || { cat fsck.log; fail "e2fsck of $1"; }
  mkdir tree/dev tree/proc tree/sys tree/tmp tree/data tree/etc
  printf '127.0.0.1 localhost\n::1 localhost\n' >tree/etc/hosts
  printf 'none /dev devfs defaults 0 0\nnone /proc procfs defaults 0 0\nnone /sys sysfs defaults 0 0\n' >tree/etc/fstab
  ln -s /proc/mounts tree/etc/mnttab
  python3 "$top_srcdir/tests/cli/rofs-check" "$repo/osv$1/osv$1.qemu" \
    "$repo/osv-loader/osv-loader.qemu" /x tree || fail "ROFS of $1"
}
# same_dump: what debugfs finds is what was there; the mount points aside
same_dump () {
  mkdir dump; debugfs -R "rdump / dump" fs.img >/dev/null 2>&1
  rm -rf tree/data tree/etc tree/dev tree/proc tree/sys tree/tmp
  rm -rf dump/etc dump/dev dump/proc dump/sys dump/tmp dump/run dump/lost+found
  diff -r --no-dereference tree dump || fail "ext4 holds something else"
}
both bytes; same_dump
both deep
python3 - <<'END2' || fail "ext4 of the deep tree"
import subprocess
p = "/" + "/".join(["d" * 250] * 24)
for path, want in (("/file0", b"0"), (p[:250 * 12 + 12] + "/file12", b"12")):
    got = subprocess.run(["debugfs", "-R", "cat " + path, "fs.img"], capture_output=True).stdout
    assert got == want, (path[-20:], got)
END2
both many 3000; same_dump
rm -rf tree; python3 make.py many 100000
status 1 capstan build -f osv osvmany; err_has "OSv up to v0.57 halts"; err_has "--force"
status 0 capstan build -f osv --force osvmany
status 0 capstan build -f linux linuxmany
dd if="$repo/linuxmany/linuxmany.qemu" of=fs.img bs=1M skip=2 conv=sparse 2>/dev/null
e2fsck -fn fs.img >fsck.log 2>&1 || { cat fsck.log; fail "e2fsck of 100,000 files"; }
[ "$(debugfs -R 'ls -p /' fs.img 2>/dev/null | grep -c a-file-)" -eq 100000 ] || fail "not 100,000 names"
[ "$(debugfs -R 'cat /a-file-99900' fs.img 2>/dev/null)" = 99900 ] || fail "a file of 100,000"
both sparse
for i in osv linux; do
  [ "$(stat -c %b "$repo/${i}sparse/${i}sparse.qemu")" -lt 40000 ] || fail "holes were filled: $i"
done
debugfs -R "cat /behind" fs.img 2>/dev/null | same - tree/behind
python3 - <<'END2' || fail "ext4 of the sparse files"
import subprocess
def block(path, k):
    out = subprocess.run(["debugfs", "-R", "bmap %s %d" % (path, k), "fs.img"], capture_output=True).stdout
    return int(out)
host, fs = open("tree/large", "rb"), open("fs.img", "rb")
for at in (0, 1 << 20, 1 << 31, (1 << 32) - 5, 1 << 32, (1 << 32) + 123456):
    k = at // 4096
    b = block("/large", k) # 0: a hole
    host.seek(k * 4096); fs.seek(b * 4096)
    want = host.read(4096)
    assert (fs.read(4096) if b else bytes(4096)) == want and any(want) == (at != 1 << 31), at
END2
