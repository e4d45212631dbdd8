//! The boundary between the world of the lab and a machine in it.

use std::time::Duration;

use super::host::HostState;

/// Misbehaviour that is asked for. Read at each connection, command and write, so a change acts at once.
#[derive(Clone, Debug, PartialEq)]
pub struct HostFaults {
    /// Waits this long before a command begins.
    pub slow: Duration,
    /// For so long after `serve` began, connections are accepted and closed without a word, as by a machine whose sshd is not up.
    pub sshd_late: Duration,
    /// The kernel has not found the disks yet.
    pub disks_hidden: bool,
    /// Every write says ENOSPC.
    pub disk_full: bool,
    /// The connection breaks when an upload (SFTP or stdin) has brought this many bytes.
    pub cut_upload_after: Option<u64>,
    /// A host key that nobody has seen before.
    pub other_host_key: bool,
    /// No key is let in.
    pub refuse_login: bool,
    /// Seconds that the save of a game's world takes, instead of the game's own; more than the stop's grace means exit 137 and an unsaved world.
    pub save_seconds: Option<u64>,
    /// Commands begin, and never end.
    pub hang: bool,
    /// Real seconds per second of the practice machine: 1.0 is real time, 0.01 makes a minute's wait 0.6 seconds.
    pub pace: f64,
}

impl Default for HostFaults {
    fn default() -> Self {
        Self {
            slow: Duration::ZERO,
            sshd_late: Duration::ZERO,
            disks_hidden: false,
            disk_full: false,
            cut_upload_after: None,
            other_host_key: false,
            refuse_login: false,
            save_seconds: None,
            hang: false,
            pace: 1.0,
        }
    }
}

/// The VM that an SSH server stands for, as the world of the lab keeps it.
pub trait Machine: Send + Sync + 'static {
    /// Runs `change` once, alone, on the machine's inside. Called often and briefly, also only to read: implementations hold a lock, and save later.
    fn with(&self, change: &mut dyn FnMut(&mut HostState));
    /// The machine switched itself off. Returns at once; the world stops serving it.
    fn power_off(&self);
    /// The machine restarted itself. Returns at once.
    fn reboot(&self);
    /// What another machine of the network serves at `http://host/path`: its status and bytes; none when nobody answers there.
    fn fetch(&self, host: &str, path: &str) -> Option<(u16, Vec<u8>)>;
    /// A program was started with these words: every user of the machine may read them while it runs.
    fn started(&self, _words: &[String]) {}
    /// How it misbehaves now.
    fn faults(&self) -> HostFaults;
}
