//! A power cut in the middle of a run: whatever moment it hits, the store is whole and the next run ends well.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use pmx::lab::world::Phase;

use super::fleet::{CALAMITY, Fleet};

/// Kills a build as soon as it has told so many events. `None` when it ended before.
fn killed_after(fleet: &Fleet, target: &str, events: usize) -> Option<()> {
    let mut running = fleet.start(&["build", target, "--json"]);
    let began = Instant::now();
    loop {
        let said = running.said();
        if said.lines().count() >= events {
            break;
        }
        assert!(began.elapsed() < Duration::from_secs(60), "{target} does not go on:\n{said}");
        std::thread::sleep(Duration::from_millis(1));
    }
    running.kill();
    let ran = running.end();
    (ran.status.code().is_none()).then_some(())
}

/// After the cut: the run says what it is, everything known can be read, nothing is lost, and the same target ends well.
fn all_is_well(fleet: &Fleet, target: &str, events: usize) {
    let place = format!("{target}, killed after event {events}");
    let runs = fleet.pmx(&["runs", "-n", "1", "--json"]).exits(0).lines();
    let (state, id) = (runs[0]["state"].as_str(), runs[0]["id"].as_str().unwrap_or_default().to_owned());
    assert_eq!(state, Some("interrupted"), "{place}");
    fleet.pmx(&["run", &id]).exits(0).says("interrupted");
    for version in fleet.pmx(&["ls", "--json"]).exits(0).lines() {
        let name = version["resource"].as_str().unwrap_or_default();
        fleet.pmx(&["show", name]).exits(0);
    }
    fleet.pmx(&["log"]).exits(0);
    fleet.pmx(&["fsck"]).exits(0).says("every chain is whole");
    let ran = fleet.build(&[target]);
    assert_eq!(ran.status.code(), Some(0), "{place}: {ran}");
}

#[test]
fn a_run_killed_at_any_event_leaves_a_whole_store_and_the_next_run_succeeds() {
    let fleet = Fleet::up();
    let whole = fleet.build(&["stop-calamity", "--json"]).exits(0).lines().len();
    let back = fleet.build(&["start-calamity", "--json"]).exits(0).lines().len();
    let mut cut: BTreeSet<(&str, usize)> = BTreeSet::new();
    for step in 0..whole.max(back) {
        let moments = [("stop-calamity", whole, 1 + 2 * step), ("start-calamity", back, 1 + step)];
        for (target, last, events) in moments.into_iter().filter(|(_, last, events)| events < last) {
            if killed_after(&fleet, target, events).is_some() {
                all_is_well(&fleet, target, events);
                cut.insert((target, events));
            } else {
                fleet.build(&[target]).exits(0);
            }
            let off = fleet.vm(CALAMITY).phase == Phase::Off;
            assert_eq!(off, target == "stop-calamity", "after {target}");
            let _ = last;
        }
        if cut.len() >= 18 {
            break;
        }
    }
    assert!(cut.len() >= 15, "only {} cuts hit a run", cut.len());
}
