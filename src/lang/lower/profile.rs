//! Lowering of `[profile.<name>]`.

use std::collections::BTreeMap;

use crate::lang::definition::Arguments;
use crate::lang::lower::tree::{Reader, Table, sorted_keys};
use crate::lang::lower::{arguments, pmxfile};
use crate::lang::pmxfile::Profile;
use crate::source::{Diagnostic, Spanned};

/// Every profile.
pub(in crate::lang) fn read(reader: &mut Reader, table: &Table<'_>) -> BTreeMap<String, Profile> {
    let mut profiles = BTreeMap::new();
    for (name, table) in reader.tables(table, "profile", "profile") {
        reader.known(&table, &["store", "vaults", "closed", "connect", "start", "ready", "definitions"]);
        let path = |reader: &mut Reader, key: &str| {
            let written = reader.filled(&table, key)?;
            Some(pmxfile::path(reader, &written))
        };
        let profile = Profile {
            store: path(reader, "store"),
            vaults: path(reader, "vaults"),
            closed: reader.flag(&table, "closed"),
            connect: connect(reader, &table),
            start: start(reader, &table),
            ready: ready(reader, &table),
            definitions: definitions(reader, &table, &name.value),
            span: name.span,
        };
        if profile.start.is_some() && profile.ready.is_none() && !table.entries.contains_key("ready") {
            let complaint = Diagnostic::yours(format!("profile `{}` has `start` but no `ready`", name.value)).at(&profile.span, "");
            reader.complain(complaint.help("name the address that answers when it is up: ready = \"127.0.0.1:18006\""));
        }
        profiles.insert(name.value, profile);
    }
    profiles
}

fn connect(reader: &mut Reader, table: &Table<'_>) -> Vec<(Spanned<String>, Spanned<String>)> {
    let Some(connect) = reader.table(table, "connect", "`connect`") else { return Vec::new() };
    let mut pairs = Vec::new();
    for key in sorted_keys(connect.entries) {
        let Some(node) = connect.entries.get(key.get_ref().as_ref()) else { continue };
        let from = Spanned::new(key.get_ref().to_string(), reader.span(key));
        let Some(to) = reader.as_string(node, &format!("`connect.\"{}\"`", from.value)) else { continue };
        if address(reader, &from) & address(reader, &to) {
            let stars = |text: &str| text.matches('*').count();
            if stars(&to.value) > stars(&from.value) {
                let message = format!("`{}` carries over more `*` than `{}` has", to.value, from.value);
                reader.complain(Diagnostic::yours(message).at(&to.span, ""));
            }
            pairs.push((from, to));
        }
    }
    pairs
}

/// Complains unless the text is `host:port`.
fn address(reader: &mut Reader, text: &Spanned<String>) -> bool {
    let port = |port: &str| port == "*" || port.parse::<u16>().is_ok_and(|port| port > 0);
    let host = |host: &str| !host.is_empty() && !host.contains(|c: char| c.is_whitespace() || c.is_control() || c == '/');
    let good = text.value.rsplit_once(':').is_some_and(|(name, number)| host(name) && port(number));
    if !good {
        let complaint = Diagnostic::yours(format!("`{}` is not an address", text.value)).at(&text.span, "");
        reader.complain(complaint.help("write host:port, such as 127.0.0.1:18006"));
    }
    good
}

fn start(reader: &mut Reader, table: &Table<'_>) -> Option<Spanned<Vec<String>>> {
    let start = reader.strings(table, "start")?;
    if start.value.first().is_none_or(|program| program.value.trim().is_empty()) {
        reader.complain(Diagnostic::yours("`start` names no program").at(&start.span, ""));
        return None;
    }
    Some(start.map(|words| words.into_iter().map(|word| word.value).collect()))
}

fn ready(reader: &mut Reader, table: &Table<'_>) -> Option<Spanned<String>> {
    let ready = reader.filled(table, "ready")?;
    // With a slash it is the path of a unix socket.
    (ready.value.contains('/') || address(reader, &ready)).then_some(ready)
}

type Overrides = BTreeMap<Option<String>, Arguments>;

fn definitions(reader: &mut Reader, table: &Table<'_>, profile: &str) -> BTreeMap<String, Overrides> {
    let tables = reader.tables(table, "definitions", &format!("profile.{profile}.definitions"));
    tables.into_iter().map(|(name, table)| (name.value, overrides(reader, &table))).collect()
}

/// `global`, `methods.<m>`, and any other key as a global argument.
fn overrides(reader: &mut Reader, table: &Table<'_>) -> Overrides {
    let mut found = Overrides::new();
    let mut global = Arguments::new();
    for (key, node) in table.entries {
        if matches!(key.get_ref().as_ref(), "global" | "methods") {
            continue;
        }
        let name = Spanned::new(key.get_ref().to_string(), reader.span(key));
        if let Some(template) = arguments::template(reader, &name.value, node, 0) {
            global.insert(name.value, crate::lang::definition::Argument { key: name.span, template });
        }
    }
    if let Some(inner) = reader.table(table, "global", format!("{} global", table.title)) {
        for (name, argument) in arguments::read(reader, &inner) {
            if let Some(first) = global.get(&name) {
                let complaint = Diagnostic::yours(format!("`{name}` is overridden twice")).at(&argument.key, "");
                reader.complain(complaint.also(&first.key, "the first one"));
            }
            global.insert(name, argument);
        }
    }
    if !global.is_empty() {
        found.insert(None, global);
    }
    for (name, inner) in reader.tables(table, "methods", "methods") {
        found.insert(Some(name.value), arguments::read(reader, &inner));
    }
    found
}
