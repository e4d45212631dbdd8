//! Blob files: `objects/ab/cdef…`, zstd frames named by the blake3 digest of the plain bytes, each written once and never changed.
#![expect(clippy::disallowed_methods, reason = "owns the files below objects/")]

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, ErrorKind, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::words::StoreError;
use crate::digest::Digest;

/// Blobs of at most this many bytes live in the index: as files they would cost 16 times the space and 5 times the time.
pub(super) const SMALL: usize = 4096;

/// The largest blob in bytes; also bounds what a damaged frame may unfold to.
pub(super) const LARGEST: usize = 1 << 30;

/// How temporary files begin; one that a crash left behind is no blob.
const TEMPORARY: &str = ".new-";

/// zstd's own default.
const LEVEL: i32 = 3;

/// The directory of blob files.
pub(super) struct Objects {
    root: PathBuf,
}

impl Objects {
    /// The blob files below `root`, which need not exist yet.
    pub fn at(root: PathBuf) -> Self {
        Self { root }
    }

    fn path(&self, digest: &Digest) -> PathBuf {
        let hex = digest.to_string();
        self.root.join(&hex[..2]).join(&hex[2..])
    }

    /// Writes `bytes` under their name unless a file is there; on return it is on disk. Says whether it was written now. A crash leaves at most a
    /// temporary file.
    pub fn put(&self, digest: &Digest, bytes: &[u8]) -> Result<bool, StoreError> {
        let path = self.path(digest);
        if path.exists() {
            return Ok(false);
        }
        let shelf = path.parent().unwrap_or(&self.root);
        let told = |e: std::io::Error| io(format!("write the blob {}", path.display()), &e);
        fs::create_dir_all(shelf).map_err(told)?;
        let frame = zstd::bulk::compress(bytes, LEVEL).map_err(told)?;
        let mut file = temporary(shelf).map_err(told)?;
        file.write_all(&frame).map_err(told)?;
        file.as_file().sync_all().map_err(told)?;
        file.persist(&path).map_err(|e| told(e.error))?;
        sync_directory(shelf)?;
        // The shelf may be another process's of a moment ago; syncing a directory that has not changed costs nothing.
        sync_directory(&self.root)?;
        Ok(true)
    }

    /// Removes a blob file; says whether it was there.
    pub fn remove(&self, digest: &Digest) -> Result<bool, StoreError> {
        let path = self.path(digest);
        match fs::remove_file(&path) {
            Ok(()) => Ok(true),
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(false),
            Err(e) => Err(io(format!("remove the blob {}", path.display()), &e)),
        }
    }

    /// Whether a blob file is there; it is not read.
    pub fn holds(&self, digest: &Digest) -> bool {
        self.path(digest).exists()
    }

    /// The bytes that a blob file takes on disk; `None` when it is not there.
    pub fn length(&self, digest: &Digest) -> Option<u64> {
        fs::metadata(self.path(digest)).ok().map(|about| about.len())
    }

    /// Removes the temporary files that crashes left behind; returns how many. Nobody may be keeping a blob meanwhile.
    pub fn clear(&self) -> Result<u64, StoreError> {
        let mut removed = 0;
        for shelf in entries(&self.root)? {
            let shelf = self.root.join(shelf);
            let told = |e: std::io::Error| io(format!("clear {}", shelf.display()), &e);
            let Ok(listing) = fs::read_dir(&shelf) else { continue };
            for entry in listing {
                let entry = entry.map_err(told)?;
                if entry.file_name().to_str().is_some_and(|name| name.starts_with(TEMPORARY)) {
                    fs::remove_file(entry.path()).map_err(told)?;
                    removed += 1;
                }
            }
        }
        Ok(removed)
    }

    /// The plain bytes of that name, checked against it.
    pub fn get(&self, digest: &Digest) -> Result<Option<Vec<u8>>, StoreError> {
        let path = self.path(digest);
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(io(format!("read the blob {}", path.display()), &e)),
        };
        let damaged = |why: String| StoreError::Damaged { what: format!("blob {digest} ({})", path.display()), why };
        let bytes = unfold(file).map_err(|e| damaged(format!("it is no whole zstd frame: {e}")))?;
        match Digest::of(&bytes) {
            found if found == *digest => Ok(Some(bytes)),
            found => Err(damaged(format!("its {} bytes hash to {found}", bytes.len()))),
        }
    }

    /// The names of all blob files, in order.
    pub fn names(&self) -> Result<Vec<Digest>, StoreError> {
        let mut names = Vec::new();
        for shelf in entries(&self.root)? {
            for name in entries(&self.root.join(&shelf))? {
                names.extend(format!("{shelf}{name}").parse::<Digest>());
            }
        }
        names.sort_unstable();
        Ok(names)
    }
}

/// The plain bytes of a frame, at most one more than [`LARGEST`].
fn unfold(file: impl Read) -> std::io::Result<Vec<u8>> {
    let mut file = BufReader::new(file);
    // The frame says how long it is: room made at once is not made twice over.
    let said = zstd::zstd_safe::get_frame_content_size(file.fill_buf()?).ok().flatten().unwrap_or(0);
    let mut bytes = Vec::with_capacity(usize::try_from(said).unwrap_or(0).min(LARGEST));
    zstd::stream::read::Decoder::with_buffer(file)?.take(LARGEST as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The names inside a directory, in order, without temporary files; a missing directory is an empty one.
fn entries(directory: &Path) -> Result<Vec<String>, StoreError> {
    let told = |e: std::io::Error| io(format!("list {}", directory.display()), &e);
    let listing = match fs::read_dir(directory) {
        Ok(listing) => listing,
        Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => return Ok(Vec::new()),
        Err(e) => return Err(told(e)),
    };
    let mut names = Vec::new();
    for entry in listing {
        let name = entry.map_err(told)?.file_name();
        names.extend(name.to_str().filter(|name| !name.starts_with(TEMPORARY)).map(str::to_owned));
    }
    names.sort_unstable();
    Ok(names)
}

/// A temporary file in `directory`, readable as far as the umask lets others read: CLI and bot may be different users.
pub(super) fn temporary(directory: &Path) -> std::io::Result<tempfile::NamedTempFile> {
    tempfile::Builder::new().prefix(TEMPORARY).permissions(fs::Permissions::from_mode(0o666)).tempfile_in(directory)
}

/// Makes the names inside a directory durable.
pub(super) fn sync_directory(directory: &Path) -> Result<(), StoreError> {
    File::open(directory).and_then(|file| file.sync_all()).map_err(|e| io(format!("sync the directory {}", directory.display()), &e))
}

/// The error for something that the file system refused.
pub(super) fn io(attempt: String, error: &std::io::Error) -> StoreError {
    StoreError::Io { attempt, cause: error.to_string() }
}
