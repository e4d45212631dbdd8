//! Finding `${{ … }}` in a text: quotes, comments and braces of CEL inside, `$${{` for the letters themselves.

use std::ops::Range;

/// One part of a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::lang) enum Part {
    /// Text, escapes undone.
    Text(String),
    /// An expression: the bytes between the braces, blanks around it left out.
    Expr(Range<usize>),
}

/// What is wrong with a text's braces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::lang) struct Unbalanced {
    /// Where.
    pub range: Range<usize>,
    /// What.
    pub message: String,
    /// What to do.
    pub help: String,
}

/// Splits a text at its expressions. No expression: one text, or nothing for the empty text.
pub(in crate::lang) fn split(text: &str) -> Result<Vec<Part>, Unbalanced> {
    let mut parts = Vec::new();
    let mut literal = String::new();
    let mut at = 0;
    while at < text.len() {
        let rest = &text[at..];
        if rest.starts_with("$${{") {
            literal.push_str("${{");
            at += 4;
        } else if rest.starts_with("${{") {
            let inside = at + 3;
            let end = close(text, inside).ok_or_else(|| unclosed(text, at))?;
            if !literal.is_empty() {
                parts.push(Part::Text(std::mem::take(&mut literal)));
            }
            parts.push(Part::Expr(trimmed(text, inside..end)));
            at = end + 2;
        } else {
            let next = rest.chars().next().map_or(1, char::len_utf8);
            literal.push_str(&rest[..next]);
            at += next;
        }
    }
    if !literal.is_empty() {
        parts.push(Part::Text(literal));
    }
    Ok(parts)
}

/// The range without the blanks at its ends.
pub(in crate::lang) fn trimmed(text: &str, range: Range<usize>) -> Range<usize> {
    let inside = &text[range.clone()];
    let start = range.start + (inside.len() - inside.trim_start().len());
    start..(start + inside.trim().len())
}

fn unclosed(text: &str, at: usize) -> Unbalanced {
    let single = text[at..].trim_end().ends_with('}');
    let quotes = text[at..].matches('"').count() % 2 == 1;
    let help = if quotes {
        "a quote inside the expression is not closed"
    } else if single {
        "close it with two braces: `}}`"
    } else {
        "add `}}`, or write `$${{` for the letters themselves"
    };
    Unbalanced { range: at..text.len(), message: "`${{` is not closed".to_owned(), help: help.to_owned() }
}

/// Where the `}}` that closes an expression begins.
fn close(text: &str, from: usize) -> Option<usize> {
    let mut scan = Scan { text, at: from };
    let mut depth = 0_usize;
    while let Some(c) = scan.next_code() {
        match c {
            '{' => depth += 1,
            '}' if depth > 0 => depth -= 1,
            '}' if text[scan.at..].starts_with('}') => return Some(scan.at - 1),
            _ => {}
        }
    }
    None
}

/// A walk over CEL text that steps over strings and comments.
pub(in crate::lang) struct Scan<'t> {
    /// The text.
    pub text: &'t str,
    /// The byte after the last character that was seen.
    pub at: usize,
}

impl Scan<'_> {
    /// The next character outside strings and comments.
    pub fn next_code(&mut self) -> Option<char> {
        loop {
            let rest = &self.text[self.at..];
            let c = rest.chars().next()?;
            if rest.starts_with("//") {
                self.at += rest.find('\n').unwrap_or(rest.len());
                continue;
            }
            if c == '"' || c == '\'' {
                let raw = self.raw_prefix();
                self.skip_string(c, raw)?;
                continue;
            }
            self.at += c.len_utf8();
            return Some(c);
        }
    }

    /// Whether the letters before this quote are `r`, `R`, `rb`, `bR` and the like, and not the end of a name.
    fn raw_prefix(&self) -> bool {
        let before = &self.text[..self.at];
        let start = before.rfind(|c: char| !c.is_alphanumeric() && c != '_').map_or(0, |at| at + 1);
        let prefix = before.get(start..).unwrap_or_default().to_ascii_lowercase();
        matches!(prefix.as_str(), "r" | "rb" | "br")
    }

    /// Steps over the string that begins here; `None` when it is not closed.
    fn skip_string(&mut self, quote: char, raw: bool) -> Option<()> {
        let triple: String = [quote; 3].iter().collect();
        let delimiter = if self.text[self.at..].starts_with(&triple) { triple } else { quote.to_string() };
        self.at += delimiter.len();
        loop {
            let rest = &self.text[self.at..];
            if rest.starts_with(&delimiter) {
                self.at += delimiter.len();
                return Some(());
            }
            let c = rest.chars().next()?;
            self.at += c.len_utf8();
            if c == '\\' && !raw {
                self.at += self.text[self.at..].chars().next()?.len_utf8();
            }
        }
    }
}

/// The smallest range around `range` whose brackets, outside strings, are balanced, if the text around has the missing ones.
pub(in crate::lang) fn balance(text: &str, range: Range<usize>) -> Range<usize> {
    let mut scan = Scan { text: &text[..range.end], at: range.start };
    let (mut open, mut left) = (0_usize, 0_usize);
    while let Some(c) = scan.next_code() {
        match c {
            '(' | '[' | '{' => open += 1,
            ')' | ']' | '}' if open > 0 => open -= 1,
            ')' | ']' | '}' => left += 1,
            _ => {}
        }
    }
    let mut start = range.start;
    for _ in 0..left {
        let before = text[..start].trim_end();
        if !before.ends_with(['(', '[', '{']) {
            break;
        }
        start = before.len() - 1;
    }
    let mut scan = Scan { text, at: range.end };
    let mut end = range.end;
    let mut inner = 0_usize;
    while open > 0 {
        match scan.next_code() {
            Some('(' | '[' | '{') => inner += 1,
            Some(')' | ']' | '}') if inner > 0 => inner -= 1,
            Some(')' | ']' | '}') => {
                open -= 1;
                end = scan.at;
            }
            Some(_) => {}
            None => break,
        }
    }
    start..end
}
