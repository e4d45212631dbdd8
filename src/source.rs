//! Source text and complaints: files, spans in them, and diagnostics that point at a place and say what to do.

use std::fmt;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

/// A text that the user wrote: a file, or an argument of the command line.
#[derive(Debug)]
pub struct Source {
    /// What to call it in messages: the path relative to the project's root, or `-i vmName=…`.
    pub name: PathBuf,
    /// The whole text.
    pub text: String,
    /// Where each line begins; found when somebody first asks for a line: places are told by the thousand.
    lines: OnceLock<Vec<usize>>,
}

impl PartialEq for Source {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name && self.text == other.text
    }
}

impl Eq for Source {}

impl Source {
    /// A source of this name and text.
    pub fn new(name: impl Into<PathBuf>, text: impl Into<String>) -> Arc<Self> {
        Arc::new(Self { name: name.into(), text: text.into(), lines: OnceLock::new() })
    }

    /// Line and column, both from 1, of byte `offset`; columns count characters.
    pub fn line_column(&self, offset: usize) -> (usize, usize) {
        let offset = floor(&self.text, offset);
        let lines = self.lines.get_or_init(|| std::iter::once(0).chain(self.text.match_indices('\n').map(|(at, _)| at + 1)).collect());
        let line = lines.partition_point(|start| *start <= offset);
        (line, self.text[lines[line - 1]..offset].chars().count() + 1)
    }
}

/// The end of the last whole character before `at`, which may lie inside one or behind the text.
pub fn floor(text: &str, at: usize) -> usize {
    let mut at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

/// The beginning of the first whole character from `at` on.
pub fn ceil(text: &str, at: usize) -> usize {
    let mut at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at += 1;
    }
    at
}

/// A place in a source: a byte range.
#[derive(Clone, PartialEq, Eq)]
pub struct Span {
    /// The text.
    pub source: Arc<Source>,
    /// Bytes from start to end, end excluded: a run of many actions keeps millions of places, and no text that is read is longer than 4 GiB.
    start: u32,
    end: u32,
}

impl Span {
    /// The bytes `range` of `source`.
    pub fn new(source: &Arc<Source>, range: Range<usize>) -> Self {
        let offset = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
        Self { source: Arc::clone(source), start: offset(range.start), end: offset(range.end) }
    }

    /// Its bytes.
    pub const fn range(&self) -> Range<usize> {
        self.start()..self.end()
    }

    /// Its first byte.
    pub const fn start(&self) -> usize {
        self.start as usize
    }

    /// The byte behind it.
    pub const fn end(&self) -> usize {
        self.end as usize
    }

    /// The text at this place; empty when the range does not fit.
    pub fn text(&self) -> &str {
        self.source.text.get(self.range()).unwrap_or_default()
    }

    /// The part of this place that begins `range.start` bytes in.
    pub fn part(&self, range: Range<usize>) -> Self {
        let clamp = |offset: usize| (self.start() + offset).min(self.end().max(self.start()));
        Self::new(&self.source, clamp(range.start)..clamp(range.end))
    }
}

/// `workflows/stop-vm.toml:7:9`.
impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (line, column) = self.source.line_column(self.start());
        write!(f, "{}:{line}:{column}", self.source.name.display())
    }
}

impl fmt::Debug for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}..{}", self.end)
    }
}

/// Something together with the place where it was written.
#[derive(Clone, Debug, PartialEq)]
pub struct Spanned<T> {
    /// The thing.
    pub value: T,
    /// Its place.
    pub span: Span,
}

impl<T> Spanned<T> {
    /// `value` as written at `span`.
    pub const fn new(value: T, span: Span) -> Self {
        Self { value, span }
    }

    /// The same place with another thing made of this one.
    pub fn map<U>(self, change: impl FnOnce(T) -> U) -> Spanned<U> {
        Spanned { value: change(self.value), span: self.span }
    }
}

/// Whose fault it is, which decides the exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A file or argument of the user: exit code 2.
    Yours,
    /// Another machine said no: exit code 1.
    Theirs,
    /// pmx refused to act: protection, identity, lease: exit code 3.
    Refused,
    /// A bug of pmx: exit code 70.
    Ours,
}

/// How much it matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Nothing is done before this is mended.
    Error,
    /// Worth a look; work goes on.
    Warning,
}

/// One complaint: what is wrong, where, and what to do.
#[derive(Clone, Debug, PartialEq)]
pub struct Diagnostic {
    /// Error or warning.
    pub severity: Severity,
    /// Whose fault.
    pub fault: Fault,
    /// What is wrong: a lower-case fragment that quotes what was given.
    pub message: String,
    /// The place, and what stands there; empty when the message says it all.
    pub at: Option<(Span, String)>,
    /// Other places that matter: where the first one was defined.
    pub also: Vec<(Span, String)>,
    /// What to do.
    pub help: Option<String>,
}

impl Diagnostic {
    /// An error in the user's files or arguments.
    pub fn yours(message: impl Into<String>) -> Self {
        Self::new(Severity::Error, Fault::Yours, message)
    }

    /// A warning about the user's files.
    pub fn warning(message: impl Into<String>) -> Self {
        Self::new(Severity::Warning, Fault::Yours, message)
    }

    /// An error of this severity and fault without a place yet.
    pub fn new(severity: Severity, fault: Fault, message: impl Into<String>) -> Self {
        Self { severity, fault, message: message.into(), at: None, also: Vec::new(), help: None }
    }

    /// Points at a place; `label` is written under the caret and may be empty.
    #[must_use]
    pub fn at(mut self, span: &Span, label: impl Into<String>) -> Self {
        self.at = Some((span.clone(), label.into()));
        self
    }

    /// Points at another place.
    #[must_use]
    pub fn also(mut self, span: &Span, label: impl Into<String>) -> Self {
        self.also.push((span.clone(), label.into()));
        self
    }

    /// Says what to do.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Adds the help when a near name is known.
    #[must_use]
    pub fn did_you_mean<'a>(self, given: &str, known: impl IntoIterator<Item = &'a str>) -> Self {
        match crate::name::nearest(given, known) {
            Some(near) => self.help(format!("did you mean `{near}`?")),
            None => self,
        }
    }
}

/// One line: place, message and help, for logs and chat.
impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some((span, _)) = &self.at {
            write!(f, "{span}: ")?;
        }
        f.write_str(&self.message)?;
        match &self.help {
            Some(help) => write!(f, "; {help}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_and_columns_count_from_one_in_characters() {
        let source = Source::new("x.toml", "a = 1\nü = 'b'\n");
        assert_eq!(source.line_column(0), (1, 1));
        assert_eq!(source.line_column(6), (2, 1));
        assert_eq!(source.line_column(9), (2, 3));
        assert_eq!(source.line_column(999), (3, 1));
    }

    #[test]
    fn a_diagnostic_in_one_line() {
        let source = Source::new("x.toml", "nam = 1\n");
        let complaint = Diagnostic::yours("unknown key `nam`").at(&Span::new(&source, 0..3), "").did_you_mean("nam", ["name", "call"]);
        assert_eq!(complaint.to_string(), "x.toml:1:1: unknown key `nam`; did you mean `name`?");
    }
}
