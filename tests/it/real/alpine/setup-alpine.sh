#!/bin/sh
# setup-alpine as far as an unattended installation meets it: the answer file is sourced, and every answer must be one that the real program takes without
# a question; then a disk is partitioned, filled, and made bootable. What it saw is left in /var/log for the test.
die() { echo "setup-alpine: $*" >&2; exit 1; }

# For the test, on a machine of its own: what anybody there could see meanwhile.
! grep -q alpine_repo= /proc/cmdline || cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ 2>/dev/null | tr '\000' '\n' >>/var/log/seen
printf '%s\n' "$@" >/var/log/arguments
[ "$#" = 3 ] && [ "$1" = -e ] && [ "$2" = -f ] || die "expected -e -f FILE, and got $*"
[ -f "$3" ] || die "no answer file $3"
stat -c %a "$3" >/var/log/mode
cp "$3" /var/log/answers
# A question to a closed input is asked for ever.
! IFS= read -r line || die "standard input is open and says $line"
[ ! -f /etc/pmx-test ] || . /etc/pmx-test
. "$3"

is() { [ "$2" = "$3" ] || die "$1 is '$2', not '$3'"; }
is KEYMAPOPTS "$KEYMAPOPTS" "us us"
is DEVDOPTS "$DEVDOPTS" mdev
is TIMEZONEOPTS "$TIMEZONEOPTS" UTC
is PROXYOPTS "$PROXYOPTS" none
is APKREPOSOPTS "$APKREPOSOPTS" "-c -1"
is USEROPTS "$USEROPTS" none
is SSHDOPTS "$SSHDOPTS" openssh
is NTPOPTS "$NTPOPTS" chrony
is LBUOPTS "$LBUOPTS" none
is APKCACHEOPTS "$APKCACHEOPTS" none
set -- $HOSTNAMEOPTS
[ "$#" = 2 ] && [ "$1" = -n ] || die "HOSTNAMEOPTS is '$HOSTNAMEOPTS'"
hostname=$2
is INTERFACESOPTS "$INTERFACESOPTS" "auto lo
iface lo inet loopback

auto eth0
iface eth0 inet dhcp
	hostname $hostname
"
for server in $DNSOPTS; do case $server in *[!0-9a-f.:]*) die "DNSOPTS is '$DNSOPTS'" ;; esac; done
case $ROOTSSHKEY in "ssh-"*) ;; *) die "ROOTSSHKEY is '$ROOTSSHKEY'" ;; esac
set -- $DISKOPTS
[ "$#" = 3 ] && [ "$1" = -m ] && [ "$2" = sys ] || die "DISKOPTS is '$DISKOPTS'"
disk=$3
[ -b "$disk" ] || die "$disk is not a block device"
if [ "$ERASE_DISKS" != "$disk" ]; then
  printf 'WARNING: The following disk(s) will be erased:\n  %s\nWARNING: Erase the above disk(s) and continue? (y/n) [n] \n' "$disk"
  exit 1
fi

hostname "$hostname"
echo "$hostname" >/etc/hostname
printf '%s' "$INTERFACESOPTS" >/etc/network/interfaces
# Appended, as setup-sshd does it.
printf '%s\n' "$ROOTSSHKEY" >>/root/.ssh/authorized_keys
repository=$(grep -m 1 '/main$' /etc/apk/repositories)
printf '%s\n#%s/community\n' "$repository" "${repository%/main}" >/etc/apk/repositories
rc-update add sshd default
apk add e2fsprogs syslinux || exit 1

echo "Creating file systems..."
dd if=/dev/zero of="$disk" bs=1M count=1 2>/dev/null
printf 'o\nn\np\n1\n2048\n100351\nn\np\n2\n100352\n116735\nn\np\n3\n116736\n\nt\n2\n82\na\n1\nw\n' | fdisk -u "$disk" >/var/log/fdisk 2>&1 || die "fdisk failed: $(cat /var/log/fdisk)"
blockdev --rereadpt "$disk" 2>/dev/null
for look in 1 2 3 4 5 6 7 8 9 10; do [ ! -b "${disk}3" ] || break; sleep 0.2; done
mke2fs -q -t ext4 -O ^64bit -F "${disk}1" && mke2fs -q -t ext4 -F "${disk}3" && mkswap "${disk}2" >/dev/null || exit 1
mount -t ext4 "${disk}3" /mnt && mkdir /mnt/boot && mount -t ext4 "${disk}1" /mnt/boot || exit 1
echo "Installing system on ${disk}3:"
# The overlay, with passwords and host keys, then the packages.
lbu package - | tar -xz -C /mnt
(cd / && tar -c bin sbin usr lib lib64) | tar -x -C /mnt
mkdir -p /mnt/proc /mnt/sys /mnt/dev /mnt/run /mnt/tmp /mnt/mnt /mnt/var/log
# As of lbu: root's keys do not go along by themselves.
rm -rf /mnt/root && mkdir -m 700 /mnt/root
printf '%s\t/\text4\trw,relatime 0 1\n%s\t/boot\text4\trw,relatime 0 2\n%s\tswap\tswap\tdefaults\t0 0\n' "${disk}3" "${disk}1" "${disk}2" >/mnt/etc/fstab
wget -q -O - "$repository/linux-virt.tar.gz" | tar -xz -C /mnt || die "no kernel"
printf 'DEFAULT virt\nLABEL virt\n  LINUX vmlinuz-virt\n  INITRD initramfs-virt\n  APPEND root=%s3 rootfstype=ext4 console=ttyS0 quiet\n' "$disk" >/mnt/boot/extlinux.conf
extlinux --install /mnt/boot 2>/dev/null || die "extlinux failed"
dd if=/usr/share/syslinux/mbr.bin of="$disk" bs=440 count=1 conv=notrunc 2>/dev/null
umount /mnt/boot && umount /mnt || exit 1
echo
echo "Installation is complete. Please reboot."
