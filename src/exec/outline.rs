//! Outlines: attributes whose long texts are told by beginning, length and digest, read without ever holding one.

use std::fmt;

use serde::de::{MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use crate::digest::Digest;
use crate::value::{Map, Value};

/// Longer texts, in bytes, are cut.
pub const LONGEST: usize = 64 << 10;

/// How many characters of a long text are told.
const BEGINNING: usize = 60;

/// A value as JSON says it, long texts cut. Two that are equal come from equal values.
pub struct Outline(pub Value);

impl<'de> Deserialize<'de> for Outline {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Reader).map(Self)
    }
}

fn cut(text: &str) -> Value {
    if text.len() <= LONGEST {
        return text.into();
    }
    let beginning: String = text.chars().take(BEGINNING).collect();
    format!("{beginning}… ({} bytes, {})", text.len(), Digest::of(text.as_bytes()).short()).into()
}

struct Reader;

impl<'de> Visitor<'de> for Reader {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, flag: bool) -> Result<Value, E> {
        Ok(flag.into())
    }

    fn visit_i64<E>(self, number: i64) -> Result<Value, E> {
        Ok(number.into())
    }

    fn visit_u64<E>(self, number: u64) -> Result<Value, E> {
        Ok(Value::from(serde_json::Value::from(number)))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Value, E> {
        Ok(number.into())
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(cut(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(Outline(item)) = items.next_element()? {
            list.push(item);
        }
        Ok(Value::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some((key, Outline(item))) = fields.next_entry::<String, Outline>()? {
            map.insert(key, item);
        }
        Ok(Value::Map(map))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outline(json: &serde_json::Value) -> Value {
        serde_json::from_str::<Outline>(&json.to_string()).unwrap().0
    }

    #[test]
    fn what_is_short_is_itself() {
        let json = serde_json::json!({"a": [null, true, -3, 3.5, 18_446_744_073_709_551_615_u64, "é\n"], "b": {"$secret": "x"}, "c": "y".repeat(LONGEST)});
        assert_eq!(outline(&json), Value::from(json));
    }

    #[test]
    fn what_is_long_is_cut_and_still_compared_to_its_last_byte() {
        let long = |end: &str| outline(&serde_json::json!({"a": format!("{}{end}", "é\n".repeat(LONGEST))}));
        let told = long("x");
        let text = told.get("a").and_then(Value::as_str).unwrap();
        assert!(text.starts_with("é\né\n") && text.contains("… (196609 bytes, ") && text.chars().count() <= 100, "{text}");
        assert_eq!(told, long("x"));
        assert_ne!(told, long("y"));
    }
}
