#!/bin/sh
# A list of many images takes few system calls for each of them, and keeps the columns that
# scripts for the original cut. SPDX-License-Identifier: BSD-3-Clause
. "$top_srcdir/tests/functions.sh"
fault=$top_builddir/tests/cli/fault
repo=$CAPSTAN_ROOT/repository
fill () { # fill FROM TO
  # shellcheck disable=SC2046
  mkdir -p $(seq -f "$repo/app%04g" "$1" "$2")
  for n in $(seq -f %04g "$1" "$2"); do
    : >"$repo/app$n/app$n.qemu"
    printf 'format_version: "1"\nversion: "1.0"\ncreated: "2024-05-06T07:08:09Z"\ndescription: "number %s"\nbuild: ""\nformat: "raw"\nguest: "linux"\nsha256: "00"\nsize: 4096\n' "$n" >"$repo/app$n/index.yaml"
  done
}
# columns
fill 1 3
rm "$repo/app0002/index.yaml"
cat >"$repo/app0003/index.yaml" <<'EOT'
format_version: "1"
version: v0.24
created: "2016-03-22 12:00"
description: "zwölf\nlines\e[2J"
build: scripts/build
platform: Ubuntu-20.04
EOT
line () { printf '%-50s %-50s %-15s %-20s %s\n' "$@"; }
{ line Name Description Version Created Platform
  line app0001 'number 0001' 1.0 '2024-05-06 07:08' N/A
  line app0002 '' '' N/A N/A
  # a column has 50 characters; printf counts bytes
  printf '%-50s %-51s %-15s %-20s %s\n' app0003 'zwölf?lines?[2J' v0.24 '2016-03-22 12:00' Ubuntu-20.04
} >want
status 0 capstan images
same want out

# system calls: the folder opened, read twice, its index opened, read, and both closed
"$fault" "$work" 0 count true >out || skip "$(cat out)"
fill 4 10
few=$("$fault" "$work" 0 calls "$top_builddir/capstan" images | tail -1)
fill 11 1010
many=$("$fault" "$work" 0 calls "$top_builddir/capstan" images | tail -1)
echo "10 images: $few calls, 1010: $many"
[ $((many - few)) -le 7500 ] || fail "$((many - few)) system calls for 1000 images"
[ "$(capstan images | wc -l)" = 1011 ] || fail "not all of them"
