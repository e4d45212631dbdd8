#!/bin/sh
# The first program of a machine: as Alpine's initramfs does, it boots from the disk when the command line names a root, else from the network, with the
# base system in memory and the overlay over it. An overlay that cannot be had is passed over without a word.
export PATH=/sbin:/bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
option() { for word in $(cat /proc/cmdline); do case $word in "$1="*) echo "${word#*=}" ;; esac; done; }
die() { echo "init: $*" >/dev/console; sleep 2; poweroff -f; }

modprobe virtio_pci
mkdir -p /sysroot
root=$(option root)
if [ -n "$root" ]; then
  modprobe virtio_scsi
  modprobe sd_mod
  look=0
  while [ ! -b "$root" ] && [ "$look" -lt 300 ]; do look=$((look + 1)); sleep 0.1; done
  mount -t ext4 "$root" /sysroot || die "no root at $root"
else
  modprobe virtio_net
  ip link set eth0 up
  udhcpc -s /usr/share/udhcpc/default.script -q -n -t 20 -i eth0 >/dev/null 2>&1 || die "no DHCP"
  mount -t tmpfs -o mode=755 tmpfs /sysroot
  wget -q -O /base.tar.gz "$(option alpine_repo)/alpine-base.tar.gz" && tar -xzf /base.tar.gz -C /sysroot || die "no base system"
  rm /base.tar.gz
  cp /etc/resolv.conf /sysroot/etc/resolv.conf
  option alpine_repo >/sysroot/etc/apk/repositories
  overlay=$(option apkovl)
  case $overlay in *'{MAC}'*) overlay=${overlay%%'{MAC}'*}$(cat /sys/class/net/eth0/address)${overlay#*'{MAC}'} ;; esac
  wget -q -O /ovl.tar.gz "$overlay" 2>/dev/null && tar -xzf /ovl.tar.gz -C /sysroot 2>/dev/null && chmod 700 /sysroot/root
fi
mount -o move /dev /sysroot/dev
umount /sys
umount /proc
exec switch_root /sysroot /sbin/init
