//! Lock files of live runs: the kernel frees what a dead process held.
//!
//! | | begin_run of the same id | `runs` and `lease` of another process |
//! |---|---|---|
//! | live run (exclusive lock on `<id>.lock`) | refused, `retake` too | its shared probe fails: it lives |
//! | probe (shared lock, for a moment) | cannot meet: the row that is probed for is written after the lock is taken; `retake` tries again | no conflict |
//!
//! Who keeps blobs holds `keeping.lock` shared until its runs are over; who drops blobs holds it exclusively, is refused while anybody keeps, and is
//! waited for by those who want to.
#![expect(clippy::disallowed_methods, reason = "owns the lock files below runs/")]

use std::collections::BTreeMap;
use std::fs::{self, File, TryLockError};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::blob::io;
use super::words::{Cancel, StoreError};
use crate::files::{Files, clear_drafts};
use crate::name::RunId;

/// How often, and how far apart, a keeper of blobs asks whether the sweeper is done: 20 seconds in all, as long as a transaction waits.
const TURNS: u32 = 1000;
const TURN: Duration = Duration::from_millis(20);
/// How often a lock that is only probed now and then is asked for.
const PROBES: u32 = 50;

/// The locks that one handle holds.
pub(super) struct Locks {
    directory: PathBuf,
    files: Arc<dyn Files>,
    runs: BTreeMap<RunId, File>,
    keeping: Option<File>,
}

impl Locks {
    /// Locks below `directory`; none is held yet.
    pub fn below(directory: PathBuf, files: Arc<dyn Files>) -> Self {
        Self { directory, files, runs: BTreeMap::new(), keeping: None }
    }

    fn path(&self, run: &RunId) -> PathBuf {
        self.directory.join(format!("{run}.lock"))
    }

    fn open(&self, path: &Path) -> Result<File, StoreError> {
        self.files.open_lock(path).map_err(|e| io(format!("open the lock file {}", path.display()), &e))
    }

    /// Takes the lock of a run, which nobody may hold.
    pub fn take(&mut self, run: &RunId) -> Result<(), StoreError> {
        let path = self.path(run);
        let attempt = format!("begin run {run}");
        if self.runs.contains_key(run) {
            return Err(StoreError::Io { attempt, cause: "it is running".to_owned() });
        }
        let file = self.open(&path)?;
        match file.try_lock() {
            Ok(()) => {
                self.runs.insert(run.clone(), file);
                Ok(())
            }
            Err(TryLockError::WouldBlock) => {
                Err(StoreError::Io { attempt, cause: format!("it is running ({} is locked)", path.display()) })
            }
            Err(TryLockError::Error(e)) => Err(io(format!("lock {}", path.display()), &e)),
        }
    }

    /// Takes the lock of a run that was begun before; `false` when somebody holds it. A probe holds it shared for a moment, so a second of refusals is
    /// needed to say so.
    pub fn retake(&mut self, run: &RunId) -> Result<bool, StoreError> {
        if self.runs.contains_key(run) {
            return Ok(false);
        }
        let path = self.path(run);
        let file = self.open(&path)?;
        for _ in 0..PROBES {
            match file.try_lock() {
                Ok(()) => {
                    super::cancel::remove(&*self.files, &self.directory, run)?;
                    self.runs.insert(run.clone(), file);
                    return Ok(true);
                }
                Err(TryLockError::WouldBlock) => std::thread::sleep(TURN),
                Err(TryLockError::Error(e)) => return Err(io(format!("lock {}", path.display()), &e)),
            }
        }
        Ok(false)
    }

    /// Leaves a request to stop for the process that holds the lock of `run`; `false` when there is none.
    pub fn ask_cancel(&self, run: &RunId, ask: &Cancel) -> Result<bool, StoreError> {
        if !self.lives(run)? {
            return Ok(false);
        }
        super::cancel::write(&*self.files, &self.directory, run, ask)?;
        if self.lives(run)? {
            return Ok(true);
        }
        // It ended in between: a request that nobody reads must not lie there.
        super::cancel::remove(&*self.files, &self.directory, run)?;
        Ok(false)
    }

    /// The request to stop that was left for `run`.
    pub fn cancel_asked(&self, run: &RunId) -> Result<Option<Cancel>, StoreError> {
        super::cancel::read(&*self.files, &self.directory, run)
    }

    /// Frees the lock of a run and removes its file. Nothing happens for a run that this handle does not hold.
    pub fn free(&mut self, run: &RunId) -> Result<(), StoreError> {
        let Some(file) = self.runs.remove(run) else { return Ok(()) };
        let path = self.path(run);
        // Removed while locked: whoever opened it before sees the lock until the row is final.
        let asked = super::cancel::remove(&*self.files, &self.directory, run);
        let removed = self.files.remove(&path);
        unlock(&file);
        if self.runs.is_empty() {
            self.rest();
        }
        match removed {
            Err(e) if e.kind() != ErrorKind::NotFound => Err(io(format!("remove the lock file {}", path.display()), &e)),
            _ => asked,
        }
    }

    /// Whether some process holds the lock of `run`.
    pub fn lives(&self, run: &RunId) -> Result<bool, StoreError> {
        if self.runs.contains_key(run) {
            return Ok(true);
        }
        let path = self.path(run);
        let file = match self.files.open(&path) {
            Ok(file) => file,
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(false),
            Err(e) => return Err(io(format!("open the lock file {}", path.display()), &e)),
        };
        // Shared: two processes that look at one dead run must not take each other for it.
        match file.try_lock_shared() {
            Ok(()) => Ok(false),
            Err(TryLockError::WouldBlock) => Ok(true),
            Err(TryLockError::Error(e)) => Err(io(format!("probe the lock {}", path.display()), &e)),
        }
    }

    /// From now on, until the last run of this handle ends or the handle goes, nobody drops blobs.
    pub fn keep(&mut self) -> Result<(), StoreError> {
        if self.keeping.is_some() {
            return Ok(());
        }
        let path = self.directory.join("keeping.lock");
        let file = self.open(&path)?;
        for _ in 0..TURNS {
            match file.try_lock_shared() {
                Ok(()) => {
                    self.keeping = Some(file);
                    return Ok(());
                }
                Err(TryLockError::WouldBlock) => std::thread::sleep(TURN),
                Err(TryLockError::Error(e)) => return Err(io(format!("lock {}", path.display()), &e)),
            }
        }
        let cause = format!("another process has been dropping blobs for 20 s ({} is locked)", path.display());
        Err(StoreError::Io { attempt: "keep a blob".to_owned(), cause })
    }

    fn rest(&mut self) {
        if let Some(file) = self.keeping.take() {
            unlock(&file);
        }
    }

    /// The right to drop blobs, until the answer is unlocked or closed. Refused while a run is in progress, here or elsewhere.
    pub fn sweep(&mut self) -> Result<File, StoreError> {
        let refuse = |cause: String| Err(StoreError::Io { attempt: "drop blobs".to_owned(), cause });
        if let Some(run) = self.runs.keys().next() {
            return refuse(format!("run {run} is in progress"));
        }
        self.rest();
        let path = self.directory.join("keeping.lock");
        let file = self.open(&path)?;
        match file.try_lock() {
            Ok(()) => Ok(file),
            Err(TryLockError::WouldBlock) => refuse(format!("a run is in progress ({} is locked)", path.display())),
            Err(TryLockError::Error(e)) => Err(io(format!("lock {}", path.display()), &e)),
        }
    }

    /// Removes the lock files of runs that nobody holds, what was asked of them, and drafts; returns how many files. Only under the lock that `sweep` gave: no run begins meanwhile.
    pub fn clear(&self) -> Result<u64, StoreError> {
        let told = |e: std::io::Error| io(format!("clear {}", self.directory.display()), &e);
        let mut removed = clear_drafts(&*self.files, &self.directory).map_err(told)?;
        for entry in fs::read_dir(&self.directory).map_err(told)? {
            let name = entry.map_err(told)?.file_name();
            let stem = name.to_str().and_then(|name| name.strip_suffix(".lock").or_else(|| name.strip_suffix(".cancel")));
            if let Some(run) = stem.and_then(|stem| stem.parse::<RunId>().ok())
                && !self.lives(&run)?
            {
                self.files.remove(&self.directory.join(&name)).map_err(told)?;
                removed += 1;
            }
        }
        Ok(removed)
    }
}

impl Drop for Locks {
    fn drop(&mut self) {
        self.runs.values().for_each(unlock);
        self.rest();
    }
}

/// Unlocks for good. Closing alone would leave the lock to a child that another thread is just forking, until the child is another program.
fn unlock(file: &File) {
    // Closing follows and frees it in any case.
    let _ = file.unlock();
}
