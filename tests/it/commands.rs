//! The commands that show: history, runs, drawings, and what each says to a mistake.

use std::collections::BTreeSet;
use std::process::Command;

use serde_json::Value as Json;

use super::fleet::{CALAMITY, Fleet};
use super::sandbox::Sandbox;

/// A fleet in which the game was stopped, twice.
fn stopped_twice() -> Fleet {
    let fleet = Fleet::up();
    fleet.build(&["stop-calamity"]).exits(0);
    fleet.build(&["stop-calamity"]).exits(0);
    fleet
}

fn keys(value: &Json) -> Vec<&str> {
    value.as_object().map(|map| map.keys().map(String::as_str).collect()).unwrap_or_default()
}

const VERSION: [&str; 9] = ["actor", "at", "attributes", "call", "digest", "resource", "run", "step", "version"];

#[test]
fn the_log_tells_newest_first_who_did_what_in_which_run() {
    let fleet = stopped_twice();
    let log = fleet.pmx(&["log", "fleet/vm/calamity"]).exits(0);
    insta::assert_snapshot!(log.snapshot(), @"");
    let entries = fleet.pmx(&["log", "fleet/vm/calamity", "--json"]).exits(0).lines();
    let numbers: Vec<u64> = entries.iter().filter_map(|entry| entry["version"].as_u64()).collect();
    assert_eq!(numbers, [4, 3, 2, 1]);
    let mut with_changes = VERSION.to_vec();
    with_changes.push("changes");
    with_changes.sort_unstable();
    for entry in &entries {
        assert_eq!(keys(entry).into_iter().collect::<BTreeSet<_>>().into_iter().collect::<Vec<_>>(), with_changes);
    }
    let fields: Vec<&str> = entries[2]["changes"].as_array().into_iter().flatten().filter_map(|change| change["field"].as_str()).collect();
    assert_eq!(fields, ["ip", "ipSource", "status"]);

    let all = fleet.pmx(&["log", "--json"]).exits(0).lines();
    let times: Vec<&str> = all.iter().filter_map(|entry| entry["at"].as_str()).collect();
    assert!(times.is_sorted_by(|newer, older| newer >= older), "{times:?}");
    let names: BTreeSet<&str> = all.iter().filter_map(|entry| entry["resource"].as_str()).collect();
    assert!(names.contains("keebDev02/node/node") && names.contains("fleet/vm/calamity"), "{names:?}");
    assert_eq!(fleet.pmx(&["log", "-n", "2", "--json"]).exits(0).lines().len(), 2);
}

#[test]
fn show_and_diff_name_versions_by_number_and_by_time() {
    let fleet = stopped_twice();
    let show = |name: &str| fleet.pmx(&["show", name, "--json"]).exits(0).json();
    let first = show("fleet/vm/calamity@1");
    let mut sorted = keys(&first);
    sorted.sort_unstable();
    assert_eq!(sorted, VERSION);
    assert_eq!((first["attributes"]["status"].as_str(), first["attributes"]["ip"].as_str()), (Some("running"), Some("10.0.0.107")));
    assert_eq!(show("fleet/vm/calamity")["version"], 4);
    let at = first["at"].as_str().expect("a time");
    assert_eq!(show(&format!("fleet/vm/calamity@{at}")), first);
    assert_eq!(show("fleet/vm/calamity@2200-01-01T00:00:00Z")["version"], 4);
    let text = fleet.pmx(&["show", "fleet/vm/calamity@2"]).exits(0);
    insta::assert_snapshot!(text.snapshot(), @"");
    insta::assert_snapshot!(fleet.pmx(&["diff", "fleet/vm/calamity@1", "fleet/vm/calamity@2"]).exits(0).snapshot(), @"");
    fleet.pmx(&["diff", "fleet/vm/calamity@2"]).exits(0).says("no difference");
    let changes = fleet.pmx(&["diff", "fleet/vm/calamity@1", "--json"]).exits(0).json();
    assert_eq!(changes[0], serde_json::json!({ "field": "ip", "old": "10.0.0.107", "new": null }));
    fleet.pmx(&["show", "fleet/vm/calamity@5"]).exits(2).says("its versions are 1 to 4");
    fleet.pmx(&["show", "fleet/vm/calamity@2000-01-01T00:00:00Z"]).exits(2).says("has no version at 2000-01-01");
    fleet.pmx(&["show", "fleet/vm/calamty"]).exits(2).says("did you mean `fleet/vm/calamity`?");
}

#[test]
fn ls_runs_and_run_tell_what_became_of_each() {
    let fleet = stopped_twice();
    fleet.fault("task-fails:no space left", Some(CALAMITY));
    fleet.build(&["start-calamity"]).exits(1);
    let listed = fleet.pmx(&["ls", "--json"]).exits(0).lines();
    let names: Vec<&str> = listed.iter().filter_map(|version| version["resource"].as_str()).collect();
    assert!(names.is_sorted() && names.contains(&"fleet/vm/calamity"), "{names:?}");
    fleet.pmx(&["ls", "fleet/vm/c"]).exits(0).says("fleet/vm/calamity").says("stopped").keeps_quiet_about("keebDev02");

    let runs = fleet.pmx(&["runs", "--json"]).exits(0).lines();
    let states: Vec<&str> = runs.iter().filter_map(|run| run["state"].as_str()).collect();
    assert_eq!(states, ["failed", "succeeded", "succeeded"], "newest first");
    for run in &runs {
        let mut known = keys(run);
        known.sort_unstable();
        assert_eq!(known, ["actor", "began", "ended", "graph", "id", "inputs", "state", "targets", "version"]);
    }
    let id = runs[0]["id"].as_str().expect("an id");
    let whole = fleet.pmx(&["run", id]).exits(0);
    insta::assert_snapshot!(whole.snapshot(), @"");
    for part in [&id[..31], &id[25..]] {
        assert_eq!(fleet.pmx(&["run", part]).exits(0).stdout, whole.stdout, "{part}");
    }
    fleet.pmx(&["run", &id[..4]]).exits(2).says("names several runs");
    fleet.pmx(&["run", "fffffff0"]).exits(2).says("there is no run `fffffff0`");
    fleet.pmx(&["run", "not-hex"]).exits(2).says("there is no run `not-hex`");
    let story = fleet.pmx(&["run", id, "--json"]).exits(0).json();
    let ends: Vec<(&str, &str)> = story["actions"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|action| (action["step"].as_str().unwrap_or_default(), action["ending"].as_str().unwrap_or_default()))
        .collect();
    let whole = [("start-calamity/vm/auth", "fresh"), ("start-calamity/vm/start", "failed"), ("start-calamity/start-terraria", "skipped")];
    assert_eq!(ends, whole);

    let stop = runs[2]["id"].as_str().expect("an id");
    fleet.pmx(&["run", stop, "--log", "stop-vm"]).exits(0).says("TASK OK");
    fleet.pmx(&["run", stop, "--log", "stop-calamity/stop-vm", "--json"]).exits(0).json();
    fleet.pmx(&["run", stop, "--log", "nosuch"]).exits(2).says("its steps are");
    fleet.pmx(&["fsck"]).exits(0).says("every chain is whole");
}

#[test]
fn drawings_say_on_every_edge_why_it_is_there() {
    let sandbox = Sandbox::own();
    let dot = sandbox.pmx(&["graph", "stop-calamity", "--dot"]).exits(0);
    for edge in dot.stdout.lines().filter(|line| line.contains("->")) {
        assert!(edge.contains("label=\"") && !edge.contains("label=\"\""), "{edge}");
    }
    let mermaid = sandbox.pmx(&["graph", "stop-calamity", "--mermaid"]).exits(0);
    assert!(mermaid.stdout.starts_with("flowchart"), "{mermaid}");
    for edge in mermaid.stdout.lines().filter(|line| line.contains("->")) {
        assert!(edge.contains("|\"") && !edge.contains("|\"\"|"), "{edge}");
    }
    let graph = sandbox.pmx(&["graph", "stop-calamity", "--json"]).exits(0).json();
    let waits = graph["actions"].as_array().into_iter().flatten().flat_map(|action| action["after"].as_array().into_iter().flatten());
    assert!(waits.clone().count() >= 5 && waits.clone().all(|wait| wait["why"][0].is_string()), "{graph}");
    sandbox.pmx(&["graph"]).exits(0).says("vm-lifecycle-test/delete");
    if !Command::new("dot").arg("-V").output().is_ok_and(|output| output.status.success()) {
        eprintln!("skipped: needs dot (graphviz)");
        return;
    }
    for targets in ["stop-calamity", "reboot-calamity", ""] {
        let drawn = sandbox.shell(&format!("pmx graph {targets} --dot | dot -Tsvg")).exits(0);
        assert!(drawn.stdout.contains("</svg>") && drawn.stderr.is_empty(), "{drawn}");
        assert!(drawn.stdout.matches("class=\"edge\"").count() > 3);
    }
}

#[test]
fn a_plan_contacts_nobody_and_changes_nothing() {
    let fleet = Fleet::new();
    let planned = fleet.pmx(&["plan", "stop-calamity"]).exits(0);
    insta::assert_snapshot!(planned.snapshot(), @"");
    assert!(!fleet.store().exists(), "a plan makes no store, and starts no fleet");
    fleet.wake();
    fleet.build(&["stop-calamity"]).exits(0);
    fleet.requests();
    fleet.pmx(&["plan", "stop-calamity"]).exits(0).says("fresh: ");
    assert!(fleet.requests().is_empty());
}

#[test]
fn mistakes_are_named_with_what_was_meant() {
    let sandbox = Sandbox::own();
    let says = |arguments: &[&str], text: &str| drop(sandbox.pmx(arguments).exits(2).says(text));
    says(&["build", "stop-calamty"], "did you mean `stop-calamity`?");
    says(&["build", "fleet.stp", "-i", "vmName=x"], "did you mean `stop`?");
    says(&["build", "flet.stop"], "did you mean `fleet`?");
    says(&["build", "delete-vm", "-i", "vmNam=x"], "did you mean `vmName`?");
    says(&["build", "delete-vm"], "vmName");
    says(&["build", "vm-lifecycle-test", "-i", "vmName=calamity"], "does not match");
    says(&["build", "delete-vm", "-i", "vmName"], "write `-i name=value`");
    says(&["--profile", "lb", "build", "sync-fleet"], "did you mean `lab`?");
    says(&["buld"], "did you mean `pmx build`?");
    says(&["nosuch"], "there is no command `nosuch`");
    says(&[], "Usage");
    says(&["log"], "nothing was ever built here");
    says(&["describe", "proxmox/vn"], "did you mean `proxmox/vm`?");
    says(&["graph", "stop-calamity", "--dot", "--mermaid"], "cannot be used with");
    let nowhere = Sandbox::new();
    nowhere.pmx(&["build", "x"]).exits(2).says("there is no Pmxfile.toml").says("pmx init");
    nowhere.pmx(&["types"]).exits(0).says("proxmox/vm");
    nowhere.pmx(&["--version"]).exits(0).says("pmx ");
    let complaint = nowhere.pmx(&["build", "x", "--json"]).exits(2);
    assert_eq!((complaint.json()["fault"].as_str(), complaint.stderr.as_str()), (Some("yours"), ""));
    let broken = Sandbox::own().replace("workflows/stop-calamity.toml", "call = \"fleet.stop\"", "cal = \"fleet.stop\"");
    let told = broken.pmx(&["check"]).exits(2).says("workflows/stop-calamity.toml:23").says("^^^").says("`call`");
    drop(told);
    let told = broken.pmx(&["check", "--json"]).exits(2).json();
    assert_eq!((told[0]["file"].as_str(), told[0]["line"].as_u64()), (Some("workflows/stop-calamity.toml"), Some(23)));
}

#[test]
fn a_new_project_is_clean_and_an_extension_is_a_command() {
    let sandbox = Sandbox::new().file("bin/pmx-hello", "#!/bin/sh\necho hello \"$@\"\n");
    sandbox.shell("chmod +x bin/pmx-hello").exits(0);
    sandbox.shell("PATH=$PWD/bin:$PATH pmx hello 'two words' --flag").exits(0).says("hello two words --flag");
    sandbox.pmx(&["init", "fleet"]).exits(0);
    sandbox.pmx(&["-C", "fleet", "check"]).exits(0).says("clean");
    sandbox.pmx(&["init", "fleet"]).exits(2).says("nothing was written");
    sandbox.pmx(&["manual"]).exits(0).says(".TH PMX 1");
}

#[test]
fn a_reader_that_goes_away_ends_the_output_and_no_run() {
    let fleet = stopped_twice();
    for command in ["log", "log --json", "runs", "ls --json", "types", "describe proxmox/vm", "--help", "graph", "show fleet/vm/calamity"] {
        let ran = fleet.sandbox.shell(&format!("{{ pmx --profile lab {command}; echo code $? >&2; }} | true"));
        assert!(ran.stderr.contains("code 0") && !ran.stderr.contains("panicked"), "{command}: {ran}");
    }
    let ran = fleet.sandbox.shell("{ pmx --profile lab build start-calamity --json; echo code $? >&2; } | head -n 1");
    assert!(ran.stderr.contains("code 0") && !ran.stderr.contains("panicked"), "{ran}");
    assert!(fleet.vm(CALAMITY).ssh.is_some(), "it was started to the end");
}

#[test]
fn colours_are_for_terminals() {
    let fleet = stopped_twice();
    for command in [&["log"][..], &["ls"], &["runs"], &["build", "status-calamity"], &["build", "nosuch"], &["plan", "stop-calamity"]] {
        fleet.pmx(command).keeps_quiet_about("\x1b");
    }
    fleet.pmx(&["--color", "always", "ls"]).exits(0).says("\x1b[33m");
    fleet.pmx(&["--color", "always", "ls", "--json"]).exits(0).keeps_quiet_about("\x1b");
    if fleet.sandbox.shell("script -qec true /dev/null").status.code() != Some(0) {
        eprintln!("skipped: needs script (util-linux)");
        return;
    }
    fleet.sandbox.shell("script -qec 'pmx --profile lab ls' /dev/null").exits(0).says("\x1b[33m");
    fleet.sandbox.shell("NO_COLOR=1 script -qec 'pmx --profile lab ls' /dev/null").exits(0).keeps_quiet_about("\x1b[");
    let live = fleet.sandbox.shell("TERM=xterm script -qec 'pmx --profile lab build status-calamity' /dev/null").exits(0);
    live.says("status-calamity/status");
}

#[test]
fn events_are_lines_of_json_that_tell_the_whole_run() {
    let fleet = Fleet::up();
    let ran = fleet.build(&["stop-calamity", "--json"]).exits(0);
    assert_eq!(ran.stderr, "", "all that is said is JSON");
    let events = ran.lines();
    let names: Vec<&str> = events.iter().filter_map(|event| event["event"].as_str()).collect();
    assert_eq!((names.first(), names.last()), (Some(&"run-started"), Some(&"run-finished")));
    let known = [
        "run-started",
        "leases",
        "action-started",
        "phase",
        "task",
        "output",
        "warning",
        "stored",
        "retry",
        "action-finished",
        "stopping",
        "run-finished",
    ];
    assert!(names.iter().all(|name| known.contains(name)), "{names:?}");
    assert!(events.iter().all(|event| event["at"].is_string()));
    let task = events.iter().position(|event| event["event"] == "task").expect("the shutdown is a task");
    assert!(events[task]["id"].as_str().is_some_and(|id| id.contains(":qmshutdown:107:")), "{}", events[task]);
    assert_eq!(events[events.len() - 1]["state"], "succeeded");
    assert_eq!(events[events.len() - 1]["summary"]["done"], 5);
    let refused = fleet.build(&["delete-vm", "-i", "vmName=gold-image", "--json"]).exits(3).lines();
    assert_eq!(refused[refused.len() - 1]["state"], "failed");
}
