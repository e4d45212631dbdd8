//! `pmx build --resume`: a run that was killed at any moment ends well, and nothing that it did is done again.
#![expect(clippy::print_stdout, reason = "the figures, for whoever asks with --nocapture")]

use std::collections::BTreeSet;
use std::time::Duration;

use pmx::lab::control::Tinker;
use pmx::lab::world::Phase;
use pmx::store::Store as _;
use pmx::store::dir::DirStore;
use serde_json::Value;

use super::fleet::{CALAMITY, Fleet, effects};
use super::process::wait_until;
use super::real::needs;
use super::sandbox::Ran;

/// The newest run: its id and its story.
pub fn newest(fleet: &Fleet) -> (String, Value) {
    let runs = fleet.pmx(&["runs", "-n", "1", "--json"]).exits(0).lines();
    let id = runs[0]["id"].as_str().expect("a run has an id").to_owned();
    let story = fleet.pmx(&["run", &id, "--json"]).exits(0).json();
    (id, story)
}

/// Kills a build as soon as it has told so many events; whether it was still running then.
pub fn killed(fleet: &Fleet, arguments: &[&str], events: usize) -> bool {
    let mut running = fleet.start(&[&["build"], arguments, &["--json"]].concat());
    wait_until(&format!("{events} events are told"), Duration::from_secs(120), || {
        let said = running.said();
        said.lines().count() >= events || said.contains("\"run-finished\"")
    });
    running.kill();
    running.end().status.code().is_none() && newest(fleet).1["state"] == "interrupted"
}

fn events<'a>(story: &'a Value, name: &str) -> Vec<&'a Value> {
    story["journal"].as_array().into_iter().flatten().filter(|line| line["event"] == name).collect()
}

/// Steps that ended with nothing left to do.
fn finished(story: &Value) -> BTreeSet<String> {
    let over = events(story, "action-finished").into_iter().filter(|line| line["left"].is_null());
    over.map(|line| line["step"].as_str().unwrap_or_default().to_owned()).collect()
}

/// Resumes the run; a step in doubt is refused first, then counts as done.
fn resume(fleet: &Fleet, id: &str) -> (Ran, bool) {
    let ran = fleet.build(&["--resume", id]);
    if ran.status.code() != Some(3) {
        return (ran.exits(0), false);
    }
    let ran = ran
        .says("nobody knows whether stop-calamity/warn-players (calamityTerraria.warnShutdown) happened")
        .says("--assume warn-players=done");
    assert!(!ran.stderr.contains("resume stop-calamity"), "nothing was begun: {ran}");
    (fleet.build(&["--resume", id, "--assume", "warn-players=done"]).exits(0), true)
}

/// What was finished before the resumption was not begun after it.
pub fn nothing_repeated(before: &Value, after: &Value, place: &str) {
    let lines = after["journal"].as_array().expect("a journal");
    let resumed =
        lines.iter().position(|line| line["event"] == "run-resumed").unwrap_or_else(|| panic!("{place}: no resumption in {after}"));
    let begun = lines[resumed..].iter().filter(|line| line["event"] == "action-started").filter_map(|line| line["step"].as_str());
    let finished = finished(before);
    let repeated: Vec<&str> = begun.filter(|step| finished.contains(*step)).collect();
    assert!(repeated.is_empty(), "{place}: {repeated:?} began again");
}

#[test]
fn a_run_killed_at_any_event_goes_on_and_does_each_thing_once() {
    let fleet = Fleet::up();
    let whole = fleet.build(&["stop-calamity", "--json"]).exits(0).lines().len();
    fleet.build(&["start-calamity"]).exits(0);
    let (mut cuts, mut doubts) = (0, 0);
    for cut in (1..whole).step_by(2) {
        fleet.requests();
        if killed(&fleet, &["stop-calamity"], cut) {
            let place = format!("killed after event {cut}");
            let (id, before) = newest(&fleet);
            fleet.pmx(&["run", &id]).exits(0).says(&format!("pmx --profile lab build --resume {}", &id[25..]));
            let (_, doubted) = resume(&fleet, &id);
            let (same, after) = newest(&fleet);
            assert_eq!((same.as_str(), after["state"].as_str()), (id.as_str(), Some("succeeded")), "{place}: the same run, to its end");
            nothing_repeated(&before, &after, &place);
            let shutdowns = effects(&fleet.requests()).iter().filter(|effect| effect.ends_with("/status/shutdown")).count();
            assert_eq!(shutdowns, 1, "{place}: one shutdown");
            (cuts, doubts) = (cuts + 1, doubts + usize::from(doubted));
            fleet.build(&["--resume", &id]).exits(3).says("succeeded: nothing of it is left to do");
        }
        assert_eq!(fleet.vm(CALAMITY).phase, Phase::Off);
        fleet.build(&["start-calamity"]).exits(0);
    }
    fleet.pmx(&["fsck"]).exits(0).says("every chain is whole");
    // The first run logs in and the others do not, so that they are shorter.
    assert!(cuts >= whole / 4, "only {cuts} cuts hit a run of {whole} events");
    assert!(doubts >= 1, "no cut hit the warning");
    println!("{cuts} cuts of a run of {whole} events, {doubts} of them in doubt");
}

#[test]
fn a_vm_that_was_being_made_is_made_once() {
    let fleet = Fleet::up();
    let whole = fleet.build(&["create-vm", "-i", "vmName=first", "--json"]).exits(0).lines().len();
    let mut cuts = 0;
    for cut in 1..whole {
        let name = format!("made-{cut}");
        fleet.requests();
        if killed(&fleet, &["create-vm", "-i", &format!("vmName={name}")], cut) {
            let (id, before) = newest(&fleet);
            fleet.build(&["--resume", &id]).exits(0);
            nothing_repeated(&before, &newest(&fleet).1, &name);
            cuts += 1;
        }
        let made = effects(&fleet.requests()).iter().filter(|effect| effect.ends_with("/qemu")).count();
        assert_eq!(made, 1, "{name}: one request makes it");
        let named = fleet.status().vms.into_iter().filter(|vm| vm.name == name).count();
        assert_eq!(named, 1, "{name} is there once");
    }
    assert!(cuts >= 3, "only {cuts} cuts");
    println!("{cuts} cuts of a run of {whole} events");
}

/// A stop whose guest does not listen, killed while its task runs: the task's id, and the run's.
fn stop_left_behind(fleet: &Fleet) -> (String, String) {
    // In this order: a machine that is switched on without a system on its disk boots from the network, and hears.
    [Tinker::PowerOn, Tinker::Installed(false)].into_iter().for_each(|change| fleet.tinker(102, change));
    fleet.requests();
    let mut running = fleet.start(&["build", "fleet.stop", "-i", "vmName=VM 102", "-i", "timeout=3000", "--json"]);
    // The wait is told once the task's id is in the journal, synced.
    running.wait_for("\"the shutdown\"").kill();
    assert_eq!(running.end().status.code(), None);
    let (id, story) = newest(fleet);
    let task = story["unfinished"][0]["task"].as_str().expect("the task is in the journal").to_owned();
    (id, task)
}

#[test]
fn a_task_that_still_runs_is_waited_for_and_no_second_one_is_begun() {
    let fleet = Fleet::up();
    let (id, task) = stop_left_behind(&fleet);
    let mut running = fleet.start(&["build", "--resume", &id]);
    running.wait_for("attached to qmshutdown of 102");
    fleet.tinker(102, Tinker::PowerOff);
    running.end().exits(0).says(&task).says("stopped");
    let shutdowns = effects(&fleet.requests());
    assert_eq!(shutdowns.iter().filter(|effect| effect.contains("/status/")).count(), 1, "{shutdowns:?}");
    let (_, story) = newest(&fleet);
    let tasks: BTreeSet<&str> = events(&story, "task").iter().filter_map(|line| line["id"].as_str()).collect();
    assert_eq!(tasks, BTreeSet::from([task.as_str()]), "the same task in both lives");
    assert_eq!(
        story["actions"][story["actions"].as_array().map_or(0, Vec::len) - 1]["ending"],
        "done",
        "what the task did, the action did"
    );
}

#[test]
fn another_run_waits_for_what_a_dead_one_left_and_tells_both_stories() {
    let fleet = Fleet::up();
    let (dead, task) = stop_left_behind(&fleet);
    let mut heir = fleet.start(&["build", "fleet.start", "-i", "vmName=VM 102"]);
    heir.wait_for("attached to qmshutdown of 102");
    assert_eq!(
        effects(&fleet.requests()).iter().filter(|effect| effect.contains("/status/")).count(),
        1,
        "only the shutdown of the dead run"
    );
    fleet.tinker(102, Tinker::PowerOff);
    let ran = heir.end().exits(0);
    let said = ran.says("died during fleet.stop: nothing of it runs any more; looked at fleet/vm/VM 102");
    assert_ne!(fleet.vm(102).phase, Phase::Off, "it was started after the shutdown had ended: {said}");
    let (_, story) = newest(&fleet);
    let heir = story["id"].as_str().expect("a run has an id");
    let story = fleet.pmx(&["run", &dead, "--json"]).exits(0).json();
    let settled = events(&story, "settled");
    assert_eq!(settled.len(), 1, "{story}");
    assert_eq!((settled[0]["step"].as_str(), settled[0]["by"].as_str()), (Some("fleet.stop"), Some(heir)));
    fleet.pmx(&["run", &dead]).exits(0).says("settled by run").says("nothing of it runs any more; looked at fleet/vm/VM 102");
    // Gone on with later, it has still to stop the VM, which runs again.
    let ran = fleet.build(&["--resume", &dead]).exits(0).says(&task);
    assert_eq!(fleet.vm(102).phase, Phase::Off, "{ran}");
    fleet.pmx(&["fsck"]).exits(0);
}

#[test]
fn a_run_of_another_revision_is_not_gone_on_with() {
    let fleet = Fleet::up();
    assert!(killed(&fleet, &["stop-calamity"], 3), "it was too fast to be killed");
    let (id, _) = newest(&fleet);
    let mut store = DirStore::open(&fleet.store()).expect("the store can be opened").expect("there is one");
    let mut row = store.find_runs(&id).expect("runs can be read").remove(0);
    let blob = store.blob(&row.graph).expect("a blob can be read").expect("the graph is kept");
    let mut graph: Value = serde_json::from_slice(&blob).expect("the graph is JSON");
    // As another pmx would have begun it.
    assert!(graph["recipe"]["types"]["proxmox/vm"].is_u64(), "{graph}");
    graph["recipe"]["types"]["proxmox/vm"] = Value::from(99);
    row.id = format!("{:032x}", 0xbeef).parse().expect("the id of a run");
    row.graph = store.put_blob(graph.to_string().as_bytes()).expect("a blob can be written");
    store.begin_run(row).expect("a run can be begun");
    drop(store);
    fleet.requests();
    let ran = fleet.build(&["--resume", "beef"]).exits(3);
    ran.says("cannot be resumed: proxmox/vm had revision 99 when it began and has 1 now").says("begin anew: `pmx build stop-calamity`");
    assert_eq!(fleet.requests(), [], "nobody was asked for anything");
}

#[test]
fn a_task_that_was_attached_to_is_cancelled_with_its_run() {
    let fleet = Fleet::up();
    let (id, _) = stop_left_behind(&fleet);
    let mut running = fleet.start(&["build", "--resume", &id]);
    running.wait_for("attached to qmshutdown of 102").interrupt();
    running.wait_for("stopping").interrupt();
    running.end().exits(130);
    assert!(fleet.status().tasks.is_empty(), "no task goes on without its run");
    // Cancelled is not lost: what is left may be gone on with.
    fleet.tinker(102, Tinker::PowerOff);
    fleet.build(&["--resume", &id]).exits(0).says("is off already");
}

#[test]
fn a_run_goes_on_with_the_files_that_it_began_with() {
    let fleet = Fleet::up();
    assert!(killed(&fleet, &["stop-calamity"], 3), "it was too fast to be killed");
    let (id, _) = newest(&fleet);
    let path = fleet.sandbox.path("workflows/stop-calamity.toml");
    let text = std::fs::read_to_string(&path).expect("the workflow can be read");
    // Somebody has taken the end out of the workflow, and broken another file.
    std::fs::write(&path, &text[..text.find("[[step]]\nname = \"stop-terraria\"").expect("that step is there")])
        .expect("it can be written");
    std::fs::write(fleet.sandbox.path("workflows/new.toml"), "nonsense = [").expect("a file can be written");
    let ran = fleet.build(&["--resume", &id, "--json"]).exits(0);
    let resumed = ran.lines().into_iter().find(|line| line["event"] == "run-resumed").expect("it says that it goes on");
    assert_eq!(resumed["changed"], serde_json::json!(["workflows/stop-calamity.toml", "workflows/new.toml (new)"]));
    assert_eq!(fleet.vm(CALAMITY).phase, Phase::Off, "the step that is in no file any more was done");
}

#[test]
fn what_is_refused_because_it_has_happened_counts_as_done_when_somebody_says_so() {
    let fleet = Fleet::up();
    fleet.build(&["create-stateful-vm", "-i", "vmName=whole", "-i", "memory=1024", "-i", "diskSize=8"]).exits(0);
    let again = "[[step]]\nname = \"install\"\ncall = \"alpineInstaller.install\"\nwith = { vmName = \"whole\" }\n\n\
                 [[step]]\nname = \"look\"\ncall = \"fleet.lookup\"\nwith = { vmName = \"whole\" }\nafter = [\"install\"]\n";
    std::fs::write(fleet.sandbox.path("workflows/again.toml"), again).expect("a workflow can be written");
    fleet.build(&["again", "--yes", "whole"]).exits(3).says("it is installed");
    let (id, _) = newest(&fleet);
    // What never began cannot have happened.
    fleet.build(&["--resume", &id, "--assume", "look=done", "--yes", "whole"]).exits(2).says("`look` is not in doubt");
    fleet.build(&["--resume", &id, "--assume", "install=done", "--yes", "whole"]).exits(0);
    let (same, story) = newest(&fleet);
    assert_eq!((same, story["state"].as_str()), (id, Some("succeeded")));
    let told = events(&story, "action-finished");
    let told: Vec<&str> = told.iter().filter(|line| line["step"] == "again/install").filter_map(|line| line["summary"].as_str()).collect();
    assert!(told.len() == 2 && told[1].starts_with("counts as done: "), "{told:?}");
}

#[test]
fn what_cannot_be_resumed_is_refused_in_a_sentence() {
    let fleet = Fleet::up();
    let mut running = fleet.start(&["build", "stop-calamity", "--json"]);
    running.wait_for("the players to leave");
    let (id, _) = newest(&fleet);
    fleet.build(&["--resume", &id]).exits(3).says("is still running").says("pmx cancel");
    running.kill();
    assert_eq!(running.end().status.code(), None);
    fleet.build(&["--resume", "ffffffffffffffffffff"]).exits(2).says("there is no run");
    fleet.build(&["--resume", &id, "--assume", "warn-players=perhaps"]).exits(2).says("is not STEP=done or STEP=again");
    fleet
        .build(&["--resume", &id, "--assume", "stop-vm=done"])
        .exits(2)
        .says("`stop-vm` is not in doubt")
        .says("stop-calamity/warn-players");
    fleet.build(&["--resume", &id, "stop-calamity"]).exits(2).says("cannot be used with");
    let profile = fleet.sandbox.read("Pmxfile.toml").replace("[profile.lab]", "[profile.other]\nstore = \"store/lab\"\n\n[profile.lab]");
    std::fs::write(fleet.sandbox.path("Pmxfile.toml"), profile).expect("the Pmxfile can be written");
    fleet.sandbox.pmx(&["--profile", "other", "build", "--resume", &id]).exits(3).says("was begun under the profile lab");
    // By a part of its id, and the warning once more: that is what was answered.
    let ran = fleet.build(&["--resume", &id[20..], "--assume", "stop-calamity/warn-players=again"]).exits(0);
    ran.says("changed since the run began: Pmxfile.toml").says("warned for");
}

#[test]
fn a_person_is_asked_what_happened() {
    let fleet = Fleet::up();
    let Some([_]) = needs(["script"]) else { return };
    let mut running = fleet.start(&["build", "stop-calamity", "--json"]);
    running.wait_for("the players to leave").kill();
    assert_eq!(running.end().status.code(), None);
    let (id, _) = newest(&fleet);
    let ask = |answer: &str| {
        let script = format!("printf '{answer}\\n' | script -qec 'pmx --profile lab build --resume {id}' /dev/null");
        fleet.sandbox.shell(&script)
    };
    ask("stop").exits(3).says("Did it happen? [done/again/stop]").says("stays as it is: nothing was done");
    assert_ne!(fleet.vm(CALAMITY).phase, Phase::Off);
    ask("done").exits(0).says("Did it happen? [done/again/stop]");
    assert_eq!(fleet.vm(CALAMITY).phase, Phase::Off);
    let (_, story) = newest(&fleet);
    let told =
        events(&story, "action-finished").into_iter().find(|line| line["step"] == "stop-calamity/warn-players").expect("it has an end");
    assert!(told["summary"].as_str().is_some_and(|text| text.starts_with("counts as done: cli:tester@")), "{told}");
    fleet.pmx(&["run", &id]).exits(0).says("resumed ");
}

#[test]
fn why_a_step_ran_and_what_it_was_made_of() {
    let fleet = Fleet::up();
    fleet.build(&["fleet.stop", "-i", "vmName=VM 102", "-i", "timeout=50"]).exits(0);
    fleet.build(&["fleet.start", "-i", "vmName=VM 102", "-i", "waitSeconds=0"]).exits(0);
    fleet.build(&["fleet.stop", "-i", "vmName=VM 102", "-i", "timeout=55"]).exits(0);
    let (id, _) = newest(&fleet);
    let ran = fleet.pmx(&["why", &id, "fleet.stop"]).exits(0);
    let ran = ran
        .says("it looks first, and does nothing when all is so already")
        .says("arguments.timeout = `55`")
        .says("timeout was `50`, is `55`");
    ran.says("keebDev02/node/node@").says("globals.ticket = the account of keebDev02/node/node, field ticket");
    let why = fleet.pmx(&["why", &id, "fleet.stop", "--json"]).exits(0).json();
    assert_eq!(why["before"]["differences"], serde_json::json!([{ "field": "arguments.timeout", "old": "`50`", "new": "`55`" }]));
    assert_eq!(why["ending"], "done");
    let implied = why["waited_for"][0]["step"].as_str().expect("it waited for the login").to_owned();
    fleet.pmx(&["why", &id, &implied]).exits(0).says("fresh: what is known is");
    fleet.pmx(&["why", &id, "nothing"]).exits(2).says("has no step `nothing`");
}
