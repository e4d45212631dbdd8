//! `alpine/overlay`: the configuration of a diskless machine, packaged and put where others that boot from the network fetch it.

mod archive;
mod deploy;
#[cfg(test)]
mod tests;

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::model::alpine::boot;
use crate::model::contract::{Acts, At, Effect, Instance, MethodRow, PhaseRow, SpecRow, TypeRow, Writes};
use crate::model::remote::SshGlobals;
use crate::model::schema::object;

const DOC: &str = r#"
The overlay (apkovl) of a gold image: a diskless Alpine that is set up by hand, packaged by `lbu`, and served to every machine that boots from the network.

```toml
type = "alpine/overlay"

[global]
sshHost = '${{ model.fleet.resource.vm["gold-image"].attributes.ip }}'

[methods.deployApkovl]
tftpHost = "10.0.0.191"
tftpPath = "/srv/http/alpine"
```

`deployApkovl` takes what `lbu package -` gives on the gold image, leaves the SSH host keys out, because every machine would show the same ones, and puts it
on the server as `alpine.apkovl.tar.gz`: under a temporary name first, so that a full disk or a cut connection leaves the old overlay whole; what a try that
was cut off left beside it, the next one removes. It does nothing when the server has those very bytes. Then the gold image fetches the overlay over HTTP at
port 80, as the others will, and the digests must agree: a machine whose overlay is missing or broken boots into a bare system without a word. The document
root is found out: it is one of the directories of `tftpPath`. A server that still gives the old file just after the new one has come (lighttpd does for a
second, nginx with `open_file_cache` for a minute) is asked again for 90 s.

The shadow file travels with the overlay: the passwords of the gold image are those of every machine, and whoever reaches the HTTP server can read
their hashes. `deployApkovl` warns of that.

The overlay passes through pmx's memory, 64 MiB at most, and no file of it is left anywhere but on the server. The gold image makes a new host key at each
boot, so its key is not pinned: its SMBIOS uuid is compared instead.

What goes wrong: an `lbu package -` that fails, gives no gzipped archive or one larger than 64 MiB, a `tftpPath` that cannot hold the overlay, and an overlay
that is served with another digest, or not at all, are each a failure that says so.

Every call, as a step of a workflow:

```toml
[[step]]
name = "deploy"
call = "goldImageOverlay.deployApkovl"
```
"#;

/// The row of `alpine/overlay`.
pub static TYPE: TypeRow = TypeRow {
    name: "alpine/overlay",
    revision: 1,
    doc: DOC,
    globals: object::<Globals>,
    specs: &[SpecRow { name: "overlay", doc: "The overlay as it is served.", attributes: object::<Overlay>, observer: None, trust: None }],
    methods: &[MethodRow {
        name: "deployApkovl",
        doc: "Packages the gold image's overlay and puts it on the server, unless it is there.",
        effect: Effect::Converge,
        by_command: false,
        arguments: object::<Deploy>,
        writes: &[Writes { spec: "overlay", instance: Instance::Single("overlay") }],
        acts: &[Acts { at: At::Host("sshHost"), shared: true }, Acts { at: At::File("tftpHost", "tftpPath"), shared: false }],
        fresh: Duration::ZERO,
        phases: &[
            boot::PHASE,
            PhaseRow { name: deploy::PACKAGE, argument: None, seconds: deploy::DEADLINE.as_secs() },
            PhaseRow { name: deploy::TRANSFER, argument: None, seconds: deploy::DEADLINE.as_secs() },
            PhaseRow { name: deploy::SERVED, argument: None, seconds: deploy::DEADLINE.as_secs() },
        ],
        run: |ctx, call| Box::pin(deploy::deploy(ctx, call)),
    }],
};

/// Which gold image.
#[derive(Deserialize, JsonSchema)]
struct Globals {
    #[serde(flatten)]
    ssh: SshGlobals,
}

#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Deploy {
    /// The HTTP server, by the address or name under which the gold image reaches it; pmx logs in there too.
    tftp_host: String,
    /// The directory on the server, or the file itself when it ends with `.tar.gz`. Absolute.
    tftp_path: String,
}

/// The overlay as it is served.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
struct Overlay {
    /// The file's name.
    file: String,
    /// Its size.
    bytes: u64,
    /// `sha256:` and the digest of its bytes.
    digest: String,
    /// Where it is: host and path.
    target: String,
    /// Where it is served.
    url: String,
    /// What was left out of the package.
    dropped: Vec<String>,
}
