//! Arguments that make no sense or mean harm: each is refused before anything is asked, with the rule that it breaks.

use super::*;

/// Refused without a word to the host.
async fn refused(method: &str, arguments: Json) -> String {
    let failure = call(ScriptedSsh::new(), method, arguments).await.unwrap_err();
    assert_eq!((failure.kind, failure.acted), (FailureKind::Yours, Acted::No), "{}", failure.message);
    failure.message
}

#[tokio::test]
async fn container_names_follow_dockers_rule() {
    for name in ["", "a", "-rf", "--help", "a b", "it's", "a;id", "a/b", "$(id)", "ä-b", "bot.pmx-old", "a\nb"] {
        for (method, rest) in
            [("stop", json!({})), ("inspect", json!({})), ("exec", json!({"command": "id"})), ("run", json!({"imageTag": "bot"}))]
        {
            let mut arguments = rest;
            arguments["containerName"] = json!(name);
            let message = refused(method, arguments).await;
            assert!(message.contains("is no container name: "), "{message}");
        }
    }
    let message = refused("stop", json!({"containerName": "it's"})).await;
    assert_eq!(message, r"`it\'s` is no container name: a letter or digit first, then one or more letters, digits, `_`, `.` or `-`");
}

#[tokio::test]
async fn image_names_follow_dockers_rule() {
    for name in ["", "-t", "Bot", "a b", "a//b", "a:", "a:-x", "a:b c", "bot;id", "a..b", "_a", "x@y", "host:port/a", &"a".repeat(300)] {
        let run = refused("run", json!({"containerName": "bot", "imageTag": name})).await;
        let build = refused("build", json!({"imageTag": name, "contextPath": "/bot"})).await;
        assert!(run.contains("is no image name: ") == build.contains("is no image name: "), "{run}");
        assert!(run.contains("is no image name: "), "{name}: {run}");
    }
    for name in ["bot", "bot:1.2-RC", "library/bot", "jacobsmile/tmodloader1.4:latest", "localhost:5000/a/b_c:x", "ghcr.io/a-b/c__d"] {
        let known = ScriptedSsh::new().image(name, IMAGE, Some("x")).none("bot.pmx-old").seen("bot", &container("bot", "running", None));
        let failure = call(known, "run", json!({"containerName": "bot", "imageTag": name})).await.unwrap_err();
        assert_eq!(failure.kind, FailureKind::Refused, "{name} is a good name: {}", failure.message);
    }
}

#[tokio::test]
async fn every_other_argument_of_run_has_its_rule() {
    for (name, given, said) in [
        ("imageId", json!("bot"), "is no image id"),
        ("ports", json!(["80:80:80:80"]), "is no published port"),
        ("ports", json!(["-p"]), "is no published port"),
        ("ports", json!(["70000:80"]), "is no published port"),
        ("ports", json!(["80/icmp"]), "is no published port"),
        ("ports", json!(["$(id):80"]), "is no published port"),
        ("volumes", json!(["relative/path:/x"]), "is no volume"),
        ("volumes", json!(["/a:b"]), "is no volume"),
        ("volumes", json!(["/a"]), "is no volume"),
        ("volumes", json!(["/a:/b:ro:rw"]), "is no volume"),
        ("volumes", json!(["/a:/b:ro;id"]), "is no volume"),
        ("env", json!({"A B": "x"}), "is no variable's name"),
        ("env", json!({"": "x"}), "is no variable's name"),
        ("env", json!({"#A": "x"}), "is no variable's name"),
        ("envFile", json!("bot/.env"), "is no file of variables"),
        ("command", json!([]), "`command` is empty"),
        ("command", json!(""), "`command` is empty"),
        ("command", json!(7), "must be a list of words"),
        ("command", json!(["a\u{0}b"]), "NUL byte"),
    ] {
        let mut arguments = json!({"containerName": "bot", "imageTag": "bot"});
        arguments[name] = given.clone();
        let message = refused("run", arguments).await;
        assert!(message.contains(said), "{name} {given}: {message}");
    }
}

#[tokio::test]
async fn a_variable_that_docker_cannot_read_is_refused_without_showing_it() {
    for value in ["hunter2\nhunter2", "hunter2\r", "hunter2\u{0}", &"hunter2".repeat(10_000)] {
        let message = refused("run", json!({"containerName": "bot", "imageTag": "bot", "env": {"TOKEN": value}})).await;
        assert!(message.starts_with("the value of `TOKEN` cannot be given to docker: ") && !message.contains("hunter2"), "{message}");
    }
}

#[tokio::test]
async fn paths_of_a_build_and_of_a_command_are_checked() {
    for path in ["", "bot", "-f", "/a\nb"] {
        assert!(refused("build", json!({"imageTag": "bot", "contextPath": path})).await.contains("is no directory to build from"));
    }
    let message = refused("build", json!({"imageTag": "bot", "contextPath": "/bot", "dockerfilePath": ""})).await;
    assert!(message.contains("is no path of a Dockerfile"));
    let message = refused("exec", json!({"containerName": "bot", "command": "id", "workdir": "srv"})).await;
    assert!(message.contains("an absolute path without control characters is expected"));
}

#[test]
fn wrong_types_do_not_get_past_the_schema() {
    let row = registry::find("docker/engine").unwrap();
    for (method, argument, given) in [
        ("build", "imageTag", json!(7)),
        ("build", "contextPath", json!(["/bot"])),
        ("build", "dockerfilePath", json!(true)),
        ("build", "inputs", json!("x")),
        ("run", "containerName", json!(null)),
        ("run", "imageTag", json!({})),
        ("run", "imageId", json!(1)),
        ("run", "ports", json!("8080:80")),
        ("run", "ports", json!([80])),
        ("run", "volumes", json!({"/a": "/b"})),
        ("run", "env", json!(["A=b"])),
        ("run", "env", json!({"A": 1})),
        ("run", "envFile", json!(1)),
        ("run", "envDigest", json!([])),
        ("run", "restart", json!("sometimes")),
        ("stop", "containerName", json!(1)),
        ("inspect", "containerName", json!([])),
        ("exec", "containerName", json!(false)),
        ("exec", "workdir", json!(1)),
    ] {
        let field = (registry::method(row, method).unwrap().arguments)()[argument].clone();
        assert!(field.ty.accepts(&Value::from(given.clone())).is_err(), "{method} takes {given} as {argument}");
    }
    for (argument, given) in [
        ("sshHost", json!(1)),
        ("sshHost", json!(["a"])),
        ("sshUser", json!(0)),
        ("sshPort", json!("twenty-two")),
        ("sshPort", json!(70000)),
        ("sshPort", json!(-1)),
    ] {
        let field = (row.globals)()[argument].clone();
        assert!(field.ty.accepts(&Value::from(given.clone())).is_err(), "{given} is taken as {argument}");
    }
}

#[tokio::test]
async fn a_command_that_is_none_is_refused_by_exec_too() {
    for command in [json!(7), json!({"a": 1}), json!([]), json!(""), json!("[]"), json!([1]), json!(["a\u{0}b"])] {
        let message = refused("exec", json!({"containerName": "bot", "command": command})).await;
        assert!(message.contains("`command`"), "{command}: {message}");
    }
}
