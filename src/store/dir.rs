//! The directory store: a SQLite index beside blob files and lock files.
//!
//! ```text
//! FORMAT            an integer, written last when a store is made
//! objects/ab/cdef…  blobs over 4 KiB
//! index.db          everything else
//! runs/             one lock file per live run, and the one of those who keep blobs
//! ```

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::blob::{DIRECTORY, FILE, LARGEST, Objects, SMALL, io, measured};
use super::lease::{Ask, Request, Standing};
use super::queue::Watch;
use super::run_lock::Locks;
use super::schema::{Index, Rows};
use super::verify::Damage;
use super::words::{ActionRecord, AuditRow, Cancel, Commit, RunRow, StoreError, Version, WithContent};
use super::{Reseal, Store, Writing, admit, queue};
use crate::digest::Digest;
use crate::event::{RunState, Stamped, Time};
use crate::files::{Disk, Draft, Files, clear_drafts, make_way};
use crate::name::{ResourceName, ResourcePattern, RunId};

/// The format of a store's directory; a store of another one is refused. 1 had one lock for the whole store: the two would not see each other's leases.
pub const FORMAT: u32 = 2;

/// More than any FORMAT takes, in bytes.
const FORMAT_BYTES: u64 = 100;

/// How many bytes of small blobs wait for the next transaction at most.
const PENDING: usize = 1 << 20;

/// What a transaction waits for. One that may be lost with whatever follows it, because nothing has been done by then, need not wait.
#[derive(Clone, Copy)]
enum Wait {
    ForTheDisk,
    ForNothing,
}

/// A store in a directory. Dropping it is like the death of its process: locks are free, runs that were not ended are interrupted.
pub struct DirStore {
    id: String,
    root: PathBuf,
    files: Arc<dyn Files>,
    objects: Objects,
    index: Index,
    locks: Locks,
    /// Small blobs of no transaction yet: no row names them, so they may wait for the one that does, and cost no sync of their own.
    pending: BTreeMap<Digest, Vec<u8>>,
    pending_bytes: usize,
    /// Blob files written since the last transaction: were they marked as dropped, they are no longer.
    written: Vec<Digest>,
    /// The last look at the queue.
    watch: Option<Watch>,
    /// Whether commits are being gathered: blobs then wait for the end of it.
    gathers: bool,
}

impl DirStore {
    /// Opens the store at `root`; `None` when there is none. Writes nothing. A directory without `FORMAT` is no store (yet).
    pub fn open(root: &Path) -> Result<Option<Self>, StoreError> {
        Self::open_on(Arc::new(Disk), root)
    }

    /// The same on some file system.
    pub(super) fn open_on(files: Arc<dyn Files>, root: &Path) -> Result<Option<Self>, StoreError> {
        let format = root.join("FORMAT");
        let mut text = String::new();
        match files.open(&format).and_then(|file| file.take(FORMAT_BYTES).read_to_string(&mut text)) {
            Ok(_) => {}
            Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => return Ok(None),
            Err(e) => return Err(io(format!("read {}", format.display()), &e)),
        }
        if text.trim().parse() != Ok(FORMAT) {
            let found = text.trim().chars().take(40).collect();
            return Err(StoreError::Format { path: root.display().to_string(), found, known: FORMAT });
        }
        let (index, id) = Index::open(root.join("index.db"))?;
        Ok(Some(Self {
            id,
            root: root.to_path_buf(),
            objects: Objects::at(root.join("objects"), Arc::clone(&files)),
            index,
            locks: Locks::below(root.join("runs"), Arc::clone(&files)),
            files,
            pending: BTreeMap::new(),
            pending_bytes: 0,
            written: Vec::new(),
            watch: None,
            gathers: false,
        }))
    }

    /// Opens the store at `root`, making it first when there is none. Two processes may do so at once: they get one store.
    pub fn open_or_create(root: &Path) -> Result<Self, StoreError> {
        Self::open_or_create_on(Arc::new(Disk), root)
    }

    /// The same as [`DirStore::open`] for whoever is going to write.
    pub fn open_durable(root: &Path) -> Result<Option<Self>, StoreError> {
        let files: Arc<dyn Files> = Arc::new(Disk);
        Self::open_durable_on(&files, root)
    }

    fn open_durable_on(files: &Arc<dyn Files>, root: &Path) -> Result<Option<Self>, StoreError> {
        let opened = Self::open_on(Arc::clone(files), root)?;
        if opened.is_some() {
            // Whoever made it may have died before its FORMAT was durable, or may be at it.
            files.sync_directory(root).map_err(|e| io(format!("open the store {}", root.display()), &e))?;
        }
        Ok(opened)
    }

    /// The same on some file system.
    pub(super) fn open_or_create_on(files: Arc<dyn Files>, root: &Path) -> Result<Self, StoreError> {
        if let Some(store) = Self::open_durable_on(&files, root)? {
            return Ok(store);
        }
        let made = create(&*files, root);
        // Another process may have made it meanwhile, and even swept our drafts away: then it is there all the same.
        if made.as_ref().map_or_else(|_| files.sync_directory(root).is_ok(), |()| true)
            && let Some(store) = Self::open_on(files, root)?
        {
            return Ok(store);
        }
        made?;
        Err(StoreError::Io { attempt: format!("open the store {}", root.display()), cause: "it vanished".to_owned() })
    }

    /// Puts `bytes` where they belong: large ones to disk at once, small ones into the next transaction.
    fn stage(&mut self, bytes: &[u8]) -> Result<Digest, StoreError> {
        let digest = Digest::of(bytes);
        if bytes.len() > LARGEST {
            return Err(too_large(bytes.len()));
        }
        self.locks.keep()?;
        if bytes.len() > SMALL {
            if self.objects.put(&digest, bytes)? {
                self.written.push(digest);
            }
        } else if self.pending.insert(digest, bytes.to_vec()).is_none() {
            self.pending_bytes += bytes.len();
        }
        Ok(digest)
    }

    /// One synced transaction of the waiting small blobs and `work`.
    fn write<T>(&mut self, work: impl FnOnce(Rows<'_>) -> Result<T, StoreError>) -> Result<T, StoreError> {
        self.transact(Wait::ForTheDisk, work)
    }

    fn transact<T>(&mut self, wait: Wait, work: impl FnOnce(Rows<'_>) -> Result<T, StoreError>) -> Result<T, StoreError> {
        self.watch = None;
        if self.gathers {
            return self.index.write_part(work);
        }
        let (pending, written) = (&self.pending, &self.written);
        let all = |rows: Rows<'_>| {
            keep_waiting(rows, pending, written)?;
            work(rows)
        };
        let result = match wait {
            Wait::ForTheDisk => self.index.write(all),
            Wait::ForNothing => self.index.write_unsynced(all),
        }?;
        self.nothing_waits();
        Ok(result)
    }

    /// Makes durable what no transaction has waited for: all of the log is in the index afterwards, or in its own file for good.
    fn make_durable(&self) -> Result<(), StoreError> {
        // The process may end before the store has closed, so that the index is made whole here.
        if self.index.rows().fold_what_can_be().unwrap_or(false) {
            return Ok(());
        }
        // Somebody reads around a part of the log, or folds it in just now.
        let log = self.root.join("index.db-wal");
        let synced = self.files.open(&log).and_then(|file| self.files.sync(&log, &file));
        synced.map_err(|e| io(format!("sync {}", log.display()), &e))
    }

    /// What waited is in the index now.
    fn nothing_waits(&mut self) {
        self.pending.clear();
        self.written.clear();
        self.pending_bytes = 0;
    }

    /// Rows that say `running` while nobody holds their lock are told as interrupted.
    fn told(&self, rows: Vec<RunRow>) -> Result<Vec<RunRow>, StoreError> {
        let told = |mut row: RunRow| {
            if row.state == RunState::Running && !self.locks.lives(&row.id)? {
                // Read again: it may have ended, and freed its lock, since its row was read.
                row = self.index.rows().run(&row.id)?.unwrap_or(row);
                if row.state == RunState::Running {
                    row.state = RunState::Interrupted;
                }
            }
            Ok(row)
        };
        rows.into_iter().map(told).collect()
    }
}

/// Writes what waits for a transaction.
fn keep_waiting(rows: Rows<'_>, pending: &BTreeMap<Digest, Vec<u8>>, written: &[Digest]) -> Result<(), StoreError> {
    pending.iter().try_for_each(|(digest, bytes)| rows.keep_blob(digest, bytes))?;
    written.iter().try_for_each(|digest| rows.unmark_dropped(digest))
}

impl Drop for DirStore {
    fn drop(&mut self) {
        if !self.pending.is_empty() || !self.written.is_empty() {
            // No row names these blobs: losing them loses nothing that was promised, and a destructor has nobody to tell.
            let _ = self.write(|_| Ok(()));
        }
    }
}

/// Makes the store at `root`. Every file is whole before it gets its name, and FORMAT is last, when all else is durable: a crash between leaves a directory
/// that is no store yet and that the next call completes.
fn create(files: &dyn Files, root: &Path) -> Result<(), StoreError> {
    let told = |e: std::io::Error| io(format!("make a store at {}", root.display()), &e);
    make_way(files, root, DIRECTORY).map_err(told)?;
    for inner in ["objects", "runs"] {
        match files.make_directory(&root.join(inner), DIRECTORY) {
            Err(e) if e.kind() == ErrorKind::AlreadyExists => {}
            other => other.map_err(told)?,
        }
    }
    let index = root.join("index.db");
    if !index.exists() {
        let draft = Draft::new(files, root, FILE).map_err(told)?;
        Index::fill(draft.path(), &uuid::Uuid::new_v4().simple().to_string())?;
        draft.place_new(&index).map_err(told)?;
    }
    files.sync_directory(root).map_err(told)?;
    let mut draft = Draft::new(files, root, FILE).map_err(told)?;
    draft.write(format!("{FORMAT}\n").as_bytes()).map_err(told)?;
    draft.place(&root.join("FORMAT")).map_err(told)
}

/// The refusal of a blob that no store takes.
pub(super) fn too_large(bytes: usize) -> StoreError {
    StoreError::Io { attempt: format!("keep a blob of {bytes} bytes"), cause: format!("the largest blob has {LARGEST}") }
}

impl Store for DirStore {
    fn id(&self) -> &str {
        &self.id
    }

    fn put_blob(&mut self, bytes: &[u8]) -> Result<Digest, StoreError> {
        let digest = self.stage(bytes)?;
        if self.pending_bytes > PENDING && !self.gathers {
            self.transact(Wait::ForNothing, |_| Ok(()))?;
        }
        Ok(digest)
    }

    fn put_written(&mut self, write: &Writing<'_>) -> Result<Digest, StoreError> {
        let told = |e: std::io::Error| io("write a blob".to_owned(), &e);
        let (digest, length) = measured(write).map_err(told)?;
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        if length <= SMALL {
            let mut bytes = Vec::with_capacity(length);
            write(&mut bytes).map_err(told)?;
            return self.put_blob(&bytes);
        }
        if length > LARGEST {
            return Err(too_large(length));
        }
        self.locks.keep()?;
        if self.objects.put_written((&digest, length as u64), write)? {
            self.written.push(digest);
        }
        Ok(digest)
    }

    fn blob(&mut self, digest: &Digest) -> Result<Option<Vec<u8>>, StoreError> {
        if let Some(bytes) = self.pending.get(digest) {
            return Ok(Some(bytes.clone()));
        }
        match self.index.rows().blob(digest)? {
            Some(bytes) => Ok(Some(bytes)),
            None => self.objects.get(digest),
        }
    }

    fn head(&mut self, name: &ResourceName) -> Result<Option<Version>, StoreError> {
        self.index.rows().head(name)
    }

    fn heads(&mut self, pattern: Option<&ResourcePattern>) -> Result<Vec<Version>, StoreError> {
        self.index.rows().heads(pattern)
    }

    fn version(&mut self, digest: &Digest) -> Result<Option<Version>, StoreError> {
        self.index.rows().version(digest)
    }

    fn chain(&mut self, name: &ResourceName, before: Option<u64>, limit: usize) -> Result<Vec<Version>, StoreError> {
        self.index.rows().chain(name, before, limit)
    }

    fn chain_with_contents(&mut self, name: &ResourceName, before: Option<u64>, limit: usize) -> Result<Vec<WithContent>, StoreError> {
        self.index.rows().chain_with_contents(name, before, limit)
    }

    fn version_at(&mut self, name: &ResourceName, time: Time) -> Result<Option<Version>, StoreError> {
        self.index.rows().version_at(name, time)
    }

    fn sealed(&mut self, digest: &Digest) -> Result<Option<Vec<u8>>, StoreError> {
        self.index.rows().sealed(digest)
    }

    fn commit(&mut self, commit: Commit) -> Result<Vec<Version>, StoreError> {
        admit::commit(&commit)?;
        let Commit { versions, sealed, records, journal, state, leases } = commit;
        let rows = versions.is_empty() && sealed.is_empty() && records.is_empty();
        let nothing = rows && journal.is_none() && state.is_none() && leases.is_none();
        if nothing && self.pending.is_empty() && self.written.is_empty() {
            return Ok(Vec::new());
        }
        for large in versions.iter().filter(|new| new.content.len() > SMALL) {
            self.stage(&large.content)?;
        }
        // What ends a run is made durable with the end of its lock.
        let ends = matches!(state, Some((_, _, Some(_))));
        self.transact(if ends { Wait::ForNothing } else { Wait::ForTheDisk }, |rows| {
            sealed.iter().try_for_each(|(digest, bytes)| rows.keep_sealed(digest, bytes))?;
            let appended = versions.into_iter().map(|new| rows.append(new)).collect::<Result<Vec<_>, _>>()?;
            records.iter().try_for_each(|record| rows.add_record(record))?;
            if let Some((run, lines)) = &journal {
                rows.append_journal(run, lines)?;
            }
            if let Some((run, state, ended)) = &state {
                rows.set_state(run, *state, *ended)?;
            }
            if let Some((run, change)) = &leases {
                rows.change_leases(run, change)?;
            }
            Ok(appended)
        })
    }

    fn gather(&mut self) -> Result<(), StoreError> {
        self.index.open_transaction()?;
        self.gathers = true;
        Ok(())
    }

    fn release(&mut self) -> Result<(), StoreError> {
        self.gathers = false;
        let (pending, written) = (&self.pending, &self.written);
        // The blobs go last, but into the same transaction as the rows that name them.
        let kept = self.index.write_part(|rows| keep_waiting(rows, pending, written));
        if kept.is_err() {
            self.index.abandon_transaction();
        }
        kept.and_then(|()| self.index.close_transaction())?;
        self.nothing_waits();
        Ok(())
    }

    fn record_by_key(&mut self, key: &Digest) -> Result<Option<ActionRecord>, StoreError> {
        self.index.rows().record_by_key(key)
    }

    fn record_by_subject(&mut self, subject: &str) -> Result<Option<ActionRecord>, StoreError> {
        self.index.rows().record_by_subject(subject)
    }

    fn records(&mut self, run: &RunId) -> Result<Vec<ActionRecord>, StoreError> {
        self.index.rows().records(run)
    }

    fn newest_record(&mut self) -> Result<u64, StoreError> {
        self.index.rows().newest_record()
    }

    fn repeat(&mut self, key: &Digest) -> Result<Option<String>, StoreError> {
        self.index.rows().repeat(key)
    }

    fn keep_repeat(&mut self, key: &Digest, body: &str) -> Result<(), StoreError> {
        self.transact(Wait::ForNothing, |rows| rows.keep_repeat(key, body))
    }

    fn begin_run(&mut self, row: RunRow) -> Result<(), StoreError> {
        admit::run(&row)?;
        // First of all: a sweep takes lock files that nobody holds, and this one is held a moment after it is made.
        self.locks.keep()?;
        // Locked before the row is there: nobody can see the row and find it free.
        self.locks.take(&row.id)?;
        let written = self.transact(Wait::ForNothing, |rows| rows.add_run(&row));
        if written.is_err() {
            self.locks.free(&row.id)?;
        }
        written
    }

    fn end_run(&mut self, run: &RunId) -> Result<(), StoreError> {
        let durable = self.make_durable();
        self.locks.free(run)?;
        durable
    }

    fn resume_run(&mut self, run: &RunId) -> Result<bool, StoreError> {
        if !self.locks.retake(run)? {
            return Ok(false);
        }
        let written = self.write(|rows| {
            rows.set_state(run, RunState::Running, None)?;
            rows.orphan(run)
        });
        if written.is_err() {
            self.locks.free(run)?;
        }
        written.map(|()| true)
    }

    fn ask_cancel(&mut self, run: &RunId, ask: &Cancel) -> Result<bool, StoreError> {
        self.locks.ask_cancel(run, ask)
    }

    fn cancel_asked(&mut self, run: &RunId) -> Result<Option<Cancel>, StoreError> {
        self.locks.cancel_asked(run)
    }

    fn runs(&mut self, limit: usize) -> Result<Vec<RunRow>, StoreError> {
        let rows = self.index.rows().runs(limit)?;
        self.told(rows)
    }

    fn find_runs(&mut self, part: &str) -> Result<Vec<RunRow>, StoreError> {
        let rows = self.index.rows().find_runs(&part.to_lowercase())?;
        self.told(rows)
    }

    fn journal(&mut self, run: &RunId, from: u64, limit: usize) -> Result<Vec<Stamped>, StoreError> {
        self.index.rows().journal(run, from, limit)
    }

    fn lease(&mut self, ask: &Ask) -> Result<Standing, StoreError> {
        queue::ask(&mut self.index, &self.locks, &mut self.watch, ask)
    }

    fn leave(&mut self, run: &RunId) -> Result<(), StoreError> {
        self.watch = None;
        self.index.write(|rows| rows.leave(run))
    }

    fn settled(&mut self, heir: &RunId, dead: &RunId) -> Result<(), StoreError> {
        self.watch = None;
        self.index.write(|rows| rows.settled(heir, dead))
    }

    fn orphan(&mut self, run: &RunId) -> Result<(), StoreError> {
        self.watch = None;
        self.index.write(|rows| rows.orphan(run))
    }

    fn requests(&mut self) -> Result<Vec<Request>, StoreError> {
        self.index.rows().requests()
    }

    fn heard(&mut self, row: &AuditRow) -> Result<bool, StoreError> {
        self.write(|rows| rows.heard(row))
    }

    fn answered(&mut self, row: &AuditRow) -> Result<(), StoreError> {
        self.write(|rows| rows.answered(row))
    }

    fn audit(&mut self, open: bool, limit: usize) -> Result<Vec<AuditRow>, StoreError> {
        self.index.rows().audit(open, limit)
    }

    fn pin(&mut self, identity: &str) -> Result<Option<String>, StoreError> {
        self.index.rows().pin(identity)
    }

    fn set_pin(&mut self, identity: &str, key: Option<&str>) -> Result<(), StoreError> {
        self.write(|rows| rows.set_pin(identity, key))
    }

    fn names(&mut self) -> Result<Vec<ResourceName>, StoreError> {
        self.index.rows().names()
    }

    fn length(&mut self, name: &ResourceName) -> Result<u64, StoreError> {
        self.index.rows().length(name)
    }

    fn blob_names(&mut self) -> Result<Vec<Digest>, StoreError> {
        let mut names = self.index.rows().blob_names()?;
        names.extend(self.pending.keys());
        names.extend(self.objects.names()?);
        names.sort_unstable();
        names.dedup();
        Ok(names)
    }

    fn drop_blobs(&mut self, blobs: &[Digest]) -> Result<u64, StoreError> {
        // Whatever waits is written first: it may be among those to be dropped.
        self.write(|_| Ok(()))?;
        let _sweeping = self.locks.sweep("drop blobs")?;
        // In the same transaction: no run begins meanwhile, so that none leaves another before it is written.
        let small = self.write(|rows| {
            rows.forget_repeats()?;
            blobs.iter().try_fold(0, |count, digest| rows.drop_blob(digest).map(|removed| count + u64::from(removed)))
        })?;
        // Marked before they go: a crash between leaves files that the next sweep finds.
        let files = blobs.iter().try_fold(0, |count, digest| self.objects.remove(digest).map(|removed| count + u64::from(removed)))?;
        self.objects.clear()?;
        self.locks.clear()?;
        clear_drafts(&*self.files, &self.root).map_err(|e| io(format!("clear {}", self.root.display()), &e))?;
        Ok(small + files)
    }

    fn reseal(&mut self, seal: &mut Reseal<'_>) -> Result<u64, StoreError> {
        self.write(|_| Ok(()))?;
        let _alone = self.locks.sweep("seal the secrets anew")?;
        self.index.rows().overwrite_what_goes()?;
        let changed = self.write(|rows| rows.forget_repeats().and_then(|()| rows.reseal(seal)))?;
        if changed > 0 {
            self.index.rows().fold_log()?;
        }
        Ok(changed)
    }

    fn blob_length(&mut self, digest: &Digest) -> Result<u64, StoreError> {
        match self.objects.length(digest) {
            Some(length) => Ok(length),
            None => Ok(self.blob(digest)?.map_or(0, |bytes| bytes.len() as u64)),
        }
    }

    fn dropped(&mut self, digest: &Digest) -> Result<bool, StoreError> {
        Ok(!self.pending.contains_key(digest) && !self.objects.holds(digest) && self.index.rows().is_dropped(digest)?)
    }

    fn damaged_rows(&mut self) -> Result<Vec<Damage>, StoreError> {
        self.index.rows().damaged_rows()
    }

    fn index_defects(&mut self) -> Result<Vec<String>, StoreError> {
        self.index.rows().defects()
    }
}
