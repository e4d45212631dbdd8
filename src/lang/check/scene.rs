//! What an expression can see where it stands, as types.

use std::collections::BTreeMap;

use crate::lang::types::{Field, Kind, Type};

/// Types of what an expression can see.
#[derive(Clone, Debug, Default)]
pub(super) struct Scene {
    /// Inputs by name; `None` where they are not known: in a definition by itself.
    pub inputs: Option<BTreeMap<String, Type>>,
    /// Whether an input that is not known is a complaint here, or is said for the whole call.
    pub strict: bool,
    /// `each.key` and `each.value`, inside `for_each`.
    pub each: Option<(Type, Type)>,
}

impl Scene {
    /// A definition by itself: any input may come.
    pub fn open() -> Self {
        Self::default()
    }

    /// A place that sees exactly these inputs.
    pub const fn of(inputs: BTreeMap<String, Type>) -> Self {
        Self { inputs: Some(inputs), strict: true, each: None }
    }
}

/// A version of a resource, as an expression sees it.
pub(super) fn seen(attributes: &crate::lang::types::Object) -> Type {
    let field = |kind| Field { ty: Type::of(kind), required: true, default: None, doc: String::new() };
    Type::of(Kind::Object(BTreeMap::from([
        ("attributes".to_owned(), field(Kind::Object(attributes.clone()))),
        ("version".to_owned(), field(Kind::Int)),
        ("at".to_owned(), field(Kind::String)),
        ("run".to_owned(), field(Kind::String)),
    ])))
}

/// A map with these fields, each of this kind.
pub(super) fn fields(names: &[(&str, Kind)]) -> Type {
    let field = |kind: &Kind| Field { ty: Type::of(kind.clone()), required: true, default: None, doc: String::new() };
    Type::of(Kind::Object(names.iter().map(|(name, kind)| ((*name).to_owned(), field(kind))).collect()))
}

/// Whether a secret is anywhere in values of this type.
pub(super) fn holds_secret(ty: &Type) -> bool {
    ty.secret
        || match &ty.kind {
            Kind::List(item) | Kind::Map(item) => holds_secret(item),
            Kind::Object(fields) => fields.values().any(|field| holds_secret(&field.ty)),
            _ => false,
        }
}

/// The type of something that is one or the other.
pub(super) fn either(left: Type, right: Type) -> Type {
    let nullable = left.nullable || right.nullable || left.kind == Kind::Null || right.kind == Kind::Null;
    let secret = left.secret || right.secret;
    let kind = match (left.kind, right.kind) {
        (left, right) if left == right => left,
        (Kind::Null, other) | (other, Kind::Null) => other,
        (Kind::String | Kind::Enum(_), Kind::String | Kind::Enum(_)) => Kind::String,
        (Kind::List(left), Kind::List(right)) => Kind::List(Box::new(either(*left, *right))),
        _ => Kind::Any,
    };
    Type { nullable, secret, ..Type::of(kind) }
}
