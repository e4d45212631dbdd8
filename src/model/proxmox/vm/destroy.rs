//! `delete`: removes a VM for ever, after every proof that it is the one that was meant.

use std::time::Duration;

use serde_json::Value as Json;

use crate::event::Stream;
use crate::model::contract::{Call, Context, Failure, Outcome};
use crate::model::proxmox::api::{Api, number, text};
use crate::model::proxmox::task;
use crate::model::proxmox::vm::find::Fleet;
use crate::model::proxmox::vm::look::{Seen, look, reachable};
use crate::model::proxmox::vm::settle::settle;
use crate::model::proxmox::vm::state::{Status, Vm, marker};
use crate::model::proxmox::vm::{Delete, Globals};

/// The wait for the task that removes.
pub const PHASE: &str = "the VM to be removed";
/// Its deadline.
pub const DEADLINE: Duration = Duration::from_secs(600);

/// `delete(vmName, purge)`. In order: the names that are never deleted; the VM by its name; tasks that work on it; identity, protection, whether it runs; once
/// more the configuration, whose digest must be that of the one that was proven, directly before the request; the request; proof that it is gone.
pub(super) async fn delete(ctx: &Context, call: Call) -> Result<Outcome, Failure> {
    let (globals, arguments) = call.typed::<Globals, Delete>()?;
    let name = &arguments.vm_name;
    if ctx.guard.protected.contains(name) {
        return Err(Failure::refused(format!("`{name}` is never deleted: [protect] vms in the Pmxfile names it")));
    }
    let api = globals.api(ctx)?;
    let shown = shown(ctx)?;
    let before = task::reattach(&api).await?;
    let fleet = Fleet::read(&api).await?;
    if fleet.named(name).is_empty() {
        return absent(&api, &fleet, name, shown).map(|outcome| Outcome { changed: before.done, ..outcome });
    }
    let entry = fleet.one(&api, name)?;
    reachable(&api, entry)?;
    let seen = settle(&api, &entry.node, entry.vmid, &[]).await?;
    prove(&api, &seen, name, shown.as_ref())?;
    let path = format!("/nodes/{}/qemu/{}", seen.node, seen.vmid);
    if !unchanged(&api, &seen).await? {
        let vm = seen.vm(super::address::Address::none("")).ended(Status::Deleted);
        let attributes = vm.attributes()?;
        return Ok(Outcome::unchanged(format!("{} is gone already", vm.label())).write("vm", name, attributes));
    }
    tell_volumes(&api, &seen);
    let query = [("purge", if arguments.purge { "1" } else { "0" }), ("destroy-unreferenced-disks", "0")];
    let task = api.delete(&path, &query).await?;
    task::wait(&api, &task, PHASE, DEADLINE).await?;
    match look(&api, &seen.node, seen.vmid).await {
        Err(error) if error.no_such_vm() => {}
        Err(error) => return Err(Failure::from(error).maybe_acted()),
        // Somebody may have taken the number at once; only the same machine contradicts the task.
        Ok(left) if left.uuid() != seen.uuid() => {}
        Ok(_) => return Err(Failure::theirs(format!("{}: {} is still there after its removal", api.host(), seen.label())).maybe_acted()),
    }
    let vm = seen.vm(super::address::Address::none("")).ended(Status::Deleted);
    let attributes = vm.attributes()?;
    Ok(Outcome::changed(format!("deleted {}", vm.label())).write("vm", arguments.vm_name, attributes))
}

/// The version that was shown at confirmation.
fn shown(ctx: &Context) -> Result<Option<Vm>, Failure> {
    let read = |value| Vm::from_value(value).map_err(|e| Failure::bug(format!("the version shown at confirmation: {e}")));
    ctx.guard.shown.clone().map(read).transpose()
}

/// No VM has the name. That is success when the one that was shown is proven gone, or when a clean-up finds nothing that its own run made.
fn absent(api: &Api<'_>, fleet: &Fleet, name: &str, shown: Option<Vm>) -> Result<Outcome, Failure> {
    if !fleet.offline.is_empty() {
        let offline = fleet.offline.join(", ");
        return Err(Failure::theirs(format!("{}: no VM `{name}` is to be seen, but {offline} is offline: it may be there", api.host())));
    }
    match shown {
        Some(vm) => {
            if let Some(other) = fleet.entries.iter().find(|entry| entry.vmid == vm.vmid) {
                return Err(Failure::refused(format!(
                    "{}: vmid {} is now called `{}`, not `{name}`: nothing was deleted",
                    api.host(),
                    vm.vmid,
                    other.name
                ))
                .help("look at it, and delete it by the name it has if it is the one"));
            }
            let vm = vm.ended(Status::Deleted);
            let attributes = vm.attributes()?;
            Ok(Outcome::unchanged(format!("{} is gone already", vm.label())).write("vm", name, attributes))
        }
        None if api.ctx.guard.own_only => Ok(Outcome::unchanged(format!("there is no VM `{name}`: nothing to clean up"))),
        None => fleet.one(api, name).map(|entry| Outcome::unchanged(entry.label())),
    }
}

/// Every reason not to delete, with the proof that failed.
fn prove(api: &Api<'_>, seen: &Seen, name: &str, shown: Option<&Vm>) -> Result<(), Failure> {
    let refuse = |why: String| Failure::refused(format!("{}: {} is not deleted: {why}", api.host(), seen.label()));
    let own = seen.made_by().as_deref() == Some(api.ctx.who.run.as_str());
    if api.ctx.guard.own_only && !own {
        return Err(
            refuse(format!("it does not carry the mark of this run ({})", marker(&api.ctx.who.run))).help("this run did not make it")
        );
    }
    match shown {
        Some(shown) => same(seen, name, shown)
            .map_err(|why| refuse(why).help("look at the VM, then delete it anew: what is shown then is compared"))?,
        // The mark holds 128 random bits of this run: nobody else's VM has it.
        None if own => {}
        None => {
            return Err(refuse("no version of it was shown, so nothing proves that it is the one that is meant".to_owned())
                .help(format!("`pmx build {}/vm/{name}` reads it", api.ctx.who.def)));
        }
    }
    if number(&seen.config, "protection") == Some(1) {
        return Err(
            refuse("it is protected in Proxmox (protection = 1)".to_owned()).help("`setConfig` with `protection = false` takes that away")
        );
    }
    if !seen.status().off() {
        return Err(refuse("it runs".to_owned()).help("stop it first"));
    }
    Ok(())
}

/// Looks again in the moment before the request. Proxmox's digest of the configuration must be the one of the configuration that was proven: whatever became
/// another machine, or another state of this one, in between has another. `false`: it is gone. DELETE itself takes no digest, so what happens while that one
/// request travels nothing can see.
async fn unchanged(api: &Api<'_>, seen: &Seen) -> Result<bool, Failure> {
    let now = match look(api, &seen.node, seen.vmid).await {
        Err(error) if error.no_such_vm() => return Ok(false),
        now => now?,
    };
    let refuse = |why: String| {
        let help = "look at the VM, then delete it anew: what is shown then is compared";
        Err(Failure::refused(format!("{}: {} is not deleted: {why}", api.host(), seen.label())).help(help))
    };
    let digest = |seen: &Seen| text(&seen.config, "digest").unwrap_or_default();
    if now.uuid() != seen.uuid() || now.name() != seen.name() {
        return refuse(format!("vmid {} became another machine while it was looked at, {}", seen.vmid, now.name()));
    }
    if digest(&now) != digest(seen) {
        return refuse("somebody changed its configuration while it was looked at".to_owned());
    }
    if !now.status().off() {
        return refuse("it was started while it was looked at".to_owned());
    }
    Ok(true)
}

/// Compares the live machine with the version that was shown: vmid, name, uuid, each by itself.
fn same(seen: &Seen, name: &str, shown: &Vm) -> Result<(), String> {
    if seen.vmid != shown.vmid {
        return Err(format!("its vmid is {}, but the version shown has {}", seen.vmid, shown.vmid));
    }
    if seen.name() != name || shown.vm_name != name {
        return Err(format!("its name is `{}`, but `{name}` is to be deleted and the version shown has `{}`", seen.name(), shown.vm_name));
    }
    match (seen.uuid(), shown.uuid.as_deref().map(str::to_ascii_lowercase)) {
        (Some(live), Some(known)) if live == known => Ok(()),
        (Some(live), Some(known)) => Err(format!("its SMBIOS uuid is {live}, but the version shown has {known}: it is another machine")),
        (None, _) => Err("it has no SMBIOS uuid, so nothing proves its identity".to_owned()),
        (_, None) => Err("the version shown has no SMBIOS uuid, so nothing proves its identity".to_owned()),
    }
}

/// Tells which volumes go, and which stay because another VM owns them.
fn tell_volumes(api: &Api<'_>, seen: &Seen) {
    for (key, volume, own) in volumes(&seen.config, seen.vmid) {
        let fate = if own { "goes" } else { "stays, another VM owns it" };
        api.ctx.reporter.line(Stream::Log, &format!("{key}: {volume} {fate}"));
    }
}

/// The volumes in a configuration: option, volume, whether it belongs to this VM.
fn volumes(config: &Json, vmid: u32) -> Vec<(String, String, bool)> {
    let disk = |key: &str| {
        let name = key.trim_end_matches(|c: char| c.is_ascii_digit());
        name.len() < key.len() && matches!(name, "scsi" | "virtio" | "ide" | "sata" | "efidisk" | "tpmstate" | "unused")
    };
    let keys = config.as_object().map(|map| map.keys().filter(|key| disk(key) || *key == "vmstate").cloned().collect::<Vec<_>>());
    let mut found: Vec<(String, String, bool)> = Vec::new();
    for key in keys.unwrap_or_default() {
        let value = text(config, &key).unwrap_or_default();
        let parts: Vec<&str> = value.split(',').collect();
        let volume = parts.first().copied().unwrap_or_default();
        if volume == "none" || !volume.contains(':') || parts.contains(&"media=cdrom") {
            continue;
        }
        let own = volume.contains(&format!("-{vmid}-"));
        let size = parts.iter().find_map(|part| part.strip_prefix("size=")).map(|size| format!(" ({size})")).unwrap_or_default();
        found.push((key, format!("{volume}{size}"), own));
    }
    found.sort();
    found
}
