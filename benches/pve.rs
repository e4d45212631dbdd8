//! A Proxmox node that only observation asks: TLS on loopback, a fixed fleet, each answer after the same time, with or without a limit of workers.
//!
//! - One thread per connection. A request takes a worker when there is a limit, waits the latency, gives the worker back and is answered.
//! - Headers as pveproxy's own: what pvedaemon answers carries `Connection: close` and then `Keep-Alive`; the hundredth request is a connection's last,
//!   and one that is idle for 5 s is closed.
//! - Every answer is made at the start, so that the server's own work is a look into a map.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use rustls::{ServerConfig, ServerConnection, StreamOwned};
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use serde_json::{Value, json};

/// The node's name.
pub const NODE: &str = "pve";
/// Requests that one connection may carry.
const PER_CONNECTION: usize = 100;
/// How long a connection may say nothing.
const IDLE: Duration = Duration::from_secs(5);

/// The server; it ends with its value.
pub struct Pve {
    /// Where it listens.
    pub port: u16,
    /// Its own certificate in PEM.
    pub certificate: String,
    shared: Arc<Shared>,
}

struct Shared {
    latency: Duration,
    workers: Option<Workers>,
    answers: BTreeMap<String, Answer>,
    tls: Arc<ServerConfig>,
    stopping: AtomicBool,
    /// Requests since the last look, and the most that were there at once.
    requests: AtomicUsize,
    present: AtomicUsize,
    most: AtomicUsize,
}

struct Answer {
    /// Whether pvedaemon answers it.
    proxied: bool,
    body: String,
}

/// What a client asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asked {
    /// How many requests.
    pub requests: usize,
    /// How many of them at once, at most.
    pub at_once: usize,
}

impl Pve {
    /// Starts one with `vms` machines, the first `running` of which run, that takes `latency` for each answer and works on `workers` at a time.
    pub fn start((vms, running): (u32, u32), latency: Duration, workers: Option<usize>) -> Self {
        let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).expect("a certificate can be made");
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().expect("ring knows them");
        let tls = tls.with_no_client_auth().with_single_cert(vec![made.cert.der().clone()], key).expect("the key is the certificate's");
        let shared = Arc::new(Shared {
            latency,
            workers: workers.map(Workers::new),
            answers: answers(vms, running),
            tls: Arc::new(tls),
            stopping: AtomicBool::new(false),
            requests: AtomicUsize::new(0),
            present: AtomicUsize::new(0),
            most: AtomicUsize::new(0),
        });
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let port = listener.local_addr().expect("it is bound").port();
        let serving = Arc::clone(&shared);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if serving.stopping.load(Ordering::SeqCst) {
                    return;
                }
                let shared = Arc::clone(&serving);
                if let Ok(stream) = stream {
                    // A client that goes away in the middle is its own business: it fails by itself when it missed something.
                    std::thread::spawn(move || shared.converse(stream));
                }
            }
        });
        Self { port, certificate: made.cert.pem(), shared }
    }

    /// Every path that can be read.
    pub fn paths(&self) -> impl Iterator<Item = &String> {
        self.shared.answers.keys()
    }

    /// What is asked while `work` is done.
    pub fn asked(&self, work: impl FnOnce()) -> Asked {
        self.shared.requests.store(0, Ordering::SeqCst);
        self.shared.most.store(0, Ordering::SeqCst);
        work();
        Asked { requests: self.shared.requests.load(Ordering::SeqCst), at_once: self.shared.most.load(Ordering::SeqCst) }
    }
}

impl Drop for Pve {
    fn drop(&mut self) {
        self.shared.stopping.store(true, Ordering::SeqCst);
        // Wakes whoever accepts; should it fail, the thread ends with the process.
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

/// So many requests are worked on at a time; the others wait.
struct Workers {
    free: Mutex<usize>,
    given_back: Condvar,
}

impl Workers {
    fn new(count: usize) -> Self {
        Self { free: Mutex::new(count), given_back: Condvar::new() }
    }

    fn work(&self, time: Duration) {
        let free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        let mut free = self.given_back.wait_while(free, |free| *free == 0).unwrap_or_else(PoisonError::into_inner);
        *free -= 1;
        drop(free);
        std::thread::sleep(time);
        *self.free.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        self.given_back.notify_one();
    }
}

impl Shared {
    fn converse(&self, stream: TcpStream) -> io::Result<()> {
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(IDLE))?;
        let session = ServerConnection::new(Arc::clone(&self.tls)).map_err(io::Error::other)?;
        let mut stream = StreamOwned::new(session, stream);
        let mut buffer = Vec::new();
        for count in 1..=PER_CONNECTION {
            let Some(head) = read_request(&mut stream, &mut buffer)? else { break };
            self.requests.fetch_add(1, Ordering::SeqCst);
            self.most.fetch_max(self.present.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            match &self.workers {
                Some(workers) => workers.work(self.latency),
                None => std::thread::sleep(self.latency),
            }
            self.present.fetch_sub(1, Ordering::SeqCst);
            let (good, bytes) = self.answer(&head, count < PER_CONNECTION);
            stream.write_all(&bytes)?;
            stream.flush()?;
            if !good {
                break;
            }
        }
        stream.conn.send_close_notify();
        stream.flush()
    }

    /// The bytes of an answer, and whether it is a good one.
    fn answer(&self, head: &str, keep: bool) -> (bool, Vec<u8>) {
        let mut words = head.split(' ');
        let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let path = target.split('?').next().unwrap_or_default();
        let path = path.strip_prefix("/api2/json").unwrap_or(path);
        let lower = head.to_ascii_lowercase();
        let open = ["authorization: pveapitoken=", "cookie: pveauthcookie="].iter().any(|key| lower.contains(key));
        let login = Answer { proxied: true, body: ticket() };
        let (reason, answer) = match (method, path) {
            ("POST", "/access/ticket") => ("200 OK".to_owned(), Some(&login)),
            _ if !open => ("401 No ticket".to_owned(), None),
            ("GET", path) if self.answers.contains_key(path) => ("200 OK".to_owned(), self.answers.get(path)),
            _ => (format!("501 Method '{method} {path}' not implemented"), None),
        };
        let keep = keep && answer.is_some();
        let mut out = format!("HTTP/1.1 {reason}\r\nCache-Control: max-age=0\r\n");
        if !keep || answer.is_some_and(|answer| answer.proxied) {
            out.push_str("Connection: close\r\n");
        }
        if keep {
            out.push_str("Connection: Keep-Alive\r\n");
        }
        out.push_str("Pragma: no-cache\r\nServer: pve-api-daemon/3.0\r\n");
        let body = answer.map_or("", |answer| &answer.body);
        out.push_str(&format!("Content-Length: {}\r\nContent-Type: application/json;charset=UTF-8\r\n\r\n{body}", body.len()));
        (keep, out.into_bytes())
    }
}

/// Reads one request's head, and its body away; none when the client has closed.
fn read_request(stream: &mut impl Read, buffer: &mut Vec<u8>) -> io::Result<Option<String>> {
    let mut piece = [0_u8; 4096];
    loop {
        let text = String::from_utf8_lossy(buffer).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().filter_map(|line| line.split_once(':')).find(|(name, _)| name.eq_ignore_ascii_case("content-length"));
            let length: usize = length.and_then(|(_, length)| length.trim().parse().ok()).unwrap_or(0);
            if body.len() >= length {
                buffer.drain(..head.len() + 4 + length);
                return Ok(Some(head.to_owned()));
            }
        }
        match stream.read(&mut piece)? {
            0 => return Ok(None),
            count => buffer.extend_from_slice(&piece[..count]),
        }
    }
}

/// Dated now: clients compare it with their own clock.
fn ticket() -> String {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let ticket = format!("PVE:root@pam:{now:08X}::{}", "Q".repeat(344));
    let csrf = format!("{now:08X}:{}", "c".repeat(43));
    json!({"data": {"username": "root@pam", "ticket": ticket, "CSRFPreventionToken": csrf, "cap": {"vms": {"VM.Audit": 1}}}}).to_string()
}

/// All that can be read, by path.
fn answers(vms: u32, running: u32) -> BTreeMap<String, Answer> {
    let mut all = BTreeMap::new();
    let mut put = |path: String, proxied: bool, data: Value| {
        all.insert(path, Answer { proxied, body: json!({ "data": data }).to_string() });
    };
    let machines: Vec<Machine> = (0..vms).map(|number| Machine { vmid: 100 + number, runs: number < running }).collect();
    let node = json!({
        "id": format!("node/{NODE}"), "node": NODE, "type": "node", "status": "online", "level": "", "cpu": 0.31, "maxcpu": 32, "mem": 91_268_055_040_u64,
        "maxmem": 270_582_939_648_u64, "disk": 11_811_160_064_u64, "maxdisk": 100_861_726_720_u64, "uptime": 1_209_600,
        "ssl_fingerprint": "5F:0A".repeat(16),
    });
    put("/nodes".to_owned(), false, json!([node]));
    put("/cluster/resources".to_owned(), false, machines.iter().map(Machine::resource).collect());
    put(format!("/nodes/{NODE}/qemu"), true, machines.iter().map(Machine::row).collect());
    for machine in &machines {
        let path = |rest: &str| format!("/nodes/{NODE}/qemu/{}/{rest}", machine.vmid);
        put(path("status/current"), true, machine.current());
        put(path("config"), false, machine.config());
        if machine.runs {
            put(path("agent/network-get-interfaces"), true, json!({ "result": machine.interfaces() }));
        }
    }
    all
}

/// One VM.
struct Machine {
    vmid: u32,
    runs: bool,
}

impl Machine {
    fn name(&self) -> String {
        format!("vm-{}", self.vmid)
    }

    fn mac(&self) -> String {
        format!("BC:24:11:00:{:02X}:{:02X}", self.vmid >> 8, self.vmid & 0xff)
    }

    /// Its row in the node's list.
    fn row(&self) -> Value {
        let counter = |value: u64| if self.runs { value * u64::from(self.vmid) } else { 0 };
        let mut row = json!({
            "vmid": self.vmid, "name": self.name(), "status": if self.runs { "running" } else { "stopped" }, "cpus": 2, "maxmem": 2_147_483_648_u64,
            "maxdisk": 34_359_738_368_u64, "disk": 0, "cpu": 0, "mem": counter(8_388_608), "netin": counter(48_271), "netout": counter(16_807),
            "diskread": counter(65_536), "diskwrite": counter(4_096), "uptime": counter(611),
        });
        if self.runs {
            row["pid"] = json!(20_000 + self.vmid);
        }
        row
    }

    /// Its row in the cluster's list.
    fn resource(&self) -> Value {
        let mut row = self.row();
        for (key, value) in
            [("id", json!(format!("qemu/{}", self.vmid))), ("node", json!(NODE)), ("type", json!("qemu")), ("template", json!(0))]
        {
            row[key] = value;
        }
        row["maxcpu"] = row["cpus"].take();
        row
    }

    fn current(&self) -> Value {
        let mut row = self.row();
        row["ha"] = json!({"managed": 0});
        row["qmpstatus"] = row["status"].clone();
        row["agent"] = json!(1);
        if self.runs {
            let counters = ["rd", "wr", "flush", "unmap"].iter().flat_map(|what| {
                ["operations", "merged", "total_time_ns", "bytes"]
                    .iter()
                    .map(move |kind| (format!("{what}_{kind}"), json!(u64::from(self.vmid) * 977)))
            });
            row["blockstat"] = json!({"scsi0": counters.collect::<serde_json::Map<String, Value>>()});
            row["nics"] = json!({format!("tap{}i0", self.vmid): {"netin": row["netin"], "netout": row["netout"]}});
            row["running-machine"] = json!("pc-i440fx-9.2+pve1");
            row["running-qemu"] = json!("9.2.0");
            row["proxmox-support"] = json!({"pbs-dirty-bitmap": true, "query-bitmap-info": true, "pbs-library-version": "1.5.1"});
        }
        row
    }

    fn config(&self) -> Value {
        json!({
            "name": self.name(), "cores": 2, "sockets": 1, "memory": "2048", "ostype": "l26", "scsihw": "virtio-scsi-single", "agent": "1", "onboot": 1,
            "net0": format!("virtio={},bridge=vmbr0", self.mac()), "scsi0": format!("local-lvm:vm-{}-disk-0,size=32G", self.vmid),
            "boot": "order=scsi0;net0", "meta": "creation-qemu=9.2.0,ctime=1795434267",
            "smbios1": format!("uuid=e3452eda-e449-4a72-9d7a-{:012x}", self.vmid), "vmgenid": format!("83cd6020-faf9-4051-bdbf-{:012x}", self.vmid),
            "digest": format!("{:040x}", self.vmid),
        })
    }

    fn interfaces(&self) -> Value {
        let address = |text: String, kind: &str, prefix: u8| json!({"ip-address": text, "ip-address-type": kind, "prefix": prefix});
        let statistics = json!({
            "rx-bytes": 1_117 * u64::from(self.vmid), "rx-packets": 7, "rx-errs": 0, "rx-dropped": 0, "tx-bytes": 911, "tx-packets": 5, "tx-errs": 0, "tx-dropped": 0,
        });
        let card = |name: &str, mac: String, addresses: Value| json!({"name": name, "hardware-address": mac, "ip-addresses": addresses, "statistics": statistics});
        let own = format!("10.0.{}.{}", self.vmid >> 8, self.vmid & 0xff);
        json!([
            card(
                "lo",
                "00:00:00:00:00:00".to_owned(),
                json!([address("127.0.0.1".to_owned(), "ipv4", 8), address("::1".to_owned(), "ipv6", 128)])
            ),
            card(
                "eth0",
                self.mac().to_lowercase(),
                json!([address(own, "ipv4", 16), address("fe80::be24:11ff:fe00:1".to_owned(), "ipv6", 64)])
            ),
        ])
    }
}
