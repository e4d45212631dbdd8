//! Reading one TOML tree: typed getters that note every complaint with its place.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use toml::de::{DeTable, DeValue};

use crate::lang::cel::text::Written;
use crate::lang::lower::duration;
use crate::source::{Diagnostic, Source, Span, Spanned};

/// A node of the tree with its place.
pub(in crate::lang) type Node<'t> = toml::Spanned<DeValue<'t>>;
/// A key of a table with its place.
pub(in crate::lang) type Key<'t> = toml::Spanned<Cow<'t, str>>;

/// Longest name of a step, input, definition or key, in bytes.
const LONGEST_NAME: usize = 200;
/// Complaints about one file are cut off here: nobody mends more at once.
pub(in crate::lang) const MOST_COMPLAINTS: usize = 100;

/// A file being read, with what was wrong so far.
pub(in crate::lang) struct Reader {
    /// The file.
    pub source: Arc<Source>,
    /// Where in the file the piece begins whose nodes are read.
    pub begins: usize,
    /// What was wrong.
    pub complaints: Vec<Diagnostic>,
}

/// A table with the place to blame when something is missing in it.
#[derive(Clone)]
pub(in crate::lang) struct Table<'t> {
    /// Its entries.
    pub entries: &'t DeTable<'t>,
    /// Its header or braces.
    pub span: Span,
    /// What to call it: `[project]`, `step`.
    pub title: String,
}

impl Reader {
    /// A reader of this file without complaints.
    pub fn new(source: &Arc<Source>) -> Self {
        Self { source: Arc::clone(source), begins: 0, complaints: Vec::new() }
    }

    /// Notes a complaint.
    pub fn complain(&mut self, complaint: Diagnostic) {
        if self.complaints.len() < MOST_COMPLAINTS {
            self.complaints.push(complaint);
        }
    }

    /// The place of a node.
    pub fn span<T>(&self, node: &toml::Spanned<T>) -> Span {
        let within = node.span();
        Span::new(&self.source, self.begins + within.start..self.begins + within.end)
    }

    /// Complains about every key of `table` that is not one of `known`.
    pub fn known(&mut self, table: &Table<'_>, known: &[&str]) {
        for key in sorted_keys(table.entries) {
            let name = key.get_ref().as_ref();
            if !known.contains(&name) {
                let complaint = Diagnostic::yours(format!("unknown key `{name}` in {}", table.title)).at(&self.span(key), "");
                let complaint = if crate::name::nearest(name, known.iter().copied()).is_some() {
                    complaint.did_you_mean(name, known.iter().copied())
                } else {
                    complaint.help(format!("known keys are {}", known.join(", ")))
                };
                self.complain(complaint);
            }
        }
    }

    /// Complains that `node` is not what is expected; `expected` is a noun with its article.
    pub fn wrong_type(&mut self, what: &str, expected: &str, node: &Node<'_>) {
        let span = self.span(node);
        let complaint = Diagnostic::yours(format!("{what} is {}, expected {expected}", described(node.get_ref()))).at(&span, "");
        let quoted = matches!(node.get_ref(), DeValue::String(_)) && matches!(expected, "an integer" | "a boolean");
        let unquoted = node.get_ref().as_str().is_some_and(|text| text.parse::<i64>().is_ok() || matches!(text, "true" | "false"));
        self.complain(if quoted && unquoted { complaint.help("write it without the quotes") } else { complaint });
    }

    /// Complains that `key` is missing.
    pub fn missing(&mut self, table: &Table<'_>, key: &str, example: &str) {
        let message = format!("{} has no `{key}`", table.title);
        self.complain(Diagnostic::yours(message).at(&table.span, "").help(format!("add `{example}`")));
    }

    /// The table under `key`, if it is one.
    pub fn table<'t>(&mut self, table: &Table<'t>, key: &str, title: impl Into<String>) -> Option<Table<'t>> {
        let (_, node) = table.entries.get_key_value(key)?;
        self.as_table(node, title)
    }

    /// `node` as a table; complains otherwise.
    pub fn as_table<'t>(&mut self, node: &'t Node<'t>, title: impl Into<String>) -> Option<Table<'t>> {
        let title = title.into();
        let Some(entries) = node.get_ref().as_table() else {
            self.wrong_type(&title, "a table", node);
            return None;
        };
        Some(Table { entries, span: self.span(node), title })
    }

    /// Each entry of the table under `key` that is itself a table, in the order of their names.
    pub fn tables<'t>(&mut self, table: &Table<'t>, key: &str, title: &str) -> Vec<(Spanned<String>, Table<'t>)> {
        let Some(outer) = self.table(table, key, format!("[{title}]")) else { return Vec::new() };
        let mut found = Vec::new();
        for (name, node) in outer.entries {
            let name = Spanned::new(name.get_ref().to_string(), self.span(name));
            self.check_name(&name, &format!("the name of a `{title}`"));
            if let Some(inner) = self.as_table(node, format!("[{title}.{}]", name.value)) {
                found.push((name, inner));
            }
        }
        found
    }

    /// The text under `key`, if it is one.
    pub fn string(&mut self, table: &Table<'_>, key: &str) -> Option<Spanned<String>> {
        let node = table.entries.get(key)?;
        self.as_string(node, &format!("`{key}`"))
    }

    /// `node` as text; the place is that of the text without its quotes. Complains otherwise.
    pub fn as_string(&mut self, node: &Node<'_>, what: &str) -> Option<Spanned<String>> {
        let Some(text) = node.get_ref().as_str() else {
            self.wrong_type(what, "a string", node);
            return None;
        };
        Some(Spanned::new(text.to_owned(), self.written(node, text).inner()))
    }

    /// The text under `key`; complains when it is empty.
    pub fn filled(&mut self, table: &Table<'_>, key: &str) -> Option<Spanned<String>> {
        let text = self.string(table, key)?;
        if text.value.trim().is_empty() {
            self.complain(Diagnostic::yours(format!("`{key}` in {} is empty", table.title)).at(&text.span, ""));
            return None;
        }
        Some(text)
    }

    /// The flag under `key`, `false` when absent.
    pub fn flag(&mut self, table: &Table<'_>, key: &str) -> bool {
        let Some(node) = table.entries.get(key) else { return false };
        node.get_ref().as_bool().unwrap_or_else(|| {
            self.wrong_type(&format!("`{key}`"), "a boolean", node);
            false
        })
    }

    /// The whole number under `key`, if it lies between the bounds.
    pub fn integer(&mut self, table: &Table<'_>, key: &str, bounds: std::ops::RangeInclusive<i64>) -> Option<i64> {
        let node = table.entries.get(key)?;
        let Some(number) = whole(node.get_ref()) else {
            self.wrong_type(&format!("`{key}`"), "an integer", node);
            return None;
        };
        if bounds.contains(&number) {
            return Some(number);
        }
        let message = format!("`{key}` is {number}, expected {} to {}", bounds.start(), bounds.end());
        self.complain(Diagnostic::yours(message).at(&self.span(node), ""));
        None
    }

    /// The time span under `key`: `"10m"`, or an integer of seconds.
    pub fn duration(&mut self, table: &Table<'_>, key: &str) -> Option<Duration> {
        let node = table.entries.get(key)?;
        let read = match node.get_ref() {
            DeValue::String(text) => duration::parse(text),
            other => match whole(other) {
                Some(seconds) => duration::seconds(seconds),
                None => {
                    self.wrong_type(&format!("`{key}`"), "a time span such as \"10m\"", node);
                    return None;
                }
            },
        };
        match read {
            Ok(duration) => Some(duration),
            Err(why) => {
                let complaint = Diagnostic::yours(format!("`{key}`: {why}")).at(&self.span(node), "").help(duration::HELP);
                self.complain(complaint);
                None
            }
        }
    }

    /// The list of texts under `key`.
    pub fn strings(&mut self, table: &Table<'_>, key: &str) -> Option<Spanned<Vec<Spanned<String>>>> {
        let node = table.entries.get(key)?;
        let Some(items) = node.get_ref().as_array() else {
            self.wrong_type(&format!("`{key}`"), "a list of strings", node);
            return None;
        };
        let what = format!("an item of `{key}`");
        let mut texts = Vec::with_capacity(items.len());
        texts.extend(items.iter().filter_map(|item| self.as_string(item, &what)));
        Some(Spanned::new(texts, self.span(node)))
    }

    /// Complains about an empty or endless name, and about control characters in it.
    pub fn check_name(&mut self, name: &Spanned<String>, what: &str) {
        let message = if name.value.trim().is_empty() {
            format!("{what} is empty")
        } else if name.value.len() > LONGEST_NAME {
            format!("{what} is longer than {LONGEST_NAME} bytes")
        } else if name.value.contains(char::is_control) {
            format!("{what} holds a control character")
        } else {
            return;
        };
        self.complain(Diagnostic::yours(message).at(&name.span, ""));
    }

    /// How the text of a string node stands in the file.
    pub fn written(&self, node: &Node<'_>, value: &str) -> Written {
        Written::of_toml(value, &self.span(node))
    }
}

/// The keys of a table in the order of the file.
pub(in crate::lang) fn sorted_keys<'t>(entries: &'t DeTable<'t>) -> Vec<&'t Key<'t>> {
    let mut keys: Vec<_> = entries.keys().collect();
    keys.sort_by_key(|key| key.span().start);
    keys
}

/// A whole number that fits 64 bits; TOML's other radixes included.
pub(in crate::lang) fn whole(value: &DeValue<'_>) -> Option<i64> {
    let number = value.as_integer()?;
    i64::from_str_radix(number.as_str(), number.radix()).ok()
}

/// What was given, with its article and, when short, its text.
pub(in crate::lang) fn described(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) if text.len() <= 40 => format!("the string \"{text}\""),
        DeValue::String(_) => "a string".to_owned(),
        DeValue::Integer(number) if whole(value).is_none() => format!("{}, which does not fit 64 bits", number.as_str()),
        DeValue::Integer(number) => format!("the integer {}", number.as_str()),
        DeValue::Float(number) => format!("the float {}", number.as_str()),
        DeValue::Boolean(flag) => format!("the boolean {flag}"),
        DeValue::Datetime(_) => "a date".to_owned(),
        DeValue::Array(_) => "a list".to_owned(),
        DeValue::Table(_) => "a table".to_owned(),
    }
}
