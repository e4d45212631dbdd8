//! The store: versions of resources chained by digest, records of actions, runs with their journals, and the blobs they name.
//!
//! Holds: the trait, its words, a directory store (SQLite index beside blob files), a memory store, and one conformance suite over both
//! Imports: digest, event, files, name
//! Effects: files and locks below one directory
//! Never: decrypts, prints, waits for the network, overwrites a version

mod admit;
mod audit;
mod blob;
mod cancel;
mod chain;
pub mod dir;
pub mod gc;
pub mod lease;
mod lease_rows;
mod ledger;
pub mod memory;
mod queue;
mod repeats;
mod run_lock;
mod schema;
mod sums;
pub mod verify;
pub mod words;

#[cfg(test)]
mod conformance;
#[cfg(test)]
mod dir_tests;
#[cfg(test)]
mod equal_tests;
#[cfg(test)]
mod flip_tests;
#[cfg(test)]
mod lease_model;
#[cfg(test)]
mod lease_tests;
#[cfg(test)]
mod power_tests;
#[cfg(test)]
mod resume_tests;
#[cfg(test)]
mod spoiled_tests;
#[cfg(test)]
mod torn_tests;

use crate::digest::Digest;
use crate::event::{Stamped, Time};
use crate::name::{ResourceName, ResourcePattern, RunId};
use lease::{Ask, Request, Standing};
use words::{ActionRecord, AuditRow, Cancel, Commit, RunRow, StoreError, Version, WithContent};

/// What becomes of sealed bytes: others, `None` when they stay, or why not.
pub type Reseal<'a> = dyn FnMut(&[u8]) -> Result<Option<Vec<u8>>, String> + 'a;

/// Writes a blob from its beginning to its end, the same each time.
pub type Writing<'a> = dyn Fn(&mut dyn std::io::Write) -> std::io::Result<()> + 'a;

/// A store. Synchronous; one thread of its process at a time uses it, and several processes may use one directory at the same time.
pub trait Store: Send {
    /// The store's own id (32 hex digits), made with it: the name of its key.
    fn id(&self) -> &str;

    /// Keeps bytes; returns their name. Keeping the same bytes again is free. Seen by other handles when the next `commit` or `begin_run` of this
    /// handle returns, and durable with the row that names them: until then none can.
    fn put_blob(&mut self, bytes: &[u8]) -> Result<Digest, StoreError>;
    /// The same for what need not be held in memory as a whole: it is written as often as it must be.
    fn put_written(&mut self, write: &Writing<'_>) -> Result<Digest, StoreError> {
        let mut bytes = Vec::new();
        write(&mut bytes).map_err(|e| blob::io("write a blob".to_owned(), &e))?;
        self.put_blob(&bytes)
    }
    /// The bytes of that name; an error when they do not hash to it any more, `None` when they are not here.
    fn blob(&mut self, digest: &Digest) -> Result<Option<Vec<u8>>, StoreError>;

    /// The newest version of a resource.
    fn head(&mut self, name: &ResourceName) -> Result<Option<Version>, StoreError>;
    /// The newest versions of all resources that fit, in name order; `None` is every resource.
    fn heads(&mut self, pattern: Option<&ResourcePattern>) -> Result<Vec<Version>, StoreError>;
    /// The version of that digest.
    fn version(&mut self, digest: &Digest) -> Result<Option<Version>, StoreError>;
    /// Versions of a resource, newest first, below number `before` if it is given, at most `limit`.
    fn chain(&mut self, name: &ResourceName, before: Option<u64>, limit: usize) -> Result<Vec<Version>, StoreError>;
    /// The same, with the bytes of those contents that are at hand with them; [`Store::blob`] has the others. What comes is whole.
    fn chain_with_contents(&mut self, name: &ResourceName, before: Option<u64>, limit: usize) -> Result<Vec<WithContent>, StoreError> {
        Ok(self.chain(name, before, limit)?.into_iter().map(|version| (version, None)).collect())
    }
    /// The newest version that was there at `time`.
    fn version_at(&mut self, name: &ResourceName, time: Time) -> Result<Option<Version>, StoreError>;

    /// The sealed bytes of the secret with this keyed digest.
    fn sealed(&mut self, digest: &Digest) -> Result<Option<Vec<u8>>, StoreError>;

    /// One transaction: blobs, versions (each by compare-and-swap of its head), records, journal lines, the run's state. All of it or nothing;
    /// synced when this returns, but for the one that ends a run: that is durable when `end_run` returns. Returns the versions as stored, in the order given. Journal and state need a run that was begun.
    fn commit(&mut self, commit: Commit) -> Result<Vec<Version>, StoreError>;

    /// From now on to [`Store::release`] every commit is all or nothing as ever, and seen by this handle, but durable and seen by others only then: many
    /// share one wait for the disk. A store that cannot gather syncs each by itself.
    fn gather(&mut self) -> Result<(), StoreError> {
        Ok(())
    }
    /// Ends what `gather` began: all the commits since are durable, or, after an error, none of them ever was.
    fn release(&mut self) -> Result<(), StoreError> {
        Ok(())
    }

    /// The newest successful record (see [`ActionRecord::succeeded`]) with this action key.
    fn record_by_key(&mut self, key: &Digest) -> Result<Option<ActionRecord>, StoreError>;
    /// The newest record with this subject (call and what it acts on), whatever its key: to say what differs.
    fn record_by_subject(&mut self, subject: &str) -> Result<Option<ActionRecord>, StoreError>;
    /// The records of a run in the order they were stored.
    fn records(&mut self, run: &RunId) -> Result<Vec<ActionRecord>, StoreError>;

    /// The number of the newest record, 0 without one; each record has a higher number than those before it.
    fn newest_record(&mut self) -> Result<u64, StoreError>;
    /// What a run that had nothing to do left under `key` for those that would find the same. Only a hint: a store may have lost it, or keep none.
    fn repeat(&mut self, _key: &Digest) -> Result<Option<String>, StoreError> {
        Ok(None)
    }
    /// Leaves `body` under `key`, in place of what was there. Gone when blobs are dropped or secrets sealed anew.
    fn keep_repeat(&mut self, _key: &Digest, _body: &str) -> Result<(), StoreError> {
        Ok(())
    }

    /// Writes the first row of a run and takes its lock file; the lock is held until `end_run` or the death of the process. Durable with the next `commit`: by
    /// then nothing was done.
    fn begin_run(&mut self, row: RunRow) -> Result<(), StoreError>;
    /// Frees the lock file of a run begun here. The final state was written by `commit` before, and is durable when this returns.
    fn end_run(&mut self, run: &RunId) -> Result<(), StoreError>;
    /// Takes the lock of a run that was begun before, by whichever process, and sets it running again. `false`: some process holds it, so it lives.
    fn resume_run(&mut self, run: &RunId) -> Result<bool, StoreError>;
    /// Asks a run to stop, in whichever process it lives; a later ask takes the place of an earlier one. `false`: no process holds its lock, so nobody
    /// hears it.
    fn ask_cancel(&mut self, run: &RunId, ask: &Cancel) -> Result<bool, StoreError>;
    /// What a run was last asked for by `ask_cancel` since it was begun or resumed. Cheap: a run looks often.
    fn cancel_asked(&mut self, run: &RunId) -> Result<Option<Cancel>, StoreError>;
    /// Runs, newest first. A row that says `running` while nobody holds its lock comes back as `interrupted`.
    fn runs(&mut self, limit: usize) -> Result<Vec<RunRow>, StoreError>;
    /// Runs whose id begins or ends with `part` (hex digits), newest first, at most 10.
    fn find_runs(&mut self, part: &str) -> Result<Vec<RunRow>, StoreError>;
    /// The journal of a run from line `from` (0-based), at most `limit` lines.
    fn journal(&mut self, run: &RunId, from: u64, limit: usize) -> Result<Vec<Stamped>, StoreError>;

    /// Files the run's request for leases, unless it has one, and says how it stands: granted as a whole, or waiting. To be asked again while it waits; cheap
    /// then. With `wait` false a request that is not granted is not filed. One transaction, seen by other processes at once and durable with the next `commit`.
    fn lease(&mut self, ask: &Ask) -> Result<Standing, StoreError>;
    /// Takes the run's request out of the queue, or gives all its leases back; dead runs that it has not settled are left to others.
    fn leave(&mut self, run: &RunId) -> Result<(), StoreError>;
    /// `heir` has settled all that the run `dead` left unfinished. Nothing happens when it is not the heir.
    fn settled(&mut self, heir: &RunId, dead: &RunId) -> Result<(), StoreError>;
    /// A run goes on under its old id, its lock held anew: what it held when it died is orphaned until somebody is heir of it, as likely as not the run itself
    /// when it asks again. To be called before it asks.
    fn orphan(&mut self, run: &RunId) -> Result<(), StoreError>;
    /// All requests for leases, by ticket.
    fn requests(&mut self) -> Result<Vec<Request>, StoreError>;

    /// Writes what somebody asked for, unless a row of that id is there: then `false`, and the row stays as it is. Synced.
    fn heard(&mut self, row: &AuditRow) -> Result<bool, StoreError>;
    /// Writes the row over the one of its id. Synced.
    fn answered(&mut self, row: &AuditRow) -> Result<(), StoreError>;
    /// What was asked for, newest first, at most `limit`; with `open` only what has no last answer.
    fn audit(&mut self, open: bool, limit: usize) -> Result<Vec<AuditRow>, StoreError>;

    /// The pinned host key (OpenSSH public key line) of this identity.
    fn pin(&mut self, identity: &str) -> Result<Option<String>, StoreError>;
    /// Pins a key, replacing an older pin; `None` removes it.
    fn set_pin(&mut self, identity: &str, key: Option<&str>) -> Result<(), StoreError>;

    /// The names of all resources in order, without reading a version: works where [`Store::heads`] fails at a damaged one.
    fn names(&mut self) -> Result<Vec<ResourceName>, StoreError> {
        Ok(self.heads(None)?.into_iter().map(|version| version.resource).collect())
    }
    /// The number of the newest version of a resource, 0 without one; reads no version.
    fn length(&mut self, name: &ResourceName) -> Result<u64, StoreError> {
        Ok(self.head(name)?.map_or(0, |version| version.number))
    }
    /// The names of all blobs that are here, in order; none is read.
    fn blob_names(&mut self) -> Result<Vec<Digest>, StoreError> {
        Err(StoreError::Io { attempt: "list the blobs".to_owned(), cause: "this store cannot list them".to_owned() })
    }
    /// Drops these blobs and remembers their names as dropped; returns how many were here. Refused while a run is in progress anywhere, because a
    /// run names blobs that were kept before. What is named by rows stays named: links are never dropped. What crashes left behind goes too.
    fn drop_blobs(&mut self, blobs: &[Digest]) -> Result<u64, StoreError> {
        let attempt = format!("drop {} blobs", blobs.len());
        Err(StoreError::Io { attempt, cause: "this store cannot drop any".to_owned() })
    }
    /// Replaces sealed bytes by what `seal` makes of them (`None`: they stay), all in one transaction, and leaves nothing of the old ones in the files.
    /// Refused while a run is in progress anywhere: its process seals with the key that it has. The first error of `seal` ends it. Returns how many changed.
    fn reseal(&mut self, seal: &mut Reseal<'_>) -> Result<u64, StoreError> {
        let _ = seal;
        Err(StoreError::Io { attempt: "seal the secrets anew".to_owned(), cause: "this store cannot".to_owned() })
    }
    /// The bytes that a blob takes where it lies, compressed or not; 0 when it is not here.
    fn blob_length(&mut self, digest: &Digest) -> Result<u64, StoreError> {
        Ok(self.blob(digest)?.map_or(0, |bytes| bytes.len() as u64))
    }
    /// Whether the blob was dropped on purpose, and not kept again since.
    fn dropped(&mut self, _digest: &Digest) -> Result<bool, StoreError> {
        Ok(false)
    }
    /// The rows that are not what was written, among those that no digest covers.
    fn damaged_rows(&mut self) -> Result<Vec<verify::Damage>, StoreError> {
        Ok(Vec::new())
    }
    /// What the index says about its own structure: one sentence per defect, empty when it is sound.
    fn index_defects(&mut self) -> Result<Vec<String>, StoreError> {
        Ok(Vec::new())
    }
}
