//! The care of a store: old contents are dropped, links never, and nothing while somebody builds.

use super::fleet::Fleet;

/// Three versions of calamity's state that differ, and some that do not.
fn a_history() -> Fleet {
    let fleet = Fleet::up();
    for target in ["stop-calamity", "start-calamity", "stop-calamity"] {
        fleet.build(&[target]).exits(0);
    }
    fleet
}

#[test]
fn gc_drops_old_contents_and_keeps_every_link() {
    let fleet = a_history();
    let before = fleet.pmx(&["log", "fleet/vm/calamity", "--json"]).exits(0).lines();
    let nothing = fleet.pmx(&["gc"]).exits(0);
    assert!(nothing.stdout.starts_with("nothing to drop: all "), "{}", nothing.stdout);

    let sweep = ["gc", "--keep", "1", "--older-than", "0s"];
    let asked = fleet.pmx(&[&sweep[..], &["--dry-run", "--json"]].concat()).exits(0).json();
    assert_eq!(asked["dry_run"], true);
    assert_eq!(fleet.pmx(&["log", "fleet/vm/calamity", "--json"]).exits(0).lines(), before, "a dry run drops nothing");
    let told = fleet.pmx(&[&sweep[..], &["--json"]].concat()).exits(0).json();
    assert_eq!((&told["dropped"], &told["bytes"], &told["stay"]), (&asked["dropped"], &asked["bytes"], &asked["stay"]));
    assert!(told["dropped"].as_u64() > Some(2) && told["bytes"].as_u64() > Some(100), "{told}");
    assert_eq!(fleet.pmx(&[&sweep[..], &["--json"]].concat()).exits(0).json()["dropped"], 0, "what was dropped is not dropped again");

    fleet.pmx(&["fsck"]).exits(0).says("every chain is whole");
    let after = fleet.pmx(&["log", "fleet/vm/calamity", "--json"]).exits(0).lines();
    let links = |entries: &[serde_json::Value]| -> Vec<String> {
        entries.iter().map(|entry| format!("{} {} {} {}", entry["version"], entry["digest"], entry["run"], entry["actor"])).collect()
    };
    assert_eq!(links(&after), links(&before));
    assert_eq!(after[0]["attributes"], before[0]["attributes"], "the head is never dropped");
    let dropped: Vec<&serde_json::Value> = after.iter().filter(|entry| entry["dropped"] == true).collect();
    assert!(!dropped.is_empty() && dropped.iter().all(|entry| entry["attributes"].is_null() && entry["changes"].is_null()), "{after:?}");
    fleet.pmx(&["log", "fleet/vm/calamity"]).exits(0).says("its content was dropped by `pmx gc`");
    let number = dropped[0]["version"].to_string();
    fleet.pmx(&["show", &format!("fleet/vm/calamity@{number}")]).exits(2).says("was dropped by `pmx gc`").says("`pmx log`");

    // What is built afterwards is built as before.
    fleet.build(&["start-calamity"]).exits(0);
    fleet.pmx(&["fsck"]).exits(0);
}

#[test]
fn gc_is_refused_beside_a_build_and_says_which() {
    let fleet = Fleet::up();
    fleet.fault("slow:2000", None);
    let mut build = fleet.start(&["build", "stop-calamity"]);
    build.wait_for("run ");
    let refused = fleet.pmx(&["gc", "--keep", "1", "--older-than", "0s"]).exits(3);
    refused.says("(stop-calamity) by ").says("is in progress").says("`pmx runs`");
    fleet.pmx(&["gc", "--dry-run"]).exits(0);
    fleet.heal();
    build.end().exits(0);
    fleet.pmx(&["gc", "--keep", "1", "--older-than", "0s"]).exits(0).says("dropped ");
    fleet.pmx(&["fsck"]).exits(0);
}

#[test]
fn the_doctor_looks_at_everything_and_says_what_to_do() {
    let fleet = Fleet::up();
    fleet.build(&["fleet.sync"]).exits(0);
    let told = fleet.pmx(&["doctor"]).exits(0);
    let found = |line: &str| assert!(told.stdout.contains(line), "no `{line}` in {told}");
    found("✓ files: Pmxfile, definitions and workflows are clean");
    found("✓ store: ");
    found("✓ key: the store's key is here, and nobody else reads it");
    found("✓ vault proxmox-vault: holds what the files ask for: ");
    found("✓ keebDev02: keeb-dev-02 at Proxmox VE ");
    found("✓ calamity: 10.0.0.107 lets us in; an empty command takes ");
    found("✓ calamityTerraria: the host of calamity");
    found("! testVmSsh: which host it means is an input");
    let lines = fleet.pmx(&["doctor", "--json"]).exits(0).lines();
    assert!(lines.iter().all(|line| line["topic"].is_string() && line["message"].is_string() && line["help"].is_array()), "{lines:?}");

    fleet.pmx(&["vault", "rm", "proxmox-vault", "tailscaleAuthKey"]).exits(0);
    fleet.fault("no-rights", None);
    let told = fleet.pmx(&["doctor"]).exits(1);
    let line = "on a node: `pveum acl modify /vms --users 'root@pam' --roles PVEVMAdmin` to see, start, stop";
    assert!(told.stdout.contains(line) && told.stdout.contains("--roles PVEAuditor` to read the node's state"), "{told}");
    let line = "✗ vault proxmox-vault: vault proxmox-vault has no key `tailscaleAuthKey`";
    assert!(told.stdout.contains(line) && told.stdout.contains("`pmx vault set proxmox-vault tailscaleAuthKey`"), "{told}");
}

#[test]
fn the_doctor_works_where_nothing_does() {
    let empty = super::sandbox::Sandbox::own();
    let told = empty.env("XDG_CONFIG_HOME", "/nonexistent/pmx").replace("Pmxfile.toml", "[bot]", "[bot]\n");
    let told = told.pmx(&["doctor"]);
    assert!(told.status.code() == Some(1) && told.stdout.contains("! store: none at "), "{told}");
}

#[test]
fn gc_reads_ages_as_workflows_do() {
    let fleet = Fleet::new();
    fleet.sandbox.pmx(&["gc", "--older-than", "soon"]).exits(2).says("`soon` is not a time span").says("\"90s\"");
    fleet.sandbox.pmx(&["gc"]).exits(2).says("there is no store");
}
