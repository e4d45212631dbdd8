//! The queue: which ready action starts next, under the limits of the run and of each host.

use std::collections::{BTreeMap, BTreeSet};

use crate::plan::graph::ActionId;

/// Ready actions by host. Every operation costs the logarithm of what waits: a run may have 100,000 ready actions on one host.
#[derive(Debug)]
pub struct Queue {
    jobs: usize,
    per_host: usize,
    running: usize,
    index: BTreeMap<String, usize>,
    lines: Vec<Line>,
    /// The lowest waiting id of each host that has a free slot.
    heads: BTreeSet<(ActionId, usize)>,
    /// The host of each running action, until it has left it.
    slots: BTreeMap<ActionId, Option<usize>>,
}

#[derive(Debug, Default)]
struct Line {
    waiting: BTreeSet<ActionId>,
    running: usize,
}

impl Queue {
    /// An empty queue; a limit of 0 counts as 1, because nothing would ever start.
    pub fn new(jobs: usize, per_host: usize) -> Self {
        let (index, lines, heads, slots) = (BTreeMap::new(), Vec::new(), BTreeSet::new(), BTreeMap::new());
        Self { jobs: jobs.max(1), per_host: per_host.max(1), running: 0, index, lines, heads, slots }
    }

    /// Adds a ready action that acts through `host`.
    pub fn push(&mut self, id: ActionId, host: String) {
        let next = self.lines.len();
        let line = *self.index.entry(host).or_insert(next);
        if line == next {
            self.lines.push(Line::default());
        }
        self.change(line, |line| {
            line.waiting.insert(id);
        });
    }

    /// Takes the lowest id that may start; it holds its host's slot until [`Queue::leave`], the run's until [`Queue::done`].
    pub fn pop(&mut self) -> Option<ActionId> {
        if self.running >= self.jobs {
            return None;
        }
        let (id, line) = self.heads.first().copied()?;
        self.change(line, |line| {
            line.waiting.remove(&id);
            line.running += 1;
        });
        self.slots.insert(id, Some(line));
        self.running += 1;
        Some(id)
    }

    /// Gives the host's slot of an action back: its method is over there, though its end is not stored yet.
    pub fn leave(&mut self, id: ActionId) {
        if let Some(line) = self.slots.get_mut(&id).and_then(Option::take) {
            self.change(line, |line| line.running -= 1);
        }
    }

    /// Gives back what an action still holds.
    pub fn done(&mut self, id: ActionId) {
        self.leave(id);
        if self.slots.remove(&id).is_some() {
            self.running -= 1;
        }
    }

    /// Takes out everything that waits, lowest id first.
    pub fn drain(&mut self) -> Vec<(ActionId, String)> {
        let mut all = Vec::new();
        for (host, line) in &self.index {
            all.extend(std::mem::take(&mut self.lines[*line].waiting).into_iter().map(|id| (id, host.clone())));
        }
        self.heads.clear();
        all.sort();
        all
    }

    /// The one function that changes a line; keeps the heads true.
    fn change(&mut self, index: usize, change: impl FnOnce(&mut Line)) {
        let line = &mut self.lines[index];
        if let Some(first) = line.waiting.first() {
            self.heads.remove(&(*first, index));
        }
        change(line);
        if let Some(first) = line.waiting.first().filter(|_| line.running < self.per_host) {
            self.heads.insert((*first, index));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pops(queue: &mut Queue) -> Vec<u32> {
        std::iter::from_fn(|| queue.pop()).map(|id| id.0).collect()
    }

    #[test]
    fn the_lowest_id_goes_first_and_both_limits_hold() {
        let mut queue = Queue::new(3, 2);
        for (id, host) in [(5, "a"), (1, "a"), (3, "a"), (4, "b"), (9, "b")] {
            queue.push(ActionId(id), host.to_owned());
        }
        assert_eq!(pops(&mut queue), [1, 3, 4], "two of a, and no more than three in all");
        queue.done(ActionId(4));
        assert_eq!(pops(&mut queue), [9], "a is full, though 5 is lower");
        queue.done(ActionId(1));
        assert_eq!(pops(&mut queue), [5]);
        queue.done(ActionId(1));
        assert_eq!(pops(&mut queue), [0; 0], "a slot is given back once");
    }

    #[test]
    fn who_has_left_the_host_still_counts_for_the_run() {
        let mut queue = Queue::new(2, 1);
        for id in [1, 2, 3] {
            queue.push(ActionId(id), "a".to_owned());
        }
        assert_eq!(pops(&mut queue), [1]);
        queue.leave(ActionId(1));
        queue.leave(ActionId(1));
        assert_eq!(pops(&mut queue), [2], "the host is free once");
        queue.leave(ActionId(2));
        assert_eq!(pops(&mut queue), [0; 0], "the run has two already");
        queue.done(ActionId(1));
        assert_eq!(pops(&mut queue), [3]);
        queue.done(ActionId(2));
        assert_eq!(pops(&mut queue), [0; 0], "who has left gives the host back no second time");
    }

    #[test]
    fn what_is_drained_may_be_pushed_again() {
        let mut queue = Queue::new(1, 1);
        for (id, host) in [(2, "b"), (1, "a"), (3, "a")] {
            queue.push(ActionId(id), host.to_owned());
        }
        assert_eq!(pops(&mut queue), [1]);
        let drained = queue.drain();
        assert_eq!(drained, [(ActionId(2), "b".to_owned()), (ActionId(3), "a".to_owned())]);
        queue.done(ActionId(1));
        assert_eq!(pops(&mut queue), [0; 0]);
        for (id, host) in drained {
            queue.push(id, host);
        }
        assert_eq!(pops(&mut queue), [2]);
    }
}
