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
use russh::server::Config;
use russh::{MethodKind, MethodSet};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

mod login;
#[cfg(test)]
mod ssh_tests;

pub use super::machine::{HostFaults, Machine};

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
    let (cut, broken) = watch::channel(false);
    let line = Line::new(stream, stop, broken);
    let session = russh::server::run_stream(Arc::new(config), line, login::Login::new(machine, cut)).await?;
    session.await
}

/// A connection that breaks, without a goodbye, when it is told to.
struct Line {
    stream: TcpStream,
    broken: Pin<Box<dyn Future<Output = ()> + Send>>,
}

impl Line {
    fn new(stream: TcpStream, mut stop: watch::Receiver<bool>, mut cut: watch::Receiver<bool>) -> Self {
        let broken = async move {
            tokio::select! {
                _ = stop.wait_for(|now| *now) => {}
                _ = cut.wait_for(|now| *now) => {}
            }
        };
        Self { stream, broken: Box::pin(broken) }
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
    let key = PrivateKey::from_openssh(&text)
        .map_err(|e| io::Error::new(io::ErrorKind::InvalidData, format!("the kept host key is not readable: {e}")))?;
    if !other {
        show_public_key(machine, &key);
    }
    Ok(key)
}

/// Where an installer looks for the key that the installed system will show.
fn show_public_key(machine: &dyn Machine, key: &PrivateKey) {
    const PATH: &str = "/etc/ssh/ssh_host_ed25519_key.pub";
    let Ok(line) = key.public_key().to_openssh().map(|line| line + "\n") else { return };
    machine.with(&mut |host| {
        if host.files.read(PATH).is_ok_and(|bytes| *bytes == line.as_bytes()) {
            return;
        }
        // On a full disk there is no such file, and the server serves all the same.
        host.files.mkdir_all("/etc/ssh", 0o755).and_then(|()| host.files.write(PATH, line.clone().into_bytes(), 0o644)).ok();
    });
}
