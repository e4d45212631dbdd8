//! The files that a kernel makes up: `/proc`, `/sys` and the disks in `/dev`.

use std::fmt::Write;

use super::state::Root;
use super::{HostState, time};

impl HostState {
    /// The content of a made-up file; none for a path that is not one.
    #[must_use]
    pub fn virtual_file(&self, path: &str) -> Option<String> {
        let up = time::now().saturating_sub(self.boot.at).max(0);
        Some(match path {
            "/proc/uptime" => format!("{up}.00 {up}.00\n"),
            "/proc/loadavg" => "0.00 0.01 0.05 1/123 4711\n".to_owned(),
            "/proc/version" => "Linux version 6.12.1-0-virt (gcc 14) #1-Alpine SMP\n".to_owned(),
            "/proc/cpuinfo" => {
                "processor\t: 0\nmodel name\t: QEMU Virtual CPU\n\nprocessor\t: 1\nmodel name\t: QEMU Virtual CPU\n\n".to_owned()
            }
            "/proc/meminfo" => "MemTotal:        2048000 kB\nMemFree:         1024000 kB\nMemAvailable:    1500000 kB\n".to_owned(),
            "/proc/cmdline" => self.cmdline(),
            "/proc/mounts" | "/etc/mtab" | "/proc/self/mounts" => self.mounts(),
            "/proc/partitions" => self.partitions(),
            "/proc/sys/kernel/random/boot_id" => format!("{}\n", self.boot.id),
            "/proc/sys/kernel/hostname" => format!("{}\n", self.hostname),
            "/sys/class/dmi/id/product_uuid" | "/sys/devices/virtual/dmi/id/product_uuid" => format!("{}\n", self.uuid),
            "/sys/class/dmi/id/product_serial" => format!("{}\n", self.hostname),
            "/sys/class/dmi/id/sys_vendor" => "QEMU\n".to_owned(),
            _ if self.is_block_device(path) => String::new(),
            _ => return self.disk_size(path),
        })
    }

    /// Whether a path is a disk or a partition of one.
    #[must_use]
    pub fn is_block_device(&self, path: &str) -> bool {
        let Some(name) = path.strip_prefix("/dev/").filter(|_| self.sees_disks()) else { return false };
        self.disks.iter().any(|disk| {
            let partitions = if disk.has_system(self.boot.root) { 3 } else { 0 };
            name == disk.name || (1..=partitions).any(|n| name == format!("{}{n}", disk.name))
        })
    }

    /// A netbooted kernel finds its disks when the driver is loaded; an installed one has it in its initramfs.
    #[must_use]
    pub fn sees_disks(&self) -> bool {
        let driven = self.boot.modules.contains("virtio_scsi") || self.disks.iter().any(|d| d.name.starts_with('v'));
        self.boot.root == Root::Disk || driven && !self.boot.disks_hidden
    }

    /// `/sys/block/sda/size`, in sectors of 512 bytes.
    fn disk_size(&self, path: &str) -> Option<String> {
        let name = path.strip_prefix("/sys/block/").or_else(|| path.strip_prefix("/sys/class/block/"))?.strip_suffix("/size")?;
        self.disks.iter().find(|disk| disk.name == name && self.sees_disks()).map(|disk| format!("{}\n", disk.bytes / 512))
    }

    fn root_device(&self) -> String {
        self.disks.first().map_or_else(|| "/dev/sda3".to_owned(), |disk| format!("/dev/{}3", disk.name))
    }

    fn cmdline(&self) -> String {
        match self.boot.root {
            Root::Memory => "ip=dhcp modules=loop,squashfs,sd-mod alpine_repo=http://10.0.0.191/alpine modloop=http://10.0.0.191/alpine/modloop-virt quiet\n".to_owned(),
            Root::Disk => format!("root={} modules=sd-mod,ext4 rootfstype=ext4 quiet\n", self.root_device()),
        }
    }

    fn mounts(&self) -> String {
        let mut text = match self.boot.root {
            Root::Memory => "tmpfs / tmpfs rw,relatime,mode=755 0 0\n".to_owned(),
            Root::Disk => {
                let device = self.root_device();
                format!("{device} / ext4 rw,relatime 0 0\n{} /boot ext4 rw,relatime 0 0\n", device.replace('3', "1"))
            }
        };
        for (dir, device) in &self.boot.mounts {
            let _ = writeln!(text, "{device} {dir} ext4 rw,relatime 0 0");
        }
        text.push_str("proc /proc proc rw,nosuid,nodev,noexec,relatime 0 0\nsysfs /sys sysfs rw,nosuid,nodev,noexec,relatime 0 0\ntmpfs /run tmpfs rw,nosuid,nodev 0 0\n");
        text
    }

    fn partitions(&self) -> String {
        let mut text = "major minor  #blocks  name\n\n".to_owned();
        for (i, disk) in self.disks.iter().enumerate().filter(|_| self.sees_disks()) {
            let _ = writeln!(text, "   8 {:8} {:10} {}", i * 16, disk.bytes / 1024, disk.name);
            for part in 1..=if disk.has_system(self.boot.root) { 3 } else { 0 } {
                let _ = writeln!(text, "   8 {:8} {:10} {}{part}", i * 16 + part, disk.bytes / 4096, disk.name);
            }
        }
        text
    }
}
