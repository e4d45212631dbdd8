//! What requests, accounts, tasks and `proxmox/node` do: wire script → outcome.

use futures_util::FutureExt as _;
use serde_json::{Value as Json, json};

use crate::model::contract::{Acted, Failure, FailureKind};
use crate::model::proxmox::api::{Account, Api, Endpoint, is_token};
use crate::model::proxmox::task::{self, Upid};
use crate::model::scene::{Scene, written};
use crate::secret::{Credential, Origin, Secret};
use crate::value::{Map, Value};
use crate::wire::http::{HttpError, Trust};
use crate::wire::scripted::ScriptedHttp;
use std::path::Path;
use std::time::Duration;

const TASK: &str = "UPID:pve2:0000017D:0002C75E:6B04272F:qmstart:101:root@pam:";
const AT: &str = "/api2/json/nodes/pve2/tasks/UPID:pve2:0000017D:0002C75E:6B04272F:qmstart:101:root@pam:";

fn endpoint(url: &str) -> Endpoint {
    Endpoint { api_url: url.into(), node: "pve".into(), fingerprint: None, ca_file: None, skip_tls_verify: false }
}

fn secret(text: &str) -> Secret {
    Secret::new(text, Origin::Computed)
}

fn handle(ticket: &str) -> Account {
    Account::Handle { ticket: Credential(secret(ticket)), csrf: Some(Credential(secret("CSRF"))) }
}

fn api<'a>(scene: &'a Scene, account: Account) -> Api<'a> {
    Api::new(&scene.ctx, &endpoint("10.0.0.4"), account).unwrap()
}

#[test]
fn addresses_are_brought_into_one_form() {
    for (given, base) in [
        ("10.0.0.4", "https://10.0.0.4:8006"),
        ("pve.example:9000", "https://pve.example:9000"),
        ("https://10.0.0.4:8006", "https://10.0.0.4:8006"),
        (" https://10.0.0.4:8006/api2/json/ ", "https://10.0.0.4:8006"),
        ("HTTPS://pve.example/", "https://pve.example"),
        ("[fd00::1]", "https://[fd00::1]:8006"),
        ("[fd00::1]:18006", "https://[fd00::1]:18006"),
    ] {
        assert_eq!(endpoint(given).base().unwrap(), base, "{given}");
    }
    for bad in ["", "http://10.0.0.4:8006", "ftp://x", "https://", "https://root@pve:8006"] {
        assert!(endpoint(bad).base().is_err(), "{bad}");
    }
}

#[test]
fn a_pin_comes_before_an_authority_before_no_check() {
    let mut endpoint = endpoint("pve");
    let root = Path::new("/project");
    assert_eq!(endpoint.trust(root).unwrap(), Trust::System);
    endpoint.skip_tls_verify = true;
    assert_eq!(endpoint.trust(root).unwrap(), Trust::Skip);
    endpoint.ca_file = Some("config/pve.pem".into());
    assert_eq!(endpoint.trust(root).unwrap(), Trust::CaFile("/project/config/pve.pem".into()));
    endpoint.fingerprint = Some("AB:".repeat(31) + "cd");
    assert_eq!(endpoint.trust(root).unwrap(), Trust::Fingerprint("ab".repeat(31) + "cd"));
    endpoint.fingerprint = Some("AB:CD".into());
    assert!(endpoint.trust(root).is_err());
}

#[test]
fn tokens_are_told_from_tickets() {
    assert!(is_token(&secret("root@pam!pmx=0734f46c-c198-4211-a255-e284d6a5b150")));
    assert!(!is_token(&secret("PVE:root@pam:6B0425CE::PjWU==")));
    // A signature may hold any base64, and a user name may hold a `!`.
    assert!(!is_token(&secret("PVE:a!b@pam:6B0425CE::PjWU==")));
}

#[tokio::test]
async fn a_ticket_is_a_cookie_and_writes_carry_the_csrf_token() {
    let http = ScriptedHttp::new()
        .expect("GET https://10.0.0.4:8006/api2/json/version", 200, json!({"data": {"version": "8.4.1"}}))
        .with_header("cookie", "PVEAuthCookie=T1")
        .expect_form("POST /api2/json/nodes/pve/qemu", [("net0", "virtio,bridge=vmbr0")], 200, json!({"data": null}))
        .with_header("cookie", "PVEAuthCookie=T1")
        .with_header("csrfpreventiontoken", "CSRF")
        .expect("DELETE /api2/json/x?purge=1", 200, json!({"data": null}))
        .with_header("csrfpreventiontoken", "CSRF");
    let scene = Scene::http(http);
    let api = api(&scene, handle("T1"));
    assert_eq!(api.get("/version", &[]).await.unwrap(), json!({"version": "8.4.1"}));
    api.post("/nodes/pve/qemu", &[("net0", "virtio,bridge=vmbr0")]).await.unwrap();
    api.delete("/x", &[("purge", "1")]).await.unwrap();
    let seen = scene.http.seen();
    assert!(seen[0].headers.iter().all(|(name, _)| name != "CSRFPreventionToken"), "a read needs none");
    assert!(seen[2].form.is_empty(), "a body on DELETE drops the connection");
    assert!(!format!("{seen:?}").contains("T1"), "no debug output shows the ticket");
}

#[tokio::test]
async fn a_token_needs_no_csrf_and_is_never_renewed() {
    let token = "root@pam!pmx=0734";
    let http = ScriptedHttp::new()
        .expect("POST /api2/json/x", 200, json!({"data": null}))
        .with_header("authorization", "PVEAPIToken=root@pam!pmx=0734")
        .expect_reason("GET /api2/json/x", 401, "invalid token value!", ());
    let scene = Scene::http(http);
    let api = api(&scene, Account::Handle { ticket: Credential(secret(token)), csrf: None });
    api.post("/x", &[]).await.unwrap();
    let failure = Failure::from(api.get("/x", &[]).await.unwrap_err());
    assert_eq!(failure.message, "10.0.0.4:8006: GET /x: invalid token value! (401)");
    assert!(!failure.message.contains("0734"));
    scene.http.finish();
}

#[tokio::test]
async fn a_refused_ticket_is_renewed_once_and_the_request_repeated() {
    let http = ScriptedHttp::new()
        .expect_reason("POST /api2/json/x", 401, "permission denied - invalid PVE ticket", ())
        .with_header("cookie", "PVEAuthCookie=T1")
        .expect("POST /api2/json/x", 200, json!({"data": "done"}))
        .with_header("cookie", "PVEAuthCookie=T2")
        .expect_reason("GET /api2/json/y", 401, "Authentication failed!", ())
        .expect_reason("GET /api2/json/y", 401, "Authentication failed!", ());
    let scene = Scene::http(http);
    scene.keys.renews("T1", "T2");
    scene.keys.renews("T2", "T3");
    let api = api(&scene, handle("T1"));
    assert_eq!(api.post("/x", &[]).await.unwrap(), "done");
    let failure = Failure::from(api.get("/y", &[]).await.unwrap_err());
    assert_eq!((failure.message.as_str(), failure.acted), ("10.0.0.4:8006: GET /y: Authentication failed! (401)", Acted::No));
    scene.http.finish();
}

#[tokio::test]
async fn the_most_specific_reason_is_shown() {
    let cases: [(u16, &str, Json, &str); 4] = [
        (500, "no such file '/nosuch'", Json::Null, "no such file '/nosuch'"),
        (500, "storage", json!({"data": null, "message": "storage 'nostore' does not exist\n"}), "storage 'nostore' does not exist"),
        (
            400,
            "Parameter verification failed.",
            json!({"data": null, "message": "Parameter verification failed.\n", "errors": {"b": "bad\nworse\n", "a": "missing"}}),
            "a: missing, b: bad; worse",
        ),
        (403, "Permission check failed (/vms/100, VM.PowerMgmt)", Json::Null, "Permission check failed (/vms/100, VM.PowerMgmt)"),
    ];
    for (status, phrase, body, shown) in cases {
        let scene = Scene::http(ScriptedHttp::new().expect_reason("PUT /api2/json/x", status, phrase, body));
        let error = api(&scene, handle("T")).put("/x", &[]).await.unwrap_err();
        assert_eq!(error.reason(), shown);
        let failure = Failure::from(error);
        assert_eq!(failure.acted, Acted::No, "a clear refusal did nothing");
        assert_eq!(failure.help.is_some_and(|help| help.contains("VM.PowerMgmt on /vms/100")), status == 403);
    }
}

#[tokio::test]
async fn a_broken_proxy_leaves_a_write_unknown_and_a_read_harmless() {
    let gone = |request: &str| HttpError::Broken { host: "h".into(), request: request.into(), cause: "reset".into() };
    let http = ScriptedHttp::new()
        .expect_reason("POST /api2/json/x", 596, "Broken pipe", ())
        .expect_reason("GET /api2/json/x", 595, "Connection refused", ())
        .expect_error("POST /api2/json/x", gone("POST /x"))
        .expect_error("POST /api2/json/x", HttpError::Connect { host: "h".into(), cause: "refused".into() });
    let scene = Scene::http(http);
    let api = api(&scene, handle("T"));
    let acted = |error| Failure::from(error).acted;
    assert_eq!(acted(api.post("/x", &[]).await.unwrap_err()), Acted::Maybe);
    assert_eq!(acted(api.get("/x", &[]).await.unwrap_err()), Acted::No);
    assert_eq!(acted(api.post("/x", &[]).await.unwrap_err()), Acted::Maybe);
    assert_eq!(acted(api.post("/x", &[]).await.unwrap_err()), Acted::No);
}

#[tokio::test]
async fn a_stranger_behind_the_address_is_told() {
    let scene = Scene::http(ScriptedHttp::new().expect("GET /api2/json/version", 200, "<html>It works!"));
    let failure = Failure::from(api(&scene, handle("T")).get("/version", &[]).await.unwrap_err());
    assert!(failure.message.contains("not that of a Proxmox API: `<html>It works!`"), "{}", failure.message);
}

#[test]
fn upids_of_every_shape() {
    let long = "UPID:pve-2:000003F2:100031CD1:6B042809:imgcopy::root@pam!pmx:";
    let upid: Upid = long.parse().unwrap();
    assert_eq!((upid.node.as_str(), upid.kind.as_str(), upid.id.as_str(), upid.user.as_str()), ("pve-2", "imgcopy", "", "root@pam!pmx"));
    assert_eq!(upid.to_string(), long);
    for bad in
        ["", "UPID", "UPID:pve:1:2:3:a:b:c:", &TASK[..TASK.len() - 1], "UPID:p/../e:0000017D:0002C75E:6B04272F:qmstart:101:root@pam:"]
    {
        assert!(bad.parse::<Upid>().is_err(), "{bad}");
    }
}

fn status(exit: Option<&str>) -> Json {
    match exit {
        None => json!({"data": {"status": "running"}}),
        Some(exit) => json!({"data": {"status": "stopped", "exitstatus": exit}}),
    }
}

fn log(lines: &[&str]) -> Json {
    let rows: Vec<Json> = lines.iter().enumerate().map(|(n, t)| json!({"n": n + 1, "t": t})).collect();
    json!({"data": rows, "total": rows.len()})
}

async fn wait(scene: &Scene) -> Result<task::Done, task::TaskError> {
    let done = task::wait(&api(scene, handle("T")), &json!(TASK), "the start", Duration::from_secs(60)).await;
    scene.http.finish();
    done
}

#[tokio::test]
async fn a_task_is_journalled_before_it_is_asked_for_on_its_own_node() {
    let http = ScriptedHttp::new()
        .expect_reason(&format!("GET {AT}/status"), 400, "Parameter verification failed.", json!({"errors": {"upid": "no such task"}}))
        .expect(&format!("GET {AT}/status"), 200, status(None))
        .expect(&format!("GET {AT}/status"), 200, status(Some("OK")))
        .expect(&format!("GET {AT}/log?start=0&limit=500"), 200, log(&["generating cloud-init ISO", "TASK OK"]));
    let scene = Scene::http(http);
    assert_eq!(wait(&scene).await.unwrap().warnings.len(), 0);
    assert_eq!(scene.told.all(), [&format!("task {TASK}"), "phase the start 60", "line generating cloud-init ISO"]);
    assert!(scene.clock.slept()[0] <= Duration::from_millis(30), "a short task is seen soon");
}

#[tokio::test]
async fn warnings_are_success_and_are_told() {
    let http = ScriptedHttp::new().expect(&format!("GET {AT}/status"), 200, status(Some("WARNINGS: 1"))).expect(
        &format!("GET {AT}/log*"),
        200,
        log(&["WARN: no efidisk configured", "TASK WARNINGS: 1"]),
    );
    let scene = Scene::http(http);
    assert_eq!(wait(&scene).await.unwrap().warnings, ["WARN: no efidisk configured"]);
    assert!(scene.told.has("warn WARN: no efidisk configured"));
}

#[tokio::test]
async fn a_failed_task_shows_the_end_of_its_log() {
    let http = ScriptedHttp::new().expect(&format!("GET {AT}/status"), 200, status(Some("start failed: QEMU exited with code 1 "))).expect(
        &format!("GET {AT}/log*"),
        200,
        log(&["bridge 'vmbr9' does not exist", "TASK ERROR: start failed: QEMU exited with code 1"]),
    );
    let error = wait(&Scene::http(http)).await.unwrap_err();
    assert_eq!(error.exit, "start failed: QEMU exited with code 1");
    assert_eq!(error.failure.message, "10.0.0.4:8006: qmstart of 101 failed: start failed: QEMU exited with code 1");
    assert_eq!((error.failure.tail, error.failure.acted), (vec!["bridge 'vmbr9' does not exist".to_owned()], Acted::Maybe));
}

#[tokio::test]
async fn an_unexpected_status_is_read_again_and_never_called_ok() {
    let mut http = ScriptedHttp::new();
    for _ in 0..2 {
        http = http.expect(&format!("GET {AT}/status"), 200, status(Some("unexpected status")));
    }
    let late = http.expect(&format!("GET {AT}/status"), 200, status(Some("OK"))).expect(&format!("GET {AT}/log*"), 200, log(&["TASK OK"]));
    wait(&Scene::http(late)).await.unwrap();
    let never = ScriptedHttp::new().always(&format!("GET {AT}/status"), 200, status(Some("unexpected status"))).always(
        &format!("GET {AT}/log*"),
        200,
        json!({"data": [{"n": 1, "t": "no content"}]}),
    );
    let error = wait(&Scene::http(never)).await.unwrap_err();
    assert!(error.failure.message.contains("ended without saying how"), "{}", error.failure.message);
    assert_eq!(error.failure.acted, Acted::Maybe);
}

#[tokio::test]
async fn a_long_log_is_read_page_by_page_while_the_task_runs() {
    let lines: Vec<String> = (0..503).map(|n| format!("line {n}")).collect();
    let page = |range: std::ops::Range<usize>| {
        let rows: Vec<Json> = range.map(|n| json!({"n": n + 1, "t": lines[n]})).collect();
        json!({"data": rows, "total": 503})
    };
    let http = ScriptedHttp::new()
        .any_order()
        .always(&format!("GET {AT}/log?start=500&limit=500"), 200, page(500..503))
        .expect(&format!("GET {AT}/log?start=0&limit=500"), 200, page(0..500))
        .expect(&format!("GET {AT}/log?start=503&limit=500"), 200, json!({"data": [], "total": 503}));
    let mut http = http;
    for _ in 0..9 {
        http = http.expect(&format!("GET {AT}/status"), 200, status(None));
    }
    let scene = Scene::http(http.expect(&format!("GET {AT}/status"), 200, status(Some("OK"))));
    wait(&scene).await.unwrap();
    let told: Vec<String> = scene.told.all().into_iter().filter(|line| line.starts_with("line ")).collect();
    assert_eq!((told.len(), told[502].as_str()), (503, "line line 502"));
}

#[tokio::test]
async fn a_lost_connection_in_the_middle_does_not_lose_the_task() {
    let http = ScriptedHttp::new()
        .expect_error(&format!("GET {AT}/status"), HttpError::Connect { host: "h".into(), cause: "refused".into() })
        .expect_reason(&format!("GET {AT}/status"), 596, "Broken pipe", ())
        .expect(&format!("GET {AT}/status"), 200, status(Some("OK")))
        .expect(&format!("GET {AT}/log*"), 200, log(&["TASK OK"]));
    wait(&Scene::http(http)).await.unwrap();
    let dead = ScriptedHttp::new().always(&format!("GET {AT}/*"), 596, ());
    let error = wait(&Scene::http(dead)).await.unwrap_err();
    assert_eq!(error.failure.acted, Acted::Maybe);
}

#[tokio::test]
async fn a_wait_ends_at_its_deadline_and_says_what_it_waited_for() {
    let http = ScriptedHttp::new().always(&format!("GET {AT}/status"), 200, status(None)).always(
        &format!("GET {AT}/log*"),
        200,
        json!({"data": [{"n": 1, "t": "no content"}]}),
    );
    let scene = Scene::http(http);
    let failure = wait(&scene).await.unwrap_err().failure;
    assert!(failure.message.contains("still runs after 60 s"), "{}", failure.message);
    assert_eq!(failure.acted, Acted::Maybe);
    assert!(scene.told.has("warn still waiting for the start after 30 s"), "{:?}", scene.told.all());
    assert!(!scene.told.has("no content"));
}

#[tokio::test]
async fn cancelling_stops_the_task_too() {
    let http = ScriptedHttp::new()
        .always(&format!("GET {AT}/status"), 200, status(None))
        .expect(&format!("DELETE {AT}"), 200, json!({"data": null}))
        .with_header("csrfpreventiontoken", "CSRF");
    let scene = Scene::http(http);
    scene.told.cancel_at("phase the start");
    let failure = wait(&scene).await.unwrap_err().failure;
    assert_eq!((failure.kind, failure.acted), (FailureKind::Cancelled, Acted::Maybe));
}

fn node() -> Json {
    json!({"apiUrl": "https://10.0.0.4:8006", "node": "pve", "username": "root", "password": "hunter2"})
}

fn login(ticket: &str) -> Json {
    json!({"data": {"username": "root@pam", "ticket": ticket, "CSRFPreventionToken": "6B0425CE:Nu5Z", "cap": {}}})
}

const LOGIN: &str = "POST /api2/json/access/ticket";

#[tokio::test]
async fn a_login_leaves_secrets_as_secrets() {
    let form = [("username", "root@pam"), ("password", "hunter2")];
    let scene = Scene::http(ScriptedHttp::new().expect_form(LOGIN, form, 200, login("PVE:root@pam:6B0425CE::sig")));
    let outcome = scene.call("proxmox/node", "auth", node(), json!({})).await.unwrap();
    assert_eq!(
        written(&outcome),
        json!({"apiUrl": "https://10.0.0.4:8006", "csrfToken": "[secret]", "kind": "ticket", "node": "pve", "ticket": "[secret]", "username": "root@pam"})
    );
    assert!(!outcome.changed && outcome.summary == "logged in as root@pam at 10.0.0.4:8006");
}

#[tokio::test]
async fn a_token_logs_nobody_in() {
    let scene = Scene::http(ScriptedHttp::new());
    let globals = json!({"apiUrl": "10.0.0.4", "node": "pve", "username": "root", "tokenId": "pmx", "tokenSecret": "0734f46c"});
    let outcome = scene.call("proxmox/node", "auth", globals, json!({})).await.unwrap();
    let Some(Value::Secret(ticket)) = outcome.writes[0].attributes.get("ticket") else { panic!("the ticket must be a secret") };
    assert_eq!(ticket.expose(), "root@pam!pmx=0734f46c");
    assert_eq!(outcome.writes[0].attributes.get("csrfToken"), Some(&Value::Null));
    assert_eq!(outcome.writes[0].attributes.get("username").and_then(Value::as_str), Some("root@pam!pmx"));
}

#[tokio::test]
async fn a_refused_login_names_the_usual_causes_and_the_realm() {
    let refused = json!({"data": null, "message": "authentication failure\n"});
    let scene = Scene::http(ScriptedHttp::new().expect_reason(LOGIN, 401, "authentication failure", refused));
    let failure = scene.call("proxmox/node", "auth", node(), json!({})).await.unwrap_err();
    assert_eq!(failure.message, "10.0.0.4:8006: the login of root@pam was refused: authentication failure");
    let help = failure.help.unwrap();
    assert!(help.contains("the realm is (pam:") && help.contains("password is wrong"), "{help}");
}

#[tokio::test]
async fn a_second_factor_is_told_apart() {
    for answer in [json!({"data": {"NeedTFA": 1, "ticket": "PVE:!tfa!x", "CSRFPreventionToken": "c"}}), login("PVE:!tfa!%7B%22")] {
        let scene = Scene::http(ScriptedHttp::new().expect(LOGIN, 200, answer));
        let failure = scene.call("proxmox/node", "auth", node(), json!({})).await.unwrap_err();
        assert_eq!(failure.message, "10.0.0.4:8006: root@pam needs a second factor, which pmx cannot give");
        assert!(failure.help.unwrap().contains("pveum user token add root@pam pmx"));
    }
}

#[tokio::test]
async fn an_old_ticket_is_exchanged_and_a_dead_one_is_not_tried() {
    let seconds = 1_795_435_200i64;
    let ticket = |age: i64| format!("PVE:root@pam:{:08X}::sig", seconds - age);
    let known = |ticket: &str| Value::Map(Map::from([("ticket".to_owned(), Value::Secret(secret(ticket)))]));
    let old = ticket(6600);
    let form = [("username", "root@pam"), ("password", old.as_str())];
    let mut scene = Scene::http(ScriptedHttp::new().expect_form(LOGIN, form, 200, login(&ticket(0))));
    scene.knows("node", "node", known(&old));
    let outcome = scene.call("proxmox/node", "auth", node(), json!({})).await.unwrap();
    assert_eq!(outcome.summary, "renewed the ticket as root@pam at 10.0.0.4:8006");

    let password = [("username", "root@pam"), ("password", "hunter2")];
    let mut scene = Scene::http(ScriptedHttp::new().expect_form(LOGIN, password, 200, login(&ticket(0))));
    scene.knows("node", "node", known(&ticket(7300)));
    scene.call("proxmox/node", "auth", node(), json!({})).await.unwrap();

    let http = ScriptedHttp::new().expect_reason(LOGIN, 401, "no", ()).expect_form(LOGIN, password, 200, login(&ticket(0)));
    let mut scene = Scene::http(http);
    scene.knows("node", "node", known(&old));
    scene.call("proxmox/node", "auth", node(), json!({})).await.unwrap();
}

#[tokio::test]
async fn no_certificate_check_warns_on_every_call() {
    let mut globals = node();
    globals["skipTlsVerify"] = json!(true);
    let scene = Scene::http(ScriptedHttp::new().expect(LOGIN, 200, login("PVE:root@pam:6B0425CE::sig")));
    scene.call("proxmox/node", "auth", globals, json!({})).await.unwrap();
    assert!(scene.told.has("warn the certificate of 10.0.0.4:8006 is not checked (skipTlsVerify)"));
}

#[tokio::test]
async fn the_status_uses_the_kept_ticket_and_names_a_missing_node() {
    let body = json!({"data": {"cpu": 0.25, "memory": {"used": 10, "total": 40, "free": 30}, "uptime": 7300, "pveversion": "pve-manager/8.4.1/2a5f"}});
    let rights = json!({"data": {"/vms": {"VM.Audit": 1}, "/storage": {"Datastore.AllocateSpace": 1}, "/nodes": {"Sys.Audit": 1}, "/sdn/zones": {"SDN.Use": 1}}});
    let http = ScriptedHttp::new()
        .expect("GET /api2/json/nodes/pve/status", 200, body)
        .with_header("cookie", "PVEAuthCookie=PVE:me@pve:kept")
        .expect("GET /api2/json/access/permissions", 200, rights);
    let scene = Scene::http(http);
    scene.keys.holds("ticket", "PVE:me@pve:kept");
    let outcome = scene.call("proxmox/node", "status", node(), json!({})).await.unwrap();
    let missing = json!([{
        "path": "/vms",
        "privileges": "VM.PowerMgmt VM.Allocate VM.Config.Options VM.Config.CPU VM.Config.Memory VM.Config.Network VM.Config.Disk",
        "needed": "to see, start, stop, make, change and delete VMs",
        "grant": "pveum acl modify /vms --users 'me@pve' --roles PVEVMAdmin",
    }]);
    let seen = json!({
        "cpu": 0.25, "memory": {"used": 10, "total": 40}, "uptime": 7300, "version": "8.4.1", "node": "pve", "account": "me@pve", "clockSkew": null,
        "missingRights": missing,
    });
    assert_eq!(written(&outcome), seen);

    let reason = "hostname lookup 'pve' failed - failed to get address info";
    let http = ScriptedHttp::new()
        .expect(LOGIN, 200, login("PVE:root@pam:6B0425CE::sig"))
        .expect_reason("GET /api2/json/nodes/pve/status", 500, reason, ())
        .expect("GET /api2/json/nodes", 200, json!({"data": [{"node": "pve1"}]}));
    let failure = Scene::http(http).call("proxmox/node", "status", node(), json!({})).await.unwrap_err();
    assert_eq!(failure.message, "10.0.0.4:8006: there is no node `pve`");
    assert_eq!(failure.help.as_deref(), Some("nodes there are: pve1; did you mean `pve1`?"));
}

/// Answers `line` with spoiled bytes and the rest as `good` does, while a method is called or a task waited for; words or a value come of it.
fn spoiled<F>(seeds: &[Json], (line, good): (String, fn() -> ScriptedHttp), ask: impl Fn(Scene) -> F + Send + 'static)
where
    F: Future<Output = Result<(), Failure>>,
{
    let seeds: Vec<String> = seeds.iter().map(ToString::to_string).collect();
    crate::walks::feed(&seeds, move |bytes| {
        let http = ScriptedHttp::new().any_order().always(&line, 200, bytes.to_vec()).followed_by(good());
        let http = http.always("GET *", 200, json!({"data": {}}));
        // A clock that moves by itself lets every wait end at its deadline.
        ask(Scene::http(http)).now_or_never().map_or(Ok(()), |asked| asked.map_err(|failure| failure.message))
    });
}

async fn called(scene: Scene, method: &str) -> Result<(), Failure> {
    scene.call("proxmox/node", method, node(), json!({})).await.map(drop)
}

#[test]
fn answers_to_a_login_and_about_a_node_are_read_or_refused_however_spoiled() {
    let good = || {
        let running = json!({"data": {"cpu": 0.25, "memory": {"used": 10, "total": 40}, "uptime": 7300, "pveversion": "pve-manager/8.4.1/2a5fa54a8503f96d"}});
        let http = ScriptedHttp::new().always(LOGIN, 200, login("PVE:root@pam:6B0425CE::sig"));
        http.always("GET /api2/json/nodes/pve/status", 200, running)
            .always("GET /api2/json/access/permissions", 200, json!({"data": {"/": {"VM.Audit": 1}}}))
            .always("GET /api2/json/nodes", 200, json!({"data": [{"node": "pve"}]}))
    };
    spoiled(&[login("PVE:root@pam:6B0425CE::sig")], (LOGIN.to_owned(), good), |scene| called(scene, "auth"));
    let status =
        json!({"data": {"cpu": 0.25, "memory": {"used": "10", "total": 40}, "uptime": 7300, "pveversion": "pve-manager/8.4.1/2a5f"}});
    spoiled(&[status], ("GET /api2/json/nodes/pve/status".to_owned(), good), |scene| called(scene, "status"));
    let rights = json!({"data": {"/": {"VM.Audit": 1}, "/vms/107": {"VM.PowerMgmt": 1, "VM.Config.Disk": 0}}});
    spoiled(&[rights], ("GET /api2/json/access/permissions".to_owned(), good), |scene| called(scene, "status"));
}

#[test]
fn states_and_logs_of_tasks_are_read_or_refused_however_spoiled() {
    let good = || {
        let http = ScriptedHttp::new().always(&format!("GET {AT}/status"), 200, status(Some("OK")));
        http.always(&format!("GET {AT}/log*"), 200, log(&["generating cloud-init ISO", "TASK OK"])).always(
            "DELETE *",
            200,
            json!({"data": null}),
        )
    };
    let waited = |scene: Scene| async move { wait(&scene).await.map(drop).map_err(|error| error.failure) };
    spoiled(&[status(Some("OK")), status(Some("WARNINGS: 1"))], (format!("GET {AT}/status"), good), waited);
    let lines = log(&["WARN: no efidisk configured", "TASK WARNINGS: 1"]);
    spoiled(&[lines, log(&[])], (format!("GET {AT}/log*"), good), waited);
}
