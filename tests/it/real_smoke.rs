//! Each real component, proven by its ordinary client: what a test of pmx may rely on.

use std::time::Duration;

use super::process::wait_until;
use super::real::docker::Docker;
use super::real::sshd::{Sshd, Wanted};
use super::real::tmux::Tmux;
use super::real::{image, run};
use super::sandbox::Sandbox;

#[test]
fn sshd_runs_commands_in_a_home_of_its_own() {
    let Some(sshd) = Wanted::default().env([("GAME".to_owned(), "two words".to_owned())]).start() else { return };
    assert_eq!(sshd.run("echo \"$GAME\"; pwd").trim(), format!("two words\n{}", sshd.home().display()));
    let failed = sshd.client().arg("echo out; echo err >&2; exit 7").output().expect("ssh starts");
    assert_eq!(failed.status.code(), Some(7));
    assert!(String::from_utf8_lossy(&failed.stderr).contains("err"));
    assert!(sshd.log().contains("Accepted publickey"), "{}", sshd.log());
}

#[test]
fn sshd_lets_a_sandbox_in_by_the_key_in_its_home() {
    let Some(sshd) = Sshd::start() else { return };
    let sandbox = Sandbox::new().key(&sshd.client_key());
    let mut ssh = std::process::Command::new("ssh");
    ssh.args(["-F", "none", "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null"]);
    ssh.arg("-i").arg(sandbox.home(".ssh/id_ed25519")).args(["-p", &sshd.port.to_string(), &format!("root@{}", sshd.address), "echo in"]);
    assert_eq!(run(&mut ssh).trim(), "in");
}

#[test]
fn sshd_moves_files_by_sftp() {
    let Some(sshd) = Sshd::start() else { return };
    let batch = sshd.home().join("batch");
    std::fs::write(&batch, "rename batch moved\n").expect("a file can be written");
    let options = ["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-F", "none"];
    let mut sftp = std::process::Command::new("sftp");
    sftp.args(options).arg("-i").arg(sshd.client_key()).arg("-P").arg(sshd.port.to_string());
    run(sftp.arg("-b").arg(&batch).arg(format!("root@{}", sshd.address)));
    assert!(sshd.home().join("moved").is_file() && !batch.exists());
}

#[test]
fn sshd_comes_back_with_another_host_key() {
    let Some(mut sshd) = Sshd::start() else { return };
    let before = sshd.host_key();
    sshd.run("true");
    sshd.restart();
    sshd.run("true");
    assert_eq!(sshd.host_key(), before);
    sshd.restart_with_another_host_key();
    assert_ne!(sshd.host_key(), before);
    let refused = sshd.client().arg("true").output().expect("ssh starts");
    assert_eq!(refused.status.code(), Some(255));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("REMOTE HOST IDENTIFICATION HAS CHANGED"));
}

#[test]
fn sshd_misbehaves_when_told_and_stands_where_told() {
    let Some(limited) = Wanted::default().option("MaxSessions", "0").start() else { return };
    assert!(!limited.client().arg("true").output().expect("ssh starts").status.success());
    let (address, port) = (limited.address.clone(), limited.port);
    drop(limited);
    let Some(forced) = Wanted::default().listen(&address, port).option("ForceCommand", "echo instead").start() else { return };
    assert_eq!((forced.run("echo asked").trim(), forced.port), ("instead", port));
}

#[test]
fn every_sshd_is_another_host() {
    let (Some(one), Some(two)) = (Sshd::start(), Sshd::start()) else { return };
    assert!(one.address != two.address && one.host_key() != two.host_key());
    let (address, port) = (one.address.clone(), one.port);
    drop(one);
    assert!(std::net::TcpStream::connect((address, port)).is_err());
    two.run("true");
}

#[test]
fn tmux_has_the_traps_that_pmx_must_avoid() {
    let Some(tmux) = Tmux::start("mons-2", "cat") else { return };
    tmux.line("mons-2", "hello");
    tmux.wait_for("mons-2", "hello");
    let knows = |target: &str| tmux.client(&["has-session", "-t", target]).output().expect("tmux starts").status.success();
    assert!(knows("mons") && !knows("=mons"));
    let send = |target: &str| tmux.client(&["send-keys", "-t", target, "-l", "--", "x"]).output().expect("tmux starts").status.success();
    tmux.session("mons", "cat");
    assert!(!send("=mons") && send("=mons:"));
    tmux.wait_for("mons", "x");
}

#[test]
fn tmux_is_reached_through_sshd() {
    let Some(tmux) = Tmux::start("mons", "cat") else { return };
    let Some(sshd) = Wanted::default().env(tmux.environment()).start() else { return };
    assert!(sshd.run("tmux ls").starts_with("mons:"));
    sshd.run("tmux send-keys -t =mons: -l -- over-ssh");
    tmux.wait_for("mons", "over-ssh");
}

#[test]
fn compose_is_reached_through_sshd() {
    let Some(docker) = Docker::start() else { return };
    let Some(sshd) = Wanted::default().env(docker.environment()).start() else { return };
    let Some(()) = image::busybox(&docker, "pmx-test/busybox") else { return };
    std::fs::create_dir_all(sshd.home().join("game")).expect("a folder can be made");
    std::fs::write(sshd.home().join("game/compose.yaml"), "services:\n  web:\n    image: pmx-test/busybox\n")
        .expect("a file can be written");
    sshd.run("cd ~/game && docker compose up -d");
    let row: serde_json::Value =
        serde_json::from_str(sshd.run("cd ~/game && docker compose ps -a --format json").trim()).expect("one row of JSON");
    assert_eq!((row["Service"].as_str(), row["State"].as_str()), (Some("web"), Some("running")));
    assert_eq!(sshd.run("cd ~/game && docker compose exec -T web echo inside").trim(), "inside");
    sshd.run("cd ~/game && docker compose stop -t 5");
    let row: serde_json::Value =
        serde_json::from_str(sshd.run("cd ~/game && docker compose ps -a --format json").trim()).expect("one row of JSON");
    assert_eq!((row["State"].as_str(), row["ExitCode"].as_i64()), (Some("exited"), Some(0)));
}

/// What a container has said, once that holds `text`.
#[track_caller]
fn logs_with(docker: &Docker, container: &str, text: &str) -> String {
    let mut logs = String::new();
    wait_until(&format!("{container} says `{text}`"), Duration::from_secs(20), || {
        let out = docker.client(&["logs", container]).output().expect("docker starts");
        logs = String::from_utf8_lossy(&out.stdout).into_owned();
        logs.contains(text)
    });
    logs
}

#[test]
fn a_terraria_console_answers_saves_and_ends_as_the_real_one() {
    let Some(docker) = Docker::start() else { return };
    let Some(()) = image::terraria(&docker, "pmx-test/terraria") else { return };
    docker.run(&[
        "run",
        "-d",
        "--network",
        "none",
        "--name",
        "game",
        "-e",
        "PLAYERS=Ann Bob",
        "-e",
        "SHUTDOWN_PAUSE=1",
        "pmx-test/terraria",
    ]);
    logs_with(&docker, "game", "Listening on port 7777");
    for (line, answer) in [
        ("playing", ": Ann (10.0.0.9:50001)\nBob (10.0.0.9:50002)\n2 players connected."),
        ("kick", "Usage: kick <player>"),
        ("say hello there", "<Server> hello there"),
        ("dance", "Invalid command."),
    ] {
        docker.run(&["exec", "game", "inject", line]);
        logs_with(&docker, "game", answer);
    }
    docker.run(&["exec", "game", "inject", "kick Ann"]);
    docker.run(&["exec", "game", "inject", "playing"]);
    let before = logs_with(&docker, "game", "1 player connected.");
    assert!(!before.contains("Backing up"), "{before}");
    docker.run(&["exec", "game", "tmux", "send-keys", "-l", "--", "half a line"]);
    let screen = docker.run(&["exec", "game", "tmux", "capture-pane", "-p"]);
    assert!(screen.contains(": half a line"), "{screen}");
    docker.run(&["exec", "game", "tmux", "send-keys", "C-u"]);
    docker.run(&["stop", "-t", "20", "game"]);
    let after = logs_with(&docker, "game", "Backing up world file");
    assert!(after.contains("<Server> The server is going down."), "{after}");
    assert_eq!(docker.run(&["inspect", "-f", "{{.State.ExitCode}}", "game"]).trim(), "0", "{after}");
}

#[test]
fn a_terraria_console_that_saves_for_too_long_is_killed() {
    let Some(docker) = Docker::start() else { return };
    let Some(()) = image::terraria(&docker, "pmx-test/terraria") else { return };
    docker.run(&[
        "run",
        "-d",
        "--network",
        "none",
        "--name",
        "slow",
        "-e",
        "SAVE_SECONDS=60",
        "-e",
        "SHUTDOWN_PAUSE=0",
        "pmx-test/terraria",
    ]);
    logs_with(&docker, "slow", "Listening on port 7777");
    docker.run(&["stop", "-t", "3", "slow"]);
    let said = logs_with(&docker, "slow", "Saving world data: 1%");
    assert!(!said.contains("Backing up"), "{said}");
    assert_eq!(docker.run(&["inspect", "-f", "{{.State.ExitCode}}", "slow"]).trim(), "137");
}
