#!/bin/sh
# The plugins of examples/plugin-out-of-tree, built by their own Makefile, loaded and run through
# the contract suite.
. "$top_srcdir/tests/functions.sh"
requires make --version
command -v "${CC:-cc}" >/dev/null || requires cc --version
requires c++ --version
cp -R "$top_srcdir/examples/plugin-out-of-tree" x
chmod -R u+w x
for_plugins
make -C x CC=cc CFLAGS="-O2 -Wall -Wextra -Werror" >make.log 2>&1 || { cat make.log >&2; fail "make"; }
make -C x install DESTDIR="$work/root" >make.log 2>&1 || { cat make.log >&2; fail "make install"; }
find root -name repo-folder.so | grep -q "/capstan/repo-folder.so" || fail "installed elsewhere: $(find root)"
CAPSTAN_PLUGIN_PATH=$work/x; export CAPSTAN_PLUGIN_PATH
status 0 capstan plugin list
for p in folder listing; do grep -q "^$p  *repository  *1.0  *1\.0" out || { cat out >&2; fail "$p is not loaded"; }; done
# the columns stand below each other; what is long is broken into lines
awk 'NR == 1 { kind = index ($0, "Kind"); path = index ($0, "Path") }
  NR > 1 && (substr ($0, kind, 3) !~ /^(hyp|rep)/ || substr ($0, path, 1) !~ /[\/b]/) { exit 1 }' out ||
  { cat out >&2; fail "columns"; }
mkdir long; cp x/repo-folder.so long/
printf 'name: folder\nkind: repository\nschemes: %s\n' "$(seq -s, -f 'scheme%g' 40)" >long/repo-folder.plugin
CAPSTAN_PLUGIN_PATH=$work/long
status 0 capstan plugin info folder
CAPSTAN_PLUGIN_PATH=$work/x
out_has ", scheme39"; out_has "scheme40"; out_has "it can: push, resume"
[ "$(grep scheme out | wc -l)" = 5 ] && ! grep -v / out | grep '.\{101\}' || { cat out >&2; fail "too wide"; }

mkdir -p repo there/a/app
status 0 capstan plugin test folder --on "folder:$work/repo"
[ "$(find repo -type f)" = repo/.capstan-lock ] || fail "left behind: $(find repo)"
head -c 1M /dev/urandom >there/a/app/app.qemu
printf 'format_version: "1"\n' >there/a/app/index.yaml
status 0 capstan plugin test listing --on "listing:$work/there" --image a/app
out_has "ok    resume"

# and as a user has it
boot_disk disk
status 0 capstan import mine disk
status 0 capstan push --repo "folder:$work/repo" mine
CAPSTAN_ROOT=$work/other
status 0 capstan pull --repo "listing:$work/repo" mine
same disk other/repository/mine/mine.qemu
