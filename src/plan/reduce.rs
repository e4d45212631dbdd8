//! Reduction: leaves out edges that a path implies, with bounded work per action, so that a large graph costs no more than its size.

use std::collections::{BTreeMap, BinaryHeap};
use std::ops::Range;

use crate::plan::graph::{ActionId, Conflict, Edge};

/// Edges looked at per action, beyond a few per edge of its own. Small graphs are reduced wholly; in large ones an edge whose path is longer than
/// this search may stay, which costs a look and changes no order.
const LOOKS: u64 = 512;

/// Takes the actions one by one in program order.
#[derive(Default)]
pub(super) struct Reducer {
    /// What the actions wait for after reduction, one after the other, and where each one's part ends.
    before: Vec<u32>,
    ends: Vec<usize>,
    /// The last action whose search came by here.
    stamp: Vec<u32>,
    /// Steps of work so far.
    pub work: u64,
}

impl Reducer {
    /// What an action that was taken waits for.
    pub fn before(&self, id: ActionId) -> &[u32] {
        self.before.get(part(&self.ends, id.index())).unwrap_or_default()
    }

    /// Takes the next action with its conflicts, and returns the edges that stay, sorted by where they come from.
    pub fn keep(&mut self, to: ActionId, conflicts: BTreeMap<ActionId, Vec<Conflict>>) -> Vec<Edge> {
        let implied = self.implied(to, &conflicts);
        let mut edges = Vec::new();
        for (from, whys) in conflicts {
            let has_value = whys.iter().any(is_value);
            if !has_value && implied.contains(&from.0) {
                continue;
            }
            self.before.push(from.0);
            // A value edge says all that an order, place or `after` between the same two would say.
            edges.extend(whys.into_iter().filter(|why| !has_value || is_value(why)).map(|why| Edge { from, to, why }));
        }
        self.ends.push(self.before.len());
        self.stamp.push(0);
        edges
    }

    /// Those of `conflicts` without a value that are reached from another one backwards, sorted.
    fn implied(&mut self, to: ActionId, conflicts: &BTreeMap<ActionId, Vec<Conflict>>) -> std::collections::BTreeSet<u32> {
        let mut implied = std::collections::BTreeSet::new();
        let candidates = conflicts.iter().filter(|(_, whys)| !whys.iter().any(is_value)).map(|(from, _)| from.0);
        let mut wanted: std::collections::BTreeSet<u32> = candidates.collect();
        let Some(lowest) = wanted.first().copied().filter(|_| conflicts.len() > 1) else { return implied };
        // The newest first: a path that implies an edge is mostly short.
        let mut open: BinaryHeap<u32> = conflicts.keys().map(|from| from.0).filter(|from| *from > lowest).collect();
        let mut looks = LOOKS + 4 * conflicts.len() as u64;
        while let Some(at) = open.pop() {
            for from in &self.before[part(&self.ends, at as usize)] {
                looks = looks.saturating_sub(1);
                self.work += 1;
                if *from < lowest || self.stamp[*from as usize] == to.0 {
                    continue;
                }
                self.stamp[*from as usize] = to.0;
                if wanted.remove(from) {
                    implied.insert(*from);
                }
                if *from > lowest {
                    open.push(*from);
                }
            }
            if wanted.is_empty() || looks == 0 {
                break;
            }
        }
        implied
    }
}

/// Where the part of an action lies; nowhere before it was taken.
fn part(ends: &[usize], at: usize) -> Range<usize> {
    let end = |at: usize| ends.get(at).copied();
    at.checked_sub(1).and_then(end).unwrap_or(0)..end(at).unwrap_or(0)
}

const fn is_value(why: &Conflict) -> bool {
    matches!(why, Conflict::Value { .. })
}
