//! Projects whose definitions name real hosts, and a Docker host that tests share.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use serde_json::Value;

use super::super::process::wait_until;
use super::super::real::docker::Docker;
use super::super::real::image;
use super::super::real::sshd::{Sshd, Wanted};
use super::super::sandbox::{Ran, Sandbox};

/// An engine behind an sshd. Tests that run at the same time share one; each keeps to names of its own.
pub struct Host {
    /// The way in.
    pub sshd: Sshd,
    /// The engine that a plain `docker` finds there.
    pub docker: Docker,
    tools: tempfile::TempDir,
}

/// A shell that waits, in a container of a host.
pub const BUSYBOX: &str = "pmx-test/busybox";
/// A Terraria console in tmux, in a container of a host.
pub const TERRARIA: &str = "pmx-test/terraria";

/// The shared host with its images; `None` when the test is to be skipped.
#[track_caller]
pub fn host() -> Option<Arc<Host>> {
    static SHARED: Mutex<Weak<Host>> = Mutex::new(Weak::new());
    let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(host) = shared.upgrade() {
        return Some(host);
    }
    let docker = Docker::start()?;
    image::busybox(&docker, BUSYBOX)?;
    image::terraria(&docker, TERRARIA)?;
    let sshd = Wanted::default().env(docker.environment()).start()?;
    let host = Arc::new(Host { sshd, docker, tools: tempfile::tempdir().expect("a temporary directory can be made") });
    *shared = Arc::downgrade(&host);
    Some(host)
}

/// The same kind of host with a network of its own, where containers may publish any port. The `docker` that a plain shell finds there writes the words
/// of each call into `~/argv` first. `None` when the test is to be skipped.
#[track_caller]
pub fn apart() -> Option<Arc<Host>> {
    static SHARED: Mutex<Weak<Host>> = Mutex::new(Weak::new());
    let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(host) = shared.upgrade() {
        return Some(host);
    }
    let docker = Docker::apart()?;
    image::busybox(&docker, BUSYBOX)?;
    let tools = tempfile::Builder::new().prefix("pmx-tools-").tempdir().expect("a temporary directory can be made");
    program(&tools.path().join("docker"), &format!("printf '%s\\n' \"$*\" >>\"$HOME/argv\"\nexec {} \"$@\"\n", docker.program().display()));
    let sshd = way_in(&docker, tools.path()).start()?;
    let host = Arc::new(Host { sshd, docker, tools });
    *shared = Arc::downgrade(&host);
    Some(host)
}

/// A server whose plain `docker` is this engine's, with the programs of `tools` in front.
fn way_in(docker: &Docker, tools: &Path) -> Wanted {
    let path = ("PATH".to_owned(), format!("{}:{STANDARD_PATH}", tools.display()));
    Wanted::default().env(docker.environment()).env([path]).entrance(docker.entrance())
}

/// Where a login of Debian looks for programs.
pub const STANDARD_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Writes a shell script that can be run.
pub fn program(path: &Path, script: &str) {
    std::fs::write(path, format!("#!/bin/sh\n{script}")).expect("a program can be written");
    super::super::real::run(Command::new("chmod").arg("755").arg(path));
}

/// A project that may log in at `sshd`, with the definition `testVmSsh` of it and a vault over the variables `SAFE_…`.
pub fn project(sshd: &Sshd) -> Sandbox {
    let pmxfile = "[project]\nname = \"real\"\n\n[store]\npath = \"store\"\n\n[vault.safe]\nkind = \"env\"\nprefix = \"SAFE_\"\n";
    let shell = format!("type = \"ssh/host\"\n\n[global]\nhost = \"{}\"\nport = {}\nuser = \"root\"\n", sshd.address, sshd.port);
    Sandbox::new().key(&sshd.client_key()).file("Pmxfile.toml", pmxfile).file("definitions/testVmSsh.toml", &shell)
}

/// The same with a definition `calamity` of the compose project in `~/<folder>` and a definition `calamityTerraria` of the container `container`.
pub fn game(sshd: &Sshd, folder: &str, container: &str) -> Sandbox {
    let at = format!("sshHost = \"{}\"\nsshPort = {}\nsshUser = \"root\"\n", sshd.address, sshd.port);
    project(sshd)
        .file("definitions/calamity.toml", &format!("type = \"docker/compose\"\n\n[global]\n{at}composePath = \"~/{folder}\"\n"))
        .file(
            "definitions/calamityTerraria.toml",
            &format!("type = \"terraria/server\"\n\n[global]\n{at}containerName = \"{container}\"\n"),
        )
        .deadline(Duration::from_secs(120))
}

/// A text as TOML writes it.
pub fn toml(text: &str) -> String {
    toml_edit::Value::from(text).to_string()
}

/// Runs one call of the definition `testVmSsh`.
#[track_caller]
pub fn shell(sandbox: &Sandbox, command: &str, more: &[&str]) -> Ran {
    let command = format!("command={command}");
    sandbox.pmx(&[&["build", "testVmSsh.exec", "-i", &command], more].concat())
}

/// The attributes of a resource, as `pmx show` tells them.
#[track_caller]
pub fn attributes(sandbox: &Sandbox, resource: &str) -> Value {
    sandbox.pmx(&["--json", "show", resource]).exits(0).json()["attributes"].clone()
}

/// Processes of this machine whose command line holds `text`.
pub fn processes(text: &str) -> Vec<String> {
    let entries = std::fs::read_dir("/proc").map(|entries| entries.flatten().collect::<Vec<_>>()).unwrap_or_default();
    let lines = entries.iter().filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok());
    lines.map(|line| String::from_utf8_lossy(&line).replace('\0', " ")).filter(|line| line.contains(text)).collect()
}

/// All files below `dir`.
pub fn files(dir: &Path) -> Vec<PathBuf> {
    let mut open = vec![dir.to_path_buf()];
    let mut found = Vec::new();
    while let Some(dir) = open.pop() {
        for entry in std::fs::read_dir(&dir).map(|entries| entries.flatten().collect::<Vec<_>>()).unwrap_or_default() {
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => open.push(entry.path()),
                _ => found.push(entry.path()),
            }
        }
    }
    found.sort();
    found
}

impl Host {
    /// Another way in to the same host.
    pub fn way_in(&self) -> Wanted {
        way_in(&self.docker, self.tools.path())
    }

    /// Writes the compose file of the project in `~/<folder>`.
    pub fn compose_file(&self, folder: &str, text: &str) {
        let folder = self.sshd.home().join(folder);
        std::fs::create_dir_all(&folder).expect("a folder can be made");
        std::fs::write(folder.join("compose.yaml"), text).expect("a compose file can be written");
    }

    /// Runs `docker compose` in `~/<folder>`, as somebody on the host would.
    #[track_caller]
    pub fn compose(&self, folder: &str, words: &[&str]) -> String {
        let mut command = self.docker.client(&[&["compose"], words].concat());
        super::super::real::run(command.current_dir(self.sshd.home().join(folder)))
    }

    /// One field of a container, as `docker inspect` formats it.
    #[track_caller]
    pub fn field(&self, container: &str, format: &str) -> String {
        self.docker.run(&["inspect", "--type", "container", "--format", format, container]).trim().to_owned()
    }

    /// Id and time of the last start: both stay while nobody touches the container.
    #[track_caller]
    pub fn life(&self, container: &str) -> String {
        self.field(container, "{{.Id}} {{.State.StartedAt}}")
    }

    /// What a container has said.
    pub fn logs(&self, container: &str) -> String {
        let out = self.docker.client(&["logs", container]).output().expect("docker starts");
        String::from_utf8_lossy(&out.stdout).into_owned() + &String::from_utf8_lossy(&out.stderr)
    }

    /// Waits until a container has said `text` and returns all that it said.
    #[track_caller]
    pub fn logs_with(&self, container: &str, text: &str) -> String {
        let mut logs = String::new();
        wait_until(&format!("{container} says `{text}`"), Duration::from_secs(30), || {
            logs = self.logs(container);
            logs.contains(text)
        });
        logs
    }

    /// Starts a Terraria container with these variables and waits until its console listens.
    #[track_caller]
    pub fn terraria(&self, name: &str, variables: &[&str]) {
        let env = variables.iter().flat_map(|variable| ["-e", variable]);
        let words: Vec<&str> = ["run", "-d", "--network", "none", "--name", name].into_iter().chain(env).chain([TERRARIA]).collect();
        self.docker.run(&words);
        self.logs_with(name, "Listening on port 7777");
    }

    /// Types a line into a container's console by the image's own means.
    #[track_caller]
    pub fn inject(&self, container: &str, line: &str) {
        self.docker.run(&["exec", container, "inject", line]);
    }
}

/// The fingerprint of a public key line, as `ssh-keygen -l` shows it.
#[track_caller]
pub fn fingerprint(line: &str) -> String {
    let dir = tempfile::tempdir().expect("a temporary directory can be made");
    let path = dir.path().join("key.pub");
    std::fs::write(&path, line).expect("a key can be written");
    let told = super::super::real::run(Command::new("ssh-keygen").arg("-lf").arg(&path));
    told.split(' ').nth(1).expect("ssh-keygen tells the fingerprint second").to_owned()
}
