//! Secrets: text that cannot be printed, serialised or hashed in the clear.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

mod forms;
mod redact;

use crate::digest::Digest;
use crate::name::ResourceName;
pub use redact::Redactor;

/// Where a secret came from: what it opens, never what it is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Origin {
    /// `vault.get(vault, key)`.
    Vault {
        /// The vault's name in the Pmxfile.
        vault: String,
        /// The key inside it.
        key: String,
    },
    /// A secret field of a resource: can be opened again after a refresh.
    Resource {
        /// The resource, `keebDev02/node/node`.
        name: ResourceName,
        /// The field, `ticket`.
        field: String,
    },
    /// Text put together from secrets, or written by hand.
    Computed,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Vault { vault, key } => write!(f, "vault {vault}, key {key}"),
            Self::Resource { name, field } => write!(f, "{name}, field {field}"),
            Self::Computed => f.write_str("an expression"),
        }
    }
}

/// A secret text. `Debug` shows only its origin; there is no `Display` and no `Serialize`.
#[derive(Clone)]
pub struct Secret {
    text: Arc<Zeroizing<String>>,
    origin: Arc<Origin>,
}

impl Secret {
    /// Wraps `text`, remembering where it came from.
    pub fn new(text: impl Into<String>, origin: Origin) -> Self {
        Self { text: Arc::new(Zeroizing::new(text.into())), origin: Arc::new(origin) }
    }

    /// The text itself. Every call of this is a place where a leak could begin: keep the result out of messages, argv and structs.
    pub fn expose(&self) -> &str {
        &self.text
    }

    /// Where it came from.
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// The same text under another origin.
    pub fn with_origin(&self, origin: Origin) -> Self {
        Self { text: Arc::clone(&self.text), origin: Arc::new(origin) }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[secret from {}]", self.origin)
    }
}

/// Equal when the texts are equal: the origin does not count.
impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}
impl Eq for Secret {}

/// The name under which our own deserializer hands a [`Secret`] over (see `value.rs`).
pub(crate) const SECRET_NEWTYPE: &str = "$pmx::Secret";

impl<'de> Deserialize<'de> for Secret {
    /// Takes a secret from our own `Value` (text and origin) or a plain string, which becomes a computed secret.
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> serde::de::Visitor<'de> for Visitor {
            type Value = Secret;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a secret string")
            }
            fn visit_str<E>(self, text: &str) -> Result<Secret, E> {
                Ok(Secret::new(text, Origin::Computed))
            }
            fn visit_newtype_struct<D: serde::Deserializer<'de>>(self, inner: D) -> Result<Secret, D::Error> {
                inner.deserialize_any(self)
            }
            fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut seq: A) -> Result<Secret, A::Error> {
                let missing = || serde::de::Error::custom("a secret is handed over as text and origin");
                let text: String = seq.next_element()?.ok_or_else(missing)?;
                let origin: String = seq.next_element()?.ok_or_else(missing)?;
                let origin = serde_json::from_str(&origin).map_err(serde::de::Error::custom)?;
                Ok(Secret::new(text, origin))
            }
        }
        deserializer.deserialize_newtype_struct(SECRET_NEWTYPE, Visitor)
    }
}

impl schemars::JsonSchema for Secret {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Secret".into()
    }
    fn inline_schema() -> bool {
        true
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string", "x-pmx-secret": true })
    }
}

/// A secret that opens an account: a ticket, a password, an API token. In an action key it counts as the account (its origin), never as its value, and a
/// method opens it at each request through its context, because it may be renewed while the method runs.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Credential(pub Secret);

impl schemars::JsonSchema for Credential {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Credential".into()
    }
    fn inline_schema() -> bool {
        true
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string", "x-pmx-secret": true, "x-pmx-credential": true })
    }
}

/// Seals and opens the secrets of one store. Implemented where the store's key lives.
pub trait Sealer: Send + Sync {
    /// Encrypts; the result differs each time.
    fn seal(&self, plain: &[u8]) -> Vec<u8>;
    /// Decrypts and authenticates; `None` when the bytes were changed or belong to another key.
    fn open(&self, sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>>;
    /// A digest of `plain` under this store's key: equal secrets are equal, and nobody without the key can try guesses.
    fn keyed_digest(&self, plain: &[u8]) -> Digest;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_never_shows_the_text() {
        let secret = Secret::new("hunter2", Origin::Vault { vault: "v".into(), key: "k".into() });
        assert_eq!(format!("{secret:?}"), "[secret from vault v, key k]");
        assert!(!format!("{:?}", Credential(secret)).contains("hunter2"));
    }
}
