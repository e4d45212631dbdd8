//! The commands that show: history, runs, drawings, and what each says to a mistake.

use std::collections::BTreeSet;

use pmx::model::registry;
use serde_json::Value as Json;

use super::fleet::{CALAMITY, Fleet};
use super::real::needs;
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
    insta::assert_snapshot!(log.snapshot(), @r#"
    $ pmx --profile lab log fleet/vm/calamity
    version 4  [time]  fleet.stop  by [actor]
        run [run], step stop-calamity/stop-vm/stop, digest [digest]
        as before
    version 3  [time]  fleet.lookup  by [actor]
        run [run], step stop-calamity/lookup, digest [digest]
        as before
    version 2  [time]  fleet.stop  by [actor]
        run [run], step stop-calamity/stop-vm/stop, digest [digest]
        ip: "10.0.0.107" → null
        ipSource: "guest agent, eth0 (net0)" → "the VM is off"
        status: "running" → "stopped"
    version 1  [time]  fleet.lookup  by [actor]
        run [run], step stop-calamity/lookup, digest [digest]
        boot: "order=scsi0;net0"
        ip: "10.0.0.107"
        ipSource: "guest agent, eth0 (net0)"
        mac: "BC:24:11:C6:ED:73"
        madeBy: null
        maxcpu: 4
        maxmem: 8589934592
        node: "keeb-dev-02"
        status: "running"
        uuid: "[uuid]"
        vmName: "calamity"
        vmid: 107
    --- exit 0
    "#);
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
    insta::assert_snapshot!(text.snapshot(), @r#"
    $ pmx --profile lab show fleet/vm/calamity@2
    fleet/vm/calamity  version 2
    written [time] by fleet.stop for [actor]
    run [run], step stop-calamity/stop-vm/stop
    digest [digest]

    {
      "boot": "order=scsi0;net0",
      "ip": null,
      "ipSource": "the VM is off",
      "mac": "BC:24:11:C6:ED:73",
      "madeBy": null,
      "maxcpu": 4,
      "maxmem": 8589934592,
      "node": "keeb-dev-02",
      "status": "stopped",
      "uuid": "[uuid]",
      "vmName": "calamity",
      "vmid": 107
    }
    --- exit 0
    "#);
    insta::assert_snapshot!(fleet.pmx(&["diff", "fleet/vm/calamity@1", "fleet/vm/calamity@2"]).exits(0).snapshot(), @r#"
    $ pmx --profile lab diff fleet/vm/calamity@1 fleet/vm/calamity@2
    fleet/vm/calamity@1 → fleet/vm/calamity@2
      ip: "10.0.0.107" → null
      ipSource: "guest agent, eth0 (net0)" → "the VM is off"
      status: "running" → "stopped"
    --- exit 0
    "#);
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
    insta::assert_snapshot!(whole.snapshot(), @r"
    $ pmx --profile lab run [run]
    run [run]  failed
    start-calamity by [actor], began [time], [took]
    id [run]

      fresh      start-calamity/vm/auth  keebDev02.auth  what is known is [took] old, and may be [took]
                 → keebDev02/node/node
      failed     start-calamity/vm/start  fleet.start  10.0.0.4:8006: qmstart of 107 failed: no space left
      skipped    start-calamity/start-terraria  calamity.start  start-calamity/vm/start failed

    go on with it: pmx --profile lab build --resume [run]
    --- exit 0
    ");
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

    fleet.heal();
    fleet.build(&["create-vm", "-i", "vmName=test-log"]).exits(0);
    let made = fleet.pmx(&["runs", "-n", "1", "--json"]).exits(0).json()["id"].as_str().unwrap_or_default().to_owned();
    fleet.pmx(&["run", &made, "--log", "create"]).exits(0).says("successfully created disk");
    let log = fleet.pmx(&["run", &made, "--log", "create-vm/create", "--json"]).exits(0).json();
    assert!(log.as_str().is_some_and(|log| log.contains("successfully created disk")), "{log}");
    fleet.pmx(&["run", &made, "--log", "auth"]).exits(0).says("said nothing");
    fleet.pmx(&["run", &made, "--log", "nosuch"]).exits(2).says("its steps are");
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
    let Some([_]) = needs(["dot"]) else { return };
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
    insta::assert_snapshot!(planned.snapshot(), @r"
    $ pmx --profile lab plan stop-calamity
    stop-calamity: 5 actions
      1. stop-calamity/auth  keebDev02.auth  (observe)
           nothing known yet: it will look
           writes keebDev02/node/node
           may wait for the login: at most [took]
      2. stop-calamity/lookup  fleet.lookup  (observe)
           looks each time
           writes fleet/vm/calamity
           after stop-calamity/auth: reads keebDev02/node/node
           may wait for the VM's state: as long as its requests take, each with a deadline of its own
      3. stop-calamity/warn-players  calamityTerraria.warnShutdown  (act)
           writes calamityTerraria/server/server
           after stop-calamity/lookup: reads fleet/vm/calamity
           may wait for the server's console to answer: at most [took]
           may wait for the players to leave: at most [took]
      4. stop-calamity/stop-terraria  calamity.stop  (converge)
           writes calamity/result/result
           after stop-calamity/lookup: reads fleet/vm/calamity
           after stop-calamity/warn-players: both act at fleet/vm/calamity
           may wait for the services to save and stop: at most [took]
      5. stop-calamity/stop-vm/stop  fleet.stop  (converge)
           writes fleet/vm/calamity
           after stop-calamity/auth: reads keebDev02/node/node
           after stop-calamity/stop-terraria: writes fleet/vm/calamity, which that reads; both act at fleet/vm/calamity
           may wait for a running Proxmox task: at most [took]
           may wait for the shutdown: at most [took]
           may wait for the VM to be off: at most [took]
    --- exit 0
    ");
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
    let broken = Sandbox::own().replace("workflows/stop-calamity.toml", "call = \"calamity.stop\"", "cal = \"calamity.stop\"");
    let told = broken.pmx(&["check"]).exits(2).says("workflows/stop-calamity.toml:19").says("^^^").says("`call`");
    drop(told);
    let told = broken.pmx(&["check", "--json"]).exits(2).json();
    let place = |told: &Json| (told["file"].as_str().map(str::to_owned), told["line"].as_u64());
    let all: Vec<_> = told.as_array().into_iter().flatten().map(place).collect();
    assert!(all.contains(&(Some("workflows/stop-calamity.toml".to_owned()), Some(19))), "{told}");
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
    for command in [
        "log",
        "log --json",
        "runs",
        "ls --json",
        "types",
        "describe proxmox/vm",
        "--help",
        "graph",
        "show fleet/vm/calamity",
        "query model.fleet.resource.vm",
    ] {
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
    let Some([_]) = needs(["script"]) else { return };
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
    let shutdown = |event: &&Json| event["event"] == "task" && event["id"].as_str().is_some_and(|id| id.contains(":qmshutdown:107:"));
    assert_eq!(events.iter().filter(shutdown).count(), 1, "the shutdown is a task, begun once");
    assert_eq!(events[events.len() - 1]["state"], "succeeded");
    assert_eq!(events[events.len() - 1]["summary"]["done"], 5);
    let refused = fleet.build(&["delete-vm", "-i", "vmName=gold-image", "--json"]).exits(3).lines();
    assert_eq!(refused[refused.len() - 1]["fault"], "refused");
}

#[test]
fn every_example_on_every_page_passes_the_check() {
    for row in registry::types() {
        let page = Sandbox::new().pmx(&["describe", row.name]).exits(0).stdout;
        let fences: Vec<&str> = page.split("```").filter_map(|part| part.strip_prefix("toml\n")).collect();
        let [definition, steps] = fences[..] else { panic!("a definition and its calls, and nothing else:\n{page}") };
        let name = steps.split("call = \"").nth(1).and_then(|rest| rest.split('.').next()).unwrap_or_else(|| panic!("{steps}"));
        for method in row.methods {
            assert!(steps.contains(&format!("call = \"{name}.{}\"", method.name)), "{} calls no {}\n{steps}", row.name, method.name);
        }
        let sandbox = Sandbox::own().file(&format!("definitions/{name}.toml"), definition).file("workflows/example.toml", steps);
        sandbox.pmx(&["check"]).exits(0);
        // What is valid can be planned as well: names, reads and orders hold.
        sandbox.pmx(&["plan", "example"]).exits(0);
    }
}
