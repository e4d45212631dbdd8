//! `/nodes/{node}/qemu`: the list of VMs, their present state, and what is below them.

use serde_json::{Map, Value, json};

use super::reply::{Answer, Fail};
use super::schema::{Kind, need, opt};
use super::{Call, May, Route, Run};
use crate::lab::world::World;
use crate::lab::world::storage::drive_size;
use crate::lab::world::vm::{Guest, Run as Power, Vm};

/// The calls of this family.
pub const ROUTES: &[Route] = &[
    Route::read("/nodes/{node}/qemu", May::Anyone, &[opt("full", Kind::Bool)], Run::Now(list)).behind(),
    Route::read("/nodes/{node}/qemu/{vmid}", May::Anyone, &[], Run::Index("subdir", BELOW)),
    Route::read("/nodes/{node}/qemu/{vmid}/status", May::Anyone, &[], Run::Index("subdir", STATUS)),
    Route::read("/nodes/{node}/qemu/{vmid}/status/current", May::Vm("VM.Audit"), &[], Run::Now(current)).behind(),
    Route::read("/nodes/{node}/qemu/{vmid}/feature", May::Vm("VM.Audit"), FEATURE, Run::Now(feature)).behind(),
    Route::read("/nodes/{node}/qemu/{vmid}/rrddata", May::Vm("VM.Audit"), RRD, Run::Now(rrd)),
    Route::work("POST", "/nodes/{node}/qemu/{vmid}/migrate", May::Vm("VM.Migrate"), MIGRATE, Run::Now(migrate)),
    Route::read("/nodes/{node}/lxc", May::Anyone, &[], Run::Now(|_| Ok(json!([]).into()))).behind(),
];

const BELOW: &[&str] = &[
    "config",
    "cloudinit",
    "pending",
    "status",
    "unlink",
    "vncproxy",
    "termproxy",
    "migrate",
    "resize",
    "move",
    "rrd",
    "rrddata",
    "monitor",
    "agent",
    "snapshot",
    "spiceproxy",
    "sendkey",
    "firewall",
    "mtunnel",
    "remote_migrate",
];
const STATUS: &[&str] = &["current", "start", "stop", "reset", "shutdown", "suspend", "reboot"];
const FEATURE: &[super::Param] = &[need("feature", Kind::Enum(&["snapshot", "clone", "copy"])), opt("snapname", Kind::Text)];
const RRD: &[super::Param] =
    &[need("timeframe", Kind::Enum(&["hour", "day", "week", "month", "year"])), opt("cf", Kind::Enum(&["AVERAGE", "MAX"]))];
const MIGRATE: &[super::Param] = &[
    need("target", Kind::Text),
    opt("online", Kind::Bool),
    opt("force", Kind::Bool),
    opt("with-local-disks", Kind::Bool),
    opt("targetstorage", Kind::Text),
];

fn list(call: &Call) -> Result<Answer, Fail> {
    let full = call.flag("full");
    let now = call.lab.clock.now();
    let visible: Vec<u32> = call.lab.read(|world| world.vms.keys().copied().collect());
    let visible: Vec<u32> = visible.into_iter().filter(|vmid| call.may(&format!("/vms/{vmid}"), "VM.Audit")).collect();
    let mut rows: Vec<Value> = call.lab.read(|world| {
        let each = visible.iter().filter_map(|vmid| world.vms.get(vmid).map(|vm| (*vmid, vm)));
        each.map(|(vmid, vm)| Value::Object(row(Look { world, vmid, vm, now, nine: call.lab.nine() }, full))).collect()
    });
    // Perl's hashes have no order, so neither has the list.
    for at in (1..rows.len()).rev() {
        rows.swap(at, (call.lab.clock.noise() % (at as u64 + 1)) as usize);
    }
    Ok(Value::Array(rows).into())
}

fn current(call: &Call) -> Result<Answer, Fail> {
    let (vmid, now, nine) = (call.vmid(), call.lab.clock.now(), call.lab.nine());
    call.lab.read(|world| {
        let vm = world.vm(vmid)?;
        let mut row = row(Look { world, vmid, vm, now, nine }, true);
        row.insert("ha".into(), json!({"managed": 0}));
        if vm.config.agent() {
            row.insert("agent".into(), json!(1));
        }
        Ok(Value::Object(row).into())
    })
}

/// What a row is made from.
struct Look<'a> {
    world: &'a World,
    vmid: u32,
    vm: &'a Vm,
    now: f64,
    nine: bool,
}

/// Size of the disk that the boot order names first.
pub fn boot_disk_size(vm: &Vm) -> u64 {
    let is_disk = |value: &&str| !value.contains("media=cdrom");
    let order = vm.config.boot_order();
    order.iter().filter_map(|device| vm.config.get(device)).filter(is_disk).find_map(drive_size).unwrap_or(0)
}

fn row(look: Look<'_>, full: bool) -> Map<String, Value> {
    let Look { world, vmid, vm, now, nine } = look;
    let maxmem = vm.config.memory() << 20;
    let mut row = Map::new();
    let mut put = |key: &str, value: Value| row.insert(key.to_owned(), value);
    put("vmid", json!(vmid));
    put("name", json!(vm.name(vmid)));
    put("status", json!(vm.status()));
    put("cpus", json!(vm.config.cpus()));
    put("maxmem", json!(maxmem));
    put("maxdisk", json!(boot_disk_size(vm)));
    put("disk", json!(0));
    for key in ["cpu", "mem", "netin", "netout", "uptime"] {
        put(key, json!(0));
    }
    if !nine || vm.running() {
        put("diskread", json!(0));
        put("diskwrite", json!(0));
    }
    if nine {
        put("memhost", json!(if vm.running() { maxmem / 2 + (40 << 20) } else { 0 }));
    }
    if vm.config.flag("template") {
        put("template", json!(1));
    }
    if let Some(lock) = world.lock(vmid) {
        put("lock", json!(lock));
    }
    if let Some(tags) = vm.config.get("tags").filter(|tags| !tags.is_empty()) {
        put("tags", json!(tags));
    }
    if vm.config.values.keys().any(|key| key.starts_with("serial")) {
        put("serial", json!(1));
    }
    if full {
        put("qmpstatus", json!(vm.qmp_status()));
    }
    if let Some(run) = &vm.run {
        running(&mut row, vm, vmid, (run, now));
        if full {
            details(&mut row, vm, vmid);
        }
        if nine {
            for key in
                ["pressurecpusome", "pressurecpufull", "pressureiosome", "pressureiofull", "pressurememorysome", "pressurememoryfull"]
            {
                row.insert(key.into(), json!(0));
            }
        }
    }
    row
}

fn running(row: &mut Map<String, Value>, vm: &Vm, vmid: u32, (run, now): (&Power, f64)) {
    let age = (now - run.started).max(0.0);
    let works = run.guest != Guest::Nothing && !run.paused;
    let share = if works { 0.4 } else { 0.02 };
    let mem = (vm.config.memory() << 20) as f64 * share;
    row.insert("pid".into(), json!(run.pid));
    row.insert("uptime".into(), json!(age as i64));
    row.insert("mem".into(), json!(mem as u64));
    row.insert("cpu".into(), if works { json!(0.01 + f64::from(vmid % 7) / 100.0) } else { json!(0) });
    row.insert("netin".into(), json!((age * 97.0) as u64));
    row.insert("netout".into(), json!((age * 61.0) as u64));
    row.insert("diskread".into(), json!(if works { 180 << 20 } else { 512 }));
    row.insert("diskwrite".into(), json!(if works { (age * 2048.0) as u64 } else { 0 }));
}

fn details(row: &mut Map<String, Value>, vm: &Vm, vmid: u32) {
    const COUNTERS: &[&str] = &[
        "wr_operations",
        "invalid_flush_operations",
        "unmap_merged",
        "wr_total_time_ns",
        "invalid_rd_operations",
        "invalid_unmap_operations",
        "invalid_wr_operations",
        "wr_merged",
        "rd_bytes",
        "flush_total_time_ns",
        "unmap_operations",
        "rd_operations",
        "rd_total_time_ns",
        "failed_rd_operations",
        "failed_flush_operations",
        "failed_unmap_operations",
        "rd_merged",
        "wr_bytes",
        "failed_wr_operations",
        "flush_operations",
        "unmap_bytes",
        "unmap_total_time_ns",
        "wr_highest_offset",
        "idle_time_ns",
    ];
    let traffic = json!({"netin": row["netin"], "netout": row["netout"]});
    let nics: Map<String, Value> = vm.config.nets().iter().map(|(key, _)| (format!("tap{vmid}i{}", &key[3..]), traffic.clone())).collect();
    let mut blocks = Map::new();
    for (key, _) in vm.config.drives() {
        let mut block: Map<String, Value> = COUNTERS.iter().map(|name| ((*name).to_owned(), json!(0))).collect();
        block.insert("account_failed".into(), json!(true));
        block.insert("account_invalid".into(), json!(true));
        block.insert("timed_stats".into(), json!([]));
        blocks.insert(key, Value::Object(block));
    }
    row.insert("nics".into(), Value::Object(nics));
    row.insert("blockstat".into(), Value::Object(blocks));
    row.insert("proxmox-support".into(), json!({}));
    row.insert("running-qemu".into(), json!("7.2.22"));
    row.insert("running-machine".into(), json!("pc-i440fx-7.2"));
}

fn feature(call: &Call) -> Result<Answer, Fail> {
    call.lab.read(|world| {
        let vm = world.vm(call.vmid())?;
        let disks: Vec<String> =
            vm.config.drives().into_iter().map(|(_, value)| value).filter(|value| !super::drive::is_cd(value)).collect();
        let able = match call.text("feature") {
            Some("copy") => true,
            Some("snapshot") => disks.iter().all(|value| super::snapshot::can_snapshot(world, value)),
            _ => vm.config.flag("template"),
        };
        Ok(json!({"hasFeature": i32::from(able), "nodes": [world.site.node]}).into())
    })
}

fn rrd(call: &Call) -> Result<Answer, Fail> {
    call.lab.read(|world| {
        let vm = world.vm(call.vmid())?;
        let step = match call.text("timeframe") {
            Some("hour") => 60,
            Some("day") => 1800,
            Some("week") => 10_800,
            Some("month") => 43_200,
            _ => 604_800,
        };
        let now = call.lab.clock.unix() / step * step;
        let row = |n: i64| json!({"time": now - (69 - n) * step, "maxmem": vm.config.memory() << 20, "maxcpu": vm.config.cpus(), "maxdisk": boot_disk_size(vm), "disk": 0});
        Ok(Value::Array((0..70).map(row).collect()).into())
    })
}

fn migrate(call: &Call) -> Result<Answer, Fail> {
    let target = call.text("target").unwrap_or("");
    call.lab.read(|world| {
        if target == world.site.node {
            return Err(Fail::param("target", "target is local node."));
        }
        Err(Fail::param("target", format!("no such cluster node '{target}'")))
    })
}
