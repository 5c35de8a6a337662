# Sourced by the tests of repo-git, after tests/functions.sh and tests/repo/functions.sh.
# shellcheck shell=sh
capstan plugin info git >/dev/null 2>&1 || skip "repo-git is not built"
requires git --version
git config --global user.name Ann
git config --global user.email ann@example.org
git config --global init.defaultBranch main
# Each git that capstan runs leaves its arguments and its environment in $work/argv and
# $work/environ. A limit of file sizes is for capstan alone (see suite_killed).
real_git=$(command -v git)
mkdir -p "$work/bin"
cat >"$work/bin/git" <<EOF
#!/bin/sh
ulimit -S -f unlimited 2>/dev/null
printf '%s\n' "\$*" >>"$work/argv"
env >>"$work/environ"
exec "$real_git" "\$@"
EOF
chmod +x "$work/bin/git"
plain_path=$PATH # for servers
PATH=$work/bin:$PATH
git () { "$real_git" "$@"; }
# no_secret TEXT: no program was given it in an argument or a variable
no_secret () {
  [ -s "$work/argv" ] || fail "git was not seen"
  ! grep -qF -e "$1" "$work/argv" "$work/environ" || fail "a secret in arguments or environment of git"
}
# image NAME BYTES: an image of random bytes in the store, and in LAST.raw
image () {
  raw=$work/${1##*/}.raw
  head -c "$2" /dev/urandom >"$raw"
  printf '\125\252' | dd of="$raw" bs=1 seek=510 conv=notrunc 2>/dev/null
  capstan -q import "$1" "$raw"
}
# store N COMMAND...: with another store
store () {
  was=$CAPSTAN_ROOT CAPSTAN_ROOT=$work/store$1
  shift
  store_status=0
  "$@" || store_status=$?
  CAPSTAN_ROOT=$was
  return $store_status
}
stored () { echo "$work/store$1/repository/$2/${2##*/}.qemu"; }
# bare DIR: an empty repository, as a server has it
bare () {
  git init -q --bare "$1"
  git -C "$1" config uploadpack.allowFilter true
  git -C "$1" config http.receivepack true
}
files () { git -C "$1" ls-tree -r --name-only "${2:-HEAD}" | sort | tr '\n' ' '; }
commits () { git -C "$1" rev-list --count HEAD; }
# tamper REPO NAME: other bytes in its image, and the index as it was
tamper () {
  rm -rf "$work/tamper"
  git clone -q "$1" "$work/tamper"
  f=$(ls "$work/tamper/$2"/*.qemu*)
  printf x | dd of="$f" bs=1 seek=100000 conv=notrunc 2>/dev/null
  git -C "$work/tamper" commit -qam tampered
  git -C "$work/tamper" push -q
}
# start_git_http DIR [CERT KEY]: git-server.py; its port in $port, its process in $git_http
start_git_http () {
  requires python3 -c 'import http.server, ssl'
  PATH=$plain_path python3 "$top_srcdir/tests/repo/git-server.py" "$1" "$work/http.port" "$work/http.log" \
    ${2:+"$2" "$3"} 2>"$work/http.err" &
  git_http=$!
  cleanup "kill $git_http"
  wait_for 20 test -s "$work/http.port"
  port=$(cat "$work/http.port")
  wait_for 20 python3 -c "import socket; socket.create_connection(('127.0.0.1', $port))"
}
