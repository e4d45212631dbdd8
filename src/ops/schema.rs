//! JSON schemas of the files of a project, for editors: what a Pmxfile, a definition and a workflow may hold.
//!
//! They say less than `pmx check`, which knows the other files too: whatever a schema refuses, `check` refuses as well. Draft 7, because that is what
//! editors for TOML read.

use serde_json::{Map as JsonMap, Value as Json, json};

use crate::lang::types::{Field, Kind, Object, Type};
use crate::model::contract::TypeRow;
use crate::model::registry;

/// A string that holds an expression fits everywhere: its value is typed by `check`.
const EXPRESSION: &str = r"\$\{\{";

/// A file of a project.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileKind {
    /// `Pmxfile.toml`.
    Pmxfile,
    /// A file of `definitions/`.
    Definition,
    /// A file of `workflows/`.
    Workflow,
}

/// The schema of such a file.
pub fn schema(kind: FileKind) -> Json {
    let (title, mut schema) = match kind {
        FileKind::Pmxfile => ("a Pmxfile", pmxfile()),
        FileKind::Definition => ("a definition", definition()),
        FileKind::Workflow => ("a workflow", workflow()),
    };
    if let Json::Object(map) = &mut schema {
        map.insert("$schema".to_owned(), "http://json-schema.org/draft-07/schema#".into());
        map.insert("title".to_owned(), format!("{title} of pmx").into());
    }
    schema
}

/// A table with these keys and no others.
fn closed(properties: Json, required: &[&str]) -> Json {
    json!({ "type": "object", "properties": properties, "required": required, "additionalProperties": false })
}

fn text(description: &str) -> Json {
    json!({ "type": "string", "description": description })
}

fn flag(description: &str) -> Json {
    json!({ "type": "boolean", "description": description })
}

fn texts(description: &str) -> Json {
    json!({ "type": "array", "items": { "type": "string" }, "description": description })
}

fn whole(min: i64, max: i64, description: &str) -> Json {
    json!({ "type": "integer", "minimum": min, "maximum": max, "description": description })
}

fn span(description: &str) -> Json {
    json!({ "type": ["string", "integer"], "minimum": 0, "description": format!("{description}: `\"90s\"`, `\"10m\"`, `\"2h\"`, or seconds") })
}

fn named(item: &Json, description: &str) -> Json {
    json!({ "type": "object", "additionalProperties": item, "description": description })
}

fn definition() -> Json {
    let types = registry::types();
    let names: Vec<&str> = types.iter().map(|row| row.name).collect();
    // An editor that completes does not look at conditions: these offer what any type takes, and the last one lets everything pass.
    let offered = |part: fn(&TypeRow) -> Json| types.iter().map(|row| part(row)).chain([json!({})]).collect::<Vec<Json>>();
    let conditions = types.iter().map(|row| {
        let required = (row.globals)().values().any(|field| field.required).then_some("global");
        json!({
            "if": { "properties": { "type": { "const": row.name } }, "required": ["type"] },
            "then": { "properties": { "global": globals(row), "methods": methods(row) }, "required": required.into_iter().collect::<Vec<_>>() },
        })
    });
    json!({
        "type": "object",
        "required": ["type"],
        "additionalProperties": false,
        "properties": {
            "type": { "enum": names, "description": "The model type; `pmx describe TYPE` prints its manual." },
            "description": text("What it is, for people."),
            "global": { "anyOf": offered(|row| open(globals(row))), "description": "Global arguments, and defaults of arguments of its methods." },
            "methods": { "anyOf": offered(|row| open(methods(row))), "description": "Defaults of the arguments of single methods." },
        },
        "allOf": conditions.collect::<Vec<_>>(),
    })
}

/// The same keys, and no word about others: for completion.
fn open(schema: Json) -> Json {
    let properties = schema.get("properties").cloned().unwrap_or_default();
    json!({ "properties": properties })
}

fn globals(row: &TypeRow) -> Json {
    let own = (row.globals)();
    let mut all: Object = row.methods.iter().flat_map(|method| (method.arguments)()).collect();
    all.extend(own.clone());
    let required: Vec<&str> = own.iter().filter(|(_, field)| field.required).map(|(name, _)| name.as_str()).collect();
    closed(arguments(&all), &required)
}

fn methods(row: &TypeRow) -> Json {
    let of = |method: &crate::model::contract::MethodRow| {
        let mut schema = closed(arguments(&(method.arguments)()), &[]);
        if let Json::Object(map) = &mut schema {
            map.insert("description".to_owned(), method.doc.into());
        }
        (method.name.to_owned(), schema)
    };
    closed(Json::Object(row.methods.iter().map(of).collect()), &[])
}

fn arguments(object: &Object) -> Json {
    Json::Object(object.iter().map(|(name, field)| (name.clone(), argument(field))).collect())
}

fn argument(field: &Field) -> Json {
    let mut schema = value(&field.ty);
    if let Json::Object(map) = &mut schema {
        if !field.doc.is_empty() {
            map.insert("description".to_owned(), field.doc.clone().into());
        }
        if let Some(default) =
            field.default.as_ref().map(|default| serde_json::to_value(default).unwrap_or_default()).filter(|json| !json.is_null())
        {
            map.insert("default".to_owned(), default);
        }
    }
    schema
}

/// What may stand in a file for a value of this type: such a value, a text that is one, or a string with an expression.
fn value(ty: &Type) -> Json {
    let or_text = |name: &str, pattern: &str| json!({ "type": [name, "string"], "pattern": pattern });
    let mut schema = match &ty.kind {
        Kind::Any | Kind::Null => json!({}),
        Kind::Bool => or_text("boolean", &format!("{EXPRESSION}|^(true|false)$")),
        Kind::Int => or_text("integer", &format!(r"{EXPRESSION}|^[-+]?\d+$")),
        Kind::Float => or_text("number", &format!(r"{EXPRESSION}|^[-+]?[\d.]")),
        Kind::String => json!({ "type": "string" }),
        Kind::Enum(words) => json!({ "anyOf": [{ "enum": words }, { "type": "string", "pattern": EXPRESSION }] }),
        Kind::List(_) => or_text("array", &format!(r"{EXPRESSION}|^\s*\[")),
        Kind::Map(_) | Kind::Object(_) => or_text("object", EXPRESSION),
    };
    let mut more = JsonMap::new();
    match &ty.kind {
        Kind::List(item) => drop(more.insert("items".to_owned(), value(item))),
        Kind::Map(item) => drop(more.insert("additionalProperties".to_owned(), value(item))),
        Kind::Object(fields) => {
            more.insert("properties".to_owned(), arguments(fields));
            more.insert("additionalProperties".to_owned(), false.into());
        }
        _ => {}
    }
    more.extend(ty.min.map(|min| ("minimum".to_owned(), min.into())));
    more.extend(ty.max.map(|max| ("maximum".to_owned(), max.into())));
    if let (Kind::String, Some(pattern)) = (&ty.kind, &ty.pattern) {
        more.insert("pattern".to_owned(), format!("^(?:{pattern})$|{EXPRESSION}").into());
    }
    if let Json::Object(map) = &mut schema {
        map.extend(more);
    }
    schema
}

fn workflow() -> Json {
    let input = closed(
        json!({
            "type": { "enum": ["string", "number", "integer", "boolean", "list", "map"] },
            "description": text("What it is for, shown when it is missing."),
            "default": { "description": "What it is when nobody gives it; an input without a default must be given." },
            "pattern": text("A regular expression that the whole text must match."),
            "enum": texts("The words that it may be."),
        }),
        &["type"],
    );
    closed(
        json!({
            "description": text("What it does, in a sentence."),
            "input": named(&input, "Inputs, read as `${{ inputs.name }}`."),
            "step": { "type": "array", "minItems": 1, "items": step(), "description": "What is done; data and places give the order." },
        }),
        &["step"],
    )
}

fn step() -> Json {
    let retry = closed(json!({ "times": whole(1, 100, "How often it is tried again."), "backoff": span("The first pause") }), &["times"]);
    let mut step = closed(
        json!({
            "name": text("Its name in this workflow, without `/`."),
            "description": text("Why it is there."),
            "call": { "type": "string", "pattern": r"^[^.\s]+\.[^.\s]+$", "description": "The method, `definition.method`." },
            "workflow": text("The workflow that is done here, instead of `call`."),
            "with": { "type": "object", "description": "Arguments of the method, or inputs." },
            "if": text("A CEL condition: without it, or when it is true, the step is done."),
            "for_each": text("A CEL list or map: the step is done for each item, as `each.key` and `each.value`."),
            "after": texts("Earlier steps that must be done before, where no data and no place says so."),
            "timeout": span("The longest that it may take"),
            "retry": retry,
            "fresh": span("How old a kept result may be, for methods that only look"),
            "always": flag("Done whatever happened before: cleanup."),
            "optional": flag("Its failure does not fail the run."),
            "unordered": flag("Does not keep the order of what acts at the same place."),
            "confirm": text("A question that somebody must confirm before it is done."),
        }),
        &["name"],
    );
    if let Json::Object(map) = &mut step {
        map.insert("oneOf".to_owned(), json!([{ "required": ["call"] }, { "required": ["workflow"] }]));
    }
    step
}

fn pmxfile() -> Json {
    let project = closed(json!({ "name": text("The project's name."), "description": text("What it is.") }), &["name"]);
    let run = closed(json!({ "jobs": whole(1, 1024, "Actions at once."), "per_host": whole(1, 256, "Actions at once on one host.") }), &[]);
    let vm = closed(
        json!({
            "actions": { "type": "array", "items": { "enum": ["start", "stop", "reboot", "update", "status"] }, "description": "What may be asked." },
            "status": text("The call that tells its status."),
        }),
        &["actions"],
    );
    let bot = closed(
        json!({
            "channel": text("Name or id of the channel that it hears."),
            "role": text("The role that may command it."),
            "guild": text("The id of the Discord server; needed where the bot is in several and channel or role are named."),
            "admins": text("Name or id of the role that may destroy things."),
            "cooldown": span("How long one user waits before the same VM is steered again"),
            "prefix": text("What its commands begin with."),
            "vm": named(&vm, "VMs that can be steered, by name."),
        }),
        &[],
    );
    let at = closed(
        json!({
            "host": text("An address, a name or an alias of the ssh config; the table's own name without."),
            "user": text("The user; the ssh config's without."),
            "port": whole(1, 65535, "The port; the ssh config's without."),
            "dir": text("The directory of the project there, absolute or below `~/`; that user's home without."),
            "program": text("The pmx there; `bin/pmx` in that directory, or the one of the PATH without."),
        }),
        &[],
    );
    closed(
        json!({
            "project": project,
            "store": closed(
                json!({
                    "path": text("Where results are kept, inside the project or absolute."),
                    "key": texts("The program that tells the store's key, and its arguments; `{id}` is the store's id."),
                }),
                &[],
            ),
            "run": run,
            "vault": named(&vault(), "Where secrets are, by name."),
            "protect": closed(json!({ "vms": texts("VMs that are never deleted, whatever a workflow says.") }), &["vms"]),
            "bot": bot,
            "at": named(&at, "Other machines that work on this project, for `pmx --at NAME …`."),
            "profile": named(&profile(), "Other places to work on, for `pmx --profile NAME`."),
        }),
        &["project"],
    )
}

fn vault() -> Json {
    let kind = json!({ "enum": ["file", "env", "command"], "description": "A sealed file, the environment, or a program." });
    let is = |kind: &str| json!({ "properties": { "kind": { "const": kind } }, "required": ["kind"] });
    let mut vault = closed(
        json!({
            "kind": kind,
            "path": text("`file`: where it is, inside the project or absolute."),
            "prefix": text("`env`: what the variables' names begin with."),
            "command": texts("`command`: the program and its words, `{key}` where the key belongs."),
            "timeout": span("`command`: how long it may take"),
        }),
        &["kind"],
    );
    if let Json::Object(map) = &mut vault {
        let needs = [("file", "path"), ("command", "command")];
        let conditions = needs.map(|(kind, key)| json!({ "if": is(kind), "then": { "required": [key] } }));
        map.insert("allOf".to_owned(), Json::Array(conditions.into()));
    }
    vault
}

fn profile() -> Json {
    let address = named(&json!({ "type": "string" }), "From `host:port` to `host:port`; `*` carries over.");
    closed(
        json!({
            "store": text("Its own store."),
            "vaults": text("The folder of its own vaults."),
            "closed": flag("An address that `connect` does not name is an error."),
            "connect": address,
            "start": texts("What is run when `ready` does not answer."),
            "ready": text("`host:port`, or the path of a unix socket, that answers when everything is up."),
            "definitions": named(&json!({ "type": "object" }), "Arguments of definitions that are others here."),
        }),
        &[],
    )
}

#[cfg(test)]
#[path = "schema_tests.rs"]
mod tests;
