//! Lowering of definition files.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use crate::lang::definition::{Arguments, Definition};
use crate::lang::lower::tree::{Reader, Table};
use crate::lang::lower::{arguments, syntax};
use crate::source::{Diagnostic, Source, Span, Spanned};

/// See `definition::parse`.
pub(in crate::lang) fn parse(source: &Arc<Source>) -> (Option<Definition>, Vec<Diagnostic>) {
    let tree = match syntax::parse(source) {
        Ok(tree) => tree,
        Err(complaints) => return (None, complaints),
    };
    let mut reader = Reader::new(source);
    let name = stem(&mut reader, "definition");
    let table = Table { entries: tree.get_ref(), span: Span::new(source, 0..0), title: "a definition".to_owned() };
    reader.known(&table, &["type", "description", "global", "methods"]);
    let kind = kind(&mut reader, &table);
    let description = reader.string(&table, "description").map(|text| text.value);
    let global = reader.table(&table, "global", "[global]").map(|table| arguments::read(&mut reader, &table)).unwrap_or_default();
    let methods = methods(&mut reader, &table);
    let definition = kind.zip(name).map(|(kind, name)| Definition { name, source: Arc::clone(source), kind, description, global, methods });
    (definition, reader.complaints)
}

fn kind(reader: &mut Reader, table: &Table<'_>) -> Option<Spanned<String>> {
    if !table.entries.contains_key("type") {
        reader.missing(table, "type", "type = \"proxmox/vm\"");
    }
    reader.filled(table, "type")
}

fn methods(reader: &mut Reader, table: &Table<'_>) -> BTreeMap<String, (Span, Arguments)> {
    let tables = reader.tables(table, "methods", "methods");
    tables.into_iter().map(|(name, table)| (name.value, (name.span, arguments::read(reader, &table)))).collect()
}

/// The file's stem as the name of what is in it.
pub(in crate::lang) fn stem(reader: &mut Reader, what: &str) -> Option<String> {
    let path: &Path = &reader.source.name;
    let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default().to_owned();
    let usable = |c: char| c.is_alphanumeric() || c == '_' || c == '-';
    if !stem.is_empty() && stem.chars().all(usable) {
        return Some(stem);
    }
    let message = format!("`{stem}` cannot be the name of a {what}");
    let at = Span::new(&reader.source, 0..0);
    reader.complain(Diagnostic::yours(message).at(&at, "").help("name the file with letters, digits, `-` and `_` only"));
    None
}
