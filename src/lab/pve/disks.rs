//! Disks of existing VMs: resize, clone, template.

use serde_json::{Value, json};

use super::create::root_only;
use super::drive::{is_cd, tidy_net, volume_of};
use super::reply::{Answer, Fail};
use super::schema::{Kind, need, opt};
use super::{Call, May, Route, Run};
use crate::lab::running::Job;
use crate::lab::world::World;
use crate::lab::world::config::Config;
use crate::lab::world::storage::{Wish, drive_size, parse_size, size_text};
use crate::lab::world::vm::Vm;

/// The calls of this family.
pub const ROUTES: &[Route] = &[
    Route::work("PUT", "/nodes/{node}/qemu/{vmid}/resize", May::Vm("VM.Config.Disk"), RESIZE, Run::Now(resize)),
    Route::work("POST", "/nodes/{node}/qemu/{vmid}/clone", May::Vm("VM.Clone"), CLONE, Run::Now(clone)),
    Route::work("POST", "/nodes/{node}/qemu/{vmid}/template", May::Vm("VM.Allocate"), &[opt("disk", Kind::Text)], Run::Now(template)),
];

const RESIZE: &[super::Param] =
    &[need("disk", Kind::Text), need("size", Kind::Text), opt("digest", Kind::Text), opt("skiplock", Kind::Bool)];
const CLONE: &[super::Param] = &[
    need("newid", Kind::Vmid),
    opt("name", Kind::Dns),
    opt("full", Kind::Bool),
    opt("description", Kind::Text),
    opt("pool", Kind::Text),
    opt("snapname", Kind::Text),
    opt("storage", Kind::Text),
    opt("format", Kind::Enum(&["raw", "qcow2", "vmdk"])),
    opt("target", Kind::Text),
    opt("bwlimit", Kind::Int(0, i64::MAX)),
];

fn resize(call: &Call) -> Result<Answer, Fail> {
    root_only(call)?;
    let vmid = call.vmid();
    let (disk, size) = (call.text("disk").unwrap_or("").to_owned(), call.text("size").unwrap_or("").to_owned());
    let upid = call.lab.fork(&call.actor.name(), "resize", &vmid.to_string(), move |job| async move {
        let _held = job.lab.flock(vmid).await?;
        job.lab.clock.wait(0.3).await;
        job.lab.change(|world| {
            world.check_lock(vmid)?;
            let value = world.vm(vmid)?.config.get(&disk).map(str::to_owned).ok_or_else(|| format!("disk '{disk}' does not exist"))?;
            let old = drive_size(&value).unwrap_or(0);
            let bad = || format!("unable to parse size '{size}'");
            let new = match size.strip_prefix('+') {
                Some(more) => old + parse_size(more).ok_or_else(bad)?,
                None => parse_size(&size).ok_or_else(bad)?,
            };
            if new < old {
                return Err("shrinking disks is not supported".to_owned());
            }
            let resized = value.replace(&format!("size={}", size_text(old)), &format!("size={}", size_text(new)));
            if let Some(volume) = volume_of(&value).and_then(|volid| world.shelf.volumes.get_mut(volid)) {
                volume.size = new;
            }
            let config = &mut world.vm_mut(vmid)?.config;
            config.values.insert(disk.clone(), resized);
            config.as_created = false;
            Ok(())
        })?;
        job.log("Image resized.");
        Ok(())
    });
    Ok(json!(upid).into())
}

/// What a clone is to be.
#[derive(Clone)]
struct Copy {
    source: u32,
    target: u32,
    name: Option<String>,
    description: Option<String>,
    pool: Option<String>,
    full: bool,
    storage: Option<String>,
}

fn clone(call: &Call) -> Result<Answer, Fail> {
    let source = call.vmid();
    let target: u32 = call.text("newid").and_then(|text| text.parse().ok()).unwrap_or(0);
    let text = |name: &str| call.text(name).map(str::to_owned);
    let copy = call.lab.change(|world| {
        let template = world.vm(source)?.config.flag("template");
        let full = call.text("full").map_or(!template, |full| full == "1");
        if world.vms.contains_key(&target) {
            return Err(Fail::Died(format!("unable to create VM {target}: config file already exists")));
        }
        if !full && !template {
            return Err(Fail::param("full", "Linked clone feature is not supported for this VM"));
        }
        let mut config = Config::default();
        config.values.insert("lock".into(), "clone".into());
        let address = world.free_address();
        world.vms.insert(target, Vm::new(config, address));
        Ok(Copy {
            source,
            target,
            name: text("name"),
            description: text("description"),
            pool: text("pool"),
            full,
            storage: text("storage"),
        })
    })?;
    let upid = call.lab.fork(&call.actor.name(), "qmclone", &source.to_string(), move |job| async move {
        let _held = job.lab.flock(source).await?;
        if job.lab.nine() {
            job.log(&format!("creating a clone of VM {source} with ID {target}"));
        }
        job.lab.clock.wait(1.0).await;
        if let Err(error) = copy_over(&job, &copy) {
            job.lab.forget(target);
            return Err(format!("clone failed: {error}"));
        }
        Ok(())
    });
    Ok(json!(upid).into())
}

fn copy_over(job: &Job, copy: &Copy) -> Result<(), String> {
    let clock = &job.lab.clock;
    let now = clock.unix();
    let lines = job.lab.change(|world| {
        world.check_lock(copy.source)?;
        let source = world.vm(copy.source)?.clone();
        let mut values = source.config.values.clone();
        for key in ["template", "parent", "lock", "vmgenid", "smbios1"] {
            values.remove(key);
        }
        values.retain(|key, _| !key.starts_with("unused"));
        values.insert("smbios1".into(), format!("uuid={}", uuid::Uuid::new_v4()));
        values.insert("vmgenid".into(), uuid::Uuid::new_v4().to_string());
        let name = copy.name.clone().unwrap_or_else(|| format!("Copy-of-VM-{}", source.name(copy.source)));
        values.insert("name".into(), name);
        if let Some(description) = &copy.description {
            values.insert("description".into(), description.clone());
        }
        let mut lines = Vec::new();
        for (key, value) in source.config.drives().into_iter().filter(|(_, value)| !is_cd(value)) {
            values.insert(key.clone(), copy_disk(world, copy, (&key, &value), now, &mut lines)?);
        }
        for (key, value) in source.config.nets() {
            let mut parts: Vec<&str> = value.split(',').collect();
            let model = parts[0].split('=').next().unwrap_or("virtio");
            parts[0] = model;
            values.insert(key, tidy_net(&parts.join(","), clock.noise()));
        }
        if let Some(pool) = copy.pool.as_ref().and_then(|pool| world.pools.get_mut(pool)) {
            pool.vms.insert(copy.target);
        }
        let vm = world.vm_mut(copy.target)?;
        vm.config = Config { values, ..Config::default() };
        vm.installed = source.installed;
        vm.docker = source.docker;
        Ok::<_, String>(lines)
    })?;
    let uuid = job.lab.read(|world| world.vms.get(&copy.target).and_then(Vm::uuid)).unwrap_or_default();
    job.lab.hosts.copy(copy.source, copy.target, &uuid);
    for line in lines {
        job.log(&line);
    }
    Ok(())
}

fn copy_disk(world: &mut World, copy: &Copy, (key, value): (&str, &str), now: i64, lines: &mut Vec<String>) -> Result<String, String> {
    let Some(volid) = volume_of(value).map(str::to_owned) else { return Ok(value.to_owned()) };
    let base = world.shelf.volumes.get(&volid).cloned().ok_or_else(|| format!("volume '{volid}' does not exist"))?;
    let home = volid.split(':').next().unwrap_or("").to_owned();
    let storage = copy.storage.clone().filter(|_| copy.full).unwrap_or(home);
    let wish = Wish { storage: &storage, vmid: copy.target, size: base.size, format: &base.format, now };
    let (new, line) = world.shelf.allocate(wish)?;
    if copy.full {
        lines.push(format!("create full clone of drive {key} ({volid})"));
        lines.push(line);
        lines.push(format!("transferred 0.0 B of {0} (0.00%)", human(base.size)));
        lines.push(format!("transferred {0} of {0} (100.00%)", human(base.size)));
    } else {
        lines.push(format!("create linked clone of drive {key} ({volid})"));
        lines.extend(linked_lines(&volid, &new, copy.target, &base.format, base.size));
        if let Some(volume) = world.shelf.volumes.get_mut(&new) {
            volume.parent = Some(volid.clone());
        }
    }
    Ok(value.replacen(&volid, &new, 1))
}

fn human(bytes: u64) -> String {
    format!("{:.1} GiB", bytes as f64 / f64::from(1 << 30))
}

/// What a linked clone of an image file prints; a thin volume's is one line.
fn linked_lines(volid: &str, new: &str, target: u32, format: &str, size: u64) -> Vec<String> {
    let path = |volid: &str| volid.split_once(':').map_or(volid, |(_, path)| path).to_owned();
    let (base, file) = (path(volid), path(new));
    if !base.contains('/') {
        return vec![format!("  Logical volume \"{file}\" created.")];
    }
    let name = file.rsplit('/').next().unwrap_or("").to_owned();
    vec![
        format!("clone {base}: images, {name}, {target} to {name} (base=../{base})"),
        format!(
            "Formatting '/var/lib/vz/images/{file}', fmt={format} cluster_size=65536 extended_l2=off compression_type=zlib size={size} backing_file=../{base} backing_fmt={format} lazy_refcounts=off refcount_bits=16"
        ),
    ]
}

fn template(call: &Call) -> Result<Answer, Fail> {
    let vmid = call.vmid();
    call.lab.read(|world| {
        let vm = world.vm(vmid)?;
        if vm.running() {
            return Err(Fail::Died("you can't convert a VM to template if VM is running".into()));
        }
        if vm.config.flag("template") {
            return Err(Fail::Died("you can't convert a template to a template".into()));
        }
        Ok(())
    })?;
    let upid = call.lab.fork(&call.actor.name(), "qmtemplate", &vmid.to_string(), move |job| async move {
        let _held = job.lab.flock(vmid).await?;
        job.lab.clock.wait(0.4).await;
        job.lab.change(|world| {
            world.check_lock(vmid)?;
            let drives = world.vm(vmid)?.config.drives();
            for (key, value) in drives.into_iter().filter(|(_, value)| !is_cd(value)) {
                let Some(volid) = volume_of(&value).map(str::to_owned) else { continue };
                let base = volid.replacen("vm-", "base-", 1);
                if let Some(volume) = world.shelf.volumes.remove(&volid) {
                    world.shelf.volumes.insert(base.clone(), volume);
                }
                world.vm_mut(vmid)?.config.values.insert(key, value.replacen(&volid, &base, 1));
            }
            let config = &mut world.vm_mut(vmid)?.config;
            config.values.insert("template".into(), "1".into());
            config.as_created = false;
            Ok::<_, String>(())
        })
    });
    Ok(Value::String(upid).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lines_of_a_linked_clone_name_base_and_target() {
        let lines = linked_lines("local:101/base-101-disk-0.qcow2", "local:111/vm-111-disk-0.qcow2", 111, "qcow2", 2 << 30);
        assert_eq!(
            lines[0],
            "clone 101/base-101-disk-0.qcow2: images, vm-111-disk-0.qcow2, 111 to vm-111-disk-0.qcow2 (base=../101/base-101-disk-0.qcow2)"
        );
        assert_eq!(linked_lines("thin:base-1-disk-0", "thin:vm-2-disk-0", 2, "raw", 1).len(), 1, "a thin volume prints one line");
    }
}
