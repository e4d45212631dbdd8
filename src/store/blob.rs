//! Blob files: `objects/ab/cdef…`, zstd frames named by the blake3 digest of the plain bytes, each written once and never changed.
#![expect(clippy::disallowed_methods, reason = "owns the files below objects/")]

use std::fs;
use std::io::{BufRead as _, BufReader, BufWriter, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use zstd::stream::write::Encoder;

use super::Writing;
use super::words::StoreError;
use crate::digest::{Digest, Measure};
use crate::files::{Draft, Files, clear_drafts, is_draft};

/// Blobs of at most this many bytes live in the index: as files they would cost 16 times the space and 5 times the time.
pub(super) const SMALL: usize = 4096;

/// The largest blob in bytes; also bounds what a damaged frame may unfold to.
pub(super) const LARGEST: usize = 1 << 30;

/// Modes of what the store makes, less what the umask takes: CLI and bot may be different users.
pub(super) const FILE: u32 = 0o666;
pub(super) const DIRECTORY: u32 = 0o777;

/// zstd's own default.
const LEVEL: i32 = 3;

/// So much is measured and folded at once, in bytes.
const PIECE: usize = 64 * 1024;

/// A frame in the making, with the measure of what went into it.
struct Folding {
    measure: Measure,
    frame: Encoder<'static, Vec<u8>>,
}

impl Write for Folding {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.frame.write_all(bytes)?;
        self.measure.write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.frame.flush()
    }
}

/// The digest and the length of what is written.
pub(super) fn measured(write: &Writing<'_>) -> std::io::Result<(Digest, u64)> {
    let mut measure = BufWriter::with_capacity(PIECE, Measure::default());
    write(&mut measure)?;
    Ok(measure.into_inner()?.taken())
}

/// The directory of blob files.
pub(super) struct Objects {
    root: PathBuf,
    files: Arc<dyn Files>,
}

impl Objects {
    /// The blob files below `root`.
    pub fn at(root: PathBuf, files: Arc<dyn Files>) -> Self {
        Self { root, files }
    }

    fn path(&self, digest: &Digest) -> PathBuf {
        let hex = digest.to_string();
        self.root.join(&hex[..2]).join(&hex[2..])
    }

    /// Writes `bytes` under their name unless a file is there; on return it is on disk. Says whether it was written now. A crash leaves at most a
    /// draft.
    pub fn put(&self, digest: &Digest, bytes: &[u8]) -> Result<bool, StoreError> {
        self.put_frame(digest, || zstd::bulk::compress(bytes, LEVEL))
    }

    /// The same for `length` bytes that are folded as they are written.
    pub fn put_written(&self, (digest, length): (&Digest, u64), write: &Writing<'_>) -> Result<bool, StoreError> {
        self.put_frame(digest, || {
            let mut frame = Encoder::new(Vec::new(), LEVEL)?;
            frame.set_pledged_src_size(Some(length))?;
            let mut folding = BufWriter::with_capacity(PIECE, Folding { measure: Measure::default(), frame });
            write(&mut folding)?;
            let Folding { measure, frame } = folding.into_inner()?;
            if measure.taken() != (*digest, length) {
                return Err(std::io::Error::other("it was not written twice the same"));
            }
            frame.finish()
        })
    }

    fn put_frame(&self, digest: &Digest, frame: impl FnOnce() -> std::io::Result<Vec<u8>>) -> Result<bool, StoreError> {
        let path = self.path(digest);
        let shelf = path.parent().unwrap_or(&self.root);
        let told = |e: std::io::Error| io(format!("write the blob {}", path.display()), &e);
        let new = !path.exists();
        if new {
            match self.files.make_directory(shelf, DIRECTORY) {
                Err(e) if e.kind() == ErrorKind::AlreadyExists => {}
                other => other.map_err(told)?,
            }
            let frame = frame().map_err(told)?;
            let mut draft = Draft::new(&*self.files, shelf, FILE).map_err(told)?;
            draft.write(&frame).map_err(told)?;
            draft.place(&path).map_err(told)?;
        } else {
            // Whoever gave it its name may not have come to this, or may have failed at it.
            self.files.sync_directory(shelf).map_err(told)?;
        }
        // The same for the shelf; syncing a directory that has not changed costs little.
        self.files.sync_directory(&self.root).map_err(told)?;
        Ok(new)
    }

    /// Removes a blob file; says whether it was there.
    pub fn remove(&self, digest: &Digest) -> Result<bool, StoreError> {
        let path = self.path(digest);
        match self.files.remove(&path) {
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

    /// Removes the drafts that crashes left behind; returns how many. Nobody may be keeping a blob meanwhile.
    pub fn clear(&self) -> Result<u64, StoreError> {
        let mut removed = 0;
        for shelf in entries(&self.root)? {
            let shelf = self.root.join(shelf);
            if shelf.is_dir() {
                removed += clear_drafts(&*self.files, &shelf).map_err(|e| io(format!("clear {}", shelf.display()), &e))?;
            }
        }
        Ok(removed)
    }

    /// The plain bytes of that name, checked against it.
    pub fn get(&self, digest: &Digest) -> Result<Option<Vec<u8>>, StoreError> {
        let path = self.path(digest);
        let file = match self.files.open(&path) {
            Ok(file) => file,
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(io(format!("read the blob {}", path.display()), &e)),
        };
        let damaged = |why: String| StoreError::Damaged { what: format!("blob {digest} ({})", path.display()), why };
        let bytes = unfold(file).map_err(|e| match e.raw_os_error() {
            Some(_) => io(format!("read the blob {}", path.display()), &e),
            None => damaged(format!("it is no whole zstd frame: {e}")),
        })?;
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

/// The names inside a directory, in order, without drafts; a missing directory is an empty one.
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
        names.extend(name.to_str().filter(|name| !is_draft(name)).map(str::to_owned));
    }
    names.sort_unstable();
    Ok(names)
}

/// The error for something that the file system refused.
pub(super) fn io(attempt: String, error: &std::io::Error) -> StoreError {
    StoreError::Io { attempt, cause: error.to_string() }
}
