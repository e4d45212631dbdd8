//! Real components on this machine's loopback, each started for one test in a temporary directory and ended by its process id.

pub mod cell;
pub mod cut;
pub mod docker;
pub mod guest;
pub mod image;
pub mod memory;
pub mod minecraft;
mod present;
pub mod registry;
pub mod sshd;
pub mod tailnet;
pub mod tmux;
pub mod web;

use std::path::{Path, PathBuf};

pub use present::present;

/// Where programs are that an ordinary user's PATH leaves out.
const ALSO: [&str; 5] = ["/usr/local/sbin", "/usr/sbin", "/sbin", "/usr/bin", "/bin"];

/// The programs of a component, in the order asked for; `None` when the test is to be skipped.
///
/// # Panics
/// When one is missing and `PMX_REAL=1` says that the machine has them all.
#[track_caller]
pub fn needs<const N: usize>(programs: [&str; N]) -> Option<[PathBuf; N]> {
    let path = std::env::var("PATH").unwrap_or_default();
    let folders: Vec<&str> = path.split(':').chain(ALSO).collect();
    let find = |name: &str| folders.iter().map(|folder| Path::new(folder).join(name)).find(|path| path.is_file());
    let found = programs.map(|name| present(name, find(name)));
    found.iter().all(Option::is_some).then(|| found.map(Option::unwrap_or_default))
}

/// Whether this process may do what only root may: sshd and dockerd need it.
pub fn is_root() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    status.lines().any(|line| line.starts_with("Uid:") && line.split_whitespace().nth(2) == Some("0"))
}

/// Runs a program to its end and returns its standard output.
///
/// # Panics
/// When it fails; with all that it said.
#[track_caller]
pub fn run(command: &mut std::process::Command) -> String {
    let out = command.stdin(std::process::Stdio::null()).output().unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(out.status.success(), "{command:?} ended with {}\n{}{}", out.status, text(&out.stdout), text(&out.stderr));
    text(&out.stdout)
}
