#!/bin/sh
# Some thousand inputs for each target, the same ones each time; `make fuzz` goes on for longer.
# SPDX-License-Identifier: BSD-3-Clause
. "$top_srcdir/tests/functions.sh"
fuzz=$top_builddir/tests/fuzz/fuzz
[ -x "$fuzz" ] || skip "needs a build with CC=clang and --enable-sanitizers; make fuzz makes one"
export TMPDIR="$work"
for corpus in "$top_srcdir"/tests/fuzz/corpus/*; do
  target=${corpus##*/}
  mkdir "new-$target"
  # the first folder takes what is found; inputs are counted, and two seconds are a limit
  CAPSTAN_FUZZ_TARGET=$target "$fuzz" -seed=1 -runs=3000 -max_total_time=2 -timeout=60 \
    -rss_limit_mb=1024 -malloc_limit_mb=300 -max_len=65536 -print_final_stats=1 \
    "new-$target" "$corpus" >out 2>&1 || fail "$target: $(tail -40 out)"
  grep stat::number_of_executed_units out | sed "s/stat::number_of_executed_units/$target/"
done
