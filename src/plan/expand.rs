//! Expansion: one action whose loop's list became known, as one action per item.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::lang::template::Each;
use crate::plan::arrange::After;
use crate::plan::bind::{input, variant};
use crate::plan::edges::connect;
use crate::plan::graph::{Action, ActionId, Flow, Frame, Graph, InputValue, Inputs, Omitted, Scopes};
use crate::plan::known::Sight;
use crate::plan::prune::prune;
use crate::plan::touch;
use crate::plan::variant::Variants;
use crate::plan::walk::rounds;
use crate::source::Diagnostic;
use crate::value::Value;

/// The actions that a looped `action` becomes for this list or map, and the edges among them, as a graph of its own: ids count from 0, steps are
/// `step[index]` or `step[key]`. Each takes the place of the looped action: what that waited for was waited for, and what waits for it waits for all
/// of them. Reads and writes are those of the item, never more than the looped action's.
///
/// An action without a loop is an expansion of its own. Fails when `items` is neither list nor map, or when an item cannot name a resource.
pub fn expand(action: &Action, items: &Value, variants: &Arc<Variants>) -> Result<Graph, Diagnostic> {
    let Some((list, looped)) = action.flow.loop_over.as_deref() else {
        let only = Action { id: ActionId(0), ..action.clone() };
        return Ok(Graph { actions: vec![Arc::new(only)], variants: Arc::clone(variants), ..Graph::default() });
    };
    let mut actions = Vec::new();
    let mut omitted = Vec::new();
    for (suffix, each) in rounds(items).map_err(|wrong| wrong.at(&list.span, ""))? {
        let step = format!("{}[{suffix}]", action.step);
        let mut rebind = Rebind { looped, each: Arc::new(each), done: BTreeMap::new() };
        match rebind.action(action, &step, variants)? {
            Ok(mut made) => {
                made.id = ActionId(u32::try_from(actions.len()).unwrap_or(u32::MAX));
                prune(&mut made);
                actions.push(Arc::new(made));
            }
            Err(left_out) => omitted.push(left_out),
        }
    }
    let edges = connect(&actions, &After::default());
    Ok(Graph { targets: Vec::new(), actions, edges, merged: Vec::new(), omitted, variants: Arc::clone(variants) })
}

/// Puts one item into the loop's frame, wherever that frame is looked through.
struct Rebind<'a> {
    looped: &'a Arc<Frame>,
    each: Arc<Each>,
    /// Frames that were rebuilt, by the address of the old one.
    done: BTreeMap<usize, Arc<Frame>>,
}

impl Rebind<'_> {
    fn action(&mut self, action: &Action, step: &str, variants: &Variants) -> Result<Result<Action, Omitted>, Diagnostic> {
        let scopes = self.scopes(&action.scopes)?;
        let mut flow = Flow { loop_over: None, conditions: Vec::new(), ..action.flow.clone() };
        for (condition, frame) in &action.flow.conditions {
            let frame = self.frame(frame)?;
            match Sight::of(&frame).expr(condition)? {
                Some(Value::Bool(true)) => {}
                Some(Value::Bool(false)) => return Ok(Err(Omitted { step: step.to_owned(), condition: condition.span.clone() })),
                _ => flow.conditions.push((condition.clone(), frame)),
            }
        }
        let mut call = action.call.clone();
        call.variant = variant(&call.variant_inputs, &scopes.inner);
        let touch = touch::of(&call, &scopes, &flow, variants)?;
        Ok(Ok(Action { id: action.id, step: step.to_owned(), call, flow, touch, scopes }))
    }

    fn scopes(&mut self, scopes: &Scopes) -> Result<Scopes, Diagnostic> {
        let outer = self.frame(&scopes.outer)?;
        let inner = self.frame(&scopes.inner)?;
        // A definition's frame sees the item of the step's own loop.
        let own = Arc::ptr_eq(&scopes.outer, self.looped) && inner.each.is_none();
        let inner = if own { Arc::new(Frame { inputs: inner.inputs.clone(), each: outer.each.clone() }) } else { inner };
        Ok(Scopes { outer, inner })
    }

    /// Recursion is as deep as workflows are nested.
    fn frame(&mut self, frame: &Arc<Frame>) -> Result<Arc<Frame>, Diagnostic> {
        if Arc::ptr_eq(frame, self.looped) {
            return Ok(Arc::new(Frame { inputs: frame.inputs.clone(), each: Some(Arc::clone(&self.each)) }));
        }
        let address = Arc::as_ptr(frame) as usize;
        if let Some(done) = self.done.get(&address) {
            return Ok(Arc::clone(done));
        }
        let mut inputs = Inputs::with_capacity(frame.inputs.len());
        let mut changed = false;
        for (name, value) in &frame.inputs {
            let value = match value {
                InputValue::Late(template, from) => {
                    let rebound = self.frame(from)?;
                    changed |= !Arc::ptr_eq(&rebound, from);
                    input(&rebound, template)?
                }
                known @ InputValue::Known(_) => known.clone(),
            };
            inputs.insert(name.clone(), value);
        }
        let rebuilt = if changed { Arc::new(Frame { inputs, each: frame.each.clone() }) } else { Arc::clone(frame) };
        self.done.insert(address, Arc::clone(&rebuilt));
        Ok(rebuilt)
    }
}
