#!/bin/sh
# It boots machines.
# A web server of the distribution, with its libraries and data, that answers through -f;
# what stands in the way of a second one; stopping, and cleaning up.
. "$top_srcdir/tests/functions.sh"
use_linux_base
requires test -x /usr/sbin/lighttpd
requires curl --version
requires python3 --version
requires capstan plugin info kvm
virsh -q list >/dev/null 2>&1 || skip "libvirt does not answer here (tools/start-libvirt starts it)"

mkdir ex; cp -r "$top_srcdir/examples/web" "$top_srcdir/examples/collect" ex/; chmod -R u+w ex
status 0 capstan build -C ex/web web
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
status 0 capstan run -d --name web -f "$port:80" web
cleanup 'capstan delete -f web >/dev/null 2>&1'
wait_for 60 curl -sf "http://127.0.0.1:$port/"
curl -sf "http://127.0.0.1:$port/" | grep -q 'Served from a virtual machine' || fail "wrong page"
# a second one of the same image at the same time, while the first still answers
status 0 capstan run --rm -e '/usr/sbin/lighttpd -v' web
out_has lighttpd
curl -sf "http://127.0.0.1:$port/" >/dev/null || fail "the first is gone"
status 0 capstan instances
out_has running
# what is in the way is said
status 125 capstan run --rm -f "$port:80" web
err_has "port $port"
status 4 capstan delete web
# a stop that comes before the guest listens is heeded all the same
status 0 capstan run -d --name early web
cleanup 'capstan delete -f early >/dev/null 2>&1'
status 0 capstan stop -t 60 early
err_lacks "powering it off"
status 0 capstan delete early
status 0 capstan stop web
err_lacks "powering it off"
status 0 capstan instances
out_has stopped
status 4 capstan rmi web
status 0 capstan delete web
status 0 capstan rmi web
