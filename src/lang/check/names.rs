//! Names of machines that no file declares: one that stands alone and is a slip away from one that stands often is probably a slip.

use std::collections::BTreeMap;

use crate::lang::check::Checker;
use crate::lang::template::{Index, Root};
use crate::lang::workflow::What;
use crate::source::{Diagnostic, Span};
use crate::value::Value;

/// A warning for each such name in `[bot]`, `[protect]`, `with` and references.
pub(super) fn check(checker: &mut Checker<'_>) {
    let mut places: BTreeMap<String, Vec<Span>> = BTreeMap::new();
    let mut note = |name: &str, span: &Span| places.entry(name.to_owned()).or_default().push(span.clone());
    let project = checker.project;
    for name in &project.pmxfile.protected {
        note(&name.value, &name.span);
    }
    for (name, vm) in project.pmxfile.bot.iter().flat_map(|bot| &bot.vms) {
        note(name, &vm.span);
    }
    let definitions = project
        .definitions
        .values()
        .flat_map(|definition| definition.global.values().chain(definition.methods.values().flat_map(|(_, arguments)| arguments.values())));
    let steps = project.workflows.values().flat_map(|workflow| &workflow.steps);
    for argument in definitions.chain(steps.clone().flat_map(|step| step.with.values())) {
        for reference in argument.template.value.refs() {
            if let Root::Resource { spec, instance: Index::Name(name), .. } = &*reference.root
                && spec == "vm"
            {
                note(name, &reference.span);
            }
        }
    }
    for step in steps.filter(|step| matches!(step.what, What::Call { .. } | What::Workflow(_))) {
        if let Some(argument) = step.with.get("vmName")
            && let Some(Value::String(name)) = argument.template.value.as_literal()
        {
            note(name, &argument.template.span);
        }
    }
    for (name, spans) in &places {
        let often = places.iter().filter(|(_, spans)| spans.len() >= 2).map(|(name, _)| name.as_str());
        let [only] = spans.as_slice() else { continue };
        // Numbered machines are a slip away from each other by design.
        let letters = |text: &str| text.chars().filter(|c| !c.is_ascii_digit()).collect::<String>();
        if let Some(near) = crate::name::nearest(name, often).filter(|near| name.chars().count() > 3 && letters(near) != letters(name)) {
            let complaint = Diagnostic::warning(format!("`{name}` is named only here")).at(only, "");
            checker.complain(complaint.help(format!("did you mean `{near}`?")));
        }
    }
}
