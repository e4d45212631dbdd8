//! `setBootOrder` and `setConfig`.

use serde_json::{Value as Json, json};

use super::{Script, VM, config, config_with, data, globals, one};
use crate::model::contract::{Acted, FailureKind};
use crate::model::scene::{Scene, written};
use crate::wire::scripted::ScriptedHttp;

const UPID: &str = "UPID:pve:0000017D:0002C75E:6B04272F:qmconfig:107:root@pam:";

fn stopped() -> ScriptedHttp {
    one("stopped").always(&format!("GET {VM}/status/current"), 200, super::current("stopped")).idle()
}

fn read(http: ScriptedHttp, config: Json) -> ScriptedHttp {
    http.expect(&format!("GET {VM}/config"), 200, data(config))
}

fn done(http: ScriptedHttp) -> ScriptedHttp {
    http.expect(&format!("GET /api2/json/nodes/pve/tasks/{UPID}/status"), 200, data(json!({"status": "stopped", "exitstatus": "OK"})))
        .always(&format!("GET /api2/json/nodes/pve/tasks/{UPID}/log*"), 200, data(json!([])))
}

fn post() -> String {
    format!("POST {VM}/config")
}

#[tokio::test]
async fn a_boot_order_is_written_under_the_digest_and_read_back_whole() {
    let new = || config_with(json!({"boot": "order=net0", "digest": "d2"}));
    let http = read(read(stopped(), config()), config());
    let http = done(http.expect_form(&post(), [("boot", "order=net0"), ("digest", "d1")], 200, data(json!(UPID))));
    let scene = Scene::http(read(read(http, new()), new()));
    let outcome = scene.call("proxmox/vm", "setBootOrder", globals(), json!({"vmName": "calamity", "boot": "net0"})).await.unwrap();
    let state = written(&outcome);
    assert_eq!((&state["boot"], &state["ip"], &state["status"]), (&json!("order=net0"), &json!(null), &json!("stopped")));
    assert_eq!(outcome.summary, "set boot of calamity (vmid 107)");
}

#[tokio::test]
async fn what_is_set_so_already_is_not_written() {
    let wanted = json!({
        "memory": 4096, "boot": "order=scsi0;net0", "net0": "virtio,bridge=vmbr0", "tags": "b;A", "description": "hello\n", "hookscript": null,
    });
    let there = config_with(json!({"tags": "a;b", "description": "hello"}));
    let scene = Scene::http(stopped().config(there));
    let outcome = scene.call("proxmox/vm", "setConfig", globals(), json!({"vmName": "calamity", "config": wanted})).await.unwrap();
    assert!(!outcome.changed, "{}", outcome.summary);
    assert!(scene.http.lines().iter().all(|line| line.starts_with("GET ")));
}

#[tokio::test]
async fn another_bridge_or_model_is_a_change() {
    for net0 in ["virtio,bridge=vmbr1", "e1000,bridge=vmbr0", "virtio,bridge=vmbr0,tag=5"] {
        let after = || config_with(json!({"net0": format!("{net0},macaddr=x")}));
        let http =
            read(read(stopped(), config()), config()).expect_form(&post(), [("net0", net0), ("digest", "d1")], 200, data(Json::Null));
        let model = net0.split(',').next().unwrap();
        let stored = net0.replacen(model, &format!("{model}=BC:24:11:6D:CC:77"), 1);
        let http = read(read(http, config_with(json!({"net0": stored}))), after());
        let arguments = json!({"vmName": "calamity", "config": {"net0": net0}});
        assert!(Scene::http(http).call("proxmox/vm", "setConfig", globals(), arguments).await.unwrap().changed, "{net0}");
    }
}

#[tokio::test]
async fn options_are_set_and_removed_in_one_request() {
    let before = || config_with(json!({"onboot": 0, "cores": 2}));
    let after = || config_with(json!({"onboot": 1, "cores": null}));
    let form = [("onboot", "1"), ("delete", "cores"), ("digest", "d1")];
    let http = read(read(stopped(), before()), before()).expect_form(&post(), form, 200, data(json!(UPID)));
    let http = read(read(done(http), after()), after());
    let arguments = json!({"vmName": "calamity", "config": {"onboot": true, "cores": null}});
    let outcome = Scene::http(http).call("proxmox/vm", "setConfig", globals(), arguments).await.unwrap();
    assert_eq!(outcome.summary, "set cores, onboot of calamity (vmid 107)");
}

#[tokio::test]
async fn a_conflict_is_read_again_once() {
    let conflict = json!({"data": null, "message": "checksum mismatch (file change by other user?)\n"});
    let other = || config_with(json!({"memory": "8192", "digest": "d2"}));
    let after = || config_with(json!({"memory": "8192", "cores": 4, "digest": "d3"}));
    let http = read(read(stopped(), config()), config()).expect(&post(), 500, conflict.clone());
    let http = read(http, other()).expect_form(&post(), [("cores", "4"), ("digest", "d2")], 200, data(json!(UPID)));
    let http = read(read(done(http), after()), after());
    let arguments = json!({"vmName": "calamity", "config": {"cores": 4}});
    let scene = Scene::http(http);
    assert!(scene.call("proxmox/vm", "setConfig", globals(), arguments.clone()).await.unwrap().changed);
    assert!(scene.told.has("somebody else changed calamity"));

    let http = stopped().config(config()).expect(&post(), 500, conflict.clone()).expect(&post(), 500, conflict);
    let failure = Scene::http(http).call("proxmox/vm", "setConfig", globals(), arguments).await.unwrap_err();
    assert_eq!((failure.acted, failure.message.contains("checksum mismatch")), (Acted::No, true));
}

#[tokio::test]
async fn the_other_one_may_have_done_our_change() {
    let conflict = json!({"data": null, "message": "checksum mismatch (file change by other user?)\n"});
    let theirs = || config_with(json!({"cores": 4, "digest": "d2"}));
    let http = read(read(stopped(), config()), config()).expect(&post(), 500, conflict);
    let http = read(read(http, theirs()), theirs());
    let arguments = json!({"vmName": "calamity", "config": {"cores": 4}});
    assert!(!Scene::http(http).call("proxmox/vm", "setConfig", globals(), arguments).await.unwrap().changed);
}

#[tokio::test]
async fn a_value_that_did_not_stay_is_a_failure() {
    let http = stopped().config(config()).expect(&post(), 200, data(Json::Null));
    let arguments = json!({"vmName": "calamity", "config": {"cores": 4}});
    let failure = Scene::http(http).call("proxmox/vm", "setConfig", globals(), arguments).await.unwrap_err();
    assert_eq!(
        (failure.acted, failure.message.contains("cores reads differently afterwards")),
        (Acted::Maybe, true),
        "{}",
        failure.message
    );
}

#[tokio::test]
async fn what_is_no_option_is_refused() {
    for config in [json!({}), json!({"digest": "x"}), json!({"name": "x"}), json!({"cores": [1]})] {
        let arguments = json!({"vmName": "calamity", "config": config});
        let failure = Scene::http(ScriptedHttp::new()).call("proxmox/vm", "setConfig", globals(), arguments).await.unwrap_err();
        assert_eq!(failure.kind, FailureKind::Yours);
    }
}
