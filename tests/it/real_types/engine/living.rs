//! The life of a container: run, seen, spoken to, stopped.

use super::super::super::process::wait_until;
use super::super::super::real::registry::Registry;
use super::super::site::attributes;
use super::{WAIT, call, engine, waiting};
use std::time::Duration;

#[test]
fn a_container_is_run_seen_spoken_to_and_stopped() {
    let Some((host, sandbox)) = engine() else { return };
    let arguments = waiting(
        "living",
        "ports = [\"8101:80\", \"127.0.0.1:8102:81/udp\"]\nvolumes = [\"/tmp:/host:ro\", \"living-data:/data\"]\nrestart = \"on-failure:3\"\nenv = { \
         COLOUR = \"blue\" }\ncommand = [\"sh\", \"-c\", \"nc -ll -p 80 -e cat & trap 'echo saved; exit 0' TERM; while :; do sleep 1; done\"]",
    );
    call(&sandbox, "run", &arguments).exits(0).says("living runs");
    assert_eq!(host.field("living", "{{.HostConfig.RestartPolicy.Name}} {{.HostConfig.RestartPolicy.MaximumRetryCount}}"), "on-failure 3");
    let inside = host.docker.run(&["exec", "living", "sh", "-c", "echo $COLOUR; touch /data/x; touch /host/x 2>&1 || true"]);
    assert!(inside.starts_with("blue\n") && inside.contains("Read-only"), "{inside}");
    // The container runs before its listener does.
    let ask = "for turn in $(seq 100); do answer=$(echo hello | busybox nc -w 5 127.0.0.1 8101); [ \"$answer\" = hello ] && break; sleep 0.1; done; echo \"$answer\"";
    let answer = super::super::super::real::run(&mut host.docker.inside("sh", &["-c", ask]));
    assert_eq!(answer.trim(), "hello");
    let state = attributes(&sandbox, "engine/container/living");
    assert_eq!(
        (state["state"].as_str(), state["restart"].as_str(), state["imageTag"].as_str()),
        (Some("running"), Some("on-failure:3"), Some(super::BUSYBOX))
    );
    assert_eq!(state["id"].as_str(), Some(host.field("living", "{{.Id}}").as_str()));
    assert_eq!(state["imageId"].as_str(), Some(host.field("living", "{{.Image}}").as_str()));
    assert_eq!(state["ports"], serde_json::json!(["127.0.0.1:8102:81/udp", "8101:80/tcp"]));
    assert_eq!(state["volumes"], serde_json::json!(["/tmp:/host:ro", "living-data:/data"]));
    let life = host.life("living");
    call(&sandbox, "run", &arguments).exits(0).says("living runs so already").says("1 unchanged");
    assert_eq!(host.life("living"), life);
    sandbox.pmx(&["build", "engine/container/living"]).exits(0).says("living is running");
    // Stopped by its own means: it says so, and `run` brings the same container back.
    call(&sandbox, "stop", "containerName = \"living\"").exits(0).says("stopped living");
    assert_eq!((host.field("living", "{{.State.ExitCode}}"), host.logs_with("living", "saved").contains("saved")), ("0".to_owned(), true));
    let state = attributes(&sandbox, "engine/container/living");
    assert_eq!((state["state"].as_str(), state["exitCode"].as_i64()), (Some("exited"), Some(0)));
    call(&sandbox, "stop", "containerName = \"living\"").exits(0).says("living is exited already").says("1 unchanged");
    call(&sandbox, "exec", "containerName = \"living\"\ncommand = \"id\"").exits(1).says("living does not run, it is exited");
    call(&sandbox, "run", &arguments).exits(0).says("living runs again");
    assert!(life.starts_with(&host.field("living", "{{.Id}}")));
    host.docker.run(&["pause", "living"]);
    call(&sandbox, "run", &arguments).exits(0).says("living runs again");
    assert_eq!(host.field("living", "{{.State.Status}}"), "running");
}

#[test]
fn a_container_that_is_not_there_is_missing_and_an_engine_that_is_off_is_off() {
    let Some((host, sandbox)) = engine() else { return };
    call(&sandbox, "inspect", "containerName = \"nobody\"").exits(0).says("there is no container `nobody`");
    assert_eq!(attributes(&sandbox, "engine/container/nobody")["state"].as_str(), Some("missing"));
    call(&sandbox, "stop", "containerName = \"nobody\"").exits(0).says("there is no container `nobody`").says("1 unchanged");
    call(&sandbox, "exec", "containerName = \"nobody\"\ncommand = \"id\"").exits(1).says("there is no container `nobody`");
    // Docker takes the beginning of an id for a name; pmx does not.
    host.docker.run(&["run", "-d", "--name", "someone", super::BUSYBOX]);
    let id = host.field("someone", "{{.Id}}")[..6].to_owned();
    call(&sandbox, "stop", &format!("containerName = \"{id}\"")).exits(0).says("there is no container");
    assert_eq!(host.field("someone", "{{.State.Status}}"), "running");
    // A container of others may be looked at, spoken to and stopped.
    call(&sandbox, "inspect", "containerName = \"someone\"").exits(0).says("someone is running");
    call(&sandbox, "exec", "containerName = \"someone\"\ncommand = [\"hostname\"]").exits(0);
    call(&sandbox, "stop", "containerName = \"someone\"").exits(0).says("stopped someone");
    let off = sandbox.replace("definitions/engine.toml", &format!("sshHost = \"{}\"", host.sshd.address), "sshHost = \"\"");
    call(&off, "stop", "containerName = \"someone\"").exits(0).says("the VM is off");
    call(&off, "run", &waiting("someone", "")).exits(1).says("the VM is off");
}

#[test]
fn a_command_inside_leaves_its_outputs_and_its_exit_code() {
    let Some((host, sandbox)) = engine() else { return };
    call(&sandbox, "run", &waiting("spoken", "")).exits(0);
    let exec = |more: &str| call(&sandbox, "exec", &format!("containerName = \"spoken\"\n{more}"));
    exec("command = \"pwd; echo oops >&2\"\nworkdir = \"/usr/bin\"").exits(0);
    let result = attributes(&sandbox, "engine/result/result");
    assert_eq!(
        (result["stdout"].as_str(), result["stderr"].as_str(), result["exitCode"].as_i64()),
        (Some("/usr/bin\n"), Some("oops\n"), Some(0))
    );
    assert_eq!(result["containerName"].as_str(), Some("spoken"));
    // The words arrive as they are, as a list, as a list in a text, or as a line for the shell.
    let hostile = ["a b", "it's", "$(id)", ";", "--", "-x", "two\nlines", "", "*", "\\n"];
    let list = serde_json::to_string(&[&["printf", "[%s]"][..], &hostile].concat()).unwrap_or_default();
    let said = hostile.iter().map(|word| format!("[{word}]")).collect::<String>();
    for command in [list.clone(), super::super::site::toml(&list)] {
        exec(&format!("command = {command}")).exits(0);
        assert_eq!(attributes(&sandbox, "engine/result/result")["stdout"].as_str(), Some(said.as_str()));
    }
    exec("command = \"echo out; echo reason >&2; exit 7\"").exits(1).says("ended with exit code 7").says("reason");
    exec("command = [\"no-such-program\"]").exits(1).says("no-such-program");
    exec("command = \"id\"\nworkdir = \"/nowhere\"").exits(1).says("/nowhere");
    assert_eq!(host.field("spoken", "{{.State.Status}}"), "running");
}

#[test]
fn a_container_that_was_killed_is_a_failure() {
    let Some((host, sandbox)) = engine() else { return };
    let command = "command = [\"sh\", \"-c\", \"trap 'echo saving the world' TERM; while :; do sleep 1; done\"]";
    call(&sandbox, "run", &waiting("slow", command)).exits(0);
    super::workflow(&sandbox, "stop", "containerName = \"slow\"");
    let running = sandbox.start(&["build", "call"]);
    host.logs_with("slow", "saving the world");
    // Somebody loses patience, as Docker itself would after a minute.
    host.docker.run(&["kill", "slow"]);
    let ran = running.end().exits(1);
    ran.says("slow was killed (exit code 137").says("its data may be unsaved").says("saving the world");
    assert_eq!(host.field("slow", "{{.State.ExitCode}}"), "137");
    call(&sandbox, "inspect", "containerName = \"slow\"").exits(0);
    assert_eq!(attributes(&sandbox, "engine/container/slow")["exitCode"].as_i64(), Some(137));
}

#[test]
fn a_container_has_to_stay_up_or_to_end_well() {
    let Some((host, sandbox)) = engine() else { return };
    call(&sandbox, "run", &waiting("job", "command = \"echo done\"")).exits(0).says("job runs");
    assert_eq!(attributes(&sandbox, "engine/container/job")["state"].as_str(), Some("exited"));
    let ran = call(&sandbox, "run", &waiting("broken", "command = \"echo no token; exit 3\"")).exits(1);
    ran.says("broken ended with exit code 3 right after its start").says("no token");
    let ran = call(&sandbox, "run", &waiting("circling", "restart = \"always\"\ncommand = \"echo no token; exit 3\"")).exits(1);
    ran.says("circling does not stay up: its restart policy had to bring it back").says("no token");
    host.docker.run(&["rm", "-f", "circling"]);
    let check = |word: &str| format!("HEALTHCHECK --interval=1s --timeout=5s --retries=2 CMD {word}\nCMD [\"sh\", \"-c\", \"{WAIT}\"]");
    super::image(&host, "pmx-test/well", &check("test -e /tmp/up || { touch /tmp/up; exit 1; }"));
    super::image(&host, "pmx-test/sick", &check("echo no database; exit 1"));
    call(&sandbox, "run", "containerName = \"well\"\nimageTag = \"pmx-test/well\"").exits(0);
    assert_eq!(attributes(&sandbox, "engine/container/well")["health"].as_str(), Some("healthy"));
    call(&sandbox, "run", "containerName = \"sick\"\nimageTag = \"pmx-test/sick\"").exits(1).says("sick is unhealthy");
    wait_until("docker says so too", Duration::from_secs(5), || host.field("sick", "{{.State.Health.Status}}") == "unhealthy");
}

#[test]
fn an_image_that_is_not_on_the_host_is_pulled() {
    // The engine that shares this machine's network: it reaches a registry here.
    let Some(host) = super::super::site::host() else { return };
    let registry = Registry::start();
    let tag = format!("{}/pulled:1", registry.address);
    host.docker.run(&["tag", super::BUSYBOX, &tag]);
    host.docker.run(&["push", "-q", &tag]);
    host.docker.run(&["rmi", &tag]);
    let sandbox = super::project(&host.sshd);
    let arguments = format!("containerName = \"pulled\"\nimageTag = \"{tag}\"");
    call(&sandbox, "run", &arguments).exits(0).says("pulled runs");
    assert_eq!(host.field("pulled", "{{.Config.Image}} {{.State.Status}}"), format!("{tag} running"));
    let life = host.life("pulled");
    call(&sandbox, "run", &arguments).exits(0).says("1 unchanged");
    drop(registry);
    // What is there is not asked for again; what is not there cannot be had, and the old container is none the worse for it.
    call(&sandbox, "run", &arguments).exits(0).says("1 unchanged");
    call(&sandbox, "run", &arguments.replace("pulled:1", "pulled:2")).exits(1).says("`docker pull` ended with exit code").says("refused");
    assert_eq!(host.life("pulled"), life);
}
