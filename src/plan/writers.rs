//! Writers: whose values a reader may see.

use std::collections::BTreeMap;

use crate::name::ResourcePattern;
use crate::plan::latest::resource_spot;

/// The writers of every resource that still matter.
#[derive(Default)]
pub(super) struct Writers {
    specs: BTreeMap<String, Spec>,
    /// Steps of work so far.
    pub work: u64,
}

#[derive(Default)]
struct Spec {
    /// The last certain writer of every instance.
    every: Option<u32>,
    /// Possible writers of some unknown instance since then, rising.
    some: Vec<u32>,
    /// By instance, since the last certain writer of all.
    one: BTreeMap<String, One>,
}

#[derive(Default)]
struct One {
    certain: Option<u32>,
    /// Possible writers since then, rising.
    possible: Vec<u32>,
}

impl Writers {
    /// Calls `from` with each writer whose value a reader of `wanted` may see, and with the resource that both mean.
    pub fn read(&mut self, wanted: &ResourcePattern, from: &mut dyn FnMut(u32, ResourcePattern)) {
        let (group, member) = resource_spot(wanted);
        let Some(spec) = self.specs.get(&group) else { return };
        let mut found = 0;
        let mut tell = |writer: u32, member: Option<&str>| {
            found += 1;
            from(writer, ResourcePattern { instance: member.map(str::to_owned), ..wanted.clone() });
        };
        match member {
            Some(member) => {
                let one = spec.one.get(member);
                let certain = one.and_then(|one| one.certain).max(spec.every);
                certain.iter().for_each(|writer| tell(*writer, Some(member)));
                one.iter().flat_map(|one| &one.possible).for_each(|writer| tell(*writer, Some(member)));
                spec.some_since(certain).iter().for_each(|writer| tell(*writer, Some(member)));
            }
            None => {
                spec.every.iter().chain(&spec.some).for_each(|writer| tell(*writer, None));
                for (member, one) in &spec.one {
                    one.certain.iter().chain(&one.possible).for_each(|writer| tell(*writer, Some(member)));
                }
            }
        }
        self.work += 1 + found;
    }

    /// Action `id` writes this; ids rise.
    pub fn write(&mut self, written: &ResourcePattern, possible: bool, id: u32) {
        self.work += 1;
        let (group, member) = resource_spot(written);
        let spec = self.specs.entry(group).or_default();
        match (member, possible) {
            (Some(member), true) => spec.one.entry(member.to_owned()).or_default().possible.push(id),
            (Some(member), false) => {
                spec.one.insert(member.to_owned(), One { certain: Some(id), possible: Vec::new() });
            }
            (None, true) => spec.some.push(id),
            (None, false) => *spec = Spec { every: Some(id), ..Spec::default() },
        }
    }
}

impl Spec {
    fn some_since(&self, certain: Option<u32>) -> &[u32] {
        let first = certain.map_or(0, |certain| self.some.partition_point(|writer| *writer < certain));
        &self.some[first..]
    }
}
