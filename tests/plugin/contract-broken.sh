#!/bin/sh
# The contract suite finds what is wrong: each plugin here breaks one rule, and the case that
# is for it says so. One that breaks none passes.
. "$top_srcdir/tests/functions.sh"
CC=${CC:-cc}
command -v "${CC%% *}" >/dev/null || skip "needs a C compiler"
mkdir repo
build () { # [FLAG]...
  $CC -w -shared -fPIC -O0 -I"$top_srcdir/include" "$@" -o repo-broken.so \
    "$top_srcdir/tests/plugin/broken.c" -pthread || skip "needs a C compiler that makes shared libraries"
}
try () { capstan plugin test "$work/repo-broken.so" --on "dir:$work/repo" "$@"; }
finds () { # BROKEN CASE TEXT
  status 1 env BROKEN="$1" "$top_builddir/run" capstan plugin test "$work/repo-broken.so" \
    --on "dir:$work/repo" --case "$2" --timeout "${limit:-60}"
  grep -q "^FAIL  $2: .*$3" out || { cat out err >&2; fail "$1: $2 does not say '$3'"; }
  rm -rf repo/capstan-contract*
}
build -DBAD_TABLE
finds "" tables "the default of 'n' is not of its type"
build -DBAD_CLAIMS
finds "" claims "has no version"
build
status 0 try
finds match url "match answers 1 for 'no-such-scheme"
finds open-answers url "open failed and yet answered"
finds caps caps "may narrow, not widen"
finds crash list "Segmentation fault\|exit status"
limit=1 finds hang list "longer than --timeout"
finds name list "evil"
finds empty-list push "the listing lacks the image"
finds silent not-there "without calling host->error"
finds code not-there "E_IO, not E_NOTFOUND"
finds condition conditions "same still succeeded"
finds overwrites conditions "'\*' over an image succeeded"
finds fetch-answers outputs "fetch failed and yet wrote"
finds push-answers outputs "push failed and yet wrote"
finds cancel cancel-fetch "cancelled in the middle succeeded"
finds sink sink-fails "E_NET, not E_QUOTA\|does not name"
finds ends sink-fails "called sink_end"
finds half source-fails "resolve after a push that failed succeeded"
finds half cancel-push "resolve after a push that failed succeeded"
finds stays push "resolve of what was removed succeeded"
finds double-free load "Aborted\|exit status"
