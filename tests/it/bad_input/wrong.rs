//! Values of a wrong type: `pmx check` names file, line and argument, what was given and what fits.

use std::fmt::Write as _;

use pmx::lang::types::{Field, Kind, Object, Type};
use pmx::model::contract::TypeRow;
use pmx::model::registry;
use serde_json::Value as Json;

use super::super::sandbox::Sandbox;
use super::{good, stem};

/// A value that cannot fit, as TOML writes it and as a complaint tells it; `None` where everything fits.
fn wrong(ty: &Type) -> Option<(&'static str, &'static str)> {
    match &ty.kind {
        Kind::Any | Kind::Null => None,
        Kind::Bool | Kind::Int | Kind::Float => Some(("\"perhaps\"", "the string \"perhaps\"")),
        Kind::String | Kind::Enum(_) | Kind::List(_) | Kind::Map(_) | Kind::Object(_) => Some(("7", "integer 7")),
    }
}

/// One wrong value somewhere: where it stands, and what must be said of it.
struct Mistake {
    file: String,
    line: usize,
    said: [String; 2],
}

/// `[global]` with everything that must be there, and `argument` as `value`.
fn globals(row: &TypeRow, argument: Option<(&str, &str)>) -> String {
    let mut text = format!("type = \"{}\"\n\n[global]\n", row.name);
    if let Some((name, value)) = argument {
        let _ = writeln!(text, "{name} = {value}");
    }
    for (name, field) in (row.globals)().iter().filter(|(name, field)| field.required && argument.is_none_or(|(given, _)| given != *name)) {
        let _ = writeln!(text, "{name} = {}", good(name, field));
    }
    text
}

fn mistakes(object: &Object) -> impl Iterator<Item = (&String, &Field, &'static str, &'static str)> {
    object.iter().filter_map(|(name, field)| wrong(&field.ty).map(|(value, told)| (name, field, value, told)))
}

/// A project with one wrong value a file, and a workflow with one a step.
fn project(row: &TypeRow) -> (Sandbox, Vec<Mistake>) {
    let good_name = stem(row.name);
    let mut sandbox = Sandbox::new().file("Pmxfile.toml", "[project]\nname = \"bad\"\n");
    sandbox = sandbox.file(&format!("definitions/{good_name}.toml"), &globals(row, None));
    let mut expected = Vec::new();
    let mut expect = |file: &str, line: usize, (name, field, told): (&str, &Field, &str)| {
        let said = [format!("`{name}` of "), format!(" is {told}, expected {}", field.ty)];
        expected.push(Mistake { file: file.to_owned(), line, said });
    };
    for (name, field, value, told) in mistakes(&(row.globals)()) {
        let file = format!("definitions/global-{name}.toml");
        sandbox = sandbox.file(&file, &globals(row, Some((name, value))));
        expect(&file, 4, (name, field, told));
    }
    let mut steps = String::new();
    for method in row.methods {
        for (name, field, value, told) in mistakes(&(method.arguments)()) {
            let file = format!("definitions/{}-{name}.toml", method.name);
            let text = format!("{}\n[methods.{}]\n{name} = {value}\n", globals(row, None), method.name);
            expect(&file, text.lines().count(), (name, field, told));
            sandbox = sandbox.file(&file, &text);
            let _ = write!(
                steps,
                "[[step]]\nname = \"{0}-{name}\"\ncall = \"{good_name}.{0}\"\nwith = {{ {name} = {value} }}\n\n",
                method.name
            );
            expect("workflows/wrong.toml", steps.lines().count() - 1, (name, field, told));
        }
    }
    if !steps.is_empty() {
        sandbox = sandbox.file("workflows/wrong.toml", &steps);
    }
    (sandbox, expected)
}

#[test]
fn a_wrong_type_is_told_with_its_place_what_was_given_and_what_fits() {
    let mut told = 0;
    for row in registry::types() {
        let (sandbox, expected) = project(row);
        let ran = sandbox.pmx(&["check", "--json"]).exits(2);
        let complaints: Vec<Json> = ran.json().as_array().cloned().unwrap_or_default();
        for Mistake { file, line, said } in &expected {
            let here = |complaint: &&Json| complaint["file"] == file.as_str() && complaint["line"] == *line;
            let text = |complaint: &Json| complaint["message"].as_str().unwrap_or_default().to_owned();
            let fits = complaints.iter().filter(here).map(text).any(|message| said.iter().all(|part| message.contains(part)));
            assert!(fits, "{}: nobody says {said:?} at {file}:{line}\n{ran}", row.name);
        }
        told += expected.len();
    }
    // Each argument of each method twice, in a definition and in a step; each global argument once.
    assert!(told > 180, "{told}");
}
