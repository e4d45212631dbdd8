//! What a word becomes: parameters, substitutions, field splitting, patterns over file names.

use super::io::{Sink, take};
use super::run::{Flow, Shell};
use super::tree::{Op, Piece, Word};
use super::{arith, matches, pattern};

/// Fields that one command may expand to.
const MAX_FIELDS: usize = 10_000;

/// A word on its way to becoming fields.
#[derive(Default)]
struct Fields {
    done: Vec<Field>,
    now: Option<Field>,
}

#[derive(Default)]
struct Field {
    text: String,
    /// The text as a pattern, in which what was quoted is plain.
    pattern: String,
    wild: bool,
}

impl Fields {
    fn add(&mut self, text: &str, quoted: bool) {
        let field = self.now.get_or_insert_with(Field::default);
        field.text.push_str(text);
        if quoted {
            field.pattern.push_str(&pattern::escape(text));
        } else {
            field.pattern.push_str(text);
            field.wild |= text.contains(['*', '?', '[']);
        }
    }

    fn end(&mut self) {
        self.done.extend(self.now.take());
    }

    /// What an unquoted expansion gives: blanks part fields, any other character of `IFS` does so each time.
    fn split(&mut self, text: &str, ifs: &str) {
        let mut ended_by_other = false;
        for c in text.chars() {
            if !ifs.contains(c) {
                self.add(c.encode_utf8(&mut [0; 4]), false);
                ended_by_other = false;
            } else if c.is_whitespace() {
                self.end();
            } else {
                if self.now.is_none() && (ended_by_other || self.done.is_empty()) {
                    self.add("", true);
                }
                self.end();
                ended_by_other = true;
            }
        }
    }
}

impl Shell {
    /// Words to fields; none after a complaint, with the status in `last`.
    pub(super) fn expand_all(&mut self, words: &[Word]) -> Option<Vec<String>> {
        let mut all = Vec::new();
        for word in words {
            let mut fields = Fields::default();
            self.expand(word, &mut fields, true)?;
            fields.end();
            for field in fields.done {
                let found = if field.wild { self.glob(&field.pattern) } else { Vec::new() };
                if found.is_empty() { all.push(field.text) } else { all.extend(found) }
            }
            if all.len() > MAX_FIELDS {
                self.fault("Argument list too long");
                self.last = 126;
                return None;
            }
        }
        Some(all)
    }

    /// A word to one text, neither split nor matched: assignments, redirections, `case`.
    pub(super) fn expand_one(&mut self, word: &Word) -> Option<String> {
        self.expand_joined(word).map(|field| field.text)
    }

    /// A word to a pattern.
    pub(super) fn expand_pattern(&mut self, word: &Word) -> Option<String> {
        self.expand_joined(word).map(|field| field.pattern)
    }

    fn expand_joined(&mut self, word: &Word) -> Option<Field> {
        let mut fields = Fields::default();
        self.expand(word, &mut fields, false)?;
        fields.end();
        fields
            .done
            .into_iter()
            .reduce(|mut all, next| {
                all.text = format!("{} {}", all.text, next.text);
                all.pattern = format!("{} {}", all.pattern, next.pattern);
                all
            })
            .or_else(|| Some(Field::default()))
    }

    fn expand(&mut self, word: &Word, fields: &mut Fields, split: bool) -> Option<()> {
        for (i, piece) in word.iter().enumerate() {
            match piece {
                Piece::Text { text, quoted: false } if i == 0 && text.starts_with('~') => {
                    let (user, rest) = text.split_at(text.find('/').unwrap_or(text.len()));
                    match self.home_of(&user[1..]).filter(|_| !rest.is_empty() || word.len() == 1) {
                        Some(home) => {
                            fields.add(&home, true);
                            fields.add(rest, false);
                        }
                        None => fields.add(text, false),
                    }
                }
                Piece::Text { text, quoted } => fields.add(text, *quoted),
                Piece::Command { body, quoted } => {
                    let text = self.substitute(body)?;
                    self.add_value(&text, *quoted, fields, split);
                }
                Piece::Arith { text, quoted } => {
                    let text = self.expand_one(text)?;
                    match arith::compute(&text, &|name| self.get(name).to_owned()) {
                        Ok(value) => self.add_value(&value.to_string(), *quoted, fields, split),
                        Err(why) => return self.refuse(&format!("{why}: \"{text}\"")),
                    }
                }
                Piece::Var { name, op, quoted } => self.variable(name, op, *quoted, (fields, split))?,
            }
        }
        Some(())
    }

    fn refuse(&mut self, why: &str) -> Option<()> {
        self.fault(why);
        (self.last, self.flow) = (2, Some(Flow::Exit));
        None
    }

    fn add_value(&self, text: &str, quoted: bool, fields: &mut Fields, split: bool) {
        if quoted || !split {
            fields.add(text, quoted);
        } else {
            let ifs = if self.vars.contains_key("IFS") { self.get("IFS") } else { " \t\n" };
            fields.split(text, ifs);
        }
    }

    fn home_of(&self, user: &str) -> Option<String> {
        match user {
            "" => Some(self.get("HOME").to_owned()),
            "root" => Some("/root".to_owned()),
            _ => Some(format!("/home/{user}")).filter(|home| self.world.stat(home, true).is_ok()),
        }
    }

    /// What a command prints, without the newlines at its end.
    fn substitute(&mut self, body: &super::tree::Node) -> Option<String> {
        if self.depth >= 60 {
            self.refuse("Cannot fork")?;
        }
        let (sink, buffer) = Sink::buffer();
        let mut shell = self.subshell();
        shell.io.stdout = sink;
        shell.tested = 0;
        shell.node(body);
        self.last = shell.last;
        let bytes = take(&buffer);
        let text = String::from_utf8_lossy(&bytes).replace('\0', "");
        Some(text.trim_end_matches('\n').to_owned())
    }

    fn lookup(&self, name: &str) -> Option<String> {
        match name {
            "?" => Some(self.last.to_string()),
            "#" => Some((self.args.len().max(1) - 1).to_string()),
            "$" => Some("4711".to_owned()),
            "!" => Some("4712".to_owned()),
            "-" => Some(if self.options.errexit { "e" } else { "" }.to_owned()),
            "@" | "*" => (self.args.len() > 1).then(|| self.args[1..].join(" ")),
            _ => match name.parse::<usize>() {
                Ok(n) => self.args.get(n).cloned(),
                Err(_) => self.vars.get(name).map(|v| v.value.clone()),
            },
        }
    }

    fn variable(&mut self, name: &str, op: &Op, quoted: bool, to: (&mut Fields, bool)) -> Option<()> {
        let (fields, split) = to;
        if matches!(name, "@" | "*") && matches!(op, Op::None) && split && (name == "@" || !quoted) {
            for (i, arg) in self.args.clone().iter().skip(1).enumerate() {
                if i > 0 {
                    fields.end();
                }
                self.add_value(arg, quoted, fields, split);
            }
            // `"$@"` without arguments is no field at all, although its quotes began one.
            if quoted && self.args.len() < 2 && fields.now.as_ref().is_some_and(|f| f.text.is_empty()) {
                fields.now = None;
            }
            return Some(());
        }
        let value = self.lookup(name);
        if value.is_none() && self.options.nounset && !matches!(op, Op::Default { .. }) && !matches!(name, "@" | "*") {
            return self.refuse(&format!("{name}: parameter not set"));
        }
        let value = match op {
            Op::None => value.unwrap_or_default(),
            Op::Length => value.unwrap_or_default().chars().count().to_string(),
            Op::Trim { back, longest, pattern } => {
                let pattern = self.expand_pattern(pattern)?;
                trim(&value.unwrap_or_default(), &pattern, *back, *longest)
            }
            Op::Default { sign, colon, word } => {
                let set = value.filter(|v| !(*colon && v.is_empty()));
                match (sign, set) {
                    ('+', None) => String::new(),
                    ('+', Some(_)) | ('-', None) => return self.expand(word, fields, split),
                    (_, Some(value)) => value,
                    ('=', None) => {
                        let value = self.expand_one(word)?;
                        self.assign(name, value.clone());
                        value
                    }
                    (_, None) => {
                        let text = self.expand_one(word)?;
                        return self.refuse(&format!("{name}: {}", if text.is_empty() { "parameter not set" } else { &text }));
                    }
                }
            }
        };
        self.add_value(&value, quoted, fields, split);
        Some(())
    }

    /// The paths that a pattern names, in order; none when it names nothing.
    fn glob(&self, pattern: &str) -> Vec<String> {
        let mut found = vec![if pattern.starts_with('/') { "/".to_owned() } else { String::new() }];
        let parts: Vec<&str> = pattern.split('/').filter(|p| !p.is_empty()).collect();
        for (i, part) in parts.iter().enumerate() {
            let mut next = Vec::new();
            for base in found {
                let dir = self.path(if base.is_empty() { "." } else { &base });
                let names = self.world.files(|files| files.list(&dir)).unwrap_or_default();
                let hidden = part.starts_with('.') || part.starts_with("\\.");
                let fits = names.into_iter().filter(|n| (hidden || !n.starts_with('.')) && matches(part, n));
                next.extend(fits.map(|n| format!("{base}{n}{}", if i + 1 < parts.len() { "/" } else { "" })));
            }
            found = next;
        }
        found
    }
}

/// `text` without the shortest or longest beginning (or end, with `back`) that the pattern covers.
fn trim(text: &str, pattern: &str, back: bool, longest: bool) -> String {
    let mut cuts: Vec<usize> = text.char_indices().map(|(i, _)| i).chain([text.len()]).collect();
    if back != longest {
        cuts.reverse();
    }
    let covered = |cut: &usize| matches(pattern, if back { &text[*cut..] } else { &text[..*cut] });
    match cuts.into_iter().find(covered) {
        Some(cut) if back => text[..cut].to_owned(),
        Some(cut) => text[cut..].to_owned(),
        None => text.to_owned(),
    }
}
