#!/bin/sh
# All that capstan does with an instance, under one hypervisor, CAPSTAN_TEST_HYPERVISOR=
# null|kvm|vbox, with the guest of guest.S.
. "$top_srcdir/tests/functions.sh"
. "$top_srcdir/tests/vbox/functions.sh"
. "$top_srcdir/tests/guest/functions.sh"
use_guest
# hold NAME OPTION...: one that stays
hold () {
  n=$1; shift
  if [ $real = 1 ]; then
    status 0 capstan run -d --name "$n" -e '/guest hold' "$@"
    wait_for 60 ready "$n"
  else
    status 0 capstan run -d --name "$n" --option hold=true "$@"
  fi
}
# field INSTANCE EXPRESSION: of inspect, where i is what it prints
field () {
  capstan inspect "$1" >inspect.json || return 1
  python3 -c 'import json, sys; i = json.load (open ("inspect.json")); print (eval (sys.argv[1]))' "$2"
}
is () { [ "$(field "$1" "$2")" = "$3" ] || { cat inspect.json >&2; fail "$2 of $1 is not $3"; }; }
soon () { [ "$(field "$1" "$2")" = "$3" ]; }
# present RESOURCE: does it lie on this host?
present () {
  what=${1#*:}
  case $1 in
    file:*|folder:*|socket:*) [ -e "$what" ] ;;
    pid:*) # one that nobody has reaped yet is no more
      [ -e "/proc/$what" ] && ! grep -q '^State:.Z' "/proc/$what/status" 2>/dev/null ;;
    domain:*) virsh -q dominfo "$what" >/dev/null 2>&1 ;;
    machine:*) VBoxManage list vms | grep -q "\"$what\"" ;;
    *) fail "resource $1" ;;
  esac
}

# ---- what inspect says of one that runs ----
hold one --label a=b --label 'c=d "e' osv
is one 'i["state"]' running
is one 'i["labels"]' '{'"'a': 'b', 'c': 'd \"e'}"
is one 'i["starts"]' 1
is one 'len ([r for r in i["resources"] if r == "pid:%d" % i["supervisor"]])' 1
field one '"\n".join (i["resources"])' >resources
while read -r r; do present "$r" || fail "$r is not there"; done <resources
[ $real = 0 ] || [ "$(grep -c '^pid:' resources)" -ge 2 ] || { cat resources; fail "no process of the machine"; }

# ---- pause and resume ----
status 4 capstan resume one
status 0 capstan pause one
is one 'i["state"]' paused
status 4 capstan pause one
err_has "not running"
status 4 capstan start one
err_has "capstan resume one"
status 0 capstan resume one
is one 'i["state"]' running
status 4 capstan start one
err_has "running already"

# ---- another name, while it runs; the old one is free then ----
status 4 capstan rename one one
status 2 capstan rename one
status 2 capstan rename one 'a b'
status 2 capstan rename one a/b
status 0 capstan rename one first
status 3 capstan inspect one
hold one osv
status 4 capstan rename first one
err_has "there is an instance 'one'"
is first 'i["state"]' running
[ "$(field first 'i["network"]["mac"]')" = "$(field one 'i["network"]["mac"]')" ] || fail "the address changed with the name"
status 0 capstan delete -f one
status 0 capstan logs first
out_has /guest

# ---- restart, kill, start ----
status 0 capstan restart first
is first 'i["starts"]' 2
is first 'i["state"]' running
status 0 capstan kill first
over first || fail "it runs"
wait_for 60 soon first 'i.get ("supervisor")' None
is first '"ended" in i' True
status 0 capstan kill first
status 0 capstan stop first
status 0 capstan start first
is first 'i["starts"]' 3
# its resources of now, with the log of its first run
field first '"\n".join (i["resources"])' >>resources
if [ $real = 1 ]; then
  # two runs are in its log, once each
  status 0 capstan logs first
  [ "$(grep -c '/guest hold' out)" -ge 2 ] || fail "the log of the runs"
fi

# ---- wait ----
capstan wait first & waits=$!
status 125 capstan wait -t 1 first
status 0 capstan stop -t 1 first
wait $waits || fail "wait: $?"
status 0 capstan wait first
status 3 capstan start nothing
status 125 capstan wait nothing

# ---- all it has left goes with it ----
status 0 capstan delete first
while read -r r; do ! present "$r" || fail "$r is still there"; done <resources

# ---- the status is that of the last run ----
if [ $real = 1 ]; then
  status 3 capstan run --name st linux
  is st 'i["exit_status"]' 3
  status 3 capstan wait st
  status 3 capstan start -a st </dev/null
  is st 'i["starts"]' 2
  status 0 capstan delete st
  # cut off before it says how it did: what the first said does not count
  status 0 capstan run -d --rm --name st -e '/guest hold' linux
  wait_for 60 ready st
  capstan wait st & waits=$!
  status 0 capstan stop -t 60 st
  wait $waits || fail "wait for one with --rm: $?"
  wait_for 60 sh -c "[ ! -e '$CAPSTAN_ROOT'/instances/*/st ]"
fi
status 125 capstan run --rm --restart always osv
err_has "--rm and --restart"
hold rm --rm osv
status 4 capstan restart rm
err_has "--rm"
status 0 capstan kill rm
wait_for 60 sh -c "[ -z \"\$(ls '$CAPSTAN_ROOT'/instances/*/)\" ]"

# ---- ports ----
status 125 capstan run -f auto osv
err_has "auto:80"
status 125 capstan run -n none --publish auto:80 osv
err_has "-n none"
hold port --publish auto:80 --publish auto:80/udp -f auto:443 osv
status 0 capstan port port
out_has "80/tcp -> 127.0.0.1:"
out_has "80/udp -> 127.0.0.1:"
[ "$(wc -l <out)" = 3 ] || fail "three ports"
status 3 capstan port port 81
status 0 capstan port port 443
port=$(sed 's/127.0.0.1://' out)
if [ $real = 1 ]; then
  listens () { python3 -c 'import socket, sys; socket.create_connection (("127.0.0.1", int (sys.argv[1])), 5)' "$port"; }
  wait_for 30 listens
  status 0 capstan stop -t 1 port
  python3 -c 'import os, socket, sys, time
s = socket.socket (); s.setsockopt (socket.SOL_SOCKET, socket.SO_REUSEADDR, 1); s.bind (("127.0.0.1", int (sys.argv[1]))); s.listen ()
open ("taken", "w"); time.sleep (600)' "$port" & taken=$!
  cleanup "kill $taken 2>/dev/null"
  wait_for 30 test -e taken
  status 4 capstan start port
  err_has "port $port"
  kill $taken; wait $taken || true
  status 0 capstan start port
  wait_for 30 listens
fi
status 0 capstan delete -f port
