//! Ctrl-c: once lets end what runs, twice cancels it, on the other side of the wire too.

use pmx::lab::control::Tinker;
use pmx::lab::world::Phase;

use super::fleet::{CALAMITY, Fleet};

#[test]
fn the_first_ctrl_c_lets_end_what_runs_and_starts_nothing_more() {
    let fleet = Fleet::up();
    let mut running = fleet.start(&["build", "stop-calamity", "--json"]);
    running.wait_for("the players to leave").interrupt();
    let ran = running.end().exits(130);
    let events = ran.lines();
    let ending = |step: &str| {
        let end =
            events.iter().find(|event| event["event"] == "action-finished" && event["step"].as_str().is_some_and(|at| at.ends_with(step)));
        end.and_then(|event| event["ending"].as_str()).unwrap_or("none").to_owned()
    };
    assert_eq!(ending("warn-players"), "done", "{ran}");
    assert_eq!((ending("stop-terraria"), ending("stop-vm/stop")), ("skipped".to_owned(), "skipped".to_owned()), "{ran}");
    let last = &events[events.len() - 1];
    assert_eq!((last["event"].as_str(), last["state"].as_str()), (Some("run-finished"), Some("cancelled")));
    assert!(events.iter().any(|event| event["event"] == "stopping"), "whoever pressed it is told what it means: {ran}");
    assert!(fleet.vm(CALAMITY).ssh.is_some());
    assert_eq!(fleet.pmx(&["runs", "-n", "1", "--json"]).exits(0).lines()[0]["state"], "cancelled");
}

#[test]
fn the_second_ctrl_c_cancels_the_task_on_the_node_too() {
    let fleet = Fleet::up();
    // A guest that does not hear the power button: its shutdown lasts as long as it may.
    fleet.tinker(102, Tinker::Installed(false));
    fleet.tinker(102, Tinker::PowerOn);
    let mut running = fleet.start(&["build", "fleet.stop", "-i", "vmName=VM 102", "-i", "timeout=3600", "--json"]);
    running.wait_for(":qmshutdown:102:").interrupt();
    running.wait_for("stopping").interrupt();
    let ran = running.end().exits(130);
    assert!(fleet.status().tasks.is_empty(), "no task goes on without its run: {ran}");
    let cancelled = fleet.requests().iter().any(|served| served.method == "DELETE" && served.path.contains("/tasks/"));
    assert!(cancelled, "{ran}");
    assert_ne!(fleet.vm(102).phase, Phase::Off);
    let last = ran.lines().pop().expect("a last event");
    assert_eq!(last["state"], "cancelled");
    fleet.pmx(&["fsck"]).exits(0);
}

#[test]
fn ctrl_c_while_an_address_is_waited_for_ends_the_wait() {
    let fleet = Fleet::up();
    fleet.fault("agent-absent", Some(101));
    let mut running = fleet.start(&["build", "start-vm", "-i", "vmName=atm10"]);
    running.wait_for("guest agent to tell the address").interrupt();
    running.wait_for("stopping").interrupt();
    running.end().exits(130);
    assert!(fleet.status().tasks.is_empty());
}

/// As above in the plain story: a person reads what the first ctrl-c means and what a second would.
#[test]
fn the_story_says_what_ctrl_c_does() {
    let fleet = Fleet::up();
    let mut running = fleet.start(&["build", "stop-calamity"]);
    running.wait_for("the players to leave").interrupt();
    running.end().exits(130).says("once more cancels it").says("skipped: the run was stopped").says("cancelled: ");
}
