//! The machines behind the VMs' addresses: their insides, and the SSH listeners that come and go with the VMs' power.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::faults::FaultKind;
use super::host::HostState;
use super::host::state::{Disk, Root};
use super::machine::{HostFaults, Machine};
use super::running::Lab;
use super::world::seed::Seed;
use super::world::storage::drive_size;
use super::world::vm::{Guest, LATE_BY, SSHD_AFTER, Vm};
use super::world::{Phase, World};

/// Stands for the proxy host among the vmids: no VM has it.
pub const PROXY: u32 = 0;
/// The proxy host's name, as the user's ssh config has it.
const PROXY_NAME: &str = "treehouse";
/// The last number of the proxy host's address.
const PROXY_LAST: u8 = 2;

/// A machine's inside and the boot that it went through last.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Host {
    /// `booted` of the run that the inside knows of; 0 while it is switched off.
    pub booted: f64,
    /// The inside.
    pub state: HostState,
}

/// All insides, and those that changed since they were saved last.
#[derive(Debug, Default)]
pub struct Hosts {
    all: Mutex<BTreeMap<u32, Host>>,
    changed: Mutex<BTreeSet<u32>>,
    listening: Mutex<BTreeMap<u32, SocketAddr>>,
}

fn held<T>(lock: &Mutex<T>) -> MutexGuard<'_, T> {
    lock.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Hosts {
    /// The insides that were saved.
    pub fn new(all: BTreeMap<u32, Host>) -> Self {
        Self { all: Mutex::new(all), ..Self::default() }
    }

    /// Forgets a machine: its disks are gone.
    pub fn forget(&self, vmid: u32) {
        held(&self.all).remove(&vmid);
        held(&self.changed).insert(vmid);
    }

    /// Forgets all.
    pub fn clear(&self) {
        let known: Vec<u32> = held(&self.all).keys().copied().collect();
        known.into_iter().for_each(|vmid| self.forget(vmid));
    }

    /// A clone begins with a copy of the inside that its disks hold.
    pub fn copy(&self, source: u32, target: u32, uuid: &str) {
        let copied = held(&self.all).get(&source).cloned();
        if let Some(mut host) = copied {
            host.booted = 0.0;
            host.state.uuid = uuid.to_lowercase();
            held(&self.all).insert(target, host);
            held(&self.changed).insert(target);
        }
    }

    /// Takes the list of machines that are to be saved: text, or none for one that is gone.
    pub fn take_changed(&self) -> Vec<(u32, Option<Vec<u8>>)> {
        let changed = std::mem::take(&mut *held(&self.changed));
        let all = held(&self.all);
        changed.into_iter().map(|vmid| (vmid, all.get(&vmid).and_then(|host| serde_json::to_vec(host).ok()))).collect()
    }

    /// Where the SSH host of a VM listens now.
    pub fn listening(&self, vmid: u32) -> Option<SocketAddr> {
        held(&self.listening).get(&vmid).copied()
    }
}

/// A VM as its SSH host sees it.
struct VmMachine {
    lab: Arc<Lab>,
    vmid: u32,
}

impl VmMachine {
    /// Runs `change` on the whole host, making it when the VM has none yet.
    fn whole<T>(&self, change: impl FnOnce(&mut Host) -> T) -> T {
        let known = held(&self.lab.hosts.all).contains_key(&self.vmid);
        let made = (!known).then(|| self.lab.read(|world| fresh(world, self.vmid)));
        let result = change(held(&self.lab.hosts.all).entry(self.vmid).or_insert_with(|| made.unwrap_or_default()));
        held(&self.lab.hosts.changed).insert(self.vmid);
        result
    }
}

/// The inside of a VM that has never been looked at: one of the fleet's is found as it is when it runs, any other one begins empty.
fn fresh(world: &World, vmid: u32) -> Host {
    if vmid == PROXY {
        return Host { booted: 1.0, state: HostState::for_vm(PROXY_NAME, "") };
    }
    let Some(vm) = world.vms.get(&vmid) else { return Host::default() };
    let uuid = vm.uuid().unwrap_or_default();
    if vm.installed {
        let mut state = HostState::for_vm(&vm.name(vmid), &uuid);
        let booted = vm.run.as_ref().map_or(0.0, |run| run.booted);
        if vm.run.is_none() {
            state.power_off();
        }
        return Host { booted, state };
    }
    let mut state = HostState::netbooted(&uuid);
    for (key, value) in vm.config.drives().iter().filter(|(_, value)| !value.contains("media=cdrom")) {
        let bus = if key.starts_with("virtio") { "vd" } else { "sd" };
        let letter = char::from(b'a' + u8::try_from(state.disks.len() % 26).unwrap_or(0));
        state.disks.push(Disk { name: format!("{bus}{letter}"), bytes: drive_size(value).unwrap_or(0), system: None });
    }
    Host { booted: 0.0, state }
}

/// The machine of a VM, for whoever acts inside it.
pub fn machine(lab: &Arc<Lab>, vmid: u32) -> Arc<dyn Machine> {
    Arc::new(VmMachine { lab: Arc::clone(lab), vmid })
}

impl Machine for VmMachine {
    fn with(&self, change: &mut dyn FnMut(&mut HostState)) {
        let on_disk = self.whole(|host| {
            change(&mut host.state);
            host.state.boot.root == Root::Disk || host.state.disks.first().is_some_and(|disk| disk.system.is_some())
        });
        // An installer that ran over SSH has left a system on the disk: from now on the VM boots it.
        let known = self.lab.read(|world| world.vms.get(&self.vmid).is_none_or(|vm| vm.installed == on_disk));
        if !known {
            self.lab.change(|world| world.vms.get_mut(&self.vmid).map(|vm| vm.installed = on_disk));
        }
    }

    fn fetch(&self, host: &str, path: &str) -> Option<(u16, Vec<u8>)> {
        let address: Ipv4Addr = host.parse().ok()?;
        let (now, scale) = (self.lab.clock.now(), self.lab.clock.scaled(1.0));
        let vmid = self.lab.read(|world| {
            let (vmid, _) = world.vms.iter().find(|(_, vm)| vm.address == address)?;
            (world.phase(*vmid, now, scale) == Phase::Up).then_some(*vmid)
        })?;
        let server = VmMachine { lab: Arc::clone(&self.lab), vmid };
        server.whole(|host| host.state.serves(path))
    }

    fn power_off(&self) {
        // A VM that was deleted meanwhile is off for good.
        let _ = self.lab.change(|world| world.power_off(self.vmid));
    }

    fn reboot(&self) {
        let now = self.lab.clock.now();
        self.lab.change(|world| world.reboot(self.vmid, now));
    }

    fn started(&self, words: &[String]) {
        self.lab.note_process(words.join(" "));
    }

    fn faults(&self) -> HostFaults {
        let (now, pace) = (self.lab.clock.now(), self.lab.clock.scaled(1.0));
        self.lab.read(|world| {
            let booted = world.vms.get(&self.vmid).and_then(|vm| vm.run.as_ref()).map(|run| run.booted);
            let young = booted.is_some_and(|booted| now - booted < (SSHD_AFTER + LATE_BY) * pace);
            let has = |kind: &FaultKind| world.fault(Some(self.vmid), kind);
            HostFaults {
                disks_hidden: young && has(&FaultKind::DiskLate).is_some(),
                disk_full: has(&FaultKind::DiskFull).is_some(),
                other_host_key: has(&FaultKind::HostKeyChanged).is_some(),
                refuse_login: has(&FaultKind::RefuseLogin).is_some(),
                hang: has(&FaultKind::Hang).is_some(),
                cut_upload_after: match has(&FaultKind::CutUpload(0)) {
                    Some(FaultKind::CutUpload(bytes)) => Some(*bytes),
                    _ => None,
                },
                save_seconds: match has(&FaultKind::SaveTakes(0)) {
                    Some(FaultKind::SaveTakes(seconds)) => Some(u64::from(*seconds)),
                    _ => None,
                },
                slow: match has(&FaultKind::SlowShell(0)) {
                    Some(FaultKind::SlowShell(ms)) => Duration::from_millis(u64::from(*ms)),
                    _ => Duration::ZERO,
                },
                pace,
                ..HostFaults::default()
            }
        })
    }
}

/// One open listener.
struct Open {
    at: SocketAddr,
    booted: f64,
    /// Dropping it stops the server and breaks its connections.
    stop: watch::Sender<bool>,
}

/// Opens and closes the SSH hosts as VMs come up and go down, until it is dropped.
pub async fn serve(lab: Arc<Lab>) {
    let period = lab.clock.span(0.5).clamp(Duration::from_millis(5), Duration::from_millis(100));
    let mut open: BTreeMap<u32, Open> = BTreeMap::new();
    let mut servers = JoinSet::new();
    loop {
        let wanted = wanted(&lab);
        open.retain(|vmid, one| {
            let stays = wanted.iter().any(|want| want.vmid == *vmid && want.up && want.booted == one.booted && want.at == one.at);
            if !stays {
                held(&lab.hosts.listening).remove(vmid);
                // The server may have ended by itself already.
                let _ = one.stop.send(true);
            }
            stays
        });
        for want in wanted {
            power(&lab, &want);
            if want.up && !open.contains_key(&want.vmid) {
                // An address that is still taken is tried again at the next look.
                let Ok(listener) = TcpListener::bind(want.at).await else { continue };
                let (stop, stopped) = watch::channel(false);
                servers.spawn(super::ssh::serve(listener, machine(&lab, want.vmid), stopped));
                held(&lab.hosts.listening).insert(want.vmid, want.at);
                open.insert(want.vmid, Open { at: want.at, booted: want.booted, stop });
            }
        }
        while servers.try_join_next().is_some() {}
        lab.clock.rest(period).await;
    }
}

/// A machine as it should be.
struct Want {
    vmid: u32,
    at: SocketAddr,
    booted: f64,
    net_first: bool,
    up: bool,
}

fn wanted(lab: &Lab) -> Vec<Want> {
    let (now, scale, port) = (lab.clock.now(), lab.clock.scaled(1.0), lab.ready.ssh_port);
    let at = |last: u8| SocketAddr::from((Ipv4Addr::new(127, 0, 10, last), port));
    lab.read(|world| {
        let one = |(vmid, vm): (&u32, &Vm)| Want {
            vmid: *vmid,
            at: at(vm.address.octets()[3]),
            booted: vm.run.as_ref().map_or(0.0, |run| run.booted),
            net_first: vm.run.as_ref().is_some_and(|run| run.guest == Guest::Netboot),
            up: world.phase(*vmid, now, scale) == Phase::Up,
        };
        let mut list: Vec<Want> = world.vms.iter().map(one).collect();
        if world.site.seed == Seed::Fleet {
            list.push(Want { vmid: PROXY, at: at(PROXY_LAST), booted: 1.0, net_first: false, up: true });
        }
        list
    })
}

/// Takes a machine's inside through what happened to its power since the last look.
fn power(lab: &Arc<Lab>, want: &Want) {
    let known = held(&lab.hosts.all).get(&want.vmid).map(|host| host.booted);
    if known.is_none() && !want.up || known == Some(want.booted) {
        return;
    }
    let machine = VmMachine { lab: Arc::clone(lab), vmid: want.vmid };
    machine.whole(|host| {
        if host.booted == want.booted {
            return;
        }
        // A reset is both at once: what was not on a disk is lost, then the machine boots.
        if host.booted > 0.0 {
            host.state.power_off();
        }
        if want.booted > 0.0 {
            host.state.power_on(want.net_first);
        }
        host.booted = want.booted;
    });
}
