//! What the methods of `docker/engine` do: wire script → outcome.

mod hostile;
mod images;
mod replacing;

use serde_json::{Value as Json, json};

use crate::model::contract::{Acted, Failure, FailureKind, Outcome};
use crate::model::registry;
use crate::model::scene::{Scene, written};
use crate::value::Value;
use crate::wire::scripted::ScriptedSsh;

const IMAGE: &str = "sha256:1111111111111111111111111111111111111111111111111111111111111111";
const OTHER: &str = "sha256:2222222222222222222222222222222222222222222222222222222222222222";

fn globals() -> Json {
    json!({"sshHost": "10.0.0.9"})
}

/// Calls a method with its arguments in the shape that the runner gives them.
async fn on(scene: &Scene, method: &str, arguments: Json) -> Result<Outcome, Failure> {
    let schema = (registry::method(registry::find("docker/engine").unwrap(), method).unwrap().arguments)();
    let mut shaped = serde_json::Map::new();
    for (name, given) in arguments.as_object().unwrap() {
        let value = Value::from(given.clone());
        schema[name].ty.accepts(&value).unwrap_or_else(|why| panic!("{name} {why}"));
        shaped.insert(name.clone(), serde_json::to_value(schema[name].ty.shape(value)).unwrap());
    }
    scene.call("docker/engine", method, globals(), Json::Object(shaped)).await
}

async fn call(ssh: ScriptedSsh, method: &str, arguments: Json) -> Result<Outcome, Failure> {
    on(&Scene::ssh(ssh), method, arguments).await
}

/// A container as `docker container inspect` tells it.
fn container(name: &str, state: &str, inputs: Option<&str>) -> Json {
    json!([{
        "Id": format!("{name}-id"), "Name": format!("/{name}"), "Image": IMAGE, "RestartCount": 0,
        "State": {"Status": state, "ExitCode": 0, "OOMKilled": false, "StartedAt": "2026-11-23T10:00:00Z"},
        "Config": {"Image": "bot", "Labels": inputs.map(|inputs| json!({"pmx.inputs": inputs})), "StopTimeout": null},
        "HostConfig": {"Binds": ["/a:/b"], "PortBindings": {"80/tcp": [{"HostIp": "127.0.0.1", "HostPort": "8080"}]}, "RestartPolicy": {"Name": "unless-stopped"}},
    }])
}

trait Script: Sized {
    fn image(self, name: &str, id: &str, inputs: Option<&str>) -> Self;
    fn no_image(self, name: &str) -> Self;
    fn seen(self, name: &str, row: &Json) -> Self;
    fn none(self, name: &str) -> Self;
    fn file(self, path: &str, text: &str) -> Self;
}

impl Script for ScriptedSsh {
    fn image(self, name: &str, id: &str, inputs: Option<&str>) -> Self {
        let labels = inputs.map(|inputs| json!({"pmx.inputs": inputs}));
        let row = json!([{"Id": id, "Created": "2026-11-23T10:00:00Z", "Size": 1234, "Config": {"Labels": labels}}]);
        self.expect(&format!("docker image inspect {name}"), &row.to_string())
    }
    fn no_image(self, name: &str) -> Self {
        self.expect_output(&format!("docker image inspect {name}"), 1, "[]\n", &format!("Error: No such image: {name}\n"))
    }
    fn seen(self, name: &str, row: &Json) -> Self {
        self.expect(&format!("docker container inspect {name}"), &row.to_string())
    }
    fn none(self, name: &str) -> Self {
        self.expect_output(&format!("docker container inspect {name}"), 1, "[]\n", &format!("Error: No such container: {name}\n"))
    }
    fn file(self, path: &str, text: &str) -> Self {
        let seen = format!("{} 600\n{}  -\n", text.len(), crate::model::local::sha256(text.as_bytes()));
        self.expect(&format!("if [ -f {path} ]; then *"), &seen)
    }
}

const VERSION: &str = "docker version --format '{{.Server.Version}}'";
const WHICH: &str = "for name in apk apt-get; do *";

#[tokio::test]
async fn an_engine_that_answers_is_left_alone() {
    let outcome = call(ScriptedSsh::new().expect(VERSION, "27.3.1\n"), "install", json!({})).await.unwrap();
    assert_eq!((outcome.summary.as_str(), outcome.changed), ("10.0.0.9: Docker 27.3.1 answers already", false));
    assert_eq!(written(&outcome), json!({"host": "10.0.0.9", "version": "27.3.1"}));
}

#[tokio::test]
async fn each_distribution_is_given_docker_in_its_way() {
    for (manager, steps) in [
        ("apk", &["apk add docker docker-cli-compose", "rc-update add docker default", "rc-service docker start"][..]),
        (
            "apt-get",
            &[
                "DEBIAN_FRONTEND=noninteractive apt-get update",
                "DEBIAN_FRONTEND=noninteractive apt-get install -y docker.io",
                "systemctl enable docker",
                "systemctl start docker",
            ],
        ),
    ] {
        let ssh = ScriptedSsh::new().expect_output(VERSION, 127, "", "sh: docker: not found\n").expect(WHICH, &format!("{manager}\n"));
        let ssh = steps.iter().fold(ssh, |ssh, step| ssh.expect(step, ""));
        let ssh = ssh.expect_output(VERSION, 1, "\n", "Cannot connect to the Docker daemon\n").expect(VERSION, "26.1.5\n");
        let outcome = call(ssh, "install", json!({})).await.unwrap();
        assert_eq!((outcome.summary.as_str(), outcome.changed), ("10.0.0.9: installed Docker 26.1.5", true));
    }
}

#[tokio::test]
async fn an_installation_that_does_not_work_is_told_with_its_reason() {
    let absent = || ScriptedSsh::new().expect_output(VERSION, 127, "", "sh: docker: not found\n");
    let neither = call(absent().expect(WHICH, ""), "install", json!({})).await.unwrap_err();
    assert_eq!((neither.message.as_str(), neither.acted), ("10.0.0.9: there is neither apk nor apt-get", Acted::No));

    let missing = absent().expect(WHICH, "apk\n").expect_output("apk add *", 1, "", "ERROR: unable to select packages:\n");
    let failure = call(missing, "install", json!({})).await.unwrap_err();
    assert!(failure.help.unwrap().contains("community") && failure.tail[0].contains("unable to select"));
    assert_eq!(failure.acted, Acted::Maybe);

    let silent = absent().expect(WHICH, "apk\n").expect("apk add *", "").expect("rc-update *", "").expect("rc-service *", "");
    let silent = silent.always_output(VERSION, 1, "\n", "Cannot connect to the Docker daemon\n");
    let failure = call(silent, "install", json!({})).await.unwrap_err();
    assert_eq!(failure.message, "10.0.0.9: Docker is installed, but does not answer after 60 s");
    assert_eq!(failure.tail, ["Cannot connect to the Docker daemon"]);

    let forbidden = ScriptedSsh::new().expect_output(VERSION, 1, "\n", "permission denied while trying to connect to the docker API\n");
    let failure = call(forbidden, "install", json!({})).await.unwrap_err();
    assert!(failure.help.unwrap().contains("this user may not speak to it"), "an engine that is there is not installed again");
}

#[tokio::test]
async fn an_inspection_tells_the_whole_container() {
    let ssh = ScriptedSsh::new().seen("bot", &container("bot", "running", None));
    let outcome = call(ssh, "inspect", json!({"containerName": "bot"})).await.unwrap();
    assert_eq!(outcome.writes[0].instance, "bot");
    assert_eq!(
        written(&outcome),
        json!({
            "containerName": "bot", "state": "running", "health": "", "id": "bot-id", "imageTag": "bot", "imageId": IMAGE,
            "startedAt": "2026-11-23T10:00:00Z", "restart": "unless-stopped", "ports": ["127.0.0.1:8080:80/tcp"], "volumes": ["/a:/b"],
        })
    );
    let missing = call(ScriptedSsh::new().none("bot"), "inspect", json!({"containerName": "bot"})).await.unwrap();
    assert_eq!(written(&missing)["state"], "missing");
    // Docker takes the beginning of an id for a name.
    let other = call(ScriptedSsh::new().seen("bo", &container("bot", "running", None)), "inspect", json!({"containerName": "bo"})).await;
    assert_eq!(written(&other.unwrap())["state"], "missing");
}

#[tokio::test]
async fn without_a_host_stop_and_inspect_succeed_and_the_rest_fails() {
    for (method, arguments, succeeds) in [
        ("stop", json!({"containerName": "bot"}), true),
        ("inspect", json!({"containerName": "bot"}), true),
        ("install", json!({}), false),
        ("build", json!({"imageTag": "bot", "contextPath": "/bot"}), false),
        ("run", json!({"containerName": "bot", "imageTag": "bot"}), false),
        ("exec", json!({"containerName": "bot", "command": "id"}), false),
    ] {
        let scene = Scene::ssh(ScriptedSsh::new());
        match scene.call("docker/engine", method, json!({"sshHost": null}), arguments).await {
            Ok(outcome) => assert!(succeeds && outcome.summary == "the VM is off" && written(&outcome)["state"] == "off", "{method}"),
            Err(failure) => assert!(!succeeds && failure.message == "thing: the VM is off, it has no address", "{method}"),
        }
    }
}

#[tokio::test]
async fn a_stop_gives_time_to_save() {
    for (timeout, seconds) in [(json!(null), "60"), (json!(10), "60"), (json!(180), "180")] {
        let mut running = container("bot", "running", None);
        running[0]["Config"]["StopTimeout"] = timeout;
        let ssh = ScriptedSsh::new().seen("bot", &running).expect(&format!("docker stop -t {seconds} bot"), "bot\n");
        let outcome = call(ssh.seen("bot", &container("bot", "exited", None)), "stop", json!({"containerName": "bot"})).await.unwrap();
        assert_eq!((outcome.changed, &written(&outcome)["state"], &written(&outcome)["exitCode"]), (true, &json!("exited"), &json!(0)));
    }
    for ssh in [ScriptedSsh::new().seen("bot", &container("bot", "exited", None)), ScriptedSsh::new().none("bot")] {
        assert!(!call(ssh, "stop", json!({"containerName": "bot"})).await.unwrap().changed, "nothing runs");
    }
}

#[tokio::test]
async fn a_killed_container_is_a_failure_because_its_data_may_be_unsaved() {
    for (oom, why) in [(false, "it did not end within 60 s"), (true, "the kernel ended it for want of memory")] {
        let mut killed = container("bot", "exited", None);
        killed[0]["State"]["ExitCode"] = json!(137);
        killed[0]["State"]["OOMKilled"] = json!(oom);
        let ssh = ScriptedSsh::new().seen("bot", &container("bot", "running", None)).expect("docker stop -t 60 bot", "bot\n");
        let ssh = ssh.seen("bot", &killed).expect_output("docker logs --tail 8 bot", 0, "saving\n", "");
        let failure = call(ssh, "stop", json!({"containerName": "bot"})).await.unwrap_err();
        assert_eq!(failure.message, format!("10.0.0.9: bot was killed (exit code 137, {why}): its data may be unsaved"));
        assert_eq!((failure.acted, failure.tail), (Acted::Maybe, vec!["saving".to_owned()]));
    }
    let running = container("bot", "running", None);
    let ssh = ScriptedSsh::new().seen("bot", &running).expect("docker stop *", "").seen("bot", &running);
    let failure = call(ssh, "stop", json!({"containerName": "bot"})).await.unwrap_err();
    assert_eq!(failure.message, "10.0.0.9: bot runs again after its stop");
}

#[tokio::test]
async fn a_command_inside_arrives_word_by_word() {
    let up = || ScriptedSsh::new().seen("bot", &container("bot", "running", None));
    for (command, words) in [
        (json!(["ls", "a b", "$(id)"]), "ls 'a b' '$(id)'"),
        (json!("[\"ls\", \"-l\"]"), "ls -l"),
        (json!("ls | wc -l"), "sh -c 'ls | wc -l'"),
        (json!("[ -f /x ]"), "sh -c '[ -f /x ]'"),
    ] {
        let ssh = up().expect_output(
            &format!("docker exec --workdir=/srv bot {words}").replace("--workdir=/srv", "'--workdir=/srv'"),
            0,
            "out\n",
            "err\n",
        );
        let arguments = json!({"containerName": "bot", "command": command, "workdir": "/srv"});
        let outcome = call(ssh, "exec", arguments).await.unwrap();
        assert!(outcome.changed);
        assert_eq!((&written(&outcome)["stdout"], &written(&outcome)["exitCode"]), (&json!("out\n"), &json!(0)));
    }
    let failing = up().expect_output("docker exec bot false", 1, "", "no\n");
    let failure = call(failing, "exec", json!({"containerName": "bot", "command": ["false"]})).await.unwrap_err();
    assert_eq!((failure.message.as_str(), failure.acted), ("10.0.0.9: `docker exec bot false` ended with exit code 1", Acted::Maybe));
    let down = ScriptedSsh::new().seen("bot", &container("bot", "exited", None));
    let failure = call(down, "exec", json!({"containerName": "bot", "command": "id"})).await.unwrap_err();
    assert_eq!((failure.message.as_str(), failure.acted), ("10.0.0.9: bot does not run, it is exited", Acted::No));
}

#[tokio::test]
async fn what_is_wrong_with_docker_is_told_apart() {
    for (status, stderr, told) in [
        (127, "sh: docker: not found", "`install` of this type installs it"),
        (1, "Cannot connect to the Docker daemon at unix:///var/run/docker.sock.", "the Docker daemon does not run"),
    ] {
        let ssh = ScriptedSsh::new().expect_output("docker container inspect bot", status, "", stderr);
        let failure = call(ssh, "inspect", json!({"containerName": "bot"})).await.unwrap_err();
        assert!(failure.kind == FailureKind::Theirs && failure.help.unwrap().contains(told), "{stderr}");
    }
}
