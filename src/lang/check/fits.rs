//! Whether values of one type fit another, as far as types tell.

use crate::lang::check::scene::holds_secret;
use crate::lang::types::{Kind, Type};

/// Whether what an expression gives fits what is wanted; the error goes on from the thing's name. A type that may be null fits one that may not: whether
/// a VM has an address is known only at run time.
pub(super) fn fits(have: &Type, want: &Type) -> Result<(), String> {
    if have.secret && !holds_secret(want) {
        return Err("holds a secret, which may only flow into secret arguments".to_owned());
    }
    let mismatch = || Err(format!("is {}, expected {}", plain(have), plain(want)));
    match (&have.kind, &want.kind) {
        (Kind::Any, _) | (_, Kind::Any) | (Kind::Int, Kind::Float) | (Kind::Enum(_), Kind::String) | (Kind::String, Kind::Enum(_)) => {
            Ok(())
        }
        // A list may come as JSON in a text.
        (Kind::String, Kind::List(_)) => Ok(()),
        (Kind::Null, _) if want.nullable => Ok(()),
        (Kind::Enum(words), Kind::Enum(known)) => match words.iter().find(|word| !known.contains(word)) {
            Some(word) if !words.iter().any(|word| known.contains(word)) => {
                Err(format!("is one of {}, expected one of {}: `{word}` is none of them", words.join(", "), known.join(", ")))
            }
            _ => Ok(()),
        },
        (Kind::List(have), Kind::List(want)) => fits(have, want).map_err(|why| format!("has items of which one {why}")),
        (Kind::Map(have), Kind::Map(want)) => fits(have, want).map_err(|why| format!("has fields of which one {why}")),
        (Kind::Object(fields), Kind::Map(want)) => {
            fields.iter().try_for_each(|(name, field)| fits(&field.ty, want).map_err(|why| format!("has a field `{name}` that {why}")))
        }
        (Kind::Object(fields), Kind::Object(known)) => {
            fields.iter().try_for_each(|(name, field)| match known.get(name) {
                Some(want) => fits(&field.ty, &want.ty).map_err(|why| format!("has a field `{name}` that {why}")),
                None => Err(format!("has an unknown field `{name}`")),
            })?;
            match known.iter().find(|(name, want)| want.required && !fields.contains_key(*name)) {
                Some((name, _)) => Err(format!("has no field `{name}`, which is required")),
                None => Ok(()),
            }
        }
        (Kind::Map(_), Kind::Object(_)) => Ok(()),
        (have, want) if have == want => Ok(()),
        _ => mismatch(),
    }
}

/// The type without the word `secret`, which would only confuse where kinds are compared.
fn plain(ty: &Type) -> String {
    Type { secret: false, ..ty.clone() }.to_string()
}
