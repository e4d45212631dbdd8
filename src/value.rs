//! Values: what arguments, attributes and expressions are made of, and their one canonical text.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::value::{MapDeserializer, SeqDeserializer};
use serde::de::{DeserializeOwned, IntoDeserializer, Visitor};
use serde::ser::{Error as _, SerializeMap, SerializeSeq};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::digest::Digest;
use crate::secret::{SECRET_NEWTYPE, Secret};

/// A map of values, in key order.
pub type Map = BTreeMap<String, Value>;

/// A value. Integers and floats are apart, as in TOML and CEL; a secret is a string that nobody may print.
#[derive(Clone, Debug, PartialEq, Default)]
pub enum Value {
    /// Known to be absent: the address of a VM that is off.
    #[default]
    Null,
    /// True or false.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// Any other number.
    Float(f64),
    /// Text.
    String(String),
    /// Secret text.
    Secret(Secret),
    /// A list.
    List(Vec<Value>),
    /// A map.
    Map(Map),
}

impl Value {
    /// What a person calls this kind of value: `a string`, `a list`.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "a boolean",
            Self::Int(_) => "an integer",
            Self::Float(_) => "a float",
            Self::String(_) => "a string",
            Self::Secret(_) => "a secret",
            Self::List(_) => "a list",
            Self::Map(_) => "a map",
        }
    }

    /// The number of an integer; `None` for anything else.
    pub const fn as_int(&self) -> Option<i64> {
        if let Self::Int(number) = self { Some(*number) } else { None }
    }

    /// The text of a string; `None` for anything else, secrets included.
    pub fn as_str(&self) -> Option<&str> {
        if let Self::String(text) = self { Some(text) } else { None }
    }

    /// The field `key` of a map.
    pub fn get(&self, key: &str) -> Option<&Self> {
        if let Self::Map(map) = self { map.get(key) } else { None }
    }

    /// Whether a secret is anywhere inside.
    pub fn holds_secret(&self) -> bool {
        match self {
            Self::Secret(_) => true,
            Self::List(items) => items.iter().any(Self::holds_secret),
            Self::Map(map) => map.values().any(Self::holds_secret),
            _ => false,
        }
    }

    /// Calls `visit` with every secret inside.
    pub fn each_secret(&self, visit: &mut dyn FnMut(&Secret)) {
        match self {
            Self::Secret(secret) => visit(secret),
            Self::List(items) => items.iter().for_each(|item| item.each_secret(visit)),
            Self::Map(map) => map.values().for_each(|item| item.each_secret(visit)),
            _ => {}
        }
    }

    /// Reads a typed struct out of this value; secrets arrive in fields of type `Secret` or `Credential`. The error names the field.
    pub fn into_typed<T: DeserializeOwned>(self) -> Result<T, ValueError> {
        T::deserialize(self)
    }

    /// The value of a typed struct. Fails for what JSON cannot say, such as a map with number keys.
    pub fn from_typed<T: Serialize>(typed: &T) -> Result<Self, ValueError> {
        serde_json::to_value(typed).map(Self::from).map_err(|e| ValueError(e.to_string()))
    }

    /// Canonical JSON: keys in byte order, no blanks, floats in their shortest round-trip form, and in place of each secret what `secret` says.
    pub fn canonical(&self, secret: &dyn Fn(&Secret) -> String) -> String {
        let mut out = String::new();
        self.write(secret, &mut out);
        out
    }

    /// Canonical JSON for a person: every secret is shown as `"[secret]"`.
    pub fn display(&self) -> String {
        self.canonical(&|_| "\"[secret]\"".to_owned())
    }

    fn write(&self, secret: &dyn Fn(&Secret) -> String, out: &mut String) {
        match self {
            Self::Null => out.push_str("null"),
            Self::Bool(flag) => out.push_str(if *flag { "true" } else { "false" }),
            Self::Int(number) => out.push_str(&number.to_string()),
            Self::Float(number) => out.push_str(&float_text(*number)),
            Self::String(text) => write_text(text, out),
            Self::Secret(hidden) => out.push_str(&secret(hidden)),
            Self::List(items) => {
                out.push('[');
                for (index, item) in items.iter().enumerate() {
                    if index > 0 {
                        out.push(',');
                    }
                    item.write(secret, out);
                }
                out.push(']');
            }
            Self::Map(map) => {
                out.push('{');
                for (index, (key, item)) in map.iter().enumerate() {
                    if index > 0 {
                        out.push(',');
                    }
                    write_text(key, out);
                    out.push(':');
                    item.write(secret, out);
                }
                out.push('}');
            }
        }
    }
}

/// The one map key that stands for a sealed secret in canonical JSON: `{"$secret":"<keyed digest>"}`.
pub const SEALED_KEY: &str = "$secret";

/// The canonical JSON that stands for a secret whose keyed digest is `digest`.
pub fn sealed_marker(digest: &Digest) -> String {
    format!("{{\"{SEALED_KEY}\":\"{digest}\"}}")
}

fn write_text(text: &str, out: &mut String) {
    // Most texts have nothing to escape: what JSON asks for are quotes, backslashes and control characters.
    if text.bytes().all(|byte| byte >= b' ' && byte != b'"' && byte != b'\\') {
        out.push('"');
        out.push_str(text);
        out.push('"');
    } else {
        out.push_str(&serde_json::Value::from(text).to_string());
    }
}

fn float_text(number: f64) -> String {
    // JSON has no word for these; a text keeps them apart from every number.
    if number.is_finite() { format!("{number:?}") } else { format!("\"{number}\"") }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::String(text) => f.write_str(text),
            other => f.write_str(&other.display()),
        }
    }
}

/// Why a value does not fit a type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ValueError(pub String);

impl fmt::Display for ValueError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
impl std::error::Error for ValueError {}
impl serde::de::Error for ValueError {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self(message.to_string())
    }
}

impl From<serde_json::Value> for Value {
    /// Whole numbers that fit i64 become `Int`, all other numbers `Float`.
    fn from(json: serde_json::Value) -> Self {
        match json {
            serde_json::Value::Null => Self::Null,
            serde_json::Value::Bool(flag) => Self::Bool(flag),
            serde_json::Value::Number(number) => {
                number.as_i64().map_or_else(|| Self::Float(number.as_f64().unwrap_or(f64::NAN)), Self::Int)
            }
            serde_json::Value::String(text) => Self::String(text),
            serde_json::Value::Array(items) => Self::List(items.into_iter().map(Self::from).collect()),
            serde_json::Value::Object(map) => Self::Map(map.into_iter().map(|(k, v)| (k, Self::from(v))).collect()),
        }
    }
}

macro_rules! from_plain {
    ($($plain:ty => |$x:ident| $make:expr),* $(,)?) => {$(
        impl From<$plain> for Value {
            fn from($x: $plain) -> Self {
                $make
            }
        }
    )*};
}
from_plain! {
    bool => |x| Self::Bool(x),
    i64 => |x| Self::Int(x),
    i32 => |x| Self::Int(x.into()),
    u32 => |x| Self::Int(x.into()),
    f64 => |x| Self::Float(x),
    &str => |x| Self::String(x.to_owned()),
    String => |x| Self::String(x),
    Secret => |x| Self::Secret(x),
    Vec<Value> => |x| Self::List(x),
    Map => |x| Self::Map(x),
}

impl<T: Into<Self>> From<Option<T>> for Value {
    fn from(option: Option<T>) -> Self {
        option.map_or(Self::Null, Into::into)
    }
}

/// For `--json` and events: as JSON, a secret as the text `[secret]`.
impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Null => serializer.serialize_unit(),
            Self::Bool(flag) => serializer.serialize_bool(*flag),
            Self::Int(number) => serializer.serialize_i64(*number),
            Self::Float(number) if !number.is_finite() => Err(S::Error::custom(format!("{number} has no JSON form"))),
            Self::Float(number) => serializer.serialize_f64(*number),
            Self::String(text) => serializer.serialize_str(text),
            Self::Secret(_) => serializer.serialize_str("[secret]"),
            Self::List(items) => {
                let mut seq = serializer.serialize_seq(Some(items.len()))?;
                items.iter().try_for_each(|item| seq.serialize_element(item))?;
                seq.end()
            }
            Self::Map(map) => {
                let mut fields = serializer.serialize_map(Some(map.len()))?;
                map.iter().try_for_each(|(key, item)| fields.serialize_entry(key, item))?;
                fields.end()
            }
        }
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        serde_json::Value::deserialize(deserializer).map(Self::from)
    }
}

impl IntoDeserializer<'_, ValueError> for Value {
    type Deserializer = Self;
    fn into_deserializer(self) -> Self {
        self
    }
}

impl<'de> Deserializer<'de> for Value {
    type Error = ValueError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ValueError> {
        match self {
            Self::Null => visitor.visit_unit(),
            Self::Bool(flag) => visitor.visit_bool(flag),
            Self::Int(number) => visitor.visit_i64(number),
            Self::Float(number) => visitor.visit_f64(number),
            Self::String(text) => visitor.visit_string(text),
            Self::Secret(_) => Err(serde::de::Error::custom("a secret may only flow into a secret argument")),
            Self::List(items) => visitor.visit_seq(SeqDeserializer::new(items.into_iter())),
            Self::Map(map) => visitor.visit_map(MapDeserializer::new(map.into_iter())),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ValueError> {
        if self == Self::Null { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, name: &'static str, visitor: V) -> Result<V::Value, ValueError> {
        match self {
            Self::Secret(secret) if name == SECRET_NEWTYPE => {
                let origin = serde_json::to_string(secret.origin()).map_err(serde::de::Error::custom)?;
                visitor.visit_seq(SeqDeserializer::<_, ValueError>::new([secret.expose().to_owned(), origin].into_iter()))
            }
            other => visitor.visit_newtype_struct(other),
        }
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ValueError> {
        match self {
            Self::String(text) => visitor.visit_enum(text.into_deserializer()),
            other => Err(serde::de::Error::custom(format!("one of a set of words is expected, not {}", other.kind()))),
        }
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq tuple tuple_struct map struct
        identifier ignored_any
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::{Credential, Origin};

    #[derive(Deserialize, Debug)]
    struct Arguments {
        name: String,
        count: u32,
        ratio: Option<f64>,
        password: Secret,
        ticket: Credential,
    }

    #[test]
    fn typed_structs_take_secrets_with_their_origin() {
        let origin = Origin::Vault { vault: "v".into(), key: "k".into() };
        let value = Value::Map(Map::from([
            ("name".into(), "calamity".into()),
            ("count".into(), Value::Int(3)),
            ("ratio".into(), Value::Null),
            ("password".into(), Value::Secret(Secret::new("p", origin.clone()))),
            ("ticket".into(), Value::Secret(Secret::new("t", Origin::Computed))),
        ]));
        let arguments: Arguments = value.into_typed().unwrap();
        assert_eq!((arguments.name.as_str(), arguments.count, arguments.ratio), ("calamity", 3, None));
        assert_eq!((arguments.password.expose(), arguments.password.origin()), ("p", &origin));
        assert_eq!(arguments.ticket.0.expose(), "t");
    }

    #[test]
    fn a_secret_never_enters_a_plain_field() {
        let value = Value::Map(Map::from([("x".into(), Value::Secret(Secret::new("hunter2", Origin::Computed)))]));
        let error = value.clone().into_typed::<BTreeMap<String, String>>().unwrap_err();
        assert!(!error.to_string().contains("hunter2"));
        assert_eq!(serde_json::to_string(&value).unwrap(), r#"{"x":"[secret]"}"#);
    }

    #[test]
    fn canonical_text_is_one_per_value() {
        let value: Value = serde_json::json!({"b": [1, 1.0, null], "a": "é\n"}).into();
        assert_eq!(value.display(), "{\"a\":\"é\\n\",\"b\":[1,1.0,null]}");
    }

    #[test]
    fn json_numbers_keep_their_kind() {
        // Another crate that enables serde_json's arbitrary_precision would turn numbers into maps.
        assert_eq!(Value::from(serde_json::json!(3)), Value::Int(3));
        assert_eq!(Value::from(serde_json::json!(3.5)), Value::Float(3.5));
    }
}
