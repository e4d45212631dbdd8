//! Runs: what was asked for, by whom, and what became of each action.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use crate::event::{Ending, Event, RunState, Stamped, Time};
use crate::exec::past;
use crate::name::{Actor, RunId};
use crate::ops::history::trouble;
use crate::source::{Diagnostic, Fault, Severity};
use crate::store::Store;
use crate::store::words::{ActionRecord, RunRow};

/// One run with its actions.
#[derive(Clone, Debug, Serialize)]
pub struct RunStory {
    /// The run.
    #[serde(flatten)]
    pub row: RunRow,
    /// The run whose actions these are, when this one had nothing to work out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repeats: Option<RunId>,
    /// Its actions in the order they ended; those that began nothing too.
    pub actions: Vec<ActionStory>,
    /// Actions that began and have no end in the journal: they run now, or ran when the run's process died.
    pub unfinished: Vec<Unfinished>,
    /// Each time it was gone on with.
    pub resumed: Vec<Resumed>,
    /// Its journal.
    pub journal: Vec<Stamped>,
}

/// One action of a run.
#[derive(Clone, Debug, Serialize)]
pub struct ActionStory {
    /// The step.
    pub step: String,
    /// The call.
    pub call: String,
    /// How it ended.
    pub ending: Ending,
    /// What it did.
    pub summary: String,
    /// When it began.
    pub began: Time,
    /// When it ended.
    pub ended: Time,
    /// The resources it wrote or confirmed.
    pub outputs: Vec<String>,
}

impl From<ActionRecord> for ActionStory {
    fn from(record: ActionRecord) -> Self {
        Self {
            step: record.made.step,
            call: record.made.call,
            ending: record.ending,
            summary: record.summary,
            began: record.began,
            ended: record.made.at,
            outputs: record.outputs.into_iter().map(|output| output.resource.to_string()).collect(),
        }
    }
}

/// An action without an end.
#[derive(Clone, Debug, Serialize)]
pub struct Unfinished {
    /// The step.
    pub step: String,
    /// The call.
    pub call: String,
    /// When it began.
    pub began: Time,
    /// The remote task that it last began, a UPID.
    pub task: Option<String>,
    /// How another run settled it, if one did.
    pub settled: Option<Settled>,
}

/// What became of an action whose run died in the middle of it.
#[derive(Clone, Debug, Serialize)]
pub struct Settled {
    /// The run that looked.
    pub by: RunId,
    /// What it found.
    pub found: String,
}

/// A run that was gone on with.
#[derive(Clone, Debug, Serialize)]
pub struct Resumed {
    /// When.
    pub at: Time,
    /// By whom.
    pub actor: Actor,
}

fn resumed(line: &Stamped) -> Option<Resumed> {
    let Event::RunResumed { actor, .. } = &line.event else { return None };
    Some(Resumed { at: line.at, actor: actor.clone() })
}

/// How many runs are looked at for one that is in progress: one that began before so many others would have been seen by its author.
const RECENT: usize = 1000;

/// Refuses while a run is in progress, which `does` what is in the way: a fragment.
pub fn idle(store: &mut dyn Store, does: &str) -> Result<(), Vec<Diagnostic>> {
    let runs = store.runs(RECENT).map_err(|e| trouble(&e))?;
    let Some(run) = runs.iter().find(|run| run.state == RunState::Running) else { return Ok(()) };
    Err(not_now(format!("run {} ({}) by {} is in progress, and {does}", run.id.short(), run.targets.join(" "), run.actor)))
}

/// Refused for as long as some run lasts.
pub fn not_now(message: String) -> Vec<Diagnostic> {
    vec![Diagnostic::new(Severity::Error, Fault::Refused, message).help("again when it has ended; `pmx runs` lists runs")]
}

/// The run that `part` names.
pub fn find(store: &mut dyn Store, part: &str) -> Result<RunRow, Vec<Diagnostic>> {
    let hex = !part.is_empty() && part.bytes().all(|b| b.is_ascii_hexdigit());
    let found = if hex { store.find_runs(&part.to_lowercase()).map_err(|e| trouble(&e))? } else { Vec::new() };
    let mut found = found.into_iter();
    match (found.next(), found.next()) {
        (Some(row), None) => Ok(row),
        (None, _) => Err(vec![Diagnostic::yours(format!("there is no run `{part}`")).help("`pmx runs` lists them")]),
        (Some(one), Some(other)) => {
            let message = format!("`{part}` names several runs: {}, {}", one.id, other.id);
            Err(vec![Diagnostic::yours(message).help("give more of the id")])
        }
    }
}

/// The whole story of a run.
pub fn story(store: &mut dyn Store, part: &str) -> Result<RunStory, Vec<Diagnostic>> {
    let row = find(store, part)?;
    let journal = past::journal(store, &row.id).map_err(|e| trouble(&e))?;
    let repeats = past::repeated(&journal);
    let records = past::records(store, &row.id, &journal).map_err(|e| trouble(&e))?;
    let recorded = records.len();
    // A run that was resumed may have several ends of one step: the last one counts.
    let numbered = records.into_iter().map(ActionStory::from).enumerate();
    let mut last: BTreeMap<String, (usize, ActionStory)> = numbered.map(|(at, action)| (action.step.clone(), (at, action))).collect();
    for (at, told) in journal.iter().filter_map(ended).enumerate() {
        match last.get_mut(&told.step) {
            // The journal has the sentence that was shown, such as why something is fresh.
            Some((_, known)) if known.ending == told.ending => known.summary = told.summary,
            Some((_, known)) if known.ended > told.ended => {}
            _ => drop(last.insert(told.step.clone(), (recorded + at, told))),
        }
    }
    let mut actions: Vec<(usize, ActionStory)> = last.into_values().collect();
    actions.sort_by_key(|(at, action)| (action.ended, *at));
    let actions: Vec<ActionStory> = actions.into_iter().map(|(_, action)| action).collect();
    let unfinished = unfinished(&journal);
    let resumed = journal.iter().filter_map(resumed).collect();
    Ok(RunStory { row, repeats, actions, unfinished, resumed, journal })
}

/// An action as the journal tells its end: what was skipped, or failed before its method was called, has no record.
fn ended(line: &Stamped) -> Option<ActionStory> {
    let Event::ActionFinished { step, call, ending, summary, seconds, .. } = &line.event else { return None };
    let lasted = Duration::from_secs_f64(seconds.clamp(0.0, 1e9));
    Some(ActionStory {
        step: step.clone(),
        call: call.clone(),
        ending: *ending,
        summary: summary.clone(),
        began: Time(line.at.0 - i64::try_from(lasted.as_millis()).unwrap_or(0)),
        ended: line.at,
        outputs: Vec::new(),
    })
}

/// Actions that began and have no end in this journal.
pub fn unfinished(journal: &[Stamped]) -> Vec<Unfinished> {
    let mut open: Vec<Unfinished> = Vec::new();
    for line in journal {
        match &line.event {
            Event::ActionStarted { step, call, .. } => {
                // Begun again: its process had died, and the run was resumed.
                open.retain(|action| action.step != *step);
                open.push(Unfinished { step: step.clone(), call: call.clone(), began: line.at, task: None, settled: None });
            }
            Event::Task { step, id } => {
                open.iter_mut().filter(|action| action.step == *step).for_each(|action| action.task = Some(id.clone()));
            }
            Event::Settled { step, by, found } => {
                let settled = Settled { by: by.clone(), found: found.clone() };
                open.iter_mut().filter(|action| action.step == *step).for_each(|action| action.settled = Some(settled.clone()));
            }
            Event::ActionFinished { step, .. } => open.retain(|action| action.step != *step),
            _ => {}
        }
    }
    open
}

/// A run that repeats another says so in one of so many first lines.
const FIRST: usize = 8;

/// The log of one step of a run.
pub fn step_log(store: &mut dyn Store, part: &str, step: &str) -> Result<String, Vec<Diagnostic>> {
    let row = find(store, part)?;
    let beginning = store.journal(&row.id, 0, FIRST).map_err(|e| trouble(&e))?;
    let records = past::records(store, &row.id, &beginning).map_err(|e| trouble(&e))?;
    let fits = |record: &&ActionRecord| record.made.step == step || record.made.step.rsplit('/').next() == Some(step);
    let Some(record) = records.iter().find(fits) else {
        let steps: Vec<&str> = records.iter().map(|record| record.made.step.as_str()).collect();
        let complaint = Diagnostic::yours(format!("run {} has no finished step `{step}`", row.id.short()));
        return Err(vec![complaint.help(format!("its steps are {}", steps.join(", ")))]);
    };
    let Some(log) = record.log else { return Ok(String::new()) };
    let bytes = store.blob(&log).map_err(|e| trouble(&e))?;
    Ok(bytes.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_else(|| "(the log was dropped by gc)".to_owned()))
}
