//! Shell patterns: `*`, `?`, `[a-z]`, with a backslash before a character that stands for itself.

/// Whether the whole of `text` is covered by `pattern`.
#[must_use]
pub fn matches(pattern: &str, text: &str) -> bool {
    let (pattern, text): (Vec<char>, Vec<char>) = (pattern.chars().collect(), text.chars().collect());
    let (mut p, mut t) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    loop {
        if pattern.get(p) == Some(&'*') {
            star = Some((p + 1, t));
            p += 1;
            continue;
        }
        let step = text.get(t).and_then(|c| one(&pattern[p..], *c));
        if let Some(length) = step {
            p += length;
            t += 1;
        } else if t == text.len() && p == pattern.len() {
            return true;
        } else if let Some((after, from)) = star.filter(|(_, from)| *from < text.len()) {
            star = Some((after, from + 1));
            (p, t) = (after, from + 1);
        } else {
            return false;
        }
    }
}

/// How much of the pattern's beginning covers the one character, if it does.
fn one(pattern: &[char], c: char) -> Option<usize> {
    match pattern {
        ['?', ..] => Some(1),
        ['\\', x, ..] => (*x == c).then_some(2),
        ['[', rest @ ..] => match class(rest) {
            Some((body, length)) => in_class(body, c).then_some(length + 1),
            None => (c == '[').then_some(1),
        },
        [x, ..] => (*x == c).then_some(1),
        [] => None,
    }
}

/// The inside of a bracket expression and its length with the closing bracket.
fn class(rest: &[char]) -> Option<(&[char], usize)> {
    let skip = usize::from(matches!(rest.first(), Some('!' | '^'))) + 1;
    let end = rest.iter().skip(skip).position(|c| *c == ']')? + skip;
    Some((&rest[..end], end + 1))
}

fn in_class(body: &[char], c: char) -> bool {
    let (negated, mut body) = match body {
        ['!' | '^', rest @ ..] => (true, rest),
        _ => (false, body),
    };
    let mut found = false;
    while let Some((first, rest)) = body.split_first() {
        if let ['-', last, after @ ..] = rest {
            found |= (*first..=*last).contains(&c);
            body = after;
        } else {
            found |= *first == c;
            body = rest;
        }
    }
    found != negated
}

/// `text` with every character that means something in a pattern made plain.
#[must_use]
pub fn escape(text: &str) -> String {
    text.chars().flat_map(|c| "*?[]\\".contains(c).then_some('\\').into_iter().chain([c])).collect()
}
