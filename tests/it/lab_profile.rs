//! Practice touches nothing real: not the store, not the vault, not the pins, not a machine that the profile does not name.

use std::collections::BTreeMap;
use std::net::TcpListener;

use super::fleet::{CALAMITY, Fleet};
use super::sandbox::Sandbox;

type Files = BTreeMap<String, Vec<u8>>;

/// Everything of a sandbox that practice has no business with: the project, and the home with its keys.
fn real(sandbox: &Sandbox) -> (Files, Files) {
    (Sandbox::files(&sandbox.path(""), &["store/lab"]), Sandbox::files(&sandbox.home(""), &[]))
}

#[test]
fn practice_leaves_the_real_store_vault_and_keys_as_they_are() {
    // Another practice fleet stands for the real node: what pmx keeps of it is a real store, made without a profile.
    let house = Fleet::up();
    let node = format!("https://{}", house.status().api);
    let sandbox = Sandbox::own()
        .replace("definitions/fleet.toml", "https://10.0.0.4:8006", &node)
        .replace("definitions/keebDev02.toml", "https://10.0.0.4:8006", &node)
        .replace("Pmxfile.toml", "\"10.0.0.4:8006\" = ", &format!("\"{}\" = ", node.trim_start_matches("https://")));
    let fleet = Fleet::of(sandbox);
    let sandbox = &fleet.sandbox;
    std::fs::create_dir_all(sandbox.home(".ssh")).expect("a folder can be made");
    std::fs::write(sandbox.home(".ssh/known_hosts"), "10.0.0.107 ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHJlYWw=\n")
        .expect("a file can be written");
    sandbox.pmx_with_input(&["vault", "set", "proxmox-vault", "password"], "pmx-lab").exits(0);
    sandbox.pmx(&["build", "sync-fleet"]).exits(0);
    let (project, home) = real(sandbox);
    let keys: Vec<&String> = home.keys().filter(|name| name.starts_with(".config/pmx/keys/")).collect();
    assert_eq!(keys.len(), 1, "the key of the real store lies where it is said to: {:?}", home.keys());
    assert!(project.contains_key("vaults/proxmox-vault.toml") && project.contains_key("store/index.db"), "{:?}", project.keys());
    house.requests();

    fleet.build(&["stop-calamity"]).exits(0);
    fleet.fault("task-fails", Some(CALAMITY));
    fleet.build(&["start-calamity"]).exits(1);
    fleet.build(&["delete-vm", "-i", "vmName=gold-image", "--yes", "gold-image"]).exits(0);
    fleet.pmx(&["vault", "list", "proxmox-vault"]).exits(0);
    fleet.pmx(&["log"]).exits(0);
    sandbox.pmx(&["lab", "status"]).exits(0).says("a simulator");
    sandbox.pmx(&["lab", "down"]).exits(0);

    let (project_after, home_after) = real(sandbox);
    let differ = |before: &Files, after: &Files| {
        let names = before.keys().filter(|name| before.get(*name) != after.get(*name)).cloned().collect::<Vec<_>>();
        (names, after.keys().filter(|name| !before.contains_key(*name)).cloned().collect::<Vec<_>>())
    };
    assert_eq!(differ(&project, &project_after), (vec![], vec![]), "no file of the real project changed, none came");
    let (changed, new) = differ(&home, &home_after);
    assert!(changed.is_empty(), "{changed:?}");
    assert!(new.len() == 1 && new[0].starts_with(".config/pmx/keys/"), "practice has a key of its own and nothing else: {new:?}");
    assert!(house.requests().is_empty(), "the real node heard nothing");
    let shown = sandbox.pmx(&["show", "fleet/vm/calamity", "--json"]).exits(0).json();
    assert_eq!(shown["attributes"]["status"], "running", "the real store knows nothing of the practice stop");
}

#[test]
fn an_address_that_the_profile_does_not_name_is_refused_and_not_dialled() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    listener.set_nonblocking(true).expect("a socket can be told not to wait");
    let elsewhere = listener.local_addr().expect("it has an address").to_string();
    let sandbox = Sandbox::own().replace("definitions/fleet.toml", "10.0.0.4:8006", &elsewhere).replace(
        "definitions/calamity.toml",
        r#"'${{ model.fleet.resource.vm["calamity"].attributes.ip }}'"#,
        "\"127.0.0.1\"",
    );
    let fleet = Fleet::of(sandbox);
    fleet.wake();
    for (target, address) in [("fleet.sync", elsewhere.as_str()), ("calamity.status", "127.0.0.1:22")] {
        let ran = fleet.build(&[target]);
        assert!(matches!(ran.status.code(), Some(1..=3)), "{ran}");
        ran.says(address).says("profile");
    }
    assert!(listener.accept().is_err(), "nobody came");
}

#[test]
fn the_practice_fleet_remembers_and_forgets_as_told() {
    let fleet = Fleet::up();
    fleet.build(&["stop-calamity"]).exits(0);
    let lab = |arguments: &[&str]| fleet.sandbox.pmx(&[&["lab"], arguments].concat());
    lab(&["down"]).exits(0).says("its state stays");
    lab(&["down"]).exits(0).says("not running");
    lab(&["status"]).exits(2).says("`pmx lab up` starts it");
    fleet.sandbox.pmx(&["--profile", "lab", "build", "fleet.lookup", "-i", "vmName=calamity"]).exits(0).says("is off");
    lab(&["fault", "calmity", "agent-absent"]).exits(2).says("did you mean `calamity`?");
    lab(&["fault", "calamity", "agent-absnt"]).exits(2).says("agent-absent");
    lab(&["fault", "calamity", "agent-absent"]).exits(0);
    lab(&["fault"]).exits(0).says("agent-absent");
    lab(&["fault", "calamity", "none"]).exits(0);
    lab(&["reset"]).exits(0);
    fleet.build(&["fleet.lookup", "-i", "vmName=calamity"]).exits(0).says("runs at 10.0.0.107");
}
