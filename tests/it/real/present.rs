//! What a machine has of real components: missing ones are told aloud, and are failures where everything must be here.

use std::io::Write;

/// Passes on what was found; says aloud that the test is skipped when nothing was.
///
/// # Panics
/// When nothing was, and `PMX_REAL=1` says that the machine has everything.
#[track_caller]
pub fn present<T>(what: &str, found: Option<T>) -> Option<T> {
    if found.is_none() {
        assert!(
            std::env::var("PMX_REAL").as_deref() != Ok("1"),
            "PMX_REAL=1 says that every real component is here, but this machine lacks {what}"
        );
        // Past the test runner's capture: a skipped test must not look like one that passed.
        let _ = writeln!(std::io::stderr(), "skipped: needs {what}");
    }
    found
}
