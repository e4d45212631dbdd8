//! The commands: one definition from which typed words, Discord's own commands and the help text are made.

use std::collections::BTreeMap;

use pmx::name::nearest;

/// What somebody wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// The fleet.
    List,
    /// What the bot can do.
    Help,
    /// An action on a VM, both as the Pmxfile spells them.
    Act {
        /// The action.
        action: String,
        /// The VM.
        vm: String,
    },
}

impl Command {
    /// For the audit: `stop calamity`.
    pub fn label(&self) -> String {
        match self {
            Self::List => "list".to_owned(),
            Self::Help => "help".to_owned(),
            Self::Act { action, vm } => format!("{action} {vm}"),
        }
    }
}

/// VMs with what may be done to each.
pub type Table = BTreeMap<String, Vec<String>>;

/// One command as Discord shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its name.
    pub name: String,
    /// What it does.
    pub about: String,
    /// Whether it takes a VM.
    pub vm: bool,
}

/// Every command that makes sense with this table.
pub fn entries(table: &Table) -> Vec<Entry> {
    let mut actions: Vec<&String> = table.values().flatten().collect();
    actions.sort();
    actions.dedup();
    let mut found: Vec<Entry> = actions.into_iter().map(|action| Entry { name: action.clone(), about: about(action), vm: true }).collect();
    found.push(Entry { name: "list".to_owned(), about: "Show every VM and how it stands".to_owned(), vm: false });
    found.push(Entry { name: "help".to_owned(), about: "Say what can be done, and to what".to_owned(), vm: false });
    found
}

fn about(action: &str) -> String {
    match action {
        "start" => "Start a server, with its VM".to_owned(),
        "stop" => "Warn the players, save the world, and shut the VM down".to_owned(),
        "reboot" => "Stop a server as carefully as stop does, and start it again".to_owned(),
        "update" => "Bring a server up to date".to_owned(),
        "status" => "Who is playing, where, and since when".to_owned(),
        other => format!("Run {other} on a VM"),
    }
}

/// What was meant, or what to say about it.
pub fn command(table: &Table, name: &str, vm: Option<&str>) -> Result<Command, String> {
    let name = name.to_lowercase();
    match name.as_str() {
        "list" => return Ok(Command::List),
        "help" => return Ok(Command::Help),
        _ => {}
    }
    if !table.values().any(|actions| actions.contains(&name)) {
        let known = entries(table);
        let near = nearest(&name, known.iter().map(|entry| entry.name.as_str())).map(|near| format!(" Did you mean `{near}`?"));
        return Err(format!("There is no command `{name}`.{}", near.unwrap_or_default()));
    }
    let able = || table.iter().filter(|(_, actions)| actions.contains(&name)).map(|(vm, _)| vm.as_str());
    let listed = || able().map(|vm| format!("`{vm}`")).collect::<Vec<_>>().join(", ");
    let Some(typed) = vm.map(str::trim).filter(|typed| !typed.is_empty()) else {
        return Err(format!("Which one? `{name}` works on {}.", listed()));
    };
    let Some((vm, actions)) = table.iter().find(|(vm, _)| vm.to_lowercase() == typed.to_lowercase()) else {
        let near =
            nearest(typed, able()).map(|near| format!(" Did you mean `{near}`?")).unwrap_or_else(|| format!(" It works on {}.", listed()));
        return Err(format!("I do not know a VM `{typed}`.{near}"));
    };
    if !actions.contains(&name) {
        let may = actions.iter().map(|action| format!("`{action}`")).collect::<Vec<_>>().join(", ");
        return Err(format!("`{name}` is not allowed on `{vm}`; allowed are {may}."));
    }
    Ok(Command::Act { action: name, vm: vm.clone() })
}

/// What a message means: `None` when it is not for the bot. A word that no command is even near to is some other bot's.
pub fn said(table: &Table, prefix: &str, mention: &str, text: &str) -> Option<Result<Command, String>> {
    let text = text.trim();
    let mentioned = !mention.is_empty() && text.starts_with(mention);
    let rest = if mentioned { text.strip_prefix(mention)? } else { text.strip_prefix(prefix)? };
    let rest = if mentioned { rest.trim_start() } else { rest };
    let (name, vm) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
    let known = entries(table);
    let name = name.to_lowercase();
    let ours = known.iter().any(|entry| entry.name == name) || nearest(&name, known.iter().map(|entry| entry.name.as_str())).is_some();
    match (name.is_empty(), ours, mentioned) {
        (true, _, false) | (false, false, false) => None,
        (true, _, true) => Some(Ok(Command::Help)),
        _ => Some(command(table, &name, Some(vm))),
    }
}

/// VMs that could follow a command, those that begin with what is typed first. At most 25, as Discord takes.
pub fn completions(table: &Table, name: &str, typed: &str) -> Vec<String> {
    let typed = typed.trim().to_lowercase();
    let able = table.iter().filter(|(_, actions)| actions.iter().any(|action| action == name)).map(|(vm, _)| vm);
    let mut fits: Vec<(bool, &String)> =
        able.filter(|vm| vm.to_lowercase().contains(&typed)).map(|vm| (!vm.to_lowercase().starts_with(&typed), vm)).collect();
    fits.sort();
    fits.into_iter().filter(|(_, vm)| vm.chars().count() <= 100).take(25).map(|(_, vm)| vm.clone()).collect()
}

/// The help text: every VM with its commands, ready to be shown.
pub fn help(table: &Table, prefix: &str) -> String {
    let mut lines = vec![format!("`{prefix}list` shows the fleet. Everything works as `/command` too.")];
    for (vm, actions) in table {
        let commands = actions.iter().map(|action| format!("`{prefix}{action} {vm}`")).collect::<Vec<_>>().join(" ");
        lines.push(format!("**{}** {commands}", crate::card::plain(vm)));
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let row = |vm: &str, actions: &[&str]| (vm.to_owned(), actions.iter().map(|action| (*action).to_owned()).collect());
        Table::from([
            row("allthemons", &["start", "stop", "reboot", "status"]),
            row("calamity", &["start", "stop", "reboot", "update", "status"]),
            row("VM 102", &["status"]),
        ])
    }

    fn act(action: &str, vm: &str) -> Option<Result<Command, String>> {
        Some(Ok(Command::Act { action: action.to_owned(), vm: vm.to_owned() }))
    }

    #[test]
    fn words_become_commands() {
        let said = |text: &str| said(&table(), "!", "<@9>", text);
        assert_eq!(said("!stop calamity"), act("stop", "calamity"));
        assert_eq!(said("  !STOP   Calamity "), act("stop", "calamity"));
        assert_eq!(said("!status vm 102"), act("status", "VM 102"), "a name with a blank");
        assert_eq!(said("<@9> update calamity"), act("update", "calamity"));
        assert_eq!(said("<@9>"), Some(Ok(Command::Help)));
        assert_eq!(said("!list"), Some(Ok(Command::List)));
        assert_eq!(said("!"), None);
        assert_eq!(said("stop calamity"), None, "no prefix");
        assert_eq!(said("!weather tomorrow"), None, "another bot's");
    }

    #[test]
    fn mistakes_say_what_to_do() {
        let mistake = |text: &str| said(&table(), "!", "", text).unwrap().unwrap_err();
        assert_eq!(mistake("!stpo calamity"), "There is no command `stpo`. Did you mean `stop`?");
        assert_eq!(mistake("!update"), "Which one? `update` works on `calamity`.");
        assert_eq!(mistake("!stop calamty"), "I do not know a VM `calamty`. Did you mean `calamity`?");
        assert_eq!(
            mistake("!update allthemons"),
            "`update` is not allowed on `allthemons`; allowed are `start`, `stop`, `reboot`, `status`."
        );
    }

    #[test]
    fn one_definition_serves_completion_help_and_discord() {
        assert_eq!(completions(&table(), "update", ""), ["calamity"]);
        assert_eq!(completions(&table(), "status", "a"), ["allthemons", "calamity"], "those that begin so come first");
        let many: Table = (0..60).map(|n| (format!("vm{n:02}"), vec!["start".to_owned()])).collect();
        assert_eq!(completions(&many, "start", "").len(), 25);
        let names: Vec<String> = entries(&table()).into_iter().map(|entry| entry.name).collect();
        assert_eq!(names, ["reboot", "start", "status", "stop", "update", "list", "help"]);
        assert!(entries(&table()).iter().all(|entry| entry.about.len() <= 100));
        assert!(help(&table(), "!").contains("**calamity** `!start calamity`"));
    }
}
