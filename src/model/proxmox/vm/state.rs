//! What pmx knows of one VM: its whole state without anything that changes by itself, so that an unchanged VM is the same content each time.
// tidy: fields ≤ 13, because a version holds the whole state of a VM, under the names that users' expressions read

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::model::contract::Failure;
use crate::name::RunId;
use crate::value::{Value, ValueError};

/// One virtual machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Vm {
    /// Proxmox's number, 100 and up; may be used again after a delete.
    pub vmid: u32,
    /// The name; Proxmox shows a VM without one as `VM 102`.
    pub vm_name: String,
    /// The node it is on.
    pub node: String,
    /// Whether it runs.
    pub status: Status,
    /// The address of its own network card. Null while it is off; missing while it runs and the address is not known.
    #[serde(default)]
    pub ip: Option<String>,
    /// Where `ip` comes from, or why there is none.
    pub ip_source: String,
    /// Main memory in bytes.
    pub maxmem: u64,
    /// Processors.
    pub maxcpu: u32,
    /// The SMBIOS uuid: what the VM is, whatever its number, name and address are.
    #[serde(default)]
    pub uuid: Option<String>,
    /// Hardware address of its first network card, in upper case.
    #[serde(default)]
    pub mac: Option<String>,
    /// What it boots from, `order=scsi0;net0`.
    #[serde(default)]
    pub boot: Option<String>,
    /// The run of pmx that made it.
    #[serde(default)]
    pub made_by: Option<String>,
    /// After `start`: whether that call started it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub was_started: Option<bool>,
}

/// Whether a VM runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// It runs.
    Running,
    /// It is off.
    Stopped,
    /// It was known and is not there any more.
    Gone,
    /// pmx deleted it.
    Deleted,
    /// Its node does not answer.
    Unknown,
}

impl Status {
    /// Proxmox's word for it.
    pub fn read(word: &str) -> Self {
        match word {
            "running" => Self::Running,
            "stopped" => Self::Stopped,
            _ => Self::Unknown,
        }
    }

    /// Whether such a VM certainly has no address.
    pub const fn off(self) -> bool {
        matches!(self, Self::Stopped | Self::Gone | Self::Deleted)
    }
}

impl Vm {
    /// `calamity (vmid 107)`.
    pub fn label(&self) -> String {
        format!("{} (vmid {})", self.vm_name, self.vmid)
    }

    /// The same VM, off for the reason `status`.
    #[must_use]
    pub fn ended(self, status: Status) -> Self {
        let why = match status {
            Status::Gone => "the VM is gone",
            Status::Deleted => "the VM is deleted",
            _ => OFF,
        };
        Self { status, ip: None, ip_source: why.to_owned(), was_started: None, ..self }
    }

    /// Reads a stored version.
    pub fn from_value(value: Value) -> Result<Self, ValueError> {
        value.into_typed()
    }

    /// As attributes. `ip` is left out where it would be null without the VM being off: nobody may mistake not knowing for being off.
    pub fn attributes(&self) -> Result<Value, Failure> {
        let mut value = Value::from_typed(self).map_err(|e| Failure::bug(format!("the state of {}: {e}", self.vm_name)))?;
        if let (Value::Map(fields), None, false) = (&mut value, &self.ip, self.status.off()) {
            fields.remove("ip");
        }
        Ok(value)
    }
}

/// `ipSource` of a VM that is off.
pub const OFF: &str = "the VM is off";

/// What a run writes into the description of a VM that it makes. Tags would be the better place, but they may not hold `=`.
pub fn marker(run: &RunId) -> String {
    format!("pmx-run={run}")
}

/// The run whose marker stands in a description.
pub fn made_by(description: &str) -> Option<String> {
    let after = description.split("pmx-run=").nth(1)?;
    let id: String = after.chars().take_while(char::is_ascii_hexdigit).collect();
    id.parse::<RunId>().ok().map(|run| run.to_string())
}
