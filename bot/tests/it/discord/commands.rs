//! Application commands: what one may be, and which are registered.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::form::Faults;
use super::ids::Ids;
use super::refusal::{self, Refusal};

/// New commands in a day.
const CREATES: usize = 200;
/// Characters of one command with all that is in it.
const SIZE: usize = 8000;

/// The registered commands: those for everywhere under 0, those of a guild under its id.
#[derive(Debug, Default)]
pub struct Commands {
    places: BTreeMap<u64, Vec<Value>>,
    created: usize,
}

/// Where commands are registered.
#[derive(Clone, Copy, Debug)]
pub struct Scope {
    /// The application whose they are.
    pub application: u64,
    /// The guild, or 0 for everywhere.
    pub guild: u64,
}

impl Commands {
    /// All of a place.
    pub fn of(&self, guild: u64) -> &[Value] {
        self.places.get(&guild).map_or(&[], Vec::as_slice)
    }

    /// All of them.
    pub fn all(&self) -> Vec<Value> {
        self.places.values().flatten().cloned().collect()
    }

    /// The one that a person in `guild` (0 in a talk) gets under this name: the guild's own stands before the one for everywhere.
    pub fn named(&self, guild: u64, name: &str) -> Option<&Value> {
        let own = if guild == 0 { &[] } else { self.of(guild) };
        own.iter().chain(self.of(0)).find(|command| command["name"] == name)
    }

    /// Puts these in the place of all that were there.
    pub fn replace(&mut self, ids: &mut Ids, scope: Scope, forms: &Value) -> Result<Vec<Value>, Refusal> {
        judge(forms)?;
        let old = self.places.remove(&scope.guild).unwrap_or_default();
        let mut made = Vec::new();
        for form in forms.as_array().into_iter().flatten() {
            let same = old.iter().find(|command| command["name"] == form["name"]);
            self.created += usize::from(same.is_none());
            if self.created > CREATES {
                self.places.insert(scope.guild, old);
                return Err(refusal::TOO_MANY_COMMANDS.into());
            }
            let id = same.map_or_else(|| json!(ids.next().to_string()), |command| command["id"].clone());
            let mut command = json!({
                "id": id, "application_id": scope.application.to_string(), "version": ids.next().to_string(), "type": 1,
                "name": form["name"], "name_localizations": null, "description": form["description"], "description_localizations": null,
                "options": form["options"].as_array().cloned().unwrap_or_default(), "nsfw": false, "dm_permission": true,
                "default_member_permissions": form["default_member_permissions"], "contexts": form["contexts"], "integration_types": [0],
            });
            if scope.guild != 0 {
                command["guild_id"] = json!(scope.guild.to_string());
            }
            made.push(command);
        }
        self.places.insert(scope.guild, made.clone());
        Ok(made)
    }
}

fn judge(forms: &Value) -> Result<(), Refusal> {
    let mut faults = Faults::default();
    let Some(list) = forms.as_array() else {
        faults.add("", "LIST_TYPE_CONVERT", "Only iterables may be used in a ListType");
        return faults.end();
    };
    if list.len() > 100 {
        faults.add("", "APPLICATION_COMMANDS_MAX_NUMBER", "Maximum number of application commands reached (100).");
    }
    let mut names = BTreeSet::new();
    for (index, form) in list.iter().enumerate() {
        let at = index.to_string();
        if !form["type"].is_null() && form["type"] != 1 {
            return Err(Refusal::not_imitated("commands of menus"));
        }
        name(&mut faults, form, &format!("{at}.name"));
        faults.needed(form, &format!("{at}.description"), 1..=100);
        if !names.insert(form["name"].as_str()) {
            faults.add(&at, "APPLICATION_COMMANDS_DUPLICATE_NAME", "Application command names must be unique");
        }
        options(&mut faults, form, &at, 0);
        if size(form) > SIZE {
            faults.add(&at, "APPLICATION_COMMAND_TOO_LARGE", format!("Command exceeds maximum size ({SIZE})"));
        }
    }
    faults.end()
}

/// What names may consist of is narrower here than at Discord, which takes the letters of every script.
fn name(faults: &mut Faults, form: &Value, at: &str) {
    let good = |name: &str| {
        (1..=32).contains(&name.len())
            && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_".contains(&byte))
    };
    match form["name"].as_str() {
        None => faults.required(at),
        Some(name) if !good(name) => faults.add(at, "APPLICATION_COMMAND_INVALID_NAME", "Command name is invalid"),
        Some(_) => {}
    }
}

fn options(faults: &mut Faults, form: &Value, at: &str, depth: usize) {
    let list = faults.list(form, &format!("{at}.options"), 25);
    let (mut names, mut optional) = (BTreeSet::new(), false);
    let nested = list.iter().filter(|option| [json!(1), json!(2)].contains(&option["type"])).count();
    if nested != 0 && nested != list.len() {
        faults.add(
            &format!("{at}.options"),
            "APPLICATION_COMMAND_OPTIONS_TYPE_INVALID",
            "Sub-command and sub-command group option types are mutually exclusive to all other types",
        );
    }
    for (index, option) in list.iter().enumerate() {
        let at = format!("{at}.options.{index}");
        let kind = faults.number(option, &format!("{at}.type"), 1..=11);
        if option["type"].is_null() {
            faults.required(&format!("{at}.type"));
        }
        name(faults, option, &format!("{at}.name"));
        faults.needed(option, &format!("{at}.description"), 1..=100);
        if !names.insert(option["name"].as_str()) {
            faults.add(&at, "APPLICATION_COMMAND_OPTIONS_DUPLICATE_NAME", "Option names must be unique");
        }
        if option["required"] == true && optional {
            faults.add(&at, "APPLICATION_COMMAND_OPTIONS_REQUIRED_INVALID", "Required options must be placed before non-required options");
        }
        optional |= option["required"] != true;
        match kind {
            Some(2) if depth > 0 => faults.add(&at, "APPLICATION_COMMAND_OPTIONS_TYPE_INVALID", "Sub-command groups cannot be nested"),
            Some(1 | 2) if depth < 2 => options(faults, option, &at, depth + 1),
            Some(1 | 2) => faults.add(&at, "APPLICATION_COMMAND_OPTIONS_TYPE_INVALID", "Sub-commands cannot be nested deeper"),
            Some(kind) => choices(faults, option, &at, kind),
            None => {}
        }
    }
}

fn choices(faults: &mut Faults, option: &Value, at: &str, kind: u64) {
    let list = faults.list(option, &format!("{at}.choices"), 25);
    if option["autocomplete"] == true && (!list.is_empty() || ![3, 4, 10].contains(&kind)) {
        faults.add(
            &format!("{at}.autocomplete"),
            "APPLICATION_COMMAND_AUTOCOMPLETE_INVALID",
            "Autocomplete cannot be used with choices or with this type",
        );
    }
    each_choice(faults, list, &format!("{at}.choices"));
}

/// Judges choices, those of an option and those of an autocompletion.
pub fn each_choice(faults: &mut Faults, list: &[Value], at: &str) {
    for (index, choice) in list.iter().enumerate() {
        let at = format!("{at}.{index}");
        faults.needed(choice, &format!("{at}.name"), 1..=100);
        if !choice["value"].is_number() {
            faults.needed(choice, &format!("{at}.value"), 1..=100);
        }
    }
}

fn size(form: &Value) -> usize {
    let length = |value: &Value| value.as_str().map_or(0, |text| text.chars().count());
    let choices = form["choices"].as_array().into_iter().flatten().map(|choice| length(&choice["name"]) + length(&choice["value"]));
    let options = form["options"].as_array().into_iter().flatten().map(size);
    length(&form["name"]) + length(&form["description"]) + choices.sum::<usize>() + options.sum::<usize>()
}
