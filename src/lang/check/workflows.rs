//! Checks of workflows: inputs, steps, and what each step passes on.

use std::collections::{BTreeMap, BTreeSet};

use crate::lang::check::infer::infer;
use crate::lang::check::scene::Scene;
use crate::lang::check::{Checker, TypeSchema, definitions, template, unknown};
use crate::lang::definition::{Argument, Arguments, Definition};
use crate::lang::template::{Expr, Root};
use crate::lang::types::{Kind, Object, Type};
use crate::lang::workflow::{Step, What, Workflow};
use crate::source::{Diagnostic, Span, Spanned};

/// Every workflow.
pub(super) fn check(checker: &mut Checker<'_>) {
    for workflow in checker.project.workflows.values() {
        let mut used = BTreeSet::new();
        for step in &workflow.steps {
            self::step(checker, workflow, step, &mut used);
        }
        unused(checker, workflow, &used);
    }
}

/// The inputs of a workflow as its expressions see them.
fn declared(workflow: &Workflow) -> BTreeMap<String, Type> {
    workflow.inputs.iter().map(|(name, field)| (name.clone(), field.value.ty.clone())).collect()
}

/// Inputs that are used by name, or all of them.
type Used = BTreeSet<Option<String>>;

fn note(used: &mut Used, expr: &Expr) {
    for reference in &*expr.refs {
        if let Root::Input(name) = &*reference.root {
            used.insert(name.clone());
        }
    }
}

fn step(checker: &mut Checker<'_>, workflow: &Workflow, step: &Step, used: &mut Used) {
    let mut scene = Scene::of(declared(workflow));
    if let Some(list) = &step.for_each {
        note(used, list);
        let ty = infer(checker, &scene, list);
        scene.each = Some(items(checker, list, &ty));
    }
    if let Some(condition) = &step.condition {
        note(used, condition);
        decides(checker, &scene, condition);
    }
    step.with.values().flat_map(|argument| argument.template.value.exprs()).for_each(|expr| note(used, expr));
    match &step.what {
        What::Call { def, method } => call(checker, &scene, (step, def, method), used),
        What::Workflow(name) => nested(checker, &scene, step, name),
    }
}

fn decides(checker: &mut Checker<'_>, scene: &Scene, condition: &Expr) {
    let ty = infer(checker, scene, condition);
    let complaint = if ty.secret {
        Diagnostic::yours("a secret may not decide whether a step runs").at(&condition.span, "")
    } else if matches!(ty.kind, Kind::Bool | Kind::Any) {
        return;
    } else {
        Diagnostic::yours(format!("`if` is true or false, not {ty}")).at(&condition.span, "").help("compare it, such as `== \"running\"`")
    };
    checker.complain(complaint);
}

/// The types of `each.key` and `each.value`.
fn items(checker: &mut Checker<'_>, list: &Expr, ty: &Type) -> (Type, Type) {
    if ty.secret {
        checker.complain(Diagnostic::yours("a secret may not decide how often a step runs").at(&list.span, ""));
    }
    match &ty.kind {
        Kind::List(item) => (Type::of(Kind::Int), (**item).clone()),
        Kind::Map(item) => (Type::of(Kind::String), (**item).clone()),
        Kind::Object(_) => (Type::of(Kind::String), Type::default()),
        Kind::Any => (Type::default(), Type::default()),
        _ => {
            checker.complain(Diagnostic::yours(format!("`for_each` goes over a list or map, not {ty}")).at(&list.span, ""));
            (Type::default(), Type::default())
        }
    }
}

fn call(checker: &mut Checker<'_>, scene: &Scene, (step, def, method): (&Step, &Spanned<String>, &Spanned<String>), used: &mut Used) {
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
    let name = format!("{}.{}", def.value, method.value);
    let set = definitions::set_by_definition(definition, &method.value, schema, &step.with);
    let reads = definitions::inputs_read(&set);
    // An input may be given although the argument that reads it is overridden too.
    let all = definitions::set_by_definition(definition, &method.value, schema, &Arguments::new());
    let readable = definitions::inputs_read(&all);
    let mut inner = scene.inputs.clone().unwrap_or_default();
    for (key, argument) in &step.with {
        let what = format!("`{key}` of {name}");
        let ty = template::type_of(checker, scene, &argument.template.value);
        match row.arguments.get(key) {
            Some(field) => template::check(checker, scene, &what, &argument.template, &field.ty),
            None if readable.iter().any(|(read, ..)| read == key) => {}
            None => no_such_argument(checker, &name, key, (&argument.key, row.arguments.keys(), &readable)),
        }
        inner.insert(key.clone(), ty);
    }
    for (read, span, optional) in &reads {
        used.insert(Some((*read).to_owned()));
        if !inner.contains_key(*read) && !optional {
            let message = format!("`{}` reads the input `{read}`, which this step does not give", def.value);
            let help = format!("add it: with = {{ {read} = … }}, or declare [input.{read}]");
            checker.complain(Diagnostic::yours(message).at(&def.span, "").also(span, "read here").help(help));
        }
    }
    missing(checker, definition, (step, method), &row.arguments);
    inside(checker, scene, inner, &set, (&name, &row.arguments, schema));
    if step.options.fresh.is_some() && !row.observes {
        let complaint = Diagnostic::yours(format!("`fresh` is for methods that only look; {name} acts")).at(&method.span, "");
        checker.complain(complaint.help("remove `fresh`"));
    }
}

fn no_such_argument<'n>(
    checker: &mut Checker<'_>,
    name: &str,
    key: &str,
    (at, known, reads): (&Span, impl Iterator<Item = &'n String>, &[(&str, &Span, bool)]),
) {
    let inputs: Vec<String> = reads.iter().map(|(read, ..)| (*read).to_owned()).collect();
    let complaint = Diagnostic::yours(format!("{name} takes no `{key}`")).at(at, "");
    let known: BTreeSet<String> = known.cloned().chain(inputs).collect();
    let none = known.is_empty();
    let complaint = unknown(complaint, key, &known);
    checker.complain(if none { complaint.help("it takes no arguments") } else { complaint });
}

fn missing(checker: &mut Checker<'_>, definition: &Definition, (step, method): (&Step, &Spanned<String>), known: &Object) {
    let own = definition.methods.get(&method.value).map(|(_, arguments)| arguments);
    let set = |key: &String| {
        let by = |arguments: &Arguments| arguments.contains_key(key);
        by(&step.with) || own.is_some_and(by) || by(&definition.global)
    };
    for (key, field) in known.iter().filter(|(_, field)| field.required) {
        // A misspelt name is said already.
        let misspelt = step.with.keys().any(|given| !known.contains_key(given) && crate::name::nearest(given, [key.as_str()]).is_some());
        if !set(key) && !misspelt {
            let doc = if field.doc.is_empty() { String::new() } else { format!(" ({})", field.doc.trim_end_matches('.')) };
            let complaint = Diagnostic::yours(format!("{}.{} needs `{key}`", definition.name, method.value)).at(&method.span, "");
            checker.complain(complaint.help(format!("add it: with = {{ {key} = … }}{doc}")));
        }
    }
}

/// The definition's expressions with the inputs of this step.
fn inside(
    checker: &mut Checker<'_>,
    scene: &Scene,
    inputs: BTreeMap<String, Type>,
    set: &[(&String, &Argument)],
    (name, known, schema): (&str, &Object, &TypeSchema),
) {
    let scene = Scene { inputs: Some(inputs), strict: false, each: scene.each.clone() };
    for (key, argument) in set {
        let ty = known.get(*key).map(|field| field.ty.clone()).or_else(|| definitions::global_type(schema, key));
        let Some(ty) = ty else { continue };
        let def = name.split('.').next().unwrap_or(name);
        let owner = if schema.globals.contains_key(*key) { def } else { name };
        if !argument.template.value.is_literal() {
            template::check(checker, &scene, &format!("`{key}` of {owner}"), &argument.template, &ty);
        }
    }
}

fn nested(checker: &mut Checker<'_>, scene: &Scene, step: &Step, name: &Spanned<String>) {
    let Some(inner) = checker.project.workflows.get(&name.value) else {
        let complaint = Diagnostic::yours(format!("there is no workflow `{}`", name.value)).at(&name.span, "");
        checker.complain(unknown(complaint, &name.value, checker.project.workflows.keys()));
        return;
    };
    for (key, argument) in &step.with {
        let what = format!("input `{key}` of {}", name.value);
        match inner.inputs.get(key) {
            Some(field) => template::check(checker, scene, &what, &argument.template, &field.value.ty),
            None => {
                let complaint = Diagnostic::yours(format!("workflow `{}` has no input `{key}`", name.value)).at(&argument.key, "");
                let complaint = unknown(complaint, key, inner.inputs.keys());
                checker.complain(if inner.inputs.is_empty() { complaint.help("it takes none") } else { complaint });
            }
        }
    }
    for (key, field) in inner.inputs.iter().filter(|(key, field)| field.value.required && !step.with.contains_key(*key)) {
        let complaint = Diagnostic::yours(format!("workflow `{}` needs the input `{key}`", name.value)).at(&name.span, "");
        checker.complain(complaint.also(&field.span, "declared here").help(format!("add it: with = {{ {key} = … }}")));
    }
}

fn unused(checker: &mut Checker<'_>, workflow: &Workflow, used: &Used) {
    if used.contains(&None) {
        return;
    }
    for (name, field) in &workflow.inputs {
        if !used.contains(&Some(name.clone())) {
            let complaint = Diagnostic::warning(format!("the input `{name}` is never used")).at(&field.span, "");
            checker.complain(complaint.help(format!("read it with ${{{{ inputs.{name} }}}}, or remove it")));
        }
    }
}
