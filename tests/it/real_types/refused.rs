//! `docker/compose` where something is missing or broken: docker's own words, and what to do.

use std::path::Path;

use super::super::real::sshd::{Sshd, Wanted};
use super::super::real::{needs, present, run};
use super::super::sandbox::Sandbox;
use super::site::{game, host};

#[test]
fn a_compose_file_that_is_missing_or_broken_is_told_in_dockers_words() {
    let Some(host) = host() else { return };
    std::fs::create_dir_all(host.sshd.home().join("empty")).expect("a folder can be made");
    let build = |folder: &str, method: &str| game(&host.sshd, folder, "none").pmx(&["build", &format!("calamity.{method}")]);
    build("empty", "start")
        .exits(1)
        .says("no configuration file provided")
        .says("composePath must be a directory with a compose file; `~/empty`");
    build("nowhere", "status").exits(1).says("nowhere").says("composePath must be a directory with a compose file");
    host.compose_file("wrong", "services:\n  web:\n    imag: pmx-test/busybox\n");
    build("wrong", "start").exits(1).says("imag").says("services.web");
    host.compose_file("torn", "services:\n  web: [\n");
    build("torn", "update").exits(1).says("yaml");
    host.compose_file("unknown", "services:\n  web:\n    image: 127.0.0.1:9/nobody/nothing\n    network_mode: none\n");
    build("unknown", "start").exits(1).says("127.0.0.1:9");
}

/// A project on an sshd without an engine behind it.
fn without_engine(wanted: Wanted) -> Option<(Sshd, Sandbox)> {
    let sshd = wanted.env([("DOCKER_HOST".to_owned(), "unix:///nonexistent/docker.sock".to_owned())]).start()?;
    std::fs::create_dir_all(sshd.home().join("game")).expect("a folder can be made");
    std::fs::write(sshd.home().join("game/compose.yaml"), "services:\n  web:\n    image: busybox\n").expect("a file can be written");
    let sandbox = game(&sshd, "game", "web");
    Some((sshd, sandbox))
}

#[test]
fn an_engine_that_does_not_run_is_told() {
    let Some([_docker]) = needs(["docker"]) else { return };
    let Some((_sshd, sandbox)) = without_engine(Wanted::default()) else { return };
    sandbox
        .pmx(&["build", "calamity.status"])
        .exits(1)
        .says("Cannot connect to the Docker daemon")
        .says("the Docker daemon does not run there");
    sandbox.pmx(&["build", "calamityTerraria.status"]).exits(1).says("Cannot connect to the Docker daemon");
}

#[test]
fn a_docker_without_its_compose_plugin_is_told() {
    let Some([_docker, _unshare]) = needs(["docker", "unshare"]) else { return };
    // The machine's own docker in a world where nobody has installed the plugin.
    let folders = ["/usr/local/lib/docker", "/usr/local/libexec/docker", "/usr/lib/docker", "/usr/libexec/docker"];
    let hide: String =
        folders.iter().filter(|folder| Path::new(folder).is_dir()).map(|folder| format!("mount -t tmpfs none {folder} && ")).collect();
    let dir = tempfile::tempdir().expect("a temporary directory can be made");
    let script = dir.path().join("command");
    let text = format!("#!/bin/sh\ncd \"$HOME\" && exec unshare -m sh -c '{hide}exec sh -c \"$SSH_ORIGINAL_COMMAND\"'\n");
    std::fs::write(&script, text).expect("a script can be written");
    run(std::process::Command::new("chmod").arg("755").arg(&script).arg(dir.path()));
    let Some((sshd, sandbox)) = without_engine(Wanted::default().option("ForceCommand", &script.display().to_string())) else { return };
    let works = sshd.client().arg("docker --version").output().is_ok_and(|out| out.status.success());
    let Some(()) = present("a mount namespace of its own", works.then_some(())) else { return };
    sandbox.pmx(&["build", "calamity.start"]).exits(1).says("docker there has no compose plugin of version 2").says("install the plugin");
}

#[test]
fn a_host_without_docker_is_told() {
    let Some([sh]) = needs(["sh"]) else { return };
    let dir = tempfile::tempdir().expect("a temporary directory can be made");
    run(std::process::Command::new("ln").arg("-s").arg(sh).arg(dir.path().join("sh")));
    run(std::process::Command::new("chmod").arg("755").arg(dir.path()));
    let path = ("PATH".to_owned(), dir.path().display().to_string());
    let Some((_sshd, sandbox)) = without_engine(Wanted::default().env([path])) else { return };
    sandbox.pmx(&["build", "calamity.start"]).exits(1).says("not found").says("docker is not installed there");
    sandbox.pmx(&["build", "calamityTerraria.status"]).exits(1).says("not found");
}
