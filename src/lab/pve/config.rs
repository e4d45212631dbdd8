//! A VM's configuration: read, changed at once (PUT) or by a task (POST), and what waits for the next start.

use std::collections::BTreeMap;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use serde_json::{Map, Value, json};

use super::create::{root_only, store_value};
use super::drive::{self, is_cd, volume_of};
use super::options::{self, is_drive};
use super::reply::{Answer, Fail};
use super::schema::{Kind, need, opt};
use super::{Call, May, Params, Route, Run};
use crate::lab::world::World;
use crate::lab::world::config::{typed, typed_map};

/// The calls of this family.
pub const ROUTES: &[Route] = &[
    Route::read("/nodes/{node}/qemu/{vmid}/config", May::Vm("VM.Audit"), READ, Run::Now(read)),
    Route::work("PUT", "/nodes/{node}/qemu/{vmid}/config", May::Anyone, CHANGE, Run::Later(put)).with_options(),
    Route::work("POST", "/nodes/{node}/qemu/{vmid}/config", May::Anyone, CHANGE, Run::Later(post)).with_options(),
    Route::read("/nodes/{node}/qemu/{vmid}/pending", May::Vm("VM.Audit"), &[], Run::Now(pending)),
    Route::work("PUT", "/nodes/{node}/qemu/{vmid}/unlink", May::Vm("VM.Config.Disk"), UNLINK, Run::Later(unlink)),
    Route::read("/nodes/{node}/qemu/{vmid}/cloudinit/dump", May::Vm("VM.Audit"), DUMP, Run::Now(cloudinit)),
];

const READ: &[super::Param] = &[opt("current", Kind::Bool), opt("snapshot", Kind::Text)];
const CHANGE: &[super::Param] = &[
    opt("delete", Kind::Text),
    opt("revert", Kind::Text),
    opt("digest", Kind::Text),
    opt("skiplock", Kind::Bool),
    opt("force", Kind::Bool),
    opt("background_delay", Kind::Int(1, 30)),
];
const UNLINK: &[super::Param] = &[need("idlist", Kind::Text), opt("force", Kind::Bool)];
const DUMP: &[super::Param] = &[need("type", Kind::Enum(&["user", "network", "meta"]))];

/// Parameters of a change that are no options.
const NOT_STORED: &[&str] = &["node", "vmid", "delete", "revert", "digest", "skiplock", "force", "background_delay"];

fn read(call: &Call) -> Result<Answer, Fail> {
    call.lab.read(|world| {
        let vm = world.vm(call.vmid())?;
        if let Some(name) = call.text("snapshot") {
            let shot = vm.config.snapshots.get(name).ok_or_else(|| format!("snapshot '{name}' does not exist"))?;
            return Ok(Value::Object(typed_map(&shot.values)).into());
        }
        let values = if call.flag("current") { vm.config.values.clone() } else { vm.config.coming() };
        let mut row = typed_map(&values);
        if let Some(lock) = world.lock(call.vmid()) {
            row.insert("lock".into(), json!(lock));
        }
        if let Some(parent) = &vm.config.parent {
            row.insert("parent".into(), json!(parent));
        }
        row.insert("digest".into(), json!(vm.config.digest()));
        Ok(Value::Object(row).into())
    })
}

fn pending(call: &Call) -> Result<Answer, Fail> {
    call.lab.read(|world| {
        let config = &world.vm(call.vmid())?.config;
        let mut rows: BTreeMap<&str, Map<String, Value>> = BTreeMap::new();
        for (key, value) in &config.values {
            let row = rows.entry(key).or_default();
            row.insert("value".into(), typed(key, value));
        }
        for (key, change) in &config.pending {
            let row = rows.entry(key).or_default();
            match change {
                Some(value) => row.insert("pending".into(), typed(key, value)),
                None => row.insert("delete".into(), json!(1)),
            };
        }
        let digest = config.digest();
        let mut list: Vec<Value> = rows
            .into_iter()
            .map(|(key, mut row)| {
                row.insert("key".into(), json!(key));
                Value::Object(row)
            })
            .collect();
        list.push(json!({"key": "digest", "value": digest}));
        Ok(Value::Array(list).into())
    })
}

/// A change, checked as far as can be without the VM.
#[derive(Clone)]
struct Change {
    vmid: u32,
    set: Params,
    delete: Vec<String>,
    revert: Vec<String>,
    digest: Option<String>,
    skiplock: bool,
    force: bool,
}

fn split(text: &str) -> Vec<String> {
    text.split([',', ';', ' ']).map(str::trim).filter(|piece| !piece.is_empty()).map(str::to_owned).collect()
}

/// Reads a change from the call; what is refused here is refused before anything is looked at.
fn plan(call: &Call) -> Result<Change, Fail> {
    root_only(call)?;
    let set: Params = call
        .params
        .iter()
        .filter(|(key, _)| !NOT_STORED.contains(&key.as_str()))
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect();
    let delete = split(call.text("delete").unwrap_or(""));
    let revert = split(call.text("revert").unwrap_or(""));
    for key in &delete {
        if options::kind(key).is_none() {
            return Err(Fail::param("delete", format!("unknown option '{key}'")));
        }
        if set.contains_key(key) {
            return Err(Fail::param("delete", format!("you can't use '-{key}' and -delete {key}' at the same time")));
        }
    }
    if set.is_empty() && delete.is_empty() && revert.is_empty() {
        return Err(Fail::Died("no options specified".into()));
    }
    for key in set.keys().chain(&delete) {
        let (path, privilege) = (format!("/vms/{}", call.vmid()), privilege_of(key));
        if !call.may(&path, privilege) {
            return Err(Fail::Denied(format!("Permission check failed ({path}, {privilege})")));
        }
    }
    let digest = call.text("digest").map(str::to_owned);
    Ok(Change { vmid: call.vmid(), set, delete, revert, digest, skiplock: call.flag("skiplock"), force: call.flag("force") })
}

/// What setting an option demands.
fn privilege_of(key: &str) -> &'static str {
    match key {
        "cores" | "sockets" | "cpu" | "cpulimit" | "cpuunits" | "vcpus" | "numa" | "affinity" => "VM.Config.CPU",
        "memory" | "balloon" | "shares" => "VM.Config.Memory",
        "cipassword" | "ciuser" | "sshkeys" | "nameserver" | "searchdomain" | "citype" | "ciupgrade" => "VM.Config.Cloudinit",
        "machine" | "bios" | "scsihw" | "vga" | "watchdog" | "rng0" | "hotplug" => "VM.Config.HWType",
        key if is_drive(key) || key.starts_with("unused") => "VM.Config.Disk",
        key if key.starts_with("net") => "VM.Config.Network",
        key if key.starts_with("ipconfig") => "VM.Config.Cloudinit",
        _ => "VM.Config.Options",
    }
}

fn check(world: &World, change: &Change) -> Result<(), String> {
    let vm = world.vm(change.vmid)?;
    if let Some(digest) = &change.digest
        && *digest != vm.config.digest()
    {
        return Err("checksum mismatch (file change by other user?)".into());
    }
    if !change.skiplock {
        world.check_lock(change.vmid)?;
    }
    for (key, values) in &change.set {
        if is_drive(key) {
            drive::check(world, &values[0])?;
        }
    }
    Ok(())
}

fn put(call: Call) -> BoxFuture<'static, Result<Answer, Fail>> {
    async move {
        let change = plan(&call)?;
        let _held = call.lab.flock(change.vmid).await?;
        call.lab.read(|world| check(world, &change))?;
        let (now, noise) = (call.lab.clock.unix(), call.lab.clock.noise());
        call.lab.change(|world| apply(world, &change, (now, noise)))?;
        Ok(Answer::null())
    }
    .boxed()
}

fn post(call: Call) -> BoxFuture<'static, Result<Answer, Fail>> {
    async move {
        let change = plan(&call)?;
        // 9.2 forks before it locks: there the time-out shows in the task.
        let held = if call.lab.nine() { None } else { Some(call.lab.flock(change.vmid).await?) };
        call.lab.read(|world| check(world, &change))?;
        let told: Vec<String> = change.set.iter().map(|(key, values)| format!("-{key} {}", values[0])).collect();
        let told = change.delete.iter().fold(told.join(" "), |text, key| format!("{text} -delete {key}"));
        let upid = call.lab.fork(&call.actor.name(), "qmconfig", &change.vmid.to_string(), move |job| async move {
            let _held = match held {
                Some(held) => held,
                None => job.lab.flock(change.vmid).await?,
            };
            job.lab.read(|world| check(world, &Change { digest: None, ..change.clone() }))?;
            job.log(&format!("update VM {}: {}", change.vmid, told.trim_start()));
            job.lab.clock.wait(0.4).await;
            let (now, noise) = (job.lab.clock.unix(), job.lab.clock.noise());
            for line in job.lab.change(|world| apply(world, &change, (now, noise)))? {
                job.log(&line);
            }
            Ok(())
        });
        Ok(json!(upid).into())
    }
    .boxed()
}

/// Applies a change; returns what a task prints.
fn apply(world: &mut World, change: &Change, (now, noise): (i64, u64)) -> Result<Vec<String>, String> {
    let vmid = change.vmid;
    check_boot(world, change)?;
    let mut lines = Vec::new();
    for key in &change.revert {
        world.vm_mut(vmid)?.config.pending.remove(key);
    }
    for key in &change.delete {
        remove(world, vmid, key, change.force)?;
    }
    for (key, values) in &change.set {
        let value = store_value(world, vmid, (key, &values[0]), (now, noise), &mut lines)?;
        if is_drive(key) {
            keep_old_volume(world, vmid, key, &value)?;
        }
        let vm = world.vm_mut(vmid)?;
        let running = vm.running();
        if value.is_empty() {
            vm.config.remove(key, running);
        } else if is_drive(key) || key.starts_with("net") {
            // Disks and cards are plugged in while the VM runs.
            vm.config.put(key, value, false);
        } else {
            vm.config.put(key, value, running);
        }
    }
    world.vm_mut(vmid)?.config.as_created = false;
    Ok(lines)
}

/// A boot order may name only devices that are there, or come with the same change.
fn check_boot(world: &World, change: &Change) -> Result<(), String> {
    let Some(order) = change.set.get("boot").and_then(|values| values[0].strip_prefix("order=").map(str::to_owned)) else { return Ok(()) };
    let coming = world.vm(change.vmid)?.config.coming();
    for device in split(&order) {
        let there = (coming.contains_key(&device) || change.set.contains_key(&device)) && !change.delete.contains(&device);
        if !there {
            return Err(format!("invalid bootorder: device '{device}' does not exist'"));
        }
    }
    Ok(())
}

/// Deletes an option: a disk becomes unused, an unused disk is removed for good.
fn remove(world: &mut World, vmid: u32, key: &str, force: bool) -> Result<(), String> {
    let vm = world.vm_mut(vmid)?;
    let running = vm.running();
    let Some(value) = vm.config.get(key).map(str::to_owned) else {
        vm.config.pending.remove(key);
        return Ok(());
    };
    if key.starts_with("unused") {
        vm.config.remove(key, false);
        if let Some(volid) = volume_of(&value) {
            world.shelf.volumes.remove(volid);
        }
        return Ok(());
    }
    if !is_drive(key) {
        vm.config.remove(key, running && !key.starts_with("net"));
        return Ok(());
    }
    vm.config.remove(key, false);
    let order: Vec<String> = vm.config.boot_order();
    if order.iter().any(|device| device == key) {
        let rest: Vec<String> = order.into_iter().filter(|device| device != key).collect();
        vm.config.values.insert("boot".into(), format!("order={}", rest.join(";")));
    }
    if let Some(volid) = volume_of(&value)
        && (!is_cd(&value) || volid.contains("cloudinit"))
    {
        if force || volid.contains("cloudinit") {
            world.shelf.volumes.remove(volid);
        } else {
            add_unused(world, vmid, volid)?;
        }
    }
    Ok(())
}

/// A drive that is pointed at another volume leaves its old one unused.
fn keep_old_volume(world: &mut World, vmid: u32, key: &str, new: &str) -> Result<(), String> {
    let old = world.vm(vmid)?.config.get(key).map(str::to_owned);
    if let Some(old) = old
        && !is_cd(&old)
        && let Some(volid) = volume_of(&old)
        && volume_of(new) != Some(volid)
    {
        add_unused(world, vmid, volid)?;
    }
    Ok(())
}

fn add_unused(world: &mut World, vmid: u32, volid: &str) -> Result<(), String> {
    let config = &mut world.vm_mut(vmid)?.config;
    let free = (0..256).map(|n| format!("unused{n}")).find(|key| !config.values.contains_key(key));
    config.values.insert(free.ok_or("too many unused disks")?, volid.to_owned());
    Ok(())
}

fn unlink(call: Call) -> BoxFuture<'static, Result<Answer, Fail>> {
    async move {
        let vmid = call.vmid();
        let _held = call.lab.flock(vmid).await?;
        let force = call.flag("force");
        call.lab.change(|world| {
            world.check_lock(vmid)?;
            for key in split(call.text("idlist").unwrap_or("")) {
                remove(world, vmid, &key, force)?;
            }
            world.vm_mut(vmid)?.config.as_created = false;
            Ok::<_, String>(())
        })?;
        Ok(Answer::null())
    }
    .boxed()
}

fn cloudinit(call: &Call) -> Result<Answer, Fail> {
    call.lab.read(|world| {
        let vm = world.vm(call.vmid())?;
        let name = vm.config.get("name").unwrap_or("");
        let text = match call.text("type") {
            Some("user") => {
                let mut text = format!("#cloud-config\nhostname: {name}\nmanage_etc_hosts: true\nfqdn: {name}\n");
                if let Some(user) = vm.config.get("ciuser") {
                    text.push_str(&format!("user: {user}\n"));
                }
                if let Some(keys) = vm.config.get("sshkeys") {
                    text.push_str("ssh_authorized_keys:\n");
                    for key in super::form::decode(keys, false).lines() {
                        text.push_str(&format!("  - {key}\n"));
                    }
                }
                text + "chpasswd:\n  expire: False\nusers:\n  - default\npackage_upgrade: true\n"
            }
            Some("meta") => format!("instance-id: {}\n", vm.uuid().unwrap_or_default()),
            _ => "version: 1\nconfig:\n".to_owned(),
        };
        Ok(json!(text).into())
    })
}
