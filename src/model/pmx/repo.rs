//! `pmx/repo`: the project, its programs and its vaults on another host.

mod binary;
mod elf;
mod pattern;
mod place;
mod switch;
mod sync;
#[cfg(test)]
mod tests;
mod tree;

use std::collections::BTreeMap;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::model::contract::{Acts, At, Call, Context, Effect, Failure, Instance, MethodRow, Outcome, PhaseRow, SpecRow, TypeRow, Writes};
use crate::model::pmx::repo::pattern::Patterns;
use crate::model::pmx::repo::place::{Place, check_dir};
use crate::model::pmx::repo::sync::{SWITCH, SWITCH_DEADLINE, Sync, TRANSFER, TRANSFER_DEADLINE};
use crate::model::pmx::repo::tree::{Pick, tree};
use crate::model::remote::{SshGlobals, off};
use crate::model::schema::object;
use crate::value::Value;

const DOC: &str = r#"
The project on another host: its code, programs such as pmx itself, and its vaults.

```toml
type = "pmx/repo"

[global]
sshHost = '${{ model.fleet.resource.vm["slate"].attributes.ip }}'
remoteDir = "/opt/proxmox-manager"

[methods.syncCode]
excludes = ["*.md", "docs/drafts"]

[methods.syncBinary]
binaryName = "pmx"
```

`syncCode` makes `remoteDir` hold the files of the project. Contents are compared by digest: what is there already does not travel, not even when it has
moved to another path. Files that an earlier sync put there and that are gone from the project are removed. Nothing else over there is touched: what pmx
did not put there it neither removes nor minds, so a store, vaults, `.env` files and a `.git` below `remoteDir` live on.

These never travel: stores and vaults (as the Pmxfile and its profiles name them, `vaults/`, and whatever looks like a store), `.git`, `.env` and `.env.…`
(but `.env.example` does), private keys, directories with a CACHEDIR.TAG (`target/`), and what `excludes` names: a name at any depth (`*.log`) or a path
from the root (`docs/drafts`, `a/**/b`). Links travel as links when they lead to something in the project; others are left out, with a warning. Modes are
kept. A file that cannot be read ends the sync before anything is sent.

The old tree becomes the new one at once. Files travel into a stage below `remoteDir/.pmx`; when all are there and compared, one rename decides, and a
script on the host moves them into place whether or not the connection lasts. Cut before that, the old tree stands. If the host itself dies in those moments, the next sync ends the switch first.

`syncBinary` puts one program there; it builds nothing. It looks below `target/` in `x86_64-unknown-linux-musl/release`, `x86_64-unknown-linux-gnu/release`
(where `just release` leaves it) and `release`, or only in `sourceDir`. A program that needs a C library over there would start neither on Alpine nor in an
empty image: it is refused before anything travels, unless `dynamic = true` says that the library is there. `repo/binary` holds all programs that were put
there this way, each with its digest, and one digest over them.

`syncSecrets` sends the vault files that the Pmxfile names, readable by their owner alone. They stay sealed: whoever opens them over there needs the key of
this store, as a file or in PMX_STORE_KEY; that does not travel.

What goes wrong: a program that is not built or needs a library, a file that cannot be read or changes while it travels, a full disk and a cut connection end the sync with the
old files in place, and the failure says which it was.

Every call, as a step of a workflow:

```toml
[[step]]
name = "code"
call = "pmxRepo.syncCode"
with = { excludes = ["*.md"] }

[[step]]
name = "program"
call = "pmxRepo.syncBinary"
with = { binaryName = "pmx", remotePath = "/usr/local/bin/pmx" }

[[step]]
name = "vaults"
call = "pmxRepo.syncSecrets"
with = { folder = '${{ model.pmxRepo.resource.repo.code.attributes.remoteDir }}' }      # so it comes after the code
```
"#;

const HOST: &[Acts] = &[Acts { at: At::Host("sshHost"), shared: true }];
const PHASES: &[PhaseRow] = &[
    PhaseRow { name: TRANSFER, argument: None, seconds: TRANSFER_DEADLINE.as_secs() },
    PhaseRow { name: SWITCH, argument: None, seconds: SWITCH_DEADLINE.as_secs() },
];

const fn writes(instance: &'static str) -> Writes {
    Writes { spec: "repo", instance: Instance::Single(instance) }
}

/// The row of `pmx/repo`.
pub static TYPE: TypeRow = TypeRow {
    name: "pmx/repo",
    revision: 1,
    doc: DOC,
    globals: object::<Globals>,
    specs: &[SpecRow { name: "repo", doc: "What was put there.", attributes: object::<Repo>, observer: None, trust: None }],
    methods: &[
        MethodRow {
            name: "syncCode",
            doc: "Makes the directory hold the project's files. Only what differs travels; the old tree or the new one stands, never a mixture.",
            effect: Effect::Converge,
            by_command: false,
            arguments: object::<SyncCode>,
            writes: &[writes("code")],
            acts: HOST,
            fresh: Duration::ZERO,
            phases: PHASES,
            run: |ctx, call| Box::pin(sync_code(ctx, call)),
        },
        MethodRow {
            name: "syncBinary",
            doc: "Puts one program there. Does nothing when it is there already.",
            effect: Effect::Converge,
            by_command: false,
            arguments: object::<binary::SyncBinary>,
            writes: &[writes("binary")],
            acts: HOST,
            fresh: Duration::ZERO,
            phases: &[PhaseRow { name: TRANSFER, argument: None, seconds: TRANSFER_DEADLINE.as_secs() }],
            run: |ctx, call| Box::pin(binary::sync_binary(ctx, call)),
        },
        MethodRow {
            name: "syncSecrets",
            doc: "Sends the project's sealed vault files.",
            effect: Effect::Converge,
            by_command: false,
            arguments: object::<SyncSecrets>,
            writes: &[writes("secrets")],
            acts: HOST,
            fresh: Duration::ZERO,
            phases: PHASES,
            run: |ctx, call| Box::pin(sync_secrets(ctx, call)),
        },
    ],
};

/// Which host, as whom, where.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Globals {
    /// The host, the user, the port.
    #[serde(flatten)]
    ssh: SshGlobals,
    /// The project's directory over there: an absolute path, or one that begins with `~/`.
    remote_dir: String,
}

#[derive(Deserialize, JsonSchema)]
struct SyncCode {
    /// What stays here: names at any depth, such as `*.log`, or paths from the root, such as `docs/drafts`.
    #[serde(default)]
    excludes: Vec<String>,
}

#[derive(Deserialize, JsonSchema)]
struct SyncSecrets {
    /// The directory over there; null means `remoteDir`. Taken from `repo/code` it makes this call come after the code.
    #[serde(default)]
    folder: Option<String>,
}

/// What was put there.
#[derive(Default, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Repo {
    /// The host.
    host: String,
    /// The directory.
    remote_dir: String,
    /// How many files are there.
    files: u64,
    /// Bytes in all of them.
    bytes: u64,
    /// How many the last sync put in place.
    moved: u64,
    /// How many the last sync removed.
    deleted: u64,
    /// One digest over paths, modes and contents.
    digest: String,
    /// `binary`: each program by its name.
    #[serde(skip_serializing_if = "Option::is_none")]
    binaries: Option<BTreeMap<String, binary::Binary>>,
}

fn value(typed: &impl Serialize) -> Result<Value, Failure> {
    Value::from_typed(typed).map_err(|e| Failure::bug(format!("attributes: {e}")))
}

async fn sync_code(ctx: &Context, call: Call) -> Result<Outcome, Failure> {
    let (globals, arguments) = call.typed::<Globals, SyncCode>()?;
    let excludes = Patterns::new(&arguments.excludes)?;
    let dir = check_dir(&globals.remote_dir)?;
    sync(ctx, &globals, dir, (Pick::Code, excludes)).await
}

async fn sync_secrets(ctx: &Context, call: Call) -> Result<Outcome, Failure> {
    let (globals, arguments) = call.typed::<Globals, SyncSecrets>()?;
    let dir = check_dir(arguments.folder.as_deref().unwrap_or(&globals.remote_dir))?;
    sync(ctx, &globals, dir, (Pick::Secrets, Patterns::default())).await
}

async fn sync(ctx: &Context, globals: &Globals, dir: String, (pick, excludes): (Pick, Patterns)) -> Result<Outcome, Failure> {
    let kind = match pick {
        Pick::Code => "code",
        Pick::Secrets => "secrets",
    };
    let remote = globals.ssh.remote(ctx).ok_or_else(|| off(ctx))?;
    let tree = tree(ctx.root.clone(), pick, excludes).await?;
    for sentence in &tree.left {
        ctx.reporter.warn(sentence);
    }
    let host = remote.target.host.clone();
    let sync = Sync { place: Place { remote, dir: dir.clone() }, kind, tree: &tree };
    let done = sync.run().await?;
    let files = tree.entries.len() as u64;
    let repo = Repo {
        host: host.clone(),
        remote_dir: dir.clone(),
        files,
        bytes: tree.bytes(),
        moved: done.moved,
        deleted: done.deleted,
        digest: tree.digest().to_string(),
        binaries: None,
    };
    let outcome = if done.moved + done.deleted == 0 {
        Outcome::unchanged(format!("{host}:{dir} has all {files} files already"))
    } else {
        let (moved, deleted, bytes) = (done.moved, done.deleted, done.bytes);
        Outcome::changed(format!("moved {moved} of {files} files to {host}:{dir}, {bytes} bytes; removed {deleted}"))
    };
    Ok(outcome.write("repo", kind, value(&repo)?))
}
