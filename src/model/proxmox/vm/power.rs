//! Starting and stopping a VM.

use std::time::Duration;

use serde_json::Value as Json;

use crate::model::contract::{Call, Context, Failure, Outcome};
use crate::model::proxmox::api::{Api, ApiError};
use crate::model::proxmox::task::{self, TaskError};
use crate::model::proxmox::vm::address::Address;
use crate::model::proxmox::vm::find::{Entry, Fleet};
use crate::model::proxmox::vm::look::{Seen, address, look, look_at};
use crate::model::proxmox::vm::settle::settle;
use crate::model::proxmox::vm::state::{Status, Vm};
use crate::model::proxmox::vm::{Globals, Mode, Start, Stop};
use crate::model::wait::{Wait, pause};

/// The wait for the task that starts.
pub const STARTING: &str = "the start";
/// Its deadline.
pub const START_DEADLINE: Duration = Duration::from_secs(180);
/// The wait for the address.
pub const AGENT: &str = "the guest agent to tell the address";
/// The wait for the task that stops.
pub const STOPPING: &str = "the shutdown";
/// Its deadline is the guest's and this much for Proxmox itself.
pub const SLACK: Duration = Duration::from_secs(30);
/// The wait for the VM to be off, after the task that stopped it; its deadline is the same.
pub const OFF: &str = "the VM to be off";
/// How often a start or stop is tried when somebody else's work came in between, or when its answer was lost.
const TRIES: u32 = 3;
/// How long a request whose answer was lost has to become a task that can be seen.
const SEEN_AFTER: Duration = Duration::from_secs(1);

/// `start(vmName, waitSeconds, pollInterval)`.
pub(super) async fn start(ctx: &Context, call: Call) -> Result<Outcome, Failure> {
    let (globals, arguments) = call.typed::<Globals, Start>()?;
    let api = globals.api(ctx)?;
    let before = task::reattach(&api).await?;
    let fleet = Fleet::read(&api).await?;
    let entry = fleet.one(&api, &arguments.vm_name)?;
    let mut seen = look_at(&api, entry).await?;
    let mut started = before.done;
    if seen.status() != Status::Running {
        started = run_start(&api, entry).await?;
        seen = look(&api, &entry.node, entry.vmid).await.map_err(|e| Failure::from(e).maybe_acted())?;
    }
    if seen.status() != Status::Running {
        return Err(Failure::theirs(format!("{}: {} was started and is off again", api.host(), seen.label())).maybe_acted());
    }
    let address =
        wait_for_address(&api, &seen, &arguments).await.map_err(|failure| if started { failure.maybe_acted() } else { failure })?;
    let vm = Vm { was_started: Some(started), ..seen.vm(address) };
    let at = vm.ip.as_ref().map_or_else(|| format!("address: {}", vm.ip_source), |ip| format!("at {ip}"));
    let outcome = if started {
        Outcome::changed(format!("started {}, {at}", vm.label()))
    } else {
        Outcome::unchanged(format!("{} runs already, {at}", vm.label()))
    };
    let attributes = vm.attributes()?;
    Ok(outcome.write("vm", arguments.vm_name, attributes))
}

/// Nobody knows whether a request with this error happened. A second one is harmless after a look, because it asks for a state and not for a change.
async fn look_again(api: &Api<'_>, error: &ApiError) -> Result<(), Failure> {
    api.ctx.reporter.warn(&format!("{error}; looking whether it happened all the same"));
    pause(api.ctx, SEEN_AFTER).await.map_err(Failure::maybe_acted)
}

/// Starts a VM that is off. `false` when somebody else started it meanwhile.
async fn run_start(api: &Api<'_>, entry: &Entry) -> Result<bool, Failure> {
    let path = format!("/nodes/{}/qemu/{}/status/start", entry.node, entry.vmid);
    let (mut tries, mut lost) = (1, false);
    loop {
        let settled = settle(api, &entry.node, entry.vmid, &[]).await;
        if settled.map_err(|failure| if lost { failure.maybe_acted() } else { failure })?.status() == Status::Running {
            return Ok(lost);
        }
        let task = match api.post(&path, &[]).await {
            Err(error) if error.maybe_acted() && tries < TRIES => {
                (tries, lost) = (tries + 1, true);
                look_again(api, &error).await?;
                continue;
            }
            answer => answer?,
        };
        let Err(error) = task::wait(api, &task, STARTING, START_DEADLINE).await else { return Ok(true) };
        // Somebody else's start, or a lock taken in the same moment: the task failed without having acted. Looking decides, not the text.
        if error.exit.contains("already running") && look(api, &entry.node, entry.vmid).await?.status() == Status::Running {
            return Ok(lost);
        }
        if !busy(&error) || tries == TRIES {
            return Err(error.failure);
        }
        tries += 1;
        api.ctx.reporter.warn(&format!("{} is busy ({}); trying again", entry.label(), error.exit));
    }
}

/// Whether a task failed only because another one held the VM.
fn busy(error: &TaskError) -> bool {
    error.exit.contains("is locked") || (error.exit.contains("can't lock file") && error.exit.contains("got timeout"))
}

/// Waits for the address of a running VM, as long as waiting may help. Not getting one is told, but it is no failure: the VM runs.
async fn wait_for_address(api: &Api<'_>, seen: &Seen, arguments: &Start) -> Result<Address, Failure> {
    let mut found = address(api, seen).await?;
    if !found.pending || arguments.wait_seconds == 0 {
        if found.ip.is_none() {
            api.ctx.reporter.warn(&format!("{} has no known address: {}", seen.label(), found.source));
        }
        return Ok(found);
    }
    let fixed = arguments.poll_interval.map(|seconds| Duration::from_secs_f64(seconds.clamp(0.1, 3600.0)));
    let intervals = fixed.map_or((Duration::from_millis(300), Duration::from_secs(3)), |fixed| (fixed, fixed));
    let mut wait = Wait::begin(api.ctx, AGENT, Duration::from_secs(arguments.wait_seconds), intervals);
    while wait.again(&found.source).await? {
        found = address(api, seen).await?;
        if !found.pending {
            return Ok(found);
        }
    }
    api.ctx.reporter.warn(&format!("{} has no known address after {} s: {}", seen.label(), wait.seconds(), found.source));
    Ok(found)
}

/// `stop(vmName, mode, timeout)`.
pub(super) async fn stop(ctx: &Context, call: Call) -> Result<Outcome, Failure> {
    let (globals, arguments) = call.typed::<Globals, Stop>()?;
    let api = globals.api(ctx)?;
    let mut changed = task::reattach(&api).await?.done;
    let fleet = Fleet::read(&api).await?;
    if let Some(vm) = deleted(ctx, &fleet, &arguments.vm_name)? {
        let attributes = vm.attributes()?;
        return Ok(Outcome::unchanged(format!("{} is deleted: nothing runs", vm.label())).write("vm", arguments.vm_name, attributes));
    }
    let entry = fleet.one(&api, &arguments.vm_name)?;
    let mut seen = look_at(&api, entry).await?;
    if !seen.status().off() {
        seen = settle(&api, &entry.node, entry.vmid, overruled(arguments.mode)).await?;
        if !seen.status().off() {
            run_stop(&api, entry, &arguments).await?;
            changed = true;
            seen = wait_until_off(&api, entry, &arguments).await?;
        }
    }
    let vm = seen.vm(Address::none(super::state::OFF));
    let outcome = if changed {
        Outcome::changed(format!("stopped {}", vm.label()))
    } else {
        Outcome::unchanged(format!("{} is off already", vm.label()))
    };
    let attributes = vm.attributes()?;
    Ok(outcome.write("vm", arguments.vm_name, attributes))
}

/// The VM that pmx itself deleted, as long as nobody has the name or may have it: it is off for good, and a stop of it has nothing to do.
fn deleted(ctx: &Context, fleet: &Fleet, name: &str) -> Result<Option<Vm>, Failure> {
    if !fleet.named(name).is_empty() || !fleet.offline.is_empty() {
        return Ok(None);
    }
    let known = ctx.previous.get(&("vm".to_owned(), name.to_owned())).cloned().map(Vm::from_value).transpose();
    let known = known.map_err(|e| Failure::bug(format!("the stored version of vm/{name}: {e}")))?;
    Ok(known.filter(|vm| vm.status == Status::Deleted))
}

/// Pulling the plug overrules a shutdown that hangs; that one must not be waited for.
const fn overruled(mode: Mode) -> &'static [&'static str] {
    match mode {
        Mode::Stop => &["qmshutdown"],
        Mode::Shutdown => &[],
    }
}

/// Asks Proxmox to stop the VM: the task.
async fn ask_stop(api: &Api<'_>, entry: &Entry, arguments: &Stop) -> Result<Json, ApiError> {
    let path = |action: &str| format!("/nodes/{}/qemu/{}/status/{action}", entry.node, entry.vmid);
    let timeout = arguments.timeout.to_string();
    match arguments.mode {
        Mode::Shutdown => api.post(&path("shutdown"), &[("timeout", &timeout)]).await,
        Mode::Stop => match api.post(&path("stop"), &[("overrule-shutdown", "1")]).await {
            // Proxmox before 8.2 does not know the parameter.
            Err(error) if error.refused() == Some(400) && error.reason().contains("overrule-shutdown") => {
                api.post(&path("stop"), &[]).await
            }
            answer => answer,
        },
    }
}

async fn run_stop(api: &Api<'_>, entry: &Entry, arguments: &Stop) -> Result<(), Failure> {
    let mut tries = 1;
    let task = loop {
        match ask_stop(api, entry, arguments).await {
            Err(error) if error.maybe_acted() && tries < TRIES => look_again(api, &error).await?,
            answer => break answer?,
        }
        tries += 1;
        let settled = settle(api, &entry.node, entry.vmid, overruled(arguments.mode)).await;
        if settled.map_err(Failure::maybe_acted)?.status().off() {
            return Ok(());
        }
    };
    let deadline = Duration::from_secs(arguments.timeout) + SLACK;
    match task::wait(api, &task, STOPPING, deadline).await {
        Ok(_) => Ok(()),
        Err(error) => {
            // The guest may have gone down in the same moment; looking decides.
            if look(api, &entry.node, entry.vmid).await.is_ok_and(|seen| seen.status().off()) {
                return Ok(());
            }
            if error.exit.contains("got timeout") && arguments.mode == Mode::Shutdown && !busy(&error) {
                let message = format!("{}: {} did not shut down within {} s", api.host(), entry.label(), arguments.timeout);
                let help =
                    "give it a longer `timeout`, or pull the plug with `mode = \"stop\"`: what the guest has not written is lost then";
                return Err(Failure::theirs(message).maybe_acted().help(help).tail(error.failure.tail));
            }
            Err(error.failure)
        }
    }
}

/// For a VM under high availability the task only queues the request; for all others it is off now.
async fn wait_until_off(api: &Api<'_>, entry: &Entry, arguments: &Stop) -> Result<Seen, Failure> {
    let unclear = |error| Failure::from(error).maybe_acted();
    let mut seen = look(api, &entry.node, entry.vmid).await.map_err(unclear)?;
    if seen.status().off() {
        return Ok(seen);
    }
    let deadline = Duration::from_secs(arguments.timeout) + SLACK;
    let mut wait = Wait::begin(api.ctx, OFF, deadline, (Duration::from_millis(200), Duration::from_secs(2)));
    while wait.again("it still runs").await.map_err(Failure::maybe_acted)? {
        seen = look(api, &entry.node, entry.vmid).await.map_err(unclear)?;
        if seen.status().off() {
            return Ok(seen);
        }
    }
    Err(Failure::theirs(format!("{}: {} still runs {} s after its stop", api.host(), entry.label(), wait.seconds())).maybe_acted())
}
