//! The past of a run: what its journal says about each action, and so what is left to do.
//!
//! | journal | state | a resumed run |
//! |---|---|---|
//! | no start, no end | never | runs it |
//! | an end that leaves nothing | ended | keeps it |
//! | an end that leaves all | never | runs it |
//! | an end that leaves nobody knows what | in doubt | looks or asks |
//! | a start without an end | in doubt | looks or asks |
//!
//! The last start or end of a step counts. A run may be resumed more than once: an end without a start in the same life ends no doubt of an earlier one.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::event::{Ending, Event, Left, Stamped, Time};
use crate::name::RunId;
use crate::plan::expand;
use crate::plan::graph::{Action, Graph};
use crate::source::Diagnostic;
use crate::store::Store;
use crate::store::words::{ActionRecord, StoreError};
use crate::value::Value;

/// How an action stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Standing {
    /// It is still to be done, all of it.
    #[default]
    Never,
    /// Nothing is left to do.
    Ended {
        /// How it ended.
        ending: Ending,
        /// What it did.
        summary: String,
    },
    /// It began, and nobody knows whether it acted.
    Doubt {
        /// When it began.
        since: Time,
        /// Why nobody knows: how it ended, `None` when it did not.
        why: Option<String>,
    },
}

/// What the journal says of one step.
#[derive(Clone, Debug, Default)]
struct Step {
    standing: Standing,
    /// Whether it ever began.
    begun: bool,
    /// Whether it has not begun since the run was last resumed.
    earlier: bool,
    /// Remote tasks of all its tries.
    tasks: Vec<String>,
}

/// What a run did before its process died or it ended badly; empty for a new run.
#[derive(Clone, Debug, Default)]
pub struct Past {
    steps: BTreeMap<String, Step>,
    items: BTreeMap<String, Value>,
}

impl Past {
    /// Reads a journal from its beginning.
    pub fn read<'a>(journal: impl IntoIterator<Item = &'a Stamped>) -> Self {
        let mut past = Self::default();
        journal.into_iter().for_each(|line| past.take(line));
        past
    }

    /// The one function that changes what is known.
    fn take(&mut self, line: &Stamped) {
        match &line.event {
            Event::RunResumed { .. } => self.steps.values_mut().for_each(|known| known.earlier = true),
            Event::ActionStarted { step, .. } => {
                let known = self.steps.entry(step.clone()).or_default();
                (known.begun, known.earlier) = (true, false);
                known.standing = Standing::Doubt { since: line.at, why: None };
            }
            Event::Task { step, id } => {
                let known = self.steps.entry(step.clone()).or_default();
                if !known.tasks.contains(id) {
                    known.tasks.push(id.clone());
                }
            }
            Event::ActionFinished { step, ending, summary, left, .. } => {
                let known = self.steps.entry(step.clone()).or_default();
                let since = if let Standing::Doubt { since, .. } = known.standing { since } else { line.at };
                match left {
                    None => known.standing = Standing::Ended { ending: *ending, summary: summary.clone() },
                    Some(Left::Unclear) => known.standing = Standing::Doubt { since, why: Some(summary.clone()) },
                    // What was not tried in this life ends no doubt of an earlier one.
                    Some(Left::All) if known.earlier => {}
                    Some(Left::All) => known.standing = Standing::Never,
                }
            }
            Event::LoopExpanded { step, items } => drop(self.items.insert(step.clone(), items.clone())),
            _ => {}
        }
    }

    /// How an action stands.
    pub fn standing(&self, step: &str) -> &Standing {
        const NEVER: &Standing = &Standing::Never;
        self.steps.get(step).map_or(NEVER, |known| &known.standing)
    }

    /// Whether an action ever began.
    pub fn begun(&self, step: &str) -> bool {
        self.steps.get(step).is_some_and(|known| known.begun)
    }

    /// The remote tasks that an action had begun and that may still run, in their order.
    pub fn tasks(&self, step: &str) -> &[String] {
        let open = |known: &&Step| !matches!(known.standing, Standing::Ended { .. });
        self.steps.get(step).filter(open).map_or(&[], |known| &known.tasks)
    }

    /// The steps that began and of which nobody knows whether they acted, with the tasks that they had begun.
    pub fn doubts(&self) -> impl Iterator<Item = (&str, &[String])> {
        let in_doubt = self.steps.iter().filter(|(_, known)| matches!(known.standing, Standing::Doubt { .. }));
        in_doubt.map(|(step, known)| (step.as_str(), known.tasks.as_slice()))
    }

    /// The items that a loop became, if it did.
    pub fn items(&self, step: &str) -> Option<&Value> {
        self.items.get(step)
    }

    /// Every action of `graph`, a loop that became actions followed by those. Fails when the items do not fit the loop any more.
    pub fn actions(&self, graph: &Graph) -> Result<Vec<Arc<Action>>, Diagnostic> {
        let mut all = Vec::new();
        for action in &graph.actions {
            all.push(Arc::clone(action));
            if let (Some(_), Some(items)) = (&action.flow.loop_over, self.items(&action.step)) {
                all.extend(expand(action, items, &Arc::clone(&graph.variants))?.actions);
            }
        }
        Ok(all)
    }
}

/// Journal lines that are read at once.
const PAGE: usize = 5000;

/// The whole journal of a run; of one that repeats another with the ends of that one's actions.
pub fn journal(store: &mut dyn Store, run: &RunId) -> Result<Vec<Stamped>, StoreError> {
    let mut lines = own_journal(store, run)?;
    if let Some(of) = repeated(&lines) {
        let ended = |line: &Stamped| matches!(line.event, Event::ActionFinished { .. });
        let behind = lines.iter().position(|line| matches!(line.event, Event::RunRepeats { .. })).map_or(0, |at| at + 1);
        let ends: Vec<Stamped> = own_journal(store, &of)?.into_iter().filter(ended).collect();
        lines.splice(behind..behind, ends);
    }
    Ok(lines)
}

/// The run that the run of this journal repeats: its records tell what was found.
pub fn repeated(journal: &[Stamped]) -> Option<RunId> {
    journal.iter().find_map(|line| if let Event::RunRepeats { of } = &line.event { Some(of.clone()) } else { None })
}

/// The records of the run of this journal; of one that repeats another those of that one.
pub fn records(store: &mut dyn Store, run: &RunId, journal: &[Stamped]) -> Result<Vec<ActionRecord>, StoreError> {
    store.records(repeated(journal).as_ref().unwrap_or(run))
}

fn own_journal(store: &mut dyn Store, run: &RunId) -> Result<Vec<Stamped>, StoreError> {
    let mut lines: Vec<Stamped> = Vec::new();
    // Bounded by the journal: each page begins behind the one before.
    loop {
        let page = store.journal(run, lines.len() as u64, PAGE)?;
        let full = page.len() == PAGE;
        lines.extend(page);
        if !full {
            return Ok(lines);
        }
    }
}

#[cfg(test)]
#[path = "past_tests.rs"]
mod tests;
