//! Two types on one real host: what acts at the same place keeps the order of the list, and nobody has to write it down.

use serde_json::Value;

use super::site::{game, host};

const WORKFLOW: &str = r#"
[[step]]
name = "warn-players"
call = "calamityTerraria.warnShutdown"
with = { seconds = 3 }

[[step]]
name = "stop-terraria"
call = "calamity.stop"

[[step]]
name = "note"
call = "testVmSsh.exec"
with = { command = "docker inspect --format '{{.State.Status}}' order-game > order/state" }
"#;

#[test]
fn players_are_warned_before_their_containers_stop() {
    let Some(host) = host() else { return };
    host.compose_file(
        "order",
        "services:\n  game:\n    image: pmx-test/terraria\n    container_name: order-game\n    network_mode: none\n    environment:\n      \
         PLAYERS: Ann Bob\n      SHUTDOWN_PAUSE: '0'\n",
    );
    let sandbox = game(&host.sshd, "order", "order-game").file("workflows/stop-calamity.toml", WORKFLOW);
    sandbox.pmx(&["build", "calamity.start"]).exits(0).says("started game");
    host.logs_with("order-game", "Listening on port 7777");
    let ran = sandbox.pmx(&["--json", "build", "stop-calamity"]).exits(0);
    let logs = host.logs("order-game");
    let at = |text: &str| logs.find(text).unwrap_or_else(|| panic!("nobody says `{text}`:\n{logs}"));
    assert!(at("<Server> The server shuts down in 3 seconds") < at("Saving world data: 1%"), "{logs}");
    assert!(at("Saving world data: 1%") < at("Backing up world file"), "{logs}");
    assert_eq!(host.field("order-game", "{{.State.ExitCode}}"), "0", "{logs}");
    let stamped = host.docker.run(&["logs", "-t", "order-game"]);
    let warned =
        stamped.lines().find(|line| line.contains("The server shuts down")).and_then(|line| line.split(' ').next()).unwrap_or_default();
    let ended = host.field("order-game", "{{.State.FinishedAt}}");
    assert!(warned.len() > 20 && warned[..23] < ended[..23], "warned at {warned}, ended at {ended}");
    let state = std::fs::read_to_string(host.sshd.home().join("order/state")).unwrap_or_default();
    assert_eq!(state.trim(), "exited");
    // pmx tells the same order.
    let events: Vec<Value> = ran.stdout.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let place = |kind: &str, step: &str| {
        let told = |event: &&Value| event.to_string().contains(&format!("\"{kind}\"")) && event.to_string().contains(&format!("/{step}\""));
        let found = events.iter().position(|event| told(&event));
        found.unwrap_or_else(|| panic!("no {kind} of {step}\n{ran}"))
    };
    assert!(place("action-finished", "warn-players") < place("action-started", "stop-terraria"), "{ran}");
    assert!(place("action-finished", "stop-terraria") < place("action-started", "note"), "{ran}");
}
