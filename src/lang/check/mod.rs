//! Checking a whole project before anything runs: names, types, secrets, cycles.

mod bot;
mod cycles;
mod definitions;
mod fits;
mod infer;
mod names;
mod operators;
mod profiles;
mod repeats;
mod scene;
mod template;
mod workflows;

#[cfg(test)]
mod fixture;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use crate::lang::Project;
use crate::lang::project::sort;
use crate::lang::types::Object;
use crate::source::Diagnostic;

/// What the types of the registry look like, as plain data.
#[derive(Clone, Debug, Default)]
pub struct Schemas {
    /// By name, `proxmox/vm`.
    pub types: BTreeMap<String, TypeSchema>,
}

/// What one type looks like.
#[derive(Clone, Debug, Default)]
pub struct TypeSchema {
    /// Global arguments.
    pub globals: Object,
    /// Methods by name.
    pub methods: BTreeMap<String, MethodSchema>,
    /// The attributes of what it writes, by spec.
    pub specs: BTreeMap<String, Object>,
    /// The instances of each spec whose names the type decides: `node` of `node`; `code`, `binary` and `secrets` of `repo`.
    pub singles: BTreeMap<String, BTreeSet<String>>,
}

/// What one method looks like.
#[derive(Clone, Debug, Default)]
pub struct MethodSchema {
    /// Its arguments.
    pub arguments: Object,
    /// Whether it only looks: `fresh` makes sense for such methods alone.
    pub observes: bool,
}

/// Most complaints of one check.
const MOST: usize = 500;

/// Everything that is wrong with the project, sorted by file and place. Expects a project that was parsed without errors; otherwise echoes of those
/// errors may be among the complaints.
pub fn check(project: &Project, schemas: &Schemas) -> Vec<Diagnostic> {
    let mut checker = Checker { project, schemas, complaints: Vec::new(), seen: BTreeSet::new() };
    definitions::check(&mut checker);
    profiles::check(&mut checker);
    workflows::check(&mut checker);
    cycles::check(&mut checker);
    repeats::check(&mut checker);
    bot::check(&mut checker);
    names::check(&mut checker);
    let mut complaints = checker.complaints;
    sort(&mut complaints);
    complaints
}

/// A check in progress.
struct Checker<'p> {
    project: &'p Project,
    schemas: &'p Schemas,
    complaints: Vec<Diagnostic>,
    /// What was said already: a definition's expressions are looked at once for each step that calls it.
    seen: BTreeSet<String>,
}

impl<'p> Checker<'p> {
    /// Notes a complaint, once.
    fn complain(&mut self, complaint: Diagnostic) {
        if self.complaints.len() < MOST && self.seen.insert(complaint.to_string()) {
            self.complaints.push(complaint);
        }
    }

    /// The schema of a definition's type; `None` when either is unknown, which is said elsewhere.
    fn schema(&self, def: &str) -> Option<&'p TypeSchema> {
        let definition = self.project.definitions.get(def)?;
        self.schemas.types.get(&definition.kind.value)
    }
}

/// A complaint about an unknown name: the nearest known one, or all of them.
fn unknown<'n>(complaint: Diagnostic, given: &str, known: impl IntoIterator<Item = &'n String>) -> Diagnostic {
    let known: Vec<&str> = known.into_iter().map(String::as_str).collect();
    if crate::name::nearest(given, known.iter().copied()).is_some() {
        complaint.did_you_mean(given, known.iter().copied())
    } else if known.is_empty() {
        complaint
    } else {
        let listed: Vec<&str> = known.iter().take(30).copied().collect();
        complaint.help(format!("known are {}", listed.join(", ")))
    }
}
