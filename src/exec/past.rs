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
//! The last start or end of a step counts: a run may be resumed more than once.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::event::{Ending, Event, Left, Stamped, Time};
use crate::plan::expand;
use crate::plan::graph::{Action, Graph};
use crate::source::Diagnostic;
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
    /// Remote tasks of its last try.
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
            Event::ActionStarted { step, .. } => {
                let known = self.steps.entry(step.clone()).or_default();
                // A try that is called again for the sake of looking keeps the tasks of the one before: they may still run.
                let in_doubt = matches!(known.standing, Standing::Doubt { .. });
                let tasks = if in_doubt { std::mem::take(&mut known.tasks) } else { Vec::new() };
                *known = Step { standing: Standing::Doubt { since: line.at, why: None }, begun: true, tasks };
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
                known.standing = match left {
                    None => Standing::Ended { ending: *ending, summary: summary.clone() },
                    // A try that did not get to its start ends nothing that was in doubt before.
                    Some(Left::All) if matches!(known.standing, Standing::Doubt { why: Some(_), .. }) => known.standing.clone(),
                    Some(Left::All) => Standing::Never,
                    Some(Left::Unclear) => Standing::Doubt { since, why: Some(summary.clone()) },
                };
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

    /// The remote tasks that an action in doubt had begun, in their order.
    pub fn tasks(&self, step: &str) -> &[String] {
        let in_doubt = |known: &&Step| matches!(known.standing, Standing::Doubt { .. });
        self.steps.get(step).filter(in_doubt).map_or(&[], |known| &known.tasks)
    }

    /// The items that a loop became, if it did.
    pub fn items(&self, step: &str) -> Option<&Value> {
        self.items.get(step)
    }

    /// Every action of `graph`, a loop that became actions followed by those. Fails when the items do not fit the loop any more.
    pub fn actions(&self, graph: &Graph) -> Result<Vec<Action>, Diagnostic> {
        let mut all = Vec::new();
        for action in &graph.actions {
            all.push(action.clone());
            if let (Some(_), Some(items)) = (&action.flow.loop_over, self.items(&action.step)) {
                all.extend(expand(action, items, &Arc::clone(&graph.variants))?.actions);
            }
        }
        Ok(all)
    }
}

#[cfg(test)]
#[path = "past_tests.rs"]
mod tests;
