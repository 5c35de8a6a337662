#!/bin/sh
# The plugin header compiles alone, in every language level, without a warning or padding.
. "$top_srcdir/tests/functions.sh"
printf '#include "capstan/plugin.h"\n' | tee h.c >h.cc
n=0
for cc in gcc clang; do
  command -v $cc >/dev/null || continue
  for std in c99 c11 c17; do
    $cc -std=$std -pedantic -Wall -Wextra -Wpadded -Werror -Wno-unused-function -I"$top_srcdir/include" -fsyntax-only h.c || fail "$cc -std=$std"
    n=$((n + 1))
  done
done
for cxx in g++ clang++; do
  command -v $cxx >/dev/null || continue
  for std in c++98 c++20; do
    $cxx -std=$std -Wall -Wextra -Wpadded -Werror -Wno-unused-function -I"$top_srcdir/include" -fsyntax-only h.cc || fail "$cxx -std=$std"
    n=$((n + 1))
  done
done
[ $n -gt 0 ] || skip "no gcc, clang, g++ or clang++"
