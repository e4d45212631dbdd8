//! The planner of a run: answers the runner's questions from the project's files.

use std::sync::Arc;
use std::time::Duration;

use crate::exec::engine::Planner;
use crate::lang::Project;
use crate::lang::pmxfile::Profile;
use crate::model::contract::{Failure, SpecRow, TypeRow};
use crate::model::registry;
use crate::name::ResourceName;
use crate::ops::recipe;
use crate::plan::graph::{Action, Graph};
use crate::plan::{Target, lower, spend};
use crate::secret::Sealer;
use crate::source::Diagnostic;
use crate::store::Store;
use crate::store::words::RunRow;
use crate::value::Map;

/// The registered type of that name.
pub fn find(name: &str) -> Option<&'static TypeRow> {
    registry::find(name).ok()
}

/// A project under a profile.
#[derive(Clone)]
pub struct ProjectPlanner {
    /// The project.
    pub project: Arc<Project>,
    /// The profile's overrides.
    pub profile: Option<Profile>,
}

impl ProjectPlanner {
    /// The graph of these targets, and a planner for while it runs, which knows the definitions alone: all that workflows say is in the graph by then, and
    /// may be much.
    pub fn plan(
        project: Arc<Project>,
        profile: Option<Profile>,
        targets: &[Target],
        inputs: &Map,
    ) -> Result<(Self, Graph), Vec<Diagnostic>> {
        let mut project = Arc::unwrap_or_clone(project);
        let graph = spend(&mut project, &find, profile.as_ref(), targets, inputs)?;
        Ok((Self { project: Arc::new(project), profile }, graph.connect()))
    }

    fn spec(&self, name: &ResourceName) -> Option<(&'static TypeRow, &'static SpecRow)> {
        let row = find(&self.project.definitions.get(&name.def)?.kind.value)?;
        Some((row, row.spec(&name.spec)?))
    }
}

impl Planner for ProjectPlanner {
    fn observe(&self, name: &ResourceName) -> Result<Vec<Arc<Action>>, Failure> {
        let target = Target::Resource(name.clone().into());
        let graph = lower(&self.project, &find, self.profile.as_ref(), &[target], &Map::new());
        let graph = graph.map_err(|complaints| {
            let first = complaints.first().map(ToString::to_string).unwrap_or_default();
            Failure::yours(format!("{name} cannot be observed: {first}"))
        })?;
        Ok(graph.actions)
    }

    fn trust(&self, name: &ResourceName) -> Option<Duration> {
        self.spec(name)?.1.trust
    }

    fn observable(&self, name: &ResourceName) -> bool {
        self.spec(name).is_some_and(|(_, spec)| spec.observer.is_some())
    }

    fn how_to_read(&self, name: &ResourceName) -> String {
        match self.spec(name) {
            Some((_, spec)) if spec.observer.is_some() => format!("`pmx build {name}` reads it"),
            Some((row, spec)) => {
                let writers = row.methods.iter().filter(|method| method.writes.iter().any(|writes| writes.spec == spec.name));
                let calls = writers.map(|method| format!("{}.{}", name.def, method.name)).collect::<Vec<_>>();
                format!("it is written by {}", calls.join(", "))
            }
            None => format!("`pmx describe {}` lists what it writes", name.def),
        }
    }

    fn remake(&self, store: &mut dyn Store, run: &RunRow, sealer: &dyn Sealer) -> Result<Graph, String> {
        recipe::remake(store, run, sealer).map(|(_, remade)| remade.graph).map_err(|error| error.to_string())
    }
}
