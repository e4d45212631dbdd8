//! What the models do to calamity: compose, the game's console, stops that are long enough and stops that are not.

use serde_json::Value;

use crate::lab::host::console::{Program, Terraria};
use crate::lab::rig::Rig;

const COMPOSE: &str = "cd ~/game && docker compose --ansi never --progress quiet";

fn rows(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).expect("a JSON object per line")).collect()
}

fn world(rig: &std::sync::Arc<Rig>) -> Terraria {
    rig.look(|host| {
        let container = &host.docker.containers["tmodloader"];
        match container.tmux.sessions.get("0").map(|s| &s.program) {
            Some(Program::Terraria(game)) => game.clone(),
            _ => container.world.clone().expect("a world"),
        }
    })
}

#[test]
fn a_running_project_is_listed_one_object_per_line() {
    let rig = Rig::new("calamity");
    let rows = rows(&rig.ok(&format!("{COMPOSE} ps -a --format json")));
    assert_eq!(rows.len(), 1);
    let row = &rows[0];
    assert_eq!(
        (row["Service"].as_str(), row["Name"].as_str(), row["State"].as_str()),
        (Some("tmodloader"), Some("tmodloader"), Some("running"))
    );
    assert_eq!((row["Health"].as_str(), row["ExitCode"].as_i64(), row["Project"].as_str()), (Some(""), Some(0), Some("game")));
    assert_eq!(row["Publishers"][0]["PublishedPort"], 7777);
    assert!(row["Status"].as_str().is_some_and(|s| s.starts_with("Up ")), "{row}");
    assert_eq!(rig.ok(&format!("{COMPOSE} config --services")), "tmodloader\n");
}

#[test]
fn up_finds_nothing_to_do_on_a_running_project() {
    let rig = Rig::new("calamity");
    let id = rig.look(|host| host.docker.containers["tmodloader"].id.clone());
    let ran = rig.run("cd ~/game && docker compose up -d");
    assert_eq!((ran.status, ran.out.as_str(), ran.err.as_str()), (0, "", " Container tmodloader  Running\n"));
    assert_eq!(rig.look(|host| host.docker.containers["tmodloader"].id.clone()), id);
}

#[test]
fn without_a_file_compose_exits_14_and_a_project_that_was_never_up_lists_nothing() {
    let rig = Rig::new("calamity");
    let ran = rig.run("cd /tmp && docker compose ps -a --format json");
    assert_eq!((ran.status, ran.out.as_str(), ran.err.as_str()), (14, "", "no configuration file provided: not found\n"));
    let ran = rig.run(
        "mkdir /tmp/p && cd /tmp/p && printf 'services:\\n  a:\\n    image: nginx\\n' > compose.yaml && docker compose ps -a --format json",
    );
    assert_eq!((ran.status, ran.out.as_str()), (0, ""));
    assert_eq!(rig.run("cd ~/game && docker compose -f nope.yml ps").status, 14);
    assert_eq!(rig.run("cd /tmp/p && echo 'services: [' > compose.yaml && docker compose config -q").status, 15);
}

#[test]
fn a_stop_with_time_enough_saves_the_world() {
    let rig = Rig::new("calamity");
    assert_eq!(world(&rig).saved_at, 0);
    rig.ok(&format!("{COMPOSE} stop -t 60"));
    let row = &rows(&rig.ok(&format!("{COMPOSE} ps -a --format json")))[0];
    assert_eq!((row["State"].as_str(), row["ExitCode"].as_i64()), (Some("exited"), Some(0)));
    assert!(row["Publishers"].is_null());
    assert!(world(&rig).saved_at > 0);
    assert_eq!(rig.ok(&format!("{COMPOSE} ps --format json")), "", "without -a an exited service is hidden");
    assert_eq!(rig.ok("docker inspect -f '{{json .State}}' tmodloader | grep -o '\"ExitCode\":0'"), "\"ExitCode\":0\n");
}

#[test]
fn a_stop_that_is_too_short_is_a_kill_and_the_world_is_unsaved() {
    let rig = Rig::new("calamity");
    rig.ok("docker stop -t 2 tmodloader");
    assert_eq!(rig.ok("docker inspect -f '{{.State.ExitCode}} {{.State.OOMKilled}}' tmodloader"), "137 false\n");
    assert_eq!(world(&rig).saved_at, 0);
    // The fault makes even a long grace too short.
    let rig = Rig::new("calamity");
    rig.set(|faults| faults.save_seconds = Some(500));
    rig.ok(&format!("{COMPOSE} stop -t 60"));
    assert_eq!(rows(&rig.ok(&format!("{COMPOSE} ps -a --format json")))[0]["ExitCode"], 137);
    assert_eq!(world(&rig).saved_at, 0);
}

#[test]
fn the_console_answers_through_the_containers_tmux() {
    let rig = Rig::new("calamity");
    let tmux = "docker exec tmodloader tmux";
    rig.ok(&format!("{tmux} send-keys -t 0: -l -- playing && {tmux} send-keys -t 0: Enter && {tmux} send-keys -t 0: -l kick && {tmux} send-keys -t 0: Enter"));
    let pane = rig.ok(&format!("{tmux} capture-pane -p -t 0:"));
    let wanted =
        [": playing", "Keeb (10.0.0.20:51234)", "Sable (10.0.0.21:50417)", "2 players connected.", ": kick", "Usage: kick <player>", ":"];
    let lines: Vec<&str> = pane.lines().filter(|l| !l.is_empty()).collect();
    assert!(lines.ends_with(&wanted), "{pane}");
    assert!(pane.lines().count() >= 24, "blank rows fill the screen");
    // The log has the answers without the typing, its first line behind the prompt.
    let log = rig.ok("docker logs --tail 4 tmodloader");
    assert_eq!(log, ": Keeb (10.0.0.20:51234)\nSable (10.0.0.21:50417)\n2 players connected.\n: Usage: kick <player>\n");
}

#[test]
fn inject_has_the_traps_of_the_image() {
    let rig = Rig::new("calamity");
    rig.ok("docker exec tmodloader inject 'say hello all'");
    assert_eq!(world(&rig).said, ["hello all"]);
    // A key's name is pressed, not said; a semicolon at the end is tmux's; a newline submits.
    rig.ok("docker exec tmodloader inject Space");
    assert_eq!(world(&rig).said, ["hello all"]);
    assert_ne!(rig.run("docker exec tmodloader inject 'say bye;'").status, 0);
    rig.ok("docker exec tmodloader inject 'say a\nsay b'");
    assert_eq!(world(&rig).said, ["hello all", "a", "b"]);
}

#[test]
fn exit_typed_at_the_console_saves_and_ends_the_container() {
    let rig = Rig::new("calamity");
    rig.ok("docker exec tmodloader inject exit && docker wait tmodloader");
    assert_eq!(rig.ok("docker ps -a --format '{{.Names}} {{.State}}'"), "tmodloader exited\n");
    assert!(world(&rig).saved_at > 0);
    let ran = rig.run("docker exec tmodloader tmux ls");
    assert!(ran.status == 1 && ran.err.contains("is not running"), "{ran:?}");
}

#[test]
fn a_published_image_comes_with_the_next_pull_and_up_replaces_the_container() {
    let rig = Rig::new("calamity");
    let before = rig.ok(&format!("{COMPOSE} images --format json"));
    rig.ok(&format!("{COMPOSE} pull -q && {COMPOSE} up -d"));
    assert_eq!(rig.ok(&format!("{COMPOSE} images --format json")), before, "nothing new was published");
    rig.look(|host| host.docker.publish("jacobsmile/tmodloader1.4", 1_800_000_000));
    rig.ok(&format!("{COMPOSE} pull -q"));
    assert_eq!(rig.ok(&format!("{COMPOSE} images --format json")), before, "the container still has the old one");
    let ran = rig.run("cd ~/game && docker compose up -d --wait --wait-timeout 60");
    assert!(ran.status == 0 && ran.err.contains("Started"), "{ran:?}");
    assert_ne!(rig.ok(&format!("{COMPOSE} images --format json")), before);
    assert!(world(&rig).saved_at > 0, "the old server was stopped, not killed");
    assert_eq!(world(&rig).players.len(), 2);
}

#[test]
fn a_changed_file_replaces_and_a_removed_service_is_an_orphan() {
    let rig = Rig::new("calamity");
    rig.ok("cd ~/game && printf '  side:\\n    image: nginx\\n' >> docker-compose.yml && docker compose up -d");
    assert_eq!(rig.ok(&format!("{COMPOSE} ps --services")), "side\ntmodloader\n");
    rig.ok("cd ~/game && sed -i '/side:/,$d' docker-compose.yml && docker compose up -d");
    assert_eq!(rig.ok("docker ps -q | wc -l"), "2\n");
    rig.ok("cd ~/game && docker compose up -d --remove-orphans");
    assert_eq!(rig.ok("docker ps -q | wc -l"), "1\n");
    let hash = rig.ok(&format!("{COMPOSE} config --hash '*'"));
    rig.ok("cd ~/game && sed -i 's/60s/90s/' docker-compose.yml");
    assert_ne!(rig.ok(&format!("{COMPOSE} config --hash '*'")), hash);
    rig.ok(&format!("{COMPOSE} down -t 60"));
    assert_eq!(rig.ok("docker ps -a -q"), "");
}

#[test]
fn wait_fails_for_a_service_that_ends() {
    let rig = Rig::new("calamity");
    let ran = rig.run("mkdir /tmp/p && cd /tmp/p && printf 'services:\\n  once:\\n    image: hello-world\\n' > compose.yaml && docker compose up -d --wait");
    assert_eq!((ran.status, ran.err.lines().last()), (1, Some("container p-once-1 exited (0)")));
}

#[test]
fn run_build_and_inspect_of_the_engine() {
    let rig = Rig::new("slate");
    rig.ok("mkdir /tmp/c && cd /tmp/c && printf 'FROM alpine\\nCOPY a /a\\nCMD [\"sleep\", \"9\"]\\n' > Dockerfile && echo 1 > a");
    let build = "docker build -q -t bot --label pmx.inputs=abc /tmp/c";
    let first = rig.ok(build);
    assert_eq!(rig.ok(build), first, "the same input gives the same image");
    rig.ok("echo 2 > /tmp/c/a");
    assert_ne!(rig.ok(build), first);
    assert_eq!(rig.ok("docker image inspect -f '{{index .Config.Labels \"pmx.inputs\"}}' bot"), "abc\n");
    rig.ok("echo 'TOKEN=x y' > /tmp/env && docker run -d --name b --restart unless-stopped -p 80:8080 -v /opt:/opt:ro --env-file /tmp/env -l k=v bot");
    assert_eq!(rig.ok("docker inspect -f '{{.State.Running}} {{.HostConfig.RestartPolicy.Name}} {{index .Config.Labels \"k\"}} {{json .Config.Env}}' b"), "true unless-stopped v [\"TOKEN=x y\"]\n");
    assert_eq!(rig.run("docker run -d --name b bot").status, 125);
    let taken = rig.run("docker run -d --name c -p 80:1 bot");
    assert!(taken.status == 125 && taken.err.contains("port is already allocated"), "{taken:?}");
    assert_eq!(rig.run("docker rm b").status, 1);
    rig.ok("docker rm -f b && docker rm c");
    assert_eq!(rig.run("docker inspect b").err, "Error: No such object: b\n");
    assert_eq!(rig.run("echo 'BOGUS x' > /tmp/c/Dockerfile; docker build /tmp/c").status, 1);
}

#[test]
fn a_machine_without_docker_has_none_until_it_is_installed() {
    let rig = Rig::new("factorio");
    assert_eq!(rig.run("docker ps").status, 127);
    rig.ok("apk add --no-cache docker");
    let ran = rig.run("docker info");
    assert_eq!(
        (ran.status, ran.err.as_str()),
        (1, "Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?\n")
    );
    assert!(rig.run("docker compose version").status != 0, "compose is a package of its own");
    rig.ok("apk add docker-cli-compose && rc-update add docker default && rc-service docker start && docker compose version --short");
    assert_eq!(rig.ok("docker version --format '{{.Server.Version}}'"), "27.3.1\n");
}
