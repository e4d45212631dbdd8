//! Snowflakes: ids that carry the time of their making.

/// When ids began, in milliseconds of Unix time.
const EPOCH: i64 = 1_420_070_400_000;

/// Gives out ids; each is larger than the one before.
#[derive(Debug, Default)]
pub struct Ids {
    last: u64,
}

impl Ids {
    /// The next id.
    pub fn next(&mut self) -> u64 {
        let passed = u64::try_from(jiff::Timestamp::now().as_millisecond() - EPOCH).unwrap_or_default();
        self.last = (passed << 22 | 1 << 17).max(self.last + 1);
        self.last
    }
}

/// The time in an id, as Discord writes times.
pub fn time(id: u64) -> String {
    let since = i64::try_from(id >> 22).unwrap_or_default() + EPOCH;
    written(jiff::Timestamp::from_millisecond(since).unwrap_or_default())
}

/// This moment, as Discord writes times.
pub fn now() -> String {
    written(jiff::Timestamp::now())
}

fn written(time: jiff::Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%S%.6f+00:00").to_string()
}
