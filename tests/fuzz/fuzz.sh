#!/bin/sh
# Builds the core and the targets with clang's libFuzzer, ASan and UBSan, and lets each target
# run for FUZZ_SECONDS (10) from its corpus on. `make fuzz` calls it with the flags of this
# build: SOURCES, CPPFLAGS, CFLAGS, LIBS; FUZZ_TARGETS names some only. What is found is kept
# in fuzz-found/. SPDX-License-Identifier: BSD-3-Clause
set -eu
cc=${FUZZ_CC:-clang}
seconds=${FUZZ_SECONDS:-10}
out=fuzz-build
mkdir -p "$out" fuzz-found
echo 'int LLVMFuzzerTestOneInput (const char *d, long n) { return d == 0 && n == 1; }' >"$out/try.c"
if ! $cc -fsanitize=fuzzer,address,undefined -o "$out/try" "$out/try.c" 2>"$out/try.log"; then
  cat "$out/try.log"
  echo "SKIP: $cc has no libFuzzer here"; exit 77
fi
san='-g -O1 -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=undefined
  -fno-omit-frame-pointer -include fuzz-build/paths.h'
for d in PKGLIBDIR PKGLIBEXECDIR PKGDATADIR; do echo "#define $d \"/nowhere\""; done >"$out/paths.h"
export cc san out srcdir CPPFLAGS CFLAGS
for s in $SOURCES tests/fuzz/fuzz.c tests/fuzz/libfuzzer.c; do
  case $s in *.c) echo "$s" ;; esac
done >"$out/sources"
xargs -P "$(nproc)" -I{} sh -c '
  o=$out/$(echo {} | tr / _).o
  [ "$o" -nt "$srcdir/{}" ] || $cc $CPPFLAGS $CFLAGS $san -c -o "$o" "$srcdir/{}"' <"$out/sources" ||
  { echo "FAIL: the targets do not compile"; exit 1; }
# shellcheck disable=SC2086
$cc -fsanitize=fuzzer,address,undefined -o "$out/fuzz" "$out"/*.o $LIBS

st=0
for target in ${FUZZ_TARGETS:-$(ls "$srcdir/tests/fuzz/corpus")}; do
  mkdir -p "$out/corpus-$target"
  # whatever a header claims, no target may need much memory or time
  if CAPSTAN_FUZZ_TARGET=$target "$out/fuzz" -max_total_time="$seconds" -timeout=10 \
       -rss_limit_mb=1024 -malloc_limit_mb=300 -max_len=65536 -print_final_stats=1 \
       -artifact_prefix="fuzz-found/$target-" "$out/corpus-$target" \
       "$srcdir/tests/fuzz/corpus/$target" >"$out/$target.log" 2>&1; then
    echo "PASS: $target: $(sed -n 's/^stat::number_of_executed_units: *//p' "$out/$target.log") inputs in $seconds s"
  else
    echo "FAIL: $target"; tail -40 "$out/$target.log"; st=1
  fi
done
exit $st
