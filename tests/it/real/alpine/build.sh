#!/bin/sh
# [KERNEL=ROOT] build.sh OUT: a web root for machines that boot from the network, as an Alpine mirror and its netboot files are one, made of this machine's own
# programs: kernel (below ROOT when it is only unpacked there), busybox, sshd, e2fsprogs, extlinux, the guest agent. What Alpine itself would bring (setup-alpine, apk, rc-update, lbu) are the
# stand-ins beside this file.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
out=$1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
kernels=${KERNEL:-}
kernel=$(ls "$kernels"/boot/vmlinuz-*-cloud-amd64 | sort -V | tail -n 1)
version=${kernel##*/vmlinuz-}

# take ROOT PROGRAM…: programs with the libraries that they need.
take() {
  root=$1; shift
  for program; do
    install -D -m 755 "$program" "$root$program"
    ldd "$program" 2>/dev/null | grep -o '/[^ ]*' | while read -r library; do
      [ -e "$root$library" ] || install -D -m 755 "$library" "$root$library"
    done
  done
}

# drivers ROOT NAME…: kernel modules with those that they need.
drivers() {
  root=$1; shift
  for name; do
    modprobe -d "$kernels/" -S "$version" --show-depends "$name" | sed -n 's/^insmod \([^ ]*\).*/\1/p' | while read -r file; do
      install -D -m 644 "$file" "$root/lib/modules/${file#*/lib/modules/}"
    done
  done
  cp "$kernels/lib/modules/$version/modules.builtin" "$kernels/lib/modules/$version/modules.order" "$root/lib/modules/$version/"
  busybox depmod -b "$root" "$version"
}

shell() {
  mkdir -p "$1/bin" "$1/sbin" "$1/proc" "$1/sys" "$1/dev" "$1/tmp" "$1/run" "$1/var/log" "$1/mnt" "$1/root/.ssh"
  chmod 700 "$1/root" "$1/root/.ssh"
  cp /bin/busybox "$1/bin/busybox"
  for name in $(busybox --list); do [ -e "$1/bin/$name" ] || ln -s busybox "$1/bin/$name"; done
  install -D -m 755 "$here/dhcp.sh" "$1/usr/share/udhcpc/default.script"
}

# What the kernel unpacks first.
first=$work/first
shell "$first"
install -m 755 "$here/init.sh" "$first/init"
ln -s ../bin/busybox "$first/sbin/modprobe"
drivers "$first" virtio_pci virtio_net virtio_scsi sd_mod
(cd "$first" && find . | cpio --quiet -o -H newc | gzip -1) >"$work/initramfs-virt"

# What Alpine's initramfs installs from the repository.
base=$work/base
shell "$base"
# Debian's busybox shell runs its own programs whatever PATH says; dash looks.
rm "$base/bin/sh" "$base/bin/wget"
take "$base" /bin/dash /usr/sbin/sshd /usr/bin/ssh-keygen /usr/lib/openssh/sftp-server
drivers "$base" virtio_pci virtio_net virtio_scsi virtio_blk sd_mod virtio_console
ln -s ../bin/busybox "$base/sbin/init"
ln -s ../bin/busybox "$base/sbin/modprobe"
install -d "$base/etc/init.d" "$base/etc/runlevels/default" "$base/etc/apk" "$base/etc/ssh" "$base/etc/network"
for name in setup-alpine apk rc-update chpasswd lbu; do install -m 755 "$here/$name.sh" "$base/sbin/$name"; done
ln -s dash "$base/bin/sh"
install -m 755 "$here/wget.sh" "$base/bin/wget"
install -m 755 "$here/rc.sh" "$base/etc/rc"
install -m 755 "$here/sshd.sh" "$base/etc/init.d/sshd"
echo '::sysinit:/etc/rc' >"$base/etc/inittab"
echo 3.22.1 >"$base/etc/alpine-release"
echo localhost >"$base/etc/hostname"
printf '127.0.0.1\tlocalhost\n' >"$base/etc/hosts"
printf 'root:x:0:0:root:/root:/bin/sh\nsshd:x:22:22:sshd:/run/sshd:/bin/false\n' >"$base/etc/passwd"
printf 'root:x:0:\nsshd:x:22:\n' >"$base/etc/group"
printf 'root::20000:0:::::\nsshd:!:20000:0:::::\n' >"$base/etc/shadow"
chmod 640 "$base/etc/shadow"
printf 'PermitRootLogin prohibit-password\nUsePAM no\nSubsystem sftp /usr/lib/openssh/sftp-server\n' >"$base/etc/ssh/sshd_config"

# Packages.
agent=$work/qemu-guest-agent
take "$agent" /usr/sbin/qemu-ga
install -D -m 755 "$here/agent.sh" "$agent/etc/init.d/qemu-guest-agent"
take "$work/e2fsprogs" /usr/sbin/mke2fs
take "$work/syslinux" /usr/bin/extlinux
install -D -m 644 /usr/lib/syslinux/mbr/mbr.bin "$work/syslinux/usr/share/syslinux/mbr.bin"
install -D -m 644 "$kernel" "$work/linux-virt/boot/vmlinuz-virt"
install -D -m 644 "$work/initramfs-virt" "$work/linux-virt/boot/initramfs-virt"

mirror=$out/alpine/v3.22
mkdir -p "$mirror/main" "$mirror/community" "$out/boot"
pack() { tar --owner=0 --group=0 -cf - -C "$1" . | gzip -1 >"$2"; }
pack "$base" "$mirror/main/alpine-base.tar.gz"
for name in e2fsprogs syslinux linux-virt; do pack "$work/$name" "$mirror/main/$name.tar.gz"; done
pack "$agent" "$mirror/community/qemu-guest-agent.tar.gz"
cp "$kernel" "$out/boot/vmlinuz-virt"
cp "$work/initramfs-virt" "$out/boot/initramfs-virt"
chmod -R go+rX "$out"
