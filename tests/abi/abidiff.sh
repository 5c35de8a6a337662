#!/bin/sh
# abidiff: the types of the plugin header are those of each frozen minor version, as its debug
# information had them (tests/abi/1.N/x86_64.abi), types of arguments included, which no
# offset shows. What was appended since is left out. frozen.sh has the rest of the promise.
. "$top_srcdir/tests/functions.sh"
CC=${CC:-cc}
command -v "${CC%% *}" >/dev/null || skip "needs a C compiler"
requires python3 --version
requires abidiff --version
[ "$(uname -m)" = x86_64 ] && getconf GNU_LIBC_VERSION >/dev/null 2>&1 || skip "what was frozen is for x86_64 with glibc"

same_types () { # FROZEN HEADERS
  rm -rf out
  python3 "$top_srcdir/tests/abi/uses.py" "$1" "$2" out || fail "uses.py"
  (cd out; $CC -g -O0 -w -fPIC -shared -nostdlib -I. -o uses.so uses.c) || fail "uses.c does not compile"
  abidiff "$1/x86_64.abi" out/uses.so >report 2>&1
}
n=0
for old in "$top_srcdir"/tests/abi/1.*; do
  [ -f "$old/x86_64.abi" ] || fail "${old##*/} was frozen without x86_64.abi: uses.py says how"
  for s in $(sed -n 's/^struct \(capstan_[a-z_]*\) {.*/\1/p' "$old/capstan/plugin.h"); do
    grep -q "<class-decl name='$s' size-in-bits" "$old/x86_64.abi" || fail "struct $s is not in ${old##*/}/x86_64.abi"
    n=$((n + 1))
  done
  same_types "$old" "$top_srcdir/include" || { cat report >&2; fail "${old##*/}: the header has other types"; }
done
[ $n -gt 25 ] || fail "only $n structs"

change () { # SED-EXPRESSION
  rm -rf changed; mkdir -p changed/capstan
  sed "$1" "$top_srcdir/include/capstan/plugin.h" >changed/capstan/plugin.h
  ! cmp -s "$top_srcdir/include/capstan/plugin.h" changed/capstan/plugin.h || fail "$1 changes nothing"
}
# TEXT of the report: it is not for another reason that abidiff does not answer 0
found () { change "$1"; ! same_types "$old" changed || fail "$1 is not found"; grep -q "$2" report || { cat report >&2; fail "$1"; }; }
fine () { change "$1"; same_types "$old" changed || { cat report >&2; fail "$1 is no change of what there was"; }; }
found 's/const char \*key, \*value;/const char *value, *key;/' "struct capstan_kv"
found 's/uint32_t cpus, reserved;/uint64_t cpus;/' "'uint32_t cpus' changed"
found 's/int (\*stop) (struct capstan_call \*, void \*/int (*stop) (struct capstan_call *, int /' "\* stop' changed"
found 's/int (\*stop) (struct/int (*early) (void); int (*stop) (struct/' "capstan_hypervisor_ops"
found 's/CAPSTAN_E_INVAL, CAPSTAN_E_NOMEM/CAPSTAN_E_NOMEM, CAPSTAN_E_INVAL/' "CAPSTAN_E_INVAL' from value"
fine 's/1.1 appends here/x *\/ int (*more) (void); \/* /'
echo "$n structs are as they were frozen"
