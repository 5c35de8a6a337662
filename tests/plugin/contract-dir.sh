#!/bin/sh
# The contract suite over the folder of the tests, found by its file; in order and in threads.
. "$top_srcdir/tests/functions.sh"
so=$top_builddir/tests/plugin/.libs/repo-dir.so
[ -e "$so" ] || skip "shared libraries are not built"
mkdir repo
for how in false true; do
  capstan plugin test "$so" --on "dir:$work/repo" -o parallel=$how -o page=2 || fail "parallel=$how"
  [ -z "$(find repo -name '*.*' -type f ! -name .lock)" ] || fail "left behind: $(find repo)"
done
# one image that is there already, and only read
mkdir repo/app
head -c 2M /dev/urandom >repo/app/app.qemu
status 0 capstan plugin test "$so" --on "dir:$work/repo" --image app
out_has "skip  push: "
out_has "ok    fetch: "
# without a repository there is not much to try, and the status says so
status 77 capstan plugin test "$so"
out_has "ok    tables: "
out_has "needs a repository"
status 77 capstan plugin test "$so" --on "no-such-thing:x"
status 2 capstan plugin test "$so" --case no-such-case
status 1 capstan plugin test ./no-such.so
out_has "no-such.so: No such file"
status 1 capstan plugin test no-such-plugin
