//! One SSH connection: dialled, its host key judged, logged in, and shared by a bounded number of channels.

use std::borrow::Cow;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use russh::client::{Config, Handle, Handler, Msg};
use russh::keys::{PublicKey, PublicKeyOrCertificate};
use russh::{Channel, ChannelMsg, Disconnect, Preferred};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::wire::clock::{Clock as _, SystemClock};
use crate::wire::eager::Eager;
use crate::wire::exec::Endings;
use crate::wire::hostkey::{self, HostKeys};
use crate::wire::login::{Keys, Login};
use crate::wire::map::{Address, ConnectMap};
use crate::wire::names;
use crate::wire::ssh::{SshError, Target};
use crate::wire::sshconfig::Route;

/// TCP connection, key exchange and login together; sshd itself gives up after 120 s, but a name server that does not answer costs it 10 to 15.
pub(super) const HANDSHAKE_WITHIN: Duration = Duration::from_secs(20);

/// A host that answers at all answers a channel request at once; one that does not has gone away without a farewell.
const CHANNEL_WITHIN: Duration = Duration::from_secs(10);

/// A dead peer is noticed after 15 s × 3; without it a cut cable would hang for ever.
const KEEPALIVE: (Duration, usize) = (Duration::from_secs(15), 3);

/// How often somebody who waits for an answer looks whether the connection still stands, and how long answers may lie unread after it fell.
const LOOK_EVERY: Duration = Duration::from_millis(250);
const LAST_ANSWERS: Duration = Duration::from_secs(1);

/// Processors have instructions for these, and a large file is mostly encryption, on both sides.
const FAST: [russh::cipher::Name; 2] = [russh::cipher::AES_128_GCM, russh::cipher::AES_256_GCM];

/// After this many refusals of one request in a row the host takes fewer channels than we thought.
const PATIENCE: u32 = 3;

/// Why a host did not do what was asked: whether it can be asked again decides [`super::russh_client`].
#[derive(Debug)]
pub(super) enum Fault {
    /// The connection is gone and what was asked had certainly not begun.
    Gone(String),
    /// Final.
    Told(SshError),
}

impl From<SshError> for Fault {
    fn from(error: SshError) -> Self {
        Self::Told(error)
    }
}

/// A logged-in connection.
pub(super) struct Connection {
    handle: Handle<Watcher>,
    gate: Arc<Semaphore>,
    /// Places at the gate, free or taken.
    limit: AtomicUsize,
    /// `user@host:port`.
    pub(super) name: String,
    /// Where commands are counted that are being ended.
    pub(super) endings: Arc<Endings>,
    /// The connection that this one runs through stays open as long.
    _via: Option<Arc<Connection>>,
}

/// A session channel and the right to use it.
pub(super) struct Place {
    pub(super) channel: Channel<Msg>,
    pub(super) permit: OwnedSemaphorePermit,
}

/// What is needed to open a connection.
pub(super) struct Dial<'a> {
    pub(super) map: &'a ConnectMap,
    pub(super) host_keys: &'a HostKeys,
    pub(super) keys: &'a Keys,
    pub(super) target: &'a Target,
    pub(super) route: &'a Route,
    pub(super) via: Option<Arc<Connection>>,
    /// How long the TCP connection alone may take.
    pub(super) connect_within: Duration,
    /// Session channels at once.
    pub(super) channels: usize,
    pub(super) endings: &'a Arc<Endings>,
}

impl Dial<'_> {
    /// Opens the connection, or says why not. Nothing was asked of the host in any error.
    pub(super) async fn open(self) -> Result<Connection, SshError> {
        let name = format!("{}@{}", self.route.user, self.route.address);
        let late = || connect(&name, format!("no login within {} s", HANDSHAKE_WITHIN.as_secs()));
        tokio::time::timeout(HANDSHAKE_WITHIN, self.login(&name)).await.map_err(|_| late())?
    }

    async fn login(&self, name: &str) -> Result<Connection, SshError> {
        let known = self.host_keys.known(&self.target.identity, self.target.pinning)?;
        let seen = Arc::new(OnceLock::new());
        let watcher = Watcher { known: known.clone(), seen: Arc::clone(&seen) };
        let config = Arc::new(config(known.as_ref()));
        let shaken = match &self.via {
            None => russh::client::connect_stream(config, Eager::new(self.tcp(name).await?), watcher).await,
            Some(via) => russh::client::connect_stream(config, self.tunnel(via, name).await?.into_stream(), watcher).await,
        };
        let mut handle = match (shaken, known, seen.get()) {
            (Ok(handle), ..) => handle,
            (Err(_), Some(pinned), Some(seen)) if !hostkey::same(&pinned, seen) => {
                let (pinned, seen) = (hostkey::fingerprint(&pinned), hostkey::fingerprint(seen));
                return Err(SshError::KeyChanged { host: name.to_owned(), identity: self.target.identity.clone(), pinned, seen });
            }
            (Err(error), ..) => return Err(connect(name, error.to_string())),
        };
        match self.keys.log_in(&mut handle, self.route).await {
            Login::Accepted => {}
            Login::Denied(offered) => return Err(SshError::Denied { host: name.to_owned(), offered }),
            Login::Broken(cause) => return Err(connect(name, format!("during the login: {cause}"))),
        }
        if let Some(seen) = seen.get() {
            self.host_keys.learn(&self.target.identity, self.target.pinning, seen)?;
        }
        let channels = self.channels.max(1);
        let (gate, limit) = (Arc::new(Semaphore::new(channels)), AtomicUsize::new(channels));
        let endings = Arc::clone(self.endings);
        Ok(Connection { handle, gate, limit, name: name.to_owned(), endings, _via: self.via.clone() })
    }

    fn dialled(&self) -> Result<Address, SshError> {
        self.map.resolve(&self.route.address).map_err(|off| SshError::OffTheMap { host: off.0.to_string() })
    }

    async fn tcp(&self, name: &str) -> Result<TcpStream, SshError> {
        let to = self.dialled()?;
        let dialling = tokio::time::timeout(self.connect_within, names::connect(&to.host, to.port));
        let late = |_| connect(name, format!("no connection within {} s", self.connect_within.as_secs()));
        let stream = dialling.await.map_err(late)?.map_err(|e| connect(name, e.to_string()))?;
        // Commands are small and wait for their answer: Nagle's algorithm would hold each back.
        stream.set_nodelay(true).map_err(|e| connect(name, e.to_string()))?;
        Ok(stream)
    }

    async fn tunnel(&self, via: &Connection, name: &str) -> Result<Channel<Msg>, SshError> {
        // The map applies here too: a closed profile must not reach a real machine through a practice one.
        let to = self.dialled()?;
        let opened = via.handle.channel_open_direct_tcpip(to.host, u32::from(to.port), "127.0.0.1", 0).await;
        opened.map_err(|e| connect(name, format!("through {}: {e}", via.name)))
    }
}

fn connect(host: &str, cause: String) -> SshError {
    SshError::Connect { host: host.to_owned(), cause }
}

fn config(known: Option<&PublicKey>) -> Config {
    let usual = Preferred::DEFAULT;
    let key = Cow::Owned(hostkey::preferred(known, &usual.key));
    let rest = usual.cipher.iter().filter(|cipher| !FAST.contains(cipher)).copied();
    let cipher = Cow::Owned(FAST.into_iter().chain(rest).collect());
    Config {
        keepalive_interval: Some(KEEPALIVE.0),
        keepalive_max: KEEPALIVE.1,
        nodelay: true,
        preferred: Preferred { key, cipher, ..usual },
        ..Config::default()
    }
}

impl Connection {
    /// Whether it has ended.
    pub(super) fn is_closed(&self) -> bool {
        self.handle.is_closed()
    }

    /// Resolves when the connection has been gone for so long that no answer can still be on its way to whoever waits for one. SFTP itself would wait for
    /// its whole deadline.
    pub(super) async fn lost(&self) {
        let clock = SystemClock::new();
        while !self.is_closed() {
            clock.sleep(LOOK_EVERY).await;
        }
        clock.sleep(LAST_ANSWERS).await;
    }

    /// Whether the host still answers.
    pub(super) async fn answers(&self, within: Duration) -> bool {
        let answered = tokio::time::timeout(within, self.handle.send_ping()).await;
        matches!(answered, Ok(Ok(()))) && !self.is_closed()
    }

    /// Says farewell; what runs on it ends with an error.
    pub(super) async fn close(&self) {
        // It may be gone already, which is what is wanted.
        let _ = self.handle.disconnect(Disconnect::ByApplication, "", "").await;
    }

    /// A session channel, as soon as one is free. A host that refuses one (sshd's `MaxSessions`) is asked again: that is back-pressure. The wait is
    /// bounded by the caller's deadline.
    pub(super) async fn channel(self: &Arc<Self>) -> Result<Place, Fault> {
        let mut refusals = 0;
        let mut permit = self.permit().await?;
        loop {
            match tokio::time::timeout(CHANNEL_WITHIN, self.session()).await {
                Ok(Ok(channel)) => return Ok(Place { channel, permit }),
                Ok(Err(russh::Error::ChannelOpenFailure(_))) => refusals += 1,
                Ok(Err(error)) => return Err(Fault::Gone(error.to_string())),
                Err(_) => return Err(Fault::Gone(format!("no answer to a channel request within {} s", CHANNEL_WITHIN.as_secs()))),
            }
            SystemClock::new().sleep(Duration::from_millis(10 << refusals.min(6))).await;
            if refusals % PATIENCE == 0 && self.narrow() {
                permit.forget();
                permit = self.permit().await?;
            }
        }
    }

    /// Opens a session channel in a task of its own: when nobody waits for it any more it is closed instead of staying open, taken, on the host.
    async fn session(self: &Arc<Self>) -> Result<Channel<Msg>, russh::Error> {
        let (tell, told) = tokio::sync::oneshot::channel();
        let connection = Arc::clone(self);
        tokio::spawn(async move {
            let opened = connection.handle.channel_open_session().await;
            if let Err(Ok(unwanted)) = tell.send(opened) {
                let _ = unwanted.close().await;
            }
        });
        told.await.unwrap_or(Err(russh::Error::Disconnect))
    }

    /// Runs a script beside everything else, without a place at the gate, for work that belongs to something that holds one. Its exit status, if it
    /// left one; a host that has no channel to spare refuses.
    pub(super) async fn aside(self: &Arc<Self>, script: &str) -> Result<Option<u32>, russh::Error> {
        let mut channel = self.session().await?;
        channel.exec(true, script).await?;
        channel.eof().await?;
        let mut status = None;
        while let Some(message) = channel.wait().await {
            if let ChannelMsg::ExitStatus { exit_status } = message {
                status = Some(exit_status);
            }
        }
        Ok(status)
    }

    async fn permit(&self) -> Result<OwnedSemaphorePermit, Fault> {
        Arc::clone(&self.gate).acquire_owned().await.map_err(|e| Fault::Gone(e.to_string()))
    }

    /// Takes one place away for good, unless it is the last.
    fn narrow(&self) -> bool {
        let fewer = |limit: usize| (limit > 1).then(|| limit - 1);
        self.limit.fetch_update(Ordering::SeqCst, Ordering::SeqCst, fewer).is_ok()
    }
}

/// Sees the host's key and compares it with the one that is known.
pub(super) struct Watcher {
    known: Option<PublicKey>,
    seen: Arc<OnceLock<PublicKey>>,
}

impl Handler for Watcher {
    type Error = russh::Error;

    async fn check_server_key(&mut self, shown: &PublicKeyOrCertificate) -> Result<bool, Self::Error> {
        let shown = match shown {
            PublicKeyOrCertificate::PublicKey { key, .. } => key.clone(),
            PublicKeyOrCertificate::Certificate(certificate) => PublicKey::new(certificate.public_key().clone(), ""),
        };
        // A later key exchange on the same connection must show the same key again.
        let seen = self.seen.get_or_init(|| shown.clone());
        Ok(hostkey::same(seen, &shown) && self.known.as_ref().is_none_or(|known| hostkey::same(known, &shown)))
    }
}
