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
  # two runs are in its log, once each; the one that was killed may have said nothing yet
  two () { capstan logs first >out; [ "$(grep -c '/guest hold' out)" -ge 2 ]; }
  wait_for 60 two
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

# ---- volumes ----
disks () { echo "$CAPSTAN_ROOT/volumes/$1"; }
status 0 capstan volume create --size 8M data
status 4 capstan volume create --size 8M data
status 2 capstan volume create a/b
status 2 capstan volume create --size 100 odd.yaml
status 0 capstan volume info data
python3 -c 'import json; v = json.load (open ("out")); assert (v["format"], v["size"], v["instances"]) == ("raw", 8 << 20, []), v' || fail "volume info"
printf ABCDEFGH | dd of="$(disks data)" conv=notrunc status=none
cp "$(disks data)" own.raw
qemu-img create -q -f qcow2 begins-like.raw 1M
made=$(ls "$CAPSTAN_ROOT"/instances/*/)
refused () { text=$1; shift; status 125 capstan run "$@" osv; err_has "$text"; }
refused "volume nothing" --volume nothing
refused "named twice" --volume data --volume "$(disks data):ro"
refused "what" --volume data:what=x
refused "not qcow2" --volume data:format=qcow2
refused "begins like" --volume ./begins-like.raw
refused "Is a directory" --volume ./app
[ $CAPSTAN_HYPERVISOR = kvm ] || refused "aio" --volume data:aio=threads
[ $CAPSTAN_HYPERVISOR != kvm ] || refused "cache=none" --volume data:aio=native
status 0 capstan volume create --format qcow2 --size 8M q
[ $CAPSTAN_HYPERVISOR = kvm ] || refused "q" --volume q
[ "$(ls "$CAPSTAN_ROOT"/instances/*/)" = "$made" ] || fail "an instance was made of what was refused"
if [ $CAPSTAN_HYPERVISOR = vbox ]; then
  status 0 capstan volume create -f vdi -s 8M v
  status 6 capstan run --rm -e '/guest disk' osv
  status 0 capstan run --rm -e '/guest disk' --volume data osv
  out_has 4142434445464748
  [ "$(head -c 8 "$(disks data)")" = wrotEFGH ] || fail "the volume was not written"
  # VirtualBox lets the guest write into a file of its own
  cp own.raw before.raw
  status 0 capstan run --rm -e '/guest disk' --volume ./own.raw:ro osv
  out_has 4142434445464748
  same own.raw before.raw
  status 0 capstan run --rm -e '/guest disk' --volume v osv
  out_has 0000000000000000
  status 0 capstan run --rm -e '/guest disk' --volume v osv
  out_has 77726f7400000000
  status 0 capstan volume delete v
elif [ $CAPSTAN_HYPERVISOR = kvm ]; then
  # QEMU's BIOS shows the guest no disk that it is not to boot from: run-volume.sh has Linux read it
  hold io --volume data:aio=threads:cache=writethrough --volume q:ro osv
  virsh dumpxml "$(field io 'i["backend_name"]')" >xml
  grep -q "<driver name='qemu' type='raw' cache='writethrough' io='threads'" xml || { cat xml; fail "the first volume"; }
  grep -q "<source file='$(disks q)'" xml && grep -q "<readonly/>" xml || { cat xml; fail "the second volume"; }
  status 0 capstan delete -f io
fi
hold vol --volume data osv
is vol 'i["volumes"]' "['$(disks data):format=raw']"
is vol '"/volumes/" in " ".join (i["resources"])' False
refused "in use by 'vol'" --volume data:ro
status 4 capstan volume delete data
err_has vol
status 0 capstan volume list
out_has vol
status 0 capstan delete -f vol
hold vol --volume ./own.raw:ro osv
hold vol2 --volume ./own.raw:ro osv
status 0 capstan delete -f vol vol2
status 0 capstan volume delete data q
status 3 capstan volume delete data
[ ! -e "$(disks data)" ] && [ ! -e "$(disks data).yaml" ] || fail "the volume is still there"
[ -s own.raw ] || fail "a volume was deleted"

# ---- networks: what cannot be is refused by name, before anything is made ----
refused "device br" -b br
case $CAPSTAN_HYPERVISOR in
  null) for mode in bridge tap vhost hostonly; do refused "$mode" -n $mode; done ;;
  vbox) refused tap -n tap; refused vhost -n vhost; refused "nothere0" -n bridge -b nothere0; refused "-b" -n bridge
    refused "forwards no ports" -n bridge -b lo -f 8080:80 ;;
  kvm) refused hostonly -n hostonly; refused "nothere0" -n bridge -b nothere0; refused "lo is no bridge" -n bridge -b lo
    refused "lo is no tap" -n tap -b lo; refused "forwards no ports" -n bridge -f 8080:80
    [ -e /dev/vhost-net ] || refused "/dev/vhost-net" -n vhost ;;
esac
[ "$(ls "$CAPSTAN_ROOT"/instances/*/)" = "$made" ] || fail "an instance was made of what was refused"
if [ $CAPSTAN_HYPERVISOR = kvm ] && [ "$(id -u)" = 0 ] && ip link add "cap$$" type bridge 2>/dev/null; then
  cleanup "ip link del cap$$"
  hold net -n bridge -b "cap$$" osv
  is net 'i["network"]["device"]' "cap$$"
  ip -o link show master "cap$$" >ports
  # libvirt gives the tap the address of the card, but for its first byte
  grep -q "$(field net 'i["network"]["mac"][2:]')" ports || { cat ports; fail "the card is not on the bridge"; }
  status 0 capstan delete -f net
  [ -z "$(ip -o link show master "cap$$")" ] || fail "a tap is left on the bridge"
fi

# ---- the same address for the same name, and none where there is no card ----
hold mac osv
mac=$(field mac 'i["network"]["mac"]')
status 0 capstan delete -f mac
hold mac osv
is mac 'i["network"]["mac"]' "$mac"
status 0 capstan delete -f mac
hold mac -n none osv
is mac 'i["network"].get ("mac")' None
status 0 capstan delete -f mac
hold mac --mac 52:54:00:12:34:56 osv
is mac 'i["network"]["mac"]' 52:54:00:12:34:56
status 0 capstan delete -f mac

# ---- labels, and which are listed ----
hold red --label colour=red osv
status 0 capstan run --name blue --label colour=blue --label sky=1 -e '/guest 0' osv
list () { capstan instances "$@" | awk 'NR > 1 { printf "%s ", $1 }'; }
[ "$(list --label colour=red)" = "red " ] || fail "by a label and its value"
[ "$(list --label colour | wc -w)" = 2 ] || fail "by a label"
[ "$(list --label colour --label sky=1)" = "blue " ] || fail "by two labels"
[ "$(list --running)" = "red " ] || fail "those that run"
[ -z "$(list --label col)" ] || fail "by part of a label"
status 125 capstan run --label nothing osv
err_has "KEY=VALUE"
status 0 capstan delete -f red

# ---- what was printed since ----
between=$(date -u +%Y-%m-%dT%H:%M:%S.%3NZ)
status 0 capstan logs --since "$between" blue
[ ! -s out ] || fail "nothing was printed since: $(cat out)"
status 0 capstan start -a blue </dev/null
status 0 capstan logs blue
mv out all
[ "$(grep -c '/guest 0' all)" = 2 ] || fail "two runs in the log"
for since in 1h 1d "$(date -u -d @0 +%Y-%m-%dT%H:%M:%SZ)"; do
  status 0 capstan logs --since "$since" blue
  same out all
done
status 0 capstan logs --since "$between" blue
[ "$(grep -c '/guest 0' out)" = 1 ] || { cat "$CAPSTAN_ROOT"/instances/*/blue/times all; fail "the second run since $between"; }
status 2 capstan logs --since yesterday blue
status 0 capstan delete blue

# ---- started again: by its supervisor, until somebody wants it to stay ----
enough () { [ "$(field again 'i["starts"] >= 3')" = True ]; }
if [ $real = 1 ]; then status 0 capstan run -d --name again --restart on-failure -e '/guest 3' linux
else status 0 capstan run -d --name again --restart always osv; fi
wait_for 120 enough
status 0 capstan stop -t 1 again
is again 'i["state"] in ("stopped", "crashed")' True
is again 'i.get ("supervisor")' None
n=$(field again 'i["starts"]')
status 0 capstan instances --json
is again 'i["starts"]' "$n"
is again 'i["restart"]' "$([ $real = 1 ] && echo on-failure || echo always)"
# it holds again from the next start on; deleting ends it whatever it is doing
status 0 capstan start again
wait_for 120 soon again "i['starts'] > $n + 1" True
status 0 capstan delete -f again
# what ends well is not started again by on-failure
status 0 capstan run -d --name well --restart on-failure -e '/guest 0' osv
wait_for 60 soon well 'i.get ("supervisor")' None
is well 'i["starts"]' 1
is well 'i["reason"] in ("shutdown", "unknown")' True
status 0 capstan delete well
# attached as well: by the process itself, until it is told to stop
if [ $real = 0 ]; then
  capstan run --name loop --restart always osv >loop.out 2>&1 & loops=$!
  loop_runs () { [ "$(grep -c '/guest 3' loop.out)" -ge 3 ]; }
  wait_for 60 loop_runs
  status 0 capstan stop loop
  wait $loops || fail "the attached run: $?"
  status 0 capstan delete loop
fi

# ---- a supervisor that is killed: the machine goes on ----
hold alone osv
kill -9 "$(field alone 'i["supervisor"]')"
wait_for 30 soon alone 'i.get ("supervisor")' None
is alone 'i["state"]' running
status 0 capstan stop -t 1 alone
status 0 capstan start alone
is alone '"supervisor" in i' True
# ---- the host's run folder does not outlive a restart of it ----
status 0 capstan stop -t 1 alone
run=$(field alone '[r for r in i["resources"] if r.startswith ("folder:") and "/capstan-" in r and not "/store/" in r]' | sed "s/^\['folder://; s/'\]$//")
[ -d "$run" ] || fail "no run folder: $run"
rm -rf "$run"
status 0 capstan start alone
status 0 capstan delete -f alone

# ---- an instance whose name nobody chose makes way, unless it is to persist ----
status 0 capstan run -e '/guest 0' osv
status 0 capstan run --persist -e '/guest 0' osv
status 0 capstan run --persist -e '/guest 0' osv
[ "$(list | wc -w)" = 2 ] || fail "two that persist: $(list)"
status 0 capstan delete osv osv-2

# ---- an image of what it has become ----
st=0; [ $real = 0 ] || st=4
status $st capstan run --name c --env 'A=b' -e '/guest 4' osv
status 0 capstan commit --message 'all set' c made
status 4 capstan commit c made
status 0 capstan commit --force c made
status 2 capstan commit c 'a b'
status 0 capstan delete c
status 0 capstan images
out_has 'instance c of osv'
status $st capstan run --rm made
out_has '--env=A=b /guest 4'
status $st capstan run --rm -e '/guest 4' made
hold c osv
status 4 capstan commit c made2
err_has "capstan stop c"
status 0 capstan delete -f c
status 0 capstan rmi made

# ---- nothing is left ----
[ -z "$(ls "$CAPSTAN_ROOT"/instances/*/)" ] || fail "an instance is left"
[ $CAPSTAN_HYPERVISOR != vbox ] || vbox_empty
