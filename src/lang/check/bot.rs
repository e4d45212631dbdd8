//! Checks of the bot's table: every action must lead to something that runs.

use crate::lang::check::{Checker, definitions, unknown};
use crate::lang::definition::Arguments;
use crate::lang::lower::bot::ACTIONS;
use crate::lang::lower::workflow::reference;
use crate::lang::steer;
use crate::source::{Diagnostic, Spanned};

/// Every VM and action.
pub(super) fn check(checker: &mut Checker<'_>) {
    let Some(bot) = &checker.project.pmxfile.bot else { return };
    for (vm, row) in &bot.vms {
        for action in &row.actions {
            self::action(checker, vm, action, row.status.is_some());
        }
        if let Some(call) = &row.status {
            status(checker, call);
        }
    }
}

/// Whether some workflow does this to the VM. An unusable workflow is a complaint of its own.
fn workflow(checker: &mut Checker<'_>, vm: &str, action: &str, at: &Spanned<String>) -> bool {
    let Some((found, common)) = steer::workflow(checker.project, vm, action) else { return false };
    let passed = if common { steer::NAME } else { "" };
    let needed = found.inputs.iter().find(|(name, field)| field.value.required && name.as_str() != passed);
    if let Some((name, field)) = needed {
        let message = format!("workflow `{}` needs the input `{name}`, which the bot cannot give", found.name);
        checker.complain(Diagnostic::yours(message).at(&at.span, "").also(&field.span, "declared here").help("give the input a default"));
    }
    if !passed.is_empty() && !found.inputs.contains_key(passed) {
        let message = format!("workflow `{}` has no input `{passed}`, so it cannot be told which VM", found.name);
        checker.complain(Diagnostic::yours(message).at(&at.span, ""));
    }
    true
}

fn action(checker: &mut Checker<'_>, vm: &str, action: &Spanned<String>, has_status: bool) {
    let name = action.value.as_str();
    if workflow(checker, vm, name, action) {
        return;
    }
    let good = match name {
        "reboot" => workflow(checker, vm, "stop", action) & workflow(checker, vm, "start", action),
        "status" => has_status || checker.schema("fleet").is_some_and(|schema| schema.methods.contains_key("lookup")),
        _ => false,
    };
    if good {
        return;
    }
    let wanted = match name {
        "reboot" => format!("write a workflow `reboot-{vm}`, or `stop-{vm}` and `start-{vm}`"),
        "status" => "name the call that tells it: status = \"definition.method\"".to_owned(),
        _ => {
            let near = crate::name::nearest(name, ACTIONS).filter(|near| *near != name).map(|near| format!("did you mean `{near}`? Else "));
            format!("{}write a workflow `{name}-{vm}` or `{name}-vm`", near.unwrap_or_default())
        }
    };
    checker.complain(Diagnostic::yours(format!("no workflow does `{name}` to `{vm}`")).at(&action.span, "").help(wanted));
}

fn status(checker: &mut Checker<'_>, call: &Spanned<String>) {
    let Some((def, method)) = reference(call) else { return };
    let Some(definition) = checker.project.definitions.get(&def.value) else {
        let complaint = Diagnostic::yours(format!("there is no definition `{}`", def.value)).at(&def.span, "");
        checker.complain(unknown(complaint, &def.value, checker.project.definitions.keys()));
        return;
    };
    let Some(schema) = checker.schema(&def.value) else { return };
    let Some(row) = schema.methods.get(&method.value) else {
        let complaint = Diagnostic::yours(format!("{} has no method `{}`", definition.kind.value, method.value)).at(&method.span, "");
        checker.complain(unknown(complaint, &method.value, schema.methods.keys()));
        return;
    };
    let set = definitions::set_by_definition(definition, &method.value, schema, &Arguments::new());
    let missing = row.arguments.iter().find(|(name, field)| field.required && !set.iter().any(|(known, _)| known == name));
    if let Some((name, _)) = missing {
        let message = format!("`{}` needs `{name}`, which the bot cannot give", call.value);
        checker.complain(Diagnostic::yours(message).at(&call.span, "").help("name a call that needs nothing"));
    }
    if let Some((name, span, _)) = definitions::inputs_read(&set).into_iter().find(|(_, _, optional)| !optional) {
        let message = format!("`{}` reads the input `{name}`, which the bot cannot give", call.value);
        checker.complain(Diagnostic::yours(message).at(&call.span, "").also(span, "read here"));
    }
}
