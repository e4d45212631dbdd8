//! What of the project travels: its code, or its vault files when they are asked for, and never what belongs to one machine.
#![expect(clippy::disallowed_methods, reason = "the project's own files are what is sent")]

use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Component, Path, PathBuf};

use crate::digest::{Digest, Fields};
use crate::lang::pmxfile::{self, VaultKind};
use crate::model::contract::Failure;
use crate::model::local::sha256_of;
use crate::model::pmx::repo::pattern::Patterns;
use crate::source::Source;

/// More is a mistake in the root.
const MOST: usize = 200_000;
/// Files whose first line is longer than this are no private keys.
const FIRST_LINE: u64 = 80;
/// Environment files that are there to be read by everybody.
const EXAMPLES: [&str; 4] = [".env.example", ".env.sample", ".env.template", ".env.dist"];

/// What is to travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pick {
    /// Everything but secrets and what belongs to this machine.
    Code,
    /// The vault files that the Pmxfile names.
    Secrets,
}

/// One file or link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Path below the root, with `/`.
    pub path: String,
    /// Permission bits.
    pub mode: u32,
    /// What it is.
    pub what: What,
}

/// What an entry is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// A regular file.
    File {
        /// Where it is.
        full: PathBuf,
        /// Size in bytes.
        size: u64,
        /// SHA-256 of the content in hex.
        sha256: String,
    },
    /// A symbolic link that stays within the tree, with its target as written.
    Link(String),
}

/// All that travels.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tree {
    /// Files and links, by path.
    pub entries: Vec<Entry>,
    /// What is left out though nothing says so, in sentences.
    pub left: Vec<String>,
}

impl Tree {
    /// Bytes in all files.
    pub fn bytes(&self) -> u64 {
        self.entries.iter().map(Entry::size).sum()
    }

    /// One digest over paths, modes and contents.
    pub fn digest(&self) -> Digest {
        let mut digester = Fields::new("pmx repo 1");
        for entry in &self.entries {
            digester.text(&entry.path).number(entry.mode.into());
            match &entry.what {
                What::File { sha256, .. } => digester.text("file").text(sha256),
                What::Link(target) => digester.text("link").text(target),
            };
        }
        digester.finish()
    }
}

impl Entry {
    fn size(&self) -> u64 {
        match &self.what {
            What::File { size, .. } => *size,
            What::Link(_) => 0,
        }
    }
}

/// Reads the project below `root`.
pub async fn tree(root: PathBuf, pick: Pick, excludes: Patterns) -> Result<Tree, Failure> {
    let read = tokio::task::spawn_blocking(move || Walk::of(root, excludes)?.read(pick));
    read.await.map_err(|e| Failure::bug(format!("reading the project: {e}")))?
}

/// One reading of the project.
struct Walk {
    root: PathBuf,
    excludes: Patterns,
    /// Directories of stores, as the Pmxfile and its profiles say.
    stores: Vec<PathBuf>,
    /// Vault files, as the Pmxfile says.
    vaults: Vec<PathBuf>,
    /// Directories of nothing but vaults.
    vault_dirs: Vec<PathBuf>,
    found: Tree,
}

fn bad(path: &Path, error: &std::io::Error) -> Failure {
    Failure::yours(format!("{}: {error}", path.display())).help("nothing was sent; `excludes` leaves something out")
}

impl Walk {
    fn of(root: PathBuf, excludes: Patterns) -> Result<Self, Failure> {
        let file = root.join("Pmxfile.toml");
        let text = std::fs::read_to_string(&file).map_err(|e| bad(&file, &e))?;
        let (pmxfile, _) = pmxfile::parse(&Source::new("Pmxfile.toml", text));
        let pmxfile = pmxfile.ok_or_else(|| Failure::yours(format!("{} cannot be read: `pmx check` says why", file.display())))?;
        let mut walk = Self {
            stores: vec![root.join(&pmxfile.store)],
            vaults: Vec::new(),
            vault_dirs: vec![root.join("vaults")],
            found: Tree::default(),
            excludes,
            root,
        };
        for profile in pmxfile.profiles.values() {
            walk.stores.extend(profile.store.iter().map(|store| walk.root.join(store)));
            walk.vault_dirs.extend(profile.vaults.iter().map(|dir| walk.root.join(dir)));
        }
        for vault in pmxfile.vaults.values() {
            if let VaultKind::File(path) = &vault.kind {
                walk.vaults.push(walk.root.join(path));
            }
        }
        Ok(walk)
    }

    fn read(mut self, pick: Pick) -> Result<Tree, Failure> {
        match pick {
            Pick::Code => self.code()?,
            Pick::Secrets => self.secrets()?,
        }
        self.found.entries.sort_by(|a, b| a.path.cmp(&b.path));
        self.found.left.sort();
        Ok(self.found)
    }

    fn secrets(&mut self) -> Result<(), Failure> {
        for full in std::mem::take(&mut self.vaults) {
            let Ok(path) = full.strip_prefix(&self.root) else {
                self.found.left.push(format!("{} is left out: it lies outside of the project", full.display()));
                continue;
            };
            let path = path.display().to_string();
            match std::fs::metadata(&full) {
                // Whatever it is here: there it is for its owner alone.
                Ok(meta) if meta.is_file() => self.add_file(full, path, 0o600)?,
                Ok(_) => self.found.left.push(format!("{path} is left out: it is no file")),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                    self.found.left.push(format!("{path} is left out: there is no such file yet; `pmx vault set` makes it"));
                }
                Err(error) => return Err(bad(&full, &error)),
            }
        }
        Ok(())
    }

    fn code(&mut self) -> Result<(), Failure> {
        let mut open = vec![(self.root.clone(), String::new())];
        while let Some((dir, prefix)) = open.pop() {
            for entry in std::fs::read_dir(&dir).map_err(|e| bad(&dir, &e))? {
                let entry = entry.map_err(|e| bad(&dir, &e))?;
                let full = entry.path();
                let name = entry.file_name().into_string().map_err(|name| {
                    let message = format!("{}: the name {name:?} is not UTF-8, and it would arrive as another", dir.display());
                    Failure::yours(message).help("rename it, or name its directory under `excludes`")
                })?;
                let path = format!("{prefix}{name}");
                let kind = entry.file_type().map_err(|e| bad(&full, &e))?;
                if self.stays(&name, &path, &full) {
                    continue;
                }
                if kind.is_dir() {
                    if !is_kept_apart(&full) {
                        open.push((full, format!("{path}/")));
                    }
                } else if kind.is_symlink() {
                    self.add_link(&full, path)?;
                } else if !kind.is_file() {
                    self.found.left.push(format!("{path} is left out: it is neither a file nor a link"));
                } else if is_private_key(&full).map_err(|e| bad(&full, &e))? {
                    self.found.left.push(format!("{path} is left out: it is a private key"));
                } else {
                    let mode = entry.metadata().map_err(|e| bad(&full, &e))?.permissions().mode() & 0o7777;
                    self.add_file(full, path, mode)?;
                }
                if self.found.entries.len() > MOST {
                    let message = format!("{}: more than {MOST} files", self.root.display());
                    return Err(Failure::yours(message).help("`excludes` leaves a directory out"));
                }
            }
        }
        Ok(())
    }

    /// Whether it belongs to this machine, is a secret, or is excluded.
    fn stays(&self, name: &str, path: &str, full: &Path) -> bool {
        let environment = (name == ".env" || name.starts_with(".env.")) && !EXAMPLES.contains(&name);
        let known = |list: &[PathBuf]| list.iter().any(|one| one == full);
        name == ".git"
            || name == ".pmx"
            || environment
            || known(&self.stores)
            || known(&self.vaults)
            || known(&self.vault_dirs)
            || self.excludes.fit(path)
    }

    fn add_file(&mut self, full: PathBuf, path: String, mode: u32) -> Result<(), Failure> {
        let (size, sha256) = sha256_of(&full).map_err(|e| bad(&full, &e))?;
        self.found.entries.push(Entry { path, mode, what: What::File { full, size, sha256 } });
        Ok(())
    }

    fn add_link(&mut self, full: &Path, path: String) -> Result<(), Failure> {
        let target = std::fs::read_link(full).map_err(|e| bad(full, &e))?;
        match target.to_str().filter(|target| stays_inside(&path, target)) {
            Some(target) => self.found.entries.push(Entry { path, mode: 0o777, what: What::Link(target.to_owned()) }),
            None => self.found.left.push(format!("{path} is left out: it is a link to {}, outside of the project", target.display())),
        }
        Ok(())
    }
}

/// Whether the link `path` leads to something below the root, by its text alone.
fn stays_inside(path: &str, target: &str) -> bool {
    let mut depth = path.matches('/').count();
    for part in Path::new(target).components() {
        match part {
            Component::Normal(_) => depth += 1,
            Component::CurDir => {}
            Component::ParentDir if depth > 0 => depth -= 1,
            Component::ParentDir | Component::RootDir | Component::Prefix(_) => return false,
        }
    }
    true
}

/// A store wherever it lies, and a directory that its own program marks as one that can be made again.
fn is_kept_apart(dir: &Path) -> bool {
    let has = |name: &str| std::fs::symlink_metadata(dir.join(name)).is_ok_and(|meta| meta.is_file());
    has("CACHEDIR.TAG") || has("FORMAT") && has("index.db")
}

/// By its first line: what people call it says nothing.
fn is_private_key(full: &Path) -> std::io::Result<bool> {
    let mut head = Vec::new();
    std::fs::File::open(full)?.take(FIRST_LINE).read_to_end(&mut head)?;
    let line = String::from_utf8_lossy(head.split(|byte| *byte == b'\n').next().unwrap_or_default()).into_owned();
    Ok(line.starts_with("-----BEGIN ") && line.contains("PRIVATE KEY-----"))
}
