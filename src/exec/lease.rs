//! Leases: a run's right to act, taken once, before its first effect.
//!
//! One lease covers the whole store for now; it is asked for at the point where leases per resource will be, so that nothing else changes with them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::{Mutex, watch};

use crate::event::Event;
use crate::exec::engine::Stop;
use crate::exec::herald::Herald;
use crate::exec::keeper::Keeper;
use crate::model::contract::{Failure, FailureKind};
use crate::name::RunId;
use crate::wire::clock::Clock;

/// The leases of one run.
pub struct Leases {
    run: RunId,
    keeper: Keeper,
    clock: Arc<dyn Clock>,
    herald: Herald,
    wait: bool,
    held: Mutex<bool>,
    any: AtomicBool,
}

/// How often a waiter looks; a holder's death frees the lock, nobody is told.
const LOOK: Duration = Duration::from_millis(50);
/// How often a waiter says whom it waits for.
const SAY: Duration = Duration::from_secs(30);

impl Leases {
    /// No lease held yet. With `wait` false a lease that somebody holds is refused at once.
    pub fn new(run: RunId, keeper: Keeper, clock: Arc<dyn Clock>, herald: Herald, wait: bool) -> Self {
        Self { run, keeper, clock, herald, wait, held: Mutex::new(false), any: AtomicBool::new(false) }
    }

    /// Holds all leases when it returns. Waits for whoever holds them, says who that is, and gives up when the run is stopped.
    pub async fn hold(&self, stop: &mut watch::Receiver<Stop>) -> Result<(), Failure> {
        let mut held = self.held.lock().await;
        if *held {
            return Ok(());
        }
        let began = self.clock.elapsed();
        let mut said: Option<Duration> = None;
        let mut who = None;
        loop {
            // Looked at before each try: several actions wait one behind the other, and none of them may begin after a stop.
            if *stop.borrow_and_update() != Stop::No {
                let message = who.map_or_else(|| "stopped before it began".to_owned(), |who| format!("stopped while waiting for {who}"));
                return Err(Failure { kind: FailureKind::Cancelled, ..Failure::theirs(message) });
            }
            let run = self.run.clone();
            let tried = self.keeper.call(move |store| store.try_lease(&run)).await;
            let holder = match tried.map_err(|e| Failure::bug(e.to_string()))? {
                Ok(()) => break,
                Err(holder) => holder,
            };
            let holder = self.describe(holder).await;
            if !self.wait {
                return Err(Failure::refused(format!("the lease is held by {holder}")).help("leave out --no-wait to wait for it"));
            }
            let waited = self.clock.elapsed().saturating_sub(began);
            if said.is_none_or(|last| waited >= last + SAY) {
                said = Some(waited);
                self.herald.tell(Event::Leases { waiting: format!("waiting for {holder}, {} s", waited.as_secs()) });
            }
            who = Some(holder);
            tokio::select! {
                () = self.clock.sleep(LOOK) => {}
                // A sender that is gone stops nobody, and must not turn the wait into a busy loop.
                Ok(()) = stop.changed() => {}
            }
        }
        if said.is_some() {
            self.herald.tell(Event::Leases { waiting: String::new() });
        }
        *held = true;
        self.any.store(true, Ordering::Relaxed);
        Ok(())
    }

    async fn describe(&self, holder: Option<RunId>) -> String {
        let Some(run) = holder else { return "another run".to_owned() };
        let asked = run.clone();
        let row = self.keeper.call(move |store| store.find_runs(asked.as_str())).await.ok().and_then(|rows| rows.into_iter().next());
        match row {
            Some(row) => format!("run {} ({}) by {}, since {}", run.short(), row.targets.join(" "), row.actor, row.began),
            None => format!("run {}", run.short()),
        }
    }

    /// Gives everything back; the end of the run.
    pub async fn release(&self) {
        if self.any.swap(false, Ordering::Relaxed) {
            let run = self.run.clone();
            if let Err(error) = self.keeper.call(move |store| store.release_lease(&run)).await {
                // The lock itself goes with the process; the next holder overwrites the name in it.
                self.herald.tell(Event::Warning { step: None, message: format!("the lease could not be released: {error}") });
            }
        }
    }
}
