//! What the methods of `terraria/server` do: wire script → outcome.

use std::time::Duration;

use serde_json::{Value as Json, json};

use crate::model::contract::{Acted, FailureKind};
use crate::model::scene::{Scene, written};
use crate::wire::scripted::ScriptedSsh;

const INSPECT: &str = "docker inspect --type container --format '{{.State.Running}}' tmodloader";
const PANE: &str = "docker exec tmodloader tmux capture-pane -p -S -";
const ASK: &str = "docker exec tmodloader tmux send-keys -l -- maxplayers ';' send-keys Enter ';' send-keys -l -- version ';' send-keys Enter ';' \
                   send-keys -l -- playing ';' send-keys Enter ';' send-keys -l -- kick ';' send-keys Enter";

fn globals() -> Json {
    json!({"sshHost": "10.0.0.9"})
}

fn off() -> Json {
    json!({"sshHost": null})
}

/// What the pane shows after the n-th question, when these play.
fn pane(questions: usize, players: &[&str]) -> String {
    let names: String = players.iter().map(|name| format!("{name} (10.0.0.20:51234)\n")).collect();
    let count = match players.len() {
        0 => "No players connected.".to_owned(),
        1 => "1 player connected.".to_owned(),
        n => format!("{n} players connected."),
    };
    let answer = format!(
        ": maxplayers\nPlayer limit: 8\n: version\nTerraria Server v1.4.4.9 - tModLoader v2024.9.3.1\n: playing\n{names}{count}\n: kick\nUsage: kick <player>\n"
    );
    format!("{}: \n\n", answer.repeat(questions))
}

trait Script: Sized {
    fn runs(self) -> Self;
    /// One question, the n-th, answered at once.
    fn asked(self, nth: usize, players: &[&str]) -> Self;
    fn said(self, text: &str) -> Self;
}

impl Script for ScriptedSsh {
    fn runs(self) -> Self {
        self.expect(INSPECT, "true\n")
    }
    fn asked(self, nth: usize, players: &[&str]) -> Self {
        self.expect(PANE, &pane(nth - 1, players)).expect(ASK, "").expect(PANE, &pane(nth, players))
    }
    fn said(self, text: &str) -> Self {
        self.expect(&format!("docker exec tmodloader tmux send-keys -l -- '{text}' ';' send-keys Enter"), "")
    }
}

#[tokio::test]
async fn the_status_names_who_plays() {
    let scene = Scene::ssh(ScriptedSsh::new().runs().asked(3, &["Keeb", "Sable"]));
    let outcome = scene.call("terraria/server", "status", globals(), json!({})).await.unwrap();
    assert_eq!(
        written(&outcome),
        json!({
            "serverRunning": true, "serverReady": true, "online": 2, "max": 8, "players": ["Keeb", "Sable"],
            "version": "v1.4.4.9 - tModLoader v2024.9.3.1", "port": 7777,
        })
    );
    assert_eq!((outcome.summary.as_str(), outcome.changed), ("2 online: Keeb, Sable", false));
}

#[tokio::test]
async fn a_console_that_does_not_answer_is_unknown_not_empty() {
    let ssh = ScriptedSsh::new().runs().expect(PANE, &pane(1, &[])).expect(ASK, "").always(PANE, &pane(1, &[]));
    let scene = Scene::ssh(ssh);
    let outcome = scene.call("terraria/server", "status", globals(), json!({})).await.unwrap();
    let state = written(&outcome);
    assert_eq!((&state["serverRunning"], &state["serverReady"], &state["online"]), (&json!(true), &json!(false), &json!(null)));
    assert!(scene.told.has("phase the server's console to answer 10"));
    let no_tmux = ScriptedSsh::new().runs().expect_output(PANE, 1, "", "no server running on /tmp/tmux-0/default\n");
    let state = written(&Scene::ssh(no_tmux).call("terraria/server", "status", globals(), json!({})).await.unwrap());
    assert_eq!((&state["serverRunning"], &state["online"]), (&json!(true), &json!(null)));
}

#[tokio::test]
async fn a_pane_that_forgot_its_beginning_is_asked_again() {
    let ssh = ScriptedSsh::new().runs().expect(PANE, &pane(5, &[])).expect(ASK, "").expect(PANE, &pane(3, &["Keeb"])).asked(4, &["Keeb"]);
    let state = written(&Scene::ssh(ssh).call("terraria/server", "status", globals(), json!({})).await.unwrap());
    assert_eq!(state["online"], 1);
}

#[tokio::test]
async fn a_container_that_does_not_run_has_no_players() {
    for (status, stdout, stderr) in [
        (0, "false\n", ""),
        (1, "\n", "Error: No such object: tmodloader\n"),
        (1, "", "Error response from daemon: No such container: x\n"),
    ] {
        let scene = Scene::ssh(ScriptedSsh::new().expect_output(INSPECT, status, stdout, stderr));
        let state = written(&scene.call("terraria/server", "status", globals(), json!({})).await.unwrap());
        assert_eq!((&state["serverRunning"], &state["online"]), (&json!(false), &json!(0)));
    }
    let scene = Scene::ssh(ScriptedSsh::new().expect_output(INSPECT, 127, "", "sh: docker: not found\n"));
    let failure = scene.call("terraria/server", "status", globals(), json!({})).await.unwrap_err();
    assert_eq!(failure.tail, ["sh: docker: not found"]);
}

#[tokio::test]
async fn without_a_host_status_and_warning_succeed_and_say_fails() {
    for method in ["status", "warnShutdown"] {
        let outcome = Scene::ssh(ScriptedSsh::new()).call("terraria/server", method, off(), json!({})).await.unwrap();
        assert_eq!(
            (outcome.summary.as_str(), &written(&outcome)["serverRunning"], outcome.changed),
            ("the VM is off", &json!(false), false)
        );
    }
    let failure = Scene::ssh(ScriptedSsh::new()).call("terraria/server", "say", off(), json!({"message": "hi"})).await.unwrap_err();
    assert_eq!(failure.message, "thing: the VM is off, it has no address");
}

#[tokio::test]
async fn a_message_is_typed_as_text_and_confirmed_by_the_console() {
    let typed = r"docker exec tmodloader tmux send-keys -l -- 'say it'\''s $(late) Enter\;' ';' send-keys Enter";
    let ssh = ScriptedSsh::new().runs().asked(1, &["Keeb"]).expect(typed, "").asked(2, &["Keeb"]);
    let scene = Scene::ssh(ssh);
    let outcome = scene.call("terraria/server", "say", globals(), json!({"message": "it's $(late) Enter;"})).await.unwrap();
    assert!(outcome.changed);
    for bad in ["hi\nexit", "hi\rexit", "\u{3}", ""] {
        let failure = Scene::ssh(ScriptedSsh::new()).call("terraria/server", "say", globals(), json!({"message": bad})).await.unwrap_err();
        assert_eq!(failure.kind, FailureKind::Yours, "{bad:?}");
    }
}

#[tokio::test]
async fn nothing_is_said_into_a_pane_that_is_no_console() {
    let ssh = ScriptedSsh::new().runs().expect(PANE, "$ \n").expect(ASK, "").always(PANE, "$ maxplayers\nsh: maxplayers: not found\n");
    let failure = Scene::ssh(ssh).call("terraria/server", "say", globals(), json!({"message": "$(reboot)"})).await.unwrap_err();
    assert!(failure.message.contains("does not answer, so nothing was said") && failure.acted == Acted::No, "{}", failure.message);
}

#[tokio::test]
async fn nobody_online_needs_no_warning() {
    let scene = Scene::ssh(ScriptedSsh::new().runs().asked(1, &[]));
    let outcome = scene.call("terraria/server", "warnShutdown", globals(), json!({})).await.unwrap();
    assert_eq!((outcome.summary.as_str(), outcome.changed), ("nobody plays: no warning needed", false));
    assert!(scene.clock.slept().iter().all(|slept| slept.as_secs() == 0), "nothing is waited for");
}

fn warning(seconds: u64) -> String {
    format!("say The server shuts down in {seconds} seconds")
}

#[tokio::test]
async fn players_are_warned_again_and_again() {
    let on: &[&str] = &["Keeb"];
    let ssh = ScriptedSsh::new()
        .runs()
        .asked(1, on)
        .said(&warning(12))
        .asked(2, on)
        .said(&warning(10))
        .asked(3, on)
        .said(&warning(5))
        .asked(4, on);
    let scene = Scene::ssh(ssh);
    let outcome = scene.call("terraria/server", "warnShutdown", globals(), json!({"seconds": 12})).await.unwrap();
    assert!(outcome.changed && outcome.summary == "warned for 12 s; 1 online: Keeb", "{}", outcome.summary);
    let whole: Duration = scene.clock.slept().iter().sum();
    assert_eq!(whole.as_secs(), 12);
}

#[tokio::test]
async fn the_warning_ends_when_the_last_player_leaves() {
    let ssh = ScriptedSsh::new().runs().asked(1, &["Keeb"]).said(&warning(30)).asked(2, &[]);
    let scene = Scene::ssh(ssh);
    let outcome = scene.call("terraria/server", "warnShutdown", globals(), json!({})).await.unwrap();
    assert_eq!(outcome.summary, "everybody left 25 s early");
    assert_eq!((&written(&outcome)["online"], &written(&outcome)["max"]), (&json!(0), &json!(8)), "the state is whole");
}

#[tokio::test]
async fn a_server_that_goes_down_by_itself_ends_the_warning() {
    let gone = "Error response from daemon: container is not running\n";
    let ssh =
        ScriptedSsh::new().runs().asked(1, &["Keeb"]).said(&warning(30)).expect(PANE, &pane(1, &["Keeb"])).expect_output(ASK, 1, "", gone);
    let outcome = Scene::ssh(ssh.expect(INSPECT, "false\n")).call("terraria/server", "warnShutdown", globals(), json!({})).await.unwrap();
    assert_eq!((outcome.summary.as_str(), &written(&outcome)["online"]), ("the server went down by itself", &json!(0)));
}
