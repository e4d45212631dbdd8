//! A file system in memory: small on purpose, or gone without a trace.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::present;

/// One, mounted until the value is dropped.
pub struct Memory(PathBuf);

impl Memory {
    /// Mounts one of that size (`128k`) over a directory; `None` when the test is to be skipped.
    #[track_caller]
    pub fn mount(path: &Path, size: &str) -> Option<Self> {
        let mut command = Command::new("mount");
        command.args(["-t", "tmpfs", "-o", &format!("size={size},mode=755"), "none"]).arg(path);
        let works = command.output().is_ok_and(|out| out.status.success());
        present("mount, for a file system in memory", works.then_some(()))?;
        Some(Self(path.to_path_buf()))
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}
