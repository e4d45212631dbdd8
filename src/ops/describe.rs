//! Descriptions: what types, methods, definitions and workflows there are and what they take, for people and as JSON schema.

use std::fmt::Write as _;

use serde_json::{Map as JsonMap, Value as Json, json};

use crate::event::Lasting;
use crate::lang::Project;
use crate::lang::types::{Field, Kind, Object, Type};
use crate::lang::workflow::{Step, What};
use crate::model::contract::{At, Effect, Instance, MethodRow, PhaseRow, SpecRow, TypeRow, Writes};
use crate::model::registry;
use crate::name::{nearest, renamed};
use crate::source::Diagnostic;
use crate::value::Value;

/// A page for people, and the same for programs.
pub struct Page {
    /// Plain text with Markdown headings.
    pub text: String,
    /// JSON, with JSON schemas of arguments and attributes.
    pub json: Json,
}

/// One line per registered type.
pub fn types() -> Page {
    let mut text = String::new();
    for row in registry::types() {
        let methods: Vec<&str> = row.methods.iter().map(|method| method.name).collect();
        let _ = writeln!(text, "{:<16} {}", row.name, methods.join(", "));
    }
    let json = registry::types().iter().map(|row| (row.name.to_owned(), type_json(row))).collect();
    Page { text, json: Json::Object(json) }
}

/// The page of `name`: a type, `type.method`, a definition, `definition.method`, or a workflow.
pub fn describe(project: Option<&Project>, name: &str) -> Result<Page, Diagnostic> {
    let (base, method) = match name.rsplit_once('.') {
        Some((base, method)) => (base, Some(method)),
        None => (name, None),
    };
    if let Some(workflow) = project.and_then(|project| project.workflows.get(name)) {
        return Ok(workflow_page(workflow));
    }
    let definition = project.and_then(|project| project.definitions.get(base));
    let kind = definition.map_or(base, |definition| definition.kind.value.as_str());
    let Ok(row) = registry::find(kind) else { return Err(unknown(project, name)) };
    match method {
        None => Ok(type_page(row, definition.map(|definition| definition.name.as_str()))),
        Some(method) => match row.method(method) {
            Some(method) => Ok(method_page(row, method, definition.map(|definition| definition.name.as_str()))),
            None => {
                let known = row.methods.iter().map(|method| method.name);
                let listed = known.clone().collect::<Vec<_>>().join(", ");
                let complaint = Diagnostic::yours(format!("{} has no method `{method}`; it has {listed}", row.name));
                Err(complaint.did_you_mean(method, known))
            }
        },
    }
}

fn unknown(project: Option<&Project>, name: &str) -> Diagnostic {
    let mut known: Vec<&str> = registry::types().iter().map(|row| row.name).collect();
    if let Some(project) = project {
        known.extend(project.definitions.keys().map(String::as_str));
        known.extend(project.workflows.keys().map(String::as_str));
    }
    let complaint = Diagnostic::yours(format!("nothing is called `{name}`: no type, definition or workflow"));
    match renamed(name).or_else(|| nearest(name, known)) {
        Some(near) => complaint.help(format!("did you mean `{near}`?")),
        None => complaint.help("`pmx types` lists the types; definitions and workflows are files of those names"),
    }
}

fn workflow_page(workflow: &crate::lang::workflow::Workflow) -> Page {
    let mut text = format!("# workflow {}\n\n", workflow.name);
    if let Some(description) = &workflow.description {
        let _ = writeln!(text, "{description}\n");
    }
    let inputs: Object = workflow.inputs.iter().map(|(name, field)| (name.clone(), field.value.clone())).collect();
    fields(&mut text, "Inputs", &inputs);
    text.push_str("## Steps\n\n");
    let called = |step: &Step| match &step.what {
        What::Call { def, method } => format!("{}.{}", def.value, method.value),
        What::Workflow(name) => format!("workflow {}", name.value),
    };
    for step in &workflow.steps {
        let _ = writeln!(text, "  {:<20} {}", step.name.value, called(step));
    }
    let steps: Vec<Json> = workflow.steps.iter().map(|step| json!({"name": step.name.value, "call": called(step)})).collect();
    let json = json!({
        "workflow": workflow.name, "description": workflow.description, "inputs": object_schema(&inputs), "steps": steps,
    });
    Page { text, json }
}

fn type_page(row: &TypeRow, definition: Option<&str>) -> Page {
    let mut text = format!("# {}\n\n", row.name);
    if let Some(name) = definition {
        let _ = writeln!(text, "{name} is a {}.\n", row.name);
    }
    let _ = writeln!(text, "{}\n\n## Methods\n", row.doc.trim());
    for method in row.methods {
        let _ = writeln!(text, "  {:<20} {:<9} {}", method.name, method.effect.to_string(), first_sentence(method.doc));
    }
    let _ = writeln!(
        text,
        "\nEach is described below, with what it takes, writes and waits for. On the command line an argument is `-i NAME=VALUE`, a list or map"
    );
    let _ = writeln!(text, "in JSON: `-i 'ports=[\"8080:80\"]'`.\n");
    fields(&mut text, "Global arguments", &(row.globals)());
    text.push_str("## Resources\n\n");
    for spec in row.specs {
        resource_text(&mut text, row, spec);
    }
    for method in row.methods {
        method_text(&mut text, method, definition, "## Method ");
    }
    Page { text, json: type_json(row) }
}

/// A page's line about something: up to the first full stop.
fn first_sentence(doc: &str) -> String {
    let doc = doc.trim().replace('\n', " ");
    doc.split_once(". ").map_or(doc.clone(), |(first, _)| format!("{first}."))
}

fn resource_text(text: &mut String, row: &TypeRow, spec: &SpecRow) {
    let _ = writeln!(text, "### {}\n\n{}\n", spec.name, spec.doc);
    let writers: Vec<&str> =
        row.methods.iter().filter(|method| method.writes.iter().any(|writes| writes.spec == spec.name)).map(|method| method.name).collect();
    let _ = writeln!(text, "  written by   {}", writers.join(", "));
    if let Some(observer) = spec.observer {
        let _ = writeln!(text, "  read again   by {}, when a step reads it and nothing before has written it", observer.one);
    }
    let trust = match spec.trust {
        None => "for ever: a step that reads it gets what was written last".to_owned(),
        Some(window) => format!("for {}: a step that reads it later has it read again first", Lasting::limit(window.as_secs())),
    };
    let _ = writeln!(text, "  trusted      {trust}\n");
    list(text, &(spec.attributes)(), Kept::Attributes);
}

fn method_page(row: &TypeRow, method: &MethodRow, definition: Option<&str>) -> Page {
    let mut text = String::new();
    method_text(&mut text, method, definition, &format!("# {}.", row.name));
    if let Some(step) = example(row, method) {
        let step = definition.map_or_else(|| step.clone(), |name| called_by(&step, name));
        let _ = writeln!(text, "As a step of a workflow:\n\n```toml\n{step}\n```");
    }
    Page { text, json: method_json(row, method) }
}

/// The step that calls the method in the example on its type's page.
fn example(row: &TypeRow, method: &MethodRow) -> Option<String> {
    let steps = row.doc.split("```").find(|part| part.starts_with("toml\n[[step]]"))?;
    let calls = |step: &&str| step.lines().any(|line| line.starts_with("call = ") && line.contains(&format!(".{}\"", method.name)));
    steps.split("[[step]]").find(calls).map(|step| format!("[[step]]{}", step.trim_end()))
}

/// The same step as a call of another definition.
fn called_by(step: &str, definition: &str) -> String {
    match step.split_once("call = \"").and_then(|(before, rest)| Some((before, rest.split_once('.')?.1))) {
        Some((before, method)) => format!("{before}call = \"{definition}.{method}"),
        None => step.to_owned(),
    }
}

fn method_text(text: &mut String, method: &MethodRow, definition: Option<&str>, heading: &str) {
    let effect = match method.effect {
        Effect::Observe => "observe: reads the world",
        Effect::Converge => "converge: makes it so, does nothing when it is so",
        Effect::Act => "act: happens again each time",
        Effect::Destroy => "destroy: cannot be undone",
    };
    let _ = writeln!(text, "{heading}{}\n\n{}\n", method.name, method.doc.trim());
    let arguments = (method.arguments)();
    let given = arguments.iter().filter(|(_, field)| field.required).map(|(name, _)| format!(" -i {name}=…")).collect::<String>();
    let _ = writeln!(text, "  called   pmx build {}.{}{given}", definition.unwrap_or("DEFINITION"), method.name);
    let _ = writeln!(text, "  effect   {effect}");
    if !method.fresh.is_zero() {
        let _ = writeln!(text, "  fresh    for {}: until then it is not made again", Lasting::limit(method.fresh.as_secs()));
    }
    let writes = method.writes.iter().map(instance).collect::<Vec<_>>();
    let _ = writeln!(text, "  writes   {}", if writes.is_empty() { "nothing".to_owned() } else { writes.join(", ") });
    let places = method.acts.iter().map(|acts| place(acts.at)).collect::<Vec<_>>().join(", ");
    let _ = writeln!(text, "  acts at  {}", if places.is_empty() { "no place of its own" } else { &places });
    for phase in method.phases {
        let deadline = match phase.argument {
            Some(name) => format!(", at most {} unless `{name}` says otherwise", Lasting::limit(phase.seconds)),
            None if phase.seconds == 0 => String::new(),
            None => format!(", at most {}", Lasting::limit(phase.seconds)),
        };
        let _ = writeln!(text, "  waits    for {}{deadline}", phase.name);
    }
    text.push('\n');
    list(text, &arguments, Kept::Arguments);
}

fn instance(writes: &Writes) -> String {
    match writes.instance {
        Instance::Argument(argument) => format!("{}/{{{argument}}}", writes.spec),
        Instance::Single(name) => format!("{}/{name}", writes.spec),
        Instance::All => format!("{}/*", writes.spec),
    }
}

fn place(at: At) -> String {
    match at {
        At::Host(argument) => format!("the host that `{argument}` names"),
        At::Machine(writes) => format!("the machine behind {}", instance(&writes)),
        At::File(host, path) => format!("the file that `{path}` names on the host that `{host}` names"),
    }
}

fn fields(text: &mut String, title: &str, object: &Object) {
    if !object.is_empty() {
        let _ = writeln!(text, "## {title}\n");
        list(text, object, Kept::Arguments);
    }
}

/// Whose fields are listed: an argument may be left out, an attribute may be missing.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kept {
    Arguments,
    Attributes,
}

/// What must be given first, then the rest, each in the order of the names.
fn list(text: &mut String, object: &Object, kept: Kept) {
    let (first, then): (Vec<_>, Vec<_>) = object.iter().partition(|(_, field)| field.required);
    for (name, field) in first.into_iter().chain(then) {
        let _ = writeln!(text, "  {name}: {}{}{}", field.ty, bounds(&field.ty), note(field, kept));
        if !field.doc.is_empty() {
            wrap(text, &field.doc);
        }
    }
    if !object.is_empty() {
        text.push('\n');
    }
}

fn note(field: &Field, kept: Kept) -> String {
    match (&field.default, field.required, kept) {
        (_, true, Kept::Arguments) => " (required)".to_owned(),
        (_, true, Kept::Attributes) => String::new(),
        (Some(default), false, Kept::Arguments) if *default != Value::Null => format!(" = {}", default.display()),
        (_, false, Kept::Arguments) => " (optional)".to_owned(),
        (_, false, Kept::Attributes) => " (may be missing)".to_owned(),
    }
}

/// What a type's words leave out: the numbers that fit, the texts that fit.
fn bounds(ty: &Type) -> String {
    // What only the width of a number forbids is no news to anybody.
    let range = match (ty.min, ty.max.filter(|max| *max < f64::from(i32::MAX))) {
        (Some(min), Some(max)) => format!(", {min} to {max}"),
        (Some(min), None) => format!(", {min} or more"),
        (None, Some(max)) => format!(", {max} or less"),
        (None, None) => String::new(),
    };
    let pattern = ty.pattern.as_ref().map(|pattern| format!(", matching `{pattern}`")).unwrap_or_default();
    range + &pattern
}

/// A text in lines of at most this many letters, each set off.
const WIDTH: usize = 100;

fn wrap(text: &mut String, doc: &str) {
    let mut used = 0;
    for word in doc.split_whitespace() {
        let letters = word.chars().count();
        if used > 0 && used + 1 + letters > WIDTH {
            text.push('\n');
            used = 0;
        }
        text.push_str(if used == 0 { "      " } else { " " });
        text.push_str(word);
        used += letters + usize::from(used > 0);
    }
    text.push('\n');
}

fn type_json(row: &TypeRow) -> Json {
    let methods = row.methods.iter().map(|method| (method.name.to_owned(), method_json(row, method))).collect::<JsonMap<_, _>>();
    let specs = row.specs.iter().map(|spec| (spec.name.to_owned(), object_schema(&(spec.attributes)()))).collect::<JsonMap<_, _>>();
    json!({
        "type": row.name, "revision": row.revision, "doc": row.doc,
        "globals": object_schema(&(row.globals)()), "resources": specs, "methods": methods,
    })
}

fn method_json(row: &TypeRow, method: &MethodRow) -> Json {
    json!({
        "method": method.name, "doc": method.doc, "effect": method.effect.to_string(),
        "arguments": object_schema(&(method.arguments)()),
        "writes": method.writes.iter().map(|writes| writes.spec).collect::<Vec<_>>(),
        "phases": method.phases.iter().map(phase_json).collect::<Vec<_>>(), "example": example(row, method),
    })
}

fn phase_json(phase: &PhaseRow) -> Json {
    json!({ "phase": phase.name, "seconds": phase.seconds, "argument": phase.argument })
}

/// JSON schema (draft 2020-12) of an object.
pub fn object_schema(object: &Object) -> Json {
    let properties: JsonMap<String, Json> = object.iter().map(|(name, field)| (name.clone(), field_schema(field))).collect();
    let required: Vec<&String> = object.iter().filter(|(_, field)| field.required).map(|(name, _)| name).collect();
    json!({ "type": "object", "properties": properties, "required": required, "additionalProperties": false })
}

fn field_schema(field: &Field) -> Json {
    let mut schema = type_schema(&field.ty);
    if let Json::Object(map) = &mut schema {
        if !field.doc.is_empty() {
            map.insert("description".to_owned(), field.doc.clone().into());
        }
        if let Some(default) = &field.default {
            map.insert("default".to_owned(), serde_json::to_value(default).unwrap_or_default());
        }
    }
    schema
}

fn type_schema(ty: &Type) -> Json {
    let named = |name: &str| if ty.nullable { json!({"type": [name, "null"]}) } else { json!({"type": name}) };
    let mut schema = match &ty.kind {
        Kind::Any => json!({}),
        Kind::Null => json!({"type": "null"}),
        Kind::Bool => named("boolean"),
        Kind::Int => named("integer"),
        Kind::Float => named("number"),
        Kind::String => named("string"),
        Kind::Enum(words) => json!({"enum": words}),
        Kind::List(item) => json!({"type": "array", "items": type_schema(item)}),
        Kind::Map(item) => json!({"type": "object", "additionalProperties": type_schema(item)}),
        Kind::Object(object) => object_schema(object),
    };
    if let Json::Object(map) = &mut schema {
        let mut put = |key: &str, value: Option<Json>| value.map(|value| map.insert(key.to_owned(), value));
        put("minimum", ty.min.map(Json::from));
        put("maximum", ty.max.map(Json::from));
        put("pattern", ty.pattern.clone().map(Json::from));
        put("x-pmx-secret", ty.secret.then_some(Json::Bool(true)));
    }
    schema
}

#[cfg(test)]
#[path = "describe_tests.rs"]
mod tests;
