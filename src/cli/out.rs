//! Output: the two streams, what they can show, and lines that never fail halfway.

use std::io::{BufWriter, IsTerminal, Write};

use serde::Serialize;

/// `1 error`, `2 errors`.
pub fn counted<N: PartialEq + From<u8> + std::fmt::Display>(count: N, what: &str) -> String {
    let plural = if count == N::from(1) { "" } else { "s" };
    format!("{count} {what}{plural}")
}

/// Where a command writes. Standard output carries what was asked for, standard error all that is said about it.
pub struct Out {
    /// Whether everything is JSON.
    pub json: bool,
    /// Whether standard output shows colours.
    pub colour: bool,
    /// The user's choice of colours, if there is one.
    pub choice: Option<bool>,
    /// Whether standard error is a terminal.
    pub terminal: bool,
    closed: bool,
}

impl Out {
    /// The process's streams. `colour` is the user's choice (`NO_COLOR`, `--color`), if there is one.
    pub fn new(json: bool, colour: Option<bool>) -> Self {
        let terminal = std::io::stderr().is_terminal();
        let choice = colour;
        let colour = choice.unwrap_or_else(|| std::io::stdout().is_terminal());
        Self { json, colour: colour && !json, choice, terminal, closed: false }
    }

    /// Writes one line to standard output. A reader that went away (`| head`) ends the output, not the command.
    pub fn line(&mut self, line: impl AsRef<str>) {
        if !self.closed {
            self.closed = writeln!(std::io::stdout(), "{}", line.as_ref()).is_err();
        }
    }

    /// Writes text to standard output as it is.
    pub fn part(&mut self, text: &str) {
        if !self.closed {
            let mut out = std::io::stdout().lock();
            self.closed = out.write_all(text.as_bytes()).and_then(|()| out.flush()).is_err();
        }
    }

    /// Writes text to standard error as it is.
    pub fn say_part(&self, text: &str) {
        // With standard error gone there is nobody left to tell.
        let _ = std::io::stderr().write_all(text.as_bytes());
    }

    /// Whether nobody reads standard output any more.
    pub const fn closed(&self) -> bool {
        self.closed
    }

    /// Writes one value as one line of JSON.
    pub fn json(&mut self, value: &impl Serialize) {
        self.stream(|out| serde_json::to_writer(out, value));
    }

    /// Writes one value as JSON that people read.
    pub fn pretty(&mut self, value: &impl Serialize) {
        self.stream(|out| serde_json::to_writer_pretty(out, value));
    }

    /// Writes JSON as it is made, so that a large value is not held twice.
    fn stream(&mut self, write: impl FnOnce(&mut dyn Write) -> serde_json::Result<()>) {
        if self.closed {
            return;
        }
        let mut out = BufWriter::new(std::io::stdout().lock());
        if let Err(error) = write(&mut out)
            && !error.is_io()
        {
            self.say(format!("this has no JSON form: {error}"));
        }
        self.closed = writeln!(out).and_then(|()| out.flush()).is_err();
    }

    /// Writes one line to standard error.
    pub fn say(&self, line: impl AsRef<str>) {
        // With standard error gone there is nobody left to tell.
        let _ = writeln!(std::io::stderr(), "{}", line.as_ref());
    }

    /// `text` in a colour of the terminal (an SGR code such as `1` or `32`), where colours are shown.
    pub fn paint(&self, code: &str, text: impl std::fmt::Display) -> String {
        if self.colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_string() }
    }

    /// Whether standard error shows colours.
    pub fn terminal_colour(&self) -> bool {
        self.choice.unwrap_or(self.terminal)
    }

    /// The same for standard error.
    pub fn paint_err(&self, code: &str, text: impl std::fmt::Display) -> String {
        if self.terminal_colour() { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_string() }
    }
}
