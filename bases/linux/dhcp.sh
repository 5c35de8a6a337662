#!/bin/busybox sh
# Called by udhcpc in the initramfs with what the server said in the environment: at first
# and again when the lease was renewed, perhaps with another address.
[ "$1" = bound ] || [ "$1" = renew ] || exit 0
b=/bin/busybox
if ! $b ip -4 addr show dev "$interface" | $b grep -qF " inet $ip/"; then
  $b ip -4 addr flush dev "$interface"
  $b ip addr add "$ip/${mask:-24}" dev "$interface"
fi
$b ip route | $b grep -q "^default .* dev $interface" ||
  for r in $router; do $b ip route add default via "$r" dev "$interface" && break; done
: > /etc/resolv.conf
[ -z "$domain" ] || echo "search $domain" >> /etc/resolv.conf
for d in $dns; do echo "nameserver $d" >> /etc/resolv.conf; done
# whoever waits for the first address
echo bound >&9
