//! Lowering of `[at]`.

use std::collections::BTreeMap;

use crate::lang::lower::tree::{Reader, Table};
use crate::lang::pmxfile::AtSettings;
use crate::source::Diagnostic;

/// `[at.<name>]`, all of them.
pub(in crate::lang) fn read(reader: &mut Reader, table: &Table<'_>) -> BTreeMap<String, AtSettings> {
    let mut found = BTreeMap::new();
    for (name, at) in reader.tables(table, "at", "at") {
        reader.known(&at, &["host", "user", "port", "dir", "program"]);
        let dir = reader.filled(&at, "dir");
        if let Some(dir) = dir.as_ref().filter(|dir| !dir.value.starts_with(['/', '~'])) {
            let complaint = Diagnostic::yours(format!("`{}` is no directory over there", dir.value)).at(&dir.span, "");
            reader.complain(complaint.help("write an absolute path, or one that begins with `~/`"));
        }
        let settings = AtSettings {
            host: reader.filled(&at, "host").map(|text| text.value),
            user: reader.filled(&at, "user").map(|text| text.value),
            port: reader.integer(&at, "port", 1..=65535).and_then(|port| u16::try_from(port).ok()),
            dir: dir.map(|text| text.value),
            program: reader.filled(&at, "program").map(|text| text.value),
        };
        found.insert(name.value, settings);
    }
    found
}
