//! `lookup` and `sync`.

use serde_json::json;

use super::{Script, UUID, VM, agent, config, config_with, current, data, fleet, globals, known, named, one};
use crate::model::contract::FailureKind;
use crate::model::scene::{Scene, written};
use crate::value::Value;
use crate::wire::scripted::ScriptedHttp;

async fn lookup(http: ScriptedHttp) -> Result<serde_json::Value, crate::model::contract::Failure> {
    Scene::http(http).call("proxmox/vm", "lookup", globals(), named()).await.map(|outcome| written(&outcome))
}

#[tokio::test]
async fn a_running_vm_is_read_whole_and_without_what_changes_by_itself() {
    let state = lookup(one("running").current("running").config(config()).agent(200, "OK", agent("10.0.0.42"))).await.unwrap();
    assert_eq!(
        state,
        json!({
            "vmid": 107, "vmName": "calamity", "node": "pve", "status": "running", "ip": "10.0.0.42", "ipSource": "guest agent, eth0 (net0)",
            "maxmem": 4294967296u64, "maxcpu": 2, "uuid": UUID, "mac": "BC:24:11:6D:CC:77", "boot": "order=scsi0;net0", "madeBy": null,
        })
    );
}

#[tokio::test]
async fn a_vm_that_is_off_has_a_null_address_and_a_running_one_without_has_none_at_all() {
    let off = lookup(one("stopped").current("stopped").config(config())).await.unwrap();
    assert_eq!((&off["ip"], off.as_object().unwrap().contains_key("ip")), (&json!(null), true));
    for (status, reason) in [(500, "QEMU guest agent is not running"), (596, "Broken pipe"), (500, "No QEMU guest agent configured")] {
        let silent = lookup(one("running").current("running").config(config()).agent(status, reason, json!(null))).await.unwrap();
        assert!(!silent.as_object().unwrap().contains_key("ip"), "{silent}");
        assert!(silent["ipSource"].as_str().unwrap().starts_with("none: "));
    }
    let disabled = lookup(one("running").current("running").config(config_with(json!({"agent": null})))).await.unwrap();
    assert_eq!(disabled["ipSource"], "none: the guest agent is not enabled (agent=1)");
}

#[tokio::test]
async fn a_name_must_mean_one_vm() {
    let twice =
        fleet(json!([{"vmid": 107, "name": "calamity", "status": "stopped"}, {"vmid": 112, "name": "calamity", "status": "stopped"}]));
    assert_eq!(lookup(twice).await.unwrap_err().message, "10.0.0.4:8006: the name `calamity` has 2 VMs: 107@pve, 112@pve");
    let near = fleet(json!([{"vmid": 107, "name": "calamty", "status": "stopped"}, {"vmid": 102, "status": "stopped"}]));
    let failure = lookup(near).await.unwrap_err();
    assert_eq!(
        (failure.message.as_str(), failure.help.as_deref()),
        ("10.0.0.4:8006: there is no VM `calamity`", Some("did you mean `calamty`?"))
    );
}

#[tokio::test]
async fn a_vm_without_a_name_is_called_as_proxmox_calls_it() {
    let at = "/api2/json/nodes/pve/qemu/102";
    let http = fleet(json!([{"vmid": 102, "name": "VM 102", "status": "stopped"}]))
        .expect(&format!("GET {at}/status/current"), 200, current("stopped"))
        .expect(&format!("GET {at}/config"), 200, data(json!({"digest": "d"})));
    let outcome = Scene::http(http).call("proxmox/vm", "lookup", globals(), json!({"vmName": "VM 102"})).await.unwrap();
    assert_eq!((written(&outcome)["vmName"].as_str(), outcome.writes[0].instance.as_str()), (Some("VM 102"), "VM 102"));
}

#[tokio::test]
async fn an_empty_list_is_believed_only_from_who_may_see_vms() {
    let blind = fleet(json!([])).expect("GET /api2/json/access/permissions", 200, data(json!({"/": {"Sys.Audit": 1}})));
    let mut globals = globals();
    globals["ticket"] = json!("root@pam!pmx=0734");
    let failure = Scene::http(blind).call("proxmox/vm", "sync", globals, json!({})).await.unwrap_err();
    assert_eq!(failure.message, "10.0.0.4:8006: root@pam!pmx cannot see any VM: VM.Audit on /vms is missing");
    let help = failure.help.unwrap();
    assert!(help.contains("`pveum acl modify /vms --tokens 'root@pam!pmx' --roles PVEVMAdmin`") && !help.contains("0734"), "{help}");

    let seeing = fleet(json!([])).expect("GET /api2/json/access/permissions", 200, data(json!({"/vms": {"VM.Audit": 1}})));
    let outcome = Scene::http(seeing).call("proxmox/vm", "sync", super::globals(), json!({})).await.unwrap();
    assert!(outcome.writes.is_empty());
}

#[tokio::test]
async fn a_vm_on_another_node_is_found_there_even_when_the_cache_lacks_it() {
    let at = "/api2/json/nodes/pve2/qemu/107";
    let http = ScriptedHttp::new()
        .any_order()
        .expect("GET /api2/json/nodes", 200, data(json!([{"node": "pve2", "status": "online"}, {"node": "pve", "status": "online"}])))
        .expect("GET /api2/json/cluster/resources?type=vm", 200, data(json!([])))
        .expect("GET /api2/json/nodes/pve/qemu", 200, data(json!([])))
        .expect("GET /api2/json/nodes/pve2/qemu", 200, data(json!([{"vmid": 107, "name": "calamity", "status": "stopped"}])))
        .expect(&format!("GET {at}/status/current"), 200, current("stopped"))
        .expect(&format!("GET {at}/config"), 200, data(config()));
    assert_eq!(lookup(http).await.unwrap()["node"], "pve2");
}

/// Two nodes of which `pve3` does not answer.
fn half_dead() -> ScriptedHttp {
    ScriptedHttp::new()
        .any_order()
        .always("GET /api2/json/nodes", 200, data(json!([{"node": "pve3", "status": "offline"}, {"node": "pve", "status": "online"}])))
        .always(
            "GET /api2/json/cluster/resources?type=vm",
            200,
            data(json!([
                {"type": "qemu", "vmid": 107, "name": "calamity", "node": "pve3", "status": "running"},
                {"type": "lxc", "vmid": 120, "name": "box", "node": "pve3", "status": "running"},
                {"type": "qemu", "vmid": 108, "name": "stale", "node": "pve", "status": "running"},
            ])),
        )
        .always("GET /api2/json/nodes/pve/qemu", 200, data(json!([])))
}

#[tokio::test]
async fn a_vm_of_a_dead_node_is_unknown_not_gone() {
    let failure = lookup(half_dead()).await.unwrap_err();
    assert_eq!(failure.message, "10.0.0.4:8006: calamity (vmid 107) is on node pve3, which is offline");
    let mut scene = Scene::http(half_dead());
    scene.knows("vm", "calamity", known());
    let outcome = scene.call("proxmox/vm", "sync", globals(), json!({})).await.unwrap();
    let state = written(&outcome);
    assert_eq!((&state["status"], &state["uuid"]), (&json!("unknown"), &json!(UUID)), "what was known of it stays");
    assert!(!state.as_object().unwrap().contains_key("ip"));
}

#[tokio::test]
async fn sync_reads_every_vm_and_marks_those_that_are_gone() {
    let other = "/api2/json/nodes/pve/qemu/108";
    // What the list says of them is not asked for again.
    let rows = json!([
        {"vmid": 107, "name": "calamity", "status": "running", "cpus": 2, "maxmem": 4294967296u64, "uptime": 77},
        {"vmid": 108, "name": "allthemons", "status": "stopped", "cpus": 8, "maxmem": 1073741824},
    ]);
    let http = fleet(rows).config(config()).agent(200, "OK", agent("10.0.0.42")).expect(
        &format!("GET {other}/config"),
        200,
        data(json!({"name": "allthemons", "cores": 4, "sockets": 2})),
    );
    let mut scene = Scene::http(http);
    let other_known = |name: &str, status: &str| {
        let Value::Map(mut fields) = known() else { panic!() };
        fields.insert("vmName".into(), name.into());
        fields.insert("vmid".into(), Value::Int(130));
        fields.insert("status".into(), status.into());
        Value::Map(fields)
    };
    scene.knows("vm", "old", other_known("old", "running"));
    scene.knows("vm", "older", other_known("older", "gone"));
    scene.knows("vm", "calamity", known());
    let outcome = scene.call("proxmox/vm", "sync", globals(), json!({})).await.unwrap();
    let status = |name: &str| {
        let written = outcome.writes.iter().find(|written| written.instance == name);
        written.and_then(|written| written.attributes.get("status")?.as_str()).map(str::to_owned)
    };
    assert_eq!(outcome.writes.len(), 3);
    assert_eq!(
        (status("calamity"), status("allthemons"), status("old"), status("older")),
        (Some("running".into()), Some("stopped".into()), Some("gone".into()), None)
    );
    let gone = outcome.writes.iter().find(|written| written.instance == "old").unwrap();
    assert_eq!((gone.attributes.get("ip"), gone.attributes.get("vmid")), (Some(&Value::Null), Some(&Value::Int(130))));
    let of = |name: &str, field: &str| outcome.writes.iter().find(|written| written.instance == name)?.attributes.get(field).cloned();
    assert_eq!(of("calamity", "ip"), Some("10.0.0.42".into()));
    assert_eq!((of("calamity", "maxmem"), of("allthemons", "maxcpu")), (Some(Value::Int(4_294_967_296)), Some(Value::Int(8))));
    assert_eq!(outcome.summary, "2 VMs, 1 of them running; gone: old");
}

#[tokio::test]
async fn sync_looks_again_at_a_vm_whose_agent_is_silent() {
    for (now, ip) in [("stopped", Some(&Value::Null)), ("running", None)] {
        let silent = json!({"data": null, "message": "VM 107 is not running\n"});
        let list = json!([{"vmid": 107, "name": "calamity", "status": "running"}]);
        let http = fleet(list).config(config()).agent(500, "VM 107 is not running", silent).current(now);
        let scene = Scene::http(http);
        let outcome = scene.call("proxmox/vm", "sync", globals(), json!({})).await.unwrap();
        let written = &outcome.writes[0].attributes;
        assert_eq!((written.get("status"), written.get("ip")), (Some(&now.into()), ip));
    }
}

#[tokio::test]
async fn sync_leaves_out_what_went_away_since_the_list() {
    let went = "Configuration file 'nodes/pve/qemu-server/107.conf' does not exist";
    let list = json!([{"vmid": 107, "name": "calamity", "status": "running"}]);
    let http = fleet(list).expect_reason(&format!("GET {VM}/config"), 500, went, json!({"data": null, "message": went}));
    let outcome = Scene::http(http).call("proxmox/vm", "sync", globals(), json!({})).await.unwrap();
    assert_eq!((outcome.writes.len(), outcome.summary.as_str()), (0, "0 VMs, 0 of them running"));
}

#[tokio::test]
async fn sync_tells_a_shared_name_and_goes_on() {
    let http = fleet(json!([
        {"vmid": 107, "name": "calamity", "status": "stopped"},
        {"vmid": 111, "name": "twin", "status": "stopped"},
        {"vmid": 112, "name": "twin", "status": "stopped"},
    ]))
    .config(config());
    let scene = Scene::http(http);
    let outcome = scene.call("proxmox/vm", "sync", globals(), json!({})).await.unwrap();
    assert_eq!((outcome.writes.len(), outcome.writes[0].instance.as_str()), (1, "calamity"));
    assert!(scene.told.has("warn the name `twin` has 2 VMs (111@pve, 112@pve)"));
}

#[tokio::test]
async fn a_misspelt_node_is_told_with_the_nearest() {
    let http = ScriptedHttp::new()
        .any_order()
        .expect("GET /api2/json/nodes", 200, data(json!([{"node": "pve1", "status": "online"}])))
        .expect("GET /api2/json/cluster/resources?type=vm", 200, data(json!([])))
        .expect_reason("GET /api2/json/nodes/pve/qemu", 500, "hostname lookup 'pve' failed", ())
        .expect("GET /api2/json/nodes/pve1/qemu", 200, data(json!([])));
    let failure = lookup(http).await.unwrap_err();
    assert_eq!((failure.kind, failure.help.as_deref()), (FailureKind::Yours, Some("nodes there are: pve1; did you mean `pve1`?")));
}
