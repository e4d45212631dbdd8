//! Plain actions: those whose expressions are paths and literals only, so that evaluating them takes microseconds and may be done on any thread.

use std::sync::Arc;

use crate::plan::graph::{Action, Frame, InputValue};

/// Frames inside frames that are looked through; whoever nests deeper is evaluated like any other.
const DEPTH: usize = 8;

/// Whether nothing in the conditions and arguments of `action` needs CEL or a vault.
pub fn action(action: &Action) -> bool {
    let bounds = || action.call.globals.values().chain(action.call.arguments.values());
    bounds().all(|bound| bound.template.value.is_plain())
        && action.flow.conditions.iter().all(|(condition, over)| condition.is_plain() && frame(over, DEPTH))
        && frame(&action.scopes.outer, DEPTH)
        && frame(&action.scopes.inner, DEPTH)
}

fn frame(given: &Arc<Frame>, depth: usize) -> bool {
    given.inputs.values().all(|value| match value {
        InputValue::Known(_) => true,
        InputValue::Late(template, from) => depth > 0 && template.value.is_plain() && frame(from, depth - 1),
    })
}
