//! Storages: their list, content, uploads, removal of volumes, and backups.

use serde_json::{Value, json};

use super::reply::{Answer, Fail};
use super::schema::{Kind, need, opt};
use super::{Call, May, Route, Run};
use crate::lab::world::World;
use crate::lab::world::storage::Volume;

/// The calls of this family.
pub const ROUTES: &[Route] = &[
    Route::read("/storage", May::Anyone, &[opt("type", Kind::Text)], Run::Now(list)),
    Route::read("/nodes/{node}/storage", May::Anyone, NODE_LIST, Run::Now(node_list)).behind(),
    Route::read("/nodes/{node}/storage/{storage}/status", May::Anyone, &[], Run::Now(status)).behind(),
    Route::read("/nodes/{node}/storage/{storage}/content", May::Anyone, CONTENT, Run::Now(content)).behind(),
    Route::work("POST", "/nodes/{node}/storage/{storage}/upload", May::Anyone, UPLOAD, Run::Now(upload)),
    Route::read("/nodes/{node}/storage/{storage}/content/{volume*}", May::Anyone, &[], Run::Now(volume)).behind(),
    Route::work(
        "DELETE",
        "/nodes/{node}/storage/{storage}/content/{volume*}",
        May::Anyone,
        &[opt("delay", Kind::Int(1, 30))],
        Run::Now(remove),
    ),
    Route::work("POST", "/nodes/{node}/vzdump", May::Anyone, DUMP, Run::Now(dump)),
];

const NODE_LIST: &[super::Param] = &[
    opt("content", Kind::Text),
    opt("enabled", Kind::Bool),
    opt("format", Kind::Bool),
    opt("storage", Kind::Text),
    opt("target", Kind::Text),
];
const CONTENT: &[super::Param] = &[opt("content", Kind::Text), opt("vmid", Kind::Vmid)];
const UPLOAD: &[super::Param] = &[
    need("content", Kind::Enum(&["iso", "vztmpl", "import"])),
    need("filename", Kind::Text),
    opt("checksum", Kind::Text),
    opt("checksum-algorithm", Kind::Text),
    opt("tmpfilename", Kind::Text),
];
const DUMP: &[super::Param] = &[
    opt("vmid", Kind::Text),
    opt("storage", Kind::Text),
    opt("mode", Kind::Enum(&["snapshot", "suspend", "stop"])),
    opt("compress", Kind::Enum(&["0", "1", "gzip", "lzo", "zstd"])),
    opt("remove", Kind::Bool),
    opt("notes-template", Kind::Text),
    opt("protected", Kind::Bool),
    opt("all", Kind::Bool),
];

/// Bytes taken on a storage.
pub fn used(world: &World, storage: &str) -> u64 {
    let prefix = format!("{storage}:");
    world.shelf.volumes.iter().filter(|(volid, _)| volid.starts_with(&prefix)).map(|(_, volume)| volume.used).sum()
}

fn visible(call: &Call) -> Vec<String> {
    let names: Vec<String> = call.lab.read(|world| world.shelf.storages.keys().cloned().collect());
    names.into_iter().filter(|name| call.may(&format!("/storage/{name}"), "Datastore.Audit")).collect()
}

fn list(call: &Call) -> Result<Answer, Fail> {
    let names = visible(call);
    let rows: Vec<Value> = call.lab.read(|world| {
        let known = names.iter().filter_map(|name| world.shelf.storages.get(name).map(|storage| (name, storage)));
        known
            .map(|(name, storage)| {
                let mut row = json!({"storage": name, "type": storage.kind, "content": storage.content.join(","), "digest": "da39a3ee5e6b4b0d3255bfef95601890afd80709"});
                if storage.kind == "dir" {
                    row["path"] = json!("/var/lib/vz");
                    row["prune-backups"] = json!("keep-all=1");
                    row["priority"] = json!(0);
                } else {
                    row["vgname"] = json!("pve");
                    row["thinpool"] = json!("data");
                }
                row
            })
            .collect()
    });
    Ok(Value::Array(rows).into())
}

fn status_row(world: &World, name: &str) -> Option<Value> {
    let storage = world.shelf.storages.get(name)?;
    let used = used(world, name);
    Some(json!({
        "storage": name, "type": storage.kind, "content": storage.content.join(","), "active": 1, "enabled": 1, "shared": 0, "total": storage.size,
        "used": used, "avail": storage.size.saturating_sub(used), "used_fraction": used as f64 / storage.size as f64,
    }))
}

fn node_list(call: &Call) -> Result<Answer, Fail> {
    let names = visible(call);
    let rows = call.lab.read(|world| {
        let holds = |name: &&String| {
            let content = world.shelf.storages.get(*name).map(|storage| storage.content.clone()).unwrap_or_default();
            call.text("content").is_none_or(|wanted| wanted.split(',').any(|wanted| content.iter().any(|content| content == wanted)))
                && call.text("storage").is_none_or(|wanted| wanted == *name)
        };
        names.iter().filter(holds).filter_map(|name| status_row(world, name)).collect::<Vec<_>>()
    });
    Ok(Value::Array(rows).into())
}

/// The storage that a call names, if the caller may see it.
fn named(call: &Call) -> Result<String, Fail> {
    let name = call.text("storage").unwrap_or("").to_owned();
    call.lab.read(|world| world.shelf.storage(&name).map(drop))?;
    if call.may(&format!("/storage/{name}"), "Datastore.Audit") {
        Ok(name)
    } else {
        Err(Fail::Denied(format!("Permission check failed (/storage/{name}, Datastore.Audit)")))
    }
}

fn status(call: &Call) -> Result<Answer, Fail> {
    let name = named(call)?;
    Ok(call.lab.read(|world| status_row(world, &name)).unwrap_or_default().into())
}

fn content(call: &Call) -> Result<Answer, Fail> {
    let prefix = format!("{}:", named(call)?);
    let vmid = call.text("vmid").map(|_| call.vmid());
    let rows: Vec<Value> = call.lab.read(|world| {
        let mine = world.shelf.volumes.iter().filter(|(volid, volume)| {
            volid.starts_with(&prefix)
                && !volid.contains("cloudinit")
                && call.text("content").is_none_or(|content| volume.content == content)
                && vmid.is_none_or(|vmid| volume.vmid == Some(vmid))
        });
        mine.map(|(volid, volume)| {
            let mut row =
                json!({"volid": volid, "size": volume.size, "format": volume.format, "content": volume.content, "ctime": volume.ctime});
            if let Some(vmid) = volume.vmid {
                row["vmid"] = json!(vmid);
            }
            if volume.content == "images" {
                row["used"] = json!(volume.used);
                row["parent"] = json!(volume.parent);
            }
            row
        })
        .collect()
    });
    Ok(Value::Array(rows).into())
}

fn upload(call: &Call) -> Result<Answer, Fail> {
    let name = call.text("storage").unwrap_or("").to_owned();
    call.lab.read(|world| world.shelf.storage(&name).map(drop))?;
    let path = format!("/storage/{name}");
    if !call.may(&path, "Datastore.AllocateTemplate") {
        return Err(Fail::Denied(format!("Permission check failed ({path}, Datastore.AllocateTemplate)")));
    }
    let Some(file) = call.upload.clone() else { return Err(Fail::param("filename", "property is missing and it is not optional")) };
    let content = call.text("content").unwrap_or("iso").to_owned();
    if content == "iso" && !file.name.ends_with(".iso") && !file.name.ends_with(".img") {
        return Err(Fail::param("filename", "wrong file extension"));
    }
    let upid = call.lab.fork(&call.actor.name(), "imgcopy", "", move |job| async move {
        job.log(&format!("starting file import from: /var/tmp/pveupload-{:032x}", job.lab.clock.noise()));
        job.log(&format!("target node: {}", job.lab.read(|world| world.site.node.clone())));
        job.log(&format!("target file: /var/lib/vz/template/{content}/{}", file.name));
        job.log(&format!("file size is: {} bytes", file.size));
        job.lab.clock.wait(0.3).await;
        let format = file.name.rsplit('.').next().unwrap_or("").to_owned();
        let ctime = job.lab.clock.unix();
        job.lab.change(|world| {
            let volid = format!("{name}:{content}/{}", file.name);
            let volume = Volume { size: file.size, used: file.size, format, vmid: None, ctime, content, parent: None };
            world.shelf.volumes.insert(volid, volume);
        });
        job.log("finished file import successfully");
        Ok(())
    });
    Ok(json!(upid).into())
}

/// The volume id of a call: with or without the storage in front.
fn volid(call: &Call) -> String {
    let (storage, volume) = (call.text("storage").unwrap_or(""), call.text("volume").unwrap_or(""));
    if volume.contains(':') { volume.to_owned() } else { format!("{storage}:{volume}") }
}

fn volume(call: &Call) -> Result<Answer, Fail> {
    named(call)?;
    let volid = volid(call);
    call.lab.read(|world| {
        let volume = world.shelf.volumes.get(&volid).ok_or_else(|| format!("volume_size_info on '{volid}' failed - no format"))?;
        Ok(json!({"path": format!("/var/lib/vz/{volid}"), "size": volume.size, "used": volume.used, "format": volume.format}).into())
    })
}

fn remove(call: &Call) -> Result<Answer, Fail> {
    let storage = call.text("storage").unwrap_or("").to_owned();
    call.lab.read(|world| world.shelf.storage(&storage).map(drop))?;
    let path = format!("/storage/{storage}");
    if !call.may(&path, "Datastore.Allocate") {
        return Err(Fail::Denied(format!("Permission check failed ({path}, Datastore.Allocate)")));
    }
    let volid = volid(call);
    let upid = call.lab.fork(&call.actor.name(), "imgdel", &storage, move |job| async move {
        job.lab.clock.wait(0.3).await;
        job.lab.change(|world| {
            let in_use =
                world.vms.iter().find(|(_, vm)| vm.config.values.values().any(|value| value.split(',').next() == Some(volid.as_str())));
            if let Some((vmid, _)) = in_use {
                return Err(format!("Volume '{volid}' is still in use by VM {vmid}"));
            }
            world.shelf.volumes.remove(&volid).map(drop).ok_or_else(|| format!("volume '{volid}' does not exist"))
        })?;
        job.log(&format!("Removed volume '{volid}'"));
        Ok(())
    });
    Ok(json!(upid).into())
}

fn dump(call: &Call) -> Result<Answer, Fail> {
    let vmids: Vec<u32> = call.text("vmid").unwrap_or("").split([',', ' ']).filter_map(|vmid| vmid.trim().parse().ok()).collect();
    for vmid in &vmids {
        let path = format!("/vms/{vmid}");
        if !call.may(&path, "VM.Backup") {
            return Err(Fail::Denied(format!("Permission check failed ({path}, VM.Backup)")));
        }
    }
    let storage = call.text("storage").unwrap_or("local").to_owned();
    call.lab.read(|world| world.shelf.storage(&storage).map(drop))?;
    let id = if let [one] = vmids[..] { one.to_string() } else { String::new() };
    let upid = call.lab.fork(&call.actor.name(), "vzdump", &id, move |job| async move {
        for vmid in vmids {
            let lab = &job.lab;
            job.log(&format!("INFO: Starting Backup of VM {vmid} (qemu)"));
            let held = lab.flock(vmid).await?;
            lab.read(|world| world.vm(vmid).and_then(|_| world.check_lock(vmid)))?;
            lab.change(|world| world.vm_mut(vmid).map(|vm| drop(vm.config.values.insert("lock".into(), "backup".into()))))?;
            drop(held);
            // The configuration lock, not the file's, is what others meet while the copy runs.
            lab.clock.wait(5.0).await;
            let ctime = lab.clock.unix();
            lab.change(|world| {
                let size = world.vms.get(&vmid).map_or(0, super::qemu::boot_disk_size) / 3;
                if let Some(vm) = world.vms.get_mut(&vmid) {
                    vm.config.values.remove("lock");
                }
                let volid = format!("{storage}:backup/vzdump-qemu-{vmid}-{ctime}.vma.zst");
                let volume =
                    Volume { size, used: size, format: "vma.zst".into(), vmid: Some(vmid), ctime, content: "backup".into(), parent: None };
                world.shelf.volumes.insert(volid, volume);
            });
            job.log(&format!("INFO: Finished Backup of VM {vmid} (00:00:05)"));
        }
        job.log("INFO: Backup job finished successfully");
        Ok(())
    });
    Ok(json!(upid).into())
}
