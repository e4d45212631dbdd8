//! `delete`.

use serde_json::{Value as Json, json};

use super::{Script, UUID, VM, config, config_with, data, fleet, globals, known, named, one, own_mark};
use crate::model::contract::{Failure, FailureKind, Outcome};
use crate::model::scene::{Scene, written};
use crate::value::Value;
use crate::wire::scripted::ScriptedHttp;

const GONE: &str = "Configuration file 'nodes/pve/qemu-server/107.conf' does not exist";

fn request(purge: u8) -> String {
    format!("DELETE {VM}?purge={purge}&destroy-unreferenced-disks=0")
}

fn scene(http: ScriptedHttp, shown: Option<Value>) -> Scene {
    let mut scene = Scene::http(http);
    scene.ctx.guard.shown = shown;
    scene
}

async fn delete(scene: &Scene) -> Result<Outcome, Failure> {
    scene.call("proxmox/vm", "delete", globals(), named()).await
}

/// `calamity`, stopped and at rest, as it is looked at for the proof.
fn there(config: Json) -> ScriptedHttp {
    one("stopped").current("stopped").config(config).idle()
}

#[tokio::test]
async fn a_proven_vm_is_removed_and_its_volumes_are_told() {
    let volumes = json!({
        "ide2": "local:iso/alpine.iso,media=cdrom", "unused0": "local-lvm:vm-107-disk-1", "efidisk0": "none", "scsihw": "virtio-scsi-pci",
        "scsi1": "nas:vm-100-disk-3,size=1T",
    });
    let http = one("stopped").current("stopped").current("stopped").idle().task(&request(0), "qmdestroy", "OK");
    let http = http
        .expect(&format!("GET {VM}/config"), 200, data(config_with(volumes.clone())))
        .expect(&format!("GET {VM}/config"), 200, data(config_with(volumes)))
        .expect_reason(&format!("GET {VM}/status/current"), 500, GONE, ());
    let scene = scene(http, Some(known()));
    let outcome = delete(&scene).await.unwrap();
    let state = written(&outcome);
    assert_eq!((&state["status"], &state["ip"], &state["uuid"]), (&json!("deleted"), &json!(null), &json!(UUID)));
    let lines: Vec<String> = scene.told.all().into_iter().filter(|line| line.contains(": ") && line.starts_with("line ")).collect();
    assert_eq!(
        lines,
        [
            "line scsi0: local-lvm:vm-107-disk-0 (32G) goes",
            "line scsi1: nas:vm-100-disk-3 (1T) stays, another VM owns it",
            "line unused0: local-lvm:vm-107-disk-1 goes"
        ]
    );
}

fn shown(field: &str, value: Json) -> Value {
    let Value::Map(mut fields) = known() else { panic!() };
    fields.insert(field.to_owned(), value.into());
    Value::Map(fields)
}

#[tokio::test]
async fn each_proof_can_fail_by_itself_and_nothing_is_sent() {
    let other = "b0000000-0000-4000-8000-000000000000";
    let cases = [
        (config(), Some(shown("vmid", json!(110))), "its vmid is 107, but the version shown has 110"),
        (config(), Some(shown("uuid", json!(other))), "it is another machine"),
        (config(), Some(shown("uuid", json!(null))), "the version shown has no SMBIOS uuid"),
        (config(), Some(shown("vmName", json!("other"))), "the version shown has `other`"),
        (config_with(json!({"name": "renamed"})), Some(known()), "its name is `renamed`"),
        (config_with(json!({"smbios1": null})), Some(known()), "it has no SMBIOS uuid"),
        (config_with(json!({"protection": 1})), Some(known()), "it is protected in Proxmox"),
        (config(), None, "no version of it was shown"),
    ];
    for (config, shown, why) in cases {
        let scene = scene(there(config), shown);
        let failure = delete(&scene).await.unwrap_err();
        assert_eq!(failure.kind, FailureKind::Refused);
        assert!(failure.message.contains(why) && failure.message.contains("is not deleted"), "{}", failure.message);
        assert!(scene.http.lines().iter().all(|line| line.starts_with("GET ")), "{why}");
    }
}

#[tokio::test]
async fn a_running_vm_is_not_deleted() {
    let http = one("running").current("running").config(config()).idle();
    let failure = delete(&scene(http, Some(known()))).await.unwrap_err();
    assert_eq!((failure.kind, failure.message.ends_with("it runs")), (FailureKind::Refused, true));
}

#[tokio::test]
async fn a_protected_name_is_refused_before_anything_is_asked() {
    let mut scene = scene(ScriptedHttp::new(), Some(known()));
    scene.ctx.guard.protected = vec!["tftp-server".into(), "calamity".into()];
    assert_eq!(delete(&scene).await.unwrap_err().message, "`calamity` is never deleted: [protect] vms in the Pmxfile names it");
}

#[tokio::test]
async fn a_clean_up_deletes_only_what_its_own_run_made() {
    let mut stranger = scene(there(config()), Some(known()));
    stranger.ctx.guard.own_only = true;
    let failure = delete(&stranger).await.unwrap_err();
    assert!(failure.message.contains("does not carry the mark of this run") && failure.kind == FailureKind::Refused, "{}", failure.message);

    // The mark is proof enough: a create whose answer was lost leaves no version to show.
    let own = config_with(json!({"description": own_mark()}));
    let http = one("stopped").current("stopped").current("stopped").idle().task(&request(0), "qmdestroy", "OK");
    let http = http
        .expect(&format!("GET {VM}/config"), 200, data(own.clone()))
        .expect(&format!("GET {VM}/config"), 200, data(own))
        .expect_reason(&format!("GET {VM}/status/current"), 500, GONE, ());
    let mut scene = scene(http, None);
    scene.ctx.guard.own_only = true;
    assert!(delete(&scene).await.unwrap().changed);
}

#[tokio::test]
async fn a_vm_that_is_gone_is_success_only_with_proof() {
    let rest = || fleet(json!([{"vmid": 100, "name": "slate", "status": "running"}]));
    let outcome = delete(&scene(rest(), Some(known()))).await.unwrap();
    assert_eq!((written(&outcome)["status"].clone(), outcome.changed), (json!("deleted"), false));

    let failure = delete(&scene(rest(), None)).await.unwrap_err();
    assert!(failure.message.contains("there is no VM `calamity`"), "{}", failure.message);

    let renamed = fleet(json!([{"vmid": 107, "name": "calamity2", "status": "stopped"}]));
    let failure = delete(&scene(renamed, Some(known()))).await.unwrap_err();
    assert_eq!((failure.kind, failure.message.contains("vmid 107 is now called `calamity2`")), (FailureKind::Refused, true));

    let mut nothing = scene(rest(), None);
    nothing.ctx.guard.own_only = true;
    assert!(!delete(&nothing).await.unwrap().changed);
}

#[tokio::test]
async fn a_dead_node_is_no_proof() {
    let http = ScriptedHttp::new()
        .any_order()
        .expect("GET /api2/json/nodes", 200, data(json!([{"node": "pve", "status": "online"}, {"node": "pve2", "status": "offline"}])))
        .expect("GET /api2/json/cluster/resources?type=vm", 200, data(json!([])))
        .expect("GET /api2/json/nodes/pve/qemu", 200, data(json!([{"vmid": 100, "name": "slate", "status": "running"}])));
    let failure = delete(&scene(http, Some(known()))).await.unwrap_err();
    assert!(failure.message.contains("pve2 is offline: it may be there"), "{}", failure.message);
}

#[tokio::test]
async fn a_number_used_again_at_once_is_another_machine() {
    let next = config_with(json!({"name": "new", "smbios1": "uuid=b0000000-0000-4000-8000-000000000000"}));
    let http = one("stopped").current("stopped").current("stopped").idle().task(&request(1), "qmdestroy", "OK");
    let http = http
        .expect(&format!("GET {VM}/config"), 200, data(config()))
        .expect(&format!("GET {VM}/config"), 200, data(config()))
        .current("stopped")
        .expect(&format!("GET {VM}/config"), 200, data(next));
    let scene = scene(http, Some(known()));
    let arguments = json!({"vmName": "calamity", "purge": true});
    assert!(scene.call("proxmox/vm", "delete", globals(), arguments).await.unwrap().changed);
}

/// What is seen in the last look before the request.
async fn last_look(config: Json, status: &str) -> (Result<Outcome, Failure>, Vec<String>) {
    let http = one("stopped").current("stopped").current(status).idle();
    let http = http.expect(&format!("GET {VM}/config"), 200, data(self::config())).expect(&format!("GET {VM}/config"), 200, data(config));
    let scene = scene(http, Some(known()));
    (delete(&scene).await, scene.http.lines())
}

#[tokio::test]
async fn what_changes_between_the_proof_and_the_request_is_not_deleted() {
    let cases = [
        (config_with(json!({"smbios1": "uuid=b0000000-0000-4000-8000-000000000000"})), "stopped", "vmid 107 became another machine"),
        (config_with(json!({"name": "new", "digest": "d2"})), "stopped", "became another machine while it was looked at, new"),
        (config_with(json!({"digest": "d2"})), "stopped", "somebody changed its configuration"),
        (config(), "running", "it was started while it was looked at"),
    ];
    for (config, status, why) in cases {
        let (ended, lines) = last_look(config, status).await;
        let failure = ended.unwrap_err();
        assert_eq!(failure.kind, FailureKind::Refused);
        assert!(failure.message.contains(why) && failure.message.contains("calamity (vmid 107) is not deleted"), "{}", failure.message);
        assert!(lines.iter().all(|line| line.starts_with("GET ")), "{why}");
    }
}

#[tokio::test]
async fn what_goes_between_the_proof_and_the_request_is_gone() {
    let http = one("stopped").current("stopped").idle().config(config());
    let http = http.expect_reason(&format!("GET {VM}/status/current"), 500, GONE, ());
    let outcome = delete(&scene(http, Some(known()))).await.unwrap();
    assert_eq!((written(&outcome)["status"].clone(), outcome.changed), (json!("deleted"), false));
}
