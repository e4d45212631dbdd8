//! `install`, where the package manager is a stand-in that writes down what it is asked and then brings the real client: there is no apk to be had here,
//! and apt must not change this machine.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::super::super::fleet::Fleet;
use super::super::super::real::docker::Docker;
use super::super::super::real::sshd::{Sshd, Wanted};
use super::super::super::real::{needs, run};
use super::super::super::sandbox::Sandbox;
use super::super::install::lead;
use super::super::site::{attributes, program};
use super::{call, project};

/// A host without Docker: an empty folder of programs, with the tools that every system has and those that a distribution adds.
struct Bare {
    sshd: Sshd,
    tools: tempfile::TempDir,
    _docker: Docker,
}

/// What the packages bring: the real client, which finds no engine before its service is started.
fn client(docker: &Docker, tools: &Path) -> String {
    let started = tools.join("started").display().to_string();
    format!(
        "cat >{tools}/docker <<'END'\n#!/bin/sh\n[ -e {started} ] || {{ echo 'Cannot connect to the Docker daemon at unix:///var/run/docker.sock. \
         Is the docker daemon running?' >&2; exit 1; }}\nexec {program} \"$@\"\nEND\nchmod 755 {tools}/docker\n",
        tools = tools.display(),
        program = docker.program().display()
    )
}

impl Bare {
    #[track_caller]
    fn start(manager: &str, service: &[&str]) -> Option<Self> {
        let docker = Docker::start()?;
        let [busybox] = needs(["busybox"])?;
        let tools = tempfile::Builder::new().prefix("pmx-bare-").tempdir().expect("a temporary directory can be made");
        let at = |name: &str| tools.path().join(name);
        for name in ["sh", "cat", "chmod", "touch", "env", "sleep"] {
            run(Command::new("ln").arg("-s").arg(&busybox).arg(at(name)));
        }
        let note = "printf '%s\\n' \"${0##*/} $*\" >>\"$HOME/asked\"\n";
        let brings = client(&docker, tools.path());
        program(
            &at(manager),
            &format!(
                "{note}[ \"$DEBIAN_FRONTEND\" = noninteractive ] && echo quietly >>\"$HOME/asked\"\n[ -e \"$HOME/broken\" ] && \
                                        {{ echo 'ERROR: unable to select packages: docker (no such package)' >&2; exit 1; }}\ncase \"$*\" in *update) ;; \
                                        *docker*) {brings};; esac\n"
            ),
        );
        for name in service {
            program(&at(name), &format!("{note}case \"$*\" in *start*) touch {}/started;; esac\n", tools.path().display()));
        }
        let path = ("PATH".to_owned(), tools.path().display().to_string());
        let sshd = Wanted::default().env(docker.environment()).env([path]).start()?;
        Some(Self { sshd, tools, _docker: docker })
    }

    fn home(&self, name: &str) -> PathBuf {
        self.sshd.home().join(name)
    }

    /// What the stand-ins were asked, and forgets it.
    fn asked(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.home("asked")).unwrap_or_default();
        let _ = std::fs::remove_file(self.home("asked"));
        text.lines().map(str::to_owned).collect()
    }
}

#[test]
fn alpine_gets_docker_from_its_packages_once() {
    let Some(bare) = Bare::start("apk", &["rc-update", "rc-service"]) else { return };
    let sandbox = project(&bare.sshd);
    // A package that is not to be had: what apk says is told, with the usual reason.
    std::fs::write(bare.home("broken"), "").expect("a file can be written");
    let ran = call(&sandbox, "install", "").exits(1);
    ran.says("`apk add docker docker-cli-compose` ended with exit code 1").says("unable to select packages").says("community repository");
    assert_eq!(bare.asked(), ["apk add docker docker-cli-compose"]);
    std::fs::remove_file(bare.home("broken")).expect("a file can be removed");
    call(&sandbox, "install", "").exits(0).says("installed Docker 20.10");
    assert_eq!(bare.asked(), ["apk add docker docker-cli-compose", "rc-update add docker default", "rc-service docker start"]);
    let version = attributes(&sandbox, "engine/result/result")["version"].as_str().unwrap_or_default().to_owned();
    assert!(version.starts_with("20.10"), "{version}");
    call(&sandbox, "install", "").exits(0).says(&format!("Docker {version} answers already")).says("1 unchanged");
    assert_eq!(bare.asked(), Vec::<String>::new());
    // An engine that is down is started, and nothing is upgraded behind it: apk leaves what is there.
    std::fs::remove_file(bare.tools.path().join("started")).expect("a file can be removed");
    call(&sandbox, "install", "").exits(0).says("installed Docker");
    assert_eq!(bare.asked().last().map(String::as_str), Some("rc-service docker start"));
}

#[test]
fn debian_gets_docker_from_its_packages_once() {
    let Some(bare) = Bare::start("apt-get", &["systemctl"]) else { return };
    let sandbox = project(&bare.sshd);
    call(&sandbox, "install", "").exits(0).says("installed Docker 20.10");
    let asked =
        ["apt-get update", "quietly", "apt-get install -y docker.io", "quietly", "systemctl enable docker", "systemctl start docker"];
    assert_eq!(bare.asked(), asked);
    call(&sandbox, "install", "").exits(0).says("answers already").says("1 unchanged");
    assert_eq!(bare.asked(), Vec::<String>::new());
}

#[test]
fn a_host_without_a_known_package_manager_is_told() {
    let Some(bare) = Bare::start("dnf", &[]) else { return };
    let sandbox = project(&bare.sshd);
    call(&sandbox, "install", "").exits(1).says("there is neither apk nor apt-get").says("install Docker there by hand");
    assert_eq!(bare.asked(), Vec::<String>::new());
    call(&sandbox, "inspect", "containerName = \"bot\"").exits(1).says("`install` of this type installs it");
}

#[test]
fn the_projects_own_workflow_installs_it_on_a_machine_of_the_fleet() {
    let Some(bare) = Bare::start("apk", &["rc-update", "rc-service"]) else { return };
    let fleet = Fleet::of(Sandbox::own().key(&bare.sshd.client_key()));
    fleet.wake();
    lead(&fleet, "10.0.0.100", (&bare.sshd.address, bare.sshd.port));
    let build = || fleet.build(&["setup-docker", "-i", "vmName=slate"]).exits(0);
    build().says("installed Docker 20.10").says("3 done");
    assert_eq!(bare.asked(), ["apk add docker docker-cli-compose", "rc-update add docker default", "rc-service docker start"]);
    build().says("answers already").says("1 done, 1 unchanged, 1 fresh");
    assert_eq!(bare.asked(), Vec::<String>::new());
}
