//! Text as it stands in a file: which bytes of the file a part of a string came from.

use std::ops::Range;

use crate::source::Span;

/// A text with the way back to its file.
#[derive(Clone, Debug)]
pub(in crate::lang) struct Written {
    /// The text, escapes undone.
    pub value: String,
    /// All of it in the file, quotes included.
    whole: Span,
    /// Where its first byte stands, when it stands there letter for letter.
    start: Option<usize>,
}

impl Written {
    /// A text that stands at `span` letter for letter.
    pub fn plain(value: &str, span: &Span) -> Self {
        let same = span.text() == value;
        Self { value: value.to_owned(), whole: span.clone(), start: same.then_some(span.start()) }
    }

    /// The string `value` that TOML read at `span`. Where the file has escapes, parts cannot be told apart and every part is the whole.
    pub fn of_toml(value: &str, span: &Span) -> Self {
        let raw = span.text();
        let quote = ["'''", "\"\"\"", "'", "\""].into_iter().find(|quote| raw.starts_with(quote) && raw.len() >= 2 * quote.len());
        let start = quote.and_then(|quote| {
            let mut body = &raw[quote.len()..raw.len() - quote.len()];
            let mut skipped = quote.len();
            // A newline right after the opening delimiter is not part of the text.
            if quote.len() == 3 {
                let newline = ["\r\n", "\n"].into_iter().find(|newline| body.starts_with(newline)).map_or(0, str::len);
                body = &body[newline..];
                skipped += newline;
            }
            (body == value).then_some(span.start() + skipped)
        });
        Self { value: value.to_owned(), whole: span.clone(), start }
    }

    /// The place of these bytes of the text.
    pub fn at(&self, range: Range<usize>) -> Span {
        match self.start {
            Some(start) => Span::new(&self.whole.source, start + range.start..start + range.end),
            None => self.whole.clone(),
        }
    }

    /// The place of the whole text, without its quotes where that can be told.
    pub fn inner(&self) -> Span {
        self.at(0..self.value.len())
    }

    /// A part of the text as a text of its own.
    pub fn part(&self, range: Range<usize>) -> Self {
        let whole = self.at(range.clone());
        let start = self.start.map(|start| start + range.start);
        Self { value: self.value[range].to_owned(), whole, start }
    }
}
