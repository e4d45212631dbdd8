//! `docker/engine` on a real engine behind a real sshd: what it made is asked of the ordinary client.

mod building;
mod failing;
mod hostile;
mod install;
mod living;
mod replacing;
mod secret;

use std::sync::Arc;
use std::time::Duration;

use super::super::real::sshd::Sshd;
use super::super::sandbox::{Ran, Sandbox};
use super::site::{self, BUSYBOX, Host};

/// A shell line that waits until it is told to end, and then ends at once.
const WAIT: &str = "trap 'exit 0' TERM; while :; do sleep 3600 & wait; done";

/// The shared host and a project with the definition `engine` of it; `None` when the test is to be skipped.
#[track_caller]
fn engine() -> Option<(Arc<Host>, Sandbox)> {
    let host = site::apart()?;
    let sandbox = project(&host.sshd);
    Some((host, sandbox))
}

/// A project with the definition `engine` of the engine behind `sshd`.
fn project(sshd: &Sshd) -> Sandbox {
    let at = format!("sshHost = \"{}\"\nsshPort = {}\nsshUser = \"root\"\n", sshd.address, sshd.port);
    site::project(sshd)
        .file("definitions/engine.toml", &format!("type = \"docker/engine\"\n\n[global]\n{at}"))
        .deadline(Duration::from_secs(180))
}

/// Writes a workflow `call` with one call of `engine.<method>`; its arguments are lines of TOML.
fn workflow(sandbox: &Sandbox, method: &str, arguments: &str) {
    let text = format!("[[step]]\nname = \"call\"\ncall = \"engine.{method}\"\n\n[step.with]\n{arguments}\n");
    std::fs::create_dir_all(sandbox.path("workflows")).expect("a folder can be made");
    std::fs::write(sandbox.path("workflows/call.toml"), text).expect("a workflow can be written");
}

/// Calls `engine.<method>` with arguments as lines of TOML.
#[track_caller]
fn call(sandbox: &Sandbox, method: &str, arguments: &str) -> Ran {
    workflow(sandbox, method, arguments);
    sandbox.pmx(&["build", "call"])
}

/// The arguments of a container of that name that waits, and more of them.
fn waiting(name: &str, more: &str) -> String {
    format!("containerName = \"{name}\"\nimageTag = \"{BUSYBOX}\"\n{more}")
}

/// Builds the image `tag` by the ordinary client from these lines after the shell's image.
#[track_caller]
fn image(host: &Host, tag: &str, lines: &str) {
    let dir = tempfile::tempdir().expect("a temporary directory can be made");
    std::fs::write(dir.path().join("Dockerfile"), format!("FROM {BUSYBOX}\n{lines}\n")).expect("a Dockerfile can be written");
    host.docker.run(&["build", "-q", "-t", tag, &dir.path().display().to_string()]);
}

/// All containers of the engine whose names begin so, as `name state`, by name.
#[track_caller]
fn containers(host: &Host, prefix: &str) -> Vec<String> {
    let told = host.docker.run(&["ps", "-a", "--format", "{{.Names}} {{.State}}", "--filter", &format!("name=^{prefix}")]);
    let mut rows: Vec<String> = told.lines().map(str::to_owned).collect();
    rows.sort();
    rows
}
