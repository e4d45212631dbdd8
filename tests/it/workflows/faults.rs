//! Whole workflows while the fleet misbehaves: what only needs waiting succeeds, the rest fails with a sentence to act on, and the next run ends well with
//! nothing done twice. Their secrets are canaries, as in `holds`.

use pmx::lab::control::Request;
use pmx::lab::faults::FaultKind;
use pmx::lab::world::Phase;

use crate::canary::Guarded;
use crate::fleet::{Fleet, effects, logins};
use crate::sandbox::Ran;

const SLATE: u32 = 100;
const ATM10: u32 = 101;
const GOLD_IMAGE: u32 = 109;
const TFTP_SERVER: u32 = 103;
const NODE: &str = "/nodes/keeb-dev-02/qemu";
const OVERLAY: &str = "/srv/http/alpine/alpine.apkovl.tar.gz";
const PROXY: [&str; 7] = ["configure-proxy", "-i", "vmName=calamity", "-i", "targetIp=10.0.0.107", "-i", "portMap=7777:7777"];
const NEW: [&str; 3] = ["create-stateful-vm", "-i", "vmName=test-new"];

/// What a new VM needs, each once.
fn made_once(fleet: &Fleet, vmid: u32, ran: &Ran) {
    let power = |action: &str| format!("POST {NODE}/{vmid}/status/{action}");
    let all = [format!("POST {NODE}"), power("start"), power("shutdown"), power("start")];
    assert_eq!(effects(&fleet.requests()), all, "{ran}");
}

/// The names in a directory of a machine, hidden ones too.
fn listed(fleet: &Fleet, vm: &str, dir: &str) -> Vec<String> {
    let ran = fleet.build(&["testVmSsh.exec", "-i", &format!("vmName={vm}"), "-i", &format!("command=ls -A {dir}")]);
    drop(ran.exits(0));
    let shown = fleet.pmx(&["show", "testVmSsh/result/result", "--json"]).exits(0).json();
    shown["attributes"]["stdout"].as_str().unwrap_or_default().lines().map(str::to_owned).collect()
}

#[test]
fn a_new_vm_is_waited_for_wherever_it_is_late() {
    let fleet = Guarded::up();
    ["agent-late", "sshd-late", "disk-late"].iter().for_each(|fault| fleet.fault(fault, None));
    let ran = fleet.build(&NEW).exits(0);
    made_once(&fleet, 110, &ran);
    assert_eq!(fleet.named("test-new").map(|vm| vm.phase != Phase::Off), Some(true));
    for wait in ["the guest agent to tell the address", "a login to work", "the disk"] {
        assert!(ran.stderr.contains(&format!("waiting for {wait} (at most ")), "{wait}: {ran}");
    }
    ran.keeps_quiet_about("warning: ");
}

#[test]
fn a_new_vm_is_made_although_the_ticket_expires_and_a_backup_locks_it_on_the_way() {
    let fleet = Guarded::up();
    let mut running = fleet.start(&[&["build"], &NEW[..]].concat());
    running.wait_for("waiting for setup-alpine");
    fleet.fault("ticket-expired", None);
    fleet.fault("locked", None);
    running.wait_for("waiting because test-new (vmid 110) is locked (backup)");
    fleet.heal();
    let ran = running.end().exits(0);
    let requests = fleet.requests();
    assert_eq!(logins(&requests), 2, "one when it began, one when the ticket was refused: {ran}");
    assert_eq!(effects(&requests).len(), 4, "a request that was refused is no second effect: {requests:?}");
}

#[test]
fn a_vm_whose_creation_got_no_answer_is_made_once() {
    let fleet = Guarded::up();
    fleet.build(&["keebDev02.auth"]).exits(0);
    fleet.fault("http-596-after:1", None);
    let ran = fleet.build(&NEW).exits(0).says("looking whether the VM was made all the same");
    made_once(&fleet, 110, &ran);

    fleet.fault("http-596:1", None);
    let ran = fleet.build(&["create-stateful-vm", "-i", "vmName=test-next"]).exits(1);
    ran.says("596").says("no VM with this run's mark is there, so most likely none was made: run it again");
    assert!(fleet.named("test-next").is_none());
    fleet.requests();
    let ran = fleet.build(&["create-stateful-vm", "-i", "vmName=test-next"]).exits(0);
    made_once(&fleet, 111, &ran);
}

#[test]
fn the_overlay_travels_although_the_gold_image_is_late_and_its_start_unanswered() {
    let fleet = Guarded::up();
    for fault in ["agent-late", "sshd-late", "http-596-after:1"] {
        fleet.fault(fault, Some(GOLD_IMAGE));
    }
    let ran = fleet.build(&["deploy-apkovl"]).exits(0).says("looking whether it happened all the same").says("put the overlay");
    let start = [format!("POST {NODE}/{GOLD_IMAGE}/status/start")];
    assert_eq!(effects(&fleet.requests()), start, "the start is not asked for twice: {ran}");

    fleet.build(&["stop-vm", "-i", "vmName=gold-image"]).exits(0);
    fleet.heal();
    fleet.requests();
    fleet.fault("http-596:1", Some(GOLD_IMAGE));
    let mut running = fleet.start(&["build", "deploy-apkovl"]);
    running.wait_for("looking whether it happened all the same");
    fleet.fault("ticket-expired", None);
    fleet.fault("locked", Some(GOLD_IMAGE));
    running.wait_for("is locked (backup)");
    fleet.heal();
    let ran = running.end().exits(0).says("started gold-image (vmid 109)");
    let requests = fleet.requests();
    let reached = requests.iter().filter(|served| effects(std::slice::from_ref(served)) == start && served.status == 200).count();
    assert_eq!(reached, 1, "{ran}");
    assert_eq!(logins(&requests), 1, "{requests:?}");
}

#[test]
fn an_overlay_that_is_cut_on_its_way_replaces_nothing() {
    let fleet = Guarded::up();
    fleet.build(&["deploy-apkovl"]).exits(0);
    let change = "command=echo changed > /etc/motd";
    fleet.build(&["testVmSsh.exec", "-i", "vmName=gold-image", "-i", change]).exits(0);
    let before = fleet.pmx(&["show", "goldImageOverlay/overlay/overlay", "--json"]).exits(0).json();
    fleet.fault("cut-upload:500", Some(TFTP_SERVER));
    let ran = fleet.build(&["deploy-apkovl"]).exits(1).says("the connection broke").says("the other side closed it");
    ran.says("what was served before is served still");
    fleet.heal();
    let served = |fleet: &Fleet| {
        let command = format!("command=sha256sum {OVERLAY}");
        drop(fleet.build(&["testVmSsh.exec", "-i", "vmName=tftp-server", "-i", &command]).exits(0));
        let shown = fleet.pmx(&["show", "testVmSsh/result/result", "--json"]).exits(0).json();
        let text = shown["attributes"]["stdout"].as_str().unwrap_or_default();
        format!("sha256:{}", text.split_whitespace().next().unwrap_or_default())
    };
    assert_eq!(before["attributes"]["digest"], served(&fleet));
    fleet.build(&["deploy-apkovl"]).exits(0).says("put the overlay");
    let after = fleet.pmx(&["show", "goldImageOverlay/overlay/overlay", "--json"]).exits(0).json();
    assert_eq!(after["attributes"]["digest"], served(&fleet));
    assert_ne!(after["attributes"]["digest"], before["attributes"]["digest"]);
    let rest: Vec<String> = listed(&fleet, "tftp-server", "/srv/http/alpine").into_iter().filter(|name| name.contains("apkovl")).collect();
    assert_eq!(rest, ["alpine.apkovl.tar.gz"], "nothing half is left beside it");
}

/// The proxy host is no VM of the node: nothing that Proxmox does wrong may touch it.
#[test]
fn the_proxy_is_configured_whatever_proxmox_does_and_a_cut_changes_nothing() {
    let fleet = Guarded::up();
    for fault in ["locked", "agent-absent", "http-596:9", "ticket-expired", "no-rights"] {
        fleet.fault(fault, None);
    }
    fleet.fault("cut-upload:300", None);
    fleet.build(&PROXY).exits(1).says("the connection broke").says("everything is as it was before");
    fleet.ask(&Request::ClearFaults { kind: Some(FaultKind::CutUpload(0)), vmid: None });
    fleet.build(&PROXY).exits(0).says("treehouse proxies 7777/tcp to 10.0.0.107");
    fleet.build(&PROXY).exits(0).says("1 unchanged");
    assert!(fleet.requests().is_empty(), "Proxmox was not asked");
}

/// A VM that was started just now tells its address some seconds before its sshd listens.
#[test]
fn tailscale_waits_for_sshd_and_says_what_a_silent_agent_means() {
    let fleet = Guarded::up();
    let setup = ["setup-tailscale", "-i", "vmName=atm10"];
    fleet.build(&setup).exits(1).says("the VM is off");
    fleet.fault("agent-absent", Some(ATM10));
    fleet.build(&["fleet.start", "-i", "vmName=atm10", "-i", "waitSeconds=0"]).exits(0);
    fleet.build(&setup).exits(1).says("the guest agent does not answer").says("`pmx build fleet/vm/atm10` reads it");

    fleet.heal();
    fleet.fault("sshd-absent", Some(ATM10));
    fleet.build(&["start-vm", "-i", "vmName=atm10"]).exits(0).says("runs already, at 10.0.0.101");
    fleet.fault("ticket-expired", None);
    fleet.fault("locked", Some(ATM10));
    let mut running = fleet.start(&[&["build"], &setup[..]].concat());
    running.wait_for("attempt 2, because could not connect to root@10.0.0.101:22: Connection refused");
    fleet.heal();
    running.end().exits(0).says("10.0.0.101 is 100.64.0.");
    fleet.build(&setup).exits(0).says("already").says("1 unchanged");
    assert_eq!(effects(&fleet.requests()), [format!("POST {NODE}/{ATM10}/status/start")], "nobody restarted it");
}

#[test]
fn the_bot_is_deployed_after_a_cut_and_although_slate_is_late() {
    let fleet = Guarded::up();
    fleet.fault("cut-upload:20000", Some(SLATE));
    fleet.build(&["deploy-bot"]).exits(1).says("the connection broke");
    fleet.heal();
    fleet.fault("sshd-absent", Some(SLATE));
    let mut running = fleet.start(&["build", "deploy-bot"]);
    running.wait_for("attempt 2, because could not connect to root@10.0.0.100:22: Connection refused");
    fleet.fault("ticket-expired", None);
    fleet.fault("locked", Some(SLATE));
    fleet.ask(&Request::ClearFaults { kind: Some(FaultKind::SshdAbsent), vmid: None });
    running.end().exits(0);
    fleet.build(&["deploy-bot"]).exits(0).says("1 done, 7 unchanged, 1 fresh");
    assert_eq!(effects(&fleet.requests()), Vec::<String>::new(), "the VM is none of its business");
}

#[test]
fn docker_waits_for_sshd() {
    let fleet = Guarded::up();
    fleet.build(&["start-vm", "-i", "vmName=atm10"]).exits(0);
    fleet.fault("sshd-absent", Some(ATM10));
    let mut running = fleet.start(&["build", "setup-docker", "-i", "vmName=atm10"]);
    running.wait_for("attempt 2, because could not connect to root@10.0.0.101:22: Connection refused");
    fleet.heal();
    running.end().exits(0);
    fleet.build(&["setup-docker", "-i", "vmName=atm10"]).exits(0).says("1 done, 1 unchanged, 1 fresh");
}
