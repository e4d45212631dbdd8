//! Lowering of `[bot]`.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::lang::lower::tree::{Reader, Table};
use crate::lang::lower::workflow;
use crate::lang::pmxfile::{BotSettings, BotVm};
use crate::source::{Diagnostic, Spanned};

/// What users of the bot may do to a VM without a word of explanation; a workflow may add to it.
pub(in crate::lang) const ACTIONS: [&str; 5] = ["start", "stop", "reboot", "update", "status"];

/// Commands of the bot itself.
const TAKEN: [&str; 2] = ["list", "help"];

const COOLDOWN: Duration = Duration::from_secs(5);

/// `[bot]`, if there is one.
pub(in crate::lang) fn read(reader: &mut Reader, table: &Table<'_>) -> Option<BotSettings> {
    let bot = reader.table(table, "bot", "[bot]")?;
    reader.known(&bot, &["channel", "role", "guild", "admins", "cooldown", "prefix", "vm"]);
    let prefix = reader.filled(&bot, "prefix");
    if let Some(prefix) = prefix.as_ref().filter(|prefix| prefix.value.contains(char::is_whitespace) || prefix.value.len() > 8) {
        let complaint = Diagnostic::yours(format!("`{}` cannot be the prefix of commands", prefix.value)).at(&prefix.span, "");
        reader.complain(complaint.help("a prefix is a few letters without blanks, such as `!`"));
    }
    Some(BotSettings {
        channel: reader.filled(&bot, "channel"),
        role: reader.filled(&bot, "role"),
        guild: guild(reader, &bot),
        admins: reader.filled(&bot, "admins"),
        cooldown: reader.duration(&bot, "cooldown").unwrap_or(COOLDOWN),
        prefix: prefix.map_or_else(|| "!".to_owned(), |prefix| prefix.value),
        vms: vms(reader, &bot),
        span: bot.span,
    })
}

fn guild(reader: &mut Reader, bot: &Table<'_>) -> Option<Spanned<String>> {
    let guild = reader.filled(bot, "guild")?;
    if guild.value.parse::<std::num::NonZeroU64>().is_err() {
        let complaint = Diagnostic::yours(format!("`{}` is not the id of a Discord server", guild.value)).at(&guild.span, "");
        reader.complain(complaint.help("turn Developer Mode on in Discord's settings, then right-click the server: Copy Server ID"));
        return None;
    }
    Some(guild)
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
        let word = |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '-' || letter == '_';
        let name = action.value.as_str();
        if name.is_empty() || name.len() > 32 || !name.chars().all(word) {
            let complaint = Diagnostic::yours(format!("`{name}` cannot be an action of the bot")).at(&action.span, "");
            reader.complain(
                complaint.help("an action is a word of at most 32 lower-case letters, digits, `-` and `_`, because it becomes a command"),
            );
        } else if TAKEN.contains(&name) {
            let complaint =
                Diagnostic::yours(format!("`{name}` is a command of the bot itself, and cannot be an action")).at(&action.span, "");
            reader.complain(complaint.help("give the workflow and the action another name"));
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
