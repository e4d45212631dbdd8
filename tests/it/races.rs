//! Races that no lease can decide: somebody outside takes a number, a name or a machine at the same moment, or pmx itself does from another store.
#![expect(clippy::print_stdout, reason = "the figures, for whoever asks with --nocapture")]

use pmx::lab::control::{Request, Tinker};
use pmx::lab::world::Phase;

use super::fleet::{CALAMITY, Fleet, effects};
use super::leases;
use super::sandbox::{Ran, Running, Sandbox};

const NODE: &str = "/nodes/keeb-dev-02/qemu";
const CREATE: (&str, &str) = ("POST", NODE);

/// A fleet on which two stores work: `lab`, and `other` of a profile that differs in nothing else.
fn shared() -> Fleet {
    let own = Sandbox::own();
    let text = own.read("Pmxfile.toml");
    let profile = &text[text.find("[profile.lab] ").unwrap_or_else(|| panic!("the Pmxfile has the profile lab:\n{text}"))..];
    let other = profile.replace("[profile.lab", "[profile.other").replace("store = \"store/lab\"", "store = \"store/other\"");
    let other = other.replace("\"store/lab/vaults\"", "\"store/other/vaults\"");
    let fleet = Fleet::of(own.file("Pmxfile.toml", &format!("{text}\n{other}")));
    fleet.wake();
    fleet
}

fn build<'a>(fleet: &'a Fleet, profile: &str, arguments: &[&str]) -> Running<'a> {
    fleet.sandbox.start(&[&["--profile", profile, "build"], arguments].concat())
}

fn ends(running: Vec<Running<'_>>) -> Vec<Ran> {
    running.into_iter().map(Running::end).collect()
}

/// `/cluster/nextid` reserves nothing: each time the number that it gave is taken before it is used.
#[test]
fn a_number_that_somebody_takes_is_not_used_twice() {
    let fleet = Fleet::up();
    let taken = [110, 111, 112];
    for (count, vmid) in (1..).zip(taken) {
        fleet.ambush(CREATE, count, Request::Stranger { vmid, name: format!("theirs-{vmid}") });
    }
    fleet.build(&["create-vm", "-i", "vmName=mine"]).exits(0);
    let mine = fleet.named("mine").expect("it was made").vmid;
    assert!(!taken.contains(&mine), "{mine}");
    for vmid in taken {
        assert_eq!(fleet.vm(vmid).name, format!("theirs-{vmid}"));
    }
    assert_eq!(fleet.status().vms.iter().filter(|vm| vm.name == "mine").count(), 1);
}

#[test]
fn four_creates_from_two_stores_get_four_numbers() {
    let fleet = shared();
    let creates = [("lab", "one"), ("other", "two"), ("lab", "three"), ("other", "four")];
    let inputs = creates.map(|(_, name)| format!("vmName={name}"));
    let running = creates.iter().zip(&inputs).map(|((profile, _), input)| build(&fleet, profile, &["create-vm", "-i", input])).collect();
    for ran in ends(running) {
        ran.exits(0);
    }
    let mut numbers: Vec<u32> = creates.iter().filter_map(|(_, name)| Some(fleet.named(name)?.vmid)).collect();
    numbers.sort_unstable();
    numbers.dedup();
    assert_eq!(numbers.len(), 4, "{numbers:?}");
}

/// Proxmox knows no pmx: from two stores one start is its, the other sees that it runs, or is told so.
#[test]
fn two_starts_from_two_stores_start_it_once() {
    let fleet = shared();
    let start = ["start-vm", "-i", "vmName=satisfactory"];
    for ran in ends(vec![build(&fleet, "lab", &start), build(&fleet, "other", &start)]) {
        ran.exits(0);
    }
    assert_ne!(fleet.vm(104).phase, Phase::Off);
    let reached = fleet.requests().into_iter().filter(|served| served.path.ends_with("/104/status/start") && served.status == 200).count();
    assert!((1..=2).contains(&reached), "{reached}");
    fleet.pmx(&["fsck"]).exits(0);
}

/// Between the look and the request somebody else does what was about to be done.
#[test]
fn what_somebody_did_in_the_last_moment_is_not_an_error() {
    let fleet = Fleet::up();
    fleet.ambush(("POST", "/nodes/keeb-dev-02/qemu/104/status/start"), 1, Request::Tinker { vmid: 104, change: Tinker::PowerOn });
    fleet.build(&["start-vm", "-i", "vmName=satisfactory"]).exits(0);
    assert_ne!(fleet.vm(104).phase, Phase::Off);
    fleet.ambush(("POST", "/nodes/keeb-dev-02/qemu/107/status/shutdown"), 1, Request::Tinker { vmid: CALAMITY, change: Tinker::PowerOff });
    fleet.build(&["stop-vm", "-i", "vmName=calamity"]).exits(0);
    assert_eq!(fleet.vm(CALAMITY).phase, Phase::Off);
}

#[test]
fn a_machine_that_vanishes_before_its_start_is_named() {
    let fleet = Fleet::up();
    fleet.build(&["sync-fleet"]).exits(0);
    fleet.requests();
    fleet.ambush(("POST", "/nodes/keeb-dev-02/qemu/104/status/start"), 1, Request::Gone { vmid: 104 });
    let ran = fleet.build(&["start-vm", "-i", "vmName=satisfactory"]).exits(1).says("qmstart of 104 failed: Configuration file");
    assert_eq!(effects(&fleet.requests()).len(), 1, "{ran}");
}

/// Each race of `leases` and of this file, as often as `PMX_RACES` says.
#[test]
#[ignore = "takes minutes; `just torture` runs it"]
fn every_race_again_and_again() {
    let rounds = std::env::var("PMX_RACES").ok().and_then(|text| text.parse().ok()).unwrap_or(10);
    let races: [(&str, u32, fn()); 9] = [
        ("two creates of one name", 2, leases::two_creates_of_one_name_make_one_vm),
        ("two starts", 2, leases::two_starts_of_one_vm_start_it_once),
        ("a start beside a stop, three times", 6, leases::a_start_beside_a_stop_comes_before_or_after_it),
        ("four creates", 4, leases::four_creates_at_once_get_four_numbers),
        ("eight stops", 8, leases::eight_processes_stop_a_server_once),
        ("numbers taken", 1, a_number_that_somebody_takes_is_not_used_twice),
        ("four creates from two stores", 4, four_creates_from_two_stores_get_four_numbers),
        ("two starts from two stores", 2, two_starts_from_two_stores_start_it_once),
        ("what somebody did", 2, what_somebody_did_in_the_last_moment_is_not_an_error),
    ];
    for (name, processes, race) in races {
        (0..rounds).for_each(|_| race());
        println!("{name}: {rounds} races of {processes} processes");
    }
}
