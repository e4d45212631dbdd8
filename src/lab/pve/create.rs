//! Making and removing VMs.

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use serde_json::{Value, json};

use super::drive::{self, tidy_net};
use super::options::{is_drive, tidy_tags};
use super::reply::{Answer, Fail};
use super::schema::{Kind, need, opt};
use super::{Call, May, Params, Route, Run};
use crate::lab::running::Job;
use crate::lab::world::World;
use crate::lab::world::config::Config;
use crate::lab::world::vm::Vm;

/// The calls of this family.
pub const ROUTES: &[Route] = &[
    Route::work("POST", "/nodes/{node}/qemu", May::Anyone, CREATE, Run::Now(create)).with_options(),
    Route::work("DELETE", "/nodes/{node}/qemu/{vmid}", May::Vm("VM.Allocate"), DESTROY, Run::Later(destroy)),
];

const CREATE: &[super::Param] = &[
    need("vmid", Kind::Vmid),
    opt("pool", Kind::Text),
    opt("start", Kind::Bool),
    opt("storage", Kind::Text),
    opt("unique", Kind::Bool),
    opt("force", Kind::Bool),
    opt("archive", Kind::Text),
    opt("bwlimit", Kind::Int(0, i64::MAX)),
    opt("live-restore", Kind::Bool),
];
const DESTROY: &[super::Param] = &[opt("purge", Kind::Bool), opt("destroy-unreferenced-disks", Kind::Bool), opt("skiplock", Kind::Bool)];

/// Parameters of create that are no options of the configuration.
const NOT_STORED: &[&str] = &["node", "vmid", "pool", "start", "storage", "unique", "force", "archive", "bwlimit", "live-restore"];

/// Refuses what only root himself may set: not even a full token of his.
///
/// # Errors
/// 500 for `args`, 400 for `skiplock`.
pub fn root_only(call: &Call) -> Result<(), Fail> {
    if call.actor.is_root() {
        return Ok(());
    }
    if call.flag("skiplock") {
        return Err(Fail::param("skiplock", "Only root may use this option."));
    }
    if call.params.contains_key("args") {
        return Err(Fail::Died("only root can set 'args' config".into()));
    }
    Ok(())
}

fn create(call: &Call) -> Result<Answer, Fail> {
    let vmid = call.vmid();
    let pool = call.text("pool").map(str::to_owned);
    let in_pool = pool.as_ref().is_some_and(|pool| call.may(&format!("/pool/{pool}"), "VM.Allocate"));
    if !call.may(&format!("/vms/{vmid}"), "VM.Allocate") && !in_pool {
        return Err(Fail::Denied("Permission check failed".into()));
    }
    root_only(call)?;
    if call.params.contains_key("archive") {
        return Err(Fail::Died("the lab cannot restore backups".into()));
    }
    if call.flag("force") {
        let words =
            if call.lab.nine() { "missing property required by 'force'" } else { "missing property - 'force' requires this property" };
        return Err(Fail::param("archive", words));
    }
    let wanted: Params = call
        .params
        .iter()
        .filter(|(key, _)| !NOT_STORED.contains(&key.as_str()))
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect();
    call.lab.change(|world| {
        for (key, values) in &wanted {
            if is_drive(key) {
                drive::check(world, &values[0])?;
            }
        }
        if let Some(pool) = &pool
            && !world.pools.contains_key(pool)
        {
            return Err(Fail::Died(format!("pool '{pool}' does not exist")));
        }
        if world.vms.contains_key(&vmid) {
            return Err(Fail::Died(format!("unable to create VM {vmid} - VM {vmid} already exists on node '{}'", world.site.node)));
        }
        let mut config = Config { as_created: true, ..Config::default() };
        config.values.insert("lock".into(), "create".into());
        let address = world.free_address();
        world.vms.insert(vmid, Vm::new(config, address));
        Ok(())
    })?;
    let (actor, start) = (call.actor.name(), call.flag("start"));
    let starter = actor.clone();
    let upid = call.lab.fork(&actor, "qmcreate", &vmid.to_string(), move |job| async move {
        let _held = job.lab.flock(vmid).await?;
        job.lab.clock.wait(0.6).await;
        if let Err(error) = fill(&job, vmid, &wanted, pool) {
            job.lab.forget(vmid);
            return Err(format!("unable to create VM {vmid} - {error}"));
        }
        if start {
            job.log("Execute autostart");
            super::power::start_task(&job.lab, &starter, vmid, false);
        }
        Ok(())
    });
    Ok(json!(upid).into())
}

/// The worker's part of create: volumes and the whole configuration.
fn fill(job: &Job, vmid: u32, wanted: &Params, pool: Option<String>) -> Result<(), String> {
    let clock = &job.lab.clock;
    let now = clock.unix();
    let lines = job.lab.change(|world| {
        let mut lines = Vec::new();
        let mut config = Config { as_created: true, ..Config::default() };
        for (key, values) in wanted {
            let value = store_value(world, vmid, (key, &values[0]), (now, clock.noise()), &mut lines)?;
            if !value.is_empty() {
                config.values.insert(key.clone(), value);
            }
        }
        let boot = config.default_boot();
        let mut default = |key: &str, value: String| {
            config.values.entry(key.to_owned()).or_insert(value);
        };
        default("meta", format!("creation-qemu=7.2.22,ctime={now}"));
        default("smbios1", format!("uuid={}", uuid::Uuid::new_v4()));
        default("vmgenid", uuid::Uuid::new_v4().to_string());
        default("boot", boot);
        if let Some(pool) = pool.and_then(|pool| world.pools.get_mut(&pool)) {
            pool.vms.insert(vmid);
        }
        world.vm_mut(vmid)?.config = config;
        Ok::<_, String>(lines)
    })?;
    for line in lines {
        job.log(&line);
    }
    Ok(())
}

/// An option's value as it is stored, drives made real on the way. `(now, noise)` are for volumes and MAC addresses.
pub fn store_value(
    world: &mut World,
    vmid: u32,
    (key, value): (&str, &str),
    (now, noise): (i64, u64),
    lines: &mut Vec<String>,
) -> Result<String, String> {
    if is_drive(key) {
        let (stored, printed) = drive::realise(world, vmid, key, value, now)?;
        lines.extend(printed);
        return Ok(stored);
    }
    if key.starts_with("net") {
        return Ok(tidy_net(value, noise));
    }
    Ok(match key {
        "tags" => tidy_tags(value),
        _ => value.to_owned(),
    })
}

fn destroy(call: Call) -> BoxFuture<'static, Result<Answer, Fail>> {
    async move {
        let vmid = call.vmid();
        root_only(&call)?;
        let (skiplock, purge) = (call.flag("skiplock"), call.flag("purge"));
        call.lab.read(|world| {
            let vm = world.vm(vmid)?;
            if vm.config.flag("protection") {
                return Err(Fail::Died(format!("can't remove VM {vmid} - protection mode enabled")));
            }
            if vm.running() {
                return Err(Fail::Died(format!("VM {vmid} is running - destroy failed")));
            }
            Ok(())
        })?;
        let upid = call.lab.fork(&call.actor.name(), "qmdestroy", &vmid.to_string(), move |job| async move {
            let _held = job.lab.flock(vmid).await?;
            job.lab.read(|world| check_destroy(world, vmid, skiplock))?;
            job.lab.clock.wait(0.6).await;
            if purge {
                job.log(&format!("purging VM {vmid} from related configurations.."));
            }
            let lines = job.lab.read(|world| removed_lines(world, vmid));
            job.lab.forget(vmid);
            for line in lines {
                job.log(&line);
            }
            Ok(())
        });
        Ok(Value::String(upid).into())
    }
    .boxed()
}

/// What may have changed between the answer and the worker, and what only the worker looks at.
fn check_destroy(world: &World, vmid: u32, skiplock: bool) -> Result<(), String> {
    let vm = world.vm(vmid)?;
    if vm.running() {
        return Err(format!("VM {vmid} is running - destroy failed"));
    }
    if !skiplock {
        world.check_lock(vmid)?;
    }
    for (_, value) in vm.config.drives() {
        if let Some(volid) = drive::volume_of(&value)
            && world.shelf.child_of(volid).is_some()
        {
            return Err(format!("base volume '{volid}' is still in use by linked cloned"));
        }
    }
    Ok(())
}

/// Removing thin volumes prints a line each; files in a directory go silently.
fn removed_lines(world: &World, vmid: u32) -> Vec<String> {
    let mine = world.shelf.volumes.iter().filter(|(_, volume)| volume.vmid == Some(vmid) && volume.content == "images");
    mine.filter(|(volid, _)| !volid.contains('/'))
        .map(|(volid, _)| format!("  Logical volume \"{}\" successfully removed.", volid.split(':').nth(1).unwrap_or("")))
        .collect()
}
