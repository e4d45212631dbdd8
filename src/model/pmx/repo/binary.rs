//! `syncBinary`: one program on the far side, and the record of all that were put there.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::digest::Fields;
use crate::model::contract::{Call, Context, Failure, Outcome};
use crate::model::local::{beginning, digests, source};
use crate::model::pmx::repo::elf;
use crate::model::pmx::repo::place::check_dir;
use crate::model::pmx::repo::sync::{TRANSFER, TRANSFER_DEADLINE};
use crate::model::pmx::repo::{Globals, Repo, value};
use crate::model::remote::{Remote, off};
use crate::value::Value;
use crate::wire::ssh::{Content, Upload};

/// Where cargo leaves a program, best first: one that needs no library runs on Alpine and in an empty container too.
const BUILT: [&str; 3] = ["target/x86_64-unknown-linux-musl/release", "target/x86_64-unknown-linux-gnu/release", "target/release"];

/// Builds such a program.
const BUILD: &str = "just release";

#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SyncBinary {
    /// The program's name.
    #[serde(default = "pmx")]
    #[schemars(regex(pattern = r"^[A-Za-z0-9][A-Za-z0-9._-]*$"))]
    binary_name: String,
    /// The file over there, below `remoteDir` unless it is absolute or begins with `~/`; null means `bin/<binaryName>`.
    #[serde(default)]
    remote_path: Option<String>,
    /// The directory here that holds the program, below the project; null means where cargo leaves release builds.
    #[serde(default)]
    source_dir: Option<String>,
    /// Send it although it starts only where the C library is that it was built with, which is neither on Alpine nor in an empty image.
    #[serde(default)]
    dynamic: bool,
}

fn pmx() -> String {
    "pmx".to_owned()
}

/// One program.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Binary {
    /// The file over there.
    path: String,
    /// Size in bytes.
    bytes: u64,
    /// `sha256:…`.
    digest: String,
}

/// `syncBinary(binaryName, remotePath, sourceDir)`.
pub(super) async fn sync_binary(ctx: &Context, call: Call) -> Result<Outcome, Failure> {
    let (globals, arguments) = call.typed::<Globals, SyncBinary>()?;
    let dir = check_dir(&globals.remote_dir)?;
    let name = arguments.binary_name.as_str();
    let full = find(&ctx.root, name, arguments.source_dir.as_deref())?;
    let path = remote_path(&dir, arguments.remote_path.as_deref().unwrap_or(&format!("bin/{name}")))?;
    if !arguments.dynamic {
        needs_nothing(&ctx.root, &full).await?;
    }
    let remote = globals.ssh.remote(ctx).ok_or_else(|| off(ctx))?;
    let host = remote.target.host.clone();
    let local = source(full.clone()).await?.files.into_iter().next();
    let local = local.ok_or_else(|| absent(&ctx.root, name, arguments.source_dir.as_deref()))?;
    let digest = format!("sha256:{}", digests(vec![full.clone()]).await?.concat());
    let binary = Binary { path: path.clone(), bytes: local.size, digest: digest.clone() };
    let changed = read(&remote, &path).await? != Some(binary.clone());
    if changed {
        ctx.reporter.phase(TRANSFER, Some(TRANSFER_DEADLINE));
        let file = Upload { content: Content::File(full), dest: path.clone(), mode: 0o755 };
        remote.files(remote.upload(vec![file], TRANSFER_DEADLINE), true).await?;
        if read(&remote, &path).await.map_err(Failure::maybe_acted)? != Some(binary.clone()) {
            let message = format!("{host}:{path} was written, but reads differently afterwards");
            return Err(Failure::theirs(message).help("did a build replace the program meanwhile?").maybe_acted());
        }
    }
    let mut binaries = others(&remote, name).await.map_err(|failure| if changed { failure.maybe_acted() } else { failure })?;
    binaries.insert(name.to_owned(), binary);
    let repo = record(&host, dir, binaries, changed);
    let outcome = if changed {
        Outcome::changed(format!("put {name}, {} bytes, at {host}:{path}", local.size))
    } else {
        Outcome::unchanged(format!("{host}:{path} is this {name} already"))
    };
    Ok(outcome.write("repo", "binary", value(&repo)?))
}

fn record(host: &str, dir: String, binaries: BTreeMap<String, Binary>, changed: bool) -> Repo {
    let mut digester = Fields::new("pmx binaries 1");
    for (name, binary) in &binaries {
        digester.text(name).text(&binary.path).text(&binary.digest);
    }
    Repo {
        host: host.to_owned(),
        remote_dir: dir,
        files: binaries.len() as u64,
        bytes: binaries.values().map(|binary| binary.bytes).sum(),
        moved: changed.into(),
        deleted: 0,
        digest: digester.finish().to_string(),
        binaries: Some(binaries),
    }
}

fn absent(root: &Path, name: &str, source_dir: Option<&str>) -> Failure {
    let places: Vec<String> = match source_dir {
        Some(dir) => vec![format!("{}/{name}", dir.trim_end_matches('/'))],
        None => BUILT.iter().map(|dir| format!("{dir}/{name}")).collect(),
    };
    let message = format!("there is no program `{name}` to send: {} has no {}", root.display(), places.join(" and no "));
    Failure::yours(message).help(format!("`{BUILD}` first; it builds what belongs there, pmx sends it"))
}

/// Refuses a program that would not start over there, before anything travels.
async fn needs_nothing(root: &Path, full: &Path) -> Result<(), Failure> {
    let Some(loader) = elf::loader(&beginning(full.to_path_buf(), elf::BEGINNING).await?) else { return Ok(()) };
    let shown = full.strip_prefix(root).unwrap_or(full).display();
    let message =
        format!("{shown} needs a C library to start ({loader}): on Alpine and in an empty image it does not run; nothing was sent");
    Err(Failure::yours(message).help(format!("`{BUILD}` builds one that needs nothing; `dynamic = true` sends it all the same")))
}

fn find(root: &Path, name: &str, source_dir: Option<&str>) -> Result<PathBuf, Failure> {
    // The language checks the pattern only of what is written down, not of what is computed.
    if name.is_empty() || name.starts_with(['.', '-']) || !name.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c)) {
        return Err(Failure::yours(format!("`{}` is no name of a program", name.escape_debug())));
    }
    let dirs = source_dir.map_or_else(|| BUILT.to_vec(), |dir| vec![dir]);
    let found = dirs.into_iter().map(|dir| root.join(dir).join(name)).find(|path| path.is_file());
    found.ok_or_else(|| absent(root, name, source_dir))
}

fn remote_path(dir: &str, path: &str) -> Result<String, Failure> {
    let whole = if path.starts_with(['/', '~']) { path.to_owned() } else { format!("{dir}/{path}") };
    if whole.ends_with('/') {
        return Err(Failure::yours(format!("`{path}` is no path of a file: it ends with `/`")));
    }
    check_dir(&whole).map_err(|_| Failure::yours(format!("`{}` is no path of a file over there", path.escape_debug())))
}

/// A program as it is there; one that others may not run is not it.
async fn read(remote: &Remote<'_>, path: &str) -> Result<Option<Binary>, Failure> {
    let file = remote.file(path).await?.filter(|file| file.mode == 0o755);
    Ok(file.and_then(|file| Some(Binary { path: path.to_owned(), bytes: file.size, digest: format!("sha256:{}", file.sha256?) })))
}

/// The other programs that were put there, as far as they still are.
async fn others(remote: &Remote<'_>, name: &str) -> Result<BTreeMap<String, Binary>, Failure> {
    let before = remote.ctx.previous.get(&("repo".to_owned(), "binary".to_owned())).and_then(|repo| repo.get("binaries"));
    let Some(Value::Map(before)) = before else { return Ok(BTreeMap::new()) };
    let mut there = BTreeMap::new();
    for (other, value) in before.iter().filter(|(other, _)| other.as_str() != name) {
        let Ok(known) = value.clone().into_typed::<Binary>() else { continue };
        match read(remote, &known.path).await? {
            Some(binary) => drop(there.insert(other.clone(), binary)),
            None => remote.ctx.reporter.warn(&format!("{}: {other} is no longer at {}", remote.target.host, known.path)),
        }
    }
    Ok(there)
}
