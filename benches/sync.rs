//! Observation of a fleet: `pmx build sync-fleet` of 200 VMs beside proxmoxer, on a node that takes 20 ms for each answer, once without a limit and once
//! with three workers as pvedaemon and pveproxy have.
//!
//! pmx reads the lists, each configuration and, where a VM runs, its agent; the peers read the list and ask the agents, and one of them reads all that pmx
//! reads. The floor is reqwest alone, in this process, with the same requests and as many at once.
//! proxmoxer takes part where `python3` has it: `python3 -m venv target/peers && target/peers/bin/pip install proxmoxer requests`, then
//! `PATH=$PWD/target/peers/bin:$PATH just bench sync`. Nobody logs in: pmx has its ticket of the run before, proxmoxer has an API token.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::json;

use pmx::wire::https::IN_FLIGHT;

use crate::bare;
use crate::harness::{Contender, Harness, Work, pmx, run};
use crate::pve::{NODE, Pve};

/// Machines, and how many of them run.
const FLEET: (u32, u32) = (200, 160);
/// What each answer takes.
const LATENCY: Duration = Duration::from_millis(20);
/// Requests that pvedaemon and pveproxy work on at a time.
const WORKERS: usize = 3;
const OURS: &str = "pmx build sync-fleet";

/// The peer's way: sequential or in threads of its own client each; the list and the agents, or all that pmx reads.
const SCRIPT: &str = r#"
import sys, threading
from concurrent.futures import ThreadPoolExecutor
from proxmoxer import ProxmoxAPI

port, certificate, node, threads, reads, running = sys.argv[1:]
local = threading.local()

def client():
    if not hasattr(local, "api"):
        local.api = ProxmoxAPI("127.0.0.1", port=int(port), user="root@pam", token_name="pmx", token_value="bench", verify_ssl=certificate)
    return local.api.nodes(node)

def look(vm):
    one = client().qemu(vm["vmid"])
    if reads == "all":
        assert one.config.get()["net0"]
    if vm["status"] == "running":
        return one.agent("network-get-interfaces").get()["result"][1]["ip-addresses"][0]["ip-address"]

vms = client().qemu.get()
if reads == "all":
    client()
    local.api.nodes.get()
    local.api.cluster.resources.get(type="vm")
if threads == "1":
    addresses = [look(vm) for vm in vms]
else:
    with ThreadPoolExecutor(int(threads)) as pool:
        addresses = list(pool.map(look, vms))
assert len([a for a in addresses if a]) == int(running), addresses
"#;

/// Runs all of it.
pub fn bench(harness: &mut Harness) {
    for workers in [None, Some(WORKERS)] {
        let dir = tempfile::Builder::new().prefix("pmx-bench-").tempdir().expect("a temporary directory can be made");
        let server = Pve::start(FLEET, LATENCY, workers);
        project(dir.path(), &server);
        let title = match workers {
            None => format!("sync of {} VMs, no limit", FLEET.0),
            Some(workers) => format!("sync of {} VMs, {workers} workers", FLEET.0),
        };
        // The first one logs in.
        observe(dir.path());
        let asked = server.asked(|| observe(dir.path()));
        assert_eq!(asked, server.asked(|| observe(dir.path())), "it asks the same each time");
        // Without a limit, what pmx allows itself is the limit.
        let width = workers.unwrap_or(IN_FLIGHT);
        let floor = (asked.requests.div_ceil(width) as u64) * LATENCY.as_millis() as u64;
        tell(harness, &title, &json!({"requests": asked.requests, "at_once": asked.at_once, "floor_ms": floor}));
        let peer = |name: &str, threads: &'static str, reads: &'static str| {
            let (place, port) = (dir.path().to_owned(), server.port.to_string());
            let work = move |_: usize| {
                let mut command = Command::new("python3");
                command.arg(place.join("peer.py")).arg(&port).arg(place.join("certificate.pem")).args([
                    NODE,
                    threads,
                    reads,
                    &FLEET.1.to_string(),
                ]);
                command
            };
            Contender::peer(name, &["python3"], Work::Process(Box::new(work))).with_module("proxmoxer")
        };
        let paths: Vec<String> = server.paths().filter(|path| !path.ends_with("/status/current")).cloned().collect();
        assert_eq!(paths.len(), asked.requests, "the floor asks what pmx asks");
        let case = harness.contest(
            &title,
            vec![
                Contender::ours(OURS, Work::Process(Box::new(|_| ours(dir.path())))),
                Contender::peer(
                    "reqwest alone, the same",
                    &[],
                    Work::Own(Box::new(|_| bare::requests(server.port, &server.certificate, &paths, IN_FLIGHT))),
                ),
                peer("proxmoxer, sequential", "1", "agents"),
                peer("proxmoxer, 16 threads", "16", "agents"),
                peer("proxmoxer, 16 threads, all", "16", "all"),
            ],
        );
        let goal = format!("≤ 1.15 × {} requests / {width} × {} ms", asked.requests, LATENCY.as_millis());
        harness.goal(title, (goal, 1.15), case.median(OURS).map(|ours| ours / floor as f64), "×");
    }
}

fn tell(harness: &Harness, title: &str, figures: &serde_json::Value) {
    if harness.json {
        harness.print(&json!({"bench": harness.bench, "case": title, "pmx": figures}).to_string());
    } else {
        let (requests, at_once, floor) = (&figures["requests"], &figures["at_once"], &figures["floor_ms"]);
        harness.print(&format!("{title}: pmx sends {requests} requests, {at_once} of them at once; these take {floor} ms at least"));
    }
}

fn ours(place: &Path) -> Command {
    let mut command = pmx();
    command.args(["build", "sync-fleet"]).current_dir(place).env("HOME", place).env("BENCH_PASSWORD", "a password");
    command
}

/// One observation, which must see the whole fleet.
fn observe(place: &Path) {
    let told = run(ours(place).arg("--json"));
    let (all, running) = FLEET;
    assert!(told.contains(&format!("{all} VMs, {running} of them running")), "{told}");
}

/// The same project as a house with one node has, and the peer's script.
fn project(place: &Path, server: &Pve) {
    let write = |path: &str, text: &str| {
        let path = place.join(path);
        std::fs::create_dir_all(path.parent().expect("it lies in a folder")).expect("a folder can be made");
        std::fs::write(path, text).expect("a file can be written");
    };
    write("Pmxfile.toml", "[project]\nname = \"bench\"\n\n[vault.bench]\nkind = \"env\"\nprefix = \"BENCH_\"\n");
    let common = format!("apiUrl = \"https://127.0.0.1:{}\"\nnode = \"{NODE}\"\ncaFile = \"certificate.pem\"\n", server.port);
    write(
        "definitions/node.toml",
        &format!(
            "type = \"proxmox/node\"\n\n[global]\n{common}username = \"root\"\nrealm = \"pam\"\npassword = '${{{{ vault.get(\"bench\", \"password\") }}}}'\n"
        ),
    );
    let read = |field: &str| format!("{field} = '${{{{ model.node.resource.node.node.attributes.{field} }}}}'\n");
    write("definitions/fleet.toml", &format!("type = \"proxmox/vm\"\n\n[global]\n{common}{}{}", read("ticket"), read("csrfToken")));
    write(
        "workflows/sync-fleet.toml",
        "description = \"Read every VM\"\n\n[[step]]\nname = \"auth\"\ncall = \"node.auth\"\n\n[[step]]\nname = \"sync\"\ncall = \"fleet.sync\"\n",
    );
    write("certificate.pem", &server.certificate);
    write("peer.py", SCRIPT);
}
