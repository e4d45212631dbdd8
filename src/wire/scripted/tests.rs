//! The doubles are honest: they refuse what the script lacks and notice what was left out.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use super::*;
use crate::event::Stream;
use crate::secret::{Origin, Secret};
use crate::wire::clock::Clock as _;
use crate::wire::command::Command;
use crate::wire::http::{Http as _, HttpError, Method, Request};
use crate::wire::ssh::{Content, Exec, Input, Output, Pinning, Ssh as _, Target, Upload};

fn get(path: &str) -> Request {
    Request::new(Method::Get, format!("https://pve:8006{path}"))
}

fn target() -> Target {
    Target { host: "game".into(), port: None, user: None, identity: "host:game".into(), pinning: Pinning::Pinned }
}

fn complaint(result: Result<Result<Output, crate::wire::ssh::SshError>, tokio::task::JoinError>) -> String {
    let panic = result.expect_err("must complain").into_panic();
    panic.downcast_ref::<String>().cloned().unwrap_or_default()
}

#[tokio::test]
async fn http_answers_in_order_and_checks_form_and_headers() {
    let http = ScriptedHttp::new()
        .expect("GET /nodes", 200, json!({"data": []}))
        .expect_form("POST https://pve:8006/ticket", [("username", "root@pam"), ("password", "a=b")], 401, ())
        .with_header("x-token", "hush")
        .expect_reason("DELETE /vm/1?purge=1", 500, "VM is locked (backup)", "text")
        .always("GET /version*", 200, json!(1));
    assert_eq!(http.send(get("/version")).await.unwrap().body, b"1");
    assert_eq!(http.send(get("/nodes")).await.unwrap().reason, "OK");
    let secret = Secret::new("a=b", Origin::Computed);
    let mut post = Request::new(Method::Post, "https://pve:8006/ticket");
    post.form = vec![("password".into(), secret.into()), ("username".into(), "root@pam".into())];
    post.headers = vec![("X-Token".into(), "hush".into())];
    assert_eq!(http.send(post).await.unwrap().status, 401);
    let mut delete = Request::new(Method::Delete, "https://pve:8006/vm/1");
    delete.query = vec![("purge".into(), "1".into())];
    assert_eq!(http.send(delete).await.unwrap().reason, "VM is locked (backup)");
    http.finish();
    assert_eq!(http.lines(), ["GET /version", "GET /nodes", "POST /ticket", "DELETE /vm/1?purge=1"]);
}

#[tokio::test]
async fn http_complains_about_the_wrong_form_and_what_never_came() {
    let http = ScriptedHttp::new().expect_form("POST /x", [("a", "1")], 200, ()).expect("GET /y", 200, ());
    let asked = http.clone();
    let mut post = Request::new(Method::Post, "https://pve:8006/x");
    post.form = vec![("a".into(), "2".into())];
    let panic = tokio::spawn(async move { asked.send(post).await }).await.expect_err("must complain").into_panic();
    let said = panic.downcast_ref::<String>().cloned().unwrap_or_default();
    assert!(said.contains(r#"expected [("a", "1")]"#) && said.contains(r#"got      [("a", "2")]"#) && said.contains("GET /y"), "{said}");
    let finish = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| http.finish()));
    assert!(finish.is_err());
}

#[tokio::test]
async fn http_order_counts_unless_it_is_waived() {
    let script = || ScriptedHttp::new().expect("GET /a", 200, ()).expect("GET /b", 200, ());
    let loose = script().any_order();
    assert!(loose.send(get("/b")).await.is_ok() && loose.send(get("/a")).await.is_ok());
    loose.finish();
    let strict = script();
    assert!(tokio::spawn(async move { strict.send(get("/b")).await }).await.is_err());
    let error = HttpError::OffTheMap { host: "pve:8006".into() };
    let failing = ScriptedHttp::new().expect_error("GET /a", error.clone());
    assert_eq!(failing.send(get("/a")).await, Err(error));
}

#[tokio::test]
async fn ssh_answers_streams_and_keeps_files() {
    let ssh = ScriptedSsh::new()
        .on("game")
        .expect("cd ~/game && docker ps -a", "one\ntwo\n")
        .expect_output("tailscale up *", 1, "", "no\n")
        .with_stdin("key")
        .with_file("game", "/srv/old", 0o644, "old");
    let lines = Arc::new(std::sync::Mutex::new(Vec::new()));
    let sink = |stream: Stream, line: &str| locked(&lines).push((stream, line.to_owned()));
    let command = Command::new("docker").args(["ps", "-a"]).in_dir("~/game");
    ssh.exec(&target(), Exec::new(command, Duration::from_secs(1)), &sink).await.unwrap();
    let mut up = Exec::new(Command::new("tailscale").args(["up", "--auth-key", "file:/dev/stdin"]), Duration::from_secs(1));
    up.input = Input::Secret(Secret::new("key", Origin::Computed));
    assert_eq!(ssh.exec(&target(), up, &sink).await.unwrap().status, 1);
    assert_eq!(locked(&lines).as_slice(), [(Stream::Out, "one".into()), (Stream::Out, "two".into()), (Stream::Err, "no".into())]);
    let upload = Upload { content: Content::Bytes(b"new".to_vec()), dest: "/srv/new".into(), mode: 0o600 };
    ssh.upload(&target(), vec![upload], Duration::from_secs(1), &|_| {}).await.unwrap();
    let listed = ssh.list(&target(), "/srv", true, Duration::from_secs(1)).await.unwrap();
    assert_eq!(listed.iter().map(|file| (file.path.as_str(), file.mode)).collect::<Vec<_>>(), [("new", 0o600), ("old", 0o644)]);
    assert_eq!(ssh.read(&target(), "/srv/none", 9).await.unwrap(), None);
    assert!(ssh.read(&target(), "/srv/new", 2).await.is_err());
    ssh.finish();
}

#[tokio::test]
async fn ssh_complains_about_unknown_commands() {
    let ssh = ScriptedSsh::new().expect("true", "");
    let asked = ssh.clone();
    let ran =
        tokio::spawn(async move { asked.exec(&target(), Exec::new(Command::new("false"), Duration::from_secs(1)), &|_, _| {}).await });
    let said = complaint(ran.await);
    assert!(said.contains("game: false") && said.contains("expected next:\n    true"), "{said}");
}

#[tokio::test]
async fn the_clock_wakes_sleepers_in_their_order() {
    let clock = TestClock::new();
    let begun = clock.now();
    let polling = async {
        let mut polls = 0;
        loop {
            clock.sleep(Duration::from_secs(1)).await;
            polls += 1;
            if polls == 100 {
                return "never";
            }
        }
    };
    let winner = tokio::select! { said = polling => said, () = clock.sleep(Duration::from_millis(10_500)) => "deadline" };
    assert_eq!(winner, "deadline");
    assert_eq!(clock.elapsed(), Duration::from_millis(10_500));
    assert_eq!(clock.now().0 - begun.0, 10_500);
    assert_eq!(clock.slept().len(), 12);
    clock.advance(Duration::from_secs(1));
    assert_eq!(clock.elapsed(), Duration::from_millis(11_500));
}

#[test]
fn stars_stand_for_any_text() {
    let table = [
        ("a*c", "abc", true),
        ("a*c", "ac", true),
        ("a*c", "acb", false),
        ("*", "", true),
        ("abc", "abcd", false),
        ("a*b*c", "a1b2b3c", true),
        ("*.log", "x.log", true),
        ("ab*ba", "aba", false),
    ];
    for (pattern, text, fits) in table {
        assert_eq!(matches(pattern, text), fits, "{pattern} {text}");
    }
}
