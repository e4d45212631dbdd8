//! What a machine's inside goes through when the power comes and goes.

use super::docker::Starts;
use super::state::{Boot, Distro, Root};
use super::tmux::Tmux;
use super::{HostState, time};

impl super::state::Disk {
    /// Whether a system is on it: the one that runs from it, or one that waits there.
    #[must_use]
    pub fn has_system(&self, running_from: Root) -> bool {
        self.system.is_some() || (running_from == Root::Disk && self.name.ends_with('a'))
    }
}

impl HostState {
    /// The power is gone: whatever was not on a disk is lost, games are not saved. The world calls it when the VM has stopped, however it stopped.
    pub fn power_off(&mut self) {
        let now = time::now();
        let mounted: Vec<String> = self.boot.mounts.keys().cloned().collect();
        mounted.iter().for_each(|dir| self.unmount(dir));
        self.tmux = Tmux::default();
        self.docker.containers.values_mut().filter(|c| c.running()).for_each(|c| c.end(now, 137));
        for service in self.services.values_mut() {
            service.running = false;
        }
        self.files.remove_all("/tmp").ok();
        let _ = self.files.mkdir("/tmp", 0o1777);
    }

    /// The power comes: boots from the first disk when a system is on it and `net_first` is not asked for, else from the network. The world calls it
    /// when the VM has started, before it serves SSH.
    pub fn power_on(&mut self, net_first: bool) {
        let on_disk = self.boot.root == Root::Disk || self.disks.first().is_some_and(|disk| disk.system.is_some());
        match (self.boot.root, net_first || !on_disk) {
            (Root::Disk, true) => self.leave_disk(),
            (Root::Memory, false) => self.enter_disk(),
            (Root::Memory, true) => self.fresh_netboot(),
            (Root::Disk, false) => {}
        }
        self.boot = Boot {
            id: uuid::Uuid::new_v4().to_string(),
            at: time::now(),
            root: self.boot.root,
            distro: self.boot.distro,
            ..Boot::default()
        };
        for service in self.services.values_mut() {
            service.running = service.runlevels.iter().any(|level| level == "default" || level == "boot");
        }
        if self.services.get("docker").is_some_and(|docker| docker.running) {
            self.restart_containers();
        }
    }

    fn leave_disk(&mut self) {
        let disks = std::mem::take(&mut self.disks);
        let system = std::mem::replace(self, Self::netbooted(&self.uuid.clone()));
        self.disks = disks;
        if let Some(disk) = self.disks.first_mut() {
            disk.system = Some(Box::new(system));
        }
    }

    fn enter_disk(&mut self) {
        let mut disks = std::mem::take(&mut self.disks);
        if let Some(system) = disks.first_mut().and_then(|disk| disk.system.take()) {
            *self = *system;
            self.boot.root = Root::Disk;
        }
        self.disks = disks;
    }

    fn fresh_netboot(&mut self) {
        let disks = std::mem::take(&mut self.disks);
        *self = Self { disks, ..Self::netbooted(&self.uuid.clone()) };
    }

    /// Containers whose restart policy says so come back with the engine.
    fn restart_containers(&mut self) {
        let back = |name: &String, c: &super::docker::Container| {
            let wanted = match c.config.restart.as_str() {
                "always" => true,
                "unless-stopped" => !c.state.stopped_by_hand && c.state.started_at > 0,
                _ => false,
            };
            (wanted && c.config.starts != Starts::Ends(0)).then(|| name.clone())
        };
        let names: Vec<String> = self.docker.containers.iter().filter_map(|(name, c)| back(name, c)).collect();
        for name in names {
            self.docker.start(&name, time::now()).ok();
        }
    }

    /// Whether it is Debian.
    #[must_use]
    pub fn is_debian(&self) -> bool {
        self.boot.distro == Distro::Debian
    }
}
