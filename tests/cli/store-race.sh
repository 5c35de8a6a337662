#!/bin/sh
# Two commands at once. SPDX-License-Identifier: BSD-3-Clause
. "$top_srcdir/tests/functions.sh"
fault=$top_builddir/tests/cli/fault
"$fault" "$work" 0 count true >out || skip "$(cat out)"
requires python3 -c ''
memory_store
boot_disk loader.img loader; boot_disk one.img one; boot_disk two.img two; boot_disk three.img three
race () { "$top_builddir/run" python3 "$top_srcdir/tests/cli/store-race.py" "$fault" "$@"; }

capstan import app one.img 2>/dev/null
race import_and_readers
race import_and_rmi
race import_and_import
rm -r "$CAPSTAN_ROOT" "$CAPSTAN_ROOT.before"

capstan import loader loader.img 2>/dev/null
mkdir app on-x on-y; echo data >app/file; echo x >on-x/x; echo y >on-y/y
printf 'base: x\ncmdline: /x\nfiles:\n  /x: x\n' >on-x/Capstanfile
printf 'base: y\ncmdline: /y\nfiles:\n  /y: y\n' >on-y/Capstanfile
capstan import x loader.img 2>/dev/null
capstan import y loader.img 2>/dev/null
app () { printf 'base: loader\ncmdline: %s\nfiles:\n  /file: file\n' "$1" >app/Capstanfile; }
app /old
capstan build -C app app 2>/dev/null
app /new
capstan plugin info null >/dev/null 2>&1 && have_null=1 || have_null=
if [ -n "$have_null" ] && command -v qemu-img >/dev/null; then
  race build_and_run
  race run_and_others
fi
race many_builds
