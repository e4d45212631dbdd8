//! Inputs: what a target takes, whether a value fits its declaration, and values out of command-line text.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::lang::Project;
use crate::lang::pmxfile::Profile;
use crate::lang::types::{Field, Kind, Type};
use crate::name::nearest;
use crate::plan::Types;
use crate::plan::bind::Binder;
use crate::plan::graph::{InputValue, Inputs};
use crate::plan::target::{Target, unknown_workflow};
use crate::secret::{Origin, Secret};
use crate::source::{Diagnostic, Source, Span, Spanned};
use crate::value::{Map, Value};

/// The inputs of `-i name=value` arguments, each typed by what the targets declare. Errors are all complaints: no `=`, a name that no target knows
/// (with the nearest that one does), the same name twice, a text that does not fit.
pub fn parse(
    project: &Project,
    types: Types<'_>,
    profile: Option<&Profile>,
    targets: &[Target],
    given: &[String],
) -> Result<Map, Vec<Diagnostic>> {
    let mut binder = Binder::new(project, types, profile);
    // A target that does not exist takes no inputs: to say so of an input would hide the real mistake.
    let mut complaints: Vec<Diagnostic> = targets.iter().filter_map(|target| missing(project, &mut binder, target)).collect();
    if !complaints.is_empty() {
        return Err(complaints);
    }
    let declared = declared(project, &mut binder, targets);
    let mut values = Map::new();
    for text in given {
        match pair(text, &declared) {
            Ok((name, value)) if !values.contains_key(&name) => {
                values.insert(name, value);
            }
            Ok((name, _)) => complaints.push(Diagnostic::yours(format!("input `{name}` is given twice")).help("keep one `-i`")),
            Err(complaint) => complaints.push(complaint),
        }
    }
    if complaints.is_empty() { Ok(values) } else { Err(complaints) }
}

fn missing(project: &Project, binder: &mut Binder<'_>, target: &Target) -> Option<Diagnostic> {
    match target {
        Target::Workflow(name) if !project.workflows.contains_key(name) => Some(unknown_workflow(name, project)),
        Target::Method { def, method } => binder.callable(def, method).err(),
        Target::Workflow(_) | Target::Resource(_) => None,
    }
}

fn pair(text: &str, declared: &BTreeMap<String, Type>) -> Result<(String, Value), Diagnostic> {
    let Some((name, value)) = text.split_once('=') else {
        return Err(Diagnostic::yours(format!("`-i {text}` has no value")).help("write `-i name=value`"));
    };
    let ty = declared.get(name).ok_or_else(|| unknown(name, declared.keys().map(String::as_str)))?;
    let source = Source::new(format!("-i {name}"), value);
    let span = Span::new(&source, 0..value.len());
    Ok((name.to_owned(), read(name, ty, value).map_err(|complaint| complaint.at(&span, ""))?))
}

/// The value that a text means to this type. Lists are JSON or words between commas; maps are JSON.
pub fn read(name: &str, ty: &Type, text: &str) -> Result<Value, Diagnostic> {
    let refuse = || Diagnostic::yours(format!("input `{name}` is `{text}`, expected {ty}"));
    if ty.nullable && text == "null" {
        return Ok(Value::Null);
    }
    let json = || serde_json::from_str::<serde_json::Value>(text).map(Value::from);
    Ok(match &ty.kind {
        Kind::Bool => Value::Bool(text.parse().map_err(|_| refuse().help("write true or false"))?),
        Kind::Int => Value::Int(text.parse().map_err(|_| refuse())?),
        Kind::Float => Value::Float(text.parse().ok().filter(|number: &f64| number.is_finite()).ok_or_else(refuse)?),
        Kind::List(_) if text.starts_with('[') => json().map_err(|e| refuse().help(format!("as JSON: {e}")))?,
        Kind::List(item) => {
            let words = text.split(',').map(str::trim).filter(|word| !word.is_empty());
            Value::List(words.map(|word| read(name, item, word)).collect::<Result<_, _>>()?)
        }
        Kind::Map(_) | Kind::Object(_) => match json() {
            Ok(value @ Value::Map(_)) => value,
            _ => return Err(refuse().help("write it as JSON: `{\"key\": …}`")),
        },
        _ if ty.secret => Value::Secret(Secret::new(text, Origin::Computed)),
        _ => Value::from(text),
    })
}

/// What each target takes, by name. The first target decides the type of a name that several take.
fn declared(project: &Project, binder: &mut Binder<'_>, targets: &[Target]) -> BTreeMap<String, Type> {
    let mut all = BTreeMap::new();
    for target in targets {
        for name in names(project, binder, target) {
            let ty = match target {
                Target::Workflow(workflow) => {
                    project.workflows.get(workflow).and_then(|workflow| workflow.inputs.get(&name)).map(|field| field.value.ty.clone())
                }
                Target::Method { def, method } => binder.callable(def, method).ok().and_then(|callable| callable.takes(&name)),
                Target::Resource(_) => None,
            };
            all.entry(name).or_insert_with(|| ty.unwrap_or_else(|| Type::of(Kind::String)));
        }
    }
    all
}

/// The names of the inputs that a target takes; none for a target that does not exist.
pub(super) fn names(project: &Project, binder: &mut Binder<'_>, target: &Target) -> BTreeSet<String> {
    match target {
        Target::Workflow(name) => project.workflows.get(name).map(|workflow| workflow.inputs.keys().cloned().collect()).unwrap_or_default(),
        Target::Method { def, method } => {
            binder.callable(def, method).map(|callable| callable.names().into_iter().map(str::to_owned).collect()).unwrap_or_default()
        }
        Target::Resource(pattern) => {
            binder.defined(&pattern.def).map(|defined| defined.variant_inputs().iter().cloned().collect()).unwrap_or_default()
        }
    }
}

/// The complaint about an input that nobody declares.
pub(super) fn unknown<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Diagnostic {
    let known: Vec<&str> = known.into_iter().collect();
    let complaint = Diagnostic::yours(format!("there is no input `{name}`"));
    match (nearest(name, known.iter().copied()), known.is_empty()) {
        (Some(near), _) => complaint.help(format!("did you mean `{near}`?")),
        (None, true) => complaint.help("the target takes none"),
        (None, false) => complaint.help(format!("the target takes: {}", known.join(", "))),
    }
}

/// The inputs of a workflow: what is given, where it fits, else the default.
pub(super) fn check(declared: &BTreeMap<String, Spanned<Field>>, given: &Map) -> Result<Inputs, Vec<Diagnostic>> {
    let mut values = Inputs::with_capacity(declared.len());
    let mut complaints = Vec::new();
    for (name, field) in declared {
        let value = match (given.get(name), &field.value.default) {
            (Some(value), _) => fit(name, &field.value, value.clone()).map_err(|complaint| complaint.also(&field.span, "declared here")),
            (None, Some(default)) => Ok(default.clone()),
            (None, None) if !field.value.required => Ok(Value::Null),
            (None, None) => {
                let doc = if field.value.doc.is_empty() { String::new() } else { format!(" ({})", field.value.doc.trim_end_matches('.')) };
                let complaint = Diagnostic::yours(format!("input `{name}` is missing{doc}"));
                Err(complaint.also(&field.span, "declared here").help(format!("give it with `-i {name}=…`")))
            }
        };
        match value {
            Ok(value) => {
                values.insert(name.clone(), InputValue::Known(Arc::new(value)));
            }
            Err(complaint) => complaints.push(complaint),
        }
    }
    if complaints.is_empty() { Ok(values) } else { Err(complaints) }
}

/// The value as the declaration takes it: a plain string becomes secret where one is wanted, and a number where it is one and that is wanted.
pub(super) fn fit(name: &str, field: &Field, value: Value) -> Result<Value, Diagnostic> {
    let value = match value {
        Value::String(text) if field.ty.secret => Value::Secret(Secret::new(text, Origin::Computed)),
        other => other,
    };
    field.ty.accepts(&value).map_err(|wrong| Diagnostic::yours(format!("input `{name}` {wrong}")))?;
    Ok(field.ty.shape(value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::kit::{graph_of, lines, project};
    use crate::plan::rows;

    const TAKES: &str = r#"
[input.vmName]
type = "string"
description = "Which VM."
pattern = "[a-z][a-z0-9-]*"
[input.mode]
type = "string"
enum = ["shutdown", "stop"]
default = "shutdown"
[input.memory]
type = "integer"
default = 512
[input.names]
type = "list"
default = []
[[step]]
name = "auth"
call = "keebDev02.auth"
"#;
    const NODE: &str =
        "type = \"proxmox/node\"\n[global]\napiUrl = \"https://10.0.0.4:8006\"\nnode = \"n\"\nusername = \"root\"\npassword = \"x\"\n";

    fn parsed(targets: &[&str], given: &[&str]) -> Result<Map, String> {
        let project = project(&[("definitions/keebDev02.toml", NODE), ("workflows/w.toml", TAKES)]);
        let targets: Vec<Target> = targets.iter().map(|target| Target::parse(target).unwrap()).collect();
        let given: Vec<String> = given.iter().map(|text| (*text).to_owned()).collect();
        parse(&project, &rows::find, None, &targets, &given).map_err(|c| lines(&c))
    }

    #[test]
    fn text_is_typed_by_the_declaration() {
        let values = parsed(&["w"], &["vmName=007", "memory=1024", "names=a, b"]).unwrap();
        assert_eq!(values["vmName"], Value::from("007"), "a string stays one, whatever it looks like");
        assert_eq!((&values["memory"], &values["names"]), (&Value::Int(1024), &Value::List(vec!["a".into(), "b".into()])));
        insta::assert_snapshot!(parsed(&["w"], &["vmNmae=x", "memory=much", "vmName", "mode=stop", "mode=stop"]).unwrap_err(), @r#"
        there is no input `vmNmae`; did you mean `vmName`?
        -i memory:1:1: input `memory` is `much`, expected integer
        `-i vmName` has no value; write `-i name=value`
        input `mode` is given twice; keep one `-i`
    "#);
        insta::assert_snapshot!(parsed(&["keebDev02.auth"], &["vmName=x"]).unwrap_err(), @r#"
        there is no input `vmName`; the target takes none
    "#);
    }

    #[test]
    fn values_are_checked_against_the_declaration() {
        let project = project(&[("definitions/keebDev02.toml", NODE), ("workflows/w.toml", TAKES)]);
        let told =
            |inputs: &[(&str, Value)]| graph_of(&project, &["w"], inputs).map(|_| ()).map_err(|c| lines(&c)).err().unwrap_or_default();
        assert_eq!(told(&[("vmName", "calamity".into())]), "");
        insta::assert_snapshot!(told(&[("vmName", "Cal amity".into()), ("mode", "stpo".into()), ("memory", "much".into())]), @r#"
        input `memory` is the string "much", expected integer
        input `mode` is "stpo", expected one of shutdown, stop; did you mean `stop`?
        input `vmName` is "Cal amity", which does not match `[a-z][a-z0-9-]*`
    "#);
        insta::assert_snapshot!(told(&[]), @r#"
        input `vmName` is missing (Which VM); give it with `-i vmName=…`
    "#);
    }
}
