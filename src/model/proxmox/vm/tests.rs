//! What the methods of `proxmox/vm` do: wire script → outcome. One node, `pve`, with VM 107, `calamity`.

mod create;
mod destroy;
mod find;
mod power;
mod settings;

use futures_util::FutureExt as _;
use serde_json::{Value as Json, json};

use crate::model::scene::{RUN, Scene};
use crate::value::Value;
use crate::wire::scripted::ScriptedHttp;

pub const UUID: &str = "a99be998-c1d2-4028-be83-105f1771cf08";
pub const VM: &str = "/api2/json/nodes/pve/qemu/107";

pub fn globals() -> Json {
    json!({"apiUrl": "10.0.0.4", "node": "pve", "ticket": "PVE:root@pam:6B0425CE::sig", "csrfToken": "CSRF"})
}

pub fn named() -> Json {
    json!({"vmName": "calamity"})
}

pub fn data(data: Json) -> Json {
    json!({ "data": data })
}

/// The lists of a single node.
pub fn fleet(vms: Json) -> ScriptedHttp {
    ScriptedHttp::new()
        .any_order()
        .always("GET /api2/json/nodes", 200, data(json!([{"node": "pve", "status": "online"}])))
        .always("GET /api2/json/cluster/resources?type=vm", 200, data(json!([])))
        .always("GET /api2/json/nodes/pve/qemu", 200, data(vms))
}

/// The lists with `calamity` in them.
pub fn one(status: &str) -> ScriptedHttp {
    fleet(json!([{"vmid": 107, "name": "calamity", "status": status}, {"vmid": 108, "name": "allthemons", "status": "stopped"}]))
}

pub fn config() -> Json {
    json!({
        "name": "calamity", "agent": "1", "boot": "order=scsi0;net0", "memory": "4096", "cores": 2, "digest": "d1",
        "net0": "virtio=BC:24:11:6D:CC:77,bridge=vmbr0", "smbios1": format!("uuid={UUID}"), "scsi0": "local-lvm:vm-107-disk-0,size=32G",
    })
}

/// `config` with other options; null removes one.
pub fn config_with(options: Json) -> Json {
    let mut config = config();
    for (key, value) in options.as_object().unwrap() {
        if value.is_null() {
            config.as_object_mut().unwrap().remove(key);
        } else {
            config[key] = value.clone();
        }
    }
    config
}

pub fn current(status: &str) -> Json {
    // Volatile figures are there and must not show in the state.
    data(
        json!({"status": status, "vmid": 107, "name": "calamity", "cpus": 2, "maxmem": 4294967296u64, "uptime": 77, "cpu": 0.4, "netin": 5}),
    )
}

pub fn agent(ip: &str) -> Json {
    let addresses = json!([{"ip-address": ip, "ip-address-type": "ipv4", "prefix": 24}]);
    data(json!({"result": [{"name": "eth0", "hardware-address": "bc:24:11:6d:cc:77", "ip-addresses": addresses}]}))
}

pub trait Script: Sized {
    /// One answer to `status/current`.
    fn current(self, status: &str) -> Self;
    /// One answer of the guest agent.
    fn agent(self, status: u16, reason: &str, body: Json) -> Self;
    /// The configuration, each time.
    fn config(self, config: Json) -> Self;
    /// No task works on the VM.
    fn idle(self) -> Self;
    /// `request` begins a task of `kind` that ends with `exit`.
    fn task(self, request: &str, kind: &str, exit: &str) -> Self;
}

impl Script for ScriptedHttp {
    fn current(self, status: &str) -> Self {
        self.expect(&format!("GET {VM}/status/current"), 200, current(status))
    }
    fn agent(self, status: u16, reason: &str, body: Json) -> Self {
        self.expect_reason(&format!("GET {VM}/agent/network-get-interfaces"), status, reason, body)
    }
    fn config(self, config: Json) -> Self {
        self.always(&format!("GET {VM}/config"), 200, data(config))
    }
    fn idle(self) -> Self {
        self.always("GET /api2/json/nodes/pve/tasks?source=active&vmid=107", 200, data(json!([])))
    }
    fn task(self, request: &str, kind: &str, exit: &str) -> Self {
        let upid = format!("UPID:pve:0000017D:0002C75E:6B04272F:{kind}:107:root@pam:");
        let at = format!("GET /api2/json/nodes/pve/tasks/{upid}");
        self.expect(request, 200, data(json!(upid)))
            .expect(&format!("{at}/status"), 200, data(json!({"status": "stopped", "exitstatus": exit})))
            .always(&format!("{at}/log*"), 200, data(json!([{"n": 1, "t": format!("TASK {exit}")}])))
    }
}

/// The version of `calamity` that the store knows, stopped.
pub fn known() -> Value {
    json!({
        "vmid": 107, "vmName": "calamity", "node": "pve", "status": "stopped", "ip": null, "ipSource": "the VM is off", "maxmem": 4294967296u64,
        "maxcpu": 2, "uuid": UUID, "mac": "BC:24:11:6D:CC:77", "boot": "order=scsi0;net0", "madeBy": null,
    })
    .into()
}

pub fn own_mark() -> String {
    format!("pmx-run={RUN}")
}

/// Calls `method` while everything that `line` asks for is answered with spoiled bytes, and the rest as it should be.
fn spoiled(line: &'static str, seeds: &[Json], (method, arguments): (&'static str, Json)) {
    let seeds: Vec<String> = seeds.iter().map(ToString::to_string).collect();
    crate::walks::feed(&seeds, move |bytes| {
        let good = one("running").config(config()).idle().always(&format!("GET {VM}/status/current"), 200, current("running"));
        let good = good.always(&format!("GET {VM}/agent/network-get-interfaces"), 200, agent("10.0.0.107"));
        let rights = data(json!({"/vms": {"VM.Audit": 1}}));
        let good = good.always("GET /api2/json/access/permissions", 200, rights);
        // The last is for what is asked about a VM or a node that only the spoiled answer knows.
        let http =
            ScriptedHttp::new().any_order().always(line, 200, bytes.to_vec()).followed_by(good).always("GET *", 200, data(json!({})));
        let scene = Scene::http(http);
        let called = scene.call("proxmox/vm", method, globals(), arguments.clone());
        // A VM that is told to be on its way somewhere is waited for, with a deadline of its own.
        called.now_or_never().map_or(Ok(()), |called| called.map(drop).map_err(|failure| failure.message))
    });
}

#[test]
fn answers_of_proxmox_are_read_or_refused_however_spoiled() {
    let vms = data(json!([{"vmid": 107, "name": "calamity", "status": "running"}, {"vmid": "108", "name": "b", "status": "stopped"}]));
    spoiled("GET /api2/json/nodes/pve/qemu", &[vms], ("sync", json!({})));
    spoiled("GET /api2/json/nodes", &[data(json!([{"node": "pve", "status": "online"}]))], ("sync", json!({})));
    spoiled("GET /api2/json/nodes/pve/qemu/107/config", &[data(config())], ("lookup", named()));
    spoiled("GET /api2/json/nodes/pve/qemu/107/status/current", &[current("running"), current("stopped")], ("lookup", named()));
    spoiled("GET /api2/json/nodes/pve/qemu/107/agent/network-get-interfaces", &[agent("10.0.0.107")], ("lookup", named()));
}
