//! Whether a value fits a type, and what to say when it does not.

use crate::lang::cel::pattern;
use crate::lang::types::{Field, Kind, Object, Type};
use crate::value::{Map, Value};

/// Whether `value` fits `ty`; the error goes on from the thing's name.
pub(in crate::lang) fn value(ty: &Type, value: &Value) -> Result<(), String> {
    if *value == Value::Null {
        let fits = ty.nullable || matches!(ty.kind, Kind::Any | Kind::Null);
        return if fits { Ok(()) } else { Err(format!("is null, expected {ty}")) };
    }
    if let Value::Secret(_) = value {
        return if ty.secret { Ok(()) } else { Err(format!("is a secret, which may only flow into secret arguments; expected {ty}")) };
    }
    if let Some(meant) = meant(ty, value) {
        return self::value(ty, &meant);
    }
    match (&ty.kind, value) {
        (Kind::Any, _) | (Kind::Bool, Value::Bool(_)) => Ok(()),
        (Kind::Int, Value::Int(number)) => range(ty, *number as f64, &number.to_string()),
        (Kind::Float, Value::Int(number)) => range(ty, *number as f64, &number.to_string()),
        (Kind::Float, Value::Float(number)) => range(ty, *number, &number.to_string()),
        (Kind::String, Value::String(text)) => matching(ty, text),
        (Kind::Enum(words), Value::String(text)) => word(ty, words, text),
        (Kind::List(item), Value::List(items)) => list(item, items),
        (Kind::List(item), Value::String(text)) => json_list(ty, item, text),
        (Kind::Map(item), Value::Map(map)) => {
            map.iter().try_for_each(|(key, field)| self::value(item, field).map_err(|why| format!("has a field `{key}` that {why}")))
        }
        (Kind::Object(fields), Value::Map(map)) => object(fields, map),
        _ => Err(mismatch(ty, value)),
    }
}

/// Numbers and truths were once always text; a text that is one is taken as it.
fn meant(ty: &Type, value: &Value) -> Option<Value> {
    let Value::String(text) = value else { return None };
    match ty.kind {
        Kind::Bool => text.parse().ok().map(Value::Bool),
        Kind::Int => text.parse().ok().map(Value::Int),
        Kind::Float => text.parse().ok().filter(|number: &f64| number.is_finite()).map(Value::Float),
        _ => None,
    }
}

fn mismatch(ty: &Type, value: &Value) -> String {
    format!("is {}, expected {ty}", shown(value))
}

/// A value in a message: short ones as they are.
pub(in crate::lang) fn shown(value: &Value) -> String {
    match value {
        Value::String(text) if text.chars().count() <= 40 => format!("the string \"{text}\""),
        Value::Int(_) | Value::Float(_) | Value::Bool(_) => {
            format!("{} {value}", value.kind().trim_start_matches("an ").trim_start_matches("a "))
        }
        other => other.kind().to_owned(),
    }
}

fn range(ty: &Type, number: f64, text: &str) -> Result<(), String> {
    match (ty.min, ty.max) {
        (Some(min), _) if number < min => Err(format!("is {text}, the smallest allowed is {min}")),
        (_, Some(max)) if number > max => Err(format!("is {text}, the largest allowed is {max}")),
        _ => Ok(()),
    }
}

fn matching(ty: &Type, text: &str) -> Result<(), String> {
    match &ty.pattern {
        Some(pattern) if !pattern::matches(text, pattern) => Err(format!("is \"{text}\", which does not match `{pattern}`")),
        _ => Ok(()),
    }
}

fn word(ty: &Type, words: &[String], text: &str) -> Result<(), String> {
    if words.iter().any(|word| word == text) {
        return matching(ty, text);
    }
    let near = crate::name::nearest(text, words.iter().map(String::as_str)).map(|near| format!("; did you mean `{near}`?"));
    Err(format!("is \"{text}\", expected one of {}{}", words.join(", "), near.unwrap_or_default()))
}

fn list(item: &Type, items: &[Value]) -> Result<(), String> {
    let fits = |(index, value): (usize, &Value)| self::value(item, value).map_err(|why| format!("has an item {} that {why}", index + 1));
    items.iter().enumerate().try_for_each(fits)
}

/// Lists were once written as JSON in a string; both are taken.
fn json_list(ty: &Type, item: &Type, text: &str) -> Result<(), String> {
    match serde_json::from_str::<serde_json::Value>(text).map(Value::from) {
        Ok(Value::List(items)) => list(item, &items),
        _ => Err(mismatch(ty, &Value::String(text.to_owned()))),
    }
}

fn object(fields: &Object, map: &Map) -> Result<(), String> {
    for (key, value) in map {
        let Some(Field { ty, .. }) = fields.get(key) else {
            let near = crate::name::nearest(key, fields.keys().map(String::as_str)).map(|near| format!("; did you mean `{near}`?"));
            return Err(format!("has an unknown field `{key}`{}", near.unwrap_or_default()));
        };
        self::value(ty, value).map_err(|why| format!("has a field `{key}` that {why}"))?;
    }
    match fields.iter().find(|(key, field)| field.required && !map.contains_key(*key)) {
        Some((key, _)) => Err(format!("has no field `{key}`, which is required")),
        None => Ok(()),
    }
}

/// See `Type::shape`.
pub(in crate::lang) fn shape(ty: &Type, value: Value) -> Value {
    if let Some(meant) = meant(ty, &value) {
        return meant;
    }
    match (&ty.kind, value) {
        (Kind::List(item), Value::String(text)) => match serde_json::from_str::<serde_json::Value>(&text).map(Value::from) {
            Ok(Value::List(items)) => Value::List(items.into_iter().map(|one| shape(item, one)).collect()),
            _ => Value::String(text),
        },
        (Kind::List(item), Value::List(items)) => Value::List(items.into_iter().map(|one| shape(item, one)).collect()),
        (Kind::Map(item), Value::Map(map)) => Value::Map(map.into_iter().map(|(key, one)| (key, shape(item, one))).collect()),
        (Kind::Object(fields), Value::Map(map)) => {
            let shaped = |(key, one): (String, Value)| {
                let one = match fields.get(&key) {
                    Some(field) => shape(&field.ty, one),
                    None => one,
                };
                (key, one)
            };
            Value::Map(map.into_iter().map(shaped).collect())
        }
        (_, value) => value,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(kind: Kind) -> Type {
        Type::of(Kind::List(Box::new(Type::of(kind))))
    }

    #[test]
    fn lists_in_text_become_lists_at_every_depth() {
        let text = Value::from("[\"[1, 2]\", [3]]");
        let ty = Type::of(Kind::List(Box::new(list(Kind::Int))));
        assert_eq!(ty.accepts(&text), Ok(()));
        let wanted = Value::from(serde_json::json!([[1, 2], [3]]));
        assert_eq!(ty.shape(text), wanted);
        assert_eq!(Type::of(Kind::String).shape("[1]".into()), "[1]".into());
    }

    #[test]
    fn numbers_and_truths_in_text_become_what_they_are() {
        let shaped = |kind: Kind, text: &str| {
            let ty = Type { min: Some(2.0), ..Type::of(kind) };
            ty.accepts(&text.into()).map(|()| ty.shape(text.into()))
        };
        assert_eq!(shaped(Kind::Int, "2048"), Ok(Value::Int(2048)));
        assert_eq!(shaped(Kind::Float, "2.5"), Ok(Value::Float(2.5)));
        assert_eq!(shaped(Kind::Bool, "true"), Ok(Value::Bool(true)));
        assert_eq!(shaped(Kind::String, "2048"), Ok(Value::from("2048")));
        assert_eq!(list(Kind::Int).shape(Value::List(vec!["1".into()])), Value::List(vec![Value::Int(1)]));
        assert_eq!(shaped(Kind::Int, "1"), Err("is 1, the smallest allowed is 2".to_owned()));
        assert_eq!(shaped(Kind::Int, "2048 MB"), Err("is the string \"2048 MB\", expected integer".to_owned()));
        assert_eq!(shaped(Kind::Float, "inf"), Err("is the string \"inf\", expected number".to_owned()));
        assert_eq!(shaped(Kind::Bool, "yes"), Err("is the string \"yes\", expected boolean".to_owned()));
    }

    #[test]
    fn refusals_name_what_was_given_and_what_fits() {
        let table = [
            (list(Kind::Int), Value::from("x"), "is the string \"x\", expected list of integer"),
            (Type { max: Some(65535.0), ..Type::of(Kind::Int) }, Value::Int(70_000), "is 70000, the largest allowed is 65535"),
            (Type::of(Kind::Int), Value::Float(1.5), "is float 1.5, expected integer"),
            (Type::of(Kind::String), Value::Null, "is null, expected string"),
            (
                Type { pattern: Some("[a-z]+".into()), ..Type::of(Kind::String) },
                Value::from("ab1"),
                "is \"ab1\", which does not match `[a-z]+`",
            ),
        ];
        for (ty, value, said) in table {
            assert_eq!(ty.accepts(&value), Err(said.to_owned()), "{value:?}");
        }
        assert_eq!(Type::of(Kind::Float).accepts(&Value::Int(1)), Ok(()));
        // The whole text must match, also when a pattern has alternatives.
        assert!(Type { pattern: Some("a|b".into()), ..Type::of(Kind::String) }.accepts(&"xb".into()).is_err());
    }
}
