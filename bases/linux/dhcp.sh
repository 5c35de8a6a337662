#!/bin/busybox sh
# Called by udhcpc in the initramfs with what the server said in the environment.
[ "$1" = bound ] || [ "$1" = renew ] || exit 0
b=/bin/busybox
$b ip addr add "$ip/${mask:-24}" dev "$interface"
for r in $router; do $b ip route add default via "$r" dev "$interface" && break; done
: > /etc/resolv.conf
[ -z "$domain" ] || echo "search $domain" >> /etc/resolv.conf
for d in $dns; do echo "nameserver $d" >> /etc/resolv.conf; done
