//! What the methods of `ssh/host` do: wire script → outcome.
#![expect(clippy::disallowed_methods, reason = "uploads are tested on files of their own")]

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use serde_json::{Value as Json, json};

use crate::event::Stream;
use crate::model::contract::{Acted, Failure, FailureKind, Reporter};
use crate::model::local::sha256;
use crate::model::registry;
use crate::model::scene::{Scene, written};
use crate::wire::scripted::ScriptedSsh;
use crate::wire::ssh::SshError;

fn globals() -> Json {
    json!({"host": "10.0.0.9"})
}

#[tokio::test]
async fn a_command_leaves_its_outputs_and_is_shown_as_it_comes() {
    let scene = Scene::ssh(ScriptedSsh::new().on("10.0.0.9").expect_output("uname -a; id", 0, "Linux\nroot\n", "note\n"));
    let outcome = scene.call("ssh/host", "exec", globals(), json!({"command": "uname -a; id", "as": "who"})).await.unwrap();
    assert_eq!(outcome.writes[0].instance, "who");
    assert_eq!(
        written(&outcome),
        json!({"host": "10.0.0.9", "command": "uname -a; id", "stdout": "Linux\nroot\n", "stderr": "note\n", "exitCode": 0})
    );
    assert!(outcome.changed && scene.told.has("line Linux") && scene.told.has("line note"));
    let called = scene.ssh.called();
    assert_eq!((called[0].deadline.as_secs(), called[0].target.identity.as_str()), (60, scene.ctx.identity.as_str()));
}

/// A journal that takes nothing any more.
struct Unwritable;

impl Reporter for Unwritable {
    fn phase(&self, _: &str, _: Option<Duration>) {}
    fn line(&self, _: Stream, _: &str) {}
    fn warn(&self, _: &str) {}
    fn task<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<(), Failure>> {
        Box::pin(async { Err(Failure::bug("the journal cannot be written")) })
    }
    fn cancelled(&self) -> BoxFuture<'_, ()> {
        Box::pin(std::future::pending())
    }
}

#[tokio::test]
async fn a_command_that_the_journal_does_not_have_is_not_sent() {
    let by_command: Vec<&str> =
        registry::types().iter().flat_map(|row| row.methods).filter(|method| method.by_command).map(|method| method.name).collect();
    assert_eq!(by_command, ["exec"], "each of them is to be shown here");
    let mut scene = Scene::ssh(ScriptedSsh::new());
    scene.ctx.reporter = Arc::new(Unwritable);
    let failure = scene.call("ssh/host", "exec", globals(), json!({"command": "id"})).await.unwrap_err();
    assert_eq!((failure.message.as_str(), failure.acted), ("the journal cannot be written", Acted::No));
}

#[tokio::test]
async fn an_exit_code_is_a_failure_with_the_last_lines() {
    let many: String = (0..20).map(|n| format!("e{n}\n")).collect();
    let scene = Scene::ssh(ScriptedSsh::new().expect_output("false", 3, "out\n", &many));
    let failure = scene.call("ssh/host", "exec", globals(), json!({"command": "false"})).await.unwrap_err();
    assert_eq!(failure.message, "10.0.0.9: `false` ended with exit code 3");
    assert_eq!((failure.tail.len(), failure.tail[7].as_str(), failure.acted), (8, "e19", Acted::Maybe));
}

#[tokio::test]
async fn a_lost_command_may_have_acted_and_a_refused_key_has_not() {
    let host = || "root@10.0.0.9:22".to_owned();
    for (error, acted) in [
        (SshError::Deadline { host: host(), what: "x".into(), seconds: 60 }, Acted::Maybe),
        (SshError::Denied { host: host(), offered: "agent: 1 key".into() }, Acted::No),
        (SshError::Connect { host: host(), cause: "refused".into() }, Acted::No),
    ] {
        let scene = Scene::ssh(ScriptedSsh::new().expect_error("x", error));
        assert_eq!(scene.call("ssh/host", "exec", globals(), json!({"command": "x"})).await.unwrap_err().acted, acted);
    }
}

#[tokio::test]
async fn a_cancelled_run_ends_the_command() {
    let scene = Scene::ssh(ScriptedSsh::new());
    scene.told.cancel_at("phase the command");
    let failure = scene.call("ssh/host", "exec", globals(), json!({"command": "sleep 1000"})).await.unwrap_err();
    assert_eq!((failure.kind, failure.acted), (FailureKind::Cancelled, Acted::Maybe));
}

#[tokio::test]
async fn without_a_host_everything_says_that_the_vm_is_off() {
    for host in [json!(null), json!(""), json!(" ")] {
        for (method, arguments) in [
            ("exec", json!({"command": "id"})),
            ("writeFile", json!({"dest": "/x", "content": "c"})),
            ("upload", json!({"source": "a", "dest": "/b"})),
            ("waitForConnection", json!({})),
        ] {
            let scene = Scene::ssh(ScriptedSsh::new());
            let failure = scene.call("ssh/host", method, json!({"host": host}), arguments).await.unwrap_err();
            assert_eq!(failure.message, "thing: the VM is off, it has no address", "{method}");
        }
    }
    let forgotten = Scene::ssh(ScriptedSsh::new()).call("ssh/host", "exec", json!({}), json!({"command": "id"})).await.unwrap_err();
    assert!(forgotten.message.contains("missing field `host`"), "{}", forgotten.message);
}

const LOOK: &str = "if [ -f ~/bot/.env ]; then stat -L -c '%s %a' ~/bot/.env && sha256sum < ~/bot/.env; fi";

fn seen(content: &str, mode: &str) -> String {
    format!("{} {mode}\n{}  -\n", content.len(), sha256(content.as_bytes()))
}

#[tokio::test]
async fn a_file_is_written_once_and_its_content_never_shows() {
    let content = "DISCORD_TOKEN=hunter2hunter2\n";
    let arguments = json!({"dest": "~/bot/.env", "content": content});
    let ssh = ScriptedSsh::new().expect(LOOK, "").expect(LOOK, &seen(content, "600"));
    let scene = Scene::ssh(ssh);
    let first = scene.call("ssh/host", "writeFile", globals(), arguments.clone()).await.unwrap();
    assert_eq!(scene.ssh.log()[1], "upload 10.0.0.9:~/bot/.env 0600");
    let state = written(&first);
    assert_eq!((&state["bytes"], &state["mode"], first.writes[0].instance.as_str()), (&json!(29), &json!("0600"), "~/bot/.env"));
    assert_ne!(state["digest"], json!(sha256(content.as_bytes())), "a plain digest could be guessed");
    assert!(!format!("{first:?} {:?} {:?}", scene.ssh.called(), scene.told.all()).contains("hunter2"));

    let again = Scene::ssh(ScriptedSsh::new().expect(LOOK, &seen(content, "600")));
    let second = again.call("ssh/host", "writeFile", globals(), arguments.clone()).await.unwrap();
    assert!(!second.changed && second.writes == first.writes, "the same content is the same version");

    let open = Scene::ssh(ScriptedSsh::new().expect(LOOK, &seen(content, "644")).expect(LOOK, &seen(content, "600")));
    assert!(open.call("ssh/host", "writeFile", globals(), arguments.clone()).await.unwrap().changed, "the mode is part of it");

    let lost = Scene::ssh(ScriptedSsh::new().expect(LOOK, "").expect(LOOK, &seen("something else", "600")));
    let failure = lost.call("ssh/host", "writeFile", globals(), arguments).await.unwrap_err();
    assert_eq!(
        (failure.message.as_str(), failure.acted),
        ("10.0.0.9:~/bot/.env was written, but reads differently afterwards", Acted::Maybe)
    );
}

#[tokio::test]
async fn a_path_cannot_become_a_command() {
    let quoted = r"'/tmp/$(reboot); it'\''s'";
    let look = format!("if [ -f {quoted} ]; then stat -L -c '%s %a' {quoted} && sha256sum < {quoted}; fi");
    let scene = Scene::ssh(ScriptedSsh::new().expect(&look, &seen("c", "600")));
    scene.call("ssh/host", "writeFile", globals(), json!({"dest": "/tmp/$(reboot); it's", "content": "c"})).await.unwrap();
}

#[tokio::test]
async fn a_mode_must_be_octal() {
    let scene = Scene::ssh(ScriptedSsh::new());
    let failure = scene.call("ssh/host", "writeFile", globals(), json!({"dest": "/x", "content": "c", "mode": "rw"})).await.unwrap_err();
    assert_eq!(failure.kind, FailureKind::Yours);
}

#[tokio::test]
async fn only_what_differs_travels() {
    use std::os::unix::fs::PermissionsExt;
    let root = tempfile::tempdir().unwrap();
    let put = |path: &str, text: &str, mode: u32| {
        let path = root.path().join("bot").join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    put("same", "same", 0o644);
    put("sub/changed", "new", 0o644);
    put("run", "#!/bin/sh", 0o755);
    std::os::unix::fs::symlink(root.path(), root.path().join("bot/loop")).unwrap();
    let ssh = ScriptedSsh::new()
        .with_file("10.0.0.9", "/opt/bot/same", 0o644, "same")
        .with_file("10.0.0.9", "/opt/bot/sub/changed", 0o644, "old")
        .with_file("10.0.0.9", "/opt/bot/run", 0o644, "#!/bin/sh")
        .with_file("10.0.0.9", "/opt/bot/theirs", 0o644, "stays");
    let mut scene = Scene::ssh(ssh);
    scene.ctx.root = root.path().to_path_buf();
    let arguments = json!({"source": "bot", "dest": "/opt/bot/"});
    let first = scene.call("ssh/host", "upload", globals(), arguments.clone()).await.unwrap();
    assert_eq!(first.summary, "sent 2 of 3 files, 12 bytes, to 10.0.0.9:/opt/bot/");
    assert_eq!(scene.ssh.file("10.0.0.9", "/opt/bot/run").unwrap().mode, 0o755);
    assert!(scene.ssh.file("10.0.0.9", "/opt/bot/theirs").is_some() && scene.told.has("warn bot/loop is left out"));
    let second = scene.call("ssh/host", "upload", globals(), arguments).await.unwrap();
    assert!(!second.changed && second.writes == first.writes, "{}", second.summary);
    let state = written(&second);
    assert_eq!((&state["files"], &state["bytes"]), (&json!(3), &json!(16)));
}

#[tokio::test]
async fn a_single_file_lands_at_or_in_its_destination() {
    let root = tempfile::tempdir().unwrap();
    std::fs::write(root.path().join("pmx"), "binary").unwrap();
    for (dest, lands) in [("/usr/bin/pmx2", "/usr/bin/pmx2"), ("/usr/bin/", "/usr/bin/pmx")] {
        let mut scene = Scene::ssh(ScriptedSsh::new().expect("if [ -f *", ""));
        scene.ctx.root = root.path().to_path_buf();
        scene.call("ssh/host", "upload", globals(), json!({"source": "pmx", "dest": dest})).await.unwrap();
        assert!(scene.ssh.file("10.0.0.9", lands).is_some(), "{:?}", scene.ssh.log());
    }
}

#[tokio::test]
async fn waiting_shows_the_last_reason() {
    let scene = Scene::ssh(ScriptedSsh::new());
    scene.call("ssh/host", "waitForConnection", globals(), json!({"timeout": 5})).await.unwrap();
    assert_eq!(scene.ssh.log(), ["wait 10.0.0.9"]);
    let error = SshError::Connect { host: "root@10.0.0.9:22".into(), cause: "no route to host".into() };
    let scene = Scene::ssh(ScriptedSsh::new().failing("wait", error));
    let failure = scene.call("ssh/host", "waitForConnection", globals(), json!({})).await.unwrap_err();
    assert_eq!((failure.message.as_str(), failure.acted), ("could not connect to root@10.0.0.9:22: no route to host", Acted::No));
}
