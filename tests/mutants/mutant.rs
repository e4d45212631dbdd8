//! A method that says that it did its work and did nothing: what `tests/mutants/run` puts in front of every method of a copy of pmx.

use crate::lang::types::{Kind, Object, Type};
use crate::model::contract::{Call, Context, Failure, Instance, MethodRow, Outcome, SpecRow, TypeRow};
use crate::model::registry;
use crate::secret::{Origin, Secret};
use crate::value::{Map, Value};

/// Runs the method, unless the file whose path is compiled in names it: then it only pretends.
pub async fn run(method: &'static MethodRow, context: &Context, call: Call) -> Result<Outcome, Failure> {
    let row = registry::types().iter().find(|row| row.methods.iter().any(|own| std::ptr::eq(own, method)));
    let wanted = std::fs::read_to_string(env!("PMX_MUTANT_FILE")).unwrap_or_default();
    match row {
        Some(row) if wanted.trim() == format!("{}.{}", row.name, method.name) => Ok(pretend(row, method, context, &call)),
        _ => (method.run)(context, call).await,
    }
}

fn pretend(row: &TypeRow, method: &MethodRow, context: &Context, call: &Call) -> Outcome {
    let summary = format!("{} is done", method.name);
    let mut outcome = if method.effect.acts() { Outcome::changed(summary) } else { Outcome::unchanged(summary) };
    for writes in method.writes {
        let Some(spec) = row.spec(writes.spec) else { continue };
        let named = |name: &str| call.arguments.get(name).or_else(|| call.globals.get(name)).map(Value::to_string).unwrap_or_default();
        let instances = match writes.instance {
            Instance::Argument(name) => vec![named(name)],
            Instance::Single(name) => vec![name.to_owned()],
            Instance::All => context.previous.keys().filter(|(known, _)| known == spec.name).map(|(_, instance)| instance.clone()).collect(),
        };
        for instance in instances {
            let attributes = state(spec, method.name, &instance, context, call);
            outcome = outcome.write(spec.name, instance, Value::Map(attributes));
        }
    }
    outcome
}

/// What was known before, or else something that fits; and what such a method would have made of it.
fn state(spec: &SpecRow, method: &str, instance: &str, context: &Context, call: &Call) -> Map {
    let fields = (spec.attributes)();
    let known = context.previous.get(&(spec.name.to_owned(), instance.to_owned()));
    let mut attributes = match known {
        Some(Value::Map(map)) => map.clone(),
        _ => made(&fields, call),
    };
    if spec.name == "vm" {
        let number = attributes.get("vmid").map(Value::to_string).unwrap_or_default();
        let (status, ip) = match method {
            "start" => ("running", Value::String(format!("10.0.0.{number}"))),
            "delete" => ("deleted", Value::Null),
            "stop" | "create" => ("stopped", Value::Null),
            _ => return attributes,
        };
        attributes.insert("status".to_owned(), Value::String(status.to_owned()));
        attributes.insert("ip".to_owned(), ip);
    }
    attributes
}

/// Every field with a value of its type, the argument of the same name where there is one.
fn made(fields: &Object, call: &Call) -> Map {
    let value = |name: &str, ty: &Type| {
        let given = call.arguments.get(name).or_else(|| call.globals.get(name));
        given.filter(|value| ty.accepts(value).is_ok()).cloned().unwrap_or_else(|| fitting(ty))
    };
    fields.iter().map(|(name, field)| (name.clone(), value(name, &field.ty))).collect()
}

fn fitting(ty: &Type) -> Value {
    if ty.secret {
        return Value::Secret(Secret::new("pretended", Origin::Computed));
    }
    match &ty.kind {
        Kind::Any | Kind::Null => Value::Null,
        Kind::Bool => Value::Bool(true),
        Kind::Int => Value::Int(ty.min.map_or(0, |min| min as i64)),
        Kind::Float => Value::Float(ty.min.unwrap_or(0.0)),
        Kind::String => Value::String("pretended".to_owned()),
        Kind::Enum(words) => Value::String(words.first().cloned().unwrap_or_default()),
        Kind::List(_) => Value::List(Vec::new()),
        Kind::Map(_) => Value::Map(Map::new()),
        Kind::Object(fields) => Value::Map(fields.iter().map(|(name, field)| (name.clone(), fitting(&field.ty))).collect()),
    }
}
