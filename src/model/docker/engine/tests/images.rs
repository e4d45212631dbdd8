//! `build`: once for each state of its inputs.

use super::*;
use crate::wire::scripted::ScriptedSsh;

fn arguments() -> Json {
    json!({"imageTag": "bot", "contextPath": "~/bot", "inputs": {"code": "abc", "binary": "def"}})
}

/// The digest on the label of the build that a scene saw.
fn label(scene: &Scene) -> String {
    let called = scene.ssh.called();
    let build = called.iter().find(|call| call.command.contains("docker build")).expect("a build");
    let rest = build.command.split("pmx.inputs=").nth(1).expect("a label");
    rest[..64].to_owned()
}

/// Builds with these arguments; gives the label.
async fn built(arguments: Json, ssh: ScriptedSsh) -> String {
    // What the label is can only be known from the build itself.
    let probe = Scene::ssh(ssh.clone().no_image("bot").expect_output("cd * docker build *", 1, "", ""));
    on(&probe, "build", arguments).await.unwrap_err();
    label(&probe)
}

#[tokio::test]
async fn an_image_is_built_once_for_its_inputs() {
    let inputs = built(arguments(), ScriptedSsh::new()).await;
    let command = format!("cd ~/bot && exec docker build --label 'pmx.inputs={inputs}' --tag bot .");
    let ssh =
        ScriptedSsh::new().image("bot", OTHER, Some("older")).expect(&command, "Successfully built\n").image("bot", IMAGE, Some(&inputs));
    let scene = Scene::ssh(ssh);
    let first = on(&scene, "build", arguments()).await.unwrap();
    assert!(first.changed && scene.told.has("line Successfully built"));
    assert_eq!(first.writes[0].instance, "bot");
    assert_eq!(
        written(&first),
        json!({"host": "10.0.0.9", "imageTag": "bot", "id": IMAGE, "inputs": inputs, "created": "2026-11-23T10:00:00Z", "bytes": 1234})
    );
    let second = call(ScriptedSsh::new().image("bot", IMAGE, Some(&inputs)), "build", arguments()).await.unwrap();
    assert!(!second.changed && second.writes == first.writes, "{}", second.summary);
}

#[tokio::test]
async fn every_input_counts() {
    let base = built(arguments(), ScriptedSsh::new()).await;
    assert_eq!(built(arguments(), ScriptedSsh::new()).await, base);
    for (name, given) in [
        ("contextPath", json!("~/other")),
        ("dockerfilePath", json!("Dockerfile.bot")),
        ("inputs", json!({"code": "abc", "binary": "deg"})),
        ("inputs", json!({"code": "abc"})),
    ] {
        let mut changed = arguments();
        changed[name] = given;
        assert_ne!(built(changed, ScriptedSsh::new()).await, base, "{name}");
    }
}

#[tokio::test]
async fn without_inputs_the_files_of_the_directory_count() {
    let arguments = json!({"imageTag": "bot", "contextPath": "/bot/"});
    let files = |text: &str, mode| {
        ScriptedSsh::new().with_file("10.0.0.9", "/bot/Dockerfile", mode, text).with_file("10.0.0.9", "/bot/a/b", 0o644, "b")
    };
    let base = built(arguments.clone(), files("FROM scratch", 0o644)).await;
    assert_eq!(built(arguments.clone(), files("FROM scratch", 0o644)).await, base);
    assert_ne!(built(arguments.clone(), files("FROM busybox", 0o644)).await, base);
    assert_ne!(built(arguments.clone(), files("FROM scratch", 0o755)).await, base);
    let failure = call(ScriptedSsh::new(), "build", arguments).await.unwrap_err();
    assert_eq!(failure.message, "10.0.0.9: there is nothing to build from in /bot/");
}

#[tokio::test]
async fn a_build_that_fails_or_leaves_nothing_is_told() {
    let broken = ScriptedSsh::new().no_image("bot").expect_output("cd * docker build *", 1, "Step 1/3\n", "COPY failed: no such file\n");
    let failure = call(broken, "build", arguments()).await.unwrap_err();
    assert_eq!((failure.tail, failure.acted), (vec!["COPY failed: no such file".to_owned()], Acted::Maybe));
    let absent = ScriptedSsh::new().no_image("bot").expect_output("cd * docker build *", 2, "", "sh: cd: can't cd to /root/bot\n");
    let failure = call(absent, "build", arguments()).await.unwrap_err();
    assert_eq!(failure.help.as_deref(), Some("`~/bot` must be a directory on the host"));
    let pretended = ScriptedSsh::new().no_image("bot").expect("cd * docker build *", "").image("bot", OTHER, Some("older"));
    let failure = call(pretended, "build", arguments()).await.unwrap_err();
    assert_eq!(failure.message, "10.0.0.9: bot was built, but is not there afterwards, or without its label");
}

#[tokio::test]
async fn a_dockerfile_of_another_name_is_passed_on() {
    let mut arguments = arguments();
    arguments["dockerfilePath"] = json!("deploy/it's a Dockerfile");
    let scene = Scene::ssh(ScriptedSsh::new().no_image("bot").expect_output("cd * docker build *", 1, "", ""));
    on(&scene, "build", arguments).await.unwrap_err();
    assert!(scene.ssh.called()[1].command.contains(r"'--file=deploy/it'\''s a Dockerfile' ."), "{:?}", scene.ssh.called()[1].command);
}
