//! The log: versions newest first, each with what differs from the one before, handed over as they are read.

use std::collections::{BinaryHeap, VecDeque};

use serde::Serialize;

use crate::name::ResourceName;
use crate::ops::history::{Change, Shown, Wanted, Which, differences, listed, trouble};
use crate::source::Diagnostic;
use crate::store::Store;
use crate::store::words::{StoreError, WithContent};

/// One version in the log.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Entry {
    /// The version.
    #[serde(flatten)]
    pub version: Shown,
    /// What differs from the version before; `None` for the first version, and where one of the two was dropped.
    pub changes: Option<Vec<Change>>,
}

/// How many versions are read at once: the first page is shown before the second is read.
const PAGE: usize = 64;

/// Hands the versions of `resource`, or of every resource, to `take`, newest first, until it returns `false` or `limit` is reached.
pub fn log(
    store: &mut dyn Store,
    resource: Option<&str>,
    limit: usize,
    take: &mut dyn FnMut(Entry) -> bool,
) -> Result<(), Vec<Diagnostic>> {
    match resource {
        Some(text) => {
            let mut wanted = Wanted::parse(text)?;
            wanted.which = Which::Head;
            let head = wanted.find(store)?;
            one(store, &head.resource, limit, take).map_err(|e| trouble(&e))
        }
        None => all(store, limit, take).map_err(|e| trouble(&e)),
    }
}

fn one(store: &mut dyn Store, name: &ResourceName, limit: usize, take: &mut dyn FnMut(Entry) -> bool) -> Result<(), StoreError> {
    let mut chain = Chain::new(name.clone());
    let mut left = limit;
    while left > 0 {
        let Some(entry) = chain.next(store)? else { return Ok(()) };
        left -= 1;
        if !take(entry) {
            return Ok(());
        }
    }
    Ok(())
}

/// All resources at once: the newest of their next versions, again and again.
fn all(store: &mut dyn Store, limit: usize, take: &mut dyn FnMut(Entry) -> bool) -> Result<(), StoreError> {
    let mut chains = Vec::new();
    let mut newest = BinaryHeap::new();
    for head in store.heads(None)? {
        newest.push((head.made.at, head.number, chains.len()));
        chains.push(Chain::new(head.resource));
    }
    for _ in 0..limit {
        let Some((_, _, index)) = newest.pop() else { return Ok(()) };
        let Some(entry) = chains[index].next(store)? else { continue };
        if let Some(next) = chains[index].peek() {
            newest.push((next.at, next.version, index));
        }
        if !take(entry) {
            return Ok(());
        }
    }
    Ok(())
}

/// A chain that is read page by page.
struct Chain {
    name: ResourceName,
    page: VecDeque<WithContent>,
    before: Option<u64>,
    ended: bool,
    /// The attributes of the next version, read already to tell what the last one changed.
    ahead: Option<Shown>,
}

impl Chain {
    fn new(name: ResourceName) -> Self {
        Self { name, page: VecDeque::new(), before: None, ended: false, ahead: None }
    }

    /// What comes after the entry that was taken last.
    const fn peek(&self) -> Option<&Shown> {
        self.ahead.as_ref()
    }

    fn take(&mut self, store: &mut dyn Store) -> Result<Option<Shown>, StoreError> {
        self.fill(store)?;
        self.page.pop_front().map(|version| listed(store, version)).transpose()
    }

    fn fill(&mut self, store: &mut dyn Store) -> Result<(), StoreError> {
        if self.page.is_empty() && !self.ended {
            let page = store.chain_with_contents(&self.name, self.before, PAGE)?;
            self.ended = page.len() < PAGE;
            self.before = page.last().map(|(version, _)| version.number);
            self.page = page.into();
        }
        Ok(())
    }

    fn next(&mut self, store: &mut dyn Store) -> Result<Option<Entry>, StoreError> {
        let version = match self.ahead.take() {
            Some(ahead) => Some(ahead),
            None => self.take(store)?,
        };
        let Some(version) = version else { return Ok(None) };
        let before = self.take(store)?;
        let known = before.as_ref().filter(|before| !before.dropped && !version.dropped);
        let changes = known.map(|before| differences(&before.attributes, &version.attributes));
        self.ahead = before;
        Ok(Some(Entry { version, changes }))
    }
}
