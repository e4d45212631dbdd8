//! Lowering of `[bot]`.

use std::collections::BTreeMap;

use crate::lang::lower::tree::{Reader, Table};
use crate::lang::lower::workflow;
use crate::lang::pmxfile::{BotSettings, BotVm};
use crate::source::{Diagnostic, Spanned};

/// What users of the bot may do to a VM.
pub(in crate::lang) const ACTIONS: [&str; 5] = ["start", "stop", "reboot", "update", "status"];

/// `[bot]`, if there is one.
pub(in crate::lang) fn read(reader: &mut Reader, table: &Table<'_>) -> Option<BotSettings> {
    let bot = reader.table(table, "bot", "[bot]")?;
    reader.known(&bot, &["channel", "role", "prefix", "vm"]);
    let prefix = reader.filled(&bot, "prefix");
    if let Some(prefix) = prefix.as_ref().filter(|prefix| prefix.value.contains(char::is_whitespace) || prefix.value.len() > 8) {
        let complaint = Diagnostic::yours(format!("`{}` cannot be the prefix of commands", prefix.value)).at(&prefix.span, "");
        reader.complain(complaint.help("a prefix is a few letters without blanks, such as `!`"));
    }
    Some(BotSettings {
        channel: reader.filled(&bot, "channel"),
        role: reader.filled(&bot, "role"),
        prefix: prefix.map_or_else(|| "!".to_owned(), |prefix| prefix.value),
        vms: vms(reader, &bot),
        span: bot.span,
    })
}

fn vms(reader: &mut Reader, bot: &Table<'_>) -> BTreeMap<String, BotVm> {
    let mut vms = BTreeMap::new();
    for (name, table) in reader.tables(bot, "vm", "bot.vm") {
        reader.known(&table, &["actions", "status"]);
        if !table.entries.contains_key("actions") {
            reader.missing(&table, "actions", "actions = [\"start\", \"stop\"]");
        }
        let actions = reader.strings(&table, "actions").map(|actions| actions.value).unwrap_or_default();
        check_actions(reader, &actions);
        let status = status(reader, &table);
        vms.insert(name.value, BotVm { span: name.span, actions, status });
    }
    vms
}

fn check_actions(reader: &mut Reader, actions: &[Spanned<String>]) {
    for (index, action) in actions.iter().enumerate() {
        if !ACTIONS.contains(&action.value.as_str()) {
            let complaint = Diagnostic::yours(format!("`{}` is not an action of the bot", action.value)).at(&action.span, "");
            let near = crate::name::nearest(&action.value, ACTIONS).map(|near| format!("did you mean `{near}`?"));
            reader.complain(complaint.help(near.unwrap_or_else(|| format!("actions are {}", ACTIONS.join(", ")))));
        }
        if actions[..index].iter().any(|other| other.value == action.value) {
            reader.complain(Diagnostic::warning(format!("`{}` is listed twice", action.value)).at(&action.span, ""));
        }
    }
}

fn status(reader: &mut Reader, table: &Table<'_>) -> Option<Spanned<String>> {
    let status = reader.filled(table, "status")?;
    if workflow::reference(&status).is_none() {
        let complaint = Diagnostic::yours(format!("`{}` is not a call", status.value)).at(&status.span, "");
        reader.complain(complaint.help("write `definition.method`, such as `calamityTerraria.status`"));
        return None;
    }
    Some(status)
}
