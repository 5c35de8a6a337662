# Sourced by the tests of repo-git, after tests/functions.sh and tests/repo/functions.sh.
capstan plugin info git >/dev/null 2>&1 || skip "repo-git is not built"
requires git --version
git config --global user.name Ann
git config --global user.email ann@example.org
git config --global init.defaultBranch main
# image NAME BYTES: an image of random bytes in the store
image () {
  head -c "$2" /dev/urandom >"$work/$(basename "$1").raw"
  printf '\125\252' | dd of="$work/$(basename "$1").raw" bs=1 seek=510 conv=notrunc 2>/dev/null
  capstan import "$1" "$work/$(basename "$1").raw" >/dev/null 2>&1
}
# store N COMMAND...: with another store
store () { n=$1; shift; CAPSTAN_ROOT=$work/store$n "$@"; }
stored () { echo "$work/store$1/repository/$2/$(basename "$2").qemu"; }
# bare DIR: an empty repository, as a server has it
bare () {
  git init -q --bare "$1"
  git -C "$1" config uploadpack.allowFilter true
  git -C "$1" config http.receivepack true
}
files () { git -C "$1" ls-tree -r --name-only "${2:-HEAD}" | sort | tr '\n' ' '; }
commits () { git -C "$1" rev-list --count HEAD; }
