//! VMs that come and go: what is made is deleted, what somebody else made is not, and nothing is deleted without its name and its proof.

use pmx::lab::control::{Request, Tinker};
use pmx::lab::world::Phase;

use super::fleet::{Fleet, effects};
use super::sandbox::Sandbox;

const NODE: &str = "/nodes/keeb-dev-02/qemu";

#[test]
fn a_throw_away_vm_is_made_started_stopped_and_deleted() {
    let fleet = Fleet::up();
    let before = fleet.status().vms;
    fleet.build(&["vm-lifecycle-test"]).exits(0).says("deleted test-lifecycle-vm");
    let did = effects(&fleet.requests());
    let whole = [
        format!("POST {NODE}"),
        format!("POST {NODE}/110/status/start"),
        format!("POST {NODE}/110/status/shutdown"),
        format!("DELETE {NODE}/110"),
    ];
    assert_eq!(did, whole);
    fleet.build(&["guest-agent-test"]).exits(0).says("at 10.0.0.").says("deleted test-guest-agent-vm");
    assert_eq!(fleet.status().vms.len(), before.len());
    let log = fleet.pmx(&["log", "fleet/vm/test-lifecycle-vm"]).exits(0);
    log.says("status: \"stopped\" → \"deleted\"");
}

#[test]
fn a_stranger_with_the_name_of_the_throw_away_vm_is_left_alone() {
    let fleet = Fleet::up();
    for (vmid, workflow, name) in [(555, "vm-lifecycle-test", "test-lifecycle-vm"), (556, "guest-agent-test", "test-guest-agent-vm")] {
        fleet.ask(&Request::Stranger { vmid, name: name.into() });
        fleet.tinker(vmid, Tinker::PowerOn);
        let before = fleet.vm(vmid);
        let ran = fleet.build(&[workflow, "--yes", name]).exits(3).says(&format!("the name `{name}` is taken by vmid {vmid}"));
        assert_eq!(effects(&fleet.requests()), Vec::<String>::new(), "{ran}");
        assert_eq!(fleet.vm(vmid), before);
        assert_ne!(before.phase, Phase::Off);
        ran.keeps_quiet_about("deleted").says("choose another name, or delete that VM");
    }
}

/// The old system left such a VM behind: a cleanup step behind a failed one stayed pending.
#[test]
fn a_cleanup_step_runs_after_a_failure_in_the_middle() {
    let elsewhere = r#"with = { vmName = "atm10" }"#;
    let start = "call = \"fleet.start\"\nwith = { vmName = '${{ inputs.vmName }}' }";
    let sandbox = Sandbox::own().replace("workflows/vm-lifecycle-test.toml", start, &format!("call = \"fleet.start\"\n{elsewhere}"));
    let fleet = Fleet::of(sandbox);
    fleet.wake();
    fleet.fault("task-fails:no space left", Some(101));
    let ran = fleet.build(&["vm-lifecycle-test"]).exits(1).says("no space left");
    assert!(fleet.named("test-lifecycle-vm").is_none(), "{ran}");
    ran.says("deleted test-lifecycle-vm");
}

#[test]
fn a_vm_that_never_got_an_address_is_deleted_all_the_same() {
    let fleet = Fleet::of(Sandbox::own().replace("definitions/fleet.toml", "waitSeconds = 120", "waitSeconds = 1"));
    fleet.wake();
    fleet.fault("agent-absent", None);
    let ran = fleet.build(&["vm-lifecycle-test", "--json"]);
    assert!(fleet.named("test-lifecycle-vm").is_none(), "{ran}");
    // This one is there to prove the address, so it fails without one.
    let ran = fleet.build(&["guest-agent-test"]).exits(1).says("the guest agent does not answer");
    assert!(fleet.named("test-guest-agent-vm").is_none(), "{ran}");
    ran.says("deleted test-guest-agent-vm");
}

#[test]
fn delete_asks_for_the_name() {
    let fleet = Fleet::up();
    let delete = |more: &[&str]| fleet.build(&[&["delete-vm", "-i", "vmName=gold-image"], more].concat());
    delete(&[]).exits(3).says("was not confirmed").says("--yes gold-image");
    delete(&["--yes", "slate"]).exits(3).says("was not confirmed");
    let answered = fleet.sandbox.pmx_with_input(&["--profile", "lab", "build", "delete-vm", "-i", "vmName=gold-image"], "gold-image\n");
    answered.exits(3).says("was not confirmed");
    assert!(effects(&fleet.requests()).is_empty());
    delete(&["--yes", "gold-image"]).exits(0);
    assert_eq!(fleet.machine(109), None);
}

#[test]
fn delete_refuses_protected_running_and_exchanged_machines() {
    let fleet = Fleet::up();
    let delete = |name: &str| fleet.build(&["delete-vm", "-i", &format!("vmName={name}"), "--yes", name]);
    delete("tftp-server").exits(3).says("[protect]");
    delete("allthemons").exits(3).says("it runs");
    fleet.build(&["sync-fleet"]).exits(0);
    fleet.tinker(109, Tinker::Uuid("11111111-2222-4333-8444-555555555555".into()));
    let ran = delete("gold-image").exits(3).says("it is another machine").says("11111111-2222-4333-8444-555555555555");
    assert!(effects(&fleet.requests()).is_empty(), "{ran}");
    assert!(fleet.machine(109).is_some());
    fleet.tinker(105, Tinker::Name("renamed".into()));
    delete("meatballcraft").exits(3).says("vmid 105 is now called `renamed`");
    assert!(effects(&fleet.requests()).is_empty());
}

#[test]
fn destroy_slate_stops_and_deletes_slate_and_nothing_else() {
    let fleet = Fleet::up();
    let others =
        |fleet: &Fleet| fleet.status().vms.into_iter().filter(|vm| vm.name != "slate").map(|vm| (vm.vmid, vm.phase)).collect::<Vec<_>>();
    let before = others(&fleet);
    fleet.requests();
    fleet.build(&["destroy-slate"]).exits(3).says("was not confirmed").says("--yes slate");
    assert!(effects(&fleet.requests()).is_empty(), "what may not be deleted is not stopped either");
    fleet.build(&["destroy-slate", "--yes", "slate"]).exits(0);
    assert_eq!(fleet.named("slate"), None);
    assert_eq!(others(&fleet), before);
    fleet.build(&["destroy-slate", "--yes", "slate"]).says("slate");
}

#[test]
fn create_twice_is_refused_and_a_name_with_a_space_is_a_name() {
    let fleet = Fleet::up();
    fleet.build(&["create-vm", "-i", "vmName=test-twice"]).exits(0);
    fleet.requests();
    fleet.build(&["create-vm", "-i", "vmName=test-twice"]).exits(3).says("taken by vmid 110");
    assert!(effects(&fleet.requests()).is_empty());
    fleet.build(&["start-vm", "-i", "vmName=VM 102"]).exits(0).says("started VM 102 (vmid 102)");
    let shown = fleet.pmx(&["show", "fleet/vm/VM 102", "--json"]).exits(0).json();
    assert_eq!((shown["attributes"]["status"].as_str(), shown["attributes"]["vmid"].as_i64()), (Some("running"), Some(102)));
    fleet.build(&["stop-vm", "-i", "vmName=VM 102"]).exits(0);
    assert_eq!(fleet.vm(102).phase, Phase::Off);
}
