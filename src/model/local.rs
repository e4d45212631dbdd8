//! Local files that a method sends: their sizes and modes, and the SHA-256 of those that may be there already.
#![expect(clippy::disallowed_methods, reason = "methods that upload read the user's own files, and only those")]

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::model::contract::Failure;
use crate::wire::ssh::hex;

/// Files of one upload at most: more is a mistake in the path.
const MOST: usize = 200_000;

/// One local file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalFile {
    /// Path below the source, with `/`; the file's name when the source is a file itself.
    pub path: String,
    /// Where it is.
    pub full: PathBuf,
    /// Size in bytes.
    pub size: u64,
    /// Permission bits.
    pub mode: u32,
}

/// What there is at a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// Whether the path is a directory.
    pub is_dir: bool,
    /// Its regular files, by path.
    pub files: Vec<LocalFile>,
    /// What is left out: links to directories, which may lead anywhere, and whatever is no file.
    pub skipped: Vec<String>,
}

/// SHA-256 in lower-case hex.
pub fn sha256(bytes: &[u8]) -> String {
    hex(ring::digest::digest(&ring::digest::SHA256, bytes).as_ref())
}

/// What is read from the disk, away from the runtime.
async fn away<T: Send + 'static>(read: impl FnOnce() -> Result<T, Failure> + Send + 'static) -> Result<T, Failure> {
    tokio::task::spawn_blocking(read).await.map_err(|e| Failure::bug(format!("reading local files: {e}")))?
}

fn bad(path: &Path, error: &std::io::Error) -> Failure {
    Failure::yours(format!("{}: {error}", path.display()))
}

/// Reads a file or a directory with all that is below it. A link to a file counts as the file.
pub async fn source(path: PathBuf) -> Result<Source, Failure> {
    away(move || read(&path)).await
}

fn read(source: &Path) -> Result<Source, Failure> {
    let meta = std::fs::metadata(source).map_err(|e| bad(source, &e))?;
    if meta.is_file() {
        let name = source.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let files = vec![file(source.to_path_buf(), name, &meta)];
        return Ok(Source { is_dir: false, files, skipped: Vec::new() });
    }
    let mut found = Source { is_dir: true, files: Vec::new(), skipped: Vec::new() };
    let mut open = vec![(source.to_path_buf(), String::new())];
    while let Some((dir, prefix)) = open.pop() {
        for entry in std::fs::read_dir(&dir).map_err(|e| bad(&dir, &e))? {
            let entry = entry.map_err(|e| bad(&dir, &e))?;
            let (full, path) = (entry.path(), format!("{prefix}{}", entry.file_name().to_string_lossy()));
            let kind = entry.file_type().map_err(|e| bad(&full, &e))?;
            if kind.is_dir() {
                open.push((full, format!("{path}/")));
                continue;
            }
            match std::fs::metadata(&full) {
                Ok(meta) if meta.is_file() => found.files.push(file(full, path, &meta)),
                _ => found.skipped.push(path),
            }
            if found.files.len() > MOST {
                return Err(
                    Failure::yours(format!("{}: more than {MOST} files", source.display())).help("name the directory that is meant")
                );
            }
        }
    }
    found.files.sort_by(|a, b| a.path.cmp(&b.path));
    found.skipped.sort();
    Ok(found)
}

/// The first bytes of a file, at most so many.
pub async fn beginning(path: PathBuf, most: usize) -> Result<Vec<u8>, Failure> {
    use std::io::Read;
    let read = move || {
        let mut bytes = Vec::new();
        let done = std::fs::File::open(&path).and_then(|file| file.take(most as u64).read_to_end(&mut bytes));
        done.map(|_| bytes).map_err(|e| bad(&path, &e))
    };
    away(read).await
}

fn file(full: PathBuf, path: String, meta: &std::fs::Metadata) -> LocalFile {
    LocalFile { path, full, size: meta.len(), mode: meta.permissions().mode() & 0o7777 }
}

/// SHA-256 of each file, in hex.
///
/// # Errors
/// When one cannot be read.
pub async fn digests(files: Vec<PathBuf>) -> Result<Vec<String>, Failure> {
    let one = |path: PathBuf| sha256_of(&path).map(|(_, sha256)| sha256).map_err(|e| bad(&path, &e));
    away(move || files.into_iter().map(one).collect()).await
}

/// How many bytes a file has, and their SHA-256 in hex.
pub fn sha256_of(full: &Path) -> std::io::Result<(u64, String)> {
    use std::io::Read;
    let mut context = ring::digest::Context::new(&ring::digest::SHA256);
    let mut reader = std::fs::File::open(full)?;
    let size = reader.metadata()?.len().clamp(1 << 9, 1 << 16);
    let (mut buffer, mut bytes) = (vec![0; usize::try_from(size).unwrap_or(1 << 16)], 0);
    loop {
        let count = reader.read(&mut buffer)?;
        if count == 0 {
            return Ok((bytes, hex(context.finish().as_ref())));
        }
        bytes += count as u64;
        context.update(&buffer[..count]);
    }
}
