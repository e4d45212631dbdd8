//! At another machine: which one `--at` means, the way to it, and the `pmx` there.
#![expect(clippy::disallowed_methods, reason = "reads the file of machines whose host keys are known")]

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use crate::files::{Disk, Draft, make_way};
use crate::lang::pmxfile::AtSettings;
use crate::ops::front::Front;
use crate::ops::site::{PMXFILE, Site};
use crate::ops::world;
use crate::source::{Diagnostic, Fault, Severity};
use crate::wire::command::quote_path;
use crate::wire::hostkey::Pins;
use crate::wire::map::ConnectMap;
use crate::wire::russh_client::{SshClient, SshSettings};
use crate::wire::ssh::{Pinning, SshError, Target};
use crate::wire::talk::{Ear, Mouth};

/// What the shell over there says instead of the program when there is no such directory, and when there is no program.
pub const NO_DIRECTORY: &str = "pmx-at no-directory";
/// See [`NO_DIRECTORY`].
pub const NO_PROGRAM: &str = "pmx-at no-program";

/// Another machine that works on a project.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// As it was typed: what messages and further commands call it.
    pub typed: String,
    /// The host.
    pub target: Target,
    /// The project there.
    pub dir: Option<String>,
    /// The program there.
    pub program: Option<String>,
}

impl Place {
    /// What `--at` means: a name under `[at]` in the Pmxfile here, if there is one, else an alias of the ssh config, `host` or `user@host`; each may be
    /// followed by `:directory`.
    pub fn find(front: &Front, typed: &str) -> Result<Self, Vec<Diagnostic>> {
        let known = match front.cwd.ancestors().any(|dir| dir.join(PMXFILE).is_file()) {
            // The profile is the business of the machine over there.
            true => Site::find(&Front { profile: None, ..front.clone() })?.pmxfile.ats,
            false => Default::default(),
        };
        let (host, dir) = split(typed);
        let (user, host) = host.rsplit_once('@').map_or((None, host), |(user, host)| (Some(user.to_owned()), host));
        if host.is_empty() || host.starts_with('-') || host.contains(|c: char| c.is_whitespace() || c.is_control() || c == '/') {
            let complaint = Diagnostic::yours(format!("`--at {}` names no machine", typed.escape_debug()));
            return Err(vec![complaint.help("write `--at HOST`, `--at USER@HOST` or `--at HOST:DIRECTORY`")]);
        }
        let AtSettings { host: real, user: usual, port, dir: kept, program } = known.get(host).cloned().unwrap_or_default();
        let target = Target {
            host: real.unwrap_or_else(|| host.to_owned()),
            port,
            user: user.or(usual),
            identity: format!("host:{host}"),
            pinning: Pinning::Pinned,
        };
        Ok(Self { typed: typed.to_owned(), target, dir: dir.map(str::to_owned).or(kept), program })
    }

    /// The directory there, for messages.
    pub fn shown_dir(&self) -> &str {
        self.dir.as_deref().unwrap_or("~")
    }

    /// Finds directory and program, and becomes the program. Arguments of the command itself never stand here: others see those.
    fn script(&self) -> Result<String, Vec<Diagnostic>> {
        let bad = |error: crate::wire::command::BadWord| vec![Diagnostic::yours(error.to_string())];
        let dir = quote_path(self.shown_dir()).map_err(bad)?;
        let find = match &self.program {
            Some(program) => format!("pmx={}", quote_path(program).map_err(bad)?),
            None => "pmx=pmx; if [ -x bin/pmx ]; then pmx=./bin/pmx; fi".to_owned(),
        };
        let (no_directory, no_program) = (format!("{{ echo '{NO_DIRECTORY}'; exit 1; }}"), format!("{{ echo '{NO_PROGRAM}'; exit 1; }}"));
        Ok(format!("cd {dir} 2>/dev/null || {no_directory}\n{find}\ncommand -v \"$pmx\" >/dev/null || {no_program}\nexec \"$pmx\" far-end"))
    }

    /// Begins to talk with the `pmx` there.
    pub async fn talk(&self, front: &Front) -> Result<(Mouth, Ear), Vec<Diagnostic>> {
        let script = self.script()?;
        let pins = FilePins::new(world::config(front).map_err(|d| vec![d])?.join("pmx/hosts"));
        let home = front.home.clone().unwrap_or_else(|| PathBuf::from("/"));
        let mut settings = SshSettings::new(ConnectMap::open(), home);
        settings.agent_socket = front.env.get("SSH_AUTH_SOCK").filter(|socket| !socket.is_empty()).map(Into::into);
        let shown = pins.path.display().to_string();
        let client = SshClient::new(settings, Arc::new(pins));
        client.talk(&self.target, &script).await.map_err(|error| vec![self.unreached(&error, &shown)])
    }

    fn unreached(&self, error: &SshError, pins: &str) -> Diagnostic {
        let identity = &self.target.identity;
        let (fault, help) = match error {
            SshError::KeyChanged { .. } => (Fault::Refused, format!("was it reinstalled? Then take the line `{identity} …` out of {pins}")),
            SshError::Denied { .. } => {
                (Fault::Theirs, "`ssh` with the same name shows more; a key with a passphrase must be in the agent".to_owned())
            }
            _ => {
                (Fault::Theirs, "`--at` takes a name under `[at]` in the Pmxfile, an alias of the ssh config, HOST or USER@HOST".to_owned())
            }
        };
        Diagnostic::new(Severity::Error, fault, format!("{}: {error}; nothing was asked of it", self.typed)).help(help)
    }
}

/// `host:directory`; an IPv6 address stands in brackets before a directory.
fn split(typed: &str) -> (&str, Option<&str>) {
    if let Some((host, rest)) = typed.split_once(']') {
        let host = host.trim_start_matches('[');
        return (host, rest.strip_prefix(':').filter(|dir| !dir.is_empty()));
    }
    match typed.split_once(':') {
        Some((_, rest)) if rest.contains(':') && !rest.contains('/') => (typed, None),
        Some((host, dir)) => (host, Some(dir).filter(|dir| !dir.is_empty())),
        None => (typed, None),
    }
}

/// Host keys of machines that `--at` has been to, a line each: they belong to the user and not to a store, for there may be none here.
struct FilePins {
    path: PathBuf,
    one: Mutex<()>,
}

impl FilePins {
    fn new(path: PathBuf) -> Self {
        Self { path, one: Mutex::new(()) }
    }

    fn text(&self) -> Result<String, String> {
        match std::fs::read_to_string(&self.path) {
            Ok(text) => Ok(text),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(String::new()),
            Err(error) => Err(format!("{}: {error}", self.path.display())),
        }
    }
}

/// Names may hold blanks nowhere else: `find` refuses them.
fn line_of<'a>(text: &'a str, identity: &str) -> Option<&'a str> {
    text.lines().find_map(|line| line.split_once(' ').filter(|(name, _)| *name == identity).map(|(_, key)| key))
}

impl Pins for FilePins {
    fn get(&self, identity: &str) -> Result<Option<String>, String> {
        Ok(line_of(&self.text()?, identity).map(str::to_owned))
    }

    fn set(&self, identity: &str, key_line: &str) -> Result<(), String> {
        let _one = self.one.lock().unwrap_or_else(PoisonError::into_inner);
        let text = self.text()?;
        let others = text.lines().filter(|line| line.split(' ').next() != Some(identity));
        let all: String = others.map(str::to_owned).chain([format!("{identity} {key_line}")]).map(|line| line + "\n").collect();
        let directory = self.path.parent().unwrap_or(&self.path);
        let write = || {
            make_way(&Disk, directory, 0o700)?;
            let mut draft = Draft::new(&Disk, directory, 0o600)?;
            draft.write(all.as_bytes())?;
            draft.place(&self.path)
        };
        write().map_err(|error| format!("{}: {error}", self.path.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_and_a_directory_are_told_apart() {
        for (typed, host, dir) in [
            ("slate", "slate", None),
            ("root@slate:/opt/p", "root@slate", Some("/opt/p")),
            ("slate:~/a:b", "slate", Some("~/a:b")),
            ("slate:", "slate", None),
            ("fd00::7", "fd00::7", None),
            ("[fd00::7]:/opt", "fd00::7", Some("/opt")),
        ] {
            assert_eq!(split(typed), (host, dir), "{typed}");
        }
    }

    #[test]
    fn keys_of_machines_are_kept_a_line_each() {
        let dir = tempfile::tempdir().unwrap();
        let pins = FilePins::new(dir.path().join("pmx/hosts"));
        assert_eq!(pins.get("host:a").unwrap(), None);
        for (name, key) in [("host:a", "ssh-ed25519 AAAA"), ("host:b", "ssh-ed25519 BBBB"), ("host:a", "ssh-ed25519 CCCC")] {
            pins.set(name, key).unwrap();
            assert_eq!(pins.get(name).unwrap().as_deref(), Some(key));
        }
        assert_eq!(pins.text().unwrap(), "host:b ssh-ed25519 BBBB\nhost:a ssh-ed25519 CCCC\n");
    }
}
