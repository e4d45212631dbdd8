//! The clock of the practice machines.
#![expect(
    clippy::disallowed_methods,
    reason = "the lab is a tower of its own and may not import wire; a machine shows the time of day and waits"
)]

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Seconds since 1970, by the clock of this machine.
#[must_use]
pub fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| i64::try_from(d.as_secs()).unwrap_or(i64::MAX))
}

/// Blocks the calling thread. Only threads that run a practice machine's command call it, in steps short enough to notice a cancel.
pub fn pause(length: Duration) {
    std::thread::sleep(length);
}

/// `2026-11-23T16:47:56Z`.
#[must_use]
pub fn rfc3339(seconds: i64) -> String {
    jiff::Timestamp::from_second(seconds).map_or_else(|_| "1970-01-01T00:00:00Z".to_owned(), |t| t.to_string())
}

/// Milliseconds since 1970, by the clock of this machine.
#[must_use]
pub fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| i64::try_from(d.as_millis()).unwrap_or(i64::MAX))
}
