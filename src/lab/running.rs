//! A lab that runs: the world behind its lock, the tasks under way, and the loops that serve, save and refresh.

use std::collections::{BTreeMap, VecDeque};
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;
use tokio::sync::{Notify, OwnedMutexGuard, oneshot};
use tokio::task::JoinSet;

use super::ambush::Ambushes;
use super::clock::Clock;
use super::faults::FaultKind;
use super::hosts::{self, Hosts};
use super::keep::Keep;
use super::world::World;
use super::world::task::Opening;
use super::{Dialect, LabError, Options, Ready, control, pve};

/// Requests that are remembered for tests.
const REMEMBER: usize = 10_000;

/// How long a genuine worker waits for the lock of a VM's configuration, in seconds.
pub const FLOCK_WAIT: f64 = 10.0;

/// One request that was served.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Served {
    /// `GET`, …
    pub method: String,
    /// The path as sent, without `/api2/json` and without the query.
    pub path: String,
    /// Who asked, empty before a login.
    pub actor: String,
    /// The status that was sent; 0 when the connection was dropped instead.
    pub status: u16,
}

/// A VM as pvestatd saw it last: `/cluster/resources` answers from these.
#[derive(Clone, Debug)]
pub struct Sight {
    /// `running` or `stopped`.
    pub status: &'static str,
    /// Seconds.
    pub uptime: i64,
}

/// What tests look at, and what they have laid.
#[derive(Default)]
struct Watched {
    served: Mutex<VecDeque<Served>>,
    processes: Mutex<VecDeque<String>>,
    ambushes: Ambushes,
}

/// A running lab.
pub struct Lab {
    world: Mutex<World>,
    /// Its clock.
    pub clock: Clock,
    /// How it was started.
    pub options: Options,
    /// What it told when it was ready.
    pub ready: Ready,
    flocks: Mutex<BTreeMap<u32, Arc<tokio::sync::Mutex<()>>>>,
    cancels: Mutex<BTreeMap<String, Arc<Notify>>>,
    watched: Watched,
    sights: Mutex<BTreeMap<u32, Sight>>,
    /// The insides of its machines.
    pub hosts: Hosts,
    /// Programs that guest agents were asked to run.
    pub started: pve::guest::Started,
    dirty: Notify,
    workers: Mutex<JoinSet<()>>,
}

/// Locks even after a panic elsewhere: the data behind is whole after each single change.
fn held<T>(lock: &Mutex<T>) -> MutexGuard<'_, T> {
    lock.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The hand of a task at its lab.
pub struct Job {
    /// The lab.
    pub lab: Arc<Lab>,
    /// The task's name.
    pub upid: String,
}

impl Job {
    /// Adds a line to the task's log.
    pub fn log(&self, line: &str) {
        self.lab.change(|world| world.ledger.log(&self.upid, line));
    }
}

impl Lab {
    /// Looks at the world.
    pub fn read<T>(&self, look: impl FnOnce(&World) -> T) -> T {
        look(&held(&self.world))
    }

    /// Changes the world; it is saved soon after.
    pub fn change<T>(&self, change: impl FnOnce(&mut World) -> T) -> T {
        let result = change(&mut held(&self.world));
        self.dirty.notify_one();
        result
    }

    /// Takes a VM away, with its inside.
    pub fn forget(&self, vmid: u32) {
        self.change(|world| world.forget(vmid));
        self.hosts.forget(vmid);
    }

    /// Whether it speaks like 9.2.
    pub fn nine(&self) -> bool {
        self.options.dialect == Dialect::Nine
    }

    /// The lock of a VM's configuration file, which start, stop, delete and changes hold while they work.
    ///
    /// # Errors
    /// Proxmox's words after 10 s of waiting (times the pace).
    pub async fn flock(&self, vmid: u32) -> Result<OwnedMutexGuard<()>, String> {
        let lock = Arc::clone(held(&self.flocks).entry(vmid).or_default());
        let wait = self.clock.span(FLOCK_WAIT);
        tokio::time::timeout(wait, lock.lock_owned())
            .await
            .map_err(|_| format!("can't lock file '/var/lock/qemu-server/lock-{vmid}.conf' - got timeout"))
    }

    /// Starts a task and returns its UPID at once.
    pub fn fork<F, T>(self: &Arc<Self>, actor: &str, kind: &'static str, id: &str, body: F) -> String
    where
        F: FnOnce(Job) -> T,
        T: Future<Output = Result<(), String>> + Send + 'static,
    {
        let now = self.clock.now();
        let step = u32::try_from(self.clock.noise() % 11).unwrap_or(0);
        let upid = self.change(|world| {
            let pstart = ((now - world.site.booted).max(0.0) * 100.0) as u64;
            let node = world.site.node.clone();
            let opening = Opening { node: &node, start: now.floor() as i64, pstart, kind, id, user: actor };
            world.ledger.open(&opening, step)
        });
        let cancel = Arc::new(Notify::new());
        held(&self.cancels).insert(upid.clone(), Arc::clone(&cancel));
        let work = body(Job { lab: Arc::clone(self), upid: upid.clone() });
        let lab = Arc::clone(self);
        let (name, vmid) = (upid.clone(), id.parse().ok());
        let whole = async move {
            let result = tokio::select! {
                result = lab.faulty(&name, vmid, work) => result,
                () = cancel.notified() => Err("received interrupt".to_owned()),
            };
            lab.finish(&name, result);
        };
        let mut workers = held(&self.workers);
        while workers.try_join_next().is_some() {}
        workers.spawn(whole);
        drop(workers);
        upid
    }

    /// Runs a task's work under the faults that are set; the text of success is `OK` or `WARNINGS: 1`.
    async fn faulty(
        self: &Arc<Self>,
        upid: &str,
        vmid: Option<u32>,
        work: impl Future<Output = Result<(), String>> + Send,
    ) -> Result<&'static str, String> {
        let fails = self.read(|world| world.fault(vmid, &FaultKind::TaskFails(String::new())).cloned());
        if let Some(FaultKind::TaskFails(text)) = fails {
            self.clock.wait(0.5).await;
            return Err(text);
        }
        work.await?;
        if self.read(|world| world.fault(vmid, &FaultKind::TaskWarnings).is_some()) {
            self.change(|world| world.ledger.log(upid, "WARN: a fault of the lab asks for a warning"));
            return Ok("WARNINGS: 1");
        }
        Ok("OK")
    }

    fn finish(&self, upid: &str, result: Result<&'static str, String>) {
        let now = self.clock.unix();
        let exit = result.map_or_else(|error| error, str::to_owned);
        self.change(|world| world.ledger.close(upid, exit.lines().next().unwrap_or(""), now));
        held(&self.cancels).remove(upid);
    }

    /// Interrupts a task that is under way; finished ones stay as they are.
    pub fn interrupt(&self, upid: &str) {
        if let Some(cancel) = held(&self.cancels).get(upid) {
            cancel.notify_one();
        }
    }

    /// Remembers a request.
    pub fn note(&self, served: Served) {
        let mut all = held(&self.watched.served);
        if all.len() == REMEMBER {
            all.pop_front();
        }
        all.push_back(served);
    }

    /// The requests so far, oldest first; forgets them when `clear`.
    pub fn requests(&self, clear: bool) -> Vec<Served> {
        let mut all = held(&self.watched.served);
        let list = all.iter().cloned().collect();
        if clear {
            all.clear();
        }
        list
    }

    /// Remembers a command line that every user of a machine could read.
    pub fn note_process(&self, line: String) {
        let mut all = held(&self.watched.processes);
        if all.len() == REMEMBER {
            all.pop_front();
        }
        all.push_back(line);
    }

    /// The command lines so far, oldest first.
    pub fn processes(&self) -> Vec<String> {
        held(&self.watched.processes).iter().cloned().collect()
    }

    /// What waits for its request.
    pub fn ambushes(&self) -> &Ambushes {
        &self.watched.ambushes
    }

    /// What pvestatd saw last.
    pub fn sight(&self, vmid: u32) -> Option<Sight> {
        held(&self.sights).get(&vmid).cloned()
    }

    /// Looks at every VM as pvestatd does.
    pub fn look_around(&self) {
        let now = self.clock.now();
        let seen = self.read(|world| {
            let each = world.vms.iter().map(|(vmid, vm)| {
                let uptime = vm.run.as_ref().map_or(0, |run| (now - run.started).max(0.0) as i64);
                (*vmid, Sight { status: vm.status(), uptime })
            });
            each.collect()
        });
        *held(&self.sights) = seen;
    }

    /// Replaces the world by a fresh one; tasks under way are cut off.
    pub fn reset(&self) {
        held(&self.workers).abort_all();
        held(&self.cancels).clear();
        held(&self.flocks).clear();
        self.clock.advance(-self.read(|world| world.clock_offset));
        let fresh = super::world::seed::world(&self.options.node, self.options.seed, self.clock.now());
        self.change(|world| *world = fresh);
        self.hosts.clear();
        self.look_around();
    }

    async fn save_loop(self: Arc<Self>, keep: Arc<Keep>) {
        loop {
            self.dirty.notified().await;
            self.clock.rest(Duration::from_millis(15)).await;
            // A full disk costs the latest changes, not the practice session: the next change tries again.
            let _ = self.save(&keep).await;
        }
    }

    async fn save(&self, keep: &Arc<Keep>) -> Result<(), LabError> {
        let text = self
            .read(serde_json::to_vec)
            .map_err(|error| LabError::Unreadable { path: keep.path("world.json"), why: error.to_string() })?;
        let keep = Arc::clone(keep);
        let written = tokio::task::spawn_blocking(move || keep.write("world.json", &text)).await;
        written.unwrap_or(Ok(()))
    }

    /// The insides of the machines change with every command, also with those that only look: they are saved twice a second.
    async fn host_loop(self: Arc<Self>, keep: Arc<Keep>) {
        loop {
            self.clock.rest(Duration::from_millis(500)).await;
            let _ = self.save_hosts(&keep).await;
        }
    }

    async fn save_hosts(&self, keep: &Arc<Keep>) -> Result<(), LabError> {
        let hosts = self.hosts.take_changed();
        let keep = Arc::clone(keep);
        let written =
            tokio::task::spawn_blocking(move || hosts.into_iter().try_for_each(|(vmid, host)| keep.keep_host(vmid, host.as_deref())));
        written.await.unwrap_or(Ok(()))
    }

    async fn look_loop(self: Arc<Self>) {
        let period = self.clock.span(10.0).max(Duration::from_millis(50));
        loop {
            self.look_around();
            self.clock.rest(period).await;
        }
    }
}

/// See [`super::serve`].
pub(super) async fn serve(options: Options, ready: oneshot::Sender<Ready>, stop: impl Future<Output = ()> + Send) -> Result<(), LabError> {
    let keep = Arc::new(Keep::open(&options.state_dir)?);
    let identity = keep.identity(&options.node)?;
    let clock = Clock::new(0, options.pace);
    let mut world = keep.world(&options, clock.now())?;
    clock.advance(world.clock_offset);
    world.ledger.interrupt_all(clock.unix());
    let api = listen(options.listen).await?;
    let ssh_port = free_port(options.ssh_port).await?;
    let hosts = keep.hosts(world.vms.keys().copied())?;
    let address = api.local_addr().map_err(|source| LabError::Listen { at: options.listen.to_string(), source })?;
    let told = Ready { api: address, ssh_port, fingerprint: identity.fingerprint };
    let lab = Arc::new(Lab {
        world: Mutex::new(world),
        clock,
        options,
        ready: told.clone(),
        flocks: Mutex::default(),
        cancels: Mutex::default(),
        watched: Watched::default(),
        sights: Mutex::default(),
        hosts: Hosts::new(hosts),
        started: pve::guest::Started::default(),
        dirty: Notify::new(),
        workers: Mutex::new(JoinSet::new()),
    });
    lab.save(&keep).await?;
    keep.remove(control::SOCKET)?;
    let control = control::listen(&keep.path(control::SOCKET))?;
    let mut loops = JoinSet::new();
    loops.spawn(Arc::clone(&lab).save_loop(Arc::clone(&keep)));
    loops.spawn(Arc::clone(&lab).look_loop());
    loops.spawn(Arc::clone(&lab).host_loop(Arc::clone(&keep)));
    loops.spawn(hosts::serve(Arc::clone(&lab)));
    loops.spawn(control::serve(Arc::clone(&lab), control));
    loops.spawn(pve::http::serve(Arc::clone(&lab), api, identity.tls));
    // The caller may have gone away between start and readiness; the lab then simply runs until it is stopped.
    let _ = ready.send(told);
    stop.await;
    loops.shutdown().await;
    held(&lab.workers).abort_all();
    lab.save(&keep).await?;
    lab.save_hosts(&keep).await?;
    keep.remove(control::SOCKET)
}

async fn listen(at: std::net::SocketAddr) -> Result<TcpListener, LabError> {
    TcpListener::bind(at).await.map_err(|source| LabError::Listen { at: at.to_string(), source })
}

async fn free_port(wanted: u16) -> Result<u16, LabError> {
    if wanted != 0 {
        return Ok(wanted);
    }
    let probe = listen(([127, 0, 0, 1], 0).into()).await?;
    probe.local_addr().map(|at| at.port()).map_err(|source| LabError::Listen { at: "127.0.0.1:0".into(), source })
}
