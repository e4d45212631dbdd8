//! tmux and the Minecraft console in it; the rules about targets and keys are held to the real tmux where there is one.
#![expect(clippy::disallowed_methods, reason = "the real tmux is the reference; it runs with a socket directory of its own")]

use std::io::Write;
use std::process::Command;
use std::sync::Arc;

use crate::lab::host::console::Program;
use crate::lab::rig::Rig;

fn game(rig: &Arc<Rig>) -> Option<crate::lab::host::console::Minecraft> {
    rig.look(|host| match &host.tmux.sessions.get("mons")?.program {
        Program::Minecraft(game) => Some(game.clone()),
        _ => None,
    })
}

/// Until a condition holds, for at most five seconds.
fn soon(rig: &Arc<Rig>, script: &str, wanted: &str) {
    for _ in 0..250 {
        if rig.run(script).out.contains(wanted) {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    panic!("`{script}` never showed `{wanted}` but {:?}", rig.run(script));
}

#[test]
fn the_minecraft_console_lists_says_saves_and_stops() {
    let rig = Rig::new("allthemons");
    let send = "tmux send-keys -t '=mons:'";
    rig.ok(&format!("{send} -l -- list && {send} Enter && {send} -l -- 'say hello; all' && {send} Enter"));
    let pane = rig.ok("tmux capture-pane -p -J -t '=mons:'");
    assert!(pane.contains("There are 2 of a max of 20 players online: Keeb, Sable"), "{pane}");
    assert_eq!(game(&rig).expect("a game").said, ["hello; all"]);
    rig.ok(&format!("{send} -l -- 'save-all flush' && {send} Enter"));
    soon(&rig, "tail -n 1 ~/mons/logs/latest.log", "Saved the game");
    rig.ok(&format!("{send} -l -- 'op Sable' && {send} Enter && {send} -l -- 'deop Keeb' && {send} Enter"));
    assert_eq!(game(&rig).expect("a game").ops, ["Sable"]);
    rig.ok(&format!("{send} -l -- stop && {send} Enter"));
    soon(&rig, "tmux list-panes -t mons -F '#{pane_current_command}'", "sh");
    // What is typed now goes to the dead server's shell.
    rig.ok(&format!("{send} -l -- stop && {send} Enter"));
    let pane = rig.ok("tmux capture-pane -p -t mons");
    assert!(pane.contains("sh: 1: stop: not found"), "{pane}");
}

#[test]
fn a_server_started_in_a_session_is_ready_after_a_while() {
    let rig = Rig::new("allthemons");
    rig.ok("tmux kill-session -t =mons");
    assert_eq!(rig.run("tmux has-session -t =mons").status, 1);
    rig.ok("tmux new-session -d -s mons -c ~/mons ./startserver.sh");
    assert!(game(&rig).expect("a game").starting.is_some());
    soon(&rig, "cat ~/mons/logs/latest.log", "Done (");
    // A session that was made for the one command ends with it.
    rig.ok("tmux send-keys -t =mons: stop Enter");
    soon(&rig, "tmux ls 2>&1", "error connecting");
}

#[test]
fn a_session_that_looks_like_another_is_taken_for_it_unless_named_exactly() {
    let rig = Rig::new("allthemons");
    rig.ok("tmux rename-session -t mons mons-2");
    assert_eq!(rig.run("tmux has-session -t mons").status, 0);
    assert_eq!(rig.run("tmux has-session -t =mons").status, 1);
    assert_eq!(rig.run("tmux send-keys -t =mons-2 x").err, "can't find pane: =mons-2\n");
    assert_eq!(rig.run("tmux -L own ls").status, 1);
}

/// tmux command lines after `new-session -d -s mons cat`; with `-l` their effect is what the pane shows at the end.
const LINES: &[&str] = &[
    "tmux send-keys -t mons -l -- 'hello world'; tmux send-keys -t mons Enter",
    "tmux send-keys -t mons 'a b' Space c Enter",
    "tmux send-keys -t mons -l 'Enter'",
    "tmux send-keys -t mons -l 'abc;'",
    "tmux send-keys -t mons 'x;' Enter; echo $?",
    "tmux send-keys -t mons 'y\\;' Enter",
    "tmux send-keys -t mons -l 'a\n'",
    "tmux send-keys -t =nope: a; tmux send-keys -t nope: a; tmux capture-pane -p -t =no; tmux list-panes -t =nope:; echo $?",
    "tmux send-keys -t =mons a; echo $?",
    "tmux send-keys -t =mons: a; echo $?",
    "tmux send-keys -t mo a; echo $?",
    "tmux has-session -t =mons; echo $?; tmux has-session -t =mo; echo $?; tmux has-session -t mo; echo $?; tmux has-session -t nope; echo $?",
    "tmux send-keys -t nope a; echo $?",
    "tmux new-session -d -s mons cat; echo $?",
    "tmux new-session -d -s a.b:c cat; tmux ls -F '#{session_name}'",
    "tmux frob; echo $?",
    "tmux kill-session -t nope; echo $?",
    "tmux send-keys -Z; echo $?",
    "tmux send-keys -t mons abc BSpace d C-u e",
];

#[test]
fn keys_and_targets_work_as_in_the_real_tmux() {
    if Command::new("tmux").arg("-V").output().is_err() {
        assert_ne!(std::env::var("PMX_REAL").as_deref(), Ok("1"), "PMX_REAL wants tmux");
        // Past the capture of the test runner: a skipped test must not look like one that passed.
        let _ = writeln!(std::io::stderr(), "skipped: needs tmux");
        return;
    }
    let mut wrong = Vec::new();
    for line in LINES {
        let dir = tempfile::tempdir().expect("a directory");
        let script = format!("tmux new-session -d -s mons cat; sleep 0.3; {{ {line}; }} 2>&1; sleep 0.3; tmux capture-pane -p -t mons:");
        let real =
            Command::new("/bin/sh").args(["-c", &script]).env("TMUX_TMPDIR", dir.path()).env_remove("TMUX").output().expect("a shell");
        let _ = Command::new("tmux").arg("kill-server").env("TMUX_TMPDIR", dir.path()).env_remove("TMUX").output();
        let rig = Rig::new("factorio");
        rig.ok("apk add tmux");
        let here = rig.run(&script).out;
        let real = String::from_utf8_lossy(&real.stdout).into_owned();
        if here != real {
            wrong.push(format!("{line}\n  real: {real:?}\n  here: {here:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
