#!/bin/sh
# The headers of every minor version that was ever promised (tests/abi/1.N): the current one
# keeps what they say, and plugins that were compiled against them work as they did. bad.sh
# has the plugins of a future version.
. "$top_srcdir/tests/functions.sh"
CC=${CC:-cc}
command -v "${CC%% *}" >/dev/null || skip "needs a C compiler"
requires python3 --version
mkdir repo
for old in "$top_srcdir"/tests/abi/1.*; do
  python3 "$top_srcdir/tests/abi/promise.py" "$CC" "$old" "$top_srcdir/include" || fail "${old##*/}: the promise is broken"
  $CC -w -shared -fPIC -I"$old" -o repo-old.so "$top_srcdir/tests/plugin/repo-dir.c" -pthread ||
    skip "needs a C compiler that makes shared libraries"
  printf 'name: old\nkind: repository\n' >repo-old.plugin
  status 0 capstan plugin test "$work/repo-old.so" --on "dir:$work/repo"
  rm -rf repo/*
  $CC -w -shared -fPIC -D_GNU_SOURCE -I"$old" -o hypervisor-old.so "$top_srcdir/plugins/hypervisor-null/null.c"
  printf 'name: old\nkind: hypervisor\n' >hypervisor-old.plugin
  status 0 capstan plugin test "$work/hypervisor-old.so" --machine-option hold=true
done

# The check itself finds what is changed
broken () { # SED-EXPRESSION
  rm -rf broken; mkdir -p broken/capstan
  sed "$1" "$top_srcdir/include/capstan/plugin.h" >broken/capstan/plugin.h
  ! cmp -s "$top_srcdir/include/capstan/plugin.h" broken/capstan/plugin.h || fail "$1 changes nothing"
  ! python3 "$top_srcdir/tests/abi/promise.py" "$CC" "$old" broken >promise.out 2>&1 || fail "$1 is not found"
}
broken 's/const char \*key, \*value;/const char *value, *key;/'
broken 's/uint32_t cpus, reserved;/uint64_t cpus;/'
broken 's/CAPSTAN_E_INVAL, CAPSTAN_E_NOMEM/CAPSTAN_E_NOMEM, CAPSTAN_E_INVAL/'
broken 's/(1) << 5) .*outlives/(1) << 9) \/* outlives/'
broken '0,/1.1 appends here/s//x *\/ int (*more) (void); \/* /'
