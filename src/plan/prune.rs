//! Pruning: frames hold only the inputs that an action's expressions read, so that whoever evaluates a frame reads nothing that was not declared.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::lang::template::{Expr, Root, Template};
use crate::plan::graph::{Action, Frame, InputValue, Inputs, SetBy};
use crate::plan::refs::each_ref;

/// Prunes the frames of an action. A looped one keeps its frames until its item is known, because the loop's frame is known by its identity.
pub(super) fn prune(action: &mut Action) {
    let frames = [&action.scopes.outer, &action.scopes.inner].into_iter().chain(action.flow.conditions.iter().map(|(_, frame)| frame));
    if action.flow.loop_over.is_some() || frames.into_iter().all(|frame| known(frame)) {
        return;
    }
    let mut pruner = Pruner::default();
    let bounds = || action.call.globals.values().chain(action.call.arguments.values());
    let of =
        |step: bool| bounds().filter(|bound| (bound.from == SetBy::Step) == step).map(|bound| &bound.template.value).collect::<Vec<_>>();
    let (outer, inner) = (Needs::of(of(true)), Needs::of(of(false)));
    action.scopes.outer = pruner.frame(&action.scopes.outer, &outer);
    action.scopes.inner = pruner.frame(&action.scopes.inner, &inner);
    for (condition, frame) in &mut action.flow.conditions {
        let mut needs = Needs::default();
        needs.expr(condition);
        *frame = pruner.frame(frame, &needs);
    }
}

fn known(frame: &Frame) -> bool {
    frame.inputs.values().all(|value| matches!(value, InputValue::Known(_)))
}

/// Which inputs some expressions read.
#[derive(Default, PartialEq, Eq, PartialOrd, Ord, Clone)]
struct Needs {
    all: bool,
    names: BTreeSet<String>,
}

impl Needs {
    fn of<'t>(templates: impl IntoIterator<Item = &'t Template>) -> Self {
        let mut needs = Self::default();
        for template in templates {
            each_ref(template, &mut |reference| needs.root(&reference.root));
        }
        needs
    }

    fn expr(&mut self, expr: &Expr) {
        expr.refs.iter().for_each(|reference| self.root(&reference.root));
    }

    fn root(&mut self, root: &Root) {
        match root {
            Root::Input(Some(name)) => {
                self.names.insert(name.clone());
            }
            Root::Input(None) => self.all = true,
            _ => {}
        }
    }
}

/// Frames that were pruned, by address and needs: without them, inputs that each read two others would double per level of nesting.
#[derive(Default)]
struct Pruner(BTreeMap<(usize, Needs), Arc<Frame>>);

impl Pruner {
    /// Recursion is as deep as workflows are nested. A frame in which all is known costs nothing to evaluate and is left as it is.
    fn frame(&mut self, frame: &Arc<Frame>, needs: &Needs) -> Arc<Frame> {
        if known(frame) {
            return Arc::clone(frame);
        }
        let key = (Arc::as_ptr(frame) as usize, needs.clone());
        if let Some(done) = self.0.get(&key) {
            return Arc::clone(done);
        }
        let needed = frame.inputs.iter().filter(|(name, _)| needs.all || needs.names.contains(*name));
        let inputs = needed.map(|(name, value)| {
            let value = match value {
                InputValue::Known(_) => value.clone(),
                InputValue::Late(template, from) => {
                    let from = self.frame(from, &Needs::of([&template.value]));
                    InputValue::Late(template.clone(), from)
                }
            };
            (name.clone(), value)
        });
        let mut kept = Inputs::with_capacity(frame.inputs.len());
        kept.extend(inputs);
        let pruned = Arc::new(Frame { inputs: kept, each: frame.each.clone() });
        self.0.insert(key, Arc::clone(&pruned));
        pruned
    }
}
