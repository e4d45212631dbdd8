//! A VM that is made from nothing, and the process that makes it killed at each kind of event: the store is whole each time, and the run goes on to its end
//! with each thing done once.
#![expect(clippy::print_stdout, reason = "the figures, for whoever asks with --nocapture")]

use std::collections::BTreeMap;
use std::time::Instant;

use super::fleet::{CALAMITY, Fleet, effects};
use super::resume::{killed, newest, nothing_repeated};
use super::sandbox::Ran;

use pmx::lab::world::Phase;

/// The node's VMs in the API.
const NODE: &str = "/nodes/keeb-dev-02/qemu";
/// Steps that cannot know whether they acted.
const DOUBTS: [&str; 2] = ["install", "warn-players"];

/// Goes on with a run to its end. What is in doubt is done again; where that is refused, because it has happened, it counts as done. Whether there was doubt.
fn resumed(fleet: &Fleet, id: &str) -> (Ran, bool) {
    let ran = fleet.build(&["--resume", id]);
    if ran.status.code() != Some(3) {
        return (ran.exits(0), false);
    }
    let step = DOUBTS.into_iter().find(|step| ran.stderr.contains(&format!("--assume {step}=done"))).unwrap_or_else(|| panic!("{ran}"));
    let ran = ran.says("nobody knows whether ");
    let answer = if step == "warn-players" { "done" } else { "again" };
    drop(ran);
    let ran = fleet.build(&["--resume", id, "--assume", &format!("{step}={answer}")]);
    if ran.status.code() == Some(0) {
        return (ran, true);
    }
    let ran = ran.says("force");
    drop(ran);
    (fleet.build(&["--resume", id, "--assume", &format!("{step}=done")]).exits(0), true)
}

/// The events of a build by their kinds, in order.
fn kinds(ran: &Ran) -> Vec<String> {
    ran.lines().iter().map(|line| line["event"].as_str().unwrap_or_default().to_owned()).collect()
}

/// The number of the first event of each kind.
fn firsts(kinds: &[String]) -> BTreeMap<&str, usize> {
    let mut found = BTreeMap::new();
    for (at, kind) in kinds.iter().enumerate() {
        found.entry(kind.as_str()).or_insert(at + 1);
    }
    found
}

/// Makes a VM and kills the process after so many events; whether it was killed.
fn made(fleet: &Fleet, name: &str, events: usize) -> bool {
    let arguments = ["create-stateful-vm", "-i", &format!("vmName={name}"), "-i", "memory=1024", "-i", "diskSize=8"];
    fleet.requests();
    let hit = killed(fleet, &arguments, events);
    let place = format!("{name}, killed after event {events}");
    if hit {
        fleet.pmx(&["fsck"]).exits(0).says("every chain is whole");
        let (id, before) = newest(fleet);
        let (ran, _) = resumed(fleet, &id);
        let (same, after) = newest(fleet);
        assert_eq!((same.as_str(), after["state"].as_str()), (id.as_str(), Some("succeeded")), "{place}: {ran}");
        nothing_repeated(&before, &after, &place);
    }
    let vm = fleet.named(name).unwrap_or_else(|| panic!("{place}: it is not there"));
    assert_ne!(vm.phase, Phase::Off, "{place}");
    let power = |action: &str| format!("POST {NODE}/{}/status/{action}", vm.vmid);
    let once = [format!("POST {NODE}"), power("start"), power("shutdown"), power("start")];
    assert_eq!(effects(&fleet.requests()), once, "{place}: each thing once");
    assert_eq!(fleet.status().vms.iter().filter(|other| other.name == name).count(), 1, "{place}");
    hit
}

#[test]
fn a_vm_made_from_nothing_is_made_once_whatever_kind_of_event_is_the_last() {
    let fleet = Fleet::up();
    let arguments = ["create-stateful-vm", "-i", "vmName=whole", "-i", "memory=1024", "-i", "diskSize=8", "--json"];
    let began = Instant::now();
    let kinds = kinds(&fleet.build(&arguments).exits(0));
    let firsts = firsts(&kinds);
    let mut hit = Vec::new();
    for (kind, events) in &firsts {
        if made(&fleet, &format!("vm-{kind}"), *events) {
            hit.push(*kind);
        }
    }
    fleet.pmx(&["fsck"]).exits(0).says("every chain is whole");
    assert!(hit.len() * 10 > firsts.len() * 6, "only {hit:?} of {firsts:?}");
    println!("killed at {} of {} kinds of event in {} s: {}", hit.len(), firsts.len(), began.elapsed().as_secs(), hit.join(", "));
}

#[test]
#[ignore = "minutes: `just torture`"]
fn hundreds_of_processes_killed_at_every_event() {
    let kills: usize =
        std::env::var("PMX_KILLS").ok().map_or(200, |text| text.parse().expect("PMX_KILLS is how many processes are killed"));
    let (mut hit, mut tried, mut round) = (0, 0, 0);
    while hit < kills {
        // A fleet of its own now and then: a node holds only so many VMs.
        let fleet = Fleet::up();
        let whole = fleet.build(&["create-stateful-vm", "-i", "vmName=whole", "-i", "memory=1024", "-i", "diskSize=8", "--json"]).exits(0);
        let making = kinds(&whole).len();
        let stopping = fleet.build(&["stop-calamity", "--json"]).exits(0).lines().len();
        let starting = fleet.build(&["start-calamity", "--json"]).exits(0).lines().len();
        for turn in 0..12 {
            if hit >= kills {
                break;
            }
            hit += usize::from(made(&fleet, &format!("vm-{turn}"), 1 + (round * 12 + turn) % making));
            tried += 1;
            for (target, events, off) in [("stop-calamity", stopping, true), ("start-calamity", starting, false)] {
                let cut = 1 + (round * 12 + turn) % events;
                if killed(&fleet, &[target], cut) {
                    fleet.pmx(&["fsck"]).exits(0).says("every chain is whole");
                    let (id, before) = newest(&fleet);
                    drop(resumed(&fleet, &id));
                    nothing_repeated(&before, &newest(&fleet).1, &format!("{target}, killed after event {cut}"));
                    hit += 1;
                }
                tried += 1;
                assert_eq!(fleet.vm(CALAMITY).phase == Phase::Off, off, "{target}, killed after event {cut}");
            }
        }
        round += 1;
        assert!(tried < 20 * kills + 100, "only {hit} of {tried} runs were killed in time");
        println!("{hit} of {tried} processes killed");
    }
}
