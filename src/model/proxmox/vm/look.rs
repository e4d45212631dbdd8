//! Looking at one VM: status and configuration from its own node, never from the cluster's cache.

use serde_json::Value as Json;

use crate::model::contract::Failure;
use crate::model::proxmox::api::{Api, ApiError, number, text};
use crate::model::proxmox::vm::address::{Address, cards, of_running};
use crate::model::proxmox::vm::find::Entry;
use crate::model::proxmox::vm::state::{OFF, Status, Vm, made_by};

/// A VM as its node shows it now.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Its number.
    pub vmid: u32,
    /// Its node.
    pub node: String,
    /// `status/current`.
    pub current: Json,
    /// `config`, with pending values.
    pub config: Json,
}

impl Seen {
    /// Whether it runs.
    pub fn status(&self) -> Status {
        Status::read(&text(&self.current, "status").unwrap_or_default())
    }

    /// The lock that someone holds on its configuration: `backup`, `clone`, …
    pub fn lock(&self) -> Option<String> {
        text(&self.current, "lock").or_else(|| text(&self.config, "lock")).filter(|lock| !lock.is_empty())
    }

    /// The name, as Proxmox's own lists show it.
    pub fn name(&self) -> String {
        text(&self.config, "name").unwrap_or_else(|| format!("VM {}", self.vmid))
    }

    /// The SMBIOS uuid in lower case.
    pub fn uuid(&self) -> Option<String> {
        let smbios = text(&self.config, "smbios1")?;
        smbios.split(',').find_map(|part| part.trim().strip_prefix("uuid=")).map(str::to_ascii_lowercase)
    }

    /// The run of pmx that made it.
    pub fn made_by(&self) -> Option<String> {
        made_by(&text(&self.config, "description")?)
    }

    /// `calamity (vmid 107)`.
    pub fn label(&self) -> String {
        format!("{} (vmid {})", self.name(), self.vmid)
    }

    /// The whole state, with this address.
    pub fn vm(&self, address: Address) -> Vm {
        let processors = |key: &str| number(&self.config, key).unwrap_or(1);
        let cpus = number(&self.current, "cpus").unwrap_or_else(|| processors("cores") * processors("sockets"));
        Vm {
            vmid: self.vmid,
            vm_name: self.name(),
            node: self.node.clone(),
            status: self.status(),
            ip: address.ip,
            ip_source: address.source,
            maxmem: number(&self.current, "maxmem").unwrap_or_default(),
            maxcpu: u32::try_from(cpus).unwrap_or(u32::MAX),
            uuid: self.uuid(),
            mac: cards(&self.config).into_iter().next().map(|(_, mac)| mac),
            boot: text(&self.config, "boot").map(|boot| boot.trim().to_owned()).filter(|boot| !boot.is_empty()),
            made_by: self.made_by(),
            was_started: None,
        }
    }
}

/// Status and configuration of one VM, read at once.
pub async fn look(api: &Api<'_>, node: &str, vmid: u32) -> Result<Seen, ApiError> {
    let path = format!("/nodes/{node}/qemu/{vmid}");
    let (current, config) = (format!("{path}/status/current"), format!("{path}/config"));
    let (current, config) = futures_util::future::try_join(api.get(&current, &[]), api.get(&config, &[])).await?;
    Ok(Seen { vmid, node: node.to_owned(), current, config })
}

/// Fails for a VM whose node does not answer.
pub fn reachable(api: &Api<'_>, entry: &Entry) -> Result<(), Failure> {
    if entry.reachable {
        return Ok(());
    }
    Err(Failure::theirs(format!("{}: {} is on node {}, which is offline", api.host(), entry.label(), entry.node)))
}

/// The same for a VM that a list named.
pub async fn look_at(api: &Api<'_>, entry: &Entry) -> Result<Seen, Failure> {
    reachable(api, entry)?;
    Ok(look(api, &entry.node, entry.vmid).await?)
}

/// The address of a VM that was looked at; asks the guest agent when it runs.
pub async fn address(api: &Api<'_>, seen: &Seen) -> Result<Address, ApiError> {
    match seen.status() {
        Status::Running => of_running(api, &seen.node, seen.vmid, &seen.config).await,
        Status::Unknown => Ok(Address::none("none: the node does not tell the VM's state")),
        _ => Ok(Address::none(OFF)),
    }
}

/// The whole state now, address included.
pub async fn state(api: &Api<'_>, node: &str, vmid: u32) -> Result<Vm, ApiError> {
    let seen = look(api, node, vmid).await?;
    let address = address(api, &seen).await?;
    Ok(seen.vm(address))
}
