#!/bin/sh
# Killed, or failing, at each system call that writes: import, build, rmi. Afterwards the
# store is as it was before or as it should have become, after one command nothing is left
# over, and an error says what it is about. SPDX-License-Identifier: BSD-3-Clause
. "$top_srcdir/tests/functions.sh"
fault=$top_builddir/tests/cli/fault
"$fault" "$work" 0 count true >out || skip "$(cat out)"
requires python3 -c ''
SOURCE_DATE_EPOCH=1000000000; export SOURCE_DATE_EPOCH
memory_store
repo=$CAPSTAN_ROOT/repository

boot_disk loader.img loader; boot_disk one.img one; boot_disk two.img two
mkdir app; echo data >app/file
printf 'base: loader\ncmdline: /file\nfiles:\n  /file: file\n' >app/Capstanfile
when='-c 2020-01-02T03:04:05Z'
capstan import $when loader loader.img 2>/dev/null
capstan import $when ns/old one.img 2>/dev/null
capstan build -C app app 2>/dev/null
mkdir "$repo/bare"; cp one.img "$repo/bare/bare.qemu"; echo x >"$repo/bare/bare.qemu.cache"
echo other data >app/file

each () { "$top_builddir/run" python3 "$top_srcdir/tests/cli/store-crash.py" "$fault" "$@"; }
each kill,EIO,ENOSPC import $when ns/old two.img
each kill,EIO import $when ns2/deep/new two.img
each kill,EIO,ENOSPC build -C app app
each kill build -C app new
each kill,EIO rmi ns/old
each kill,EIO rmi bare
if command -v qemu-img >/dev/null; then each kill,ENOSPC build --format qcow2 -C app app; fi
