//! What the methods of `docker/compose` do: wire script → outcome.

use std::time::Duration;

use serde_json::{Value as Json, json};

use crate::model::contract::{Acted, Failure, FailureKind, Outcome};
use crate::model::docker::compose::project::duration;
use crate::model::rows::rows;
use crate::model::scene::{Scene, written};
use crate::wire::scripted::ScriptedSsh;

const OLD: &str = "sha256:1111111111111111111111111111111111111111111111111111111111111111";
const NEW: &str = "sha256:2222222222222222222222222222222222222222222222222222222222222222";

fn globals() -> Json {
    json!({"sshHost": "10.0.0.9", "composePath": "~/game/"})
}

fn compose(words: &str) -> String {
    format!("cd ~/game/ && exec docker compose --ansi never --progress plain {words}")
}

async fn call(ssh: ScriptedSsh, method: &str, arguments: Json) -> Result<Outcome, Failure> {
    Scene::ssh(ssh).call("docker/compose", method, globals(), arguments).await
}

/// One row of `ps`, of the service `name` with the container id `<name>1`.
fn row(name: &str, state: &str, health: &str, exit: i64) -> String {
    let row = json!({
        "ID": format!("{name}1"), "Name": format!("game-{name}-1"), "Service": name, "Project": "game", "Image": format!("{name}:latest"),
        "State": state, "Health": health, "ExitCode": exit, "Publishers": null,
    });
    format!("{row}\n")
}

trait Script: Sized {
    fn services(self, names: &str) -> Self;
    /// A look at these containers, all made from `image`.
    fn seen(self, rows: &str, image: &str) -> Self;
    fn plan(self, services: Json) -> Self;
}

impl Script for ScriptedSsh {
    fn services(self, names: &str) -> Self {
        self.expect(&compose("config --services"), names)
    }
    fn seen(self, text: &str, image: &str) -> Self {
        let ssh = self.expect(&compose("ps -a --format json"), text);
        let ids: Vec<String> = rows(text).unwrap().iter().map(|row| row["ID"].as_str().unwrap().to_owned()).collect();
        if ids.is_empty() {
            return ssh;
        }
        let told: String = ids.iter().map(|id| format!("{id}ffff {image} false\n")).collect();
        ssh.expect(
            &format!("docker inspect --format '{{{{.Id}}}} {{{{.Image}}}} {{{{.State.OOMKilled}}}}' {}", sorted(ids).join(" ")),
            &told,
        )
    }
    fn plan(self, services: Json) -> Self {
        self.expect(&compose("config --format json"), &json!({"name": "game", "services": services}).to_string())
    }
}

fn sorted(mut ids: Vec<String>) -> Vec<String> {
    ids.sort();
    ids
}

fn state(outcome: &Outcome) -> (String, Json) {
    let state = written(outcome);
    (state["state"].as_str().unwrap().to_owned(), state["services"].clone())
}

#[test]
fn rows_come_in_three_shapes() {
    let one = r#"{"Service":"a"}"#;
    for (text, count) in [("", 0), ("\n", 0), ("[]", 0), (one, 1), (&format!("{one}\n{one}\n")[..], 2), (&format!("[{one},{one}]")[..], 2)]
    {
        assert_eq!(rows(text).unwrap().len(), count, "{text}");
    }
    assert!(rows("no configuration file").is_err());
}

#[test]
fn durations_are_those_of_go() {
    for (text, seconds) in [("1m30s", 90.0), ("90s", 90.0), ("1h0m0s", 3600.0), ("500ms", 0.5), ("1.5m", 90.0)] {
        assert_eq!(duration(text), Some(Duration::from_secs_f64(seconds)), "{text}");
    }
    for bad in ["90", "s", "1x", "-5s"] {
        assert_eq!(duration(bad), None, "{bad}");
    }
}

#[tokio::test]
async fn the_status_shows_every_service_also_one_that_never_ran() {
    let seen = row("web", "running", "healthy", 0) + &row("once", "exited", "", 0) + &row("orphan", "running", "", 0);
    let ssh = ScriptedSsh::new().services("web\nonce\ndb\n").expect(&compose("ps -a --format json"), &seen);
    let ssh = ssh.expect("docker inspect --format * once1 web1", &format!("once1ff {OLD} false\nweb1ff {NEW} false\n"));
    let (overall, services) = state(&call(ssh, "status", json!({})).await.unwrap());
    assert_eq!(overall, "degraded", "db is missing");
    assert_eq!(
        services,
        json!([
            {"service": "db", "container": "", "state": "missing", "health": "", "image": ""},
            {"service": "once", "container": "game-once-1", "state": "exited", "health": "", "exitCode": 0, "image": "once:latest", "imageId": OLD},
            {"service": "web", "container": "game-web-1", "state": "running", "health": "healthy", "image": "web:latest", "imageId": NEW},
        ])
    );
}

#[tokio::test]
async fn one_word_for_all_services() {
    for (rows, word) in [
        (String::new(), "stopped"),
        (row("web", "exited", "", 0), "stopped"),
        (row("web", "running", "", 0), "running"),
        (row("web", "running", "starting", 0), "starting"),
        (row("web", "running", "unhealthy", 0), "degraded"),
        (row("web", "restarting", "", 1), "stopped"),
    ] {
        let ssh = ScriptedSsh::new().services("web\n").seen(&rows, OLD);
        assert_eq!(state(&call(ssh, "status", json!({})).await.unwrap()).0, word, "{rows}");
    }
}

#[tokio::test]
async fn without_a_host_stop_and_status_succeed_and_the_rest_fails() {
    let globals = json!({"sshHost": "", "composePath": "~/game/"});
    for (method, succeeds) in [("stop", true), ("status", true), ("start", false), ("update", false)] {
        let done = Scene::ssh(ScriptedSsh::new()).call("docker/compose", method, globals.clone(), json!({})).await;
        match done {
            Ok(outcome) => assert!(succeeds && outcome.summary == "the VM is off" && written(&outcome)["state"] == "off", "{method}"),
            Err(failure) => assert!(!succeeds && failure.message == "thing: the VM is off, it has no address", "{method}"),
        }
    }
}

#[tokio::test]
async fn what_is_wrong_with_docker_is_told_apart() {
    for (status, stderr, told) in [
        (1, "docker: 'compose' is not a docker command.\nSee 'docker --help'", "no compose plugin of version 2"),
        (125, "unknown flag: --ansi\nSee 'docker --help'.", "no compose plugin of version 2"),
        (127, "sh: docker: not found", "docker is not installed there"),
        (1, "Cannot connect to the Docker daemon at unix:///var/run/docker.sock.", "the Docker daemon does not run"),
        (14, "no configuration file provided: not found", "composePath must be a directory with a compose file; `~/game/` is not"),
        (2, "sh: cd: can't cd to /root/game: No such file or directory", "composePath must be a directory"),
    ] {
        let ssh = ScriptedSsh::new().expect_output(&compose("config --services"), status, "", stderr);
        let failure = call(ssh, "status", json!({})).await.unwrap_err();
        let text = format!("{} {}", failure.message, failure.help.unwrap_or_default());
        assert!(text.contains(told), "{text}");
    }
}

#[tokio::test]
async fn a_service_that_is_not_in_the_file_is_told_with_those_that_are() {
    let mut globals = globals();
    globals["serviceName"] = json!("terarria");
    let ssh = ScriptedSsh::new().services("terraria\nweb\n");
    let failure = Scene::ssh(ssh).call("docker/compose", "status", globals, json!({})).await.unwrap_err();
    assert_eq!((failure.kind, failure.help.as_deref()), (FailureKind::Yours, Some("services: terraria, web")));
}

#[tokio::test]
async fn start_waits_until_every_service_is_healthy() {
    let ssh = ScriptedSsh::new().services("web\n").seen("", OLD).expect(&compose("up -d"), "");
    let ssh = ssh.seen(&row("web", "running", "starting", 0), OLD).seen(&row("web", "running", "healthy", 0), OLD);
    let outcome = call(ssh, "start", json!({})).await.unwrap();
    assert_eq!((outcome.summary.as_str(), outcome.changed, state(&outcome).0.as_str()), ("started web", true, "running"));
    let running = row("web", "running", "", 0);
    let ssh = ScriptedSsh::new().services("web\n").seen(&running, OLD).expect(&compose("up -d"), "").seen(&running, OLD);
    assert!(!call(ssh, "start", json!({})).await.unwrap().changed, "the same containers run as before");
}

#[tokio::test]
async fn a_new_service_without_a_health_check_is_looked_at_twice() {
    let running = row("web", "running", "", 0);
    let ssh = ScriptedSsh::new().services("web\n").seen("", OLD).expect(&compose("up -d"), "").seen(&running, OLD);
    let outcome = call(ssh.seen(&running, OLD), "start", json!({})).await.unwrap();
    assert_eq!((outcome.summary.as_str(), outcome.changed), ("started web", true));
    let ssh = ScriptedSsh::new().services("web\n").seen("", OLD).expect(&compose("up -d"), "").seen(&running, OLD);
    let ssh = ssh.seen(&row("web", "exited", "", 3), OLD).always("docker logs *", "bad config\n");
    let failure = call(ssh, "start", json!({})).await.unwrap_err();
    assert_eq!(failure.message, "10.0.0.9: game-web-1 ended with exit code 3 right after its start");
}

#[tokio::test]
async fn a_service_that_dies_at_its_start_shows_its_log() {
    let ssh = ScriptedSsh::new().services("web\n").seen("", OLD).expect(&compose("up -d"), "").seen(&row("web", "exited", "", 1), OLD);
    let ssh = ssh.expect_output("docker logs --tail 8 game-web-1", 0, "hello\n", "panic: no config\n");
    let failure = call(ssh, "start", json!({})).await.unwrap_err();
    assert_eq!(failure.message, "10.0.0.9: game-web-1 ended with exit code 1 right after its start");
    assert_eq!((failure.tail, failure.acted), (vec!["hello".to_owned(), "panic: no config".to_owned()], Acted::Maybe));
}

#[tokio::test]
async fn a_service_that_never_gets_healthy_fails_at_the_deadline() {
    let sick = row("web", "running", "unhealthy", 0);
    let ssh = ScriptedSsh::new().services("web\n").seen("", OLD).expect(&compose("up -d"), "");
    let ssh = ssh.always(&compose("ps -a --format json"), &sick).always("docker inspect *", "").always("docker logs *", "");
    let failure = call(ssh, "start", json!({"timeout": 20})).await.unwrap_err();
    assert_eq!(failure.message, "10.0.0.9: not ready after 20 s: web is unhealthy");
}

#[tokio::test]
async fn a_stop_gives_the_time_that_the_file_asks_for_and_never_less_than_a_minute() {
    for (services, seconds) in [
        (json!({"web": {"image": "web"}}), "60"),
        (json!({"web": {"image": "web", "stop_grace_period": "1m30s"}}), "90"),
        (json!({"web": {"image": "web", "stop_grace_period": "10s"}}), "60"),
    ] {
        let ssh = ScriptedSsh::new().services("web\n").seen(&row("web", "running", "", 0), OLD).plan(services);
        let ssh = ssh.expect(&compose(&format!("stop -t {seconds} web")), "").seen(&row("web", "exited", "", 143), OLD);
        let outcome = call(ssh, "stop", json!({})).await.unwrap();
        assert_eq!((outcome.summary.as_str(), state(&outcome).0.as_str()), ("stopped web", "stopped"));
    }
    let ssh = ScriptedSsh::new().services("web\n").seen(&row("web", "running", "", 0), OLD);
    let ssh = ssh.expect(&compose("stop -t 200 web"), "").seen(&row("web", "exited", "", 0), OLD);
    call(ssh, "stop", json!({"timeout": 200})).await.unwrap();
}

#[tokio::test]
async fn a_killed_container_is_a_failure_because_the_world_may_be_unsaved() {
    for (oom, why) in [("false", "it did not end within 60 s"), ("true", "the kernel ended it for want of memory")] {
        let ssh = ScriptedSsh::new().services("web\nold\n").seen(&(row("web", "running", "", 0) + &row("old", "exited", "", 137)), OLD);
        let ssh = ssh.plan(json!({"web": {}, "old": {}})).expect(&compose("stop -t 60 web"), "");
        let after = row("old", "exited", "", 137) + &row("web", "exited", "", 137);
        let ssh = ssh.expect(&compose("ps -a --format json"), &after).expect("docker inspect *", &format!("web1 {OLD} {oom}\n"));
        let failure = call(ssh.always("docker logs *", "Saving…\n"), "stop", json!({})).await.unwrap_err();
        assert_eq!(failure.message, format!("10.0.0.9: game-web-1 was killed (exit code 137, {why}): its world may be unsaved"));
        assert_eq!((failure.acted, failure.tail), (Acted::Maybe, vec!["Saving…".to_owned()]));
    }
}

#[tokio::test]
async fn a_container_killed_long_ago_is_not_this_stops_fault() {
    let ssh = ScriptedSsh::new().services("web\n").seen(&row("web", "exited", "", 137), OLD);
    let outcome = call(ssh, "stop", json!({})).await.unwrap();
    assert_eq!((outcome.summary.as_str(), outcome.changed), ("no service runs", false));
}

#[tokio::test]
async fn a_container_that_comes_back_is_told() {
    let running = row("web", "running", "", 0);
    let ssh = ScriptedSsh::new().services("web\n").seen(&running, OLD).plan(json!({"web": {}})).expect(&compose("stop -t 60 web"), "");
    let failure = call(ssh.seen(&running, OLD), "stop", json!({})).await.unwrap_err();
    assert_eq!(failure.message, "10.0.0.9: game-web-1 runs again after its stop");
}

fn image(name: &str) -> String {
    format!("docker image inspect --format '{{{{.Id}}}}' {name}")
}

#[tokio::test]
async fn an_update_restarts_only_what_changed() {
    let both = row("db", "running", "", 0) + &row("web", "running", "", 0);
    let plan = json!({"web": {"image": "web:latest", "stop_grace_period": "2m"}, "db": {"image": "db:latest"}});
    let ssh = ScriptedSsh::new().plan(plan).seen(&both, OLD).expect(&compose("pull -q"), "");
    let ssh = ssh.expect(&image("db:latest"), &format!("{OLD}\n")).expect(&image("web:latest"), &format!("{NEW}\n"));
    let stopped = row("db", "running", "", 0) + &row("web", "exited", "", 0);
    let ssh = ssh.expect(&compose("stop -t 120 web"), "").seen(&stopped, OLD).expect(&compose("up -d --no-deps web"), "").seen(&both, NEW);
    let outcome = call(ssh, "update", json!({})).await.unwrap();
    assert_eq!((outcome.summary.as_str(), outcome.changed), ("updated web (111111111111 → 222222222222)", true));
}

#[tokio::test]
async fn an_update_without_a_new_image_restarts_nothing_and_starts_what_is_off() {
    let plan = json!({"web": {"image": "web:latest"}, "bot": {"build": {"context": "."}}});
    let both = row("bot", "running", "", 0) + &row("web", "running", "", 0);
    let ssh = ScriptedSsh::new().plan(plan.clone()).seen(&both, OLD).expect(&compose("pull -q --ignore-buildable"), "");
    let outcome = call(ssh.expect(&image("web:latest"), OLD), "update", json!({})).await.unwrap();
    assert_eq!((outcome.summary.as_str(), outcome.changed), ("every image is current", false));

    let off = row("bot", "running", "", 0) + &row("web", "exited", "", 0);
    let ssh =
        ScriptedSsh::new().plan(plan).seen(&off, OLD).expect(&compose("pull -q --ignore-buildable"), "").expect(&image("web:latest"), OLD);
    let ssh = ssh.expect(&compose("up -d --no-deps web"), "").seen(&both, OLD).seen(&both, OLD);
    let outcome = call(ssh, "update", json!({})).await.unwrap();
    assert_eq!((outcome.summary.as_str(), outcome.changed), ("every image is current; started web", true));
}

#[tokio::test]
async fn a_world_that_was_not_saved_stops_the_update() {
    let ssh = ScriptedSsh::new().plan(json!({"web": {"image": "web:latest"}})).seen(&row("web", "running", "", 0), OLD);
    let ssh = ssh.expect(&compose("pull -q"), "").expect(&image("web:latest"), NEW).expect(&compose("stop -t 60 web"), "");
    let failure = call(ssh.seen(&row("web", "exited", "", 137), OLD).always("docker logs *", ""), "update", json!({})).await.unwrap_err();
    assert!(failure.message.contains("its world may be unsaved"), "{}", failure.message);
}

#[tokio::test]
async fn a_failed_pull_is_a_failure_with_its_last_lines() {
    let ssh = ScriptedSsh::new().plan(json!({"web": {"image": "web:latest"}})).seen(&row("web", "running", "", 0), OLD);
    let ssh = ssh.expect_output(&compose("pull -q"), 1, "", "Error response from daemon: toomanyrequests\n");
    let failure = call(ssh, "update", json!({})).await.unwrap_err();
    assert_eq!(failure.tail, ["Error response from daemon: toomanyrequests"]);
}

#[test]
fn durations_are_read_or_passed_over_however_spoiled() {
    crate::walks::feed(&["1m30s", "2h", "1.5s", "300ms", "10\u{b5}s"], |bytes| {
        duration(&String::from_utf8_lossy(bytes)).map(drop).ok_or_else(|| "no duration".to_owned())
    });
}

/// `status` on a host that says the same, spoiled, to every question.
#[test]
fn what_compose_says_is_read_or_refused_however_spoiled() {
    let rows = format!("{}\n{}\n", row("game", "running", "healthy", 0), row("web", "exited", "", 137));
    let config = r#"{"services":{"game":{"image":"x","stop_grace_period":"1m30s"},"web":{"build":{"context":"."}}}}"#;
    crate::walks::feed(&[rows.as_str(), config], |bytes| {
        let said = String::from_utf8_lossy(bytes).into_owned();
        let ssh = ScriptedSsh::new()
            .always(&compose("config --services"), "game\nweb\n")
            .always(&compose("config --format json"), &said)
            .always(&compose("ps -a --format json"), &said)
            .always("*", &said);
        use futures_util::FutureExt as _;
        let called = call(ssh, "status", json!({})).now_or_never().expect("it waits for nothing");
        // Half of the seeds are no answer to one of the questions: what counts is that it ends in words.
        called.map(drop).or_else(|failure| if failure.message.trim().is_empty() { Err(failure.message) } else { Ok(()) })
    });
}
