//! Every recorded exchange, made again with the lab: same status line, same body.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;

use pmx::lab::Seed;
use pmx::lab::control::{Request, Tinker};

use crate::real::present;

use super::normal::{normal, words};
use super::transcript::{Asked, Recorded, parse};
use super::wire::{Bench, Connection, Reply, Session, encode};

/// An exchange that the lab deliberately does not make again, found by its request and by what the recording says of it.
struct Excluded {
    request: &'static str,
    says: &'static str,
    why: &'static str,
}

const EXCLUDED: &[Excluded] = &[
    Excluded {
        request: "POST /nodes/pve/qemu/101/snapshot -d snapname=s1",
        says: "savevm-start",
        why: "the recording machine ran Debian's QEMU, which has no savevm-start; Proxmox's own has it",
    },
    Excluded {
        request: "POST /nodes/pve/qemu/120/clone -d newid=121 -d full=1 -d name=c121",
        says: "zeroinit",
        why: "the recording machine ran Debian's qemu-img, which has no zeroinit protocol; Proxmox's own has it",
    },
    Excluded {
        request: "POST /nodes/pve/qemu/122/status/start",
        says: "unrecognized option '-n'",
        why: "the recording machine ran Debian's qemu-img, whose dd has no -n; Proxmox's own has it",
    },
    Excluded {
        request: "POST /nodes/pve/vzdump -d vmid=107 -d storage=local -d compress=zstd",
        says: "sendmail",
        why: "the recording machine had no sendmail; every installed Proxmox has one",
    },
];

/// Exchanges whose body is the history of the recording machine: only the form of their rows is compared.
const HISTORY: &[&str] = &["GET /nodes/pve/qemu/100/rrddata -d timeframe=hour"];

/// Waits are this share of real ones: long enough that a task can be seen running, short enough for a test.
const PACE: f64 = 0.06;

fn transcripts() -> Option<String> {
    let named = std::env::var("PMX_TRANSCRIPTS").map(PathBuf::from).ok();
    let beside = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/facts/proxmox-transcripts.txt");
    let path = named.unwrap_or(beside);
    let read = std::fs::read_to_string(&path);
    present(&format!("the transcripts at {}", path.display()), read.ok())
}

/// The state of one replay.
struct Replay {
    bench: Bench,
    root: Session,
    limited: Option<Session>,
    expired: String,
    token: String,
    connection: Option<Connection>,
    upids: BTreeMap<String, String>,
    digests: BTreeMap<String, String>,
    skipped: Vec<String>,
    failures: Vec<String>,
}

#[tokio::test]
async fn every_recorded_exchange_is_made_again() {
    let Some(text) = transcripts() else { return };
    let recorded = parse(&text);
    assert!(recorded.len() > 150, "only {} exchanges were found in the transcripts", recorded.len());
    let mut replay = Replay::prepare().await;
    for exchange in &recorded {
        replay.exchange(exchange).await;
    }
    let unused: Vec<&str> =
        EXCLUDED.iter().filter(|one| !replay.skipped.iter().any(|request| request == one.request)).map(|one| one.why).collect();
    assert!(unused.is_empty(), "exclusions that exclude nothing: {unused:?}");
    assert!(replay.failures.is_empty(), "{} of {} differ:\n{}", replay.failures.len(), recorded.len(), replay.failures.join("\n\n"));
}

impl Replay {
    /// A bare node in the state in which the recording began: VM 100 running, and a start that had failed before it existed.
    async fn prepare() -> Self {
        let bench = Bench::start_with(Seed::Bare, |options| options.pace = PACE).await;
        let mut control = bench.control().await;
        control.ask(&Request::Password { user: "root@pam".into(), password: "pmxsecret".into() }).await.unwrap();
        let old = Session::log_in(&bench, "root@pam", "pmxsecret").await;
        control.ask(&Request::Advance { seconds: 3 * 3600 }).await.unwrap();
        let root = Session::log_in(&bench, "root@pam", "pmxsecret").await;
        let missing = root.task("POST", "/nodes/pve/qemu/100/status/start", &[]).await;
        assert_eq!(missing, "Configuration file 'nodes/pve/qemu-server/100.conf' does not exist");
        let pairs = [
            ("vmid", "100"),
            ("name", "test100"),
            ("memory", "64"),
            ("scsi0", "local:1"),
            ("scsihw", "virtio-scsi-pci"),
            ("net0", "virtio,bridge=vmbr0"),
            ("agent", "1"),
        ];
        assert_eq!(root.task("POST", "/nodes/pve/qemu", &pairs).await, "OK");
        let start = root.call("POST", "/nodes/pve/qemu/100/status/start", &[]).await.data().as_str().unwrap().to_owned();
        assert_eq!(root.wait(&start).await.0["exitstatus"], "OK");
        let upids = BTreeMap::from([("UPID:pve:00000063:0002763C:6B04265F:qmstart:100:root@pam:".to_owned(), start)]);
        Self {
            bench,
            root,
            limited: None,
            expired: old.ticket,
            token: String::new(),
            connection: None,
            upids,
            digests: BTreeMap::new(),
            skipped: Vec::new(),
            failures: Vec::new(),
        }
    }

    async fn exchange(&mut self, recorded: &Recorded) {
        let whole = format!("{} {} {}", recorded.body, recorded.task.as_deref().unwrap_or(""), recorded.log.as_deref().unwrap_or(""));
        if EXCLUDED.iter().any(|one| one.request == recorded.request && whole.contains(one.says)) {
            self.skipped.push(recorded.request.clone());
            return;
        }
        if recorded.status_line.is_empty() {
            self.shell_line(recorded).await;
            return;
        }
        if recorded.section == "403 (limited user)" && self.limited.is_none() && recorded.request.starts_with("curl") {
            self.limited = Some(Session::log_in(&self.bench, "lim@pve", "limsecret").await);
        }
        if recorded.request.contains("/cluster/resources") {
            // What pvestatd sees is up to 10 s old: give it the time to look.
            tokio::time::sleep(Duration::from_secs_f64(11.0 * PACE)).await;
        }
        let (reply, path) = if recorded.request.is_empty() { self.upload().await } else { self.ask(recorded).await };
        self.learn(recorded, &reply);
        self.compare(recorded, &reply, &path);
        // The recording looks at this start while it still runs, and waits for it only then.
        let raced = recorded.task.is_none() && recorded.request == "POST /nodes/pve/qemu/101/status/start";
        let data = serde_json::from_str::<Value>(&reply.body).map(|body| body["data"].clone()).unwrap_or_default();
        let upid = data.as_str().or_else(|| data["upid"].as_str().filter(|_| recorded.task.is_some()));
        if let Some(upid) = upid.filter(|upid| upid.starts_with("UPID:") && !raced) {
            self.follow(recorded, upid).await;
        }
    }

    /// Waits for a task and compares its end and its log with the recorded ones.
    async fn follow(&mut self, recorded: &Recorded, upid: &str) {
        let (status, log) = self.root.wait(upid).await;
        for (kept, live) in [(&recorded.task, Value::from_iter([("data", status)])), (&recorded.log, log)] {
            if let Some(kept) = kept {
                let kept: Value = serde_json::from_str(kept).unwrap();
                self.same(recorded, "task", normal(&kept, "/task"), normal(&live, "/task"));
            }
        }
    }

    fn same(&mut self, recorded: &Recorded, what: &str, kept: Value, live: Value) {
        if kept != live {
            self.failures.push(format!("[{}] {}: {what}\n  recorded {kept}\n  lab      {live}", recorded.section, recorded.request));
        }
    }

    fn compare(&mut self, recorded: &Recorded, reply: &Reply, path: &str) {
        if !recorded.status_line.starts_with("HTTP/") {
            self.same(recorded, "status", recorded.status_line.clone().into(), reply.status().to_string().into());
            return;
        }
        self.same(recorded, "status line", words(&recorded.status_line).into(), words(&reply.status_line).into());
        for name in ["Content-Length", "Content-Type"] {
            let kept = recorded.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone());
            let live = reply.all(name).first().map(|value| (*value).to_owned());
            let sizes =
                name == "Content-Length" && kept.is_some() && live.as_ref().is_some_and(|live| *live == reply.body.len().to_string());
            if !sizes {
                self.same(recorded, name, kept.into(), live.into());
            }
        }
        if HISTORY.contains(&recorded.request.as_str()) {
            let rows = reply.data().as_array().map_or(0, Vec::len);
            assert!(rows > 60 && reply.data()[0]["time"].is_number(), "{reply:?}");
            return;
        }
        match serde_json::from_str::<Value>(&recorded.body) {
            Ok(mut kept) => {
                self.fewer_tasks(&mut kept, path);
                let live = serde_json::from_str(&reply.body).unwrap_or(Value::Null);
                self.same(recorded, "body", normal(&kept, path), normal(&live, path));
            }
            Err(_) => self.same(recorded, "body", recorded.body.clone().into(), reply.body.clone().into()),
        }
    }

    /// Tasks of exchanges that were left out are missing from the totals.
    fn fewer_tasks(&self, kept: &mut Value, path: &str) {
        if let Some(total) = kept.get("total").and_then(Value::as_u64)
            && path.starts_with("/api2/json/nodes/pve/tasks?")
        {
            let vmid = path.split("vmid=").nth(1).map(|rest| rest.split('&').next().unwrap_or("").to_owned());
            let missing =
                self.skipped.iter().filter(|request| vmid.as_ref().is_none_or(|vmid| request.contains(&format!("/qemu/{vmid}/")))).count();
            kept["total"] = Value::from(total - missing as u64);
        }
    }

    /// Remembers which of the lab's task names and digests stand for the recorded ones.
    fn learn(&mut self, recorded: &Recorded, reply: &Reply) {
        let (Ok(kept), Ok(live)) = (serde_json::from_str::<Value>(&recorded.body), serde_json::from_str::<Value>(&reply.body)) else {
            return;
        };
        if let (Some(kept), Some(live)) = (kept["data"].as_str(), live["data"].as_str()) {
            self.upids.insert(kept.to_owned(), live.to_owned());
        }
        if let (Some(kept), Some(live)) = (kept["data"]["digest"].as_str(), live["data"]["digest"].as_str()) {
            self.digests.insert(kept.to_owned(), live.to_owned());
        }
        if let Some(secret) = live["data"]["value"].as_str() {
            self.token = secret.to_owned();
        }
    }

    /// What the recording did outside the API.
    async fn shell_line(&mut self, recorded: &Recorded) {
        if recorded.body == "update VM 102: -lock backup" {
            self.bench.control().await.tinker(102, Tinker::Lock(Some("backup".into()))).await.unwrap();
        } else if recorded.section.starts_with("lock contention") {
            let reply = self.root.call("POST", "/nodes/pve/qemu/120/status/start", &[]).await;
            self.learn(recorded, &reply);
            let kept: Value = serde_json::from_str(&recorded.body).unwrap();
            self.same(recorded, "body", normal(&kept, ""), normal(&reply.json(), ""));
            if recorded.body.contains("00000398") {
                self.root.wait(reply.data().as_str().unwrap()).await;
            }
        } else {
            panic!("a line of the transcripts that says nothing to the replay: {recorded:?}");
        }
    }

    /// Sends on the open connection, or on a new one after an error closed it.
    async fn send(&mut self, method: &str, path: &str, headers: &[(&str, &str)], body: Option<&[u8]>) -> Reply {
        for _ in 0..2 {
            let mut connection = match self.connection.take() {
                Some(connection) => connection,
                None => self.bench.connect().await,
            };
            if let Some(reply) = connection.send(method, path, headers, body).await {
                if !reply.all("Connection").ends_with(&["close"]) {
                    self.connection = Some(connection);
                }
                return reply;
            }
        }
        panic!("no answer to {method} {path}");
    }

    async fn upload(&mut self) -> (Reply, String) {
        let mut body = b"--X\r\nContent-Disposition: form-data; name=\"content\"\r\n\r\niso\r\n--X\r\nContent-Disposition: form-data; name=\"filename\"; filename=\"x.iso\"\r\nContent-Type: application/octet-stream\r\n\r\n".to_vec();
        body.resize(body.len() + 2_097_152, 0);
        body.extend_from_slice(b"\r\n--X--\r\n");
        let cookie = format!("PVEAuthCookie={}", self.root.ticket);
        let csrf = self.root.csrf.clone();
        let headers =
            [("Cookie", cookie.as_str()), ("CSRFPreventionToken", csrf.as_str()), ("Content-Type", "multipart/form-data; boundary=X")];
        let path = "/api2/json/nodes/pve/storage/local/upload";
        (self.send("POST", path, &headers, Some(&body)).await, path.to_owned())
    }

    async fn ask(&mut self, recorded: &Recorded) -> (Reply, String) {
        let asked = recorded.asked();
        let (path, body) = self.content(&asked);
        let headers = self.headers(recorded, &asked);
        let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let reply = self.send(&asked.method, &path, &headers, body.as_deref().map(str::as_bytes)).await;
        (reply, path)
    }

    /// Path and body with the lab's own task names and digests.
    fn content(&self, asked: &Asked) -> (String, Option<String>) {
        let translate = |text: &str| {
            let all = self.upids.iter().chain(&self.digests);
            all.fold(text.to_owned(), |text, (kept, live)| text.replace(kept.as_str(), live))
        };
        let path = translate(&asked.path);
        let plain = asked.plain.iter().map(|pair| translate(pair));
        let encoded = asked.encoded.iter().map(|(name, value)| format!("{name}={}", encode(&translate(value))));
        let data = plain.chain(encoded).collect::<Vec<_>>().join("&");
        if matches!(asked.method.as_str(), "GET" | "DELETE" | "HEAD") {
            (if data.is_empty() { path } else { format!("{path}?{data}") }, None)
        } else {
            (path, Some(data))
        }
    }

    /// Credentials: what the recording left out as `…` is chosen by what it says of the answer.
    fn headers(&self, recorded: &Recorded, asked: &Asked) -> Vec<(String, String)> {
        let refused = |words: &str| recorded.status_line.contains(words);
        let session = match &self.limited {
            Some(limited) if recorded.section == "403 (limited user)" => limited,
            _ => &self.root,
        };
        let mut headers = Vec::new();
        if !recorded.request.starts_with("curl") {
            headers.push(("Cookie".to_owned(), format!("PVEAuthCookie={}", self.root.ticket)));
            headers.push(("CSRFPreventionToken".to_owned(), self.root.csrf.clone()));
        }
        if let Some(cookie) = &asked.cookie {
            let ticket = match cookie.as_str() {
                "…" if refused("invalid PVE ticket") => &self.expired,
                "…" => &session.ticket,
                given => given,
            };
            headers.push(("Cookie".into(), format!("PVEAuthCookie={ticket}")));
        }
        for (name, value) in &asked.headers {
            let value = match (name.as_str(), value.as_str()) {
                ("CSRFPreventionToken", _) if refused("invalid csrf token") => "6B0425CE:wrong".to_owned(),
                ("CSRFPreventionToken", _) => session.csrf.clone(),
                ("Authorization", "PVEAuthCookie=…") => format!("PVEAuthCookie={}", session.ticket),
                ("Authorization", "PVEAPIToken=root@pam!pmx=…") if refused("invalid token value") => {
                    "PVEAPIToken=root@pam!pmx=00000000".into()
                }
                ("Authorization", "PVEAPIToken=root@pam!pmx=…") => format!("PVEAPIToken=root@pam!pmx={}", self.token),
                (_, given) => given.to_owned(),
            };
            headers.push((name.clone(), value));
        }
        headers
    }
}
