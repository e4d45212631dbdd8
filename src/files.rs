//! Files that outlive a crash: the few operations of a file system that whoever keeps bytes needs, and the one order of them that loses nothing.
//!
//! A file system may lose, after a power cut, whatever was not synced: the bytes of a file, and, each on its own, the names that a directory took or
//! gave away. So bytes are written under a name that means nothing, synced, renamed, and the directory is synced; directories are synced into those
//! above them. [`Files`] is a seam for tests: they put a file system behind it that fails and forgets. Nobody else has one.
#![expect(clippy::disallowed_methods, reason = "the one place that writes files which must outlive a crash")]

#[cfg(test)]
pub(crate) mod faulty;
#[cfg(test)]
mod tests;

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

/// How the names of drafts begin; one that a crash left behind means nothing.
const DRAFT: &str = ".new-";

/// The operations. What each does by itself is what the operating system does; `Disk` changes nothing.
pub trait Files: Send + Sync {
    /// Makes one directory.
    fn make_directory(&self, path: &Path, mode: u32) -> io::Result<()> {
        DirBuilder::new().mode(mode).create(path)
    }
    /// Makes a file that must not be there yet.
    fn create(&self, path: &Path, mode: u32) -> io::Result<File> {
        OpenOptions::new().write(true).create_new(true).mode(mode).open(path)
    }
    /// Opens a file to lock it, and makes it if it is missing.
    fn open_lock(&self, path: &Path) -> io::Result<File> {
        OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)
    }
    /// Writes some of `bytes`, and says how many.
    fn write(&self, _path: &Path, mut file: &File, bytes: &[u8]) -> io::Result<usize> {
        file.write(bytes)
    }
    /// Makes the bytes of a file durable, not its name.
    fn sync(&self, _path: &Path, file: &File) -> io::Result<()> {
        file.sync_all()
    }
    /// Gives a file another name, taking the name from whatever has it.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }
    /// The same for a name that nothing may have: `AlreadyExists`.
    fn rename_new(&self, from: &Path, to: &Path) -> io::Result<()> {
        tempfile::TempPath::try_from_path(from)?.persist_noclobber(to).map_err(|refused| refused.error)
    }
    /// Makes the names inside a directory durable.
    fn sync_directory(&self, path: &Path) -> io::Result<()> {
        File::open(path)?.sync_all()
    }
    /// Takes a file's name away.
    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }
    /// Opens a file to read it.
    fn open(&self, path: &Path) -> io::Result<File> {
        File::open(path)
    }
}

/// The file system as it is.
#[derive(Clone, Copy, Debug)]
pub struct Disk;

impl Files for Disk {}

/// A file that is being written beside the place where it is to lie; dropped before it has its name, it goes.
pub struct Draft<'a> {
    files: &'a dyn Files,
    path: PathBuf,
    file: File,
    placed: bool,
}

impl<'a> Draft<'a> {
    /// An empty draft in `directory`; the umask takes from `mode`.
    pub fn new(files: &'a dyn Files, directory: &Path, mode: u32) -> io::Result<Self> {
        let path = directory.join(format!("{DRAFT}{}", uuid::Uuid::new_v4().simple()));
        let file = files.create(&path, mode)?;
        Ok(Self { files, path, file, placed: false })
    }

    /// Where it lies until it has its name.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Appends all of `bytes`.
    pub fn write(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            match self.files.write(&self.path, &self.file, bytes) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(some) => bytes = bytes.get(some..).unwrap_or_default(),
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }

    /// Gives it its name, in place of whatever has it. Durable on return; after an error the name may or may not be there.
    pub fn place(mut self, to: &Path) -> io::Result<()> {
        self.files.sync(&self.path, &self.file)?;
        self.files.rename(&self.path, to)?;
        self.placed = true;
        self.files.sync_directory(holder(to))
    }

    /// The same unless something has that name: `false`. On return the name is durable, whoever gave it.
    pub fn place_new(mut self, to: &Path) -> io::Result<bool> {
        self.files.sync(&self.path, &self.file)?;
        let placed = match self.files.rename_new(&self.path, to) {
            Ok(()) => true,
            Err(e) if e.kind() == ErrorKind::AlreadyExists => false,
            Err(e) => return Err(e),
        };
        self.placed = placed;
        self.files.sync_directory(holder(to))?;
        Ok(placed)
    }

    /// Gives it its name for those who look now: a crash may take it away or leave it empty.
    pub fn place_for_now(mut self, to: &Path) -> io::Result<()> {
        self.files.rename(&self.path, to)?;
        self.placed = true;
        Ok(())
    }
}

impl Drop for Draft<'_> {
    fn drop(&mut self) {
        if !self.placed {
            // Its writer has an error to tell already, and one that stays means nothing.
            let _ = self.files.remove(&self.path);
        }
    }
}

/// Makes a directory with all that are missing above it, and the names on the way to it durable. Those that are there too: whoever made them may have died
/// before that.
pub fn make_way(files: &dyn Files, path: &Path, mode: u32) -> io::Result<()> {
    let missing: Vec<&Path> = path.ancestors().take_while(|above| !above.as_os_str().is_empty() && !above.is_dir()).collect();
    for above in missing.into_iter().rev() {
        match files.make_directory(above, mode) {
            Err(e) if e.kind() == ErrorKind::AlreadyExists && above.is_dir() => {}
            other => other?,
        }
    }
    let absolute = fs::canonicalize(path)?;
    let device = fs::metadata(&absolute)?.dev();
    for above in absolute.ancestors().skip(1) {
        // A mount point was there before whatever is mounted on it.
        if fs::metadata(above).map_or(true, |about| about.dev() != device) {
            break;
        }
        match files.sync_directory(above) {
            // What we may not even list, somebody else has made.
            Err(e) if e.kind() == ErrorKind::PermissionDenied => break,
            other => other?,
        }
    }
    Ok(())
}

/// Whether a name is that of a draft.
pub fn is_draft(name: &str) -> bool {
    name.starts_with(DRAFT)
}

/// Removes the drafts that crashes left in a directory; returns how many. Nobody may be writing one meanwhile.
pub fn clear_drafts(files: &dyn Files, directory: &Path) -> io::Result<u64> {
    let mut removed = 0;
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_name().to_str().is_some_and(is_draft) {
            files.remove(&entry.path())?;
            removed += 1;
        }
    }
    Ok(removed)
}

/// The directory that holds the name of `path`.
pub fn holder(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}
