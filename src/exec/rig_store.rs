//! The store of this room's tests: one that a test may break and watch.

use crate::digest::Digest;
use crate::event::{Stamped, Time};
use crate::exec::rig::{Refuses, Watch};
use crate::name::{ResourceName, RunId};
use crate::store::Store;
use crate::store::lease::{Ask, Request, Standing};
use crate::store::memory::MemoryStore;
use crate::store::words::{ActionRecord, Cancel, Commit, RunRow, StoreError, Version};

/// A store, which a test may break and watch.
pub struct RigStore {
    /// Where it is all kept.
    pub inner: Box<dyn Store>,
    /// Refuses transactions.
    pub broken: Option<Refuses>,
    /// Hears of every call.
    pub watch: Option<Watch>,
    /// Whether what was gathered cannot be written.
    pub full: bool,
    /// The versions since `gather`.
    pub gathered: Option<Vec<Version>>,
}

/// A store in memory that tells of its calls; when it is `full`, what it gathered cannot be written.
pub fn watched(watch: Watch, full: bool) -> Box<dyn Store> {
    Box::new(RigStore { inner: Box::new(MemoryStore::new()), broken: None, watch: Some(watch), full, gathered: None })
}

impl RigStore {
    fn told(&self, call: &'static str, written: Option<&[Version]>) {
        self.watch.iter().for_each(|watch| watch(call, written));
    }
}

macro_rules! passed_on {
    ($($name:ident($($argument:ident: $type:ty),*) -> $result:ty;)*) => {
        impl Store for RigStore {
            fn id(&self) -> &str {
                self.inner.id()
            }
            fn commit(&mut self, commit: Commit) -> Result<Vec<Version>, StoreError> {
                if self.broken.as_ref().is_some_and(|broken| broken(&commit)) {
                    return Err(StoreError::Io { attempt: "write the index".into(), cause: "no space left on device".into() });
                }
                self.told("commit", None);
                let written = self.inner.commit(commit);
                match (&written, &mut self.gathered) {
                    // Promised only with all that is gathered.
                    (Ok(versions), Some(gathered)) => {
                        gathered.extend(versions.iter().cloned());
                        self.told("commit", Some(&[]));
                    }
                    (Ok(versions), None) => self.told("commit", Some(versions)),
                    (Err(_), _) => {}
                }
                written
            }
            fn gather(&mut self) -> Result<(), StoreError> {
                self.told("gather", None);
                self.gathered = Some(Vec::new());
                self.inner.gather()
            }
            fn release(&mut self) -> Result<(), StoreError> {
                self.told("release", None);
                if self.full {
                    return Err(StoreError::Io { attempt: "write a transaction".into(), cause: "no space left on device".into() });
                }
                let gathered = self.gathered.take().unwrap_or_default();
                let released = self.inner.release();
                if released.is_ok() {
                    self.told("release", Some(&gathered));
                }
                released
            }
            $(fn $name(&mut self, $($argument: $type),*) -> Result<$result, StoreError> {
                self.told(stringify!($name), None);
                let answer = self.inner.$name($($argument),*);
                self.told(stringify!($name), Some(&[]));
                answer
            })*
        }
    };
}

passed_on! {
    put_blob(bytes: &[u8]) -> Digest;
    blob(digest: &Digest) -> Option<Vec<u8>>;
    head(name: &ResourceName) -> Option<Version>;
    heads(pattern: Option<&crate::name::ResourcePattern>) -> Vec<Version>;
    version(digest: &Digest) -> Option<Version>;
    chain(name: &ResourceName, before: Option<u64>, limit: usize) -> Vec<Version>;
    version_at(name: &ResourceName, time: Time) -> Option<Version>;
    sealed(digest: &Digest) -> Option<Vec<u8>>;
    record_by_key(key: &Digest) -> Option<ActionRecord>;
    record_by_subject(subject: &str) -> Option<ActionRecord>;
    records(run: &RunId) -> Vec<ActionRecord>;
    newest_record() -> u64;
    begin_run(row: RunRow) -> ();
    end_run(run: &RunId) -> ();
    resume_run(run: &RunId) -> bool;
    ask_cancel(run: &RunId, ask: &Cancel) -> bool;
    cancel_asked(run: &RunId) -> Option<Cancel>;
    runs(limit: usize) -> Vec<RunRow>;
    find_runs(part: &str) -> Vec<RunRow>;
    journal(run: &RunId, from: u64, limit: usize) -> Vec<Stamped>;
    lease(ask: &Ask) -> Standing;
    leave(run: &RunId) -> ();
    settled(heir: &RunId, dead: &RunId) -> ();
    orphan(run: &RunId) -> ();
    requests() -> Vec<Request>;
    heard(row: &crate::store::words::AuditRow) -> bool;
    answered(row: &crate::store::words::AuditRow) -> ();
    audit(open: bool, limit: usize) -> Vec<crate::store::words::AuditRow>;
    pin(identity: &str) -> Option<String>;
    set_pin(identity: &str, key: Option<&str>) -> ();
}
