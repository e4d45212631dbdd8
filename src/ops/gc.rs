//! Sweeping out old contents: what a person asked to keep stays, links stay always.

use std::time::Duration;

use serde::Serialize;

use crate::event::Time;
use crate::ops::history::trouble;
use crate::ops::runs;
use crate::source::Diagnostic;
use crate::store::Store;
use crate::store::gc::sweep;
use crate::wire::clock::{Clock, SystemClock};

/// What a person wants kept.
#[derive(Clone, Copy, Debug)]
pub struct Kept {
    /// The contents of so many versions of each resource, the newest ones; at least one.
    pub versions: u64,
    /// All contents younger than this.
    pub younger: Duration,
}

/// What was swept out, or would be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Swept {
    /// How many contents went.
    pub dropped: u64,
    /// The bytes they took.
    pub bytes: u64,
    /// How many contents stay.
    pub stay: usize,
    /// Whether this is only what would happen.
    pub dry_run: bool,
}

/// Drops the contents that `kept` does not name; with `dry_run` only says what would go. Refused while a run is in progress: it names contents that were
/// kept before, and nobody but its process knows which.
pub fn gc(store: &mut dyn Store, kept: Kept, dry_run: bool) -> Result<Swept, Vec<Diagnostic>> {
    if !dry_run {
        runs::idle(store, "may need what would go")?;
    }
    let now = SystemClock::new().now();
    let age = i64::try_from(kept.younger.as_millis()).unwrap_or(i64::MAX);
    let swept = sweep(store, kept.versions, Time(now.0.saturating_sub(age))).map_err(|e| trouble(&e))?;
    let bytes = swept.go.iter().try_fold(0, |sum: u64, digest| store.blob_length(digest).map(|length| sum + length));
    let bytes = bytes.map_err(|e| trouble(&e))?;
    let dropped = if dry_run { swept.go.len() as u64 } else { store.drop_blobs(&swept.go).map_err(|e| trouble(&e))? };
    Ok(Swept { dropped, bytes, stay: swept.stay, dry_run })
}
