//! Types: what arguments, attributes and inputs look like, and whether a value or a type fits another.

use std::collections::BTreeMap;
use std::fmt;

use crate::value::Value;

/// The type of a value.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Type {
    /// Its shape.
    pub kind: Kind,
    /// Whether null fits too.
    pub nullable: bool,
    /// Whether it is a secret: a secret fits only here, and a plain string fits here as well.
    pub secret: bool,
    /// Whether the secret opens an account (see `secret::Credential`).
    pub credential: bool,
    /// Smallest number that fits.
    pub min: Option<f64>,
    /// Largest number that fits.
    pub max: Option<f64>,
    /// A regular expression (CEL's dialect, RE2) that the whole text must match.
    pub pattern: Option<String>,
}

/// The shape of a value.
#[derive(Clone, Debug, PartialEq, Default)]
pub enum Kind {
    /// Anything.
    #[default]
    Any,
    /// Only null.
    Null,
    /// True or false.
    Bool,
    /// A whole number.
    Int,
    /// A number; a whole number fits too.
    Float,
    /// Text.
    String,
    /// One of these words.
    Enum(Vec<String>),
    /// A list.
    List(Box<Type>),
    /// A map from text.
    Map(Box<Type>),
    /// A map with known fields.
    Object(Object),
}

/// Known fields by name.
pub type Object = BTreeMap<String, Field>;

/// One field of an object.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Field {
    /// Its type.
    pub ty: Type,
    /// Whether it must be there.
    pub required: bool,
    /// What it is when it is not given.
    pub default: Option<Value>,
    /// One or two sentences for people.
    pub doc: String,
}

impl Type {
    /// A type of this shape, neither nullable nor secret.
    pub const fn of(kind: Kind) -> Self {
        Self { kind, nullable: false, secret: false, credential: false, min: None, max: None, pattern: None }
    }

    /// Whether nothing is known about it.
    pub const fn is_any(&self) -> bool {
        matches!(self.kind, Kind::Any)
    }
}

/// What a person calls it: `integer`, `list of string`, `string or null`.
impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.secret {
            f.write_str("secret ")?;
        }
        match &self.kind {
            Kind::Any => f.write_str("anything")?,
            Kind::Null => f.write_str("null")?,
            Kind::Bool => f.write_str("boolean")?,
            Kind::Int => f.write_str("integer")?,
            Kind::Float => f.write_str("number")?,
            Kind::String => f.write_str("string")?,
            Kind::Enum(words) => write!(f, "one of {}", words.join(", "))?,
            Kind::List(item) => write!(f, "list of {item}")?,
            Kind::Map(item) => write!(f, "map of {item}")?,
            Kind::Object(_) => f.write_str("map")?,
        }
        if self.nullable { f.write_str(" or null") } else { Ok(()) }
    }
}

impl Type {
    /// Whether a value fits. The error is a fragment that goes on from the thing's name: "is 3, expected string".
    pub fn accepts(&self, value: &Value) -> Result<(), String> {
        crate::lang::fit::value(self, value)
    }

    /// The value in the shape of this type: what was written in a string becomes the list (as JSON), the number or the truth that is wanted. Everything
    /// else stays as it is; call it on values that `accepts` takes.
    #[must_use]
    pub fn shape(&self, value: Value) -> Value {
        crate::lang::fit::shape(self, value)
    }
}
