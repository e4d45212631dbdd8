//! A clock that jumps: whoever sleeps is woken in the order of the moments they asked for, without any real time passing.

use std::collections::BTreeSet;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::future::BoxFuture;

use super::locked;
use crate::event::Time;
use crate::wire::clock::Clock;

/// How many turns everybody else gets before time moves: enough for a chain of spawned tasks that hand a value on.
const TURNS: u32 = 32;

/// A clock for tests. Only the earliest sleeper moves it, so a deadline beside a loop of short sleeps fires after them, as in the world.
#[derive(Clone)]
pub struct TestClock {
    state: Arc<Mutex<State>>,
}

struct State {
    start: Time,
    elapsed: Duration,
    sleepers: BTreeSet<(Duration, u64)>,
    next: u64,
    slept: Vec<Duration>,
}

impl TestClock {
    /// A clock that shows 2026-11-23 12:00:00 UTC.
    pub fn new() -> Self {
        Self::at(Time(1_795_435_200_000))
    }

    /// A clock that shows `start`.
    pub fn at(start: Time) -> Self {
        let state = State { start, elapsed: Duration::ZERO, sleepers: BTreeSet::new(), next: 0, slept: Vec::new() };
        Self { state: Arc::new(Mutex::new(state)) }
    }

    /// Lets `duration` pass.
    pub fn advance(&self, duration: Duration) {
        locked(&self.state).elapsed += duration;
    }

    /// Sets the wall clock; what has elapsed stays.
    pub fn set(&self, now: Time) {
        let mut state = locked(&self.state);
        let elapsed = i64::try_from(state.elapsed.as_millis()).unwrap_or(i64::MAX);
        state.start = Time(now.0 - elapsed);
    }

    /// Every sleep that was asked for, in order.
    pub fn slept(&self) -> Vec<Duration> {
        locked(&self.state).slept.clone()
    }
}

impl Default for TestClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for TestClock {
    fn now(&self) -> Time {
        let state = locked(&self.state);
        Time(state.start.0 + i64::try_from(state.elapsed.as_millis()).unwrap_or(i64::MAX))
    }

    fn elapsed(&self) -> Duration {
        locked(&self.state).elapsed
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'_, ()> {
        let mut state = locked(&self.state);
        state.slept.push(duration);
        let key = (state.elapsed + duration, state.next);
        state.next += 1;
        state.sleepers.insert(key);
        Box::pin(Sleep { clock: self.clone(), key, turns: 0 })
    }
}

struct Sleep {
    clock: TestClock,
    key: (Duration, u64),
    turns: u32,
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        self.turns += 1;
        let mut state = locked(&self.clock.state);
        let due = self.key.0;
        if state.elapsed >= due && self.turns > 1 {
            return Poll::Ready(());
        }
        if self.turns > TURNS && state.sleepers.first() == Some(&self.key) {
            state.elapsed = due;
            return Poll::Ready(());
        }
        drop(state);
        context.waker().wake_by_ref();
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        locked(&self.clock.state).sleepers.remove(&self.key);
    }
}
