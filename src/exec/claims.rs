//! Claims: what the effects of a run need leases for, and who uses each last.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::name::{Place, ResourcePattern};
use crate::plan::ANY_FILE;
use crate::plan::graph::{Action, ActionId};
use crate::store::lease::{Change, Claim, Spot};

/// The claims of one run, with the actions that still need each.
#[derive(Debug, Default)]
pub struct Claims {
    claims: Vec<Claim>,
    /// How many actions need each claim, by number.
    users: Vec<u32>,
    /// The claims that each action needs, by number; an action that has ended has none.
    needs: BTreeMap<ActionId, Vec<u32>>,
    known: BTreeMap<Spot, u32>,
    /// What the next transaction of the run says about them.
    next: Change,
}

impl Claims {
    /// What the effects among `actions` need. Possible writers and `always` steps count: what may be done must be allowed beforehand.
    pub fn of(actions: &[Arc<Action>]) -> Self {
        let mut claims = Self::default();
        for action in actions.iter().filter(|action| action.call.method.effect.acts()) {
            let mut needs: Vec<u32> = spots(action).into_iter().map(|(spot, shared)| claims.claim(spot, shared, &action.step)).collect();
            needs.sort_unstable();
            needs.dedup();
            needs.iter().for_each(|number| claims.users[*number as usize] += 1);
            claims.needs.insert(action.id, needs);
        }
        claims
    }

    fn claim(&mut self, spot: Spot, shared: bool, step: &str) -> u32 {
        if let Some(number) = self.known.get(&spot) {
            self.claims[*number as usize].shared &= shared;
            return *number;
        }
        let number = u32::try_from(self.claims.len()).unwrap_or(u32::MAX);
        self.known.insert(spot.clone(), number);
        self.claims.push(Claim { number, spot, shared, step: step.to_owned() });
        self.users.push(0);
        number
    }

    /// The claims that somebody still needs.
    pub fn needed(&self) -> Vec<Claim> {
        self.claims.iter().filter(|claim| self.users[claim.number as usize] > 0).cloned().collect()
    }

    /// An effect begins: others are to learn which step uses what they wait for.
    pub fn begun(&mut self, id: ActionId, step: &str) {
        let needs = self.needs.get(&id).into_iter().flatten();
        self.next.used.extend(needs.map(|number| (*number, step.to_owned())));
    }

    /// A loop became `children`: each of them may need whatever the loop did.
    pub fn adopt(&mut self, parent: ActionId, children: &[ActionId]) {
        let Some(needs) = self.needs.get(&parent).cloned() else { return };
        for child in children {
            needs.iter().for_each(|number| self.users[*number as usize] += 1);
            self.needs.insert(*child, needs.clone());
        }
    }

    /// An action needs nothing any more; what nobody needs from now on is given back. Returns what it needed, for [`Claims::revive`].
    pub fn ended(&mut self, id: ActionId) -> Vec<u32> {
        let needed = self.needs.remove(&id).unwrap_or_default();
        for number in &needed {
            let users = &mut self.users[*number as usize];
            *users = users.saturating_sub(1);
            if *users == 0 {
                self.next.released.push(*number);
            }
        }
        needed
    }

    /// The end of an action could not be stored: it needs these claims still.
    pub fn revive(&mut self, id: ActionId, needed: Vec<u32>) {
        needed.iter().for_each(|number| self.users[*number as usize] += 1);
        let Self { next, users, .. } = self;
        next.released.retain(|number| users[*number as usize] == 0);
        self.needs.insert(id, needed);
    }

    /// Whether something waits for a transaction in which it is given back.
    pub fn spent(&self) -> bool {
        !self.next.released.is_empty()
    }

    /// Takes what the next transaction says.
    pub fn take_change(&mut self) -> Change {
        std::mem::take(&mut self.next)
    }

    /// That transaction failed: the one after it says it.
    pub fn put_back(&mut self, change: Change) {
        self.next.used.splice(0..0, change.used);
        self.next.released.extend(change.released);
    }
}

/// What an effect needs, and whether it can share that.
fn spots(action: &Action) -> Vec<(Spot, bool)> {
    let touch = &action.touch;
    let written = touch.writes.iter().map(|write| (resource("resource", &write.resource), false));
    let acted = touch.places.iter().map(|used| (place(&used.place), used.shared));
    let read = touch.reads.iter().filter(|read| !read.credential).map(|read| (resource("resource", &read.resource), true));
    written.chain(acted).chain(read).collect()
}

fn resource(kind: &str, pattern: &ResourcePattern) -> Spot {
    Spot { group: format!("{kind} {}/{}", pattern.def, pattern.spec), member: pattern.instance.clone() }
}

fn place(place: &Place) -> Spot {
    match place {
        Place::Machine(pattern) => resource("machine", pattern),
        Place::Host(name) => Spot { group: format!("host {name}"), member: None },
        Place::File(host, path) => Spot { group: format!("file {host}"), member: (path != ANY_FILE).then(|| path.clone()) },
    }
}
