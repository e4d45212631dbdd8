//! The walk through a workflow's steps: loops, conditions, nested workflows, and what enclosing steps pass down.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::lang::template::{Each, Expr};
use crate::lang::workflow::{Options, Step, What, Workflow};
use crate::plan::bind::{Asked, input};
use crate::plan::graph::{Action, ActionId, Flow, Frame, InputValue, Inputs, Omitted, SetBy};
use crate::plan::inputs;
use crate::plan::known::Sight;
use crate::plan::lower::{Draft, Lowering};
use crate::plan::refs;
use crate::plan::target::unknown_workflow;
use crate::plan::touch;
use crate::source::{Diagnostic, Span, Spanned};
use crate::value::Value;

/// How deep workflows may be nested.
const DEPTH: usize = 32;

/// Loops that are unrolled further are more likely a slip than a fleet.
const ITEMS: usize = 1_000_000;

/// What enclosing steps pass down.
#[derive(Clone)]
pub(super) struct Around {
    path: String,
    flow: Flow,
    needs: Vec<(usize, Span)>,
    groups: Vec<usize>,
    /// The workflows that are being inlined, outermost first.
    stack: Vec<String>,
}

impl Around {
    /// Around the steps of a target.
    pub fn root(path: String, workflow: &str) -> Self {
        Self { path, flow: Flow::default(), needs: Vec::new(), groups: Vec::new(), stack: vec![workflow.to_owned()] }
    }

    fn step(&self, name: &str) -> String {
        format!("{}/{name}", self.path)
    }
}

/// What `after` says of a step: the groups that it waits for, and its own if a later one names it.
struct Order {
    needs: Vec<(usize, Span)>,
    group: Option<usize>,
}

/// The items of a loop.
enum Items {
    /// No loop, or a list that is known only at run time.
    Once,
    /// Known, each with what is written behind the step's name.
    Known(Vec<(String, Each)>),
}

impl Lowering<'_> {
    /// Lowers the steps of a workflow under this frame; each is given back when it is lowered.
    pub fn workflow(&mut self, workflow: &Workflow, steps: Vec<Arc<Step>>, frame: &Arc<Frame>, around: &Around) {
        let order = self.order(&workflow.name, &steps);
        for (step, order) in steps.into_iter().zip(order) {
            let mut around = around.clone();
            match order {
                Ok(Order { needs, group }) => {
                    around.needs.reserve_exact(needs.len());
                    around.needs.extend(needs);
                    around.groups.extend(group);
                }
                Err(complaint) => {
                    self.complain(*complaint);
                    continue;
                }
            }
            if let Err(complaint) = self.step(&step, frame, around)
                && !self.complain(complaint)
            {
                return;
            }
        }
    }

    /// What `after` says of each step.
    fn order(&mut self, workflow: &str, steps: &[Arc<Step>]) -> Vec<Result<Order, Box<Diagnostic>>> {
        let named: BTreeSet<&str> = steps.iter().flat_map(|step| &step.after).map(|name| name.value.as_str()).collect();
        let mut groups: BTreeMap<&str, usize> = BTreeMap::new();
        let mut order = Vec::with_capacity(steps.len());
        for step in steps {
            let needs = match needs(step, (workflow, steps), &groups) {
                Ok(needs) => needs,
                Err(complaint) => {
                    order.push(Err(Box::new(complaint)));
                    continue;
                }
            };
            let name = step.name.value.as_str();
            let group = named.contains(name).then_some(self.groups);
            if let Some(group) = group {
                groups.insert(name, group);
                self.groups += 1;
            }
            order.push(Ok(Order { needs, group }));
        }
        order
    }

    fn step(&mut self, step: &Step, frame: &Arc<Frame>, mut around: Around) -> Result<(), Diagnostic> {
        around.flow.options = merge(&around.flow.options, &step.options);
        let name = &step.name.value;
        match self.items(step, frame, &mut around)? {
            // The frame of a loop is its own even before its item is known, so that the item can be put into it.
            Items::Once if step.for_each.is_some() => {
                let looped = Arc::new(Frame::clone(frame));
                if let Some((_, frame)) = around.flow.loop_over.as_deref_mut() {
                    *frame = Arc::clone(&looped);
                }
                self.once(step, &looped, around, name)
            }
            Items::Once => self.once(step, frame, around, name),
            Items::Known(items) => items.into_iter().try_for_each(|(suffix, each)| {
                let looped = Arc::new(Frame { inputs: frame.inputs.clone(), each: Some(Arc::new(each)) });
                self.once(step, &looped, around.clone(), &format!("{name}[{suffix}]"))
            }),
        }
    }

    fn items(&self, step: &Step, frame: &Arc<Frame>, around: &mut Around) -> Result<Items, Diagnostic> {
        let Some(list) = &step.for_each else { return Ok(Items::Once) };
        if let Some(value) = Sight::of(frame).expr(list)? {
            return Ok(Items::Known(items(&value).map_err(|wrong| wrong.at(&list.span, ""))?));
        }
        if around.flow.loop_over.is_some() {
            let complaint = Diagnostic::yours("this loop stands inside another whose list is known only at run time")
                .at(&list.span, "known only at run time, too")
                .help("make one list of both, or let a workflow input name the inner items");
            return Err(complaint);
        }
        around.flow.loop_over = Some(Box::new((Arc::clone(list), Arc::clone(frame))));
        Ok(Items::Once)
    }

    /// One step, or one round of its loop.
    fn once(&mut self, step: &Step, frame: &Arc<Frame>, mut around: Around, name: &str) -> Result<(), Diagnostic> {
        if let Some(condition) = &step.condition {
            match known_condition(condition, frame)? {
                Some(true) => {}
                Some(false) => {
                    self.omitted.push(Omitted { step: around.step(name), condition: condition.span.clone() });
                    return Ok(());
                }
                None => around.flow.conditions.push((Arc::clone(condition), Arc::clone(frame))),
            }
        }
        match &step.what {
            What::Call { def, method } => {
                let asked = Asked {
                    def: &def.value,
                    method: &method.value,
                    with: (&step.with, SetBy::Step),
                    outer: frame,
                    at: Some(if self.project.definitions.contains_key(&def.value) { &method.span } else { &def.span }),
                };
                let (call, scopes) = self.binder.bind(&asked)?;
                let touch = touch::of(&call, &scopes, &around.flow, &self.variants)?;
                let action = Action { id: ActionId(0), step: around.step(name), call, flow: around.flow, touch, scopes };
                self.drafts.push(Draft { action: Box::new(action), needs: around.needs, groups: around.groups });
                Ok(())
            }
            What::Workflow(workflow) => {
                around.path = around.step(name);
                self.nested(step, workflow, frame, around)
            }
        }
    }

    fn nested(&mut self, step: &Step, name: &Spanned<String>, frame: &Arc<Frame>, mut around: Around) -> Result<(), Diagnostic> {
        let project = self.project;
        let workflow = project.workflows.get(&name.value).ok_or_else(|| unknown_workflow(&name.value, project).at(&name.span, ""))?;
        if let Some(first) = around.stack.iter().position(|known| *known == name.value) {
            let path = around.stack[first..].iter().chain([&name.value]).map(String::as_str).collect::<Vec<_>>().join(" → ");
            return Err(Diagnostic::yours(format!("workflows run each other in a circle: {path}")).at(&name.span, ""));
        }
        if around.stack.len() >= DEPTH {
            let complaint = Diagnostic::yours(format!("workflows are nested more than {DEPTH} deep: {}", around.stack.join(" → ")));
            return Err(complaint.at(&name.span, ""));
        }
        let inputs = passed(step, workflow, frame)?;
        around.stack.push(name.value.clone());
        self.workflow(workflow, workflow.steps.clone(), &Arc::new(Frame { inputs, each: None }), &around);
        Ok(())
    }
}

/// The groups that a step's `after` names.
fn needs(step: &Step, (workflow, steps): (&str, &[Arc<Step>]), groups: &BTreeMap<&str, usize>) -> Result<Vec<(usize, Span)>, Diagnostic> {
    let group = |name: &Spanned<String>| match groups.get(name.value.as_str()) {
        Some(group) => Ok((*group, name.span.clone())),
        None => {
            let steps = steps.iter().map(|step| step.name.value.as_str());
            let complaint = if steps.clone().any(|known| known == name.value) {
                Diagnostic::yours(format!("`{}` does not stand before `{}`", name.value, step.name.value))
                    .help("steps stand in program order: `after` names earlier ones; move the step")
            } else {
                Diagnostic::yours(format!("there is no step `{}` in `{workflow}`", name.value)).did_you_mean(&name.value, steps)
            };
            Err(complaint.at(&name.span, ""))
        }
    };
    step.after.iter().map(group).collect()
}

/// The value of a condition, if inputs decide it.
fn known_condition(condition: &Expr, frame: &Frame) -> Result<Option<bool>, Diagnostic> {
    match Sight::of(frame).expr(condition)? {
        None => Ok(None),
        Some(Value::Bool(holds)) => Ok(Some(holds)),
        Some(other) => {
            let complaint = Diagnostic::yours(format!("`if` is {}, not true or false", other.kind()));
            Err(complaint.at(&condition.span, "").help("compare it: `… == …`"))
        }
    }
}

fn items(value: &Value) -> Result<Vec<(String, Each)>, Diagnostic> {
    let items: Vec<(String, Each)> = match value {
        Value::List(list) => {
            let item = |(index, value): (usize, &Value)| {
                let key = Value::Int(i64::try_from(index).unwrap_or(i64::MAX));
                (index.to_string(), Each { key, value: value.clone() })
            };
            list.iter().enumerate().map(item).collect()
        }
        Value::Map(map) => {
            let item = |(key, value): (&String, &Value)| (key.clone(), Each { key: key.as_str().into(), value: value.clone() });
            map.iter().map(item).collect()
        }
        other => return Err(Diagnostic::yours(format!("`for_each` is {}, not a list or a map", other.kind()))),
    };
    if items.len() > ITEMS {
        return Err(Diagnostic::yours(format!("`for_each` has {} items; at most {ITEMS} are unrolled", items.len())));
    }
    Ok(items)
}

/// The inputs of a nested workflow: only those that its step passes, and defaults.
fn passed(step: &Step, workflow: &Workflow, frame: &Arc<Frame>) -> Result<Inputs, Diagnostic> {
    for (name, argument) in &step.with {
        if !workflow.inputs.contains_key(name) {
            let complaint = Diagnostic::yours(format!("workflow `{}` has no input `{name}`", workflow.name)).at(&argument.key, "");
            return Err(complaint.did_you_mean(name, workflow.inputs.keys().map(String::as_str)));
        }
        if let Some(complaint) = refs::missing_in(&argument.template.value, frame) {
            return Err(complaint);
        }
    }
    let mut inputs = Inputs::with_capacity(workflow.inputs.len());
    for (name, declared) in &workflow.inputs {
        let value = match step.with.get(name) {
            Some(argument) => match input(frame, &argument.template)? {
                InputValue::Known(value) => {
                    let placed = |complaint: Diagnostic| complaint.at(&argument.template.span, "").also(&declared.span, "declared here");
                    InputValue::Known(Arc::new(inputs::fit(name, &declared.value, Value::clone(&value)).map_err(placed)?))
                }
                late => late,
            },
            None => match &declared.value.default {
                Some(value) => InputValue::Known(Arc::new(value.clone())),
                None if !declared.value.required => InputValue::Known(Arc::new(Value::Null)),
                None => {
                    let complaint = Diagnostic::yours(format!("input `{name}` of workflow `{}` is not passed", workflow.name));
                    let help = format!("add `with = {{ {name} = … }}`: a nested workflow sees only what its step passes");
                    return Err(complaint.at(&step.span, "").also(&declared.span, "declared here").help(help));
                }
            },
        };
        inputs.insert(name.clone(), value);
    }
    Ok(inputs)
}

/// A step's switches under those of the steps around it: the nearer one wins, and what holds outside holds inside.
fn merge(outer: &Options, inner: &Options) -> Options {
    Options {
        timeout: inner.timeout.or(outer.timeout),
        retry: inner.retry.or(outer.retry),
        fresh: inner.fresh.or(outer.fresh),
        always: inner.always || outer.always,
        optional: inner.optional || outer.optional,
        unordered: inner.unordered || outer.unordered,
        confirm: inner.confirm.clone().or_else(|| outer.confirm.clone()),
    }
}

/// The rounds of a loop whose list became known, each with what is written behind the step's name.
pub(super) fn rounds(value: &Value) -> Result<Vec<(String, Each)>, Diagnostic> {
    items(value)
}
