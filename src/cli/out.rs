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
    /// What is not written yet, of a command that says much at once.
    block: Option<Vec<u8>>,
    begun: bool,
}

/// A block of this size is written.
const BLOCK: usize = 32 << 10;

impl Drop for Out {
    fn drop(&mut self) {
        self.flush();
    }
}

impl Out {
    /// The process's streams. `colour` is the user's choice (`NO_COLOR`, `--color`), if there is one.
    pub fn new(json: bool, colour: Option<bool>) -> Self {
        let terminal = std::io::stderr().is_terminal();
        let choice = colour;
        let colour = choice.unwrap_or_else(|| std::io::stdout().is_terminal());
        Self { json, colour: colour && !json, choice, terminal, closed: false, block: None, begun: false }
    }

    /// From now on what is shown is written in blocks, the first line at once: for commands that show thousands of lines and wait for nothing.
    pub fn in_blocks(&mut self) {
        self.block.get_or_insert_default();
    }

    /// Writes what waits.
    fn flush(&mut self) {
        if let Some(block) = self.block.as_mut().filter(|block| !block.is_empty()) {
            let mut out = std::io::stdout().lock();
            self.closed |= out.write_all(block).and_then(|()| out.flush()).is_err();
            block.clear();
        }
    }

    /// Writes `line` with the block that it fills.
    fn put(&mut self, line: &str) {
        let Some(block) = &mut self.block else {
            self.closed = writeln!(std::io::stdout(), "{line}").is_err();
            return;
        };
        block.extend_from_slice(line.as_bytes());
        block.push(b'\n');
        // Somebody waits for the first line.
        if !std::mem::replace(&mut self.begun, true) || block.len() >= BLOCK {
            self.flush();
        }
    }

    /// Writes one line to standard output. A reader that went away (`| head`) ends the output, not the command.
    pub fn line(&mut self, line: impl AsRef<str>) {
        if !self.closed {
            self.put(line.as_ref());
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
        if self.block.is_some()
            && let Ok(text) = serde_json::to_string(value)
        {
            self.line(text);
            return;
        }
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
        self.flush();
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
