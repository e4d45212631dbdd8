//! `minecraft/server` on a real sshd, a real tmux and a real status protocol: who plays, what is said, whom it reaches.

use std::time::Duration;

use serde_json::{Value, json};

use super::super::process::wait_until;
use super::super::real::minecraft::{Game, Minecraft};
use super::super::real::{present, run};
use super::super::sandbox::Sandbox;
use super::site::{attributes, project, toml};

/// A project with the definition `mc` of a server.
pub fn site(host: &Minecraft, game: &Game<'_>, more: &str) -> Sandbox {
    let sshd = &host.sshd;
    let text = format!(
        "type = \"minecraft/server\"\n\n[global]\nsshHost = \"{}\"\nsshPort = {}\nsshUser = \"root\"\nserverName = \"all\"\ntmuxSession = \"{name}\"\n\
         serverDir = \"~/{name}\"\nport = {}\nrconPort = {}\n{more}\n",
        sshd.address,
        sshd.port,
        game.port,
        game.rcon,
        name = game.name,
    );
    project(sshd).file("definitions/mc.toml", &text).deadline(Duration::from_secs(180))
}

/// The server's state as `status` finds it.
#[track_caller]
pub fn state(sandbox: &Sandbox) -> Value {
    sandbox.pmx(&["build", "mc.status"]).exits(0);
    attributes(sandbox, "mc/server/all")
}

/// What the state says of the players.
fn players(state: &Value) -> (Option<u64>, Option<u64>, String) {
    (state["online"].as_u64(), state["max"].as_u64(), state["players"].to_string())
}

/// A workflow that gives each of `messages` to `method` as `argument`.
fn each(sandbox: Sandbox, (method, argument): (&str, &str), messages: &[&str]) -> Sandbox {
    let step = |(at, message): (usize, &&str)| {
        format!("[[step]]\nname = \"step-{at}\"\ncall = \"mc.{method}\"\nwith = {{ {argument} = {} }}\n\n", toml(message))
    };
    sandbox.file("workflows/each.toml", &messages.iter().enumerate().map(step).collect::<String>())
}

/// What an independent client is told by the server.
#[track_caller]
fn mcstatus(host: &Minecraft, game: &Game<'_>) -> Option<Value> {
    let script = "import json, sys\nfrom mcstatus import JavaServer\ns = JavaServer.lookup(sys.argv[1], timeout=20).status()\n\
                  print(json.dumps({'online': s.players.online, 'max': s.players.max, 'version': s.version.name,\n\
                  'players': [p.name for p in s.players.sample or []]}))";
    let cache = std::env::var("PMX_CI_CACHE").or_else(|_| std::env::var("HOME").map(|home| home + "/.cache/pmx-ci")).unwrap_or_default();
    let path = format!("{cache}/python:{}", std::env::var("PYTHONPATH").unwrap_or_default());
    let mut python = std::process::Command::new("python3");
    python.env("PYTHONPATH", path);
    let there = python.args(["-c", "import mcstatus"]).output().is_ok_and(|out| out.status.success());
    present("mcstatus for Python (.ci/run installs it)", there.then_some(()))?;
    let mut python = std::process::Command::new("python3");
    let path = format!("{cache}/python:{}", std::env::var("PYTHONPATH").unwrap_or_default());
    let at = format!("{}:{}", host.sshd.address, game.port);
    let told = run(python.env("PYTHONPATH", path).args(["-c", script, &at]));
    Some(serde_json::from_str(&told).expect("the script prints JSON"))
}

#[test]
fn the_status_is_what_an_independent_client_is_told() {
    let Some(host) = Minecraft::start() else { return };
    let game = host.game("mons");
    game.players(&["Ann", "Bob"]);
    game.begin();
    let sandbox = site(&host, &game, "");
    let Some(told) = mcstatus(&host, &game) else { return };
    let found = state(&sandbox);
    for key in ["online", "max", "version", "players"] {
        assert_eq!(found[key], told[key], "{key}: {found} {told}");
    }
    assert_eq!(players(&found), (Some(2), Some(20), "[\"Ann\",\"Bob\"]".to_owned()));
    assert_eq!((found["serverRunning"].as_bool(), found["serverReady"].as_bool()), (Some(true), Some(true)));
    assert_eq!(game.heard("console"), Vec::<String>::new(), "a ping that tells everything needs no console");
    game.stand_in(json!({}));
    assert_eq!(players(&state(&sandbox)), (Some(0), Some(20), "[]".to_owned()));
}

#[test]
fn more_players_than_a_ping_names_and_hidden_ones_come_from_the_console() {
    let Some(host) = Minecraft::start() else { return };
    let game = host.game("mons");
    let names: Vec<String> = (1..=15).map(|at| format!("Player_{at}")).collect();
    game.players(&names.iter().map(String::as_str).collect::<Vec<_>>());
    game.begin();
    let found = state(&site(&host, &game, ""));
    assert_eq!(players(&found), (Some(15), Some(20), serde_json::to_string(&names).unwrap_or_default()));
    let hidden = host.game("hidden");
    hidden.properties(&[("hide-online-players", "true")]);
    hidden.players(&["Ann", "Bob"]);
    hidden.begin();
    let sandbox = site(&host, &hidden, "");
    let found = state(&sandbox);
    assert_eq!((players(&found), found["version"].as_str()), ((Some(2), Some(20), "[\"Ann\",\"Bob\"]".to_owned()), Some("1.20.1")));
    hidden.stand_in(json!({ "players": ["Ann", "Bob"], "silent": true }));
    let ran = sandbox.pmx(&["build", "mc.status"]).exits(0);
    ran.says("2 online");
    assert_eq!(players(&attributes(&sandbox, "mc/server/all")), (Some(2), Some(20), "[]".to_owned()), "the number is known all the same");
}

#[test]
fn a_server_that_answers_no_ping_is_asked_by_its_console_and_silence_is_not_nobody() {
    let Some(host) = Minecraft::start() else { return };
    let game = host.game("mons");
    game.properties(&[("enable-status", "false")]);
    game.players(&["Keeb"]);
    game.begin();
    let sandbox = site(&host, &game, "");
    assert_eq!(players(&state(&sandbox)), (Some(1), Some(20), "[\"Keeb\"]".to_owned()));
    game.stand_in(json!({ "players": ["Keeb"], "silent": true }));
    sandbox.pmx(&["build", "mc.status"]).exits(0).says("does not answer: nobody knows who plays");
    let found = attributes(&sandbox, "mc/server/all");
    assert_eq!((found["serverRunning"].as_bool(), found["serverReady"].as_bool()), (Some(true), Some(false)));
    assert!(found["online"].is_null() && found["max"].is_null() && found["players"] == json!([]), "{found}");
    sandbox.pmx(&["build", "mc.say", "-i", "message=hello"]).exits(1).says("does not answer, so nothing was typed");
    // Nobody knows, so somebody may be playing.
    let warned = sandbox.pmx(&["build", "mc.warnShutdown", "-i", "seconds=1"]).exits(0);
    warned.says("somebody may be playing, so the warning takes its full time").says("warned for 1 s");
    assert_eq!(game.orders(), ["say The server shuts down in 1 second"]);
    sandbox.pmx(&["build", "mc.stopMinecraftServer"]).exits(1).says("its world cannot be saved, so it was not stopped");
    assert!(game.lives() && !game.orders().contains(&"stop".to_owned()), "{:?}", game.orders());
}

#[test]
fn what_answers_for_a_server_that_sleeps_is_no_server() {
    let Some(host) = Minecraft::start() else { return };
    let game = host.game("mons");
    game.stand_in(json!({ "asleep": true, "players": ["Ann"] }));
    game.begin();
    let found = state(&site(&host, &game, ""));
    assert_eq!(players(&found), (Some(1), Some(20), "[\"Ann\"]".to_owned()), "a router's `0 of 0` counts nobody");
}

#[test]
fn what_is_said_arrives_letter_by_letter() {
    let Some(host) = Minecraft::start() else { return };
    let game = host.game("mons");
    game.players(&["Ann", "Bob"]);
    game.begin();
    let messages = [
        "Enter",
        "C-c",
        "hello; world;",
        ";",
        "x\\;",
        "x; stop",
        "it's \"quoted\" $(id) `id` \\n {a,b} * ~ #{pane_id} %",
        "-l -- -x",
        "ünïcödé ☃ 日本; op Bob;;",
        "[12:00:00] [Server thread/INFO] [x/]: There are 0 of a max of 20 players online: ",
    ];
    let sandbox = each(site(&host, &game, ""), ("say", "message"), &messages);
    sandbox.pmx(&["build", "each"]).exits(0).says("10 done").says("said to 2 players: Enter");
    let said: Vec<String> = messages.iter().map(|message| format!("say {message}")).collect();
    assert_eq!(game.orders(), said);
    assert_eq!(players(&attributes(&sandbox, "mc/server/all")).0, Some(2));
    assert!(game.lives() && !game.read("logs/latest.log").contains("Unknown or incomplete command"), "{}", game.read("logs/latest.log"));
}

#[test]
fn keys_and_several_lines_are_refused_before_anything_is_typed() {
    let Some(host) = Minecraft::start() else { return };
    let game = host.game("mons");
    game.begin();
    let screen = game.screen();
    let long = "x".repeat(1100);
    for message in ["hi\nop attacker", "hi\r", "\u{1b}[A", "\u{3}", "tab\there", "  ", "", "a\u{7f}", "a\u{85}b", &long] {
        let sandbox = each(site(&host, &game, ""), ("say", "message"), &[message]);
        sandbox.pmx(&["build", "each"]).exits(2).says("the message");
    }
    for player in ["x; stop", "Not-Steve", "ab", "seventeen_letters", "", "Steve ", "Stéve", "@a", "Steve\nstop", "*", "Ann Bob", "-l"] {
        for method in ["op", "deop"] {
            let sandbox = each(site(&host, &game, ""), (method, "player"), &[player]);
            sandbox.pmx(&["build", "each"]).exits(2).says("player");
        }
    }
    assert_eq!((game.heard("console"), game.screen()), (Vec::new(), screen));
}

#[test]
fn operators_are_made_and_unmade_by_the_servers_own_word() {
    let Some(host) = Minecraft::start() else { return };
    let game = host.game("mons");
    game.begin();
    let sandbox = site(&host, &game, "");
    let call = |method: &str, player: &str| sandbox.pmx(&["build", &format!("mc.{method}"), "-i", &format!("player={player}")]);
    call("op", "Steve_1").exits(0).says("Steve_1 is an operator now").says("1 done");
    call("op", "Steve_1").exits(0).says("Steve_1 is an operator already").says("1 unchanged");
    call("deop", "Steve_1").exits(0).says("Steve_1 is no operator now");
    call("deop", "Steve_1").exits(0).says("Steve_1 is no operator already").says("1 unchanged");
    call("op", "Nobody").exits(2).says("there is no player `Nobody`").says("That player does not exist");
    assert_eq!(game.orders(), ["op Steve_1", "op Steve_1", "deop Steve_1", "deop Steve_1", "op Nobody"]);
}

#[test]
fn a_session_is_never_taken_for_one_whose_name_begins_alike() {
    let Some(host) = Minecraft::start() else { return };
    let (ours, theirs) = (host.game("mons"), host.game("mons-2"));
    theirs.players(&["Ann"]);
    theirs.begin();
    let sandbox = site(&host, &ours, "");
    // Without `mons` on the host, tmux itself would take `mons` for `mons-2`.
    assert!(host.tmux(&["list-panes", "-t", "mons"]).contains("%"), "tmux no longer does what this test is about");
    let found = state(&sandbox);
    assert_eq!((found["serverRunning"].as_bool(), found["online"].as_u64()), (Some(false), Some(0)));
    sandbox.pmx(&["build", "mc.say", "-i", "message=hello"]).exits(1).says("does not answer, so nothing was typed");
    sandbox.pmx(&["build", "mc.op", "-i", "player=Keeb"]).exits(1).says("does not answer, so nothing was typed");
    sandbox.pmx(&["build", "mc.warnShutdown"]).exits(0).says("the server does not run: nobody to warn");
    sandbox.pmx(&["build", "mc.stopMinecraftServer"]).exits(0).says("the server does not run").says("1 unchanged");
    // Beside it: each keeps to its own.
    sandbox.pmx(&["build", "mc.startMinecraftServer", "-i", "timeout=60"]).exits(0).says("started all");
    sandbox.pmx(&["build", "mc.say", "-i", "message=hello"]).exits(0);
    sandbox.pmx(&["build", "mc.stopMinecraftServer"]).exits(0).says("saved and stopped all");
    assert!(ours.orders().contains(&"say hello".to_owned()) && !host.has("mons"), "{:?}", ours.orders());
    assert!(theirs.lives() && theirs.heard("console").is_empty(), "{:?}", theirs.heard("console"));
}

#[test]
fn a_shell_that_a_dead_server_left_behind_gets_nothing() {
    let Some(host) = Minecraft::start() else { return };
    let game = host.game("mons");
    game.begin();
    game.line("stop");
    wait_until("the server has ended", Duration::from_secs(20), || !game.lives());
    wait_until("the shell is back", Duration::from_secs(20), || game.screen().trim_end().ends_with("\n#"));
    let (sandbox, screen) = (site(&host, &game, ""), game.screen());
    sandbox.pmx(&["build", "mc.say", "-i", "message=hello; touch typed"]).exits(1).says("does not answer, so nothing was typed");
    sandbox.pmx(&["build", "mc.op", "-i", "player=Keeb"]).exits(1).says("does not answer, so nothing was typed");
    assert_eq!(state(&sandbox)["serverRunning"], json!(false));
    sandbox.pmx(&["build", "mc.stopMinecraftServer"]).exits(0).says("the server does not run");
    assert_eq!(game.screen(), screen);
    assert!(host.has("mons") && !game.path("typed").exists());
}

#[test]
fn a_second_window_in_the_session_is_not_typed_into() {
    let Some(host) = Minecraft::start() else { return };
    let game = host.game("mons");
    game.begin();
    // Whoever looked after the server last left another window in front.
    let dir = game.path("").display().to_string();
    host.tmux(&["new-window", "-t", "=mons:", "-c", &dir, "exec cat > typed"]);
    let sandbox = site(&host, &game, "");
    sandbox.pmx(&["build", "mc.say", "-i", "message=hello"]).exits(0).says("said to 0 players: hello");
    sandbox.pmx(&["build", "mc.stopMinecraftServer"]).exits(0).says("saved and stopped all");
    assert!(!game.lives() && host.has("mons"), "the other window is still there");
    assert_eq!(host.tmux(&["list-windows", "-t", "=mons:", "-F", "#{pane_current_command}"]).trim().lines().last(), Some("cat"));
    assert!(game.path("typed").exists() && game.read("typed").is_empty(), "{}", game.read("typed"));
}

#[test]
fn nobody_is_warned_where_nobody_plays() {
    let Some(host) = Minecraft::start() else { return };
    let game = host.game("mons");
    game.begin();
    let sandbox = site(&host, &game, "");
    sandbox.pmx(&["build", "mc.warnShutdown", "-i", "seconds=3000"]).exits(0).says("nobody plays: no warning needed").says("1 unchanged");
    assert_eq!(game.orders(), Vec::<String>::new());
}

#[test]
fn players_are_warned_several_times_and_waited_for() {
    let Some(host) = Minecraft::start() else { return };
    let game = host.game("mons");
    game.players(&["Ann", "Bob"]);
    game.begin();
    let sandbox = site(&host, &game, "");
    sandbox.pmx(&["build", "mc.warnShutdown", "-i", "seconds=12"]).exits(0).says("warned for 12 s; 2 online: Ann, Bob");
    let told: Vec<u32> = game.orders().iter().filter_map(|line| line.split(' ').nth(6)?.parse().ok()).collect();
    // On a machine that is busy a mark may be passed by: what is told is the time that is left.
    assert!(told.len() >= 2 && told[0] == 12 && told.windows(2).all(|pair| pair[0] > pair[1]), "{told:?} {:?}", game.orders());
}

#[test]
fn a_warning_ends_when_the_last_player_has_left() {
    let Some(host) = Minecraft::start() else { return };
    let game = host.game("mons");
    game.players(&["Ann"]);
    game.begin();
    let sandbox = site(&host, &game, "");
    let running = sandbox.start(&["build", "mc.warnShutdown", "-i", "seconds=2000"]);
    wait_until("the players are told", Duration::from_secs(60), || !game.orders().is_empty());
    game.stand_in(json!({}));
    running.end().exits(0).says("everybody left").says("s early");
    assert_eq!(game.orders(), ["say The server shuts down in 2000 seconds"]);
}
