//! What was meant by a name that a query did not find: the nearest one that is known, or what makes it known.
//!
//! Names are known from the store and from the definitions that can be read: a broken one gives no help, and what was taken out of a file is still in the
//! store.

use std::collections::{BTreeMap, BTreeSet};

use crate::exec::engine::Planner as _;
use crate::lang::template::{Ref, Root};
use crate::name::{ResourceName, ResourcePattern, nearest};
use crate::ops::planner::find;
use crate::ops::query::known::Known;
use crate::source::Diagnostic;

/// So many known names are listed; where there are more, `pmx ls` is named.
const LISTED: usize = 10;

impl Known<'_> {
    /// Complains about a definition or spec that nobody knows where absence is tolerated: there nothing else would.
    pub fn name_what_is_tolerated(&self, refs: &[Ref]) -> Result<(), Vec<Diagnostic>> {
        let unknown = |reference: &Ref| match &*reference.root {
            Root::Resource { def, spec, .. } if reference.optional => Some(self.unknown(def, spec)?.at(&reference.span, "")),
            _ => None,
        };
        let complaints: Vec<Diagnostic> = refs.iter().filter_map(unknown).collect();
        if complaints.is_empty() { Ok(()) } else { Err(complaints) }
    }

    /// What is wrong with a definition or spec that is neither in the store nor in a definition's file.
    fn unknown(&self, def: &str, spec: &str) -> Option<Diagnostic> {
        let (names, planner) = self.everything();
        let project = planner.as_ref().map(|planner| &planner.project.definitions);
        let defs: BTreeSet<&str> =
            names.iter().map(|name| name.def.as_str()).chain(project.into_iter().flat_map(BTreeMap::keys).map(String::as_str)).collect();
        if !defs.contains(def) {
            return Some(meant(Diagnostic::yours(format!("there is no definition `{def}`")), def, &defs));
        }
        let kind = project.and_then(|project| find(&project.get(def)?.kind.value));
        let rows = kind.into_iter().flat_map(|kind| kind.specs).map(|row| row.name);
        let specs: BTreeSet<&str> = names.iter().filter(|name| name.def == def).map(|name| name.spec.as_str()).chain(rows).collect();
        (!specs.contains(spec)).then(|| meant(Diagnostic::yours(format!("`{def}` writes no `{spec}`")), spec, &specs))
    }

    /// A complaint with what was meant, or what to do, where it is about something that is not there.
    pub fn told(&self, complaint: Diagnostic) -> Diagnostic {
        let missing = self.missing.borrow();
        let Some(wanted) = missing.iter().find(|wanted| self.absence(wanted) == complaint.message) else { return complaint };
        match self.unknown(&wanted.def, &wanted.spec) {
            Some(unknown) => Diagnostic { at: complaint.at, ..unknown },
            None => complaint.help(self.instead(wanted)),
        }
    }

    /// What to do about instances that are not there.
    fn instead(&self, wanted: &ResourcePattern) -> String {
        let ResourcePattern { def, spec, instance } = wanted;
        let (names, planner) = self.everything();
        let of_spec = names.iter().filter(|name| name.def == *def && name.spec == *spec).map(|name| name.instance.as_str());
        let known: Vec<&str> = of_spec.collect();
        match (instance, self.then) {
            (Some(instance), Some(_)) if known.contains(&instance.as_str()) => {
                return format!("`pmx log {wanted}` tells since when there is one");
            }
            (None, Some(_)) if !known.is_empty() => return "`pmx log` tells since when there is one".to_owned(),
            _ => {}
        }
        if let Some(near) = instance.as_ref().and_then(|instance| nearest(instance, known.iter().copied())) {
            return format!("did you mean `{near}`?");
        }
        let known = match known.len() {
            0 => None,
            1..=LISTED => Some(format!("known are {}", known.join(", "))),
            _ => Some(format!("`pmx ls {def}/{spec}/` lists those that there are")),
        };
        let name = ResourceName::new(def, spec, instance.as_deref().unwrap_or("NAME"));
        let row = self.spec(def, spec);
        let all = row.and_then(|row| row.observer?.all).filter(|_| instance.is_none());
        let read = match (all, row.and(planner.as_ref())) {
            (Some(all), _) => Some(format!("`pmx build {def}.{all}` reads them")),
            (None, Some(planner)) => Some(planner.how_to_read(&name)),
            (None, None) => None,
        };
        known.into_iter().chain(read).collect::<Vec<_>>().join("; ")
    }
}

/// The complaint with the nearest known name, or with those there are.
fn meant(complaint: Diagnostic, given: &str, known: &BTreeSet<&str>) -> Diagnostic {
    if nearest(given, known.iter().copied()).is_some() {
        complaint.did_you_mean(given, known.iter().copied())
    } else if known.is_empty() {
        complaint
    } else {
        let listed: Vec<&str> = known.iter().take(3 * LISTED).copied().collect();
        complaint.help(format!("known are {}", listed.join(", ")))
    }
}
