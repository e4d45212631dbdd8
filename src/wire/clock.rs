//! The clock: now, and waiting.
#![expect(clippy::disallowed_methods, reason = "the one place that reads clocks and sleeps")]

use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;

use crate::event::Time;

/// Time as pmx sees it. Tests hold a clock that jumps.
pub trait Clock: Send + Sync {
    /// The wall clock, for what is stored and shown.
    fn now(&self) -> Time;
    /// Monotonic time since some fixed moment, for deadlines.
    fn elapsed(&self) -> Duration;
    /// Resolves after `duration`.
    fn sleep(&self, duration: Duration) -> BoxFuture<'_, ()>;
}

/// The machine's own clock.
pub struct SystemClock {
    origin: Instant,
}

impl SystemClock {
    /// A clock whose monotonic time begins now.
    pub fn new() -> Self {
        Self { origin: Instant::now() }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Time {
        let since_epoch = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        Time(i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX))
    }

    fn elapsed(&self) -> Duration {
        self.origin.elapsed()
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'_, ()> {
        Box::pin(tokio::time::sleep(duration))
    }
}
