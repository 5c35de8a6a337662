#!/bin/sh
# What the program links: what plugins need is linked by the plugins, so that it does not
# cost every start. SPDX-License-Identifier: BSD-3-Clause
. "$top_srcdir/tests/functions.sh"
requires readelf --version
program=$top_builddir/capstan
readelf -d "$program" | sed -n 's/.*NEEDED.*\[\(.*\)\]/\1/p' >"$work/needed"
[ -s "$work/needed" ] || skip "$program is not dynamically linked"
while read -r lib; do
  case $lib in
    libc.so.*|libglib-2.0.so.*|libyaml-0.so.*|libjansson.so.*|libltdl.so.*) ;;
    libz.so.*|libzstd.so.*|libext2fs.so.*|libcom_err.so.*) ;;
    libpthread.so.*|libdl.so.*|libm.so.*|ld-linux*|libasan.so.*|libubsan.so.*|libgcc_s.so.*) ;;
    *) fail "the program links $lib" ;;
  esac
done <"$work/needed"
