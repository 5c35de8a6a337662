#!/bin/sh
# A build without shared libraries: the chosen plugins are part of the program. Built elsewhere,
# from a copy of the sources without what was built in them. .ci/run calls it once, as it
# builds everything again; CAPSTAN_TEST_STATIC says which plugins (--enable-...).
. "$top_srcdir/tests/functions.sh"
CC=${CC:-cc}
command -v "${CC%% *}" >/dev/null || skip "needs a C compiler"
[ -x "$top_srcdir/configure" ] || skip "needs configure (./bootstrap makes it)"
requires make --version
mkdir src build
tar -C "$top_srcdir" -cf - --exclude=.git --exclude=.libs --exclude=.deps --exclude=.here --exclude=.test-store \
  --exclude='*.o' --exclude='*.lo' --exclude='*.la' --exclude='*.log' --exclude='*.trs' --exclude=./config.status \
  --exclude=./config.h --exclude=./stamp-h1 --exclude=./Makefile --exclude=./libtool --exclude=./capstan --exclude=./libexec . |
  tar -C src -xf -
cd build
# shellcheck disable=SC2086
../src/configure --disable-shared ${CAPSTAN_TEST_STATIC:---enable-plugins=no --enable-hypervisor-null --enable-repo-http \
  --enable-repo-git} --disable-base-linux \
  CFLAGS=-O0 >configure.log 2>&1 || { tail -5 configure.log >&2; fail "configure"; }
grep -q 'plugins in  *the program itself' configure.log || fail "the summary says something else"
make -j"$(nproc)" capstan >make.log 2>&1 || { tail -20 make.log >&2; fail "make"; }
[ -z "$(find plugins -name '*.so')" ] || fail "there are shared objects"
cd ..

# the program alone, with no folder of plugins to look into
unset CAPSTAN_PLUGIN_PATH
capstan () { "$work/build/capstan" "$@"; }
status 0 capstan plugin list --json
cp "$work/out" list
python3 - "$top_builddir/config.h" <<'END' || fail "the list: $(cat list)"
import json, sys
r = {p["name"]: p for p in json.load (open ("list"))}
assert r["null"]["path"] == "built in" and r["null"]["abi"] == [1, 0], r
assert not [p for p in r.values () if "refused" in p], r
END
# each that configure took is there
built=$(capstan --version -v | sed -n 's/^ *\(\(hypervisor\|repo\)-[a-z0-9]*\) *yes.*/\1/p')
[ -n "$built" ] || fail "capstan --version -v names no plugin"
for p in $built; do
  grep -q "\"${p#*-}\"" list || fail "$p is not in the list: $(cat list)"
done

# one that is found as a file, beside them
if $CC -w -shared -fPIC -DCAPSTAN_TEST -I"$top_srcdir/include" -o hypervisor-own.so "$top_srcdir/plugins/hypervisor-null/null.c" 2>/dev/null; then
  status 0 env CAPSTAN_PLUGIN_PATH="$work" "$work/build/capstan" plugin list
  grep -q '^own .*hypervisor-own.so' "$work/out" || { cat "$work/out" >&2; fail "the one in a file"; }
fi

# a run
CAPSTAN_HYPERVISOR=null; export CAPSTAN_HYPERVISOR
dd if=/dev/zero of=loader.img bs=64k count=3 status=none
printf '\125\252' | dd of=loader.img bs=1 seek=510 conv=notrunc status=none
status 0 capstan import loader loader.img
mkdir app; echo data >app/data
printf 'base: loader\ncmdline: /app one\nfiles:\n  /app: data\n' >app/Capstanfile
status 0 capstan build -C app app
status 0 capstan run --rm app
out_has "/app one"
