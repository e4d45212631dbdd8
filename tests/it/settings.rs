//! The node's state and a VM's settings, as the practice node has them: what pmx tells of them is what was asked and done there.

use serde_json::Value as Json;

use super::fleet::{Fleet, effects};
use super::sandbox::Sandbox;

const GOLD: u32 = 109;
/// A VM with a disk.
const DISK: u32 = 105;

fn attributes(fleet: &Fleet, resource: &str) -> Json {
    fleet.pmx(&["show", resource, "--json"]).exits(0).json()["attributes"].clone()
}

#[test]
fn the_nodes_state_is_the_one_that_the_node_tells() {
    let fleet = Fleet::up();
    fleet.build(&["keebDev02.status"]).exits(0);
    let asked = fleet.requests();
    assert!(asked.iter().any(|served| served.method == "GET" && served.path == "/nodes/keeb-dev-02/status"), "{asked:?}");
    let told = attributes(&fleet, "keebDev02/status/status");
    let version = told["version"].as_str().unwrap_or_default();
    assert!(version.contains(|letter: char| letter.is_ascii_digit()), "{told}");
    assert!(told["uptime"].as_f64() > Some(0.0), "{told}");
}

#[test]
fn a_boot_order_is_set_once_and_the_vm_is_told_whole() {
    let fleet = Fleet::up();
    let set = |order: &str| fleet.build(&["fleet.setBootOrder", "-i", "vmName=meatballcraft", "-i", &format!("boot={order}")]).exits(0);
    set("order=net0;scsi0");
    let did = effects(&fleet.requests());
    assert!(did.len() == 1 && did[0].ends_with(&format!("/qemu/{DISK}/config")), "{did:?}");
    let told = attributes(&fleet, "fleet/vm/meatballcraft");
    assert_eq!((told["boot"].as_str(), told["vmid"].as_u64()), (Some("order=net0;scsi0"), Some(u64::from(DISK))), "{told}");
    assert!(told["uuid"].is_string() && told["maxmem"].as_u64() > Some(0), "nothing is left out: {told}");
    set("order=net0;scsi0").says("unchanged");
    assert!(effects(&fleet.requests()).is_empty());
    set("order=scsi0;net0");
    assert_eq!(effects(&fleet.requests()).len(), 1);
}

#[test]
fn options_are_set_in_one_request_and_then_left_alone() {
    let step = "[[step]]\nname = \"set\"\ncall = \"fleet.setConfig\"\n\
                with = { vmName = \"gold-image\", config = { description = \"the overlay's home\", onboot = true } }\n";
    let fleet = Fleet::of(Sandbox::own().file("workflows/settle.toml", step));
    fleet.wake();
    fleet.build(&["settle"]).exits(0);
    let did = effects(&fleet.requests());
    assert!(did.len() == 1 && did[0].ends_with(&format!("/qemu/{GOLD}/config")), "{did:?}");
    fleet.build(&["settle"]).exits(0).says("unchanged");
    assert!(effects(&fleet.requests()).is_empty());
}
