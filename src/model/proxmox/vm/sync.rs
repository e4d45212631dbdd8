//! `sync`: every VM at once.

use std::collections::BTreeMap;

use futures_util::{StreamExt, stream};

use crate::model::contract::{Call, Context, Failure, Outcome};
use crate::model::proxmox::api::{Api, ApiError};
use crate::model::proxmox::vm::address::Address;
use crate::model::proxmox::vm::find::{Entry, Fleet};
use crate::model::proxmox::vm::look::{Seen, address};
use crate::model::proxmox::vm::state::{OFF, Status, Vm};
use crate::model::proxmox::vm::{Globals, Nothing};

/// What it waits for: the answers of several requests.
pub const PHASE: &str = "the lists of all nodes";
/// VMs asked at once; the wire's own limit per host lies below.
const AT_ONCE: usize = 64;

/// `sync()`.
pub(super) async fn sync(ctx: &Context, call: Call) -> Result<Outcome, Failure> {
    let (globals, Nothing {}) = call.typed::<Globals, _>()?;
    let api = globals.api(ctx)?;
    ctx.reporter.phase(PHASE, None);
    let fleet = Fleet::read(&api).await?;
    for node in &fleet.offline {
        ctx.reporter.warn(&format!("{}: node {node} does not answer; its VMs are `unknown`", api.host()));
    }
    let known = known(ctx)?;
    let single = one_per_name(&api, &fleet);
    let states: Vec<_> = single.values().map(|entry| state(&api, entry, known.get(&entry.name))).collect();
    let states: Vec<Result<Option<Vm>, Failure>> = stream::iter(states).buffered(AT_ONCE).collect().await;
    let mut found = BTreeMap::new();
    for vm in states {
        found.extend(vm?.map(|vm| (vm.vm_name.clone(), vm)));
    }
    let running = found.values().filter(|vm| vm.status == Status::Running).count();
    let mut summary = format!("{} VMs, {running} of them running", found.len());
    let gone = gone(known, &fleet);
    if !gone.is_empty() {
        let names: Vec<&str> = gone.iter().map(|vm| vm.vm_name.as_str()).collect();
        summary.push_str(&format!("; gone: {}", names.join(", ")));
    }
    let mut outcome = Outcome::unchanged(summary);
    for vm in found.into_values().chain(gone) {
        let attributes = vm.attributes()?;
        outcome = outcome.write("vm", vm.vm_name, attributes);
    }
    Ok(outcome)
}

/// The VMs that the store knows, by name.
fn known(ctx: &Context) -> Result<BTreeMap<String, Vm>, Failure> {
    let mut known = BTreeMap::new();
    for ((spec, instance), value) in &ctx.previous {
        if spec == "vm" {
            let vm: Vm = value.clone().into_typed().map_err(|e| Failure::bug(format!("the stored version of vm/{instance}: {e}")))?;
            known.insert(instance.clone(), vm);
        }
    }
    Ok(known)
}

/// A name that several VMs share cannot be a resource: it is told and left out, the others are not held up by it.
fn one_per_name<'f>(api: &Api<'_>, fleet: &'f Fleet) -> BTreeMap<&'f str, &'f Entry> {
    let mut single: BTreeMap<&str, &Entry> = BTreeMap::new();
    for entry in &fleet.entries {
        let same = fleet.named(&entry.name);
        if same.len() == 1 {
            single.insert(&entry.name, entry);
        } else if same.first() == Some(&entry) {
            let list: Vec<String> = same.iter().map(|entry| format!("{}@{}", entry.vmid, entry.node)).collect();
            api.ctx.reporter.warn(&format!(
                "the name `{}` has {} VMs ({}): none of them is stored; rename all but one",
                entry.name,
                same.len(),
                list.join(", ")
            ));
        }
    }
    single
}

/// The whole state of one VM; `None` when it went away since the list was read.
async fn state(api: &Api<'_>, entry: &Entry, known: Option<&Vm>) -> Result<Option<Vm>, Failure> {
    let unknown = |why: &str| unknown(entry, known, why);
    if !entry.reachable {
        return Ok(Some(unknown("none: the node is offline")));
    }
    match see(api, entry).await {
        // The list's name is the resource's: one that was changed in this very moment is seen by the next sync.
        Ok((seen, address)) => Ok(Some(Vm { vm_name: entry.name.clone(), ..seen.vm(address) })),
        Err(error) if error.no_such_vm() => Ok(None),
        Err(error) if error.passing() => Ok(Some(unknown("none: the node does not answer"))),
        Err(error) => Err(error.into()),
    }
}

/// A VM by its row of the node's list, which spares one request in three. By now the list is as old as the requests before this one took: a machine
/// whose agent does not answer may have been stopped since, and is looked at again.
async fn see(api: &Api<'_>, entry: &Entry) -> Result<(Seen, Address), ApiError> {
    let config = api.get(&format!("/nodes/{}/qemu/{}/config", entry.node, entry.vmid), &[]).await?;
    let mut seen = Seen { vmid: entry.vmid, node: entry.node.clone(), current: entry.row.clone(), config };
    let mut address = address(api, &seen).await?;
    if address.pending {
        seen.current = api.get(&format!("/nodes/{}/qemu/{}/status/current", entry.node, entry.vmid), &[]).await?;
        if seen.status() == Status::Stopped {
            address = Address::none(OFF);
        }
    }
    Ok((seen, address))
}

/// A VM whose node does not answer: what was known of it, without the address.
fn unknown(entry: &Entry, known: Option<&Vm>, why: &str) -> Vm {
    let address = Address::none(why);
    let blank = Vm {
        vmid: entry.vmid,
        vm_name: entry.name.clone(),
        node: entry.node.clone(),
        status: Status::Unknown,
        ip: None,
        ip_source: address.source,
        maxmem: 0,
        maxcpu: 0,
        uuid: None,
        mac: None,
        boot: None,
        made_by: None,
        was_started: None,
    };
    match known.filter(|vm| vm.vmid == entry.vmid) {
        Some(vm) => Vm { node: blank.node, status: blank.status, ip: None, ip_source: blank.ip_source, was_started: None, ..vm.clone() },
        None => blank,
    }
}

/// What the store knows and no list shows. A VM of a node that does not answer is in the cluster's list; should it be in none, it is not called gone.
fn gone(known: BTreeMap<String, Vm>, fleet: &Fleet) -> Vec<Vm> {
    let there = |vm: &Vm| !fleet.named(&vm.vm_name).is_empty();
    let lost = known.into_values().filter(|vm| !matches!(vm.status, Status::Gone | Status::Deleted) && !there(vm));
    lost.filter(|vm| !fleet.offline.contains(&vm.node)).map(|vm| vm.ended(Status::Gone)).collect()
}
