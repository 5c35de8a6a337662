#!/bin/sh
# A built image boots on a real OSv. SPDX-License-Identifier: BSD-3-Clause
# CAPSTAN_TEST_OSV_LOADER: a loader image; CAPSTAN_TEST_OSV_APP: a program for OSv (PIE or
# shared object with main) that prints a line, without it the kernel's own message counts.
. "$top_srcdir/tests/functions.sh"
[ -n "${CAPSTAN_TEST_OSV_LOADER:-}" ] || skip "CAPSTAN_TEST_OSV_LOADER is not set"
requires qemu-system-x86_64 --version
mkdir -p "$CAPSTAN_ROOT/repository/osv-loader" app
cp "$CAPSTAN_TEST_OSV_LOADER" "$CAPSTAN_ROOT/repository/osv-loader/osv-loader.qemu"
printf 'base: osv-loader\ncmdline: /hello\nfiles:\n  /hello: hello\n  /pad/large: large\n' >app/Capstanfile
head -c 100000 /dev/urandom >app/large # makes a gap in front of it, for its alignment
if [ -n "${CAPSTAN_TEST_OSV_APP:-}" ]; then cp "$CAPSTAN_TEST_OSV_APP" app/hello; else
  requires cc --version
  printf '#include <stdio.h>\nint main (void) { puts ("hello from OSv"); return 0; }\n' >h.c
  cc -fPIE -pie -o app/hello h.c
fi
status 0 capstan build --format raw -C app booted
timeout 120 qemu-system-x86_64 -m 512 -display none -nodefaults -no-reboot -serial file:log \
  -drive "file=$CAPSTAN_ROOT/repository/booted/booted.qemu,if=virtio,format=raw" </dev/null ||
  { cat log; fail "QEMU ended with $?"; }
cat log
grep -q "Cmdline: /hello" log || fail "the command line did not arrive"
grep -q "hello from OSv" log || [ -n "${CAPSTAN_TEST_OSV_APP:-}" ] || fail "no output"
