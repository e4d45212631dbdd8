//! The command vault: a program of the user's prints the secret, such as `pass show pmx/{key}`.
#![expect(clippy::disallowed_methods, reason = "starts the program that the Pmxfile names")]

use std::process::Stdio;
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::Command;
use zeroize::Zeroizing;

use super::{Vault, VaultError, plain_key, secret};
use crate::secret::{Redactor, Secret};

/// Where an argument takes the key.
pub const PLACEHOLDER: &str = "{key}";

/// How many bytes of each output are kept; the rest is read and dropped.
const KEPT: usize = 64 << 10;

/// A vault behind a program. The program gets no shell, no input and not the store's key; its first line of output is the secret.
pub struct CommandVault {
    name: String,
    program: String,
    arguments: Vec<String>,
    deadline: Duration,
}

impl CommandVault {
    /// The vault `name` behind `argv`, of which some argument holds `{key}`; the program is ended after `deadline`.
    pub fn new(name: impl Into<String>, argv: &[String], deadline: Duration) -> Result<Self, VaultError> {
        let name = name.into();
        let refuse = |why: &str| VaultError::Cannot { vault: name.clone(), attempt: "use its command", why: why.to_owned() };
        let (program, arguments) = argv.split_first().ok_or_else(|| refuse("it is empty"))?;
        if !arguments.iter().any(|argument| argument.contains(PLACEHOLDER)) {
            return Err(refuse("no argument holds `{key}`: every key would be the same secret"));
        }
        Ok(Self { name, program: program.clone(), arguments: arguments.to_vec(), deadline })
    }

    fn failed(&self, key: &str, why: String) -> VaultError {
        VaultError::Program { vault: self.name.clone(), key: key.to_owned(), program: self.program.clone(), why }
    }

    fn command(&self, key: &str) -> Command {
        let mut command = Command::new(&self.program);
        command.args(self.arguments.iter().map(|argument| argument.replace(PLACEHOLDER, key)));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.env_remove("PMX_STORE_KEY").kill_on_drop(true);
        command
    }

    async fn ask(&self, key: &str) -> Result<Secret, VaultError> {
        plain_key(&self.name, key)?;
        if key.starts_with('-') {
            let why = "the program would take it for an option";
            return Err(VaultError::BadKey { vault: self.name.clone(), key: key.to_owned(), why });
        }
        let mut child = self.command(key).spawn().map_err(|e| self.failed(key, format!("it does not start: {e}")))?;
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        let ending = async { tokio::join!(child.wait(), drained(stdout), drained(stderr)) };
        let (status, out, err) = tokio::time::timeout(self.deadline, ending)
            .await
            .map_err(|_| self.failed(key, format!("it did not end within {} s and was stopped", self.deadline.as_secs_f32())))?;
        let status = status.map_err(|e| self.failed(key, e.to_string()))?;
        if !status.success() {
            let said = self.words(key, &err, &out);
            return Err(self.failed(key, if said.is_empty() { status.to_string() } else { format!("{status}: {said}") }));
        }
        match std::str::from_utf8(first_line(&out)) {
            Ok("") => Err(self.failed(key, "it printed nothing".to_owned())),
            Ok(text) => Ok(secret(&self.name, key, text)),
            Err(_) => Err(self.failed(key, "its first line is not UTF-8".to_owned())),
        }
    }

    /// The first line of what a failed program said, without what it may have printed as the secret.
    fn words(&self, key: &str, err: &[u8], out: &[u8]) -> String {
        let redactor = Redactor::new();
        redactor.learn(&secret(&self.name, key, String::from_utf8_lossy(first_line(out))));
        redactor.clean(&String::from_utf8_lossy(first_line(err))).chars().take(200).collect()
    }

    fn cannot<T>(&self, attempt: &'static str) -> Result<T, VaultError> {
        let why = format!("its secrets belong to {}; use that program", self.program);
        Err(VaultError::Cannot { vault: self.name.clone(), attempt, why })
    }
}

/// Reads to the end, keeping the first 64 KiB: a program that prints more must not stall.
async fn drained(stream: Option<impl AsyncRead + Unpin>) -> Zeroizing<Vec<u8>> {
    let mut kept = Zeroizing::new(Vec::with_capacity(KEPT));
    let Some(mut stream) = stream else { return kept };
    let mut chunk = Zeroizing::new([0; 4096]);
    // Ends with the stream; the caller's deadline bounds it.
    while let Ok(length @ 1..) = stream.read(chunk.as_mut()).await {
        let room = KEPT - kept.len();
        kept.extend_from_slice(&chunk[..length.min(room)]);
    }
    kept
}

fn first_line(bytes: &[u8]) -> &[u8] {
    let line = bytes.split(|byte| *byte == b'\n').next().unwrap_or_default();
    line.strip_suffix(b"\r").unwrap_or(line)
}

impl Vault for CommandVault {
    fn get<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Secret, VaultError>> {
        Box::pin(self.ask(key))
    }

    fn list(&self) -> BoxFuture<'_, Result<Vec<String>, VaultError>> {
        Box::pin(async move { self.cannot("list its keys") })
    }

    fn set<'a>(&'a self, _: &'a str, _: &'a Secret) -> BoxFuture<'a, Result<(), VaultError>> {
        Box::pin(async move { self.cannot("keep a secret") })
    }

    fn remove<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<(), VaultError>> {
        Box::pin(async move { self.cannot("remove a key") })
    }
}
