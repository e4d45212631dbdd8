//! Phases: at each spot (a resource, a place), the actions that may run beside each other, and what the next one must wait for.
//!
//! The actions of one phase do not disturb each other; each waits for the whole phase before it. So whoever enters needs edges from one phase only:
//! everything earlier is implied by a path.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::slice;

/// How an action uses a spot. Uses of different classes never share a phase.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    /// Alone: writers, exclusive effects.
    Alone,
    /// Beside others of its kind: shared effects.
    Shared,
    /// Only looks: readers, Observes.
    Look,
}

/// The actions of a phase; most have one.
#[derive(Clone)]
enum Members {
    One(u32),
    Many(Rc<Vec<u32>>),
}

impl Members {
    fn none() -> Self {
        Self::Many(Rc::default())
    }

    fn ids(&self) -> &[u32] {
        match self {
            Self::One(id) => slice::from_ref(id),
            Self::Many(ids) => ids,
        }
    }

    fn push(&mut self, id: u32) {
        match self {
            Self::One(first) => *self = Self::Many(Rc::new(vec![*first, id])),
            Self::Many(ids) => Rc::make_mut(ids).push(id),
        }
    }
}

/// One spot's last two phases.
#[derive(Clone)]
struct Phases {
    class: Class,
    now: Members,
    before: Members,
    before_class: Class,
}

impl Default for Phases {
    fn default() -> Self {
        Self { class: Class::Look, now: Members::none(), before: Members::none(), before_class: Class::Look }
    }
}

impl Phases {
    fn enter(&mut self, class: Class, id: u32) {
        let alone_already = class == Class::Alone && self.class == Class::Alone && self.now.ids() == [id];
        if alone_already || (class != Class::Alone && class == self.class && self.now.ids().last() == Some(&id)) {
            return;
        }
        if class == Class::Alone || class != self.class {
            self.before = std::mem::replace(&mut self.now, Members::One(id));
            self.before_class = std::mem::replace(&mut self.class, class);
        } else {
            self.now.push(id);
        }
    }
}

/// The phases of all spots.
#[derive(Default)]
pub(super) struct Tracks {
    groups: BTreeMap<String, Group>,
    /// Steps of work so far: what a growth test counts.
    pub work: u64,
}

#[derive(Default)]
struct Group {
    /// Members that nobody has named alone yet.
    rest: Phases,
    one: BTreeMap<String, Phases>,
}

/// One action to wait for: its id, how it used the spot, and the member where both met, unless both names were open.
pub(super) type Met<'m> = (u32, Class, Option<&'m str>);

impl Tracks {
    /// Action `id` uses the spot; `met` is called with every action that it must wait for. Ids never fall.
    pub fn enter(&mut self, (group, member): (String, Option<&str>), class: Class, id: u32, met: &mut dyn FnMut(Met<'_>)) {
        let group = self.groups.entry(group).or_default();
        let mut work = 0;
        let mut report = |phases: &Phases, member: Option<&str>| {
            work += 1 + phases.before.ids().len() as u64;
            phases.before.ids().iter().filter(|from| **from != id).for_each(|from| met((*from, phases.before_class, member)));
        };
        match member {
            Some(member) => {
                if !group.one.contains_key(member) {
                    group.one.insert(member.to_owned(), group.rest.clone());
                }
                if let Some(phases) = group.one.get_mut(member) {
                    phases.enter(class, id);
                    report(phases, Some(member));
                }
            }
            None => {
                for (member, phases) in &mut group.one {
                    phases.enter(class, id);
                    report(phases, Some(member));
                }
                group.rest.enter(class, id);
                report(&group.rest, None);
                if class == Class::Alone {
                    // Every member now stands as the rest does.
                    group.one.clear();
                }
            }
        }
        self.work += work;
    }
}
