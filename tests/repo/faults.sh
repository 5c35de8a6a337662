#!/bin/sh
# What goes wrong with repositories, made to go wrong by the folder plugin: pulls and pushes
# through lost connections, changed files, lies and waits. SPDX-License-Identifier: BSD-3-Clause
. "$top_srcdir/tests/functions.sh"
. "$top_srcdir/tests/repo/suite.sh"
CAPSTAN_PLUGIN_PATH=$top_builddir/tests/plugin/.libs; export CAPSTAN_PLUGIN_PATH
mkdir repo
repo=dir:$work/repo
# fault WORD...: repository "f", which does that
fault () {
  f=$1; shift
  capstan -q repo add f "$repo" --option fault="$f" "$@"
}
gone () { suite_absent "$1"; left=$(find "$CAPSTAN_ROOT/cache" -type f 2>/dev/null) || :; [ -z "$left" ] || fail "left: $left"; }
suite_disk disk 8
suite_store a
capstan -q import -v 1 app disk
status 0 capstan push --repo "$repo" --compress none app
suite_store b

# ---- lost connections ----
fault net:3000000:3
status 0 capstan pull --repo f app; suite_is app disk
[ "$(grep -c 'trying again' err)" = 3 ] || fail "not tried three times again"
capstan -q rmi app
status 1 env CAPSTAN_RETRIES=2 "$top_builddir/run" capstan pull --repo f app
err_has "reset"; suite_absent app
fault net:9000000:0
status 0 capstan pull --repo f app; err_has "going on after"; suite_is app disk; suite_clean
capstan -q rmi app
# parallel, in any order
fault net:3000000:2 --option parallel=true
status 0 capstan pull --repo f app; suite_is app disk; suite_clean
capstan -q rmi app

# ---- it ends early, and says that all is well ----
for c in none gzip zstd; do
  suite_store a; status 0 capstan push --repo "$repo" --force --compress $c app; suite_store b
  fault cut:2000000
  status 1 env CAPSTAN_RETRIES=0 "$top_builddir/run" capstan pull --repo f app
  err_has "ended after"; suite_absent app
  fault silent:0
  status 1 capstan pull --repo f app; err_has "no whole file"; suite_absent app
done
rm -rf "$CAPSTAN_ROOT/cache"
# nobody says how long it is to be: the compressed file itself does
sed -i '/size:/d; /stored:/d; /sha256:/d' repo/app/index.yaml
mv repo/app/app.qemu.zst x.zst
head -c 2000000 x.zst >repo/app/app.qemu.zst
status 1 capstan pull --repo "$repo" app
err_has "ends in the middle"; gone app
zstd -dqc x.zst 2>/dev/null | gzip -1 >x.gz && {
  sed -i 's/zstd/gzip/; s/\.zst/.gz/' repo/app/index.yaml
  rm repo/app/app.qemu.zst; head -c 2000000 x.gz >repo/app/app.qemu.gz
  status 1 capstan pull --repo "$repo" app
  err_has "ends in the middle"; gone app
  cat x.gz x.gz >repo/app/app.qemu.gz # members follow each other, as gunzip has it
  cat disk disk >two
  rm -r "$CAPSTAN_ROOT/state" # what app was before
  status 0 capstan pull --repo "$repo" app; suite_is app two; capstan -q rmi app
  { cat x.gz; echo garbage; } >repo/app/app.qemu.gz
  status 1 capstan pull --repo "$repo" app; gone app
}
rm -rf repo/app "$CAPSTAN_ROOT/state"

# ---- another file under the same name, between two ranges ----
suite_store a; status 0 capstan push --repo "$repo" --compress none app
suite_disk disk2 8
capstan -q import -v 2 app disk2
mkdir new; status 0 capstan push --repo "dir:$work/new" --compress none app
suite_store b
# with the old index.yaml: what comes is not what it says
cp new/app/app.qemu repo/app/app.qemu.new
fault swap:3000000
status 1 capstan pull --repo f app; err_has "sha256 of"; gone app
# with its index.yaml: all is read again
cp disk repo/app/app.qemu; cp new/app/app.qemu repo/app/app.qemu.new
cp new/app/index.yaml repo/app/index.yaml.new
status 0 capstan pull --repo f app; err_has "changed meanwhile"
suite_is app disk2; suite_clean
# a partial download of a file that has changed since is thrown away
capstan -q rmi app
fault kill:4000000
got=0; capstan pull --repo f app >out 2>err || got=$?
[ $got = 137 ] || fail "not killed: $got"
cp disk repo/app/app.qemu
suite_store a; capstan -q import -v 3 app disk; status 0 capstan push --repo "$repo" --force --compress none app
suite_store b
status 0 capstan pull --repo "$repo" app; suite_is app disk; suite_clean
# the partial itself is damaged
capstan -q rmi app
fault kill:4000000
got=0; capstan pull --repo f app >out 2>err || got=$?
printf damage | dd of="$(echo "$CAPSTAN_ROOT"/cache/pull/*/wire)" bs=1 seek=70000 conv=notrunc 2>/dev/null
status 0 capstan pull --repo "$repo" app; err_has "thrown away"; suite_is app disk; suite_clean
capstan -q rmi app

# ---- the server is busy ----
fault busy:300:2
status 0 capstan pull --repo f app; err_has "trying again in 0.3 s"; capstan -q rmi app
fault busy:3600000:1
status 1 capstan pull --repo f app; err_has "come again in 61 minutes"

# ---- Ctrl-C: at once, and the next pull goes on ----
fault hang:3000000
"$top_builddir/capstan" pull --repo f app >out 2>err & pid=$!
wait_for 60 sh -c "[ \"\$(head -c 20 $CAPSTAN_ROOT/cache/pull/*/resume | tr -d 0)\" ]"
kill -INT $pid
got=0; wait $pid || got=$?
[ $got = 1 ] || fail "exit status $got after Ctrl-C"
err_has cancelled; suite_absent app
status 0 capstan prune --dry-run; out_has "would remove partial download"
status 0 capstan pull --repo "$repo" app; err_has "going on after"; suite_is app disk; suite_clean
capstan -q rmi app
# what is at work stays, what is not goes
"$top_builddir/capstan" pull --repo f app >out1 2>err1 & pid=$!
wait_for 60 sh -c "[ -s $CAPSTAN_ROOT/cache/pull/*/resume ]"
status 0 capstan prune; out_lacks "partial download"
kill -KILL $pid; wait $pid 2>/dev/null || :
status 0 capstan prune; out_has "removed partial download"; gone app

# ---- push ----
rm -rf repo; mkdir repo
suite_store a
fault net:3000000:2
status 0 capstan push --repo f --compress none app
[ "$(grep -c 'trying again' err)" = 2 ] || fail "the push was not tried again"
suite_store b; status 0 capstan pull --repo "$repo" app; suite_is app disk; capstan -q rmi app
for c in none zstd; do
  suite_store a
  suite_disk disk 8; capstan -q import -v kill-$c app disk
  fault kill:4000000
  got=0; capstan push --repo f --force --compress $c app >out 2>err || got=$?
  [ $got = 137 ] || fail "not killed: $got"
  suite_store b # nothing half is seen
  status 0 capstan -q pull --repo "$repo" app; ! cmp -s disk "$CAPSTAN_ROOT/repository/app/app.qemu" || fail "too early"
  suite_store a
  status 0 capstan push --repo "$repo" --force app --compress $c; err_has "going on with an upload"; suite_clean
  suite_store b; status 0 capstan pull --repo "$repo" app; suite_is app disk
done
suite_store a
printf 'x' | dd of="$(echo repo/.up-0)" bs=1 2>/dev/null
touch -d '3 days ago' repo/.up-0
status 0 capstan prune --repo "$repo" --dry-run; err_has "unfinished upload"; [ -e repo/.up-0 ] || fail "dry run"
status 0 capstan prune --repo "$repo"; [ ! -e repo/.up-0 ] || fail "the upload is still there"
