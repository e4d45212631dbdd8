//! `alpine/install`: puts the Alpine that a machine has booted from the network onto its disk.

mod answers;
mod disk;
mod installed;
mod steps;
#[cfg(test)]
mod tests;

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::model::alpine::boot;
use crate::model::contract::{Acts, At, Effect, Instance, MethodRow, PhaseRow, SpecRow, TypeRow, Writes};
use crate::model::remote::SshGlobals;
use crate::model::schema::object;
use crate::secret::Secret;

const DOC: &str = r#"
Puts Alpine Linux onto the disk of a machine that has booted it from the network: `setup-alpine` with an answer file, then what that leaves open.

```toml
type = "alpine/install"

[global]
sshHost = '${{ model.fleet.resource.vm[inputs.vmName].attributes.ip }}'

[methods.install]
hostname = '${{ inputs.vmName }}'
password = '${{ vault.get("proxmox-vault", "password") }}'
```

`install` erases a disk, so it asks for confirmation by the VM's name unless this run made the VM. It refuses a VM of `[protect] vms`, a machine whose
SMBIOS uuid is not that of the VM whose address it was given, a machine that runs from a disk, a disk that is mounted, and, without `force`, a disk that
holds anything. With `force` what the disk holds is wiped first, so that nothing old can pass for the new system.

The machine is waited for until it lets somebody log in (3 minutes at most), and then for its disk (1 minute): a netbooted system loads the driver only
now. `disk = "auto"` takes the only disk and never chooses between several. `setup-alpine` has `timeout` seconds; when it fails or hangs, the failure ends
with the last lines that it said, and what it left running is ended.

Root's password travels over standard input, is hashed there with SHA-512, and is set before the installation, because setup-alpine would keep the empty
one of a netboot; it is in no command, no log and no answer file. Any text of one line will do, quotes and all. Without a password only keys get in. The
keys that let root into the netbooted system let root into the installed one. qemu-guest-agent and sshd start at boot, and
the community repository is on.

A netboot's host key is trusted for that boot only. The installed system keeps it, which is checked on the disk, and so it becomes the VM's key here.

The installed system is proven without a restart: its root is mounted from the disk and looked through. Boot it afterwards (`fleet.stop`, `fleet.start`).

Every call, as a step of a workflow:

```toml
[[step]]
name = "install"
call = "alpineInstaller.install"        # asks for the VM's name, or is given it: --yes web
with = { vmName = "web", disk = "/dev/sda" }
```
"#;

const HOST: &[Acts] = &[Acts { at: At::Host("sshHost"), shared: false }];

/// The row of `alpine/install`.
pub static TYPE: TypeRow = TypeRow {
    name: "alpine/install",
    revision: 1,
    doc: DOC,
    globals: object::<Globals>,
    specs: &[SpecRow {
        name: "result",
        doc: "The system as it was installed.",
        attributes: object::<Installed>,
        observer: None,
        trust: None,
    }],
    methods: &[MethodRow {
        name: "install",
        doc: "Erases the disk and installs Alpine on it.",
        effect: Effect::Destroy,
        by_command: false,
        arguments: object::<Install>,
        writes: &[Writes { spec: "result", instance: Instance::Single("result") }],
        acts: HOST,
        fresh: Duration::ZERO,
        phases: &[
            boot::PHASE,
            PhaseRow { name: disk::PHASE, argument: None, seconds: disk::DEADLINE.as_secs() },
            PhaseRow { name: steps::SETUP, argument: Some("timeout"), seconds: steps::SETUP_SECONDS },
            PhaseRow { name: installed::PHASE, argument: None, seconds: installed::DEADLINE.as_secs() },
        ],
        run: |ctx, call| Box::pin(steps::install(ctx, call)),
    }],
};

/// Which machine.
#[derive(Deserialize, JsonSchema)]
struct Globals {
    #[serde(flatten)]
    ssh: SshGlobals,
}

#[derive(Deserialize, JsonSchema)]
struct Install {
    /// The installed system's name: letters, digits, dashes, dots.
    hostname: String,
    /// Root's password on the installed system, one line; null means that no password lets root in, only keys.
    #[serde(default)]
    password: Option<Secret>,
    /// The disk to erase, `/dev/sda`; `auto` means the only one there is.
    #[serde(default = "auto")]
    disk: String,
    /// Erase the disk even if it holds something.
    #[serde(default)]
    force: bool,
    /// How many seconds setup-alpine may take; it downloads a system.
    #[serde(default = "setup_seconds")]
    #[schemars(range(min = 1, max = 86400))]
    timeout: u64,
}

fn auto() -> String {
    disk::AUTO.to_owned()
}

fn setup_seconds() -> u64 {
    steps::SETUP_SECONDS
}

/// The system as it was installed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Installed {
    /// Where the machine was while it was installed.
    host: String,
    /// The installed system's name.
    hostname: String,
    /// The disk that was erased.
    disk: String,
    /// The partition that holds the root file system.
    root_device: String,
    /// Alpine's release, `3.22.1`.
    release: String,
    /// Whether a password lets root in.
    root_password: bool,
    /// The SSH host key that the installed system shows; null when it could not be read.
    host_key: Option<String>,
}
