//! `ssh/host`: commands and files on any host that speaks SSH.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::digest::{Digest, Fields};
use crate::model::contract::{Acts, At, Call, Context, Effect, Failure, Instance, MethodRow, Outcome, PhaseRow, SpecRow, TypeRow, Writes};
use crate::model::local::{LocalFile, digests, sha256, source};
use crate::model::remote::{Host, Remote, off};
use crate::model::schema::object;
use crate::secret::Secret;
use crate::value::Value;
use crate::wire::command::Command;
use crate::wire::ssh::{Content, Exec, RemoteFile, Upload};

const DOC: &str = r#"
Any host that speaks SSH: run a command, put a file there, send a directory, wait until it answers.

```toml
type = "ssh/host"

[global]
host = '${{ model.fleet.resource.vm[inputs.vmName].attributes.ip }}'
user = "root"

[methods.exec]
timeout = 300
```

`exec` runs a shell command; any exit code but 0 is a failure that shows the last lines of standard error. `writeFile` takes its content as a secret: it
travels over standard input of the transfer, never in a command, and what is stored of it is a keyed digest. `upload` sends only the files that differ and
keeps their modes; it removes nothing.

A `host` that is null or empty means that the VM is off: every method says so and fails.

What goes wrong: a host key that is not the one of before is refused, and never pinned anew by itself. A host that refuses the connection, as one that just
boots does, is tried again for a quarter of a minute by all but `exec`. A command that outlives its `timeout` is ended with all its children. A file appears
at `dest` whole or not at all, also when the connection is cut or the disk is full. `exec` cannot know what its command does: it runs again each time, and
a run that is resumed asks before it repeats one that may have run.

Every call, as a step of a workflow, of a definition `shell`; `vmName` is what its `host` reads:

```toml
[[step]]
name = "wait"
call = "shell.waitForConnection"
with = { vmName = "web", timeout = 120 }

[[step]]
name = "settings"
call = "shell.writeFile"
with = { vmName = "web", dest = "/etc/web.conf", content = "port = 80", mode = "0644" }

[[step]]
name = "site"
call = "shell.upload"
with = { vmName = "web", source = "config", dest = "/srv/web" }

[[step]]
name = "kernel"
call = "shell.exec"
with = { vmName = "web", command = "uname -r", as = "kernel" }
```
"#;

const RESULT: Writes = Writes { spec: "result", instance: Instance::Single("result") };
const HOST: Acts = Acts { at: At::Host("host"), shared: false };
const SHARED: Acts = Acts { at: At::Host("host"), shared: true };
const DEST: Acts = Acts { at: At::File("host", "dest"), shared: false };
/// How long a transfer may take.
const TRANSFER: Duration = Duration::from_secs(1800);
const TRANSFER_PHASE: &str = "the transfer";

/// The row of `ssh/host`.
pub static TYPE: TypeRow = TypeRow {
    name: "ssh/host",
    revision: 1,
    doc: DOC,
    globals: object::<Globals>,
    specs: &[
        SpecRow { name: "result", doc: "What a command or transfer left.", attributes: object::<Results>, observer: None, trust: None },
        SpecRow { name: "file", doc: "A file as it was written.", attributes: object::<File>, observer: None, trust: None },
    ],
    methods: &[
        MethodRow {
            name: "exec",
            doc: "Runs a shell command. An exit code other than 0 is a failure.",
            effect: Effect::Act,
            by_command: true,
            arguments: object::<ExecArguments>,
            writes: &[Writes { spec: "result", instance: Instance::Argument("as") }],
            acts: &[HOST],
            fresh: Duration::ZERO,
            phases: &[PhaseRow { name: "the command", argument: Some("timeout"), seconds: 60 }],
            run: |ctx, call| Box::pin(exec(ctx, call)),
        },
        MethodRow {
            name: "writeFile",
            doc: "Makes a file hold exactly this content, with this mode. Does nothing when it is so.",
            effect: Effect::Converge,
            by_command: false,
            arguments: object::<WriteFile>,
            writes: &[Writes { spec: "file", instance: Instance::Argument("dest") }],
            acts: &[SHARED, DEST],
            fresh: Duration::ZERO,
            phases: &[PhaseRow { name: TRANSFER_PHASE, argument: None, seconds: TRANSFER.as_secs() }],
            run: |ctx, call| Box::pin(write_file(ctx, call)),
        },
        MethodRow {
            name: "upload",
            doc: "Sends a local file or directory. Only files that differ travel; each arrives whole or not at all.",
            effect: Effect::Converge,
            by_command: false,
            arguments: object::<UploadArguments>,
            writes: &[RESULT],
            acts: &[SHARED, DEST],
            fresh: Duration::ZERO,
            phases: &[PhaseRow { name: TRANSFER_PHASE, argument: None, seconds: TRANSFER.as_secs() }],
            run: |ctx, call| Box::pin(upload(ctx, call)),
        },
        MethodRow {
            name: "waitForConnection",
            doc: "Waits until a login works.",
            effect: Effect::Observe,
            by_command: false,
            arguments: object::<WaitArguments>,
            writes: &[RESULT],
            acts: &[HOST],
            fresh: Duration::ZERO,
            phases: &[PhaseRow { name: "a login to work", argument: Some("timeout"), seconds: 60 }],
            run: |ctx, call| Box::pin(wait_for_connection(ctx, call)),
        },
    ],
};

/// Which host, as whom.
#[derive(Deserialize, JsonSchema)]
struct Globals {
    /// An address, a name, or an alias of the user's ssh config. Null or empty means that the VM is off.
    host: Host,
    /// The user; null means the ssh config's, else `root`.
    #[serde(default)]
    user: Option<String>,
    /// The port; null means the ssh config's, else 22.
    #[serde(default)]
    port: Option<u16>,
}

impl Globals {
    fn remote<'a>(&self, ctx: &'a Context) -> Result<Remote<'a>, Failure> {
        Remote::at(ctx, &self.host, self.user.as_deref(), self.port).ok_or_else(|| off(ctx))
    }
}

#[derive(Deserialize, JsonSchema)]
struct ExecArguments {
    /// A command for the remote user's shell.
    command: String,
    /// Seconds after which it is ended and the call fails.
    #[serde(default = "one_minute")]
    #[schemars(range(min = 1))]
    timeout: u64,
    /// The name of the result, for definitions that run several commands.
    #[serde(default = "result", rename = "as")]
    name: String,
}

#[derive(Deserialize, JsonSchema)]
struct WriteFile {
    /// The remote path; a leading `~/` is the user's home. Directories are made.
    dest: String,
    /// The whole content; a secret.
    content: Secret,
    /// Permission bits in octal.
    #[serde(default = "private")]
    #[schemars(regex(pattern = r"^0?[0-7]{3,4}$"))]
    mode: String,
}

#[derive(Deserialize, JsonSchema)]
struct UploadArguments {
    /// A local file or directory, relative to the project.
    source: String,
    /// The remote path. A directory's files land below it; a file takes its place, or lands in it when the path ends with `/`.
    dest: String,
}

#[derive(Deserialize, JsonSchema)]
struct WaitArguments {
    /// Seconds to wait at most.
    #[serde(default = "one_minute")]
    #[schemars(range(min = 1))]
    timeout: u64,
}

/// What a command or transfer left: the fields of the other kind are missing.
#[derive(Default, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Results {
    /// Where it was.
    host: String,
    /// `exec`: the command.
    #[serde(skip_serializing_if = "Option::is_none")]
    command: Option<String>,
    /// `exec`: its standard output, the last MiB.
    #[serde(skip_serializing_if = "Option::is_none")]
    stdout: Option<String>,
    /// `exec`: its standard error, the last MiB.
    #[serde(skip_serializing_if = "Option::is_none")]
    stderr: Option<String>,
    /// `exec`: its exit code.
    #[serde(skip_serializing_if = "Option::is_none")]
    exit_code: Option<i32>,
    /// `upload`: bytes in all files.
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes: Option<u64>,
    /// `upload`: how many files.
    #[serde(skip_serializing_if = "Option::is_none")]
    files: Option<u64>,
    /// `upload`: one digest over the paths, modes and contents of all files.
    #[serde(skip_serializing_if = "Option::is_none")]
    digest: Option<String>,
}

/// A file as it was written.
#[derive(Serialize, JsonSchema)]
struct File {
    /// Size in bytes.
    bytes: u64,
    /// Changes whenever the content does, and tells nobody what it is: a digest keyed with what only the runner knows.
    digest: String,
    /// Permission bits in octal.
    mode: String,
    /// Where it was.
    host: String,
}

fn one_minute() -> u64 {
    60
}
fn result() -> String {
    "result".to_owned()
}
fn private() -> String {
    "0600".to_owned()
}

fn value(typed: &impl Serialize) -> Result<Value, Failure> {
    Value::from_typed(typed).map_err(|e| Failure::bug(format!("attributes: {e}")))
}

async fn exec(ctx: &Context, call: Call) -> Result<Outcome, Failure> {
    let (globals, arguments) = call.typed::<Globals, ExecArguments>()?;
    let remote = globals.remote(ctx)?;
    let deadline = Duration::from_secs(arguments.timeout);
    ctx.reporter.phase("the command", Some(deadline));
    let output = remote.act(Exec::new(Command::script(arguments.command.as_str()), deadline)).await?;
    if output.status != 0 {
        return Err(remote.failed(&format!("`{}`", arguments.command), &output).maybe_acted());
    }
    let host = remote.target.host;
    let summary = format!("ran `{}` on {host}", arguments.command);
    let results = Results {
        host,
        command: Some(arguments.command),
        stdout: Some(output.stdout),
        stderr: Some(output.stderr),
        exit_code: Some(output.status),
        ..Results::default()
    };
    Ok(Outcome::changed(summary).write("result", arguments.name, value(&results)?))
}

async fn write_file(ctx: &Context, call: Call) -> Result<Outcome, Failure> {
    let (globals, arguments) = call.typed::<Globals, WriteFile>()?;
    let mode = u32::from_str_radix(&arguments.mode, 8).ok().filter(|mode| *mode <= 0o7777);
    let mode = mode.ok_or_else(|| Failure::yours(format!("`{}` is no mode: three or four octal digits, such as 0600", arguments.mode)))?;
    let remote = globals.remote(ctx)?;
    let bytes = arguments.content.expose().len() as u64;
    let wanted = sha256(arguments.content.expose().as_bytes());
    let fits = |file: Option<RemoteFile>| file.is_some_and(|file| file.sha256.as_deref() == Some(wanted.as_str()) && file.mode == mode);
    let label = format!("{}:{}", remote.target.host, arguments.dest);
    let changed = !fits(remote.file(&arguments.dest).await?);
    if changed {
        let file = Upload { content: Content::Secret(arguments.content.clone()), dest: arguments.dest.clone(), mode };
        send(&remote, vec![file]).await?;
        if !fits(remote.file(&arguments.dest).await.map_err(Failure::maybe_acted)?) {
            return Err(Failure::theirs(format!("{label} was written, but reads differently afterwards")).maybe_acted());
        }
    }
    let digest = ctx.credentials.keyed_digest(&arguments.content);
    let file = File { bytes, digest: digest.to_string(), mode: format!("{mode:04o}"), host: remote.target.host.clone() };
    let outcome = if changed {
        Outcome::changed(format!("wrote {label}, {bytes} bytes"))
    } else {
        Outcome::unchanged(format!("{label} holds that already"))
    };
    Ok(outcome.write("file", arguments.dest, value(&file)?))
}

async fn upload(ctx: &Context, call: Call) -> Result<Outcome, Failure> {
    let (globals, arguments) = call.typed::<Globals, UploadArguments>()?;
    let remote = globals.remote(ctx)?;
    ctx.reporter.phase(TRANSFER_PHASE, Some(TRANSFER));
    let local = source(ctx.root.join(&arguments.source)).await?;
    for path in &local.skipped {
        ctx.reporter.warn(&format!("{}/{path} is left out: it is neither a file nor a link to one", arguments.source));
    }
    if local.files.is_empty() {
        return Err(Failure::yours(format!("`{}` holds no files", arguments.source)));
    }
    let dir = arguments.dest.trim_end_matches('/');
    let into = local.is_dir || arguments.dest.ends_with('/');
    let dest = |file: &LocalFile| if into { format!("{dir}/{}", file.path) } else { arguments.dest.clone() };
    let there = there(&remote, &local.files, &dest, local.is_dir.then_some(dir)).await?;
    let mut sums = sums(&local.files, |file| there.contains_key(&dest(file))).await?;
    let same =
        |file: &LocalFile| there.get(&dest(file)).is_some_and(|(mode, sha256)| *mode == file.mode && sums.get(&file.path) == Some(sha256));
    let travel: Vec<&LocalFile> = local.files.iter().filter(|file| !same(file)).collect();
    let bytes: u64 = travel.iter().map(|file| file.size).sum();
    let uploads = travel.iter().map(|file| Upload { content: Content::File(file.full.clone()), dest: dest(file), mode: file.mode });
    let uploads: Vec<Upload> = uploads.collect();
    let count = uploads.len();
    if count > 0 {
        let sent = send(&remote, uploads).await?;
        sums.extend(travel.iter().map(|file| file.path.clone()).zip(sent));
    }
    let results = Results {
        host: remote.target.host.clone(),
        bytes: Some(local.files.iter().map(|file| file.size).sum()),
        files: Some(local.files.len() as u64),
        digest: Some(digest(&local.files, &sums).to_string()),
        ..Results::default()
    };
    let label = format!("{}:{}", remote.target.host, arguments.dest);
    let outcome = if count == 0 {
        Outcome::unchanged(format!("{label} has all {} files already", local.files.len()))
    } else {
        Outcome::changed(format!("sent {count} of {} files, {bytes} bytes, to {label}", local.files.len()))
    };
    Ok(outcome.write("result", "result", value(&results)?))
}

/// Mode and SHA-256 of what is there already, by remote path: one listing for a directory, one look for a file.
async fn there(
    remote: &Remote<'_>,
    files: &[LocalFile],
    dest: &(dyn Fn(&LocalFile) -> String + Send + Sync),
    dir: Option<&str>,
) -> Result<BTreeMap<String, (u32, String)>, Failure> {
    let mut there = BTreeMap::new();
    let mut add = |path: String, file: RemoteFile| file.sha256.map(|sha256| there.insert(path, (file.mode, sha256)));
    match dir {
        Some(dir) => {
            let listed = remote.files(remote.ctx.wire.ssh.list(&remote.target, dir, true, TRANSFER), false).await?;
            for file in listed {
                add(format!("{dir}/{}", file.path), file);
            }
        }
        None => {
            for path in files.iter().map(dest) {
                if let Some(file) = remote.file(&path).await? {
                    add(path, file);
                }
            }
        }
    }
    Ok(there)
}

/// SHA-256 by path of those files that may be there already; the others are hashed as they travel.
async fn sums(files: &[LocalFile], there: impl Fn(&LocalFile) -> bool) -> Result<BTreeMap<String, String>, Failure> {
    let (paths, fulls): (Vec<String>, Vec<PathBuf>) =
        files.iter().filter(|file| there(file)).map(|file| (file.path.clone(), file.full.clone())).unzip();
    Ok(paths.into_iter().zip(digests(fulls).await?).collect())
}

async fn send(remote: &Remote<'_>, files: Vec<Upload>) -> Result<Vec<String>, Failure> {
    remote.ctx.reporter.phase(TRANSFER_PHASE, Some(TRANSFER));
    remote.files(remote.upload(files, TRANSFER), true).await
}

fn digest(files: &[LocalFile], sums: &BTreeMap<String, String>) -> Digest {
    let mut digester = Fields::new("pmx upload 1");
    for file in files {
        digester.text(&file.path).number(file.mode.into()).text(sums.get(&file.path).map_or("", String::as_str));
    }
    digester.finish()
}

async fn wait_for_connection(ctx: &Context, call: Call) -> Result<Outcome, Failure> {
    let (globals, arguments) = call.typed::<Globals, WaitArguments>()?;
    let remote = globals.remote(ctx)?;
    let deadline = Duration::from_secs(arguments.timeout);
    ctx.reporter.phase("a login to work", Some(deadline));
    remote.files(ctx.wire.ssh.wait(&remote.target, deadline), false).await?;
    let results = Results { host: remote.target.host.clone(), ..Results::default() };
    Ok(Outcome::unchanged(format!("{} answers", remote.target.host)).write("result", "result", value(&results)?))
}
