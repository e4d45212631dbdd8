//! SSH that follows a script, over files in memory.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::BoxFuture;

use super::{Times, locked, matches, pending};
use crate::event::Stream;
use crate::wire::ssh::{Content, Exec, Input, Output, RemoteFile, Sink, Ssh, SshError, Target, Upload, hex};

/// An SSH client that answers commands as its script says, keeps uploaded files in memory and panics when asked for a command that the script lacks.
///
/// A command is named as a log shows it: `docker compose ps -a`, `cd ~/game && docker ps` (what `Command` displays). A `*` stands for any text. Entries
/// made by `expect…` are used once each, in their order; `always` answers at any time. Files, waits and forgets need no script.
#[derive(Clone)]
pub struct ScriptedSsh {
    script: Arc<Mutex<Script>>,
}

#[derive(Default)]
struct Script {
    host: Option<String>,
    entries: Vec<Entry>,
    any_order: bool,
    files: BTreeMap<(String, String), ScriptedFile>,
    failures: Vec<(String, SshError)>,
    called: Vec<Called>,
    log: Vec<String>,
    complaint: Option<String>,
}

struct Entry {
    host: Option<String>,
    command: String,
    stdin: Option<String>,
    answer: Result<Output, SshError>,
    times: Times,
    used: usize,
}

impl Entry {
    fn title(&self) -> String {
        self.host.as_ref().map_or_else(|| self.command.clone(), |host| format!("{host}: {}", self.command))
    }
}

/// One command that was run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Called {
    /// Where.
    pub target: Target,
    /// The command as a log shows it.
    pub command: String,
    /// What it got on standard input.
    pub stdin: Vec<u8>,
    /// Its deadline.
    pub deadline: Duration,
}

/// One file in memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScriptedFile {
    /// The bytes.
    pub bytes: Vec<u8>,
    /// Permission bits.
    pub mode: u32,
}

impl ScriptedSsh {
    /// An empty script without files.
    pub fn new() -> Self {
        Self { script: Arc::default() }
    }

    /// The entries that follow are for this host only; `*` stands for any text.
    #[must_use]
    pub fn on(self, host: &str) -> Self {
        locked(&self.script).host = Some(host.to_owned());
        self
    }

    /// Next comes `command`, which succeeds with this standard output.
    #[must_use]
    pub fn expect(self, command: &str, stdout: &str) -> Self {
        self.push(command, Ok(Output { status: 0, stdout: stdout.to_owned(), stderr: String::new() }), Times::Once)
    }

    /// Next comes `command`, which leaves this status and these outputs.
    #[must_use]
    pub fn expect_output(self, command: &str, status: i32, stdout: &str, stderr: &str) -> Self {
        self.push(command, Ok(Output { status, stdout: stdout.to_owned(), stderr: stderr.to_owned() }), Times::Once)
    }

    /// Next comes `command`, and it fails without an exit status.
    #[must_use]
    pub fn expect_error(self, command: &str, error: SshError) -> Self {
        self.push(command, Err(error), Times::Once)
    }

    /// Whenever `command` comes, any number of times, also never.
    #[must_use]
    pub fn always(self, command: &str, stdout: &str) -> Self {
        self.push(command, Ok(Output { status: 0, stdout: stdout.to_owned(), stderr: String::new() }), Times::Always)
    }

    /// Like `always`, with a status and both outputs.
    #[must_use]
    pub fn always_output(self, command: &str, status: i32, stdout: &str, stderr: &str) -> Self {
        self.push(command, Ok(Output { status, stdout: stdout.to_owned(), stderr: stderr.to_owned() }), Times::Always)
    }

    /// The entry before must get exactly this on its standard input.
    #[must_use]
    pub fn with_stdin(self, text: &str) -> Self {
        if let Some(entry) = locked(&self.script).entries.last_mut() {
            entry.stdin = Some(text.to_owned());
        }
        self
    }

    /// The `expect…` entries may be used in any order: for commands that run at once.
    #[must_use]
    pub fn any_order(self) -> Self {
        locked(&self.script).any_order = true;
        self
    }

    /// `host` has a file from the start. Paths are compared as text: `~/x` and `/root/x` are two files.
    #[must_use]
    pub fn with_file(self, host: &str, path: &str, mode: u32, bytes: impl Into<Vec<u8>>) -> Self {
        let file = ScriptedFile { bytes: bytes.into(), mode };
        locked(&self.script).files.insert((host.to_owned(), path.to_owned()), file);
        self
    }

    /// The next `operation` (`upload`, `list`, `read`, `wait`) fails.
    #[must_use]
    pub fn failing(self, operation: &str, error: SshError) -> Self {
        locked(&self.script).failures.push((operation.to_owned(), error));
        self
    }

    /// The commands that ran so far.
    pub fn called(&self) -> Vec<Called> {
        locked(&self.script).called.clone()
    }

    /// Everything that happened, in order: `exec HOST: COMMAND`, `upload HOST:PATH 0600`, `list HOST:DIR`, `read HOST:PATH`, `wait HOST`, `forget HOST`.
    pub fn log(&self) -> Vec<String> {
        locked(&self.script).log.clone()
    }

    /// A file as it is now.
    pub fn file(&self, host: &str, path: &str) -> Option<ScriptedFile> {
        locked(&self.script).files.get(&(host.to_owned(), path.to_owned())).cloned()
    }

    /// Asserts that everything expected came and nothing else.
    pub fn finish(&self) {
        let script = locked(&self.script);
        if let Some(complaint) = &script.complaint {
            panic!("{complaint}");
        }
        let unused: Vec<String> = script.waiting().map(Entry::title).collect();
        assert!(unused.is_empty(), "the SSH script was not used up; never run:{}", pending(unused.iter().map(String::as_str)));
        assert!(script.failures.is_empty(), "the SSH script was not used up; never failed: {:?}", script.failures);
    }

    fn push(self, command: &str, answer: Result<Output, SshError>, times: Times) -> Self {
        let mut script = locked(&self.script);
        let host = script.host.clone();
        script.entries.push(Entry { host, command: command.to_owned(), stdin: None, answer, times, used: 0 });
        drop(script);
        self
    }
}

impl Default for ScriptedSsh {
    fn default() -> Self {
        Self::new()
    }
}

impl Script {
    fn waiting(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter().filter(|entry| entry.times == Times::Once && entry.used == 0)
    }

    fn take(&mut self, call: Called) -> Result<Result<Output, SshError>, String> {
        let got = format!("{}: {}", call.target.host, call.command);
        self.log.push(format!("exec {got}"));
        let reach = if self.any_order { usize::MAX } else { 1 };
        let once = (0..self.entries.len()).filter(|&i| self.entries[i].times == Times::Once && self.entries[i].used == 0).take(reach);
        let always = (0..self.entries.len()).filter(|&i| self.entries[i].times == Times::Always);
        let found = once.chain(always).find(|&i| self.entries[i].fits(&call));
        let stdin = String::from_utf8_lossy(&call.stdin).into_owned();
        self.called.push(call);
        if let Some(entry) = found.and_then(|i| self.entries.get_mut(i)) {
            entry.used += 1;
            return Ok(entry.answer.clone());
        }
        let expected: Vec<String> = self.waiting().map(|entry| entry.title() + &entry.stdin_note()).collect();
        let complaint = format!(
            "the SSH script has no answer\n  got:\n    {got} (standard input {stdin:?})\n  expected next:{}",
            pending(expected.iter().map(String::as_str)),
        );
        self.complaint.get_or_insert_with(|| complaint.clone());
        Err(complaint)
    }

    /// Notes an operation on files and gives the failure that the script holds for it.
    fn begin(&mut self, operation: &str, subject: &str) -> Result<(), SshError> {
        self.log.push(format!("{operation} {subject}"));
        match self.failures.iter().position(|(name, _)| name == operation) {
            Some(at) => Err(self.failures.remove(at).1),
            None => Ok(()),
        }
    }
}

impl Entry {
    fn fits(&self, call: &Called) -> bool {
        self.host.as_ref().is_none_or(|host| matches(host, &call.target.host))
            && (matches(&self.command, &call.command) || matches(&self.command, &call.command.replace(" && exec ", " && ")))
            && self.stdin.as_ref().is_none_or(|stdin| stdin.as_bytes() == call.stdin)
    }

    fn stdin_note(&self) -> String {
        self.stdin.as_ref().map(|stdin| format!(" (standard input {stdin:?})")).unwrap_or_default()
    }
}

impl Ssh for ScriptedSsh {
    fn exec<'a>(&'a self, target: &'a Target, exec: Exec, sink: Sink<'a>) -> BoxFuture<'a, Result<Output, SshError>> {
        Box::pin(async move {
            let stdin = match exec.input {
                Input::Empty => Vec::new(),
                Input::Bytes(bytes) => bytes,
                Input::Secret(secret) => secret.expose().as_bytes().to_vec(),
            };
            let call = Called { target: target.clone(), command: exec.command.to_string(), stdin, deadline: exec.deadline };
            let answer = locked(&self.script).take(call);
            let output = answer.unwrap_or_else(|complaint| panic!("{complaint}"))?;
            output.stdout.lines().for_each(|line| sink(Stream::Out, line));
            output.stderr.lines().for_each(|line| sink(Stream::Err, line));
            Ok(output)
        })
    }

    fn upload<'a>(
        &'a self,
        target: &'a Target,
        files: Vec<Upload>,
        _deadline: Duration,
        progress: &'a (dyn Fn(u64) + Send + Sync),
    ) -> BoxFuture<'a, Result<Vec<String>, SshError>> {
        Box::pin(async move {
            let (mut sent, mut digests) = (0, Vec::new());
            for upload in files {
                let bytes = match upload.content {
                    Content::Bytes(bytes) => bytes,
                    Content::Secret(secret) => secret.expose().as_bytes().to_vec(),
                    Content::File(path) | Content::Known(path, _) => {
                        tokio::fs::read(&path).await.map_err(|e| SshError::Local(format!("{}: {e}", path.display())))?
                    }
                };
                sent += bytes.len() as u64;
                digests.push(sha256_hex(&bytes));
                let mut script = locked(&self.script);
                script.begin("upload", &format!("{}:{} {:04o}", target.host, upload.dest, upload.mode))?;
                script.files.insert((target.host.clone(), upload.dest), ScriptedFile { bytes, mode: upload.mode });
                drop(script);
                progress(sent);
            }
            Ok(digests)
        })
    }

    fn list<'a>(
        &'a self,
        target: &'a Target,
        dir: &'a str,
        digests: bool,
        _deadline: Duration,
    ) -> BoxFuture<'a, Result<Vec<RemoteFile>, SshError>> {
        Box::pin(async move {
            let mut script = locked(&self.script);
            script.begin("list", &format!("{}:{dir}", target.host))?;
            let prefix = format!("{}/", dir.trim_end_matches('/'));
            let below = script.files.iter().filter(|((host, _), _)| *host == target.host);
            let listed = below.filter_map(|((_, path), file)| {
                let sha256 = digests.then(|| sha256_hex(&file.bytes));
                let path = path.strip_prefix(&prefix)?.to_owned();
                Some(RemoteFile { path, size: file.bytes.len() as u64, mode: file.mode, sha256 })
            });
            Ok(listed.collect())
        })
    }

    fn read<'a>(&'a self, target: &'a Target, path: &'a str, limit: u64) -> BoxFuture<'a, Result<Option<Vec<u8>>, SshError>> {
        Box::pin(async move {
            let mut script = locked(&self.script);
            script.begin("read", &format!("{}:{path}", target.host))?;
            let Some(file) = script.files.get(&(target.host.clone(), path.to_owned())) else { return Ok(None) };
            if file.bytes.len() as u64 > limit {
                let cause = format!("it has {} bytes, more than the {limit} that were asked for", file.bytes.len());
                return Err(SshError::File { host: target.host.clone(), path: path.to_owned(), cause });
            }
            Ok(Some(file.bytes.clone()))
        })
    }

    fn wait<'a>(&'a self, target: &'a Target, _deadline: Duration) -> BoxFuture<'a, Result<(), SshError>> {
        Box::pin(async move { locked(&self.script).begin("wait", &target.host) })
    }

    fn forget<'a>(&'a self, target: &'a Target) -> BoxFuture<'a, ()> {
        Box::pin(async move { locked(&self.script).log.push(format!("forget {}", target.host)) })
    }
}

fn sha256_hex(bytes: &[u8]) -> String {
    hex(ring::digest::digest(&ring::digest::SHA256, bytes).as_ref())
}
