//! Putting a system on a disk, and looking at it there.

use super::HostState;
use super::state::{Boot, Root};

impl HostState {
    /// Puts the running system on a disk: its `/etc` and host key go along, as setup-alpine takes them, its programs do not. Replaces what was there.
    pub fn install(&mut self, disk: &str) {
        let hostname = self.hostname.clone();
        let mut system = Self::alpine(&hostname, &self.uuid);
        let etc: Vec<(String, Vec<u8>, u32)> = {
            let files = self.files.iter().filter(|(path, _)| path.starts_with("/etc/") || path.starts_with("/root/.ssh/"));
            let content = |path: &str| self.files.read(path).map(|bytes| bytes.to_vec());
            files.filter_map(|(path, node)| content(path).ok().map(|bytes| (path.to_owned(), bytes, node.mode))).collect()
        };
        for (path, bytes, mode) in etc {
            system.put(&path, "");
            system.files.write(&path, bytes, mode).ok();
            system.files.change(&path, true, |n| n.mode = mode).ok();
        }
        system.put("/etc/fstab", &format!("/dev/{disk}3\t/\text4\trw,relatime 0 1\n/dev/{disk}1\t/boot\text4\trw,relatime 0 2\n"));
        system.put("/boot/vmlinuz-virt", "practice kernel\n");
        system.host_key.clone_from(&self.host_key);
        system.packages = self.packages.clone();
        system.packages.insert("linux-virt".to_owned());
        system.services.clone_from(&self.services);
        system.boot = Boot { root: Root::Disk, distro: self.boot.distro, ..Boot::default() };
        if let Some(disk) = self.disks.iter_mut().find(|d| d.name == disk) {
            disk.system = Some(Box::new(system));
        }
    }

    /// The disk of a partition that holds a system's root: `/dev/sda3` is on `sda`.
    #[must_use]
    pub fn disk_of_root(&self, device: &str) -> Option<String> {
        let name = device.strip_prefix("/dev/")?.strip_suffix('3')?;
        self.disks.iter().find(|d| d.name == name && d.system.is_some()).map(|d| d.name.clone())
    }

    /// Shows a partition's files at a directory; false when there is no such partition.
    pub fn mount(&mut self, device: &str, dir: &str) -> bool {
        let Some(name) = self.disk_of_root(device) else { return false };
        let Some(files) = self.disks.iter().find(|d| d.name == name).and_then(|d| d.system.as_ref()).map(|s| s.files.clone()) else {
            return false;
        };
        self.files.graft(dir, &files);
        self.boot.mounts.insert(dir.to_owned(), device.to_owned());
        true
    }

    /// Writes what is at a mounted directory back to its disk.
    pub fn sync_mount(&mut self, dir: &str) {
        let disk = self.boot.mounts.get(dir).and_then(|device| self.disk_of_root(device));
        let files = self.files.subtree(dir);
        if let Some(system) = self.disks.iter_mut().find(|d| Some(&d.name) == disk.as_ref()).and_then(|d| d.system.as_mut()) {
            system.files = files;
        }
    }

    /// Ends a mount; a directory that is none stays as it is.
    pub fn unmount(&mut self, dir: &str) {
        if self.boot.mounts.contains_key(dir) {
            self.sync_mount(dir);
            self.files.clear_below(dir);
            self.boot.mounts.remove(dir);
        }
    }
}
