//! A netbooted Alpine without a machine: the base system of [`super::guest`] behind an sshd, in a root of its own in memory, with the uuid and the disks
//! that a test gives it. Its disks are files: good for being looked at, refused or wiped.

use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::memory::Memory;
use super::sshd::{Sshd, Wanted};
use super::{present, run};

/// Enters the root and runs what was asked for there. `/proc` is this machine's, but for the disks.
const ENTER: &str = r#"#!/bin/sh
cd "$HOME/root" && exec unshare -m -u sh -c '
  mount --bind /proc proc && mount --bind partitions proc/partitions && HOME=/root exec chroot . /bin/sh -c "$SSH_ORIGINAL_COMMAND"'
"#;

/// A running cell.
pub struct Cell {
    /// The way in.
    pub sshd: Sshd,
    _memory: Memory,
    _enter: tempfile::TempDir,
}

impl Cell {
    /// Starts one from the base system's archive; `None` when the test is to be skipped.
    #[track_caller]
    pub fn start(base: &Path, uuid: &str) -> Option<Self> {
        let enter = tempfile::Builder::new().prefix("pmx-cell-").tempdir().expect("a temporary directory can be made");
        let script = enter.path().join("enter");
        std::fs::write(&script, ENTER).expect("a script can be written");
        run(Command::new("chmod").arg("755").arg(&script).arg(enter.path()));
        let sshd = Wanted::default().option("ForceCommand", &script.display().to_string()).start()?;
        let root = sshd.home().join("root");
        std::fs::create_dir_all(&root).expect("a folder can be made");
        let memory = Memory::mount(&root, "256m")?;
        run(Command::new("tar").arg("-xzpf").arg(base).arg("-C").arg(&root));
        let cell = Self { sshd, _memory: memory, _enter: enter };
        for (name, minor) in [("null", "3"), ("zero", "5"), ("urandom", "9")] {
            run(Command::new("mknod").arg("-m").arg("666").arg(cell.path(&format!("dev/{name}"))).args(["c", "1", minor]));
        }
        cell.write("root/.ssh/authorized_keys", "ssh-ed25519 AAAA somebody\n");
        cell.write("sys/class/dmi/id/product_uuid", uuid);
        cell.disks(&[]);
        let works = cell.sshd.client().arg("cat /etc/alpine-release").output().is_ok_and(|out| out.status.success());
        present("a mount namespace of its own", works.then_some(()))?;
        Some(cell)
    }

    /// A path of this machine inside the cell.
    pub fn path(&self, path: &str) -> PathBuf {
        self.sshd.home().join("root").join(path)
    }

    /// Puts a file into it.
    pub fn write(&self, path: &str, text: &str) {
        let path = self.path(path);
        std::fs::create_dir_all(path.parent().unwrap_or(&path)).expect("a folder can be made");
        std::fs::write(&path, text).expect("a file can be written");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).expect("a mode can be set");
    }

    /// Gives it these disks and partitions, `sda` and `sda1`, each of 2 MiB of zeros, in place of those it had.
    pub fn disks(&self, names: &[&str]) {
        let lines = names.iter().enumerate().map(|(at, name)| format!("   8 {at:8} {:10} {name}\n", 2048));
        self.write("partitions", &format!("major minor  #blocks  name\n\n{}", lines.collect::<String>()));
        for name in names {
            let file = std::fs::File::create(self.path(&format!("dev/{name}"))).expect("a disk can be made");
            file.set_len(2 << 20).expect("a disk can be long");
        }
    }

    /// Writes a text where a file system of a partition has its mark.
    pub fn mark(&self, name: &str, text: &str) {
        let mut file = std::fs::File::options().write(true).open(self.path(&format!("dev/{name}"))).expect("the disk is there");
        file.seek(SeekFrom::Start(1024)).and_then(|_| file.write_all(text.as_bytes())).expect("a disk can be written");
    }

    /// What stands there.
    pub fn marked(&self, name: &str) -> String {
        let mut bytes = [0; 64];
        let mut file = std::fs::File::open(self.path(&format!("dev/{name}"))).expect("the disk is there");
        file.seek(SeekFrom::Start(1024)).and_then(|_| file.read_exact(&mut bytes)).expect("a disk can be read");
        String::from_utf8_lossy(&bytes).trim_end_matches('\0').to_owned()
    }
}
