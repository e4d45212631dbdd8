//! The driver: runs a graph to its end.
//!
//! - An action starts when its own predecessors have ended and a slot is free, in all and on its host; lowest id first. There is no other barrier.
//! - The host's slot is free again when the method has ended well; the run's, and successors, wait until that is stored.
//! - Effects that are ready before the run holds its leases wait in a pen, without a slot: observations go on beside them.
//! - A broken predecessor means skipping, across every kind of edge; `always` steps run all the same once something before them has acted.
//! - After a failure nothing new starts unless the run keeps going; what already runs ends.
//! - The first stop ends starting, the second cancels what runs; methods end their remote work themselves.
//! - What the run did before it was resumed is kept: it ends the moment it is ready, and nobody is told twice.
//! - An observation that may be fresh is begun where the driver is, and becomes a task only when it has to wait: what is fresh never does.
//! - A loop whose list is known only now becomes actions of its own, and its successors wait for those.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
use tokio::task::{Id, JoinSet};

use crate::event::{Ending, Event, Left, RunState, Time};
use crate::exec::act::{self, Done};
use crate::exec::claims::Claims;
use crate::exec::engine::{Engine, Stop};
use crate::exec::evaluate::{self, Items};
use crate::exec::keep;
use crate::exec::past::Standing;
use crate::exec::plain;
use crate::exec::queue::Queue;
use crate::exec::state::{States, Verdict, Wait};
use crate::model::contract::{Failure, FailureKind};
use crate::plan::expand;
use crate::plan::graph::{Action, ActionId, Conflict, Edge, Graph};
use crate::plan::verdict;
use crate::source::Diagnostic;
use crate::store::words::Commit;

/// So many observations may end in the driver before it looks up.
const AT_ONCE: usize = 64;

/// How a run went.
#[derive(Debug)]
pub struct Ran {
    /// How it ended.
    pub state: RunState,
    /// Every action with its ending and summary, in the order of the graph.
    pub actions: Vec<(String, Ending, String)>,
    /// The failures that are not optional, in the order they happened.
    pub failures: Vec<(String, Failure)>,
}

impl Ran {
    /// How many actions ended so.
    pub fn count(&self, ending: Ending) -> usize {
        self.actions.iter().filter(|(_, of, _)| *of == ending).count()
    }
}

enum Answer {
    Done(Done),
    Items(Result<Items, Failure>),
    /// Whether all leases are held; `false`: nobody needed them any more.
    Leases(Result<bool, Failure>),
}

struct Driver {
    engine: Arc<Engine>,
    /// Those that have ended are given back: a run may have very many.
    actions: Vec<Option<Arc<Action>>>,
    states: States,
    queue: Queue,
    pen: Pen,
    running: JoinSet<Answer>,
    /// Those whose method has ended, while their end is being stored.
    leaving: (UnboundedSender<ActionId>, UnboundedReceiver<ActionId>),
    ids: HashMap<Id, (ActionId, Time)>,
    ended: BTreeMap<ActionId, (String, Ending, String)>,
    failures: Vec<(String, Failure)>,
    /// Whether a stop kept something from being done.
    cut: bool,
}

/// Effects that are ready before the run holds its leases.
#[derive(Default)]
struct Pen {
    waiting: BTreeSet<ActionId>,
    /// The task that asks for them.
    asking: Option<Id>,
    /// They are held: effects may start.
    open: bool,
}

/// Runs every action of `graph` that may run.
pub async fn drive(engine: Arc<Engine>, graph: Graph) -> Ran {
    let Graph { actions, edges, .. } = graph;
    let states = States::new(actions.len(), waits(&actions, &edges, 0));
    drop(edges);
    let queue = Queue::new(engine.settings.jobs, engine.settings.per_host);
    *engine.herald.claims() = Claims::of(&actions);
    let mut driver = Driver {
        engine,
        actions: actions.into_iter().map(Some).collect(),
        states,
        queue,
        pen: Pen::default(),
        running: JoinSet::new(),
        leaving: mpsc::unbounded_channel(),
        ids: HashMap::new(),
        ended: BTreeMap::new(),
        failures: Vec::new(),
        cut: false,
    };
    let mut stop = driver.engine.stop.clone();
    loop {
        let failed = driver.failures.len();
        let more = driver.start_ready(*stop.borrow_and_update());
        if more {
            // Others want to be heard: a stop, and what runs.
            tokio::task::yield_now().await;
        } else if driver.running.is_empty() {
            break;
        } else {
            tokio::select! {
                Some(joined) = driver.running.join_next_with_id() => driver.take(joined),
                Some(id) = driver.leaving.1.recv() => driver.queue.leave(id),
                Ok(()) = stop.changed() => driver.look_again(*stop.borrow_and_update()),
            }
        }
        // All that has ended counts before anything starts: a failure must not come second by chance.
        while let Some(joined) = driver.running.try_join_next_with_id() {
            driver.take(joined);
        }
        while let Ok(id) = driver.leaving.1.try_recv() {
            driver.queue.leave(id);
        }
        if failed == 0 && !driver.failures.is_empty() {
            driver.look_again(*stop.borrow_and_update());
        }
        driver.give_back();
    }
    driver.finish()
}

/// The edges as the states see them, ids moved by `first`. A reader that tolerates the absence of a value does not need it.
fn waits(actions: &[Arc<Action>], edges: &[Edge], first: u32) -> Vec<Wait> {
    let needs = |edge: &Edge| match &edge.why {
        Conflict::Value { resource, .. } => {
            let mut reads = actions[edge.to.index()].touch.reads.iter().filter(|read| read.resource.overlaps(resource));
            !reads.all(|read| read.optional)
        }
        _ => false,
    };
    let moved = |id: ActionId| ActionId(first + id.0);
    edges.iter().map(|edge| Wait { from: moved(edge.from), to: moved(edge.to), needs: needs(edge) }).collect()
}

impl Driver {
    /// Starts or skips ready actions until neither is possible, or until so many have ended at once that others must be heard: then it says so.
    fn start_ready(&mut self, stop: Stop) -> bool {
        let mut left = AT_ONCE;
        loop {
            let ready = self.states.take_ready();
            for id in &ready {
                self.admit(*id, stop);
            }
            if !ready.is_empty() {
                continue;
            }
            if left == 0 || (left < AT_ONCE && !self.failures.is_empty()) {
                return true;
            }
            let Some(id) = self.queue.pop() else { return false };
            self.states.start(id);
            left -= usize::from(self.begin(id));
        }
    }

    /// Keeps what was done before, skips what may not run, or queues a ready action.
    fn admit(&mut self, id: ActionId, stop: Stop) {
        let Some(action) = self.action(id) else { return };
        if self.keep(id, &action) {
            return;
        }
        match self.refusal(id, &action, stop) {
            Some(reason) => self.skip(id, &action, &reason),
            None if action.call.method.effect.acts() && !self.pen.open => self.hold(id),
            None => self.queue.push(id, host(&action)),
        }
    }

    /// The action, unless it has ended.
    fn action(&self, id: ActionId) -> Option<Arc<Action>> {
        self.actions.get(id.index()).cloned().flatten()
    }

    /// Notes how an action ended, and gives it back.
    fn close(&mut self, id: ActionId, action: &Action, (ending, summary): (Ending, String)) {
        self.ended.insert(id, (action.step.clone(), ending, summary));
        self.actions[id.index()] = None;
    }

    /// Keeps an effect until the run holds its leases; asks for them unless that is done already.
    fn hold(&mut self, id: ActionId) {
        self.pen.waiting.insert(id);
        if self.pen.asking.is_none() {
            let engine = Arc::clone(&self.engine);
            let asking = self.running.spawn(async move { Answer::Leases(engine.leases.hold(&engine).await) });
            self.pen.asking = Some(asking.id());
        }
    }

    /// The run holds its leases, or does not get them.
    fn leased(&mut self, result: Result<bool, Failure>) {
        self.pen.asking = None;
        self.pen.open = matches!(result, Ok(true));
        let stop = *self.engine.stop.borrow();
        for id in std::mem::take(&mut self.pen.waiting) {
            let Some(action) = self.action(id) else { continue };
            match &result {
                Ok(_) => self.admit(id, stop),
                Err(failure) => {
                    self.states.start(id);
                    let done = Done::failed(failure.clone(), false);
                    let now = self.engine.wire.clock.now();
                    self.engine.herald.tell(keep::finished(&self.engine, &action, done.told(), now));
                    self.end(id, &action, done);
                }
            }
        }
    }

    /// What the actions that have just ended needed last is given back: most of it went with their own transactions, this is for those without one.
    fn give_back(&mut self) {
        let wanted = self.pen.open || self.pen.asking.is_some();
        if wanted && self.engine.herald.claims().spent() {
            let herald = self.engine.herald.clone();
            // Should it fail, the next transaction carries it.
            tokio::spawn(async move { drop(herald.commit(|_| Ok(Commit::default())).await) });
        }
    }

    /// After a stop or the first failure: what is queued may have to be skipped.
    fn look_again(&mut self, stop: Stop) {
        for (id, _) in self.queue.drain() {
            self.admit(id, stop);
        }
        // A stop ends the wait by itself, with a reason that names whom it was for.
        if stop == Stop::No && self.pen.asking.is_some() {
            for id in std::mem::take(&mut self.pen.waiting) {
                self.admit(id, stop);
            }
            if self.pen.waiting.is_empty() {
                self.engine.leases.give_up();
            }
        }
    }

    /// Why an action that is ready must not start.
    fn refusal(&mut self, id: ActionId, action: &Action, stop: Stop) -> Option<String> {
        let inherited = self.states.inherited(id);
        let cleans_up = action.flow.options.always && inherited.effect_begun;
        let forgiven = cleans_up && stop < Stop::Running;
        match (&inherited.broken, stop) {
            _ if forgiven => None,
            (Some(reason), _) => Some(reason.clone()),
            (None, Stop::Starting | Stop::Running) => {
                self.cut = true;
                Some("the run was stopped".to_owned())
            }
            (None, Stop::No) if !self.failures.is_empty() && !self.engine.settings.keep_going => {
                Some(format!("{} failed before it could start", self.failures[0].0))
            }
            (None, Stop::No) => None,
        }
    }

    fn skip(&mut self, id: ActionId, action: &Action, reason: &str) {
        self.states.start(id);
        let summary = format!("skipped: {reason}");
        self.engine.herald.tell(Event::ActionFinished {
            step: action.step.clone(),
            call: action.call.name(),
            ending: Ending::Skipped,
            summary: summary.clone(),
            seconds: 0.0,
            left: Some(Left::All),
        });
        self.close(id, action, (Ending::Skipped, summary));
        self.engine.herald.claims().ended(id);
        let forgiven = action.flow.options.optional && self.states.inherited(id).forgivable;
        let verdict = if forgiven { Verdict::OptionalBroken } else { Verdict::Broken };
        // What acted before the run was resumed wants its cleanup all the same.
        let begun = action.call.method.effect.acts() && self.engine.who.past.begun(&action.step);
        self.states.end(id, Ending::Skipped, &verdict(reason.to_owned()), begun);
    }

    /// Takes over what was done before the run was resumed: an action that has ended, a loop whose items are known. Whether it did.
    fn keep(&mut self, id: ActionId, action: &Action) -> bool {
        let engine = Arc::clone(&self.engine);
        let past = &engine.who.past;
        let done = match (past.items(&action.step).filter(|_| action.flow.loop_over.is_some()), past.standing(&action.step)) {
            (Some(items), _) => self.looped(id, action, Ok(Items::Of(items.clone()))),
            (None, Standing::Ended { ending, summary }) => {
                let effect_begun = action.call.method.effect.acts() && past.begun(&action.step);
                Done { effect_begun, ..Done::quiet(*ending, summary.clone()) }
            }
            _ => return false,
        };
        self.states.start(id);
        if done.failure.is_some() {
            self.engine.herald.tell(keep::finished(&self.engine, action, done.told(), self.engine.wire.clock.now()));
        }
        self.end(id, action, done);
        true
    }

    /// Begins an action; says whether it has ended already.
    fn begin(&mut self, id: ActionId) -> bool {
        let engine = Arc::clone(&self.engine);
        let Some(action) = self.action(id) else { return true };
        let began = engine.wire.clock.now();
        let at_once = action.flow.loop_over.is_none() && verdict::window(&action) != Some(Duration::ZERO);
        let at_once = at_once && !action.call.method.effect.acts() && plain::action(&action);
        let leaving = self.leaving.0.clone();
        // The driver reads as long as anything runs.
        let left = move || leaving.send(id).unwrap_or_default();
        let mut work: BoxFuture<'static, Answer> = Box::pin(async move {
            match action.flow.loop_over {
                None => Answer::Done(act::perform(&engine, &action, false, left).await),
                Some(_) => Answer::Items(act::items(&engine, &action).await),
            }
        });
        if at_once {
            // A task polls it again as soon as it begins, so nobody misses the waker.
            let first = AssertUnwindSafe(|| work.poll_unpin(&mut Context::from_waker(Waker::noop())));
            match std::panic::catch_unwind(first) {
                Ok(Poll::Ready(answer)) => {
                    self.ended_at_once(id, began, answer);
                    return true;
                }
                Ok(Poll::Pending) => {}
                Err(_) => {
                    let failure = Failure::bug("the runner panicked: see the message above").maybe_acted();
                    self.ended_at_once(id, began, Answer::Items(Err(failure)));
                    return true;
                }
            }
        }
        let handle = self.running.spawn(work);
        self.ids.insert(handle.id(), (id, began));
        false
    }

    fn ended_at_once(&mut self, id: ActionId, began: Time, answer: Answer) {
        self.queue.done(id);
        let Some(action) = self.action(id) else { return };
        self.over(id, &action, (Ok(answer), began));
    }

    fn take(&mut self, joined: Result<(Id, Answer), tokio::task::JoinError>) {
        let (task, answer) = match joined {
            Ok((_, Answer::Leases(result))) => return self.leased(result),
            Ok((task, answer)) => (task, Ok(answer)),
            Err(error) => (error.id(), Err(error)),
        };
        let Some((id, began)) = self.ids.remove(&task) else {
            return self.leased(Err(Failure::bug("the runner panicked while it waited for leases")));
        };
        self.queue.done(id);
        let Some(action) = self.action(id) else { return };
        self.over(id, &action, (answer, began));
    }

    /// An action has an answer.
    fn over(&mut self, id: ActionId, action: &Action, (answer, began): (Result<Answer, tokio::task::JoinError>, Time)) {
        let (done, told) = match answer {
            Ok(Answer::Done(done)) => (done, true),
            Ok(Answer::Items(items)) => (self.looped(id, action, items), false),
            Ok(Answer::Leases(_)) => return,
            // Methods are caught where they are called, so this is pmx itself.
            Err(error) => (Done::failed(Failure::bug(format!("the runner panicked: {error}")).maybe_acted(), true), false),
        };
        if !told {
            self.engine.herald.tell(keep::finished(&self.engine, action, done.told(), began));
        }
        self.end(id, action, done);
    }

    fn end(&mut self, id: ActionId, action: &Action, done: Done) {
        let cancelled = done.ending == Ending::Cancelled;
        self.cut |= cancelled;
        if !(done.effect_begun && done.failure.as_ref().is_some_and(keep::lingers)) {
            self.engine.herald.claims().ended(id);
        }
        let verdict = match &done.failure {
            None => Verdict::Fine,
            Some(_) => {
                let reason = format!("{} {}", action.step, if cancelled { "was cancelled" } else { "failed" });
                if action.flow.options.optional { Verdict::OptionalBroken(reason) } else { Verdict::Broken(reason) }
            }
        };
        if let Some(failure) = done.failure.filter(|_| !action.flow.options.optional) {
            self.failures.push((action.step.clone(), failure));
        }
        self.close(id, action, (done.ending, done.summary));
        self.states.end(id, done.ending, &verdict, done.effect_begun);
    }

    /// The end of a loop's own action: its items become actions.
    fn looped(&mut self, id: ActionId, action: &Action, items: Result<Items, Failure>) -> Done {
        match items {
            Err(failure) => Done::failed(failure, false),
            Ok(Items::Not(condition)) => Done::quiet(Ending::Skipped, format!("`{condition}` is false")),
            Ok(Items::Of(items)) => match expand(action, &items, &self.engine.settings.variants) {
                Ok(graph) => {
                    if self.engine.who.past.items(&action.step).is_none() {
                        self.engine.herald.tell(Event::LoopExpanded { step: action.step.clone(), items });
                    }
                    self.splice(id, graph)
                }
                Err(complaint) => failed_to_begin(&complaint),
            },
        }
    }

    /// Adds the items' actions to the run; whoever waits for the loop waits for them.
    fn splice(&mut self, id: ActionId, graph: Graph) -> Done {
        let first = u32::try_from(self.actions.len()).unwrap_or(u32::MAX);
        let count = graph.actions.len();
        self.states.extend(count, waits(&graph.actions, &graph.edges, first));
        let ids: Vec<ActionId> = (first..).take(count).map(ActionId).collect();
        self.states.adopt(id, &ids);
        self.engine.herald.claims().adopt(id, &ids);
        let moved = |mut action: Arc<Action>| {
            Arc::make_mut(&mut action).id.0 += first;
            action
        };
        self.actions.extend(graph.actions.into_iter().map(moved).map(Some));
        let plural = if count == 1 { "" } else { "s" };
        Done::quiet(Ending::Done, format!("{count} item{plural}"))
    }

    fn finish(mut self) -> Ran {
        if self.states.open() > 0 {
            // Edges go from lower to higher ids, so this cannot be; if it is, nobody must wait for ever.
            let failure = Failure::bug(format!("{} actions wait for each other", self.states.open()));
            self.failures.push(("(the run)".to_owned(), failure));
        }
        let failed = self.failures.iter().any(|(_, failure)| failure.kind != FailureKind::Cancelled);
        let state = match (failed, self.cut) {
            (_, true) => RunState::Cancelled,
            (true, false) => RunState::Failed,
            (false, false) => RunState::Succeeded,
        };
        let actions = self.ended.into_values().collect();
        Ran { state, actions, failures: self.failures }
    }
}

fn failed_to_begin(complaint: &Diagnostic) -> Done {
    Done::failed(evaluate::failed(complaint), false)
}

/// What the limit per host counts: the machine or host an action logs in to, else the definition, which stands for one API endpoint.
fn host(action: &Action) -> String {
    let over_ssh = action.call.method.acts.iter().any(|acts| matches!(acts.at, crate::model::contract::At::Host(_)));
    match action.touch.places.first() {
        Some(used) if over_ssh => used.place.to_string(),
        _ => format!("definition {}", action.call.def),
    }
}
