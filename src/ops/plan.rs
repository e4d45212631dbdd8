//! Planning: what a build would do, in which order, and what is fresh, without contacting anything.

use serde::Serialize;

use crate::event::{Lasting, Time};
use crate::lang::Project;
use crate::lang::template::Template;
use crate::lang::types::{Kind, Type};
use crate::model::contract::{Effect, PhaseRow};
use crate::ops::build::compile;
use crate::ops::planner::find;
use crate::ops::site::Site;
use crate::plan::explain::{self, Line};
use crate::plan::graph::{Action, Bound, Graph};
use crate::plan::{Target, lower, verdict};
use crate::source::Diagnostic;
use crate::store::Store;
use crate::value::{Map, Value};

/// The plan of some targets.
#[derive(Clone, Debug, Serialize)]
pub struct Planned {
    /// What was asked for.
    pub targets: Vec<String>,
    /// The actions in program order.
    pub actions: Vec<PlannedAction>,
}

/// One action of a plan.
#[derive(Clone, Debug, Serialize)]
pub struct PlannedAction {
    /// What it is and what it waits for.
    #[serde(flatten)]
    pub line: Line,
    /// What the store knows about its freshness; `None` for effects, which always run.
    pub freshness: Option<String>,
    /// What it may wait for, and how long at most.
    pub phases: Vec<String>,
}

/// The plan of `targets`; `now` is the moment at which freshness is judged.
pub fn plan(site: &Site, mut store: Option<Box<dyn Store>>, asked: (&[String], &[String]), now: Time) -> Result<Planned, Vec<Diagnostic>> {
    let (_, graph, _) = compile(site, asked.0, asked.1)?;
    let summary = explain::summary(&graph);
    let mut actions = Vec::new();
    for (line, action) in summary.actions.into_iter().zip(&graph.actions) {
        let freshness = freshness(action, store.as_mut(), now);
        let phases = action.call.method.phases.iter().map(|phase| wait(action, phase)).collect();
        actions.push(PlannedAction { line, freshness, phases });
    }
    Ok(Planned { targets: summary.targets, actions })
}

/// Judged by the age of what it writes: the arguments themselves are evaluated only when it runs.
fn freshness(action: &Action, store: Option<&mut Box<dyn Store>>, now: Time) -> Option<String> {
    if action.call.method.effect != Effect::Observe {
        return None;
    }
    let window = verdict::window(action);
    if window.is_some_and(|window| window.is_zero()) {
        return Some("looks each time".to_owned());
    }
    let name = action.touch.writes.first().and_then(|write| write.resource.exact());
    let head = name.as_ref().and_then(|name| store.and_then(|store| store.head(name).ok().flatten()));
    Some(match (head, window) {
        (None, _) => "nothing known yet: it will look".to_owned(),
        (Some(_), None) => "known, and trusted for ever".to_owned(),
        (Some(head), Some(window)) => {
            let age = now.since(head.made.at);
            if age.as_secs() < window.as_secs() {
                format!("fresh: {} old, trusted for {}, unless its arguments changed", Lasting(age), Lasting(window))
            } else {
                format!("expired: {} old, trusted for {}: it will look", Lasting(age), Lasting(window))
            }
        }
    })
}

fn wait(action: &Action, phase: &PhaseRow) -> String {
    let set = phase.argument.and_then(|name| action.call.arguments.get(name));
    let seconds = match (set.map(|bound: &Bound| &bound.template.value), phase.argument) {
        (None, _) if phase.seconds == 0 => return format!("{}: as long as its requests take, each with a deadline of its own", phase.name),
        (Some(Template::Literal(Value::Null)) | None, _) => phase.seconds,
        (Some(Template::Literal(Value::Int(seconds))), _) if default_of(action, phase).is_some() => {
            seconds.unsigned_abs() + phase.seconds.saturating_sub(default_of(action, phase).unwrap_or_default())
        }
        (Some(_), argument) => return format!("{}: as long as `{}` says", phase.name, argument.unwrap_or_default()),
    };
    format!("{}: at most {}", phase.name, Lasting::limit(seconds))
}

fn default_of(action: &Action, phase: &PhaseRow) -> Option<u64> {
    let schema = (action.call.method.arguments)();
    match schema.get(phase.argument?)?.default {
        Some(Value::Int(seconds)) => Some(seconds.unsigned_abs()),
        _ => None,
    }
}

/// The graph of targets, or of all workflows of the project, each with placeholder inputs where it needs some.
pub fn graph(site: &Site, targets: &[String], inputs: &[String]) -> Result<Graph, Vec<Diagnostic>> {
    if !targets.is_empty() {
        return compile(site, targets, inputs).map(|(_, graph, _)| graph);
    }
    let mut project = Project::clone(&*crate::ops::project::load(site)?.sound()?);
    // A placeholder need not look like a real value.
    for input in project.workflows.values_mut().flat_map(|workflow| workflow.inputs.values_mut()) {
        input.value.ty = Type { pattern: None, min: None, max: None, ..input.value.ty.clone() };
    }
    let targets: Vec<Target> = project.workflows.keys().map(|name| Target::Workflow(name.clone())).collect();
    lower(&project, &find, site.settings(), &targets, &placeholders(&project))
}

/// A value of the right type for each input without a default, so that the whole project can be drawn.
fn placeholders(project: &Project) -> Map {
    let inputs = project.workflows.values().flat_map(|workflow| &workflow.inputs);
    let value = |name: &String, kind: &Kind| match kind {
        Kind::Bool => Value::Bool(false),
        Kind::Int => Value::Int(1),
        Kind::Float => Value::Float(1.0),
        Kind::List(_) => Value::List(Vec::new()),
        Kind::Map(_) | Kind::Object(_) => Value::Map(Map::new()),
        Kind::Enum(words) => words.first().map(|word| Value::from(word.as_str())).unwrap_or_default(),
        _ => Value::from(name.as_str()),
    };
    inputs
        .filter(|(_, field)| field.value.default.is_none())
        .map(|(name, field)| (name.clone(), value(name, &field.value.ty.kind)))
        .collect()
}
