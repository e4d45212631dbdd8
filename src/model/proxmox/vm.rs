//! `proxmox/vm`: the fleet, all virtual machines of a Proxmox cluster, each by its name.

mod address;
mod create;
mod destroy;
mod find;
mod look;
mod power;
mod settings;
mod settle;
mod state;
mod sync;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::model::contract::{Acts, At, Call, Context, Effect, Failure, Instance, MethodRow, Observer, PhaseRow, SpecRow, TypeRow, Writes};
use crate::model::proxmox::api::{Account, Api, Endpoint};
use crate::model::proxmox::task;
use crate::model::schema::object;
use crate::secret::Credential;
use crate::value::Value;

/// How long a reader may trust what was seen of a VM.
const TRUST: Duration = Duration::from_secs(5 * 60);

const DOC: &str = r#"
All virtual machines that a Proxmox API shows, as one fleet. Each machine is a resource of its own, `fleet/vm/calamity`, and is always found by its
name, on whichever node it runs; a name that two machines share is refused.

```toml
type = "proxmox/vm"

[global]
apiUrl = "https://10.0.0.4:8006"
node = "keeb-dev-02"
ticket = '${{ model.keebDev02.resource.node.node.attributes.ticket }}'
csrfToken = '${{ model.keebDev02.resource.node.node.attributes.csrfToken }}'

[methods.start]
waitSeconds = 120
```

`node` is where `create` puts new machines; every other method looks the node up.

`ip` is the address of the machine's own network card, told by its guest agent: install `qemu-guest-agent` in the machine. It is null while the machine is
off, and it is missing while the machine runs and its address is not known; `ipSource` says which card it is, or why there is none.

Before a method changes a machine it waits for whatever Proxmox task still works on it, a backup for example, and says which. When the answer to a
`start` or `stop` is lost, it looks at the machine and asks again only if it did not happen; `create` looks for a machine of its name with this run's mark.

`stop` of a machine that pmx itself deleted is done already; of one that was never seen it fails, because the name may be a slip.

`delete` compares vmid, name and SMBIOS uuid of the running system with the version that was shown when it was confirmed, and refuses when one differs.

What goes wrong: `create` refuses a name that a VM has already, and never takes that VM over. A guest that does not shut down within `timeout` is a failure
and runs on; only `mode = "stop"` pulls the plug. `setBootOrder` and `setConfig` write only what differs, under the digest of the configuration that they
read, and read it back: when somebody else wrote in between they begin once more, then fail. A remote task that outlives its wait is left running and named.
An account that may not see VMs is told so; it is never taken for an empty fleet.

Every call, as a step of a workflow:

```toml
[[step]]
name = "lookup"
call = "fleet.lookup"
with = { vmName = "calamity" }

[[step]]
name = "sync"
call = "fleet.sync"

[[step]]
name = "create"
call = "fleet.create"
with = { vmName = "web", memory = 4096, cores = 2, diskSize = 20 }

[[step]]
name = "start"
call = "fleet.start"
with = { vmName = "web", waitSeconds = 300 }

[[step]]
name = "boot-order"
call = "fleet.setBootOrder"
with = { vmName = "web", boot = "order=scsi0;net0" }

[[step]]
name = "config"
call = "fleet.setConfig"
with = { vmName = "web", config = { onboot = true, description = "the web server", balloon = 0 } }

[[step]]
name = "stop"
call = "fleet.stop"
with = { vmName = "web", timeout = 120 }

[[step]]
name = "delete"
call = "fleet.delete"                   # asks for the name, or is given it: --yes web
with = { vmName = "web", purge = true }
```
"#;

const VM: Writes = Writes { spec: "vm", instance: Instance::Argument("vmName") };
const MACHINE: &[Acts] = &[Acts { at: At::Machine(VM), shared: false }];
const SETTLE: PhaseRow = PhaseRow { name: settle::PHASE, argument: None, seconds: settle::DEADLINE.as_secs() };

/// The row of `proxmox/vm`.
pub static TYPE: TypeRow = TypeRow {
    name: "proxmox/vm",
    revision: 1,
    doc: DOC,
    globals: object::<Globals>,
    specs: &[SpecRow {
        name: "vm",
        doc: "One virtual machine.",
        attributes: object::<state::Vm>,
        observer: Some(Observer { one: "lookup", argument: Some("vmName"), all: Some("sync") }),
        trust: Some(TRUST),
    }],
    methods: &[
        MethodRow {
            name: "lookup",
            doc: "Finds the one VM of that name on any node and reads its state and address.",
            effect: Effect::Observe,
            by_command: false,
            arguments: object::<Named>,
            writes: &[VM],
            acts: MACHINE,
            fresh: Duration::ZERO,
            phases: &[PhaseRow { name: find::PHASE, argument: None, seconds: 0 }],
            run: |ctx, call| Box::pin(find::lookup(ctx, call)),
        },
        MethodRow {
            name: "sync",
            doc: "Reads every VM at once. A VM that was known and is gone gets the status `gone`.",
            effect: Effect::Observe,
            by_command: false,
            arguments: object::<Nothing>,
            writes: &[Writes { spec: "vm", instance: Instance::All }],
            acts: &[Acts { at: At::Machine(Writes { spec: "vm", instance: Instance::All }), shared: false }],
            fresh: Duration::ZERO,
            phases: &[PhaseRow { name: sync::PHASE, argument: None, seconds: 0 }],
            run: |ctx, call| Box::pin(sync::sync(ctx, call)),
        },
        MethodRow {
            name: "create",
            doc: "Makes a new VM with one network card, and a disk if one is asked for. Fails when the name is taken.",
            effect: Effect::Act,
            by_command: false,
            arguments: object::<Create>,
            writes: &[VM],
            acts: MACHINE,
            fresh: Duration::ZERO,
            phases: &[PhaseRow { name: create::PHASE, argument: None, seconds: create::DEADLINE.as_secs() }],
            run: |ctx, call| Box::pin(create::create(ctx, call)),
        },
        MethodRow {
            name: "start",
            doc: "Starts the VM unless it runs, and waits for its address.",
            effect: Effect::Converge,
            by_command: false,
            arguments: object::<Start>,
            writes: &[VM],
            acts: MACHINE,
            fresh: Duration::ZERO,
            phases: &[
                SETTLE,
                PhaseRow { name: power::STARTING, argument: None, seconds: power::START_DEADLINE.as_secs() },
                PhaseRow { name: power::AGENT, argument: Some("waitSeconds"), seconds: 120 },
            ],
            run: |ctx, call| Box::pin(power::start(ctx, call)),
        },
        MethodRow {
            name: "stop",
            doc: "Shuts the VM down through its guest, or pulls the plug with `mode = \"stop\"`. A VM that is off stays so.",
            effect: Effect::Converge,
            by_command: false,
            arguments: object::<Stop>,
            writes: &[VM],
            acts: MACHINE,
            fresh: Duration::ZERO,
            phases: &[
                SETTLE,
                PhaseRow { name: power::STOPPING, argument: Some("timeout"), seconds: 60 + power::SLACK.as_secs() },
                PhaseRow { name: power::OFF, argument: Some("timeout"), seconds: 60 + power::SLACK.as_secs() },
            ],
            run: |ctx, call| Box::pin(power::stop(ctx, call)),
        },
        MethodRow {
            name: "delete",
            doc: "Removes the VM and its disks, after proof that it is the one that was shown. Refuses a VM that runs or is protected.",
            effect: Effect::Destroy,
            by_command: false,
            arguments: object::<Delete>,
            writes: &[VM],
            acts: MACHINE,
            fresh: Duration::ZERO,
            phases: &[SETTLE, PhaseRow { name: destroy::PHASE, argument: None, seconds: destroy::DEADLINE.as_secs() }],
            run: |ctx, call| Box::pin(destroy::delete(ctx, call)),
        },
        MethodRow {
            name: "setBootOrder",
            doc: "Sets what the VM boots from, in order.",
            effect: Effect::Converge,
            by_command: false,
            arguments: object::<SetBootOrder>,
            writes: &[VM],
            acts: MACHINE,
            fresh: Duration::ZERO,
            phases: &[SETTLE, PhaseRow { name: settings::PHASE, argument: None, seconds: settings::DEADLINE.as_secs() }],
            run: |ctx, call| Box::pin(settings::set_boot_order(ctx, call)),
        },
        MethodRow {
            name: "setConfig",
            doc: "Sets options of the VM's configuration; null removes one.",
            effect: Effect::Converge,
            by_command: false,
            arguments: object::<SetConfig>,
            writes: &[VM],
            acts: MACHINE,
            fresh: Duration::ZERO,
            phases: &[SETTLE, PhaseRow { name: settings::PHASE, argument: None, seconds: settings::DEADLINE.as_secs() }],
            run: |ctx, call| Box::pin(settings::set_config(ctx, call)),
        },
    ],
};

/// Where the API is, and what opens it.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Globals {
    #[serde(flatten)]
    endpoint: Endpoint,
    /// A ticket or API token, from a `proxmox/node`.
    ticket: Credential,
    /// Goes with each write under a ticket, from the same `proxmox/node`; not needed with an API token.
    #[serde(default)]
    csrf_token: Option<Credential>,
}

impl Globals {
    fn api(self, ctx: &Context) -> Result<Api<'_>, Failure> {
        Api::new(ctx, &self.endpoint, Account::Handle { ticket: self.ticket, csrf: self.csrf_token })
    }
}

/// Waits for the tasks in the context of a call, whichever method it was.
pub async fn settle_tasks(ctx: &Context, call: Call) -> Result<(), Failure> {
    let (globals, serde::de::IgnoredAny) = call.typed::<Globals, _>()?;
    let api = globals.api(ctx)?;
    task::reattach(&api).await.map(drop)
}

#[derive(Deserialize, JsonSchema)]
struct Nothing {}

/// A VM by its name.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Named {
    /// The VM's name, exactly.
    vm_name: String,
}

/// What a new VM is made of.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Create {
    /// The new VM's name: letters, digits and hyphens, as a DNS name.
    vm_name: String,
    /// Main memory in MB.
    #[serde(default = "default_memory")]
    #[schemars(range(min = 16))]
    memory: u32,
    /// Cores of each socket.
    #[serde(default = "two")]
    #[schemars(range(min = 1))]
    cores: u32,
    /// Processor sockets.
    #[serde(default = "one")]
    #[schemars(range(min = 1))]
    sockets: u32,
    /// Size of the disk in GB; 0 for none.
    #[serde(default = "default_disk")]
    disk_size: u32,
    /// The storage that the disk is put on.
    #[serde(default = "local_lvm")]
    #[schemars(regex(pattern = r"^[A-Za-z][A-Za-z0-9._-]*$"))]
    disk_storage: String,
    /// The bridge that the network card is put on.
    #[serde(default = "vmbr0")]
    #[schemars(regex(pattern = r"^[A-Za-z0-9._-]+$"))]
    network_bridge: String,
    /// Proxmox's word for the guest's system: `l26` is Linux.
    #[serde(default = "l26")]
    os_type: String,
}

/// How a VM is started.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Start {
    /// The VM's name, exactly.
    vm_name: String,
    /// Seconds to wait for the VM's address after its start; 0 to not wait. A VM that has none by then is started all the same, with a warning.
    #[serde(default = "two_minutes")]
    wait_seconds: u64,
    /// Seconds between two questions for the address; null means soon at first, then less often.
    #[serde(default)]
    #[schemars(range(min = 0.1))]
    poll_interval: Option<f64>,
}

/// How a VM is stopped.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Stop {
    /// The VM's name, exactly.
    vm_name: String,
    /// `shutdown` asks the guest, `stop` pulls the plug.
    #[serde(default)]
    mode: Mode,
    /// Seconds the guest has to shut down.
    #[serde(default = "one_minute")]
    #[schemars(range(min = 1))]
    timeout: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
enum Mode {
    #[default]
    Shutdown,
    Stop,
}

/// How a VM is removed.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Delete {
    /// The VM's name, exactly.
    vm_name: String,
    /// Also take it out of backup jobs, replication and high availability.
    #[serde(default)]
    purge: bool,
}

/// What a VM boots from.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct SetBootOrder {
    /// The VM's name, exactly.
    vm_name: String,
    /// Devices in order: `order=scsi0;net0`, or `scsi0;net0`.
    boot: String,
}

/// Options to set.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct SetConfig {
    /// The VM's name, exactly.
    vm_name: String,
    /// Options by Proxmox's names: `{ memory = 4096, onboot = true, description = "…" }`. Null removes an option.
    #[schemars(with = "BTreeMap<String, serde_json::Value>")]
    config: BTreeMap<String, Value>,
}

fn default_memory() -> u32 {
    2048
}
fn two() -> u32 {
    2
}
fn one() -> u32 {
    1
}
fn default_disk() -> u32 {
    32
}
fn local_lvm() -> String {
    "local-lvm".to_owned()
}
fn vmbr0() -> String {
    "vmbr0".to_owned()
}
fn l26() -> String {
    "l26".to_owned()
}
fn two_minutes() -> u64 {
    120
}
fn one_minute() -> u64 {
    60
}
