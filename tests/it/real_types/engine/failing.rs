//! A replacement that fails half-way: what is left, and that the next one finds its way from there.

use std::time::Duration;

use super::super::super::process::wait_until;
use super::super::site::Host;
use super::{WAIT, call, containers, engine, waiting, workflow};

/// What holds a port in the engine's network, as another program would.
#[track_caller]
fn holder(host: &Host, port: u16) -> super::super::super::process::Process {
    let port = port.to_string();
    let process = super::super::super::process::Process::start(
        &mut host.docker.inside("busybox", &["nc", "-l", "-p", &port]),
        Duration::from_secs(1),
    );
    wait_until("the port is held", Duration::from_secs(10), || {
        let table = host.docker.inside("sh", &["-c", "cat /proc/net/tcp /proc/net/tcp6"]).output().expect("sh starts");
        let wanted = format!(":{:04X} ", port.parse::<u16>().unwrap_or_default());
        String::from_utf8_lossy(&table.stdout).contains(&wanted)
    });
    process
}

#[test]
fn the_old_container_comes_back_when_the_new_one_cannot_be() {
    let Some((host, sandbox)) = engine() else { return };
    let arguments = |more: &str| waiting("fails", more);
    call(&sandbox, "run", &arguments("")).exits(0);
    let life = host.life("fails");
    let alive = || (host.field("fails", "{{.Id}} {{.State.Status}}"), containers(&host, "fails"));
    let (id, only) = (life.split(' ').next().unwrap_or_default().to_owned(), vec!["fails running".to_owned()]);
    // It cannot even be made: the old one was never touched.
    let ran = call(&sandbox, "run", &arguments("volumes = [\"/tmp:/\"]")).exits(1);
    ran.says("`docker create` ended with exit code").says("the old container runs on");
    assert_eq!((host.life("fails"), containers(&host, "fails")), (life, only.clone()));
    // It is made, but cannot start.
    let port = holder(&host, 8121);
    let ran = call(&sandbox, "run", &arguments("ports = [\"8121:80\"]")).exits(1);
    ran.says("8121").says("another container or program holds the port").says("; the old container runs again");
    assert_eq!(alive(), (format!("{id} running"), only.clone()));
    drop(port);
    // It starts, and ends at once.
    let ran = call(&sandbox, "run", &arguments("command = \"echo no token; exit 3\"")).exits(1);
    ran.says("fails ended with exit code 3 right after its start; the old container runs again").says("no token");
    assert_eq!(alive(), (format!("{id} running"), only.clone()));
    // It runs, but is not well. It is given time to save, as every container is.
    let check = "HEALTHCHECK --interval=1s --timeout=5s --retries=1 CMD exit 1";
    let command = "CMD [\"sh\", \"-c\", \"trap 'echo saved > /data/new; exit 0' TERM; while :; do sleep 1; done\"]";
    super::image(&host, "pmx-test/unwell", &format!("{check}\n{command}"));
    let unwell = "containerName = \"fails\"\nimageTag = \"pmx-test/unwell\"\nvolumes = [\"fails-data:/data\"]";
    call(&sandbox, "run", unwell).exits(1).says("fails is unhealthy; the old container runs again");
    assert_eq!(alive(), (format!("{id} running"), only));
    let saved = host.docker.run(&["run", "--rm", "-v", "fails-data:/data", super::BUSYBOX, "cat", "/data/new"]);
    assert_eq!(saved, "saved\n");
    // The state that is stored is that of the last success; nothing changed since.
    call(&sandbox, "run", &arguments("")).exits(0).says("fails runs so already");
}

#[test]
fn an_old_container_that_did_not_run_does_not_run_afterwards() {
    let Some((host, sandbox)) = engine() else { return };
    call(&sandbox, "run", &waiting("resting", "")).exits(0);
    call(&sandbox, "stop", "containerName = \"resting\"").exits(0);
    let id = host.field("resting", "{{.Id}}");
    let ran = call(&sandbox, "run", &waiting("resting", "command = \"exit 3\"")).exits(1);
    ran.says("the old container is back, stopped");
    assert_eq!((host.field("resting", "{{.Id}}"), containers(&host, "resting")), (id, vec!["resting exited".to_owned()]));
}

#[test]
fn an_old_container_that_was_killed_ends_the_replacement() {
    let Some((host, sandbox)) = engine() else { return };
    let slow = "command = [\"sh\", \"-c\", \"trap 'echo saving the world' TERM; while :; do sleep 1; done\"]";
    call(&sandbox, "run", &waiting("unsaved", slow)).exits(0);
    let id = host.field("unsaved", "{{.Id}}");
    workflow(&sandbox, "run", &waiting("unsaved", ""));
    let running = sandbox.start(&["build", "call"]);
    wait_until("it is asked to end", Duration::from_secs(60), || host.logs(&id).contains("saving the world"));
    assert_eq!(containers(&host, "unsaved"), ["unsaved created", "unsaved.pmx-old running"]);
    host.docker.run(&["kill", "unsaved.pmx-old"]);
    let ran = running.end().exits(1);
    ran.says("exit code 137").says("its data may be unsaved").says("saving the world").says("the old container is back, stopped");
    assert_eq!((host.field("unsaved", "{{.Id}}"), containers(&host, "unsaved")), (id, vec!["unsaved exited".to_owned()]));
    // Whoever looked at it and wants the new one asks once more.
    call(&sandbox, "run", &waiting("unsaved", "")).exits(0).says("unsaved runs anew");
    assert_eq!(containers(&host, "unsaved"), ["unsaved running"]);
}

#[test]
fn a_replacement_that_was_cut_off_is_settled_by_the_next() {
    let Some((host, sandbox)) = engine() else { return };
    let slow =
        "command = [\"sh\", \"-c\", \"trap 'echo asked; while [ ! -e /go ]; do sleep 0.1; done; exit 0' TERM; while :; do sleep 1; done\"]";
    call(&sandbox, "run", &waiting("cut", slow)).exits(0);
    let id = host.field("cut", "{{.Id}}");
    workflow(&sandbox, "run", &waiting("cut", ""));
    let mut running = sandbox.start(&["build", "call"]);
    wait_until("it is asked to end", Duration::from_secs(60), || host.logs(&id).contains("asked"));
    running.kill();
    running.end();
    assert_eq!(containers(&host, "cut"), ["cut created", "cut.pmx-old running"]);
    // `inspect` and `stop` mean what has the name; nothing is lost by them.
    // What ends the container may end `touch` with it, and that is no failure.
    let touched = host.docker.client(&["exec", "cut.pmx-old", "touch", "/go"]).status().expect("docker starts");
    assert!(touched.success() || touched.code() == Some(137), "{touched}");
    let ran = call(&sandbox, "run", &waiting("cut", "")).exits(0);
    ran.says("an earlier replacement of cut was cut off; it is settled first").says("cut runs anew");
    assert_eq!(containers(&host, "cut"), ["cut running"]);
    assert_ne!(host.field("cut", "{{.Id}}"), id);
}

#[test]
fn a_replacement_that_is_cancelled_is_taken_back() {
    let Some((host, sandbox)) = engine() else { return };
    call(&sandbox, "run", &waiting("calm", "")).exits(0);
    let id = host.field("calm", "{{.Id}}");
    let check = "HEALTHCHECK --interval=1s --timeout=5s --retries=1000 CMD exit 1";
    super::image(&host, "pmx-test/never-well", &format!("{check}\nCMD [\"sh\", \"-c\", \"echo begun; {WAIT}\"]"));
    workflow(&sandbox, "run", "containerName = \"calm\"\nimageTag = \"pmx-test/never-well\"");
    let running = sandbox.start(&["build", "call"]);
    wait_until("the new one runs", Duration::from_secs(60), || containers(&host, "calm") == ["calm running", "calm.pmx-old exited"]);
    running.interrupt();
    std::thread::sleep(Duration::from_millis(300));
    running.interrupt();
    running.end().exits(130);
    assert_eq!(
        (host.field("calm", "{{.Id}} {{.State.Status}}"), containers(&host, "calm")),
        (format!("{id} running"), vec!["calm running".to_owned()])
    );
}
