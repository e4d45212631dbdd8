//! Regular expressions for `grep` and `sed`: literals, `.`, classes, `*` `+` `?`, anchors, groups and alternation, matched by backtracking under a
//! budget. Groups are not captured.

/// Steps that one match may take.
const STEPS: u32 = 200_000;

/// Which language a pattern is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// No character means anything.
    Fixed,
    /// `\(`, `\|`, `\+` mean something.
    Basic,
    /// `(`, `|`, `+` mean something.
    Extended,
}

/// A pattern ready to be looked for.
#[derive(Debug, Clone)]
pub struct Pattern {
    choices: Vec<Vec<Item>>,
    fold: bool,
}

#[derive(Debug, Clone)]
struct Item {
    atom: Atom,
    least: u32,
    most: u32,
}

#[derive(Debug, Clone)]
enum Atom {
    Char(char),
    Any,
    Class(Vec<(char, char)>, bool),
    Group(Vec<Vec<Item>>),
    Start,
    End,
}

impl Pattern {
    /// Reads a pattern.
    ///
    /// # Errors
    /// What is not understood.
    pub fn new(text: &str, kind: Kind, fold: bool) -> Result<Self, String> {
        let text = if fold { text.to_lowercase() } else { text.to_owned() };
        if kind == Kind::Fixed {
            let items = text.chars().map(|c| Item { atom: Atom::Char(c), least: 1, most: 1 }).collect();
            return Ok(Self { choices: vec![items], fold });
        }
        let mut reader = Reader { text: text.chars().collect(), at: 0, extended: kind == Kind::Extended, depth: 0 };
        let choices = reader.choices()?;
        if reader.at < reader.text.len() {
            return Err("Unmatched ) or \\)".to_owned());
        }
        Ok(Self { choices, fold })
    }

    /// The first place it matches, as byte offsets.
    #[must_use]
    pub fn find(&self, line: &str) -> Option<(usize, usize)> {
        let folded = if self.fold { line.to_lowercase() } else { line.to_owned() };
        let chars: Vec<char> = folded.chars().collect();
        let mut steps = STEPS;
        let (start, end) = (0..=chars.len()).find_map(|start| {
            let mut longest = None;
            for choice in &self.choices {
                longest = longest.max(run(choice, &chars, start, &mut steps, &mut |end, _| Some(end)));
            }
            longest.map(|end| (start, end))
        })?;
        let byte = |n: usize| line.chars().take(n).map(char::len_utf8).sum();
        Some((byte(start), byte(end)))
    }
}

type Next<'a> = &'a mut dyn FnMut(usize, &mut u32) -> Option<usize>;

/// Matches items from `at`, then what comes `next`; greedy.
fn run(items: &[Item], text: &[char], at: usize, steps: &mut u32, next: Next<'_>) -> Option<usize> {
    let Some((item, rest)) = items.split_first() else { return next(at, steps) };
    repeat((item, rest), (text, at), 0, steps, next)
}

fn repeat(items: (&Item, &[Item]), place: (&[char], usize), count: u32, steps: &mut u32, next: Next<'_>) -> Option<usize> {
    let ((item, rest), (text, at)) = (items, place);
    *steps = steps.checked_sub(1)?;
    if count < item.most {
        let more = match &item.atom {
            Atom::Group(choices) => choices.iter().find_map(|choice| {
                run(choice, text, at, steps, &mut |end, steps| {
                    // A group that matched nothing would match nothing for ever.
                    if end == at && count >= item.least { None } else { repeat((item, rest), (text, end), count + 1, steps, next) }
                })
            }),
            atom => one(atom, text, at).and_then(|end| {
                if end == at && count >= item.least { None } else { repeat((item, rest), (text, end), count + 1, steps, next) }
            }),
        };
        if more.is_some() {
            return more;
        }
    }
    if count >= item.least { run(rest, text, at, steps, next) } else { None }
}

fn one(atom: &Atom, text: &[char], at: usize) -> Option<usize> {
    let c = text.get(at).copied();
    let fits = match atom {
        Atom::Start => return (at == 0).then_some(at),
        Atom::End => return (at == text.len()).then_some(at),
        Atom::Char(wanted) => c == Some(*wanted),
        Atom::Any => c.is_some(),
        Atom::Class(ranges, not) => c.is_some_and(|c| ranges.iter().any(|(a, b)| (*a..=*b).contains(&c)) != *not),
        Atom::Group(_) => false,
    };
    fits.then_some(at + 1)
}

struct Reader {
    text: Vec<char>,
    at: usize,
    extended: bool,
    depth: u32,
}

impl Reader {
    /// Whether the special sign `c` stands ahead, written the way this language writes it; read if so.
    fn sign(&mut self, c: char) -> bool {
        let length = if self.extended { 1 } else { 2 };
        let found = if self.extended { self.text.get(self.at) == Some(&c) } else { self.text[self.at..].starts_with(&['\\', c]) };
        if found {
            self.at += length;
        }
        found
    }

    fn choices(&mut self) -> Result<Vec<Vec<Item>>, String> {
        self.depth += 1;
        if self.depth > 20 {
            return Err("Regular expression too big".to_owned());
        }
        let mut all = vec![self.items()?];
        while self.sign('|') {
            all.push(self.items()?);
        }
        self.depth -= 1;
        Ok(all)
    }

    fn items(&mut self) -> Result<Vec<Item>, String> {
        let mut items = Vec::new();
        loop {
            let start = self.at;
            if self.at >= self.text.len() || self.sign('|') || self.sign(')') {
                self.at = start;
                return Ok(items);
            }
            let atom = self.atom(items.is_empty())?;
            let (mut least, mut most) = (1, 1);
            loop {
                if self.text.get(self.at) == Some(&'*') {
                    self.at += 1;
                    (least, most) = (0, u32::MAX);
                } else if self.sign('+') {
                    most = u32::MAX;
                } else if self.sign('?') {
                    least = 0;
                } else if self.sign('{') {
                    (least, most) = self.bounds()?;
                } else {
                    break;
                }
            }
            items.push(Item { atom, least, most });
        }
    }

    fn bounds(&mut self) -> Result<(u32, u32), String> {
        let text: String = self.text[self.at..].iter().take_while(|c| !"}\\".contains(**c)).collect();
        self.at += text.chars().count();
        if !self.sign('}') {
            return Err("Unmatched { or \\{".to_owned());
        }
        let (least, most) = text.split_once(',').unwrap_or((&text, &text));
        let number = |t: &str, empty| if t.is_empty() { Ok(empty) } else { t.parse().map_err(|_| "Invalid content of {}".to_owned()) };
        Ok((number(least, 0)?, number(most, u32::MAX)?))
    }

    fn atom(&mut self, first: bool) -> Result<Atom, String> {
        if self.sign('(') {
            let inner = self.choices()?;
            return if self.sign(')') { Ok(Atom::Group(inner)) } else { Err("Unmatched ( or \\(".to_owned()) };
        }
        let c = self.text[self.at];
        self.at += 1;
        match c {
            '.' => Ok(Atom::Any),
            '[' => self.class(),
            '^' if first || self.extended => Ok(Atom::Start),
            '$' if self.extended || self.ends_here() => Ok(Atom::End),
            '\\' => {
                let next = *self.text.get(self.at).ok_or("Trailing backslash")?;
                self.at += 1;
                Ok(match next {
                    'd' => Atom::Class(vec![('0', '9')], false),
                    's' => Atom::Class(vec![(' ', ' '), ('\t', '\r')], false),
                    'S' => Atom::Class(vec![(' ', ' '), ('\t', '\r')], true),
                    'w' => Atom::Class(vec![('a', 'z'), ('A', 'Z'), ('0', '9'), ('_', '_')], false),
                    other => Atom::Char(other),
                })
            }
            _ => Ok(Atom::Char(c)),
        }
    }

    fn ends_here(&self) -> bool {
        matches!(self.text[self.at..], [] | ['\\', ')' | '|', ..])
    }

    fn class(&mut self) -> Result<Atom, String> {
        let not = self.text.get(self.at) == Some(&'^');
        self.at += usize::from(not);
        let (mut ranges, mut first) = (Vec::new(), true);
        loop {
            let c = *self.text.get(self.at).ok_or("Unmatched [, [^")?;
            self.at += 1;
            if c == ']' && !first {
                return Ok(Atom::Class(ranges, not));
            }
            first = false;
            if c == '[' && self.text.get(self.at) == Some(&':') {
                let name: String = self.text[self.at + 1..].iter().take_while(|c| **c != ':').collect();
                self.at += name.len() + 3;
                ranges.extend(named(&name).ok_or("Invalid character class name")?);
            } else if self.text.get(self.at) == Some(&'-') && self.text.get(self.at + 1).is_some_and(|n| *n != ']') {
                ranges.push((c, self.text[self.at + 1]));
                self.at += 2;
            } else {
                ranges.push((c, c));
            }
        }
    }
}

fn named(name: &str) -> Option<Vec<(char, char)>> {
    Some(match name {
        "digit" => vec![('0', '9')],
        "alpha" => vec![('a', 'z'), ('A', 'Z')],
        "alnum" => vec![('a', 'z'), ('A', 'Z'), ('0', '9')],
        "upper" => vec![('A', 'Z')],
        "lower" => vec![('a', 'z')],
        "xdigit" => vec![('0', '9'), ('a', 'f'), ('A', 'F')],
        "space" => vec![(' ', ' '), ('\t', '\r')],
        "blank" => vec![(' ', ' '), ('\t', '\t')],
        _ => return None,
    })
}

/// One `sed` command.
#[derive(Debug)]
pub struct Edit {
    from: Option<Address>,
    to: Option<Address>,
    act: Act,
}

#[derive(Debug)]
enum Address {
    Line(usize),
    Last,
    Match(Pattern),
}

#[derive(Debug)]
enum Act {
    Print,
    Delete,
    Substitute { pattern: Pattern, with: String, all: bool },
}

impl Edit {
    /// Reads a script of one command: `p`, `d` or `s`, with line numbers, `$` or `/pattern/` before it.
    ///
    /// # Errors
    /// What the practice machines' sed does not do.
    pub fn parse(script: &str, extended: bool) -> Result<Self, String> {
        let kind = if extended { Kind::Extended } else { Kind::Basic };
        let mut rest = script.trim();
        let from = address(&mut rest, kind)?;
        let mut to = None;
        if let Some(after) = rest.strip_prefix(',') {
            rest = after;
            to = address(&mut rest, kind)?;
        }
        let act = match rest {
            "p" => Act::Print,
            "d" => Act::Delete,
            _ => substitute(rest, kind).ok_or_else(|| format!("unsupported command: {script}"))??,
        };
        Ok(Self { from, to, act })
    }

    /// The output for a text.
    #[must_use]
    pub fn run(&self, text: &str, quiet: bool) -> String {
        let lines: Vec<&str> = text.split_inclusive('\n').collect();
        let (mut out, mut inside) = (String::new(), false);
        for (i, line) in lines.iter().enumerate() {
            let bare = line.trim_end_matches('\n');
            let hits = |address: &Address| match address {
                Address::Line(n) => *n == i + 1,
                Address::Last => i + 1 == lines.len(),
                Address::Match(pattern) => pattern.find(bare).is_some(),
            };
            let selected = match (&self.from, &self.to) {
                (None, _) => true,
                (Some(from), None) => hits(from),
                (Some(from), Some(to)) => {
                    let begins = !inside && hits(from);
                    let was = inside || begins;
                    let over = matches!(to, Address::Line(n) if *n <= i + 1)
                        || (inside && hits(to))
                        || matches!(to, Address::Last if i + 1 == lines.len());
                    inside = was && !over;
                    was
                }
            };
            match &self.act {
                Act::Delete if selected => continue,
                Act::Print if selected => out.push_str(line),
                Act::Substitute { pattern, with, all } if selected => {
                    out.push_str(&replace(bare, pattern, with, *all));
                    out.push_str(&line[bare.len()..]);
                    continue;
                }
                _ => {}
            }
            if !quiet {
                out.push_str(line);
            }
        }
        out
    }
}

fn address(rest: &mut &str, kind: Kind) -> Result<Option<Address>, String> {
    if let Some(after) = rest.strip_prefix('$') {
        *rest = after;
        return Ok(Some(Address::Last));
    }
    if let Some(after) = rest.strip_prefix('/') {
        let end = after.find('/').ok_or("unterminated address regex")?;
        *rest = &after[end + 1..];
        return Ok(Some(Address::Match(Pattern::new(&after[..end], kind, false)?)));
    }
    let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let number = rest[..digits].parse().ok();
    *rest = &rest[digits..];
    Ok(number.map(Address::Line))
}

fn substitute(text: &str, kind: Kind) -> Option<Result<Act, String>> {
    let body = text.strip_prefix('s')?;
    let mark = body.chars().next()?;
    let mut parts = body[mark.len_utf8()..].split(mark);
    let (pattern, with, flags) = (parts.next()?, parts.next()?, parts.next()?);
    let act = Pattern::new(pattern, kind, flags.contains('i')).map(|pattern| Act::Substitute {
        pattern,
        with: with.to_owned(),
        all: flags.contains('g'),
    });
    Some(act)
}

fn replace(line: &str, pattern: &Pattern, with: &str, all: bool) -> String {
    let (mut out, mut rest) = (String::new(), line);
    while let Some((start, end)) = pattern.find(rest) {
        out.push_str(&rest[..start]);
        out.push_str(&with.replace('&', &rest[start..end]));
        let step = if end > start { end } else { rest.char_indices().nth(start + 1).map_or(rest.len(), |(i, _)| i) };
        if end == start {
            out.push_str(&rest[start..step]);
        }
        rest = &rest[step..];
        if !all || rest.is_empty() {
            break;
        }
    }
    out + rest
}
