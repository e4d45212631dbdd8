//! The herald: stamps every event of a run, tells the listeners, and keeps those lines that belong into the journal until the next transaction.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::event::{Event, Stamped};
use crate::exec::claims::Claims;
use crate::exec::keeper::{Aftermath, Keeper};
use crate::name::RunId;
use crate::plan::graph::ActionId;
use crate::secret::Redactor;
use crate::source::{ceil, floor};
use crate::store::Store;
use crate::store::words::{ActionRecord, Commit, StoreError, Version};
use crate::wire::clock::Clock;

/// Hears every event as it happens. Must not block: a slow reader keeps a queue of its own.
pub type Listener = Arc<dyn Fn(&Stamped) + Send + Sync>;

/// One per run; cheap to clone.
#[derive(Clone)]
pub struct Herald {
    run: RunId,
    clock: Arc<dyn Clock>,
    redactor: Redactor,
    listener: Listener,
    keeper: Keeper,
    pending: Arc<Mutex<Pending>>,
    claims: Arc<Mutex<Claims>>,
}

/// What waits for the next transaction.
#[derive(Default)]
struct Pending {
    lines: Vec<Stamped>,
    records: Vec<ActionRecord>,
    /// Small blobs that the records name.
    blobs: Vec<Vec<u8>>,
}

impl Pending {
    /// Puts what could not be written in front again.
    fn put_back(&mut self, earlier: Self) {
        self.lines.splice(0..0, earlier.lines);
        self.records.splice(0..0, earlier.records);
        self.blobs.splice(0..0, earlier.blobs);
    }
}

/// So many records wait at most: a run of a million fresh observations must not hold them all.
const RECORDS: usize = 4096;

impl Herald {
    /// A herald of `run`.
    pub fn new(run: RunId, keeper: Keeper, clock: Arc<dyn Clock>, redactor: Redactor, listener: Listener) -> Self {
        Self { run, clock, redactor, listener, keeper, pending: Arc::default(), claims: Arc::default() }
    }

    /// Something happened. It reaches the journal with the next transaction of the run.
    pub fn tell(&self, event: Event) {
        // Held while the listener hears it: both tell the same story in the same order.
        let mut waiting = self.waiting();
        let stamped = self.stamp(event);
        (self.listener)(&stamped);
        if journaled(&stamped.event) {
            waiting.lines.push(stamped);
        }
    }

    /// The same with a record that goes into the same transaction as its line.
    pub async fn confirm(&self, record: ActionRecord, blob: Option<Vec<u8>>, event: Event) -> Result<(), StoreError> {
        let full = {
            let mut waiting = self.waiting();
            let stamped = self.stamp(event);
            (self.listener)(&stamped);
            waiting.lines.push(stamped);
            waiting.records.push(record);
            waiting.blobs.extend(blob);
            waiting.records.len() >= RECORDS
        };
        if full { self.commit(|_| Ok(Commit::default())).await.map(drop) } else { Ok(()) }
    }

    /// Something happened, and nothing may go on before it is in the journal, synced.
    pub async fn record(&self, event: Event) -> Result<(), StoreError> {
        self.tell(event);
        self.commit(|_| Ok(Commit::default())).await.map(drop)
    }

    /// One transaction: what `build` makes on the store's thread, together with the journal lines that wait.
    pub async fn commit(
        &self,
        build: impl FnOnce(&mut dyn Store) -> Result<Commit, StoreError> + Send + 'static,
    ) -> Result<Vec<Version>, StoreError> {
        self.commit_telling(|store| Ok((build(store)?, Vec::new()))).await
    }

    /// The same with events that are true only once the transaction is: they are its last journal lines, and nobody hears of them before.
    pub async fn commit_telling(
        &self,
        build: impl FnOnce(&mut dyn Store) -> Result<(Commit, Vec<Event>), StoreError> + Send + 'static,
    ) -> Result<Vec<Version>, StoreError> {
        self.commit_ending(None, build).await
    }

    /// The same as the last transaction of the effect `ends`: what nobody in the run needs after it is given back, neither before it nor later.
    pub async fn commit_ending(
        &self,
        ends: Option<ActionId>,
        build: impl FnOnce(&mut dyn Store) -> Result<(Commit, Vec<Event>), StoreError> + Send + 'static,
    ) -> Result<Vec<Version>, StoreError> {
        let herald = self.clone();
        let make = move |store: &mut dyn Store| {
            let (mut commit, events) = build(store)?;
            // Lines are taken on the store's thread, so that two transactions cannot write them in the wrong order.
            let earlier = std::mem::take(&mut *herald.waiting());
            let told: Vec<Stamped> = events.into_iter().map(|event| herald.stamp(event)).collect();
            commit.journal = Some((herald.run.clone(), earlier.lines.iter().chain(&told).cloned().collect()));
            commit.records.splice(0..0, earlier.records.iter().cloned());
            let blobs = earlier.blobs.iter().try_for_each(|blob| store.put_blob(blob).map(drop));
            let (ended, change) = {
                let mut claims = herald.claims();
                (ends.map(|id| (id, claims.ended(id))), claims.take_change())
            };
            commit.leases = commit.leases.or_else(|| (!change.is_empty()).then(|| (herald.run.clone(), change.clone())));
            let undo = {
                let herald = herald.clone();
                move || {
                    let mut claims = herald.claims();
                    claims.put_back(change);
                    ended.into_iter().for_each(|(id, needed)| claims.revive(id, needed));
                    drop(claims);
                    // It happened all the same: it goes into the next transaction, in front.
                    herald.waiting().put_back(earlier);
                }
            };
            let written = match blobs.and_then(|()| store.commit(commit)) {
                Ok(written) => written,
                Err(error) => {
                    undo();
                    return Err(error);
                }
            };
            let aftermath: Aftermath<Vec<Version>> = Box::new(move |durable| match durable {
                Ok(_) => told.iter().for_each(|stamped| (herald.listener)(stamped)),
                Err(_) => undo(),
            });
            Ok((written, aftermath))
        };
        self.keeper.commit(make).await
    }

    /// The run's claims: they change with its transactions.
    pub fn claims(&self) -> MutexGuard<'_, Claims> {
        self.claims.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn waiting(&self) -> MutexGuard<'_, Pending> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn stamp(&self, event: Event) -> Stamped {
        Stamped { at: self.clock.now(), event: self.clean(event) }
    }

    /// `text` without any secret, and no longer than anybody reads.
    pub fn redacted(&self, text: &str) -> String {
        brief(tame(self.redactor.clean(text)))
    }

    fn clean(&self, event: Event) -> Event {
        let clean = |text: String| self.redacted(&text);
        match event {
            Event::Output { step, stream, line } => Event::Output { step, stream, line: tame(self.redactor.clean(&line)) },
            Event::Warning { step, message } => Event::Warning { step, message: clean(message) },
            Event::Phase { step, phase, deadline } => Event::Phase { step, phase: clean(phase), deadline },
            Event::Task { step, id } => Event::Task { step, id: clean(id) },
            Event::Retry { step, attempt, reason } => Event::Retry { step, attempt, reason: clean(reason) },
            Event::ActionStarted { step, call, why } => Event::ActionStarted { step, call, why: clean(why) },
            Event::ActionFinished { step, call, ending, summary, seconds, left } => {
                Event::ActionFinished { step, call, ending, summary: clean(summary), seconds, left }
            }
            Event::Settled { step, by, found } => Event::Settled { step, by, found: clean(found) },
            other => other,
        }
    }
}

/// The longest sentence that is told and kept, in bytes: one that quotes an argument may be as long as that.
const SENTENCE: usize = 4096;

/// A text that is no command to a terminal: whoever names a player or a file may put one into it.
fn tame(text: String) -> String {
    let wild = |letter: char| letter.is_control() && !matches!(letter, '\n' | '\t');
    if text.contains(wild) { text.replace(wild, "\u{fffd}") } else { text }
}

/// A long text without its middle. To be done last: half a secret would not be known as one.
fn brief(text: String) -> String {
    if text.len() <= SENTENCE {
        return text;
    }
    let (head, tail) = (floor(&text, SENTENCE / 2), ceil(&text, text.len() - SENTENCE / 4));
    format!("{} … ({} bytes are left out) … {}", &text[..head], tail - head, &text[tail..])
}

/// Output lines are kept as the action's log; phases and transfers are for people who watch.
const fn journaled(event: &Event) -> bool {
    !matches!(event, Event::Output { .. } | Event::Phase { .. } | Event::Transfer { .. })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_is_told_steers_a_terminal() {
        assert_eq!(
            tame("Steve\x1b]0;title\x07\u{9b}2J\r\n\tjoined".to_owned()),
            "Steve\u{fffd}]0;title\u{fffd}\u{fffd}2J\u{fffd}\n\tjoined"
        );
        assert_eq!(tame("é…\n\t ok".to_owned()), "é…\n\t ok");
    }

    #[test]
    fn a_long_sentence_keeps_its_beginning_and_its_end() {
        assert_eq!(brief("x".repeat(SENTENCE)), "x".repeat(SENTENCE));
        let told = brief(format!("a{}z", "é".repeat(SENTENCE)));
        assert!(told.starts_with("aé") && told.ends_with("éz") && told.contains(" bytes are left out) … "), "{told}");
        assert!(told.len() < SENTENCE, "{}", told.len());
    }
}
