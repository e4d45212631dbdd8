//! `create`.

use serde_json::{Value as Json, json};

use super::{Script, VM, config, config_with, data, fleet, globals, own_mark};
use crate::model::contract::{Acted, Failure, FailureKind, Outcome};
use crate::model::scene::{RUN, Scene, written};
use crate::wire::http::HttpError;
use crate::wire::scripted::ScriptedHttp;

const POST: &str = "POST /api2/json/nodes/pve/qemu";
const NEXT: &str = "GET /api2/json/cluster/nextid";

async fn create(http: ScriptedHttp, more: Json) -> (Scene, Result<Outcome, Failure>) {
    let mut arguments = json!({"vmName": "calamity"});
    for (key, value) in more.as_object().unwrap() {
        arguments[key] = value.clone();
    }
    let scene = Scene::http(http);
    let done = scene.call("proxmox/vm", "create", globals(), arguments).await;
    (scene, done)
}

fn others() -> ScriptedHttp {
    fleet(json!([{"vmid": 100, "name": "slate", "status": "running"}]))
}

fn marked() -> Json {
    config_with(json!({"description": format!("{}\n", own_mark())}))
}

fn form(scene: &Scene) -> std::collections::BTreeMap<String, String> {
    let seen = scene.http.seen();
    let request = seen.iter().rfind(|request| !request.form.is_empty()).unwrap();
    request.form.iter().map(|(key, value)| (key.clone(), value.expose().to_owned())).collect()
}

#[tokio::test]
async fn a_new_vm_carries_its_mark_and_boots_disk_then_net() {
    let http = others().expect(NEXT, 200, data(json!("107"))).task(POST, "qmcreate", "OK").current("stopped").config(marked());
    let (scene, done) = create(http, json!({"memory": 1024, "diskSize": 8})).await;
    let outcome = done.unwrap();
    assert_eq!((&written(&outcome)["madeBy"], outcome.changed), (&json!(RUN), true));
    let form = form(&scene);
    let get = |key: &str| form[key].as_str();
    assert_eq!((get("vmid"), get("name"), get("memory"), get("cores"), get("sockets")), ("107", "calamity", "1024", "2", "1"));
    assert_eq!((get("scsi0"), get("boot"), get("net0"), get("agent")), ("local-lvm:8", "order=scsi0;net0", "virtio,bridge=vmbr0", "1"));
    assert_eq!(get("description"), own_mark());
    // The serial is base64 of the name, as `base64=1` says.
    assert!(get("smbios1").starts_with("uuid=") && get("smbios1").ends_with(",serial=Y2FsYW1pdHk=,base64=1"), "{}", get("smbios1"));
}

#[tokio::test]
async fn without_a_disk_it_boots_from_the_network() {
    let http = others().expect(NEXT, 200, data(json!("107"))).task(POST, "qmcreate", "OK").current("stopped").config(marked());
    let (scene, done) = create(http, json!({"diskSize": 0})).await;
    done.unwrap();
    let form = form(&scene);
    assert_eq!((form["boot"].as_str(), form.contains_key("scsi0")), ("order=net0", false));
}

#[tokio::test]
async fn a_stranger_of_that_name_is_never_taken_over() {
    let http = super::one("stopped").current("stopped").config(config());
    let (scene, done) = create(http, json!({})).await;
    let failure = done.unwrap_err();
    assert_eq!(
        (failure.kind, failure.message.as_str()),
        (FailureKind::Refused, "10.0.0.4:8006: the name `calamity` is taken by vmid 107@pve")
    );
    assert!(scene.http.lines().iter().all(|line| line.starts_with("GET ")));
}

#[tokio::test]
async fn what_this_run_made_before_is_found_again() {
    let http = super::one("stopped").current("stopped").current("stopped").current("stopped").config(marked()).idle();
    let (_, done) = create(http, json!({})).await;
    let outcome = done.unwrap();
    assert!(!outcome.changed && outcome.summary == "this run made calamity (vmid 107) already");
}

#[tokio::test]
async fn a_number_taken_in_between_is_replaced_by_another() {
    let taken = json!({"data": null, "message": "unable to create VM 106 - VM 106 already exists on node 'pve'\n"});
    let http = others()
        .expect(NEXT, 200, data(json!("106")))
        .expect(POST, 500, taken)
        .expect(&format!("{NEXT}?vmid=106"), 400, json!({"errors": {"vmid": "VM 106 already exists"}}))
        .expect(NEXT, 200, data(json!("107")))
        .task(POST, "qmcreate", "OK")
        .current("stopped")
        .config(marked());
    let (scene, done) = create(http, json!({})).await;
    assert_eq!(written(&done.unwrap())["vmid"], json!(107));
    assert!(scene.told.has("warn vmid 106 was taken"));
}

#[tokio::test]
async fn an_error_that_is_not_about_the_number_ends_it() {
    let http = others()
        .expect(NEXT, 200, data(json!("107")))
        .expect(POST, 500, json!({"data": null, "message": "storage 'local-lvm' does not exist\n"}))
        .expect(&format!("{NEXT}?vmid=107"), 200, data(json!("107")));
    let (_, done) = create(http, json!({})).await;
    let failure = done.unwrap_err();
    assert_eq!((failure.acted, failure.message.contains("storage 'local-lvm' does not exist")), (Acted::No, true));
}

fn lost() -> HttpError {
    HttpError::Broken { host: "10.0.0.4:8006".into(), request: "POST /nodes/pve/qemu".into(), cause: "reset".into() }
}

#[tokio::test]
async fn after_a_lost_answer_only_the_mark_proves_the_vm() {
    let http = others()
        .expect(NEXT, 200, data(json!("107")))
        .expect_error(POST, lost())
        .expect_reason(&format!("GET {VM}/status/current"), 500, "Configuration file 'nodes/pve/qemu-server/107.conf' does not exist", ())
        .current("stopped")
        .current("stopped")
        .current("stopped")
        .config(marked())
        .idle();
    assert!(create(http, json!({})).await.1.unwrap().changed);

    let stranger = others().expect(NEXT, 200, data(json!("107"))).expect_error(POST, lost()).current("running").config(config());
    let failure = create(stranger, json!({})).await.1.unwrap_err();
    assert_eq!((failure.acted, failure.help.as_deref()), (Acted::Maybe, Some("vmid 107 is a VM of somebody else")));

    // Another step of the same run may have made one under the same number.
    let sister = config_with(json!({"name": "web", "description": own_mark()}));
    let other = others().expect(NEXT, 200, data(json!("107"))).expect_error(POST, lost()).current("running").config(sister);
    let failure = create(other, json!({})).await.1.unwrap_err();
    assert_eq!(failure.help.as_deref(), Some("this run gave vmid 107 to `web`, so `calamity` was not made: run it again"));

    let nothing = others().expect(NEXT, 200, data(json!("107"))).expect_error(POST, lost()).always(&format!("GET {VM}/*"), 500, ());
    let failure = create(nothing, json!({})).await.1.unwrap_err();
    assert_eq!(failure.acted, Acted::Maybe, "{}", failure.message);
}

#[tokio::test]
async fn a_name_that_proxmox_would_refuse_is_refused_before_anything_is_asked() {
    for name in ["bad_name", "", "-x", "x-", "a b", "a..b", &"x".repeat(64)] {
        let (_, done) = create(ScriptedHttp::new(), json!({"vmName": name})).await;
        assert_eq!(done.unwrap_err().kind, FailureKind::Yours, "{name}");
    }
}
