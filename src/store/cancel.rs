//! Requests to stop a run, as files beside its lock: `<id>.cancel`, whole by rename, gone with the run.

use std::io::{ErrorKind, Read as _};
use std::path::{Path, PathBuf};

use super::blob::{FILE, io};
use super::words::{Cancel, StoreError};
use crate::files::{Draft, Files};
use crate::name::RunId;

/// More than any request takes, in bytes.
const LARGEST: u64 = 1 << 16;

fn path(directory: &Path, run: &RunId) -> PathBuf {
    directory.join(format!("{run}.cancel"))
}

/// Writes the request. Not synced: when the machine dies, so does the run.
pub(super) fn write(files: &dyn Files, directory: &Path, run: &RunId, ask: &Cancel) -> Result<(), StoreError> {
    let path = path(directory, run);
    let attempt = || format!("write {}", path.display());
    let text = serde_json::to_string(ask).map_err(|e| StoreError::Io { attempt: attempt(), cause: e.to_string() })?;
    // A name of its own and a rename: another user may replace the file, but not write into it.
    let draft = Draft::new(files, directory, FILE).and_then(|mut draft| draft.write(text.as_bytes()).map(|()| draft));
    draft.and_then(|draft| draft.place_for_now(&path)).map_err(|e| io(attempt(), &e))
}

/// Reads the request, if there is one.
pub(super) fn read(files: &dyn Files, directory: &Path, run: &RunId) -> Result<Option<Cancel>, StoreError> {
    let path = path(directory, run);
    let mut text = String::new();
    match files.open(&path).and_then(|file| file.take(LARGEST).read_to_string(&mut text)) {
        Ok(_) => {
            serde_json::from_str(&text).map(Some).map_err(|e| StoreError::Damaged { what: path.display().to_string(), why: e.to_string() })
        }
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
        Err(e) => Err(io(format!("read {}", path.display()), &e)),
    }
}

/// Removes the request; none is no error.
pub(super) fn remove(files: &dyn Files, directory: &Path, run: &RunId) -> Result<(), StoreError> {
    let path = path(directory, run);
    match files.remove(&path) {
        Err(e) if e.kind() != ErrorKind::NotFound => Err(io(format!("remove {}", path.display()), &e)),
        _ => Ok(()),
    }
}
