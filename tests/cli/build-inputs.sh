#!/bin/sh
# What a Capstanfile may ask for: patterns, lists, owners, variables, sizes, .capstanignore.
# SPDX-License-Identifier: BSD-3-Clause
. "$top_srcdir/tests/functions.sh"
PATH=$PATH:/sbin:/usr/sbin
requires python3 --version
requires which e2fsck debugfs
repo=$CAPSTAN_ROOT/repository
loader=$repo/osv-loader/osv-loader.qemu
mkdir -p "$repo/osv-loader" "$repo/linux"
head -c 65536 /dev/zero >"$loader"
printf '\125\252' | dd of="$loader" bs=1 seek=510 conv=notrunc 2>/dev/null
cp "$loader" "$repo/linux/linux.qemu"
echo 'format: raw' >"$repo/osv-loader/index.yaml"
printf 'format: raw\nguest: linux\n' >"$repo/linux/index.yaml"
# add_osv DIR: what every image for OSv has besides
add_osv () {
  mkdir -p "$1/dev" "$1/proc" "$1/sys" "$1/tmp" "$1/data" "$1/etc"
  printf '127.0.0.1 localhost\n::1 localhost\n' >"$1/etc/hosts"
  printf 'none /dev devfs defaults 0 0\nnone /proc procfs defaults 0 0\nnone /sys sysfs defaults 0 0\n' >"$1/etc/fstab"
  ln -s /proc/mounts "$1/etc/mnttab"
}
# rofs NAME CMDLINE TREE
rofs () { python3 "$top_srcdir/tests/cli/rofs-check" "$repo/$1/$1.qemu" "$loader" "$2" "$3" || fail "image $1"; }
# build FILE [ARGUMENT]...: text of the Capstanfile is standard input
build () { f=$1; shift; cat >"app/$f"; status 0 capstan build -C app -f "$f" "$@" "$f"; }
# bad STATUS MESSAGE: the same, and it must fail so
bad () { cat >app/bad; status "$1" capstan build -C app -f bad bad; err_has "$2"; }

mkdir -p "app/lib/sub/deep" "app/[x]"
for f in a.so b.so c.txt .hidden.so sub/d.so sub/deep/e.so sub/deep/f.txt; do echo "$f" >"app/lib/$f"; done
echo star >'app/lib/*'
echo x >'app/[x]/in'

# Patterns: into a directory, with the path from the first part that has one.
build globs <<'END'
base: osv-loader
cmdline: /x
files:
  /usr/lib/: lib/*.so
  /deep: "lib/**/*.txt"
  /one: lib/sub/?.s[op]
  /list/: [lib/a.so, lib/sub, "lib/[!a]*.so"]
  /literal: lib/*
END
mkdir -p want/usr/lib want/deep/sub/deep want/one want/list
cp app/lib/a.so app/lib/b.so want/usr/lib; cp app/lib/c.txt want/deep; cp app/lib/sub/deep/f.txt want/deep/sub/deep
cp app/lib/sub/d.so want/one; cp app/lib/a.so app/lib/b.so want/list; cp -r app/lib/sub/. want/list; cp 'app/lib/*' want/literal
add_osv want
rofs globs /x want
# The directory of the Capstanfile is no pattern.
printf 'base: osv-loader\ncmdline: /x\nfiles:\n  /: "i*"\n' >"app/[x]/Capstanfile"
status 0 capstan build -C 'app/[x]' brackets
mkdir want2; cp 'app/[x]/in' want2; add_osv want2
rofs brackets /x want2
bad 1 'bad:4: files: the pattern lib/*.zip finds nothing' <<'END'
base: osv-loader
cmdline: /x
files:
  /z: lib/*.zip
END
bad 1 "must be quoted" <<'END'
base: osv-loader
cmdline: /x
files:
  /z: *.so
END

# .capstanignore: the original's patterns, and ours.
mkdir -p ign/.git ign/a/b/c ign/build ign/keep/x ign/meta
for f in .git/config .gitignore top.o a/x.o a/b/y.o a/b/c/z.c build/out keep/x/1 keep/2 keep/3 meta/m; do echo "$f" >"ign/$f"; done
cat >ign/.capstanignore <<'END'
# a comment

/a/**/*.c
/keep/*
!/keep/2
*.o
!/a/b/y.o
build/
/Capstanfile
END
printf 'base: osv-loader\ncmdline: /x\nfiles:\n  /: .\n  /explicit: top.o\n  /pattern/: "*.o"\n' >ign/Capstanfile
status 1 capstan build -C ign ign; err_has "is left out by .capstanignore"
sed -i '/pattern/d' ign/Capstanfile
status 0 capstan build -C ign ign
mkdir -p want3/a/b/c want3/keep want3/meta
for f in a/b/y.o keep/2 meta/m; do cp ign/$f want3/$f; done
cp ign/top.o want3/explicit; add_osv want3
rofs ign /x want3
# A package of the original: its own files stay out, unless they are asked for.
echo 'name: x' >ign/meta/package.yaml; mkdir ign/volumes; echo v >ign/volumes/v
rm -r want3/meta
status 0 capstan build -C ign ign
rofs ign /x want3
echo '!/volumes' >>ign/.capstanignore
status 0 capstan build -C ign ign
cp -r ign/volumes want3
rofs ign /x want3
printf 'a\0b\n' >ign/.capstanignore
status 1 capstan build -C ign ign; err_has ".capstanignore: it has a NUL byte"

# Variables: of the Capstanfile, then of files, then of the command line.
printf '# comment\n\nB=from file = $x\nFROM_HERE\nNOT_THERE\n  C=c\r\n' >app/vars
FROM_HERE=here; export FROM_HERE
build env --env-file app/vars --env C=last <<'END'
base: osv-loader
cmdline: --cwd=/x /x "a b"
env:
  A: a b\c
  B: overwritten
END
dd if="$repo/env/env.qemu" bs=512 skip=1 count=1 2>/dev/null | tr '\0' '\n' | head -1 >cmdline
printf '%s\n' '--cwd=/x --env=A=a\ b\\c --env=B=from\ file\ =\ $x --env=FROM_HERE=here --env=C=last /x "a b"' >want-cmdline
same cmdline want-cmdline
printf 'x\n=x\n' >app/badvars
status 1 capstan build -C app -f env --env-file app/badvars env; err_has "app/badvars:2: environment '=x'"
status 2 capstan build -C app -f env --env x env; err_has "NAME=VALUE"
status 3 capstan build -C app -f env --env-file nothere env
bad 1 "bad:4: env: 'A' must be a name with one text" <<'END'
base: osv-loader
cmdline: /x
env:
  A: [1]
END

# What the base has to be.
echo 'guest: osv' >>"$repo/osv-loader/index.yaml"
for k in "guest: linux@guest 'linux' is asked for, but the base 'osv-loader' is for guest 'osv'" \
  "guest: windows@bad:3: guest: 'windows' is not known; it can be osv|linux" \
  "fs: ext4@guest 'osv' (base 'osv-loader') reads rofs" "fs: ntfs@can be rofs|ext4|zfs" "size: 12X@bad:3: size: "; do
  printf 'base: osv-loader\ncmdline: /x\n%s\n' "${k%%@*}" | bad 1 "${k#*@}"
done
printf 'base: osv-loader\ncmdline: /x\nfs: zfs\n' | bad 2 "ZFS images are not supported yet: use ROFS"
echo 'format: raw' >"$repo/osv-loader/index.yaml" # as of an old store: what it is for is not known
printf 'base: osv-loader\ncmdline: /x\nguest: linux\nfs: ext4\nfiles:\n  /f: lib/a.so\n' | build asked
grep -q 'fs: "ext4"' "$repo/asked/index.yaml" || fail "guest: linux made no ext4"

# ext4: size, owner, mode, hard links; not more than is asked for.
echo x >app/linked; ln app/linked app/second; chmod 4751 app/linked
build small <<'END'
base: linux
cmdline: /x
size: 300M
files:
  /one: linked
  /two: second
  /three: { from: second, owner: "7:8", mode: 0600 }
  /dir: { from: lib/sub, owner: 70000 }
END
[ "$(stat -c %s "$repo/small/small.qemu")" -eq $((300 * 1048576)) ] || fail "size: $(stat -c %s "$repo/small/small.qemu")"
fs () {
  dd if="$repo/$1/$1.qemu" of=fs.img bs=1M skip=2 conv=sparse 2>/dev/null
  e2fsck -fn fs.img >fsck.log 2>&1 || { cat fsck.log; fail "e2fsck of $1"; }
}
# has PATH TEXT...: in what debugfs says of it
has () {
  p=$1; shift
  s=$(debugfs -R "stat $p" fs.img 2>/dev/null)
  for t in "$@"; do case $s in *"$t"*) ;; *) fail "$p: no '$t' in $s" ;; esac; done
}
inode () { debugfs -R "stat $1" fs.img 2>/dev/null | head -1 | cut -d' ' -f2; }
fs small
has /one "Links: 2" "Mode:  04751" "User:     0"
has /three "Links: 1" "Mode:  0600" "User:     7   Group:     8"
has /dir "User: 70000   Group: 70000"; has /dir/deep/e.so "User: 70000"
[ "$(inode /one)" = "$(inode /two)" ] || fail "a hard link became two files"
printf 'base: linux\ncmdline: /x\nsize: 1M\n' | bad 1 "the size asked for is too small"
printf 'base: linux\ncmdline: /x\nsize: 2560K\n' | bad 1 "the size asked for is too small"
printf 'base: linux\ncmdline: /x\nfiles: {/f: {from: lib/a.so, owner: root}}\n' | bad 1 "bad:3: files: owner 'root': numbers are needed"
printf 'base: linux\ncmdline: /x\nfiles: {/f: {from: lib/a.so, mode: 999}}\n' | bad 1 "bad:3: files: mode '999': an octal number"
printf 'base: linux\ncmdline: /x\nfiles: {/f: {from: lib, mode: 0644}}\n' | bad 1 "'mode' is for files"
printf 'base: linux\ncmdline: /x\nfiles: {/f: {form: lib}}\n' | bad 1 "unknown key 'form'"
printf 'base: linux\ncmdline: /x\nfiles: {/f: {mode: 0644}}\n' | bad 1 "'/f' needs the path"
build osvsize <<'END'
base: osv-loader
cmdline: /x
size: 1G
END
err_has "the size has no effect"

# What is no file: an error that names it, or left out on request.
mkdir special; mkfifo special/fifo; echo f >special/f
python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind("special/socket")'
printf 'base: osv-loader\ncmdline: /x\nfiles:\n  /s: special\n' >Capstanfile
status 1 capstan build special; err_has "Capstanfile:4: files: special/fifo is a FIFO"; err_has "--skip-special"
rm special/fifo
status 1 capstan build special; err_has "special/socket is a socket"
mkfifo special/fifo
status 0 capstan build --skip-special special; err_has "special/fifo is a FIFO"; err_has "special/socket is a socket"
mkdir -p want4/s; echo f >want4/s/f; add_osv want4
rofs special /x want4
printf 'base: osv-loader\ncmdline: /x\nfiles:\n  /null: /dev/null\n' >Capstanfile
status 1 capstan build null; err_has "/dev/null is a device"

# A plan runs nothing and writes nothing, and says what is not there yet.
cat >app/plan <<'END'
base: linux
build: touch made ran
cmdline: /made
env: { A: 1 }
files:
  /made: made
  /lib: lib
END
status 0 capstan build -C app -f plan --dry-run plan
out_has "base     linux (linux)"; out_has "cmdline  --env=A=1 /made"; out_has "build    touch made ran"
out_has "/lib/a.so  5 bytes of app/lib/a.so"; out_has "/made  of app/made, which is not there yet"
[ ! -e app/ran ] || fail "--dry-run ran the command"
[ ! -e "$repo/plan" ] || fail "--dry-run made an image"
