//! Plain actions: those whose expressions are paths and literals only, so that evaluating them takes microseconds and may be done on any thread.

use std::sync::Arc;

use crate::lang::template::Expr;
use crate::plan::graph::{Action, Frame, InputValue};

/// Frames inside frames that are looked through; whoever nests deeper is evaluated like any other.
const DEPTH: usize = 8;

/// Whether nothing in the conditions and arguments of `action` needs CEL or a vault.
pub fn action(action: &Action) -> bool {
    every(action, &Expr::is_plain)
}

/// Whether `holds` of every expression that evaluating the conditions and arguments of `action` may reach.
pub fn every(action: &Action, holds: &dyn Fn(&Expr) -> bool) -> bool {
    let mut bounds = action.call.globals.values().chain(action.call.arguments.values());
    bounds.all(|bound| bound.template.value.every(holds))
        && action.flow.conditions.iter().all(|(condition, over)| holds(condition) && frame(over, holds, DEPTH))
        && frame(&action.scopes.outer, holds, DEPTH)
        && frame(&action.scopes.inner, holds, DEPTH)
}

fn frame(given: &Arc<Frame>, holds: &dyn Fn(&Expr) -> bool, depth: usize) -> bool {
    given.inputs.values().all(|value| match value {
        InputValue::Known(_) => true,
        InputValue::Late(template, from) => depth > 0 && template.value.every(holds) && frame(from, holds, depth - 1),
    })
}
