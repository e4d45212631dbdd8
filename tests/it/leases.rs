//! Several processes on one fleet: who came first acts first, what is independent goes on, and every effect happens once.

use serde_json::Value as Json;

use pmx::lab::world::Phase;

use super::fleet::{CALAMITY, Fleet, effects};
use super::sandbox::{Ran, Running};

const STOP: [&str; 3] = ["fleet.stop", "-i", "vmName=calamity"];
const START: [&str; 3] = ["fleet.start", "-i", "vmName=calamity"];

/// Starts builds at the same time.
fn at_once<'a>(fleet: &'a Fleet, builds: &[&[&str]]) -> Vec<Running<'a>> {
    builds.iter().map(|arguments| fleet.start(&[&["build"], *arguments].concat())).collect()
}

fn ends(running: Vec<Running<'_>>) -> Vec<Ran> {
    running.into_iter().map(Running::end).collect()
}

/// A build that holds calamity: a backup has locked it, and the build waits for that until the fleet is healed.
fn holder(fleet: &Fleet) -> Running<'_> {
    fleet.fault("locked", Some(CALAMITY));
    let mut holder = fleet.start(&["build", "fleet.stop", "-i", "vmName=calamity"]);
    holder.wait_for("locked (backup)");
    holder
}

/// Starts a build that has to wait, and returns when it does.
fn waiter<'a>(fleet: &'a Fleet, arguments: &[&str]) -> Running<'a> {
    let mut waiter = fleet.start(&[&["build"], arguments].concat());
    waiter.wait_for("waiting for fleet/vm/calamity: run ");
    waiter
}

/// The last seven digits of the newest run's id.
fn newest(fleet: &Fleet) -> String {
    let runs = fleet.pmx(&["runs", "-n", "1", "--json"]).exits(0).lines();
    let id = runs[0]["id"].as_str().unwrap_or_default();
    id[id.len() - 7..].to_owned()
}

/// When the first effect of a build began, by its events.
fn began(ran: &Ran) -> String {
    let acts = |event: &&Json| event["event"] == "action-started" && matches!(event["call"].as_str(), Some("fleet.stop" | "fleet.start"));
    let events = ran.lines();
    let first = events.iter().find(acts).unwrap_or_else(|| panic!("nothing began: {ran}"));
    first["at"].as_str().unwrap_or_default().to_owned()
}

#[test]
pub fn two_creates_of_one_name_make_one_vm() {
    let fleet = Fleet::up();
    fleet.requests();
    let both = ends(at_once(&fleet, &[&["create-vm", "-i", "vmName=twin"], &["create-vm", "-i", "vmName=twin"]]));
    let mut codes: Vec<Option<i32>> = both.iter().map(|ran| ran.status.code()).collect();
    codes.sort_unstable();
    assert_eq!(codes, [Some(0), Some(3)], "{both:?}");
    for ran in both.into_iter().filter(|ran| ran.status.code() == Some(3)) {
        ran.says("the name `twin` is taken by vmid ").says("choose another name");
    }
    assert_eq!(effects(&fleet.requests()), ["POST /nodes/keeb-dev-02/qemu"]);
    assert_eq!(fleet.status().vms.iter().filter(|vm| vm.name == "twin").count(), 1);
}

#[test]
pub fn two_starts_of_one_vm_start_it_once() {
    let fleet = Fleet::up();
    fleet.requests();
    let start = ["start-vm", "-i", "vmName=satisfactory"];
    for ran in ends(at_once(&fleet, &[&start, &start])) {
        ran.exits(0);
    }
    assert_eq!(effects(&fleet.requests()), ["POST /nodes/keeb-dev-02/qemu/104/status/start"]);
    assert_ne!(fleet.vm(104).phase, Phase::Off);
}

#[test]
pub fn a_start_beside_a_stop_comes_before_or_after_it() {
    let fleet = Fleet::up();
    for round in 0..3 {
        let was_off = fleet.vm(CALAMITY).phase == Phase::Off;
        fleet.requests();
        for ran in ends(at_once(&fleet, &[&STOP, &START])) {
            ran.exits(0);
        }
        let done: Vec<String> =
            effects(&fleet.requests()).iter().filter_map(|effect| effect.rsplit('/').next().map(str::to_owned)).collect();
        let off = fleet.vm(CALAMITY).phase == Phase::Off;
        let words: Vec<&str> = done.iter().map(String::as_str).collect();
        // Stopping what is off and starting what runs is nothing; everything else happened once, and the last one decides.
        let fits = matches!(
            (was_off, words.as_slice(), off),
            (false, ["shutdown", "start"], false)
                | (false, ["shutdown"], true)
                | (true, ["start", "shutdown"], true)
                | (true, ["start"], false)
        );
        assert!(fits, "round {round}: off before: {was_off}, after: {off}, and {words:?} between");
    }
}

#[test]
pub fn four_creates_at_once_get_four_numbers() {
    let fleet = Fleet::up();
    let names = ["one", "two", "three", "four"];
    let inputs = names.map(|name| format!("vmName={name}"));
    let builds: Vec<[&str; 3]> = inputs.iter().map(|input| ["create-vm", "-i", input.as_str()]).collect();
    let builds: Vec<&[&str]> = builds.iter().map(<[&str; 3]>::as_slice).collect();
    for ran in ends(at_once(&fleet, &builds)) {
        ran.exits(0);
    }
    let mut numbers: Vec<u32> = names.iter().map(|name| fleet.named(name).unwrap_or_else(|| panic!("there is no {name}")).vmid).collect();
    numbers.sort_unstable();
    numbers.dedup();
    assert_eq!(numbers.len(), 4, "{numbers:?}");
    fleet.pmx(&["fsck"]).exits(0);
}

#[test]
pub fn eight_processes_stop_a_server_once() {
    let fleet = Fleet::up();
    fleet.build(&["status-calamity"]).exits(0);
    fleet.requests();
    for ran in ends(at_once(&fleet, &[&["stop-calamity"][..]; 8])) {
        ran.exits(0);
    }
    let requests = fleet.requests();
    assert_eq!(effects(&requests), ["POST /nodes/keeb-dev-02/qemu/107/status/shutdown"], "{requests:?}");
    assert_eq!(fleet.vm(CALAMITY).phase, Phase::Off);
    let versions = fleet.pmx(&["log", "fleet/vm/calamity", "--json"]).exits(0).lines();
    assert!(versions.len() >= 9, "each of the eight stored what it found: {}", versions.len());
    fleet.pmx(&["fsck"]).exits(0).says("every chain is whole");
}

#[test]
fn a_slow_vm_holds_up_no_other_vm() {
    // Old system, 4: all VMs were one model, and one slow start blocked every other VM.
    let fleet = Fleet::up();
    let holder = holder(&fleet);
    fleet.build(&["start-vm", "-i", "vmName=satisfactory"]).exits(0).keeps_quiet_about("waiting for fleet/vm/calamity");
    assert_ne!(fleet.vm(104).phase, Phase::Off);
    assert_ne!(fleet.vm(CALAMITY).phase, Phase::Off, "the other one still waits");
    fleet.heal();
    holder.end().exits(0);
    assert_eq!(fleet.vm(CALAMITY).phase, Phase::Off);
}

#[test]
fn a_waiter_says_who_holds_what_since_when() {
    // Old system, 5: it failed after 60 s, naming a path and a pid.
    let fleet = Fleet::up();
    let holder = holder(&fleet);
    let run = newest(&fleet);
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let who = format!("run {run} by cli:tester@{}, fleet.stop, ", host.trim());
    fleet.build(&[&START[..], &["--no-wait"]].concat()).exits(3).says(&format!("fleet/vm/calamity is taken: {who}")).says("--no-wait");
    let mut plain = waiter(&fleet, &START);
    plain.wait_for(&format!("… waiting for fleet/vm/calamity: {who}"));
    let mut json = fleet.start(&[&["build", "--json"], &STOP[..]].concat());
    json.wait_for("\"leases\"");
    fleet.build(&["fleet.lookup", "-i", "vmName=calamity"]).exits(0).keeps_quiet_about("waiting for fleet/vm");
    plain.interrupt();
    plain.end().exits(130).says(&format!("stopped while waiting for {who}"));
    fleet.heal();
    holder.end().exits(0);
    let json = json.end().exits(0).lines();
    let waits: Vec<&Json> = json.iter().filter(|event| event["event"] == "leases").collect();
    let first = &waits[0]["on"][0];
    assert_eq!((&first["what"], &first["step"]), (&"fleet/vm/calamity".into(), &"fleet.stop".into()), "{first}");
    assert!(first["run"].as_str().is_some_and(|id| id.ends_with(&run)) && first["since"].is_string(), "{first}");
    assert_eq!(waits.last().map(|event| &event["waiting"]), Some(&"".into()));
}

#[test]
fn who_came_first_is_served_first() {
    let fleet = Fleet::up();
    let holder = holder(&fleet);
    let json = |arguments: &[&str]| {
        let mut waiter = fleet.start(&[&["build", "--json"], arguments].concat());
        waiter.wait_for("waiting for fleet/vm/calamity: run ");
        waiter
    };
    let waiters: Vec<Running<'_>> = [START, STOP, START, STOP, START].iter().map(|arguments| json(arguments)).collect();
    fleet.heal();
    holder.end().exits(0);
    let times: Vec<String> = ends(waiters).into_iter().map(|ran| began(&ran.exits(0))).collect();
    assert!(times.is_sorted(), "{times:?}");
    assert_ne!(fleet.vm(CALAMITY).phase, Phase::Off, "the last one started it");
}

#[test]
fn a_killed_holder_lets_the_next_one_in_and_a_killed_waiter_blocks_nobody() {
    let fleet = Fleet::up();
    let mut holder = holder(&fleet);
    let mut second = waiter(&fleet, &START);
    let mut third = waiter(&fleet, &STOP);
    second.kill();
    assert_eq!(second.end().status.code(), None);
    holder.kill();
    third.wait_for("locked (backup)");
    fleet.heal();
    third.end().exits(0);
    assert_eq!(holder.end().status.code(), None);
    assert_eq!(fleet.vm(CALAMITY).phase, Phase::Off);
    // Nothing is left to wait for.
    fleet.build(&[&START[..], &["--no-wait"]].concat()).exits(0);
}
