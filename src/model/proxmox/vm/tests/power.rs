//! `start` and `stop`.

use serde_json::{Value as Json, json};

use super::{Script, VM, agent, config, config_with, current, data, fleet, globals, known, named, one};
use crate::model::contract::{Acted, Failure, FailureKind, Outcome};
use crate::model::proxmox::vm::state::{Status, Vm};
use crate::model::scene::{Scene, written};
use crate::wire::http::HttpError;
use crate::wire::scripted::ScriptedHttp;

async fn call(scene: &Scene, method: &str, more: Json) -> Result<Outcome, Failure> {
    let mut arguments = named();
    for (key, value) in more.as_object().unwrap() {
        arguments[key] = value.clone();
    }
    scene.call("proxmox/vm", method, globals(), arguments).await
}

fn start() -> String {
    format!("POST {VM}/status/start")
}

const SILENT: &str = "QEMU guest agent is not running";

#[tokio::test]
async fn a_stopped_vm_is_started_and_its_address_awaited() {
    let http =
        one("stopped").config(config()).idle().current("stopped").current("stopped").task(&start(), "qmstart", "OK").current("running");
    let http = http.agent(500, SILENT, json!(null)).agent(500, SILENT, json!(null)).agent(200, "OK", agent("10.0.0.42"));
    let scene = Scene::http(http);
    let outcome = call(&scene, "start", json!({})).await.unwrap();
    let state = written(&outcome);
    assert_eq!(
        (&state["ip"], &state["wasStarted"], &state["status"], outcome.changed),
        (&json!("10.0.0.42"), &json!(true), &json!("running"), true)
    );
    assert_eq!(outcome.summary, "started calamity (vmid 107), at 10.0.0.42");
    let told = scene.told.all();
    let at = |text: &str| told.iter().position(|line| line.contains(text)).unwrap();
    assert!(
        at("task UPID:pve") < at("phase the start 180") && at("phase the start 180") < at("phase the guest agent to tell the address 120")
    );
}

#[tokio::test]
async fn a_running_vm_is_left_alone_but_its_address_is_made_sure_of() {
    let http = one("running").config(config()).current("running").agent(500, SILENT, json!(null)).agent(200, "OK", agent("10.0.0.42"));
    let scene = Scene::http(http);
    let outcome = call(&scene, "start", json!({})).await.unwrap();
    assert_eq!((outcome.changed, written(&outcome)["wasStarted"].clone()), (false, json!(false)));
    assert!(scene.http.lines().iter().all(|line| line.starts_with("GET ")));
}

#[tokio::test]
async fn an_agent_that_never_answers_does_not_undo_the_start() {
    let http = one("running").config(config()).current("running").always(&format!("GET {VM}/agent/network-get-interfaces"), 500, ());
    let scene = Scene::http(http);
    let outcome = call(&scene, "start", json!({"waitSeconds": 40})).await.unwrap();
    assert!(!written(&outcome).as_object().unwrap().contains_key("ip"));
    assert!(scene.told.has("warn still waiting for the guest agent to tell the address after 3"), "{:?}", scene.told.all());
    assert!(scene.told.has("has no known address after 40 s: none: the guest agent does not answer"));
    let waited: std::time::Duration = scene.clock.slept().iter().sum();
    assert_eq!(waited.as_secs_f64(), 40.0, "the last interval is cut to the deadline");
}

#[tokio::test]
async fn without_an_agent_in_the_configuration_nothing_is_waited_for() {
    let scene = Scene::http(one("running").config(config_with(json!({"agent": "0"}))).current("running"));
    call(&scene, "start", json!({})).await.unwrap();
    assert!(scene.clock.slept().is_empty() && scene.told.has("warn calamity (vmid 107) has no known address"));
}

#[tokio::test]
async fn the_poll_interval_can_be_fixed() {
    let mut http = one("running").config(config()).current("running");
    for _ in 0..3 {
        http = http.agent(500, SILENT, json!(null));
    }
    let scene = Scene::http(http.agent(200, "OK", agent("10.0.0.42")));
    call(&scene, "start", json!({"pollInterval": 2})).await.unwrap();
    assert_eq!(scene.clock.slept().iter().map(|d| d.as_secs()).collect::<Vec<_>>(), [2, 2, 2]);
}

#[tokio::test]
async fn somebody_elses_start_in_the_same_moment_is_success() {
    let http = one("stopped").config(config()).idle().current("stopped").current("stopped");
    let http = http.task(&start(), "qmstart", "VM 107 already running").current("running").current("running");
    let scene = Scene::http(http.agent(200, "OK", agent("10.0.0.42")));
    let outcome = call(&scene, "start", json!({})).await.unwrap();
    assert_eq!((outcome.changed, written(&outcome)["wasStarted"].clone()), (false, json!(false)));
}

fn lost() -> HttpError {
    HttpError::Broken { host: "10.0.0.4:8006".into(), request: "POST".into(), cause: "reset".into() }
}

#[tokio::test]
async fn after_a_lost_answer_a_look_decides_whether_it_is_asked_again() {
    let http = || one("stopped").config(config()).idle().current("stopped").current("stopped").expect_error(&start(), lost());
    let happened = Scene::http(http().idle().current("running").current("running").agent(200, "OK", agent("10.0.0.42")));
    let outcome = call(&happened, "start", json!({})).await.unwrap();
    assert_eq!((outcome.changed, written(&outcome)["wasStarted"].clone()), (true, json!(true)), "this call asked for it");
    let posts = |scene: &Scene| scene.http.lines().iter().filter(|line| line.starts_with("POST")).count();
    assert_eq!(posts(&happened), 1);
    assert!(happened.told.has("looking whether it happened all the same"));

    let not = http().idle().current("stopped").task(&start(), "qmstart", "OK").current("running").agent(200, "OK", agent("10.0.0.42"));
    let not = Scene::http(not);
    assert!(call(&not, "start", json!({})).await.unwrap().changed);
    assert_eq!(posts(&not), 2);

    let never = http().idle().current("stopped").expect_error(&start(), lost()).idle().current("stopped").expect_error(&start(), lost());
    let failure = call(&Scene::http(never), "start", json!({})).await.unwrap_err();
    assert_eq!(failure.acted, Acted::Maybe, "three times without an answer: {}", failure.message);
}

#[tokio::test]
async fn a_stop_without_an_answer_is_asked_for_again_only_while_it_runs() {
    let stop = format!("POST {VM}/status/shutdown");
    let http = || one("running").config(config()).current("running").idle().current("running").expect_error(&stop, lost());
    let happened = Scene::http(http().idle().current("stopped").current("stopped"));
    assert!(call(&happened, "stop", json!({})).await.unwrap().changed);
    let not = Scene::http(http().idle().current("running").task(&stop, "qmshutdown", "OK").current("stopped"));
    assert!(call(&not, "stop", json!({})).await.unwrap().changed);
    assert_eq!(not.http.lines().iter().filter(|line| line.starts_with("POST")).count(), 2);
}

#[tokio::test]
async fn what_pmx_deleted_itself_does_not_run() {
    let gone = || fleet(json!([{"vmid": 108, "name": "allthemons", "status": "stopped"}]));
    let deleted = Vm::from_value(known()).unwrap().ended(Status::Deleted).attributes().unwrap();
    let mut scene = Scene::http(gone());
    scene.knows("vm", "calamity", deleted);
    let outcome = call(&scene, "stop", json!({})).await.unwrap();
    assert_eq!((outcome.changed, outcome.summary.as_str()), (false, "calamity (vmid 107) is deleted: nothing runs"));
    assert_eq!(written(&outcome)["status"], "deleted");
    let failure = call(&Scene::http(gone()), "stop", json!({})).await.unwrap_err();
    assert!(failure.message.contains("there is no VM `calamity`"), "a name that was never seen is a slip: {}", failure.message);
}

#[tokio::test]
async fn a_running_backup_is_named_and_waited_for() {
    let tasks = "GET /api2/json/nodes/pve/tasks?source=active&vmid=107";
    let upid = "UPID:pve:00000001:00000002:6B042700:vzdump:107:ops@pve:";
    let row = |kind: &str| json!({"upid": upid, "type": kind, "id": "107", "user": "ops@pve", "status": "RUNNING"});
    let http = one("stopped")
        .config(config())
        .current("stopped")
        .expect(tasks, 200, data(json!([row("vzdump")])))
        .expect(&format!("GET {VM}/status/current"), 200, data(json!({"status": "stopped", "lock": "backup"})))
        .expect(tasks, 200, data(json!([row("vzdump")])))
        .expect(&format!("GET {VM}/status/current"), 200, data(json!({"status": "stopped", "lock": "backup"})))
        // A console is a task as well, and another VM's is none of our business.
        .expect(tasks, 200, data(json!([row("vncproxy"), {"upid": "x", "type": "vzdump", "id": "108", "user": "ops@pve"}])))
        .current("stopped")
        .task(&start(), "qmstart", "OK")
        .current("running")
        .agent(200, "OK", agent("10.0.0.42"));
    let scene = Scene::http(http);
    call(&scene, "start", json!({})).await.unwrap();
    assert!(scene.told.has(&format!("warn waiting for vzdump of calamity (vmid 107) by ops@pve ({upid})")), "{:?}", scene.told.all());
    assert!(scene.told.has("phase a running Proxmox task 1800"));
}

#[tokio::test]
async fn a_lock_that_nobody_holds_is_told_and_never_removed() {
    let locked = data(json!({"status": "stopped", "lock": "backup"}));
    let http = one("stopped").config(config()).idle().always(&format!("GET {VM}/status/current"), 200, locked);
    let scene = Scene::http(http);
    let failure = call(&scene, "start", json!({})).await.unwrap_err();
    assert_eq!(failure.message, "10.0.0.4:8006: calamity (vmid 107) is locked (backup) and no task is to be seen that holds the lock");
    assert!(failure.help.unwrap().contains("`qm unlock 107` on pve") && failure.acted == Acted::No);
    assert!(scene.http.lines().iter().all(|line| line.starts_with("GET ")));
}

#[tokio::test]
async fn a_lock_taken_in_between_is_tried_again() {
    let http = one("stopped").config(config()).idle().current("stopped").current("stopped");
    let http = http.task(&start(), "qmstart", "can't lock file '/var/lock/qemu-server/lock-107.conf' - got timeout").current("stopped");
    let http = http.task(&start(), "qmstart", "OK").current("running").agent(200, "OK", agent("10.0.0.42"));
    assert!(call(&Scene::http(http), "start", json!({})).await.unwrap().changed);
}

#[tokio::test]
async fn a_failed_start_is_a_failure_with_its_reason() {
    let http = one("stopped").config(config()).idle().current("stopped").current("stopped");
    let http = http.task(&start(), "qmstart", "start failed: QEMU exited with code 1");
    let failure = call(&Scene::http(http), "start", json!({})).await.unwrap_err();
    assert!(failure.message.ends_with("qmstart of 107 failed: start failed: QEMU exited with code 1"), "{}", failure.message);
}

#[tokio::test]
async fn a_vm_is_shut_down_through_its_guest() {
    let request = format!("POST {VM}/status/shutdown");
    let http =
        one("running").config(config()).idle().current("running").current("running").task(&request, "qmshutdown", "OK").current("stopped");
    let scene = Scene::http(http);
    let outcome = call(&scene, "stop", json!({"timeout": 90})).await.unwrap();
    let state = written(&outcome);
    assert_eq!(
        (&state["ip"], &state["status"], &state["uuid"].is_string(), outcome.changed),
        (&json!(null), &json!("stopped"), &true, true)
    );
    let sent = scene.http.seen().into_iter().find(|request| !request.form.is_empty()).unwrap();
    assert_eq!((sent.form[0].0.as_str(), sent.form[0].1.expose()), ("timeout", "90"));
    assert!(scene.told.has("phase the shutdown 120"));
}

#[tokio::test]
async fn a_vm_that_is_off_stays_so() {
    let scene = Scene::http(one("stopped").config(config()).current("stopped"));
    let outcome = call(&scene, "stop", json!({})).await.unwrap();
    assert_eq!((outcome.summary.as_str(), outcome.changed), ("calamity (vmid 107) is off already", false));
}

#[tokio::test]
async fn a_guest_that_does_not_listen_is_not_killed() {
    let request = format!("POST {VM}/status/shutdown");
    let http = one("running").config(config()).idle().current("running").current("running");
    let http = http.task(&request, "qmshutdown", "VM quit/powerdown failed - got timeout").current("running");
    let failure = call(&Scene::http(http), "stop", json!({})).await.unwrap_err();
    assert_eq!(
        (failure.message.as_str(), failure.acted),
        ("10.0.0.4:8006: calamity (vmid 107) did not shut down within 60 s", Acted::Maybe)
    );
    assert!(failure.help.unwrap().contains("mode = \"stop\""));
}

#[tokio::test]
async fn pulling_the_plug_overrules_a_shutdown_that_hangs() {
    let tasks = "GET /api2/json/nodes/pve/tasks?source=active&vmid=107";
    let hanging = json!([{"upid": "UPID:x", "type": "qmshutdown", "id": "107", "user": "root@pam"}]);
    let request = format!("POST {VM}/status/stop");
    let upid = "UPID:pve:0000017D:0002C75E:6B04272F:qmstop:107:root@pam:";
    let http = one("running")
        .config(config())
        .always(tasks, 200, data(hanging))
        .current("running")
        .current("running")
        .expect_form(&request, [("overrule-shutdown", "1")], 200, data(json!(upid)))
        .expect(&format!("GET /api2/json/nodes/pve/tasks/{upid}/status"), 200, data(json!({"status": "stopped", "exitstatus": "OK"})))
        .always(&format!("GET /api2/json/nodes/pve/tasks/{upid}/log*"), 200, data(json!([])))
        .current("stopped");
    assert!(call(&Scene::http(http), "stop", json!({"mode": "stop"})).await.unwrap().changed);
}

#[tokio::test]
async fn an_older_proxmox_is_asked_again_without_the_new_parameter() {
    let request = format!("POST {VM}/status/stop");
    let unknown = json!({"data": null, "errors": {"overrule-shutdown": "property is not defined in schema"}});
    let http = one("running").config(config()).idle().current("running").current("running").expect(&request, 400, unknown);
    let http = http.task(&request, "qmstop", "OK").current("stopped");
    assert!(call(&Scene::http(http), "stop", json!({"mode": "stop"})).await.unwrap().changed);
}

#[tokio::test]
async fn under_high_availability_the_task_is_not_the_end() {
    let request = format!("POST {VM}/status/shutdown");
    let http = one("running").config(config()).idle().current("running").current("running").task(&request, "hastop", "OK");
    let http = http.current("running").current("running").current("stopped");
    let scene = Scene::http(http);
    assert!(call(&scene, "stop", json!({})).await.unwrap().changed);
    assert!(scene.told.has("phase the VM to be off 90"));
}

#[tokio::test]
async fn cancelling_a_wait_for_the_address_is_a_cancellation() {
    let http: ScriptedHttp = one("running").config(config()).always(&format!("GET {VM}/status/current"), 200, current("running"));
    let scene = Scene::http(http.always(&format!("GET {VM}/agent/network-get-interfaces"), 500, ()));
    scene.told.cancel_at("phase the guest agent");
    let failure = call(&scene, "start", json!({})).await.unwrap_err();
    assert_eq!((failure.kind, failure.acted), (FailureKind::Cancelled, Acted::No));
}
