//! Leases: a run's right to act, taken as a whole before its first effect, and given back piece by piece.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;

use crate::event::{Event, InTheWay, Time};
use crate::exec::engine::{Engine, Stop};
use crate::exec::herald::Herald;
use crate::exec::keeper::Keeper;
use crate::exec::settle::settle;
use crate::model::contract::{Failure, FailureKind};
use crate::name::RunId;
use crate::store::Store;
use crate::store::lease::{Ask, Blocker, Claim, Left, Standing};
use crate::store::words::StoreError;
use crate::wire::clock::Clock;

/// The leases of one run.
pub struct Leases {
    run: RunId,
    keeper: Keeper,
    clock: Arc<dyn Clock>,
    herald: Herald,
    wait: bool,
    /// Nobody needs them any more: a wait ends.
    unwanted: Notify,
}

/// How often a waiter looks; nobody is told of a holder's death.
const LOOK: Duration = Duration::from_millis(25);
/// How often a waiter says whom it waits for when nothing changes.
const SAY: Duration = Duration::from_secs(30);

impl Leases {
    /// No lease held yet. With `wait` false leases that somebody holds are refused at once.
    pub fn new(run: RunId, keeper: Keeper, clock: Arc<dyn Clock>, herald: Herald, wait: bool) -> Self {
        Self { run, keeper, clock, herald, wait, unwanted: Notify::new() }
    }

    /// The wait for leases is of no use any more.
    pub fn give_up(&self) {
        self.unwanted.notify_one();
    }

    /// Holds all leases when it returns `true`, and what dead runs left on them is settled. Waits in the queue, says whom it waits for, and leaves the queue
    /// when the run is stopped, or when nobody needs leases any more: then it returns `false`.
    pub async fn hold(&self, engine: &Arc<Engine>) -> Result<bool, Failure> {
        let mut claims = None;
        let mut stop = engine.stop.clone();
        let mut said = Said::default();
        let lefts = loop {
            if *stop.borrow_and_update() != Stop::No {
                return Err(self.gave_up(&said).await);
            }
            let on = match self.ask(&mut claims).await? {
                Standing::Granted(lefts) => break lefts,
                Standing::Waiting(on) => on,
            };
            if !self.wait {
                let told = self.tell_of(&on).await;
                let message = format!("{} is taken: {}", told.what(), told.whom());
                return Err(Failure::refused(message).help("leave out --no-wait to wait for it"));
            }
            if said.is_new(&on, self.clock.elapsed()) {
                said.now = Some(self.tell_of(&on).await);
                self.herald.tell(said.event());
            }
            tokio::select! {
                () = self.clock.sleep(LOOK) => {}
                () = self.unwanted.notified() => {
                    self.leave().await;
                    return Ok(false);
                }
                // A sender that is gone stops nobody, and must not turn the wait into a busy loop.
                Ok(()) = stop.changed() => {}
            }
        };
        if said.now.is_some() {
            self.herald.tell(Event::Leases { waiting: String::new(), on: Vec::new() });
        }
        self.settle_all(engine, lefts).await.map(|()| true)
    }

    /// How the run's request stands. What is claimed is fixed on the store's thread, in the moment in which it is filed: what is given back before is left out,
    /// and what is given back after finds it.
    async fn ask(&self, claims: &mut Option<Arc<[Claim]>>) -> Result<Standing, Failure> {
        let (herald, known) = (self.herald.clone(), claims.clone());
        let (run, at, wait) = (self.run.clone(), self.clock.now(), self.wait);
        let job = move |store: &mut dyn Store| {
            let claims = known.unwrap_or_else(|| herald.claims().needed().into());
            if claims.is_empty() {
                return Ok((Standing::Granted(Vec::new()), claims));
            }
            let standing = store.lease(&Ask { run, claims: Arc::clone(&claims), at, wait })?;
            Ok((standing, claims))
        };
        let (standing, filed) = self.on_store(job).await?;
        *claims = Some(filed);
        Ok(standing)
    }

    /// What dead runs left is settled before anything is begun; what cannot be settled is left to the next taker, and so are the leases.
    async fn settle_all(&self, engine: &Arc<Engine>, lefts: Vec<Left>) -> Result<(), Failure> {
        let dead: Vec<RunId> = lefts.into_iter().map(|left| left.run).collect();
        if dead.is_empty() {
            return Ok(());
        }
        // What this run left itself in an earlier life is among the actions that it is about to do.
        let others: Vec<RunId> = dead.iter().filter(|run| **run != self.run).cloned().collect();
        if let Err(failure) = settle(engine, &others).await {
            self.leave().await;
            return Err(failure);
        }
        let heir = self.run.clone();
        self.on_store(move |store| dead.iter().try_for_each(|run| store.settled(&heir, run))).await
    }

    async fn gave_up(&self, said: &Said) -> Failure {
        self.leave().await;
        let message = match &said.now {
            Some(told) => format!("stopped while waiting for {}", told.whom()),
            None => "stopped before it began".to_owned(),
        };
        Failure { kind: FailureKind::Cancelled, ..Failure::theirs(message) }
    }

    /// Leaves the queue, or gives everything back. A store that cannot do that is told as a warning: the request ends with the run's lock all the same.
    async fn leave(&self) {
        let run = self.run.clone();
        if let Err(error) = self.keeper.call(move |store| store.leave(&run)).await {
            self.herald.tell(Event::Warning { step: None, message: format!("the leases could not be given back: {error}") });
        }
    }

    async fn on_store<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut dyn Store) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, Failure> {
        self.keeper.call(job).await.map_err(|e| Failure::bug(e.to_string()))
    }

    /// Who is in the way, with the names that the store knows of them.
    async fn tell_of(&self, on: &[Blocker]) -> Told {
        let (blockers, now) = (on.to_vec(), self.clock.now());
        let job = move |store: &mut dyn Store| {
            let actor = |run: &RunId| store.find_runs(run.as_str()).ok()?.into_iter().next().map(|row| row.actor);
            let actors: Vec<_> = blockers.iter().map(|blocker| &blocker.run).map(actor).collect();
            blockers.into_iter().zip(actors).map(|(blocker, actor)| in_the_way(blocker, actor)).collect()
        };
        Told { on: self.keeper.call(job).await, now }
    }
}

fn in_the_way(blocker: Blocker, actor: Option<crate::name::Actor>) -> InTheWay {
    let Blocker { spot, run, step, held, settles } = blocker;
    InTheWay { what: spot.to_string(), run, actor, step, since: held, settles }
}

/// What a waiter has said.
#[derive(Default)]
struct Said {
    on: Vec<Blocker>,
    at: Duration,
    now: Option<Told>,
}

impl Said {
    /// Whether this is worth a line at `elapsed`; remembers it if so.
    fn is_new(&mut self, on: &[Blocker], elapsed: Duration) -> bool {
        let news = self.now.is_none() || self.on != on || elapsed >= self.at + SAY;
        if news {
            (self.on, self.at) = (on.to_vec(), elapsed);
        }
        news
    }

    fn event(&self) -> Event {
        let (waiting, on) = match &self.now {
            Some(told) => (format!("waiting for {}: {}", told.what(), told.whom()), told.on.clone()),
            None => (String::new(), Vec::new()),
        };
        Event::Leases { waiting, on }
    }
}

/// Who is in the way, at a moment.
struct Told {
    on: Vec<InTheWay>,
    now: Time,
}

impl Told {
    /// Of those that hold something the first; else who stands directly before.
    fn first(&self) -> Option<&InTheWay> {
        self.on.iter().find(|other| other.since.is_some()).or(self.on.last())
    }

    fn what(&self) -> &str {
        self.first().map_or("", |first| &first.what)
    }

    /// `run 7f3 by discord:nick, stop-vm, 12 s`.
    fn whom(&self) -> String {
        let Some(first) = self.first() else { return "another run".to_owned() };
        let by = first.actor.as_ref().map(|actor| format!(" by {actor}")).unwrap_or_default();
        let does = match (&first.settles, first.since) {
            (Some(dead), _) => format!("settling what run {} left", dead.short()),
            (None, Some(since)) => format!("{}, {}", first.step, took(self.now.since(since))),
            (None, None) => format!("{}, which waits too and came first", first.step),
        };
        let others = match self.on.len() {
            0 | 1 => String::new(),
            2 => " (and 1 other run)".to_owned(),
            more => format!(" (and {} other runs)", more - 1),
        };
        format!("run {}{by}, {does}{others}", first.run.short())
    }
}

fn took(time: Duration) -> String {
    match time.as_secs() {
        seconds @ 0..120 => format!("{seconds} s"),
        seconds @ 120..7200 => format!("{} min", seconds / 60),
        seconds => format!("{} h", seconds / 3600),
    }
}
