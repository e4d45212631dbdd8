//! Cancelling: a run is asked to stop through the store, in whichever process, of whichever user, it lives.

use serde::Serialize;

use crate::event::{Ending, RunState, Stamped};
use crate::exec::past;
use crate::name::{Actor, RunId};
use crate::ops::history::trouble;
use crate::ops::runs::{self, ActionStory, Unfinished};
use crate::source::{Diagnostic, Fault, Severity};
use crate::store::Store;
use crate::store::words::{Cancel, RunRow};

/// What became of asking.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asked {
    /// The run hears it.
    Heard {
        /// The run.
        row: Box<RunRow>,
        /// Whether what runs is cancelled too: asked for, or because it was asked before.
        now: bool,
    },
    /// It had ended already.
    Over(Box<RunRow>),
}

/// How a run stands that was asked to stop.
#[derive(Clone, Debug, Serialize)]
pub struct Look {
    /// The run.
    pub run: RunId,
    /// Its state.
    pub state: RunState,
    /// What still runs in it.
    pub running: Vec<Unfinished>,
    /// What was cancelled in it.
    pub cancelled: Vec<ActionStory>,
}

/// Asks the run that `part` names to stop. A run that is dead hears nothing: that is refused.
pub fn ask(store: &mut dyn Store, part: &str, by: &Actor, now: bool) -> Result<Asked, Vec<Diagnostic>> {
    let row = runs::find(store, part)?;
    match row.state {
        RunState::Running => {}
        RunState::Interrupted => return Err(dead(&row)),
        RunState::Succeeded | RunState::Failed | RunState::Cancelled => return Ok(Asked::Over(Box::new(row))),
    }
    // Whoever asks a second time means it.
    let before = store.cancel_asked(&row.id).map_err(|e| trouble(&e))?;
    let now = now || before.is_some();
    if store.ask_cancel(&row.id, &Cancel { by: by.clone(), now }).map_err(|e| trouble(&e))? {
        return Ok(Asked::Heard { row: Box::new(row), now });
    }
    // It ended, or died, in between.
    let row = runs::find(store, row.id.as_str())?;
    if row.state == RunState::Interrupted { Err(dead(&row)) } else { Ok(Asked::Over(Box::new(row))) }
}

fn dead(row: &RunRow) -> Vec<Diagnostic> {
    let short = row.id.short();
    let message = format!("run {short} is dead already: its process ended without an ending, so nobody hears a cancel");
    let help = format!("`pmx run {short}` says what it had begun; `pmx build --resume {short}` goes on with it");
    vec![Diagnostic::new(Severity::Error, Fault::Refused, message).help(help)]
}

/// How the run stands now.
pub fn look(store: &mut dyn Store, run: &RunId) -> Result<Look, Vec<Diagnostic>> {
    let row = runs::find(store, run.as_str())?;
    if row.state == RunState::Running {
        let journal: Vec<Stamped> = past::journal(store, run).map_err(|e| trouble(&e))?;
        return Ok(Look { run: row.id, state: row.state, running: runs::unfinished(&journal), cancelled: Vec::new() });
    }
    let story = runs::story(store, run.as_str())?;
    let cancelled = story.actions.into_iter().filter(|action| action.ending == Ending::Cancelled).collect();
    Ok(Look { run: story.row.id, state: story.row.state, running: story.unfinished, cancelled })
}
