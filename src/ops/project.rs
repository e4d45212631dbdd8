//! The project: all its files parsed, and checked against the types that exist.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::lang::check::{self, MethodSchema, Schemas, TypeSchema};
use crate::lang::{Project, project};
use crate::model::contract::{Effect, Instance, MethodRow, TypeRow};
use crate::model::registry;
use crate::model::schema::shared;
use crate::ops::planner::find;
use crate::ops::site::{self, Site};
use crate::plan::{Target, lower};
use crate::source::{Diagnostic, Severity};
use crate::value::Map;

/// A project that was read, with everything that is to be said about it.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The project, if it can be read at all.
    pub project: Option<Arc<Project>>,
    /// Complaints: errors first, then by place.
    pub complaints: Vec<Diagnostic>,
}

impl Loaded {
    /// The project, if nothing is wrong with it; else the complaints.
    pub fn sound(self) -> Result<Arc<Project>, Vec<Diagnostic>> {
        let broken = self.complaints.iter().any(|d| d.severity == Severity::Error);
        match self.project {
            Some(project) if !broken => Ok(project),
            _ => Err(self.complaints),
        }
    }
}

/// The files of the project at `site`.
pub fn sources(site: &Site) -> Result<project::Sources, Vec<Diagnostic>> {
    let one = |d| vec![d];
    Ok(project::Sources {
        pmxfile: Arc::clone(&site.pmxfile.source),
        definitions: site::read_all(&site.root, "definitions").map_err(one)?,
        workflows: site::read_all(&site.root, "workflows").map_err(one)?,
    })
}

/// Reads and checks all files of the project at `site`.
pub fn load(site: &Site) -> Result<Loaded, Vec<Diagnostic>> {
    Ok(read(&sources(site)?))
}

/// The same of files that lie ready.
pub fn read(sources: &project::Sources) -> Loaded {
    let (project, mut complaints) = project::parse(sources);
    if let Some(project) = &project {
        complaints.extend(check::check(project, &schemas(project)));
    }
    complaints.sort_by_key(|d| (d.severity, d.at.as_ref().map(|(span, _)| (span.source.name.clone(), span.start()))));
    Loaded { project: project.map(Arc::new), complaints }
}

/// Reads and checks all files, and compiles each workflow that needs no inputs, as a build would: circles of observers show only then.
pub fn check(site: &Site) -> Result<Loaded, Vec<Diagnostic>> {
    let mut loaded = load(site)?;
    let sound = loaded.complaints.iter().all(|d| d.severity != Severity::Error);
    let Some(project) = loaded.project.clone().filter(|_| sound) else { return Ok(loaded) };
    for (name, workflow) in &project.workflows {
        if workflow.inputs.values().any(|input| input.value.required && input.value.default.is_none()) {
            continue;
        }
        let compiled = lower(&project, &find, site.settings(), &[Target::Workflow(name.clone())], &Map::new());
        // A workflow inside another shows its complaint once.
        let new =
            compiled.err().into_iter().flatten().filter(|d| !loaded.complaints.iter().any(|known| known.to_string() == d.to_string()));
        let new: Vec<Diagnostic> = new.collect();
        loaded.complaints.extend(new);
    }
    Ok(loaded)
}

/// The schemas of the types that the project uses, as the checker takes them; of the others the names.
pub fn schemas(project: &Project) -> Schemas {
    let method = |method: &MethodRow| {
        let schema = MethodSchema { arguments: shared(method.arguments).clone(), observes: method.effect == Effect::Observe };
        (method.name.to_owned(), schema)
    };
    let singles = |row: &TypeRow| {
        let mut all: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for writes in row.methods.iter().flat_map(|method| method.writes) {
            if let Instance::Single(name) = writes.instance {
                all.entry(writes.spec.to_owned()).or_default().insert(name.to_owned());
            }
        }
        // `exec` names its result as its step says: then any name may be one.
        let named = |spec: &str| {
            let mut writes = row.methods.iter().flat_map(|method| method.writes);
            writes.any(|writes| writes.spec == spec && matches!(writes.instance, Instance::Argument(_)))
        };
        all.retain(|spec, _| !named(spec));
        all
    };
    let of = |row: &TypeRow| TypeSchema {
        globals: shared(row.globals).clone(),
        methods: row.methods.iter().map(method).collect(),
        specs: row.specs.iter().map(|spec| (spec.name.to_owned(), shared(spec.attributes).clone())).collect(),
        singles: singles(row),
    };
    let used: BTreeSet<&str> = project.definitions.values().map(|definition| definition.kind.value.as_str()).collect();
    let one = |row: &&TypeRow| (row.name.to_owned(), if used.contains(row.name) { of(row) } else { TypeSchema::default() });
    Schemas { types: registry::types().iter().map(one).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::Source;

    #[test]
    fn a_result_that_its_step_names_can_be_read_by_that_name() {
        let steps = "[[step]]\nname = \"kernel\"\ncall = \"hub.exec\"\nwith = { command = \"uname -r\", as = \"kernel\" }\n\n[[step]]\nname = \"tell\"\n\
                     call = \"hub.exec\"\nwith = { command = 'echo ${{ model.hub.resource.result.kernel.attributes.stdout }}' }\n";
        let sources = project::Sources {
            pmxfile: Source::new("Pmxfile.toml", "[project]\nname = \"x\"\n"),
            definitions: vec![Source::new("definitions/hub.toml", "type = \"ssh/host\"\n\n[global]\nhost = \"hub\"\n")],
            workflows: vec![Source::new("workflows/w.toml", steps)],
        };
        let told: Vec<String> = read(&sources).complaints.iter().map(ToString::to_string).collect();
        assert_eq!(told, [""; 0]);
    }
}
