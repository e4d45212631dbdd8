//! Workflows that contain themselves.

use std::collections::{BTreeMap, BTreeSet};

use crate::lang::check::Checker;
use crate::lang::workflow::{What, Workflow};
use crate::source::{Diagnostic, Span};

/// One complaint per cycle, told as a path. The walk keeps its own stack: chains of workflows may be longer than ours.
pub(super) fn check(checker: &mut Checker<'_>) {
    let workflows = &checker.project.workflows;
    let inside: BTreeMap<&str, Vec<(&str, &Span)>> = workflows.iter().map(|(name, workflow)| (name.as_str(), nested(workflow))).collect();
    let mut done = BTreeSet::new();
    for start in workflows.keys() {
        // The path walked so far, each with the number of the step to look at next.
        let mut path: Vec<(&str, usize)> = vec![(start, 0)];
        while let Some((name, next)) = path.last().copied() {
            let step = inside.get(name).filter(|_| !done.contains(name)).and_then(|steps| steps.get(next)).copied();
            let Some((inner, span)) = step else {
                done.insert(name);
                path.pop();
                continue;
            };
            if let Some(last) = path.last_mut() {
                last.1 += 1;
            }
            if let Some(begin) = path.iter().position(|(known, _)| *known == inner) {
                let names: Vec<&str> = path[begin..].iter().map(|(known, _)| *known).chain([inner]).collect();
                let complaint = Diagnostic::yours(format!("workflow `{inner}` contains itself: {}", names.join(" → "))).at(span, "");
                checker.complain(complaint);
            } else if !done.contains(inner) {
                path.push((inner, 0));
            }
        }
    }
}

fn nested(workflow: &Workflow) -> Vec<(&str, &Span)> {
    let steps = workflow.steps.iter();
    steps.filter_map(|step| if let What::Workflow(name) = &step.what { Some((name.value.as_str(), &name.span)) } else { None }).collect()
}
