//! The world that the lab simulates: a node, its VMs, storages, accounts and tasks, as plain data that is saved whole.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

pub mod account;
pub mod config;
pub mod seed;
pub mod storage;
pub mod task;
pub mod vm;

use crate::lab::faults::{Fault, FaultKind};
use account::Accounts;
use seed::Seed;
use storage::Shelf;
use task::Ledger;
use vm::{AGENT_AFTER, Guest, LATE_BY, Run, SSHD_AFTER, Vm};

/// Password of `root@pam` in every new lab: known on purpose, it opens nothing real.
pub const ROOT_PASSWORD: &str = "pmx-lab";

/// Which node this is.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Site {
    /// The node's name.
    pub node: String,
    /// What it began with.
    pub seed: Seed,
    /// Unix seconds of the node's boot: `pstart` counts from here.
    pub booted: f64,
}

/// What tickets are signed with.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Keys {
    /// Random text, made with the world.
    pub secret: String,
    /// Raised when all tickets shall be void.
    pub epoch: u32,
}

/// A resource pool.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Pool {
    /// The text given with it.
    pub comment: Option<String>,
    /// Its VMs.
    pub vms: BTreeSet<u32>,
}

/// How far a VM's boot has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// Switched off.
    Off,
    /// Firmware and kernel.
    Booting,
    /// The guest agent answers.
    Agent,
    /// sshd answers too.
    Up,
}

/// Everything.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct World {
    /// Version of this layout: a lab refuses another's state instead of guessing.
    pub format: u32,
    /// Which node.
    pub site: Site,
    /// Ticket keys.
    pub keys: Keys,
    /// Seconds that the clock was moved by.
    pub clock_offset: i64,
    /// By vmid.
    pub vms: BTreeMap<u32, Vm>,
    /// All tasks.
    pub ledger: Ledger,
    /// Users, tokens, rights.
    pub accounts: Accounts,
    /// By name.
    pub pools: BTreeMap<String, Pool>,
    /// Storages and volumes.
    pub shelf: Shelf,
    /// What goes wrong now.
    pub faults: Vec<Fault>,
}

impl World {
    /// The layout that this code writes and reads.
    pub const FORMAT: u32 = 1;

    /// Whether a fault of the same sort as `like` holds for the VM (or for all).
    pub fn fault(&self, vmid: Option<u32>, like: &FaultKind) -> Option<&FaultKind> {
        self.faults.iter().find(|fault| fault.kind.same_sort(like) && (fault.vmid.is_none() || fault.vmid == vmid)).map(|fault| &fault.kind)
    }

    /// Takes one from a counted fault that holds for the VM; true when there was one.
    pub fn spend(&mut self, vmid: Option<u32>, like: &FaultKind) -> bool {
        let found = self
            .faults
            .iter_mut()
            .find(|fault| fault.kind.same_sort(like) && (fault.vmid.is_none() || fault.vmid == vmid))
            .is_some_and(|fault| fault.kind.spend());
        self.faults.retain(|fault| !fault.kind.is_spent());
        found
    }

    /// Proxmox's words for a VM that is not there.
    pub fn no_config(&self, vmid: u32) -> String {
        format!("Configuration file 'nodes/{}/qemu-server/{vmid}.conf' does not exist", self.site.node)
    }

    /// The VM.
    ///
    /// # Errors
    /// Its configuration file does not exist.
    pub fn vm(&self, vmid: u32) -> Result<&Vm, String> {
        self.vms.get(&vmid).ok_or_else(|| self.no_config(vmid))
    }

    /// The VM, to change it.
    ///
    /// # Errors
    /// Its configuration file does not exist.
    pub fn vm_mut(&mut self, vmid: u32) -> Result<&mut Vm, String> {
        let missing = self.no_config(vmid);
        self.vms.get_mut(&vmid).ok_or(missing)
    }

    /// The configuration lock in force: the file's, or that of the fault.
    pub fn lock(&self, vmid: u32) -> Option<String> {
        let own = self.vms.get(&vmid).and_then(|vm| vm.config.get("lock")).map(str::to_owned);
        own.or_else(|| self.fault(Some(vmid), &FaultKind::Locked).map(|_| "backup".to_owned()))
    }

    /// Refuses while a configuration lock is set.
    ///
    /// # Errors
    /// `VM is locked (backup)`.
    pub fn check_lock(&self, vmid: u32) -> Result<(), String> {
        self.lock(vmid).map_or(Ok(()), |lock| Err(format!("VM is locked ({lock})")))
    }

    /// The bridges of the node.
    pub const fn bridges(&self) -> &'static [&'static str] {
        &["vmbr0"]
    }

    /// The node's own address and the length of its network.
    pub const fn address(&self) -> Ipv4Addr {
        match self.site.seed {
            Seed::Fleet => Ipv4Addr::new(10, 0, 0, 4),
            Seed::Bare => Ipv4Addr::new(10, 77, 0, 1),
        }
    }

    /// The lowest free address from .200 up for a new VM.
    pub fn free_address(&self) -> Ipv4Addr {
        let [a, b, c, _] = self.address().octets();
        let taken: BTreeSet<Ipv4Addr> = self.vms.values().map(|vm| vm.address).collect();
        let upper = (200..=254).map(|last| Ipv4Addr::new(a, b, c, last));
        let lower = (20..100).map(|last| Ipv4Addr::new(a, b, c, last));
        upper.chain(lower).find(|address| !taken.contains(address)).unwrap_or(Ipv4Addr::new(a, b, c, 254))
    }

    /// Switches a VM on at `now`: pending changes apply, the guest is chosen.
    ///
    /// # Errors
    /// The VM does not exist.
    pub fn power_on(&mut self, vmid: u32, now: f64) -> Result<(), String> {
        let netboot = self.site.seed == Seed::Fleet;
        let pid = self.ledger.next_pid(9);
        let vm = self.vm_mut(vmid)?;
        vm.config.apply_pending();
        let run = Run { pid, started: now, booted: now, paused: false, agent_socket: vm.config.agent(), guest: vm.boots(netboot) };
        vm.run = Some(run);
        Ok(())
    }

    /// Switches a VM off: what waited for the next start applies now.
    ///
    /// # Errors
    /// The VM does not exist.
    pub fn power_off(&mut self, vmid: u32) -> Result<(), String> {
        let vm = self.vm_mut(vmid)?;
        vm.run = None;
        vm.config.apply_pending();
        Ok(())
    }

    /// The guest restarts by itself: QEMU goes on, the boot begins again.
    pub fn reboot(&mut self, vmid: u32, now: f64) {
        let netboot = self.site.seed == Seed::Fleet;
        if let Some(vm) = self.vms.get_mut(&vmid) {
            let guest = vm.boots(netboot);
            if let Some(run) = &mut vm.run {
                run.booted = now;
                run.guest = guest;
            }
        }
    }

    /// How far the boot of a VM has come, `scale` being what one real second lasts in the lab.
    pub fn phase(&self, vmid: u32, now: f64, scale: f64) -> Phase {
        let Some(run) = self.vms.get(&vmid).and_then(|vm| vm.run.as_ref()) else { return Phase::Off };
        if run.guest == Guest::Nothing {
            return Phase::Booting;
        }
        let age = now - run.booted;
        let late = |kind: &FaultKind| if self.fault(Some(vmid), kind).is_some() { LATE_BY } else { 0.0 };
        let absent = self.fault(Some(vmid), &FaultKind::SshdAbsent).is_some();
        if !absent && age >= (SSHD_AFTER + late(&FaultKind::SshdLate)) * scale {
            Phase::Up
        } else if age >= (AGENT_AFTER + late(&FaultKind::AgentLate)) * scale {
            Phase::Agent
        } else {
            Phase::Booting
        }
    }

    /// Keyed hash of a password, bound to its user.
    pub fn hash_password(&self, user: &str, password: &str) -> String {
        crate::lab::seal::mac(&self.keys.secret, &["password", user, password])
    }

    /// Takes a VM away with all that hangs on it.
    pub fn forget(&mut self, vmid: u32) {
        self.vms.remove(&vmid);
        self.shelf.volumes.retain(|_, volume| volume.vmid != Some(vmid) || volume.content != "images");
        for pool in self.pools.values_mut() {
            pool.vms.remove(&vmid);
        }
        self.faults.retain(|fault| fault.vmid != Some(vmid));
    }
}
