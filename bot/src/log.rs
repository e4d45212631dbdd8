//! The log: lines on standard error, for journald or docker to stamp. Never holds a token: nobody who has one hands it on.
#![expect(clippy::print_stderr, reason = "the one place that writes the log")]

/// Writes a line.
pub fn say(line: impl AsRef<str>) {
    eprintln!("{}", line.as_ref().replace('\n', "\n    "));
}
