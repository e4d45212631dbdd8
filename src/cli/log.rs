//! `pmx log`, `pmx show`, `pmx diff`, `pmx ls`: the data and its history.

use crate::cli::args::{DiffArgs, LogArgs, LsArgs, ShowArgs};
use crate::cli::exit::Exit;
use crate::cli::moment::local;
use crate::cli::out::Out;
use crate::ops::build::reading;
use crate::ops::front::Front;
use crate::ops::history::{self, Change, Shown, Wanted, Which};
use crate::ops::log::{self, Entry};
use crate::source::Diagnostic;
use crate::store::Store;
use crate::value::Value;

/// The store of this project; says what to do where there is none yet.
pub fn store(front: &Front) -> Result<Box<dyn Store>, Vec<Diagnostic>> {
    let (site, store) = reading(front)?;
    store.ok_or_else(|| {
        let message = format!("there is no store at {} yet: nothing was ever built here", site.store_dir().display());
        vec![Diagnostic::yours(message).help("`pmx build TARGET` makes it")]
    })
}

/// `pmx log`.
pub fn log(front: &Front, args: &LogArgs, out: &mut Out) -> Result<Exit, Vec<Diagnostic>> {
    let mut store = store(front)?;
    out.in_blocks();
    let with_name = args.resource.is_none();
    let limit = args.limit.unwrap_or(usize::MAX);
    log::log(&mut *store, args.resource.as_deref(), limit, &mut |entry| {
        if out.json {
            out.json(&entry);
        } else {
            tell(&entry, with_name, out);
        }
        !out.closed()
    })?;
    Ok(Exit::Done)
}

fn tell(entry: &Entry, with_name: bool, out: &mut Out) {
    let version = &entry.version;
    let name = if with_name { format!("{}@{}", version.resource, version.version) } else { format!("version {}", version.version) };
    let head = format!("{}  {}  {}", out.paint("1;33", name), local(version.at), out.paint("36", &version.call));
    out.line(format!("{head}  by {}", version.actor));
    let run = &version.run[version.run.len().saturating_sub(7)..];
    out.line(format!("    run {run}, step {}, digest {}", version.step, version.digest.short()));
    match &entry.changes {
        None if version.dropped => out.line(out.paint("2", "    its content was dropped by `pmx gc`")),
        None => fields(&version.attributes, out),
        Some(changes) if changes.is_empty() => out.line(out.paint("2", "    as before")),
        Some(changes) => changes.iter().for_each(|change| out.line(format!("    {}", changed(change)))),
    }
}

fn fields(attributes: &Value, out: &mut Out) {
    if let Value::Map(map) = attributes {
        for (field, value) in map {
            out.line(format!("    {field}: {}", short(value)));
        }
    }
}

fn changed(change: &Change) -> String {
    match (&change.old, &change.new) {
        (Some(Value::Secret(_)), Some(Value::Secret(_))) => format!("{}: another secret", change.field),
        (Some(old), Some(new)) => format!("{}: {} → {}", change.field, short(old), short(new)),
        (None, Some(new)) => format!("{}: (absent) → {}", change.field, short(new)),
        (Some(old), None) => format!("{}: {} → (absent)", change.field, short(old)),
        (None, None) => change.field.clone(),
    }
}

/// A value on one line: long ones are cut, `pmx show` has them whole.
fn short(value: &Value) -> String {
    let text = value.display();
    if text.chars().count() <= 100 { text } else { format!("{}… ({} bytes)", text.chars().take(80).collect::<String>(), text.len()) }
}

/// `pmx show`.
pub fn show(front: &Front, args: &ShowArgs, out: &mut Out) -> Result<Exit, Vec<Diagnostic>> {
    let mut store = store(front)?;
    let version = Wanted::parse(&args.resource)?.find(&mut *store)?;
    let shown = history::shown(&mut *store, version).map_err(|e| history::trouble(&e))?;
    if out.json {
        out.json(&shown);
        return Ok(Exit::Done);
    }
    out.line(format!("{}  version {}", out.paint("1;33", &shown.resource), shown.version));
    out.line(format!("written {} by {} for {}", local(shown.at), shown.call, shown.actor));
    out.line(format!("run {}, step {}", shown.run, shown.step));
    out.line(format!("digest {}", shown.digest));
    out.line("");
    out.pretty(&shown.attributes);
    Ok(Exit::Done)
}

fn find(store: &mut dyn Store, text: &str) -> Result<Shown, Vec<Diagnostic>> {
    let version = Wanted::parse(text)?.find(store)?;
    history::outlined(store, version).map_err(|e| history::trouble(&e))
}

/// `pmx diff`.
pub fn diff(front: &Front, args: &DiffArgs, out: &mut Out) -> Result<Exit, Vec<Diagnostic>> {
    let mut store = store(front)?;
    let from = find(&mut *store, &args.from)?;
    let to = match &args.to {
        Some(text) => find(&mut *store, text)?,
        None => {
            let newest = Wanted { name: from.resource.clone(), which: Which::Head }.find(&mut *store)?;
            history::outlined(&mut *store, newest).map_err(|e| history::trouble(&e))?
        }
    };
    let changes = history::differences(&from.attributes, &to.attributes);
    if out.json {
        out.json(&changes);
        return Ok(Exit::Done);
    }
    out.line(format!("{}@{} → {}@{}", from.resource, from.version, to.resource, to.version));
    if changes.is_empty() {
        out.line("no difference");
    }
    changes.iter().for_each(|change| out.line(format!("  {}", changed(change))));
    Ok(Exit::Done)
}

/// `pmx ls`.
pub fn ls(front: &Front, args: &LsArgs, out: &mut Out) -> Result<Exit, Vec<Diagnostic>> {
    let mut store = store(front)?;
    let heads = store.heads(None).map_err(|e| history::trouble(&e))?;
    let prefix = args.prefix.as_deref().unwrap_or_default();
    let chosen = heads.into_iter().filter(|version| version.resource.to_string().starts_with(prefix)).collect::<Vec<_>>();
    let width = chosen.iter().map(|version| version.resource.to_string().chars().count()).max().unwrap_or(0);
    let calls = chosen.iter().map(|version| version.made.call.chars().count()).max().unwrap_or(0);
    for version in chosen {
        let shown = history::outlined(&mut *store, version).map_err(|e| history::trouble(&e))?;
        if out.json {
            out.json(&shown);
            continue;
        }
        let name = format!("{:width$}", shown.resource.to_string());
        let state = ["status", "state"].iter().find_map(|field| shown.attributes.get(field)).map(Value::to_string).unwrap_or_default();
        let line = format!("{}  @{:<4} {}  {:<calls$}  {state}", out.paint("33", name), shown.version, local(shown.at), shown.call);
        out.line(line.trim_end());
    }
    Ok(Exit::Done)
}
