#!/bin/sh
# What udhcpc runs when it has an address.
case $1 in
  bound | renew)
    ip address flush dev "$interface"
    ip address add "$ip/${mask:-24}" dev "$interface"
    [ -z "$router" ] || ip route replace default via "${router%% *}"
    mkdir -p /etc
    for server in $dns; do echo "nameserver $server"; done >/etc/resolv.conf
    ;;
esac
