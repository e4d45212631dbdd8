//! Tests of parsing whole files: what they become, and the one line of each mistake.

use std::sync::Arc;

use crate::lang::{definition, pmxfile, workflow};
use crate::source::{Diagnostic, Source};

fn lines(complaints: &[Diagnostic]) -> Vec<String> {
    complaints.iter().map(ToString::to_string).collect()
}

fn of_workflow(text: &str) -> Vec<String> {
    lines(&workflow::parse(&source("w.toml", text)).1)
}

fn source(name: &str, text: &str) -> Arc<Source> {
    Source::new(name, text)
}

const PMXFILE: &str = include_str!("testdata/Pmxfile.toml");

#[test]
fn the_pmxfile_of_the_design() {
    let (pmxfile, complaints) = pmxfile::parse(&source("Pmxfile.toml", PMXFILE));
    assert_eq!(lines(&complaints), Vec::<String>::new());
    let pmxfile = pmxfile.unwrap();
    let lab = &pmxfile.profiles["lab"];
    assert_eq!((pmxfile.name.as_str(), pmxfile.run.jobs, lab.closed), ("proxmox-manager", 16, true));
    assert_eq!(lab.connect[1].0.value, "10.0.0.*:22");
    let seconds = &lab.definitions["calamityTerraria"][&Some("warnShutdown".to_owned())].get("seconds").unwrap();
    assert_eq!(format!("{:?}", seconds.template.value), "Literal(Int(3))");
    assert_eq!(pmxfile.bot.unwrap().vms["calamity"].status.as_ref().unwrap().value, "calamityTerraria.status");
}

#[test]
fn places_survive_every_kind_of_string() {
    let text = "type = 'x/y'\n[global]\na = '${{ inputs.x }}'\nb = \"\"\"\n  one\n  ${{ inputs.y }}\"\"\"\nc = \"t\\t${{ inputs.z }}\"\nd = [1, { e = '${{ inputs.w }}' }]\n";
    let (definition, complaints) = definition::parse(&source("d.toml", text));
    assert_eq!(lines(&complaints), Vec::<String>::new());
    let definition = definition.unwrap();
    let at = |name: &str| {
        definition
            .global
            .get(name)
            .unwrap()
            .template
            .value
            .refs()
            .map(|found| format!("{} {}", found.span, found.span.text()))
            .collect::<Vec<_>>()
    };
    assert_eq!(at("a"), ["d.toml:3:10 inputs.x"]);
    assert_eq!(at("b"), ["d.toml:6:7 inputs.y"]);
    // Escapes move every byte after them: the place is the whole string.
    assert_eq!(at("c"), ["d.toml:7:5 \"t\\t${{ inputs.z }}\""]);
    assert_eq!(at("d"), ["d.toml:8:20 inputs.w"]);
}

#[test]
fn mistakes_in_workflows() {
    let step = |rest: &str| format!("[[step]]\nname = \"a\"\n{rest}\n");
    let table = [
        (step("call = \"fleet\""), "w.toml:3:9: `fleet` is not a call; write `definition.method`, such as `fleet.start`"),
        (step("cal = \"fleet.start\""), "w.toml:3:1: unknown key `cal` in a step; did you mean `call`?"),
        (step("call = 3"), "w.toml:3:8: `call` is the integer 3, expected a string"),
        (step("call = \"a.b\"\nworkflow = \"c\""), "w.toml:4:12: a step has either `call` or `workflow`, not both; make two steps of it"),
        (step(""), "w.toml:1:1: a step has no `call`; add `call = \"definition.method\"` or `workflow = \"name\"`"),
        (step("call = \"a.b\"\nafter = [\"c\"]"), "w.toml:4:11: no earlier step is called `c`"),
        (step("call = \"a.b\"\nafter = [\"a\"]"), "w.toml:4:11: step `a` cannot be after itself"),
        (
            step("call = \"a.b\"\nalways = \"true\""),
            "w.toml:4:10: `always` is the string \"true\", expected a boolean; write it without the quotes",
        ),
        (
            step("call = \"a.b\"\ntimeout = \"10\""),
            "w.toml:4:11: `timeout`: `10` has no unit; write a number and a unit: \"90s\", \"10m\", \"2h\", \"1d\"; an integer is seconds",
        ),
        (step("call = \"a.b\"\nretry = { time = 3 }"), "w.toml:4:11: unknown key `time` in `retry`; did you mean `times`?"),
        (step("call = \"a.b\"\nretry = 3"), "w.toml:4:9: `retry` is the integer 3, expected a table"),
        (step("call = \"a.b\"\nwith = { x = '${{ inptus.x }}' }"), "w.toml:4:19: `inptus` is not known; did you mean `inputs`?"),
        (step("call = \"a.b\"\nif = true"), "w.toml:4:6: `if` is the boolean true, expected an expression in a string"),
        (step("call = \"a.b\"\nif = 'size(inputs.x) >'"), "w.toml:4:23: the expression ends too early"),
        ("[[step]]\nname = \"\"\ncall = \"a.b\"".to_owned(), "w.toml:2:9: the name of a step is empty"),
        ("[[step]]\ncall = \"a.b\"".to_owned(), "w.toml:1:1: a step has no `name`; add `name = \"…\"`"),
        (
            "[step]\nname = \"a\"\ncall = \"a.b\"".to_owned(),
            "w.toml:1:1: `step` is a table, expected a list of tables, each written [[step]]",
        ),
        ("description = \"x\"".to_owned(), "w.toml:1:1: a workflow has no `step`; add `[[step]]`"),
        (step("call = \"a.b\"") + &step("call = \"a.b\""), "w.toml:5:9: two steps are called `a`; give each step its own name"),
    ];
    let more = [
        (step("call = \"a.b\"\ntimeout = 0"), "w.toml:4:11: `timeout` is 0, so the step could never end in time; remove it, or write more"),
        (
            step("call = \"a.b\"\nconfirm = '${{ inputs.x }}'"),
            "w.toml:4:12: `confirm` is asked before expressions are evaluated; write plain text",
        ),
        (
            step("call = \"a.b\"\ntimeout = \"5m1h\""),
            "w.toml:4:11: `timeout`: `5m1h` names its units out of order; write a number and a unit: \"90s\", \"10m\", \"2h\", \"1d\"; an integer is seconds",
        ),
    ];
    for (text, said) in table.into_iter().chain(more) {
        assert_eq!(of_workflow(&text).first().map(String::as_str), Some(said), "{text}");
    }
}

#[test]
fn mistakes_in_inputs() {
    let input = |rest: &str| format!("[input.x]\n{rest}\n[[step]]\nname = \"a\"\ncall = \"a.b\"\n");
    let table = [
        (input("type = \"strin\""), "w.toml:2:9: `strin` is not a type of inputs; did you mean `string`?"),
        (input(""), "w.toml:1:1: [input.x] has no `type`; add `type = \"string\"`"),
        (
            input("type = \"integer\"\ndefault = \"three\""),
            "w.toml:3:11: the default of input `x` is the string \"three\", expected integer",
        ),
        (
            input("type = \"string\"\ndefault = \"b\"\nenum = [\"start\"]"),
            "w.toml:3:11: the default of input `x` is \"b\", expected one of start",
        ),
        (input("type = \"string\"\npattern = \"^[a\""), "w.toml:3:12: `^[a` is not a regular expression: unclosed character class"),
        (
            input("type = \"string\"\npattern = \"a+\"\ndefault = \"b\""),
            "w.toml:4:11: the default of input `x` is \"b\", which does not match `a+`",
        ),
        (input("type = \"integer\"\npattern = \"a+\""), "w.toml:3:12: `pattern` is for strings, this input is of type integer"),
        (
            input("type = \"string\"\nrequired = true"),
            "w.toml:3:1: unknown key `required` in [input.x]; known keys are type, description, default, pattern, enum",
        ),
    ];
    for (text, said) in table {
        assert_eq!(of_workflow(&text).first().map(String::as_str), Some(said), "{text}");
    }
}

#[test]
fn syntax_errors_are_plain() {
    let table = [
        ("[[step]\nname = \"a\"", "w.toml:1:8: not TOML"),
        ("[[step]]\nname = \"a\ncall = \"a.b\"", "w.toml:2:"),
        ("[[step]]\nname = a", "w.toml:2:8: not TOML"),
        ("[[step]]\nname = \"a\"\nname = \"b\"", "w.toml:3:1: this key stands twice"),
        ("[[step]]\nname \"a\"", "w.toml:2:"),
        ("[[step]]\nwith = { a = 1", "w.toml:2:"),
    ];
    for (text, begin) in table {
        let said = of_workflow(text);
        assert!(said[0].starts_with(begin), "{text}: {said:?}");
        assert!(said[0].contains("; "), "no help: {said:?}");
    }
}

#[test]
fn all_complaints_come_at_once() {
    let text = "descripton = 1\n[input.a]\ntype = 3\n[[step]]\nnam = \"x\"\ncall = \"a.b\"\ntimeout = true\n";
    assert_eq!(of_workflow(text).len(), 5);
}

/// Reads a file as each of the three kinds; the complaints are words with a place.
fn read_as(kind: &str, text: &str) -> Result<(), String> {
    let source = source(&format!("definitions/{kind}.toml"), text);
    let complaints = match kind {
        "pmxfile" => pmxfile::parse(&source).1,
        "definition" => definition::parse(&source).1,
        _ => workflow::parse(&source).1,
    };
    let errors: Vec<&Diagnostic> = complaints.iter().filter(|complaint| complaint.severity == crate::source::Severity::Error).collect();
    assert!(complaints.iter().all(|complaint| !complaint.message.is_empty()));
    if errors.is_empty() { Ok(()) } else { Err(lines(&complaints).join("\n")) }
}

#[test]
fn pmxfiles_are_read_or_refused_however_spoiled() {
    crate::walks::feed(&[PMXFILE, include_str!("../../../Pmxfile.toml")], |bytes| read_as("pmxfile", &String::from_utf8_lossy(bytes)));
}

#[test]
fn definitions_are_read_or_refused_however_spoiled() {
    let seeds = [include_str!("../../../definitions/fleet.toml"), include_str!("../../../definitions/calamityTerraria.toml")];
    crate::walks::feed(&seeds, |bytes| read_as("definition", &String::from_utf8_lossy(bytes)));
}

#[test]
fn workflows_are_read_or_refused_however_spoiled() {
    let seeds = [include_str!("../../../workflows/stop-calamity.toml"), include_str!("../../../workflows/create-stateful-vm.toml")];
    crate::walks::feed(&seeds, |bytes| read_as("workflow", &String::from_utf8_lossy(bytes)));
}

#[test]
fn expressions_are_compiled_or_refused_however_spoiled() {
    let seeds = [
        "a ${{ model.fleet.resource.vm['VM 102'].attributes.ip }} b ${{ inputs.x ? \"1\" : 'two' }}",
        "${{ has(inputs.a.b) && inputs.list.exists(x, x.n > 3u || x.t.matches('^a+$')) ? [1, 2.5, b\"\\x00\"] : {'k': -1} }}",
        "$${{ no }} ${{ vault.get(\"v\", \"k\") }}",
    ];
    crate::walks::feed(&seeds, |bytes| {
        let text = String::from_utf8_lossy(bytes);
        let source = source("w.toml", &text);
        let span = crate::source::Span::new(&source, 0..text.len());
        crate::lang::template::Template::parse(&text, &span).map(drop).map_err(|complaints| lines(&complaints).join("\n"))
    });
}
