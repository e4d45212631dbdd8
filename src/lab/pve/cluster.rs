//! `/cluster` and `/nodes`: the next free vmid, the cached resources, the node itself.

use serde_json::{Map, Value, json};

use super::qemu::boot_disk_size;
use super::reply::{Answer, Fail};
use super::schema::{Kind, opt};
use super::{Call, May, Route, Run};
use crate::lab::world::World;

/// The calls of this family.
pub const ROUTES: &[Route] = &[
    Route::read("/cluster/nextid", May::Anyone, &[opt("vmid", Kind::Vmid)], Run::Now(next_id)),
    Route::read("/cluster/resources", May::Anyone, &[opt("type", Kind::Enum(&["vm", "storage", "node", "sdn"]))], Run::Now(resources)),
    Route::read("/cluster/status", May::Anyone, &[], Run::Now(status)),
    Route::read("/nodes", May::Anyone, &[], Run::Now(nodes)),
    Route::read(
        "/nodes/{node}",
        May::Anyone,
        &[],
        Run::Index("name", &["qemu", "lxc", "tasks", "storage", "network", "status", "version", "vzdump"]),
    ),
    Route::read("/nodes/{node}/status", May::Node("Sys.Audit"), &[], Run::Now(node_status)).behind(),
    Route::read("/nodes/{node}/version", May::Anyone, &[], Run::Now(node_version)).behind(),
    Route::read("/nodes/{node}/network", May::Anyone, &[opt("type", Kind::Text)], Run::Now(network)),
];

fn next_id(call: &Call) -> Result<Answer, Fail> {
    call.lab.read(|world| {
        if let Some(text) = call.text("vmid") {
            if world.vms.contains_key(&call.vmid()) {
                return Err(Fail::param("vmid", format!("VM {text} already exists")));
            }
            return Ok(json!(text).into());
        }
        let free = (100..1_000_000).find(|vmid| !world.vms.contains_key(vmid)).ok_or_else(|| "unable to get any free VMID".to_owned())?;
        Ok(json!(free.to_string()).into())
    })
}

fn resources(call: &Call) -> Result<Answer, Fail> {
    let kind = call.text("type");
    let mut rows = Vec::new();
    if kind.is_none_or(|kind| kind == "vm") {
        let vmids: Vec<u32> = call.lab.read(|world| world.vms.keys().copied().collect());
        for vmid in vmids {
            if call.may(&format!("/vms/{vmid}"), "VM.Audit")
                && let Some(row) = call.lab.read(|world| vm_row(call, world, vmid))
            {
                rows.push(Value::Object(row));
            }
        }
    }
    let node = call.lab.read(|world| world.site.node.clone());
    if kind.is_none_or(|kind| kind == "node") && call.may(&format!("/nodes/{node}"), "Sys.Audit") {
        let mut row = node_row(call);
        row.insert("id".into(), json!(format!("node/{node}")));
        rows.push(Value::Object(row));
    }
    if kind.is_none_or(|kind| kind == "storage") {
        for (name, storage) in call.lab.read(|world| world.shelf.storages.clone()) {
            if call.may(&format!("/storage/{name}"), "Datastore.Audit") {
                let used = call.lab.read(|world| super::storage::used(world, &name));
                rows.push(json!({"id": format!("storage/{node}/{name}"), "type": "storage", "storage": name, "node": node, "status": "available", "plugintype": storage.kind, "content": storage.content.join(","), "shared": 0, "disk": used, "maxdisk": storage.size}));
            }
        }
    }
    Ok(Value::Array(rows).into())
}

/// A VM's row: its power as pvestatd saw it last, at most 10 s ago; `unknown` when it has not looked yet.
fn vm_row(call: &Call, world: &World, vmid: u32) -> Option<Map<String, Value>> {
    let vm = world.vms.get(&vmid)?;
    let sight = call.lab.sight(vmid);
    let mut row = Map::new();
    let mut put = |key: &str, value: Value| row.insert(key.to_owned(), value);
    put("id", json!(format!("qemu/{vmid}")));
    put("type", json!("qemu"));
    put("vmid", json!(vmid));
    put("node", json!(world.site.node));
    put("status", json!(sight.as_ref().map_or("unknown", |sight| sight.status)));
    if let Some(sight) = sight {
        let running = sight.status == "running";
        let maxmem = vm.config.memory() << 20;
        put("name", json!(vm.name(vmid)));
        put("template", json!(i32::from(vm.config.flag("template"))));
        put("uptime", json!(sight.uptime));
        put("maxcpu", json!(vm.config.cpus()));
        put("maxmem", json!(maxmem));
        put("maxdisk", json!(boot_disk_size(vm)));
        put("mem", json!(if running { maxmem * 2 / 5 } else { 0 }));
        put("cpu", if running { json!(0.02) } else { json!(0) });
        for key in ["disk", "diskread", "diskwrite", "netin", "netout"] {
            put(key, json!(0));
        }
        if let Some(tags) = vm.config.get("tags") {
            put("tags", json!(tags));
        }
        if let Some(lock) = world.lock(vmid) {
            put("lock", json!(lock));
        }
    }
    if let Some((pool, _)) = world.pools.iter().find(|(_, pool)| pool.vms.contains(&vmid)) {
        row.insert("pool".into(), json!(pool));
    }
    Some(row)
}

fn status(call: &Call) -> Result<Answer, Fail> {
    let (node, address) = call.lab.read(|world| (world.site.node.clone(), world.address()));
    Ok(json!([{"id": format!("node/{node}"), "nodeid": 0, "local": 1, "online": 1, "type": "node", "ip": address.to_string(), "name": node, "level": ""}]).into())
}

const NODE_MEMORY: u64 = 64 << 30;

fn used_memory(world: &World) -> u64 {
    let guests: u64 = world.vms.values().filter(|vm| vm.running()).map(|vm| (vm.config.memory() << 20) * 2 / 5).sum();
    guests + (4 << 30)
}

fn node_row(call: &Call) -> Map<String, Value> {
    call.lab.read(|world| {
        let uptime = (call.lab.clock.now() - world.site.booted).max(0.0) as i64;
        let row = json!({"node": world.site.node, "type": "node", "status": "online", "cpu": 0.07, "maxcpu": 16, "mem": used_memory(world), "maxmem": NODE_MEMORY, "disk": 9_u64 << 30, "maxdisk": 94_u64 << 30, "uptime": uptime, "level": ""});
        row.as_object().cloned().unwrap_or_default()
    })
}

fn nodes(call: &Call) -> Result<Answer, Fail> {
    let mut row = node_row(call);
    let node = call.lab.read(|world| world.site.node.clone());
    row.insert("id".into(), json!(format!("node/{node}")));
    row.insert("ssl_fingerprint".into(), json!(call.lab.ready.fingerprint));
    if !call.may(&format!("/nodes/{node}"), "Sys.Audit") {
        for key in ["cpu", "maxcpu", "mem", "maxmem", "disk", "maxdisk", "uptime"] {
            row.remove(key);
        }
    }
    Ok(json!([row]).into())
}

fn node_status(call: &Call) -> Result<Answer, Fail> {
    let version = if call.lab.nine() { "pve-manager/9.2.11/26c10a2e6c7a4f3b" } else { "pve-manager/8.4.1/2a5fa54a8503f96d" };
    call.lab.read(|world| {
        let uptime = (call.lab.clock.now() - world.site.booted).max(0.0) as i64;
        let used = used_memory(world);
        let memory = json!({"total": NODE_MEMORY, "used": used, "free": NODE_MEMORY.saturating_sub(used), "available": NODE_MEMORY.saturating_sub(used)});
        Ok(json!({
            "cpu": 0.07, "wait": 0.001, "idle": 0, "uptime": uptime, "loadavg": ["0.42", "0.38", "0.33"], "pveversion": version,
            "kversion": "Linux 6.8.12-9-pve #1 SMP PREEMPT_DYNAMIC", "memory": memory,
            "swap": {"total": 8_u64 << 30, "used": 0, "free": 8_u64 << 30}, "ksm": {"shared": 0},
            "rootfs": {"total": 94_u64 << 30, "used": 9_u64 << 30, "free": 85_u64 << 30, "avail": 80_u64 << 30},
            "cpuinfo": {"cpus": 16, "cores": 8, "sockets": 1, "model": "Lab CPU", "mhz": "3600.000", "hvm": "1", "user_hz": 100, "flags": ""},
        })
        .into())
    })
}

fn node_version(call: &Call) -> Result<Answer, Fail> {
    let (version, release, repoid) =
        if call.lab.nine() { ("9.2.11", "9.2", "26c10a2e6c7a4f3b") } else { ("8.4.1", "8.4", "2a5fa54a8503f96d") };
    Ok(json!({"version": version, "release": release, "repoid": repoid}).into())
}

fn network(call: &Call) -> Result<Answer, Fail> {
    let address = call.lab.read(World::address);
    Ok(json!([{
        "active": 1, "bridge_ports": "", "type": "bridge", "iface": "vmbr0", "method6": "manual", "bridge_fd": "0", "families": ["inet"],
        "cidr": format!("{address}/24"), "address": address.to_string(), "netmask": "24", "bridge_stp": "off", "method": "static", "priority": 3,
        "autostart": 1,
    }])
    .into())
}
