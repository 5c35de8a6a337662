#!/bin/sh
# A Capstanfile that is wrong: each gets a clear error. SPDX-License-Identifier: BSD-3-Clause
. "$top_srcdir/tests/functions.sh"
repo=$CAPSTAN_ROOT/repository
mkdir -p "$repo/osv-loader" app
head -c 65536 /dev/zero >"$repo/osv-loader/osv-loader.qemu"
printf '\125\252' | dd of="$repo/osv-loader/osv-loader.qemu" bs=1 seek=510 conv=notrunc 2>/dev/null
echo 'format: raw' >"$repo/osv-loader/index.yaml"
echo x >app/file
# bad STATUS MESSAGE TEXT: the Capstanfile TEXT fails so
bad () {
  printf "$3" >app/Capstanfile
  status "$1" capstan build -C app
  err_has "$2"
  [ ! -e "$repo/app" ] || fail "an image was left: $2"
}
ok='base: osv-loader\ncmdline: /x\n'
status 3 capstan build -C app; err_has "there is no Capstanfile"
bad 1 "Capstanfile:3: unknown key 'filse'; did you mean 'files'?" "${ok}filse:\n  /a: file\n"
bad 1 "'base' is missing" 'cmdline: /x\n'
bad 1 "'cmdline' is missing" 'base: osv-loader\n'
bad 1 "Capstanfile:3: 'files' must be a map" "${ok}files:\n  - file\n"
bad 1 "Capstanfile:3: 'rpm-base' is not supported" "${ok}rpm-base:\n  name: x\n"
bad 1 "Capstanfile:4: files: app/nothere: No such file" "${ok}files:\n  /a: nothere\n"
bad 1 "Capstanfile:3: the key 'cmdline' stands there twice" "${ok}cmdline: /y\n"
bad 1 "Capstanfile:3: build: the command exited with status 7" "${ok}build: exit 7\n"
bad 1 "Capstanfile:3: rootfs: app/nothere: No such file" "${ok}rootfs: nothere\n"
bad 1 "cannot have '..'" "${ok}files:\n  /a/../../b: file\n"
bad 1 "must be quoted" "${ok}files:\n  /file: &\n"
bad 1 "Capstanfile:1: base: " 'base: ../x\ncmdline: /x\n'
bad 1 "over 0x7f" 'base: osv-loader\ncmdline: /x ä\n'
bad 1 "'cmdline' must be one text, not a list" 'base: osv-loader\ncmdline: [ /x ]\n'
bad 3 "capstan base make linux" 'base: linux\ncmdline: /x\n'
bad 3 "capstan import no/such FILE" 'base: no/such\ncmdline: /x\n'
bad 4 "a file cannot take the place of a directory" "${ok}files:\n  /a/b: file\n  /a: file\n"
mkfifo app/fifo
bad 1 "app/fifo is a FIFO" "${ok}files:\n  /a: fifo\n"
printf "$ok" >app/Capstanfile
mkdir "Böse"; cp app/Capstanfile Böse/
status 2 capstan build -C Böse; err_has "capstan build NAME"
status 2 capstan build -C app ../x
status 1 capstan build -C app osv-loader; err_has "the base itself"
rm app/fifo
# Ctrl-C: the build command ends too, and nothing is left of the image.
printf "${ok}build: echo \$\$ >pid; exec sleep 1000\n" >app/Capstanfile
"$top_builddir/run" capstan build -C app new >out 2>&1 & p=$!
wait_for 60 test -s app/pid
kill -INT $p
got=0; wait $p || got=$?
[ $got = 1 ] || fail "status $got after Ctrl-C"
grep -q "cancelled" out || fail "$(cat out)"
wait_for 60 sh -c "! kill -0 $(cat app/pid) 2>/dev/null"
[ ! -e "$repo/new" ] || fail "an image was left"
# What cannot be read: as root everything can, so another user tries.
as () { "$@"; }
if [ "$(id -u)" = 0 ]; then
  command -v setpriv >/dev/null || exit 0
  as () { setpriv --reuid=65534 --regid=65534 --clear-groups "$@"; }
  chown -R 65534 "$CAPSTAN_ROOT" app; chmod 755 "$work"
fi
as test -x "$top_builddir/run" || exit 0
mkdir -p app/dir/closed app/dir/unlisted; echo x >app/dir/file; echo x >app/dir/closed/x
printf "${ok}files:\n  /d: dir\n" >app/Capstanfile
# unreadable MODE PATH: it is named, and nothing is left
unreadable () {
  chmod "$1" "app/dir/$2"
  status 1 as "$top_builddir/run" capstan build -C app; err_has "app/dir/$2: Permission denied"
  [ ! -e "$repo/app" ] || fail "an image was left: $2"
  chmod 755 "app/dir/$2"
}
unreadable 000 file; unreadable 311 closed; unreadable 000 closed
chmod 644 app/dir/closed # its names can be read, what they stand for cannot
status 1 as "$top_builddir/run" capstan build -C app; err_has "app/dir/closed/x: Permission denied"
chmod 755 app/dir/closed
status 0 as "$top_builddir/run" capstan build -C app
