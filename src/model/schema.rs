//! Schemas: our types out of the Rust structs that hold arguments and attributes.

use std::collections::HashMap;
use std::sync::{LazyLock, Mutex, PoisonError};

use schemars::JsonSchema;
use serde_json::Value as Json;

use crate::lang::types::{Field, Kind, Object, Type};
use crate::value::Value;

/// The fields of `T`: names as serde writes them, docs from doc comments, defaults, `Option` as nullable.
pub fn object<T: JsonSchema>() -> Object {
    let mut settings = schemars::generate::SchemaSettings::draft2020_12();
    settings.inline_subschemas = true;
    let schema = settings.into_generator().into_root_schema_for::<T>();
    match of(schema.as_value()).kind {
        Kind::Object(fields) => fields,
        _ => Object::new(),
    }
}

/// What the rows of types give their schemas by.
type Make = fn() -> Object;

static MADE: LazyLock<Mutex<HashMap<Make, &'static Object>>> = LazyLock::new(Mutex::default);

/// What `make` gives, made once per process and kept to its end: a schema is asked for at every call, and making one takes longer than the call's other
/// preparations together. There are as many as the rows of types name.
pub fn shared(make: Make) -> &'static Object {
    let mut made = MADE.lock().unwrap_or_else(PoisonError::into_inner);
    made.entry(make).or_insert_with(|| Box::leak(Box::new(make())))
}

/// Reads one JSON schema, as schemars writes them: no references, because subschemas are inlined.
fn of(schema: &Json) -> Type {
    let flag = |key: &str| schema.get(key).and_then(Json::as_bool).unwrap_or(false);
    let number = |key: &str| schema.get(key).and_then(Json::as_f64);
    let text = |key: &str| schema.get(key).and_then(Json::as_str).map(str::to_owned);
    if let Some(options) = schema.get("anyOf").and_then(Json::as_array) {
        return union(options);
    }
    if let Some(words) = words(schema) {
        return Type::of(Kind::Enum(words));
    }
    let names: Vec<&str> = match schema.get("type") {
        Some(Json::String(name)) => vec![name.as_str()],
        Some(Json::Array(names)) => names.iter().filter_map(Json::as_str).collect(),
        _ => Vec::new(),
    };
    let kind = match names.iter().find(|name| **name != "null") {
        Some(&"boolean") => Kind::Bool,
        Some(&"integer") => Kind::Int,
        Some(&"number") => Kind::Float,
        Some(&"string") => Kind::String,
        Some(&"array") => Kind::List(Box::new(schema.get("items").map(of).unwrap_or_default())),
        Some(&"object") => object_kind(schema),
        _ if names == ["null"] => Kind::Null,
        _ => Kind::Any,
    };
    Type {
        kind,
        nullable: names.contains(&"null") && names.len() > 1,
        secret: flag("x-pmx-secret"),
        credential: flag("x-pmx-credential"),
        min: number("minimum"),
        max: number("maximum").or_else(|| schema.get("format").and_then(Json::as_str).and_then(widest)),
        pattern: text("pattern"),
    }
}

/// The largest number that the Rust type holds, where a text or a JSON number may be larger: those are refused by the checker, not by serde.
fn widest(format: &str) -> Option<f64> {
    match format {
        "uint8" => Some(f64::from(u8::MAX)),
        "uint16" => Some(f64::from(u16::MAX)),
        "uint32" => Some(f64::from(u32::MAX)),
        "int32" => Some(f64::from(i32::MAX)),
        _ => None,
    }
}

/// `anyOf`: one type and null is that type, nullable; several different ones are anything.
fn union(options: &[Json]) -> Type {
    let (nulls, others): (Vec<_>, Vec<_>) = options.iter().map(of).partition(|ty| ty.kind == Kind::Null);
    let mut others = others.into_iter();
    match (others.next(), others.next()) {
        (Some(only), None) => Type { nullable: only.nullable || !nulls.is_empty(), ..only },
        _ => Type::default(),
    }
}

fn words(schema: &Json) -> Option<Vec<String>> {
    let direct =
        schema.get("enum").and_then(Json::as_array).map(|words| words.iter().filter_map(Json::as_str).map(str::to_owned).collect());
    let constants = || {
        let options = schema.get("oneOf")?.as_array()?;
        options.iter().map(|option| option.get("const").and_then(Json::as_str).map(str::to_owned)).collect()
    };
    direct.or_else(constants)
}

fn object_kind(schema: &Json) -> Kind {
    let Some(properties) = schema.get("properties").and_then(Json::as_object) else {
        return Kind::Map(Box::new(schema.get("additionalProperties").filter(|rest| rest.is_object()).map(of).unwrap_or_default()));
    };
    let required: Vec<&str> =
        schema.get("required").and_then(Json::as_array).map(|names| names.iter().filter_map(Json::as_str).collect()).unwrap_or_default();
    let field = |name: &String, schema: &Json| Field {
        ty: of(schema),
        required: required.contains(&name.as_str()),
        default: schema.get("default").cloned().map(Value::from),
        doc: schema.get("description").and_then(Json::as_str).unwrap_or_default().replace('\n', " "),
    };
    Kind::Object(properties.iter().map(|(name, schema)| (name.clone(), field(name, schema))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::{Credential, Secret};

    #[derive(serde::Deserialize, JsonSchema)]
    #[serde(rename_all = "camelCase")]
    #[expect(dead_code, reason = "only its schema is read")]
    struct Arguments {
        /// Which VM.
        vm_name: String,
        /// Megabytes.
        #[serde(default = "two_thousand")]
        #[schemars(range(min = 16))]
        memory: u32,
        mode: Mode,
        ticket: Option<Credential>,
        password: Secret,
        ports: Vec<String>,
        env: std::collections::BTreeMap<String, i64>,
        boot: Option<Mode>,
    }

    #[derive(serde::Deserialize, JsonSchema)]
    #[serde(rename_all = "kebab-case")]
    enum Mode {
        /// Ask the guest.
        Shutdown,
        /// Pull the plug.
        Stop,
    }

    fn two_thousand() -> u32 {
        2048
    }

    #[test]
    fn structs_become_types() {
        let fields = object::<Arguments>();
        let shown = |name: &str| fields[name].ty.to_string();
        assert_eq!((fields["vmName"].required, fields["vmName"].doc.as_str()), (true, "Which VM."));
        assert_eq!((fields["memory"].default.clone(), fields["memory"].ty.min), (Some(Value::Int(2048)), Some(16.0)));
        assert_eq!(fields["memory"].ty.max, Some(4_294_967_295.0), "what serde could not read is no argument");
        assert_eq!((shown("mode"), shown("boot")), ("one of shutdown, stop".into(), "one of shutdown, stop or null".into()));
        assert_eq!((shown("ticket"), fields["ticket"].ty.credential), ("secret string or null".into(), true));
        assert_eq!((shown("password"), fields["password"].ty.credential), ("secret string".into(), false));
        assert_eq!((shown("ports"), shown("env")), ("list of string".into(), "map of integer".into()));
        assert!(!fields["ticket"].required && fields["ports"].required);
    }
}
