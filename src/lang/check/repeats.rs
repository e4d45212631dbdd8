//! Steps that stand in two workflows: compose instead.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use crate::lang::check::Checker;
use crate::lang::template::{Piece, Template};
use crate::lang::workflow::{Step, What};
use crate::source::Diagnostic;

/// How many equal steps in a row are too many.
const RUN: usize = 3;

/// A warning for each pair of workflows that share such a run.
pub(super) fn check(checker: &mut Checker<'_>) {
    let mut first: BTreeMap<String, (&str, &Step)> = BTreeMap::new();
    let mut told = BTreeSet::new();
    for workflow in checker.project.workflows.values() {
        let prints: Vec<String> = workflow.steps.iter().map(|step| print(step)).collect();
        let mut own = BTreeMap::new();
        for (index, window) in prints.windows(RUN).enumerate() {
            let key = window.concat();
            let step: &Step = &workflow.steps[index];
            match first.get(&key) {
                Some((other, at)) if told.insert((*other, workflow.name.as_str())) => {
                    let message = format!("{RUN} steps from `{}` on also stand in workflow `{other}`", step.name.value);
                    let complaint = Diagnostic::warning(message).at(&step.name.span, "").also(&at.name.span, "there");
                    checker.complain(complaint.help("put them in a workflow of their own and write workflow = \"…\" in both"));
                }
                Some(_) => {}
                None => {
                    own.entry(key).or_insert((workflow.name.as_str(), step));
                }
            }
        }
        first.append(&mut own);
    }
}

/// What a step does, without its name.
fn print(step: &Step) -> String {
    let mut text = match &step.what {
        What::Call { def, method } => format!("{}.{}", def.value, method.value),
        What::Workflow(name) => format!("workflow {}", name.value),
    };
    for (key, argument) in &step.with {
        let _ = write!(text, " {key}={}", of_template(&argument.template.value));
    }
    for expr in step.condition.iter().chain(&step.for_each) {
        let _ = write!(text, " ? {}", expr.text());
    }
    text + "\n"
}

fn of_template(template: &Template) -> String {
    match template {
        Template::Literal(value) => value.display(),
        Template::Expr(expr) => format!("${{{{{}}}}}", expr.text()),
        Template::Text(pieces) => {
            let piece = |piece: &Piece| match piece {
                Piece::Text(text) => text.clone(),
                Piece::Expr(expr) => format!("${{{{{}}}}}", expr.text()),
            };
            pieces.iter().map(piece).collect()
        }
        Template::List(items) => items.iter().map(|item| of_template(&item.value)).collect::<Vec<_>>().join(","),
        Template::Map(fields) => {
            fields.iter().map(|(key, field)| format!("{key}:{}", of_template(&field.value))).collect::<Vec<_>>().join(",")
        }
    }
}
