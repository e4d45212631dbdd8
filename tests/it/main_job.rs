//! The main job in the practice fleet: what README's first command does, what it says, and what it refuses to do.

use serde_json::Value as Json;

use super::fleet::{CALAMITY, Fleet, effects, logins};
use super::sandbox::Ran;

/// What a run said, without how long each step took: a short step has no time behind it.
pub fn story(ran: &Ran) -> String {
    ran.snapshot().lines().map(|line| line.strip_suffix("  [took]").unwrap_or(line)).collect::<Vec<_>>().join("\n")
}

fn container(inside: &Json) -> &Json {
    &inside["docker"]["containers"]["tmodloader"]
}

#[test]
fn players_are_warned_then_the_world_is_saved_then_the_vm_is_shut_down() {
    let fleet = Fleet::new();
    let first = fleet.build(&["stop-calamity"]).exits(0);
    assert_eq!(first.stdout, "", "the story goes to standard error");
    insta::assert_snapshot!(story(&first), @r"
    $ pmx --profile lab build stop-calamity
    --- stderr
    build stop-calamity: 5 actions, run [run]
      … stop-calamity/auth: waiting for the login (at most [took])
      ✓ stop-calamity/auth  keebDev02.auth  logged in as root@pam at 10.0.0.4:8006
      … stop-calamity/lookup: waiting for the VM's state
      ✓ stop-calamity/lookup  fleet.lookup  calamity (vmid 107) runs at 10.0.0.107 on keeb-dev-02
      … stop-calamity/warn-players: waiting for the server's console to answer (at most [took])
      … stop-calamity/warn-players: waiting for the players to leave (at most [took])
      … stop-calamity/warn-players: waiting for the server's console to answer (at most [took])
      ✓ stop-calamity/warn-players  calamityTerraria.warnShutdown  warned for [took]; 2 online: Keeb, Sable
      … stop-calamity/stop-terraria: waiting for the services to save and stop (at most [took])
      ✓ stop-calamity/stop-terraria  calamity.stop  stopped tmodloader
      … stop-calamity/stop-vm/stop: waiting for the shutdown (at most [took])
      ✓ stop-calamity/stop-vm/stop  fleet.stop  stopped calamity (vmid 107)
    succeeded: 5 done  (`pmx run [run]`)
    --- exit 0
    ");
    assert_eq!(fleet.vm(CALAMITY).ssh, None);
    let inside = fleet.inside_once(CALAMITY, "the game has saved", |inside| container(inside)["world"]["saved_at"].as_i64() > Some(0));
    let said: Vec<&str> = container(&inside)["world"]["said"].as_array().into_iter().flatten().filter_map(Json::as_str).collect();
    assert_eq!(said[0], "The server shuts down in 1 second");
    assert_eq!(container(&inside)["state"]["stopped_by_hand"], true, "docker compose stopped it, no power cut did");
    assert_eq!(container(&inside)["state"]["exit_code"], 0);
    let requests = fleet.requests();
    assert_eq!(effects(&requests), ["POST /nodes/keeb-dev-02/qemu/107/status/shutdown"], "a shutdown, and nothing else");
    assert_eq!(logins(&requests), 1);

    let second = fleet.build(&["stop-calamity"]).exits(0);
    insta::assert_snapshot!(story(&second), @r"
    $ pmx --profile lab build stop-calamity
    --- stderr
    build stop-calamity: 5 actions, run [run]
      = stop-calamity/auth  keebDev02.auth  fresh: what is known is [took] old, and may be [took]
      … stop-calamity/lookup: waiting for the VM's state
      ✓ stop-calamity/lookup  fleet.lookup  calamity (vmid 107) is off, on keeb-dev-02
      = stop-calamity/warn-players  calamityTerraria.warnShutdown  the VM is off
      = stop-calamity/stop-terraria  calamity.stop  the VM is off
      = stop-calamity/stop-vm/stop  fleet.stop  calamity (vmid 107) is off already
    succeeded: 1 done, 3 unchanged, 1 fresh  (`pmx run [run]`)
    --- exit 0
    ");
    let requests = fleet.requests();
    assert!(effects(&requests).is_empty(), "{requests:?}");
    assert_eq!(logins(&requests), 0, "one login in both runs together");
}

/// The old system stopped half of it, with a host called `null`.
#[test]
fn a_running_vm_without_a_known_address_stops_the_run_before_anything_is_stopped() {
    let fleet = Fleet::up();
    fleet.fault("agent-absent", Some(CALAMITY));
    let ran = fleet.build(&["stop-calamity"]).exits(1);
    insta::assert_snapshot!(story(&ran), @r"
    $ pmx --profile lab build stop-calamity
    --- stderr
    build stop-calamity: 5 actions, run [run]
      … stop-calamity/auth: waiting for the login (at most [took])
      ✓ stop-calamity/auth  keebDev02.auth  logged in as root@pam at 10.0.0.4:8006
      … stop-calamity/lookup: waiting for the VM's state
      ✓ stop-calamity/lookup  fleet.lookup  calamity (vmid 107) runs on keeb-dev-02, address: none: the guest agent does not answer
      ✗ stop-calamity/warn-players  calamityTerraria.warnShutdown  failed: definitions/calamityTerraria.toml:5:16: fleet/vm/calamity has had no ip since [time], when run [run] (fleet.lookup) wrote version 1: none: the guest agent does not answer
      - stop-calamity/stop-terraria  calamity.stop  skipped: stop-calamity/warn-players failed
      - stop-calamity/stop-vm/stop  fleet.stop  skipped: stop-calamity/warn-players failed
    failed: 2 done, 2 skipped, 1 failed  (`pmx run [run]`)

    stop-calamity/warn-players: definitions/calamityTerraria.toml:5:16: fleet/vm/calamity has had no ip since [time], when run [run] (fleet.lookup) wrote version 1: none: the guest agent does not answer
      help: when the machine tells it again, `pmx build fleet/vm/calamity` reads it
    --- exit 1
    ");
    assert!(effects(&fleet.requests()).is_empty());
    assert!(fleet.vm(CALAMITY).ssh.is_some(), "it still runs");
    fleet.heal();
    fleet.build(&["fleet/vm/calamity"]).exits(0);
    fleet.build(&["testVmSsh.exec", "-i", "vmName=calamity", "-i", "command=docker ps -q --filter name=tmodloader"]).exits(0);
    let shown = fleet.pmx(&["show", "testVmSsh/result/result", "--json"]).exits(0).json();
    assert_ne!(shown["attributes"]["stdout"], "", "the container still runs: {shown}");
}

/// As above, with an address in the store that may be somebody else's by now.
#[test]
fn an_address_from_an_earlier_run_is_not_used_when_the_agent_is_silent_now() {
    let fleet = Fleet::up();
    fleet.build(&["sync-fleet"]).exits(0);
    fleet.fault("agent-absent", Some(CALAMITY));
    fleet.requests();
    let ran = fleet.build(&["stop-calamity"]).exits(1);
    assert!(effects(&fleet.requests()).is_empty(), "{ran}");
    ran.says("ip");
}

#[test]
fn reboot_is_stop_then_start() {
    let fleet = Fleet::up();
    let ran = fleet.build(&["reboot-calamity", "--json"]).exits(0);
    let events: Vec<Json> = ran.stdout.lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect();
    let finished: Vec<&str> =
        events.iter().filter(|event| event["event"] == "action-finished").filter_map(|event| event["step"].as_str()).collect();
    let at = |end: &str| finished.iter().position(|step| step.ends_with(end)).unwrap_or_else(|| panic!("no {end} in {finished:?}"));
    assert!(at("warn-players") < at("stop-terraria") && at("stop-terraria") < at("stop-vm/stop"), "{finished:?}");
    assert!(at("stop-vm/stop") < at("start/vm/start") && at("start/vm/start") < at("start-terraria"), "{finished:?}");
    let requests = fleet.requests();
    let effects = effects(&requests);
    assert_eq!(effects, ["POST /nodes/keeb-dev-02/qemu/107/status/shutdown", "POST /nodes/keeb-dev-02/qemu/107/status/start"]);
    let inside = fleet.inside_once(CALAMITY, "the game runs again", |inside| container(inside)["state"]["status"] == "running");
    assert_eq!(container(&inside)["state"]["exit_code"], 0);
}
