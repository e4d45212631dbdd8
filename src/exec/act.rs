//! One action's life: conditions, leases, fresh inputs, values, verdict, confirmation, the method, and what is kept of it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::event::{Ending, Event, Time};
use crate::exec::engine::{Engine, Question, Stop};
use crate::exec::evaluate::{self, Values};
use crate::exec::keep::{self, Attempt};
use crate::exec::refresh::Keys;
use crate::exec::reporter::Reporter;
use crate::lang::template::Each;
use crate::model::contract::{Acted, Call, Context, Effect, Failure, FailureKind, Guard, Instance, Outcome, Who};
use crate::name::{ResourceName, ResourcePattern};
use crate::plan::graph::Action;
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
    fn quiet(ending: Ending, summary: impl Into<String>) -> Self {
        Self { ending, summary: summary.into(), failure: None, effect_begun: false }
    }

    /// An action that failed.
    pub fn failed(failure: Failure, effect_begun: bool) -> Self {
        let ending = if failure.kind == FailureKind::Cancelled { Ending::Cancelled } else { Ending::Failed };
        Self { ending, summary: failure.message.clone(), failure: Some(failure), effect_begun }
    }
}

/// How long a cancelled method may take to end its remote work before it is dropped.
const CANCEL_GRACE: Duration = Duration::from_secs(10);

/// Runs one action from its conditions to its place in the store. `force` observes even when the last observation is fresh.
pub async fn perform(engine: &Arc<Engine>, action: &Action, each: Option<&Each>, force: bool) -> Done {
    let began = engine.wire.clock.now();
    let done = match prepare(engine, action, each, force).await {
        Ok(Prepared::Not(done)) => done,
        Ok(Prepared::Run(ready)) => run(engine, action, *ready, began).await,
        Err(failure) => Done::failed(failure, false),
    };
    let elapsed = engine.wire.clock.now().since(began);
    engine.herald.tell(Event::ActionFinished {
        step: action.step.clone(),
        call: action.call.name(),
        ending: done.ending,
        summary: done.summary.clone(),
        seconds: elapsed.as_secs_f64(),
    });
    done
}

enum Prepared {
    Not(Done),
    Run(Box<Ready>),
}

/// An action that is about to call its method.
struct Ready {
    values: Values,
    call: Call,
    attempt: Attempt,
    why: String,
    guard: Guard,
}

async fn prepare(engine: &Arc<Engine>, action: &Action, each: Option<&Each>, force: bool) -> Result<Prepared, Failure> {
    if let Some(condition) = evaluate::conditions(engine, action, each).await? {
        return Ok(Prepared::Not(Done::quiet(Ending::Skipped, format!("`{condition}` is false"))));
    }
    let effect = action.call.method.effect;
    if effect.acts() {
        engine.leases.hold(&mut engine.stop.clone()).await?;
    }
    freshen(engine, action).await?;
    let values = evaluate::values(engine, action, each).await?;
    let names = written_names(action, &values);
    let call = Call { globals: values.globals.clone(), arguments: values.arguments.clone() };
    let keyed = |secret: &Secret| engine.view.sealer.keyed_digest(secret.expose().as_bytes());
    let attempt = keep::begin(engine, action, key::key(&action.call, &call, &keyed), (names, values.variant.clone())).await?;
    let why = if force {
        "what is known has expired or was refused".to_owned()
    } else {
        let verdict = judge(engine, action, &attempt);
        if !verdict.runs() {
            keep::confirmed(engine, action, &attempt, &values.reads).await?;
            return Ok(Prepared::Not(Done::quiet(Ending::Fresh, verdict.to_string())));
        }
        verdict.to_string()
    };
    let guard = guard(engine, action, &attempt).await?;
    Ok(Prepared::Run(Box::new(Ready { values, call, attempt, why, guard })))
}

/// Observations that expired while the run went on are made again before their reader starts.
async fn freshen(engine: &Arc<Engine>, action: &Action) -> Result<(), Failure> {
    for read in action.touch.reads.iter().filter(|read| !read.credential) {
        let Some(name) = read.resource.exact() else { continue };
        let (Some(window), true) = (engine.planner.trust(&name), engine.planner.observable(&name)) else { continue };
        let head = engine.view.head(&name).await.map_err(|e| Failure::bug(e.to_string()))?;
        let now = engine.wire.clock.now();
        // A resource without a version is left to the expression: it says what is missing, or tolerates it.
        if head.is_some_and(|held| now.since(held.version.made.at) >= window) {
            let young = move |held: &crate::exec::view::Held| now.since(held.version.made.at) < window;
            engine.refresher.current(&name, &young).await?;
        }
    }
    Ok(())
}

/// The resources that the call will write, as far as its values tell.
fn written_names(action: &Action, values: &Values) -> Vec<ResourcePattern> {
    let call = &action.call;
    let variant = || values.variant.clone();
    let text = |argument: &str| {
        let value = values.arguments.get(argument).or_else(|| values.globals.get(argument));
        value.filter(|value| **value != Value::Null).map(Value::to_string)
    };
    let instance = |instance: &Instance| match instance {
        Instance::Argument(argument) => text(argument),
        Instance::Single(name) => Some(variant().unwrap_or_else(|| (*name).to_owned())),
        Instance::All => None,
    };
    let pattern = |writes: &crate::model::contract::Writes| ResourcePattern {
        def: call.def.clone(),
        spec: writes.spec.to_owned(),
        instance: instance(&writes.instance),
    };
    call.method.writes.iter().map(pattern).collect()
}

fn judge(engine: &Engine, action: &Action, attempt: &Attempt) -> Verdict {
    verdict::verdict(
        action,
        &Evidence {
            key: attempt.key,
            manifest: &attempt.manifest,
            same_key: attempt.same_key.as_ref(),
            same_subject: attempt.same_subject.as_ref().map(|(record, manifest)| (record, manifest.as_ref())),
            heads: &attempt.heads,
            now: engine.wire.clock.now(),
        },
    )
}

/// Asks for what must be asked, and gathers the proofs that a Destroy needs.
async fn guard(engine: &Arc<Engine>, action: &Action, attempt: &Attempt) -> Result<Guard, Failure> {
    let options = &action.flow.options;
    let destroys = action.call.method.effect == Effect::Destroy;
    let mut guard = Guard { protected: engine.settings.protected.clone(), shown: None, own_only: options.always };
    let mut ours = false;
    if destroys {
        let name = attempt.exact.first().ok_or_else(|| Failure::refused("it is not known which resource this would destroy"))?;
        let held = known(engine, name).await?;
        ours = made_here(engine, name).await?;
        guard.shown = Some(held);
    }
    if (destroys && !ours && !options.always) || options.confirm.is_some() {
        let question = Question {
            step: action.step.clone(),
            call: action.call.name(),
            name: attempt.exact.first().map_or_else(|| action.step.clone(), |name| name.instance.clone()),
            attributes: guard.shown.clone(),
            text: options.confirm.clone(),
            destroys,
        };
        if !engine.confirmer.confirm(&question).await {
            let help = format!("type the name when asked, or give `--yes {}`", question.name);
            return Err(Failure::refused(format!("{} of {} was not confirmed", question.call, question.name)).help(help));
        }
    }
    Ok(guard)
}

/// What is known of a resource that is to be destroyed; observed now when nothing is known yet.
async fn known(engine: &Arc<Engine>, name: &ResourceName) -> Result<Value, Failure> {
    let head = engine.view.head(name).await.map_err(|e| Failure::bug(e.to_string()))?;
    if let Some(held) = head {
        return Ok(held.attributes);
    }
    if !engine.planner.observable(name) {
        return Err(Failure::refused(format!("no version of {name} is known, so nothing proves which machine is meant")));
    }
    engine.refresher.current(name, &|_| true).await.map(|held| held.attributes)
}

/// Whether this very run created the resource: one of its versions was written here by a method that is no observation of it.
async fn made_here(engine: &Arc<Engine>, name: &ResourceName) -> Result<bool, Failure> {
    let (run, name) = (engine.who.run.clone(), name.clone());
    let chain = engine.view.keeper.call(move |store| store.chain(&name, None, 64)).await.map_err(|e| Failure::bug(e.to_string()))?;
    Ok(chain.iter().any(|version| version.made.run == run && version.made.call.ends_with(".create")))
}

async fn run(engine: &Arc<Engine>, action: &Action, ready: Ready, began: Time) -> Done {
    let started = Event::ActionStarted { step: action.step.clone(), call: action.call.name(), why: ready.why };
    let acts = action.call.method.effect.acts();
    if acts {
        if let Err(error) = engine.herald.record(started).await {
            return Done::failed(Failure::bug(format!("the journal cannot be written, so nothing is begun: {error}")), false);
        }
    } else {
        engine.herald.tell(started);
    }
    let reporter = Reporter::new(&action.step, engine.herald.clone(), engine.stop.clone());
    let context = context(engine, action, (&ready.values, &ready.attempt), ready.guard, Arc::clone(&reporter));
    let result = attempts(engine, action, &context, &ready.call).await;
    let log = reporter.log();
    match result {
        Ok(outcome) => {
            let ending = if acts && !outcome.changed { Ending::Unchanged } else { Ending::Done };
            let summary = engine.herald.redacted(&outcome.summary);
            let kept = keep::outcome(
                engine,
                action,
                keep::Ended { attempt: ready.attempt, reads: ready.values.reads, outcome, ending, began, log },
            );
            match kept.await {
                Ok(()) => Done { ending, summary, failure: None, effect_begun: acts },
                Err(failure) => Done::failed(failure, acts),
            }
        }
        Err(failure) => {
            let failure = Failure { message: engine.herald.redacted(&failure.message), ..failure };
            let begun = acts && failure.kind != FailureKind::Refused;
            keep::failed(engine, action, keep::Lost { attempt: ready.attempt, reads: ready.values.reads, failure: &failure, began, log })
                .await;
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
    }
}

/// `vm:<uuid>` of the machine that the host argument reads; an address is no identity.
fn identity(values: &Values, attempt: &Attempt) -> String {
    match (&values.machine, &attempt.machine_uuid) {
        (_, Some(uuid)) => format!("vm:{uuid}"),
        (Some(machine), None) => format!("machine:{machine}"),
        (None, None) => {
            let host = ["sshHost", "host"].iter().find_map(|name| values.globals.get(*name)).map(Value::to_string);
            format!("host:{}", host.unwrap_or_default())
        }
    }
}

/// Tries the method as often as its step, or its effect, allows.
async fn attempts(engine: &Arc<Engine>, action: &Action, context: &Context, call: &Call) -> Result<Outcome, Failure> {
    let effect = action.call.method.effect;
    let (times, mut backoff) = match action.flow.options.retry {
        Some(retry) => (retry.times, retry.backoff),
        None if matches!(effect, Effect::Observe | Effect::Converge) => (2, Duration::from_millis(500)),
        None => (0, Duration::ZERO),
    };
    let asked = action.flow.options.retry.is_some();
    for attempt in 0.. {
        let failure = match once(engine, action, context, call.clone()).await {
            Ok(outcome) => return Ok(outcome),
            Err(failure) => failure,
        };
        let again = failure.kind == FailureKind::Theirs && failure.acted == Acted::No && (asked || failure.transient);
        if attempt >= times || !again || *engine.stop.borrow() != Stop::No {
            return Err(failure);
        }
        engine.herald.tell(Event::Retry { step: action.step.clone(), attempt: attempt + 2, reason: failure.message });
        engine.wire.clock.sleep(backoff).await;
        backoff = backoff.saturating_mul(2).min(Duration::from_secs(60));
    }
    Err(Failure::bug("more attempts than there are numbers"))
}

/// One attempt, within the step's timeout, ended some seconds after the run is cancelled at the latest.
async fn once(engine: &Arc<Engine>, action: &Action, context: &Context, call: Call) -> Result<Outcome, Failure> {
    let acts = action.call.method.effect.acts();
    let blame = |failure: Failure| if acts { failure.maybe_acted() } else { failure };
    let timeout = async {
        match action.flow.options.timeout {
            Some(timeout) => engine.wire.clock.sleep(timeout).await,
            None => std::future::pending().await,
        }
    };
    let cancelled = async {
        let mut stop = engine.stop.clone();
        if stop.wait_for(|stop| *stop == Stop::Running).await.is_err() {
            std::future::pending::<()>().await;
        }
        engine.wire.clock.sleep(CANCEL_GRACE).await;
    };
    tokio::select! {
        result = (action.call.method.run)(context, call) => result,
        () = timeout => {
            let seconds = action.flow.options.timeout.unwrap_or_default().as_secs();
            Err(blame(Failure::theirs(format!("{} did not end within the step's timeout of {seconds} s", action.call.name()))))
        }
        () = cancelled => {
            let failure = Failure::theirs(format!("{} was cancelled and did not end within {} s", action.call.name(), CANCEL_GRACE.as_secs()));
            Err(blame(Failure { kind: FailureKind::Cancelled, ..failure }))
        }
    }
}

/// What the store knew before, by `spec/instance`.
pub type Previous = BTreeMap<(String, String), Value>;
