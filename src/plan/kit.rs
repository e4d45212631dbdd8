//! What the tests of this room share: projects out of text, and questions to a graph.

use std::collections::BTreeSet;

use crate::lang::Project;
use crate::lang::project::{Sources, parse};
use crate::plan::graph::{ActionId, Graph};
use crate::plan::{Target, Types, lower, rows};
use crate::source::{Diagnostic, Severity, Source};
use crate::value::{Map, Value};

/// A project of these files: `definitions/x.toml`, `workflows/y.toml`, `Pmxfile.toml`.
#[must_use]
pub fn project(files: &[(&str, &str)]) -> Project {
    let of =
        |folder: &str| files.iter().filter(|(name, _)| name.starts_with(folder)).map(|(name, text)| Source::new(*name, *text)).collect();
    let pmxfile = files.iter().find(|(name, _)| *name == "Pmxfile.toml").map_or("[project]\nname = \"test\"\n", |(_, text)| text);
    let sources = Sources { pmxfile: Source::new("Pmxfile.toml", pmxfile), definitions: of("definitions/"), workflows: of("workflows/") };
    let (project, complaints) = parse(&sources);
    let errors: Vec<String> = complaints.iter().filter(|c| c.severity == Severity::Error).map(ToString::to_string).collect();
    assert!(errors.is_empty(), "{errors:#?}");
    project.unwrap()
}

/// The graph of these targets with the types of the inventory.
pub fn graph_of(project: &Project, targets: &[&str], inputs: &[(&str, Value)]) -> Result<Graph, Vec<Diagnostic>> {
    graph_with(project, &rows::find, targets, inputs)
}

/// The graph of these targets with these types.
pub fn graph_with(project: &Project, types: Types<'_>, targets: &[&str], inputs: &[(&str, Value)]) -> Result<Graph, Vec<Diagnostic>> {
    let targets: Vec<Target> = targets.iter().map(|target| Target::parse(target).unwrap()).collect();
    let inputs: Map = inputs.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
    lower(project, types, None, &targets, &inputs)
}

/// Complaints as lines.
pub fn lines(complaints: &[Diagnostic]) -> String {
    complaints.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

/// Questions to a graph.
pub struct Order<'g> {
    graph: &'g Graph,
    /// All ancestors of each action.
    before: Vec<BTreeSet<u32>>,
}

impl<'g> Order<'g> {
    pub fn of(graph: &'g Graph) -> Self {
        let mut before: Vec<BTreeSet<u32>> = vec![BTreeSet::new(); graph.actions.len()];
        for edge in &graph.edges {
            let further = before[edge.from.index()].clone();
            before[edge.to.index()].extend(further);
            before[edge.to.index()].insert(edge.from.0);
        }
        Self { graph, before }
    }

    /// The action of this step; a merged step is the action it was merged into.
    pub fn id(&self, step: &str) -> ActionId {
        let direct = self.graph.actions.iter().find(|action| action.step == step).map(|action| action.id);
        let merged = || self.graph.merged.iter().find(|merged| merged.step == step).map(|merged| merged.into);
        let steps = || self.graph.actions.iter().map(|action| action.step.as_str()).collect::<Vec<_>>();
        direct.or_else(merged).unwrap_or_else(|| panic!("no step {step} in {:#?}", steps()))
    }

    /// Whether `first` is always done before `then` begins.
    pub fn before(&self, first: &str, then: &str) -> bool {
        self.before[self.id(then).index()].contains(&self.id(first).0)
    }

    /// Whether both may run at once.
    pub fn beside(&self, one: &str, other: &str) -> bool {
        !self.before(one, other) && !self.before(other, one)
    }
}
