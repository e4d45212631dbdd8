//! One action's life: leases, fresh inputs, conditions and values, verdict, confirmation, the method, and what is kept of it.

use std::sync::Arc;

use crate::event::{Ending, Event, Left, Time};
use crate::exec::engine::Engine;
use crate::exec::evaluate::{self, Evaluation, Items, Machine, Values};
use crate::exec::horizon::Fresh;
use crate::exec::keep::{self, Attempt};
use crate::exec::refresh::Keys;
use crate::exec::reporter::{self, Reporter};
use crate::exec::view::Held;
use crate::exec::{guard, tries};
use crate::model::contract::{Call, Context, Failure, FailureKind, Guard, Instance, Who, Writes};
use crate::model::leftover;
use crate::name::ResourcePattern;
use crate::plan::graph::{Action, BoundCall};
use crate::plan::key;
use crate::plan::verdict::{self, Evidence, Verdict};
use crate::secret::Secret;
use crate::value::Value;

/// What became of an action.
#[derive(Debug)]
pub struct Done {
    /// How it ended.
    pub ending: Ending,
    /// What was done, or why not, in a sentence.
    pub summary: String,
    /// Why it failed.
    pub failure: Option<Failure>,
    /// Whether it has touched the world, or tried to.
    pub effect_begun: bool,
}

impl Done {
    /// An action that did not touch the world.
    pub fn quiet(ending: Ending, summary: impl Into<String>) -> Self {
        Self { ending, summary: summary.into(), failure: None, effect_begun: false }
    }

    /// An action that failed.
    pub fn failed(failure: Failure, effect_begun: bool) -> Self {
        Self { ending: keep::ending(&failure), summary: failure.message.clone(), failure: Some(failure), effect_begun }
    }

    /// What is told of its end: how, the sentence, and what is left to do.
    pub fn told(&self) -> (Ending, &str, Option<Left>) {
        (self.ending, &self.summary, self.failure.as_ref().map(keep::left))
    }
}

/// Runs one action from its conditions to its place in the store. `force` observes even when the last observation is fresh. `left` is called when the
/// method has ended well, before that is stored: the next one may begin at the same host meanwhile.
pub async fn perform(engine: &Arc<Engine>, action: &Action, force: bool, left: impl FnOnce() + Send) -> Done {
    let began = engine.wire.clock.now();
    let done = match prepare(engine, action, force, began).await {
        Ok(Prepared::Run(ready)) => return run(engine, action, *ready, (began, left)).await,
        Ok(Prepared::Fresh(summary)) => return Done::quiet(Ending::Fresh, summary),
        Ok(Prepared::Not(condition)) => Done::quiet(Ending::Skipped, format!("`{condition}` is false")),
        Err(failure) => Done::failed(clean(engine, failure), false),
    };
    engine.herald.tell(keep::finished(engine, action, done.told(), began));
    done
}

enum Prepared {
    /// A condition is false: its text.
    Not(String),
    /// What is known is fresh, for this reason; stored and told already.
    Fresh(String),
    /// It must run.
    Run(Box<Ready>),
}

/// An action that is about to call its method.
struct Ready {
    values: Values,
    attempt: Attempt,
    why: String,
    guard: Guard,
}

/// A failure without any secret, wherever it is shown.
fn clean(engine: &Engine, failure: Failure) -> Failure {
    let text = |text: &String| engine.herald.redacted(text);
    Failure {
        message: text(&failure.message),
        help: failure.help.as_ref().map(text),
        tail: failure.tail.iter().map(text).collect(),
        ..failure
    }
}

async fn prepare(engine: &Arc<Engine>, action: &Action, force: bool, began: Time) -> Result<Prepared, Failure> {
    freshen(engine, action).await?;
    let values = match evaluate::action(engine, action).await? {
        Evaluation::Not(condition) => return Ok(Prepared::Not(condition)),
        Evaluation::Values(values) => *values,
    };
    let keyed = |secret: &Secret| engine.view.sealer.keyed_digest(secret.expose().as_bytes());
    // The variant may be known only now.
    let bound = BoundCall { variant: values.variant.clone(), ..action.call.clone() };
    let key = key::key(&bound, &call(&values), &keyed);
    let mut attempt = keep::begin(engine, action, key, written_names(action, &values)?, &values).await?;
    let why = if force {
        "runs: what is known has expired or was refused".to_owned()
    } else {
        let now = engine.wire.clock.now();
        let verdict = judge(action, &attempt, now);
        if let Verdict::Fresh { age, window } = &verdict {
            let (step, call) = (action.step.clone(), action.call.name());
            engine.refresher.horizon.fresh(Fresh { step, call, at: now.before(*age), window: *window });
            let summary = verdict.to_string();
            let told = keep::finished(engine, action, (Ending::Fresh, &summary, None), began);
            keep::confirmed(engine, action, &attempt, told).await?;
            return Ok(Prepared::Fresh(summary));
        }
        verdict.to_string()
    };
    keep::recall(engine, action, &mut attempt).await?;
    let guard = guard::guard(engine, action, &values, &attempt).await?;
    Ok(Prepared::Run(Box::new(Ready { values, attempt, why, guard })))
}

fn call(values: &Values) -> Call {
    Call { globals: values.globals.clone(), arguments: values.arguments.clone() }
}

/// The items of a loop, for whoever makes actions of them.
pub async fn items(engine: &Arc<Engine>, action: &Action) -> Result<Items, Failure> {
    let items = async {
        freshen(engine, action).await?;
        evaluate::items(engine, action).await
    };
    items.await.map_err(|failure| clean(engine, failure))
}

/// Observations that expired while the run went on are made again before their reader starts.
async fn freshen(engine: &Arc<Engine>, action: &Action) -> Result<(), Failure> {
    for read in action.touch.reads.iter().filter(|read| !read.credential) {
        let Some(name) = read.resource.exact() else { continue };
        let (Some(window), true) = (engine.planner.trust(&name), engine.planner.observable(&name)) else { continue };
        let head = engine.view.head(&name).await.map_err(|e| Failure::bug(e.to_string()))?;
        let clock = &engine.wire.clock;
        let young = |held: &Held| clock.now().since(held.version.made.at) < window;
        if let Some(held) = &head {
            engine.refresher.horizon.until(held.version.made.at.plus(window));
        }
        // A resource without a version is left to the expression: it says what is missing, or tolerates it.
        if head.is_none_or(|held| young(&held)) {
            continue;
        }
        match engine.refresher.current(&name, &young).await {
            Err(failure) if read.optional => {
                let message = format!("{name} could not be read again: {}", engine.herald.redacted(&failure.message));
                engine.herald.tell(Event::Warning { step: Some(action.step.clone()), message });
            }
            other => drop(other?),
        }
    }
    Ok(())
}

/// The resources that the call will write, as far as its values tell.
fn written_names(action: &Action, values: &Values) -> Result<Vec<ResourcePattern>, Failure> {
    let call = &action.call;
    let named = |writes: &Writes, argument: &str| {
        let value = values.arguments.get(argument).or_else(|| values.globals.get(argument));
        match value {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(_) | Value::Int(_) | Value::Float(_) | Value::Bool(_)) => Ok(value.map(Value::to_string)),
            Some(other) => {
                Err(Failure::yours(format!("`{argument}` of {} is {}, which cannot name a {}", call.name(), other.kind(), writes.spec)))
            }
        }
    };
    let pattern = |writes: &Writes| -> Result<ResourcePattern, Failure> {
        let instance = match writes.instance {
            Instance::Argument(argument) => named(writes, argument)?,
            Instance::Single(name) => Some(values.variant.clone().unwrap_or_else(|| name.to_owned())),
            Instance::All => None,
        };
        let pattern = ResourcePattern { def: call.def.clone(), spec: writes.spec.to_owned(), instance };
        match pattern.exact().map(|name| keep::sound(&name)) {
            Some(Err(why)) => Err(Failure::yours(format!("{} cannot write what its arguments name: {why}", call.name()))),
            _ => Ok(pattern),
        }
    };
    call.method.writes.iter().map(pattern).collect()
}

fn judge(action: &Action, attempt: &Attempt, now: Time) -> Verdict {
    verdict::verdict(
        action,
        &Evidence {
            key: attempt.key,
            manifest: &attempt.manifest,
            same_key: attempt.same_key.as_ref(),
            same_subject: attempt.same_subject.as_ref().map(|(record, manifest)| (record, manifest.as_ref())),
            heads: &attempt.heads,
            now,
        },
    )
}

async fn run(engine: &Arc<Engine>, action: &Action, ready: Ready, (began, left): (Time, impl FnOnce() + Send)) -> Done {
    let Ready { values, attempt, why, guard } = ready;
    let started = Event::ActionStarted { step: action.step.clone(), call: action.call.name(), why };
    let (acts, by_command) = (action.call.method.effect.acts(), action.call.method.by_command);
    if acts {
        engine.herald.claims().begun(action.id, &action.step);
    }
    if acts && !by_command {
        if let Err(error) = engine.herald.record(started).await {
            let done = Done::failed(reporter::unwritten(&error), false);
            engine.herald.tell(keep::finished(engine, action, done.told(), began));
            return done;
        }
    } else {
        engine.herald.tell(started);
    }
    let reporter = Reporter::new(&action.step, engine.herald.clone(), engine.stop.clone(), acts && by_command);
    let context = context(engine, action, (&values, &attempt), guard, Arc::clone(&reporter));
    let done = match leftover::wait(&context).await {
        Ok(()) => tries::tries(engine, action, (&context, &reporter), &call(&values)).await,
        Err(failure) => Err(failure),
    };
    let kept = match done {
        Ok(outcome) => {
            left();
            let ending = if acts && !outcome.changed { Ending::Unchanged } else { Ending::Done };
            let ended = keep::Ended { attempt: &attempt, outcome, ending, began, reporter: &reporter };
            // What cannot be stored was done all the same.
            let kept = keep::outcome(engine, action, ended).await.map_err(|f| if acts { f.maybe_acted() } else { f });
            kept.map(|summary| Done { ending, summary, failure: None, effect_begun: acts })
        }
        Err(failure) => Err(failure),
    };
    match kept {
        Ok(done) => done,
        Err(failure) => {
            let failure = clean(engine, failure);
            let begun = acts && failure.kind != FailureKind::Refused && !reporter.unrecorded();
            keep::failed(engine, action, keep::Lost { attempt: &attempt, failure: &failure, began, log: reporter.log() }).await;
            Done::failed(failure, begun)
        }
    }
}

fn context(
    engine: &Arc<Engine>,
    action: &Action,
    (values, attempt): (&Values, &Attempt),
    guard: Guard,
    reporter: Arc<Reporter>,
) -> Context {
    Context {
        wire: engine.wire.clone(),
        who: Who { run: engine.who.run.clone(), actor: engine.who.actor.clone(), step: action.step.clone(), def: action.call.def.clone() },
        previous: attempt.previous.clone(),
        identity: identity(values, attempt),
        guard,
        reporter,
        credentials: Arc::new(Keys { engine: Arc::clone(engine) }),
        root: engine.settings.root.clone(),
        unfinished: engine.who.past.tasks(&action.step).to_vec(),
    }
}

/// `vm:<uuid>` of the machine that the host argument reads; an address is no identity.
fn identity(values: &Values, attempt: &Attempt) -> String {
    match values.machine.as_ref().filter(|machine| machine.uuid.is_some()).or(attempt.machine.as_ref()).or(values.machine.as_ref()) {
        Some(Machine { uuid: Some(uuid), .. }) => format!("vm:{uuid}"),
        Some(Machine { name, uuid: None }) => format!("machine:{name}"),
        None => format!("host:{}", values.host.as_deref().unwrap_or_default()),
    }
}
