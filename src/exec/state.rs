//! The state of a run's actions: who waits for whom, who may start, and what a failure takes with it.

use std::collections::BTreeSet;

use crate::event::Ending;
use crate::plan::graph::ActionId;

/// One edge as the states see it: `to` waits for `from`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wait {
    /// The earlier action.
    pub from: ActionId,
    /// The later action.
    pub to: ActionId,
    /// Whether the later one cannot do without the value that the earlier one writes.
    pub needs: bool,
}

/// Where an action stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// Waits for so many predecessors.
    Waiting(usize),
    /// All predecessors have ended: it may start.
    Ready,
    /// It runs.
    Running,
    /// It ended so.
    Ended(Ending),
}

/// What an ended action means to those that wait for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Go on.
    Fine,
    /// It failed or was not reached: dependents do not run, for this reason.
    Broken(String),
    /// It failed, but its step is optional: only those that need its value do not run.
    OptionalBroken(String),
}

/// What an action needs to know of its predecessors when it becomes ready.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inherited {
    /// Why it must not run, from the first broken predecessor.
    pub broken: Option<String>,
    /// Whether only optional steps failed before it: an optional step that is skipped for this breaks no more than its own failure would.
    pub forgivable: bool,
    /// Whether a predecessor, or one of theirs, has begun an effect.
    pub effect_begun: bool,
}

/// The states of all actions; the only place that changes them.
#[derive(Debug, Default)]
pub struct States {
    states: Vec<State>,
    inherited: Vec<Inherited>,
    successors: Vec<Vec<(ActionId, bool)>>,
    ready: BTreeSet<ActionId>,
    open: usize,
}

impl States {
    /// All actions waiting, those without predecessors ready. `count` actions, edges from lower to higher ids.
    pub fn new(count: usize, edges: impl IntoIterator<Item = Wait>) -> Self {
        let mut states = Self::default();
        states.extend(count, edges);
        states
    }

    /// Adds `count` actions with `edges` among them.
    pub fn extend(&mut self, count: usize, edges: impl IntoIterator<Item = Wait>) {
        let first = self.states.len();
        self.states.resize(first + count, State::Waiting(0));
        self.inherited.resize(first + count, Inherited::default());
        self.successors.resize(first + count, Vec::new());
        self.open += count;
        for edge in edges {
            let known = &mut self.successors[edge.from.index()];
            match known.iter_mut().find(|(to, _)| *to == edge.to) {
                Some((_, needs)) => *needs |= edge.needs,
                None => {
                    known.push((edge.to, edge.needs));
                    if let State::Waiting(count) = &mut self.states[edge.to.index()] {
                        *count += 1;
                    }
                }
            }
        }
        for index in first..self.states.len() {
            if self.states[index] == State::Waiting(0) {
                self.set(ActionId(u32::try_from(index).unwrap_or(u32::MAX)), State::Ready);
            }
        }
    }

    /// The actions that became ready since the last call, lowest id first.
    pub fn take_ready(&mut self) -> BTreeSet<ActionId> {
        std::mem::take(&mut self.ready)
    }

    /// How many have not ended.
    pub const fn open(&self) -> usize {
        self.open
    }

    /// What an action inherits from its predecessors so far.
    pub fn inherited(&self, id: ActionId) -> &Inherited {
        &self.inherited[id.index()]
    }

    /// The action starts. Precondition: it is ready.
    pub fn start(&mut self, id: ActionId) {
        debug_assert_eq!(self.states[id.index()], State::Ready);
        self.set(id, State::Running);
    }

    /// The action ended; its successors learn what it means to them. `effect_begun`: it has touched the world, or tried to.
    pub fn end(&mut self, id: ActionId, ending: Ending, verdict: &Verdict, effect_begun: bool) {
        self.set(id, State::Ended(ending));
        self.open -= 1;
        let passed_on = effect_begun || self.inherited[id.index()].effect_begun;
        // A graph leaves out the edges that a path implies: what was broken before an `always` step stays broken for those behind it.
        let before = match &self.inherited[id.index()] {
            Inherited { broken: Some(reason), forgivable: false, .. } => Some(Verdict::Broken(reason.clone())),
            _ => None,
        };
        let verdict = before.as_ref().unwrap_or(verdict);
        for (to, needs) in std::mem::take(&mut self.successors[id.index()]) {
            let inherited = &mut self.inherited[to.index()];
            inherited.effect_begun |= passed_on;
            match verdict {
                Verdict::Broken(reason) if inherited.broken.is_none() || inherited.forgivable => {
                    (inherited.broken, inherited.forgivable) = (Some(reason.clone()), false);
                }
                Verdict::OptionalBroken(reason) if needs && inherited.broken.is_none() => {
                    (inherited.broken, inherited.forgivable) = (Some(reason.clone()), true);
                }
                _ => {}
            }
            if let State::Waiting(count) = &mut self.states[to.index()] {
                *count -= 1;
                if *count == 0 {
                    self.set(to, State::Ready);
                }
            }
        }
    }

    /// Makes the successors of `parent` wait for `children` as well. For a loop whose items became actions of their own; `parent` itself ends as usual.
    pub fn adopt(&mut self, parent: ActionId, children: &[ActionId]) {
        let successors = self.successors[parent.index()].clone();
        for child in children {
            let inherited = self.inherited[parent.index()].clone();
            self.inherited[child.index()] = inherited;
            for (successor, needs) in &successors {
                self.successors[child.index()].push((*successor, *needs));
                if let State::Waiting(count) = &mut self.states[successor.index()] {
                    *count += 1;
                }
            }
        }
    }

    /// The one function that changes a state; keeps the set of ready actions true.
    fn set(&mut self, id: ActionId, state: State) {
        if state == State::Ready {
            self.ready.insert(id);
        } else {
            self.ready.remove(&id);
        }
        self.states[id.index()] = state;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edge(from: u32, to: u32) -> Wait {
        Wait { from: ActionId(from), to: ActionId(to), needs: false }
    }

    fn ready(states: &mut States) -> Vec<u32> {
        states.take_ready().into_iter().map(|id| id.0).collect()
    }

    #[test]
    fn what_broke_before_an_always_step_stays_broken_behind_it() {
        let mut states = States::new(3, [edge(0, 1), edge(1, 2)]);
        states.start(ActionId(0));
        states.end(ActionId(0), Ending::Failed, &Verdict::Broken("create failed".into()), true);
        states.start(ActionId(1));
        states.end(ActionId(1), Ending::Done, &Verdict::Fine, true);
        assert_eq!(states.inherited(ActionId(2)).broken.as_deref(), Some("create failed"));
    }

    #[test]
    fn an_action_is_ready_the_moment_its_own_predecessors_ended() {
        // 0 → 2, 1 → 3: no barrier between "levels".
        let mut states = States::new(4, [edge(0, 2), edge(1, 3)]);
        assert_eq!(ready(&mut states), [0, 1]);
        states.start(ActionId(0));
        states.start(ActionId(1));
        states.end(ActionId(0), Ending::Done, &Verdict::Fine, false);
        assert_eq!(ready(&mut states), [2]);
    }

    #[test]
    fn failure_crosses_every_edge_and_optional_failure_only_values() {
        let mut states = States::new(4, [edge(0, 1), Wait { needs: true, ..edge(0, 2) }, edge(1, 3)]);
        states.start(ActionId(0));
        states.end(ActionId(0), Ending::Failed, &Verdict::OptionalBroken("it failed".into()), true);
        assert_eq!(states.inherited(ActionId(1)), &Inherited { effect_begun: true, ..Inherited::default() });
        assert_eq!(states.inherited(ActionId(2)), &Inherited { broken: Some("it failed".into()), forgivable: true, effect_begun: true });
        assert_eq!(ready(&mut states), [1, 2]);
        states.start(ActionId(1));
        states.end(ActionId(1), Ending::Failed, &Verdict::Broken("no".into()), false);
        assert_eq!(states.inherited(ActionId(3)).broken.as_deref(), Some("no"));
        assert_eq!(ready(&mut states), [3]);
        assert_eq!(states.open(), 2);
    }

    #[test]
    fn two_edges_between_a_pair_count_once() {
        let mut states = States::new(2, [edge(0, 1), edge(0, 1)]);
        states.start(ActionId(0));
        states.end(ActionId(0), Ending::Done, &Verdict::Fine, false);
        assert_eq!(ready(&mut states), [1]);
    }

    #[test]
    fn a_loop_hands_its_successors_to_its_items() {
        let mut states = States::new(2, [edge(0, 1)]);
        assert_eq!(ready(&mut states), [0]);
        states.start(ActionId(0));
        states.extend(2, []);
        states.adopt(ActionId(0), &[ActionId(2), ActionId(3)]);
        states.end(ActionId(0), Ending::Done, &Verdict::Fine, false);
        assert_eq!(ready(&mut states), [2, 3]);
        for id in [2, 3] {
            states.start(ActionId(id));
            states.end(ActionId(id), Ending::Done, &Verdict::Fine, true);
        }
        assert_eq!(ready(&mut states), [1]);
        assert!(states.inherited(ActionId(1)).effect_begun);
    }
}
