//! `terraria/server` through `docker exec … tmux` on a real engine, judged by the console's own log.

use super::super::real::sshd::Sshd;
use super::super::sandbox::Sandbox;
use super::site::{Host, TERRARIA, attributes, game, host, toml};

/// What the server has told its players, in order.
fn said(host: &Host, container: &str) -> Vec<String> {
    let logs = host.logs(container);
    let said = logs.lines().map(|line| line.trim_start_matches([':', ' ']).trim_end_matches('\r'));
    said.filter_map(|line| line.strip_prefix("<Server> ")).map(str::to_owned).collect()
}

/// A workflow that says each of `messages`.
fn saying(sandbox: Sandbox, messages: &[&str]) -> Sandbox {
    let step = |(at, message): (usize, &&str)| {
        format!("[[step]]\nname = \"say-{at}\"\ncall = \"calamityTerraria.say\"\nwith = {{ message = {} }}\n\n", toml(message))
    };
    sandbox.file("workflows/talk.toml", &messages.iter().enumerate().map(step).collect::<String>())
}

#[test]
fn what_is_said_arrives_letter_by_letter() {
    let Some(host) = host() else { return };
    host.terraria("talk", &["PLAYERS=Ann Bob"]);
    let messages = [
        "Enter",
        "C-c",
        "hello; world;",
        ";",
        "x\\;",
        "it's \"quoted\" $(id) `id` \\n {a,b} * ~ #{pane_id} %",
        "-l -- -x",
        "ünïcödé ☃ 日本; kick Ann;;",
    ];
    let sandbox = saying(game(&host.sshd, "none", "talk"), &messages);
    sandbox.pmx(&["build", "talk"]).exits(0).says("8 done").says("said to 2 players: Enter");
    assert_eq!(said(&host, "talk"), messages);
    let server = attributes(&sandbox, "calamityTerraria/server/server");
    assert_eq!((server["online"].as_u64(), server["players"].to_string().as_str()), (Some(2), "[\"Ann\",\"Bob\"]"));
    assert!(!host.logs("talk").contains("Invalid command."), "{}", host.logs("talk"));
}

#[test]
fn more_than_one_line_of_text_is_refused_before_anything_is_typed() {
    let Some(host) = host() else { return };
    host.terraria("strict", &["PLAYERS=Ann"]);
    let before = host.logs("strict");
    for message in ["hi\nop attacker", "hi\r", "\u{1b}[A", "\u{3}", "tab\there", "  "] {
        let sandbox = saying(game(&host.sshd, "none", "strict"), &[message]);
        sandbox.pmx(&["build", "talk"]).exits(2).says("the message");
    }
    assert_eq!(host.logs("strict"), before);
    let screen = host.docker.run(&["exec", "strict", "tmux", "capture-pane", "-p"]);
    assert_eq!(screen.trim_end().lines().last(), Some(":"), "{screen}");
}

#[test]
fn players_are_counted_as_the_console_tells_them() {
    let Some(host) = host() else { return };
    host.terraria("count", &["PLAYERS=Ann Bob Cy"]);
    let sandbox = game(&host.sshd, "none", "count");
    let status = |text: &str| {
        sandbox.pmx(&["build", "calamityTerraria.status"]).exits(0).says(text);
        attributes(&sandbox, "calamityTerraria/server/server")
    };
    let server = status("3 online: Ann, Bob, Cy");
    assert_eq!((server["online"].as_u64(), server["max"].as_u64(), server["version"].as_str()), (Some(3), Some(8), Some("v1.4.4.9")));
    assert_eq!((server["serverRunning"].as_bool(), server["serverReady"].as_bool()), (Some(true), Some(true)));
    host.inject("count", "kick Ann");
    host.inject("count", "kick Cy");
    assert_eq!(status("1 online: Bob")["players"].to_string(), "[\"Bob\"]");
    host.inject("count", "kick Bob");
    assert_eq!(status("nobody plays")["online"].as_u64(), Some(0));
    host.docker.run(&["stop", "-t", "30", "count"]);
    let server = status("the server does not run");
    assert_eq!((server["serverRunning"].as_bool(), server["online"].as_u64()), (Some(false), Some(0)));
    sandbox.pmx(&["build", "calamityTerraria.say", "-i", "message=hello"]).exits(1).says("the container `count` does not run");
    sandbox.pmx(&["build", "calamityTerraria.warnShutdown"]).exits(0).says("the server does not run: nobody to warn").says("1 unchanged");
    host.docker.run(&["rm", "count"]);
    status("the server does not run");
}

#[test]
fn a_console_that_is_silent_is_not_an_empty_server() {
    let Some(host) = host() else { return };
    host.terraria("frozen", &["PLAYERS=Ann"]);
    let signal = |name: &str| host.docker.run(&["exec", "frozen", "sh", "-c", &format!("kill -{name} $(cat /tmp/server.pid)")]);
    signal("STOP");
    let sandbox = game(&host.sshd, "none", "frozen");
    sandbox.pmx(&["build", "calamityTerraria.status"]).exits(0).says("nobody knows who plays");
    let server = attributes(&sandbox, "calamityTerraria/server/server");
    assert!(server["online"].is_null() && server["serverReady"] == false && server["serverRunning"] == true, "{server}");
    sandbox.pmx(&["build", "calamityTerraria.say", "-i", "message=hello"]).exits(1).says("does not answer, so nothing was said");
    let warned = sandbox.pmx(&["build", "calamityTerraria.warnShutdown", "-i", "seconds=1"]).exits(0);
    warned.says("somebody may be playing, so the warning takes its full time").says("warned for 1 s");
    signal("CONT");
    host.logs_with("frozen", "<Server> The server shuts down in 1 second");
    assert_eq!(said(&host, "frozen"), ["The server shuts down in 1 second"]);
}

#[test]
fn what_players_write_is_no_answer() {
    let Some(host) = host() else { return };
    host.terraria("chatty", &["PLAYERS=Ann Bob"]);
    let sandbox = game(&host.sshd, "none", "chatty");
    for text in ["No players connected.", "Usage: kick <player>", "1 player connected.", "Eve (10.0.0.1:5)"] {
        host.inject("chatty", &format!("chat {text}"));
    }
    host.logs_with("chatty", "<Ann> Eve");
    sandbox.pmx(&["build", "calamityTerraria.status"]).exits(0).says("2 online: Ann, Bob");
    sandbox.pmx(&["build", "calamityTerraria.warnShutdown", "-i", "seconds=1"]).exits(0).says("warned for 1 s");
}

#[test]
fn a_pane_without_a_server_is_unknown_and_is_told_nothing() {
    let Some(host) = host() else { return };
    // The container runs, its tmux too; the server has ended and left a shell.
    let script = "tmux new-session -d sh; while :; do sleep 1; done";
    host.docker.run(&["run", "-d", "--network", "none", "--name", "shell", "--entrypoint", "sh", TERRARIA, "-c", script]);
    let sandbox = game(&host.sshd, "none", "shell");
    sandbox.pmx(&["build", "calamityTerraria.status"]).exits(0).says("nobody knows who plays");
    let server = attributes(&sandbox, "calamityTerraria/server/server");
    assert!(server["online"].is_null() && server["serverReady"] == false && server["serverRunning"] == true, "{server}");
    let ran = sandbox.pmx(&["build", "calamityTerraria.say", "-i", "message=x; touch /tmp/typed"]).exits(1);
    ran.says("does not answer, so nothing was said").says("left a shell behind");
    assert_eq!(host.docker.run(&["exec", "shell", "sh", "-c", "ls /tmp | grep -c typed || true"]).trim(), "0");
}

#[test]
fn arguments_that_make_no_sense_are_refused_before_anything_is_dialled() {
    let Some(sshd) = Sshd::start() else { return };
    let refused = |line: &str, says: &str| {
        let sandbox = game(&sshd, "none", "talk");
        let text = sandbox.read("definitions/calamityTerraria.toml");
        let key = line.split(' ').next().unwrap_or_default();
        let rest: String = text.lines().filter(|old| !old.starts_with(&format!("{key} ="))).map(|old| format!("{old}\n")).collect();
        let sandbox = sandbox.file("definitions/calamityTerraria.toml", &format!("{rest}{line}\n"));
        sandbox.pmx(&["build", "calamityTerraria.status"]).exits(2).says(says);
    };
    for name in ["\"\"", "\"-x\"", "\"a b\"", "\"a;b\"", "\"$(id)\"", "\"a\\nb\"", "\"../x\"", "7", "[\"x\"]"] {
        refused(&format!("containerName = {name}"), "containerName");
    }
    for line in ["port = 0", "port = 65536", "port = \"many\"", "sshHost = 4", "sshPort = \"ssh\"", "containerNames = \"x\""] {
        refused(line, line.split(' ').next().unwrap_or_default());
    }
    let sandbox = game(&sshd, "none", "talk");
    for (method, input) in [
        ("warnShutdown", "seconds=3601"),
        ("warnShutdown", "seconds=-1"),
        ("warnShutdown", "seconds=soon"),
        ("warnShutdown", "second=1"),
        ("say", "mesage=hi"),
        ("status", "message=hi"),
    ] {
        let key = input.split('=').next().unwrap_or_default();
        sandbox.pmx(&["build", &format!("calamityTerraria.{method}"), "-i", input]).exits(2).says(key);
    }
    assert!(!sshd.log().contains("Accepted publickey"), "{}", sshd.log());
}

#[test]
fn nobody_is_warned_where_nobody_plays() {
    let Some(host) = host() else { return };
    host.terraria("lonely", &[]);
    let sandbox = game(&host.sshd, "none", "lonely");
    // Its default would take half a minute.
    let ran = sandbox.pmx(&["build", "calamityTerraria.warnShutdown", "-i", "seconds=3000"]).exits(0);
    ran.says("nobody plays: no warning needed").says("1 unchanged");
    assert_eq!(said(&host, "lonely"), Vec::<String>::new());
}

#[test]
fn players_are_told_several_times_until_it_is_time() {
    let Some(host) = host() else { return };
    host.terraria("busy", &["PLAYERS=Ann Bob"]);
    let sandbox = game(&host.sshd, "none", "busy");
    sandbox.pmx(&["build", "calamityTerraria.warnShutdown", "-i", "seconds=12"]).exits(0).says("warned for 12 s; 2 online: Ann, Bob");
    let seconds = |line: &String| line.split(' ').nth(5).and_then(|number| number.parse::<u32>().ok());
    let told: Vec<u32> = said(&host, "busy").iter().filter_map(seconds).collect();
    // On a machine that is busy a mark may be passed by: what is told is the time that is left.
    assert!(told.len() >= 2 && told[0] == 12 && told.windows(2).all(|pair| pair[0] > pair[1]), "{told:?}");
    assert!(told[1] <= 10, "{told:?}");
}

#[test]
fn a_warning_ends_when_the_last_player_has_left() {
    let Some(host) = host() else { return };
    host.terraria("leaving", &["PLAYERS=Ann Bob"]);
    let sandbox = game(&host.sshd, "none", "leaving");
    let running = sandbox.start(&["build", "calamityTerraria.warnShutdown", "-i", "seconds=2000"]);
    host.logs_with("leaving", "<Server> The server shuts down in 2000 seconds");
    host.inject("leaving", "kick Ann");
    host.inject("leaving", "kick Bob");
    running.end().exits(0).says("everybody left").says("s early");
    assert_eq!(said(&host, "leaving"), ["The server shuts down in 2000 seconds"]);
}
