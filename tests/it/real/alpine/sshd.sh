#!/bin/sh
# The service: a machine without a host key makes one.
mkdir -p /run/sshd
[ -f /etc/ssh/ssh_host_ed25519_key ] || ssh-keygen -q -t ed25519 -N '' -C '' -f /etc/ssh/ssh_host_ed25519_key
/usr/sbin/sshd -o HostKey=/etc/ssh/ssh_host_ed25519_key
