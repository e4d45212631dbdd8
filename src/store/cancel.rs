//! Requests to stop a run, as files beside its lock: `<id>.cancel`, whole by rename, gone with the run.
#![expect(clippy::disallowed_methods, reason = "owns the .cancel files below runs/")]

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::blob::io;
use super::words::{Cancel, StoreError};
use crate::name::RunId;

fn path(directory: &Path, run: &RunId) -> PathBuf {
    directory.join(format!("{run}.cancel"))
}

/// Writes the request. Not synced: when the machine dies, so does the run.
pub(super) fn write(directory: &Path, run: &RunId, ask: &Cancel) -> Result<(), StoreError> {
    let path = path(directory, run);
    let attempt = || format!("write {}", path.display());
    let text = serde_json::to_string(ask).map_err(|e| StoreError::Io { attempt: attempt(), cause: e.to_string() })?;
    // A name of its own and a rename: another user may replace the file, but not write into it.
    let own = directory.join(format!("{run}.cancel.{}", uuid::Uuid::new_v4().simple()));
    fs::write(&own, text).and_then(|()| fs::rename(&own, &path)).map_err(|e| io(attempt(), &e))
}

/// Reads the request, if there is one.
pub(super) fn read(directory: &Path, run: &RunId) -> Result<Option<Cancel>, StoreError> {
    let path = path(directory, run);
    match fs::read_to_string(&path) {
        Ok(text) => {
            serde_json::from_str(&text).map(Some).map_err(|e| StoreError::Damaged { what: path.display().to_string(), why: e.to_string() })
        }
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
        Err(e) => Err(io(format!("read {}", path.display()), &e)),
    }
}

/// Removes the request; none is no error.
pub(super) fn remove(directory: &Path, run: &RunId) -> Result<(), StoreError> {
    let path = path(directory, run);
    match fs::remove_file(&path) {
        Err(e) if e.kind() != ErrorKind::NotFound => Err(io(format!("remove {}", path.display()), &e)),
        _ => Ok(()),
    }
}
