//! A machine as a process on it sees it: its files with those that the kernel makes up, its time, and the signal to end.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use super::run::Program;
use crate::lab::host::files::{FileError, Files, Kind, Node as FileNode};
use crate::lab::host::{HostState, time};
use crate::lab::machine::Machine;

/// Commands that one exec may run; a script that goes on for ever ends here, with 137.
const BUDGET: u64 = 200_000;

/// The machine seen from a process: which one, inside of what, as whom.
#[derive(Clone)]
pub struct World {
    /// The machine.
    pub machine: Arc<dyn Machine>,
    /// The container that the process runs in; none on the host itself.
    pub container: Option<String>,
    /// The disk whose system the process is confined to by `chroot`.
    pub chroot: Option<String>,
    /// The user's name.
    pub user: String,
    /// Set when the process is to end.
    pub cancel: Arc<AtomicBool>,
    /// Finds a program by name, given whether it is wanted inside a container.
    pub programs: fn(&World, &str) -> Option<Program>,
    spent: Arc<AtomicU64>,
}

impl World {
    /// The host itself, seen by `user`.
    #[must_use]
    pub fn new(machine: Arc<dyn Machine>, user: &str, programs: fn(&World, &str) -> Option<Program>) -> Self {
        Self { machine, container: None, chroot: None, user: user.to_owned(), cancel: Arc::default(), programs, spent: Arc::default() }
    }

    /// Runs `act` on the machine's inside.
    pub fn host<R>(&self, act: impl FnOnce(&mut HostState) -> R) -> R {
        let faults = self.machine.faults();
        let (mut act, mut result) = (Some(act), None);
        self.machine.with(&mut |host| {
            host.files.full = faults.disk_full;
            host.boot.disks_hidden = faults.disks_hidden;
            host.settle(time::now_ms());
            let confined = self
                .chroot
                .as_ref()
                .and_then(|name| host.disks.iter_mut().find(|d| d.name == *name))
                .and_then(|disk| disk.system.as_deref_mut());
            // Made before `act` is asked for: it can be given only one of the two.
            let target = match confined {
                Some(system) => system,
                None => &mut *host,
            };
            result = act.take().map(|act| act(target));
        });
        result.expect("Machine::with runs its change")
    }

    /// Runs `act` on the files that this process sees.
    pub fn files<R>(&self, act: impl FnOnce(&mut Files) -> R) -> R {
        self.host(|host| match self.container.as_ref().and_then(|name| host.docker.containers.get_mut(name)) {
            Some(container) => act(&mut container.files),
            None => act(&mut host.files),
        })
    }

    /// The content of a file, those of `/proc` and `/sys` included.
    pub fn read(&self, path: &str) -> Result<Vec<u8>, FileError> {
        if path == "/dev/null" {
            return Ok(Vec::new());
        }
        let inside = self.container.as_ref().and_then(|name| self.host(|host| host.nginx_sockets(name, path)));
        if let Some(text) = inside.or_else(|| self.host(|host| host.virtual_file(path))) {
            return Ok(text.into_bytes());
        }
        self.files(|files| files.read(path)).map(|bytes| bytes.to_vec())
    }

    /// What `ls -l` shows of the files that a container's nginx has open, when `path` is such a directory: its sockets.
    pub fn open_files(&self, path: &str) -> Option<String> {
        let container = self.container.as_ref().filter(|_| path.starts_with("/proc/") && path.ends_with("/fd"))?;
        let tables =
            ["/proc/net/tcp", "/proc/net/udp"].map(|table| self.host(|host| host.nginx_sockets(container, table)).unwrap_or_default());
        let inodes = tables.iter().flat_map(|table| table.lines().skip(1)).filter_map(|row| row.split_whitespace().nth(9));
        let line = |(at, inode): (usize, &str)| {
            format!("lrwx------    1 root     root            64 1970-01-01 00:00 {} -> socket:[{inode}]\n", at + 6)
        };
        Some(inodes.enumerate().map(line).collect())
    }

    /// What stands at a path, those of `/proc`, `/sys` and `/dev` included.
    pub fn stat(&self, path: &str, follow: bool) -> Result<FileNode, FileError> {
        if let Some(text) = self.host(|host| host.virtual_file(path)) {
            return Ok(FileNode { kind: Kind::File(Arc::new(text.into_bytes())), mode: 0o444, uid: 0, gid: 0, mtime: 0 });
        }
        self.files(|files| if follow { files.stat(path).cloned() } else { files.lstat(path).cloned() })
    }

    /// Waits so many seconds of the machine's time; false when the process is to end instead.
    #[must_use]
    pub fn wait(&self, seconds: f64) -> bool {
        let pace = self.machine.faults().pace.clamp(0.0, 1000.0);
        let mut left = Duration::try_from_secs_f64((seconds * pace).clamp(0.0, 1e6)).unwrap_or_default();
        while !left.is_zero() && !self.cancelled() {
            let step = left.min(Duration::from_millis(10));
            time::pause(step);
            left -= step;
        }
        !self.cancelled()
    }

    /// Counts a command; false when there have been too many.
    pub(super) fn spend(&self) -> bool {
        self.spent.fetch_add(1, Ordering::Relaxed) <= BUDGET
    }

    /// Whether the process is to end.
    #[must_use]
    pub fn cancelled(&self) -> bool {
        self.cancel.load(Ordering::Relaxed)
    }
}
