//! Destroying: what is deleted is the machine that was shown, whoever exchanges machines in the meantime, and only after somebody has said its name.

use pmx::lab::control::{Request, Tinker};
use serde_json::Value as Json;

use super::fleet::{Fleet, effects};
use super::real::needs;
use super::sandbox::{Ran, Sandbox};

const GOLD: u32 = 109;
const NODE: &str = "/nodes/keeb-dev-02/qemu";
const OTHER: &str = "11111111-2222-4333-8444-555555555555";

/// The configuration of the gold image, which is read for the proof, and once more before the request.
fn config() -> (&'static str, &'static str) {
    ("GET", "/nodes/keeb-dev-02/qemu/109/config")
}

fn delete(fleet: &Fleet) -> Ran {
    fleet.build(&["delete-vm", "-i", "vmName=gold-image", "--yes", "gold-image"])
}

/// A fleet that was looked at, so that a version can be shown.
fn seen() -> Fleet {
    let fleet = Fleet::up();
    fleet.build(&["sync-fleet"]).exits(0);
    fleet.requests();
    fleet
}

/// Nothing was deleted: the machine of that number is there, and no request asked for its end.
#[track_caller]
fn stands(fleet: &Fleet, ran: &Ran) {
    assert!(fleet.machine(GOLD).is_some(), "{ran}");
    assert_eq!(effects(&fleet.requests()), Vec::<String>::new(), "{ran}");
}

/// Another machine in the place of the gold image: the old one was deleted, and its number used again.
fn exchange(fleet: &Fleet, count: u32, name: &str) {
    fleet.ambush(config(), count, Request::Gone { vmid: GOLD });
    fleet.ambush(config(), count, Request::Stranger { vmid: GOLD, name: name.to_owned() });
}

/// Each proof by itself, the machine being exchanged before the proof is read, or between the proof and the request.
#[test]
fn a_machine_that_was_exchanged_is_not_deleted() {
    let cases = [
        (1, Tinker::Uuid(OTHER.into()), "its SMBIOS uuid is 11111111-2222-4333-8444-555555555555, but the version shown has "),
        (1, Tinker::Name("silver".into()), "its name is `silver`, but `gold-image` is to be deleted"),
        (1, Tinker::Value("protection".into(), Some("1".into())), "it is protected in Proxmox"),
        (2, Tinker::Uuid(OTHER.into()), "vmid 109 became another machine while it was looked at"),
        (2, Tinker::Name("silver".into()), "vmid 109 became another machine while it was looked at, silver"),
        (2, Tinker::Value("description".into(), Some("mine now".into())), "somebody changed its configuration while it was looked at"),
    ];
    let fleet = seen();
    let before = fleet.vm(GOLD);
    for (count, change, why) in cases {
        let vmid = GOLD;
        fleet.ambush(config(), count, Request::Tinker { vmid, change });
        let ran = delete(&fleet).exits(3).says(why).says("is not deleted");
        stands(&fleet, &ran);
        let uuid = before.uuid.clone().unwrap_or_default();
        for back in [Tinker::Uuid(uuid), Tinker::Name(before.name.clone()), Tinker::Value("protection".into(), None)] {
            fleet.tinker(GOLD, back);
        }
    }
    delete(&fleet).exits(0);
    assert_eq!(fleet.machine(GOLD), None, "with all of that undone it is the machine that was shown");
}

#[test]
fn a_number_that_was_given_to_another_machine_is_left_alone() {
    let fleet = Fleet::up();
    for (count, name, why) in [
        (1, "gold-image", "it is another machine"),
        (1, "web", "its name is `web`"),
        (2, "gold-image", "vmid 109 became another machine"),
        (2, "web", "became another machine while it was looked at, web"),
    ] {
        fleet.tinker(GOLD, Tinker::Name("gold-image".into()));
        fleet.build(&["sync-fleet"]).exits(0);
        fleet.requests();
        let before = fleet.vm(GOLD).uuid;
        exchange(&fleet, count, name);
        let ran = delete(&fleet).exits(3).says(why).says("is not deleted");
        stands(&fleet, &ran);
        assert_ne!(fleet.vm(GOLD).uuid, before, "it had been exchanged");
    }
}

#[test]
fn a_name_that_moved_to_another_number_is_left_alone() {
    let fleet = seen();
    fleet.tinker(GOLD, Tinker::Name("silver".into()));
    fleet.ask(&Request::Stranger { vmid: 300, name: "gold-image".into() });
    let ran = delete(&fleet).exits(3).says("its vmid is 300, but the version shown has 109");
    stands(&fleet, &ran);
    assert!(fleet.machine(300).is_some());
    // Two of one name: which one is meant nobody can know.
    fleet.tinker(GOLD, Tinker::Name("gold-image".into()));
    let ran = delete(&fleet);
    assert_ne!(ran.status.code(), Some(0), "{ran}");
    stands(&fleet, &ran);
}

#[test]
fn a_machine_that_goes_or_starts_in_the_last_moment_is_no_loss() {
    let fleet = seen();
    let status = ("GET", "/nodes/keeb-dev-02/qemu/109/status/current");
    for (count, why) in [(1, "it runs"), (2, "it was started while it was looked at")] {
        fleet.ambush(status, count, Request::Tinker { vmid: GOLD, change: Tinker::PowerOn });
        let ran = delete(&fleet).exits(3).says(why);
        stands(&fleet, &ran);
        fleet.tinker(GOLD, Tinker::PowerOff);
    }
    // After the last look Proxmox itself is the one who refuses.
    fleet.ambush(("DELETE", "/nodes/keeb-dev-02/qemu/109"), 1, Request::Tinker { vmid: GOLD, change: Tinker::PowerOn });
    delete(&fleet).exits(1).says("VM 109 is running - destroy failed");
    assert!(fleet.machine(GOLD).is_some());
    fleet.requests();
    fleet.tinker(GOLD, Tinker::PowerOff);
    fleet.ambush(config(), 2, Request::Gone { vmid: GOLD });
    delete(&fleet).exits(0).says("is gone already").says("1 unchanged");
    assert_eq!(effects(&fleet.requests()), Vec::<String>::new());
}

#[test]
fn protection_in_proxmox_is_heeded_also_for_a_machine_of_this_run() {
    let fleet = seen();
    fleet.tinker(GOLD, Tinker::Value("protection".into(), Some("1".into())));
    let ran = delete(&fleet).exits(3).says("it is protected in Proxmox (protection = 1)").says("takes that away");
    stands(&fleet, &ran);
    // Made by this run, protected by somebody before its cleanup.
    let then = Request::Tinker { vmid: 110, change: Tinker::Value("protection".into(), Some("1".into())) };
    fleet.ambush(("POST", "/nodes/keeb-dev-02/qemu/110/status/shutdown"), 1, then);
    fleet.build(&["vm-lifecycle-test"]).says("it is protected in Proxmox");
    assert!(fleet.named("test-lifecycle-vm").is_some());
}

/// The cleanup finds another machine under the name that its own run had made.
#[test]
fn a_cleanup_deletes_only_what_carries_the_mark_of_its_run() {
    let fleet = Fleet::up();
    let shutdown = ("POST", "/nodes/keeb-dev-02/qemu/110/status/shutdown");
    fleet.ambush(shutdown, 1, Request::Gone { vmid: 110 });
    fleet.ambush(shutdown, 1, Request::Stranger { vmid: 110, name: "test-lifecycle-vm".into() });
    let ran = fleet.build(&["vm-lifecycle-test", "--yes", "test-lifecycle-vm"]);
    assert_ne!(ran.status.code(), Some(0), "{ran}");
    assert!(fleet.named("test-lifecycle-vm").is_some(), "the stranger stands: {ran}");
    ran.says("it does not carry the mark of this run").says("this run did not make it");
    assert!(!effects(&fleet.requests()).iter().any(|effect| effect.starts_with("DELETE")));
}

#[test]
fn a_machine_that_this_run_made_needs_no_confirmation() {
    let text = "[[step]]\nname = \"make\"\ncall = \"fleet.create\"\nwith = { vmName = \"brief\" }\n\n\
                [[step]]\nname = \"unmake\"\ncall = \"fleet.delete\"\nwith = { vmName = \"brief\" }\n";
    let fleet = Fleet::of(Sandbox::own().file("workflows/brief.toml", text));
    fleet.wake();
    fleet.build(&["brief"]).exits(0).says("deleted brief");
    assert_eq!(effects(&fleet.requests()), [format!("POST {NODE}"), format!("DELETE {NODE}/110")]);
    // Another run has not made it.
    fleet.build(&["create-vm", "-i", "vmName=brief"]).exits(0);
    fleet.build(&["delete-vm", "-i", "vmName=brief"]).exits(3).says("was not confirmed").says("--yes brief");
    assert!(fleet.named("brief").is_some());
}

/// Types a line at a terminal when the name is asked for.
fn typed(fleet: &Fleet, line: &str) -> Ran {
    // The answer waits in the terminal until it is asked for.
    let script = format!("printf '%s\\n' '{line}' | script -qefc 'pmx --profile lab build delete-vm -i vmName=gold-image' /dev/null");
    fleet.sandbox.shell(&script)
}

#[test]
fn on_a_terminal_the_name_is_typed() {
    let Some([_]) = needs(["script"]) else { return };
    let fleet = seen();
    for wrong in ["yes", "gold-imag", "gold-image2", "GOLD-IMAGE", "slate", ""] {
        let ran = typed(&fleet, wrong).exits(3).says("Type its name to go on").says("was not confirmed");
        stands(&fleet, &ran);
    }
    // What was shown while it was asked for is what is compared.
    exchange(&fleet, 1, "gold-image");
    let ran = typed(&fleet, "gold-image").exits(3).says("vmid = 109").says("it is another machine");
    stands(&fleet, &ran);
    fleet.build(&["sync-fleet"]).exits(0);
    fleet.requests();
    typed(&fleet, "gold-image").exits(0).says("deleted gold-image");
    assert_eq!(fleet.machine(GOLD), None);
}

#[test]
fn without_a_terminal_nothing_is_asked_and_the_refusal_says_what_to_give() {
    let fleet = seen();
    let ran = fleet.build(&["delete-vm", "-i", "vmName=gold-image", "--json"]).exits(3).says("nobody is there to be asked");
    stands(&fleet, &ran);
    for wrong in ["gold-imag", "GOLD-IMAGE", "109", "yes"] {
        let ran = fleet.build(&["delete-vm", "-i", "vmName=gold-image", "--yes", wrong]).exits(3).says("--yes gold-image");
        stands(&fleet, &ran);
    }
    let several = fleet.build(&["delete-vm", "-i", "vmName=gold-image", "--yes", "slate", "--yes", "gold-image"]).exits(0);
    let shown: Json = fleet.pmx(&["show", "fleet/vm/gold-image", "--json"]).exits(0).json();
    assert_eq!(shown["attributes"]["status"], "deleted", "{several}");
}

#[test]
fn a_protected_name_is_refused_whatever_is_confirmed() {
    let fleet = seen();
    let ran = fleet.build(&["delete-vm", "-i", "vmName=tftp-server", "--yes", "tftp-server"]).exits(3);
    ran.says("`tftp-server` is never deleted: [protect] vms in the Pmxfile names it");
    assert_eq!(effects(&fleet.requests()), Vec::<String>::new());
    assert!(fleet.named("tftp-server").is_some());
}
