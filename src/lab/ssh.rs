//! The SSH server behind a practice machine's address.
#![expect(clippy::disallowed_methods, reason = "the lab may not import wire; sshd_late is counted from the start of the server")]

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use ring::rand::{SecureRandom, SystemRandom};
use russh::keys::PrivateKey;
use russh::keys::ssh_key::LineEnding;
use russh::keys::ssh_key::private::Ed25519Keypair;
use russh::server::{Auth, Config, Handler, VerifiedPublicKey};
use russh::{MethodKind, MethodSet};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use super::host::HostState;

/// Misbehaviour that is asked for. Read at each connection, command and write, so a change acts at once.
#[derive(Clone, Debug, PartialEq)]
pub struct HostFaults {
    /// Waits this long before a command begins.
    pub slow: Duration,
    /// For so long after `serve` began, connections are accepted and closed without a word, as by a machine whose sshd is not up.
    pub sshd_late: Duration,
    /// Every write says ENOSPC.
    pub disk_full: bool,
    /// The connection breaks when an upload (SFTP or stdin) has brought this many bytes.
    pub cut_upload_after: Option<u64>,
    /// A host key that nobody has seen before.
    pub other_host_key: bool,
    /// No key is let in.
    pub refuse_login: bool,
    /// Seconds that the save of a game's world takes, instead of the game's own; more than the stop's grace means exit 137 and an unsaved world.
    pub save_seconds: Option<u64>,
    /// Commands begin, and never end.
    pub hang: bool,
    /// Real seconds per second of the practice machine: 1.0 is real time, 0.01 makes a minute's wait 0.6 seconds.
    pub pace: f64,
}

impl Default for HostFaults {
    fn default() -> Self {
        Self {
            slow: Duration::ZERO,
            sshd_late: Duration::ZERO,
            disk_full: false,
            cut_upload_after: None,
            other_host_key: false,
            refuse_login: false,
            save_seconds: None,
            hang: false,
            pace: 1.0,
        }
    }
}

/// The VM that an SSH server stands for, as the world of the lab keeps it.
pub trait Machine: Send + Sync + 'static {
    /// Runs `change` once, alone, on the machine's inside. Called often and briefly, also only to read: implementations hold a lock, and save later.
    fn with(&self, change: &mut dyn FnMut(&mut HostState));
    /// The machine switched itself off. Returns at once; the world stops serving it.
    fn power_off(&self);
    /// The machine restarted itself. Returns at once.
    fn reboot(&self);
    /// How it misbehaves now.
    fn faults(&self) -> HostFaults;
}

/// Serves SSH on `listener` until `stop` says true or its sender is gone; then every connection is dropped, as by a machine without power.
///
/// # Errors
/// When the host key in the state cannot be read, or the listener fails.
pub async fn serve(listener: TcpListener, machine: Arc<dyn Machine>, mut stop: watch::Receiver<bool>) -> io::Result<()> {
    host_key(machine.as_ref())?;
    let opens = tokio::time::Instant::now() + machine.faults().sshd_late;
    let ends = stop.clone();
    loop {
        tokio::select! {
            _ = stop.wait_for(|now| *now) => return Ok(()),
            accepted = listener.accept() => {
                let (stream, _) = accepted?;
                if tokio::time::Instant::now() < opens {
                    continue;
                }
                tokio::spawn(connection(stream, Arc::clone(&machine), ends.clone()));
            }
        }
    }
}

async fn connection(stream: TcpStream, machine: Arc<dyn Machine>, stop: watch::Receiver<bool>) -> Result<(), russh::Error> {
    let config = Config {
        methods: MethodSet::from(&[MethodKind::PublicKey][..]),
        auth_rejection_time: Duration::ZERO,
        auth_rejection_time_initial: Some(Duration::ZERO),
        keys: vec![host_key(machine.as_ref())?],
        inactivity_timeout: None,
        nodelay: true,
        ..Config::default()
    };
    let session = russh::server::run_stream(Arc::new(config), Line::new(stream, stop), Login { machine }).await?;
    session.await
}

/// A connection that breaks, without a goodbye, when it is told to.
struct Line {
    stream: TcpStream,
    broken: Pin<Box<dyn Future<Output = ()> + Send>>,
}

impl Line {
    fn new(stream: TcpStream, mut stop: watch::Receiver<bool>) -> Self {
        Self { stream, broken: Box::pin(async move { drop(stop.wait_for(|now| *now).await) }) }
    }
}

impl AsyncRead for Line {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.broken.as_mut().poll(cx).is_ready() {
            // Polled again after this it would panic, so it is replaced by one that is always ready.
            self.broken = Box::pin(std::future::ready(()));
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        Pin::new(&mut self.stream).poll_read(cx, into)
    }
}

impl AsyncWrite for Line {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// The key to show now; made and kept when the state has none.
fn host_key(machine: &dyn Machine) -> io::Result<PrivateKey> {
    let other = machine.faults().other_host_key;
    let mut seed = [0_u8; 32];
    SystemRandom::new().fill(&mut seed).map_err(|_| io::Error::other("the system gives no random bytes for a host key"))?;
    let fresh = PrivateKey::from(Ed25519Keypair::from_seed(&seed)).to_openssh(LineEnding::LF).map_err(io::Error::other)?;
    let mut text = String::new();
    machine.with(&mut |host| {
        let kept = if other { &mut host.other_host_key } else { &mut host.host_key };
        if kept.is_empty() {
            *kept = fresh.to_string();
        }
        text.clone_from(kept);
    });
    PrivateKey::from_openssh(&text)
        .map_err(|e| io::Error::new(io::ErrorKind::InvalidData, format!("the kept host key is not readable: {e}")))
}

/// One connection.
struct Login {
    machine: Arc<dyn Machine>,
}

impl Handler for Login {
    type Error = russh::Error;

    async fn auth_publickey(&mut self, _user: &str, _key: VerifiedPublicKey<'_>) -> Result<Auth, russh::Error> {
        Ok(if self.machine.faults().refuse_login { Auth::reject() } else { Auth::Accept })
    }
}
