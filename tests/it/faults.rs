//! The fleet misbehaving: what pmx bears, what it repeats, and what it refuses.

use pmx::lab::control::Tinker;
use pmx::lab::world::Phase;

use super::fleet::{CALAMITY, Fleet, effects, logins};

#[test]
fn an_expired_ticket_is_renewed_once_for_all() {
    let fleet = Fleet::up();
    fleet.build(&["sync-fleet"]).exits(0);
    fleet.fault("ticket-expired", None);
    fleet.requests();
    fleet.build(&["stop-calamity"]).exits(0);
    let requests = fleet.requests();
    assert_eq!(logins(&requests), 1, "{requests:?}");
    assert_eq!(effects(&requests), ["POST /nodes/keeb-dev-02/qemu/107/status/shutdown"], "nothing was asked for twice");
    let chain = fleet.pmx(&["log", "keebDev02/node/node", "--json"]).exits(0).lines();
    assert_eq!(chain.len(), 2, "the renewed ticket is a version of its own");
}

/// Nobody knows whether it happened: pmx must not claim either, and the next run must find out.
#[test]
fn a_lost_write_is_no_success_and_the_next_run_looks() {
    let fleet = Fleet::up();
    for (fault, name) in [("http-596:1", "it did not happen"), ("http-596-after:1", "it happened")] {
        fleet.tinker(CALAMITY, Tinker::PowerOn);
        fleet.fault(fault, None);
        let ran = fleet.build(&["fleet.stop", "-i", "vmName=calamity"]);
        match ran.status.code() {
            Some(0) => assert_eq!(fleet.vm(CALAMITY).phase, Phase::Off, "{name}: {ran}"),
            Some(1) => drop(ran.says("596")),
            _ => panic!("{name}: {ran}"),
        }
        fleet.heal();
        fleet.build(&["fleet.stop", "-i", "vmName=calamity"]).exits(0);
        assert_eq!(fleet.vm(CALAMITY).phase, Phase::Off, "{name}");
    }
}

#[test]
fn a_task_that_ends_with_warnings_is_a_success_that_warns() {
    let fleet = Fleet::up();
    fleet.fault("task-warnings", None);
    let ran =
        fleet.build(&["fleet.stop", "-i", "vmName=calamity"]).exits(0).says("warning: ").says("a fault of the lab asks for a warning");
    assert_eq!(fleet.vm(CALAMITY).phase, Phase::Off, "{ran}");
}

#[test]
fn a_changed_host_key_is_refused_with_both_fingerprints_and_never_heals_itself() {
    let fleet = Fleet::up();
    fleet.build(&["status-calamity"]).exits(0);
    fleet.fault("host-key-changed", Some(CALAMITY));
    fleet.requests();
    for _ in 0..2 {
        let ran = fleet.build(&["stop-calamity"]).exits(1);
        let prints: std::collections::BTreeSet<&str> =
            ran.stderr.split_whitespace().filter_map(|word| word.find("SHA256:").map(|at| &word[at..at + 50])).collect();
        assert_eq!(prints.len(), 2, "the key shown and the key known: {ran}");
        assert!(effects(&fleet.requests()).is_empty(), "{ran}");
        ran.says("nothing was sent").says("`pmx doctor --forget vm:");
    }
    let doctor = fleet.pmx(&["doctor"]).exits(1);
    assert!(doctor.stdout.contains("✗ calamity: ") && doctor.stdout.contains("shows the host key"), "{doctor}");
    // Reinstalled on purpose: its name is enough, and only its pin goes.
    fleet.pmx(&["doctor", "--forget", "calamity"]).exits(0).says("forgot the host key of vm:");
    fleet.pmx(&["doctor", "--forget", "calamity"]).exits(2).says("no host key is pinned for `calamity`");
    fleet.build(&["status-calamity"]).exits(0);
    fleet.heal();
    fleet.build(&["status-calamity"]).exits(1).says("nothing was sent");
}

#[test]
fn a_locked_vm_is_waited_for_and_the_lock_is_named() {
    let fleet = Fleet::up();
    fleet.fault("locked", Some(CALAMITY));
    let mut running = fleet.start(&["build", "fleet.stop", "-i", "vmName=calamity"]);
    running.wait_for("locked (backup)");
    fleet.heal();
    running.end().exits(0).says("stopped calamity");
}

#[test]
fn a_fleet_without_rights_is_no_empty_fleet() {
    let fleet = Fleet::up();
    fleet.fault("no-rights", None);
    let ran = fleet.build(&["sync-fleet"]);
    assert_ne!(ran.status.code(), Some(0), "an empty list is what missing rights look like: {ran}");
}

#[test]
fn a_dropped_connection_is_tried_again_for_reads() {
    let fleet = Fleet::up();
    fleet.build(&["keebDev02.auth"]).exits(0);
    fleet.fault("drop-connection:1", None);
    fleet.build(&["sync-fleet"]).exits(0);
}

#[test]
fn a_second_factor_is_said_to_be_what_stands_in_the_way() {
    let fleet = Fleet::up();
    fleet.fault("tfa-required", None);
    fleet.build(&["sync-fleet"]).exits(3).says("second factor").says("use an API token");
}

#[test]
fn a_lab_that_dies_in_the_middle_fails_the_run_and_is_started_by_the_next() {
    let fleet = Fleet::up();
    fleet.build(&["sync-fleet"]).exits(0);
    fleet.kill_lab();
    fleet.build(&["status-calamity"]).exits(0);
}
