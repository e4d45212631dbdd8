//! The lab's clock: real time plus a settable offset, and waits that the pace shortens.
#![expect(clippy::disallowed_methods, reason = "the lab owns its clock: it is a world of its own, and wire is above it")]

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use jiff::Timestamp;

/// Time as the lab sees it. `pace` 1.0 waits as long as a real node; 0.02 waits a fiftieth of that.
#[derive(Debug)]
pub struct Clock {
    offset: AtomicI64,
    pace: f64,
    noise: AtomicU64,
}

impl Clock {
    /// A clock with `offset` seconds added to real time and waits multiplied by `pace`.
    pub fn new(offset: i64, pace: f64) -> Self {
        let seed = u64::try_from(uuid::Uuid::new_v4().as_u128() & u128::from(u64::MAX)).unwrap_or(1) | 1;
        Self { offset: AtomicI64::new(offset), pace: pace.clamp(0.0, 10.0), noise: AtomicU64::new(seed) }
    }

    /// Seconds since 1970 with a fraction, offset included.
    pub fn now(&self) -> f64 {
        let real = Timestamp::now().as_millisecond() as f64 / 1000.0;
        real + self.offset.load(Ordering::Relaxed) as f64
    }

    /// Whole seconds since 1970, offset included.
    pub fn unix(&self) -> i64 {
        self.now().floor() as i64
    }

    /// Moves the clock by `seconds` (negative: back) and returns the whole offset.
    pub fn advance(&self, seconds: i64) -> i64 {
        self.offset.fetch_add(seconds, Ordering::Relaxed) + seconds
    }

    /// Text for the `Date` and `Expires` headers.
    pub fn http_date(&self) -> String {
        let printer = jiff::fmt::rfc2822::DateTimePrinter::new();
        let now = Timestamp::from_second(self.unix()).unwrap_or(Timestamp::UNIX_EPOCH);
        printer.timestamp_to_rfc9110_string(&now).unwrap_or_default()
    }

    /// What `real` seconds of a genuine node last in this lab.
    pub fn scaled(&self, real: f64) -> f64 {
        (real * self.pace).max(0.0)
    }

    /// The same as a duration, for time-outs.
    pub fn span(&self, real: f64) -> Duration {
        Duration::from_secs_f64(self.scaled(real).min(86_400.0))
    }

    /// Waits as long as `real` seconds of a genuine node last here.
    pub async fn wait(&self, real: f64) {
        tokio::time::sleep(self.span(real)).await;
    }

    /// Waits `span` of real time, whatever the pace.
    pub async fn rest(&self, span: Duration) {
        tokio::time::sleep(span).await;
    }

    /// A random number: a sequence good enough to shuffle keys and to make MAC addresses, never for secrets.
    pub fn noise(&self) -> u64 {
        let mut word = self.noise.fetch_add(0x9E37_79B9_7F4A_7C15, Ordering::Relaxed).wrapping_add(0x9E37_79B9_7F4A_7C15);
        word = (word ^ (word >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        word ^ (word >> 31)
    }
}
