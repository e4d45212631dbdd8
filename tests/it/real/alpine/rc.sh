#!/bin/sh
# What comes up with the machine: file systems, name, network, and the services of the default runlevel.
export PATH=/usr/sbin:/usr/bin:/sbin:/bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mkdir -p /dev/pts
mount -t devpts devpts /dev/pts
mount -t tmpfs -o mode=755 tmpfs /run
mount -o remount,rw /
hostname -F /etc/hostname
ip link set lo up
if ! ip -4 address show eth0 2>/dev/null | grep -q inet; then
  modprobe virtio_net
  ip link set eth0 up
  udhcpc -s /usr/share/udhcpc/default.script -q -n -t 20 -i eth0 >/dev/null 2>&1
fi
for service in /etc/runlevels/default/*; do [ ! -x "$service" ] || "$service" start; done
echo "pmx-guest: $(hostname) is up from $(awk '$2 == "/" {root = $1} END {print root}' /proc/mounts)" >/dev/console
