//! All of one practice machine that lasts between connections, reboots and restarts of the lab.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::docker::Docker;
use super::files::Files;
use super::tmux::Tmux;

/// One practice machine's inside. It is plain data: cloning it is a snapshot, and it round-trips through JSON.
#[derive(Serialize, Deserialize, Clone, Debug, Default)]
#[serde(default)]
pub struct HostState {
    /// The hostname.
    pub hostname: String,
    /// The VM's smbios uuid, lower case; shown in `/sys/class/dmi/id/product_uuid`.
    pub uuid: String,
    /// Which system runs, and since when.
    pub boot: Boot,
    /// The SSH host key, OpenSSH private key text; empty until the SSH server makes one. An installed system has its own.
    pub host_key: String,
    /// The key shown while `HostFaults::other_host_key` is set; made on first use.
    pub other_host_key: String,
    /// Files.
    pub files: Files,
    /// Installed packages, by name.
    pub packages: BTreeSet<String>,
    /// Services that the init system knows.
    pub services: BTreeMap<String, Service>,
    /// The container engine.
    pub docker: Docker,
    /// The tmux server of root.
    pub tmux: Tmux,
    /// Disks, in order.
    pub disks: Vec<Disk>,
    /// The tailscale daemon.
    pub tailnet: Tailnet,
}

/// Which system runs, and since when.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(default)]
pub struct Boot {
    /// `/proc/sys/kernel/random/boot_id`; another one after each boot.
    pub id: String,
    /// Seconds since 1970.
    pub at: i64,
    /// Where the root file system is.
    pub root: Root,
    /// Whose package manager and init system it has.
    pub distro: Distro,
    /// Kernel modules loaded by hand since the boot.
    pub modules: BTreeSet<String>,
    /// The kernel has not found the disks yet (`HostFaults::disks_hidden`).
    #[serde(skip)]
    pub disks_hidden: bool,
    /// Mounted partitions: directory to device.
    pub mounts: BTreeMap<String, String>,
}

/// Where the root file system is.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Root {
    /// On the first disk.
    #[default]
    Disk,
    /// In memory: a netboot. All but the disks is gone at the next boot.
    Memory,
}

/// Whose package manager and init system a machine has.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Distro {
    /// apk and OpenRC.
    #[default]
    Alpine,
    /// apt and systemd.
    Debian,
}

/// A service of the init system.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(default)]
pub struct Service {
    /// Started.
    pub running: bool,
    /// Runlevels that start it at boot.
    pub runlevels: BTreeSet<String>,
}

/// A disk.
#[derive(Serialize, Deserialize, Clone, Debug, Default)]
#[serde(default)]
pub struct Disk {
    /// `sda` (virtio-scsi) or `vda`.
    pub name: String,
    /// Size in bytes.
    pub bytes: u64,
    /// The system on it, while another one runs.
    pub system: Option<Box<HostState>>,
}

/// A tailscale daemon.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(default)]
pub struct Tailnet {
    /// `NoState`, `NeedsLogin`, `Stopped`, `Running`; empty while the daemon does not run.
    pub state: String,
    /// 100.64.0.0/10.
    pub ip: String,
}
