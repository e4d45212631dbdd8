//! `setConfig` and `setBootOrder`: options of a VM's configuration, under Proxmox's optimistic lock.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value as Json;

use crate::model::contract::{Call, Context, Failure, Outcome};
use crate::model::proxmox::api::{Api, text};
use crate::model::proxmox::task::{self, TaskError};
use crate::model::proxmox::vm::find::{Entry, Fleet};
use crate::model::proxmox::vm::look::{Seen, look, look_at, state};
use crate::model::proxmox::vm::settle::settle;
use crate::model::proxmox::vm::{Globals, SetBootOrder, SetConfig};
use crate::value::Value;

/// The wait for the task that writes.
pub const PHASE: &str = "the new configuration";
/// Its deadline: it may have to wait for a lock.
pub const DEADLINE: Duration = Duration::from_secs(120);
/// What Proxmox says when the configuration was changed since its digest was read.
const CONFLICT: &str = "checksum mismatch";

/// Options to set (`Some`) and to remove (`None`).
type Wanted = BTreeMap<String, Option<String>>;

/// `setBootOrder(vmName, boot)`.
pub(super) async fn set_boot_order(ctx: &Context, call: Call) -> Result<Outcome, Failure> {
    let (globals, SetBootOrder { vm_name, boot }) = call.typed::<Globals, _>()?;
    let order = boot.trim();
    let order = if order.is_empty() || order.contains('=') { order.to_owned() } else { format!("order={}", order.replace(',', ";")) };
    set(globals.api(ctx)?, vm_name, Wanted::from([("boot".to_owned(), Some(order))])).await
}

/// `setConfig(vmName, config)`.
pub(super) async fn set_config(ctx: &Context, call: Call) -> Result<Outcome, Failure> {
    let (globals, SetConfig { vm_name, config }) = call.typed::<Globals, _>()?;
    if config.is_empty() {
        return Err(Failure::yours("`config` is empty").help("give at least one option, such as { memory = 4096 }"));
    }
    if let Some(key) = ["digest", "delete", "skiplock", "name"].iter().find(|key| config.contains_key(**key)) {
        return Err(Failure::yours(format!("`{key}` cannot be set: it is no option of the VM, or what pmx finds the VM by")));
    }
    let option = |(key, value): (String, Value)| option_text(&key, value).map(|text| (key, text));
    let wanted = config.into_iter().map(option).collect::<Result<Wanted, Failure>>()?;
    set(globals.api(ctx)?, vm_name, wanted).await
}

fn option_text(key: &str, value: Value) -> Result<Option<String>, Failure> {
    match value {
        Value::Null => Ok(None),
        Value::Bool(flag) => Ok(Some(u8::from(flag).to_string())),
        Value::Int(number) => Ok(Some(number.to_string())),
        Value::Float(number) => Ok(Some(number.to_string())),
        Value::String(text) => Ok(Some(text)),
        other => Err(Failure::yours(format!("`{key}` is {}: an option is text, a number, true, false or null", other.kind()))),
    }
}

/// Read, decide, write under the digest that was read, read back. When somebody else wrote in between, once more from the start.
async fn set(api: Api<'_>, name: String, wanted: Wanted) -> Result<Outcome, Failure> {
    task::reattach(&api).await?;
    let fleet = Fleet::read(&api).await?;
    let entry = fleet.one(&api, &name)?;
    let mut open = !changes(&wanted, &look_at(&api, entry).await?.config).is_empty();
    let mut written = Vec::new();
    let mut tries = [false, true].into_iter();
    while let (true, Some(last)) = (open, tries.next()) {
        let seen = settle(&api, &entry.node, entry.vmid, &[]).await?;
        let changes = changes(&wanted, &seen.config);
        open = !changes.is_empty();
        if !open {
            break;
        }
        match write(&api, &seen, &changes).await {
            Ok(()) => {
                written = changes.into_keys().collect();
                break;
            }
            Err(error) if !last && (error.exit.contains(CONFLICT) || error.failure.message.contains(CONFLICT)) => {
                api.ctx.reporter.warn(&format!("somebody else changed {} in this moment; reading it again", seen.label()));
            }
            Err(error) => return Err(error.failure),
        }
    }
    read_back(&api, entry, name, &wanted, &written).await
}

async fn read_back(api: &Api<'_>, entry: &Entry, name: String, wanted: &Wanted, written: &[String]) -> Result<Outcome, Failure> {
    if !written.is_empty() {
        let seen = look(api, &entry.node, entry.vmid).await.map_err(|e| Failure::from(e).maybe_acted())?;
        let open: Vec<String> = changes(wanted, &seen.config).into_keys().collect();
        if !open.is_empty() {
            let message = format!("{}: {} was written, but {} reads differently afterwards", api.host(), entry.label(), open.join(", "));
            return Err(Failure::theirs(message).maybe_acted());
        }
    }
    let vm = state(api, &entry.node, entry.vmid).await?;
    let outcome = if written.is_empty() {
        Outcome::unchanged(format!("{} is set so already", vm.label()))
    } else {
        Outcome::changed(format!("set {} of {}", written.join(", "), vm.label()))
    };
    let attributes = vm.attributes()?;
    Ok(outcome.write("vm", name, attributes))
}

/// What differs from the configuration.
fn changes(wanted: &Wanted, config: &Json) -> Wanted {
    let differs = |(key, value): &(&String, &Option<String>)| match (value, text(config, key)) {
        (None, present) => present.is_some(),
        (Some(wanted), Some(present)) => !same(key, wanted, &present),
        // An option that is not there and set to nothing, or to the default that Proxmox does not write.
        (Some(wanted), None) => !wanted.is_empty(),
    };
    wanted.iter().filter(differs).map(|(key, value)| (key.clone(), value.clone())).collect()
}

/// Whether an option reads as it should. Proxmox sorts tags and gives a card its MAC; a description loses its last line end.
fn same(key: &str, wanted: &str, present: &str) -> bool {
    if key == "tags" {
        let set = |text: &str| -> std::collections::BTreeSet<String> {
            text.split([',', ';', ' ']).filter(|tag| !tag.is_empty()).map(str::to_ascii_lowercase).collect()
        };
        return set(wanted) == set(present);
    }
    let is_card = key.strip_prefix("net").is_some_and(|index| index.parse::<u32>().is_ok());
    if is_card {
        let mut present = present.split(',');
        let parts: Vec<&str> = present.by_ref().collect();
        let model =
            |part: &str| parts.iter().any(|have| have.split_once('=').is_some_and(|(model, _)| model == part.trim_start_matches("model=")));
        return wanted.split(',').all(|part| parts.contains(&part) || (!part.contains('=') || part.starts_with("model=")) && model(part));
    }
    wanted.trim_end() == present.trim_end()
}

/// Writes by the request that returns a task: the other one may outlive the patience of a node in between.
async fn write(api: &Api<'_>, seen: &Seen, changes: &Wanted) -> Result<(), TaskError> {
    let removed: Vec<&str> = changes.iter().filter(|(_, value)| value.is_none()).map(|(key, _)| key.as_str()).collect();
    let removed = removed.join(",");
    let digest = text(&seen.config, "digest").unwrap_or_default();
    let mut form: Vec<(&str, &str)> = changes.iter().filter_map(|(key, value)| Some((key.as_str(), value.as_deref()?))).collect();
    if !removed.is_empty() {
        form.push(("delete", &removed));
    }
    if !digest.is_empty() {
        form.push(("digest", &digest));
    }
    let answer = api.post(&format!("/nodes/{}/qemu/{}/config", seen.node, seen.vmid), &form).await?;
    // Without a task in the answer the change was made at once.
    if !answer.is_null() {
        task::wait(api, &answer, PHASE, DEADLINE).await?;
    }
    Ok(())
}
