# Sourced by every behaviour test: . "$top_srcdir/tests/functions.sh"
set -eu
capstan () { "$top_builddir/run" capstan "$@"; }
skip () { echo "SKIP: $*"; exit 77; }
fail () { echo "FAIL: $*" >&2; exit 1; }
# requires COMMAND...: skip the test unless the command succeeds
requires () { "$@" </dev/null >/dev/null 2>&1 || skip "needs: $*"; }
# cleanup COMMAND: run when the test ends, last first
cleanup_cmds=:
cleanup () { cleanup_cmds="$*; $cleanup_cmds"; }
trap 'st=$?; set +e; eval "$cleanup_cmds"; exit $st' EXIT
trap 'exit 130' INT TERM HUP
# status N COMMAND...: it must exit with N; its output is in $work/out and $work/err
status () {
  want=$1; shift
  got=0; "$@" >"$work/out" 2>"$work/err" || got=$?
  [ "$got" -eq "$want" ] || { cat "$work/out" "$work/err" >&2; fail "exit status $got, not $want: $*"; }
}
# out_has TEXT, err_has TEXT: in the output of the last status
out_has () { grep -qF -e "$1" "$work/out" || { cat "$work/out" >&2; fail "no '$1' in the output"; }; }
err_has () { grep -qF -e "$1" "$work/err" || { cat "$work/err" >&2; fail "no '$1' in the error"; }; }
out_lacks () { ! grep -qF -e "$1" "$work/out" || { cat "$work/out" >&2; fail "'$1' in the output"; }; }
err_lacks () { ! grep -qF -e "$1" "$work/err" || { cat "$work/err" >&2; fail "'$1' in the error"; }; }
# same FILE FILE
same () { cmp "$1" "$2" || fail "$1 and $2 differ"; }
# wait_for SECONDS COMMAND...: until it succeeds; a condition, not a sleep
wait_for () {
  limit=$(($(date +%s) + $1)); shift
  until "$@" >/dev/null 2>&1; do
    [ "$(date +%s)" -lt "$limit" ] || fail "did not happen in time: $*"
    sleep 0.05
  done
}
# memory_store: a store in memory, where that is to be had, for tests that flush it often
memory_store () {
  if [ -w /dev/shm ] && shm=$(mktemp -d /dev/shm/capstan-test.XXXXXX); then
    cleanup "rm -rf $shm"
    CAPSTAN_ROOT=$shm/store
  fi
}
# boot_disk FILE [TEXT]: the smallest thing that passes for a raw boot disk
boot_disk () {
  head -c 196608 /dev/zero >"$1"
  printf '%s' "${2:-}" | dd of="$1" bs=1 seek=150000 conv=notrunc status=none
  printf '\125\252' | dd of="$1" bs=1 seek=510 conv=notrunc status=none
}
# no_domain: libvirt has no machine of this test's store; what others run is theirs
no_domain () {
  for d in $(virsh -q list --all --name); do
    ! virsh dumpxml "$d" 2>/dev/null | grep -qF "$CAPSTAN_ROOT" || fail "a domain is left: $d"
  done
}
# for_plugins: what builds plugins, by capstan.pc. `make installcheck' gives CAPSTAN_TEST_BINDIR,
# _LIBDIR and _DATADIR, of what was installed: nothing else of the tree is used then.
for_plugins () {
  requires pkg-config --version
  if [ -n "${CAPSTAN_TEST_BINDIR:-}" ]; then
    PKG_CONFIG_PATH=${DESTDIR:-}$CAPSTAN_TEST_LIBDIR/pkgconfig PKG_CONFIG_SYSROOT_DIR=${DESTDIR:-}
    PATH=${DESTDIR:-}$CAPSTAN_TEST_BINDIR:$PATH CAPSTAN_TEMPLATES=${DESTDIR:-}$CAPSTAN_TEST_DATADIR/plugin-template
    export PKG_CONFIG_PATH PKG_CONFIG_SYSROOT_DIR PATH CAPSTAN_TEMPLATES
    unset -f capstan
    [ "$(command -v capstan)" = "${DESTDIR:-}$CAPSTAN_TEST_BINDIR/capstan" ] || fail "not the one that was installed"
    unset DESTDIR
  else
    mkdir pc
    sed "s|^includedir=.*|includedir=$top_srcdir/include|" "$top_builddir/include/capstan/capstan.pc" >pc/capstan.pc
    PKG_CONFIG_PATH=$work/pc; export PKG_CONFIG_PATH
  fi
  [ "$(pkg-config --variable=abi capstan)" = 1 ] || fail "capstan.pc has no abi"
}
# use_linux_base: puts the base "linux" that ./check made into this test's store
use_linux_base () {
  [ -n "${CAPSTAN_TEST_STORE:-}" ] && [ -d "$CAPSTAN_TEST_STORE/repository/linux" ] ||
    skip "no Linux base: ./check makes it (CAPSTAN_TEST_STORE)"
  mkdir -p "$CAPSTAN_ROOT/repository"
  cp -a --reflink=auto "$CAPSTAN_TEST_STORE/repository/linux" "$CAPSTAN_ROOT/repository/"
}
