#!/bin/sh
# A full disk and a read-only one: a clear error, nothing lost, and room can be made.
# SPDX-License-Identifier: BSD-3-Clause
. "$top_srcdir/tests/functions.sh"
if [ "${1:-}" != inside ]; then
  ns=-m; [ "$(id -u)" = 0 ] || ns=-rm
  unshare $ns sh -c 'mount -t tmpfs tmpfs "$work"' 2>/dev/null || skip "needs a mount namespace (unshare $ns)"
  exec unshare $ns "$0" inside
fi
boot_disk loader.img loader; boot_disk one.img one; boot_disk two.img two
# no holes, and larger than the disk that is going to be the store
{ cat loader.img; yes 0123456789abcdef | head -c 3000000; } >large.img
mkdir app big; echo data >app/file; cp large.img big/file
for d in app big; do printf 'base: loader\ncmdline: /file\nfiles:\n  /file: file\n' >$d/Capstanfile; done
mkdir "$CAPSTAN_ROOT"
mount -t tmpfs -o size=2m,mode=755 tmpfs "$CAPSTAN_ROOT"
repo=$CAPSTAN_ROOT/repository
clean () {
  [ -z "$(find "$CAPSTAN_ROOT" -name '.*' ! -path "$CAPSTAN_ROOT")" ] || fail "left over: $(find "$CAPSTAN_ROOT" -name '.*')"
}
intact () { status 0 capstan images; same one.img "$repo/one/one.qemu"; clean; }

status 0 capstan import loader loader.img
status 0 capstan import one one.img
# larger than what is free
status 1 capstan import one large.img; err_has "No space left on device"; err_has "$repo/one"; intact
status 1 capstan import new large.img; err_has "No space left on device"; intact
[ ! -e "$repo/new" ] || fail "a refused import left something"
status 1 capstan build -C big big; err_has "No space left on device"; err_has "$repo/big"; intact
# nothing at all is free
dd if=/dev/zero of="$CAPSTAN_ROOT/fill" bs=4k status=none 2>/dev/null || true
status 1 capstan import one two.img; err_has "No space left on device"; intact
status 1 capstan build -C app app; err_has "No space left on device"; intact
status 0 capstan df; out_has "0 B free"
status 0 capstan rmi one; clean # what is removed needs no room
rm "$CAPSTAN_ROOT/fill"
status 0 capstan import one one.img; intact

# read-only
mount -o remount,ro "$CAPSTAN_ROOT"
status 0 capstan images; out_has one; err_lacks one
status 0 capstan info one; out_has raw
status 0 capstan df
status 1 capstan import one two.img; err_has "Read-only file system"; err_has "$CAPSTAN_ROOT"; intact
status 1 capstan build -C app app; err_has "Read-only file system"; intact
status 1 capstan rmi one; err_has "Read-only file system"; intact
umount "$CAPSTAN_ROOT"
