//! Descriptions: what types, methods, definitions and workflows there are and what they take, for people and as JSON schema.

use std::fmt::Write as _;

use serde_json::{Map as JsonMap, Value as Json, json};

use crate::event::Lasting;
use crate::lang::Project;
use crate::lang::types::{Field, Kind, Object, Type};
use crate::lang::workflow::{Step, What};
use crate::model::contract::{At, Effect, Instance, MethodRow, TypeRow};
use crate::model::registry;
use crate::name::{nearest, renamed};
use crate::source::Diagnostic;

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
            Some(method) => Ok(method_page(row, method)),
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
    let mut text = String::new();
    if let Some(name) = definition {
        let _ = writeln!(text, "{name} is a {}.\n", row.name);
    }
    let _ = writeln!(text, "{}\n", row.doc.trim());
    fields(&mut text, "Global arguments", &(row.globals)());
    text.push_str("## Resources\n\n");
    for spec in row.specs {
        let trust = spec.trust.map_or_else(|| "for ever".to_owned(), |window| format!("{} s", window.as_secs()));
        let observer = spec.observer.map_or_else(|| "no method observes it".to_owned(), |observer| format!("observed by {}", observer.one));
        let _ = writeln!(text, "### {}\n\n{} ({observer}; trusted {trust})\n", spec.name, spec.doc);
        list(&mut text, &(spec.attributes)());
    }
    text.push_str("## Methods\n\n");
    for method in row.methods {
        method_text(&mut text, method, "###");
    }
    Page { text, json: type_json(row) }
}

fn method_page(row: &TypeRow, method: &MethodRow) -> Page {
    let mut text = String::new();
    method_text(&mut text, method, &format!("# {}", row.name));
    Page { text, json: method_json(method) }
}

fn method_text(text: &mut String, method: &MethodRow, heading: &str) {
    let effect = match method.effect {
        Effect::Observe => "observe: reads the world",
        Effect::Converge => "converge: makes it so, does nothing when it is so",
        Effect::Act => "act: happens again each time",
        Effect::Destroy => "destroy: cannot be undone",
    };
    let separator = if heading.starts_with("###") { " " } else { "." };
    let _ = writeln!(text, "{heading}{separator}{}\n\n{}\n", method.name, method.doc.trim());
    let _ = writeln!(text, "  effect   {effect}");
    let writes = method.writes.iter().map(|writes| match writes.instance {
        Instance::Argument(argument) => format!("{}/{{{argument}}}", writes.spec),
        Instance::Single(name) => format!("{}/{name}", writes.spec),
        Instance::All => format!("{}/*", writes.spec),
    });
    let _ = writeln!(text, "  writes   {}", writes.collect::<Vec<_>>().join(", "));
    let places = method.acts.iter().map(|acts| match acts.at {
        At::Host(argument) => format!("the machine of {argument}"),
        At::Machine(writes) => format!("the machine of {}", writes.spec),
        At::File(host, path) => format!("the file {path} on {host}"),
    });
    let places = places.collect::<Vec<_>>().join(", ");
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
    list(text, &(method.arguments)());
}

fn fields(text: &mut String, title: &str, object: &Object) {
    if !object.is_empty() {
        let _ = writeln!(text, "## {title}\n");
        list(text, object);
    }
}

fn list(text: &mut String, object: &Object) {
    for (name, field) in object {
        let note = match (&field.default, field.required) {
            (Some(default), _) => format!(" = {}", default.display()),
            (None, true) => " (required)".to_owned(),
            (None, false) => String::new(),
        };
        let _ = writeln!(text, "  {name}: {}{note}", field.ty);
        if !field.doc.is_empty() {
            let _ = writeln!(text, "      {}", field.doc);
        }
    }
    if !object.is_empty() {
        text.push('\n');
    }
}

fn type_json(row: &TypeRow) -> Json {
    let methods = row.methods.iter().map(|method| (method.name.to_owned(), method_json(method))).collect::<JsonMap<_, _>>();
    let specs = row.specs.iter().map(|spec| (spec.name.to_owned(), object_schema(&(spec.attributes)()))).collect::<JsonMap<_, _>>();
    json!({
        "type": row.name, "revision": row.revision, "doc": row.doc,
        "globals": object_schema(&(row.globals)()), "resources": specs, "methods": methods,
    })
}

fn method_json(method: &MethodRow) -> Json {
    json!({
        "method": method.name, "doc": method.doc, "effect": method.effect.to_string(),
        "arguments": object_schema(&(method.arguments)()),
        "writes": method.writes.iter().map(|writes| writes.spec).collect::<Vec<_>>(),
    })
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
