//! Lowering of the Pmxfile.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use crate::lang::lower::tree::{Reader, Table};
use crate::lang::lower::{at, bot, profile, syntax};
use crate::lang::pmxfile::{Pmxfile, RunSettings, VaultKind, VaultSettings};
use crate::source::{Diagnostic, Source, Span, Spanned};

/// See `pmxfile::parse`.
pub(in crate::lang) fn parse(source: &Arc<Source>) -> (Option<Pmxfile>, Vec<Diagnostic>) {
    let tree = match syntax::parse(source) {
        Ok(tree) => tree,
        Err(complaints) => return (None, complaints),
    };
    let mut reader = Reader::new(source);
    let table = Table { entries: tree.get_ref(), span: Span::new(source, 0..0), title: "a Pmxfile".to_owned() };
    reader.known(&table, &["project", "store", "run", "vault", "protect", "bot", "at", "profile"]);
    let name = project(&mut reader, &table);
    let (store, store_key) = store(&mut reader, &table);
    let pmxfile = Pmxfile {
        source: Arc::clone(source),
        name: name.unwrap_or_default(),
        store,
        store_key,
        run: run(&mut reader, &table),
        vaults: vaults(&mut reader, &table),
        protected: protected(&mut reader, &table),
        bot: bot::read(&mut reader, &table),
        ats: at::read(&mut reader, &table),
        profiles: profile::read(&mut reader, &table),
    };
    (Some(pmxfile), reader.complaints)
}

fn project(reader: &mut Reader, table: &Table<'_>) -> Option<String> {
    if !table.entries.contains_key("project") {
        reader.missing(table, "project", "[project]` and `name = \"…\"");
    }
    let project = reader.table(table, "project", "[project]")?;
    reader.known(&project, &["name", "description"]);
    if !project.entries.contains_key("name") {
        reader.missing(&project, "name", "name = \"…\"");
    }
    reader.string(&project, "description");
    let name = reader.filled(&project, "name")?;
    reader.check_name(&name, "the name of the project");
    Some(name.value)
}

/// Its path, and the program that tells its key.
fn store(reader: &mut Reader, table: &Table<'_>) -> (PathBuf, Option<Spanned<Vec<String>>>) {
    let default = PathBuf::from("store");
    let Some(store) = reader.table(table, "store", "[store]") else { return (default, None) };
    reader.known(&store, &["path", "key"]);
    let path = reader.filled(&store, "path").map_or(default, |path| self::path(reader, &path));
    let words = reader.strings(&store, "key");
    let span = words.as_ref().map(|words| words.span.clone());
    let key = words.and_then(|words| command(reader, words, ("key", "{id}", "which store's key")));
    (path, key.zip(span).map(|(words, span)| Spanned::new(words, span)))
}

/// A path as written; complains about `..` and home-relative ones, which mean another place for every user.
pub(in crate::lang) fn path(reader: &mut Reader, written: &Spanned<String>) -> PathBuf {
    let path = Path::new(&written.value);
    if path.starts_with("~") || path.components().any(|part| part == Component::ParentDir) {
        let complaint = Diagnostic::yours(format!("`{}` leaves the project", written.value)).at(&written.span, "");
        reader.complain(complaint.help("write a path inside the project, or an absolute one"));
    }
    path.to_owned()
}

fn run(reader: &mut Reader, table: &Table<'_>) -> RunSettings {
    let mut settings = RunSettings { jobs: 16, per_host: 4 };
    let Some(run) = reader.table(table, "run", "[run]") else { return settings };
    reader.known(&run, &["jobs", "per_host"]);
    let count = |number: Option<i64>, default| number.and_then(|number| usize::try_from(number).ok()).unwrap_or(default);
    settings.jobs = count(reader.integer(&run, "jobs", 1..=1024), settings.jobs);
    settings.per_host = count(reader.integer(&run, "per_host", 1..=256), settings.per_host);
    settings
}

fn vaults(reader: &mut Reader, table: &Table<'_>) -> BTreeMap<String, VaultSettings> {
    let mut vaults = BTreeMap::new();
    for (name, vault) in reader.tables(table, "vault", "vault") {
        if let Some(kind) = vault_kind(reader, &vault) {
            vaults.insert(name.value, VaultSettings { span: name.span, kind });
        }
    }
    vaults
}

fn vault_kind(reader: &mut Reader, vault: &Table<'_>) -> Option<VaultKind> {
    const KINDS: [&str; 3] = ["file", "env", "command"];
    if !vault.entries.contains_key("kind") {
        reader.missing(vault, "kind", "kind = \"file\"");
    }
    let kind = reader.filled(vault, "kind")?;
    let needs = |reader: &mut Reader, key: &str, example: &str| {
        if !vault.entries.contains_key(key) {
            reader.missing(vault, key, example);
        }
    };
    match kind.value.as_str() {
        "file" => {
            reader.known(vault, &["kind", "path"]);
            needs(reader, "path", "path = \"vaults/name.toml\"");
            let written = reader.filled(vault, "path")?;
            Some(VaultKind::File(path(reader, &written)))
        }
        "env" => {
            reader.known(vault, &["kind", "prefix"]);
            Some(VaultKind::Env(reader.string(vault, "prefix").map(|text| text.value).unwrap_or_default()))
        }
        "command" => {
            reader.known(vault, &["kind", "command", "timeout"]);
            needs(reader, "command", "command = [\"pass\", \"{key}\"]");
            let words = reader.strings(vault, "command")?;
            let seconds = reader.duration(vault, "timeout").map_or(30, |time| time.as_secs().max(1));
            Some(VaultKind::Command { words: command(reader, words, ("command", "{key}", "which key"))?, seconds })
        }
        other => {
            let complaint = Diagnostic::yours(format!("`{other}` is not a kind of vault")).at(&kind.span, "");
            let near = crate::name::nearest(other, KINDS).map(|near| format!("did you mean `{near}`?"));
            reader.complain(complaint.help(near.unwrap_or_else(|| format!("kinds are {}", KINDS.join(", ")))));
            None
        }
    }
}

/// A program with its arguments, of which one holds the placeholder; what it is called, the placeholder, and what that stands for.
fn command(reader: &mut Reader, words: Spanned<Vec<Spanned<String>>>, told: (&str, &str, &str)) -> Option<Vec<String>> {
    let (name, placeholder, what) = told;
    let all: Vec<String> = words.value.into_iter().map(|word| word.value).collect();
    if all.first().is_none_or(|program| program.trim().is_empty()) {
        reader.complain(Diagnostic::yours(format!("`{name}` names no program")).at(&words.span, ""));
        return None;
    }
    if !all.iter().any(|word| word.contains(placeholder)) {
        let complaint = Diagnostic::yours(format!("`{name}` never says {what}")).at(&words.span, "");
        reader.complain(complaint.help(format!("put `{placeholder}` where it belongs")));
        return None;
    }
    Some(all)
}

fn protected(reader: &mut Reader, table: &Table<'_>) -> Vec<Spanned<String>> {
    let Some(protect) = reader.table(table, "protect", "[protect]") else { return Vec::new() };
    reader.known(&protect, &["vms"]);
    if !protect.entries.contains_key("vms") {
        reader.missing(&protect, "vms", "vms = [\"name\"]");
    }
    let names = reader.strings(&protect, "vms").map(|names| names.value).unwrap_or_default();
    for (index, name) in names.iter().enumerate() {
        reader.check_name(name, "the name of a protected VM");
        if name.value.trim() != name.value {
            reader.complain(Diagnostic::yours(format!("`{}` begins or ends with a blank", name.value)).at(&name.span, ""));
        }
        if names[..index].iter().any(|other| other.value == name.value) {
            reader.complain(Diagnostic::warning(format!("`{}` is protected twice", name.value)).at(&name.span, ""));
        }
    }
    names
}
