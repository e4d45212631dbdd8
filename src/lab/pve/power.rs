//! Starting and stopping: each call answers with a UPID and its task does the work under the VM's lock.

use std::sync::Arc;

use serde_json::{Value, json};

use super::create::root_only;
use super::drive::bridge_of;
use super::reply::{Answer, Fail};
use super::schema::{Kind, opt};
use super::{Call, May, Route, Run};
use crate::lab::running::{Job, Lab};
use crate::lab::world::World;
use crate::lab::world::vm::{Guest, KERNEL_AFTER, SHUTDOWN_TAKES};

const fn post(path: &'static str, params: &'static [super::Param], run: fn(&Call) -> Result<Answer, Fail>) -> Route {
    Route::work("POST", path, May::Vm("VM.PowerMgmt"), params, Run::Now(run))
}

/// The calls of this family.
pub const ROUTES: &[Route] = &[
    post("/nodes/{node}/qemu/{vmid}/status/start", START, start),
    post("/nodes/{node}/qemu/{vmid}/status/stop", STOP, stop),
    post("/nodes/{node}/qemu/{vmid}/status/shutdown", SHUTDOWN, shutdown),
    post("/nodes/{node}/qemu/{vmid}/status/reboot", &[opt("timeout", Kind::Int(0, i64::MAX))], reboot),
    post("/nodes/{node}/qemu/{vmid}/status/reset", &[opt("skiplock", Kind::Bool)], reset),
    post("/nodes/{node}/qemu/{vmid}/status/suspend", SUSPEND, suspend),
    post("/nodes/{node}/qemu/{vmid}/status/resume", RESUME, resume),
];

const START: &[super::Param] = &[
    opt("timeout", Kind::Int(0, i64::MAX)),
    opt("skiplock", Kind::Bool),
    opt("machine", Kind::Text),
    opt("force-cpu", Kind::Text),
    opt("stateuri", Kind::Text),
    opt("targetstorage", Kind::Text),
    opt("migratedfrom", Kind::Text),
    opt("migration_type", Kind::Text),
    opt("migration_network", Kind::Text),
];
const STOP: &[super::Param] = &[
    opt("timeout", Kind::Int(0, i64::MAX)),
    opt("skiplock", Kind::Bool),
    opt("keepActive", Kind::Bool),
    opt("migratedfrom", Kind::Text),
    opt("overrule-shutdown", Kind::Bool),
];
const SHUTDOWN: &[super::Param] =
    &[opt("timeout", Kind::Int(0, i64::MAX)), opt("forceStop", Kind::Bool), opt("skiplock", Kind::Bool), opt("keepActive", Kind::Bool)];
const SUSPEND: &[super::Param] = &[opt("skiplock", Kind::Bool), opt("todisk", Kind::Bool), opt("statestorage", Kind::Text)];
const RESUME: &[super::Param] = &[opt("skiplock", Kind::Bool), opt("nocheck", Kind::Bool)];

/// The start of a VM as a task; also what autostart and a reboot do.
pub fn start_task(lab: &Arc<Lab>, actor: &str, vmid: u32, skiplock: bool) -> String {
    lab.fork(actor, "qmstart", &vmid.to_string(), move |job| async move {
        let _held = job.lab.flock(vmid).await?;
        job.lab.read(|world| check_start(world, vmid, skiplock))?;
        job.lab.clock.wait(1.0).await;
        let trouble = job.lab.read(|world| qemu_trouble(world, vmid));
        if let Some((lines, direct)) = trouble {
            // 9.2 checks bridges itself and says so; 8.4 only has QEMU's exit code and the log.
            if job.lab.nine()
                && let Some(direct) = direct
            {
                return Err(direct);
            }
            for line in lines {
                job.log(&line);
            }
            return Err("start failed: QEMU exited with code 1".into());
        }
        let now = job.lab.clock.now();
        job.lab.change(|world| world.power_on(vmid, now))
    })
}

fn start(call: &Call) -> Result<Answer, Fail> {
    root_only(call)?;
    Ok(json!(start_task(&call.lab, &call.actor.name(), call.vmid(), call.flag("skiplock"))).into())
}

fn check_start(world: &World, vmid: u32, skiplock: bool) -> Result<(), String> {
    let vm = world.vm(vmid)?;
    if vm.config.flag("template") {
        return Err("you can't start a vm if it's a template".into());
    }
    if !skiplock {
        world.check_lock(vmid)?;
    }
    if vm.running() {
        return Err(format!("VM {vmid} already running"));
    }
    Ok(())
}

/// The options that the lab's QEMU knows in `args`.
const QEMU_OPTIONS: &[&str] = &[
    "-accel",
    "-audiodev",
    "-bios",
    "-blockdev",
    "-boot",
    "-chardev",
    "-cpu",
    "-device",
    "-drive",
    "-fw_cfg",
    "-global",
    "-initrd",
    "-kernel",
    "-m",
    "-machine",
    "-mon",
    "-name",
    "-netdev",
    "-no-reboot",
    "-nographic",
    "-object",
    "-rtc",
    "-serial",
    "-set",
    "-smbios",
    "-smp",
    "-spice",
    "-vga",
    "-vnc",
    "-append",
    "-readconfig",
    "-sandbox",
    "-usb",
    "-virtfs",
    "-incoming",
    "-cdrom",
    "-hda",
];

/// Why QEMU would not start: the lines it prints, and 9.2's own words if it looks first.
fn qemu_trouble(world: &World, vmid: u32) -> Option<(Vec<String>, Option<String>)> {
    let vm = world.vms.get(&vmid)?;
    let coming = vm.config.coming();
    for (key, value) in coming.iter().filter(|(key, _)| key.starts_with("net")) {
        let Some(bridge) = bridge_of(value) else { continue };
        if !world.bridges().contains(&bridge) {
            let said = format!("bridge '{bridge}' does not exist");
            let tap = format!("tap{vmid}i{}", &key[3..]);
            let scripts = "script=/usr/libexec/qemu-server/pve-bridge,downscript=/usr/libexec/qemu-server/pve-bridgedown";
            let failed = "network script /usr/libexec/qemu-server/pve-bridge failed with status 512";
            return Some((vec![said.clone(), format!("kvm: -netdev type=tap,id={key},ifname={tap},{scripts}: {failed}")], Some(said)));
        }
    }
    let args = coming.get("args").map_or("", String::as_str);
    let unknown = args.split_whitespace().find(|word| word.starts_with('-') && !QEMU_OPTIONS.contains(word))?;
    Some((vec![format!("kvm: {unknown}: invalid option")], None))
}

fn stop(call: &Call) -> Result<Answer, Fail> {
    root_only(call)?;
    let (vmid, skiplock, overrule) = (call.vmid(), call.flag("skiplock"), call.flag("overrule-shutdown"));
    let upid = call.lab.fork(&call.actor.name(), "qmstop", &vmid.to_string(), move |job| async move {
        if overrule {
            overrule_shutdowns(&job, vmid).await;
        }
        let _held = job.lab.flock(vmid).await?;
        let running = job.lab.read(|world| world.vm(vmid).map(|vm| vm.running()))?;
        if !running {
            return Ok(());
        }
        if !skiplock {
            job.lab.read(|world| world.check_lock(vmid))?;
        }
        job.lab.clock.wait(0.8).await;
        power_off(&job.lab, vmid)
    });
    Ok(json!(upid).into())
}

/// Interrupts the shutdown tasks of a VM and names them in the log.
async fn overrule_shutdowns(job: &Job, vmid: u32) {
    let id = vmid.to_string();
    let found: Vec<String> = job.lab.read(|world| {
        let mine = world.ledger.active.iter().filter(|task| task.kind == "qmshutdown" && task.id == id);
        mine.map(|task| task.upid.clone()).collect()
    });
    if found.is_empty() {
        return;
    }
    for upid in &found {
        job.lab.interrupt(upid);
    }
    job.log(&format!("overruled qmshutdown tasks: {}", found.join(", ")));
    job.lab.clock.wait(0.2).await;
}

fn power_off(lab: &Lab, vmid: u32) -> Result<(), String> {
    lab.change(|world| world.power_off(vmid))
}

/// Asks the guest to shut down and waits for it, at most `timeout` seconds; false when it is still running then.
async fn ask_guest(lab: &Arc<Lab>, vmid: u32, timeout: f64) -> Result<bool, String> {
    let now = lab.clock.now();
    let kernel = lab.clock.scaled(KERNEL_AFTER);
    let hears = lab.read(|world| {
        let vm = world.vm(vmid)?;
        let hears = vm.run.as_ref().is_some_and(|run| run.guest != Guest::Nothing && !run.paused && now - run.booted >= kernel);
        Ok::<_, String>(hears)
    })?;
    if hears && SHUTDOWN_TAKES <= timeout {
        lab.clock.wait(SHUTDOWN_TAKES).await;
        power_off(lab, vmid)?;
        return Ok(true);
    }
    lab.clock.wait(timeout).await;
    lab.read(|world| world.vm(vmid).map(|vm| !vm.running()))
}

fn shutdown(call: &Call) -> Result<Answer, Fail> {
    root_only(call)?;
    let (vmid, skiplock, force) = (call.vmid(), call.flag("skiplock"), call.flag("forceStop"));
    let timeout = call.number("timeout").unwrap_or(60) as f64;
    let upid = call.lab.fork(&call.actor.name(), "qmshutdown", &vmid.to_string(), move |job| async move {
        let _held = job.lab.flock(vmid).await?;
        let running = job.lab.read(|world| world.vm(vmid).map(|vm| vm.running()))?;
        if !running {
            return Ok(());
        }
        if !skiplock {
            job.lab.read(|world| world.check_lock(vmid))?;
        }
        if ask_guest(&job.lab, vmid, timeout).await? {
            return Ok(());
        }
        if !force {
            return Err("VM quit/powerdown failed - got timeout".into());
        }
        job.log("VM still running - terminating now with SIGTERM");
        job.lab.clock.wait(0.5).await;
        power_off(&job.lab, vmid)
    });
    Ok(json!(upid).into())
}

/// Refuses, before any task, what needs a running VM.
fn need_running(call: &Call) -> Result<u32, Fail> {
    root_only(call)?;
    let vmid = call.vmid();
    let running = call.lab.read(|world| world.vm(vmid).map(|vm| vm.running()))?;
    if running { Ok(vmid) } else { Err(Fail::Died(format!("VM {vmid} not running"))) }
}

fn reboot(call: &Call) -> Result<Answer, Fail> {
    let vmid = need_running(call)?;
    let timeout = call.number("timeout").unwrap_or(60) as f64;
    let upid = call.lab.fork(&call.actor.name(), "qmreboot", &vmid.to_string(), move |job| async move {
        let held = job.lab.flock(vmid).await?;
        if !ask_guest(&job.lab, vmid, timeout).await? {
            return Err("VM quit/powerdown failed - got timeout".into());
        }
        drop(held);
        // The task ends with the guest down; qmeventd starts the VM again a moment later, as a task of its own.
        let lab = Arc::clone(&job.lab);
        tokio::spawn(async move {
            lab.clock.wait(1.0).await;
            start_task(&lab, "root@pam", vmid, true);
        });
        Ok(())
    });
    Ok(json!(upid).into())
}

fn reset(call: &Call) -> Result<Answer, Fail> {
    change_running(call, "qmreset", |run, now| run.booted = now)
}

fn suspend(call: &Call) -> Result<Answer, Fail> {
    change_running(call, "qmpause", |run, _| run.paused = true)
}

fn resume(call: &Call) -> Result<Answer, Fail> {
    change_running(call, "qmresume", |run, _| run.paused = false)
}

fn change_running(call: &Call, kind: &'static str, change: fn(&mut crate::lab::world::vm::Run, f64)) -> Result<Answer, Fail> {
    let vmid = need_running(call)?;
    let skiplock = call.flag("skiplock");
    let upid = call.lab.fork(&call.actor.name(), kind, &vmid.to_string(), move |job| async move {
        let _held = job.lab.flock(vmid).await?;
        if !skiplock {
            job.lab.read(|world| world.check_lock(vmid))?;
        }
        job.lab.clock.wait(0.2).await;
        let now = job.lab.clock.now();
        job.lab.change(|world| {
            let run = world.vm_mut(vmid)?.run.as_mut().ok_or_else(|| format!("VM {vmid} not running"))?;
            change(run, now);
            Ok(())
        })
    });
    Ok(Value::String(upid).into())
}
