//! The host that a definition speaks to over SSH: its global arguments, commands with their failures, what is known of one file.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::BoxFuture;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::event::Stream;
use crate::model::contract::{Context, Failure};
use crate::model::leftover;
use crate::model::wait::cancelled;
use crate::wire::command::{Command, quote_path};
use crate::wire::ssh::{Content, Exec, Output, Pinning, RemoteFile, SshError, Target, Upload};

/// How long a command that only looks may take.
pub const LOOK: Duration = Duration::from_secs(60);
/// Lines of a failed command's output that are shown with its failure.
const TAIL: usize = 8;

/// A host that may be absent: null or empty means that the VM behind it has no address because it is off. It must be given all the same, so that nobody
/// takes a forgotten argument for a VM that is off.
#[derive(Clone, Debug, Deserialize)]
pub struct Host(Option<String>);

impl Host {
    /// The host, unless there is none.
    pub fn get(&self) -> Option<&str> {
        self.0.as_deref().map(str::trim).filter(|host| !host.is_empty())
    }
}

impl JsonSchema for Host {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Host".into()
    }
    fn inline_schema() -> bool {
        true
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": ["string", "null"] })
    }
}

/// The global arguments of every type that works over SSH.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SshGlobals {
    /// The host: an address, a name, or an alias of the user's ssh config. Null or empty means that the VM is off.
    pub ssh_host: Host,
    /// The user; null means the ssh config's, else `root`.
    #[serde(default)]
    pub ssh_user: Option<String>,
    /// The port; null means the ssh config's, else 22.
    #[serde(default)]
    pub ssh_port: Option<u16>,
}

impl SshGlobals {
    /// The host; `None` when the VM is off.
    pub fn remote<'a>(&self, ctx: &'a Context) -> Option<Remote<'a>> {
        Remote::at(ctx, &self.ssh_host, self.ssh_user.as_deref(), self.ssh_port)
    }
}

/// What a method says that needs a host when there is none.
pub fn off(ctx: &Context) -> Failure {
    Failure::theirs(format!("{}: the VM is off, it has no address", ctx.who.def)).help("start the VM first")
}

/// What stop and warn methods say then, as success.
pub const VM_IS_OFF: &str = "the VM is off";

/// A host to run commands on.
pub struct Remote<'a> {
    /// The call's context.
    pub ctx: &'a Context,
    /// The host.
    pub target: Target,
}

impl<'a> Remote<'a> {
    /// The host under the identity that the run expects there; `None` when there is no host.
    pub fn at(ctx: &'a Context, host: &Host, user: Option<&str>, port: Option<u16>) -> Option<Self> {
        let user = user.map(str::trim).filter(|user| !user.is_empty()).map(str::to_owned);
        let host = host.get()?.to_owned();
        Some(Self { ctx, target: Target { host, port, user, identity: ctx.identity.clone(), pinning: Pinning::Pinned } })
    }

    /// Runs a command that only looks; its output is not shown. A non-zero status is not an error here.
    pub async fn look(&self, command: Command) -> Result<Output, Failure> {
        self.run(Exec::new(command, LOOK), false).await
    }

    /// Like `look`, with the deadline and the bound on its output that `exec` says.
    pub async fn fetch(&self, exec: Exec) -> Result<Output, Failure> {
        self.run(exec, false).await
    }

    /// Runs a command that changes something, with its output streamed. A non-zero status is not an error here. The journal knows the command before it
    /// begins: should this process die, whoever comes next can wait for its end. Nothing begins when the journal does not even have the method's start.
    pub async fn act(&self, exec: Exec) -> Result<Output, Failure> {
        let (mark, id) = leftover::name(&self.target);
        self.ctx.reporter.task(&id).await?;
        let exec = Exec { mark: Some(mark), ..exec };
        self.run(exec, true).await
    }

    /// A command that does not end, or whose connection breaks, leaves no output behind: the last lines that came are its failure's.
    async fn run(&self, exec: Exec, acts: bool) -> Result<Output, Failure> {
        let last = Mutex::new(VecDeque::new());
        let sink = |stream: Stream, line: &str| {
            if acts {
                self.ctx.reporter.line(stream, line);
                remember(&mut last.lock().unwrap_or_else(PoisonError::into_inner), line);
            }
        };
        let done = tokio::select! {
            biased;
            // Dropping the command closes its channel, which ends it on the far side.
            () = self.ctx.reporter.cancelled() => Err(SshErrorOrCancel::Cancelled(self.target.host.clone())),
            done = self.ctx.wire.ssh.exec(&self.target, exec, &sink) => done.map_err(SshErrorOrCancel::Ssh),
        };
        let lines = || last.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect();
        done.map_err(|error| failure(error, acts).tail(lines()))
    }

    /// Waits for what the wire does with files, unless the run is cancelled first. `acts` says whether it changes something.
    pub async fn files<T>(&self, work: BoxFuture<'_, Result<T, SshError>>, acts: bool) -> Result<T, Failure> {
        let done = tokio::select! {
            biased;
            () = self.ctx.reporter.cancelled() => Err(SshErrorOrCancel::Cancelled(self.target.host.clone())),
            done = work => done.map_err(SshErrorOrCancel::Ssh),
        };
        done.map_err(|error| failure(error, acts))
    }

    /// Puts files in place and tells how far it is; the SHA-256 of each as it was sent, in hex.
    pub fn upload(&self, files: Vec<Upload>, deadline: Duration) -> BoxFuture<'_, Result<Vec<String>, SshError>> {
        let total = files.iter().map(weight).sum();
        Box::pin(async move {
            let told = |sent: u64| self.ctx.reporter.transfer(sent, total);
            self.ctx.wire.ssh.upload(&self.target, files, deadline, &told).await
        })
    }

    /// The failure of a command that ended with a status other than 0.
    pub fn failed(&self, what: &str, output: &Output) -> Failure {
        Failure::theirs(format!("{}: {what} ended with exit code {}", self.target.host, output.status)).tail(tail(output))
    }

    /// Size, mode and SHA-256 of one file; `None` when there is no such file.
    pub async fn file(&self, path: &str) -> Result<Option<RemoteFile>, Failure> {
        let quoted = quote_path(path).map_err(|e| Failure::yours(e.to_string()))?;
        let script = format!("if [ -f {quoted} ]; then stat -L -c '%s %a' {quoted} && sha256sum < {quoted}; fi");
        let output = self.look(Command::script(script)).await?;
        if output.status != 0 {
            return Err(self.failed(&format!("looking at {path}"), &output));
        }
        let mut words = output.stdout.split_whitespace();
        let (Some(size), Some(mode), Some(sha256)) = (words.next(), words.next(), words.next()) else { return Ok(None) };
        let bad = || Failure::theirs(format!("{}: looking at {path} gave `{}`", self.target.host, output.stdout.trim()));
        let size = size.parse().map_err(|_| bad())?;
        let mode = u32::from_str_radix(mode, 8).map_err(|_| bad())?;
        Ok(Some(RemoteFile { path: path.to_owned(), size, mode, sha256: Some(sha256.to_owned()) }))
    }
}

/// Bytes of a file to send; one that cannot be read is told of when it is sent.
fn weight(file: &Upload) -> u64 {
    match &file.content {
        Content::File(path) | Content::Known(path, _) => path.metadata().map_or(0, |meta| meta.len()),
        Content::Bytes(bytes) => bytes.len() as u64,
        Content::Secret(secret) => secret.expose().len() as u64,
    }
}

enum SshErrorOrCancel {
    Ssh(SshError),
    Cancelled(String),
}

fn failure(error: SshErrorOrCancel, acts: bool) -> Failure {
    match error {
        SshErrorOrCancel::Ssh(error) => ssh_failure(error, acts),
        SshErrorOrCancel::Cancelled(host) => {
            let failure = cancelled(format!("{host}: the run was cancelled"));
            if acts { failure.maybe_acted() } else { failure }
        }
    }
}

/// The failure behind an error of the wire. `acts` says whether what was asked would have changed something.
fn ssh_failure(error: SshError, acts: bool) -> Failure {
    let maybe = acts && !error.certainly_not_begun();
    let help = match &error {
        SshError::KeyChanged { identity, .. } => Some(format!(
            "if the machine was reinstalled on purpose, `pmx doctor --forget {identity}` takes its new key; else somebody is in between"
        )),
        SshError::Denied { .. } => Some("put your public key into the user's authorized_keys there, or set sshUser".to_owned()),
        SshError::Connect { .. } => Some("is the VM up, and is sshd installed and running on it?".to_owned()),
        _ => None,
    };
    let passing = error.nobody_listens();
    let mut failure = Failure::theirs(error.to_string());
    failure.help = help;
    failure.transient = passing;
    if maybe { failure.maybe_acted() } else { failure }
}

/// Keeps a line as one of the last that say something.
fn remember(lines: &mut VecDeque<String>, line: &str) {
    if line.trim_end().is_empty() {
        return;
    }
    if lines.len() == TAIL {
        lines.pop_front();
    }
    lines.push_back(line.trim_end().to_owned());
}

/// The last lines that say something: of standard error, else of standard output.
pub fn tail(output: &Output) -> Vec<String> {
    let lines =
        |text: &str| -> Vec<String> { text.lines().map(str::trim_end).filter(|line| !line.is_empty()).map(str::to_owned).collect() };
    let mut all = lines(&output.stderr);
    if all.is_empty() {
        all = lines(&output.stdout);
    }
    all.split_off(all.len().saturating_sub(TAIL))
}
