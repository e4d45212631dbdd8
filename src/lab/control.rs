//! The control socket: JSON lines by which `pmx lab` and tests look into a running lab and meddle with it.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};

use super::LabError;
use super::ambush::Ambush;
use super::faults::{Fault, FaultKind};
use super::running::{Lab, Served};
use super::world::config::Config;
use super::world::vm::{Guest, Vm};
use super::world::{Phase, World};

/// The socket's name in the state directory.
pub const SOCKET: &str = "control.sock";

/// Longest line taken from a client, in bytes.
const LONGEST: u64 = 1 << 20;

/// What can be asked.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case")]
pub enum Request {
    /// What is there and how far it has come.
    Status,
    /// Sets a fault, replacing one of the same sort in the same place.
    SetFault {
        /// What goes wrong.
        kind: FaultKind,
        /// One VM by vmid; none: all.
        vmid: Option<u32>,
    },
    /// Clears faults of that sort (none: all sorts) of that VM (none: everywhere).
    ClearFaults {
        /// The sort; its number does not matter.
        kind: Option<FaultKind>,
        /// One VM by vmid.
        vmid: Option<u32>,
    },
    /// Back to a fresh world; tasks under way are cut off.
    Reset,
    /// Changes a VM behind Proxmox's back.
    Tinker {
        /// Which.
        vmid: u32,
        /// What.
        change: Tinker,
    },
    /// Adds a VM that somebody else made.
    Stranger {
        /// Its vmid.
        vmid: u32,
        /// Its name; need not be unique.
        name: String,
    },
    /// Takes a VM away, as if somebody else had deleted it.
    Gone {
        /// Which.
        vmid: u32,
    },
    /// Has something done in the moment before the `count`th request of that kind, from now on, is served.
    Ambush {
        /// `GET`, …
        method: String,
        /// The path, without `/api2/json` and without the query.
        path: String,
        /// 1 is the next one.
        count: u32,
        /// What is done.
        then: Box<Request>,
    },
    /// Moves the lab's clock: a ticket expires after two hours.
    Advance {
        /// Seconds, negative for back.
        seconds: i64,
    },
    /// Gives an account another password.
    Password {
        /// `root@pam`.
        user: String,
        /// The new one.
        password: String,
    },
    /// The requests served so far.
    Requests {
        /// Forgets them afterwards.
        clear: bool,
    },
    /// What every user of the machines could have read in their lists of processes so far.
    Processes,
}

/// A change of a VM behind Proxmox's back.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Tinker {
    /// Another smbios uuid, as if the VM had been replaced.
    Uuid(String),
    /// Another name.
    Name(String),
    /// A configuration lock, `backup`, `clone`, …; none takes it off.
    Lock(Option<String>),
    /// Any configuration value; none takes it off.
    Value(String, Option<String>),
    /// Switches it off at once, as a crash would.
    PowerOff,
    /// Switches it on at once, with the boot long past.
    PowerOn,
    /// Whether its disk holds a system.
    Installed(bool),
    /// Another address.
    Address(Ipv4Addr),
}

/// One VM in the status.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VmStatus {
    /// Its vmid.
    pub vmid: u32,
    /// Its name, `VM 102` when it has none.
    pub name: String,
    /// How far it is.
    pub phase: Phase,
    /// Its address in the fleet's network.
    pub address: Ipv4Addr,
    /// Its smbios uuid.
    pub uuid: Option<String>,
    /// The configuration lock in force.
    pub lock: Option<String>,
    /// Where its SSH host listens, while it does.
    pub ssh: Option<std::net::SocketAddr>,
}

/// The status of a lab.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// Where the API listens.
    pub api: std::net::SocketAddr,
    /// The port of the SSH hosts.
    pub ssh_port: u16,
    /// The certificate's fingerprint.
    pub fingerprint: String,
    /// The node's name.
    pub node: String,
    /// Its VMs by vmid.
    pub vms: Vec<VmStatus>,
    /// The faults in force.
    pub faults: Vec<Fault>,
    /// Tasks under way.
    pub tasks: Vec<String>,
    /// Seconds that the clock was moved by.
    pub clock_offset: i64,
}

/// The answer to a request.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Answer {
    /// Done.
    Done,
    /// To `Status`.
    Status(Status),
    /// To `Requests`.
    Requests(Vec<Served>),
    /// To `Processes`: the words of each program with its name first, and the command lines that came over SSH.
    Processes(Vec<String>),
    /// Not done, and why.
    Refused(String),
}

/// Opens the socket.
///
/// # Errors
/// The path cannot be bound.
pub(super) fn listen(path: &Path) -> Result<UnixListener, LabError> {
    UnixListener::bind(path).map_err(|source| LabError::Listen { at: path.display().to_string(), source })
}

/// Answers on the socket until it is dropped.
pub(super) async fn serve(lab: Arc<Lab>, listener: UnixListener) {
    let mut talks = tokio::task::JoinSet::new();
    loop {
        if let Ok((stream, _)) = listener.accept().await {
            talks.spawn(talk(Arc::clone(&lab), stream));
        }
        while talks.try_join_next().is_some() {}
    }
}

async fn talk(lab: Arc<Lab>, stream: UnixStream) {
    let (read, mut write) = stream.into_split();
    let mut lines = BufReader::new(read);
    loop {
        let mut line = String::new();
        let got = (&mut lines).take(LONGEST).read_line(&mut line).await;
        if !matches!(got, Ok(count) if count > 0) {
            return;
        }
        let answer = match serde_json::from_str(&line) {
            Ok(request) => carry_out(&lab, request),
            Err(error) => Answer::Refused(format!("cannot read the request: {error}")),
        };
        let mut text = serde_json::to_vec(&answer).unwrap_or_else(|_| b"\"done\"".to_vec());
        text.push(b'\n');
        if write.write_all(&text).await.is_err() {
            return;
        }
    }
}

/// Does what is asked.
pub(super) fn carry_out(lab: &Arc<Lab>, request: Request) -> Answer {
    let result = match request {
        Request::Status => return Answer::Status(status(lab)),
        Request::Requests { clear } => return Answer::Requests(lab.requests(clear)),
        Request::Processes => return Answer::Processes(lab.processes()),
        Request::Gone { vmid } => {
            lab.forget(vmid);
            Ok(())
        }
        Request::Ambush { method, path, count, then } => {
            lab.ambushes().lay(Ambush { method, path, count, then: *then });
            Ok(())
        }
        Request::SetFault { kind, vmid } => lab.change(|world| set_fault(world, kind, vmid)),
        Request::ClearFaults { kind, vmid } => {
            lab.change(|world| {
                world.faults.retain(|fault| {
                    let same = kind.as_ref().is_none_or(|kind| kind.same_sort(&fault.kind)) && (vmid.is_none() || fault.vmid == vmid);
                    !same
                });
            });
            Ok(())
        }
        Request::Reset => {
            lab.reset();
            Ok(())
        }
        Request::Tinker { vmid, change } => tinker(lab, vmid, change),
        Request::Stranger { vmid, name } => lab.change(|world| stranger(world, vmid, &name)),
        Request::Password { user, password } => lab.change(|world| give_password(world, &user, &password)),
        Request::Advance { seconds } => {
            let offset = lab.clock.advance(seconds);
            lab.change(|world| world.clock_offset = offset);
            Ok(())
        }
    };
    match result {
        Ok(()) => Answer::Done,
        Err(why) => Answer::Refused(why),
    }
}

fn give_password(world: &mut World, user: &str, password: &str) -> Result<(), String> {
    let hash = world.hash_password(user, password);
    let account = world.accounts.users.get_mut(user).ok_or_else(|| format!("no user {user:?}"))?;
    account.password = Some(hash);
    Ok(())
}

fn set_fault(world: &mut World, kind: FaultKind, vmid: Option<u32>) -> Result<(), String> {
    if let Some(vmid) = vmid {
        world.vm(vmid)?;
    }
    if kind == FaultKind::TicketExpired {
        world.keys.epoch += 1;
        return Ok(());
    }
    world.faults.retain(|fault| !(fault.kind.same_sort(&kind) && fault.vmid == vmid));
    world.faults.push(Fault { kind, vmid });
    Ok(())
}

fn tinker(lab: &Arc<Lab>, vmid: u32, change: Tinker) -> Result<(), String> {
    let now = lab.clock.now();
    lab.change(|world| {
        if matches!(change, Tinker::PowerOn) {
            return world.power_on(vmid, now - 86_400.0);
        }
        if matches!(change, Tinker::PowerOff) {
            return world.power_off(vmid);
        }
        let vm = world.vm_mut(vmid)?;
        let mut put = |key: &str, value: Option<String>| match value {
            Some(value) => drop(vm.config.values.insert(key.to_owned(), value)),
            None => drop(vm.config.values.remove(key)),
        };
        match change {
            Tinker::Uuid(uuid) => put("smbios1", Some(format!("uuid={uuid}"))),
            Tinker::Name(name) => put("name", Some(name)),
            Tinker::Lock(lock) => put("lock", lock),
            Tinker::Value(key, value) => put(&key, value),
            Tinker::PowerOn | Tinker::PowerOff => {}
            Tinker::Installed(installed) => {
                vm.installed = installed;
                if let Some(run) = &mut vm.run {
                    run.guest = if installed { Guest::Installed } else { Guest::Nothing };
                }
            }
            Tinker::Address(address) => vm.address = address,
        }
        Ok(())
    })
}

fn stranger(world: &mut World, vmid: u32, name: &str) -> Result<(), String> {
    if world.vms.contains_key(&vmid) {
        return Err(format!("VM {vmid} is there already"));
    }
    let mut config = Config::default();
    let uuid = uuid::Uuid::new_v4();
    for (key, value) in [("name", name.to_owned()), ("memory", "512".into()), ("smbios1", format!("uuid={uuid}")), ("boot", " ".into())] {
        config.values.insert(key.to_owned(), value);
    }
    let address = world.free_address();
    world.vms.insert(vmid, Vm::new(config, address));
    Ok(())
}

fn status(lab: &Arc<Lab>) -> Status {
    let now = lab.clock.now();
    let scale = lab.clock.scaled(1.0);
    lab.read(|world| Status {
        api: lab.ready.api,
        ssh_port: lab.ready.ssh_port,
        fingerprint: lab.ready.fingerprint.clone(),
        node: world.site.node.clone(),
        vms: world
            .vms
            .iter()
            .map(|(vmid, vm)| VmStatus {
                vmid: *vmid,
                name: vm.name(*vmid),
                phase: world.phase(*vmid, now, scale),
                address: vm.address,
                uuid: vm.uuid(),
                lock: world.lock(*vmid),
                ssh: lab.hosts.listening(*vmid),
            })
            .collect(),
        faults: world.faults.clone(),
        tasks: world.ledger.active.iter().map(|task| task.upid.clone()).collect(),
        clock_offset: world.clock_offset,
    })
}

/// A connection to a lab's control socket.
pub struct Client {
    path: PathBuf,
    stream: BufReader<UnixStream>,
}

impl Client {
    /// Connects to the lab whose state lives in `state_dir`.
    ///
    /// # Errors
    /// No lab runs there.
    pub async fn connect(state_dir: &Path) -> Result<Self, LabError> {
        let path = state_dir.join(SOCKET);
        let stream = UnixStream::connect(&path).await.map_err(|source| LabError::Control { path: path.clone(), source })?;
        Ok(Self { path, stream: BufReader::new(stream) })
    }

    /// Asks, and returns the answer; a refusal is an error.
    ///
    /// # Errors
    /// The connection broke, or the lab refused.
    pub async fn ask(&mut self, request: &Request) -> Result<Answer, LabError> {
        let broken = |source| LabError::Control { path: self.path.clone(), source };
        let mut line = serde_json::to_vec(request).map_err(|error| LabError::Refused(error.to_string()))?;
        line.push(b'\n');
        self.stream.get_mut().write_all(&line).await.map_err(broken)?;
        let mut text = String::new();
        self.stream.read_line(&mut text).await.map_err(broken)?;
        match serde_json::from_str(&text) {
            Ok(Answer::Refused(why)) => Err(LabError::Refused(why)),
            Ok(answer) => Ok(answer),
            Err(error) => Err(LabError::Refused(format!("cannot read its answer {text:?}: {error}"))),
        }
    }

    /// The lab's status.
    ///
    /// # Errors
    /// As [`Client::ask`].
    pub async fn status(&mut self) -> Result<Status, LabError> {
        match self.ask(&Request::Status).await? {
            Answer::Status(status) => Ok(status),
            other => Err(LabError::Refused(format!("expected a status, got {other:?}"))),
        }
    }

    /// The requests served so far.
    ///
    /// # Errors
    /// As [`Client::ask`].
    pub async fn requests(&mut self, clear: bool) -> Result<Vec<Served>, LabError> {
        match self.ask(&Request::Requests { clear }).await? {
            Answer::Requests(list) => Ok(list),
            other => Err(LabError::Refused(format!("expected requests, got {other:?}"))),
        }
    }

    /// What stood in the machines' lists of processes so far.
    ///
    /// # Errors
    /// As [`Client::ask`].
    pub async fn processes(&mut self) -> Result<Vec<String>, LabError> {
        match self.ask(&Request::Processes).await? {
            Answer::Processes(list) => Ok(list),
            other => Err(LabError::Refused(format!("expected processes, got {other:?}"))),
        }
    }

    /// Sets a fault.
    ///
    /// # Errors
    /// As [`Client::ask`].
    pub async fn set_fault(&mut self, kind: FaultKind, vmid: Option<u32>) -> Result<(), LabError> {
        self.ask(&Request::SetFault { kind, vmid }).await.map(drop)
    }

    /// Changes a VM behind Proxmox's back.
    ///
    /// # Errors
    /// As [`Client::ask`].
    pub async fn tinker(&mut self, vmid: u32, change: Tinker) -> Result<(), LabError> {
        self.ask(&Request::Tinker { vmid, change }).await.map(drop)
    }
}
