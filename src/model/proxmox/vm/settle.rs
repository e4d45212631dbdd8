//! Before an effect on a VM: whatever Proxmox task works on it is named and waited for.

use std::time::Duration;

use serde_json::Value as Json;

use crate::model::contract::Failure;
use crate::model::proxmox::api::{Api, text};
use crate::model::proxmox::vm::look::{Seen, look};
use crate::model::wait::Wait;

/// The name of this wait.
pub const PHASE: &str = "a running Proxmox task";
/// How long a task is waited for: a backup takes its time.
pub const DEADLINE: Duration = Duration::from_secs(1800);
/// How long a lock is waited for whose task is not to be seen.
const ORPHAN: Duration = Duration::from_secs(60);

/// A task on the VM, as the node lists it.
struct Holder {
    kind: String,
    user: String,
    upid: String,
}

/// Waits until nothing else works on the VM and returns how it is then. Tasks of the kinds in `ignored` may go on.
pub async fn settle(api: &Api<'_>, node: &str, vmid: u32, ignored: &[&str]) -> Result<Seen, Failure> {
    let mut wait: Option<Wait<'_>> = None;
    let mut orphan: Option<Duration> = None;
    loop {
        let (seen, holder) = futures_util::future::join(look(api, node, vmid), holder(api, node, vmid, ignored)).await;
        let (seen, holder) = (seen?, holder?);
        // A VM that sleeps on disk is locked too; starting it is what wakes it.
        let lock = seen.lock().filter(|lock| lock != "suspended");
        let why = match (&holder, &lock) {
            (None, None) => return Ok(seen),
            (Some(task), _) => format!("{} of {} by {} ({})", task.kind, seen.label(), task.user, task.upid),
            (None, Some(lock)) => format!("{} is locked ({lock}) and no task is to be seen that holds the lock", seen.label()),
        };
        let wait = wait.get_or_insert_with(|| {
            let because = if holder.is_some() { "for" } else { "because" };
            api.ctx.reporter.warn(&format!("waiting {because} {why}"));
            Wait::begin(api.ctx, PHASE, DEADLINE, (Duration::from_millis(500), Duration::from_secs(5)))
        });
        if holder.is_none() {
            let since = *orphan.get_or_insert(wait.lasted());
            if wait.lasted().saturating_sub(since) >= ORPHAN {
                return Err(Failure::theirs(format!("{}: {why}", api.host())).help(format!(
                    "if really nothing works on it (see the node's task list), `qm unlock {vmid}` on {node} removes the lock"
                )));
            }
        } else {
            orphan = None;
        }
        if !wait.again(&why).await? {
            return Err(Failure::theirs(format!("{}: {why} did not end within {} s", api.host(), wait.seconds())));
        }
    }
}

/// The first running task on the VM that counts. Consoles are tasks as well, and change nothing.
async fn holder(api: &Api<'_>, node: &str, vmid: u32, ignored: &[&str]) -> Result<Option<Holder>, Failure> {
    let vmid = vmid.to_string();
    let tasks = api.get(&format!("/nodes/{node}/tasks"), &[("source", "active"), ("vmid", &vmid)]).await?;
    let harmless = ["vncproxy", "spiceproxy", "termproxy", "vncshell"];
    let read = |row: &Json| Holder {
        kind: text(row, "type").unwrap_or_default(),
        user: text(row, "user").unwrap_or_default(),
        upid: text(row, "upid").unwrap_or_default(),
    };
    // The filter is checked again here: an answer for another VM must not hold this one up.
    let own = |row: &&Json| text(row, "id").as_deref() == Some(vmid.as_str());
    let counts = |task: &Holder| !harmless.contains(&task.kind.as_str()) && !ignored.contains(&task.kind.as_str());
    Ok(tasks.as_array().and_then(|rows| rows.iter().filter(own).map(read).find(counts)))
}
