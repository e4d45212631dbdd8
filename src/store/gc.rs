//! Sweeping: which blobs may go when old contents are no longer wanted. Links of chains, records and journals always stay.
//!
//! | blob | stays while |
//! |---|---|
//! | content and log of a version | it is among the newest `keep` of its resource, or not older than `since` |
//! | graph of a run, manifests, logs and outputs of its records | the run did not begin before `since`, or is in progress |
//! | anything nothing names | never |
//!
//! A blob stays when one of those that name it does. Sealed secrets stay: they are small, and worthless without the store's key.

use std::collections::BTreeSet;

use super::Store;
use super::words::{RunRow, StoreError, Version};
use crate::digest::Digest;
use crate::event::{RunState, Time};
use crate::name::ResourceName;

/// How many versions are held at once.
const PAGE: usize = 500;

/// What a sweep did, or would do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sweep {
    /// The blobs that may go, in order.
    pub go: Vec<Digest>,
    /// How many stay.
    pub stay: usize,
}

/// The blobs that may go when of each resource only the newest `keep` versions (at least one) and those not older than `since` keep their contents.
/// Changes nothing; hand `go` to [`Store::drop_blobs`]. Fails where something cannot be read: a damaged store is verified first, not swept.
pub fn sweep(store: &mut dyn Store, keep: u64, since: Time) -> Result<Sweep, StoreError> {
    let mut stay = BTreeSet::new();
    for name in store.names()? {
        chain(store, &name, keep.max(1), since, &mut stay)?;
    }
    for run in store.runs(usize::MAX)? {
        if run.began >= since || run.state == RunState::Running {
            self::run(store, &run, &mut stay)?;
        }
    }
    let here = store.blob_names()?;
    let (stay, go): (Vec<Digest>, Vec<Digest>) = here.into_iter().partition(|digest| stay.contains(digest));
    Ok(Sweep { go, stay: stay.len() })
}

fn chain(store: &mut dyn Store, name: &ResourceName, keep: u64, since: Time, stay: &mut BTreeSet<Digest>) -> Result<(), StoreError> {
    let length = store.length(name)?;
    let stays = |version: &Version| version.number + keep > length || version.made.at >= since;
    let mut before = None;
    // Bounded by the chain: each page ends below the one before.
    loop {
        let page = store.chain(name, before, PAGE)?;
        let Some(last) = page.last() else { return Ok(()) };
        before = Some(last.number);
        for version in page.iter().filter(|version| stays(version)) {
            stay.insert(version.content);
            stay.extend(version.log);
        }
    }
}

fn run(store: &mut dyn Store, run: &RunRow, stay: &mut BTreeSet<Digest>) -> Result<(), StoreError> {
    stay.insert(run.graph);
    for record in store.records(&run.id)? {
        stay.insert(record.manifest);
        stay.extend(record.log);
        stay.extend(record.outputs.iter().map(|output| output.content));
    }
    Ok(())
}
