//! Checks of definitions: types, arguments, and what each call of them must be given.

use std::collections::BTreeSet;

use crate::lang::check::scene::Scene;
use crate::lang::check::{Checker, TypeSchema, template, unknown};
use crate::lang::definition::{Argument, Arguments, Definition};
use crate::lang::template::Root;
use crate::lang::types::{Object, Type};
use crate::source::Diagnostic;

/// Every definition by itself.
pub(super) fn check(checker: &mut Checker<'_>) {
    for definition in checker.project.definitions.values() {
        let Some(schema) = checker.schemas.types.get(&definition.kind.value) else {
            let complaint = Diagnostic::yours(format!("there is no type `{}`", definition.kind.value)).at(&definition.kind.span, "");
            checker.complain(match crate::name::renamed(&definition.kind.value) {
                Some(here) => complaint.help(format!("it is called `{here}` here")),
                None => unknown(complaint, &definition.kind.value, checker.schemas.types.keys()),
            });
            continue;
        };
        let scene = Scene::open();
        globals(checker, &scene, (&definition.name, &definition.global), schema);
        for (method, (span, arguments)) in &definition.methods {
            let Some(row) = schema.methods.get(method) else {
                let complaint = Diagnostic::yours(format!("{} has no method `{method}`", definition.kind.value)).at(span, "");
                checker.complain(unknown(complaint, method, schema.methods.keys()));
                continue;
            };
            of_method(checker, &scene, (&format!("{}.{method}", definition.name), arguments), &row.arguments);
        }
        required(checker, definition, schema);
    }
}

/// Arguments of `[global]`: of the type, or defaults of arguments of its methods.
pub(super) fn globals(checker: &mut Checker<'_>, scene: &Scene, (name, arguments): (&str, &Arguments), schema: &TypeSchema) {
    for (key, argument) in arguments {
        match global_type(schema, key) {
            Some(ty) => template::check(checker, scene, &format!("`{key}` of {name}"), &argument.template, &ty),
            None => {
                let methods = schema.methods.values().flat_map(|method| method.arguments.keys());
                let known: BTreeSet<&String> = schema.globals.keys().chain(methods).collect();
                let complaint = Diagnostic::yours(format!("{name} takes no `{key}`")).at(&argument.key, "");
                checker.complain(unknown(complaint, key, known));
            }
        }
    }
}

/// The type of a global argument, or of the argument of that name that some method has.
pub(super) fn global_type(schema: &TypeSchema, key: &str) -> Option<Type> {
    let methods = || schema.methods.values().find_map(|method| method.arguments.get(key));
    schema.globals.get(key).or_else(methods).map(|field| field.ty.clone())
}

/// Arguments of one method.
pub(super) fn of_method(checker: &mut Checker<'_>, scene: &Scene, (call, arguments): (&str, &Arguments), known: &Object) {
    for (key, argument) in arguments {
        match known.get(key) {
            Some(field) => template::check(checker, scene, &format!("`{key}` of {call}"), &argument.template, &field.ty),
            None => {
                let complaint = Diagnostic::yours(format!("{call} takes no `{key}`")).at(&argument.key, "");
                checker.complain(unknown(complaint, key, known.keys()));
            }
        }
    }
}

fn required(checker: &mut Checker<'_>, definition: &Definition, schema: &TypeSchema) {
    let missing = schema.globals.iter().filter(|(name, field)| field.required && !definition.global.contains_key(*name));
    for (name, field) in missing {
        let message = format!("definition `{}` does not set `{name}`, which {} needs", definition.name, definition.kind.value);
        let doc = if field.doc.is_empty() { String::new() } else { format!(" ({})", field.doc.trim_end_matches('.')) };
        checker.complain(Diagnostic::yours(message).at(&definition.kind.span, "").help(format!("add `{name} = …` under [global]{doc}")));
    }
}

/// The arguments that a call takes from its definition unless the step gives them: globals and method, `with` left out.
pub(super) fn set_by_definition<'d>(
    definition: &'d Definition,
    method: &str,
    schema: &TypeSchema,
    with: &Arguments,
) -> Vec<(&'d String, &'d Argument)> {
    let own = definition.methods.get(method).map(|(_, arguments)| arguments);
    let takes = schema.methods.get(method).map(|row| &row.arguments);
    let is_argument = |name: &String| takes.is_some_and(|known| known.contains_key(name));
    let overridden = |name: &String| is_argument(name) && with.contains_key(name);
    let shadowed = |name: &String| own.is_some_and(|own| own.contains_key(name));
    let globals = definition
        .global
        .iter()
        .filter(|(name, _)| schema.globals.contains_key(*name) || (is_argument(name) && !overridden(name) && !shadowed(name)));
    let methods = own.into_iter().flatten().filter(|(name, _)| !overridden(name));
    globals.chain(methods).collect()
}

/// The inputs that arguments read and that must be there.
pub(super) fn inputs_read<'d>(arguments: &[(&'d String, &'d Argument)]) -> Vec<(&'d str, &'d crate::source::Span, bool)> {
    let mut found = Vec::new();
    for (_, argument) in arguments {
        for reference in argument.template.value.refs() {
            if let Root::Input(Some(name)) = &*reference.root {
                found.push((name.as_str(), &reference.span, reference.optional));
            }
        }
    }
    found
}
