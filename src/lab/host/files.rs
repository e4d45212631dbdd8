//! The in-memory file system of a practice machine.
//!
//! Paths are absolute and normalised; there is no way from them to a file of the machine that runs the lab. Ownership is kept and shown, permissions
//! are kept and shown but not enforced: nothing in the practice fleet depends on being refused.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::time;

/// The most that one machine holds, in bytes.
pub const CAPACITY: u64 = 256 << 20;
/// The most files, directories and links that one machine holds.
pub const MAX_NODES: usize = 100_000;
const MAX_PATH: usize = 4096;
const MAX_LINKS: usize = 40;

/// Why a file operation failed; the text is what a Linux tool prints after the path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FileError {
    /// ENOENT.
    #[error("No such file or directory")]
    NotFound,
    /// ENOTDIR.
    #[error("Not a directory")]
    NotDir,
    /// EISDIR.
    #[error("Is a directory")]
    IsDir,
    /// EEXIST.
    #[error("File exists")]
    Exists,
    /// ENOTEMPTY.
    #[error("Directory not empty")]
    NotEmpty,
    /// ENOSPC: the machine is full, or a fault says so.
    #[error("No space left on device")]
    NoSpace,
    /// ELOOP.
    #[error("Too many levels of symbolic links")]
    Loop,
    /// ENAMETOOLONG.
    #[error("File name too long")]
    TooLong,
    /// EINVAL, for example a rename of a directory into itself.
    #[error("Invalid argument")]
    Invalid,
}

/// What stands at a path.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A regular file.
    File(#[serde(with = "content")] Arc<Vec<u8>>),
    /// A directory.
    Dir,
    /// A symbolic link and its target, as written.
    Link(String),
}

/// A file, directory or link.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// What it is.
    pub kind: Kind,
    /// Permission bits, `0o644`.
    pub mode: u32,
    /// Owner's number.
    pub uid: u32,
    /// Group's number.
    pub gid: u32,
    /// Last change, seconds since 1970.
    pub mtime: i64,
}

impl Node {
    /// Size in bytes; directories have 4096 as on ext4.
    #[must_use]
    pub fn size(&self) -> u64 {
        match &self.kind {
            Kind::File(bytes) => bytes.len() as u64,
            Kind::Dir => 4096,
            Kind::Link(target) => target.len() as u64,
        }
    }

    /// Whether it is a directory.
    #[must_use]
    pub fn is_dir(&self) -> bool {
        matches!(self.kind, Kind::Dir)
    }

    /// `drwxr-xr-x`, as `ls -l` shows it.
    #[must_use]
    pub fn mode_text(&self) -> String {
        let first = match self.kind {
            Kind::File(_) => '-',
            Kind::Dir => 'd',
            Kind::Link(_) => 'l',
        };
        let bits = (0..9).rev().zip("rwxrwxrwx".chars()).map(|(bit, letter)| if self.mode >> bit & 1 == 1 { letter } else { '-' });
        std::iter::once(first).chain(bits).collect()
    }
}

/// All files of one machine.
#[derive(Serialize, Deserialize, Clone, Debug)]
pub struct Files {
    nodes: BTreeMap<String, Node>,
    /// No write succeeds while this is set (`HostFaults::disk_full`).
    #[serde(skip)]
    pub full: bool,
}

impl Default for Files {
    fn default() -> Self {
        let root = Node { kind: Kind::Dir, mode: 0o755, uid: 0, gid: 0, mtime: time::now() };
        Self { nodes: BTreeMap::from([("/".to_owned(), root)]), full: false }
    }
}

/// `path` seen from `cwd`, without `.`, `..`, doubled or trailing slashes. Purely textual.
#[must_use]
pub fn normalise(cwd: &str, path: &str) -> String {
    let joined = if path.starts_with('/') { path.to_owned() } else { format!("{cwd}/{path}") };
    let mut parts: Vec<&str> = Vec::new();
    for part in joined.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            name => parts.push(name),
        }
    }
    format!("/{}", parts.join("/"))
}

/// The directory that holds `path` (normalised) and its last name.
#[must_use]
pub fn split(path: &str) -> (&str, &str) {
    match path.rsplit_once('/') {
        Some(("", name)) => ("/", name),
        Some((dir, name)) => (dir, name),
        None => ("/", path),
    }
}

impl Files {
    /// Bytes in use by file contents.
    #[must_use]
    pub fn used(&self) -> u64 {
        self.nodes.values().filter(|n| !n.is_dir()).map(Node::size).sum()
    }

    /// Every path with its node, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Node)> {
        self.nodes.iter().map(|(path, node)| (path.as_str(), node))
    }

    /// The real path behind `path`: links in its directories are followed, the last one only when `follow` is set. The last name need not exist.
    pub fn resolve(&self, path: &str, follow: bool) -> Result<String, FileError> {
        if path.len() > MAX_PATH {
            return Err(FileError::TooLong);
        }
        let mut todo: Vec<String> = path.split('/').filter(|p| !p.is_empty()).rev().map(str::to_owned).collect();
        let (mut at, mut links) = (String::from("/"), 0);
        while let Some(part) = todo.pop() {
            let next = normalise(&at, &part);
            match self.nodes.get(&next).map(|n| &n.kind) {
                Some(Kind::Link(target)) if follow || !todo.is_empty() => {
                    links += 1;
                    if links > MAX_LINKS {
                        return Err(FileError::Loop);
                    }
                    if target.starts_with('/') {
                        at = "/".to_owned();
                    }
                    todo.extend(target.split('/').filter(|p| !p.is_empty()).rev().map(str::to_owned));
                }
                Some(Kind::Dir) => at = next,
                Some(_) if todo.is_empty() => at = next,
                Some(_) => return Err(FileError::NotDir),
                None if todo.is_empty() => at = next,
                None => return Err(FileError::NotFound),
            }
        }
        Ok(at)
    }

    /// What stands at `path`, links followed.
    pub fn stat(&self, path: &str) -> Result<&Node, FileError> {
        self.nodes.get(&self.resolve(path, true)?).ok_or(FileError::NotFound)
    }

    /// What stands at `path`, the last link not followed.
    pub fn lstat(&self, path: &str) -> Result<&Node, FileError> {
        self.nodes.get(&self.resolve(path, false)?).ok_or(FileError::NotFound)
    }

    /// Changes mode, owner or time of what stands at `path`.
    pub fn change(&mut self, path: &str, follow: bool, change: impl FnOnce(&mut Node)) -> Result<(), FileError> {
        let real = self.resolve(path, follow)?;
        let node = self.nodes.get_mut(&real).ok_or(FileError::NotFound)?;
        change(node);
        Ok(())
    }

    /// The content of a file.
    pub fn read(&self, path: &str) -> Result<Arc<Vec<u8>>, FileError> {
        match &self.stat(path)?.kind {
            Kind::File(bytes) => Ok(Arc::clone(bytes)),
            _ => Err(FileError::IsDir),
        }
    }

    /// The content of a file as text, bytes that are not UTF-8 replaced.
    pub fn read_text(&self, path: &str) -> Result<String, FileError> {
        Ok(String::from_utf8_lossy(&self.read(path)?).into_owned())
    }

    /// Makes or replaces a file; a new one gets `mode`, an old one keeps its own.
    pub fn write(&mut self, path: &str, bytes: Vec<u8>, mode: u32) -> Result<(), FileError> {
        self.edit(path, mode, |content| *content = bytes)
    }

    /// Adds to the end of a file, made with `mode` when it is not there.
    pub fn append(&mut self, path: &str, bytes: &[u8], mode: u32) -> Result<(), FileError> {
        self.edit(path, mode, |content| content.extend_from_slice(bytes))
    }

    /// Writes at an offset, as SFTP does; a gap is filled with zeros. Past the machine's capacity it is `NoSpace`.
    pub fn write_at(&mut self, path: &str, offset: u64, bytes: &[u8]) -> Result<(), FileError> {
        let end = offset.checked_add(bytes.len() as u64).filter(|end| *end <= CAPACITY).ok_or(FileError::NoSpace)?;
        self.edit(path, 0o644, |content| {
            let (start, end) = (usize::try_from(offset).unwrap_or(usize::MAX), usize::try_from(end).unwrap_or(usize::MAX));
            if content.len() < end {
                content.resize(end, 0);
            }
            content[start..end].copy_from_slice(bytes);
        })
    }

    /// Cuts a file, or lengthens it with zeros.
    pub fn truncate(&mut self, path: &str, length: u64) -> Result<(), FileError> {
        if length > CAPACITY {
            return Err(FileError::NoSpace);
        }
        self.edit(path, 0o644, |content| content.resize(usize::try_from(length).unwrap_or(usize::MAX), 0))
    }

    fn edit(&mut self, path: &str, mode: u32, change: impl FnOnce(&mut Vec<u8>)) -> Result<(), FileError> {
        let real = self.resolve(path, true)?;
        if self.full {
            return Err(FileError::NoSpace);
        }
        self.parent_is_dir(&real)?;
        let (used, count) = (self.used(), self.nodes.len());
        let (before, mut content) = match self.nodes.get_mut(&real).map(|n| &mut n.kind) {
            Some(Kind::File(bytes)) => (bytes.len() as u64, std::mem::take(bytes)),
            Some(_) => return Err(FileError::IsDir),
            None if count >= MAX_NODES => return Err(FileError::NoSpace),
            None => (0, Arc::default()),
        };
        let backup = Arc::clone(&content);
        change(Arc::make_mut(&mut content));
        let fits = used - before + content.len() as u64 <= CAPACITY;
        let node = self.nodes.entry(real).or_insert(Node { kind: Kind::Dir, mode, uid: 0, gid: 0, mtime: 0 });
        node.kind = Kind::File(if fits { content } else { backup });
        node.mtime = time::now();
        if fits { Ok(()) } else { Err(FileError::NoSpace) }
    }

    fn parent_is_dir(&self, real: &str) -> Result<(), FileError> {
        match self.nodes.get(split(real).0).map(Node::is_dir) {
            Some(true) => Ok(()),
            Some(false) => Err(FileError::NotDir),
            None => Err(FileError::NotFound),
        }
    }

    fn insert(&mut self, path: &str, kind: Kind, mode: u32) -> Result<(), FileError> {
        let real = self.resolve(path, false)?;
        if self.nodes.contains_key(&real) {
            return Err(FileError::Exists);
        }
        self.parent_is_dir(&real)?;
        if self.full || self.nodes.len() >= MAX_NODES {
            return Err(FileError::NoSpace);
        }
        self.nodes.insert(real, Node { kind, mode, uid: 0, gid: 0, mtime: time::now() });
        Ok(())
    }

    /// Makes one directory.
    pub fn mkdir(&mut self, path: &str, mode: u32) -> Result<(), FileError> {
        self.insert(path, Kind::Dir, mode)
    }

    /// Makes a directory and those above it; one that is there is fine.
    pub fn mkdir_all(&mut self, path: &str, mode: u32) -> Result<(), FileError> {
        let mut at = String::new();
        for part in normalise("/", path).split('/').filter(|p| !p.is_empty()) {
            at = format!("{at}/{part}");
            match self.mkdir(&at, mode) {
                Err(FileError::Exists) if self.stat(&at)?.is_dir() => {}
                other => other?,
            }
        }
        Ok(())
    }

    /// Makes a symbolic link at `path`.
    pub fn symlink(&mut self, target: &str, path: &str) -> Result<(), FileError> {
        self.insert(path, Kind::Link(target.to_owned()), 0o777)
    }

    /// Names inside a directory, in order.
    pub fn list(&self, path: &str) -> Result<Vec<String>, FileError> {
        let real = self.resolve(path, true)?;
        if !self.nodes.get(&real).ok_or(FileError::NotFound)?.is_dir() {
            return Err(FileError::NotDir);
        }
        let prefix = if real == "/" { real } else { format!("{real}/") };
        let below = self.nodes.range(prefix.clone()..).take_while(|(path, _)| path.starts_with(&prefix));
        Ok(below
            .filter_map(|(path, _)| path.strip_prefix(&prefix))
            .filter(|n| !n.is_empty() && !n.contains('/'))
            .map(str::to_owned)
            .collect())
    }

    /// Removes a file or link.
    pub fn remove(&mut self, path: &str) -> Result<(), FileError> {
        let real = self.resolve(path, false)?;
        if self.nodes.get(&real).ok_or(FileError::NotFound)?.is_dir() {
            return Err(FileError::IsDir);
        }
        self.nodes.remove(&real);
        Ok(())
    }

    /// Removes an empty directory.
    pub fn rmdir(&mut self, path: &str) -> Result<(), FileError> {
        let real = self.resolve(path, false)?;
        if !self.nodes.get(&real).ok_or(FileError::NotFound)?.is_dir() {
            return Err(FileError::NotDir);
        }
        if real == "/" || !self.list(&real)?.is_empty() {
            return Err(FileError::NotEmpty);
        }
        self.nodes.remove(&real);
        Ok(())
    }

    /// Removes whatever stands at `path` with all below it.
    pub fn remove_all(&mut self, path: &str) -> Result<(), FileError> {
        let real = self.resolve(path, false)?;
        if real == "/" {
            return Err(FileError::Invalid);
        }
        self.nodes.remove(&real).ok_or(FileError::NotFound)?;
        let prefix = format!("{real}/");
        self.nodes.retain(|path, _| !path.starts_with(&prefix));
        Ok(())
    }

    /// POSIX rename: an existing file or empty directory at `to` is replaced.
    pub fn rename(&mut self, from: &str, to: &str) -> Result<(), FileError> {
        let (from, to) = (self.resolve(from, false)?, self.resolve(to, false)?);
        let moving = self.nodes.get(&from).ok_or(FileError::NotFound)?.is_dir();
        if from == to {
            return Ok(());
        }
        if to.starts_with(&format!("{from}/")) || from == "/" {
            return Err(FileError::Invalid);
        }
        self.parent_is_dir(&to)?;
        match self.nodes.get(&to).map(Node::is_dir) {
            Some(true) if !moving => return Err(FileError::IsDir),
            Some(false) if moving => return Err(FileError::NotDir),
            Some(true) if !self.list(&to)?.is_empty() => return Err(FileError::NotEmpty),
            _ => {}
        }
        let prefix = format!("{from}/");
        let below: Vec<String> =
            self.nodes.range(prefix.clone()..).take_while(|(p, _)| p.starts_with(&prefix)).map(|(p, _)| p.clone()).collect();
        for old in std::iter::once(from.clone()).chain(below) {
            if let Some(node) = self.nodes.remove(&old) {
                self.nodes.insert(format!("{to}{}", &old[from.len()..]), node);
            }
        }
        Ok(())
    }

    /// All below `at` as a file system of its own, as a disk that was mounted there holds it.
    #[must_use]
    pub fn subtree(&self, at: &str) -> Self {
        let below = |path: &str| path.strip_prefix(at).filter(|rest| rest.starts_with('/')).map(str::to_owned);
        let mut other = Self::default();
        other.nodes.extend(self.nodes.iter().filter_map(|(path, node)| below(path).map(|rest| (rest, node.clone()))));
        other
    }

    /// Puts another file system's files below `at` (a directory), in place of what was there.
    pub fn graft(&mut self, at: &str, other: &Self) {
        self.clear_below(at);
        let grafted = other.nodes.iter().filter(|(path, _)| *path != "/");
        self.nodes.extend(grafted.map(|(path, node)| (format!("{at}{path}"), node.clone())));
    }

    /// Removes all below `at`.
    pub fn clear_below(&mut self, at: &str) {
        let prefix = format!("{at}/");
        self.nodes.retain(|path, _| !path.starts_with(&prefix));
    }
}

/// File contents in the state file: text as it is, anything else as base64 behind a marker.
mod content {
    use std::sync::Arc;

    use base64::{Engine, engine::general_purpose::STANDARD};
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    const MARK: &str = "base64:";

    pub fn serialize<S: Serializer>(bytes: &Arc<Vec<u8>>, to: S) -> Result<S::Ok, S::Error> {
        match std::str::from_utf8(bytes) {
            Ok(text) if !text.starts_with(MARK) => to.serialize_str(text),
            _ => to.serialize_str(&format!("{MARK}{}", STANDARD.encode(bytes.as_slice()))),
        }
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Arc<Vec<u8>>, D::Error> {
        let text = String::deserialize(from)?;
        let bytes = match text.strip_prefix(MARK) {
            Some(encoded) => STANDARD.decode(encoded).map_err(D::Error::custom)?,
            None => text.into_bytes(),
        };
        Ok(Arc::new(bytes))
    }
}
