//! The schemas against the readers of the files: the same keys, in every table.

use std::collections::BTreeSet;

use super::*;
use crate::lang::{definition as definitions, pmxfile as pmxfiles, workflow as workflows};
use crate::source::{Diagnostic, Source};

/// The keys that a reader knows where `text` has the unknown key `qqqqqqqq`.
fn known(path: &str, text: &str) -> BTreeSet<String> {
    let source = Source::new(path, text);
    let complaints: Vec<Diagnostic> = match path {
        "Pmxfile.toml" => pmxfiles::parse(&source).1,
        "definitions/a.toml" => definitions::parse(&source).1,
        _ => workflows::parse(&source).1,
    };
    let told = complaints.iter().find(|complaint| complaint.message.contains("`qqqqqqqq`"));
    let help = told.and_then(|complaint| complaint.help.clone()).unwrap_or_else(|| panic!("{path}: nobody minds in {text}"));
    help.strip_prefix("known keys are ").unwrap_or_else(|| panic!("{help}")).split(", ").map(str::to_owned).collect()
}

fn keys(schema: &Json, pointer: &str) -> BTreeSet<String> {
    let properties = schema.pointer(&format!("{pointer}/properties")).and_then(Json::as_object);
    properties.unwrap_or_else(|| panic!("nothing at {pointer}")).keys().cloned().collect()
}

#[test]
fn a_schema_knows_the_keys_that_its_reader_knows() {
    const BAD: &str = "qqqqqqqq = 1\n";
    let table = |head: &str| format!("[project]\nname = \"x\"\n{head}\n{BAD}");
    let step = "[[step]]\nname = \"a\"\ncall = \"b.c\"\n";
    let cases: [(FileKind, &str, String, &str); 14] = [
        (FileKind::Pmxfile, "Pmxfile.toml", BAD.to_owned(), ""),
        (FileKind::Pmxfile, "Pmxfile.toml", format!("[project]\nname = \"x\"\n{BAD}"), "/properties/project"),
        (FileKind::Pmxfile, "Pmxfile.toml", table("[store]"), "/properties/store"),
        (FileKind::Pmxfile, "Pmxfile.toml", table("[run]"), "/properties/run"),
        (FileKind::Pmxfile, "Pmxfile.toml", table("[protect]\nvms = []"), "/properties/protect"),
        (FileKind::Pmxfile, "Pmxfile.toml", table("[bot]"), "/properties/bot"),
        (FileKind::Pmxfile, "Pmxfile.toml", table("[bot.vm.a]\nactions = []"), "/properties/bot/properties/vm/additionalProperties"),
        (FileKind::Pmxfile, "Pmxfile.toml", table("[at.a]"), "/properties/at/additionalProperties"),
        (FileKind::Pmxfile, "Pmxfile.toml", table("[profile.a]"), "/properties/profile/additionalProperties"),
        (FileKind::Definition, "definitions/a.toml", BAD.to_owned(), ""),
        (FileKind::Workflow, "workflows/a.toml", format!("{BAD}{step}"), ""),
        (FileKind::Workflow, "workflows/a.toml", format!("{step}{BAD}"), "/properties/step/items"),
        (
            FileKind::Workflow,
            "workflows/a.toml",
            format!("{step}retry = {{ times = 1, qqqqqqqq = 1 }}"),
            "/properties/step/items/properties/retry",
        ),
        (
            FileKind::Workflow,
            "workflows/a.toml",
            format!("{step}[input.a]\ntype = \"string\"\n{BAD}"),
            "/properties/input/additionalProperties",
        ),
    ];
    for (kind, path, text, pointer) in cases {
        assert_eq!(keys(&schema(kind), pointer), known(path, &text), "{kind:?} at {pointer}");
    }
    // A vault's keys depend on its kind; the schema has them all.
    let kinds = ["kind = \"file\"\npath = \"a\"", "kind = \"env\"", "kind = \"command\"\ncommand = [\"{key}\"]"];
    let all: BTreeSet<String> = kinds.iter().flat_map(|kind| known("Pmxfile.toml", &table(&format!("[vault.a]\n{kind}")))).collect();
    assert_eq!(keys(&schema(FileKind::Pmxfile), "/properties/vault/additionalProperties"), all);
}

#[test]
fn a_definition_takes_what_its_type_takes() {
    let schema = schema(FileKind::Definition);
    let conditions = schema["allOf"].as_array().unwrap();
    assert_eq!(conditions.len(), registry::types().len());
    for (row, condition) in registry::types().iter().zip(conditions) {
        assert_eq!(condition["if"]["properties"]["type"]["const"], row.name);
        let takes = &condition["then"]["properties"];
        for method in row.methods {
            let own: BTreeSet<String> = (method.arguments)().keys().cloned().collect();
            assert_eq!(keys(takes, &format!("/methods/properties/{}", method.name)), own);
            assert!(keys(takes, "/global").is_superset(&own), "{}: a global may be the default of an argument", row.name);
        }
    }
}

#[test]
fn a_value_may_always_be_an_expression() {
    let int = value(&Type { min: Some(1.0), ..Type::of(Kind::Int) });
    assert_eq!(int, json!({ "type": ["integer", "string"], "pattern": r"\$\{\{|^[-+]?\d+$", "minimum": 1.0 }));
    let list = value(&Type::of(Kind::List(Box::new(Type::of(Kind::Bool)))));
    assert_eq!(list["items"], json!({ "type": ["boolean", "string"], "pattern": r"\$\{\{|^(true|false)$" }));
    let words = value(&Type::of(Kind::Enum(vec!["a".into()])));
    assert_eq!(words["anyOf"][1]["pattern"], EXPRESSION);
    let text = value(&Type { pattern: Some("[a-z]+".into()), ..Type::of(Kind::String) });
    assert_eq!(text["pattern"], r"^(?:[a-z]+)$|\$\{\{");
}
