//! `minecraft/server` by RCON, against a server as strict as the real one, and arguments that make no sense.

use std::time::Duration;

use serde_json::json;

use super::super::process::wait_until;
use super::super::real::minecraft::{Game, Minecraft};
use super::super::real::sshd::Wanted;
use super::super::sandbox::Sandbox;
use super::minecraft::{site, state};
use super::site::{attributes, files, processes};

const PASSWORD: &str = "c4nary-Rcon; $(id) \"é\"";
const RCON: &str = "rcon = '${{ vault.get(\"safe\", \"RCON\") }}'\n";

/// A server that answers by RCON only.
fn only_rcon(game: &Game<'_>) {
    game.properties(&[("enable-status", "false"), ("enable-rcon", "true"), ("rcon.password", PASSWORD)]);
}

fn with_password(host: &Minecraft, game: &Game<'_>, password: &str) -> Sandbox {
    site(host, game, RCON).env("SAFE_RCON", password)
}

#[test]
fn rcon_tells_and_says_what_a_ping_does_not() {
    let Some(host) = Minecraft::start() else { return };
    let game = host.game("mons");
    only_rcon(&game);
    // So many that their list comes in several pieces.
    let names: Vec<String> = (0..700).map(|at| format!("Player_{at:09}")).collect();
    game.stand_in(json!({ "players": names }));
    game.begin();
    let sandbox = with_password(&host, &game, PASSWORD);
    let found = state(&sandbox);
    assert_eq!((found["online"].as_u64(), &found["players"]), (Some(700), &json!(names)));
    game.players(&["Ann"]);
    let long = "x".repeat(900);
    for message in ["Enter", "x; stop;", "it's $(id) ☃", &long] {
        sandbox.pmx(&["build", "mc.say", "-i", &format!("message={message}")]).exits(0).says("said to 1 players");
        assert_eq!(game.heard("rcon").iter().filter(|line| *line == &format!("say {message}")).count(), 1, "{:?}", game.heard("rcon"));
    }
    sandbox.pmx(&["build", "mc.op", "-i", "player=Ann"]).exits(0).says("Ann is an operator now");
    assert_eq!((game.heard("console"), game.heard("upset")), (Vec::new(), Vec::new()));
}

#[test]
fn a_stop_by_way_of_the_console_works_beside_rcon() {
    let Some(host) = Minecraft::start() else { return };
    let game = host.game("mons");
    only_rcon(&game);
    let sandbox = with_password(&host, &game, PASSWORD);
    sandbox.pmx(&["build", "mc.startMinecraftServer", "-i", "timeout=60"]).exits(0).says("started all: nobody plays");
    sandbox.pmx(&["build", "mc.stopMinecraftServer"]).exits(0).says("saved and stopped all");
    assert_eq!((game.orders(), game.lives()), (["save-off", "save-all flush", "stop"].map(str::to_owned).to_vec(), false));
    sandbox.pmx(&["build", "mc.stopMinecraftServer"]).exits(0).says("the server does not run");
}

#[test]
fn an_rcon_that_is_not_there_leaves_the_console() {
    let Some(host) = Minecraft::start() else { return };
    let game = host.game("mons");
    game.properties(&[("enable-status", "false")]);
    game.players(&["Ann"]);
    game.begin();
    let sandbox = with_password(&host, &game, PASSWORD);
    sandbox.pmx(&["build", "mc.say", "-i", "message=hello"]).exits(0).says("said to 1 players: hello");
    assert_eq!(game.orders(), ["say hello"]);
}

#[test]
fn the_password_is_found_nowhere() {
    let Some(host) = Minecraft::with(Wanted::default().option("LogLevel", "DEBUG3")) else { return };
    let game = host.game("mons");
    only_rcon(&game);
    game.players(&["Ann"]);
    game.begin();
    let good = with_password(&host, &game, PASSWORD);
    let mut running = good.start(&["build", "mc.warnShutdown", "-v", "-i", "seconds=4"]);
    wait_until("the players are told", Duration::from_secs(60), || game.heard("rcon").iter().any(|line| line.starts_with("say ")));
    assert_eq!(processes("c4nary"), Vec::<String>::new());
    running.wait_for("warned for 4 s");
    running.end().exits(0).keeps_quiet_about("c4nary");
    let bad = with_password(&host, &game, "c4nary-wrong");
    let failed = bad.pmx(&["build", "mc.say", "-v", "-i", "message=hello"]).exits(2);
    failed.says("refused the RCON password").says("rcon.password").keeps_quiet_about("c4nary");
    for sandbox in [&good, &bad] {
        for command in [&["--json", "runs"][..], &["log"], &["--json", "log"]] {
            sandbox.pmx(command).exits(0).keeps_quiet_about("c4nary");
        }
        let holds = |path: &std::path::PathBuf| std::fs::read(path).is_ok_and(|text| text.windows(6).any(|window| window == b"c4nary"));
        let holders: Vec<_> = files(&sandbox.path("..")).into_iter().filter(holds).collect();
        assert_eq!(holders, Vec::<std::path::PathBuf>::new());
    }
    assert!(!host.sshd.log().contains("c4nary") && host.sshd.log().contains("Accepted publickey"));
    assert_eq!(attributes(&good, "mc/server/all")["online"].as_u64(), Some(1));
}

#[test]
fn arguments_that_make_no_sense_are_refused_before_anything_is_dialled() {
    let Some(host) = Minecraft::start() else { return };
    let game = host.game("mons");
    let plain = |sandbox: &Sandbox| sandbox.read("definitions/mc.toml");
    let refused = |line: &str, value: &str, says: &str| {
        let sandbox = site(&host, &game, "");
        let text = plain(&sandbox);
        let key = line.split(' ').next().unwrap_or_default();
        let rest: String = text.lines().filter(|old| !old.starts_with(&format!("{key} ="))).map(|old| format!("{old}\n")).collect();
        let sandbox = sandbox.file("definitions/mc.toml", &format!("{rest}{line} = {value}\n"));
        sandbox.pmx(&["build", "mc.status"]).exits(2).says(says);
    };
    for name in ["\"\"", "\"=mons\"", "\"mons:0\"", "\"mons.1\"", "\"a;b\"", "\"$(id)\"", "\"-x\"", "\"ü\"", "\"a b\"", "7", "[\"mons\"]"]
    {
        refused("tmuxSession", name, "tmuxSession");
    }
    for (key, value) in [
        ("port", "0"),
        ("port", "65536"),
        ("port", "\"many\""),
        ("port", "-1"),
        ("rconPort", "70000"),
        ("serverDir", "7"),
        ("serverDir", "\"\""),
        ("serverDir", "\"a\\nb\""),
        ("startScript", "true"),
        ("startScript", "\"\""),
        ("startScript", "\"a\\nb\""),
        ("logPath", "[]"),
        ("logPath", "\"a\\u0000b\""),
        ("serverName", "3"),
        ("serverName", "\"\""),
        ("rcon", "5"),
        ("sshHost", "4"),
        ("sshPort", "\"ssh\""),
        ("rconn", "\"x\""),
    ] {
        refused(key, value, key);
    }
    let sandbox = site(&host, &game, "");
    for (method, input) in [
        ("stopMinecraftServer", "timeout=0"),
        ("stopMinecraftServer", "timeout=-5"),
        ("stopMinecraftServer", "timeout=soon"),
        ("startMinecraftServer", "timeout=7201"),
        ("startMinecraftServer", "timeout=1.5"),
        ("warnShutdown", "seconds=3601"),
        ("warnShutdown", "seconds=-1"),
        ("warnShutdown", "second=1"),
        ("say", "mesage=hi"),
        ("op", "player="),
        ("status", "player=Ann"),
    ] {
        let key = input.split('=').next().unwrap_or_default();
        sandbox.pmx(&["build", &format!("mc.{method}"), "-i", input]).exits(2).says(key);
    }
    assert!(!host.sshd.log().contains("Accepted publickey"), "{}", host.sshd.log());
}

#[test]
fn paths_with_spaces_and_quotes_are_only_paths() {
    let Some(host) = Minecraft::start() else { return };
    let game = host.game("it's $(touch hit) a \"pack\"; touch hit");
    game.players(&["Ann"]);
    let odd = super::site::toml(&format!("~/{}", game.name));
    let text = site(&host, &game, "").read("definitions/mc.toml");
    let keep = |line: &&str| !line.starts_with("tmuxSession") && !line.starts_with("serverDir");
    let rest: String = text.lines().filter(keep).map(|line| format!("{line}\n")).collect();
    let sandbox = site(&host, &game, "").file("definitions/mc.toml", &format!("{rest}tmuxSession = \"odd\"\nserverDir = {odd}\n"));
    sandbox.pmx(&["build", "mc.startMinecraftServer", "-i", "timeout=60"]).exits(0).says("started all: 1 online: Ann");
    sandbox.pmx(&["build", "mc.say", "-i", "message=hello"]).exits(0);
    sandbox.pmx(&["build", "mc.stopMinecraftServer"]).exits(0).says("saved and stopped all");
    assert_eq!(game.orders(), ["say hello", "save-off", "save-all flush", "stop"]);
    let hits = files(&host.sshd.home()).into_iter().filter(|path| path.ends_with("hit")).count();
    assert_eq!(hits, 0);
}
