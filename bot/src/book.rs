//! The book of rules: the project's files as the bot reads them, again whenever they change.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use pmx::event::Time;
use pmx::ops::chat::{self, Meaning, Project};
use pmx::ops::front::Front;
use pmx::ops::project;
use pmx::ops::site::Site;
use pmx::source::Diagnostic;

use crate::access::Rules;
use crate::command::Table;

/// How long the files are trusted without looking.
const TRUST: Duration = Duration::from_secs(1);

/// What the files say.
#[derive(Clone)]
pub struct Known {
    /// Who may.
    pub rules: Rules,
    /// What commands begin with.
    pub prefix: String,
    /// VMs and their actions.
    pub table: Table,
    /// What each action means.
    pub meanings: BTreeMap<(String, String), Meaning>,
    /// Actions that destroy something.
    pub destructive: BTreeSet<(String, String)>,
    /// The call that tells who plays, by VM.
    pub players: BTreeMap<String, String>,
    /// The project, for what is read of the store.
    pub project: Arc<Project>,
    /// What is wrong with the files now; all the rest is then as it was before.
    pub trouble: Option<String>,
}

/// Variables of the environment that go before `[bot]`.
const OVERRIDES: [(&str, &str); 4] =
    [("REQUIRED_CHANNEL", "channel"), ("REQUIRED_ROLE", "role"), ("ADMIN_ROLE", "admins"), ("COMMAND_PREFIX", "prefix")];

/// The files, read again when they change.
pub struct Book {
    front: Front,
    state: Mutex<State>,
}

struct State {
    looked: Time,
    texts: Vec<String>,
    known: Arc<Known>,
}

impl Book {
    /// Reads the project's files; they must be sound for a bot to begin.
    pub fn open(front: &Front, now: Time) -> Result<Self, Vec<Diagnostic>> {
        let site = Site::find(front)?;
        let texts = texts(&site)?;
        let known = Arc::new(read(front, &site)?);
        Ok(Self { front: front.clone(), state: Mutex::new(State { looked: now, texts, known }) })
    }

    /// What the environment says instead of the Pmxfile: a sentence each.
    pub fn overridden(&self) -> Vec<String> {
        let set = |(variable, key): &(&str, &str)| {
            let value = self.front.env.get(*variable).filter(|value| !value.is_empty())?;
            Some(format!("{variable}={value} goes before `{key}` under [bot] of the Pmxfile"))
        };
        OVERRIDES.iter().filter_map(set).collect()
    }

    /// What the files say now. Reads them when they were not looked at just before; may take some milliseconds.
    pub fn now(&self, now: Time) -> Arc<Known> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if now.since(state.looked) < TRUST {
            return Arc::clone(&state.known);
        }
        state.looked = now;
        let found = Site::find(&self.front).and_then(|site| texts(&site).map(|texts| (site, texts)));
        let news = match found {
            Ok((_, texts)) if texts == state.texts => return Arc::clone(&state.known),
            Ok((site, texts)) => {
                state.texts = texts;
                read(&self.front, &site)
            }
            // The next look compares with nothing, so that mended files are seen.
            Err(complaints) => {
                state.texts.clear();
                Err(complaints)
            }
        };
        let known = match news {
            Ok(known) => known,
            Err(complaints) => {
                let first = complaints.first().map(ToString::to_string).unwrap_or_default();
                Known { trouble: Some(first), ..Known::clone(&state.known) }
            }
        };
        state.known = Arc::new(known);
        Arc::clone(&state.known)
    }
}

/// All the texts that decide.
fn texts(site: &Site) -> Result<Vec<String>, Vec<Diagnostic>> {
    let sources = project::sources(site)?;
    let all = std::iter::once(&sources.pmxfile).chain(&sources.definitions).chain(&sources.workflows);
    Ok(all.map(|source| format!("{}\n{}", source.name.display(), source.text)).collect())
}

fn read(front: &Front, site: &Site) -> Result<Known, Vec<Diagnostic>> {
    let project = project::load(site)?.sound()?;
    let Some(bot) = &project.pmxfile.bot else {
        let help = "write a table [bot] with `channel` and `role`, and a table [bot.vm.<name>] for each VM";
        return Err(vec![Diagnostic::yours("this project's Pmxfile has no [bot]: nobody may steer anything").help(help)]);
    };
    let over = |variable: &str| front.env.get(variable).filter(|value| !value.is_empty()).cloned();
    let text = |field: &Option<pmx::source::Spanned<String>>| field.as_ref().map(|field| field.value.clone());
    let rules = Rules {
        guild: bot.guild.as_ref().and_then(|guild| guild.value.parse().ok()),
        channel: over("REQUIRED_CHANNEL").or_else(|| text(&bot.channel)),
        role: over("REQUIRED_ROLE").or_else(|| text(&bot.role)),
        admins: over("ADMIN_ROLE").or_else(|| text(&bot.admins)),
        cooldown: bot.cooldown,
    };
    let mut known = Known {
        rules,
        prefix: over("COMMAND_PREFIX").unwrap_or_else(|| bot.prefix.clone()),
        table: Table::new(),
        meanings: BTreeMap::new(),
        destructive: BTreeSet::new(),
        players: BTreeMap::new(),
        project: Arc::clone(&project),
        trouble: None,
    };
    for (vm, row) in &bot.vms {
        known.table.insert(vm.clone(), row.actions.iter().map(|action| action.value.clone()).collect());
        known.players.extend(row.status.as_ref().map(|call| (vm.clone(), call.value.clone())));
        for action in &row.actions {
            let Some(meaning) = chat::meaning(&project, vm, &action.value) else { continue };
            let key = (vm.clone(), action.value.clone());
            if chat::outline(site, &meaning)?.destroys {
                known.destructive.insert(key.clone());
            }
            known.meanings.insert(key, meaning);
        }
    }
    Ok(known)
}
