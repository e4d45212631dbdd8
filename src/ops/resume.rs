//! Resuming: a run whose process died, or that ended badly, is driven to its end by its own graph.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::event::{Ending, Event, RunState, Stamped};
use crate::exec::engine::{Asked, Confirmer, Doubt, Recall};
use crate::exec::past::{self, Past, Standing};
use crate::model::contract::Effect;
use crate::model::doubt;
use crate::name::RunId;
use crate::ops::build::{Beginning, Planned, answerable};
use crate::ops::front::Front;
use crate::ops::history::trouble;
use crate::ops::recipe::{self, Recipe, Remade, Unusable};
use crate::ops::site::Site;
use crate::ops::world::Opened;
use crate::ops::{project, runs};
use crate::plan::graph::Action;
use crate::source::{Diagnostic, Fault, Severity};
use crate::store::Store;
use crate::store::words::{Commit, RunRow};
use crate::wire::clock::{Clock as _, SystemClock};

/// Which run to go on with, and what is known of its doubts.
#[derive(Clone, Debug, Default)]
pub struct Resuming {
    /// The run, by any unambiguous part of its id.
    pub run: String,
    /// What happened, by step: `warn-players=done`, as typed.
    pub assume: Vec<String>,
}

fn refused(message: impl Into<String>) -> Diagnostic {
    Diagnostic::new(Severity::Error, Fault::Refused, message)
}

/// Makes the run ready to be driven: its graph, what is kept of it, and an answer to every doubt. Nothing is done before all of that is clear.
pub(super) async fn plan(
    front: &Front,
    site: &Site,
    (resuming, confirmer): (&Resuming, &dyn Confirmer),
    opened: &mut Opened,
) -> Result<Planned, Vec<Diagnostic>> {
    let store = &mut *opened.store;
    let row = runs::find(store, &resuming.run)?;
    resumable(&row).map_err(|d| vec![d])?;
    let (recipe, Remade { planner, graph }) = recipe::remake(store, &row, &*opened.key).map_err(|e| unusable(e, &row))?;
    same_profile(front, &recipe, &row).map_err(|d| vec![d])?;
    let journal = past::journal(store, &row.id).map_err(|e| trouble(&e))?;
    let mut past = Past::read(&journal);
    let lost = |complaint: Diagnostic| vec![refused(format!("run {} cannot be resumed: {}", row.id.short(), complaint.message))];
    let actions = past.actions(&graph).map_err(lost)?;
    answerable(&graph, &past, confirmer)?;
    let answers = answers(&resuming.assume, &actions, &past)?;
    let known = settle_doubts((&row, &actions, &past), &answers, (front, confirmer)).await?;
    if !known.is_empty() {
        past = Past::read(journal.iter().chain(&known));
    }
    let kept = actions.iter().filter(|action| matches!(past.standing(&action.step), Standing::Ended { .. })).count();
    let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
    let told = Event::RunResumed {
        run: row.id.clone(),
        targets: row.targets.clone(),
        actor: front.actor.clone(),
        kept: count(kept),
        left: count(actions.len() - kept),
        changed: changed(site, &recipe, opened)?,
    };
    let who = Asked { run: row.id, actor: front.actor.clone(), targets: row.targets, past: Arc::new(past) };
    Ok(Planned { planner, graph, who, beginning: Beginning::Again { lines: journal.len() as u64, known, told } })
}

/// Only a run that nobody drives and that has something left to do.
fn resumable(row: &RunRow) -> Result<(), Diagnostic> {
    let short = row.id.short();
    match row.state {
        RunState::Running => Err(refused(format!("run {short} is still running")).help(format!("`pmx cancel {short}` stops it"))),
        RunState::Succeeded => Err(refused(format!("run {short} succeeded: nothing of it is left to do"))
            .help(format!("`pmx build {}` does it anew", row.targets.join(" ")))),
        RunState::Failed | RunState::Cancelled | RunState::Interrupted => Ok(()),
    }
}

fn same_profile(front: &Front, recipe: &Recipe, row: &RunRow) -> Result<(), Diagnostic> {
    if front.profile == recipe.profile {
        return Ok(());
    }
    let named = |profile: &Option<String>| {
        profile.as_ref().map_or_else(|| "without a profile".to_owned(), |name| format!("under the profile {name}"))
    };
    let option = recipe.profile.as_ref().map(|name| format!("--profile {name} ")).unwrap_or_default();
    let message = format!("run {} was begun {}, and this is {}", row.id.short(), named(&recipe.profile), named(&front.profile));
    Err(refused(message).help(format!("`pmx {option}build --resume {}`", row.id.short())))
}

fn unusable(error: Unusable, row: &RunRow) -> Vec<Diagnostic> {
    if let Unusable::Store(error) = &error {
        return trouble(error);
    }
    let again = row.targets.join(" ");
    vec![refused(format!("run {} cannot be resumed: {error}", row.id.short())).help(format!("begin anew: `pmx build {again}`"))]
}

/// An action of which nobody knows, and that cannot find out by itself.
fn doubt(action: &Action, past: &Past) -> Option<Doubt> {
    let Standing::Doubt { since, why } = past.standing(&action.step) else { return None };
    blind(action).then(|| Doubt { step: action.step.clone(), call: action.call.name(), since: *since, why: why.clone() })
}

/// An action that began, and was refused when it was done again: what refused it may be that it had happened. It is not asked about, but may be told.
fn refused_again(action: &Action, past: &Past) -> Option<Doubt> {
    let begun = past.begun(&action.step) && *past.standing(&action.step) == Standing::Never;
    let since = SystemClock::new().now();
    (begun && blind(action)).then(|| Doubt { step: action.step.clone(), call: action.call.name(), since, why: None })
}

/// Whether it cannot find out by itself what an earlier try of it did.
fn blind(action: &Action) -> bool {
    let looks = doubt::looks(action.call.kind.name, action.call.method.name);
    matches!(action.call.method.effect, Effect::Act | Effect::Destroy) && !looks
}

/// What was typed about steps in doubt, by step.
fn answers(assume: &[String], actions: &[Arc<Action>], past: &Past) -> Result<BTreeMap<String, Recall>, Vec<Diagnostic>> {
    let doubts: Vec<Doubt> = actions.iter().filter_map(|action| doubt(action, past)).collect();
    let refused: Vec<Doubt> = actions.iter().filter_map(|action| refused_again(action, past)).collect();
    let listed = || {
        let steps: Vec<&str> = doubts.iter().map(|doubt| doubt.step.as_str()).collect();
        if steps.is_empty() { "no step of it is in doubt".to_owned() } else { format!("in doubt: {}", steps.join(", ")) }
    };
    let mut answers = BTreeMap::new();
    for typed in assume {
        let form = || vec![Diagnostic::yours(format!("`--assume {typed}` is not STEP=done or STEP=again"))];
        let (step, word) = typed.rsplit_once('=').ok_or_else(form)?;
        let recall = match word {
            "done" => Recall::Done,
            "again" => Recall::Again,
            _ => return Err(form()),
        };
        let fits = |doubt: &&Doubt| doubt.step == step || doubt.step.rsplit('/').next() == Some(step);
        let mut found: Vec<&Doubt> = doubts.iter().filter(fits).collect();
        if found.is_empty() {
            found = refused.iter().filter(fits).collect();
        }
        match found[..] {
            [only] => drop(answers.insert(only.step.clone(), recall)),
            [] => return Err(vec![Diagnostic::yours(format!("`{step}` is not in doubt")).help(listed())]),
            _ => return Err(vec![Diagnostic::yours(format!("`{step}` names several steps")).help(listed())]),
        }
    }
    Ok(answers)
}

/// Asks about each doubt that no answer was given for; the journal lines that the answers make.
async fn settle_doubts(
    (row, actions, past): (&RunRow, &[Arc<Action>], &Past),
    answers: &BTreeMap<String, Recall>,
    (front, confirmer): (&Front, &dyn Confirmer),
) -> Result<Vec<Stamped>, Vec<Diagnostic>> {
    let mut lines = Vec::new();
    let mut open = Vec::new();
    for doubt in actions.iter().filter_map(|action| doubt(action, past)) {
        let recall = match answers.get(&doubt.step) {
            Some(given) => *given,
            None => confirmer.recall(&doubt).await,
        };
        match recall {
            Recall::Again => {}
            Recall::Done => lines.push(taken_as_done(&doubt, front)),
            Recall::Stop => return Err(vec![refused(format!("run {} stays as it is: nothing was done", row.id.short()))]),
            Recall::Unknown => open.push(unknown(&doubt, row)),
        }
    }
    let done = |doubt: &Doubt| matches!(answers.get(&doubt.step), Some(Recall::Done));
    lines.extend(actions.iter().filter_map(|action| refused_again(action, past)).filter(done).map(|doubt| taken_as_done(&doubt, front)));
    if open.is_empty() { Ok(lines) } else { Err(open) }
}

fn unknown(doubt: &Doubt, row: &RunRow) -> Diagnostic {
    let how = doubt.why.as_ref().map_or_else(|| "its process died before it ended".to_owned(), |why| format!("it ended with: {why}"));
    let message =
        format!("nobody knows whether {} ({}) happened: it began at {}, and {how}; nothing was done", doubt.step, doubt.call, doubt.since);
    let name = doubt.step.rsplit('/').next().unwrap_or(&doubt.step);
    let command = format!("`pmx build --resume {} --assume {name}=", row.id.short());
    refused(message).help(format!("look, then {command}done` counts it as done, {command}again` does it again"))
}

/// In the journal, so that it is asked once.
fn taken_as_done(doubt: &Doubt, front: &Front) -> Stamped {
    let now = SystemClock::new().now();
    let event = Event::ActionFinished {
        step: doubt.step.clone(),
        call: doubt.call.clone(),
        ending: Ending::Done,
        summary: format!("counts as done: {} says so", front.actor),
        seconds: now.since(doubt.since).as_secs_f64(),
        left: None,
    };
    Stamped { at: now, event }
}

/// The files that are not what they were, each with what became of it.
fn changed(site: &Site, recipe: &Recipe, opened: &mut Opened) -> Result<Vec<String>, Vec<Diagnostic>> {
    let was = recipe::opened(&mut *opened.store, recipe, &*opened.key).map_err(|e| vec![Diagnostic::yours(e.to_string())])?;
    // By their texts: the digests are those of a key that may have been replaced.
    let is = project::sources(site)?;
    let (was, now) = (recipe::texts(&was), recipe::texts(&is));
    let mut changed = Vec::new();
    for (name, text) in &was {
        match now.get(name) {
            Some(other) if other == text => {}
            Some(_) => changed.push(name.clone()),
            None => changed.push(format!("{name} (gone)")),
        }
    }
    changed.extend(now.keys().filter(|name| !was.contains_key(*name)).map(|name| format!("{name} (new)")));
    Ok(changed)
}

/// Takes the run, unless somebody else did since its journal was read, and writes down what is known of its doubts.
pub(super) fn take(store: &mut dyn Store, run: &RunId, lines: u64, known: Vec<Stamped>) -> Result<(), Vec<Diagnostic>> {
    if !store.resume_run(run).map_err(|e| trouble(&e))? {
        return Err(vec![refused(format!("run {} is still running: somebody else resumed it", run.short()))]);
    }
    let further = store.journal(run, lines, 1).map_err(|e| trouble(&e))?;
    if !further.is_empty() {
        store.end_run(run).map_err(|e| trouble(&e))?;
        return Err(vec![
            refused(format!("run {} went on while its past was read", run.short())).help("look at it with `pmx run`, then try again"),
        ]);
    }
    if known.is_empty() {
        return Ok(());
    }
    let commit = Commit { journal: Some((run.clone(), known)), ..Commit::default() };
    store.commit(commit).map(drop).map_err(|e| trouble(&e))
}
