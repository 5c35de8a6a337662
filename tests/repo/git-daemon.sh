#!/bin/sh
# Git from git-daemon, which serves for reading: what is pushed gets there as a folder.
. "$top_srcdir/tests/functions.sh"
. "$top_srcdir/tests/repo/functions.sh"
. "$top_srcdir/tests/repo/git-functions.sh"
. "$top_srcdir/tests/repo/suite.sh"
requires test -x "$("$real_git" --exec-path)/git-daemon"
bare images.git
daemon_port=$(free_port)
url=git://127.0.0.1:$daemon_port/images.git
start_daemon () {
  PATH=$plain_path "$("$real_git" --exec-path)/git-daemon" --reuseaddr --listen=127.0.0.1 --port="$daemon_port" \
    --base-path="$work" --export-all "$work/images.git" 2>"$work/daemon.log" &
  daemon=$!
  wait_for 20 python3 -c "import socket; socket.create_connection(('127.0.0.1', $daemon_port))"
}
stop_daemon () { kill $daemon; wait $daemon || :; }
cleanup stop_daemon
start_daemon
export CAPSTAN_RETRIES=0

# It takes no pushes; and what is not encrypted leads to this machine only.
image other 1000
status 1 capstan push --repo "$url" other; err_has "takes no pushes"
status 1 capstan search --repo "git://192.0.2.1/images.git"; err_has "insecure=true"

# The suite.
suite_tamper () { tamper "$work/images.git" "$1"; }
suite_stop () { stop_daemon; }
suite_start () { start_daemon; }
suite_from=$url suite_ms=200
suite_only="basic list remove killed digest dies at_once"
suite_why="there are no credentials; of disk and memory, git-file.sh"
repo_suite "git+file://$work/images.git"
suite_store b
status 0 capstan search --repo suite; out_has team/app
status 1 capstan repo rm --repo suite team/app; err_has "takes no pushes"
