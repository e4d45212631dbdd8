//! `minecraft/server` started and stopped on a real sshd and tmux: a start counts when players can join, a stop when the world is saved.

use std::time::Duration;

use serde_json::json;

use super::super::process::{signal, wait_until};
use super::super::real::minecraft::{Game, Minecraft};
use super::minecraft::{site, state};

const OLD: &str = "[12:00:31] [Server thread/INFO] [x/]: Done (3.142s)! For help, type \"help\"\n";

/// Where in the server's log a text stands.
#[track_caller]
fn at(game: &Game<'_>, text: &str) -> usize {
    let log = game.read("logs/latest.log");
    log.find(text).unwrap_or_else(|| panic!("nobody logged `{text}`:\n{log}"))
}

#[test]
fn a_stop_saves_before_it_stops_and_leaves_nothing_running() {
    let Some(host) = Minecraft::start() else { return };
    let game = host.game("mons");
    game.stand_in(json!({ "saveSeconds": 2 }));
    let sandbox = site(&host, &game, "");
    sandbox.pmx(&["build", "mc.startMinecraftServer", "-i", "timeout=60"]).exits(0).says("started all: nobody plays");
    assert!(game.lives() && host.has("mons"));
    sandbox.pmx(&["build", "mc.stopMinecraftServer"]).exits(0).says("saved and stopped all");
    assert_eq!(game.orders(), ["save-off", "save-all flush", "stop"]);
    assert!(at(&game, "Saved the game") < at(&game, "Stopping the server"), "{}", game.read("logs/latest.log"));
    assert_eq!(game.read("saves"), "saved\n");
    assert!(!game.lives() && !host.has("mons"));
    let found = state(&sandbox);
    assert_eq!((found["serverRunning"].as_bool(), found["online"].as_u64()), (Some(false), Some(0)));
    sandbox.pmx(&["build", "mc.stopMinecraftServer"]).exits(0).says("the server does not run").says("1 unchanged");
}

#[test]
fn a_save_that_is_not_confirmed_stops_nothing() {
    let Some(host) = Minecraft::start() else { return };
    let game = host.game("mons");
    game.stand_in(json!({ "unsaved": true, "players": ["Eve"] }));
    game.begin();
    // What was said before and what players say do not count.
    let chat = "[12:00:31] [Server thread/INFO] [x/]: <Eve> Saved the game\n";
    game.write("logs/latest.log", &(game.read("logs/latest.log") + &chat.replace("<Eve> ", "") + chat));
    let sandbox = site(&host, &game, "");
    let ran = sandbox.pmx(&["build", "mc.stopMinecraftServer", "-i", "timeout=3"]).exits(1);
    ran.says("the server did not confirm within 3 s that the world is saved: it was not stopped");
    assert_eq!(game.orders(), ["save-off", "save-all flush", "save-on"]);
    assert!(game.lives());
    assert_eq!(state(&sandbox)["online"].as_u64(), Some(1));
}

#[test]
fn a_jvm_that_does_not_end_in_time_is_reported_and_lives() {
    let Some(host) = Minecraft::start() else { return };
    let game = host.game("mons");
    game.stand_in(json!({ "stays": true }));
    game.begin();
    let sandbox = site(&host, &game, "");
    let ran = sandbox.pmx(&["build", "mc.stopMinecraftServer", "-i", "timeout=3"]).exits(1);
    let ran = ran.says("the server was told to stop, but its JVM").says("still runs after 3 s; it was not killed");
    ran.says(&format!("(process {})", game.pid())).says("Saving worlds");
    assert!(game.lives() && host.has("mons"));
    // It was only slow: the next stop finds it gone.
    game.stand_in(json!({}));
    wait_until("the server has ended", Duration::from_secs(20), || !game.lives());
    sandbox.pmx(&["build", "mc.stopMinecraftServer"]).exits(0).says("the server does not run");
}

#[test]
fn a_server_that_heeds_no_stop_goes_on_saving() {
    let Some(host) = Minecraft::start() else { return };
    let game = host.game("mons");
    game.stand_in(json!({ "ignoresStop": true }));
    game.begin();
    let ran = site(&host, &game, "").pmx(&["build", "mc.stopMinecraftServer", "-i", "timeout=2"]).exits(1);
    ran.says("it was not killed");
    assert_eq!(game.orders(), ["save-off", "save-all flush", "stop", "save-on"]);
    assert!(game.lives());
}

#[test]
fn a_cancelled_stop_leaves_saving_on() {
    let Some(host) = Minecraft::start() else { return };
    let game = host.game("mons");
    game.stand_in(json!({ "unsaved": true }));
    game.begin();
    let sandbox = site(&host, &game, "");
    let mut running = sandbox.start(&["build", "mc.stopMinecraftServer"]);
    wait_until("the save is asked for", Duration::from_secs(60), || game.orders().len() == 2);
    running.wait_for("the world to be saved").interrupt();
    running.wait_for("stopping").interrupt();
    running.end().exits(130);
    wait_until("saving is on again", Duration::from_secs(20), || game.orders() == ["save-off", "save-all flush", "save-on"]);
    assert!(game.lives());
}

#[test]
fn a_script_that_starts_its_server_again_is_ended_with_it() {
    let Some(host) = Minecraft::start() else { return };
    let game = host.game("mons");
    game.for_ever();
    let sandbox = site(&host, &game, "");
    sandbox.pmx(&["build", "mc.startMinecraftServer", "-i", "timeout=60"]).exits(0).says("started all");
    let first = game.pid();
    sandbox.pmx(&["build", "mc.stopMinecraftServer"]).exits(0).says("saved and stopped all");
    assert!(!game.lives() && !host.has("mons"));
    // Between two servers there is no JVM, and the next one would come.
    sandbox.pmx(&["build", "mc.startMinecraftServer", "-i", "timeout=60"]).exits(0).says("started all");
    assert_ne!(game.pid(), first);
    game.line("stop");
    wait_until("the server has ended", Duration::from_secs(20), || !game.lives());
    sandbox.pmx(&["build", "mc.stopMinecraftServer"]).exits(0).says("ended a start script that had no server");
    assert!(!host.has("mons"));
}

#[test]
fn a_start_waits_until_players_can_join_and_an_old_log_does_not_count() {
    let Some(host) = Minecraft::start() else { return };
    let game = host.game("mons");
    game.write("logs/latest.log", OLD);
    game.stand_in(json!({ "startSeconds": 4 }));
    let sandbox = site(&host, &game, "");
    let ran = sandbox.pmx(&["build", "mc.startMinecraftServer", "-i", "timeout=60"]).exits(0).says("started all");
    // The stand-in listens after four seconds and not before.
    assert!(ran.took >= Duration::from_secs(4), "{ran}");
    assert_eq!(at(&game, "Done ("), game.read("logs/latest.log").rfind("Done (").unwrap_or(0), "the new log is a new file");
    let first = game.pid();
    sandbox.pmx(&["build", "mc.startMinecraftServer"]).exits(0).says("the server runs already").says("1 unchanged");
    assert_eq!((game.pid(), game.lives()), (first, true));
}

#[test]
fn without_a_ping_only_the_new_servers_word_counts() {
    let Some(host) = Minecraft::start() else { return };
    let game = host.game("mons");
    game.properties(&[("enable-status", "false")]);
    game.write("logs/latest.log", OLD);
    game.stand_in(json!({ "startSeconds": 3600 }));
    let sandbox = site(&host, &game, "");
    let ran = sandbox.pmx(&["build", "mc.startMinecraftServer", "-i", "timeout=5"]).exits(1);
    ran.says("the server lets nobody in after 5 s; it goes on starting").says("Starting minecraft server version");
    assert!(host.has("mons"), "it goes on starting");
    host.tmux(&["kill-session", "-t", "=mons"]);
    game.stand_in(json!({ "startSeconds": 2, "players": ["Ann"] }));
    sandbox.pmx(&["build", "mc.startMinecraftServer", "-i", "timeout=60"]).exits(0).says("started all: 1 online: Ann");
    sandbox.pmx(&["build", "mc.startMinecraftServer"]).exits(0).says("the server runs already").says("1 unchanged");
}

#[test]
fn a_server_that_is_starting_is_waited_for_and_not_started_twice() {
    let Some(host) = Minecraft::start() else { return };
    let game = host.game("mons");
    game.stand_in(json!({ "startSeconds": 14 }));
    game.shell();
    game.line("./startserver.sh");
    wait_until("it begins to start", Duration::from_secs(30), || !game.read("logs/latest.log").is_empty());
    let sandbox = site(&host, &game, "");
    let ran = sandbox.pmx(&["build", "mc.startMinecraftServer", "-i", "timeout=60"]).exits(0);
    ran.says("pmx waits for it and starts no second one").says("started all");
    assert_eq!(std::fs::read_dir(game.path("logs")).map(Iterator::count).unwrap_or(0), 1, "one start, one log");
}

#[test]
fn a_server_that_ends_while_it_starts_shows_its_log() {
    let Some(host) = Minecraft::start() else { return };
    let game = host.game("mons");
    game.stand_in(json!({ "fails": true }));
    let sandbox = site(&host, &game, "");
    let ran = sandbox.pmx(&["build", "mc.startMinecraftServer", "-i", "timeout=60"]).exits(1);
    ran.says("the server ended while it started").says("FAILED TO BIND TO PORT");
    game.write("startserver.sh", "#!/bin/sh\necho no java here\nexit 127\n");
    sandbox.pmx(&["build", "mc.startMinecraftServer", "-i", "timeout=60"]).exits(1).says("the server ended while it started");
    let nowhere = site(&host, &game, "startScript = \"./nothing.sh\"\n");
    nowhere.pmx(&["build", "mc.startMinecraftServer", "-i", "timeout=60"]).exits(1).says("the server ended while it started");
    let lost = site(&host, &game, "").replace("definitions/mc.toml", "serverDir = \"~/mons\"", "serverDir = \"~/lost\"");
    lost.pmx(&["build", "mc.startMinecraftServer"]).exits(1).says("serverDir must exist");
    assert!(!host.has("mons"));
}

#[test]
fn an_idle_shell_gives_way_and_anything_else_does_not() {
    let Some(host) = Minecraft::start() else { return };
    let game = host.game("mons");
    let sandbox = site(&host, &game, "");
    game.shell();
    game.line("sleep 600");
    wait_until("the shell is busy", Duration::from_secs(20), || {
        host.tmux(&["list-panes", "-s", "-t", "=mons:", "-F", "#{pane_current_command}"]).trim() == "sleep"
    });
    let ran = sandbox.pmx(&["build", "mc.startMinecraftServer", "-i", "timeout=60"]).exits(1);
    ran.says("the tmux session `mons` runs something else:").says("sleep");
    host.tmux(&["send-keys", "-t", "=mons:", "C-c"]);
    wait_until("the shell is idle", Duration::from_secs(20), || {
        host.tmux(&["list-panes", "-s", "-t", "=mons:", "-F", "#{pane_current_command}"]).trim() == "sh"
    });
    sandbox.pmx(&["build", "mc.startMinecraftServer", "-i", "timeout=60"]).exits(0).says("started all");
    assert!(game.lives());
}

#[test]
fn a_server_that_others_started_is_left_to_them() {
    let Some(host) = Minecraft::start() else { return };
    let game = host.game("mons");
    game.properties(&[("enable-status", "false")]);
    game.players(&["Ann"]);
    // In a session of another name.
    let dir = game.path("").display().to_string();
    host.tmux(&["new-session", "-d", "-s", "elsewhere", "-c", &dir, "./startserver.sh"]);
    game.done();
    let sandbox = site(&host, &game, "");
    sandbox.pmx(&["build", "mc.startMinecraftServer"]).exits(1).says("who is not the server of the tmux session `mons`");
    sandbox.pmx(&["build", "mc.stopMinecraftServer"]).exits(1).says("but not in the tmux session `mons`");
    sandbox.pmx(&["build", "mc.warnShutdown"]).exits(1).says("holds no server, so nobody can be warned");
    let found = state(&sandbox);
    assert!(found["serverRunning"] == true && found["online"].is_null(), "{found}");
    assert!(game.lives() && game.heard("console").is_empty());
    signal("TERM", &[game.pid()]);
}
