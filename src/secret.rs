//! Secrets: text that cannot be printed, serialised or hashed in the clear, and the sink that redacts it.

use std::fmt;
use std::sync::{Arc, RwLock};

use base64::Engine as _;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::digest::Digest;
use crate::name::ResourceName;

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
    origin: Origin,
}

impl Secret {
    /// Wraps `text`, remembering where it came from.
    pub fn new(text: impl Into<String>, origin: Origin) -> Self {
        Self { text: Arc::new(Zeroizing::new(text.into())), origin }
    }

    /// The text itself. Every call of this is a place where a leak could begin: keep the result out of messages, argv and structs.
    pub fn expose(&self) -> &str {
        &self.text
    }

    /// Where it came from.
    pub const fn origin(&self) -> &Origin {
        &self.origin
    }

    /// The same text under another origin.
    pub fn with_origin(&self, origin: Origin) -> Self {
        Self { text: Arc::clone(&self.text), origin }
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

/// Replaces every known secret in outgoing text by `[secret]`: the value itself and its URL-, base64-, shell-quoted and JSON-escaped forms.
#[derive(Clone, Default)]
pub struct Redactor {
    needles: Arc<RwLock<Vec<Zeroizing<String>>>>,
}

/// Shorter secrets are not searched for: replacing every `ab` would destroy the text and hide nothing.
const SHORTEST: usize = 4;

/// Lines of a longer secret that are shorter than this are not looked for by themselves: `services:` is in many a file and tells nothing.
const SHORTEST_LINE: usize = 16;

impl Redactor {
    /// A redactor that knows nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// From now on `secret` is redacted in all its forms.
    pub fn learn(&self, secret: &Secret) {
        let text = secret.expose();
        if text.len() < SHORTEST {
            return;
        }
        let mut needles = self.needles.write().unwrap_or_else(std::sync::PoisonError::into_inner);
        if needles.iter().any(|needle| needle.as_str() == text) {
            return;
        }
        needles.extend(forms(text).into_iter().filter(|form| form.len() >= SHORTEST).map(Zeroizing::new));
        // Commands tell a key file line by line; a line too short to be one of its own may be anything.
        let lines = text.lines().map(str::trim).filter(|line| line.len() >= SHORTEST_LINE && line.len() < text.len());
        needles.extend(lines.map(|line| Zeroizing::new(line.to_owned())));
        // The longest first: a secret that contains another must not leave its remainder behind.
        needles.sort_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
        needles.dedup();
    }

    /// `text` without any secret that was learnt.
    pub fn clean(&self, text: &str) -> String {
        let needles = self.needles.read().unwrap_or_else(std::sync::PoisonError::into_inner);
        let mut clean = text.to_owned();
        for needle in needles.iter() {
            if clean.contains(needle.as_str()) {
                clean = clean.replace(needle.as_str(), "[secret]");
            }
        }
        clean
    }
}

impl fmt::Debug for Redactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Redactor")
    }
}

fn forms(text: &str) -> Vec<String> {
    let percent = |keep: &[u8]| {
        let mut out = String::new();
        for byte in text.bytes() {
            if byte.is_ascii_alphanumeric() || keep.contains(&byte) {
                out.push(char::from(byte))
            } else {
                out.push_str(&format!("%{byte:02X}"))
            }
        }
        out
    };
    let json = serde_json::Value::from(text).to_string();
    let mut forms = vec![
        text.to_owned(),
        percent(b"-_.~"),
        percent(b"-_.~").replace("%20", "+"),
        text.replace('\'', r"'\''"),
        json[1..json.len() - 1].to_owned(),
    ];
    forms.extend([percent(b"-_.~").to_lowercase(), percent(b"-_.*").replace("%20", "+")]);
    for engine in [&base64::engine::general_purpose::STANDARD, &base64::engine::general_purpose::URL_SAFE] {
        forms.push(engine.encode(text).trim_end_matches('=').to_owned());
    }
    forms
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

    #[test]
    fn redaction_finds_every_form() {
        let redactor = Redactor::new();
        redactor.learn(&Secret::new("it's=a;b c/d", Origin::Computed));
        for seen in ["it's=a;b c/d", "it%27s%3Da%3Bb%20c%2Fd", "it%27s%3Da%3Bb+c%2Fd", r"it'\''s=a;b c/d", "aXQncz1hO2IgYy9k"] {
            assert_eq!(redactor.clean(&format!("<{seen}>")), "<[secret]>", "{seen}");
        }
    }

    #[test]
    fn each_line_of_a_key_file_is_found() {
        let redactor = Redactor::new();
        redactor.learn(&Secret::new("-----BEGIN KEY-----\nb3BlbnNzaC1rZXktdjEA\nok: yes\n", Origin::Computed));
        assert_eq!(redactor.clean("line 2 is b3BlbnNzaC1rZXktdjEA."), "line 2 is [secret].");
        assert_eq!(redactor.clean("ok: yes"), "ok: yes");
    }

    #[test]
    fn longer_secrets_go_first() {
        let redactor = Redactor::new();
        redactor.learn(&Secret::new("abcd", Origin::Computed));
        redactor.learn(&Secret::new("abcdefgh", Origin::Computed));
        assert_eq!(redactor.clean("x abcdefgh y abcd"), "x [secret] y [secret]");
    }
}
