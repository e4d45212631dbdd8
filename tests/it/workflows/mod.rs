//! Every workflow of the project from end to end: planned without a store, run in a new practice fleet, run again, its store proven.

mod each;
mod faults;
mod table;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use pmx::event::Lasting;
use pmx::lab::control::Tinker;
use serde_json::Value as Json;

use super::canary::Guarded;
use super::fleet::{Fleet, effects, logins};
use super::process::wait_until;
use super::sandbox::Sandbox;
use table::{Row, rows};

#[test]
fn none_is_forgotten() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("workflows");
    let entries = std::fs::read_dir(folder).expect("the project has workflows").flatten().map(|entry| entry.path());
    let files: BTreeSet<String> = entries
        .filter(|path| path.extension().is_some_and(|end| end == "toml"))
        .filter_map(|path| Some(path.file_stem()?.to_str()?.to_owned()))
        .collect();
    let listed: BTreeSet<String> = rows().iter().map(|row| row.workflow.to_owned()).collect();
    assert_eq!(listed, files, "tests/it/workflows/table.txt has a row for each file of workflows/");
    let tests = include_str!("each.rs");
    for workflow in &files {
        let test = format!("fn {}() {{\n    holds(\"{workflow}\");", workflow.replace('-', "_"));
        assert!(tests.contains(&test), "tests/it/workflows/each.rs has no test for {workflow}");
    }
}

#[test]
fn the_project_is_clean() {
    let complaints = Sandbox::own().pmx(&["check", "--json"]).exits(0).json();
    assert_eq!(complaints, Json::Array(vec![]));
}

fn holds(workflow: &str) {
    let row = rows().into_iter().find(|row| row.workflow == workflow).unwrap_or_else(|| panic!("the table has no row for {workflow}"));
    let fleet = Fleet::new();
    let plan = planned(&fleet, &row);
    // From here on its secrets are canaries; when it goes, all that pmx wrote and printed is searched for them.
    let fleet = Guarded::of(fleet);
    prepare(&fleet, &row);
    let first = run(&fleet, &row, 0);
    waits_as_planned(&row, &plan, &first);
    fleet.requests();
    let second = run(&fleet, &row, 1);
    waits_as_planned(&row, &plan, &second);
    does_only_what_it_says(&fleet, &row, &second);
    fleet.pmx(&["fsck"]).exits(0).says("every chain is whole");
}

/// Runs it for the first (0) or second (1) time: its actions end as the table says. Returns its events.
fn run(fleet: &Fleet, row: &Row, time: usize) -> Vec<Json> {
    let arguments = [&[row.workflow, "--json"], row.arguments.as_slice()].concat();
    let ran = fleet.build(&arguments).exits(if time == 0 { 0 } else { row.again });
    let events = ran.lines();
    let finished = events.iter().filter(|event| event["event"] == "action-finished");
    let mut ended: BTreeMap<String, (String, String)> =
        finished.map(|event| (word(event, "step"), (word(event, "call"), word(event, "ending")))).collect();
    // An observation that is made while an action waits to begin has a login of its own.
    ended.retain(|step, _| !step.ends_with("(refresh keebDev02/node/node)"));
    for line in row.lines.iter().filter(|line| line.endings[time] != "-") {
        let found = ended.remove(&line.path(row.workflow)).unwrap_or_else(|| panic!("no step {}: {ran}", line.step));
        assert_eq!(found, (line.call.to_owned(), line.endings[time].to_owned()), "{}, run {}: {ran}", line.step, time + 1);
    }
    assert!(ended.is_empty(), "more than the table says: {ended:?}: {ran}");
    events
}

fn word(event: &Json, field: &str) -> String {
    event[field].as_str().unwrap_or_default().to_owned()
}

/// The plan from an empty store: the table's actions and orders, nothing implied, and no store made by it.
fn planned(fleet: &Fleet, row: &Row) -> Vec<Json> {
    let arguments: Vec<&str> = row.arguments.chunks(2).filter(|pair| pair[0] == "-i").flatten().copied().collect();
    let ran = fleet.pmx(&[&["plan", row.workflow, "--json"], arguments.as_slice()].concat()).exits(0);
    assert!(!fleet.store().exists(), "a plan makes nothing");
    let actions = ran.json()["actions"].as_array().cloned().unwrap_or_default();
    let found: Vec<(String, String)> = actions.iter().map(|action| (word(action, "step"), word(action, "call"))).collect();
    let steps = || row.lines.iter().filter(|line| !line.shown);
    let listed: Vec<(String, String)> = steps().map(|line| (line.path(row.workflow), line.call.to_owned())).collect();
    assert_eq!(found, listed, "{ran}");
    assert!(actions.iter().all(|action| action["refreshes"].is_null()), "it observes all that it reads: {ran}");
    let id = |step: &str| steps().position(|line| line.step == step).unwrap_or_else(|| panic!("no step {step} in the table"));
    for (first, then) in &row.orders {
        assert!(before(&actions, id(first), id(then)), "{first} must be done before {then} begins: {ran}");
    }
    for (one, other) in &row.beside {
        assert!(!before(&actions, id(one), id(other)) && !before(&actions, id(other), id(one)), "{one} and {other} may run at once: {ran}");
    }
    let text = fleet.sandbox.read(&format!("workflows/{}.toml", row.workflow));
    assert!(!text.lines().any(|line| line.starts_with("after")), "its orders come from what it reads and where it acts:\n{text}");
    actions
}

/// Whether action `first` is an ancestor of `then`.
fn before(actions: &[Json], first: usize, then: usize) -> bool {
    let parents = actions[then]["after"].as_array().into_iter().flatten().filter_map(|edge| usize::try_from(edge["id"].as_u64()?).ok());
    parents.into_iter().any(|parent| parent == first || before(actions, first, parent))
}

/// Whoever reads the plan knows each wait of the run, and how long it may last.
fn waits_as_planned(row: &Row, plan: &[Json], events: &[Json]) {
    for event in events.iter().filter(|event| event["event"] == "phase") {
        let Some(action) = plan.iter().find(|action| action["step"] == event["step"]) else {
            assert!(row.lines.iter().any(|line| line.shown && event["step"] == line.step), "{}: {event}", row.workflow);
            continue;
        };
        let most = event["deadline"]
            .as_u64()
            .map_or_else(|| "as long as its requests take".to_owned(), |seconds| format!("at most {}", Lasting::limit(seconds)));
        let said = format!("{}: {most}", word(event, "phase"));
        let planned =
            action["phases"].as_array().into_iter().flatten().any(|phase| phase.as_str().is_some_and(|phase| phase.starts_with(&said)));
        assert!(planned, "{}: `{said}` is not in the plan: {}", word(event, "step"), action["phases"]);
    }
}

fn prepare(fleet: &Fleet, row: &Row) {
    let vmid = |name: &str| fleet.named(name).unwrap_or_else(|| panic!("no VM {name}")).vmid;
    row.after.iter().for_each(|workflow| drop(fleet.build(&[workflow]).exits(0)));
    row.off.iter().for_each(|name| fleet.tinker(vmid(name), Tinker::PowerOff));
    row.on.iter().for_each(|name| fleet.tinker(vmid(name), Tinker::PowerOn));
    for name in &row.on {
        wait_until(&format!("{name} lets somebody in"), std::time::Duration::from_secs(30), || fleet.vm(vmid(name)).ssh.is_some());
    }
}

/// What the second run calls fresh or unchanged did not touch the node: no login, and no write but those of the steps that acted.
fn does_only_what_it_says(fleet: &Fleet, row: &Row, events: &[Json]) {
    const WRITES: &[&str] = &["fleet.start", "fleet.stop", "fleet.create", "fleet.delete", "fleet.setBootOrder"];
    let acted = events.iter().filter(|event| event["event"] == "action-finished" && event["ending"] == "done");
    let writers = acted.filter(|event| WRITES.contains(&word(event, "call").as_str())).count();
    let requests = fleet.requests();
    assert_eq!(effects(&requests).len(), writers, "{}: {requests:?}", row.workflow);
    assert_eq!(logins(&requests), 0, "{}: one login serves both runs", row.workflow);
}

#[test]
fn a_deadline_that_a_step_sets_is_planned_with_what_is_added_to_it() {
    let text = "[[step]]\nname = \"stop\"\ncall = \"fleet.stop\"\nwith = { vmName = \"slate\", timeout = 100 }\n";
    let planned = Sandbox::own().file("workflows/w.toml", text).pmx(&["plan", "w"]).exits(0);
    // The guest has 100 s; Proxmox itself has half a minute more.
    planned.says("may wait for the shutdown: at most 2 min 10 s").says("may wait for the VM to be off: at most 2 min 10 s");
}
