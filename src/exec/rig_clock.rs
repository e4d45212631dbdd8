//! A clock that only the test moves: runs on real threads between two moves, and no timing decides.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::sync::watch;

use crate::event::Time;
use crate::exec::rig::soon;
use crate::wire::clock::Clock;

/// Shows 2026-11-23T12:00:00Z until it is moved.
#[derive(Clone)]
pub struct HandClock {
    state: Arc<watch::Sender<State>>,
}

#[derive(Default)]
struct State {
    elapsed: Duration,
    next: u64,
    /// Who sleeps: how long, and until when.
    sleepers: BTreeMap<u64, (Duration, Duration)>,
}

impl HandClock {
    pub fn new() -> Self {
        Self { state: Arc::new(watch::Sender::new(State::default())) }
    }

    /// Lets time pass.
    pub fn advance(&self, by: Duration) {
        self.state.send_modify(|state| state.elapsed += by);
    }

    /// Waits until somebody sleeps for just so long, then lets that time pass.
    pub async fn pass(&self, duration: Duration) {
        self.asleep(duration).await;
        self.advance(duration);
    }

    /// Waits until somebody sleeps for just so long.
    pub async fn asleep(&self, duration: Duration) {
        let asleep = |state: &State| state.sleepers.values().any(|(long, due)| *long == duration && *due > state.elapsed);
        soon(self.state.subscribe().wait_for(asleep)).await.map(drop).unwrap();
    }
}

impl Clock for HandClock {
    fn now(&self) -> Time {
        Time(1_795_435_200_000).plus(self.state.borrow().elapsed)
    }

    fn elapsed(&self) -> Duration {
        self.state.borrow().elapsed
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'_, ()> {
        let mut asleep = Asleep { clock: self.clone(), id: 0 };
        let mut due = Duration::ZERO;
        self.state.send_modify(|state| {
            state.next += 1;
            (asleep.id, due) = (state.next, state.elapsed + duration);
            state.sleepers.insert(asleep.id, (duration, due));
        });
        Box::pin(async move {
            let asleep = asleep;
            asleep.clock.state.subscribe().wait_for(|state| state.elapsed >= due).await.map(drop).unwrap();
        })
    }
}

/// One sleeper; dropped when it wakes or is not waited for any more.
struct Asleep {
    clock: HandClock,
    id: u64,
}

impl Drop for Asleep {
    fn drop(&mut self) {
        self.clock.state.send_modify(|state| {
            state.sleepers.remove(&self.id);
        });
    }
}
