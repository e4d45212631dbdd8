//! SSH as models speak it: hosts with an identity, commands with a deadline, files that arrive whole or not at all.

use std::path::PathBuf;
use std::time::Duration;

use futures_util::future::BoxFuture;

use crate::event::Stream;
use crate::secret::Secret;
use crate::wire::command::Command;

/// A host to talk to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Target {
    /// An address, a name, or an alias of the user's ssh config.
    pub host: String,
    /// The port; without one the ssh config's, else 22.
    pub port: Option<u16>,
    /// The user; without one the ssh config's, else `root`.
    pub user: Option<String>,
    /// Whose host key this is: `vm:<smbios uuid>` or `host:<name>`. An address is not an identity.
    pub identity: String,
    /// How an unknown or changed key is treated.
    pub pinning: Pinning,
}

/// How host keys are treated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Pinning {
    /// Pinned on first use, checked ever after.
    Pinned,
    /// Any key, remembered for this process only: a netboot makes a new one at each boot.
    ThisBoot,
    /// The key seen now replaces the pin: only right after an installation that pmx itself made.
    Replace,
}

/// What goes to a command's standard input.
#[derive(Clone, Debug)]
pub enum Input {
    /// Nothing: closed at once.
    Empty,
    /// Bytes.
    Bytes(Vec<u8>),
    /// A secret: this is how secrets reach a command, never through its arguments.
    Secret(Secret),
}

/// One command to run.
#[derive(Clone, Debug)]
pub struct Exec {
    /// The command.
    pub command: Command,
    /// Its input.
    pub input: Input,
    /// From the request to the exit status; then the remote process group is ended and the call fails.
    pub deadline: Duration,
    /// How many bytes of each output are kept; the rest is streamed and dropped.
    pub keep: usize,
    /// What errors call it; otherwise they show its text.
    pub name: Option<&'static str>,
    /// A word by which the process group is found again from another connection: `PMX_TASK=<mark>.<pid of its leader>` is in its environment, and in the
    /// text of a shell that runs a script.
    pub mark: Option<String>,
}

impl Exec {
    /// `command` with empty input, this deadline, and 1 MiB kept of each output.
    pub const fn new(command: Command, deadline: Duration) -> Self {
        Self { command, input: Input::Empty, deadline, keep: 1 << 20, name: None, mark: None }
    }
}

/// What a command left behind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Output {
    /// Exit status; 128 + n when it was ended by signal n.
    pub status: i32,
    /// The end of standard output, at most `keep` bytes; bytes that are not UTF-8 are replaced.
    pub stdout: String,
    /// The end of standard error, likewise.
    pub stderr: String,
}

/// Takes each line of output as it comes. Must not block.
pub type Sink<'a> = &'a (dyn Fn(Stream, &str) + Send + Sync);

/// Where a file's bytes come from.
#[derive(Clone, Debug)]
pub enum Content {
    /// A local file, streamed.
    File(PathBuf),
    /// A local file of which this SHA-256 is known, in hex: another content is not put in place.
    Known(PathBuf, String),
    /// Bytes in memory.
    Bytes(Vec<u8>),
    /// A secret text.
    Secret(Secret),
}

/// One file to put on a host.
#[derive(Clone, Debug)]
pub struct Upload {
    /// The bytes.
    pub content: Content,
    /// The remote path; a leading `~/` is the remote user's home. Parent directories are made.
    pub dest: String,
    /// Permission bits, `0o600`.
    pub mode: u32,
}

/// How the names begin under which a file `name` is written before it takes its place. A try that was cut off, and could not come back to clean up, leaves
/// one behind.
pub fn beside(name: &str) -> String {
    let short: String = name.chars().take(40).collect();
    format!(".{short}.pmx-")
}

/// Bytes in lower-case hex.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What is known of a remote file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoteFile {
    /// Path relative to the directory that was listed, with `/`.
    pub path: String,
    /// Size in bytes.
    pub size: u64,
    /// Permission bits.
    pub mode: u32,
    /// blake3 is not on most hosts: the SHA-256 of the content in hex, when it was asked for.
    pub sha256: Option<String>,
}

/// Why a host did not do what was asked.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
pub enum SshError {
    /// No TCP connection.
    #[error("could not connect to {host}: {cause}")]
    Connect {
        /// `user@host:port`.
        host: String,
        /// What the system said.
        cause: String,
    },
    /// The address map is closed and does not name this address.
    #[error("{host} is not in the profile's connect map, and the profile is closed: nothing was dialled")]
    OffTheMap {
        /// `host:port`.
        host: String,
    },
    /// The host showed another key than the one pinned.
    #[error("{host} shows the host key {seen}, but {identity} is pinned to {pinned}; nothing was sent")]
    KeyChanged {
        /// `user@host:port`.
        host: String,
        /// Whose pin.
        identity: String,
        /// Fingerprint of the pin, `SHA256:…`.
        pinned: String,
        /// Fingerprint seen.
        seen: String,
    },
    /// No key or agent was accepted.
    #[error("{host} accepted none of the offered keys ({offered})")]
    Denied {
        /// `user@host:port`.
        host: String,
        /// What was offered: `agent: 2 keys, ~/.ssh/id_ed25519`.
        offered: String,
    },
    /// The deadline passed.
    #[error("{host}: no end of `{what}` within {seconds} s")]
    Deadline {
        /// `user@host:port`.
        host: String,
        /// The command or phase.
        what: String,
        /// The deadline in seconds.
        seconds: u64,
    },
    /// The connection broke, or the command ended without a status.
    #[error("{host}: the connection broke during `{what}`: {cause}")]
    Broken {
        /// `user@host:port`.
        host: String,
        /// The command or phase.
        what: String,
        /// What the library said.
        cause: String,
    },
    /// A file operation was refused by the host.
    #[error("{host}: {path}: {cause}")]
    File {
        /// `user@host:port`.
        host: String,
        /// The remote path.
        path: String,
        /// What the host said.
        cause: String,
    },
    /// Something local: a key file, the ssh config, a word that cannot be sent.
    #[error("{0}")]
    Local(String),
}

impl SshError {
    /// Whether the machine is up and nobody listens there: soon after its boot that passes.
    pub fn nobody_listens(&self) -> bool {
        matches!(self, Self::Connect { cause, .. } if cause.starts_with("Connection refused"))
    }

    /// Whether the host certainly did not begin what was asked.
    pub const fn certainly_not_begun(&self) -> bool {
        matches!(self, Self::Connect { .. } | Self::OffTheMap { .. } | Self::KeyChanged { .. } | Self::Denied { .. } | Self::Local(_))
    }
}

/// An SSH client. One connection per target, shared by all who use it; a refused channel queues, it is not an error.
pub trait Ssh: Send + Sync {
    /// Runs a command; `sink` sees its lines as they come. A non-zero status is not an error here.
    fn exec<'a>(&'a self, target: &'a Target, exec: Exec, sink: Sink<'a>) -> BoxFuture<'a, Result<Output, SshError>>;

    /// Puts files in place, each by a temporary name, sync and rename, so that a cut leaves the old file whole. `progress` is told the bytes sent so far.
    /// What it gives is the SHA-256 of what was sent of each file, in hex and in their order.
    fn upload<'a>(
        &'a self,
        target: &'a Target,
        files: Vec<Upload>,
        deadline: Duration,
        progress: &'a (dyn Fn(u64) + Send + Sync),
    ) -> BoxFuture<'a, Result<Vec<String>, SshError>>;

    /// Lists the regular files below `dir`; an absent directory is an empty list. With `digests` each has its SHA-256.
    fn list<'a>(
        &'a self,
        target: &'a Target,
        dir: &'a str,
        digests: bool,
        deadline: Duration,
    ) -> BoxFuture<'a, Result<Vec<RemoteFile>, SshError>>;

    /// Reads a remote file of at most `limit` bytes; `None` when it does not exist.
    fn read<'a>(&'a self, target: &'a Target, path: &'a str, limit: u64) -> BoxFuture<'a, Result<Option<Vec<u8>>, SshError>>;

    /// Resolves once a login works, or fails with the last reason when the deadline has passed. `KeyChanged` and `Denied` fail at once.
    fn wait<'a>(&'a self, target: &'a Target, deadline: Duration) -> BoxFuture<'a, Result<(), SshError>>;

    /// Closes the connection to `target`, if there is one: its machine is about to go away.
    fn forget<'a>(&'a self, target: &'a Target) -> BoxFuture<'a, ()>;

    /// Resolves once the remote processes of commands that were given up have been ended, after some seconds at the latest. Whoever ends this process,
    /// or lets others at those hosts, waits for it first.
    fn settle(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {})
    }
}
