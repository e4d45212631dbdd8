//! The practice fleet: machines that speak the real protocols on loopback.
//!
//! Holds: the SSH and SFTP servers, a small shell, and the insides of the practice VMs
//! Imports: none
//! Effects: listens on the loopback sockets that it is given; reads the clock
//! Never: runs a program of this machine, touches its files, or is known to any other room

pub mod commands;
pub mod host;
pub mod machine;
pub mod sftp;
pub mod shell;
pub mod ssh;

#[cfg(test)]
mod rig;
