//! Edges: who waits for whom, and why. The four rules, each by index look-ups:
//!
//! - **value**: a reader waits for the last certain writer before it, and for every possible writer since that one; a reader of every instance
//!   for the writers of each.
//! - **order**: a writer waits for the readers since the last writer, or for that writer where nobody has read since.
//! - **place**: an effect waits for what was done and looked at there before it; shared effects go side by side, and so do Observes.
//! - **after**: as written.
//!
//! What a path implies is left out, except value edges: each names a reference.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::name::{Place, ResourcePattern};
use crate::plan::arrange::After;
use crate::plan::graph::{Action, ActionId, Conflict, Edge, PlaceUse};
use crate::plan::latest::{place_spot, resource_spot};
use crate::plan::phases::{Class, Tracks};
use crate::plan::reduce::Reducer;
use crate::plan::writers::Writers;

/// The edges among these actions, sorted by (to, from).
pub(super) fn connect(actions: &[Arc<Action>], after: &After) -> Vec<Edge> {
    connect_counted(actions, after).0
}

/// The edges, and how much work they were: what the growth test counts.
pub(super) fn connect_counted(actions: &[Arc<Action>], after: &After) -> (Vec<Edge>, u64) {
    let mut weaver = Weaver::default();
    let mut edges = Vec::new();
    for action in actions {
        let mut found = Found::default();
        weaver.values(action, &mut found);
        weaver.orders(action, &mut found);
        weaver.places(action, &mut found);
        weaver.afters(action, after, &mut found);
        edges.extend(weaver.reducer.keep(action.id, found.0));
    }
    let work = weaver.writers.work + weaver.resources.work + weaver.spots.work + weaver.reducer.work + weaver.sinks.work;
    (edges, work)
}

/// Conflicts of one action with earlier ones, by the earlier one.
#[derive(Default)]
struct Found(BTreeMap<ActionId, Vec<Conflict>>);

impl Found {
    fn add(&mut self, from: u32, why: Conflict) {
        let known = self.0.entry(ActionId(from)).or_default();
        if !known.contains(&why) {
            known.push(why);
        }
    }
}

#[derive(Default)]
struct Weaver {
    writers: Writers,
    resources: Tracks,
    spots: Tracks,
    sinks: Sinks,
    reducer: Reducer,
}

impl Weaver {
    /// Rule 1.
    fn values(&mut self, action: &Action, found: &mut Found) {
        for read in &action.touch.reads {
            self.writers.read(&read.resource, &mut |from, resource| {
                found.add(from, Conflict::Value { resource: Box::new(resource), reference: read.reference.clone() });
            });
        }
        for write in &action.touch.writes {
            self.writers.write(&write.resource, write.possible, action.id.0);
        }
    }

    /// Rule 2. Readers enter before writers, so that an action that reads what it writes does not wait for itself alone.
    fn orders(&mut self, action: &Action, found: &mut Found) {
        let id = action.id.0;
        for read in &action.touch.reads {
            // A reader's edges are value edges already.
            self.resources.enter(resource_spot(&read.resource), Class::Look, id, &mut |_| {});
        }
        for write in &action.touch.writes {
            self.resources.enter(resource_spot(&write.resource), Class::Alone, id, &mut |(from, class, member)| {
                let instance = member.map(str::to_owned).or_else(|| write.resource.instance.clone());
                let resource = Box::new(ResourcePattern { instance, ..write.resource.clone() });
                found.add(from, Conflict::Order { resource, both_write: class == Class::Alone });
            });
        }
    }

    /// Rule 3.
    fn places(&mut self, action: &Action, found: &mut Found) {
        if action.flow.options.unordered {
            return;
        }
        for used in &action.touch.places {
            self.spots.enter(place_spot(&used.place), class(action, used), action.id.0, &mut |(from, _, member)| {
                found.add(from, Conflict::Place(Box::new(narrow(&used.place, member))));
            });
        }
    }

    /// Rule 4: an edge from each member of the group that no other member waits behind, unless something that this action waits for waits for the
    /// group already.
    fn afters(&mut self, action: &Action, after: &After, found: &mut Found) {
        let Some(needs) = after.needs.get(action.id.index()) else { return };
        for (group, span) in needs {
            let passed_on = |from: &ActionId| after.needs[from.index()].iter().any(|(same, _)| same == group);
            if found.0.keys().any(passed_on) {
                continue;
            }
            let Some(members) = after.groups.get(*group) else { continue };
            for from in self.sinks.of(*group, members, &self.reducer) {
                found.add(from.0, Conflict::After(span.clone()));
            }
        }
    }
}

fn class(action: &Action, used: &PlaceUse) -> Class {
    match (action.call.method.effect.acts(), used.shared) {
        (false, _) => Class::Look,
        (true, true) => Class::Shared,
        (true, false) => Class::Alone,
    }
}

/// The place where two uses met.
fn narrow(place: &Place, member: Option<&str>) -> Place {
    match (place, member) {
        (Place::Machine(pattern), Some(member)) => Place::Machine(ResourcePattern { instance: Some(member.to_owned()), ..pattern.clone() }),
        (Place::File(host, _), Some(path)) => Place::File(host.clone(), path.to_owned()),
        _ => place.clone(),
    }
}

/// The last members of each group: those that no other member waits for.
#[derive(Default)]
struct Sinks {
    known: BTreeMap<usize, Vec<ActionId>>,
    work: u64,
}

impl Sinks {
    /// All members stand before whoever asks, so the answer is final.
    fn of(&mut self, group: usize, members: &[ActionId], reducer: &Reducer) -> Vec<ActionId> {
        if members.len() < 2 {
            self.work += 1;
            return members.to_vec();
        }
        if let Some(known) = self.known.get(&group) {
            self.work += known.len() as u64;
            return known.clone();
        }
        let mut sinks: std::collections::BTreeSet<ActionId> = members.iter().copied().collect();
        for member in members {
            self.work += 1;
            for from in reducer.before(*member) {
                sinks.remove(&ActionId(*from));
            }
        }
        let sinks: Vec<ActionId> = sinks.into_iter().collect();
        self.known.insert(group, sinks.clone());
        sinks
    }
}
