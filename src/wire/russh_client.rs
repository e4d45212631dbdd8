//! The SSH client: one connection per host, opened once for all who ask at the same time, replaced when it has gone.

use std::collections::HashMap;
use std::future::Future;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::BoxFuture;

use crate::wire::clock::{Clock as _, SystemClock};
use crate::wire::connection::{Connection, Dial, Fault};
use crate::wire::exec::{Endings, Job};
use crate::wire::hostkey::{HostKeys, Pins};
use crate::wire::login::Keys;
use crate::wire::map::ConnectMap;
use crate::wire::sftp;
use crate::wire::ssh::{Exec, Output, RemoteFile, Sink, Ssh, SshError, Target, Upload};
use crate::wire::sshconfig::{ConfigFile, Hop};

#[cfg(test)]
#[path = "russh_tests.rs"]
mod tests;

/// Session channels at once on one connection. sshd's default `MaxSessions` is 10, and with 8 in flight a fifth of the requests was refused, with 4 none.
pub const CHANNELS: usize = 4;

/// For the TCP connection of a host that should be there.
const CONNECT_WITHIN: Duration = Duration::from_secs(10);

/// For one that is being waited for: asking again beats waiting on a packet that a booting machine dropped.
const KNOCK_WITHIN: Duration = Duration::from_secs(2);

/// A kept connection whose host was restarted answers nothing.
const ANSWER_WITHIN: Duration = Duration::from_secs(3);

/// Reading one file of bounded size.
const READ_WITHIN: Duration = Duration::from_secs(60);

/// Between two looks at a host that is being waited for: from the first to the last.
const PAUSES: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));

/// What the client needs to know of its surroundings.
#[derive(Clone, Debug)]
pub struct SshSettings {
    /// Which address is dialled for the one that is meant.
    pub map: ConnectMap,
    /// The user's home: key files and `~` in the ssh config.
    pub home: PathBuf,
    /// The ssh config; a missing file is an empty one.
    pub ssh_config: Option<PathBuf>,
    /// The socket of the ssh agent.
    pub agent_socket: Option<PathBuf>,
    /// Session channels at once on one connection.
    pub channels: usize,
}

impl SshSettings {
    /// The usual: `~/.ssh/config`, no agent, [`CHANNELS`].
    pub fn new(map: ConnectMap, home: impl Into<PathBuf>) -> Self {
        let home = home.into();
        Self { map, ssh_config: Some(home.join(".ssh/config")), home, agent_socket: None, channels: CHANNELS }
    }
}

/// The process's SSH client.
pub struct SshClient {
    map: ConnectMap,
    channels: usize,
    config: ConfigFile,
    keys: Keys,
    host_keys: HostKeys,
    pool: Mutex<HashMap<Hop, Arc<Slot>>>,
    endings: Arc<Endings>,
    clock: SystemClock,
}

/// The one connection of a hop, and the queue of those who want it.
#[derive(Default)]
struct Slot {
    held: tokio::sync::Mutex<Held>,
    attempts: AtomicU64,
}

#[derive(Default)]
struct Held {
    connection: Option<Arc<Connection>>,
    /// The last attempt's number and why it failed: shared by all who had been waiting when it began.
    failed: Option<(u64, SshError)>,
}

impl SshClient {
    /// A client that keeps host keys in `pins`.
    pub fn new(settings: SshSettings, pins: Arc<dyn Pins>) -> Self {
        Self {
            map: settings.map,
            channels: settings.channels,
            config: ConfigFile { path: settings.ssh_config, home: settings.home.clone() },
            keys: Keys { home: settings.home, agent: settings.agent_socket },
            host_keys: HostKeys::new(pins),
            pool: Mutex::default(),
            endings: Arc::default(),
            clock: SystemClock::new(),
        }
    }

    fn pool(&self) -> MutexGuard<'_, HashMap<Hop, Arc<Slot>>> {
        self.pool.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The connection to `hop`. Whoever asks while it is being opened gets the same one, or the same failure.
    fn connection<'a>(&'a self, hop: &'a Hop, connect_within: Duration) -> BoxFuture<'a, Result<Arc<Connection>, SshError>> {
        Box::pin(async move {
            let slot = Arc::clone(self.pool().entry(hop.clone()).or_default());
            let arrived = slot.attempts.load(Ordering::SeqCst);
            let mut held = slot.held.lock().await;
            if let Some(connection) = held.connection.as_ref().filter(|connection| !connection.is_closed()) {
                return Ok(Arc::clone(connection));
            }
            if let Some((_, error)) = held.failed.as_ref().filter(|(attempt, _)| *attempt > arrived) {
                return Err(error.clone());
            }
            let attempt = slot.attempts.fetch_add(1, Ordering::SeqCst) + 1;
            held.connection = None;
            match self.open(hop, connect_within).await {
                Ok(connection) => {
                    let connection = Arc::new(connection);
                    *held = Held { connection: Some(Arc::clone(&connection)), failed: None };
                    Ok(connection)
                }
                Err(error) => {
                    held.failed = Some((attempt, error.clone()));
                    Err(error)
                }
            }
        })
    }

    async fn open(&self, hop: &Hop, connect_within: Duration) -> Result<Connection, SshError> {
        let route = self.config.route(hop)?;
        let via = match &route.jump {
            Some(jump) => Some(self.connection(jump, connect_within).await?),
            None => None,
        };
        let dial = Dial {
            map: &self.map,
            host_keys: &self.host_keys,
            keys: &self.keys,
            target: &hop.target,
            route: &route,
            via,
            connect_within,
            channels: self.channels,
            endings: &self.endings,
        };
        dial.open().await
    }

    /// Forgets this connection, unless another has taken its place.
    async fn discard(&self, hop: &Hop, gone: &Arc<Connection>) {
        let slot = self.pool().get(hop).map(Arc::clone);
        if let Some(slot) = slot {
            let mut held = slot.held.lock().await;
            if held.connection.as_ref().is_some_and(|held| Arc::ptr_eq(held, gone)) {
                held.connection = None;
            }
        }
        gone.close().await;
    }

    /// Does `work` on the connection to `target`, once more on a new one when the old had gone before anything began.
    pub(super) async fn on<T, F, W>(&self, target: &Target, ask: Ask<'_>, work: F) -> Result<T, SshError>
    where
        F: Fn(Arc<Connection>) -> W,
        W: Future<Output = Result<T, Fault>>,
    {
        let hop = Hop { target: target.clone(), via: Vec::new() };
        let attempts = async {
            let mut again = true;
            loop {
                let connection = self.connection(&hop, CONNECT_WITHIN).await?;
                let done = tokio::select! {
                    biased;
                    done = work(Arc::clone(&connection)) => done,
                    () = connection.lost() => Err(lost(&connection, &ask)),
                };
                match done {
                    Ok(done) => return Ok(done),
                    Err(Fault::Told(error)) => return Err(error),
                    Err(Fault::Gone(cause)) => {
                        self.discard(&hop, &connection).await;
                        if !again {
                            return Err(SshError::Connect { host: connection.name.clone(), cause });
                        }
                        again = false;
                    }
                }
            }
        };
        match tokio::time::timeout(ask.deadline, attempts).await {
            Ok(result) => result,
            Err(_) => Err(self.late(&hop, &ask)),
        }
    }

    fn late(&self, hop: &Hop, ask: &Ask<'_>) -> SshError {
        let (host, seconds) = (self.name(hop), ask.deadline.as_secs());
        if ask.begun.load(Ordering::SeqCst) {
            return SshError::Deadline { host, what: ask.what.to_owned(), seconds };
        }
        SshError::Connect { host, cause: format!("no free channel within {seconds} s, so `{}` did not begin", ask.what) }
    }

    /// `user@host:port` of a host to which there may be no connection.
    fn name(&self, hop: &Hop) -> String {
        match self.config.route(hop) {
            Ok(route) => format!("{}@{}", route.user, route.address),
            Err(_) => hop.target.host.clone(),
        }
    }

    /// A login that works now, on a connection that answers now.
    async fn knock(&self, hop: &Hop) -> Result<(), SshError> {
        let connection = self.connection(hop, KNOCK_WITHIN).await?;
        if connection.answers(ANSWER_WITHIN).await {
            return Ok(());
        }
        self.discard(hop, &connection).await;
        Err(SshError::Connect { host: connection.name.clone(), cause: "it stopped answering".to_owned() })
    }
}

/// One request, for deadlines and their errors.
pub(super) struct Ask<'a> {
    pub(super) what: &'a str,
    pub(super) deadline: Duration,
    /// Whether the host may have begun.
    pub(super) begun: &'a AtomicBool,
}

impl Ssh for SshClient {
    fn exec<'a>(&'a self, target: &'a Target, exec: Exec, sink: Sink<'a>) -> BoxFuture<'a, Result<Output, SshError>> {
        Box::pin(async move {
            let text = exec.command.render().map_err(|e| SshError::Local(e.to_string()))?;
            let text = exec.mark.iter().fold(text, |text, mark| format!("PMX_TASK={mark}.$$; export PMX_TASK\n{text}"));
            let what = exec.name.map_or_else(|| shortened(&exec.command.to_string()), str::to_owned);
            let begun = AtomicBool::new(false);
            let ask = Ask { what: &what, deadline: exec.deadline, begun: &begun };
            let began = || begun.store(true, Ordering::SeqCst);
            let words = exec.command.words();
            let job = Job { text: &text, words, input: &exec.input, keep: exec.keep, what: &what, begun: &began };
            let job = &job;
            let output = self.on(target, ask, |connection| async move { job.run(&connection, sink).await }).await;
            if matches!(output, Err(SshError::Deadline { .. })) {
                // Whoever hears of the deadline may start something else there, or end this process.
                self.endings.settle().await;
            }
            output
        })
    }

    fn settle(&self) -> BoxFuture<'_, ()> {
        Box::pin(self.endings.settle())
    }

    fn upload<'a>(
        &'a self,
        target: &'a Target,
        files: Vec<Upload>,
        deadline: Duration,
        progress: &'a (dyn Fn(u64) + Send + Sync),
    ) -> BoxFuture<'a, Result<Vec<String>, SshError>> {
        Box::pin(async move {
            let (what, begun) = (format!("upload of {} files", files.len()), AtomicBool::new(false));
            let temporary = sftp::Temporary::default();
            let (files, left, started) = (&files, &temporary, &begun);
            let uploaded = self.on(target, Ask { what: &what, deadline, begun: &begun }, |connection| async move {
                let session = sftp::Session::open(&connection, deadline).await?;
                started.store(true, Ordering::SeqCst);
                session.upload(files, progress, left).await.map_err(Fault::Told)
            });
            let result = uploaded.await;
            if result.is_err() && temporary.any() {
                self.sweep(target, &temporary).await;
            }
            result
        })
    }

    fn list<'a>(
        &'a self,
        target: &'a Target,
        dir: &'a str,
        digests: bool,
        deadline: Duration,
    ) -> BoxFuture<'a, Result<Vec<RemoteFile>, SshError>> {
        Box::pin(async move {
            let (what, begun) = (format!("list of {dir}"), AtomicBool::new(true));
            let ask = Ask { what: &what, deadline, begun: &begun };
            self.on(target, ask, |connection| async move {
                let session = sftp::Session::open(&connection, deadline).await?;
                let files = session.list(dir).await.map_err(Fault::Told)?;
                drop(session);
                if digests { sftp::with_digests(&connection, dir, files).await } else { Ok(files) }
            })
            .await
        })
    }

    fn read<'a>(&'a self, target: &'a Target, path: &'a str, limit: u64) -> BoxFuture<'a, Result<Option<Vec<u8>>, SshError>> {
        Box::pin(async move {
            let (what, begun) = (format!("reading of {path}"), AtomicBool::new(true));
            let ask = Ask { what: &what, deadline: READ_WITHIN, begun: &begun };
            self.on(target, ask, |connection| async move {
                let session = sftp::Session::open(&connection, READ_WITHIN).await?;
                session.read(path, limit).await.map_err(Fault::Told)
            })
            .await
        })
    }

    fn wait<'a>(&'a self, target: &'a Target, deadline: Duration) -> BoxFuture<'a, Result<(), SshError>> {
        Box::pin(async move {
            let hop = Hop { target: target.clone(), via: Vec::new() };
            let (until, mut pause) = (self.clock.elapsed() + deadline, PAUSES.0);
            let mut last = SshError::Connect { host: self.name(&hop), cause: format!("no login within {} s", deadline.as_secs()) };
            loop {
                let left = until.saturating_sub(self.clock.elapsed());
                if left.is_zero() {
                    return Err(last);
                }
                match tokio::time::timeout(left, self.knock(&hop)).await {
                    Ok(Ok(())) => return Ok(()),
                    Ok(Err(SshError::Connect { host, cause })) => last = SshError::Connect { host, cause },
                    // Waiting changes none of the others.
                    Ok(Err(error)) => return Err(error),
                    Err(_) => return Err(last),
                }
                self.clock.sleep(pause.min(left)).await;
                pause = (pause * 3 / 2).min(PAUSES.1);
            }
        })
    }

    fn forget<'a>(&'a self, target: &'a Target) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            self.host_keys.next_boot(&target.identity);
            let mut gone = Vec::new();
            self.pool().retain(|hop, slot| {
                let stays = hop.target.identity != target.identity;
                if !stays {
                    gone.push(Arc::clone(slot));
                }
                stays
            });
            for slot in gone {
                // A slot that is locked is being opened by somebody who will find out.
                let connection = slot.held.try_lock().ok().and_then(|mut held| held.connection.take());
                if let Some(connection) = connection {
                    connection.close().await;
                }
            }
        })
    }
}

impl SshClient {
    /// Removes what a failed upload left behind; best effort, because the host may be gone.
    async fn sweep(&self, target: &Target, temporary: &sftp::Temporary) {
        let (begun, deadline) = (AtomicBool::new(true), Duration::from_secs(5));
        let ask = Ask { what: "removal of temporary files", deadline, begun: &begun };
        let swept = self.on(target, ask, |connection| async move {
            let session = sftp::Session::open(&connection, deadline).await?;
            session.remove(temporary).await;
            Ok(())
        });
        let _ = swept.await;
    }
}

/// What happened to work whose connection is gone.
fn lost(connection: &Connection, ask: &Ask<'_>) -> Fault {
    let (host, cause) = (connection.name.clone(), "it is gone".to_owned());
    if ask.begun.load(Ordering::SeqCst) { SshError::Broken { host, what: ask.what.to_owned(), cause }.into() } else { Fault::Gone(cause) }
}

/// A command for an error's text.
fn shortened(command: &str) -> String {
    const MOST: usize = 200;
    match command.char_indices().nth(MOST) {
        Some((at, _)) => format!("{}…", &command[..at]),
        None => command.to_owned(),
    }
}
