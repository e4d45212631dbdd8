//! `pmx cancel`: another process, another user of the same store, stops a run; what it had begun elsewhere ends too.
#![expect(clippy::print_stdout, reason = "the figures, for whoever asks with --nocapture")]

use std::time::Duration;

use pmx::lab::control::Tinker;
use pmx::lab::world::Phase;

use super::fleet::{CALAMITY, Fleet};
use super::process::wait_until;
use super::real::sshd::Sshd;
use super::real_types::site::{processes, project};
use super::sandbox::{Ran, Running, Sandbox};

const NEWEST: [&str; 4] = ["runs", "-n", "1", "--json"];

fn id(runs: Ran) -> String {
    runs.exits(0).lines()[0]["id"].as_str().expect("a run has an id").to_owned()
}

fn newest(fleet: &Fleet) -> String {
    id(fleet.pmx(&NEWEST))
}

/// Kills a run whose command goes on behind sshd until there is a file `go`; the run's id. The same for a shell that runs a script, and for a program that
/// took the shell's place.
fn left_behind(sandbox: &Sandbox) -> String {
    let command = "command=echo begun >>log; echo shown; while [ ! -e go ]; do sleep 0.05; done; echo ended >>log";
    let mut running = sandbox.start(&["build", "testVmSsh.exec", "-v", "-i", command]);
    running.wait_for("shown").kill();
    assert_eq!(running.end().status.code(), None);
    id(sandbox.pmx(&NEWEST))
}

/// Waits until the process waits for that command, sees that nothing else was done, and lets the command end. What was done then.
fn let_go(sshd: &Sshd, mut waiting: Running<'_>) -> (Ran, String) {
    waiting.wait_for("waiting for a command of the interrupted run");
    let log = || std::fs::read_to_string(sshd.home().join("log")).unwrap_or_default();
    assert_eq!(log(), "begun\n", "nobody acts on the host before it has ended");
    std::fs::write(sshd.home().join("go"), "").expect("a file can be written");
    let ran = waiting.end().exits(0);
    (ran, log())
}

/// A stop whose guest does not listen: it would last an hour.
fn long_stop(fleet: &Fleet) -> (Running<'_>, String) {
    // In this order: a machine that is switched on without a system on its disk boots from the network, and hears.
    [Tinker::PowerOn, Tinker::Installed(false)].into_iter().for_each(|change| fleet.tinker(102, change));
    let mut running = fleet.start(&["build", "fleet.stop", "-i", "vmName=VM 102", "-i", "timeout=3600"]);
    running.wait_for("waiting for the shutdown");
    wait_until("the task runs", Duration::from_secs(30), || !fleet.status().tasks.is_empty());
    let id = newest(fleet);
    (running, id)
}

#[test]
fn cancel_now_ends_what_runs_and_deletes_its_task() {
    let fleet = Fleet::up();
    let (running, id) = long_stop(&fleet);
    fleet.requests();
    let ran: Ran = fleet.pmx(&["cancel", &id[25..], "--now"]).exits(0);
    let ran = ran.says("(fleet.stop) by cli:tester@").says("was told to stop").says("has ended: cancelled");
    // A minute is generous: without the cancel it lasts an hour.
    assert!(ran.took < Duration::from_secs(60), "{ran}");
    running.end().exits(130).says("cancelling (cli:tester@");
    let status = fleet.status();
    assert!(status.tasks.is_empty(), "no task goes on without its run");
    assert!(fleet.requests().iter().any(|served| served.method == "DELETE" && served.path.contains("/tasks/")));
    assert_ne!(fleet.vm(102).phase, Phase::Off);
    let story = fleet.pmx(&["run", &id, "--json"]).exits(0).json();
    let endings: Vec<&str> = story["actions"].as_array().into_iter().flatten().filter_map(|action| action["ending"].as_str()).collect();
    assert_eq!((story["state"].as_str(), endings.last()), (Some("cancelled"), Some(&"cancelled")), "{story}");
    fleet.pmx(&["cancel", &id]).exits(0).says("has ended already: cancelled");
    println!("cancelled in {:.1} s", ran.took.as_secs_f64());
}

#[test]
fn the_first_cancel_lets_end_what_runs_and_the_second_does_not() {
    let fleet = Fleet::up();
    let (running, id) = long_stop(&fleet);
    let first = fleet.pmx(&["cancel", &id, "--wait", "1", "--json"]).exits(1).json();
    assert_eq!(
        (first["state"].as_str(), first["now"].as_bool(), first["running"][0]["call"].as_str()),
        (Some("running"), Some(false), Some("fleet.stop"))
    );
    assert_eq!(fleet.status().tasks.len(), 1, "what runs may end");
    let second = fleet.pmx(&["cancel", &id, "--json"]).exits(0).json();
    assert_eq!((second["state"].as_str(), second["now"].as_bool()), (Some("cancelled"), Some(true)));
    running.end().exits(130).says("stopping (cli:tester@").says("cancelling (cli:tester@");
    assert!(fleet.status().tasks.is_empty());
}

#[test]
fn a_run_of_several_steps_starts_nothing_more() {
    let fleet = Fleet::up();
    let mut running = fleet.start(&["build", "stop-calamity"]);
    running.wait_for("the players to leave");
    let id = newest(&fleet);
    fleet.pmx(&["cancel", &id]).exits(0).says("nothing new starts").says("stop-calamity/warn-players").says("has ended: cancelled");
    running.end().exits(130).says("skipped: the run was stopped");
    assert_ne!(fleet.vm(CALAMITY).phase, Phase::Off);
    // And it may be gone on with.
    fleet.build(&["--resume", &id]).exits(0);
    assert_eq!(fleet.vm(CALAMITY).phase, Phase::Off);
}

#[test]
fn nobody_hears_a_cancel_of_a_dead_run() {
    let fleet = Fleet::up();
    let (mut running, id) = long_stop(&fleet);
    running.kill();
    assert_eq!(running.end().status.code(), None);
    fleet.pmx(&["cancel", &id, "--now"]).exits(3).says("is dead already").says(&format!("pmx build --resume {}", &id[25..]));
    assert_eq!(fleet.status().tasks.len(), 1, "nobody touched its task");
    fleet.pmx(&["cancel", "fffffffffff"]).exits(2).says("there is no run");
}

#[test]
fn cancel_ends_the_process_group_behind_a_real_sshd() {
    let Some(sshd) = Sshd::start() else { return };
    let sandbox = project(&sshd);
    let mark = format!("sleep 63{}", sshd.port);
    // Neither the end of its channel nor a request to end moves it, and it has a child.
    let command = format!("command=trap '' HUP TERM PIPE; echo begun; while :; do {mark}0 & {mark}1; done");
    let mut running = sandbox.start(&["build", "testVmSsh.exec", "-v", "-i", &command]);
    running.wait_for("begun");
    wait_until("its children run", Duration::from_secs(20), || processes(&mark).len() >= 2);
    let id = id(sandbox.pmx(&NEWEST));
    sandbox.pmx(&["cancel", &id, "--now"]).exits(0).says("has ended: cancelled");
    assert_eq!(processes(&mark), Vec::<String>::new());
    running.end().exits(130);
}

#[test]
fn a_command_that_outlived_its_run_is_waited_for() {
    let Some(sshd) = Sshd::start() else { return };
    let sandbox = project(&sshd);
    let id = left_behind(&sandbox);
    sandbox.pmx(&["build", "--resume", &id]).exits(3).says("nobody knows whether testVmSsh.exec").says("--assume testVmSsh.exec=done");
    let (_, log) = let_go(&sshd, sandbox.start(&["build", "--resume", &id, "--assume", "testVmSsh.exec=again"]));
    assert_eq!(log, "begun\nended\nbegun\nended\n");
}

#[test]
fn a_command_that_outlived_its_run_is_waited_for_by_another_run_too() {
    let Some(sshd) = Sshd::start() else { return };
    let sandbox = project(&sshd);
    let dead = left_behind(&sandbox);
    let (ran, log) = let_go(&sshd, sandbox.start(&["build", "testVmSsh.exec", "-i", "command=echo heir >>log"]));
    ran.says("died during testVmSsh.exec: nothing of it runs any more");
    assert_eq!(log, "begun\nended\nheir\n");
    sandbox.pmx(&["run", &dead]).exits(0).says("settled by run").says("nothing of it runs any more");
}
