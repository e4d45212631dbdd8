//! A VM of the lab: its configuration, its power, what its guest is, and the moment each phase of a boot comes.

use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

use super::config::Config;

/// Seconds of a genuine node from power on until the guest's kernel runs: before it, ACPI is not heard.
pub const KERNEL_AFTER: f64 = 4.0;
/// Until the guest agent answers.
pub const AGENT_AFTER: f64 = 14.0;
/// Until the guest agent names addresses.
pub const ADDRESS_AFTER: f64 = 17.0;
/// Until sshd answers.
pub const SSHD_AFTER: f64 = 19.0;
/// What `agent-late` and `sshd-late` add.
pub const LATE_BY: f64 = 60.0;
/// How long a guest takes to shut down when asked.
pub const SHUTDOWN_TAKES: f64 = 6.0;

/// What runs inside a VM.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Guest {
    /// Firmware that found nothing to boot: no agent, deaf to ACPI.
    Nothing,
    /// The image that the network boot server hands out: it lives in memory.
    Netboot,
    /// A system installed on the disk.
    Installed,
}

/// A VM that is switched on.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Run {
    /// Process id of its QEMU.
    pub pid: u32,
    /// Unix seconds when QEMU was started.
    pub started: f64,
    /// Unix seconds when the guest began to boot: later than `started` after a reset.
    pub booted: f64,
    /// Whether its CPUs are stopped.
    pub paused: bool,
    /// Whether the agent's socket exists: it does when `agent` was on at the start.
    pub agent_socket: bool,
    /// What was booted.
    pub guest: Guest,
}

/// One VM.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Vm {
    /// Its configuration file.
    pub config: Config,
    /// Present while it is switched on.
    pub run: Option<Run>,
    /// The address that its network gives it.
    pub address: Ipv4Addr,
    /// Whether its disk holds a system that boots.
    pub installed: bool,
    /// Whether Docker's bridge shows among its interfaces.
    pub docker: bool,
}

impl Vm {
    /// A VM that is switched off, with an empty disk.
    pub const fn new(config: Config, address: Ipv4Addr) -> Self {
        Self { config, run: None, address, installed: false, docker: false }
    }

    /// Whether it is switched on.
    pub const fn running(&self) -> bool {
        self.run.is_some()
    }

    /// The name under which lists show it: `VM 102` when it has none.
    pub fn name(&self, vmid: u32) -> String {
        self.config.get("name").map_or_else(|| format!("VM {vmid}"), str::to_owned)
    }

    /// `status` of the lists.
    pub const fn status(&self) -> &'static str {
        if self.running() { "running" } else { "stopped" }
    }

    /// `qmpstatus`: tells a paused VM from a running one.
    pub fn qmp_status(&self) -> &'static str {
        match &self.run {
            None => "stopped",
            Some(run) if run.paused => "paused",
            Some(_) => "running",
        }
    }

    /// MAC address of `net0`, upper case as the configuration holds it.
    pub fn mac(&self) -> Option<String> {
        let (_, net) = self.config.nets().into_iter().next()?;
        let model = net.split(',').next()?;
        let (_, mac) = model.split_once('=')?;
        Some(mac.to_owned())
    }

    /// The uuid of `smbios1`.
    pub fn uuid(&self) -> Option<String> {
        let smbios = self.config.get("smbios1")?;
        smbios.split(',').find_map(|part| part.strip_prefix("uuid=")).map(str::to_owned)
    }

    /// What a start would boot: the first device of the boot order that has something; an empty disk falls through to the network.
    pub fn boots(&self, netboot: bool) -> Guest {
        for device in self.config.boot_order() {
            let value = self.config.get(&device).unwrap_or("");
            if device.starts_with("net") {
                if netboot && !value.is_empty() {
                    return Guest::Netboot;
                }
            } else if self.installed && !value.is_empty() && !value.contains("media=cdrom") {
                return Guest::Installed;
            }
        }
        Guest::Nothing
    }
}
