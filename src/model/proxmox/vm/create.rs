//! `create`: a new VM that carries the mark of its run, so that nobody else's is ever taken for it.

use std::time::Duration;

use base64::Engine as _;

use crate::digest::Digest;
use crate::model::contract::{Call, Context, Failure, Outcome};
use crate::model::proxmox::api::{Api, ApiError};
use crate::model::proxmox::task;
use crate::model::proxmox::vm::find::{Entry, Fleet};
use crate::model::proxmox::vm::look::{Seen, look, look_at, state};
use crate::model::proxmox::vm::settle::settle;
use crate::model::proxmox::vm::state::marker;
use crate::model::proxmox::vm::{Create, Globals};
use crate::model::wait::pause;

/// The wait for the task that creates.
pub const PHASE: &str = "the VM to be created";
/// Its deadline: a disk on slow storage takes its time.
pub const DEADLINE: Duration = Duration::from_secs(600);
/// Numbers tried when others create VMs in the same moment.
const NUMBERS: u32 = 5;
/// Looks for a VM whose creation got no answer, and the time between them.
const LOOKS: u32 = 4;
const BETWEEN: Duration = Duration::from_secs(2);

/// `create(vmName, memory, cores, sockets, diskSize, diskStorage, networkBridge, osType)`.
pub(super) async fn create(ctx: &Context, call: Call) -> Result<Outcome, Failure> {
    let (globals, arguments) = call.typed::<Globals, Create>()?;
    check_name(&arguments.vm_name)?;
    let api = globals.api(ctx)?;
    let before = task::reattach(&api).await?;
    let fleet = Fleet::read(&api).await?;
    let named = fleet.named(&arguments.vm_name);
    if let Some(entry) = named.first() {
        let adopted = adopt(&api, entry, named.len(), &arguments.vm_name).await?;
        return Ok(if before.done { Outcome { changed: true, ..adopted } } else { adopted });
    }
    let vmid = make(&api, &arguments).await?;
    let vm = state(&api, &api.node, vmid).await.map_err(|e| Failure::from(e).maybe_acted())?;
    if vm.made_by.as_deref() != Some(ctx.who.run.as_str()) || vm.vm_name != arguments.vm_name {
        let message = format!("{}: vmid {vmid} does not carry the mark of this run and the name: it is another VM", api.host());
        return Err(Failure::refused(message).maybe_acted());
    }
    let attributes = vm.attributes()?;
    Ok(Outcome::changed(format!("created {} on {}", vm.label(), vm.node)).write("vm", arguments.vm_name, attributes))
}

/// A taken name is refused, unless this very run made that VM before its answer was lost.
async fn adopt(api: &Api<'_>, entry: &Entry, count: usize, name: &str) -> Result<Outcome, Failure> {
    let taken = || Failure::refused(format!("{}: the name `{name}` is taken by vmid {}@{}", api.host(), entry.vmid, entry.node));
    if count > 1 || !own(api, &look_at(api, entry).await?) {
        return Err(taken().help("pmx never takes over a VM that it did not make in this run: choose another name, or delete that VM"));
    }
    settle(api, &entry.node, entry.vmid, &[]).await?;
    let vm = state(api, &entry.node, entry.vmid).await?;
    let attributes = vm.attributes()?;
    Ok(Outcome::unchanged(format!("this run made {} already", vm.label())).write("vm", name, attributes))
}

fn own(api: &Api<'_>, seen: &Seen) -> bool {
    seen.made_by().as_deref() == Some(api.ctx.who.run.as_str())
}

fn check_name(name: &str) -> Result<(), Failure> {
    let label = |part: &str| {
        !part.is_empty()
            && part.len() <= 63
            && !part.starts_with('-')
            && !part.ends_with('-')
            && part.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
    };
    if name.len() <= 253 && name.split('.').all(label) {
        return Ok(());
    }
    Err(Failure::yours(format!("`{name}` cannot be the name of a VM"))
        .help("Proxmox takes DNS names: letters, digits, hyphens inside, dots between parts"))
}

/// Creates the VM under a free number and waits for it: the number.
async fn make(api: &Api<'_>, arguments: &Create) -> Result<u32, Failure> {
    let path = format!("/nodes/{}/qemu", api.node);
    for _ in 0..NUMBERS {
        let vmid = next_id(api).await?;
        let form = form(api, arguments, vmid);
        let form: Vec<(&str, &str)> = form.iter().map(|(key, value)| (*key, value.as_str())).collect();
        match api.post(&path, &form).await {
            Ok(task) => {
                task::wait(api, &task, PHASE, DEADLINE).await?;
                return Ok(vmid);
            }
            Err(error) if error.maybe_acted() => return find_own(api, (vmid, &arguments.vm_name), error).await,
            // `nextid` reserves nothing: somebody else took the number in between. Asking for it decides, not the text.
            Err(error) if error.refused() == Some(500) && is_taken(api, vmid).await => {
                api.ctx.reporter.warn(&format!("vmid {vmid} was taken by somebody else in this moment; taking the next one"));
            }
            Err(error) => return Err(error.into()),
        }
    }
    Err(Failure::theirs(format!("{}: {NUMBERS} free vmids in a row were taken by somebody else", api.host())))
}

async fn next_id(api: &Api<'_>) -> Result<u32, Failure> {
    let answer = api.get("/cluster/nextid", &[]).await?;
    let id = answer.as_str().and_then(|text| text.parse().ok()).or_else(|| answer.as_u64().and_then(|id| u32::try_from(id).ok()));
    id.ok_or_else(|| Failure::theirs(format!("{}: /cluster/nextid gave `{answer}`, which is no vmid", api.host())))
}

async fn is_taken(api: &Api<'_>, vmid: u32) -> bool {
    let vmid = vmid.to_string();
    api.get("/cluster/nextid", &[("vmid", &vmid)]).await.is_err_and(|error| error.refused() == Some(400))
}

/// The creation got no answer: it counts as done only when the VM is there, of that name and with this run's mark. The same run may make others.
async fn find_own(api: &Api<'_>, (vmid, name): (u32, &str), error: ApiError) -> Result<u32, Failure> {
    api.ctx.reporter.warn(&format!("{error}; looking whether the VM was made all the same"));
    for _ in 0..LOOKS {
        pause(api.ctx, BETWEEN).await.map_err(Failure::maybe_acted)?;
        match look(api, &api.node, vmid).await {
            Ok(seen) if own(api, &seen) && seen.name() == name => {
                settle(api, &api.node, vmid, &[]).await.map_err(Failure::maybe_acted)?;
                return Ok(vmid);
            }
            Ok(seen) if own(api, &seen) => {
                let help = format!("this run gave vmid {vmid} to `{}`, so `{name}` was not made: run it again", seen.name());
                return Err(Failure::from(error).help(help));
            }
            Ok(_) => return Err(Failure::from(error).help(format!("vmid {vmid} is a VM of somebody else"))),
            Err(_) => {}
        }
    }
    Err(Failure::from(error).help("no VM with this run's mark is there, so most likely none was made: run it again"))
}

fn form(api: &Api<'_>, arguments: &Create, vmid: u32) -> Vec<(&'static str, String)> {
    let run = &api.ctx.who.run;
    // The same run makes the same uuid: what it finds again it can recognise.
    let seed = Digest::of(format!("{run}/{}/{}", api.ctx.who.def, arguments.vm_name).as_bytes());
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&seed.as_bytes()[..16]);
    let uuid = uuid::Builder::from_random_bytes(bytes).into_uuid();
    let serial = base64::engine::general_purpose::STANDARD.encode(&arguments.vm_name);
    let disk = arguments.disk_size > 0;
    let mut form = vec![
        ("vmid", vmid.to_string()),
        ("name", arguments.vm_name.clone()),
        ("memory", arguments.memory.to_string()),
        ("cores", arguments.cores.to_string()),
        ("sockets", arguments.sockets.to_string()),
        ("ostype", arguments.os_type.clone()),
        ("agent", "1".to_owned()),
        ("scsihw", "virtio-scsi-pci".to_owned()),
        ("net0", format!("virtio,bridge={}", arguments.network_bridge)),
        ("boot", format!("order={}", if disk { "scsi0;net0" } else { "net0" })),
        ("smbios1", format!("uuid={uuid},serial={serial},base64=1")),
        ("description", marker(run)),
    ];
    if disk {
        form.push(("scsi0", format!("{}:{}", arguments.disk_storage, arguments.disk_size)));
    }
    form
}
