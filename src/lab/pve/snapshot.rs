//! Snapshots: taken, listed, rolled back, deleted.

use serde_json::{Value, json};

use super::drive::{is_cd, volume_of};
use super::reply::{Answer, Fail};
use super::schema::{Kind, need, opt};
use super::{Call, May, Route, Run};
use crate::lab::running::Job;
use crate::lab::world::World;
use crate::lab::world::config::{Snapshot, typed_map};

/// The calls of this family.
pub const ROUTES: &[Route] = &[
    Route::read("/nodes/{node}/qemu/{vmid}/snapshot", May::Vm("VM.Audit"), &[], Run::Now(list)),
    Route::work("POST", "/nodes/{node}/qemu/{vmid}/snapshot", May::Vm("VM.Snapshot"), TAKE, Run::Now(take)),
    Route::read("/nodes/{node}/qemu/{vmid}/snapshot/{snapname}/config", May::Vm("VM.Audit"), &[], Run::Now(config)),
    Route::work(
        "POST",
        "/nodes/{node}/qemu/{vmid}/snapshot/{snapname}/rollback",
        May::Vm("VM.Snapshot.Rollback"),
        &[opt("start", Kind::Bool)],
        Run::Now(rollback),
    ),
    Route::work(
        "DELETE",
        "/nodes/{node}/qemu/{vmid}/snapshot/{snapname}",
        May::Vm("VM.Snapshot"),
        &[opt("force", Kind::Bool)],
        Run::Now(delete),
    ),
];

const TAKE: &[super::Param] = &[need("snapname", Kind::Text), opt("description", Kind::Text), opt("vmstate", Kind::Bool)];

/// Whether a disk's volume can be snapshotted: qcow2 files and thin volumes can, raw files cannot.
pub fn can_snapshot(world: &World, value: &str) -> bool {
    let Some(volid) = volume_of(value) else { return true };
    let storage = volid.split(':').next().and_then(|name| world.shelf.storages.get(name));
    storage.is_some_and(|storage| storage.kind == "lvmthin")
        || world.shelf.volumes.get(volid).is_some_and(|volume| volume.format == "qcow2")
}

fn list(call: &Call) -> Result<Answer, Fail> {
    call.lab.read(|world| {
        let vm = world.vm(call.vmid())?;
        let mut rows: Vec<Value> = Vec::new();
        for (name, shot) in &vm.config.snapshots {
            let mut row = json!({"name": name, "description": shot.description, "snaptime": shot.time, "vmstate": 0});
            if let Some(parent) = &shot.parent {
                row["parent"] = json!(parent);
            }
            rows.push(row);
        }
        let mut now =
            json!({"name": "current", "description": "You are here!", "running": i32::from(vm.running()), "digest": vm.config.digest()});
        if let Some(parent) = &vm.config.parent {
            now["parent"] = json!(parent);
        }
        rows.push(now);
        Ok(Value::Array(rows).into())
    })
}

fn config(call: &Call) -> Result<Answer, Fail> {
    let name = call.text("snapname").unwrap_or("");
    call.lab.read(|world| {
        let vm = world.vm(call.vmid())?;
        let shot = vm.config.snapshots.get(name).ok_or_else(|| format!("snapshot '{name}' does not exist"))?;
        let mut row = typed_map(&shot.values);
        row.insert("snaptime".into(), json!(shot.time));
        if !shot.description.is_empty() {
            row.insert("description".into(), json!(shot.description));
        }
        Ok(Value::Object(row).into())
    })
}

fn take(call: &Call) -> Result<Answer, Fail> {
    let (vmid, name) = (call.vmid(), call.text("snapname").unwrap_or("").to_owned());
    if matches!(name.as_str(), "current" | "pending") {
        return Err(Fail::Died(format!("unable to use snapshot name '{name}' (reserved name)")));
    }
    let description = call.text("description").unwrap_or("").to_owned();
    let upid = call.lab.fork(&call.actor.name(), "qmsnapshot", &vmid.to_string(), move |job| async move {
        let _held = job.lab.flock(vmid).await?;
        let disks = job.lab.read(|world| {
            world.check_lock(vmid)?;
            let vm = world.vm(vmid)?;
            if vm.config.snapshots.contains_key(&name) {
                return Err(format!("snapshot name '{name}' already used"));
            }
            let disks: Vec<(String, String)> = vm.config.drives().into_iter().filter(|(_, value)| !is_cd(value)).collect();
            if disks.iter().any(|(_, value)| !can_snapshot(world, value)) {
                return Err("snapshot feature is not available".into());
            }
            Ok(disks)
        })?;
        for (key, value) in &disks {
            job.log(&format!("snapshotting 'drive-{key}' ({})", volume_of(value).unwrap_or("")));
        }
        job.lab.clock.wait(0.4).await;
        let time = job.lab.clock.unix();
        job.lab.change(|world| {
            let config = &mut world.vm_mut(vmid)?.config;
            let shot = Snapshot { values: config.values.clone(), time, description, parent: config.parent.take() };
            config.snapshots.insert(name.clone(), shot);
            config.parent = Some(name);
            config.as_created = false;
            Ok(())
        })
    });
    Ok(json!(upid).into())
}

/// Starts a task about an existing snapshot.
fn about(call: &Call, kind: &'static str, work: fn(&Job, u32, &str) -> Result<(), String>) -> Result<Answer, Fail> {
    let (vmid, name) = (call.vmid(), call.text("snapname").unwrap_or("").to_owned());
    let upid = call.lab.fork(&call.actor.name(), kind, &vmid.to_string(), move |job| async move {
        let _held = job.lab.flock(vmid).await?;
        job.lab.read(|world| {
            let vm = world.vm(vmid)?;
            if !vm.config.snapshots.contains_key(&name) {
                return Err(format!("snapshot '{name}' does not exist"));
            }
            world.check_lock(vmid)
        })?;
        job.lab.clock.wait(0.4).await;
        work(&job, vmid, &name)
    });
    Ok(json!(upid).into())
}

fn rollback(call: &Call) -> Result<Answer, Fail> {
    about(call, "qmrollback", |job, vmid, name| {
        job.lab.change(|world| {
            let vm = world.vm_mut(vmid)?;
            vm.run = None;
            let shot = vm.config.snapshots.get(name).cloned().ok_or_else(|| format!("snapshot '{name}' does not exist"))?;
            vm.config.values = shot.values;
            vm.config.pending.clear();
            vm.config.parent = Some(name.to_owned());
            Ok(())
        })
    })
}

fn delete(call: &Call) -> Result<Answer, Fail> {
    about(call, "qmdelsnapshot", |job, vmid, name| {
        job.lab.change(|world| {
            let config = &mut world.vm_mut(vmid)?.config;
            let shot = config.snapshots.remove(name).ok_or_else(|| format!("snapshot '{name}' does not exist"))?;
            for other in config.snapshots.values_mut().filter(|other| other.parent.as_deref() == Some(name)) {
                other.parent.clone_from(&shot.parent);
            }
            if config.parent.as_deref() == Some(name) {
                config.parent = shot.parent;
            }
            Ok(())
        })
    })
}
