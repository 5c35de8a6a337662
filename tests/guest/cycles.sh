#!/bin/sh
# Lives of instances by several workers at once: afterwards there is on this host what was there
# before. CAPSTAN_TEST_HYPERVISOR=null|kvm|vbox; 200 lives on null, 30 on the others.
. "$top_srcdir/tests/functions.sh"
. "$top_srcdir/tests/vbox/functions.sh"
. "$top_srcdir/tests/guest/functions.sh"
use_guest
# on a host this busy VirtualBox's BIOS may give a SATA disk up: its guest is that of IDE
image=osv
[ "$CAPSTAN_HYPERVISOR" != vbox ] || image=linux
workers="1 2 3 4" each=50
[ $real = 0 ] || { workers="1 2 3 4 5 6" each=5; }

# all processes that have to do with this test's store, but zombies and those that look
ours () {
  for p in /proc/[0-9]*; do
    cat "$p/cmdline" "$p/environ" 2>/dev/null | tr '\0' '\n' | grep -qF "$CAPSTAN_ROOT" || continue
    case $(cat "$p/comm" 2>/dev/null) in sh|dash|bash|cycles*|tr|grep|flock|timeout|make|ours|'') continue ;; VBoxSVC|VBoxXPCOMIPCD) continue ;; esac
    grep -q '^State:.Z' "$p/status" 2>/dev/null || echo "process $(tr '\0' ' ' 2>/dev/null <"$p/cmdline")"
  done
}
# locks on files of the store, by inode; files of the store and of libvirt that tell of it
count () {
  ours
  find "$CAPSTAN_ROOT" -path "$CAPSTAN_ROOT/locks" -prune -o -print | sort
  find "$CAPSTAN_ROOT" -type f -printf '%i\n' | while read -r n; do grep ":$n " /proc/locks || :; done
  case $CAPSTAN_HYPERVISOR in
    vbox) VBoxManage list vms; VBoxManage list hdds ;;
    kvm) for d in /etc/libvirt /run/libvirt /var/lib/libvirt /var/log/libvirt "$HOME"; do
        grep -rslF "$CAPSTAN_ROOT" "$d" || :; done ;;
  esac
}
# once before, so that what all instances share is there
status $((real * 3)) capstan run --rm $image
count >before

life () { # NAME KIND: the resources it had, by inspect, are collected
  case $2 in
    0) capstan run --rm --name "$1" $image >/dev/null ;;
    1) capstan run -d --name "$1" $image >/dev/null && capstan inspect "$1" >"$1.json" && capstan delete -f "$1" ;;
    2) capstan run -d --rm --name "$1" $image >/dev/null && { capstan inspect "$1" >"$1.json" || :; } ;;
    3) capstan run --name "$1" -f "auto:80" $image >/dev/null; capstan inspect "$1" >"$1.json" && capstan delete "$1" ;;
    4) capstan run -d --name "$1" --restart always $image >/dev/null && capstan inspect "$1" >"$1.json" && capstan delete -f "$1" ;;
  esac
}
worker () {
  n=0
  while [ $n -lt $each ]; do
    st=0; life "w$1-$n" $((n % 5)) 2>"w$1-$n.err" || st=$?
    case $((n % 5)):$st in 0:$((real * 3))|[1-4]:0) ;; *) { echo "w$1-$n: status $st"; cat "w$1-$n.err"; } >>bad ;; esac
    n=$((n + 1))
  done
}
for w in $workers; do worker $w & eval "w$w=\$!"; done
for w in $workers; do eval "wait \$w$w"; done
[ ! -e bad ] || { cat bad >&2; fail "of the lives"; }
# those with --rm are removed by their supervisors
none () { [ -z "$(ls "$CAPSTAN_ROOT"/instances/*/)" ]; }
wait_for 60 none
settled () { count >after; cmp -s before after; }
(wait_for 60 settled) || { diff before after >&2; fail "something is left, or lost"; }
# each thing by its own name
cat w*.json | python3 -c '
import json, sys, os
d = json.JSONDecoder (); t = sys.stdin.read (); seen = set ()
while t.strip ():
    i, n = d.raw_decode (t.lstrip ()); t = t.lstrip ()[n:]
    seen.update (i["resources"])
left = [r for r in seen if r.split (":")[0] in ("file", "folder", "socket") and os.path.exists (r.split (":", 1)[1])]
assert len (seen) > 20 and not left, (len (seen), left)' || fail "a resource is left"
