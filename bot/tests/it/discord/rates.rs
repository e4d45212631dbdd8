//! Rate limits: a bucket per route and place, one for everything, and refusals at random.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::rest::Call;

/// Requests per second of one bot, whatever they are.
const GLOBAL: usize = 50;

/// A refused request.
#[derive(Clone, Debug)]
pub struct Limited {
    /// Its path.
    pub path: String,
    /// Whether it was refused by chance, and not because a limit was passed.
    pub injected: bool,
    /// Whether the limit is that of everything.
    pub global: bool,
    /// How long it was to wait.
    pub wait: Duration,
}

#[derive(Debug)]
struct Bucket {
    left: u64,
    until: Instant,
}

/// The limits and what is left of them.
#[derive(Debug)]
pub struct Rates {
    /// How many messages may be made, and how many edited, in a channel within a time.
    pub messages: (u64, Duration),
    /// Of how many out of a million requests are refused at random.
    pub chance: u64,
    /// Where the random numbers are.
    pub seed: u64,
    buckets: BTreeMap<String, Bucket>,
    recent: VecDeque<Instant>,
}

impl Default for Rates {
    fn default() -> Self {
        let messages = (5, Duration::from_secs(5));
        Self { messages, chance: 0, seed: 0, buckets: BTreeMap::new(), recent: VecDeque::new() }
    }
}

/// Headers of an answer.
pub type Headers = Vec<(&'static str, String)>;

impl Rates {
    /// Counts a request: the headers of its answer, or the refusal.
    pub fn take(&mut self, call: &Call) -> Result<Headers, (Limited, Headers)> {
        let now = Instant::now();
        // The answers to interactions are outside of the global limit, and their first ones outside of every other.
        let free = call.path.contains("/interactions/");
        if !free && !call.path.contains("/webhooks/") {
            self.everything(call, now)?;
        }
        if !free && self.unlucky() {
            let wait = Duration::from_millis(50 + self.random() % 250);
            return Err(refused(wait, Limited { path: call.path.clone(), injected: true, global: false, wait }));
        }
        let Some((name, limit, window)) = self.bucket(call) else { return Ok(Vec::new()) };
        let bucket = self.buckets.entry(name.clone()).or_insert(Bucket { left: limit, until: now + window });
        if bucket.until <= now {
            *bucket = Bucket { left: limit, until: now + window };
        }
        let reset = bucket.until - now;
        let headers = |left: u64| {
            let absolute = jiff::Timestamp::now().as_millisecond() as f64 / 1000.0 + reset.as_secs_f64();
            vec![
                ("x-ratelimit-limit", limit.to_string()),
                ("x-ratelimit-remaining", left.to_string()),
                ("x-ratelimit-reset", format!("{absolute:.3}")),
                ("x-ratelimit-reset-after", format!("{:.3}", reset.as_secs_f64())),
                (
                    "x-ratelimit-bucket",
                    format!("{:016x}", name.bytes().fold(7_u64, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte.into()))),
                ),
            ]
        };
        if bucket.left == 0 {
            let limited = Limited { path: call.path.clone(), injected: false, global: false, wait: reset };
            let (limited, mut told) = refused(reset, limited);
            told.extend(headers(0));
            return Err((limited, told));
        }
        bucket.left -= 1;
        Ok(headers(bucket.left))
    }

    /// Every bucket is full again.
    pub fn forget(&mut self) {
        self.buckets.clear();
        self.recent.clear();
    }

    fn everything(&mut self, call: &Call, now: Instant) -> Result<(), (Limited, Headers)> {
        while self.recent.front().is_some_and(|at| now - *at >= Duration::from_secs(1)) {
            self.recent.pop_front();
        }
        if self.recent.len() < GLOBAL {
            self.recent.push_back(now);
            return Ok(());
        }
        let wait = self.recent.front().map_or(Duration::ZERO, |at| Duration::from_secs(1).saturating_sub(now - *at));
        let (limited, mut told) = refused(wait, Limited { path: call.path.clone(), injected: false, global: true, wait });
        told.push(("x-ratelimit-global", "true".to_owned()));
        Err((limited, told))
    }

    /// The bucket of a request: the kind of request with the place that it is about.
    fn bucket(&self, call: &Call) -> Option<(String, u64, Duration)> {
        let parts: Vec<&str> = call.parts();
        let (messages, window) = self.messages;
        let second = Duration::from_secs(1);
        Some(match (call.method.as_str(), parts.as_slice()) {
            ("POST", ["channels", id, "messages"]) => (format!("create {id}"), messages, window),
            ("PATCH", ["channels", id, "messages", _]) => (format!("edit {id}"), messages, window),
            (method, ["channels", id, ..]) => (format!("{method} channel {id}"), 5, second),
            (_, ["webhooks", _, token, ..]) => (format!("webhook {token}"), 5, 2 * second),
            ("PUT", ["applications", ..]) => ("commands".to_owned(), 2, 5 * second),
            (method, ["applications", ..]) => (format!("{method} application"), 5, 5 * second),
            (method, ["guilds", id, ..]) => (format!("{method} guild {id}"), 10, 5 * second),
            _ => return None,
        })
    }

    fn unlucky(&mut self) -> bool {
        self.chance > 0 && self.random() % 1_000_000 < self.chance
    }

    /// The next number of a sequence that the seed decides (splitmix).
    fn random(&mut self) -> u64 {
        self.seed = self.seed.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.seed ^ (self.seed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }
}

/// Discord rounds the header up to whole seconds; where chance refuses, it keeps the fraction, so that a test with many refusals stays short.
fn refused(wait: Duration, limited: Limited) -> (Limited, Headers) {
    let after = if limited.injected { format!("{:.3}", wait.as_secs_f64()) } else { wait.as_secs_f64().ceil().to_string() };
    let scope = if limited.global {
        "global"
    } else if limited.injected {
        "shared"
    } else {
        "user"
    };
    (limited, vec![("retry-after", after), ("x-ratelimit-scope", scope.to_owned())])
}

/// The body of a refusal. It has no `code`, as Discord's often has none.
pub fn body(limited: &Limited) -> Value {
    json!({"message": "You are being rate limited.", "retry_after": limited.wait.as_secs_f64(), "global": limited.global})
}
