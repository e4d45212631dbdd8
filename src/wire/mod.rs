//! The outside world: HTTPS, SSH, plain TCP and the clock, behind traits that a script can stand in for.
//!
//! Holds: the HTTP client, the SSH client with SFTP and host keys, the TCP client, names of hosts, the clock, the address map, and scripted doubles of each
//! Imports: event, secret
//! Effects: sockets, the ssh agent, key and CA files, the ssh config, the system's files of names, files to upload, clocks, sleeps
//! Never: waits without a deadline, retries what may have happened, prints

pub mod clock;
pub mod command;
mod connection;
mod content;
mod eager;
mod exec;
pub mod hostkey;
pub mod http;
pub mod https;
mod login;
pub mod map;
pub mod names;
pub mod percent;
pub mod russh_client;
#[cfg(test)]
pub mod scripted;
mod sftp;
pub mod ssh;
mod sshconfig;
#[cfg(test)]
mod sshd;
pub mod talk;
pub mod tcp;
pub mod tls;

use std::sync::Arc;

/// Everything through which pmx touches other machines; cheap to clone.
#[derive(Clone)]
pub struct Wire {
    /// HTTPS.
    pub http: Arc<dyn http::Http>,
    /// SSH and SFTP.
    pub ssh: Arc<dyn ssh::Ssh>,
    /// Plain TCP.
    pub tcp: Arc<dyn tcp::Tcp>,
    /// Time.
    pub clock: Arc<dyn clock::Clock>,
}
