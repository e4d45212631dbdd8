//! The memory store: the same promises as the directory store, kept by a mutex, for tests and for looking without touching.
// tidy: fields ≤ 13, because a store keeps as many kinds of rows

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::blob::LARGEST;
use super::chain::moved;
use super::dir::too_large;
use super::lease::{Ask, Request, Standing, Table};
use super::ledger::{FOUND_AT_MOST, never_begun};
use super::words::{ActionRecord, AuditRow, Cancel, Commit, NewVersion, RunRow, StoreError, Version};
use super::{Reseal, Store, admit};
use crate::digest::Digest;
use crate::event::{RunState, Stamped, Time};
use crate::name::{ResourceName, ResourcePattern, RunId};

/// One handle on a store in memory. [`MemoryStore::another`] is a second process on the same store; dropping a handle is the death of its process:
/// its locks are free and its runs interrupted.
pub struct MemoryStore {
    id: String,
    handle: u64,
    shared: Arc<Mutex<Shared>>,
}

/// What the handles of one store share.
#[derive(Default)]
struct Shared {
    handles: u64,
    blobs: BTreeMap<Digest, Vec<u8>>,
    dropped: BTreeSet<Digest>,
    chains: BTreeMap<ResourceName, Vec<Version>>,
    places: BTreeMap<Digest, (ResourceName, usize)>,
    sealed: BTreeMap<Digest, Vec<u8>>,
    records: Vec<ActionRecord>,
    runs: BTreeMap<RunId, RunRow>,
    journals: BTreeMap<RunId, Vec<String>>,
    locks: BTreeMap<RunId, Lock>,
    leases: Table,
    pins: BTreeMap<String, String>,
    audit: Vec<AuditRow>,
}

/// The lock of a live run.
struct Lock {
    /// The handle that holds it.
    holder: u64,
    /// What the run was asked for.
    asked: Option<Cancel>,
}

impl MemoryStore {
    /// The first handle of a new, empty store.
    pub fn new() -> Self {
        let id = uuid::Uuid::new_v4().simple().to_string();
        Self { id, handle: 0, shared: Arc::default() }
    }

    /// Another handle of the same store, as another process would have.
    #[must_use]
    pub fn another(&self) -> Self {
        let mut shared = self.shared();
        shared.handles += 1;
        Self { id: self.id.clone(), handle: shared.handles, shared: Arc::clone(&self.shared) }
    }

    /// Flips a bit of a blob, as a failing disk would; `false` when the blob is not here or empty. For tests of damage.
    pub fn damage_blob(&mut self, digest: &Digest) -> bool {
        match self.shared().blobs.get_mut(digest).and_then(|bytes| bytes.first_mut()) {
            Some(byte) => {
                *byte ^= 1;
                true
            }
            None => false,
        }
    }

    fn shared(&self) -> MutexGuard<'_, Shared> {
        // A panic of another test thread leaves whole rows behind: every change below happens after all checks.
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for MemoryStore {
    fn drop(&mut self) {
        let mut shared = self.shared();
        let handle = self.handle;
        shared.locks.retain(|_, lock| lock.holder != handle);
    }
}

impl Shared {
    fn head(&self, name: &ResourceName) -> Option<&Version> {
        self.chains.get(name)?.last()
    }

    /// The versions that `new` would become, without storing any: a later one of the same resource sees the earlier.
    fn admitted(&self, new: &[NewVersion]) -> Result<Vec<Version>, StoreError> {
        let mut admitted: Vec<Version> = Vec::new();
        for new in new {
            let before = admitted.iter().rfind(|version| version.resource == new.resource).or_else(|| self.head(&new.resource));
            let found = before.map(Version::digest);
            if found != new.expected {
                return Err(moved(new.resource.clone(), new.expected, found));
            }
            let number = before.map_or(0, |version| version.number) + 1;
            let content = Digest::of(&new.content);
            let version = Version { resource: new.resource.clone(), number, parent: found, content, made: new.made.clone(), log: new.log };
            admitted.push(version);
        }
        Ok(admitted)
    }

    fn apply(&mut self, commit: Commit, versions: &[Version], lines: Vec<String>) {
        for (new, version) in commit.versions.into_iter().zip(versions) {
            self.dropped.remove(&version.content);
            self.blobs.insert(version.content, new.content);
            let chain = self.chains.entry(new.resource.clone()).or_default();
            self.places.insert(version.digest(), (new.resource, chain.len()));
            chain.push(version.clone());
        }
        for (digest, bytes) in commit.sealed {
            self.sealed.entry(digest).or_insert(bytes);
        }
        self.records.extend(commit.records);
        if let Some((run, _)) = commit.journal {
            self.journals.entry(run).or_default().extend(lines);
        }
        if let Some((run, state, ended)) = commit.state
            && let Some(row) = self.runs.get_mut(&run)
        {
            (row.state, row.ended) = (state, ended);
        }
        if let Some((run, change)) = commit.leases {
            self.leases.change(&run, &change);
        }
    }

    fn told(&self, keep: impl Fn(&RunRow) -> bool, limit: usize) -> Vec<RunRow> {
        let mut rows: Vec<RunRow> = self.runs.values().filter(|row| keep(row)).cloned().collect();
        rows.sort_by(|a, b| (b.began, &b.id).cmp(&(a.began, &a.id)));
        rows.truncate(limit);
        for row in &mut rows {
            if row.state == RunState::Running && !self.locks.contains_key(&row.id) {
                row.state = RunState::Interrupted;
            }
        }
        rows
    }
}

impl Store for MemoryStore {
    fn id(&self) -> &str {
        &self.id
    }

    fn put_blob(&mut self, bytes: &[u8]) -> Result<Digest, StoreError> {
        if bytes.len() > LARGEST {
            return Err(too_large(bytes.len()));
        }
        let digest = Digest::of(bytes);
        let mut shared = self.shared();
        shared.dropped.remove(&digest);
        shared.blobs.entry(digest).or_insert_with(|| bytes.to_vec());
        Ok(digest)
    }

    fn blob(&mut self, digest: &Digest) -> Result<Option<Vec<u8>>, StoreError> {
        let Some(bytes) = self.shared().blobs.get(digest).cloned() else { return Ok(None) };
        match Digest::of(&bytes) {
            found if found == *digest => Ok(Some(bytes)),
            found => Err(StoreError::Damaged {
                what: format!("blob {digest} in memory"),
                why: format!("its {} bytes hash to {found}", bytes.len()),
            }),
        }
    }

    fn head(&mut self, name: &ResourceName) -> Result<Option<Version>, StoreError> {
        Ok(self.shared().head(name).cloned())
    }

    fn heads(&mut self, pattern: Option<&ResourcePattern>) -> Result<Vec<Version>, StoreError> {
        let shared = self.shared();
        let meant = shared.chains.iter().filter(|(name, _)| pattern.is_none_or(|pattern| pattern.contains(name)));
        Ok(meant.filter_map(|(_, chain)| chain.last().cloned()).collect())
    }

    fn version(&mut self, digest: &Digest) -> Result<Option<Version>, StoreError> {
        let shared = self.shared();
        Ok(shared.places.get(digest).and_then(|(name, place)| shared.chains.get(name)?.get(*place).cloned()))
    }

    fn chain(&mut self, name: &ResourceName, before: Option<u64>, limit: usize) -> Result<Vec<Version>, StoreError> {
        let shared = self.shared();
        let chain = shared.chains.get(name).map_or(&[][..], Vec::as_slice);
        Ok(chain.iter().rev().filter(|version| before.is_none_or(|n| version.number < n)).take(limit).cloned().collect())
    }

    fn version_at(&mut self, name: &ResourceName, time: Time) -> Result<Option<Version>, StoreError> {
        let shared = self.shared();
        Ok(shared.chains.get(name).and_then(|chain| chain.iter().rfind(|version| version.made.at <= time).cloned()))
    }

    fn sealed(&mut self, digest: &Digest) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.shared().sealed.get(digest).cloned())
    }

    fn commit(&mut self, commit: Commit) -> Result<Vec<Version>, StoreError> {
        admit::commit(&commit)?;
        if let Some(large) = commit.versions.iter().find(|new| new.content.len() > LARGEST) {
            return Err(too_large(large.content.len()));
        }
        let mut shared = self.shared();
        let versions = shared.admitted(&commit.versions)?;
        let named = [commit.journal.as_ref().map(|(run, _)| run), commit.state.as_ref().map(|(run, ..)| run)];
        if let Some(stranger) = named.into_iter().flatten().find(|run| !shared.runs.contains_key(run)) {
            return Err(never_begun(stranger));
        }
        let lines = commit.journal.iter().flat_map(|(_, lines)| lines).map(admit::line_text).collect::<Result<Vec<_>, _>>()?;
        shared.apply(commit, &versions, lines);
        Ok(versions)
    }

    fn record_by_key(&mut self, key: &Digest) -> Result<Option<ActionRecord>, StoreError> {
        Ok(self.shared().records.iter().rfind(|record| record.made.key == *key && record.succeeded()).cloned())
    }

    fn record_by_subject(&mut self, subject: &str) -> Result<Option<ActionRecord>, StoreError> {
        Ok(self.shared().records.iter().rfind(|record| record.subject == subject).cloned())
    }

    fn records(&mut self, run: &RunId) -> Result<Vec<ActionRecord>, StoreError> {
        Ok(self.shared().records.iter().filter(|record| record.made.run == *run).cloned().collect())
    }

    fn newest_record(&mut self) -> Result<u64, StoreError> {
        Ok(self.shared().records.len() as u64)
    }

    fn begin_run(&mut self, row: RunRow) -> Result<(), StoreError> {
        admit::run(&row)?;
        let handle = self.handle;
        let mut shared = self.shared();
        let cause = if shared.locks.contains_key(&row.id) {
            "it is running"
        } else if shared.runs.contains_key(&row.id) {
            "there is a run of that id"
        } else {
            shared.locks.insert(row.id.clone(), Lock { holder: handle, asked: None });
            shared.runs.insert(row.id.clone(), row);
            return Ok(());
        };
        Err(StoreError::Io { attempt: format!("begin run {}", row.id), cause: cause.to_owned() })
    }

    fn end_run(&mut self, run: &RunId) -> Result<(), StoreError> {
        let (handle, mut shared) = (self.handle, self.shared());
        shared.locks.retain(|held, lock| held != run || lock.holder != handle);
        Ok(())
    }

    fn resume_run(&mut self, run: &RunId) -> Result<bool, StoreError> {
        let mut shared = self.shared();
        if shared.locks.contains_key(run) {
            return Ok(false);
        }
        let row = shared.runs.get_mut(run).ok_or_else(|| never_begun(run))?;
        (row.state, row.ended) = (RunState::Running, None);
        shared.leases.orphan(run);
        shared.locks.insert(run.clone(), Lock { holder: self.handle, asked: None });
        Ok(true)
    }

    fn ask_cancel(&mut self, run: &RunId, ask: &Cancel) -> Result<bool, StoreError> {
        let mut shared = self.shared();
        let lock = shared.locks.get_mut(run);
        Ok(lock.map(|lock| lock.asked = Some(ask.clone())).is_some())
    }

    fn cancel_asked(&mut self, run: &RunId) -> Result<Option<Cancel>, StoreError> {
        Ok(self.shared().locks.get(run).and_then(|lock| lock.asked.clone()))
    }

    fn runs(&mut self, limit: usize) -> Result<Vec<RunRow>, StoreError> {
        Ok(self.shared().told(|_| true, limit))
    }

    fn find_runs(&mut self, part: &str) -> Result<Vec<RunRow>, StoreError> {
        let part = part.to_lowercase();
        let fits = |row: &RunRow| row.id.as_str().starts_with(&part) || row.id.as_str().ends_with(&part);
        Ok(self.shared().told(fits, FOUND_AT_MOST))
    }

    fn journal(&mut self, run: &RunId, from: u64, limit: usize) -> Result<Vec<Stamped>, StoreError> {
        let shared = self.shared();
        let lines = shared.journals.get(run).map_or(&[][..], Vec::as_slice);
        let from = usize::try_from(from).unwrap_or(usize::MAX);
        let read = |text: &String| {
            admit::line_of(text).map_err(|why| StoreError::Damaged { what: format!("the journal of run {run} in memory"), why })
        };
        lines.iter().skip(from).take(limit).map(read).collect()
    }

    fn lease(&mut self, ask: &Ask) -> Result<Standing, StoreError> {
        let mut shared = self.shared();
        let Shared { leases, locks, .. } = &mut *shared;
        Ok(leases.ask(ask, &|run| locks.contains_key(run)))
    }

    fn leave(&mut self, run: &RunId) -> Result<(), StoreError> {
        self.shared().leases.leave(run);
        Ok(())
    }

    fn settled(&mut self, heir: &RunId, dead: &RunId) -> Result<(), StoreError> {
        self.shared().leases.settled(heir, dead);
        Ok(())
    }

    fn orphan(&mut self, run: &RunId) -> Result<(), StoreError> {
        self.shared().leases.orphan(run);
        Ok(())
    }

    fn requests(&mut self) -> Result<Vec<Request>, StoreError> {
        Ok(self.shared().leases.requests().to_vec())
    }

    fn heard(&mut self, row: &AuditRow) -> Result<bool, StoreError> {
        let mut shared = self.shared();
        let new = shared.audit.iter().all(|known| known.id != row.id);
        if new {
            shared.audit.push(row.clone());
        }
        Ok(new)
    }

    fn answered(&mut self, row: &AuditRow) -> Result<(), StoreError> {
        let mut shared = self.shared();
        match shared.audit.iter_mut().find(|known| known.id == row.id) {
            Some(known) => known.clone_from(row),
            None => shared.audit.push(row.clone()),
        }
        Ok(())
    }

    fn audit(&mut self, open: bool, limit: usize) -> Result<Vec<AuditRow>, StoreError> {
        Ok(self.shared().audit.iter().rev().filter(|row| !open || !row.settled).take(limit).cloned().collect())
    }

    fn pin(&mut self, identity: &str) -> Result<Option<String>, StoreError> {
        Ok(self.shared().pins.get(identity).cloned())
    }

    fn set_pin(&mut self, identity: &str, key: Option<&str>) -> Result<(), StoreError> {
        let mut shared = self.shared();
        match key {
            Some(key) => shared.pins.insert(identity.to_owned(), key.to_owned()),
            None => shared.pins.remove(identity),
        };
        Ok(())
    }

    fn blob_names(&mut self) -> Result<Vec<Digest>, StoreError> {
        Ok(self.shared().blobs.keys().copied().collect())
    }

    fn drop_blobs(&mut self, blobs: &[Digest]) -> Result<u64, StoreError> {
        let mut shared = self.shared();
        if let Some(run) = shared.locks.keys().next() {
            return Err(StoreError::Io { attempt: "drop blobs".to_owned(), cause: format!("run {run} is in progress") });
        }
        shared.dropped.extend(blobs);
        let here = blobs.iter().filter(|digest| shared.blobs.remove(digest).is_some()).count();
        Ok(here as u64)
    }

    fn reseal(&mut self, seal: &mut Reseal<'_>) -> Result<u64, StoreError> {
        let mut shared = self.shared();
        if let Some(run) = shared.locks.keys().next() {
            return Err(StoreError::Io { attempt: "seal the secrets anew".to_owned(), cause: format!("run {run} is in progress") });
        }
        let mut changed = Vec::new();
        for (name, bytes) in &shared.sealed {
            let what = format!("the sealed secret {name}");
            changed.extend(seal(bytes).map_err(|why| StoreError::Damaged { what, why })?.map(|new| (*name, new)));
        }
        let count = changed.len() as u64;
        shared.sealed.extend(changed);
        Ok(count)
    }

    fn dropped(&mut self, digest: &Digest) -> Result<bool, StoreError> {
        let shared = self.shared();
        Ok(shared.dropped.contains(digest) && !shared.blobs.contains_key(digest))
    }
}
