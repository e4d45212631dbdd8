//! `docker/compose` on a real engine: start, stop and status, seen by an ordinary client.

use std::time::Duration;

use serde_json::Value;

use super::super::process::wait_until;
use super::super::real::sshd::Wanted;
use super::site::{STANDARD_PATH, attributes, game, host, program};

/// Services of the stored state as `name state health exit`.
fn services(state: &Value) -> Vec<String> {
    let text = |row: &Value, key: &str| row[key].as_str().unwrap_or_default().to_owned();
    let line = |row: &Value| {
        let exit = row["exitCode"].as_i64().map(|code| code.to_string()).unwrap_or_default();
        [text(row, "service"), text(row, "state"), text(row, "health"), exit].join(" ").trim_end().to_owned()
    };
    state["services"].as_array().map(|rows| rows.iter().map(line).collect()).unwrap_or_default()
}

#[test]
fn services_start_once_and_stop_with_time_to_save() {
    let Some(host) = host() else { return };
    let sandbox = game(&host.sshd, "play", "play-game");
    // The file's own grace is too short for this save: pmx gives at least a minute.
    host.compose_file(
        "play",
        "services:\n  web:\n    image: pmx-test/busybox\n    network_mode: none\n  game:\n    image: pmx-test/terraria\n    container_name: \
         play-game\n    network_mode: none\n    stop_grace_period: 1s\n    environment:\n      SAVE_SECONDS: '3'\n      SHUTDOWN_PAUSE: \
         '0'\n    volumes: ['./world:/world']\n",
    );
    let saves = || std::fs::read_to_string(host.sshd.home().join("play/world/saves")).unwrap_or_default().lines().count();
    sandbox.pmx(&["build", "calamity.start"]).exits(0).says("started game, web");
    host.logs_with("play-game", "Listening on port 7777");
    let lives = ["play-game", "play-web-1"].map(|name| host.life(name));
    sandbox.pmx(&["build", "calamity.start"]).exits(0).says("already running: game, web").says("1 unchanged");
    assert_eq!(["play-game", "play-web-1"].map(|name| host.life(name)), lives);
    sandbox.pmx(&["build", "calamity.status"]).exits(0).says("game running; web running");
    let state = attributes(&sandbox, "calamity/result/result");
    assert_eq!((state["state"].as_str(), services(&state)), (Some("running"), vec!["game running".into(), "web running".into()]));
    assert_eq!(saves(), 0);
    sandbox.pmx(&["build", "calamity.stop"]).exits(0).says("stopped game, web");
    assert_eq!((saves(), host.field("play-game", "{{.State.ExitCode}}")), (1, "0".to_owned()));
    let state = attributes(&sandbox, "calamity/result/result");
    assert_eq!((state["state"].as_str(), services(&state)), (Some("stopped"), vec!["game exited  0".into(), "web exited  0".into()]));
    let ended = host.field("play-game", "{{.State.FinishedAt}}");
    sandbox.pmx(&["build", "calamity.stop"]).exits(0).says("no service runs").says("1 unchanged");
    assert_eq!((saves(), host.field("play-game", "{{.State.FinishedAt}}")), (1, ended));
    // Containers that were stopped come back as they were.
    sandbox.pmx(&["build", "calamity.start"]).exits(0).says("started game, web");
    let ids = ["play-game", "play-web-1"].map(|name| host.field(name, "{{.Id}}"));
    assert!(ids.iter().zip(&lives).all(|(id, life)| life.starts_with(id.as_str())), "{ids:?} {lives:?}");
}

#[test]
fn every_service_is_seen_as_it_is() {
    let Some(host) = host() else { return };
    let checked = |word: &str| format!("    healthcheck: {{ test: [CMD, '{word}'], interval: 1s, timeout: 5s, retries: 1 }}\n");
    let service = |name: &str, more: &str| format!("  {name}:\n    image: pmx-test/busybox\n    network_mode: none\n{more}");
    let file = [
        service("well", &checked("true")),
        service("sick", &checked("false")),
        service("gone", "    command: [sh, -c, 'echo the config is broken; exit 3']\n"),
        service("job", "    command: ['true']\n"),
        service("never", ""),
    ];
    host.compose_file("mixed", &format!("services:\n{}", file.concat()));
    let sandbox = game(&host.sshd, "mixed/", "none");
    // Before anything was made: every service is missing, and there is nothing to stop.
    sandbox.pmx(&["build", "calamity.status"]).exits(0).says("gone missing").says("well missing");
    assert_eq!(attributes(&sandbox, "calamity/result/result")["state"].as_str(), Some("stopped"));
    sandbox.pmx(&["build", "calamity.stop"]).exits(0).says("no service runs");
    host.compose("mixed", &["up", "-d", "well", "sick", "gone", "job"]);
    let health = |name: &str| host.field(name, "{{.State.Health.Status}}");
    wait_until("the checks have spoken", Duration::from_secs(30), || {
        health("mixed-well-1") == "healthy"
            && health("mixed-sick-1") == "unhealthy"
            && host.field("mixed-gone-1", "{{.State.Status}}") == "exited"
    });
    sandbox.pmx(&["build", "calamity.status"]).exits(0).says("sick running, unhealthy");
    let state = attributes(&sandbox, "calamity/result/result");
    let expected = ["gone exited  3", "job exited  0", "never missing", "sick running unhealthy", "well running healthy"];
    assert_eq!((state["state"].as_str(), services(&state)), (Some("degraded"), expected.map(str::to_owned).to_vec()));
    let image = host.field("mixed-well-1", "{{.Image}}");
    assert_eq!(state["services"][4]["imageId"].as_str(), Some(image.as_str()), "{state}");
    assert_eq!(state["services"][4]["image"].as_str(), Some("pmx-test/busybox"));
    // One service of them all.
    let only = |name: &str| {
        let file = "definitions/calamity.toml";
        game(&host.sshd, "mixed", "none").replace(file, "composePath", &format!("serviceName = \"{name}\"\ncomposePath"))
    };
    only("sick").pmx(&["build", "calamity.start", "-i", "timeout=3"]).exits(1).says("not ready after 3 s: sick is unhealthy");
    only("gone").pmx(&["build", "calamity.start"]).exits(1).says("exit code 3").says("the config is broken");
    only("well").pmx(&["build", "calamity.start"]).exits(0).says("already running: well");
    only("nobody").pmx(&["build", "calamity.status"]).exits(2).says("no service `nobody`").says("gone, job, never, sick, well");
}

#[test]
fn a_container_that_had_to_be_killed_is_a_failure() {
    let Some(host) = host() else { return };
    host.compose_file(
        "slow",
        "services:\n  game:\n    image: pmx-test/terraria\n    container_name: slow-game\n    network_mode: none\n    environment:\n      \
         SAVE_SECONDS: '120'\n      SHUTDOWN_PAUSE: '0'\n    volumes: ['./world:/world']\n",
    );
    let sandbox = game(&host.sshd, "slow", "slow-game");
    sandbox.pmx(&["build", "calamity.start"]).exits(0);
    host.logs_with("slow-game", "Listening on port 7777");
    let ran = sandbox.pmx(&["build", "calamity.stop", "-i", "timeout=2"]).exits(1);
    ran.says("slow-game was killed (exit code 137").says("its world may be unsaved").says("Saving world data: 1%");
    assert_eq!(host.field("slow-game", "{{.State.ExitCode}}"), "137");
    assert!(!host.sshd.home().join("slow/world/saves").exists());
    // The failure left no state behind; looking tells it.
    sandbox.pmx(&["build", "calamity.status"]).exits(0);
    assert_eq!(services(&attributes(&sandbox, "calamity/result/result")), ["game exited  137"]);
}

#[test]
fn a_folder_may_have_a_space_and_an_address_may_be_missing() {
    let Some(host) = host() else { return };
    host.compose_file("my game's", "name: spaced\nservices:\n  web:\n    image: pmx-test/busybox\n    network_mode: none\n");
    let sandbox = game(&host.sshd, "my game's/", "none");
    sandbox.pmx(&["build", "calamity.start"]).exits(0).says("started web");
    assert_eq!(host.field("spaced-web-1", "{{.State.Status}}"), "running");
    let off = sandbox.replace("definitions/calamity.toml", &format!("sshHost = \"{}\"", host.sshd.address), "sshHost = \"\"");
    off.pmx(&["build", "calamity.stop"]).exits(0).says("the VM is off");
    off.pmx(&["build", "calamity.start"]).exits(1).says("the VM is off");
    off.pmx(&["build", "calamity.status"]).exits(0);
    assert_eq!(attributes(&off, "calamity/result/result")["state"].as_str(), Some("off"));
    assert_eq!(host.field("spaced-web-1", "{{.State.Status}}"), "running");
}

#[test]
fn an_older_compose_prints_its_rows_as_one_list_and_is_understood_alike() {
    let Some(host) = host() else { return };
    // Compose before 2.21 is not to be had beside the present one: what it printed is made of what this one prints.
    let tools = tempfile::Builder::new().prefix("pmx-tools-").tempdir().expect("a temporary directory can be made");
    let real = host.docker.program().display().to_string();
    let older = format!(
        "case \" $* \" in\n*' ps -a --format json '*) rows=$({real} \"$@\") || exit; echo \"$rows\" | paste -s -d , | sed 's/^/[/; s/$/]/';;\n*) exec {real} \
         \"$@\";;\nesac\n"
    );
    program(&tools.path().join("docker"), &older);
    let path = ("PATH".to_owned(), format!("{}:{STANDARD_PATH}", tools.path().display()));
    let Some(sshd) = Wanted::default().env(host.docker.environment()).env([path]).start() else { return };
    let folder = sshd.home().join("older");
    std::fs::create_dir_all(&folder).expect("a folder can be made");
    let service = |name: &str| format!("  {name}:\n    image: pmx-test/busybox\n    network_mode: none\n");
    std::fs::write(folder.join("compose.yaml"), format!("services:\n{}{}", service("web"), service("other")))
        .expect("a file can be written");
    let sandbox = game(&sshd, "older", "none");
    let shape = || sshd.run("cd ~/older && docker compose ps -a --format json").trim().chars().next();
    sandbox.pmx(&["build", "calamity.status"]).exits(0).says("other missing; web missing");
    sandbox.pmx(&["build", "calamity.start"]).exits(0).says("started other, web");
    assert_eq!(shape(), Some('['));
    let state = attributes(&sandbox, "calamity/result/result");
    assert_eq!((state["state"].as_str(), services(&state)), (Some("running"), vec!["other running".into(), "web running".into()]));
    sandbox.pmx(&["build", "calamity.start"]).exits(0).says("already running: other, web").says("1 unchanged");
    sandbox.pmx(&["build", "calamity.stop"]).exits(0).says("stopped other, web");
    assert_eq!(services(&attributes(&sandbox, "calamity/result/result")), ["other exited  0", "web exited  0"]);
}
