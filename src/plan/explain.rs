//! Explanations: the graph in sentences and as plain data for `--json`.

use std::fmt;

use serde::ser::SerializeStruct;
use serde::{Serialize, Serializer};

use crate::model::contract::Effect;
use crate::name::{Place, ResourcePattern};
use crate::plan::graph::{Action, ActionId, Conflict, Edge, Graph};

/// Why one action waits for another, in a few words: `reads fleet/vm/calamity`, `both act at fleet/vm/calamity`.
pub fn reason(why: &Conflict) -> String {
    match why {
        Conflict::Value { resource, .. } => format!("reads {resource}"),
        Conflict::Order { resource, both_write: true } => format!("both write {resource}"),
        Conflict::Order { resource, both_write: false } => format!("writes {resource}, which that reads"),
        Conflict::Place(place) => format!("both act at {place}"),
        Conflict::After(_) => "`after` says so".to_owned(),
    }
}

/// What stands on an edge of a drawing: the reference as written, else the conflict.
pub fn label(why: &Conflict) -> String {
    match why {
        Conflict::Value { reference, resource } if reference.text().is_empty() => resource.to_string(),
        Conflict::Value { reference, .. } => reference.text().to_owned(),
        Conflict::Order { resource, both_write: true } => format!("both write {resource}"),
        Conflict::Order { resource, both_write: false } => format!("read before {resource} is written"),
        Conflict::Place(place) => format!("at {place}"),
        Conflict::After(_) => "after".to_owned(),
    }
}

/// The actions in program order, each with what it waits for.
#[derive(Clone, Debug, Serialize)]
pub struct Summary {
    /// What was asked for.
    pub targets: Vec<String>,
    /// Actions; the index is the id.
    pub actions: Vec<Line>,
    /// Steps that are another action: step, and the action's step.
    pub merged: Vec<(String, String)>,
    /// Steps that the inputs leave out: step, and where its condition stands.
    pub omitted: Vec<(String, String)>,
}

/// One action.
#[derive(Clone, Debug, Serialize)]
pub struct Line {
    /// Its place in program order, from 0.
    pub id: u32,
    /// Its step.
    pub step: String,
    /// The call.
    pub call: String,
    /// `observe`, `converge`, `act`, `destroy`.
    pub effect: String,
    /// What it reads.
    pub reads: Vec<ResourcePattern>,
    /// What it writes.
    pub writes: Vec<ResourcePattern>,
    /// Where it acts.
    pub places: Vec<Place>,
    /// What an implied refresh refreshes; `None` for a step.
    pub refreshes: Option<ResourcePattern>,
    /// Switches and conditions worth a word: `if …`, `for each …`, `always`, `optional`, `unordered`.
    pub flow: Vec<String>,
    /// What it waits for, in program order.
    pub after: Vec<Wait>,
}

/// One action that is waited for.
#[derive(Clone, Debug, Serialize)]
pub struct Wait {
    /// Its id.
    pub id: u32,
    /// Its step.
    pub step: String,
    /// Why, a sentence for each conflict.
    pub why: Vec<String>,
    /// The references that read its values, as written.
    pub references: Vec<String>,
}

/// The graph as plain data, for `pmx plan` and `--json`.
pub fn summary(graph: &Graph) -> Summary {
    Summary { targets: graph.targets.clone(), actions: lines(graph).collect(), merged: merged(graph), omitted: omitted(graph) }
}

/// A graph that is written down as its summary is, each line made when it is its turn: those of a large graph take as much memory as all else of it.
pub struct Drawing<'g>(pub &'g Graph);

impl Serialize for Drawing<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self(graph) = self;
        let mut fields = serializer.serialize_struct("Summary", 4)?;
        fields.serialize_field("targets", &graph.targets)?;
        fields.serialize_field("actions", &Lines(graph))?;
        fields.serialize_field("merged", &merged(graph))?;
        fields.serialize_field("omitted", &omitted(graph))?;
        fields.end()
    }
}

struct Lines<'g>(&'g Graph);

impl Serialize for Lines<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(lines(self.0))
    }
}

fn lines(graph: &Graph) -> impl Iterator<Item = Line> {
    let mut edges = graph.edges.iter().peekable();
    graph.actions.iter().map(move |action| {
        let mut after: Vec<Wait> = Vec::new();
        while let Some(edge) = edges.next_if(|edge| edge.to <= action.id) {
            wait(graph, edge, &mut after);
        }
        line(action, after)
    })
}

fn merged(graph: &Graph) -> Vec<(String, String)> {
    let step = |id: ActionId| graph.actions.get(id.index()).map(|action| action.step.clone()).unwrap_or_default();
    graph.merged.iter().map(|merged| (merged.step.clone(), step(merged.into))).collect()
}

fn omitted(graph: &Graph) -> Vec<(String, String)> {
    graph.omitted.iter().map(|omitted| (omitted.step.clone(), omitted.condition.to_string())).collect()
}

fn wait(graph: &Graph, edge: &Edge, after: &mut Vec<Wait>) {
    let references = match &edge.why {
        Conflict::Value { reference, .. } => Some(reference.text().to_owned()),
        _ => None,
    };
    match after.last_mut().filter(|last| last.id == edge.from.0) {
        Some(last) => {
            last.why.push(reason(&edge.why));
            last.references.extend(references);
        }
        None => {
            let step = graph.actions.get(edge.from.index()).map(|action| action.step.clone()).unwrap_or_default();
            after.push(Wait { id: edge.from.0, step, why: vec![reason(&edge.why)], references: references.into_iter().collect() });
        }
    }
}

fn line(action: &Action, after: Vec<Wait>) -> Line {
    let touch = &action.touch;
    Line {
        id: action.id.0,
        step: action.step.clone(),
        call: action.call.name(),
        effect: action.call.method.effect.to_string(),
        reads: touch.reads.iter().map(|read| read.resource.clone()).collect(),
        writes: touch.writes.iter().map(|write| write.resource.clone()).collect(),
        places: touch.places.iter().map(|used| used.place.clone()).collect(),
        refreshes: action.flow.implied.as_ref().map(|implied| implied.resource.clone()),
        flow: flow(action),
        after,
    }
}

fn flow(action: &Action) -> Vec<String> {
    let mut words = Vec::new();
    words.extend(action.flow.loop_over.iter().map(|looped| format!("for each of {}", looped.0.span.text().trim())));
    words.extend(action.flow.conditions.iter().map(|(condition, _)| format!("if {}", condition.span.text().trim())));
    let options = &action.flow.options;
    let switches = [(options.always, "always"), (options.optional, "optional"), (options.unordered, "unordered")];
    words.extend(switches.into_iter().filter(|(set, _)| *set).map(|(_, word)| word.to_owned()));
    words
}

/// What a kind of action looks like where there is no colour.
pub(super) const fn mark(effect: Effect) -> char {
    match effect {
        Effect::Observe => '?',
        Effect::Converge => '=',
        Effect::Act => '!',
        Effect::Destroy => 'X',
    }
}

/// A list for people: one line per action, and one for each action that it waits for.
impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plural = if self.actions.len() == 1 { "" } else { "s" };
        // The names of a whole project's workflows would fill the screen; each action begins with its own.
        let whole = self.targets.len() > 4;
        let targets = if whole { format!("{} targets", self.targets.len()) } else { self.targets.join(" ") };
        writeln!(f, "{targets}: {} action{plural}   (? looks, = makes so, ! acts, X cannot be undone)", self.actions.len())?;
        let width = self.actions.len().to_string().len();
        for action in &self.actions {
            let effect = match action.effect.as_str() {
                "observe" => mark(Effect::Observe),
                "converge" => mark(Effect::Converge),
                "act" => mark(Effect::Act),
                _ => mark(Effect::Destroy),
            };
            write!(f, "{:>width$} {effect} {}  {}", action.id + 1, action.step, action.call)?;
            if action.refreshes.is_some() {
                f.write_str("  implied")?;
            }
            for word in &action.flow {
                write!(f, "  {word}")?;
            }
            writeln!(f)?;
            for wait in &action.after {
                writeln!(f, "{:>width$}   after {} {}: {}", "", wait.id + 1, wait.step, wait.why.join(", "))?;
            }
        }
        for (step, into) in &self.merged {
            writeln!(f, "{:>width$}   {step} is {into}: nothing between them changes what they see", "")?;
        }
        for (step, condition) in &self.omitted {
            writeln!(f, "{:>width$}   {step} is left out: its condition at {condition} is false for these inputs", "")?;
        }
        Ok(())
    }
}
