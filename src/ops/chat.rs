//! Chat: what a front end that nobody sits at needs beside the use cases: the words of a run, the store's thread, and what a Pmxfile lets chat do.

use crate::event::Stamped;
use crate::model::contract::Effect;
use crate::model::registry;
use crate::name::{ResourcePattern, RunId};
use crate::ops::build;
use crate::ops::history;
use crate::ops::site::Site;
use crate::source::Diagnostic;
use crate::value::Value;

pub use crate::exec::engine::{Confirmer, Doubt, Question, Recall, Stop};
pub use crate::exec::keeper::Keeper;
pub use crate::lang::Project;
pub use crate::lang::steer::{Meaning, meaning};
pub use crate::secret::Sealer;
pub use crate::store::Store;
pub use crate::store::words::{AuditRow, RunRow, StoreError};
pub use crate::wire::clock::{Clock, SystemClock};

/// What an action's build would consist of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outline {
    /// Its steps, in program order.
    pub steps: Vec<String>,
    /// Whether it destroys something.
    pub destroys: bool,
}

/// Compiles what an action means. Pure but for reading the project's files.
pub fn outline(site: &Site, meaning: &Meaning) -> Result<Outline, Vec<Diagnostic>> {
    let (_, graph, _) = build::compile(site, &meaning.targets, &meaning.inputs)?;
    let destroys = graph.actions.iter().any(|action| action.call.method.effect == Effect::Destroy);
    Ok(Outline { steps: graph.actions.iter().map(|action| action.step.clone()).collect(), destroys })
}

/// The resources that a call writes, whatever it calls them; `None` for what is no call of the project.
pub fn written(project: &Project, call: &str) -> Option<ResourcePattern> {
    let (def, method) = call.split_once('.')?;
    let row = registry::find(&project.definitions.get(def)?.kind.value).ok()?.method(method)?;
    Some(ResourcePattern::all(def.to_owned(), row.writes.first()?.spec.to_owned()))
}

/// The attributes of the resource that was looked at last, among those that fit.
pub fn newest(store: &mut dyn Store, pattern: &ResourcePattern) -> Option<Value> {
    let version = store.heads(Some(pattern)).ok()?.into_iter().max_by_key(|version| version.made.at)?;
    history::outlined(store, version).ok().map(|shown| shown.attributes)
}

/// The whole journal of a run.
pub fn journal(store: &mut dyn Store, run: &RunId) -> Result<Vec<Stamped>, StoreError> {
    crate::exec::past::journal(store, run)
}
