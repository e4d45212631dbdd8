//! The lab: a practice fleet on loopback that speaks Proxmox's HTTP API and has SSH hosts behind its VMs' addresses.
//!
//! Holds: a simulated node with its VMs, tasks, accounts and storages, its saved state, its faults and its control socket
//! Imports: none
//! Effects: listens on loopback, writes one state directory, waits on its own clock
//! Never: reaches another machine, knows a type of pmx above the words, shares a client's code

use std::future::Future;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

mod ambush;
pub mod clock;
pub mod commands;
pub mod control;
pub mod faults;
pub mod host;
pub mod hosts;
mod keep;
pub mod machine;
pub mod pve;
#[cfg(test)]
mod rig;
pub mod running;
mod seal;
pub mod sftp;
pub mod shell;
pub mod ssh;
pub mod world;

pub use world::ROOT_PASSWORD;
pub use world::seed::Seed;

/// Which generation of Proxmox the lab speaks like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Dialect {
    /// 8.4.1.
    #[default]
    #[serde(rename = "8.4")]
    Eight,
    /// 9.2.11.
    #[serde(rename = "9.2")]
    Nine,
}

/// How a lab is run.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where its state lives between runs; made when missing.
    pub state_dir: PathBuf,
    /// Where the API listens. Port 0 takes a free one.
    pub listen: SocketAddr,
    /// The port on which every SSH host listens at 127.0.10.N. Port 0 takes a free one.
    pub ssh_port: u16,
    /// Factor on every wait of a genuine node: 1.0 is as slow as the real thing.
    pub pace: f64,
    /// Name of the node of a new world.
    pub node: String,
    /// Which generation it speaks like.
    pub dialect: Dialect,
    /// What a new world begins with.
    pub seed: Seed,
    /// How long an idle connection lives (5 s on a genuine node, whatever the pace).
    pub keep_alive: Duration,
}

impl Options {
    /// The usual lab with its state in `state_dir`: the fleet's ten VMs, 127.0.0.1:18006, SSH on port 18022, a tenth of real waits.
    pub fn new(state_dir: impl Into<PathBuf>) -> Self {
        Self {
            state_dir: state_dir.into(),
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 18006)),
            ssh_port: 18022,
            pace: 0.1,
            node: "keeb-dev-02".into(),
            dialect: Dialect::Eight,
            seed: Seed::Fleet,
            keep_alive: Duration::from_secs(5),
        }
    }
}

/// What a lab tells once it answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ready {
    /// Where the API listens.
    pub api: SocketAddr,
    /// The port of the SSH hosts.
    pub ssh_port: u16,
    /// SHA-256 of the certificate, upper-case hex with colons, as Proxmox shows it.
    pub fingerprint: String,
}

/// What keeps a lab from running.
#[derive(Debug, thiserror::Error)]
pub enum LabError {
    /// The state directory cannot be read or written.
    #[error("cannot {what} {path:?}: {source}")]
    State {
        /// `read`, `write`, …
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's words.
        source: std::io::Error,
    },
    /// The saved state is not one of this lab's.
    #[error("{path:?} is not a lab's state ({why}); move it away to begin anew")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// Another lab uses the state directory.
    #[error("a lab already runs with the state in {0:?}; stop it first")]
    Busy(PathBuf),
    /// The address cannot be listened on.
    #[error("cannot listen on {at}: {source}{}", listen_help(.source))]
    Listen {
        /// Address or socket path.
        at: String,
        /// The system's words.
        source: std::io::Error,
    },
    /// The certificate cannot be made or loaded.
    #[error("cannot use the lab's certificate: {0}")]
    Certificate(String),
    /// A control request failed.
    #[error("the lab refused: {0}")]
    Refused(String),
    /// The control connection broke.
    #[error("no answer from the lab at {path:?}: {source}")]
    Control {
        /// The socket.
        path: PathBuf,
        /// The system's words.
        source: std::io::Error,
    },
}

fn listen_help(source: &std::io::Error) -> &'static str {
    match source.kind() {
        std::io::ErrorKind::AddrInUse => {
            "; perhaps the practice fleet of another checkout: end it there with `pmx lab down`, or choose other ports in the profile \
             (`connect`, and `--listen` and `--ssh-port` in `start`)"
        }
        _ => "",
    }
}

/// Runs a lab until `stop` is done: opens or makes the state, tells `ready` once the API answers, saves everything at the end.
///
/// # Errors
/// The state cannot be used, or an address cannot be listened on.
pub async fn serve(options: Options, ready: oneshot::Sender<Ready>, stop: impl Future<Output = ()> + Send) -> Result<(), LabError> {
    running::serve(options, ready, stop).await
}
