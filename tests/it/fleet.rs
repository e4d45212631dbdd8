//! A sandbox with a practice fleet of its own: fast, on ports that nobody else uses, looked into and misled through its control socket.

use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use serde_json::Value as Json;

use pmx::lab::LabError;
use pmx::lab::control::{Client, Request, Status, Tinker, VmStatus};
use pmx::lab::faults::FaultKind;
use pmx::lab::running::Served;

use super::process::{self, wait_until};
use super::sandbox::{Ran, Running, Sandbox};

/// The vmid of the VM that the project's main job is about.
pub const CALAMITY: u32 = 107;

/// The project of this repository, whose profile `lab` means a fleet of this sandbox alone. It starts with the first build, and ends with the sandbox.
#[must_use = "a fleet does nothing until pmx works on it"]
pub struct Fleet {
    /// The project, for what is done without the profile.
    pub sandbox: Sandbox,
    port: u16,
}

impl Fleet {
    /// A fleet that is not started yet.
    pub fn new() -> Self {
        Self::of(Sandbox::own())
    }

    /// The same in a sandbox that holds the project already. A second is a fiftieth of one there, and players are warned for one real second.
    pub fn of(sandbox: Sandbox) -> Self {
        let port = free_port();
        let start = format!(r#"start = ["pmx", "lab", "up", "--listen", "127.0.0.1:{port}", "--ssh-port", "{port}", "--pace", "0.02"]"#);
        let sandbox = sandbox
            .replace("Pmxfile.toml", r#"start = ["pmx", "lab", "up"]"#, &start)
            .replace("Pmxfile.toml", "127.0.0.1:18006", &format!("127.0.0.1:{port}"))
            .replace("Pmxfile.toml", "127.0.10.*:18022", &format!("127.0.10.*:{port}"))
            .replace("Pmxfile.toml", "127.0.10.2:18022", &format!("127.0.10.2:{port}"))
            .replace("Pmxfile.toml", "seconds = 3\n", "seconds = 1\n")
            .deadline(Duration::from_secs(180));
        Self { sandbox, port }
    }

    /// A fleet that runs, with its VMs up.
    pub fn up() -> Self {
        let fleet = Self::new();
        fleet.wake();
        fleet
    }

    /// Starts the fleet unless it runs.
    pub fn wake(&self) {
        let port = self.port.to_string();
        let listen = format!("127.0.0.1:{port}");
        self.sandbox.pmx(&["lab", "up", "--listen", &listen, "--ssh-port", &port, "--pace", "0.02"]).exits(0);
        wait_until("calamity lets somebody in", Duration::from_secs(30), || self.vm(CALAMITY).ssh.is_some());
    }

    /// Runs a command under the profile.
    #[track_caller]
    pub fn pmx(&self, arguments: &[&str]) -> Ran {
        self.sandbox.pmx(&[&["--profile", "lab"], arguments].concat())
    }

    /// Runs a build under the profile.
    #[track_caller]
    pub fn build(&self, arguments: &[&str]) -> Ran {
        self.pmx(&[&["build"], arguments].concat())
    }

    /// Starts a command under the profile and returns while it runs.
    pub fn start(&self, arguments: &[&str]) -> Running<'_> {
        self.sandbox.start(&[&["--profile", "lab"], arguments].concat())
    }

    /// The directory of the profile's store.
    pub fn store(&self) -> PathBuf {
        self.sandbox.path("store/lab")
    }

    fn talk<T>(&self, talk: impl AsyncFnOnce(&mut Client) -> Result<T, LabError>) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime can be made");
        let done = runtime.block_on(async {
            let mut client = Client::connect(&self.store().join("world")).await?;
            talk(&mut client).await
        });
        done.unwrap_or_else(|error| panic!("the fleet did not do it: {error}"))
    }

    /// What the fleet's machines do.
    pub fn status(&self) -> Status {
        self.talk(Client::status)
    }

    /// One machine.
    ///
    /// # Panics
    /// When it is not there.
    #[track_caller]
    pub fn vm(&self, vmid: u32) -> VmStatus {
        self.machine(vmid).unwrap_or_else(|| panic!("there is no VM {vmid}"))
    }

    /// One machine, if it is there.
    pub fn machine(&self, vmid: u32) -> Option<VmStatus> {
        self.status().vms.into_iter().find(|vm| vm.vmid == vmid)
    }

    /// The machine of that name, if there is one.
    pub fn named(&self, name: &str) -> Option<VmStatus> {
        self.status().vms.into_iter().find(|vm| vm.name == name)
    }

    /// Makes it misbehave: a fault's text form, at one VM or everywhere.
    pub fn fault(&self, fault: &str, vmid: Option<u32>) {
        let kind: FaultKind = fault.parse().expect("a fault of the lab");
        self.talk(async |client| client.set_fault(kind, vmid).await);
    }

    /// Takes all faults away.
    pub fn heal(&self) {
        self.ask(&Request::ClearFaults { kind: None, vmid: None });
    }

    /// Asks for anything else.
    pub fn ask(&self, request: &Request) {
        self.talk(async |client| client.ask(request).await.map(drop));
    }

    /// Changes a VM behind Proxmox's back.
    pub fn tinker(&self, vmid: u32, change: Tinker) {
        self.talk(async |client| client.tinker(vmid, change).await);
    }

    /// The requests since the last call, oldest first.
    pub fn requests(&self) -> Vec<Served> {
        self.talk(async |client| client.requests(true).await)
    }

    /// What every user of the machines could have read in their lists of processes so far.
    pub fn processes(&self) -> Vec<String> {
        self.talk(Client::processes)
    }

    /// Has something done to the fleet just before the `count`th request of this kind, from now on, is served.
    pub fn ambush(&self, request: (&str, &str), count: u32, then: Request) {
        self.ask(&Request::Ambush { method: request.0.into(), path: request.1.into(), count, then: Box::new(then) });
    }

    /// What the fleet has saved of a machine's inside: its containers under `docker`, its files under `files`.
    pub fn inside(&self, vmid: u32) -> Json {
        let path = self.store().join(format!("world/host-{vmid}.json"));
        let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("cannot read {}: {error}", path.display()));
        serde_json::from_str::<Json>(&text).expect("a machine's inside is JSON")["state"].clone()
    }

    /// The inside of a machine once it fits; it is saved some time after it changed.
    ///
    /// # Panics
    /// When it does not come to fit, with what is there instead.
    #[track_caller]
    pub fn inside_once(&self, vmid: u32, what: &str, fits: impl Fn(&Json) -> bool) -> Json {
        wait_until(what, Duration::from_secs(20), || fits(&self.inside(vmid)));
        self.inside(vmid)
    }

    /// Ends the fleet without warning.
    pub fn kill_lab(&self) {
        let pid = std::fs::read_to_string(self.store().join("world/pid")).expect("the lab has a pid file");
        process::signal("KILL", &[pid.trim().parse().expect("a pid file holds a number")]);
    }
}

/// Requests that change something, logins aside.
pub fn effects(requests: &[Served]) -> Vec<String> {
    let changing = requests.iter().filter(|served| served.method != "GET" && served.path != "/access/ticket");
    changing.map(|served| format!("{} {}", served.method, served.path)).collect()
}

/// How often somebody was logged in; a ticket that is too old to be renewed by itself is asked for a second time, with the password.
pub fn logins(requests: &[Served]) -> usize {
    requests.iter().filter(|served| served.method == "POST" && served.path == "/access/ticket" && served.status == 200).count()
}

/// A port that is free at 127.0.0.1 and at the fleet's addresses, below those that the kernel gives away by itself.
fn free_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let free = |port: u16| {
        let hosts = ["127.0.0.1", "127.0.10.100", "127.0.10.107", "127.0.10.108", "127.0.10.191", "127.0.10.200"];
        hosts.iter().all(|host| TcpListener::bind((*host, port)).is_ok())
    };
    for _ in 0..1000 {
        // Test processes that run at the same time begin far from each other.
        let number = std::process::id().wrapping_mul(61).wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % 11_000;
        let port = 20_000 + u16::try_from(number).unwrap_or(0);
        if free(port) {
            return port;
        }
    }
    panic!("no port is free");
}
