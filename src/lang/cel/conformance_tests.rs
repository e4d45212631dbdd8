//! The CEL project's own conformance cases, through our environment, our guards and our converter.
//!
//! The cases are data of google/cel-spec and not part of this repository: without the file the test says so and passes, unless `PMX_REAL=1`.
#![expect(clippy::disallowed_methods, reason = "the cases lie outside the repository, and the environment says where")]
#![expect(clippy::print_stderr, reason = "a skipped test must say so")]

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::mpsc::channel;

use cel::Context;
use cel::common::types::{CelBool, CelBytes, CelDouble, CelInt, CelList, CelMap, CelMapKey, CelNull, CelString, CelType, CelUInt};
use cel::common::value::Val;
use cel::objects::Value as CelValue;
use serde_json::Value as Json;

use super::lower::Lowering;
use super::{ast, compile, convert, guard, pool};
use crate::value::{Map, Value};

/// Files that pass whole.
const WHOLE: [&str; 20] = [
    "basic",
    "comparisons",
    "conversions",
    "dynamic",
    "encoders_ext",
    "fields",
    "fp_math",
    "integer_math",
    "lists",
    "logic",
    "macros",
    "math_ext",
    "namespace",
    "optionals",
    "parse",
    "plumbing",
    "string",
    "string_ext",
    "timestamps",
    "type_deduction",
];

/// Cases of these files that do not pass, each with the reason.
const ALLOWED: &[(&str, &str, &str)] = &[
    ("parse", "triple_single_quoted_unescaped_punctuation", "the text form of the cases doubles a backslash"),
    ("parse", "triple_double_quoted_unescaped_punctuation", "likewise"),
    ("timestamps", "get_milliseconds", "the library counts all milliseconds of a duration, not those of its last second"),
];

fn cases() -> Option<Vec<Json>> {
    let beside = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/cel-spec.json");
    let path = std::env::var_os("PMX_CEL_SPEC").map_or(beside, PathBuf::from);
    let text = std::fs::read_to_string(path).ok()?;
    serde_json::from_str(&text).ok()
}

fn word<'j>(case: &'j Json, key: &str) -> &'j str {
    case[key].as_str().unwrap_or_default()
}

fn float(text: &str) -> f64 {
    text.parse().unwrap_or_else(|_| panic!("{text} is no float"))
}

/// A tagged value of the cases for CEL.
fn build(json: &Json) -> Box<dyn Val> {
    let (tag, body) = json.as_object().and_then(|object| object.iter().next()).unwrap_or_else(|| panic!("{json}"));
    let text = || body.as_str().unwrap_or_else(|| panic!("{json}")).to_owned();
    match tag.as_str() {
        "null" => Box::new(CelNull),
        "bool" => Box::new(CelBool::from(body.as_bool().unwrap())),
        "int" => Box::new(CelInt::from(text().parse::<i64>().unwrap())),
        "uint" => Box::new(CelUInt::from(text().parse::<u64>().unwrap())),
        "double" => Box::new(CelDouble::from(float(&text()))),
        "string" => Box::new(CelString::from(text())),
        "bytes" => Box::new(CelBytes::from(bytes(body))),
        "type" => Box::new(CelType::new(text())),
        "list" => Box::new(CelList::from(body.as_array().unwrap().iter().map(build).collect::<Vec<_>>())),
        "map" => {
            let pairs = body.as_array().unwrap().iter().map(|pair| (CelMapKey::try_from(build(&pair[0])).unwrap(), build(&pair[1])));
            Box::new(CelMap::from(pairs.collect::<HashMap<_, _>>()))
        }
        // Durations are made by CEL itself: the test needs no crate for them.
        "duration" => made(&format!("duration('{}.{:09}s')", body[0], body[1].as_u64().unwrap())),
        other => panic!("unknown tag {other}"),
    }
}

fn made(text: &str) -> Box<dyn Val> {
    let program = compile::env().compile(text).unwrap_or_else(|wrong| panic!("{text}: {:?}", wrong.errors));
    let value = program.execute(&Context::with_env(compile::env())).unwrap_or_else(|wrong| panic!("{text}: {wrong}"));
    value.try_into().unwrap_or_else(|_| panic!("{text} has no value"))
}

fn bytes(body: &Json) -> Vec<u8> {
    match body {
        Json::Array(numbers) => numbers.iter().map(|number| u8::try_from(number.as_u64().unwrap()).unwrap()).collect(),
        _ => {
            use base64::Engine as _;
            base64::engine::general_purpose::STANDARD.decode(body.as_str().unwrap()).unwrap()
        }
    }
}

/// A tagged value of the cases as ours, when ours can say it.
fn ours(json: &Json) -> Option<Value> {
    let (tag, body) = json.as_object()?.iter().next()?;
    let text = || body.as_str().map(str::to_owned);
    Some(match tag.as_str() {
        "null" => Value::Null,
        "bool" => Value::Bool(body.as_bool()?),
        "int" => Value::Int(text()?.parse().ok()?),
        "double" => Value::Float(float(&text()?)),
        "string" => Value::String(text()?),
        "list" => Value::List(body.as_array()?.iter().map(ours).collect::<Option<_>>()?),
        "map" => {
            let pair = |pair: &Json| Some((pair[0].get("string")?.as_str()?.to_owned(), ours(&pair[1])?));
            Value::Map(body.as_array()?.iter().map(pair).collect::<Option<Map>>()?)
        }
        _ => return None,
    })
}

fn same(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::Float(left), Value::Float(right)) => left == right || left.is_nan() && right.is_nan(),
        _ => left == right,
    }
}

/// What the case gives: `Ok` when it is what the case expects.
fn check(case: &Json) -> Result<(), String> {
    let text = word(case, "expr");
    let parsed = compile::tree(text);
    let expect = &case["expect"];
    let fails = word(expect, "kind") == "eval_error";
    let outcome = |good: bool, what: String| if good { Ok(()) } else { Err(what) };
    let Ok((tree, info)) = parsed else { return outcome(fails, "does not parse".to_owned()) };
    let places = ast::places(&tree, &info, text);
    let mut lowering = Lowering::new(text, &places);
    let mut context = Context::with_env(compile::env());
    for (name, binding) in case["bindings"].as_object().into_iter().flatten() {
        lowering.bind(name.split('.').next().unwrap_or_default());
        context.add_variable_as_val(name, build(binding));
    }
    let code = lowering.expr(&tree);
    if let Some(fault) = lowering.faults.first() {
        // Unknown names are refused before anything runs, which is what a checker does: these cases ask for none.
        if case["disable_check"] == true && fault.message.ends_with("is not known") {
            return Ok(());
        }
        return outcome(fails, format!("refused: {}", fault.message));
    }
    guard::reset();
    let result = CelValue::resolve_val(&code, &context);
    if let Some(limit) = guard::broken() {
        return Err(limit.to_owned());
    }
    match (result, word(expect, "kind")) {
        (Err(_), "eval_error") => Ok(()),
        (Ok(_), "eval_error") => Err("no error".to_owned()),
        (Err(error), _) => Err(format!("{error:?}")),
        (Ok(value), "true") => outcome(matches!(convert::of_cel(value.as_ref(), &mut 64), Ok(Value::Bool(true))), "not true".to_owned()),
        (Ok(value), _) => match ours(&expect["value"]) {
            Some(wanted) => {
                let got = convert::of_cel(value.as_ref(), &mut (1 << 20));
                outcome(got.as_ref().is_ok_and(|got| same(got, &wanted)), format!("{got:?}, expected {wanted:?}"))
            }
            None => {
                let wanted = build(&expect["value"]);
                let good = wanted.equals(value.as_ref()) && wanted.get_type().name() == value.get_type().name();
                outcome(good, format!("{value:?}, expected {wanted:?}"))
            }
        },
    }
}

#[test]
fn the_conformance_cases_of_cel() {
    let Some(cases) = cases() else {
        assert!(std::env::var_os("PMX_REAL").is_none_or(|real| real != "1"), "cel-spec.json is missing: set PMX_CEL_SPEC");
        eprintln!("skipped: needs cel-spec.json");
        return;
    };
    let (send, receive) = channel();
    let task = move || {
        let mut counts: BTreeMap<String, (usize, usize)> = BTreeMap::new();
        let mut failed = Vec::new();
        for case in cases.iter().filter(|case| WHOLE.contains(&word(case, "file")) && case["check_only"] != true) {
            // Containers are a matter of protocol buffers; expressions of pmx have none.
            if !word(case, "container").is_empty() {
                continue;
            }
            let (file, name) = (word(case, "file"), word(case, "name"));
            let count = counts.entry(file.to_owned()).or_default();
            count.1 += 1;
            match check(case) {
                Ok(()) => count.0 += 1,
                Err(_) if ALLOWED.iter().any(|(one, other, _)| (*one, *other) == (file, name)) => {}
                Err(why) => failed.push(format!("{file}/{}/{name}: {}: {why:.200}", word(case, "section"), word(case, "expr"))),
            }
        }
        drop(send.send((counts, failed)));
    };
    pool::run(Box::new(task)).unwrap();
    let (counts, failed) = receive.recv().unwrap();
    let total: usize = counts.values().map(|(_, total)| total).sum();
    assert!(failed.is_empty(), "{} of {total} fail:\n{}", failed.len(), failed.join("\n"));
    assert!(total > 1400, "only {total} cases");
}
