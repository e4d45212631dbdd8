//! What the methods of `minecraft/server` do: wire script → outcome.

use serde_json::{Value as Json, json};

use crate::model::contract::{Acted, Failure, FailureKind, Outcome};
use crate::model::scene::{Scene, written};
use crate::wire::scripted::{ScriptedSsh, ScriptedTcp};
use crate::wire::tcp::TcpError;

const GAME: &str = "10.0.0.8:25565";
const LOOK: &str = "panes=$(tmux list-panes -s -t '=mons:' *grep -qs ':63DD *";
const MARK: &str = "stat -L -c '%i %s' ~/mons/logs/latest.log 2>/dev/null || true";
const SINCE: &str = "set -- $(stat -L -c '%i %s' ~/mons/logs/latest.log *[ \"${1:-}\" = 7 ] && [ \"${2:-0}\" -ge 100 ] && *";
const RUNS: &str = "pane 0.0 40 sh\nprocess 40 (startserver.sh) S 1 40 40 34816 42 4194304 1 0 0 0 0 0 0 0 20 0 1 0 400 0\n\
                    process 42 (java) S 40 40 40 34816 42 4194304 1 0 0 0 0 0 0 0 20 0 1 0 420 0\nlistening\n";
const LOOPS: &str = "pane 0.0 40 sh\nprocess 40 (startserver.sh) S 1 40 40 34816 42 4194304 1 0 0 0 0 0 0 0 20 0 1 0 400 0\n\
                     process 43 (sleep) S 40 40 40 34816 42 4194304 1 0 0 0 0 0 0 0 20 0 1 0 430 0\n";
const IDLE: &str = "pane 0.0 40 bash\nprocess 40 (bash) S 1 40 40 34816 40 4194304 1 0 0 0 0 0 0 0 20 0 1 0 400 0\n";
const ALIVE: &str = "grep -qs '^42 (java) ' /proc/42/stat || exit 75\n";
const NOTHING: &str = "\n";

fn globals() -> Json {
    json!({"sshHost": "10.0.0.8", "serverName": "allthemons"})
}

fn line(text: &str) -> String {
    format!("[12:00:31] [Server thread/INFO] [minecraft/MinecraftServer]: {text}\n")
}

fn list(names: &[&str]) -> String {
    line(&format!("There are {} of a max of 20 players online: {}", names.len(), names.join(", ")))
}

/// The status that a server answers, as it goes over the wire.
fn pong(names: &[&str]) -> Vec<u8> {
    let sample: Vec<Json> = names.iter().map(|name| json!({"name": name, "id": "00000000-0000-0000-0000-000000000001"})).collect();
    packet(&json!({"version": {"name": "1.21.1", "protocol": 767}, "players": {"max": 20, "online": names.len(), "sample": sample}}))
}

fn packet(json: &Json) -> Vec<u8> {
    let text = json.to_string();
    let length = |n: usize| vec![(n & 0x7f) as u8 | 0x80, (n >> 7) as u8];
    let body = [vec![0], length(text.len()), text.into_bytes()].concat();
    [length(body.len()), body].concat()
}

fn pings(names: &[&str]) -> ScriptedTcp {
    ScriptedTcp::new().always(GAME, &[&pong(names)])
}

trait Script: Sized {
    fn looks(self, seen: &str) -> Self;
    fn types(self, lines: &[&str]) -> Self;
    fn says(self, log: &str) -> Self;
    fn marks(self) -> Self;
    /// One question with its answer.
    fn asked(self, commands: &[&str], log: &str) -> Self;
}

impl Script for ScriptedSsh {
    fn looks(self, seen: &str) -> Self {
        self.expect(LOOK, seen)
    }
    fn types(self, lines: &[&str]) -> Self {
        let quoted =
            |line: &&str| if line.contains([' ', '\\', '\'']) { format!("'{}'", line.replace('\'', r"'\''")) } else { (*line).to_owned() };
        let one = |line: &&str| format!("send-keys -t '=mons:0.0' -l -- {} ';' send-keys -t '=mons:0.0' Enter", quoted(line));
        self.expect(&format!("{ALIVE}exec tmux {}", lines.iter().map(one).collect::<Vec<_>>().join(" ';' ")), "")
    }
    fn says(self, log: &str) -> Self {
        self.expect(SINCE, log)
    }
    fn marks(self) -> Self {
        self.expect(MARK, "7 100\n")
    }
    fn asked(self, commands: &[&str], log: &str) -> Self {
        self.marks().types(&[commands, &["list"]].concat()).says(log)
    }
}

async fn call(tcp: ScriptedTcp, ssh: ScriptedSsh, method: &str, arguments: Json) -> Result<Outcome, Failure> {
    Scene::ssh(ssh).tcp(tcp).call("minecraft/server", method, globals(), arguments).await
}

#[tokio::test]
async fn the_status_is_the_pings() {
    let outcome = call(pings(&["Keeb", "Sable"]), ScriptedSsh::new(), "status", json!({})).await.unwrap();
    assert_eq!(
        written(&outcome),
        json!({"serverRunning": true, "serverReady": true, "online": 2, "max": 20, "players": ["Keeb", "Sable"], "version": "1.21.1"})
    );
    assert_eq!((outcome.summary.as_str(), outcome.writes[0].instance.as_str()), ("2 online: Keeb, Sable", "allthemons"));
}

#[tokio::test]
async fn without_a_ping_the_console_tells() {
    let ssh = ScriptedSsh::new().looks(RUNS).asked(&[], &(line("Keeb joined the game") + &list(&["Keeb"])));
    let state = written(&call(ScriptedTcp::new(), ssh, "status", json!({})).await.unwrap());
    assert_eq!(
        (&state["online"], &state["max"], &state["players"], &state["version"]),
        (&json!(1), &json!(20), &json!(["Keeb"]), &json!(null))
    );
}

#[tokio::test]
async fn unknown_is_not_empty() {
    let ssh =
        ScriptedSsh::new().looks(RUNS).marks().types(&["list"]).always(SINCE, &line("<Eve> There are 0 of a max of 20 players online:"));
    let state = written(&call(ScriptedTcp::new(), ssh, "status", json!({})).await.unwrap());
    assert_eq!((&state["serverRunning"], &state["serverReady"], &state["online"]), (&json!(true), &json!(false), &json!(null)));
    let elsewhere = ScriptedSsh::new().looks("\nlistening\n");
    let late = ScriptedTcp::new().expect_error(GAME, TcpError::Deadline { address: GAME.into(), seconds: 5 });
    let state = written(&call(late, elsewhere, "status", json!({})).await.unwrap());
    assert_eq!((&state["serverRunning"], &state["online"]), (&json!(true), &json!(null)), "a server that pmx did not start");
    for answer in [&b"\x00"[..], b"HTTP/1.1 400 Bad Request\r\n\r\n", b"", &[0xff; 9]] {
        let tcp = ScriptedTcp::new().always(GAME, &[answer]);
        let state = written(&call(tcp, ScriptedSsh::new().looks("listening\n"), "status", json!({})).await.unwrap());
        assert_eq!(state["online"], json!(null), "{answer:?}");
    }
}

#[tokio::test]
async fn a_server_that_does_not_run_has_no_players() {
    for seen in [NOTHING, IDLE, LOOPS] {
        let state = written(&call(ScriptedTcp::new(), ScriptedSsh::new().looks(seen), "status", json!({})).await.unwrap());
        assert_eq!((&state["serverRunning"], &state["online"]), (&json!(false), &json!(0)), "{seen}");
    }
}

#[tokio::test]
async fn names_that_the_ping_hides_come_from_the_console() {
    let hidden =
        packet(&json!({"version": {"name": "1.21.1"}, "players": {"max": 20, "online": 2, "sample": [{"name": "Anonymous Player"}]}}));
    let tcp = ScriptedTcp::new().always(GAME, &[&hidden]);
    let ssh = ScriptedSsh::new().looks(RUNS).asked(&[], &list(&["Keeb", "Sable"]));
    let state = written(&call(tcp.clone(), ssh, "status", json!({})).await.unwrap());
    assert_eq!((&state["players"], &state["version"]), (&json!(["Keeb", "Sable"]), &json!("1.21.1")));
    let broken = ScriptedSsh::new().expect_output(LOOK, 255, "", "kex_exchange: reset");
    let state = written(&call(tcp, broken, "status", json!({})).await.unwrap());
    assert_eq!((&state["online"], &state["players"]), (&json!(2), &json!([])), "the ping alone is worth telling");
}

#[tokio::test]
async fn rcon_answers_where_the_ping_does_not() {
    let mut globals = globals();
    globals["rcon"] = json!("hunter22");
    let reply = |id: i32, body: &str| {
        let length = i32::try_from(body.len() + 10).unwrap();
        [&length.to_le_bytes()[..], &id.to_le_bytes(), &0_i32.to_le_bytes(), body.as_bytes(), &[0, 0]].concat()
    };
    let text = "There are 2 of a max of 20 players online: Keeb, Sable";
    let (first, rest) = text.split_at(9);
    let fence = [reply(2, rest), reply(3, "Unknown request c8")].concat();
    let tcp = ScriptedTcp::new().expect("10.0.0.8:25575", &[&reply(1, ""), &reply(2, first), &fence]);
    let scene = Scene::ssh(ScriptedSsh::new().looks("listening\n")).tcp(tcp);
    let state = written(&scene.call("minecraft/server", "status", globals.clone(), json!({})).await.unwrap());
    assert_eq!(state["players"], json!(["Keeb", "Sable"]));
    let refused = ScriptedTcp::new().expect("10.0.0.8:25575", &[&reply(-1, "")]);
    let scene = Scene::ssh(ScriptedSsh::new().looks("listening\n")).tcp(refused);
    let failure = scene.call("minecraft/server", "status", globals, json!({})).await.unwrap_err();
    assert!(failure.message.contains("refused the RCON password") && !failure.message.contains("hunter22"), "{}", failure.message);
}

#[tokio::test]
async fn a_message_is_typed_as_text_to_a_server_that_has_just_answered() {
    let answer = line("[Not Secure] [Server] it's $(late) Enter;") + &list(&["Keeb"]);
    let ssh = ScriptedSsh::new().looks(RUNS).asked(&[], &list(&["Keeb"])).asked(&[r"say it's $(late) Enter\;"], &answer);
    let outcome = call(pings(&["Keeb"]), ssh, "say", json!({"message": "it's $(late) Enter;"})).await.unwrap();
    assert!(outcome.changed && outcome.summary.starts_with("said to 1 players"), "{}", outcome.summary);
    for bad in ["hi\nstop", "hi\rstop", "\u{3}", " ", "a\u{1b}[A"] {
        let failure = call(ScriptedTcp::new(), ScriptedSsh::new(), "say", json!({ "message": bad })).await.unwrap_err();
        assert_eq!((failure.kind, failure.acted), (FailureKind::Yours, Acted::No), "{bad:?}");
    }
    let dead = ScriptedSsh::new().looks(IDLE);
    let failure = call(ScriptedTcp::new(), dead, "say", json!({"message": "stop"})).await.unwrap_err();
    assert!(failure.message.contains("does not answer, so nothing was typed"), "a shell gets nothing: {}", failure.message);
}

#[tokio::test]
async fn a_server_that_ended_since_it_was_seen_is_not_typed_into() {
    let list = &format!("{ALIVE}exec tmux send-keys -t '=mons:0.0' -l -- list ';' send-keys -t '=mons:0.0' Enter");
    let ssh = ScriptedSsh::new().looks(RUNS).marks().expect_output(list, 75, "", "");
    let failure = call(ScriptedTcp::new(), ssh, "say", json!({"message": "x; reboot"})).await.unwrap_err();
    assert_eq!(failure.message, "10.0.0.8: the server (process 42) has ended, so nothing was typed");
}

#[tokio::test]
async fn what_was_given_by_rcon_is_not_typed_once_more() {
    let mut globals = globals();
    globals["rcon"] = json!("hunter22");
    let reply = |id: i32, body: &str| {
        let length = i32::try_from(body.len() + 10).unwrap();
        [&length.to_le_bytes()[..], &id.to_le_bytes(), &0_i32.to_le_bytes(), body.as_bytes(), &[0, 0]].concat()
    };
    let talk = |tcp: ScriptedTcp, said: &str, listed: &str| {
        tcp.expect("10.0.0.8:25575", &[&reply(1, ""), &reply(2, said), &reply(3, "?"), &reply(4, listed), &reply(5, "?")])
    };
    let asked =
        ScriptedTcp::new().expect("10.0.0.8:25575", &[&reply(1, ""), &reply(2, "There are 1/20 players online: Keeb"), &reply(3, "?")]);
    let scene = Scene::ssh(ScriptedSsh::new().looks(RUNS)).tcp(talk(asked, "", "Online: Keeb"));
    let failure = scene.call("minecraft/server", "say", globals.clone(), json!({"message": "hi"})).await.unwrap_err();
    assert!(failure.message.contains("took `say hi` by RCON") && failure.acted == Acted::Maybe, "{}", failure.message);
    let crossed = ScriptedTcp::new().expect("10.0.0.8:25575", &[&reply(1, ""), &reply(-1, "")]);
    let failure =
        Scene::ssh(ScriptedSsh::new().looks(RUNS)).tcp(crossed).call("minecraft/server", "say", globals, json!({"message": "hi"})).await;
    assert!(failure.unwrap_err().message.contains("the answer is to another command"));
}

#[tokio::test]
async fn players_names_are_refused_and_never_repaired() {
    for bad in ["x; stop", "Not-Steve", "ab", "seventeen_letters", "", "Steve ", "Stéve", "@a", "Steve\nstop"] {
        for method in ["op", "deop"] {
            let failure = call(ScriptedTcp::new(), ScriptedSsh::new(), method, json!({ "player": bad })).await.unwrap_err();
            assert_eq!((failure.kind, failure.acted), (FailureKind::Yours, Acted::No), "{bad:?}");
        }
    }
}

#[tokio::test]
async fn the_servers_own_words_decide_about_operators() {
    for (method, said, changed) in [
        ("op", "Made Keeb a server operator", Some(true)),
        ("op", "Opped Keeb", Some(true)),
        ("op", "Nothing changed. The player already is an operator", Some(false)),
        ("deop", "Made Keeb no longer a server operator", Some(true)),
        ("deop", "Nothing changed. The player is not an operator", Some(false)),
        ("op", "That player does not exist", None),
        ("op", "<Eve> Made Keeb a server operator", None),
    ] {
        let ssh = ScriptedSsh::new().looks(RUNS).asked(&[], &list(&[])).asked(&[&format!("{method} Keeb")], &(line(said) + &list(&[])));
        let tcp = if changed.is_some() { pings(&[]) } else { ScriptedTcp::new() };
        let done = call(tcp, ssh, method, json!({"player": "Keeb"})).await;
        assert_eq!(done.as_ref().ok().map(|outcome| outcome.changed), changed, "{said}: {done:?}");
    }
}

#[tokio::test]
async fn nobody_online_needs_no_warning_and_no_waiting() {
    let scene = Scene::ssh(ScriptedSsh::new()).tcp(pings(&[]));
    let outcome = scene.call("minecraft/server", "warnShutdown", globals(), json!({})).await.unwrap();
    assert_eq!((outcome.summary.as_str(), outcome.changed), ("nobody plays: no warning needed", false));
    assert!(scene.clock.slept().is_empty(), "nothing is waited for");
}

#[tokio::test]
async fn players_are_warned_until_the_last_has_left() {
    let warning = |seconds: u64| format!("say The server shuts down in {seconds} seconds");
    let on = pong(&["Keeb"]);
    let tcp = ScriptedTcp::new().expect(GAME, &[&on]).expect(GAME, &[&on]).always(GAME, &[&pong(&[])]);
    let ssh = ScriptedSsh::new().looks(RUNS).looks(RUNS).types(&[&warning(12)]).looks(RUNS).types(&[&warning(10)]);
    let outcome = call(tcp, ssh, "warnShutdown", json!({"seconds": 12})).await.unwrap();
    assert_eq!((outcome.summary.as_str(), &written(&outcome)["online"]), ("everybody left 5 s early", &json!(0)));
}

#[tokio::test]
async fn a_server_that_cannot_be_warned_is_a_failure() {
    let failure = call(pings(&["Keeb"]), ScriptedSsh::new().looks("listening\n"), "warnShutdown", json!({})).await.unwrap_err();
    assert!(failure.message.contains("holds no server, so nobody can be warned"), "{}", failure.message);
}

#[tokio::test]
async fn without_a_host_stop_warn_and_status_succeed_and_the_rest_fails() {
    let off = json!({"sshHost": null, "serverName": "allthemons"});
    for method in ["status", "warnShutdown", "stopMinecraftServer"] {
        let outcome = Scene::ssh(ScriptedSsh::new()).call("minecraft/server", method, off.clone(), json!({})).await.unwrap();
        assert_eq!((outcome.summary.as_str(), &written(&outcome)["serverRunning"]), ("the VM is off", &json!(false)));
    }
    for (method, arguments) in [("say", json!({"message": "hi"})), ("startMinecraftServer", json!({})), ("op", json!({"player": "Keeb"}))] {
        let failure = Scene::ssh(ScriptedSsh::new()).call("minecraft/server", method, off.clone(), arguments).await.unwrap_err();
        assert_eq!(failure.message, "thing: the VM is off, it has no address");
    }
}

/// A server that has answered, up to the save.
fn to_be_stopped() -> ScriptedSsh {
    ScriptedSsh::new().looks(RUNS).marks().asked(&[], &list(&[])).marks().types(&["save-off", "save-all flush"])
}

#[tokio::test]
async fn a_stop_saves_first_and_waits_for_the_process() {
    let ssh = to_be_stopped().says(&line("Saving the game (this may take a moment!)")).says(&line("Saved the game"));
    let ssh = ssh.types(&["stop"]).looks(RUNS).looks(NOTHING).looks(NOTHING);
    let outcome = call(ScriptedTcp::new(), ssh, "stopMinecraftServer", json!({})).await.unwrap();
    assert_eq!((outcome.summary.as_str(), &written(&outcome)["serverRunning"]), ("saved and stopped allthemons", &json!(false)));
}

#[tokio::test]
async fn a_save_that_is_not_confirmed_stops_nothing_and_is_switched_on_again() {
    let chat = line("<Eve> Saved the game") + &line("Saving the game (this may take a moment!)");
    let ssh = to_be_stopped().types(&["save-on"]).always(SINCE, &chat);
    // The answer to `list` is the first that is read.
    let ssh = ScriptedSsh::clone(&ssh);
    let failure = call(ScriptedTcp::new(), ssh, "stopMinecraftServer", json!({"timeout": 20})).await.unwrap_err();
    assert!(failure.message.contains("did not confirm within 20 s that the world is saved: it was not stopped"), "{}", failure.message);
    assert_eq!(failure.acted, Acted::Maybe);
}

#[tokio::test]
async fn a_cancelled_stop_leaves_saving_on() {
    let ssh = to_be_stopped().types(&["save-on"]).always(SINCE, "");
    let scene = Scene::ssh(ssh.clone());
    scene.told.cancel_at("still waiting for the world to be saved");
    let failure = scene.call("minecraft/server", "stopMinecraftServer", globals(), json!({})).await.unwrap_err();
    assert_eq!(failure.kind, FailureKind::Cancelled);
    assert!(ssh.called().last().unwrap().command.contains("save-on"));
}

#[tokio::test]
async fn a_jvm_that_stays_is_reported_and_never_killed() {
    let ssh = to_be_stopped()
        .says(&line("Saved the game"))
        .types(&["stop"])
        .types(&["save-on"])
        .always(LOOK, RUNS)
        .always(SINCE, &line("Stopping server"));
    let failure = call(ScriptedTcp::new(), ssh.clone(), "stopMinecraftServer", json!({"timeout": 30})).await.unwrap_err();
    let told = "10.0.0.8: the server was told to stop, but its JVM (process 42) still runs after 30 s; it was not killed";
    assert_eq!((failure.message.as_str(), failure.acted), (told, Acted::Maybe));
    assert!(failure.tail[0].contains("Stopping server"), "{:?}", failure.tail);
    assert!(ssh.called().iter().all(|call| !call.command.contains("kill") && !call.command.contains("C-c")));
}

#[tokio::test]
async fn a_script_that_would_start_it_again_is_ended_once_the_jvm_is_gone() {
    let saved = || to_be_stopped().says(&line("Saved the game")).types(&["stop"]);
    let ssh = saved().looks(LOOPS).looks(LOOPS).looks(LOOPS).looks(LOOPS).looks(LOOPS).looks(LOOPS);
    let ssh = ssh.expect("tmux send-keys -t '=mons:0.0' C-c", "").looks(NOTHING);
    let outcome = call(ScriptedTcp::new(), ssh, "stopMinecraftServer", json!({})).await.unwrap();
    assert!(outcome.changed);
    let back = RUNS.replace("process 42", "process 52");
    let failure = call(ScriptedTcp::new(), saved().looks(&back).looks(&back), "stopMinecraftServer", json!({})).await.unwrap_err();
    assert!(failure.message.contains("the server came back (process 52)"), "{}", failure.message);
}

#[tokio::test]
async fn a_server_that_does_not_run_or_is_not_ours_is_not_stopped() {
    let outcome = call(ScriptedTcp::new(), ScriptedSsh::new().looks(IDLE), "stopMinecraftServer", json!({})).await.unwrap();
    assert_eq!((outcome.summary.as_str(), outcome.changed), ("the server does not run", false));
    let failure = call(ScriptedTcp::new(), ScriptedSsh::new().looks("listening\n"), "stopMinecraftServer", json!({})).await.unwrap_err();
    assert!(failure.message.contains("listens on port 25565, but not in the tmux session `mons`"), "{}", failure.message);
    let silent = ScriptedSsh::new().looks(RUNS).marks().marks().types(&["list"]).always(SINCE, "");
    let failure = call(ScriptedTcp::new(), silent, "stopMinecraftServer", json!({})).await.unwrap_err();
    assert!(failure.message.contains("its world cannot be saved, so it was not stopped"), "{}", failure.message);
}

const BEGIN: &str = "cd ~/mons && { (setsid tmux new-session -d -s mons ./startserver.sh </dev/null)\n}";

#[tokio::test]
async fn a_start_waits_until_players_can_join() {
    let tcp = ScriptedTcp::new().expect_error(GAME, refused()).expect_error(GAME, refused()).always(GAME, &[&pong(&[])]);
    let ssh = ScriptedSsh::new().looks(NOTHING).marks().expect(BEGIN, "").looks(RUNS).says(&line("Loading 300 mods"));
    let outcome = call(tcp, ssh, "startMinecraftServer", json!({})).await.unwrap();
    assert_eq!((outcome.summary.as_str(), &written(&outcome)["serverReady"]), ("started allthemons: nobody plays", &json!(true)));
    let running = call(pings(&["Keeb"]), ScriptedSsh::new(), "startMinecraftServer", json!({})).await.unwrap();
    assert_eq!((running.summary.as_str(), running.changed), ("the server runs already", false));
}

fn refused() -> TcpError {
    TcpError::Connect { address: GAME.into(), cause: "refused".into(), refused: true }
}

#[tokio::test]
async fn without_a_ping_the_logs_word_and_the_console_make_it_ready() {
    let ssh = ScriptedSsh::new().looks(IDLE).marks().expect("tmux kill-session -t '=mons'", "").expect(BEGIN, "");
    let done = line("Done (31.402s)! For help, type \"help\"");
    let ssh = ssh.looks(RUNS).says(&line("<Eve> Done (1s)! For help")).looks(RUNS).says(&done).asked(&[], &list(&[]));
    assert!(call(ScriptedTcp::new(), ssh, "startMinecraftServer", json!({})).await.unwrap().changed);
}

#[tokio::test]
async fn a_server_that_ends_while_it_starts_shows_its_log() {
    let ssh = ScriptedSsh::new().looks(NOTHING).marks().expect(BEGIN, "").looks(NOTHING).says("You need to agree to the EULA\n");
    let failure = call(ScriptedTcp::new(), ssh, "startMinecraftServer", json!({})).await.unwrap_err();
    assert_eq!(
        (failure.message.as_str(), failure.tail),
        ("10.0.0.8: the server ended while it started", vec!["You need to agree to the EULA".to_owned()])
    );
}

#[tokio::test]
async fn a_start_that_takes_too_long_says_what_it_saw_last() {
    let ssh = ScriptedSsh::new().looks(NOTHING).marks().expect(BEGIN, "").always(LOOK, RUNS).always(SINCE, &line("Loading"));
    let failure = call(ScriptedTcp::new(), ssh, "startMinecraftServer", json!({"timeout": 60})).await.unwrap_err();
    assert_eq!(failure.message, "10.0.0.8: the server lets nobody in after 60 s; it goes on starting");
    assert_eq!((failure.tail.len(), failure.acted), (1, Acted::Maybe));
}

#[tokio::test]
async fn a_session_or_port_in_other_hands_is_left_alone() {
    let busy = "pane 0.0 40 vim\nprocess 41 (vim) S 1 40 40 34816 42 4194304 1 0 0 0 0 0 0 0 20 0 1 0 400 0\n";
    let failure = call(ScriptedTcp::new(), ScriptedSsh::new().looks(busy).marks(), "startMinecraftServer", json!({})).await.unwrap_err();
    assert_eq!(failure.message, "10.0.0.8: the tmux session `mons` runs something else: vim");
    let failure = call(ScriptedTcp::new(), ScriptedSsh::new().looks("listening\n"), "startMinecraftServer", json!({})).await.unwrap_err();
    assert!(failure.message.contains("somebody listens on port 25565"), "{}", failure.message);
    let no_tmux = ScriptedSsh::new().looks(NOTHING).marks().expect_output(BEGIN, 127, "", "sh: setsid: not found");
    let failure = call(ScriptedTcp::new(), no_tmux, "startMinecraftServer", json!({})).await.unwrap_err();
    assert!(failure.help.unwrap().contains("tmux must be installed"));
}

#[tokio::test]
async fn a_session_name_is_no_target_of_its_own() {
    for bad in ["", "=x", "a:b", "a.b", "a;b", "$(x)", "-", "ü"] {
        let globals = json!({"sshHost": "10.0.0.8", "serverName": "x", "tmuxSession": bad});
        for (method, arguments) in [
            ("status", json!({})),
            ("stopMinecraftServer", json!({})),
            ("startMinecraftServer", json!({})),
            ("say", json!({"message": "x"})),
        ] {
            let done = Scene::ssh(ScriptedSsh::new()).call("minecraft/server", method, globals.clone(), arguments).await;
            let failure = done.err().unwrap_or_else(|| panic!("{bad:?} is no name"));
            assert_eq!(failure.kind, FailureKind::Yours, "{bad:?}");
        }
    }
    let failure = Scene::ssh(ScriptedSsh::new()).call("minecraft/server", "say", globals(), json!({"message": 7})).await.unwrap_err();
    assert_eq!(failure.kind, FailureKind::Ours, "the checker refuses it before");
}
