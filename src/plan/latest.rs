//! Indices by resource or place: who touched it last, where an open name (`fleet/vm/*`) meets every member of its group.

use std::collections::BTreeMap;

use crate::name::{Place, ResourcePattern};
use crate::plan::touch::ANY_FILE;

/// The group and member of a resource: `fleet/vm` and `calamity`; an open name has no member.
pub(super) fn resource_spot(pattern: &ResourcePattern) -> (String, Option<&str>) {
    ([&pattern.def, "/", &pattern.spec].concat(), pattern.instance.as_deref())
}

/// The group and member of a place. Places of different groups never overlap.
pub(super) fn place_spot(place: &Place) -> (String, Option<&str>) {
    match place {
        Place::Machine(pattern) => (["machine ", &pattern.def, "/", &pattern.spec].concat(), pattern.instance.as_deref()),
        Place::Host(name) => (format!("host {name}"), None),
        Place::File(host, path) => (format!("file {host}"), (path != ANY_FILE).then_some(path)),
    }
}

/// The latest action that touched each spot.
#[derive(Default)]
pub(super) struct Latest(BTreeMap<String, Group>);

#[derive(Default)]
struct Group {
    /// By any name.
    any: Option<u32>,
    /// By an open name.
    every: Option<u32>,
    one: BTreeMap<String, u32>,
}

impl Latest {
    /// Action `id` touched this spot; ids rise.
    pub fn note(&mut self, (group, member): (String, Option<&str>), id: u32) {
        let group = self.0.entry(group).or_default();
        group.any = Some(id);
        match member {
            Some(member) => {
                group.one.insert(member.to_owned(), id);
            }
            None => group.every = Some(id),
        }
    }

    /// The latest action whose touch overlaps this spot.
    pub fn overlapping(&self, (group, member): &(String, Option<&str>)) -> Option<u32> {
        let group = self.0.get(group)?;
        match member {
            Some(member) => group.one.get(*member).copied().max(group.every),
            None => group.any,
        }
    }

    /// The latest action whose touch covers this spot wholly.
    pub fn covering(&self, (group, member): &(String, Option<&str>)) -> Option<u32> {
        let group = self.0.get(group)?;
        member.and_then(|member| group.one.get(member).copied()).max(group.every)
    }
}
