//! Tries: one method called as often as its step or its effect allows, within its time, and ended when the run is.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;

use crate::event::Event;
use crate::exec::engine::{Engine, Stop};
use crate::exec::reporter::Reporter;
use crate::lang::workflow::Retry;
use crate::model::contract::{Acted, Call, Context, Effect, Failure, FailureKind, Outcome};
use crate::plan::graph::Action;

/// How long a method whose time is up may take to end its remote work before it is dropped.
const GRACE: Duration = Duration::from_secs(10);
/// What is retried unasked: five times within a quarter of a minute, which is what a machine needs from its address to its sshd.
const UNASKED: Retry = Retry { times: 5, backoff: Duration::from_millis(500) };
/// Waits double up to this, unless the step asked for longer ones.
const LONGEST_BACKOFF: Duration = Duration::from_secs(60);

/// Tries the method. The step's timeout is for all tries together, the waits between them included.
///
/// - Unasked: Observe and Converge, when the failure is transient and nothing was done.
/// - With `retry`: whatever the other side refused and did not do; a Converge also when it may have acted, because it looks first.
/// - Never: what the user or pmx got wrong, and anything once the run is being stopped; `always` steps are tried until the second stop.
pub async fn tries(engine: &Arc<Engine>, action: &Action, with: (&Context, &Arc<Reporter>), call: &Call) -> Result<Outcome, Failure> {
    let options = &action.flow.options;
    let effect = action.call.method.effect;
    let looks = matches!(effect, Effect::Observe | Effect::Converge);
    let Retry { times, mut backoff } = options.retry.unwrap_or(if looks { UNASKED } else { Retry { times: 0, backoff: Duration::ZERO } });
    let longest = backoff.max(LONGEST_BACKOFF);
    let last_stop = if options.always { Stop::Starting } else { Stop::No };
    let began = engine.wire.clock.elapsed();
    let left = || options.timeout.map(|timeout| timeout.saturating_sub(engine.wire.clock.elapsed().saturating_sub(began)));
    let mut attempt = 1;
    loop {
        let failure = match once(engine, action, with, (call.clone(), left())).await {
            Ok(outcome) => return Ok(outcome),
            Err(failure) => failure,
        };
        let harmless = failure.acted == Acted::No || (options.retry.is_some() && looks);
        let again = failure.kind == FailureKind::Theirs && harmless && (options.retry.is_some() || failure.transient);
        let stopped = *engine.stop.borrow() > last_stop;
        if attempt > times || !again || stopped || left().is_some_and(|left| left <= backoff) {
            return Err(failure);
        }
        attempt += 1;
        engine.herald.tell(Event::Retry { step: action.step.clone(), attempt, reason: failure.message.clone() });
        let mut stop = engine.stop.clone();
        tokio::select! {
            () = engine.wire.clock.sleep(backoff) => {}
            Ok(_) = stop.wait_for(|stop| *stop > last_stop) => return Err(failure),
        }
        backoff = backoff.saturating_mul(2).min(longest);
    }
}

/// Why a method had to end.
enum TimeUp {
    Timeout,
    Cancelled,
}

/// One try: ends by itself, or some seconds after its time is up or the run is cancelled.
async fn once(
    engine: &Arc<Engine>,
    action: &Action,
    (context, reporter): (&Context, &Arc<Reporter>),
    (call, left): (Call, Option<Duration>),
) -> Result<Outcome, Failure> {
    let acts = action.call.method.effect.acts();
    let blame = |failure: Failure| if acts { failure.maybe_acted() } else { failure };
    // A method that panics must not take its record, its journal line and its log with it.
    let caught = async {
        match AssertUnwindSafe(async { (action.call.method.run)(context, call).await }).catch_unwind().await {
            Ok(result) => result,
            Err(panic) => Err(blame(Failure::bug(format!("{} panicked: {}", action.call.name(), text(&*panic))))),
        }
    };
    let mut method = pin!(caught);
    let up = tokio::select! {
        biased;
        result = &mut method => return result,
        up = time_up(engine, left) => up,
    };
    reporter.cancel();
    let ended = tokio::select! {
        biased;
        result = &mut method => Some(result),
        () = patience(engine, reporter) => None,
    };
    let name = action.call.name();
    match (ended, up) {
        // It made it after all: what it did is the truth.
        (Some(Ok(outcome)), _) => Ok(outcome),
        (Some(Err(failure)), TimeUp::Cancelled) => Err(failure),
        (ended, TimeUp::Timeout) => {
            let seconds = action.flow.options.timeout.unwrap_or_default().as_secs();
            let message = format!("{name} did not end within the step's timeout of {seconds} s");
            Err(match ended {
                Some(Err(failure)) => Failure { message, kind: FailureKind::Theirs, transient: false, ..failure },
                _ => blame(Failure::theirs(message)),
            })
        }
        (None, TimeUp::Cancelled) => {
            let seconds = GRACE.max(reporter.insisted()).as_secs();
            let failure = Failure::theirs(format!("{name} was cancelled and did not end within {seconds} s"));
            Err(blame(Failure { kind: FailureKind::Cancelled, ..failure }))
        }
    }
}

/// Ends when a method whose time is up has had enough of it: a change that is half made may be taken back first.
async fn patience(engine: &Engine, reporter: &Reporter) {
    engine.wire.clock.sleep(GRACE).await;
    let more = reporter.insisted().saturating_sub(GRACE);
    if !more.is_zero() {
        engine.wire.clock.sleep(more).await;
    }
}

async fn time_up(engine: &Engine, left: Option<Duration>) -> TimeUp {
    let timeout = async {
        match left {
            Some(left) => engine.wire.clock.sleep(left).await,
            None => std::future::pending().await,
        }
    };
    let mut stop = engine.stop.clone();
    let cancelled = async {
        if stop.wait_for(|stop| *stop == Stop::Running).await.is_err() {
            std::future::pending::<()>().await;
        }
    };
    tokio::select! {
        () = timeout => TimeUp::Timeout,
        () = cancelled => TimeUp::Cancelled,
    }
}

/// What a panic said.
pub fn text(panic: &(dyn Any + Send)) -> &str {
    let owned = panic.downcast_ref::<String>().map(String::as_str);
    owned.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("without a text")
}
