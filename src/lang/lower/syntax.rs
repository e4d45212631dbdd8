//! TOML syntax errors in plain sentences, with their places.

use std::ops::Range;
use std::sync::Arc;

use toml::de::DeTable;

use crate::source::{Diagnostic, Source, Span, ceil, floor};

/// Largest file that is read, in bytes.
const LARGEST: usize = 32 << 20;
/// How many lines before an error are searched for its cause.
const LOOK_BACK: usize = 50;
/// Syntax errors after these are echoes of the first ones.
const MOST: usize = 5;

/// The tree of a file, or what is wrong with its syntax.
pub(in crate::lang) fn parse(source: &Arc<Source>) -> Result<toml::Spanned<DeTable<'_>>, Vec<Diagnostic>> {
    if source.text.len() > LARGEST {
        let message = format!("the file is {} bytes long, more than {LARGEST}", source.text.len());
        return Err(vec![Diagnostic::yours(message).at(&Span::new(source, 0..0), "")]);
    }
    let (tree, errors) = DeTable::parse_recoverable(&source.text);
    if errors.is_empty() {
        return Ok(tree);
    }
    let mut complaints: Vec<Diagnostic> = Vec::new();
    let mut last_line = 0;
    for error in errors {
        let range = error.span().unwrap_or(source.text.len()..source.text.len());
        let range = culprit(&source.text, range);
        let line = source.line_column(range.start).0;
        // One slip makes the parser complain several times about one line.
        if line != last_line && complaints.len() < MOST {
            complaints.push(plain(&error, &Span::new(source, range)));
        }
        last_line = line;
    }
    Err(complaints)
}

/// Cuts a text in front of lines that look like `header`: what stands before the first of them, then pieces of at least `least` bytes each. `None` where
/// there is no such line.
///
/// Where a cut falls into something that is still open, a text of many lines or a list, the piece before it is no TOML.
pub(in crate::lang) fn pieces(text: &str, header: &str, least: usize) -> Option<Vec<Range<usize>>> {
    let line = format!("\n{header}");
    let next = |from: usize| text.get(from..)?.find(&line).map(|at| from + at + 1);
    let mut start = if text.starts_with(header) { 0 } else { next(0)? };
    let mut pieces = Vec::from([Range { start: 0, end: start }]);
    while let Some(cut) = next(ceil(text, start + least)) {
        pieces.push(start..cut);
        start = cut;
    }
    pieces.push(start..text.len());
    Some(pieces)
}

/// The tree of a piece, when it is without fault by itself.
pub(in crate::lang) fn piece(text: &str) -> Option<DeTable<'_>> {
    DeTable::parse(text).ok().map(toml::Spanned::into_inner)
}

/// Where a bracket was opened that the parser missed only lines later: the last line before with more of them opened than closed.
fn culprit(text: &str, range: Range<usize>) -> Range<usize> {
    let at = floor(text, range.start);
    let line_start = text[..at].rfind('\n').map_or(0, |at| at + 1);
    let line = text[line_start..].lines().next().unwrap_or_default().trim_start();
    // Only where the error stands at what looks like the beginning of something new.
    let begins = line.is_empty() || line.starts_with('[') || line.contains('=');
    if !begins || at > line_start + line.len() {
        return range;
    }
    let mut end = line_start;
    let mut closed = 0;
    for _ in 0..LOOK_BACK {
        if end == 0 {
            break;
        }
        let start = text[..end - 1].rfind('\n').map_or(0, |at| at + 1);
        let left = left_open(&text[start..end]);
        if left + closed > 0 {
            return start..text[start..end].trim_end().len() + start;
        }
        closed += left;
        end = start;
    }
    range
}

/// How many brackets a line leaves open; an open string counts as one, and what a line closes of others counts against it.
fn left_open(line: &str) -> i32 {
    let mut open = 0;
    let mut rest = line.trim_end();
    while let Some(c) = rest.chars().next() {
        rest = &rest[c.len_utf8()..];
        match c {
            '#' => return open,
            '[' | '{' => open += 1,
            ']' | '}' => open -= 1,
            // Three of them begin or end a text of many lines: which, this line does not know, and both are as good as closed.
            '"' | '\'' if rest.starts_with(c) && rest[1..].starts_with(c) => rest = &rest[2..],
            '"' | '\'' => {
                let mut escaped = false;
                let end = rest.char_indices().find(|(_, other)| {
                    let ends = *other == c && !escaped;
                    escaped = c == '"' && *other == '\\' && !escaped;
                    ends
                });
                let Some((at, _)) = end else { return open + 1 };
                rest = &rest[at + 1..];
            }
            _ => {}
        }
    }
    open
}

fn plain(error: &toml::de::Error, span: &Span) -> Diagnostic {
    let said = error.message().replace('\n', ", ");
    let message = if let Some(key) = said.strip_prefix("duplicate key") {
        format!("this key stands twice{}", key.trim_end_matches(", "))
    } else {
        format!("not TOML: {said}")
    };
    let complaint = Diagnostic::yours(message).at(span, "");
    match help(&said, span) {
        Some(help) => complaint.help(help),
        None => complaint,
    }
}

fn help(said: &str, span: &Span) -> Option<&'static str> {
    let line = line_of(span);
    let value = line.split_once('=').map(|(_, value)| value.trim());
    let unquoted = value.is_some_and(|value| value.starts_with(|c: char| c.is_alphabetic() || "$~/".contains(c)));
    let quotes = |quote: char| line.matches(quote).count() % 2 == 1;
    if said.contains("duplicate key") {
        Some("remove one of them")
    } else if quotes('"') || quotes('\'') {
        Some("a quote is missing on this line")
    } else if unquoted {
        Some("text stands in quotes: key = \"text\"")
    } else if line.trim_start().starts_with('[') && line.matches('[').count() != line.matches(']').count() {
        Some("a bracket of the header is missing")
    } else if line.matches('{').count() != line.matches('}').count() || line.matches('[').count() != line.matches(']').count() {
        Some("a bracket is missing on this line")
    } else if !line.contains('=') && !line.trim_start().starts_with(['[', '#']) {
        Some("a line is `key = value`, `[table]` or `# comment`")
    } else {
        None
    }
}

fn line_of(span: &Span) -> &str {
    let text = &span.source.text;
    let at = floor(text, span.start());
    let start = text[..at].rfind('\n').map_or(0, |at| at + 1);
    let end = text[at..].find('\n').map_or(text.len(), |n| at + n);
    &text[start..end]
}
