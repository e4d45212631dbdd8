//! Lowering: from targets to actions in program order, nested workflows inlined and known loops unrolled.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::lang::Project;
use crate::lang::definition::{Argument, Arguments};
use crate::lang::pmxfile::Profile;
use crate::lang::template::Template;
use crate::lang::workflow::{Step, What};
use crate::name::ResourcePattern;
use crate::plan::Types;
use crate::plan::arrange::{Arranged, arrange};
use crate::plan::bind::{Asked, Binder};
use crate::plan::edges;
use crate::plan::graph::{Action, ActionId, Flow, Frame, Graph, InputValue, Inputs, Omitted, SetBy};
use crate::plan::inputs;
use crate::plan::target::{Target, unknown_workflow};
use crate::plan::touch;
use crate::plan::variant::Variants;
use crate::plan::walk::Around;
use crate::source::{Diagnostic, Source, Span, Spanned};
use crate::value::{Map, Value};

/// More complaints than these help nobody.
const COMPLAINTS: usize = 100;

/// An action on its way into the graph.
pub(super) struct Draft {
    /// The action; its id is given when the list is arranged.
    pub action: Box<Action>,
    /// Groups that must be done before it, with the `after` that says so.
    pub needs: Vec<(usize, Span)>,
    /// Groups that it belongs to: steps that some `after` names.
    pub groups: Vec<usize>,
}

/// The work in progress.
pub(super) struct Lowering<'a> {
    pub project: &'a Project,
    pub binder: Binder<'a>,
    pub variants: Arc<Variants>,
    pub drafts: Vec<Draft>,
    pub omitted: Vec<Omitted>,
    pub groups: usize,
    pub complaints: Vec<Diagnostic>,
    /// Step paths in use: a workflow that is asked for twice gets a number.
    roots: BTreeSet<String>,
    spent: Spent,
}

/// The graph of these targets, in their order, under these inputs. A pure function of its arguments.
///
/// `inputs` are those of the command line: each workflow takes those that it declares, a method call those that its arguments or its definition's
/// expressions name. Errors are all the complaints that could be found, at most 100.
pub fn lower(
    project: &Project,
    types: Types<'_>,
    profile: Option<&Profile>,
    targets: &[Target],
    inputs: &Map,
) -> Result<Graph, Vec<Diagnostic>> {
    loose((project, BTreeMap::new()), types, profile, targets, inputs).map(Loose::connect)
}

/// The same up to its edges, for who has no other use for a large project than its definitions: each step of a target is given back when it is lowered, and
/// all other workflows at the end.
pub fn spend(
    project: &mut Project,
    types: Types<'_>,
    profile: Option<&Profile>,
    targets: &[Target],
    inputs: &Map,
) -> Result<Loose, Vec<Diagnostic>> {
    let spent = once_only(project, targets);
    let loose = loose((project, spent), types, profile, targets, inputs);
    project.workflows.clear();
    loose
}

/// Takes the steps of those targets that are asked for once, and that no step runs.
fn once_only(project: &mut Project, targets: &[Target]) -> Spent {
    let steps = project.workflows.values().flat_map(|workflow| &workflow.steps);
    let nested: BTreeSet<String> =
        steps.filter_map(|step| if let What::Workflow(name) = &step.what { Some(name.value.clone()) } else { None }).collect();
    let mut spent = Spent::new();
    for target in targets {
        let Target::Workflow(name) = target else { continue };
        let once = targets.iter().filter(|other| *other == target).count() == 1 && !nested.contains(name);
        if let (true, Some(workflow)) = (once, project.workflows.get_mut(name)) {
            spent.insert(name.clone(), std::mem::take(&mut workflow.steps));
        }
    }
    spent
}

/// The steps of workflows that nobody needs afterwards.
type Spent = BTreeMap<String, Vec<Arc<Step>>>;

fn loose(
    (project, spent): (&Project, Spent),
    types: Types<'_>,
    profile: Option<&Profile>,
    targets: &[Target],
    inputs: &Map,
) -> Result<Loose, Vec<Diagnostic>> {
    let mut binder = Binder::new(project, types, profile);
    let variants = Arc::new(binder.variants());
    let mut lowering = Lowering {
        project,
        binder,
        variants,
        drafts: Vec::new(),
        omitted: Vec::new(),
        groups: 0,
        complaints: Vec::new(),
        roots: BTreeSet::new(),
        spent,
    };
    lowering.unknown_inputs(targets, inputs);
    for target in targets {
        lowering.target(target, inputs);
    }
    let targets = targets.iter().map(ToString::to_string).collect();
    lowering.finish(targets)
}

/// A graph whose edges are still to be found, for which no project is needed any more.
pub struct Loose {
    targets: Vec<String>,
    arranged: Arranged,
    omitted: Vec<Omitted>,
    variants: Arc<Variants>,
}

impl Loose {
    /// The graph.
    pub fn connect(self) -> Graph {
        let Self { targets, arranged, omitted, variants } = self;
        let edges = edges::connect(&arranged.actions, &arranged.after);
        Graph { targets, actions: arranged.actions, edges, merged: arranged.merged, omitted, variants }
    }
}

impl Lowering<'_> {
    fn finish(mut self, targets: Vec<String>) -> Result<Loose, Vec<Diagnostic>> {
        if !self.complaints.is_empty() {
            return Err(self.complaints);
        }
        let drafts = std::mem::take(&mut self.drafts);
        let arranged = arrange(drafts, &mut self.binder, &self.variants).map_err(|complaint| vec![complaint])?;
        let Self { omitted, variants, .. } = self;
        Ok(Loose { targets, arranged, omitted, variants })
    }

    /// Remembers a complaint; says whether more are welcome.
    pub fn complain(&mut self, complaint: Diagnostic) -> bool {
        if self.complaints.len() < COMPLAINTS {
            self.complaints.push(complaint);
        }
        self.complaints.len() < COMPLAINTS
    }

    /// Inputs that no target knows.
    fn unknown_inputs(&mut self, targets: &[Target], given: &Map) {
        let mut known: BTreeSet<String> = BTreeSet::new();
        for target in targets {
            known.extend(inputs::names(self.project, &mut self.binder, target));
        }
        for name in given.keys().filter(|name| !known.contains(*name)) {
            self.complain(inputs::unknown(name, known.iter().map(String::as_str)));
        }
    }

    fn target(&mut self, target: &Target, given: &Map) {
        let path = self.root(target.to_string());
        match target {
            Target::Workflow(name) => match self.project.workflows.get(name) {
                None => {
                    self.complain(unknown_workflow(name, self.project));
                }
                Some(workflow) => match inputs::check(&workflow.inputs, given) {
                    Ok(values) => {
                        let frame = Arc::new(Frame { inputs: values, each: None });
                        let steps = self.spent.remove(name).unwrap_or_else(|| workflow.steps.clone());
                        self.workflow(workflow, steps, &frame, &Around::root(path, name));
                    }
                    Err(complaints) => complaints.into_iter().for_each(|complaint| {
                        self.complain(complaint);
                    }),
                },
            },
            Target::Method { def, method } => {
                let with = match self.binder.callable(def, method) {
                    Ok(callable) => given.iter().filter(|(name, _)| callable.takes(name).is_some()).map(literal).collect(),
                    Err(complaint) => {
                        self.complain(complaint);
                        return;
                    }
                };
                self.call(path, (def, method), (&with, SetBy::Step));
            }
            Target::Resource(pattern) => match self.observer(pattern) {
                Ok((method, mut with)) => {
                    let single = |name: &String| self.variants.inputs(&pattern.def).contains(name);
                    let more: Vec<_> = given.iter().filter(|(name, _)| single(name)).map(literal).collect();
                    with.extend(more);
                    self.call(path, (&pattern.def, &method), (&with, SetBy::Instance));
                }
                Err(complaint) => {
                    self.complain(complaint);
                }
            },
        }
    }

    /// A path that no other target has.
    fn root(&mut self, name: String) -> String {
        let mut path = name.clone();
        let mut count = 1;
        while !self.roots.insert(path.clone()) {
            count += 1;
            path = format!("{name} #{count}");
        }
        path
    }

    fn observer(&mut self, pattern: &ResourcePattern) -> Result<(String, Arguments), Diagnostic> {
        let found = crate::plan::refresh::observer(&mut self.binder, pattern, &self.variants)?;
        let known = |found: crate::plan::refresh::Observation| (found.method.to_owned(), found.with);
        found.map(known).ok_or_else(|| crate::plan::refresh::unobservable(&mut self.binder, pattern))
    }

    /// One call that is a target of its own.
    fn call(&mut self, path: String, (def, method): (&str, &str), with: (&Arguments, SetBy)) {
        let outer = Arc::new(Frame { inputs: known_inputs(with.0), each: None });
        let asked = Asked { def, method, with, outer: &outer, at: None };
        let bound = self.binder.bind(&asked);
        let made = bound.and_then(|(call, scopes)| {
            let flow = Flow::default();
            let touch = touch::of(&call, &scopes, &flow, &self.variants)?;
            Ok(Action { id: ActionId(0), step: path, call, flow, touch, scopes })
        });
        match made {
            Ok(action) => self.drafts.push(Draft { action: Box::new(action), needs: Vec::new(), groups: Vec::new() }),
            Err(complaint) => {
                self.complain(complaint);
            }
        }
    }
}

fn known_inputs(with: &Arguments) -> Inputs {
    let known = |(name, argument): (&String, &Argument)| match &argument.template.value {
        Template::Literal(value) => Some((name.clone(), InputValue::Known(Arc::new(value.clone())))),
        _ => None,
    };
    with.iter().filter_map(known).collect()
}

/// An argument that was given as a value on the command line.
fn literal((name, value): (&String, &Value)) -> (String, Argument) {
    given(format!("-i {name}"), name, value)
}

/// An argument that is a value, with what to call its source.
pub(super) fn given(source: String, name: &str, value: &Value) -> (String, Argument) {
    let source = Source::new(source, value.to_string());
    let span = Span::new(&source, 0..source.text.len());
    (name.to_owned(), Argument { key: span.clone(), template: Spanned::new(Template::Literal(value.clone()), span) })
}
