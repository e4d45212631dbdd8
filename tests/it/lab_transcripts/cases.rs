//! The exchanges that pmx lives from, as cases of their own: the transcripts need not be there for these.

use std::time::Duration;

use serde_json::json;

use pmx::lab::Seed;
use pmx::lab::control::Tinker;

use super::wire::{Bench, form};

const NODE: &str = "/nodes/keeb-dev-02";

#[tokio::test]
async fn stop_and_start_of_a_vm_bring_its_agent_and_address_back() {
    let bench = Bench::start_with(Seed::Fleet, |options| options.pace = 0.1).await;
    let root = bench.root().await;
    let agent = format!("{NODE}/qemu/107/agent/network-get-interfaces");
    let before = root.call("GET", &agent, &[]).await.data();
    let names: Vec<&str> = before["result"].as_array().unwrap().iter().map(|card| card["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["lo", "docker0", "eth0"], "Docker's bridge is there to be passed over");
    assert_eq!(root.task("POST", &format!("{NODE}/qemu/107/status/shutdown"), &[("timeout", "60")]).await, "OK");
    let off = root.call("GET", &agent, &[]).await;
    assert_eq!(off.status_line, "HTTP/1.1 500 VM 107 is not running");
    assert_eq!(root.task("POST", &format!("{NODE}/qemu/107/status/start"), &[]).await, "OK");
    let silent = root.call("GET", &agent, &[]).await;
    assert_eq!(silent.status_line, "HTTP/1.1 500 QEMU guest agent is not running", "the guest still boots");
    let mut saw_no_address = false;
    for _ in 0..400 {
        let reply = root.call("GET", &agent, &[]).await;
        if reply.status() == 200 {
            let data = reply.data();
            let card = data["result"].as_array().unwrap().iter().find(|card| card["name"] == "eth0").unwrap().clone();
            let Some(addresses) = card["ip-addresses"].as_array() else {
                saw_no_address = true;
                continue;
            };
            assert_eq!(addresses[0]["ip-address"], "10.0.0.107");
            assert!(saw_no_address, "the agent answers before the network has an address");
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("the agent never named an address");
}

#[tokio::test]
async fn a_vm_is_created_empty_filled_by_its_task_and_gone_after_delete() {
    let bench = Bench::start_with(Seed::Fleet, |options| options.pace = 0.3).await;
    let root = bench.root().await;
    let pairs = [
        ("vmid", "200"),
        ("name", "fresh"),
        ("memory", "1024"),
        ("cores", "2"),
        ("scsi0", "local-lvm:32"),
        ("net0", "virtio,bridge=vmbr0"),
        ("boot", "order=scsi0;net0"),
        ("agent", "1"),
        ("description", "line1\nline2=x;y&z%ü"),
    ];
    let reply = root.call("POST", &format!("{NODE}/qemu"), &pairs).await;
    assert_eq!(reply.all("Connection"), ["close", "Keep-Alive"], "a proxied answer says both");
    let upid = reply.data().as_str().unwrap().to_owned();
    let early = root.call("GET", &format!("{NODE}/qemu/200/config"), &[]).await.data();
    assert_eq!(early["lock"], "create", "the configuration is reserved before the worker fills it");
    assert_eq!(root.wait(&upid).await.0["exitstatus"], "OK");
    let config = root.call("GET", &format!("{NODE}/qemu/200/config"), &[]).await.data();
    assert_eq!(config["scsi0"], "local-lvm:vm-200-disk-0,size=32G");
    assert_eq!(config["description"], "line1\nline2=x;y&z%ü");
    assert_eq!(config["memory"], "1024");
    assert_eq!(config["cores"], json!(2));
    assert!(config["net0"].as_str().unwrap().starts_with("virtio=BC:24:11:"));
    let again = root.call("POST", &format!("{NODE}/qemu"), &[("vmid", "200")]).await;
    assert_eq!(again.reason(), "unable to create VM 200 - VM 200 already exists on node 'keeb-dev-02'");
    assert_eq!(root.task("POST", &format!("{NODE}/qemu/200/status/start"), &[]).await, "OK");
    let running = root.call("DELETE", &format!("{NODE}/qemu/200"), &[]).await;
    assert_eq!(running.status_line, "HTTP/1.1 500 VM 200 is running - destroy failed");
    assert_eq!(running.all("Connection"), ["close"]);
    assert_eq!(root.task("POST", &format!("{NODE}/qemu/200/status/stop"), &[]).await, "OK");
    assert_eq!(root.task("DELETE", &format!("{NODE}/qemu/200"), &[("purge", "1")]).await, "OK");
    let gone = root.call("GET", &format!("{NODE}/qemu/200/config"), &[]).await;
    assert_eq!(gone.reason(), "Configuration file 'nodes/keeb-dev-02/qemu-server/200.conf' does not exist");
}

#[tokio::test]
async fn four_creates_of_one_vmid_have_one_winner() {
    let bench = Bench::start(Seed::Fleet).await;
    let root = bench.root().await;
    let path = format!("{NODE}/qemu");
    let pairs = [("vmid", "300"), ("name", "race")];
    let (a, b, c, d) = tokio::join!(
        root.call("POST", &path, &pairs),
        root.call("POST", &path, &pairs),
        root.call("POST", &path, &pairs),
        root.call("POST", &path, &pairs)
    );
    let good = [a, b, c, d].iter().filter(|reply| reply.status() == 200).count();
    assert_eq!(good, 1);
}

#[tokio::test]
async fn a_digest_guards_a_change_and_a_running_vm_keeps_its_values_until_the_next_start() {
    let bench = Bench::start(Seed::Fleet).await;
    let root = bench.root().await;
    let path = format!("{NODE}/qemu/103/config");
    let digest = root.call("GET", &path, &[]).await.data()["digest"].as_str().unwrap().to_owned();
    assert_eq!(root.call("PUT", &path, &[("digest", &digest), ("memory", "2048")]).await.body, "{\"data\":null}");
    let stale = root.call("PUT", &path, &[("digest", &digest), ("memory", "4096")]).await;
    assert_eq!(stale.status_line, "HTTP/1.1 500 checksum mismatch (file change by other user?)");
    assert_eq!(root.call("GET", &path, &[]).await.data()["memory"], "2048");
    assert_eq!(root.call("GET", &path, &[("current", "1")]).await.data()["memory"], "1024");
    let pending = root.call("GET", &format!("{NODE}/qemu/103/pending"), &[]).await.data();
    let row = pending.as_array().unwrap().iter().find(|row| row["key"] == "memory").unwrap().clone();
    assert_eq!(row, json!({"key": "memory", "value": "1024", "pending": "2048"}));
    let boot = root.call("PUT", &path, &[("boot", "order=scsi3;net0")]).await;
    assert_eq!(boot.reason(), "invalid bootorder: device 'scsi3' does not exist'");
    assert_eq!(root.task("POST", &format!("{NODE}/qemu/103/status/stop"), &[]).await, "OK");
    assert_eq!(root.task("POST", &format!("{NODE}/qemu/103/status/start"), &[]).await, "OK");
    assert_eq!(root.call("GET", &path, &[("current", "1")]).await.data()["memory"], "2048");
}

#[tokio::test]
async fn an_unescaped_equals_sign_arrives_cut_as_on_the_real_thing() {
    let bench = Bench::start(Seed::Fleet).await;
    let root = bench.root().await;
    let cookie = format!("PVEAuthCookie={}", root.ticket);
    let headers = [("Cookie", cookie.as_str()), ("CSRFPreventionToken", root.csrf.as_str())];
    let path = format!("/api2/json{NODE}/qemu");
    let reply = bench.connect().await.send("POST", &path, &headers, Some(b"vmid=201&net0=virtio,bridge=vmbr0")).await.unwrap();
    assert_eq!(reply.status(), 400);
    assert_eq!(reply.json()["errors"], json!({"net0": "invalid format - duplicate key in comma-separated list property: model\n"}));
}

#[tokio::test]
async fn a_lab_that_was_stopped_goes_on_where_it_was_and_shows_the_cut_task_as_unexpected() {
    let bench = Bench::start_with(Seed::Fleet, |options| options.pace = 1.0).await;
    let root = bench.root().await;
    let upid = root.call("POST", &format!("{NODE}/qemu/104/status/start"), &[]).await.data().as_str().unwrap().to_owned();
    bench.control().await.tinker(109, Tinker::Name("renamed".into())).await.unwrap();
    let fingerprint = bench.ready.fingerprint.clone();
    let bench = bench.restart(Seed::Fleet).await;
    assert_eq!(bench.ready.fingerprint, fingerprint);
    let again = super::wire::Session { ready: bench.ready.clone(), ..root };
    assert_eq!(again.wait(&upid).await.0["exitstatus"], "unexpected status");
    let config = again.call("GET", &format!("{NODE}/qemu/109/config"), &[]).await.data();
    assert_eq!(config["name"], "renamed", "the ticket is still good and the change is kept");
    let list = again.call("GET", &format!("{NODE}/qemu"), &[]).await.data();
    let running: std::collections::BTreeSet<&str> =
        list.as_array().unwrap().iter().filter(|vm| vm["status"] == "running").map(|vm| vm["name"].as_str().unwrap()).collect();
    assert_eq!(running, ["allthemons", "calamity", "slate", "tftp-server"].into());
}

#[tokio::test]
async fn a_connection_carries_a_hundred_requests_and_dies_when_idle() {
    let bench = Bench::start_with(Seed::Fleet, |options| options.keep_alive = Duration::from_millis(300)).await;
    let root = bench.root().await;
    let cookie = format!("PVEAuthCookie={}", root.ticket);
    let headers = [("Cookie", cookie.as_str())];
    let mut connection = bench.connect().await;
    for count in 1..=100 {
        let reply = connection.send("GET", "/api2/json/version", &headers, None).await.unwrap();
        assert_eq!(reply.all("Connection"), if count == 100 { ["close"] } else { ["Keep-Alive"] }, "request {count}");
    }
    assert!(connection.send("GET", "/api2/json/version", &headers, None).await.is_none());
    let mut idle = bench.connect().await;
    assert!(idle.send("GET", "/api2/json/version", &headers, None).await.is_some());
    tokio::time::sleep(Duration::from_millis(600)).await;
    assert!(idle.send("GET", "/api2/json/version", &headers, None).await.is_none(), "a pooled client meets a dead connection");
}

#[tokio::test]
async fn refusals_of_the_http_layer_have_their_own_words() {
    let bench = Bench::start(Seed::Fleet).await;
    let root = bench.root().await;
    let cookie = format!("PVEAuthCookie={}", root.ticket);
    let headers = [("Cookie", cookie.as_str()), ("CSRFPreventionToken", root.csrf.as_str())];
    let say = async |method: &str, path: &str, more: &[(&str, &str)], body: Option<&[u8]>| {
        let all: Vec<(&str, &str)> = headers.iter().chain(more).copied().collect();
        bench.connect().await.send(method, path, &all, body).await.unwrap()
    };
    assert_eq!(say("HEAD", "/api2/json/version", &[], None).await.reason(), "method 'HEAD' not available");
    let chunked = say("POST", "/api2/json/pools", &[("Transfer-Encoding", "chunked")], None).await;
    assert_eq!(chunked.status_line, "HTTP/1.1 501 chunked transfer encoding not supported");
    let body = say("DELETE", &format!("/api2/json{NODE}/qemu/100"), &[], Some(b"purge=1")).await;
    assert_eq!(body.status_line, "HTTP/1.1 501 Unexpected content for method 'DELETE'");
    let unknown = say("GET", "/version", &[], None).await;
    assert_eq!((unknown.status_line.as_str(), unknown.body.as_str()), ("HTTP/1.1 500 no such file '/version'", "no such file '/version'"));
    let extjs = say("GET", &format!("/api2/extjs{NODE}/qemu/999/config"), &[], None).await;
    assert_eq!((extjs.status(), extjs.json()["status"].clone(), extjs.json()["success"].clone()), (200, json!(500), json!(0)));
    let empty = say("GET", "/api2/json/version", &[("Cookie", "x=y")], None).await;
    assert_eq!(empty.status(), 200, "the first cookie counts");
    let form = form(&[("username", "root@pam"), ("password", "wrong")]);
    let bad = bench.connect().await.send("POST", "/api2/json/access/ticket", &[], Some(form.as_bytes())).await.unwrap();
    assert_eq!(bad.status_line, "HTTP/1.1 401 authentication failure");
}
