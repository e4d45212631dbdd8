//! Doubles of the wire for tests: HTTP and SSH that follow a script and complain about everything else, and a clock that jumps.
//!
//! Every double is cheap to clone: the test keeps one clone to ask and `finish()`, the code under test gets another through [`wire`].

mod clock;
mod http;
mod ssh;
mod tcp;
mod tests;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub use clock::TestClock;
pub use http::{Body, ScriptedHttp};
pub use ssh::{Called, ScriptedFile, ScriptedSsh};
pub use tcp::ScriptedTcp;

use crate::wire::Wire;

/// A wire made of doubles.
pub fn wire(http: &ScriptedHttp, ssh: &ScriptedSsh, clock: &TestClock) -> Wire {
    let tcp = Arc::new(ScriptedTcp::new());
    Wire { http: Arc::new(http.clone()), ssh: Arc::new(ssh.clone()), tcp, clock: Arc::new(clock.clone()) }
}

/// A failed assertion poisons the lock; what the script says about it is still wanted.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether `text` is `pattern`, where `*` in the pattern stands for any text.
fn matches(pattern: &str, text: &str) -> bool {
    let mut pieces = pattern.split('*');
    let first = pieces.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else { return false };
    let mut pieces: Vec<&str> = pieces.collect();
    let Some(last) = pieces.pop() else { return rest.is_empty() };
    for piece in pieces {
        let Some(at) = rest.find(piece) else { return false };
        rest = &rest[at + piece.len()..];
    }
    rest.ends_with(last)
}

/// How often an entry of a script may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Times {
    Once,
    Always,
}

/// The entries that the script still waits for, one a line, for complaints.
fn pending<'a>(lines: impl Iterator<Item = &'a str>) -> String {
    let lines: Vec<String> = lines.map(|line| format!("\n    {line}")).collect();
    if lines.is_empty() { "\n    (nothing)".to_owned() } else { lines.concat() }
}
