//! The driver: runs a graph to its end.
//!
//! - An action starts when its own predecessors have ended and a slot is free, in all and on its host; lowest id first. There is no other barrier.
//! - A broken predecessor means skipping, across every kind of edge; `always` steps run all the same once something before them has acted.
//! - After a failure nothing new starts unless the run keeps going; what already runs ends.
//! - The first stop ends starting, the second cancels what runs; methods end their remote work themselves.
//! - A loop whose list is known only now becomes actions of its own, and its successors wait for those.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use tokio::task::{Id, JoinSet};

use crate::event::{Ending, Event, RunState};
use crate::exec::act::{self, Done};
use crate::exec::engine::{Engine, Stop};
use crate::exec::evaluate;
use crate::exec::state::{States, Verdict};
use crate::model::contract::{Failure, FailureKind};
use crate::plan::expand;
use crate::plan::graph::{Action, ActionId, Edge, Graph};
use crate::source::Diagnostic;
use crate::value::Value;

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
    Items(Value),
}

struct Driver {
    engine: Arc<Engine>,
    actions: Vec<Arc<Action>>,
    states: States,
    running: JoinSet<Answer>,
    ids: HashMap<Id, ActionId>,
    hosts: BTreeMap<String, usize>,
    ended: BTreeMap<ActionId, (Ending, String)>,
    failures: Vec<(String, Failure)>,
}

/// Runs every action of `graph` that may run.
pub async fn drive(engine: Arc<Engine>, graph: Graph) -> Ran {
    let states = States::new(graph.actions.len(), &graph.edges);
    let mut driver = Driver {
        engine,
        actions: graph.actions.into_iter().map(Arc::new).collect(),
        states,
        running: JoinSet::new(),
        ids: HashMap::new(),
        hosts: BTreeMap::new(),
        ended: BTreeMap::new(),
        failures: Vec::new(),
    };
    let mut stop = driver.engine.stop.clone();
    while driver.states.open() > 0 {
        driver.start_ready(*stop.borrow_and_update());
        if driver.running.is_empty() {
            // Nothing runs and nothing could start: everything open was skipped just now, and its successors became ready.
            continue;
        }
        tokio::select! {
            Some(joined) = driver.running.join_next_with_id() => driver.take(joined),
            Ok(()) = stop.changed() => {}
        }
    }
    driver.finish()
}

impl Driver {
    /// Starts or skips ready actions until neither is possible.
    fn start_ready(&mut self, stop: Stop) {
        loop {
            let ready: Vec<ActionId> = self.states.ready().collect();
            let mut moved = false;
            for id in ready {
                let action = Arc::clone(&self.actions[id.index()]);
                if let Some(reason) = self.refusal(id, &action, stop) {
                    self.skip(id, &action, &reason);
                    moved = true;
                } else if self.running.len() < self.engine.settings.jobs.max(1) && self.take_slot(&action) {
                    self.states.start(id);
                    self.spawn(id, action);
                }
            }
            if !moved {
                return;
            }
        }
    }

    /// Why an action that is ready must not start.
    fn refusal(&self, id: ActionId, action: &Action, stop: Stop) -> Option<String> {
        let inherited = self.states.inherited(id);
        let cleans_up = action.flow.options.always && inherited.effect_begun;
        let forgiven = cleans_up && stop < Stop::Running;
        match (&inherited.broken, stop) {
            _ if forgiven => None,
            (Some(reason), _) => Some(reason.clone()),
            (None, Stop::Starting | Stop::Running) => Some("the run was stopped".to_owned()),
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
        });
        self.ended.insert(id, (Ending::Skipped, summary));
        self.states.end(id, Ending::Skipped, &Verdict::Broken(reason.to_owned()), false);
    }

    fn take_slot(&mut self, action: &Action) -> bool {
        let used = self.hosts.entry(host(action)).or_default();
        let free = *used < self.engine.settings.per_host.max(1);
        *used += usize::from(free);
        free
    }

    fn spawn(&mut self, id: ActionId, action: Arc<Action>) {
        let engine = Arc::clone(&self.engine);
        let handle = self.running.spawn(async move {
            if action.flow.loop_over.is_none() {
                return Answer::Done(act::perform(&engine, &action, None, false).await);
            }
            match evaluate::items(&engine, &action).await {
                Ok(items) => Answer::Items(items),
                Err(failure) => Answer::Done(Done::failed(failure, false)),
            }
        });
        self.ids.insert(handle.id(), id);
    }

    fn take(&mut self, joined: Result<(Id, Answer), tokio::task::JoinError>) {
        let (task, answer) = match joined {
            Ok((task, answer)) => (task, answer),
            Err(error) => {
                let failure = Failure::bug(format!("a method panicked: {error}"));
                (error.id(), Answer::Done(Done::failed(failure, true)))
            }
        };
        let Some(id) = self.ids.remove(&task) else { return };
        let action = Arc::clone(&self.actions[id.index()]);
        if let Some(used) = self.hosts.get_mut(&host(&action)) {
            *used -= 1;
        }
        match answer {
            Answer::Done(done) => self.end(id, &action, done),
            Answer::Items(items) => self.expand(id, &action, &items),
        }
    }

    fn end(&mut self, id: ActionId, action: &Action, done: Done) {
        let verdict = match &done.failure {
            None => Verdict::Fine,
            Some(failure) => {
                let reason = format!("{} {}", action.step, if failure.kind == FailureKind::Cancelled { "was cancelled" } else { "failed" });
                if action.flow.options.optional { Verdict::OptionalBroken(reason) } else { Verdict::Broken(reason) }
            }
        };
        if let Some(failure) = done.failure.filter(|_| !action.flow.options.optional) {
            self.failures.push((action.step.clone(), failure));
        }
        self.ended.insert(id, (done.ending, done.summary));
        self.states.end(id, done.ending, &verdict, done.effect_begun);
    }

    fn expand(&mut self, id: ActionId, action: &Action, items: &Value) {
        let expanded = expand(action, items, &self.engine.settings.variants);
        let done = match expanded {
            Ok(graph) => self.splice(id, graph),
            Err(complaint) => failed_to_begin(&complaint),
        };
        self.end(id, action, done);
    }

    /// Adds the items' actions to the run; whoever waits for the loop waits for them.
    fn splice(&mut self, id: ActionId, graph: Graph) -> Done {
        let first = u32::try_from(self.actions.len()).unwrap_or(u32::MAX);
        let moved = |id: ActionId| ActionId(first + id.0);
        let edges: Vec<Edge> =
            graph.edges.into_iter().map(|edge| Edge { from: moved(edge.from), to: moved(edge.to), why: edge.why }).collect();
        let count = graph.actions.len();
        self.states.extend(count, &edges);
        let ids: Vec<ActionId> = (first..).take(count).map(ActionId).collect();
        self.states.adopt(id, &ids);
        self.actions.extend(graph.actions.into_iter().map(|action| Arc::new(Action { id: moved(action.id), ..action })));
        let plural = if count == 1 { "" } else { "s" };
        Done { ending: Ending::Done, summary: format!("{count} item{plural}"), failure: None, effect_begun: false }
    }

    fn finish(self) -> Ran {
        let stopped = *self.engine.stop.borrow() != Stop::No;
        let cancelled = stopped && self.ended.values().any(|(ending, _)| matches!(ending, Ending::Cancelled | Ending::Skipped));
        let state = match (self.failures.iter().any(|(_, failure)| failure.kind != FailureKind::Cancelled), cancelled) {
            (_, true) => RunState::Cancelled,
            (true, false) => RunState::Failed,
            (false, false) => RunState::Succeeded,
        };
        let actions =
            self.ended.into_iter().map(|(id, (ending, summary))| (self.actions[id.index()].step.clone(), ending, summary)).collect();
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
