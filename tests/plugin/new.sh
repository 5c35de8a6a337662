#!/bin/sh
# capstan plugin new: what it writes builds as it is with make, the autotools and Meson, passes the
# contract suite and is loaded; and what it refuses. `make installcheck' runs this over what was
# installed, and then with the autotools too, which take their time.
. "$top_srcdir/tests/functions.sh"
requires make --version
command -v "${CC:-cc}" >/dev/null || skip "needs a C compiler"
for_plugins
unset CAPSTAN_PLUGIN_PATH

log () { "$@" >log 2>&1 || { cat log >&2; fail "$*"; }; }
build () { # SYSTEM DIR: as its README.md says
  sed -n '/^## Build/,/^This/p' "$2/README.md" | sed '/^[#`]/d; /^This/d; /^$/d' >commands
  grep -q "$1\|auto" commands || fail "README.md of $1: $(cat commands)"
  log env -u DESTDIR sh -ec "cd $2; $(cat commands)"
  ! grep -i 'warning:.*\.c\|\.c.*warning:' log || fail "$1 warns"
  so=$(cd "$2" && find . -name '*.so' -type f)
  [ "$(echo "$so" | wc -w)" = 1 ] || fail "$1 made: $so"
  case $1 in
    meson) log env DESTDIR="$work/root-$2" meson install -C "$2/build" ;;
    *) log make -C "$2" install DESTDIR="$work/root-$2" ;;
  esac
  dir=$(dirname "$(find "root-$2" -name '*.plugin')")
  [ -f "$dir/$(basename "$so")" ] || fail "$1 install: $(find "root-$2")"
}
try () { # SYSTEM KIND NAME
  status 0 capstan plugin new "$2" "$3" "$1-$2" --build-system "$1"
  err_has "wrote the plugin $2-$3 to $1-$2"
  ! grep -rn '@[A-Z]*@' "$1-$2" || fail "words that stand for something are left"
  ! grep -rnwi 'null\.c\|hypervisor-null\|null_[a-z]*\|folder_[a-z]*\|"folder"' "$1-$2" || fail "names of the example are left"
  build "$1" "$1-$2"
  # the command of README.md, with the program that is tested
  sed -n '/^## Try/,/^prints/p' "$1-$2/README.md" | sed '/^[#`]/d; /^prints/d' >commands
  grep -q '^capstan plugin test ' commands || fail "README.md of $1: $(cat commands)"
  status 0 in_folder "$1-$2"
  ! grep FAIL out || fail "$1-$2"
  grep -q '^ok ' out || fail "nothing was tried"
  CAPSTAN_PLUGIN_PATH=$work/$dir; export CAPSTAN_PLUGIN_PATH
  status 0 capstan plugin info "$3"
  out_has "$3: "
  unset CAPSTAN_PLUGIN_PATH
}
in_folder () { (cd "$1"; . "$work/commands"); }

try make repo mine
[ "$(grep -vc '^#' make-repo/Makefile)" = 5 ] || fail "no Makefile of five lines"
try make hypervisor my-2nd
n=2
if (meson --version && ninja --version) >/dev/null 2>&1; then try meson repo pile; n=$((n + 1)); fi
if [ -n "${CAPSTAN_TEST_BINDIR:-}" ] && (autoreconf --version && libtoolize --version) >/dev/null 2>&1; then
  try autotools hypervisor a-b; n=$((n + 1))
fi

# what is refused leaves what is there
touch make-repo/mark
status 4 capstan plugin new repo other make-repo
err_has "make-repo is not empty"
status 4 capstan plugin new repo other make-repo/mark
err_has "make-repo/mark is no folder"
for bad in "" Mine 1st a/b a_b a.b .. "a b" "$(printf %065d 0 | tr 0 a)"; do
  status 2 capstan plugin new repo "$bad" bad
  err_has "is no name for a plugin"
done
status 2 capstan plugin new thing mine bad
err_has "'thing' is no kind of plugin: hypervisor or repo"
status 2 capstan plugin new repo mine bad --build-system cmake
CAPSTAN_PLUGIN_PATH=$work/$dir; export CAPSTAN_PLUGIN_PATH
status 4 capstan plugin new "$(sed -n 's/^kind: //p' "$dir"/*.plugin)" \
  "$(sed -n 's/^name: //p' "$dir"/*.plugin)" bad
err_has "already, $work/$dir/"
unset CAPSTAN_PLUGIN_PATH
[ ! -e bad ] || fail "a folder was made"

# a folder that is empty will do; one that cannot be filled is as it was
mkdir empty
status 0 capstan plugin new repo x empty
[ -f empty/repo-x.c ] || fail "not in the folder that was there"
mkdir half
printf x >half/null.c; printf x >half/name.plugin
CAPSTAN_TEMPLATES=$work/half; export CAPSTAN_TEMPLATES
if [ -n "${CAPSTAN_TEST_BINDIR:-}" ]; then
  status 3 capstan plugin new hypervisor y bad
else
  status 3 env CAPSTAN_TEMPLATES="$work/half" "$top_builddir/capstan" plugin new hypervisor y bad
fi
err_has "README.md is not in $work/half; the package capstan-dev has it"
[ ! -e bad ] || fail "half a plugin is left: $(ls bad)"
echo "$n plugins were built and tried"
