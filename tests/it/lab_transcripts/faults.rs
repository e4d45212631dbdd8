//! The lab misbehaving as it is told, and the ways of a login.

use std::time::{Duration, Instant};

use serde_json::json;

use pmx::lab::control::{Request, Tinker};
use pmx::lab::faults::FaultKind;
use pmx::lab::{Dialect, LabError, Seed};

use super::wire::{Bench, Session, encode, form};

const NODE: &str = "/nodes/keeb-dev-02";

fn kind(text: &str) -> FaultKind {
    text.parse().unwrap()
}

#[tokio::test]
async fn a_ticket_lives_two_hours_and_is_renewed_by_itself() {
    let bench = Bench::start(Seed::Fleet).await;
    let mut control = bench.control().await;
    let root = bench.root().await;
    control.ask(&Request::Advance { seconds: 7100 }).await.unwrap();
    assert_eq!(root.call("GET", "/version", &[]).await.status(), 200);
    let renewed = Session::log_in(&bench, "root@pam", &root.ticket).await;
    control.ask(&Request::Advance { seconds: 200 }).await.unwrap();
    let old = root.call("GET", "/version", &[]).await;
    assert_eq!((old.status_line.as_str(), old.body.as_str()), ("HTTP/1.1 401 permission denied - invalid PVE ticket", ""));
    assert!(old.all("Content-Length").is_empty(), "no length, no type");
    assert_eq!(renewed.call("GET", "/version", &[]).await.status(), 200);
    control.set_fault(kind("ticket-expired"), None).await.unwrap();
    assert_eq!(renewed.call("GET", "/version", &[]).await.status(), 401);
    let logins = control.requests(false).await.unwrap().into_iter().filter(|served| served.path == "/access/ticket").count();
    assert_eq!(logins, 2, "tests can count logins");
}

#[tokio::test]
async fn a_second_factor_gives_a_ticket_that_opens_nothing() {
    let bench = Bench::start(Seed::Fleet).await;
    bench.control().await.set_fault(kind("tfa-required"), None).await.unwrap();
    let half = bench.root().await;
    assert!(half.ticket.starts_with("PVE:!tfa!root@pam:"));
    assert_eq!(half.call("GET", "/version", &[]).await.status(), 401);
}

#[tokio::test]
async fn without_rights_lists_are_empty_and_single_vms_refused() {
    let bench = Bench::start(Seed::Fleet).await;
    let root = bench.root().await;
    let made = root.call("POST", &format!("/access/users/{}/token/sep", encode("root@pam")), &[]).await.data();
    let header = format!("PVEAPIToken=root@pam!sep={}", made["value"].as_str().unwrap());
    let list = async |path: &str| {
        bench.connect().await.send("GET", &format!("/api2/json{path}"), &[("Authorization", &header)], None).await.unwrap()
    };
    assert_eq!(list(&format!("{NODE}/qemu")).await.data(), json!([]));
    assert_eq!(list("/access/permissions").await.data(), json!({}));
    assert_eq!(list(&format!("{NODE}/qemu/100/config")).await.reason(), "Permission check failed (/vms/100, VM.Audit)");
    let grant = [("path", "/vms"), ("roles", "PVEVMUser"), ("tokens", "root@pam!sep")];
    assert_eq!(root.call("PUT", "/access/acl", &grant).await.status(), 200);
    assert_eq!(list(&format!("{NODE}/qemu")).await.data().as_array().unwrap().len(), 10);
    let address = list(&format!("{NODE}/qemu/107/agent/network-get-interfaces")).await;
    assert_eq!(address.reason(), "Permission check failed (/vms/107, VM.Monitor)", "seeing a VM is not enough to see its address");
    bench.control().await.set_fault(kind("no-rights"), None).await.unwrap();
    let empty = root.call("GET", &format!("{NODE}/qemu"), &[]).await;
    assert_eq!((empty.status(), empty.data()), (200, json!([])), "even root sees nothing, and no error says why");
}

#[tokio::test]
async fn a_lost_write_has_happened_or_not_as_told() {
    let bench = Bench::start(Seed::Fleet).await;
    let root = bench.root().await;
    let mut control = bench.control().await;
    control.set_fault(kind("http-596:1"), None).await.unwrap();
    let path = format!("{NODE}/qemu");
    let lost = root.call("POST", &path, &[("vmid", "400")]).await;
    assert_eq!((lost.status(), lost.body.as_str()), (596, ""));
    assert_eq!(root.call("GET", &format!("{path}/400/config"), &[]).await.status(), 500, "it did not happen");
    control.set_fault(kind("http-596-after:1"), None).await.unwrap();
    assert_eq!(root.call("POST", &path, &[("vmid", "400")]).await.status(), 596);
    assert_eq!(root.call("GET", &format!("{path}/400/config"), &[]).await.status(), 200, "it did");
    assert_eq!(root.call("POST", &path, &[("vmid", "401")]).await.status(), 200, "the count is spent");
    control.set_fault(kind("drop-connection:1"), Some(100)).await.unwrap();
    assert_eq!(root.call("GET", &format!("{path}/101/config"), &[]).await.status(), 200, "another VM");
    assert!(root.try_call("GET", &format!("{path}/100/config"), &[]).await.is_none());
    assert_eq!(root.call("GET", &format!("{path}/100/config"), &[]).await.status(), 200);
}

#[tokio::test]
async fn a_configuration_lock_meets_each_call_in_its_own_way() {
    let bench = Bench::start(Seed::Fleet).await;
    let root = bench.root().await;
    bench.control().await.set_fault(kind("locked"), Some(101)).await.unwrap();
    let vm = format!("{NODE}/qemu/101");
    assert_eq!(root.call("PUT", &format!("{vm}/config"), &[("cores", "1")]).await.reason(), "VM is locked (backup)");
    assert_eq!(root.task("POST", &format!("{vm}/status/start"), &[]).await, "VM is locked (backup)");
    assert_eq!(root.task("DELETE", &vm, &[]).await, "VM is locked (backup)");
    assert_eq!(root.task("POST", &format!("{vm}/status/stop"), &[]).await, "OK", "it is stopped already");
    assert_eq!(root.call("GET", &format!("{vm}/status/current"), &[]).await.data()["lock"], "backup");
}

#[tokio::test]
async fn tasks_warn_and_fail_as_told() {
    let bench = Bench::start(Seed::Fleet).await;
    let root = bench.root().await;
    let mut control = bench.control().await;
    control.set_fault(kind("task-warnings"), Some(101)).await.unwrap();
    let upid = root.call("POST", &format!("{NODE}/qemu/101/status/start"), &[]).await.data().as_str().unwrap().to_owned();
    let (status, log) = root.wait(&upid).await;
    assert_eq!(status["exitstatus"], "WARNINGS: 1");
    assert_eq!(log["data"][1]["t"], "TASK WARNINGS: 1");
    control.set_fault(kind("task-fails:no space left"), Some(104)).await.unwrap();
    assert_eq!(root.task("POST", &format!("{NODE}/qemu/104/status/start"), &[]).await, "no space left");
    assert_eq!(root.call("GET", &format!("{NODE}/qemu/104/status/current"), &[]).await.data()["status"], "stopped");
}

#[tokio::test]
async fn the_lock_of_a_vm_is_waited_for_ten_seconds_and_stop_can_overrule_a_shutdown() {
    let bench = Bench::start(Seed::Bare).await;
    let root = bench.root().await;
    let vm = "/nodes/pve/qemu/100";
    assert_eq!(root.task("POST", "/nodes/pve/qemu", &[("vmid", "100"), ("agent", "1")]).await, "OK");
    assert_eq!(root.task("POST", &format!("{vm}/status/start"), &[]).await, "OK");
    let shutdown = root.call("POST", &format!("{vm}/status/shutdown"), &[("timeout", "600")]).await.data().as_str().unwrap().to_owned();
    let began = Instant::now();
    let late = root.call("PUT", &format!("{vm}/config"), &[("cores", "2")]).await;
    assert_eq!(late.reason(), "can't lock file '/var/lock/qemu-server/lock-100.conf' - got timeout");
    assert!(began.elapsed() >= Duration::from_millis(200), "ten seconds at this pace");
    let active = root.call("GET", "/nodes/pve/tasks", &[("source", "active")]).await.data();
    assert_eq!((active[0]["status"].clone(), active[0]["upid"].clone()), (json!("RUNNING"), json!(shutdown)));
    let stop = root.call("POST", &format!("{vm}/status/stop"), &[("overrule-shutdown", "1")]).await.data().as_str().unwrap().to_owned();
    let (status, log) = root.wait(&stop).await;
    assert_eq!(status["exitstatus"], "OK");
    assert_eq!(log["data"][0]["t"], format!("overruled qmshutdown tasks: {shutdown}"));
    assert_eq!(root.wait(&shutdown).await.0["exitstatus"], "received interrupt");
}

#[tokio::test]
async fn a_reboot_ends_with_the_guest_down_and_is_started_again_by_another_task() {
    let bench = Bench::start_with(Seed::Fleet, |options| options.pace = 0.2).await;
    let root = bench.root().await;
    assert_eq!(root.task("POST", &format!("{NODE}/qemu/107/status/reboot"), &[]).await, "OK");
    assert_eq!(root.call("GET", &format!("{NODE}/qemu/107/status/current"), &[]).await.data()["status"], "stopped");
    for _ in 0..200 {
        let tasks = root.call("GET", &format!("{NODE}/tasks"), &[("vmid", "107")]).await.data();
        if tasks[0]["type"] == "qmstart" {
            assert_eq!(tasks[0]["status"], "OK");
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("nobody started the VM again");
}

#[tokio::test]
async fn a_missing_program_in_the_guest_breaks_the_answer() {
    let bench = Bench::start(Seed::Fleet).await;
    let root = bench.root().await;
    let reply = root.call("POST", &format!("{NODE}/qemu/107/agent/exec"), &[("command", "/bin/no-such-program")]).await;
    assert_eq!((reply.status_line.as_str(), reply.body.as_str()), ("HTTP/1.1 596 Broken pipe", ""));
    bench.control().await.set_fault(kind("agent-absent"), Some(107)).await.unwrap();
    let silent = root.call("POST", &format!("{NODE}/qemu/107/agent/ping"), &[]).await;
    assert_eq!(silent.reason(), "QEMU guest agent is not running");
}

#[tokio::test]
async fn programs_and_files_of_the_guest_are_reached_through_its_agent() {
    let bench = Bench::start(Seed::Fleet).await;
    let root = bench.root().await;
    let agent = format!("{NODE}/qemu/107/agent");
    let words = [("command", "/bin/sh"), ("command", "-c"), ("command", "echo hi; cat /etc/hostname >&2; exit 3")];
    let pid = root.call("POST", &format!("{agent}/exec"), &words).await.data()["pid"].to_string();
    let mut ended = json!(null);
    for _ in 0..200 {
        ended = root.call("GET", &format!("{agent}/exec-status"), &[("pid", &pid)]).await.data();
        if ended["exited"] == 1 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(
        ended,
        json!({"exited": 1, "exitcode": 3, "out-data": "hi\n", "out-truncated": 0, "err-data": "calamity\n", "err-truncated": 0})
    );
    let unknown = root.call("GET", &format!("{agent}/exec-status"), &[("pid", "1")]).await;
    assert_eq!(unknown.reason(), "Agent error: Invalid parameter 'pid'");
    let missing = root.call("GET", &format!("{agent}/file-read"), &[("file", "/tmp/nosuch")]).await;
    assert_eq!(missing.reason(), "Agent error: failed to open file '/tmp/nosuch' (mode: 'r'): No such file or directory");
    assert_eq!(root.call("POST", &format!("{agent}/file-write"), &[("file", "/root/x"), ("content", "a=b;c")]).await.status(), 200);
    assert_eq!(root.call("GET", &format!("{agent}/file-read"), &[("file", "/root/x")]).await.data()["content"], "a=b;c");
}

#[tokio::test]
async fn a_stranger_with_the_same_name_and_a_swapped_uuid_show_in_the_lists() {
    let bench = Bench::start(Seed::Fleet).await;
    let root = bench.root().await;
    let mut control = bench.control().await;
    control.ask(&Request::Stranger { vmid: 555, name: "calamity".into() }).await.unwrap();
    control.tinker(107, Tinker::Uuid("11111111-2222-4333-8444-555555555555".into())).await.unwrap();
    let list = root.call("GET", &format!("{NODE}/qemu"), &[]).await.data();
    assert_eq!(list.as_array().unwrap().iter().filter(|vm| vm["name"] == "calamity").count(), 2);
    let config = root.call("GET", &format!("{NODE}/qemu/107/config"), &[]).await.data();
    assert_eq!(config["smbios1"], "uuid=11111111-2222-4333-8444-555555555555");
    let refused = control.ask(&Request::Stranger { vmid: 555, name: "x".into() }).await;
    assert!(matches!(refused, Err(LabError::Refused(why)) if why == "VM 555 is there already"));
    control.ask(&Request::Reset).await.unwrap();
    let again = bench.root().await;
    assert_eq!(again.call("GET", &format!("{NODE}/qemu"), &[]).await.data().as_array().unwrap().len(), 10);
}

#[tokio::test]
async fn nine_says_less_about_logins_and_drops_what_it_cannot_read() {
    let bench = Bench::start_with(Seed::Fleet, |options| options.dialect = Dialect::Nine).await;
    let root = bench.root().await;
    assert_eq!(root.call("GET", "/version", &[]).await.data()["release"], "9.2");
    let send = async |headers: &[(&str, &str)], method: &str, path: &str, body: Option<&[u8]>| {
        bench.connect().await.send(method, &format!("/api2/json{path}"), headers, body).await
    };
    for header in
        [("Cookie", "PVEAuthCookie=garbage"), ("Authorization", "PVEAPIToken=root@pam!none=0"), ("Authorization", "PVEAPIToken=x")]
    {
        assert_eq!(send(&[header], "GET", "/version", None).await.unwrap().status_line, "HTTP/1.1 401 Authentication failed!");
    }
    assert_eq!(send(&[], "GET", "/version", None).await.unwrap().reason(), "No ticket");
    let cookie = format!("PVEAuthCookie={}", root.ticket);
    let known = [("Cookie", cookie.as_str()), ("CSRFPreventionToken", root.csrf.as_str())];
    assert!(send(&known, "DELETE", &format!("{NODE}/qemu/101"), Some(b"purge=1")).await.is_none());
    let json_body = [known[0], known[1], ("Content-Type", "application/json")];
    assert!(send(&json_body, "POST", &format!("{NODE}/qemu"), Some(b"{\"vmid\":")).await.is_none());
    assert_eq!(root.task("POST", &format!("{NODE}/qemu"), &[("vmid", "300"), ("net0", "virtio,bridge=vmbr9")]).await, "OK");
    assert_eq!(root.task("POST", &format!("{NODE}/qemu/300/status/start"), &[]).await, "bridge 'vmbr9' does not exist");
    let force = root.call("POST", &format!("{NODE}/qemu"), &[("vmid", "301"), ("force", "1")]).await;
    assert_eq!(force.json()["errors"], json!({"archive": "missing property required by 'force'"}));
    let list = root.call("GET", &format!("{NODE}/qemu"), &[]).await.data();
    let row = |vmid: u32| list.as_array().unwrap().iter().find(|vm| vm["vmid"] == vmid).unwrap().clone();
    assert!(row(100)["memhost"].is_number() && row(100)["pressurecpusome"].is_number());
    assert!(row(101)["memhost"].is_number() && row(101)["diskread"].is_null());
    let rights = root.call("GET", "/access/permissions", &[]).await.data();
    assert!(rights["/vms"]["VM.Monitor"].is_null() && rights["/vms"]["VM.GuestAgent.Audit"] == 1);
}

#[tokio::test]
async fn a_second_lab_on_the_same_state_is_refused_and_plain_http_is_sent_to_https() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let bench = Bench::start(Seed::Fleet).await;
    let (tell, _told) = tokio::sync::oneshot::channel();
    let second = pmx::lab::serve(super::wire::options(bench.dir.path(), Seed::Fleet), tell, std::future::pending()).await;
    assert!(matches!(second, Err(LabError::Busy(_))));
    let mut plain = tokio::net::TcpStream::connect(bench.ready.api).await.unwrap();
    plain.write_all(format!("GET / HTTP/1.1\r\nHost: {}\r\n\r\n", bench.ready.api).as_bytes()).await.unwrap();
    let mut text = String::new();
    plain.read_to_string(&mut text).await.unwrap();
    assert!(text.starts_with("HTTP/1.1 301 Moved Permanently\r\n"), "{text}");
    assert!(text.contains(&format!("Location: https://{}/\r\n", bench.ready.api)), "{text}");
}

#[tokio::test]
async fn slow_answers_come_late_and_a_wrong_password_takes_its_three_seconds() {
    let bench = Bench::start_with(Seed::Fleet, |options| options.pace = 0.1).await;
    let root = bench.root().await;
    let began = Instant::now();
    let body = form(&[("username", "root@pam"), ("password", "wrong")]);
    assert_eq!(bench.connect().await.send("POST", "/api2/json/access/ticket", &[], Some(body.as_bytes())).await.unwrap().status(), 401);
    assert!(began.elapsed() >= Duration::from_millis(300));
    bench.control().await.set_fault(kind("slow:250"), None).await.unwrap();
    let began = Instant::now();
    assert_eq!(root.call("GET", "/version", &[]).await.status(), 200);
    assert!(began.elapsed() >= Duration::from_millis(250));
}
